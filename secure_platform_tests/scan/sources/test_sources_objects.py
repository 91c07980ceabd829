"""Objects of S3, from a server that speaks its protocol: read as they come, whole or not at all."""

import gzip
import json
import secrets

import pytest
from inspected import EMAILS, INSPECTION, found, zipped
from key_servers import REGION, AwsServer

from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.key_settings import AwsSettings
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.scan.report import Section
from secure_platform.scan.sources import documents as documents_module
from secure_platform.scan.sources.objects import objects

CSV = ("id,email\n" + "".join(f"{n},{email}\n" for n, email in enumerate(EMAILS))).encode()
OBJECTS = {
    "in/a.csv": CSV,
    "in/b.csv.gz": gzip.compress(CSV),
    "in/c.ndjson": b"\n".join(json.dumps({"email": email}).encode() for email in EMAILS),
    "in/deep/d.zip": zipped({"e.csv": CSV}),
    "in/f.log": f"hello {EMAILS[0]}\n".encode(),
    "in/g.bin": b"\0\1\2",
    "in/folder/": b"",
    "other/h.csv": CSV,
}


@pytest.fixture
def bucket(moto_server: AwsServer, aws_credentials: object) -> tuple[AwsSession, str]:
    del aws_credentials
    name, client = f"scan-{secrets.token_hex(6)}", moto_server.client("s3")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    for key, body in OBJECTS.items():
        client.put_object(Bucket=name, Key=key, Body=body)
    return AwsSession(AwsSettings(region=REGION, endpoint_url=moto_server.url)), name


def scanned(session: AwsSession, url: str) -> Section:
    whole = Section()
    for source in objects(session, url):
        whole.add(source.look(INSPECTION))
    return whole


def test_every_object_below_a_prefix_is_scanned(bucket: tuple[AwsSession, str]) -> None:
    session, name = bucket
    section = scanned(session, f"s3://{name}/in/")
    base = f"s3://{name}/in"
    assert {source for source, _, kind in found(section) if kind == "EMAIL"} == {
        f"{base}/a.csv",
        f"{base}/b.csv.gz",
        f"{base}/c.ndjson",
        f"{base}/deep/d.zip!/e.csv",
        f"{base}/f.log",
    }
    assert [(each.source, each.reason) for each in section.skipped] == [(f"{base}/g.bin", "binary")]


def test_an_object_that_changed_after_it_was_listed_is_told(
    bucket: tuple[AwsSession, str], moto_server: AwsServer
) -> None:
    session, name = bucket
    (source, *_) = objects(session, f"s3://{name}/in/a")
    moto_server.client("s3").put_object(Bucket=name, Key="in/a.csv", Body=CSV * 2)
    section = source.look(INSPECTION)
    assert [each.source for each in section.skipped] == [f"s3://{name}/in/a.csv"]
    assert section.findings == []


def test_what_must_be_read_from_its_end_is_only_copied_while_it_is_small(
    bucket: tuple[AwsSession, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, name = bucket
    monkeypatch.setattr(documents_module, "LARGEST", 10)
    section = scanned(session, f"s3://{name}/in/")
    assert {each.source.rsplit("/", 1)[1] for each in section.skipped if "larger" in each.reason} == {
        "b.csv.gz",
        "d.zip",
    }
    assert (f"s3://{name}/in/a.csv", "email", "EMAIL") in found(section)


def test_an_object_that_is_changed_has_another_identity(
    bucket: tuple[AwsSession, str], moto_server: AwsServer
) -> None:
    session, name = bucket
    (before,) = objects(session, f"s3://{name}/other")
    moto_server.client("s3").put_object(Bucket=name, Key="other/h.csv", Body=CSV * 2)
    (after,) = objects(session, f"s3://{name}/other")
    assert before.identity != after.identity


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://key:word@bucket/x", "s3://b/x?y=1"])
def test_what_is_no_url_of_objects_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        list(objects(AwsSession(AwsSettings(region=REGION)), url))
    assert "word" not in str(raised.value)


def test_a_bucket_that_is_not_there_is_told(bucket: tuple[AwsSession, str]) -> None:
    session, name = bucket
    for url in (f"s3://{name}/nothing", f"s3://{name}-none/"):
        with pytest.raises(SecurePlatformError, match=r"s3://"):
            list(objects(session, url))

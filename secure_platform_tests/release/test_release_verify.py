import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from release_support import Home, build, conditions, new_home, patients
from required import missing

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.release.bundle import sign_statement
from secure_platform.release.layout import RELEASE_PREDICATE, file_key, key_context, release_predicate
from secure_platform.release.verify import scan_table, verified
from secure_platform.store import parquet

FILES = (
    "1/manifest.json",
    "1/payload/patients.parquet",
    "1/payload/conditions.parquet",
    "1.attestations/release.sigstore.json",
    "1.attestations/checkpoint.txt",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two releases: 1 and 2 have the same tables; one row differs."""
    home = new_home(tmp_path_factory.mktemp("verify") / "home")
    build(home, 1, patients=patients(50), conditions=conditions())
    build(home, 2, patients=patients(51), conditions=conditions())
    return home


@pytest.fixture
def product(home: Home, tmp_path: Path) -> Path:
    """A copy of all releases of the product, free to be damaged."""
    return shutil.copytree(home.releases / "healthcare", tmp_path / "healthcare")


def check(home: Home, release: Path) -> None:
    with verified(release, home.keys, home.temporary):
        pass


def refused(home: Home, release: Path, culprit: str) -> None:
    with pytest.raises(IntegrityError, match=culprit):
        check(home, release)


def test_a_verified_release_gives_its_rows(home: Home, product: Path) -> None:
    with verified(product / "1", home.keys, home.temporary) as release:
        assert release.digest == canonical.sha256((product / "1/manifest.json").read_bytes())
        assert release.manifest["tables"]["patients"]["rows"] == 50
        assert_frame_equal(scan_table(release, "patients", home.keys).collect(), patients(50))
        assert_frame_equal(scan_table(release, "conditions", home.keys).collect(), conditions())


def test_the_copy_is_private_independent_and_removed(home: Home, product: Path) -> None:
    with verified(product / "1", home.keys, home.temporary) as release:
        assert release.directory.is_relative_to(home.temporary)
        assert stat.S_IMODE(release.directory.stat().st_mode) == 0o700
        files = [path for path in release.directory.rglob("*") if path.is_file()]
        assert len(files) == len(FILES)
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        shutil.rmtree(product)
        assert scan_table(release, "patients", home.keys).collect().height == 50
    assert not release.directory.exists()


def test_the_copy_is_removed_after_a_refusal_and_an_error(home: Home, product: Path) -> None:
    (product / "1/payload/extra").touch()
    refused(home, product / "1", "do not belong")
    with pytest.raises(KeyError), verified(product / "2", home.keys, home.temporary):
        raise KeyError
    assert not [path for path in home.temporary.iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_refused(home: Home, product: Path, name: str) -> None:
    path = product / name
    original = path.read_bytes()
    step = max(1, len(original) // 60)
    offsets = {*range(0, len(original), step), *range(16), *range(len(original) - 16, len(original))}
    for offset in sorted(offsets & set(range(len(original)))):
        flipped = bytearray(original)
        flipped[offset] ^= 1 << (offset % 8)
        path.write_bytes(flipped)
        with pytest.raises(IntegrityError):
            check(home, product / "1")
    path.write_bytes(original)
    check(home, product / "1")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0, 1, -1])
def test_a_truncated_file_is_refused(home: Home, product: Path, name: str, keep: int) -> None:
    path = product / name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IntegrityError):
        check(home, product / "1")


@pytest.mark.parametrize("name", FILES)
def test_an_appended_byte_is_refused(home: Home, product: Path, name: str) -> None:
    path = product / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(IntegrityError):
        check(home, product / "1")


@pytest.mark.parametrize("name", FILES)
def test_a_removed_or_renamed_file_is_refused(home: Home, product: Path, name: str) -> None:
    path = product / name
    path.rename(path.with_name(path.name.upper()))
    refused(home, product / "1", "missing|lacks")
    path.with_name(path.name.upper()).unlink()
    refused(home, product / "1", "missing|lacks")


@pytest.mark.parametrize(
    "name",
    [
        "1/extra",
        "1/Manifest.json",
        "1/.hidden",
        "1/payload/more.parquet",
        "1/payload/Patients.parquet",
        "1/payload/patients.parquet\n",
        "1.attestations/second.sigstore.json",
    ],
)
def test_an_added_file_is_refused(home: Home, product: Path, name: str) -> None:
    shutil.copyfile(product / "1/payload/patients.parquet", product / name)
    refused(home, product / "1", "1 entries that do not belong")


def test_an_added_folder_is_refused(home: Home, product: Path) -> None:
    (product / "1/payload/more").mkdir()
    refused(home, product / "1", "1 entries that do not belong")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "pipe", "folder", "device"])
def test_what_is_not_a_plain_file_is_refused(home: Home, product: Path, name: str, kind: str) -> None:
    path = product / name
    kept = product / "kept"
    path.rename(kept)
    if kind == "symlink":
        path.symlink_to(kept)
    elif kind == "hardlink":
        path.hardlink_to(kept)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif os.geteuid() == 0:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    else:
        missing("a device cannot be made: run the tests as root")
    refused(home, product / "1", "not a plain file")


@pytest.mark.parametrize("name", ["1", "1.attestations", "1/payload"])
def test_a_linked_folder_is_refused(home: Home, product: Path, name: str) -> None:
    (product / name).rename(product / "kept")
    (product / name).symlink_to(product / "kept")
    refused(home, product / "1", "not a plain folder")


@pytest.mark.parametrize("name", FILES)
def test_an_endless_file_is_refused_at_its_limit(home: Home, product: Path, name: str) -> None:
    with (product / name).open("r+b") as file:
        file.truncate(1 << 40)
    refused(home, product / "1", "larger than it may be")


@pytest.mark.parametrize(
    ("name", "culprit"),
    [
        ("manifest.json", "another subject"),
        ("payload/patients.parquet", "not the one that was signed|larger than"),
        ("payload/conditions.parquet", "not the one that was signed"),
        ("payload", "not the one that was signed|larger than"),
    ],
)
def test_a_part_of_another_release_is_refused(home: Home, product: Path, name: str, culprit: str) -> None:
    path = product / "1" / name
    path.rename(product / "kept")
    (product / "2" / name).rename(path)
    refused(home, product / "1", culprit)


def test_the_attestations_of_another_release_are_refused(home: Home, product: Path) -> None:
    shutil.rmtree(product / "1.attestations")
    (product / "2.attestations").rename(product / "1.attestations")
    refused(home, product / "1", "another subject")


def test_a_whole_release_in_the_place_of_another_is_refused(home: Home, product: Path) -> None:
    for suffix in ("", ".attestations"):
        shutil.rmtree(product / f"1{suffix}")
        (product / f"2{suffix}").rename(product / f"1{suffix}")
    refused(home, product / "1", "is healthcare/2 in another's place")
    product.rename(product.with_name("finance"))
    refused(home, product.with_name("finance") / "1", "in another's place")


def test_two_files_of_one_release_cannot_change_places(home: Home, product: Path) -> None:
    payload = product / "1/payload"
    (payload / "patients.parquet").rename(payload / "kept")
    (payload / "conditions.parquet").rename(payload / "patients.parquet")
    (payload / "kept").rename(payload / "conditions.parquet")
    refused(home, product / "1", "not the one that was signed|larger than")


def test_two_signatures_and_duplicate_members_are_refused(home: Home, product: Path) -> None:
    path = product / "1.attestations/release.sigstore.json"
    original = path.read_bytes()
    document = json.loads(original)
    document["dsseEnvelope"]["signatures"] *= 2
    path.write_bytes(canonical.dumps(document))
    refused(home, product / "1", "2 signatures")
    path.write_bytes(original.replace(b'{"dsseEnvelope":', b'{"mediaType":"x","dsseEnvelope":', 1))
    refused(home, product / "1", "not a strict JSON document")


def test_another_home_refuses_the_release(product: Path, tmp_path: Path) -> None:
    refused(new_home(tmp_path / "other"), product / "1", "not one of this home's signing keys")


def test_a_signature_for_another_purpose_is_refused(home: Home, product: Path) -> None:
    digest = canonical.sha256((product / "1/manifest.json").read_bytes())
    (product / "1.attestations/release.sigstore.json").write_bytes(
        sign_statement(
            home.keys,
            subject_name="manifest.json",
            subject_digest=digest,
            predicate_type="https://example.test/approval",
            predicate=release_predicate("healthcare", 1),
        )
    )
    refused(home, product / "1", "another predicate type")


# From here on the forger can sign: the manifest's statements themselves must hold.


def resign(home: Home, product: Path, change: Callable[[dict[str, Any]], None], **predicate: str) -> None:
    path = product / "1/manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    write_signed(home, product, canonical.dumps(manifest), **predicate)


def write_signed(home: Home, product: Path, document: bytes, **predicate: str) -> None:
    (product / "1/manifest.json").write_bytes(document)
    (product / "1.attestations/release.sigstore.json").write_bytes(
        sign_statement(
            home.keys,
            subject_name="manifest.json",
            subject_digest=canonical.sha256(document),
            predicate_type=RELEASE_PREDICATE,
            predicate={**release_predicate("healthcare", 1), **predicate},
        )
    )


def _table(**members: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["tables"]["patients"].update(members)


def _digest_of_conditions(manifest: dict[str, Any]) -> None:
    other = manifest["tables"]["conditions"]["content_digest"]
    manifest["tables"]["patients"]["content_digest"] = other
    manifest["lineage"][0]["content_digest"] = other


def _column_type(manifest: dict[str, Any]) -> None:
    manifest["tables"]["patients"]["columns"][0]["type"] = "int64"


def _contract(**members: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["contracts"]["patients"].update(members)


def _plan(manifest: dict[str, Any]) -> None:
    manifest["plan"]["document"]["profile"] = "none"


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        (_table(rows=49), "row count of table patients"),
        (_table(content_digest="hmac-sha256:1:" + "0" * 64), "differs from its source snapshot"),
        (_digest_of_conditions, "content of table patients"),
        (_column_type, "columns of table patients"),
        (_table(file_digest="sha256:" + "0" * 64), "not the one that was signed"),
        (_table(bytes=1), "larger than"),
        (_table(bytes=1 << 30), "not the one that was signed"),
        (_table(extra=1), r"malformed at tables\.patients\.extra"),
        (_table(rows="50"), r"malformed at tables\.patients\.rows"),
        (_table(rows=True), r"malformed at tables\.patients\.rows"),
        (_plan, "protection plan does not have the digest"),
        (_contract(digest="sha256:" + "0" * 64), "contract of patients is not the one it states"),
        (_contract(version="2.0.0"), "contract of patients is not the one it states"),
        (_contract(document={"version": "1.0.0"}), "contract of patients is not the one it states"),
        (lambda m: m["contracts"]["patients"].pop("document"), r"malformed at contracts\.patients\.document"),
        (lambda m: m.pop("dbt"), "malformed at dbt"),
        (lambda m: m["dbt"].update(extra=1), r"malformed at dbt\.extra"),
        (lambda m: m["dbt"]["tests"]["test.p.not_null"].update(severity="none"), r"malformed at dbt\.tests"),
        (lambda m: m["dbt"]["models"].clear(), "which SQL and tests made table"),
        (
            lambda m: m["verdicts"]["marts/patients"]["dbt"].update(detail={"tests": {"test.p.lost": True}}),
            "which SQL and tests made table patients",
        ),
        (lambda m: m["lineage"].clear(), "differs from its source snapshot"),
        (lambda m: m["verdicts"]["marts/patients"]["dbt"].update(passed=False), "or a failed one"),
        (lambda m: m["verdicts"]["marts/patients"].clear(), "no verdicts of marts/patients"),
        (lambda m: m["verdicts"].clear(), "no verdicts of marts/"),
        (lambda m: m.update(number=2), "was signed as another release"),
        (lambda m: m.update(product="finance"), "differs from its source snapshot"),
        (lambda m: m.update(checkpoint="sha256:" + "0" * 64), "another audit checkpoint"),
        (lambda m: m.update(format="secure-platform/release/v2"), "malformed at format"),
        (lambda m: m.pop("base"), "malformed at base"),
        (lambda m: m["tables"].clear(), "malformed at tables"),
        (lambda m: m["tables"].update({"../x": m["tables"]["patients"]}), "malformed at tables"),
        (lambda m: m["tables"].update({"Patients": m["tables"]["patients"]}), "malformed at tables"),
        (lambda m: m["tables"].update(more=m["tables"]["patients"]), r"lacks more\.parquet"),
        (lambda m: m["tables"].pop("patients"), "1 entries that do not belong"),
        (lambda m: m.update(payload_key="AAAA"), "wrapped data key|data key"),
    ],
)
def test_a_signed_manifest_that_does_not_hold_is_refused(
    home: Home, product: Path, change: Callable[[dict[str, Any]], None], culprit: str
) -> None:
    resign(home, product, lambda _: None)
    check(home, product / "1")
    resign(home, product, change)
    refused(home, product / "1", culprit)


def test_the_predicate_names_the_release(home: Home, product: Path) -> None:
    resign(home, product, lambda _: None, purl="pkg:generic/healthcare@2")
    refused(home, product / "1", "was signed as another release")


def test_a_signed_manifest_in_another_spelling_is_refused(home: Home, product: Path) -> None:
    manifest = json.loads((product / "1/manifest.json").read_bytes())
    write_signed(home, product, json.dumps(manifest).encode())
    refused(home, product / "1", "not in canonical form")
    write_signed(home, product, canonical.dumps(manifest).replace(b'{"base":', b'{"base":null,"base":', 1))
    refused(home, product / "1", "not a strict JSON document")


def test_other_rows_under_the_release_key_are_refused(home: Home, product: Path) -> None:
    """Whoever holds keys and signature still cannot release rows that the snapshot did not have."""
    path = product / "1/payload/patients.parquet"
    changed = patients(50).with_columns(year=pl.col("year") + 1)

    def replace(manifest: dict[str, Any]) -> None:
        key = home.keys.open_data_key(manifest["payload_key"], key_context("healthcare", 1))
        path.unlink()
        secret = file_key(key, "healthcare", 1, "patients")
        parquet.write(path, changed.lazy(), secret, consume=lambda _: None)
        data = path.read_bytes()
        manifest["tables"]["patients"].update(bytes=len(data), file_digest=canonical.sha256(data))

    resign(home, product, replace)
    refused(home, product / "1", "content of table patients")


def test_two_tables_cannot_change_names_even_under_a_signature(home: Home, product: Path) -> None:
    """Both files are ours, under one key, and the manifest agrees: only their names give it away."""
    payload = product / "1/payload"

    def swap(manifest: dict[str, Any]) -> None:
        (payload / "patients.parquet").rename(payload / "kept")
        (payload / "conditions.parquet").rename(payload / "patients.parquet")
        (payload / "kept").rename(payload / "conditions.parquet")
        tables = manifest["tables"]
        tables["patients"], tables["conditions"] = tables["conditions"], tables["patients"]

    resign(home, product, swap)
    refused(home, product / "1", "does not authenticate")


def test_the_data_key_of_another_release_does_not_open(home: Home, product: Path) -> None:
    other = json.loads((product / "2/manifest.json").read_bytes())

    def move(manifest: dict[str, Any]) -> None:
        for name in ("patients", "conditions"):
            shutil.copyfile(product / f"2/payload/{name}.parquet", product / f"1/payload/{name}.parquet")
        manifest.update({member: other[member] for member in ("tables", "lineage", "payload_key")})

    resign(home, product, move)
    refused(home, product / "1", "wrapped data key")


@pytest.fixture(autouse=True)
def _nothing_is_left(home: Home) -> Iterator[None]:
    yield
    assert [path.name for path in home.temporary.iterdir()] == ["claims.lock"]

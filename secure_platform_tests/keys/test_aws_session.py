"""What AWS's refusals are told as: states of keys, credentials, clocks, throttling, and servers that fail."""

import copy
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from key_servers import REGION, AwsServer

from secure_platform.errors import IntegrityError, SecurePlatformError, ServiceError, UsageError
from secure_platform.key_settings import AwsSettings
from secure_platform.keys.providers.aws import AwsKeyProvider
from secure_platform.keys.providers.aws_session import TRIES, AwsSession

CONTEXT = {"name": "data", "version": "1"}
KEY = "arn:aws:kms:eu-central-1:1:key/x"


def refused(settings: AwsSettings, kind: type[SecurePlatformError] = ServiceError) -> str:
    with pytest.raises(kind) as refusal:
        AwsKeyProvider(AwsSession(settings)).wrap(b"secret", context=CONTEXT)
    assert refusal.value.__cause__ is None
    return str(refusal.value)


@pytest.mark.usefixtures("aws_credentials")
def test_a_key_opens_nothing_while_it_is_disabled_or_waits_for_deletion(ministack_server: AwsServer) -> None:
    kms, settings = ministack_server.client("kms"), ministack_server.settings()
    provider = AwsKeyProvider(AwsSession(settings))
    wrapped = provider.wrap(b"secret", context=CONTEXT)
    kms.disable_key(KeyId=settings.key_id)
    for attempt in (
        lambda: provider.unwrap(wrapped, context=CONTEXT),
        lambda: provider.wrap(b"x", context=CONTEXT),
        lambda: provider.generate(CONTEXT),
    ):
        with pytest.raises(ServiceError, match=r"The key is disabled.*then enable it in KMS"):
            attempt()
    kms.enable_key(KeyId=settings.key_id)
    assert provider.unwrap(wrapped, context=CONTEXT) == b"secret"
    kms.schedule_key_deletion(KeyId=settings.key_id, PendingWindowInDays=7)
    with pytest.raises(ServiceError, match=r"waits for its deletion.*Cancel the deletion"):
        provider.unwrap(wrapped, context=CONTEXT)
    kms.cancel_key_deletion(KeyId=settings.key_id)
    kms.enable_key(KeyId=settings.key_id)
    assert provider.unwrap(wrapped, context=CONTEXT) == b"secret"


@pytest.mark.parametrize("server", ["moto_server", "ministack_server"])
@pytest.mark.usefixtures("aws_credentials")
def test_a_key_that_is_not_there_is_named(server: str, request: pytest.FixtureRequest) -> None:
    emulator: AwsServer = request.getfixturevalue(server)
    missing = "00000000-0000-0000-0000-000000000000"
    settings = AwsSettings(region=REGION, endpoint_url=emulator.url, key_id=missing)
    assert missing in (said := refused(settings))
    assert "Correct its name or the region" in said


@pytest.mark.usefixtures("aws_credentials")
def test_a_right_that_was_taken_away_is_said(
    ministack_server: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ministack enforces IAM on everybody but root."""
    settings, iam = ministack_server.settings(), ministack_server.client("iam")
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}],
    }
    iam.create_user(UserName="platform")
    iam.put_user_policy(UserName="platform", PolicyName="kms", PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName="platform")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
    provider = AwsKeyProvider(AwsSession(settings))
    wrapped = provider.wrap(b"secret", context=CONTEXT)
    iam.delete_user_policy(UserName="platform", PolicyName="kms")
    with pytest.raises(ServiceError, match=r"AWS does not allow kms:decrypt"):
        provider.unwrap(wrapped, context=CONTEXT)
    iam.put_user_policy(UserName="platform", PolicyName="kms", PolicyDocument=json.dumps(policy))
    assert provider.unwrap(wrapped, context=CONTEXT) == b"secret"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-stranger")
    said = refused(settings)
    assert "does not accept this platform's credentials" in said
    assert "canary" not in said


@pytest.mark.usefixtures("aws_credentials")
def test_no_credentials_are_said(moto_server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = moto_server.settings()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "has no AWS credentials" in refused(settings)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS"])
@pytest.mark.usefixtures("aws_credentials")
def test_an_address_from_the_environment_gets_no_keys(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the one that other programs of the machine use for an object store, without TLS."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9000")
    session = AwsSession(AwsSettings(region=REGION, key_id=KEY))
    assert session._client("kms").meta.endpoint_url == f"https://kms.{REGION}.amazonaws.com"


@pytest.mark.usefixtures("aws_credentials")
def test_what_was_wrapped_under_another_key_or_context_does_not_open(moto_server: AwsServer) -> None:
    """ministack opens it all the same; moto calls another key a missing right."""
    provider = AwsKeyProvider(AwsSession(moto_server.settings()))
    other = AwsKeyProvider(AwsSession(moto_server.settings()))
    wrapped = other.wrap(b"secret", context=CONTEXT)
    with pytest.raises(ServiceError, match="does not allow"):
        provider.unwrap(wrapped, context=CONTEXT)
    with pytest.raises(IntegrityError, match="belongs to something else"):
        other.unwrap(wrapped, context={**CONTEXT, "version": "2"})


@pytest.mark.usefixtures("aws_credentials")
@pytest.mark.parametrize("kind", ["RSA_2048", "SYMMETRIC_DEFAULT"])
def test_a_key_of_another_kind_does_not_sign(moto_server: AwsServer, kind: str) -> None:
    usage = "ENCRYPT_DECRYPT" if kind == "SYMMETRIC_DEFAULT" else "SIGN_VERIFY"
    key = moto_server.client("kms").create_key(KeySpec=kind, KeyUsage=usage)["KeyMetadata"]["Arn"]
    settings = moto_server.settings().model_copy(update={"signing_key_id": key})
    with pytest.raises(ServiceError, match="ECC_NIST_P256"):
        AwsKeyProvider(AwsSession(settings)).signer()


@contextmanager
def answering(*answers: tuple[int, Mapping[str, Any]]) -> Iterator[tuple[AwsSettings, list[str]]]:
    """A server that speaks as KMS does, one answer after the other, and the last one for ever."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, document = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.headers["x-amz-target"])
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield AwsSettings(region=REGION, endpoint_url=url, key_id=KEY, timeout_seconds=2), asked
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


EXPIRED = "Signature expired: 20261121T101010Z is now earlier than 20261121T111111Z"


# The answers are those that AWS documents for KMS; its emulators give none of them.
@pytest.mark.parametrize(
    ("status", "code", "text", "told", "times"),
    [
        (400, "ThrottlingException", "Rate exceeded", "AWS throttles kms:encrypt", TRIES),
        (500, "KMSInternalException", "canary", "AWS failed at kms:encrypt", TRIES),
        (503, "Unheard", "canary", "AWS failed at kms:encrypt", TRIES),
        (400, "InvalidSignatureException", EXPIRED, "Set this machine's clock", 1),
        (403, "RequestTimeTooSkewed", "canary", "Set this machine's clock", 1),
        (400, "ExpiredTokenException", "canary", "give the process new ones", 1),
        (400, "UnrecognizedClientException", "canary", "give the process new ones", 1),
        (400, "AccessDeniedException", "canary", "AWS does not allow kms:encrypt", 1),
        (400, "IncorrectKeyException", "canary", "belongs to something else", 1),
        (400, "InvalidKeyUsageException", "canary", "The key is of another kind", 1),
        (400, "Unheard", "canary", "AWS refuses kms:encrypt", 1),
    ],
)
@pytest.mark.usefixtures("aws_credentials")
def test_what_aws_documents_is_explained(
    status: int, code: str, text: str, told: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with answering((status, {"__type": code, "message": text})) as (settings, asked):
        said = refused(settings, SecurePlatformError)
    assert told in said
    assert "canary" not in said
    assert len(asked) == times


@pytest.mark.usefixtures("aws_credentials")
def test_aws_that_is_no_longer_busy_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    busy, done = {"__type": "ThrottlingException"}, {"CiphertextBlob": "d3JhcHBlZA==", "KeyId": KEY}
    with answering((400, busy), (400, busy), (200, done)) as (settings, asked):
        assert AwsKeyProvider(AwsSession(settings)).wrap(b"secret", context=CONTEXT) == b"wrapped"
    assert len(asked) == 3


@pytest.mark.usefixtures("aws_credentials")
def test_aws_that_is_silent_or_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = AwsSettings(region=REGION, endpoint_url=url, key_id=KEY, timeout_seconds=0.1)
        assert "did not answer kms:encrypt" in refused(settings)
    assert "cannot be reached" in refused(settings)


@pytest.mark.usefixtures("aws_credentials")
def test_a_connection_is_shown_and_copied_by_nobody(moto_server: AwsServer) -> None:
    session = AwsSession(moto_server.settings())
    assert "testing" not in repr(session)
    with pytest.raises(UsageError, match="cannot be pickled"):
        copy.deepcopy(session)

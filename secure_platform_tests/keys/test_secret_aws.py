"""Secrets Manager as moto has it: the current version counts, and AWS rotates."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from key_servers import REGION, AwsServer

from secure_platform.errors import ServiceError, UsageError
from secure_platform.key_settings import AwsSettings
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.keys.secrets.aws import AwsSecrets
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.keys.secrets.secret import LARGEST

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("aws_credentials")]

CANARY = "canary-90b3aa"


@pytest.fixture
def manager(moto_server: AwsServer) -> Any:
    return moto_server.client("secretsmanager")


@pytest.fixture
def secrets(moto_server: AwsServer, aws_credentials: Mapping[str, str]) -> Secrets:
    assert aws_credentials
    session = AwsSession(AwsSettings(region=REGION, endpoint_url=moto_server.url))
    return Secrets({"aws": lambda: AwsSecrets(session)}, ttl_seconds=300)


def _create(manager: Any, **value: Any) -> str:
    name = f"team/{uuid4().hex}"
    manager.create_secret(Name=name, **value)
    return name


def test_the_current_version_is_read_by_name_and_by_arn(manager: Any, secrets: Secrets) -> None:
    name = _create(manager, SecretString=json.dumps({"user": "u", "password": "one"}))
    arn = manager.describe_secret(SecretId=name)["ARN"]
    assert secrets.get(f"secret://aws/{name}#password").line == "one"
    assert secrets.get(f"secret://aws/{arn}#user").line == "u"
    new = manager.put_secret_value(SecretId=name, SecretString='{"password": "two"}')
    manager.put_secret_value(
        SecretId=name, SecretString='{"password": "staged"}', VersionStages=["AWSPENDING"]
    )
    newest = secrets.newest(f"secret://aws/{name}#password")
    assert (newest.line, newest.version) == ("two", new["VersionId"])
    assert newest.changed_at is not None
    assert newest.changed_at.tzinfo is not None


@pytest.mark.parametrize("value", [bytes(range(256)), b"a\n\x00", b"x" * LARGEST])
def test_bytes_come_back_as_they_were(manager: Any, secrets: Secrets, value: bytes) -> None:
    name = _create(manager, SecretBinary=value)
    assert secrets.get(f"secret://aws/{name}").value == value


def test_what_is_not_there_or_to_be_deleted_is_an_error_without_a_value(
    manager: Any, secrets: Secrets
) -> None:
    name = _create(manager, SecretString=CANARY)
    manager.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    for gone in (f"secret://aws/{name}", "secret://aws/never"):
        with pytest.raises(ServiceError) as refused:
            secrets.get(gone)
        assert CANARY not in f"{refused.value!r} {refused.value}"
        assert refused.value.__cause__ is None
    with pytest.raises(UsageError, match="not there"):
        secrets.get(f"secret://aws/{_create(manager, SecretString=CANARY)}#password")


def test_aws_is_asked_to_rotate_and_waited_for(manager: Any, secrets: Secrets) -> None:
    name = _create(manager, SecretString="one")
    first = secrets.get(f"secret://aws/{name}").version
    secrets.rotate(f"secret://aws/{name}", actor="ada")
    stages = manager.describe_secret(SecretId=name)["VersionIdsToStages"]
    assert [version for version in stages if "AWSCURRENT" in stages[version]] != [first]


def test_aws_rotates_and_what_was_remembered_is_read_again(manager: Any, moto_server: AwsServer) -> None:
    class WithFunction(AwsSession):
        """The secret's rotation function: moto has none, and leaves the new version empty."""

        def call(self, service: str, operation: str, /, *, about: str, **parameters: Any) -> dict[str, Any]:
            if operation == "rotate_secret":
                return dict(manager.put_secret_value(SecretId=name, SecretString="two"))
            return super().call(service, operation, about=about, **parameters)

    name = _create(manager, SecretString="one")
    session = WithFunction(AwsSettings(region=REGION, endpoint_url=moto_server.url))
    secrets = Secrets({"aws": lambda: AwsSecrets(session)}, ttl_seconds=300)
    assert secrets.get(f"secret://aws/{name}").line == "one"
    secrets.rotate(f"secret://aws/{name}", actor="ada")
    assert secrets.get(f"secret://aws/{name}").line == "two"


def test_a_rotation_that_does_not_finish_is_no_rotation(
    manager: Any, moto_server: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unfinished(AwsSession):
        """AWS accepts, and its function never comes to an end."""

        def call(self, service: str, operation: str, /, *, about: str, **parameters: Any) -> dict[str, Any]:
            if operation == "rotate_secret":
                return {"VersionId": "never-current"}
            return super().call(service, operation, about=about, **parameters)

    monkeypatch.setattr("secure_platform.keys.secrets.aws.PAUSE_SECONDS", 0)
    name = _create(manager, SecretString="one")
    keeper = AwsSecrets(Unfinished(AwsSettings(region=REGION, endpoint_url=moto_server.url)))
    with pytest.raises(ServiceError, match="has not finished"):
        keeper.rotate(name, None, actor="ada")
    assert keeper.read(name).line == "one"

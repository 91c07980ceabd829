"""KMS fails: nothing opens, nothing is half-written, what to do is said, and nothing is lost.

ministack has the states of keys and enforces IAM; what no emulator shows is in test_aws_session.py.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from key_places import SNAPSHOT, Kept, Place, refused
from key_servers import AwsServer

from secure_platform.key_settings import AwsSettings
from secure_platform.keys.providers.aws import AwsKeyProvider
from secure_platform.keys.providers.aws_session import AwsSession


@dataclass(frozen=True)
class AwsCase:
    server: AwsServer
    settings: AwsSettings

    @property
    def key_id(self) -> str:
        return str(self.settings.key_id)

    def provider(self) -> AwsKeyProvider:
        return AwsKeyProvider(AwsSession(self.settings))

    @property
    def kms(self) -> Any:
        return self.server.client("kms")


@contextmanager
def disabled(case: AwsCase) -> Iterator[None]:
    case.kms.disable_key(KeyId=case.key_id)
    yield
    case.kms.enable_key(KeyId=case.key_id)


@contextmanager
def to_be_deleted(case: AwsCase) -> Iterator[None]:
    case.kms.schedule_key_deletion(KeyId=case.key_id, PendingWindowInDays=7)
    yield
    case.kms.cancel_key_deletion(KeyId=case.key_id)
    case.kms.enable_key(KeyId=case.key_id)


@contextmanager
def forbidden(case: AwsCase) -> Iterator[None]:
    """IAM takes the right away from whom the platform runs as."""
    rights = case.server.client("iam")
    rights.delete_user_policy(UserName="keeper", PolicyName="kms")
    yield
    rights.put_user_policy(UserName="keeper", PolicyName="kms", PolicyDocument=json.dumps(ALLOWED))


ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}
AWS_FAULTS: dict[str, tuple[Callable[[AwsCase], AbstractContextManager[None]], str]] = {
    "disabled": (disabled, "then enable it in KMS"),
    "to be deleted": (to_be_deleted, "Cancel the deletion before it is due"),
    "forbidden": (forbidden, "policies of this identity"),
}


@pytest.fixture
def keeper(ministack_server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> AwsCase:
    """Runs as a user on whom IAM is enforced."""
    case = AwsCase(ministack_server, ministack_server.settings())
    rights = ministack_server.client("iam")
    if not any(user["UserName"] == "keeper" for user in rights.list_users()["Users"]):
        rights.create_user(UserName="keeper")
    rights.put_user_policy(UserName="keeper", PolicyName="kms", PolicyDocument=json.dumps(ALLOWED))
    made = rights.create_access_key(UserName="keeper")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
    return case


@pytest.mark.usefixtures("aws_credentials")
@pytest.mark.parametrize("name", AWS_FAULTS)
def test_a_fault_at_kms_stops_everything_and_loses_nothing(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = Place.new(tmp_path)
    keeper: AwsCase = request.getfixturevalue("keeper")
    fault, told = AWS_FAULTS[name]
    running = place.keys(keeper.provider())
    kept = Kept.made(running.ring)
    with fault(keeper):
        refused(place, kept.attempts(place.keys(keeper.provider())), told)
        assert running.ring.open_data_key(kept.wrapped, SNAPSHOT) == kept.plaintext
        refused(place, {"new": lambda: running.ring.token_key("order")}, told)
    kept.require(place.keys(keeper.provider()))

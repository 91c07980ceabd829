"""After a key leaked, what stands is vouched for by another, and what nobody made is found."""

from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from built_home import PRODUCT, Built
from sqlalchemy import insert

from secure_platform.control.database import utc_now
from secure_platform.control.locks import file_lock
from secure_platform.control.tables import approval
from secure_platform.errors import AccessDeniedError, GateRefusedError, IntegrityError, UsageError
from secure_platform.gate.approvals import decide, say
from secure_platform.keys.catalog import KeyState
from secure_platform.keys.signing import keyid_of
from secure_platform.orchestration.steps import emergency as answer
from secure_platform.orchestration.steps.deploy import deploy, verified_package
from secure_platform.orchestration.steps.emergency import Emergency, emergency, leaked_version
from secure_platform.release.bundle import signer_of
from secure_platform.release.layout import SIGNATURE, release_directory
from secure_platform.release.trust import read_trust_root
from secure_platform.release.verify import authentic_package
from secure_platform.services import Services


@pytest.fixture
def deployed(built: Built) -> Built:
    built.approve()
    deploy(built.services, built.product)
    return built


def leak(built: Built, name: str) -> Emergency:
    services = built.services
    return emergency(services, built.person("admin"), name)


def state(services: Services, name: str, version: int) -> str:
    return services.custody.find(name, version).state


def package(built: Built) -> Path:
    return release_directory(built.services.releases, PRODUCT, 1)


def test_what_stands_is_signed_again_and_the_leaked_key_signs_nothing(
    deployed: Built, tmp_path: Path
) -> None:
    services = deployed.services
    old = services.custody.find("sign", 1)
    session = services.sessions.open(deployed.person("sam"), method="password", address=None)
    before = services.gate.approvals(deployed.newest().digest)
    done = leak(deployed, "sign")
    assert (done.leaked, done.version, done.left, done.removed) == (1, 2, (), 0)
    assert done.signed_again == {"states of production": 2, "releases": 1, "decisions": 1}
    assert (done.tokens, done.sessions) == (4, 1)
    services = deployed.services
    assert state(services, "sign", 1) == KeyState.DISABLED
    with verified_package(services, deployed.newest()) as release:
        assert signer_of(release.files[SIGNATURE]) != keyid_of(old.public_key or "")
    assert [each.reason for each in services.gate.approvals(deployed.newest().digest)] == [
        each.reason for each in before
    ]
    production = services.target.current(PRODUCT)
    assert production is not None
    assert production.number == 1
    assert done.trust_root is not None
    trusted = read_trust_root(done.trust_root.read_bytes())
    assert [key.revoked_at is None for key in trusted.keys] == [False, True]
    authentic_package(package(deployed), trusted, tmp_path / "scratch")
    with pytest.raises(AccessDeniedError, match="revoked"):
        services.tokens.authenticate(deployed.token("dana").read_text())
    assert services.sessions.authenticate(session.secret) is None
    assert services.deployer().name == "service:deployer"
    deploy(services, deployed.product)
    services.audit.verify()


def test_a_decision_that_nobody_made_is_removed(built: Built) -> None:
    built.approve()
    services, record = built.services, built.newest()
    (real,) = services.gate.approvals(record.digest)
    why = say(services.keys, "looks fine")
    forged = decide(
        services.keys, record, "tess", "approve", base=None, given=real.given, said=why, now=utc_now()
    )
    row = {
        "release": record.digest,
        "principal": "tess",
        "decision": "approve",
        "reason": why.sealed,
        "bundle": forged.bundle.decode(),
        "created_at": forged.created_at,
    }
    with services.database.write() as connection:
        connection.execute(insert(approval).values(row))
    assert {each.principal for each in services.gate.approvals(record.digest)} == {"sam", "tess"}
    done = leak(built, "sign")
    assert (done.signed_again["decisions"], done.removed) == (1, 1)
    assert [each.principal for each in built.services.gate.approvals(record.digest)] == ["sam"]


def test_nothing_goes_on_over_a_release_that_was_not_made_here(deployed: Built) -> None:
    payload = next((package(deployed) / "payload").iterdir())
    payload.chmod(0o600)
    payload.write_bytes(payload.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="its bytes were changed"):
        leak(deployed, "sign")
    assert state(deployed.services, "sign", 1) == KeyState.DECRYPT_ONLY


def test_a_closed_release_that_does_not_verify_is_named_and_left(built: Built) -> None:
    services, record = built.services, built.newest()
    services.gate.reject(record.digest, built.person("sam"), reason="wrong")
    manifest = package(built) / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert leak(built, "sign").left == (record.title,)


def test_said_again_after_it_died_it_finishes_the_same_leak(
    deployed: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(answer, "resign_decisions", die)
        with pytest.raises(KeyboardInterrupt):
            leak(deployed, "sign")
    assert state(deployed.services, "sign", 1) == KeyState.DECRYPT_ONLY
    assert leaked_version(deployed.services, "sign").version == 1
    done = leak(deployed, "sign")
    assert (done.leaked, done.version) == (1, 2)
    assert state(deployed.services, "sign", 1) == KeyState.DISABLED
    assert leak(deployed, "sign").leaked == 2


def test_two_answers_at_once_rotate_once_and_the_second_is_refused_by_name(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has looked which version leaked while the first is at work."""
    waits, refused, lock = Event(), list[BaseException](), file_lock

    def second() -> None:
        try:
            leak(built, "token/patient")
        except GateRefusedError as error:
            refused.append(error)

    other = Thread(target=second)

    def first(self: answer._Answer) -> Emergency:
        monkeypatch.setattr(answer, "file_lock", waiting)
        other.start()
        assert waits.wait(60)
        return give(self)

    def waiting(*given: Any, **named: Any) -> AbstractContextManager[None]:
        waits.set()
        return lock(*given, **named)

    give = answer._Answer.give
    monkeypatch.setattr(answer._Answer, "give", first)
    assert leak(built, "token/patient").version == 2
    other.join()
    assert [str(each).partition(".")[0] for each in refused] == [
        "Version 1 of key 'token/patient' leaked, and somebody else has answered it at the same time"
    ]
    versions = [each for each in built.services.keys.versions() if each.name == "token/patient"]
    assert len(versions) == 2


def test_a_leaked_token_key_says_which_products_carry_it(deployed: Built) -> None:
    done = leak(deployed, "token/patient")
    assert (done.version, done.retokenize, done.trust_root) == (2, (PRODUCT,), None)
    assert state(deployed.services, "token/patient", 1) == KeyState.DECRYPT_ONLY
    assert done.tokens == 4


def test_what_was_encrypted_under_a_leaked_key_is_counted(deployed: Built) -> None:
    done = leak(deployed, "data")
    assert done.version == 2
    assert done.anew["records of snapshots"] >= 10
    assert done.anew["records of releases"] == 1
    assert done.anew["rows of approval"] == 1
    assert deployed.services.gate.approvals(deployed.newest().digest)[0].reason == "reviewed"


def test_keys_of_persons_survive_the_leak_of_what_wraps_them(built: Built) -> None:
    before = built.services.keys.subject_keys("patient", ["somebody"])
    done = leak(built, "subject")
    assert (done.version, done.anew) == (2, {})
    assert state(built.services, "subject", 1) == KeyState.DISABLED
    assert built.services.keys.subject_keys("patient", ["somebody"]) == before


@pytest.mark.parametrize("name", ["sign", "data"])
@pytest.mark.parametrize("caller", ["sam", "service:scheduler"])
def test_who_may_not_end_access_answers_no_leak(built: Built, caller: str, name: str) -> None:
    services = built.services
    with pytest.raises(AccessDeniedError):
        emergency(services, built.person(caller), name)
    with pytest.raises(UsageError):
        emergency(services, built.person("admin"), "token/unknown")
    assert state(services, name, 1) == KeyState.ACTIVE
    assert {token.revoked_at for token in services.tokens.list()} == {None}

"""A renewed root key: nothing is lost at any moment, and what leaked opens nothing that is there."""

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from secure_platform.access.principals import Principal
from secure_platform.control.tables import key_version
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.homes import initialise
from secure_platform.keys.lifecycle import Lifecycle
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.providers.root_keys import RootKeys
from secure_platform.services import ADMINISTRATOR, Services
from secure_platform.settings import load_settings

CONTEXT = {"name": "data", "version": "1"}


class Killed(BaseException):
    """As when the process dies."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("renewal") / "home"
    initialise(load_settings(home=home))
    Services(load_settings(home=home)).keys.token_key("patient")
    return home


@pytest.fixture
def home(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "home"))


def opened(home: Path) -> Services:
    return Services(load_settings(home=home))


def admin(services: Services) -> Principal:
    found = services.principals.get(ADMINISTRATOR)
    assert found is not None
    return found


def renew(home: Path) -> None:
    services = opened(home)
    services.custody.rewrap(admin(services))


def roots(home: Path) -> bytes:
    return (home / "keys" / "root.key").read_bytes()


def wrapped(home: Path) -> list[bytes]:
    with opened(home).database.read() as connection:
        return list(connection.execute(select(key_version.c.wrapped)).scalars())


def whole(home: Path, token: bytes) -> None:
    services = opened(home)
    assert services.keys.broken() == {}
    assert services.keys.token_key("patient").key == token
    services.audit.verify()


def test_a_root_key_that_leaked_opens_nothing_that_is_there_after_rewrapping(home: Path) -> None:
    leaked, token = RootKeys(roots(home)), opened(home).keys.token_key("patient").key
    assert all(map(leaked.opens, wrapped(home)))
    renew(home)
    assert not any(map(leaked.opens, wrapped(home)))
    assert roots(home)[32:] == leaked.content
    assert stat.S_IMODE((home / "keys" / "root.key").stat().st_mode) == 0o600
    whole(home, token)
    renew(home)
    assert leaked.content not in roots(home)
    assert len(roots(home)) == 64
    whole(home, token)


def dying(target: object, name: str, *, after: bool) -> Callable[..., object]:
    real: Callable[..., object] = getattr(target, name)

    def die(*given: object, **named: object) -> object:
        if after:
            real(*given, **named)
        raise Killed

    return die


@pytest.mark.parametrize(
    ("target", "name", "after"),
    [
        (LocalKeyProvider, "_replace", False),
        (LocalKeyProvider, "_replace", True),
        (Lifecycle, "rewrap", False),
        (Lifecycle, "rewrap", True),
        (RootKeys, "shortened", False),
    ],
    ids=["before-a-new-key", "with-a-new-key", "before-wrapping", "after-wrapping", "before-the-end"],
)
def test_killed_at_any_moment_everything_opens_and_repeating_finishes(
    home: Path, monkeypatch: pytest.MonkeyPatch, target: object, name: str, *, after: bool
) -> None:
    leaked, token = RootKeys(roots(home)), opened(home).keys.token_key("patient").key
    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, dying(target, name, after=after))
            with pytest.raises(Killed):
                renew(home)
        whole(home, token)
        assert len(roots(home)) <= 3 * 32
    renew(home)
    assert not any(map(leaked.opens, wrapped(home)))
    assert len(roots(home)) == 64
    whole(home, token)


def test_a_process_that_has_the_home_open_goes_on(home: Path) -> None:
    running = opened(home)
    token = running.keys.token_key("patient").key
    renew(home)
    renew(home)
    assert running.keys.token_key("patient").key == token
    running.keys.token_key("visit")
    running.custody.rotate(admin(running), "data")
    assert opened(home).keys.broken() == {}


def test_what_another_process_wraps_at_the_same_moment_is_kept(home: Path) -> None:
    slow = opened(home).provider()
    made = slow.wrap(bytes(32), context=CONTEXT)
    renew(home)
    assert opened(home).provider().unwrap(made, context=CONTEXT) == bytes(32)
    newest = RootKeys(roots(home)[:32])
    assert newest.opens(slow.wrap(bytes(32), context=CONTEXT))


def test_a_passphrase_stays(tmp_path: Path) -> None:
    LocalKeyProvider.create(tmp_path / "keys", b"slow brass otter 9 kites")
    provider = LocalKeyProvider.open(tmp_path / "keys", b"slow brass otter 9 kites")
    before = provider.wrap(b"secret", context=CONTEXT)
    with provider.renewed():
        after = provider.rewrap(before, context=CONTEXT)
    assert provider.is_protected()
    again = LocalKeyProvider.open(tmp_path / "keys", b"slow brass otter 9 kites")
    assert again.unwrap(after, context=CONTEXT) == again.unwrap(before, context=CONTEXT) == b"secret"
    with pytest.raises(UsageError, match="passphrase"):
        LocalKeyProvider.open(tmp_path / "keys")


def test_without_its_file_nothing_new_is_wrapped(home: Path) -> None:
    """Else a running process would wrap under a key that nobody has any more."""
    running = opened(home)
    running.keys.token_key("patient")
    (home / "keys" / "root.key").unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        running.keys.token_key("visit")

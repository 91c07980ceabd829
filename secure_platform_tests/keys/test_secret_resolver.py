"""What is far away is remembered for a while, read again when it must be, and never more often than that."""

import threading
from pathlib import Path

import pytest

from secure_platform.errors import ServiceError, UsageError
from secure_platform.keys.secrets.opening import EnvironmentSecrets, FileSecrets
from secure_platform.keys.secrets.provider import SecretsProvider
from secure_platform.keys.secrets.resolver import REFRESH_PAUSE, REMEMBERED, Secrets
from secure_platform.keys.secrets.secret import Secret


class Shelf(SecretsProvider):
    """A keeper that counts how often it was asked."""

    is_remote = True

    def __init__(self) -> None:
        self.value: bytes | None = b'{"user": "u", "password": "one"}'
        self.asked: list[str] = []
        self.gate: threading.Event | None = None
        self.answers = True

    def read(self, path: str) -> Secret:
        self.asked.append(path)
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.value is None:
            raise ServiceError("The shelf is locked", "Unlock it.")
        return Secret(self.value, f"secret://shelf/{path}")

    def rotate(self, path: str, field: str | None, *, actor: str) -> None:
        del path, field, actor
        self.value = b'{"user": "u", "password": "rotated"}'
        if not self.answers:
            raise ServiceError("The shelf did not answer", "Look at it.")


class Clock:
    """Seconds, as somebody says."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secrets(shelf: Shelf, clock: Clock) -> Secrets:
    providers = {"shelf": lambda: shelf, "file": FileSecrets, "env": EnvironmentSecrets}
    return Secrets(providers, ttl_seconds=60, clock=clock)


def test_it_is_asked_for_once_in_its_time(secrets: Secrets, shelf: Shelf, clock: Clock) -> None:
    first = [secrets.get(f"secret://shelf/a#{field}").line for field in ("user", "password")]
    clock.now += 59.9
    assert [*first, secrets.get("secret://shelf/a#password").line] == ["u", "one", "one"]
    assert shelf.asked == ["a"]
    shelf.value = b'{"user": "u", "password": "two"}'
    clock.now += 0.2
    assert secrets.get("secret://shelf/a#password").line == "two"
    assert shelf.asked == ["a", "a"]


def test_who_was_refused_gets_the_newest_one(secrets: Secrets, shelf: Shelf, clock: Clock) -> None:
    used = secrets.get("secret://shelf/a#password")
    shelf.value = b'{"user": "u", "password": "two"}'
    clock.now += REFRESH_PAUSE
    assert secrets.refresh(used).line == "two"
    assert secrets.refresh(used).line == "two"
    assert secrets.get("secret://shelf/a#password").line == "two"
    assert shelf.asked == ["a", "a"]


def test_who_is_refused_again_and_again_cannot_make_us_ask_without_end(
    secrets: Secrets, shelf: Shelf, clock: Clock
) -> None:
    used = secrets.get("secret://shelf/a#password")
    for _ in range(1000):
        clock.now += REFRESH_PAUSE / 100
        assert secrets.refresh(used).equals(used.value)
    assert len(shelf.asked) <= 11


def test_what_cannot_be_read_again_is_not_given(secrets: Secrets, shelf: Shelf, clock: Clock) -> None:
    used = secrets.get("secret://shelf/a#password")
    shelf.value = None
    clock.now += 61
    for _ in range(2):
        with pytest.raises(ServiceError, match="locked"):
            secrets.get("secret://shelf/a#password")
    with pytest.raises(ServiceError, match="locked"):
        secrets.refresh(used)
    shelf.value = b'{"password": "back"}'
    assert secrets.get("secret://shelf/a#password").line == "back"


def test_after_a_rotation_from_here_the_former_one_is_forgotten(secrets: Secrets, shelf: Shelf) -> None:
    assert secrets.get("secret://shelf/a#password").line == "one"
    secrets.rotate("secret://shelf/a#password", actor="ada")
    assert secrets.get("secret://shelf/a#password").line == "rotated"
    assert len(shelf.asked) == 2


def test_after_a_rotation_whose_answer_was_lost_it_is_read_again(secrets: Secrets, shelf: Shelf) -> None:
    assert secrets.get("secret://shelf/a#password").line == "one"
    shelf.answers = False
    with pytest.raises(ServiceError, match="did not answer"):
        secrets.rotate("secret://shelf/a#password", actor="ada")
    assert secrets.get("secret://shelf/a#password").line == "rotated"


def test_many_threads_ask_once(secrets: Secrets, shelf: Shelf) -> None:
    shelf.gate = threading.Event()
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda: got.append(secrets.get("secret://shelf/a#password").line))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    shelf.gate.set()
    for thread in threads:
        thread.join(20)
    assert (got, shelf.asked) == (["one"] * 20, ["a"])


def test_a_slow_secret_holds_up_no_other(secrets: Secrets, shelf: Shelf) -> None:
    secrets.get("secret://shelf/quick")
    shelf.gate = threading.Event()
    slow = threading.Thread(target=lambda: secrets.get("secret://shelf/slow"))
    slow.start()
    assert secrets.get("secret://shelf/quick#user").line == "u"
    shelf.gate.set()
    slow.join(20)


def test_what_is_remembered_is_bounded(secrets: Secrets, shelf: Shelf) -> None:
    for number in range(REMEMBERED + 1):
        secrets.get(f"secret://shelf/{number}")
    secrets.get(f"secret://shelf/{REMEMBERED}")
    assert len(shelf.asked) == REMEMBERED + 1
    secrets.get("secret://shelf/0")
    assert len(shelf.asked) == REMEMBERED + 2


def test_a_file_is_never_remembered(secrets: Secrets, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for text in ("one", "two"):
        file.write_text(text)
        file.chmod(0o600)
        assert secrets.get(f"secret://file/{file}").line == text


def test_what_cannot_be_changed_from_here_says_so(secrets: Secrets) -> None:
    for reference in ("secret://file//run/x", "secret://env/X"):
        with pytest.raises(UsageError, match="where it was made"):
            secrets.rotate(reference, actor="ada")


def test_an_unknown_provider_is_named(secrets: Secrets) -> None:
    with pytest.raises(UsageError, match="no secrets provider vualt"):
        secrets.get("secret://vualt/x")

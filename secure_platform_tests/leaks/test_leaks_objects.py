"""Every object that is reached from an opened home, and every error: none of them shows a key or a secret."""

import gc
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import BuiltinMethodType, CellType, FunctionType, MethodType
from typing import Any, Final
from unittest.mock import patch

import polars as pl
import pytest
from canaries import KEY, KEY_LABEL, needles, plant_in_keys

from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.homes import initialise
from secure_platform.keys.material import NotPickled
from secure_platform.keys.ring import KeyRing
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.store.snapshot import Zone

CONTEXT: Final = {"product": "p", "dataset": "d"}
SECRET: Final = KEY + b"-secret"
PLAIN: Final = (dict, list, tuple, set, frozenset)
BOUND: Final = (MethodType, BuiltinMethodType, CellType, partial)
HOLDERS: Final = frozenset(
    {
        "_Opened",
        "CellKey",
        "DataKey",
        "DigestKey",
        "Invitation",
        "IssuedToken",
        "RootKeys",
        "OpenedSession",
        "Secret",
        "TokenKey",
    }
)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A home all of whose keys are canaries."""
    plant_in_keys()
    try:
        settings = load_settings(home=tmp_path_factory.mktemp("objects") / "home")
        initialise(settings)
        yield Services(settings)
    finally:
        patch.stopall()


@pytest.fixture(scope="module")
def used(services: Services) -> list[Any]:
    """What somebody holds who has used everything."""
    keys, admin = services.keys, services.principals.get("admin")
    assert admin is not None
    keys.lifecycle.rotate("data", actor="admin")
    services.local_secrets.set("password", SECRET, actor="admin")
    frame = pl.LazyFrame({"a": [1, 2]})
    with services.store.draft("p", "d", Zone.RAW, actor="admin") as draft:
        draft.write(frame)
        return [
            services,
            draft,
            keys.new_data_key(CONTEXT),
            keys.token_key("patient"),
            keys.cell_key("patient"),
            keys.digest_key("content"),
            keys.subject_keys("patient", ["somebody"]),
            keys.log_signer("n"),
            keys.mac("purpose", b"m"),
            keys.identify("somebody"),
            services.secrets.get("secret://local/password"),
            services.tokens.issue("admin", actor="admin"),
            services.sessions.open(admin, method="password", address=None),
            services.credentials.invite("admin", actor="admin"),
            services.custody.report(admin),
            services.audit.checkpoint(),
            services.deployer(),
        ]


def reached(roots: list[Any]) -> list[Any]:
    """The roots, what they refer to, and so on: objects, contents, what functions closed over."""
    found: dict[int, Any] = {}
    waiting = list(roots)
    while waiting:
        each = waiting.pop()
        if id(each) in found or not _followed(each):
            continue
        found[id(each)] = each
        waiting += each.__closure__ or () if isinstance(each, FunctionType) else gc.get_referents(each)
    return list(found.values())


def _followed(each: object) -> bool:
    return isinstance(each, (bytes, str, FunctionType, *PLAIN, *BOUND)) or _is_ours(each)


def _is_ours(each: object) -> bool:
    return type(each).__module__.startswith("secure_platform.") and not isinstance(each, type)


def shown(text: str) -> list[str]:
    """In which ways a text shows a key."""
    content = text.encode("utf-8", "surrogatepass")
    return [label for label, needle in needles().items() if label.startswith(KEY_LABEL) and needle in content]


def held(each: object) -> bool:
    """Whether an object has a key itself, and not by another object of ours."""
    waiting, seen = list(vars(each).values()) if hasattr(each, "__dict__") else [], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, PLAIN) and id(value) not in seen:
            seen.add(id(value))
            waiting += [*value, *value.values()] if isinstance(value, dict) else value
        elif isinstance(value, bytes | str) and shown(value if isinstance(value, str) else repr(value)):
            return True
    return False


def test_no_object_shows_a_key(used: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    found = [each for each in reached(used) if _is_ours(each)]
    assert len({type(each) for each in found}) > 40
    with caplog.at_level(logging.DEBUG):
        for each in found:
            logging.getLogger("test").debug("%s %r", each, each)
    texts = {type(each).__name__: f"{each!r} {each} {[each]}" for each in found}
    assert {name: ways for name, text in texts.items() if (ways := shown(text))} == {}
    assert shown(caplog.text) == []


def test_what_holds_a_key_cannot_leave_the_process(used: list[Any]) -> None:
    holders = {type(each).__name__: each for each in reached(used) if _is_ours(each) and held(each)}
    assert holders.keys() >= HOLDERS
    assert [name for name, each in holders.items() if not isinstance(each, NotPickled)] == []
    for each in holders.values():
        with pytest.raises(UsageError, match="holds key material"):
            pickle.dumps(each)


def test_the_walk_sees_what_is_hidden(used: list[Any]) -> None:
    class Careless:
        def __init__(self) -> None:
            self.keys = {"a": [KEY]}

    Careless.__module__ = "secure_platform.careless"
    careless = Careless()
    assert careless in reached([*used, {"deep": (lambda: careless,)}])
    assert held(careless)
    assert shown(repr(vars(careless)))


def flips(content: bytes) -> Iterator[bytes]:
    """Each byte changed, one after the other."""
    for position in range(len(content)):
        yield content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def failing(keys: KeyRing) -> Iterator[Callable[[], object]]:
    """Whatever a caller or a thief does wrong."""
    wrapped = keys.new_data_key(CONTEXT).wrapped
    sealed = keys.seal_secret("reason", CONTEXT, SECRET)
    signature = keys.sign(b"m")
    for changed in flips(wrapped.encode()):
        yield partial(keys.open_data_key, changed.decode("latin-1"), CONTEXT)
    for changed in flips(sealed):
        yield partial(keys.open_secret, "reason", CONTEXT, changed)
    for changed in flips(signature.value):
        yield partial(keys.verify, b"m", changed, signature.keyid)
    yield partial(keys.open_data_key, wrapped, {})
    yield partial(keys.open_secret, "another", CONTEXT, sealed)
    for version in (0, 9):
        yield partial(keys.token_key, "patient", version)
        yield partial(keys.digest_key, "content", version)
    for change in (keys.lifecycle.disable, keys.lifecycle.destroy, keys.lifecycle.enable):
        yield partial(change, "mac", 1, actor="admin")


def test_no_error_shows_a_key(services: Services) -> None:
    count = 0
    for fail in failing(services.keys):
        with pytest.raises(SecurePlatformError) as refused:
            fail()
        count += 1
        lines = traceback.format_exception(refused.value)
        assert shown("".join(lines) + repr(refused.value.args)) == []
        assert refused.value.__cause__ is None
    assert count > 200


def test_no_file_of_a_home_shows_a_key_but_those_that_are_keys(used: list[Any], services: Services) -> None:
    assert used
    services.database.scrub()
    found = {
        path.relative_to(services.settings.home).as_posix()
        for path in services.settings.home.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in _keys())
    }
    assert found == {"keys/root.key", "keys/admin.token", "keys/deployer.token"}


def _keys() -> list[bytes]:
    return [needle for label, needle in needles().items() if label.startswith(KEY_LABEL)]


def test_the_canary_is_in_the_keys(services: Services) -> None:
    root = Path(services.settings.home / "keys" / "root.key").read_bytes()
    assert root.startswith(KEY)
    assert services.keys.token_key("patient").key.startswith(KEY)

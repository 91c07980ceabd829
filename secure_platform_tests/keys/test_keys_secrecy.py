"""Key material is never in sight: not in texts, errors, pickles or files."""

import base64
import copy
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from keys_support import CONTEXT, Home, migrate, uses

from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.ring import KeyRing


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Home:
    return Home(tmp_path, migrated)


def test_no_material_in_texts(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    data_key, token_key = home.ring.new_data_key(CONTEXT), home.ring.token_key("patient")
    signer = home.ring.log_signer("n")
    root = (home.directory / "keys" / "root.key").read_bytes()
    secrets = [
        root,
        data_key.plaintext,
        token_key.key,
        *materials(home.ring),
    ]
    assert len(secrets) >= 6
    holders = [
        home.ring,
        home.provider,
        data_key,
        token_key,
        signer,
        home.provider._roots,
        *home.ring.versions(),
    ]
    with caplog.at_level(logging.DEBUG):
        for holder in holders:
            logging.getLogger("test").debug("%s %r", holder, holder)
    stored = "".join(repr(key) for key in home.ring._rows.of("data"))
    assert_hidden(secrets, caplog.text + stored + "".join(f"{holder} {holder!r}" for holder in holders))


def test_no_material_in_errors(home: Home) -> None:
    ring = home.ring
    data_key = ring.new_data_key(CONTEXT)
    signature = ring.sign(b"m")
    home.add_version("token/patient", 2, b"short")
    failing: list[Callable[[], object]] = [
        lambda: ring.open_data_key(data_key.wrapped, {}),
        lambda: ring.open_data_key(data_key.wrapped[:-4], CONTEXT),
        lambda: ring.verify(b"n", signature.value, signature.keyid),
        lambda: ring.token_key("patient", 9),
        lambda: pickle.dumps(data_key),
    ]
    secrets = [
        (home.directory / "keys" / "root.key").read_bytes(),
        data_key.plaintext,
        *materials(ring),
    ]
    for fail in failing:
        with pytest.raises((IntegrityError, UsageError)) as refusal:
            fail()
        assert_hidden(secrets, "".join(traceback.format_exception(refusal.value)))
        assert refusal.value.__cause__ is None


def test_nothing_with_material_is_pickled_or_copied(home: Home) -> None:
    for holder in (
        home.ring,
        home.provider,
        home.ring.new_data_key(CONTEXT),
        home.ring.token_key("patient"),
        home.ring.log_signer("n"),
        home.provider._roots,
    ):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(UsageError, match="holds key material"):
                attempt(holder)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(UsageError, match="holds key material"):
                pickle.dumps([holder], protocol=protocol)


def test_no_material_on_the_disk_outside_the_root_key(home: Home) -> None:
    data_key = home.ring.new_data_key(CONTEXT)
    for use in uses(home.ring).values():
        use()
    home.database.close()
    secrets = [
        data_key.plaintext,
        *materials(home.ring),
        (home.directory / "keys/root.key").read_bytes(),
    ]
    for file in home.directory.rglob("*"):
        if file.is_file() and file.name != "root.key":
            content = file.read_bytes()
            assert not any(secret in content or secret.hex().encode() in content for secret in secrets), (
                file.name
            )


def materials(ring: KeyRing) -> list[bytes]:
    return [opened.material for opened in ring._opened._opened.values()]


def assert_hidden(secrets: list[bytes], text: str) -> None:
    for secret in secrets:
        for form in (secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1], str(list(secret))):
            assert form not in text

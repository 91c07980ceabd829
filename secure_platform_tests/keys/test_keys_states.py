"""Keys are made once, and a key in the wrong state or with a changed row does nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from keys_support import CONTEXT, NAMES, Home, migrate, uses
from ring_home import open_ring
from sqlalchemy import delete, select

from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import key_version
from secure_platform.errors import IntegrityError
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Home:
    return Home(tmp_path, migrated)


def test_initialise_makes_every_key_once(home: Home) -> None:
    assert home.created == NAMES
    assert home.ring.initialise() == []
    assert home.reopened().initialise() == []
    assert [(v.name, v.version, v.state) for v in home.ring.versions()] == [
        (name, 1, "active") for name in sorted(NAMES)
    ]


def test_initialise_fills_only_what_is_missing(home: Home) -> None:
    token = home.ring.mac("p", b"m")
    with home.database.write() as connection:
        connection.execute(delete(key_version).where(key_version.c.name == "digest"))
    assert home.ring.initialise() == ["digest"]
    assert home.ring.mac("p", b"m") == token


def test_initialise_by_three_processes_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    ControlDatabase.at(home / "control.db").migrate()
    LocalKeyProvider.create(home / "keys")
    program = (
        "import sys; from pathlib import Path; home = Path(sys.argv[1])\n"
        "from secure_platform.control.database import ControlDatabase\n"
        "from ring_home import open_ring\n"
        "ring, _ = open_ring(home, ControlDatabase.at(home / 'control.db'))\n"
        "print(len(ring.initialise()), ring.mac('p', b'm'), ring.identify('alice'))\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(home)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        for _ in range(3)
    ]
    lines = [process.communicate()[0].split() for process in running]
    assert sorted(int(line[0]) for line in lines) == [0, 0, 6]
    assert len({tuple(line[1:]) for line in lines}) == 1


def test_a_home_whose_root_key_was_remade_gets_no_new_keys(home: Home) -> None:
    with home.database.write() as connection:
        connection.execute(delete(key_version).where(key_version.c.name == "digest"))
    (home.directory / "keys" / "root.key").unlink()
    LocalKeyProvider.create(home.directory / "keys")
    ring, _ = open_ring(home.directory, home.database)
    with pytest.raises(
        IntegrityError, match=r"root\.key is not the root key.*Restore .*root\.key from the backup"
    ):
        ring.initialise()
    assert "digest" not in {version.name for version in ring.versions()}


def test_an_empty_database_says_to_initialise(tmp_path: Path) -> None:
    database = ControlDatabase.at(tmp_path / "control.db")
    database.migrate()
    LocalKeyProvider.create(tmp_path / "keys")
    ring, _ = open_ring(tmp_path, database)
    with pytest.raises(IntegrityError, match=r"no key 'mac'.*secure-platform init"):
        ring.mac("p", b"m")


def test_two_rings_on_one_database_agree(home: Home) -> None:
    other = home.reopened()
    key = home.ring.new_data_key(CONTEXT)
    assert other.open_data_key(key.wrapped, CONTEXT) == key.plaintext
    assert other.verify_mac("p", b"m", home.ring.mac("p", b"m"))
    assert other.digest_key("content") == home.ring.digest_key("content")
    assert other.identify("alice") == home.ring.identify("alice")
    assert other.token_key("patient") == home.ring.token_key("patient")
    signature = home.ring.sign(b"manifest")
    other.verify(b"manifest", signature.value, signature.keyid)
    assert other.public_key_pem(signature.keyid) == home.ring.public_key_pem(signature.keyid)
    assert other.log_signer("n").public_key == home.ring.log_signer("n").public_key


def test_two_homes_share_nothing(home: Home, tmp_path: Path, migrated: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other", migrated).ring
    assert other.identify("alice") != home.ring.identify("alice")
    assert other.token_key("patient").key != home.ring.token_key("patient").key
    assert not other.verify_mac("p", b"m", home.ring.mac("p", b"m"))
    with pytest.raises(IntegrityError):
        other.open_data_key(home.ring.new_data_key(CONTEXT).wrapped, CONTEXT)
    signature = home.ring.sign(b"m")
    with pytest.raises(IntegrityError, match="not one of this home's signing keys"):
        other.verify(b"m", signature.value, signature.keyid)


def readings(ring: KeyRing) -> dict[str, Callable[[], object]]:
    """One reading of something that each key has made."""
    wrapped, mac, signature = ring.new_data_key(CONTEXT).wrapped, ring.mac("p", b"m"), ring.sign(b"m")
    return {
        "data": lambda: ring.open_data_key(wrapped, CONTEXT),
        "token/patient": lambda: ring.token_key("patient", 1),
        "mac": lambda: ring.verify_mac("p", b"m", mac),
        "sign": lambda: ring.verify(b"m", signature.value, signature.keyid),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", ["decrypt-only", "disabled", "destroyed", "ACTIVE", "unheard-of", ""])
def test_only_an_active_key_makes_new_things(home: Home, name: str, state: str) -> None:
    use = uses(home.ring)[name]
    use()
    home.set(name, state=state)
    with pytest.raises(IntegrityError, match=f"Version 1 of key '{name}' is {state}"):
        use()


@pytest.mark.parametrize("name", ["data", "token", "mac", "sign"])
@pytest.mark.parametrize("state", ["disabled", "destroyed", "unheard-of"])
def test_a_disabled_key_reads_nothing_even_after_it_was_unwrapped(home: Home, name: str, state: str) -> None:
    read = readings(home.ring)[name]
    read()
    home.set(name, state="decrypt-only")
    read()
    home.set(name, state=state)
    with pytest.raises(IntegrityError, match=f"Version 1 of key '{name}' is {state}"):
        read()


@pytest.mark.parametrize("name", NAMES)
def test_an_older_active_version_never_stands_in_for_a_newer_one(home: Home, name: str) -> None:
    use = uses(home.ring)[name]
    home.add_version(name, 2, bytes(range(32)), state="disabled")
    with pytest.raises(IntegrityError, match=f"Version 2 of key '{name}' is disabled"):
        use()


@pytest.mark.parametrize("name", NAMES)
def test_a_destroyed_key_without_material_is_refused_whatever_its_state_says(home: Home, name: str) -> None:
    use = uses(home.ring)[name]
    home.set(name, wrapped=None)
    with pytest.raises(IntegrityError, match="has no material"):
        use()


@pytest.mark.parametrize("name", NAMES)
def test_every_tampered_column_is_refused_even_after_the_key_was_unwrapped(home: Home, name: str) -> None:
    use = uses(home.ring)[name]
    use()
    with home.database.read() as connection:
        rows = {row.name: row for row in connection.execute(select(key_version))}
    stranger = rows["token" if name != "token" else "mac"]
    for column, value, refusal in (
        ("wrapped", stranger.wrapped, "does not authenticate"),
        ("wrapped", b"", "is not the root key"),
        ("algorithm", "none", "no material of its algorithm"),
        ("provider", "vault", "wrapped by provider 'vault'"),
        ("version", 7, "does not authenticate"),
    ):
        home.set(name, **{column: value})
        with pytest.raises(IntegrityError, match=refusal):
            use()
        home.set(name, **{column: getattr(rows[name], column)})
        use()

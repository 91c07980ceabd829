"""Keys are made once, and a key in the wrong state or with a changed row does nothing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keys_support import CONTEXT, NAMES, Home, migrate, uses
from sqlalchemy import delete, insert, select

from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import key_version
from secure_platform.errors import IntegrityError
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.making import make_version
from secure_platform.keys.opened import OpenedKeys
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing

TAMPERED = "is not in the control database as the audit log recorded it last"
# The MAC key must be opened before its own row can be verified.
NOT_OPENED = "does not authenticate|is not the root key|no material of its algorithm|wrapped by provider"
ALL = [*NAMES, "token/patient", "cell/patient"]


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


def test_what_was_initialised_and_not_announced_is_announced_by_the_next(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that died in between leaves keys that the log does not know."""

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("secure_platform.keys.rows.KeyRows.announce", die)
        with pytest.raises(KeyboardInterrupt):
            Home(tmp_path, migrated)
    ring = HomeKeys(
        LocalKeyProvider.open(tmp_path / "keys"),
        ControlDatabase.at(tmp_path / "control.db"),
        tmp_path / "audit.db",
    ).ring
    mac = ring.mac("p", b"m")
    assert ring._rows.is_silent()
    assert ring.initialise() == []
    assert not ring._rows.is_silent()
    assert ring.mac("p", b"m") == mac


def test_initialise_by_three_processes_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    ControlDatabase.at(home / "control.db").migrate()
    LocalKeyProvider.create(home / "keys")
    program = (
        "import sys; from pathlib import Path; home = Path(sys.argv[1])\n"
        "from secure_platform.control.database import ControlDatabase\n"
        "from secure_platform.keys.home import HomeKeys\n"
        "from secure_platform.keys.providers.local import LocalKeyProvider\n"
        "provider = LocalKeyProvider.open(home / 'keys')\n"
        "ring = HomeKeys(provider, ControlDatabase.at(home / 'control.db'), home / 'audit.db').ring\n"
        "print(len(ring.initialise()), ring.mac('p', b'm'), ring.token_key('patient').key.hex())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    lines = [process.communicate()[0].split() for process in running]
    assert sorted(int(line[0]) for line in lines) == [0, 0, 6]
    assert len({tuple(line[1:]) for line in lines}) == 1


def test_a_home_whose_root_key_was_remade_gets_no_new_keys(home: Home) -> None:
    (home.directory / "keys" / "root.key").unlink()
    LocalKeyProvider.create(home.directory / "keys")
    with pytest.raises(
        IntegrityError, match=r"root\.key is not the root key.*Put .*root\.key back.*keys restore FILE"
    ):
        home.reopened().initialise()


def test_an_empty_database_says_to_initialise(tmp_path: Path) -> None:
    database = ControlDatabase.at(tmp_path / "control.db")
    database.migrate()
    ring = HomeKeys(LocalKeyProvider.create(tmp_path / "keys"), database, tmp_path / "audit.db").ring
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
    assert other.cell_key("patient") == home.ring.cell_key("patient")
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
    ring.token_key("patient")
    ring.cell_key("patient")
    return {
        "data": lambda: ring.open_data_key(wrapped, CONTEXT),
        "token/patient": lambda: ring.token_key("patient", 1),
        "cell/patient": lambda: ring.cell_key("patient", 1),
        "mac": lambda: ring.verify_mac("p", b"m", mac),
        "sign": lambda: ring.verify(b"m", signature.value, signature.keyid),
        "digest": lambda: ring.digest_key("p", 1),
    }


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("mac", "digest")])
@pytest.mark.parametrize("state", ["decrypt-only", "disabled", "destroyed", "unheard-of"])
def test_only_an_active_key_makes_new_things(home: Home, name: str, state: str) -> None:
    use = uses(home.ring)[name]
    use()
    home.set_state(name, 1, state)
    with pytest.raises(IntegrityError, match=f"Version 1 of key '{name}' is {state}"):
        use()


@pytest.mark.parametrize("name", ["data", "token/patient", "cell/patient", "sign", "mac", "digest"])
@pytest.mark.parametrize("state", ["disabled", "destroyed"])
def test_a_ring_elsewhere_that_opened_a_key_does_nothing_with_it_once_it_is_disabled(
    home: Home, name: str, state: str
) -> None:
    read = readings(home.reopened())[name]
    read()
    home.ring.lifecycle.rotate(name, actor="admin")
    read()
    if state == "disabled":
        home.ring.lifecycle.disable(name, 1, actor="admin")
    else:
        home.ring.lifecycle.destroy(name, 1, actor="admin")
    with pytest.raises(IntegrityError, match=f"Version 1 of key '{name}' is {state}"):
        read()


def test_material_of_a_version_that_is_not_readable_is_forgotten(home: Home) -> None:
    ring = home.reopened()
    data = ring.new_data_key(CONTEXT)
    assert ring.open_data_key(data.wrapped, CONTEXT)
    assert any(source[:2] == ("data", 1) for source in ring._opened._opened)
    home.ring.lifecycle.rotate("data", actor="admin")
    home.ring.lifecycle.disable("data", 1, actor="admin")
    with pytest.raises(IntegrityError, match=r"is disabled.*keys enable data 1"):
        ring.open_data_key(data.wrapped, CONTEXT)
    assert not any(source[:2] == ("data", 1) for source in ring._opened._opened)


def test_a_version_that_another_thread_opens_meanwhile_stops_no_forgetting(home: Home) -> None:
    opened = OpenedKeys(home.provider, fips=False)
    first, second = (make_version(home.provider, "token/d", n, utc_now(), fips=False) for n in (1, 2))

    class Meanwhile(tuple[Any, ...]):
        """The second is opened while it is looked at."""

        __slots__ = ()

        def __getitem__(self, place: Any) -> Any:
            opened.material(second)
            return super().__getitem__(place)

    opened.material(first)
    opened._opened = {Meanwhile(source): held for source, held in opened._opened.items()}
    opened.forget("token/d", 1)
    assert [source[:2] for source in opened._opened] == [("token/d", 2)]


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("mac", "digest")])
def test_an_older_active_version_never_stands_in_for_a_newer_one(home: Home, name: str) -> None:
    use = uses(home.ring)[name]
    use()
    home.add_version(name, 2, bytes(range(32)), state="disabled")
    with pytest.raises(IntegrityError, match=f"Version 2 of key '{name}' is disabled"):
        use()


# --- what somebody can do who writes to the database, and has neither the log nor the root key


@pytest.mark.parametrize("name", ALL)
def test_every_tampered_column_is_refused_even_after_the_key_was_unwrapped(home: Home, name: str) -> None:
    use = uses(home.ring)[name]
    for each in uses(home.ring).values():
        each()
    with home.database.read() as connection:
        rows = {row.name: row for row in connection.execute(select(key_version))}
    stranger = rows["token/patient" if name != "token/patient" else "cell/patient"]
    for column, value in (
        ("wrapped", stranger.wrapped),
        ("wrapped", b""),
        ("wrapped", None),
        ("algorithm", "none"),
        ("provider", "vault"),
        ("reference", "transit/keys/mine"),
        ("public_key", "mine"),
        ("state", "decrypt-only"),
        ("state", "ACTIVE"),
        ("state", "disabled"),
        ("version", 7),
        ("created_at", rows["data"].created_at.replace(year=2099)),
        ("seal", stranger.seal),
        ("seal", ""),
        ("seal", b"m1"),
        ("seal", "m9" + rows[name].seal[2:]),
    ):
        home.set(name, **{column: value})
        for ring in (home.ring, home.reopened()):
            with pytest.raises(IntegrityError, match=rf"{TAMPERED}|{NOT_OPENED}"):
                uses(ring)[name]()
        home.set(name, **{column: getattr(rows[name], column)})
        use()


@pytest.mark.parametrize("name", ["data", "token/patient", "cell/patient", "mac", "sign", "digest", "log"])
def test_a_row_that_is_put_back_is_refused(home: Home, name: str) -> None:
    """Disabled, and active again by writing back the row as it was."""
    use = uses(home.ring)[name]
    use()
    rows = home.rows()
    home.ring.lifecycle.rotate(name, actor="admin")
    home.ring.lifecycle.disable(name, 1, actor="admin")
    use()
    before = home.rows()
    for ours in (key_version.c.name == name, (key_version.c.name == name) & (key_version.c.version == 1)):
        with home.database.write() as connection:
            connection.execute(delete(key_version).where(ours))
            connection.execute(insert(key_version).values(rows[name, 1]))
        for ring in (home.ring, home.reopened()):
            with pytest.raises(IntegrityError, match=TAMPERED):
                uses(ring)[name]()
            with pytest.raises(IntegrityError, match=TAMPERED):
                ring.versions()
        home.put(before)
        use()


@pytest.mark.parametrize("name", ["data", "token/patient", "mac", "digest"])
def test_a_deleted_key_is_missed_and_never_made_again(home: Home, name: str) -> None:
    for each in uses(home.ring).values():
        each()
    rows = home.rows()
    with home.database.write() as connection:
        connection.execute(delete(key_version).where(key_version.c.name == name))
    for ring in (home.ring, home.reopened()):
        with pytest.raises(IntegrityError):
            uses(ring)[name]()
        with pytest.raises(IntegrityError):
            ring.initialise()
        with pytest.raises(IntegrityError):
            ring.versions()
    home.put(rows)
    uses(home.ring)[name]()


def test_a_deleted_newest_version_does_not_bring_back_the_one_before(home: Home) -> None:
    home.ring.token_key("patient")
    home.ring.lifecycle.rotate("token/patient", actor="admin")
    with home.database.write() as connection:
        connection.execute(delete(key_version).where(key_version.c.version == 2))
    for ring in (home.ring, home.reopened()):
        with pytest.raises(IntegrityError, match=rf"token/patient/2 {TAMPERED}"):
            ring.token_key("patient")
        with pytest.raises(IntegrityError, match=TAMPERED):
            ring.token_version("patient")


def test_a_row_made_up_for_a_new_domain_is_refused(home: Home) -> None:
    """With the wrapped material of another domain, whose tokens the forger can look up."""
    home.ring.token_key("patient")
    row = home.rows()["token/patient", 1]
    with home.database.write() as connection:
        connection.execute(insert(key_version).values({**row, "name": "token/claims"}))
    with pytest.raises(IntegrityError, match=TAMPERED):
        home.ring.token_key("claims")


def test_a_sealed_row_that_the_log_does_not_know_is_refused(home: Home) -> None:
    """Somebody had the MAC key once, and has the database now."""
    sealing = home.ring._rows.of("mac")[-1]
    row = home.ring._rows.seal(home.ring._new("token/patient"), sealing)
    with home.database.write() as connection:
        connection.execute(insert(key_version).values(row.row))
    with pytest.raises(IntegrityError, match=TAMPERED):
        home.ring.token_key("patient")


def test_a_database_that_was_wholly_put_back_is_refused(home: Home) -> None:
    home.ring.new_data_key(CONTEXT)
    before = home.rows()
    home.ring.lifecycle.rotate("data", actor="admin")
    with home.database.write() as connection:
        connection.execute(delete(key_version))
    home.put(before)
    for ring in (home.ring, home.reopened()):
        with pytest.raises(IntegrityError, match=TAMPERED):
            ring.new_data_key(CONTEXT)


def test_another_database_cannot_take_the_place_of_an_empty_one(home: Home) -> None:
    with home.database.write() as connection:
        connection.execute(delete(key_version))
    with pytest.raises(IntegrityError, match=TAMPERED):
        home.reopened().initialise()
    assert home.rows() == {}

"""Keys of every kind are rotated, disabled, enabled, destroyed and wrapped anew: by one at a time, wholly."""

import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from keys_support import CONTEXT, NAMES, Home, migrate, uses

from secure_platform.control.database import ControlDatabase
from secure_platform.errors import GateRefusedError, IntegrityError, UsageError
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.subjects import SubjectKeys

ALL = [*NAMES, "token/patient", "cell/patient"]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Home:
    return Home(tmp_path, migrated)


def states(ring: KeyRing, name: str) -> list[tuple[int, str]]:
    return [(key.version, key.state) for key in ring.versions() if key.name == name]


def entries(home: Home) -> list[tuple[str, str, str]]:
    return [(e.body["action"], e.body["phase"], e.body["subject"]) for e in home.audit.entries()]


@pytest.mark.parametrize("name", ALL)
def test_a_rotated_key_makes_new_things_and_reads_old_ones(home: Home, name: str) -> None:
    use = uses(home.ring)
    use[name]()
    made = home.ring.lifecycle.rotate(name, actor="admin")
    assert (made.name, made.version, made.state) == (name, 2, "active")
    assert entries(home)[-2:] == [("key.rotate", "intent", name), ("key.rotate", "done", name)]
    for ring in (home.ring, home.reopened()):
        assert states(ring, name) == [(1, "decrypt-only"), (2, "active")]
        for each in uses(ring).values():
            each()


def test_what_older_versions_made_is_read_after_every_kind_was_rotated_twice(home: Home) -> None:
    ring = home.ring
    data, mac, signature = ring.new_data_key(CONTEXT), ring.mac("p", b"m"), ring.sign(b"m")
    secret = ring.seal_secret("totp", {}, b"s")
    token, cell, digest = ring.token_key("patient"), ring.cell_key("patient"), ring.digest_key("content")
    people, alice = ring.subject_keys("patient", ["a", "b"]), ring.identify("alice")
    for name in ALL * 2:
        ring.lifecycle.rotate(name, actor="admin")
    for reader in (ring, home.reopened()):
        assert reader.open_data_key(data.wrapped, CONTEXT) == data.plaintext
        assert reader.verify_mac("p", b"m", mac)
        reader.verify(b"m", signature.value, signature.keyid)
        assert reader.open_secret("totp", {}, secret) == b"s"
        assert reader.token_key("patient", 1) == token
        assert reader.cell_key("patient", 1) == cell
        assert reader.digest_key("content", 1) == digest
        assert reader.subject_keys("patient", ["a", "b"]) == people
        assert reader.identifiers("alice")[-1] == alice
        assert len(set(reader.identifiers("alice"))) == 3
        assert reader.identifiers("alice")[0] == reader.identify("alice")
        assert reader.token_key("patient").version == 3
        assert reader.mac("p", b"m").startswith("m3:")
        assert reader.sign(b"m").keyid != signature.keyid


def test_domains_are_rotated_one_by_one(home: Home) -> None:
    for domain in ("patient", "claim"):
        home.ring.token_key(domain)
        home.ring.cell_key(domain)
    home.ring.lifecycle.rotate("token/patient", actor="admin")
    assert [home.ring.token_version(domain) for domain in ("patient", "claim", "new")] == [2, 1, 1]
    assert home.ring.cell_key("patient").version == 1


def test_a_token_key_is_made_when_it_is_first_needed_and_not_when_its_version_is_asked(home: Home) -> None:
    assert home.ring.token_version("patient") == 1
    assert states(home.ring, "token/patient") == []
    key = home.ring.token_key("patient", 1)
    assert states(home.ring, "token/patient") == [(1, "active")]
    assert home.reopened().token_key("patient") == key
    with pytest.raises(IntegrityError, match="no version 2"):
        home.ring.token_key("patient", 2)
    with pytest.raises(IntegrityError, match="no version 2"):
        home.ring.token_key("claim", 2)


def first_need(directory: str, barrier: Any, made: Any) -> None:
    ring = opened(Path(directory)).ring
    ring.mac("p", b"m")
    barrier.wait()
    made.put(ring.token_key("patient").key)


def opened(directory: Path) -> HomeKeys:
    provider = LocalKeyProvider.open(directory / "keys")
    return HomeKeys(provider, ControlDatabase.at(directory / "control.db"), directory / "audit.db")


def at_once(target: Callable[..., None], home: Home, count: int = 3) -> list[Any]:
    """What several processes put into a queue that start at the same instant."""
    context = multiprocessing.get_context("spawn")
    barrier, said = context.Barrier(count), context.Queue()
    running = [
        context.Process(target=target, args=(str(home.directory), barrier, said)) for _ in range(count)
    ]
    for process in running:
        process.start()
    found = [said.get(timeout=60) for _ in running]
    for process in running:
        process.join()
        assert process.exitcode == 0
    return found


def test_of_several_processes_that_need_a_key_first_one_makes_it(home: Home) -> None:
    assert len(set(at_once(first_need, home))) == 1
    assert states(home.ring, "token/patient") == [(1, "active")]


def rotate_after(directory: str, barrier: Any, made: Any) -> None:
    ring = opened(Path(directory)).ring
    ring.mac("p", b"m")
    barrier.wait()
    try:
        made.put(ring.lifecycle.rotate("data", actor="admin", after=1).version)
    except GateRefusedError:
        made.put(None)


def test_of_several_who_rotate_what_they_saw_one_does(home: Home) -> None:
    assert sorted(at_once(rotate_after, home), key=str) == [2, None, None]
    assert states(home.ring, "data") == [(1, "decrypt-only"), (2, "active")]
    home.ring.new_data_key(CONTEXT)
    home.audit.verify()


def test_two_threads_that_rotate_different_keys_of_one_ring_both_do(home: Home) -> None:
    for name in ("token/patient", "cell/patient"):
        uses(home.ring)[name]()
    threads = [
        threading.Thread(target=home.ring.lifecycle.rotate, args=(name,), kwargs={"actor": "admin"})
        for name in ("token/patient", "cell/patient", "data", "sign")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("token/patient", "cell/patient", "data", "sign"):
        assert states(home.ring, name) == [(1, "decrypt-only"), (2, "active")]


# --- states


def test_states_go_the_way_that_is_documented(home: Home) -> None:
    cycle = home.ring.lifecycle
    for state in (cycle.disable, cycle.destroy):
        with pytest.raises(UsageError, match=r"is the newest.*keys rotate data"):
            state("data", 1, actor="admin")
    with pytest.raises(UsageError, match="is active and cannot become decrypt-only"):
        cycle.enable("data", 1, actor="admin")
    cycle.rotate("data", actor="admin")
    with pytest.raises(UsageError, match="is decrypt-only and cannot become decrypt-only"):
        cycle.enable("data", 1, actor="admin")
    cycle.disable("data", 1, actor="admin")
    with pytest.raises(UsageError, match="is disabled and cannot become disabled"):
        cycle.disable("data", 1, actor="admin")
    cycle.enable("data", 1, actor="admin")
    cycle.destroy("data", 1, actor="admin")
    for change in (cycle.disable, cycle.enable, cycle.destroy):
        with pytest.raises(UsageError, match="is destroyed and cannot become"):
            change("data", 1, actor="admin")
    assert states(home.reopened(), "data") == [(1, "destroyed"), (2, "active")]
    for change in (cycle.disable, cycle.enable, cycle.destroy):
        with pytest.raises(UsageError, match="no version 3"):
            change("data", 3, actor="admin")
        with pytest.raises(UsageError, match="no key 'token/none'"):
            change("token/none", 1, actor="admin")
    with pytest.raises(UsageError, match="no key 'token/none'"):
        cycle.rotate("token/none", actor="admin")
    with pytest.raises(GateRefusedError, match="newest version is 2"):
        cycle.rotate("data", actor="admin", after=1)


@pytest.mark.parametrize("name", ["data", "token/patient", "mac", "subject"])
def test_material_that_was_destroyed_is_in_no_file(home: Home, name: str) -> None:
    uses(home.ring)[name]()
    wrapped = home.rows()[name, 1]["wrapped"]
    assert any(wrapped in file.read_bytes() for file in home.directory.glob("control.db*"))
    home.ring.lifecycle.rotate(name, actor="admin")
    home.ring.lifecycle.destroy(name, 1, actor="admin")
    assert home.rows()[name, 1]["wrapped"] is None
    assert not any(wrapped in file.read_bytes() for file in home.directory.glob("control.db*"))


def test_a_mac_key_can_be_destroyed_and_no_key_depends_on_it(home: Home) -> None:
    for each in uses(home.ring).values():
        each()
    for version in (1, 2):
        home.ring.lifecycle.rotate("mac", actor="admin")
        home.ring.lifecycle.destroy("mac", version, actor="admin")
    for ring in (home.ring, home.reopened()):
        assert states(ring, "mac") == [(1, "destroyed"), (2, "destroyed"), (3, "active")]
        for each in uses(ring).values():
            each()


def test_a_subject_key_can_be_destroyed_and_no_person_loses_theirs(home: Home) -> None:
    people = home.ring.subject_keys("patient", ["a", "b"])
    home.ring.lifecycle.rotate("subject", actor="admin")
    home.ring.lifecycle.destroy("subject", 1, actor="admin")
    assert home.reopened().subject_keys("patient", ["a", "b"]) == people


def test_what_somebody_else_destroyed_meanwhile_stays_destroyed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.ring.lifecycle.rotate("subject", actor="admin")
    rewrap = SubjectKeys.rewrap

    def meanwhile(subjects: SubjectKeys, *, actor: str) -> int:
        monkeypatch.undo()
        home.reopened().lifecycle.destroy("subject", 1, actor="petra")
        return rewrap(subjects, actor=actor)

    monkeypatch.setattr(SubjectKeys, "rewrap", meanwhile)
    with pytest.raises(GateRefusedError, match="was changed by somebody else"):
        home.ring.lifecycle.disable("subject", 1, actor="admin")
    assert states(home.reopened(), "subject") == [(1, "destroyed"), (2, "active")]


# --- a kill at any moment


class Killed:
    """A database or log whose process dies at one of its steps."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os._exit(9)


def dying(directory: str, change: str, at: int) -> None:
    """Make one change in a process that is killed before the n-th commit to either database."""
    keys = opened(Path(directory))
    keys.ring.versions()
    killed = Killed(at)
    connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            if statement == "COMMIT":
                killed.step()
            return super().execute(statement, *parameters)

        def commit(self) -> None:
            killed.step()
            super().commit()

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(*arguments, **{**options, "factory": Connection})
        return opened

    keys.audit.close()
    sqlite3.connect = watched  # type: ignore[assignment]
    changed = opened(Path(directory)).ring.lifecycle
    CHANGES[change](changed)


CHANGES: Mapping[str, Callable[[Any], object]] = {
    "rotate": lambda cycle: cycle.rotate("data", actor="admin", after=2),
    "disable": lambda cycle: cycle.disable("data", 1, actor="admin"),
    "destroy": lambda cycle: cycle.destroy("data", 1, actor="admin"),
    "rewrap": lambda cycle: cycle.rewrap(actor="admin"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_kill_at_any_commit_the_key_is_as_before_or_as_after_and_repeating_finishes(
    home: Home, change: str
) -> None:
    wrapped = home.ring.new_data_key(CONTEXT).wrapped
    home.ring.lifecycle.rotate("data", actor="admin")
    newer = home.ring.new_data_key(CONTEXT)
    before = home.rows()
    context, seen = multiprocessing.get_context("fork"), set()
    for at in range(1, 6):
        process = context.Process(target=dying, args=(str(home.directory), change, at))
        process.start()
        process.join()
        ring = home.reopened()
        assert ring.open_data_key(newer.wrapped, CONTEXT) == newer.plaintext
        ring.new_data_key(CONTEXT)
        seen.add((process.exitcode, home.rows() == before))
        if process.exitcode == 0:
            break
        if home.rows() == before:
            continue
        repeated: AbstractContextManager[Any] = (
            nullcontext() if change == "rewrap" else pytest.raises((UsageError, GateRefusedError))
        )
        with repeated:
            CHANGES[change](ring.lifecycle)
        break
    assert {True, False} == {same for _, same in seen}
    home.audit.verify()
    after = home.reopened()
    if change in ("disable", "destroy"):
        with pytest.raises(IntegrityError, match="is d"):
            after.open_data_key(wrapped, CONTEXT)
    else:
        assert after.open_data_key(wrapped, CONTEXT)


class LyingProvider(LocalKeyProvider):
    """A service that gives back something else than it was asked for."""

    def __init__(self, path: Path, passphrase: bytes | None) -> None:
        super().__init__(path, passphrase)
        self.makes = super().generate
        self.wraps: Callable[..., bytes] = super().wrap

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        return self.makes(context)

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        return self.wraps(plaintext, context=context)


def lying(home: Home) -> tuple[KeyRing, LyingProvider]:
    provider = LyingProvider.open(home.directory / "keys")
    database = ControlDatabase.at(home.directory / "control.db")
    return HomeKeys(provider, database, home.directory / "audit.db").ring, provider


@pytest.mark.parametrize("lie", ["nothing", "another key", "another context"])
@pytest.mark.parametrize("act", ["rewrap", "move"])
def test_what_a_service_wraps_anew_replaces_nothing_unless_it_opens(home: Home, lie: str, act: str) -> None:
    data = home.ring.new_data_key(CONTEXT)
    ring, provider = lying(home)
    honest = provider.wraps
    lies: dict[str, Callable[..., bytes]] = {
        "nothing": lambda _, **__: b"None",
        "another key": lambda _, *, context: honest(bytes(32), context=context),
        "another context": lambda plaintext, **__: honest(plaintext, context=CONTEXT),
    }
    provider.wraps = lies[lie]
    before = home.rows()
    with pytest.raises(IntegrityError):
        ring.lifecycle.rewrap(actor="admin", to=provider if act == "move" else None)
    assert home.rows() == before
    assert home.reopened().open_data_key(data.wrapped, CONTEXT) == data.plaintext


@pytest.mark.parametrize("lie", ["empty", "short", "another key"])
def test_a_key_that_a_service_did_not_make_as_it_should_is_not_used(home: Home, lie: str) -> None:
    ring, provider = lying(home)
    honest = provider.makes

    def made(context: Mapping[str, str]) -> tuple[bytes, bytes]:
        material = {"empty": b"", "short": bytes(31)}.get(lie)
        if material is None:
            return bytes(32), honest(context)[1]
        return material, provider.wraps(material, context=context)

    provider.makes = made
    before = home.rows()
    with pytest.raises(IntegrityError, match="The key provider 'local'"):
        ring.lifecycle.rotate("mac", actor="admin")
    assert home.rows() == before


def test_what_a_service_opens_as_no_key_is_none(home: Home) -> None:
    home.ring.token_key("patient")
    ring, provider = lying(home)
    stored = home.ring._rows.of("token/patient")[0]
    honest = provider.unwrap
    ring.versions()
    provider.unwrap = lambda wrapped, **bound: honest(wrapped, **bound)[:3]  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match=r"token/patient.* opens as no key of 32 bytes"):
        ring._opened.material(stored)

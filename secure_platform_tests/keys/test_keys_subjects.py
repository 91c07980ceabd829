"""A destroyed key of a person never comes back, whatever is done to the database; no other is ever lost."""

import multiprocessing
import sqlite3
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from keys_support import Home, counted, migrate
from sqlalchemy import Row, delete, event, insert, select, update

from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import subject_key
from secure_platform.errors import IntegrityError
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider

PEOPLE = st.text(max_size=40)
DOMAINS = st.sampled_from(["patient", "claim", "staff"])
MANY = [f"person-{number}" for number in range(12_000)]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Home:
    return Home(tmp_path, migrated)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Home:
    return Home(tmp_path_factory.mktemp("shared"), migrated)


def rows(home: Home) -> dict[str, Row[Any]]:
    """Keyed hash → row, without the one that holds the key of the hash."""
    with home.database.read() as connection:
        query = select(subject_key).where(subject_key.c.subject != "")
        return {row.subject: row for row in connection.execute(query)}


def row_of(home: Home, person: str) -> Row[Any]:
    (place,) = home.ring._subjects._places("patient", [person])
    return rows(home)[place]


def put(home: Home, row: Row[Any], **changed: object) -> None:
    """In place of whatever is there under its hash."""
    values = {**row._mapping, **changed}
    here = (subject_key.c.domain == values["domain"]) & (subject_key.c.subject == values["subject"])
    with home.database.write() as connection:
        connection.execute(delete(subject_key).where(here))
        connection.execute(insert(subject_key).values(values))


@given(st.sets(PEOPLE, max_size=20), st.sets(PEOPLE, max_size=20), DOMAINS, DOMAINS)
@settings(max_examples=30, deadline=None)
def test_each_person_has_one_key_in_each_domain(
    shared: Home, first: set[str], second: set[str], domain: str, other: str
) -> None:
    keys = shared.ring.subject_keys(domain, first)
    assert keys.keys() == first
    assert all(len(key) == 32 for key in keys.values())
    again = shared.ring.subject_keys(domain, first | second)
    assert {person: again[person] for person in first} == keys
    assert len(set(again.values())) == len(first | second)
    if other != domain:
        assert not set(again.values()) & set(shared.ring.subject_keys(other, first).values())


class People(RuleBasedStateMachine):
    """Keys are asked for, destroyed and wrapped anew in any order, by rings that were opened at any time."""

    shared: Home

    def __init__(self) -> None:
        super().__init__()
        self.domain = f"d{id(self)}"
        self.rings = [self.shared.ring, self.shared.reopened()]
        self.known: dict[str, bytes] = {}
        self.destroyed: set[str] = set()

    @rule(people=st.sets(st.sampled_from("abcdefgh")), ring=st.sampled_from([0, 1]))
    def ask(self, people: set[str], ring: int) -> None:
        found = self.rings[ring].subject_keys(self.domain, people)
        assert found.keys() == people - self.destroyed
        for person, key in found.items():
            assert self.known.setdefault(person, key) == key

    @rule(person=st.sampled_from("abcdefgh"), ring=st.sampled_from([0, 1]))
    def destroy(self, person: str, ring: int) -> None:
        self.rings[ring].destroy_subject_key(self.domain, person, actor="admin")
        self.destroyed.add(person)
        self.known.pop(person, None)

    @rule(ring=st.sampled_from([0, 1]))
    def rotate(self, ring: int) -> None:
        self.rings[ring].lifecycle.rotate("subject", actor="admin")

    @rule()
    def rewrap(self) -> None:
        self.rings[0]._subjects.rewrap(actor="admin")

    @invariant()
    def keys_differ(self) -> None:
        assert len(set(self.known.values())) == len(self.known)


def test_any_order_of_asking_destroying_and_rotating(shared: Home) -> None:
    class OfThisHome(People):
        pass

    OfThisHome.shared = shared
    OfThisHome.TestCase.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
    OfThisHome.TestCase("runTest").debug()


def test_many_cost_a_few_statements_and_no_request_to_the_provider(home: Home) -> None:
    ring, provider = counted(home)
    ring.subject_keys("patient", ["somebody"])
    asked, statements = provider.asked, []
    event.listen(
        ring._subjects._database._engine, "before_cursor_execute", lambda *said: statements.append(said[2])
    )
    made = ring.subject_keys("patient", MANY)
    making = len(statements)
    assert ring.subject_keys("patient", MANY) == made
    assert provider.asked == asked
    assert making < 40
    assert len(statements) - making < 20


def test_no_name_and_no_key_is_in_any_file(home: Home) -> None:
    keys = home.ring.subject_keys("patient", ["Ada Lovelace", "Grace Hopper"])
    home.ring.destroy_subject_key("patient", "Ada Lovelace", actor="Grace Hopper")
    content = b"".join(file.read_bytes() for file in home.directory.glob("*.db*"))
    for hidden in (b"Lovelace", b"Hopper", *keys.values(), *(key.hex().encode() for key in keys.values())):
        assert hidden not in content


# --- what is destroyed


def test_a_destroyed_key_is_gone_from_every_ring_and_file(home: Home) -> None:
    other = home.reopened()
    before = home.ring.subject_keys("patient", ["a", "b"])
    other.subject_keys("patient", ["a", "b"])
    wrapped = row_of(home, "a").wrapped
    home.ring.destroy_subject_key("patient", "a", actor="admin")
    for ring in (home.ring, other, home.reopened()):
        assert ring.subject_keys("patient", ["a", "b"]) == {"b": before["b"]}
    assert row_of(home, "a").wrapped is None
    assert row_of(home, "a").destroyed_at is not None
    assert not any(wrapped in file.read_bytes() for file in home.directory.glob("control.db*"))
    assert "a" in home.ring.subject_keys("claim", ["a"])


def test_who_never_had_a_key_can_be_kept_from_getting_one(home: Home) -> None:
    home.ring.destroy_subject_key("patient", "a", actor="admin")
    assert home.reopened().subject_keys("patient", ["a"]) == {}


def test_the_log_names_what_was_destroyed_only_by_its_hash(home: Home) -> None:
    home.ring.subject_keys("patient", ["a"])
    home.ring.destroy_subject_key("patient", "a", actor="admin")
    intent, done = (entry.body for entry in home.audit.tail(2))
    assert (intent["action"], intent["phase"], done["phase"]) == ("key.destroy", "intent", "done")
    assert intent["subject"] == "subject/patient"
    assert list(done["detail"]["sealed"]) == [f"key_destroyed:patient/{row_of(home, 'a').subject}"]


def test_a_destroyed_key_that_is_put_back_is_refused(home: Home) -> None:
    home.ring.subject_keys("patient", ["a", "b"])
    row = row_of(home, "a")
    home.ring.destroy_subject_key("patient", "a", actor="admin")
    put(home, row)
    for ring in (home.ring, home.reopened()):
        with pytest.raises(IntegrityError, match="was destroyed, and the control database does not say so"):
            ring.subject_keys("patient", ["a"])
        assert len(ring.subject_keys("patient", ["b"])) == 1


def test_a_destroyed_key_whose_row_is_deleted_is_not_made_again(home: Home) -> None:
    home.ring.subject_keys("patient", ["a"])
    home.ring.destroy_subject_key("patient", "a", actor="admin")
    row = row_of(home, "a")
    with home.database.write() as connection:
        connection.execute(delete(subject_key).where(subject_key.c.subject == row.subject))
    for ring in (home.ring, home.reopened()):
        with pytest.raises(IntegrityError, match="was destroyed"):
            ring.subject_keys("patient", ["a", "new"])
    assert row.subject not in rows(home)


@pytest.mark.parametrize("deleted", ["the index", "everything"])
def test_without_the_key_of_the_hash_nobody_gets_a_new_key(home: Home, deleted: str) -> None:
    """Under a new one everybody would be somebody new, whoever was destroyed among them."""
    home.ring.subject_keys("patient", ["a", "b"])
    home.ring.destroy_subject_key("patient", "a", actor="admin")
    here = subject_key.c.subject == "" if deleted == "the index" else subject_key.c.domain == "patient"
    with home.database.write() as connection:
        connection.execute(delete(subject_key).where(here))
    for ring in (home.ring, home.reopened()):
        with pytest.raises(IntegrityError, match="does not hold what finds"):
            ring.subject_keys("patient", ["a"])
        assert ring.subject_keys("claim", ["a"]).keys() == {"a"}


@pytest.mark.parametrize("subject", ["the index", "b"])
def test_nobody_is_erased_by_who_only_writes_to_the_database(home: Home, subject: str) -> None:
    home.ring.subject_keys("patient", ["a", "b"])
    place = "" if subject == "the index" else row_of(home, "b").subject
    with home.database.write() as connection:
        here = subject_key.c.subject == place
        connection.execute(update(subject_key).where(here).values(wrapped=None, destroyed_at=utc_now()))
    for ring in (home.ring, home.reopened()):
        with pytest.raises(IntegrityError, match="control database"):
            ring.subject_keys("patient", ["a", "b"])


def test_every_changed_column_is_refused(home: Home) -> None:
    home.ring.subject_keys("patient", ["a", "b"])
    home.ring.subject_keys("claim", ["a"])
    home.ring.lifecycle.rotate("subject", actor="admin")
    row, stranger = row_of(home, "a"), row_of(home, "b")
    for changed in (
        {"wrapped": stranger.wrapped},
        {"wrapped": b""},
        {"wrapped": row.wrapped[:-1] + bytes([row.wrapped[-1] ^ 1])},
        {"version": 2},
        {"version": 9},
    ):
        put(home, row, **changed)
        for ring in (home.ring, home.reopened()):
            with pytest.raises(IntegrityError):
                ring.subject_keys("patient", ["a"])
    put(home, row)
    with home.database.write() as connection:
        others = subject_key.c.domain == "claim"
        wrapped = connection.execute(select(subject_key.c.wrapped).where(others)).scalars().first()
        here = (subject_key.c.domain == "patient") & (subject_key.c.subject == "")
        connection.execute(update(subject_key).where(here).values(wrapped=wrapped))
    with pytest.raises(IntegrityError):
        home.reopened().subject_keys("patient", ["a"])


# --- at once, and killed


def ask_for_many(directory: str, barrier: Any, said: Any) -> None:
    provider, database = LocalKeyProvider.open(Path(directory) / "keys"), Path(directory) / "control.db"
    ring = HomeKeys(provider, ControlDatabase.at(database), Path(directory) / "audit.db").ring
    barrier.wait()
    said.put(ring.subject_keys("patient", MANY[:500]))


def test_processes_that_ask_for_the_same_people_at_once_get_the_same_keys(home: Home) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, said = context.Barrier(2), context.Queue()
    running = [
        context.Process(target=ask_for_many, args=(str(home.directory), barrier, said)) for _ in range(2)
    ]
    for process in running:
        process.start()
    first, second = (said.get(timeout=60) for _ in running)
    for process in running:
        process.join()
    assert first == second == home.ring.subject_keys("patient", MANY[:500])


def test_a_key_that_is_destroyed_while_others_ask_is_gone_for_all_of_them(home: Home) -> None:
    home.ring.subject_keys("patient", MANY[:50])
    destroyed, after = threading.Event(), []

    def ask() -> None:
        ring = home.reopened()
        while True:
            was_destroyed = destroyed.is_set()
            found = ring.subject_keys("patient", MANY[:50])
            if was_destroyed:
                after.append(len(found))
                return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    home.ring.destroy_subject_key("patient", MANY[0], actor="admin")
    destroyed.set()
    for thread in threads:
        thread.join()
    assert after == [49, 49, 49]


def test_a_rewrap_that_stops_half_way_loses_nobody_and_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = home.ring.subject_keys("patient", MANY[:40])
    home.ring.lifecycle.rotate("subject", actor="admin")
    monkeypatch.setattr("secure_platform.keys.subjects._AT_ONCE", 10)
    scrub, parts = home.ring._subjects._rewrap_some, []

    def stops(*said: Any) -> int:
        parts.append(said)
        if len(parts) == 3:
            raise sqlite3.OperationalError
        return scrub(*said)

    with monkeypatch.context() as patched:
        patched.setattr(home.ring._subjects, "_rewrap_some", stops)
        with pytest.raises(sqlite3.OperationalError):
            home.ring.lifecycle.destroy("subject", 1, actor="admin")
    versions = {row.version for row in rows(home).values()}
    assert versions == {1, 2}
    assert home.reopened().subject_keys("patient", MANY[:40]) == people
    home.ring.lifecycle.destroy("subject", 1, actor="admin")
    assert {row.version for row in rows(home).values()} == {2}
    assert home.reopened().subject_keys("patient", MANY[:40]) == people


def test_who_read_just_before_a_key_was_destroyed_reports_no_tampering(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, ring = home.ring.subject_keys("patient", ["a"]), home.reopened()
    read = ring._subjects._read

    def read_then_destroy(domain: str, places: Collection[str]) -> dict[str, Row[Any]]:
        found = read(domain, places)
        if "" not in places:
            home.ring.destroy_subject_key("patient", "a", actor="admin")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(ring._subjects, "_read", read_then_destroy)
        assert ring.subject_keys("patient", ["a"]) == before
    assert ring.subject_keys("patient", ["a"]) == {}

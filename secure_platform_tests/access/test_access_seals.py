"""A row that was edited, made up, put back, taken over from elsewhere or deleted never counts."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path
from typing import Any, Literal

import pytest
from access_home import Home, migrate
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, update

from secure_platform.access.principals import Principals
from secure_platform.access.seals import Change, SealedRows, _message
from secure_platform.control.tables import freeze, principal
from secure_platform.errors import GateRefusedError, IntegrityError, UsageError


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Iterator[Home]:
    opened = Home(tmp_path, migrated)
    opened.principals.add("alice", roles=["analyst"], actor="admin")
    yield opened
    opened.audit.close()
    opened.database.close()


def row_of(home: Home, name: str = "alice") -> dict[str, Any]:
    with home.database.read() as connection:
        return dict(connection.execute(select(principal).where(principal.c.name == name)).mappings().one())


def refused(home: Home, name: str = "alice") -> None:
    """By who has looked before and by who looks for the first time."""
    for rows in (home.rows, SealedRows(home.database, home.keys, home.audit)):
        people = Principals(home.database, home.audit, rows)
        with pytest.raises(IntegrityError, match="A row of principal"):
            people.get(name)
    with pytest.raises(IntegrityError, match="A row of principal"):
        people.list()


EDITS: dict[str, Any] = {
    "roles": ["admin"],
    "active": False,
    "kind": "service",
    "groups": ["clinical"],
    "email": "eve@example.org",
    "issuer": "https://id.example.org",
    "subject": "eve",
    "revision": 2,
    "created_at": datetime(2020, 1, 1, tzinfo=UTC),
    "seal": "m1:" + "0" * 64,
}


@pytest.mark.parametrize("column", EDITS)
def test_an_edited_row_is_refused(home: Home, column: str) -> None:
    with home.database.write() as connection:
        connection.execute(update(principal).values({column: EDITS[column]}))
    refused(home)


def test_every_column_can_be_edited_in_these_tests() -> None:
    assert EDITS.keys() | {"name"} == set(principal.columns.keys())


def test_a_made_up_row_is_refused(home: Home) -> None:
    """Even with a seal by our key: the log does not know it."""
    row = {**row_of(home), "name": "mallory", "roles": ["admin"]}
    row["seal"] = home.keys.mac("control-row", _message(principal, row))
    with home.database.write() as connection:
        connection.execute(insert(principal).values(row))
    refused(home, "mallory")


def test_a_row_under_another_name_is_refused(home: Home) -> None:
    row = {**row_of(home), "name": "mallory"}
    with home.database.write() as connection:
        connection.execute(insert(principal).values(row))
    refused(home, "mallory")


def test_an_older_row_put_back_is_refused(home: Home) -> None:
    older = row_of(home)
    home.principals.change("alice", roles=[], actor="admin")
    with home.database.write() as connection:
        connection.execute(update(principal).values(older))
    refused(home)


def test_a_deleted_row_is_missed_and_its_name_not_given_away(home: Home) -> None:
    with home.database.write() as connection:
        connection.execute(delete(principal))
    refused(home)
    with pytest.raises(IntegrityError, match="A row of principal"):
        home.principals.add("alice", roles=["admin"], actor="admin")
    with home.database.read() as connection:
        assert connection.execute(select(principal)).all() == []


def test_a_row_of_another_home_is_refused(home: Home, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other", migrate(tmp_path / "fresh" / "control.db"))
    other.principals.add("mallory", roles=["admin"], actor="admin")
    row = row_of(other, "mallory")
    with home.database.write() as connection:
        connection.execute(insert(principal).values(row))
    refused(home, "mallory")
    other.audit.close()
    other.database.close()


def failing(_: Connection) -> None:
    raise UsageError("no", "none")


def sealed_change(home: Home, **changes: Any) -> Change:
    row = row_of(home)
    return Change(principal, row, {**row, "revision": row["revision"] + 1, **changes})


def write(home: Home, change: Change, **more: Any) -> None:
    home.rows.write("principal.change", [change], actor="admin", subject="principal", **more)


def test_a_row_whose_change_failed_is_refused_when_it_is_put_in_by_hand(home: Home) -> None:
    change = sealed_change(home, roles=["admin"])
    with pytest.raises(UsageError):
        write(home, change, check=failing)
    before = home.principals.get("alice")
    assert before is not None
    assert before.roles == {"analyst"}
    row = {**change.after, "seal": home.keys.mac("control-row", _message(principal, change.after))}
    with home.database.write() as connection:
        connection.execute(update(principal).values(row))
    refused(home)


def test_what_failed_once_can_be_done_again(home: Home) -> None:
    """The same row has the same seal, which the log has seen fail."""
    change = sealed_change(home, roles=["data_steward"])
    for _ in range(2):
        with pytest.raises(UsageError):
            write(home, change, check=failing)
    write(home, change)
    for rows in (home.rows, SealedRows(home.database, home.keys, home.audit)):
        (row,) = rows.all(principal)
        assert row["roles"] == ["data_steward"]


def test_of_two_who_announce_the_same_row_the_failure_of_one_does_not_undo_the_other(home: Home) -> None:
    """They read the same row and wrote the same: one seal, two intents, and the outcomes in either order."""
    change = sealed_change(home, roles=["data_steward"])
    first, second = announce(home, change), announce(home, change)
    put(home, first)
    assert first == second
    last = home.audit.size() - 1
    record(home, "failed", {"intent": last, "detail": {"error": "GateRefusedError"}})
    for rows in (home.rows, SealedRows(home.database, home.keys, home.audit)):
        assert rows.one(principal, "alice") is not None
    record(home, "done", {"intent": last - 1, "detail": home.audit.tail(2)[0].body["detail"]})
    for rows in (home.rows, SealedRows(home.database, home.keys, home.audit)):
        assert rows.one(principal, "alice") is not None


def announce(home: Home, change: Change) -> dict[str, Any]:
    """What a process does that dies between the record and the row."""
    row = {**change.after, "seal": home.keys.mac("control-row", _message(principal, change.after))}
    name = f"principal:{home.audit.identify('alice')}"
    detail = {"sealed": {name: row["seal"]}}
    home.audit.append("principal.change", actor="admin", subject="principal", phase="intent", detail=detail)
    return row


def test_after_a_crash_the_row_before_and_the_announced_row_count_until_the_next_change(home: Home) -> None:
    before = row_of(home)
    announced = announce(home, sealed_change(home, roles=["data_steward"]))
    for row, roles in ((before, ["analyst"]), (announced, ["data_steward"])):
        with home.database.write() as connection:
            connection.execute(update(principal).values(row))
        for rows in (home.rows, SealedRows(home.database, home.keys, home.audit)):
            assert [found["roles"] for found in rows.all(principal)] == [roles]
            found = rows.one(principal, "alice")
            assert found is not None
            assert found["roles"] == roles
    home.principals.change("alice", roles=[], actor="admin")
    for row in (before, announced):
        with home.database.write() as connection:
            connection.execute(update(principal).values(row))
        refused(home)


def test_of_two_changes_of_the_row_that_was_seen_one_is_refused(home: Home) -> None:
    first, second = sealed_change(home, roles=["admin"]), sealed_change(home, roles=["auditor"])
    write(home, first)
    with pytest.raises(GateRefusedError, match="changed by somebody else"):
        write(home, second)
    found = home.principals.get("alice")
    assert found is not None
    assert found.roles == {"admin"}


def test_outcomes_are_understood_in_whatever_order_they_are_recorded(home: Home) -> None:
    """Two processes: the second changed the row again before the first had recorded its success."""
    rows, seqs = [row_of(home)], []
    name = f"principal:{home.audit.identify('alice')}"
    for roles in (["data_steward"], ["auditor"]):
        row = {**rows[-1], "revision": rows[-1]["revision"] + 1, "roles": roles}
        rows.append({**row, "seal": home.keys.mac("control-row", _message(principal, row))})
        seqs.append(record(home, "intent", {"detail": {"sealed": {name: rows[-1]["seal"]}}}))
        put(home, rows[-1])
        assert home.principals.get("alice")
    for number, present in ((2, rows[2]), (1, rows[2])):
        detail = {"sealed": {name: rows[number]["seal"]}}
        record(home, "done", {"intent": seqs[number - 1], "detail": detail})
        for seen in (home.rows, SealedRows(home.database, home.keys, home.audit)):
            assert [row["roles"] for row in seen.all(principal)] == [present["roles"]]
    for row in rows[:2]:
        put(home, row)
        refused(home)


def test_a_late_second_announcement_of_a_row_does_not_bring_it_back(home: Home) -> None:
    """Two processes wrote the same row; the slower one announced it when the one after it was announced."""
    name = f"principal:{home.audit.identify('alice')}"
    rows = [row_of(home)]
    for roles in (["data_steward"], ["auditor"]):
        row = {**rows[-1], "revision": rows[-1]["revision"] + 1, "roles": roles}
        rows.append({**row, "seal": home.keys.mac("control-row", _message(principal, row))})
    sealed = [{"detail": {"sealed": {name: row["seal"]}}} for row in rows]
    written = record(home, "intent", sealed[1])
    put(home, rows[1])
    record(home, "done", {"intent": written, **sealed[1]})
    after = record(home, "intent", sealed[2])
    late = record(home, "intent", sealed[1])
    put(home, rows[2])
    record(home, "done", {"intent": after, **sealed[2]})
    assert [row["roles"] for row in home.rows.all(principal)] == [["auditor"]]
    record(home, "failed", {"intent": late, "detail": {"error": "GateRefusedError"}})
    for seen in (home.rows, SealedRows(home.database, home.keys, home.audit)):
        assert [row["roles"] for row in seen.all(principal)] == [["auditor"]]
    for row in rows[:2]:
        put(home, row)
        refused(home)


def put(home: Home, row: dict[str, Any]) -> None:
    with home.database.write() as connection:
        connection.execute(update(principal).values(row))


def record(home: Home, phase: Literal["intent", "done", "failed"], members: dict[str, Any]) -> int:
    return home.audit._append("principal.change", "admin", "principal", phase, members).seq


def change_often(directory: str, changed: Semaphore, enough: Event) -> None:
    home = Home.reopen(Path(directory))
    number = 0
    while not enough.is_set():
        number += 1
        try:
            home.principals.change("alice", groups=[f"g{number}"], actor=f"admin{number}")
        except GateRefusedError:
            continue
        changed.release()


def test_readers_never_take_a_change_for_tampering(home: Home) -> None:
    context = multiprocessing.get_context("spawn")
    changed, enough = context.Semaphore(0), context.Event()
    arguments = (str(home.directory), changed, enough)
    writers = [context.Process(target=change_often, args=arguments) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(20):
            assert changed.acquire(timeout=60)
            assert home.principals.get("alice") is not None
            assert len(home.principals.list()) == 1
    finally:
        enough.set()
        for writer in writers:
            writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    fresh = SealedRows(home.database, home.keys, home.audit)
    assert [row["name"] for row in fresh.all(principal)] == ["alice"]


def test_a_row_that_is_written_just_before_it_is_read_counts_as_does_the_one_that_it_ended(
    home: Home,
) -> None:
    """The log was looked at before the row: what it tells of the row came later."""
    name, since = f"principal:{home.audit.identify('alice')}", home.rows._witness.seen()
    before = row_of(home)
    other = SealedRows(home.database, home.keys, home.audit)
    Principals(home.database, home.audit, other).change("alice", roles=[], actor="admin")
    after = row_of(home)
    assert home.rows._witness.counts(name, before["seal"], since)
    assert home.rows._witness.counts(name, after["seal"], since)
    assert home.rows._witness.counts(name, before["seal"], since)
    assert not home.rows._witness.counts(name, before["seal"], home.rows._witness.seen())
    assert not home.rows._witness.counts(name, "m1:" + "0" * 64, since)


def test_a_row_that_is_new_just_after_it_was_looked_for_was_not_deleted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, read = Home.reopen(home.directory), home.database.read

    @contextmanager
    def read_and_wait() -> Iterator[Connection]:
        with read() as connection:
            yield connection
        monkeypatch.setattr(home.database, "read", read)
        other.principals.add("bob", roles=["analyst"], actor="admin")

    monkeypatch.setattr(home.database, "read", read_and_wait)
    assert home.rows.one(principal, "bob") is None
    assert home.rows.one(principal, "bob") is not None
    other.audit.close()
    other.database.close()


def test_a_deleted_freeze_is_missed(home: Home) -> None:
    row = {
        "freeze_id": "f" * 32,
        "product": None,
        "reason": b"sealed",
        "set_by": "alice",
        "starts_at": datetime.now(UTC),
        "expires_at": None,
        "lifted_at": None,
    }
    home.rows.write("freeze.set", [Change(freeze, None, row)], actor="alice", subject="platform")
    assert len(home.rows.all(freeze)) == 1
    with home.database.write() as connection:
        connection.execute(delete(freeze))
    with pytest.raises(IntegrityError, match="A row of freeze"):
        SealedRows(home.database, home.keys, home.audit).all(freeze)


def test_all_rows_are_read_again_only_after_a_change(home: Home) -> None:
    first = home.rows.all(principal)
    home.audit.append("policy.decide", actor="a", subject="platform")
    assert home.rows.all(principal) is first
    home.principals.add("bob", roles=[], actor="admin")
    assert [row["name"] for row in home.rows.all(principal)] == ["alice", "bob"]


texts = st.text(st.characters(codec="utf-8"), max_size=8)
people = st.fixed_dictionaries(
    {
        "name": texts,
        "kind": texts,
        "roles": st.lists(texts, max_size=3),
        "active": st.booleans(),
        "groups": st.lists(texts, max_size=3),
        "email": st.none() | texts,
        "issuer": st.none() | texts,
        "subject": st.none() | texts,
        "revision": st.integers(0, 9),
        "created_at": st.datetimes(timezones=st.just(UTC)),
    }
)


@given(one=people, other=people)
def test_two_rows_that_say_different_things_are_sealed_as_different_messages(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (_message(principal, one) == _message(principal, other)) is (one == other)


@given(row=people, column=st.sampled_from([name for name in EDITS if name != "seal"]), value=texts)
def test_a_text_in_another_column_is_another_message(row: dict[str, Any], column: str, value: str) -> None:
    changed = {**row, column: value}
    assert (_message(principal, changed) == _message(principal, row)) is (row[column] == value)


def test_rows_of_two_tables_never_have_one_message() -> None:
    columns = dict.fromkeys(column.name for table in (principal, freeze) for column in table.columns)
    assert _message(principal, columns) != _message(freeze, columns)


def test_the_seal_itself_is_no_part_of_what_is_said(home: Home) -> None:
    row = row_of(home)
    assert _message(principal, row) == _message(principal, {**row, "seal": "other"})
    assert replace(sealed_change(home), before=None).after["seal"] == row["seal"]

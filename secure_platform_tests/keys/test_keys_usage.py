"""Uses are counted ahead in blocks, never too few; at its limit a key makes nothing; what is worn is due."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from keys_support import CONTEXT, Home, migrate
from sqlalchemy import delete, event, insert, select, update

from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import key_usage
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.usage import BLOCK, LIMITS, ROTATE_AFTER_DAYS, Due

LATER = datetime.now(UTC) + timedelta(days=10_000)
FAR_FROM_OLD = dict.fromkeys(ROTATE_AFTER_DAYS, 3650)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Home:
    return Home(tmp_path, migrated)


def set_count(home: Home, name: str, reserved: int, version: int = 1) -> None:
    """As if the key had been used so often."""
    stored = home.ring._rows.of(name)[version - 1]
    values = {"reserved": reserved, "seal": home.ring._uses._seal(stored, reserved)}
    here = (key_usage.c.name == name) & (key_usage.c.version == version)
    with home.database.write() as connection:
        connection.execute(update(key_usage).where(here).values(values))


def test_a_use_costs_a_commit_only_once_in_a_block(home: Home) -> None:
    commits: list[object] = []
    event.listen(home.database._engine, "commit", commits.append)
    for _ in range(BLOCK):
        home.ring.new_data_key(CONTEXT)
    first = len(commits)
    home.ring.new_data_key(CONTEXT)
    assert home.ring.uses()["data", 1] == 2 * BLOCK
    assert first <= 2, "the block, and reading the key"


def test_what_a_process_had_reserved_when_it_died_counts_as_used(home: Home) -> None:
    for _ in range(3):
        home.reopened().new_data_key(CONTEXT)
    assert home.ring.uses()["data", 1] == 3 * BLOCK


def test_a_child_does_not_use_what_its_parent_reserved(home: Home) -> None:
    home.ring.new_data_key(CONTEXT)
    if (child := os.fork()) == 0:
        home.ring._uses.take(home.ring._rows.of("data")[0])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert home.ring.uses()["data", 1] == 2 * BLOCK


def test_threads_of_two_processes_reserve_at_least_what_they_use(home: Home) -> None:
    rings, each = (home.ring, home.reopened()), 100

    def use(ring: KeyRing) -> None:
        for _ in range(each):
            ring.new_data_key(CONTEXT)

    threads = [threading.Thread(target=use, args=(ring,)) for ring in rings for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used, reserved = 6 * each, home.ring.uses()["data", 1]
    assert used <= reserved < used + len(rings) * BLOCK


def test_whatever_is_sealed_under_a_key_counts(home: Home) -> None:
    ring = home.ring
    ring.seal_secret("totp", {}, b"s")
    assert ring.uses()["data", 1] == BLOCK
    ring.subject_keys("patient", [str(number) for number in range(10 * BLOCK)])
    assert ring.uses()["subject", 1] >= 10 * BLOCK + 1


@pytest.mark.parametrize("name", ["data", "subject"])
def test_at_its_limit_a_key_makes_nothing_until_it_is_rotated(home: Home, name: str) -> None:
    limit = LIMITS[name]
    wrapped = home.ring.new_data_key(CONTEXT)
    home.ring.subject_keys("patient", ["first"])
    assert limit == 2**32

    def make(ring: KeyRing, number: int) -> None:
        if name == "data":
            ring.new_data_key(CONTEXT)
        else:
            ring.subject_keys("patient", [str(number)])

    ring = home.reopened()
    set_count(home, name, limit - 3)
    for number in range(3):
        make(ring, number)
    for each in (ring, home.reopened()):
        with pytest.raises(UsageError, match=rf"may be used {limit} times.*keys rotate {name}"):
            make(each, 99)
    assert home.ring.uses()[name, 1] == limit
    assert ring.open_data_key(wrapped.wrapped, CONTEXT) == wrapped.plaintext
    assert len(ring.subject_keys("patient", ["first"])) == 1
    home.ring.lifecycle.rotate(name, actor="admin")
    make(ring, 99)
    assert home.ring.uses()[name, 2] == BLOCK


def test_more_at_once_than_is_left_is_refused_whole(home: Home) -> None:
    home.ring.subject_keys("patient", ["first"])
    set_count(home, "subject", LIMITS["subject"] - 5)
    ring = home.reopened()
    with pytest.raises(UsageError, match="may be used"):
        ring.subject_keys("patient", [str(number) for number in range(6)])
    with pytest.raises(UsageError, match="may be used"):
        ring.subject_keys("patient", ["0", "1", "2", "3", "4", "5"])
    assert len(ring.subject_keys("patient", ["0", "1", "2"])) == 3


def test_a_count_that_was_changed_deleted_or_taken_from_another_key_is_refused(home: Home) -> None:
    home.ring.new_data_key(CONTEXT)
    home.ring.subject_keys("patient", ["p"])
    home.ring.lifecycle.rotate("data", actor="admin")
    with home.database.read() as connection:
        rows = {
            (row["name"], row["version"]): dict(row)
            for row in connection.execute(select(key_usage)).mappings()
        }
    true = rows["data", 2]
    others = [row for place, row in rows.items() if place != ("data", 2)]
    stories: list[dict[str, object] | None] = [
        None,
        {**true, "reserved": true["reserved"] + 1},
        {**true, "reserved": -(2**40)},
        {**true, "seal": ""},
        {**true, "seal": b"seal"},
        {**true, "seal": "é"},
        *({**true, "reserved": row["reserved"], "seal": row["seal"]} for row in others),
    ]
    here = (key_usage.c.name == "data") & (key_usage.c.version == 2)
    for told in stories:
        with home.database.write() as connection:
            connection.execute(delete(key_usage).where(here))
            if told is not None:
                connection.execute(insert(key_usage).values(told))
        ring = home.reopened()
        for look in (lambda: ring.new_data_key(CONTEXT), ring.uses, lambda: ring.due(utc_now())):  # noqa: B023
            with pytest.raises(IntegrityError, match=r"count of uses of Version 2 of key 'data' was"):
                look()
        with home.database.write() as connection:
            connection.execute(delete(key_usage).where(here))
            connection.execute(insert(key_usage).values(true))
    home.reopened().new_data_key(CONTEXT)


def test_rotating_helps_a_key_whose_count_was_lost(home: Home) -> None:
    home.ring.new_data_key(CONTEXT)
    with home.database.write() as connection:
        connection.execute(delete(key_usage).where(key_usage.c.name == "data"))
    home.ring.lifecycle.rotate("data", actor="admin")
    ring = home.reopened()
    ring.new_data_key(CONTEXT)
    assert ring.uses() == {("data", 2): BLOCK, ("subject", 1): 0}
    assert ring.due(utc_now()) == []


def test_a_failed_reservation_leaves_nothing_to_use(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ControlDatabase, "write", lambda _: (_ for _ in ()).throw(OSError("disk")))
        for _ in range(2):
            with pytest.raises(OSError, match="disk"):
                home.ring.new_data_key(CONTEXT)
    assert home.ring.uses()["data", 1] == 0
    home.ring.new_data_key(CONTEXT)


# --- due


def test_a_fresh_home_has_nothing_due_and_each_kind_is_at_its_age(home: Home) -> None:
    home.ring.token_key("patient")
    home.ring.cell_key("patient")
    assert home.ring.due(utc_now()) == []
    for kind, days in ROTATE_AFTER_DAYS.items():
        made = home.rows()[kind, 1]["created_at"].replace(tzinfo=UTC)
        at, before = made + timedelta(days=days), made + timedelta(days=days, seconds=-1)
        assert Due(kind, 1, "age") in home.ring.due(at)
        assert Due(kind, 1, "age") not in home.ring.due(before)


def test_token_and_cell_keys_are_never_due_unless_the_settings_say_so(home: Home) -> None:
    home.ring.token_key("patient")
    home.ring.cell_key("patient")
    assert {due.name for due in home.ring.due(LATER)} == set(ROTATE_AFTER_DAYS)
    said = home.ring.due(LATER, {"token": 90})
    assert {due.name for due in said} == {*ROTATE_AFTER_DAYS, "token/patient"}


def test_only_the_newest_version_is_due_and_the_settings_shorten_its_days(home: Home) -> None:
    home.ring.lifecycle.rotate("mac", actor="admin")
    now = utc_now()
    assert home.ring.due(now + timedelta(days=8), {"mac": 7}) == [Due("mac", 2, "age")]
    assert home.ring.due(now + timedelta(days=6), {"mac": 7}) == []


def test_a_key_near_its_limit_is_due_by_use(home: Home) -> None:
    edge = LIMITS["data"] * 3 // 4
    home.ring.new_data_key(CONTEXT)
    set_count(home, "data", edge - 1)
    assert home.ring.due(utc_now(), FAR_FROM_OLD) == []
    set_count(home, "data", edge)
    assert home.ring.due(utc_now(), FAR_FROM_OLD) == [Due("data", 1, "use")]
    home.ring.lifecycle.rotate("data", actor="admin")
    assert home.ring.due(utc_now(), FAR_FROM_OLD) == []

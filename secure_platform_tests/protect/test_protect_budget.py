"""What was told is spent for good: not by another name, a second process, an edited row or an older home."""

import math
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from aggregate_examples import aggregate, budget

from secure_platform.contract.aggregates import Aggregate, Budget
from secure_platform.errors import DataRefusedError, IntegrityError
from secure_platform.homes import initialise
from secure_platform.protect.budget import Ledger, Spend, composed, period
from secure_platform.release.past import SignedPast
from secure_platform.services import Services
from secure_platform.settings import load_settings

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
ACTOR = "service:scheduler"


@pytest.fixture(name="home")
def fixture_home(tmp_path: Path) -> Path:
    initialise(load_settings(home=tmp_path / "home"))
    return tmp_path / "home"


def ledger(home: Path, now: datetime = NOW, kept: Path | None = None) -> Ledger:
    services = Services(load_settings(home=home))
    past = SignedPast(services.audit, services.releases, kept)
    return Ledger(services.sealed_rows, services.keys, past, clock=lambda: now)


def spend(
    book: Ledger,
    identity: str,
    allowed: Budget | None = None,
    asked: Aggregate | None = None,
    product: str = "clinic",
) -> tuple[Spend, bool]:
    return book.spend(product, allowed or budget(), asked or aggregate(epsilon=0.4), identity, 1, actor=ACTOR)


@contextmanager
def database(home: Path, name: str = "control.db") -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(home / name)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def test_the_same_is_spent_once_and_what_differs_adds_up(home: Path) -> None:
    book = ledger(home)
    first, again = spend(book, "a")
    assert not again
    assert spend(book, "a") == (first, True)
    assert spend(ledger(home), "a") == (first, True), "whoever asks"
    spend(book, "b")
    balance = book.balance("clinic", budget())
    assert (str(balance.epsilon), balance.delta, len(balance.spends)) == ("0.8", Fraction(), 2)


def test_what_the_budget_does_not_have_is_not_told_and_it_is_said_when_it_renews(home: Path) -> None:
    book = ledger(home)
    spend(book, "a")
    spend(book, "b")
    with pytest.raises(
        DataRefusedError, match=r"clinic.*by_ward.*epsilon 1 .*each year.*epsilon 0.8.*renews on 2027-01-01"
    ):
        spend(book, "c")
    assert len(book.spends("clinic")) == 2, "what is refused spends nothing"
    spend(book, "c", asked=aggregate(epsilon=0.2))
    assert spend(book, "a")[1], "what was told before is told again"
    with pytest.raises(DataRefusedError):
        spend(book, "d", asked=aggregate(epsilon=0.000001))
    spend(book, "d", product="another")


def test_another_name_is_no_other_budget_and_a_raised_one_counts_what_was_told(home: Path) -> None:
    book = ledger(home)
    spend(book, "a", asked=aggregate(epsilon=0.9))
    for changes in ({"name": "renamed"}, {"source": "other"}):
        with pytest.raises(DataRefusedError):
            spend(book, str(changes), asked=aggregate(epsilon=0.4, **changes))
    with pytest.raises(DataRefusedError):
        spend(book, "b", allowed=budget(period="month"))
    spend(book, "b", allowed=budget(epsilon=1.3))


def test_the_next_period_has_its_own_and_a_clock_that_is_put_back_gains_nothing(home: Path) -> None:
    spend(ledger(home), "a", asked=aggregate(epsilon=1.0))
    later = NOW.replace(year=2027, month=1, day=1, hour=0)
    with pytest.raises(DataRefusedError):
        spend(ledger(home, later - timedelta(seconds=1)), "b")
    spend(ledger(home, later), "b", asked=aggregate(epsilon=1.0))
    with pytest.raises(DataRefusedError):
        spend(ledger(home, NOW - timedelta(days=700)), "c")
    with pytest.raises(DataRefusedError):
        spend(ledger(home, later + timedelta(days=9999)), "c", allowed=budget(period="forever"))


def test_of_many_at_once_as_many_are_told_as_the_budget_has(home: Path) -> None:
    def attempt(number: int) -> str:
        try:
            return str(spend(ledger(home), f"i{number % 6}")[1])
        except DataRefusedError:
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(attempt, range(12)))
    assert said.count("False") == 2, said
    assert len(ledger(home).spends("clinic")) == 2


def test_who_spends_for_the_same_in_between_has_spent_for_both(home: Path) -> None:
    """The clock is asked between the look and the write."""
    meanwhile: list[tuple[Spend, bool]] = []

    def late() -> datetime:
        if not meanwhile:
            meanwhile.append(spend(ledger(home), "a"))
        return NOW

    services = Services(load_settings(home=home))
    past = SignedPast(services.audit, services.releases, None)
    slow = Ledger(services.sealed_rows, services.keys, past, clock=late)
    assert spend(slow, "a") == (meanwhile[0][0], True)
    assert len(ledger(home).spends("clinic")) == 1


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE privacy_spend SET epsilon = '1/1000'",
        "UPDATE privacy_spend SET product = 'other'",
        "UPDATE privacy_spend SET spent_at = '2001-01-01 00:00:00.000000'",
        "UPDATE privacy_spend SET key_version = 2",
        "DELETE FROM privacy_spend",
        "DELETE FROM privacy_spend WHERE rowid = 1",
        (
            "CREATE TABLE x AS SELECT * FROM privacy_spend LIMIT 1; UPDATE x SET spend_id = 'x'; "
            "INSERT INTO privacy_spend SELECT * FROM x"
        ),
    ],
)
def test_an_edited_ledger_tells_nothing_more(home: Path, edit: str) -> None:
    spend(ledger(home), "a")
    spend(ledger(home), "b", asked=aggregate(epsilon=0.1))
    with database(home) as connection:
        connection.executescript(edit)
    for act in (lambda: spend(ledger(home), "c"), lambda: ledger(home).balance("clinic", budget())):
        with pytest.raises(IntegrityError, match="privacy_spend"):
            act()


def restored(home: Path, act: Callable[[], object]) -> None:
    """Put the home back to what it was before."""
    copy = home.with_name("copy")
    shutil.copytree(home, copy)
    act()
    shutil.rmtree(home)
    copy.rename(home)


def test_a_row_that_is_gone_since_it_was_read_gives_nothing_back(home: Path) -> None:
    book = ledger(home)
    spend(book, "a", asked=aggregate(epsilon=1.0))
    assert str(book.balance("clinic", budget()).epsilon) == "1", (
        "read, and kept as long as the log is the same"
    )
    with database(home) as connection:
        connection.execute("DELETE FROM privacy_spend")
    for identity in "bc":
        with pytest.raises(IntegrityError, match="privacy_spend"):
            spend(book, identity, asked=aggregate(epsilon=1.0))
    with database(home) as connection:
        assert connection.execute("SELECT count(*) FROM privacy_spend").fetchone() == (0,)


def test_an_older_control_database_gives_nothing_back(home: Path) -> None:
    spend(ledger(home), "a")
    older = home.with_name("older.db")
    with database(home) as connection:
        connection.execute("VACUUM INTO ?", (str(older),))
    spend(ledger(home), "b")
    for left in home.glob("control.db*"):
        left.unlink()
    shutil.copy(older, home / "control.db")
    with pytest.raises(IntegrityError):
        spend(ledger(home), "c")


def test_an_older_home_gives_nothing_back_where_a_checkpoint_is_kept(home: Path) -> None:
    kept = home.with_name("kept.note")
    spend(ledger(home, kept=kept), "a")
    restored(home, lambda: spend(ledger(home, kept=kept), "b"))
    with pytest.raises(IntegrityError, match="audit log no longer begins"):
        spend(ledger(home, kept=kept), "c", asked=aggregate(epsilon=0.1))
    kept.unlink()
    with pytest.raises(IntegrityError, match=r"kept\.note"):
        spend(ledger(home, kept=kept), "c", asked=aggregate(epsilon=0.1))


def test_an_older_home_beside_a_newer_release_gives_nothing_back(home: Path) -> None:
    attestations = home / "releases" / "clinic" / "1.attestations"

    def release() -> None:
        spend(ledger(home), "a")
        attestations.mkdir(parents=True)
        (attestations / "checkpoint.txt").write_text(Services(load_settings(home=home)).audit.checkpoint())
        shutil.copytree(home / "releases", home.with_name("packages"))

    restored(home, release)
    shutil.copytree(home.with_name("packages"), home / "releases", dirs_exist_ok=True)
    with pytest.raises(IntegrityError, match="audit log no longer begins"):
        spend(ledger(home), "b")


def test_what_could_not_be_witnessed_was_spent_all_the_same(home: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spend(ledger(home, kept=home / "no folder" / "kept.note"), "a")
    assert len(ledger(home).spends("clinic")) == 1
    assert spend(ledger(home), "a")[1], "and it is told when it is asked for again"


def test_rho_adds_up_to_less_epsilon_than_epsilons_do() -> None:
    def told(count: int, epsilon: Fraction | None, rho: Fraction) -> list[Spend]:
        return [Spend(str(n), "p", "a", epsilon, rho, Fraction(), 1, NOW) for n in range(count)]

    allowed = budget(epsilon=10, delta=1e-6, composition="zcdp")
    many = told(100, Fraction(1, 10), Fraction(1, 200))
    epsilon, delta = composed(allowed, many)
    # Bun and Steinke 2016, proposition 1.3.
    known = 0.5 + 2 * math.sqrt(0.5 * math.log(1e6))
    assert float(epsilon or 0) == pytest.approx(known, rel=1e-12)
    assert float(epsilon or 0) >= known * (1 - 1e-15)
    assert delta == Fraction(1, 10**6)
    assert composed(budget(), many)[0] == 10, "basic"
    assert composed(budget(), told(1, None, Fraction(1)))[0] is None, "rho is no epsilon"
    assert composed(allowed, [])[0] == 0


def test_delta_is_spent_too(home: Path) -> None:
    asked = aggregate(group_by=[{"column": "ward"}], delta=4e-7, epsilon=0.01)
    allowed = budget(delta=1e-6)
    spend(ledger(home), "a", allowed, asked)
    spend(ledger(home), "b", allowed, asked)
    with pytest.raises(DataRefusedError, match="delta 8e-07"):
        spend(ledger(home), "c", allowed, asked)


def test_with_zcdp_what_is_left_of_delta_is_enough_or_nothing_is_told(home: Path) -> None:
    allowed = budget(epsilon=3, delta=1e-6, composition="zcdp")
    asked = aggregate(epsilon=None, rho=0.05)
    for number in range(2):
        spend(ledger(home), str(number), allowed, asked)
    assert 2 < float(ledger(home).balance("clinic", allowed).epsilon or 0) < 3
    with pytest.raises(DataRefusedError):
        spend(ledger(home), "c", allowed, aggregate(epsilon=None, rho=0.2))
    all_of_delta = aggregate(group_by=[{"column": "ward"}], delta=1e-6, epsilon=0.01)
    with pytest.raises(DataRefusedError):
        spend(ledger(home), "d", allowed, all_of_delta)
    with pytest.raises(DataRefusedError):
        spend(ledger(home), "e", budget(epsilon=100), asked)


@pytest.mark.parametrize(
    ("name", "since", "renews"),
    [
        ("day", "2026-05-20", "2026-05-21"),
        ("week", "2026-05-18", "2026-05-25"),
        ("month", "2026-05-01", "2026-06-01"),
        ("quarter", "2026-04-01", "2026-07-01"),
        ("year", "2026-01-01", "2027-01-01"),
    ],
)
def test_periods_are_those_of_the_calendar(name: str, since: str, renews: str) -> None:
    found = period(name, NOW)  # type: ignore[arg-type]
    assert [f"{each:%Y-%m-%d}" for each in found if each] == [since, renews]
    begin, end = period(name, NOW.replace(month=12, day=31))  # type: ignore[arg-type]
    assert begin is not None
    assert end is not None
    assert begin <= NOW.replace(month=12, day=31) < end

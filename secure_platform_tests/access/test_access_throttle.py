"""The throttle: guessing gets slower, and nobody locks somebody else out."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from access_home import migrate
from identity_home import IdentityHome
from sqlalchemy import func, select

from secure_platform.access.throttle import LoginRefusedError, TooManyAttemptsError
from secure_platform.control.tables import login_attempt

HERE = "192.0.2.7"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Iterator[IdentityHome]:
    opened = IdentityHome(tmp_path, migrated)
    yield opened
    opened.audit.close()
    opened.database.close()


def attempt(
    home: IdentityHome, *, right: bool, name: str | None = "alice", address: str | None = HERE
) -> str:
    """How the attempt ended."""
    try:
        return home.throttle.guard("login", name, address, lambda: "in" if right else None)
    except TooManyAttemptsError:
        return "too many"
    except LoginRefusedError:
        return "wrong"


def wait_of(home: IdentityHome, name: str = "alice", address: str = HERE) -> int:
    with pytest.raises(TooManyAttemptsError) as refused:
        home.throttle.guard("login", name, address, lambda: "in")
    return refused.value.seconds


def guess_until_held_up(home: IdentityHome, name: str = "alice", address: str = HERE) -> int:
    for guesses in range(200):
        if attempt(home, right=False, name=name, address=address) != "wrong":
            return guesses
    pytest.fail("Nothing was held up")


def test_a_few_typing_errors_cost_nothing(home: IdentityHome) -> None:
    assert [attempt(home, right=False) for _ in range(5)] == ["wrong"] * 5
    assert attempt(home, right=True) == "in"
    assert [attempt(home, right=False) for _ in range(5)] == ["wrong"] * 5


def test_the_wait_doubles_up_to_a_quarter_of_an_hour(home: IdentityHome) -> None:
    assert guess_until_held_up(home) == 6
    waits = []
    for _ in range(12):
        waits.append(wait_of(home))
        home.clock.forward(seconds=waits[-1])
        assert attempt(home, right=False) == "wrong"
    assert waits[:4] == [3, 5, 9, 17]
    assert waits[-1] == 15 * 60 + 1


def test_while_it_waits_even_the_right_answer_is_not_judged(home: IdentityHome) -> None:
    guess_until_held_up(home)
    judged = []
    with pytest.raises(TooManyAttemptsError):
        home.throttle.guard("login", "alice", HERE, lambda: judged.append(1) or "in")  # type: ignore[func-returns-value]
    assert not judged
    assert wait_of(home) == wait_of(home)


def test_names_that_do_not_exist_are_held_up_like_those_that_do(home: IdentityHome) -> None:
    home.person("alice")
    assert guess_until_held_up(home, "alice") == guess_until_held_up(home, "nobody") == 6


def test_guesses_at_many_names_from_one_address_are_held_up(home: IdentityHome) -> None:
    ends = [attempt(home, right=False, name=f"person{number}") for number in range(110)]
    assert ends == ["wrong"] * 101 + ["too many"] * 9
    assert attempt(home, right=True, name="bob") == "too many"
    assert attempt(home, right=True, name="bob", address="192.0.2.8") == "in"


def test_one_network_of_ipv6_is_one_address(home: IdentityHome) -> None:
    ends = [attempt(home, right=False, name="alice", address=f"2001:db8::{number:x}") for number in range(8)]
    assert ends == ["wrong"] * 6 + ["too many"] * 2
    assert attempt(home, right=True, address="2001:db8:0:1::1") == "in"


def test_guesses_from_many_addresses_hold_up_only_where_the_person_never_was(home: IdentityHome) -> None:
    alice = home.person("alice")
    home.sessions.open(alice, method="password", address=HERE)
    ends = [attempt(home, right=False, address=f"198.51.100.{number}") for number in range(40)]
    assert ends == ["wrong"] * 31 + ["too many"] * 9
    assert attempt(home, right=True, address="203.0.113.1") == "too many"
    assert attempt(home, right=True, address=HERE) == "in"


def test_a_right_answer_does_not_wipe_out_what_an_address_guessed(home: IdentityHome) -> None:
    for number in range(100):
        attempt(home, right=False, name=f"person{number}")
    assert attempt(home, right=True, name="eve") == "in"
    assert attempt(home, right=False, name="bob") == "wrong"
    assert attempt(home, right=False, name="carol") == "too many"


def test_many_guesses_at_once_gain_nothing(home: IdentityHome) -> None:
    judged = []
    barrier = threading.Barrier(20)

    def guess(_: int) -> None:
        barrier.wait()
        with pytest.raises(LoginRefusedError):
            home.throttle.guard("login", "alice", HERE, lambda: judged.append(1))

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(guess, range(20)))
    assert len(judged) == 6


def test_after_a_quiet_day_all_is_forgotten_and_nothing_is_kept(home: IdentityHome) -> None:
    guess_until_held_up(home)
    home.clock.forward(days=1, seconds=1)
    assert attempt(home, right=True) == "in"
    with home.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(login_attempt)).scalar() == 1


@pytest.mark.parametrize("address", [None, "", "unix", "not an address"])
def test_without_an_address_it_counts_all_the_same(home: IdentityHome, address: str | None) -> None:
    ends = [attempt(home, right=False, address=address) for _ in range(7)]
    assert ends[-1] == "too many"


def test_refusals_are_recorded_without_name_and_address_in_clear(home: IdentityHome) -> None:
    attempt(home, right=False)
    (entry,) = home.audit.entries()
    assert entry.body["action"] == "login.refuse"
    assert entry.body["actor"] == home.audit.identify("alice")
    assert entry.body["detail"] == {"address": home.audit.identify(HERE)}


def test_what_is_held_up_does_not_fill_the_log(home: IdentityHome) -> None:
    guess_until_held_up(home)
    before = home.audit.size()
    for _ in range(20):
        attempt(home, right=False)
    assert home.audit.size() == before

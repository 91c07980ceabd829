"""Decisions made at the same instant by several processes, and processes that die while deciding."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from gate_support import Home, new_home

from secure_platform.errors import GateRefusedError
from secure_platform.gate.states import ReleaseState

PROGRAM = Path(__file__).with_name("gate_support.py")
ROUNDS = 8


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path)


def start(home: Home, verb: str, name: str, digests: list[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(home.path), verb, name, *digests],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert said(process) == "ready"
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], times: int = 1) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n" * times)
    process.stdin.flush()


def at_once(
    home: Home, *deciders: tuple[str, str], classification: str
) -> tuple[list[str], list[dict[str, str]]]:
    """Let two processes decide on each release at the same instant, and return what each said of it."""
    digests = [
        home.release(f"r{n}", product=f"product{n}", classification=classification).digest
        for n in range(ROUNDS)
    ]
    processes = [start(home, verb, name, digests) for verb, name in deciders]
    answers: list[dict[str, str]] = [{} for _ in processes]
    for each in digests:
        for process in processes:
            tell(process)
        for process, answer in zip(processes, answers, strict=True):
            answer[each] = said(process).removeprefix(f"{each} ")
    assert [process.communicate(timeout=60)[0] for process in processes] == ["", ""]
    return digests, answers


def test_of_an_approval_and_a_rejection_at_the_same_instant_exactly_one_happens(home: Home) -> None:
    digests, (approver, rejecter) = at_once(
        home, ("approve", "sam"), ("reject", "tess"), classification="internal"
    )
    for each in digests:
        record = home.gate.get(each)
        won, lost = (approver, rejecter) if record.state is ReleaseState.APPROVED else (rejecter, approver)
        wanted = "rejected" if record.state is ReleaseState.APPROVED else "approved"
        assert won[each] == str(record.state)
        assert lost[each] == f"GateRefusedError {record.title} is {record.state} and cannot become {wanted}"
        assert len(home.gate.approvals(each)) == 1
    assert home.audit.verify().unfinished == ()
    for action in ("release.approve", "release.reject"):
        assert home.phases(action).count("intent") == ROUNDS
    outcomes = [*home.phases("release.approve"), *home.phases("release.reject")]
    assert (outcomes.count("done"), outcomes.count("failed")) == (ROUNDS, ROUNDS)


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_withdrawal_at_the_same_instant_is_never_lost(home: Home, verb: str) -> None:
    digests, (decider, withdrawer) = at_once(
        home, (verb, "sam"), ("withdraw", "rita"), classification="internal"
    )
    for each in digests:
        record = home.gate.get(each)
        refused = f"GateRefusedError {record.title} is {record.state} and cannot become "
        if record.state is ReleaseState.REJECTED:
            assert (decider[each], withdrawer[each]) == ("rejected", f"{refused}withdrawn")
        else:
            assert (str(record.state), withdrawer[each]) == ("withdrawn", "withdrawn")
            wanted = {"approve": "approved", "reject": "rejected"}[verb]
            assert decider[each] in {f"{refused}{wanted}", *({"approved"} if verb == "approve" else ())}
        with pytest.raises(GateRefusedError):
            home.gate.deployable(each, base=None, deployer=home.deployer)


def test_one_person_approving_twice_at_the_same_instant_counts_once(home: Home) -> None:
    digests, (one, two) = at_once(home, ("approve", "sam"), ("approve", "sam"), classification="restricted")
    for each in digests:
        refused = next(said for said in (one[each], two[each]) if said != "pending")
        assert {one[each], two[each]} == {"pending", refused}
        assert "forbid-double-approval" in refused
        assert home.gate.get(each).state is ReleaseState.PENDING


def test_two_people_approving_at_the_same_instant_both_count(home: Home) -> None:
    digests, (one, two) = at_once(home, ("approve", "sam"), ("approve", "tess"), classification="restricted")
    for each in digests:
        assert {one[each], two[each]} == {"pending", "approved"}
        assert len(home.gate.deployable(each, base=None, deployer=home.deployer)) == 2


def test_two_builds_that_took_the_same_number_do_not_both_register(home: Home) -> None:
    answers: list[str] = []

    def register(name: str) -> None:
        try:
            answers.append(str(home.release(name, number=1).number))
        except GateRefusedError as error:
            answers.append(type(error).__name__)

    threads = [threading.Thread(target=register, args=(f"r{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["1", *["GateRefusedError"] * 3]
    assert len(home.gate.list()) == 1


def test_a_kill_leaves_every_release_either_decided_or_pending(home: Home) -> None:
    digests = [home.release(f"r{n}", product=f"product{n}").digest for n in range(30)]
    decider = start(home, "approve", "sam", digests)
    tell(decider, len(digests))
    first = said(decider)
    time.sleep(0.05)
    decider.send_signal(signal.SIGKILL)
    rest, _ = decider.communicate(timeout=10)
    complete = [first, *rest[: rest.rfind("\n") + 1].splitlines()]
    acknowledged = {line.split()[0] for line in complete}
    assert acknowledged
    for each in digests:
        approved = home.gate.get(each).state is ReleaseState.APPROVED
        assert len(home.gate.approvals(each)) == int(approved)
        assert approved or each not in acknowledged
    assert len(home.audit.verify().unfinished) <= 1

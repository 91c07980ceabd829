"""Run as a program, for long: every failpoint with every action, and kills after random times.

    soak.py [--minutes N] [--seed S]       0 minutes: every point once; else rounds until the time is over

A failed case is printed as the point that reproduces it, with the seed; the exit code is then 1.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from failpoints import Action
from fault_case import Case
from fault_line import points_of, prepare, run
from fault_stages import STAGES

LONGEST_SECONDS = 2.0
LONGEST_WITH_DBT = 12.0
TIMED_PER_STAGE = 10


def every_case(shared: Path, chance: random.Random) -> list[Case]:
    """One round: each point of each stage with each action, and some random times, in random order."""
    cases = [
        Case(stage, action, point.name, point.occurrence)
        for stage, points in points_of(shared).items()
        for point in points
        for action in point.actions
    ]
    for stage in STAGES:
        longest = LONGEST_WITH_DBT if stage in {"marts", "renew", "return"} else LONGEST_SECONDS
        timed = Case(stage, Action.KILL)
        cases += [replace(timed, seconds=chance.uniform(0.01, longest)) for _ in range(TIMED_PER_STAGE)]
    chance.shuffle(cases)
    return cases


def endless(shared: Path, chance: random.Random, minutes: float) -> Iterator[Case]:
    """Rounds until the time is over; a single one when no time is given."""
    deadline = time.monotonic() + 60 * minutes
    while True:
        for case in every_case(shared, chance):
            if minutes and time.monotonic() > deadline:
                return
            yield case
        if not minutes:
            return


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    done = failed = 0
    try:
        sys.stdout.write(f"seed {options.seed}; preparing every stage's home …\n")
        prepare(root / "shared")
        cases = endless(root / "shared", random.Random(options.seed), options.minutes)  # noqa: S311
        with closing(run(root / "shared", root / "work", cases)) as outcomes:
            for outcome in outcomes:
                done += 1
                if outcome.broken or not (outcome.reached or outcome.case.timed):
                    failed += 1
                    what = outcome.broken or "the point was not reached"
                    sys.stdout.write(f"FAILED, seed {options.seed}: {outcome.case!r}: {what}\n")
                sys.stdout.flush()
    finally:
        shutil.rmtree(root)
    sys.stdout.write(f"{done} interruptions, {failed} broke a promise; seed {options.seed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What is wrong from the second snapshot on, before there are enough of them for any statistics.

A fact is so far from all that was there before that a few snapshots are enough to tell it: a column that is
empty and never was, rows that are there twice, hours without a row that always had some.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from secure_platform.monitor.anomaly import State
from secure_platform.monitor.history import Record

LASTING: Final = 3
"""So many snapshots that are alike are the new normal state."""
ENOUGH: Final = 20
"""Rows of a snapshot below which nothing is said about shares."""
CHANCE: Final = 1e-6
"""Chance of an empty column, had each cell been empty as often as at most before."""
_SPARSE: Final = (0.2, 0.05)
"""Share of a column that was always filled, of one with fewer and with `LASTING` snapshots."""
_COPIED: Final = 0.75
"""Of the share of rows that are there once, so much is left at least."""
_STEPS: Final = 50
_HARDLY: Final = 0.02
_FEW: Final = 0.05
_VARIED: Final = 10
_LIKE: Final = 2.0
_LEAP: Final = 8.0
_HOURS: Final = 4
_LEFT: Final = 0.5
_PAIR: Final = 2

Taught = Callable[[str], Sequence[Record]]


@dataclass(frozen=True)
class Fact:
    """Something wrong.

    Attributes:
        metric: As the history names it.
        value, usual: The number, and the nearest to it that was there before.
    """

    metric: str
    state: State
    value: float
    usual: float
    note: str


def facts(
    record: Record, taught: Taught, *, told: Taught, zone: ZoneInfo, holiday: bool = False
) -> list[Fact]:
    """What is wrong with a snapshot.

    Args:
        record: Its measures.
        taught: Metric → earlier records of the dataset in its zone that have it and from which may be
            learned, oldest first.
        told: Metric → those of them of which it was told, and nobody said that it was wrong or right.
        zone: Whose weekdays they are.
        holiday: Whether fewer rows than ever, and at other hours, are right.
    """
    found = [*_empty(record, taught), *_hours(record, taught, told, zone)] if not holiday else []
    if record.numbers.get("rows", 0.0) >= ENOUGH:
        found += [*_copied(record, taught), *_blank(record, taught)]
        found += [*_constant(record, taught), *_leapt(record, taught)]
    return [*found, *_back(record, taught)]


def _of(kind: str, record: Record) -> Iterator[str]:
    return (name for name in sorted(record.numbers) if name.startswith(f"{kind}:"))


def _empty(record: Record, taught: Taught) -> Iterator[Fact]:
    before = [each.numbers["rows"] for each in taught("rows")]
    if record.numbers.get("rows") == 0 and before and min(before) > 0:
        yield Fact("rows", "fail", 0.0, min(before), "it never was empty")


def _copied(record: Record, taught: Taught) -> Iterator[Fact]:
    """Rows that are exact copies of others, beyond those that as many rows have anyhow."""
    metric = "repeated_rate"
    known = [each for each in taught(metric) if each.numbers["rows"] >= ENOUGH]
    value = record.numbers.get(metric)
    if value is None or not known:
        return
    rows = record.numbers["rows"]
    usual = max(_thinned(each.numbers[metric], rows / each.numbers["rows"]) for each in known)
    loaded_again = 1 - value < _COPIED * (1 - usual)
    a_part_of_it = usual < _HARDLY and value > _FEW + usual and len(known) >= _PAIR
    if loaded_again or a_part_of_it:
        yield Fact(metric, "fail", value, usual, "share of rows that are exact copies of others")


def _thinned(copied: float, growth: float) -> float:
    """The share of copies among so many times the rows, if all are drawn from the same: the birthday problem.

    Of n draws from N values N(1 - exp(-n/N)) are different, so that of each draw (1 - exp(-x))/x is new.
    """
    if copied <= 0 or growth <= 1:
        return copied
    low, high = 0.0, 1 / max(1 - copied, 1e-9)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if -math.expm1(-middle) < (1 - copied) * middle else (middle, high)
    return 1 + math.expm1(-high * growth) / (high * growth)


def _blank(record: Record, taught: Taught) -> Iterator[Fact]:
    """Columns that are empty and never were."""
    for metric in _of("null_rate", record):
        known = [each for each in taught(metric) if each.numbers["rows"] >= ENOUGH]
        if record.numbers[metric] < 1 or not known:
            continue
        usual = max(each.numbers[metric] for each in known)
        enough = _SPARSE[len(known) >= LASTING]
        if 1 - usual >= enough and record.numbers["rows"] * math.log(max(usual, 1e-9)) < math.log(CHANCE):
            yield Fact(metric, "fail", 1.0, usual, "it never was empty")


def _constant(record: Record, taught: Taught) -> Iterator[Fact]:
    """Columns with one value that had many, in as many rows."""
    rows = record.numbers["rows"]
    for metric in _of("distinct_rate", record):
        column = metric.partition(":")[2]
        known = [each for each in taught(metric) if ENOUGH <= each.numbers["rows"] <= _LIKE * rows]
        if not known or _distinct(record, column) != 1:
            continue
        if min(_distinct(each, column) for each in known) >= _VARIED:
            usual = min(each.numbers[metric] for each in known)
            yield Fact(metric, "warn", record.numbers[metric], usual, "it has one value, and had many")


def _distinct(record: Record, column: str) -> int:
    """Different values, without the empty one."""
    values = round(record.numbers[f"distinct_rate:{column}"] * record.numbers["rows"])
    return values - (record.numbers.get(f"null_rate:{column}", 0.0) > 0)


def _leapt(record: Record, taught: Taught) -> Iterator[Fact]:
    """Medians that hardly moved, and are many times what they were: another unit."""
    for metric in _of("p50", record):
        value = record.numbers[metric]
        known = [each.numbers[metric] for each in taught(metric)]
        if len(known) < _PAIR or value * min(known) <= 0 or min(known) * max(known) <= 0:
            continue
        low, high = sorted((abs(min(known)), abs(max(known))))
        if high <= _LIKE * low and (abs(value) > _LEAP * high or abs(value) < low / _LEAP):
            usual = max(known, key=abs) if abs(value) > high else min(known, key=abs)
            yield Fact(metric, "warn", value, usual, "many times what it was: another unit?")


def _hours(record: Record, taught: Taught, told: Taught, zone: ZoneInfo) -> Iterator[Fact]:
    """Hours of the day without rows that had some in every snapshot.

    No detector learns them: what was told of such hours on this weekday, or `LASTING` times, is known.
    """
    weekday = record.recorded_at.astimezone(zone).weekday()
    for metric in _of("hours", record):
        column = metric.partition(":")[2]
        known = taught(metric)
        if len(known) < LASTING:
            continue
        always = set.intersection(*({*_busy(column, each)} for each in known))
        left = len(always & {*_of(f"hour:{column}", record)})
        if len(always) >= _HOURS and left <= _LEFT * len(always):
            alike = [each for each in told(metric) if _alike(column, each, record)]
            days = {each.recorded_at.astimezone(zone).weekday() for each in alike}
            if weekday in days or len(alike) >= LASTING:
                continue
            note = f"{left} of {len(always)} hours of the day that always had rows"
            yield Fact(
                metric, "warn", record.numbers[metric], min(each.numbers[metric] for each in known), note
            )


def _busy(column: str, record: Record) -> Iterator[str]:
    return (name for name in _of(f"hour:{column}", record) if record.numbers[name] > 1)


def _alike(column: str, *records: Record) -> bool:
    """Whether two snapshots share at least half of the hours that either has."""
    one, other = ({*_of(f"hour:{column}", each)} for each in records)
    return len(one & other) >= _LEFT * len(one | other)


def _back(record: Record, taught: Taught) -> Iterator[Fact]:
    """Days that went on with every snapshot, and go back."""
    for metric in _of("newest", record):
        days = [each.numbers[metric] for each in taught(metric)]
        if (
            len(days) >= _PAIR
            and days == sorted(days)
            and days[0] < days[-1]
            and record.numbers[metric] < days[-1]
        ):
            yield Fact(
                metric, "fail", record.numbers[metric], days[-1], "the newest day is earlier than before"
            )

"""What changed in the statistics with noise: whatever reveals more about people is always marked."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from secure_platform.contract.aggregates import PERIODS
from secure_platform.protect.changes import WEAKER

_LIMITS: Final = ("epsilon", "delta")
_SPENT: Final = ("epsilon", "rho", "delta")
Told = Mapping[str, Any]


def privacy_changes(old: Told | None, new: Told | None, *, first: bool = False) -> Iterator[str]:
    """What changes in the aggregates of two manifests, and in their budget.

    Args:
        old: None when nothing was told.
        new: None when nothing is.
        first: Nothing is in production yet that anything could be weaker than.
    """
    weaker = "" if first else f" {WEAKER} before:"
    if new is None:
        if old is not None:
            yield "Nothing is told in numbers with noise any more."
        return
    if old is None:
        yield f"Numbers with noise:{weaker} new, with {_budget(new['budget'])}."
    else:
        yield from _budgets(old["budget"], new["budget"])
    before = {each["name"]: each for each in (old or {}).get("aggregates", ())}
    after = {each["name"]: each for each in new["aggregates"]}
    for name, each in after.items():
        if name not in before:
            yield f"{name}:{weaker} a new aggregate of {each['source']}, with {_spend(each)}."
        elif before[name] != each:
            yield from _aggregate(name, before[name], each)
    yield from (f"{name}: the aggregate is gone." for name in before if name not in after)


def _budgets(old: Told, new: Told) -> Iterator[str]:
    if old == new:
        return
    weaker = (
        any(new[name] > old[name] for name in _LIMITS)
        or PERIODS.index(new["period"]) < PERIODS.index(old["period"])
        or new["composition"] != old["composition"]
    )
    said = f" {WEAKER} before:" if weaker else ""
    yield f"The privacy budget:{said} {_budget(new)} instead of {_budget(old)}."


def _aggregate(name: str, old: Told, new: Told) -> Iterator[str]:
    if _spend(old) != _spend(new):
        more = any((new[each] or 0) > (old[each] or 0) for each in _SPENT)
        yield f"{name}:{f' {WEAKER} before:' if more else ''} {_spend(new)} instead of {_spend(old)}."
    others = [each for each in new if each not in {*_SPENT, "name", "description"}]
    changed = ", ".join(each.replace("_", " ") for each in others if old[each] != new[each])
    if changed:
        # What is told of another dataset was not told before.
        weaker = f" {WEAKER} before:" if old["source"] != new["source"] else ""
        yield f"{name}:{weaker} the aggregate changes: {changed}."


def _budget(budget: Told) -> str:
    return (
        f"epsilon {budget['epsilon']:g} and delta {budget['delta']:g} for each {budget['period']} "
        f"({budget['composition']})"
    )


def _spend(aggregate: Told) -> str:
    return " and ".join(f"{name} {aggregate[name]:g}" for name in _SPENT if aggregate[name])

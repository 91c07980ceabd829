"""The difference between two plans, in sentences; weaker protection is always marked."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import product
from typing import Any, Final

from secure_platform import canonical
from secure_platform.contract.conditions import Condition
from secure_platform.contract.model import Protect, Waiver
from secure_platform.protect.conditions import WHEN, conditions_of
from secure_platform.protect.decide import ends
from secure_platform.protect.generalize import VALUES
from secure_platform.protect.plan import ColumnPlan
from secure_platform.protect.scrub import TYPES
from secure_platform.protect.strength import DONE, KIND, KINDS, strengths
from secure_platform.protect.transforms import KEEP
from secure_platform.protect.vault import UNTIL

WEAKER: Final = "WEAKER than"
"""Marks a sentence about protection that would not stand for what was there, or for what is required."""
_ROWS: Final = {
    "when": "when",
    "sample": "sample",
    "k": "k",
    "l": "l",
    "quasi": "quasi-identifiers",
    "sensitive": "sensitive columns",
    "subject": "subject",
    "at_most": "at most",
}
_ALL_ROWS: Final = {
    "when": "",
    "sample": 1.0,
    "k": 1,
    "l": 1,
    "quasi": [],
    "sensitive": [],
    "subject": None,
    "at_most": 1.0,
}
"""Where a plan says nothing, all rows leave raw."""
_NOT_TOLD: Final = frozenset({*KINDS.values(), VALUES, TYPES, UNTIL})
_LONGEST: Final = 40
_FACTS: Final = {
    "token_domain": "token domain",
    "output_type": "output type",
    "classification": "classification",
    "info_type": "info type",
    "reference": "reference",
}


def changes(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """What changes from one plan's JSON to another's.

    Args:
        old: None when nothing was released before.
        new: The plan now.
    """
    if old is None:
        first = f"First plan, under {new['profile']}, calculated at {new['as_of']}."
        counted = (f"{name}: {_counted(columns)}." for name, columns in new["datasets"].items())
        return [first, *counted, *_waivers({}, new["datasets"]), *_conditions({}, new)]
    if old["digest"] == new["digest"]:
        return []
    datasets = old["datasets"], new["datasets"]
    return [
        *_general(old, new),
        *_datasets(*datasets),
        *_waivers(*datasets),
        *_conditions(old, new),
        *_rows(old, new),
    ]


def _general(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["profile"] != new["profile"]:
        yield f"The protection profile changes from {old['profile']} to {new['profile']}."
    elif old["profile_digest"] != new["profile_digest"]:
        yield f"The rules of the protection profile {new['profile']} change."
    if old["as_of"] != new["as_of"]:
        yield f"Ages are calculated at {new['as_of']} instead of {old['as_of']}."
    before = old["token_versions"]
    for domain, version in new["token_versions"].items():
        if domain in before and before[domain] != version:
            yield (
                f"Tokens of the domain {domain} are made with key version {version} instead of "
                f"{before[domain]}: they do not match those released before."
            )


def _datasets(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in old:
            yield f"{name}: new dataset; {_counted(new[name])}."
        elif name not in new:
            yield f"{name}: the dataset is no longer released."
        else:
            yield from _columns(name, _by_name(old[name]), _by_name(new[name]))


def _waivers(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Every new waiver: protection below what the profile requires is always shown."""
    before = {(place, told) for place, told, _ in _waived(old)}
    for place, told, how in _waived(new):
        if (place, told) not in before:
            yield f"{place}: {WEAKER} the profile requires: {how}, waived {told}."


def ended_waivers(datasets: Mapping[str, Any], today: date) -> list[str]:
    """The columns of a plan whose leave to be weaker has ended, each with its last day.

    Args:
        datasets: Of a plan as JSON.
        today: The day on which what was made by it is to be used.
    """
    days = [(place, Waiver.last_day(told)) for place, told, _ in _waived(datasets)]
    return [f"{place} on {day}" for place, day in days if day < today]


def standing(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """The waivers that were there before and still are: whoever decides is told each time, with the last day.

    Args:
        old: A plan's JSON; None when nothing was released before.
        new: The plan now.
    """
    before = {(place, told) for place, told, _ in _waived({} if old is None else old["datasets"])}
    return [
        f"{place}: still {WEAKER} the profile requires: {how}, waived {told}."
        for place, told, how in _waived(new["datasets"])
        if (place, told) in before
    ]


def _waived(datasets: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, columns in datasets.items():
        for column in columns:
            for path, each in [("", column), *column.get("parts", {}).items()]:
                if each.get("waived"):
                    place = f"{name}.{column['column']}{f', {path}' if path else ''}"
                    yield place, each["waived"], _how(each)


def _conditions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What conditions said can be told from what comes out, of a column that may not come out."""
    before = set(_asked(old))
    told = [
        (place, of, done) for place, of, done, when in _asked(new) if (place, of, done, when) not in before
    ]
    for place, of, done in dict.fromkeys(told):
        yield f"{place} tells of {of}, which is {done}."


def _asked(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Condition]]:
    """The conditions on columns that are not kept: what tells of it, which column, what is done to it."""
    for name, columns in plan.get("datasets", {}).items():
        done = {column["column"]: DONE[column["transform"]] for column in columns}
        rows = plan.get("suppression", {}).get(name, _ALL_ROWS)["when"]
        asked = [
            *((f"{name}: {WEAKER} its columns alone: which rows it has", when) for when in _read(rows)),
            *(
                (f"{name}.{column['column']}: {WEAKER} its parts alone: which one it goes through", when)
                for column in columns
                for when in _conditions_in(column)
            ),
        ]
        yield from (
            (place, when.column, done[when.column], when)
            for place, when in asked
            if done[when.column] != DONE[KEEP]
        )


def _read(when: str) -> tuple[Condition, ...]:
    return conditions_of(when) if when else ()


def _conditions_in(column: Mapping[str, Any]) -> Iterator[Condition]:
    if WHEN in column["params"]:
        yield from conditions_of(column["params"][WHEN])
    for part in column.get("parts", {}).values():
        yield from _conditions_in(part)


def _rows(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Changes to which rows stay behind; fewer conditions, smaller classes and more rows are weaker."""
    for name in new["datasets"]:
        before, after = (plan.get("suppression", {}).get(name, _ALL_ROWS) for plan in (old, new))
        if name not in old["datasets"] or before == after:
            continue
        weaker = (
            after["k"] < before["k"]
            or after["l"] < before["l"]
            or not set(before["sensitive"]) <= set(after["sensitive"])
            or after["sample"] > before["sample"]
            or (before["subject"] and after["subject"] != before["subject"])
            or (before["quasi"] and set(after["quasi"]) != set(before["quasi"]))
            or (before["when"] and after["when"] != before["when"])
        )
        told = ", ".join(
            f"{words} {_said(after[key])} instead of {_said(before[key])}"
            for key, words in _ROWS.items()
            if after[key] != before[key]
        )
        yield f"{name}:{f' {WEAKER} before:' if weaker else ''} the rows that stay behind change: {told}."


def _columns(dataset: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in [*new, *(name for name in old if name not in new)]:
        place = f"{dataset}.{name}"
        if name not in old:
            yield f"{place}: new column, {_how(new[name])}. {new[name]['reason']}."
        elif name not in new:
            yield f"{place}: the column is no longer in the contract; it was {_how(old[name])}."
        else:
            yield from _column(place, old[name], new[name])


def _column(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if _how(old) != _how(new):
        weaker = "" if _no_weaker(old, new) else f" {WEAKER} before:"
        yield f"{place}:{weaker} {_how(new)} instead of {_how(old)}. {new['reason']}."
        return
    for key, words in _FACTS.items():
        # The version is said once, for the whole domain.
        if old[key] != new[key]:
            yield f"{place}: the {words} changes from {_said(old[key])} to {_said(new[key])}."
    for name, part in new.get("parts", {}).items():
        yield from _column(f"{place}, {name}", old["parts"][name], part)
    if old["input_classification"] != new["input_classification"]:
        before, after = old["input_classification"], new["input_classification"]
        yield f"{place}: the contract classifies it {after} instead of {before}."


def _no_weaker(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    before, after = _protect(old), _protect(new)
    pairs = tuple(_pairs(before, after))
    if any(VALUES in a.params and VALUES in b.params and not _joins(a, b) for a, b in pairs):
        return False
    if any(TYPES in a.params and TYPES in b.params and not _knows(a, b) for a, b in pairs):
        return False
    return strengths().stands_for(after, before)


def _pairs(before: Protect, after: Protect) -> Iterator[tuple[Protect, Protect]]:
    """Pairs of the old and the new treatment of a value; part by part, if both have the same parts."""
    if before.parts.keys() == after.parts.keys() != set():
        for name, part in after.parts.items():
            yield from _pairs(before.parts[name], part)
    else:
        yield from product(ends(before), ends(after))


def _protect(column: Mapping[str, Any]) -> Protect:
    parts = {name: _protect(part) for name, part in column.get("parts", {}).items()}
    return Protect(column["transform"], column["params"], parts)


def _knows(before: Protect, after: Protect) -> bool:
    """Whether the product's info types still find what they found, and allow no further values."""
    old, new = (json.loads(str(each.params[TYPES])) for each in (before, after))
    kept = all(
        new.get(member, {}).get(name) == body
        for member in ("types", "extend")
        for name, body in old.get(member, {}).items()
    )
    return kept and bool(new.get("allow", {}) == old.get("allow", {}))


def _joins(before: Protect, after: Protect) -> bool:
    """Whether a changed hierarchy only merges further values."""
    old, new = (json.loads(str(each.params[VALUES])) for each in (before, after))
    if not new.keys() <= old.keys():
        return False
    return len({(old[value], new[value]) for value in new}) == len({old[value] for value in new})


def _how(column: Mapping[str, Any]) -> str:
    params = column["params"]
    details = [f"{name} {_shown(name, params[name])}" for name in sorted(params) if name != KIND]
    details += [f"{name}: {_how(part)}" for name, part in column.get("parts", {}).items()]
    kind = f" to {params[KIND]}" if KIND in params else ""
    return f"{DONE[column['transform']]}{kind}" + (f" ({', '.join(details)})" if details else "")


def parameters(column: ColumnPlan) -> str:
    """What a transform was told, in a few words: without its kind and last day, and what whole files say."""
    told = (f"{name} {column.params[name]}" for name in sorted(column.params) if name not in _NOT_TOLD)
    return ", ".join(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in told)


def _shown(name: str, value: Any) -> str:
    return canonical.sha256(str(value).encode()) if name in {VALUES, TYPES} else str(value)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['dataset']}.{value['column']}"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value in {None, ""} else str(value)


def _counted(columns: list[Mapping[str, Any]]) -> str:
    counts = Counter(DONE[column["transform"]] for column in columns)
    return ", ".join(f"{count} of {len(columns)} columns {done}" for done, count in counts.most_common())


def _by_name(columns: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {column["column"]: column for column in columns}

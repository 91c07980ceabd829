"""What a profile asks for passes the check of what is left: no build ends where its own rule was followed."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final

import polars as pl
import pytest
from protect_examples import KEYS, column, dataset_plan, typed

from secure_platform.contract.model import Column
from secure_platform.errors import PlanRefusedError
from secure_platform.protect.execute import apply
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.profile import PROFILES
from secure_platform.protect.residual import ANY, kept_formats, residual_values
from secure_platform.scan.columns import Scanner
from secure_platform.scan.refusals import residual
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import info_types

NAMES: Final = sorted(path.stem for path in PROFILES.glob("*.yaml"))
ROWS: Final = 60
KEY: Final = bytes(range(32))
ID: Final = column("pid", info_type="RECORD_ID", primary_key=True, subject_id=True, required=True)
FLAG: Final = column("flag", level="public", quasi_identifier=True)
SCANNER: Final = Scanner(info_types())


def day(number: int) -> date:
    return date(1950, 1, 1) + timedelta(days=10 + 251 * number % 15_000)


def words(*some: str) -> Callable[[int], str]:
    return lambda number: some[number % len(some)]


SAMPLES: Final[Mapping[str, tuple[str, str, Callable[[int], Any]]]] = {
    "DATE_OF_BIRTH": ("date", "birth_date", day),
    "DATE_OF_DEATH": ("date", "death_date", day),
    "DATE": ("date", "ordered_on", day),
    "EMAIL": ("string", "email", "joe{}@corp.org".format),
    "PHONE": ("string", "phone", lambda number: f"212-555-{number:04}"),
    "US_SSN": ("string", "ssn", lambda number: f"{101 + number}-{10 + number}-{1000 + number}"),
    "CREDIT_CARD": ("string", "card", words("4111111111111111", "5500005555555559", "378282246310005")),
    "US_ZIP": ("string", "zip", lambda number: f"{10001 + 1371 * number}"),
    "POSTAL_CODE": ("string", "postal_code", lambda number: f"SW{number % 9 + 1}A 2AA"),
    "IPV4": ("string", "ip", lambda number: f"81.2.{number}.{number + 1}"),
    "MAC_ADDRESS": ("string", "mac", lambda number: f"3C:22:FB:10:20:{number:02X}"),
    "URL": ("string", "url", "https://corp.org/{}".format),
    "USERNAME": ("string", "username", "joe{}".format),
    "PERSON_NAME": ("string", "full_name", words("Anna Meier", "John Smith", "Carl Gauss", "Zoe Brown")),
    "STREET_ADDRESS": ("string", "address", lambda number: f"{number + 1} Main Street"),
    "CITY": ("string", "city", words("Boston", "Zürich", "Paris")),
    "COUNTY": ("string", "county", words("Suffolk", "Essex")),
    "PLACE_NAME": ("string", "birthplace", words("Lyon", "Genoa", "Porto")),
    "AGE": ("integer", "age", lambda number: 40 + number),
    "AGE_OVER_89": ("integer", "patient_age", lambda number: 60 + number),
    "RECORD_ID": ("string", "record_id", "r-{}".format),
    "PROVIDER_ID": ("string", "provider_id", "p-{}".format),
}
ASKED: Final[Mapping[str, Any]] = {
    "nothing": None,
    **{to: {"transform": "generalize", "to": to} for to in ("quarter", "month", "week", "year")},
    "bucket": {"transform": "generalize", "to": "bucket", "width": 10},
    "limits": {"transform": "generalize", "to": "limits", "highest": 95},
    "shift_date": "shift_date",
    "shuffle": "shuffle",
    "noise": {"transform": "noise", "amount": 2},
    "tokenize": "tokenize",
    "fake": "fake",
    "scrub": "scrub",
    "keep": "keep",
    "mask": {"transform": "mask", "keep_last": 2},
    "a PAN's mask": {"transform": "mask", "keep_first": 6, "keep_last": 4},
    "replace": "replace",
    "a text": {"transform": "replace", "value": "nobody@example.com"},
    "a name": {"transform": "replace", "value": "Jane Doe"},
    "partly kept": {
        "transform": "conditional",
        "when": [{"column": "flag", "equals": "a"}],
        "then": "redact",
        "otherwise": "keep",
    },
}


def sampled(info_type: str, asked: Any) -> Column:
    logical_type, name, _ = SAMPLES[info_type]
    level = max(Classification.CONFIDENTIAL, info_types()[info_type].classification)
    return column(name, logical_type, level.label, info_type=info_type, protect=asked)


def frame(*columns: Column) -> pl.LazyFrame:
    values: dict[str, list[Any]] = {
        "flag": ["a", "b"] * (ROWS // 2),
        "pid": [f"P{number}" for number in range(ROWS)],
    }
    values |= {name: [value(number) for number in range(ROWS)] for _, name, value in SAMPLES.values()}
    return typed(columns, {each.name: values[each.name] for each in columns})


def passes(each: Column, profile: str) -> bool:
    try:
        dataset_plan(each, FLAG, ID, profile=profile)
    except PlanRefusedError:
        return False
    return True


def left(plan: DatasetPlan, before: pl.LazyFrame, after: pl.LazyFrame, profile: str) -> set[tuple[str, str]]:
    """What the residual checks of a build find: column, and info type or `values`."""
    kept = kept_formats(plan)
    found = [
        finding
        for finding in SCANNER.scan(after)
        if not {ANY, finding.info_type} & kept.get(finding.column, frozenset())
    ]
    harbor = profile == "hipaa_safe_harbor"
    values = residual_values([(before, plan)], after, plan, KEY)
    types = {(finding.column, finding.info_type) for finding in residual(found, safe_harbor=harbor)}
    return types | {(name, "values") for name, _ in values}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("profile", NAMES)
def test_what_a_profile_asks_for_or_allows_leaves_nothing_that_is_refused(profile: str, asked: str) -> None:
    wanted = [sampled(info_type, ASKED[asked]) for info_type in SAMPLES]
    allowed = [each for each in wanted if passes(each, profile)]
    # What a contract asks for may be refused, the rule of a profile never.
    assert ASKED[asked] is not None or allowed == wanted
    columns = (*allowed, FLAG, ID)
    plan, before = dataset_plan(*columns, profile=profile), frame(*columns)
    after = apply(plan, before, KEYS).collect(engine="streaming").lazy()
    assert left(plan, before, after, profile) == set()


@pytest.mark.parametrize(
    ("profile", "info_type", "asked", "found"),
    [
        ("test_data", "DATE_OF_BIRTH", "nothing", "values"),
        ("gdpr_pseudonymous", "DATE_OF_DEATH", "nothing", "values"),
        ("hipaa_limited", "DATE_OF_BIRTH", "week", "values"),
        ("test_data", "EMAIL", "a text", "values"),
        ("pci", "CREDIT_CARD", "a PAN's mask", "values"),
        ("hipaa_safe_harbor", "DATE_OF_BIRTH", "nothing", "DATE_OF_BIRTH"),
        ("gdpr_pseudonymous", "EMAIL", "nothing", "EMAIL"),
    ],
)
def test_an_original_that_is_left_over_is_found(profile: str, info_type: str, asked: str, found: str) -> None:
    columns = (sampled(info_type, ASKED[asked]), FLAG, ID)
    plan, before = dataset_plan(*columns, profile=profile), frame(*columns)
    after = apply(plan, before, KEYS).with_columns(before.select(columns[0].name).collect()[columns[0].name])
    assert (columns[0].name, found) in left(plan, before, after, profile)


def test_a_date_that_is_rounded_is_looked_for_in_every_other_column() -> None:
    born, note = sampled("DATE_OF_BIRTH", None), column("note", level="internal")
    plan = dataset_plan(born, note, ID, profile="test_data")
    days = [day(number).isoformat() for number in range(ROWS)]
    before = frame(born, ID).with_columns(pl.Series("note", days))
    after = apply(plan, before, KEYS)
    assert residual_values([(before, plan)], after, plan, KEY) == [("note", ROWS)]


def test_days_within_the_unit_are_counted_and_no_value_is_told() -> None:
    plan = dataset_plan(sampled("DATE_OF_BIRTH", None), profile="test_data")
    days = [date(2001, 5, 1), date(2001, 5, 2), None, date(2001, 5, 31)]
    after = pl.LazyFrame({"birth_date": days})
    assert residual_values([], after, plan, KEY) == [("birth_date", 2)]
    rounded = pl.LazyFrame({"birth_date": [date(2001, 5, 1), None]})
    assert residual_values([], rounded, plan, KEY) == []


def test_what_is_partly_kept_passes_for_its_own_type_only() -> None:
    each = sampled("CITY", ASKED["partly kept"])
    assert kept_formats(dataset_plan(each, FLAG, ID, profile="hipaa_limited")) == {
        "city": frozenset({"CITY"})
    }
    asked = {**ASKED["partly kept"], "then": "replace"}
    note = column("note", protect=asked)
    assert kept_formats(dataset_plan(note, FLAG, ID, profile="hipaa_limited")) == {}

"""Each transform keeps its promise, and the test of it fails when the transform is replaced by keep."""

import base64
import random
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import KEYS, column, dataset_plan, planned, token, typed
from stdnum import luhn

from secure_platform import canonical
from secure_platform.contract.model import Column
from secure_platform.errors import PlanRefusedError
from secure_platform.protect.execute import apply
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.strength import KINDS, strengths
from secure_platform.protect.transforms import TRANSFORMS
from secure_platform.protect.vary import MAX_SHIFT_DAYS

# HHS guidance of 2012, from the 2000 census.
HHS_PREFIXES = ["036", "059", "063", "102", "203", "556", "692", "790", "821"]
HHS_PREFIXES += ["823", "830", "831", "878", "879", "884", "890", "893"]
FREE = "gdpr_pseudonymous"

texts = st.text(max_size=12)
NO_DAYS = [date(1900, 1, 1), date(1970, 1, 1)]
dates = st.dates(min_value=date(1850, 1, 1), max_value=date(2025, 12, 31)).filter(
    lambda day: day not in NO_DAYS
)


def run(columns: Sequence[Column], values: dict[str, list[Any]], profile: str = FREE) -> pl.DataFrame:
    plan = dataset_plan(*columns, profile=profile)
    frame = apply(plan, typed(columns, values), KEYS)
    streamed = frame.collect(engine="streaming")
    again = frame.collect(engine="in-memory")
    same = [c.column for c in plan.outputs if c.full_name != "encrypt.randomized"]
    assert streamed.select(same).equals(again.select(same))
    assert streamed.columns == [c.column for c in plan.outputs]
    assert all(str(streamed.schema[c.column]) == c.output_type for c in plan.outputs)
    return streamed


def one(logical_type: str, protect: Any, values: list[Any], profile: str = FREE, **more: Any) -> list[Any]:
    subject = column("v", logical_type, protect=protect, **more)
    return run([subject], {"v": values}, profile)["v"].to_list()


# --- the promise of each transform, as a check of before and after


def hides_all(before: list[Any], after: list[Any]) -> None:
    assert after == [None] * len(before)


def is_token(prefix: str) -> Callable[[list[Any], list[Any]], None]:
    def check(before: list[Any], after: list[Any]) -> None:
        assert [v is None for v in before] == [v is None for v in after]
        form = re.compile(rf"{prefix}1_[0-9a-f]{{32}}")
        assert all(v is None or form.fullmatch(v) for v in after)
        assert len(set(before)) == len(set(after))

    return check


def is_drawn(before: list[Any], after: list[Any]) -> None:
    pairs = list(zip(before, after, strict=True))
    assert all(old is new is None or re.fullmatch("v_[0-9a-f]{32}", new) for old, new in pairs)
    assert len(set(before)) == len(set(after)) == len(set(pairs))


def shows_only_the_end(before: list[Any], after: list[Any]) -> None:
    for old, new in zip(before, after, strict=True):
        if old is not None:
            assert len(new) == len(old)
            counted = len(re.sub("[ .:/()-]", "", old))
            assert new[-4:] == (old[-4:] if counted > 8 else re.sub(r"[^ .:/()-]", "*", old[-4:]))
            assert not re.search(r"[^ .:/()*-]", new[:-4])


def is_another_day_nearby(before: list[Any], after: list[Any]) -> None:
    for old, new in zip(before, after, strict=True):
        if old is not None:
            assert 1 <= abs((new - old).days) <= MAX_SHIFT_DAYS
            assert (new - old) % timedelta(days=1) == timedelta(0)


def is_year_from_1936(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else max(v.year, 1936) for v in before]


def is_first_day_of_quarter(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else date(v.year, (v.month - 1) // 3 * 3 + 1, 1) for v in before]


def is_first_day_of_month(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else date(v.year, v.month, 1) for v in before]


def is_age_up_to_90(before: list[Any], after: list[Any]) -> None:
    ages = [None if v is None else 2026 - v.year - ((v.month, v.day) > (1, 1)) for v in before]
    assert after == [None if age is None else min(max(age, 0), 90) for age in ages]


def is_zip3(before: list[Any], after: list[Any]) -> None:
    for old, new in zip(before, after, strict=True):
        if old is None:
            assert new is None
        elif re.fullmatch(r"[0-9]{5}(-?[0-9]{4})?", old) and old[:3] not in HHS_PREFIXES:
            assert new in (old[:3], "000")
        else:
            assert new == "000"


def is_multiple_of_ten_below(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else v // 10 * 10 for v in before]


def is_the_mark(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else "[REDACTED]" for v in before]


def opened_by_the_library(mode: str, cells: list[Any]) -> list[Any]:
    """What `cryptography` decrypts, cell by cell, from the bytes that the documentation describes."""
    siv = AESSIV(KEYS.cell_key("clinic.people.v", 1).key)
    aad = canonical.dumps(["cell/clinic.people.v", 1, mode])
    found: list[Any] = []
    for cell in cells:
        if cell is None:
            found.append(None)
            continue
        assert cell.startswith("e1_")
        sealed = base64.b64decode(cell[3:], validate=True)
        nonce, sealed = ([sealed[:16]], sealed[16:]) if mode == "randomized" else ([], sealed)
        found.append(siv.decrypt(sealed, [aad, *nonce]).decode() if len(sealed) > 16 else "")
    return found


def is_sealed(mode: str) -> Callable[[list[Any], list[Any]], None]:
    def check(before: list[Any], after: list[Any]) -> None:
        assert opened_by_the_library(mode, after) == before
        given = [cell for cell in after if cell is not None]
        different = set(before) - {None} if mode == "deterministic" else given
        assert len(set(given)) == len(different)

    return check


def is_another_card_number(before: list[Any], after: list[Any]) -> None:
    for old, new in zip(before, after, strict=True):
        if old is not None:
            assert re.fullmatch(CARD, new)
            assert new != old
            assert luhn.is_valid(new.replace("-", "")) == luhn.is_valid(old.replace("-", ""))
    assert len(set(before)) == len(set(after))


def is_near(before: list[Any], after: list[Any]) -> None:
    moved = [new - old for old, new in zip(before, after, strict=True) if old is not None]
    assert all(abs(by) <= 10 for by in moved)
    assert len(moved) < 10 or set(moved) != {0}


def is_in_another_order(before: list[Any], after: list[Any]) -> None:
    given = [value for value in before if value is not None]
    assert sorted(value for value in after if value is not None) == sorted(given)
    assert len(set(given)) < 10 or after != before


def is_monday_before(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else v - timedelta(days=v.weekday()) for v in before]


def is_the_day(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else v.date() for v in before]


def is_the_hour(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else v.replace(minute=0, second=0, microsecond=0) for v in before]


def is_between_10_and_20(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else min(max(v, 10), 20) for v in before]


def is_what_the_second_level_says(before: list[Any], after: list[Any]) -> None:
    said = {"Bachelors": "Higher", "Masters": "Higher", "11th": "Secondary", "9th": "Secondary"}
    assert after == [said.get(value) for value in before]


def is_hidden_below_three(before: list[Any], after: list[Any]) -> None:
    marks = ["[REDACTED]" if row < 3 else re.sub(r"\w", "*", str(v)) for row, v in enumerate(before)]
    assert after == [None if v is None else mark for v, mark in zip(before, marks, strict=True)]


def has_marks_for_values(before: list[Any], after: list[Any]) -> None:
    made = {
        '{"a": "x", "b": "y"}': '{"a": "[REDACTED]"}',
        '{"b": "y"}': "{}",
        '{"a": null}': '{"a": null}',
        '["x"]': "[null]",
        '[{"a": "x"}]': '[{"a": "[REDACTED]"}]',
    }
    assert after == [made.get(v) for v in before]


def is_an_address_of_nobody(before: list[Any], after: list[Any]) -> None:
    form = re.compile(r"[a-z]+\.[a-z]+[0-9]{2}@example\.(com|net|org)")
    pairs = list(zip(before, after, strict=True))
    assert all(form.fullmatch(new) if old is not None else new is None for old, new in pairs)
    assert len(set(pairs)) == len(set(before)), "equal values stay equal"


def names_what_was_there(before: list[Any], after: list[Any]) -> None:
    assert after == [None if v is None else re.sub(r"[a-z]+@[a-z.]+", "[EMAIL]", v) for v in before]


@dataclass(frozen=True)
class Promise:
    logical_type: str
    params: dict[str, Any]
    sample: list[Any]
    values: st.SearchStrategy[Any]
    check: Callable[[list[Any], list[Any]], None]
    more: dict[str, Any] = field(default_factory=dict)


SSNS = ["999-17-5017", "999-50-8136", None, "123-45-6789"]
DAYS = [date(1931, 5, 6), None, date(1990, 12, 31), date(2000, 2, 29)]
CARD = "[0-9]{4}-?[0-9]{4}-?[0-9]{4}-?[0-9]{4}"
CARDS = ["4111-1111-1111-1111", "4111111111111112", None, "5500005555555559"]
MANY = [*range(20), None, -(2**63), 2**63 - 1]
TIMES = [datetime(2020, 5, 6, 7, 8, 9, 10, UTC), None]
times = st.datetimes(datetime(1850, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
integers = st.integers(-(2**63), 2**63 - 1)
PROMISES = {
    "replace": Promise("string", {}, SSNS, texts, is_the_mark),
    "encrypt.deterministic": Promise(
        "string", {}, [*SSNS, "", SSNS[0]], st.text(max_size=70), is_sealed("deterministic")
    ),
    "encrypt.randomized": Promise(
        "string", {}, [*SSNS, "", SSNS[0]], st.text(max_size=70), is_sealed("randomized")
    ),
    "fpe": Promise(
        "string",
        {"checksum": "luhn"},
        CARDS,
        st.from_regex(CARD, fullmatch=True, alphabet=st.characters(max_codepoint=127)),
        is_another_card_number,
        {"pattern": f"^{CARD}$"},
    ),
    "noise": Promise("integer", {"amount": 10}, MANY[:-2], st.integers(-(10**9), 10**9), is_near),
    "shuffle": Promise("integer", {}, MANY, integers, is_in_another_order),
    "generalize.week": Promise("date", {}, DAYS, dates, is_monday_before),
    "generalize.day": Promise("timestamp", {}, TIMES, times, is_the_day),
    "generalize.hour": Promise("timestamp", {}, TIMES, times, is_the_hour),
    "generalize.hierarchy": Promise(
        "string",
        {"file": "education.csv", "level": 2},
        ["Bachelors", "11th", None, "Masters", "unknown", ""],
        st.sampled_from(["Bachelors", "Masters", "11th", "9th"]) | texts,
        is_what_the_second_level_says,
    ),
    "generalize.limits": Promise(
        "integer", {"lowest": 10, "highest": 20}, MANY, integers, is_between_10_and_20
    ),
    "redact": Promise("string", {}, SSNS, texts, hides_all),
    "hash": Promise("string", {}, SSNS, texts, is_token("h")),
    "tokenize": Promise("string", {}, SSNS, texts, is_token("t")),
    "vault": Promise("string", {"ttl": 3650}, SSNS, texts, is_drawn),
    "mask": Promise("string", {"keep_last": 4}, SSNS, texts, shows_only_the_end),
    "conditional": Promise(
        "string",
        {"when": {"column": "s", "below": 3}, "then": "replace", "otherwise": "mask"},
        [*SSNS, *SSNS],
        st.from_regex(r"[0-9]{1,9}", fullmatch=True, alphabet=st.characters(max_codepoint=127)),
        is_hidden_below_three,
    ),
    "members": Promise(
        "string",
        {},
        ['{"a": "x", "b": "y"}', '{"b": "y"}', None, "no JSON", '{"a": null}', '["x"]'],
        st.sampled_from(['{"a": "x", "b": "y"}', '{"b": "y"}', "no JSON", '[{"a": "x"}]']),
        has_marks_for_values,
        {"members": (column("v.a", protect="replace"),)},
    ),
    "fake": Promise("string", {"as": "email"}, [*SSNS, SSNS[0]], texts, is_an_address_of_nobody),
    "scrub": Promise(
        "string",
        {},
        ["write to jane@example.org today", "feels well", None, "", "write to jane@example.org today"],
        st.lists(
            st.sampled_from(["ask", "again", "ann@example.org", "of joe@mail.example.com"]), max_size=6
        ).map(" ".join),
        names_what_was_there,
    ),
    "shift_date": Promise("date", {}, DAYS, dates, is_another_day_nearby),
    "generalize.year": Promise("date", {"aggregate_age": 90}, DAYS, dates, is_year_from_1936),
    "generalize.quarter": Promise("date", {}, DAYS, dates, is_first_day_of_quarter),
    "generalize.month": Promise("date", {}, DAYS, dates, is_first_day_of_month),
    "generalize.age": Promise("date", {"aggregate_age": 90}, DAYS, dates, is_age_up_to_90),
    "generalize.zip3": Promise(
        "string",
        {},
        ["02155", "03601", "02155-1234", "021551234", "2155", "", " 02155", "0215A", None],
        st.from_regex(r"[0-9]{3,10}|[0-9]{5}-[0-9]{4}", fullmatch=True) | texts,
        is_zip3,
    ),
    "generalize.bucket": Promise(
        "integer", {"width": 10}, [7, 10, -3, None], st.integers(-(10**9), 10**9), is_multiple_of_ten_below
    ),
}


def outcome(promise: Promise, values: list[Any], protect: Any) -> list[Any]:
    columns = [
        column("v", promise.logical_type, protect=protect, **promise.more),
        column("s", "integer", subject_id=True, primary_key=True, protect="keep", level="public"),
    ]
    frame = run(columns, {"v": values, "s": list(range(len(values)))})
    assert frame.height == len(values)
    assert frame["s"].to_list() == list(range(len(values))), "rows stay in order"
    return frame["v"].to_list()


def asked(name: str, promise: Promise) -> dict[str, Any] | None:
    if name == "members":
        return None
    transform, _, kind = name.partition(".")
    return {"transform": transform, **promise.params, **({KINDS[transform]: kind} if kind else {})}


def test_every_transform_has_a_promise() -> None:
    assert PROMISES.keys() == TRANSFORMS.keys() - {"keep"} == strengths().names - {"keep", "drop"}


@pytest.mark.parametrize("name", PROMISES)
def test_a_transform_keeps_its_promise(name: str) -> None:
    promise = PROMISES[name]
    promise.check(promise.sample, outcome(promise, promise.sample, asked(name, promise)))


@pytest.mark.parametrize("name", PROMISES)
def test_the_promise_fails_when_the_transform_is_replaced_by_keep(name: str) -> None:
    promise = PROMISES[name]
    kept = outcome(promise, promise.sample, "keep")
    assert kept == promise.sample
    with pytest.raises((AssertionError, AttributeError, TypeError)):
        promise.check(promise.sample, kept)


@pytest.mark.parametrize("name", PROMISES)
@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_a_transform_keeps_its_promise_on_any_values(name: str, data: st.DataObject) -> None:
    promise = PROMISES[name]
    values = data.draw(st.lists(st.none() | promise.values, max_size=30))
    after = outcome(promise, values, asked(name, promise))
    assert all(new is None for old, new in zip(values, after, strict=True) if old is None), "null stays null"
    promise.check(values, after)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_empty_frame_and_a_frame_of_nulls(name: str) -> None:
    transform = TRANSFORMS[name]
    params: dict[str, str | int] = {"to": name.partition(".")[2], "mode": name.partition(".")[2]}
    params |= {"width": 5, "as_of": "2026-01-01", "value": "x", "amount": 1, "step": 1}
    params |= {"pattern": "^[0-9]{9}$", "symbols": "0123456789", "values": '{"a":"b"}', "types": "{}"}
    params |= {"as": "name", "locale": "de_DE", "format": "hex", "until": "2026-01-01"}
    for dtype, output in transform.outputs.items():
        key = KEYS.cell_key("d", 1) if transform.key == "cell" else KEYS.token_key("d", 1)
        others = {"subject": pl.lit("subject"), "row": pl.lit("row"), "when": pl.lit(True)}
        names = ["$.v"] if name == "members" else ["then", "otherwise"]
        parts = dict.fromkeys(names, pl.col("v"))
        inputs = Inputs(dtype, params, key, "d", others, store=KEYS.stored_tokens, parts=parts)
        for values in ([], [None, None]):
            frame = pl.LazyFrame({"v": values}, schema={"v": dtype})
            result = frame.select(transform.build(pl.col("v"), inputs).alias("v")).collect(engine="streaming")
            assert result.schema == {"v": output}
            assert result["v"].to_list() == values


# --- tokens


def test_a_token_is_what_the_specification_says() -> None:
    values = ["a", "", " a", "A", None, "é", "e\u0301"]
    result = one("string", "tokenize", values, token_domain="patient")
    assert result == [None if v is None else token(v, "patient") for v in values]
    assert len({v for v in result if v}) == 6, "text is neither trimmed, folded nor normalized"


def test_a_token_known_by_heart() -> None:
    assert one("string", "tokenize", ["p-1"], token_domain="patient") == [
        "t1_82b6c29be92fb082b3cb5e8f9810e34c"
    ]


def test_integers_dates_and_times_are_tokenized_over_their_canonical_text() -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 6, UTC)
    for logical_type, value, text in [
        ("integer", -7, "-7"),
        ("date", date(2024, 1, 2), "2024-01-02"),
        ("timestamp", moment, "2024-01-02T03:04:05.000006Z"),
    ]:
        assert one(logical_type, "tokenize", [value], token_domain="d") == [token(text, "d")]


@given(values=st.lists(texts, min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_one_domain_gives_one_token_in_every_table_and_two_domains_do_not(values: list[str]) -> None:
    here = one("string", "tokenize", values, token_domain="patient")
    there = run([column("w", protect="tokenize", token_domain="patient")], {"w": values[::-1]})["w"].to_list()
    elsewhere = one("string", "tokenize", values, token_domain="provider")
    assert here == there[::-1]
    assert not set(here) & set(elsewhere)


def test_tokens_in_other_spellings_hold_the_same_bits() -> None:
    values = ["a", None, "é"]
    hexes = one("string", "tokenize", values, token_domain="patient")
    digits = [None if v is None else v.removeprefix("t1_") for v in hexes]
    spelled = {
        name: one("string", {"transform": "tokenize", "format": name}, values, token_domain="patient")
        for name in ("hex", "base32", "uuid")
    }
    assert spelled["hex"] == hexes
    base32 = [d and f"t1_{base64.b32encode(bytes.fromhex(d)).decode().rstrip('=')}" for d in digits]
    assert spelled["base32"] == base32
    uuids = [d and str(uuid.UUID(int=as_version_8(int(d, 16)))) for d in digits]
    assert spelled["uuid"] == uuids
    assert [uuid.UUID(v).version for v in spelled["uuid"] if v] == [8, 8]
    assert [uuid.UUID(v).variant for v in spelled["uuid"] if v] == [uuid.RFC_4122] * 2


def as_version_8(bits: int) -> int:
    """RFC 9562: 8 in bits 48 to 51, binary 10 in bits 64 and 65."""
    return (bits & ~(0xF << 76) & ~(3 << 62)) | (8 << 76) | (2 << 62)


def test_without_a_domain_every_column_has_its_own() -> None:
    columns = [column("a", protect="tokenize"), column("b", protect="tokenize")]
    frame = run(columns, {"a": ["x"], "b": ["x"]})
    assert frame["a"].to_list() == [token("x", "clinic.people.a")]
    assert frame["b"].to_list() == [token("x", "clinic.people.b")]


def test_a_hash_is_no_token_of_any_domain() -> None:
    result = one("string", "hash", ["x"])
    assert result == [token("x", "hash:clinic.people.v", prefix="h")]


def test_the_version_of_the_key_is_in_the_token() -> None:
    old = planned(column("v", protect="tokenize", token_domain="d"), profile=FREE)
    new = ColumnPlan(**{**vars(old), "token_version": 2})
    frame = apply(DatasetPlan("people", (new,)), pl.LazyFrame({"v": ["x"]}), KEYS).collect()
    assert frame["v"].to_list() == [token("x", "d", 2)] != [token("x", "d", 1)]


# --- dates, ages, ZIP codes

HIPAA_DATES = {"profile": "hipaa_safe_harbor", "info_type": "DATE_OF_BIRTH"}


def test_birth_years_that_tell_an_age_of_90_become_one_year() -> None:
    births = [
        date(1936, 12, 31),
        date(1937, 1, 1),
        date(1935, 6, 1),
        date(1899, 1, 1),
        date(2024, 2, 29),
        None,
    ]
    assert one("date", None, births, **HIPAA_DATES) == [1936, 1937, 1936, 1936, 2024, None]


def test_years_of_text_and_integer_columns() -> None:
    texts = ["1950-03-04", "1950-03-04T10:00:00Z", "1920-01-01", "1950", "03/04/1950", "1950-13-01", "", None]
    assert one("string", None, texts, **HIPAA_DATES) == [1950, 1950, 1936, None, None, None, None, None]
    numbers = [1950, 1900, 19500304, 45, -1950, 0, None]
    assert one("integer", None, numbers, **HIPAA_DATES) == [1950, 1936, None, None, None, None, None]


def test_the_year_of_a_time_is_that_of_utc() -> None:
    times = [datetime(2023, 12, 31, 23, 59, 59, 999999, UTC), datetime(2024, 1, 1, tzinfo=UTC)]
    assert one("timestamp", None, times, profile="hipaa_safe_harbor") == [2023, 2024]


@pytest.mark.parametrize(
    ("logical_type", "values", "expected"),
    [
        ("integer", [0, 89, 90, 104, -1, 10**12, None], [0, 89, 90, 90, 0, 90, None]),
        ("number", [0.5, 89.99, 90.0, float("inf"), float("nan"), None], [0, 89, 90, 90, None, None]),
        ("date", [date(1936, 1, 1), date(1936, 1, 2), date(1900, 1, 1), date(2026, 7, 1)], [90, 89, 90, 0]),
    ],
)
def test_ages_from_the_aggregate_age_on_are_one(
    logical_type: str, values: list[Any], expected: list[Any]
) -> None:
    protect = {"transform": "generalize", "to": "age", "aggregate_age": 90}
    assert one(logical_type, protect, values) == expected


@pytest.mark.parametrize("profile", ["census", "hipaa_safe_harbor"])
@pytest.mark.parametrize(("width", "expected"), [(1, [0, 9, 10, 89, 90, 90]), (10, [0, 0, 10, 80, 90, 90])])
def test_ages_are_told_in_steps_and_the_oldest_still_as_one(
    profile: str, width: int, expected: list[int]
) -> None:
    asked = {"transform": "generalize", "to": "age", "width": width}
    age = column("age", "integer", info_type="AGE", quasi_identifier=True, protect=asked)
    plan = dataset_plan(age, profile=profile)
    assert plan.columns[0].params["aggregate_age"] == 90, "what the contract leaves out is the profile's"
    out = apply(replace(plan, suppression=None), typed([age], {"age": [0, 9, 10, 89, 90, 104]}), KEYS)
    assert out.collect()["age"].to_list() == expected


@pytest.mark.parametrize("width", [7, 40, 91, 150])
def test_no_width_of_ages_tells_the_oldest_apart(width: int) -> None:
    asked = {"transform": "generalize", "to": "age", "aggregate_age": 90, "width": width}
    assert len(set(one("integer", asked, [90, 91, 104, 150]))) == 1


@pytest.mark.parametrize("prefix", HHS_PREFIXES)
def test_restricted_zip_prefixes_become_000(prefix: str) -> None:
    values = [f"{prefix}01", f"{prefix}99-1234", f"{prefix}011234"]
    assert one("string", None, values, "hipaa_safe_harbor", info_type="US_ZIP") == ["000"] * 3
    integers = [int(f"{prefix}01")]
    assert one("integer", None, integers, "hipaa_safe_harbor", info_type="US_ZIP") == ["000"]


@pytest.mark.parametrize("prefix", ["202", "204", "205", "369", "753", "772", "090", "340", "966"])
def test_prefixes_that_a_later_census_found_small_or_empty_become_000(prefix: str) -> None:
    assert one("string", None, [f"{prefix}10"], "hipaa_safe_harbor", info_type="US_ZIP") == ["000"]


def test_malformed_zip_codes_become_000() -> None:
    malformed = [
        "",
        " ",
        "2155",
        "021555",
        "02155-",
        "02155-12",
        "O2155",
        "02155\n",
        "\u0660\u0662155",
        "021",
        "-2155",
    ]
    assert one("string", None, malformed, "hipaa_safe_harbor", info_type="US_ZIP") == ["000"] * len(malformed)


def test_integer_zip_codes_get_their_leading_zeros_back() -> None:
    values = [2155, 501, 99501, -2155, 100000, 21551234, None]
    expected = ["021", "005", "995", "000", "000", "000", None]
    assert one("integer", None, values, "hipaa_safe_harbor", info_type="US_ZIP") == expected


def test_a_bucket_of_numbers_is_its_lower_end() -> None:
    protect = {"transform": "generalize", "to": "bucket", "width": 0.5}
    assert one("number", protect, [1.74, -0.1, None]) == [1.5, -0.5, None]


def test_a_decimal_width_has_the_borders_that_are_written() -> None:
    protect = {"transform": "generalize", "to": "bucket", "width": 0.1}
    values = [n / 10 for n in range(-50, 50)]
    assert one("number", protect, values) == values
    assert one("number", protect, [0.35, 0.29999, -0.30001, 7.999999]) == [0.3, 0.2, -0.4, 7.9]


def test_a_value_that_no_bucket_can_hide_is_not_told() -> None:
    protect = {"transform": "generalize", "to": "bucket", "width": 10}
    huge = [1e308, -1e308, 1e17 + 16, 1e15 + 4]
    assert one("number", protect, huge) == [None, None, None, 1e15]
    assert one("integer", protect, [-(2**63), 1 - 2**63, 2**63 - 1, -17]) == [None, None, 2**63 - 8, -20]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8), st.integers(1, 10**12))
def test_the_bucket_of_an_integer_begins_at_most_its_width_below(values: list[int], width: int) -> None:
    protect = {"transform": "generalize", "to": "bucket", "width": width}
    lower = [value // width * width for value in values]
    assert one("integer", protect, values) == [low if low >= -(2**63) else None for low in lower]


# --- shifted dates


def shifted(subjects: list[Any], days: list[Any], logical_type: str = "date") -> list[Any]:
    columns = [
        column("when", logical_type, protect="shift_date"),
        column("who", subject_id=True, token_domain="patient"),
    ]
    return run(columns, {"when": days, "who": subjects})["when"].to_list()


@given(rows=st.lists(st.tuples(st.sampled_from("abc"), dates), min_size=1, max_size=30))
@settings(deadline=None, max_examples=50)
def test_a_subject_has_one_offset_and_keeps_the_order_and_distance_of_events(
    rows: list[tuple[str, date]],
) -> None:
    after = shifted([who for who, _ in rows], [when for _, when in rows])
    offsets = defaultdict(set)
    for (who, before), moved in zip(rows, after, strict=True):
        offsets[who].add((moved - before).days)
    assert all(len(found) == 1 for found in offsets.values())
    assert all(1 <= abs(next(iter(found))) <= MAX_SHIFT_DAYS for found in offsets.values())


def test_offsets_use_the_whole_range_and_both_directions() -> None:
    subjects = [str(i) for i in range(5000)]
    after = shifted(subjects, [date(2000, 1, 1)] * 5000)
    offsets = {(day - date(2000, 1, 1)).days for day in after}
    assert offsets == set(range(-MAX_SHIFT_DAYS, MAX_SHIFT_DAYS + 1)) - {0}


def test_times_shift_by_whole_days_as_the_dates_of_the_same_subject_do() -> None:
    moment = datetime(2020, 5, 6, 7, 8, 9, 10, UTC)
    (time,), (day,) = shifted(["a"], [moment], "timestamp"), shifted(["a"], [moment.date()])
    assert time - moment == day - moment.date()


def test_without_a_subject_no_date_is_left() -> None:
    assert shifted([None, "a"], [date(2020, 1, 1), None]) == [None, None]


def test_a_day_that_stands_for_none_is_null_and_tells_no_shift() -> None:
    """Shifted, a day that everybody knows would tell by how much every date of its subject was moved."""
    for day in [*NO_DAYS, date.max, date.min, date(9999, 1, 1), date(1, 12, 31)]:
        assert shifted(["a", "b"], [day, date(1980, 5, 5)])[0] is None
        moment = datetime(day.year, day.month, day.day, 23, 59, 59, 999999, UTC)
        assert shifted(["a"], [moment], "timestamp") == [None]
    said = {"transform": "shift_date", "placeholders": "2099-12-31, 1899-12-30"}
    columns = [column("when", "date", protect=said), column("who", subject_id=True)]
    days = [date(2099, 12, 31), date(1899, 12, 30), date(1900, 1, 1), date(2099, 12, 30), None]
    after = run(columns, {"when": days, "who": list("abcde")})["when"].to_list()
    assert [day is None for day in after] == [True, True, True, False, True]


def test_placeholders_are_days_or_refused() -> None:
    subject = column("who", subject_id=True)
    for wrong in ("2099-13-31", "for ever and ever", "2099-12-31;2100-01-01", "2099-12-31,"):
        said = {"transform": "shift_date", "placeholders": wrong}
        with pytest.raises(PlanRefusedError, match=r"v names `placeholders` that are no days"):
            dataset_plan(column("v", "date", protect=said), subject, profile=FREE)


# --- masks and redaction


def test_masks_hide_short_values_whole_and_keep_separators() -> None:
    values = [
        "999-17-5017",
        "12345678",
        "1234",
        "ab@example.com",
        "żółć 1234567",
        "a\u0301bcdefghi",
        "",
        None,
    ]
    expected = ["***-**-5017", "********", "****", "**********.com", "**** ***4567", "******fghi", "", None]
    assert one("string", {"transform": "mask", "keep_last": 4}, values) == expected
    assert one("string", "mask", ["999-17-5017"]) == ["***-**-****"]


def test_redaction_leaves_no_presence_and_every_row() -> None:
    frame = run(
        [column("v", protect="redact"), column("w", protect="redact")], {"v": ["a", None], "w": ["b", "c"]}
    )
    assert frame.height == 2
    assert frame.null_count().row(0) == (2, 2)


def test_the_middle_of_a_card_number_may_be_all_that_is_hidden() -> None:
    protect = {"transform": "mask", "keep_first": 6, "keep_last": 4}
    values = ["4111111111111111", "411111111111111", "4111-1111-1111-1111", "short", "", None]
    expected = ["411111******1111", "*" * 15, "4111-1****-****-1111", "*****", "", None]
    assert one("string", protect, values) == [*expected[:2], "4111-1***-****-1111", *expected[3:]]


@pytest.mark.parametrize("value", ["--------1234", "(0) - 1234", "         1234", "1.2.3.4.5.6.7.8."])
def test_separators_hide_nothing(value: str) -> None:
    (masked,) = one("string", {"transform": "mask", "keep_last": 4}, [value])
    assert not re.search("[0-9]", masked)
    protect = {"transform": "mask", "keep_first": 6, "keep_last": 4}
    assert one("string", protect, ["3782 822463 10005", "4111 1111 1111 1111"])[0] == "**** ****** *****"


def test_a_replacement_names_the_info_type_or_says_what_the_contract_says() -> None:
    named = one("string", "replace", ["a", "", None], info_type="CITY")
    assert named == ["[CITY]", "[CITY]", None]
    assert one("string", {"transform": "replace", "value": "n/a"}, ["a", None]) == ["n/a", None]


SEPARATORS = " .:/()-"


def mask_by_hand(value: str, first: int, last: int) -> str:
    hidden = "".join(c if c in SEPARATORS else "*" for c in value)
    if sum(c not in SEPARATORS for c in value) < first + last + min(first + last + 1, 6):
        return hidden
    return value[:first] + hidden[first : len(value) - last] + value[len(value) - last :]


@given(
    values=st.lists(st.none() | st.text(st.sampled_from("ab1 -.é\u0301漢🙂"), max_size=20), max_size=12),
    first=st.integers(0, 6),
    last=st.integers(0, 4),
)
@settings(max_examples=100, deadline=None)
def test_a_mask_goes_by_characters_and_not_by_bytes(values: list[str | None], first: int, last: int) -> None:
    protect = {"transform": "mask", "keep_first": first, "keep_last": last}
    expected = [None if value is None else mask_by_hand(value, first, last) for value in values]
    assert one("string", protect, values) == expected


# --- noise and order


def rowed(logical_type: str, protect: Any, rows: list[Any], values: list[Any]) -> list[Any]:
    columns = [
        column("id", "integer", primary_key=True, protect="keep", level="public"),
        column("v", logical_type, protect=protect),
    ]
    return run(columns, {"id": rows, "v": values})["v"].to_list()


def test_noise_uses_the_whole_range_evenly_and_goes_by_row_and_value() -> None:
    rows = list(range(4200))
    noise = {"transform": "noise", "amount": 10}
    after = rowed("integer", noise, rows, [100] * 4200)
    counts = Counter(value - 100 for value in after)
    assert set(counts) == set(range(-10, 11))
    assert all(120 < count < 290 for count in counts.values())
    assert rowed("integer", noise, rows[::-1], [100] * 4200) == after[::-1]
    assert rowed("integer", noise, rows, [101] * 4200) != [value + 1 for value in after]
    floats = rowed("number", {"transform": "noise", "amount": 0.5, "step": 0.01}, rows, [1.0] * 4200)
    assert {round(value * 100) for value in floats} == set(range(50, 151))


def test_noise_leaves_nothing_of_a_number_but_its_steps() -> None:
    """A sum of floats shows in its last bits which were added: zeros could be told from all else."""
    draw = random.Random(7)  # noqa: S311 - made-up data
    values = [0.0 if i % 2 else draw.uniform(-5000, 5000) for i in range(2000)]
    for step, amount, more in ((10, 5000, {}), (0.25, 5000, {"step": 0.25}), (0.1, 50, {"step": 0.1})):
        protect = {"transform": "noise", "amount": amount, **more}
        after = rowed("number", protect, list(range(2000)), values)
        whole = [round(value / step) for value in after]
        # Exactly the float that the step makes of an integer: 0.3, and not 0.1 + 0.2.
        assert after == [float(each * Fraction(str(step))) for each in whole]
        moved = [abs(new - old) for new, old in zip(after, values, strict=True)]
        assert max(moved) <= amount + step / 2 + 1e-9


def test_integers_have_steps_too() -> None:
    after = rowed("integer", {"transform": "noise", "amount": 20, "step": 5}, list(range(600)), [102] * 600)
    assert set(after) == set(range(80, 121, 5))


def test_a_number_that_noise_would_not_move_is_null() -> None:
    values = [1e20, -1e300, float("inf"), float("nan"), None, 1e15]
    after = rowed("number", {"transform": "noise", "amount": 1000}, list(range(6)), values)
    assert after[:5] == [None] * 5
    assert after[5] != 1e15
    assert abs(after[5] - 1e15) <= 1000


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_what_a_subject_has_in_many_rows_gets_one_noise(kind: str) -> None:
    """Drawn row by row, the mean and the ends of sixty rows of one salary would tell it."""
    columns = [
        column("id", "integer", primary_key=True, protect="keep", level="public"),
        column("who", subject_id=True),
        column("v", kind, protect={"transform": "noise", "amount": 5000}),
    ]
    people = ["ann"] * 60 + ["bob"] * 60 + [None] * 60
    after = run(columns, {"id": list(range(180)), "who": people, "v": [51234] * 180})["v"].to_list()
    assert len(set(after[:60])) == len(set(after[60:120])) == 1
    assert after[0] != after[60]
    assert len(set(after[120:])) > 30, "nobody's rows are each their own"


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("number", {"amount": 1, "step": 2}),
        ("number", {"amount": 1_000_000_000_000, "step": 0.0001}),
        ("integer", {"amount": 10, "step": 0.5}),
    ],
)
def test_a_step_that_leaves_no_noise_is_refused(kind: str, params: dict[str, Any]) -> None:
    row = column("id", "integer", primary_key=True, protect="keep", level="public")
    with pytest.raises(PlanRefusedError, match=r"people\.v asks for"):
        dataset_plan(column("v", kind, protect={"transform": "noise", **params}), row, profile=FREE)


def test_noise_at_the_ends_of_the_range_does_not_go_round() -> None:
    ends = [2**63 - 1, -(2**63)] * 20
    after = rowed("integer", {"transform": "noise", "amount": 1000}, list(range(40)), ends)
    assert all((new > 0) == (old > 0) for old, new in zip(ends, after, strict=True))


def test_shuffled_values_leave_their_rows_and_nulls_do_not() -> None:
    rows = list(range(1000))
    values = [None if row % 10 == 0 else row for row in rows]
    after = rowed("integer", "shuffle", rows, values)
    assert [v is None for v in after] == [v is None for v in values]
    assert sum(old == new for old, new in zip(values, after, strict=True) if old is not None) < 20
    assert rowed("integer", "shuffle", rows, values) == after


# --- refusals


def test_a_keyed_transform_is_never_done_without_its_key_or_subject() -> None:
    params: dict[str, str | int] = {
        "mode": "deterministic",
        "pattern": "^[0-9]{9}$",
        "symbols": "0123456789",
        "amount": 1,
        "step": 1,
        "types": "{}",
        "as": "name",
        "locale": "de_DE",
    }
    others = {"subject": pl.lit("s"), "row": pl.lit("r")}
    for transform in TRANSFORMS.values():
        dtype = next(iter(transform.outputs))
        if transform.key is not None:
            with pytest.raises(PlanRefusedError, match="has no key"):
                transform.build(pl.col("v"), Inputs(dtype, params, others=others))
    for name in ("shift_date", "noise", "shuffle"):
        dtype = next(iter(TRANSFORMS[name].outputs))
        with pytest.raises(PlanRefusedError, match="lacks the"):
            TRANSFORMS[name].build(pl.col("v"), Inputs(dtype, params, KEYS.token_key("d", 1)))

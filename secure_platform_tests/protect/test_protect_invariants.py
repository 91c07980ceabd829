"""What has to be true of every transform: declared in `transforms.yaml`, and held to it here."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import AS_OF, KEYS, column, compiled, contract, dataset_plan, product, typed

from secure_platform.contract.model import Column, Reference
from secure_platform.errors import IntegrityError, PlanRefusedError
from secure_platform.protect.again import moved, require_one_to_one, unmoved
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.execute import apply, split_orphans, undo
from secure_platform.protect.plan import DatasetPlan, Plan
from secure_platform.protect.residual import residual_values
from secure_platform.protect.strength import KINDS, strengths
from secure_platform.protect.transforms import TRANSFORMS

FREE = "gdpr_pseudonymous"
PATTERN = "^[0-9]{3}-[0-9]{6}$"
KEPT_EITHER_WAY: dict[str, Any] = {"then": "keep", "otherwise": "keep"}
NUMBERS = st.from_regex(PATTERN[:-1] + r"\Z", alphabet=st.sampled_from("0123456789-"))
VAULT = {"transform": "vault", "ttl": 3650}
DETERMINISTIC = {"transform": "encrypt", "mode": "deterministic"}
RANDOMIZED = {"transform": "encrypt", "mode": "randomized"}
KEY_KEEPING: dict[str, Any] = {
    "tokenize": "tokenize",
    "tokenize as base32": {"transform": "tokenize", "format": "base32"},
    "tokenize as uuid": {"transform": "tokenize", "format": "uuid"},
    "hash": "hash",
    "vault": VAULT,
    "vault as base32": {**VAULT, "format": "base32"},
    "vault as uuid": {**VAULT, "format": "uuid"},
    "encrypt.deterministic": DETERMINISTIC,
    "fpe": "fpe",
    "keep": "keep",
}
"""All spellings of what may be used on keys."""
KEYED = {name: asked for name, asked in KEY_KEEPING.items() if name != "keep"}
TYPED: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=40),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False),
    "date": st.dates(),
    "timestamp": st.datetimes(datetime(1, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - its zone is given
}


def public(name: str, logical_type: Any = "string", **more: Any) -> Column:
    """A column that no rule of the profile binds."""
    return column(name, logical_type, level="public", **more)


def protected(protect: Any, values: Sequence[Any], domain: str | None = "d", version: int = 1) -> list[Any]:
    subject = public("v", protect=protect, token_domain=domain, pattern=PATTERN)
    plan = compiled(contract("people", subject), profile=FREE, version=version).datasets["people"]
    return apply(plan, typed([subject], {"v": list(values)}), KEYS).collect()["v"].to_list()


def test_what_keeps_keys_is_what_is_declared_to() -> None:
    declared = {name for name in strengths().names if strengths().of(asked(name)).keeps_keys}
    assert declared == {name for name in KEY_KEEPING if " as " not in name}


def asked(name: str) -> Any:
    transform, _, kind = name.partition(".")
    return column("v", protect={"transform": transform, **({KINDS[transform]: kind} if kind else {})}).protect


# --- determinism, domain separation, uniqueness


@pytest.mark.parametrize("name", KEYED)
@given(values=st.lists(NUMBERS, min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_equal_values_become_equal_and_different_ones_different(name: str, values: list[str]) -> None:
    domain = None if name == "hash" else "d"
    here = protected(KEYED[name], values, domain)
    assert protected(KEYED[name], values[::-1], domain) == here[::-1]
    assert len(set(here)) == len(set(values))
    assert len(set(zip(values, here, strict=True))) == len(set(values))


@pytest.mark.parametrize("name", [*(name for name in KEYED if name != "hash"), "encrypt.randomized"])
def test_another_domain_or_version_of_the_key_gives_something_unrelated(name: str) -> None:
    values = [f"{i:03}-{i:06}" for i in range(200)]
    protect = RANDOMIZED if name == "encrypt.randomized" else KEYED[name]
    wanted = [
        protected(protect, values),
        protected(protect, values, "other"),
        protected(protect, values, version=2),
    ]
    pairs = [(first, second) for i, first in enumerate(wanted) for second in wanted[i + 1 :]]
    assert all(not set(first) & set(second) for first, second in pairs)


# --- referential integrity


@pytest.mark.parametrize("name", KEY_KEEPING)
@given(persons=st.lists(st.none() | NUMBERS, max_size=12), more=st.lists(NUMBERS, max_size=4))
@settings(max_examples=10, deadline=None)
def test_references_resolve_after_as_before(name: str, persons: list[str | None], more: list[str]) -> None:
    key = public("Id", primary_key=True, protect=KEY_KEEPING[name], pattern=PATTERN)
    foreign = public("P", pattern=PATTERN, reference=Reference("people", "Id"))
    row = public("row", "integer")
    plan = compiled(contract("people", key), contract("visits", foreign, row), profile=FREE)
    ids = [*dict.fromkeys([*more, *(p for p in persons[::2] if p is not None)])]
    parents = apply(plan.datasets["people"], typed([key], {"Id": ids}), KEYS)
    visits = typed([foreign, row], {"P": persons, "row": list(range(len(persons)))})
    child = apply(plan.datasets["visits"], visits, KEYS)
    kept, lost = split_orphans(plan.datasets["visits"], child, {"people": parents})
    expected = [i for i, person in enumerate(persons) if person is not None and person not in ids]
    assert lost.collect()["row"].to_list() == expected
    assert kept.collect().height == len(persons) - len(expected)


@pytest.mark.parametrize("name", sorted(strengths().names - {"drop", "keep", "members", *KEYED}))
def test_a_transform_that_does_not_keep_keys_is_refused_on_one(name: str) -> None:
    params: dict[str, Any] = {"width": 5, "amount": 5, "highest": 5, "file": "education.csv", "level": 1}
    params |= {"when": {"column": "other", "is_null": True}, "as": "name"}
    known = strengths().of(asked(name)).params
    wanted = {"transform": asked(name).transform, **asked(name).params}
    wanted |= {each: params[each] for each in known if each in params}
    wanted |= KEPT_EITHER_WAY if name == "conditional" else {}
    outputs = TRANSFORMS[name].outputs
    logical_type = next(kind for kind in TYPED if public("v", kind).dtype in outputs)
    key = public("Id", logical_type, primary_key=True, protect=wanted)
    with pytest.raises(PlanRefusedError, match=r"is a key|primary key"):
        dataset_plan(key, public("other"), profile=FREE)


# --- reversibility


def lasting(plan: DatasetPlan) -> DatasetPlan:
    """The plan with stored tokens that are told whenever this runs."""
    late = [
        replace(each, params={**each.params, "until": "9999-12-31"}) if each.full_name == "vault" else each
        for each in plan.columns
    ]
    return replace(plan, columns=tuple(late))


@pytest.mark.parametrize(
    ("protect", "logical_type"),
    [
        *((each, kind) for each in (DETERMINISTIC, RANDOMIZED) for kind in TYPED),
        *((VAULT, kind) for kind in TYPED if kind != "number"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.get("mode", "vault"),
)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_an_encrypted_value_comes_back_exactly(logical_type: str, protect: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | TYPED[logical_type], max_size=12))
    subject = public("v", logical_type, protect=protect)
    plan = lasting(dataset_plan(subject, public("w"), profile=FREE))
    before = typed([subject, public("w")], {"v": values, "w": ["x"] * len(values)})
    made = apply(plan, before, KEYS).collect(engine="streaming")
    assert undo(plan, made, KEYS).equals(before.select("v").collect()), "and the other column is not touched"
    assert [v is None for v in made["v"]] == [v is None for v in values]


def test_after_a_rotation_what_is_old_still_opens_by_its_own_plan() -> None:
    values: dict[str, list[Any]] = {
        "c": ["a", None, "b"],
        "n": ["123-456789", "000-000000", None],
        "v": ["a", "b", None],
    }
    columns = [
        public("c", protect=DETERMINISTIC),
        public("n", protect="fpe", pattern=PATTERN),
        public("v", protect=VAULT),
    ]
    old, new = (
        lasting(compiled(contract("people", *columns), profile=FREE, version=version).datasets["people"])
        for version in (1, 2)
    )
    first, second = (apply(plan, typed(columns, values), KEYS).collect() for plan in (old, new))
    for plan, made in ((old, first), (new, second)):
        assert undo(plan, made, KEYS).to_dict(as_series=False) == values
    for plan, made in ((old, second), (new, first)):
        with pytest.raises(IntegrityError, match="another version"):
            undo(plan, made, KEYS)
    proven = require_one_to_one("people", first.lazy(), second.lazy(), moved(old, new), unmoved(old, new))
    assert proven == {"c": 3, "n": 3, "v": 3}


def test_a_rotation_does_not_ask_randomized_cells_to_be_as_they_were() -> None:
    columns = [public("r", protect=RANDOMIZED), public("t", protect="tokenize", token_domain="patient")]
    old, new = (
        compiled(contract("people", *columns), profile=FREE, **versions).datasets["people"]
        for versions in ({}, {"patient": 2})
    )
    values: dict[str, list[Any]] = {"r": ["a", None], "t": ["a", "b"]}
    first, second = (apply(plan, typed(columns, values), KEYS) for plan in (old, new))
    assert unmoved(old, new) == []
    assert require_one_to_one("people", first, second, moved(old, new), unmoved(old, new)) == {"t": 2}


FORGED = ["", "e1_", "e1_AAAA", "e1_é", "e2_iQvKNdTXDcGr4cGlZLZHaA==", "t1_82b6c29be92fb082b3cb5e8f9810e34c"]


@pytest.mark.parametrize("protect", [DETERMINISTIC, RANDOMIZED], ids=["deterministic", "randomized"])
@pytest.mark.parametrize("cell", FORGED)
def test_one_cell_that_was_not_encrypted_opens_nothing(cell: str, protect: Any) -> None:
    subject = public("v", protect=protect)
    plan = dataset_plan(subject, profile=FREE)
    made = apply(plan, typed([subject], {"v": ["secret"] * 3}), KEYS).collect()
    with pytest.raises(IntegrityError) as refusal:
        undo(plan, pl.concat([made, pl.DataFrame({"v": [cell]})]), KEYS)
    assert "secret" not in str(refusal.value)


def test_a_cell_of_another_column_or_mode_does_not_open() -> None:
    columns = [public("a", protect=DETERMINISTIC), public("b", protect=DETERMINISTIC)]
    plan = dataset_plan(*columns, profile=FREE)
    made = apply(plan, typed(columns, {"a": ["x"], "b": ["x"]}), KEYS).collect()
    assert made["a"].item() != made["b"].item()
    with pytest.raises(IntegrityError):
        undo(plan, made.select(pl.col("a").alias("b"), pl.col("b").alias("a")), KEYS)
    randomized = replace(plan.columns[0], params={"mode": "randomized"})
    with pytest.raises(IntegrityError):
        undo(DatasetPlan("people", (randomized,)), made.select("a"), KEYS)


# --- no value is left, and none is let through


def test_nothing_of_the_originals_is_left_by_any_transform() -> None:
    values = [f"{100 + i}-{i * 7919 % 10**6:06}" for i in range(300)]
    mask = {"transform": "mask", "keep_first": 1, "keep_last": 2}
    for name, protect in [*KEYED.items(), ("r", RANDOMIZED), ("mask", mask), ("replace", "replace")]:
        subject = public("v", protect=protect, pattern=PATTERN)
        plan = dataset_plan(subject, profile=FREE)
        frame = typed([subject], {"v": values})
        after = apply(plan, frame, KEYS)
        assert residual_values([(frame, plan)], after, plan, bytes(32)) == [], name
        assert residual_values([(frame, plan)], after, None, bytes(32)) == [], name


def test_in_a_dense_format_one_number_may_be_another_and_in_a_sparse_one_it_may_not() -> None:
    whole = [f"{number:06}" for number in range(0, 10**6, 5)]
    dense = public("v", protect="fpe", pattern="^[0-9]{6}$")
    plan = dataset_plan(dense, profile=FREE)
    frame = typed([dense], {"v": whole})
    after = apply(plan, frame, KEYS)
    assert len(set(after.collect()["v"]) & set(whole)) > 10**4
    assert residual_values([(frame, plan)], after, plan, bytes(32)) == []
    sparse = public("v", protect="fpe", pattern="^[0-9]{16}$")
    plan = dataset_plan(sparse, profile=FREE)
    frame = typed([sparse], {"v": [f"4{number:015}" for number in range(1000)]})
    assert residual_values([(frame, plan)], frame, plan, bytes(32)) == [("v", 1000)]


UNREADABLE = {
    (f"generalize.{kind}", logical_type)
    for kind in ("year", "hierarchy")
    for logical_type in ("string", "integer")
}
"""The samples are no years, and in no hierarchy."""


def test_the_order_and_number_of_rows_and_the_declared_types_stay_for_every_transform() -> None:
    moments = [datetime(2020, 1, 1 + i % 28, i % 24, 5, tzinfo=UTC) for i in range(50)]
    samples: dict[str, list[Any]] = {
        "string": [f"{i:03}-{i:06}" for i in range(50)],
        "integer": list(range(50)),
        "number": [i / 4 for i in range(50)],
        "boolean": [i % 2 == 0 for i in range(50)],
        "date": [moment.date() for moment in moments],
        "timestamp": moments,
    }
    params: dict[str, Any] = {"width": 5, "amount": 5, "highest": 5, "file": "education.csv", "level": 1}
    params |= {"when": {"column": "row", "below": 25}, "as": "name", "ttl": 3650}
    for name, transform in TRANSFORMS.items():
        if name == "members":
            continue
        known = strengths().of(asked(name)).params
        wanted = {"transform": asked(name).transform, **asked(name).params}
        wanted |= {each: params[each] for each in known if each in params}
        wanted |= KEPT_EITHER_WAY if name == "conditional" else {}
        for logical_type, values in samples.items():
            subject = public("v", logical_type, protect=wanted, pattern=PATTERN)
            row = public("row", "integer", primary_key=True, subject_id=True)
            if subject.dtype not in transform.outputs or (name, logical_type) in UNREADABLE:
                continue
            plan = dataset_plan(subject, row, profile=FREE)
            with_nulls = [None if i % 7 == 0 else value for i, value in enumerate(values)]
            frame = typed([subject, row], {"v": with_nulls, "row": list(range(50))})
            after = apply(plan, frame, KEYS).collect(engine="streaming")
            assert after["row"].to_list() == list(range(50))
            assert str(after.schema["v"]) == plan.columns[0].output_type
            nulls = [value is None for value in after["v"]]
            assert nulls == [name == "redact" or value is None for value in with_nulls], name


# --- the plan


def test_a_plan_with_every_transform_is_data_and_comes_back() -> None:
    columns = [
        public("Id", primary_key=True, subject_id=True, protect="tokenize"),
        public("cell", protect=DETERMINISTIC, token_domain="patient"),
        public("card", protect={"transform": "fpe", "checksum": "luhn"}, pattern="^[0-9]{16}$"),
        public("pay", "number", protect={"transform": "noise", "amount": 0.5}),
        public("day", "date", protect="shuffle"),
        public("name", protect="replace", info_type="CITY"),
        public("income", "integer", protect={"transform": "generalize", "to": "limits", "highest": 90}),
    ]
    plan = compiled(contract("people", *columns), profile=FREE)
    assert Plan.from_json(plan.to_json()) == plan
    found = {c.column: (c.token_domain, dict(c.params)) for c in plan.datasets["people"].columns}
    assert found["cell"] == ("cell/patient", {"mode": "deterministic"})
    assert found["card"][0] == "fpe:clinic.people.card"
    assert found["pay"] == (
        "noise:clinic.people.pay",
        {"amount": 0.5, "step": 0.001, "row": "Id", "subject": "Id"},
    )
    assert found["day"] == ("shuffle:clinic.people.day", {"row": "Id"})
    assert found["name"] == (None, {"value": "[CITY]"})
    assert all(re.fullmatch(r"[\w.:/ -]+", domain) for domain in plan.token_versions)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            public("v", "integer", protect={"transform": "generalize", "to": "limits", "highest": 2.5}),
            "part of an integer",
        ),
        (public("v", "integer", protect={"transform": "noise", "amount": 2}), "primary key"),
        (public("v", "date", protect="shuffle"), "primary key"),
        (public("v", protect="shuffle"), "does not apply"),
        (public("v", "boolean", protect=DETERMINISTIC), "does not apply"),
        (public("v", "number", protect="tokenize"), "does not apply"),
        (public("v", "integer", protect="replace"), "does not apply"),
        (public("v", "date", protect={"transform": "generalize", "to": "day"}), "does not apply"),
        (public("v", "integer", protect={"transform": "generalize", "to": "limits"}), "leave no range"),
        (
            public(
                "v", "integer", protect={"transform": "generalize", "to": "limits", "lowest": 5, "highest": 1}
            ),
            "leave no range",
        ),
    ],
)
def test_what_a_transform_cannot_do_is_refused_before_any_data_is_read(wrong: Column, said: str) -> None:
    with pytest.raises(PlanRefusedError, match=said):
        dataset_plan(wrong, public("other"), profile=FREE)


def test_a_key_that_may_not_be_used_refuses_the_plan() -> None:
    def version(domain: str) -> int:
        raise IntegrityError(f"{domain} is disabled", "Rotate it.")

    subject = contract("people", public("v", protect=DETERMINISTIC))
    with pytest.raises(IntegrityError, match=r"cell/clinic\.people\.v"):
        compile_plan(product(subject, profile=FREE), version, AS_OF)


def test_the_day_of_a_leap_year_and_the_first_of_all_days_are_dates_again() -> None:
    days = [date.min, date.max, date(2024, 2, 29), date(99, 1, 1), date(1970, 1, 1)]
    subject = public("v", "date", protect=DETERMINISTIC)
    plan = dataset_plan(subject, profile=FREE)
    made = apply(plan, typed([subject], {"v": days}), KEYS).collect()
    assert undo(plan, made, KEYS)["v"].to_list() == days

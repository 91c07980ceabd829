"""Every field of a contract has a rule, and the rule is on the safe side."""

import itertools
import json
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from contract_support import HEALTHCARE

from secure_platform.contract.aggregates import Aggregates
from secure_platform.contract.diff import (
    COLUMN_RULES,
    CONTRACT_RULES,
    PRODUCT_RULES,
    Change,
    ContractDiff,
    diff,
    diff_datasets,
    diff_products,
)
from secure_platform.contract.load import load_contract
from secure_platform.contract.model import (
    Column,
    Contract,
    Dependency,
    Monitor,
    Protect,
    Reference,
    Role,
    Suppress,
    Total,
    Waiver,
)
from secure_platform.contract.product import Product, load_product
from secure_platform.taxonomy.classification import Classification

BASE = Column("a", "string", "", Classification.CONFIDENTIAL)
CONTRACT = Contract(
    dataset="things",
    version="1.0.0",
    description="",
    owner="team:x",
    columns=(BASE, Column("b", "integer", "", Classification.INTERNAL)),
    source_file="things.csv",
    digest="",
)
COLUMN_CASES: dict[str, list[tuple[Any, Any, str, str]]] = {
    "logical_type": [("string", "integer", "breaking", "breaking")],
    "description": [("", "x", "none", "none")],
    "classification": [
        (Classification.INTERNAL, Classification.CONFIDENTIAL, "additive", "breaking"),
        (Classification.PUBLIC, Classification.INTERNAL, "breaking", "breaking"),
        (Classification.CONFIDENTIAL, Classification.RESTRICTED, "breaking", "breaking"),
    ],
    "info_type": [(None, "CITY", "breaking", "breaking"), ("CITY", "COUNTY", "breaking", "breaking")],
    "protect": [
        (None, Protect("drop"), "breaking", "breaking"),
        (Protect("mask", {"keep": 4}), Protect("mask", {"keep": 5}), "breaking", "breaking"),
    ],
    "token_domain": [(None, "x", "breaking", "breaking"), ("x", "y", "breaking", "breaking")],
    "quasi_identifier": [(False, True, "additive", "breaking")],
    "subject_id": [(False, True, "breaking", "breaking")],
    "required": [(False, True, "breaking", "breaking")],
    "unique": [(False, True, "breaking", "breaking")],
    "primary_key": [(False, True, "breaking", "breaking")],
    "minimum": [
        (None, 0, "breaking", "additive"),
        (0, 1.5, "breaking", "additive"),
        (-1, 0, "breaking", "additive"),
    ],
    "maximum": [(None, 0, "breaking", "additive"), (2, 1.5, "breaking", "additive")],
    "min_length": [(None, 0, "breaking", "additive"), (1, 2, "breaking", "additive")],
    "max_length": [(None, 9, "breaking", "additive"), (9, 8, "breaking", "additive")],
    "pattern": [(None, "^a$", "breaking", "additive"), ("^a$", "^b$", "breaking", "breaking")],
    "format": [(None, "M/d/yyyy", "breaking", "breaking"), ("M/d/yyyy", "d/M/yyyy", "breaking", "breaking")],
    "enum": [
        (None, ("a",), "breaking", "additive"),
        (("a", "b"), ("a",), "breaking", "additive"),
        (("a", "b"), ("a", "c"), "breaking", "breaking"),
        (("a", "b"), ("b", "a"), "none", "none"),
    ],
    "reference": [(None, Reference("x", "id"), "breaking", "breaking")],
    "protected": [(False, True, "breaking", "breaking")],
    "waiver": [(None, Waiver("x", "y", date(2030, 1, 1)), "breaking", "breaking")],
    "members": [((), (Column("a.b", "string", "", Classification.PUBLIC),), "breaking", "breaking")],
}
CONTRACT_CASES: dict[str, list[tuple[Any, Any, str, str]]] = {
    "dataset": [("things", "others", "breaking", "breaking")],
    "version": [("1.0.0", "2.0.0", "none", "none")],
    "description": [("", "x", "none", "none")],
    "owner": [("team:x", "team:y", "none", "none")],
    "source_file": [("a.csv", "b.csv", "breaking", "breaking")],
    "on_invalid": [("quarantine", "refuse", "breaking", "additive")],
    "max_invalid_ratio": [(0.0, 0.1, "additive", "breaking")],
    "extra_columns": [("keep_raw", "refuse", "breaking", "additive")],
    "minimum_rows": [(0, 1, "breaking", "additive")],
    "freshness_hours": [(26, None, "breaking", "additive"), (24, 26, "breaking", "additive")],
    "retention_days": [(30, 60, "breaking", "breaking"), (None, 30, "breaking", "breaking")],
    "suppress": [(None, Suppress(k=5), "breaking", "breaking")],
    "roles": [((), (Role("reader", "read", ("clinical",), ()),), "breaking", "breaking")],
    "monitor": [
        (Monitor(), Monitor(severity="error"), "additive", "additive"),
        (Monitor(), Monitor(metrics={"stay": "AVG(days)"}), "breaking", "additive"),
        (Monitor(), Monitor(reconcile={"all": Total("SUM(days)")}), "breaking", "additive"),
        (
            Monitor(reconcile={"all": Total("SUM(days)")}),
            Monitor(reconcile={"all": Total("SUM(pay)")}),
            "breaking",
            "breaking",
        ),
    ],
    "dependencies": [
        ((), (Dependency(("a",), ("b",)),), "breaking", "additive"),
        ((Dependency(("a",), ("b",)),), (Dependency(("a",), ("b", "c")),), "breaking", "additive"),
        ((Dependency(("a",), ("b",)),), (Dependency(("b",), ("a",)),), "breaking", "breaking"),
        ((Dependency(("a", "b"), ("c",)),), (Dependency(("b", "a"), ("c",)),), "none", "none"),
    ],
}


def kinds(old: Contract, new: Contract) -> list[str]:
    return [change.kind for change in diff(old, new)]


def with_column(column: Column) -> Contract:
    return replace(CONTRACT, columns=(column, *CONTRACT.columns[1:]))


def test_every_field_has_a_rule_and_a_case() -> None:
    assert set(COLUMN_RULES) == {field.name for field in fields(Column)} - {"name"} == set(COLUMN_CASES)
    ours = {field.name for field in fields(Contract)} - {"columns", "document", "digest"}
    assert set(CONTRACT_RULES) == ours == set(CONTRACT_CASES)


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, cases in COLUMN_CASES.items() for case in cases]
)
def test_what_a_changed_column_means_there_and_back(name: str, case: tuple[Any, Any, str, str]) -> None:
    one, two, forth, back = case
    old, new = with_column(replace(BASE, **{name: one})), with_column(replace(BASE, **{name: two}))
    assert kinds(old, new) == [forth]
    assert kinds(new, old) == [back]
    (change,) = diff(old, new)
    assert change.column == "a"
    assert change.what.startswith(name.replace("_", " ") + ": ")


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, cases in CONTRACT_CASES.items() for case in cases]
)
def test_what_a_changed_term_means_there_and_back(name: str, case: tuple[Any, Any, str, str]) -> None:
    one, two, forth, back = case
    old, new = replace(CONTRACT, **{name: one}), replace(CONTRACT, **{name: two})
    assert kinds(old, new) == [forth]
    assert kinds(new, old) == [back]
    assert diff(old, new)[0].column is None


def test_nothing_changed() -> None:
    assert diff(CONTRACT, CONTRACT) == []
    remarks = Change("none", "things", None, "remarks changed that nothing here reads")
    assert diff(CONTRACT, replace(CONTRACT, digest="other")) == [remarks]


def test_columns_come_and_go() -> None:
    more = Column("c", "string", "", Classification.PUBLIC)
    longer = replace(CONTRACT, columns=(*CONTRACT.columns, more))
    assert diff(CONTRACT, longer) == [Change("additive", "things", "c", "optional column added")]
    assert diff(longer, CONTRACT) == [Change("breaking", "things", "c", "column removed")]
    for demanding in (replace(more, required=True), replace(more, reference=Reference("x", "id"))):
        assert kinds(CONTRACT, replace(CONTRACT, columns=(*CONTRACT.columns, demanding))) == ["breaking"]


def test_the_order_of_columns_is_only_words() -> None:
    turned = replace(CONTRACT, columns=CONTRACT.columns[::-1])
    assert diff(CONTRACT, turned) == [Change("none", "things", None, "order of columns changed")]


def test_limits_of_another_type_are_not_compared() -> None:
    old = with_column(replace(BASE, logical_type="date", minimum="2000-01-01", maximum="2001-01-01"))
    new = with_column(replace(BASE, logical_type="integer", minimum=0, maximum=9))
    assert set(kinds(old, new)) == {"breaking"}


def test_words_of_a_change() -> None:
    old = with_column(replace(BASE, protect=Protect("mask", {"keep": 4})))
    new = with_column(replace(BASE, classification=Classification.PUBLIC, reference=Reference("x", "id")))
    assert [change.what for change in diff(old, new)] == [
        "classification: confidential → public",
        "protect: mask(keep=4) → none",
        "reference: none → x.id",
    ]


def test_any_two_real_contracts_can_be_compared() -> None:
    contracts = [load_contract(path) for path in sorted((HEALTHCARE / "contracts").glob("*.odcs.yaml"))]
    for old, new in itertools.permutations(contracts, 2):
        assert "breaking" in kinds(old, new)
        assert diff(old, old) == []


PRODUCT = load_product(HEALTHCARE)


def told(*, budget: float = 1.0, more: bool = False) -> Aggregates:
    """One aggregate, or two."""
    bodies = [
        {
            "name": name,
            "description": "x",
            "source": "patients",
            "contribution": {"groups": 1, "rows": 1},
            "measures": [{"name": "n", "kind": "rows"}],
            "epsilon": 0.1,
        }
        for name in (("one", "two") if more else ("one",))
    ]
    body = {"budget": {"epsilon": budget, "period": "year"}, "aggregates": bodies}
    return Aggregates.model_validate_json(json.dumps(body), strict=True)


PRODUCT_CASES: dict[str, list[tuple[Any, Any, str, str]]] = {
    "name": [("a", "b", "breaking", "breaking")],
    "owner": [("team:x", "team:y", "none", "none")],
    "description": [("", "x", "none", "none")],
    "profile": [("hipaa_safe_harbor", "gdpr_pseudonymous", "breaking", "breaking")],
    "schedule": [(None, "0 5 * * *", "none", "none")],
    "models": [
        (("a",), ("b", "a"), "additive", "breaking"),
        (("a",), ("b",), "breaking", "breaking"),
        (("a", "b"), ("b", "a"), "none", "none"),
    ],
    "target": [("duckdb", "other", "breaking", "breaking")],
    "freshness_hours": [(None, 26.0, "additive", "breaking"), (24.0, 26.0, "breaking", "additive")],
    "purposes": [
        (("care",), ("care", "research"), "breaking", "breaking"),
        (("care", "research"), ("research", "care"), "none", "none"),
    ],
    "aggregates": [
        (None, told(), "breaking", "breaking"),
        (told(), told(budget=2.0), "breaking", "breaking"),
        (told(), told(more=True), "additive", "breaking"),
    ],
    "deploy_windows": [((), ("Mon-Fri 08:00-17:00 UTC",), "none", "none")],
    "maintenance_windows": [((), ("Sun 02:00-04:00 UTC",), "none", "none")],
}


def test_a_change_of_who_approves_is_told_by_level() -> None:
    before = Role("reader", "read", ("clinical",), ())
    after = replace(before, second_level=("privacy", "board"))
    (change,) = diff(replace(CONTRACT, roles=(before,)), replace(CONTRACT, roles=(after,)))
    said = "approved by clinical"
    assert change.what == f"roles: reader (read, {said}) → reader (read, {said} and privacy, board)"


def test_every_field_of_a_product_has_a_rule_and_a_case() -> None:
    ours = {field.name for field in fields(Product)} - {"contracts", "directory", "digest"}
    assert set(PRODUCT_RULES) == ours == set(PRODUCT_CASES)


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, cases in PRODUCT_CASES.items() for case in cases]
)
def test_a_changed_product(name: str, case: tuple[Any, Any, str, str]) -> None:
    one, two, forth, back = case
    old, new = replace(PRODUCT, **{name: one}), replace(PRODUCT, **{name: two})
    assert diff_products(old, new).verdict == forth
    assert diff_products(new, old).verdict == back
    (change,) = diff_products(old, new).changes
    assert (change.dataset, change.column) == (None, None)


def test_datasets_come_and_go() -> None:
    other = replace(CONTRACT, dataset="others")
    added = diff_datasets({"things": CONTRACT}, {"things": CONTRACT, "others": other})
    assert added.changes == (Change("additive", "others", None, "dataset added"),)
    removed = diff_datasets({"things": CONTRACT, "others": other}, {"others": other})
    assert removed.changes == (Change("breaking", "things", None, "dataset removed"),)
    assert str(removed.changes[0]) == "things: dataset removed"


def test_what_cannot_be_read_any_more_is_breaking() -> None:
    for old, new in ((None, CONTRACT), (CONTRACT, None)):
        assert diff_datasets({"things": old}, {"things": new}).verdict == "breaking"


def test_the_gravest_change_comes_first_and_is_the_verdict() -> None:
    extra = Column("c", "string", "", Classification.PUBLIC)
    new = replace(
        CONTRACT, description="x", columns=(replace(BASE, required=True), *CONTRACT.columns[1:], extra)
    )
    found = diff_datasets({"things": CONTRACT}, {"things": new})
    assert [change.kind for change in found.changes] == ["breaking", "additive", "none"]
    assert found.verdict == "breaking"
    assert str(found.changes[0]) == "things.a: required: False → True"
    assert ContractDiff((), ()).verdict == "none"


@pytest.mark.parametrize(
    ("old", "kind", "too_low", "enough"),
    [
        ("1.2.3", "breaking", ["1.2.3", "1.2.4", "1.9.0", "0.9.9"], ["2.0.0", "10.0.0"]),
        ("1.2.3", "additive", ["1.2.3", "1.2.9"], ["1.3.0", "1.10.0", "2.0.0"]),
        ("1.2.3", "none", ["1.2.2", "0.9.9"], ["1.2.3", "1.2.4", "2.0.0"]),
        ("0.2.3", "breaking", ["0.2.4"], ["0.3.0", "1.0.0"]),
    ],
)
def test_a_version_that_does_not_rise_as_it_must_is_noted(
    old: str, kind: str, too_low: list[str], enough: list[str]
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "breaking": {"columns": CONTRACT.columns[:1]},
        "additive": {"minimum_rows": 0},
        "none": {"description": "x"},
    }
    before = replace(CONTRACT, version=old)

    def notes(version: str) -> tuple[str, ...]:
        found = diff_datasets(
            {"things": before}, {"things": replace(before, version=version, **changes[kind])}
        )
        assert found.verdict == kind
        return found.notes

    assert all(f"things: the version is {version} after {old}; " in notes(version)[0] for version in too_low)
    assert [notes(version) for version in enough] == [() for _ in enough]


def test_the_rules_are_written_down() -> None:
    words = Path(diff.__code__.co_filename).read_text(encoding="utf-8").split('"""')[1]
    assert [line for line in words.splitlines() if line and not line.startswith(" ")][1:] == [
        "breaking", "additive", "none",
    ]  # fmt: skip

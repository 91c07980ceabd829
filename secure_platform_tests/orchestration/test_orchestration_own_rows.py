"""Which rows an aggregate counts: those of the very snapshots that its source was made of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from contract_body import contract_body as contract
from small_product import product_context, prop

from secure_platform import canonical
from secure_platform.contract.product import load_product
from secure_platform.errors import DataRefusedError, IntegrityError
from secure_platform.orchestration.steps.aggregate import aggregate
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.contributing import contributing, made_of
from secure_platform.orchestration.steps.protect import current_plan, protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.store.snapshot import Zone

ID: Mapping[str, Any] = {"level": "confidential", "infoType": "RECORD_ID", "protect": "tokenize"}
PERSON = prop("person", level="confidential", subjectId=True, relationships=[{"to": "people.id"}])
WARD = prop("ward", level="internal", protect="keep")
TOLERANT: Mapping[str, Any] = {"onInvalid": "quarantine", "maxInvalidRatio": 0.9, "minimumRows": 0}
CONTRACTS = (
    contract("people", [prop("id", primaryKey=True, subjectId=True, **ID), WARD], **TOLERANT),
    contract("visits", [prop("id", primaryKey=True, **ID), PERSON, WARD], **TOLERANT),
    contract(
        "orders",
        [PERSON, prop("visit", level="confidential", relationships=[{"to": "visits.id"}]), WARD],
        **TOLERANT,
    ),
)
ORDERS: Mapping[str, Any] = {
    "name": "orders_by_ward",
    "description": "Orders of each ward.",
    "source": "orders",
    "group_by": [{"column": "ward", "partitions": ["N", "S"]}],
    "contribution": {"groups": 2, "rows": 5},
    "measures": [{"name": "orders", "kind": "rows"}],
    "epsilon": 100.0,
}
Tables = Mapping[str, list[tuple[str | None, ...]]]
TABLES: Tables = {
    "people": [("A", "N"), ("B", "N")],
    "visits": [("1", "A", "N"), ("2", "B", "N")],
    "orders": [("A", "1", "N"), ("B", "1", "S"), ("B", "2", "S"), ("B", "gone", "S"), ("B", None, "N")],
}
"""The second order is B's and goes with the visit of A."""
WITHOUT_A: Tables = {
    name: [row for row in rows if row[name != "people" and name == "visits"] != "A"]
    for name, rows in TABLES.items()
}
COLUMNS = {
    "people": ["id", "ward"],
    "visits": ["id", "person", "ward"],
    "orders": ["person", "visit", "ward"],
}


def clinic(folder: Path) -> StepContext:
    context = product_context(folder, "gdpr_pseudonymous", CONTRACTS, {})
    body = {"budget": {"epsilon": 100, "period": "forever"}, "aggregates": [ORDERS]}
    (context.product.directory / "aggregates.yaml").write_bytes(canonical.dumps(body))
    product = load_product(context.product.directory)
    return StepContext(context.services, product, "run", "service:scheduler", context.source)


def built(context: StepContext, tables: Tables, *names: str) -> StepContext:
    """The same with these tables pulled and protected; all of them if none are named."""
    for name in names or tables:
        rows = pl.DataFrame(tables[name], COLUMNS[name], orient="row")
        rows.write_csv(context.source / f"{name}.csv")
        pull(context, name)
        protect(context, name)
    return context


def counted(context: StepContext) -> list[str]:
    plan = current_plan(context.product, context.services.keys)
    source = context.input(Zone.PROTECTED, "orders")
    return sorted(contributing(context, plan, made_of(context, plan, source)).collect()["ward"])


def rows(context: StepContext) -> int:
    return context.input(Zone.PROTECTED, "orders").rows


def test_a_row_that_goes_with_another_persons_is_released_and_counts_nowhere(tmp_path: Path) -> None:
    context = built(clinic(tmp_path), TABLES)
    assert (rows(context), counted(context)) == (4, ["N", "N", "S"])
    told = context.services.store.scan(aggregate(context, "orders_by_ward").snapshot).collect()
    assert told["ward"].to_list() == ["N", "S"]
    assert all(abs(found - true) < 5 for found, true in zip(told["orders"], [2, 1], strict=True))
    without = built(context, WITHOUT_A)
    assert (rows(without), counted(without)) == (2, ["N", "S"]), "what was of A, and nothing else"


def test_newer_data_of_what_it_goes_with_change_nothing(tmp_path: Path) -> None:
    """Else an order that is there for the older visit of A would count for a newer one of B."""
    context = built(clinic(tmp_path), TABLES)
    newer: Tables = {**TABLES, "visits": [("1", "B", "N"), ("2", "A", "N")]}
    assert counted(built(context, newer, "visits")) == ["N", "N", "S"]
    assert counted(built(context, newer, "orders")) == ["N", "S"]


def test_changed_rows_of_what_it_goes_with_have_noise_of_their_own_and_cost(tmp_path: Path) -> None:
    tables: Tables = {**TABLES, "orders": [("A", None, "N"), ("B", "1", "S"), ("B", "2", "S")]}
    context = built(clinic(tmp_path), tables)
    aggregate(context, "orders_by_ward")
    content, before = context.input(Zone.PROTECTED, "orders").content_digest, counted(context)
    # The first order of B counts in place of the second.
    newer = built(context, {**tables, "visits": [("1", "B", "N"), ("2", "A", "N")]})
    assert (newer.input(Zone.PROTECTED, "orders").content_digest, counted(newer)) == (content, before)
    with pytest.raises(DataRefusedError, match="budget"):
        aggregate(newer, "orders_by_ward")


def test_persons_who_share_a_key_stop_it(tmp_path: Path) -> None:
    context = built(clinic(tmp_path), {**TABLES, "visits": [*TABLES["visits"], ("2", "A", "S")]})
    with pytest.raises(DataRefusedError, match="several persons in visits have one id"):
        aggregate(context, "orders_by_ward")
    assert not context.services.budget.spends("small"), "nothing was told, nothing is spent"
    own = built(context, {**TABLES, "visits": [*TABLES["visits"], ("2", "B", "S")]})
    assert counted(own) == ["N", "N"], "a person's own twice is nobody else's matter"


def test_what_was_made_by_another_plan_or_is_gone_is_refused(tmp_path: Path) -> None:
    context = built(clinic(tmp_path), TABLES)
    parent = context.input(Zone.PROTECTED, "visits")
    changed = contract(
        "visits", [prop("id", primaryKey=True, **ID), PERSON, {**WARD, "description": "x"}], **TOLERANT
    )
    path = context.product.directory / "contracts" / "visits.odcs.yaml"
    before = path.read_bytes()
    path.write_bytes(canonical.dumps(changed))
    newer = StepContext(
        context.services, load_product(context.product.directory), "run", "service:scheduler", context.source
    )
    with pytest.raises(DataRefusedError, match="visits was made under another version"):
        aggregate(newer, "orders_by_ward")
    assert not context.services.budget.spends("small"), "nothing was told, nothing is spent"
    path.write_bytes(before)
    context.services.keys.lifecycle.rotate(f"token/{_domain(context)}", actor="t")
    with pytest.raises(DataRefusedError, match="another plan than today"):
        aggregate(context, "orders_by_ward")
    assert parent.snapshot_id == context.input(Zone.PROTECTED, "visits").snapshot_id


def test_without_a_snapshot_that_it_was_made_of_it_is_not_told(tmp_path: Path) -> None:
    context = built(clinic(tmp_path), TABLES)
    parent = context.input(Zone.PROTECTED, "visits")
    built(context, {**TABLES, "visits": TABLES["visits"][1:]}, "visits")
    context.services.store.delete(parent, actor="t")
    with pytest.raises(IntegrityError):
        aggregate(context, "orders_by_ward")


def _domain(context: StepContext) -> str:
    plan = current_plan(context.product, context.services.keys)
    found = next(each for each in plan.datasets["orders"].outputs if each.column == "person")
    return str(found.token_domain)

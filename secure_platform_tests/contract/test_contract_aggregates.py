"""What is declared of numbers with noise is understood whole, or refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from secure_platform import canonical
from secure_platform.contract.aggregates import read_aggregates
from secure_platform.errors import ContractError

AGGREGATE: Mapping[str, Any] = {
    "name": "by_ward",
    "description": "x",
    "source": "visits",
    "group_by": [{"column": "ward", "partitions": ["N", "S"]}],
    "contribution": {"groups": 1, "rows": 1},
    "measures": [{"name": "visits", "kind": "rows"}],
    "epsilon": 0.1,
}
BUDGET = {"epsilon": 1, "period": "year"}
SUM = {"name": "cost", "kind": "sum", "column": "cost", "lowest": 0, "highest": 10, "step": 0.1}


def read(folder: Path, budget: Mapping[str, Any], *aggregates: Mapping[str, Any], **more: Any) -> Any:
    body = {"budget": budget, "aggregates": aggregates, **more}
    (folder / "aggregates.yaml").write_bytes(canonical.dumps(body))
    return read_aggregates(folder, {"visits", "mart"})


def test_a_whole_declaration_is_read(tmp_path: Path) -> None:
    assert read_aggregates(tmp_path, ()) is None
    found = read(tmp_path, BUDGET, AGGREGATE, {**AGGREGATE, "name": "more", "measures": [SUM]})
    assert list(found.by_name) == ["by_ward", "more"]
    assert found.by_name["more"].measures[0].bounds == (0, 100), "a tenth is a tenth"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": -1}, "epsilon"),
        ({"epsilon": 1000}, "epsilon"),
        ({"epsilon": "1"}, "epsilon"),
        ({"epsilon": True}, "epsilon"),
        ({"measures": [{"name": name, "kind": "persons"} for name in "pq"]}, "persons are counted once"),
        ({"rho": 0.1}, "epsilon .Laplace. or rho"),
        ({"epsilon": None}, "epsilon .Laplace. or rho"),
        ({"delta": 0.1}, "has no partitions, and only then"),
        ({"group_by": [{"column": "ward"}]}, "has no partitions, and only then"),
        ({"group_by": [{"column": "ward", "partitions": []}]}, "partitions"),
        ({"group_by": [{"column": "ward", "partitions": ["N", "N"]}]}, "appears twice"),
        ({"group_by": [{"column": "ward", "partitions": [1.5]}]}, "whole number"),
        ({"group_by": [{"column": "visits", "partitions": ["N"]}]}, "appears twice"),
        ({"group_by": [{"column": "ward", "partitions": list(range(10_001))}]}, "more than 10,000"),
        (
            {
                "group_by": [{"column": "ward", "partitions": list(range(11))}],
                "measures": [{**SUM, "kind": "quantile", "at": 0.5, "highest": 99.9}],
            },
            "more than 10,000",
        ),
        ({"contribution": {"groups": 0, "rows": 1}}, "groups"),
        ({"contribution": {"groups": 1}}, "rows"),
        ({"measures": []}, "measures"),
        ({"measures": [{**SUM, "kind": "rows"}]}, "a count has no column"),
        ({"measures": [{**SUM, "step": None}]}, "needs column, lowest, highest and step"),
        ({"measures": [{**SUM, "highest": 0}]}, "lowest is below highest"),
        ({"measures": [{**SUM, "highest": 0.25}]}, "multiples of step"),
        ({"measures": [{**SUM, "highest": 1e9, "step": 0.001}]}, "steps from 0"),
        ({"measures": [{**SUM, "kind": "quantile"}]}, "needs `at`"),
        ({"measures": [{**SUM, "at": 0.5}]}, "needs `at`"),
        ({"measures": [{**SUM, "kind": "quantile", "at": 0.5, "highest": 1000}]}, "at most 1,000"),
        ({"measures": [{**SUM, "kind": "median"}]}, "kind"),
        ({"source": "../x"}, "source"),
        ({"noise": "none"}, "unknown attribute"),
        ({"name": "visits"}, "is taken"),
        ({"name": "mart"}, "is taken"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        read(tmp_path, BUDGET, {**AGGREGATE, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 0}, "epsilon"),
        ({"delta": 1}, "delta"),
        ({"period": "fortnight"}, "period"),
        ({"composition": "advanced"}, "composition"),
        ({"composition": "zcdp"}, "needs a delta"),
        ({"reset": True}, "unknown attribute"),
    ],
)
def test_a_budget_is_of_what_is_known(tmp_path: Path, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        read(tmp_path, {**BUDGET, **changes}, AGGREGATE)


def test_two_of_one_name_and_rho_without_zcdp_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="is taken"):
        read(tmp_path, BUDGET, AGGREGATE, AGGREGATE)
    tuned = {name: value for name, value in AGGREGATE.items() if name != "epsilon"} | {"rho": 0.1}
    with pytest.raises(ContractError, match="composition: zcdp"):
        read(tmp_path, BUDGET, tuned)
    zcdp = {**BUDGET, "composition": "zcdp", "delta": 1e-6}
    assert read(tmp_path, zcdp, tuned).by_name["by_ward"].rho == 0.1

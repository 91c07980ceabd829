"""Nothing that a contract asks of raw cells, or of confidential columns, picks one row."""

from dataclasses import replace
from typing import Any

import pytest
from protect_examples import column, compiled, contract

from secure_platform.contract.model import Monitor, Total
from secure_platform.errors import PlanRefusedError

FREE = "gdpr_pseudonymous"


def planned(*, level: str = "internal", **asked: Any) -> None:
    made = contract("stays", column("days", "integer", level), column("ward", level="internal"))
    compiled(replace(made, monitor=Monitor(**asked)), profile=FREE)


@pytest.mark.parametrize(
    "sql", ["SUM(days)", "avg( days )", 'COUNT("days")', "COUNT(*)", " count ( distinct days ) "]
)
def test_a_plain_total_may_be_asked_of_any_column(sql: str) -> None:
    planned(reconcile={"all": Total(sql)})
    planned(level="confidential", metrics={"all": sql})


@pytest.mark.parametrize(
    "total",
    [
        Total("COUNT(*) * 0 + 100000"),
        Total("SUM(CASE WHEN ward = 'a' THEN days ELSE 0 END)"),
        Total("SUM(days) + 1"),
        Total("SUM(days * days)"),
        Total("MAX(days)"),
        Total("SUM(7)"),
        Total("COUNT(*)", "b", "SUM(CASE WHEN n = 1 THEN 1 END)"),
        Total("COUNT(*)", "b", "COUNT(*) + SUM(n)"),
        Total("COUNT(*)", "b", "SUM(n) FILTER (WHERE n > 1)"),
    ],
)
def test_another_control_total_refuses_the_plan_and_not_the_contract(total: Total) -> None:
    with pytest.raises(PlanRefusedError, match="stays has the total all, which is no total of a whole"):
        planned(reconcile={"all": total})


def test_a_tolerance_that_hides_what_a_total_says_is_refused() -> None:
    planned(reconcile={"all": Total("SUM(days)", tolerance=0.1)})
    with pytest.raises(PlanRefusedError, match="no small share"):
        planned(reconcile={"all": Total("SUM(days)", tolerance=0.11)})


@pytest.mark.parametrize(
    "sql",
    [
        "MAX(days)",
        "MIN(days)",
        "FIRST(days)",
        "SUM(CASE WHEN ward = 'p17' THEN days ELSE 0 END)",
        "AVG(CASE WHEN days > 15 THEN 1 ELSE 0 END)",
        "MAX(days) + COUNT(*)",
        "SUM(days * days)",
    ],
)
def test_a_metric_shows_no_confidential_value_of_one_row(sql: str) -> None:
    with pytest.raises(PlanRefusedError, match="and days is confidential"):
        planned(level="confidential", metrics={"one": sql})
    planned(metrics={"one": sql})

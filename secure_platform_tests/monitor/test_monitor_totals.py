"""Control totals agree before and after protection, or the rows do not pass; no total is kept."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.contract.model import Total
from secure_platform.errors import DataRefusedError
from secure_platform.monitor.totals import Totals

BEFORE = pl.DataFrame({"cost": [1.5, 2.25, None, 918273.0]})
OTHERS = {"batches": pl.LazyFrame({"total": [918276.75]})}


def compared(total: Total, after: pl.DataFrame, others: dict[str, pl.LazyFrame] = OTHERS) -> tuple[bool, Any]:
    totals = Totals({"all": total}, "stays")
    queries = totals.queries(BEFORE.lazy(), after.lazy(), others)
    return totals.compared(pl.collect_all(queries))


@pytest.mark.parametrize(
    ("total", "after", "agrees"),
    [
        (Total("SUM(cost)"), BEFORE, True),
        (Total("SUM(cost)"), BEFORE.head(3), False),
        (Total("COUNT(cost)"), BEFORE.reverse(), True),
        (Total("SUM(cost)"), BEFORE.with_columns(pl.col("cost") * 1.01), False),
        (Total("SUM(cost)", tolerance=0.02), BEFORE.with_columns(pl.col("cost") * 1.01), True),
        (Total("SUM(cost)", "batches", "SUM(total)"), BEFORE.clear(), True),
        (Total("SUM(cost)", "batches", "COUNT(total)"), BEFORE, False),
        (Total("SUM(cost)"), BEFORE.clear(), False),
    ],
)
def test_totals_agree_or_do_not(total: Total, after: pl.DataFrame, *, agrees: bool) -> None:
    passed, detail = compared(total, after)
    assert (passed, detail["all"]["agrees"]) == (agrees, agrees)
    assert "918" not in repr(detail)


@pytest.mark.parametrize(
    ("factor", "step"),
    [(1, "0"), (1.0004, "below 0.001"), (1.0006, "below 0.001"), (1.05, "below 0.1"), (3, "0.1 or more")],
)
def test_how_far_they_differ_is_told_in_steps(factor: float, step: str) -> None:
    _, detail = compared(Total("SUM(cost)"), BEFORE.with_columns(pl.col("cost") * factor))
    assert detail["all"]["differ_by"] == step


@pytest.mark.parametrize(
    ("total", "after"),
    [
        (Total("SUM(cost)"), BEFORE.rename({"cost": "price"})),
        (Total("SUM(cost)", "unknown", "SUM(total)"), BEFORE),
        (Total("SUM(cost)", "batches", "SUM(nothing)"), BEFORE),
        (Total("SUM(cost)", "batches", "not sql ("), BEFORE),
    ],
)
def test_what_cannot_be_computed_is_refused(total: Total, after: pl.DataFrame) -> None:
    with pytest.raises(DataRefusedError, match="total all of stays"):
        compared(total, after)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_total(costs: list[float], chance: Any) -> None:
    mixed = list(costs)
    chance.shuffle(mixed)
    totals = Totals({"all": Total("SUM(cost)", tolerance=1e-6)}, "stays")
    first, second = (pl.LazyFrame({"cost": [abs(cost) for cost in each]}) for each in (costs, mixed))
    assert totals.compared(pl.collect_all(totals.queries(first, second, {})))[0]

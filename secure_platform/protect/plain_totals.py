"""What is asked of raw cells, and of confidential columns, is a plain total: other SQL could pick one row.

A contract that asks for more is read all the same, so that releases that were signed with it stay readable;
its plan is refused.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl

from secure_platform.contract.model import Contract
from secure_platform.errors import PlanRefusedError
from secure_platform.taxonomy.classification import Classification

_COLUMN: Final = r"""(?:[^\W\d]\w*|"[^"]+")"""
_PLAIN: Final = re.compile(
    rf"\s*(?:COUNT\s*\(\s*\*|(?:SUM|AVG|COUNT)\s*\(\s*{_COLUMN}|COUNT\s*\(\s*DISTINCT\s+{_COLUMN})\s*\)\s*",
    re.IGNORECASE,
)
"""A total of whole columns: nothing in it picks a row, and no constant is compared with anything."""
_LARGEST_TOLERANCE: Final = 0.1


def require_plain(contracts: Mapping[str, Contract]) -> None:
    """Refuse control totals, and metrics of confidential columns, that are more than totals of whole columns.

    Raises:
        PlanRefusedError: Naming all of them.
    """
    found = [sentence for contract in contracts.values() for sentence in _more(contract)]
    if found:
        raise PlanRefusedError(
            "; ".join(found),
            "Write SUM, AVG or COUNT of one column, or COUNT(*), and a tolerance of at most"
            f" {_LARGEST_TOLERANCE}: anything else could pick one person's row.",
        )


def _more(contract: Contract) -> Iterator[str]:
    for name, total in contract.monitor.reconcile.items():
        if not all(_PLAIN.fullmatch(each) for each in (total.sql, total.equals or total.sql)):
            yield f"{contract.dataset} has the total {name}, which is no total of a whole column"
        if total.tolerance > _LARGEST_TOLERANCE:
            yield f"{contract.dataset} has the total {name}, whose tolerance is no small share"
    closed = {each.name for each in contract.columns if each.classification >= Classification.CONFIDENTIAL}
    for name, sql in contract.monitor.metrics.items():
        asked = sorted(closed.intersection(pl.sql_expr(sql).meta.root_names()))
        if asked and not _PLAIN.fullmatch(sql):
            yield (
                f"{contract.dataset} has the metric {name}, which is no total of a whole column,"
                f" and {asked[0]} is confidential"
            )

"""An aggregate of visits, declared as a document declares it."""

import json
from typing import Any

from secure_platform.contract.aggregates import Aggregate, Aggregates, Budget
from secure_platform.protect.aggregate import Answer


def aggregate(**changes: Any) -> Aggregate:
    """Visits by ward, with epsilon 1; changed in these members, and without those that are None."""
    body = {
        "name": "by_ward",
        "description": "x",
        "source": "visits",
        "group_by": [{"column": "ward", "partitions": ["N", "S"]}],
        "contribution": {"groups": 1, "rows": 1},
        "measures": [{"name": "visits", "kind": "rows"}],
        "epsilon": 1.0,
        **changes,
    }
    given = {name: value for name, value in body.items() if value is not None}
    return Aggregate.model_validate_json(json.dumps(given), strict=True)


def budget(**changes: Any) -> Budget:
    """Epsilon 1 a year; changed in these members."""
    body = {"epsilon": 1.0, "period": "year", **changes}
    return Budget.model_validate_json(json.dumps(body), strict=True)


def document(**changes: Any) -> Aggregates:
    """A whole document."""
    return Aggregates(budget=budget(), aggregates=(aggregate(**changes),))


def column(kind: str, **more: Any) -> dict[str, Any]:
    """A measure of the column `cost`."""
    return {"name": "m", "kind": kind, "column": "cost", "lowest": -2, "highest": 5, "step": 0.5, **more}


def moved(whole: Answer, less: Answer, place: int) -> list[float]:
    """Of each group, how far the numbers of the query at this place are from each other."""
    return [
        sum(abs(a - b) for a, b in zip(one[place], other[place], strict=True))
        for one, other in zip(whole.numbers, less.numbers, strict=True)
    ]

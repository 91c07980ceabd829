"""Whoever approves sees what more is told of people."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from secure_platform.release.manifest import AggregatesRecord
from secure_platform.release.privacy_diff import privacy_changes

OLD: Mapping[str, Any] = {
    "budget": {"epsilon": 2.0, "delta": 1e-6, "period": "month", "composition": "basic"},
    "aggregates": [
        {
            "name": "a",
            "description": "x",
            "source": "visits",
            "group_by": [],
            "contribution": {"groups": 1, "rows": 1},
            "measures": [{"name": "n", "kind": "rows"}],
            "epsilon": 0.5,
            "rho": None,
            "delta": 0.0,
        }
    ],
}


def changed(part: str, **members: Any) -> dict[str, Any]:
    new = copy.deepcopy(dict(OLD))
    (new["budget"] if part == "budget" else new["aggregates"][0]).update(members)
    AggregatesRecord.model_validate(new)
    return new


@pytest.mark.parametrize(
    ("part", "members", "weaker"),
    [
        ("budget", {"epsilon": 3.0}, True),
        ("budget", {"epsilon": 1.0}, False),
        ("budget", {"delta": 1e-5}, True),
        ("budget", {"period": "week"}, True),
        ("budget", {"period": "year"}, False),
        ("budget", {"composition": "zcdp"}, True),
        ("aggregate", {"epsilon": 0.6}, True),
        ("aggregate", {"epsilon": 0.4}, False),
        ("aggregate", {"epsilon": None, "rho": 0.1}, True),
        ("aggregate", {"delta": 1e-9}, True),
        ("aggregate", {"contribution": {"groups": 1, "rows": 2}}, False),
        ("aggregate", {"source": "patients"}, True),
    ],
)
def test_what_tells_more_is_called_weaker(part: str, members: dict[str, Any], *, weaker: bool) -> None:
    (said,) = privacy_changes(OLD, changed(part, **members))
    assert ("WEAKER than before" in said) is weaker


def test_what_comes_and_goes_is_said() -> None:
    assert list(privacy_changes(None, None)) == list(privacy_changes(OLD, OLD)) == []
    first = list(privacy_changes(None, OLD, first=True))
    assert [each.split(",")[0] for each in first] == [
        "Numbers with noise: new",
        "a: a new aggregate of visits",
    ]
    assert list(privacy_changes(OLD, None)) == ["Nothing is told in numbers with noise any more."]
    renamed = list(privacy_changes(OLD, changed("aggregate", name="b")))
    assert renamed == [
        "b: WEAKER than before: a new aggregate of visits, with epsilon 0.5.",
        "a: the aggregate is gone.",
    ]


def test_what_comes_back_larger_is_not_overlooked() -> None:
    told = {**OLD, "budget": {**OLD["budget"], "epsilon": 50.0, "period": "day"}}
    assert [each.split(",")[0] for each in privacy_changes(None, told)] == [
        "Numbers with noise: WEAKER than before: new",
        "a: WEAKER than before: a new aggregate of visits",
    ]


def test_the_record_has_nothing_that_is_not_understood() -> None:
    with pytest.raises(ValueError, match="noise"):
        AggregatesRecord.model_validate({**OLD, "noise": "none"})

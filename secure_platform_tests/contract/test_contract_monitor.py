from datetime import date
from pathlib import Path
from typing import Any

import pytest

from secure_platform.contract.load import load_contract
from secure_platform.contract.model import Column, Monitor, Total
from secure_platform.contract.monitor import read_monitor
from secure_platform.contract.place import Place
from secure_platform.errors import ContractError
from secure_platform.settings import PACKAGE
from secure_platform.taxonomy.classification import Classification

COLUMNS = (
    Column("days", "number", "", Classification.INTERNAL),
    Column("ward", "string", "", Classification.INTERNAL),
)


def read(body: dict[str, Any]) -> Monitor:
    return read_monitor(body, COLUMNS, Place("stays.odcs.yaml", "monitor"))


def test_nothing_said_is_the_default() -> None:
    assert read({}) == Monitor()
    assert Monitor().severity == "warn"


def test_everything_can_be_said() -> None:
    found = read(
        {
            "severity": "error",
            "timezone": "Europe/Berlin",
            "holidays": ["2026-12-25"],
            "silent": ["distinct_rate"],
            "metrics": {"long_stays": "AVG(CASE WHEN days > 15 THEN 1 ELSE 0 END)"},
        }
    )
    assert (found.severity, found.timezone, found.holidays) == (
        "error",
        "Europe/Berlin",
        (date(2026, 12, 25),),
    )
    assert found.silent == ("distinct_rate",)
    assert set(found.metrics) == {"long_stays"}


@pytest.mark.parametrize(
    "body",
    [
        {"severty": "error"},
        {"severity": "fatal"},
        {"severity": 3},
        {"timezone": "Europe/Bärlin"},
        {"timezone": "../../etc/passwd"},
        {"holidays": "2026-12-25"},
        {"holidays": ["Christmas"]},
        {"silent": ["row_count"]},
        {"metrics": {"Long": "AVG(days)"}},
        {"metrics": {"rows": "days"}},
        {"metrics": {"wards": "MAX(ward)"}},
        {"metrics": {"unknown": "AVG(stays)"}},
        {"metrics": {"wrong": "AVG("}},
        {"metrics": {"file": "SELECT * FROM read_csv('/etc/passwd')"}},
        {"metrics": {"number": 3}},
    ],
)
def test_what_cannot_be_carried_out_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        read(body)


def test_a_contract_says_it_with_one_custom_property(tmp_path: Path) -> None:
    text = (PACKAGE / "defs/healthcare/contracts/conditions.odcs.yaml").read_text("utf-8")
    said = "  - {property: monitor, value: {severity: error, silent: [distinct_rate]}}\n"
    path = tmp_path / "conditions.odcs.yaml"
    path.write_text(text.replace("customProperties:\n", f"customProperties:\n{said}", 1), "utf-8")
    assert load_contract(path).monitor == Monitor(severity="error", silent=("distinct_rate",))
    path.write_text(path.read_text("utf-8").replace("distinct_rate", "distnct_rate"), "utf-8")
    with pytest.raises(ContractError, match="distnct_rate"):
        load_contract(path)


def test_control_totals_are_read() -> None:
    totals = {
        "all": {"sql": "SUM(days)"},
        "batch": {"sql": "COUNT(days)", "dataset": "b", "equals": "SUM(n)"},
    }
    found = read({"reconcile": totals}).reconcile
    assert found == {"all": Total("SUM(days)"), "batch": Total("COUNT(days)", "b", "SUM(n)")}


@pytest.mark.parametrize(
    ("total", "problem"),
    [
        ("SUM(days)", "no object"),
        ({"sql": "days"}, "not one number"),
        ({"sql": "SUM(nothing)"}, "cannot be computed"),
        ({}, "no text"),
        ({"sql": "SUM(days)", "dataset": "b"}, "alone"),
        ({"sql": "SUM(days)", "equal": "x"}, "unknown setting"),
        ({"sql": "SUM(days)", "tolerance": 1}, "is no share"),
        ({"sql": "SUM(days)", "tolerance": -0.1}, "is no share"),
        ({"sql": "SUM(days)", "tolerance": "much"}, "wrong type"),
    ],
)
def test_control_totals_that_cannot_be_meant_are_refused(total: Any, problem: str) -> None:
    with pytest.raises(ContractError, match=problem):
        read({"reconcile": {"all": total}})

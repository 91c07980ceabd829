"""`sla`: the report is for who may see incidents; as text, JSON and CSV it says the same."""

import csv
from datetime import timedelta
from pathlib import Path

import pytest
from cli_support import Cli

from secure_platform.control.database import utc_now
from secure_platform.monitor.history import Record
from secure_platform.services import Services
from secure_platform.settings import load_settings


@pytest.fixture
def delivered(cli: Cli) -> Cli:
    metrics = Services(load_settings(home=cli.home)).metrics
    for hours in (120, 100, 10):
        came = utc_now() - timedelta(hours=hours)
        metrics.add(Record("healthcare", "patients", "raw", f"s{hours}", {"rows": 1.0}, recorded_at=came))
    return cli


def test_the_report_is_the_same_as_text_json_and_csv(delivered: Cli, tmp_path: Path) -> None:
    rows = delivered("sla", "healthcare", "--json", token="admin").json
    patients = [row for row in rows if row["dataset"] == "patients"]
    counts = {name: sum(row[name] for row in patients) for name in ("delivered", "promised", "late", "never")}
    # Due after 26 hours: 74 hours late, and twice more in the same silence nothing came.
    assert counts == {"delivered": 3, "promised": 5, "late": 1, "never": 2}
    assert [row["late_p50"] for row in patients if row["late"]] == [64.0]
    assert {row["never"] for row in rows if row["dataset"] == "conditions"} == {1}
    whole = [row for row in rows if row["dataset"] is None]
    assert sum(row["promised"] for row in whole) == 5 + 4
    text = delivered("sla", "healthcare", token="admin").out
    assert "64.0 h" in text
    file = tmp_path / "sla.csv"
    assert delivered("sla", "healthcare", "--out", str(file), "--json", token="admin").json["rows"] == len(
        rows
    )
    with file.open(encoding="utf-8", newline="") as opened:
        read = list(csv.DictReader(opened))
    assert [row["delivered"] for row in read] == [str(row["delivered"]) for row in rows]
    assert delivered("sla", "healthcare", "--csv", token="admin").out == file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o600


def test_who_may_not_look_gets_no_report_and_nothing_is_overwritten(delivered: Cli, tmp_path: Path) -> None:
    delivered.add("ana", "analyst")
    file = tmp_path / "sla.csv"
    assert delivered("sla", "healthcare", "--out", str(file), token="ana").code == 4
    assert not file.exists()
    file.write_text("mine", encoding="utf-8")
    assert delivered("sla", "healthcare", "--out", str(file), token="admin").code == 2
    assert file.read_text(encoding="utf-8") == "mine"
    assert delivered("sla", "nothing", token="admin").code == 2
    assert delivered("sla", "healthcare", "--csv", "--json", token="admin").code == 2
    assert delivered("sla", "healthcare", "--months", "0", token="admin").code == 2

"""Every benchmark runs, at the smallest size, and says what it measured; nothing here asserts a time."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from secure_platform.settings import PACKAGE

PEERS = {
    "secure_copy": "plain copy",
    "steps": "Polars reads the CSV and writes Parquet",
    "definitions": "gRPC's 100 MB",
    "audit": "plain SQLite commits",
    "overhead": "python -c pass",
    "keys": "plain Parquet files",
    "web": "the stock server",
    "protect": "Fernet, cell by cell",
    "secret_scan": "the same rules, each searched by Python's re",
    "text_scan": "Polars searches every text for one pattern",
    "demo": "",
    "monitor": "z-score by day of week",
    "months": "",
    "dirty_pairs": "all values that were seen",
    "scan": "Polars searches every cell for one pattern",
}

MAY_BE_NONE = re.compile("more than there$|^(?:precision|recall) of [A-Z]|^alerts|^false alarms")
"""A difference; names of one kind, of which a hundred sentences have few. So may any share."""


def bench(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--tiny", "--output", str(output), *options],
        cwd=PACKAGE.parent,
        env={**os.environ, "TMPDIR": str(output.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("subject", PEERS)
def test_a_subject_measures_its_peer_in_the_same_run(subject: str, tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    finished = bench(output, "--only", subject)
    assert finished.returncode == 0, finished.stderr
    document: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    assert document["machine"]["cores"] >= 1
    result = document["subjects"][subject]
    assert PEERS[subject] in {figure["of"] for figure in result["figures"]}
    assert all(
        f["value"] > 0 or f["unit"] == "share" or MAY_BE_NONE.search(f["name"]) for f in result["figures"]
    )
    for measurement in result["measurements"]:
        assert measurement["wall"] > 0
        assert measurement["peak_bytes"] > 0
        assert len(measurement["load"]) == len(measurement["walls"])
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"], (
        "Nothing of the data is left behind."
    )


def test_an_unknown_subject_is_refused(tmp_path: Path) -> None:
    assert bench(tmp_path / "result.json", "--only", "nothing").returncode == 2

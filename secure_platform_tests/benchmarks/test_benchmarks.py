"""Every benchmark runs, at the smallest size, and says what it measured; nothing here asserts a time."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
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

TOGETHER = 4
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


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What a subject measured; some are run by one command, which loads the libraries once for them."""

    @cache
    def run(subjects: tuple[str, ...]) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("measured")
        finished = bench(folder / "result.json", *(word for name in subjects for word in ("--only", name)))
        assert finished.returncode == 0, finished.stderr
        assert [path.name for path in folder.iterdir()] == ["result.json"], (
            "Nothing of the data is left behind."
        )
        document: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        assert tuple(document["subjects"]) == subjects
        return document

    names = list(PEERS)
    together = [tuple(names[first : first + TOGETHER]) for first in range(0, len(names), TOGETHER)]
    return lambda subject: run(next(each for each in together if subject in each))


@pytest.mark.slow
@pytest.mark.parametrize("subject", PEERS)
def test_a_subject_measures_its_peer_in_the_same_run(subject: str, measured: Callable[[str], Any]) -> None:
    document = measured(subject)
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


def test_an_unknown_subject_is_refused(tmp_path: Path) -> None:
    assert bench(tmp_path / "result.json", "--only", "nothing").returncode == 2

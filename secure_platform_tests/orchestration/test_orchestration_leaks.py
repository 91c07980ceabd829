"""Canaries pass through success and failure; afterwards no file and no output holds one in clear.

The programs run as a user runs them, in a home, a user directory and temporary folders of their own.
"""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from secure_platform.sample.generate import generate
from secure_platform.settings import PACKAGE

pytestmark = pytest.mark.slow

ROOT = PACKAGE.parent
NAME, SSN, STREET = "Zyzzyvagne777", "999-77-4242", "4242 Quuxberry Canary Lane"
CANARIES = (NAME, SSN, STREET)
BREAK_A_TRANSFORM = f"""
import secure_platform
from secure_platform.orchestration.steps import protect
def broken(plan, typed, keys):
    raise ValueError("row of {NAME} with {SSN} at {STREET}")
protect.apply = broken
import sys
from secure_platform.cli.main import main
main(sys.argv[1:])
"""

Row = dict[str, str]


def plant(row: Row) -> Row:
    return {**row, "FIRST": NAME, "SSN": SSN, "ADDRESS": STREET}


def plant_and_break(row: Row) -> Row:
    return {**plant(row), "BIRTHDATE": f"not a date but {NAME}", "GENDER": SSN, "STATE": STREET}


def write_source(directory: Path, change: Callable[[Row], Row]) -> Path:
    generate(directory, patients=30)
    path = directory / "patients.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(change(row) for row in rows)
    return directory


def snapshot_of_project() -> set[tuple[Path, int]]:
    skipped = {".venv", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"}
    return {
        (path, path.stat().st_mtime_ns)
        for path in ROOT.rglob("*")
        if path.is_file() and skipped.isdisjoint(path.relative_to(ROOT).parts)
    }


def run(scratch: Path, source: Path, *launcher: str) -> subprocess.CompletedProcess[bytes]:
    for folder in ("user", "tmp", "work"):
        (scratch / folder).mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(scratch / "user"),
        "TMPDIR": str(scratch / "tmp"),
        "SECURE_PLATFORM_HOME": str(scratch / "home"),
    }
    return subprocess.run(
        [sys.executable, *launcher, "run", "healthcare", "--source", str(source)],
        env=environment,
        cwd=scratch / "work",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=400,
        check=False,
    )


def holders(scratch: Path, finished: subprocess.CompletedProcess[bytes]) -> list[str]:
    """Where any canary is in clear, in any common encoding."""
    needles = [text.encode(encoding) for text in CANARIES for encoding in ("utf-8", "utf-16-le", "utf-32-le")]
    places = {"stdout": finished.stdout, "stderr": finished.stderr}
    places |= {str(path): path.read_bytes() for path in scratch.rglob("*") if path.is_file()}
    return [place for place, content in places.items() if any(needle in content for needle in needles)]


@pytest.mark.parametrize(
    ("change", "launcher", "code"),
    [
        (plant, ("-m", "secure_platform"), 0),
        (plant_and_break, ("-m", "secure_platform"), 3),
        (plant, ("-c", BREAK_A_TRANSFORM), 1),
    ],
    ids=["success", "failure in validation", "failure inside a transform"],
)
def test_no_canary_is_anywhere_in_clear(
    tmp_path: Path, change: Callable[[Row], Row], launcher: tuple[str, ...], code: int
) -> None:
    source = write_source(tmp_path / "source", change)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = snapshot_of_project()
    finished = run(scratch, source, *launcher)
    assert finished.returncode == code, finished.stderr.decode()
    assert holders(scratch, finished) == []
    assert list((scratch / "work").iterdir()) == []
    assert snapshot_of_project() == before


def test_the_search_would_find_a_canary(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(f"… {STREET} …", encoding="utf-16-le")
    finished = subprocess.CompletedProcess([], 0, stdout=SSN.encode(), stderr=b"")
    assert holders(tmp_path, finished) == ["stdout", str(tmp_path / "file")]

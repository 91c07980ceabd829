"""A product's feedback and its own info types decide its checks, and no kept snapshot outlives them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from orchestration_support import Line, new_line

from secure_platform.errors import DataRefusedError
from secure_platform.orchestration.steps.context import StepContext, StepOutcome
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull

CORRECTION = """
feedback:
  - dataset: encounters
    column: DESCRIPTION
    info_type: EMAIL
    reason: the desk that takes the calls
    by: dana
    until: {until}
"""
TOMORROW = datetime.now(UTC).date() + timedelta(days=1)
Step = Callable[[StepContext, str], StepOutcome]


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A product's folder that holds nothing but what the test puts there."""
    (tmp_path / "product").mkdir()
    return tmp_path / "product"


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """Encounters whose description names an address."""
    line = new_line(tmp_path)
    line.edit("encounters", _describe)
    return line


def _describe(rows: list[list[str]]) -> list[list[str]]:
    place = rows[0].index("DESCRIPTION")
    return [rows[0], *([*row[:place], "ask desk@clinic.example", *row[place + 1 :]] for row in rows[1:])]


def carry_out(step: Step, line: Line, product: Path, dataset: str = "encounters") -> StepOutcome:
    """A step on a product of this folder."""
    context = line.context()
    return step(replace(context, product=replace(context.product, directory=product)), dataset)


def scan_passes(line: Line, product: Path) -> bool:
    """Whether the check on raw data passes."""
    return carry_out(pull, line, product).checks[1].passed


def test_a_correction_counts_in_raw_and_protected_and_is_told(line: Line, product: Path) -> None:
    (product / "scan_feedback.yaml").write_text(CORRECTION.format(until=TOMORROW), encoding="utf-8")
    raw = carry_out(pull, line, product)
    assert raw.checks[1].passed
    (told,) = raw.checks[1].detail["feedback"]["overridden"]
    assert (told["column"], told["info_type"], told["by"]) == ("DESCRIPTION", "EMAIL", "dana")
    carry_out(pull, line, product, "patients")
    carry_out(protect, line, product, "patients")
    residual = {check.name: check for check in carry_out(protect, line, product).checks}["residual"]
    assert residual.detail["findings"] == []
    assert [each["reason"] for each in residual.detail["feedback"]["overridden"]] == [
        "the desk that takes the calls"
    ]


def test_a_snapshot_that_passed_is_scanned_again_when_its_correction_is_gone_or_over(
    line: Line, product: Path
) -> None:
    file = product / "scan_feedback.yaml"
    assert not scan_passes(line, product)
    file.write_text(CORRECTION.format(until=TOMORROW), encoding="utf-8")
    assert scan_passes(line, product)
    file.write_text(CORRECTION.format(until=TOMORROW - timedelta(days=9)), encoding="utf-8")
    assert not scan_passes(line, product)
    file.write_text(CORRECTION.format(until=TOMORROW).replace("EMAIL", "PHONE"), encoding="utf-8")
    assert not scan_passes(line, product)
    carry_out(pull, line, product, "patients")
    carry_out(protect, line, product, "patients")
    with pytest.raises(DataRefusedError):
        carry_out(protect, line, product)


def test_an_allowed_value_of_the_product_is_no_finding_in_its_checks(line: Line, product: Path) -> None:
    (product / "info_types.yaml").write_text("allow:\n  EMAIL: [desk@clinic.example]\n", encoding="utf-8")
    assert scan_passes(line, product)

"""A reader's correction silences one type in one column of one dataset until its day, and nothing else."""

from datetime import date
from pathlib import Path

import pytest

from secure_platform.errors import ContractError
from secure_platform.scan.columns import Finding
from secure_platform.scan.feedback import Corrected, Feedback, apply, read_feedback
from secure_platform.taxonomy.info_types import info_types

TODAY = date(2027, 3, 1)
LINE = """
feedback:
  - dataset: patients
    column: extension
    info_type: PHONE
    reason: numbers of rooms
    by: dana
    until: 2027-06-30
"""


def finding(column: str, info_type: str) -> Finding:
    """A finding that readers may speak of."""
    return Finding(column, info_type, 7, 0.5, 0.8, ("column name",))


FOUND = [finding("extension", "PHONE"), finding("extension", "EMAIL"), finding("mobile", "PHONE")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A feedback file with one line."""
    (tmp_path / "scan_feedback.yaml").write_text(LINE, encoding="utf-8")
    return tmp_path / "scan_feedback.yaml"


def read(path: Path) -> Feedback:
    """The corrections of the file."""
    return read_feedback(path, info_types(), TODAY)


def relabel(path: Path, kind: str) -> None:
    """Say which type the column holds instead."""
    path.write_text(LINE.replace(": PHONE", f": PHONE\n    instead: {kind}"), encoding="utf-8")


def named(corrected: Corrected) -> list[tuple[str, str]]:
    """What stands."""
    return [(each.column, each.info_type) for each in corrected.findings]


def test_a_line_takes_away_its_own_finding_only_and_stays_on_record(path: Path) -> None:
    corrected = apply(FOUND, read(path), "patients", TODAY)
    assert named(corrected) == [("extension", "EMAIL"), ("mobile", "PHONE")]
    (line,) = corrected.record()["overridden"]
    assert (line["by"], line["reason"], line["until"]) == ("dana", "numbers of rooms", "2027-06-30")


def test_a_line_says_nothing_about_another_dataset(path: Path) -> None:
    corrected = apply(FOUND, read(path), "visits", TODAY)
    assert corrected.findings == FOUND
    assert corrected.record() == {"overridden": [], "ended": []}


@pytest.mark.parametrize("column", ["Extension", "extension ", "extension_2", "ext"])
def test_a_line_says_nothing_about_a_column_named_nearly_the_same(path: Path, column: str) -> None:
    assert named(apply([finding(column, "PHONE")], read(path), "patients", TODAY)) == [(column, "PHONE")]


def test_the_last_day_counts_and_the_day_after_the_finding_is_back(path: Path) -> None:
    assert ("extension", "PHONE") not in named(apply(FOUND, read(path), "patients", date(2027, 6, 30)))
    late = apply(FOUND, read(path), "patients", date(2027, 7, 1))
    assert late.findings == FOUND
    assert [line["column"] for line in late.record()["ended"]] == ["extension"]


def test_the_right_type_is_reported_in_place_of_the_wrong_one(path: Path) -> None:
    relabel(path, "EMAIL")
    corrected = apply(FOUND, read(path), "patients", TODAY)
    assert named(corrected) == [("extension", "EMAIL"), ("mobile", "PHONE")]
    relabel(path, "MRN")
    assert ("extension", "MRN") in named(apply(FOUND, read(path), "patients", TODAY))


def test_the_digest_changes_with_a_line_of_the_dataset_and_with_its_end(path: Path) -> None:
    feedback = read(path)
    digests = [feedback.digest("patients", day) for day in (TODAY, date(2027, 6, 30), date(2027, 7, 1))]
    assert digests[0] == digests[1] != digests[2]
    assert feedback.digest("visits", TODAY) == Feedback().digest("patients", TODAY) == digests[2]


def test_without_a_file_nothing_is_corrected(tmp_path: Path) -> None:
    assert read(tmp_path / "scan_feedback.yaml") == Feedback()


@pytest.mark.parametrize(
    ("was", "written"),
    [
        ("feedback:", "corrections:"),
        ("    by: dana\n", ""),
        ("    reason: numbers of rooms\n", ""),
        ("reason: numbers of rooms", "reason: ' '"),
        ("    until: 2027-06-30\n", ""),
        ("2027-06-30", "2028-03-03"),
        ("2027-06-30", "2027-06-30T00:00:00"),
        ("2027-06-30", "'2027-06-30'"),
        ("2027-06-30", "never"),
        ("info_type: PHONE", "info_type: FON"),
        ("info_type: PHONE", "info_type: '*'"),
        ("info_type: PHONE", "info_type: [PHONE, EMAIL]"),
        ("column: extension", "columns: [extension]"),
        ("info_type: PHONE", "info_type: PHONE\n    instead: PHONE"),
        ("info_type: PHONE", "info_type: PHONE\n    zone: raw"),
        ("  - dataset: patients", "  dataset: patients"),
    ],
)
def test_what_is_not_understood_is_refused(path: Path, was: str, written: str) -> None:
    assert was in LINE
    path.write_text(LINE.replace(was, written), encoding="utf-8")
    with pytest.raises(ContractError):
        read(path)


def test_two_lines_about_one_finding_are_refused(path: Path) -> None:
    path.write_text(LINE + LINE.removeprefix("\nfeedback:"), encoding="utf-8")
    with pytest.raises(ContractError):
        read(path)

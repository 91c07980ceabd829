"""A product widens what is found and names what is allowed, and is refused whole if not understood."""

from pathlib import Path

import polars as pl
import pytest

from secure_platform.errors import ContractError, SecurePlatformError, UsageError
from secure_platform.scan.columns import Scanner
from secure_platform.taxonomy.custom import info_types_of
from secure_platform.taxonomy.info_types import info_types

OWN = """
types:
  STAFF_NUMBER:
    title: Number on a staff badge
    family: record
    headers: [badge]
    value_patterns: ['^ST-[0-9]{6}$']
  WARD:
    title: Ward of the hospital
    family: health
    words: [North Wing, St. Anna]
extend:
  PERSON_NAME: {headers: [pflegekraft]}
allow:
  EMAIL: [desk@clinic.example, '^[a-z]+@test[.]example$']
"""


def found(folder: Path, columns: dict[str, list[str]]) -> set[tuple[str, str]]:
    """Columns and types that the product's own scanner finds."""
    return {(f.column, f.info_type) for f in Scanner(info_types_of(folder)).scan(pl.LazyFrame(columns))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A product's folder with info types of its own."""
    (tmp_path / "info_types.yaml").write_text(OWN, encoding="utf-8")
    return tmp_path


def test_without_a_file_the_types_are_the_platforms(tmp_path: Path) -> None:
    assert info_types_of(tmp_path) is info_types()


def test_a_type_of_its_own_is_found_by_value_by_word_and_by_name(folder: Path) -> None:
    columns = {
        "a": ["ST-123456", "ST-654321"],
        "b": ["north wing", "ST. ANNA"],
        "pflegekraft": ["Ann Lee", "Bo Diaz"],
        "c": ["north winger", "st. annabel"],
    }
    assert found(folder, columns) == {("a", "STAFF_NUMBER"), ("b", "WARD"), ("pflegekraft", "PERSON_NAME")}


def test_an_allowed_value_is_no_evidence_and_hides_no_other(folder: Path) -> None:
    columns = {
        "a": ["desk@clinic.example", "ask desk@clinic.example or ann@test.example"],
        "b": ["desk@clinic.example", "ann@clinic.example"],
        "c": ["desk@clinic.example and ann@other.example", ""],
        "email": ["desk@clinic.example", "bob@test.example"],
        "d": ["xdesk@clinic.example", "desk@clinic.example.org"],
    }
    assert found(folder, columns) == {("b", "EMAIL"), ("c", "EMAIL"), ("d", "EMAIL")}


@pytest.mark.parametrize(
    ("was", "written"),
    [
        ("allow:", "permit:"),
        ("headers: [badge]", "header: [badge]"),
        ("  PERSON_NAME: {headers", "  PERSONS_NAME: {headers"),
        ("{headers: [pflegekraft]}", "{header_vetoes: [name]}"),
        ("family: record", "family: mine"),
        ("ST-[0-9]{6}$", "(?=ST)ST$"),
        ("STAFF_NUMBER:", "US_SSN:"),
        ("desk@clinic.example, ", "'^.+$', "),
        ("desk@clinic.example, ", "'^[^ ]*$', "),
        ("desk@clinic.example, ", "'^[a-z.]+@[a-z.]+$', "),
        ("St. Anna]", "' ']"),
        ("North Wing", ""),
        ("EMAIL: [", "MAIL: ["),
    ],
)
def test_what_is_not_understood_or_would_switch_a_type_off_is_refused(
    folder: Path, was: str, written: str
) -> None:
    text = (folder / "info_types.yaml").read_text(encoding="utf-8")
    assert was in text
    (folder / "info_types.yaml").write_text(text.replace(was, written), encoding="utf-8")
    with pytest.raises(ContractError):
        info_types_of(folder)


@pytest.mark.parametrize(
    ("was", "written", "error"),
    [
        ("North Wing", ", ".join(f"Ward {place * 7919 % 100003}" for place in range(50_000)), ContractError),
        ("ST-[0-9]{6}$", "(?x)ST - [0-9]{6}$", UsageError),
    ],
    ids=["words", "flag"],
)
def test_what_would_end_a_scan_in_the_middle_is_refused_before(
    folder: Path, was: str, written: str, error: type[SecurePlatformError]
) -> None:
    (folder / "info_types.yaml").write_text(OWN.replace(was, written), encoding="utf-8")
    types = info_types_of(folder)
    with pytest.raises(error, match=r"own info types|STAFF_NUMBER"):
        Scanner(types)

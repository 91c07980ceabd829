"""Free text in the columns of a table."""

import polars as pl
import pytest

from secure_platform.scan.columns import Scanner
from secure_platform.scan.secrets.columns import ESTIMATED
from secure_platform.scan.text.columns import INSIDE, in_prose
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.taxonomy.info_types import info_types

NAMES = {kind: info_types()[kind] for kind in ("PERSON_NAME", "STREET_ADDRESS")}
NOTE = "please call Mrs. {name} back, she moved to {house} Clarke Avenue last week"
PEOPLE = ["Ada Lovelace", "Grace Hopper", "Mary Shelley", "Anna Seghers"]


def notes(rows: int) -> pl.LazyFrame:
    return pl.LazyFrame(
        {"value": [NOTE.format(name=PEOPLE[row % len(PEOPLE)], house=row) for row in range(rows)]}
    )


def test_names_and_streets_inside_a_note_are_findings_of_its_column() -> None:
    frame = notes(50).rename({"value": "note"})
    found = {finding.info_type: finding for finding in Scanner(info_types()).scan(frame)}
    assert {"PERSON_NAME", "STREET_ADDRESS"} <= found.keys()
    assert found["PERSON_NAME"].count == found["STREET_ADDRESS"].count == 50
    assert INSIDE in found["PERSON_NAME"].reasons
    assert not any("Ada" in reason for each in found.values() for reason in each.reasons)


def test_titles_are_no_prose_and_names_in_them_are_nobodys() -> None:
    titles = ["The Best of Ella Fitzgerald", "Mr. Tambourine Man", "Peter and the Wolf, Op. 67"] * 20
    found = Scanner(info_types()).scan(pl.LazyFrame({"title": titles}))
    assert "PERSON_NAME" not in {finding.info_type for finding in found}


def test_what_a_single_cell_of_many_says_is_too_little() -> None:
    texts = ["nothing was said about anybody and the order left in time"] * 500
    one = NOTE.format(name="Ada Lovelace", house=7)
    assert TextScanner(NAMES).spans(one)
    frame = pl.LazyFrame({"value": [*(f"{text} {row}" for row, text in enumerate(texts)), one]})
    assert in_prose(TextScanner(NAMES), frame, 501) == []


@pytest.mark.parametrize("rows", [8000])
def test_a_large_column_is_sampled_the_same_way_every_time(rows: int) -> None:
    scanner = TextScanner(NAMES)
    first, again = (in_prose(scanner, notes(rows), rows) for _ in range(2))
    assert first == again
    (person,) = (each for each in first if each.info_type == "PERSON_NAME")
    assert person.count == rows
    assert ESTIMATED in person.reasons

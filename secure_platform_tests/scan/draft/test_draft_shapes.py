"""Types are those of every cell, and what nobody calculates with stays text."""

import csv
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import pytest
from draft_support import column_of, drafts, files, loaded

from secure_platform.contract.model import Protect
from secure_platform.scan.draft.columns import ColumnDraft

MANY = [str(number) for number in range(1000)]


TYPES = {
    "integers": ("integer", ["1", "-2", "30"]),
    "numbers": ("number", ["1", "2.5", "1e3"]),
    "booleans": ("boolean", ["true", "false", ""]),
    "dates": ("date", ["2020-02-29", "1999-12-31"]),
    "timestamps": ("timestamp", ["2020-02-29T00:00:00Z", "2020-02-29T00:00:00.5Z"]),
    "mixed": ("string", ["1", "2", "2020-01-01"]),
    "leading zeros": ("string", ["01234", "98765"]),
    "decimal commas": ("string", ["1,5", "2,25"]),
    "thousands": ("string", ["1,000", "12,000"]),
    "yes and no": ("string", ["yes", "no"]),
    "python booleans": ("string", ["True", "False"]),
    "too many digits": ("string", ["9" * 19, "1" * 20]),
    "too many decimals": ("string", ["12345678901234567890.1234567891", "1.5"]),
    "as many as a float has": ("number", ["-0.30000000000000004", "1.7976931348623157e308", "100.00"]),
    "largest integer": ("integer", ["9223372036854775807", "-1"]),
    "infinite": ("string", ["1e400", "1.5"]),
    "not a number": ("string", ["NaN", "1.5", "2.5"]),
    "no such time": ("string", ["2020-02-30", "2020-02-28"]),
    "late text": ("string", [*MANY, "n/a"]),
    "late number": ("number", [*MANY, "1.5"]),
    "empty": ("string", ["", ""]),
    "unicode": ("string", ["É", "\U0001f600", "a\nb"]),
}
SPELLINGS = {
    "US": ("M/d/yyyy", ["3/18/1971", "12/1/2001"]),
    "British": ("d/M/yyyy", ["18/3/1971", "1/12/2001"]),
    "either": ("M/d/yyyy", ["3/8/1971", "4/5/2001"]),
    "German": ("dd.MM.yyyy", ["08.03.1971", "31.12.2001"]),
    "database": ("yyyy-MM-dd HH:mm:ss", ["2019-01-01 23:46:40"]),
    "spreadsheet": ("M/d/yyyy H:mm", ["12/13/2010 8:26", "1/2/2010 18:00"]),
    "offset": ("yyyy-MM-dd'T'HH:mm:ssxxx", ["2019-01-01T23:46:40+00:00"]),
    "both": (None, ["3/18/1971", "18/3/1971"]),
}


def columns_of(folder: Path, cells: Mapping[str, Sequence[str]]) -> Mapping[str, ColumnDraft]:
    """One table with a column for each case."""
    file = folder / "table.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([cells.keys(), *zip_longest(*cells.values(), fillvalue="")])
    return {column.name: column for column in drafts([file])["table"].columns}


def test_the_type_is_that_of_every_cell(tmp_path: Path) -> None:
    found = columns_of(tmp_path, {name: values for name, (_, values) in TYPES.items()})
    assert {name: found[name].logical_type for name in TYPES} == {
        name: kind for name, (kind, _) in TYPES.items()
    }


def test_dates_have_the_one_format_that_all_of_them_have(tmp_path: Path) -> None:
    found = columns_of(tmp_path, {name: values for name, (_, values) in SPELLINGS.items()})
    assert {name: found[name].format for name in SPELLINGS} == {
        name: form for name, (form, _) in SPELLINGS.items()
    }
    doubted = [
        name for name, column in found.items() if any("could also be d/M" in said for said in column.doubts)
    ]
    assert doubted == ["either"]


def test_eight_digits_are_a_date_only_where_the_name_says_so(tmp_path: Path) -> None:
    values = ["19710308", "20011231"]
    assert column_of(tmp_path, *values, name="order_date").format == "yyyyMMdd"
    assert column_of(tmp_path, *values, name="order_no").logical_type == "integer"


def test_what_is_not_a_number_late_is_counted_and_not_shown(tmp_path: Path) -> None:
    column = column_of(tmp_path, *MANY, "zq-canary")
    assert [doubt for doubt in column.doubts if "1 cell is no integers" in doubt]
    assert "canary" not in repr(column)


def test_a_postal_code_without_a_leading_zero_is_text_all_the_same(tmp_path: Path) -> None:
    column = column_of(tmp_path, *[f"9{number:04}" for number in range(1, 60)], name="zip_code")
    assert (column.info_type, column.logical_type) == ("US_ZIP", "string")


@pytest.mark.parametrize("rows", ["", "1,a\n"], ids=["no rows", "one row"])
def test_a_table_of_hardly_anything_is_drafted_and_says_so(rows: str, tmp_path: Path) -> None:
    (draft,) = drafts(files(tmp_path, {"t.csv": f"a,b\n{rows}"})).values()
    contract = loaded(draft)
    assert any("rest on little" in doubt for doubt in draft.doubts)
    assert contract.minimum_rows == (1 if rows else 0)
    assert contract.primary_key == ()


def test_a_byte_order_mark_and_other_separators_are_read(tmp_path: Path) -> None:
    rows = [f"{number}{{0}}name {number}" for number in range(30)]
    texts = {
        f"t{place}{suffix}": "\ufeff" + "\n".join(["id{0}label", *rows]).format(separator)
        for place, (suffix, separator) in enumerate([(".csv", ","), (".csv", ";"), (".tsv", "\t")])
    }
    lines = "".join(f'{{"id": {number}, "label": "name {number}", "on": true}}\n' for number in range(30))
    found = drafts(files(tmp_path, {**texts, "t3.ndjson": lines}))
    kinds = {name: [column.logical_type for column in draft.columns[:2]] for name, draft in found.items()}
    assert [*kinds.values()] == [["integer", "string"]] * 4
    assert [any("convert" in doubt for doubt in draft.doubts) for draft in found.values()] == [
        *(False, True, True, True)
    ]


def test_what_may_not_be_stored_is_dropped_and_not_required(tmp_path: Path) -> None:
    """The values are left out when the source is read: a filled one would be missed in every row."""
    rows = "".join(f"{n},{n * 37 % 900 + 100}\n" for n in range(60))
    cvv = drafts(files(tmp_path, {"cards.csv": f"id,cvv\n{rows}"}), "pci")["cards"].column("cvv")
    assert cvv.info_type == "CARD_SECURITY_CODE"
    assert not cvv.required
    assert cvv.protect == Protect("drop")

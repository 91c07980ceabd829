"""Types are those of every cell, and what nobody calculates with stays text."""

from pathlib import Path

import pytest
from draft_support import column_of, drafts, files, loaded

MANY = [str(number) for number in range(1000)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "30"], "integer"),
        (["1", "2.5", "1e3"], "number"),
        (["true", "false", ""], "boolean"),
        (["2020-02-29", "1999-12-31"], "date"),
        (["2020-02-29T00:00:00Z", "2020-02-29T00:00:00.5Z"], "timestamp"),
        (["1", "2", "2020-01-01"], "string"),
        (["01234", "98765"], "string"),
        (["1,5", "2,25"], "string"),
        (["1,000", "12,000"], "string"),
        (["yes", "no"], "string"),
        (["True", "False"], "string"),
        (["9" * 19, "1" * 20], "string"),
        (["9223372036854775807", "-1"], "integer"),
        (["1e400", "1.5"], "string"),
        (["NaN", "1.5", "2.5"], "string"),
        (["2020-02-30", "2020-02-28"], "string"),
        ([*MANY, "n/a"], "string"),
        ([*MANY, "1.5"], "number"),
        (["", ""], "string"),
        (["É", "\U0001f600", "a\nb"], "string"),
    ],
    ids=[
        *(
            "integers",
            "numbers",
            "booleans",
            "dates",
            "timestamps",
            "mixed",
            "leading zeros",
            "decimal commas",
        ),
        *("thousands", "yes and no", "python booleans", "too many digits", "largest integer", "infinite"),
        *("not a number", "no such day", "late text", "late number", "empty", "unicode"),
    ],
)
def test_the_type_is_that_of_every_cell(values: list[str], kind: str, tmp_path: Path) -> None:
    assert column_of(tmp_path, *values).logical_type == kind


@pytest.mark.parametrize(
    ("values", "form", "doubt"),
    [
        (["3/18/1971", "12/1/2001"], "M/d/yyyy", ""),
        (["18/3/1971", "1/12/2001"], "d/M/yyyy", ""),
        (["3/8/1971", "4/5/2001"], "M/d/yyyy", "could also be d/M/yyyy"),
        (["08.03.1971", "31.12.2001"], "dd.MM.yyyy", ""),
        (["2019-01-01 23:46:40"], "yyyy-MM-dd HH:mm:ss", ""),
        (["12/13/2010 8:26", "1/2/2010 18:00"], "M/d/yyyy H:mm", ""),
        (["2019-01-01T23:46:40+00:00"], "yyyy-MM-dd'T'HH:mm:ssxxx", ""),
        (["3/18/1971", "18/3/1971"], None, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_dates_have_the_one_format_that_all_of_them_have(
    values: list[str], form: str | None, doubt: str, tmp_path: Path
) -> None:
    column = column_of(tmp_path, *values)
    assert column.format == form
    assert (
        any(doubt in said for said in column.doubts) if doubt else not any("also" in s for s in column.doubts)
    )


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

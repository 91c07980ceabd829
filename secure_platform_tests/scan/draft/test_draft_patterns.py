"""A rule is drafted only where the rows bear it out: never from names, rare forms, or one half of a file."""

import re
from pathlib import Path

import polars as pl
import pytest
from draft_support import column_of, drafts, files, loaded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_platform.contract.rules import whole
from secure_platform.scan.draft.document import contract_text
from secure_platform.scan.draft.patterns import DISTINCT, FILLED

PHONES = [f"{2052530000 + 7919 * n}" for n in range(60)]


def pattern_of(folder: Path, values: list[str], name: str = "x") -> str | None:
    return column_of(folder, *values, name=name).pattern


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ([f"A-{n:05}" for n in range(120)], r"^A-[0-9]{5}$"),
        ([f"{'abc'[n % 3]}{n}.{n % 7}x" for n in range(120)], r"^[a-z]{1}[0-9]+\.[0-9]{1}x$"),
        ([f"{n % 100} %" if n % 9 else "none" for n in range(240)], r"^(?:[0-9]+ %|none)$"),
        ([f"{n:03}+{n * 7 % 13}" for n in range(120)], r"^[0-9]{3}\+[0-9]+$"),
    ],
)
def test_values_that_are_built_alike_have_a_pattern(values: list[str], pattern: str, tmp_path: Path) -> None:
    assert pattern_of(tmp_path, values) == pattern
    assert all(re.fullmatch(pattern, value) for value in values)


@pytest.mark.parametrize(
    "values",
    [
        [f"Anna{'bcdefghij'[n % 9]}{'klmnopqrst'[n % 10]}" for n in range(120)],
        [f"St. Peter {n}" if n % 2 else f"O'Neil {n}" for n in range(120)],
        [f"A-{n:05}" for n in range(FILLED - 1)],
        [f"A-{n % (DISTINCT - 1):05}" for n in range(300)],
        [f"A-{n:05}" for n in range(119)] + ["POST"],
        [f"A-{n:05}" if n < 60 else f"{n}" for n in range(120)],
        [f"{n} kg" if n < 110 else "none" for n in range(120)],
        [f"A-{n:05}" if n % 2 else f"B{n:05}" for n in range(240)],
        [f"Straße {n}" for n in range(120)],
        [f"A-{n:0100}" for n in range(120)],
    ],
    ids=["names", "prose", "few", "again", "rare", "halves", "late word", "two forms", "letters", "long"],
)
def test_values_of_no_common_structure_have_no_pattern(values: list[str], tmp_path: Path) -> None:
    assert pattern_of(tmp_path, values) is None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.from_regex(r"[A-Z]{2}-[0-9]{3,5}[-/][a-z]x?", fullmatch=True), min_size=120, max_size=140
    )
)
def test_a_pattern_accepts_all_that_it_was_drafted_from_and_the_loader_takes_it(
    values: list[str], tmp_path: Path
) -> None:
    rows = "".join(f"{value},k\n" for value in values)
    (draft,) = drafts(files(tmp_path / str(len(values)), {"t.csv": f"x,beside\n{rows}"})).values()
    pattern = loaded(draft).column("x").pattern
    if pattern is not None:
        assert pl.Series(values).str.contains(whole(pattern)).all()


def test_a_pattern_tells_nothing_of_a_confidential_column_but_how_it_is_built(tmp_path: Path) -> None:
    people = "".join(f"{n},ZQ{n:04}@canary.zq,219-09-{n:04},zq-{n:05},zq-{n:04}\n" for n in range(120))
    (draft,) = drafts(files(tmp_path, {"t.csv": f"id,email,ssn,password,employee_id\n{people}"})).values()
    badge = draft.column("employee_id")
    assert (badge.is_open, badge.pattern) == (False, "^[a-z]{2}-[0-9]{4}$")
    assert (draft.column("ssn").pattern, draft.column("password").pattern) == (None, None)
    assert "zq" not in contract_text(draft, "team").lower()


def test_lists_and_limits_hold_in_both_halves_of_the_rows(tmp_path: Path) -> None:
    def draft_of(kinds: list[str], numbers: list[int]) -> tuple[object, object, object]:
        rows = "".join(f"{kind},{number},k\n" for kind, number in zip(kinds, numbers, strict=True))
        (draft,) = drafts(files(tmp_path, {"t.csv": f"kind,pieces,beside\n{rows}"})).values()
        pieces = draft.column("pieces")
        return draft.column("kind").enum, pieces.minimum, pieces.maximum

    numbers = [1 + n % 40 for n in range(60)]
    assert draft_of(["a", "b"] * 30, numbers) == (("a", "b"), 0, 1_000)
    assert draft_of(["a"] * 60, numbers) == (None, 0, 1_000)
    assert draft_of(["a"] * 30 + ["b"] * 30, numbers) == (None, 0, 1_000)
    late = [*numbers[:-1], -500]
    assert draft_of(["a", "b"] * 30, late) == (("a", "b"), None, 1_000)
    assert draft_of(["a", "b"] * 30, [*numbers[:-1], 9_000]) == (("a", "b"), 0, None)

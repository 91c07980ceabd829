"""Old and new tokens stand for the same values, or the rows are refused; no value is told."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_platform.errors import DataRefusedError
from secure_platform.protect.again import Moved, require_one_to_one

TOKENS = Moved("Id", "patient", "tokenize", old=1, new=2)
DATES = Moved("START", "patient", "shift_date", old=1, new=2)
OLD = {
    "Id": ["t1_a", "t1_b", "t1_a", None],
    "START": ["2020-01-01", "2020-01-02", None, "2020-01-03"],
    "GENDER": ["F", "M", None, "F"],
}
NEW = {**OLD, "Id": ["t2_x", "t2_y", "t2_x", None], "START": ["2020-02-01", "2020-02-01", None, "2020-02-04"]}


def compared(new: dict[str, list[str | None]]) -> dict[str, int]:
    old, now = pl.LazyFrame(OLD), pl.LazyFrame(new)
    return dict(require_one_to_one("patients", old, now, [TOKENS, DATES], ["GENDER"]))


def test_the_same_values_are_seen_as_the_same() -> None:
    assert compared(NEW) == {"Id": 3}


BROKEN: dict[str, tuple[dict[str, list[str | None]], str]] = {
    "two tokens became one": ({"Id": ["t2_x", "t2_x", "t2_x", None]}, "what they join: Id"),
    "one token became two": ({"Id": ["t2_x", "t2_y", "t2_z", None]}, "what they join: Id"),
    "tokens changed places": ({"Id": ["t2_x", "t2_x", "t2_y", None]}, "what they join: Id"),
    "a token is gone": ({"Id": ["t2_x", "t2_y", "t2_x", "t2_z"]}, "what they join: Id"),
    "a token is as before": ({"Id": ["t1_a", "t2_y", "t1_a", None]}, "what they join: Id"),
    "a date is gone": ({"START": ["2020-02-01", None, None, "2020-02-04"]}, "what they join: START"),
    "another column differs": ({"GENDER": ["F", "M", "F", "F"]}, "differs in GENDER"),
    "a row is missing": ({name: values[:-1] for name, values in NEW.items()}, "has 3 rows"),
}


@pytest.mark.parametrize(("change", "said"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_the_same_is_refused_without_a_value(
    change: dict[str, list[str | None]], said: str
) -> None:
    with pytest.raises(DataRefusedError, match=said) as refused:
        compared({**NEW, **change})
    told = f"{refused.value.culprit} {refused.value.fix}"
    assert [value for value in ("t1_", "t2_", "2020") if value in told] == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=12), st.permutations(range(6)))
def test_every_renaming_is_accepted_and_every_other_change_is_not(
    values: list[int | None], names: list[int]
) -> None:
    old = pl.LazyFrame({"Id": [None if v is None else f"t1_{v}" for v in values]}, schema={"Id": pl.String})
    renamed = [None if v is None else f"t2_{names[v]}" for v in values]
    new = pl.LazyFrame({"Id": renamed}, schema={"Id": pl.String})
    distinct = len(set(values))
    assert require_one_to_one("d", old, new, [TOKENS], []) == {"Id": distinct}
    spoilt = new.with_columns(pl.lit("t2_9").alias("Id"))
    if distinct > 1 or None in values:
        with pytest.raises(DataRefusedError):
            require_one_to_one("d", old, spoilt, [TOKENS], [])

"""The search finds the best of all combinations of levels, and what it says is what the platform measures."""

import gzip
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_platform.errors import PlanRefusedError
from secure_platform.protect.anonymity import measured
from secure_platform.protect.levels import Lattice, Wanted

QUASI = ("sex", "age", "race", "marital-status", "education", "native-country", "workclass")
ROWS = st.lists(
    st.tuples(
        *[st.sampled_from([None, "a", "b", "c", "d"])] * 2, st.sampled_from("xy"), st.sampled_from("pqr")
    ),
    min_size=1,
    max_size=30,
)
HIGHER: Sequence[Mapping[str, str]] = [
    {"a": "ab", "b": "ab", "c": "cd", "d": "cd"},
    dict.fromkeys("abcd", "*"),
]


def raised(values: pl.Series, higher: Sequence[Mapping[str, str]]) -> list[pl.Series]:
    return [
        values,
        *(values.replace_strict(dict(level), default=None, return_dtype=pl.String) for level in higher),
    ]


def by_measuring(
    raw: pl.DataFrame, columns: Mapping[str, Sequence[pl.Series]], node: Sequence[int], wanted: Wanted
) -> tuple[int, float] | None:
    """What a node reaches, by the classes and the measure that a release is judged by."""
    names = list(columns)
    chosen = [columns[name][level].alias(name) for name, level in zip(names, node, strict=True)]
    protected = raw.with_columns(chosen)
    classes = protected.group_by(names).agg(
        pl.len().alias("k"), pl.col("l").drop_nulls().n_unique().alias("n")
    )
    large = classes.filter(pl.col("k") >= wanted.k, pl.col("n") >= wanted.l).select(names)
    kept = protected.join(large, on=names, how="semi", nulls_equal=True)
    if raw.height - kept.height > wanted.at_most * raw.height:
        return None
    found = measured(raw.lazy(), protected.lazy(), kept.lazy(), names, ["l"])
    return found.suppressed, found.information_lost


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(1, 4), st.integers(1, 2), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_it_is_the_best_of_all_and_loses_what_is_measured(
    rows: list[tuple[str | None, ...]],
    k: int,
    least: int,
    at_most: float,
) -> None:
    raw = pl.DataFrame(rows, schema=dict.fromkeys(["one", "two", "fixed", "l"], pl.String), orient="row")
    columns = {
        "one": raised(raw["one"], HIGHER),
        "two": raised(raw["two"], HIGHER),
        "fixed": [raw["fixed"]],
    }
    wanted = Wanted(k, least, at_most)
    search = Lattice(columns, wanted, [raw["l"]]).best()
    known: dict[tuple[int, ...], tuple[int, float]] = {
        node: reached
        for node in product(range(3), range(3), [0])
        if (reached := by_measuring(raw, columns, node, wanted))
    }
    assert (search.found is None) is (not known)
    if search.found is None:
        return
    assert search.found.information_lost == pytest.approx(min(lost for _, lost in known.values()), abs=1e-9)
    suppressed, lost = known[tuple(search.found.levels.values())]
    assert suppressed == search.found.suppressed
    assert lost == pytest.approx(search.found.information_lost, abs=1e-9)


def test_k_is_of_subjects_where_a_row_is_not_one() -> None:
    values, person = pl.Series(["a", "a", "b", "b"]), pl.Series(["1", "1", "2", "3"])
    columns = {"one": raised(values, HIGHER)}
    of_rows = Lattice(columns, Wanted(2, 1, 0.0)).best().found
    of_people = Lattice(columns, Wanted(2, 1, 0.0), subject=person).best().found
    assert of_rows is not None
    assert of_people is not None
    assert (of_rows.levels, of_people.levels) == ({"one": 0}, {"one": 1})


def test_too_many_combinations_are_refused_and_many_values_are_not_mixed_up() -> None:
    values = pl.Series([str(n) for n in range(50)])
    with pytest.raises(PlanRefusedError, match="combinations"):
        Lattice({str(n): [values] * 10 for n in range(7)}, Wanted(2, 1, 0))
    wide = {str(n): [values, values.str.head(0)] for n in range(14)}
    found = Lattice(wide, Wanted(2, 1, 0.0)).best().found
    assert found is not None
    assert set(found.levels.values()) == {1}


def adults(folder: Path) -> tuple[pl.DataFrame, dict[str, list[pl.Series]]]:
    frame = pl.read_csv(
        gzip.decompress((folder / "adult.csv.gz").read_bytes()), separator=";", infer_schema=False
    )
    columns = {}
    for name in QUASI:
        lines = (folder / f"adult_hierarchy_{name}.csv").read_text("utf-8").splitlines()
        rows = [line.split(";") for line in lines if line]
        levels = [{row[0]: row[level] for row in rows} for level in range(1, len(rows[0]))]
        columns[name] = raised(frame[name], levels)
    return frame, columns


def test_the_adults_of_arx_lose_less_than_by_hand(shared_data: Path) -> None:
    """Beside `test_protect_anonymity`, where a person chose the levels: 0.4456 with 8.5 % left behind."""
    frame, columns = adults(shared_data / "census" / "arx_adult")
    wanted = Wanted(5, 3, 0.1)
    lattice = Lattice(columns, wanted, [frame["occupation"]])
    by_hand = lattice.at((0, 1, 0, 0, 1, 2, 1))
    assert by_hand is not None
    assert by_hand.information_lost == pytest.approx(0.4456, abs=0.001)
    search = lattice.best()
    assert search.nodes == 2160
    assert search.looked_at < search.nodes / 2
    assert search.found is not None
    assert search.found.levels == dict(zip(QUASI, (0, 0, 1, 0, 1, 2, 2), strict=True))
    assert search.found.suppressed == 2495
    assert search.found.information_lost == pytest.approx(0.3741, abs=0.0005)
    raw = frame.rename({"occupation": "l"})
    reached = by_measuring(raw, columns, list(search.found.levels.values()), wanted)
    assert reached is not None
    assert reached == pytest.approx((2495, search.found.information_lost), abs=1e-9)

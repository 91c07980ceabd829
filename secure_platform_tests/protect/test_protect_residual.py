"""No original value remains: whole cells of the output are compared with whole cells of the input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import (
    AS_OF,
    KEYS,
    clinic_plan,
    column,
    dataset_plan,
    people,
    typed,
    visits,
)

from secure_platform.contract.model import Column
from secure_platform.contract.product import load_product
from secure_platform.errors import PlanRefusedError
from secure_platform.protect import profile as profile_module
from secure_platform.protect.execute import apply, residual_values, split_orphans
from secure_platform.protect.plan import DatasetPlan, compile_plan

HEALTHCARE = Path(profile_module.__file__).parents[1] / "defs" / "healthcare"
KEY = bytes(range(32))
FREE = "gdpr_pseudonymous"


def residue(
    columns: tuple[Column, ...], values: dict[str, list[Any]], output: pl.LazyFrame, **more: Any
) -> Any:
    plan = dataset_plan(*columns, **more)
    return residual_values(typed(columns, values), output, plan, KEY)


def unprotected(plan: DatasetPlan, *names: str) -> DatasetPlan:
    """The plan with the transform of some columns replaced by keep."""
    return replace(
        plan,
        columns=tuple(
            replace(c, transform="keep", params={}, output_type=c.input_type) if c.column in names else c
            for c in plan.columns
        ),
    )


def test_what_the_plan_does_leaves_nothing() -> None:
    plan, ids = clinic_plan(), [f"person-{i}" for i in range(50)]
    for name, frame in [("people", people(ids)), ("visits", visits([*ids, None]))]:
        assert residual_values(frame, apply(plan.datasets[name], frame, KEYS), plan.datasets[name], KEY) == []


@pytest.mark.parametrize("name", ["Id", "SSN", "CITY"])
def test_a_disabled_transform_is_found(name: str) -> None:
    plan = clinic_plan().datasets["people"]
    frame = people([f"person-{i}" for i in range(50)])
    leaking = apply(unprotected(plan, name), frame, KEYS)
    assert residual_values(frame, leaking, plan, KEY) == [(name, 50)]


def test_every_transform_of_the_healthcare_product_is_found_when_disabled(shared_data: Path) -> None:
    """On the third-party records, every text column with long enough values."""
    plan = compile_plan(load_product(HEALTHCARE), 1, AS_OF)
    for name, dataset in plan.datasets.items():
        text = synthea(shared_data, name)
        for c in dataset.columns:
            longest = text.select(pl.col(c.column).str.len_chars().max()).collect().item() or 0
            if c.transform == "keep" or longest < 6:
                continue
            as_text = replace(c, input_type="String")
            leaking = text.select(pl.col(c.column))
            found = residual_values(text, leaking, DatasetPlan(name, (as_text,)), KEY)
            assert [column for column, _ in found] == [c.column], (name, c.column)


def test_third_party_records_leave_nothing_and_keep_their_references(shared_data: Path) -> None:
    plan = compile_plan(load_product(HEALTHCARE), 1, AS_OF)
    product = load_product(HEALTHCARE)
    protected: dict[str, pl.LazyFrame] = {}
    for name, dataset in plan.datasets.items():
        text = synthea(shared_data, name)
        frame = text.select(_cast(c) for c in product.contracts[name].columns)
        result = apply(dataset, frame, KEYS).collect(engine="streaming")
        assert result.height == text.select(pl.len()).collect().item()
        protected[name] = result.lazy()
        assert residual_values(text, protected[name], dataset, KEY) == []
        assert split_orphans(dataset, protected[name], protected)[1].collect().height == 0
    keys = protected["patients"].collect()["Id"]
    assert keys.n_unique() == keys.len()


def _cast(c: Column) -> pl.Expr:
    text = pl.col(c.name)
    if c.logical_type == "date":
        return text.str.to_date("%Y-%m-%d")
    if c.logical_type == "timestamp":
        return text.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    return text.cast(c.dtype)


def synthea(shared_data: Path, name: str) -> pl.LazyFrame:
    return pl.read_csv(shared_data / "healthcare" / "synthea_csv" / f"{name}.csv", infer_schema=False).lazy()


def test_values_in_kept_and_unknown_columns_count_if_they_identify() -> None:
    columns = (
        column("SSN", level="restricted", info_type="US_SSN"),
        column("CITY", level="restricted", info_type="CITY"),
        column("NOTE", level="restricted"),
        column("MEMBER", unique=True),
        column("NUMBER", "integer", info_type="RECORD_ID"),
        column("CARD", "integer", level="restricted", info_type="CREDIT_CARD"),
        column("KEPT"),
    )
    values: dict[str, list[Any]] = {
        "SSN": ["999-17-5017"],
        "CITY": ["New York"],
        "NOTE": ["Hypertension"],
        "MEMBER": ["ab-12345"],
        "NUMBER": [185345009],
        "CARD": [4111111111111111],
        "KEPT": ["kept value"],
    }
    cells = [
        "999-17-5017",
        "New York",
        "Hypertension",
        "ab-12345",
        "185345009",
        "4111111111111111",
        "kept value",
    ]
    for name in ("KEPT", "column_of_a_mart"):
        output = pl.LazyFrame({name: cells})
        assert residue(columns, values, output) == [(name, 3)], "ssn, member and card"
    assert residue(columns, values, pl.LazyFrame({"NUMBER": cells})) == [("NUMBER", 6)]


def test_a_value_that_is_an_identifier_somewhere_counts_even_if_it_is_a_word_elsewhere() -> None:
    columns = (
        column("EMAIL", info_type="EMAIL"),
        column("NAME", level="restricted", info_type="PERSON_NAME"),
        column("KEPT"),
    )
    values: dict[str, list[Any]] = {"EMAIL": ["someone"], "NAME": ["someone"], "KEPT": [None]}
    assert residue(columns, values, pl.LazyFrame({"KEPT": ["someone"]})) == [("KEPT", 1)]


def test_short_values_and_parts_of_cells_do_not_count() -> None:
    columns = (column("A", level="restricted", info_type="US_SSN"), column("B"))
    values: dict[str, list[Any]] = {"A": ["12345", "123-45-6789"], "B": ["", ""]}
    output = pl.LazyFrame({"A": ["12345", "x123-45-6789", None, "123-45-678"]})
    assert residue(columns, values, output) == []


def test_typed_originals_are_compared_by_their_text() -> None:
    columns = (column("DAY", "date", info_type="DATE"), column("LAT", "number", info_type="GPS_COORDINATE"))
    frame = pl.LazyFrame({"DAY": ["1931-05-06"], "LAT": ["42.36877442769006"]}).select(
        pl.col("DAY").str.to_date(), pl.col("LAT").cast(pl.Float64)
    )
    output = pl.LazyFrame({"x": ["1931-05-06", "42.36877442769006", "1931"]})
    assert residual_values(frame, output, dataset_plan(*columns), KEY) == [("x", 2)]


@pytest.mark.parametrize(
    "output", [pl.LazyFrame({"n": [1]}), pl.LazyFrame({"s": []}, schema={"s": pl.String})]
)
def test_outputs_without_text_have_no_residue(output: pl.LazyFrame) -> None:
    columns = (column("A", info_type="US_SSN"), column("B"))
    assert residue(columns, {"A": ["999-17-5017"], "B": [""]}, output) == []
    assert residue((column("B"),), {"B": ["999-17-5017"]}, pl.LazyFrame({"B": ["999-17-5017"]})) == []


cells = st.none() | st.text(alphabet="ab1-", min_size=4, max_size=8) | st.text(max_size=10)


@given(
    originals=st.lists(cells, max_size=30),
    outputs=st.lists(cells, max_size=30),
    reused=st.lists(st.integers(0, 29), max_size=10),
)
@settings(deadline=None, max_examples=80)
def test_residue_is_exact(originals: list[str | None], outputs: list[str | None], reused: list[int]) -> None:
    outputs += [originals[i] for i in reused if i < len(originals)]
    columns = (column("A", level="restricted", info_type="US_SSN"), column("B"))
    values: dict[str, list[Any]] = {"A": originals, "B": [None] * len(originals)}
    expected = sum(1 for cell in outputs if cell is not None and len(cell) >= 6 and cell in originals)
    found = residue(columns, values, pl.LazyFrame({"A": outputs}, schema={"A": pl.String}))
    assert found == ([("A", expected)] if expected else [])


def test_the_comparison_needs_a_whole_key() -> None:
    columns = (column("A", info_type="US_SSN"), column("B"))
    output = pl.LazyFrame({"A": ["999-17-5017"]})
    with pytest.raises(PlanRefusedError):
        residual_values(
            typed(columns, {"A": ["999-17-5017"], "B": [None]}), output, dataset_plan(*columns), b"short"
        )

"""No original value remains: cells of the output neither equal nor contain a cell of the input."""

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
    PEOPLE,
    VISITS,
    clinic_plan,
    column,
    compiled,
    contract,
    dataset_plan,
    people,
    typed,
    visits,
)

from secure_platform.contract.model import Column
from secure_platform.contract.product import load_product
from secure_platform.errors import PlanRefusedError
from secure_platform.protect import profile as profile_module
from secure_platform.protect import residual
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.execute import apply, split_orphans
from secure_platform.protect.plan import DatasetPlan, Plan
from secure_platform.protect.residual import residual_values
from secure_platform.sample.generate import generate

HEALTHCARE = Path(profile_module.__file__).parents[1] / "defs" / "healthcare"
KEY = bytes(range(32))
FREE = "gdpr_pseudonymous"


def residue(
    columns: tuple[Column, ...], values: dict[str, list[Any]], output: pl.LazyFrame, **more: Any
) -> Any:
    plan = dataset_plan(*columns, **more)
    return residual_values([(typed(columns, values), plan)], output, plan, KEY)


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
        dataset = plan.datasets[name]
        assert residual_values([(frame, dataset)], apply(dataset, frame, KEYS), dataset, KEY) == []


@pytest.mark.parametrize("name", ["Id", "SSN", "CITY"])
def test_a_disabled_transform_is_found(name: str) -> None:
    plan = clinic_plan().datasets["people"]
    frame = people([f"person-{i}" for i in range(50)])
    leaking = apply(unprotected(plan, name), frame, KEYS)
    assert residual_values([(frame, plan)], leaking, plan, KEY) == [(name, 50)]


def test_every_transform_of_the_healthcare_product_is_found_when_disabled(shared_data: Path) -> None:
    """On the third-party records, every text column with long enough values."""
    plan = compile_plan(load_product(HEALTHCARE), lambda _: 1, AS_OF)
    for name, dataset in plan.datasets.items():
        text = synthea(shared_data, name)
        for c in dataset.columns:
            longest = text.select(pl.col(c.column).str.len_chars().max()).collect().item() or 0
            if c.transform == "keep" or longest < 6:
                continue
            as_text = replace(c, input_type="String")
            leaking = text.select(pl.col(c.column))
            only = DatasetPlan(name, (as_text,))
            found = residual_values([(text, only)], leaking, only, KEY)
            assert [column for column, _ in found] == [c.column], (name, c.column)


def test_third_party_records_leave_nothing_and_keep_their_references(shared_data: Path) -> None:
    plan = compile_plan(load_product(HEALTHCARE), lambda _: 1, AS_OF)
    product = load_product(HEALTHCARE)
    protected: dict[str, pl.LazyFrame] = {}
    for name, dataset in plan.datasets.items():
        text = synthea(shared_data, name)
        frame = text.select(_cast(c) for c in product.contracts[name].columns)
        result = apply(dataset, frame, KEYS).collect(engine="streaming")
        assert result.height == text.select(pl.len()).collect().item()
        protected[name] = result.lazy()
        originals = [(synthea(shared_data, each), other) for each, other in plan.datasets.items()]
        for searched in ([(text, dataset)], originals):
            assert residual_values(searched, protected[name], dataset, KEY) == []
            assert residual_values(searched, protected[name], None, KEY) == []
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
    plan = dataset_plan(*columns)
    output = pl.LazyFrame({"x": ["1931-05-06", "42.36877442769006", "1931"]})
    assert residual_values([(frame, plan)], output, plan, KEY) == [("x", 2)]


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
    frame, plan = typed(columns, {"A": ["999-17-5017"], "B": [None]}), dataset_plan(*columns)
    with pytest.raises(PlanRefusedError):
        residual_values([(frame, plan)], output, plan, b"short")


PATIENTS = (
    column("SSN", level="restricted", info_type="US_SSN"),
    column("BORN", level="restricted", info_type="DATE_OF_BIRTH"),
    column("LAST", level="restricted", info_type="PERSON_NAME"),
    column("ADDRESS", level="restricted", info_type="STREET_ADDRESS"),
    column("CITY", level="restricted", info_type="CITY"),
    column("MEMBER", "integer", info_type="RECORD_ID", primary_key=True),
    column("NOTE", level="restricted"),
    column("STATE"),
)
PATIENT: dict[str, list[Any]] = {
    "SSN": ["999-17-5017"],
    "BORN": ["2014-10-06"],
    "LAST": ["Parkinson"],
    "ADDRESS": ["784 Stamm Lock Unit 46"],
    "CITY": ["Boston 02"],
    "MEMBER": [185345009],
    "NOTE": ["Stage 3 of 4"],
    "STATE": ["Massachusetts 1"],
}
SENTENCES = {
    "Maynard of 784 Stamm Lock Unit 46": 1,
    "lives at:784  STAMM lock, unit 46.": 1,
    "ssn 999-17-5017": 1,
    "ssn (999 17 5017), given twice: 999-17-5017": 1,
    "784 Stamm Lock Unit 46": 1,
    "784 Stamm Lock Unit 46, Boston 02": 1,
    "\uff17\uff18\uff14 Stamm Lock Unit \uff14\uff16": 1,
    "1784 Stamm Lock Unit 46": 0,
    "784 Stamm Lock Unit 467": 0,
    "784 Stamm Lock": 0,
    "Parkinson's disease, stage 2": 0,
    "code 185345009 of SNOMED": 0,
    "born 2014-10-06": 0,
    "Stage 3 of 4 (finding)": 0,
    "Massachusetts 1 general": 0,
    "": 0,
}


@pytest.mark.parametrize("cell", SENTENCES)
def test_originals_are_found_inside_longer_cells_of_kept_and_unknown_columns(cell: str) -> None:
    plan, output = dataset_plan(*PATIENTS), pl.LazyFrame({"STATE": [cell, None, "other", cell]})
    originals = [(typed(PATIENTS, PATIENT), plan)]
    expected = [("STATE", 2)] if SENTENCES[cell] else []
    assert residual_values(originals, output, plan, KEY) == expected
    assert residual_values(originals, output, None, KEY) == expected
    other = replace(plan, dataset="other", columns=plan.columns[-1:])
    assert residual_values(originals, output, other, KEY) == expected


def test_places_and_names_with_digits_are_found_inside_cells() -> None:
    columns = (
        column("LAST", level="restricted", info_type="PERSON_NAME"),
        column("CITY", level="restricted", info_type="CITY"),
        column("KEPT"),
    )
    values: dict[str, list[Any]] = {"LAST": ["Mosciski958"], "CITY": ["Springfield"], "KEPT": [None]}
    cells = ["seen Mosciski958 today 1", "Springfield 1", "Mosciski9581 1"]
    assert residue(columns, values, pl.LazyFrame({"KEPT": cells})) == [("KEPT", 1)]


def test_originals_inside_cells_of_transformed_columns_do_not_count() -> None:
    plan, output = dataset_plan(*PATIENTS), pl.LazyFrame({"SSN": ["x 784 Stamm Lock Unit 46"]})
    assert residual_values([(typed(PATIENTS, PATIENT), plan)], output, plan, KEY) == []


def test_a_cell_counts_once_whatever_it_equals_and_contains() -> None:
    values = PATIENT | {"SSN": ["784 Stamm Lock Unit 46, 999-17-5017"]}
    output = pl.LazyFrame({"STATE": ["784 Stamm Lock Unit 46, 999-17-5017", "at 784 Stamm Lock Unit 46"]})
    assert residue(PATIENTS, values, output) == [("STATE", 2)]


def test_the_search_goes_through_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residual, "PATTERNS_AT_ONCE", 3)
    columns = (column("SSN", level="restricted", info_type="US_SSN"), column("KEPT"))
    numbers = [f"999-17-{i:04}" for i in range(10)]
    values: dict[str, list[Any]] = {"SSN": numbers, "KEPT": [None] * 10}
    output = pl.LazyFrame({"KEPT": [f"has {number}" for number in numbers]})
    assert residue(columns, values, output) == [("KEPT", 10)]


def test_other_datasets_are_searched_by_the_rule_of_kept_columns() -> None:
    """A place or a short number of another dataset says nothing, even where a column is transformed."""
    plan = compiled(contract("people", *PEOPLE), contract("visits", *VISITS)).datasets
    originals = [(people(["person-1", "person-2"]), plan["people"]), (visits(["person-1"]), plan["visits"])]
    cells = ["999-17-0001", "New York", "person-2", "185345009"]
    output = pl.LazyFrame({"PERSON": cells, "CODE": cells})
    assert residual_values(originals, output, plan["visits"], KEY) == [("CODE", 2), ("PERSON", 2)]
    assert residual_values(originals, output, plan["people"], KEY) == [("CODE", 2), ("PERSON", 2)]
    own_only = residual_values(originals[1:], output, plan["visits"], KEY)
    assert own_only == []


def healthcare_plan() -> Plan:
    return compile_plan(load_product(HEALTHCARE), lambda _: 1, AS_OF)


def test_the_third_party_answers_would_be_found_if_they_were_kept(shared_data: Path) -> None:
    """Synthea writes patients.ADDRESS into observations.VALUE."""
    plan = healthcare_plan()
    assert next(c for c in plan.datasets["observations"].columns if c.column == "VALUE").transform == "drop"
    leaking = unprotected(plan.datasets["observations"], "VALUE")
    output = synthea(shared_data, "observations").select("VALUE")
    originals = [
        (synthea(shared_data, name), leaking if name == "observations" else dataset)
        for name, dataset in plan.datasets.items()
    ]
    assert residual_values(originals[-1:], output, leaking, KEY) == []
    assert residual_values(originals, output, leaking, KEY) == [("VALUE", 18)]
    assert residual_values(originals, output, None, KEY) == [("VALUE", 18)]
    inside = output.with_columns(pl.format("Lives at {} now", pl.col("VALUE")))
    assert residual_values(originals, inside, None, KEY) == [("VALUE", 18)]


def test_the_generated_sample_raises_no_false_alarm(tmp_path: Path) -> None:
    generate(tmp_path, patients=200)
    product, plan = load_product(HEALTHCARE), healthcare_plan()
    texts = {name: pl.read_csv(tmp_path / f"{name}.csv", infer_schema=False).lazy() for name in plan.datasets}
    originals = [(texts[name], dataset) for name, dataset in plan.datasets.items()]
    for name, dataset in plan.datasets.items():
        typed_frame = texts[name].select(_cast(c) for c in product.contracts[name].columns)
        output = apply(dataset, typed_frame, KEYS)
        assert residual_values(originals, output, dataset, KEY) == []
        assert residual_values(originals, output, None, KEY) == []

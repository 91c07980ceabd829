from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from orchestration_support import Line, Rows, new_line

from secure_platform.errors import DataRefusedError, IntegrityError, SecurePlatformError
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.steps.observe import PROTECTED, RAW
from secure_platform.orchestration.steps.originals import raw_snapshots, related
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.orchestration.steps.residual import original_values_left
from secure_platform.protect.execute import apply
from secure_platform.store.snapshot import Zone

CANARY = "Zyzzyva-canary"


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return new_line(tmp_path)


def failures(line: Line, dataset: str) -> set[tuple[str, str, int]]:
    outcome = line.pull(dataset)
    detail = next(check for check in outcome.checks if check.name == "contract").detail
    return {(failure["column"], failure["rule"], failure["count"]) for failure in detail["failures"]}


def nothing_in(directory: Path) -> bool:
    return not [path for path in directory.rglob("*.parquet") if path.is_file()]


def test_a_dataset_is_pulled_validated_scanned_and_committed(line: Line) -> None:
    outcome = line.pull("patients")
    assert outcome.snapshot.rows == 40
    assert [(check.name, check.passed) for check in outcome.checks] == [
        ("contract", True),
        ("scan", True),
        ("drift", True),
        *((name, True) for name in RAW),
    ]
    assert outcome.snapshot.verdicts.keys() == {"validate", "scan"}


def test_pulling_the_same_source_again_writes_nothing(line: Line) -> None:
    first = line.pull("patients").snapshot
    before = sorted((line.services.settings.home / "lake").rglob("*"))
    again = line.pull("patients").snapshot
    assert again.reused
    assert again.snapshot_id == first.snapshot_id
    assert sorted((line.services.settings.home / "lake").rglob("*")) == before


def test_a_changed_source_makes_a_new_snapshot_and_the_old_source_finds_the_old_one(line: Line) -> None:
    original = (line.source / "patients.csv").read_bytes()
    first = line.pull("patients").snapshot
    line.edit("patients", lambda rows: rows[:-1])
    second = line.pull("patients").snapshot
    assert (second.reused, second.rows) == (False, 39)
    (line.source / "patients.csv").write_bytes(original)
    third = line.pull("patients").snapshot
    assert third.snapshot_id == first.snapshot_id
    head = line.services.store.head("healthcare", "patients", Zone.RAW)
    assert head is not None
    assert head.snapshot_id == first.snapshot_id


def drop_column(rows: Rows) -> Rows:
    return [row[1:] for row in rows]


def rename_column(rows: Rows) -> Rows:
    return [["Ident", *rows[0][1:]], *rows[1:]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_column, "Id"),
        (rename_column, "Id"),
        (lambda _rows: [], "patients"),
    ],
    ids=["missing column", "renamed column", "empty file"],
)
def test_a_source_of_another_shape_is_refused_and_nothing_is_written(
    line: Line, change: Callable[[Rows], Rows], said: str
) -> None:
    line.edit("patients", change)
    with pytest.raises(DataRefusedError, match=said):
        line.pull("patients")
    assert nothing_in(line.services.settings.home)


def test_a_file_with_a_header_only_fails_its_contract(line: Line) -> None:
    line.edit("patients", lambda rows: rows[:1])
    assert ("*", "minimum_rows", 1) in failures(line, "patients")
    with pytest.raises(DataRefusedError, match="validate"):
        line.protect("patients")


def test_a_missing_file_is_named(line: Line) -> None:
    (line.source / "conditions.csv").unlink()
    with pytest.raises(DataRefusedError, match="conditions"):
        line.pull("conditions")
    assert nothing_in(line.services.settings.home)


def test_an_extra_column_stays_in_raw(line: Line) -> None:
    line.edit("patients", lambda rows: [[*row, "EXTRA" if i == 0 else CANARY] for i, row in enumerate(rows)])
    raw = line.pull("patients").snapshot
    assert "EXTRA" in raw.columns
    assert "EXTRA" not in line.protect("patients").snapshot.columns


@pytest.mark.parametrize("name", ["*", "^.*$", "__row", "Id ", "x'; DROP TABLE y; --"])
def test_an_extra_column_may_have_any_name(line: Line, name: str) -> None:
    line.edit("patients", lambda rows: [[*row, name if i == 0 else CANARY] for i, row in enumerate(rows)])
    raw = line.pull("patients")
    assert raw.checks[0].passed
    assert name in raw.snapshot.columns
    assert all(check.passed for check in line.protect("patients").checks)


def test_a_few_bad_rows_are_quarantined_and_the_rest_goes_on(line: Line) -> None:
    def ragged(rows: Rows) -> Rows:
        return [*rows[:3], rows[3][:-2], *rows[4:]]

    line.edit("patients", ragged)
    outcome = line.pull("patients")
    assert outcome.checks[0].passed
    quarantine = line.services.store.quarantine(outcome.snapshot)
    assert quarantine is not None
    assert quarantine.collect().height == 1
    assert line.protect("patients").snapshot.rows == 39


def test_too_many_bad_rows_fail_the_contract_and_what_follows_refuses_them(line: Line) -> None:
    line.edit("patients", lambda rows: [rows[0], *([row[0], "no date", *row[2:]] for row in rows[1:])])
    outcome = line.pull("patients")
    assert not outcome.checks[0].passed
    with pytest.raises(DataRefusedError, match="validate"):
        line.protect("patients")


def test_duplicate_keys_are_found(line: Line) -> None:
    line.edit("patients", lambda rows: [*rows, rows[1]])
    assert ("Id", "primary_key", 2) in failures(line, "patients")


def test_bad_utf8_is_quarantined_as_bytes(line: Line) -> None:
    path = line.source / "patients.csv"
    first, _, rest = path.read_bytes().partition(b"\n")
    second, _, others = rest.partition(b"\n")
    path.write_bytes(first + b"\n" + second[:-1] + b"\xff\n" + others)
    outcome = line.pull("patients")
    quarantine = line.services.store.quarantine(outcome.snapshot)
    assert quarantine is not None
    assert quarantine.collect()["rule"].to_list() == ["encoding"]


def test_orphans_are_quarantined_within_the_threshold(line: Line) -> None:
    line.edit("conditions", lambda rows: [rows[0], [*rows[1][:2], CANARY, *rows[1][3:]], *rows[2:]])
    rows = line.pull("conditions").snapshot.rows
    for dataset in ("patients", "encounters"):
        line.pull(dataset)
        line.protect(dataset)
    outcome = line.protect("conditions")
    assert outcome.snapshot.rows == rows - 1
    assert {check.name: check.passed for check in outcome.checks} == {
        "rows": True,
        "reconciliation": True,
        "references": True,
        "residual": True,
        "classification": True,
        **dict.fromkeys(PROTECTED, True),
    }
    assert outcome.snapshot.verdicts["references"].detail["orphans"] == 1


def test_more_orphans_than_the_contract_allows_fail(line: Line) -> None:
    line.edit("conditions", lambda rows: [rows[0], *([*row[:2], CANARY, *row[3:]] for row in rows[1:])])
    line.pull("conditions")
    for dataset in ("patients", "encounters"):
        line.pull(dataset)
        line.protect(dataset)
    outcome = line.protect("conditions")
    assert not outcome.snapshot.verdicts["references"].passed


def test_the_same_patient_has_one_token_in_all_datasets(line: Line) -> None:
    for dataset in ("patients", "encounters", "observations"):
        line.pull(dataset)
    patients = line.protect("patients").snapshot
    line.protect("encounters")
    observations = line.protect("observations").snapshot
    store = line.services.store
    known = set(store.scan(patients).collect()["Id"])
    assert set(store.scan(observations).collect()["PATIENT"]) <= known
    assert all(token.startswith("t1_") for token in known)


def test_nothing_restricted_is_left_and_no_original_value(line: Line) -> None:
    line.pull("patients")
    protected = line.protect("patients").snapshot
    left = set(protected.columns)
    assert left.isdisjoint({"SSN", "DRIVERS", "PASSPORT", "FIRST", "LAST", "MAIDEN", "ADDRESS", "LAT", "LON"})
    assert all(verdict.passed for verdict in protected.verdicts.values())


@pytest.mark.parametrize("column", ["Id", "BIRTHDATE", "ZIP", "SSN"])
def test_switching_a_transform_off_is_caught_by_the_residual_check(
    line: Line, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """The checks do not trust the plan: a transform that does nothing is found out."""
    line.pull("patients")
    honest = apply

    def leaking(plan: object, typed: object, keys: object) -> object:
        original = typed.select(column).cast({column: str})  # type: ignore[attr-defined]
        protected = honest(plan, typed, keys).drop(column, strict=False)  # type: ignore[arg-type]
        return protected.collect().hstack(original.collect()).lazy()

    monkeypatch.setattr("secure_platform.orchestration.steps.rows.apply", leaking)
    outcome = line.protect("patients")
    assert not outcome.snapshot.verdicts["residual"].passed
    detail = outcome.snapshot.verdicts["residual"].detail
    assert column in {found["column"] for found in (*detail["original_values"], *detail["findings"])}


def test_a_verdict_that_was_edited_on_disk_is_refused(line: Line) -> None:
    line.edit("patients", lambda rows: [rows[0], *([row[0], "no date", *row[2:]] for row in rows[1:])])
    snapshot = line.pull("patients").snapshot
    sidecar = snapshot.path / "sidecar.json"
    sidecar.write_bytes(sidecar.read_bytes().replace(b'"passed":false', b'"passed":true'))
    with pytest.raises(IntegrityError):
        line.protect("patients")


def test_an_error_in_a_library_names_no_value(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.pull("patients")

    def broken(*_: object) -> object:
        raise ValueError(CANARY)

    monkeypatch.setattr("secure_platform.orchestration.steps.rows.apply", broken)
    with pytest.raises(SecurePlatformError) as caught:
        value_free("healthcare/protected/patients", lambda: line.protect("patients"))
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def write_into(line: Line, dataset: str, column: str, text: str, rows_changed: int = 1) -> None:
    def change(rows: Rows) -> Rows:
        place = rows[0].index(column)
        for row in rows[1 : 1 + rows_changed]:
            row[place] = text
        return rows

    line.edit(dataset, change)


def patient_cell(line: Line, column: str) -> str:
    found: list[str] = []

    def read(rows: Rows) -> Rows:
        found.append(rows[1][rows[0].index(column)])
        return rows

    line.edit("patients", read)
    return found[0]


@pytest.mark.parametrize("form", ["{name} of {address}", "{address}"])
def test_an_address_of_another_dataset_in_kept_free_text_is_found(line: Line, form: str) -> None:
    address = patient_cell(line, "ADDRESS")
    text = form.format(name=f"{patient_cell(line, 'FIRST')} {patient_cell(line, 'LAST')}", address=address)
    write_into(line, "encounters", "DESCRIPTION", text, rows_changed=2)
    for dataset in ("patients", "encounters", "observations"):
        line.pull(dataset)
    line.protect("patients")
    outcome = line.protect("encounters")
    verdict = outcome.snapshot.verdicts["residual"]
    assert not verdict.passed
    assert verdict.detail["original_values"] == [{"column": "DESCRIPTION", "count": 2}]
    assert address not in (outcome.snapshot.path / "sidecar.json").read_text(encoding="utf-8")
    with pytest.raises(DataRefusedError, match="residual"):
        line.protect("observations")


def test_datasets_are_searched_that_are_referred_to_through_others(line: Line) -> None:
    product = line.services.product("healthcare")
    observations = product.contracts["observations"]
    columns = tuple(column for column in observations.columns if column.name != "PATIENT")
    indirect = replace(
        product, contracts={**product.contracts, "observations": replace(observations, columns=columns)}
    )
    assert related(product, "patients") == ["patients"]
    assert related(product, "encounters") == ["encounters", "patients"]
    assert related(indirect, "observations") == ["encounters", "observations", "patients"]


def test_another_original_of_a_parent_is_another_input(line: Line) -> None:
    """The protected patients are the same in both runs; what must not be in the encounters is not."""
    write_into(line, "encounters", "DESCRIPTION", "Visit at 12 Zyzzyva Lane 7")
    line.pull("encounters")
    line.pull("patients")
    line.protect("patients")
    assert line.protect("encounters").snapshot.verdicts["residual"].passed
    write_into(line, "patients", "ADDRESS", "12 Zyzzyva Lane")
    line.pull("patients")
    line.protect("patients")
    second = line.protect("encounters").snapshot
    assert not second.reused
    assert not second.verdicts["residual"].passed


def test_a_mart_is_searched_for_the_originals_of_all_datasets(line: Line) -> None:
    address, context = patient_cell(line, "ADDRESS"), line.context()
    for dataset in ("patients", "encounters"):
        line.pull(dataset)
    mart = pl.LazyFrame({"note": [f"of {address}", "nothing 12345"], "exact": [address, None]})
    plans = current_plan(context.product, context.services.keys).datasets
    raws = raw_snapshots(context, ("patients", "encounters"))
    found = original_values_left(context, mart, raws, plans, None)
    assert found == [{"column": "exact", "count": 1}, {"column": "note", "count": 1}]
    encounters = {"encounters": raws["encounters"]}
    assert original_values_left(context, mart, encounters, plans, None) == []
    with pytest.raises(DataRefusedError, match="conditions"):
        raw_snapshots(context, ("patients", "conditions"))


def test_originals_of_a_refused_snapshot_are_not_compared_with(line: Line) -> None:
    line.edit("patients", lambda rows: [rows[0], *([row[0], "no date", *row[2:]] for row in rows[1:])])
    line.pull("patients")
    with pytest.raises(DataRefusedError, match="validate"):
        raw_snapshots(line.context(), ("patients",))

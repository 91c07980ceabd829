"""Numbers with noise as a step: spent before they are told, and told once for each state of the data."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from contract_body import contract_body as contract
from small_product import product_context, prop

from secure_platform import canonical
from secure_platform.contract.product import load_product
from secure_platform.errors import DataRefusedError, IntegrityError, PlanRefusedError
from secure_platform.orchestration.steps.aggregate import aggregate
from secure_platform.orchestration.steps.context import StepContext, StepOutcome
from secure_platform.orchestration.steps.protect import current_plan, protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.settings import PACKAGE
from secure_platform.store.snapshot import Zone

VISITS = [
    prop("id", "integer", "confidential", primaryKey=True, infoType="RECORD_ID"),
    prop("person", "string", "confidential", required=True, subjectId=True, protect="tokenize"),
    prop("ward", level="internal", protect="keep"),
    prop("cost", "number", "internal", protect="keep"),
]
ROWS = 600
FRAME = pl.DataFrame(
    {
        "id": range(1, ROWS + 1),
        "person": [f"person-{n % 200:04}" for n in range(ROWS)],
        "ward": [("North", "South", "Rare")[2 if n == 7 else n % 2] for n in range(ROWS)],
        "cost": [float(n % 50) for n in range(ROWS)],
    }
)
BY_WARD: Mapping[str, Any] = {
    "name": "by_ward",
    "description": "Visits of each ward.",
    "source": "visits",
    "group_by": [{"column": "ward", "partitions": ["North", "South", "East"]}],
    "contribution": {"groups": 2, "rows": 3},
    "measures": [
        {"name": "visits", "kind": "rows"},
        {"name": "cost", "kind": "sum", "column": "cost", "lowest": 0, "highest": 50, "step": 0.5},
    ],
    "epsilon": 1.0,
}
WIDE = [{"name": "cost", "kind": "sum", "column": "cost", "lowest": 0, "highest": 1e9, "step": 1}]
BUDGET: Mapping[str, Any] = {"epsilon": 2, "period": "forever"}


def made(
    folder: Path, *aggregates: Mapping[str, Any], frame: pl.DataFrame = FRAME, **budget: Any
) -> StepContext:
    context = product_context(folder, "gdpr_pseudonymous", [contract("visits", VISITS)], {"visits": frame})
    declare(context, *aggregates, **budget)
    return built(context)


def declare(context: StepContext, *aggregates: Mapping[str, Any], **budget: Any) -> None:
    body = {"budget": {**BUDGET, **budget}, "aggregates": [*aggregates]}
    (context.product.directory / "aggregates.yaml").write_bytes(canonical.dumps(body))


def built(context: StepContext, frame: pl.DataFrame | None = None) -> StepContext:
    """The same product, its documents and source read again, up to the protected dataset."""
    if frame is not None:
        frame.write_csv(context.source / "visits.csv")
    product = load_product(context.product.directory)
    again = StepContext(context.services, product, "run", "service:scheduler", context.source)
    pull(again, "visits")
    protect(again, "visits")
    return again


def table(context: StepContext, outcome: StepOutcome) -> pl.DataFrame:
    return context.services.store.scan(outcome.snapshot).collect()


def spends(context: StepContext) -> int:
    return len(context.services.budget.spends("small"))


def test_what_is_told_is_declared_near_the_truth_and_says_what_it_cost(tmp_path: Path) -> None:
    context = made(tmp_path, BY_WARD)
    outcome = aggregate(context, "by_ward")
    told = table(context, outcome)
    assert told["ward"].to_list() == ["North", "South", "East"], "what is rare is not told, what is empty is"
    assert [check.passed for check in outcome.checks[:2]] == [True, True]
    truth = FRAME.group_by("ward").agg(pl.len(), pl.col("cost").sum())
    both = told.join(truth, on="ward")
    assert all(abs(each) < 200 for each in both["visits"] - both["len"])
    assert all(abs(each) < 10_000 for each in both["cost"] - both["cost_right"])
    detail = outcome.snapshot.verdicts["budget"].detail
    assert detail["epsilon"] == "1.0"
    # Two queries share epsilon 1: 2 groups of 3 rows, half of it each; costs move by up to 100 steps of 0.5.
    assert detail["expected_error"]["visits"]["within_95"] == "36"
    assert detail["expected_error"]["cost"]["within_95"] == "1798"
    assert not detail["spent_before"]


def test_told_again_it_is_the_same_and_nothing_is_spent(tmp_path: Path) -> None:
    context = made(tmp_path, BY_WARD)
    first = aggregate(context, "by_ward")
    again = aggregate(context, "by_ward")
    assert again.snapshot.reused
    assert again.snapshot.snapshot_id == first.snapshot.snapshot_id
    shutil.rmtree(context.services.settings.home / "lake" / "small" / "marts")
    anew = aggregate(context, "by_ward")
    assert not anew.snapshot.reused
    assert anew.snapshot.content_digest == first.snapshot.content_digest, "no fresh noise for who deletes"
    assert anew.snapshot.verdicts["budget"].detail["spent_before"]
    assert spends(context) == 1


def test_protected_again_with_cells_at_random_it_is_the_same_and_nothing_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = prop("note", level="confidential", protect={"transform": "encrypt", "mode": "randomized"})
    frame = FRAME.with_columns(note=pl.concat_str(pl.lit("n"), pl.col("id")))
    body = contract("visits", [*VISITS, note])
    context = product_context(tmp_path, "gdpr_pseudonymous", [body], {"visits": frame})
    declare(context, BY_WARD)
    context = built(context)
    first, content = aggregate(context, "by_ward"), context.input(Zone.PROTECTED, "visits").content_digest
    monkeypatch.setattr("secure_platform.orchestration.steps.context.code_version", lambda: "another")
    context = built(context)
    assert context.input(Zone.PROTECTED, "visits").content_digest != content, "the cells are others"
    again = aggregate(context, "by_ward")
    assert not again.snapshot.reused
    assert table(context, again).equals(table(context, first))
    assert spends(context) == 1
    # Not even by a cell that nothing is told of: else equal numbers would tell that nobody came or went.
    changed = built(context, frame.with_columns(note=pl.lit("other")))
    assert not table(changed, aggregate(changed, "by_ward")).equals(table(context, first))
    assert spends(context) == 2


def test_new_data_have_noise_of_their_own_until_the_budget_is_spent(tmp_path: Path) -> None:
    context = made(tmp_path, BY_WARD)
    first = table(context, aggregate(context, "by_ward"))
    one_less = built(context, FRAME.head(ROWS - 1))
    second = table(one_less, aggregate(one_less, "by_ward"))
    apart = [abs(each) for each in first["cost"] - second["cost"]]
    assert max(apart) > 1, "the difference does not tell who is gone"
    third = built(context, FRAME.head(ROWS - 2))
    with pytest.raises(DataRefusedError, match=r"small.*by_ward.*epsilon 2 .*never renews.*budget small"):
        aggregate(third, "by_ward")
    assert context.services.store.head("small", "by_ward", Zone.MARTS) is not None, "what was told stays"
    assert spends(context) == 2


def test_another_name_or_another_measure_is_of_the_same_budget(tmp_path: Path) -> None:
    context = made(tmp_path, BY_WARD, {**BY_WARD, "name": "again"}, {**BY_WARD, "name": "third"})
    first, second = (table(context, aggregate(context, name)) for name in ("by_ward", "again"))
    assert not first.equals(second), "under another name the noise is another, and it is paid for"
    with pytest.raises(DataRefusedError, match="third"):
        aggregate(context, "third")
    declare(context, {**BY_WARD, "name": "renamed"})
    with pytest.raises(DataRefusedError, match="renamed"):
        aggregate(built(context), "renamed")


def test_without_its_row_in_the_ledger_nothing_more_is_told(tmp_path: Path) -> None:
    context = made(tmp_path, BY_WARD, {**BY_WARD, "name": "again"})
    aggregate(context, "by_ward")
    with context.services.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM privacy_spend")
    with pytest.raises(IntegrityError, match="privacy_spend"):
        aggregate(context, "again")


def test_somebody_alone_in_a_group_is_not_told(tmp_path: Path) -> None:
    found = {**BY_WARD, "group_by": [{"column": "ward"}], "delta": 1e-6, "epsilon": 2.0}
    context = made(tmp_path, found, delta=1e-6)
    assert set(table(context, aggregate(context, "by_ward"))["ward"]) == {"North", "South"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "nothing"}, "no dataset"),
        ({"group_by": [{"column": "id", "partitions": [1]}]}, "another type"),
        ({"group_by": [{"column": "place", "partitions": ["x"]}]}, "cannot be grouped by"),
        ({"group_by": [{"column": "ward", "partitions": [1]}]}, "another type"),
        (
            {"epsilon": 1e-6, "contribution": {"groups": 10_000, "rows": 10_000}, "measures": WIDE},
            "more noise",
        ),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_plan(
    tmp_path: Path, change: Mapping[str, Any], message: str
) -> None:
    context = product_context(tmp_path, "gdpr_pseudonymous", [contract("visits", VISITS)], {"visits": FRAME})
    declare(context, {**BY_WARD, **change})
    with pytest.raises(PlanRefusedError, match=message):
        current_plan(load_product(context.product.directory), context.services.keys)


@pytest.mark.parametrize(
    ("columns", "terms", "message"),
    [
        ({"person": {"subjectId": False}}, {}, "no subject"),
        ({"person": {"protect": "redact"}}, {}, "same in all rows"),
        # Two people may get one name.
        ({"person": {"protect": {"transform": "fake", "as": "name"}}}, {}, "and of nobody else"),
        ({"cost": {"protect": "shuffle"}}, {}, "shuffled"),
        ({"ward": {"quasiIdentifier": True}}, {"suppressRows": {"k": 3}}, "stay behind"),
    ],
)
def test_what_depends_on_everybody_is_refused_with_the_plan(
    tmp_path: Path, columns: Mapping[str, Any], terms: Mapping[str, Any], message: str
) -> None:
    shaped = [
        {**each, "customProperties": [*_others(each, columns), *_given(each, columns)]} for each in VISITS
    ]
    context = product_context(
        tmp_path, "gdpr_pseudonymous", [contract("visits", shaped, **terms)], {"visits": FRAME}
    )
    declare(context, BY_WARD)
    with pytest.raises(PlanRefusedError, match=message):
        current_plan(load_product(context.product.directory), context.services.keys)


RECORD: Mapping[str, Any] = {"level": "confidential", "infoType": "RECORD_ID", "protect": "tokenize"}
PERSONS = [
    prop("id", primaryKey=True, subjectId=True, **RECORD),
    prop("adult", level="internal", protect="keep"),
]
PEOPLE = contract("people", PERSONS)
ADULTS = {"when": {"column": "adult", "one_of": ["y"]}}
CHILDREN = [prop("id", primaryKey=True, **RECORD), prop("guardian", subjectId=True, **RECORD)]
TO_PEOPLE: Mapping[str, Any] = {"relationships": [{"to": "people.id"}]}
REFERRER = prop("referrer", level="confidential", **TO_PEOPLE)
OF_PEOPLE = [
    VISITS[0],
    prop("person", level="confidential", required=True, subjectId=True, **TO_PEOPLE),
    *VISITS[2:],
]


@pytest.mark.parametrize(
    ("people", "visits"),
    [
        (PEOPLE, contract("visits", [*VISITS, REFERRER], onInvalid="quarantine")),
        # What they point at stays behind, and they with it.
        (
            contract("people", PERSONS, suppressRows=ADULTS),
            contract("visits", [*VISITS, REFERRER]),
        ),
        # People who are gone with those who sent them take their visits along.
        (
            contract(
                "people",
                [*PERSONS, prop("sent_by", level="confidential", **TO_PEOPLE)],
                onInvalid="quarantine",
            ),
            contract("visits", OF_PEOPLE),
        ),
        # A person's row that is another person's.
        (
            contract("people", CHILDREN),
            contract("visits", OF_PEOPLE, onInvalid="quarantine"),
        ),
    ],
)
def test_rows_that_go_with_those_of_another_person_are_refused_with_the_plan(
    tmp_path: Path, people: Mapping[str, Any], visits: Mapping[str, Any]
) -> None:
    context = product_context(tmp_path, "gdpr_pseudonymous", [people, visits], {})
    declare(context, BY_WARD)
    with pytest.raises(PlanRefusedError, match="has no such row"):
        current_plan(load_product(context.product.directory), context.services.keys)


@pytest.mark.parametrize(
    "visits",
    [
        contract("visits", OF_PEOPLE, onInvalid="quarantine"),
        contract("visits", [*VISITS, REFERRER]),
        contract(
            "visits",
            [*VISITS, {**REFERRER, "customProperties": [{"property": "protect", "value": "drop"}]}],
            onInvalid="quarantine",
        ),
    ],
)
def test_rows_that_go_with_their_own_person_or_not_at_all_are_no_problem(
    tmp_path: Path, visits: Mapping[str, Any]
) -> None:
    context = product_context(tmp_path, "gdpr_pseudonymous", [PEOPLE, visits], {})
    declare(context, BY_WARD)
    assert current_plan(load_product(context.product.directory), context.services.keys).datasets["visits"]


def test_what_the_documentation_declares_can_be_told(tmp_path: Path) -> None:
    context = product_context(tmp_path, "gdpr_pseudonymous", [contract("visits", VISITS)], {})
    copied = Path(shutil.copytree(PACKAGE / "defs" / "healthcare", tmp_path / "defs" / "healthcare"))
    text = (PACKAGE.parent / "docs" / "protection.md").read_text("utf-8")
    example = text.partition("```yaml\nbudget:")[2].partition("```")[0]
    (copied / "aggregates.yaml").write_text(f"budget:{example}")
    product = load_product(copied)
    assert len(product.aggregate_names) == 3
    assert current_plan(product, context.services.keys).datasets["encounters"]


def _given(body: Mapping[str, Any], columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"property": name, "value": value} for name, value in columns.get(body["name"], {}).items()]


def _others(body: Mapping[str, Any], columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    changed = columns.get(body["name"], {})
    return [each for each in body["customProperties"] if each["property"] not in changed]

"""Rows that stay behind take those along that point at them, and the verdict accounts for every row."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from contract_body import contract_body as contract
from small_product import product_context, prop

from secure_platform.contract.model import Total
from secure_platform.errors import DataRefusedError
from secure_platform.monitor.totals import Totals
from secure_platform.orchestration.steps import protect as protect_step
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.originals import valid_rows
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.orchestration.steps.rows import Rows, leaving, totalled
from secure_platform.protect.compiler import compile_plan

PEOPLE = [
    prop("id", "integer", "confidential", primaryKey=True, infoType="RECORD_ID"),
    prop("place", level="internal", quasiIdentifier=True, protect="keep"),
    prop(
        "age",
        "integer",
        "internal",
        quasiIdentifier=True,
        protect={"transform": "generalize", "to": "bucket", "width": 10},
    ),
    prop("job", level="internal", protect="keep"),
]
VISITS = [
    prop("id", "integer", "confidential", primaryKey=True, infoType="RECORD_ID"),
    prop("person", "integer", "confidential", relationships=[{"to": "people.id"}]),
    prop("cost", "number", "internal", protect="keep"),
]
ROWS = 400
FRAMES = {
    "people": pl.DataFrame(
        {
            "id": range(1, ROWS + 1),
            "place": ["Rare" if n < 3 else "North" if n % 2 else "South" for n in range(ROWS)],
            "age": [17 if n % 40 == 0 else 20 + n % 30 for n in range(ROWS)],
            "job": [("baker", "clerk", "nurse")[n % 3] for n in range(ROWS)],
        }
    ),
    "visits": pl.DataFrame(
        {
            "id": range(1, 2 * ROWS + 1),
            "person": [1 + n % ROWS for n in range(2 * ROWS)],
            "cost": [1.5] * 2 * ROWS,
        }
    ),
}


def made(folder: Path, **rows: Any) -> StepContext:
    bodies = [contract("people", PEOPLE, suppressRows=rows), contract("visits", VISITS)]
    return product_context(folder, "census", bodies, FRAMES)


def verdicts(context: StepContext, dataset: str) -> dict[str, Any]:
    pull(context, dataset)
    snapshot = protect(context, dataset).snapshot
    assert {name: v.detail for name, v in snapshot.verdicts.items() if not v.passed} == {}
    return dict(snapshot.verdicts["rows"].detail)


@pytest.mark.parametrize(
    "broken",
    [lambda kept: kept.slice(1), lambda kept: pl.concat([kept, kept.head(1)])],
    ids=["lost", "doubled"],
)
def test_a_row_that_is_lost_or_doubled_on_the_way_fails_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[pl.LazyFrame], pl.LazyFrame]
) -> None:
    context = made(tmp_path, when={"column": "age", "below": 18})
    pull(context, "people")

    def leaving_otherwise(*given: Any) -> Rows:
        rows = leaving(*given)
        return replace(rows, kept=broken(rows.kept))

    monkeypatch.setattr(protect_step, "leaving", leaving_otherwise)
    verdict = protect(context, "people").snapshot.verdicts["rows"]
    assert not verdict.passed
    assert verdict.detail["valid_rows_given"] == ROWS


def test_a_raw_row_that_is_never_read_fails_the_reconciliation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = made(tmp_path, when={"column": "age", "below": 18})
    pull(context, "people")
    monkeypatch.setattr(protect_step, "valid_rows", lambda store, raw: valid_rows(store, raw).slice(1))
    verdict = protect(context, "people").snapshot.verdicts["reconciliation"]
    assert not verdict.passed
    assert (verdict.detail["raw_rows"], verdict.detail["valid_rows_given"]) == (ROWS, ROWS - 1)


def test_every_row_is_accounted_for_and_nobody_stands_out(tmp_path: Path) -> None:
    context = made(tmp_path, when={"column": "age", "below": 18}, l=2, sensitive=["job"], atMost=0.05)
    people = verdicts(context, "people")
    minors = FRAMES["people"].filter(pl.col("age") < 18).height
    assert (people["rows"], people["stayed_behind"]) == (ROWS - minors - 2, minors + 2), (
        "of the rare, one is a minor"
    )
    report = people["anonymity"]
    assert report["k"] >= 5
    assert report["l"] >= 2
    assert report["suppressed"] == 2
    assert report["asked"] == {"k": 5, "l": 2, "at_most": "0.0500"}
    assert 0 < float(report["information_lost"]) < 0.7
    visits = verdicts(context, "visits")
    assert (visits["rows"], visits["stayed_behind"], visits["orphans"]) == (
        2 * people["rows"],
        2 * (minors + 2),
        0,
    )


def test_a_sample_is_a_part_of_the_data_whose_references_resolve(tmp_path: Path) -> None:
    context = made(tmp_path, sample=0.5)
    people, visits = verdicts(context, "people"), verdicts(context, "visits")
    assert 0.3 * ROWS < people["rows"] < 0.7 * ROWS
    assert visits["rows"] == 2 * people["rows"]


def test_too_many_rows_that_would_stay_behind_fail_the_check(tmp_path: Path) -> None:
    context = made(tmp_path, k=70, atMost=0.05)
    pull(context, "people")
    verdict = protect(context, "people").snapshot.verdicts["rows"]
    assert not verdict.passed
    assert verdict.detail["anonymity"]["suppressed"] > 0.05 * ROWS


def test_a_row_that_points_at_nothing_is_still_an_orphan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = FRAMES["visits"].with_columns(
        pl.when(pl.col("id") == 7).then(9999).otherwise("person").alias("person")
    )
    monkeypatch.setitem(FRAMES, "visits", lost)
    context = made(tmp_path, when={"column": "age", "below": 18})
    pull(context, "people")
    protect(context, "people")
    pull(context, "visits")
    snapshot = protect(context, "visits").snapshot
    assert snapshot.verdicts["rows"].detail["orphans"] == 1
    assert not snapshot.verdicts["references"].passed


def test_every_raw_row_is_accounted_for_and_control_totals_agree(tmp_path: Path) -> None:
    totals = {
        "costs": {"sql": "SUM(cost)", "tolerance": 0.02},
        "people": {"sql": "COUNT(DISTINCT person)", "dataset": "people", "equals": "COUNT(id)"},
    }
    bodies = [contract("people", PEOPLE), contract("visits", VISITS, monitor={"reconcile": totals})]
    context = product_context(tmp_path, "census", bodies, FRAMES)
    for dataset in ("people", "visits"):
        verdicts(context, dataset)
    snapshot = protect(context, "visits").snapshot
    account = snapshot.verdicts["reconciliation"].detail
    assert (account["raw_rows"], account["set_aside"], account["valid_rows_given"]) == (2 * ROWS, 0, 2 * ROWS)
    assert {name: total["agrees"] for name, total in account["totals"].items()} == {
        "costs": True,
        "people": True,
    }


def test_a_control_total_that_differs_stops_what_follows(tmp_path: Path) -> None:
    totals = {"people": {"sql": "COUNT(id)", "dataset": "people", "equals": "COUNT(id)"}}
    bodies = [contract("people", PEOPLE), contract("visits", VISITS, monitor={"reconcile": totals})]
    context = product_context(tmp_path, "census", bodies, FRAMES)
    verdicts(context, "people")
    pull(context, "visits")
    outcome = protect(context, "visits")
    assert not outcome.snapshot.verdicts["reconciliation"].passed
    (incident,) = context.services.incidents.all("small")
    assert [signal.title for signal in incident.signals] == ["reconciliation of protected/visits"]


def test_totals_ask_raw_rows_for_nothing_that_does_not_leave_raw(tmp_path: Path) -> None:
    columns = [
        prop("pay", "number", "restricted", protect="drop"),
        prop("bonus", "number", "confidential", protect="redact"),
        prop("rate", "number", "confidential", protect={"transform": "encrypt", "mode": "deterministic"}),
        prop("cost", "number", "internal"),
        prop("age", "integer", "internal", protect={"transform": "generalize", "to": "age"}),
    ]
    raw = pl.DataFrame({each["name"]: [1.5, 2.5] for each in columns}).with_columns(age=pl.lit(40))
    context = product_context(tmp_path, "gdpr_pseudonymous", [contract("people", columns)], {"people": raw})
    plan = compile_plan(context.product, lambda _: 1, date(2026, 1, 1)).datasets["people"]
    frame = totalled(plan, raw.lazy())
    for asked in ("SUM(pay)", "COUNT(pay)", "SUM(rate)", "AVG(rate)"):
        for total in (Total(asked), Total("SUM(cost)", "people", asked)):
            with pytest.raises(DataRefusedError, match="columns that leave raw"):
                Totals({"all": total}, "visits").queries(frame, raw.lazy(), {"people": frame})

    def agree(first: str, second: str) -> bool:
        totals = Totals({"all": Total(first, "people", second)}, "visits")
        return totals.compared(pl.collect_all(totals.queries(frame, raw.lazy(), {"people": frame})))[0]

    assert agree("SUM(cost)", "SUM(cost)")
    assert agree("SUM(age)", "SUM(age)"), "a number stays one, if a smaller one"
    assert agree("COUNT(rate)", "COUNT(*)"), "what comes out as text can be counted"
    assert not agree("COUNT(bonus)", "COUNT(*)"), "what is redacted cannot"
    assert not agree("SUM(cost)", "SUM(bonus)")

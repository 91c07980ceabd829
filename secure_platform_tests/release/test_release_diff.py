import json
from copy import deepcopy
from typing import Any

from release_support import DIGEST, DOCUMENT, TEST, dbt_record

from secure_platform.contract.diff import Change, ContractDiff
from secure_platform.release.diff import TableDiff, diff_manifests

COLUMN: dict[str, Any] = {
    "column": "ssn",
    "transform": "drop",
    "params": {},
    "reason": "45 CFR 164.514(b)(2)(i)(G)",
    "input_type": "String",
    "output_type": None,
    "info_type": "US_SSN",
    "input_classification": "restricted",
    "classification": "restricted",
    "token_domain": None,
    "token_version": None,
    "reference": None,
}


def manifest() -> dict[str, Any]:
    return {
        "environment": "production",
        "profile": "hipaa_safe_harbor",
        "classification": "internal",
        "code_version": "1",
        "tables": {
            "counts": {"rows": 3, "content_digest": "a", "columns": [{"name": "n", "type": "int64"}]},
            "people": {
                "rows": 5,
                "content_digest": "b",
                "columns": [{"name": "id", "type": "string"}, {"name": "year", "type": "int64"}],
            },
        },
        "contracts": {"patients": {"version": "1.0.0", "digest": "x", "document": DOCUMENT}},
        "dbt": dbt_record("counts", "people"),
        "plan": {
            "document": {
                "digest": "p1",
                "profile": "hipaa_safe_harbor",
                "profile_digest": "d",
                "as_of": "2026-01-01",
                "token_versions": {"patient": 1, "visit": 1},
                "datasets": {"patients": [COLUMN]},
            }
        },
    }


def test_the_first_release_is_all_new() -> None:
    found = diff_manifests(None, manifest())
    assert found.first
    assert found.changed
    assert [(table.table, table.change, table.rows_before) for table in found.tables] == [
        ("counts", "added", None),
        ("people", "added", None),
    ]
    assert found.plan[0].startswith("First plan, under hipaa_safe_harbor")
    assert found.contracts.changes == (Change("additive", "patients", None, "dataset added"),)
    assert found.attention == ()


def test_nothing_changed() -> None:
    found = diff_manifests(manifest(), manifest())
    assert not found.changed
    assert (found.properties, found.plan, found.contracts) == ((), (), ContractDiff((), ()))
    assert {table.change for table in found.tables} == {"unchanged"}


def test_rows_and_columns() -> None:
    new = manifest()
    new["tables"]["people"] = {
        "rows": 6,
        "content_digest": "c",
        "columns": [
            {"name": "year", "type": "string"},
            {"name": "id", "type": "string"},
            {"name": "state", "type": "string"},
        ],
    }
    del new["tables"]["counts"]
    new["tables"]["more"] = {"rows": 1, "content_digest": "d", "columns": []}
    assert diff_manifests(manifest(), new).tables == (
        TableDiff("counts", "removed", 3, None, ()),
        TableDiff("more", "added", None, 1, ()),
        TableDiff(
            "people",
            "changed",
            5,
            6,
            (
                "year: string instead of int64.",
                "state: new column of type string.",
                "The columns are in another order.",
            ),
        ),
    )


def test_a_column_that_is_gone() -> None:
    new = manifest()
    new["tables"]["people"]["columns"].pop()
    new["tables"]["people"]["content_digest"] = "c"
    assert diff_manifests(manifest(), new).tables[1].columns == ("year: the column is gone.",)


def test_equal_counts_with_other_content_are_a_change() -> None:
    new = manifest()
    new["tables"]["people"]["content_digest"] = "c"
    table = diff_manifests(manifest(), new).tables[1]
    assert (table.change, table.rows_before, table.rows_after, table.columns) == ("changed", 5, 5, ())


def test_weaker_protection_is_called_weaker() -> None:
    new = deepcopy(manifest())
    new["plan"]["document"] |= {
        "digest": "p2",
        "datasets": {"patients": [{**COLUMN, "transform": "keep", "output_type": "String"}]},
    }
    (sentence,) = diff_manifests(manifest(), new).plan
    assert "WEAKER" in sentence
    assert "kept instead of dropped" in sentence
    assert diff_manifests(manifest(), new).attention == (sentence,)


def test_a_breaking_change_of_contract_is_said_and_stands_out() -> None:
    new = deepcopy(manifest())
    new["contracts"]["patients"]["digest"] = "y"
    (column,) = new["contracts"]["patients"]["document"]["schema"][0]["properties"]
    column["classification"] = "internal"
    found = diff_manifests(manifest(), new)
    assert found.contracts.changes == (
        Change("breaking", "patients", "id", "classification: confidential → internal"),
    )
    assert found.contracts.notes == (
        "patients: the version is 1.0.0 after 1.0.0; these changes need 2.0.0 or higher.",
    )
    assert found.attention == ("patients.id: classification: confidential → internal",)
    back = diff_manifests(new, manifest())
    assert (back.contracts.verdict, back.attention) == ("additive", ())


def test_a_contract_of_other_rules_is_breaking_but_does_not_stop_the_review() -> None:
    new = deepcopy(manifest())
    new["contracts"]["patients"] |= {"digest": "y", "document": {"version": "1.0.0"}}
    assert diff_manifests(new, manifest()).contracts.verdict == "breaking"
    assert not diff_manifests(new, new).changed


def test_properties_and_contracts() -> None:
    new = manifest() | {"classification": "confidential", "code_version": "2"}
    new["contracts"]["visits"] = {"version": "2.0.0", "digest": "z", "document": DOCUMENT}
    found = diff_manifests(manifest(), new)
    assert found.properties == (
        "The classification changes from internal to confidential.",
        "The code version changes from 1 to 2.",
    )
    assert found.contracts.changes == (Change("additive", "visits", None, "dataset added"),)
    back = diff_manifests(new, manifest())
    assert back.contracts.changes == (Change("breaking", "visits", None, "dataset removed"),)
    assert back.attention == ("visits: dataset removed",)


def test_it_can_be_written_as_json() -> None:
    found = json.loads(json.dumps(diff_manifests(None, manifest()).to_json()))
    assert found["changed"] is True
    assert found["attention"] == []
    assert found["contracts"] == {
        "verdict": "additive",
        "changes": [{"kind": "additive", "dataset": "patients", "column": None, "what": "dataset added"}],
        "notes": [],
    }
    assert found["tables"]["people"] == {
        "change": "added",
        "rows_before": None,
        "rows_after": 5,
        "columns": [],
    }


OTHER = DIGEST.replace("0", "1")


def test_a_variable_that_changes_stands_out_though_no_row_changes() -> None:
    new = manifest()
    new["dbt"]["vars"] = {"smallest_cell": 1}
    found = diff_manifests(manifest(), new)
    assert found.changed
    assert found.attention == ("The variable smallest_cell is 1 instead of 11.",)
    del new["dbt"]["vars"]["smallest_cell"]
    (sentence,) = diff_manifests(manifest(), new).attention
    assert sentence == "The variable smallest_cell is not set instead of 11."


def test_a_test_that_is_gone_or_weaker_or_other_stands_out() -> None:
    for changed, said in (
        (None, "the test is gone."),
        ({"severity": "warn"}, "the test's severity is warn instead of error."),
        ({"arguments": OTHER}, "the test changes: it has other arguments."),
        ({"conditions": OTHER}, "the test changes: it has other conditions of failure."),
        ({"sql": OTHER, "compiled": OTHER}, "the test changes: it has another text, other SQL when it runs."),
    ):
        new = manifest()
        new["dbt"]["tests"] = {"test.p.not_null": {**TEST, **changed}} if changed else {}
        found = diff_manifests(manifest(), new)
        assert found.changed
        assert found.attention == found.checks == (f"test.p.not_null: {said}",)


def test_a_new_test_and_other_sql_are_shown() -> None:
    new = manifest()
    new["dbt"] = dbt_record("counts", "more")
    new["dbt"]["models"]["model.p.counts"]["sql"] = OTHER
    new["dbt"]["macros"]["macro.p.money"] = OTHER
    new["dbt"]["tests"]["test.p.unique"] = TEST
    found = diff_manifests(manifest(), new)
    assert found.sql == (
        "model.p.counts: its SQL changes.",
        "model.p.more: new model.",
        "model.p.people: the model is gone.",
        "macro.p.money: its SQL changes.",
        "test.p.unique: new test.",
    )
    assert (found.checks, found.attention) == ((), ())
    new["dbt"] = dbt_record("counts", "people")
    new["dbt"]["models"]["model.p.people"]["compiled"] = OTHER
    assert diff_manifests(manifest(), new).sql == ("model.p.people: the same text runs as other SQL.",)


def test_who_else_makes_the_same_tokens_is_told_before_all_else_every_time() -> None:
    old, new = manifest(), {**manifest(), "product": "bank", "shared_domains": {"person": ["mallory"]}}
    for before in (None, old):
        found = diff_manifests(before, new)
        assert found.changed
        (said,) = found.attention
        assert "person: bank has the same tokens as mallory for the first time" in said
        assert found.to_json()["domains"] == [said]
    again = diff_manifests(new, new)
    assert not again.changed
    assert ["for the first time" in said for said in again.attention] == [False]
    assert diff_manifests(new, old).domains == ()


def test_a_waiver_that_stands_in_both_is_named_each_time_and_is_no_difference() -> None:
    waived = manifest()
    told = "until 2026-06-30 by dpo@example.org: recall"
    kept = {**COLUMN, "transform": "keep", "waived": told}
    waived["plan"]["document"]["datasets"]["patients"] = [kept]
    found = diff_manifests(waived, waived)
    (sentence,) = found.attention
    assert told in sentence
    assert "WEAKER than the profile requires" in sentence
    assert not found.changed
    assert found.to_json()["waivers"] == [sentence]

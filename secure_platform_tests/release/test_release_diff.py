import json
from copy import deepcopy
from typing import Any

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
        "contracts": {"patients": {"version": "1.0.0", "digest": "x"}},
        "plan": {
            "document": {
                "digest": "p1",
                "profile": "hipaa_safe_harbor",
                "profile_digest": "d",
                "as_of": "2026-01-01",
                "token_version": 1,
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
    assert found.contracts == ("patients: new contract, version 1.0.0.",)


def test_nothing_changed() -> None:
    found = diff_manifests(manifest(), manifest())
    assert not found.changed
    assert (found.properties, found.plan, found.contracts) == ((), (), ())
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


def test_properties_and_contracts() -> None:
    new = manifest() | {"classification": "confidential", "code_version": "2"}
    new["contracts"] = {
        "patients": {"version": "1.0.0", "digest": "y"},
        "visits": {"version": "2", "digest": "z"},
    }
    found = diff_manifests(manifest(), new)
    assert found.properties == (
        "The classification changes from internal to confidential.",
        "The code version changes from 1 to 2.",
    )
    assert found.contracts == (
        "patients: the contract changes without a new version.",
        "visits: new contract, version 2.",
    )
    back = diff_manifests(new, manifest() | {"contracts": {"patients": {"version": "3", "digest": "y"}}})
    assert back.contracts == (
        "patients: contract version 3 instead of 1.0.0.",
        "visits: the contract is gone.",
    )


def test_it_can_be_written_as_json() -> None:
    found = json.loads(json.dumps(diff_manifests(None, manifest()).to_json()))
    assert found["changed"] is True
    assert found["tables"]["people"] == {
        "change": "added",
        "rows_before": None,
        "rows_after": 5,
        "columns": [],
    }

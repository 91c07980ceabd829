"""Values inside JSON text, lists and structs are found under their keys, and no key is ever told."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_support import SCANNER, kinds, scan

ADDRESS = {"line": ["12 Main Street"], "city": "Boston", "plz": "02138", "geo": {"lat": "42.36877"}}


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("x", {"ssn": "999-12-3456"}, {"US_SSN"}),
        ("x", {"a": [{"b": {"ssn": 999123456}}]}, {"US_SSN"}),
        ("x", [{"given": ["Jane", "Mary"], "family": "Doe"}], {"PERSON_NAME"}),
        ("x", {"client_ip": "10.0.0.1", "app_version": "1.2.3.4"}, {"IPV4"}),
        ("x", {"app_version": "1.2.3.4"}, set()),
        ("x", {"opened": "2024-01-31"}, {"DATE"}),
        ("x", {"note": "mail jane@example.org"}, {"EMAIL"}),
        ("phones", ["5082225200", "5082225201"], {"PHONE"}),
        ("phone", {"type": "home", "number": "5082225200"}, {"PHONE"}),
        ("x", {"type": "home", "number": "5082225200"}, set()),
        ("home", ADDRESS, {"CITY", "POSTAL_CODE", "GPS_COORDINATE"}),
        ("address", {"use": "home", "line": ["12 Main Street"]}, {"STREET_ADDRESS"}),
        ("diagnosis", [{"sequence": 1, "reference": "urn:uuid:0b44"}], set()),
        ("password", {"masterUserPassword": "HIDDEN_DUE_TO_SECURITY_REASONS"}, set()),
    ],
)
def test_a_key_means_what_a_column_name_means(column: str, value: Any, expected: set[str]) -> None:
    text = [json.dumps(value), None, json.dumps(value, indent=2)]
    assert kinds(text, column) == expected
    found = {f.info_type for f in SCANNER.scan(pl.LazyFrame({column: [value, None]}, strict=False))}
    assert found == expected


def test_counts_are_cells_and_the_reason_says_where() -> None:
    cells = [json.dumps([{"city": "Boston"}, {"city": "Salem"}]), json.dumps({"city": "Lynn"}), "{}", None]
    finding = scan({"places": cells})["places", "CITY"]
    assert (finding.count, finding.ratio) == (3, 1.0)
    assert finding.reasons == ("column name", "inside nested values")


def test_whole_cells_and_values_inside_are_one_finding() -> None:
    cells = ["jane@example.org", json.dumps({"mail": "joe@example.org"})]
    assert list(scan({"x": cells})) == [("x", "EMAIL")]


def test_keys_are_data_and_never_told() -> None:
    keyed = [json.dumps({f"user{step}@example.org": {"city": "Boston"}}) for step in range(2000)]
    found = SCANNER.scan(pl.LazyFrame({"x": keyed}))
    assert {f.info_type for f in found} == {"EMAIL", "CITY"}
    assert "example" not in repr(found)


@pytest.mark.parametrize(
    "cell", ["{", '{"', '{"ssn', '{"ssn": "', '["', "[" * 500, '{"a":' * 500, "{}", "[]"]
)
def test_broken_documents_are_searched_and_nothing_is_made_of_them(cell: str) -> None:
    assert kinds([cell]) == set()
    assert kinds([f"{cell} 4111111111111111 }}"]) <= {"CREDIT_CARD"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=15)  # a loaded machine is not a defect
@given(st.lists(JSON, min_size=1, max_size=5), st.text(max_size=5))
def test_an_address_is_found_wherever_it_stands(around: Sequence[Any], key: str) -> None:
    document: Mapping[str, Any] = {"around": around, key: {"deep": [{"mail": "jane@example.org"}]}}
    assert "EMAIL" in kinds([json.dumps(document), json.dumps(around)])

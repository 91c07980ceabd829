import pytest

from secure_platform.monitor.shape import schema_changes, schema_state


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("int32", "int64", "additive"),
        ("int64", "int32", "narrowing"),
        ("float64", "float32", "narrowing"),
        ("int32", "float64", "additive"),
        ("int64", "float64", "breaking"),
        ("uint32", "int64", "additive"),
        ("uint64", "int64", "breaking"),
        ("int64", "uint64", "breaking"),
        ("date", "datetime[us,UTC]", "additive"),
        ("datetime[us,UTC]", "date", "narrowing"),
        ("decimal[10,2]", "decimal[12,2]", "additive"),
        ("decimal[12,2]", "decimal[10,2]", "narrowing"),
        ("decimal[10,2]", "decimal[10,4]", "breaking"),
        ("string", "int64", "breaking"),
        ("int64", "string", "breaking"),
    ],
)
def test_a_change_of_type_hurts_those_whose_values_no_longer_fit(
    before: str, after: str, change: str
) -> None:
    (found,) = schema_changes({"a": before, "b": "string"}, {"a": after, "b": "string"})
    assert (found.column, found.change) == ("a", change)


def test_new_columns_pass_and_lost_ones_fail() -> None:
    changes = schema_changes({"a": "string", "b": "int64"}, {"b": "int64", "c": "string"})
    assert [(change.column, change.change) for change in changes] == [("a", "breaking"), ("c", "additive")]
    assert schema_state(changes) == "fail"
    assert schema_state(changes[1:]) == "pass"
    assert schema_state(schema_changes({"a": "int64"}, {"a": "int32"})) == "warn"
    assert schema_state([]) == "pass"

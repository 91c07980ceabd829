"""Writes the smallest valid GraphQL document for a field, whatever its arguments and its type."""

from typing import Any

from graphql import (
    GraphQLField,
    GraphQLSchema,
    get_named_type,
    is_composite_type,
    is_enum_type,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
)

VALUES = {"Int": "1", "Float": "1.0", "Boolean": "true", "RunConfigData": "{}", "GenericScalar": "{}"}


def document(kind: str, name: str, field: GraphQLField, alias: str = "") -> str:
    """An operation that asks for this one field."""
    given = [f"{arg}: {_value(a.type)}" for arg, a in field.args.items() if is_non_null_type(a.type)]
    arguments = f"({', '.join(given)})" if given else ""
    inner = "{__typename}" if is_composite_type(get_named_type(field.type)) else ""
    return f"{kind} {{ {alias}{name}{arguments}{inner} }}"


def fields(schema: GraphQLSchema, kind: str) -> dict[str, GraphQLField]:
    roots = {
        "query": schema.query_type,
        "mutation": schema.mutation_type,
        "subscription": schema.subscription_type,
    }
    root = roots[kind]
    assert root is not None
    return dict(root.fields)


def _value(kind: Any) -> str:
    if is_non_null_type(kind):
        return _value(kind.of_type)
    if is_list_type(kind):
        return f"[{_value(kind.of_type)}]"
    if is_enum_type(kind):
        return str(next(iter(kind.values)))
    if is_input_object_type(kind):
        required = {name: _value(f.type) for name, f in kind.fields.items() if is_non_null_type(f.type)}
        return "{" + ", ".join(f"{name}: {value}" for name, value in required.items()) + "}"
    return VALUES.get(kind.name, '"x"')

"""Every field of Dagster's API asks the policy, whatever the request looks like.

The guard is on the fields themselves: aliases, fragments, batches, GET and sockets all end there. A change is
decided, and announced in the audit log, before it runs; its outcome follows. What somebody may not read is
empty where the type has an empty value, so that the rest of the page stays usable; else it is an error.
"""

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, Final

from dagster_graphql.schema import create_schema
from dagster_graphql.schema.errors import GraphenePythonError, GrapheneUnauthorizedError
from dagster_shared.error import SerializableErrorInfo
from graphene import Schema
from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLUnionType,
    default_field_resolver,
    get_named_type,
    is_list_type,
    is_object_type,
    is_union_type,
)

from secure_platform.access.resources import Action
from secure_platform.errors import AccessDeniedError
from secure_platform.web import rights
from secure_platform.web.launches import drop_reserved_tags, required
from secure_platform.web.permissions import PLATFORM, PolicyRequestContext
from secure_platform.web.rights import Rule

Resolver = Callable[..., Any]

EMPTY: Final[Mapping[str, Any]] = {"String": "", "Int": 0, "Float": 0.0, "Boolean": False}


def guarded_schema() -> Schema:
    """Dagster's schema with a guard on every field that needs one."""
    schema = create_schema()
    types = schema.graphql_schema
    roots = {
        types.query_type: (rights.QUERIES, _read),
        types.mutation_type: (rights.MUTATIONS, _change),
        types.subscription_type: (rights.SUBSCRIPTIONS, _subscribe),
    }
    for kind, (rules, guard) in roots.items():
        for name, field in _fields(kind):
            guard(name, field, rules.get(name, rights.UNKNOWN))
    needs = _needs(types.type_map)
    for kind in types.type_map.values():
        if is_object_type(kind) and kind not in roots:
            for name, field in _fields(kind):
                rule = rights.FIELDS.get((kind.name, name)) or needs.get(get_named_type(field.type).name)
                if rule is not None:
                    _read(name, field, rule)
    return schema


def _fields(kind: Any) -> list[tuple[str, GraphQLField]]:
    fields: Mapping[str, GraphQLField] = kind.fields
    return list(fields.items())


def _needs(types: Mapping[str, Any]) -> Mapping[str, Rule]:
    """What a type needs: its own right, or that of a member of the union."""
    needs: dict[str, Rule] = dict(rights.TYPES)
    for kind in types.values():
        if is_union_type(kind):
            members = [rights.TYPES[each.name] for each in kind.types if each.name in rights.TYPES]
            needs |= {kind.name: members[0]} if members else {}
    return needs


def _read(name: str, field: GraphQLField, rule: Rule) -> None:
    original = field.resolve or default_field_resolver

    def resolve(source: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        context: PolicyRequestContext = info.context
        if isinstance(rule, Action) and context.may(rule):
            return original(source, info, **arguments)
        return _withheld(name, field.type, rule)

    field.resolve = resolve


def _subscribe(name: str, field: GraphQLField, rule: Rule) -> None:
    original = field.subscribe
    assert original is not None  # noqa: S101 - a subscription without one is none

    def subscribe(source: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        context: PolicyRequestContext = info.context
        if isinstance(rule, Action) and context.may(rule):
            return original(source, info, **arguments)
        raise GraphQLError(_text(name, rule))

    field.subscribe = subscribe


def _change(name: str, field: GraphQLField, rule: Rule) -> None:
    original = field.resolve or default_field_resolver

    async def resolve(source: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        context: PolicyRequestContext = info.context
        detail = _origin(context)
        try:
            _permit(context, name, rule, arguments)
        except AccessDeniedError as error:
            audit = context.rights.services.audit
            audit.append(
                "ui.refuse", actor=context.principal.name, subject=f"graphql:{name}", detail={**detail}
            )
            return _refused(field.type, str(error))
        drop_reserved_tags(arguments)
        return await _recorded(context, name, detail, lambda: original(source, info, **arguments))

    field.resolve = resolve


def _origin(context: PolicyRequestContext) -> dict[str, Any]:
    """Where a change is asked for from, as it is recorded."""
    audit = context.rights.services.audit
    return {} if context.address is None else {"address": audit.identify(context.address)}


def _permit(context: PolicyRequestContext, name: str, rule: Rule, arguments: Mapping[str, Any]) -> None:
    """Ask the policy about everything that the change touches.

    Raises:
        AccessDeniedError: If it is refused.
    """
    policy = context.rights.services.policy
    if not isinstance(rule, Action):
        raise AccessDeniedError(f"Nobody may do {name} here", rule)
    resources = required(context, arguments) if rule is Action.BUILD else [PLATFORM]
    for resource in resources:
        policy.require(context.principal, rule, resource)


async def _recorded(
    context: PolicyRequestContext,
    name: str,
    detail: Mapping[str, Any],
    run: Callable[[], Awaitable[Any] | Any],
) -> Any:
    audit = context.rights.services.audit
    with audit.effect(
        "ui.change", actor=context.principal.name, subject=f"graphql:{name}", detail=dict(detail)
    ) as outcome:
        result = run()
        if isawaitable(result):
            result = await result
        outcome["result"] = type(result).__name__.removeprefix("Graphene")
    return result


def _withheld(name: str, kind: GraphQLOutputType, rule: Rule) -> Any:
    """What stands for something that the caller may not read."""
    if not isinstance(kind, GraphQLNonNull):
        return None
    inner = kind.of_type
    if is_list_type(inner):
        return []
    if isinstance(inner, GraphQLScalarType) and inner.name in EMPTY:
        return EMPTY[inner.name]
    return _refused(inner, _text(name, rule))


def _refused(kind: GraphQLOutputType, text: str) -> Any:
    """The error that the type has a place for; else one of the whole request.

    Raises:
        GraphQLError: If it has none.
    """
    named = get_named_type(kind)
    members = {each.name for each in named.types} if isinstance(named, GraphQLUnionType) else set()
    if "UnauthorizedError" in members:
        return GrapheneUnauthorizedError(text)  # type: ignore[no-untyped-call]  # Dagster's has no annotation.
    if "PythonError" in members:
        shown = SerializableErrorInfo(text, [], "AccessDeniedError")
        return GraphenePythonError(shown)  # type: ignore[no-untyped-call]  # The same.
    raise GraphQLError(text)


def _text(name: str, rule: Rule) -> str:
    if isinstance(rule, Action):
        return f"{name} needs the right {rule}. Ask an administrator for a role that has it."
    return f"{name} is not served. {rule}"

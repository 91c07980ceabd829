"""The API describes itself as OpenAPI 3.1, written from the table that its routes are made of."""

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from secure_platform.web.api_call import Operation

_TEXT: Final = {"type": "string"}
_MAYBE: Final = {"type": ["string", "null"]}
_NUMBER: Final = {"type": "integer"}
_FLAG: Final = {"type": "boolean"}
_OBJECT: Final = {"type": "object"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ERRORS: Final = {
    "400": "It cannot be used: a name, a body, a query",
    "401": "No token, or none that is valid",
    "403": "The policy does not allow it; the text names the rule",
    "409": "Not in the release's present state, or production changed",
    "422": "Data, contract or plan is refused",
    "429": "Too many wrong tokens came from there; `Retry-After` says for how long none is looked at",
    "500": "Something stored is not what was written, or the disk is failing",
}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _members(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(name: str) -> dict[str, Any]:
    return {"oneOf": [_reference(name), {"type": "null"}]}


SCHEMAS: Final[dict[str, Any]] = {
    "Problem": _members(error=_TEXT, fix=_TEXT, exit_code=_NUMBER, kind=_TEXT),
    "Me": _members(
        name=_TEXT,
        kind={"enum": ["user", "service"]},
        roles=_TEXTS,
        groups=_TEXTS,
        channel={"enum": ["web", "api", "local"]},
        method=_TEXT,
        mfa_at=_MAYBE,
        scopes={"type": ["array", "null"], "items": _TEXT},
    ),
    "Product": _members(
        name=_TEXT,
        profile=_TEXT,
        datasets={"type": "object", "additionalProperties": _TEXT},
        models=_TEXTS,
        base=_MAYBE,
        production=_or_null("Release"),
    ),
    "Release": _members(
        product=_TEXT,
        number=_NUMBER,
        digest=_TEXT,
        state=_TEXT,
        environment=_TEXT,
        classification=_TEXT,
        requested_by=_TEXT,
        run_id=_TEXT,
        approver_groups=_TEXTS,
        second_approver_groups=_TEXTS,
        base=_MAYBE,
        created_at=_TEXT,
        expires_at=_TEXT,
        decided_at=_MAYBE,
    ),
    "Review": _members(
        release=_reference("Release"),
        manifest=_OBJECT,
        base=_MAYBE,
        difference=_OBJECT,
        erased=_or_null("Erased"),
    ),
    "Erased": _members(at=_TEXT, tombstone=_MAYBE, said=_TEXT, fix=_TEXT),
    "Verified": _members(digest=_TEXT, tables=_TEXTS, verified=_FLAG),
    "BuildStarted": _members(run_id=_TEXT),
    "Build": _members(
        run_id=_TEXT,
        product=_TEXT,
        state={"enum": ["queued", "running", "succeeded", "failed", "canceled"]},
        events={"type": "array", "items": _reference("AssetEvent")},
        next=_NUMBER,
        release=_or_null("Release"),
        exit_code={"type": ["integer", "null"]},
    ),
    "AssetEvent": _members(
        asset=_TEXT,
        kind={"enum": ["started", "materialized", "checked", "failed", "interrupted"]},
        check=_MAYBE,
        passed={"type": ["boolean", "null"]},
        blocking=_FLAG,
        metadata={"type": ["object", "null"]},
        error=_MAYBE,
        error_class=_MAYBE,
    ),
    "Rows": _members(columns=_TEXTS, types=_TEXTS, rows={"type": "array", "items": {"type": "array"}}),
    "Revealed": _members(
        product=_TEXT,
        release=_NUMBER,
        column=_TEXT,
        unknown=_NUMBER,
        revealed={
            "type": "array",
            "items": _members(cell=_TEXT, value={"type": ["string", "integer", "number", "null"]}),
        },
    ),
    "Checkpoint": _members(checkpoint=_TEXT),
}


def api_document(operations: "Iterable[Operation]", prefix: str) -> dict[str, Any]:
    """The document.

    Args:
        operations: The table.
        prefix: Where the operations are, on this server.
    """
    paths: dict[str, dict[str, Any]] = {}
    bodies: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
        if operation.body is not None:
            bodies[operation.body.__name__] = operation.body.model_json_schema()
    return {
        "openapi": "3.1.0",
        "info": {"title": "secure_platform", "version": version("secure-platform")},
        "servers": [{"url": prefix}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **bodies},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: "Operation") -> dict[str, Any]:
    schema = _reference(operation.answer.removesuffix("[]"))
    if operation.answer.endswith("[]"):
        schema = {"type": "array", "items": schema}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            *(_parameter(name, "path", "") for name in _PARAMETER.findall(operation.path)),
            *(_parameter(name, "query", text) for name, text in operation.query.items()),
            *(_parameter(name, "header", text) for name, text in operation.headers.items()),
        ],
        "responses": {
            str(operation.status): {"description": operation.summary, "content": _json(schema)},
            **{
                status: {"description": text, "content": _json(_reference("Problem"))}
                for status, text in _ERRORS.items()
            },
        },
    }
    if operation.body is not None:
        content = _json(_reference(operation.body.__name__))
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameter(name: str, place: str, text: str) -> dict[str, Any]:
    described = {"name": name, "in": place, "required": place == "path", "schema": _TEXT}
    return {**described, "description": text} if text else described


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}

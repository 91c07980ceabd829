"""What each operation of the API does: the same functions as command line and pages, asked as its caller."""

from io import BytesIO
from typing import Any, Final

from starlette.responses import Response

from secure_platform.access.resources import Action, PlatformResource
from secure_platform.contract.product import Product
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps import decide
from secure_platform.orchestration.steps.deploy import in_production, rollback, signed_package
from secure_platform.orchestration.steps.exchange import ARROW, record_data
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.orchestration.steps.payload import erased
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.orchestration.steps.query import read_production
from secure_platform.orchestration.steps.reveal import Asked, reveal
from secure_platform.orchestration.steps.review import difference, verified_manifest
from secure_platform.web import builds
from secure_platform.web.api_call import (
    ApprovalRequest,
    BuildRequest,
    Call,
    DecisionRequest,
    Operation,
    QueryRequest,
    RevealRequest,
    RollbackRequest,
)
from secure_platform.web.guard import MOST_BODY_BYTES


def _me(call: Call) -> Any:
    who, how = call.principal, call.principal.circumstances
    return {
        "name": who.name,
        "kind": who.kind,
        "roles": sorted(who.roles),
        "groups": sorted(who.groups),
        "channel": how.channel,
        "method": how.method,
        "mfa_at": how.mfa_at and how.mfa_at.isoformat(),
        "scopes": None if how.scopes is None else sorted(how.scopes),
    }


def _products(call: Call) -> Any:
    return [
        _product_data(call, product) for product in call.services.products.values() if call.is_shown(product)
    ]


def _product(call: Call) -> Any:
    call.may_read(Action.RELEASE_READ, named_resource(call.services, call.product.name))
    return _product_data(call, call.product)


def _product_data(call: Call, product: Product) -> dict[str, Any]:
    base = call.services.target.base(product.name)
    return {
        "name": product.name,
        "profile": product.profile,
        "datasets": {name: contract.version for name, contract in product.contracts.items()},
        "models": list(product.models),
        "base": base,
        "production": record_data(in_production(call.services, product.name)) if base else None,
    }


def _releases(call: Call) -> Any:
    named = call.request.query_params.get("product")
    known = call.services.products.values()
    products = [call.services.product(named)] if named is not None else [p for p in known if call.is_shown(p)]
    for product in products:
        call.may_read(Action.RELEASE_READ, named_resource(call.services, product.name))
    return [record_data(record) for product in products for record in call.services.gate.list(product.name)]


def _release(call: Call) -> Any:
    record = call.release
    manifest, gone = signed_package(call.services, record).manifest, erased(call.services, record)
    return {
        "release": record_data(record),
        "manifest": dict(manifest),
        "base": call.services.target.base(record.product),
        "difference": difference(call.services, record, manifest).to_json(),
        "erased": None if gone is None else gone.to_json(),
    }


def _verify(call: Call) -> Any:
    record = call.release
    manifest = verified_manifest(call.services, record)
    return {"digest": record.digest, "tables": list(manifest["tables"]), "verified": True}


def _approve(call: Call) -> Any:
    record, body = call.release, call.body
    return record_data(
        decide.approve(
            call.services,
            record.digest,
            call.principal,
            reason=body.reason,
            base=body.base,
            ticket=body.ticket,
        )
    )


def _reject(call: Call) -> Any:
    record, body = call.release, call.body
    return record_data(
        decide.reject(call.services, record.digest, call.principal, reason=body.reason, ticket=body.ticket)
    )


def _withdraw(call: Call) -> Any:
    record, body = call.release, call.body
    return record_data(
        decide.withdraw(call.services, record.digest, call.principal, reason=body.reason, ticket=body.ticket)
    )


def _rollback(call: Call) -> Any:
    records = call.services.gate.list(call.product.name)
    seen = next((record for record in records if record.number == call.body.leave), None)
    if seen is None:
        raise UsageError(f"{call.product.name} has no release {call.body.leave}", "See the list of releases.")
    return record_data(rollback(call.services, seen, call.principal, reason=call.body.reason).record)


def _build(call: Call) -> Any:
    product = call.services.product(call.body.product)
    asked = product_resource(call.services, product)
    call.services.policy.require(call.principal, Action.BUILD, asked)
    key = call.request.headers.get("idempotency-key")
    return {"run_id": builds.launch(call.services, call.principal, call.request, product, key)}


def _build_state(call: Call) -> Any:
    after = call.request.query_params.get("after", "0")
    if not after.isdecimal():
        raise UsageError("`after` is not a number", "Give the `next` of the answer before.")
    run, product = builds.find(call.services, call.request, call.request.path_params["run"])
    call.may_read(Action.BUILD, product_resource(call.services, product))
    return builds.state(call.services, call.request, run, product, after=int(after))


def _query(call: Call) -> Any:
    body = call.body
    frame = read_production(
        call.services,
        call.product.name,
        body.sql,
        caller=call.principal,
        purpose=body.purpose,
        limit=body.limit,
    )
    if ARROW in call.request.headers.get("accept", ""):
        buffer = BytesIO()
        frame.write_ipc_stream(buffer)
        return Response(buffer.getvalue(), media_type=ARROW, headers={"Cache-Control": "no-store"})
    types = [str(kind) for kind in frame.dtypes]
    return {"columns": frame.columns, "types": types, "rows": [list(row) for row in frame.rows()]}


def _reveal(call: Call) -> Any:
    body = call.body
    asked = Asked(call.product.name, body.table, body.column, body.release, body.purpose, body.cells)
    revealed = reveal(call.services, asked, call.principal)
    return {
        "product": asked.product,
        "release": revealed.release,
        "column": revealed.place,
        "unknown": revealed.unknown,
        "revealed": revealed.frame.to_dicts(),
    }


def _checkpoint(call: Call) -> Any:
    call.services.policy.require(call.principal, Action.AUDIT_READ, PlatformResource())
    return {"checkpoint": call.services.audit.checkpoint()}


_AGAIN: Final = {"Idempotency-Key": "The same key again is the same build, not a second one."}
OPERATIONS: Final = (
    Operation("me", "GET", "/me", _me, "Who the server takes you for", "Me"),
    Operation("products", "GET", "/products", _products, "Products you may see", "Product[]"),
    Operation("product", "GET", "/products/{product}", _product, "One product", "Product"),
    Operation(
        "query",
        "POST",
        "/production/{product}/query",
        _query,
        "Read production: one SELECT, for a purpose, audited",
        "Rows",
        QueryRequest,
    ),
    Operation(
        "reveal",
        "POST",
        "/products/{product}/reveal",
        _reveal,
        "Make the values again that cells stand for: for a purpose, a few at a time, audited",
        "Revealed",
        RevealRequest,
        most_bytes=MOST_BODY_BYTES,
    ),
    Operation(
        "rollback",
        "POST",
        "/products/{product}/rollback",
        _rollback,
        "Put the release before back into production",
        "Release",
        RollbackRequest,
    ),
    Operation(
        "build",
        "POST",
        "/builds",
        _build,
        "Build a product: source to pending release",
        "BuildStarted",
        BuildRequest,
        headers=_AGAIN,
        status=202,
    ),
    Operation(
        "build_state",
        "GET",
        "/builds/{run}",
        _build_state,
        "How a build goes on and how it ended",
        "Build",
        query={"after": "Only events from this one on: `next` of the answer before."},
    ),
    Operation(
        "releases",
        "GET",
        "/releases",
        _releases,
        "Releases, by product and number",
        "Release[]",
        query={"product": "Only this product's."},
    ),
    Operation(
        "release",
        "GET",
        "/releases/{digest}",
        _release,
        "What a steward looks at: manifest, difference to production",
        "Review",
    ),
    Operation(
        "verify",
        "GET",
        "/releases/{digest}/verify",
        _verify,
        "Derive everything again from the package's bytes",
        "Verified",
    ),
    Operation(
        "approve",
        "POST",
        "/releases/{digest}/approve",
        _approve,
        "Approve a pending release; its requester cannot",
        "Release",
        ApprovalRequest,
    ),
    Operation(
        "reject",
        "POST",
        "/releases/{digest}/reject",
        _reject,
        "Reject a pending release for good",
        "Release",
        DecisionRequest,
    ),
    Operation(
        "withdraw",
        "POST",
        "/releases/{digest}/withdraw",
        _withdraw,
        "Withdraw a release that is not deployed",
        "Release",
        DecisionRequest,
    ),
    Operation(
        "checkpoint",
        "GET",
        "/audit/checkpoint",
        _checkpoint,
        "A signed checkpoint of the audit log, to be kept elsewhere",
        "Checkpoint",
    ),
)

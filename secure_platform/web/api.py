"""What programs ask the server: one table of operations makes the routes and the document about them.

Who calls is known before an operation runs; the operation asks the policy about what it touches. A body is
one strict JSON object, and an error is one too, with the exit code that the command line ends with.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from secure_platform import canonical
from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.plain import plain
from secure_platform.services import Services
from secure_platform.web.api_call import Call, Operation
from secure_platform.web.api_document import api_document
from secure_platform.web.api_operations import OPERATIONS
from secure_platform.web.authentication import principal_of
from secure_platform.web.problems import json_problem
from secure_platform.web.routes import AUTHENTICATED, OwnRoute

PREFIX: Final = "/api/v1"
_NOT_STORED: Final = {"Cache-Control": "no-store"}


def routes(services: Services) -> list[OwnRoute]:
    """Every operation, the document that describes them, and what answers for all other paths."""
    operations = [
        OwnRoute(
            PREFIX + operation.path,
            _endpoint(services, operation),
            right=AUTHENTICATED,
            methods=(operation.method,),
        )
        for operation in OPERATIONS
    ]
    return [
        OwnRoute(f"{PREFIX}/openapi.json", _describe, right=AUTHENTICATED),
        *operations,
        OwnRoute("/api/{path:path}", _nothing, right=AUTHENTICATED, methods=("GET", "POST")),
    ]


def _describe(request: Request) -> Response:
    prefix = request.scope.get("root_path", "") + PREFIX
    return JSONResponse(api_document(OPERATIONS, prefix), headers=_NOT_STORED)


def _nothing(_request: Request) -> Response:
    return json_problem(UsageError("There is no such operation", f"See {PREFIX}/openapi.json."), status=404)


def _endpoint(services: Services, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            body = await _body(request, operation)
            call = Call(services, principal_of(request), request, body)
            return await run_in_threadpool(_run, operation, call)
        except Exception as error:  # noqa: BLE001 - whatever it is, a program is told it as JSON
            return json_problem(error)

    return answer


def _run(operation: Operation, call: Call) -> Response:
    result = operation.handler(call)
    if isinstance(result, Response):
        return result
    return JSONResponse(plain(result), status_code=operation.status, headers=_NOT_STORED)


async def _body(request: Request, operation: Operation) -> BaseModel | None:
    received, most, model = bytearray(), operation.most_bytes, operation.body
    if model is None:
        return None
    async for chunk in request.stream():
        received += chunk
        if len(received) > most:
            raise UsageError(f"The body is larger than {most >> 10} KiB", "Send less.")
    try:
        return model.model_validate(canonical.loads(bytes(received), name="The body"))
    except ValidationError as error:
        places = sorted({".".join(map(str, problem["loc"])) for problem in error.errors()})
        culprit = f"The body is refused at: {', '.join(places[:5])[:200] or 'its root'}"
    except SecurePlatformError as error:
        culprit = error.culprit
    raise UsageError(culprit, "See /api/v1/openapi.json for its form.") from None

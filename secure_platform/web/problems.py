"""What went wrong is said in words that hold no value; a foreign error is named by its class only."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from secure_platform.access.throttle import TooManyAttemptsError
from secure_platform.errors import (
    AccessDeniedError,
    GateRefusedError,
    IntegrityError,
    SecurePlatformError,
    ServiceError,
    StepFailedError,
    StorageError,
    UsageError,
)
from secure_platform.web.rendering import page

_STATUS: Final = {
    TooManyAttemptsError: 429,
    AccessDeniedError: 403,
    GateRefusedError: 409,
    IntegrityError: 500,
    StorageError: 500,
    StepFailedError: 500,
    ServiceError: 503,
    UsageError: 400,
}
_REFUSED: Final = 422
_TITLES: Final = {
    400: "That cannot be done",
    403: "You may not do this",
    404: "There is nothing here",
    409: "Not in its present state",
    422: "This was refused",
    429: "Too many attempts",
    500: "Something is wrong",
    503: "A service is away",
}


def status_of(error: SecurePlatformError) -> int:
    """The HTTP status that an error is answered with."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), _REFUSED)


def _headers_of(error: Exception | None) -> dict[str, str]:
    """What its answer says besides: when to come again, to who came too often."""
    return {"Retry-After": str(error.seconds)} if isinstance(error, TooManyAttemptsError) else {}


def problem(request: Request, error: Exception) -> Response:
    """An error as a page for people, as JSON for programs; the request says which of the two is wanted."""
    if "text/html" not in request.headers.get("accept", ""):
        return json_problem(error)
    code, shown = _shown(error)
    title = _TITLES.get(code, _TITLES[500])
    response = page(request, "problem.html", status=code, title=title, culprit=shown.culprit, fix=shown.fix)
    response.headers.update(_headers_of(error))
    return response


def json_problem(error: Exception, *, status: int | None = None) -> JSONResponse:
    """An error for programs, with the exit code that the command line ends with.

    Args:
        error: What happened.
        status: HTTP status, if the error's own does not fit.
    """
    code, shown = _shown(error)
    document: dict[str, Any] = {
        "error": shown.culprit,
        "fix": shown.fix,
        "exit_code": shown.exit_code,
        "kind": type(error).__name__,
    }
    return JSONResponse(
        document, status_code=status or code, headers={**_headers_of(error), "Cache-Control": "no-store"}
    )


def _shown(error: Exception) -> tuple[int, SecurePlatformError]:
    """Status and error as they are told: a library's message may hold data, only its class is."""
    if isinstance(error, SecurePlatformError):
        return status_of(error), error
    return 500, SecurePlatformError(
        f"The server met an error of the kind {type(error).__name__}",
        "Try it again; if it stays, ask whoever runs this server.",
    )


def form_page(request: Request, template: str, error: SecurePlatformError | None, **values: Any) -> Response:
    """A page with a form, which says what was wrong with what was sent, if anything was."""
    status = 200 if error is None else status_of(error)
    response = page(request, template, status=status, problem=error, **values)
    response.headers.update(_headers_of(error))
    return response

"""What goes wrong is answered with what a caller may know: our errors in full, of others only the class.

Nothing is raised to the server that runs this application: it would print the text of the error.
"""

import logging
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secure_platform.errors import (
    AccessDeniedError,
    GateRefusedError,
    SecurePlatformError,
    StepFailedError,
    UsageError,
)
from secure_platform.web.rendering import page

STATUS: Final[tuple[tuple[type[SecurePlatformError], int], ...]] = (
    (UsageError, 400),
    (AccessDeniedError, 403),
    (GateRefusedError, 409),
)
SERVER_ERROR: Final = 500
INTERNAL_ERROR: Final = 1011
POLICY_VIOLATION: Final = 1008
_logger = logging.getLogger(__name__)


class Failures:
    """Answers what the application raises.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; answer for it if it fails before it answered."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except SecurePlatformError as error:
            await _answer(scope, receive, send, error, begun=begun)
        except Exception as error:  # noqa: BLE001 - see the module's rule
            withheld = StepFailedError.withheld("The server", error)
            _logger.error("%s", withheld)  # noqa: TRY400 - its traceback quotes the error
            shown = SecurePlatformError(f"The server failed with {type(error).__name__}", "Try it again.")
            await _answer(scope, receive, send, shown, begun=begun)


async def _answer(
    scope: Scope, receive: Receive, send: Send, error: SecurePlatformError, *, begun: bool
) -> None:
    status = next((code for kind, code in STATUS if isinstance(error, kind)), SERVER_ERROR)
    if scope["type"] == "websocket":
        code = INTERNAL_ERROR if status == SERVER_ERROR else POLICY_VIOLATION
        await send({"type": "websocket.close", "code": code, "reason": type(error).__name__})
    elif scope["type"] == "http" and not begun:
        await failure(Request(scope, receive), error, status)(scope, receive, send)


def failure(request: Request, error: SecurePlatformError, status: int) -> Response:
    """The error as a page for a person, as JSON for a program."""
    if "text/html" in Headers(scope=request.scope).get("accept", ""):
        return page(request, "error.html", status=status, error=error, code=status)
    return JSONResponse({"error": error.culprit, "fix": error.fix}, status_code=status)

"""What goes wrong is answered with what a caller may know: our errors in full, of others only the class.

Nothing is raised to the server that runs this application: it would print the text of the error.
"""

import logging
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secure_platform.errors import AccessDeniedError, SecurePlatformError, StepFailedError
from secure_platform.web.guard import POLICY_VIOLATION
from secure_platform.web.problems import problem

INTERNAL_ERROR: Final = 1011
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
        except Exception as error:  # noqa: BLE001 - see the module's rule
            if not isinstance(error, SecurePlatformError):
                # Its traceback quotes the error.
                _logger.error("%s", StepFailedError.withheld("The server", error))  # noqa: TRY400
            await _answer(scope, receive, send, error, begun=begun)


async def _answer(scope: Scope, receive: Receive, send: Send, error: Exception, *, begun: bool) -> None:
    if scope["type"] == "websocket":
        denied = isinstance(error, AccessDeniedError)
        code = POLICY_VIOLATION if denied else INTERNAL_ERROR
        await send({"type": "websocket.close", "code": code, "reason": type(error).__name__})
    elif scope["type"] == "http" and not begun:
        answer = await run_in_threadpool(problem, Request(scope, receive), error)
        await answer(scope, receive, send)

"""A page shows what the policy lets its reader see, and offers only what it would let them do.

Showing evaluates the policy; doing asks it again where it is done. What is refused becomes a page.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.access.situation import Grant
from secure_platform.errors import SecurePlatformError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.standing import Position
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.problems import problem
from secure_platform.web.rendering import page
from secure_platform.web.routes import OwnRoute, Right

View: TypeAlias = Callable[[Request], Response]


class Desk:
    """What every room of pages works with.

    Args:
        services: The rooms.
    """

    def __init__(self, services: Services) -> None:
        self.services = services

    def may(self, request: Request, action: Action | str) -> bool:
        """Whether the reader has a right on the platform."""
        asked = self.services.policy.evaluate(principal_of(request), Action(action), PlatformResource())
        return asked.allowed

    def may_with(self, principal: Principal, action: Action, record: ReleaseRecord) -> bool:
        """Whether somebody has a right on a release, whatever was decided on it."""
        return self.services.policy.evaluate(principal, action, Position(record, (), ()).resource).allowed

    def unreviewed(self) -> list[Grant]:
        """Every broken glass that nobody has reviewed yet."""
        grants = self.services.situation.grants()
        return [grant for grant in grants if grant.kind == "break_glass" and grant.reviewed_at is None]

    def show(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """Render a page, whose navigation has what its reader may open."""
        return page(request, template, status=status, may=lambda action: self.may(request, action), **values)

    def get(self, path: str, view: View, right: Right) -> OwnRoute:
        """A page that changes nothing."""
        return OwnRoute(path, _answering(view), right=right)

    def post(self, path: str, view: View, right: Right) -> OwnRoute:
        """What a form of ours does."""
        return OwnRoute(path, _answering(view), right=right, methods=("POST",))


def download(content: bytes, name: str, media_type: str) -> Response:
    """A file for the reader's disk; never shown in the browser."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(content, media_type=media_type, headers=headers)


def _answering(view: View) -> View:
    def answer(request: Request) -> Response:
        try:
            return view(request)
        except SecurePlatformError as error:
            return problem(request, error)

    return answer

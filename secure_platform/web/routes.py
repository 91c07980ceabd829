"""Every route says who may use it; one that does not is refused to everybody."""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from starlette.routing import Route

from secure_platform.access.resources import Action

Right: TypeAlias = Action | Literal["public", "authenticated"]

PUBLIC: Final = "public"
AUTHENTICATED: Final = "authenticated"
"""Anybody who has logged in; the page itself asks the policy about what it shows and does."""


class OwnRoute(Route):
    """One of our own pages or endpoints.

    Args:
        path: Below the server's path prefix.
        endpoint: Takes the request.
        right: What the policy is asked about the platform before the endpoint runs.
        methods: HTTP methods; GET answers HEAD too.
    """

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, right: Right, methods: tuple[str, ...] = ("GET",)
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self.right = right

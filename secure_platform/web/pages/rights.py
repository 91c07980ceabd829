"""Rights for a time are given, lent, taken in an emergency, reviewed and ended here; and deployments frozen.

Who may is asked where it is done: a delegation and a broken glass are everybody's own, the rest is not.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.principals import Principal
from secure_platform.access.resources import PlatformResource, ProductResource
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.forms import form_of
from secure_platform.web.pages.desk import Desk
from secure_platform.web.rendering import go
from secure_platform.web.routes import AUTHENTICATED, OwnRoute

_MOST_DIGITS: Final = 4
_HOME: Final[Mapping[str, str]] = {"delegate": "/account", "break_glass": "/account", "end": "/account"}


class Rights(Desk):
    """One form, one change: the room that makes it asks the policy and records it."""

    def change(self, request: Request) -> Response:
        """Do what the form says, and go back to the page that it was on."""
        form, done = form_of(request), request.path_params["done"]
        self._change(done, form, principal_of(request))
        return go(request, _HOME.get(done, "/access"))

    def _change(self, done: str, form: Mapping[str, str], caller: Principal) -> None:
        name, role, reason = (form.get(field, "").strip() for field in ("name", "role", "reason"))
        product, grants = form.get("product") or None, self.services.grants
        match done:
            case "grant":
                grants.give(caller, name, role, product=product, lasts=_lasts(form), reason=reason)
            case "delegate":
                grants.delegate(caller, name, product=product, lasts=_lasts(form), reason=reason)
            case "break_glass":
                asked = self._product(product)
                grants.break_glass(caller, role, asked, lasts=_lasts(form), reason=reason)
            case "review":
                grants.review(caller, form.get("grant", ""), finding=reason)
            case "revoke" | "end":
                grants.revoke(caller, form.get("grant", ""))
            case "freeze":
                frozen = self._product(product) if product else PlatformResource()
                lasts = _lasts(form) if form.get("days") else None
                self.services.freezes.set(caller, frozen, reason=reason, lasts=lasts)
            case "lift":
                self.services.freezes.lift(caller, product)
            case _:
                raise UsageError("There is no such change", "Use one of the forms.")

    def _product(self, name: str | None) -> ProductResource:
        return product_resource(self.services, self.services.product(name or ""))


def routes(services: Services) -> list[OwnRoute]:
    """Where the forms of the access and account pages go."""
    room = Rights(services)
    return [room.post("/rights/{done}", room.change, AUTHENTICATED)]


def _lasts(form: Mapping[str, str]) -> timedelta:
    return timedelta(days=_number(form, "days"), minutes=_number(form, "minutes"))


def _number(form: Mapping[str, str], name: str) -> int:
    text = form.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise UsageError(f"The {name} are not a number", "Write a whole number.")
    return int(text or 0)

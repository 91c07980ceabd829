"""The monitoring pages of a product are for readers who may see its incidents."""

from starlette.requests import Request

from secure_platform.access.resources import Action
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.web.authentication import principal_of
from secure_platform.web.pages.desk import Desk


class Watching(Desk):
    """The right to look, asked of the policy for each product."""

    def may_on(self, request: Request, action: Action, product: str) -> bool:
        """Whether the reader has a right on a product."""
        asked = named_resource(self.services, product)
        return self.services.policy.evaluate(principal_of(request), action, asked).allowed

    def may_read(self, request: Request, product: str) -> bool:
        """Whether the reader may look at what is watched of a product."""
        return self.may_on(request, Action.INCIDENT_READ, product)

    def require_read(self, request: Request, product: str) -> None:
        """Stop whoever may not look; what is shown is on nobody's record.

        Raises:
            AccessDeniedError: If the policy does not let them; that is on record.
        """
        if not self.may_read(request, product):
            asked = named_resource(self.services, product)
            self.services.policy.require(principal_of(request), Action.INCIDENT_READ, asked)

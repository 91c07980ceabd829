"""Which keys there are, in which state, how old, and whether a backup has them; nothing is changed here."""

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.resources import Action
from secure_platform.keys.algorithms import POLICY
from secure_platform.keys.catalog import PURPOSES
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.pages.desk import Desk
from secure_platform.web.routes import OwnRoute


class Keys(Desk):
    """The key ring, without anything secret."""

    def overview(self, request: Request) -> Response:
        """Every version of every key, the last backup, and which algorithms are approved where."""
        return self.show(
            request,
            "keys.html",
            report=self.services.custody.report(principal_of(request)),
            purposes=PURPOSES,
            posture=list(POLICY.values()),
            fips=self.services.settings.keys.fips,
            provider=self.services.settings.keys.provider,
        )


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Keys(services)
    return [room.get("/keys", room.overview, Action.KEY_READ)]

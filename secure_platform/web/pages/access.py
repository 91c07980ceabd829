"""x"""

from secure_platform.services import Services
from secure_platform.web.routes import OwnRoute


def routes(services: Services) -> list[OwnRoute]:
    return []

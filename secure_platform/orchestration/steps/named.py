"""What the policy is asked where products are listed or looked at: whatever became of one stops no other."""

from contextlib import suppress

from secure_platform.access.resources import ProductResource
from secure_platform.errors import PlanRefusedError
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import Services
from secure_platform.taxonomy.classification import Classification


def named_resource(services: Services, product: str) -> ProductResource:
    """The product as the policy sees it; one that is gone, or whose plan is refused, counts as restricted.

    When a plan is refused is just when somebody looks what is wrong, with this product and with the others.
    """
    known = services.products.get(product)
    if known is not None:
        with suppress(PlanRefusedError):
            return product_resource(services, known)
    return ProductResource(product, services.settings.environment, int(Classification.RESTRICTED))

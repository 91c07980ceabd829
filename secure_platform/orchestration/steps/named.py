"""What the policy is asked where products are listed or looked at: whatever became of one stops no other."""

from contextlib import suppress

from secure_platform.access.resources import ProductResource
from secure_platform.errors import PlanRefusedError
from secure_platform.orchestration.steps.protect import current_plan, product_resource
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


def refusals(services: Services) -> dict[str, PlanRefusedError]:
    """The products whose plan is refused, and why."""
    return {name: refused for name in services.products if (refused := _refusal(services, name))}


def _refusal(services: Services, product: str) -> PlanRefusedError | None:
    try:
        current_plan(services.product(product), services.keys)
    except PlanRefusedError as refused:
        return refused
    return None

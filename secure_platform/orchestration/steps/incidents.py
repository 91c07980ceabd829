"""What the policy is asked about an incident: its product, as it is now."""

from secure_platform.access.resources import ProductResource
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import Services
from secure_platform.taxonomy.classification import Classification


def incident_resource(services: Services, product: str) -> ProductResource:
    """The product as the policy sees it; one that is gone from the project counts as restricted."""
    known = services.products.get(product)
    if known is not None:
        return product_resource(services, known)
    return ProductResource(product, services.settings.environment, int(Classification.RESTRICTED))

"""A product whose plan is refused is shown as broken, and takes nobody down: it has no step, job or sensor.

So nothing of it is built or deployed until its plan is mended, and what is in production stays as it is. The
others load and run. It is one asset of the graph, which says what is refused; told by name it is wherever its
plan would be shown or carried out (`current_plan`).
"""

import dagster as dg

from secure_platform.contract.product import Product
from secure_platform.errors import PlanRefusedError
from secure_platform.orchestration.presentation import CLASSIFICATION_TAG, PAGE, PRODUCT_TAG, page_link
from secure_platform.settings import Settings
from secure_platform.taxonomy.classification import Classification

BROKEN_TAG = "secure/broken"
BROKEN = "broken"


def broken_definitions(product: Product, refused: PlanRefusedError, settings: Settings) -> dg.Definitions:
    """What Dagster knows of a product whose plan is refused.

    Args:
        product: Its contracts are valid.
        refused: Why its plan is not.
        settings: Name the address of its page.
    """
    spec = dg.AssetSpec(
        dg.AssetKey([product.name, "release"]),
        description=f"{refused}\n\nNothing of it is built or deployed meanwhile.",
        owners=[product.owner],
        group_name=f"{product.name}_{BROKEN}",
        kinds={BROKEN},
        tags={
            # As everywhere where the plan does not say it.
            CLASSIFICATION_TAG: Classification.RESTRICTED.label,
            PRODUCT_TAG: product.name,
            BROKEN_TAG: "",
        },
        metadata={
            PAGE: page_link(settings, f"/data-map/{product.name}"),
            "refused": refused.culprit,
            "fix": refused.fix,
        },
    )
    return dg.Definitions(assets=[spec])

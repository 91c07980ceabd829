"""The code location: every data product below `defs/`, under the root governance rule."""

import dagster as dg

from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.lookouts import lookout_definitions
from secure_platform.orchestration.monitoring import monitoring_definitions
from secure_platform.orchestration.project import load_products
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.rotation import rotation_definitions
from secure_platform.settings import PACKAGE


@dg.definitions
def defs() -> dg.Definitions:
    """The products of this project with the platform's resources; steps run in one process per run."""
    products = load_products(PACKAGE)
    shared = dg.Definitions(resources=platform_resources(), executor=dg.in_process_executor)
    watching = rotation_definitions(), monitoring_definitions(), lookout_definitions()
    return govern(dg.Definitions.merge(products, shared, *watching))

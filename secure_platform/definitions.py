"""The code location: every data product below `defs/`, under the root governance rule."""

import dagster as dg

from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.rotation import rotation_definitions
from secure_platform.settings import PACKAGE


@dg.definitions
def defs() -> dg.Definitions:
    """The products of this project with the platform's resources; steps run in one process per run."""
    products = dg.load_from_defs_folder(path_within_project=PACKAGE)
    shared = dg.Definitions(resources=platform_resources(), executor=dg.in_process_executor)
    return govern(dg.Definitions.merge(products, shared, rotation_definitions()))

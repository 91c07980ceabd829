"""The code location: every data product below `defs/`, under the root governance rule."""

import warnings

import dagster as dg

from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.lookouts import lookout_definitions
from secure_platform.orchestration.monitoring import monitoring_definitions
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.rotation import rotation_definitions
from secure_platform.settings import PACKAGE


@dg.definitions
def defs() -> dg.Definitions:
    """The products of this project with the platform's resources; steps run in one process per run."""
    products = _products()
    shared = dg.Definitions(resources=platform_resources(), executor=dg.in_process_executor)
    watching = rotation_definitions(), monitoring_definitions(), lookout_definitions()
    return govern(dg.Definitions.merge(products, shared, *watching))


def _products() -> dg.Definitions:
    """What `dg.load_from_defs_folder` finds.

    That function also imports every installed integration, dbt's and AWS's, to list the components that could
    be added to a project: that takes longer than all the rest, in every code server and every run.
    """
    tree = dg.ComponentTree.for_project(PACKAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # As it does: that a place in YAML is remembered.
        products = tree.build_defs(tree.defs_module_path)
    return dg.Definitions.merge(products, dg.Definitions(component_tree=tree))

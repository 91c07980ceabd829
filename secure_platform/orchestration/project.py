"""The products of a dg project, loaded without what loading does not need: each new process pays for it."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg


def load_products(path_within_project: Path) -> dg.Definitions:
    """What `dg.load_from_defs_folder` finds.

    That function also imports every installed integration, dbt's and AWS's, to list the components that could
    be added to a project: that takes longer than all the rest, in every code server and every run.

    Args:
        path_within_project: Any folder of the project.
    """
    tree = dg.ComponentTree.for_project(path_within_project)
    with _uncollected(), warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # As it does: that a place in YAML is remembered.
        products = tree.build_defs(tree.defs_module_path)
    return dg.Definitions.merge(products, dg.Definitions(component_tree=tree))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing that is built here is garbage; looking for it again and again was a third of the costs."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

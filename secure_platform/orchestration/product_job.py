"""A product's job is built from its own assets, so that other products make it neither slower nor different.

For each of its jobs, Dagster looks through every asset and check of the project; loading would otherwise take
time that grows with the square of the number of products.
"""

import warnings
from collections.abc import Mapping
from typing import Final

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster_shared.record import as_dict

_OWNERS: Final = "Parameter `owners` of "
_WHERE: Final = r"dagster\._core\.definitions\.|secure_platform\.orchestration\.automation$"


def expect_owners() -> None:
    """Owners of jobs are beta in Dagster: the tests say what is needed of them, nobody needs a warning.

    Said where they are given and where jobs are made of it, not on import: whoever loads a project in
    `warnings.catch_warnings` forgets it.
    """
    warnings.filterwarnings("ignore", _OWNERS, dg.BetaWarning, _WHERE)


class ProductJob(UnresolvedAssetJobDefinition):
    """A job over assets, resolved among them, their checks and what is upstream of them."""

    def resolve(
        self,
        asset_graph: AssetGraph,
        default_executor_def: dg.ExecutorDefinition | None = None,
        resource_defs: Mapping[str, dg.ResourceDefinition] | None = None,
    ) -> dg.JobDefinition:
        """The job, as Dagster makes it."""
        expect_owners()
        own = surroundings(asset_graph, self.selection)
        return super().resolve(own, default_executor_def, resource_defs)


def product_job(job: UnresolvedAssetJobDefinition) -> ProductJob:
    """The same job, resolved by itself; from `dg.define_asset_job`."""
    return ProductJob(**as_dict(job))


def surroundings(graph: AssetGraph, selection: dg.AssetSelection) -> AssetGraph:
    """The part of a graph that a job over these assets is made of; nothing in it refers to the rest."""
    waiting = list(selection.resolve(graph))
    reached = set(waiting)
    definitions: dict[int, dg.AssetsDefinition] = {}
    while waiting:
        node = graph.get(waiting.pop())
        checks = (graph.assets_def_for_key(check) for check in node.check_keys)
        for definition in (node.assets_def, *checks):
            if id(definition) not in definitions:
                definitions[id(definition)] = definition
                new = _needed(graph, definition) - reached
                waiting += new
                reached |= new
    return AssetGraph(*AssetGraph.key_mappings_from_assets(definitions.values()))


def _needed(graph: AssetGraph, definition: dg.AssetsDefinition) -> set[dg.AssetKey]:
    """The assets that are made together, those that they are made from, and those that are checked."""
    return {
        *definition.keys,
        *(parent for key in definition.keys for parent in graph.get(key).parent_keys),
        *definition.node_keys_by_input_name.values(),
        *(check.asset_key for check in definition.check_keys),
    }

"""Lineage and flows as graphs, drawn from contracts, plan, data map and what the newest marts say."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from secure_platform.contract.product import Product
from secure_platform.orchestration.data_map import AtRest, Content, DataMap
from secure_platform.protect.plan import ColumnPlan
from secure_platform.protect.transforms import DROP
from secure_platform.store.snapshot import Snapshot
from secure_platform.web.plots import Edge, Graph, Node, chain, graph

_KINDS: Final[Mapping[Content, str]] = {Content.ORIGINAL: "original", Content.PROTECTED: "protected"}


def product_graph(product: Product, marts: Mapping[str, Snapshot | None]) -> Graph:
    """Every dataset from its source to production."""
    page = f"/data-map/{product.name}"
    contracts = product.contracts.values()
    layers = [
        ("source", [Node(f"source/{c.dataset}", c.source_file, kind="original") for c in contracts]),
        ("raw", [_asset(product, "raw", c.dataset, "original") for c in contracts]),
        ("protected", [_asset(product, "protected", c.dataset, "protected") for c in contracts]),
        (
            "marts",
            [Node(f"marts/{name}", name, f"{page}/{name}", "protected") for name in product.models],
        ),
        ("release", [Node("release", "release", f"/releases/{product.name}", "protected")]),
        ("production", [_asset(product, "production", name, "protected") for name in product.models]),
    ]
    return graph(f"Lineage of {product.name}", layers, _edges(product, marts))


def _edges(product: Product, marts: Mapping[str, Snapshot | None]) -> Iterator[Edge]:
    for dataset in product.contracts:
        yield Edge(f"source/{dataset}", f"raw/{dataset}")
        yield Edge(f"raw/{dataset}", f"protected/{dataset}")
    for name, snapshot in marts.items():
        if snapshot is not None:
            sources = {(record["zone"], record["dataset"]) for record in snapshot.provenance["inputs"]}
            yield from (Edge(f"{zone}/{dataset}", f"marts/{name}") for zone, dataset in sorted(sources))
        yield Edge(f"marts/{name}", "release")
        yield Edge("release", f"production/{name}")


def _asset(product: Product, zone: str, name: str, kind: str) -> Node:
    return Node(f"{zone}/{name}", name, f"/assets/{product.name}/{zone}/{name}", kind)


def flow_graph(drawn: DataMap) -> Graph:
    """Who moves data where; what is encrypted at rest lies inside the frame."""
    places = [place for place in drawn.places if place.content in _KINDS]
    inside = [number for number, place in enumerate(places) if place.at_rest is not AtRest.OUTSIDE]
    nodes = [
        Node(place.name, place.name, None, _KINDS[place.content], f"up to {place.classification}")
        for place in places
    ]
    steps = [
        ", ".join(flow.step for flow in drawn.flows if (flow.source, flow.target) == (one.name, next_.name))
        for one, next_ in pairwise(places)
    ]
    return chain(f"Flows of {drawn.product}", nodes, steps, ("encrypted at rest", inside[0], inside[-1]))


def column_graph(
    product: Product, name: str, mart: Snapshot, plans: Mapping[tuple[str, str], ColumnPlan]
) -> Graph | None:
    """Every column of a mart and the columns it is computed from; None when that is not known."""
    traced: Mapping[str, list[tuple[str, str]]] = mart.provenance.get("column_lineage", {})
    if not traced:
        return None
    sources = sorted({(table, column) for pairs in traced.values() for table, column in pairs})
    known = {(table, column): plan for (table, column), plan in plans.items() if plan.transform != DROP}
    datasets = [source for source in sources if source in known]
    layers = [
        (
            "raw",
            [
                Node(f"raw/{t}.{c}", f"{t}.{c}", f"/data-map/{product.name}/{t}", "original")
                for t, c in datasets
            ],
        ),
        (
            "protected",
            [
                Node(f"{t}.{c}", f"{t}.{c}", None, "protected" if (t, c) in known else "", _note(known, t, c))
                for t, c in sources
            ],
        ),
        (name, [Node(column, column, None, "protected") for column in _ordered(traced, sources)]),
    ]
    edges = [Edge(f"raw/{t}.{c}", f"{t}.{c}") for t, c in datasets]
    edges += [Edge(f"{t}.{c}", column) for column, pairs in traced.items() for t, c in pairs]
    return graph(f"Where the columns of {name} come from", layers, edges)


def _ordered(traced: Mapping[str, list[tuple[str, str]]], sources: Sequence[tuple[str, str]]) -> list[str]:
    """Columns in the order of what they come from, so that few arrows cross; those of no column last."""
    place = {source: number for number, source in enumerate(sources)}

    def middle(column: str) -> float:
        places = [place[table, name] for table, name in traced[column]]
        return sum(places) / len(places) if places else len(place)

    return sorted(traced, key=middle)


def _note(plans: Mapping[tuple[str, str], ColumnPlan], table: str, column: str) -> str:
    plan = plans.get((table, column))
    return plan.full_name if plan else "another mart"

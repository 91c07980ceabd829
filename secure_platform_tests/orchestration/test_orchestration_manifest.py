"""A product's part of dbt's manifest holds what its models and tests refer to, and nothing else."""

from typing import Any

from secure_platform.orchestration.dbt import part_of

NODES = {
    "model.p.clinic.visits": ("clinic", ["source.p.clinic.visits", "model.p.shared.days"]),
    "model.p.shared.days": ("shared", []),
    "model.p.shop.sales": ("shop", ["source.p.shop.orders"]),
    "test.p.visits_not_null": ("clinic", ["model.p.clinic.visits"]),
    "test.p.elsewhere": ("shop", ["model.p.clinic.visits", "model.p.shop.sales"]),
    "test.p.sales_not_null": ("shop", ["model.p.shop.sales"]),
}


def manifest() -> dict[str, Any]:
    sources = [f"source.p.{name}" for name in ("clinic.visits", "shop.orders", "clinic.unused")]
    parents = {name: below for name, (_, below) in NODES.items()}
    names = [*NODES, *sources]
    return {
        "metadata": {"project_name": "p"},
        "nodes": {name: {"fqn": ["p", folder, name]} for name, (folder, _) in NODES.items()},
        "sources": {name: {} for name in sources},
        "exposures": {"exposure.p.report": {}},
        "parent_map": parents,
        "child_map": {name: [child for child in parents if name in parents[child]] for name in names},
    }


def test_what_models_and_tests_refer_to_stays() -> None:
    part = part_of(manifest(), "clinic")
    assert set(part["nodes"]) == set(NODES) - {"test.p.sales_not_null"}
    assert set(part["sources"]) == {"source.p.clinic.visits", "source.p.shop.orders"}
    assert part["child_map"]["model.p.shop.sales"] == ["test.p.elsewhere"]
    assert part["exposures"] == {}


def test_nothing_of_another_product_stays() -> None:
    part = part_of(manifest(), "shared")
    assert set(part["nodes"]) == {"model.p.shared.days"}
    assert part["sources"] == {}
    assert part["child_map"] == {"model.p.shared.days": []}

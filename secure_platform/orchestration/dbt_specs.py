"""What the parsed dbt project says of a product's models, as Dagster's assets and checks.

Read off the manifest alone, by the rules of dagster-dbt: importing that imports dbt, which was almost half of
what every process takes to load the definitions. A test holds both against each other.
"""

import hashlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import dagster as dg

from secure_platform.contract.product import Product
from secure_platform.orchestration.presentation import (
    CLASSIFICATION_TAG,
    COLUMN_SCHEMA,
    PRODUCT_TAG,
    ZONE_TAG,
    asset_key,
    zone_group,
)
from secure_platform.store.snapshot import Zone
from secure_platform.taxonomy.classification import Classification

Node: TypeAlias = Mapping[str, Any]

UNIQUE_ID: Final = "dagster_dbt/unique_id"
TABLE_NAME: Final = "dagster/table_name"


def mart_specs(
    product: Product, manifest: Mapping[str, Any], default: Classification
) -> tuple[Sequence[dg.AssetSpec], Sequence[dg.AssetCheckSpec]]:
    """The product's models, and the dbt tests that judge one of them.

    Args:
        product: The data product.
        manifest: The part of dbt's manifest that is about it.
        default: Classification of a model that declares none.
    """
    path = [manifest["metadata"]["project_name"], product.name]
    models = [node for node in manifest["nodes"].values() if node["fqn"][:2] == path and _is_asset(node)]
    specs = [_spec(product, manifest, node, default) for node in models]
    keys = {node["unique_id"]: spec.key for node, spec in zip(models, specs, strict=True)}
    tests = [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]
    checks = [
        _check(product, manifest, test, keys[judged])
        for test in tests
        if (judged := _judged(manifest, test)) in keys
    ]
    return specs, checks


def declared_classification(node: Node, default: Classification) -> Classification:
    """The highest that a model's YAML gives it or one of its columns; `default` if none."""
    metas = [node.get("meta", {}), *(_column_meta(column) for column in node.get("columns", {}).values())]
    labels = [meta["classification"] for meta in metas if "classification" in meta]
    return max(map(Classification.parse, labels), default=default)


def _spec(product: Product, manifest: Mapping[str, Any], node: Node, default: Classification) -> dg.AssetSpec:
    classification = declared_classification(node, default)
    return dg.AssetSpec(
        key=_key(product, node),
        deps=[_key(product, parent) for parent in _parents(manifest, node)],
        description=_description(node),
        group_name=zone_group(product, Zone.MARTS),
        owners=_owners(manifest, node) or [product.owner],
        code_version=hashlib.sha256(node["raw_code"].encode()).hexdigest(),
        tags={
            CLASSIFICATION_TAG: classification.label,
            ZONE_TAG: str(Zone.MARTS),
            PRODUCT_TAG: product.name,
        },
        kinds={"dbt", "duckdb"},
        metadata={
            COLUMN_SCHEMA: _declared_schema(node, default),
            TABLE_NAME: ".".join((node["database"], node["schema"], node["alias"])),
            UNIQUE_ID: node["unique_id"],
        },
    )


def _check(product: Product, manifest: Mapping[str, Any], test: Node, key: dg.AssetKey) -> dg.AssetCheckSpec:
    others = {_key(product, parent) for parent in _parents(manifest, test)}
    return dg.AssetCheckSpec(
        name=test["name"],
        asset=key,
        description=test.get("meta", {}).get("description"),
        additional_deps=sorted(others - {key}),
        metadata={UNIQUE_ID: test["unique_id"]},
        blocking=(test["config"].get("severity") or "error").lower() == "error",
    )


def _judged(manifest: Mapping[str, Any], test: Node) -> str | None:
    """The model that a test judges: the one it names, the only one it reads, or the one it is declared at."""
    meta = test["config"].get("meta") or test.get("meta", {})
    named = meta.get("dagster", {}).get("ref")
    if named:
        return next(
            (node["unique_id"] for node in manifest["nodes"].values() if _is_named(node, named, manifest)),
            None,
        )
    parents = set(test["depends_on"]["nodes"])
    return parents.pop() if len(parents) == 1 else test.get("attached_node")


def _is_named(node: Node, name: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    package = name.get("package") or manifest["metadata"]["project_name"]
    wanted: tuple[Any, ...] = (name["name"], package, name.get("version"))
    return (node["name"], node["package_name"], node.get("version")) == wanted


def _is_asset(node: Node) -> bool:
    """An ephemeral model is a part of those that read it."""
    kind: tuple[str, str] = node["resource_type"], node["config"]["materialized"]
    return kind[0] == "model" and kind[1] != "ephemeral"


def _parents(manifest: Mapping[str, Any], node: Node) -> Iterator[Node]:
    """The sources and models that a node reads, through ephemeral ones."""
    for name in dict.fromkeys(node["depends_on"]["nodes"]):
        if name in manifest["sources"]:
            yield manifest["sources"][name]
        elif _is_asset(parent := manifest["nodes"][name]):
            yield parent
        else:
            yield from _parents(manifest, parent)


def _key(product: Product, node: Node) -> dg.AssetKey:
    zone = Zone.PROTECTED if node["resource_type"] == "source" else Zone.MARTS
    return asset_key(product, zone, node["name"])


def _description(node: Node) -> str:
    said = node.get("description") or f"dbt model {node['name']}"
    return f"{said}\n\n#### Raw SQL:\n```sql\n{textwrap.indent(node['raw_code'], '    ')}\n```"


def _owners(manifest: Mapping[str, Any], node: Node) -> list[str]:
    """As the model's YAML names them, or its dbt group."""
    own = node.get("meta", {}).get("dagster", {}).get("owners")
    if own:
        return list(own)
    groups = (group for group in manifest["groups"].values() if group["name"] == node.get("group"))
    email = next((group["owner"].get("email") for group in groups), None) or []
    return [email] if isinstance(email, str) else list(email)


def _column_meta(column: Node) -> dict[str, Any]:
    return {**(column.get("config") or {}).get("meta", {}), **(column.get("meta") or {})}


def _declared_schema(node: Node, default: Classification) -> dg.TableSchema:
    """Columns as declared in the model's YAML, with their classification."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column["name"],
                type=column.get("data_type") or "",
                description=column.get("description"),
                tags={"classification": _column_meta(column).get("classification", default.label)},
            )
            for column in node.get("columns", {}).values()
        ]
    )

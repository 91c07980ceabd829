"""The product's dbt models as assets: one step, dbt's tests as checks, columns and lineage from what ran."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from secure_platform.contract.product import Product
from secure_platform.errors import ContractError
from secure_platform.notify.spans import About
from secure_platform.orchestration.dbt import load_manifest, part_of
from secure_platform.orchestration.dbt_specs import UNIQUE_ID, declared_classification, mart_specs
from secure_platform.orchestration.presentation import (
    COLUMN_SCHEMA,
    asset_key,
    check_result,
    monitor_specs,
    snapshot_metadata,
)
from secure_platform.orchestration.resources import PlatformResource
from secure_platform.orchestration.steps.context import CheckOutcome
from secure_platform.orchestration.steps.marts import Mart, MartsOutcome, build_marts
from secure_platform.orchestration.steps.observe import MARTS, product_terms
from secure_platform.orchestration.steps.residual import RESIDUAL
from secure_platform.settings import Settings
from secure_platform.store.snapshot import Zone
from secure_platform.taxonomy.classification import Classification


def marts_assets(product: Product, settings: Settings, default: Classification) -> dg.AssetsDefinition:
    """`<product>/marts/<model>` for every model below `models/<product>/`.

    Args:
        product: The data product.
        settings: Name the dbt project.
        default: Classification of a model that declares none.

    Raises:
        ContractError: If a model that the product releases does not exist, or a model has no owner.
    """
    manifest = part_of(load_manifest(settings), product.name)
    specs, checks = mart_specs(product, manifest, default)
    marts = _marts(product, manifest, specs, checks, default)
    missing = sorted(set(product.models) - set(marts) - set(product.aggregate_names))
    taken = sorted(set(product.aggregate_names) & set(marts))
    if taken:
        raise ContractError(
            f"The product {product.name} has a dbt model and an aggregate named {', '.join(taken)}",
            "Rename one of the two.",
        )
    if missing:
        raise ContractError(
            f"The product {product.name} releases {', '.join(missing)}, which dbt does not have",
            f"Add the model below {settings.dbt_project}/models/{product.name}, or correct defs.yaml.",
        )
    residual = [
        dg.AssetCheckSpec(
            RESIDUAL, asset=spec.key, description="No personal data or secret is left.", blocking=True
        )
        for spec in specs
    ]
    monitor = product_terms(product).monitor
    watched = [each for spec in specs for each in monitor_specs(spec.key, monitor, MARTS)]

    @dg.multi_asset(
        name=f"{product.name}__marts",
        specs=specs,
        check_specs=[*checks, *residual, *watched],
        can_subset=False,
    )
    def built(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        outcome = platform.traced(
            context,
            f"{product.name}/marts",
            About(product.name, zone=str(Zone.MARTS)),
            lambda: build_marts(platform.step(context, product), marts),
        )
        for spec in specs:
            yield _result(context, product, spec, checks, outcome)

    return built


def _marts(
    product: Product,
    manifest: Mapping[str, Any],
    specs: Sequence[dg.AssetSpec],
    checks: Sequence[dg.AssetCheckSpec],
    default: Classification,
) -> dict[str, Mart]:
    return {
        spec.key.path[-1]: Mart(
            name=spec.key.path[-1],
            unique_id=str(spec.metadata[UNIQUE_ID]),
            tests=tuple(str(check.metadata[UNIQUE_ID]) for check in checks if check.asset_key == spec.key),
            sources=_sources(manifest, str(spec.metadata[UNIQUE_ID]), set(product.contracts)),
            classification=declared_classification(
                manifest["nodes"][str(spec.metadata[UNIQUE_ID])], default
            ).label,
        )
        for spec in specs
    }


def _sources(manifest: Mapping[str, Any], unique_id: str, datasets: set[str]) -> tuple[str, ...]:
    found: set[str] = set()
    waiting = [unique_id]
    while waiting:
        for parent in manifest["parent_map"].get(waiting.pop(), []):
            if parent.startswith("source."):
                found.add(manifest["sources"][parent]["name"])
            else:
                waiting.append(parent)
    return tuple(sorted(found & datasets))


def _result(
    context: dg.AssetExecutionContext,
    product: Product,
    spec: dg.AssetSpec,
    checks: Sequence[dg.AssetCheckSpec],
    outcome: MartsOutcome,
) -> dg.MaterializeResult[None]:
    name = spec.key.path[-1]
    mart = outcome.marts[name]
    context.log.info(
        "%s: %s rows%s",
        spec.key.to_user_string(),
        mart.snapshot.rows,
        ", reused its snapshot" if mart.snapshot.reused else "",
    )
    tests = [
        CheckOutcome(
            check.name, outcome.tests[str(check.metadata[UNIQUE_ID])], {"reused": mart.snapshot.reused}
        )
        for check in checks
        if check.asset_key == spec.key
    ]
    return dg.MaterializeResult(
        asset_key=spec.key,
        data_version=dg.DataVersion(mart.snapshot.content_digest),
        metadata={
            **snapshot_metadata(mart.snapshot, spec.metadata[COLUMN_SCHEMA]),
            "dagster/column_lineage": _lineage(product, outcome.lineage.get(name, {})),
        },
        check_results=[check_result(spec.key, check) for check in (*tests, *mart.checks)],
    )


def _lineage(product: Product, columns: Mapping[str, tuple[tuple[str, str], ...]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        deps_by_column={
            column: [
                dg.TableColumnDep(
                    asset_key=asset_key(
                        product, Zone.PROTECTED if table in product.contracts else Zone.MARTS, table
                    ),
                    column_name=source,
                )
                for table, source in sources
            ]
            for column, sources in columns.items()
        }
    )

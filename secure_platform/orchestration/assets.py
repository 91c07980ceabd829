"""One Dagster step per dataset and zone; its checks are computed in the same step over the same frame.

The body of every step is a plain function of `orchestration.steps`; nothing is decided here.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import dagster as dg

from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product
from secure_platform.notify.spans import About
from secure_platform.orchestration.presentation import (
    CLASSIFICATION_TAG,
    COLUMN_SCHEMA,
    PRODUCT_TAG,
    ZONE_TAG,
    asset_key,
    check_result,
    contract_schema,
    monitor_specs,
    page_link,
    plan_schema,
    snapshot_metadata,
    zone_group,
)
from secure_platform.orchestration.resources import PlatformResource
from secure_platform.orchestration.steps.context import StepContext, StepOutcome
from secure_platform.orchestration.steps.observe import (
    PRODUCTION,
    PROTECTED,
    RAW,
    freshness_hours,
    product_terms,
)
from secure_platform.orchestration.steps.package import package
from secure_platform.orchestration.steps.production import Live, go_live
from secure_platform.orchestration.steps.protect import VERDICTS as PROTECTED_VERDICTS
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.protect.plan import DatasetPlan
from secure_platform.store.snapshot import Zone
from secure_platform.taxonomy.classification import Classification

RAW_CHECKS = {
    "contract": ("Every row keeps the contract, or is quarantined within its threshold.", True),
    "scan": ("No column called public or internal holds personal data or a secret.", True),
    "drift": ("Nothing personal or secret is new in a column that was there before.", False),
}
PROTECTED_CHECKS = {
    "rows": "Every valid row is there: kept, or quarantined as an orphan.",
    "reconciliation": "Every raw row is accounted for, and the contract's control totals agree.",
    "references": "Every foreign key finds its row.",
    "residual": "No personal data, secret or original value is left.",
    "classification": "No restricted column is left.",
}


def raw_asset(product: Product, contract: Contract, plan: DatasetPlan) -> dg.AssetsDefinition:
    """`<product>/raw/<dataset>`: the dataset as pulled, encrypted, validated and scanned."""
    key = asset_key(product, Zone.RAW, contract.dataset)
    schema = contract_schema(contract, plan)
    spec = asset_spec(
        product,
        key,
        owner=contract.owner,
        classification=contract.classification.label,
        description=contract.description,
        kinds={"csv", "parquet"},
        schema=schema,
    )
    checks = [
        dg.AssetCheckSpec(name, asset=key, description=text, blocking=blocking)
        for name, (text, blocking) in RAW_CHECKS.items()
    ]
    checks += monitor_specs(key, contract.monitor, RAW)
    return _dataset_asset(product, contract, spec, checks, schema, pull)


def protected_asset(product: Product, contract: Contract, plan: DatasetPlan) -> dg.AssetsDefinition:
    """`<product>/protected/<dataset>`: the dataset after its protection plan, proved."""
    key = asset_key(product, Zone.PROTECTED, contract.dataset)
    schema = plan_schema(plan)
    spec = asset_spec(
        product,
        key,
        owner=contract.owner,
        classification=max(
            (column.classification for column in plan.outputs),
            default=contract.classification,
        ).label,
        description=f"{contract.dataset} after the protection profile {product.profile}.",
        kinds={"polars", "parquet"},
        schema=schema,
        deps=[
            asset_key(product, Zone.RAW, contract.dataset),
            *(asset_key(product, Zone.PROTECTED, parent) for parent in contract.parents),
        ],
    )
    checks = [
        dg.AssetCheckSpec(name, asset=key, description=PROTECTED_CHECKS[name], blocking=True)
        for name in PROTECTED_VERDICTS
    ]
    checks += monitor_specs(key, contract.monitor, PROTECTED)
    return _dataset_asset(product, contract, spec, checks, schema, protect)


def _dataset_asset(
    product: Product,
    contract: Contract,
    spec: dg.AssetSpec,
    checks: Sequence[dg.AssetCheckSpec],
    schema: dg.TableSchema,
    step: Callable[[StepContext, str], StepOutcome],
) -> dg.AssetsDefinition:
    """One dataset in one zone: what the step makes of it is its snapshot and its checks."""

    @dg.multi_asset(name=_step_name(spec.key), specs=[spec], check_specs=checks)
    def made(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        about = About(product.name, contract.dataset, spec.key.path[1])
        outcome = platform.traced(
            context,
            spec.key.to_user_string(),
            about,
            lambda: step(platform.step(context, product), contract.dataset),
        )
        yield snapshot_result(context, spec.key, outcome, schema)

    return made


def release_asset(product: Product, classification: Classification) -> dg.AssetsDefinition:
    """`<product>/release`: the signed package that waits at the gate."""
    key = dg.AssetKey([product.name, "release"])
    spec = asset_spec(
        product,
        key,
        owner=product.owner,
        classification=classification.label,
        description="The signed, immutable package of the product's marts at fixed snapshots.",
        kinds={"parquet"},
        deps=[asset_key(product, Zone.MARTS, model) for model in product.models],
    )

    @dg.multi_asset(name=_step_name(key), specs=[spec])
    def release(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        packaged = platform.traced(
            context,
            key.to_user_string(),
            About(product.name, zone="release"),
            lambda: package(platform.step(context, product)),
        )
        record = packaged.record
        context.log.info(
            "Release %s of %s: %s%s",
            record.number,
            product.name,
            record.state,
            ", reused: nothing changed" if packaged.reused else "",
        )
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(record.digest),
            metadata={
                "digest": record.digest,
                "number": record.number,
                "state": str(record.state),
                "requested_by": record.requested_by,
                "base": record.base or "none",
                "reused": packaged.reused,
                "review": page_link(platform.services.settings, f"/approvals/{record.digest}"),
            },
        )

    return release


def production_assets(
    product: Product, classification: Classification, marts: Sequence[dg.AssetsDefinition]
) -> dg.AssetsDefinition:
    """`<product>/production/<table>`: one step for all tables, because a release is deployed whole."""
    specs = _production_specs(product, classification, marts)
    monitor = product_terms(product).monitor
    checks = [
        dg.AssetCheckSpec(
            "matches_release",
            asset=spec.key,
            description="Readers get exactly what was approved.",
            blocking=True,
        )
        for spec in specs
    ]
    checks += [each for spec in specs for each in monitor_specs(spec.key, monitor, PRODUCTION)]

    @dg.multi_asset(name=f"{product.name}__production", specs=specs, check_specs=checks, can_subset=False)
    def production(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        live = platform.traced(
            context,
            f"{product.name}/production",
            About(product.name, zone="production"),
            lambda: go_live(platform.services, product),
        )
        context.log.info(
            "Release %s of %s is in production%s",
            live.deployed.record.number,
            product.name,
            ", reused: nothing changed" if live.deployed.reused else "",
        )
        for spec in specs:
            yield _live_result(spec.key, live)

    return production


def _production_specs(
    product: Product, classification: Classification, marts: Sequence[dg.AssetsDefinition]
) -> list[dg.AssetSpec]:
    hours = freshness_hours(product)
    freshness = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours)) if hours else None
    schemas = {
        key.path[-1]: about[COLUMN_SCHEMA] for each in marts for key, about in each.metadata_by_key.items()
    }
    return [
        asset_spec(
            product,
            dg.AssetKey([product.name, "production", model]),
            owner=product.owner,
            classification=classification.label,
            description=f"{model} as analysts read it.",
            kinds={product.target},
            schema=schemas[model],
            deps=[dg.AssetKey([product.name, "release"])],
        ).replace_attributes(freshness_policy=freshness)
        for model in product.models
    ]


def _live_result(key: dg.AssetKey, live: Live) -> dg.MaterializeResult[None]:
    table, deployed = key.path[-1], live.deployed
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(deployed.production.release),
        metadata={
            "release": deployed.production.release,
            "number": deployed.record.number,
            "reused": deployed.reused,
            "dagster/row_count": deployed.production.rows[table],
        },
        check_results=[check_result(key, check) for check in live.checks[table]],
    )


def snapshot_result(
    context: dg.AssetExecutionContext, key: dg.AssetKey, outcome: StepOutcome, schema: dg.TableSchema
) -> dg.MaterializeResult[None]:
    """What a step made, as Dagster shows it."""
    snapshot = outcome.snapshot
    context.log.info(
        "%s: %s rows%s",
        key.to_user_string(),
        snapshot.rows,
        ", reused its snapshot" if snapshot.reused else "",
    )
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(snapshot.content_digest),
        metadata=snapshot_metadata(snapshot, schema),
        check_results=[check_result(key, check) for check in outcome.checks],
    )


def asset_spec(
    product: Product,
    key: dg.AssetKey,
    *,
    owner: str,
    classification: str,
    description: str,
    kinds: set[str],
    schema: dg.TableSchema | None = None,
    deps: Sequence[dg.AssetKey] = (),
) -> dg.AssetSpec:
    """An asset of a product with its owner, classification and zone."""
    zone = key.path[1]
    return dg.AssetSpec(
        key,
        deps=list(deps),
        description=description,
        owners=[owner],
        group_name=zone_group(product, zone),
        kinds=kinds,
        tags={CLASSIFICATION_TAG: classification, ZONE_TAG: zone, PRODUCT_TAG: product.name},
        metadata={COLUMN_SCHEMA: schema} if schema else {},
    )


def _step_name(key: dg.AssetKey) -> str:
    return "__".join(key.path)

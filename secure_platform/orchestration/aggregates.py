"""A product's aggregates as assets: one step each, which tells what it spent and how exact it is."""

from collections.abc import Iterator

import dagster as dg

from secure_platform.contract.aggregates import Aggregate
from secure_platform.contract.product import Product
from secure_platform.orchestration.assets import asset_spec, snapshot_result
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.presentation import asset_key, monitor_specs
from secure_platform.orchestration.resources import PlatformResource
from secure_platform.orchestration.steps.aggregate import aggregate, classification
from secure_platform.orchestration.steps.observe import MARTS, product_terms
from secure_platform.protect.plan import Plan
from secure_platform.store.snapshot import Zone

CHECKS = {
    "budget": "What it tells of people is within the product's privacy budget.",
    "residual": "No personal data or secret is left.",
}


def aggregate_assets(product: Product, plan: Plan) -> list[dg.AssetsDefinition]:
    """`<product>/marts/<aggregate>` for each table of numbers with noise."""
    declared = product.aggregates.aggregates if product.aggregates else ()
    return [_asset(product, plan, each) for each in declared]


def _asset(product: Product, plan: Plan, declared: Aggregate) -> dg.AssetsDefinition:
    key = asset_key(product, Zone.MARTS, declared.name)
    schema = dg.TableSchema([dg.TableColumn(name) for name in declared.columns])
    spec = asset_spec(
        product,
        key,
        owner=product.owner,
        classification=classification(declared, plan.datasets[declared.source]).label,
        description=declared.description,
        kinds={"polars", "parquet"},
        schema=schema,
        deps=[asset_key(product, Zone.PROTECTED, declared.source)],
    )
    checks = [
        dg.AssetCheckSpec(name, asset=key, description=text, blocking=True) for name, text in CHECKS.items()
    ]
    checks += monitor_specs(key, product_terms(product).monitor, MARTS)

    @dg.multi_asset(name="__".join(key.path), specs=[spec], check_specs=checks)
    def told(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        outcome = value_free(
            key.to_user_string(), lambda: aggregate(platform.step(context, product), declared.name)
        )
        yield snapshot_result(context, key, outcome, schema)

    return told

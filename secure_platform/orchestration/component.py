"""A data product in YAML becomes its assets, checks, jobs, schedule and sensor.

The component is registered for dg projects: a foreign project uses it with its own contracts and dbt folder.
"""

from typing import Any

import dagster as dg

from secure_platform.contract.product import Product, ProductAttributes, product_from_attributes
from secure_platform.errors import PlanRefusedError
from secure_platform.orchestration.aggregates import aggregate_assets
from secure_platform.orchestration.assets import production_assets, protected_asset, raw_asset, release_asset
from secure_platform.orchestration.automation import approval_sensor, jobs, schedule, unchanged_sensor
from secure_platform.orchestration.broken import broken_definitions
from secure_platform.orchestration.home import prepare
from secure_platform.orchestration.marts import marts_assets
from secure_platform.orchestration.presentation import with_page
from secure_platform.orchestration.steps.protect import current_plan, output_classification
from secure_platform.services import Services
from secure_platform.settings import load_settings


class DataProduct(dg.Component, ProductAttributes, dg.Resolvable):
    """A data product: contracts, protection profile, dbt marts, gate and target."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything Dagster knows of the product."""
        product = product_from_attributes(context.path, ProductAttributes(**self.model_dump()))
        try:
            return product_definitions(product)
        except PlanRefusedError as refused:
            return broken_definitions(product, refused, load_settings())


def product_definitions(product: Product) -> dg.Definitions:
    """The product's assets, checks, jobs, schedule and sensor, with the resources they use.

    Raises:
        PlanRefusedError: If its plan is.
    """
    settings = load_settings()
    prepare(settings)
    plan = current_plan(product, Services(settings).keys)
    classification = output_classification(plan)
    pairs = [(contract, plan.datasets[name]) for name, contract in product.contracts.items()]
    marts = marts_assets(product, settings, classification)
    told = aggregate_assets(product, plan)
    assets: list[Any] = [
        *(raw_asset(product, contract, dataset_plan) for contract, dataset_plan in pairs),
        *(protected_asset(product, contract, dataset_plan) for contract, dataset_plan in pairs),
        marts,
        *told,
        release_asset(product, classification),
        production_assets(product, classification, [marts, *told]),
    ]
    cron = schedule(product)
    build, retokenize, deploy = jobs(product)
    linked = dg.map_asset_specs(lambda spec: with_page(spec, settings), assets)
    return dg.Definitions(
        assets=list(linked),
        jobs=[build, retokenize, deploy],
        schedules=[cron] if cron else [],
        sensors=[approval_sensor(product), unchanged_sensor(product, build, deploy)],
    )

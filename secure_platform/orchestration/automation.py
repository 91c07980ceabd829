"""What starts a product's runs: its cron schedule, and an approval."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg

from secure_platform.contract.product import Product
from secure_platform.gate.states import OPEN, ReleaseState
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.presentation import PRODUCT_TAG, asset_key
from secure_platform.orchestration.product_job import ProductJob, expect_owners, product_job
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.store.snapshot import Zone

SENSOR_SECONDS = 15
RETOKENIZE: Final = {"resources": {"platform": {"config": {"retokenize": True}}}}


def build_job_name(product: str) -> str:
    """The job from source to pending release."""
    return f"{product}_build"


def deploy_job_name(product: str) -> str:
    """The job from approved release to production."""
    return f"{product}_deploy"


def retokenize_job_name(product: str) -> str:
    """The job from the raw snapshots of production to a pending release."""
    return f"{product}_retokenize"


def jobs(product: Product) -> list[ProductJob]:
    """The product's jobs, with the gate between them; by their owner the UI knows who may launch them."""
    expect_owners()
    pulled = [asset_key(product, Zone.RAW, name) for name in product.contracts]
    built = [
        *(asset_key(product, Zone.PROTECTED, name) for name in product.contracts),
        *(asset_key(product, Zone.MARTS, model) for model in product.models),
        dg.AssetKey([product.name, "release"]),
    ]
    deployed = [dg.AssetKey([product.name, "production", model]) for model in product.models]
    retokenized = "After a token key was rotated: what is in production, to pending release."
    return [
        _job(product, build_job_name(product.name), [*pulled, *built], "Source to pending release."),
        _job(product, retokenize_job_name(product.name), built, retokenized, config=RETOKENIZE),
        _job(product, deploy_job_name(product.name), deployed, "Approved release to production."),
    ]


def _job(
    product: Product,
    name: str,
    assets: Sequence[dg.AssetKey],
    description: str,
    config: dict[str, Any] | None = None,
) -> ProductJob:
    job = dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*assets),
        # A run that died is done again as a whole: what it finished is found and reused.
        tags={PRODUCT_TAG: product.name, "dagster/retry_strategy": "ALL_STEPS"},
        owners=[product.owner],
        description=description,
        config=config,
    )
    return product_job(job)


def schedule(product: Product) -> dg.ScheduleDefinition | None:
    """The product's cron, if its definition has one."""
    if product.schedule is None:
        return None
    return dg.ScheduleDefinition(
        name=f"{product.name}_schedule",
        job_name=build_job_name(product.name),
        cron_schedule=product.schedule,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def unchanged_sensor(product: Product, build: Any, deploy: Any) -> dg.SensorDefinition:
    """Deploys again after a build that changed nothing: production is checked, and seen to be fresh."""

    @dg.run_status_sensor(
        name=f"{product.name}_unchanged_builds",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[build],
        request_job=deploy,
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def unchanged(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        services = Services(load_settings())
        if not value_free(f"The sensor of {product.name}", lambda: _is_current(services, product.name)):
            return dg.SkipReason("Nothing is in production, or a newer release waits at the gate.")
        return dg.RunRequest(run_key=context.dagster_run.run_id, tags={PRODUCT_TAG: product.name})

    return unchanged


def _is_current(services: Services, product: str) -> bool:
    base = services.target.base(product)
    return base is not None and not any(record.state in OPEN for record in services.gate.list(product))


def approval_sensor(product: Product) -> dg.SensorDefinition:
    """Launches the deploy job once for every approved release; what may be deployed is decided by the job."""

    @dg.sensor(
        name=f"{product.name}_approved_releases",
        job_name=deploy_job_name(product.name),
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Deploys releases that were approved.",
    )
    def approved(_context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        records = value_free(
            f"The sensor of {product.name}", lambda: Services(load_settings()).gate.list(product.name)
        )
        ready = [record for record in records if record.state is ReleaseState.APPROVED]
        if not ready:
            yield dg.SkipReason("No release is approved.")
        for record in ready:
            # A release that is approved again, after its approval was lost, is asked for again.
            yield dg.RunRequest(
                run_key=f"{record.digest}/{record.decided_at}", tags={PRODUCT_TAG: product.name}
            )

    return approved

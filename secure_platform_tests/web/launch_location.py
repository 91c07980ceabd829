"""A code location with an asset and a job of a product, and one asset that belongs to nobody."""

import dagster as dg

OWNERS = ["team:clinical-data"]

patients = dg.AssetSpec(["healthcare", "raw", "patients"], owners=OWNERS)
elsewhere = dg.AssetSpec(["elsewhere"], owners=["team:elsewhere"])


@dg.multi_asset(specs=[patients], can_subset=False)
def product_asset() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(asset_key=patients.key)


@dg.multi_asset(specs=[elsewhere])
def foreign_asset() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(asset_key=elsewhere.key)


@dg.sensor(job_name="healthcare_build")
def sensing() -> dg.SkipReason:
    return dg.SkipReason("Nothing.")


defs = dg.Definitions(
    assets=[product_asset, foreign_asset],
    jobs=[dg.define_asset_job("healthcare_build", selection=[patients.key], owners=OWNERS)],
    sensors=[sensing],
)

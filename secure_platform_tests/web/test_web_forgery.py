"""Nobody reports through Dagster's API what never happened; whoever reaches its database is not believed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from built_home import PRODUCT, Built
from web_login import BASE, bearer, web_app
from web_support import Client

from secure_platform.errors import DataRefusedError, GateRefusedError
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import deploy
from secure_platform.orchestration.steps.package import package
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.settings import load_settings

pytestmark = pytest.mark.slow

CHECK = """
mutation($p: ReportAssetCheckEvaluationsParams!) {
  reportAssetCheckEvaluations(eventParams: $p) { __typename }
}
"""
MATERIALIZATION = """
mutation($p: ReportRunlessAssetEventsParams!) { reportRunlessAssetEvents(eventParams: $p) { __typename } }
"""


@pytest.fixture
def instance(built: Built) -> Iterator[dg.DagsterInstance]:
    with open_instance(load_settings(home=built.home)) as opened:
        yield opened


@pytest.fixture
def client(built: Built, instance: dg.DagsterInstance) -> Iterator[Client]:
    with web_app(built.services, instance) as app:
        yield Client(app, BASE, bearer(built.services, built.person("dana")))


def report(
    instance: dg.DagsterInstance,
    client: Client,
    query: str,
    event: dg.AssetMaterialization | dg.AssetCheckEvaluation,
    **params: Any,
) -> None:
    """Refused by the API; then written as the API would have."""
    answer = client.post(
        "/graphql", json={"query": query, "variables": {"p": params}}, headers={"Origin": BASE}
    )
    assert [result["__typename"] for result in answer.json()["data"].values()] == ["UnauthorizedError"]
    instance.report_runless_asset_event(event)


def context_of(built: Built, source: Path) -> StepContext:
    return StepContext(built.services, built.product, "run", "dana", source)


def test_a_failed_check_that_is_reported_as_passed_opens_nothing(
    built: Built, instance: dg.DagsterInstance, client: Client
) -> None:
    path = built.source / "patients.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(line.replace(",", ",x", 1) for line in lines)]) + "\n")
    outcome = pull(context_of(built, built.source), "patients")
    assert not outcome.checks[0].passed
    key = {"path": [PRODUCT, "raw", "patients"]}
    metadata = json.dumps({"snapshot_id": outcome.snapshot.snapshot_id})
    said = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(key["path"]), check_name="contract", passed=True, metadata=json.loads(metadata)
    )
    report(
        instance,
        client,
        CHECK,
        said,
        assetKey=key,
        checkName="contract",
        passed=True,
        serializedMetadata=metadata,
    )
    (record,) = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(key["path"]), "contract"), limit=1
    )
    assert record.event is not None
    context = context_of(built, built.source)
    refused = "failed the stage validate"
    with pytest.raises(DataRefusedError, match=refused):
        protect(context, "patients")
    with pytest.raises(GateRefusedError, match="No release of healthcare is approved"):
        deploy(built.services, built.product)


def test_a_release_or_production_that_is_reported_is_neither_registered_nor_deployed(
    built: Built, instance: dg.DagsterInstance, client: Client
) -> None:
    before = (built.newest(), built.services.audit.size())
    for path in ([PRODUCT, "release"], [PRODUCT, "production", "patient_summary"]):
        said = dg.AssetMaterialization(asset_key=path)
        kind, key = "ASSET_MATERIALIZATION", {"path": path}
        report(instance, client, MATERIALIZATION, said, eventType=kind, assetKey=key)
    assert built.newest() == before[0]
    reported = [entry.body for entry in built.services.audit.entries(before[1])]
    assert [(body["action"], body["subject"]) for body in reported if body["action"] != "ui.refuse"] == [
        ("asset.materialize", f"{PRODUCT}/release"),
        ("asset.materialize", f"{PRODUCT}/production/patient_summary"),
    ]
    with pytest.raises(GateRefusedError, match="No release of healthcare is approved"):
        deploy(built.services, built.product)
    assert built.services.target.current(PRODUCT) is None
    again = package(context_of(built, built.source))
    assert (again.reused, again.record.number) == (True, 1)

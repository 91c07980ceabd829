"""Dagster's edge: what it stores, what it loads, and the private names of it that we rely on."""

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEventBatchMetadata
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster_shared.error import SerializableErrorInfo
from dagster_webserver.webserver import DagsterWebserver

from secure_platform.audit.log import AuditLog
from secure_platform.errors import ContractError, DataRefusedError
from secure_platform.keys.ring import KeyRing
from secure_platform.orchestration.automation import approval_sensor
from secure_platform.orchestration.component import product_definitions
from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.home import CONFIG, open_instance
from secure_platform.orchestration.instance import SecureInstance
from secure_platform.orchestration.presentation import CLASSIFICATION_TAG
from secure_platform.orchestration.redaction import redact_error
from secure_platform.orchestration.resources import (
    AuditLogResource,
    KeyRingResource,
    MaskingResource,
    ScannerResource,
    SnapshotStoreResource,
    platform_resources,
)
from secure_platform.scan.columns import Scanner
from secure_platform.services import Services
from secure_platform.settings import PACKAGE, Settings, load_settings
from secure_platform.store.snapshots import SnapshotStore

CANARY = "Zyzzyva-canary-424-24-2424"
ROOT = PACKAGE.parent


@pytest.fixture
def settings(parsed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(shutil.copytree(parsed_home, tmp_path / "home")))
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    return load_settings()


def stored(settings: Settings) -> bytes:
    return b"".join(path.read_bytes() for path in settings.home.rglob("*") if path.is_file())


def test_the_text_of_a_foreign_error_is_nowhere_in_the_home(settings: Settings) -> None:
    @dg.asset
    def leaking() -> None:
        try:
            int(CANARY)
        except ValueError as error:
            raise RuntimeError(f"row {CANARY}") from error

    with open_instance(settings) as instance:
        assert isinstance(instance, SecureInstance)
        result = dg.materialize([leaking], instance=instance, raise_on_error=False)
        events = instance.all_logs(result.run_id)
    assert not result.success
    assert CANARY not in "".join(event.message for event in events)
    assert CANARY.encode() not in stored(settings)


def test_the_text_of_our_own_errors_is_kept(settings: Settings) -> None:
    @dg.asset
    def refused() -> None:
        raise DataRefusedError("The dataset patients has no rows", "Pull it again.")

    with open_instance(settings) as instance:
        result = dg.materialize([refused], instance=instance, raise_on_error=False)
        failure = next(event for event in result.all_events if event.is_step_failure)
        stored_error = next(
            entry.dagster_event.step_failure_data.error
            for entry in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
            if entry.dagster_event
        )
    assert failure.step_key == "refused"
    assert stored_error is not None
    assert stored_error.cause is not None
    assert "The dataset patients has no rows" in stored_error.cause.message


@pytest.mark.parametrize(
    "name", ["ValueError", "sqlite3.IntegrityError", "click.exceptions.UsageError", "errors.DataRefusedError"]
)
def test_an_error_that_borrows_the_name_of_ours_gains_nothing_but_its_class(name: str) -> None:
    short = name.rpartition(".")[2]
    foreign = SerializableErrorInfo(f"{name}: {CANARY}", ["line"], short, None, None)
    outer = "dagster._core.errors.DagsterExecutionStepExecutionError: Error occurred"
    wrapped = SerializableErrorInfo(outer, [], "DagsterExecutionStepExecutionError", foreign, foreign)
    redacted = redact_error(wrapped)
    assert CANARY not in redacted.to_string()
    assert short in redacted.to_string()


def test_runs_and_materializations_are_audited_without_names_of_people(settings: Settings) -> None:
    @dg.asset
    def plain() -> None: ...

    with open_instance(settings) as instance:
        dg.materialize([plain], instance=instance)
    actions = [entry.body["action"] for entry in Services(settings).audit.entries()]
    assert {"run.start", "asset.materialize", "run.success"} <= set(actions)


def test_the_root_dagster_yaml_is_the_one_that_homes_get(settings: Settings) -> None:
    assert (ROOT / "dagster.yaml").read_bytes() == CONFIG.read_bytes()
    assert (settings.home / "dagster" / "dagster.yaml").read_bytes() == CONFIG.read_bytes()


@pytest.mark.usefixtures("settings")
def test_with_the_root_dagster_yaml_the_state_is_in_the_home_wherever_dagster_looks(tmp_path: Path) -> None:
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    reference = InstanceRef.from_dir(str(elsewhere), config_dir=str(ROOT))
    with dg.DagsterInstance.from_ref(reference) as instance:
        assert isinstance(instance, SecureInstance)
        instance.get_run_ids(limit=1)
    assert list(elsewhere.iterdir()) == []


def test_an_asset_without_owner_or_classification_does_not_load() -> None:
    owned = dg.AssetSpec("a", owners=["team:x"])
    tagged = dg.AssetSpec("b", tags={CLASSIFICATION_TAG: "internal"})
    govern(
        dg.Definitions(assets=[dg.AssetSpec("c", owners=["team:x"], tags={CLASSIFICATION_TAG: "internal"})])
    )
    with pytest.raises(ContractError, match="The asset a has no classification"):
        govern(dg.Definitions(assets=[owned]))
    with pytest.raises(ContractError, match="The asset b has no owner"):
        govern(dg.Definitions(assets=[tagged]))
    with pytest.raises(ContractError, match="no classification"):
        govern(dg.Definitions(assets=[owned.replace_attributes(tags={CLASSIFICATION_TAG: "secret"})]))


@pytest.mark.slow
def test_the_healthcare_product_loads_with_checks_freshness_schedule_and_sensor(settings: Settings) -> None:
    product = Services(settings).product("healthcare")
    definitions = govern(
        dg.Definitions.merge(product_definitions(product), dg.Definitions(resources=platform_resources()))
    )
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert specs["healthcare/production/patient_summary"].freshness_policy is not None
    schema = specs["healthcare/raw/patients"].metadata["dagster/column_schema"]
    ssn = next(column for column in schema.columns if column.name == "SSN")
    assert ssn.tags == {"classification": "restricted", "info_type": "US_SSN", "transform": "drop"}
    schema = specs["healthcare/production/patient_summary"].metadata["dagster/column_schema"]
    assert {column.tags["classification"] for column in schema.columns} == {"confidential"}
    assert {spec.group_name for spec in specs.values()} == {
        f"healthcare_{zone}" for zone in ("raw", "protected", "marts", "release", "production")
    }
    assert specs["healthcare/raw/patients"].tags[CLASSIFICATION_TAG] == "restricted"
    names = {job.name for job in definitions.resolve_all_job_defs()}
    assert {"healthcare_build", "healthcare_deploy"} <= names
    assert definitions.resolve_schedule_def("healthcare_schedule").cron_schedule == product.schedule
    blocking = {
        (spec.asset_key.to_user_string(), spec.name): spec.blocking
        for asset in definitions.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.check_specs
    }
    assert blocking["healthcare/raw/patients", "contract"]
    assert not blocking["healthcare/raw/patients", "volume"]
    assert blocking["healthcare/production/patient_summary", "matches_release"]
    assert any(
        key == "healthcare/marts/patient_summary" and name.startswith("unique") for key, name in blocking
    )


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_adding_a_dataset_is_adding_one_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defs = tmp_path / "defs"
    shutil.copytree(PACKAGE / "defs", defs)
    contracts = defs / "healthcare" / "contracts"
    text = (contracts / "conditions.odcs.yaml").read_text(encoding="utf-8")
    (contracts / "allergies.odcs.yaml").write_text(
        text.replace("conditions", "allergies").replace("healthcare.conditions", "healthcare.allergies"),
        encoding="utf-8",
    )
    monkeypatch.setenv("SECURE_PLATFORM_DEFS", str(defs))
    product = Services(load_settings()).product("healthcare")
    definitions = dg.Definitions.merge(
        product_definitions(product), dg.Definitions(resources=platform_resources())
    )
    keys = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    assert {"healthcare/raw/allergies", "healthcare/protected/allergies"} <= keys


def evaluated(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> list[object]:
    tick = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(tick, Iterator)
    return list(tick)


def test_the_sensor_asks_for_one_run_per_approved_release_and_leaks_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = approval_sensor(Services(settings).product("healthcare"))
    with open_instance(settings) as instance:
        assert [type(item) for item in evaluated(sensor, instance)] == [dg.SkipReason]

        def broken(*_: object) -> None:
            raise ValueError(CANARY)

        monkeypatch.setattr("secure_platform.gate.releases.Gate.list", broken)
        with pytest.raises(Exception, match="sensor of healthcare") as caught:
            evaluated(sensor, instance)
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


def test_an_adopters_own_asset_uses_the_rooms_as_resources(settings: Settings) -> None:
    seen: list[object] = []

    @dg.asset
    def own(
        key_ring: KeyRingResource,
        snapshot_store: SnapshotStoreResource,
        scanner: ScannerResource,
        audit_log: AuditLogResource,
        masking: MaskingResource,
    ) -> None:
        seen.extend([key_ring.open(), snapshot_store.open(), scanner.open(), audit_log.open()])
        assert masking.plan("healthcare").profile == "hipaa_safe_harbor"

    with open_instance(settings) as instance:
        assert dg.materialize([own], instance=instance, resources=platform_resources()).success
    assert [type(room) for room in seen] == [KeyRing, SnapshotStore, Scanner, AuditLog]


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_private_names_of_dagster_that_we_use_are_as_we_know_them() -> None:
    assert parameters(dg.DagsterInstance.handle_new_event) == ["self", "event", "batch_metadata"]
    assert parameters(InstanceRef.config_defaults) == ["base_dir"]
    assert parameters(InstanceRef.from_dir)[:2] == ["base_dir", "config_dir"]
    assert DagsterEventBatchMetadata.__name__ == "DagsterEventBatchMetadata"
    assert parameters(dg.DagsterInstance.add_event_listener) == ["self", "run_id", "cb"]
    assert parameters(DagsterWebserver.execute_graphql_request)[1:] == [
        "request",
        "query",
        "variables",
        "operation_name",
    ]
    assert {"build_middleware", "build_routes", "make_security_headers"} <= set(dir(DagsterWebserver))
    assert parameters(WorkspaceProcessContext.__init__)[1:3] == ["instance", "workspace_load_target"]

"""Every event of every run passes here: it is redacted; those that matter are audited and told as lineage.

Dagster's storage is in the home, wherever DAGSTER_HOME points. An exception in this hook would leave the run
hanging, so what fails here is reported and not raised; that nothing happens unaudited is kept by the
stages, which write their intent first.

Every dagster process loads this module, the web server and the daemon too: the rooms are imported when the
first event is audited.
"""

import logging
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster._core.events import DagsterEventType
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData

from secure_platform.orchestration.liveness import RunClaims, run_claims
from secure_platform.orchestration.redaction import redact_entry
from secure_platform.settings import load_settings

if TYPE_CHECKING:
    from dagster._core.events import DagsterEventBatchMetadata
    from dagster._core.events.log import EventLogEntry

    from secure_platform.audit.log import AuditLog
    from secure_platform.orchestration.lineage_events import LineageEvents
    from secure_platform.services import Services

_logger = logging.getLogger(__name__)

AUDITED: Final = {
    DagsterEventType.RUN_START: "run.start",
    DagsterEventType.RUN_SUCCESS: "run.success",
    DagsterEventType.RUN_FAILURE: "run.failure",
    DagsterEventType.RUN_CANCELED: "run.cancel",
    DagsterEventType.ASSET_MATERIALIZATION: "asset.materialize",
    DagsterEventType.ASSET_CHECK_EVALUATION: "asset.check",
}
ENDED: Final = frozenset(
    {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
)


STORAGE: Final = "secure_platform.orchestration.storage"


class SecureInstance(dg.DagsterInstance):
    """A Dagster instance that redacts and audits what runs do; `instance_class` in `dagster.yaml`."""

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """No further keys in `dagster.yaml`."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        """Dagster's defaults, in the home instead of `base_dir`."""
        del base_dir
        from secure_platform.orchestration.home import dagster_home, prepare  # noqa: PLC0415 - module docstring

        settings = load_settings()
        prepare(settings)
        defaults = InstanceRef.config_defaults(str(dagster_home(settings)))
        stock = defaults["storage"]
        return {
            **defaults,
            "storage": stock and stock._replace(module_name=STORAGE, class_name="HomeStorage"),
        }

    def handle_new_event(
        self, event: "EventLogEntry", *, batch_metadata: "DagsterEventBatchMetadata | None" = None
    ) -> None:
        """Redact, store, audit; a run is claimed before it is stored as started."""
        redacted = redact_entry(event)
        kind = event.dagster_event.event_type if event.dagster_event else None
        if kind is DagsterEventType.RUN_START:
            self._claim(event.run_id)
        super().handle_new_event(redacted, batch_metadata=batch_metadata)
        if kind in ENDED:
            self._claims.release(event.run_id)
        self._audit(redacted)
        self._tell(redacted)

    def _claim(self, run_id: str) -> None:
        try:
            self._claims.claim(run_id)
        except OSError as error:
            _logger.error("Run %s cannot be claimed: %s", run_id, type(error).__name__)  # noqa: TRY400

    @cached_property
    def _claims(self) -> RunClaims:
        return run_claims(self.root_directory)

    @cached_property
    def _services(self) -> "Services":
        from secure_platform.services import Services  # noqa: PLC0415 - module docstring

        return Services(load_settings())

    @property
    def _audit_log(self) -> "AuditLog":
        return self._services.audit

    @cached_property
    def _lineage(self) -> "LineageEvents | None":
        """None if the settings want no lineage."""
        if self._services.settings.lineage is None:
            return None
        from secure_platform.orchestration.lineage_events import LineageEvents  # noqa: PLC0415 - as above

        return LineageEvents(self._services)

    def _tell(self, entry: "EventLogEntry") -> None:
        """Those outside who want lineage and traces."""
        if entry.dagster_event is None:
            return
        try:
            if self._lineage is not None:
                self._lineage.hear(entry, self)
            if entry.dagster_event.event_type in ENDED:
                self._trace(entry.run_id)
        except Exception as error:  # noqa: BLE001 - as in `_audit`
            name = type(error).__name__
            _logger.error("What run %s did cannot be told: %s", entry.run_id, name)  # noqa: TRY400

    def _trace(self, run_id: str) -> None:
        """The span of a run that has ended."""
        traces = self._services.traces
        record = None if traces is None else self.get_run_record_by_id(run_id)
        if traces is None or record is None:
            return
        from secure_platform.notify.spans import About, Place  # noqa: PLC0415 - module docstring
        from secure_platform.orchestration.presentation import PRODUCT_TAG  # noqa: PLC0415
        from secure_platform.orchestration.stamp import TRACE_TAG  # noqa: PLC0415

        run = record.dagster_run
        parent = Place.parse(run.tags.get(TRACE_TAG))
        failed = None if run.is_success else run.status.value.lower()
        about = About(run.tags.get(PRODUCT_TAG), state=run.status.value.lower(), error=failed)
        when = (record.start_time or record.create_timestamp.timestamp(), time.time())
        traces.run(f"run {run.job_name}", about, Place.of_run(run_id, parent), parent, when)

    def _audit(self, entry: "EventLogEntry") -> None:
        event = entry.dagster_event
        if event is None or event.event_type not in AUDITED:
            return
        try:
            self._audit_log.append(
                AUDITED[event.event_type], actor="dagster", subject=_subject(entry), detail=_detail(entry)
            )
        except Exception as error:  # noqa: BLE001 - see the module's rule: raising here leaves runs hanging
            name = type(error).__name__
            _logger.error("The audit log refused an event of run %s: %s", entry.run_id, name)  # noqa: TRY400


def _subject(entry: "EventLogEntry") -> str:
    event = entry.get_dagster_event()
    key = event.asset_key
    return key.to_user_string() if key is not None else (entry.job_name or "")


def _detail(entry: "EventLogEntry") -> dict[str, Any]:
    event = entry.get_dagster_event()
    detail: dict[str, Any] = {"run": entry.run_id}
    if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        asset = evaluation.asset_key.to_user_string()
        detail |= {"asset": asset, "check": evaluation.check_name, "passed": evaluation.passed}
    return detail

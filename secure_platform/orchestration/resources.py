"""The rooms as Dagster resources; each opens the home's own and holds nothing that Dagster could show.

A step that runs on another instance class is refused: nothing there would redact or audit its events.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import dagster as dg
from pydantic import PrivateAttr

from secure_platform.access.resources import Action
from secure_platform.audit.log import AuditLog
from secure_platform.contract.product import Product
from secure_platform.errors import UsageError
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.secrets.resolver import HeldSecrets
from secure_platform.keys.secrets.secret import Secret
from secure_platform.notify.spans import About, Place
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.instance import SecureInstance
from secure_platform.orchestration.stamp import TRACE_TAG, stamped
from secure_platform.orchestration.steps import stored_tokens
from secure_platform.orchestration.steps.context import StepContext, StepOutcome
from secure_platform.orchestration.steps.protect import current_plan, product_resource
from secure_platform.orchestration.steps.retokenize import released
from secure_platform.protect.plan import Plan
from secure_platform.scan.columns import Scanner
from secure_platform.services import SCHEDULER, Services
from secure_platform.settings import load_settings
from secure_platform.store.snapshots import SnapshotStore

SNAPSHOT_ID: Final = "snapshot_id"
Result = TypeVar("Result")


class PlatformResource(dg.ConfigurableResource["PlatformResource"]):
    """Opens the home that the settings of this process name.

    Attributes:
        source: Folder of the source files for this run; empty takes the one from the settings.
        retokenize: Whether this run begins with the raw snapshots that production was made from.
    """

    source: str = ""
    retokenize: bool = False
    _services: Services | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Refuse foreign instances; remove what killed runs left behind.

        Raises:
            UsageError: If the run belongs to another instance class.
        """
        if not isinstance(context.instance, SecureInstance):
            raise UsageError(
                "This step was started on a Dagster instance that neither redacts nor audits",
                "Name the platform's instance class in dagster.yaml, or start it with `secure-platform run`.",
            )
        self.services.store.sweep()
        stored_tokens.sweep(self.services, actor=SCHEDULER)

    @property
    def services(self) -> Services:
        """The rooms."""
        if self._services is None:
            self._services = Services(load_settings())
        return self._services

    def step(self, context: dg.AssetExecutionContext, product: Product) -> StepContext:
        """What a step of this run is given.

        Raises:
            AccessDeniedError: If who asked for the run may not build the product.
            IntegrityError: If the run claims a requester that was not recorded for it.
            GateRefusedError: If it is to make anew what is in production, and nothing is.
        """
        requester = self.services.requester(stamped(self.services.keys, context.run))
        self.services.policy.require(requester, Action.BUILD, product_resource(self.services, product))
        chosen = _produced(context.instance, context.run_id)
        return StepContext(
            services=self.services,
            product=product,
            run_id=context.run_id,
            requester=requester.name,
            source=Path(self.source)
            if self.source
            else self.services.settings.source_directory(product.name),
            chosen=lambda zone, dataset: chosen.get((product.name, str(zone), dataset)),
            again=released(self.services, product) if self.retokenize else None,
        )

    def traced(
        self, context: dg.AssetExecutionContext, step: str, about: About, action: Callable[[], Result]
    ) -> Result:
        """Do what a step does; only our own errors come out, and a span says that it was done.

        Args:
            context: Names the run.
            step: What is being done, for the error.
            about: What it is done to, for the span.
            action: Does it.
        """
        traces = self.services.traces
        if traces is None:
            return value_free(step, action)
        run = Place.of_run(context.run_id, Place.parse(context.run.tags.get(TRACE_TAG)))
        with traces.root("step", about, run) as span:
            result = value_free(step, action)
            if isinstance(result, StepOutcome):
                span.rows, span.state = result.snapshot.rows, "reused" if result.snapshot.reused else "new"
            return result


class KeyRingResource(dg.ConfigurableResource["KeyRingResource"]):
    """The key ring."""

    platform: dg.ResourceDependency[PlatformResource]

    def open(self) -> KeyRing:
        """The home's key ring."""
        return self.platform.services.keys


class SnapshotStoreResource(dg.ConfigurableResource["SnapshotStoreResource"]):
    """The encrypted snapshots."""

    platform: dg.ResourceDependency[PlatformResource]

    def open(self) -> SnapshotStore:
        """The home's store."""
        return self.platform.services.store


class SecretsResource(dg.ConfigurableResource["SecretsResource"]):
    """What `secret://…` stands for, inside a step; what is lent for the run is given back at its end."""

    platform: dg.ResourceDependency[PlatformResource]
    _held: HeldSecrets | None = PrivateAttr(default=None)
    _run: dg.DagsterRun | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Remember for whom."""
        self._run = context.run

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Give back what was lent, also after a failure."""
        del context
        if self._held is not None:
            self._held.close()

    def get(self, reference: str) -> Secret:
        """The secret; use it, and never return, log or store it.

        Raises:
            UsageError: If it is no reference, or what it stands for is not there or cannot be used.
            ServiceError: If who keeps it cannot be reached, or refuses.
        """
        return self._lent().get(reference)

    def refresh(self, failed: Secret) -> Secret:
        """The secret as it is now, after something refused the one that `get` gave.

        Raises:
            UsageError: If it is not there any more.
            ServiceError: If who keeps it cannot be reached, or refuses.
        """
        return self._lent().refresh(failed)

    def _lent(self) -> HeldSecrets:
        if self._held is None:
            services = self.platform.services
            stamp = None if self._run is None else stamped(services.keys, self._run)
            requester = services.requester(stamp).name
            self._held = HeldSecrets(services.secrets, lambda: services.audit, requester)
        return self._held


class ScannerResource(dg.ConfigurableResource["ScannerResource"]):
    """The PII and secret scanner."""

    platform: dg.ResourceDependency[PlatformResource]

    def open(self) -> Scanner:
        """The scanner over the built-in info types."""
        return self.platform.services.scanner


class AuditLogResource(dg.ConfigurableResource["AuditLogResource"]):
    """The tamper-evident audit log."""

    platform: dg.ResourceDependency[PlatformResource]

    def open(self) -> AuditLog:
        """The home's log."""
        return self.platform.services.audit


class MaskingResource(dg.ConfigurableResource["MaskingResource"]):
    """The protection plans."""

    platform: dg.ResourceDependency[PlatformResource]

    def plan(self, product: str) -> Plan:
        """The plan of a product at the current token key version."""
        services = self.platform.services
        return current_plan(services.product(product), services.keys)


def platform_resources() -> dict[str, Any]:
    """`platform`, which our own assets use, and each room by itself for an adopter's assets."""
    platform = PlatformResource.configure_at_launch()
    return {
        "platform": platform,
        "key_ring": KeyRingResource(platform=platform),
        "snapshot_store": SnapshotStoreResource(platform=platform),
        "secrets": SecretsResource(platform=platform),
        "scanner": ScannerResource(platform=platform),
        "audit_log": AuditLogResource(platform=platform),
        "masking": MaskingResource(platform=platform),
    }


def _produced(instance: dg.DagsterInstance, run_id: str) -> dict[tuple[str, str, str], str]:
    """Which snapshots this run produced: product, zone, dataset → snapshot id."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    produced: dict[tuple[str, str, str], str] = {}
    for record in records:
        materialization = record.asset_materialization
        if materialization is None or len(materialization.asset_key.path) != len(
            ("product", "zone", "dataset")
        ):
            continue
        snapshot_id = materialization.metadata.get(SNAPSHOT_ID)
        if snapshot_id is not None:
            product, zone, dataset = materialization.asset_key.path
            produced[product, zone, dataset] = str(snapshot_id.value)
    return produced

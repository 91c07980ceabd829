"""What a command needs of a platform, and the platform that is a home on this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import polars as pl

from secure_platform.access.resources import Action
from secure_platform.errors import UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps import decide, deploy, payload, review
from secure_platform.orchestration.steps.exchange import Listener, RunReport
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.orchestration.steps.query import read_production
from secure_platform.orchestration.steps.reveal import Asked, Revealed, reveal
from secure_platform.services import Services
from secure_platform.source.dataset import is_source_place

Verb: TypeAlias = Literal["approve", "reject", "withdraw"]


class Platform(Protocol):
    """A home on this machine, or a server; commands do the same with both.

    Every method raises what the policy refuses as AccessDeniedError, what the gate refuses as
    GateRefusedError, an unknown name as UsageError, and what is not what was signed as IntegrityError.
    """

    def requester(self) -> str:
        """Name of who a build would be recorded for."""

    def origin(self, product: str, source: Path | None) -> str:
        """Where a build would take its source from, for people."""

    def build(self, product: str, source: Path | None, listener: Listener) -> RunReport:
        """Build a product and tell the listener how it goes."""

    def record(self, digest: str) -> ReleaseRecord:
        """The release with this digest."""

    def releases(self, product: str | None) -> list[ReleaseRecord]:
        """The releases of a product, or of all."""

    def base(self, product: str) -> str | None:
        """Digest of the release in production."""

    def unsaved_keys(self) -> list[str]:
        """Names of the keys that no backup has, as far as it is the caller's to make one."""

    def in_production(self, product: str) -> ReleaseRecord:
        """The release that a rollback leaves."""

    def manifest(self, record: ReleaseRecord) -> Mapping[str, Any]:
        """The signed manifest of a release."""

    def signed(self, record: ReleaseRecord) -> Mapping[str, Any]:
        """The same, without a look at the payload: an erasure may have deleted that of a closed release."""

    def erased(self, record: ReleaseRecord) -> Mapping[str, Any] | None:
        """What became of the rows of a release when somebody was erased, as `Erased`; None if nothing did."""

    def verify(self, record: ReleaseRecord) -> list[str]:
        """Derive everything again from the package's bytes; which tables it has."""

    def decide(
        self, verb: Verb, record: ReleaseRecord, *, base: str | None, reason: str, ticket: str | None
    ) -> ReleaseRecord:
        """Decide on a release as it was seen, against the production that was seen."""

    def rollback(self, seen: ReleaseRecord, *, reason: str) -> ReleaseRecord:
        """Put the release before the one that was seen back into production."""

    def query(self, product: str, sql: str, *, limit: int, purpose: str | None) -> pl.DataFrame:
        """Query production, read-only."""

    def reveal(self, asked: Asked) -> Revealed:
        """Make values again of what stands for them."""


class Local:
    """The platform of one home.

    Args:
        services: Its rooms.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def requester(self) -> str:
        """The caller, else the scheduler."""
        return self._services.requester().name

    def origin(self, product: str, source: Path | None) -> str:
        """The folder or file that was named, else the one from the settings."""
        self._services.product(product)
        folder = source or self._services.settings.source_directory(product)
        if not is_source_place(folder):
            raise UsageError(
                f"{folder} is not a folder or .zip file",
                "Name the folder of the source files: --source, or `sources` in platform.yaml.",
            )
        return str(folder)

    def build(self, product: str, source: Path | None, listener: Listener) -> RunReport:
        """Run the build job in this process."""
        # Dagster takes a second to import, and only builds need it.
        from secure_platform.orchestration.launch import run_build  # noqa: PLC0415

        services = self._services
        return run_build(services.settings, services.product(product), source=source, listener=listener)

    def record(self, digest: str) -> ReleaseRecord:
        """From the gate."""
        record = self._services.gate.get(digest)
        self._require_reader(record.product)
        return record

    def releases(self, product: str | None) -> list[ReleaseRecord]:
        """From the gate."""
        for name in [product] if product else self._services.products:
            self._require_reader(name)
        return self._services.gate.list(product)

    def base(self, product: str) -> str | None:
        """From the target."""
        return self._services.target.base(product)

    def unsaved_keys(self) -> list[str]:
        """From the home."""
        return self._services.key_backups.unsaved()

    def in_production(self, product: str) -> ReleaseRecord:
        """From the target, or from the gate if a rollback was not recorded."""
        return deploy.in_production(self._services, self._services.product(product).name)

    def manifest(self, record: ReleaseRecord) -> Mapping[str, Any]:
        """From the package, after everything in it was verified."""
        return review.verified_manifest(self._services, record)

    def signed(self, record: ReleaseRecord) -> Mapping[str, Any]:
        """From the package, after its signature was verified."""
        return deploy.signed_package(self._services, record).manifest

    def erased(self, record: ReleaseRecord) -> Mapping[str, Any] | None:
        """From the audit log."""
        gone = payload.erased(self._services, record)
        return None if gone is None else gone.to_json()

    def verify(self, record: ReleaseRecord) -> list[str]:
        """On a private copy of the package."""
        return list(review.verified_manifest(self._services, record)["tables"])

    def decide(
        self, verb: Verb, record: ReleaseRecord, *, base: str | None, reason: str, ticket: str | None
    ) -> ReleaseRecord:
        """As the caller whose token was given."""
        services, caller = self._services, self._services.caller()
        if verb == "approve":
            return decide.approve(services, record.digest, caller, reason=reason, base=base, ticket=ticket)
        return _CLOSING[verb](services, record.digest, caller, reason=reason, ticket=ticket)

    def rollback(self, seen: ReleaseRecord, *, reason: str) -> ReleaseRecord:
        """As the caller whose token was given."""
        return deploy.rollback(self._services, seen, self._services.caller(), reason=reason).record

    def query(self, product: str, sql: str, *, limit: int, purpose: str | None) -> pl.DataFrame:
        """As the caller whose token was given."""
        caller = self._services.caller()
        return read_production(self._services, product, sql, caller=caller, purpose=purpose, limit=limit)

    def reveal(self, asked: Asked) -> Revealed:
        """As the caller whose token was given."""
        return reveal(self._services, asked, self._services.caller())

    def _require_reader(self, product: str) -> None:
        resource = product_resource(self._services, self._services.product(product))
        self._services.policy.require(self._services.caller(), Action.RELEASE_READ, resource)


_CLOSING: Final = {"reject": decide.reject, "withdraw": decide.withdraw}

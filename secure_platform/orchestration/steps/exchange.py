"""How a release, the events of a run and rows are written between server and command line."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from secure_platform import errors
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.plain import plain

ARROW: Final = "application/vnd.apache.arrow.stream"
"""Media type of the rows of a query."""


@dataclass(frozen=True)
class AssetEvent:
    """One thing that happened in a run.

    Attributes:
        asset: Asset key, slash-separated.
        kind: `started`, `materialized`, `checked`, `failed` or `interrupted`.
        check: Name of the check, for `checked`.
        passed: Its result, for `checked`.
        blocking: Whether the failed check stops what comes after.
        metadata: What the asset or check reports.
        error: The error's text, for `failed`; it holds no data value.
        error_class: Its class.
    """

    asset: str
    kind: str
    check: str | None = None
    passed: bool | None = None
    blocking: bool = False
    metadata: Mapping[str, Any] | None = None
    error: str | None = None
    error_class: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; the constructor takes it back."""
        event: dict[str, Any] = plain(asdict(self))
        return event


@dataclass(frozen=True)
class RunReport:
    """How a run ended."""

    run_id: str
    succeeded: bool
    events: tuple[AssetEvent, ...]

    @property
    def failures(self) -> list[AssetEvent]:
        """Steps that raised, and blocking checks that failed."""
        return [
            event
            for event in self.events
            if event.kind == "failed" or (event.kind == "checked" and event.blocking and not event.passed)
        ]

    @property
    def release(self) -> str | None:
        """Digest of the release that the run packaged or found."""
        for event in self.events:
            if event.kind == "materialized" and event.asset.endswith("/release"):
                return str((event.metadata or {})["digest"])
        return None

    @property
    def exit_code(self) -> int:
        """0, or the exit code of the first failure."""
        if self.succeeded:
            return 0
        for event in self.failures:
            error = getattr(errors, event.error_class or "", None)
            if isinstance(error, type) and issubclass(error, errors.SecurePlatformError):
                return error.exit_code
        return errors.DataRefusedError.exit_code if self.failures else 1


Listener: TypeAlias = Callable[[AssetEvent], None]


def record_data(record: ReleaseRecord) -> dict[str, Any]:
    """A release as JSON."""
    return {
        "product": record.product,
        "number": record.number,
        "digest": record.digest,
        "state": str(record.state),
        "environment": record.environment,
        "classification": record.classification,
        "requested_by": record.requested_by,
        "run_id": record.run_id,
        "approver_groups": list(record.approver_groups),
        "second_approver_groups": list(record.second_approver_groups),
        "base": record.base,
        "created_at": record.created_at.isoformat(),
        "expires_at": record.expires_at.isoformat(),
        "decided_at": record.decided_at and record.decided_at.isoformat(),
    }


def read_record(data: Mapping[str, Any]) -> ReleaseRecord:
    """The reverse of `record_data`; what only the gate needs is left empty."""
    decided_at = data["decided_at"]
    return ReleaseRecord(
        digest=data["digest"],
        product=data["product"],
        number=data["number"],
        environment=data["environment"],
        state=ReleaseState(data["state"]),
        base=data["base"],
        classification=data["classification"],
        requested_by=data["requested_by"],
        run_id=data["run_id"],
        input_key="",
        approver_groups=tuple(data["approver_groups"]),
        second_approver_groups=tuple(data["second_approver_groups"]),
        created_at=datetime.fromisoformat(data["created_at"]),
        expires_at=datetime.fromisoformat(data["expires_at"]),
        decided_at=decided_at and datetime.fromisoformat(decided_at),
    )

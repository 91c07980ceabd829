"""What a committed snapshot is: where it is, what its sidecar says of it, and what the stages said.

Only a snapshot that passed every stage before is anybody's input.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from secure_platform.errors import DataRefusedError, IntegrityError

DATA: Final = "data.parquet"
QUARANTINE: Final = "quarantine.parquet"


class Zone(StrEnum):
    """How far along the way of the data a snapshot is."""

    RAW = "raw"
    PROTECTED = "protected"
    MARTS = "marts"


@dataclass(frozen=True)
class Verdict:
    """A stage's recorded pass or fail on one snapshot.

    Attributes:
        stage: The stage that judged.
        passed: Its judgement.
        detail: Counts and names, never a data value.
    """

    stage: str
    passed: bool
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """A committed snapshot whose sidecar and files were verified.

    Attributes:
        content_digest: Keyed digest of the logical content, `hmac-sha256:<key version>:<hex>`.
        file_digest: `sha256:<hex>` of the encrypted file.
        bytes: Size of the encrypted file.
        columns: Column name → stable type name (see `store.digest.type_name`), in order.
        input_key: What the step that wrote it computed from everything its output depends on.
        created_at: RFC 3339, UTC.
        path: Its directory.
        reused: Whether it was found instead of written.
    """

    product: str
    dataset: str
    zone: Zone
    snapshot_id: str
    content_digest: str
    file_digest: str
    rows: int
    bytes: int
    columns: Mapping[str, str]
    input_key: str
    contract_version: str
    contract_digest: str
    provenance: Mapping[str, Any]
    verdicts: Mapping[str, Verdict]
    created_at: str
    path: Path
    reused: bool = False

    @property
    def title(self) -> str:
        """Its place and id, for people."""
        return f"{self.product}/{self.zone}/{self.dataset}/{self.snapshot_id}"


def require_verdicts(snapshot: Snapshot, stages: Iterable[str]) -> None:
    """Refuse a snapshot that did not pass every one of these stages.

    Raises:
        IntegrityError: If a verdict is missing: the stage never judged this snapshot.
        DataRefusedError: If a verdict is a fail.
    """
    name = f"{snapshot.product}/{snapshot.zone}/{snapshot.dataset}"
    for stage in stages:
        verdict = snapshot.verdicts.get(stage)
        if verdict is None:
            raise IntegrityError(
                f"Snapshot {snapshot.snapshot_id} of {name} has no verdict of the stage {stage}",
                f"Materialize {name} again.",
            )
        if not verdict.passed:
            raise DataRefusedError(
                f"Snapshot {snapshot.snapshot_id} of {name} failed the stage {stage}",
                "See its checks, correct the data or the contract, and run it again.",
            )


def from_sidecar(body: Mapping[str, Any], path: Path) -> Snapshot:
    """The snapshot that an authenticated sidecar tells of."""
    data = body["files"][DATA]
    return Snapshot(
        product=body["product"],
        dataset=body["dataset"],
        zone=Zone(body["zone"]),
        snapshot_id=body["snapshot_id"],
        content_digest=body["content_digest"],
        file_digest=data["digest"],
        rows=body["rows"],
        bytes=data["bytes"],
        columns=dict(body["columns"]),
        input_key=body["input_key"],
        contract_version=body["contract_version"],
        contract_digest=body["contract_digest"],
        provenance=body["provenance"],
        verdicts={
            stage: Verdict(stage, verdict["passed"], verdict["detail"])
            for stage, verdict in body["verdicts"].items()
        },
        created_at=body["created_at"],
        path=path,
    )

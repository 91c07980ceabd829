"""A snapshot is an immutable copy of a dataset in one zone: wholly there and proven, or not there at all.

It is written as a draft nobody else reads, judged while it is one, and committed with its verdicts by one
rename, after the audit log has the intent. Every read verifies the sealed sidecar and the digest of the very
descriptor that Polars then reads; Polars authenticates each part again with the file's own key, so bytes that
change after the check do not decrypt.
"""

import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform import files
from secure_platform.audit.log import AuditLog
from secure_platform.errors import DataRefusedError, IntegrityError, UsageError
from secure_platform.keys.ring import KeyRing
from secure_platform.store import parquet, temporary
from secure_platform.store.digest import ContentDigest, type_name
from secure_platform.store.draft_files import DraftFiles
from secure_platform.store.history import CHOSEN, WRITTEN, newest, settled
from secure_platform.store.lake import Lake
from secure_platform.store.location import Location, require_snapshot_id

DATA: Final = "data.parquet"
QUARANTINE: Final = "quarantine.parquet"
DELETED: Final = "snapshot.delete"


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


class SnapshotStore:
    """Writes, finds and opens snapshots.

    Args:
        lake: Root of the snapshots.
        temporary: Where drafts live, on the same file system.
        keys: Data keys, MACs and the digest key.
        audit: Records every commit before it happens.

    Raises:
        UsageError: If the two directories are on different file systems.
    """

    def __init__(self, lake: Path, temporary: Path, keys: KeyRing, audit: AuditLog) -> None:
        self._lake = Lake(lake, keys)
        self._temporary = files.private_directory(temporary)
        self._keys = keys
        self._audit = audit
        if lake.stat().st_dev != temporary.stat().st_dev:
            raise UsageError(
                f"{lake} and {temporary} are on different file systems",
                "Put both on one: a snapshot appears by one rename.",
            )

    @contextmanager
    def draft(self, product: str, dataset: str, zone: Zone, *, actor: str) -> Iterator["Draft"]:
        """Begin a snapshot; unless it is committed in the block, nothing of it remains."""
        location = Location(product, str(zone), dataset)
        with temporary.claimed_directory(self._temporary, "draft") as directory:
            yield Draft(self._lake, self._keys, self._audit, location, directory, actor)

    def sweep(self) -> int:
        """Remove what killed processes left behind, never live work, and return how many there were."""
        return temporary.sweep(self._temporary)

    def find(self, product: str, dataset: str, zone: Zone, input_key: str) -> Snapshot | None:
        """The committed snapshot of this input, marked as reused: HEAD or else the newest; or None.

        Raises:
            IntegrityError: If HEAD, or the snapshot that is found, is not what was written.
        """
        location = Location(product, str(zone), dataset)
        chosen = self._lake.head(location)
        if chosen is None or self._lake.sidecar(location, chosen)["input_key"] != input_key:
            bodies = self._lake.snapshots_of(location, input_key)
            newest = max(bodies, key=lambda body: (body["created_at"], body["snapshot_id"]), default=None)
            if newest is None:
                return None
            chosen = str(newest["snapshot_id"])
        return replace(self.load(product, dataset, zone, chosen), reused=True)

    def head(self, product: str, dataset: str, zone: Zone) -> Snapshot | None:
        """The snapshot that was committed or chosen last; None when there never was one.

        Raises:
            IntegrityError: If HEAD or its snapshot is not what was written, or the log knows a later one.
        """
        location = Location(product, str(zone), dataset)
        snapshot_id = self._lake.head(location)
        if not newest(self._audit, location, snapshot_id) and snapshot_id == self._lake.head(location):
            raise IntegrityError(
                f"HEAD of {location} is not what the audit log records last: an older one was put back",
                f"Run the whole build, which chooses its own: secure-platform run {product}.",
            )
        return None if snapshot_id is None else self.load(product, dataset, zone, snapshot_id)

    def described(self, product: str, dataset: str, zone: Zone) -> Snapshot | None:
        """The newest snapshot as its authenticated sidecar tells of it, to be shown; no file is looked at."""
        location = Location(product, str(zone), dataset)
        snapshot_id = self._lake.head(location)
        if snapshot_id is None:
            return None
        return _snapshot(
            self._lake.sidecar(location, snapshot_id), self._lake.directory(location, snapshot_id)
        )

    def load(self, product: str, dataset: str, zone: Zone, snapshot_id: str) -> Snapshot:
        """A snapshot by its id, after its sidecar, the set of its files and their digests were verified.

        Raises:
            UsageError: If the id is malformed.
            IntegrityError: If the snapshot is missing or is not what was written.
        """
        location = Location(product, str(zone), dataset)
        body = self._lake.sidecar(location, require_snapshot_id(snapshot_id))
        self._lake.require_only(location, snapshot_id, set(body["files"]))
        for name, record in body["files"].items():
            self._lake.file(location, snapshot_id, name, record).close()
        return _snapshot(body, self._lake.directory(location, snapshot_id))

    def set_head(self, snapshot: Snapshot, *, actor: str) -> None:
        """Make a committed snapshot the newest again; nothing happens when the log says that it is."""
        location = Location(snapshot.product, str(snapshot.zone), snapshot.dataset)
        unchanged = self._lake.head(location) == snapshot.snapshot_id
        if unchanged and settled(self._audit, location, snapshot.snapshot_id):
            return
        self.load(snapshot.product, snapshot.dataset, snapshot.zone, snapshot.snapshot_id)
        with (
            temporary.claimed_directory(self._temporary, "draft") as scratch,
            self._audit.effect(CHOSEN, actor=actor, subject=f"{location}/{snapshot.snapshot_id}"),
        ):
            self._lake.set_head(location, snapshot.snapshot_id, scratch)

    def stored(self, product: str, zone: Zone) -> Iterator[Snapshot]:
        """Every snapshot of a product in a zone, the newest ones among them.

        Raises:
            IntegrityError: If one is not what was written.
        """
        for dataset in self._lake.datasets(product, str(zone)):
            for snapshot_id in self._lake.ids(Location(product, str(zone), dataset)):
                yield self.load(product, dataset, zone, snapshot_id)

    def delete(self, snapshot: Snapshot, *, actor: str) -> None:
        """Remove a snapshot that is not the newest for good; what names it does not find it any more.

        Raises:
            UsageError: If it is the newest.
        """
        location = Location(snapshot.product, str(snapshot.zone), snapshot.dataset)
        if self._lake.head(location) == snapshot.snapshot_id:
            raise UsageError(f"{location} would be without its newest snapshot", "Write another one first.")
        subject = f"{location}/{snapshot.snapshot_id}"
        with (
            temporary.claimed_directory(self._temporary, "draft") as scratch,
            self._audit.effect(DELETED, actor=actor, subject=subject),
        ):
            self._lake.remove(location, snapshot.snapshot_id, scratch)

    def scan(self, snapshot: Snapshot) -> pl.LazyFrame:
        """The rows, decrypted as they are read.

        Raises:
            IntegrityError: If the snapshot is no longer what was verified.
        """
        return self._open(self._sidecar(snapshot), DATA)

    def quarantine(self, snapshot: Snapshot) -> pl.LazyFrame | None:
        """The rows that were set aside, or None when there are none.

        Raises:
            IntegrityError: If the snapshot is no longer what was verified.
        """
        body = self._sidecar(snapshot)
        return self._open(body, QUARANTINE) if QUARANTINE in body["files"] else None

    def _sidecar(self, snapshot: Snapshot) -> dict[str, Any]:
        location = Location(snapshot.product, str(snapshot.zone), snapshot.dataset)
        body = self._lake.sidecar(location, require_snapshot_id(snapshot.snapshot_id))
        if not hmac.compare_digest(body["content_digest"], snapshot.content_digest):
            raise IntegrityError(
                f"{location}/{snapshot.snapshot_id} is not the snapshot that was verified", "Load it again."
            )
        return body

    def _open(self, body: Mapping[str, Any], name: str) -> pl.LazyFrame:
        location, snapshot_id = Location(body["product"], body["zone"], body["dataset"]), body["snapshot_id"]
        record = body["files"][name]
        key = self._keys.open_data_key(record["data_key"], location.context(snapshot_id, name))
        with self._lake.file(location, snapshot_id, name, record) as file:
            return parquet.scan(file, parquet.FileKey(key, location.associated(snapshot_id)))


class Draft:
    """A snapshot that is being written; nobody's input before it is committed.

    Attributes:
        snapshot_id: 128 random bits, chosen before the first byte: the encryption is bound to it.
    """

    def __init__(
        self,
        lake: Lake,
        keys: KeyRing,
        audit: AuditLog,
        location: Location,
        directory: Path,
        actor: str,
    ) -> None:
        self.snapshot_id: Final = secrets.token_hex(16)
        self._lake = lake
        self._keys = keys
        self._audit = audit
        self._location = location
        self._directory = directory
        self._actor = actor
        self._files = DraftFiles(directory, location, self.snapshot_id, keys)
        self._content: dict[str, Any] = {}
        self._verdicts: dict[str, dict[str, Any]] = {}

    def write(self, frame: pl.LazyFrame, observe: Sequence[pl.LazyFrame] = ()) -> list[pl.DataFrame]:
        """Write the rows encrypted and run the observers in one pass, then digest what was written.

        Args:
            frame: The rows; their order is kept.
            observe: Further queries over the same frame.

        Returns:
            The results of `observe`.

        Raises:
            DataRefusedError: If the query fails or a column has a type that a snapshot cannot hold.
        """
        with parquet.value_free(f"read the columns of {self._location}"):
            schema = frame.collect_schema()
        digest = ContentDigest(self._keys.digest_key("content"), schema)
        results = self._files.write(DATA, frame, digest.update, observe)
        self._content = {
            "content_digest": digest.finish(),
            "rows": digest.rows,
            "columns": [[name, type_name(dtype, column=name)] for name, dtype in schema.items()],
        }
        return results

    def write_batches(
        self,
        batches: Iterable[pl.DataFrame],
        observe: Callable[[pl.LazyFrame], Sequence[pl.LazyFrame]] = lambda _: (),
    ) -> list[pl.DataFrame]:
        """Write rows that arrive in batches, in bounded memory.

        Args:
            batches: The rows.
            observe: Makes further queries over them.

        Returns:
            The results of those queries.

        Raises:
            DataRefusedError: If there is no batch at all (an empty table is one batch without rows), or the
                columns change between batches.
        """
        arriving = iter(batches)
        first = next(arriving, None)
        if first is None:
            raise DataRefusedError(f"{self._location} arrived without columns", "Look at its source.")

        def once() -> Iterator[pl.DataFrame]:
            yield first
            yield from arriving

        reading = once()
        frame = parquet.from_batches(first.schema, lambda: reading)
        return self.write(frame, observe=observe(frame))

    def write_quarantine(self, frame: pl.DataFrame) -> None:
        """Keep the rows that were set aside, encrypted under a key of their own."""
        self._files.write(QUARANTINE, frame.lazy())

    def scan(self) -> pl.LazyFrame:
        """The rows written so far, decrypted as they are read."""
        self._require_written()
        return self._files.scan(DATA)

    def verdict(self, stage: str, *, passed: bool, **detail: Any) -> None:
        """Record a stage's judgement; a stage judges once.

        Args:
            stage: The stage.
            passed: Its judgement.
            detail: JSON: counts and names, never a data value.
        """
        if stage in self._verdicts:
            raise UsageError(f"The stage {stage} judged {self._location} twice", "Record one verdict.")
        self._verdicts[stage] = {"passed": passed, "detail": detail}

    def commit(
        self, *, input_key: str, contract_version: str, contract_digest: str, provenance: Mapping[str, Any]
    ) -> Snapshot:
        """Publish the snapshot and move HEAD to it.

        Args:
            input_key: What a later run looks it up by.
            contract_version: Version of the dataset's contract.
            contract_digest: Digest of that contract.
            provenance: JSON: the run and the snapshots it was made from.

        Raises:
            IntegrityError: If the intent cannot be recorded; then nothing is published.
        """
        self._require_written()
        body = {
            "product": self._location.product,
            "dataset": self._location.dataset,
            "zone": self._location.zone,
            "snapshot_id": self.snapshot_id,
            **self._content,
            "files": self._files.records(),
            "input_key": input_key,
            "contract_version": contract_version,
            "contract_digest": contract_digest,
            "provenance": dict(provenance),
            "verdicts": self._verdicts,
            "created_at": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        subject = f"{self._location}/{self.snapshot_id}"
        detail = {member: body[member] for member in ("input_key", "content_digest", "rows")}
        with (
            temporary.claimed_directory(self._directory.parent, "draft") as scratch,
            self._audit.effect(WRITTEN, actor=self._actor, subject=subject, detail=detail),
        ):
            self._lake.publish(self._location, self._directory, body)
            self._lake.set_head(self._location, self.snapshot_id, scratch)
        return _snapshot(body, self._lake.directory(self._location, self.snapshot_id))

    def _require_written(self) -> None:
        if not self._content:
            raise UsageError(f"Nothing was written to the draft of {self._location}", "Write its rows first.")


def _snapshot(body: Mapping[str, Any], path: Path) -> Snapshot:
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

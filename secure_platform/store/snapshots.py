"""A snapshot is an immutable copy of a dataset in one zone: wholly there and proven, or not there at all.

Every read verifies the sealed sidecar and the digest of the very descriptor that Polars then reads; Polars
authenticates each part again with the file's own key, so bytes that change after the check do not decrypt.
"""

import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform import files
from secure_platform.audit.log import AuditLog
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.ring import KeyRing
from secure_platform.store import parquet, temporary
from secure_platform.store.draft import Draft
from secure_platform.store.history import CHOSEN, newest, settled
from secure_platform.store.lake import Lake
from secure_platform.store.location import Location, require_snapshot_id
from secure_platform.store.snapshot import DATA, QUARANTINE, Snapshot, Zone, from_sidecar

DELETED: Final = "snapshot.delete"


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
    def draft(self, product: str, dataset: str, zone: Zone, *, actor: str) -> Iterator[Draft]:
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
        return from_sidecar(
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
        return from_sidecar(body, self._lake.directory(location, snapshot_id))

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

    def products(self) -> list[str]:
        """The products that have snapshots, whether the project still has them or not."""
        return self._lake.products()

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

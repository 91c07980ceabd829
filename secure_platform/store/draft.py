"""A snapshot is judged while it is a draft that nobody else reads.

It is committed with its verdicts by one rename, after the audit log has the intent.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform.audit.log import AuditLog
from secure_platform.errors import DataRefusedError, UsageError
from secure_platform.keys.ring import KeyRing
from secure_platform.store import parquet, temporary
from secure_platform.store.digest import ContentDigest, type_name
from secure_platform.store.draft_files import DraftFiles
from secure_platform.store.history import WRITTEN
from secure_platform.store.lake import Lake
from secure_platform.store.location import Location
from secure_platform.store.snapshot import DATA, QUARANTINE, Snapshot, from_sidecar


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
            raise DataRefusedError(f"{self._location} arrived without columns", "Check its source.")

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
        return from_sidecar(body, self._lake.directory(self._location, self.snapshot_id))

    def _require_written(self) -> None:
        if not self._content:
            raise UsageError(f"Nothing was written to the draft of {self._location}", "Write its rows first.")

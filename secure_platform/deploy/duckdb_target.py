"""Production changes by one atomic replacement of a pointer, to a database that was proven first.

A change takes the product's lock, requires that production still is what the approval was given against,
builds or finds an encrypted database, reads it back against the manifest, and only then moves the pointer. A
process that is killed at any point leaves the old release or the new one in production, and the same call
again ends with the new one. Databases that readers may have open are never changed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform import canonical
from secure_platform.audit.log import JSON, AuditLog
from secure_platform.deploy import database
from secure_platform.deploy.pointer import Pointer
from secure_platform.deploy.production import (
    Judge,
    Production,
    previous_of_earlier,
    previous_of_newer,
    production_of,
    require_base,
    required,
)
from secure_platform.deploy.shelf import PUBLISH, RESIGN, ROLLBACK, SETTLE, Shelf
from secure_platform.errors import GateRefusedError, IntegrityError, UsageError
from secure_platform.files import file_sha256, private_directory, sync_directory
from secure_platform.keys.ring import KeyRing
from secure_platform.release.manifest import Manifest, read_manifest
from secure_platform.release.verify import VerifiedRelease
from secure_platform.store.query import query
from secure_platform.store.temporary import claimed_directory

KEEP: Final = 3
"""Databases that remain after a publication; fewer would not hold the current and the two before it."""


class DuckDBTarget:
    """Deploys releases as encrypted DuckDB databases.

    Args:
        warehouse: Holds one folder per product.
        temporary: Private scratch space on the same file system.
        keys: Data keys, MACs and signatures.
        audit: Records every change and query.
        keep: How many databases remain, at least 3.

    Raises:
        UsageError: If fewer are to be kept, or a database could not be renamed into the warehouse.
    """

    def __init__(
        self, warehouse: Path, temporary: Path, keys: KeyRing, audit: AuditLog, *, keep: int = KEEP
    ) -> None:
        if keep < KEEP:
            raise UsageError(f"{keep} databases are too few to keep", f"Keep at least {KEEP}.")
        self._warehouse = private_directory(warehouse)
        self._temporary = private_directory(temporary)
        if warehouse.stat().st_dev != temporary.stat().st_dev:
            raise UsageError(
                f"{warehouse} and {temporary} are on different file systems",
                "Put both on one, so that a database appears by one rename.",
            )
        self._keys = keys
        self._audit = audit
        self._keep = keep

    def current(self, product: str) -> Production | None:
        """What is in production, its database checked, or None before the first publication.

        Raises:
            IntegrityError: If pointer or database are not what was published last.
        """
        shelf = self._shelf(product)
        pointer = shelf.current()
        return None if pointer is None else production_of(pointer, shelf.database(pointer))

    def base(self, product: str) -> str | None:
        """Digest of the release in production.

        Raises:
            IntegrityError: If the pointer is not the one that was published last.
        """
        pointer = self._shelf(product).current()
        return None if pointer is None else pointer.release

    def history(self, product: str) -> list[Production]:
        """Every state of production, the present one first."""
        shelf = self._shelf(product)
        pointer = shelf.current()
        newest = 0 if pointer is None else pointer.sequence
        return [
            production_of(record, shelf.folder / record.file)
            for record in shelf.records()
            if record.sequence <= newest
        ]

    def publish(self, release: VerifiedRelease, *, expected_base: str | None, actor: str) -> Production:
        """Put a release into production; nothing changes when it is there already.

        Args:
            release: A release inside its `verified` block.
            expected_base: Digest of the release that must be in production now.
            actor: Who deploys.

        Raises:
            GateRefusedError: If another release is in production, or a newer one.
            IntegrityError: If production, or the database that was built, is not what it must be.
        """
        shelf = self._shelf(release.contents.product)
        return self._change(PUBLISH, shelf, release, expected_base, actor, previous_of_newer)

    def rollback(
        self, product: str, release: VerifiedRelease, *, expected_base: str | None, actor: str
    ) -> Production:
        """Put a release that was in production before back; nothing changes when it is there already.

        Args:
            product: The product.
            release: The earlier release, inside its `verified` block.
            expected_base: Digest of the release that must be in production now.
            actor: Who rolls back.

        Raises:
            GateRefusedError: If it is another product's, or was never in production, or production changed.
            IntegrityError: If production, or the earlier release's database, is not what it must be.
        """
        if release.contents.product != product:
            raise GateRefusedError(
                f"The release is one of {release.contents.product}, not of {product}", "Name its own product."
            )
        return self._change(
            ROLLBACK, self._shelf(product), release, expected_base, actor, previous_of_earlier
        )

    def settle(self, product: str, *, actor: str) -> None:
        """Record the outcome of a change whose process died after it moved the pointer.

        Until then the log does not tell this state of production from the one before it.
        """
        shelf = self._shelf(product)
        pointer = shelf.current()
        if pointer is None or shelf.is_recorded(pointer):
            return
        # Whoever still holds the lock is about to record it.
        with shelf.lock():
            pointer = shelf.current()
            if pointer is None or shelf.is_recorded(pointer):
                return
            detail: dict[str, JSON] = {"release": pointer.release, "number": pointer.number}
            with self._audit.effect(SETTLE, actor=actor, subject=product, detail=detail) as outcome:
                outcome["sequence"], outcome["file_digest"] = pointer.state

    def resign(self, product: str, leaked: str, *, actor: str) -> int:
        """Seal every state of production again that this key signed; returns how many.

        Raises:
            IntegrityError: If one of them is not what was published.
        """
        shelf = self._shelf(product)
        with shelf.lock(), self._audit.effect(RESIGN, actor=actor, subject=product) as outcome:
            outcome["pointers"] = count = shelf.resign(leaked)
        return count

    def forget(self, product: str, release: str, *, actor: str) -> list[str]:
        """Remove what is left of a release that is not in production any more: its databases.

        Returns:
            Their names; none if there are none, or it is in production.
        """
        shelf = self._shelf(product)
        detail: dict[str, JSON] = {"release": release}
        with (
            shelf.lock(),
            self._audit.effect("deploy.forget", actor=actor, subject=product, detail=detail) as outcome,
        ):
            gone = shelf.forget(release)
            outcome["databases"] = len(gone)
        return gone

    def query(
        self, product: str, sql: str, *, limit: int, actor: str, purpose: str | None = None
    ) -> pl.DataFrame:
        """Run one SELECT over the tables in production.

        Args:
            product: The product.
            sql: The statement; only its keyed hash and length are recorded.
            limit: Most rows to return.
            actor: Who asks.
            purpose: What for; recorded.

        Raises:
            UsageError: If nothing is deployed, or the statement is not a SELECT that can be run.
            IntegrityError: If production is not what was published last.
        """
        shelf = self._shelf(product)
        text = sql.encode(errors="replace")
        detail: dict[str, JSON] = {"query": self._keys.mac("query", text), "bytes": len(text), "limit": limit}
        if purpose is not None:
            detail["purpose"] = purpose
        with self._audit.effect("query.run", actor=actor, subject=product, detail=detail) as outcome:
            pointer = required(shelf.current(), product)
            rows = query(shelf.database(pointer), self._key(pointer), sql, limit=limit)
            outcome |= {"release": pointer.release, "rows": rows.height}
        return rows

    def verify(self, product: str, manifest: Mapping[str, Any]) -> None:
        """Check that readers get exactly this release: every table is read back and digested.

        Args:
            product: The product.
            manifest: The manifest of the release that must be in production.

        Raises:
            UsageError: If nothing is deployed.
            IntegrityError: If another release is in production, or its tables differ from the manifest.
        """
        document = canonical.dumps(dict(manifest))
        shelf = self._shelf(product)
        pointer = required(shelf.current(), product)
        if pointer.release != canonical.sha256(document):
            raise IntegrityError(
                f"Production of {product} holds another release", "Compare it with the release in production."
            )
        self._check(shelf.database(pointer), self._key(pointer), read_manifest(document))

    def _shelf(self, product: str) -> Shelf:
        return Shelf(self._warehouse, product, self._keys, self._audit)

    def _change(
        self,
        action: str,
        shelf: Shelf,
        release: VerifiedRelease,
        expected_base: str | None,
        actor: str,
        judge: Judge,
    ) -> Production:
        product = release.contents.product
        detail: dict[str, JSON] = {
            "release": release.digest,
            "number": release.contents.number,
            "base": expected_base,
        }
        with (
            shelf.lock(),
            self._audit.effect(action, actor=actor, subject=product, detail=detail) as outcome,
        ):
            pointer = shelf.current()
            if pointer is None or pointer.release != release.digest:
                require_base(pointer, expected_base, product)
                pointer = self._switch(shelf, pointer, release, judge(shelf, pointer, release))
            elif not shelf.intact(pointer):
                pointer = self._switch(shelf, pointer, release, pointer.previous)
            outcome["sequence"], outcome["file_digest"] = pointer.state
        return production_of(pointer, shelf.folder / pointer.file)

    def _switch(
        self, shelf: Shelf, present: Pointer | None, release: VerifiedRelease, previous: str | None
    ) -> Pointer:
        """Prove a database of the release and move the pointer to it."""
        contents = release.contents
        file = f"{contents.number}-{release.digest.removeprefix('sha256:')[:12]}.duckdb"
        needed = {previous, present.release, present.previous} if present else {previous}
        shelf.tidy(self._keep - 1, files={file}, releases={name for name in needed if name})
        (begun,) = self._audit.tail(1)
        file_digest, wrapped_key = self._place(shelf, release, file)
        pointer = Pointer(
            product=contents.product,
            environment=contents.environment,
            release=release.digest,
            number=contents.number,
            file=file,
            file_digest=file_digest,
            wrapped_key=wrapped_key,
            rows={name: table.rows for name, table in contents.tables.items()},
            previous=previous,
            sequence=present.sequence + 1 if present else 1,
            audit_seq=begun.seq,
            audit_leaf=begun.leaf.hex(),
            deployed_at=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        )
        shelf.switch(pointer)
        return pointer

    def _place(self, shelf: Shelf, release: VerifiedRelease, name: str) -> tuple[str, str]:
        """Find or build the release's database under this name; returns its digest and wrapped key."""
        kept = shelf.find(release.digest, name)
        if kept is not None:
            self._check(shelf.folder / name, self._key(kept), release.contents)
            return kept.file_digest, kept.wrapped_key
        data_key = self._keys.new_data_key(_key_context(release.contents.product, release.digest))
        with claimed_directory(self._temporary, "build") as scratch:
            path = scratch / name
            database.build(release, self._keys, path, data_key.plaintext, scratch)
            self._check(path, data_key.plaintext, release.contents)
            file_digest = file_sha256(path)
            path.replace(shelf.folder / name)
        sync_directory(shelf.folder)
        return file_digest, data_key.wrapped

    def _check(self, path: Path, key: bytes, manifest: Manifest) -> None:
        with claimed_directory(self._temporary, "build") as scratch:
            database.check(path, key, manifest, self._keys, scratch)

    def _key(self, pointer: Pointer) -> bytes:
        return self._keys.open_data_key(pointer.wrapped_key, _key_context(pointer.product, pointer.release))


def _key_context(product: str, release: str) -> dict[str, str]:
    return {"purpose": "production", "product": product, "release": release}

"""A release is written whole and in private, then appears by a rename; a number is never written twice.

Each table is encrypted again under the release's own data key, and must digest to what its snapshot does.
What a killed build left is removed by the next one; a package whose number was handed out again, because its
build died before the release was registered, is set aside, never overwritten.
"""

import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from secure_platform import canonical
from secure_platform.audit.log import AuditLog
from secure_platform.contract.model import Contract
from secure_platform.control.locks import file_lock
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.files import file_sha256, private_directory, publish_directory, write_private
from secure_platform.keys.ring import KeyRing
from secure_platform.release.bundle import sign_statement
from secure_platform.release.layout import (
    CHECKPOINT,
    CONTENT_DIGEST,
    PAYLOAD,
    RELEASE_PREDICATE,
    SIGNATURE,
    attestations_directory,
    file_key,
    key_context,
    payload_name,
    release_directory,
    release_predicate,
)
from secure_platform.release.manifest import FORMAT, MANIFEST, read_manifest
from secure_platform.store import parquet
from secure_platform.store.digest import ContentDigest, key_version, type_name
from secure_platform.store.location import NAME
from secure_platform.store.snapshot import Snapshot
from secure_platform.store.snapshots import SnapshotStore

STAGING: Final = ".staging"
UNREGISTERED: Final = ".unregistered"


@dataclass(frozen=True)
class ReleaseRequest:
    """What is to be released.

    Attributes:
        classification: Label of the highest classification in the tables.
        requested_by: Name of the principal the release is built for.
        tables: Released table → mart snapshot; the caller has required their verdicts.
        lineage: Records of all snapshots the tables come from, in all zones, the tables' own included.
        contracts: Dataset → its contract, as it was read from its document.
        plan: The whole protection plan.
        dbt: Record of the SQL, tests and variables that made the tables.
        aggregates: The declaration of the tables that hold numbers with noise, and their budget.
        shared_domains: Token domains of the plan → the other products that name them.
        verdicts: `<zone>/<dataset>` of every snapshot in the lineage → stage → `{"passed", "detail"}`.
        base: Digest of the release in production when this one was built.
        audit_checkpoint: Signed checkpoint of the audit log (C2SP note).
    """

    product: str
    environment: str
    classification: str
    requested_by: str
    run_id: str
    tables: Mapping[str, Snapshot]
    lineage: Sequence[Mapping[str, Any]]
    contracts: Mapping[str, Contract]
    plan: Mapping[str, Any]
    dbt: Mapping[str, Any]
    verdicts: Mapping[str, Mapping[str, Any]]
    code_version: str
    base: str | None
    number: int
    audit_checkpoint: str
    aggregates: Mapping[str, Any] | None = None
    shared_domains: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Release:
    """A package on disk; `digest` is the SHA-256 of its manifest, and its name everywhere."""

    digest: str
    product: str
    number: int
    directory: Path
    manifest: Mapping[str, Any]


def build_release(
    request: ReleaseRequest, store: SnapshotStore, keys: KeyRing, audit: AuditLog, releases: Path
) -> Release:
    """Write, sign and publish the package.

    Raises:
        UsageError: If a name cannot be a product or table, or there is nothing to release.
        IntegrityError: If a snapshot is not what was written, or the manifest contradicts itself.
    """
    _require_names(request)
    folder = private_directory(releases / request.product)
    subject = f"{request.product}/{request.number}"
    with (
        file_lock(folder / ".lock", holder=f"the releases of {request.product}"),
        audit.effect("release.create", actor=request.requested_by, subject=subject) as outcome,
    ):
        _remove_leftovers(folder)
        staging = private_directory(folder / f"{STAGING}-{secrets.token_hex(8)}")
        try:
            document = _write(request, store, keys, staging)
            outcome["set_aside"] = _set_aside(folder, request.number)
            final = release_directory(releases, request.product, request.number)
            publish_directory(staging / "attestations", attestations_directory(final))
            publish_directory(staging / "release", final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        digest = canonical.sha256(document)
        outcome["digest"] = digest
    manifest = canonical.loads(document, name="The manifest")
    return Release(digest, request.product, request.number, final, manifest)


def _require_names(request: ReleaseRequest) -> None:
    for name in (request.product, *request.tables):
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name[:80]!r} cannot name a product or table",
                "Use lower-case letters, digits and underscores, beginning with a letter, at most 63.",
            )
    if not request.tables or request.number < 1:
        raise UsageError("A release needs a table and a number from 1", "Name the models that are released.")


def _write(request: ReleaseRequest, store: SnapshotStore, keys: KeyRing, staging: Path) -> bytes:
    """Write everything below `staging` and return the manifest's bytes."""
    release = private_directory(staging / "release")
    payload = private_directory(release / PAYLOAD)
    attestations = private_directory(staging / "attestations")
    data_key = keys.new_data_key(key_context(request.product, request.number))
    tables = {
        name: _write_table(
            store,
            keys,
            snapshot,
            payload / payload_name(name),
            file_key(data_key.plaintext, request.product, request.number, name),
        )
        for name, snapshot in request.tables.items()
    }
    document = canonical.dumps(_manifest(request, tables, data_key.wrapped))
    read_manifest(document)
    write_private(release / MANIFEST, document)
    write_private(attestations / CHECKPOINT, request.audit_checkpoint.encode())
    bundle = sign_statement(
        keys,
        subject_name=MANIFEST,
        subject_digest=canonical.sha256(document),
        predicate_type=RELEASE_PREDICATE,
        predicate=release_predicate(request.product, request.number),
    )
    write_private(attestations / SIGNATURE, bundle)
    return document


def _write_table(
    store: SnapshotStore, keys: KeyRing, snapshot: Snapshot, path: Path, secret: parquet.FileKey
) -> dict[str, Any]:
    frame = store.scan(snapshot)
    schema = frame.collect_schema()
    digest = ContentDigest(keys.digest_key(CONTENT_DIGEST, key_version(snapshot.content_digest)), schema)
    parquet.write(path, frame, secret, consume=digest.update)
    content = digest.finish()
    if (content, digest.rows) != (snapshot.content_digest, snapshot.rows):
        raise IntegrityError(
            f"Snapshot {snapshot.snapshot_id} of {snapshot.dataset} does not hold the rows it states",
            "Build it again.",
        )
    return {
        "columns": [{"name": name, "type": type_name(dtype, column=name)} for name, dtype in schema.items()],
        "rows": digest.rows,
        "bytes": path.stat().st_size,
        "content_digest": content,
        "file_digest": file_sha256(path),
        "source": {
            "dataset": snapshot.dataset,
            "zone": str(snapshot.zone),
            "snapshot_id": snapshot.snapshot_id,
        },
    }


def _manifest(
    request: ReleaseRequest, tables: Mapping[str, Mapping[str, Any]], payload_key: str
) -> dict[str, Any]:
    plan = dict(request.plan)
    return {
        "format": FORMAT,
        "product": request.product,
        "number": request.number,
        "environment": request.environment,
        "profile": plan.get("profile"),
        "classification": request.classification,
        "requested_by": request.requested_by,
        "run_id": request.run_id,
        "code_version": request.code_version,
        "created_at": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "base": request.base,
        "payload_key": payload_key,
        "checkpoint": canonical.sha256(request.audit_checkpoint.encode()),
        "tables": {name: dict(table) for name, table in tables.items()},
        "lineage": [dict(record) for record in request.lineage],
        "contracts": {name: _contract(contract) for name, contract in request.contracts.items()},
        "plan": {"digest": canonical.sha256(canonical.dumps(plan)), "document": plan},
        "dbt": dict(request.dbt),
        "verdicts": {name: dict(stages) for name, stages in request.verdicts.items()},
        **({"aggregates": dict(request.aggregates)} if request.aggregates else {}),
        **({"shared_domains": dict(request.shared_domains)} if request.shared_domains else {}),
    }


def _contract(contract: Contract) -> dict[str, Any]:
    document = canonical.loads(contract.document, name=f"The contract of {contract.dataset}")
    return {"version": contract.version, "digest": contract.digest, "document": document}


def _remove_leftovers(folder: Path) -> None:
    """What is staged while we hold the lock belongs to a process that died."""
    for path in folder.glob(f"{STAGING}-*"):
        shutil.rmtree(path)


def _set_aside(folder: Path, number: int) -> bool:
    """Move what already bears this number out of the way, and say whether there was any."""
    release = release_directory(folder.parent, folder.name, number)
    shelf = folder / UNREGISTERED / f"{number}-{secrets.token_hex(8)}"
    present = [path for path in (release, attestations_directory(release)) if path.exists()]
    for path in present:
        private_directory(shelf)
        path.rename(shelf / path.name)
    return bool(present)

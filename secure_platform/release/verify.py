"""A release is what its bytes prove, and nothing else: everything is derived again from a private copy.

In this order: the package must hold exactly the entries it may, the small files are copied, the signature
over the manifest's exact bytes is checked, then the manifest itself, then that the payload folder holds
exactly its files, then each payload file's size and digest while it is copied, then every table's schema, row
count and content digest from the decrypted rows. Nothing is decrypted before it has been authenticated, and
what is used afterwards is the copy.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.files import private_directory
from secure_platform.keys.ring import KeyRing
from secure_platform.release import bundle, manifest
from secure_platform.release.intake import Folder
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
    release_predicate,
)
from secure_platform.release.manifest import MANIFEST, Manifest, Table, read_manifest
from secure_platform.store import parquet
from secure_platform.store.digest import BATCH_ROWS, ContentDigest, key_version, type_name
from secure_platform.store.temporary import claimed_directory

MAX_CHECKPOINT_BYTES: Final = 64 << 10
_FIX: Final = "Do not use this release: restore it from a copy, or build it again."


@dataclass(frozen=True)
class SignedManifest:
    """What a release says of itself, signed; whether its payload is that is another question.

    Attributes:
        digest: `sha256:<64 hex digits>` of the manifest's bytes.
        manifest: The manifest as JSON.
        contents: The same, read.
        files: The very bytes that were checked, by name: manifest, signature, audit checkpoint.
    """

    digest: str
    manifest: Mapping[str, Any]
    contents: Manifest
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class VerifiedRelease(SignedManifest):
    """A release that passed every check.

    Attributes:
        directory: The private copy; it is removed when the block of `verified` ends.
    """

    directory: Path


@contextmanager
def verified(release_dir: Path, keys: KeyRing, temporary: Path) -> Iterator[VerifiedRelease]:
    """Copy a release to a private place and check the copy.

    Args:
        release_dir: `releases/<product>/<number>`; its attestations lie beside it.
        keys: The ring whose signing, data and digest keys are trusted.
        temporary: Private folder for the copy.

    Raises:
        IntegrityError: If anything is missing, added, changed or not ours.
    """
    with claimed_directory(private_directory(temporary), "build") as copy:
        release = _take(release_dir, copy, keys)
        for name, table in release.contents.tables.items():
            _check_table(release, name, table, keys)
        yield release


def signed_manifest(release_dir: Path, keys: bundle.Verifier, temporary: Path) -> SignedManifest:
    """Check the signed part of a release only: enough to show it, never to decide on it or to deploy it.

    Raises:
        IntegrityError: If the manifest is not what was signed.
    """
    with claimed_directory(private_directory(temporary), "build") as copy, _opened(release_dir) as folders:
        return _statement(*folders, copy, keys, release_dir)


def authentic_package(release_dir: Path, trusted: bundle.Verifier, temporary: Path) -> SignedManifest:
    """Check signature, manifest and every file of a package without a key: its rows stay unread.

    Raises:
        IntegrityError: If anything is missing, added, changed, or not signed by a key that is trusted.
    """
    with claimed_directory(private_directory(temporary), "build") as copy:
        return _take(release_dir, copy, trusted)


def scan_table(release: VerifiedRelease, table: str, keys: KeyRing) -> pl.LazyFrame:
    """The rows of a table of the private copy, decrypted as they are read.

    Raises:
        IntegrityError: If the data key does not open for this release, or the file does not authenticate.
    """
    contents = release.contents
    context = key_context(contents.product, contents.number)
    key = keys.open_data_key(contents.payload_key, context)
    secret = file_key(key, contents.product, contents.number, table)
    path = release.directory / PAYLOAD / payload_name(table)
    with parquet.value_free("open a released table"), path.open("rb") as file:
        return parquet.scan(file, secret)


@contextmanager
def _opened(release_dir: Path) -> Iterator[tuple[Folder, Folder]]:
    title = _title(release_dir)
    attested = attestations_directory(release_dir)
    with (
        Folder.open(release_dir, title) as release,
        Folder.open(attested, f"{title}'s attestations") as attestations,
    ):
        yield release, attestations


def _take(release_dir: Path, copy: Path, keys: bundle.Verifier) -> VerifiedRelease:
    with _opened(release_dir) as (release, attestations):
        signed = _statement(release, attestations, copy, keys, release_dir)
        with release.folder(PAYLOAD) as payload:
            _take_payload(payload, signed.contents, private_directory(copy / PAYLOAD), _title(release_dir))
    return VerifiedRelease(signed.digest, signed.manifest, signed.contents, signed.files, copy)


def _statement(
    release: Folder, attestations: Folder, copy: Path, keys: bundle.Verifier, release_dir: Path
) -> SignedManifest:
    title = _title(release_dir)
    release.require_exactly({MANIFEST, PAYLOAD})
    attestations.require_exactly({SIGNATURE, CHECKPOINT})
    release.copy(MANIFEST, copy / MANIFEST, limit=manifest.MAX_BYTES)
    attestations.copy(SIGNATURE, copy / SIGNATURE, limit=bundle.MAX_BYTES)
    _, checkpoint = attestations.copy(CHECKPOINT, copy / CHECKPOINT, limit=MAX_CHECKPOINT_BYTES)
    files = {name: (copy / name).read_bytes() for name in (MANIFEST, SIGNATURE, CHECKPOINT)}
    document = files[MANIFEST]
    digest = canonical.sha256(document)
    predicate = _signed(keys, files[SIGNATURE], digest, title)
    contents = read_manifest(document)
    _check_identity(contents, predicate, release_dir, title)
    if checkpoint != contents.checkpoint:
        raise IntegrityError(
            f"{CHECKPOINT} of {title} is another audit checkpoint than it was signed with", _FIX
        )
    return SignedManifest(digest, canonical.loads(document, name="The manifest"), contents, files)


def _title(release_dir: Path) -> str:
    return f"Release {release_dir.parent.name}/{release_dir.name}"


def _signed(keys: bundle.Verifier, signature: bytes, digest: str, title: str) -> Mapping[str, Any]:
    """What the signature over the manifest states."""
    try:
        return bundle.verify_bundle(keys, signature, predicate_type=RELEASE_PREDICATE, subject_digest=digest)
    except IntegrityError as error:
        raise IntegrityError(
            f"{SIGNATURE} of {title} is no signature over its {MANIFEST}: {error.culprit}", _FIX
        ) from None


def _check_identity(contents: Manifest, predicate: Mapping[str, Any], release_dir: Path, title: str) -> None:
    if predicate != release_predicate(contents.product, contents.number):
        raise IntegrityError(f"{title} was signed as another release", _FIX)
    if (contents.product, str(contents.number)) != (release_dir.parent.name, release_dir.name):
        raise IntegrityError(f"{title} is {contents.product}/{contents.number} in another's place", _FIX)


def _take_payload(payload: Folder, contents: Manifest, copy: Path, title: str) -> None:
    payload.require_exactly({payload_name(table) for table in contents.tables})
    # The same limit for all, so that a table's file in place of another's is read whole and known.
    limit = max(table.bytes for table in contents.tables.values())
    for name, table in contents.tables.items():
        file = payload_name(name)
        size, digest = payload.copy(file, copy / file, limit=limit)
        if (size, digest) != (table.bytes, table.file_digest):
            what = _difference(contents, table, size, digest)
            raise IntegrityError(f"{PAYLOAD}/{file} of {title} is not the one that was signed: {what}", _FIX)


def _difference(contents: Manifest, table: Table, size: int, digest: str) -> str:
    for other, stated in contents.tables.items():
        if stated.file_digest == digest:
            return f"it is the file of table {other}"
    if size != table.bytes:
        return f"it has {size} bytes instead of {table.bytes}"
    return "its bytes were changed"


def _check_table(release: VerifiedRelease, name: str, table: Table, keys: KeyRing) -> None:
    title = f"table {name} of release {release.contents.product}/{release.contents.number}"
    with parquet.value_free("read a released table"):
        frame = scan_table(release, name, keys)
        schema = frame.collect_schema()
        columns = [(column, type_name(dtype, column=column)) for column, dtype in schema.items()]
        if columns != [(column.name, column.type) for column in table.columns]:
            raise IntegrityError(f"The columns of {title} are not those of the manifest", _FIX)
        digest = ContentDigest(keys.digest_key(CONTENT_DIGEST, key_version(table.content_digest)), schema)
        for batch in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            digest.update(batch)
    if digest.rows != table.rows:
        raise IntegrityError(f"The row count of {title} is not that of the manifest", _FIX)
    if digest.finish() != table.content_digest:
        raise IntegrityError(f"The content of {title} is not that of the manifest", _FIX)

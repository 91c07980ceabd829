"""Where the parts of a release lie, and what its keys and signature are bound to, for writer and reader.

    releases/<product>/<number>/{manifest.json, payload/<table>.parquet}
    releases/<product>/<number>.attestations/{release.sigstore.json, checkpoint.txt}

The attestations lie outside the signed folder because other verifiers of signed folders refuse extra files.
"""

from pathlib import Path
from typing import Final

from secure_platform.store.parquet import FileKey

PAYLOAD: Final = "payload"
SIGNATURE: Final = "release.sigstore.json"
CHECKPOINT: Final = "checkpoint.txt"
CONTENT_DIGEST: Final = (
    "content"  # Purpose of the digest key: the one that snapshots use, so that they compare.
)
RELEASE_PREDICATE: Final = "https://in-toto.io/attestation/release/v0.2"


def release_directory(releases: Path, product: str, number: int) -> Path:
    """The folder of a release."""
    return releases / product / str(number)


def attestations_directory(release: Path) -> Path:
    """The folder beside a release that holds what is said about it."""
    return release.with_name(f"{release.name}.attestations")


def payload_name(table: str) -> str:
    """The file of a table."""
    return f"{table}.parquet"


def key_context(product: str, number: int) -> dict[str, str]:
    """What the release's data key is bound to when it is wrapped."""
    return {"purpose": "release", "product": product, "number": str(number)}


def file_key(key: bytes, product: str, number: int, table: str) -> FileKey:
    """What opens one table: the release's key, and the associated data that pins the file to its place."""
    return FileKey(key, f"release/{product}/{number}/{table}".encode())


def release_predicate(product: str, number: int) -> dict[str, str]:
    """What the signature states about the manifest. Source: in-toto release predicate v0.2."""
    return {"purl": f"pkg:generic/{product}@{number}", "packageId": product}

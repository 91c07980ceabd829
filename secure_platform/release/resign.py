"""A release whose signing key is no longer trusted is signed again, if the audit log knows it as well.

Whoever has a leaked key could have signed anything with it. The audit log, which another key signs, recorded
the digest of every release when it was made; only a release that it knows gets a new signature. Manifest and
digest stay the same.
"""

from pathlib import Path
from typing import Final

from secure_platform.audit.log import AuditLog
from secure_platform.errors import IntegrityError
from secure_platform.keys.ring import KeyRing
from secure_platform.release.bundle import sign_again, signer_of
from secure_platform.release.layout import SIGNATURE, attestations_directory
from secure_platform.release.verify import SignedManifest
from secure_platform.store.temporary import replace_by_way_of

RESIGN: Final = "release.resign"
_MADE: Final = "release.create"


def resign(
    release_dir: Path,
    signed: SignedManifest,
    keys: KeyRing,
    audit: AuditLog,
    temporary: Path,
    *,
    actor: str,
) -> None:
    """Sign a release again.

    Args:
        release_dir: `releases/<product>/<number>`.
        signed: What was verified of it under the former key.
        keys: The present signing key.
        audit: Knows the release.
        temporary: Private folder for the new signature: what a killed process leaves beside the old one would
            be taken for a forgery.
        actor: For whom.

    Raises:
        IntegrityError: If the log does not know that this release was made here.
    """
    subject = f"{signed.contents.product}/{signed.contents.number}"
    _require_made(audit, subject, signed.digest)
    bundle = sign_again(keys, signed.files[SIGNATURE])
    detail = {"digest": signed.digest, "keyid": signer_of(bundle)}
    path = attestations_directory(release_dir) / SIGNATURE
    with audit.effect(RESIGN, actor=actor, subject=subject, detail=detail):
        replace_by_way_of(temporary, path, bundle)


def _require_made(audit: AuditLog, subject: str, digest: str) -> None:
    for entry in audit.backwards(digest):
        body = entry.body
        if (body["action"], body["phase"], body["subject"]) == (_MADE, "done", subject) and (
            body["detail"].get("digest") == digest
        ):
            return
    raise IntegrityError(
        f"Release {subject} bears our signature, but the audit log does not know that it was made here",
        "Do not use it: whoever had the signing key may have made it.",
    )

"""A finding tells where a secret is and why it is taken for one; no part of the secret is in it.

The fingerprint is a keyed digest: equal secrets have equal fingerprints, and who lacks the key cannot try
guesses against it.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from secure_platform.scan.secrets.engine import Hit
from secure_platform.scan.secrets.rules import SecretRule

FINGERPRINT_DIGITS: Final = 32
MINIMUM_CONFIDENCE: Final = 0.5
_PURPOSE: Final = b"secret finding\0"


@dataclass(frozen=True)
class FilePlace:
    """Where in a file; lines and columns count characters from 1, the end is behind the last one.

    Attributes:
        path: Relative to what was scanned, with `/`.
        line: 0 if the path itself is the finding.
    """

    path: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class SecretFinding:
    """A secret that was found.

    Attributes:
        rule: Id of the rule.
        info_type: What the secret is, in the taxonomy.
        description: What the secret is.
        entropy: In bits per byte.
        confidence: 0-1.
        fingerprint: Keyed digest of the secret.
        reasons: What the confidence rests on.
    """

    rule: str
    info_type: str
    description: str
    place: FilePlace
    entropy: float
    confidence: float
    fingerprint: str
    reasons: tuple[str, ...]


def fingerprint(key: bytes, *parts: bytes) -> str:
    """The keyed digest of a secret, or of what else identifies a finding."""
    return hmac.digest(key, _PURPOSE + b"\0".join(parts), "sha256").hex()[:FINGERPRINT_DIGITS]


def reasons(hits: Iterable[Hit]) -> tuple[str, ...]:
    """Why these hits of one rule are taken for secrets, in words."""
    hits = list(hits)
    wrappings = sorted({kind for hit in hits for kind in hit.wrappings})
    return (*_grounds(hits[0].rule), *(f"seen through {kind}" for kind in wrappings))


def _grounds(rule: SecretRule) -> Iterable[str]:
    if rule.generic:
        yield "a name that means a secret, and a value that can be one"
    elif "context" in rule.tags:
        yield "the format beside its vendor's name"
    else:
        yield "the format"
    if rule.entropy:
        yield f"entropy above {rule.entropy:g}"

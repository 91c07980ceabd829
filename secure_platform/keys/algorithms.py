"""Which algorithm makes new things, which only opens what exists, which is refused, and what FIPS approves.

One table, for checks, documentation and the posture page; what is not in it is refused. An approved algorithm
is not a validated module: FIPS 140-3 validates the library that computes it, and the builds that come with
`cryptography`, DuckDB and Polars are not validated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from secure_platform.errors import UsageError


class Standing(StrEnum):
    """What an algorithm may still be used for."""

    MAKES = "makes and opens"
    OPENS = "only opens"
    RETIRED = "refused"


@dataclass(frozen=True)
class Algorithm:
    """One algorithm and what is thought of it.

    Attributes:
        used_for: Where it occurs.
        fips: Whether FIPS 140-3 approves it for that.
        source: Where that is written.
    """

    name: str
    used_for: str
    standing: Standing
    fips: bool
    source: str


def _made(name: str, used_for: str, source: str, *, fips: bool = True) -> Algorithm:
    return Algorithm(name, used_for, Standing.MAKES, fips, source)


def _retired(name: str, used_for: str, source: str) -> Algorithm:
    return Algorithm(name, used_for, Standing.RETIRED, fips=False, source=source)


_ALL: Final = (
    _made(
        "AES-256-GCM",
        "snapshots, releases, databases; keys and secrets in the control database",
        "NIST SP 800-38D; random 96-bit nonces, at most 2^32 under one key (§8.3)",
    ),
    _made("HMAC-SHA-256", "tokens, sidecars, pointers, identifiers, digests", "FIPS 198-1"),
    _made("HKDF-SHA-256", "one key per purpose", "NIST SP 800-56C rev. 2 §5, SP 800-108 rev. 1 §4.2"),
    _made("SHA-256", "file digests, the tree of the audit log", "FIPS 180-4"),
    _made("ECDSA-P256-SHA-256", "signatures of releases, approvals and pointers", "FIPS 186-5 §6"),
    _made("Ed25519", "checkpoints of the audit log", "FIPS 186-5 §7"),
    _made("FF1", "digits that keep their format", "NIST SP 800-38G; at least a million values"),
    _made("TLS 1.3", "connections to Vault, AWS, databases and browsers", "NIST SP 800-52 rev. 2"),
    _made("TLS 1.2", "connections to peers that have no TLS 1.3", "NIST SP 800-52 rev. 2"),
    _made(
        "HMAC-SHA-1",
        "one-time codes (TOTP), as authenticator apps compute them",
        "RFC 6238; NIST SP 800-131A rev. 2 §10 (until 2030)",
    ),
    _made("AES-256-SIV", "cells that can be read again", "RFC 5297; no NIST publication", fips=False),
    _made("scrypt", "passphrases of root key and backup", "RFC 7914; SP 800-132 has PBKDF2 only", fips=False),
    _made("Argon2id", "passwords of local users", "RFC 9106; SP 800-132 has PBKDF2 only", fips=False),
    _retired("FF3-1", "format-preserving encryption", "dropped from NIST SP 800-38G rev. 1 (draft 2, 2025)"),
    _retired("ECDSA-P256-SHA-1", "signatures", "NIST SP 800-131A rev. 2 §3"),
    _retired("3DES", "encryption", "NIST SP 800-131A rev. 2 §2; SP 800-67 withdrawn in 2024"),
)

POLICY: Final[Mapping[str, Algorithm]] = MappingProxyType({found.name: found for found in _ALL})


def require_making(name: str, *, fips: bool) -> None:
    """Refuse to make something new with this algorithm unless it may.

    Args:
        name: Of the algorithm.
        fips: Whether only approved algorithms may be used.

    Raises:
        UsageError: If it is unknown, retired, only opens, or is not approved.
    """
    require_opening(name, fips=fips)
    if POLICY[name].standing is not Standing.MAKES:
        raise UsageError(f"{name} only opens what exists", "Use what replaced it; see docs/keys.md.")


def require_opening(name: str, *, fips: bool) -> None:
    """Refuse to open or verify something by this algorithm unless it may.

    Args:
        name: Of the algorithm.
        fips: Whether only approved algorithms may be used.

    Raises:
        UsageError: If it is unknown, retired, or is not approved.
    """
    found = POLICY.get(name)
    if found is None or found.standing is Standing.RETIRED:
        raise UsageError(f"The algorithm {name!r} is refused", "See docs/keys.md for those that are used.")
    if fips and not found.fips:
        raise UsageError(
            f"{name} is not approved by FIPS 140-3 ({found.source}), and the settings allow no other",
            "Choose another transform or provider, or set keys.fips to false.",
        )

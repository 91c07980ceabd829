"""What is in production, and what may replace it: a newer release, or one that was there before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from secure_platform.deploy.pointer import Pointer
from secure_platform.deploy.shelf import Shelf
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.release.verify import VerifiedRelease


@dataclass(frozen=True)
class Production:
    """A state of production.

    Attributes:
        release: Digest of the release.
        number: Its number.
        file: Its database.
        rows: Rows per table.
        previous: Digest of the release that a rollback goes back to.
        sequence: Grows by one with every change.
    """

    product: str
    environment: str
    release: str
    number: int
    file: Path
    rows: Mapping[str, int]
    previous: str | None
    sequence: int
    deployed_at: str


Judge: TypeAlias = Callable[[Shelf, Pointer | None, VerifiedRelease], str | None]
"""Says which release a rollback would go back to after this one; raises if it may not come now."""


def previous_of_newer(_: Shelf, present: Pointer | None, release: VerifiedRelease) -> str | None:
    """A published release is newer than what it replaces; an old but valid one is a matter for a rollback.

    Raises:
        GateRefusedError: If what is in production is newer.
    """
    if present is None:
        return None
    if release.contents.number <= present.number:
        raise GateRefusedError(
            f"Release {present.number} of {present.product} in production is newer", "Roll back instead."
        )
    return present.release


def previous_of_earlier(shelf: Shelf, present: Pointer | None, release: VerifiedRelease) -> str | None:
    """A release that is rolled back to was in production; what came before it then comes before it again.

    Raises:
        GateRefusedError: If it never was.
    """
    newest = 0 if present is None else present.sequence
    for record in shelf.records():
        if record.sequence <= newest and record.release == release.digest:
            return record.previous
    raise GateRefusedError(
        f"Release {release.contents.number} of {release.contents.product} was never in production",
        "Roll back to one of its history.",
    )


def require_base(present: Pointer | None, expected: str | None, product: str) -> None:
    """Refuse a change that was approved against another state of production.

    Raises:
        GateRefusedError: If another release is in production.
    """
    base = None if present is None else present.release
    if base != expected:
        raise GateRefusedError(
            f"Production of {product} is not what this release was approved against",
            "Compare the release with what is in production now, and approve it again.",
        )


def required(pointer: Pointer | None, product: str) -> Pointer:
    """The pointer, where there has to be one.

    Raises:
        UsageError: If nothing is deployed.
    """
    if pointer is None:
        raise UsageError(f"Nothing of {product} is in production yet", "Approve and deploy a release.")
    return pointer


def production_of(pointer: Pointer, file: Path) -> Production:
    """What a pointer and its database say."""
    return Production(
        product=pointer.product,
        environment=pointer.environment,
        release=pointer.release,
        number=pointer.number,
        file=file,
        rows=dict(pointer.rows),
        previous=pointer.previous,
        sequence=pointer.sequence,
        deployed_at=pointer.deployed_at,
    )

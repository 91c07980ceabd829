"""Whether the rows of a release are still there, and if not, when and for whose sake they were deleted.

That they were deleted says the audit log alone: a package without rows of which it says nothing was damaged,
and one that came back from a copy is as gone as before.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from secure_platform.audit.reader import Entry
from secure_platform.errors import GateRefusedError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.tombstone import FOLDER, file_of
from secure_platform.release.layout import PAYLOAD, release_directory
from secure_platform.services import Services

ERASED: Final = "release.erase"
PERSON: Final = "person"
_FIX: Final = (
    "What it was is still signed, in its manifest. No copy may be put back: build another release,"
    " secure-platform run {product}."
)


@dataclass(frozen=True)
class Erased:
    """What became of a release's rows.

    Attributes:
        at: When they were deleted; UTC, ISO 8601.
        tombstone: Where in the home that is written down; None if an earlier version deleted them.
        said: The same in one sentence.
        fix: What to do about it.
    """

    at: str
    tombstone: str | None
    said: str
    fix: str

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def payload_of(services: Services, record: ReleaseRecord) -> Path:
    """The folder of a release's rows."""
    return release_directory(services.releases, record.product, record.number) / PAYLOAD


def is_packed(services: Services, record: ReleaseRecord) -> bool:
    """Whether any of the rows is there."""
    payload = payload_of(services, record)
    return payload.is_dir() and any(payload.iterdir())


def is_being_erased(services: Services, record: ReleaseRecord) -> bool:
    """Whether its rows began to be deleted: what a call that died left of them is no package any more."""
    return any(_entries(services, record))


def erased(services: Services, record: ReleaseRecord) -> Erased | None:
    """When a release's rows were deleted; None if nobody erased them.

    Raises:
        IntegrityError: If the log is not what was written.
    """
    if is_packed(services, record) and not any((services.settings.home / FOLDER).glob("*.json")):
        # Nobody was ever erased: the log need not be searched.
        return None
    for entry in _entries(services, record):
        at, person = str(entry.body["time"]), entry.body["detail"].get(PERSON)
        tombstone = None if person is None else file_of(person)
        where = f", see {tombstone} in the home" if tombstone else ""
        said = f"{record.title} has no rows any more: they were deleted on {at[:10]}, for somebody was erased"
        return Erased(at, tombstone, said + where, _FIX.format(product=record.product))
    return None


def require_rows(services: Services, record: ReleaseRecord) -> None:
    """Refuse a release whose rows were deleted.

    Raises:
        GateRefusedError: Saying when, and what to do.
    """
    if gone := erased(services, record):
        raise GateRefusedError(gone.said, gone.fix)


def _entries(services: Services, record: ReleaseRecord) -> Iterator[Entry]:
    """The intents to delete them, newest first: what was begun and not recorded as done may be done."""
    for entry in services.audit.backwards(f'"subject":"{record.digest}"'):
        body = entry.body
        if (body["action"], body["phase"], body["subject"]) == (ERASED, "intent", record.digest):
            yield entry

"""What a word of the command line names: files, a folder, objects of a store, or data of the home."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secure_platform.errors import UsageError
from secure_platform.scan.report import Section, Skipped
from secure_platform.scan.sources.database import Wanted, database_tables, sqlite_tables
from secure_platform.scan.sources.documents import FileDocument, SkippedError
from secure_platform.scan.sources.folders import files
from secure_platform.scan.sources.inspection import Inspection
from secure_platform.scan.sources.objects import SCHEME, objects
from secure_platform.scan.sources.work import Source
from secure_platform.secret_reference import OPENING, SecretReference
from secure_platform.settings import load_settings

if TYPE_CHECKING:
    from secure_platform.orchestration.steps.search import Searched
    from secure_platform.services import Services

_SQLITE: Final = b"SQLite format 3\0"
_DATA: Final = re.compile(r"([a-z][a-z0-9_-]*)(?:/([A-Za-z_][A-Za-z0-9_-]*))?")


@dataclass(frozen=True)
class Asked:
    """What is to be scanned.

    Attributes:
        targets: Paths, URLs of objects, or names of data in the home.
        roots: Paths of files and folders, and how the report calls them.
        url: Reference to the URL of a database.
        wanted: Which tables of it.
        zone: Makes the targets names of data in the home.
        release: The same, by the number of a release.
        purpose: What production is read for.
        ignored: Whether to read what `.gitignore` files leave out.
    """

    targets: Sequence[str] = ()
    roots: Sequence[tuple[Path, str]] = ()
    url: str | None = None
    wanted: Wanted = field(default_factory=Wanted)
    zone: "Searched | None" = None
    release: int | None = None
    purpose: str | None = None
    ignored: bool = False


def sources(asked: Asked, stack: ExitStack) -> Iterator[Source | Skipped]:
    """Everything that is to be scanned, in order.

    Args:
        asked: What the user named.
        stack: Closes what is held open while it is scanned.

    Raises:
        UsageError: If something cannot be what was meant.
    """
    for root, prefix in asked.roots:
        yield from _files(root, prefix, ignored=asked.ignored)
    for target in asked.targets:
        if asked.zone is not None or asked.release is not None:
            yield from _held(target, asked, stack)
        elif target.startswith(SCHEME):
            yield from objects(_services().aws, target)
        else:
            yield from _files(Path(target), called(Path(target)), ignored=asked.ignored)
    if asked.url is not None:
        yield from database_tables(asked.url, url_behind(asked.url, stack), asked.wanted)


def called(path: Path) -> str:
    """What comes before the names of files in a folder, or the file's own: what the user called it."""
    name = path.as_posix()
    if not path.is_dir():
        return name
    return "" if name == "." else f"{name}/"


def _files(root: Path, prefix: str, *, ignored: bool) -> Iterator[Source | Skipped]:
    for file in files(root, prefix=prefix, ignored=ignored):
        yield file if isinstance(file, Skipped) else _file(file)


def _file(file: FileDocument) -> Source:
    def look(inspection: Inspection) -> Section:
        try:
            with file.open() as stream:
                is_database = stream.read(len(_SQLITE)) == _SQLITE
            if is_database:
                return sqlite_tables(file.path, file.name, inspection)
        except SkippedError as reason:
            return Section(skipped=[Skipped(file.name, str(reason))])
        return inspection.document(file)

    return Source(file.name, " ".join(map(str, file.identity)), look)


def _held(target: str, asked: Asked, stack: ExitStack) -> Iterator[Source]:
    from secure_platform.cli.access import open_services  # noqa: PLC0415 - only data of a home needs one
    from secure_platform.orchestration.steps.search import Held, held_sources  # noqa: PLC0415

    named = _DATA.fullmatch(target)
    if named is None:
        raise UsageError(
            "With --zone or --release, data of the home is meant", "Name PRODUCT or PRODUCT/DATASET."
        )
    services = open_services()
    held = Held(named[1], named[2], asked.zone, asked.release, asked.purpose)
    yield from stack.enter_context(held_sources(services, held, services.caller()))


def url_behind(reference: str, stack: ExitStack) -> str:
    """The URL that a reference stands for; a login that was lent for it is given back at the end."""
    from secure_platform.cli.access import open_services  # noqa: PLC0415 - most scans need no home
    from secure_platform.keys.secrets.resolver import held  # noqa: PLC0415

    try:
        provider = SecretReference.parse(reference).provider
    except UsageError:
        raise UsageError(
            "--url is no reference to a secret", "Keep the URL as a secret: --url secret://local/NAME."
        ) from None
    if provider in OPENING:
        return _services().secrets.get(reference).line
    services = open_services()
    lent = stack.enter_context(held(services.secrets, lambda: services.audit, actor=services.caller().name))
    return lent.get(reference).line


def _services() -> "Services":
    """Rooms that are opened when they are needed; the home is not made."""
    from secure_platform.services import Services  # noqa: PLC0415

    return Services(load_settings())

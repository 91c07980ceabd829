"""Where a dataset's file is: in a folder as CSV or Parquet, or in a zip file as CSV."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from secure_platform.contract.model import Contract
from secure_platform.errors import DataRefusedError
from secure_platform.source.archive import Archive, Member
from secure_platform.source.csv import Batch, CsvSource, find_source
from secure_platform.source.parquet import ParquetSource

ARCHIVE: Final = ".zip"
TEXT: Final = "string"
"""The type of a column of which the file says nothing."""


class Source(Protocol):
    """The file of a dataset, whatever its format."""

    header: tuple[str, ...]

    @property
    def types(self) -> Mapping[str, str]:
        """Column → stable name of its type, where the file says it; what is not there is text."""

    def batches(self) -> Iterator[Batch]:
        """All its records, in bounded memory."""

    def fingerprint(self) -> str:
        """Digest of what is stored, `sha256:<64 hex digits>`."""

    @property
    def written_at(self) -> datetime:
        """When the file was last written; aware, UTC."""


def is_source_place(place: Path) -> bool:
    """Whether datasets can be looked for here: in a folder, or a file named `.zip`."""
    return place.is_dir() or (place.suffix == ARCHIVE and place.is_file())


def open_source(place: Path, contract: Contract) -> Source:
    """Open the one file of a dataset.

    Args:
        place: A folder, or a zip file of one.
        contract: The dataset.

    Raises:
        DataRefusedError: If there is none, or several, or it is refused.
    """
    if place.suffix == ARCHIVE and not place.is_dir():
        return CsvSource(_member(Archive(place), contract))
    path = find_source(place, contract)
    return ParquetSource(path) if path.suffix == ".parquet" else CsvSource(path)


def _member(archive: Archive, contract: Contract) -> Member:
    name = archive.find(contract.source_file)
    if name is None:
        missing = f"{contract.source_file!r} of {contract.dataset}"
        raise DataRefusedError(
            f"There is no source file {missing} in {archive.file.name!r}", "Pack it under this name."
        )
    return Member(archive, name)

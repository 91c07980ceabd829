"""Every file of a snapshot has a key of its own, bound to the snapshot and to the file's name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from secure_platform import files
from secure_platform.errors import UsageError
from secure_platform.keys.ring import KeyRing
from secure_platform.store import parquet
from secure_platform.store.location import Location


@dataclass(frozen=True)
class _Written:
    """What opens a file, and the wrapped form of it that may be stored."""

    secret: parquet.FileKey
    data_key: str


class DraftFiles:
    """The encrypted files of one draft.

    Args:
        directory: The draft's directory.
        location: The dataset they are for.
        snapshot_id: The snapshot they are for.
        keys: Makes their keys.
    """

    def __init__(self, directory: Path, location: Location, snapshot_id: str, keys: KeyRing) -> None:
        self._directory = directory
        self._location = location
        self._snapshot_id = snapshot_id
        self._keys = keys
        self._written: dict[str, _Written] = {}

    def write(
        self,
        name: str,
        frame: pl.LazyFrame,
        consume: Callable[[pl.DataFrame], None] | None = None,
        observe: Sequence[pl.LazyFrame] = (),
    ) -> list[pl.DataFrame]:
        """Write one file (see `parquet.write`).

        Raises:
            UsageError: If it was written before.
        """
        if name in self._written:
            raise UsageError(f"{name} of {self._location} was written twice", "Begin another draft.")
        key = self._keys.new_data_key(self._location.context(self._snapshot_id, name))
        secret = parquet.FileKey(key.plaintext, self._location.associated(self._snapshot_id))
        self._written[name] = _Written(secret, key.wrapped)
        return parquet.write(self._directory / name, frame, secret, consume=consume, observe=observe)

    def scan(self, name: str) -> pl.LazyFrame:
        """Read one of the files."""
        with (self._directory / name).open("rb") as file:
            return parquet.scan(file, self._written[name].secret)

    def records(self) -> dict[str, dict[str, Any]]:
        """What the sidecar says about each file."""
        return {
            name: self._record(self._directory / name, written) for name, written in self._written.items()
        }

    @staticmethod
    def _record(path: Path, written: _Written) -> dict[str, Any]:
        return {
            "digest": files.file_sha256(path),
            "bytes": path.stat().st_size,
            "data_key": written.data_key,
        }

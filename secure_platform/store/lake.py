"""Files in the lake are opened here only, and only after they proved to be what was written.

    <root>/<product>/<zone>/<dataset>/HEAD
    <root>/<product>/<zone>/<dataset>/<snapshot_id>/{data.parquet, sidecar.json[, quarantine.parquet]}

The sidecar's MAC binds a snapshot's place, digests, wrapped data keys, provenance and verdicts; HEAD's MAC
binds the place and one snapshot. A record that is ours in another place is refused there.

A MAC proves that we wrote a record, not that it is the newest one: that an older HEAD was put back shows in
the audit log (`store.history`), which names every snapshot that was written.
"""

import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from secure_platform import canonical, files
from secure_platform.errors import IntegrityError
from secure_platform.keys.ring import KeyRing
from secure_platform.store import records
from secure_platform.store.location import (
    NAME,
    SNAPSHOT_ID,
    Location,
    list_directory,
    open_directory,
    open_file,
)

HEAD: Final = "HEAD"
SIDECAR: Final = "sidecar.json"
FORMAT: Final = 1
_RESTORE: Final = "Restore it from a copy, or build it again; verify the audit log."


class Lake:
    """The sealed files of all snapshots.

    Args:
        root: The lake's directory.
        keys: Seals and unseals the records.
    """

    def __init__(self, root: Path, keys: KeyRing) -> None:
        self._root = files.private_directory(root)
        self._keys = keys

    def directory(self, location: Location, snapshot_id: str) -> Path:
        """Where a snapshot is."""
        return self._root.joinpath(*location.parts, snapshot_id)

    def products(self) -> list[str]:
        """The names of products that have snapshots."""
        return [name for name in list_directory(self._root, ()) if NAME.fullmatch(name)]

    def datasets(self, product: str, zone: str) -> list[str]:
        """The names under which a product has snapshots in a zone."""
        return [name for name in list_directory(self._root, (product, zone)) if NAME.fullmatch(name)]

    def ids(self, location: Location) -> list[str]:
        """The snapshots that are there."""
        return list(filter(SNAPSHOT_ID.fullmatch, list_directory(self._root, location.parts)))

    def remove(self, location: Location, snapshot_id: str, scratch: Path) -> None:
        """Take a snapshot away by one rename into the scratch directory, which its owner removes."""
        self.directory(location, snapshot_id).rename(scratch / snapshot_id)
        files.sync_directory(self._root.joinpath(*location.parts))

    def publish(self, location: Location, draft: Path, body: Mapping[str, Any]) -> None:
        """Seal the sidecar into the draft and make the draft visible by one rename."""
        files.write_private(draft / SIDECAR, records.seal(self._keys, "sidecar", {"format": FORMAT, **body}))
        files.private_directory(self._root.joinpath(*location.parts))
        os.close(open_directory(self._root, location.parts))
        files.publish_directory(draft, self.directory(location, body["snapshot_id"]))

    def sidecar(self, location: Location, snapshot_id: str) -> dict[str, Any]:
        """The authenticated sidecar of a snapshot.

        Raises:
            IntegrityError: If it is missing, changed, or belongs to another place or format.
        """
        name = f"The sidecar of {location}/{snapshot_id}"
        document = self._read(location, (snapshot_id, SIDECAR), name)
        body = records.unseal(self._keys, "sidecar", document, name=name)
        self._require_place(body, location, name)
        if body["snapshot_id"] != snapshot_id or body["format"] != FORMAT:
            raise _misplaced(name)
        return body

    def snapshots_of(self, location: Location, input_key: str) -> Iterator[dict[str, Any]]:
        """The authenticated sidecars that name this input.

        Only those are authenticated: a changed input key hides a snapshot, as deleting it would, and the step
        that looked for it writes it again.

        Raises:
            IntegrityError: If a sidecar is not a record at all, or one that names the input is not ours.
        """
        for snapshot_id in filter(SNAPSHOT_ID.fullmatch, list_directory(self._root, location.parts)):
            name = f"The sidecar of {location}/{snapshot_id}"
            record = canonical.loads(self._read(location, (snapshot_id, SIDECAR), name), name=name)
            if records.claims(record, "input_key", input_key):
                yield self.sidecar(location, snapshot_id)

    def file(
        self, location: Location, snapshot_id: str, name: str, record: Mapping[str, Any]
    ) -> BufferedReader:
        """A data file, open, at its beginning; its bytes are those that the sidecar names.

        Args:
            location: The dataset.
            snapshot_id: The snapshot.
            name: File name.
            record: What the sidecar says about the file: `digest` and `bytes`.

        Raises:
            IntegrityError: If it is missing or its bytes differ.
        """
        title = f"{name} of {location}/{snapshot_id}"
        file = self._open(location, (snapshot_id, name), title)
        try:
            _require_bytes(file, record, title)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def require_only(self, location: Location, snapshot_id: str, names: set[str]) -> None:
        """Refuse a snapshot directory that holds anything else than these files and the sidecar."""
        present = set(list_directory(self._root, (*location.parts, snapshot_id)))
        if present != {*names, SIDECAR}:
            raise IntegrityError(
                f"{location}/{snapshot_id} has files added or missing since it was written", _RESTORE
            )

    def head(self, location: Location) -> str | None:
        """The id of the newest snapshot, or None when HEAD was never written.

        Raises:
            IntegrityError: If HEAD is changed or belongs to another place.
        """
        name = f"HEAD of {location}"
        if HEAD not in list_directory(self._root, location.parts):
            return None
        body = records.unseal(self._keys, "head", self._read(location, (HEAD,), name), name=name)
        self._require_place(body, location, name)
        return str(body["snapshot_id"])

    def set_head(self, location: Location, snapshot_id: str, scratch: Path) -> None:
        """Point HEAD at a snapshot, atomically; what is unfinished lies in the scratch directory."""
        body = {**_place(location), "snapshot_id": snapshot_id}
        path = self._root.joinpath(*location.parts, HEAD)
        files.replace_private(path, records.seal(self._keys, "head", body), scratch=scratch)

    def _open(self, location: Location, below: tuple[str, ...], title: str) -> BufferedReader:
        try:
            return open_file(self._root, (*location.parts, *below))
        except FileNotFoundError:
            raise IntegrityError(f"{title} is missing", _RESTORE) from None

    def _read(self, location: Location, below: tuple[str, ...], title: str) -> bytes:
        with self._open(location, below, title) as file:
            return file.read(records.MAX_BYTES)

    @staticmethod
    def _require_place(body: Mapping[str, Any], location: Location, name: str) -> None:
        if {member: body.get(member) for member in _place(location)} != _place(location):
            raise _misplaced(name)


def _require_bytes(file: BufferedReader, record: Mapping[str, Any], title: str) -> None:
    same_size = os.fstat(file.fileno()).st_size == record["bytes"]
    digest = hashlib.file_digest(file, "sha256").hexdigest() if same_size else ""
    if not hmac.compare_digest(f"sha256:{digest}", record["digest"]):
        raise IntegrityError(f"{title} was changed after it was written", _RESTORE)


def _place(location: Location) -> dict[str, str]:
    return {"product": location.product, "zone": location.zone, "dataset": location.dataset}


def _misplaced(name: str) -> IntegrityError:
    return IntegrityError(f"{name} was written for another place", _RESTORE)

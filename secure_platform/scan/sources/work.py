"""Sources are scanned one after another, and each is recorded when done, so that a scan can be resumed.

A state file has one line for each source that is done: its name, a keyed digest of its content (a changed
source is scanned again), and what the report says about it. It also has the key of the fingerprints, so that
all parts of one scan share them. The file is private, and contains no value.
"""

import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from secure_platform.errors import UsageError
from secure_platform.files import write_private
from secure_platform.scan.report import Section, Skipped
from secure_platform.scan.secrets.baseline import KEY_BYTES
from secure_platform.scan.sources.inspection import Inspection

SCHEMA: Final = "secure-platform/scan-state/1"
_PURPOSE: Final = b"scanned source\0"
_LONGEST: Final = 1 << 30


@dataclass(frozen=True)
class Source:
    """Something that is scanned as a whole.

    Attributes:
        name: As the report calls it.
        identity: What changes when it changes, as far as that can be told.
        look: Scans it.
    """

    name: str
    identity: str
    look: Callable[[Inspection], Section]


class State:
    """What was done of a scan.

    Args:
        path: The file; it is made if there is none.
        about: What the result depends on beside the sources, such as rules; another one begins anew.

    Attributes:
        key: Of the fingerprints.

    Raises:
        UsageError: If the file is not what this class writes.
    """

    def __init__(self, path: Path, about: str, key: bytes | None = None) -> None:
        self._path = path
        self._done: dict[tuple[str, str], Section] = {}
        if not path.exists():
            self.key = key or secrets.token_bytes(KEY_BYTES)
            head = {"schema": SCHEMA, "marked_by": self.key.hex(), "about": about}
            write_private(path, f"{json.dumps(head)}\n".encode())
            return
        try:
            self._read(about)
            self._end_last_line()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{path} is no state of this scan", "Remove it, or name another file.") from None
        if key is not None and not hmac.compare_digest(key, self.key):
            raise UsageError(f"{path} was begun with another baseline", "Name that one, or another state.")

    def done(self, source: Source) -> Section | None:
        """What was said of a source, if it is as it was."""
        return self._done.get((source.name, self._mark(source)))

    def keep(self, source: Source, section: Section) -> None:
        """Write down what is said of a source."""
        body = {"source": source.name, "identity": self._mark(source), "section": section.to_json()}
        with self._path.open("ab") as file:
            file.write(f"{json.dumps(body)}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def _mark(self, source: Source) -> str:
        content = _PURPOSE + source.identity.encode(errors="replace")
        return hmac.digest(self.key, content, "sha256").hex()

    def _read(self, about: str) -> None:
        with self._path.open("rb") as file:
            head: dict[str, Any] = json.loads(file.readline(_LONGEST))
            if head["schema"] != SCHEMA or head["about"] != about:
                raise ValueError
            self.key = bytes.fromhex(head["marked_by"])
            for record in file:
                self._take(record)

    def _end_last_line(self) -> None:
        """A killed process leaves half a line: what comes next is on one of its own."""
        with self._path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")

    def _take(self, record: bytes) -> None:
        try:
            body = json.loads(record)
        except ValueError:
            return
        self._done[body["source"], body["identity"]] = Section.from_json(body["section"])


def work(
    sources: Iterable[Source | Skipped],
    inspection: Inspection,
    state: State | None,
    tell: Callable[[str], None],
) -> Iterator[Section]:
    """Scan one source after the other.

    Args:
        sources: What there is to scan, and what cannot be.
        inspection: Scans.
        state: What was done before; None if nothing is kept.
        tell: Is told what is scanned next.
    """
    for source in sources:
        if isinstance(source, Skipped):
            yield Section(skipped=[source])
            continue
        tell(source.name)
        section = state.done(source) if state is not None else None
        if section is None:
            section = source.look(inspection)
            # What was not read at all may be readable the next time.
            if state is not None and all(each.source != source.name for each in section.skipped):
                state.keep(source, section)
        yield section

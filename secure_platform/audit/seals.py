"""A sealed row counts only while its seal is the one that the log recorded last for it.

A seal shows that a row was written by us, not that it is the newest: an older row, put back, still has its
seal. So every change announces the seals of the new rows in the log before they are written (`sealed` in the
detail of intent and outcome, name of the row → seal). After a crash between the two, the announced row and
the one before it both count until the next change. So they do after a failure that names the seals: whoever
writes a row says so in the outcome as the last thing before the commit, and an interrupt, or a connection
that is lost, can come between the commit and the record of success.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Protocol

from secure_platform.audit.log import SEALED
from secure_platform.audit.reader import Entry

_FAILED: Final = '"phase":"failed"'


class SealLog(Protocol):
    """What is read of the log."""

    def size(self) -> int:
        """Number of entries."""
        ...

    def backwards(self, text: str, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """The entries in which this text occurs, newest first."""
        ...


@dataclass
class _Mark:
    """What the log says of one seal.

    Attributes:
        intents: The entries that announced it and whose outcome is open: two may announce the same row.
        written: The last entry that announced it and whose row was written for certain.
        until: The entry that put another row in its place.
    """

    intents: set[int] = field(default_factory=set)
    written: int | None = None
    until: int | None = None

    def counted(self, since: int) -> bool:
        """Whether a row with it counted at any time since the log had this size."""
        return bool(self.intents) or self.until is None or self.until >= since

    def failed(self, intent: int) -> bool:
        """Forget an intent; whether no row ever had this seal."""
        self.intents.discard(intent)
        return not self.intents and self.written is None and self.until is None

    def overtaken(self, intent: int, seq: int) -> None:
        """Another row was written, as this intent announced and this entry says.

        Whoever changes a row has read the one before: a later intent may be about the row after this one.
        """
        counted = bool(self.intents) or self.until is None
        self.intents = {other for other in self.intents if other > intent}
        if counted and (self.written is None or self.written < intent):
            self.until = seq


class SealWitness:
    """What the log says of sealed rows; usable from several threads.

    Args:
        log: Is read as it grows. A row is named `TABLE:KEY` in it.
        read: Those of its entries `start … end - 1` that tell of the rows.
    """

    def __init__(self, log: SealLog, read: Callable[[int, int], Iterator[Entry]]) -> None:
        self._log = log
        self._read = read
        self._read_up_to = 0
        self._marks: defaultdict[str, dict[str, dict[str, _Mark]]] = defaultdict(dict)
        self._settled: dict[str, int] = {}
        self._open: dict[int, Mapping[str, str]] = {}
        self._changes: Counter[str] = Counter()
        self._lock = Lock()

    def seen(self) -> int:
        """The size of the log, all of which was looked at."""
        with self._lock:
            self._catch_up()
            return self._read_up_to

    def counts(self, name: str, seal: str, since: int) -> bool:
        """Whether a row with this seal counted at any time since the log had this size.

        Args:
            name: Of the row.
            seal: Of the row.
            since: As `seen` told it before the row was read.
        """
        with self._lock:
            if not self._counted(name, seal, since):
                self._catch_up()
            return self._counted(name, seal, since)

    def was_known(self, name: str, since: int) -> bool:
        """Whether such a row was written for certain when the log had this size.

        Args:
            name: Of the row.
            since: As `seen` told it before the row was looked for: it may have been written after that look.
        """
        with self._lock:
            return self._settled.get(name, since) < since

    def name_in_use(self, names: Sequence[str]) -> str:
        """Which of the names that a row may have the log has for it, as far as it was read; else the first.

        Args:
            names: The one of a new row, then older ones.
        """
        with self._lock:
            return next((name for name in names if self._of(name)), names[0])

    def known(self, table: str) -> set[str]:
        """The names of the rows of this table that were written for certain."""
        with self._lock:
            self._catch_up()
            return {name for name in self._marks[table] if name in self._settled}

    def is_silent(self, table: str) -> bool:
        """Whether the log has never named a row of this table."""
        with self._lock:
            self._catch_up()
            return not self._marks[table]

    def changes(self, table: str) -> int:
        """Grows with every announced or finished change of a row of this table."""
        with self._lock:
            self._catch_up()
            return self._changes[table]

    def is_changing(self, table: str) -> bool:
        """Whether a change is announced that may still happen without another word in the log."""
        with self._lock:
            return any(_table(name) == table for sealed in self._open.values() for name in sealed)

    def _of(self, name: str) -> dict[str, _Mark]:
        return self._marks[_table(name)].get(name, {})

    def _counted(self, name: str, seal: str, since: int) -> bool:
        mark = self._of(name).get(seal)
        return mark is not None and mark.counted(since)

    def _catch_up(self) -> None:
        """Read what was recorded since the last look."""
        start, size = self._read_up_to, self._log.size()
        if start == size:
            return
        for entry in self._read(start, size):
            self._note(entry)
        if self._open:
            for entry in self._log.backwards(_FAILED, max(start, min(self._open))):
                self._note_failed(entry.body["intent"])
        self._read_up_to = size

    def _note(self, entry: Entry) -> None:
        """An intent adds a row that counts; its success ends those that were announced before it.

        After a failure that names rows they count as they did.
        """
        sealed = entry.body["detail"].get(SEALED, {})
        self._changes.update(map(_table, sealed))
        if entry.body["phase"] == "intent":
            self._open[entry.seq] = sealed
            for name, seal in sealed.items():
                marks = self._marks[_table(name)].setdefault(name, {})
                marks.setdefault(seal, _Mark()).intents.add(entry.seq)
            return
        intent = entry.body["intent"]
        if entry.body["phase"] == "failed":
            self._open.pop(intent, None)
            return
        for seq, others in list(self._open.items()):
            if seq <= intent:
                self._open[seq] = {name: seal for name, seal in others.items() if name not in sealed}
        self._open = {seq: others for seq, others in self._open.items() if others}
        for name, seal in sealed.items():
            self._settled.setdefault(name, entry.seq)
            self._note_written(self._of(name), seal, intent, entry.seq)

    def _note_failed(self, intent: int) -> None:
        """Rows that were announced and surely not written do not count."""
        for name, seal in self._open.pop(intent, {}).items():
            marks = self._of(name)
            if marks[seal].failed(intent):
                del marks[seal]
            if not marks:
                del self._marks[_table(name)][name]

    @staticmethod
    def _note_written(marks: Mapping[str, _Mark], seal: str, intent: int, seq: int) -> None:
        """One row was written; whoever wrote the one after it may have said so before."""
        for mark in marks.values():
            mark.overtaken(intent, seq)
        own = marks[seal]
        if own.written is None or own.written < intent:
            own.written = intent
            newest = all(mark.written is None or mark.written <= intent for mark in marks.values())
            own.until = None if newest else seq


def _table(name: str) -> str:
    return name.partition(":")[0]

"""Events for an external receiver, in order: each is first written to a file as a line, then sent from it.

Writers never wait for the receiver. After each answer, the sender notes beside the file how far the receiver
has got; what was not answered is sent again, so every event arrives at least once, from one sender at a time.
A receiver that is unavailable holds everything up until it is back; an event that it rejects three times is
skipped. When the file has grown to `LARGEST` and was sent completely, a new one is started; until then it
takes no more. If the last line that was sent is not where it was, the file is a different one, and is sent
from its beginning.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from pydantic import AwareDatetime, NonNegativeInt, TypeAdapter, ValidationError

from secure_platform import canonical
from secure_platform.control.database import utc_now
from secure_platform.control.locks import file_lock
from secure_platform.errors import GateRefusedError, SecurePlatformError, StorageError
from secure_platform.files import PRIVATE_FILE, private_directory, replace_private
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.notify.guard import RejectedError
from secure_platform.notify.post import post
from secure_platform.site import LineageSettings

LARGEST: Final = 64 << 20
"""Bytes."""
REJECTIONS: Final = 3
FIRST_PAUSE: Final = timedelta(seconds=15)
LONGEST_PAUSE: Final = timedelta(hours=1)
AT_ONCE: Final = 200
_WAIT_SECONDS: Final = 5.0
_NOW_SECONDS: Final = 0.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """How far a receiver has come.

    Attributes:
        inode: Of the file that is meant.
        offset: Bytes of it that the receiver has taken.
        start, digest: Where the last line of these begins, and its SHA-256.
        attempts: How often what comes next was refused.
        rejections: How often it was rejected for what it is.
        due_at: Before when it is not tried again.
        problem: Why it was refused; nothing secret.
    """

    inode: int = 0
    offset: NonNegativeInt = 0
    start: NonNegativeInt = 0
    digest: str = ""
    attempts: NonNegativeInt = 0
    rejections: NonNegativeInt = 0
    due_at: AwareDatetime | None = None
    problem: str | None = None

    def after(self, line: bytes) -> Self:
        """How far it has come with the next line."""
        end = self.offset + len(line)
        return type(self)(self.inode, end, self.offset, canonical.sha256(line))


_READER: Final = TypeAdapter(Taken)


class Feed:
    """The events of one home for one receiver.

    Args:
        path: The file; it and its folder are made when they are missing.
        settings: Where the events are sent; nowhere if there is no URL.
        secrets: Where the receiver's token is.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        path: Path,
        settings: LineageSettings,
        secrets: Callable[[], Secrets],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._path = path
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._cursor = self._beside("taken")

    def append(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Write events down; they are on the disk when this returns.

        Raises:
            StorageError: If the file is full because the receiver takes nothing, or the disk is.
            GateRefusedError: If another process kept it for seconds.
        """
        lines = b"".join(canonical.dumps(event) + b"\n" for event in events)
        try:
            self._append(lines)
        except OSError as error:
            problem = StorageError.behind("The writing of events", error)
            if problem is None:
                raise
            raise problem from None

    def _append(self, lines: bytes) -> None:
        private_directory(self._path.parent)
        with file_lock(self._beside("lock"), holder=f"the file {self._path}", timeout_seconds=_WAIT_SECONDS):
            self._make_room(len(lines))
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, PRIVATE_FILE)
            try:
                # A writer that died may have left half a line.
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                _write(descriptor, b"\n" * torn + lines, size)
            finally:
                os.close(descriptor)

    def deliver(self) -> int:
        """Send what waits, at most `AT_ONCE` events; returns how many the receiver took."""
        if self._settings.url is None or not self._path.exists():
            return 0
        lock = file_lock(self._beside("sender"), holder="sending", timeout_seconds=_NOW_SECONDS)
        with suppress(GateRefusedError), lock:
            return self._deliver()
        return 0

    def waiting(self) -> int:
        """Bytes that the receiver has not taken; 0 if there is none."""
        if self._settings.url is None or not self._path.exists():
            return 0
        return max(self._path.stat().st_size - self._taken().offset, 0)

    def _deliver(self) -> int:
        taken, sent = self._taken(), 0
        if taken.due_at is not None and taken.due_at > self._clock():
            return 0
        for line in self._lines(taken.offset):
            problem = self._send(line.strip())
            if problem is None:
                sent += bool(line.strip())
                taken = taken.after(line)
            else:
                taken = self._refused(taken, line, problem)
            self._remember(taken)
            if sent >= AT_ONCE or problem is not None:
                break
        return sent

    def _send(self, line: bytes) -> SecurePlatformError | None:
        """Why it was not taken; half a line of a writer that died is nobody's event."""
        try:
            json.loads(line)
        except ValueError:
            return None
        try:
            post(self._settings, str(self._settings.url), line, self._headers())
        except SecurePlatformError as error:
            return error
        return None

    def _headers(self) -> dict[str, str]:
        if self._settings.secret is None:
            return {}
        return {"Authorization": f"Bearer {self._secrets().get(self._settings.secret).line.strip()}"}

    def _refused(self, taken: Taken, line: bytes, problem: SecurePlatformError) -> Taken:
        rejections = taken.rejections + isinstance(problem, RejectedError)
        if rejections >= REJECTIONS:
            _logger.error("An event of lineage was left out: %s", problem.culprit)
            return taken.after(line)
        pause = min(FIRST_PAUSE * 2 ** min(taken.attempts, 20), LONGEST_PAUSE)
        return replace(
            taken,
            attempts=taken.attempts + 1,
            rejections=rejections,
            due_at=self._clock() + pause,
            problem=problem.culprit,
        )

    def _lines(self, offset: int) -> Iterator[bytes]:
        """Whole lines behind the offset, as they stand there."""
        with self._path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield line

    def _make_room(self, more: int) -> None:
        if not self._path.exists() or self._path.stat().st_size + more <= LARGEST:
            return
        if self.waiting():
            raise StorageError(
                f"{self._path} is full of events that its receiver does not take",
                "Look at the receiver under `lineage` in the settings; what happens meanwhile is not told.",
            )
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def _taken(self) -> Taken:
        inode = self._path.stat().st_ino
        try:
            taken = _READER.validate_json(self._cursor.read_bytes())
        except (FileNotFoundError, ValidationError):
            # Sent again, rather than not at all.
            return Taken(inode)
        return taken if taken.inode == inode and self._is_there(taken) else Taken(inode)

    def _is_there(self, taken: Taken) -> bool:
        """Whether the line that was taken last is; another file may have the same inode."""
        if taken.offset == 0:
            return True
        with self._path.open("rb") as file:
            file.seek(taken.start)
            line = file.readline(LARGEST)
        return taken.start + len(line) == taken.offset and canonical.sha256(line) == taken.digest

    def _remember(self, taken: Taken) -> None:
        replace_private(self._cursor, _READER.dump_json(taken))

    def _beside(self, what: str) -> Path:
        return self._path.with_name(f".{self._path.name}.{what}")


def _write(descriptor: int, data: bytes, size: int) -> None:
    """All of it at the end of a file of this size, on the disk; or nothing."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, size)
        raise

"""A room for programs: the content of every file they write is searched, and nobody can be reached from it.

The room is a mount namespace and a network namespace. Nothing else on the machine writes through its mounts,
so each event that fanotify tells of them is the programs'. An event carries the file itself: it is read
although it was unlinked, renamed or never had a name. The kernel closes the files of a killed process, which
makes the same event as closing them does. A file is read after each write too, as soon as this process gets
to it, so that what is truncated before it is closed is seen in all likelihood.
"""

import ctypes
import os
import select
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from content_search import PIECE, Search
from required import missing

PLACES: Final = ("/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/home", "/root")  # noqa: S108 - watched, not used
SECONDS: Final = 400
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_INIT_FLAGS: Final = 0x1 | 0x2 | 0x10  # FAN_CLOEXEC, FAN_NONBLOCK, FAN_UNLIMITED_QUEUE
_MARK_FLAGS: Final = 0x1 | 0x10  # FAN_MARK_ADD, FAN_MARK_MOUNT
_WRITES: Final = 0x2 | 0x8  # FAN_MODIFY, FAN_CLOSE_WRITE
_AT_FDCWD: Final = -100
_EVENT: Final = struct.Struct("=IBBHqii")
_POLL_SECONDS: Final = 0.05
# Loopback works in the room; it is the only interface.
_HOLD: Final = f"""
import fcntl, socket, struct, sys
with socket.socket() as any_socket:
    request = struct.pack("16sH14x", b"lo", {0x1 | 0x40})
    fcntl.ioctl(any_socket, {0x8914}, request)
print("ready", flush=True)
sys.stdin.read()
"""


@dataclass
class Written:
    """A file that was written.

    Attributes:
        path: Its name when it was read last; `#<number>` if it never had one.
        size: Most bytes that were in it.
        holds: Labels of the needles that were found in it at any time.
    """

    path: str
    size: int = 0
    holds: set[str] = field(default_factory=set)


class Room:
    """Runs programs and tells what they wrote and whom they called.

    Args:
        holder: A process that keeps the namespaces.
        events: A fanotify descriptor on their mounts.
        needles: Label → bytes to look for.
    """

    def __init__(self, holder: int, events: int, needles: Mapping[str, bytes]) -> None:
        self._holder = holder
        self._events = events
        self._search = Search(needles)
        self._lock = threading.Lock()
        self._written: dict[str, Written] = {}

    def command(self, arguments: Sequence[str | Path], *, cwd: Path) -> list[str]:
        """What starts a program in the room, where a crash dumps core if the program does not forbid it.

        Its current directory is entered through the room's mounts.
        """
        enter = ["nsenter", f"--target={self._holder}", "--mount", "--net", "--", "sh", "-c"]
        return [
            *enter,
            'ulimit -S -c "$(ulimit -H -c)" && cd "$0" && exec "$@"',
            str(cwd),
            *map(str, arguments),
        ]

    def run(
        self, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end."""
        return subprocess.run(
            self.command(arguments, cwd=cwd),
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )

    def take(self) -> list[Written]:
        """Every file that was written since the last call."""
        self.follow()
        with self._lock:
            taken, self._written = list(self._written.values()), {}
        return taken

    def follow(self) -> None:
        """Read the files that were written; what an unlinked one holds is gone afterwards."""
        with self._lock:
            while events := _next_events(self._events):
                for descriptor in events:
                    try:
                        self._look_into(descriptor)
                    finally:
                        os.close(descriptor)

    def _look_into(self, descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink()).removesuffix(" (deleted)")
        file = self._written.setdefault(path, Written(path))
        position = 0
        while piece := os.pread(descriptor, PIECE + self._search.overlap, position):
            file.holds |= self._search.labels(piece)
            position += min(len(piece), PIECE)
        file.size = max(file.size, position)

    def calls(self) -> Counter[str]:
        """How often the kernel was asked for a way out of the room, or for a datagram (a name look-up)."""
        counts: Counter[str] = Counter()
        lines = Path(f"/proc/{self._holder}/net/snmp").read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            protocol, *fields = names.split()
            counts |= {protocol + n: int(v) for n, v in zip(fields, values.split()[1:], strict=True)}
        newer = Path(f"/proc/{self._holder}/net/snmp6")  # Absent where the kernel has no IPv6.
        for line in newer.read_text().splitlines() if newer.exists() else ():
            name, value = line.split()
            counts[name] = int(value)
        wanted = ("Ip:OutNoRoutes", "Ip6OutNoRoutes", "Udp:OutDatagrams", "Udp6OutDatagrams")
        return Counter({name: counts[name] for name in wanted})


@contextmanager
def sealed_room(needles: Mapping[str, bytes], *places: Path) -> Iterator[Room]:
    """A room whose writers' files are searched for the needles.

    Args:
        needles: Label → bytes.
        places: Folders that may lie on file systems of their own.
    """
    with ExitStack() as stack:
        events = _open_events()
        stack.callback(os.close, events)
        holder = stack.enter_context(_holder())
        _watch(events, [f"/proc/{holder}/root{place}" for place in (*PLACES, *places)])
        room = Room(holder, events, needles)
        ended = threading.Event()
        follower = threading.Thread(target=_follow, args=(room, events, ended))
        follower.start()
        stack.callback(follower.join)
        stack.callback(ended.set)
        yield room


def _follow(room: Room, events: int, ended: threading.Event) -> None:
    while not ended.is_set():
        select.select([events], [], [], _POLL_SECONDS)
        room.follow()


@contextmanager
def _holder() -> Iterator[int]:
    command = ["unshare", "--mount", "--net", "--", sys.executable, "-I", "-c", _HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid


def _open_events() -> int:
    """A queue of unlimited length, which the kernel gives to the administrator of the machine only."""
    events = int(_LIBC.fanotify_init(_INIT_FLAGS, os.O_RDONLY | os.O_LARGEFILE | os.O_CLOEXEC))
    if events < 0:
        missing(f"files cannot be watched ({os.strerror(ctypes.get_errno())}): run the tests as root")
    return events


def _watch(events: int, places: Sequence[str]) -> None:
    mask = ctypes.c_uint64(_WRITES)
    for place in filter(os.path.exists, places):
        if _LIBC.fanotify_mark(events, _MARK_FLAGS, mask, _AT_FDCWD, os.fsencode(place)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)


def _next_events(descriptor: int) -> list[int]:
    """Descriptors of the files that were closed; none when there are no more for now."""
    try:
        answer = os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return []
    found, position = [], 0
    while position < len(answer):
        length, *_, file, _pid = _EVENT.unpack_from(answer, position)
        position += length
        found.append(file)
    return found

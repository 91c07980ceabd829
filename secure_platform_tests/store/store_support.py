"""A home with real keys, log and store; hands that tamper with its files; and processes that are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from sqlalchemy import update

from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import key_version
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing
from secure_platform.store.snapshot import Snapshot, Zone
from secure_platform.store.snapshots import SnapshotStore

SCRIPT = Path(__file__)
# Random bytes do not compress: whatever stores them in clear stores exactly these.
CANARY = bytes.fromhex("9f1c7be2a4d05833c6e97a10b2f84d6e5a3bc0917de8f246")
# A file that a process is about to touch, replace or lock; it is killed before the n-th of these.
STEPS = frozenset(
    {"open", "os.rename", "os.mkdir", "os.chmod", "os.remove", "fcntl.flock", "sqlite3.connect"}
)


@dataclass(frozen=True)
class Home:
    root: Path
    database: ControlDatabase
    keys: KeyRing
    audit: AuditLog
    store: SnapshotStore

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    def set_key_state(self, name: str, state: str) -> None:
        with self.database.write() as connection:
            connection.execute(update(key_version).where(key_version.c.name == name).values(state=state))


def create_home(root: Path) -> Home:
    root.mkdir(mode=0o700)
    database = ControlDatabase.at(root / "control.db")
    database.migrate()
    provider = LocalKeyProvider.create(root / "keys")
    HomeKeys(provider, database, root / "audit.db").ring.initialise()
    return open_home(root)


def open_home(root: Path) -> Home:
    database = ControlDatabase.at(root / "control.db")
    opened = HomeKeys(LocalKeyProvider.open(root / "keys"), database, root / "audit.db")
    keys, audit = opened.ring, opened.audit
    return Home(root, database, keys, audit, SnapshotStore(root / "lake", root / "tmp", keys, audit))


def table(rows: int = 5, *, first: int = 0) -> pl.DataFrame:
    numbers = range(first, first + rows)
    return pl.DataFrame(
        {
            "id": [f"t1_{number:032x}" for number in numbers],
            "n": pl.Series(numbers, dtype=pl.Int64),
            "note": pl.Series([(None, "", "x")[number % 3] for number in numbers], dtype=pl.String),
            "secret": [CANARY] * rows,
        }
    )


def commit(
    home: Home,
    frame: pl.DataFrame,
    *,
    dataset: str = "patients",
    zone: Zone = Zone.RAW,
    input_key: str = "key",
    quarantine: pl.DataFrame | None = None,
    verdicts: Mapping[str, bool] | None = None,
) -> Snapshot:
    with home.store.draft("healthcare", dataset, zone, actor="service:scheduler") as draft:
        draft.write(frame.lazy())
        if quarantine is not None:
            draft.write_quarantine(quarantine)
        for stage, passed in (verdicts or {"validate": True}).items():
            draft.verdict(stage, passed=passed, rows=frame.height)
        return draft.commit(
            input_key=input_key,
            contract_version="1.0.0",
            contract_digest="sha256:0",
            provenance={"run_id": "run-1", "inputs": []},
        )


def files_below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def in_clear(root: Path) -> list[str]:
    """Files that hold the canary, in bytes or in hexadecimal."""
    needles = (CANARY, CANARY.hex().encode(), CANARY.hex().upper().encode())
    return [
        path.relative_to(root).as_posix()
        for path in files_below(root)
        if any(needle in path.read_bytes() for needle in needles)
    ]


def flip(path: Path, position: int, bits: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def hear(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def say(word: str | int) -> None:
    """Tell the test that started this process."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _endless() -> Iterator[pl.DataFrame]:
    first = 0
    while True:
        yield table(20_000, first=first)
        first += 20_000
        if first == 400_000:
            say("writing")
        if first > 400_000:
            time.sleep(0.01)


def _write_for_ever(root: Path) -> None:
    home = open_home(root)
    with home.store.draft("healthcare", "patients", Zone.RAW, actor="service:scheduler") as draft:
        draft.write_batches(_endless())


def _hold(root: Path) -> None:
    home = open_home(root)
    with home.store.draft("healthcare", "patients", Zone.RAW, actor="service:scheduler") as draft:
        draft.write(table().lazy())
        say("held")
        sys.stdin.readline()


def _commit_many(root: Path, count: int) -> None:
    home = open_home(root)
    say("ready")
    sys.stdin.readline()
    for number in range(count):
        commit(home, table(50, first=number), input_key=f"{os.getpid()}-{number}")


def _die_at(step: int) -> None:
    seen = 0

    def hook(event: str, _: object) -> None:
        nonlocal seen
        if event in STEPS:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _commit_and_die(homes: list[Path]) -> None:
    """In the n-th home, commit a snapshot and die before the n-th step; say which step was not reached."""
    for step, root in enumerate(homes, start=1):
        # Nothing has used Polars' threads yet, so that a fork is safe.
        child = os.fork()
        if child == 0:
            home = open_home(root)
            _die_at(step)
            commit(home, table(3))
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            say(step)
            return
    say(0)


if __name__ == "__main__":
    command, target, *rest = sys.argv[1:]
    if command == "write-for-ever":
        _write_for_ever(Path(target))
    elif command == "hold":
        _hold(Path(target))
    elif command == "commit-many":
        _commit_many(Path(target), int(rest[0]))
    elif command == "commit-and-die":
        _commit_and_die(sorted(Path(target).iterdir()))

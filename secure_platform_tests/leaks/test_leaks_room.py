"""The watch itself: what it must see, it sees, and it would find a leak that is real."""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import CORES, needles
from sealed_room import Room, Written, sealed_room

from secure_platform.store.duckdb import httpfs_extension

CORE = CORES["name"]
WRITE = f"""
import os, signal, sys, tempfile
text = {CORE!r}.encode(sys.argv[1])
"""
WAYS = {
    "a file that stays": 'open("kept", "wb").write(text)',
    "a file that is unlinked": 'open("gone", "wb").write(text); os.unlink("gone")',
    "a file that is renamed": 'open("a", "wb").write(text); os.rename("a", "b")',
    "a file without a name": "tempfile.TemporaryFile().write(text)",
    "a file in shared memory": 'open("/dev/shm/x", "wb").write(text); os.unlink("/dev/shm/x")',
    "a file outside of every home": 'open("/var/tmp/x", "wb").write(text); os.unlink("/var/tmp/x")',
    "a mapped file": """
import mmap
with open("mapped", "wb+") as file:
    file.truncate(4096)
    with mmap.mmap(file.fileno(), 4096) as memory:
        memory[: len(text)] = text
""",
    "a file of a killed process": """
file = open("open", "wb", buffering=0)
file.write(text)
os.unlink("open")
os.kill(os.getpid(), signal.SIGKILL)
""",
}
SPILL_OF_POLARS = """
import polars as pl
numbers = pl.LazyFrame({"n": pl.int_range(600_000, eager=True).shuffle(1)})
text = pl.lit("%s ") + pl.col("n").cast(pl.String)
numbers.with_columns(text=text).sort("text").sink_parquet("/dev/null")
"""
SPILL_OF_DUCKDB = """
import duckdb, sys
session = duckdb.connect(config={"temp_file_encryption": sys.argv[1], "memory_limit": "40MB", "threads": 1})
session.load_extension(sys.argv[2])
session.execute("SET preserve_insertion_order = false")
grouped = "SELECT '%s ' || n AS t, max(n) FROM range(900_000) AS r(n) GROUP BY t"
session.execute(f"SELECT count(*) FROM ({grouped})")
"""

SPILL_OF_OURS = """
from pathlib import Path
import polars as pl
from secure_platform.store.parquet import FileKey, write
numbers = pl.LazyFrame({"n": pl.int_range(600_000, eager=True).shuffle(1)})
text = pl.lit("%s ") + pl.col("n").cast(pl.String)
frame = numbers.with_columns(text=text).sort("text")
write(Path("table"), frame, FileKey(bytes(32), b"table"), consume=lambda _: None)
"""
CRASH = f"import os; text = {CORE!r}; os.abort()"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with sealed_room(needles(), tmp_path_factory.getbasetemp()) as opened:
        yield opened


def holders(files: list[Written]) -> dict[str, str]:
    """Path → one of the needles that the file holds."""
    return {file.path: min(file.holds) for file in files if file.holds}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-be"])
@pytest.mark.parametrize("way", WAYS)
def test_the_room_sees_every_way_of_writing(way: str, encoding: str, room: Room, tmp_path: Path) -> None:
    room.take()
    done = room.run(sys.executable, "-I", "-c", WRITE + WAYS[way], encoding, cwd=tmp_path)
    killed = "killed" in way
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr.decode()
    assert holders(room.take())


def test_it_sees_what_polars_spills_when_nobody_forbids_it(room: Room, tmp_path: Path) -> None:
    room.take()
    environment = {"PATH": os.environ["PATH"], "POLARS_OOC_MEMORY_BUDGET_MB": "10"}
    done = room.run(sys.executable, "-c", SPILL_OF_POLARS % CORE, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    found = holders(room.take())
    assert found
    assert all(path.startswith("/var/tmp/polars-") for path in found)  # noqa: S108 - its default


@pytest.mark.parametrize("first", ["import secure_platform", "import polars; polars.LazyFrame().collect()"])
def test_with_our_package_polars_fails_instead(first: str, room: Room, tmp_path: Path) -> None:
    room.take()
    environment = {"PATH": os.environ["PATH"], "POLARS_OOC_MEMORY_BUDGET_MB": "10"}
    program = first + SPILL_OF_OURS % CORE
    done = room.run(sys.executable, "-I", "-B", "-c", program, cwd=tmp_path, env=environment)
    assert b"DataRefusedError: A query to write a table failed" in done.stderr
    assert CORE.encode() not in done.stderr
    files = room.take()
    assert holders(files) == {}
    assert {file.path for file in files if file.size} <= {str(tmp_path / "table")}


def test_a_crash_leaves_no_image_of_the_memory(room: Room, tmp_path: Path) -> None:
    room.take()
    image_is_a_file = not Path("/proc/sys/kernel/core_pattern").read_text().startswith("|")
    may_be_written = resource.getrlimit(resource.RLIMIT_CORE)[1] != 0
    for first, seen in (("", image_is_a_file and may_be_written), ("import secure_platform; ", False)):
        done = room.run(sys.executable, "-I", "-B", "-c", first + CRASH, cwd=tmp_path)
        assert done.returncode == -signal.SIGABRT
        assert bool(holders(room.take())) == seen


def test_a_process_of_the_platform_may_write_no_image_of_its_memory(room: Room, tmp_path: Path) -> None:
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    for first, allowed in (("", most), ("import secure_platform; ", 0)):
        program = f"import resource; {first}print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
        done = room.run(sys.executable, "-I", "-B", "-c", program, cwd=tmp_path)
        assert int(done.stdout) == allowed, done.stderr.decode()


@pytest.mark.parametrize(("encrypted", "seen"), [("false", True), ("true", False)])
def test_it_sees_what_duckdb_spills(encrypted: str, room: Room, tmp_path: Path, *, seen: bool) -> None:
    room.take()
    program = (sys.executable, "-c", SPILL_OF_DUCKDB % CORE, encrypted, httpfs_extension())
    done = room.run(*program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    files = [file for file in room.take() if "duckdb_temp" in file.path]
    assert sum(file.size for file in files) > 1 << 20
    assert bool(holders(files)) == seen


CALLS = {
    "('127.0.0.1', 9)": set(),
    "('192.0.2.1', 80)": {"Ip:OutNoRoutes"},
    "('2001:db8::1', 80)": {"Ip6OutNoRoutes"},
    "('example.org', 80)": {"Ip:OutNoRoutes"},
}


@pytest.mark.parametrize("address", CALLS)
def test_it_hears_who_is_called(address: str, room: Room, tmp_path: Path) -> None:
    before = room.calls()
    program = f"import socket; socket.create_connection({address}, timeout=10)"
    assert room.run(sys.executable, "-I", "-c", program, cwd=tmp_path).returncode == 1
    assert {name for name, count in room.calls().items() if count > before[name]} == CALLS[address]

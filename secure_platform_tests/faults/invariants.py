"""The promises that hold whatever dies or fails, each one a function that raises `Broken` (security.md §6.1).

They read a home as a new process would, and trust nothing that the interrupted process said.
"""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import re2

from secure_platform.audit.reader import Entry
from secure_platform.deploy.pointer import Pointer
from secure_platform.deploy.production import Production
from secure_platform.deploy.shelf import PUBLISH, Shelf
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.deploy import matches_release, verified_package
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

SECRET_COLUMNS = ("SSN", "DRIVERS", "PASSPORT", "FIRST", "LAST", "MAIDEN", "ADDRESS", "LAT", "LON")
SHORTEST_SECRET = 6
# What a home holds when nothing is left over; ids are hexadecimal.
_LAYOUT = re.compile(
    r"""
    \.initialised | (\.emergency)?\.lock | (audit|control)\.db(-wal|-shm)? | audit\.db\.lock
    | keys/(root\.key|\w+\.token)
    | lake/\w+/(raw|protected|marts)/\w+/(HEAD | [0-9a-f]{32}/((data|quarantine)\.parquet|sidecar\.json))
    | releases/trust-root\.json | (releases|warehouse)/\.\w+\.lock | releases/\w+/\.lock
    | releases/\w+/(\.unregistered/[0-9]+-[0-9a-f]{16}/)?[0-9]+/(manifest\.json | payload/\w+\.parquet)
    | releases/\w+/(\.unregistered/[0-9]+-[0-9a-f]{16}/)?[0-9]+\.attestations/
        (release\.sigstore\.json | checkpoint\.txt)
    | warehouse/\.\w+\.lock
    | warehouse/\w+/(\.lock | CURRENT | history/[0-9]{9}\.json | [0-9]+-[0-9a-f]{12}\.duckdb)
    | dagster/.+ | tmp/claims\.lock | dbt/(\.lock | [0-9a-f]{32}/(manifest\.json | partial_parse\.msgpack))
    """,
    re.VERBOSE,
)


class Broken(AssertionError):  # noqa: N818 - it names what happened to an invariant
    """An invariant does not hold; the message says which one and where."""


def i1_production_is_one_logged_release(services: Services, product: str) -> Production | None:
    """I1: production is empty or exactly one release that the log has, row by row, never a mixture."""
    production = services.target.current(product)
    if production is None:
        return None
    matches_release(services, production)
    created = [
        entry
        for entry in _outcomes(services, "release.create")
        if entry.body["detail"].get("digest") == production.release
    ]
    _require(len(created) == 1, "I1", "the release in production is not in the log exactly once")
    numbers = [record.number for record in services.gate.list(product)]
    _require(numbers == sorted(set(numbers)), "I1", "two releases share a number")
    return production


def i2_every_change_was_announced_and_closed(services: Services, product: str, *, settled: bool) -> None:
    """I2: every change of production has an intent before it and, once somebody looked again, an outcome."""
    entries = list(services.audit.entries())
    production = services.target.base(product)
    for change in _changes(services, product):
        announced = [
            entry
            for entry in entries[: change.audit_seq + 1]
            if (entry.body["phase"], entry.body["subject"]) == ("intent", product)
            and entry.body["detail"].get("release") == change.release
        ]
        _require(announced, "I2", f"change {change.sequence} was never announced")
        closed = [
            entry
            for entry in entries[change.audit_seq + 1 :]
            if (entry.body["phase"], entry.body["subject"]) == ("done", product)
            and entry.body["detail"].get("sequence") == change.sequence
            and entry.body["detail"]["file_digest"] == change.file_digest
        ]
        newest = change.release == production and not settled
        _require(closed or newest, "I2", f"change {change.sequence} has no outcome")


def i3_nothing_was_deployed_without_leave(services: Services, product: str) -> None:
    """I3: signature, approval by another than the requester, and base of every release that was deployed."""
    for change in _history(services, product):
        record = services.gate.get(change.release)
        with verified_package(services, record) as release:
            _require(release.digest == change.release, "I3", "a deployed package is another one")
        votes = services.gate.approvals(change.release)
        approved = [vote for vote in votes if vote.decision == "approve"]
        _require(bool(approved), "I3", f"release {change.number} has no approval")
        _require(
            all(vote.principal != record.requested_by and vote.base == record.base for vote in approved),
            "I3",
            f"an approval of release {change.number} is not one for it",
        )
    for entry in services.audit.entries():
        body = entry.body
        if (body["action"], body["phase"]) == (PUBLISH, "intent"):
            _require_leave(services, entry, body["detail"])


def _require_leave(services: Services, publication: Entry, detail: Mapping[str, Any]) -> None:
    """A publication follows the approval of this release over this base, or restores what is there."""
    if detail["release"] == detail["base"]:
        return
    votes = [
        entry.body
        for entry in services.audit.entries(0, publication.seq)
        if (entry.body["action"], entry.body["subject"])
        == ("release.approve", f"release:{detail['release']}")
    ]
    # A vote without an outcome may have been cast: its process died. One that was refused was not.
    refused = {body["intent"] for body in votes if body["phase"] == "failed"}
    cast = [body for body in votes if body["phase"] == "intent" and body["seq"] not in refused]
    bases = [body["detail"]["base"] for body in cast]
    _require(detail["base"] in bases, "I3", "a publication was not approved over its base")


def i4_the_log_is_whole(services: Services, checkpoints: Sequence[str]) -> None:
    """I4: the log recomputes, and begins with what every checkpoint that was kept elsewhere says."""
    services.audit.verify(checkpoints)


def i5_nothing_lies_in_clear(home: Path, secrets: Sequence[bytes]) -> None:
    """I5: no file below the home holds an original value."""
    # All at once, in one pass over each file: one after the other took half of the time of a case.
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # Bytes, whatever they stand for.
    any_secret = re2.compile(b"|".join(map(re2.escape, secrets)), options)
    for path in _files(home):
        found = any_secret.search(path.read_bytes())
        _require(not found, "I5", f"{path.relative_to(home)} holds an original value")


def i6_nothing_is_left_over(home: Path) -> None:
    """I6: after the stages ran again and the sweep, the home holds what it must and nothing else."""
    left = [
        name
        for name in (path.relative_to(home).as_posix() for path in _files(home))
        if not _LAYOUT.fullmatch(name)
    ]
    empty = [path.relative_to(home).as_posix() for path in (home / "tmp").iterdir() if path.is_dir()]
    _require(not left and not empty, "I6", f"left over: {', '.join([*left, *empty])}")


def i7_there_is_a_way_back(services: Services, product: str) -> None:
    """I7: the release before the one in production is there and verifies."""
    history = _history(services, product)
    if not history or history[0].previous is None:
        return
    earlier = services.gate.get(history[0].previous)
    _require(earlier.state is ReleaseState.DEPLOYED, "I7", f"release {earlier.number} is {earlier.state}")
    with verified_package(services, earlier) as release:
        _require(release.digest == earlier.digest, "I7", "the earlier package is another one")


def state(services: Services, product: str, zones: Mapping[Zone, Sequence[str]]) -> dict[str, Any]:
    """What must be the same however the way was interrupted: contents, states, what is in production."""
    heads = {
        f"{zone}/{name}": head.content_digest
        for zone, names in zones.items()
        for name in names
        if (head := services.store.head(product, name, zone)) is not None
    }
    production = services.target.current(product)
    tables: dict[str, str] = {}
    if production is not None:
        with verified_package(services, services.gate.get(production.release)) as release:
            tables = {name: table.content_digest for name, table in release.contents.tables.items()}
    return {
        "heads": heads,
        "releases": [[record.number, str(record.state)] for record in services.gate.list(product)],
        "production": production.number if production else None,
        "tables": tables,
        "keys": {version.title: str(version.state) for version in services.keys.versions()},
    }


def secrets_of(source: Path) -> list[bytes]:
    """The values of a source that may nowhere be read."""
    with (source / "patients.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {row[column] for row in rows for column in SECRET_COLUMNS}
    return sorted(value.encode() for value in found if len(value) >= SHORTEST_SECRET)


def _history(services: Services, product: str) -> list[Production]:
    return services.target.history(product)


def _changes(services: Services, product: str) -> list[Pointer]:
    """Every pointer that was published, the present one first."""
    shelf = Shelf(services.settings.home / "warehouse", product, services.keys, services.audit)
    current = shelf.current()
    newest = current.sequence if current else 0
    return [pointer for pointer in shelf.records() if pointer.sequence <= newest]


def _outcomes(services: Services, action: str) -> list[Entry]:
    return [
        entry
        for entry in services.audit.entries()
        if (entry.body["action"], entry.body["phase"]) == (action, "done")
    ]


def _files(home: Path) -> list[Path]:
    return [Path(folder, name) for folder, _, names in os.walk(home) for name in names]


def _require(holds: object, invariant: str, problem: str) -> None:
    if not holds:
        raise Broken(f"{invariant}: {problem}")

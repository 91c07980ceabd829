"""What a step is given and what it gives back.

A step reads what the same run produced, else the newest committed snapshot, and never trusts the sender: it
re-reads the verdicts of its input.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from secure_platform import canonical
from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product
from secure_platform.errors import DataRefusedError
from secure_platform.release.verify import SignedManifest
from secure_platform.services import Services
from secure_platform.settings import PACKAGE
from secure_platform.store.snapshot import Snapshot, Zone

PRESENTATION: Final = ("cli/", "web/", "defs/")
CODE_SUFFIXES: Final = frozenset({".py", ".txt", ".yaml", ".yml", ".cedar", ".cedarschema"})


@dataclass(frozen=True)
class CheckOutcome:
    """One check's result: whether it passed and why, without any value.

    Attributes:
        name: Name of the asset check.
        passed: The result.
        detail: Counts and names, shown in the checks tab and kept in the verdict.
        severity: An `ERROR` blocks what comes after in the run; a `WARN` does not.
        plot: Markdown that shows it beside its past; empty for none.
    """

    name: str
    passed: bool
    detail: Mapping[str, Any] = field(default_factory=dict)
    severity: Literal["ERROR", "WARN"] = "ERROR"
    plot: str = ""


@dataclass(frozen=True)
class StepOutcome:
    """A snapshot and the checks on it."""

    snapshot: Snapshot
    checks: tuple[CheckOutcome, ...]


@dataclass(frozen=True)
class StepContext:
    """One run of one product.

    Attributes:
        services: The rooms.
        product: The data product.
        run_id: The Dagster run.
        requester: Name of the principal the run is recorded for.
        source: Folder, or zip file, of the source files.
        chosen: Snapshot id this run produced for a zone and dataset, if it did.
        again: The release whose raw snapshots this run protects again, after a rotation; None for a build.
    """

    services: Services
    product: Product
    run_id: str
    requester: str
    source: Path
    chosen: Callable[[Zone, str], str | None] = lambda _zone, _dataset: None
    again: SignedManifest | None = None

    def input(self, zone: Zone, dataset: str) -> Snapshot:
        """The snapshot this run produced, else the raw one it begins with, else the newest committed one.

        Raises:
            DataRefusedError: If there is none yet.
        """
        name = self.product.name
        snapshot_id = self.chosen(zone, dataset) or (
            self.released(zone, dataset) if zone is Zone.RAW else None
        )
        snapshot = (
            self.services.store.load(name, dataset, zone, snapshot_id)
            if snapshot_id
            else self.services.store.head(name, dataset, zone)
        )
        if snapshot is None:
            raise DataRefusedError(
                f"There is no {zone} snapshot of {name}/{dataset} yet",
                f"Materialize {name}/{zone}/{dataset} first.",
            )
        return snapshot

    def released(self, zone: Zone, dataset: str) -> str | None:
        """Id of the snapshot behind the release that is being protected again; None for a build."""
        lineage = self.again.contents.lineage if self.again else []
        found = (each.snapshot_id for each in lineage if (each.zone, each.dataset) == (str(zone), dataset))
        return next(found, None)


def require_contract(snapshot: Snapshot, contract: Contract) -> None:
    """Refuse a snapshot that was made under another version of its contract.

    Raises:
        DataRefusedError: Naming the snapshot.
    """
    if snapshot.contract_digest != contract.digest:
        name = f"{snapshot.product}/{snapshot.zone}/{snapshot.dataset}"
        raise DataRefusedError(
            f"The newest snapshot of {name} was made under another version of its contract",
            f"Run the whole build: secure-platform run {snapshot.product}.",
        )


def verdict_records(snapshot: Snapshot) -> dict[str, Any]:
    """What every stage decided on a snapshot and why, as JSON."""
    return {
        stage: {"passed": verdict.passed, "detail": dict(verdict.detail)}
        for stage, verdict in snapshot.verdicts.items()
    }


def verdict_checks(snapshot: Snapshot, stages: Iterable[str]) -> tuple[CheckOutcome, ...]:
    """The verdicts of these stages as checks of the same names."""
    verdicts = snapshot.verdicts
    return tuple(CheckOutcome(stage, verdicts[stage].passed, verdicts[stage].detail) for stage in stages)


def input_key(**parts: Any) -> str:
    """A digest of everything that a step's output depends on, this code included: it decides whether to run.

    Inputs are named by snapshot, not by content: lines that were set aside do not show in the content, and
    what is released must come from the very snapshots that its lineage names.
    """
    return canonical.sha256(canonical.dumps({"code": code_version(), **parts}))


@cache
def code_version() -> str:
    """SHA-256 over the code and data files that an output can depend on, in path order."""
    digest = hashlib.sha256()
    for path in sorted(p for p in PACKAGE.rglob("*") if p.suffix in CODE_SUFFIXES):
        relative = path.relative_to(PACKAGE).as_posix()
        if not relative.startswith(PRESENTATION):
            digest.update(f"{relative}\n{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return f"sha256:{digest.hexdigest()}"

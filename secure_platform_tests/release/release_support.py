"""A home with real keys, log and store, and releases of made-up tables in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform.audit.log import AuditLog
from secure_platform.contract.load import read_contract
from secure_platform.contract.place import Place
from secure_platform.control.database import ControlDatabase
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing
from secure_platform.release.package import Release, ReleaseRequest, build_release
from secure_platform.store.snapshot import Snapshot, Zone
from secure_platform.store.snapshots import SnapshotStore

DOCUMENT: Mapping[str, Any] = {
    "version": "1.0.0",
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "patients",
    "status": "active",
    "team": {"name": "clinic"},
    "servers": [{"server": "source", "type": "local", "path": "patients.csv", "format": "csv"}],
    "schema": [
        {
            "name": "patients",
            "properties": [{"name": "id", "logicalType": "string", "classification": "confidential"}],
        }
    ],
}
PLAN: Mapping[str, Any] = {
    "digest": "sha256:1",
    "profile": "hipaa_safe_harbor",
    "profile_digest": "sha256:2",
    "as_of": "2026-01-01",
    "token_versions": {"patient": 1},
    "datasets": {},
}

DIGEST: Final = f"sha256:{'0' * 64}"
MODEL: Mapping[str, str] = {"sql": DIGEST, "compiled": DIGEST}
TEST: Mapping[str, str] = {**MODEL, "severity": "error", "arguments": DIGEST, "conditions": DIGEST}


def dbt_record(*models: str) -> dict[str, Any]:
    return {
        "project": DIGEST,
        "vars": {"smallest_cell": 11},
        "macros": {"macro.p.money": DIGEST},
        "models": {f"model.p.{name}": dict(MODEL) for name in models},
        "tests": {"test.p.not_null": dict(TEST)},
    }


@dataclass(frozen=True)
class Home:
    root: Path
    keys: KeyRing
    audit: AuditLog
    store: SnapshotStore

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"


def new_home(root: Path) -> Home:
    root.mkdir(mode=0o700)
    database = ControlDatabase.at(root / "control.db")
    database.migrate()
    opened = HomeKeys(LocalKeyProvider.create(root / "keys"), database, root / "audit.db")
    opened.ring.initialise()
    keys, audit = opened.ring, opened.audit
    return Home(root, keys, audit, SnapshotStore(root / "lake", root / "tmp", keys, audit))


def patients(rows: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "token": [None if row % 7 == 3 else f"t1_{row:032x}" for row in range(rows)],
            "year": pl.Series([1900 + row % 100 for row in range(rows)], dtype=pl.Int64),
            "cost": [float("nan") if row % 5 == 4 else row / 3 for row in range(rows)],
            "alive": [row % 2 == 0 for row in range(rows)],
            "day": [date(2020, 1, 1 + row % 28) for row in range(rows)],
            "seen": pl.Series([datetime(2020, 1, 1, tzinfo=UTC)] * rows, dtype=pl.Datetime("us", "UTC")),
            "count": pl.Series(range(rows), dtype=pl.UInt32),
        }
    )


def conditions() -> pl.DataFrame:
    return pl.DataFrame({"code": ["a", "", None], "patients": pl.Series([11, 12, None], dtype=pl.Int64)})


def commit(home: Home, name: str, frame: pl.DataFrame) -> Snapshot:
    with home.store.draft("healthcare", name, Zone.MARTS, actor="service:scheduler") as draft:
        draft.write(frame.lazy())
        draft.verdict("dbt", passed=True)
        return draft.commit(input_key="k", contract_version="", contract_digest="", provenance={})


def request(tables: Mapping[str, Snapshot], number: int = 1, **members: Any) -> ReleaseRequest:
    defaults: dict[str, Any] = {
        "product": "healthcare",
        "environment": "production",
        "classification": "internal",
        "requested_by": "service:scheduler",
        "run_id": "run-1",
        "tables": tables,
        "lineage": [
            {
                "product": "healthcare",
                "dataset": snapshot.dataset,
                "zone": "marts",
                "snapshot_id": snapshot.snapshot_id,
                "content_digest": snapshot.content_digest,
                "contract_version": "",
            }
            for snapshot in tables.values()
        ],
        "contracts": {"patients": read_contract(DOCUMENT, Place("patients"))},
        "plan": PLAN,
        "dbt": dbt_record(*(snapshot.dataset for snapshot in tables.values())),
        "verdicts": {
            f"marts/{snapshot.dataset}": {"dbt": {"passed": True, "detail": {}}}
            for snapshot in tables.values()
        },
        "code_version": "1",
        "base": None,
        "number": number,
        "audit_checkpoint": "origin\n1\nroot\n",
    }
    return ReleaseRequest(**(defaults | members))


def build(home: Home, number: int = 1, **frames: pl.DataFrame) -> Release:
    tables = {name: commit(home, name, frame) for name, frame in frames.items()}
    return build_release(request(tables, number), home.store, home.keys, home.audit, home.releases)

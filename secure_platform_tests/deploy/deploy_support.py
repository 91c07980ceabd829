"""A home with real keys, log and store, releases of made-up tables in it, and a target to deploy them to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from secure_platform import canonical
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase
from secure_platform.deploy.duckdb_target import DuckDBTarget
from secure_platform.deploy.production import Production
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing
from secure_platform.release.package import ReleaseRequest, build_release
from secure_platform.release.verify import VerifiedRelease, verified
from secure_platform.store.snapshot import Zone
from secure_platform.store.snapshots import SnapshotStore

CANARY = "canary-7f3a91"
DEPLOYER = "service:deployer"

DIGEST = f"sha256:{'0' * 64}"


@dataclass(frozen=True)
class Home:
    root: Path
    keys: KeyRing
    audit: AuditLog
    store: SnapshotStore

    @property
    def target(self) -> DuckDBTarget:
        return DuckDBTarget(self.root / "warehouse", self.root / "tmp", self.keys, self.audit)

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse/healthcare"

    def digest(self, number: int) -> str:
        """Of the release that was built with this number."""
        return canonical.sha256((self.root / f"releases/healthcare/{number}/manifest.json").read_bytes())

    def release(self, number: int, **frames: pl.DataFrame) -> str:
        """Build a release of these tables, or of made-up ones, and return its digest."""
        tables = {}
        for name, frame in (frames or made_up(number)).items():
            with self.store.draft("healthcare", name, Zone.MARTS, actor=DEPLOYER) as draft:
                draft.write(frame.lazy())
                tables[name] = draft.commit(
                    input_key="k", contract_version="", contract_digest="", provenance={}
                )
        lineage = [
            {
                "product": "healthcare",
                "dataset": name,
                "zone": "marts",
                "snapshot_id": snapshot.snapshot_id,
                "content_digest": snapshot.content_digest,
                "contract_version": "",
            }
            for name, snapshot in tables.items()
        ]
        request = ReleaseRequest(
            product="healthcare",
            environment="production",
            classification="internal",
            requested_by="service:scheduler",
            run_id="run-1",
            tables=tables,
            lineage=lineage,
            contracts={},
            plan={"profile": "hipaa_safe_harbor", "datasets": {}},
            dbt={
                "project": DIGEST,
                "vars": {},
                "macros": {},
                "models": {f"model.p.{name}": {"sql": DIGEST, "compiled": DIGEST} for name in tables},
                "tests": {},
            },
            verdicts={f"marts/{name}": {"dbt": {"passed": True, "detail": {}}} for name in tables},
            code_version="1",
            base=None,
            number=number,
            audit_checkpoint="origin\n1\nroot\n",
        )
        return build_release(request, self.store, self.keys, self.audit, self.root / "releases").digest

    @contextmanager
    def verified(self, number: int) -> Iterator[VerifiedRelease]:
        directory = self.root / "releases/healthcare" / str(number)
        with verified(directory, self.keys, self.root / "tmp") as release:
            yield release

    def publish(self, number: int, base: str | None) -> Production:
        with self.verified(number) as release:
            return self.target.publish(release, expected_base=base, actor=DEPLOYER)

    def rollback(self, number: int, base: str | None) -> Production:
        with self.verified(number) as release:
            return self.target.rollback("healthcare", release, expected_base=base, actor=DEPLOYER)


def made_up(number: int) -> Mapping[str, pl.DataFrame]:
    patients = pl.DataFrame({"token": [f"{CANARY}-{row}" for row in range(10 + number)]})
    return {"patients": patients, "counts": pl.DataFrame({"release": [number], "rows": [10 + number]})}


def open_home(root: Path) -> Home:
    database = ControlDatabase.at(root / "control.db")
    opened = HomeKeys(LocalKeyProvider.open(root / "keys"), database, root / "audit.db")
    keys, audit = opened.ring, opened.audit
    return Home(root, keys, audit, SnapshotStore(root / "lake", root / "tmp", keys, audit))


def new_home(root: Path) -> Home:
    root.mkdir(mode=0o700)
    database = ControlDatabase.at(root / "control.db")
    database.migrate()
    provider = LocalKeyProvider.create(root / "keys")
    HomeKeys(provider, database, root / "audit.db").ring.initialise()
    database.close()
    return open_home(root)

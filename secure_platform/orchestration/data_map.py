"""Where the data of a product go, how they are protected at each place, and which key opens them there.

The map is drawn from the contracts, the plan, the verdicts that the steps require and the catalogue of keys.
A test compares it with a home after the main job: every file is at a place of the map and protected as the
map says, and every effect in the audit log is one of its flows or somebody's decision.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from secure_platform.access.resources import Action
from secure_platform.contract.product import Product
from secure_platform.keys.catalog import (
    ALGORITHMS,
    CELL,
    DATA,
    DIGEST,
    LOG,
    MAC,
    PURPOSES,
    SIGN,
    SUBJECT,
    TOKEN,
    kind_of,
    name_of_domain,
)
from secure_platform.monitor.chain import ACTION as METRICS
from secure_platform.orchestration.steps.marts import VERDICTS as MART_VERDICTS
from secure_platform.orchestration.steps.protect import VERDICTS as PROTECTED_VERDICTS
from secure_platform.orchestration.steps.protect import output_classification
from secure_platform.orchestration.steps.pull import VERDICTS as RAW_VERDICTS
from secure_platform.protect.persons import PERSONS
from secure_platform.protect.plan import Plan


class Content(StrEnum):
    """What can be read by whoever opens a place."""

    ORIGINAL = "original values"
    PROTECTED = "protected values"
    RECORDS = "records without values of the data"
    KEYS = "keys and tokens"


class AtRest(StrEnum):
    """How the bytes of a place lie on the disk."""

    OUTSIDE = "outside the platform"
    PARQUET = "Parquet, encrypted (AES-256-GCM, a key per snapshot or release)"
    DUCKDB = "DuckDB, encrypted (AES-256-GCM, a key per file)"
    SEALED = "sealed (AES-256-GCM under a key derived from `data`)"
    OWNER_ONLY = "readable by the owner only, not encrypted"


@dataclass(frozen=True)
class Place:
    """Somewhere data or what is said about it lies.

    Attributes:
        files: Patterns relative to the home; empty outside it and for what lives only during a step.
        classification: Highest label of the values in it; None where there are none.
        integrity: What shows that it was changed.
        keys: Of the key ring, used to open or to check it.
    """

    name: str
    files: tuple[str, ...]
    content: Content
    classification: str | None
    at_rest: AtRest
    integrity: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """A step that moves data from one place to another.

    Attributes:
        demands: What must hold of the input, or the step refuses.
        permission: What the policy is asked.
        records: Actions in the audit log, each as intent and outcome.
    """

    source: str
    target: str
    step: str
    demands: tuple[str, ...]
    permission: Action
    records: tuple[str, ...]


@dataclass(frozen=True)
class Custody:
    """A key of the ring and who holds it."""

    key: str
    algorithm: str
    purpose: str


@dataclass(frozen=True)
class DataMap:
    """The map of one product."""

    product: str
    places: tuple[Place, ...]
    flows: tuple[Flow, ...]
    keys: tuple[Custody, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "product": self.product,
            "places": [_members(place) for place in self.places],
            "flows": [_members(flow) for flow in self.flows],
            "keys": [_members(custody) for custody in self.keys],
        }

    def tables(self) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
        """Title, columns and rows of the tables that people read."""
        places = [
            (p.name, p.content, p.classification or "", p.at_rest, p.integrity, ", ".join(p.keys))
            for p in self.places
        ]
        flows = [
            (f.step, f"{f.source} → {f.target}", ", ".join(f.demands), f.permission, ", ".join(f.records))
            for f in self.flows
        ]
        keys = [(custody.key, custody.algorithm, custody.purpose) for custody in self.keys]
        return [
            ("Flows", ("step", "moves", "demands of its input", "permission", "audit records"), flows),
            ("Places", ("place", "holds", "up to", "at rest", "a change shows by", "keys"), places),
            ("Keys, wrapped by the key provider", ("key", "algorithm", "what it does"), keys),
        ]

    def flow_chart(self) -> str:
        """Mermaid: who moves data where; what is encrypted lies inside the boundary."""
        return "\n".join(_flow_chart(self))

    def key_chart(self) -> str:
        """Mermaid: what wraps each key, and where each key is used."""
        return "\n".join(_key_chart(self))


_SNAPSHOT: Final = ("snapshot.write", "snapshot.head", METRICS)
_LINE: Final = (
    Flow("source", "raw", "pull", (), Action.BUILD, _SNAPSHOT),
    Flow("raw", "protected", "protect", RAW_VERDICTS, Action.BUILD, _SNAPSHOT),
    Flow("protected", "build", "load", PROTECTED_VERDICTS, Action.BUILD, ()),
    Flow("build", "marts", "dbt", (), Action.BUILD, _SNAPSHOT),
    Flow("marts", "release", "package", MART_VERDICTS, Action.BUILD, ("release.create", "release.register")),
    Flow(
        "release",
        "production",
        "deploy",
        ("signature", "digests", "approvals of this digest on this base"),
        Action.RELEASE_DEPLOY,
        ("deploy.publish", "deploy.settle", "release.deployed", METRICS),
    ),
    Flow(
        "release",
        "production",
        "rollback",
        ("signature", "digests", "the release before the present one"),
        Action.RELEASE_ROLLBACK,
        ("deploy.rollback", "release.rolled_back"),
    ),
    Flow("production", "reader", "query", (), Action.PRODUCTION_QUERY, ("query.run",)),
    Flow("release", "revealed", "reveal", ("a purpose", "a rate"), Action.DATA_REVEAL, ("data.reveal",)),
)


_TOLD: Final = Flow(
    "protected",
    "marts",
    "aggregate",
    (*PROTECTED_VERDICTS, "a budget"),
    Action.BUILD,
    ("privacy.spend", *_SNAPSHOT),
)


def data_map(product: Product, plan: Plan) -> DataMap:
    """Draw the map of a product under its plan."""
    keys = tuple(Custody(name, algorithm, PURPOSES[name]) for name, algorithm in ALGORITHMS.items())
    flows = (*_LINE, _TOLD) if product.aggregates else _LINE
    return DataMap(product.name, tuple(_places(product, plan)), flows, keys)


def _places(product: Product, plan: Plan) -> Iterator[Place]:
    originals = max(column.classification for c in product.contracts.values() for column in c.columns)
    kinds = {kind_of(name_of_domain(name)) for name in plan.token_versions} & {CELL}
    if any(
        PERSONS in c.params for each in plan.datasets.values() for one in each.outputs for c in one.every()
    ):
        kinds.add(SUBJECT)
    made_by = (TOKEN, *sorted(kinds))
    yield from _values(product.name, originals.label, output_classification(plan).label, made_by)
    yield from _records(product.name)


def _values(product: str, original: str, protected: str, made_by: Sequence[str]) -> Iterator[Place]:
    outside, lake = "not ours to show", "its sidecar's MAC"

    def zone(name: str, content: Content, label: str, *keys: str) -> Place:
        files = tuple(f"lake/{product}/{name}/*/*/{file}.parquet" for file in ("data", "quarantine"))
        return Place(name, files, content, label, AtRest.PARQUET, lake, (DATA, *keys, DIGEST))

    sources = (f"sources/{product}/*",)
    yield Place("source", sources, Content.ORIGINAL, original, AtRest.OUTSIDE, outside, ())
    yield zone("raw", Content.ORIGINAL, original)
    yield zone("protected", Content.PROTECTED, protected, *made_by)
    temporary = "gone when the step ends"
    yield Place("build", (), Content.PROTECTED, protected, AtRest.DUCKDB, temporary, ())
    yield zone("marts", Content.PROTECTED, protected)
    payload = (f"releases/{product}/*/payload/*.parquet",)
    signed = "the digest in the signed manifest"
    yield Place(
        "release", payload, Content.PROTECTED, protected, AtRest.PARQUET, signed, (DATA, SIGN, DIGEST)
    )
    database = (f"warehouse/{product}/*.duckdb",)
    pointed = "the digest in the signed pointer"
    yield Place("production", database, Content.PROTECTED, protected, AtRest.DUCKDB, pointed, (DATA, DIGEST))
    yield Place("reader", (), Content.PROTECTED, protected, AtRest.OUTSIDE, outside, ())
    yield Place("revealed", (), Content.ORIGINAL, original, AtRest.OUTSIDE, outside, ())


def _records(product: str) -> Iterator[Place]:
    def place(
        name: str, files: Sequence[str], integrity: str, *keys: str, content: Content = Content.RECORDS
    ) -> Place:
        return Place(name, tuple(files), content, None, AtRest.OWNER_ONLY, integrity, keys)

    lake = f"lake/{product}/*/*"
    yield place("sidecars", (f"{lake}/*/sidecar.json", f"{lake}/HEAD"), "a MAC", MAC)
    release = f"releases/{product}/*"
    yield place("manifests", (f"{release}/manifest.json", f"{release}.attestations/*"), "a signature", SIGN)
    warehouse = f"warehouse/{product}"
    pointers = (f"{warehouse}/CURRENT", f"{warehouse}/history/*.json")
    yield place("pointers", pointers, "a signature, a MAC and the audit log", SIGN, MAC)
    yield place("audit log", ("audit.db*",), "a Merkle tree under signed checkpoints", LOG, DIGEST)
    approvals = "signed approvals; what they allow is computed each time"
    yield place("control database", ("control.db*",), approvals, SIGN, MAC)
    yield place("trust root", ("releases/trust-root.json",), "a signature", SIGN)
    yield place("key folder", ("keys/*",), "keys open only what they wrapped", content=Content.KEYS)
    sealed, newest = ("secrets/*.sealed",), "its authentication tag, the audit log names the newest"
    yield Place("secrets", sealed, Content.KEYS, None, AtRest.SEALED, newest, (DATA,))
    yield place("tombstones", ("erasures/*.json",), "a MAC", MAC, DATA)
    yield place("Dagster", ("dagster/**",), "decides nothing")
    yield place("lineage", ("lineage/**",), "decides nothing")
    yield place("counts", ("telemetry/**",), "a MAC; counted anew where it does not fit the log", MAC)
    yield place("dbt", ("dbt/**",), "made again when it does not fit")
    locks = (
        ".*lock",
        "secrets/.lock",
        ".initialised",
        "erasures/.lock",
        "tmp/claims.lock",
        "releases/**.lock",
        "warehouse/**.lock",
    )
    yield place("locks", locks, "empty")


_MOVED: Final[Mapping[Content, str]] = {Content.ORIGINAL: "original", Content.PROTECTED: "protected"}


def _flow_chart(drawn: DataMap) -> Iterator[str]:
    moved = [place for place in drawn.places if place.content in _MOVED]
    yield "flowchart LR"
    yield from (f"  {_node(place)}" for place in moved if place.at_rest is AtRest.OUTSIDE)
    yield "  subgraph boundary [encrypted at rest]"
    yield from (f"    {_node(place)}" for place in moved if place.at_rest is not AtRest.OUTSIDE)
    yield "  end"
    yield from (f"  {flow.source} -->|{flow.step}| {flow.target}" for flow in drawn.flows)
    yield "  classDef original fill:#f8d7da,stroke:#842029,color:#000"
    yield "  classDef protected fill:#d1e7dd,stroke:#0f5132,color:#000"


def _node(place: Place) -> str:
    return f'{place.name}["{place.name}<br/>up to {place.classification}"]:::{_MOVED[place.content]}'


def _key_chart(drawn: DataMap) -> Iterator[str]:
    yield "flowchart LR"
    yield '  provider[("key provider")]'
    for custody in drawn.keys:
        yield f'  provider -->|wraps| key_{custody.key}["{custody.key}<br/>{custody.algorithm}"]'
        users = (place.name for place in drawn.places if custody.key in place.keys)
        yield from (f'  key_{custody.key} --> {name.replace(" ", "_")}["{name}"]' for name in users)


def _members(part: Place | Flow | Custody) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(part).items()}

"""The manifest is the release: its SHA-256 names the release, and everything else is derived from its bytes.

Canonical JSON, read strictly: an unknown, missing or mistyped member is refused, and so is a manifest that
contradicts itself. It holds names, counts, types, digests, decisions, and the contracts and the plan that
they were made under, never a value of the data.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.protect.plan import mixed_domains

MANIFEST: Final = "manifest.json"
FORMAT: Final = "secure-platform/release/v1"
MAX_BYTES: Final = 16 << 20
_FIX: Final = "Do not use this release: restore it from a copy, or build it again."

Name = Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_]{0,62}\z")]
Sha256 = Annotated[str, StringConstraints(pattern=r"\Asha256:[0-9a-f]{64}\z")]
KeyedDigest = Annotated[str, StringConstraints(pattern=r"\Ahmac-sha256:[1-9][0-9]{0,8}:[0-9a-f]{64}\z")]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Column(_Part):
    """A column of a released table; `type` is the Polars type's name."""

    name: str
    type: str


class Source(_Part):
    """The snapshot that a table was packed from."""

    dataset: Name
    zone: str
    snapshot_id: str


class Table(_Part):
    """A released table: `rows` rows, `bytes` encrypted bytes, keyed digest of the logical content."""

    columns: list[Column]
    rows: Count
    bytes: Count
    content_digest: KeyedDigest
    file_digest: Sha256
    source: Source


class Ancestor(_Part):
    """A snapshot of any zone that the release comes from."""

    product: Name
    dataset: Name
    zone: str
    snapshot_id: str
    content_digest: KeyedDigest
    contract_version: str


class Verdict(_Part):
    """A stage's recorded judgement of one snapshot."""

    passed: bool
    detail: dict[str, Any]


class ContractRecord(_Part):
    """The whole contract that a dataset was checked against, and the SHA-256 of its canonical JSON."""

    version: str
    digest: Sha256
    document: dict[str, Any]


class PlanRecord(_Part):
    """The whole protection plan, which says the version of each token key, and its SHA-256."""

    digest: Sha256
    document: dict[str, Any]


class DbtModel(_Part):
    """SHA-256 of a model's SQL, as written and as it ran."""

    sql: Sha256
    compiled: Sha256


class DbtTest(DbtModel):
    """How a test judged: its severity, and SHA-256 of its arguments and of what it counts as a failure."""

    severity: Literal["error", "warn"]
    arguments: Sha256
    conditions: Sha256


class DbtRecord(_Part):
    """What the tables were made and judged by; `models` and `tests` are named as dbt names them."""

    project: Sha256
    vars: dict[str, Any]
    macros: dict[str, Sha256]
    models: dict[str, DbtModel]
    tests: dict[str, DbtTest]


class AggregateRecord(_Part):
    """A table of numbers with noise: what it tells of whom, and what it spends."""

    name: Name
    description: str
    source: Name
    group_by: list[dict[str, Any]]
    contribution: dict[str, Count]
    measures: list[dict[str, Any]]
    epsilon: float | None
    rho: float | None
    delta: float


class BudgetRecord(_Part):
    """What may be told of people in a period, by all aggregates of the product together."""

    epsilon: float
    delta: float
    period: str
    composition: str


class AggregatesRecord(_Part):
    """All that is told in numbers with noise."""

    budget: BudgetRecord
    aggregates: list[AggregateRecord]


class Manifest(_Part):
    """What a release holds, where it comes from, and what was decided about it.

    `verdicts` holds, for `<zone>/<dataset>` of every snapshot in the lineage, what each stage decided.
    """

    format: Literal["secure-platform/release/v1"]
    product: Name
    number: Annotated[int, Field(ge=1)]
    environment: str
    profile: str
    classification: str
    requested_by: str
    run_id: str
    code_version: str
    created_at: str
    base: Sha256 | None
    payload_key: str
    checkpoint: Sha256
    tables: Annotated[dict[Name, Table], Field(min_length=1)]
    lineage: list[Ancestor]
    contracts: dict[str, ContractRecord]
    plan: PlanRecord
    dbt: DbtRecord
    verdicts: dict[str, dict[str, Verdict]]
    aggregates: AggregatesRecord | None = None
    shared_domains: dict[str, Annotated[list[Name], Field(min_length=1)]] | None = None


def read_manifest(document: bytes) -> Manifest:
    """Read a manifest strictly and check that it does not contradict itself.

    Raises:
        IntegrityError: If it is not a manifest in canonical form, or its parts do not fit together.
    """
    content = canonical.loads(document, name="The manifest")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        places = sorted({".".join(map(str, problem["loc"])) for problem in error.errors()})
        raise IntegrityError(
            f"The manifest is malformed at {', '.join(places[:5]) or 'its root'}", _FIX
        ) from None
    if canonical.dumps(content) != document:
        raise IntegrityError("The manifest is not in canonical form", _FIX)
    if canonical.sha256(canonical.dumps(manifest.plan.document)) != manifest.plan.digest:
        raise IntegrityError("The manifest's protection plan does not have the digest it states", _FIX)
    _check_tokens(manifest)
    _check_contracts(manifest)
    _check_sources(manifest)
    _check_verdicts(manifest)
    _check_dbt(manifest)
    return manifest


def _check_tokens(manifest: Manifest) -> None:
    try:
        mixed = mixed_domains(manifest.plan.document["datasets"].values())
    except (KeyError, TypeError, AttributeError):
        raise IntegrityError("The manifest's protection plan is malformed", _FIX) from None
    if mixed:
        raise IntegrityError(f"The manifest's tokens of {', '.join(mixed)} have two key versions", _FIX)


def _check_contracts(manifest: Manifest) -> None:
    for name, contract in manifest.contracts.items():
        stated = (contract.digest, contract.version)
        if (canonical.sha256(canonical.dumps(contract.document)), contract.document.get("version")) != stated:
            raise IntegrityError(f"The manifest's contract of {name} is not the one it states", _FIX)


def _check_sources(manifest: Manifest) -> None:
    ancestors = {
        (snapshot.product, snapshot.dataset, snapshot.zone, snapshot.snapshot_id): snapshot.content_digest
        for snapshot in manifest.lineage
    }
    for name, table in manifest.tables.items():
        source = (manifest.product, table.source.dataset, table.source.zone, table.source.snapshot_id)
        if ancestors.get(source) != table.content_digest:
            raise IntegrityError(f"Table {name} of the manifest differs from its source snapshot", _FIX)


def _check_verdicts(manifest: Manifest) -> None:
    for snapshot in manifest.lineage:
        name = f"{snapshot.zone}/{snapshot.dataset}"
        stages = manifest.verdicts.get(name, {})
        if not stages or not all(verdict.passed for verdict in stages.values()):
            raise IntegrityError(f"The manifest has no verdicts of {name}, or a failed one", _FIX)


def _check_dbt(manifest: Manifest) -> None:
    """What made and judged a released table is on record."""
    models = {name.rpartition(".")[2] for name in manifest.dbt.models}
    declared = {each.name: each for each in manifest.aggregates.aggregates} if manifest.aggregates else {}
    for name, table in manifest.tables.items():
        verdicts = manifest.verdicts[f"{table.source.zone}/{table.source.dataset}"]
        if table.source.dataset in declared:
            _check_spent(name, declared[table.source.dataset], verdicts.get("budget"))
            continue
        judged = verdicts.get("dbt")
        tests = judged.detail.get("tests", {}) if judged else {}
        if table.source.dataset not in models or not manifest.dbt.tests.keys() >= set(tests):
            raise IntegrityError(f"The manifest does not say which SQL and tests made table {name}", _FIX)


def _check_spent(table: str, declared: AggregateRecord, budget: Verdict | None) -> None:
    """A table of numbers with noise spent what it declares; of epsilon and rho one follows from the other."""
    if budget is None:
        raise IntegrityError(f"The manifest does not say what table {table} spent", _FIX)
    stated = {"epsilon": declared.epsilon, "delta": declared.delta}
    if declared.rho is not None:
        stated["rho"] = declared.rho
    if any(
        budget.detail.get(name) != (None if number is None else str(number))
        for name, number in stated.items()
    ):
        raise IntegrityError(f"Table {table} of the manifest spent something else than it declares", _FIX)

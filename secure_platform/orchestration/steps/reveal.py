"""Recovers original values: for a purpose, allowed by the policy, a limited number, on record.

The caller names a release, whose signed plan says which key made a column, in which version. The policy
decides by the classification of the original values. The record says who asked, for what purpose, which
column and how many; it contains no cell and no value.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import polars as pl

from secure_platform.access.allowance import Allowance, Limits
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, ProductResource
from secure_platform.contract.load import read_contract
from secure_platform.contract.place import Place
from secure_platform.errors import UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.notify.spans import About, begun
from secure_platform.orchestration.steps.deploy import signed_package, verified_package
from secure_platform.orchestration.steps.erase import still_there
from secure_platform.orchestration.steps.originals import valid_rows
from secure_platform.orchestration.steps.query import with_purpose
from secure_platform.orchestration.steps.search import numbered
from secure_platform.protect.plan import Plan
from secure_platform.protect.reveal import CELL, VALUE, Made, made_by, released_cells, told
from secure_platform.release.verify import SignedManifest, scan_table
from secure_platform.services import Services
from secure_platform.store import parquet
from secure_platform.store.snapshot import Zone
from secure_platform.taxonomy.classification import Classification
from secure_platform.validate.rules import cast_typed

AUDITED: Final = "data.reveal"


@dataclass(frozen=True)
class Asked:
    """What is to be revealed.

    Attributes:
        table: A table of the release, or a dataset that it was made of.
        release: Its number; None for the one in production.
        cells: The cells to look up; None for the table's whole column.
    """

    product: str
    table: str
    column: str
    release: int | None = None
    purpose: str | None = None
    cells: Sequence[str] | None = None


@dataclass(frozen=True)
class Revealed:
    """What was revealed.

    Attributes:
        place: `dataset.column` whose plan made the cells.
        frame: `cell` and `value`, each cell once; the value of a token that no row was made into is null.
    """

    release: int
    place: str
    frame: pl.DataFrame

    @property
    def unknown(self) -> int:
        """The number of cells whose value nobody knows any more."""
        return self.frame[VALUE].null_count()


def reveal(services: Services, asked: Asked, caller: Principal) -> Revealed:
    """Recover the original values behind cells.

    Raises:
        AccessDeniedError: If the policy does not let the caller, or they revealed too much within an hour.
        UsageError: If there is no such column, or nobody could undo what was done to it.
        IntegrityError: If a cell is not what the release's plan made, or its key may not be used any more.
    """
    with begun(services.traces, "reveal", About(services.product(asked.product).name)):
        return _reveal(services, asked, caller)


def _reveal(services: Services, asked: Asked, caller: Principal) -> Revealed:
    product = services.product(asked.product)
    asking = with_purpose(caller, asked.purpose)
    _require_any(services, asking, product.name)
    record = _record(services, asked)
    signed = signed_package(services, record)
    plan = Plan.from_json(signed.contents.plan.document)
    released = _released(signed, asked)
    dataset, name = _origin(services, signed, plan, asked, released)
    made = made_by(plan.datasets, dataset, name)
    environment, classification = services.settings.environment, int(made.column.input_classification)
    resource = ProductResource(product.name, environment, classification)
    services.policy.require(asking, Action.DATA_REVEAL, resource)
    cells = _cells(services, record, asked, released, made)
    with allowance(services).spend(
        caller.name,
        len(cells),
        subject=f"{product.name}/{dataset}.{name}",
        detail={"purpose": asked.purpose, "release": record.digest, "transform": made.transform},
    ) as outcome:
        with parquet.value_free("reveal cells"):
            frame = told(made, cells, lambda: _rows(services, signed, dataset), services.keys)
        revealed = Revealed(record.number, f"{dataset}.{name}", frame)
        outcome |= {"revealed": frame.height - revealed.unknown, "unknown": revealed.unknown}
    return revealed


def allowance(services: Services) -> Allowance:
    """How much everybody may reveal."""
    limits = services.settings.reveal
    most = Limits(limits.calls_per_hour, limits.values_per_hour)
    return Allowance(services.audit, AUDITED, most, services.keys.identifiers)


def _require_any(services: Services, asking: Principal, product: str) -> None:
    """Refuse callers who may reveal nothing of a product, before they learn what it contains."""
    environment = services.settings.environment
    asked = [ProductResource(product, environment, int(classification)) for classification in Classification]
    if not any(services.policy.evaluate(asking, Action.DATA_REVEAL, each).allowed for each in asked):
        services.policy.require(asking, Action.DATA_REVEAL, asked[-1])


def _record(services: Services, asked: Asked) -> ReleaseRecord:
    if asked.release is not None:
        return numbered(services, asked.product, asked.release)
    base = services.target.base(asked.product)
    if base is None:
        raise UsageError(f"Nothing of {asked.product} is in production", "Name a release: --release NUMBER.")
    return services.gate.get(base)


def _released(signed: SignedManifest, asked: Asked) -> str | None:
    """The column of a released table that is asked about, or holds the value that is; None without one."""
    table = signed.contents.tables.get(asked.table)
    names = {each.name for each in table.columns} if table else set()
    inside = [name for name in names if asked.column.startswith(f"{name}.")]
    return asked.column if asked.column in names else max(inside, key=len, default=None)


def _origin(
    services: Services, signed: SignedManifest, plan: Plan, asked: Asked, column: str | None
) -> tuple[str, str]:
    """The column of the plan that a released one comes from, traced through the SQL, with the path in it."""
    made_of = {(each.zone, each.dataset): each.snapshot_id for each in signed.contents.lineage}
    released = signed.contents.tables.get(asked.table)
    if released is None or column is None:
        return asked.table, asked.column
    table, inside = released.source.dataset, asked.column.removeprefix(column)
    while (str(Zone.MARTS), table) in made_of:
        snapshot = still_there(services, asked.product, table, Zone.MARTS, made_of[str(Zone.MARTS), table])
        sources = snapshot.provenance["column_lineage"].get(column, [])
        if len(sources) != 1:
            raise UsageError(
                f"{asked.table}.{asked.column} does not come from one column alone",
                f"Name the column that its values come from: secure-platform plan {asked.product}.",
            )
        (table, column) = sources[0]
        if table in plan.datasets:
            break
    return table, column + inside


def _cells(
    services: Services, record: ReleaseRecord, asked: Asked, column: str | None, made: Made
) -> pl.Series:
    """Each cell once."""
    if asked.cells is not None:
        return pl.Series(asked.cells, dtype=pl.String).unique(maintain_order=True)
    with ExitStack() as stack:
        release = stack.enter_context(verified_package(services, record))
        if column is None:
            raise UsageError(
                f"Release {record.number} of {asked.product} has no table {asked.table}",
                "Give the cells of a dataset in a file or on standard input: --values.",
            )
        frame = released_cells(scan_table(release, asked.table, services.keys), column, made)
        stack.enter_context(parquet.value_free("read a released column"))
        # One more than may be revealed is enough to refuse them all.
        some = frame.unique().head(services.settings.reveal.values_per_hour + 1)
        return some.collect()[CELL].cast(pl.String).sort()


def _rows(services: Services, signed: SignedManifest, dataset: str) -> pl.LazyFrame:
    """The typed rows that a dataset of the release was made of."""
    raw = next(
        each for each in signed.contents.lineage if (each.zone, each.dataset) == (str(Zone.RAW), dataset)
    )
    snapshot = still_there(services, raw.product, raw.dataset, Zone.RAW, raw.snapshot_id)
    contract = read_contract(signed.contents.contracts[dataset].document, Place(dataset))
    return cast_typed(contract, valid_rows(services.store, snapshot))

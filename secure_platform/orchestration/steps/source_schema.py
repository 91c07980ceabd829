"""A source is inspected before it is pulled: a changed column is reported before a pull fails because of it.

Only the header is read, or the schema of a Parquet file. Names that no contract has are keyed: what a file's
header contains is not ours to keep. What was reported stays the reference until the source is as before, or a
person has settled the incident; the new columns are then the usual ones.
"""

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from secure_platform import canonical
from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product
from secure_platform.control.database import utc_now
from secure_platform.errors import SecurePlatformError
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import Severity, Sighting
from secure_platform.monitor.shape import Change, SchemaChange, schema_changes
from secure_platform.services import Services
from secure_platform.source.dataset import TEXT, is_source_place, open_source
from secure_platform.store.snapshot import Zone

CHECK: Final = "source_schema"
ZONE: Final = "source"
"""In the metrics history: what the sources looked like."""
UNREADABLE: Final = "unreadable"
"""In place of a schema, with the day: that it could not be read then is no news, some other day it is."""
_LABEL: Final = 16
_STATES: Final[Mapping[Change, Severity | None]] = {"breaking": "fail", "narrowing": "warn", "additive": None}


@dataclass(frozen=True)
class Look:
    """What one look at the source of a dataset found.

    Attributes:
        schema: Names the columns and types that it has and what they came after, the same for the same; or
            that it is unreadable.
        state: None if the next pull will not fail for it.
        notes: What changed, in words.
    """

    dataset: str
    schema: str
    state: Severity | None
    notes: tuple[str, ...]


def look_at_sources(services: Services, product: Product) -> list[Look]:
    """Look at every source of a product and let the incidents take in what was found.

    A product whose sources are named with each run has no place to look at.
    """
    if not is_source_place(services.settings.source_directory(product.name)) and (
        product.name not in services.settings.sources
    ):
        return []
    settled = services.incidents.feedback(product.name)
    accepted = {snapshot for snapshot, check in settled.wrong | settled.right if check == CHECK}
    looks = [_look(services, product, contract, accepted) for contract in product.contracts.values()]
    services.incidents.report(
        product.name,
        [
            Sighting(str(Zone.RAW), look.dataset, CHECK, look.schema, look.state, metrics=look.notes)
            for look in looks
        ],
    )
    return looks


def _look(services: Services, product: Product, contract: Contract, accepted: set[str]) -> Look:
    try:
        place = services.settings.source_directory(product.name)
        source = open_source(place, contract)
    except SecurePlatformError as error:
        # The failure to look is told: the next pull will fail as well.
        return Look(contract.dataset, f"{UNREADABLE}/{utc_now().date()}", "fail", (error.culprit,))
    names = {name: _named(services, contract, name) for name in source.header}
    columns = {names[name]: source.types.get(name, TEXT) for name in source.header}
    services.metrics.require_whole(product.name, contract.dataset, ZONE)
    schema = _identity(services, product, contract, columns)
    usual = _usual(services, product, contract)
    changes = [*_against_contract(contract, columns), *_against_usual(contract, usual, columns)]
    notes = tuple(_note(each) for each in changes if _STATES[each.change] is not None)
    states = {_STATES[each.change] for each in changes}
    state: Severity | None = "fail" if "fail" in states else "warn" if "warn" in states else None
    if usual != columns and (state is None or schema in accepted):
        services.metrics.add(_record(services, product, contract, columns))
    return Look(contract.dataset, schema, state, notes)


def _identity(services: Services, product: Product, contract: Contract, columns: Mapping[str, str]) -> str:
    """Names the columns, and what they came after: what returns after it was settled is told again."""
    seen = services.metrics.before(product.name, contract.dataset, ZONE, limit=2)
    others = [each.snapshot_id for each in seen if each.columns != columns]
    told = canonical.dumps([contract.dataset, columns, *others[-1:]])
    return canonical.sha256(told).removeprefix("sha256:")[:32]


def _usual(services: Services, product: Product, contract: Contract) -> Mapping[str, str]:
    """The columns that were seen last, else those of the newest raw snapshot."""
    before = services.metrics.before(product.name, contract.dataset, ZONE, limit=1)
    if before:
        return before[-1].columns
    head = services.store.head(product.name, contract.dataset, Zone.RAW)
    return {_named(services, contract, name): TEXT for name in head.columns} if head else {}


def _against_contract(contract: Contract, columns: Mapping[str, str]) -> Iterator[SchemaChange]:
    declared = {column.name for column in contract.columns}
    for name in sorted(declared - columns.keys()):
        yield SchemaChange(name, "breaking", TEXT, None)
    change: Change = "breaking" if contract.extra_columns == "refuse" else "additive"
    for name in sorted(columns.keys() - declared):
        yield SchemaChange(name, change, None, columns[name])


def _against_usual(
    contract: Contract, usual: Mapping[str, str], columns: Mapping[str, str]
) -> Iterator[SchemaChange]:
    """Types of the contract's columns; text may be anything, so a type after it, or before, is no change."""
    both = {
        column.name
        for column in contract.columns
        if TEXT not in {usual.get(column.name, TEXT), columns.get(column.name, TEXT)}
    }
    yield from schema_changes({name: usual[name] for name in both}, {name: columns[name] for name in both})


def _named(services: Services, contract: Contract, name: str) -> str:
    if name in {column.name for column in contract.columns}:
        return name
    key = services.keys.digest_key("monitor")
    digest = hmac.digest(key.key, f"{contract.dataset}\0{name}".encode(), "sha256")
    return f"*{key.version}:{digest.hex()[:_LABEL]}"


def _note(each: SchemaChange) -> str:
    what = "an unknown column" if each.column.startswith("*") else each.column
    return f"{what}: {each.change}, {each.before or 'not there'} → {each.after or 'gone'}"


def _record(services: Services, product: Product, contract: Contract, columns: Mapping[str, str]) -> Record:
    """Each look that changed something has a record of its own, named after the one before it."""
    before = [
        each.snapshot_id for each in services.metrics.before(product.name, contract.dataset, ZONE, limit=1)
    ]
    name = canonical.dumps([product.name, contract.dataset, ZONE, *before, dict(columns)])
    return Record(
        product.name,
        contract.dataset,
        ZONE,
        canonical.sha256(name).removeprefix("sha256:")[:32],
        numbers={},
        columns=columns,
    )

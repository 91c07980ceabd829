"""A raw snapshot is read by later steps only if it passed, and without the lines that validation refused."""

from collections.abc import Iterable

import polars as pl

from secure_platform.contract.product import Product
from secure_platform.orchestration.steps.context import StepContext, require_contract
from secure_platform.orchestration.steps.pull import VERDICTS
from secure_platform.source.csv import LINE
from secure_platform.store.snapshot import Snapshot, Zone, require_verdicts
from secure_platform.store.snapshots import SnapshotStore
from secure_platform.validate.rules import cast_typed


def raw_snapshots(context: StepContext, datasets: Iterable[str]) -> dict[str, Snapshot]:
    """The raw snapshot of each of these datasets, by dataset.

    Raises:
        IntegrityError: If one is not what was written.
        DataRefusedError: If one is missing, was refused or is of another version of its contract.
    """
    raws = {name: context.input(Zone.RAW, name) for name in datasets}
    for name, raw in raws.items():
        require_verdicts(raw, VERDICTS)
        require_contract(raw, context.product.contracts[name])
    return raws


def related(product: Product, dataset: str) -> list[str]:
    """The dataset and every dataset it refers to, directly or through others; sorted."""
    found, waiting = {dataset}, [dataset]
    while waiting:
        new = set(product.contracts[waiting.pop()].parents) - found
        found |= new
        waiting.extend(new)
    return sorted(found)


def valid_rows(store: SnapshotStore, raw: Snapshot) -> pl.LazyFrame:
    """The raw text without the lines that validation set aside."""
    text = store.scan(raw)
    quarantine = store.quarantine(raw)
    if quarantine is None:
        return text
    return text.join(quarantine.select(LINE).unique(), on=LINE, how="anti", maintain_order="left")


def typed_rows(context: StepContext, raw: Snapshot) -> pl.LazyFrame:
    """The valid rows of a raw snapshot, in the types of its contract."""
    return cast_typed(context.product.contracts[raw.dataset], valid_rows(context.services.store, raw))

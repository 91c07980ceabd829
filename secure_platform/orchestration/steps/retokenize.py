"""After a token key was rotated, production is rebuilt from the raw snapshots that it was made from.

No source is read, and originals stay inside the run as in every build. The resulting release waits at the
gate like any other; until it is deployed, production has the old tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from secure_platform.contract.product import Product
from secure_platform.errors import GateRefusedError
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.protect.again import moved, require_one_to_one, unmoved
from secure_platform.protect.plan import DatasetPlan, Plan
from secure_platform.release.verify import SignedManifest
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

VERDICT = "retokenized"


@dataclass(frozen=True)
class Carrier:
    """A product whose production has tokens of a domain.

    Attributes:
        version: Of the key that they were made with.
        current: The version that new ones are made with.
    """

    product: str
    domain: str
    version: int
    current: int

    @property
    def outdated(self) -> bool:
        """Whether a rotation has not reached production yet."""
        return self.version != self.current


def released(services: Services, product: Product) -> SignedManifest:
    """The signed manifest of the release in production.

    Raises:
        GateRefusedError: If nothing is.
        IntegrityError: If it is not what was signed.
    """
    digest = services.target.base(product.name)
    if digest is None:
        raise GateRefusedError(
            f"Nothing of {product.name} is in production, so none of its tokens is in use",
            f"Build it: secure-platform run {product.name}.",
        )
    return signed_package(services, services.gate.get(digest))


def carriers(services: Services, domain: str | None = None) -> Iterator[Carrier]:
    """Every product in production with tokens of this domain, or of any.

    Raises:
        IntegrityError: If a release in production is not what was signed.
    """
    for product in services.products.values():
        if services.target.base(product.name) is None:
            continue
        plan = released(services, product).contents.plan.document
        for name, version in sorted(plan["token_versions"].items()):
            if domain in {None, name}:
                yield Carrier(product.name, name, version, services.keys.token_version(name))


def proof(context: StepContext, plan: DatasetPlan, output: pl.LazyFrame) -> dict[str, Any]:
    """Counts that show that old and new tokens of a dataset stand for the same values.

    Args:
        context: Names the release that is made anew.
        plan: Of the dataset, now.
        output: The protected frame as it was written.

    Raises:
        DataRefusedError: If they do not.
        IntegrityError: If the snapshot that was released is not what was written.
    """
    snapshot_id = context.released(Zone.PROTECTED, plan.dataset)
    if context.again is None or snapshot_id is None:
        return {}
    store, product = context.services.store, context.product.name
    was = Plan.from_json(context.again.contents.plan.document).datasets[plan.dataset]
    before = store.load(product, plan.dataset, Zone.PROTECTED, snapshot_id)
    columns = moved(was, plan)
    distinct = require_one_to_one(plan.dataset, store.scan(before), output, columns, unmoved(was, plan))
    return {
        each.column: {
            "domain": each.domain,
            "from": each.old,
            "to": each.new,
            "distinct": distinct.get(each.column),
        }
        for each in columns
    }

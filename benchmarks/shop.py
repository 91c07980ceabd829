"""A home and a product over the made-up orders, opened as the platform's own commands open theirs."""

import shutil
from datetime import date
from pathlib import Path
from typing import Final

from secure_platform import canonical
from secure_platform.contract.product import COMPONENT, Product, load_product
from secure_platform.homes import initialise
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.plan import DatasetPlan
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.store.draft import Draft
from secure_platform.store.snapshot import Snapshot

PRODUCT: Final = "shop"
DATASET: Final = "orders"
CONTRACT: Final = Path(__file__).with_name("orders.odcs.yaml")
DEFINITION: Final = f"""\
type: {COMPONENT}
attributes:
  name: {{product}}
  owner: team:benchmarks
  description: Data of a benchmark.
  profile: gdpr_pseudonymous
  models: [none]
"""


def shop(folder: Path) -> tuple[Services, Product]:
    """The home below a folder, initialised if it is not there yet, and the product of the orders."""
    return made(folder, PRODUCT, CONTRACT)


def made(folder: Path, name: str, contract: Path) -> tuple[Services, Product]:
    """The home below a folder, initialised if it is not there yet, and its product of one contract."""
    settings = load_settings(home=folder / "home")
    initialise(settings)
    product = folder / "defs" / name
    if not product.exists():
        (product / "contracts").mkdir(parents=True)
        (product / "defs.yaml").write_text(DEFINITION.format(product=name), encoding="utf-8")
        shutil.copy(contract, product / "contracts")
    return Services(settings), load_product(product)


def orders_plan(services: Services, product: Product) -> DatasetPlan:
    """What happens to each column of the orders."""
    return compile_plan(product, services.keys.token_version, date(2026, 1, 1)).datasets[DATASET]


def commit(draft: Draft) -> Snapshot:
    """Publish a draft."""
    digest = canonical.sha256(b"benchmark")
    return draft.commit(input_key=digest, contract_version="1.0.0", contract_digest=digest, provenance={})

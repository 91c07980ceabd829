"""What a product was: its plans and contracts of today, and those that its releases were signed with.

Each signed manifest is verified once, and held by the digest that its release is registered with: what is
found there is the same, whatever becomes of the files.
"""

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from secure_platform.contract.load import read_contract
from secure_platform.contract.place import Place
from secure_platform.contract.product import Product
from secure_platform.errors import (
    ContractError,
    GateRefusedError,
    IntegrityError,
    PlanRefusedError,
    UsageError,
)
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.protect.plan import Plan
from secure_platform.release.manifest import Manifest
from secure_platform.services import Services

UNTOLD_BY: Final = (UsageError, ContractError, PlanRefusedError, GateRefusedError, IntegrityError)
"""What is raised where the plans of a product are not there, or are not what was signed."""


class Plans:
    """The plans and contracts of products and their releases."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._signed: dict[str, Manifest] = {}
        self._versions: dict[str, list[Product]] = {}

    def anew(self) -> "Plans":
        """As they are now, with releases that were made since; what was verified is not verified again."""
        plans = Plans(self._services)
        plans._signed = self._signed
        return plans

    def of(self, product: Product) -> list[Plan]:
        """The present plan of a product, and those of all its releases."""
        released = [self.released(record) for record in self._services.gate.list(product.name)]
        return [current_plan(product, self._services.keys), *released]

    def released(self, record: ReleaseRecord) -> Plan:
        """The plan that a release was signed with.

        Raises:
            IntegrityError: If the manifest is not what was signed.
            GateRefusedError: If it is another package than the one that is registered.
        """
        return Plan.from_json(self._manifest(record).plan.document)

    def versions(self, product: Product) -> list[Product]:
        """The product as it is, and with the contracts of each of its releases that had others.

        What a release has that this version of the platform does not understand is left out, so that
        nothing of it is known.

        Raises:
            IntegrityError, GateRefusedError: As `released`.
        """
        if product.name not in self._versions:
            found = {_contracts_of(product): product}
            for record in self._services.gate.list(product.name):
                earlier = _as_released(product, self._manifest(record))
                if earlier is not None:
                    found.setdefault(_contracts_of(earlier), earlier)
            self._versions[product.name] = list(found.values())
        return self._versions[product.name]

    def _manifest(self, record: ReleaseRecord) -> Manifest:
        known = self._signed.get(record.digest)
        if known is None:
            known = self._signed[record.digest] = signed_package(self._services, record).contents
        return known


def _as_released(product: Product, manifest: Manifest) -> Product | None:
    try:
        contracts = {
            name: read_contract(record.document, Place(name)) for name, record in manifest.contracts.items()
        }
    except ContractError:
        return None
    return replace(product, contracts=MappingProxyType(contracts))


def _contracts_of(product: Product) -> frozenset[str]:
    return frozenset(contract.digest for contract in product.contracts.values())

"""A data product is one folder: `defs.yaml` and one contract per dataset, whose references all resolve.

A foreign key points at a key of the same type, shares its token domain and is classified at least as high,
because it holds the same values. Datasets are ordered so that each comes after those it points at.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from secure_platform import canonical
from secure_platform.access.windows import read_window
from secure_platform.contract.aggregates import Aggregates, read_aggregates
from secure_platform.contract.checked import checked
from secure_platform.contract.cron import wrong_field
from secure_platform.contract.load import SUFFIX, load_contract, load_document
from secure_platform.contract.model import Column, Contract, Reference, Role
from secure_platform.contract.names import Name
from secure_platform.contract.place import Place, shown, suggestion
from secure_platform.contract.terms import OWNER
from secure_platform.errors import UsageError

DEFINITION: Final = "defs.yaml"
CONTRACTS: Final = "contracts"
COMPONENT: Final = "secure_platform.orchestration.component.DataProduct"


def _schedule(value: str | None) -> str | None:
    wrong = None if value is None else wrong_field(value)
    if wrong:
        message = f"the schedule has a wrong {wrong}"
        raise ValueError(message)
    return value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        message = "a name appears twice"
        raise ValueError(message)
    return values


def _windows(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            read_window(value)
        except UsageError as error:
            raise ValueError(error.fix.removesuffix(".")) from None
    return values


class ProductAttributes(BaseModel):
    """What `defs.yaml` says about a product.

    Attributes:
        owner: `team:<name>` or an e-mail address.
        profile: Protection profile.
        schedule: Cron schedule in UTC of the product's build; None builds by hand only.
        models: The marts that a release contains.
        freshness_hours: Age at which the production tables count as stale.
        purposes: What production may be read for; nothing confidential is read for another purpose.
        deploy_windows: When releases may go live, `Mon-Fri 08:00-17:00 Europe/Berlin`; empty for always.
        maintenance_windows: When incidents wait to be told, unless they are about security or production.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Name
    owner: Annotated[str, Field(pattern=f"^(?:{OWNER.pattern})$")]
    description: Annotated[str, Field(min_length=1)]
    profile: Name
    schedule: Annotated[str | None, AfterValidator(_schedule)] = None
    models: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_distinct)]
    target: Literal["duckdb"] = "duckdb"
    freshness_hours: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    purposes: Annotated[tuple[Name, ...], AfterValidator(_distinct)] = ()
    deploy_windows: Annotated[tuple[str, ...], AfterValidator(_windows)] = ()
    maintenance_windows: Annotated[tuple[str, ...], AfterValidator(_windows)] = ()


@dataclass(frozen=True)
class Product:
    """A product with its contracts.

    Attributes:
        contracts: By dataset, in an order in which every dataset comes after those it points at.
        models: The tables of a release: dbt's models, then the aggregates.
        digest: `sha256:<hex>` over the attributes, the contracts' digests and the aggregates.
        aggregates: What it tells in numbers with noise, and its budget for that.
    """

    name: str
    owner: str
    description: str
    profile: str
    schedule: str | None
    contracts: Mapping[str, Contract] = field(hash=False)
    models: tuple[str, ...]
    target: Literal["duckdb"]
    freshness_hours: float | None
    purposes: tuple[str, ...]
    deploy_windows: tuple[str, ...]
    maintenance_windows: tuple[str, ...]
    directory: Path
    digest: str
    aggregates: Aggregates | None = None

    @property
    def aggregate_names(self) -> tuple[str, ...]:
        """Those of its tables that no dbt model makes."""
        return tuple(self.aggregates.by_name) if self.aggregates else ()

    @property
    def approver_levels(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """First and second level of who approves its releases; empty for every data steward."""
        return approver_levels(role for contract in self.contracts.values() for role in contract.roles)


def approver_levels(roles: Iterable[Role]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """First and second level of all roles together: a release is one decision, whatever it is made of."""
    named = list(roles)
    first = {group for role in named for group in role.first_level}
    second = {group for role in named for group in role.second_level}
    return tuple(sorted(first)), tuple(sorted(second))


def load_products(defs: Path) -> Mapping[str, Product]:
    """Every product below a folder, by name, in order of name.

    Folders whose `defs.yaml` defines another component are not ours, unless they hold contracts.

    Raises:
        ContractError: If a product is refused, two have one name, or contracts have no product.
    """
    products: dict[str, Product] = {}
    if not defs.is_dir():
        raise Place.of(defs).refusal("is not a folder", "Name the folder that holds the products.")
    for directory in sorted(
        {path.parent for path in defs.rglob(DEFINITION) if _is_ours(path)} | _owners(defs)
    ):
        product = load_product(directory)
        if product.name in products:
            raise Place.of(directory / DEFINITION).refusal(
                f"the product {shown(product.name)} is defined twice", "Rename or remove one of the two."
            )
        products[product.name] = product
    return MappingProxyType(dict(sorted(products.items())))


def load_product(directory: Path) -> Product:
    """Read a product's folder.

    Raises:
        ContractError: If `defs.yaml` or any contract is refused.
    """
    path = directory / DEFINITION
    place = Place.of(path)
    document = load_document(path)
    for key in document:
        if key not in ("type", "attributes"):
            raise place.refusal(f"has the unknown key {shown(key)}", suggestion(key, ("type", "attributes")))
    if document.get("type") != COMPONENT:
        raise place.refusal("defines another type of component", f"Write `type: {COMPONENT}`.")
    known = ProductAttributes.model_fields
    attributes = checked(ProductAttributes, document.get("attributes"), place, known)
    return product_from_attributes(directory, attributes)


def product_from_attributes(directory: Path, attributes: ProductAttributes) -> Product:
    """Build a product from checked attributes and the contracts in `directory/contracts`.

    Raises:
        ContractError: If a contract is refused or a reference does not resolve.
    """
    contracts = {contract.dataset: contract for contract in map(load_contract, _contract_files(directory))}
    for contract in contracts.values():
        for column in contract.columns:
            if column.reference is not None:
                place = _place(directory, contract.dataset).at(f"column {column.name}")
                _check_reference(column, column.reference, contracts, place)
    ordered = _ordered(contracts, directory)
    stated = attributes.model_dump()
    aggregates = read_aggregates(directory, {*contracts, *attributes.models})
    if aggregates is not None:
        stated["models"] = (*attributes.models, *aggregates.by_name)
    digests = {name: contract.digest for name, contract in contracts.items()}
    said = {"attributes": attributes.model_dump(mode="json"), "contracts": digests}
    if aggregates is not None:
        said["aggregates"] = aggregates.model_dump(mode="json")
    return Product(
        **stated,
        contracts=MappingProxyType(ordered),
        directory=directory,
        digest=canonical.sha256(canonical.dumps(said)),
        aggregates=aggregates,
    )


def _owners(defs: Path) -> set[Path]:
    return {path.parent.parent for path in defs.rglob(f"{CONTRACTS}/*{SUFFIX}")}


def _is_ours(definition: Path) -> bool:
    """Whether the document speaks of our component; one that does not may be in a YAML we would refuse."""
    return COMPONENT.encode() in definition.read_bytes()


def _place(directory: Path, dataset: str) -> Place:
    return Place.of(directory / CONTRACTS / f"{dataset}{SUFFIX}")


def _contract_files(directory: Path) -> list[Path]:
    folder = directory / CONTRACTS
    files = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
    for path in files:
        if path.is_dir() or (
            re.search(r"\.ya?ml$", path.name, re.IGNORECASE) and not path.name.endswith(SUFFIX)
        ):
            raise Place.of(path).refusal("is not a contract", f"Name it <dataset>{SUFFIX}, or move it away.")
    contracts = [path for path in files if path.name.endswith(SUFFIX)]
    if not contracts:
        raise Place.of(folder).refusal("holds no contract", f"Add one <dataset>{SUFFIX} per dataset.")
    return contracts


def _check_reference(
    column: Column, reference: Reference, contracts: Mapping[str, Contract], place: Place
) -> None:
    target = contracts.get(reference.dataset)
    if target is None:
        raise place.refusal(
            f"points at the unknown dataset {shown(reference.dataset)}",
            suggestion(reference.dataset, contracts),
        )
    names = [candidate.name for candidate in target.columns]
    if reference.column not in names:
        raise place.refusal(
            f"points at the unknown column {shown(reference.column)} of {target.dataset}",
            suggestion(reference.column, names),
        )
    key = target.column(reference.column)
    if key is column:
        raise place.refusal("points at itself", "Remove the relationship.")
    _check_agreement(column, key, target, place)


def _check_agreement(column: Column, key: Column, target: Contract, place: Place) -> None:
    named = f"{target.dataset}.{key.name}"
    if not target.is_key(key):
        raise place.refusal(
            f"points at {named}, which is not a key", "Make that column `unique` or the only primary key."
        )
    if column.logical_type != key.logical_type:
        raise place.refusal(
            f"is {column.logical_type}, but {named} is {key.logical_type}", "Give both the same logicalType."
        )
    if column.token_domain is not None and column.token_domain != key.token_domain:
        raise place.refusal(
            f"has another token domain than {named}", "Write the key's `tokenDomain`, or leave it out."
        )
    if column.classification < key.classification:
        raise place.refusal(
            f"is classified below {named}, whose values it holds", f"Classify it {key.classification.label}."
        )


def _ordered(contracts: Mapping[str, Contract], directory: Path) -> dict[str, Contract]:
    """Referenced before referencing; alphabetical where either order would do."""
    sorter = TopologicalSorter({name: contract.parents for name, contract in contracts.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        raise _place(directory, min(names)).refusal(
            f"the references form a circle: {' → '.join(reversed(names))}",
            "Remove one of these relationships.",
        ) from None
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return {name: contracts[name] for name in order}

"""Products that name one token domain have the same tokens: who builds one can guess those of the others.

That is what a domain is for, and nothing that a key could prevent: whoever has values made into tokens learns
which token is whose. So everybody who decides on a release is told who else makes these tokens.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from secure_platform.contract.product import Product
from secure_platform.keys.catalog import CELL
from secure_platform.protect.plan import Plan

SHARED: Final = "the same tokens as"
"""Marks a sentence about a domain of several products."""
FIRST: Final = "for the first time"
"""Marks one about what was not so before."""


def shared_domains(plan: Plan, products: Iterable[Product]) -> dict[str, list[str]]:
    """The token domains of a plan that other products name in their contracts, with their names."""
    found: dict[str, list[str]] = {domain: [] for domain in sorted(map(_named, plan.token_versions))}
    for other in products:
        if other.name != plan.product:
            for domain in _declared(other) & found.keys():
                found[domain].append(other.name)
    return {domain: sorted(names) for domain, names in found.items() if names}


def told_domains(
    product: str, old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """A sentence about every domain that is shared, those of new ones marked.

    Args:
        product: Whose plan it is.
        old: As `shared_domains` found them before.
        new: As it finds them now.
    """
    for domain, names in new.items():
        first = "" if set(names) <= set(old.get(domain, ())) else f" {FIRST}"
        yield (
            f"Token domain {domain}: {product} has {SHARED} {', '.join(names)}{first}. Who builds one "
            "of them can find out by guessing which value a token of another stands for."
        )


def _named(domain: str) -> str:
    """The domain that a contract names, of that of a key; a column's own has a dot, and nobody names it."""
    return domain.removeprefix(f"{CELL}/").rpartition(":")[2]


def _declared(product: Product) -> set[str]:
    return {
        each.token_domain
        for contract in product.contracts.values()
        for column in contract.columns
        for each in column.every()
        if each.token_domain is not None
    }

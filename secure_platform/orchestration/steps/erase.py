"""Who asks to be erased is erased from everything that is kept, as far as no legal hold is on it.

First all is read that will be, and nothing is changed: what refuses, refuses then. Then the person's key
goes, and with it every cell under it, wherever it lies. Then what carries their tokens: marts and protected
snapshots, packages and databases that are not in production; then what is stored of their values, and last
the raw rows, which tell what the tokens are, children before parents. Older snapshots are deleted, the newest
is rewritten without the rows. What is in production, or waits for approval, stays and is named: a new release
takes its place, and the same call said again finishes. So it does after it died: nothing is lost by doing any
of it twice.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from secure_platform import canonical
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action
from secure_platform.contract.product import Product
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.orchestration.steps import stored_tokens
from secure_platform.orchestration.steps.erasing import Work
from secure_platform.orchestration.steps.plans import Plans
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.orchestration.steps.raw_rows import untold
from secure_platform.orchestration.steps.searchable import REWRITTEN
from secure_platform.orchestration.steps.tombstone import UNTOLD, Tombstone, Tombstones
from secure_platform.protect.person import identifier_of, subject_roots
from secure_platform.services import Services
from secure_platform.store.snapshot import Snapshot, Zone

AUDITED: Final = "subject.erase"


def erase(
    services: Services, product: str, person: str, caller: Principal, *, domain: str | None = None
) -> Tombstone:
    """Erase a person from a product, and from all others that know them by the same domain.

    Args:
        services: The rooms.
        product: Name of one of the products.
        person: Their identifier, as it is in the data.
        caller: Who erases.
        domain: The token domain of the persons; None where the product has only one.

    Raises:
        AccessDeniedError: If the policy does not let the caller, in any of the products.
        UsageError: If the product names no persons, the identifier is no value of their type, or something
            that stands for one could not be found.
        IntegrityError: If anything that is kept is not what was written; nothing is changed then.
        GateRefusedError: If a package is another one than is registered; nothing is changed then. If a hold
            was set meanwhile; nothing is deleted any more then.
    """
    plans = Plans(services)
    known, products = concerned(services, plans, product, domain)
    for each in products:
        services.policy.require(caller, Action.SUBJECT_ERASE, product_resource(services, each))
    person = identifier(services, known, person)
    identities = identities_of(services, known, person)
    tombstones = Tombstones(services.settings.home, services.keys)
    detail = {"person": identities[0], "products": [each.name for each in products]}
    with (
        services.holds.erasing(),
        services.audit.effect(AUDITED, actor=caller.name, subject=known, detail=detail) as outcome,
    ):
        names = [each.name for each in products]
        tombstone = tombstones.find(identities) or Tombstone(identities[0], known, names)
        tombstone.products = names
        save = partial(tombstones.save, tombstone)
        _carry_out(services, plans.anew(), products, person, caller, tombstone, save, identities)
        outcome |= {
            "complete": tombstone.complete,
            "tombstone": canonical.sha256(canonical.dumps(tombstone.to_json())),
            **{
                name: len(getattr(tombstone, name))
                for name in ("shredded", "deleted", REWRITTEN, "held", "standing")
            },
        }
    return tombstone


def concerned(
    services: Services, plans: Plans, product: str, domain: str | None
) -> tuple[str, list[Product]]:
    """The domain of the persons of a product, and every product that knows them by it, or did in a release.

    Args:
        services: The rooms.
        plans: And contracts, of all products.
        product: Its name.
        domain: Which of several; None where there is only one.

    Raises:
        UsageError: If there is no such product, or not exactly one domain is meant.
        IntegrityError: If a release is not what was signed.
        GateRefusedError: If it is another one than is registered.
    """
    known = domain_of_persons(services, product, domain)
    return known, [
        each
        for each in services.products.values()
        if any(known in subject_roots(version) for version in plans.versions(each))
    ]


def domain_of_persons(services: Services, product: str, domain: str | None) -> str:
    """The domain by which a product knows its persons.

    Args:
        services: The rooms.
        product: Its name.
        domain: Which of several; None where there is only one.

    Raises:
        UsageError: If there is no such product, or not exactly one domain is meant.
    """
    roots = subject_roots(services.product(product))
    named = {domain} & roots.keys() if domain is not None else set(roots)
    if len(named) != 1:
        raise UsageError(
            f"{product} names persons in {', '.join(sorted(roots)) or 'no domain'}",
            "Mark the column that names them with `subjectId: true`, or name one domain: --domain.",
        )
    (known,) = named
    return known


def identifier(services: Services, domain: str, given: str) -> str:
    """A person's identifier in the spelling by which it is compared.

    Args:
        services: The rooms.
        domain: Of the persons.
        given: As it is in the data.

    Raises:
        UsageError: If it is a value of no type that names one.
    """
    roots = (
        each.contracts[dataset].column(name)
        for each in services.products.values()
        for dataset, name in subject_roots(each).get(domain, ())
    )
    return identifier_of(roots, given)


def identities_of(services: Services, domain: str, person: str) -> list[str]:
    """Every keyed hash that may stand for a person in the audit log, the present one first."""
    return services.keys.identifiers(f"person {domain} {person}")


def still_there(services: Services, product: str, dataset: str, zone: Zone, snapshot_id: str) -> Snapshot:
    """A snapshot that something was made of, or what stands in its place since somebody was erased from it.

    Raises:
        IntegrityError: If neither is there.
    """
    try:
        return services.store.load(product, dataset, zone, snapshot_id)
    except IntegrityError:
        for each in services.store.stored(product, zone):
            if each.dataset == dataset and snapshot_id in each.provenance.get(REWRITTEN, ()):
                return each
        raise


def _carry_out(
    services: Services,
    plans: Plans,
    products: Sequence[Product],
    person: str,
    caller: Principal,
    tombstone: Tombstone,
    save: Callable[[], None],
    identities: Sequence[str],
) -> None:
    holds = services.holds.all()
    held = {each.name: services.holds.on(each.name, identities) for each in products}
    free = [each for each in products if not held[each.name]]
    require_unchanged = partial(services.holds.require_unchanged, holds)
    works = [
        Work(services, each, person, caller.name, tombstone, save, plans, require_unchanged) for each in free
    ]
    known = {work.product.name: work.look() for work in works}
    kept = stored_tokens.held_of(services, [each.name for each in products], identities, plans)
    for work in works:
        work.survey(known, kept)
    left = list(untold(services, plans, [each.name for each in products], person))
    held |= {each.product: services.holds.on(each.product, identities) for each in left}
    tombstone.held = [f"{hold.product}: {hold.matter}" for each in held.values() for hold in each]
    tombstone.standing, tombstone.ended_at = [f"{each.title}{UNTOLD}" for each in left], None
    require_unchanged()
    save()
    if not tombstone.held:
        services.keys.destroy_subject_key(tombstone.domain, person, actor=caller.name)
        tombstone.shredded = sorted(
            {*tombstone.shredded, *(name for work in works for name in work.shredded())}
        )
        save()
    for work in works:
        work.forget(known, kept)
    if not tombstone.held and not tombstone.standing:
        tombstone.ended_at = datetime.now(UTC).isoformat(timespec="seconds")
        tombstone.cells, tombstone.tokens = set(), set()
    save()

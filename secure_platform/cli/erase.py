"""`erase` and `hold`: a person's data are erased, unless a legal hold keeps them.

Who the person is comes from a file, standard input or a prompt.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console

from secure_platform.access.holds import Hold
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.cli.access import open_services
from secure_platform.cli.confidential import nothing_else, read_text
from secure_platform.cli.group import Group
from secure_platform.cli.output import example, heading, json_option, line, show, table
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.erase import concerned, domain_of_persons, identifier, identities_of
from secure_platform.orchestration.steps.erase import erase as erase_person
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.orchestration.steps.plans import Plans
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.orchestration.steps.tombstone import Tombstone
from secure_platform.services import Services

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
LARGEST: Final = 1024
_LISTED: Final = {
    "shredded": "Unreadable wherever it lies, for the key is destroyed",
    "rewritten": "Rewritten without the person",
    "deleted": "Deleted",
    "held": "On legal hold",
    "standing": "Still there",
    "counted": "Counts and means of eleven rows or more remain in the metrics history of",
}


def _person_options(decorated: Decorated) -> Decorated:
    """`--subject` and `--domain`; whatever else is given may be a name, and is not repeated."""
    subject = click.option(
        "--subject",
        type=click.Path(path_type=Path),
        help="File with the person's identifier in one line; - for standard input.",
    )
    domain = click.option("--domain", help="Token domain of the persons, where the product has several.")
    given = nothing_else("Who it is is not given in the command line", "Give it in a file: --subject.")
    return given(subject(domain(decorated)))


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=example(
        "--token-file petra.token erase healthcare --subject who.txt --yes",
        "--token-file petra.token erase healthcare --json",
    ),
)
@click.argument("product")
@_person_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def erase(product: str, subject: Path | None, domain: str | None, *, yes: bool, as_json: bool) -> None:
    """Erase a person from PRODUCT, and from every product that knows them by the same token domain.

    Their key is destroyed, and their rows and tokens are deleted or rewritten; what is on legal hold stays.
    What is in production is replaced by the next release: run the command again then, and it finishes. What
    shows no longer whose it is, because its contract or plan is gone, is deleted whole or named. It exits 0
    either way.
    """
    person = _person(subject)
    services = open_services()
    known, products = concerned(services, Plans(services), product, domain)
    names = ", ".join(each.name for each in products)
    if not yes:
        click.confirm(f"Erase this person of {known} from {names}, for good?", abort=True, err=True)
    tombstone = erase_person(services, product, person, services.caller(), domain=known)
    data = {**tombstone.to_json(), "complete": tombstone.complete}
    show(data, as_json=as_json, render=lambda out: _render(out, tombstone))


@click.group(
    cls=Group, epilog=example("hold list", "--token-file petra.token hold set healthcare 24-cv-0117")
)
def hold() -> None:
    """Set, lift and list legal holds: what is on hold is not erased."""


@hold.command(
    "set",
    context_settings={"ignore_unknown_options": True},
    epilog=example(
        "--token-file petra.token hold set healthcare 24-cv-0117",
        "--token-file petra.token hold set healthcare 24-cv-0117 --subject who.txt",
    ),
)
@click.argument("product")
@click.argument("matter")
@_person_options
@json_option
def hold_set(product: str, matter: str, subject: Path | None, domain: str | None, *, as_json: bool) -> None:
    """Put PRODUCT, or one person's data in it, on legal hold for a MATTER.

    MATTER is the number of the legal matter. An erasure that is running stops before the next thing that it
    would delete; this command ends when it has stopped.
    """
    services = open_services()
    resource = product_resource(services, services.product(product))
    identities = _identities(services, product, subject, domain)
    made = services.holds.set(services.caller(), resource, matter, identities[0] if identities else None)
    show(asdict(made), as_json=as_json, render=lambda out: line(out, f"{_title(made)} is on hold."))


@hold.command(
    "lift",
    context_settings={"ignore_unknown_options": True},
    epilog=example("--token-file petra.token hold lift healthcare 24-cv-0117"),
)
@click.argument("product")
@click.argument("matter")
@_person_options
@json_option
def hold_lift(product: str, matter: str, subject: Path | None, domain: str | None, *, as_json: bool) -> None:
    """End a legal hold.

    Run `erase` again for what the hold kept from being erased.
    """
    services = open_services()
    resource = named_resource(services, product)
    identities = _identities(services, product, subject, domain, lenient=True)
    lifted = services.holds.lift(services.caller(), resource, matter, identities)

    def render(out: Console) -> None:
        for each in lifted:
            line(out, f"{_title(each)} is not on hold for {matter} any more.")

    show([asdict(each) for each in lifted], as_json=as_json, render=render)


@hold.command("list", epilog=example("--token-file petra.token hold list", "hold list --json"))
@json_option
def hold_list(*, as_json: bool) -> None:
    """List what is on hold."""
    services = open_services()
    services.policy.require(services.caller(), Action.AUDIT_READ, PlatformResource())
    held = services.holds.all()

    def render(out: Console) -> None:
        rows = [(each.product, each.matter, each.person or "everybody") for each in held]
        table(out, ("product", "matter", "person"), rows)
        if not rows:
            line(out, "Nothing is on hold.")

    show([asdict(each) for each in held], as_json=as_json, render=render)


def _identities(
    services: Services, product: str, subject: Path | None, domain: str | None, *, lenient: bool = False
) -> list[str]:
    """Every keyed hash that may stand for a person; leniently, also one that was not asked for its type."""
    if subject is None:
        return []
    known, given = domain_of_persons(services, product, domain), _person(subject)
    try:
        return identities_of(services, known, identifier(services, known, given))
    except UsageError:
        if not lenient:
            raise
        return identities_of(services, known, given)


def _person(path: Path | None) -> str:
    """The identifier, exactly as it is in the data."""
    if path is None:
        if not sys.stdin.isatty():
            raise UsageError(
                "There is no terminal to ask for the identifier", "Give it in a file: --subject."
            )
        asked: str = click.prompt(
            "Identifier of the person", hide_input=True, confirmation_prompt=True, err=True
        )
        return asked
    nobody = UsageError("That is not the identifier of one person", "Give one line.")
    name_one, give_text = "Name a file with one line.", "Give the identifier as text."
    lines = read_text(path, LARGEST, too_much=nobody, name_one=name_one, give_text=give_text).splitlines()
    if len(lines) != 1 or not lines[0]:
        raise nobody
    return lines[0]


def _title(each: Hold) -> str:
    return f"{each.product}, {each.person or 'everybody'},"


def _render(out: Console, tombstone: Tombstone) -> None:
    line(out, f"{tombstone.person} of {tombstone.domain}, in {', '.join(tombstone.products)}")
    for name, title in _LISTED.items():
        listed: list[str] = getattr(tombstone, name)
        if listed:
            heading(out, f"{title}:")
        for each in listed:
            line(out, f"  {each}")
    if not any(getattr(tombstone, name) for name in _LISTED if name != "shredded"):
        line(out, "Nothing of them was found: compare the identifier with the source, letter for letter.")
    if not tombstone.complete:
        line(
            out,
            "Not all is gone: release what replaces it, put back the contract or product that is gone,"
            " or have the hold lifted, and say it again.",
        )


COMMANDS: Final = {"erase": erase, "hold": hold}

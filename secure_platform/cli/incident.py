"""`incident`: what is wrong with the products, and what people decided about it."""

from dataclasses import asdict
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.resources import Action
from secure_platform.cli.access import open_services
from secure_platform.cli.group import Group
from secure_platform.cli.output import brief, example, heading, json_option, line, show, table
from secure_platform.monitor.deeds import PLATFORM
from secure_platform.monitor.incident import Incident, timeline
from secure_platform.monitor.incidents import Verb
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.services import Services

COLUMNS: Final = ("id", "product", "kind", "state", "severity", "since (UTC)", "blocks", "signals")
_ID: Final = 8


@click.group(cls=Group, epilog=example("--token-file me.token incident list"))
def incident() -> None:
    """List incidents, and acknowledge, resolve or call them a false alarm."""


@incident.command(
    "list", epilog=example("--token-file me.token incident list sales", "incident list --all --json")
)
@click.argument("product", required=False)
@click.option("--all", "everything", is_flag=True, help="Include settled incidents.")
@json_option
def incident_list(product: str | None, *, everything: bool, as_json: bool) -> None:
    """List open incidents of PRODUCT, or of every product you may see, newest first."""
    services = open_services()
    found = [each for each in _readable(services, product) if everything or each.unsettled]

    def render(out: Console) -> None:
        table(out, COLUMNS, [_row(each) for each in found])
        if not found:
            line(out, "No incident.")

    show([_data(each) for each in found], as_json=as_json, render=render)


@incident.command("show", epilog=example("--token-file me.token incident show 3f9c"))
@click.argument("incident_id")
@json_option
def incident_show(incident_id: str, *, as_json: bool) -> None:
    """Show one incident: its signals, and what happened when.

    INCIDENT_ID may be the beginning of its id.
    """
    services = open_services()
    found = services.incidents.get(incident_id)
    _require(services, Action.INCIDENT_READ, found.product)
    show(_data(found), as_json=as_json, render=lambda out: _render(out, found))


def _command(verb: Verb, text: str, reason: str) -> click.Command:
    @click.command(
        verb, help=text, epilog=example(f'--token-file me.token incident {verb} 3f9c --reason "{reason}"')
    )
    @click.argument("incident_id")
    @click.option("--reason", required=True, help="What you found; kept encrypted.")
    @json_option
    def settle(incident_id: str, reason: str, *, as_json: bool) -> None:
        services = open_services()
        found = services.incidents.get(incident_id)
        resource = named_resource(services, found.product)
        settled = services.incidents.settle(services.caller(), resource, found, verb, note=reason)
        said = f"The incident {settled.incident_id[:_ID]} of {settled.product} is {_words(settled.state)}."
        show(_data(settled), as_json=as_json, render=lambda out: line(out, said))

    return settle


incident.add_command(
    _command(
        "acknowledge",
        "Acknowledge an incident: somebody is looking after it.\n\n"
        "Deployments go on, and the monitor learns nothing from what was wrong.",
        "the source was cut off, reported to its owner",
    )
)
incident.add_command(
    _command(
        "resolve",
        "Resolve an incident: it is over.\n\nThe monitor learns nothing from what was wrong.",
        "loaded again",
    )
)
incident.add_command(
    _command(
        "false-alarm",
        "Call an incident a false alarm: the data were right.\n\n"
        "The monitor learns from them, and does not report again what is no further off.",
        "campaign of November",
    )
)


def _readable(services: Services, product: str | None) -> list[Incident]:
    """The incidents of a product, or of every one that the caller may look at, newest first."""
    if product is not None:
        services.product(product)
        _require(services, Action.INCIDENT_READ, product)
        return services.incidents.all(product)[::-1]
    incidents = services.incidents.all()
    names = {each.product for each in incidents}
    allowed = {name for name in names if _may_read(services, name)}
    others = services.products.keys() - names
    if not allowed and not any(_may_read(services, name) for name in sorted(others)):
        # Who may see nothing is not told that nothing is wrong.
        _require(services, Action.INCIDENT_READ, min(names | others, default=PLATFORM))
    return [each for each in reversed(incidents) if each.product in allowed]


def _may_read(services: Services, product: str) -> bool:
    resource = named_resource(services, product)
    return services.policy.evaluate(services.caller(), Action.INCIDENT_READ, resource).allowed


def _require(services: Services, action: Action, product: str) -> None:
    services.policy.require(services.caller(), action, named_resource(services, product))


def _data(each: Incident) -> dict[str, Any]:
    told = [{"at": at, "what": what} for at, what in timeline(each)]
    return {**asdict(each), "timeline": told}


def _row(each: Incident) -> tuple[str, ...]:
    return (
        each.incident_id[:_ID],
        each.product,
        each.kind,
        _words(each.state),
        each.severity,
        f"{each.opened_at:%Y-%m-%d %H:%M}",
        "deployments" if each.blocking and each.state == "open" else "",
        ", ".join(signal.title for signal in each.waiting or each.signals),
    )


def _render(out: Console, each: Incident) -> None:
    heading(out, f"Incident {each.incident_id} of {each.product}: {each.kind}, {each.severity}")
    line(out, f"It is {_words(each.state)}" + ("; deployments wait." if _row(each)[6] else "."))
    if each.release:
        line(out, brief(f"Release {each.release}."))
    rows = [
        (
            signal.title,
            signal.state,
            signal.times,
            ", ".join(signal.metrics),
            signal.recovered_at and "passes again",
        )
        for signal in each.signals
    ]
    table(out, ("signal", "state", "times", "metrics", "now"), rows)
    heading(out, "What happened")
    for at, what in timeline(each):
        line(out, f"{at:%Y-%m-%d %H:%M} {what}")
    if each.note:
        line(out, f"Note: {each.note}")


def _words(state: str) -> str:
    return state.replace("_", " ")


COMMANDS: Final = {"incident": incident}

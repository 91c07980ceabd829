"""`access`: check, explain and try policies; give, lend, take and stop rights for a time."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.expectations import Failure, failures
from secure_platform.access.explain import changed_cells, decisions, replayed, would_help
from secure_platform.access.matrix import Permission, matrix_rows, permission_matrix
from secure_platform.access.policy import Policy, Seen
from secure_platform.access.principals import ANONYMOUS, Principal
from secure_platform.access.resources import Action, PlatformResource, Resource, product_of
from secure_platform.access.rules import POLICIES
from secure_platform.cli.access import open_services
from secure_platform.cli.grants import GRANTING
from secure_platform.cli.group import Group
from secure_platform.cli.output import example, heading, json_option, line, show, table
from secure_platform.control.database import utc_now
from secure_platform.errors import ContractError, UsageError
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import Services

_DECIDED: Final = '"action":"policy.decide"'


@click.group(
    cls=Group,
    epilog=example("access check", "--token-file me.token access explain sam release_approve sales/3"),
)
def access() -> None:
    """Check and explain policies; temporary rights; freezes."""


@access.command(epilog=example("access check", "access check --policies new-policies"))
@click.option(
    "--policies",
    type=click.Path(path_type=Path),
    help="Folder of policies; default the one of the settings.",
)
@json_option
def check(policies: Path | None, *, as_json: bool) -> None:
    """Validate the policies against the schema, and run the cases beside them.

    The cases are the `*.yaml` files in the same folder. Exits 3 if a policy does not fit the schema or a case
    comes out differently.
    """
    services = open_services()
    folder = policies or services.settings.policies
    count, failed = failures(Policy(services.audit), POLICIES)
    policy = Policy(services.audit, folder)
    if folder is not None:
        more, failed_there = failures(policy, folder)
        count, failed = count + more, failed + failed_there
    if failed:
        raise ContractError(_told(failed), "Correct the policies, or the cases.")
    data = {"valid": True, "policies": policy.digest, "cases": count}
    text = f"The policies fit the schema, and {count} cases come out as they should: {policy.digest}"
    show(data, as_json=as_json, render=lambda out: line(out, text))


def _told(failed: list[Failure]) -> str:
    return "; ".join(
        f"{each.file}: {each.case.name}: expected {each.case.expect}, came out"
        f" {'allow' if each.decision.allowed else 'deny'} by {', '.join(each.decision.rules) or 'no rule'}"
        for each in failed
    )


@access.command(
    epilog=example(
        "--token-file me.token access explain sam release_approve healthcare/3",
        "--token-file me.token access explain ana production_query healthcare --purpose research",
    )
)
@click.argument("principal")
@click.argument("action", type=click.Choice([str(action) for action in Action]))
@click.argument("resource")
@click.option("--purpose", help="What they would need the data for.")
@click.option("--mfa", is_flag=True, help="As if they had just proven a second factor on the web page.")
@json_option
def explain(
    principal: str, action: str, resource: str, purpose: str | None, *, mfa: bool, as_json: bool
) -> None:
    """Say whether PRINCIPAL may do ACTION on RESOURCE, why, and what it would need.

    RESOURCE is `platform`, PRODUCT, or PRODUCT/NUMBER for a release.
    """
    services = open_services()
    who = _principal(services, principal)
    come = replace(who.circumstances, purpose=purpose)
    who = replace(who, circumstances=replace(come, channel="web", mfa_at=utc_now()) if mfa else come)
    target, seen = _resource(services, resource)
    asked, now = Action(action), utc_now()
    decision = services.policy.evaluate(who, asked, target, at=now, **seen)
    reason, fix = services.policy.explain(decision)
    product = product_of(target)
    purposes = services.situation.declared(product).purposes if product else frozenset[str]()
    helps = (
        []
        if decision.allowed
        else would_help(services.policy, who, asked, target, purposes=purposes, at=now, seen=seen)
    )
    data: dict[str, Any] = {
        "principal": who.name,
        "action": action,
        "resource": resource,
        "allowed": decision.allowed,
        "rules": list(decision.rules),
        "errors": list(decision.errors),
        "roles": sorted(who.roles),
        "groups": sorted(decision.groups),
        "grants": sorted(decision.grants),
        "behalf": sorted(decision.behalf),
        "fix": None if decision.allowed else fix,
        "would_help": helps,
    }
    show(data, as_json=as_json, render=lambda out: _explained(out, data, reason))


def _explained(out: Console, data: Mapping[str, Any], reason: str) -> None:
    verb = "may" if data["allowed"] else "may not"
    line(out, f"{data['principal']} {verb} do {data['action']} on {data['resource']}: {reason}")
    for what in ("roles", "groups", "grants", "behalf"):
        if data[what]:
            line(out, f"{what.capitalize()}: {', '.join(data[what])}")
    if not data["allowed"]:
        line(out, data["fix"])
    for change in data["would_help"]:
        line(out, f"It would be allowed with {change}.")


def _principal(services: Services, name: str) -> Principal:
    """Somebody, if it is the caller or the caller may see who can do what."""
    caller = services.caller()
    if caller.name != name:
        services.policy.require(caller, Action.ACCESS_READ, PlatformResource())
    if name == ANONYMOUS.name:
        return ANONYMOUS
    found = services.principals.get(name)
    if found is None:
        raise UsageError(f"There is no principal {name}", "See: secure-platform principal list")
    return found


def _resource(services: Services, text: str) -> tuple[Resource, Seen]:
    name, _, number = text.partition("/")
    if text == "platform":
        return PlatformResource(), {}
    product = services.product(name)
    if not number:
        return product_resource(services, product), {}
    found = [record for record in services.gate.list(name) if str(record.number) == number]
    if not found:
        raise UsageError(f"There is no {text}", "Give platform, PRODUCT or PRODUCT/NUMBER.")
    (record,) = found
    seen = Seen(digest=record.digest, base=services.target.base(name))
    return services.gate.position(record.digest).resource, seen


@access.command(epilog=example("access matrix", "access matrix --json"))
@json_option
def matrix(*, as_json: bool) -> None:
    """Show who may do what under the present policies.

    It lists every action and role, and up to which classification.
    """
    permissions = permission_matrix(open_services().policy)
    rows = matrix_rows(permissions)
    callers = tuple(row[0] for row in rows)

    def render(out: Console) -> None:
        cells = [(str(action), *(row[place] for row in rows)) for place, action in enumerate(Action, start=1)]
        table(out, ("action", *callers), cells)

    show([asdict(each) for each in permissions], as_json=as_json, render=render)


@access.command(epilog=example("--token-file me.token access simulate --policies new-policies --last 5000"))
@click.option(
    "--policies",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of policies to try in place of those of the settings.",
)
@click.option(
    "--last", default=1000, show_default=True, type=click.IntRange(0), help="Recorded decisions to ask again."
)
@json_option
def simulate(policies: Path, last: int, *, as_json: bool) -> None:
    """Show what other policies would change.

    The permission matrix is compared, and the newest recorded decisions are made again.
    """
    services = open_services()
    services.policy.require(services.caller(), Action.AUDIT_READ, PlatformResource())
    new = Policy(services.audit, policies, services.situation)
    cells = changed_cells(services.policy, new)
    asked = decisions(services.audit.backwards(_DECIDED), last)
    changed = replayed(new, asked)
    data: dict[str, Any] = {
        "policies": new.digest,
        "matrix": [{"before": asdict(before), "after": asdict(after)} for before, after in cells],
        "asked": len(asked),
        "decisions": [asdict(each) for each in changed],
    }

    def render(out: Console) -> None:
        heading(out, f"{len(cells)} cells of the permission matrix would change")
        if cells:
            table(out, ("caller", "action", "MFA", "now", "then"), [_cell(*each) for each in cells])
        heading(out, f"{len(changed)} of the last {len(asked)} decisions would change")
        if changed:
            table(out, ("entry", "action", "subject", "then", "by"), [_row(each) for each in changed])

    show(data, as_json=as_json, render=render)


def _cell(before: Permission, after: Permission) -> tuple[str, ...]:
    now, then = _words(before.classifications), _words(after.classifications)
    return before.caller, str(before.action), "yes" if before.mfa else "no", now, then


def _row(each: Any) -> tuple[Any, ...]:
    return each.seq, each.action, each.subject, "allow" if each.allowed else "deny", ", ".join(each.rules)


def _words(classifications: tuple[str, ...]) -> str:
    return ", ".join(classifications) or "no"


for _command in GRANTING:
    access.add_command(_command)

COMMANDS: Final = {"access": access}

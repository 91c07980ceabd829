"""`access grant|delegate|break-glass|review|revoke|freeze|unfreeze|list`: rights for a time."""

import re
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.grants import GRANTABLE
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.access.situation import Freeze, Grant
from secure_platform.cli.access import open_services
from secure_platform.cli.output import example, heading, json_option, line, show, table
from secure_platform.control.database import utc_now
from secure_platform.orchestration.steps.protect import product_resource

_LASTS: Final = re.compile(r"([1-9][0-9]{0,4})(m|h|d)")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


class _Duration(click.ParamType[timedelta]):
    """A time, such as `30m`, `8h` or `14d`."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        parsed = _LASTS.fullmatch(str(value))
        if parsed is None:
            self.fail(f"{value!r} is not a time such as 30m, 8h or 14d", param, ctx)
        return timedelta(**{_UNITS[parsed[2]]: int(parsed[1])})


reason_option = click.option("--reason", required=True, help="Why; kept encrypted.")
product_option = click.option("--product", help="On this product only; default every product.")
role_option = click.option(
    "--role", required=True, type=click.Choice(sorted(GRANTABLE)), help="The role that it gives."
)
time_option = click.option("--for", "lasts", required=True, type=_Duration(), help="Such as 30m, 8h or 14d.")


@click.command(
    epilog=example(
        '--token-file admin.token access grant ana --role analyst --product sales --for 14d --reason "audit"'
    )
)
@click.argument("principal")
@role_option
@product_option
@time_option
@reason_option
@json_option
def grant(
    principal: str, role: str, product: str | None, lasts: timedelta, reason: str, *, as_json: bool
) -> None:
    """Give PRINCIPAL a role for a limited time.

    Nobody can give one to themselves, and the role admin cannot be given.
    """
    services = open_services()
    if product is not None:
        services.product(product)
    given = services.grants.give(
        services.caller(), principal, role, product=product, lasts=lasts, reason=reason
    )
    _shown(given, as_json=as_json)


@click.command(
    epilog=example('--token-file me.token access delegate tess --product sales --for 7d --reason "holiday"')
)
@click.argument("principal")
@product_option
@time_option
@reason_option
@json_option
def delegate(principal: str, product: str | None, lasts: timedelta, reason: str, *, as_json: bool) -> None:
    """Delegate your right to approve and reject to PRINCIPAL, for at most 30 days.

    The two of you then count as one approver.
    """
    services = open_services()
    if product is not None:
        services.product(product)
    given = services.grants.delegate(
        services.caller(), principal, product=product, lasts=lasts, reason=reason
    )
    _shown(given, as_json=as_json)


@click.command(
    "break-glass",
    epilog=example(
        '--token-file me.token access break-glass sales --role data_steward --for 30m --reason "outage 4711"'
    ),
)
@click.argument("product")
@role_option
@time_option
@reason_option
@json_option
def break_glass(product: str, role: str, lasts: timedelta, reason: str, *, as_json: bool) -> None:
    """Take a role on PRODUCT in an emergency, for at most 60 minutes.

    It is announced at once, and reviewed by somebody else afterwards. It never includes the right to approve.
    If nobody has reviewed it within 72 hours, you cannot break the glass again until somebody has.
    """
    services = open_services()
    resource = product_resource(services, services.product(product))
    given = services.grants.break_glass(services.caller(), role, resource, lasts=lasts, reason=reason)
    _shown(given, as_json=as_json)


@click.command(
    epilog=example('--token-file auditor.token access review 4f0c… --finding "justified: outage 4711"')
)
@click.argument("grant_id")
@click.option("--finding", required=True, help="What it was; kept encrypted.")
@json_option
def review(grant_id: str, finding: str, *, as_json: bool) -> None:
    """Review the break-glass GRANT_ID of somebody else."""
    services = open_services()
    _shown(services.grants.review(services.caller(), grant_id, finding=finding), as_json=as_json)


@click.command(epilog=example("--token-file me.token access revoke 4f0c…"))
@click.argument("grant_id")
@json_option
def revoke(grant_id: str, *, as_json: bool) -> None:
    """End a grant, delegation or break-glass now.

    Approvals that it made possible no longer count.
    """
    services = open_services()
    _shown(services.grants.revoke(services.caller(), grant_id), as_json=as_json)


@click.command(epilog=example('--token-file me.token access freeze sales --for 3d --reason "year-end"'))
@click.argument("product", required=False)
@click.option("--for", "lasts", type=_Duration(), help="Such as 8h or 3d; default until it is lifted.")
@reason_option
@json_option
def freeze(product: str | None, lasts: timedelta | None, reason: str, *, as_json: bool) -> None:
    """Stop deployments of PRODUCT, or of all; rollbacks go on."""
    services = open_services()
    resource = (
        PlatformResource() if product is None else product_resource(services, services.product(product))
    )
    made = services.freezes.set(services.caller(), resource, reason=reason, lasts=lasts)
    text = f"Deployments of {product or 'all products'} are frozen{_until(made)}."
    show(asdict(made), as_json=as_json, render=lambda out: line(out, text))


@click.command(epilog=example("--token-file me.token access unfreeze sales"))
@click.argument("product", required=False)
@json_option
def unfreeze(product: str | None, *, as_json: bool) -> None:
    """Lift the freezes on PRODUCT, or those on all products."""
    services = open_services()
    lifted = services.freezes.lift(services.caller(), product)
    text = f"Deployments of {product or 'all products'} go on."
    show([asdict(each) for each in lifted], as_json=as_json, render=lambda out: line(out, text))


@click.command("list", epilog=example("--token-file me.token access list", "access list --all --json"))
@click.option("--all", "everything", is_flag=True, help="Include those that are over.")
@json_option
def list_grants(*, everything: bool, as_json: bool) -> None:
    """List active grants, delegations, break-glasses and freezes; due reviews.

    Without the right to read access, you see your own.
    """
    services = open_services()
    caller, now = services.caller(), utc_now()
    overseer = services.policy.evaluate(caller, Action.ACCESS_READ, PlatformResource()).allowed
    grants = [
        each
        for each in services.grants.list()
        if (overseer or caller.name in {each.principal, each.given_by})
        and (everything or each.holds(now) or _waits(each))
    ]
    freezes = [each for each in services.freezes.list() if everything or each.holds(now)]
    data = {"grants": [asdict(each) for each in grants], "freezes": [asdict(each) for each in freezes]}

    def render(out: Console) -> None:
        heading(out, f"{len(grants)} rights for a time")
        if grants:
            columns = ("id", "kind", "principal", "role", "product", "given by", "until", "state", "reason")
            table(out, columns, [_row(each) for each in grants])
        heading(out, f"{len(freezes)} freezes")
        for each in freezes:
            line(out, f"{each.product or 'all products'}{_until(each)}, by {each.set_by}: {each.reason}")

    show(data, as_json=as_json, render=render)


def _waits(each: Grant) -> bool:
    return each.kind == "break_glass" and each.reviewed_at is None


def _row(each: Grant) -> tuple[str, ...]:
    now = utc_now()
    state = "holds" if each.holds(now) else "over"
    if _waits(each):
        state += ", review overdue" if each.overdue(now) else ", to be reviewed"
    product = each.product or "all"
    until = f"{each.expires_at:%Y-%m-%d %H:%M}"
    return (
        each.grant_id,
        each.kind,
        each.principal,
        each.role,
        product,
        each.given_by,
        until,
        state,
        each.reason,
    )


def _until(each: Freeze) -> str:
    return "" if each.expires_at is None else f" until {each.expires_at:%Y-%m-%d %H:%M} UTC"


def _shown(each: Grant, *, as_json: bool) -> None:
    over = each.revoked_at is not None
    until = "is over" if over else f"until {each.expires_at:%Y-%m-%d %H:%M} UTC"
    where = each.product or "all products"
    text = f"{each.kind} {each.grant_id}: {each.principal} has {each.role} on {where}, {until}."
    show(asdict(each), as_json=as_json, render=lambda out: line(out, text))


GRANTING: Final = (grant, delegate, break_glass, review, revoke, freeze, unfreeze, list_grants)

"""`notify`: what is queued for whom, sending it without a server, and trying a channel."""

from collections.abc import Mapping
from typing import Final

import click
from rich.console import Console

from secure_platform.access.resources import Action, PlatformResource
from secure_platform.cli.access import open_services
from secure_platform.cli.group import Group
from secure_platform.cli.output import brief, example, json_option, line, show, table
from secure_platform.notify.queued import Queued
from secure_platform.services import Services

COLUMNS: Final = ("created (UTC)", "event", "subject", "channel", "state", "attempts", "problem")


def _operating() -> Services:
    services = open_services()
    services.policy.require(services.caller(), Action.PLATFORM_OPERATE, PlatformResource())
    return services


@click.group(cls=Group, epilog=example("--token-file admin.token notify list"))
def notify() -> None:
    """List and send notices to Slack, webhooks, ServiceNow, PagerDuty and e-mail; test a channel."""


@notify.command("list", epilog=example("--token-file admin.token notify list"))
@json_option
def notify_list(*, as_json: bool) -> None:
    """List notices, newest first: delivered, waiting or given up, and why."""
    _show(_operating().notices.list(), as_json=as_json)


@notify.command("deliver", epilog=example("--token-file admin.token notify deliver"))
@json_option
def notify_deliver(*, as_json: bool) -> None:
    """Send what is due now, including alerts and lineage events.

    `serve` does this by itself.
    """
    services = _operating()
    services.alerts.tell()
    if services.lineage is not None:
        services.lineage.deliver()
    _show(services.notices.deliver(), as_json=as_json)


@notify.command("alerts", epilog=example("--token-file admin.token notify alerts"))
@json_option
def notify_alerts(*, as_json: bool) -> None:
    """Show who would be notified of which incidents, and what delays it.

    Nothing is sent.
    """
    due = _operating().alerts.due()
    data = [
        {
            "incident": each.incident.incident_id,
            "product": each.incident.product,
            "event": each.event,
            "channel": each.channel,
            "held": each.held,
        }
        for each in due
    ]

    def render(out: Console) -> None:
        table(
            out, ("incident", "product", "event", "channel", "put off by"), [_alert_row(row) for row in data]
        )
        if not data:
            line(out, "No alert is due.")

    show(data, as_json=as_json, render=render)


def _alert_row(row: Mapping[str, str | None]) -> tuple[str | None, ...]:
    return (brief(str(row["incident"])), row["product"], row["event"], row["channel"], row["held"])


@notify.command("test", epilog=example("--token-file admin.token notify test ops"))
@click.argument("channel")
@json_option
def notify_test(channel: str, *, as_json: bool) -> None:
    """Send a test notice to CHANNEL now; exits 1 and says why if it does not arrive."""
    _operating().notices.test(channel)
    show(
        {"channel": channel, "delivered": True},
        as_json=as_json,
        render=lambda out: line(out, f"The channel {channel} took a test notice."),
    )


def _show(notices: list[Queued], *, as_json: bool) -> None:
    data = [
        {
            **queued.notice.to_json(),
            "channel": queued.channel,
            "state": queued.state,
            "attempts": queued.attempts,
            "due_at": queued.due_at.isoformat(),
            "problem": queued.problem,
        }
        for queued in notices
    ]

    def render(out: Console) -> None:
        rows = [
            (
                queued.notice.occurred_at.strftime("%Y-%m-%d %H:%M"),
                queued.notice.event,
                brief(queued.notice.subject),
                queued.channel,
                queued.state,
                queued.attempts,
                queued.problem,
            )
            for queued in notices
        ]
        table(out, COLUMNS, rows)
        if not rows:
            line(out, "No notice.")

    show(data, as_json=as_json, render=render)


COMMANDS: Final = {"notify": notify}

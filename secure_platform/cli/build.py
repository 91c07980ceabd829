"""`init`, `run`, `deploy`, `rollback`: the way from source to production, on the command line."""

from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.cli.access import (
    command,
    near,
    next_deployment,
    open_platform,
    open_services,
    prepare_home,
    require_home,
    server_option,
    tell_unsaved,
)
from secure_platform.cli.local import Platform
from secure_platform.cli.output import Output, example, heading, json_option, line, show, table
from secure_platform.cli.progress import Progress, reused
from secure_platform.errors import AlreadyRolledBackError, UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.behind import Reached, why_refused
from secure_platform.orchestration.steps.exchange import AssetEvent, RunReport, record_data
from secure_platform.services import Services
from secure_platform.settings import load_settings


@click.command(epilog=example("init", "--home /srv/secure init"))
@json_option
def init(*, as_json: bool) -> None:
    """Create the home: keys, databases and the first principals (services and an administrator).

    Running it again changes nothing. Back up the keys: without them, nothing in the home can be read.
    """
    settings = load_settings()
    created = prepare_home(settings)
    token = settings.home / "keys" / "admin.token"
    unsaved = Services(settings).key_backups.unsaved()
    data = {
        "home": str(settings.home),
        "created": created,
        "administrator_token": str(token),
        "unsaved_keys": unsaved,
    }

    def render(out: Console) -> None:
        line(out, f"{'Created' if created else 'Already there, nothing changed:'} {settings.home}")
        tell_unsaved(out, unsaved)
        line(out, "The administrator's token is in a private file; add principals with it:")
        line(out, f"  {command(f'--token-file {near(token)} principal add alice --role data_steward')}")
        line(out, f"  {command(f'--token-file {near(token)} token issue alice --out alice.token')}")
        line(out, "The web pages are entered with a password and a code, which a one-time link sets:")
        line(out, f"  {command(f'--token-file {near(token)} principal invite admin')}")

    show(data, as_json=as_json, render=render)


@click.command(epilog=example("run healthcare --source /data/emr", "run healthcare --json"))
@click.argument("product")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Folder or .zip of the source files; default from the settings. Not with --server.",
)
@server_option
@json_option
def run(product: str, source: Path | None, *, as_json: bool) -> int:
    """Build PRODUCT from its source to a pending release.

    It pulls, validates, scans, protects, transforms and packages. Unchanged input reuses earlier results and
    makes no new release.
    """
    platform = open_platform()
    progress = Progress(Output(), quiet=as_json)
    origin = platform.origin(product, source)
    progress.start(f"Building {product} from {origin}, requested by {platform.requester()}")
    report = platform.build(product, source, progress)
    record = platform.record(report.release) if report.succeeded and report.release else None

    def render(out: Console) -> None:
        render_build(out, product, report, record)
        tell_unsaved(out, platform.unsaved_keys())

    show(run_data(report, record), as_json=as_json, render=render)
    return report.exit_code


@click.command(epilog=example("deploy healthcare"))
@click.argument("product")
@server_option
@json_option
def deploy(product: str, *, as_json: bool) -> int:
    """Deploy the approved release of PRODUCT.

    The daemon of `serve` does this by itself.
    """
    # Dagster takes a second to import: see `Local.build`.
    from secure_platform.orchestration.launch import run_deploy  # noqa: PLC0415

    require_home(f"A server deploys by itself: release wait {product} NUMBER --until deployed.")
    services = open_services()
    known = services.product(product)
    progress = Progress(Output(), quiet=as_json)
    progress.start(f"Deploying {product}")
    report = run_deploy(services.settings, known, listener=progress)
    production = services.target.current(product) if report.succeeded else None
    record = services.gate.get(production.release) if production else None
    show(
        run_data(report, record),
        as_json=as_json,
        render=lambda out: _render_deploy(out, product, report, record),
    )
    return report.exit_code


@click.command(
    epilog=example(
        '--token-file me.token rollback healthcare --from 12 --reason "costs of release 12 are wrong"'
    )
)
@click.argument("product")
@click.option(
    "--from",
    "number",
    type=click.IntRange(1),
    help="The release to leave; default the one in production when the command starts.",
)
@click.option("--reason", required=True, help="Why; kept with the release.")
@server_option
@json_option
def rollback(product: str, number: int | None, reason: str, *, as_json: bool) -> None:
    """Put the previous release of PRODUCT back into production, after verifying it again.

    If a running deployment or rollback has changed production by the time it ends, this exits 4. With --from
    it is safe to repeat: if production has already been rolled back from that release, it says so and exits
    0.
    """
    platform = open_platform()
    seen = platform.in_production(product) if number is None else numbered(platform, product, number)
    Progress(Output(), quiet=as_json).start(
        f"Rolling {product} back from release {seen.number}; a running deployment is waited for"
    )
    try:
        record = platform.rollback(seen, reason=reason)
        text = f"Release {record.number} of {product} is back in production."
    except AlreadyRolledBackError as done:
        if number is None:
            raise
        record, text = platform.in_production(product), f"Nothing to do. {done.culprit}."
    show(record_data(record), as_json=as_json, render=lambda out: line(out, text))


def numbered(platform: Platform, product: str, number: int) -> ReleaseRecord:
    """The product's release with this number.

    Raises:
        UsageError: If there is none.
    """
    for record in platform.releases(product):
        if record.number == number:
            return record
    raise UsageError(f"{product} has no release {number}", f"See: secure-platform release list {product}.")


def run_data(report: RunReport, record: ReleaseRecord | None) -> dict[str, Any]:
    """A run as JSON."""
    return {
        "run_id": report.run_id,
        "succeeded": report.succeeded,
        "exit_code": report.exit_code,
        "state": str(record.state) if record else "refused",
        "release": record_data(record) if record else None,
        "reused": reused(report),
        "failures": [
            {"asset": event.asset, "check": event.check, "error": event.error, "detail": event.metadata}
            for event in report.failures
        ],
    }


def render_failures(out: Console, report: RunReport) -> None:
    """What was refused and why: counts and names, never a value."""
    heading(out, "Refused")
    for event in report.failures:
        if event.kind == "failed":
            line(out, f"{event.asset}: {event.error}")
    rows = [row for event in report.failures if event.kind == "checked" for row in _check_rows(event)]
    if rows:
        table(out, ("asset", "check", "column", "rule", "rows"), rows)
    line(out, "Nothing was released, and production stays as it is.")
    if rows:
        line(out, "Correct the data at its source, or say otherwise in the contract, and run it again.")
    for product, dataset in dict.fromkeys(filter(None, map(_stands_out, report.failures))):
        line(
            out, "Levels at which fewer rows stand out, where the source is, with the least information lost:"
        )
        line(out, f"  secure-platform contract levels {product} {dataset}")


def render_build(out: Console, product: str, report: RunReport, record: ReleaseRecord | None) -> None:
    """What came of a build, and what is to be done with it."""
    if record is None:
        render_failures(out, report)
    elif record.state is ReleaseState.PENDING:
        heading(out, f"Release {record.number} of {product} waits at the gate. A steward's next steps:")
        line(out, f"  {command(f'release show {product} {record.number}')}")
        approve = f'--token-file steward.token release approve {product} {record.number} --reason "…"'
        line(out, f"  {command(approve)}")
    elif record.state is ReleaseState.REJECTED:
        heading(out, f"Nothing changed since release {record.number} of {product} was rejected.")
        line(out, "Correct the data, the contract or the model; the same data is not put to the vote again.")
    elif record.state is ReleaseState.APPROVED:
        heading(out, f"Nothing changed: release {record.number} of {product} is approved. Next step:")
        line(out, f"  {next_deployment(product, record.number)}")
    else:
        heading(out, f"Nothing changed: release {record.number} of {product} is {record.state}.")


def _render_deploy(out: Console, product: str, report: RunReport, record: ReleaseRecord | None) -> None:
    if record is None:
        render_failures(out, report)
        return
    heading(out, f"Release {record.number} of {product} is in production. Read it:")
    query = f'--token-file analyst.token sql {product} "select …" --purpose …'
    line(out, f"  {command(query)}")


def _check_rows(event: AssetEvent) -> list[tuple[Any, ...]]:
    """A failed check by column and rule, as far as it says so."""
    detail = event.metadata or {}
    found = [
        *((item["column"], item["rule"], item["count"]) for item in detail.get("failures", [])),
        *(
            (item["column"], item["info_type"], item["count"])
            for item in detail.get("refused") or detail.get("findings") or []
            if isinstance(item, dict)
        ),
        *(
            (item["column"], "an original value is left", item["count"])
            for item in detail.get("original_values", [])
            if isinstance(item, dict)
        ),
        *(
            (item["column"], "one day tells the shift of its subjects", item["subjects"])
            for item in detail.get("days_that_tell", [])
            if isinstance(item, dict)
        ),
    ]
    if not found and "orphans" in detail:
        found = [("", *told) for told in why_refused(event.asset.rpartition("/")[2], detail)]
    return [(event.asset, event.check, *row) for row in found or [("", "", "")]]


def _stands_out(event: AssetEvent) -> tuple[str, str] | None:
    """Product and dataset of which more rows than may would stay behind for k and l."""
    product, *_, dataset = event.asset.split("/")
    told = event.kind == "checked" and Reached.told(dataset, event.metadata or {})
    return (product, dataset) if told else None


COMMANDS: Final = {"init": init, "run": run, "deploy": deploy, "rollback": rollback}

"""`sla`: which delivery promises were kept, by month."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.resources import Action
from secure_platform.cli.access import open_services
from secure_platform.cli.export import print_csv, write_csv
from secure_platform.cli.output import example, heading, json_option, line, require_new, show, table
from secure_platform.control.database import utc_now
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.orchestration.steps.sla import COLUMNS, MONTHS, sla_report, sla_rows

_HEADINGS: Final = (
    *("month", "dataset", "came", "promised", "in time", "late", "never", "fresh", "late p50", "late p95"),
    *("incidents", "contained", "after p50", "after p95"),
)


@click.command(
    epilog=example(
        "--token-file me.token sla healthcare",
        "sla healthcare --months 1 --json",
        "sla healthcare --months 24 --out sla.csv",
    )
)
@click.argument("product")
@click.option(
    "--months", default=MONTHS, show_default=True, type=click.IntRange(1, 120), help="The newest months."
)
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print CSV, safe in a spreadsheet that reads it with commas."
)
@click.option("--out", type=click.Path(path_type=Path), help="New 0600 file that gets the same CSV.")
@json_option
def sla(product: str, months: int, out: Path | None, *, as_csv: bool, as_json: bool) -> None:
    """Report by month which delivery promises of PRODUCT were kept, and its incidents.

    `fresh` is the share of time in which the data were no older than promised. Hours say how late deliveries
    were, and how long it took until somebody acknowledged or settled an incident.
    """
    if as_csv and as_json:
        raise UsageError("A result is CSV or JSON, not both", "Leave out --csv or --json.")
    if out is not None:
        require_new(out)
    services = open_services()
    found = services.product(product)
    resource = named_resource(services, found.name)
    services.policy.require(services.caller(), Action.INCIDENT_READ, resource)
    rows = sla_rows(sla_report(services, found, utc_now()), months)
    cells = [tuple(row.values()) for row in rows]
    if out is not None:
        write_csv(out, COLUMNS, cells)
        data = {"file": str(out), "rows": len(rows)}
        show(data, as_json=as_json, render=lambda con: line(con, f"{len(rows)} rows are in {out}."))
    elif as_csv:
        print_csv(COLUMNS, cells)
    else:
        show(rows, as_json=as_json, render=lambda con: _render(con, product, rows))


def _render(out: Console, product: str, rows: list[Mapping[str, Any]]) -> None:
    heading(out, f"{product}: what was promised and kept, by month")
    table(out, _HEADINGS, map(_row, rows))
    if not rows:
        line(out, "Nothing was delivered yet, and nothing is promised.")
    elif all(row["promised"] is None for row in rows):
        line(out, "No contract promises anything: say `slaProperties: latency` in one.")


def _row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        row["month"],
        row["dataset"] or "all",
        *(row[name] for name in ("delivered", "promised", "in_time", "late", "never")),
        "" if row["fresh"] is None else f"{100 * row['fresh']:.1f} %",
        *(_hours(row[name]) for name in ("late_p50", "late_p95")),
        *(row[name] for name in ("incidents", "contained")),
        *(_hours(row[name]) for name in ("contain_p50", "contain_p95")),
    )


def _hours(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} h"


COMMANDS: Final = {"sla": sla}

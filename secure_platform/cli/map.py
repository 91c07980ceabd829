"""`map`: where the data goes, how it is protected there, and which key opens it."""

from typing import Final

import click
from rich.console import Console

from secure_platform import canonical
from secure_platform.cli.access import open_services
from secure_platform.cli.output import example, heading, json_option, print_lines, show, table
from secure_platform.contract.product import Product
from secure_platform.orchestration.data_map import DataMap, data_map
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.services import Services


@click.command(
    name="map",
    epilog=example("map healthcare", "map healthcare --mermaid flows", "map healthcare --openlineage"),
)
@click.argument("product")
@click.option("--mermaid", "chart", type=click.Choice(["flows", "keys"]), help="Print a Mermaid chart.")
@click.option("--openlineage", is_flag=True, help="Print OpenLineage events of its jobs and columns instead.")
@json_option
def map_product(product: str, *, chart: str | None, openlineage: bool, as_json: bool) -> None:
    """Show the data flows of PRODUCT, what is encrypted where, and which key opens it.

    --openlineage prints what is declared, one JSON document per line, for a data catalogue: where every
    column comes from, and which transforms mask it. What happens in runs is sent while they run:
    docs/monitoring.md.
    """
    services = open_services()
    known = services.product(product)
    if openlineage:
        _print_lineage(services, known)
        return
    drawn = data_map(known, current_plan(known, services.keys))
    if chart is not None:
        click.echo(drawn.flow_chart() if chart == "flows" else drawn.key_chart())
        return
    show(drawn.to_json(), as_json=as_json, render=lambda out: _render(out, drawn))


def _print_lineage(services: Services, product: Product) -> None:
    # It reads dbt's manifest, and with it comes Dagster's integration of dbt.
    from secure_platform.orchestration.lineage_declared import declared  # noqa: PLC0415

    print_lines(canonical.dumps(event).decode() for event in declared(services, product))


def _render(out: Console, drawn: DataMap) -> None:
    for title, columns, rows in drawn.tables():
        heading(out, title)
        table(out, columns, rows)


COMMANDS: Final = {"map": map_product}

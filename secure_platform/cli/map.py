"""`map`: where the data goes, how it is protected there, and which key opens it."""

from typing import Final

import click
from rich.console import Console

from secure_platform.cli.access import open_services
from secure_platform.cli.output import example, heading, json_option, show, table
from secure_platform.orchestration.data_map import DataMap, data_map
from secure_platform.orchestration.steps.protect import current_plan


@click.command(name="map", epilog=example("map healthcare", "map healthcare --mermaid flows"))
@click.argument("product")
@click.option("--mermaid", "chart", type=click.Choice(["flows", "keys"]), help="Print a Mermaid chart.")
@json_option
def map_product(product: str, *, chart: str | None, as_json: bool) -> None:
    """Show the data flows of PRODUCT, the encryption at every place, and which key opens it."""
    services = open_services()
    known = services.product(product)
    drawn = data_map(known, current_plan(known, services.keys))
    if chart is not None:
        click.echo(drawn.flow_chart() if chart == "flows" else drawn.key_chart())
        return
    show(drawn.to_json(), as_json=as_json, render=lambda out: _render(out, drawn))


def _render(out: Console, drawn: DataMap) -> None:
    for title, columns, rows in drawn.tables():
        heading(out, title)
        table(out, columns, rows)


COMMANDS: Final = {"map": map_product}

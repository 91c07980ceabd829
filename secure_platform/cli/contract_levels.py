"""`contract levels`: how far the quasi-identifiers have to be generalized, as a proposal for the contract."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from secure_platform.cli.access import open_services
from secure_platform.cli.output import example, heading, json_option, line, show, table
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.levels import propose_levels


@click.command(
    "levels",
    epilog=example(
        "contract levels census adults --source /data/census",
        "contract levels census adults --hierarchy age=age.csv --hierarchy workclass=work.csv --json",
    ),
)
@click.argument("product")
@click.argument("dataset")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Folder or .zip of the source files; default from the settings.",
)
@click.option(
    "--hierarchy",
    "added",
    multiple=True,
    metavar="COLUMN=FILE",
    help="A file in the product's hierarchies/ that the contract does not name yet. Repeatable.",
)
@json_option
def levels(product: str, dataset: str, *, source: Path | None, added: Sequence[str], as_json: bool) -> None:
    """Propose generalization levels that reach k and l at the least loss.

    It searches all combinations of levels of the hierarchies that the quasi-identifiers of DATASET name, in
    the source files. k, l and the share of rows that may stay behind come from `suppressRows`. It requires
    the right to build PRODUCT, and is recorded. Nothing else is written: put the levels into the contract,
    and check the result with `plan`.
    """
    services = open_services()
    declared = services.product(product)
    place = source or services.settings.source_directory(product)
    found = propose_levels(services, declared, dataset, place, _named(added), services.caller())
    data = {"product": product, "dataset": dataset, **found.to_json()}
    show(data, as_json=as_json, render=lambda out: _render(out, data))


def _named(added: Sequence[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in added]
    if not all(file for _, _, file in pairs):
        raise UsageError("A hierarchy is not named by its column", "Write --hierarchy COLUMN=FILE.")
    return {column: file for column, _, file in pairs}


def _render(out: Console, data: Mapping[str, Any]) -> None:
    now, found, asked = data["now"], data["proposed"], data["asked"]
    wanted = f"k={asked['k']}, l={asked['l']}, at most {asked['at_most']:.1%} of the rows left behind"
    heading(out, f"{data['product']}/{data['dataset']}: {wanted}")
    rows = [
        (column, file, now["levels"][column], found["levels"].get(column, ""))
        for column, file in data["hierarchies"].items()
    ]
    table(out, ("column", "hierarchy", "level in the contract", "proposed"), rows)
    reached = [(name, *_reached(each, data["rows"])) for name, each in (("now", now), ("proposed", found))]
    table(out, ("", "rows left behind", "information lost"), reached)
    line(out, f"{data['looked_at']:,} of {data['nodes']:,} combinations were looked at.")
    if not found["reached"]:
        line(
            out, "No combination reaches this: let more rows stay behind, or name hierarchies that end in *."
        )
        return
    heading(out, "For the contract")
    for column, level in found["levels"].items():
        asked_for = (
            f"{{transform: generalize, to: hierarchy, file: {data['hierarchies'][column]}, level: {level}}}"
        )
        line(out, f"  {column}: {{property: protect, value: {asked_for if level else 'keep'}}}")


def _reached(each: Mapping[str, Any], rows: int) -> tuple[str, str]:
    if not each["reached"]:
        return "too many", ""
    return f"{each['suppressed']:,} ({each['suppressed'] / rows:.1%})", each["information_lost"]

"""`reveal`: recovers the original values behind cells.

The cells come from a file or standard input.
"""

import csv
from io import StringIO
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.cli.access import open_platform, server_option
from secure_platform.cli.confidential import nothing_else, read_text
from secure_platform.cli.export import write_csv
from secure_platform.cli.output import example, json_option, line, require_new, show, table
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.reveal import Asked, Revealed
from secure_platform.spreadsheet import MARK

LARGEST: Final = 64 << 20


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=example(
        "--token-file petra.token reveal healthcare patients.Id --purpose care_quality --values tokens.txt",
        "--token-file petra.token reveal healthcare patient_summary.patient_id --purpose research --json",
        "--token-file petra.token reveal shop customers.details.email --purpose fraud --values tokens.txt",
        "--token-file reveal.token reveal bank people.mail --purpose fraud --values - --server https://data.example.org",
    ),
)
@click.argument("product")
@click.argument("column", metavar="TABLE.COLUMN")
@nothing_else("Cells are not given in the command line", "Give them in a file: --values.")
@click.option("--purpose", required=True, help="What you need it for: one of the product's purposes.")
@click.option(
    "--values",
    type=click.Path(path_type=Path),
    help="File with one cell per line; - for standard input. Default: the released table's whole column.",
)
@click.option("--from", "header", metavar="NAME", help="The file is CSV; the cells are in this column.")
@click.option(
    "--release",
    type=click.IntRange(1),
    help="The release that the cells come from. Default: the one in production.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write CSV, as sql does, to this new file (mode 0600)."
)
@server_option
@json_option
def reveal(
    product: str,
    column: str,
    purpose: str,
    values: Path | None,
    header: str | None,
    release: int | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Recover the original values behind the cells in TABLE.COLUMN of PRODUCT.

    The cells may be encrypted, format-preserving or tokens. TABLE is a table of the release, or a dataset
    that it was made from; a value inside JSON is named by its path, customers.details.email. Each call is
    audited: who, for what purpose, which column and how many, but no value. A server requires a token that
    an administrator issued for this: token issue NAME --scope data_reveal:PRODUCT.
    """
    if out is not None:
        require_new(out)
    name, _, of = column.partition(".")
    cells = None if values is None else _cells(values, header)
    revealed = open_platform().reveal(Asked(product, name, of, release, purpose, cells))
    frame, data = revealed.frame, _data(product, revealed)
    if out is not None:
        write_csv(out, frame.columns, frame.rows())
        data |= {"file": str(out), "rows": frame.height}
        show(data, as_json=as_json, render=lambda con: line(con, f"{frame.height} rows are in {out}."))
    else:
        data["revealed"] = frame.to_dicts()
        show(data, as_json=as_json, render=lambda con: _render(con, revealed))


def _cells(path: Path, header: str | None) -> list[str]:
    """The cells of a file, without empty ones."""
    too_much = UsageError("These are too many cells at once", f"Give at most {LARGEST >> 20} MiB.")
    name_one, give_text = "Name a file of cells.", "Give the cells as text."
    text = read_text(path, LARGEST, too_much=too_much, name_one=name_one, give_text=give_text)
    return [cell for cell in _in_column(text, header) if cell]


def _in_column(text: str, header: str | None) -> list[str]:
    if header is None:
        return text.splitlines()
    names, *rows = list(csv.reader(StringIO(text), strict=True)) or [[]]
    if header not in names or any(len(row) != len(names) for row in rows if row):
        raise UsageError(f"The file is not CSV with a column {header}", "Name one of its header line.")
    place = names.index(header)
    # As our own export writes it: a text that could be executed has a mark before it.
    return [row[place].removeprefix(MARK) for row in rows if row]


def _data(product: str, revealed: Revealed) -> dict[str, Any]:
    return {
        "product": product,
        "release": revealed.release,
        "column": revealed.place,
        "unknown": revealed.unknown,
    }


def _render(out: Console, revealed: Revealed) -> None:
    frame = revealed.frame
    table(out, frame.columns, frame.rows())
    line(out, f"({frame.height} of {revealed.place}, release {revealed.release}; {revealed.unknown} unknown)")


COMMANDS: Final = {"reveal": reveal}

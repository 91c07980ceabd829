"""`contract draft`: from files to contracts that load, and with a name to a product that builds."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.cli.access import command, near
from secure_platform.cli.draft_files import (
    contract_files,
    mart_files,
    product_files,
    project_files,
    write_all,
)
from secure_platform.cli.output import example, heading, json_option, line, show, table
from secure_platform.contract.columns import IDENTIFIER
from secure_platform.contract.product import Product, load_product
from secure_platform.errors import UsageError
from secure_platform.protect.plan import compile_plan
from secure_platform.protect.profile import PROFILES, load_profile
from secure_platform.protect.proposal import proposed
from secure_platform.protect.strength import full_name
from secure_platform.scan.columns import Scanner
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.drafting import drafted, read_tables
from secure_platform.settings import load_settings
from secure_platform.taxonomy.info_types import info_types

PROFILE_NAMES: Final = sorted(path.stem for path in PROFILES.glob("*.yaml"))
DEFAULT_PROFILE: Final = "gdpr_pseudonymous"
OWNER: Final = "data"
_AS_OF: Final = date(2000, 1, 1)


@click.command(
    "draft",
    epilog=example(
        "contract draft orders.csv customers.csv",
        "contract draft data/*.csv --product shop --out shop",
        "contract draft visits.parquet --product clinic --profile hipaa_safe_harbor --json",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--product", metavar="NAME", help="Make a whole product: defs.yaml, contracts, marts.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder; with --product the project. [default: here]"
)
@click.option(
    "--profile",
    type=click.Choice(PROFILE_NAMES),
    default=DEFAULT_PROFILE,
    show_default=True,
    help="Whose transforms are proposed.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@json_option
def draft(
    files: tuple[Path, ...],
    product: str | None,
    out: Path | None,
    profile: str,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Draft a contract for each of FILES (CSV, TSV, Parquet, NDJSON), to be looked at and corrected.

    Types, keys and foreign keys are inferred from all rows; classification, info types and transforms from
    what the scanner finds. No value of a confidential column is written or shown. What is not sure has a line
    `# ?` in the file. With --product the result builds at once; the folder becomes a project if it is none.
    """
    if product is not None and not IDENTIFIER.fullmatch(product):
        raise UsageError(f"{product!r} is no name of a product", "Use lower-case letters, digits and _.")
    scanner = Scanner(info_types())
    drafts = proposed(drafted(read_tables(files, scanner), scanner), load_profile(profile))
    folder = (out or Path()).absolute()
    if product is None:
        written = contract_files(drafts, OWNER, folder)
    else:
        written = _product(drafts, product, profile, folder)
    _require_loading(drafts, product or OWNER, profile)
    write_all(written, force=force)
    data = {
        "product": product,
        "profile": profile,
        "files": [str(path) for path in written],
        "datasets": [_dataset(each) for each in drafts],
    }
    show(data, as_json=as_json, render=lambda con: _render(con, drafts, list(written), product, folder))


def _product(drafts: Sequence[TableDraft], product: str, profile: str, folder: Path) -> dict[Path, str]:
    """All files of a product, in the project that the folder is or becomes."""
    settings = load_settings(project=folder)
    plan = compile_plan(_loaded(drafts, product, profile), lambda _: 1, _AS_OF)
    return {
        **project_files(folder, settings.dbt_project),
        **product_files(drafts, product, profile, settings.defs),
        **mart_files(plan, drafts, settings.dbt_project),
    }


def _require_loading(drafts: Sequence[TableDraft], product: str, profile: str) -> None:
    """What is written is read by the strict loader first, and its plan compiles."""
    compile_plan(_loaded(drafts, product, profile), lambda _: 1, _AS_OF)


def _loaded(drafts: Sequence[TableDraft], product: str, profile: str) -> Product:
    with TemporaryDirectory() as scratch:
        files = product_files(drafts, product, profile, Path(scratch))
        write_all(files, force=False)
        return load_product(Path(scratch) / product)


def _dataset(each: TableDraft) -> dict[str, Any]:
    return {
        "dataset": each.dataset,
        "rows": each.rows,
        "doubts": list(each.doubts),
        "left_out": list(each.left_out),
        "columns": [_column(column) for column in each.columns],
    }


def _column(column: ColumnDraft) -> dict[str, Any]:
    return {
        "column": column.name,
        "type": column.logical_type,
        "format": column.format,
        "info_type": column.info_type,
        "confidence": column.confidence,
        "classification": column.classification.label,
        "transform": _transform(column),
        "key": _key(column),
        "why": [*column.reasons],
        "doubts": [*column.doubts],
    }


def _transform(column: ColumnDraft) -> str:
    if column.protect:
        return full_name(column.protect)
    return "as its key" if column.reference else "keep"


def _key(column: ColumnDraft) -> str:
    if column.reference:
        return f"→ {column.reference.dataset}.{column.reference.column}"
    return "primary key" if column.primary_key else "unique" if column.unique else ""


def _render(
    con: Console, drafts: Sequence[TableDraft], written: Sequence[Path], product: str | None, folder: Path
) -> None:
    for each in drafts:
        heading(con, f"{each.dataset}: {each.rows:,} rows")
        for doubt in each.doubts:
            line(con, f"? {doubt}")
        columns = ("", "column", "type", "key", "info type", "sure", "classification", "transform", "why")
        table(con, columns, map(_row, each.columns))
    heading(con, f"{len(written)} files written. Look at every line that begins with `# ?`:")
    for path in written:
        if path.name.endswith(".odcs.yaml"):
            line(con, f"  {near(path)}")
    if product is not None:
        there = "" if folder == Path.cwd() else f"cd {near(folder)} && "
        line(con, "Then:")
        line(con, f"  {there}{command('check')}")
        line(con, f"  {there}{command(f'run {product} --source DIR')}")


def _row(column: ColumnDraft) -> tuple[str, ...]:
    sure = "" if column.confidence is None else f"{column.confidence:.2f}"
    kind = column.logical_type + (f" {column.format}" if column.format else "")
    why = "; ".join(column.doubts or column.reasons)
    mark = "?" if column.doubts else ""
    level = column.classification.label
    known = column.info_type or ""
    return mark, column.name, kind, _key(column), known, sure, level, _transform(column), why

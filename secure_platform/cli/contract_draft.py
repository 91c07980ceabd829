"""`contract draft`: from files to contracts that load, and with a name to a product that builds."""

import shlex
from collections.abc import Mapping, Sequence
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
    write_tables,
)
from secure_platform.cli.output import example, heading, json_option, line, show, table
from secure_platform.contract.columns import IDENTIFIER
from secure_platform.contract.product import Product, load_product
from secure_platform.errors import UsageError
from secure_platform.protect.plan import Plan, compile_plan
from secure_platform.protect.profile import PROFILES, load_profile
from secure_platform.protect.proposal import AS_OF, proposed
from secure_platform.protect.strength import full_name
from secure_platform.scan.columns import Scanner
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.drafting import drafted, read_tables
from secure_platform.scan.draft.tables import converted
from secure_platform.settings import load_settings
from secure_platform.taxonomy.custom import info_types_of
from secure_platform.taxonomy.info_types import InfoType, info_types

PROFILE_NAMES: Final = sorted(path.stem for path in PROFILES.glob("*.yaml"))
DEFAULT_PROFILE: Final = "gdpr_pseudonymous"
OWNER: Final = "data"


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
@click.option(
    "--convert",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Also write FILES there as the platform pulls them: Parquet, names that a contract can have.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@json_option
def draft(
    files: tuple[Path, ...],
    product: str | None,
    out: Path | None,
    profile: str,
    convert: Path | None,
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
    folder = (out or Path()).absolute()
    scanner = Scanner(info_types() if product is None else _types_of(product, folder))
    tables = read_tables(files, scanner)
    if convert is not None:
        tables = [converted(table) for table in tables]
    drafts = proposed(drafted(tables, scanner), load_profile(profile), scanner)
    plan = compile_plan(_loaded(drafts, product or OWNER, profile), lambda _: 1, AS_OF)
    texts = contract_files(drafts, OWNER, folder) if product is None else _product(drafts, plan, folder)
    write_all(texts, force=force)
    copies = write_tables(tables, convert.absolute(), force=force) if convert else []
    written = [*texts, *copies]
    data = {
        "product": product,
        "profile": profile,
        "files": [str(path) for path in written],
        "datasets": [_dataset(each) for each in drafts],
    }
    show(
        data,
        as_json=as_json,
        render=lambda con: _render(con, drafts, written, product, folder, _source(files, convert)),
    )


def _types_of(product: str, folder: Path) -> Mapping[str, InfoType]:
    """The platform's info types with those that the product has already."""
    return info_types_of(load_settings(project=folder).defs / product)


def _product(drafts: Sequence[TableDraft], plan: Plan, folder: Path) -> dict[Path, str]:
    """All files of a product, in the project that the folder is or becomes."""
    settings = load_settings(project=folder)
    return {
        **project_files(folder, settings.dbt_project),
        **product_files(drafts, plan.product, plan.profile, settings.defs),
        **mart_files(plan, drafts, settings.dbt_project),
    }


def _loaded(drafts: Sequence[TableDraft], product: str, profile: str) -> Product:
    """The drafts as the strict loader reads them, before any of them is written where it is to be."""
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
    con: Console,
    drafts: Sequence[TableDraft],
    written: Sequence[Path],
    product: str | None,
    folder: Path,
    source: str,
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
        line(con, f"  {there}{command(f'run {product} --source {shlex.quote(source)}')}")


def _source(files: Sequence[Path], copies: Path | None) -> str:
    """Where the files are that are pulled."""
    folders = {copies.absolute()} if copies else {file.absolute().parent for file in files}
    return str(folders.pop()) if len(folders) == 1 else "DIR"


def _row(column: ColumnDraft) -> tuple[str, ...]:
    sure = "" if column.confidence is None else f"{column.confidence:.2f}"
    kind = column.logical_type + (f" {column.format}" if column.format else "")
    why = "; ".join(column.doubts or column.reasons)
    mark = "?" if column.doubts else ""
    level = column.classification.label
    known = column.info_type or ""
    return mark, column.name, kind, _key(column), known, sure, level, _transform(column), why

"""`contract draft`: from files to contracts that load, and with a name to a product that builds."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
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
    require_free,
    table_files,
    write_all,
    write_tables,
)
from secure_platform.cli.output import example, heading, json_option, line, show, table
from secure_platform.cli.scan_targets import url_behind
from secure_platform.contract.load import SUFFIX
from secure_platform.contract.names import IDENTIFIER
from secure_platform.contract.product import Product, load_product
from secure_platform.errors import UsageError
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.plan import Plan
from secure_platform.protect.profile import PROFILES, load_profile
from secure_platform.protect.proposal import AS_OF, proposed
from secure_platform.protect.strength import full_name
from secure_platform.scan.columns import Scanner
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.drafting import drafted, named_once
from secure_platform.scan.draft.tables import Table, converted, read_database, read_table
from secure_platform.scan.sources.database import Wanted
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
        "contract draft --url secret://env/SHOP --table orders --convert data --product shop",
        "contract draft visits.parquet --product clinic --profile hipaa_safe_harbor --json",
    ),
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--url", metavar="REFERENCE", help="A PostgreSQL database: secret://… that holds its URL.")
@click.option("--table", "names", multiple=True, metavar="NAME", help="A table of it; all if none is named.")
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
def draft(*, force: bool, as_json: bool, **options: Any) -> None:
    """Draft contracts for FILES (CSV, TSV, Parquet, NDJSON) or tables, for review.

    Types, keys and foreign keys are inferred from all rows; classification, info types and transforms from
    what the scanner finds. No value of a confidential column is written or shown. Above whatever is
    uncertain, the file has a line `# ?`. With --product, the result builds at once; the folder becomes a
    project if it is none.
    """
    asked = _Asked(**options)
    if asked.product is not None and not IDENTIFIER.fullmatch(asked.product):
        raise UsageError(
            f"{asked.product!r} is not a usable product name", "Use lower-case letters, digits and _."
        )
    scanner = Scanner(_types_of(asked.product, asked.folder) if asked.product else info_types())
    tables = _tables(asked, scanner)
    drafts = proposed(drafted(tables, scanner), load_profile(asked.profile), scanner)
    plan = compile_plan(_loaded(drafts, asked.product or OWNER, asked.profile), lambda _: 1, AS_OF)
    copies = table_files(tables, asked.convert.absolute()) if asked.convert else {}
    texts = _product(drafts, plan, asked.folder) if asked.product else None
    texts = texts or contract_files(drafts, OWNER, asked.folder)
    require_free([*texts, *copies], force=force)
    write_all(texts, force=force)
    write_tables(copies)
    written = [*texts, *copies]
    data = {
        "product": asked.product,
        "profile": asked.profile,
        "files": [str(path) for path in written],
        "datasets": [_dataset(each) for each in drafts],
    }
    show(data, as_json=as_json, render=lambda con: _render(con, drafts, written, asked))


@dataclass(frozen=True)
class _Asked:
    """What the caller named."""

    files: tuple[Path, ...]
    url: str | None
    names: tuple[str, ...]
    product: str | None
    out: Path | None
    profile: str
    convert: Path | None

    @property
    def folder(self) -> Path:
        """Where the drafts go."""
        return (self.out or Path()).absolute()

    @property
    def source(self) -> str:
        """Where the files are that will be pulled."""
        folders = {self.convert.resolve()} if self.convert else {f.parent.resolve() for f in self.files}
        return str(folders.pop()) if len(folders) == 1 else "DIR"


def _tables(asked: _Asked, scanner: Scanner) -> list[Table]:
    if not asked.files and asked.url is None:
        raise UsageError("There is nothing to draft from", "Name files, or a database: --url.")
    if asked.names and asked.url is None:
        raise UsageError("--table chooses from a database", "Name it: --url secret://….")
    tables = [read_table(file, scanner) for file in asked.files]
    with ExitStack() as stack:
        if asked.url is not None:
            wanted = Wanted(tables=asked.names)
            tables += read_database(asked.url, url_behind(asked.url, stack), wanted, scanner)
    tables = named_once(tables)
    return [converted(table) for table in tables] if asked.convert else tables


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


def _render(con: Console, drafts: Sequence[TableDraft], written: Sequence[Path], asked: _Asked) -> None:
    for each in drafts:
        heading(con, f"{each.dataset}: {each.rows:,} rows")
        for doubt in each.doubts:
            line(con, f"? {doubt}")
        columns = ("", "column", "type", "key", "info type", "sure", "classification", "transform", "why")
        table(con, columns, map(_row, each.columns))
    heading(con, f"{len(written)} files written. Look at every line that begins with `# ?`:")
    for path in written:
        if path.name.endswith(SUFFIX):
            line(con, f"  {near(path)}")
    if asked.product is not None:
        there = "" if asked.folder == Path.cwd() else f"cd {near(asked.folder)} && "
        line(con, "Then:")
        line(con, f"  {there}{command('check')}")
        line(con, f"  {there}{command(f'run {asked.product} --source {shlex.quote(asked.source)}')}")


def _row(column: ColumnDraft) -> tuple[str, ...]:
    sure = "" if column.confidence is None else f"{column.confidence:.2f}"
    kind = column.logical_type + (f" {column.format}" if column.format else "")
    why = "; ".join(column.doubts or column.reasons)
    mark = "?" if column.doubts else ""
    level = column.classification.label
    known = column.info_type or ""
    return mark, column.name, kind, _key(column), known, sure, level, _transform(column), why

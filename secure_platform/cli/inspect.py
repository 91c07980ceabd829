"""`check`, `plan`, `sql`: what is declared, what will be done, what is in production."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.cli.access import open_platform, open_services, server_option
from secure_platform.cli.build import numbered
from secure_platform.cli.export import print_csv, write_csv
from secure_platform.cli.output import (
    brief,
    example,
    heading,
    json_option,
    line,
    records,
    require_new,
    show,
    table,
)
from secure_platform.contract.product import Product
from secure_platform.errors import ContractError, PlanRefusedError, UsageError
from secure_platform.orchestration.steps.named import refusals
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.orchestration.steps.query import ROW_LIMIT
from secure_platform.orchestration.steps.scanning import product_scan
from secure_platform.protect.changes import WEAKER, changes, parameters
from secure_platform.protect.domains import SHARED, shared_domains, told_domains
from secure_platform.protect.plan import ColumnPlan
from secure_platform.protect.vault import UNTIL
from secure_platform.services import Services


@click.command(epilog=example("check"))
@json_option
def check(*, as_json: bool) -> None:
    """Validate every document of every product, and compile every protection plan.

    Exits 3 and names the first document that is refused, or every product whose plan is.
    """
    services = open_services()
    if not services.products:
        raise ContractError(
            f"There is no data product in {services.settings.defs}",
            "Put one folder per product there: defs.yaml and contracts/*.odcs.yaml.",
        )
    if refused := refusals(services):
        fixes = dict.fromkeys(each.fix for each in refused.values())
        raise PlanRefusedError("; ".join(each.culprit for each in refused.values()), " ".join(fixes))
    data = [_checked(product, services) for product in services.products.values()]

    def render(out: Console) -> None:
        line(out, "Every document is valid.")
        for row in data:
            heading(out, f"{row['product']}: profile {row['profile']}, plan {row['plan']}")
            table(out, ("dataset", "contract version"), row["datasets"].items())

    show(data, as_json=as_json, render=render)


def _checked(product: Product, services: Services) -> dict[str, Any]:
    """What is declared, once its info types and feedback have been read as well."""
    product_scan(product)
    return {
        "product": product.name,
        "profile": product.profile,
        "datasets": {name: contract.version for name, contract in product.contracts.items()},
        "plan": current_plan(product, services.keys).digest,
    }


@click.command(epilog=example("plan healthcare", "plan healthcare --since 2", "plan healthcare --json"))
@click.argument("product")
@click.option(
    "--since",
    type=click.IntRange(1),
    metavar="RELEASE",
    help="Show what differs from the plan of this release instead. Two releases: see release diff.",
)
@json_option
def plan(product: str, *, since: int | None, as_json: bool) -> None:
    """Show how every column of PRODUCT is protected, and why.

    --json prints the rules in full.
    """
    services = open_services()
    compiled = current_plan(services.product(product), services.keys)
    shared = shared_domains(compiled, services.products.values())
    if since is not None:
        platform = open_platform()
        before = platform.signed(numbered(platform, product, since))
        known = before.get("shared_domains", {})
        said = changes(before["plan"]["document"], compiled.to_json())
        said += told_domains(product, known, shared) if known != shared else ()
        show(said, as_json=as_json, render=lambda out: _render_changes(out, product, since, said))
        return

    def render(out: Console) -> None:
        for name, dataset in compiled.datasets.items():
            heading(out, f"{product}/{name}")
            columns = ("column", "info type", "classification", "transform", "why")
            table(out, columns, [row for column in dataset.columns for row in _plan_rows(column)])
            if dataset.suppression:
                line(out, f"Rows that stay behind: {dataset.suppression}")
        for sentence in told_domains(product, shared, shared):
            line(out, f"! {sentence}")
        heading(out, f"Profile {compiled.profile}, plan {compiled.digest}")

    show(compiled.to_json(), as_json=as_json, render=render)


@click.command(
    epilog=example(
        '--token-file me.token sql healthcare "from patient_summary" --purpose research',
        '--token-file me.token sql healthcare "from encounter_facts" --purpose research --out facts.csv',
    )
)
@click.argument("product")
@click.argument("query")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, ROW_LIMIT),
    help="Most rows.",
)
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print CSV, safe in a spreadsheet that reads it with commas."
)
@click.option("--out", type=click.Path(path_type=Path), help="New 0600 file that gets the same CSV.")
@click.option("--purpose", help="What you need it for: one of the product's purposes; it is recorded.")
@server_option
@json_option
def sql(
    product: str,
    query: str,
    limit: int,
    out: Path | None,
    purpose: str | None,
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Run QUERY on the production tables of PRODUCT, read-only.

    The query is audited without its text. In CSV, text is quoted and nothing else is. Text that a spreadsheet
    could execute, or that begins with an apostrophe, gets one more apostrophe in front. Import it with the
    comma as the only separator: another one would split texts, and the rest of a text could be executed.
    """
    if as_csv and as_json:
        raise UsageError("A result is CSV or JSON, not both", "Leave out --csv or --json.")
    if out is not None:
        require_new(out)
    frame = open_platform().query(product, query, limit=limit, purpose=purpose)
    if out is not None:
        write_csv(out, frame.columns, frame.rows())
        data = {"file": str(out), "rows": frame.height}
        text = f"{frame.height} rows are in {out}.{_cut(frame.height, limit)}"
        show(data, as_json=as_json, render=lambda con: line(con, text))
    elif as_csv:
        print_csv(frame.columns, frame.rows())
    else:
        show(
            frame.to_dicts(),
            as_json=as_json,
            render=lambda con: _render_rows(con, frame.columns, frame.rows(), limit),
        )


def _plan_rows(column: ColumnPlan, part: str = "") -> Iterator[tuple[str, ...]]:
    """A row for a column, and one for each transform that it is made of."""
    why = f"waived {column.waived}" if column.waived else column.reason.partition(": ")[0]
    name = f"  {part}" if part else column.column
    until = f" until {column.params[UNTIL]}" if UNTIL in column.params else ""
    told = parameters(column)
    done = f"{column.full_name}{until} ({told})" if told else f"{column.full_name}{until}"
    yield name, column.info_type or "", column.input_classification.label, done, why
    for each, plan_of in column.parts.items():
        yield from _plan_rows(plan_of, each)


def _render_changes(out: Console, product: str, since: int, said: Sequence[str]) -> None:
    heading(out, f"The plan of {product} against release {since}")
    for sentence in said:
        line(out, f"  {'! ' if WEAKER in sentence or SHARED in sentence else ''}{brief(sentence)}")
    if not said:
        line(out, "Nothing differs.")


def _render_rows(out: Console, columns: list[str], rows: list[tuple[Any, ...]], limit: int) -> None:
    records(out, columns, rows)
    line(out, f"({len(rows)} row{'' if len(rows) == 1 else 's'}){_cut(len(rows), limit)}")


def _cut(rows: int, limit: int) -> str:
    """What is said where more rows may have been found than were given out."""
    if rows < limit:
        return ""
    more = f"; --limit gives up to {ROW_LIMIT:,}" if limit < ROW_LIMIT else ": ask for less at a time"
    return f" There may be more{more}."


COMMANDS: Final = {"check": check, "plan": plan, "sql": sql}

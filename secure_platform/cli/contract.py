"""`contract diff`: what a change of contract means to those who rely on it, before it is merged.

Of two products the protection plans are compiled as well, so that weaker protection is breaking whatever it
came from; what else changes in them is noted.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from secure_platform.cli.contract_draft import draft
from secure_platform.cli.contract_levels import levels
from secure_platform.cli.group import Group
from secure_platform.cli.output import example, json_option, line, show, table
from secure_platform.contract.diff import KINDS, Change, ContractDiff, diff_datasets, diff_products
from secure_platform.contract.load import load_contract
from secure_platform.contract.product import Product, load_product
from secure_platform.errors import ContractError, PlanRefusedError, UsageError
from secure_platform.protect.changes import WEAKER, changes
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.proposal import AS_OF

"""The same on both sides: the day of the comparison is no difference."""
NEVER: Final = "never"
_document = click.Path(path_type=Path)


@click.group(cls=Group, epilog=example("contract diff old/patients.odcs.yaml new/patients.odcs.yaml"))
def contract() -> None:
    """Draft contracts from data, and compare contracts."""


@contract.command(
    "diff",
    epilog=example(
        "contract diff old/patients.odcs.yaml new/patients.odcs.yaml",
        "contract diff ../main/defs/healthcare defs/healthcare --fail-on additive --json",
    )
    + "\n\n\b\nAgainst another git revision:\n  git worktree add --detach ../main origin/main",
)
@click.argument("old", type=_document)
@click.argument("new", type=_document)
@click.option(
    "--fail-on",
    type=click.Choice(["breaking", "additive", NEVER]),
    default="breaking",
    show_default=True,
    help="The least change that exits 3.",
)
@json_option
def contract_diff(old: Path, new: Path, fail_on: str, *, as_json: bool) -> int:
    """Say whether the change from OLD to NEW is breaking, additive or none.

    Both are contract files, or both are product folders with defs.yaml and contracts/; of products, the
    protection is compared too. Exits 3 if the change is breaking or a document is refused. Needs no home.
    """
    found = _compare(old, new)
    show(found.to_json(), as_json=as_json, render=lambda out: render_contracts(out, found))
    failing = KINDS[: KINDS.index(fail_on) + 1] if fail_on in KINDS else ()
    return ContractError.exit_code if found.verdict in failing else 0


def render_contracts(out: Console, found: ContractDiff) -> None:
    """Draw the verdict and every change, the gravest first."""
    counts = [f"{len(found.of_kind(kind))} {kind}" for kind in KINDS[:-1] if found.of_kind(kind)]
    words = len(found.of_kind("none"))
    counts += [f"{words} of words only"] if words else []
    line(out, f"Contracts: {found.verdict} ({', '.join(counts) or 'unchanged'})")
    if found.changes:
        rows = [(change.kind, change.dataset, change.column, change.what) for change in found.changes]
        table(out, ("kind", "dataset", "column", "change"), rows)
    for note in found.notes:
        line(out, f"Note: {note}")


def _compare(old: Path, new: Path) -> ContractDiff:
    for path in (old, new):
        if not path.exists():
            raise UsageError(f"There is no {path}", "Name two contract files or two product folders.")
    if old.is_dir() and new.is_dir():
        return _with_protection(load_product(old), load_product(new))
    if old.is_dir() or new.is_dir():
        raise UsageError(
            "OLD and NEW are not both files or both folders",
            "Name two contract files or two product folders.",
        )
    before, after = load_contract(old), load_contract(new)
    return diff_datasets({before.dataset: before}, {after.dataset: after})


def _with_protection(old: Product, new: Product) -> ContractDiff:
    found = diff_products(old, new)
    plans = []
    for side, product in (("old", old), ("new", new)):
        try:
            plans.append(compile_plan(product, lambda _: 1, AS_OF).to_json())
        except PlanRefusedError as refused:
            refusal = Change("breaking", None, None, f"the {side} protection plan is refused: {refused}")
            return replace(found, changes=(refusal, *found.changes))
    said = changes(*plans)
    weaker = tuple(_weaker(sentence) for sentence in said if WEAKER in sentence)
    others = [f"Protection: {sentence}" for sentence in said if WEAKER not in sentence]
    return ContractDiff((*weaker, *found.changes), (*found.notes, *others))


def _weaker(sentence: str) -> Change:
    place, _, what = sentence.partition(": ")
    dataset, _, column = place.partition(".")
    return Change("breaking", dataset, column, what)


contract.add_command(draft)
contract.add_command(levels)

COMMANDS: Final = {"contract": contract}

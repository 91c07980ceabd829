"""`budget`: what a product has published about people with noise, and what it may still spend."""

from typing import Final

import click
from rich.console import Console

from secure_platform.access.resources import Action
from secure_platform.cli.access import open_services
from secure_platform.cli.output import example, heading, json_option, line, show, table
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.protect.budget import Balance
from secure_platform.protect.told import errors

COLUMNS: Final = ("told on (UTC)", "aggregate", "epsilon", "rho", "delta")


@click.command(
    epilog=example("--token-file me.token budget clinic", "--token-file me.token budget clinic --json")
)
@click.argument("product")
@json_option
def budget(product: str, *, as_json: bool) -> None:
    """Show the privacy budget of PRODUCT: what each table spent, what is left, when it renews.

    What was published stays published: only a new period renews the budget. Making a table again from the
    same data gives the same table and spends nothing.
    """
    services = open_services()
    declared = services.product(product)
    services.policy.require(services.caller(), Action.RUN_READ, product_resource(services, declared))
    if declared.aggregates is None:
        raise UsageError(
            f"{product} publishes no numbers with noise",
            "Declare it in aggregates.yaml; see docs/protection.md.",
        )
    balance = services.budget.balance(product, declared.aggregates.budget)
    expected = {
        each.name: {error.measure: error.to_json() for error in errors(each)}
        for each in declared.aggregates.aggregates
    }

    def render(out: Console) -> None:
        _render(out, product, balance)
        heading(out, "Noise of each number")
        rows = [
            (name, measure, error["of"], f"±{error['within_95']}", error["deviation"])
            for name, measures in expected.items()
            for measure, error in measures.items()
        ]
        table(out, ("aggregate", "measure", "noise of", "19 times of 20 within", "standard deviation"), rows)

    data = {"product": product, **balance.to_json(), "expected_error": expected}
    show(data, as_json=as_json, render=render)


def _render(out: Console, product: str, balance: Balance) -> None:
    allowed = balance.budget
    heading(out, f"The privacy budget of {product}")
    spent = "cannot be added up" if balance.epsilon is None else f"{balance.epsilon:.4g}"
    line(out, f"epsilon: {spent} of {allowed.epsilon:g} spent")
    line(out, f"delta: {float(balance.delta):g} of {allowed.delta:g} spent")
    line(out, f"each {allowed.period}, {allowed.composition} composition")
    line(out, f"renews: {f'{balance.renews:%Y-%m-%d}' if balance.renews else 'never'}")
    rows = [
        (
            f"{each.spent_at:%Y-%m-%d %H:%M}",
            each.aggregate,
            "" if each.epsilon is None else f"{float(each.epsilon):g}",
            f"{float(each.rho):.4g}",
            f"{float(each.delta):g}",
        )
        for each in balance.spends
    ]
    table(out, COLUMNS, rows)
    if not rows:
        line(out, "Nothing is spent in this period.")


COMMANDS: Final = {"budget": budget}

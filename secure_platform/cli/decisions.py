"""`release approve|reject|withdraw|wait`: a decision names one release, and says which it was."""

import time
from typing import Final

import click
from rich.console import Console

from secure_platform.cli.access import next_deployment, open_platform, server_option
from secure_platform.cli.build import numbered
from secure_platform.cli.local import Platform, Verb
from secure_platform.cli.output import brief, example, json_option, line, show
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import OPEN, ReleaseState
from secure_platform.orchestration.steps.exchange import record_data

POLL_SECONDS: Final = 2.0
_DECIDED: Final = {"approve": {ReleaseState.PENDING}, "reject": {ReleaseState.PENDING}, "withdraw": OPEN}
_UNTIL: Final = {
    "approved": {ReleaseState.APPROVED, ReleaseState.DEPLOYED},
    "deployed": {ReleaseState.DEPLOYED},
}


def _command(verb: Verb, text: str, reason: str) -> click.Command:
    sample = f'--token-file me.token release {verb} healthcare 3 --reason "{reason}"'

    @click.command(verb, help=text, epilog=example(sample))
    @click.argument("product")
    @click.argument("number", type=click.IntRange(1), required=False)
    @click.option("--reason", required=True, help="Why; kept with the release.")
    @click.option("--digest", help="The digest you reviewed; refused if the release has another one.")
    @click.option("--ticket", help="Id of the change ticket it belongs to, such as CHG0030192.")
    @server_option
    @json_option
    def decide(
        product: str,
        number: int | None,
        reason: str,
        digest: str | None,
        ticket: str | None,
        *,
        as_json: bool,
    ) -> None:
        platform = open_platform()
        record, base = _meant(platform, verb, product, number, digest), platform.base(product)
        decided = platform.decide(verb, record, base=base, reason=reason, ticket=ticket)
        show(record_data(decided), as_json=as_json, render=lambda out: _render(out, decided))

    return decide


approve = _command(
    "approve",
    "Approve a pending release of PRODUCT, to replace what is in production now.\n\n"
    "The package is verified first. Whoever requested the release cannot approve it. NUMBER may be left out "
    "if only one release is pending.",
    "reviewed",
)
reject = _command(
    "reject",
    "Reject a pending release of PRODUCT.\n\nNUMBER may be left out if only one release is pending.",
    "rows missing",
)
withdraw = _command(
    "withdraw",
    "Withdraw a release that is not deployed.\n\nNUMBER may be left out if only one release is open.",
    "wrong source",
)


@click.command("wait", epilog=example("release wait healthcare 3 --until deployed --timeout 7200"))
@click.argument("product")
@click.argument("number", type=click.IntRange(1))
@click.option(
    "--until",
    type=click.Choice(sorted(_UNTIL)),
    default="approved",
    show_default=True,
    help="What to wait for; a release that is in production was approved.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=3600,
    show_default=True,
    help="Seconds to wait for people; then it exits 4, and the release still waits.",
)
@server_option
@json_option
def wait(product: str, number: int, until: str, timeout: float, *, as_json: bool) -> None:
    """Wait until a release is approved or deployed; exits 4 if it never will be."""
    platform, deadline = open_platform(), time.monotonic() + timeout
    record = numbered(platform, product, number)
    while record.state not in _UNTIL[until]:
        if record.state not in OPEN:
            raise GateRefusedError(f"{record.title} is {record.state}", "Build the product again.")
        if time.monotonic() >= deadline:
            raise GateRefusedError(
                f"{record.title} is still {record.state} after {timeout:g} s", "Wait again; it goes on."
            )
        time.sleep(POLL_SECONDS)
        record = platform.record(record.digest)
    show(
        record_data(record),
        as_json=as_json,
        render=lambda out: line(out, f"{record.title} is {record.state}."),
    )


def _render(out: Console, decided: ReleaseRecord) -> None:
    replaced = "on an empty production" if decided.base is None else f"to replace {decided.base}"
    line(out, brief(f"{decided.title} is {decided.state}: {decided.digest}, {replaced}."))
    if decided.state is ReleaseState.APPROVED:
        line(out, f"The daemon deploys it, or: {next_deployment(decided.product, decided.number)}")


def _meant(
    platform: Platform, verb: Verb, product: str, number: int | None, digest: str | None
) -> ReleaseRecord:
    """The one release that is meant: named by number or digest, else the only one it could be.

    Raises:
        GateRefusedError: If there is none to decide on.
        UsageError: If it does not have the digest, or more than one could be meant.
    """
    if number is not None:
        record = numbered(platform, product, number)
        if digest not in {None, record.digest}:
            raise UsageError(
                f"{record.title} does not have the digest you reviewed",
                f"Review it again: secure-platform release show {product} {number}.",
            )
        return record
    found = [
        record
        for record in platform.releases(product)
        if (record.digest == digest if digest else record.state in _DECIDED[verb])
    ]
    if not found and digest:
        raise UsageError(
            f"No release of {product} has the digest you reviewed",
            f"Review it again: secure-platform release show {product}.",
        )
    if not found:
        raise GateRefusedError(
            f"No release of {product} waits for this decision",
            f"See: secure-platform release list {product}.",
        )
    if len(found) > 1:
        numbers = ", ".join(str(record.number) for record in found)
        raise UsageError(f"Releases {numbers} of {product} could be meant", "Name one by its number.")
    return found[0]

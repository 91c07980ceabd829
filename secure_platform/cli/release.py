"""`release`: list, show, verify, compare and decide."""

from collections.abc import Callable
from typing import Final

import click
from rich.console import Console

from secure_platform.access.policy import Action
from secure_platform.cli.access import command, open_services
from secure_platform.cli.build import newest, numbered, record_data
from secure_platform.cli.output import brief, example, json_option, line, show, table
from secure_platform.cli.review import render_attention, render_difference, render_review
from secure_platform.errors import UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.orchestration.steps.review import difference, verified_manifest
from secure_platform.release.diff import diff_manifests
from secure_platform.services import Services

product_argument = click.argument("product")
number_argument = click.argument("number", type=click.IntRange(1), required=False)
reason_option = click.option("--reason", required=True, help="Why; kept with the release.")
digest_option = click.option(
    "--digest", help="The digest you reviewed; refused if the release has another one."
)


def _record(services: Services, product: str, number: int | None) -> ReleaseRecord:
    """The named release, or the newest one, if the caller may read it."""
    _require_reader(services, product)
    if number is None:
        record = newest(services, services.product(product).name)
        if record is None:
            raise UsageError(f"{product} has no release yet", f"Build one: secure-platform run {product}.")
        return record
    return numbered(services, product, number)


def _require_reader(services: Services, product: str) -> None:
    resource = product_resource(services, services.product(product))
    services.policy.require(services.caller(), Action.RELEASE_READ, resource)


@click.group(epilog=example("release show healthcare 3"))
def release() -> None:
    """List, show, verify, compare and decide on releases."""


@release.command("list", epilog=example("release list healthcare"))
@click.argument("product", required=False)
@json_option
def release_list(product: str | None, *, as_json: bool) -> None:
    """List releases and their states; the one in production is marked."""
    services = open_services()
    for name in [product] if product else services.products:
        _require_reader(services, name)
    records = services.gate.list(product)
    live = {services.target.base(name) for name in {record.product for record in records}}
    data = [{**record_data(record), "in_production": record.digest in live} for record in records]

    columns = ("product", "number", "state", "in production", "requested by", "created", "digest")

    def render(out: Console) -> None:
        rows = [
            (
                row["product"],
                row["number"],
                row["state"],
                "yes" if row["in_production"] else "",
                row["requested_by"],
                row["created_at"][:16].replace("T", " "),
                brief(row["digest"]),
            )
            for row in data
        ]
        table(out, columns, rows)
        if not rows:
            line(out, f"No release yet. Build one: {command('run PRODUCT')}")

    show(data, as_json=as_json, render=render)


@release.command("show", epilog=example("release show healthcare 3"))
@product_argument
@number_argument
@json_option
def release_show(product: str, number: int | None, *, as_json: bool) -> None:
    """Show what a steward looks at: rows, schema, checks, findings, protection, difference to production.

    Without NUMBER it is the newest release.
    """
    services = open_services()
    record = _record(services, product, number)
    manifest = verified_manifest(services, record)
    diff = difference(services, record, manifest)
    data = {"release": record_data(record), "manifest": dict(manifest), "difference": diff.to_json()}
    show(data, as_json=as_json, render=lambda out: render_review(out, record, manifest, diff))


@release.command("verify", epilog=example("release verify healthcare 3"))
@product_argument
@number_argument
@json_option
def release_verify(product: str, number: int | None, *, as_json: bool) -> None:
    """Derive everything again from the package's bytes; exits 5 if anything differs."""
    services = open_services()
    record = _record(services, product, number)
    manifest = verified_manifest(services, record)
    data = {"digest": record.digest, "tables": list(manifest["tables"]), "verified": True}
    show(
        data,
        as_json=as_json,
        render=lambda out: line(
            out, f"Release {record.number} of {product} is whole and signed: {record.digest}"
        ),
    )


@release.command("diff", epilog=example("release diff healthcare 2 3"))
@product_argument
@click.argument("old", type=click.IntRange(1))
@click.argument("new", type=click.IntRange(1))
@json_option
def release_diff(product: str, old: int, new: int, *, as_json: bool) -> None:
    """Compare two releases: tables, rows, columns, contracts, protection plan."""
    services = open_services()
    before, after = _record(services, product, old), _record(services, product, new)
    manifest = verified_manifest(services, after)
    diff = diff_manifests(verified_manifest(services, before), manifest)

    def render(out: Console) -> None:
        render_attention(out, diff)
        render_difference(out, diff, f"Release {after.number} of {product} against release {before.number}")

    show(diff.to_json(), as_json=as_json, render=render)


@release.command(
    "approve",
    epilog=example('--token-file me.token release approve healthcare 3 --reason "reviewed"'),
)
@product_argument
@number_argument
@reason_option
@digest_option
@json_option
def release_approve(
    product: str, number: int | None, reason: str, digest: str | None, *, as_json: bool
) -> None:
    """Approve a pending release of PRODUCT against what is in production now; its requester cannot.

    The package is verified first. Without NUMBER it is the newest release.
    """
    services = open_services()
    record = _seen(services, product, number, digest)
    verified_manifest(services, record)
    base = services.target.base(product)
    decided = services.gate.approve(record.digest, services.caller(), reason=reason, base=base)
    _decided(decided, as_json=as_json)


@release.command(
    "reject", epilog=example('--token-file me.token release reject healthcare 3 --reason "rows missing"')
)
@product_argument
@number_argument
@reason_option
@json_option
def release_reject(product: str, number: int | None, reason: str, *, as_json: bool) -> None:
    """Reject a pending release."""
    _decide(lambda s: s.gate.reject, product, number, reason, as_json=as_json)


@release.command(
    "withdraw", epilog=example('--token-file me.token release withdraw healthcare 3 --reason "wrong source"')
)
@product_argument
@number_argument
@reason_option
@json_option
def release_withdraw(product: str, number: int | None, reason: str, *, as_json: bool) -> None:
    """Withdraw a release that is not deployed."""
    _decide(lambda s: s.gate.withdraw, product, number, reason, as_json=as_json)


def _seen(services: Services, product: str, number: int | None, digest: str | None) -> ReleaseRecord:
    record = _record(services, product, number)
    if digest is not None and digest != record.digest:
        raise UsageError(
            f"Release {record.number} of {product} does not have the digest you reviewed",
            f"Review it again: secure-platform release show {product} {record.number}.",
        )
    return record


def _decide(
    choose: Callable[[Services], Callable[..., ReleaseRecord]],
    product: str,
    number: int | None,
    reason: str,
    *,
    as_json: bool,
) -> None:
    services = open_services()
    record = _record(services, product, number)
    _decided(choose(services)(record.digest, services.caller(), reason=reason), as_json=as_json)


def _decided(record: ReleaseRecord, *, as_json: bool) -> None:
    base = "on an empty production" if record.base is None else f"to replace {record.base}"
    text = brief(f"Release {record.number} of {record.product} is {record.state}: {record.digest}, {base}.")

    def render(out: Console) -> None:
        line(out, text)
        if record.state is ReleaseState.APPROVED:
            line(out, f"The daemon deploys it, or: {command(f'deploy {record.product}')}")

    show(record_data(record), as_json=as_json, render=render)


COMMANDS: Final = {"release": release}

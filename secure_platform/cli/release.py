"""`release`: list, show, verify, compare and decide."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.cli.access import command, open_platform, server_option
from secure_platform.cli.build import numbered
from secure_platform.cli.decisions import approve, reject, wait, withdraw
from secure_platform.cli.group import Group
from secure_platform.cli.local import Platform
from secure_platform.cli.output import brief, example, json_option, line, show, table
from secure_platform.cli.review import render_attention, render_difference, render_review
from secure_platform.errors import UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.exchange import record_data
from secure_platform.orchestration.steps.review import compared
from secure_platform.release.diff import diff_manifests
from secure_platform.release.layout import release_directory
from secure_platform.release.trust import MAX_BYTES, read_trust_root
from secure_platform.release.verify import authentic_package

product_argument = click.argument("product")
number_argument = click.argument("number", type=click.IntRange(1), required=False)


def _record(platform: Platform, product: str, number: int | None) -> ReleaseRecord:
    """The named release, or the newest one."""
    if number is not None:
        return numbered(platform, product, number)
    newest = max(platform.releases(product), key=lambda record: record.number, default=None)
    if newest is None:
        raise UsageError(f"{product} has no release yet", f"Build one: secure-platform run {product}.")
    return newest


@click.group(cls=Group, epilog=example("release show healthcare 3"))
def release() -> None:
    """List, show, verify, compare and decide on releases."""


@release.command("list", epilog=example("release list healthcare"))
@click.argument("product", required=False)
@server_option
@json_option
def release_list(product: str | None, *, as_json: bool) -> None:
    """List releases and their states; the one in production is marked."""
    platform = open_platform()
    records = platform.releases(product)
    live = {platform.base(name) for name in {record.product for record in records}}
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
@server_option
@json_option
def release_show(product: str, number: int | None, *, as_json: bool) -> None:
    """Show what a steward reviews before approving.

    Rows, schema, checks, findings, protection, and the difference to production. Default: the newest release.
    A release whose rows went with an erased person says so first.
    """
    platform = open_platform()
    record = _record(platform, product, number)
    gone, base = platform.erased(record), platform.base(product)
    manifest = platform.signed(record) if gone else platform.manifest(record)
    diff = compared(record, manifest, base, lambda digest: platform.manifest(platform.record(digest)))
    data = {
        "release": record_data(record),
        "manifest": dict(manifest),
        "difference": diff.to_json(),
        "erased": gone,
    }
    show(data, as_json=as_json, render=lambda out: render_review(out, record, manifest, diff, gone))


@release.command(
    "verify",
    epilog=example(
        "release verify healthcare 3",
        "release verify healthcare 3 --trust-root trust-root.json --releases .",
    ),
)
@product_argument
@number_argument
@click.option(
    "--trust-root",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Verify signature and files as this document says, without a home: see keys trust-root.",
)
@click.option(
    "--releases",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="With --trust-root: the folder that holds PRODUCT/NUMBER; default the current one.",
)
@server_option
@json_option
def release_verify(
    product: str, number: int | None, trust_root: Path | None, releases: Path, *, as_json: bool
) -> None:
    """Recompute everything from the package's bytes; exits 5 if anything differs."""
    if trust_root is not None:
        data = _verified_outside(trust_root, releases, product, number)
    else:
        platform = open_platform()
        record = _record(platform, product, number)
        tables = platform.verify(record)
        data = {"number": record.number, "digest": record.digest, "tables": tables, "verified": True}
    text = f"Release {data['number']} of {product} is whole and signed: {data['digest']}"
    show(data, as_json=as_json, render=lambda out: line(out, text))


def _verified_outside(trust_root: Path, releases: Path, product: str, number: int | None) -> dict[str, Any]:
    """What a package says whose signature and files were verified by those who have no key of the home."""
    if number is None:
        raise UsageError("No release was named", "Give its number after the product.")
    with trust_root.open("rb") as opened:
        trusted = read_trust_root(opened.read(MAX_BYTES + 1))
    with TemporaryDirectory() as scratch:
        found = authentic_package(release_directory(releases, product, number), trusted, Path(scratch))
    known = {"environment": trusted.environment, "log": trusted.origin, "issued_at": trusted.issued_at}
    return {"number": number, "digest": found.digest, "verified": True, "trust_root": known}


@release.command("diff", epilog=example("release diff healthcare 2 3"))
@product_argument
@click.argument("old", type=click.IntRange(1))
@click.argument("new", type=click.IntRange(1))
@server_option
@json_option
def release_diff(product: str, old: int, new: int, *, as_json: bool) -> None:
    """Compare two releases: tables, rows, columns, contracts, protection plan."""
    platform = open_platform()
    before, after = numbered(platform, product, old), numbered(platform, product, new)
    diff = diff_manifests(platform.signed(before), platform.signed(after))

    def render(out: Console) -> None:
        render_attention(out, diff)
        render_difference(out, diff, f"Release {after.number} of {product} against release {before.number}")

    show(diff.to_json(), as_json=as_json, render=render)


for decision in (approve, reject, withdraw, wait):
    release.add_command(decision)

COMMANDS: Final = {"release": release}

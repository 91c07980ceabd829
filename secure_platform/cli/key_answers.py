"""`keys retokenize`, `emergency`, `trust-root`: what follows when a key was rotated, or has leaked."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from secure_platform.access.resources import Action, PlatformResource
from secure_platform.cli.access import command, open_services
from secure_platform.cli.build import render_build, run_data
from secure_platform.cli.output import Output, example, heading, json_option, line, require_new, show
from secure_platform.cli.progress import Progress
from secure_platform.files import write_private
from secure_platform.keys.catalog import domain_of_name, name_of_domain
from secure_platform.orchestration.steps.emergency import Emergency, leaked_version, publish_trust_root
from secure_platform.orchestration.steps.emergency import emergency as answer
from secure_platform.orchestration.steps.retokenize import Carrier, carriers


@click.command(
    epilog=example("--token-file engineer.token keys retokenize patient", "keys retokenize patient --list")
)
@click.argument("domain")
@click.option("--list", "only_list", is_flag=True, help="Only say which products have which version.")
@json_option
def retokenize(domain: str, *, only_list: bool, as_json: bool) -> int:
    """Rebuild what is in production so that the tokens of DOMAIN use the newest key.

    It is built from the raw snapshots behind the release in production, without reading a source. The result
    waits at the gate as always.
    """
    services = open_services()
    services.custody.find(name_of_domain(domain))
    found = list(carriers(services, domain))
    outdated = [each for each in found if each.outdated and not only_list]
    progress = Progress(Output(), quiet=as_json)
    done = {}
    for each in outdated:
        # Dagster takes a second to import, and is needed only now.
        from secure_platform.orchestration.launch import run_retokenize  # noqa: PLC0415

        progress.start(f"Making {each.product} anew with version {each.current} of {name_of_domain(domain)}")
        report = run_retokenize(services.settings, services.product(each.product), listener=progress)
        record = services.gate.get(report.release) if report.succeeded and report.release else None
        done[each.product] = report, record

    def render(out: Console) -> None:
        for each in found:
            line(out, _stands(each))
        if not found:
            line(out, f"No product in production has tokens of {domain}.")
        for product, (report, record) in done.items():
            render_build(out, product, report, record)

    runs = {product: run_data(report, record) for product, (report, record) in done.items()}
    products = [{**asdict(each), "outdated": each.outdated} for each in found]
    show({"domain": domain, "products": products, "runs": runs}, as_json=as_json, render=render)
    return max((report.exit_code for report, _ in done.values()), default=0)


@click.command(
    epilog=example(
        "--token-file admin.token keys emergency sign", "--token-file admin.token keys emergency data --yes"
    )
)
@click.argument("name")
@click.option(
    "--version",
    type=click.IntRange(1),
    help="The version that leaked; default that of an unfinished answer, or the newest.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def emergency(name: str, version: int | None, *, yes: bool, as_json: bool) -> None:
    """Respond to the leak of the key NAME.

    The key is rotated, what is valid is verified and signed again, the leaked version is no longer trusted,
    and every session and every token except yours ends. If it was interrupted, run it again and it finishes.
    What to do besides is in docs/runbooks/leaked-key.md.
    """
    services = open_services()
    about = leaked_version(services, name, version)
    if not yes:
        heading(Output(), f"{about.title} leaked: every other token and every session ends now.")
        click.confirm("Go on?", abort=True, err=True)
    done = answer(services, services.caller(), name, about.version)

    def render(out: Console) -> None:
        for text in _told(done):
            line(out, text)

    show(asdict(done), as_json=as_json, render=render)


@click.command(
    "trust-root",
    epilog=example("--token-file me.token keys trust-root", "keys trust-root --out trust-root.json"),
)
@click.option("--out", type=click.Path(path_type=Path), help="Write it into this new file, too.")
@json_option
def trust_root(out: Path | None, *, as_json: bool) -> None:
    """Export this home's public signing keys, for verifying releases elsewhere.

    Pass the file on in a way that its receiver trusts: its signature shows that it is complete, not whose it
    is.
    """
    if out is not None:
        require_new(out)
    services = open_services()
    caller = services.caller()
    services.policy.require(caller, Action.KEY_READ, PlatformResource())
    root, path = publish_trust_root(services, actor=caller.name)
    if out is not None:
        write_private(out, path.read_bytes())

    def render(console: Console) -> None:
        line(console, f"Number {root.number} of {root.origin}: {out or path}")
        for key in root.keys:
            state = "revoked" if key.revoked_at else "signs" if key.not_after is None else "signed"
            line(console, f"  {key.keyid} {state}, made {key.not_before}")

    show({**root.model_dump(), "file": str(out or path)}, as_json=as_json, render=render)


def _stands(each: Carrier) -> str:
    state = f"newest {each.current}" if each.outdated else "the newest"
    key = name_of_domain(each.domain)
    return f"{each.product} is in production with version {each.version} of {key}, {state}."


def _told(done: Emergency) -> Iterator[str]:
    yield f"{done.name} has version {done.version} in place of {done.leaked}, which leaked."
    for what, count in done.signed_again.items():
        yield f"{count} {what} were signed again."
    if done.removed:
        yield f"{done.removed} decisions that the audit log does not know were removed: somebody had the key."
    for title in done.left:
        yield f"{title} does not verify, and keeps a signature that nobody believes any more."
    yield f"{done.tokens} tokens were revoked, {done.sessions} sessions ended."
    if done.trust_root:
        yield f"Hand out the new trust root: {done.trust_root}"
    for what, count in done.anew.items():
        yield f"{count} {what} can still be read, or forged, by whoever has it: make them anew."
    if done.retokenize:
        yield f"In production with tokens of it: {', '.join(done.retokenize)}. Make them anew:"
        domain = domain_of_name(done.name)
        yield f"  {command(f'keys retokenize {domain}', same_caller=True)}"
    yield "The new version is in no backup yet:"
    yield f"  {command('keys backup FILE', same_caller=True)}"


KEY_ANSWERS: Final[tuple[click.Command, ...]] = (retokenize, emergency, trust_root)

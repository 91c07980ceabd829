"""`keys retokenize`, `emergency`, `trust-root`: a key was rotated or leaked, and things were made with it."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.cli.access import command, near, open_services
from secure_platform.cli.output import Output, example, heading, json_option, line, require_new, show
from secure_platform.cli.progress import Progress
from secure_platform.errors import UsageError
from secure_platform.files import write_private
from secure_platform.keys.catalog import PURPOSES
from secure_platform.orchestration.launch import run_retokenize
from secure_platform.orchestration.steps.emergency import Emergency, emergency, export_trust_root
from secure_platform.orchestration.steps.exchange import RunReport
from secure_platform.orchestration.steps.retokenize import carriers


@click.command(epilog=example("keys retokenize patient", "keys retokenize patient --check --json"))
@click.argument("domain")
@click.option("--check", is_flag=True, help="Only say which products still carry tokens of another version.")
@json_option
def retokenize(domain: str, *, check: bool, as_json: bool) -> int:
    """After a rotation of token/DOMAIN, make anew what is in production, from its raw snapshots.

    No source is read. Each product gets a release that waits at the gate; until it is deployed, production
    carries the old tokens.
    """
    services = open_services()
    found = list(carriers(services, domain))
    progress = Progress(Output(), quiet=as_json)
    reports: dict[str, RunReport] = {}
    for each in found if not check else ():
        if each.outdated:
            progress.start(f"Making the tokens of {each.product} anew")
            product = services.product(each.product)
            reports[each.product] = run_retokenize(services.settings, product, listener=progress)

    def render(out: Console) -> None:
        for each in found:
            stands = f"is made with version {each.version} of {each.current}"
            line(out, f"Production of {each.product} {stands}.")
        for product, report in reports.items():
            if report.succeeded:
                line(out, f"A release waits at the gate: {command(f'release show {product}')}")
        if not found:
            line(out, f"No product in production has tokens of the domain {domain}.")

    data = [{**asdict(each), "outdated": each.outdated, **_told(reports.get(each.product))} for each in found]
    show(data, as_json=as_json, render=render)
    return max((report.exit_code for report in reports.values()), default=0)


@click.command(
    epilog=example("--token-file admin.token keys emergency sign", "keys emergency token/patient --yes")
)
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="That leaked; default the newest.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def emergency_command(name: str, version: int | None, *, yes: bool, as_json: bool) -> None:
    """The key NAME leaked: rotate it, sign anew what stands, and end every other token and session.

    Killed at any moment, it is finished by saying it again. A leaked signing key is disabled, and the new
    trust root published. Nothing makes secret again what was encrypted under a leaked key: it is counted.
    """
    services = open_services()
    caller = services.caller()
    about = services.custody.find(name, version)
    if not yes and not _confirmed(name, PURPOSES[about.kind]):
        raise UsageError(f"{name} was not named once more", "Give --yes, or type its name.")
    done = emergency(services, caller, name, version)
    trust_root = None if done.trust_root is None else str(done.trust_root)
    data = {**asdict(done), "trust_root": trust_root}
    show(data, as_json=as_json, render=lambda out: _render(out, done))


@click.command(
    epilog=example("--token-file admin.token keys trust-root /mnt/public/trust-root.json", "keys trust-root")
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
def trust_root(file: Path | None) -> None:
    """Write the trust root into the new FILE, or print it: with it, others verify releases without a key.

    Hand it over by a way that its receiver trusts, and again whenever the signing key was rotated.
    """
    if file is not None:
        require_new(file)
    services = open_services()
    document = export_trust_root(services, services.caller())
    if file is None:
        sys.stdout.write(document.decode() + "\n")
    else:
        write_private(file, document)
        file.chmod(0o644)
        line(Output(), f"{near(file)} tells which signing keys are this home's.")


def _told(report: RunReport | None) -> dict[str, Any]:
    return {} if report is None else {"succeeded": report.succeeded, "release": report.release}


def _confirmed(name: str, purpose: str) -> bool:
    out = Output()
    heading(out, f"{name} {purpose}.")
    line(out, "It is rotated, and everybody else has to log in and get a token anew.")
    answer: str = click.prompt(f"Type {name} if it leaked", default="", show_default=False, err=True)
    return answer == name


def _render(out: Console, done: Emergency) -> None:
    line(out, f"Version {done.version} of {done.name} is used from now on; version {done.leaked} leaked.")
    for what, count in done.signed_again.items():
        line(out, f"{count} {what} are signed again.")
    if done.removed:
        line(out, f"{done.removed} decisions were removed: nobody made them, by the audit log.")
    for title in done.left:
        line(out, f"{title} does not verify, and bears a signature that nobody believes any more.")
    for what, count in done.anew.items():
        line(out, f"{count} {what} were made with the leaked version: make them anew.")
    for product in done.retokenize:
        again = command(f"keys retokenize {done.name.partition('/')[2]}")
        line(out, f"{product} is in production with its tokens: {again}")
    line(out, f"{done.tokens} tokens were revoked, but not yours, and {done.sessions} sessions ended.")
    if done.trust_root is not None:
        line(out, f"Hand the new trust root to whoever verifies releases: {near(done.trust_root)}")
    line(out, f"Back the keys up: {command('--token-file admin.token keys backup FILE')}")


KEY_LINE: Final = {"retokenize": retokenize, "emergency": emergency_command, "trust-root": trust_root}

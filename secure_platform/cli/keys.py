"""`keys`: look at the keys of a home, and change what may be done with them."""

from dataclasses import asdict
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.custody import Custody, KeyReport, KeyStatus
from secure_platform.access.principals import Principal
from secure_platform.cli.access import open_services, tell_unsaved
from secure_platform.cli.group import Group
from secure_platform.cli.key_answers import KEY_ANSWERS
from secure_platform.cli.key_files import KEY_FILES
from secure_platform.cli.output import Output, example, heading, json_option, line, show, table
from secure_platform.errors import IntegrityError, SecurePlatformError, UsageError
from secure_platform.keys.algorithms import POLICY
from secure_platform.keys.catalog import PURPOSES, SIGN, KeyVersion
from secure_platform.orchestration.steps.emergency import publish_trust_root
from secure_platform.orchestration.steps.key_usage import destroy as destroy_version
from secure_platform.orchestration.steps.key_usage import usage_of

_COLUMNS: Final = ("key", "version", "state", "algorithm", "provider", "days", "uses", "in a backup", "due")


@click.group(cls=Group, epilog=example("keys list", "--token-file admin.token keys rotate token/patient"))
def keys() -> None:
    """Keys: list, rotate, rewrap, disable, destroy, back up, restore, check."""


@keys.command("list", epilog=example("--token-file me.token keys list", "keys list --json"))
@json_option
def list_keys(*, as_json: bool) -> None:
    """List every version of every key: state, provider, age, backup, what is due."""
    services = open_services()
    report = services.custody.report(services.caller())

    def render(out: Console) -> None:
        table(out, _COLUMNS, [_row(key) for key in report.keys])
        tell_unsaved(out, report.unsaved)

    show(report_data(report), as_json=as_json, render=render)


@keys.command("show", epilog=example("--token-file me.token keys show token/patient"))
@click.argument("name")
@json_option
def show_key(name: str, *, as_json: bool) -> None:
    """Show one key: what it does, and what needs each of its versions."""
    services = open_services()
    report = services.custody.report(services.caller())
    services.custody.find(name)
    found = [key for key in report.keys if key.about.name == name]
    needs = {key.about.version: usage_of(services, key.about) for key in found}
    purpose = PURPOSES[found[0].about.kind]

    def render(out: Console) -> None:
        line(out, f"{name} {purpose}.")
        table(out, _COLUMNS, [_row(key) for key in found])
        for version, uses in needs.items():
            for what, count in uses.items():
                line(out, f"Version {version} is needed by {count} {what}.")

    versions = [{**status_data(key), "needed_by": needs[key.about.version]} for key in found]
    show({"name": name, "purpose": purpose, "versions": versions}, as_json=as_json, render=render)


@keys.command(epilog=example("--token-file admin.token keys rotate token/patient", "keys rotate --due"))
@click.argument("name", required=False)
@click.option("--due", is_flag=True, help="Every key that is due.")
@json_option
def rotate(name: str | None, *, due: bool, as_json: bool) -> int:
    """Rotate the key NAME: add a new version.

    Earlier versions still open what exists. Tokens of a domain whose key was rotated differ from earlier
    ones: see keys retokenize.
    """
    if (name is None) is not due:
        raise UsageError("Name one key, or give --due", "See: secure-platform keys list")
    services = open_services()
    caller = services.caller()
    made, problems = _rotate_due(services.custody, caller) if name is None else ([], [])
    if name is not None:
        made = [services.custody.rotate(caller, name)]
    if any(each.kind == SIGN for each in made):
        publish_trust_root(services, actor=caller.name)

    def render(out: Console) -> None:
        for each in made:
            line(out, f"{each.name} has version {each.version}.")
        for problem in problems:
            line(out, f"Not rotated: {problem.culprit}. {problem.fix}")
        if not made and not problems:
            line(out, "No key is due.")
        tell_unsaved(out, services.key_backups.unsaved())

    data = {"made": [version_data(each) for each in made], "problems": [each.culprit for each in problems]}
    show(data, as_json=as_json, render=render)
    return problems[0].exit_code if problems else 0


def _rotate_due(custody: Custody, caller: Principal) -> tuple[list[KeyVersion], list[SecurePlatformError]]:
    """Each by itself: one that cannot be rotated stops no other."""
    made, problems = [], []
    for due in custody.due():
        try:
            made.append(custody.rotate(caller, due.name, after=due.version))
        except SecurePlatformError as error:
            problems.append(error)
    return made, problems


@keys.command(epilog=example("--token-file admin.token keys disable data 1"))
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@json_option
def disable(name: str, version: int, *, as_json: bool) -> None:
    """Disable VERSION of the key NAME.

    Nothing is opened or verified with it until it is enabled again.
    """
    services = open_services()
    changed = services.custody.disable(services.caller(), name, version)
    _changed(changed, as_json=as_json)


@keys.command(epilog=example("--token-file admin.token keys enable data 1"))
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@json_option
def enable(name: str, version: int, *, as_json: bool) -> None:
    """Enable a disabled VERSION of the key NAME again, for what already exists."""
    services = open_services()
    changed = services.custody.enable(services.caller(), name, version)
    _changed(changed, as_json=as_json)


@keys.command(epilog=example("--token-file petra.token keys destroy token/patient 1"))
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.option("--yes-destroy", metavar="NAME", help="The key's name once more; without it, it is asked for.")
@json_option
def destroy(name: str, version: int, yes_destroy: str | None, *, as_json: bool) -> None:
    """Destroy VERSION of the key NAME: what needs it can never be read again.

    Somebody else must have disabled it first. What is on legal hold keeps it. Earlier backups still contain
    it: destroy those, too.
    """
    services = open_services()
    about = services.custody.find(name, version)
    needs = usage_of(services, about)
    if yes_destroy is None:
        yes_destroy = _asked(about, needs)
    if yes_destroy != name:
        raise UsageError(f"{name} was not repeated", f"Give --yes-destroy {name}.")
    changed = destroy_version(services, services.caller(), name, version)
    _changed(changed, as_json=as_json, lost=needs)


def _asked(about: KeyVersion, needs: dict[str, int]) -> str:
    out = Output()
    heading(out, f"Version {about.version} of {about.name} {PURPOSES[about.kind]}.")
    for what, count in needs.items():
        line(out, f"{count} {what} can never be read again.")
    answer: str = click.prompt(f"Type {about.name} to destroy it", default="", show_default=False, err=True)
    return answer


@keys.command(epilog=example("keys check", "keys check --json"))
@json_option
def check(*, as_json: bool) -> None:
    """Try to open every version of every key; exits 5 if one does not open.

    Keys at a provider are opened there. Meant for monitoring: needs no token.
    """
    services = open_services()
    report = services.custody.check()
    if report.broken:
        broken = "; ".join(f"{title}: {why}" for title, why in report.broken.items())
        raise IntegrityError(
            f"Keys do not open: {broken}",
            "Restore what was lost: secure-platform keys restore; replace a signing key: keys rotate sign.",
        )
    due = [key for key in report.keys if key.due]
    provider = services.settings.keys.provider
    data = {
        "provider": provider,
        "versions": len(report.keys),
        "due": [status_data(key) for key in due],
        "retired": report.retired,
        "unsaved": list(report.unsaved),
    }

    def render(out: Console) -> None:
        line(out, f"{len(report.keys)} versions open with the provider {provider}.")
        for key in due:
            line(out, f"{key.about.name} is due by {key.due}: secure-platform keys rotate {key.about.name}")
        for title in report.retired:
            line(out, f"{title} has an algorithm that is only read any more.")
        tell_unsaved(out, report.unsaved)

    show(data, as_json=as_json, render=render)


@keys.command(epilog=example("keys posture", "keys posture --json"))
@json_option
def posture(*, as_json: bool) -> None:
    """Show which algorithms are used for what, and which of them FIPS 140-3 approves."""
    columns = ("algorithm", "used for", "it", "FIPS 140-3", "source")
    rows = list(POLICY.values())
    cells = [
        (each.name, each.used_for, each.standing, "approved" if each.fips else "not approved", each.source)
        for each in rows
    ]
    show([asdict(each) for each in rows], as_json=as_json, render=lambda out: table(out, columns, cells))


def report_data(report: KeyReport) -> dict[str, Any]:
    """A report as JSON."""
    backup = asdict(report.backup) if report.backup else None
    return {
        "keys": [status_data(key) for key in report.keys],
        "last_backup": backup,
        "unsaved": list(report.unsaved),
    }


def status_data(key: KeyStatus) -> dict[str, Any]:
    """A version and how it stands as JSON."""
    stands = {"days": key.days, "uses": key.uses, "in_backup": key.saved, "due": key.due}
    return {**version_data(key.about), **stands}


def version_data(about: KeyVersion) -> dict[str, Any]:
    """A version as JSON."""
    return {**asdict(about), "kind": about.kind}


def _changed(about: KeyVersion, *, as_json: bool, lost: dict[str, int] | None = None) -> None:
    data = version_data(about) | ({} if lost is None else {"lost": lost})
    text = f"Version {about.version} of {about.name} is {about.state}."
    show(data, as_json=as_json, render=lambda out: line(out, text))


def _row(key: KeyStatus) -> tuple[Any, ...]:
    about = key.about
    saved = "yes" if key.saved else "no"
    stands = (about.provider, key.days, key.uses, saved, key.due or "")
    return (about.name, about.version, about.state, about.algorithm, *stands)


for _command in (*KEY_FILES, *KEY_ANSWERS):
    keys.add_command(_command)

COMMANDS: Final = {"keys": keys}

"""`audit`: verify, read, prove and export the tamper-evident log."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform import canonical
from secure_platform.access.principals import ANONYMOUS
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.cli.access import open_services
from secure_platform.cli.group import Group
from secure_platform.cli.output import brief, example, json_option, line, print_json, show, table
from secure_platform.errors import UsageError
from secure_platform.files import replace_private
from secure_platform.gate.registry import GATE
from secure_platform.notify.outbox import NOTIFIER
from secure_platform.scan.ocsf import finding_events
from secure_platform.services import Services
from secure_platform.taxonomy.info_types import info_types

# Actors that are no principals: nobody, Dagster's own events, the gate when it writes that time is over.
OTHER_ACTORS: Final = (ANONYMOUS.name, "dagster", GATE, NOTIFIER)
SHOWN: Final = 60
FINDINGS: Final = "findings.ocsf.ndjson"
PACKAGE_NAME: Final = "secure-platform"


def _reading() -> Services:
    """The rooms, if the caller may read the log."""
    services = open_services()
    services.policy.require(services.caller(), Action.AUDIT_READ, PlatformResource())
    return services


@click.group(cls=Group, epilog=example("audit verify --checkpoint kept.txt"))
def audit() -> None:
    """Verify, read, prove and export the audit log."""


@audit.command("verify", epilog=example("audit verify --checkpoint kept.txt"))
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint kept elsewhere, such as a release's; only it shows truncation. Repeatable.",
)
@json_option
def verify(checkpoints: tuple[Path, ...], *, as_json: bool) -> None:
    """Recompute the whole log and compare it with its checkpoints; exits 5 on any change.

    Needs no token.
    """
    services = open_services()
    report = services.audit.verify([path.read_bytes().decode("utf-8", "replace") for path in checkpoints])
    data = {
        "size": report.size,
        "root": report.root.hex(),
        "checkpoints": list(report.checkpoints),
        "unfinished": list(report.unfinished),
    }

    def render(out: Console) -> None:
        line(out, f"The log is whole: {report.size} entries, {len(report.checkpoints)} checkpoints agree.")
        if report.unfinished:
            line(out, f"Effects announced and without outcome yet: {len(report.unfinished)}.")
        if not checkpoints:
            line(out, "No kept checkpoint was given: entries removed from the end would not show.")

    show(data, as_json=as_json, render=render)


@audit.command("tail", epilog=example("--token-file admin.token audit tail --count 20"))
@click.option(
    "--count", default=20, show_default=True, type=click.IntRange(1, 100_000), help="How many entries."
)
@json_option
def tail(count: int, *, as_json: bool) -> None:
    """Show the newest entries, the oldest of them first.

    Actors that this home knows are shown by name.
    """
    services = _reading()
    names = [*(principal.name for principal in services.principals.list()), *OTHER_ACTORS]
    known = {hashed: name for name in names for hashed in services.keys.identifiers(name)}
    data = [_named(dict(entry.body), known) for entry in services.audit.tail(count)]
    columns = ("seq", "time (UTC)", "actor", "action", "phase", "subject", "detail")
    show(
        data,
        as_json=as_json,
        render=lambda out: table(out, columns, [_row(body) for body in data]),
    )


@audit.command("prove", epilog=example("--token-file admin.token audit prove 12"))
@click.argument("seq", type=click.IntRange(0))
@json_option
def prove(seq: int, *, as_json: bool) -> None:
    """Prove that entry SEQ is in the log, against a signed checkpoint.

    The proof is JSON, with or without --json.
    """
    services = _reading()
    proof = services.audit.prove(seq).to_json()
    show(proof, as_json=as_json, render=lambda _out: print_json(proof))


@audit.command("export", epilog=example("--token-file admin.token audit export /mnt/worm/log"))
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--ocsf", is_flag=True, help="Also write every finding of a scan as an OCSF event.")
@json_option
def export(directory: Path, *, ocsf: bool, as_json: bool) -> None:
    """Export the log to DIRECTORY as C2SP tiles with a signed checkpoint.

    Keep it elsewhere. With --ocsf, the file findings.ocsf.ndjson has one Data Security Finding (class 2006)
    per line.
    """
    services = _reading()
    try:
        services.audit.export(directory)
        if ocsf:
            replace_private(directory / FINDINGS, _events(services))
    except OSError as error:
        raise UsageError(
            f"The log cannot be written to {directory}: {error.strerror or type(error).__name__}",
            "Name a folder that you may write to.",
        ) from None
    show(
        {"directory": str(directory)},
        as_json=as_json,
        render=lambda out: line(out, f"Exported to {directory}; keep it where this host cannot change it."),
    )


def _events(services: Services) -> bytes:
    events = finding_events(
        services.audit.entries(), info_types(), origin=services.audit.origin, version=version(PACKAGE_NAME)
    )
    return b"".join(canonical.dumps(event) + b"\n" for event in events)


def _named(value: Any, known: Mapping[str, str]) -> Any:
    """The same with names in place of the keyed hashes that this home can name."""
    match value:
        case str():
            return known.get(value, value)
        case Mapping():
            return {name: _named(item, known) for name, item in value.items()}
        case list():
            return [_named(item, known) for item in value]
        case _:
            return value


def _row(body: Mapping[str, Any]) -> tuple[Any, ...]:
    detail = brief(" ".join(f"{name}={_word(value)}" for name, value in body["detail"].items()))
    if len(detail) > SHOWN:
        detail = f"{detail[: SHOWN - 1]}…"
    time = body["time"][:19].replace("T", " ")
    actor, subject = brief(body["actor"]), brief(body["subject"])
    return body["seq"], time, actor, body["action"], body["phase"], subject, detail


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


COMMANDS: Final = {"audit": audit}

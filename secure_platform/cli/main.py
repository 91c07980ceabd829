"""One command per thing a person or a CI job does, with `--help`, `--json` and a meaningful exit code.

0 done, pending approval or up to date; 1 an unexpected error; 2 usage; 3 data or contract refused, or a
breaking contract change; 4 gate refused; 5 integrity; 6 storage; 130 interrupted. A command's module is
imported when the command is called: `--help` must not load Dagster.
"""

import gc
import importlib
import io
import itertools
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from secure_platform.cli.output import example, finish, report, report_error
from secure_platform.errors import SecurePlatformError, StepFailedError, StorageError

COMMANDS: Final = {
    "init": ("secure_platform.cli.build", "Create the home: keys, databases, first principals."),
    "demo": ("secure_platform.cli.demo", "Run the main job on generated data, through the gate."),
    "run": ("secure_platform.cli.build", "Build a product: source to pending release."),
    "deploy": ("secure_platform.cli.build", "Deploy the approved release of a product."),
    "rollback": ("secure_platform.cli.build", "Put the previous release back into production."),
    "release": ("secure_platform.cli.release", "List, show, verify, compare and decide on releases."),
    "sql": ("secure_platform.cli.inspect", "Query production, read-only."),
    "plan": ("secure_platform.cli.inspect", "Show how every column is protected, and why."),
    "budget": ("secure_platform.cli.budget", "Show a privacy budget: spent, left, when it renews."),
    "reveal": ("secure_platform.cli.reveal", "Recover original values, for a declared purpose."),
    "erase": ("secure_platform.cli.erase", "Erase a person from everything that is kept."),
    "hold": ("secure_platform.cli.erase", "Set, lift and list legal holds, which prevent erasure."),
    "map": ("secure_platform.cli.map", "Show data flows, encryption boundaries and keys."),
    "check": ("secure_platform.cli.inspect", "Validate every contract and product document."),
    "scan": ("secure_platform.cli.scan", "Look for personal data and secrets anywhere."),
    "contract": ("secure_platform.cli.contract", "Draft contracts from data; compare contracts."),
    "principal": ("secure_platform.cli.people", "Add, invite, change, list and disable principals."),
    "token": ("secure_platform.cli.people", "Issue, list and revoke tokens."),
    "session": ("secure_platform.cli.people", "List and end sessions."),
    "keys": ("secure_platform.cli.keys", "List, rotate, disable, destroy, back up and restore keys."),
    "access": ("secure_platform.cli.rights", "Check and explain policies; temporary rights; freezes."),
    "secret": ("secure_platform.cli.secret", "Keep secrets in this home; rotate them anywhere."),
    "audit": ("secure_platform.cli.audit", "Verify, read, prove and export the audit log."),
    "incident": ("secure_platform.cli.incident", "List, show, acknowledge and resolve incidents."),
    "sla": ("secure_platform.cli.sla", "Report by month which delivery promises were kept."),
    "notify": ("secure_platform.cli.notify", "List and send notices; test a channel."),
    "serve": ("secure_platform.cli.serve", "Start the web server and the daemon."),
}
INTERRUPTED: Final = 130
NEW_OBJECTS: Final = 20_000
"""After so many the garbage collector looks. What a command imports stays, and with Python's own 700 it was
looked through so often that it took a tenth of a command's time."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order a user meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=example("run healthcare --source /data/emr", "release show healthcare --json"),
)
@click.option(
    "--home", type=click.Path(path_type=Path), help="The home. Default: .secure_platform in the project."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with your token, mode 0600. Default: $SECURE_PLATFORM_TOKEN_FILE.",
)
@click.version_option(package_name="secure-platform")
def cli(home: Path | None, token_file: Path | None) -> None:
    """CI/CD for sensitive data: from source to production through an approval gate."""
    # Dagster steps, the daemon and dbt run in other processes: what they share is the environment.
    if home is not None:
        os.environ["SECURE_PLATFORM_HOME"] = str(home.expanduser().absolute())
    if token_file is not None:
        os.environ["SECURE_PLATFORM_TOKEN_FILE"] = str(token_file.expanduser().absolute())


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its code; an error is one clear text, never a stack trace."""
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    code = run(arguments if arguments is not None else sys.argv[1:])
    finish()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    as_json = "--json" in itertools.takewhile(lambda argument: argument != "--", arguments)
    try:
        result: Any = cli.main(args=arguments, prog_name="secure-platform", standalone_mode=False)
    except click.Abort:
        return report("Interrupted", "Interrupted", "Run it again.", code=INTERRUPTED, as_json=as_json)
    except click.ClickException as error:
        return _report_usage(error, as_json=as_json)
    except SecurePlatformError as error:
        return report_error(error, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - a library's message may hold data: only its class is shown
        return _report_foreign(error, as_json=as_json)
    except BaseException as error:
        # A panic of a library in Rust is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        return _report_foreign(error, as_json=as_json)
    return result if isinstance(result, int) else 0


def _report_usage(error: click.ClickException, *, as_json: bool) -> int:
    """What click refuses: as text it shows the usage line too."""
    if not as_json:
        error.show()
        return error.exit_code
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "secure-platform"
    culprit, fix = error.format_message(), f"See: {path} --help"
    return report("UsageError", culprit, fix, code=error.exit_code, as_json=True)


def _report_foreign(error: BaseException, *, as_json: bool) -> int:
    """What the operating system refuses is named: its own text and the file's name hold no data."""
    disk = StorageError.behind("The command", error)
    if disk is not None:
        return report_error(disk, as_json=as_json)
    if not isinstance(error, OSError) or error.strerror is None or error.filename is None:
        return report_error(StepFailedError.withheld("The command", error), as_json=as_json)
    culprit = f"{os.fsdecode(error.filename)}: {error.strerror}"
    fix = "Check the path, its permissions and the free space."
    return report(type(error).__name__, culprit, fix, code=StepFailedError.exit_code, as_json=as_json)

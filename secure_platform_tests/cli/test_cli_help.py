"""Every command explains itself, with an example that works."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from secure_platform.cli.main import COMMANDS as LAZY
from secure_platform.cli.main import NEW_OBJECTS, cli, run

EXAMPLE = re.compile(r"^ *secure-platform (.*)$", re.MULTILINE)
WITHOUT_JSON = {("serve",)}


def _walk(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _walk(found, (*path, name))


COMMANDS = dict(_walk(cli))
PATHS = sorted(COMMANDS)


def _help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*path, "--help"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


@pytest.mark.parametrize("path", [path for path in PATHS if isinstance(COMMANDS[path], click.Group)])
def test_no_description_in_a_list_of_commands_is_cut_off(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in _help(path, capsys).partition("Commands:")[2]


def test_the_commands_are_those_of_the_manual() -> None:
    assert [" ".join(path) for path in PATHS] == [
        "",
        "access",
        "access break-glass",
        "access check",
        "access delegate",
        "access explain",
        "access freeze",
        "access grant",
        "access list",
        "access matrix",
        "access review",
        "access revoke",
        "access simulate",
        "access unfreeze",
        "audit",
        "audit export",
        "audit prove",
        "audit tail",
        "audit verify",
        "budget",
        "check",
        "contract",
        "contract diff",
        "contract draft",
        "contract levels",
        "demo",
        "deploy",
        "erase",
        "hold",
        "hold lift",
        "hold list",
        "hold set",
        "incident",
        "incident acknowledge",
        "incident false-alarm",
        "incident list",
        "incident resolve",
        "incident show",
        "init",
        "keys",
        "keys backup",
        "keys check",
        "keys destroy",
        "keys disable",
        "keys emergency",
        "keys enable",
        "keys list",
        "keys passphrase",
        "keys passphrase change",
        "keys passphrase remove",
        "keys passphrase set",
        "keys posture",
        "keys restore",
        "keys retokenize",
        "keys rewrap",
        "keys rotate",
        "keys show",
        "keys trust-root",
        "map",
        "notify",
        "notify alerts",
        "notify deliver",
        "notify list",
        "notify test",
        "plan",
        "principal",
        "principal add",
        "principal change",
        "principal disable",
        "principal invite",
        "principal list",
        "release",
        "release approve",
        "release diff",
        "release list",
        "release reject",
        "release show",
        "release verify",
        "release wait",
        "release withdraw",
        "reveal",
        "rollback",
        "run",
        "scan",
        "scan paths",
        "scan repo",
        "secret",
        "secret list",
        "secret remove",
        "secret rotate",
        "secret set",
        "serve",
        "session",
        "session list",
        "session revoke",
        "sla",
        "sql",
        "token",
        "token issue",
        "token list",
        "token revoke",
    ]


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_help_with_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = _help(path, capsys)
    assert "\n  Example:\n    secure-platform " in text
    assert all(line == line.rstrip() for line in text.splitlines())
    command = COMMANDS[path]
    assert command.help
    if not isinstance(command, click.Group) and path not in WITHOUT_JSON:
        assert "--json" in text


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_example_is_a_command_line_of_that_command(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("kept.txt", "trust-root.json"):
        Path(file).touch()
    for example in EXAMPLE.findall(_help(path, capsys).partition("Example:")[2]):
        words = shlex.split(example)
        context = cli.make_context("secure-platform", words)
        reached: tuple[str, ...] = ()
        while isinstance(context.command, click.Group):
            name, command, rest = context.command.resolve_command(
                context, context._protected_args + context.args
            )
            assert name is not None
            assert command is not None
            reached = (*reached, name)
            context = command.make_context(name, rest, parent=context)
        assert reached[: len(path)] == path


def test_every_option_says_what_it_is_for() -> None:
    silent = [
        (" ".join(path), parameter.name)
        for path, command in COMMANDS.items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []


def test_the_overview_loads_no_dagster() -> None:
    code = (
        "import sys; from secure_platform.cli.main import run; run(['--help']);"
        "sys.exit('dagster' in sys.modules or 'polars' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_what_a_command_imports_is_seldom_looked_through_for_garbage() -> None:
    code = (
        "import gc, sys; from secure_platform.cli.main import main\n"
        "try: main(['--version'])\n"
        "finally: sys.stderr.write(str(gc.get_threshold()[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, str(NEW_OBJECTS))


def test_only_what_runs_a_job_loads_what_is_slow_to_load() -> None:
    modules = sorted({module for name, (module, _) in LAZY.items() if name not in {"demo", "serve"}})
    code = (
        f"import sys, {', '.join(modules)};"
        "sys.exit(bool({'alembic', 'dagster', 'dbt', 'pandera', 'sqlglot'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert re.fullmatch(r"secure-platform, version \d+\.\d+\.\d+\n", capsys.readouterr().out)

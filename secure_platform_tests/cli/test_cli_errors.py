"""Exit codes and what an error shows: the culprit and the fix, never a stack trace, never a value."""

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from cli_support import PROGRAM, ROOT, Cli, execute
from polars.exceptions import PanicException

from secure_platform import errors
from secure_platform.cli import main
from secure_platform.cli.output import json_option

CANARY = "999-12-3456"
CODES = {
    errors.UsageError: 2,
    errors.ContractError: 3,
    errors.DataRefusedError: 3,
    errors.PlanRefusedError: 3,
    errors.GateRefusedError: 4,
    errors.AlreadyRolledBackError: 4,
    errors.AccessDeniedError: 4,
    errors.IntegrityError: 5,
    errors.StorageError: 6,
    errors.ServiceError: 7,
    errors.StepFailedError: 1,
}
Probe = Callable[[BaseException], None]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Adds a command `probe` that raises what it is given."""
    raised: list[BaseException] = []

    @click.command()
    @click.option("--note")
    @json_option
    def command(note: str | None, *, as_json: bool) -> None:
        del note, as_json
        raise raised[0]

    module: Any = types.ModuleType("probe_command")
    module.COMMANDS = {"probe": command}
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setitem(main.COMMANDS, "probe", ("probe_command", "Raise."))
    return raised.append


def test_every_error_has_its_exit_code() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    own = {c for c in classes if issubclass(c, errors.SecurePlatformError)} - {errors.SecurePlatformError}
    assert own == set(CODES)


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_an_error_shows_culprit_and_fix(
    kind: type[errors.SecurePlatformError], probe: Probe, cli: Cli
) -> None:
    probe(kind("This is wrong.", "Do that."))
    result = cli("probe")
    assert (result.code, result.out) == (CODES[kind], "")
    assert result.err == "error: This is wrong.\n  fix: Do that.\n"


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_an_error_is_one_document_for_programs(
    kind: type[errors.SecurePlatformError], probe: Probe, cli: Cli
) -> None:
    probe(kind("This is wrong", "Do that."))
    result = cli("probe", "--json")
    assert (result.code, result.err) == (CODES[kind], "")
    assert result.json == {
        "error": kind.__name__,
        "culprit": "This is wrong",
        "fix": "Do that.",
        "exit_code": CODES[kind],
    }


def _unexpected() -> BaseException:
    error = ValueError(f"could not convert {CANARY}")
    error.__cause__ = KeyError(CANARY)
    error.add_note(CANARY)
    return error


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_unexpected_error_shows_its_class_and_line_only(
    options: list[str], probe: Probe, cli: Cli
) -> None:
    probe(_unexpected())
    result = cli("probe", *options)
    assert result.code == 1
    text = result.out + result.err
    assert "ValueError" in text
    assert "main.py:" in text
    assert CANARY not in text
    assert "Traceback" not in text
    if options:
        assert result.json["error"] == "StepFailedError"


def test_a_panic_of_a_library_is_an_unexpected_error(probe: Probe, cli: Cli) -> None:
    probe(PanicException(CANARY))
    result = cli("probe", "--json")
    assert (result.code, result.err, result.json["error"]) == (1, "", "StepFailedError")
    assert "PanicException" in result.json["culprit"]
    assert CANARY not in result.out


def test_what_ends_python_is_no_error(probe: Probe) -> None:
    probe(SystemExit(7))
    with pytest.raises(SystemExit):
        main.run(["probe"])


def test_what_the_system_refuses_is_named(probe: Probe, cli: Cli) -> None:
    probe(PermissionError(13, "Permission denied", "/srv/data"))
    result = cli("probe", "--json")
    assert result.json["culprit"] == "/srv/data: Permission denied"
    assert result.code == 1


def test_a_librarys_system_error_keeps_its_text_to_itself(probe: Probe, cli: Cli) -> None:
    probe(FileNotFoundError(f"no such thing: {CANARY}"))
    result = cli("probe")
    assert "FileNotFoundError" in result.err
    assert CANARY not in result.err


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130(stop: BaseException, probe: Probe, cli: Cli) -> None:
    probe(stop)
    assert cli("probe").code == 130
    assert cli("probe", "--json").json["exit_code"] == 130


def test_an_error_cannot_steer_the_terminal(probe: Probe, cli: Cli) -> None:
    probe(errors.UsageError("There is no '\x1b[2J\r'", "Ask \x07."))
    assert cli("probe").err == "error: There is no '\\x1b[2J\\r'.\n  fix: Ask \\x07.\n"


@pytest.mark.parametrize(
    ("arguments", "culprit", "fix"),
    [
        (["nope"], "No such command 'nope'.", "See: secure-platform --help"),
        (["plan"], "Missing argument 'PRODUCT'.", "See: secure-platform plan --help"),
        (["audit", "tail", "--count", "x"], "'x' is not a valid", "See: secure-platform audit tail --help"),
        (["sql", "a", "b", "--limit", "0"], "0 is not in the range", "See: secure-platform sql --help"),
        (["principal", "add", "a", "--role", "god"], "'god' is not one of", "principal add --help"),
        (["audit", "verify", "--checkpoint", "/nope"], "does not exist", "audit verify --help"),
        (["rollback", "healthcare"], "Missing option '--reason'", "See: secure-platform rollback --help"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], culprit: str, fix: str, cli: Cli) -> None:
    result = cli(*arguments, "--json")
    assert (result.code, result.err) == (2, "")
    assert culprit in result.json["culprit"]
    assert fix in result.json["fix"]
    assert result.json["exit_code"] == 2
    plain = cli(*arguments)
    assert (plain.code, plain.out) == (2, "")
    assert "Usage: secure-platform" in plain.err
    assert culprit in plain.err


def test_json_after_two_dashes_is_an_argument(cli: Cli) -> None:
    result = cli("plan", "--", "--json")
    assert (result.code, result.out) == (2, "")
    assert "There is no data product named '--json'" in result.err


@pytest.mark.parametrize("kind", ["file", "open", "impossible"])
def test_a_home_that_cannot_be_one_is_refused(kind: str, tmp_path: Path) -> None:
    homes = {"file": tmp_path / "file", "open": tmp_path / "open", "impossible": Path("/proc/nowhere/home")}
    homes["file"].touch(0o600)
    homes["open"].mkdir(0o755)
    homes["open"].chmod(0o755)
    result = Cli(homes[kind])("release", "list", "--json")
    assert result.code == 2
    assert str(homes[kind]) in result.json["culprit"]


def test_the_program_and_the_module_are_one_command(home: Path) -> None:
    """The real entry points, in processes of their own."""
    program = execute("plan", "nope", "--json", home=home)
    assert (program.code, program.err) == (2, "")
    assert program.json["culprit"] == "There is no data product named 'nope'"
    command = [sys.executable, "-m", "secure_platform", "--home", str(home), "nope"]
    module = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (module.returncode, module.stdout) == (2, "")
    assert module.stderr.startswith("Usage: secure-platform ")


@pytest.mark.parametrize("arguments", [["plan", "healthcare"], ["plan", "healthcare", "--json"], ["--help"]])
def test_a_reader_may_stop_reading(arguments: list[str], home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        finished = subprocess.run(
            [str(PROGRAM), "--home", str(home), *arguments],
            cwd=ROOT,
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert finished.stderr == b""
    assert finished.returncode == (1 if arguments == ["--help"] else 0)


def test_the_exit_code_survives_readers_that_stopped_reading(home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        for options in ([], ["--json"]):
            command = [str(PROGRAM), "--home", str(home), "plan", "nope", *options]
            assert subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=pipe, check=False).returncode == 2

"""What some tests need is installed by one script, or its absence is said by name."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from optional_servers import CHROMIUM, required

SCRIPT = Path(__file__).resolve().parents[1] / "infra" / "tests" / "servers.sh"
Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Adds a program to a PATH that holds nothing else."""

    def add(name: str, body: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    add("grep", "exit 1")
    add("apt-get", f'echo "$*" >> {tmp_path}/calls')
    add("npm", f'echo "$*" >> {tmp_path}/fetched')
    add("prometheus", "")
    return add


def install(tmp_path: Path, script: Path = SCRIPT) -> tuple[int, str, str]:
    """Exit code and errors of the script, and what it asked of apt."""
    finished = subprocess.run(
        ["/bin/sh", str(script)],
        cwd=tmp_path if script != SCRIPT else None,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    calls = tmp_path / "calls"
    return finished.returncode, finished.stderr, calls.read_text() if calls.exists() else ""


def test_a_missing_program_is_skipped_by_name_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Chromium is not installed: make servers"):
        required("Chromium", CHROMIUM)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Chromium is not installed: make servers"):
        required("Chromium", CHROMIUM)


def test_root_installs_what_is_missing(program: Program, tmp_path: Path) -> None:
    program("id", "echo 0")
    code, errors, calls = install(tmp_path)
    assert (code, errors) == (0, "")
    update, installed = calls.splitlines()
    assert update == "update -qq"
    assert installed.startswith("install -y -qq --no-install-recommends chromium")


def test_what_binds_other_versions_is_installed_beside_its_lock_file(
    program: Program, tmp_path: Path
) -> None:
    program("id", "echo 0")
    script = tmp_path / "tests" / SCRIPT.name
    there = [script.parent / "oidc/node_modules/oidc-provider", script.parent / "aws/.venv/bin/ministack"]
    for path in [script, *there]:
        path.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(SCRIPT.read_text())
    record = f'echo "$*" >> {tmp_path}/fetched'
    for python in (tmp_path / ".venv/bin/python", script.parent / "aws/.venv/bin/python"):
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(f"#!/bin/sh\n{record}\n")
        python.chmod(0o755)
    assert install(tmp_path, script)[0] == 0
    oidc, venv, pip = (tmp_path / "fetched").read_text().splitlines()
    assert oidc == f"ci --prefix {script.parent}/oidc --ignore-scripts --no-audit --no-fund"
    assert venv == f"-m venv {script.parent}/aws/.venv"
    assert "--require-hashes --only-binary :all:" in pip
    assert pip.endswith(f"-r {script.parent}/aws/requirements.txt")
    for path in there:
        path.mkdir()
        path.chmod(0o755)
    assert install(tmp_path, script)[0] == 0
    assert len((tmp_path / "fetched").read_text().splitlines()) == 3


def test_prometheus_is_unpacked_beside_and_not_installed(program: Program, tmp_path: Path) -> None:
    script = tmp_path / "tests" / SCRIPT.name
    there = [script.parent / "oidc/node_modules/oidc-provider", script.parent / "aws/.venv/bin"]
    for path in there:
        path.mkdir(parents=True)
    (there[1] / "ministack").touch(mode=0o755)
    script.write_text(SCRIPT.read_text())
    (tmp_path / "prometheus").unlink()
    program("google-chrome", "")
    program("node", "")
    program("id", "echo 0")
    program("mkdir", '/bin/mkdir "$@"')
    program("rm", "")
    program("dpkg", f'echo "$*" >> {tmp_path}/unpacked; /bin/mkdir -p usr/bin; : > usr/bin/prometheus')
    code, errors, calls = install(tmp_path, script)
    assert (code, errors) == (0, "")
    assert "download -qq prometheus\n" in calls
    assert (tmp_path / "unpacked").read_text().startswith("-x prometheus_")
    (script.parent / "prometheus/usr/bin/prometheus").chmod(0o755)
    assert install(tmp_path, script)[2].count("download") == 1


def test_what_is_there_is_not_fetched(program: Program, tmp_path: Path) -> None:
    program("id", "echo 0")
    program("google-chrome", "")
    code, _, calls = install(tmp_path)
    assert (code, "chromium" in calls) == (0, False)


def test_without_root_nothing_is_tried_and_it_is_said(program: Program, tmp_path: Path) -> None:
    program("id", "echo 1000")
    program("sudo", "exit 1")
    code, errors, calls = install(tmp_path)
    assert (code, calls) == (2, "")
    assert "needs root: sudo make servers" in errors


def test_the_snap_of_ubuntu_is_not_installed(program: Program, tmp_path: Path) -> None:
    program("id", "echo 0")
    program("grep", "exit 0")
    code, errors, calls = install(tmp_path)
    assert (code, calls) == (2, "")
    assert "snap" in errors

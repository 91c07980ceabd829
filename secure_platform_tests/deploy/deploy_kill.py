"""Run as a program: kill a deployment at every step that it takes on the disk, and see what readers get.

The deployer and the reader are forked from this process, which itself starts no thread and opens no database.
"""

import importlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy_support import Home, open_home

from secure_platform.deploy.production import Production
from secure_platform.errors import SecurePlatformError

STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "fcntl.flock"}
TICKS = 6
# What the children import when they first need it: once here instead of in every one of them.
LATE = ("pyarrow.dataset", "duckdb_extension_httpfs", "sqlglot.dialects.duckdb")


def deploy(home: Home, begin: Callable[[], None] = lambda: None) -> None:
    with home.verified(3) as release:
        begin()
        base = home.digest(2)
        home.target.publish(release, expected_base=base, actor="service:deployer")


def kill_at_step(step: int) -> Callable[[], None]:
    left = step

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in STEPS or writes:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(watch)


def kill_after(seconds: float) -> Callable[[], None]:
    """In the middle of whatever native code runs then."""
    return lambda: signal.setitimer(signal.ITIMER_REAL, seconds) and None


def state(home: Home) -> Production:
    """The release that is in production, after it was compared with its package row by row."""
    production = home.target.current("healthcare")
    if production is None or production.number not in {2, 3}:
        raise AssertionError
    with home.verified(production.number) as release:
        home.target.verify("healthcare", release.manifest)
    return production


def ask(home: Home, production: Production) -> None:
    """As a reader does."""
    (count,) = home.target.query("healthcare", "SELECT count(*) FROM patients", limit=1, actor="a").row(0)
    if count != production.rows["patients"]:
        raise AssertionError


def inspect(root: Path) -> int:
    home = open_home(root)
    survived = state(home)
    ask(home, survived)
    deploy(home)
    files = {path.name.partition("-")[0] for path in home.warehouse.iterdir() if path.is_file()}
    scratch = [path for path in (root / "tmp").iterdir() if path.is_dir()]
    home.store.sweep()
    left = [path for path in (root / "tmp").iterdir() if path.is_dir()]
    if state(home).number != 3 or files != {".lock", "CURRENT", "1", "2", "3"} or len(scratch) > 3 or left:
        raise AssertionError
    home.audit.verify()
    return survived.number


def forked(work: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        except (AssertionError, SecurePlatformError):
            os._exit(99)
    return os.waitpid(child, 0)[1]


def attempt(template: Path, root: Path, begin: Callable[[], None]) -> tuple[bool, int]:
    """Whether the deployer was killed, and which release readers got afterwards."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)

    def work() -> int:
        deploy(open_home(root), begin)
        return 0

    status = forked(work)
    survived = os.waitstatus_to_exitcode(forked(lambda: inspect(root)))
    return os.WIFSIGNALED(status), survived


def main(template: Path, root: Path) -> None:
    for name in LATE:
        importlib.import_module(name)
    outcomes = []
    step, killed = 0, True
    while killed:
        step += 1
        killed, survived = attempt(template, root, kill_at_step(step))
        outcomes.append(survived)
    outcomes += [attempt(template, root, kill_after(0.03 * tick))[1] for tick in range(1, TICKS)]
    sys.stdout.write(f"{step - 1} {' '.join(map(str, outcomes))}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

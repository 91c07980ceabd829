"""`serve`: the UI and the daemon of one home, on loopback, ended together."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

import click

from secure_platform.cli.access import prepare_home
from secure_platform.cli.output import Output, example, line
from secure_platform.contract.product import load_products
from secure_platform.control.locks import file_lock
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.notify.courier import delivering
from secure_platform.orchestration.home import dagster_home
from secure_platform.services import Services
from secure_platform.settings import PREFIX, Settings, load_settings
from secure_platform.web.daemon import running_daemon
from secure_platform.web.server import HOST, listen, serve_ui

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PRIVATE_UMASK: Final = 0o077


@click.command(epilog=example("serve", "--home /srv/secure serve --port 3100"))
@click.option(
    "--port",
    default=3000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1; 0 takes a free one.",
)
def serve(port: int) -> None:
    """Serve the Dagster UI on loopback and run the daemon: schedules, sensors, freshness.

    Runs that it starts are requested by service:scheduler, whoever's token is in the environment. It ends
    with Ctrl-C or SIGTERM, and the daemon with it.
    """
    settings = load_settings()
    with listen(port) as listener, _stopped_by_signals():
        prepare_home(settings)
        _share(settings)
        notices = Services(settings).notices
        with _only_server(settings), running_daemon(settings), delivering(notices):
            url = f"http://{HOST}:{listener.getsockname()[1]}"
            serve_ui(settings, listener, ready=lambda: _announce(settings, url))


def _announce(settings: Settings, url: str) -> None:
    out = Output()
    line(out, f"{url}  (this machine only; stop with Ctrl-C)")
    line(out, f"Home {settings.home}")
    for product in load_products(settings.defs):
        if not settings.source_directory(product).is_dir():
            line(out, f"{product} has no source yet: fill {settings.source_directory(product)},")
            line(out, "  or name its folder under `sources` in platform.yaml (docs/settings.md).")


def _share(settings: Settings) -> None:
    """Daemon, code servers and runs learn home and project from here; what they create is private."""
    os.umask(PRIVATE_UMASK)
    os.chdir(settings.project)
    os.environ["DAGSTER_HOME"] = str(dagster_home(settings))
    os.environ[f"{PREFIX}HOME"] = str(settings.home)
    os.environ[f"{PREFIX}PROJECT"] = str(settings.project)
    os.environ.pop(f"{PREFIX}TOKEN_FILE", None)


@contextmanager
def _only_server(settings: Settings) -> Iterator[None]:
    """Two daemons on one home would start every run twice."""
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(settings.home / ".serve.lock", holder="serve", timeout_seconds=0))
        except GateRefusedError:
            raise UsageError(
                f"The home {settings.home} is being served already", "Use that server, or stop it first."
            ) from None
        yield


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Every signal that means stop ends the block in order; while it ends, further ones change nothing."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


COMMANDS: Final = {"serve": serve}

"""`serve`: the UI and the daemon of one home, ended together."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from secure_platform.cli.access import prepare_home
from secure_platform.cli.output import Output, example, line
from secure_platform.contract.product import load_products
from secure_platform.control.database import utc_now
from secure_platform.control.locks import file_lock
from secure_platform.errors import GateRefusedError, StepFailedError, UsageError
from secure_platform.notify.courier import Task, delivering
from secure_platform.orchestration.home import dagster_home
from secure_platform.services import Services
from secure_platform.settings import PREFIX, Settings, load_settings
from secure_platform.site import ServerSettings
from secure_platform.web.address import SiteAddress
from secure_platform.web.code_server import running_code_servers
from secure_platform.web.daemon import running_daemon
from secure_platform.web.server import listen, serve_ui
from secure_platform.web.signals import stopped_by_signals

PRIVATE_UMASK: Final = 0o077


@click.command(epilog=example("serve", "--home /srv/secure serve --port 3100"))
@click.option("--host", help="Address to listen on; default server.host, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one; default 3000.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="PEM file of the certificate.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file of its private key, 0600.")
def serve(host: str | None, port: int | None, tls_certificate: Path | None, tls_key: Path | None) -> None:
    """Start the web server (Dagster UI and governance pages) and the daemon.

    The daemon runs schedules, sensors and freshness checks. Everybody has to log in. Beyond this machine, the
    server speaks TLS itself or through a trusted proxy (docs/settings.md). Runs are recorded for whoever
    launched them, those of schedules and sensors for service:scheduler, whatever token is in the environment.
    Ctrl-C or SIGTERM ends the server and the daemon.
    """
    tls = {"certificate": tls_certificate, "key": tls_key} if tls_certificate or tls_key else None
    settings = _with_server(load_settings(), host=host, port=port, tls=tls)
    SiteAddress.of(settings.server, settings.server.port)
    with listen(settings.server) as listener, stopped_by_signals():
        prepare_home(settings)
        _share(settings)
        services = Services(settings)
        with (
            _only_server(settings),
            _telling_of_silence(services),
            running_code_servers(settings) as workspace,
            running_daemon(workspace),
            delivering(
                services.notices, services.watchdog.look, services.alerts.tell, feeds=_feeds(services)
            ),
        ):
            serve_ui(services, listener, workspace, ready=lambda address: _announce(services, address))


def _feeds(services: Services) -> tuple[Task, ...]:
    lineage = (services.lineage.deliver,) if services.lineage else ()
    return (*lineage, services.traces.flush) if services.traces else lineage


def _with_server(settings: Settings, **given: Any) -> Settings:
    """The settings with what the command line says about the server."""
    named = {name: value for name, value in given.items() if value is not None}
    try:
        server = ServerSettings.model_validate({**settings.server.model_dump(), **named})
    except ValidationError:
        raise UsageError(
            "TLS needs both a certificate and its key", "Give --tls-certificate and --tls-key."
        ) from None
    return settings.model_copy(update={"server": server})


def _announce(services: Services, address: SiteAddress) -> None:
    settings, out = services.settings, Output()
    scope = "this machine only; " if address.is_local else ""
    line(out, f"{address.url}  ({scope}stop with Ctrl-C)")
    line(out, f"Home {settings.home}")
    link = services.first_link()
    if link is not None:
        line(out, "The administrator has no password yet. To set it, once and within 24 hours, open")
        line(out, f"  {address.url}{link.path}")
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
def _telling_of_silence(services: Services) -> Iterator[None]:
    """A daemon that ends by itself takes the server with it: that is told first."""
    try:
        yield
    except StepFailedError:
        services.notices.announce("monitor.silent", occasion=f"{utc_now():%Y-%m-%dT%H:%M:%SZ}")
        services.notices.deliver()
        raise


COMMANDS: Final = {"serve": serve}

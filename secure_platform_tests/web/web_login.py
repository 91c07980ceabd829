"""Logs somebody in without a login page: opens the session, or issues the token, through the rooms."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget, WorkspaceLoadTarget
from starlette.applications import Starlette

from secure_platform.access.principals import Principal
from secure_platform.control.database import utc_now
from secure_platform.services import Services
from secure_platform.settings import Settings
from secure_platform.web.address import SiteAddress
from secure_platform.web.authentication import COOKIE
from secure_platform.web.permissions import PolicyProcessContext, Rights
from secure_platform.web.server import create_app

PORT = 3000
BASE = f"http://127.0.0.1:{PORT}"


def person(services: Services, *roles: str, name: str | None = None) -> Principal:
    """A user with these roles, added if there is none of this name."""
    named = name or "-".join(roles) or "nobody"
    return services.principals.get(named) or services.principals.add(named, roles=roles, actor="admin")


def session_cookie(services: Services, who: Principal, *, mfa: bool = False) -> str:
    """The value of the session's cookie."""
    opened = services.sessions.open(
        who, method="password", address="127.0.0.1", mfa_at=utc_now() if mfa else None
    )
    return opened.secret


def logged_in(services: Services, who: Principal, *, mfa: bool = False) -> dict[str, str]:
    """What a browser sends after this person has logged in (without TLS)."""
    return {"Cookie": f"{COOKIE}={session_cookie(services, who, mfa=mfa)}"}


def bearer(services: Services, who: Principal, *scopes: str) -> dict[str, str]:
    """What a program of theirs sends."""
    issued = services.tokens.issue(who.name, actor="admin", scopes=scopes or None)
    return {"Authorization": f"Bearer {issued.secret}"}


def admin_token(settings: Settings) -> dict[str, str]:
    """What a program of the administrator sends, whose token every home has."""
    token = (settings.home / "keys" / "admin.token").read_text().strip()
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def web_app(
    services: Services,
    instance: dg.DagsterInstance,
    *,
    workspace: WorkspaceLoadTarget | None = None,
    address: SiteAddress | None = None,
) -> Iterator[Starlette]:
    """The guarded application in this process; without a workspace, Dagster's part has no code."""
    with PolicyProcessContext(
        rights=Rights(services),
        instance=instance,
        workspace_load_target=workspace or EmptyWorkspaceTarget(),
    ) as context:
        yield create_app(context, services, address or SiteAddress.of(services.settings.server, PORT))
    wait_for_code_servers(context)


def wait_for_code_servers(context: WorkspaceProcessContext) -> None:
    """Dagster leaves them to end by themselves; a process that nobody waited for fails the whole session."""
    context._grpc_server_registry.wait_for_processes()

"""A home is initialised once, under a lock, before anything else touches it.

Several processes that create the same databases at once corrupt them. One that an earlier version made is
brought up to date in the same way, by whoever opens it first.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from secure_platform.audit.log import JSON, AuditLog
from secure_platform.control.database import ControlDatabase
from secure_platform.control.locks import file_lock
from secure_platform.errors import UsageError
from secure_platform.files import private_directory, replace_private, require_private
from secure_platform.keys.providers.choice import prepare_provider
from secure_platform.monitor.incident import MONITOR
from secure_platform.services import ADMINISTRATOR, DEPLOYER, SCHEDULER, Services
from secure_platform.settings import Settings

INITIALISED: Final = ".initialised"
"""Holds the revision of the control database that the home was last brought up to."""
ROOMS: Final = ("lake", "releases", "warehouse", "keys", "tmp", "dagster", "dbt")
_SERVICES: Final[Mapping[str, tuple[str, ...]]] = {
    SCHEDULER: ("scheduler",),
    DEPLOYER: ("pipeline",),
    MONITOR: ("monitor",),
}
_SEALED_SINCE: Final = "0006"
"""From this revision on the metrics history is sealed."""


def initialise(settings: Settings, *, prepare: Callable[[Settings], None] | None = None) -> bool:
    """Create the home, or bring it up to date; safe to call from any number of processes.

    Args:
        settings: Names the home.
        prepare: Creates what outer rooms keep in the home (Dagster's schema), under the same lock.

    Returns:
        Whether this call created it.

    Raises:
        UsageError: If the home exists with an open mode, belongs to somebody else, or is of a later version.
    """
    home = private_directory(settings.home)
    require_private(home)
    if _is_current(home):
        return False
    with file_lock(home / ".lock", holder=f"the home {home}"):
        if _is_current(home):
            return False
        earlier = (home / INITIALISED).exists()
        # Under the home's lock: whoever wrote this has died.
        for unfinished in home.glob(f".{INITIALISED}.*"):
            unfinished.unlink()
        for room in ROOMS:
            private_directory(home / room)
        if earlier:
            _bring_up_to_date(settings)
        else:
            _create_state(settings)
            if prepare is not None:
                prepare(settings)
        # The last of all: whoever was killed before does it again.
        replace_private(home / INITIALISED, f"{ControlDatabase.newest_revision()}\n".encode())
    return not earlier


def _is_current(home: Path) -> bool:
    """Whether the home is what this version makes.

    Raises:
        UsageError: If a later version made it.
    """
    try:
        made = (home / INITIALISED).read_text().strip()
    except FileNotFoundError:
        return False
    newest = ControlDatabase.newest_revision()
    if made.zfill(len(newest)) > newest:
        raise UsageError(
            f"The home {home} was made by a later version of secure-platform",
            "Install that version, or name another home with --home.",
        )
    return made == newest


def _bring_up_to_date(settings: Settings) -> None:
    """What a fresh home has and this one lacks; each step finds it done if it was."""
    services = Services(settings)
    services.database.migrate()
    if not _had_seals(services.audit):
        services.metrics.adopt()
    for name, roles in _SERVICES.items():
        if services.principals.get(name) is None:
            services.principals.add(name, kind="service", roles=roles, actor=SCHEDULER)
    _record_revision(services, "home.upgrade")


def _had_seals(audit: AuditLog) -> bool:
    """Whether the metrics history was sealed before: what has no seal now is not believed."""
    return any(
        entry.body["action"] in {"home.initialise", "home.upgrade"}
        and entry.body["detail"].get("revision", "") >= _SEALED_SINCE
        for entry in audit.backwards('"action":"home.')
    )


def _record_revision(services: Services, action: str) -> None:
    detail: dict[str, JSON] = {"revision": ControlDatabase.newest_revision()}
    services.audit.append(action, actor=SCHEDULER, subject=services.settings.environment, detail=detail)
    services.audit.checkpoint()


def _create_state(settings: Settings) -> None:
    services = Services(settings)
    keys = settings.home / "keys"
    # Under the home's lock: a hidden file here is a secret that an initialisation left when it died.
    for unfinished in keys.glob(".*"):
        unfinished.unlink()
    services.database.migrate()
    prepare_provider(settings.keys, keys)
    services.keys.initialise()
    _create_principals(services)
    _record_revision(services, "home.initialise")


def _create_principals(services: Services) -> None:
    """The services of this home, and an administrator whose random token is left in a 0600 file."""
    first: tuple[tuple[str, Literal["user", "service"], tuple[str, ...], str | None], ...] = (
        (SCHEDULER, "service", _SERVICES[SCHEDULER], None),
        (DEPLOYER, "service", _SERVICES[DEPLOYER], "deployer.token"),
        (MONITOR, "service", _SERVICES[MONITOR], None),
        (ADMINISTRATOR, "user", ("admin",), "admin.token"),
    )
    for name, kind, roles, token_name in first:
        if services.principals.get(name) is None:
            services.principals.add(name, kind=kind, roles=roles, actor=SCHEDULER)
        token_file = services.settings.home / "keys" / (token_name or "")
        if token_name is not None and not token_file.exists():
            issued = services.tokens.issue(name, actor=SCHEDULER, days=365)
            replace_private(token_file, issued.secret.encode() + b"\n")

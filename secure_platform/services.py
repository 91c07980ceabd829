"""What CLI, web server and Dagster share: one `Services` opens every room over one home.

A home is initialised once, under a lock, before anything else touches it: several processes that
create the same databases at once corrupt them. One that an earlier version made is brought up to date in the
same way, by whoever opens it first.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from secure_platform.access.allowance import Limits
from secure_platform.access.credentials import Credentials, Invitation
from secure_platform.access.custody import Custody
from secure_platform.access.freezes import Freezes
from secure_platform.access.grants import Grants
from secure_platform.access.holds import Holds
from secure_platform.access.key_backups import KeyBackups
from secure_platform.access.policy import Policy
from secure_platform.access.principals import ANONYMOUS, Principal, Principals
from secure_platform.access.seals import SealedRows
from secure_platform.access.secret_custody import SecretCustody
from secure_platform.access.sessions import Sessions
from secure_platform.access.situation import Declared, HomeSituation
from secure_platform.access.throttle import Throttle
from secure_platform.access.tokens import Tokens, read_token
from secure_platform.access.windows import read_window
from secure_platform.audit.log import JSON, AuditLog
from secure_platform.contract.product import Product, load_products
from secure_platform.control.database import ControlDatabase
from secure_platform.control.locks import file_lock
from secure_platform.deploy.duckdb_target import DuckDBTarget
from secure_platform.errors import UsageError
from secure_platform.files import private_directory, replace_private, require_private
from secure_platform.gate.releases import Gate
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.keys.providers.choice import open_provider, prepare_provider
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.secrets.local import LocalSecrets
from secure_platform.keys.secrets.opened import open_secrets
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.monitor.access import AccessWatch
from secure_platform.monitor.alerts import Alerts
from secure_platform.monitor.chain import Chain
from secure_platform.monitor.history import MetricsHistory
from secure_platform.monitor.incident import MONITOR
from secure_platform.monitor.incidents import Incidents
from secure_platform.monitor.watchdog import Watchdog
from secure_platform.notify.outbox import Notices
from secure_platform.scan.columns import Scanner
from secure_platform.settings import Settings
from secure_platform.site import Event
from secure_platform.store.snapshots import SnapshotStore
from secure_platform.taxonomy.info_types import info_types

SCHEDULER: Final = "service:scheduler"
DEPLOYER: Final = "service:deployer"
ADMINISTRATOR: Final = "admin"
INITIALISED: Final = ".initialised"
"""Holds the revision of the control database that the home was last brought up to."""
_SERVICES: Final[Mapping[str, tuple[str, ...]]] = {
    SCHEDULER: ("scheduler",),
    DEPLOYER: ("pipeline",),
    MONITOR: ("monitor",),
}
_SEALED_SINCE: Final = "0006"
"""From this revision on the metrics history is sealed."""
AUDIT_LOG: Final = "audit.db"
ROOMS: Final = ("lake", "releases", "warehouse", "keys", "tmp", "dagster", "dbt")


class Services:
    """Every room of one home, opened when first needed.

    Args:
        settings: The resolved settings; the home must be initialised (see `initialise`).
        key_provider: Opens the keys in place of the provider that the settings choose.
    """

    def __init__(self, settings: Settings, *, key_provider: KeyProvider | None = None) -> None:
        self.settings = settings
        self._stand_in = key_provider

    @cached_property
    def database(self) -> ControlDatabase:
        """The control database."""
        return ControlDatabase.at(self.settings.home / "control.db")

    @property
    def keys(self) -> KeyRing:
        """The key ring over the provider of the settings."""
        return self._opened.ring

    @cached_property
    def key_provider(self) -> KeyProvider:
        """What wraps the keys."""
        return self._stand_in or self.provider()

    def provider(self, name: str | None = None) -> KeyProvider:
        """What wraps the keys; another one than the settings choose, by its name, to move keys from or to."""
        return open_provider(
            self.settings.keys,
            self.settings.home / "keys",
            vault=lambda: self.vault,
            aws=lambda: self.aws,
            name=name,
        )

    @property
    def audit(self) -> AuditLog:
        """The tamper-evident log."""
        return self._opened.audit

    @cached_property
    def _opened(self) -> HomeKeys:
        return HomeKeys(
            self.key_provider,
            self.database,
            self.settings.home / AUDIT_LOG,
            fips=self.settings.keys.fips,
        )

    @cached_property
    def principals(self) -> Principals:
        """Who may be asked."""
        return Principals(self.database, self.audit, self.sealed_rows)

    @cached_property
    def tokens(self) -> Tokens:
        """What a program proves who it is with."""
        return Tokens(self.database, self.audit, self.sealed_rows, self.principals)

    @cached_property
    def sessions(self) -> Sessions:
        """Who is logged in."""
        ends = self.settings.identity.session
        return Sessions(
            self.database,
            self.audit,
            self.sealed_rows,
            self.principals,
            idle=timedelta(minutes=ends.idle_minutes),
            absolute=timedelta(hours=ends.absolute_hours),
        )

    @cached_property
    def credentials(self) -> Credentials:
        """How local users prove who they are."""
        return Credentials(self.database, self.audit, self.sealed_rows, self.keys, self.principals)

    @cached_property
    def throttle(self) -> Throttle:
        """What slows guessing down."""
        return Throttle(self.database, self.audit)

    @cached_property
    def sealed_rows(self) -> SealedRows:
        """The rows of the control database that say who somebody is and what they may do."""
        return SealedRows(self.database, self.keys, self.audit)

    @cached_property
    def policy(self) -> Policy:
        """What they may do."""
        return Policy(self.audit, self.settings.policies, self.situation)

    @cached_property
    def situation(self) -> HomeSituation:
        """What is granted, frozen and declared."""
        return HomeSituation(
            self.sealed_rows,
            self.keys,
            self.principals,
            self._declared,
            self._blocked,
        )

    @cached_property
    def grants(self) -> Grants:
        """Rights for a time."""
        return Grants(
            self.sealed_rows,
            self.keys,
            self.principals,
            self.policy,
            self.situation,
            announce=self._announce,
        )

    @cached_property
    def freezes(self) -> Freezes:
        """What is not deployed for now."""
        return Freezes(self.sealed_rows, self.keys, self.policy, self.situation, announce=self._announce)

    @cached_property
    def holds(self) -> Holds:
        """What is not erased for now."""
        return Holds(self.audit, self.policy)

    @cached_property
    def key_backups(self) -> KeyBackups:
        """The backups of the keys."""
        return KeyBackups(
            self.keys,
            self.policy,
            self.sealed_rows,
            self.audit,
            home=self.settings.home,
            environment=self.settings.environment,
            announce=self._announce,
        )

    @cached_property
    def custody(self) -> Custody:
        """What is done to keys."""
        return Custody(
            self.keys,
            self.key_backups,
            self.policy,
            self.principals,
            self.audit,
            self.database,
            rotate_after_days=self.settings.keys.rotate_after_days,
            announce=self._announce,
        )

    @cached_property
    def secrets(self) -> Secrets:
        """What `secret://…` stands for."""
        return open_secrets(
            local=lambda: self.local_secrets,
            vault=lambda: self.vault,
            aws=lambda: self.aws,
            ttl_seconds=self.settings.secrets.ttl_seconds,
        )

    @cached_property
    def local_secrets(self) -> LocalSecrets:
        """The secrets that this home keeps itself."""
        return LocalSecrets(self.settings.home / "secrets", self.keys, self.audit)

    @cached_property
    def secret_custody(self) -> SecretCustody:
        """Who may change secrets."""
        return SecretCustody(
            self.secrets,
            lambda: self.local_secrets,
            self.settings.home / "secrets",
            self.policy,
            self.audit,
            announce=self._announce,
        )

    @cached_property
    def vault(self) -> VaultSession:
        """The login at Vault.

        Raises:
            UsageError: If the settings name no Vault.
        """
        if self.settings.vault is None:
            raise UsageError("No Vault is named", "Set vault: in platform.yaml; see docs/settings.md.")
        return VaultSession(self.settings.vault)

    @cached_property
    def aws(self) -> AwsSession:
        """The connection to AWS.

        Raises:
            UsageError: If the settings name no AWS region.
        """
        if self.settings.aws is None:
            raise UsageError("No AWS is named", "Set aws: in platform.yaml; see docs/settings.md.")
        return AwsSession(self.settings.aws)

    @cached_property
    def store(self) -> SnapshotStore:
        """The encrypted snapshots."""
        return SnapshotStore(self.settings.home / "lake", self.temporary, self.keys, self.audit)

    @cached_property
    def scanner(self) -> Scanner:
        """The scanner over the built-in info types."""
        return Scanner(info_types())

    @cached_property
    def gate(self) -> Gate:
        """Release states and approvals."""
        return Gate(self.database, self.audit, self.policy, self.keys, self.principals)

    @cached_property
    def target(self) -> DuckDBTarget:
        """Where releases are deployed."""
        return DuckDBTarget(self.settings.home / "warehouse", self.temporary, self.keys, self.audit)

    @cached_property
    def metrics(self) -> MetricsHistory:
        """The metrics history."""
        return MetricsHistory(self.database, Chain(self.keys, self.audit), self.audit)

    @cached_property
    def incidents(self) -> Incidents:
        """What is wrong with the products, until somebody has settled it."""
        return Incidents(self.sealed_rows, self.keys, self.policy)

    @cached_property
    def access_watch(self) -> AccessWatch:
        """Who usually does what with which product."""
        limits = self.settings.reveal
        most = Limits(limits.calls_per_hour, limits.values_per_hour)
        return AccessWatch(self.database, self.audit, self.keys, most)

    @cached_property
    def notices(self) -> Notices:
        """Who is told outside."""
        return Notices(
            self.database,
            self.audit,
            self.settings.channels,
            secrets=self.secrets,
            environment=self.settings.environment,
            url=self.settings.server.url,
        )

    @cached_property
    def alerts(self) -> Alerts:
        """Who is told of incidents."""
        return Alerts(
            self.incidents,
            self.notices,
            self.settings.channels,
            self.settings.alerts,
            lambda: self.products,
        )

    @cached_property
    def watchdog(self) -> Watchdog:
        """What notices that the daemon is silent."""
        patience = timedelta(minutes=self.settings.alerts.silent_minutes)
        return Watchdog(self.database, self.notices, patience)

    @cached_property
    def products(self) -> dict[str, Product]:
        """Every data product of the project, by name."""
        return dict(load_products(self.settings.defs))

    @property
    def temporary(self) -> Path:
        """Private scratch space on the same file system as the rooms."""
        return self.settings.home / "tmp"

    @property
    def releases(self) -> Path:
        """The folder of the signed packages."""
        return self.settings.home / "releases"

    def product(self, name: str) -> Product:
        """One product by name.

        Raises:
            UsageError: If the project has no such product.
        """
        if name not in self.products:
            known = ", ".join(sorted(self.products)) or "none"
            raise UsageError(f"There is no data product named {name!r}", f"The project has: {known}.")
        return self.products[name]

    def first_link(self) -> Invitation | None:
        """A one-time link for the administrator, while they have not set up their login."""
        if not self.settings.identity.local or self.credentials.has_code(ADMINISTRATOR):
            return None
        administrator = self.principals.get(ADMINISTRATOR)
        if administrator is None or not administrator.active:
            return None
        return self.credentials.invite(ADMINISTRATOR, actor=SCHEDULER)

    def caller(self) -> Principal:
        """The principal whose token was presented, else the anonymous one, which may only build and read."""
        if self.settings.token_file is None:
            return ANONYMOUS
        return self.tokens.authenticate(read_token(self.settings.token_file))

    def requester(self, stamped: str | None = None) -> Principal:
        """Who a build is recorded for: who its run was stamped for, else the caller, else the scheduler."""
        if stamped is not None:
            return self._known(stamped)
        caller = self.caller()
        return caller if caller is not ANONYMOUS else self._known(SCHEDULER)

    def deployer(self) -> Principal:
        """The service that deploys, by its own token.

        Raises:
            UsageError: If this process cannot read the deployer's token.
            AccessDeniedError: If the token is not valid.
        """
        return self.tokens.authenticate(read_token(self.settings.deployer_token_file))

    def monitor(self) -> Principal:
        """The service that takes back a deployment whose checks fail."""
        return self._known(MONITOR)

    def _announce(self, event: Event, *, product: str | None) -> None:
        # Each is told, however often it happens.
        self.notices.announce(event, product=product, occasion=secrets.token_hex(8))

    def _declared(self, name: str) -> Declared:
        product = self.products.get(name)
        if product is None:
            return Declared()
        windows = tuple(map(read_window, product.deploy_windows))
        return Declared(product.owner, frozenset(product.purposes), windows)

    def _blocked(self, name: str) -> bool:
        return self.incidents.blocks(name)

    def _known(self, name: str) -> Principal:
        principal = self.principals.get(name)
        if principal is None:
            raise UsageError(
                f"The home lacks the principal {name}", "Run `secure-platform init` on a fresh home."
            )
        return principal


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

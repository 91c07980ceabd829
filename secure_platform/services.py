"""What CLI, web server and Dagster share: one `Services` opens every room over one home."""

import secrets
from datetime import timedelta
from functools import cached_property
from typing import Final

from secure_platform.access.allowance import Limits
from secure_platform.access.credentials import Credentials, Invitation
from secure_platform.access.custody import Custody
from secure_platform.access.freezes import Freezes
from secure_platform.access.grants import Grants
from secure_platform.access.holds import Holds
from secure_platform.access.key_backups import KeyBackups
from secure_platform.access.policy import Policy
from secure_platform.access.principals import ANONYMOUS, Principal, Principals
from secure_platform.access.secret_custody import SecretCustody
from secure_platform.access.sessions import Sessions
from secure_platform.access.situation import Declared, HomeSituation
from secure_platform.access.throttle import Throttle
from secure_platform.access.tokens import Tokens, read_token
from secure_platform.access.windows import read_window
from secure_platform.contract.product import Product, load_products
from secure_platform.deploy.duckdb_target import DuckDBTarget
from secure_platform.errors import UsageError
from secure_platform.foundations import Foundations
from secure_platform.gate.releases import Gate
from secure_platform.monitor.access import AccessWatch
from secure_platform.monitor.alerts import Alerts
from secure_platform.monitor.chain import Chain
from secure_platform.monitor.history import MetricsHistory
from secure_platform.monitor.incident import MONITOR
from secure_platform.monitor.incidents import Incidents
from secure_platform.monitor.watchdog import Watchdog
from secure_platform.notify.feed import Feed
from secure_platform.notify.outbox import Notices
from secure_platform.notify.spans import Traces
from secure_platform.protect.budget import Ledger
from secure_platform.release.past import SignedPast
from secure_platform.scan.columns import Scanner
from secure_platform.site import Event
from secure_platform.store.snapshots import SnapshotStore
from secure_platform.taxonomy.info_types import info_types

SCHEDULER: Final = "service:scheduler"
DEPLOYER: Final = "service:deployer"
ADMINISTRATOR: Final = "admin"


class Services(Foundations):
    """Every room of one home, opened when first needed.

    Args:
        settings: The resolved settings; the home must be initialised (see `initialise`).
        key_provider: Opens the keys in place of the provider that the settings choose.
    """

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
        return Holds(self.audit, self.policy, self.settings.home / "erasures" / ".lock")

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
    def budget(self) -> Ledger:
        """What the products have told of people in numbers with noise."""
        past = SignedPast(self.audit, self.releases, self.settings.budget_checkpoint)
        return Ledger(self.sealed_rows, self.keys, past)

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
    def lineage(self) -> Feed | None:
        """Who is told what data are made from what; None if the settings name nobody."""
        settings = self.settings.lineage
        if settings is None:
            return None
        path = settings.file or self.settings.home / "lineage" / "events.ndjson"
        return Feed(path, settings, lambda: self.secrets)

    @cached_property
    def traces(self) -> Traces | None:
        """Who is told how long everything takes; None if the settings name nobody."""
        settings = self.settings.traces
        if settings is None:
            return None
        return Traces(settings, lambda: self.secrets, environment=self.settings.environment)

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

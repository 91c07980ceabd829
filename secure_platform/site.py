"""Where the server is reached, who may log in and how, and where notices go; every part has a default.

Secrets are never written here: a setting refers to one (`secret://…`, see docs/secrets.md).
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator

from secure_platform.key_settings import Reference

Event: TypeAlias = Literal[
    "release.pending",
    "release.approved",
    "release.rejected",
    "release.withdrawn",
    "release.deployed",
    "deploy.failed",
    "release.rolled_back",
    "break_glass.opened",
    "freeze.set",
    "key.rotated",
    "key.rotation_failed",
    "secret.rotation_failed",
    "key.disabled",
    "key.destroyed",
    "key.backed_up",
    "key.moved",
    "incident.opened",
    "incident.worse",
    "incident.settled",
    "monitor.silent",
    "monitor.alive",
]
Severity: TypeAlias = Literal["warn", "fail"]
Kind: TypeAlias = Literal["slack", "webhook", "servicenow", "pagerduty", "email"]
_NEEDED: Final[dict[Kind, tuple[str, ...]]] = {
    "slack": ("secret",),
    "webhook": ("secret",),
    "servicenow": ("secret", "user"),
    "pagerduty": ("secret",),
    "email": ("sender", "recipients"),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TlsSettings(_Part):
    """TLS of the server itself.

    Attributes:
        certificate: PEM file of the certificate and its chain.
        key: PEM file of the private key, 0600.
        client_ca: PEM file of who signs client certificates; with it, a client certificate logs in (mTLS).
        client_required: Whether a connection without a client certificate is refused.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_required: bool = False


class ProxySettings(_Part):
    """A reverse proxy that is trusted to say who is calling.

    Attributes:
        addresses: Its addresses, as CIDR; headers from any other address are refused.
        user_header: Header with the principal's name, which the proxy has authenticated; None for none.
        secret: Reference to the value of the header `X-Proxy-Secret` that the proxy must send.
    """

    addresses: tuple[str, ...]
    user_header: str | None = None
    secret: Reference | None = None


class ServerSettings(_Part):
    """How the web server is reached.

    Attributes:
        host: Address it listens on.
        port: Port it listens on; 0 takes a free one.
        url: Address that people use, such as `https://data.example.org/platform`, when it differs.
        tls: None for HTTP, which is refused on any address but loopback unless a proxy is trusted.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 3000
    url: str | None = None
    tls: TlsSettings | None = None
    proxy: ProxySettings | None = None

    @property
    def address(self) -> str:
        """What people open, without a slash at its end."""
        scheme = "https" if self.tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.url or f"{scheme}://{host}:{self.port}").rstrip("/")


class OidcSettings(_Part):
    """An OpenID Connect provider (OpenID Connect Core 1.0; PKCE, RFC 7636).

    Attributes:
        issuer: Its URL; https, or http on loopback.
        client_id: Of this platform.
        client_secret: Reference to the client's secret; None for a public client.
        scopes: What is asked for.
        groups_claim: Claim with the groups.
        roles: Group → the platform's roles that its members have.
        approver_groups: Group → approver group, as contracts name it; a group not listed is none.
        mfa_amr: Values of `amr` (RFC 8176) that show a second factor.
        mfa_acr: Values of `acr` that do.
        ca: PEM file of further certificate authorities.
    """

    issuer: str
    client_id: str
    client_secret: Reference | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    groups_claim: str = "groups"
    roles: dict[str, tuple[str, ...]] = {}
    approver_groups: dict[str, str] = {}
    mfa_amr: tuple[str, ...] = ("mfa", "otp", "hwk", "swk", "sc", "fpt", "face")
    mfa_acr: tuple[str, ...] = ()
    ca: Path | None = None


class LdapSettings(_Part):
    """A directory (LDAP, Active Directory) that checks passwords by a bind (RFC 4513).

    Attributes:
        url: `ldaps://host[:port]`, or `ldap://` with StartTLS.
        user: Name to bind with; `{name}` is the login name, escaped, e.g. `uid={name},ou=people,dc=example`.
        base: Below what the person's entry and groups are searched.
        user_filter: Finds the person's entry; `{name}` is the login name, escaped.
        group_attribute: Of the person's entry, naming their groups.
        roles: Group → the platform's roles that its members have.
        approver_groups: Group → approver group, as contracts name it; a group not listed is none.
        ca: PEM file of certificate authorities.
    """

    url: str
    user: str
    base: str
    user_filter: str = "(uid={name})"
    group_attribute: str = "memberOf"
    roles: dict[str, tuple[str, ...]] = {}
    approver_groups: dict[str, str] = {}
    ca: Path | None = None


class SessionSettings(_Part):
    """When sessions end.

    Attributes:
        idle_minutes: Without use.
        absolute_hours: In all.
    """

    idle_minutes: Annotated[float, Field(gt=0, le=1440)] = 30
    absolute_hours: Annotated[float, Field(gt=0, le=168)] = 12


class IdentitySettings(_Part):
    """Who may log in, and how.

    Attributes:
        local: Whether local users log in with password and TOTP.
    """

    local: bool = True
    oidc: OidcSettings | None = None
    ldap: LdapSettings | None = None
    session: SessionSettings = SessionSettings()


class OutgoingSettings(_Part):
    """What an outgoing call may reach, and whom it trusts.

    Attributes:
        allow: Private networks, as CIDR, that it may reach; outgoing calls go to public addresses otherwise.
        ca: PEM file of further certificate authorities.
    """

    allow: tuple[IPvAnyNetwork, ...] = ()
    ca: Path | None = None


class LineageSettings(OutgoingSettings):
    """Where events of OpenLineage go; without this part of the settings none is made.

    Attributes:
        file: Gets them, one JSON document a line; default `lineage/events.ndjson` in the home.
        url: Is sent them from there, too: such as `https://marquez.example.org/api/v1/lineage`.
        secret: Reference to the bearer token that the URL asks for.
        namespace: Of jobs and datasets; default `secure_platform://<environment>`.
    """

    file: Path | None = None
    url: str | None = None
    secret: Reference | None = None
    namespace: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9+./:_-]{0,254}$")] = None


class TraceSettings(OutgoingSettings):
    """Where traces go (OTLP over HTTP); without this part of the settings none is made.

    Attributes:
        url: Such as `https://otel.example.org/v1/traces`.
        secret: Reference to the bearer token that it asks for.
    """

    url: str
    secret: Reference | None = None


class ChannelSettings(OutgoingSettings):
    """Where notices go; they tell and link, and never decide.

    Attributes:
        name: Of the channel.
        kind: What is sent: a Slack message, our signed webhook, a ServiceNow or PagerDuty event, an e-mail.
        url: Where to: https, or `smtps://` / `smtp://` (with STARTTLS) for e-mail.
        secret: Reference to the webhook's `whsec_…`, the routing key, the password, or what follows the URL
            of a Slack webhook.
        user: Login of the mail server or of ServiceNow.
        sender: From whom an e-mail is.
        recipients: To whom an e-mail goes.
        products: Which products it is told about; empty for all.
        events: Which events; empty for all.
        severities: Of incidents, which; empty for all.
        owners: Of incidents, whose products; empty for all.
        quiet: Times of the week, `Mon-Fri 20:00-07:00 Europe/Berlin`, at which incidents wait unless they are
            about security or block deployments.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    kind: Kind
    url: str
    secret: Reference | None = None
    user: str | None = None
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    severities: tuple[Severity, ...] = ()
    owners: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in _NEEDED[self.kind] if not getattr(self, name)]
        if missing:
            raise ValueError(missing)
        return self


class AlertSettings(_Part):
    """Which incidents are told, and when.

    Attributes:
        runbook: URL of what to do; `{product}` and `{kind}` in it are filled in.
        warnings_per_day: How many incidents of a product that only warn are told on one day; more wait.
        silent_minutes: Without a sign of life of the daemon, after which it is told to be silent.
    """

    runbook: Annotated[str | None, Field(pattern=r"^https://[^\s{}]*(\{(product|kind)\}[^\s{}]*)*$")] = None
    warnings_per_day: Annotated[int, Field(ge=0, le=1000)] = 5
    silent_minutes: Annotated[int, Field(ge=2, le=1440)] = 15

"""A directory (LDAP, Active Directory) checks a password by a bind with it; we never see a stored one.

The bind happens over TLS only, with the server's certificate checked, and follows no referral: a password
goes to nobody else. An empty password would bind as nobody and succeed (RFC 4513 §5.1.2), so it is refused
before. Who somebody is, is the directory's own identifier of their entry.
"""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from secure_platform.access.principals import Principal, Principals, is_persons_name, require_roles
from secure_platform.access.throttle import LoginRefusedError
from secure_platform.errors import AccessDeniedError, UsageError
from secure_platform.site import LdapSettings

_SECONDS: Final = 10
_IDENTIFIERS: Final = ("entryUUID", "objectGUID")
_MAIL: Final = "mail"


@dataclass(frozen=True)
class DirectoryEntry:
    """A person as the directory knows them.

    Attributes:
        subject: The directory's own identifier of them.
        groups: Values of the group attribute, lower case.
    """

    subject: str
    groups: frozenset[str]
    email: str | None


class Directory:
    """The directory that the settings name.

    Args:
        settings: Where it is, and what its groups mean.

    Raises:
        UsageError: If its address is not one of a directory, or a group gives a role that does not exist.
    """

    def __init__(self, settings: LdapSettings) -> None:
        if urlsplit(settings.url).scheme not in {"ldap", "ldaps"}:
            raise UsageError("identity.ldap.url is not a directory's", "Write ldaps://<name>[:<port>].")
        require_roles(role for given in settings.roles.values() for role in given)
        self._settings = settings

    def log_in(self, principals: Principals, name: str, password: str) -> Principal | None:
        """The principal of the person whose password this is; None if it is nobody's.

        Args:
            principals: Where the person is entered or brought up to date.
            name: As typed.
            password: As typed.
        """
        entry = self.find(name, password)
        if entry is None:
            return None
        settings = self._settings
        roles = {group.lower(): given for group, given in settings.roles.items()}
        approvers = {group.lower(): given for group, given in settings.approver_groups.items()}
        try:
            return principals.provision(
                settings.url,
                entry.subject,
                name=name,
                roles={role for group in entry.groups for role in roles.get(group, ())},
                groups={approvers[group] for group in entry.groups & set(approvers)},
                email=entry.email,
            )
        except AccessDeniedError:
            return None

    def find(self, name: str, password: str) -> DirectoryEntry | None:
        """The entry of the person whose password this is; None if it is nobody's.

        Raises:
            LoginRefusedError: If the directory cannot be asked.
        """
        from ldap3.core.exceptions import LDAPException

        if not password or not is_persons_name(name):
            return None
        try:
            return self._ask(name, password)
        except (LDAPException, OSError):
            raise LoginRefusedError("The directory cannot be asked", "Try again later.") from None

    def _ask(self, name: str, password: str) -> DirectoryEntry | None:
        from ldap3 import SUBTREE
        from ldap3.utils.conv import escape_filter_chars
        from ldap3.utils.dn import escape_rdn

        settings = self._settings
        user = settings.user.format(name=escape_rdn(name))
        with self._connection(user, password) as connection:
            if urlsplit(settings.url).scheme == "ldap" and not connection.start_tls():
                raise OSError
            if not connection.bind():
                return None
            connection.search(
                settings.base,
                settings.user_filter.format(name=escape_filter_chars(name)),
                SUBTREE,
                attributes=[settings.group_attribute, _MAIL, *_IDENTIFIERS],
                size_limit=2,
            )
            found = [each for each in connection.response or [] if each["type"] == "searchResEntry"]
            return _entry(found, user, settings.group_attribute)

    @contextmanager
    def _connection(self, user: str, password: str) -> Iterator[Any]:
        from ldap3 import AUTO_BIND_NONE, SIMPLE, Connection

        connection = Connection(
            self._server(),
            user,
            password,
            auto_bind=AUTO_BIND_NONE,
            authentication=SIMPLE,
            auto_referrals=False,
            check_names=False,
            read_only=True,
            receive_timeout=_SECONDS,
        )
        try:
            yield connection
        finally:
            # ldap3 leaves the socket open when TLS fails.
            opened = connection.socket
            connection.unbind()
            if opened is not None:
                opened.close()

    def _server(self) -> Any:
        from ldap3 import NONE, Server, Tls

        ca = self._settings.ca
        tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=None if ca is None else str(ca))
        return Server(self._settings.url, tls=tls, get_info=NONE, connect_timeout=_SECONDS)


def _entry(found: Sequence[Any], user: str, group_attribute: str) -> DirectoryEntry | None:
    """The one entry, which must be that of who has bound."""
    if len(found) != 1 or ("=" in user and found[0]["dn"].lower() != user.lower()):
        return None
    raw, attributes = found[0]["raw_attributes"], found[0]["attributes"]
    identifier = next((raw[name][0] for name in _IDENTIFIERS if raw.get(name)), None)
    subject = found[0]["dn"].lower() if identifier is None else _text(identifier)
    groups = frozenset(str(group).lower() for group in _list(attributes.get(group_attribute)))
    return DirectoryEntry(subject, groups, next(map(str, _list(attributes.get(_MAIL))), None))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _text(identifier: bytes) -> str:
    """A UUID that is a text, or the bytes of Active Directory's."""
    text = identifier.decode("ascii", "replace")
    return text if text.isprintable() and "\ufffd" not in text else identifier.hex()

"""A directory on loopback, with TLS, in a process of its own: python ldap_server.py <certificate> <key>."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

ENTRIES = b"""\
dn: dc=example
objectClass: dcObject
dc: example

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

dn: uid=dora,ou=people,dc=example
objectClass: inetOrgPerson
uid: dora
mail: dora@example.org
entryUUID: 6d6b1b9c-0000-4000-8000-000000000001
memberOf: cn=Stewards,ou=groups,dc=example
memberOf: cn=cleaners,ou=groups,dc=example
userPassword: what dora knows

dn: uid=emil,ou=people,dc=example
objectClass: inetOrgPerson
uid: emil
userPassword: what emil knows

dn: uid=admin,ou=people,dc=example
objectClass: inetOrgPerson
uid: admin
memberOf: cn=stewards,ou=groups,dc=example
userPassword: what another admin knows

"""


@contextmanager
def ldap_server(certificate: Path, key: Path) -> Iterator[int]:
    """A started directory; its port."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, str(certificate), str(key)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _serve(certificate: str, key: str) -> None:
    import twisted.internet.ssl  # noqa: PLC0415 - the same
    import twisted.python.components  # noqa: PLC0415 - the same
    from ldaptor.inmemory import fromLDIFFile  # noqa: PLC0415 - in the directory's process only
    from ldaptor.interfaces import IConnectedLDAPEntry  # noqa: PLC0415 - the same
    from ldaptor.protocols.ldap.ldapserver import LDAPServer  # noqa: PLC0415 - the same
    from twisted.internet import protocol, reactor  # noqa: PLC0415 - the same

    untyped: Any = reactor
    tls: Any = twisted.internet.ssl
    components: Any = twisted.python.components

    def listen(root: Any) -> None:
        factory = protocol.ServerFactory()
        factory.protocol = LDAPServer
        factory.root = root  # type: ignore[attr-defined]  # Where LDAPServer looks for it.
        components.registerAdapter(lambda each: each.root, protocol.ServerFactory, IConnectedLDAPEntry)
        context = tls.DefaultOpenSSLContextFactory(key, certificate)
        port = untyped.listenSSL(0, factory, context, interface="127.0.0.1")
        print(port.getHost().port, flush=True)  # noqa: T201 - its caller reads it

    fromLDIFFile(BytesIO(ENTRIES)).addCallback(listen)
    untyped.run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])

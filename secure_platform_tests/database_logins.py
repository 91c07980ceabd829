"""Vault makes logins at a real PostgreSQL: what a test needs to have it make one."""

from typing import Final

from key_servers import Tenant, VaultServer
from postgres_server import PostgresServer

CONNECTION: Final = "postgres"
_MAKE: Final = """CREATE ROLE "{{{{name}}}}" LOGIN PASSWORD '{{{{password}}}}'{member}"""
_DROP: Final = 'DROP ROLE IF EXISTS "{{name}}"'


def connect_vault(vault: VaultServer, postgres: PostgresServer, name: str = CONNECTION, **said: str) -> None:
    """Let Vault make roles in PostgreSQL, whose name and certificate it checks; `said` says otherwise."""
    host, port = said.get("host", "localhost"), said.get("port", postgres.port)
    vault.admin().secrets.database.configure(
        name=name,
        plugin_name="postgresql-database-plugin",
        allowed_roles="*",
        verify_connection=not said,
        connection_url=(
            f"postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/postgres"
            f"?sslmode=verify-full&sslrootcert={postgres.ca}"
        ),
        username="admin",
        password=postgres.password,
        password_authentication="scram-sha-256",
    )


def database_role(
    tenant: Tenant, name: str, ttl: str, longest: str, *, at: str = CONNECTION, member_of: str | None = None
) -> str:
    """The reference to logins that live this long, and are members of a role."""
    member = "" if member_of is None else f" IN ROLE {member_of}"
    tenant.admin.secrets.database.create_role(
        name=f"{tenant.name}-{name}",
        db_name=at,
        creation_statements=[_MAKE.format(member=member)],
        revocation_statements=[_DROP],
        default_ttl=ttl,
        max_ttl=longest,
    )
    return f"secret://vault-database/database/creds/{tenant.name}-{name}"

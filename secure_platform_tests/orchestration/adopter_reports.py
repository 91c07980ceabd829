"""An adopter's project as docs/secrets.md has it, on a real Vault and a real PostgreSQL."""

from pathlib import Path
from typing import Final

import yaml
from database_logins import connect_vault, database_role
from key_servers import Tenant, VaultServer
from postgres_server import PostgresServer
from secrets_document import documented

LOCATION: Final = "reports"
ADDED: Final = """
import os
import time
from functools import partial

from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.rotation import rotation_definitions

asset = partial(dg.asset, owners=["team:reports"], tags={{"secure/classification": "internal"}})
connect = partial(
    psycopg.connect, host="localhost", port={port}, dbname="postgres", sslmode="verify-full",
    sslrootcert={ca!r}, autocommit=True,
)


def login(secrets, role=LOGIN):
    user, password = (secrets.get(f"{{role}}#{{field}}").line for field in ("username", "password"))
    return {{"user": user, "password": password}}


def told(secrets, role=LOGIN):
    \"\"\"What the test is told goes through the database: the password must be nowhere else.\"\"\"
    used = login(secrets, role)
    with connect(**used) as connection:
        connection.execute(
            "INSERT INTO told VALUES (%s, %s, %s, %s)",
            [used["user"], used["password"], os.getpid(), os.environ["MAIL_PASSWORD"]],
        )
    return used


@asset()
def careless(context, secrets: SecretsResource) -> None:
    used = told(secrets)
    context.log.info("the mail's password has %d characters", len(secrets.get({mail!r}).line))
    raise RuntimeError(f"cannot use {{used}} and {{secrets.get({mail!r}).line}}")


@asset()
def waits(secrets: SecretsResource) -> None:
    told(secrets)
    time.sleep(600)


@asset()
def short(secrets: SecretsResource) -> None:
    told(secrets, LOGIN + "-short")
    time.sleep(600)


@asset()
def stale(secrets: SecretsResource) -> None:
    used = told(secrets)
    try:
        connect(host="127.0.0.1", **used)
    except psycopg.OperationalError as error:
        assert "certificate" in str(error)
    with connect(**used) as other:
        other.execute("SELECT locked(current_user)")
    try:
        connect(**used)
    except psycopg.OperationalError:
        secrets.refresh(secrets.get(f"{{LOGIN}}#username"))
    told(secrets)


jobs = {{"used": [visits, stale], "careless": [careless], "waits": [waits], "short": [short]}}


@dg.definitions
def defs() -> dg.Definitions:
    shared = dg.Definitions(
        assets=[asset for assets in jobs.values() for asset in assets],
        jobs=[dg.define_asset_job(name + "_job", assets) for name, assets in jobs.items()],
        resources=platform_resources(),
        executor=dg.in_process_executor,
    )
    return govern(dg.Definitions.merge(shared, rotation_definitions()))
"""
TABLES: Final = (
    "CREATE ROLE reporter",
    "CREATE TABLE visits AS SELECT generate_series(1, 3) AS visit",
    "CREATE TABLE told (login text, password text, pid int, variable text)",
    "GRANT SELECT ON visits TO reporter",
    "GRANT INSERT ON told TO reporter",
    # An operator locks a login while it is in use.
    """CREATE FUNCTION locked(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN EXECUTE format('ALTER ROLE %I NOLOGIN', name); END $$""",
)


def adopt(
    project: Path, tenant: Tenant, postgres: PostgresServer, vault: VaultServer, mail_password: str
) -> None:
    """Write the project, and make in Vault and PostgreSQL what it uses."""
    connect_vault(vault, postgres)
    with postgres.connect() as connection:
        for statement in TABLES:
            connection.execute(statement)
    name = tenant.name
    database_role(tenant, "reports", "10m", "60m", member_of="reporter")
    database_role(tenant, "reports-short", "4s", "60m", member_of="reporter")
    tenant.admin.secrets.kv.v2.create_or_update_secret(
        f"{name}/mail", secret={"password": mail_password}, mount_point="secret"
    )

    def as_here(text: str) -> str:
        # What the document names stands for what there is.
        return text.replace("platform-", f"{name}-").replace("/platform/", f"/{name}/")

    code = as_here(documented("python"))
    for there, here in (
        ('"db.example.org"', '"localhost"'),
        ("port=5432", f"port={postgres.port}"),
        ("/etc/ssl/db-ca.pem", str(postgres.ca)),
    ):
        assert there in code
        code = code.replace(there, here)
    mail = as_here("secret://vault/secret/platform/mail#password")
    (project / "defs").mkdir(parents=True)
    added = ADDED.format(port=postgres.port, ca=str(postgres.ca), mail=mail)
    (project / "reports.py").write_text(code + added, "utf-8")
    (project / "workspace.yaml").write_text(
        f"load_from: [{{python_file: {{relative_path: reports.py, location_name: {LOCATION}}}}}]\n", "utf-8"
    )
    settings = yaml.safe_load(as_here(documented("yaml")))
    settings["vault"] = tenant.settings.model_dump(mode="json", exclude_none=True)
    (project / "platform.yaml").write_text(yaml.safe_dump(settings), "utf-8")

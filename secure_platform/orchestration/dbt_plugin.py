"""dbt gets a DuckDB session that the platform closed before any SQL of a project can run in it.

dbt-duckdb loads this plugin because the platform's profile names it. Whatever a project's models, macros,
hooks and materializations do, their SQL reaches the build database and nothing else, and none of their Python
runs.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from dbt.adapters.duckdb.environments.local import LocalEnvironment  # noqa: TID253 - only dbt loads this
from dbt.adapters.duckdb.plugins import BasePlugin  # noqa: TID253

from secure_platform.errors import DataRefusedError
from secure_platform.store import duckdb
from secure_platform.store.warehouse import BUILD_DIRECTORY, BUILD_FILE, BUILD_KEY, BUILD_MEMORY

CATALOG: Final = "build"
FOLDERS: Final = {
    "temp_directory": "spill",
    "extension_directory": "extensions",
    "secret_directory": "secrets",
}


class Plugin(BasePlugin):
    """The name that dbt-duckdb looks for."""

    def initialize(self, plugin_config: Mapping[str, Any]) -> None:  # noqa: ARG002 - dbt-duckdb's signature
        """A materialization of the project could call for Python even without a Python model."""
        LocalEnvironment.submit_python_job = _refuse_python  # type: ignore[method-assign, assignment]

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:  # noqa: ARG002 - dbt-duckdb's signature
        """What this run decides; `dbt parse` opens no database and has none of it."""
        directory = Path(os.environ[BUILD_DIRECTORY])
        config |= {
            "memory_limit": os.environ[BUILD_MEMORY],
            **{name: str(directory / folder) for name, folder in FOLDERS.items()},
        }

    def configure_connection(self, conn: Any) -> None:
        """Runs once, when dbt opened the database and before anything else uses it."""
        path, key = Path(os.environ[BUILD_FILE]), bytes.fromhex(os.environ[BUILD_KEY])
        duckdb.confine(conn, path, key, catalog=CATALOG, read_only=False)


def _refuse_python(*_: object) -> NoReturn:
    raise DataRefusedError("dbt runs no Python here", "Write the model in SQL.")

"""A dbt project is SQL over its sources: data or code from elsewhere is refused before it runs.

The session that dbt gets is closed whatever a project says (`dbt_plugin`); this is the second fence, and the
only one around what dbt itself reads: a seed is a file that no contract and no scan has seen.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Final

from secure_platform.errors import ContractError

WRITTEN_BY_DBT: Final = frozenset({"target", "logs", "dbt_packages"})
"""Folders of a project that are not part of it."""

BUILT_IN: Final = frozenset({"dbt", "dbt_duckdb"})
ALLOWED: Final = frozenset({"model", "test", "analysis"})
HOOKS: Final = ("pre-hook", "post-hook")
LEADING_OUT: Final = ("plugin", "external_location")
SHOWN: Final = 5


def files_below(project: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Every file of a project as its path's parts and its path; what dbt writes is not gone through.

    A folder that vanishes meanwhile is passed over.
    """
    for folder, folders, names in os.walk(project):
        below = Path(folder).relative_to(project).parts
        if not below:
            folders[:] = [name for name in folders if name not in WRITTEN_BY_DBT]
        for name in names:
            path = Path(folder, name)
            if (below or name not in WRITTEN_BY_DBT) and path.is_file():
                yield (*below, name), path


def require_confined(manifest: Mapping[str, Any]) -> None:
    """Refuse a parsed project that does more than select from its sources.

    Raises:
        ContractError: Naming what it does.
    """
    offences = sorted({*_foreign(manifest), *_nodes(manifest), *_sources(manifest)})
    if offences:
        raise ContractError(
            f"The dbt project does what no project may: {'; '.join(offences[:SHOWN])}",
            "Write SQL models over sources; docs/own-project.md says what a project may hold.",
        )


def _foreign(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is of another package, or lies where the project's digest does not reach."""
    own = manifest["metadata"]["project_name"]
    members = ("nodes", "sources", "macros", "docs", "unit_tests")
    for name, item in chain.from_iterable(manifest[member].items() for member in members):
        path = PurePosixPath(item["original_file_path"])
        if item["package_name"] in BUILT_IN - {own}:
            continue
        if item["package_name"] != own:
            yield f"{name} is of another package"
        elif path.is_absolute() or ".." in path.parts or path.parts[0] in WRITTEN_BY_DBT:
            yield f"{name} is not in the project's own files"


def _nodes(manifest: Mapping[str, Any]) -> Iterator[str]:
    for name, node in manifest["nodes"].items():
        config = node["config"]
        if node["resource_type"] not in ALLOWED:
            yield f"{name} is a {node['resource_type']}"
        elif node["language"] != "sql":
            yield f"{name} is not SQL"
        if any(config.get(hook) for hook in HOOKS):
            yield f"{name} has a hook"
        if config.get("materialized") == "external" or config.get("plugin"):
            yield f"{name} is stored outside the build database"


def _sources(manifest: Mapping[str, Any]) -> Iterator[str]:
    for name, source in manifest["sources"].items():
        config = source.get("config") or {}
        places = (source, source.get("meta") or {}, source.get("source_meta") or {}, config)
        if any(place.get(key) for place in (*places, config.get("meta") or {}) for key in LEADING_OUT):
            yield f"{name} leads out of the build database"
    for name, test in manifest["unit_tests"].items():
        if any(given.get("fixture") for given in (*test["given"], test["expect"])):
            yield f"{name} reads a file"

"""dbt runs as a child process that gets the paths and the one key it needs, nothing else of our environment.

Everything dbt writes besides its results (parsed project, logs) goes into the home, never into the project.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from secure_platform.children import inherited_environment, running
from secure_platform.control.locks import file_lock
from secure_platform.errors import ContractError, StorageError
from secure_platform.files import private_directory, replace_private
from secure_platform.orchestration.dbt_rules import files_below, require_confined
from secure_platform.settings import Settings
from secure_platform.store.temporary import claimed_directory

PROFILES: Final = Path(__file__).parent
"""Folder of the platform's `profiles.yml`."""

ENOUGH: Final = 1 << 20
"""Bytes; when dbt fails with less than this left on the disk, the disk is the reason."""

MANIFEST: Final = "manifest.json"
PARTIAL_PARSE: Final = "partial_parse.msgpack"
NO_ASSETS: Final = ("exposures", "metrics", "semantic_models", "saved_queries", "unit_tests")
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class DbtRun:
    """What one dbt command did.

    Attributes:
        succeeded: Whether every node ran and every test passed.
        results: Unique id of a node or test → dbt's status (`success`, `pass`, `fail`, `error`, `skipped`).
        compiled: Unique id of a model → the SQL that ran.
    """

    succeeded: bool
    results: Mapping[str, str]
    compiled: Mapping[str, str]


def project_digest(project: Path) -> str:
    """SHA-256 over the dbt project's files, in path order, without what dbt writes."""
    digest = hashlib.sha256()
    for parts, path in sorted(files_below(project)):
        content = path.read_bytes()
        digest.update(f"{'/'.join(parts)}\n{len(content)}\n".encode())
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


def load_manifest(settings: Settings) -> dict[str, Any]:
    """The parsed project; parsed again only when a file of it changed. No key is needed.

    Raises:
        ContractError: If dbt cannot parse the project, or it does what no project may.
    """
    return _manifest_of(settings.dbt_project, settings.home, project_digest(settings.dbt_project))


@lru_cache(maxsize=4)
def _manifest_of(project: Path, home: Path, digest: str) -> dict[str, Any]:
    cache = home / "dbt"
    kept = _kept(home, digest) / MANIFEST
    with file_lock(cache / ".lock", holder="the parsed dbt project"):
        if not kept.is_file():
            with claimed_directory(home / "tmp", "build") as target:
                if not run_dbt(project, ["parse"], target=target, environment={}).succeeded:
                    raise ContractError(
                        f"dbt cannot parse the project {project}",
                        f"See what it says: dbt parse --project-dir {project} --profiles-dir {PROFILES}.",
                    )
                # The manifest comes last: where it is, the other is too.
                for name in (PARTIAL_PARSE, MANIFEST):
                    document = (target / name).read_bytes()
                    replace_private(private_directory(kept.parent) / name, document, scratch=target)
    manifest = dict(json.loads(kept.read_text(encoding="utf-8")))
    require_confined(manifest)
    return manifest


def reuse_parsing(settings: Settings, digest: str, target: Path) -> None:
    """Let dbt go on from what it parsed before; whether it still fits, and what else to parse, dbt decides.

    Args:
        settings: Name the home.
        digest: Of the project.
        target: Folder in which dbt will run.
    """
    parsed = _kept(settings.home, digest) / PARTIAL_PARSE
    if parsed.is_file():
        shutil.copyfile(parsed, target / PARTIAL_PARSE)


def _kept(home: Path, digest: str) -> Path:
    return home / "dbt" / digest.removeprefix("sha256:")[:32]


def models_of(manifest: Mapping[str, Any], product: str) -> str:
    """Dbt's selection of the models below `models/<product>/`."""
    return f"fqn:{manifest['metadata']['project_name']}.{product}.*"


def part_of(manifest: Mapping[str, Any], product: str) -> dict[str, Any]:
    """The manifest without what neither a model of the product nor a test of one refers to.

    What reads a manifest for one product looks at all of it, which for many products costs the square.
    """
    parents, children = manifest["parent_map"], manifest["child_map"]
    path = [manifest["metadata"]["project_name"], product]
    kept = _closure((name for name, node in manifest["nodes"].items() if node["fqn"][:2] == path), parents)
    tests = {child for name in kept for child in children.get(name, ()) if child.startswith("test.")}
    kept = _closure(kept | tests, parents)
    members = {
        member: {name: value for name, value in manifest[member].items() if name in kept}
        for member in ("nodes", "sources", "parent_map")
    }
    descent = {name: [child for child in children.get(name, ()) if child in kept] for name in kept}
    return {**manifest, **dict.fromkeys(NO_ASSETS, NOTHING), **members, "child_map": descent}


def _closure(names: Iterable[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(parents.get(name, ()))
    return found


def dbt_command(project: Path, arguments: Sequence[str]) -> list[str]:
    """The command line; how dbt opens DuckDB is the platform's profile, whatever the project says."""
    return [
        str(Path(sys.executable).with_name("dbt")),
        "--quiet",
        "--no-use-colors",
        "--no-version-check",
        "--no-send-anonymous-usage-stats",
        *arguments,
        "--project-dir",
        str(project),
        "--profiles-dir",
        str(PROFILES),
        "--profile",
        "secure_platform",
        "--target",
        "build",
    ]


def run_dbt(
    project: Path, arguments: Sequence[str], *, target: Path, environment: Mapping[str, str]
) -> DbtRun:
    """Run one dbt command and wait for it.

    Args:
        project: Folder of `dbt_project.yml`.
        arguments: The command, e.g. `["build", "--select", "tag:x"]`.
        target: Folder in the home for what dbt writes.
        environment: Further variables, such as the build database's path and key.

    Raises:
        StorageError: If it failed and the disk is full.
    """
    ours = {
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(target),
        "DBT_LOG_LEVEL_FILE": "none",
        "DO_NOT_TRACK": "1",
    }
    # dbt's own output may quote values (a failing cast); only its result codes are read.
    with running(
        dbt_command(project, arguments),
        env={**inherited_environment(), **ours, **environment},
        cwd=target,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        status = process.wait()
    if status and shutil.disk_usage(target).free < ENOUGH:
        raise StorageError.of("dbt", os.strerror(errno.ENOSPC))
    results = read_json(target / "run_results.json").get("results", [])
    return DbtRun(
        succeeded=status == 0,
        results={result["unique_id"]: str(result["status"]) for result in results},
        compiled={
            result["unique_id"]: result["compiled_code"] for result in results if result.get("compiled_code")
        },
    )


def read_json(path: Path) -> dict[str, Any]:
    """What dbt wrote there; empty if it did not come so far."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

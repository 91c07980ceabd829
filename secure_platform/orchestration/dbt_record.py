"""What marts were built and tested with, so that a release says it and the next one shows what changed.

It has digests of the SQL as written and as it ran; the latter shows variables, macros and settings.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from secure_platform import canonical
from secure_platform.orchestration.dbt_rules import BUILT_IN

CONDITIONS: Final = ("where", "limit", "fail_calc", "warn_if", "error_if")
"""Settings of a test that decide what it counts as a failure."""


def dbt_record(
    project: Path, digest: str, part: Mapping[str, Any], compiled: Mapping[str, str]
) -> dict[str, Any]:
    """The record of one product's build.

    Args:
        project: Folder of `dbt_project.yml`.
        digest: SHA-256 of the project's files.
        part: The product's part of the manifest that dbt built from.
        compiled: Unique id of a model or test → the SQL that ran.
    """
    nodes = part["nodes"]
    return {
        "project": digest,
        "vars": _variables(project),
        "macros": {
            name: _text(macro["macro_sql"])
            for name, macro in part["macros"].items()
            if macro["package_name"] not in BUILT_IN
        },
        "models": {
            name: _sql(node, compiled) for name, node in nodes.items() if node["resource_type"] == "model"
        },
        "tests": {
            name: {**_sql(node, compiled), **_judgement(node)}
            for name, node in nodes.items()
            if node["resource_type"] == "test"
        },
    }


def _variables(project: Path) -> dict[str, Any]:
    settings = yaml.safe_load((project / "dbt_project.yml").read_text(encoding="utf-8")) or {}
    return {str(name): _plain(value) for name, value in (settings.get("vars") or {}).items()}


def _plain(value: Any) -> Any:
    """YAML as JSON: keys and dates become text."""
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _sql(node: Mapping[str, Any], compiled: Mapping[str, str]) -> dict[str, str]:
    return {"sql": _text(node["raw_code"]), "compiled": _text(compiled.get(node["unique_id"], ""))}


def _judgement(node: Mapping[str, Any]) -> dict[str, str]:
    config = node["config"]
    return {
        "severity": str(config["severity"]).lower(),
        "arguments": _json((node.get("test_metadata") or {}).get("kwargs") or {}),
        "conditions": _json({name: config.get(name) for name in CONDITIONS}),
    }


def _text(text: str) -> str:
    return canonical.sha256(text.encode())


def _json(value: Any) -> str:
    return canonical.sha256(canonical.dumps(value))

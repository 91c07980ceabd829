"""Small contracts and products as documents that a test can damage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from secure_platform.contract.load import load_contract
from secure_platform.contract.model import Contract
from secure_platform.contract.product import COMPONENT

DEFS = Path(__file__).resolve().parents[2] / "secure_platform" / "defs"
HEALTHCARE = DEFS / "healthcare"


def column(
    name: str, logical_type: str = "string", classification: str = "internal", **more: Any
) -> dict[str, Any]:
    return {"name": name, "logicalType": logical_type, "classification": classification, **more}


def custom(**values: Any) -> list[dict[str, Any]]:
    return [{"property": name, "value": value} for name, value in values.items()]


def enum(*values: str) -> list[dict[str, Any]]:
    return [{"metric": "invalidValues", "arguments": {"validValues": list(values)}, "mustBe": 0}]


def foreign_key(name: str, to: str, classification: str = "internal", **more: Any) -> dict[str, Any]:
    return column(
        name, classification=classification, relationships=[{"type": "foreignKey", "to": to}], **more
    )


def document(dataset: str, *columns: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": "1.0.0",
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": dataset,
        "team": {"name": "test"},
        "servers": [{"server": "source", "type": "local", "path": f"{dataset}.csv", "format": "csv"}],
        "schema": [{"name": dataset, "properties": list(columns)}],
        **more,
    }


def write(directory: Path, body: Mapping[str, Any]) -> Path:
    path = directory / f"{body['schema'][0]['name']}.odcs.yaml"
    path.write_text(dump(body), encoding="utf-8")
    return path


def contract(directory: Path, *columns: Mapping[str, Any], **more: Any) -> Contract:
    return load_contract(write(directory, document("things", *columns, **more)))


def product(directory: Path, *documents: Mapping[str, Any], **attributes: Any) -> Path:
    (directory / "contracts").mkdir(parents=True)
    said = {
        "name": directory.name,
        "owner": "team:test",
        "description": "For tests.",
        "profile": "hipaa_safe_harbor",
        "models": ["summary"],
        **attributes,
    }
    (directory / "defs.yaml").write_text(dump({"type": COMPONENT, "attributes": said}), encoding="utf-8")
    for body in documents:
        write(directory / "contracts", body)
    return directory


class QuotingDumper(yaml.SafeDumper):
    """Quotes every text, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


QuotingDumper.add_representer(str, _quoted)


def dump(value: Any) -> str:
    return yaml.dump(value, Dumper=QuotingDumper, allow_unicode=True, sort_keys=False)

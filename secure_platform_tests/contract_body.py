"""An Open Data Contract of made-up data, as its YAML would say it."""

from collections.abc import Mapping, Sequence
from typing import Any


def contract_body(dataset: str, properties: Sequence[Mapping[str, Any]], **custom: Any) -> dict[str, Any]:
    """The whole document; `custom` are the custom properties of the contract."""
    return {
        "version": "1.0.0",
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": dataset,
        "name": dataset,
        "status": "active",
        "team": {"name": "test"},
        "description": {"purpose": "Made-up data."},
        "servers": [{"server": "export", "type": "local", "path": f"{dataset}.csv", "format": "csv"}],
        "schema": [{"name": dataset, "logicalType": "object", "properties": list(properties)}],
        "customProperties": [{"property": key, "value": value} for key, value in custom.items()],
    }

"""Where every column of a mart comes from, read off the SQL that dbt ran."""

from collections.abc import Mapping
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify

ColumnLineage = Mapping[str, tuple[tuple[str, str], ...]]
"""Output column → (table, column) pairs it is computed from; a table is a dataset or another mart."""


def column_lineage(
    manifest: Mapping[str, Any],
    compiled: Mapping[str, str],
    datasets: Mapping[str, Mapping[str, str]],
) -> dict[str, ColumnLineage]:
    """Trace every column of every compiled model to the datasets and marts it reads.

    Args:
        manifest: dbt's manifest.
        compiled: Unique id of a model → the SQL that ran.
        datasets: Dataset → column → type, of the protected inputs.

    Returns:
        Model name → its lineage; a model whose SQL cannot be traced is left out.
    """
    schema: dict[str, dict[str, str]] = {name: dict(columns) for name, columns in datasets.items()}
    found: dict[str, ColumnLineage] = {}
    for unique_id in _in_order(manifest, compiled):
        name = manifest["nodes"][unique_id]["name"]
        traced = _trace(compiled[unique_id], schema)
        if traced is not None:
            found[name] = traced
            schema[name] = dict.fromkeys(traced, "TEXT")
    return found


def _in_order(manifest: Mapping[str, Any], compiled: Mapping[str, str]) -> list[str]:
    """Models after the models they read."""
    ordered: list[str] = []

    def visit(unique_id: str) -> None:
        if unique_id in ordered or unique_id not in compiled or not unique_id.startswith("model."):
            return
        for parent in manifest["nodes"][unique_id]["depends_on"]["nodes"]:
            visit(parent)
        ordered.append(unique_id)

    for unique_id in sorted(compiled):
        visit(unique_id)
    return ordered


def _trace(sql: str, schema: Mapping[str, Mapping[str, str]]) -> ColumnLineage | None:
    try:
        query = sqlglot.parse_one(sql, dialect="duckdb")
        for table in query.find_all(exp.Table):
            # The database and schema names differ between runs; the table's own name is what is traced.
            table.set("catalog", None)
            table.set("db", None)
        qualified = qualify(query, schema=dict(schema), dialect="duckdb")
        names = (
            [column.alias_or_name for column in qualified.selects] if isinstance(qualified, exp.Query) else []
        )
        return {
            name: _leaves(lineage(name, qualified, schema=dict(schema), dialect="duckdb"), schema)
            for name in names
        }
    except (SqlglotError, KeyError):
        return None


def _leaves(root: Node, schema: Mapping[str, Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    leaves = {
        (
            node.expression.name,
            _as_declared(node.name.rpartition(".")[2].strip('"'), schema[node.expression.name]),
        )
        for node in root.walk()
        if not node.downstream and isinstance(node.expression, exp.Table)
    }
    return tuple(sorted(leaves))


def _as_declared(column: str, columns: Mapping[str, str]) -> str:
    """The column as its table spells it: DuckDB's names ignore case, and sqlglot folds them."""
    return next((name for name in columns if name.lower() == column.lower()), column)

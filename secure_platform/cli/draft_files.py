"""The files of a drafted product: contracts, `defs.yaml` and one mart per dataset that passes it on.

All of them or none: what exists is refused before anything is written, unless it is to be replaced.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from secure_platform.cli.output import cannot_write
from secure_platform.contract.load import SUFFIX
from secure_platform.contract.product import COMPONENT, CONTRACTS, DEFINITION
from secure_platform.errors import UsageError
from secure_platform.files import write_private
from secure_platform.protect.plan import DatasetPlan, Plan
from secure_platform.scan.draft.columns import TableDraft
from secure_platform.scan.draft.document import contract_text
from secure_platform.scan.draft.tables import Table
from secure_platform.store.parquet import value_free

PURPOSE: Final = "analysis"
PROJECT: Final = "platform.yaml"
_TYPES: Final[Mapping[str, str]] = {
    "String": "varchar",
    "Int64": "bigint",
    "Int32": "integer",
    "Float64": "double",
    "Boolean": "boolean",
    "Date": "date",
    "Datetime(time_unit='us', time_zone='UTC')": "timestamp with time zone",
}
_DBT_PROJECT: Final = """\
# One project for all data products: models/<product>/ becomes the schema <product> of the build database.
name: secure_platform
version: "1.0"
config-version: 2
profile: secure_platform

model-paths: [models]
macro-paths: [macros]
test-paths: [tests]
analysis-paths: []
seed-paths: []
snapshot-paths: []

flags:
  send_anonymous_usage_stats: false
  version_check: false
  require_generic_test_arguments_property: true

models:
  secure_platform:
    +materialized: table
    +contract: {enforced: true}
"""
_SCHEMA_MACRO: Final = """\
{#- A model's schema is its product: the folder below models/. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or node.fqn[1]) | trim }}
{%- endmacro %}
"""
_SETTINGS: Final = """\
# A project of secure-platform; docs/settings.md names what may stand here.
environment: production
"""
_IGNORED: Final = """\
# The home with its keys, tokens, and converted data do not belong in a repository.
.secure_platform*/
*.token
*.parquet
"""


def contract_files(drafts: Sequence[TableDraft], owner: str, folder: Path) -> dict[Path, str]:
    """Path → text of one contract per table."""
    return {folder / f"{draft.dataset}{SUFFIX}": contract_text(draft, owner) for draft in drafts}


def product_files(drafts: Sequence[TableDraft], product: str, profile: str, defs: Path) -> dict[Path, str]:
    """Path → text of `defs.yaml` and the contracts."""
    attributes = {
        "name": product,
        "owner": f"team:{product}",
        "description": f"Say what {product} is for.",
        "profile": profile,
        "models": [draft.dataset for draft in drafts],
        "purposes": [PURPOSE],
    }
    definition = _yaml({"type": COMPONENT, "attributes": attributes})
    return {
        defs / product / DEFINITION: definition,
        **contract_files(drafts, product, defs / product / CONTRACTS),
    }


def mart_files(plan: Plan, drafts: Sequence[TableDraft], dbt: Path) -> dict[Path, str]:
    """Path → text of the marts, each a dataset as protection leaves it."""
    folder, datasets = dbt / "models" / plan.product, [draft.dataset for draft in drafts]
    source = {"name": plan.product, "database": "build", "schema": "protected"}
    tables = {"tables": [{"name": dataset} for dataset in datasets]}
    models = [_model(draft, plan.datasets[draft.dataset], plan.product) for draft in drafts]
    return {
        folder / "sources.yml": _yaml({"version": 2, "sources": [source | tables]}),
        folder / "schema.yml": _yaml({"version": 2, "models": models}),
        **{folder / f"{name}.sql": _select(plan.datasets[name], plan.product) for name in datasets},
    }


def project_files(project: Path, dbt: Path) -> dict[Path, str]:
    """Path → text of what a folder lacks to be a project with a dbt project."""
    wanted = {
        project / PROJECT: _SETTINGS,
        project / ".gitignore": _IGNORED,
        dbt / "dbt_project.yml": _DBT_PROJECT,
        dbt / "macros" / "generate_schema_name.sql": _SCHEMA_MACRO,
    }
    known = (project / "pyproject.toml").is_file()
    return {
        path: text
        for path, text in wanted.items()
        if not path.exists() and not (known and path.name == PROJECT)
    }


def write_all(files: Mapping[Path, str], *, force: bool) -> None:
    """Write every file, or none.

    Raises:
        UsageError: If one exists and is not to be replaced, or cannot be written.
    """
    require_free(files, force=force)
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if force:
                path.unlink(missing_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as error:
            raise cannot_write(path, error.strerror) from None


def table_files(tables: Sequence[Table], folder: Path) -> dict[Path, Table]:
    """Path → table of what is to be written as Parquet."""
    return {folder / f"{table.dataset}.parquet": table for table in tables}


def write_tables(files: Mapping[Path, Table]) -> None:
    """Write every table as Parquet, for its owner only."""
    for path, table in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        write_private(path, b"")
        with value_free("convert a table"):
            table.frame.sink_parquet(path)


def require_free(files: Iterable[Path], *, force: bool) -> None:
    """Refuse to replace files, unless that is wanted.

    Raises:
        UsageError: Naming those that exist.
    """
    there = [path for path in files if path.is_symlink() or path.exists()]
    if there and not force:
        raise UsageError(
            f"These files exist: {', '.join(map(str, there))}",
            "Move them away, name another folder, or replace them with --force.",
        )


def _model(draft: TableDraft, plan: DatasetPlan, product: str) -> dict[str, Any]:
    config = {"meta": {"classification": _highest(plan), "dagster": {"owners": [f"team:{product}"]}}}
    columns = []
    for column, name in zip(plan.outputs, mart_names(plan), strict=True):
        proposal = draft.column(column.column)
        tests = [
            *(["not_null"] if proposal.required and column.transform in {"keep", "tokenize"} else []),
            *(["unique"] if draft.primary_key == (proposal,) else []),
        ]
        columns.append(
            {
                "name": name,
                "data_type": _TYPES[str(column.output_type)],
                "quote": True,
                "config": {"meta": {"classification": column.classification.label}},
                **({"data_tests": tests} if tests else {}),
            }
        )
    described = f"{draft.dataset} as protection leaves it."
    return {"name": draft.dataset, "description": described, "config": config, "columns": columns}


def _highest(plan: DatasetPlan) -> str:
    return max(column.classification for column in plan.outputs).label


def _select(plan: DatasetPlan, product: str) -> str:
    names = zip(plan.outputs, mart_names(plan), strict=True)
    columns = ",\n".join(f'    "{column.column}" as "{name}"' for column, name in names)
    return f"select\n{columns}\nfrom {{{{ source('{product}', '{plan.dataset}') }}}}\n"


def mart_names(plan: DatasetPlan) -> list[str]:
    """Names that need no quotes in a query, as near to the file's as can be."""
    names: list[str] = []
    for column in plan.outputs:
        words = re.sub(r"[^a-z0-9]+", "_", column.column.lower()).strip("_") or "column"
        names.append(words if words not in names else f"{words}_{len(names) + 1}")
    return names


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=110))

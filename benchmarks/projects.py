"""A generated dg project of many products, ten datasets each, over the platform's own component."""

import shutil
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.data import FIRST
from secure_platform.contract.product import COMPONENT
from secure_platform.settings import PACKAGE

DATASETS: Final = 10
PRODUCT: Final = "product{:04}"
FIRST_PRODUCT: Final = PRODUCT.format(0)
PROJECT: Final = '[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "many"\n'
DEFINITION: Final = """\
type: {component}
attributes:
  name: {product}
  owner: team:{product}
  description: The generated product {product}.
  profile: hipaa_safe_harbor
  schedule: "0 5 * * *"
  models: [{product}_visits]
"""
CONTRACT: Final = """\
version: 1.0.0
apiVersion: v3.1.0
kind: DataContract
id: {product}-{dataset}
name: {dataset}
status: active
description: {{purpose: One row per visit.}}
team: {{name: {product}}}
servers:
  - {{server: export, type: local, path: {dataset}.csv, format: csv}}
slaProperties:
  - {{property: latency, value: 26, unit: h}}
schema:
  - name: {dataset}
    logicalType: object
    description: One row per visit.
    properties:
      - name: visit
        description: Number of the visit.
        logicalType: string
        required: true
        primaryKey: true
        primaryKeyPosition: 1
        classification: confidential
        customProperties: [{{property: infoType, value: RECORD_ID}}, {{property: tokenDomain, value: visit}}]
      - name: earlier_visit
        description: The visit that this one follows.
        logicalType: string
        classification: confidential
        relationships:
          - {{type: foreignKey, to: {first}.visit}}
        customProperties: [{{property: infoType, value: RECORD_ID}}, {{property: tokenDomain, value: visit}}]
      - name: patient_name
        description: Who came.
        logicalType: string
        classification: restricted
        customProperties: [{{property: infoType, value: PERSON_NAME}}]
      - name: ssn
        description: Their Social Security number.
        logicalType: string
        logicalTypeOptions: {{pattern: '^[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}$'}}
        classification: restricted
        customProperties: [{{property: infoType, value: US_SSN}}]
      - name: began
        description: When they came.
        logicalType: timestamp
        required: true
        classification: confidential
        customProperties: [{{property: infoType, value: DATE}}]
      - {{name: ward, description: Where they went., logicalType: string, classification: internal}}
      - name: cost
        description: What it cost, in US dollars.
        logicalType: number
        logicalTypeOptions: {{minimum: 0}}
        classification: internal
      - {{name: outcome, description: How it ended., logicalType: string, classification: internal}}
"""
MODEL: Final = "select ward, count(*) as visits from {{{{ source('{product}', '{first}') }}}} group by ward\n"
SCHEMA: Final = """\
version: 2
models:
  - name: {product}_visits
    description: Visits by ward.
    columns:
      - {{name: ward, data_type: varchar, data_tests: [not_null]}}
      - {{name: visits, data_type: bigint}}
"""


def write_project(root: Path, datasets: int) -> None:
    """A project with this many datasets."""
    _write(root / "pyproject.toml", PROJECT)
    _write(root / "many" / "__init__.py", "")
    for number in range(0, datasets, DATASETS):
        _write_product(root, PRODUCT.format(number // DATASETS), min(DATASETS, datasets - number))
    ours = PACKAGE.parent / "dbt"
    shutil.copytree(ours / "macros", root / "dbt" / "macros")
    shutil.copy(ours / "dbt_project.yml", root / "dbt")


def dataset_names(datasets: int) -> list[str]:
    """The datasets of a product with this many."""
    return [f"visits{number:02}" for number in range(datasets)]


def write_visits(source: Path, datasets: int, rows: int) -> None:
    """The files that the datasets of the first product are pulled from."""
    source.mkdir()
    number = pl.int_range(rows, eager=True)
    visits = pl.select(
        visit=pl.format("V{}", number),
        earlier_visit=pl.format("V{}", number // 2),
        patient_name=pl.format("{} Adler", pl.Series(FIRST).gather(number % len(FIRST))),
        ssn=pl.format("123-45-{}", (number % 9_000 + 1_000)),
        began=pl.lit("2026-01-02T03:04:05Z"),
        ward=pl.format("W{}", number % 20),
        cost=number % 500,
        outcome=pl.lit("well"),
    )
    for name in dataset_names(datasets):
        visits.write_csv(source / f"{name}.csv")


def _write_product(root: Path, product: str, datasets: int) -> None:
    folder, models = root / "many" / "defs" / product, root / "dbt" / "models" / product
    names = dataset_names(datasets)
    named = {"product": product, "first": names[0], "component": COMPONENT}
    _write(folder / "defs.yaml", DEFINITION.format(**named))
    for name in names:
        _write(folder / "contracts" / f"{name}.odcs.yaml", CONTRACT.format(dataset=name, **named))
    tables = ", ".join(f"{{name: {name}}}" for name in names)
    source = f"{{name: {product}, database: build, schema: protected, tables: [{tables}]}}"
    _write(models / "sources.yml", f"version: 2\nsources:\n  - {source}\n")
    _write(models / "schema.yml", SCHEMA.format(**named))
    _write(models / f"{product}_visits.sql", MODEL.format(**named))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")

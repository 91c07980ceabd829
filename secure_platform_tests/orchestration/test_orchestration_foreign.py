"""Another dg project uses the component with its own product, contract and dbt folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from secure_platform.settings import PACKAGE

pytestmark = pytest.mark.slow

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: clinic-visits
name: visits
version: 1.0.0
status: active
description: {purpose: One row per visit.}
team: {name: clinic}
servers:
  - {server: export, type: local, path: visits.csv, format: csv}
schema:
  - name: visits
    description: One row per visit.
    properties:
      - name: visit_id
        logicalType: string
        description: Number of the visit.
        required: true
        primaryKey: true
        primaryKeyPosition: 1
        classification: confidential
        customProperties: [{property: infoType, value: RECORD_ID}]
      - name: name
        logicalType: string
        description: Who came.
        classification: restricted
        customProperties: [{property: infoType, value: PERSON_NAME}]
      - name: ward
        logicalType: string
        description: Where they went.
        classification: internal
"""
DEFINITION = """\
type: secure_platform.orchestration.component.DataProduct
attributes:
  name: clinic
  owner: team:clinic
  description: Visits of a clinic.
  profile: hipaa_safe_harbor
  models: [ward_visits]
"""
DEFINITIONS = """\
from pathlib import Path

import dagster as dg

from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.project import load_products
from secure_platform.orchestration.resources import platform_resources


@dg.definitions
def defs() -> dg.Definitions:
    products = load_products(Path(__file__).parent)
    return govern(dg.Definitions.merge(products, dg.Definitions(resources=platform_resources())))
"""
PROJECT = """\
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "clinic"
code_location_name = "clinic"
"""
MODEL = "select ward, count(*) as visits from {{ source('clinic', 'visits') }} group by ward"
SOURCES = (
    "version: 2\nsources:\n  - {name: clinic, database: build, schema: protected, tables: [{name: visits}]}\n"
)
SCHEMA = """\
version: 2
models:
  - name: ward_visits
    columns:
      - {name: ward, data_type: varchar}
      - {name: visits, data_type: bigint}
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    write(root / "pyproject.toml", PROJECT)
    write(root / "clinic" / "__init__.py", "")
    write(root / "clinic" / "definitions.py", DEFINITIONS)
    write(root / "clinic" / "defs" / "clinic" / "defs.yaml", DEFINITION)
    write(root / "clinic" / "defs" / "clinic" / "contracts" / "visits.odcs.yaml", CONTRACT)
    write(root / "dbt" / "models" / "clinic" / "sources.yml", SOURCES)
    write(root / "dbt" / "models" / "clinic" / "schema.yml", SCHEMA)
    write(root / "dbt" / "models" / "clinic" / "ward_visits.sql", MODEL)
    ours = PACKAGE.parent / "dbt"
    shutil.copytree(ours / "macros", root / "dbt" / "macros")
    shutil.copy(ours / "dbt_project.yml", root / "dbt")
    rows = "".join(f"v{number},Person {number},{'east' if number % 2 else 'west'}\n" for number in range(20))
    write(tmp_path / "source" / "visits.csv", f"visit_id,name,ward\n{rows}")
    return root


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(project.parent), "PYTHONPATH": str(project)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_foreign_project_builds_its_product_to_a_pending_release(project: Path) -> None:
    source = str(project.parent / "source")
    built = run(project, "-m", "secure_platform", "run", "clinic", "--source", source)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "clinic/marts/ward_visits" in built.stdout
    assert (project / ".secure_platform" / "releases" / "clinic" / "1" / "manifest.json").is_file()
    loaded = run(
        project, "-c", "from clinic.definitions import defs; print(len(defs().resolve_all_asset_specs()))"
    )
    assert loaded.stdout.strip() == "5", loaded.stderr

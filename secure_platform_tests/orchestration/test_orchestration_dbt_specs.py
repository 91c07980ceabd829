"""Our assets and checks of dbt's models are those of dagster-dbt, whose import the definitions do without."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from secure_platform.contract.product import load_products
from secure_platform.definitions import defs
from secure_platform.orchestration.dbt import models_of, part_of, read_json, run_dbt
from secure_platform.orchestration.dbt_specs import UNIQUE_ID, mart_specs
from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.lookouts import lookout_definitions
from secure_platform.orchestration.monitoring import monitoring_definitions
from secure_platform.orchestration.presentation import asset_key
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.rotation import rotation_definitions
from secure_platform.settings import PACKAGE
from secure_platform.store.snapshot import Zone
from secure_platform.taxonomy.classification import Classification

PRODUCT = load_products(PACKAGE / "defs")["healthcare"]
SCHEMA = """\
version: 2
groups: [{name: finance, owner: {name: Finance, email: finance@example.org}}]
sources:
  - {name: healthcare, database: build, schema: protected, tables: [{name: patients}, {name: encounters}]}
models:
  - name: people
    description: Everybody.
    config: {meta: {dagster: {owners: ["team:clinical-data"]}}}
    columns: [{name: id, data_tests: [unique, {not_null: {config: {severity: warn}}}]}]
  - name: costs
    config: {group: finance}
    columns:
      - name: person
        data_tests: [{relationships: {arguments: {to: ref('people'), field: id}}}]
  - {name: visits, config: {materialized: ephemeral}}
"""
PROJECT = """\
{name: clinic, version: "1.0", profile: own, flags: {require_generic_test_arguments_property: true}}
"""
TWO = "select * from {{ ref('people') }} join {{ ref('costs') }} on id = person"
FILES = {
    "dbt_project.yml": PROJECT,
    "models/healthcare/schema.yml": SCHEMA,
    "models/healthcare/people.sql": """select "Id" as id from {{ source('healthcare', 'patients') }}""",
    "models/healthcare/visits.sql": "select 1 as person from {{ source('healthcare', 'encounters') }}",
    "models/healthcare/deep/costs.sql": "select person from {{ ref('visits') }}, {{ ref('people') }}",
    "models/other/foreign.sql": "select id from {{ ref('people') }}",
    "tests/alone.sql": "{{ config(meta={'description': 'One.'}) }} select * from {{ ref('people') }}",
    "tests/of_two.sql": TWO,
    "tests/named.sql": "{{ config(meta={'dagster': {'ref': {'name': 'costs'}}}) }} " + TWO,
    "tests/misnamed.sql": "{{ config(meta={'dagster': {'ref': {'name': 'nobody'}}}) }} " + TWO,
}
LOADS = """
import sys
from secure_platform.definitions import defs

defs().get_repository_def()
slow = ("boto3", "dagster_aws", "dagster_dbt", "dbt", "pandera", "sqlglot")
sys.exit(any(name.partition(".")[0] in slow for name in sys.modules))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project, target = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("target")
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    assert run_dbt(project, ["parse"], target=target, environment={}).succeeded
    return target / "manifest.json"


def said(spec: dg.AssetSpec | dg.AssetCheckSpec, owners: list[str] | None = None) -> tuple[object, ...]:
    """What both must say, in any order."""
    if isinstance(spec, dg.AssetSpec):
        deps = {dep.asset_key for dep in spec.deps}
        return spec.key, deps, spec.description, list(spec.owners) or owners, spec.metadata[UNIQUE_ID]
    deps = {dep.asset_key for dep in spec.additional_deps}
    return spec.key, spec.description, spec.blocking, deps, spec.metadata[UNIQUE_ID]


def theirs(manifest: Mapping[str, Any]) -> tuple[list[object], list[object]]:
    from dagster_dbt import DagsterDbtTranslator
    from dagster_dbt.asset_utils import build_dbt_specs

    class Translator(DagsterDbtTranslator):
        def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
            is_source = dbt_resource_props["resource_type"] == "source"
            return asset_key(PRODUCT, Zone.PROTECTED if is_source else Zone.MARTS, dbt_resource_props["name"])

    specs, checks = build_dbt_specs(
        translator=Translator(),
        manifest=manifest,
        select=models_of(manifest, PRODUCT.name),
        exclude="",
        selector="",
        io_manager_key=None,
        project=None,
    )
    return [said(spec, [PRODUCT.owner]) for spec in specs], [said(check) for check in checks]


def test_our_assets_and_checks_are_those_of_dagster_dbt(parsed: Path) -> None:
    manifest = part_of(read_json(parsed), PRODUCT.name)
    specs, checks = mart_specs(PRODUCT, manifest, Classification.CONFIDENTIAL)
    assets, tests = theirs(manifest)
    assert sorted(map(said, specs), key=repr) == sorted(assets, key=repr)
    assert sorted(map(said, checks), key=repr) == sorted(tests, key=repr)
    assert {spec.key.path[-1]: list(spec.owners) for spec in specs} == {
        "people": ["team:clinical-data"],
        "costs": ["finance@example.org"],
    }
    judged = {check.name: check.asset_key.path[-1] for check in checks}
    assert (judged["alone"], judged["named"]) == ("people", "costs")
    assert {"of_two", "misnamed"}.isdisjoint(judged)
    assert len(judged) == 5


@pytest.fixture
def home(parsed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(shutil.copytree(parsed_home, tmp_path / "home")))


@pytest.mark.usefixtures("home")
def test_loading_the_definitions_imports_no_integration() -> None:
    assert subprocess.run([sys.executable, "-c", LOADS], check=False).returncode == 0


def everything(definitions: dg.Definitions) -> dict[str, Any]:
    """What a web server is told, without the components that could be added."""
    told = serialize_value(RepositorySnap.from_def(definitions.get_repository_def()))
    return {name: value for name, value in json.loads(told).items() if name != "metadata"}


@pytest.mark.usefixtures("home")
def test_the_definitions_are_all_that_is_in_the_folder() -> None:
    folder = dg.load_from_defs_folder(path_within_project=PACKAGE)
    shared = dg.Definitions(resources=platform_resources(), executor=dg.in_process_executor)
    watching = rotation_definitions(), monitoring_definitions(), lookout_definitions()
    expected = everything(govern(dg.Definitions.merge(folder, shared, *watching)))
    assert everything(defs()) == expected

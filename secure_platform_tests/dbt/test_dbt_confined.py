"""Whoever owns the dbt project owns neither the session that its SQL runs in, nor what dbt reads."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_dbt_healthcare import MARTS, PROJECT, build, run_dbt, tables

from secure_platform.errors import ContractError
from secure_platform.orchestration.dbt import project_digest
from secure_platform.orchestration.dbt_rules import require_confined

RELAXED = "{{ config(contract={'enforced': false}) }} "
SECRET = "900-00-1234"
PYTHON = "import pathlib; pathlib.Path('{out}').write_text('ran')"
RULES: Mapping[str, Mapping[str, str]] = {
    "is a operation": {"dbt_project.yml": "on-run-start: [select 1]\n"},
    "is a seed": {"dbt_project.yml": "seed-paths: [outside]\n", "outside/raw.csv": "a\n1\n"},
    "has a hook": {"models/other/hook.sql": "{{ config(pre_hook='select 1') }} select 1 as a"},
    "is not SQL": {"models/other/code.py": "def model(dbt, session):\n    return session.sql('select 1')\n"},
    "leads out": {
        "models/other/other.yml": "sources:\n"
        "  - {name: out, meta: {external_location: x.csv}, tables: [{name: t}]}\n"
    },
    "outside the build database": {
        "models/other/external.sql": "{{ config(materialized='external') }} select 1 as a"
    },
    "not in the project's own files": {
        "dbt_project.yml": "test-paths: [tests, target]\n",
        "target/unseen.sql": "select 1 as a where false",
    },
}


def project_with(folder: Path, files: Mapping[str, str]) -> Path:
    project = folder / "project"
    shutil.copytree(PROJECT, project)
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = path.read_text().splitlines(keepends=True) if path.is_file() else []
        replaced = text.partition(":")[0] + ":"
        path.write_text("".join(line for line in kept if not line.startswith(replaced)) + text)
    return project


def statements(outside: Path, new: Path) -> dict[str, str]:
    return {
        "attaches": f"attach '{new}/a.duckdb' as n",
        "attaches_what_is_there": f"attach '{outside}/there.duckdb' as n",
        "copies": f"copy (values (1)) to '{new}/out.csv'",
        "copies_in": f"create table build.healthcare.t as from '{outside}/raw.csv'",
        "exports": f"export database '{new}/all'",
        "globs": f"from glob('{outside}/*')",
        "installs": "install spatial",
        "loads": f"load '{outside}/there.duckdb_extension'",
        "opens": "set enable_external_access = true",
        "allows": "set allowed_directories = ['/']",
        "unlocks": "reset lock_configuration",
        "profiles": f"pragma profiling_output = '{new}/profile.json'",
        "sniffs": f"from sniff_csv('{outside}/raw.csv')",
        "reads_csv": f"from read_csv('{outside}/raw.csv')",
        "reads_text": f"from read_text('{outside}/raw.csv')",
        "reads_blob": f"from read_blob('{outside}/root.key')",
        "reads_environment": "from read_text('/proc/self/environ')",
        "reads_network": "from read_csv('https://127.0.0.1:1/raw.csv')",
    }


def attacks(outside: Path, new: Path) -> dict[str, str]:
    """Model → SQL: the statements by a macro's query, the reads as the model itself, hooks, and Python."""
    found = statements(outside, new)
    queried = {name: f'{RELAXED} {{% do attack("{sql}") %}} select 1 as a' for name, sql in found.items()}
    selected = {
        f"selects_{name}": f"{RELAXED} {sql}" for name, sql in found.items() if sql.startswith("from ")
    }
    hooked = {
        f"hooks_{name}": f'{RELAXED} {{{{ config(pre_hook="{found[name]}") }}}} select 1 as a'
        for name in ("copies", "reads_blob")
    }
    python = "{{ config(materialized='evil', contract={'enforced': false}) }} select 1 as a"
    return {**queried, **selected, **hooked, "runs_python": python}


@pytest.mark.slow
def test_no_project_opens_its_session(tmp_path: Path) -> None:
    outside, new = tmp_path / "outside", tmp_path / "new"
    for folder in (outside, new):
        folder.mkdir()
    for name in ("raw.csv", "root.key", "there.duckdb", "there.duckdb_extension"):
        (outside / name).write_text(f"ssn\n{SECRET}\n")
    models = attacks(outside, new)
    code = PYTHON.format(out=new / "python")
    macros = (
        "{% macro attack(sql) %}{% if execute %}{% do run_query(sql) %}{% endif %}{% endmacro %}\n"
        "{% materialization evil, default %}"
        f"{{% call statement('main', language='python') %}}{code}{{% endcall %}}"
        "{{ return({'relations': []}) }}{% endmaterialization %}"
    )
    files = {f"models/other/{name}.sql": sql for name, sql in models.items()}
    project = project_with(tmp_path, {**files, "macros/attack.sql": macros})
    result = build(tmp_path, tables(), project=project)
    assert {name: result.results[name] for name in models} == dict.fromkeys(models, "error")
    assert {result.results[name] for name in MARTS} == {"success"}
    assert list(new.iterdir()) == []
    results = json.loads((tmp_path / "target" / "run_results.json").read_text())["results"]
    reasons = {item["unique_id"].split(".")[2]: item["message"] for item in results}
    assert "runs no Python" in reasons["runs_python"]
    assert "file system operations are disabled" in reasons["reads_blob"]
    assert SECRET not in result.output


@pytest.mark.slow
def test_a_profile_of_the_project_is_not_read(tmp_path: Path) -> None:
    open_profile = "secure_platform: {target: build, outputs: {build: {type: duckdb, path: ':memory:'}}}\n"
    project = project_with(tmp_path, {"profiles.yml": open_profile, "dbt_project.yml": "profile: other\n"})
    done = run_dbt(tmp_path, {}, "parse", project=project)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "target" / "manifest.json").is_file()


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every offence at once, as dbt itself describes it."""
    folder = tmp_path_factory.mktemp("rules")
    lines: dict[str, str] = {}
    project = folder
    for number, files in enumerate(RULES.values()):
        for name, text in files.items():
            place = name if name == "dbt_project.yml" else f"{number}:{name}"
            lines[place] = lines.get(place, "") + text
    project = project_with(folder, {name.partition(":")[2] or name: text for name, text in lines.items()})
    shutil.copy(PROJECT / "dbt_project.yml", project)
    settings = (project / "dbt_project.yml").read_text()
    for name in ("seed-paths: []", "test-paths: [tests]"):
        settings = settings.replace(f"{name}\n", "")
    (project / "dbt_project.yml").write_text(settings + lines["dbt_project.yml"])
    done = run_dbt(folder, {}, "parse", project=project)
    assert done.returncode == 0, done.stdout
    return dict(json.loads((folder / "target" / "manifest.json").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("offence", RULES)
def test_a_project_that_reaches_further_is_refused(
    parsed: dict[str, Any], offence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_platform.orchestration.dbt_rules.SHOWN", 99)
    with pytest.raises(ContractError) as refused:
        require_confined(parsed)
    assert offence in refused.value.culprit


def test_code_of_another_package_is_refused() -> None:
    macro = {"package_name": "utils", "original_file_path": "macros/m.sql"}
    empty: dict[str, Any] = {"nodes": {}, "sources": {}, "docs": {}, "unit_tests": {}}
    manifest = {"metadata": {"project_name": "ours"}, **empty, "macros": {"macro.utils.m": macro}}
    with pytest.raises(ContractError, match=r"macro\.utils\.m is of another package"):
        require_confined(manifest)


def test_what_the_digest_leaves_out_is_what_the_rules_refuse(tmp_path: Path) -> None:
    (tmp_path / "model.sql").write_text("select 1")
    before = project_digest(tmp_path)
    for folder in ("target", "logs", "dbt_packages"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "unseen.sql").write_text("select 2")
    assert project_digest(tmp_path) == before
    node = {"package_name": "ours", "original_file_path": "logs/unseen.sql", "resource_type": "model"}
    body = {"language": "sql", "config": {}, **node}
    rest: dict[str, Any] = {"sources": {}, "docs": {}, "unit_tests": {}, "macros": {}}
    with pytest.raises(ContractError, match="not in the project's own files"):
        require_confined({"metadata": {"project_name": "ours"}, "nodes": {"model.ours.m": body}, **rest})

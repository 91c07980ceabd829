"""`contract levels` proposes what `plan` then does; it shows no value, stores none, and asks who it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from contract_body import contract_body

from secure_platform import canonical
from secure_platform.cli.main import run
from secure_platform.contract.product import COMPONENT
from secure_platform.services import Services
from secure_platform.settings import load_settings

ROWS = 120
HIERARCHY = "".join(f"{age};{age // 10 * 10};*\n" for age in range(20, 60))


@pytest.fixture(name="project")
def fixture_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    attributes = {
        "name": "town",
        "owner": "team:test",
        "description": "x",
        "profile": "gdpr_pseudonymous",
        "models": ["none"],
    }
    properties = [_column("age", "integer", quasiIdentifier=True), _column("place", quasiIdentifier=True)]
    contract = contract_body("people", [*properties, _column("job")], suppressRows={"k": 3, "atMost": 0.05})
    texts = {
        "platform.yaml": "{}\n",
        "defs/town/defs.yaml": canonical.dumps({"type": COMPONENT, "attributes": attributes}).decode(),
        "defs/town/contracts/people.odcs.yaml": canonical.dumps(contract).decode(),
        "defs/town/hierarchies/age.csv": HIERARCHY,
        "source/people.csv": "age,place,job\n"
        + "".join(f"{20 + n % 40},{'North' if n % 2 else 'South'},clerk\n" for n in range(ROWS))
        + "59,Nowhere-at-all,clerk\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("SECURE_PLATFORM_PROJECT", str(tmp_path))
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(tmp_path / "home"))
    return tmp_path


def _column(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    custom = [{"property": key, "value": value} for key, value in {"protect": "keep", **more}.items()]
    return {"name": name, "logicalType": kind, "classification": "internal", "customProperties": custom}


def levels(project: Path, *more: str) -> int:
    return run(["contract", "levels", "town", "people", "--source", str(project / "source"), *more])


def test_what_is_proposed_is_told_and_can_be_written_into_the_contract(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert levels(project, "--hierarchy", "age=age.csv", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["now"]["levels"] == {"age": 0}
    assert found["proposed"]["levels"] == {"age": 0}, "three of an age live in each place"
    assert found["proposed"]["suppressed"] == 1
    body = project / "source" / "people.csv"
    body.write_text(body.read_text("utf-8") + "33,North,clerk\n34,North,clerk\n" * 3, encoding="utf-8")
    (project / "defs/town/contracts/people.odcs.yaml").write_text(
        (project / "defs/town/contracts/people.odcs.yaml").read_text("utf-8").replace('"k":3', '"k":5')
    )
    assert levels(project, "--hierarchy", "age=age.csv") == 0
    shown = capsys.readouterr().out
    assert (
        "age: {property: protect, value: {transform: generalize, to: hierarchy, file: age.csv, level: 1}}"
        in (shown)
    )
    assert "too many" in shown
    assert "Nowhere-at-all" not in shown


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "No quasi-identifier of people has a hierarchy"),
        (("--hierarchy", "job=age.csv"), "no quasi-identifier job"),
        (("--hierarchy", "age"), "not named by its column"),
        (("--hierarchy", "age=../age.csv"), "unusable file name"),
        (("--hierarchy", "age=none.csv"), "cannot be read"),
    ],
)
def test_what_cannot_be_searched_is_said(
    project: Path, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert levels(project, *more) in {2, 3}
    assert message in capsys.readouterr().err


def changed(project: Path, name: str, **more: Any) -> None:
    path = project / "defs/town/contracts/people.odcs.yaml"
    body = json.loads(path.read_text("utf-8"))
    for each in body["schema"][0]["properties"]:
        if each["name"] == name:
            each.update(more)
    path.write_text(canonical.dumps(body).decode(), encoding="utf-8")


def test_what_the_profile_requires_and_no_level_stands_for_is_not_searched(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    custom = {"quasiIdentifier": True, "infoType": "DATE_OF_BIRTH"}
    listed = [{"property": key, "value": value} for key, value in custom.items()]
    changed(project, "age", customProperties=listed, logicalType="date", classification="confidential")
    assert levels(project, "--hierarchy", "age=age.csv") == 3
    assert "people.age: generalize.hierarchy is weaker than generalize.year" in capsys.readouterr().err


def test_the_value_itself_is_no_level_where_it_may_not_be_kept(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    custom = {"quasiIdentifier": True, "protect": {"transform": "generalize", "to": "bucket", "width": 10}}
    listed = [{"property": key, "value": value} for key, value in custom.items()]
    changed(project, "age", customProperties=listed, classification="restricted")
    assert levels(project, "--hierarchy", "age=age.csv", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["proposed"]["levels"] == {"age": 1}
    assert found["nodes"] == 2, "two levels of the hierarchy, without the value itself"


def test_a_dataset_that_is_not_there_or_empty_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["contract", "levels", "town", "nobody"]) == 2
    (project / "source" / "people.csv").write_text("age,place,job\n", encoding="utf-8")
    assert levels(project, "--hierarchy", "age=age.csv") == 3
    assert "has no rows" in capsys.readouterr().err


def with_stored_tokens(project: Path, name: str) -> None:
    path = project / "defs/town/contracts/people.odcs.yaml"
    body = json.loads(path.read_text("utf-8"))
    for each in body["schema"][0]["properties"]:
        for custom in each["customProperties"]:
            if each["name"] == name and custom["property"] == "protect":
                custom["value"] = {"transform": "vault", "ttl": 90}
    path.write_text(canonical.dumps(body).decode(), encoding="utf-8")


def test_no_token_is_drawn_for_a_proposal(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_stored_tokens(project, "job")
    assert levels(project, "--hierarchy", "age=age.csv", "--json") == 0
    with_stored_tokens(project, "place")
    assert levels(project, "--hierarchy", "age=age.csv") == 2
    assert "people.place has stored tokens" in capsys.readouterr().err
    keys = Services(load_settings()).keys
    assert keys.stored_tokens.known() == []
    assert not [each.name for each in keys.versions() if "town.people.job" in each.name]


def test_who_may_not_build_is_refused_and_who_may_is_recorded(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert levels(project, "--hierarchy", "age=age.csv") == 0
    services = Services(load_settings())
    told = [entry.body for entry in services.audit.entries() if entry.body["action"] == "data.levels"]
    assert [(each["phase"], each["subject"]) for each in told] == [
        (phase, "town/people") for phase in ("intent", "done")
    ]
    services.principals.add("ann", roles=("analyst",), actor="admin")
    token = project / "ann.token"
    token.write_text(services.tokens.issue("ann", actor="admin").secret)
    token.chmod(0o600)
    monkeypatch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(token))
    assert levels(project, "--hierarchy", "age=age.csv") == 4
    assert "build" in capsys.readouterr().err
    after = [entry.body["action"] for entry in Services(load_settings()).audit.entries()]
    assert after.count("data.levels") == len(told)

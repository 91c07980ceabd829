"""`incident`: what is wrong is listed for who may see it, and settled with a reason."""

from pathlib import Path

import pytest
from cli_support import Cli
from refused_product import REFUSED, with_refused_product

from secure_platform.errors import PlanRefusedError
from secure_platform.monitor.incident import Incident, Sighting
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.taxonomy.classification import Classification

VOLUME = Sighting("raw", "patients", "volume", "s1", "fail", metrics=("rows",))


@pytest.fixture
def opened(cli: Cli) -> Incident:
    lost = Sighting("production", "patient_summary", "matches_release", "p1", "fail", blocking=True)
    incidents = Services(load_settings(home=cli.home)).incidents
    incidents.report("gone", [VOLUME])
    return incidents.report("healthcare", [lost])[0]


def test_an_incident_is_listed_shown_and_settled_with_a_reason(cli: Cli, opened: Incident) -> None:
    listed = cli("incident", "list", "--json", token="admin")
    assert [(each["product"], each["kind"]) for each in listed.json] == [
        ("healthcare", "production"),
        ("gone", "data"),
    ]
    text = cli("incident", "list", "healthcare", token="admin").out
    assert "matches_release of production/patient_summary" in text
    assert "deployments" in text
    name = opened.incident_id[:8]
    seen = cli("incident", "acknowledge", name, "--reason", "looking", "--json", token="admin")
    assert (seen.code, seen.json["state"], seen.json["acknowledged_by"]) == (0, "acknowledged", "admin")
    shown = cli("incident", "show", name, token="admin").out
    assert "It is acknowledged." in shown
    assert "acknowledged by admin" in shown
    assert "Note: looking" in shown
    assert cli("incident", "false-alarm", name, "--reason", "a drill", token="admin").code == 0
    assert cli("incident", "resolve", name, "--reason", "x", token="admin").code == 4
    assert [each["product"] for each in cli("incident", "list", "--json", token="admin").json] == ["gone"]
    everything = cli("incident", "list", "--all", "--json", token="admin").json
    assert [each["state"] for each in everything] == ["false_alarm", "open"]


def test_who_may_not_look_sees_nothing_and_settles_nothing(cli: Cli, opened: Incident) -> None:
    cli.add("ana", "analyst")
    cli.add("audra", "auditor")
    name = opened.incident_id
    for words in (("list",), ("list", "healthcare"), ("show", name), ("resolve", name, "--reason", "x")):
        assert cli("incident", *words, "--json", token="ana").code == 4
    assert cli("incident", "show", name, "--json", token="audra").json["incident_id"] == name
    assert cli("incident", "resolve", name, "--reason", "x", token="audra").code == 4
    assert cli("incident", "show", "nothing", token="admin").code == 2


@pytest.mark.usefixtures("opened")
def test_a_product_whose_plan_is_refused_hides_no_incident(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_DEFS", str(with_refused_product(tmp_path / "defs")))
    services = Services(load_settings(home=cli.home))
    with pytest.raises(PlanRefusedError):
        product_resource(services, services.product(REFUSED))
    (own,) = services.incidents.report(REFUSED, [VOLUME])
    listed = cli("incident", "list", "--json", token="admin")
    assert [each["product"] for each in listed.json] == [REFUSED, "healthcare", "gone"]
    for product in ("healthcare", REFUSED):
        found = cli("incident", "list", product, "--json", token="admin").json
        assert [each["product"] for each in found] == [product]
    name = own.incident_id
    assert cli("incident", "show", name, "--json", token="admin").json["product"] == REFUSED
    assert cli("sla", REFUSED, "--json", token="admin").code == 0
    assert cli("incident", "acknowledge", name, "--reason", "the contract", token="admin").code == 0
    # It counts as restricted, and gives nobody a right.
    assert named_resource(services, REFUSED).classification == Classification.RESTRICTED
    cli.add("ana", "analyst")
    for words in (("list",), ("list", REFUSED), ("show", name)):
        assert cli("incident", *words, "--json", token="ana").code == 4

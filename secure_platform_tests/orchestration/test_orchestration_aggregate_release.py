"""Numbers with noise are in the release: signed, with what they spent, and shown before it is approved."""

import json

import pytest
from bank_home import AGGREGATES, PRODUCT, Bank

from secure_platform.cli.main import run
from secure_platform.orchestration.steps.deploy import verified_package
from secure_platform.orchestration.steps.search import numbered
from secure_platform.release.diff import diff_manifests
from secure_platform.release.verify import scan_table


def test_a_release_holds_them_and_says_what_they_spent(
    bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    services = bank.services
    with verified_package(services, numbered(services, PRODUCT, 1)) as release:
        told = scan_table(release, "totals", services.keys).collect()
        manifest = release.contents.model_dump(mode="json")
    assert told.columns == ["cards", "people"]
    assert abs(told["cards"][0] - 60) < 200
    assert abs(told["people"][0] - 30) < 200
    assert manifest["aggregates"]["budget"]["epsilon"] == 1
    assert manifest["verdicts"]["marts/totals"]["budget"]["detail"]["epsilon"] == "0.5"
    assert any("epsilon 0.5" in sentence for sentence in diff_manifests(None, manifest).privacy)
    assert run(["budget", PRODUCT]) == 4, "not for everybody"
    token = ["--token-file", str(bank.home / "keys" / "sam.token")]
    capsys.readouterr()
    assert run([*token, "budget", PRODUCT, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["spent"] == {"epsilon": "0.5", "delta": "0"}
    assert [each["aggregate"] for each in shown["spends"]] == ["totals"]
    assert set(shown["expected_error"]["totals"]) == {"cards", "people"}
    assert run([*token, "budget", PRODUCT]) == 0
    assert "epsilon: 0.5 of 1 spent" in capsys.readouterr().out
    assert "epsilon: 0.5" in AGGREGATES

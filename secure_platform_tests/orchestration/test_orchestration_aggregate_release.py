"""Numbers with noise are in the release: signed, with what they spent, and shown before it is approved."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from bank_home import AGGREGATES, PRODUCT, Bank

from secure_platform import canonical
from secure_platform.cli.main import run
from secure_platform.contract.product import load_product
from secure_platform.errors import DataRefusedError, IntegrityError
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import verified_package
from secure_platform.orchestration.steps.package import package
from secure_platform.orchestration.steps.search import numbered
from secure_platform.release.diff import diff_manifests
from secure_platform.release.manifest import read_manifest
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
    first, later = (diff_manifests(old, manifest) for old in (None, {**manifest, "aggregates": None}))
    assert any("epsilon 0.5" in sentence for sentence in first.privacy)
    assert not any("noise" in sentence for sentence in first.attention), "nothing was there before"
    assert any("noise" in sentence for sentence in later.attention)
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


@pytest.mark.parametrize("edit", [("epsilon: 0.5", "epsilon: 0.01"), ("rows: 2", "rows: 1")])
def test_what_was_told_before_an_edit_is_not_released_under_it(
    bank: Bank, tmp_path: Path, edit: tuple[str, str]
) -> None:
    defs = Path(
        shutil.copytree(bank.made / "project" / "defs" / PRODUCT, tmp_path / "project" / "defs" / PRODUCT)
    )
    services = bank.services

    def release() -> None:
        package(StepContext(services, load_product(defs), "run", "service:scheduler", bank.source))

    release()
    (defs / "aggregates.yaml").write_text(AGGREGATES.replace(*edit))
    with pytest.raises(DataRefusedError, match="marts/totals was made under another declaration"):
        release()
    assert len(services.gate.list(PRODUCT)) == 1


def test_a_manifest_that_declares_another_spend_than_was_made_is_none(bank: Bank) -> None:
    services = bank.services
    with verified_package(services, numbered(services, PRODUCT, 1)) as release:
        body = release.manifest

    def changed(**members: Any) -> bytes:
        new = copy.deepcopy(dict(body))
        new["aggregates"]["aggregates"][0].update(members)
        return canonical.dumps(new)

    assert read_manifest(changed()) == release.contents
    for members in ({"epsilon": 0.01}, {"epsilon": None, "rho": 0.125}, {"rho": 0.1}, {"delta": 1e-9}):
        with pytest.raises(IntegrityError, match=r"totals .*spent something else"):
            read_manifest(changed(**members))

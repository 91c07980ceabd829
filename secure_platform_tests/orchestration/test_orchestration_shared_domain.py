"""A product that names the token domain of another can guess its tokens: whoever approves either is told."""

from pathlib import Path

import pytest
from bank_home import PRODUCT, Bank
from contract_body import contract_body
from small_product import prop

from secure_platform import canonical
from secure_platform.contract.product import COMPONENT
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.orchestration.steps.review import difference
from secure_platform.protect.domains import shared_domains


@pytest.mark.slow
def test_who_names_a_domain_of_another_product_is_told_of_in_both(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = bank.with_own_project(tmp_path / "made", monkeypatch)
    monkeypatch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(bank.home / "keys" / "dana.token"))
    services = bank.services
    (alone,) = services.gate.list(PRODUCT)
    manifest = signed_package(services, alone).manifest
    assert "shared_domains" not in manifest
    assert difference(services, alone, manifest).attention == ()

    folder = bank.made / "project" / "defs" / "mallory"
    (folder / "contracts").mkdir(parents=True)
    attributes = {
        "name": "mallory",
        "owner": "team:mallory",
        "description": "x",
        "profile": "gdpr_pseudonymous",
        "models": ["none"],
    }
    (folder / "defs.yaml").write_bytes(canonical.dumps({"type": COMPONENT, "attributes": attributes}))
    guess = prop("guess", "string", "confidential", primaryKey=True, infoType="RECORD_ID")
    guess["customProperties"].append({"property": "tokenDomain", "value": "person"})
    body = canonical.dumps(contract_body("guesses", [guess]))
    (folder / "contracts" / "guesses.odcs.yaml").write_bytes(body)

    services = bank.services
    plan = current_plan(services.product("mallory"), services.keys)
    assert shared_domains(plan, services.products.values()) == {"person": [PRODUCT]}
    bank.build()
    told = services.gate.list(PRODUCT)[-1]
    assert told.digest != alone.digest
    manifest = signed_package(services, told).manifest
    assert manifest["shared_domains"] == {"person": ["mallory"]}
    (said,) = difference(services, told, manifest).attention
    assert "bank has the same tokens as mallory for the first time" in said

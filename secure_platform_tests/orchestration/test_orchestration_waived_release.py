"""A waiver that has ended ends for what was released under it: it is not deployed, nor gone back to."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from bank_home import PRODUCT, Bank

from secure_platform.errors import GateRefusedError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps import deploy as deploy_step
from secure_platform.orchestration.steps import recount as recount_step
from secure_platform.orchestration.steps.deploy import deploy, rollback
from secure_platform.orchestration.steps.recount import recount

TODAY = datetime.now(UTC)
TOMORROW = TODAY + timedelta(days=1)
WAIVER = {"reason": "the recall", "approver": "dpo@example.org", "expires": TODAY.date().isoformat()}
ENDED = f"people.name on {TODAY.date()}"


def on(monkeypatch: pytest.MonkeyPatch, day: datetime) -> None:
    modules: list[ModuleType] = [deploy_step, recount_step]
    for module in modules:
        monkeypatch.setattr(module, "utc_now", lambda: day)


def approved(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> ReleaseRecord:
    with monkeypatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(bank.home / "keys" / "dana.token"))
        bank.build()
    services = bank.services
    release = services.gate.list(PRODUCT)[-1]
    base = services.target.base(PRODUCT)
    return services.gate.approve(release.digest, bank.person("sam"), reason="looks right", base=base)


@pytest.mark.slow
def test_what_a_waiver_let_out_ends_with_it(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = bank.with_own_project(tmp_path / "made", monkeypatch)
    contract = bank.made / "project" / "defs" / PRODUCT / "contracts" / "people.odcs.yaml"
    strict = contract.read_bytes()
    body = json.loads(strict)
    for each in body["schema"][0]["properties"]:
        if each["name"] == "name":
            given = {"infoType": "PERSON_NAME", "protect": "keep", "waiver": WAIVER}
            each["classification"] = "confidential"
            each["customProperties"] = [{"property": key, "value": value} for key, value in given.items()]
    contract.write_text(json.dumps(body))
    waived = approved(bank, monkeypatch)
    services, product = bank.services, bank.services.product(PRODUCT)

    on(monkeypatch, TOMORROW)
    with pytest.raises(GateRefusedError, match=ENDED):
        deploy(services, product)
    assert services.target.base(PRODUCT) is None
    on(monkeypatch, TODAY)
    assert deploy(services, product).record.digest == waived.digest
    assert recount(services, product) == f"Production of {PRODUCT} is what was released."
    assert services.incidents.all(PRODUCT) == []

    on(monkeypatch, TOMORROW)
    assert ENDED in str(recount(services, product))
    (incident,) = services.incidents.all(PRODUCT)
    assert (incident.kind, incident.state, incident.blocking) == ("security", "open", False)
    assert {signal.check for signal in incident.signals} == {"waivers"}

    contract.write_bytes(strict)
    approved(bank, monkeypatch)
    services, product = bank.services, bank.services.product(PRODUCT)
    mended = deploy(services, product).record
    with pytest.raises(GateRefusedError, match=ENDED):
        rollback(services, mended, bank.person("sam"), reason="wrong names")
    assert services.target.base(PRODUCT) == mended.digest
    assert services.gate.get(mended.digest).state is ReleaseState.DEPLOYED

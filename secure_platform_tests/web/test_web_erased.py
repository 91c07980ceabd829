"""A release whose rows went with an erased person says so, wherever it is shown, and is not put back."""

import html

import dagster as dg
from bank_home import PRODUCT, Bank
from web_login import BASE, bearer, logged_in, web_app
from web_support import Client

from secure_platform.orchestration.steps.erase import erase


def erased(bank: Bank) -> str:
    """Erase somebody from the bank's release, which was rejected; returns the name of the tombstone."""
    (record,) = bank.services.gate.list(PRODUCT)
    bank.services.gate.reject(record.digest, bank.person("sam"), reason="made anew")
    tombstone = erase(bank.services, PRODUCT, "person-3", bank.person("petra"))
    return f"erasures/{tombstone.person.removeprefix('p:')}.json"


def test_the_pages_and_the_api_show_it(bank: Bank) -> None:
    tombstone, services = erased(bank), bank.services
    (record,) = services.gate.list(PRODUCT)
    with dg.DagsterInstance.local_temp() as instance, web_app(services, instance) as app:
        sam = Client(app, BASE, logged_in(services, bank.person("sam")))
        for path in (f"/approvals/{record.digest}", f"/releases/{PRODUCT}/1"):
            page = sam.get(path)
            said = html.unescape(page.text)
            assert page.status_code == 200
            assert f"for somebody was erased, see {tombstone} in the home" in said
            assert "build another release" in said
        program = Client(app, BASE, bearer(services, bank.person("sam")))
        answer = program.get(f"/api/v1/releases/{record.digest}")
        assert answer.json()["erased"]["tombstone"] == tombstone

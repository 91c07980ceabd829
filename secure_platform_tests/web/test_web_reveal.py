"""Revealing over the API: as in a terminal, for who has a token for it, and nothing stays on the way."""

import csv
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from api_support import API, served_api
from bank_home import PRODUCT, Bank, people
from remote_support import command
from starlette.applications import Starlette
from web_login import BASE, logged_in, web_app
from web_support import Client

from secure_platform.access.principals import Principal
from secure_platform.key_settings import RevealSettings
from secure_platform.orchestration.steps.reveal import AUDITED
from secure_platform.services import Services
from secure_platform.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("logged")]

PATH = f"{API}/products/{PRODUCT}/reveal"
VALUES = ("Given", "Family", "@example.com", "login-")
FRAUD = ("--purpose", "fraud", "--release", "1")


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, no value and no cell is logged, at whatever level."""
    with caplog.at_level(logging.DEBUG):
        yield
    said = "\n".join([caplog.text, *(str(record.args) for record in caplog.records)])
    assert not [text for text in (*VALUES, "v_", "e1_") if text in said]


@pytest.fixture
def app(bank: Bank) -> Iterator[Starlette]:
    with dg.DagsterInstance.local_temp() as instance, web_app(bank.services, instance) as served:
        yield served


def token(bank: Bank, *scopes: str, name: str = "petra") -> str:
    return bank.services.tokens.issue(name, actor="admin", scopes=scopes or None).secret


def client(app: Starlette, bank: Bank, *scopes: str, name: str = "petra") -> Client:
    return Client(app, BASE, {"Authorization": f"Bearer {token(bank, *scopes, name=name)}"})


def asked(**more: Any) -> dict[str, Any]:
    return {"table": "accounts", "column": "login", "purpose": "fraud", "release": 1, **more}


def entries(bank: Bank) -> list[dict[str, Any]]:
    return [dict(each.body) for each in bank.services.audit.entries() if each.body["action"] == AUDITED]


@pytest.mark.parametrize("scope", ["data_reveal", f"data_reveal:{PRODUCT}"])
def test_a_column_and_single_cells_over_real_http(bank: Bank, scope: str) -> None:
    tokens = bank.released("login")
    with served_api(bank.services) as url:
        bearer = {"Authorization": f"Bearer {token(bank, scope)}"}
        whole = httpx.post(f"{url}{PATH}", json=asked(), headers=bearer)
        some = httpx.post(
            f"{url}{PATH}", json=asked(cells=[tokens[0], tokens[0], "v_" + "0" * 32]), headers=bearer
        )
    for answer in (whole, some):
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert "set-cookie" not in answer.headers
    assert {each["value"] for each in whole.json()["revealed"]} == set(people()["login"])
    found, unknown = some.json()["revealed"]
    assert (found["cell"], found["value"] in set(people()["login"])) == (tokens[0], True)
    assert (unknown["value"], some.json()["unknown"], some.json()["column"]) == (None, 1, "people.login")
    told = entries(bank)
    assert [each["phase"] for each in told] == ["intent", "done"] * 2
    assert [each["detail"]["amount"] for each in told[::2]] == [30, 2]
    assert {each["actor"] for each in told} == {bank.services.keys.identify("petra")}
    assert not [text for text in (*VALUES, *tokens) if text in json.dumps(told)]


def test_a_command_reveals_the_same_there_as_here(bank: Bank, tmp_path: Path) -> None:
    named = tmp_path / "reveal.token"
    named.write_text(token(bank, f"data_reveal:{PRODUCT}"))
    named.chmod(0o600)
    cells, nowhere = tmp_path / "cells.txt", tmp_path / "nowhere"
    cells.write_text("\n".join(bank.released("mail")[:3]))
    home = bank.home
    with served_api(bank.services) as url:
        for words in (
            ("accounts.login", *FRAUD, "--json"),
            ("accounts.mail", *FRAUD, "--values", str(cells)),
            ("accounts.secret", *FRAUD),
            ("accounts.login", "--purpose", "marketing", "--release", "1"),
            ("accounts.nothing", *FRAUD),
        ):
            here = command(home, "reveal", PRODUCT, *words, token=named)
            there = command(nowhere, "reveal", PRODUCT, *words, "--server", url, token=named)
            assert (there.code, there.out, there.err) == (here.code, here.out, here.err), words
        out = tmp_path / "logins.csv"
        exported = ("accounts.login", *FRAUD, "--out", str(out), "--server", url)
        assert command(nowhere, "reveal", PRODUCT, *exported, token=named).code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert {row["value"] for row in rows} == set(people()["login"])
    assert not nowhere.exists()


def test_a_server_that_is_not_there_is_said_at_once(bank: Bank, tmp_path: Path) -> None:
    asking = ("reveal", PRODUCT, "accounts.login", *FRAUD, "--server", "http://127.0.0.1:9")
    said = command(tmp_path / "nowhere", *asking, token=bank.home / "keys" / "petra.token")
    assert (said.code, "cannot be reached" in said.err) == (1, True)


def test_only_a_token_that_was_issued_for_it_reveals_anything(bank: Bank, app: Starlette) -> None:
    refused = {
        "forbid-revealing-with-any-token": [client(app, bank)],
        "forbid-out-of-scope": [
            client(app, bank, "data_reveal:other"),
            client(app, bank, "production_query"),
        ],
        "data_reveal": [client(app, bank, "data_reveal", name=name) for name in ("sam", "dana", "admin")],
    }
    for rule, clients in refused.items():
        for each in clients:
            answer = each.post(PATH, json=asked())
            assert (answer.status_code, rule in answer.text) == (403, True), answer.text
    assert Client(app, BASE).post(PATH, json=asked()).status_code == 401
    assert entries(bank) == []


def test_a_session_reveals_only_with_a_second_factor_that_was_just_proven(bank: Bank, app: Starlette) -> None:
    petra: Principal = bank.person("petra")
    for mfa, status in ((False, 403), (True, 200)):
        cookie = logged_in(bank.services, petra, mfa=mfa)
        assert Client(app, BASE, cookie).post(PATH, json=asked()).status_code == status
        # A page of somebody else's can send a form, or text, with the cookie; it cannot send JSON.
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
            for origin in (BASE, "https://evil.example.org"):
                headers = {**cookie, "Content-Type": kind, "Origin": origin}
                answer = Client(app, BASE, headers).post(PATH, content=json.dumps(asked()))
                assert answer.status_code in {403, 415}, kind
        foreign = {**cookie, "Origin": "https://evil.example.org"}
        assert Client(app, BASE, foreign).post(PATH, json=asked()).status_code == 403
    assert len(entries(bank)) == 2


def test_no_other_purpose_and_none_gets_anything(bank: Bank, app: Starlette) -> None:
    mine = client(app, bank, "data_reveal")
    for purpose, status in (("marketing", 403), ("Fraud", 400), ("", 400), (None, 400)):
        assert mine.post(PATH, json=asked(purpose=purpose)).status_code == status
    without = asked()
    del without["purpose"]
    assert mine.post(PATH, json=without).status_code == 400
    assert entries(bank) == []


def test_who_revealed_enough_waits_however_many_tokens_they_have(bank: Bank) -> None:
    limits = RevealSettings(calls_per_hour=9, values_per_hour=31)
    services = Services(load_settings(home=bank.home, project=bank.made / "project"))
    services.settings = services.settings.model_copy(update={"reveal": limits})
    cell = bank.released("login")[0]
    with dg.DagsterInstance.local_temp() as instance, web_app(services, instance) as served:
        assert client(served, bank, "data_reveal").post(PATH, json=asked()).status_code == 200
        one, two = asked(cells=[cell]), asked(cells=[cell, "v_" + "0" * 32])
        for body, status in ((two, 403), (one, 200), (one, 403)):
            answer = client(served, bank, f"data_reveal:{PRODUCT}").post(PATH, json=body)
            assert answer.status_code == status
            if status == 403:
                assert (answer.json()["kind"], cell in answer.text) == ("AllowanceSpentError", False)


def test_whatever_else_is_sent_is_refused_and_not_repeated(bank: Bank, app: Starlette) -> None:
    mine = client(app, bank, "data_reveal")
    cell = bank.released("login")[0]
    bodies: list[Any] = [
        [],
        {},
        asked(cells=cell),
        asked(cells=[cell, 7]),
        asked(cells=[[cell]]),
        asked(cells={"0": cell}),
        asked(cell=cell),
        asked(release=0),
        asked(release="1"),
        asked(table=None),
        asked(column=["login"]),
    ]
    for body in bodies:
        answer = mine.post(PATH, json=body)
        assert (answer.status_code, cell in answer.text) == (400, False), body
    doubled = json.dumps(asked())[:-1] + ', "purpose": "fraud"}'
    kind = {"Content-Type": "application/json"}
    assert mine.post(PATH, content=doubled, headers=kind).status_code == 400
    halved = json.dumps(asked(cells=["\ud800", cell]))
    answer = mine.post(PATH, content=halved, headers=kind)
    assert (answer.status_code, cell in answer.text) == (400, False)
    assert "half of a surrogate pair" in answer.json()["error"]
    large = {"cells": [cell] * ((1 << 20) // len(cell))}
    answer = mine.post(PATH, json=asked(**large))
    assert (answer.status_code, cell in answer.text) == (413, False)
    assert mine.get(f"{PATH}?table=accounts&column=login&purpose=fraud").status_code in {404, 405}
    assert entries(bank) == []


def test_cells_of_another_column_are_refused_whole_and_not_repeated(bank: Bank, app: Starlette) -> None:
    mail, name = bank.released("mail")[0], bank.released("name")[0]
    answer = client(app, bank, "data_reveal").post(PATH, json=asked(column="mail", cells=[mail, name]))
    assert answer.status_code == 500
    assert answer.json()["exit_code"] == 5
    assert not [text for text in (*VALUES, mail, name) if text in answer.text]

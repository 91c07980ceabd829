"""`access` and `principal change`: what they show, who may, and what they refuse."""

import json
from pathlib import Path

import pytest
from cli_support import Cli

from secure_platform.access.resources import Action


@pytest.fixture
def staffed(cli: Cli) -> Cli:
    for name, role in (
        ("sam", "data_steward"),
        ("ana", "analyst"),
        ("olga", "auditor"),
        ("dan", "data_engineer"),
    ):
        cli.add(name, role)
    return cli


def test_check_holds_the_policies_to_their_cases(cli: Cli, tmp_path: Path) -> None:
    ours = cli("access", "check", "--json").json
    assert ours["valid"]
    assert ours["cases"] > 10
    (tmp_path / "local.cedar").write_text(
        '@id("local-network") @fix("Come from the hospital.")\n'
        'forbid (principal, action == Action::"production_query", resource)\n'
        'unless { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) };'
    )
    asks = "action: production_query, principal: {roles: [analyst]"
    cases = f"""cases:
  - {{name: inside, expect: allow, {asks}, address: 10.1.2.3}}}}
  - {{name: outside, expect: deny, rule: local-network, {asks}, address: 192.0.2.1}}}}
"""
    file = tmp_path / "local.yaml"
    file.write_text(cases)
    assert cli("access", "check", "--policies", str(tmp_path), "--json").json["cases"] == ours["cases"] + 2
    file.write_text(cases.replace("expect: deny", "expect: allow"))
    failed = cli("access", "check", "--policies", str(tmp_path))
    assert failed.code == 3
    assert "local.yaml: outside: expected allow, came out deny by local-network" in failed.err
    file.write_text("cases: [{name: x, expect: perhaps, action: build}]")
    assert "not understood at cases.0.expect" in cli("access", "check", "--policies", str(tmp_path)).err
    (tmp_path / "local.cedar").write_text("permit (principal, action, resource);")
    assert cli("access", "check", "--policies", str(tmp_path)).code == 3


def test_explain_says_why_and_what_it_takes(staffed: Cli) -> None:
    asked = ("access", "explain", "ana", "production_query", "healthcare", "--json")
    denied = staffed(*asked, token="olga").json
    assert (denied["allowed"], denied["rules"]) == (False, ["forbid-without-purpose"])
    assert "the purpose research" in denied["would_help"]
    assert "Say what the data is for" in denied["fix"]
    allowed = staffed(*asked, "--purpose", "research", token="ana").json
    assert (allowed["allowed"], allowed["rules"]) == (True, ["readers-query-production"])
    text = staffed("access", "explain", "ana", "build", "healthcare", token="sam").out
    assert "ana may not do build on healthcare: no rule allows it" in text
    assert "It would be allowed with the role data_engineer." in text


def test_only_who_reads_access_asks_about_others(staffed: Cli) -> None:
    refused = staffed("access", "explain", "sam", "build", "healthcare", token="ana")
    assert refused.code == 4
    assert "access_read" in refused.err
    assert staffed("access", "explain", "sam", "build", "healthcare").code == 4
    for words in (
        ("nobody", "build", "healthcare"),
        ("sam", "build", "nothing"),
        ("sam", "build", "healthcare/9"),
    ):
        assert staffed("access", "explain", *words, token="olga").code == 2


def test_the_matrix_has_every_action_for_every_caller(cli: Cli) -> None:
    cells = cli("access", "matrix", "--json").json
    assert {cell["action"] for cell in cells} == {str(action) for action in Action}
    assert "forbid" not in cli("access", "matrix").out


def test_simulate_shows_what_other_policies_would_change(staffed: Cli, tmp_path: Path) -> None:
    (tmp_path / "new.cedar").write_text(
        '@id("no-more-principals") @fix("Ask the board.")\n'
        'forbid (principal, action == Action::"principal_manage", resource);'
    )
    asked = ("access", "simulate", "--policies", str(tmp_path), "--json")
    assert staffed(*asked, token="ana").code == 4
    found = staffed(*asked, token="olga").json
    assert {cell["after"]["action"] for cell in found["matrix"]} == {"principal_manage"}
    assert found["asked"] >= 8
    assert {(each["action"], each["allowed"]) for each in found["decisions"]} == {("principal_manage", False)}
    assert all(each["rules"] == ["no-more-principals"] for each in found["decisions"])
    assert staffed(*asked, "--last", "0", token="olga").json["asked"] == 0
    text = staffed("access", "simulate", "--policies", str(tmp_path), token="olga").out
    assert "cells of the permission matrix would change" in text


def test_the_same_policies_would_change_nothing(staffed: Cli, tmp_path: Path) -> None:
    """Every recorded decision can be asked again: it holds all that it was judged by."""
    (tmp_path / "none.cedar").write_text("// nothing more\n")
    found = staffed("access", "simulate", "--policies", str(tmp_path), "--json", token="olga").json
    assert (found["matrix"], found["decisions"]) == ([], [])


def test_rights_for_a_time_from_the_command_line(staffed: Cli) -> None:
    why = ("--reason", "cover", "--json")
    given = staffed(
        *("access", "grant", "ana", "--role", "data_engineer", "--product", "healthcare", "--for", "14d"),
        *why,
        token="admin",
    ).json
    assert (given["kind"], given["principal"], given["reason"]) == ("grant", "ana", "cover")
    lent = staffed("access", "delegate", "ana", "--for", "7d", *why, token="sam").json
    opened = staffed(
        *("access", "break-glass", "healthcare", "--role", "data_steward", "--for", "30m"), *why, token="dan"
    ).json
    listed = staffed("access", "list", "--json", token="olga").json["grants"]
    assert [each["grant_id"] for each in listed] == [each["grant_id"] for each in (given, lent, opened)]
    assert "to be reviewed" in staffed("access", "list", token="olga").out
    assert [each["kind"] for each in staffed("access", "list", "--json", token="dan").json["grants"]] == [
        "break_glass"
    ]
    assert staffed("access", "review", opened["grant_id"], "--finding", "x", token="dan").code == 4
    assert staffed("access", "review", opened["grant_id"], "--finding", "justified", token="olga").code == 0
    assert "is over" in staffed("access", "revoke", lent["grant_id"], token="sam").out
    assert (
        staffed("access", "grant", "ana", "--role", "auditor", "--for", "2w", *why, token="admin").code == 2
    )
    assert staffed("access", "grant", "ana", "--role", "auditor", "--for", "2d", *why, token="ana").code == 4


def test_freezes_from_the_command_line(staffed: Cli) -> None:
    frozen = staffed("access", "freeze", "healthcare", "--for", "3d", "--reason", "year-end", token="sam")
    assert "Deployments of healthcare are frozen until" in frozen.out
    assert "frozen." in staffed("access", "freeze", "--reason", "audit", token="admin").out
    assert len(staffed("access", "list", "--json", token="ana").json["freezes"]) == 2
    assert staffed("access", "unfreeze", "healthcare", token="ana").code == 4
    assert "go on" in staffed("access", "unfreeze", "healthcare", token="sam").out
    assert staffed("access", "unfreeze", "healthcare", token="sam").code == 2
    assert staffed("access", "freeze", "nothing", "--reason", "x", token="sam").code == 2


def test_roles_and_groups_are_changed(staffed: Cli) -> None:
    changed = staffed(
        *("principal", "change", "ana", "--role", "data_steward", "--group", "clinical", "--json"),
        token="admin",
    ).json
    assert changed == {"name": "ana", "roles": ["data_steward"], "groups": ["clinical"]}
    text = staffed("principal", "change", "ana", "--no-groups", token="admin").out
    assert "ana has the roles data_steward, the groups none." in text
    assert staffed("principal", "change", "admin", "--role", "data_steward", token="admin").code == 2
    assert staffed("principal", "change", "ana", "--no-roles", token="sam").code == 4


def test_reasons_are_shown_to_overseers_and_logged_nowhere(staffed: Cli) -> None:
    staffed("access", "freeze", "--reason", "Mrs Smith complained", token="sam")
    assert "Mrs Smith" in staffed("access", "list", token="olga").out
    tail = staffed("audit", "tail", "--json", token="olga").json
    assert "Smith" not in json.dumps(tail)

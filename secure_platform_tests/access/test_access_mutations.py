"""Every policy is needed, and whatever is missing or false in a request never helps it."""

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from access_support import (
    ALLOWED,
    BASE,
    DIGEST,
    FORBIDDEN,
    NOT_PERMITTED,
    PENDING,
    PLATFORM,
    PRODUCT,
    SEEN,
    STEWARD,
    Case,
    entities,
    open_log,
    person,
    request,
)
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.access import rules as rules_module
from secure_platform.access.policy import (
    Action,
    Policy,
)
from secure_platform.access.principals import ANONYMOUS
from secure_platform.audit.log import AuditLog


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditLog]:
    log = open_log(tmp_path_factory.mktemp("audit"))
    yield log
    log.close()


@pytest.fixture(scope="module")
def policy(audit: AuditLog) -> Policy:
    return Policy(audit)


def without(rule: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Our policy file, less one policy."""
    text = rules_module.POLICY_FILE.read_text()
    mutated, count = re.subn(rf'@id\("{rule}"\)[^;]*;', "", text)
    assert count == 1
    file = tmp_path / "mutated.cedar"
    file.write_text(mutated)
    monkeypatch.setattr(rules_module, "POLICY_FILE", file)


def our_rules() -> list[str]:
    return re.findall(r'@id\("([^"]+)"\)', rules_module.POLICY_FILE.read_text())


def test_every_policy_has_its_cases() -> None:
    assert set(our_rules()) == set(ALLOWED) | set(FORBIDDEN)
    assert {rule for rule in our_rules() if rule.startswith("forbid-")} == set(FORBIDDEN)


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_without_a_forbid_its_cases_would_be_allowed_and_no_others(
    audit: AuditLog, rule: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(rule, monkeypatch, tmp_path)
    mutated = Policy(audit)
    for other, cases in FORBIDDEN.items():
        for case in cases:
            assert case.ask(mutated).allowed is (other == rule)
    assert not any(case.ask(mutated).allowed for case in NOT_PERMITTED)


@pytest.mark.parametrize("rule", ALLOWED)
def test_without_a_permit_no_denial_becomes_an_allow(
    audit: AuditLog, rule: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(rule, monkeypatch, tmp_path)
    mutated = Policy(audit)
    for case in itertools.chain(NOT_PERMITTED, *FORBIDDEN.values()):
        assert not case.ask(mutated).allowed
    for case in ALLOWED[rule]:
        decision = case.ask(mutated)
        assert rule not in decision.rules


def removals(case: Case) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The request with each attribute, parent, entity and context member removed in turn."""
    asked, known = request(case), entities(case)
    for index, entity in enumerate(known):
        yield asked, known[:index] + known[index + 1 :]
        for removed in entity["attrs"]:
            changed = copy.deepcopy(known)
            del changed[index]["attrs"][removed]
            yield asked, changed
        for parent in range(len(entity["parents"])):
            changed = copy.deepcopy(known)
            del changed[index]["parents"][parent]
            yield asked, changed
    for removed in asked["context"]:
        yield {**asked, "context": {k: v for k, v in asked["context"].items() if k != removed}}, known
    yield {name: value for name, value in asked.items() if name != "context"}, known


def denied() -> list[Case]:
    return [*itertools.chain(*FORBIDDEN.values()), *NOT_PERMITTED]


def test_removing_anything_never_turns_a_denial_into_an_allow(policy: Policy) -> None:
    """Except taking the admin's role away, which leaves a steward who is no administrator."""
    admin = FORBIDDEN["forbid-admin-approval"][0]
    tried = 0
    for case in denied():
        for asked, known in removals(case):
            if case is admin and {"type": "Role", "id": "admin"} not in known[0]["parents"]:
                continue
            assert not policy._judge(asked, known).allowed, (case, asked, known)
            tried += 1
    assert tried > 500


def test_removing_a_needed_attribute_always_denies(policy: Policy) -> None:
    for case in itertools.chain(*ALLOWED.values()):
        assert policy._judge(request(case), entities(case)).allowed
        for index, entity in enumerate(entities(case)):
            for removed in entity["attrs"]:
                known = entities(case)
                del known[index]["attrs"][removed]
                decision = policy._judge(request(case), known)
                assert not decision.allowed
                assert decision.errors


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("active", "yes"),
        ("active", 1),
        ("active", None),
        ("kind", True),
        ("clearance", 3),
    ],
)
def test_an_attribute_of_another_type_or_name_denies(policy: Policy, attribute: str, value: object) -> None:
    case = ALLOWED["steward-approves"][0]
    known = entities(case)
    known[0]["attrs"][attribute] = value
    decision = policy._judge(request(case), known)
    assert not decision.allowed
    assert decision.errors


def test_a_role_that_does_not_exist_denies(policy: Policy) -> None:
    decision = policy.evaluate(person("data_steward", "emperor"), Action.RELEASE_APPROVE, PENDING, **SEEN)
    assert not decision.allowed
    assert decision.errors


def test_context_that_the_action_does_not_know_denies(policy: Policy) -> None:
    assert not policy.evaluate(STEWARD, Action.RELEASE_APPROVE, PENDING, **SEEN, approved="yes").allowed
    assert policy.evaluate(person("analyst"), Action.PRODUCTION_QUERY, PRODUCT, digest=DIGEST).errors


@pytest.mark.parametrize(
    "action", ["release_aprove", "", "Action", 'x"]; permit(principal,action,resource);']
)
def test_an_unknown_action_denies(policy: Policy, action: str) -> None:
    asked = {**request(ALLOWED["steward-approves"][0]), "action": {"type": "Action", "id": action}}
    decision = policy._judge(asked, entities(ALLOWED["steward-approves"][0]))
    assert not decision.allowed
    assert decision.errors


def test_an_action_on_the_wrong_kind_of_resource_denies(policy: Policy) -> None:
    for resource in (PRODUCT, PLATFORM):
        assert policy.evaluate(STEWARD, Action.RELEASE_APPROVE, resource, **SEEN).errors
    assert policy.evaluate(person("admin"), Action.PRINCIPAL_MANAGE, PENDING).errors


def test_a_forbid_that_fails_does_not_let_the_request_through(audit: AuditLog, tmp_path: Path) -> None:
    """Cedar itself allows here: it skips a policy that fails."""
    (tmp_path / "overflow.cedar").write_text(
        '@id("forbid-arithmetic") forbid (principal, action == Action::"build", resource)\n'
        "when { resource.classification * 9223372036854775807 > 5 };"
    )
    failing = Policy(audit, tmp_path)
    decision = failing.evaluate(person(), Action.BUILD, PRODUCT)
    assert not decision.allowed
    assert decision.rules == ()
    assert any("overflow" in error for error in decision.errors)
    assert failing.evaluate(person(), Action.BUILD, replace(PRODUCT, classification=0)).allowed


@given(name=st.text(max_size=40), digest=st.text(max_size=40), state=st.text(max_size=12))
def test_no_text_breaks_out_of_its_place(policy: Policy, name: str, digest: str, state: str) -> None:
    """Names, digests and states are values, whatever they look like."""
    release = replace(PENDING, digest=digest, state=state, requested_by=name)
    nobody = person(name=name)
    for action in (Action.RELEASE_APPROVE, Action.RELEASE_DEPLOY, Action.RELEASE_ROLLBACK):
        assert not policy.evaluate(nobody, action, release, digest=digest, base=BASE).allowed
    steward = person("data_steward", name=name + "x")
    approved = policy.evaluate(steward, Action.RELEASE_APPROVE, release, digest=digest, base=BASE)
    assert approved.allowed is (state == "pending" and steward.name != ANONYMOUS.name)
    assert not approved.errors

"""Every policy is needed, and whatever is missing or false in a request never helps it."""

import copy
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cedarpy
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
    open_log,
    person,
)
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.access import rules as rules_module
from secure_platform.access.cedar import Question, uid
from secure_platform.access.policy import Policy
from secure_platform.access.principals import ANONYMOUS
from secure_platform.access.resources import Action
from secure_platform.access.rules import PolicySets
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


def every_case() -> list[Case]:
    return [*itertools.chain(*ALLOWED.values(), *FORBIDDEN.values()), *NOT_PERMITTED]


def outcome(policy: Policy, question: Question) -> tuple[bool, tuple[str, ...]]:
    decision = policy.ask(question)
    return decision.allowed, decision.rules


def weaker(expression: Any) -> Iterator[Any]:
    """The expression with one part changed: negated, one side only, another comparison, one member less."""
    if not isinstance(expression, dict):
        return
    for operator, body in expression.items():
        if operator in {"&&", "||"}:
            yield body["left"]
            yield body["right"]
        if operator in {"==", "in", "contains", "containsAny", "has"}:
            yield {"!": {"arg": expression}}
        if operator in {"<", "<=", ">=", ">"}:
            yield {{"<": "<=", "<=": "<", ">=": ">", ">": ">="}[operator]: body}
        if operator == "Set":
            yield from ({"Set": [*body[:place], *body[place + 1 :]]} for place in range(len(body)))
        if isinstance(body, dict):
            for name, part in body.items():
                yield from ({operator: {**body, name: changed}} for changed in weaker(part))


def concerned(head: Any) -> set[str]:
    """The actions that a policy is about; none if it is about all."""
    return {
        each["id"] for each in [*head.get("entities", []), *([head["entity"]] if "entity" in head else [])]
    }


def without_factor(question: Question) -> Question:
    """The same by somebody without a second factor, whose age nobody has set."""
    context = {**question.request["context"], "mfa": False, "mfa_age_s": 0}
    return Question({**question.request, "context": context}, question.entities)


def mutants() -> Iterator[tuple[str, set[str], Any]]:
    """Our policy set without one policy or condition, with one condition turned round or weakened."""
    whole = json.loads(cedarpy.policies_to_json_str(rules_module.POLICY_FILE.read_text()))
    policies = whole["staticPolicies"]
    for key, policy in policies.items():
        rule, about = policy["annotations"]["id"], concerned(policy["action"])
        yield f"{rule} removed", about, {**policies, key: None}
        for place, condition in enumerate(policy["conditions"]):
            others = [*policy["conditions"][:place], *policy["conditions"][place + 1 :]]
            turned = {**condition, "kind": {"when": "unless", "unless": "when"}[condition["kind"]]}
            changes = [turned, *({**condition, "body": body} for body in weaker(condition["body"]))]
            yield f"{rule} without {condition}", about, {**policies, key: {**policy, "conditions": others}}
            for change in changes:
                changed = {**policy, "conditions": [*others, change]}
                yield f"{rule} with {change}", about, {**policies, key: changed}
        actions = policy["action"].get("entities", [])
        for action in actions:
            fewer = {**policy["action"], "entities": [each for each in actions if each != action]}
            yield f"{rule} without {action['id']}", about, {**policies, key: {**policy, "action": fewer}}


def test_no_part_of_any_policy_can_be_changed_unnoticed(policy: Policy) -> None:
    """Each mutant decides one of the cases otherwise, or by another rule."""
    asked = [case.answer(policy)[1] for case in every_case()]
    asked += [without_factor(question) for question in asked if question.request["context"]["mfa"]]
    known = [(question, outcome(policy, question)) for question in asked]
    rules = policy._rules
    mutated = copy.copy(policy)
    survivors, tried = [], 0
    for name, about, policies in mutants():
        kept = {key: each for key, each in policies.items() if each is not None}
        mutated._rules = replace(rules, policies=PolicySets(kept))
        tried += 1
        if all(
            outcome(mutated, question) == before
            for question, before in known
            if not about or question.request["action"]["id"] in about
        ):
            survivors.append(name)
    assert survivors == []
    assert tried > 200


class Everything(PolicySets):
    """All policies, whatever is asked about."""

    def __init__(self) -> None:
        self._everything = cedarpy.PolicySet.from_str(rules_module.POLICY_FILE.read_text())

    def about(self, action: str) -> cedarpy.PolicySet:
        del action
        return self._everything


def test_the_policies_about_an_action_decide_as_all_of_them(policy: Policy) -> None:
    whole = copy.copy(policy)
    whole._rules = replace(policy._rules, policies=Everything())
    for case in every_case():
        _, question = case.answer(policy)
        for action in [*Action, "unheard_of"]:
            asked = Question({**question.request, "action": uid("Action", action)}, question.entities)
            assert policy.ask(asked) == whole.ask(asked)


def removals(question: Question) -> Iterator[Question]:
    """The question with each attribute, parent, entity and context member removed in turn."""
    asked, known = dict(question.request), list(question.entities)
    for index, entity in enumerate(known):
        yield Question(asked, known[:index] + known[index + 1 :])
        for removed in entity["attrs"]:
            changed: Any = copy.deepcopy(known)
            del changed[index]["attrs"][removed]
            yield Question(asked, changed)
        for parent in range(len(entity["parents"])):
            changed = copy.deepcopy(known)
            del changed[index]["parents"][parent]
            yield Question(asked, changed)
    for removed in asked["context"]:
        fewer = {name: value for name, value in asked["context"].items() if name != removed}
        yield Question({**asked, "context": fewer}, known)
    yield Question({name: value for name, value in asked.items() if name != "context"}, known)


def test_removing_anything_never_turns_a_denial_into_an_allow(policy: Policy) -> None:
    """Except taking the admin's role away, which leaves a steward who is no administrator."""
    tried = 0
    for case in [*itertools.chain(*FORBIDDEN.values()), *NOT_PERMITTED]:
        for asked in removals(case.answer(policy)[1]):
            decision = policy.ask(asked)
            parents = [parent["id"] for entity in asked.entities[:1] for parent in entity["parents"]]
            if case in FORBIDDEN["forbid-admin-approval"] and parents == ["data_steward"]:
                continue
            assert not decision.allowed, (case, asked)
            tried += 1
    assert tried > 2000


def test_removing_a_needed_attribute_always_denies(policy: Policy) -> None:
    for case in itertools.chain(*ALLOWED.values()):
        decision, question = case.answer(policy)
        assert decision.allowed
        for index, entity in enumerate(question.entities):
            for removed in entity["attrs"]:
                known: Any = copy.deepcopy(list(question.entities))
                del known[index]["attrs"][removed]
                decision = policy.ask(Question(question.request, known))
                assert not decision.allowed
                assert decision.errors


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("active", "yes"),
        ("active", 1),
        ("active", None),
        ("kind", True),
        ("emergency", 0),
        ("delegators", "sam"),
        ("clearance", 3),
    ],
)
def test_an_attribute_of_another_type_or_name_denies(policy: Policy, attribute: str, value: object) -> None:
    question = ALLOWED["steward-approves"][0].answer(policy)[1]
    known: Any = copy.deepcopy(list(question.entities))
    known[0]["attrs"][attribute] = value
    decision = policy.ask(Question(question.request, known))
    assert not decision.allowed
    assert decision.errors


def test_a_role_that_does_not_exist_denies(policy: Policy) -> None:
    decision = policy.evaluate(person("data_steward", "emperor"), Action.RELEASE_APPROVE, PENDING, **SEEN)
    assert not decision.allowed
    assert decision.errors


def test_context_that_the_action_does_not_know_denies(policy: Policy) -> None:
    question = ALLOWED["steward-approves"][0].answer(policy)[1]
    context = {**question.request["context"], "approved": "yes"}
    assert policy.ask(Question({**question.request, "context": context}, question.entities)).errors
    assert policy.evaluate(person("analyst"), Action.PRODUCTION_QUERY, PRODUCT, digest=DIGEST).errors


@pytest.mark.parametrize(
    "action", ["release_aprove", "", "Action", 'x"]; permit(principal,action,resource);']
)
def test_an_unknown_action_denies(policy: Policy, action: str) -> None:
    question = ALLOWED["steward-approves"][0].answer(policy)[1]
    asked = {**question.request, "action": {"type": "Action", "id": action}}
    decision = policy.ask(Question(asked, question.entities))
    assert not decision.allowed
    assert decision.errors


def test_an_action_on_the_wrong_kind_of_resource_denies(policy: Policy) -> None:
    for resource in (PRODUCT, PLATFORM):
        assert policy.evaluate(STEWARD, Action.RELEASE_APPROVE, resource, **SEEN).errors
    assert policy.evaluate(person("admin"), Action.PRINCIPAL_MANAGE, PENDING).errors


def test_a_forbid_that_fails_does_not_let_the_request_through(audit: AuditLog, tmp_path: Path) -> None:
    """Cedar itself allows here: it skips a policy that fails."""
    (tmp_path / "overflow.cedar").write_text(
        '@id("forbid-arithmetic") forbid (principal, action == Action::"build", resource is Product)\n'
        "when { resource.classification * 9223372036854775807 > 5 };"
    )
    failing = Policy(audit, tmp_path)
    decision = failing.evaluate(person("data_engineer"), Action.BUILD, PRODUCT)
    assert not decision.allowed
    assert decision.rules == ()
    assert any("overflow" in error for error in decision.errors)
    assert failing.evaluate(person("data_engineer"), Action.BUILD, replace(PRODUCT, classification=0)).allowed


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

"""Who may and who may not, by which rule, and what is recorded of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from access_support import (
    ALLOWED,
    DIGEST,
    FORBIDDEN,
    KEY,
    NOT_PERMITTED,
    PENDING,
    PLATFORM,
    PRODUCT,
    SEEN,
    STEWARD,
    Case,
    coming,
    every,
    open_log,
    person,
)

from secure_platform.access import rules as rules_module
from secure_platform.access.policy import Policy
from secure_platform.access.principals import ANONYMOUS
from secure_platform.access.resources import Action, Resource
from secure_platform.audit.log import AuditLog
from secure_platform.errors import AccessDeniedError, IntegrityError
from secure_platform.keys.signing import LogSigner


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditLog]:
    log = open_log(tmp_path_factory.mktemp("audit"))
    yield log
    log.close()


@pytest.fixture(scope="module")
def policy(audit: AuditLog) -> Policy:
    return Policy(audit)


@pytest.mark.parametrize(("rule", "case"), every(ALLOWED))
def test_allowed_by_this_rule(policy: Policy, rule: str, case: Case) -> None:
    decision = case.ask(policy)
    assert decision.allowed
    assert rule in decision.rules
    assert decision.errors == ()
    assert decision.action == case.action


@pytest.mark.parametrize(("rule", "case"), every(FORBIDDEN))
def test_forbidden_by_this_rule_alone(policy: Policy, rule: str, case: Case) -> None:
    decision = case.ask(policy)
    assert (decision.allowed, decision.rules, decision.errors) == (False, (rule,), ())


@pytest.mark.parametrize("case", NOT_PERMITTED, ids=range(len(NOT_PERMITTED)))
def test_what_no_rule_permits_is_denied(policy: Policy, case: Case) -> None:
    decision = case.ask(policy)
    assert (decision.allowed, decision.rules, decision.errors) == (False, (), ())


@pytest.mark.parametrize("channel", ["local", "web", "api"])
def test_anonymous_may_only_build_and_read_and_only_locally(policy: Policy, channel: str) -> None:
    nobody = coming(ANONYMOUS, channel=channel)
    for action in Action:
        resources: list[Resource] = [PENDING, PRODUCT, PLATFORM, KEY]
        decisions = [Case(nobody, action, resource).ask(policy) for resource in resources]
        allowed = channel == "local" and action in {Action.BUILD, Action.RELEASE_READ}
        assert any(decision.allowed for decision in decisions) is allowed, action
        assert any(not decision.errors for decision in decisions), action


def test_every_denied_rule_that_applies_is_named(policy: Policy) -> None:
    release = replace(PENDING, requested_by="steward2", approvers=frozenset({"steward2"}))
    decision = Case(replace(STEWARD, active=False), Action.RELEASE_APPROVE, release).ask(policy)
    assert decision.rules == (
        "forbid-double-approval",
        "forbid-inactive",
        "forbid-self-approval",
        "forbid-stale-base",
        "forbid-stale-digest",
    )


def test_every_decision_is_recorded_without_names(policy: Policy, audit: AuditLog) -> None:
    before = audit.size()
    allowed = policy.decide(STEWARD, Action.RELEASE_APPROVE, PENDING, **SEEN)
    policy.decide(ANONYMOUS, Action.PRODUCTION_QUERY, PRODUCT)
    policy.decide(person("admin", "emperor", name="mallory"), Action.PRINCIPAL_MANAGE, PLATFORM)
    first, second, third = (entry.body for entry in audit.entries(before))
    assert (first["action"], first["phase"], first["subject"]) == (
        "policy.decide",
        "event",
        f"release:{DIGEST}",
    )
    question = first["detail"].pop("question")
    assert first["detail"] == {
        "action": "release_approve",
        "allowed": True,
        "rules": ["steward-approves"],
        "policy": allowed.policy_digest,
        "errors": 0,
        "grants": [],
    }
    assert question["request"]["principal"]["id"] == first["actor"]
    assert (second["subject"], second["detail"]["rules"]) == (
        "product:healthcare",
        ["forbid-anonymous", "forbid-without-purpose"],
    )
    assert (third["subject"], third["detail"]["allowed"], third["detail"]["errors"]) == ("platform", False, 1)
    for body in (first, second, third):
        assert body["actor"].startswith("p:")
        assert not any(name in str(body) for name in (STEWARD.name, "mallory", "requester"))


def test_looking_is_not_recorded(policy: Policy, audit: AuditLog) -> None:
    before = audit.size()
    policy.evaluate(STEWARD, Action.RELEASE_APPROVE, PENDING, **SEEN)
    assert audit.size() == before


def test_without_a_record_there_is_no_decision(tmp_path: Path) -> None:
    def fail(_: str) -> str:
        raise IntegrityError("no key", "none")

    log = AuditLog(tmp_path / "audit.db", origin="o/t", signer=LogSigner("o/t", bytes(32)), identify=fail)
    with pytest.raises(IntegrityError):
        Policy(log).decide(ANONYMOUS, Action.BUILD, PRODUCT)
    log.close()


def test_require_returns_what_is_allowed(policy: Policy) -> None:
    assert policy.require(STEWARD, Action.RELEASE_APPROVE, PENDING, **SEEN).allowed


def test_require_names_action_rule_and_fix(policy: Policy) -> None:
    with pytest.raises(AccessDeniedError) as refusal:
        policy.require(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, requested_by="steward2"), **SEEN)
    assert "release_approve" in refusal.value.culprit
    assert "forbid-self-approval" in refusal.value.culprit
    assert refusal.value.fix.startswith("Ask another data steward")
    with pytest.raises(AccessDeniedError, match=r"no rule allows it\. .*permission-matrix\.md"):
        policy.require(person(), Action.AUDIT_READ, PLATFORM)
    with pytest.raises(AccessDeniedError, match=r"could not judge the request\. Check the policies"):
        policy.require(person("emperor"), Action.AUDIT_READ, PLATFORM)
    with pytest.raises(AccessDeniedError, match="SECURE_PLATFORM_TOKEN_FILE"):
        policy.require(ANONYMOUS, Action.PRODUCTION_QUERY, PRODUCT)


def test_every_forbid_says_what_to_do() -> None:
    loaded = rules_module.load_rules()
    assert set(loaded.fixes) == set(FORBIDDEN)
    assert all(fix.endswith(".") for fix in loaded.fixes.values())

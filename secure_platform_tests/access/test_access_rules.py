"""Policies that would not work are refused when they are loaded."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from access_support import ALLOWED, APPROVED, FORBIDDEN, LENT, PIPELINE, PRODUCT, SEEN, open_log, person

from secure_platform.access import rules as rules_module
from secure_platform.access.policy import Policy
from secure_platform.access.principals import ROLES
from secure_platform.access.resources import Action
from secure_platform.audit.log import AuditLog
from secure_platform.errors import AccessDeniedError, ContractError


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditLog]:
    log = open_log(tmp_path_factory.mktemp("audit"))
    yield log
    log.close()


@pytest.fixture(scope="module")
def policy(audit: AuditLog) -> Policy:
    return Policy(audit)


def test_actions_and_roles_are_those_of_the_schema() -> None:
    schema = rules_module.SCHEMA_FILE.read_text()
    declared = re.search(r"entity Role enum \[(.*?)\]", schema, re.DOTALL)
    assert declared is not None
    assert set(re.findall(r'"(\w+)"', declared[1])) == ROLES
    heads = re.findall(r"^action ([^;{]*)", schema, re.MULTILINE)
    assert {name for head in heads for name in re.findall(r'"(\w+)"', head)} == set(Action)


def test_policies_are_parsed_once_and_a_changed_file_counts_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "local.cedar"
    file.write_text('@id("local") permit (principal, action == Action::"audit_read", resource);')
    first = rules_module.load_rules(tmp_path)
    assert rules_module.load_rules(tmp_path) is first
    file.write_text(file.read_text().replace("permit", "forbid"))
    assert rules_module.load_rules(tmp_path).digest != first.digest
    file.write_text("permit (principal, action, resource);")
    for _ in range(2):
        with pytest.raises(ContractError, match="missing or used twice"):
            rules_module.load_rules(tmp_path)
    assert rules_module.load_rules().digest == rules_module.load_rules(None).digest != first.digest


def test_further_policies_add_and_forbid(policy: Policy, audit: AuditLog, tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(
        '@id("local-auditor-queries") permit (principal in Role::"auditor", '
        'action == Action::"production_query", resource == Product::"healthcare");'
    )
    (tmp_path / "b.cedar").write_text(
        '@id("local-freeze") @fix("Wait for the end of the freeze.")\n'
        'forbid (principal, action == Action::"release_deploy", resource in Product::"healthcare");'
    )
    (tmp_path / "notes.txt").write_text("not a policy")
    extended = Policy(audit, tmp_path)
    assert extended.digest != policy.digest
    open_product = replace(PRODUCT, classification=1)
    assert extended.evaluate(person("auditor"), Action.PRODUCTION_QUERY, open_product).allowed
    assert not extended.evaluate(
        person("auditor"), Action.PRODUCTION_QUERY, replace(open_product, name="x")
    ).allowed
    assert extended.evaluate(PIPELINE, Action.RELEASE_DEPLOY, APPROVED, **SEEN).rules == ("local-freeze",)
    with pytest.raises(AccessDeniedError, match="Wait for the end of the freeze"):
        extended.require(PIPELINE, Action.RELEASE_DEPLOY, APPROVED, **SEEN)
    for rule, cases in FORBIDDEN.items():
        for case in cases:
            assert rule in case.ask(extended).rules


def test_a_further_permit_never_overrules_our_forbids(audit: AuditLog, tmp_path: Path) -> None:
    (tmp_path / "all.cedar").write_text('@id("local-everything") permit (principal, action, resource);')
    extended = Policy(audit, tmp_path)
    for case in itertools.chain(*FORBIDDEN.values()):
        if case.situation is not LENT:  # who acts for another is refused that, and allowed as themselves
            assert not case.ask(extended).allowed


REFUSED_POLICIES = {
    "syntax": ('@id("x") permit (principal, action, resource)', "does not parse"),
    "unknown-attribute": (
        (
            '@id("x") permit (principal, action == Action::"build", resource)'
            " when { resource.clasification == 0 };"
        ),
        r"The policy 'x' does not fit the schema.*clasification",
    ),
    "unknown-role": ('@id("x") permit (principal in Role::"steward", action, resource);', "'x' does not fit"),
    "unknown-action": (
        '@id("x") permit (principal, action == Action::"deploy", resource);',
        "'x' does not fit",
    ),
    "unknown-type": ('@id("x") permit (principal is User, action, resource);', "'x' does not fit"),
    "wrong-type": (
        (
            '@id("x") forbid (principal, action == Action::"build", resource)'
            ' when { resource.classification > "1" };'
        ),
        "'x' does not fit",
    ),
    "unguarded-optional": (
        (
            '@id("x") forbid (principal, action == Action::"release_reject", resource)'
            ' when { context.digest == "" };'
        ),
        "'x' does not fit",
    ),
    "no-name": ("permit (principal, action, resource);", "@id '' is missing"),
    "empty-name": ('@id("") permit (principal, action, resource);', "@id '' is missing"),
    "our-name": ('@id("forbid-inactive") permit (principal, action, resource);', "used twice"),
    "template": ('@id("x") permit (principal == ?principal, action, resource);', "template"),
}


@pytest.mark.parametrize(("text", "refusal"), REFUSED_POLICIES.values(), ids=REFUSED_POLICIES)
def test_a_policy_that_would_not_work_is_refused_at_load(
    audit: AuditLog, tmp_path: Path, text: str, refusal: str
) -> None:
    (tmp_path / "local.cedar").write_text(text)
    with pytest.raises(ContractError, match=refusal):
        Policy(audit, tmp_path)


def test_a_policy_cannot_be_completed_by_the_next_file(audit: AuditLog, tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text('@id("x") permit (principal, action, resource) when {')
    (tmp_path / "b.cedar").write_text("true };")
    with pytest.raises(ContractError, match=r"a\.cedar does not parse"):
        Policy(audit, tmp_path)


def test_a_folder_without_policies_is_refused(audit: AuditLog, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ContractError, match=r"holds no \*\.cedar file"):
            Policy(audit, folder)


def test_a_policy_file_that_is_not_text_is_refused(audit: AuditLog, tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_bytes(b"\xff\xfe")
    with pytest.raises(ContractError, match="cannot be read as UTF-8"):
        Policy(audit, tmp_path)


def test_an_emptied_policy_file_denies_everything(
    audit: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.cedar"
    empty.write_text("// nothing\n")
    monkeypatch.setattr(rules_module, "POLICY_FILE", empty)
    policy = Policy(audit)
    for case in itertools.chain(*ALLOWED.values()):
        assert not case.ask(policy).allowed


def test_the_digest_covers_schema_and_policies(
    policy: Policy, audit: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {policy.digest, Policy(audit).digest}
    assert len(digests) == 1
    for name in ("POLICY_FILE", "SCHEMA_FILE"):
        changed = tmp_path / name
        changed.write_text(getattr(rules_module, name).read_text() + "\n// changed\n")
        with monkeypatch.context() as patch:
            patch.setattr(rules_module, name, changed)
            digests.add(Policy(audit).digest)
    assert len(digests) == 3

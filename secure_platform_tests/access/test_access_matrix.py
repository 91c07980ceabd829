"""The published table of permissions is what the policies say."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from access_support import open_log

from secure_platform.access.matrix import CLASSIFICATIONS, Permission, permission_matrix
from secure_platform.access.policy import (
    Action,
    Policy,
)
from secure_platform.audit.log import AuditLog


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditLog]:
    log = open_log(tmp_path_factory.mktemp("audit"))
    yield log
    log.close()


@pytest.fixture(scope="module")
def policy(audit: AuditLog) -> Policy:
    return Policy(audit)


GOLDEN = Path(__file__).resolve().parents[2] / "docs" / "permission-matrix.md"
WORDS: dict[tuple[str, ...], str] = {(): "no", CLASSIFICATIONS: "yes"}


def rendered(permissions: list[Permission]) -> str:
    actions = list(dict.fromkeys(permission.action for permission in permissions))
    rows: dict[str, list[str]] = {}
    for permission in permissions:
        allowed = permission.classifications
        assert allowed == CLASSIFICATIONS[: len(allowed)]
        rows.setdefault(permission.caller, []).append(WORDS.get(allowed) or f"up to {allowed[-1]}")
    lines = [
        "# Who may do what",
        "",
        "Computed from the Cedar policies in `secure_platform/access/policies/`; a test keeps it true. Each",
        "cell is asked about something in the state that the action is meant for (a pending release to",
        "approve, an approved one with one approval to deploy), seen by the caller as it is, and for each",
        "classification of its output: “up to confidential” excludes restricted data, which two stewards",
        "have to approve.",
        "",
        "| caller | " + " | ".join(f"`{action}`" for action in actions) + " |",
        "|---|" + "---|" * len(actions),
        *(f"| {caller} | " + " | ".join(cells) + " |" for caller, cells in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def test_the_permission_matrix_is_the_published_one(policy: Policy) -> None:
    """After a change of the policies: SECURE_PLATFORM_WRITE_GOLDEN=1, then read the difference."""
    text = rendered(permission_matrix(policy))
    if os.environ.get("SECURE_PLATFORM_WRITE_GOLDEN"):
        GOLDEN.write_text(text, "utf-8")
    assert GOLDEN.read_text("utf-8") == text


def test_the_matrix_has_somebody_for_every_action(policy: Policy) -> None:
    allowed = {(p.action, p.caller) for p in permission_matrix(policy) if p.classifications}
    assert {action for action, _ in allowed} == set(Action)
    assert {caller for action, caller in allowed if action == Action.RELEASE_APPROVE} == {"data_steward"}
    for deploying in (Action.RELEASE_DEPLOY, Action.RELEASE_RESTORE):
        assert {caller for action, caller in allowed if action == deploying} == {"pipeline"}

"""The published table of permissions is what the policies say."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from access_support import open_log

from secure_platform.access.matrix import Permission, matrix_rows, permission_matrix
from secure_platform.access.policy import Policy
from secure_platform.access.resources import Action
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


def rendered(permissions: list[Permission]) -> str:
    callers = list(dict.fromkeys(permission.caller for permission in permissions))
    rows = matrix_rows(permissions)
    lines = [
        "# Who may do what",
        "",
        "Computed from the Cedar policies in `secure_platform/access/policies/`; a test keeps it true. Each",
        "cell is asked about something in the state that the action is meant for (a pending release to",
        "approve, an approved one with one approval to deploy), seen by the caller as it is, for a purpose",
        "of the product, and for each classification of its output: “up to confidential” excludes restricted",
        "data. Callers come with a token; “on the web with MFA” is what changes for who is logged in there",
        "and has just proven a second factor. Grants, delegations, freezes and windows are left out: see",
        "[access.md](access.md).",
        "",
    ]
    for part in (callers[: len(callers) // 2], callers[len(callers) // 2 :]):
        lines += ["| action | " + " | ".join(part) + " |", "|---|" + "---|" * len(part)]
        chosen = [row for row in rows if row[0] in part]
        for place, action in enumerate(Action, start=1):
            lines.append(f"| `{action}` | " + " | ".join(row[place] for row in chosen) + " |")
        lines.append("")
    return "\n".join(lines)


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


def test_only_a_second_factor_on_the_web_page_approves_restricted_data(policy: Policy) -> None:
    approving = {
        (p.mfa, "restricted" in p.classifications)
        for p in permission_matrix(policy)
        if p.action == Action.RELEASE_APPROVE and p.caller == "data_steward"
    }
    assert approving == {(False, False), (True, True)}

"""What is shipped as an example works, and keeps what it promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from access_support import open_log

from secure_platform.access.expectations import failures
from secure_platform.access.policy import Policy
from secure_platform.access.rules import POLICIES
from secure_platform.audit.log import AuditLog

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "policies"


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditLog]:
    log = open_log(tmp_path_factory.mktemp("audit"))
    yield log
    log.close()


def test_our_policies_keep_their_own_cases(audit: AuditLog) -> None:
    count, failed = failures(Policy(audit), POLICIES)
    assert count > 10
    assert failed == []


def test_the_example_policies_keep_theirs(audit: AuditLog) -> None:
    assert failures(Policy(audit, EXAMPLES), EXAMPLES) == (5, [])


def test_without_the_example_policies_their_denials_fail(audit: AuditLog) -> None:
    _, failed = failures(Policy(audit), EXAMPLES)
    assert [each.case.expect for each in failed] == ["deny"] * 3

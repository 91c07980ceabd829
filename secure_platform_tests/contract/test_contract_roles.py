"""Who approves a product's releases, what it may be used for and when it goes live, as its documents say."""

from pathlib import Path
from typing import Any

import pytest
from contract_support import column, contract, document, product

from secure_platform.contract.model import Role
from secure_platform.contract.product import load_product
from secure_platform.errors import ContractError


def test_roles_are_read_with_their_approvers(tmp_path: Path) -> None:
    roles = [
        {"role": "analyst", "access": "read", "firstLevelApprovers": "clinical, hospital.board, clinical"},
        {
            "role": "engineer",
            "access": "Write",
            "firstLevelApprovers": "clinical",
            "secondLevelApprovers": "privacy",
        },
        {"role": "reader"},
    ]
    assert contract(tmp_path, column("a"), roles=roles).roles == (
        Role("analyst", "read", ("clinical", "hospital.board"), ()),
        Role("engineer", "write", ("clinical",), ("privacy",)),
        Role("reader", "read", (), ()),
    )
    assert contract(tmp_path, column("a")).roles == ()


@pytest.mark.parametrize(
    ("entry", "culprit"),
    [
        ({"access": "own"}, "unknown access `own`"),
        ({"secondLevelApprovers": "privacy"}, "second-level approvers only"),
        ({"firstLevelApprovers": ""}, "which is not a name"),
        ({"firstLevelApprovers": "clinical,"}, "which is not a name"),
        ({"firstLevelApprovers": "Clinical Data"}, "which is not a name"),
        ({"firstLevelApprovers": "a" * 64}, "which is not a name"),
        ({"firstLevelApprovers": ["clinical"]}, "roles"),
    ],
)
def test_a_role_that_is_not_understood_is_refused(
    tmp_path: Path, entry: dict[str, Any], culprit: str
) -> None:
    with pytest.raises(ContractError, match=culprit):
        contract(tmp_path, column("a"), roles=[{"role": "analyst", **entry}])


def test_the_levels_of_a_product_are_those_of_all_its_contracts(tmp_path: Path) -> None:
    first = [{"role": "r", "firstLevelApprovers": "clinical", "secondLevelApprovers": "privacy"}]
    second = [{"role": "r", "firstLevelApprovers": "finance, clinical"}]
    loaded = load_product(
        product(tmp_path, document("a", column("x"), roles=first), document("b", column("y"), roles=second))
    )
    assert loaded.approver_levels == (("clinical", "finance"), ("privacy",))


def test_a_product_says_purposes_and_windows(tmp_path: Path) -> None:
    windows = ["Mon-Fri 08:00-17:00 Europe/Berlin"]
    loaded = load_product(
        product(tmp_path, document("a", column("x")), purposes=["research"], deploy_windows=windows)
    )
    assert (loaded.purposes, loaded.deploy_windows) == (("research",), tuple(windows))
    assert loaded.approver_levels == ((), ())


@pytest.mark.parametrize(
    ("attributes", "culprit"),
    [
        ({"purposes": ["research", "research"]}, "purposes"),
        ({"purposes": ["Anything goes"]}, "purposes"),
        ({"deploy_windows": ["always"]}, "deploy_windows"),
    ],
)
def test_purposes_and_windows_that_are_none_are_refused(
    tmp_path: Path, attributes: dict[str, Any], culprit: str
) -> None:
    with pytest.raises(ContractError, match=culprit):
        load_product(product(tmp_path, document("a", column("x")), **attributes))

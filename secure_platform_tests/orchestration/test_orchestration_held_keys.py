"""A key that something on legal hold needs is not destroyed, by whoever; others are."""

import polars as pl
import pytest
from bank_home import PRODUCT, Bank

from secure_platform.access.holds import Hold
from secure_platform.access.resources import ProductResource
from secure_platform.errors import AccessDeniedError, GateRefusedError
from secure_platform.keys.catalog import KeyState
from secure_platform.orchestration.steps import plans
from secure_platform.orchestration.steps.erase import identities_of
from secure_platform.orchestration.steps.key_usage import destroy, require_unheld
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.orchestration.steps.reveal import Asked, reveal
from secure_platform.store.snapshot import Zone

NAME = "cell/bank.people.name"
OTHER = "token/elsewhere"
MATTER = "24-cv-0117"


@pytest.fixture
def admins(bank: Bank) -> Bank:
    """With two administrators, of whom one has disabled the former version of two keys."""
    services = bank.services
    for name in ("ada", "abe"):
        services.principals.add(name, roles=("admin",), actor="admin")
    services.keys.token_key("elsewhere")
    for name in (NAME, OTHER):
        services.custody.rotate(bank.person("ada"), name)
        services.custody.disable(bank.person("ada"), name, 1)
    return bank


def held(bank: Bank, person: str | None = None, product: str = PRODUCT) -> Hold:
    services = bank.services
    resource = ProductResource(product, services.settings.environment, bank.resource.classification)
    who = None if person is None else identities_of(services, "person", person)[0]
    return services.holds.set(bank.person("petra"), resource, MATTER, who)


@pytest.mark.parametrize("person", [None, "person-3"])
def test_what_is_on_hold_can_be_revealed_until_it_is_lifted(admins: Bank, person: str | None) -> None:
    hold = held(admins, person)
    abe = admins.person("abe")
    with pytest.raises(GateRefusedError, match=f"needed by what is on legal hold: {PRODUCT} .{MATTER}"):
        destroy(admins.services, abe, NAME, 1)
    assert destroy(admins.services, abe, OTHER, 1).state == KeyState.DESTROYED, "no plan of the bank names it"
    services = admins.services
    services.custody.enable(admins.person("ada"), NAME, 1)
    asked = Asked(PRODUCT, "people", "name", 1, "fraud", admins.released("name")[:2])
    assert reveal(services, asked, admins.person("petra")).frame.height > 0
    services.custody.disable(admins.person("ada"), NAME, 1)
    services.holds.lift(admins.person("petra"), admins.resource, MATTER, [hold.person] if hold.person else [])
    assert destroy(admins.services, abe, NAME, 1).state == KeyState.DESTROYED


def test_who_may_not_destroy_keys_is_not_told_what_is_on_hold(admins: Bank) -> None:
    held(admins)
    with pytest.raises(AccessDeniedError) as refused:
        destroy(admins.services, admins.person("sam"), NAME, 1)
    assert MATTER not in str(refused.value)


def test_where_it_cannot_be_told_what_a_product_on_hold_needs_nothing_is_destroyed(
    admins: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(admins)
    abe, services = admins.person("abe"), admins.services
    store = services.store
    like = store.head(PRODUCT, "people", Zone.PROTECTED)
    assert like is not None
    with monkeypatch.context() as patch:
        patch.setattr(type(services), "products", {})
        with pytest.raises(GateRefusedError, match="legal hold"):
            destroy(services, abe, OTHER, 1)
    with store.draft(PRODUCT, "people", Zone.PROTECTED, actor="t") as draft:
        draft.write(store.scan(like).with_columns(pl.all().str.reverse()))
        draft.commit(
            input_key="k", contract_version="1.0.0", contract_digest="x", provenance={"plan": "gone"}
        )
    with pytest.raises(GateRefusedError, match="legal hold"):
        destroy(services, abe, OTHER, 1)


def test_a_key_of_all_rows_is_kept_while_anything_is_on_hold(admins: Bank) -> None:
    about = admins.services.custody.find("subject")
    require_unheld(admins.services, about)
    held(admins)
    with pytest.raises(GateRefusedError, match="legal hold"):
        require_unheld(admins.services, about)


def test_what_only_an_earlier_release_needs_is_kept(admins: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    held(admins)
    services = admins.services
    now = current_plan(services.product(PRODUCT), services.keys)
    bare = type(now)(**{**vars(now), "datasets": {}})
    monkeypatch.setattr(plans, "current_plan", lambda *_: bare)
    with pytest.raises(GateRefusedError, match="legal hold"):
        destroy(services, admins.person("abe"), NAME, 1)

"""Whoever has the same tokens is named to those who decide, and what is new is marked."""

from protect_examples import column, compiled, contract, product

from secure_platform.contract.product import Product
from secure_platform.protect.domains import FIRST, shared_domains, told_domains

FREE = "gdpr_pseudonymous"
BANK = (
    column("id", info_type="RECORD_ID", token_domain="person"),
    column("mail", protect={"transform": "encrypt", "mode": "deterministic"}, token_domain="mail"),
    column("login", protect={"transform": "vault", "ttl": 90}, token_domain="login"),
    column("card", info_type="RECORD_ID"),
    column("gone", protect="drop", token_domain="gone"),
)


def other(name: str, *domains: str) -> Product:
    columns = [column(f"c{place}", token_domain=domain) for place, domain in enumerate(domains)]
    return product(contract("people", *columns), name=name)


def test_every_key_of_a_domain_counts_and_a_columns_own_is_nobodys() -> None:
    plan = compiled(contract("people", *BANK), profile=FREE)
    club = other("club", "person", "login", "gone")
    others = [other("shop", "person", "mail"), club, other("park", "else")]
    assert shared_domains(plan, others) == {
        "login": ["club"],
        "mail": ["shop"],
        "person": ["club", "shop"],
    }
    assert shared_domains(plan, [other("clinic", "person")]) == {}, "the product itself"
    inside = column("o", members=(column("o.id", token_domain="person"),))
    assert shared_domains(plan, [product(contract("x", inside), name="shop")]) == {"person": ["shop"]}


def test_what_is_new_is_marked_and_the_rest_told_all_the_same() -> None:
    now = {"mail": ["shop"], "person": ["club", "shop"]}

    def marked(old: dict[str, list[str]]) -> list[bool]:
        return [FIRST in said for said in told_domains("bank", old, now)]

    assert marked({}) == [True, True]
    assert marked({"mail": ["shop"], "person": ["shop"]}) == [False, True]
    assert marked({"mail": ["shop"], "person": ["club", "park", "shop"]}) == [False, False]
    (said,) = told_domains("bank", {}, {"person": ["club", "shop"]})
    assert said.startswith("Token domain person: bank has the same tokens as club, shop for the first time. ")

"""Rights for a time: who gives them, how long they last, and what they never give."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from access_home import Home, migrate

from secure_platform.access.circumstances import LOCAL, Circumstances
from secure_platform.access.grants import GRANTABLE, Grants
from secure_platform.access.policy import Policy
from secure_platform.access.principals import ROLES, Principal
from secure_platform.access.resources import Action, PlatformResource, ProductResource
from secure_platform.access.situation import Declared, Grant, HomeSituation
from secure_platform.errors import AccessDeniedError, IntegrityError, UsageError

PRODUCT = ProductResource("sales", "production", 1)
OTHER = ProductResource("other", "production", 1)
DAY, HOUR, HALF_HOUR = timedelta(days=1), timedelta(hours=1), timedelta(minutes=30)
PEOPLE = {
    "ada": ["admin"],
    "eva": ["admin"],
    "sam": ["data_steward"],
    "both": ["admin", "data_steward"],
    "dan": ["data_engineer"],
    "ana": ["analyst"],
    "olga": ["auditor"],
    "pia": ["privacy_officer"],
    "nobody": [],
}


class Rights:
    """Grants over a home, at a time that moves when it is told to."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
        self.told: list[tuple[str, str | None]] = []
        for name, roles in PEOPLE.items():
            home.principals.add(name, roles=roles, actor="test")
        home.principals.add("service:ci", kind="service", roles=["pipeline"], actor="test")
        declared = Declared(purposes=frozenset({"research"}))
        situation = HomeSituation(home.rows, home.keys, home.principals, lambda _: declared)
        self.policy = Policy(home.audit, None, situation, clock=lambda: self.now)
        self.grants = Grants(
            home.rows,
            home.keys,
            home.principals,
            self.policy,
            situation,
            announce=lambda event, product: self.told.append((event, product)),
            clock=lambda: self.now,
        )

    def who(self, name: str, circumstances: Circumstances = LOCAL) -> Principal:
        found = self.home.principals.get(name)
        assert found is not None
        return Principal(found.name, found.kind, found.roles, found.active, found.groups, circumstances)

    def may(self, name: str, action: Action, resource: ProductResource | PlatformResource = PRODUCT) -> bool:
        return self.policy.evaluate(self.who(name), action, resource).allowed

    def give(self, giver: str, name: str, role: str, lasts: timedelta = DAY) -> Grant:
        return self.grants.give(self.who(giver), name, role, product="sales", lasts=lasts, reason="x")

    def break_glass(self, name: str, role: str = "data_engineer", lasts: timedelta = HALF_HOUR) -> Grant:
        return self.grants.break_glass(self.who(name), role, PRODUCT, lasts=lasts, reason="outage")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def rights(tmp_path: Path, migrated: Path) -> Iterator[Rights]:
    home = Home(tmp_path, migrated)
    yield Rights(home)
    home.audit.close()
    home.database.close()


def test_a_grant_gives_its_role_on_its_product_for_its_time(rights: Rights) -> None:
    assert not rights.may("nobody", Action.BUILD)
    rights.give("ada", "nobody", "data_engineer")
    assert rights.may("nobody", Action.BUILD)
    assert not rights.may("nobody", Action.BUILD, OTHER)
    assert not rights.may("nobody", Action.PLATFORM_OPERATE, PlatformResource())
    rights.now += DAY
    assert not rights.may("nobody", Action.BUILD)


def test_a_grant_on_every_product_is_still_none_on_the_platform(rights: Rights) -> None:
    rights.grants.give(rights.who("ada"), "nobody", "auditor", product=None, lasts=DAY, reason="x")
    assert rights.may("nobody", Action.RUN_READ)
    assert not rights.may("nobody", Action.AUDIT_READ, PlatformResource())


def test_nobody_gives_to_themselves_and_only_an_administrator_gives(rights: Rights) -> None:
    with pytest.raises(AccessDeniedError, match="to themselves"):
        rights.give("ada", "ada", "data_steward")
    for name in sorted(PEOPLE.keys() - {"ada", "eva", "both"}):
        with pytest.raises(AccessDeniedError, match="grant_give"):
            rights.give(name, "ana", "data_engineer")


@pytest.mark.parametrize("role", [*sorted(ROLES - GRANTABLE), "emperor", ""])
def test_the_roles_that_run_the_platform_are_never_given_for_a_time(rights: Rights, role: str) -> None:
    with pytest.raises(UsageError, match="is not given for a time"):
        rights.give("ada", "ana", role)
    with pytest.raises(UsageError, match="is not given for a time"):
        rights.break_glass("dan", role)


@pytest.mark.parametrize("lasts", [timedelta(), -HOUR, timedelta(days=366)])
def test_a_grant_lasts_for_some_time_and_not_for_ever(rights: Rights, lasts: timedelta) -> None:
    with pytest.raises(UsageError, match="for this time"):
        rights.give("ada", "ana", "auditor", lasts)


@pytest.mark.parametrize("name", ["service:ci", "stranger", "gone"])
def test_only_active_people_get_rights(rights: Rights, name: str) -> None:
    rights.home.principals.add("gone", roles=[], actor="test")
    rights.home.principals.disable("gone", actor="test")
    with pytest.raises(UsageError, match="no active person"):
        rights.give("ada", name, "auditor")
    with pytest.raises(UsageError, match="no active person"):
        rights.grants.delegate(rights.who("sam"), name, product=None, lasts=DAY, reason="x")


def test_only_an_approver_right_of_ones_own_is_delegated(rights: Rights) -> None:
    rights.give("ada", "ana", "data_steward")

    def lend(giver: str, name: str, lasts: timedelta = DAY) -> None:
        rights.grants.delegate(rights.who(giver), name, product=None, lasts=lasts, reason="x")

    for giver in ("ana", "dan", "ada", "olga"):
        with pytest.raises(AccessDeniedError):
            lend(giver, "pia")
    with pytest.raises(AccessDeniedError, match="no approver right of their own"):
        lend("both", "pia")
    with pytest.raises(AccessDeniedError, match="no approver right of their own"):
        lend("sam", "sam")
    with pytest.raises(UsageError, match="for this time"):
        lend("sam", "pia", timedelta(days=30, seconds=1))
    lend("sam", "pia", timedelta(days=30))
    with pytest.raises(AccessDeniedError):
        lend("pia", "dan")


def test_breaking_the_glass_gives_a_role_for_an_hour_at_most_and_is_announced(rights: Rights) -> None:
    opened = rights.break_glass("pia")
    assert rights.told == [("break_glass.opened", "sales")]
    assert rights.may("pia", Action.BUILD)
    assert not rights.may("pia", Action.BUILD, OTHER)
    rights.now += HALF_HOUR
    assert not rights.may("pia", Action.BUILD)
    with pytest.raises(UsageError, match="for this time"):
        rights.break_glass("pia", lasts=timedelta(minutes=61))
    actions = [(entry.body["action"], entry.body["phase"]) for entry in rights.home.audit.tail(3)]
    assert ("break_glass.open", "done") in actions
    (listed,) = rights.grants.list()
    assert listed == opened


@pytest.mark.parametrize("name", ["ana", "olga", "nobody", "service:ci"])
def test_who_has_no_part_in_operations_breaks_no_glass(rights: Rights, name: str) -> None:
    with pytest.raises(AccessDeniedError, match="break_glass"):
        rights.break_glass(name)


@pytest.mark.parametrize(
    "come",
    [
        Circumstances("web", "password"),
        Circumstances("web", "password", datetime(2026, 11, 2, 11, 44, tzinfo=UTC)),
        Circumstances("api", "token", datetime(2026, 11, 2, 12, tzinfo=UTC)),
    ],
)
def test_from_afar_it_takes_a_second_factor_that_is_fresh(rights: Rights, come: Circumstances) -> None:
    with pytest.raises(AccessDeniedError, match="forbid-break-glass-without-mfa"):
        rights.grants.break_glass(
            rights.who("dan", come), "data_engineer", PRODUCT, lasts=HALF_HOUR, reason="x"
        )


def test_somebody_else_reviews_it_once(rights: Rights) -> None:
    opened = rights.break_glass("pia")
    with pytest.raises(AccessDeniedError, match="their own break-glass"):
        rights.grants.review(rights.who("pia"), opened.grant_id, finding="fine")
    for name in ("ada", "sam", "dan", "ana"):
        with pytest.raises(AccessDeniedError, match="break_glass_review"):
            rights.grants.review(rights.who(name), opened.grant_id, finding="fine")
    reviewed = rights.grants.review(rights.who("olga"), opened.grant_id, finding="justified")
    assert (reviewed.reviewed_by, reviewed.review, reviewed.reviewed_at) == ("olga", "justified", rights.now)
    with pytest.raises(UsageError, match="does not wait for a review"):
        rights.grants.review(rights.who("olga"), opened.grant_id, finding="again")
    given = rights.give("ada", "ana", "auditor")
    with pytest.raises(UsageError, match="does not wait for a review"):
        rights.grants.review(rights.who("olga"), given.grant_id, finding="x")


def test_without_a_review_in_time_there_is_no_next_one(rights: Rights) -> None:
    opened = rights.break_glass("dan")
    rights.now += timedelta(hours=72) - timedelta(seconds=1)
    rights.break_glass("dan")
    rights.now += timedelta(seconds=1)
    with pytest.raises(AccessDeniedError, match="forbid-break-glass-while-unreviewed"):
        rights.break_glass("dan")
    assert [each.overdue(rights.now) for each in rights.grants.list()] == [True, False]
    rights.break_glass("pia")
    rights.grants.revoke(rights.who("dan"), opened.grant_id)
    with pytest.raises(AccessDeniedError, match="forbid-break-glass-while-unreviewed"):
        rights.break_glass("dan")
    rights.grants.review(rights.who("olga"), opened.grant_id, finding="justified")
    rights.break_glass("dan")


def test_giver_holder_and_administrators_end_a_right(rights: Rights) -> None:
    for name in ("ada", "nobody", "eva"):
        given = rights.give("ada", "nobody", "data_engineer")
        assert rights.may("nobody", Action.BUILD)
        with pytest.raises(AccessDeniedError):
            rights.grants.revoke(rights.who("ana"), given.grant_id)
        rights.grants.revoke(rights.who(name), given.grant_id)
        assert not rights.may("nobody", Action.BUILD)
        assert rights.grants.revoke(rights.who(name), given.grant_id).revoked_at == rights.now
    with pytest.raises(UsageError, match="no grant with this id"):
        rights.grants.revoke(rights.who("ada"), "0" * 32)


@pytest.mark.parametrize("reason", ["", " \n", "x" * 2001, "\udc80"])
def test_every_right_needs_a_reason(rights: Rights, reason: str) -> None:
    changes: list[Callable[[], object]] = [
        lambda: rights.grants.give(
            rights.who("ada"), "ana", "auditor", product=None, lasts=DAY, reason=reason
        ),
        lambda: rights.grants.delegate(rights.who("sam"), "ana", product=None, lasts=DAY, reason=reason),
        lambda: rights.grants.break_glass(
            rights.who("dan"), "data_engineer", PRODUCT, lasts=HOUR, reason=reason
        ),
    ]
    for change in changes:
        with pytest.raises(UsageError, match="needs a reason"):
            change()
    assert not rights.grants.list()


def test_the_log_tells_of_every_right_without_names_or_reasons(rights: Rights) -> None:
    start = rights.home.audit.size()
    given = rights.give("ada", "ana", "auditor")
    bodies = [entry.body for entry in rights.home.audit.entries(start)]
    opened = [body for body in bodies if body["action"] == "grant.open"]
    assert [body["phase"] for body in opened] == ["intent", "done"]
    assert opened[0]["actor"] == rights.home.audit.identify("ada")
    assert opened[0]["detail"]["principal"] == rights.home.audit.identify("ana")
    assert opened[0]["subject"] == f"grant:{given.grant_id}"
    assert '"ana"' not in str(bodies).replace("'", '"')


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE access_grant SET expires_at = '2099-01-01 00:00:00.000000'",
        "UPDATE access_grant SET role = 'data_steward'",
        "UPDATE access_grant SET product = NULL",
        "UPDATE access_grant SET principal = 'dan'",
        "UPDATE access_grant SET reason = x'00'",
        "DELETE FROM access_grant",
    ],
)
def test_a_right_that_was_tampered_with_stops_every_decision(rights: Rights, change: str) -> None:
    rights.give("ada", "nobody", "analyst")
    with rights.home.database.write() as connection:
        connection.exec_driver_sql(change)
    with pytest.raises(IntegrityError, match="A row of access_grant"):
        rights.may("nobody", Action.BUILD)

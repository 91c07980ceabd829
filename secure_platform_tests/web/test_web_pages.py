"""The governance pages behind the real guards: who sees what, and what a decision is bound to."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from built_home import PRODUCT, Built
from pages_support import HTML, STAFF, Elements, Site, governed, pages

from secure_platform.audit.checkpoint import NoteKey
from secure_platform.audit.proof import InclusionProof
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.deploy import deploy
from secure_platform.release.bundle import verify_bundle
from secure_platform.release.layout import RELEASE_PREDICATE, release_directory
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.web.pages import (
    access,
    account,
    approvals,
    audit,
    data_map,
    keys,
    observability,
    outcomes,
    people,
    releases,
    rights,
)

pytestmark = pytest.mark.slow

ROOMS = (approvals, releases, data_map, observability, outcomes, audit, people, access, keys, rights, account)
EVERYBODY = frozenset(STAFF)
ROLES = EVERYBODY - {"nil"}
WATCHERS = ROLES - {"ana"}
OVERSEERS = frozenset({"sam", "tess", "petra", "otto", "admin"})
# Path of the route, an address of it, and who may open it.
READ = [
    ("/approvals", "/approvals", ROLES),
    ("/approvals/{digest}", "/approvals/{digest}", ROLES),
    ("/releases", "/releases", ROLES),
    ("/releases/{product}", "/releases/healthcare", ROLES),
    ("/releases/{product}/compare", "/releases/healthcare/compare?old=1&new=2", ROLES),
    ("/releases/{product}/{number}", "/releases/healthcare/1", ROLES),
    ("/releases/{product}/{number}/{file}", "/releases/healthcare/1/manifest.json", ROLES),
    ("/data-map", "/data-map?q=birth", ROLES),
    ("/data-map/{product}", "/data-map/healthcare", ROLES),
    ("/data-map/{product}/{table}", "/data-map/healthcare/patients", ROLES),
    ("/data-map/{product}/{table}", "/data-map/healthcare/patient_summary", ROLES),
    ("/observability", "/observability", WATCHERS),
    ("/observability/{product}", "/observability/healthcare", WATCHERS),
    ("/outcomes", "/outcomes", WATCHERS),
    ("/incidents/{incident}", "/incidents/{incident}", WATCHERS),
    ("/audit", "/audit?action=release.", OVERSEERS),
    ("/audit/{seq}", "/audit/3", OVERSEERS),
    ("/access", "/access", OVERSEERS),
    ("/access/principals/{name}", "/access/principals/service:deployer", OVERSEERS),
    ("/access/explain", "/access/explain?action=release_approve&product=healthcare", OVERSEERS),
    ("/access/matrix", "/access/matrix", OVERSEERS),
    ("/keys", "/keys", OVERSEERS),
    ("/account", "/account", EVERYBODY),
]
# Path of the route, an address of it, and who gets past its door; what is done is asked again behind it.
CHANGE = [
    ("/approvals/{digest}", "/approvals/{digest}", ROLES),
    ("/releases/{product}/rollback", "/releases/healthcare/rollback", ROLES),
    ("/releases/{product}/{number}/verify", "/releases/healthcare/1/verify", ROLES),
    ("/incidents/{incident}", "/incidents/{incident}", WATCHERS),
    ("/audit/verify", "/audit/verify", OVERSEERS),
    ("/audit/{seq}/proof", "/audit/3/proof", OVERSEERS),
    ("/access/principals", "/access/principals", frozenset({"admin"})),
    ("/access/principals/{name}", "/access/principals/tess", frozenset({"admin"})),
    ("/access/principals/{name}/invite", "/access/principals/tess/invite", frozenset({"admin"})),
    ("/rights/{done}", "/rights/nothing", EVERYBODY),
    ("/account/sessions", "/account/sessions", EVERYBODY),
    ("/account/tokens", "/account/tokens", EVERYBODY),
    ("/account/tokens/revoke", "/account/tokens/revoke", EVERYBODY),
]


@pytest.fixture(scope="module")
def prepared(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    copy = built_once.copy(tmp_path_factory.mktemp("governed") / "built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(copy.home))
        governed(copy)
    return copy


@pytest.fixture(scope="module")
def site(prepared: Built) -> Iterator[Site]:
    """For tests that only look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(prepared.home))
        services = prepared.services
        with pages(services) as app:
            yield Site.of(prepared, app, services)


@pytest.fixture
def own(prepared: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A copy for a test that changes something."""
    copy = prepared.copy(tmp_path / "built")
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(copy.home))
    services = copy.services
    with pages(services) as app:
        yield Site.of(copy, app, services)


def test_every_route_of_the_pages_is_in_these_tables(site: Site) -> None:
    routes = [route for room in ROOMS for route in room.routes(site.services)]
    served = {(route.path, "POST" in (route.methods or ())) for route in routes}
    assert served == {(path, False) for path, _, _ in READ} | {(path, True) for path, _, _ in CHANGE}


@pytest.mark.parametrize(("address", "readers"), [(address, readers) for _, address, readers in READ])
def test_a_page_opens_for_those_whose_right_it_is(site: Site, address: str, readers: frozenset[str]) -> None:
    path = address.format(digest=site.second.digest, incident=site.incident)
    seen = {name: site.reader(name).open(path).status_code for name in sorted(STAFF)}
    assert seen == {name: 200 if name in readers else 403 for name in sorted(STAFF)}
    nobody = site.reader(None).open(path)
    assert (nobody.status_code, nobody.headers["location"].partition("?")[0]) == (303, "/login")


@pytest.mark.parametrize(("address", "doers"), [(address, doers) for _, address, doers in CHANGE])
def test_a_form_counts_from_its_own_page_only(site: Site, address: str, doers: frozenset[str]) -> None:
    path = address.format(digest=site.second.digest, incident=site.incident)
    for name in sorted(STAFF):
        refused = site.reader(name).post(path, data={"csrf": "0" * 64}, headers=HTML)
        assert refused.status_code == 403, name
        assert ("not from a page" in refused.text) == (name in doers), name


def test_opening_every_page_changes_nothing(site: Site) -> None:
    reader = site.reader("sam")
    size = site.services.audit.size()
    for _, address, _ in READ:
        reader.open(address.format(digest=site.second.digest, incident=site.incident))
    written = {entry.body["action"] for entry in site.services.audit.entries(size)}
    assert written == {"policy.decide"}


def test_a_page_of_nothing_says_so_as_a_page(site: Site) -> None:
    reader = site.reader("admin")
    for path, status in (
        ("/approvals/sha256:" + "0" * 64, 409),
        ("/approvals/nothing", 409),
        ("/releases/nothing", 400),
        ("/releases/healthcare/77", 400),
        ("/releases/healthcare/1/root.key", 400),
        ("/releases/healthcare/compare?old=1&new=x", 400),
        ("/data-map/nothing", 400),
        ("/data-map/healthcare/nothing", 400),
        ("/audit/99999999", 400),
        ("/audit?since=yesterday", 400),
        ("/access/principals/nobody", 400),
        ("/access/explain?action=nothing", 400),
    ):
        answer = reader.open(path)
        assert (answer.status_code in {status, 400}, "<h1>" in answer.text) == (True, True), path


def test_the_release_page_shows_all_that_a_decision_rests_on(site: Site) -> None:
    seen = Elements(site.reader("tess").open(f"/approvals/{site.second.digest}").text).text
    for words in (
        "Release 2 of healthcare",
        "Difference to what is in production",
        "Rows per table",
        "US_SSN",
        "hipaa_safe_harbor",
        "45 CFR 164.514(b)(2)(i)(C)",
        site.second.digest,
        "No row was left out.",
        "Requested by dana",
        "Still needed 1 approval",
    ):
        assert words in seen
    assert all(name in seen.partition("Who could approve it")[2][:40] for name in ("sam", "tess"))


def test_who_may_not_decide_reads_why_and_has_no_button(site: Site) -> None:
    text = site.reader("dana").open(f"/approvals/{site.second.digest}").text
    assert "Ask another data steward" in text
    assert 'value="approve"' not in text
    assert 'value="withdraw"' in text
    assert "Nothing waits for your decision." in site.reader("dana").open("/approvals").text
    assert "Review it and decide" in site.reader("sam").open("/approvals").text


def test_an_approval_binds_what_was_on_the_page(own: Site) -> None:
    place = f"/approvals/{own.second.digest}"
    answer = own.reader("tess").submit(place, decision="approve", reason="rows as expected", ticket="OPS-12")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{place}?decided=approve")
    assert own.present().state is ReleaseState.APPROVED
    made = own.services.gate.approvals(own.second.digest)[-1]
    assert (made.principal, made.reason, made.base) == ("tess", "OPS-12: rows as expected", own.first.digest)
    shown = own.reader("sam").open(f"{place}?decided=approve").text
    assert "OPS-12: rows as expected" in shown


def test_the_requester_cannot_approve_even_by_a_form_of_their_own_making(own: Site) -> None:
    place = f"/approvals/{own.second.digest}"
    answer = own.reader("dana").submit(place, decision="approve", reason="mine, and fine")
    assert answer.status_code == 403
    assert "Ask another data steward" in answer.text
    assert own.present().state is ReleaseState.PENDING


@pytest.mark.parametrize("field", ["base", "policy"])
def test_what_changed_since_it_was_seen_is_said_and_nothing_is_decided(own: Site, field: str) -> None:
    place = f"/approvals/{own.second.digest}"
    answer = own.reader("tess").submit(
        place, decision="approve", reason="looked at long ago", **{field: "sha256:" + "1" * 64}
    )
    assert answer.status_code == 409
    assert "changed since you looked" in answer.text
    assert "Nothing was decided" in answer.text
    assert "looked at long ago" in answer.text
    assert own.present().state is ReleaseState.PENDING


@pytest.mark.parametrize(("verb", "state"), [("reject", "rejected"), ("withdraw", "withdrawn")])
def test_a_release_is_rejected_and_withdrawn_with_a_reason(own: Site, verb: str, state: str) -> None:
    place = f"/approvals/{own.second.digest}"
    assert own.reader("tess").submit(place, decision=verb, reason=" ").status_code == 400
    assert own.reader("tess").submit(place, decision=verb, reason="wrong source").status_code == 303
    assert own.present().state == state
    again = own.reader("sam").open(place).text
    assert "wrong source" in again
    assert "<textarea" not in again


def test_a_policy_that_wants_a_fresh_second_factor_sends_people_to_prove_it(
    prepared: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mfa.cedar").write_text(
        '@id("forbid-without-mfa")\n@fix("Prove your second factor.")\n'
        'forbid (principal, action == Action::"release_approve", resource)\n'
        "unless { context.mfa && context.mfa_age_s <= 900 };\n"
    )
    copy = prepared.copy(tmp_path / "built")
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(copy.home))
    services = Services(load_settings(home=copy.home, policies=tmp_path))
    with pages(services) as app:
        site = Site.of(copy, app, services)
        place = f"/approvals/{site.second.digest}"
        stale = site.reader("tess", mfa=False)
        assert (
            f'href="/mfa?next=/approvals/{site.second.digest.replace(":", "%3A")}"' in stale.open(place).text
        )
        answer = stale.submit(place, decision="approve", reason="kept while I prove it")
        assert (answer.status_code, "kept while I prove it" in answer.text) == (403, True)
        assert site.present().state is ReleaseState.PENDING
        assert site.reader("tess").submit(place, decision="approve", reason="proven").status_code == 303
        assert site.present().state is ReleaseState.APPROVED


def test_a_release_is_verified_here_and_its_files_elsewhere(site: Site) -> None:
    reader = site.reader("otto")
    place = "/releases/healthcare/2"
    assert "The package is whole and signed." in reader.submit(place, f"{place}/verify").text
    manifest, bundle = (reader.open(f"{place}/{name}") for name in ("manifest.json", "release.sigstore.json"))
    assert manifest.headers["content-disposition"].startswith("attachment")
    stated = verify_bundle(
        site.services.keys,
        bundle.content,
        predicate_type=RELEASE_PREDICATE,
        subject_digest=site.second.digest,
    )
    assert stated["packageId"] == PRODUCT
    assert json.loads(manifest.content)["number"] == 2


def test_a_damaged_package_is_neither_verified_nor_approved(own: Site) -> None:
    directory = release_directory(own.services.releases, PRODUCT, 2)
    payload = next((directory / "payload").iterdir())
    payload.chmod(0o600)
    payload.write_bytes(payload.read_bytes()[:-1] + b"!")
    place = "/releases/healthcare/2"
    broken = own.reader("sam").submit(place, f"{place}/verify")
    assert (broken.status_code, "is not the one that was signed" in broken.text) == (500, True)
    refused = own.reader("tess").submit(
        f"/approvals/{own.second.digest}", decision="approve", reason="looks fine"
    )
    assert refused.status_code == 500
    assert own.present().state is ReleaseState.PENDING


def test_production_goes_back_from_the_page_for_a_reason(own: Site) -> None:
    own.reader("tess").submit(f"/approvals/{own.second.digest}", decision="approve", reason="fine")
    deploy(own.services, own.built.product)
    place = "/releases/healthcare"
    assert "rollback" not in own.reader("ana").open(place).text
    answer = own.reader("sam").submit(place, f"{place}/rollback", reason="costs are wrong")
    assert answer.status_code == 303
    assert own.services.target.base(PRODUCT) == own.first.digest
    assert "Production is release 1 again." in own.reader("sam").open(answer.headers["location"]).text


def test_the_audit_log_is_searched_read_and_proved(own: Site) -> None:
    reader = own.reader("otto")
    own.services.keys.lifecycle.rotate("digest", actor="admin")
    size = own.services.audit.size()
    found = Elements(reader.open("/audit?action=release.register&principal=dana").text).text
    assert "release.register" in found
    assert "dana" in found
    assert "sha256:" in found
    assert "No entry" in reader.open("/audit?action=release.register&principal=sam").text
    assert "No entry" in reader.open("/audit?until=2001-01-01").text
    read = [entry.body for entry in own.services.audit.entries(size)]
    assert [body["detail"]["action"] for body in read].count("audit_read") == 3
    answer = reader.submit("/audit/5", "/audit/5/proof")
    proof = InclusionProof.from_json(json.loads(answer.content))
    origin = proof.checkpoint.splitlines()[0]
    proof.verify(origin=origin, key=NoteKey(origin, own.services.keys.log_signer(origin).public_key))
    assert json.loads(proof.entry)["seq"] == 5


def test_older_entries_are_pages_away(site: Site) -> None:
    reader = site.reader("otto")
    seen: set[int] = set()
    path, pages_read = "/audit?text=healthcare", 0
    while path and pages_read < 50:
        text = reader.open(path).text
        seen |= {int(part.partition('"')[0]) for part in text.split('href="/audit/')[1:]}
        after = text.partition("before=")[2].partition('"')[0]
        path, pages_read = (f"/audit?text=healthcare&before={after}" if after else ""), pages_read + 1
    expected = {entry.seq for entry in site.services.audit.backwards("healthcare")}
    assert seen == expected


def test_the_log_is_verified_with_a_checkpoint_that_was_kept(own: Site) -> None:
    kept = own.services.audit.checkpoint()
    answer = own.reader("otto").submit("/audit", "/audit/verify", checkpoint=kept.replace("\n", "\r\n"))
    assert "the one you gave among them" in answer.text
    origin, size, root, rest = kept.split("\n", 3)
    other = "\n".join([origin, size, ("B" if root[0] == "A" else "A") + root[1:], rest])
    forged = own.reader("otto").submit("/audit", "/audit/verify", checkpoint=other)
    assert forged.status_code == 500


def test_who_can_do_what_is_answered_with_the_rule(site: Site) -> None:
    text = Elements(
        site.reader("otto").open("/access/explain?action=release_approve&product=healthcare").text
    ).text
    assert "tess may steward-approves" in text
    assert "dana may not forbid-self-approval" in text
    assert "admin may not forbid-admin-approval" in text

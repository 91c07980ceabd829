"""A provider, or somebody in its place, that says anything: only the one right answer is a login."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgi_browser import Browser
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hostile_provider import CLIENT, SUBJECT, HostileProvider, hostile_provider
from identity_site import IdentitySite, make_home
from joserfc import jws, jwt
from joserfc.jwk import OctKey, RSAKey
from shelf import REFERENCE, RemoteShelf

from secure_platform.control.database import utc_now
from secure_platform.errors import UsageError
from secure_platform.site import OidcSettings
from secure_platform.web.oidc import ASKED_COOKIE
from secure_platform.web.oidc_provider import Provider, require_safe
from secure_platform.web.oidc_token import ProviderRefusedError

OTHER = RSAKey.generate_key(2048, {"kid": "k1"})
NOW = int(utc_now().timestamp())
DAY = 86_400


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    with hostile_provider() as started:
        yield started


def settings_for(provider: HostileProvider, **changes: Any) -> dict[str, Any]:
    oidc = {
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "roles": {"stewards": ["data_steward"], "engineers": ["data_engineer"]},
        "approver_groups": {"stewards": "clinical-data"},
    }
    return {"identity": {"oidc": {**oidc, **changes}}}


@pytest.fixture
def site(tmp_path: Path, empty: Path, provider: HostileProvider) -> Iterator[IdentitySite]:
    opened = IdentitySite(tmp_path, empty, **settings_for(provider))
    yield opened
    opened.close()


@pytest.fixture
def browser(site: IdentitySite) -> Browser:
    return site.browser()


def is_in(browser: Browser) -> bool:
    return browser.get("/whoami").status_code == 200


def test_the_right_answer_logs_in_with_roles_groups_and_second_factor(
    browser: Browser, provider: HostileProvider
) -> None:
    answer = provider.log_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/whoami")
    shown = browser.get("/whoami").json()
    assert shown["name"] == "ana"
    assert shown["roles"] == ["data_steward"]
    assert shown["groups"] == ["clinical-data"]
    assert (shown["method"], shown["mfa"]) == ("oidc", True)
    assert provider.verifier_fits()
    assert provider.asked[-1]["client_id"] == CLIENT
    assert ASKED_COOKIE not in browser.cookies


def test_what_is_asked_has_pkce_state_nonce_and_the_age_of_the_login(
    browser: Browser, provider: HostileProvider
) -> None:
    asked = provider.begin(browser)
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "http://127.0.0.1:3000/oidc/callback"
    assert asked["max_age"] == str(12 * 3600)
    assert all(len(asked[name]) >= 43 for name in ("state", "nonce", "code_challenge"))
    again = provider.begin(browser)
    assert all(asked[name] != again[name] for name in ("state", "nonce", "code_challenge"))


def unsigned(provider: HostileProvider, _: str) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'kid': 'k1'})}.{part(provider.said())}."


def with_the_public_key_as_secret(provider: HostileProvider, _: str) -> str:
    public = provider.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return jwt.encode(
        {"alg": "HS256", "kid": "k1"},
        provider.said(),
        OctKey.import_key(base64.urlsafe_b64encode(public).decode()),
        algorithms=["HS256"],
    )


def with_another_key_of_that_name(provider: HostileProvider, _: str) -> str:
    return jwt.encode({"alg": "RS256", "kid": "k1"}, provider.said(), OTHER)


def with_its_key_in_its_header(provider: HostileProvider, _: str) -> str:
    header = {"alg": "RS256", "jwk": OTHER.as_dict(private=False)}
    return jwt.encode(header, provider.said(), OTHER)


def with_a_key_address_in_its_header(provider: HostileProvider, _: str) -> str:
    header = {"alg": "RS256", "kid": "k1", "jku": f"{provider.issuer}/evil"}
    return jwt.encode(header, provider.said(), OTHER)


def without_key_name_when_there_are_two(provider: HostileProvider, _: str) -> str:
    provider.published.append(dict(OTHER.as_dict(private=False)) | {"kid": "k2"})
    return jwt.encode({"alg": "RS256"}, provider.said(), provider.key)


def with_changed_claims(provider: HostileProvider, _: str) -> str:
    header, _, signature = provider.sign(provider.said()).split(".")
    claims = json.dumps({**provider.said(), "groups": ["engineers"]}).encode()
    return f"{header}.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.{signature}"


def cut_off(provider: HostileProvider, _: str) -> str:
    return provider.sign(provider.said())[:-4]


def no_token_at_all(_: HostileProvider, __: str) -> str:
    return "no.token.atall"


def claims_that_are_a_list(provider: HostileProvider, _: str) -> str:
    return jws.serialize_compact({"alg": "RS256", "kid": "k1"}, b"[1, 2]", provider.key)


@pytest.mark.parametrize(
    "token",
    [
        unsigned,
        with_the_public_key_as_secret,
        with_another_key_of_that_name,
        with_its_key_in_its_header,
        with_a_key_address_in_its_header,
        without_key_name_when_there_are_two,
        with_changed_claims,
        cut_off,
        no_token_at_all,
        claims_that_are_a_list,
    ],
)
def test_a_token_that_the_provider_did_not_sign_is_refused(
    site: IdentitySite,
    browser: Browser,
    provider: HostileProvider,
    token: Callable[[HostileProvider, str], str],
) -> None:
    provider.token = token
    answer = provider.log_in(browser)
    assert answer.status_code == 403
    assert "cannot be used" in answer.text
    assert not is_in(browser)
    assert site.services.principals.get("ana") is None
    assert site.recorded("login.refuse")[0]["detail"]["reason"] in {"signature", "algorithm"}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"aud": [CLIENT, "another client"], "azp": CLIENT},
        {"aud": []},
        {"aud": None},
        {"aud": CLIENT.upper()},
        {"azp": "another client"},
        {"nonce": "another nonce"},
        {"nonce": None},
        {"nonce": ""},
        {"nonce": 7},
        {"exp": NOW - 120},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": NOW + DAY},
        {"iat": NOW - 3600},
        {"iat": None},
        {"nbf": NOW + DAY},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": 7},
        {"sub": ["a"]},
        {"auth_time": NOW - 13 * 3600},
        {"auth_time": "yesterday"},
        {"auth_time": True},
        {"auth_time": 10**30},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"amr": "otp"},
    ],
    ids="-".join,
)
def test_a_token_that_was_not_made_for_this_login_is_refused(
    site: IdentitySite, browser: Browser, provider: HostileProvider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    assert provider.log_in(browser).status_code == 403
    assert not is_in(browser)
    assert site.services.principals.get("ana") is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": "http://evil.example/authorize"},
        {"token_endpoint": "http://evil.example/token"},
        {"token_endpoint": None},
        {"token_endpoint": 7},
        {"jwks_uri": "ftp://evil.example"},
        {"end_session_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "file:///etc/passwd"},
        {"code_challenge_methods_supported": ["plain"]},
        {"id_token_signing_alg_values_supported": ["none", "HS256"]},
        {"response_types_supported": ["token"]},
    ],
    ids=str,
)
def test_a_provider_that_describes_itself_otherwise_is_not_used(
    browser: Browser, provider: HostileProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    answer = browser.get("/oidc/start")
    assert answer.status_code == 403
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", (500, b"")),
        ("/.well-known/openid-configuration", (200, b"<html>")),
        ("/.well-known/openid-configuration", (200, b"[]")),
        ("/.well-known/openid-configuration", (302, b"https://evil.example/")),
        ("/token", (200, b"{}")),
        ("/token", (200, b'{"id_token": 1, "access_token": 2}')),
        ("/token", (400, b'{"error": "invalid_grant"}')),
        ("/token", (302, b"https://evil.example/")),
        ("/token", (200, b"[" * 100_000)),
        ("/token", (200, b" " * (2 << 20))),
        ("/jwks", (200, b"{}")),
        ("/jwks", (200, b'{"keys": [1]}')),
        ("/jwks", (200, b'{"keys": [{"kty": "RSA"}]}')),
        ("/jwks", (404, b"")),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(
    browser: Browser, provider: HostileProvider, path: str, answer: tuple[int, bytes]
) -> None:
    provider.answers[path] = answer
    start = browser.get("/oidc/start")
    if start.status_code == 303:
        assert provider.log_in(browser).status_code == 403
    else:
        assert start.status_code == 403
    assert not is_in(browser)


def test_a_state_of_another_login_is_refused(browser: Browser, provider: HostileProvider) -> None:
    for state in ("", "x", "ü"):
        assert provider.log_in(browser, state=state).status_code == 403
    first = provider.begin(browser)["state"]
    assert provider.log_in(browser, state=first).status_code == 403
    assert not is_in(browser)


def test_an_answer_in_another_browser_is_refused(
    site: IdentitySite, browser: Browser, provider: HostileProvider
) -> None:
    asked = provider.begin(browser)
    victim = site.browser()
    answer = victim.get("/oidc/callback", params={"code": "a code", "state": asked["state"]})
    assert answer.status_code == 403
    assert not is_in(victim)
    assert not provider.asked


def test_an_answer_counts_once_even_with_its_cookie_kept(
    site: IdentitySite, browser: Browser, provider: HostileProvider
) -> None:
    asked = provider.begin(browser)
    kept = dict(browser.cookies)
    answer = {"code": "a code", "state": asked["state"]}
    assert browser.get("/oidc/callback", params=answer).status_code == 303
    thief = site.browser()
    for name, value in kept.items():
        thief.cookies.set(name, value, domain="127.0.0.1", path="/")
    assert thief.get("/oidc/callback", params=answer).status_code == 403
    assert not is_in(thief)
    assert len(provider.asked) == 1


def test_a_cookie_of_ones_own_making_is_refused(browser: Browser, provider: HostileProvider) -> None:
    asked = provider.begin(browser)
    genuine = browser.cookies[ASKED_COOKIE]
    for forged in ("", "x", genuine[:-8] + "AAAAAAAA", genuine[:20], "A" * 4000, "%C3%BC"):
        browser.cookies.clear()
        browser.cookies.set(ASKED_COOKIE, forged, domain="127.0.0.1", path="/")
        answer = browser.get("/oidc/callback", params={"code": "a code", "state": asked["state"]})
        assert answer.status_code == 403
    assert not provider.asked


@pytest.mark.parametrize(
    "answer", ["code=a&code=b", "", "error=access_denied", "error=access_denied&code=a", "code=a&iss=x&iss=y"]
)
def test_an_answer_without_one_code_is_refused(
    browser: Browser, provider: HostileProvider, answer: str
) -> None:
    state = provider.begin(browser)["state"]
    assert browser.get(f"/oidc/callback?state={state}&{answer}").status_code == 403
    assert not is_in(browser)


@pytest.mark.parametrize(
    ("promised", "said", "status"),
    [
        (None, {}, 303),
        (None, {"iss": "https://other.example"}, 403),
        (True, {}, 403),
        (True, {"iss": "https://other.example"}, 403),
        (True, {"iss": ""}, 403),
    ],
)
def test_an_answer_of_a_mixed_up_issuer_is_refused(
    browser: Browser,
    provider: HostileProvider,
    promised: bool | None,  # noqa: FBT001 parametrized
    said: dict[str, str],
    status: int,
) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": promised}
    assert provider.log_in(browser, **said).status_code == status
    assert provider.log_in(browser, iss=provider.issuer).status_code == 303


@pytest.mark.parametrize(
    "claims", [{"amr": ["pwd"]}, {"amr": None}, {"amr": []}, {"auth_time": None}, {"acr": "mfa"}], ids=str
)
def test_a_second_factor_that_the_provider_does_not_say_is_none(
    browser: Browser, provider: HostileProvider, claims: dict[str, Any]
) -> None:
    provider.claims = {"amr": ["pwd"], **claims}
    provider.log_in(browser)
    assert browser.get("/whoami").json()["mfa"] is False


def test_a_second_factor_is_as_old_as_the_login_at_the_provider(
    browser: Browser, provider: HostileProvider
) -> None:
    provider.claims = {"auth_time": NOW - 7200}
    provider.log_in(browser)
    proven = datetime.fromisoformat(browser.get("/whoami").json()["mfa_at"])
    assert proven.timestamp() == NOW - 7200


def test_a_group_that_the_settings_do_not_name_means_nothing(
    browser: Browser, provider: HostileProvider
) -> None:
    provider.claims = {"groups": ["cleaners", "admin", "data_steward", {"a": 1}, 7]}
    provider.log_in(browser)
    shown = browser.get("/whoami").json()
    assert (shown["roles"], shown["groups"]) == ([], [])


def test_who_leaves_a_group_loses_its_role_at_the_next_login(
    site: IdentitySite, browser: Browser, provider: HostileProvider
) -> None:
    provider.log_in(browser)
    provider.claims = {"groups": ["engineers"], "preferred_username": "renamed"}
    provider.log_in(site.browser())
    shown = browser.get("/whoami").json()
    assert (shown["name"], shown["roles"], shown["groups"]) == ("ana", ["data_engineer"], [])


@pytest.mark.parametrize("name", ["admin", "ADMIN", "service:deployer", "anonymous", "service:new"])
def test_nobody_takes_over_a_name_that_is_somebody_elses(
    site: IdentitySite, browser: Browser, provider: HostileProvider, name: str
) -> None:
    before = site.services.principals.get(name.lower())
    provider.claims = {"preferred_username": name, "email": None, "groups": ["stewards"]}
    provider.log_in(browser)
    if is_in(browser):
        assert browser.get("/whoami").json()["name"].startswith("oidc:")
    assert site.services.principals.get(name.lower()) == before


def test_an_address_that_was_not_verified_names_nobody(
    site: IdentitySite, browser: Browser, provider: HostileProvider
) -> None:
    provider.claims = {"preferred_username": None, "email": "chief@example.org", "email_verified": False}
    assert provider.log_in(browser).status_code == 303
    assert browser.get("/whoami").json()["name"].startswith("oidc:")
    assert site.services.principals.get("chief@example.org") is None


def test_another_person_of_the_same_name_is_refused(
    site: IdentitySite, browser: Browser, provider: HostileProvider
) -> None:
    provider.log_in(browser)
    provider.claims = {"sub": SUBJECT + "0"}
    stranger = site.browser()
    assert provider.log_in(stranger).status_code == 403
    assert not is_in(stranger)


def test_who_was_disabled_here_stays_out(
    site: IdentitySite, browser: Browser, provider: HostileProvider
) -> None:
    provider.log_in(browser)
    site.services.principals.disable("ana", actor="admin")
    assert provider.log_in(browser).status_code == 403
    assert not is_in(browser)


def test_a_new_key_of_the_provider_is_looked_up_and_unknown_ones_not_again_and_again(
    browser: Browser, provider: HostileProvider
) -> None:
    provider.log_in(browser)
    assert provider.looked_up == 1
    provider.header = {"kid": "unknown"}
    for _ in range(5):
        assert provider.log_in(browser).status_code == 403
    assert provider.looked_up == 1


def test_groups_that_are_not_in_the_token_come_from_userinfo_of_the_same_person(
    browser: Browser, provider: HostileProvider
) -> None:
    provider.metadata = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
    provider.claims = {"groups": None}
    provider.userinfo = {"sub": "somebody else", "groups": ["stewards"]}
    assert provider.log_in(browser).status_code == 403
    provider.userinfo = {"sub": SUBJECT, "groups": ["stewards"], "iss": "https://evil.example"}
    assert provider.log_in(browser).status_code == 303
    assert browser.get("/whoami").json()["roles"] == ["data_steward"]


def prove_again(browser: Browser, provider: HostileProvider, **claims: Any) -> int:
    asked = provider.begin(browser, "/oidc/start?again=1&next=/whoami")
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    provider.claims = claims
    answer = browser.get("/oidc/callback", params={"code": "a code", "state": asked["state"]})
    return answer.status_code


def test_a_second_factor_is_proven_again_by_logging_in_again_at_the_provider(
    browser: Browser, provider: HostileProvider
) -> None:
    provider.claims = {"amr": ["pwd"]}
    provider.log_in(browser)
    before = browser.get("/whoami").json()
    assert not before["mfa"]
    assert "/oidc/start?again=1" in browser.get("/mfa?next=/whoami").text
    assert prove_again(browser, provider) == 303
    after = browser.get("/whoami").json()
    assert after["mfa"]
    assert after["session"] == before["session"]


@pytest.mark.parametrize(
    "claims",
    [{"auth_time": None}, {"auth_time": NOW - 600}, {"amr": ["pwd"]}, {"sub": SUBJECT + "1"}],
    ids="-".join,
)
def test_a_session_of_the_provider_is_no_proof_again(
    browser: Browser, provider: HostileProvider, claims: dict[str, Any]
) -> None:
    provider.claims = {"amr": ["pwd"]}
    provider.log_in(browser)
    assert prove_again(browser, provider, **{"preferred_username": "eve", **claims}) == 403
    assert not browser.get("/whoami").json()["mfa"]


def test_signing_out_shows_the_way_out_of_the_provider(browser: Browser, provider: HostileProvider) -> None:
    provider.log_in(browser)
    answer = browser.send_form("/mfa", to="/logout")
    assert answer.status_code == 200
    assert f'href="{provider.issuer}/end?client_id={CLIENT}&amp;post_logout' in answer.text
    assert not is_in(browser)


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example.org",
        "ftp://x",
        "login.example.org",
        "https://x?y=z",
        "http://localhost.evil.org",
    ],
)
def test_a_provider_without_tls_is_no_setting(issuer: str) -> None:
    with pytest.raises(UsageError, match="https"):
        require_safe(OidcSettings(issuer=issuer, client_id="x"))


def test_a_group_that_gives_a_role_that_does_not_exist_is_no_setting(
    tmp_path: Path, empty: Path, provider: HostileProvider
) -> None:
    with pytest.raises(UsageError, match="data_stewart"):
        IdentitySite(tmp_path, empty, **settings_for(provider, roles={"stewards": ["data_stewart"]}))


def test_a_confidential_client_shows_its_secret_in_the_header_only(
    tmp_path: Path, empty: Path, provider: HostileProvider
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    site = IdentitySite(tmp_path, empty, **settings_for(provider, client_secret=f"secret://file/{secret}"))
    assert provider.log_in(site.browser()).status_code == 303
    assert "client_secret" not in provider.asked[-1]
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    site.close()
    posting = IdentitySite(
        tmp_path / "post", empty, **settings_for(provider, client_secret=f"secret://file/{secret}")
    )
    assert provider.log_in(posting.browser()).status_code == 303
    assert provider.asked[-1]["client_secret"] == "s3cret"
    posting.close()


def test_a_client_whose_secret_was_changed_shows_the_newest_one(provider: HostileProvider) -> None:
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    provider.secret = "two"
    shelf = RemoteShelf("one")
    secrets = shelf.remembered_by()
    settings = settings_for(provider, client_secret=REFERENCE)["identity"]["oidc"]
    ours = Provider(OidcSettings.model_validate(settings), secrets, longest=timedelta(hours=1))
    with pytest.raises(ProviderRefusedError):
        ours._tokens("code", "verifier", "https://here.example/callback")
    shelf.value = "two"
    shelf.later()
    assert "id_token" in ours._tokens("code", "verifier", "https://here.example/callback")
    assert [body["client_secret"] for body in provider.asked] == ["one", "one", "two"]

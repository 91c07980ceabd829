"""Whatever data, people and browsers are called, a page stays the page it is."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from urllib.parse import quote, urlencode

import httpx
import pytest
from built_home import PRODUCT, Built
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pages_support import Elements, Reader, Site, governed, pages, person

from secure_platform.access.resources import PlatformResource
from secure_platform.canonical import is_unicode
from secure_platform.orchestration.steps.decide import approve
from secure_platform.web.rendering import TEMPLATES

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}</textarea></title>${9*9}"
EXECUTABLE = frozenset({"script", "iframe", "object", "embed", "base", "style", "math", "img"})
SEARCHES = ("/audit", "/data-map", "/access/explain", "/releases/healthcare/compare", "/releases/healthcare")
FIELDS = (
    *("q", "text", "action", "subject", "principal", "since", "until", "before", "product", "purpose"),
    *("old", "new", "done", "decided"),
)


@pytest.fixture(scope="module")
def site(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    copy = built_once.copy(tmp_path_factory.mktemp("hostile") / "built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(copy.home))
        services, _, _ = governed(copy)
        with pages(services) as app:
            yield Site.of(copy, app, services)


@cache
def _cookies(site: Site) -> httpx.Cookies:
    return Reader(site.app, site.services, "otto").cookies


def harmless(text: str) -> Elements:
    """The page, in which nothing can run but our own file, and no element has a handler or a style."""
    page = Elements(text)
    for tag, names in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in names), (tag, names)
        if tag in EXECUTABLE:
            assert (tag, names) in {("script", ("src", "defer")), ("img", ("src", "alt", "width", "height"))}
    assert [tag for tag, _ in page.elements].count("script") == 1
    return page


def test_no_template_lets_anything_through_unescaped() -> None:
    for file in sorted(TEMPLATES.glob("*.html")):
        text = file.read_text()
        assert not re.search(r"\|\s*safe|autoescape|Markup|<style|javascript:|\son[a-z]+=", text), file.name
        assert not re.search(r"<script(?! src=)", text), file.name
        # A value in an attribute stands in quotes.
        assert not re.search(r"\s[a-z-]+=\{\{", text), file.name


def test_reasons_labels_and_browsers_are_shown_as_text(site: Site) -> None:
    services, base = site.services, site.first.digest
    tess, sam = person(services, "tess"), person(services, "sam")
    approve(services, site.second.digest, tess, reason=HOSTILE, base=base)
    services.tokens.issue("tess", actor="admin", label=HOSTILE)
    services.sessions.open(tess, method="password", address="127.0.0.1", client=HOSTILE)
    services.freezes.set(sam, PlatformResource(), reason=HOSTILE)
    readers = {name: Reader(site.app, services, name) for name in ("tess", "admin")}
    for name, path in (
        ("tess", f"/approvals/{site.second.digest}"),
        ("tess", "/account"),
        ("admin", "/access"),
        ("admin", "/access/principals/tess"),
    ):
        assert "<script>alert(1)</script>" in harmless(readers[name].open(path).text).text, path


def test_a_refused_form_shows_what_was_written_as_text(site: Site) -> None:
    admin = Reader(site.app, site.services, "admin")
    refused = admin.submit("/access", "/access/principals", name=HOSTILE, groups=HOSTILE)
    assert refused.status_code == 400
    harmless(refused.text)
    unlabelled = admin.submit("/account", "/account/tokens", label=HOSTILE, days=HOSTILE, product=HOSTILE)
    assert unlabelled.status_code == 400
    harmless(unlabelled.text)
    place = f"/approvals/{site.second.digest}"
    undecided = Reader(site.app, site.services, "sam").submit(place, decision=HOSTILE, reason=HOSTILE)
    assert undecided.status_code == 400
    harmless(undecided.text)


def test_data_may_have_any_name(site: Site, naughty_strings: list[str]) -> None:
    names = [name for name in dict.fromkeys([HOSTILE, *naughty_strings]) if is_unicode(name)]
    known = site.built.product
    patients = known.contracts["patients"]
    dataset = HOSTILE.replace("/", "")
    columns = tuple(replace(patients.columns[1], name=name, description=name) for name in names)
    named = replace(
        known, description=HOSTILE, contracts={dataset: replace(patients, dataset=dataset, columns=columns)}
    )
    services = site.built.services
    services.products = {known.name: named}
    with pages(services) as app:
        reader = Reader(app, services, "ana")
        page = harmless(reader.open(f"/data-map/{PRODUCT}/{quote(dataset)}").text)
        harmless(reader.open(f"/data-map/{PRODUCT}").text)
        harmless(reader.open(f"/data-map?q={quote(HOSTILE)}").text)
    assert [tag for tag, _ in page.elements].count("tr") == len(names) + 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(SEARCHES),
    query=st.dictionaries(
        st.sampled_from(FIELDS), st.one_of(st.text(max_size=40), st.just(HOSTILE)), max_size=4
    ),
)
def test_no_search_breaks_a_page(site: Site, path: str, query: Mapping[str, str]) -> None:
    reader = Reader(site.app, site.services, None)
    reader.cookies = _cookies(site)
    answer = reader.open(f"{path}?{urlencode(query, errors='replace')}")
    assert answer.status_code in {200, 400, 409, 422}
    harmless(answer.text)

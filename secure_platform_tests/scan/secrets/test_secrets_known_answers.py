"""Every rule finds what it is for, and not what only begins like it."""

import pytest
from secret_samples import ENGINE, compose, sample

from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.findings import MINIMUM_CONFIDENCE
from secure_platform.scan.secrets.rules import SecretRule
from secure_platform.taxonomy.info_types import info_types

RULES = own_rules().rules
# Two seeds, so that a rule with alternatives is not judged by one of them.
SEEDS = (0, 1)
# Composed longer than the shortest, or of several lengths: with one character less they are whole.
OF_MANY_LENGTHS = {
    *("adyen-api-key", "github-installation-token", "gitlab-pipeline-trigger", "sentry-org-token"),
    *("slack-legacy-token", "tavily-api-key"),
}
FIXED = [rule.id for rule in RULES.values() if "vendor" in rule.tags and rule.id not in OF_MANY_LENGTHS]


def found(text: bytes) -> dict[str, bytes]:
    return {hit.rule.id: hit.secret for hit in ENGINE.hits(text, "a/file.txt")}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_finds_its_secret(name: str) -> None:
    samples = [sample(RULES[name], seed) for seed in SEEDS]
    assert all(samples)
    assert all(found(text)[name] in text for text in samples)


@pytest.mark.parametrize("name", RULES)
def test_a_secret_that_is_cut_off_is_none(name: str) -> None:
    for seed in SEEDS:
        text = sample(RULES[name], seed)
        secret = found(text)[name]
        place = text.index(secret)
        for rest in (secret[:1], b""):
            hits = ENGINE.hits(text.replace(secret, rest) + b"\n;\n", "a/file.txt")
            assert not [hit for hit in hits if hit.rule.id == name and hit.start <= place <= hit.end]


@pytest.mark.parametrize("name", FIXED)
def test_one_character_less_than_the_shortest_is_none(name: str) -> None:
    for seed in SEEDS:
        text = sample(RULES[name], seed)
        secret = found(text)[name]
        place = text.index(secret)
        hits = ENGINE.hits(text.replace(secret, secret[:-1]), "a/file.txt")
        assert not [hit for hit in hits if hit.rule.id == name and hit.start <= place <= hit.end]


@pytest.mark.parametrize("name", [rule.id for rule in RULES.values() if rule.keywords])
def test_a_keyword_is_part_of_what_the_rule_looks_for_or_stands_beside_it(name: str) -> None:
    rule = RULES[name]
    texts = [compose(rule, seed).lower() for seed in range(20)]
    assert all(any(word in text for word in rule.keywords) for text in texts)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_what_it_is_and_where_it_is_from(name: str) -> None:
    rule: SecretRule = RULES[name]
    assert rule.description
    assert rule.source or "vendor" not in rule.tags
    assert rule.info_type in info_types()
    assert {"format", "context", "generic", "weak"} & {*rule.tags}
    assert rule.keywords or rule.gate


def test_there_are_enough_rules() -> None:
    assert len(RULES) >= 400
    assert sum(rule.most >= MINIMUM_CONFIDENCE for rule in RULES.values()) >= 400


WORDS = """
password: str
password = None
password = os.environ["DB_PASSWORD"]
password = get_password(user)
api_key: ${API_KEY}
token = settings.token
secret = "{{ vault_secret }}"
passwords are hashed with argon2
the author of this key decision
https://example.org/path?page=2&sort=name
commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b
id 3f2504e0-4f89-41d3-9a0c-0305e82c3301
sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ
-----BEGIN CERTIFICATE-----
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ user@host
DB_PASSWORD=changeme
postgres://user:password@localhost/db
if password == other.password:
<input type="password" name="password" placeholder="Password">
def test_a_password_is_asked_for() -> None:
""".strip().splitlines()


@pytest.mark.parametrize("line", WORDS)
def test_ordinary_lines_are_clean(line: str) -> None:
    hits = ENGINE.hits(line.encode(), "a/file.py")
    assert [hit.rule.id for hit in hits if hit.confidence >= MINIMUM_CONFIDENCE] == []

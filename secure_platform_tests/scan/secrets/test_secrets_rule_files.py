"""Rule files of one's own: gitleaks' format, whole or refused."""

from pathlib import Path

import pytest

from secure_platform.errors import UsageError
from secure_platform.scan.secrets.document import OWN_RULES, load_rules, own_rules, parse_rules
from secure_platform.scan.secrets.engine import Engine

RULE = """
[[rules]]
id = "mine"
description = "A token of ours"
regex = '''(?i)\\bmine-([a-z0-9]{8})\\b'''
keywords = ["mine-"]
"""


def found(text: str, rules: str, path: str = "a/b.py") -> list[str]:
    return [hit.rule.id for hit in Engine(parse_rules(rules, "mine.toml")).hits(text.encode(), path)]


def test_a_rule_of_ones_own_stands_alone_or_beside_the_platform_s() -> None:
    assert found("MINE-abcd1234", RULE) == ["mine"]
    extended = parse_rules("[extend]\nuseDefault = true\n" + RULE, "mine.toml")
    assert len(extended.rules) == len(own_rules().rules) + 1


def test_every_rule_of_the_platform_keeps_what_a_rule_of_a_user_must() -> None:
    """The platform's own are compiled when they are needed; here each is, and checked as a user's file is."""
    strict = load_rules(OWN_RULES)
    assert strict.rules.keys() == own_rules().rules.keys()
    assert all(rule.regex is None or rule.regex.groups >= 0 for rule in own_rules().rules.values())


def test_a_rule_of_the_platform_can_be_changed_or_switched_off() -> None:
    text = """
[extend]
useDefault = true
disabledRules = ["github-pat"]
[[rules]]
id = "npm-token"
entropy = 7.5
"""
    rules = parse_rules(text, "mine.toml").rules
    assert "github-pat" not in rules
    assert rules["npm-token"].entropy == 7.5
    assert rules["npm-token"].regex_text == own_rules().rules["npm-token"].regex_text


def test_allow_lists_by_path_word_and_pattern() -> None:
    for allowed in ('paths = ["^a/"]', 'stopwords = ["ABCD"]', 'regexes = ["^abcd"]'):
        assert found("mine-abcd1234", RULE + f"[[rules.allowlists]]\n{allowed}\n") == []
    both = RULE + '[[rules.allowlists]]\ncondition = "AND"\npaths = ["^z/"]\nstopwords = ["abcd"]\n'
    assert found("mine-abcd1234", both) == ["mine"]
    assert found("mine-abcd1234", both, "z/b.py") == []


def test_a_rule_about_a_path_needs_no_content() -> None:
    rules = parse_rules("[[rules]]\nid = 'key-file'\npath = '''\\.p12$'''\n", "mine.toml")
    engine = Engine(rules)
    assert [rule.id for rule in engine.forbidden_path("keys/a.p12")] == ["key-file"]
    assert engine.forbidden_path("keys/a.txt") == []


def test_files_extend_each_other_to_a_depth(tmp_path: Path) -> None:
    for depth in range(4):
        extend = f"[extend]\npath = 'rules{depth + 1}.toml'\n"
        body = RULE.replace("mine", f"mine{depth}")
        (tmp_path / f"rules{depth}.toml").write_text(extend * (depth < 3) + body, encoding="utf-8")
    assert len(load_rules(tmp_path / "rules1.toml").rules) == 3
    with pytest.raises(UsageError, match="too far"):
        load_rules(tmp_path / "rules0.toml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id = ", "name = "),
        ('"mine"', '""'),
        ("keywords", "keyword"),
        ('["mine-"]', '"mine-"'),
        ("{8})", "{8}"),
        ("(?i)", "(?=a)"),
        ("\\bmine-([a-z0-9]{8})\\b", "x*"),
        ("keywords", "secretGroup = 2\nkeywords"),
        ("keywords", "entropy = 9\nkeywords"),
        ("keywords", "entropy = true\nkeywords"),
        ("keywords", "infoType = 'NOTHING'\nkeywords"),
        ("keywords", "skipReport = true\nkeywords"),
        ("regex", "commits = ['a']\nregex"),
        ("[[rules]]", "[[rule]]"),
        ("[[rules]]", "[extend]\nurl = 'https://example.org'\n[[rules]]"),
        ("[[rules]]", "[extend]\npath = 'other.toml'\n[[rules]]"),
        ("[[rules]]", "[extend]\ndisabledRules = ['nothing']\n[[rules]]"),
        ("[[rules]]", "[[allowlists]]\ntargetRules = ['nothing']\npaths = ['a']\n[[rules]]"),
        ("[[rules]]", "[[allowlists]]\ndescription = 'empty'\n[[rules]]"),
        ("[[rules]]", "[[rules]]\nid = 'mine'\nregex = 'abc'\n[[rules]]"),
        ("[[rules]]", "= ="),
    ],
)
def test_a_file_that_is_not_understood_is_refused_by_name(old: str, new: str) -> None:
    assert old in RULE
    with pytest.raises(UsageError, match=r"mine\.toml"):
        parse_rules(RULE.replace(old, new, 1), "mine.toml")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    for name in ("none.toml", "latin.toml"):
        with pytest.raises(UsageError, match=name):
            load_rules(tmp_path / name)


def test_a_keyword_that_begins_in_another_one_is_not_hidden_by_it() -> None:
    rules = """
[[rules]]
id = "first"
regex = '''abcd-([0-9]{8})'''
keywords = ["abcd"]
[[rules]]
id = "second"
regex = '''cdef-([0-9]{8})'''
keywords = ["cdef"]
"""
    assert found("abcdef-12345678", rules) == ["second"]

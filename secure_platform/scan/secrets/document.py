"""Rule files are gitleaks TOML, read whole or refused: a member that is skipped would be a rule that is off.

`[extend]` merges rules as gitleaks does: a rule that is there already takes the members that the extending
file states, its lists grow, and `disabledRules` leave. What needs the history of a repository (`commits`) or
another rule (`required`) is refused by name.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from secure_platform.errors import UsageError
from secure_platform.scan.secrets.linear import Deferred, Pattern, compile_pattern
from secure_platform.scan.secrets.members import Members
from secure_platform.scan.secrets.rules import GENERAL, Allowlist, RuleSet, SecretRule, Target
from secure_platform.taxonomy.info_types import info_types

OWN_RULES: Final = Path(__file__).with_name("rules.toml")
LONGEST_FILE: Final = 4 << 20
_DEPTH: Final = 2
_TOP: Final = frozenset({"title", "description", "minVersion", "extend", "rules", "allowlist", "allowlists"})
_EXTEND: Final = frozenset({"useDefault", "path", "disabledRules"})
_RULE: Final = frozenset(
    {
        "id",
        "infoType",
        "description",
        "source",
        "regex",
        "gate",
        "secretGroup",
        "entropy",
        "keywords",
        "path",
        "tags",
    }
    | {"allowlist", "allowlists"}
)
_ALLOWLIST: Final = frozenset(
    {"description", "condition", "paths", "regexes", "regexTarget", "stopwords", "targetRules", "targetTags"}
)
_TARGETS: Final[Mapping[str, Target]] = {"secret": "secret", "match": "match", "line": "line", "": "secret"}
_ALL_OF: Final = {"AND": True, "&&": True, "OR": False, "||": False, "": False}
_MOST_BITS: Final = 8

# The platform's own patterns are compiled when they are needed, for a test has compiled all of them.
Compiler = Callable[[str, str], Pattern]


@dataclass(frozen=True)
class _Stated:
    """A rule with the names of the members that its file states."""

    rule: SecretRule
    members: frozenset[str]


@cache
def own_rules() -> RuleSet:
    """The rules that come with the platform."""
    return _load(OWN_RULES, _DEPTH, Deferred)


def load_rules(path: Path) -> RuleSet:
    """Read a rule file and what it extends.

    Raises:
        UsageError: If anything in it is not understood or cannot run safely; names the rule and the member.
    """
    return _load(path, _DEPTH, compile_pattern)


def parse_rules(text: str, name: str) -> RuleSet:
    """Read rules that are no file; they may extend the platform's own, but no path."""
    return _rules(text, name, None, _DEPTH, compile_pattern)


def _load(path: Path, depth: int, compiled: Compiler) -> RuleSet:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{path.name} cannot be read as UTF-8 text", "Name a readable rule file.") from None
    if len(data) > LONGEST_FILE:
        raise UsageError(f"{path.name} is larger than {LONGEST_FILE >> 20} MiB", "Split the rules.")
    return _rules(text, path.name, path.parent, depth, compiled)


def _rules(text: str, name: str, folder: Path | None, depth: int, compiled: Compiler) -> RuleSet:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise UsageError(f"{name} is not TOML", "Correct its syntax.") from None
    top = Members(name, document, _TOP)
    base = _extended(top, folder, depth)
    stated = [_rule(name, body, compiled) for body in top.tables("rules")]
    _require_distinct(name, [each.rule.id for each in stated])
    rules = dict(base.rules)
    for each in stated:
        rules[each.rule.id] = _merged(rules.get(each.rule.id), each, name)
    ruleset = RuleSet(rules, (*base.allowlists, *_allowlists(top, name, compiled)))
    _require_known(name, ruleset)
    return ruleset


def _extended(top: Members, folder: Path | None, depth: int) -> RuleSet:
    extend = top.table("extend", _EXTEND)
    use_default, other = extend.flag("useDefault"), extend.text("path")
    if use_default and other:
        raise UsageError(f"{extend.culprit}: useDefault and path exclude each other", "Keep one of them.")
    base = RuleSet()
    if use_default:
        base = own_rules()
    elif other:
        if not depth or folder is None:
            raise UsageError(f"{extend.culprit}: path leads too far", f"Extend at most {_DEPTH} files deep.")
        base = _load(folder / other, depth - 1, compile_pattern)
    disabled = frozenset(extend.texts("disabledRules"))
    unknown = disabled - base.rules.keys()
    if unknown:
        raise UsageError(f"{extend.culprit}: disabledRules names no rule {min(unknown)}", "Correct the name.")
    return replace(base, rules={key: rule for key, rule in base.rules.items() if key not in disabled})


def _rule(name: str, body: Mapping[str, Any], compiled: Compiler) -> _Stated:
    members = Members(f"{name}: a rule without an id", body, _RULE, known=False)
    members = Members(f"{name}: rule {members.required('id')}", body, _RULE)
    regex, path = members.text("regex"), members.text("path")
    pattern = compiled(regex, f"{members.culprit}, regex") if regex else None
    group, entropy = members.whole("secretGroup"), members.number("entropy")
    members.require(group == 0 or 0 < group <= (pattern.groups if pattern else group), "secretGroup")
    members.require(0 <= entropy <= _MOST_BITS, "entropy")
    known = compiled is Deferred or pattern is None or not pattern.search(b"")
    members.require(known, "regex, which matches the empty text,")
    rule = SecretRule(
        id=members.required("id"),
        info_type=_info_type(members),
        description=members.text("description"),
        source=members.text("source"),
        regex=pattern,
        regex_text=regex,
        secret_group=group,
        entropy=entropy,
        keywords=tuple(word.lower().encode() for word in members.texts("keywords")),
        gate=_gate(members, compiled),
        path=compiled(path, f"{members.culprit}, path") if path else None,
        tags=members.texts("tags"),
        allowlists=_allowlists(members, members.culprit, compiled),
    )
    return _Stated(rule, frozenset(body))


def _merged(base: SecretRule | None, stated: _Stated, name: str) -> SecretRule:
    rule, members = stated.rule, stated.members
    if base is not None:
        rule = replace(
            base,
            info_type=rule.info_type if "infoType" in members else base.info_type,
            description=rule.description or base.description,
            source=rule.source or base.source,
            regex=rule.regex or base.regex,
            regex_text=rule.regex_text or base.regex_text,
            secret_group=rule.secret_group if "secretGroup" in members else base.secret_group,
            entropy=rule.entropy if "entropy" in members else base.entropy,
            gate=rule.gate or base.gate,
            path=rule.path or base.path,
            keywords=(*base.keywords, *rule.keywords),
            tags=(*base.tags, *rule.tags),
            allowlists=(*base.allowlists, *rule.allowlists),
        )
    if rule.regex is None and rule.path is None:
        raise UsageError(f"{name}: rule {rule.id} has neither regex nor path", "State what it looks for.")
    if rule.regex is not None and rule.secret_group and rule.secret_group > rule.regex.groups:
        raise UsageError(f"{name}: rule {rule.id}: secretGroup is no group", "Correct the number.")
    return rule


def _allowlists(members: Members, of: str, compiled: Compiler) -> tuple[Allowlist, ...]:
    """Both spellings: one `[allowlist]` table, as older files have it, and `[[allowlists]]`."""
    bodies: Iterable[Mapping[str, Any]] = members.tables("allowlists")
    single = members.raw("allowlist")
    if single is not None:
        members.require(isinstance(single, dict) and not bodies, "allowlist")
        bodies = [single]
    return tuple(_allowlist(Members(f"{of}, allowlist", body, _ALLOWLIST), compiled) for body in bodies)


def _allowlist(members: Members, compiled: Compiler) -> Allowlist:
    target, condition = members.text("regexTarget"), members.text("condition").upper()
    members.require(target in _TARGETS, "regexTarget")
    members.require(condition in _ALL_OF, "condition")
    found = Allowlist(
        description=members.text("description"),
        all_of=_ALL_OF[condition],
        paths=_patterns(members, "paths", compiled),
        regexes=_patterns(members, "regexes", compiled),
        stopwords=tuple(word.lower().encode() for word in members.texts("stopwords")),
        target=_TARGETS[target],
        rules=frozenset(members.texts("targetRules")),
        tags=frozenset(members.texts("targetTags")),
    )
    members.require(bool(found.paths or found.regexes or found.stopwords), "paths, regexes and stopwords")
    return found


def _info_type(members: Members) -> str:
    name = members.text("infoType") or GENERAL
    members.require(name in info_types(), "infoType")
    return name


def _gate(members: Members, compiled: Compiler) -> str:
    gate = members.text("gate")
    known = compiled is Deferred or not gate
    members.require(known or not compile_pattern(gate, f"{members.culprit}, gate").search(b""), "gate")
    return gate


def _patterns(members: Members, key: str, compiled: Compiler) -> Pattern | None:
    """One pattern for all of them, each compiled alone before so that an error is about it."""
    texts = members.texts(key)
    for text in texts:
        compiled(text, f"{members.culprit}, {key}")
    union = "|".join(f"(?:{text})" for text in texts)
    return compiled(union, f"{members.culprit}, {key}") if union else None


def _require_distinct(name: str, ids: list[str]) -> None:
    twice = {each for each in ids if ids.count(each) > 1}
    if twice:
        raise UsageError(f"{name}: rule {min(twice)} is there twice", "Give each rule its own id.")


def _require_known(name: str, ruleset: RuleSet) -> None:
    for allowlist in ruleset.allowlists:
        unknown = allowlist.rules - ruleset.rules.keys()
        if unknown:
            raise UsageError(f"{name}: targetRules names no rule {min(unknown)}", "Correct the name.")

"""What changed in the dbt SQL, tests and variables that a release was built with, in sentences.

A test that is gone or decides differently, and a variable that changed, may let out what the earlier release
held back, even if the rows in production are the same. They are reported separately from other changes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_JUDGES_OTHERWISE: Final = {
    "arguments": "other arguments",
    "conditions": "other conditions of failure",
    "sql": "another text",
    "compiled": "other SQL when it runs",
}


def check_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Tests that are gone or changed, and variables that changed."""
    before, after = old["tests"], new["tests"]
    for name in sorted(before):
        if name not in after:
            yield f"{name}: the test is gone."
        elif before[name] != after[name]:
            yield f"{name}: {_test(before[name], after[name])}."
    for name in sorted(old["vars"].keys() | new["vars"].keys()):
        was, is_now = (side["vars"].get(name, "not set") for side in (old, new))
        if was != is_now:
            yield f"The variable {name} is {is_now} instead of {was}."


def sql_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Models and macros that came, went or changed, and tests that came."""
    for kind, member in (("model", "models"), ("macro", "macros")):
        before, after = old[member], new[member]
        for name in sorted(before.keys() | after.keys()):
            if name not in before:
                yield f"{name}: new {kind}."
            elif name not in after:
                yield f"{name}: the {kind} is gone."
            elif before[name] != after[name]:
                yield f"{name}: {_sql(before[name], after[name])}."
    for name in sorted(new["tests"].keys() - old["tests"].keys()):
        yield f"{name}: new test."


def _test(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    if old["severity"] != new["severity"]:
        return f"the test's severity is {new['severity']} instead of {old['severity']}"
    changed = [words for member, words in _JUDGES_OTHERWISE.items() if old[member] != new[member]]
    return f"the test changes: it has {', '.join(changed)}"


def _sql(old: Any, new: Any) -> str:
    rewritten = isinstance(old, str) or old["sql"] != new["sql"]
    return "its SQL changes" if rewritten else "the same text runs as other SQL"

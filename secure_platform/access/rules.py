"""The policies in force are read once, validated against the schema as a whole, and named by one digest.

A policy that does not fit the schema (a misspelt attribute, role or action) would never apply, so it is
refused at load, as is a policy without a name of its own: decisions could not say which rule they followed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import cedarpy

from secure_platform import canonical
from secure_platform.errors import ContractError

POLICIES: Final = Path(__file__).parent / "policies"
SCHEMA_FILE: Final = POLICIES / "schema.cedarschema"
POLICY_FILE: Final = POLICIES / "platform.cedar"
MOST_RULES: Final = 4
"""How many texts of policies are kept parsed: those in force, and those that somebody tries."""


class PolicySets:
    """Policies by what they can say something about: most of them name one action, and say nothing of others.

    Args:
        policies: All of them, in Cedar's JSON by their ids.
    """

    def __init__(self, policies: Mapping[str, Any]) -> None:
        self._policies = policies
        self._parsed: dict[str, cedarpy.PolicySet] = {}

    def about(self, action: str) -> cedarpy.PolicySet:
        """All but those whose head is `action ==` another one; parsed when it is first asked about."""
        parsed = self._parsed.get(action)
        if parsed is None:
            about = {name: each for name, each in self._policies.items() if _is_about(each, action)}
            known = {"staticPolicies": about, "templates": {}, "templateLinks": []}
            parsed = self._parsed[action] = cedarpy.PolicySet.from_json_str(json.dumps(known))
        return parsed


@dataclass(frozen=True)
class PolicyRules:
    """Parsed policies.

    Attributes:
        schema: Every policy, entity and request is checked against it.
        policies: All files together.
        fixes: What a caller that a rule refuses can do, by the rule's @id.
        digest: Of schema and policies, `sha256:<64 hex>`.
    """

    schema: cedarpy.Schema
    policies: PolicySets
    fixes: Mapping[str, str]
    digest: str


def load_rules(extra: Path | None = None) -> PolicyRules:
    """Read our policies and those of a further folder.

    Raises:
        ContractError: If a file is missing, or a policy does not parse, does not fit the schema, or has no
            @id of its own.
    """
    files = [POLICY_FILE, *_further(extra)]
    return _rules(_read(SCHEMA_FILE), tuple((file, _read(file)) for file in files))


# The files are read each time, and make the same rules as long as they say the same: every step of a run
# opens a policy of its own.
@lru_cache(maxsize=MOST_RULES)
def _rules(schema_text: str, files: Sequence[tuple[Path, str]]) -> PolicyRules:
    for file, each in files:
        _parse(file, each)
    texts = [each for _, each in files]
    text = "\n".join(texts)
    schema = cedarpy.Schema.from_str(schema_text)
    policies = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    annotations = [policy.get("annotations", {}) for policy in policies.values()]
    _require_names(annotations)
    _require_valid(text, schema)
    return PolicyRules(
        schema,
        PolicySets(policies),
        {each["id"]: each["fix"] for each in annotations if "fix" in each},
        canonical.sha256(canonical.dumps([schema_text, *texts])),
    )


def _further(extra: Path | None) -> list[Path]:
    if extra is None:
        return []
    files = sorted(extra.glob("*.cedar"))
    if not files:
        # Going on without them would leave out every forbid that was meant to be there.
        raise ContractError(
            f"The policy folder {extra} holds no *.cedar file", "Put them there, or unset the setting."
        )
    return files


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, ValueError):
        raise ContractError(f"The policy file {file} cannot be read as UTF-8", "Restore it.") from None


def _parse(file: Path, text: str) -> None:
    try:
        policies = cedarpy.PolicySet.from_str(text)
    except ValueError as error:
        raise ContractError(f"The policy file {file} does not parse: {error}", "Correct it.") from None
    if policies.templates():
        raise ContractError(
            f"The policy file {file} holds a template, which never applies", "Write it out as policies."
        )


def _is_about(policy: Mapping[str, Any], action: str) -> bool:
    head = policy["action"]
    return bool(head["op"] != "==" or head["entity"] == {"type": "Action", "id": action})


def _require_names(annotations: Sequence[Mapping[str, str]]) -> None:
    names = [each.get("id") or "" for each in annotations]
    for name in names:
        if not name or names.count(name) > 1:
            raise ContractError(
                f"The policy @id {name!r} is missing or used twice", "Give every policy an @id of its own."
            )


def _require_valid(text: str, schema: cedarpy.Schema) -> None:
    result = cedarpy.validate_policies(text, schema)
    if not result.validation_passed:
        problem = result.errors[0]
        rule = result.id_annotations_by_policy_id.get(problem.policy_id, problem.policy_id)
        raise ContractError(
            f"The policy {rule!r} does not fit the schema: {problem.error}", f"See {SCHEMA_FILE.name}."
        )

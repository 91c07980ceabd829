"""What a request to launch something would build, and the tags of it that are the client's to choose.

The assets may be named, or meant by a job, or by a run that is done again. What names nothing that is known
needs the right to build anything at all.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dagster import AssetKey

from secure_platform.access.resources import Resource
from secure_platform.orchestration.coordinator import built_keys, built_resources
from secure_platform.orchestration.stamp import is_reserved
from secure_platform.web.permissions import PolicyRequestContext


def required(context: PolicyRequestContext, arguments: Mapping[str, Any]) -> list[Resource]:
    """What the caller must be allowed to build for a launch with these arguments."""
    launches = list(_launches(context, arguments)) or [()]
    services = context.rights.services
    resources: list[Resource] = []
    for keys in launches:
        resources += [each for each in built_resources(services, keys) if each not in resources]
    return resources


def drop_reserved_tags(arguments: Any) -> None:
    """Take out of the arguments what only this platform says about a run."""
    if isinstance(arguments, list):
        arguments[:] = [each for each in arguments if not _is_reserved(each)]
    members = arguments.values() if isinstance(arguments, dict) else arguments
    for member in members:
        if isinstance(member, dict | list):
            drop_reserved_tags(member)


def _is_reserved(member: Any) -> bool:
    return isinstance(member, dict) and is_reserved(str(member.get("key", "")))


def _launches(context: PolicyRequestContext, arguments: Mapping[str, Any]) -> Iterator[Collection[AssetKey]]:
    several = arguments.get("executionParamsList") or []
    one = arguments.get("executionParams")
    for launch in [*several, *([one] if one else [])]:
        yield _selected(context, launch["selector"])
    again = arguments.get("reexecutionParams")
    if again:
        yield _done_again(context, again["parentRunId"])
    backfill = arguments.get("backfillParams")
    if backfill:
        named = [each["assetKey"] for each in backfill.get("partitionsByAssets") or []]
        yield {_key(each) for each in [*(backfill.get("assetSelection") or []), *named]}


def _selected(context: PolicyRequestContext, selector: Mapping[str, Any]) -> Collection[AssetKey]:
    checks = [each["assetKey"] for each in selector.get("assetCheckSelection") or []]
    keys = {_key(each) for each in [*(selector.get("assetSelection") or []), *checks]}
    job = selector.get("pipelineName") or selector.get("jobName")
    return keys or (context.asset_graph.get_materialization_asset_keys_for_job(job) if job else ())


def _done_again(context: PolicyRequestContext, identity: str) -> Collection[AssetKey]:
    run = context.instance.get_run_by_id(identity)
    return () if run is None else built_keys(context, run)


def _key(named: Mapping[str, Any]) -> AssetKey:
    return AssetKey(list(named["path"]))

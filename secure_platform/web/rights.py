"""What every field of Dagster's API needs. A field that is not listed here is refused to everybody.

Reading the catalogue does not include reading runs: their logs, configuration and errors may tell more than
their author meant to. Whatever holds such things needs the right to read runs, wherever it is nested.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from dagster._core.workspace.permissions import Permissions

from secure_platform.access.resources import Action

Rule: TypeAlias = Action | str
"""A right, or the reason why nobody has it."""

_EVIDENCE: Final = "It would remove or make up what later decisions and audits rest on."
_CODE: Final = "Definitions come from the project's code, under version control."
_UNUSED: Final = "This platform has no use for it."
_SERVER: Final = "The code server lives as long as the server: stop that one, or reload the code."
_ANOTHERS: Final = "Its runs would be recorded as asked for by who began the first: launch a new backfill."


def _each(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


QUERIES: Final[Mapping[str, Rule]] = {
    **_each(
        Action.UI_READ,
        """version repositoriesOrError repositoryOrError workspaceOrError locationStatusesOrError
        workspaceLocationEntryOrError pipelineOrError resourcesOrError pipelineSnapshotOrError graphOrError
        scheduler scheduleOrError schedulesOrError topLevelResourceDetailsOrError
        allTopLevelResourceDetailsOrError sensorOrError sensorsOrError instigationStateOrError
        instigationStatesOrError partitionSetsOrError partitionSetOrError instance assetsOrError
        assetRecordsOrError assetOrError assetNodes assetNodeOrError assetNodeAdditionalRequiredKeys
        assetNodeDefinitionCollisions assetBackfillPreview permissions canBulkTerminate assetsLatestInfo
        shouldShowNux autoMaterializeAssetEvaluationsOrError
        truePartitionsForAutomationConditionEvaluationNode
        autoMaterializeEvaluationsForEvaluationId assetConditionEvaluationForPartition
        assetConditionEvaluationRecordsOrError assetConditionEvaluationsForEvaluationId assetCheckExecutions
        latestDefsStateInfo componentsForLocationOrError componentTypesForLocationOrError""",
    ),
    **_each(
        Action.RUN_READ,
        """pipelineRunsOrError pipelineRunOrError runsOrError runOrError runsFeedOrError runsFeedCountOrError
        runTagKeysOrError runTagsOrError runIdsOrError runGroupOrError isPipelineConfigValid
        executionPlanOrError runConfigSchemaOrError partitionBackfillOrError partitionBackfillsOrError
        logsForRun capturedLogsMetadata capturedLogs autoMaterializeTicks""",
    ),
    **_each(Action.INSTANCE_READ, "utilizedEnvVarsOrError appManagedComponentsForLocationOrError"),
    **_each(_UNUSED, "test"),
}

MUTATIONS: Final[Mapping[str, Rule]] = {
    **_each(
        Action.BUILD,
        """launchPipelineExecution launchRun launchMultipleRuns launchPipelineReexecution
        launchRunReexecution launchPartitionBackfill""",
    ),
    **_each(
        Action.PLATFORM_OPERATE,
        """startSchedule stopRunningSchedule resetSchedule startSensor setSensorCursor stopSensor resetSensor
        sensorDryRun scheduleDryRun terminatePipelineExecution terminateRun terminateRuns
        cancelPartitionBackfill reloadRepositoryLocation reloadWorkspace
        addDynamicPartition refreshComponentState setAutoMaterializePaused
        setConcurrencyLimit deleteConcurrencyLimit freeConcurrencySlotsForRun freeConcurrencySlots""",
    ),
    **_each(
        _EVIDENCE,
        """deletePipelineRun deleteRun wipeAssets reportRunlessAssetEvents reportAssetCheckEvaluations
        deleteDynamicPartitions""",
    ),
    **_each(_ANOTHERS, "reexecutePartitionBackfill resumePartitionBackfill"),
    **_each(_SERVER, "shutdownRepositoryLocation"),
    **_each(_CODE, "setAppManagedComponent deleteAppManagedComponent"),
    **_each(_UNUSED, "logTelemetry setNuxSeen"),
}

SUBSCRIPTIONS: Final[Mapping[str, Rule]] = {
    "pipelineRunLogs": Action.RUN_READ,
    "capturedLogs": Action.RUN_READ,
    "locationStateChangeEvents": Action.UI_READ,
}

TYPES: Final[Mapping[str, Rule]] = _each(
    Action.RUN_READ,
    """Run PipelineRun Runs RunGroup RunGroups RunsFeedEntry RunsFeedConnection DagsterRunEvent
    EventConnection CapturedLogs CapturedLogsMetadata InstigationTick InstigationEventConnection ScheduleTick
    TickEvaluation RunRequest PartitionBackfill PartitionBackfills PartitionRunConfig RunConfigSchema""",
)
"""Types that need a right wherever they are nested; a union with one of them needs it too."""

FIELDS: Final[Mapping[tuple[str, str], Action]] = {
    ("DaemonStatus", "lastHeartbeatErrors"): Action.INSTANCE_READ,
    ("Instance", "executablePath"): Action.INSTANCE_READ,
    ("ResourceDetails", "configuredValues"): Action.INSTANCE_READ,
    ("PythonError", "stack"): Action.RUN_READ,
    # Whoever launched a run may know which it is.
    ("LaunchRunSuccess", "run"): Action.UI_READ,
    # Looking at the next tick would run it.
    ("DryRunInstigationTick", "evaluationResult"): Action.PLATFORM_OPERATE,
}

PERMISSIONS: Final[Mapping[Permissions, Rule]] = {
    Permissions.LAUNCH_PIPELINE_EXECUTION: Action.BUILD,
    Permissions.LAUNCH_PIPELINE_REEXECUTION: Action.BUILD,
    Permissions.LAUNCH_PARTITION_BACKFILL: Action.BUILD,
    Permissions.START_SCHEDULE: Action.PLATFORM_OPERATE,
    Permissions.STOP_RUNNING_SCHEDULE: Action.PLATFORM_OPERATE,
    Permissions.SCHEDULE_DRY_RUN: Action.PLATFORM_OPERATE,
    Permissions.EDIT_SENSOR: Action.PLATFORM_OPERATE,
    Permissions.SENSOR_DRY_RUN: Action.PLATFORM_OPERATE,
    Permissions.UPDATE_SENSOR_CURSOR: Action.PLATFORM_OPERATE,
    Permissions.TERMINATE_PIPELINE_EXECUTION: Action.PLATFORM_OPERATE,
    Permissions.CANCEL_PARTITION_BACKFILL: Action.PLATFORM_OPERATE,
    Permissions.RELOAD_REPOSITORY_LOCATION: Action.PLATFORM_OPERATE,
    Permissions.RELOAD_WORKSPACE: Action.PLATFORM_OPERATE,
    Permissions.EDIT_DYNAMIC_PARTITIONS: Action.PLATFORM_OPERATE,
    Permissions.TOGGLE_AUTO_MATERIALIZE: Action.PLATFORM_OPERATE,
    Permissions.EDIT_CONCURRENCY_LIMIT: Action.PLATFORM_OPERATE,
    Permissions.REFRESH_COMPONENT_STATE: Action.PLATFORM_OPERATE,
    Permissions.DELETE_PIPELINE_RUN: _EVIDENCE,
    Permissions.WIPE_ASSETS: _EVIDENCE,
    Permissions.REPORT_RUNLESS_ASSET_EVENTS: _EVIDENCE,
    Permissions.EDIT_APP_MANAGED_COMPONENTS: _CODE,
}
"""What makes the UI offer something; the mutation behind it decides."""

UNKNOWN: Final = "It is not known to this platform yet."

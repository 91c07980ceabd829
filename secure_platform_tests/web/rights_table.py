"""Who may reach what, spelled out by hand: a table read off the code would agree with every change."""

PEOPLE = "analyst data_engineer ml_engineer data_steward privacy_officer auditor admin"
SERVICES = "pipeline scheduler monitor"
NOBODY = "nobody"

MAY = {
    "authenticated": f"{PEOPLE} {SERVICES} {NOBODY}",
    "metrics_read": "data_engineer auditor admin monitor",
    "incident_read": "data_engineer ml_engineer data_steward privacy_officer auditor admin",
    "ui_read": PEOPLE,
    "run_read": "data_engineer ml_engineer data_steward privacy_officer auditor admin",
    "instance_read": "data_engineer auditor admin",
    "platform_operate": "data_engineer admin",
    "build": "data_engineer ml_engineer pipeline scheduler",
    "audit_read": "data_steward privacy_officer auditor admin",
    "access_read": "data_steward privacy_officer auditor admin",
    "key_read": "data_steward privacy_officer auditor admin",
    "principal_manage": "admin",
    "nobody": "",
}

QUERIES = {
    "ui_read": """
        allTopLevelResourceDetailsOrError assetBackfillPreview assetCheckExecutions
        assetConditionEvaluationForPartition assetConditionEvaluationRecordsOrError
        assetConditionEvaluationsForEvaluationId assetNodeAdditionalRequiredKeys assetNodeDefinitionCollisions
        assetNodeOrError assetNodes assetOrError assetRecordsOrError assetsLatestInfo assetsOrError
        autoMaterializeAssetEvaluationsOrError autoMaterializeEvaluationsForEvaluationId canBulkTerminate
        componentTypesForLocationOrError componentsForLocationOrError graphOrError instance
        instigationStateOrError instigationStatesOrError latestDefsStateInfo locationStatusesOrError
        partitionSetOrError partitionSetsOrError permissions pipelineOrError pipelineSnapshotOrError
        repositoriesOrError repositoryOrError resourcesOrError scheduleOrError scheduler schedulesOrError
        sensorOrError sensorsOrError shouldShowNux topLevelResourceDetailsOrError
        truePartitionsForAutomationConditionEvaluationNode version workspaceLocationEntryOrError
        workspaceOrError
    """,
    "run_read": """
        autoMaterializeTicks capturedLogs capturedLogsMetadata executionPlanOrError isPipelineConfigValid
        logsForRun partitionBackfillOrError partitionBackfillsOrError pipelineRunOrError pipelineRunsOrError
        runConfigSchemaOrError runGroupOrError runIdsOrError runOrError runTagKeysOrError runTagsOrError
        runsFeedCountOrError runsFeedOrError runsOrError
    """,
    "instance_read": "appManagedComponentsForLocationOrError utilizedEnvVarsOrError",
    "nobody": "test",
}

MUTATIONS = {
    "build": """
        launchMultipleRuns launchPartitionBackfill launchPipelineExecution launchPipelineReexecution launchRun
        launchRunReexecution
    """,
    "platform_operate": """
        addDynamicPartition cancelPartitionBackfill deleteConcurrencyLimit freeConcurrencySlots
        freeConcurrencySlotsForRun refreshComponentState reloadRepositoryLocation reloadWorkspace
        resetSchedule resetSensor scheduleDryRun sensorDryRun setAutoMaterializePaused setConcurrencyLimit
         setSensorCursor startSchedule startSensor
        stopRunningSchedule stopSensor terminatePipelineExecution terminateRun terminateRuns
    """,
    "nobody": """
        deleteAppManagedComponent deleteDynamicPartitions deletePipelineRun deleteRun logTelemetry
        reexecutePartitionBackfill reportAssetCheckEvaluations reportRunlessAssetEvents
        resumePartitionBackfill setAppManagedComponent setNuxSeen shutdownRepositoryLocation wipeAssets
    """,
}

SUBSCRIPTIONS = {"run_read": "capturedLogs pipelineRunLogs", "ui_read": "locationStateChangeEvents"}

# A path alone is read by GET; our own forms are sent by POST.
ROUTES = {
    "public": "/healthz /readyz /platform-static/{name} /login POST:/login /setup POST:/setup",
    "authenticated": """
        /graphql POST:/graphql /_next /vendor /404.html /Dagster_world.mp4 /csp-header.txt
        /favicon-run-failed.svg /favicon-run-pending.svg /favicon-run-success.svg /favicon.ico /favicon.png
        /favicon.svg /index.html /manifest.json /robots.txt
        /mfa POST:/mfa POST:/logout
        /account POST:/account/sessions POST:/account/tokens POST:/account/tokens/revoke POST:/rights/{done}
    """,
    "ui_read": """
        / /{path:path} /server_info
        /approvals /approvals/{digest} POST:/approvals/{digest}
        /releases /releases/{product} /releases/{product}/compare /releases/{product}/{number}
        /releases/{product}/{number}/{file} POST:/releases/{product}/rollback
        POST:/releases/{product}/{number}/verify
        /data-map /data-map/{product} /data-map/{product}/{table}
    """,
    "run_read": "/download_debug/{run_id:str}",
    "audit_read": "/audit /audit/{seq} POST:/audit/verify POST:/audit/{seq}/proof",
    "access_read": "/access /access/explain /access/matrix /access/principals/{name}",
    "key_read": "/keys",
    "metrics_read": "/metrics",
    "incident_read": """
        /observability /observability/{product} /observability/{product}/sla /observability/{product}/sla.csv
        /observability/{product}/{zone}/{dataset} /outcomes /incidents/{incident} POST:/incidents/{incident}
    """,
    "principal_manage": """
        POST:/access/principals POST:/access/principals/{name} POST:/access/principals/{name}/invite
    """,
}
# Every operation of our own API asks the policy itself: the API's own tests.
API = "/api/"


def rows(table: dict[str, str]) -> dict[str, str]:
    """Name → right."""
    return {name: right for right, names in table.items() for name in names.split()}


def may(right: str) -> set[str]:
    """The roles that have a right."""
    return set(MAY[right].split())

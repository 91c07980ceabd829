"""What OpenLineage 2-0-2 and its facets say, as far as our events use them.

Written down from https://openlineage.io/spec: members, which of them are required, and their types. A member
that is not here is an error: consumers drop what they do not know.
"""

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

Schema = dict[str, Any]
_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[Schema] = {"type": "boolean"}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] = {}) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _facet(version: str, required: Mapping[str, Schema], optional: Mapping[str, Schema] = {}) -> Schema:
    name = version.partition("/")[2]
    url = f"https://openlineage.io/spec/facets/{version}.json#/$defs/{name}"
    base: dict[str, Schema] = {"_producer": {"type": "string", "format": "uri"}, "_schemaURL": {"const": url}}
    return _object({**base, **required}, optional)


def _facets(**known: Schema) -> Schema:
    return _object({}, known)


_PLACE: Final = {"namespace": _TEXT, "name": _TEXT}
_TRANSFORMATION: Final = _object(
    {"type": {"enum": ["DIRECT", "INDIRECT"]}},
    {"subtype": _TEXT, "description": _TEXT, "masking": _FLAG},
)
_FIELD: Final = _object({**_PLACE, "field": _TEXT}, {"transformations": _list(_TRANSFORMATION)})
_COLUMNS: Final = {"type": "object", "additionalProperties": _object({"inputFields": _list(_FIELD)})}
_DATASET_FACETS: Final = _facets(
    schema=_facet(
        "1-2-0/SchemaDatasetFacet", {}, {"fields": _list(_object({"name": _TEXT}, {"type": _TEXT}))}
    ),
    dataSource=_facet("1-0-1/DatasourceDatasetFacet", {}, {"name": _TEXT, "uri": _TEXT}),
    ownership=_facet(
        "1-0-1/OwnershipDatasetFacet", {}, {"owners": _list(_object({"name": _TEXT}, {"type": _TEXT}))}
    ),
    tags=_facet(
        "1-0-0/TagsDatasetFacet",
        {},
        {"tags": _list(_object({"key": _TEXT, "value": _TEXT}, {"source": _TEXT, "field": _TEXT}))},
    ),
    version=_facet("1-0-1/DatasetVersionDatasetFacet", {"datasetVersion": _TEXT}),
    columnLineage=_facet("1-2-0/ColumnLineageDatasetFacet", {"fields": _COLUMNS}, {"dataset": _list(_FIELD)}),
)
_ASSERTION: Final = _object(
    {"assertion": _TEXT, "success": _FLAG}, {"severity": {"enum": ["error", "warn"]}, "column": _TEXT}
)
_INPUT: Final = _object(
    _PLACE,
    {
        "facets": _DATASET_FACETS,
        "inputFacets": _facets(
            dataQualityAssertions=_facet(
                "1-1-0/DataQualityAssertionsDatasetFacet", {"assertions": _list(_ASSERTION)}
            ),
            dataQualityMetrics=_facet(
                "1-0-3/DataQualityMetricsInputDatasetFacet",
                {
                    "columnMetrics": {
                        "type": "object",
                        "additionalProperties": _object({}, {"nullCount": _COUNT}),
                    }
                },
                {"rowCount": _COUNT, "bytes": _COUNT},
            ),
        ),
    },
)
_OUTPUT: Final = _object(
    _PLACE,
    {
        "facets": _DATASET_FACETS,
        "outputFacets": _facets(
            outputStatistics=_facet(
                "1-0-2/OutputStatisticsOutputDatasetFacet", {}, {"rowCount": _COUNT, "size": _COUNT}
            )
        ),
    },
)
_RUN_ID: Final[Schema] = {"runId": {"type": "string", "format": "uuid"}}
_JOB: Final = _object(
    _PLACE,
    {
        "facets": _facets(
            jobType=_facet(
                "2-0-4/JobTypeJobFacet",
                {"processingType": {"enum": ["BATCH"]}, "integration": _TEXT},
                {"jobType": _TEXT},
            )
        )
    },
)
_RUN: Final = _object(
    _RUN_ID,
    {
        "facets": _facets(
            parent=_facet("1-2-0/ParentRunFacet", {"run": _object(_RUN_ID), "job": _object(_PLACE)}),
            errorMessage=_facet(
                "1-0-1/ErrorMessageRunFacet", {"message": _TEXT, "programmingLanguage": _TEXT}
            ),
            processing_engine=_facet("1-1-1/ProcessingEngineRunFacet", {"version": _TEXT}, {"name": _TEXT}),
        )
    },
)


def _event(name: str, required: Mapping[str, Schema]) -> Schema:
    return _object(
        {
            "eventTime": {"type": "string", "format": "date-time"},
            "producer": {"type": "string", "format": "uri"},
            "schemaURL": {"const": f"https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/{name}"},
            "job": _JOB,
            **required,
        },
        {"inputs": _list(_INPUT), "outputs": _list(_OUTPUT)},
    )


_STATES: Final = {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]}
_EVENT: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "oneOf": [_event("RunEvent", {"run": _RUN, "eventType": _STATES}), _event("JobEvent", {})],
}
VALIDATOR: Final = jsonschema_rs.validator_for(_EVENT, validate_formats=True)


def wrong(event: Mapping[str, Any]) -> list[str]:
    """Why an event is none of OpenLineage's; empty if it is one."""
    return [error.message for error in VALIDATOR.iter_errors(dict(event))]

"""What crosses the wire between server and command line arrives whole."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.exchange import read_record, record_data

MOMENT = datetime(2026, 5, 4, 3, 2, 1, 7, UTC)
RECORD = ReleaseRecord(
    digest="sha256:" + "a" * 64,
    product="healthcare",
    number=7,
    environment="production",
    state=ReleaseState.APPROVED,
    base="sha256:" + "b" * 64,
    classification="confidential",
    requested_by="dana",
    run_id="run",
    input_key="what it was made from",
    approver_groups=("board", "clinical"),
    created_at=MOMENT,
    expires_at=MOMENT.replace(day=9),
    decided_at=MOMENT.replace(day=5),
    second_approver_groups=("privacy",),
)


def test_a_release_arrives_whole_but_for_what_only_the_gate_needs() -> None:
    for sent in (RECORD, replace(RECORD, base=None, decided_at=None)):
        assert read_record(json.loads(json.dumps(record_data(sent)))) == replace(sent, input_key="")

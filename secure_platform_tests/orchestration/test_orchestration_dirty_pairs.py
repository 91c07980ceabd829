"""Third-party tables with known errors: what contracts written for the clean ones find in the dirty ones."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from secure_platform.contract.load import load_contract
from secure_platform.contract.product import COMPONENT, Product, load_product
from secure_platform.errors import DataRefusedError
from secure_platform.homes import initialise
from secure_platform.orchestration.steps.context import StepContext, StepOutcome
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.source.csv import LINE
from secure_platform.store.snapshot import Zone

Cells = set[tuple[int, str]]


def column(name: str, kind: str = "string", *, enum: list[str] | None = None, **more: Any) -> dict[str, Any]:
    options = {key: more.pop(key) for key in ("minimum", "maximum", "pattern") if key in more}
    body = {"name": name, "logicalType": kind, "classification": "confidential", "required": True, **more}
    if options:
        body["logicalTypeOptions"] = options
    if enum:
        body["quality"] = [{"metric": "invalidValues", "arguments": {"validValues": enum}, "mustBe": 0}]
    return body


BEERS = [
    column("index", "integer", primaryKey=True),
    column("id", "integer", unique=True),
    column("beer-name"),
    column("style", required=False),
    column("ounces", "number", minimum=1, maximum=64),
    column("abv", "number", minimum=0, maximum=1, required=False),
    column("ibu", "integer", minimum=0, maximum=200, required=False),
    column("brewery_id", "integer", minimum=0),
    column("brewery-name"),
    column("city", pattern="^.*[a-z]$"),
    column("state", pattern="^[A-Z]{2}$"),
]
MEASURE = "(?:ami|hf|pn|scip-(?:inf|card|vte)|cac)-[1-9][0-9]?[a-c]?"
HOSPITAL = [
    column("index", "integer", primaryKey=True),
    column("ProviderNumber", pattern="^[0-9]{5}$"),
    column("HospitalName"),
    column("Address1"),
    column("Address2", enum=["empty"]),
    column("Address3", enum=["empty"]),
    column("City"),
    column("State", enum=["al", "ak"]),
    column("ZipCode", pattern="^[0-9]{5}$"),
    column("CountyName"),
    column("PhoneNumber", pattern="^[0-9]{10}$"),
    column("HospitalType", enum=["acute care hospitals"]),
    column("HospitalOwner", pattern="^(?:government|voluntary non-profit|proprietary)(?: - [a-z -]+)?$"),
    column("EmergencyService", enum=["yes", "no"]),
    column(
        "Condition",
        enum=[
            "children s asthma care",
            "heart attack",
            "heart failure",
            "pneumonia",
            "surgical infection prevention",
        ],
    ),
    column("MeasureCode", pattern=f"^{MEASURE}$"),
    column("MeasureName"),
    column("Score", pattern="^(?:empty|100%|[1-9]?[0-9]%)$"),
    column("Sample", pattern="^(?:empty|(?:0|[1-9][0-9]*) patients)$"),
    column("StateAverage", pattern=f"^(?:al|ak)_{MEASURE}$"),
]
CONTRACTS = {"beers": BEERS, "hospital": HOSPITAL}


@dataclass(frozen=True)
class Pair:
    """A product of one dataset, and where its clean and its dirty source are."""

    services: Services
    product: Product
    name: str
    clean: Path
    dirty: Path

    def context(self, source: Path) -> StepContext:
        return StepContext(self.services, self.product, "run", "service:scheduler", source)

    def pull(self, source: Path) -> StepOutcome:
        return pull(self.context(source), self.name)

    def differences(self) -> Cells:
        """The cells in which the two sources differ: physical line and column."""
        clean, dirty = (
            pl.read_csv(source / f"{self.name}.csv", infer_schema=False)
            for source in (self.clean, self.dirty)
        )
        return {
            (row + 2, name)
            for name in clean.columns
            for row in clean[name].ne_missing(dirty[name]).arg_true().to_list()
        }

    def found(self, outcome: StepOutcome) -> Cells:
        """The cells that broke a rule of the contract."""
        quarantine = self.services.store.quarantine(outcome.snapshot)
        assert quarantine is not None
        return {
            (line, rule.rpartition(":")[0])
            for line, rules in quarantine.select(LINE, "rule").collect().rows()
            for rule in rules.split(", ")
        }


def new_pair(directory: Path, data: Path, name: str, **terms: Any) -> Pair:
    contracts = directory / "defs" / name / "contracts"
    contracts.mkdir(parents=True)
    attributes = {
        "name": name,
        "owner": "team:test",
        "description": "For tests.",
        "profile": "hipaa_safe_harbor",
        "models": ["summary"],
    }
    (contracts.parent / "defs.yaml").write_text(json.dumps({"type": COMPONENT, "attributes": attributes}))
    document = {
        "version": "1.0.0",
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": name,
        "team": {"name": "test"},
        "servers": [{"server": "source", "type": "local", "path": f"{name}.csv", "format": "csv"}],
        "schema": [{"name": name, "properties": CONTRACTS[name]}],
        "customProperties": [{"property": key, "value": value} for key, value in terms.items()],
    }
    (contracts / f"{name}.odcs.yaml").write_text(json.dumps(document))
    assert load_contract(contracts / f"{name}.odcs.yaml").dataset == name
    sources = {}
    for kind in ("clean", "dirty"):
        sources[kind] = directory / kind
        sources[kind].mkdir()
        shutil.copy(data / "dirty_pairs" / name / f"{kind}.csv", sources[kind] / f"{name}.csv")
    settings = load_settings(home=directory / "home")
    initialise(settings)
    return Pair(Services(settings), load_product(contracts.parent), name, **sources)


def count(cells: Cells) -> dict[str, int]:
    return dict(Counter(name for _, name in cells))


FOUND = {
    "beers": {"ounces": 2410, "abv": 693, "ibu": 1005, "city": 127, "state": 127},
    "hospital": {
        "ProviderNumber": 28,
        "State": 26,
        "ZipCode": 30,
        "PhoneNumber": 34,
        "HospitalType": 32,
        "HospitalOwner": 24,
        "EmergencyService": 27,
        "Condition": 32,
        "MeasureCode": 29,
        "Score": 23,
        "Sample": 31,
        "StateAverage": 27,
    },
}
# A typing error in free text breaks no rule that a contract of one table can state.
MISSED = {
    "beers": {},
    "hospital": {
        "HospitalName": 24,
        "Address1": 31,
        "City": 33,
        "CountyName": 39,
        "HospitalOwner": 3,
        "MeasureName": 36,
    },
}


@pytest.mark.parametrize("name", ["beers", "hospital"])
def test_contracts_for_the_clean_tables_find_the_errors_of_the_dirty_ones(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    pair = new_pair(tmp_path, shared_data, name)
    assert all(check.passed for check in pair.pull(pair.clean).checks)
    outcome = pair.pull(pair.dirty)
    wrong, found = pair.differences(), pair.found(outcome)
    assert found <= wrong  # Precision 1: no right cell is called wrong.
    assert (count(found), count(wrong - found)) == (FOUND[name], MISSED[name])
    assert (len(found), len(wrong)) == {"beers": (4362, 4362), "hospital": (343, 509)}[name]
    (contract,) = [check for check in outcome.checks if check.name == "contract"]
    assert not contract.passed
    told = {
        failure["column"]: failure["count"]
        for failure in contract.detail["failures"]
        if failure["rule"] != "minimum_rows"
    }
    assert told == FOUND[name]
    assert {word for words in told for word in words.split()} <= {c["name"] for c in CONTRACTS[name]}
    with pytest.raises(DataRefusedError, match="failed the stage validate"):
        protect(pair.context(pair.dirty), name)
    assert pair.services.store.head(name, name, Zone.PROTECTED) is None


def test_the_good_rows_go_on_where_the_contract_says_so(shared_data: Path, tmp_path: Path) -> None:
    pair = new_pair(tmp_path, shared_data, "hospital", onInvalid="quarantine", maxInvalidRatio=0.3)
    outcome = pair.pull(pair.dirty)
    assert outcome.checks[0].passed
    assert outcome.checks[0].detail["invalid_rows"] == 291
    assert protect(pair.context(pair.dirty), "hospital").snapshot.rows == 709

"""A product that names people by stored tokens: what another plan made is searched where that can be done."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from contract_body import contract_body as contract
from small_product import product_context, prop

from secure_platform import canonical
from secure_platform.access.principals import Principal
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.erase import erase
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.orchestration.steps.tombstone import WHOLE
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.store.snapshot import Snapshot, Zone

VAULT = {"transform": "vault", "ttl": 3650}
PEOPLE = [f"person-{number}" for number in range(30)]
TODAY = datetime.now(UTC).date()
LATE = "person-late"


def bodies(name: object, ward: object, days: int = 3650) -> list[dict[str, Any]]:
    """Contracts of stays and visits of people: named in some way, with wards that are treated in some way."""
    named = {**VAULT, "ttl": days} if name == "vault" else name
    person = prop("id", level="confidential", primaryKey=True, subjectId=True, protect=named)
    to: dict[str, Any] = {"relationships": [{"to": "stays.id"}], "required": True, "subjectId": True}
    refers = prop("person", level="confidential", **to)
    if name == "vault":
        waiver = {"reason": "Names end.", "approver": "petra", "expires": f"{TODAY + timedelta(days=9)}"}
        for each in (person, refers):
            each["customProperties"].append({"property": "waiver", "value": waiver})
    return [
        contract("stays", [person, prop("ward", protect=ward)]),
        contract("visits", [refers, prop("ward", protect=ward)]),
    ]


@dataclass
class Clinic:
    """A product in a home of its own, whose contracts and source change."""

    folder: Path
    context: StepContext

    @property
    def services(self) -> Services:
        return self.context.services

    def build(self, people: list[str], *how: Any) -> dict[str, Snapshot]:
        """Pull and protect people's rows under contracts as `bodies` makes them."""
        for body in bodies(*how):
            path = self.folder / "defs/small/contracts" / f"{body['name']}.odcs.yaml"
            path.write_bytes(canonical.dumps(body))
        services = Services(load_settings(home=self.folder / "home", defs=self.folder / "defs"))
        self.context = replace(self.context, services=services, product=services.product("small"))
        wards = ["east"] * len(people)
        pl.DataFrame({"id": people, "ward": wards}).write_csv(self.folder / "source/stays.csv")
        pl.DataFrame({"person": people, "ward": wards}).write_csv(self.folder / "source/visits.csv")
        for name in ("stays", "visits"):
            pull(self.context, name)
        return {name: protect(self.context, name).snapshot for name in ("stays", "visits")}

    def erase(self, person: str) -> Any:
        return erase(self.services, "small", person, self.petra)

    @property
    def petra(self) -> Principal:
        known = self.services.principals.get("petra")
        return known or self.services.principals.add(
            "petra", kind="user", roles=("privacy_officer",), actor="admin"
        )

    def left(self) -> dict[str, pl.DataFrame]:
        """Every protected snapshot, by its id."""
        store = self.services.store
        return {
            each.snapshot_id: store.scan(each).collect() for each in store.stored("small", Zone.PROTECTED)
        }


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    frame = pl.DataFrame({"id": ["x"], "ward": ["x"]})
    return Clinic(
        tmp_path, product_context(tmp_path, "gdpr_pseudonymous", bodies("vault", "keep"), {"stays": frame})
    )


def test_who_is_not_in_what_an_earlier_plan_made_leaves_it_there(clinic: Clinic) -> None:
    first = clinic.build(PEOPLE, "vault", "keep")
    second = clinic.build([*PEOPLE, LATE], "vault", "drop")
    assert first["stays"].provenance["plan"] != second["stays"].provenance["plan"]
    before = clinic.left()
    tombstone = clinic.erase(LATE)
    after = clinic.left()
    for snapshot in first.values():
        assert after[snapshot.snapshot_id].equals(before[snapshot.snapshot_id])
    for name, snapshot in second.items():
        (rewritten,) = (
            each for each in tombstone.rewritten if f"protected/{name}/{snapshot.snapshot_id}" in each
        )
        assert after[rewritten.rpartition(" ")[2]].height == len(PEOPLE)
    assert not [each for each in tombstone.deleted if each.endswith(WHOLE)]
    assert tombstone.complete


def test_who_is_in_what_an_earlier_plan_made_goes_from_there_as_from_others(clinic: Clinic) -> None:
    first = clinic.build(PEOPLE, "vault", "keep")
    second = clinic.build([*PEOPLE, LATE], "vault", "drop")
    tombstone = clinic.erase(PEOPLE[3])
    assert not {each.snapshot_id for each in (*first.values(), *second.values())} & clinic.left().keys()
    assert {frame.height for frame in clinic.left().values()} == {len(PEOPLE)}
    for name, snapshot in first.items():
        assert f"small/protected/{name}/{snapshot.snapshot_id}" in tombstone.deleted
    assert not [each for each in tombstone.deleted if each.endswith(WHOLE)]


def test_what_an_earlier_plan_made_and_cannot_be_told_of_anybody_is_deleted_whole_and_it_is_said(
    clinic: Clinic,
) -> None:
    otherwise = clinic.build(PEOPLE, "tokenize", "keep")
    ended = clinic.build(PEOPLE, "vault", "keep", 1000)
    (book,) = clinic.services.keys.stored_tokens.known()
    newest = clinic.build([*PEOPLE, LATE], "vault", "keep")
    clinic.services.keys.stored_tokens.close(book)
    tombstone = clinic.erase(LATE)
    for made in (otherwise, ended):
        for name, snapshot in made.items():
            assert f"small/protected/{name}/{snapshot.snapshot_id}{WHOLE}" in tombstone.deleted
            assert snapshot.snapshot_id not in clinic.left()
    assert (
        not {each.snapshot_id for made in (otherwise, ended) for each in made.values()} & clinic.left().keys()
    )
    assert {frame.height for frame in clinic.left().values()} == {len(PEOPLE)}
    assert len(tombstone.rewritten) == 2 * len(newest)

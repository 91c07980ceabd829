"""The sample is made up and always the same: one seed gives the same bytes on every machine.

Five tables in the layout of Synthea's CSV export. Chance comes from `random.Random.random()` alone, the one
method whose sequence Python promises to keep between versions; money and time are integers until they are
printed. Social Security numbers begin with 999, which is never issued.

The people cover what protection must handle: some are over 89, some have died, some live where the first
three ZIP digits alone would point at few people, some conditions are too rare to publish, and yearly scores
belong to no encounter.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from secure_platform.files import private_directory, replace_private
from secure_platform.sample import vocabulary as words

T = TypeVar("T")
Row = Sequence[str]

LAYOUT: Final[Mapping[str, str]] = {
    "patients": (
        "Id,BIRTHDATE,DEATHDATE,SSN,DRIVERS,PASSPORT,PREFIX,FIRST,LAST,SUFFIX,MAIDEN,MARITAL,RACE,ETHNICITY,GENDER,"
        "BIRTHPLACE,ADDRESS,CITY,STATE,COUNTY,ZIP,LAT,LON,HEALTHCARE_EXPENSES,HEALTHCARE_COVERAGE"
    ),
    "encounters": (
        "Id,START,STOP,PATIENT,ORGANIZATION,PROVIDER,PAYER,ENCOUNTERCLASS,CODE,DESCRIPTION,BASE_ENCOUNTER_COST,"
        "TOTAL_CLAIM_COST,PAYER_COVERAGE,REASONCODE,REASONDESCRIPTION"
    ),
    "conditions": "START,STOP,PATIENT,ENCOUNTER,CODE,DESCRIPTION",
    "medications": (
        "START,STOP,PATIENT,PAYER,ENCOUNTER,CODE,DESCRIPTION,BASE_COST,PAYER_COVERAGE,DISPENSES,TOTALCOST,REASONCODE,"
        "REASONDESCRIPTION"
    ),
    "observations": "DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE",
}

LAST_DAY: Final = date(2024, 12, 31)
YEARS_OF_RECORDS: Final = 12
ADULT: Final = 18


@dataclass(frozen=True)
class Encounter:
    """One encounter, as far as other tables need it."""

    key: str
    start: datetime
    payer: str


@dataclass
class Person:
    """One patient while the rows about them are made."""

    key: str
    born: date
    until: date
    died: bool
    female: bool
    conditions: list[words.Condition] = field(default_factory=list)

    @property
    def adult(self) -> bool:
        """Whether they came of age."""
        return (self.until - self.born).days > ADULT * 366

    def may_have(self, condition: words.Condition) -> bool:
        """Whether it is a condition of people of their age and gender."""
        kinds = {"anyone", "adult" if self.adult else "child"}
        return condition.who in (kinds | {"woman"} if self.adult and self.female else kinds)


def generate(directory: Path, *, patients: int = 600, seed: int = 7) -> None:
    """Write the five CSV files, replacing earlier ones.

    Args:
        directory: Where; made if it is missing, readable by its owner only.
        patients: How many people.
        seed: Another one gives other people.
    """
    tables = _Sample(_Dice(seed)).tables(patients)
    private_directory(directory)
    for name, rows in tables.items():
        lines = [LAYOUT[name], *(",".join(map(_quoted, row)) for row in rows)]
        replace_private(directory / f"{name}.csv", ("\n".join(lines) + "\n").encode())


class _Dice:
    """Chance that is the same everywhere."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 — made-up people need repeatability, not secrecy.

    def below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def uuid(self) -> str:
        digits = "".join(f"{self.below(1 << 16):04x}" for _ in range(8))
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class _Sample:
    """Makes rows; the tables grow person by person."""

    def __init__(self, dice: _Dice) -> None:
        self._dice = dice
        self._payers = [dice.uuid() for _ in range(9)]
        self._providers = [(dice.uuid(), dice.uuid()) for _ in range(50)]
        self._tables: dict[str, list[Row]] = {name: [] for name in LAYOUT}

    def tables(self, patients: int) -> Mapping[str, list[Row]]:
        people = [self._person() for _ in range(patients)]
        self._give_rare_conditions(people)
        for person in people:
            self._patient(person)
            encounters = self._encounters(person)
            for condition in person.conditions:
                self._condition(person, condition, self._dice.pick(encounters))
            for encounter in encounters:
                self._observations(person, encounter)
            self._scores(person)
        return self._tables

    def _person(self) -> Person:
        dice = self._dice
        over_89 = dice.chance(0.06)
        age = dice.below(15) + 90 if over_89 else dice.below(90)
        born = LAST_DAY - timedelta(days=age * 366 + dice.below(365))
        died = dice.chance(0.3 if age > ADULT * 4 else 0.05)
        days = min((LAST_DAY - born).days, YEARS_OF_RECORDS * 365)
        until = LAST_DAY - timedelta(days=dice.below(days // 2 + 1)) if died else LAST_DAY
        person = Person(dice.uuid(), born, until, died, dice.chance(0.5))
        person.conditions = [c for c in words.CONDITIONS if person.may_have(c) and dice.chance(c.share)]
        return person

    def _give_rare_conditions(self, people: Sequence[Person]) -> None:
        for condition in words.CONDITIONS:
            candidates = [person for person in people if person.may_have(condition)]
            for _ in range(min(condition.patients, len(candidates))):
                candidates.pop(self._dice.below(len(candidates))).conditions.append(condition)

    def _patient(self, person: Person) -> None:
        dice = self._dice
        place = dice.pick(words.RESTRICTED_PLACES if dice.chance(0.12) else words.PLACES)
        birthplace = dice.pick(words.PLACES)
        married = person.adult and dice.chance(0.55)
        unit = dice.pick(words.UNITS).format(1 + dice.below(99))
        self._tables["patients"].append(
            (
                *(person.key, str(person.born), str(person.until) if person.died else ""),
                f"999-{10 + dice.below(90)}-{1000 + dice.below(9000)}",
                f"S999{10000 + dice.below(90000)}" if person.adult else "",
                f"X{10000000 + dice.below(90000000)}X" if person.adult and dice.chance(0.9) else "",
                *self._names(person, married=married),
                *("" if not person.adult else "M" if married else dice.pick("SDW"), dice.pick(words.RACES)),
                *("hispanic" if dice.chance(0.1) else "nonhispanic", "F" if person.female else "M"),
                f"{birthplace.city}  {birthplace.state}  US",
                f"{1 + dice.below(1100)} {dice.pick(words.STREETS)}{unit}",
                *(place.city, place.state, place.county, place.zip_code),
                *(self._near(place.latitude), self._near(place.longitude)),
                *(_money(dice.below(2_000_000_00)), _money(dice.below(400_000_00))),
            )
        )

    def _names(self, person: Person, *, married: bool) -> Row:
        """PREFIX, FIRST, LAST, SUFFIX, MAIDEN."""
        first = self._name(words.FIRST_F if person.female else words.FIRST_M)
        prefix = "" if not person.adult else ("Mrs." if married else "Ms.") if person.female else "Mr."
        suffix = self._dice.pick(("PhD", "MD", "JD")) if person.adult and self._dice.chance(0.05) else ""
        maiden = self._name(words.LAST) if person.female and married else ""
        return prefix, first, self._name(words.LAST), suffix, maiden

    def _name(self, names: Sequence[str]) -> str:
        return f"{self._dice.pick(names)}{1 + self._dice.below(999)}"

    def _near(self, degrees: float) -> str:
        return repr(round(degrees + (self._dice.below(200_000) - 100_000) / 1e7, 7))

    def _encounters(self, person: Person) -> list[Encounter]:
        first = max(person.born, person.until - timedelta(days=YEARS_OF_RECORDS * 365))
        days = (person.until - first).days + 1
        chosen = sorted(self._dice.below(days) for _ in range(3 + self._dice.below(16)))
        payer = self._dice.pick(self._payers)
        return [self._encounter(person, payer, first + timedelta(days=day)) for day in chosen]

    def _encounter(self, person: Person, payer: str, day: date) -> Encounter:
        dice = self._dice
        visit = dice.pick(words.VISITS)
        # Whatever happens to somebody ends on their last day.
        start = _midnight(day) + timedelta(seconds=dice.below(60_000))
        stop = min(start + timedelta(minutes=visit.minutes), _midnight(person.until) + timedelta(hours=23))
        encounter = Encounter(dice.uuid(), start, payer)
        organization, provider = dice.pick(self._providers)
        reason = dice.pick(person.conditions) if person.conditions and dice.chance(0.25) else None
        total = visit.cents + dice.below(100_000)
        self._tables["encounters"].append(
            (
                *(encounter.key, _instant(start), _instant(stop)),
                *(person.key, organization, provider, payer),
                *(visit.encounter_class, visit.code, visit.description),
                *(_money(visit.cents), _money(total), _money(total * dice.below(5) // 5)),
                *((reason.code, reason.description) if reason else ("", "")),
            )
        )
        return encounter

    def _condition(self, person: Person, condition: words.Condition, encounter: Encounter) -> None:
        onset = encounter.start.date()
        end = onset + timedelta(days=7 + self._dice.below(400))
        over = not condition.chronic and end <= person.until
        self._tables["conditions"].append(
            (
                *(str(onset), str(end) if over else "", person.key, encounter.key),
                *(condition.code, condition.description),
            )
        )
        if condition.medication:
            self._medication(person, condition, condition.medication, encounter)

    def _medication(
        self, person: Person, condition: words.Condition, medication: words.Medication, encounter: Encounter
    ) -> None:
        dispenses = 1 + self._dice.below(36)
        end = encounter.start + timedelta(days=30 * dispenses)
        self._tables["medications"].append(
            (
                *(_instant(encounter.start), _instant(end) if end.date() <= person.until else ""),
                *(person.key, encounter.payer, encounter.key, medication.code, medication.description),
                *(_money(medication.cents), _money(0), str(dispenses), _money(medication.cents * dispenses)),
                *(condition.code, condition.description),
            )
        )

    def _observations(self, person: Person, encounter: Encounter) -> None:
        if self._dice.chance(0.4):
            return
        about = (_instant(encounter.start), person.key, encounter.key)
        for measure in words.MEASURES:
            tenths = measure.low * 10 + self._dice.below((measure.high - measure.low) * 10)
            value = f"{tenths // 10}.{tenths % 10}"
            row = (measure.category, measure.code, measure.description, value, measure.units, "numeric")
            self._tables["observations"].append((*about, *row))
        answer = self._dice.pick(words.ANSWERS)
        said = (answer.code, answer.description, self._dice.pick(answer.values), "", "text")
        self._tables["observations"].append((*about, "survey", *said))

    def _scores(self, person: Person) -> None:
        """Yearly quality-of-life scores, which belong to no encounter."""
        for year in range(max(person.born.year + 1, person.until.year - 3), person.until.year):
            moment = _instant(datetime(year, 7, 1, 9, 0, self._dice.below(60), tzinfo=UTC))
            score = f"0.{1 + self._dice.below(9)}"
            self._tables["observations"].append(
                (moment, person.key, "", "", "QOLS", "QOLS", score, "{score}", "numeric")
            )


def _quoted(cell: str) -> str:
    """A field of RFC 4180, in quotes only where it must be."""
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"

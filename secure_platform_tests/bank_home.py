"""A bank whose product has what can be undone: built once to a pending release, then only copied."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from contract_body import contract_body
from made_once import made_once
from stdnum import luhn

from secure_platform import canonical
from secure_platform.access.principals import Principal
from secure_platform.access.resources import ProductResource
from secure_platform.contract.product import COMPONENT
from secure_platform.services import Services
from secure_platform.settings import PACKAGE, Settings, load_settings
from secure_platform.taxonomy.classification import Classification

PRODUCT: Final = "bank"
PEOPLE: Final = 30
STAFF: Final = {
    "dana": ("data_engineer",),
    "sam": ("data_steward",),
    "petra": ("privacy_officer",),
    "paul": ("privacy_officer",),
}
DEFINITION = f"""\
type: {COMPONENT}
attributes:
  name: {PRODUCT}
  owner: team:bank
  description: Made-up people and their cards.
  profile: gdpr_pseudonymous
  models: [accounts]
  purposes: [fraud]
"""
PERSON: Final = {"infoType": "RECORD_ID", "tokenDomain": "person", "subjectId": True}
KIND: Final = "kind"
"""Of cards, and open: what a condition may go by."""
Columns = list[tuple[str, dict[str, Any], Any]]
DATASETS: Final[dict[str, Columns]] = {
    "people": [
        ("id", PERSON, "tokenize"),
        ("name", {}, {"transform": "encrypt", "mode": "randomized"}),
        ("mail", {}, {"transform": "encrypt", "mode": "deterministic", "key": "subject"}),
        ("secret", {}, "hash"),
        ("login", {"tokenDomain": "login"}, {"transform": "vault", "ttl": 3650}),
    ],
    "cards": [
        ("number", {"infoType": "RECORD_ID"}, "tokenize"),
        ("card", {}, {"transform": "fpe", "checksum": "luhn"}),
        ("person", PERSON, "tokenize"),
        ("note", {}, {"transform": "encrypt", "mode": "randomized", "key": "subject"}),
        (KIND, {}, "keep"),
        (
            "contact",
            {},
            {
                "transform": "conditional",
                "when": {"column": KIND, "equals": "first"},
                "then": {"transform": "encrypt", "mode": "deterministic"},
                "otherwise": {"transform": "tokenize"},
            },
        ),
        ("details", {}, None),
    ],
}
INSIDE: Final = {
    "mail": {"transform": "encrypt", "mode": "randomized"},
    "phones": {"transform": "tokenize"},
}
"""What is in `details`, which is JSON; phones are a list."""
KEYS: Final = {"people": "id", "cards": "number"}
MODEL = """\
select cards.card, people.id as person, people.name, people.mail, people.secret, people.login, cards.note,
    cards.contact, cards.details,
    concat(people.name, people.mail) as mixed
from {{ source('bank', 'cards') }} as cards
join {{ source('bank', 'people') }} as people on people.id = cards.person
"""
AGGREGATES: Final = """\
budget: {epsilon: 1, period: year}
aggregates:
  - name: totals
    description: How many cards, and of how many people.
    source: cards
    contribution: {groups: 1, rows: 2}
    measures: [{name: cards, kind: rows}, {name: people, kind: persons}]
    epsilon: 0.5
"""
OUTPUTS = ("card", "person", "name", "mail", "secret", "login", "note", "contact", "details", "mixed")
SOURCES = """\
version: 2
sources:
  - {name: bank, database: build, schema: protected, tables: [{name: people}, {name: cards}]}
"""
MODELS = "version: 2\nmodels:\n  - name: accounts\n    columns:\n" + "".join(
    f"      - {{name: {name}, data_type: varchar}}\n" for name in OUTPUTS
)


def people() -> pl.DataFrame:
    numbers = range(PEOPLE)
    return pl.DataFrame(
        {
            "id": [f"person-{number}" for number in numbers],
            "name": [f"Given{number} Family{number}" for number in numbers],
            "mail": [f"person{number}@example.com" for number in numbers],
            "secret": [f"answer {number}" for number in numbers],
            "login": [f"login-{number}-of-nobody-else" for number in numbers],
        }
    )


def cards() -> pl.DataFrame:
    bodies = [f"4{number:014}" for number in range(7, 7 + 2 * PEOPLE)]
    return pl.DataFrame(
        {
            "number": [f"row-{number}" for number in range(2 * PEOPLE)],
            "card": [body + luhn.calc_check_digit(body) for body in bodies],
            "person": [f"person-{number % PEOPLE}" for number in range(2 * PEOPLE)],
            "note": [f"Family{number % PEOPLE} called" for number in range(2 * PEOPLE)],
            KIND: ["first" if number < 2 else "later" for number in range(2 * PEOPLE)],
            "contact": [f"contact {number} of nobody" for number in range(2 * PEOPLE)],
            "details": [
                json.dumps({"mail": f"card{number}@example.com", "phones": [f"+{number}", f"-{number}"]})
                for number in range(2 * PEOPLE)
            ],
        }
    )


def contract(dataset: str) -> dict[str, Any]:
    properties = [
        {
            "name": name,
            "logicalType": "string",
            "classification": "internal" if name == KIND else "restricted",
            **({"primaryKey": True} if name == KEYS[dataset] else {}),
            **({"logicalTypeOptions": {"pattern": "^[0-9]{16}$"}} if name == "card" else {}),
            **({"relationships": [{"to": "people.id"}], "required": True} if name == "person" else {}),
            **(_json() if name == "details" else _custom({**custom, "protect": asked})),
        }
        for name, custom, asked in DATASETS[dataset]
    ]
    return contract_body(dataset, properties)


def _custom(values: dict[str, Any]) -> dict[str, Any]:
    return {"customProperties": [{"property": key, "value": value} for key, value in values.items()]}


def _json() -> dict[str, Any]:
    text = {"logicalType": "string", "classification": "restricted"}
    mail, phones = ({**text, **_custom({"protect": asked})} for asked in INSIDE.values())
    inside = [{"name": "mail", **mail}, {"name": "phones", "logicalType": "array", "items": phones}]
    return {"logicalType": "object", "properties": inside}


@dataclass(frozen=True)
class Bank:
    """A home with a release of the bank, and the project and source it was built from."""

    home: Path
    made: Path

    @property
    def settings(self) -> Settings:
        return load_settings(home=self.home, project=self.made / "project")

    @property
    def services(self) -> Services:
        """Every room, opened afresh."""
        return Services(self.settings)

    def with_own_project(self, folder: Path, patch: pytest.MonkeyPatch) -> "Bank":
        """The same home, with a copy of the project and the source that can be changed."""
        own = Bank(self.home, Path(shutil.copytree(self.made, folder, ignore=lambda *_: ["home"])))
        patch.setenv("SECURE_PLATFORM_PROJECT", str(own.made / "project"))
        return own

    @property
    def source(self) -> Path:
        return self.made / "source"

    @property
    def resource(self) -> ProductResource:
        """The product as the policy sees it."""
        return ProductResource(PRODUCT, self.settings.environment, int(Classification.CONFIDENTIAL))

    def person(self, name: str) -> Principal:
        found = self.services.principals.get(name)
        assert found is not None
        return found

    def build(self) -> None:
        from secure_platform.orchestration.launch import run_build  # noqa: PLC0415 - as in built_home.py

        product = self.services.product(PRODUCT)
        report = run_build(self.settings, product, source=self.source, listener=lambda _: None)
        assert report.succeeded, [(each.asset, each.error) for each in report.events if each.error]

    def released(self, column: str, number: int = 1) -> list[str]:
        """What a column of the release holds."""
        from secure_platform.orchestration.steps.deploy import verified_package  # noqa: PLC0415
        from secure_platform.orchestration.steps.search import numbered  # noqa: PLC0415
        from secure_platform.release.verify import scan_table  # noqa: PLC0415

        services = self.services
        with verified_package(services, numbered(services, PRODUCT, number)) as release:
            frame = scan_table(release, "accounts", services.keys).collect()
        return frame.sort("person")[column].to_list()


@pytest.fixture(scope="session")
def bank_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original: project, source and home."""
    return made_once(tmp_path_factory, "bank", _make)


def _make(root: Path) -> None:
    write_project(root / "project")
    (root / "source").mkdir()
    people().write_csv(root / "source" / "people.csv")
    cards().write_csv(root / "source" / "cards.csv")
    from secure_platform.orchestration.home import prepare  # noqa: PLC0415 - as in built_home.py

    bank = Bank(root / "home", root)
    prepare(bank.settings)
    for name, roles in STAFF.items():
        bank.services.principals.add(name, roles=roles, actor="admin")
        token = root / "home" / "keys" / f"{name}.token"
        token.write_text(bank.services.tokens.issue(name, actor="admin").secret)
        token.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        _name(bank, patch)
        patch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(root / "home" / "keys" / "dana.token"))
        bank.build()


def write_project(project: Path) -> None:
    """The project of the bank: contracts, models and macros."""
    texts = {
        "platform.yaml": "{}\n",
        f"defs/{PRODUCT}/defs.yaml": DEFINITION,
        f"defs/{PRODUCT}/aggregates.yaml": AGGREGATES,
        f"dbt/models/{PRODUCT}/sources.yml": SOURCES,
        f"dbt/models/{PRODUCT}/schema.yml": MODELS,
        f"dbt/models/{PRODUCT}/accounts.sql": MODEL,
        **{
            f"defs/{PRODUCT}/contracts/{name}.odcs.yaml": canonical.dumps(contract(name)).decode()
            for name in DATASETS
        },
    }
    for name, text in texts.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    shutil.copytree(PACKAGE.parent / "dbt" / "macros", project / "dbt" / "macros")
    shutil.copy(PACKAGE.parent / "dbt" / "dbt_project.yml", project / "dbt")


@pytest.fixture
def bank(bank_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """A copy whose release waits at the gate."""
    home = Path(shutil.copytree(bank_once / "home", tmp_path / "bank"))
    _name(copied := Bank(home, bank_once), monkeypatch)
    return copied


def _name(bank: Bank, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("SECURE_PLATFORM_HOME", str(bank.home))
    patch.setenv("SECURE_PLATFORM_PROJECT", str(bank.made / "project"))
    patch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)

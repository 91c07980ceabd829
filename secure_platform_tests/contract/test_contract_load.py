"""A contract is refused unless all that it promises is understood; the error names file, culprit and fix."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from contract_support import column, contract, custom, document, enum, foreign_key, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_platform.contract.load import load_contract
from secure_platform.contract.model import Dependency, Protect, Reference
from secure_platform.contract.schema import pandera_schema
from secure_platform.contract.strict_yaml import MAX_INTEGER
from secure_platform.errors import ContractError
from secure_platform.taxonomy.classification import Classification

Damage = Callable[[dict[str, Any], dict[str, Any]], object]
"""What to do to the document and to its first column."""


def refused(directory: Path, damage: Damage) -> ContractError:
    first = column("a")
    body = document("things", first)
    damage(body, first)
    with pytest.raises(ContractError) as caught:
        load_contract(write(directory, body))
    assert "things.odcs.yaml" in caught.value.culprit
    assert caught.value.fix
    return caught.value


COLUMN_REFUSALS: dict[str, tuple[Damage, str, str]] = {
    "misspelt key": (lambda _, c: c.update(classfication="internal"), "`classfication`", "`classification`"),
    "unclassified": (lambda _, c: c.pop("classification"), "no classification", "Add `classification:`"),
    "unknown classification": (
        lambda _, c: c.update(classification="secret"),
        "unknown classification",
        "Use one of: confidential, internal, public, restricted",
    ),
    "classification in capitals": (
        lambda _, c: c.update(classification="Internal"),
        "unknown classification",
        "`internal`",
    ),
    "no type": (lambda _, c: c.pop("logicalType"), "logicalType", "timestamp"),
    "unsupported type": (lambda _, c: c.update(logicalType="time"), "logicalType", "timestamp"),
    "misspelt type": (lambda _, c: c.update(logicalType="strin"), "column a logicalType", "`string`"),
    "text for a flag": (
        lambda _, c: c.update(required="true"),
        "column a required: has the wrong type",
        "boolean",
    ),
    "unknown custom property": (
        lambda _, c: c.update(customProperties=custom(infotype="US_SSN")),
        "custom property `infotype`",
        "`infoType`",
    ),
    "custom property twice": (
        lambda _, c: c.update(customProperties=custom(subjectId=True) + custom(subjectId=False)),
        "appears twice",
        "Keep one",
    ),
    "custom property of another type": (
        lambda _, c: c.update(customProperties=custom(subjectId="yes")),
        "wrong type",
        "bool",
    ),
    "misspelt key in a custom property": (
        lambda _, c: c.update(customProperties=[{"property": "infoType", "valu": "US_SSN"}]),
        "column a customProperties #1",
        "",
    ),
    "unknown info type": (
        lambda _, c: c.update(customProperties=custom(infoType="US_SNN")),
        "info type `US_SNN` is unknown",
        "`US_SSN`",
    ),
    "classified below its info type": (
        lambda _, c: c.update(classification="confidential", customProperties=custom(infoType="US_SSN")),
        "US_SSN is at least restricted",
        "Classify the column restricted",
    ),
    "unknown transform": (
        lambda _, c: c.update(customProperties=custom(protect="tokenise")),
        "unknown transform",
        "`tokenize`",
    ),
    "transform without a name": (
        lambda _, c: c.update(customProperties=custom(protect={"keep": 4})),
        "unknown transform",
        "",
    ),
    "nested transform parameter": (
        lambda _, c: c.update(customProperties=custom(protect={"transform": "mask", "keep": [4]})),
        "parameter",
        "Write text",
    ),
    "token domain with capitals": (
        lambda _, c: c.update(customProperties=custom(tokenDomain="Patient")),
        "token domain",
        "lower-case",
    ),
    "look-around": (
        lambda _, c: c.update(logicalTypeOptions={"pattern": "^(?=a)b$"}),
        "compiled",
        "look-around",
    ),
    "back-reference": (lambda _, c: c.update(logicalTypeOptions={"pattern": r"^(a)\1$"}), "compiled", "Rust"),
    "pattern too large": (
        lambda _, c: c.update(logicalTypeOptions={"pattern": "^((a{1000}){1000}){1000}$"}),
        "compiled",
        "bounded",
    ),
    "pattern that closes the group": (
        lambda _, c: c.update(logicalTypeOptions={"pattern": "^a)|(?:.*$"}),
        "compiled",
        "",
    ),
    "pattern that comments the group out": (
        lambda _, c: c.update(logicalTypeOptions={"pattern": "^(?x)a # $"}),
        "compiled",
        "",
    ),
    "format that is not read": (
        lambda _, c: c.update(logicalType="date", logicalTypeOptions={"format": "M/d/yy"}),
        "format",
        "`M/d/yyyy`",
    ),
    "format of the other type": (
        lambda _, c: c.update(logicalType="date", logicalTypeOptions={"format": "yyyy-MM-dd HH:mm"}),
        "format",
        "yyyy",
    ),
    "pattern without an anchor": (
        lambda _, c: c.update(logicalTypeOptions={"pattern": "[0-9]{5}$"}),
        "anchors",
        "Begin it with ^",
    ),
    "misspelt option": (
        lambda _, c: c.update(logicalTypeOptions={"patern": "^a$"}),
        "column a logicalTypeOptions: has the unknown key `patern`",
        "`pattern`",
    ),
    "option that is not carried out": (
        lambda _, c: c.update(logicalTypeOptions={"format": "email"}),
        "`format` is not honoured",
        "Remove it",
    ),
    "limits exchanged": (
        lambda _, c: c.update(logicalTypeOptions={"minLength": 3, "maxLength": 2}),
        "allows no value",
        "Exchange",
    ),
    "numeric limits exchanged": (
        lambda _, c: c.update(logicalType="integer", logicalTypeOptions={"minimum": 3, "maximum": 2}),
        "allows no value",
        "Exchange",
    ),
    "date as the limit of a number": (
        lambda _, c: c.update(logicalType="integer", logicalTypeOptions={"minimum": "2024-01-01"}),
        "column a logicalTypeOptions minimum: has the wrong type",
        "number",
    ),
    "number as the limit of a date": (
        lambda _, c: c.update(logicalType="date", logicalTypeOptions={"minimum": 2024}),
        "column a logicalTypeOptions minimum: has the wrong type",
        "string",
    ),
    "limit that is no date": (
        lambda _, c: c.update(logicalType="date", logicalTypeOptions={"minimum": "2024-02-30"}),
        "not a date",
        "YYYY-MM-DD",
    ),
    "date in another spelling": (
        lambda _, c: c.update(logicalType="date", logicalTypeOptions={"minimum": "20240101"}),
        "not a date",
        "",
    ),
    "timestamp without a zone": (
        lambda _, c: c.update(logicalType="timestamp", logicalTypeOptions={"maximum": "2024-01-01T00:00:00"}),
        "not a timestamp",
        "Z",
    ),
    "nullable primary key": (
        lambda _, c: c.update(primaryKey=True, required=False),
        "primary key that may be null",
        "Remove",
    ),
    "examples of confidential values": (
        lambda _, c: c.update(classification="confidential", examples=["536-90-4399"]),
        "examples",
        "Remove `examples`",
    ),
    "enum of numbers": (
        lambda _, c: c.update(quality=[{**enum()[0], "arguments": {"validValues": [1, 2]}}]),
        "distinct texts",
        "quotes",
    ),
    "enum with a repetition": (lambda _, c: c.update(quality=enum("a", "a")), "distinct texts", "once"),
    "empty enum": (lambda _, c: c.update(quality=enum()), "distinct texts", ""),
    "enum on a number": (
        lambda _, c: c.update(logicalType="integer", quality=enum("1")),
        "not carried out",
        "",
    ),
    "enum with tolerance": (
        lambda _, c: c.update(quality=[{**enum("a")[0], "mustBe": 3}]),
        "not understood",
        "`mustBe: 0`",
    ),
    "enum that only warns": (
        lambda _, c: c.update(quality=[{**enum("a")[0], "severity": "warning"}]),
        "`severity` is not honoured",
        "",
    ),
    "quality rule in SQL": (
        lambda _, c: c.update(quality=[{"type": "sql", "query": "select 1", "mustBe": 0}]),
        "not carried out",
        "invalidValues",
    ),
    "other library rule": (
        lambda _, c: c.update(quality=[{"metric": "nullValues", "mustBe": 0}]),
        "not carried out",
        "",
    ),
    "enum of a later standard": (lambda _, c: c.update(enum=[{"value": "a"}]), "`enum` is not honoured", ""),
    "another name in the source": (
        lambda _, c: c.update(physicalName="b"),
        "`physicalName` is not honoured",
        "",
    ),
    "relationship that is not understood": (
        lambda _, c: c.update(relationships=[{"to": "other.odcs.yaml#/schema/other/properties/id"}]),
        "relationship",
        "`to: dataset.column`",
    ),
    "relationship to several columns": (
        lambda _, c: c.update(relationships=[{"to": ["b.a", "b.c"]}]),
        "relationship",
        "dataset.column",
    ),
    "two relationships": (
        lambda _, c: c.update(relationships=[{"to": "b.a"}, {"to": "c.a"}]),
        "several relationships",
        "Keep the one",
    ),
    "from at a column": (
        lambda _, c: c.update(relationships=[{"from": "a.b", "to": "b.a"}]),
        "relationships #1",
        "",
    ),
    "name with a quote": (lambda _, c: c.update(name='a"; drop table b; --'), "not usable", "63"),
    "name of ours": (lambda _, c: c.update(name="__line"), "not usable", "__"),
    "name that is too long": (lambda _, c: c.update(name="a" * 64), "not usable", "63"),
    "no name": (lambda _, c: c.pop("name"), "column 1: lacks `name`", "Add it"),
}
CONTRACT_REFUSALS: dict[str, tuple[Damage, str, str]] = {
    "unknown key": (lambda d, _: d.update(sla=[]), "unknown key `sla`", "Remove it"),
    "misspelt key": (lambda d, _: d.update(server=[]), "unknown key `server`", "`servers`"),
    "key that is not carried out": (
        lambda d, _: d.update(dataProduct="x"),
        "`dataProduct` is not honoured",
        "Remove",
    ),
    "no version": (lambda d, _: d.pop("version"), "lacks `version`", "Add it"),
    "number as version": (lambda d, _: d.update(version=1.0), "version: has the wrong type", "string"),
    "odd version": (lambda d, _: d.update(version="1"), "not a version", "1.0.0"),
    "other standard": (lambda d, _: d.update(apiVersion="v3.0.2"), "another version of ODCS", "v3.1.0"),
    "unknown standard": (lambda d, _: d.update(apiVersion="v3.1"), "apiVersion: is none of", "v3.1.0"),
    "draft": (lambda d, _: d.update(status="draft"), "not active", "`status: active`"),
    "two datasets": (lambda d, _: d["schema"].append({"name": "b"}), "exactly one dataset", "one file each"),
    "no columns": (lambda d, _: d["schema"][0].update(properties=[]), "no columns", "properties"),
    "column twice": (
        lambda d, _: d["schema"][0]["properties"].append(column("a")),
        "declared twice",
        "Keep one",
    ),
    "column twice in capitals": (
        lambda d, _: d["schema"][0]["properties"].append(column("A")),
        "declared twice",
        "Keep one",
    ),
    "two subjects": (
        lambda d, c: (
            c.update(customProperties=custom(subjectId=True)),
            d["schema"][0]["properties"].append(column("b", customProperties=custom(subjectId=True))),
        ),
        "several subjects: a, b",
        "Keep one",
    ),
    "no owner": (lambda d, _: d.pop("team"), "names no owner", "team"),
    "owner with spaces": (lambda d, _: d.update(team={"name": "Team X"}), "names no owner", "team"),
    "member without an address": (
        lambda d, _: d.update(team={"members": [{"username": "jo", "role": "owner"}]}),
        "names no owner",
        "e-mail",
    ),
    "no server": (lambda d, _: d.pop("servers"), "not one local CSV", "local"),
    "other server": (
        lambda d, _: d.update(servers=[{"server": "s", "type": "kafka", "host": "h:9092"}]),
        "not one local CSV",
        "local",
    ),
    "server without format": (
        lambda d, _: d["servers"][0].pop("format"),
        "servers #1: lacks `format`",
        "Add it",
    ),
    "path that escapes": (
        lambda d, _: d["servers"][0].update(path="../things.csv"),
        "below the source",
        "relative",
    ),
    "absolute path": (
        lambda d, _: d["servers"][0].update(path="/etc/things.csv"),
        "below the source",
        "relative",
    ),
    "backslash in a path": (
        lambda d, _: d["servers"][0].update(path="..\\t.csv"),
        "below the source",
        "relative",
    ),
    "glob": (lambda d, _: d["servers"][0].update(path="*.parquet"), "below the source", ".csv"),
    "other encoding": (lambda d, _: d["servers"][0].update(encoding="latin-1"), "encoding", "UTF-8"),
    "unknown custom property": (
        lambda d, _: d.update(customProperties=custom(onInvald="refuse")),
        "`onInvald` is unknown",
        "`onInvalid`",
    ),
    "unknown handling": (
        lambda d, _: d.update(customProperties=custom(onInvalid="ignore")),
        "onInvalid: has the unknown word `ignore`",
        "quarantine, refuse",
    ),
    "unknown extra columns": (
        lambda d, _: d.update(customProperties=custom(extraColumns="keep")),
        "extraColumns",
        "`keep_raw`",
    ),
    "ratio of one": (
        lambda d, _: d.update(customProperties=custom(onInvalid="quarantine", maxInvalidRatio=1)),
        "share of rows",
        "0 to below 1",
    ),
    "ratio without quarantine": (
        lambda d, _: d.update(customProperties=custom(maxInvalidRatio=0.1)),
        "onInvalid refuses",
        "quarantine",
    ),
    "flag for rows": (lambda d, _: d.update(customProperties=custom(minimumRows=True)), "wrong type", "int"),
    "negative rows": (
        lambda d, _: d.update(customProperties=custom(minimumRows=-1)),
        "negative",
        "0 or more",
    ),
    "dependency of an unknown column": (
        lambda d, _: d.update(
            customProperties=custom(dependencies=[{"columns": ["nowhere"], "determine": ["a"]}])
        ),
        "dependencies columns: names an unknown column",
        "",
    ),
    "dependency of nothing": (
        lambda d, _: d.update(customProperties=custom(dependencies=[{"columns": [], "determine": ["a"]}])),
        "no list of columns",
        "each once",
    ),
    "dependency that is no object": (
        lambda d, _: d.update(customProperties=custom(dependencies=["id"])),
        "dependency that is not understood",
        "determine",
    ),
    "dependency on itself": (
        lambda d, _: d.update(customProperties=custom(dependencies=[{"columns": ["a"], "determine": ["a"]}])),
        "determines itself",
        "one side",
    ),
    "custom property of the dataset": (
        lambda d, _: d["schema"][0].update(customProperties=custom(infoType="US_SSN")),
        "`customProperties` is not honoured",
        "Remove it",
    ),
    "custom property of a rule": (
        lambda d, _: d["schema"][0].update(
            quality=[{"type": "text", "customProperties": custom(onInvalid="refuse")}]
        ),
        "customProperties where none are read",
        "Move them",
    ),
    "row rule of the dataset": (
        lambda d, _: d["schema"][0].update(quality=[{"metric": "rowCount", "mustBeGreaterThan": 1}]),
        "not carried out",
        "minimumRows",
    ),
    "unknown promise": (
        lambda d, _: d.update(slaProperties=[{"property": "availability", "value": "99.9"}]),
        "`availability` is not carried out",
        "latency",
    ),
    "promise twice": (
        lambda d, _: d.update(
            slaProperties=[
                {"property": "latency", "value": 1, "unit": "d"},
                {"property": "freshness", "value": 2, "unit": "d"},
            ]
        ),
        "promises freshness twice",
        "Keep one",
    ),
    "promise without unit": (
        lambda d, _: d.update(slaProperties=[{"property": "latency", "value": 1}]),
        "slaProperties latency: has no supported unit",
        "`unit: h`",
    ),
    "retention in years": (
        lambda d, _: d.update(slaProperties=[{"property": "retention", "value": 6, "unit": "y"}]),
        "no supported unit",
        "`unit: d`",
    ),
    "retention in part of a day": (
        lambda d, _: d.update(slaProperties=[{"property": "retention", "value": 6, "unit": "h"}]),
        "part of a day",
        "whole days",
    ),
    "negative promise": (
        lambda d, _: d.update(slaProperties=[{"property": "latency", "value": -1, "unit": "h"}]),
        "positive number",
        "hours or days",
    ),
    "promise about an unknown column": (
        lambda d, _: d.update(
            slaProperties=[{"property": "latency", "value": 1, "unit": "h", "element": "things.b"}]
        ),
        "unknown element `things.b`",
        "a",
    ),
}


@pytest.mark.parametrize("name", COLUMN_REFUSALS)
def test_a_column_that_is_not_understood_is_refused(tmp_path: Path, name: str) -> None:
    damage, culprit, fix = COLUMN_REFUSALS[name]
    error = refused(tmp_path, damage)
    assert culprit in error.culprit
    assert fix in error.fix


@pytest.mark.parametrize("name", CONTRACT_REFUSALS)
def test_a_contract_that_is_not_understood_is_refused(tmp_path: Path, name: str) -> None:
    damage, culprit, fix = CONTRACT_REFUSALS[name]
    error = refused(tmp_path, damage)
    assert culprit in error.culprit
    assert fix in error.fix


def test_a_column_error_names_the_column(tmp_path: Path) -> None:
    assert ", column a: " in refused(tmp_path, lambda _, c: c.pop("classification")).culprit


def test_a_file_is_named_after_its_dataset(tmp_path: Path) -> None:
    for name in ("other.odcs.yaml", "things.yaml", "Things.odcs.yaml"):
        path = write(tmp_path, document("things", column("a"))).rename(tmp_path / name)
        with pytest.raises(ContractError) as caught:
            load_contract(path)
        assert name in caught.value.culprit
        assert caught.value.fix == "Name it things.odcs.yaml."


@pytest.mark.parametrize("name", ["Things", "my-things", "1things", "a" * 64, "a.b", "schema things"])
def test_dataset_names_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContractError, match="is not usable"):
        load_contract(write(tmp_path, document(name, column("a"))))


def test_errors_never_repeat_examples(tmp_path: Path) -> None:
    secret = "536-90-4399"
    for damage in (
        lambda _, c: c.update(classification="confidential", examples=[secret]),
        lambda _, c: c.update(required=secret),
        lambda _, c: c.update(examples=secret),
    ):
        error = refused(tmp_path, damage)
        assert secret not in str(error)
        assert secret not in repr(error)
        assert error.__cause__ is None


def test_everything_that_a_contract_says_is_in_the_model(tmp_path: Path) -> None:
    loaded = contract(
        tmp_path,
        column(
            "id",
            "integer",
            "confidential",
            primaryKey=True,
            description="Key.",
            logicalTypeOptions={"minimum": 1},
            customProperties=custom(infoType="RECORD_ID", tokenDomain="thing", subjectId=True),
        ),
        column(
            "ssn",
            classification="restricted",
            unique=True,
            logicalTypeOptions={"minLength": 9, "maxLength": 11, "pattern": "^[0-9-]+$"},
            customProperties=custom(
                infoType="US_SSN", protect={"transform": "mask", "keep_last": 0}, quasiIdentifier=True
            ),
        ),
        column("kind", quality=[{"type": "text", "description": "x"}, *enum("a", "b")]),
        column("at", "timestamp", logicalTypeOptions={"maximum": "2100-01-01T00:00:00Z"}),
        foreign_key("parent", "others.id", customProperties=custom(protect="drop")),
        team={"members": [{"username": "a@example.org"}, {"username": "b.c@example.org", "role": "Owner"}]},
        customProperties=custom(
            onInvalid="quarantine",
            maxInvalidRatio=0.25,
            extraColumns="keep_raw",
            minimumRows=0,
            dependencies=[{"columns": ["kind", "at"], "determine": ["ssn"]}],
        ),
        slaProperties=[
            {"property": "Latency", "value": 2, "unit": "d", "element": "things.at, id"},
            {"property": "retention", "value": 30, "unit": "d"},
        ],
        description={"purpose": "Things."},
    )
    assert (loaded.dataset, loaded.version, loaded.description) == ("things", "1.0.0", "Things.")
    assert (loaded.owner, loaded.source_file) == ("b.c@example.org", "things.csv")
    assert (loaded.on_invalid, loaded.max_invalid_ratio) == ("quarantine", 0.25)
    assert (loaded.extra_columns, loaded.minimum_rows) == ("keep_raw", 0)
    assert loaded.dependencies == (Dependency(("kind", "at"), ("ssn",)),)
    assert (loaded.freshness_hours, loaded.retention_days) == (48.0, 30)
    assert loaded.primary_key == ("id",)
    assert loaded.classification is Classification.RESTRICTED
    key, ssn, kind, at, parent = loaded.columns
    assert (key.required, key.minimum, key.token_domain, key.subject_id) == (True, 1, "thing", True)
    assert (ssn.protect, ssn.info_type) == (Protect("mask", {"keep_last": 0}), "US_SSN")
    assert (ssn.min_length, ssn.max_length, ssn.pattern, ssn.unique) == (9, 11, "^[0-9-]+$", True)
    assert ssn.quasi_identifier
    assert kind.enum == ("a", "b")
    assert at.maximum == "2100-01-01T00:00:00Z"
    assert (parent.reference, parent.protect) == (Reference("others", "id"), Protect("drop"))
    assert [c.dtype for c in loaded.columns] == [
        pl.Int64, pl.String, pl.String, pl.Datetime("us", "UTC"), pl.String,
    ]  # fmt: skip
    assert loaded.column("ssn") is ssn
    with pytest.raises(KeyError):
        loaded.column("none")
    assert loaded.is_key(key)
    assert loaded.is_key(ssn)
    assert not loaded.is_key(kind)


def test_defaults_are_the_strict_ones(tmp_path: Path) -> None:
    loaded = contract(tmp_path, column("a"))
    assert (loaded.on_invalid, loaded.max_invalid_ratio) == ("refuse", 0.0)
    assert (loaded.extra_columns, loaded.minimum_rows) == ("refuse", 1)
    assert loaded.owner == "team:test"


def test_contracts_are_values(tmp_path: Path) -> None:
    first = contract(
        tmp_path, column("a", classification="restricted", customProperties=custom(protect="drop"))
    )
    again = load_contract(tmp_path / "things.odcs.yaml")
    assert first == again
    assert hash(first) == hash(again)
    protect = first.column("a").protect
    assert protect is not None
    with pytest.raises(TypeError):
        protect.params["x"] = 1  # type: ignore[index]


def test_no_part_of_a_composite_key_is_a_key_alone(tmp_path: Path) -> None:
    loaded = contract(tmp_path, column("a", primaryKey=True), column("b", primaryKey=True))
    assert loaded.primary_key == ("a", "b")
    assert not any(map(loaded.is_key, loaded.columns))


def test_the_digest_is_of_the_content_not_of_its_spelling(tmp_path: Path) -> None:
    body = document("things", column("a", description="é"), column("b"))
    path = write(tmp_path, body)
    digest = load_contract(path).digest
    assert digest.startswith("sha256:")
    turned = dict(reversed(body.items()))
    for text in (
        json.dumps(turned),
        "# comment\n---\n" + yaml.safe_dump(turned, default_flow_style=True, allow_unicode=True),
    ):
        path.write_text(text, encoding="utf-8")
        assert load_contract(path).digest == digest
    body["schema"][0]["properties"][0]["description"] = "e"
    assert load_contract(write(tmp_path, body)).digest != digest


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True)
lengths = st.integers(0, 100)


@st.composite
def string_columns(draw: st.DrawFn) -> dict[str, Any]:
    low, high = sorted((draw(lengths), draw(lengths)))
    options: dict[str, Any] = draw(
        st.sampled_from([{}, {"minLength": low}, {"maxLength": high}, {"minLength": low, "maxLength": high}])
    )
    if draw(st.booleans()):
        options["pattern"] = f"^{draw(st.sampled_from(['[a-z]+', '(a|b)', '.{0,9}', 'x?']))}$"
    values = draw(st.lists(st.text(min_size=1, max_size=5), max_size=3, unique=True))
    return {
        "logicalType": "string",
        "logicalTypeOptions": options,
        "quality": enum(*values) if values else [],
    }


@st.composite
def number_columns(draw: st.DrawFn) -> dict[str, Any]:
    low, high = sorted(
        (draw(st.integers(-MAX_INTEGER, MAX_INTEGER)), draw(st.integers(-MAX_INTEGER, MAX_INTEGER)))
    )
    options = draw(
        st.sampled_from([{}, {"minimum": low}, {"maximum": high}, {"minimum": low, "maximum": high}])
    )
    return {"logicalType": draw(st.sampled_from(["integer", "number"])), "logicalTypeOptions": options}


@st.composite
def date_columns(draw: st.DrawFn) -> dict[str, Any]:
    low, high = sorted((draw(st.dates()), draw(st.dates())))
    return {
        "logicalType": "date",
        "logicalTypeOptions": {"minimum": low.isoformat(), "maximum": high.isoformat()},
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        names.map(str.lower),
        st.tuples(string_columns() | number_columns() | date_columns(), st.booleans(), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
def test_every_contract_that_loads_compiles(tmp_path: Path, columns: dict[str, Any]) -> None:
    loaded = contract(
        tmp_path,
        *(
            {"name": name, "classification": "public", "required": required, "unique": unique, **body}
            for name, (body, required, unique) in columns.items()
        ),
    )
    assert [c.name for c in loaded.columns] == list(columns)
    for declared, (body, required, unique) in zip(loaded.columns, columns.values(), strict=True):
        options = body.get("logicalTypeOptions", {})
        assert (declared.minimum, declared.maximum) == (options.get("minimum"), options.get("maximum"))
        assert (declared.min_length, declared.max_length) == (
            options.get("minLength"),
            options.get("maxLength"),
        )
        assert (declared.required, declared.unique) == (required, unique)
    frame = pl.DataFrame(schema={c.name: c.dtype for c in loaded.columns})
    pandera_schema(loaded).validate(frame, lazy=True)

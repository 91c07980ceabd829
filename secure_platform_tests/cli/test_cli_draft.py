"""`contract draft`: files in, a product out that loads, keeps its own files, builds, deploys and is read."""

import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from cli_support import ROOT, Cli, Result
from postgres_server import PostgresServer

from secure_platform.contract.load import load_contract
from secure_platform.contract.product import load_product
from secure_platform.source.csv import CsvSource
from secure_platform.validate.rules import validate

SECTION = re.compile(r"^## From your files to a product.*?^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
CUSTOMERS = "id,name,email,city\n" + "".join(
    f"{n},Person {n},p{n}@example.org,Town {n % 5}\n" for n in range(40)
)
ORDERS = "order_id,customer_id,placed,amount,state\n" + "".join(
    f"{n},{n % 40},1/{n % 28 + 1}/2021,{n}.50,{('paid', 'open')[n % 2]}\n" for n in range(90)
)
TABLES = (
    "CREATE SCHEMA draft_shop",
    """CREATE TABLE draft_shop.buyers AS
    SELECT n AS id, 'b' || n || '@example.org' AS email FROM generate_series(1, 40) n""",
    """CREATE TABLE draft_shop.buys AS SELECT n AS buy_id, n % 40 + 1 AS buyer_id, n % 2 = 0 AS paid,
    timestamptz '2021-03-04 05:06:07Z' + n * interval '1 day' AS placed FROM generate_series(1, 60) n""",
)
SHARED = [
    *("ecommerce/jaffle_shop/raw_customers.csv", "ecommerce/jaffle_shop/raw_orders.csv"),
    *("ecommerce/jaffle_shop/raw_payments.csv", "ecommerce/online_retail_by_day/2010-12-07.csv.gz"),
    *("finance/userdata/userdata1.csv", "finance/userdata/userdata2.csv"),
    *("finance/credit_scoring/credit_history_sample.csv", "pii/phone_examples.csv"),
    *("healthcare/synthea_csv/patients.csv", "healthcare/synthea_csv/encounters.csv"),
    *("healthcare/synthea_csv/payer_transitions.csv", "healthcare/febrl/dataset1.csv"),
    *("dirty_pairs/hospital/dirty.csv", "timeseries/nab/realKnownCause/nyc_taxi.csv.gz"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "customers.csv").write_text(CUSTOMERS)
    (folder / "orders.csv").write_text(ORDERS)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def command(folder: Path, *words: str) -> Result:
    """A command in the project of the current folder, with a home that it makes itself."""
    return Cli(folder / ".secure_platform")(*words)


def draft(folder: Path, *words: str) -> Result:
    return command(folder, "contract", "draft", *words)


def test_a_draft_is_a_product_that_checks(data: Path, here: Path) -> None:
    result = draft(here, str(data / "orders.csv"), str(data / "customers.csv"), "--product", "shop")
    assert result.code == 0, result.err
    for word in ("→ customers.id", "date M/d/yyyy", "EMAIL", "tokenize"):
        assert word in result.out
    customers = load_product(here / "defs" / "shop").contracts["customers"]
    done = {column.name: column.protect and column.protect.transform for column in customers.columns}
    assert done == {"id": "tokenize", "name": "tokenize", "email": "tokenize", "city": None}
    assert ".secure_platform*/" in (here / ".gitignore").read_text().splitlines()


def test_what_is_said_to_be_run_names_the_data_without_detours(data: Path, here: Path) -> None:
    result = draft(here, "../data/orders.csv", "--product", "shop")
    assert result.code == 0, result.err
    assert result.out.rstrip().endswith(f"run shop --source {data}")


def test_what_exists_is_not_replaced_and_nothing_is_written_beside_it(data: Path, here: Path) -> None:
    kept = here / "orders.odcs.yaml"
    kept.write_text("mine")
    refused = draft(here, *map(str, sorted(data.iterdir())))
    assert (refused.code, kept.read_text()) == (2, "mine")
    assert "orders.odcs.yaml" in refused.err
    assert [path.name for path in here.iterdir()] == ["orders.odcs.yaml"]
    assert draft(here, *map(str, sorted(data.iterdir())), "--force").code == 0
    assert load_contract(kept).dataset == "orders"


def test_a_link_is_replaced_and_what_it_points_at_is_not(data: Path, here: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    (here / "orders.odcs.yaml").symlink_to(elsewhere)
    assert draft(here, str(data / "orders.csv")).code == 2
    assert draft(here, str(data / "orders.csv"), "--force").code == 0
    assert (elsewhere.read_text(), (here / "orders.odcs.yaml").is_symlink()) == ("mine", False)


def test_the_review_is_json_for_programs(data: Path, here: Path) -> None:
    found = draft(here, str(data / "orders.csv"), "--json").json
    columns = {column["column"]: column for column in found["datasets"][0]["columns"]}
    assert columns["placed"]["format"] == "M/d/yyyy"
    assert columns["placed"]["doubts"] == []
    assert found["files"] == [str(here / "orders.odcs.yaml")]
    assert "Person 7" not in json.dumps(found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such.csv"], "is not a file"),
        ([], "nothing to draft from"),
        (["{}", "--table", "orders"], "chooses from a database"),
        (["{}", "--product", "Not A Name"], "not a usable product name"),
        (["{}", "--profile", "none"], "Invalid value"),
        (["{}", "{}"], "Two files"),
    ],
    ids=["no file", "nothing", "no database", "no name", "no profile", "twice"],
)
def test_what_cannot_be_drafted_is_refused(words: list[str], said: str, data: Path, here: Path) -> None:
    result = draft(here, *(word.replace("{}", str(data / "orders.csv")) for word in words))
    assert result.code == 2
    assert said in result.err
    assert list(here.iterdir()) == []


def test_types_of_a_product_are_known_to_its_drafts(data: Path, here: Path) -> None:
    product = here / "defs" / "shop"
    product.mkdir(parents=True)
    (here / "platform.yaml").write_text("environment: production\n")
    (product / "info_types.yaml").write_text(
        "types:\n  SHOP_BADGE:\n    family: record\n    title: Badge of the shop\n    group: identifier\n"
        "    classification: restricted\n    category: user.unique_id\n    ocsf: Personal\n"
        "    default_transform: tokenize\n    value_patterns: ['^BDG-[0-9]{6}$']\n"
    )
    rows = "".join(f"{n},BDG-{n:06}\n" for n in range(40))
    (data / "badges.csv").write_text(f"id,thing\n{rows}")
    result = draft(here, str(data / "badges.csv"), "--product", "shop", "--json")
    assert result.code == 0, result.err
    thing = result.json["datasets"][0]["columns"][1]
    assert (thing["classification"], thing["transform"]) == ("restricted", "drop")
    assert "SHOP_BADGE" in thing["doubts"][0]


@pytest.mark.parametrize("file", SHARED)
def test_a_file_keeps_the_contract_that_was_drafted_from_it(file: str, shared_data: Path, here: Path) -> None:
    result = draft(here, str(shared_data / file), "--json")
    assert result.code == 0, result.err
    contract = load_contract(Path(result.json["files"][0]))
    batches = list(CsvSource(shared_data / file).batches())
    malformed = [record for batch in batches for record in batch.malformed]
    found = validate(contract, pl.concat(batch.frame for batch in batches).lazy(), malformed=malformed)
    assert (found.passed, found.invalid_rows) == (True, len(malformed)), found.failures


def test_tables_of_a_database_are_drafted_and_converted(
    postgres_server: PostgresServer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_server.connect() as connection:
        for statement in TABLES:
            connection.execute(statement)
    tls = f"sslmode=verify-full&sslrootcert={postgres_server.ca}"
    address = f"localhost:{postgres_server.port}/postgres?{tls}"
    monkeypatch.setenv("SHOP_URL", f"postgresql://admin:{postgres_server.password}@{address}")
    asked = ("--url", "secret://env/SHOP_URL", "--table", "buyers", "--table", "buys")
    result = draft(here, *asked, "--product", "shop", "--convert", str(here / "data"), "--json")
    assert result.code == 0, result.err
    found = {
        column["column"]: (column["type"], column["key"])
        for dataset in result.json["datasets"]
        for column in dataset["columns"]
    }
    assert found == {
        "id": ("integer", "primary key"),
        "email": ("string", ""),
        "buy_id": ("integer", "primary key"),
        "buyer_id": ("integer", "→ buyers.id"),
        "paid": ("boolean", ""),
        "placed": ("timestamp", ""),
    }
    assert sorted(path.name for path in (here / "data").iterdir()) == ["buyers.parquet", "buys.parquet"]
    load_product(here / "defs" / "shop")
    assert postgres_server.password not in result.out + result.err
    missing = draft(here, "--url", "secret://env/SHOP_URL", "--table", "nothing")
    assert missing.code == 2


@pytest.mark.slow
def test_the_ten_minutes_of_the_readme_are_followed(data: Path, here: Path) -> None:
    found = SECTION.search((ROOT / "README.md").read_text("utf-8"))
    assert found is not None
    lines = [line for line in found[1].splitlines() if line.startswith("secure-platform ")]
    assert len(lines) > 9
    for line in lines:
        words = shlex.split(line.replace("~/data", str(data)), comments=True)[1:]
        result = command(here, *words)
        assert result.code == 0, f"{line}\n{result.out}{result.err}"
    assert "order_id" in result.out
    assert "Person 7" not in result.out

"""Keys are named like keys and never repeat; a foreign key is more than numbers that happen to be there."""

from pathlib import Path
from uuid import UUID

from draft_support import drafts, files, loaded

from secure_platform.contract.model import Reference


def table(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


def uuid(number: int) -> str:
    return str(UUID(int=(number * 2_654_435_761) << 64 | number))


CUSTOMERS = table("id,name,email", *[f"{n},Person {n},p{n}@example.org" for n in range(1, 41)])


def references(folder: Path, **tables: str) -> dict[str, Reference]:
    found = drafts(files(folder, {f"{name}.csv": text for name, text in tables.items()}))
    for draft in found.values():
        loaded(draft)
    return {
        f"{draft.dataset}.{column.name}": column.reference
        for draft in found.values()
        for column in draft.columns
        if column.reference
    }


def test_a_foreign_key_is_found_by_its_name_and_values(tmp_path: Path) -> None:
    orders = table("order_id,customer_id,qty", *[f"{n},{n % 40 + 1},{n % 7}" for n in range(1, 61)])
    found = references(tmp_path, customers=CUSTOMERS, orders=orders)
    assert found == {"orders.customer_id": Reference("customers", "id")}


def test_small_numbers_are_in_every_sequence_and_point_nowhere(tmp_path: Path) -> None:
    orders = table(
        "order_id,qty,rank,shelf_id", *[f"{n},{n % 7 + 1},{n % 9 + 1},{n % 5 + 1}" for n in range(1, 61)]
    )
    assert references(tmp_path, customers=CUSTOMERS, orders=orders) == {}


def test_one_value_that_is_nowhere_makes_it_no_foreign_key(tmp_path: Path) -> None:
    orders = table("order_id,customer_id", *[f"{n},{n}" for n in range(1, 42)])
    assert references(tmp_path, customers=CUSTOMERS, orders=orders) == {}


def test_long_texts_are_believed_without_a_name_and_doubted(tmp_path: Path) -> None:
    people = table(
        "id,birth_date,first_name", *[f"{uuid(n)},1970-01-{n:02},Person {n}" for n in range(1, 29)]
    )
    visits = table("ward,who", *[f"w{n % 3},{uuid(n % 28 + 1)}" for n in range(60)])
    found = drafts(files(tmp_path, {"people.csv": people, "visits.csv": visits}))
    who = found["visits"].column("who")
    assert who.reference == Reference("people", "id")
    assert any("its name does not say so" in doubt for doubt in who.doubts)
    assert (who.classification, who.subject_id) == (found["people"].column("id").classification, True)


def test_two_tables_that_hold_each_others_keys_make_no_circle(tmp_path: Path) -> None:
    rows = [f"{n},{n}" for n in range(1, 41)]
    found = references(tmp_path, a=table("a_id,b_id", *rows), b=table("b_id,a_id", *rows))
    assert len(found) == 1


def test_a_key_of_two_columns_is_found(tmp_path: Path) -> None:
    lines = table("order_id,line_no,price", *[f"{n // 4},{n % 4},{n}.5" for n in range(40)])
    (draft,) = drafts(files(tmp_path, {"order_lines.csv": lines})).values()
    assert loaded(draft).primary_key == ("order_id", "line_no")


def test_what_never_repeats_by_chance_is_no_key(tmp_path: Path) -> None:
    rows = [f"{n}.25,2020-01-{n % 28 + 1:02},{n % 3}" for n in range(60)]
    (draft,) = drafts(files(tmp_path, {"t.csv": table("amount,day,kind", *rows)})).values()
    assert not any(column.primary_key or column.unique for column in draft.columns)


def test_a_key_that_the_profile_drops_is_no_key(tmp_path: Path) -> None:
    rows = [f"{n},219-09-{n:04},Person {n}" for n in range(1000, 1040)]
    text = table("seq,ssn,name", *rows)
    (draft,) = drafts(files(tmp_path, {"people.csv": text}), "hipaa_safe_harbor").values()
    ssn = draft.column("ssn")
    assert (ssn.primary_key, ssn.protect and ssn.protect.transform) == (False, "drop")
    loaded(draft)


def test_numbers_of_people_are_tokenized_wherever_they_point(tmp_path: Path) -> None:
    orders = table("order_no,CustomerID,amount", *[f"A{n},{17000 + n % 9}.0,{n}.5" for n in range(60)])
    (draft,) = drafts(files(tmp_path, {"orders.csv": orders})).values()
    column = draft.column("CustomerID")
    assert (column.info_type, column.logical_type) == ("RECORD_ID", "string")
    assert column.protect
    assert column.protect.transform == "tokenize"

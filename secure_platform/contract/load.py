"""A contract file is read strictly: the standard's JSON schema first, then the platform's own rules.

One file declares one dataset and is named after it, so that what a file is can be seen without opening it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from secure_platform import canonical
from secure_platform.contract import strict_yaml
from secure_platform.contract.honoured import only
from secure_platform.contract.members import read_property, readers
from secure_platform.contract.model import Column, Contract
from secure_platform.contract.names import IDENTIFIER
from secure_platform.contract.place import Place, shown
from secure_platform.contract.standard import check_standard
from secure_platform.contract.terms import read_terms

SUFFIX: Final = ".odcs.yaml"
API_VERSION: Final = "v3.1.0"
_OBJECT: Final = frozenset(
    {
        *("id", "name", "logicalType", "physicalType", "description", "businessName", "tags"),
        *("dataGranularityDescription", "authoritativeDefinitions", "properties", "quality"),
    }
)


def load_document(path: Path) -> dict[str, Any]:
    """Read a YAML mapping strictly.

    Raises:
        ContractError: If the file cannot be read or is not one unambiguous mapping; names the file and line.
    """
    place = Place.of(path)
    try:
        with path.open("rb") as file:
            data = file.read(strict_yaml.MAX_BYTES + 1)
    except OSError:
        raise place.refusal("cannot be read", "Check that the file exists and may be read.") from None
    document = strict_yaml.parse(data, place)
    if not isinstance(document, dict):
        raise place.refusal("is not a mapping", "Begin the document with `key: value` lines.")
    return document


def load_contract(path: Path) -> Contract:
    """Read and check one contract file, except for its references to others.

    Raises:
        ContractError: If anything in it is not understood, not allowed or not consistent.
    """
    place = Place.of(path)
    contract = read_contract(load_document(path), place)
    if path.name != contract.dataset + SUFFIX:
        raise place.refusal(
            f"declares the dataset {shown(contract.dataset)}, which the file is not named after",
            f"Name it {contract.dataset}{SUFFIX}.",
        )
    return contract


def read_contract(document: Mapping[str, Any], place: Place) -> Contract:
    """Read and check a parsed contract, except for its references to others.

    Raises:
        ContractError: If anything in it is not understood, not allowed or not consistent.
    """
    check_standard(document, place)
    if document["apiVersion"] != API_VERSION:
        raise place.refusal("is written for another version of ODCS", f"Write `apiVersion: {API_VERSION}`.")
    dataset = _dataset(document, place)
    described = [part for body in dataset.get("properties", ()) for part in readers(body)]
    _refuse_stray_custom(document, [document, *described], place)
    columns = _columns(dataset, place)
    terms = read_terms(document, columns, place)
    canonical_document = canonical.dumps(document)
    return Contract(
        dataset=dataset["name"],
        description=dataset.get("description") or document.get("description", {}).get("purpose", ""),
        columns=columns,
        document=canonical_document,
        digest=canonical.sha256(canonical_document),
        **terms,
    )


def _dataset(document: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    objects: Sequence[Mapping[str, Any]] = document.get("schema", ())
    if len(objects) != 1:
        raise place.refusal(
            "does not declare exactly one dataset", "Write one object under `schema`, one file each."
        )
    name = objects[0]["name"]
    if not IDENTIFIER.fullmatch(name):
        raise place.refusal(
            f"the dataset name {shown(name)} is not usable",
            "Use lower-case letters, digits and _, at most 63.",
        )
    only(objects[0], _OBJECT, place.at("schema"))
    if any(rule.get("type") != "text" for rule in objects[0].get("quality", ())):
        raise place.at("schema").refusal(
            "has a quality rule that is not carried out",
            "Use the custom property `minimumRows`, or `type: text`.",
        )
    return objects[0]


def _columns(dataset: Mapping[str, Any], place: Place) -> tuple[Column, ...]:
    columns = tuple(read_property(body, place) for body in dataset.get("properties", ()))
    if not columns:
        raise place.refusal("declares no columns", "List them under `properties`.")
    seen: set[str] = set()
    for column in columns:
        if column.name.lower() in seen:
            raise place.at(f"column {column.name}").refusal(
                "is declared twice (databases do not tell capitals apart)", "Keep one of the two."
            )
        seen.add(column.name.lower())
    subjects = [column.name for column in columns if column.subject_id]
    if len(subjects) > 1:
        raise place.refusal(f"names several subjects: {', '.join(subjects)}", "Keep one `subjectId`.")
    return columns


def _refuse_stray_custom(part: Any, readers: Sequence[Any], place: Place) -> None:
    """Custom properties are read on the contract and its columns; elsewhere nobody would keep them."""
    if isinstance(part, dict):
        if "customProperties" in part and not any(part is reader for reader in readers):
            raise place.refusal(
                "has customProperties where none are read", "Move them to the contract or a column."
            )
        part = list(part.values())
    if isinstance(part, list):
        for member in part:
            _refuse_stray_custom(member, readers, place)

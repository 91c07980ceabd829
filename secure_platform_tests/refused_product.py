"""A project whose second product has a plan that is refused."""

import shutil
from pathlib import Path

from secure_platform.settings import PACKAGE

REFUSED = "broken"
_ASKED = "          - {property: infoType, value: DATE_OF_BIRTH}\n"


def with_refused_product(folder: Path) -> Path:
    """Definitions of `healthcare` and of `broken`, whose contract protects less than its profile asks for."""
    shutil.copytree(PACKAGE / "defs" / "healthcare", folder / "healthcare")
    broken = Path(shutil.copytree(PACKAGE / "defs" / "healthcare", folder / REFUSED))
    definition = broken / "defs.yaml"
    definition.write_text(definition.read_text().replace("name: healthcare", f"name: {REFUSED}"))
    contract = broken / "contracts" / "patients.odcs.yaml"
    text = contract.read_text()
    assert _ASKED in text
    contract.write_text(
        text.replace(_ASKED, _ASKED + "          - {property: protect, value: tokenize}\n", 1)
    )
    return folder

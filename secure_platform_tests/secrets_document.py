"""docs/secrets.md, whose commands, settings, code and Vault policy the tests use as they stand there."""

import re
from typing import Final

from secure_platform.settings import PACKAGE

_DOCUMENT: Final = PACKAGE.parent / "docs" / "secrets.md"


def documented(language: str) -> str:
    """The one block of this language."""
    text = _DOCUMENT.read_text("utf-8")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(block)


POLICY: Final = documented("hcl").replace("{", "{{").replace("}", "}}").replace("platform", "{name}")
"""What Vault must allow the platform, which is called `{name}` there."""

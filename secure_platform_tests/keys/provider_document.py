"""The examples of docs/key-providers.md, so that they are run."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from secure_platform.settings import PACKAGE

TEXT = (PACKAGE.parent / "docs" / "key-providers.md").read_text("utf-8")


def examples(language: str) -> list[str]:
    """The blocks in this language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@contextmanager
def installed(folder: Path) -> Iterator[ModuleType]:
    """The package that the document describes, once more under a name that is not its own."""
    information = folder / "acme_keys-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-keys\nVersion: 1\n")
    (point,) = re.findall(r'^hsm = "(.*)"$', TEXT, re.MULTILINE)
    (information / "entry_points.txt").write_text(
        f"[secure_platform.key_providers]\nhsm = {point}\nother = {point}\n"
    )
    (folder / "acme_keys.py").write_text(examples("python")[0])
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("acme_keys")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["acme_keys"]

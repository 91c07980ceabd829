"""Which names a contract may give: what PostgreSQL keeps whole, and what no tool has to quote or escape."""

import re
from typing import Annotated, Final, TypeAlias

from pydantic import Field

IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""Datasets, token domains, products and models; 63 bytes is what PostgreSQL keeps of a name."""
COLUMN: Final = re.compile(r"(?!__)[A-Za-z_](?:[A-Za-z0-9_ \-]{0,61}[A-Za-z0-9_])?")
"""Names of columns."""
Name: TypeAlias = Annotated[str, Field(pattern=f"^(?:{IDENTIFIER.pattern})$")]
"""An identifier in a document that pydantic reads."""

"""Every scan of a product's data uses the product's own info types and its readers' corrections."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import polars as pl

from secure_platform import canonical
from secure_platform.contract.product import Product
from secure_platform.scan.columns import Scanner
from secure_platform.scan.feedback import FILE as FEEDBACK
from secure_platform.scan.feedback import Corrected, Feedback, apply, read_feedback
from secure_platform.taxonomy.custom import FILE as TYPES
from secure_platform.taxonomy.custom import info_types_of

_NOTHING: Final = "none"


@dataclass(frozen=True)
class ProductScan:
    """How the data of one product are scanned today.

    Attributes:
        types_digest: Of the product's own info types.
    """

    scanner: Scanner
    feedback: Feedback
    types_digest: str
    today: date

    def findings(self, dataset: str, frame: pl.LazyFrame) -> Corrected:
        """The findings in a dataset or mart, after its readers' corrections."""
        return apply(self.scanner.scan(frame), self.feedback, dataset, self.today)

    def digest(self, dataset: str) -> str:
        """A digest of everything that the findings of a dataset depend on, except its data and the code."""
        return canonical.sha256(
            canonical.dumps([self.types_digest, self.feedback.digest(dataset, self.today)])
        )


def product_scan(product: Product) -> ProductScan:
    """The scan of a product's data.

    Raises:
        ContractError: If its info types or its feedback hold anything that is not understood.
    """
    path, today = product.directory / TYPES, datetime.now(UTC).date()
    digest = canonical.sha256(path.read_bytes()) if path.exists() else _NOTHING
    scanner = _scanner(product.directory, digest)
    return ProductScan(
        scanner, read_feedback(product.directory / FEEDBACK, scanner.types, today), digest, today
    )


@lru_cache(maxsize=16)
def _scanner(directory: Path, _types_digest: str) -> Scanner:
    """Its patterns take longer to compile than a small dataset takes to scan."""
    return Scanner(info_types_of(directory))

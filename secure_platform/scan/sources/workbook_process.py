"""The process that reads a workbook: sheet after sheet as text, hidden ones too.

A few bytes of XML can promise a sheet of any size, and calamine (which reads it, by `fastexcel`) makes room
for it: what is too much meets the memory limit of this process. Sheets of pictures and charts hold no cells.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import fastexcel
import pyarrow as pa

from secure_platform.confined import serve
from secure_platform.errors import DataRefusedError

SHEET: Final = b"sheet"
SLICE: Final = 16_384


def answer(request: Mapping[str, Any]) -> Iterator[pa.Table]:
    """The cells of each sheet, in slices whose metadata name the sheet; the first row is the first of cells.

    Raises:
        DataRefusedError: If it is no workbook, or encrypted.
    """
    try:
        with os.fdopen(request["descriptor"], "rb", closefd=False) as file:
            workbook = fastexcel.read_excel(file.read())
        for name in workbook.sheet_names:
            yield from _slices(workbook, name)
    except fastexcel.FastExcelError:
        raise DataRefusedError(
            f"{request['name']} is no workbook that can be read, or is encrypted", "Save it anew, decrypted."
        ) from None


def _slices(workbook: fastexcel.ExcelReader, name: str) -> Iterator[pa.Table]:
    sheet = workbook.load_sheet(name, header_row=None, dtypes="string")
    batch = sheet.to_arrow()
    metadata = {SHEET: name.encode(errors="replace")}
    for start in range(0, batch.num_rows, SLICE):
        yield pa.Table.from_batches([batch.slice(start, SLICE)]).replace_schema_metadata(metadata)


if __name__ == "__main__":
    serve(answer)

"""The values inside a JSON column, each under its own transform; what the plan does not name is left out.

A value arrives as text, as in a file, and is cast to its type. No text raises: what is not unambiguous JSON
(a repeated key, NaN), does not have the described shape or is nested too deep becomes null.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text

MEMBERS: Final = "members"
ROOT: Final = "$"
_DEEPEST: Final = 64
Tree = Mapping[str, "Tree"] | str


def inside(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """Every JSON text with its named values transformed."""
    tree = _tree(inputs.parts)
    return column.map_batches(
        lambda texts: _rebuilt(texts, tree, inputs.parts), return_dtype=pl.String, is_elementwise=True
    )


def texts_at(column: pl.Expr, path: str) -> pl.Expr:
    """The texts of the values at a path, as a list for each row."""
    tree = _tree([path])
    kind = pl.List(pl.String)

    def listed(texts: pl.Series) -> pl.Series:
        return pl.Series([_Values([text], tree).texts[path] for text in texts], dtype=kind)

    return column.map_batches(listed, return_dtype=kind, is_elementwise=True)


class _Values:
    """The values of some documents by their path, and where each of them is in what is made.

    Attributes:
        made: The documents with null for every value; null for a text that is no document.
        texts: Path → texts of the values there.
    """

    def __init__(self, texts: Sequence[str | None] | pl.Series, tree: Tree) -> None:
        self.made: list[Any] = [None] * len(texts)
        self.texts: defaultdict[str, list[str | None]] = defaultdict(list)
        self._slots: defaultdict[str, list[tuple[Any, Any]]] = defaultdict(list)
        for place, text in enumerate(texts):
            document = None if text is None else _parsed(text)
            if isinstance(document, list | dict):
                self._find(document, tree, self.made, place, 0)

    def put(self, path: str, values: Sequence[Any]) -> None:
        for (container, key), value in zip(self._slots[path], values, strict=True):
            container[key] = value

    def _find(self, value: Any, node: Tree, container: Any, key: Any, depth: int) -> None:
        if depth > _DEEPEST:
            return
        if isinstance(value, list):
            container[key] = made = [None] * len(value)
            for place, each in enumerate(value):
                self._find(each, node, made, place, depth + 1)
        elif isinstance(node, str):
            self._slots[node].append((container, key))
            self.texts[node].append(_text(value))
        elif isinstance(value, dict):
            container[key] = members = dict.fromkeys(name for name in node if name in value)
            for name in members:
                self._find(value[name], node[name], members, name, depth + 1)


def _rebuilt(texts: pl.Series, tree: Tree, parts: Mapping[str, pl.Expr]) -> pl.Series:
    values = _Values(texts, tree)
    for path, found in values.texts.items():
        frame = pl.DataFrame({path: found}, schema={path: pl.String})
        values.put(path, _plain(frame.select(parts[path].alias("value"))))
    made = (None if each is None else json.dumps(each, ensure_ascii=False) for each in values.made)
    return pl.Series(texts.name, list(made), dtype=pl.String)


def _plain(frame: pl.DataFrame) -> list[Any]:
    """Values as JSON can represent them."""
    dtype, value = frame.schema["value"], pl.col("value")
    if dtype.is_temporal():
        value = canonical_text(value, dtype)
    if dtype.is_float():
        value = pl.when(value.is_finite()).then(value)
    return frame.select(value).to_series().to_list()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _no_number(_: str) -> None:
    raise ValueError


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        # An escaped half of a surrogate pair is no character.
        return value if value.isascii() else value.encode(errors="replace").decode()
    return None if value is None or isinstance(value, dict) else json.dumps(value)


def _tree(paths: Sequence[str] | Mapping[str, Any]) -> Tree:
    """Paths such as `$.address.city` as nested keys; a path is the leaf that it leads to."""
    tree: dict[str, Any] = {}
    for path in paths:
        if path == ROOT:
            return ROOT
        *keys, last = path.split(".")[1:]
        node = tree
        for key in keys:
            node = node.setdefault(key, {})
        node[last] = path
    return tree

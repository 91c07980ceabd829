"""Plots and graphs are laid out on the server and drawn as SVG: no script, and readable at any width.

Lengths of bars are shares of the width, so that text keeps its size on a phone. Every picture repeats what a
table or list on the same page says in words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_WIDEST: Final = 80.0
_BAR: Final = 10
_LABEL: Final = 20
_BETWEEN: Final = 11
_BOX_HEIGHT: Final = 40
_ROW: Final = 56
_MARGIN: Final = 24
_CHARACTER: Final = 7.4
_PADDING: Final = 24
_ARROW: Final = 8
_SPACE: Final = 72
_STEP: Final = 36


@dataclass(frozen=True)
class Bar:
    """One bar; `percent` is its length as a share of the plot's width."""

    kind: str
    y: int
    percent: float
    value: int


@dataclass(frozen=True)
class Group:
    """A label and the bars under it."""

    label: str
    y: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class BarPlot:
    """Horizontal bars in groups."""

    title: str
    height: int
    bar: int
    groups: tuple[Group, ...]


def bar_plot(title: str, groups: Iterable[tuple[str, Mapping[str, int | None]]]) -> BarPlot:
    """Lay out groups of bars that share one scale.

    Args:
        title: What the plot shows.
        groups: Label, and kind of bar → its value; None for no bar.
    """
    given = [(label, {k: v for k, v in values.items() if v is not None}) for label, values in groups]
    largest = max((value for _, values in given for value in values.values()), default=0)
    placed: list[Group] = []
    y = 0
    for label, values in given:
        bars = [
            Bar(kind, y + _LABEL + index * (_BAR + 3), _WIDEST * value / largest if largest else 0.0, value)
            for index, (kind, value) in enumerate(values.items())
        ]
        placed.append(Group(label, y + _LABEL - 6, tuple(bars)))
        y += _LABEL + len(bars) * (_BAR + 3) + _BETWEEN
    return BarPlot(title, y, _BAR, tuple(placed))


@dataclass(frozen=True)
class Node:
    """Something in a graph.

    Attributes:
        name: Unlike any other's.
        label: What is written in its box.
        href: Where its box leads; None for nowhere.
        kind: Class of its box, `original` or `protected`; empty for neither.
        note: A second line; empty for none.
    """

    name: str
    label: str
    href: str | None = None
    kind: str = ""
    note: str = ""


@dataclass(frozen=True)
class Edge:
    """An arrow from one node to another, with what is written above it."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class Box:
    """A node where it is drawn."""

    node: Node
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Arrow:
    """An edge where it is drawn; `path` and `tip` are SVG path data."""

    edge: Edge
    path: str
    tip: str
    x: float
    y: float


@dataclass(frozen=True)
class Column:
    """The heading of a layer."""

    title: str
    x: float


@dataclass(frozen=True)
class Boundary:
    """A frame around some boxes."""

    title: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Graph:
    """Boxes and arrows between them, under the headings of their columns."""

    title: str
    width: float
    height: float
    columns: tuple[Column, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    boundary: Boundary | None


def graph(
    title: str,
    layers: Sequence[tuple[str, Sequence[Node]]],
    edges: Iterable[Edge],
) -> Graph:
    """Lay out a graph whose arrows lead to later layers, from left to right.

    Args:
        title: What it shows.
        layers: Heading and nodes of each layer.
        edges: Between nodes of the layers; those of unknown nodes are left out.
    """
    tallest = max((len(nodes) for _, nodes in layers), default=0)
    columns: list[Column] = []
    boxes: dict[str, Box] = {}
    x, top = float(_MARGIN), _MARGIN + _LABEL
    for heading, nodes in layers:
        width = max([_width(node) for node in nodes] + [_CHARACTER * len(heading)])
        columns.append(Column(heading, x + width / 2))
        offset = top + (tallest - len(nodes)) * _ROW / 2
        for place, node in enumerate(nodes):
            boxes[node.name] = Box(node, x, offset + place * _ROW, width, _BOX_HEIGHT)
        x += width + _SPACE
    arrows = tuple(
        _arrow(edge, boxes[edge.source], boxes[edge.target])
        for edge in edges
        if edge.source in boxes and edge.target in boxes
    )
    height = top + tallest * _ROW + _MARGIN / 2
    width = x - _SPACE + _MARGIN
    return Graph(title, width, height, tuple(columns), tuple(boxes.values()), arrows, None)


def chain(title: str, nodes: Sequence[Node], labels: Sequence[str], frame: tuple[str, int, int]) -> Graph:
    """Lay out nodes from top to bottom, each with an arrow to the next.

    Args:
        title: What it shows.
        nodes: In order.
        labels: What is written beside each arrow, one fewer than nodes.
        frame: Title of the frame, and the first and last node in it.
    """
    width = max(_width(node) for node in nodes)
    left, step = float(_MARGIN), _BOX_HEIGHT + _STEP
    boxes = [
        Box(node, left, _MARGIN / 2 + place * step, width, _BOX_HEIGHT) for place, node in enumerate(nodes)
    ]
    middle = left + width / 2
    arrows = tuple(
        _down(Edge(upper.node.name, lower.node.name, label), middle, upper, lower)
        for (upper, lower), label in zip(pairwise(boxes), labels, strict=True)
    )
    words, first, last = frame
    top, bottom = boxes[first].y - _STEP / 2, boxes[last].y + _BOX_HEIGHT + _STEP / 2
    boundary = Boundary(words, left / 2, top, width + left, bottom - top)
    right = left * 2 + width + _CHARACTER * len(words)
    return Graph(title, right, len(nodes) * step, (), tuple(boxes), arrows, boundary)


def _width(node: Node) -> float:
    return max(len(node.label), len(node.note)) * _CHARACTER + _PADDING


def _down(edge: Edge, middle: float, upper: Box, lower: Box) -> Arrow:
    start, end = upper.y + upper.height, lower.y - _ARROW
    tip = f"M{middle - 4:.1f} {end:.1f}h8l-4 {_ARROW}z"
    label = middle + _ARROW + len(edge.label) * _CHARACTER / 2
    return Arrow(edge, f"M{middle:.1f} {start:.1f}V{end:.1f}", tip, label, (start + lower.y) / 2 + 4)


def _arrow(edge: Edge, source: Box, target: Box) -> Arrow:
    start, end = source.x + source.width, target.x - _ARROW
    high, low = source.y + source.height / 2, target.y + target.height / 2
    middle = (start + end) / 2
    path = f"M{start:.1f} {high:.1f}C{middle:.1f} {high:.1f} {middle:.1f} {low:.1f} {end:.1f} {low:.1f}"
    tip = f"M{end:.1f} {low - 4:.1f}l{_ARROW} 4-{_ARROW} 4z"
    return Arrow(edge, path, tip, middle, (high + low) / 2 - 6)

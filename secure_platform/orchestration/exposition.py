"""Metrics in the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

PREFIX: Final = "secure_platform_"
_ESCAPED: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels = Mapping[str, str]
Sample = tuple[Labels, float]
Key = TypeVar("Key", bound=tuple[str, ...])


@dataclass(frozen=True)
class Family:
    """A metric with all its samples."""

    name: str
    text: str
    samples: Sequence[Sample]
    kind: Literal["gauge", "counter"] = "gauge"

    def lines(self) -> Iterator[str]:
        """In the text format of Prometheus."""
        name = PREFIX + self.name
        yield f"# HELP {name} {self.text}"
        yield f"# TYPE {name} {self.kind}"
        for labels, value in self.samples:
            said = ",".join(f'{key}="{text.translate(_ESCAPED)}"' for key, text in labels.items())
            yield f"{name}{{{said}}} {value:.17g}" if said else f"{name} {value:.17g}"


def exposition(families: Iterable[Family]) -> str:
    """The text that Prometheus scrapes."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def samples(names: Sequence[str], values: Mapping[Key, float]) -> list[Sample]:
    """Label values → value, in a fixed order."""
    return [(dict(zip(names, key, strict=True)), float(values[key])) for key in sorted(values)]

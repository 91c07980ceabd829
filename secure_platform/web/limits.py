"""A request to Dagster's API is refused before it runs if it asks for too much at once.

What the stock UI asks for is far below these limits; a document that doubles itself with every fragment, or
repeats one expensive field under a thousand names, is not.
"""

from typing import Any, Final, NamedTuple

from graphql import (
    ASTValidationRule,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
)

MOST_CHARACTERS: Final = 100_000


class Measure(NamedTuple):
    """How large an operation is, its fragments written out."""

    roots: int
    levels: int
    fields: int


MOST_READ: Final = Measure(roots=40, levels=40, fields=5_000)
# One change is one decision, one intent and one outcome in the audit log.
MOST_CHANGE: Final = Measure(roots=1, levels=40, fields=5_000)


class Limits(ASTValidationRule):
    """Refuses operations that are too deep, too wide, or too many at once."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._known: dict[str, Measure] = {}

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        """Measure the whole operation."""
        measured = self._measure(node.selection_set)
        most = MOST_CHANGE if node.operation is OperationType.MUTATION else MOST_READ
        for name, found, limit in zip(Measure._fields, measured, most, strict=True):
            if found > limit:
                self.report_error(GraphQLError(f"The operation has more than {limit} {name}.", node))

    def _measure(self, selections: SelectionSetNode | None) -> "Measure":
        found = Measure(0, 0, 0)
        for each in selections.selections if selections else ():
            if isinstance(each, FragmentSpreadNode):
                inner = self._fragment(each.name.value)
            elif isinstance(each, FieldNode):
                below = self._measure(each.selection_set)
                inner = Measure(1, below.levels + 1, below.fields + 1)
            else:
                assert isinstance(each, InlineFragmentNode)  # noqa: S101 - the third and last kind
                inner = self._measure(each.selection_set)
            found = Measure(
                found.roots + inner.roots, max(found.levels, inner.levels), found.fields + inner.fields
            )
        return found

    def _fragment(self, name: str) -> "Measure":
        if name not in self._known:
            # A fragment that contains itself is refused by another rule; here it only must come to an end.
            self._known[name] = Measure(0, 0, 0)
            fragment: FragmentDefinitionNode | None = self.context.get_fragment(name)
            self._known[name] = self._measure(fragment.selection_set if fragment else None)
        return self._known[name]

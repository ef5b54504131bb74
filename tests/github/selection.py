"""Just enough of GraphQL's grammar to give back exactly the fields that a query asks for.

Answering more would hide a client's error, answering less would be one of ours: a field without a value raises.
"""

import re
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\.\.\.|[A-Za-z_]\w*|[{}():@$!=\[\]]|-?\d+')


class MissingFieldError(Exception):
    """The query asks for a field that the stand-in does not know."""


@dataclass
class Selection:
    """What stands between braces: fields (key in the answer, name, what is asked of it), spreads, and `... on Type`."""

    fields: list[tuple[str, str, "Selection | None"]] = field(default_factory=list)
    spreads: list[str] = field(default_factory=list)
    typed: list[tuple[str, "Selection"]] = field(default_factory=list)


class _Parser:
    def __init__(self, query: str) -> None:
        self.tokens = _TOKEN.findall(query)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return str(self.tokens[self.at - 1])

    def skip_arguments(self) -> None:
        depth = 0
        while self.peek() == "(" or depth:
            depth += {"(": 1, ")": -1}.get(self.take(), 0)

    def selection(self) -> Selection:
        found = Selection()
        assert self.take() == "{"
        while self.peek() != "}":
            self.one(found)
        self.take()
        return found

    def one(self, found: Selection) -> None:
        name = self.take()
        if name == "..." and self.peek() == "on":
            self.take()
            found.typed.append((self.take(), self.selection()))
        elif name == "...":
            found.spreads.append(self.take())
        else:
            key = name
            if self.peek() == ":":
                self.take()
                name = self.take()
            self.skip_arguments()
            found.fields.append((key, name, self.selection() if self.peek() == "{" else None))


def parse(query: str) -> tuple[Selection, dict[str, Selection]]:
    """The selection of a query's one operation, and those of its fragments."""
    parser, fragments, operation = _Parser(query), {}, Selection()
    while word := parser.peek():
        parser.take()
        if word == "fragment":
            name = parser.take()
            parser.at += 2  # on Type
            fragments[name] = parser.selection()
        elif word in ("query", "mutation"):
            while parser.peek() != "{":
                parser.skip_arguments()
                if parser.peek() != "{":
                    parser.take()
            operation = parser.selection()
    return operation, fragments


def prune(value: Any, wanted: Selection | None, fragments: dict[str, Selection]) -> Any:
    """Of `value` what is asked for; an alias is looked up under its own name first."""
    if isinstance(value, list):
        return [prune(one, wanted, fragments) for one in value]
    if not isinstance(value, dict) or wanted is None:
        return value
    kept = {}
    for key, name, inner in wanted.fields:
        if key not in value and name not in value:
            raise MissingFieldError(name)
        kept[key] = prune(value[key if key in value else name], inner, fragments)
    for name in wanted.spreads:
        kept |= prune(value, fragments[name], fragments)
    for kind, inner in wanted.typed:
        if value.get("__typename", kind) == kind:
            known = [one for one in inner.fields if one[0] in value or one[1] in value or "__typename" in value]
            kept |= prune(value, Selection(known, inner.spreads, inner.typed), fragments)
    return kept

"""Protocol buffers' text format → nested fields, without a schema. Uses protobuf's own tokenizer.

Without a schema, unknown fields are kept as well, so that nothing in a file is ignored silently.
"""

from dataclasses import dataclass, field
from typing import Final

from google.protobuf.text_format import ParseError, Tokenizer

DEPTH_MAX: Final = 32
CLOSED_BY: Final = {"{": "}", "<": ">"}


class Malformed(ValueError):
    """The text is not in the text format; the message says where."""


@dataclass
class Message:
    """The fields of a message. A field may occur several times."""

    values: dict[str, list[str]] = field(default_factory=dict)
    """Field → numbers, names and texts, as text."""
    messages: dict[str, "list[Message]"] = field(default_factory=dict)
    """Field → messages."""

    def last(self, name: str, default: str = "") -> str:
        """The last value: the one that counts if a singular field occurs several times."""
        return self.values.get(name, [default])[-1]

    def whole(self, name: str) -> int:
        """A whole number; 0 if there is none. Raises Malformed."""
        text = self.last(name, "0")
        try:
            return int(text, 0)
        except ValueError as error:
            raise Malformed(f"{name}: expected a whole number, received {text!r}") from error

    def wholes(self, name: str) -> list[int]:
        """All whole numbers of a field. Raises Malformed."""
        return [Message({name: [text]}).whole(name) for text in self.values.get(name, [])]

    def each(self, name: str) -> "list[Message]":
        """All messages of a field."""
        return self.messages.get(name, [])

    def one(self, name: str) -> "Message":
        """The message of a singular field; an empty message if there is none."""
        return self.messages.get(name, [Message()])[-1]

    def names(self) -> list[str]:
        """All fields that occur."""
        return list(dict.fromkeys([*self.values, *self.messages]))

    def __contains__(self, name: str) -> bool:
        return name in self.values or name in self.messages


def parse(text: str) -> Message:
    """Read a message. Raises Malformed with line and column."""
    tokens = Tokenizer(text.splitlines())
    try:
        return _message(tokens, "", 0)
    except ParseError as error:
        raise Malformed(" ".join(str(error).split())) from error


def _message(tokens: Tokenizer, closed_by: str, depth: int) -> Message:
    """The fields up to the closing bracket; without one, up to the end."""
    if depth > DEPTH_MAX:
        raise tokens.ParseError(f"messages are nested deeper than {DEPTH_MAX}")  # type: ignore[arg-type]
    message = Message()
    while not tokens.AtEnd() if not closed_by else not tokens.TryConsume(closed_by):
        name = tokens.ConsumeIdentifier()
        colon = tokens.TryConsume(":")
        if colon and tokens.TryConsume("["):
            while not tokens.TryConsume("]"):
                _value(tokens, message, name, depth)
                tokens.TryConsume(",")
        elif colon or tokens.token in CLOSED_BY:
            _value(tokens, message, name, depth)
        elif tokens.TryConsume("["):  # messages may be listed without a colon
            while not tokens.TryConsume("]"):
                _value(tokens, message, name, depth)
                tokens.TryConsume(",")
        else:
            tokens.Consume(":")
        tokens.TryConsume(",") or tokens.TryConsume(";")
    return message


def _value(tokens: Tokenizer, into: Message, name: str, depth: int) -> None:
    for opened, closed_by in CLOSED_BY.items():
        if tokens.TryConsume(opened):
            into.messages.setdefault(name, []).append(_message(tokens, closed_by, depth + 1))
            return
    into.values.setdefault(name, []).append(_scalar(tokens))


def _scalar(tokens: Tokenizer) -> str:
    if tokens.token[:1] in ("'", '"'):
        return tokens.ConsumeString()
    sign = "-" if tokens.TryConsume("-") else ""
    text = tokens.token
    tokens.NextToken()
    if not text or text in "{}<>[],;:":
        raise tokens.ParseErrorPreviousToken(f"expected a value, received {text!r}")  # type: ignore[arg-type]
    return sign + text

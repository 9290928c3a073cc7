"""What msgspec says of JSON of the wrong form, in the words of the other errors. Pure."""

import re
from typing import Final

_KINDS: Final = {
    "array": "a list",
    "bool": "a boolean",
    "float": "a number",
    "float | null": "a number or null",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "a string",
}
_WRONG_KIND: Final = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<received>[^`]*)`")
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_PLACE: Final = re.compile(r" - at `\$\.?(?P<place>[^`]*)`$")


def reworded(message: str, start: int = 0) -> str:
    """`message`: the text of a ValidationError; other text is returned as it is. `start`: added to the first index, for
    a part of a list."""
    place = _PLACE.search(message)
    if wrong := _WRONG_KIND.match(message):
        expected, received = wrong["expected"], wrong["received"]
        was = (
            "a number that is no integer"
            if (expected, received) == ("int", "float")
            else _KINDS.get(received, received)
        )
        text = f"expected {_KINDS.get(expected, expected)}, received {was}"
    elif missing := _MISSING.match(message):
        text = f"expected a field {missing['name']!r}"
    else:
        return message
    if place is None or not place["place"]:
        return text
    moved = re.sub(r"^\[(\d+)\]", lambda index: f"[{start + int(index[1])}]", place["place"])
    return f"{moved}: {text}"

"""Protocol buffers' text format without a schema."""

import pytest

from skylane.convert.importing.text_proto import Malformed, Message, parse


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('name: "a"', Message({"name": ["a"]}), id="a text"),
        pytest.param("name: 'a' \"b\"", Message({"name": ["ab"]}), id="texts that are joined"),
        pytest.param('name: "\\n\\x41"', Message({"name": ["\nA"]}), id="escapes"),
        pytest.param("n: -8 # a comment\nm: 1e3", Message({"n": ["-8"], "m": ["1e3"]}), id="numbers and comments"),
        pytest.param("n: 1 n: 2", Message({"n": ["1", "2"]}), id="a field twice"),
        pytest.param("dims: [ -1, 4 ]", Message({"dims": ["-1", "4"]}), id="a list"),
        pytest.param("a { b: 1 }", Message({}, {"a": [Message({"b": ["1"]})]}), id="a message"),
        pytest.param("a: < b: 1 >;", Message({}, {"a": [Message({"b": ["1"]})]}), id="angle brackets"),
        pytest.param("a [{ b: 1 }, {}]", Message({}, {"a": [Message({"b": ["1"]}), Message()]}), id="messages listed"),
        pytest.param("", Message(), id="nothing"),
    ],
)
def test_parse(text: str, message: Message) -> None:
    assert parse(text) == message


@pytest.mark.parametrize(
    "text",
    ["a:", "a {", "a: [1", "a b", "{", "a: }", 'a: "x', "a: {" * 40, "a", "a: [", "a { b: 1 ]", "]"],
)
def test_what_is_malformed_is_reported_with_its_place(text: str) -> None:
    with pytest.raises(Malformed, match=r"^\d+:\d+ "):
        parse(text)


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(Malformed, match="max_batch_size: expected a whole number, received 'many'"):
        parse("max_batch_size: many").whole("max_batch_size")

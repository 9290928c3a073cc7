import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylane.prediction_ids import (
    CALL_MAX,
    ID_BYTES_MAX,
    format_id,
    new_writer,
    parse_id,
    writer_bits,
    writer_text,
)

WRITER = "9f2c1a7be04d5538"


@given(writer=st.binary(min_size=8, max_size=8), call=st.integers(1, CALL_MAX))
def test_an_id_is_parsed_to_what_it_was_made_of(writer: bytes, call: int) -> None:
    text = format_id(writer.hex(), call)
    assert parse_id(text) == (writer_bits(writer.hex()), call)
    assert writer_text(writer_bits(writer.hex())) == writer.hex()
    assert len(text.encode()) <= ID_BYTES_MAX


def test_a_writer_is_drawn_from_the_random_bytes_that_are_passed() -> None:
    assert new_writer(lambda count: bytes(range(count))) == "0001020304050607"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(WRITER, id="no call"),
        pytest.param(f"{WRITER}-", id="an empty call"),
        pytest.param(f"{WRITER}-0", id="calls count from 1"),
        pytest.param(f"{WRITER}-01", id="a leading zero"),
        pytest.param(f"{WRITER}-1G", id="no hexadecimal digit"),
        pytest.param(f"{WRITER.upper()}-1", id="upper case"),
        pytest.param(f"{WRITER}-ffffffffffffffff", id="a call of more than 63 bits"),
        pytest.param(f"{WRITER}-1\n", id="a line break"),
        pytest.param("x" * 10_000, id="a long text"),
    ],
)
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a prediction id.*9f2c1a7be04d5538-1a4") as refused:
        parse_id(text)
    assert len(str(refused.value)) < 250

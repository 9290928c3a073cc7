"""The form of a prediction's id: `<writer>-<call>`, for example `9f2c1a7be04d5538-1a4`.

The writer is 16 lower-case hexadecimal digits, drawn at random by each process that answers calls when it starts. The
call is the number of the call in that process, from 1, in lower-case hexadecimal digits without leading zeros. So ids
are unique over workers, servers and restarts, and both parts fit 64 bits. Pure: whoever draws a writer passes its
random bytes. The server makes ids in blocks: server/recording/id_blocks.py.
"""

import re
from collections.abc import Callable
from typing import Final

ID_BYTES_MAX: Final = 40
"""Bytes of an id at most: what a field, header or column for it has to hold."""
WRITER_DIGITS: Final = 16
CALL_MAX: Final = 2**63 - 1

WRITER: Final = re.compile(r"[0-9a-f]{16}")
PREDICTION_ID: Final = re.compile(r"([0-9a-f]{16})-([1-9a-f][0-9a-f]{0,15})")


def new_writer(random_bytes: Callable[[int], bytes]) -> str:
    """A writer's name. Pass `secrets.token_bytes`."""
    return random_bytes(WRITER_DIGITS // 2).hex()


def format_id(writer: str, call: int) -> str:
    """The id of a call of this writer."""
    return f"{writer}-{call:x}"


def parse_id(text: str) -> tuple[int, int]:
    """The writer, as the signed 64-bit number with its bits, and the call. Raises ValueError for any other text."""
    match = PREDICTION_ID.fullmatch(text)
    if match is None or (call := int(match[2], 16)) > CALL_MAX:
        shown = text if len(text) <= ID_BYTES_MAX else text[:ID_BYTES_MAX] + "…"
        raise ValueError(
            f"{shown!r} is not a prediction id: expected 16 hexadecimal digits, a hyphen and the call's number in "
            "hexadecimal digits, such as '9f2c1a7be04d5538-1a4'"
        )
    return writer_bits(match[1]), call


def writer_bits(writer: str) -> int:
    """The writer as a signed 64-bit number, for columns of numbers."""
    return int.from_bytes(bytes.fromhex(writer), "big", signed=True)


def writer_text(bits: int) -> str:
    """The writer from its signed 64-bit number."""
    return bits.to_bytes(8, "big", signed=True).hex()

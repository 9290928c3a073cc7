"""The parts of protobuf's wire format that the codecs use besides the generated code. Pure.

Source: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Sequence

_VARINT, _I64, _LENGTH, _I32 = 0, 1, 2, 5
_VARINT_SHIFT_MAX = 63
_FIELD_BYTES_MIN = 1
"""The start and the end of a group have one byte each; all other fields have two or more."""


def varint(value: int) -> bytes:
    """A non-negative number in base 128, low part first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field: string, bytes or message."""
    return varint(number << 3 | _LENGTH) + varint(len(content)) + content


def field_head(number: int, length: int) -> bytes:
    """The tag and the length before the content of a length-delimited field."""
    return varint(number << 3 | _LENGTH) + varint(length)


def nested(levels: Sequence[tuple[int, bytes]], size: int) -> bytes:
    """The bytes before a content of `size` bytes that is the last field of nested messages.

    `levels`: number of each field, from the outside in, and the bytes of its message before the next.
    """
    frame = b""
    for number, before in reversed(levels):
        frame = field_head(number, len(before) + len(frame) + size) + before + frame
    return frame


def packed(values: Sequence[int]) -> bytes:
    """Integers as the content of a packed field; negative ones have ten bytes."""
    return b"".join(varint(value & 0xFFFF_FFFF_FFFF_FFFF) for value in values)


def spans(message: bytes, start: int, stop: int) -> list[tuple[int, int, int]] | None:
    """(field number, first byte, end) of each length-delimited field in a message that is known to be well formed.

    None if it has a group, which none of our messages does.
    """
    fields = []
    while start < stop:
        tag, start = _read_varint(message, start)
        kind = tag & 7
        if kind == _LENGTH:
            length, start = _read_varint(message, start)
            fields.append((tag >> 3, start, start + length))
            start += length
        elif kind == _VARINT:
            _, start = _read_varint(message, start)
        elif kind in (_I64, _I32):
            start += 8 if kind == _I64 else 4
        else:
            return None
    return fields


def has_more_fields(message: bytes, fields_max: int) -> bool:
    """Whether a message, which may be malformed, has more top-level fields than that. Reads no more of them."""
    start, size, count = 0, len(message), 0
    if size <= _FIELD_BYTES_MIN * fields_max:
        return False
    try:
        while start < size and count <= fields_max:
            tag, start = _read_varint(message, start)
            kind = tag & 7
            if kind == _LENGTH:
                length, start = _read_varint(message, start)
                start += length
            elif kind == _VARINT:
                _, start = _read_varint(message, start)
            elif kind in (_I64, _I32):
                start += 8 if kind == _I64 else 4
            # the start and the end of a group count as fields
            count += 1
    except (IndexError, ValueError):  # truncated or malformed: the generated code reports the error
        return False
    return count > fields_max


def _read_varint(message: bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[start]
        value |= (byte & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if byte < 0x80:
            return value, start
        if shift > _VARINT_SHIFT_MAX:
            raise ValueError("a varint of more than ten bytes")

"""What a client hears that speaks HTTP/1.1 to a port of HTTP/2."""

import re
from typing import Final

RESPONSE: Final = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"This port speaks gRPC, which is HTTP/2.\n"
)

is_request: Final = re.compile(rb"[A-Z]+ [^\r\n]* HTTP/1").match
"""Whether these bytes begin as a request does whose client can read RESPONSE."""

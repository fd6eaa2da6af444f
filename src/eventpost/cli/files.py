"""Files and standard input as commands read them."""

import sys
from pathlib import Path

STDIN = "-"
FILE_BYTES_MAX = 256 * 1024 * 1024
"""A larger file is refused, before it fills memory."""


def read(path: str) -> bytes:
    """The bytes of a file, or of standard input for `-`. Raises InvalidRequest."""
    from eventpost.core.errors import InvalidRequest

    try:
        if path == STDIN:
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidRequest(
            "FileNotReadable",
            f"{path} cannot be read: {error.strerror}.",
            fix="Give the path of a readable file, or - for standard input.",
        ) from error
    if len(content) > FILE_BYTES_MAX:
        raise InvalidRequest(
            "FileTooLarge",
            f"{path} is larger than {FILE_BYTES_MAX:,} bytes.",
            fix="Split it.",
        )
    return content

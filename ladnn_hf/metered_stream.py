"""A file that is not read for ever: what parses its headers is Python, and a few bytes may claim millions."""

from typing import BinaryIO

MAX_READS = 500_000
"""Most times that a file is read: slices of many parts, such as enhanced CT of 1,000 frames, stay below."""
MAX_HEAD = 4_000_000
"""Most bytes that a picture's headers are read for; tags may lie over each other and grow beyond the file."""


class MeteredStream:
    """A file open for reading, as Pillow and pydicom read one.

    Args:
        stream: The file.
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._reads = 0
        self._head: int | None = None
        self.seek, self.tell = stream.seek, stream.tell

    def begin_head(self) -> None:
        """From now on at most `MAX_HEAD` bytes are read in parts; a file that is read whole is no header."""
        self._head = MAX_HEAD

    def end_head(self) -> None:
        """From now on any number of bytes is read."""
        self._head = None

    def read(self, size: int = -1) -> bytes:
        """As a file's.

        Raises:
            OSError: It has been read too often, or too much of it for a header.
        """
        self._reads += 1
        if self._reads > MAX_READS:
            raise OSError("The file has more parts than a slice has.")
        content = self._stream.read(size)
        if self._head is not None and size is not None and size >= 0:
            self._head -= len(content)
            if self._head < 0:
                raise OSError("The file has longer headers than a slice has.")
        return content

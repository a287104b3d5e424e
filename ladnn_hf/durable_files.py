"""Files that are on disk when a function returns: whole or as they were, whatever dies in between.

A caller holds a lock: no two threads or processes write to one folder at a time.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished"
"""A file in the making. There is one at a time, so that the next one takes the place of one left behind."""


def write_whole(path: Path, content: bytes, unfinished: Path) -> None:
    """Write or replace a file.

    Args:
        path: The file.
        content: All of it.
        unfinished: A path on the same disk for the file in the making.

    Raises:
        OSError: The disk is full, broken or read-only; `path` is as it was.
    """
    with whole_file(path, unfinished) as stream:
        stream.write(content)


@contextmanager
def whole_file(path: Path, unfinished: Path) -> Iterator[BinaryIO]:
    """A file to write or replace piece by piece; see `write_whole`.

    Where the block fails, `path` is as it was.
    """
    try:
        with unfinished.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def append_whole(path: Path, line: bytes) -> None:
    """Append a line to a file that is there.

    Raises:
        OSError: The disk is full, broken or read-only; the file is as it was.
    """
    with path.open("ab", buffering=0) as stream:
        end = stream.tell()
        try:
            if stream.write(line) < len(line):  # the disk had room for a part
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(end)
            raise


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk: of files that were made, moved or deleted.

    Raises:
        OSError: The disk is broken.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

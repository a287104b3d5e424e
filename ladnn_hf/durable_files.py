"""Files that are on disk when a function returns: whole or as they were, whatever dies in between.

A caller holds a lock: no two threads or processes write to one folder at a time.
"""

import errno
import os
from pathlib import Path

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
    try:
        with unfinished.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    except OSError:
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

"""What the C library does with memory that is given back."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""What `mallopt` of glibc's malloc.h calls M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX."""
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have the C library keep what is freed in the block for what is allocated next.

    Each step on a CPU allocates the same large tensors anew. glibc takes each from the system and gives it
    back, and the system clears every page: up to a third of a step. Other C libraries are left as they are.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        for option, default in _DEFAULTS.items():
            library.mallopt(option, default)
        library.malloc_trim(0)


def share_heaps() -> None:
    """Have all threads of a server take their memory from two heaps.

    glibc opens up to eight a core, one for each new thread, and what is freed in one serves no other.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, 2)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "malloc_trim") else None  # musl has neither

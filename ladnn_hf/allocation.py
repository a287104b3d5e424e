"""Memory that a training step gives back, kept for the next step."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""What `mallopt` of glibc's malloc.h calls M_TRIM_THRESHOLD and M_MMAP_MAX."""
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have the C library keep what is freed in the block for what is allocated next.

    Each step on a CPU allocates the same large tensors anew. glibc takes each from the system and gives it
    back, and the system clears every page: up to a third of a step. Other C libraries are left as they are.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "malloc_trim"):  # musl has neither
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

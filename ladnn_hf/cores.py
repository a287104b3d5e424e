"""How many cores this process may use."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much of the machine a container may use: microseconds of every period, or `max`."""


def usable_cores() -> int:
    """The cores that prediction uses, at least 1.

    `OMP_NUM_THREADS` where it is set, as `torchrun` does for processes side by side; else what the scheduler
    and a container's quota leave of the machine.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores

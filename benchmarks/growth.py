"""How time and memory of answering, building and auditing grow with the data.

python benchmarks/growth.py 2000 10000 50000

Generates that many slices, answers them, builds a data set of them and audits it, each in a process of its
own, and prints seconds, milliseconds a slice and the most memory that the process held, memory-mapped pages
included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from generated_slices import write_slices


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and MiB that a command takes; it may exit with 1, which means findings."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("counts", nargs="+", type=int, metavar="COUNT", help="slices to generate")
ladnn = [sys.executable, "-m", "ladnn_hf"]
print("| slices | step | seconds | ms a slice | peak MiB |\n|---|---|---|---|---|", flush=True)
for count in parser.parse_args().counts:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        write_slices(count, folder / "slices")
        slices, dataset, report = (str(folder / each) for each in ("slices", "dataset", "audit"))
        for step, command in {
            "predict": ["predict", slices, "--format", "json"],
            "build": ["data", "from-folder", slices, "--split", "0.8,0.1,0.1", "--output", dataset],
            "audit": ["data", "audit", dataset, "--output", report],
        }.items():
            seconds, mebibytes = measured(ladnn + command)
            numbers = f"{seconds:.0f} | {seconds / count * 1000:.1f} | {mebibytes:.0f}"
            print(f"| {count} | {step} | {numbers} |", flush=True)

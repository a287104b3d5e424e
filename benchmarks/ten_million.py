"""Plans the answers to ten million slices from what some of them take here.

python benchmarks/ten_million.py --slices 1000

Two processes, started as a launcher starts them, answer generated 512×512 slices in Parquet with the bundled
checkpoint; many parts of answers are joined. What the plan takes for granted is an option: price, cores,
link.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from generated_slices import write_slices

from ladnn_hf.shared_answers import Process, SharedAnswers

SLICES = 10_000_000
ROWS = 250
"""Rows of a row group."""
PARTS, LINES = 400, 500
"""Parts that are joined, and the answers of each."""


def write_parquet(folder: Path, count: int) -> Path:
    """Generated slices as one Parquet file."""
    write_slices(count, folder / "slices", size=512)
    files = sorted((folder / "slices").glob("*/*.png"))
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    path = folder / "slices.parquet"
    with pq.ParquetWriter(path, pa.schema({"image": kind}), compression="none") as writer:
        for at in range(0, count, ROWS):
            rows = [{"bytes": file.read_bytes(), "path": file.name} for file in files[at : at + ROWS]]
            writer.write_table(pa.table({"image": pa.array(rows, kind)}), row_group_size=ROWS)
    return path


def answered(slices: Path, output: Path) -> tuple[float, float, float]:
    """Seconds, core-seconds of both processes, and MiB of the larger."""
    command = [
        sys.executable,
        "-m",
        "ladnn_hf",
        "predict",
        str(slices),
        "--format",
        "json",
        "--output",
        output,
    ]
    begin = time.perf_counter()
    running = []
    for rank in range(2):
        environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
    worked, held = 0.0, 0.0
    for process in running:
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{command}: failed")
        worked += usage.ru_utime + usage.ru_stime
        held = max(held, usage.ru_maxrss / 1024)
    return time.perf_counter() - begin, worked, held


def joined(folder: Path, line: bytes) -> float:
    """Seconds that joining takes, an answer."""
    shared = SharedAnswers(folder / "many", map(str, range(PARTS)), [])
    for number in shared.missing(Process(0, 1)):
        shared.write(number, lambda stream: stream.write(line * LINES))
    begin = time.perf_counter()
    shared.join(headed=False)
    return (time.perf_counter() - begin) / (PARTS * LINES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=1000, help="how many are answered here")
    parser.add_argument("--cores", type=int, default=16, help="of a machine of the plan")
    parser.add_argument("--price", type=float, default=0.04, help="of an hour of a core, in dollars")
    parser.add_argument("--link", type=float, default=10, help="of a machine, in gigabits a second")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        slices, output = write_parquet(folder, given.slices), folder / "answers.jsonl"
        seconds, worked, held = answered(slices, output)
        lines = output.read_bytes().splitlines(keepends=True)
        joining = joined(folder, lines[0])
        size, line = slices.stat().st_size / given.slices, len(lines[0])
    each = worked / given.slices
    print("| measured | |\n|---|---|")
    print(f"| a slice | {1000 * each:.1f} core-ms, {1000 * seconds / given.slices:.1f} ms on 2 cores |")
    print(f"| read of a slice | {size / 1000:.0f} kB |")
    print(f"| written of a slice | {line} bytes |")
    print(f"| memory of a process | {held:.0f} MiB |")
    print(f"| joining a million answers | {joining * 1e6:.1f} s |")
    print(f"\n{SLICES:,} slices, {given.cores} cores a machine:\n")
    print("| machines | hours | read, Gbit/s of each | of all | dollars |\n|---|---|---|---|---|")
    for machines in (1, 4, 16, 64):
        pace = machines * given.cores / each
        bits = pace * size * 8 / 1e9
        hours = SLICES / pace / 3600 + SLICES * joining / 3600
        price = hours * machines * given.cores * given.price
        print(f"| {machines} | {hours:.2f} | {bits / machines:.1f} | {bits:.1f} | {price:.0f} |")
    print(
        f"\nRead in all: {SLICES * size / 1e12:.1f} TB; answers: {SLICES * line / 1e9:.1f} GB. A link of "
        f"{given.link:g} Gbit/s is full with {given.link * 1e9 / 8 / size * each:.0f} cores behind it."
    )

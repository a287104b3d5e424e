"""How time and memory of building, answering, evaluating and auditing grow with the data.

python benchmarks/growth.py 1000 10000 100000 --folder growth

Generates that many slices, builds a data set of them, answers it, evaluates the answers and audits it, each
in a process of its own, and prints what the process took: seconds by the clock and of the cores, the latter
also for a slice, and the most memory that it held, memory-mapped pages included. The network is a tiny one
that knows nothing: what grows is around it.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

from generated_slices import write_slices

SIDE = 64
"""Of the network's input."""


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, core-seconds and MiB that a command takes; it may exit with 1, which means findings."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write_tiny(folder: Path) -> None:
    """A model folder with an export."""
    from ladnn_hf import LaDnnConfig, LaDnnForImageClassification, LaDnnImageProcessor
    from ladnn_hf.export import write_onnx

    network = LaDnnForImageClassification(LaDnnConfig(backbone="test_efficientnet", image_size=SIDE)).eval()
    network.save_pretrained(folder)
    LaDnnImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    write_onnx(network, folder)


def apart(do, *given) -> None:
    """Do something in a process of its own: Linux counts what this one holds to those that it starts."""
    process = multiprocessing.get_context("spawn").Process(target=do, args=given)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def commands(count: int, folder: Path) -> dict[str, list[str]]:
    """What is measured, in the order in which each needs the one before."""
    names = ("tiny", f"slices-{count}", f"dataset-{count}", f"answers-{count}.jsonl")
    tiny, slices, dataset, answers = (str(folder / name) for name in names)
    asked = ["--format", "json", "--model", tiny]
    return {
        "build": ["data", "from-folder", slices, "--output", dataset],
        "predict a folder": ["predict", slices, *asked],
        "predict a data set": ["predict", f"{dataset}/train", *asked, "--output", answers],
        "evaluate the answers": [
            *("evaluate", "--model", tiny, "--dataset", dataset, "--split", "train"),
            *("--answers", answers, "--output", str(folder / f"report-{count}")),
        ],
        "audit": ["data", "audit", dataset, "--output", str(folder / f"audit-{count}")],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("counts", nargs="+", type=int, metavar="COUNT", help="slices to generate")
    parser.add_argument("--folder", type=Path, required=True, help="where all is written, and stays")
    parser.add_argument("--size", type=int, default=128, help="side of a slice in pixels")
    parser.add_argument("--steps", nargs="+", choices=commands(0, Path()), help="default: all")
    arguments = parser.parse_args()
    arguments.folder.mkdir(exist_ok=True)
    if not (arguments.folder / "tiny").exists():
        apart(write_tiny, arguments.folder / "tiny")
    print(
        "| slices | step | seconds | core-seconds | core-ms a slice | peak MiB |\n|---|---|---|---|---|---|"
    )
    for count in arguments.counts:
        if not (arguments.folder / f"slices-{count}").exists():
            apart(write_slices, count, arguments.folder / f"slices-{count}", arguments.size)
        for step, command in commands(count, arguments.folder).items():
            if step not in (arguments.steps or commands(0, Path())):
                continue
            seconds, core_seconds, mebibytes = measured([sys.executable, "-m", "ladnn_hf", *command])
            numbers = f"{core_seconds:.0f} | {1000 * core_seconds / count:.2f} | {mebibytes:.0f}"
            print(f"| {count} | {step} | {seconds:.0f} | {numbers} |", flush=True)

"""How fast slices are answered, as ratios of one run, with the physical limit of the network beside them.

python benchmarks/answering_speed.py

On an idle machine: what is compared takes turns, so that all meet the same load, and the median counts.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import torch
from generated_slices import write_slices
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from ladnn_hf import LaDnnConfig, LaDnnForImageClassification, Predictor, draw_phantom
from ladnn_hf.cores import usable_cores
from ladnn_hf.export import write_onnx
from ladnn_hf.onnx_engine import OnnxEngine
from ladnn_hf.openvino_engine import OpenVinoEngine, openvino

BACKBONES = ("tf_efficientnet_lite0", "densenet169")
SIZE = 224
IN_FOLDER, SHARED = 200, 1000
"""Slices of the folder, and those that processes share: more than one shard each."""
PAGE = Path(__file__).resolve().parents[1] / "app.py"
LADNN = [sys.executable, "-m", "ladnn_hf"]


def in_turn(tasks: dict[str, Callable[[], object]], turns: int, clock=time.perf_counter) -> dict[str, float]:
    """Median milliseconds of each task; all take turns, and the first two turns are not counted."""
    times = {name: [] for name in tasks}
    for _ in range(turns + 2):
        for name, task in tasks.items():
            begin = clock()
            task()
            times[name].append(clock() - begin)
    return {name: 1000 * median(all_[2:]) for name, all_ in times.items()}


def table(*columns: str) -> None:
    """Begin a table."""
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def matrix_rate(dtype: torch.dtype) -> float:
    """Multiply-adds a second of a large matrix product, on all cores."""
    side = 1536
    left, right = (torch.rand(side, side).to(dtype) for _ in range(2))
    return side**3 / (in_turn({"": lambda: left @ right}, 9)[""] / 1000)


def bfloat16(path: Path) -> Callable[[np.ndarray], object]:
    """The network in bfloat16, which no `Predictor` offers."""
    return openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": 1})


def network_alone(folder: Path, turns: int) -> None:
    """Random weights: numbers take the same time whatever they are."""
    rates = {name: matrix_rate(getattr(torch, name)) for name in ("float32", "bfloat16")}
    table("one slice, network alone", "ms", "times eager", "limit, ms", "share of the limit")
    for backbone in BACKBONES:
        network = LaDnnForImageClassification(LaDnnConfig(backbone=backbone, image_size=SIZE)).eval()
        write_onnx(network, folder)
        path, slice_ = folder / "model.onnx", np.random.rand(1, 3, SIZE, SIZE).astype(np.float32)
        counter = FlopCounterMode(display=False)
        with torch.inference_mode(), counter:
            network(torch.from_numpy(slice_))
        engines = {
            "onnxruntime": OnnxEngine(path, usable_cores()),
            "openvino": OpenVinoEngine(path, usable_cores()),
            "openvino, bfloat16": bfloat16(path),
        }

        def eager(network=network, slice_=slice_) -> None:
            with torch.inference_mode():
                network(torch.from_numpy(slice_))

        tasks = {"PyTorch, eager": eager}
        tasks |= {
            name: lambda engine=engine, slice_=slice_: engine(slice_) for name, engine in engines.items()
        }
        took = in_turn(tasks, turns)
        for name, value in took.items():
            rate = rates["bfloat16" if "bfloat16" in name else "float32"]
            limit = 1000 * counter.get_total_flops() / 2 / rate
            gain = took["PyTorch, eager"] / value
            print(f"| {backbone}, {name} | {value:.1f} | {gain:.1f} | {limit:.1f} | {limit / value:.0%} |")


def bare(path: Path, size: tuple[int, int]) -> None:
    """What no program can do without: decode, and resize, by Pillow."""
    with Image.open(path) as picture:
        picture.convert("L").resize(size, Image.Resampling.BILINEAR)


def one_slice(path: Path, turns: int) -> None:
    """The bundled checkpoint, gate, lungs and maps included."""
    table("one slice, to its `Prediction`", "ms", "network + bare decode, ms", "over it, ms")
    for name in ("onnxruntime", "openvino"):
        predictor = Predictor(engine=name)
        blank = np.zeros((1, 3, *predictor._size), np.float32)
        whole, network, decode = in_turn(
            {
                "": lambda p=predictor: p(path),
                "n": lambda p=predictor, b=blank: p._engine(b),
                "d": lambda p=predictor: bare(path, p._size),
            },
            turns,
        ).values()
        print(f"| {name} | {whole:.1f} | {network + decode:.1f} | {whole - network - decode:.1f} |")


def bare_seconds(name: str, path: Path) -> float:
    """Core-seconds that network and decode take a slice, on one core, over some seconds."""
    predictor = Predictor(engine=name)
    engine, blank = predictor._engine.one_core_a_call(), np.zeros((1, 3, *predictor._size), np.float32)
    for count in range(2):  # what is loaded once is not counted
        until, begin, done = time.perf_counter() + 1 + 4 * count, time.process_time(), 0
        while time.perf_counter() < until:
            engine(blank)
            bare(path, predictor._size)
            done += 1
    return (time.process_time() - begin) / done


def folder(slices: list[Path], turns: int) -> None:
    """Beside it what network and decode take when each core does nothing else, which slows the others."""
    cores = usable_cores()
    table("folder", "ms a slice", "network + decode, core-ms", "share of what the cores could do")
    for name in ("onnxruntime", "openvino"):
        with get_context("spawn").Pool(cores) as pool:
            needed = 1000 * median(pool.starmap(bare_seconds, [(name, slices[0])] * cores, chunksize=1))
        predictor = Predictor(engine=name)
        wall = in_turn({"": lambda p=predictor: list(p.predict(map(str, slices)))}, turns)[""] / len(slices)
        print(f"| {name} | {wall:.1f} | {needed:.1f} | {needed / cores / wall:.0%} |", flush=True)


def run(*commands: list[str], each: list[dict[str, str]] | None = None, **environment: str) -> None:
    """Run commands side by side, to their end; `each` is what the environment of each has of its own."""
    running = [
        subprocess.Popen(
            command, env=os.environ | environment | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for command, own in zip(commands, each or [{}] * len(commands), strict=True)
    ]
    if any(process.wait() for process in running):
        raise SystemExit(f"{commands}: failed")


def listening() -> None:
    """Start the page and wait until it answers, then end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = subprocess.Popen(
        [sys.executable, PAGE], env=os.environ | {"GRADIO_SERVER_PORT": str(port)}, stdout=subprocess.DEVNULL
    )
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    page.terminate()
    page.wait()


def cold(path: Path) -> None:
    """Each in a process of its own."""
    predict = [*LADNN, "predict", str(path), "--engine"]
    took = in_turn(
        {
            "`import ladnn_hf`": lambda: run([sys.executable, "-c", "import ladnn_hf"]),
            "`ladnn --help`": lambda: run([*LADNN, "--help"]),
            "`ladnn predict` of one slice, torch": lambda: run([*predict, "torch"]),
            "the same, onnxruntime": lambda: run([*predict, "onnxruntime"]),
            "the same, openvino": lambda: run([*predict, "openvino"]),
            "`python app.py` until it answers": listening,
        },
        3,
    )
    table("from a cold process", "s", "of PyTorch's `predict`")
    for name, value in took.items():
        share = value / took["`ladnn predict` of one slice, torch"]
        print(f"| {name} | {value / 1000:.2f} | {share:.0%} |")


def processes(slices: Path) -> None:
    """The same slices, by one process on two cores, or shared by two, as a launcher starts them."""

    def shared() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run(
                *([*one, "--output", f"{folder}/answers"] for _ in range(2)),
                each=[{"RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)],
                OMP_NUM_THREADS="1",
            )

    one = [*LADNN, "predict", str(slices), "--format", "json"]
    took = in_turn(
        {
            "1 process on 2 cores": lambda: run(one, OMP_NUM_THREADS="2"),
            "2 processes on one each": shared,
        },
        2,
    )
    table(f"{SHARED} slices on 2 cores, from start to end", "s")
    for name, value in took.items():
        print(f"| {name} | {value / 1000:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=40)
    arguments = parser.parse_args()
    print(f"{usable_cores()} cores")
    with tempfile.TemporaryDirectory() as name:
        network_alone(Path(name), arguments.turns)
        path = Path(name) / "phantom.png"
        draw_phantom(["GGO"], size=512, seed=1).save(path)
        one_slice(path, arguments.turns)
        write_slices(SHARED, Path(name) / "slices", size=512)
        slices = sorted(Path(name).glob("slices/*/*.png"))
        folder(slices[:IN_FOLDER], 3)
        cold(path)
        processes(Path(name) / "slices")

"""The page under load: clients that ask all the time over its API, singles and batches, a tenth bad files.

python benchmarks/load.py --clients 32 --minutes 5

Starts the page itself, compares each answer with what `Predictor` says of the same phantom, measures the
server's memory before, during and after, lets a crowd fill the queue, kills the server and measures how long
it takes to serve again.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import psutil

from ladnn_hf import Predictor, draw_phantom

SPACE = Path(__file__).resolve().parents[1] / "space"
BATCH = 5
"""Slices of a batch."""
CROWD = 200
"""Calls at once, more than the page lets wait."""
REST = 30
"""Seconds that the server is left alone before its memory is measured again."""

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--clients", type=int, default=32)
parser.add_argument("--minutes", type=float, default=5)
arguments = parser.parse_args()


def start(port: int, log: Path) -> subprocess.Popen:
    """The page, as a Space starts it, once it serves."""
    server = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=SPACE,
        env=os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"},
        stdout=log.open("a"),
        stderr=subprocess.STDOUT,
    )
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}", timeout=1)
            return server
        except httpx.HTTPError:
            if server.poll() is not None:
                sys.exit(log.read_text())
            time.sleep(0.05)


def make_pool(folder: Path) -> tuple[list[Path], dict[str, dict], list[Path]]:
    """Good slices, their right answers by name, and bad files."""
    slices = [folder / f"slice_{number}.png" for number in range(48)]
    for number, path in enumerate(slices):
        draw_phantom(["GGO"] if number % 2 else [], size=256 + 8 * number, seed=number).save(path)
    right = {Path(answer.image).name: answer.to_dict() for answer in Predictor().predict(map(str, slices))}
    content = slices[0].read_bytes()
    bad = {"cut.png": content[: len(content) // 2], "noise.png": random.Random(0).randbytes(5000)}
    bad |= {"text.jpg": b"no picture at all", "empty.png": b"", "cut.zip": b"PK\x03\x04" + content[:99]}
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    return slices, right, [folder / name for name in bad]


async def ask(client: httpx.AsyncClient, endpoint: str, paths: list[Path]) -> tuple[str, object]:
    """The event that ends a call, `complete` or `error`, and what came with it."""
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    uploaded = (await client.post("/gradio_api/upload", files=files)).raise_for_status().json()
    given = [{"path": place, "meta": {"_type": "gradio.FileData"}} for place in uploaded]
    data = {"data": [given if endpoint == "predict_batch" else given[0]]}
    call = (await client.post(f"/gradio_api/call/{endpoint}", json=data)).raise_for_status().json()
    event = None
    async with client.stream("GET", f"/gradio_api/call/{endpoint}/{call['event_id']}") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: ") and event in ("complete", "error"):
                return event, json.loads(line.removeprefix("data: "))
    return "broken off", None


async def visit(number: int, url: str, until: float, pool: tuple, seen: Counter, times: dict) -> None:
    """One client until the time is over."""
    slices, right, bad = pool
    chance = random.Random(number)
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        while time.monotonic() < until:
            kind = chance.choices(("single", "batch", "bad"), (0.7, 0.2, 0.1))[0]
            endpoint = "predict_batch" if kind == "batch" else "predict"
            paths = chance.sample(bad if kind == "bad" else slices, BATCH if kind == "batch" else 1)
            begin = time.monotonic()
            try:
                event, data = await ask(client, endpoint, paths)
            except httpx.HTTPError as error:
                seen[f"{kind}: {type(error).__name__}"] += 1
                continue
            times[kind].append(time.monotonic() - begin)
            seen[f"{kind}: {verdict(kind, event, data, paths, right)}"] += 1


def verdict(kind: str, event: str, data: object, paths: list[Path], right: dict[str, dict]) -> str:
    """`answered` or `refused` where that is right; else what went wrong."""
    if event != "complete":
        return f"{event} ({data})"
    answers = data[0] if kind == "batch" else [data[0]]
    if [answer["image"] for answer in answers] != [path.name for path in paths]:
        return "answer of another client"
    if kind == "bad":
        return "refused" if answers[0]["decision"] == "refused" and answers[0]["reason"] else "not refused"
    for answer in answers:
        expected = right[answer["image"]]
        if answer["decision"] != expected["decision"] or (
            expected["covid_probability"] is not None
            and abs(answer["covid_probability"] - expected["covid_probability"]) > 1e-4
        ):
            return "another answer"
    return "answered"


def megabytes(server: subprocess.Popen) -> float:
    """Resident memory of the server."""
    return psutil.Process(server.pid).memory_info().rss / 1e6


async def crowd(url: str, path: Path) -> tuple[int, int, str]:
    """More calls at once than may wait: how many are answered, how many turned away, what one is told."""
    async with httpx.AsyncClient(
        base_url=url, timeout=120, limits=httpx.Limits(max_connections=None)
    ) as client:
        files = [("files", (path.name, path.read_bytes()))]
        (place,) = (await client.post("/gradio_api/upload", files=files)).json()
        data = {"data": [{"path": place, "meta": {"_type": "gradio.FileData"}}]}
        calls = [client.post("/gradio_api/call/predict", json=data) for _ in range(CROWD)]
        taken = [answer.json() for answer in await asyncio.gather(*calls)]
        places = [f"/gradio_api/call/predict/{one['event_id']}" for one in taken if "event_id" in one]
        ends = await asyncio.gather(*(client.get(place) for place in places))
    told = [one["detail"] for one in taken if "detail" in one]
    return sum("event: complete" in end.text for end in ends), len(told), told[0] if told else "nothing"


async def load(url: str, server: subprocess.Popen, pool: tuple) -> tuple[Counter, dict, float]:
    """All clients at once: what came back, how long it took, the most memory."""
    seen, times, most = Counter(), {"single": [], "batch": [], "bad": []}, 0.0
    until = time.monotonic() + 60 * arguments.minutes
    visits = [
        asyncio.create_task(visit(number, url, until, pool, seen, times))
        for number in range(arguments.clients)
    ]
    while not all(task.done() for task in visits):
        most = max(most, megabytes(server))
        await asyncio.sleep(0.5)
    await asyncio.gather(*visits)
    return seen, times, most


with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    pool, url, log = make_pool(Path(folder)), f"http://127.0.0.1:{port}", Path(folder) / "log"
    server = start(port, log)

    async def warm_up() -> None:
        """One answer of each kind, so that what is loaded once is loaded."""
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            await ask(client, "predict", pool[0][:1])
            await ask(client, "predict_batch", pool[0][:BATCH])

    asyncio.run(warm_up())
    before = megabytes(server)
    seen, times, most = asyncio.run(load(url, server, pool))
    time.sleep(REST)
    after = megabytes(server)
    answered, turned_away, told = asyncio.run(crowd(url, pool[0][0]))
    server.send_signal(signal.SIGKILL)
    server.wait()
    begin = time.monotonic()
    server = start(port, log)
    asyncio.run(warm_up())
    again = time.monotonic() - begin
    server.terminate()
    server.wait()

print(f"{arguments.clients} clients, {arguments.minutes:g} minutes, {os.cpu_count()} cores\n")
print("| what came back | count |\n|---|---|")
for name, count in sorted(seen.items()):
    print(f"| {name} | {count} |")
print("\n| | median, s | 95th percentile, s |\n|---|---|---|")
for kind, seconds in times.items():
    middle, high = np.percentile(seconds, [50, 95])
    print(f"| {kind} | {middle:.2f} | {high:.2f} |")
slices = len(times["single"]) + BATCH * len(times["batch"])
print(f"\n{slices / (60 * arguments.minutes):.1f} slices a second")
print(f"memory {before:.0f} MB before, {most:.0f} at most, {after:.0f} after {REST} s of rest")
print(f"of {CROWD} calls at once {answered} were answered and {turned_away} turned away: {told}")
print(f"killed and started again: serves and answers after {again:.1f} s")

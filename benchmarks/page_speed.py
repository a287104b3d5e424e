"""How long the page takes, from a click to the answer, over its API and for a batch, as ratios of one run.

python benchmarks/page_speed.py --url http://127.0.0.1:7860

Start the page first (`python app.py`) on an idle machine. Chromium clicks; what the page's own code takes is
measured by calling it without Gradio.
"""

import argparse
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import httpx
from gradio_client import Client, handle_file
from playwright.sync_api import sync_playwright

SPACE = Path(__file__).resolve().parents[1] / "space"
sys.path.insert(0, str(SPACE))

from answer_html import answer_html, view_html  # noqa: E402
from batch import answer_all  # noqa: E402
from batch import draw as draw_batch  # noqa: E402
from batch_inputs import expand  # noqa: E402

from ladnn_hf import Predictor  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--url", default="http://127.0.0.1:7860")
parser.add_argument("--times", type=int, default=15)
parser.add_argument("--batch", type=int, default=200)
arguments = parser.parse_args()

SLICES = [SPACE / "examples" / name for name in ("healthy.png", "ground_glass.png", "consolidation.png")]


def milliseconds(ways: Mapping[str, Callable[[Path], object]]) -> dict[str, float]:
    """Median time of each way over the slices, one way after another; the first two turns do not count."""
    times = {name: [] for name in ways}
    for turn in range(arguments.times + 2):
        for name, do in ways.items():
            begin = time.perf_counter()
            do(SLICES[turn % len(SLICES)])
            times[name].append(time.perf_counter() - begin)
    return {name: 1000 * median(of_one[2:]) for name, of_one in times.items()}


predictor = Predictor()


def draw(path: Path) -> None:
    """What the page's code does with the answer."""
    answer_html(prediction := predictions[path], predictor.band, "en")
    view_html(prediction, "en", "covid", 0.6)


predictions = {path: predictor(path) for path in SLICES}
client = Client(arguments.url, verbose=False)
spared = Client(arguments.url, verbose=False, ssl_verify=ssl.create_default_context())
http = httpx.Client(base_url=f"{arguments.url}/gradio_api")


def ask(path: Path) -> None:
    """The endpoint's three requests, over one connection."""
    with path.open("rb") as file:
        (given,) = http.post("/upload", files={"files": file}).json()
    data = {"data": [{"path": given, "meta": {"_type": "gradio.FileData"}}]}
    event = http.post("/call/predict", json=data).json()["event_id"]
    http.get(f"/call/predict/{event}").raise_for_status()


rows = milliseconds(
    {
        "answer alone, no page": predictor,
        "drawing it as HTML": draw,
        "API, from httpx, one connection": ask,
        "API, from gradio_client, one TLS context": lambda path: spared.predict(
            handle_file(path), api_name="/predict"
        ),
        "API, from gradio_client": lambda path: client.predict(handle_file(path), api_name="/predict"),
        "a TLS context alone": lambda _: ssl.create_default_context(),
    }
)
with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page()
    begin = time.perf_counter()
    page.goto(arguments.url)
    page.wait_for_selector("#result .waiting")
    rows["page drawn, with its tabs"] = 1000 * (time.perf_counter() - begin)

    def click(path: Path) -> None:
        """Give a slice and wait for an answer other than the last."""
        page.evaluate("document.querySelector('#result').firstElementChild.dataset.old = 1")
        before = page.locator("#result").inner_html()
        page.set_input_files("#slice input[type=file]", path)
        page.wait_for_function("before => document.querySelector('#result').innerHTML != before", arg=before)
        page.wait_for_selector("#view .slice")

    rows |= milliseconds({"page, from a file given to the answer drawn": click})
    browser.close()
    copies = [Path(folder) / f"{number}.png" for number in range(arguments.batch)]
    for number, copy in enumerate(copies):
        shutil.copy(SLICES[number % len(SLICES)], copy)
    begin = time.perf_counter()
    list(predictor.predict(map(str, copies)))
    alone = time.perf_counter() - begin
    begin = time.perf_counter()
    draw_batch(list(answer_all(predictor, expand(list(map(str, copies))))), "en")
    drawn = time.perf_counter() - begin
    given = [handle_file(copy) for copy in copies]
    begin = time.perf_counter()
    client.predict(given, api_name="/predict_batch")
    rows[f"batch of {arguments.batch}, a slice, no page"] = 1000 * alone / len(copies)
    rows[f"batch of {arguments.batch}, a slice, answered and drawn"] = 1000 * drawn / len(copies)
    rows[f"batch of {arguments.batch}, a slice, API with upload"] = (
        1000 * (time.perf_counter() - begin) / len(copies)
    )

print("| | ms | times the answer alone |\n|---|---|---|")
for name, value in rows.items():
    print(f"| {name} | {value:.0f} | {value / rows['answer alone, no page']:.1f} |")

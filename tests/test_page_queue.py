"""Many visitors at once in a real browser: who waits sees it, and a full queue is said."""

import contextlib
import re
import time
import zipfile

import httpx
import pytest
from conftest import ROOT, opened
from gradio_client import Client, handle_file
from page import QUEUE

EXAMPLE = ROOT / "space" / "examples" / "ground_glass.png"
SLICES = 200
pytestmark = pytest.mark.browser


@contextlib.contextmanager
def busy(page_url, tmp_path):
    """A client of the page; two batches of its keep both places at the network for some seconds."""
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(SLICES):
            archive.write(EXAMPLE, f"{number}.png")
    client = Client(page_url, verbose=False)
    batches = [
        client.submit([handle_file(tmp_path / "many.zip")], api_name="/predict_batch") for _ in range(2)
    ]
    while not all("PROCESSING" in str(batch.status().code) for batch in batches):
        time.sleep(0.05)
    yield client
    assert [len(batch.result(120)) for batch in batches] == [SLICES, SLICES]


def fill_the_queue(client, url):
    with httpx.Client(base_url=f"{url}/gradio_api") as http:
        given = http.post("/upload", files={"files": EXAMPLE.open("rb")}).json()[0]
        (predict,) = [one["id"] for one in client.config["dependencies"] if one["api_name"] == "predict"]
        data = [{"path": given, "meta": {"_type": "gradio.FileData"}}]
        event = {"data": data, "fn_index": predict, "session_hash": "crowd"}
        asked = [http.post("/queue/join", json=event) for _ in range(QUEUE)]
    assert asked[0].status_code == 200 and asked[-1].status_code == 503
    assert re.fullmatch(
        r"expected a place in the queue, found all 64 taken; try again in about \d+ seconds\.",
        asked[-1].json()["detail"],
    )


def test_who_waits_sees_the_place_and_the_time_and_a_full_queue_is_said(browser, page_url, tmp_path):
    with (
        opened(browser, page_url) as waiting,
        opened(browser, page_url, locale="zh-CN") as chinese,
        opened(browser, page_url) as late,
        opened(browser, page_url, locale="zh-CN") as late_chinese,
        busy(page_url, tmp_path) as client,
    ):
        waiting.get_by_text("Ground-glass opacity", exact=True).first.click()
        waiting.get_by_text(re.compile(r"queue: 1/1 \| +\d+\.\d")).wait_for()
        chinese.get_by_text("实变", exact=True).first.click()
        chinese.get_by_text(re.compile(r"排队：2/2 \| +\d+\.\d")).wait_for()
        fill_the_queue(client, page_url)
        late.get_by_text("Consolidation", exact=True).first.click()
        late.get_by_text(re.compile(r"The queue is full; please try again in about \d+ seconds\.")).wait_for()
        late_chinese.get_by_text("实变", exact=True).first.click()
        late_chinese.get_by_text(re.compile(r"排队已满；请约 \d+ 秒后再试。")).wait_for()
        for page in (waiting, chinese):
            page.wait_for_selector("#result h2", timeout=60_000)

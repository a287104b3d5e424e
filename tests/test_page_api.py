"""The page's named endpoints, as gradio_client and plain HTTP call them."""

import asyncio
import json
import re
import subprocess
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import ROOT, run_ladnn
from gradio_client import Client, handle_file
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from ladnn_hf import Predictor, draw_phantom

EXAMPLES = ROOT / "space" / "examples"
pytestmark = pytest.mark.browser


def test_the_api_gives_the_command_lines_json(page_url, tmp_path, phantom):
    client = Client(page_url, verbose=False)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    phantom.save(tmp_path / "mine.png")
    for path in (EXAMPLES / "crazy_paving.png", tmp_path / "mine.png", tmp_path / "broken.png"):
        said = client.predict(handle_file(path), api_name="/predict")
        expected = json.loads(run_ladnn("predict", path, "--format", "json").stdout)
        assert said["image"] == path.name, "no path of the server"
        assert list(said) == list(expected)
        assert said["decision"] == expected["decision"] and said["reason"] == expected["reason"]
        if said["lesions"]:
            assert said["covid_probability"] == pytest.approx(expected["covid_probability"], abs=1e-4)
            assert said["lesions"] == pytest.approx(expected["lesions"], abs=1e-4)


def test_the_api_asks_for_a_file_in_words(page_url):
    with pytest.raises(Exception, match="Expected one image file, found none"):
        Client(page_url, verbose=False).predict(None, api_name="/predict")
    chinese = Client(page_url, verbose=False, headers={"Accept-Language": "zh-CN"})
    with pytest.raises(Exception, match="应提供文件，但未收到"):
        chinese.predict([], api_name="/predict_batch")


def test_a_batch_is_answered_slice_by_slice_with_its_zips_and_series(page_url, dicom_series, tmp_path):
    with zipfile.ZipFile(tmp_path / "slices.zip", "w") as archive:
        archive.write(EXAMPLES / "healthy.png", "a/healthy.png")
        archive.writestr("broken.png", b"no picture")
    (tmp_path / "bomb.zip").write_bytes(b"PK\x03\x04 no zip")
    paths = [tmp_path / "slices.zip", EXAMPLES / "consolidation.png", *sorted(dicom_series.iterdir())]
    given = [handle_file(path) for path in (*paths, tmp_path / "bomb.zip")]
    answers = Client(page_url, verbose=False).predict(given, api_name="/predict_batch")
    names = ["slices.zip/a/healthy.png", "slices.zip/broken.png", "consolidation.png", "bomb.zip"]
    assert [answer["image"] for answer in answers[:4]] == names
    assert [answer["image"] for answer in answers[4:]] == [f"{9 - n}.dcm" for n in range(5)], "along the body"
    decisions = {answer["image"]: answer["decision"] for answer in answers}
    assert decisions["slices.zip/broken.png"] == decisions["bomb.zip"] == "refused"
    assert "refused" not in {decisions["slices.zip/a/healthy.png"], decisions["consolidation.png"]}
    assert str(tmp_path) not in json.dumps(answers) and "gradio" not in json.dumps(answers)
    alone = json.loads(run_ladnn("predict", dicom_series / "9.dcm", "--format", "json").stdout)
    assert answers[4]["covid_probability"] == pytest.approx(alone["covid_probability"], abs=1e-4)


def curl(*arguments):
    return subprocess.run(["curl", "-sN", *map(str, arguments)], capture_output=True, text=True).stdout


def call_by_curl(page_url, path):
    """What the endpoint says of a file on the server or an address, as server-sent events."""
    data = json.dumps({"data": [{"path": str(path), "meta": {"_type": "gradio.FileData"}}]})
    call = f"{page_url}/gradio_api/call/predict"
    event = json.loads(curl(call, "-H", "Content-Type: application/json", "-d", data))["event_id"]
    return curl(f"{call}/{event}")


def test_the_readmes_curl_commands_get_the_same_answer(page_url):
    (commands,) = re.findall(r"^```sh\n(page=.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    commands = commands.replace("http://127.0.0.1:7860", page_url)
    said = subprocess.run(["bash", "-ec", commands], capture_output=True, text=True, cwd=ROOT).stdout
    answer = json.loads(re.search(r"^event: complete\ndata: (.*)$", said, re.M)[1])[0]
    expected = json.loads(run_ladnn("predict", EXAMPLES / "ground_glass.png", "--format", "json").stdout)
    assert answer["covid_probability"] == pytest.approx(expected["covid_probability"], abs=1e-4)


def test_the_server_reads_no_file_and_no_address_of_its_own_for_a_client(page_url, tmp_path):
    (tmp_path / "secret.png").write_bytes((EXAMPLES / "healthy.png").read_bytes())
    inside = f"{page_url}/gradio_api/file={EXAMPLES / 'healthy.png'}"
    for path in (tmp_path / "secret.png", inside, "http://169.254.169.254/x.png"):
        said = call_by_curl(page_url, path)
        assert "event: error" in said and "covid_probability" not in said


def test_eight_people_at_once_each_get_their_own_answer(page_url, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for number, path in enumerate(paths):
        draw_phantom(["GGO"] if number % 2 else [], size=128, seed=number).save(path)
    expected = {answer.image: answer for answer in Predictor().predict(map(str, paths))}

    def person(path):
        client = Client(page_url, verbose=False)
        return [client.predict(handle_file(path), api_name="/predict") for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        for path, answers in zip(paths, pool.map(person, paths), strict=True):
            own = expected[str(path)]
            for said in answers:
                assert (said["image"], said["decision"]) == (path.name, own.decision)
                assert said["covid_probability"] == pytest.approx(own.covid_probability, abs=1e-4)


def test_an_agent_finds_both_endpoints_as_tools(page_url):
    async def tools():
        async with streamablehttp_client(f"{page_url}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                return {tool.name: tool.description for tool in (await session.list_tools()).tools}

    with ThreadPoolExecutor() as pool:  # the browser's client holds this thread's event loop
        found = pool.submit(asyncio.run, tools()).result(60)
    assert set(found) == {"predict", "predict_batch"}
    assert all("For research and teaching" in description for description in found.values())


def test_no_statistics_are_summed_up_after_an_answer(page_url):
    client = Client(page_url, verbose=False)
    for _ in range(3):
        client.predict(handle_file(EXAMPLES / "healthy.png"), api_name="/predict")
    time.sleep(1)  # they would be when the answer is out already
    summary = httpx.get(f"{page_url}/monitoring/summary").json()
    assert summary == {"functions": {}}, "which takes longer than the answer where there were thousands"


def test_only_the_named_endpoints_are_public(page_url):
    named = Client(page_url, verbose=False).view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {"/predict", "/predict_batch"}

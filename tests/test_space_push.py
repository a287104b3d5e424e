"""Publishing the page: what a Space is given, and that it starts from that alone."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from types import SimpleNamespace

import pytest
from conftest import ROOT, run_python
from gradio_client import Client, handle_file
from hub_server import Hub
from test_model_push import commands, sentence, states

from ladnn_hf import Predictor

PAGE, MODEL = "tester/page", "tester/ladnn"
EXAMPLE = ROOT / "space" / "examples" / "ground_glass.png"
# The pushed page, with what its requirements do not name made impossible to import.
START = """
import runpy, sys
sys.modules.update(dict.fromkeys(("torch", "torchvision", "timm", "transformers", "datasets", "sklearn")))
runpy.run_path("app.py", run_name="__main__")
"""
# What would be pushed of a page that lies elsewhere.
PUSH = """
import sys
from pathlib import Path
from ladnn_hf import space_push
from ladnn_hf.cli import main
space_push.space_folder = lambda: Path(sys.argv[1])
sys.exit(main(["push", "--space", sys.argv[2], "--dry-run"]))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The bundled checkpoint and a page for it, pushed, and the page again."""
    folder = tmp_path_factory.mktemp("published")
    with Hub() as hub:
        said = commands(
            hub.environment(folder),
            ["push", MODEL, "--tag", "v1"],
            ["push", "--space", PAGE, "--dry-run"],
            ["push", "--space", PAGE, "--model", f"{MODEL}@v1", "--collection", "tester/slices"],
            ["push", "--space", PAGE],
        )
        yield SimpleNamespace(hub=hub, folder=folder, said=said)


@pytest.fixture
def started(published, tmp_path):
    """The address of the pushed files alone, started as a Space starts them."""
    for path, content in published.hub.files("space", PAGE).items():
        (tmp_path / "space" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "space" / path).write_bytes(content)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    variables = published.hub.environment(tmp_path) | {"LADNN_MODEL": f"{MODEL}@v1"} | address
    log = (tmp_path / "log").open("w+")
    server = subprocess.Popen(
        [sys.executable, "-c", START],
        cwd=tmp_path / "space",
        env=os.environ | variables,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=1)
                break
            except OSError:
                log.seek(0)
                assert server.poll() is None and time.monotonic() < deadline, log.read()
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def test_a_space_is_private_and_one_commit_of_the_page_and_the_package(published):
    hub = published.hub
    assert hub.is_private("space", PAGE) and hub.repos["space", PAGE].sdk == "gradio"
    assert len(hub.commits("space", PAGE)) == 2
    files = hub.files("space", PAGE)
    page = {path.relative_to(ROOT / "space").as_posix() for path in (ROOT / "space").rglob("*")}
    assert {path for path in page if (ROOT / "space" / path).is_file() and "__pycache__" not in path} <= set(
        files
    )
    assert {"ladnn_hf/inference.py", "ladnn_hf/weights/model.onnx"} <= set(files)
    assert not [path for path in files if "__pycache__" in path or path.startswith("ladnn_hf/space/")]


def test_what_lies_beside_the_page_stays_here(tmp_path, hub):
    space = tmp_path / "space"
    shutil.copytree(ROOT / "space", space, ignore=shutil.ignore_patterns("__pycache__"))
    (space / "contributions" / "waiting").mkdir(parents=True)
    for stray in (".env", "examples/.env", "contributions/waiting/abc.png", "notes.txt", ".gradio"):
        (space / stray).write_text("HF_TOKEN=hf_secret")
    said = run_python(PUSH, space, PAGE, env=hub.environment(tmp_path))
    assert said.returncode == 0, said.stderr
    listed = {line.split()[-1] for line in said.stdout.splitlines()}
    assert {"app.py", "README.md", "examples/ground_glass.png", "locales/zh.json"} < listed
    assert not [path for path in listed if ".env" in path or "contributions/" in path or path == "notes.txt"]


def test_a_dry_run_lists_the_page_and_a_second_push_changes_nothing(published):
    _, listed, first, again = published.said
    assert states(listed) == states(first) and set(states(first).values()) == {"new"}
    assert set(states(again).values()) == {"same"}


def test_variables_name_the_model_and_the_collection_and_stay(published):
    assert published.hub.repos["space", PAGE].variables == {
        "LADNN_MODEL": f"{MODEL}@v1",
        "LADNN_COLLECTION": "tester/slices",
        "LADNN_CONTRIBUTIONS": "contributions",
    }
    assert "secret HF_TOKEN" in published.said[2].err and "hf_" not in published.said[2].err


def test_the_pushed_files_alone_answer_with_the_model_of_the_hub(started):
    answer = Client(started, verbose=False).predict(handle_file(EXAMPLE), api_name="/predict")
    expected = Predictor()(EXAMPLE)
    assert answer["covid_probability"] == pytest.approx(expected.covid_probability, abs=1e-4)
    assert answer["lesions"] == pytest.approx(expected.lesions, abs=1e-4)
    assert answer["model"] == "ladnn@v1"


def test_the_space_installs_what_the_package_depends_on_at_the_same_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {
        line for line in (ROOT / "space" / "requirements.txt").read_text().splitlines() if line[0] != "#"
    }
    assert needed <= set(project["dependencies"])
    left_out = {re.match(r"[\w-]+", line)[0] for line in set(project["dependencies"]) - needed}
    assert left_out == {"torch", "torchvision", "timm", "transformers", "datasets"}


def test_a_page_for_a_model_that_cannot_answer_there_is_refused(hub, micro_folder, tmp_path):
    said = commands(
        hub.environment(tmp_path),
        ["push", micro_folder, MODEL],
        ["push", "--space", PAGE, "--model", MODEL],
        ["push", "--space", PAGE, "--model", "tester/nowhere"],
        ["push", "--space", PAGE, "--model", "runs/bundled/final"],
        ["push", "--space", "page"],
        without=["onnx"],
    )
    words = (
        "expected model.onnx, which answers without torch, found none",
        "tester/nowhere: expected a folder, or a model on the Hub",
        "as OWNER/NAME@REVISION, found 'runs/bundled/final'",
        "as OWNER/NAME",
    )
    for expected, answer in zip(words, said[1:], strict=True):
        assert expected in sentence(answer)
    assert ("space", PAGE) not in hub.repos


def test_options_of_a_model_and_of_the_page_do_not_mix(hub, tmp_path):
    for answer in commands(
        hub.environment(tmp_path),
        ["push", "--space", PAGE, "--tag", "v1"],
        ["push", PAGE, "--model", MODEL],
        ["push", PAGE, "--branch", "a", "--pull-request"],
    ):
        assert answer.status == 2 and "usage: ladnn push" in answer.err

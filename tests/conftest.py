"""Small fixtures: micro models, phantom files, the real data where it is, and the page in Chromium."""

import contextlib
import importlib.metadata
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from datasets import Dataset, DatasetDict
from hub_server import Hub
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ladnn_hf import LaDnnConfig, LaDnnForImageClassification, LaDnnImageProcessor, draw_phantom
from ladnn_hf.cli import main
from ladnn_hf.slice_dataset import FEATURES, slice_row
from ladnn_hf.slices import LUNG_WINDOW

ROOT = Path(__file__).resolve().parents[1]
MICRO_SIZE = 64
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def run_ladnn(*arguments):
    """The command line, in this process: importing torch anew each time would take the most time."""
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            returncode = main(list(map(str, arguments)))
        except SystemExit as end:  # argparse
            returncode = end.code or 0
    stdout, stderr = (stream.getvalue() for stream in streams)
    return subprocess.CompletedProcess(arguments, returncode, stdout, stderr)


def run_ladnn_alone(*arguments, cwd=None, env=None):
    """The command line in a process of its own, as a user runs it."""
    return _run([sys.executable, "-m", "ladnn_hf", *map(str, arguments)], cwd, env)


def run_python(code, *arguments, cwd=None, env=None):
    return _run([sys.executable, "-c", code, *map(str, arguments)], cwd, env)


@pytest.fixture(scope="session")
def without_package(tmp_path_factory):
    """Runs code in a virtual environment with transformers, torch, timm and Pillow, and without this package.

    What these need lies there as links to what is installed here, so that making it takes no time.
    """
    folder = tmp_path_factory.mktemp("without_package")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for distribution in _needed_by("transformers", "torch", "torchvision", "timm", "pillow"):
        for file in distribution.files:
            link = packages / file.parts[0]
            if file.parts[0] not in ("..", "__pycache__") and not link.exists():
                link.symlink_to(distribution.locate_file(file.parts[0]))

    def run(code, *arguments, cwd=None, env=None):
        python = [folder / "bin" / "python", "-I"]  # no PYTHONPATH, nothing from the working folder
        return _run([*python, "-c", code, *map(str, arguments)], cwd, env)

    assert run("import ladnn_hf").returncode and run("import datasets").returncode
    return run


def _needed_by(*names):
    """Installed distributions, and those that they need."""
    waiting, found = [canonicalize_name(name) for name in names], {}
    while waiting:
        if (name := waiting.pop()) in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        needs = (Requirement(line) for line in found[name].requires or ())
        waiting += [
            canonicalize_name(need.name)
            for need in needs
            if need.marker is None or need.marker.evaluate({"extra": ""})
        ]
    return found.values()


def _run(command, cwd, env):
    env = {**os.environ, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=300)


@pytest.fixture
def micro_model():
    """A network of 99k random parameters."""
    torch.manual_seed(0)
    return LaDnnForImageClassification(
        LaDnnConfig(backbone="test_efficientnet", image_size=MICRO_SIZE)
    ).eval()


@pytest.fixture
def micro_folder(micro_model, tmp_path):
    """The same, saved with its processor; its temperature is not 1 and its bias decides something."""
    folder = tmp_path / "micro"
    micro_model.config.temperature = 2.0
    micro_model.classifier.bias.data = torch.linspace(-1, 1, 6)
    micro_model.save_pretrained(folder)
    LaDnnImageProcessor(size={"height": MICRO_SIZE, "width": MICRO_SIZE}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def phantom():
    return draw_phantom(["GGO"], size=96, seed=1)


@pytest.fixture
def dicom_series(tmp_path):
    """Five slices of a phantom as DICOM in HU, three of them ill; file names run against the body."""
    folder = tmp_path / "series"
    folder.mkdir()
    uid = pydicom.uid.generate_uid()
    for number in range(5):
        grey = np.asarray(draw_phantom(["GGO"] if 1 <= number <= 3 else [], size=128, seed=number), float)
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID = pydicom.uid.CTImageStorage
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.SeriesInstanceUID = uid
        dataset.PatientName = "Doe^Jane"
        dataset.Modality, dataset.BodyPartExamined = "CT", "CHEST"
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 5 * number], [1, 0, 0, 0, 1, 0]
        dataset.Rows = dataset.Columns = 128
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        hu = (grey / 255 - 0.5) * LUNG_WINDOW[1] + LUNG_WINDOW[0]
        dataset.PixelData = hu.round().astype("<i2").tobytes()
        dataset.save_as(folder / f"{9 - number}.dcm", enforce_file_format=True)
    return folder


def phantom_rows(count, seed):
    """Labelled phantoms: odd ones have ground glass, every fourth lesion labels, every eighth says Csld."""
    for index in range(count):
        ill = index % 2 == 1
        buffer = _png(draw_phantom(["GGO"] if ill else [], size=MICRO_SIZE, seed=seed + index))
        lesions = (1.0, float(index % 8 == 5), 0.0, 0.0, 0.0) if index % 4 == 1 else (float("nan"),) * 5
        yield slice_row(
            buffer, file_name=f"{index}.png", label="COVID" if ill else "NonCOVID", lesions=lesions
        )


def _png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def phantom_slices(tmp_path_factory):
    """A saved data set of 24 phantoms to train on and 8 to validate with."""
    folder = tmp_path_factory.mktemp("slices") / "phantoms"
    DatasetDict(
        train=Dataset.from_list(list(phantom_rows(24, 100)), features=FEATURES),
        validation=Dataset.from_list(list(phantom_rows(8, 200)), features=FEATURES),
    ).save_to_disk(folder)
    return folder


@pytest.fixture
def hub():
    """An empty Hub; processes started with `hub.environment(folder)` take it for the real one."""
    with Hub() as hub:
        yield hub


@pytest.fixture(scope="session")
def real_data():
    """The folder with COVID-CT and LA-DNN; where it lacks, tests say so, and in CI they fail."""
    folder = Path(os.environ.get("LADNN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "COVID-CT").is_dir():
        reason = f"COVID-CT and LA-DNN are not in {folder}; set LADNN_DATA to the folder that holds them"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def covid_ct(real_data, tmp_path_factory):
    """COVID-CT, built by the command."""
    output = tmp_path_factory.mktemp("covid_ct") / "covid_ct"
    built = run_ladnn(
        *("data", "build", "--covid-ct", real_data / "COVID-CT", "--la-dnn", real_data / "LA-DNN"),
        *("--output", output),
    )
    assert built.returncode == 0, built.stderr
    return output


@contextlib.contextmanager
def serving(folder, port=None, **environment):
    """The page of `space/`, with the bundled checkpoint; its address and process.

    It is started from a folder that it is no part of, where Gradio gives out no file unless it is told to.
    """
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    with log.open("a") as stream:
        server = subprocess.Popen(
            [sys.executable, ROOT / "space" / "app.py"],
            cwd=folder,
            env=os.environ
            | {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "TMPDIR": str(folder)}
            | environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url, timeout=1)
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        yield url, server
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def contributions(tmp_path_factory):
    """The folder in which `page_url` keeps what is contributed."""
    return tmp_path_factory.mktemp("collection") / "contributions"


@pytest.fixture(scope="session")
def page_url(tmp_path_factory, contributions):
    """The address of the page, which takes contributions."""
    with serving(tmp_path_factory.mktemp("page"), LADNN_CONTRIBUTIONS=str(contributions)) as (url, _):
        yield url


@pytest.fixture
def page(browser, page_url):
    """The page in a wide window, in English; no test may leave an error in its script."""
    with opened(browser, page_url) as page:
        yield page


@contextlib.contextmanager
def opened(browser, url, *, width=1280, locale="en-GB"):
    """A page in a browser of this width and language."""
    context = browser.new_context(viewport={"width": width, "height": 900}, locale=locale)
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#result .waiting")
    yield page
    assert faults == []
    context.close()


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, else Playwright's own."""
    from playwright.sync_api import sync_playwright

    executable = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if executable is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()

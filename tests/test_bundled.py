"""The shipped checkpoint: what it says it is, and the same numbers by every way in."""

import hashlib
import json

import pytest
from conftest import ROOT, run_ladnn, run_ladnn_alone, run_python
from gradio_client import Client, handle_file
from transformers import pipeline

from ladnn_hf import (
    LaDnnForImageClassification,  # noqa: F401 - its import registers the Auto classes
    Predictor,
    draw_phantom,
)
from ladnn_hf.checkpoints import load_checkpoint

WEIGHTS = ROOT / "ladnn_hf" / "weights"
REPORT = json.loads((WEIGHTS / "report.json").read_text())
GOLDEN = json.loads((ROOT / "tests" / "golden.json").read_text())


@pytest.fixture(scope="module")
def golden_phantom(tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "phantom.png"
    draw_phantom(GOLDEN["findings"], level=GOLDEN["level"], seed=GOLDEN["seed"]).save(path)
    return path


def test_the_report_is_of_these_weights_and_tells_how_they_were_made():
    digest = hashlib.sha256((WEIGHTS / "model.safetensors").read_bytes()).hexdigest()
    assert REPORT["weights_sha256"] == REPORT["test"]["weights_sha256"] == digest
    assert REPORT["training"]["recipe"] == "bundled" and "ladnn train" in REPORT["training"]["command"]
    assert isinstance(REPORT["training"]["seed"], int) and REPORT["training"]["versions"]["torch"]
    assert REPORT["test"]["slices"] == 203 and REPORT["validation"]["slices"] == 118


def test_its_name_is_bundled_unless_a_folder_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, _ = load_checkpoint("bundled")
    assert Predictor("bundled").folder == WEIGHTS and network.config.threshold == Predictor().threshold
    (tmp_path / "bundled").mkdir()
    with pytest.raises(ValueError, match=r"expected a model folder with config\.json"):
        load_checkpoint("bundled")


def test_the_checkpoint_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 40e6
    assert not [path for path in WEIGHTS.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_it_answers_without_loading_torch(golden_phantom):
    code = "import sys; from ladnn_hf.cli import main; assert main(['predict', sys.argv[1]]) == 0; "
    code += "assert not {'torch', 'timm', 'transformers', 'gradio', 'datasets'} & set(sys.modules)"
    result = run_python(code, golden_phantom)
    assert result.returncode == 0, result.stderr


@pytest.mark.browser
def test_a_golden_phantom_has_one_probability_by_every_way_in(golden_phantom, page_url):
    says = {"Predictor": Predictor()(golden_phantom).covid_probability}
    alone = run_ladnn_alone("predict", golden_phantom, "--format", "json")
    says["command line"] = json.loads(alone.stdout)["covid_probability"]
    for answer in pipeline("image-classification", model=str(WEIGHTS))(str(golden_phantom)):
        if answer["label"] == "COVID":
            says["pipeline"] = answer["score"]
    client = Client(page_url, verbose=False)
    says["page"] = client.predict(handle_file(golden_phantom), api_name="/predict")["covid_probability"]
    assert len(says) == 4
    assert says == pytest.approx(dict.fromkeys(says, GOLDEN["covid_probability"]), abs=1e-4)


def test_the_lesions_of_the_golden_phantom_are_the_stored_ones(golden_phantom):
    assert Predictor()(golden_phantom).lesions == pytest.approx(GOLDEN["lesions"], abs=1e-4)


@pytest.mark.real_data
def test_the_test_scores_are_measured_again(covid_ct, tmp_path):
    result = run_ladnn("evaluate", "--dataset", covid_ct, "--split", "test", "--output", tmp_path / "report")
    assert result.returncode == 0, result.stderr
    again = json.loads((tmp_path / "report" / "report.json").read_text())
    for name in ("probabilities", "at_threshold", "at_0.5"):
        for metric, numbers in REPORT["test"][name].items():
            assert again[name][metric] == pytest.approx(numbers, abs=0.006), metric
    assert again["probabilities"]["auc"][0] >= 0.75
    assert (tmp_path / "report" / "report.md").read_text() == result.stdout


@pytest.mark.real_data
def test_scoring_a_split_that_is_not_there_is_said(covid_ct, tmp_path):
    result = run_ladnn("evaluate", "--dataset", covid_ct, "--split", "holdout", "--output", tmp_path / "r")
    assert result.returncode == 1
    assert "expected a split holdout, found ['test', 'train', 'validation']" in result.stderr

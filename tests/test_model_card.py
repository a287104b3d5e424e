"""The model's card: rendered from measured numbers, read by the Hub's own parser."""

import json
import re
import shutil

import pytest
import yaml
from conftest import run_ladnn
from huggingface_hub import ModelCard

from ladnn_hf import Predictor, draw_phantom
from ladnn_hf.model_folder import BUNDLED, weights_sha256


def exported_card(folder, output):
    result = run_ladnn("export", "--format", "hf", "--model", folder, "--output", output)
    assert result.returncode == 0, result.stderr
    return ModelCard.load(output / "README.md")


@pytest.fixture(scope="module")
def bundled_card(tmp_path_factory):
    return exported_card(BUNDLED, tmp_path_factory.mktemp("card") / "export")


def test_the_card_of_a_model_of_other_slices_says_nothing_of_covid_ct(tmp_path):
    shutil.copytree(BUNDLED, tmp_path / "model")
    (tmp_path / "model" / "report.json").unlink()
    training = {"command": "ladnn train --dataset mine", "seed": 1, "trained_on": ["mine"], "versions": {}}
    training |= {"lesion_slices": 0, "train_seconds": None, "recipe": "bundled"}
    (tmp_path / "model" / "metrics.json").write_text(json.dumps(training))
    card = str(exported_card(tmp_path / "model", tmp_path / "export"))
    assert "COVID-CT" not in card and "covidct" not in card and "license_link" not in card
    assert "This model learned none: its lesion scores mean nothing." in card and "hours" not in card


def test_every_number_of_the_report_stands_in_the_card(bundled_card):
    report = json.loads((BUNDLED / "report.json").read_text())["test"]
    for row in report["rows"]:
        assert row["title"] in bundled_card.text
        if row["auc"][0] is not None:
            assert "{:.3f} ({:.3f} to {:.3f})".format(*row["auc"]) in bundled_card.text, row["title"]
    for name, numbers in report["lesions"].items():
        present, absent = numbers["present"], numbers["labelled"] - numbers["present"]
        with_it, without = numbers["patients"]
        counts = f"| {present} ({with_it}) | {absent} ({without}) |"
        assert f"| {name} |" in bundled_card.text and counts in bundled_card.text


def test_the_card_shows_the_figures_and_says_how_the_operating_point_was_chosen(bundled_card, tmp_path):
    files = {path.name for path in BUNDLED.glob("*.png")}
    assert "reliability.png" in files and set(re.findall(r"\((\w+\.png)\)", bundled_card.text)) == files
    found = json.loads((BUNDLED / "report.json").read_text())["training"]["validation"]["sensitivity"]
    assert f"{found:.1%} of the slices with COVID-19 lie above it" in " ".join(bundled_card.text.split())
    assert "No test split chose anything." in bundled_card.text


def test_the_hub_reads_metadata_and_results(bundled_card):
    data = bundled_card.data
    report = json.loads((BUNDLED / "report.json").read_text())["test"]
    assert data.pipeline_tag == "image-classification" and data.library_name == "transformers"
    assert data.license == "other" and data.license_name and data.license_link.startswith("https://")
    assert "covid_ct" in data.datasets and data.base_model.startswith("timm/")
    results = {
        (result.dataset_split, result.metric_name): result.metric_value for result in data.eval_results
    }
    assert results["test", "auc"] == pytest.approx(report["probabilities"]["auc"][0], abs=1e-4)
    assert results["test", "sensitivity"] == pytest.approx(report["at_threshold"]["sensitivity"][0], abs=1e-4)
    index = yaml.safe_load(bundled_card.content.split("---")[1])["model-index"]
    assert index[0]["name"] == "LA-DNN" and index[0]["results"]


def test_it_says_what_the_image_processor_does_and_what_training_emitted(bundled_card):
    processor = json.loads((BUNDLED / "preprocessor_config.json").read_text())
    assert "| size | {height}×{width} pixels".format(**processor["size"]) in bundled_card.text
    assert "| crop | the box around the lungs" in bundled_card.text and processor["crop_to_lungs"]
    emitted = bundled_card.data.co2_eq_emissions
    assert 0 < emitted["emissions"] < 1e5 and "W a core" in emitted["source"]


def test_the_snippets_of_the_card_run_as_they_stand(bundled_card, tmp_path, monkeypatch):
    draw_phantom(["GGO"], level=0.45, seed=1).save(tmp_path / "slice.png")
    monkeypatch.chdir(tmp_path)
    folder, found = tmp_path.parent / "model", {}
    assert run_ladnn("export", "--format", "hf", "--output", folder).returncode == 0
    for snippet in re.findall(r"```python\n(.*?)```", bundled_card.text, re.DOTALL):
        exec(snippet.replace("OWNER/NAME", str(folder)), found)
    expected = Predictor()(tmp_path / "slice.png")
    assert found["covid"].item() == pytest.approx(expected.covid_probability, abs=1e-4)
    assert found["lesions"][0].tolist() == pytest.approx(list(expected.lesions.values()), abs=1e-4)


def test_no_section_is_empty_and_the_warning_is_there(bundled_card):
    sections = bundled_card.text.split("\n## ")
    assert "never for diagnosing a patient" in sections[0]
    for section in sections[1:]:
        title, _, body = section.partition("\n")
        assert len(body.strip()) > 40, title
    titles = [section.partition("\n")[0] for section in sections[1:]]
    expected = [
        "Use it",
        "Intended use",
        "What it learned from",
        "Training",
        "Limitations",
        "Licence",
        "Cite",
    ]
    assert [title for title in titles if title in expected] == expected


def test_a_model_that_nobody_evaluated_says_so(micro_folder, tmp_path):
    card = exported_card(micro_folder, tmp_path / "export")
    assert "**Not evaluated.**" in card.text and card.data.eval_results is None
    assert "does not say how the model was trained" in card.text


def test_a_report_of_other_weights_is_refused(micro_folder, tmp_path):
    report = json.loads((BUNDLED / "report.json").read_text())
    (micro_folder / "report.json").write_text(json.dumps(report))
    result = run_ladnn("export", "--format", "hf", "--model", micro_folder, "--output", tmp_path / "export")
    assert result.returncode == 1 and not (tmp_path / "export").exists()
    assert "expected a report of the weights beside it, found one of others" in result.stderr


def test_a_report_of_an_older_version_is_refused(micro_folder, tmp_path):
    digest = weights_sha256(micro_folder)
    report = {"weights_sha256": digest, "test": {"weights_sha256": digest, "probabilities": {}}}
    (micro_folder / "report.json").write_text(json.dumps(report))
    result = run_ladnn("export", "--format", "hf", "--model", micro_folder, "--output", tmp_path / "export")
    assert result.returncode == 1 and not (tmp_path / "export").exists()
    assert "found what an earlier version wrote; run it again or remove the file." in result.stderr


def test_a_report_that_is_no_json_is_named(micro_folder, tmp_path):
    (micro_folder / "report.json").write_text("{")
    result = run_ladnn("export", "--format", "hf", "--model", micro_folder, "--output", tmp_path / "export")
    assert result.returncode == 1 and not (tmp_path / "export").exists()
    assert "report.json: expected JSON, found something else" in result.stderr

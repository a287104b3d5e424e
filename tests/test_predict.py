import csv
import dataclasses
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import torch
from conftest import run_ladnn, run_ladnn_alone, run_python
from PIL import Image
from safetensors.torch import load_file, save_file

from ladnn_hf import LESIONS, LaDnnForImageClassification, LaDnnImageProcessor, Predictor
from ladnn_hf.attention import overlay
from ladnn_hf.model_folder import BUNDLED
from ladnn_hf.reading import open_slice


@pytest.fixture
def mixed(phantom, tmp_path, monkeypatch):
    """A working folder with good and bad files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    (tmp_path / "bare").mkdir()
    phantom.save("good.png")
    phantom.rotate(5).save("folder/one.jpg")
    phantom.save("folder/deeper/two.webp")
    (tmp_path / "folder" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("L", (64, 64), 90).save("blank.png")
    return tmp_path


def test_a_slice_is_not_replaced_by_the_answer_to_it(micro_folder, mixed):
    before = (mixed / "good.png").read_bytes()
    (mixed / "link.png").symlink_to("good.png")
    for output in ("good.png", "link.png"):
        result = run_ladnn("predict", "blank.png", "good.png", "--model", micro_folder, "--output", output)
        assert result.returncode == 2 and "found one of the slices; name another." in result.stderr
    assert (mixed / "good.png").read_bytes() == before


def test_each_file_gets_one_json_object_in_the_order_given(micro_folder, mixed):
    paths = ["folder", "good.png", "nowhere.png", "./good.png", "bare", "blank.png"]
    result = run_ladnn("predict", *paths, "--model", micro_folder, "--format", "json")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 1
    assert [answer["image"] for answer in answers] == [
        *("folder/broken.png", "folder/one.jpg", "folder/deeper/two.webp"),
        *("good.png", "nowhere.png", "./good.png", "bare", "blank.png"),
    ]
    decisions = [answer["decision"] for answer in answers]
    assert [decision == "refused" for decision in decisions] == [
        *(True, False, False),
        *(False, True, False, True, True),
    ]
    for answer in answers:
        refused = answer["decision"] == "refused"
        assert list(answer) == [
            *("image", "label", "covid_probability", "decision", "lesions", "reason", "threshold", "model")
        ]
        assert (answer["label"] is None) == (answer["covid_probability"] is None) == refused
        assert (answer["lesions"] is None) == refused
        assert (answer["reason"] is not None) == refused
        assert answer["threshold"] == 0.5 and answer["model"] == str(micro_folder)
    assert list(answers[3]["lesions"]) == list(LESIONS)
    assert answers[3]["covid_probability"] == answers[5]["covid_probability"]
    assert "Traceback" not in result.stderr


def test_all_answered_is_status_zero_and_wrong_usage_is_two(micro_folder, mixed):
    assert run_ladnn("predict", "good.png", "--model", micro_folder).returncode == 0
    assert run_ladnn("predict").returncode == 2
    assert run_ladnn("predict", "good.png", "--frobnicate").returncode == 2


def test_the_gate_can_be_left_open(micro_folder, mixed):
    arguments = ("predict", "blank.png", "--model", micro_folder, "--format", "json")
    refused = json.loads(run_ladnn(*arguments).stdout)
    answered = json.loads(run_ladnn(*arguments, "--no-gate").stdout)
    assert "blank picture" in refused["reason"]
    assert answered["decision"] in ("positive", "negative")


def test_a_probability_in_the_band_is_indeterminate_and_keeps_its_label(micro_folder, phantom):
    probability = Predictor(micro_folder, gate=False)(phantom).covid_probability
    for band, decision in (
        ([probability - 0.01, probability + 0.01], "indeterminate"),
        ([probability, 1.0], "indeterminate"),
        ([0.0, probability], "positive"),
    ):
        config = json.loads((micro_folder / "config.json").read_text())
        config |= {"indeterminate_band": band, "threshold": probability}
        (micro_folder / "config.json").write_text(json.dumps(config))
        answer = Predictor(micro_folder, gate=False)(phantom)
        assert (answer.decision, answer.label) == (decision, "COVID"), band


def test_a_model_that_sees_the_lungs_alone_answers_the_same_whatever_surrounds_them(micro_folder, phantom):
    settings = json.loads((micro_folder / "preprocessor_config.json").read_text()) | {"crop_to_lungs": True}
    (micro_folder / "preprocessor_config.json").write_text(json.dumps(settings))
    predictor = Predictor(micro_folder, gate=False)
    bare = predictor(phantom)
    left, upper, right, lower = bare.box
    assert 0 < left < right < phantom.width and 0 < upper < lower < phantom.height
    marked = phantom.copy()
    marked.paste(255, (0, 0, 6, 6))
    assert predictor(marked).covid_probability == pytest.approx(bare.covid_probability, abs=1e-6)
    same = LaDnnImageProcessor.from_pretrained(micro_folder)(phantom)["pixel_values"]
    network = LaDnnForImageClassification.from_pretrained(micro_folder).eval()
    logits = network(torch.from_numpy(same)).logits.detach()
    assert float(logits.softmax(1)[0, 1]) == pytest.approx(bare.covid_probability, abs=1e-5)


def test_csv_has_one_row_a_file_and_lands_whole_in_the_output_file(micro_folder, mixed):
    arguments = ("predict", "good.png", "nowhere.png", "--model", micro_folder, "--format", "csv")
    result = run_ladnn(*arguments, "--output", "answers.csv")
    assert (result.returncode, result.stdout) == (1, "")
    rows = list(csv.DictReader(io.StringIO((mixed / "answers.csv").read_text())))
    assert [row["image"] for row in rows] == ["good.png", "nowhere.png"]
    assert 0 < float(rows[0]["covid_probability"]) < 1 and rows[1]["covid_probability"] == ""
    assert set(LESIONS) <= set(rows[0])
    assert not list(mixed.glob(".answers*"))


def test_a_name_that_no_file_can_have_is_refused_and_the_others_are_answered(micro_folder, mixed):
    result = run_ladnn("predict", "good.png", "a" * 300, "--model", micro_folder, "--format", "json")
    assert result.returncode == 1
    good, bad = map(json.loads, result.stdout.splitlines())
    assert good["decision"] != "refused" and "found none at this path" in bad["reason"]


def test_a_csv_quotes_names_that_a_spreadsheet_would_compute(micro_folder, mixed):
    (mixed / "good.png").rename(mixed / "=1+1.png")
    said = {
        kind: run_ladnn("predict", "=1+1.png", "--model", micro_folder, "--format", kind).stdout
        for kind in ("csv", "json")
    }
    (row,) = csv.DictReader(io.StringIO(said["csv"]))
    assert row["image"] == "'=1+1.png" and json.loads(said["json"])["image"] == "=1+1.png"


def test_output_goes_through_a_link_and_to_a_device_and_replaces_neither(micro_folder, mixed):
    (mixed / "target.jsonl").write_text("old")
    (mixed / "link.jsonl").symlink_to("target.jsonl")
    os.mkfifo(mixed / "pipe")
    arguments = ("predict", "good.png", "--model", micro_folder, "--format", "json", "--output")
    run_ladnn(*arguments, "link.jsonl")
    assert (mixed / "link.jsonl").is_symlink()
    assert json.loads((mixed / "target.jsonl").read_text())["image"] == "good.png"
    with ThreadPoolExecutor() as pool:
        received = pool.submit((mixed / "pipe").read_text)
        run_ladnn(*arguments, "pipe")
        assert json.loads(received.result())["image"] == "good.png"
    assert (mixed / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--output", "bare"), "bare: expected a file, found a folder"),
        (("--output", "no/a.csv"), "no/a.csv: expected a file in a folder that is there, found none"),
        (
            ("--attention", "good.png"),
            "good.png: expected a folder for the maps, which can be made, found",
        ),
    ],
)
def test_a_place_that_cannot_be_written_is_wrong_usage_before_any_work(micro_folder, mixed, flags, sentence):
    before = sorted(mixed.rglob("*"))
    result = run_ladnn("predict", "good.png", "--model", micro_folder, *flags)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"ladnn predict: {sentence}") and result.stderr.count("\n") == 1
    assert sorted(mixed.rglob("*")) == before


def test_a_call_that_fails_leaves_the_last_output_as_it_was(mixed):
    (mixed / "answers.json").write_text("of the last call")
    result = run_ladnn("predict", "good.png", "--model", "nowhere", "--output", "answers.json")
    assert result.returncode == 2
    assert (mixed / "answers.json").read_text() == "of the last call"


def test_a_name_that_is_not_utf8_is_answered_in_every_format(micro_folder, mixed, phantom):
    name = os.fsdecode(b"not-utf8-\xff.png")
    phantom.save(name)
    for kind in ("json", "csv", "table"):
        arguments = ("predict", name, "good.png", "--model", micro_folder, "--format", kind)
        alone = run_ladnn_alone(*arguments, env={"PYTHONIOENCODING": "utf-8:strict"})
        assert alone.returncode == 0 and "good.png" in alone.stdout, alone.stderr
        assert run_ladnn(*arguments, "--output", "out").returncode == 0
    assert json.loads(run_ladnn(*arguments[:-1], "json").stdout.splitlines()[0])["image"] == name


def test_the_table_keeps_control_characters_out_of_the_terminal(micro_folder, mixed, phantom):
    phantom.save("line\nbreak\x1b[31m.png")
    result = run_ladnn("predict", "line\nbreak\x1b[31m.png", "--model", micro_folder)
    assert result.stdout.splitlines()[1].endswith(r"line\nbreak\x1b[31m.png")


def test_the_table_shows_answers_and_reasons(micro_folder, mixed):
    result = run_ladnn("predict", "good.png", "nowhere.png", "--model", micro_folder)
    header, good, bad = result.stdout.splitlines()
    assert "COVID" in header and "InSepThi" in header
    assert good.endswith("good.png")
    assert bad.startswith("refused") and "found none at this path" in bad


def test_attention_writes_an_overlay_for_each_answered_slice(micro_folder, mixed):
    run_ladnn("predict", "good.png", "nowhere.png", "folder", "--model", micro_folder, "--attention", "maps")
    assert sorted(os.listdir("maps")) == ["00001_good.png", "00004_one.png", "00005_two.png"]
    with Image.open("maps/00001_good.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", Image.open("good.png").size)


def test_an_overlay_colours_what_speaks_for_the_class_and_nothing_else(phantom):
    evidence = np.full((7, 7), -3.0)
    evidence[1, 1] = 5.0
    coloured = np.asarray(overlay(phantom, evidence)).astype(int)
    red_over_blue = coloured[..., 0] - coloured[..., 2]
    assert red_over_blue[20, 20] > 100
    assert red_over_blue[60:, 60:].max() == 0


def test_many_slices_are_answered_in_order_as_each_alone(micro_folder, phantom):
    predictor = Predictor(micro_folder)
    slices = [phantom.rotate(angle) for angle in range(20)]
    together, alone = list(predictor.predict(slices)), list(map(predictor, slices))
    assert [answer.slice.grey.tobytes() for answer in together] == [one.tobytes() for one in slices]
    for at_once, by_itself in zip(together, alone, strict=True):
        assert at_once.maps == pytest.approx(by_itself.maps, abs=1e-5)


def test_one_unreadable_file_among_many_is_refused_in_its_place(micro_folder, mixed):
    paths = [*["good.png"] * 9, "folder/broken.png", *["good.png"] * 9]
    answers = list(Predictor(micro_folder).predict(paths))
    assert [answer.image for answer in answers] == paths
    assert [number for number, answer in enumerate(answers) if answer.decision == "refused"] == [9]


def test_a_slice_that_is_read_already_is_answered_as_its_file(micro_folder, mixed):
    predictor = Predictor(micro_folder)
    from_file, from_slice = predictor("good.png"), predictor(open_slice("good.png"))
    assert from_slice.covid_probability == from_file.covid_probability
    assert (from_file.image, from_slice.image) == ("good.png", "")


def test_an_answer_keeps_the_slice_that_was_read_also_of_a_refused_one(micro_folder, mixed):
    good, blank, broken = Predictor(micro_folder).predict(["good.png", "blank.png", "folder/broken.png"])
    assert good.slice.grey.size == Image.open("good.png").size
    assert blank.decision == "refused" and blank.slice.size == (64, 64)
    assert broken.slice is None
    assert "slice" not in good.to_dict()


def test_slices_are_answered_while_they_come_and_few_are_ahead(micro_folder, phantom, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield phantom

    answers = Predictor(micro_folder).predict(endless())
    for answered in range(1, 30):
        next(answers)
        assert len(taken) <= answered + 6
    answers.close()


def test_a_fault_of_what_gives_the_slices_reaches_the_caller(micro_folder, phantom):
    def broken():
        yield from (phantom, phantom)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(Predictor(micro_folder).predict(broken()))


@pytest.mark.parametrize("given", [np.zeros((64, 64)), b"bytes", ["a.png"], None])
def test_what_is_no_slice_at_all_is_an_error_of_the_caller(micro_folder, given):
    with pytest.raises(TypeError, match="expected a path, an open binary file or a PIL image, found"):
        Predictor(micro_folder)(given)


def test_one_slice_is_not_taken_for_many(micro_folder, phantom):
    for one in ("good.png", phantom):
        with pytest.raises(TypeError, match=r"expected several slices, found .*call the predictor for one"):
            next(Predictor(micro_folder).predict(one))


def test_rows_of_a_hub_that_does_not_answer_are_one_sentence(mixed):
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    result = run_ladnn_alone("predict", "hf://datasets/OWNER/slices@main", cwd=mixed, env=closed)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "expected rows of slices that can be read, found none" in result.stderr
    assert "check the name, your token and the network" in result.stderr


def test_a_prediction_is_frozen(micro_folder, phantom):
    answer = Predictor(micro_folder)(phantom)
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.decision = "negative"
    assert answer.maps.shape[0] == 6


@pytest.mark.parametrize(
    ("breakage", "sentence"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "expected model.safetensors or model.onnx"),
        (lambda folder: (folder / "config.json").write_text("{"), "expected JSON"),
        (lambda folder: (folder / "config.json").unlink(), "expected a model folder with config.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "vit"}'), "found 'vit'"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "with preprocessor_config.json"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "only pickled weights",
        ),
        (
            lambda folder: (folder / "config.json").write_text(
                (folder / "config.json").read_text().replace("test_efficientnet", "nonesuch")
            ),
            "found 'nonesuch'",
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no tensors here"), "expected"),
    ],
)
def test_a_model_folder_that_is_none_gets_one_sentence(micro_folder, mixed, breakage, sentence):
    breakage(micro_folder)
    result = run_ladnn("predict", "good.png", "--model", micro_folder)
    assert result.returncode == 2
    assert result.stdout == ""
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ladnn predict: ") and sentence in last
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("config.json", {"threshold": None}, "expected threshold to be a number in (0, 1), found None"),
        ("config.json", {"threshold": None, "indeterminate_band": [0.3, 0.6]}, "expected threshold to be a"),
        ("config.json", {"threshold": 2}, "expected threshold to be a number in (0, 1), found 2"),
        (
            "config.json",
            {"indeterminate_band": [0.9, 0.1]},
            "expected indeterminate_band to be two numbers in [0, 1] with the threshold between, found [0.9",
        ),
        ("config.json", {"temperature": 0.0}, "expected temperature to be a number above 0, found 0.0"),
        ("config.json", {"temperature": None}, "expected temperature to be a number above 0, found None"),
        ("config.json", {"dtype": "float99"}, "expected a whole LA-DNN model"),
        ("preprocessor_config.json", {"size": 224}, "expected size to be at least 32 by 32 pixels"),
        ("preprocessor_config.json", {"size": {"height": 0, "width": 64}}, "expected size to be"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "expected image_mean to be one number a channel"),
        ("preprocessor_config.json", {"image_std": [0, 0, 0]}, "expected image_std to be one number above 0"),
        (
            "preprocessor_config.json",
            {"image_mean": [0.5], "image_std": [0.5]},
            "slices of shape (1, 64, 64)",
        ),
    ],
)
def test_settings_that_would_answer_wrongly_are_named(micro_folder, mixed, name, settings, sentence):
    path = micro_folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    result = run_ladnn("predict", "good.png", "--model", micro_folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert sentence in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_weights_that_are_not_finite_or_not_all_there_are_refused(micro_folder, mixed):
    weights = load_file(micro_folder / "model.safetensors")
    for changed, sentence in (
        (weights | {"classifier.bias": torch.full((6,), float("nan"))}, "numbers that are not finite"),
        (weights | {"classifier.bias": torch.zeros(7)}, "1 tensors missing or of another shape"),
        ({k: v for k, v in weights.items() if k != "classifier.bias"}, "1 tensors missing"),
    ):
        save_file(changed, micro_folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=sentence):
            Predictor(micro_folder)


def test_an_export_that_takes_other_slices_than_its_processor_gives_is_refused(micro_folder, mixed):
    exported = mixed / "exported"
    run_ladnn("export", "--format", "onnx", "--model", micro_folder, "--output", exported)
    processor = json.loads((exported / "preprocessor_config.json").read_text())
    processor["size"] = {"height": 96, "width": 96}
    (exported / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ValueError, match=r"slices of shape \(3, 96, 96\), found another"):
        Predictor(exported)
    for content in (b"", b"no protobuf"):
        (exported / "model.onnx").write_bytes(content)
        with pytest.raises(ValueError, match="expected an ONNX export, found a broken one"):
            Predictor(exported)


def test_an_export_without_its_packages_leaves_nothing_behind(micro_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    exported = tmp_path / "exported"
    result = run_ladnn("export", "--format", "onnx", "--model", micro_folder, "--output", exported)
    assert result.returncode == 1
    assert "expected the package onnx, found it not installed; run `pip install" in result.stderr
    assert not exported.exists() and not list(tmp_path.glob(".exported*"))


def test_an_onnx_export_answers_as_pytorch_does_without_loading_torch(micro_folder, mixed):
    exported = mixed / "exported"
    result = run_ladnn("export", "--format", "onnx", "--model", micro_folder, "--output", exported)
    assert result.returncode == 0, result.stderr
    code = """
import sys
from ladnn_hf import Predictor
answer = Predictor(sys.argv[1])("good.png")
assert not {"torch", "timm", "transformers"} & set(sys.modules)
print(answer.covid_probability, *answer.lesions.values(), *answer.maps.ravel())
"""
    without_torch = run_python(code, exported)
    assert without_torch.returncode == 0, without_torch.stderr
    expected = Predictor(micro_folder)("good.png")
    assert [float(number) for number in without_torch.stdout.split()] == pytest.approx(
        [expected.covid_probability, *expected.lesions.values(), *expected.maps.ravel()], abs=1e-4
    )


def test_an_export_holds_no_path_of_the_machine_that_made_it(micro_folder, tmp_path):
    exported = tmp_path / "exported"
    run_ladnn("export", "--format", "onnx", "--model", micro_folder, "--output", exported)
    for folder in (exported, BUNDLED):
        model = onnx.load(folder / "model.onnx")
        for weights in model.graph.initializer:
            weights.ClearField("raw_data")  # among millions of them some bytes say .py
        content = model.SerializeToString()
        assert b"site-packages" not in content and b".py" not in content


@pytest.mark.parametrize("change", ["weights", "temperature"])
def test_an_export_of_other_weights_is_refused(micro_folder, tmp_path, change):
    exported = tmp_path / "exported"
    run_ladnn("export", "--format", "onnx", "--model", micro_folder, "--output", exported)
    if change == "weights":
        weights = bytearray((exported / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (exported / "model.safetensors").write_bytes(weights)
    else:
        config = json.loads((exported / "config.json").read_text())
        (exported / "config.json").write_text(json.dumps(config | {"temperature": 3.0}))
    with pytest.raises(ValueError, match=r"found one of others; run `ladnn export"):
        Predictor(exported)


def test_an_export_never_overwrites(micro_folder, tmp_path):
    (tmp_path / "there").mkdir()
    result = run_ladnn("export", "--format", "hf", "--model", micro_folder, "--output", tmp_path / "there")
    assert result.returncode == 1
    assert "expected a folder that is not there yet" in result.stderr


def test_an_overlay_of_a_part_of_the_slice_stays_in_it(phantom):
    coloured = np.asarray(overlay(phantom, np.full((3, 3), 9.0), box=(10, 20, 50, 80))).astype(int)
    red_over_blue = coloured[..., 0] - coloured[..., 2]
    assert red_over_blue[20:80, 10:50].min() > 60
    red_over_blue[20:80, 10:50] = 0
    assert red_over_blue.max() == 0

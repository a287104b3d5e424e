"""The pipeline that answers whole: loaded by remote code, it says what the package's `Predictor` says."""

import json

import numpy as np
import pytest
from conftest import run_python
from PIL import Image, ImageOps
from transformers import pipeline

from ladnn_hf import CLASSES, LESIONS, LaDnnImageProcessor, LaDnnPipeline, Predictor, draw_phantom
from ladnn_hf.attention import overlay
from ladnn_hf.decision_ladnn import decide
from ladnn_hf.export import export_hf
from ladnn_hf.model_folder import BUNDLED

TASK = "chest-ct-classification"
REMOTE = """
import json, sys
sys.modules["ladnn_hf"] = None  # an import of the package fails
import numpy as np
from PIL import Image
from transformers import pipeline
folder, again, *pictures = sys.argv[1:]
answer = pipeline("chest-ct-classification", model=folder, trust_remote_code=True, batch_size=2)
said = answer(pictures)
ungated = answer(pictures, gate=False)
arrays = answer(pictures[0], maps="arrays")
overlays = answer(Image.open(pictures[0]), maps="overlays")
arrays["maps"] = {name: array.tolist() for name, array in arrays["maps"].items()}
overlays["maps"] = {name: np.asarray(picture).tolist() for name, picture in overlays["maps"].items()}
answer.save_pretrained(again)
kept = pipeline(model=again, trust_remote_code=True)  # the one task of its own
print(json.dumps([said, ungated, arrays, overlays, kept(pictures[0]), kept.task]))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A slice, noise, an inverted slice, nothing, a photograph's colours: paths of files."""
    folder = tmp_path_factory.mktemp("pictures")
    slice_ = draw_phantom(["GGO"], level=0.45, size=256, seed=1)
    colours = Image.merge("RGB", [ImageOps.invert(slice_), slice_, slice_.rotate(90)])
    drawn = (
        slice_,
        Image.effect_noise((200, 200), 90),
        ImageOps.invert(slice_),
        Image.new("L", (80, 80)),
        colours,
    )
    for number, picture in enumerate(drawn):
        picture.save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(len(drawn))]


@pytest.fixture(scope="module")
def remote(pictures, tmp_path_factory):
    """What the exported bundled checkpoint says where the package cannot be imported."""
    folder = tmp_path_factory.mktemp("remote")
    export_hf(BUNDLED, folder / "model")
    said = run_python(REMOTE, folder / "model", folder / "again", *pictures, cwd=folder)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


def same(answer, prediction):
    for name in ("label", "decision", "reason", "threshold"):
        assert answer[name] == getattr(prediction, name), name
    if prediction.lesions is None:
        assert answer["covid_probability"] is answer["lesions"] is None
    else:
        assert answer["covid_probability"] == pytest.approx(prediction.covid_probability, abs=1e-4)
        assert answer["lesions"] == pytest.approx(prediction.lesions, abs=1e-4)


def test_it_decides_and_refuses_as_the_package_does_and_gives_the_same_reasons(remote, pictures):
    predictions = list(Predictor().predict(pictures))
    assert [prediction.decision for prediction in predictions] == ["positive", *["refused"] * 4]
    assert len({prediction.reason for prediction in predictions}) == 5
    for answer, prediction in zip(remote[0], predictions, strict=True):
        same(answer, prediction)


def test_without_its_gate_it_answers_whatever_it_is_given(remote, pictures):
    for answer, prediction in zip(remote[1], Predictor(gate=False).predict(pictures), strict=True):
        same(answer, prediction)


def test_its_maps_are_those_of_the_package(remote, pictures):
    prediction = Predictor()(pictures[0])
    arrays, overlays = remote[2:4]
    names = [CLASSES[1], *LESIONS]
    assert list(arrays["maps"]) == list(overlays["maps"]) == names
    assert arrays["box"] == pytest.approx(prediction.box)
    for name, activation_map in zip(names, prediction.maps, strict=True):
        np.testing.assert_allclose(arrays["maps"][name], activation_map, atol=1e-3)
        drawn = np.asarray(overlay(prediction.slice.grey, activation_map, prediction.box), dtype=int)
        np.testing.assert_allclose(overlays["maps"][name], drawn, atol=1)


def test_saved_again_it_carries_its_source_and_its_task(remote, pictures):
    same(remote[4], Predictor()(pictures[0]))
    assert remote[5] == TASK


def test_it_answers_for_a_model_at_hand(micro_model, phantom):
    processor = LaDnnImageProcessor(size={"height": 64, "width": 64})
    answer = pipeline(TASK, model=micro_model, image_processor=processor, device="cpu")
    # Its name alone: once another test has run a model's own code, the task is that code's.
    assert type(answer).__name__ == LaDnnPipeline.__name__
    assert answer(phantom)["decision"] in ("positive", "negative")
    with pytest.raises(ValueError, match="expected `maps` to be one of"):
        answer(phantom, maps="pictures")


@pytest.mark.parametrize(
    ("probability", "label", "decision"),
    [
        (0.19, "NonCOVID", "negative"),
        (0.2, "NonCOVID", "indeterminate"),
        (0.4, "COVID", "indeterminate"),
        (0.6, "COVID", "positive"),
    ],
)
def test_the_band_holds_its_lower_edge_and_not_its_upper(probability, label, decision):
    assert decide(probability, 0.4, (0.2, 0.6)) == (label, decision)
    assert decide(probability, 0.4) == (label, "positive" if label == "COVID" else "negative")

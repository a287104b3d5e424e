import json

import numpy as np
import pytest
import torch
from conftest import MICRO_SIZE, run_ladnn, run_python
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, pipeline

from ladnn_hf import CLASSES, LaDnnConfig, LaDnnForImageClassification, LaDnnImageProcessor, joint_loss

SLICES = torch.linspace(-1, 1, 4 * 3 * MICRO_SIZE**2).view(4, 3, MICRO_SIZE, MICRO_SIZE)
NAN = float("nan")


def test_a_model_answers_a_diagnosis_five_lesions_and_a_map_for_each(micro_model):
    output = micro_model(SLICES)
    assert output.loss is None
    assert output.logits.shape == (4, 2)
    assert output.lesion_logits.shape == (4, 5)
    assert output.class_activation_maps.shape[:2] == (4, 6)


def test_the_mean_of_a_map_is_the_output_it_explains(micro_model):
    output = micro_model(SLICES)
    outputs = torch.cat([(output.logits[:, 1:] - output.logits[:, :1]), output.lesion_logits], dim=1)
    torch.testing.assert_close(output.class_activation_maps.mean((2, 3)), outputs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "mobilenetv3_small_050", "densenet121"])
def test_any_timm_classifier_is_a_backbone(backbone):
    model = LaDnnForImageClassification(LaDnnConfig(backbone=backbone, image_size=MICRO_SIZE)).eval()
    assert model(SLICES).logits.shape == (4, 2)


def test_the_temperature_divides_the_covid_output_alone(micro_model):
    before = micro_model(SLICES)
    micro_model.config.temperature = 2.0
    after = micro_model(SLICES)
    torch.testing.assert_close(after.logits, before.logits / 2)
    torch.testing.assert_close(after.lesion_logits, before.lesion_logits)


def test_saved_weights_are_safetensors_alone_and_come_back_bit_for_bit(micro_model, tmp_path):
    micro_model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    loaded = LaDnnForImageClassification.from_pretrained(tmp_path)
    for name, tensor in micro_model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_auto_classes_find_a_saved_model_once_a_core_class_is_imported(micro_folder):
    assert isinstance(AutoConfig.from_pretrained(micro_folder), LaDnnConfig)
    model = AutoModelForImageClassification.from_pretrained(micro_folder)
    assert isinstance(model, LaDnnForImageClassification)
    assert isinstance(AutoImageProcessor.from_pretrained(micro_folder), LaDnnImageProcessor)


def test_the_pipeline_gives_the_calibrated_sigmoid_of_the_covid_output(micro_folder, phantom):
    answers = pipeline("image-classification", model=str(micro_folder))(phantom)
    scores = {answer["label"]: answer["score"] for answer in answers}
    model = LaDnnForImageClassification.from_pretrained(micro_folder)
    inputs = LaDnnImageProcessor.from_pretrained(micro_folder)(phantom, return_tensors="pt")
    maps = model.eval()(**inputs).class_activation_maps
    expected = torch.sigmoid(maps[0, 0].mean() / model.config.temperature).item()
    assert set(scores) == set(CLASSES)
    assert sum(scores.values()) == pytest.approx(1)
    assert scores["COVID"] == pytest.approx(expected, abs=1e-6)


def test_an_exported_folder_loads_by_remote_code_where_the_package_is_not_installed(
    micro_folder, phantom, tmp_path
):
    exported = tmp_path / "exported"
    result = run_ladnn("export", "--format", "hf", "--model", micro_folder, "--output", exported)
    assert result.returncode == 0, result.stderr
    phantom.save(tmp_path / "phantom.png")
    code = """
import json, sys
sys.modules["ladnn_hf"] = None  # an import of the package fails
from transformers import AutoConfig, AutoImageProcessor, pipeline
folder, picture = sys.argv[1:]
AutoConfig.from_pretrained(folder, trust_remote_code=True)
AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
answer = pipeline("image-classification", model=folder, trust_remote_code=True)
print(json.dumps([type(answer.model).__module__, answer(picture)]))
"""
    remote = run_python(code, exported, tmp_path / "phantom.png", cwd=tmp_path)
    assert remote.returncode == 0, remote.stderr
    module, answers = json.loads(remote.stdout)
    assert module.startswith("transformers_modules")
    assert answers == [
        {"label": answer["label"], "score": pytest.approx(answer["score"], abs=1e-6)}
        for answer in pipeline("image-classification", model=str(micro_folder))(phantom)
    ]


def test_remote_code_and_the_package_live_in_one_process(micro_folder, phantom, tmp_path):
    exported = tmp_path / "exported"
    run_ladnn("export", "--format", "hf", "--model", micro_folder, "--output", exported)
    answer = pipeline("image-classification", model=str(exported), trust_remote_code=True)
    assert isinstance(answer.model, LaDnnForImageClassification)


def test_the_loss_is_the_published_one():
    covid, lesions = torch.tensor([2.0, -1.0]), torch.zeros(2, 5)
    labels = torch.tensor([1, 0])
    lesion_labels = torch.tensor([[1.0, 0, 0, 0, 0], [NAN] * 5])
    diagnosis = -np.log(1 / (1 + np.exp(-2))) - np.log(1 - 1 / (1 + np.exp(1)))
    expected = (5 * diagnosis + 5 * np.log(2)) / 12
    assert joint_loss(covid, lesions, labels, lesion_labels).item() == pytest.approx(expected, rel=1e-6)


def test_without_lesion_labels_the_lesion_outputs_get_no_gradient():
    for missing in (None, torch.full((2, 5), NAN)):
        covid = torch.tensor([2.0, -1.0], requires_grad=True)
        lesions = torch.randn(2, 5, requires_grad=True)
        joint_loss(covid, lesions, torch.tensor([1, 0]), missing).backward()
        assert torch.count_nonzero(lesions.grad) == 0
        assert torch.isfinite(covid.grad).all() and covid.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("labels", "lesion_labels", "named"),
    [
        (torch.zeros(4, 2), None, "`labels` of shape \\(4,\\)"),
        (torch.zeros(3), None, "`labels` of shape \\(4,\\)"),
        (torch.zeros(4), torch.zeros(4, 6), "`lesion_labels` of shape \\(4, 5\\)"),
        (torch.zeros(4), torch.zeros(5), "`lesion_labels` of shape \\(4, 5\\)"),
        (torch.tensor([0, 1, -100, 0]), None, "`labels` from 0 to 1, found -100 to 1"),
        (torch.zeros(4), torch.tensor([[torch.nan, 2.0, 0, 0, 0]] * 4), "from 0 to 1, found 0 to 2"),
    ],
)
def test_labels_of_the_wrong_shape_or_range_are_named(micro_model, labels, lesion_labels, named):
    with pytest.raises(ValueError, match=named):
        micro_model(SLICES, labels=labels, lesion_labels=lesion_labels)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"temperature": 0.0}, "`temperature` above 0, found 0.0"),
        ({"threshold": 1.5}, "`threshold` in \\(0, 1\\), found 1.5"),
        ({"image_size": 8}, "`image_size` at least 32, found 8"),
        ({"num_labels": 3}, "two classes"),
        ({"id2label": {0: "COVID", 1: "NonCOVID"}}, "two classes"),
    ],
)
def test_a_configuration_out_of_range_is_refused(wrong, named):
    with pytest.raises(ValueError, match=named):
        LaDnnConfig(**wrong)


def test_an_unknown_backbone_is_named_with_the_remedy():
    with pytest.raises(ValueError, match=r"found 'resnet-of-nowhere'.*list_models"):
        LaDnnForImageClassification(LaDnnConfig(backbone="resnet-of-nowhere"))


def test_the_processor_says_what_is_wrong_with_its_settings():
    for size in ({"shortest_edge": 224}, 224, {"height": 0, "width": 224}):
        with pytest.raises(ValueError, match="`size` with height and width, each at least 32 pixels, found"):
            LaDnnImageProcessor(size=size)
    with pytest.raises(ValueError, match="as many values"):
        LaDnnImageProcessor(image_mean=[0.5], image_std=[0.5, 0.5, 0.5])


def test_slices_of_other_channels_than_the_models_are_refused_in_a_sentence(micro_model):
    with pytest.raises(ValueError, match=r"of shape \(N, 3, H, W\), found \(1, 1, 64, 64\)"):
        micro_model(torch.zeros(1, 1, 64, 64))


def test_the_processor_reads_pictures_arrays_and_tensors_alike(phantom):
    processor = LaDnnImageProcessor(size={"height": 32, "width": 48})
    array = np.asarray(phantom.convert("RGB"))
    expected = processor(phantom, return_tensors="pt")["pixel_values"]
    assert expected.shape == (1, 3, 32, 48)
    for same in (array, torch.from_numpy(array.copy()).permute(2, 0, 1)):
        torch.testing.assert_close(processor(same, return_tensors="pt")["pixel_values"], expected)


def test_probabilities_come_from_post_processing(micro_folder, phantom):
    processor = LaDnnImageProcessor.from_pretrained(micro_folder)
    model = LaDnnForImageClassification.from_pretrained(micro_folder).eval()
    output = model(**processor([phantom, phantom], return_tensors="pt"))
    first, second = processor.post_process_slices(output)
    assert first["covid_probability"] == pytest.approx(output.logits.softmax(1)[0, 1].item(), abs=1e-6)
    assert list(first["lesions"].values()) == pytest.approx(output.lesion_logits[0].sigmoid().tolist())
    assert first["lesions"] == pytest.approx(second["lesions"])

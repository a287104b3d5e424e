import copy
import json

import numpy as np
import pytest
import torch
from conftest import MICRO_SIZE
from PIL import Image

from ladnn_hf import LaDnnConfig, LaDnnForImageClassification, LaDnnImageProcessor, draw_phantom
from ladnn_hf.attention_checks import (
    MAPS,
    SHARE,
    check_attention,
    class_activation,
    strongest,
)
from ladnn_hf.grad_cam import grad_cam_plus_plus
from ladnn_hf.metrics import to_json

SIZE = 128
HALF = SIZE // 2
PATIENTS = [np.asarray(draw_phantom(size=SIZE, seed=seed), float) for seed in range(2)]
PROCESSOR = LaDnnImageProcessor(size={"height": SIZE, "width": SIZE})


def squares(count, seed, patients=PATIENTS):
    """Faint, noisy phantoms with a bright square and the number of its quarter; then as many without one."""
    generator = np.random.default_rng(seed)
    quarters = generator.integers(4, size=count)
    pictures = 70 + 0.3 * np.stack(patients * count) + generator.normal(0, 30, (2 * count, SIZE, SIZE))
    for picture, quarter in zip(pictures, quarters, strict=False):
        top, left = (HALF * place + 20 for place in divmod(quarter, 2))
        picture[top : top + 24, left : left + 24] = 255
    return [Image.fromarray(picture.clip(0, 255).astype(np.uint8)) for picture in pictures], quarters


@pytest.fixture(scope="module")
def square_finder():
    """A micro network that calls a slice COVID where it has a bright square."""
    torch.manual_seed(0)
    model = LaDnnForImageClassification(LaDnnConfig(backbone="test_byobnet", image_size=SIZE))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    labels = torch.tensor([1] * 8 + [0] * 8)
    for step in range(60):
        inputs = PROCESSOR(squares(8, seed=step)[0], return_tensors="pt")
        model.train()(**inputs, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    unseen = PROCESSOR(squares(8, seed=1000)[0], return_tensors="pt")
    assert torch.equal(model.eval()(**unseen).logits.argmax(1), labels), "it has learned to find squares"
    return model


def network(backbone, size=MICRO_SIZE):
    torch.manual_seed(0)
    return LaDnnForImageClassification(LaDnnConfig(backbone=backbone, image_size=size)).eval()


def slices(size=MICRO_SIZE, seed=0):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("map_of", [class_activation, grad_cam_plus_plus])
def test_a_map_peaks_at_the_place_that_decides(square_finder, map_of):
    slices, quarters = squares(8, seed=2000)
    maps = map_of(square_finder, PROCESSOR(slices[:8], return_tensors="pt")["pixel_values"])
    assert maps.shape == (8, SIZE, SIZE)
    rows, columns = np.unravel_index(maps.reshape(8, -1).argmax(1), (SIZE, SIZE))
    assert (rows // HALF * 2 + columns // HALF).tolist() == quarters.tolist()


def test_the_checks_tell_that_maps_of_a_network_show_what_it_looks_at(square_finder):
    report = check_attention(square_finder, PROCESSOR, squares(8, seed=3000)[0], np.arange(16))
    assert (report["slices"], report["called_positive"], report["measured"]) == (16, 8, 8)
    assert list(report["maps"]) == list(MAPS)
    assert json.loads(to_json(report)) == report
    for numbers in report["maps"].values():
        assert all(low <= mean <= high for mean, low, high in numbers.values())
        assert numbers["drop_over_moved"][1] > 0.2 and numbers["drop_over_on_lungs"][1] > 0.2
        assert numbers["random_abs_rho"][2] < 0.9


def test_evidence_and_lungs_are_counted_in_what_the_network_is_shown(square_finder):
    slices, _ = squares(4, seed=4000)
    cropping = LaDnnImageProcessor(size=PROCESSOR.size, crop_to_lungs=True)
    whole, cropped = (
        check_attention(square_finder, processor, slices, np.arange(len(slices)))["maps"]["Grad-CAM++"][
            "lungs"
        ][0]
        for processor in (PROCESSOR, cropping)
    )
    assert cropped > 1.3 * whole


def test_what_is_called_negative_or_has_no_lungs_is_counted_and_not_measured(square_finder):
    slices, _ = squares(2, seed=5000)
    lungless = squares(1, seed=5000, patients=[np.full((SIZE, SIZE), 100)] * 2)[0][0]
    report = check_attention(square_finder, PROCESSOR, [*slices, lungless], np.arange(5))
    assert (report["slices"], report["called_positive"], report["measured"]) == (5, 3, 2)
    with pytest.raises(ValueError, match=r"at least two patients .* found 1"):
        check_attention(square_finder, PROCESSOR, [slices[0], lungless], np.arange(2))
    with pytest.raises(ValueError, match=r"at least two patients .* found 1"):
        check_attention(square_finder, PROCESSOR, slices, np.zeros(len(slices)))


def test_the_maps_of_a_lesion_are_checked_by_the_probability_of_that_lesion(square_finder):
    model, lesion = copy.deepcopy(square_finder), 2
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter[lesion] = parameter[0]
            parameter[0] = 0
    positives = squares(4, seed=7000)[0][:4]
    covid = check_attention(square_finder, PROCESSOR, positives, np.arange(4))
    of_lesion = check_attention(model, PROCESSOR, positives, np.arange(4), output=lesion)
    assert of_lesion["measured"] == covid["measured"] == 4
    for name, numbers in covid["maps"].items():
        for number in ("drop", "drop_over_moved", "evidence_on_lungs"):
            assert of_lesion["maps"][name][number] == pytest.approx(numbers[number], abs=1e-5)


def test_a_network_without_class_activation_maps_has_the_others_checked():
    model = network("mobilenetv3_small_050", size=SIZE)
    model.config.threshold = 0.01
    report = check_attention(model, PROCESSOR, squares(1, seed=6000)[0], np.arange(2))
    assert report["measured"] == 2 and list(report["maps"]) == ["Grad-CAM++"]


@pytest.mark.parametrize(
    "backbone",
    ["test_resnet", "densenet121", "test_mambaout", "mobilenetv3_small_050"],
)
def test_any_backbone_with_a_grid_gives_a_map_of_each_output_at_the_size_of_the_input(backbone):
    model, pixel_values = network(backbone), slices()
    covid, lesion = (grad_cam_plus_plus(model, pixel_values, output) for output in (0, 5))
    assert covid.shape == lesion.shape == (2, MICRO_SIZE, MICRO_SIZE)
    assert (
        covid.min() >= 0 and covid.max() == pytest.approx(1, abs=1e-3) and not np.array_equal(covid, lesion)
    )


@pytest.mark.parametrize("backbone", ["test_resnet", "densenet121", "swin_tiny_patch4_window7_224"])
def test_an_output_that_reads_one_feature_is_explained_by_that_feature_alone(backbone):
    """Then Grad-CAM++ is the class activation map, whichever way round the backbone keeps its features."""
    model, pixel_values = network(backbone, size=96), slices(size=96)
    with torch.no_grad():
        features = model.backbone.forward_head(model.backbone.forward_features(pixel_values), pre_logits=True)
    model.classifier.bias.data.zero_()
    model.classifier.weight.data[0] = 0
    model.classifier.weight.data[0, features.sum(0).argmax()] = 1
    with torch.no_grad():
        evidence = model(pixel_values).class_activation_maps[:, 0].clamp(min=0).numpy()
    maps = grad_cam_plus_plus(model, pixel_values)
    centres = maps[:, 16::32, 16::32]  # between the centres of its cells the map is interpolated
    for map_, expected in zip(centres, evidence, strict=True):
        scaled = (expected - expected.min()) / np.ptp(expected)
        np.testing.assert_allclose(map_, scaled, atol=0.05)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "densenet121"])
def test_a_model_is_left_as_it_was(backbone):
    model, pixel_values = network(backbone), slices()
    before = model(pixel_values)
    before.logits.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.classifier.parameters()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    model.backbone.eval()
    model.classifier.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    inplace = [getattr(module, "inplace", None) for module in model.modules()]
    with torch.no_grad():
        grad_cam_plus_plus(model, pixel_values)
    assert [module.training for module in model.modules()] == modes
    assert [getattr(module, "inplace", None) for module in model.modules()] == inplace
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert [parameter.requires_grad for parameter in model.classifier.parameters()] == [False, True]
    for parameter, gradient in zip(model.classifier.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model.eval()(pixel_values).logits, before.logits)


def test_a_backbone_without_a_grid_is_named():
    with pytest.raises(ValueError, match=r"ends in a grid of features, found test_vit.*convolutional"):
        grad_cam_plus_plus(network("test_vit", size=160), slices(size=160))


@pytest.mark.parametrize("output", [-1, 6])
def test_an_output_that_is_not_there_is_named(micro_model, output):
    with pytest.raises(ValueError, match=f"from 0 to 5, found {output}"):
        grad_cam_plus_plus(micro_model, slices(), output)


def test_the_strongest_places_are_a_tenth_of_the_map_or_of_where_they_may_be():
    attention = np.arange(10_000.0).reshape(100, 100)
    assert strongest(attention)[90:].all() and strongest(attention).mean() == SHARE
    within = np.zeros((100, 100), bool)
    within[:50] = True
    assert strongest(attention, within)[40:50].all() and strongest(attention, within).mean() == SHARE
    within[3:] = False
    assert np.array_equal(strongest(attention, within), within)

"""Depthwise convolutions in bfloat16 training: autocast's answers, float32's gradients."""

import copy

import pytest
import timm
import torch

from ladnn_hf.depthwise import with_float32_gradients


@pytest.fixture(
    params=[
        ("tf_efficientnet_lite0", 3, 1),
        ("tf_efficientnet_lite0", 3, 2),
        ("tf_efficientnet_lite0", 5, 2),
        ("convnext_atto", 7, 1),
    ],
    ids=lambda param: "{}, kernel {}, stride {}".format(*param),
)
def pair(request):
    """A depthwise convolution of a backbone, as timm has it and as training has it."""
    backbone, kernel, stride = request.param
    plain = next(
        module
        for module in timm.create_model(backbone).modules()
        if isinstance(module, torch.nn.Conv2d)
        and module.groups > 1
        and (module.kernel_size[0], module.stride[0]) == (kernel, stride)
    )
    changed = copy.deepcopy(plain)
    with_float32_gradients(torch.nn.Sequential(changed))
    return plain, changed


def outputs_and_gradients(convolution, dtype):
    torch.manual_seed(0)
    inputs = torch.randn(2, convolution.in_channels, 15, 15, requires_grad=True)
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        outputs = convolution(inputs)
    outputs.float().square().sum().backward()
    gradients = [inputs.grad, *(parameter.grad.clone() for parameter in convolution.parameters())]
    convolution.zero_grad()
    return outputs.detach(), gradients


def test_outputs_are_exactly_those_of_autocast(pair):
    expected, found = (outputs_and_gradients(convolution, torch.bfloat16)[0] for convolution in pair)
    assert found.dtype == expected.dtype == torch.bfloat16 and torch.equal(found, expected)


def test_gradients_are_those_of_float32_within_the_precision_of_bfloat16(pair):
    _, expected = outputs_and_gradients(pair[0], torch.float32)
    _, found = outputs_and_gradients(pair[1], torch.bfloat16)
    for one, other in zip(expected, found, strict=True):
        assert other.dtype == torch.float32
        assert torch.linalg.norm(one - other) < 0.02 * torch.linalg.norm(one)


def test_without_autocast_nothing_changes(pair):
    expected, found = (outputs_and_gradients(convolution, torch.float32) for convolution in pair)
    assert torch.equal(expected[0], found[0])
    assert all(torch.equal(one, other) for one, other in zip(expected[1], found[1], strict=True))

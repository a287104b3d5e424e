"""Depthwise convolutions whose slow gradients are float32 where autocast computes in bfloat16 on a CPU.

Two of oneDNN's bfloat16 kernels take three to seventy times as long as its float32 kernels, together most of
a training step of EfficientNet-Lite0: the gradient of the inputs of a convolution with a stride, and that
of weights larger than 3×3. Outputs and their types stay as autocast has them.
"""

from functools import partial

import torch
from timm.layers.padding import pad_same
from torch import Tensor, nn


def with_float32_gradients(model: nn.Module) -> None:
    """Have the depthwise convolutions of a model compute so wherever CPU autocast is on."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = partial(_forward, module)


def _forward(convolution: nn.Conv2d, inputs: Tensor) -> Tensor:
    if not (torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()):
        return type(convolution).forward(convolution, inputs)
    padding = convolution.padding
    if type(convolution).__name__ == "Conv2dSame":  # TensorFlow's padding, which timm's forward applies
        inputs = pad_same(inputs, convolution.kernel_size, convolution.stride, convolution.dilation)
    dtype = torch.get_autocast_dtype("cpu")
    bias = None if convolution.bias is None else convolution.bias.to(dtype)
    settings = (convolution.stride, padding, convolution.dilation, convolution.groups)
    return _Depthwise.apply(inputs.to(dtype), convolution.weight, bias, settings)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(context, inputs: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple) -> Tensor:
        context.save_for_backward(inputs, weight)
        context.settings, context.bias = settings, None if bias is None else list(bias.shape)
        return nn.functional.conv2d(inputs, weight.to(inputs.dtype), bias, *settings)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = context.saved_tensors
        stride, padding, dilation, groups = context.settings
        of_inputs, of_weight = context.needs_input_grad[:2]

        def gradients(dtype: torch.dtype, *wanted: bool) -> tuple[Tensor | None, ...]:
            return torch.ops.aten.convolution_backward(
                gradient.to(dtype), inputs.to(dtype), weight.to(dtype), context.bias,
                stride, padding, dilation, False, [0, 0], groups, wanted,
            )  # fmt: skip

        strided, large = max(stride) > 1, max(weight.shape[2:]) > 3
        for_inputs = gradients(torch.float32 if strided else inputs.dtype, of_inputs, False, False)
        for_weight = gradients(
            torch.float32 if large else inputs.dtype, False, of_weight, context.bias is not None
        )
        return for_inputs[0], for_weight[1], for_weight[2], None

"""Grad-CAM++ for any backbone with a grid, from the package grad-cam: `pip install 'ladnn_hf[attention]'`."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from pytorch_grad_cam import GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from .modeling_ladnn import LaDnnForImageClassification


def grad_cam_plus_plus(
    model: LaDnnForImageClassification, pixel_values: Tensor, output: int = 0
) -> np.ndarray:
    """Where a network saw COVID or a lesion, by Grad-CAM++ on the backbone's last grid.

    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep
    Convolutional Networks", WACV 2018, arXiv 1710.11063. It also explains backbones with layers between
    grid and pooled features, for which the model gives no class activation maps. The model is left as it
    was: training modes, gradients and hooks.

    Args:
        model: Its backbone ends in a grid of features.
        pixel_values: (N, C, H, W), normalised by `LaDnnImageProcessor`.
        output: 0 for COVID, 1 to 5 for the lesions in the order of `LESIONS`.

    Returns:
        float32 (N, H, W) in [0, 1]. Each map is scaled to its own maximum: it says where the evidence is,
        not how strong. A map without any evidence for the output is 0 throughout.

    Raises:
        ValueError: The backbone gives no grid, or there is no such output.
    """
    outputs = model.classifier.out_features
    if not 0 <= output < outputs:
        raise ValueError(
            f"Expected `output` from 0 to {outputs - 1}, found {output}; give 0 for COVID or the number of a "
            "lesion."
        )
    with _left_as_it_was(model), torch.enable_grad():
        head = _HeadFromGrid(model)
        cam = GradCAMPlusPlus(head, [head.grid], head.channels_first)
        return cam(pixel_values, [ClassifierOutputTarget(output)] * len(pixel_values))


class _HeadFromGrid(nn.Module):
    """The six outputs before the temperature, differentiable from the grid on.

    No gradient goes further back than the grid, so that what a backbone computes in place before it, as
    DenseNet's ReLUs do, does no harm (jacobgil/pytorch-grad-cam#147).
    """

    def __init__(self, model: LaDnnForImageClassification):
        super().__init__()
        self.model = model
        self.grid = nn.Identity()

    def forward(self, pixel_values: Tensor) -> Tensor:
        backbone = self.model.backbone
        with torch.no_grad():
            features = backbone.forward_features(pixel_values)
        if features.ndim != 4:
            raise ValueError(
                f"Expected a backbone that ends in a grid of features, found {self.model.config.backbone}, "
                f"whose features have the shape {tuple(features.shape)}; use a convolutional backbone or "
                "one with windows, such as Swin."
            )
        pooled = backbone.forward_head(self.grid(features.requires_grad_()), pre_logits=True)
        return self.model.classifier(pooled)

    def channels_first(self, features: Tensor) -> Tensor:
        """Features or their gradient as (N, channels, h, w); some backbones keep their channels last."""
        first = features.shape[1] == self.model.backbone.num_features
        return features if first else features.permute(0, 3, 1, 2)


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Put back what grad-cam changes: it sets evaluation mode, clears gradients and leaves its own."""
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient

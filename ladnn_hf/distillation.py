"""Learning what other models say: one network that answers as several do together.

"Distilling the knowledge in a neural network" (Hinton, Vinyals & Dean, arXiv 1503.02531), without a
temperature of its own: what calibrated models say already is as soft as they are unsure.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .checkpoints import load_checkpoint
from .image_processing_ladnn import LaDnnImageProcessor
from .model_folder import read_training
from .model_pull import model_folder


class Teachers:
    """Models whose answers a network learns in place of the labels.

    Args:
        models: Folders, `OWNER/NAME@REVISION` on the Hub, or `bundled`: calibrated models.
        processor: Of the network that learns. The teachers' may differ from it in size alone.
        device: Where they answer.

    Raises:
        ValueError: A model cannot be had, or expects other pictures.
    """

    def __init__(self, models: Sequence[str], processor: LaDnnImageProcessor, device: torch.device):
        self._networks = []
        for model in models:
            network, other = load_checkpoint(model)
            if _without_size(other) != _without_size(processor):
                raise ValueError(
                    f"{model}: expected an image processor that differs in size alone, found another crop or "
                    "normalisation; name a teacher that sees slices as the run does."
                )
            size = (other.size["height"], other.size["width"])
            network = network.requires_grad_(False).to(device, memory_format=torch.channels_last)
            self._networks.append((network, size))

    def __call__(self, pixel_values: Tensor) -> Tensor:
        """What they say of slices (N, C, H, W): (N,), the probability of the mean of their logits.

        They are calibrated, so that one that is more often right says more.
        """
        answers = [network(_of_size(pixel_values, size)).logits for network, size in self._networks]
        return torch.stack(answers).mean(dim=0).softmax(dim=1)[:, 1]


def taught_by(models: Sequence[str]) -> list[dict[str, Any]]:
    """What each teacher's training wrote of itself, of which it keeps what a card says; empty where none did.

    It is `command`, `seed`, `train_seconds` and `cores`, and the runs that it averages or was `taught_by`.
    """
    names = ("command", "seed", "train_seconds", "cores", "averaged", "taught_by")
    told = [read_training(Path(model_folder(model, whole=True))) or {} for model in models]
    return [{name: training[name] for name in names if name in training} for training in told]


def _without_size(processor: LaDnnImageProcessor) -> dict[str, Any]:
    return {name: value for name, value in processor.to_dict().items() if name != "size"}


def _of_size(pixel_values: Tensor, size: tuple[int, int]) -> Tensor:
    if pixel_values.shape[2:] == size:
        return pixel_values
    return interpolate(pixel_values, size, mode="bilinear", antialias=True)

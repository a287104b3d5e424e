"""Runs the weights by PyTorch, in float32."""

import threading
from pathlib import Path

import numpy as np
import torch

from .checkpoints import load_checkpoint
from .network_output import NetworkOutput

ERRORS = (RuntimeError, ValueError)
"""What PyTorch raises on slices of another shape."""


class TorchEngine:
    """The network as it was trained; see `Engine`.

    Args:
        folder: A model folder.

    Raises:
        ValueError: It holds no whole model.
    """

    name = "torch"

    def __init__(self, folder: Path):
        self._model, _ = load_checkpoint(folder)
        self._turn = threading.Lock()

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """See `Engine`."""
        with self._turn, torch.inference_mode():
            output = self._model(torch.from_numpy(pixel_values))
        maps = output.class_activation_maps
        return NetworkOutput(
            output.logits.numpy(),
            output.lesion_logits.numpy(),
            None if maps is None else maps.numpy(),
            output.distance.numpy(),
        )

    def one_core_a_call(self) -> "TorchEngine":
        """See `Engine`: itself, calls in turn, since PyTorch's number of threads is the whole process's."""
        return self

"""What the network answers, whichever engine runs it."""

from typing import NamedTuple, Protocol

import numpy as np


class NetworkOutput(NamedTuple):
    """The outputs of `LaDnnForImageClassification` as numpy arrays."""

    logits: np.ndarray
    """(N, 2)."""
    lesion_logits: np.ndarray
    """(N, 5)."""
    maps: np.ndarray | None
    """(N, 6, h, w), or None where the backbone has no grid."""
    distance: np.ndarray
    """(N,), 0 or above; 0 where the model was never fitted to measure it."""

    @classmethod
    def of_export(cls, answers: dict[str, np.ndarray]) -> "NetworkOutput":
        """The outputs of an export, by the names that `export.write_onnx` gave them."""
        unknown = np.zeros(len(answers["logits"]), dtype=np.float32)  # exports that are older than the gate
        return cls(
            answers["logits"],
            answers["lesion_logits"],
            answers.get("class_activation_maps"),
            answers.get("distance", unknown),
        )


class Engine(Protocol):
    """A network that is ready to answer, on all its cores; several threads may call it at once."""

    name: str
    """Of the package that runs it, a key of `engines.ENGINES`."""

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """Answer for `pixel_values`, float32 (N, C, H, W)."""

    def one_core_a_call(self) -> "Engine":
        """The same network for calls side by side: as many as there are cores, each of which takes one alone.

        That answers many slices faster than all cores at one slice, which wait for each other at every layer.
        """

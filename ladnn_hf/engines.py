"""What runs the network: ONNX Runtime where the folder holds an export, else PyTorch.

Neither is imported before it is needed, so that an exported model answers without torch.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

WEIGHTS = "model.safetensors"
ONNX = "model.onnx"


class NetworkOutput(NamedTuple):
    """The outputs of `LaDnnForImageClassification` as numpy arrays."""

    logits: np.ndarray
    """(N, 2)."""
    lesion_logits: np.ndarray
    """(N, 5)."""
    maps: np.ndarray | None
    """(N, 6, h, w), or None where the backbone has no grid."""


class Engine(Protocol):
    """A network that is ready to answer."""

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """Answer for `pixel_values`, float32 (N, C, H, W)."""


def open_engine(folder: Path, config: dict) -> Engine:
    """The engine for a model folder.

    Args:
        folder: Holds `model.onnx`, `model.safetensors` or both.
        config: What its `config.json` says.

    Raises:
        ValueError: There are no weights, or the export is not of these weights.
    """
    if (folder / ONNX).is_file():
        return OnnxEngine(folder, config)
    if (folder / WEIGHTS).is_file():
        return TorchEngine(folder)
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth"))
    found = f"only pickled weights ({', '.join(pickled)}), which are never loaded" if pickled else "none"
    raise ValueError(
        f"{folder}: expected {WEIGHTS} or {ONNX}, found {found}; save the model with save_pretrained or "
        "train one with `ladnn train`."
    )


def provenance(folder: Path, config: dict) -> dict[str, str]:
    """What an export must agree with: the weights' sha256 and the temperature."""
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    return {"weights_sha256": digest, "temperature": json.dumps(config.get("temperature", 1.0))}


class OnnxEngine:
    """ONNX Runtime on the CPU, in float32."""

    def __init__(self, folder: Path, config: dict):
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone: they are said in our words below
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / ONNX), options, providers=["CPUExecutionProvider"]
            )
        except (Fail, InvalidGraph, InvalidProtobuf) as error:
            raise ValueError(
                f"{folder / ONNX}: expected an ONNX export, found a broken one; run "
                "`ladnn export --format onnx` again."
            ) from error
        exported = self._session.get_modelmeta().custom_metadata_map
        if (folder / WEIGHTS).is_file() and exported != provenance(folder, config):
            raise ValueError(
                f"{folder / ONNX}: expected an export of the weights and temperature beside it, found one of "
                "others; run `ladnn export --format onnx` again or remove it."
            )
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """See `Engine`."""
        answers = dict(zip(self._names, self._session.run(None, {"pixel_values": pixel_values}), strict=True))
        return NetworkOutput(
            answers["logits"], answers["lesion_logits"], answers.get("class_activation_maps")
        )


class TorchEngine:
    """PyTorch, in float32."""

    def __init__(self, folder: Path):
        import torch

        from .checkpoints import load_checkpoint

        self._torch = torch
        self._model, _ = load_checkpoint(folder)

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """See `Engine`."""
        with self._torch.inference_mode():
            output = self._model(self._torch.from_numpy(pixel_values).to(self._model.device))
        maps = output.class_activation_maps
        return NetworkOutput(
            output.logits.cpu().numpy(),
            output.lesion_logits.cpu().numpy(),
            None if maps is None else maps.cpu().numpy(),
        )

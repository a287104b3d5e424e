"""What runs the network: ONNX Runtime where the folder holds an export, else PyTorch.

Neither is imported before it is needed, so that an exported model answers without torch.
"""

import json
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from .labels import CLASSES, LESIONS
from .model_folder import WEIGHTS, weights_sha256

ONNX = "model.onnx"


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


class Engine(Protocol):
    """A network that is ready to answer."""

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """Answer for `pixel_values`, float32 (N, C, H, W)."""


def open_engine(folder: Path, config: dict, shape: tuple[int, int, int]) -> Engine:
    """The engine for a model folder, tried on a blank slice.

    Args:
        folder: Holds `model.onnx`, `model.safetensors` or both.
        config: What its `config.json` says.
        shape: (C, H, W) of one slice as its processor gives it.

    Raises:
        ValueError: There are no weights, they are broken or do not take such slices, or the export is not
            of these weights.
    """
    if (folder / ONNX).is_file():
        engine, errors, remedy = _open_onnx(folder, config)
    elif (folder / WEIGHTS).is_file():
        engine, errors, remedy = TorchEngine(folder), (RuntimeError,), "correct preprocessor_config.json"
    else:
        raise ValueError(
            f"{folder}: expected {WEIGHTS} or {ONNX}, found {_pickled(folder)}; save the model with "
            "save_pretrained or train one with `ladnn train`."
        )
    try:
        output = engine(np.zeros((1, *shape), dtype=np.float32))
    except errors as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{folder}: expected a network for slices of shape {shape}, found another ({reason}); {remedy}."
        ) from error
    expected = ((1, len(CLASSES)), (1, len(LESIONS)))
    if (output.logits.shape, output.lesion_logits.shape) != expected or not (
        np.isfinite(output.logits).all() and np.isfinite(output.lesion_logits).all()
    ):
        raise ValueError(
            f"{folder}: expected finite outputs of shapes {expected}, found {output.logits.shape} and "
            f"{output.lesion_logits.shape} or numbers that are not finite; train or export the model again."
        )
    return engine


def provenance(folder: Path, config: dict) -> dict[str, str]:
    """What an export must agree with: the temperature, and the weights' sha256 where they are there."""
    facts = {"temperature": json.dumps(float(config.get("temperature", 1.0)))}
    if digest := weights_sha256(folder):
        facts["weights_sha256"] = digest
    return facts


class OnnxEngine:
    """An ONNX Runtime session on the CPU, in float32."""

    def __init__(self, session):
        self._session = session
        self._names = [output.name for output in session.get_outputs()]

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """See `Engine`."""
        answers = dict(zip(self._names, self._session.run(None, {"pixel_values": pixel_values}), strict=True))
        unknown = np.zeros(len(pixel_values), dtype=np.float32)  # exports that are older than the gate
        return NetworkOutput(
            answers["logits"],
            answers["lesion_logits"],
            answers.get("class_activation_maps"),
            answers.get("distance", unknown),
        )


def _open_onnx(folder: Path, config: dict) -> tuple[OnnxEngine, tuple[type[Exception], ...], str]:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    path, remedy = folder / ONNX, "run `ladnn export --format onnx` again or remove model.onnx"
    errors = (
        state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoSuchFile,
        state.NotImplemented, state.RuntimeException, KeyError, TypeError, ValueError,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is said in our words
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except errors as error:
        raise ValueError(f"{path}: expected an ONNX export, found a broken one; {remedy}.") from error
    exported = session.get_modelmeta().custom_metadata_map
    expected = provenance(folder, config)
    if any(exported.get(name) != value for name, value in expected.items()):
        raise ValueError(
            f"{path}: expected an export of the weights and temperature beside it, found one of others; "
            f"{remedy}."
        )
    return OnnxEngine(session), errors, remedy


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
            output.distance.cpu().numpy(),
        )


def _pickled(folder: Path) -> str:
    names = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth"))
    return f"only pickled weights ({', '.join(names)}), which are never loaded" if names else "none"

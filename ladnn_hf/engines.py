"""What runs the network: the preferred engine that is installed and finds its file in the folder.

None is imported before it is needed, so that an exported model answers without torch.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .labels import CLASSES, LESIONS
from .model_folder import ONNX, OPENVINO, WEIGHTS, found_instead, provenance
from .network_output import Engine, NetworkOutput

ENGINES: dict[str, tuple[str, ...]] = {
    "openvino": (OPENVINO, ONNX),
    "onnxruntime": (ONNX,),
    "torch": (WEIGHTS,),
}
"""Engines by the package that each needs, in the order in which they are preferred, and what each reads of a
model folder."""


def open_engine(
    folder: Path, config: dict, shape: tuple[int, int, int], *, name: str | None = None, cores: int
) -> Engine:
    """The engine for a model folder, tried on a blank slice.

    Args:
        folder: Holds an export, `model.safetensors` or both.
        config: What its `config.json` says.
        shape: (C, H, W) of one slice as its processor gives it.
        name: One of `ENGINES`; None for the first that can run.
        cores: Most cores that it takes; PyTorch takes what it takes by itself.

    Raises:
        ValueError: There are no weights, they are broken or do not take such slices, the export is not
            of these weights, or the engine is not installed.
    """
    path, name = _chosen(folder, name)
    engine, errors, remedy = _opened(path, name, provenance(folder, config), cores)
    try:
        output = engine(np.zeros((1, *shape), dtype=np.float32))
    except errors as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{folder}: expected a network for slices of shape {shape}, found another ({reason}); {remedy}."
        ) from error
    _check_output(folder, output)
    return engine


def _chosen(folder: Path, name: str | None) -> tuple[Path, str]:
    """The file to run and the engine that runs it."""
    if name is not None and name not in ENGINES:
        raise ValueError(f"expected an engine of {', '.join(ENGINES)}, found {name!r}; choose one of them.")
    asked = ENGINES if name is None else {name: ENGINES[name]}
    there = [
        (folder / file, engine)
        for engine, files in asked.items()
        for file in files
        if (folder / file).is_file()
    ]
    if not there and name in (None, "torch"):
        raise ValueError(
            f"{folder}: expected {WEIGHTS} or {ONNX}, found {found_instead(folder)}; save the "
            "model with save_pretrained, train one with `ladnn train`, or make one of the authors' "
            "checkpoint with `ladnn convert`."
        )
    if not there:
        raise ValueError(
            f"{folder}: expected {ENGINES[name][-1]}, which {name} runs, found none; write it with `ladnn "
            "export --format onnx`."
        )
    installed = [(path, engine) for path, engine in there if find_spec(engine)]
    if not installed:
        raise ValueError(
            f"{folder}: expected the package {there[0][1]}, found it not installed; run `pip install "
            f"{there[0][1]}`."
        )
    return installed[0]


def _opened(
    path: Path, name: str, expected: dict[str, str], cores: int
) -> tuple[Engine, tuple[type[Exception], ...], str]:
    """The engine, what it raises on slices of another shape, and what to do then."""
    if name == "torch":
        from .torch_engine import ERRORS, TorchEngine

        return TorchEngine(path.parent), ERRORS, "correct preprocessor_config.json"
    if name == "openvino":
        from .openvino_engine import ERRORS
        from .openvino_engine import OpenVinoEngine as ExportEngine
    else:
        from .onnx_engine import ERRORS
        from .onnx_engine import OnnxEngine as ExportEngine
    form, kind = ("onnx", "ONNX") if path.name == ONNX else ("openvino", "OpenVINO")
    remedy = f"run `ladnn export --format {form}` again or remove {path.name}"
    try:
        engine = ExportEngine(path, cores)
    except ERRORS as error:
        raise ValueError(f"{path}: expected an {kind} export, found a broken one; {remedy}.") from error
    if any(engine.provenance.get(fact) != value for fact, value in expected.items()):
        raise ValueError(
            f"{path}: expected an export of the weights and temperature beside it, found one of others; "
            f"{remedy}."
        )
    return engine, ERRORS, remedy


def _check_output(folder: Path, output: NetworkOutput) -> None:
    expected = ((1, len(CLASSES)), (1, len(LESIONS)))
    if (output.logits.shape, output.lesion_logits.shape) != expected or not (
        np.isfinite(output.logits).all() and np.isfinite(output.lesion_logits).all()
    ):
        raise ValueError(
            f"{folder}: expected finite outputs of shapes {expected}, found {output.logits.shape} and "
            f"{output.lesion_logits.shape} or numbers that are not finite; train or export the model again."
        )

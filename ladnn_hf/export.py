"""A model in other forms: a folder that remote code loads, and ONNX or OpenVINO beside the weights."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from . import LaDnnConfig, LaDnnForImageClassification, LaDnnImageProcessor, LaDnnPipeline
from .checkpoints import load_checkpoint
from .evaluation_figures import FIGURES
from .model_cards import model_card, stored_facts
from .model_folder import ONNX, OPENVINO, WEIGHTS, provenance
from .resources import model_card_folder
from .slice_dataset import new_folder

MEASURED = ("report.json", "report.md", *(f"{name}.png" for name in FIGURES), "metrics.json", "curves.png")
"""What evaluation and training leave in a model folder for others to read."""
_HANDLER = Path(__file__).with_name("handler.py")
_FINE_TUNING = ("fine_tune.py", "fine_tune.ipynb")
"""Files of `model_card/` that go with a model."""


def export_hf(model: Path, output: Path, repo_id: str | None = None) -> LaDnnForImageClassification:
    """Write the folder that the Hub carries: weights, config, processor and the core's source.

    `AutoModelForImageClassification.from_pretrained(output, trust_remote_code=True)` loads it where
    this package is not installed. The card says what the model's folder knows of its training and
    scores; of what lies there an ONNX export and `MEASURED` go along, and nothing else. `handler.py` is for
    Inference Endpoints, which install timm by `requirements.txt`; `fine_tune.py`, and the same as a notebook,
    go on from the model with transformers alone.

    Args:
        model: A model folder.
        output: A folder that is not there yet.
        repo_id: Where the model goes on the Hub, for card, script and notebook to name; None if that is open.

    Returns:
        The network that was written.

    Raises:
        ValueError: `output` is there already, `model` is no model folder, or its report is of other weights.
    """
    with new_folder(output) as folder:
        network, processor = load_checkpoint(model)
        reports, training = stored_facts(model)
        card = model_card(
            *(network.config, processor, reports, training, repo_id),
            parameters=network.num_parameters(),
            figures={
                f"{name}.png": shows for name, shows in FIGURES.items() if (model / f"{name}.png").is_file()
            },
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        with _source_carried():
            LaDnnPipeline(network, image_processor=processor, device="cpu").save_pretrained(folder)
        shutil.copy(model / WEIGHTS, folder / WEIGHTS)  # the very bytes that report and export are of
        shutil.copy(_HANDLER, folder / _HANDLER.name)
        for name in _FINE_TUNING:
            text = (model_card_folder() / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace("OWNER/NAME", repo_id or "OWNER/NAME"), encoding="utf-8")
        (folder / "requirements.txt").write_text(f"timm>={version('timm')}\n", encoding="utf-8")
        for name in (ONNX, *MEASURED):
            if (model / name).is_file():
                shutil.copy(model / name, folder / name)
    return network


def export_onnx(model: Path, output: Path) -> None:
    """Write `model.onnx` with weights, config and processor beside it, for a `Predictor` without torch.

    The batch size is free. The calibration temperature is inside; the export records it and the
    sha256 of the weights, and a `Predictor` refuses an export of others.

    Raises:
        ValueError: `output` is there already, or `model` is no model folder.
    """
    with new_folder(output) as folder:
        _write_with_onnx(model, folder)


def export_openvino(model: Path, output: Path) -> None:
    """Write OpenVINO's own format, in float32, with weights, config and processor beside it.

    It says the same as the ONNX export, which OpenVINO reads too, and is for programs that read nothing else.

    Raises:
        ValueError: `output` is there already, or `model` is no model folder.
    """
    from .openvino_engine import openvino  # an extra: only those who export for it need it

    with new_folder(output) as folder:
        _write_with_onnx(model, folder)
        converted = openvino.Core().read_model(folder / ONNX)
        openvino.save_model(converted, folder / OPENVINO, compress_to_fp16=False)
        (folder / ONNX).unlink()


def _write_with_onnx(model: Path, folder: Path) -> None:
    network, processor = load_checkpoint(model)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_onnx(network, folder)


def write_onnx(network: LaDnnForImageClassification, folder: Path) -> None:
    """Export a network into the folder that holds its weights and config."""
    import onnx  # an extra: only those who export need it

    network = network.to(memory_format=torch.contiguous_format)
    config = network.config
    example = torch.zeros(2, config.num_channels, config.image_size, config.image_size)
    traceable = _Traceable(network, example).eval()
    program = torch.onnx.export(
        traceable,
        (example,),
        input_names=["pixel_values"],
        output_names=traceable.names,
        dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch", min=1)}},
        dynamo=True,
        verbose=False,
    )
    exported = program.model_proto
    for part in (*exported.graph.node, *exported.graph.value_info, *exported.graph.input, exported.graph):
        del part.metadata_props[:]  # stack traces, with paths of the machine that exported
    onnx.helper.set_model_props(exported, provenance(folder, config.to_dict()))
    onnx.save(exported, folder / ONNX)


class _Traceable(torch.nn.Module):
    """The network with a plain tuple of tensors as its answer, which an exporter can trace."""

    def __init__(self, network: LaDnnForImageClassification, example: torch.Tensor):
        super().__init__()
        self.network = network
        with torch.no_grad():
            self.names = [name for name in network(example) if name != "loss"]

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(pixel_values)
        return tuple(output[name] for name in self.names)


@contextmanager
def _source_carried() -> Iterator[None]:
    """Have save_pretrained copy the portable core's source and name it in `auto_map`.

    Only here: a folder with `auto_map` asks its user to trust remote code, which a folder for this
    package's own use must not.
    """
    classes = {
        LaDnnConfig: "AutoConfig",
        LaDnnForImageClassification: "AutoModelForImageClassification",
        LaDnnImageProcessor: "AutoImageProcessor",
    }
    for cls, auto_class in classes.items():
        cls.register_for_auto_class(auto_class)
    try:
        yield
    finally:
        for cls in classes:
            cls._auto_class = None

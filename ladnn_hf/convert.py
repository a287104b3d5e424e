"""A checkpoint as LA-DNN's authors published it → a model folder."""

import re
from pathlib import Path

from torch import Tensor

from .backbone_weights import normalisation, read_state
from .configuration_ladnn import LaDnnConfig
from .image_processing_ladnn import LaDnnImageProcessor
from .modeling_ladnn import LaDnnForImageClassification
from .slice_dataset import new_folder

BACKBONE = "densenet169.tv_in1k"
"""What the authors trained, as timm has it: torchvision's network, with torchvision's names."""
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""How torchvision wrote `norm1.` before its version 0.3."""


def convert_checkpoint(path: Path, output: Path) -> None:
    """Write a model folder with the weights of a published checkpoint.

    The first of its six outputs is COVID, the others are the lesions in the order of `LESIONS`, as in the
    authors' code.

    Args:
        path: A torch file (or safetensors) with a state dictionary of torchvision's DenseNet-169, alone or
            under `state_dict`, saved from one device or several.
        output: A folder that is not there yet.

    Raises:
        ValueError: The file is no such checkpoint, or the folder is there already.
    """
    state = read_state(path)
    tensors = state.get("state_dict", state)
    named = tensors.items() if isinstance(tensors, dict) else ()
    state = {_renamed(str(name)): tensor for name, tensor in named}
    mean, std = normalisation(BACKBONE)
    network = LaDnnForImageClassification(LaDnnConfig(backbone=BACKBONE))
    wanted = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("slice_distance.") and not name.endswith("num_batches_tracked")
    }
    wrong = [name for name, tensor in wanted.items() if not _fits(state.get(name), tensor)]
    if wrong:
        raise ValueError(
            f"{path}: expected the weights of torchvision's DenseNet-169 with six outputs, found "
            f"{len(wrong)} of {len(wanted)} tensors missing or of another shape, first {wrong[0]}; give the "
            "authors' checkpoint."
        )
    network.load_state_dict({name: state[name] for name in wanted}, strict=False)
    with new_folder(output) as folder:
        network.save_pretrained(folder)
        LaDnnImageProcessor(image_mean=mean, image_std=std).save_pretrained(folder)


def _renamed(name: str) -> str:
    name = _OLD_NAME.sub(r"\1\2", name.removeprefix("module."))
    return name if name.startswith("classifier.") else f"backbone.{name}"


def _fits(found: object, wanted: Tensor) -> bool:
    return isinstance(found, Tensor) and found.shape == wanted.shape

"""Loads a saved model whole, or says in one sentence why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging

from . import LaDnnForImageClassification, LaDnnImageProcessor
from .model_folder import WEIGHTS, found_instead, read_json
from .model_pull import model_folder

_BROKEN = (
    OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, ImportError,
    SafetensorError, StrictDataclassError,
)  # fmt: skip
"""What from_pretrained raises on folders that are not what they say."""


def load_checkpoint(model: str | Path) -> tuple[LaDnnForImageClassification, LaDnnImageProcessor]:
    """The network, in float32 and ready to answer, and the processor of a model.

    Args:
        model: A folder, `OWNER/NAME@REVISION` on the Hub, or `bundled`.

    Raises:
        ValueError: There is no such model, or its weights are broken, incomplete or of another kind.
    """
    folder = model_folder(model, whole=True)
    read_json(folder, "config.json")  # where there is none, transformers would ask the Hub for such a name
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{model}: expected {WEIGHTS}, found {found_instead(folder)}; save the model with "
            "save_pretrained, or make one of the authors' checkpoint with `ladnn convert`."
        )
    remedy = "give a model that `ladnn train` or save_pretrained wrote"
    try:
        with _quietly():
            network, loaded = LaDnnForImageClassification.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True, use_safetensors=True
            )
            processor = LaDnnImageProcessor.from_pretrained(folder)
    except _BROKEN as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{model}: expected a whole LA-DNN model, found none ({reason}); {remedy}."
        ) from error
    wrong = [*loaded["missing_keys"], *loaded["mismatched_keys"]]
    if wrong:  # transformers would go on with random numbers there
        raise ValueError(
            f"{model}: expected all weights of {network.config.backbone}, found {len(wrong)} tensors missing "
            f"or of another shape; {remedy}."
        )
    return network.float().eval(), processor


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers' bars and reports back: what matters of them is said in our words."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

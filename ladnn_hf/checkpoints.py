"""Loads a saved model whole, or says in one sentence why not."""

from pathlib import Path

from safetensors import SafetensorError

from . import LaDnnForImageClassification, LaDnnImageProcessor


def load_checkpoint(model: str | Path) -> tuple[LaDnnForImageClassification, LaDnnImageProcessor]:
    """The network, in float32 and ready to answer, and the processor of a model folder or Hub id.

    Raises:
        ValueError: There is no such model, or its weights are broken, incomplete or of another kind.
    """
    remedy = "give a model that `ladnn train` or save_pretrained wrote"
    try:
        network, loaded = LaDnnForImageClassification.from_pretrained(model, output_loading_info=True)
        processor = LaDnnImageProcessor.from_pretrained(model)
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{model}: expected a whole LA-DNN model, found none ({reason}); {remedy}."
        ) from error
    if loaded["missing_keys"]:  # transformers would go on with random numbers there
        raise ValueError(
            f"{model}: expected all weights of {network.config.backbone}, found "
            f"{len(loaded['missing_keys'])} tensors missing; {remedy}."
        )
    return network.float().eval(), processor

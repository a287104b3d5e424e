"""A model to the Hub: what remote code loads, what was measured, an ONNX export, and nothing else."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import __version__
from .checkpoints import load_checkpoint
from .engines import ONNX
from .export import MEASURED, export_hf, write_onnx
from .hub import check_push, check_repo_id, push_files
from .inference import BUNDLED, Predictor
from .model_cards import stored_facts
from .uploads import Commit, Place, Upload

_REPLACES = (ONNX, *MEASURED, "*_ladnn.py")
"""What a push may write; what an earlier one left of it and this one does not write goes."""


def push_model(
    model: str | Path | None,
    repo_id: str,
    *,
    place: Place | None = None,
    public: bool = False,
    dry_run: bool = False,
) -> tuple[Commit, list[str]]:
    """Push a model so that `pipeline` and `Predictor` answer with it by its name.

    Args:
        model: Folder that `ladnn train` or save_pretrained wrote; None for the bundled checkpoint.
        repo_id: `OWNER/NAME`; it is made if it is not there.
        place: Branch, pull request or tag; None for the branch main.
        public: Let everybody see it.
        dry_run: Prepare everything, look what is there, and send nothing.

    Returns:
        The commit, and what the model goes without, a sentence each.

    Raises:
        ValueError: The folder is no whole model, its report or export is of other weights, or the Hub does
            not take it.
    """
    check_repo_id(repo_id)
    model = Path(model or BUNDLED)
    Predictor(model)  # says what is wrong with weights, settings or export before anything is sent
    if not dry_run:
        check_push(repo_id, "model", public)
    with tempfile.TemporaryDirectory(prefix="ladnn-push-") as parent:
        folder = Path(parent) / "model"
        export_hf(model, folder)
        lacks = [*_add_onnx(folder), *_unmeasured(model)]
        commit = push_files(
            [Upload(path.name, path) for path in sorted(folder.iterdir())],
            repo_id,
            repo_type="model",
            message=f"Push LA-DNN with ladnn_hf {__version__}",
            public=public,
            replaces=_REPLACES,
            place=place,
            dry_run=dry_run,
        )
    return commit, lacks


def _add_onnx(folder: Path) -> Iterator[str]:
    """Make an export where there is none, or say why not."""
    if (folder / ONNX).is_file():
        return
    try:
        write_onnx(load_checkpoint(folder)[0], folder)
    except ModuleNotFoundError as error:
        yield (
            f"expected the package {error.name} for an ONNX export, found it not installed; without "
            "`ladnn predict` needs torch and no Space can show the model."
        )


def _unmeasured(model: Path) -> Iterator[str]:
    reports, training = stored_facts(model)
    if not reports:
        yield (
            "expected a report of the weights, found none; the card says 'Not evaluated' until "
            f"`ladnn evaluate --model {model} --output {model}` and another push."
        )
    if training is None:
        yield "expected the metrics.json of the training, found none; the card cannot tell how it was made."

"""A model by its name: a folder, or a repository of the Hub, fetched once into the client's cache.

huggingface_hub is imported when a model is fetched: it reads `HF_ENDPOINT` then, and takes time.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .hub import hub_api
from .model_folder import BUNDLED, ONNX, WEIGHTS

_ON_HUB = re.compile(
    r"(?P<repo_id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII
)
_NEEDED = ("config.json", "preprocessor_config.json", "report.json", ONNX)
"""What answers a slice and says how well; the weights are fetched only where there is no export."""
_WHOLE = ("*.json", "*.md", "*.png", ONNX, WEIGHTS)
"""All that a model folder may hold and `ladnn push` sends on."""


class ModelNotHad(ValueError):
    """The Hub has no such model or revision, does not let it be read, or does not answer."""


def model_folder(model: str | Path | None, *, whole: bool = False) -> Path:
    """The folder of a model.

    Args:
        model: A folder, which wins where it is there, or `OWNER/NAME` or `OWNER/NAME@REVISION` on the Hub,
            a revision being a branch, a tag or a commit. What was fetched is found again without a network.
            None, or `bundled` where no folder has that name, for the bundled checkpoint.
        whole: Fetch the weights, too, and what was measured of them, not only what answers.

    Raises:
        ModelNotHad: The Hub does not give it.
    """
    if model is None or (str(model) == "bundled" and not Path(model).exists()):
        return BUNDLED
    named = None if Path(model).exists() else _ON_HUB.fullmatch(str(model))
    return _fetched(str(model), named["repo_id"], named["revision"], whole) if named else Path(model)


def check_export(model: str) -> None:
    """Check that a model on the Hub can be answered with where torch is not installed.

    Args:
        model: `OWNER/NAME` or `OWNER/NAME@REVISION`.

    Raises:
        ValueError: As `model_folder`, it has no ONNX export, or it is not named so.
    """
    named = _ON_HUB.fullmatch(model)
    if named is None:
        raise ValueError(f"expected a model as OWNER/NAME@REVISION, found {model!r}; name it so.")
    with _in_words(model):
        info = hub_api().model_info(named["repo_id"], revision=named["revision"])
    if ONNX not in (file.rfilename for file in info.siblings):
        raise ValueError(
            f"{model}: expected {ONNX}, which answers without torch, found none; push the model again where "
            "the extra `train` is installed."
        )


def _fetched(model: str, repo_id: str, revision: str | None, whole: bool) -> Path:
    logging.getLogger("huggingface_hub._snapshot_download").setLevel(logging.ERROR)  # said in our words below
    fetch = partial(hub_api().snapshot_download, repo_id, revision=revision)
    with _in_words(model):
        folder = Path(fetch(allow_patterns=list(_WHOLE if whole else _NEEDED)))
        if not (whole or (folder / ONNX).is_file()):
            fetch(allow_patterns=[WEIGHTS])
    if not (folder / "config.json").is_file():
        raise ModelNotHad(
            f"{model}: expected a LA-DNN model, found a repository without config.json; name another."
        )
    return folder


@contextmanager
def _in_words(model: str) -> Iterator[None]:
    """Turn what the client raises into one sentence; never its own text, which can quote the token."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise ModelNotHad(
            f"{model}: expected a branch, tag or commit after the @, found none of that name; name another."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotHad(
            f"{model}: expected a folder, or a model on the Hub that you may read, found neither; check the "
            "name, or run `hf auth login`."
        ) from error
    except UnicodeError as error:  # no header can carry it
        raise ModelNotHad(
            "expected a token of letters and digits, found other characters; run `hf auth login`, or correct "
            "HF_TOKEN."
        ) from error
    except (errors.HTTPError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise ModelNotHad(
            f"{model}: expected a folder, or a model from {constants.ENDPOINT}, found neither "
            f"({type(error).__name__}); check the name, your token and the network."
        ) from error

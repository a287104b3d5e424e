"""The page to a Space of the Hub, with this package's source beside it.

The package is on no index that a Space could install it from, so it lies next to `app.py`, where Python looks
first. A wheel would be a new file of 26 MB at each push; of source and weights only what changed is sent.
"""

from collections.abc import Iterator
from pathlib import Path

from .hub import check_push, check_repo_id, head, push_files, set_variables
from .model_pull import check_export
from .resources import space_folder
from .uploads import Commit, Upload

_PACKAGE = Path(__file__).parent
_COLLECTED = "contributions"
"""Folder on the Space's disk, which the collection on the Hub outlives."""
_PAGE = (
    *("README.md", "requirements.txt", "thumbnail.png", "*.py", "*.js", "*.css", "data_facts.json"),
    *("examples/*", "fonts/*", "locales/*"),
)
"""What the page is; whatever else lies beside it, a token or contributions, stays here."""
_REPLACES = ("*.py", "examples/*", "fonts/*", "ladnn_hf/*", "locales/*")
"""What a push writes; what an earlier one left of it and this one does not write goes."""


def push_space(
    repo_id: str,
    *,
    model: str | None = None,
    collection: str | None = None,
    public: bool = False,
    dry_run: bool = False,
) -> Commit:
    """Push the page, which the Space then builds and starts.

    Args:
        repo_id: `OWNER/NAME`; it is made, with Gradio's SDK, if it is not there.
        model: `OWNER/NAME@REVISION` of the model that answers. Until one is given the bundled one does.
        collection: `OWNER/NAME` of a private data set for contributions. None are taken until one is given.
        public: Let everybody see it.
        dry_run: Look what is there, and send nothing.

    Raises:
        ValueError: A name is wrong, the model is not there or has no ONNX export, or the Hub does not take
            the push.
    """
    for name in filter(None, (repo_id, collection)):
        check_repo_id(name)
    if model:
        check_export(model)
    uploads = list(_uploads())
    parent = None
    if not dry_run:
        check_push(repo_id, "space", public)
        parent = head(repo_id, "space", public)
        set_variables(repo_id, _variables(model, collection))
    return push_files(
        uploads,
        repo_id,
        repo_type="space",
        message="Push the page with ladnn_hf",
        public=public,
        replaces=_REPLACES,
        parent=parent,
        dry_run=dry_run,
    )


def _uploads() -> Iterator[Upload]:
    space = space_folder()
    for path in _files(*(found for pattern in _PAGE for found in space.glob(pattern))):
        yield Upload(path.relative_to(space).as_posix(), path)
    for path in _files(*_PACKAGE.rglob("*")):
        if space not in path.parents:
            yield Upload(path.relative_to(_PACKAGE.parent).as_posix(), path)


def _files(*paths: Path) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    )


def _variables(model: str | None, collection: str | None) -> dict[str, str]:
    """What `space/app.py` reads from its environment."""
    variables = {"LADNN_MODEL": model} if model else {}
    if collection:
        variables |= {"LADNN_COLLECTION": collection, "LADNN_CONTRIBUTIONS": _COLLECTED}
    return variables

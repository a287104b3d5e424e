"""Folders that the package brings along and does not import."""

from pathlib import Path


def space_folder() -> Path:
    """The Space's folder.

    Raises:
        ValueError: There is none.
    """
    return _folder("space", "app.py")


def model_card_folder() -> Path:
    """The folder with the cards' templates and fixed facts.

    Raises:
        ValueError: There is none.
    """
    return _folder("model_card", "dataset_card.md.jinja")


def _folder(name: str, member: str) -> Path:
    """A folder with this file: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / name, package.parent / name):
        if (folder / member).is_file():
            return folder
    raise ValueError(
        f"{package}: expected the folder {name} in the package, found none; install ladnn_hf again."
    )

"""Folders that the package brings along and does not import."""

from pathlib import Path


def space_folder() -> Path:
    """The Space's folder: inside an installed package, beside it in a checkout.

    Raises:
        ValueError: There is none.
    """
    package = Path(__file__).parent
    for folder in (package / "space", package.parent / "space"):
        if (folder / "app.py").is_file():
            return folder
    raise ValueError(
        f"{package}: expected the folder space in the package, found none; install ladnn_hf again."
    )

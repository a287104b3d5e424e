"""Slices decoded once: the part of the preprocessing that no epoch changes."""

from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
from datasets.fingerprint import Hasher
from PIL import Image

from .image_processing_ladnn import LaDnnImageProcessor
from .preprocessing_ladnn import RESAMPLING, to_grey

_FEATURES = datasets.Features(
    {"pixels": datasets.Value("binary"), "width": datasets.Value("int32"), "height": datasets.Value("int32")}
)
_HELD = 100
"""Decoded slices that are held in memory before they are written."""


class DecodedSlices:
    """The 8-bit grey of every row, mapped from an Arrow file, so that memory does not grow with the rows.

    Args:
        rows: A split with `image`.
        decode: From a picture of any mode to a grey slice of any size.
        folder: Where the file is kept; processes that name the same folder share it, and a run that goes on
            finds it again. None to keep the slices in memory.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        decode: Callable[[Image.Image], Image.Image],
        folder: Path | None = None,
    ):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._rows = rows.select_columns("image").map(
            lambda picture: _as_row(decode(picture)),
            input_columns="image",
            remove_columns="image",
            features=_FEATURES,
            writer_batch_size=_HELD,
            keep_in_memory=folder is None,
            cache_file_name=folder and str(folder / f"{Hasher.hash((rows._fingerprint, decode))}.arrow"),
            load_from_cache_file=folder is not None,
            desc="decoding",
        )

    def __getitem__(self, index: int) -> np.ndarray:
        """The slice of a row, uint8 (H, W), not to be written to."""
        row = self._rows[index]
        return np.frombuffer(row["pixels"], dtype=np.uint8).reshape(row["height"], row["width"])


class WholeView:
    """Decodes to all that the network may be shown, at the size that it has in the file: for training."""

    def __init__(self, processor: LaDnnImageProcessor):
        self.processor = processor

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Grey, cropped to the lungs where the processor says so."""
        grey = to_grey(picture)
        return grey.crop(self.processor.field_of_view(grey))


class NetworkView(WholeView):
    """Decodes to what the network is shown, at the size of its input: for evaluation."""

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Grey, cropped and resampled at once."""
        grey = to_grey(picture)
        size = (self.processor.size["width"], self.processor.size["height"])
        box = self.processor.field_of_view(grey)
        return grey if box is None and grey.size == size else grey.resize(size, RESAMPLING, box)


def _as_row(grey: Image.Image) -> dict:
    return {"pixels": grey.tobytes(), "width": grey.width, "height": grey.height}

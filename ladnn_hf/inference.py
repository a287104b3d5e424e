"""From a file to a frozen `Prediction`: the one path that command line, page and evaluation share."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from .engines import open_engine
from .labels import CLASSES, LESIONS
from .lungs_ladnn import lung_box
from .model_folder import REMEDY, read_json
from .model_pull import model_folder
from .picture_checks import why_blank, why_far, why_unlike_ct
from .preprocessing_ladnn import to_pixel_values, to_probabilities
from .reading import Slice, UnreadableSlice, open_slice

BUNDLED = Path(__file__).parent / "weights"
"""Folder of the checkpoint that the package carries."""


Readable = str | Path | BinaryIO | Image.Image | Slice | UnreadableSlice
"""What `Predictor` answers."""


@dataclass(frozen=True)
class Prediction:
    """What the model answers for one slice. For research and teaching, never for diagnosis."""

    image: str
    """The file as it was given."""
    label: str | None
    """`COVID` or `NonCOVID`, the likelier at the threshold; None when refused."""
    covid_probability: float | None
    """Calibrated probability in [0, 1]; None when refused."""
    decision: str
    """`positive`, `negative`, `indeterminate` or `refused`."""
    lesions: dict[str, float] | None
    """Probability of each lesion in [0, 1], if it is COVID-19: they were learned on positives alone; None
    when refused."""
    reason: str | None
    """Why a slice was refused, in one sentence."""
    threshold: float
    """Operating point: the probability from which the decision is `positive`."""
    model: str
    """The model that answered."""
    maps: np.ndarray | None = field(default=None, repr=False, compare=False)
    """(6, h, w) over the box, where COVID and each lesion were seen, in logits; None without such a map."""
    box: tuple[float, float, float, float] | None = field(default=None, repr=False, compare=False)
    """(left, upper, right, lower) in pixels of what the network was shown; None for the whole slice."""

    slice: Slice | None = field(default=None, repr=False, compare=False)
    """The slice as read, also when it was refused; None when it could not be read."""

    def to_dict(self) -> dict:
        """All fields but maps, box and slice, ready for JSON."""
        return {name: value for name, value in vars(self).items() if name not in ("maps", "box", "slice")}


class Predictor:
    """Answers slices with a model folder, by default the bundled checkpoint.

    Args:
        model: Folder with `config.json`, `preprocessor_config.json` and weights, or `OWNER/NAME@REVISION` on
            the Hub; None for the bundled checkpoint, which needs neither torch nor timm.
        gate: False also answers pictures that the gate would refuse.
        batch_size: Slices that go through the network together.

    Raises:
        ValueError: The folder is not a LA-DNN model, or the Hub does not give it.
    """

    def __init__(self, model: str | Path | None = None, *, gate: bool = True, batch_size: int = 16):
        self.folder = folder = BUNDLED if model is None else model_folder(model)
        config = read_json(folder, "config.json")
        processor = read_json(folder, "preprocessor_config.json")
        _check(folder, config, processor)
        self.name = "bundled" if model is None else str(model)
        self.threshold: float = config["threshold"]
        self.band: tuple[float, float] | None = config.get("indeterminate_band") and tuple(
            config["indeterminate_band"]
        )
        self.batch_size = batch_size
        self._gate = gate
        limit = config.get("max_distance") if gate else None
        self._max_distance: float = math.inf if limit is None else limit
        self._size = (processor["size"]["height"], processor["size"]["width"])
        self._mean, self._std = processor["image_mean"], processor["image_std"]
        self._crop_to_lungs = processor.get("crop_to_lungs", False)
        self._engine = open_engine(folder, config, (len(self._mean), *self._size))

    def __call__(self, image: Readable) -> Prediction:
        """Answer one slice."""
        return next(self.predict([image]))

    def predict(self, images: Iterable[Readable]) -> Iterator[Prediction]:
        """Answer slices one batch at a time, in their order; a bad one is refused, never raised.

        Args:
            images: Paths and open files; pictures that are decoded, or slices that are read already; errors
                of what could not be read already, which become refusals.
        """
        images = iter(images)
        while batch := list(itertools.islice(images, self.batch_size)):
            yield from self._answer(batch)

    def _answer(self, batch: list[Readable]) -> Iterator[Prediction]:
        slices, refusals = zip(*map(self._read, batch), strict=True)
        shown = [slice_.grey for slice_, refusal in zip(slices, refusals, strict=True) if refusal is None]
        seen = self._see(shown)
        results = zip(seen, self._why_far(shown, seen), strict=True)
        for image, slice_, refusal in zip(batch, slices, refusals, strict=True):
            name = str(image) if isinstance(image, (str, Path)) else ""
            if refusal is None:
                (covid, lesions, maps, box, _), refusal = next(results)
            if refusal is not None:
                yield Prediction(
                    name, None, None, "refused", None, refusal, self.threshold, self.name, slice=slice_
                )
                continue
            yield Prediction(
                image=name,
                label=CLASSES[int(covid >= self.threshold)],
                covid_probability=float(covid),
                decision=self._decide(covid),
                lesions=dict(zip(LESIONS, lesions.tolist(), strict=True)),
                reason=None,
                threshold=self.threshold,
                model=self.name,
                maps=maps,
                box=box,
                slice=slice_,
            )

    def _decide(self, covid: float) -> str:
        if self.band and self.band[0] <= covid < self.band[1]:
            return "indeterminate"
        return "positive" if covid >= self.threshold else "negative"

    def _read(self, image: Readable) -> tuple[Slice | None, str | None]:
        """The slice, None where it cannot be read, and why it is not to be answered."""
        if isinstance(image, UnreadableSlice):
            return None, str(image)
        try:
            slice_ = image if isinstance(image, Slice) else open_slice(image)
        except UnreadableSlice as error:
            return None, str(error)
        if not self._gate:
            return slice_, None
        return slice_, why_blank(slice_.grey) or why_unlike_ct(slice_.picture or slice_.grey, slice_.grey)

    def _see(self, greys: list[Image.Image]) -> list["_Seen"]:
        if not greys:
            return []
        boxes = [lung_box(grey) if self._crop_to_lungs else None for grey in greys]
        inputs = [
            to_pixel_values(grey, self._size, self._mean, self._std, box)
            for grey, box in zip(greys, boxes, strict=True)
        ]
        output = self._engine(np.stack(inputs))
        covid, lesions = to_probabilities(output.logits, output.lesion_logits)
        maps = [None] * len(greys) if output.maps is None else output.maps
        return list(map(_Seen, covid, lesions, maps, boxes, output.distance))

    def _why_far(self, greys: list[Image.Image], seen: list["_Seen"]) -> list[str | None]:
        """Why each is refused that lies beyond the limit; its inverse tells whether it is inverted."""
        reasons: list[str | None] = [None] * len(seen)
        far = [at for at, one in enumerate(seen) if not one.distance <= self._max_distance]
        inverses = self._see([ImageOps.invert(greys[at]) for at in far])
        for at, inverse in zip(far, inverses, strict=True):
            reasons[at] = why_far(seen[at].distance, inverse.distance, self._max_distance)
        return reasons


class _Seen(NamedTuple):
    """What the network says of one slice."""

    covid: float
    lesions: np.ndarray
    maps: np.ndarray | None
    box: tuple[float, float, float, float] | None
    distance: float


def _check(folder: Path, config: dict, processor: dict) -> None:
    """Refuse settings that would answer wrongly or not at all; transformers is not at hand to do it."""
    size = processor.get("size")
    height, width = (size.get("height"), size.get("width")) if isinstance(size, dict) else (None, None)
    mean, std = processor.get("image_mean"), processor.get("image_std")
    threshold, band = config.get("threshold"), config.get("indeterminate_band")
    limit = config.get("max_distance")
    numbers = isinstance(mean, list) and isinstance(std, list) and all(map(_is_number, [*mean, *std]))
    for name, found, holds, expected in (
        ("model_type", config.get("model_type"), config.get("model_type") == "ladnn", "'ladnn'"),
        ("threshold", threshold, _is_number(threshold) and 0 < threshold < 1, "a number in (0, 1)"),
        (
            "indeterminate_band",
            band,
            band is None or (_are_numbers(band, 2) and 0 <= band[0] <= threshold <= band[1] <= 1),
            "two numbers in [0, 1] with the threshold between",
        ),
        ("max_distance", limit, limit is None or (_is_number(limit) and limit > 0), "a number above 0"),
        (
            "size",
            size,
            type(height) is type(width) is int and 32 <= min(height, width),
            "at least 32 by 32 pixels",
        ),
        ("image_mean", mean, numbers and 0 < len(mean) == len(std), "one number a channel"),
        ("image_std", std, numbers and min(std, default=0) > 0, "one number above 0 a channel"),
    ):
        if not holds:
            raise ValueError(f"{folder}: expected {name} to be {expected}, found {found!r}; {REMEDY}.")


def _are_numbers(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

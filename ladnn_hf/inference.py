"""From a file to a frozen `Prediction`: the one path that command line, page and evaluation share."""

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from .cores import usable_cores
from .decision_ladnn import decide
from .engines import open_engine
from .in_order import in_order
from .labels import LESIONS
from .lungs_ladnn import lung_box
from .model_folder import REMEDY, read_json
from .model_pull import model_folder
from .network_output import Engine
from .picture_checks import limit_of, why_blank, why_far, why_unlike_ct
from .preprocessing_ladnn import to_pixel_values, to_probabilities
from .reading import Slice, UnreadableSlice, open_slice

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
    """Operating point: the probability from which the label is COVID; the decision unless indeterminate."""
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
        engine: One of `engines.ENGINES`: what runs the network, always in float32, so that all answer the
            same within 1e-4. None for the first that is installed and finds its file in the folder.

    Raises:
        ValueError: The folder is not a LA-DNN model, the Hub does not give it, or the engine cannot run it.
    """

    def __init__(self, model: str | Path | None = None, *, gate: bool = True, engine: str | None = None):
        # Of a model on the Hub an export alone is fetched, where there is one.
        self.folder = folder = model_folder(model, whole=engine == "torch")
        config = read_json(folder, "config.json")
        processor = read_json(folder, "preprocessor_config.json")
        _check(folder, config, processor)
        self.name = "bundled" if model is None else str(model)
        self.threshold: float = config["threshold"]
        self.band: tuple[float, float] | None = config.get("indeterminate_band") and tuple(
            config["indeterminate_band"]
        )
        self._gate = gate
        limit = config.get("max_distance") if gate else None
        self._max_distance: float = math.inf if limit is None else limit
        self._size = (processor["size"]["height"], processor["size"]["width"])
        self._mean, self._std = processor["image_mean"], processor["image_std"]
        self.crop_to_lungs: bool = processor.get("crop_to_lungs", False)
        shape = (len(self._mean), *self._size)
        self._cores = usable_cores()
        self._engine = open_engine(folder, config, shape, name=engine, cores=self._cores)
        self.engine = self._engine.name

    def __call__(self, image: Readable) -> Prediction:
        """Answer one slice, on all cores."""
        return self._answer(image, self._engine)

    @property
    def has_gate(self) -> bool:
        """Whether it also refuses what lies far from all that the model has learned from."""
        return math.isfinite(self._max_distance)

    def without_gate(self) -> "Predictor":
        """The same model, which also answers what its gate would refuse; an engine that is open is shared."""
        ungated = copy.copy(self)
        ungated._gate, ungated._max_distance = False, math.inf
        return ungated

    def predict(self, images: Iterable[Readable]) -> Iterator[Prediction]:
        """Answer slices in their order, side by side on all cores; a bad one is refused, never raised.

        Few slices beyond the one that is answered are taken from `images`, on the caller's thread.

        Args:
            images: Paths and open files; pictures that are decoded, or slices that are read already; errors
                of what could not be read already, which become refusals.

        Raises:
            TypeError: It is one slice, or one of them is nothing of this.
        """
        if isinstance(images, (str, Path, Image.Image, Slice)):
            raise TypeError(
                f"expected several slices, found {images!r}; call the predictor for one, and `list_slices` "
                "for those of a folder."
            )
        images = iter(images)
        first = list(islice(images, 2))
        if len(first) == 1:  # a second engine would take longer to open than to answer
            yield self(*first)
            return
        answer = partial(self._answer, engine=self._one_core_a_slice)
        # One thread more than cores: while one waits for the interpreter's lock, no core stands idle.
        yield from in_order(answer, chain(first, images), self._cores + 1)

    @cached_property
    def _one_core_a_slice(self) -> Engine:
        return self._engine.one_core_a_call()

    def _answer(self, image: Readable, engine: Engine) -> Prediction:
        name = str(image) if isinstance(image, (str, Path)) else ""
        slice_, refusal = self._read(image)
        seen = None if refusal else self._see(slice_.grey, engine)
        if seen and not self._is_near(seen):
            inverse = self._see(ImageOps.invert(slice_.grey), engine)
            refusal = why_far(
                seen.distance,
                limit_of(self._max_distance, seen.has_lungs),
                has_lungs=seen.has_lungs,
                inverse_is_near=self._is_near(inverse),
            )
        if refusal:
            return Prediction(
                name, None, None, "refused", None, refusal, self.threshold, self.name, slice=slice_
            )
        label, decision = decide(seen.covid, self.threshold, self.band)
        return Prediction(
            image=name,
            label=label,
            covid_probability=float(seen.covid),
            decision=decision,
            lesions=dict(zip(LESIONS, seen.lesions.tolist(), strict=True)),
            reason=None,
            threshold=self.threshold,
            model=self.name,
            maps=seen.maps,
            box=seen.box,
            slice=slice_,
        )

    def _read(self, image: Readable) -> tuple[Slice | None, str | None]:
        """The slice, None where it cannot be read, and why it is not to be answered."""
        if isinstance(image, UnreadableSlice):
            return None, str(image)
        if not (isinstance(image, Readable) or hasattr(image, "read")):
            raise TypeError(
                f"expected a path, an open binary file or a PIL image, found {type(image).__name__}; "
                "`PIL.Image.fromarray` makes a picture of an array."
            )
        try:
            slice_ = image if isinstance(image, Slice) else open_slice(image)
        except UnreadableSlice as error:
            return None, str(error)
        if not self._gate:
            return slice_, None
        return slice_, why_blank(slice_.grey) or why_unlike_ct(slice_.picture or slice_.grey, slice_.grey)

    def _see(self, grey: Image.Image, engine: Engine) -> "_Seen":
        box = lung_box(grey) if self.crop_to_lungs else None
        pixel_values = to_pixel_values(grey, self._size, self._mean, self._std, box)
        output = engine(pixel_values[np.newaxis])
        (covid,), (lesions,) = to_probabilities(output.logits, output.lesion_logits)
        maps = None if output.maps is None else output.maps[0]
        has_lungs = box is not None or not self.crop_to_lungs
        return _Seen(covid, lesions, maps, box, has_lungs, float(output.distance[0]))

    def _is_near(self, seen: "_Seen") -> bool:
        return seen.distance <= limit_of(self._max_distance, seen.has_lungs)


class _Seen(NamedTuple):
    """What the network says of one slice."""

    covid: float
    lesions: np.ndarray
    maps: np.ndarray | None
    box: tuple[float, float, float, float] | None
    has_lungs: bool
    distance: float


def _check(folder: Path, config: dict, processor: dict) -> None:
    """Refuse settings that would answer wrongly or not at all; transformers is not at hand to do it."""
    size = processor.get("size")
    height, width = (size.get("height"), size.get("width")) if isinstance(size, dict) else (None, None)
    mean, std = processor.get("image_mean"), processor.get("image_std")
    threshold, band = config.get("threshold"), config.get("indeterminate_band")
    limit, temperature = config.get("max_distance"), config.get("temperature", 1.0)
    numbers = isinstance(mean, list) and isinstance(std, list) and all(map(_is_number, [*mean, *std]))
    for name, found, holds, expected in (
        ("model_type", config.get("model_type"), config.get("model_type") == "ladnn", "'ladnn'"),
        ("threshold", threshold, _is_number(threshold) and 0 < threshold < 1, "a number in (0, 1)"),
        (
            "indeterminate_band",
            band,
            band is None
            or (
                isinstance(band, list)
                and _are_numbers([threshold, *band], 3)
                and 0 <= band[0] <= threshold <= band[1] <= 1
            ),
            "two numbers in [0, 1] with the threshold between",
        ),
        ("temperature", temperature, _is_number(temperature) and temperature > 0, "a number above 0"),
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

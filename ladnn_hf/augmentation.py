"""Random changes of a training slice, and slices for `Trainer` with them.

A change is a function of (seed, epoch, index) alone, so that a run resumed in the middle of an epoch
sees what an undisturbed run sees.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from .decoded_slices import DecodedSlices, NetworkView, WholeView
from .drawn_findings import draw_finding
from .drawn_opacities import draw_opacities
from .image_processing_ladnn import LaDnnImageProcessor
from .labels import CLASSES
from .preprocessing_ladnn import to_pixel_values
from .slice_dataset import NO_LESIONS

Augmentation = Callable[[Tensor], Tensor]
"""From a grey slice, uint8 (1, H, W), to a changed one of any size."""

NOT_COUNTED = -100
"""Label of a slice that only fills up a batch; what `Trainer` leaves out where it counts."""


def published(size: int) -> Augmentation:
    """LA-DNN's own: shear by up to 0.2 (11.3 degrees), scale 0.8 to 1.2, horizontal flip."""
    shear = float(np.degrees(np.arctan(0.2)))
    return v2.Compose(
        [
            v2.Resize((size, size), antialias=True),
            v2.RandomAffine(0, shear=shear, scale=(0.8, 1.2), interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomHorizontalFlip(),
        ]
    )


class RandomWindow(torch.nn.Module):
    """The slice as another window, reconstruction or printing press would show it.

    Edges of the window move by up to 0.15 (lower) and 0.35 (upper) of its width, gamma lies between 0.55
    and 1.8, and in every other slice a random smooth rising curve takes up to half of the weight.
    """

    def forward(self, grey: Tensor) -> Tensor:
        """Change a slice, uint8 (1, H, W)."""
        low, high, gamma, share = torch.rand(4).tolist()
        low, high = 0.15 * (2 * low - 1), 1 + 0.35 * (2 * high - 1)
        curve = ((torch.linspace(0, 1, 256) - low) / (high - low)).clamp(0, 1) ** np.exp(1.2 * gamma - 0.6)
        if torch.rand(()) < 0.5:
            rising = torch.nn.functional.pad(torch.empty(6).exponential_().cumsum(0), (1, 0))
            points = np.interp(curve, np.linspace(0, 1, 7), rising / rising[-1])
            curve = torch.lerp(curve, torch.from_numpy(points).float(), 0.5 * share)
        return (255 * curve).round().to(torch.uint8)[grey.long()]


_JPEG = v2.RandomApply([v2.JPEG((30, 95))], p=0.7)
_BLUR = v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], p=0.3)


def strong(size: int) -> Augmentation:
    """Crops, aspect, window and what the file format leaves behind, all varied.

    In COVID-CT format, sharpness, borders and aspect tell the classes apart; training must not let
    them: each slice is re-encoded as JPEG of a random quality or blurred now and then.
    """
    return v2.Compose(
        [
            _JPEG,
            v2.RandomResizedCrop((size, size), scale=(0.6, 1.0), ratio=(0.75, 1.33), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.RandomRotation(10, v2.InterpolationMode.BILINEAR)], p=0.5),
            _BLUR,
            RandomWindow(),
        ]
    )


def shown_elsewhere() -> Augmentation:
    """What of `strong` leaves the patient in its place: window and what the file format leaves behind."""
    return v2.Compose([_JPEG, _BLUR, RandomWindow()])


AUGMENTATIONS: dict[str, Callable[[int], Augmentation]] = {"published": published, "strong": strong}


class SliceDataset(torch.utils.data.Dataset):
    """Rows of a slice data set as the keyword arguments of `LaDnnForImageClassification`.

    Args:
        rows: A split with `image`, `label` and perhaps `lesions`.
        processor: Gives size, mean and deviation.
        augmentation: Changes each slice; None for evaluation.
        seed: Seed of the changes.
        groups: (N,) the group of each row, counted from 0: an epoch draws equally often from each group,
            all of a group's rows before one of them comes again. None to take each row once.
        folder: Where the decoded slices are kept; None for memory.
        drawn: Share of the negatives into which opacities are drawn, which makes them positives; what was
            drawn is their lesion label where other rows have lesion labels.
        drawn_findings: Share of the negatives that stay negatives into which findings of other diseases are
            drawn.
        drawn_epochs: How many epochs, from the first on, show no positive that is one: in place of each
            stands a negative of its source with opacities drawn in, and no other has them.

    Raises:
        ValueError: A source has no negatives to draw into.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        processor: LaDnnImageProcessor,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        groups: np.ndarray | None = None,
        folder: Path | None = None,
        drawn: float = 0.0,
        drawn_findings: float = 0.0,
        drawn_epochs: int = 0,
    ):
        view = NetworkView(processor) if augmentation is None else WholeView(processor)
        self.slices = DecodedSlices(rows, view, folder)
        self.labels = torch.tensor(rows["label"][:])
        lesions = rows["lesions"] if "lesions" in rows.column_names else [None] * len(rows)
        lesions = np.array([values or NO_LESIONS for values in lesions], dtype=np.float32)
        self.lesion_labels = torch.from_numpy(lesions)
        self._teaches_lesions = bool((~np.isnan(lesions)).any())
        self.processor = processor
        self.augmentation = augmentation
        self.seed = seed
        self.drawn = drawn
        self.drawn_findings = drawn_findings
        self.drawn_epochs = drawn_epochs
        self._groups = [] if groups is None else [np.flatnonzero(groups == g) for g in np.unique(groups)]
        self._sources = np.zeros(len(rows), dtype=int) if groups is None else groups // len(CLASSES)
        negatives = np.flatnonzero(self.labels == 0)
        self._negatives = {
            source: negatives[self._sources[negatives] == source] for source in np.unique(self._sources)
        }
        if drawn_epochs and not all(map(len, self._negatives.values())):
            raise ValueError(
                "Expected negatives in each source for --drawn_first, found a source without; give it 0."
            )
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # data loader's workers see it

    def set_epoch(self, epoch: int) -> None:
        """Choose the changes of an epoch, counted from 0."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`pixel_values` (C, H, W), `labels` (), `lesion_labels` (5,) with NaN for no label.

        An index from the length on is of a slice that only fills up a batch.
        """
        counts, index = index < len(self), index % len(self)
        row = self._chosen(index) if self._groups else index
        if self.augmentation is None:
            grey, label, lesions = self._slice(row)
        else:
            grey, label, lesions = self._changed(row, index)
        size = (self.processor.size["height"], self.processor.size["width"])
        pixel_values = to_pixel_values(
            Image.fromarray(grey), size, self.processor.image_mean, self.processor.image_std
        )
        return {
            "pixel_values": torch.from_numpy(pixel_values),
            "labels": label if counts else torch.tensor(NOT_COUNTED),
            "lesion_labels": lesions,
        }

    def _chosen(self, index: int) -> int:
        """The row at a place of the epoch, a function of (seed, epoch, index) too."""
        turn, group = divmod(index, len(self._groups))
        members = self._groups[group]
        turns = -(-len(self) // len(self._groups))
        again, place = divmod(int(self._epoch) * turns + turn, len(members))
        return int(members[_order(self.seed, group, again, len(members))[place]])

    def _slice(self, row: int) -> tuple[np.ndarray, Tensor, Tensor]:
        return self.slices[row], self.labels[row], self.lesion_labels[row]

    def _changed(self, row: int, index: int) -> tuple[np.ndarray, Tensor, Tensor]:
        seeds = np.random.SeedSequence((self.seed, int(self._epoch), index))
        generator = np.random.default_rng(seeds)
        drawn = self.drawn
        if self._epoch < self.drawn_epochs:
            drawn = int(self.labels[row])
            if drawn:
                row = generator.choice(self._negatives[self._sources[row]])
        grey, label, lesions = self._slice(row)
        if label == 0 and generator.random() < drawn and (opaque := draw_opacities(grey, generator)):
            grey, label = opaque[0], torch.tensor(1)
            if self._teaches_lesions:
                lesions = torch.from_numpy(opaque[1])
        elif label == 0 and generator.random() < self.drawn_findings:
            found = draw_finding(grey, generator)
            grey = grey if found is None else found
        state = torch.get_rng_state()
        # torch.manual_seed takes longer than the changes
        torch.default_generator.manual_seed(int(seeds.generate_state(1)[0]))
        try:
            grey = self.augmentation(torch.from_numpy(grey.copy()).unsqueeze(0)).squeeze(0).numpy()
        finally:
            torch.set_rng_state(state)
        return grey, label, lesions


@lru_cache(maxsize=256)
def _order(seed: int, group: int, again: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, group, again)).permutation(count)

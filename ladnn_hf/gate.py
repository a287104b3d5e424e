"""Fits the gate: how far the features of a picture that is answered may lie from those of slices."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from .altered_slices import altered
from .augmentation import shown_elsewhere
from .checkpoints import load_checkpoint
from .image_processing_ladnn import LaDnnImageProcessor
from .labels import CLASSES
from .modeling_ladnn import FeatureDistance, LaDnnForImageClassification
from .picture_checks import limit_of
from .preprocessing_ladnn import to_grey
from .slice_dataset import join_sources, load_slices

QUANTILE = 0.99
"""Share of each source's validation slices that lie within each limit before the margin is added."""
MARGIN = 0.1
"""How much farther the limits are put, in shares of what lies between the quantile and the least possible
distance, or the median of the relative one: another hospital's slices lie a little farther."""
MOST_SLICES = 500
"""Training slices that are used at most, beside the copies of some that are shown elsewhere."""


_LEAST_SLICES = 8
"""Slices of each source without which all have one Gaussian together."""
_ELSEWHERE = 8
"""One training slice of so many is learned as another hospital would show it, too: fewer, and a source whose
slices all have one window takes others for no slices; more, and it takes photographs for slices."""


def fit_gate(
    network: LaDnnForImageClassification,
    processor: LaDnnImageProcessor,
    training: datasets.Dataset,
    validations: Sequence[datasets.Dataset],
    groups: np.ndarray | None = None,
) -> float:
    """Fit `FeatureDistance` and set `max_distance`, in place. Only true slices are needed.

    Args:
        network: In float32.
        processor: What shows it slices.
        training: Rows with `image`, that it has learned from.
        validations: Rows that it has not, of a source or each; the limits hold those of all.
        groups: (N,) the group of each training row, as `join_sources` counts them; each gives as many as
            it has, up to its share. Each source of some slices has a Gaussian of its own, and all together
            have one for what lies between them. None for one source.

    Returns:
        The share of the first source's validation slices that the gate refuses.
    """
    network.eval()
    groups = np.zeros(len(training), dtype=int) if groups is None else groups
    chosen = _evenly(groups)
    sources = groups[chosen] // len(CLASSES)
    if np.bincount(sources).min() < _LEAST_SLICES:
        sources[:] = 0
    greys, generator = _greys(training.select(chosen)), np.random.default_rng(0)
    changed = chain.from_iterable(altered(grey, generator) for grey in greys)
    sources = np.concatenate([sources, sources[::_ELSEWHERE]])
    members = [sources == source for source in range(sources.max() + 1)]
    if len(members) > 1:
        members.append(sources >= 0)
    network.config.gate_sources = len(members)
    distance = FeatureDistance(network.slice_distance.mean.shape[1], len(members))
    network.slice_distance = distance.to(network.device)
    features = _features(network, processor, greys + _elsewhere(greys[::_ELSEWHERE]))
    for number, mine in enumerate(members):
        _fit_gaussian(distance, number, features[mine])
    _fit_gaussian(distance, -1, _features(network, processor, changed))
    unseen = list(map(_greys, validations))
    held_out = [_features(network, processor, greys).to(network.device) for greys in unseen]
    far = [distance.scores(features).cpu().numpy() for features in held_out]
    high = np.max([np.quantile(scores, QUANTILE, axis=0) for scores in far], axis=0)
    least = np.array([0.0, np.median(np.concatenate(far)[:, 1])])
    # Each score becomes 1 at its limit and rises by 1 over the spread of the validation slices.
    distance.gain.copy_(torch.from_numpy(1 / (high - least)))
    distance.offset.copy_(torch.from_numpy(-MARGIN - least / (high - least)))
    network.config.max_distance = 1.0
    limits = [limit_of(1.0, processor.has_lungs(grey)) for grey in unseen[0]]
    return float(1 - np.mean(distance(held_out[0]).cpu().numpy() <= limits))


def fit_saved_gate(model: Path, *paths: str) -> float:
    """Fit the gate of a model folder, and save it there; an ONNX export is to be made anew.

    Args:
        model: Folder that `ladnn train` wrote.
        paths: Data sets that it was trained on; one of them at least has a validation split.

    Returns:
        As `fit_gate`.

    Raises:
        ValueError: There is no such model or data set, or none has a validation split.
        KeyError: A data set lacks the split `train`.
    """
    network, processor = load_checkpoint(model)
    sources = [load_slices(path) for path in paths]
    validations = validation_splits(sources)
    if not validations:
        raise ValueError(f"Expected a split validation in one of {', '.join(paths)}, found none; add one.")
    training, groups = join_sources([splits["train"] for splits in sources])
    refused = fit_gate(network, processor, training, validations, groups)
    network.save_pretrained(model)
    return refused


def validation_splits(sources: Iterable[datasets.DatasetDict]) -> list[datasets.Dataset]:
    """Of the sources that have one."""
    return [splits["validation"] for splits in sources if "validation" in splits]


def _evenly(groups: np.ndarray) -> np.ndarray:
    """Rows spread over the whole, as many of each group as it has, `MOST_SLICES` over all at most."""
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    most = MOST_SLICES // len(members)
    return np.concatenate(
        [rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)] for rows in members]
    )


def _greys(rows: datasets.Dataset) -> list[Image.Image]:
    return [to_grey(row["image"]) for row in rows.select_columns("image")]


def _elsewhere(greys: Iterable[Image.Image]) -> list[Image.Image]:
    """Each as another window, printing press or file format would show it; always the same."""
    change = shown_elsewhere()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        tensors = [change(torch.from_numpy(np.array(grey)).unsqueeze(0)) for grey in greys]
    return [Image.fromarray(tensor.squeeze(0).numpy()) for tensor in tensors]


@torch.no_grad()
def _features(
    network: LaDnnForImageClassification, processor: LaDnnImageProcessor, greys: Iterable[Image.Image]
) -> torch.Tensor:
    """What `FeatureDistance` is given for each slice, (N, C)."""
    found = []
    hook = network.slice_distance.register_forward_pre_hook(
        lambda _, inputs: found.append(inputs[0].float().cpu())
    )
    bar = iter(tqdm(greys, desc="gate", unit="slice", delay=2, disable=None))
    try:
        while batch := list(islice(bar, 16)):
            network(processor(batch, return_tensors="pt")["pixel_values"].to(network.device))
    finally:
        hook.remove()
    return torch.cat(found)


def _fit_gaussian(distance: FeatureDistance, which: int, features: torch.Tensor) -> None:
    count, channels = features.shape
    scaler = StandardScaler().fit(features.numpy())
    pca = PCA(min(len(distance.directions[which]), channels // 2, count // 2), svd_solver="full")
    pca.fit(scaler.transform(features.numpy()))
    shared = pca.noise_variance_
    distance.mean[which] = torch.from_numpy(scaler.mean_)
    distance.scale[which] = torch.from_numpy(1 / (scaler.scale_ * np.sqrt(shared)))
    # A direction's own variance is above the shared one, so that much less counts along it.
    share = np.sqrt(1 - shared / pca.explained_variance_)
    distance.directions[which, : len(share)] = torch.from_numpy(pca.components_ * share[:, None])

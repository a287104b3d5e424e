"""Fits the gate: how far the features of a picture that is answered may lie from those of slices."""

from collections.abc import Iterable
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
from .checkpoints import load_checkpoint
from .image_processing_ladnn import LaDnnImageProcessor
from .modeling_ladnn import FeatureDistance, LaDnnForImageClassification
from .picture_checks import limit_of
from .preprocessing_ladnn import to_grey
from .slice_dataset import join_sources, load_slices

QUANTILE = 0.99
"""Share of the validation slices that lie within each limit before the margin is added."""
MARGIN = 0.1
"""How much farther the limits are put, in shares of what lies between the quantile and the least possible
distance, or the median of the relative one: another hospital's slices lie a little farther."""
MOST_SLICES = 500
"""Training slices that are used at most."""


def fit_gate(
    network: LaDnnForImageClassification,
    processor: LaDnnImageProcessor,
    training: datasets.Dataset,
    validation: datasets.Dataset,
    groups: np.ndarray | None = None,
) -> float:
    """Fit `FeatureDistance` and set `max_distance`, in place. Only true slices are needed.

    Args:
        network: In float32.
        processor: What shows it slices.
        training: Rows with `image`, that it has learned from.
        validation: Rows that it has not; the limits are put on them.
        groups: (N,) the group of each training row; each group counts equally. None for one group.

    Returns:
        The share of the validation slices that the gate refuses.
    """
    network.eval()
    distance = network.slice_distance
    distance.reset()
    generator = np.random.default_rng(0)
    chosen = _greys(training.select(_evenly(len(training), groups)))
    changed = chain.from_iterable(altered(grey, generator) for grey in chosen)
    _fit_gaussian(distance, 0, _features(network, processor, chosen))
    _fit_gaussian(distance, 1, _features(network, processor, changed))
    unseen = _greys(validation)
    held_out = _features(network, processor, unseen).to(network.device)
    far = distance.scores(held_out).cpu().numpy()
    high, least = np.quantile(far, QUANTILE, axis=0), np.array([0.0, np.median(far[:, 1])])
    # Each score becomes 1 at its limit and rises by 1 over the spread of the validation slices.
    distance.gain.copy_(torch.from_numpy(1 / (high - least)))
    distance.offset.copy_(torch.from_numpy(-MARGIN - least / (high - least)))
    network.config.max_distance = 1.0
    limits = [limit_of(1.0, processor.has_lungs(grey)) for grey in unseen]
    return float(np.mean(distance(held_out).cpu().numpy() > limits))


def fit_saved_gate(model: Path, *paths: str) -> float:
    """Fit the gate of a model folder, and save it there; an ONNX export is to be made anew.

    Args:
        model: Folder that `ladnn train` wrote.
        paths: Data sets that it was trained on; the first has a validation split.

    Returns:
        As `fit_gate`.

    Raises:
        ValueError: There is no such model or data set.
        KeyError: A data set lacks a split.
    """
    network, processor = load_checkpoint(model)
    sources = [load_slices(path) for path in paths]
    training, groups = join_sources([splits["train"] for splits in sources])
    refused = fit_gate(network, processor, training, sources[0]["validation"], groups)
    network.save_pretrained(model)
    return refused


def _evenly(count: int, groups: np.ndarray | None) -> np.ndarray:
    """Rows spread over the whole, as many of each group, `MOST_SLICES` at most."""
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)] if groups is not None else []
    members = members or [np.arange(count)]
    each = max(1, min(MOST_SLICES // len(members), *map(len, members)))
    return np.concatenate([rows[np.linspace(0, len(rows) - 1, each).astype(int)] for rows in members])


def _greys(rows: datasets.Dataset) -> list[Image.Image]:
    return [to_grey(row["image"]) for row in rows.select_columns("image")]


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
    pca = PCA(min(len(distance.directions[which]), channels // 2, count // 2))
    pca.fit(scaler.transform(features.numpy()))
    shared = pca.noise_variance_
    distance.mean[which] = torch.from_numpy(scaler.mean_)
    distance.scale[which] = torch.from_numpy(1 / (scaler.scale_ * np.sqrt(shared)))
    # A direction's own variance is above the shared one, so that much less counts along it.
    share = np.sqrt(1 - shared / pca.explained_variance_)
    distance.directions[which, : len(share)] = torch.from_numpy(pca.components_ * share[:, None])

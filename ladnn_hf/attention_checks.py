"""Whether maps show what a network looks at, measured: painting over, lungs, random weights."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor

from .grad_cam import grad_cam_plus_plus
from .image_processing_ladnn import LaDnnImageProcessor
from .lungs_ladnn import find_lungs, lung_box
from .metrics import interval
from .modeling_ladnn import LaDnnForImageClassification

SHARE = 0.1
"""Share of the view that is painted over."""
DRAWS = 10
"""Random places that are painted over for comparison, for each slice and control."""
RANDOM_NETWORKS = 5
"""Networks of random weights whose maps are compared with the trained one's."""


def class_activation(
    model: LaDnnForImageClassification, pixel_values: Tensor, output: int = 0
) -> np.ndarray | None:
    """A class activation map at the size of the input (N, H, W), in logits; None without a grid.

    `output` is as for `grad_cam_plus_plus`.
    """
    with torch.no_grad():
        maps = model(pixel_values).class_activation_maps
    if maps is None:
        return None
    size = pixel_values.shape[-2:]
    return torch.nn.functional.interpolate(maps[:, [output]], size, mode="bilinear")[:, 0].numpy()


MAPS: dict[str, Callable[[LaDnnForImageClassification, Tensor, int], np.ndarray | None]] = {
    "class activation map": class_activation,
    "Grad-CAM++": grad_cam_plus_plus,
}
"""The maps that are checked: from network, `pixel_values` (N, C, H, W) and output to (N, H, W)."""


def check_attention(
    model: LaDnnForImageClassification,
    processor: LaDnnImageProcessor,
    slices: Iterable[Image.Image],
    patients: np.ndarray,
    output: int = 0,
) -> dict[str, Any]:
    """Measure three properties that maps of COVID, or of a lesion, must have to be believed.

    1. Painting over the strongest tenth of a map lowers the probability more than painting over as
       much elsewhere (the deletion of Petsiuk et al., BMVC 2018). The paint is the median grey of the slice's
       lungs, which takes haze and consolidation away: black would be a hole in the lung, and the grey of the
       chest wall a consolidation itself. Elsewhere is where the same map is strongest after it was moved at
       random, wrapped at the edges, which keeps size and shape of the blocks: anywhere, and on the lungs
       alone. The first tells whether the map knows more than chance, the second whether it knows more than
       where lungs are.
    2. The evidence falls on lungs.
    3. The maps depend on what was learned: those of the same network with random weights rank the places
       differently (Adebayo et al., NeurIPS 2018).

    Only what has lungs that `find_lungs` finds, and for COVID is called positive, is measured: a lesion has
    no operating point.

    Args:
        model: In evaluation mode, on the CPU.
        processor: The one that the model was trained with.
        slices: Positives, or slices with the lesion, mode `L`.
        patients: (N,), a number for each, the same for those of one patient.
        output: 0 for COVID, 1 to 5 for the lesions in the order of `LESIONS`.

    Returns:
        `slices`, `called_positive` (all, of a lesion) and `measured` as counts, and `maps`: for each of
        `MAPS` that the model gives, means over the slices with a 95% bootstrap interval of patients,
        `[mean, low, high]`. Lowering of the probability: `drop`, `drop_moved` and `drop_on_lungs`, and by how
        much the first is the larger, `drop_over_moved` and `drop_over_on_lungs`. Shares: `evidence_on_lungs`,
        `lungs` of the view, and `evidence_over_lungs`, the first less the second. `random_rho` and its size
        `random_abs_rho`: Spearman's rank correlation with the map of random weights.

    Raises:
        ValueError: There are not two patients to measure.
    """
    generator = np.random.default_rng(0)
    untrained = [with_random_weights(model, seed) for seed in range(RANDOM_NETWORKS)]
    probability = partial(_probability, model, output=output)
    called, measured = 0, []
    columns = {name: defaultdict(list) for name in MAPS}
    for slice_, patient in zip(slices, patients, strict=True):
        view = processor(slice_, return_tensors="pt")["pixel_values"]
        before = probability(view).item()
        if output == 0 and before < model.config.threshold:
            continue
        called += 1
        lungs = _lungs_in_view(slice_, processor)
        if lungs is None:
            continue
        measured.append(patient)
        for name, map_of in MAPS.items():
            attention = map_of(model, view, output)
            if attention is None:
                continue
            numbers = _drops(probability, view[0], before, attention[0], lungs, generator)
            numbers |= _shares(attention[0], lungs)
            rho = [rank_correlation(attention, map_of(network, view, output)) for network in untrained]
            numbers |= {"random_rho": np.mean(rho), "random_abs_rho": np.mean(np.abs(rho))}
            for number, value in numbers.items():
                columns[name][number].append(value)
    if len(set(measured)) < 2:
        wanted = "have lungs" if output else "are called positive and have lungs"
        raise ValueError(
            f"Expected slices of at least two patients that {wanted}, for an interval, found "
            f"{len(set(measured))} among {len(patients)} slices; give more."
        )
    maps = {
        name: {
            number: interval(np.mean, np.array(values), patients=np.array(measured))
            for number, values in numbers.items()
        }
        for name, numbers in columns.items()
        if numbers
    }
    return {"slices": len(patients), "called_positive": called, "measured": len(measured), "maps": maps}


def strongest(attention: np.ndarray, within: np.ndarray | None = None) -> np.ndarray:
    """The strongest `SHARE` of a map's places.

    Args:
        attention: (H, W).
        within: bool (H, W), where to choose; None for everywhere.

    Returns:
        bool (H, W); fewer places than the share where there are no more within.
    """
    allowed = np.ones_like(attention, bool) if within is None else within
    order = np.argsort(np.where(allowed, -attention, np.inf), axis=None, kind="stable")
    chosen = np.zeros(attention.size, bool)
    chosen[order[: round(SHARE * attention.size)]] = True
    return chosen.reshape(attention.shape) & allowed


def with_random_weights(model: LaDnnForImageClassification, seed: int) -> LaDnnForImageClassification:
    """A network of the same architecture that has learned nothing; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LaDnnForImageClassification(model.config).eval()


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps, in [-1, 1]; 0 where one is the same everywhere."""
    if not np.ptp(first) or not np.ptp(second):
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def _probability(model: LaDnnForImageClassification, pixel_values: Tensor, output: int) -> Tensor:
    with torch.no_grad():
        said = model(pixel_values)
    return said.lesion_logits[:, output - 1].sigmoid() if output else said.logits.softmax(dim=1)[:, 1]


def _lungs_in_view(grey: Image.Image, processor: LaDnnImageProcessor) -> np.ndarray | None:
    """The lungs in what the network is shown of a slice, bool (H, W); None where none are found."""
    lungs = find_lungs(grey)
    if lungs is None:
        return None
    box = None
    if processor.crop_to_lungs:
        scale = np.divide(lungs.shape[::-1], grey.size)
        box = tuple(np.array(lung_box(grey)) * np.tile(scale, 2))
    size = (processor.size["width"], processor.size["height"])
    return np.asarray(Image.fromarray(lungs).convert("L").resize(size, Image.Resampling.NEAREST, box)) > 0


def _drops(
    probability: Callable[[Tensor], Tensor],
    view: Tensor,
    before: float,
    attention: np.ndarray,
    lungs: np.ndarray,
    generator: np.random.Generator,
) -> dict[str, float]:
    height, width = attention.shape
    moved = [
        np.roll(attention, (generator.integers(height), generator.integers(width)), (0, 1))
        for _ in range(DRAWS)
    ]
    places = [strongest(attention), *map(strongest, moved), *(strongest(map_, lungs) for map_ in moved)]
    grey = view[:, torch.from_numpy(lungs)].median(dim=1).values[:, None, None]
    painted = torch.where(torch.from_numpy(np.stack(places))[:, None], grey, view)
    drop, *others = (before - probability(painted)).tolist()
    drop_moved, drop_on_lungs = np.mean(others[:DRAWS]), np.mean(others[DRAWS:])
    return {
        "drop": drop,
        "drop_moved": drop_moved,
        "drop_over_moved": drop - drop_moved,
        "drop_on_lungs": drop_on_lungs,
        "drop_over_on_lungs": drop - drop_on_lungs,
    }


def _shares(attention: np.ndarray, lungs: np.ndarray) -> dict[str, float]:
    evidence, share = np.maximum(attention, 0), lungs.mean()
    # a map without any evidence says no more about lungs than an even one
    on_lungs = evidence[lungs].sum() / evidence.sum() if evidence.any() else share
    return {"evidence_on_lungs": on_lungs, "lungs": share, "evidence_over_lungs": on_lungs - share}

"""Opacities and other findings drawn into slices: where they lie, and what they make of a label."""

import datasets
import numpy as np
import pytest
import torch
from conftest import MICRO_SIZE
from PIL import Image
from scipy.ndimage import binary_dilation

from ladnn_hf import LaDnnImageProcessor, draw_phantom
from ladnn_hf.augmentation import SliceDataset
from ladnn_hf.drawn_findings import draw_finding
from ladnn_hf.drawn_opacities import draw_opacities
from ladnn_hf.labels import LESIONS
from ladnn_hf.lungs_ladnn import GRID, find_lungs

GGO, CSLD = LESIONS.index("GGO"), LESIONS.index("Csld")


@pytest.fixture(scope="module")
def healthy():
    return np.asarray(draw_phantom([], size=2 * GRID, seed=3))


@pytest.fixture(scope="module")
def drawn(healthy):
    return [draw_opacities(healthy, np.random.default_rng(seed)) for seed in range(30)]


def test_opacities_are_denser_than_lung_no_denser_than_tissue_and_on_the_lungs_alone(healthy, drawn):
    lungs = find_lungs(Image.fromarray(healthy)).repeat(2, axis=0).repeat(2, axis=1)
    near_lungs = binary_dilation(lungs, np.ones((13, 13)))
    tissue = np.median(healthy[~lungs & (healthy > 60)])
    for changed, _ in drawn:
        denser = changed.astype(int) - healthy
        assert denser.min() >= 0 and denser.max() > 20
        assert (changed[denser > 0] > tissue + 2).mean() < 0.1  # of vessels that are thicker
        assert not denser[~near_lungs].any()


def test_labels_say_which_lesions_are_drawn(drawn):
    labels = np.array([labels for _, labels in drawn])
    assert labels[:, [GGO, CSLD]].max(axis=1).min() == 1, "something is drawn in each"
    assert (0 < labels.mean(axis=0)).all() and (labels.mean(axis=0) < 1).all()
    ggo, csld, paved, bronchi, septa = labels.T
    assert (paved <= ggo).all() and (paved <= septa).all() and (bronchi <= csld).all()


def test_consolidation_hides_what_ground_glass_veils(healthy, drawn):
    densest = {
        kind: np.median(
            [np.quantile(changed[changed > healthy], 0.9) for changed, labels in drawn if labels[kind]]
        )
        for kind in (GGO, CSLD)
    }
    assert densest[CSLD] > densest[GGO] + 20


def test_findings_of_other_diseases_are_of_many_sizes_and_on_the_lungs_alone(healthy):
    lungs = find_lungs(Image.fromarray(healthy)).repeat(2, axis=0).repeat(2, axis=1)
    near_lungs = binary_dilation(lungs, np.ones((13, 13)))
    shares = []
    for seed in range(60):
        denser = draw_finding(healthy, np.random.default_rng(seed)).astype(int) - healthy
        assert denser.min() >= 0 and not denser[~near_lungs].any()
        shares.append((denser[lungs] > 8).mean())
    assert min(shares) < 0.05 and max(shares) > 0.5, "from a nodule to a veil over all"
    assert np.mean([0 < share for share in shares]) > 0.9


def test_without_lungs_nothing_is_drawn():
    blank = np.full((64, 64), 128, np.uint8)
    assert draw_opacities(blank, np.random.default_rng(0)) is None
    assert draw_finding(blank, np.random.default_rng(0)) is None


def test_slices_with_findings_of_other_diseases_stay_negatives_beside_those_with_opacities():
    pictures = [draw_phantom([], size=96, seed=seed) for seed in range(40)]
    labels = [seed % 2 for seed in range(40)]
    rows = datasets.Dataset.from_dict({"image": pictures, "label": labels})
    processor = LaDnnImageProcessor(size={"height": MICRO_SIZE, "width": MICRO_SIZE})
    same = torch.nn.Identity()
    plain = list(SliceDataset(rows, processor, same, seed=1))
    mixed = list(SliceDataset(rows, processor, same, seed=1, drawn=0.5, drawn_findings=0.5))
    changed = [
        not torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(plain, mixed, strict=True)
    ]
    of_negatives = [
        (int(item["labels"]), is_changed) for item, is_changed in zip(mixed[::2], changed[::2], strict=True)
    ]
    assert not any(changed[1::2]) and all(item["labels"] == 1 for item in mixed[1::2])
    for kind in ((1, True), (0, True), (0, False)):
        assert of_negatives.count(kind) >= 2, kind
    assert (1, False) not in of_negatives


@pytest.mark.parametrize("teaches_lesions", [True, False])
def test_negatives_with_drawn_opacities_are_learned_as_positives_and_others_stay_as_they_are(teaches_lesions):
    pictures = [draw_phantom([], size=96, seed=seed) for seed in range(20)]
    lesions = [[1.0, 0.0, 0.0, 0.0, 0.0] if teaches_lesions and seed == 1 else None for seed in range(20)]
    labels = [seed % 2 for seed in range(20)]
    rows = datasets.Dataset.from_dict({"image": pictures, "label": labels, "lesions": lesions})
    processor = LaDnnImageProcessor(size={"height": MICRO_SIZE, "width": MICRO_SIZE})
    same = torch.nn.Identity()
    plain = list(SliceDataset(rows, processor, same, seed=1))
    half = list(SliceDataset(rows, processor, same, seed=1, drawn=0.5))
    again = list(SliceDataset(rows, processor, same, seed=1, drawn=0.5))
    changed = [
        not torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(plain, half, strict=True)
    ]
    assert 2 <= sum(changed) <= 8
    for row, (before, after, repeated, is_changed) in enumerate(
        zip(plain, half, again, changed, strict=True)
    ):
        assert torch.equal(after["pixel_values"], repeated["pixel_values"])
        assert is_changed <= (before["labels"] == 0)
        assert after["labels"] == (1 if is_changed else row % 2)
        learns_lesions = teaches_lesions and (is_changed or row == 1)
        assert after["lesion_labels"].isnan().all() != learns_lesions


def test_at_first_each_positive_is_a_negative_of_its_source_with_opacities_and_later_itself():
    def marked(source, label, seed):
        greys = np.array(draw_phantom([], size=96, seed=seed))
        greys[:6] = 60 + 90 * source + 45 * label
        return Image.fromarray(greys)

    groups = np.arange(24) % 4
    labels = groups % 2
    pictures = [marked(group // 2, group % 2, seed) for seed, group in enumerate(groups)]
    rows = datasets.Dataset.from_dict({"image": pictures, "label": labels})
    processor = LaDnnImageProcessor(size={"height": 96, "width": 96})
    slices = SliceDataset(rows, processor, torch.nn.Identity(), groups=groups, drawn_epochs=2)
    marks = torch.stack([item["pixel_values"][0, :4].mean() for item in SliceDataset(rows, processor)])

    def seen(epoch):
        """Of each slice of an epoch the group by its mark, and its label."""
        slices.set_epoch(epoch)
        for item in slices:
            group = groups[(marks - item["pixel_values"][0, :4].mean()).abs().argmin()]
            yield int(group), int(item["labels"])

    for epoch in (0, 1):
        assert sorted(seen(epoch)) == [(0, 0)] * 6 + [(0, 1)] * 6 + [(2, 0)] * 6 + [(2, 1)] * 6
    assert sorted(seen(2)) == [(0, 0)] * 6 + [(1, 1)] * 6 + [(2, 0)] * 6 + [(3, 1)] * 6
    with pytest.raises(ValueError, match="Expected negatives in each source for --drawn_first"):
        SliceDataset(rows.select(np.flatnonzero(labels)), processor, torch.nn.Identity(), drawn_epochs=1)

"""The score table: what each row changes, how it is counted, and that a model cannot hide what it reads."""

import json
import sys

import numpy as np
import pandas
import pytest
import torch
from conftest import MICRO_SIZE, phantom_rows, run_ladnn
from datasets import Dataset, DatasetDict, concatenate_datasets, load_from_disk
from PIL import Image
from sklearn.metrics import roc_auc_score

from ladnn_hf import LaDnnConfig, LaDnnForImageClassification, LaDnnImageProcessor, Prediction, draw_phantom
from ladnn_hf import metrics as numbers
from ladnn_hf.evaluation import to_body, to_tables
from ladnn_hf.evaluation_figures import FIGURES
from ladnn_hf.labels import LESIONS
from ladnn_hf.lungs_ladnn import find_lungs, lung_box
from ladnn_hf.metrics import (
    auc,
    calibration_error,
    calibration_error_by_chance,
    interval,
    lesion_scores,
)
from ladnn_hf.perturbations import (
    PERTURBATIONS,
    black_out_lungs,
    crop,
    crop_to_lungs,
    pad,
    reencode,
    rotate,
    swap_lungs,
)
from ladnn_hf.score_table import Scored, official_row, ungated_rows
from ladnn_hf.slice_dataset import FEATURES, patient_numbers, slice_row
from ladnn_hf.slice_scores import score_slices

ROWS = [
    "official",
    "cleaned",
    *("reencoded_png", "reencoded_jpeg_90", "reencoded_jpeg_75", "reencoded_jpeg_50"),
    *("cropped_5", "cropped_10", "cropped_to_lungs", "padded_black", "padded_white"),
    *("rotated_plus_10", "rotated_minus_10"),
    *("file_only", "ungated", "lungs_blacked_out", "lungs_swapped", "external_own", "external_others"),
]
KEPT_FROM_LUNGS = 0.06  # share of the picture's width around the lungs that blacking out may reach


@pytest.fixture(scope="module")
def chest():
    """A slice with a dotted edge: none of it is taken for a border, so that lungs lie on whole cells."""
    greys = np.array(draw_phantom([], size=256, seed=3))
    for edge in (greys[0], greys[-1], greys[:, 0], greys[:, -1]):
        edge[::8] = 120
    return Image.fromarray(greys)


def lungs_of(grey):
    """The lungs at the picture's own size."""
    mask = Image.fromarray(find_lungs(grey)).convert("L")
    return np.asarray(mask.resize(grey.size, Image.Resampling.NEAREST)) > 0


def near(mask):
    """The mask and all within reach of blacking out."""
    reach = int(KEPT_FROM_LUNGS * mask.shape[1])
    places = np.argwhere(mask)
    grown = np.zeros_like(mask)
    for row, column in places:
        grown[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = True
    return grown


# What each change does.


def test_saving_again_keeps_the_size_and_as_png_every_grey(chest):
    same = reencode(chest, "PNG")
    assert same.mode == "L" and np.array_equal(same, chest)
    coarse, fine = (reencode(chest, "JPEG", quality) for quality in (50, 90))
    assert coarse.size == fine.size == chest.size
    lost = [np.abs(np.asarray(picture, int) - np.asarray(chest)).mean() for picture in (coarse, fine)]
    assert lost[0] > lost[1] > 0


def test_cropping_takes_the_same_share_off_each_side(chest):
    assert np.array_equal(
        crop(chest.resize((200, 100)), 0.1), np.asarray(chest.resize((200, 100)))[10:90, 20:180]
    )


def test_padding_adds_a_frame_of_one_grey(chest):
    padded = np.array(pad(chest.resize((200, 100)), 0.1, 255))
    assert padded.shape == (120, 240)
    assert np.array_equal(padded[10:110, 20:220], chest.resize((200, 100)))
    padded[10:110, 20:220] = 255
    assert (padded == 255).all()


def test_turning_keeps_the_frame_and_goes_anticlockwise():
    dot = np.zeros((101, 101), np.uint8)
    dot[48:53, 88:93] = 255  # 40 pixels to the right of the centre
    turned = np.asarray(rotate(Image.fromarray(dot), 10))
    assert turned.shape == dot.shape
    row, column = np.argwhere(turned > 128).mean(axis=0)
    assert (row, column) == pytest.approx(
        (50 - 40 * np.sin(np.radians(10)), 50 + 40 * np.cos(np.radians(10))), abs=1
    )
    assert np.asarray(rotate(Image.new("L", (64, 64), 200), -10))[0, 0] == 0


def test_cropping_to_the_lungs_leaves_all_of_them_and_little_else(chest):
    cropped = crop_to_lungs(chest)
    assert (
        lungs_of(chest).sum() * 0.9
        < lungs_of(chest).sum()
        < np.prod(cropped.size)
        < 0.8 * np.prod(chest.size)
    )
    values = np.asarray(cropped)
    assert any(
        np.array_equal(
            np.asarray(chest)[row : row + values.shape[0], column : column + values.shape[1]], values
        )
        for row in range(chest.height - values.shape[0] + 1)
        for column in range(chest.width - values.shape[1] + 1)
    )


def test_blacking_out_fills_the_lungs_with_the_tissue_around_and_changes_nothing_else(chest):
    before, after, lungs = np.asarray(chest), np.asarray(black_out_lungs(chest)), lungs_of(chest)
    (grey,) = np.unique(after[lungs])
    assert before[lungs].mean() + 40 < grey
    far = ~near(lungs)
    assert far.mean() > 0.2 and np.array_equal(after[far], before[far])
    assert np.isin(after[after != before], grey).all()
    assert find_lungs(Image.fromarray(after)) is None


def test_a_model_that_sees_the_lungs_box_alone_sees_it_without_lungs_too(chest):
    view = crop_to_lungs(chest)
    filled = black_out_lungs(chest, cropped=True)
    assert filled.size == view.size and lung_box(filled) is None  # it is shown whole
    changed = np.asarray(filled) != np.asarray(view)
    assert 0.2 < changed.mean() < 0.9
    assert np.array_equal(filled, black_out_lungs(chest).crop(tuple(map(round, lung_box(chest)))))


def test_swapped_lungs_carry_the_others_pixels_into_the_same_chest(chest):
    lungs = lungs_of(chest)
    marked = np.array(chest)
    marked[lungs] = np.random.default_rng(0).integers(0, 40, lungs.sum())
    other = Image.fromarray(marked)
    assert np.array_equal(lungs_of(other), lungs)
    swapped = np.asarray(swap_lungs(chest, other))
    assert np.array_equal(swapped[lungs], marked[lungs])
    far = ~near(lungs)
    assert np.array_equal(swapped[far], np.asarray(chest)[far])


def test_swapped_lungs_are_scaled_into_the_box_of_the_ones_that_they_replace(chest):
    wider = chest.resize((400, 300))
    other = Image.fromarray(np.where(lungs_of(chest), 7, np.maximum(chest, 120)).astype(np.uint8))
    pasted = np.argwhere(np.asarray(swap_lungs(wider, other)) == 7)
    expected = np.argwhere(lungs_of(wider))
    for side in (np.min, np.max):
        assert side(pasted, axis=0) == pytest.approx(side(expected, axis=0), abs=8)


def test_what_needs_lungs_says_where_there_are_none(chest):
    flat = Image.new("L", (128, 128), 90)
    assert (
        crop_to_lungs(flat)
        is black_out_lungs(flat)
        is swap_lungs(flat, chest)
        is swap_lungs(chest, flat)
        is None
    )


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda perturbation: perturbation.name)
def test_a_change_is_the_same_each_time_and_leaves_its_slice_alone(perturbation, chest):
    before = np.array(chest)
    once, again = perturbation.change(chest), perturbation.change(chest)
    assert once.mode == "L" and np.array_equal(once, again) and np.array_equal(chest, before)


# Numbers.


def test_auc_is_scikit_learns_with_ties():
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 2, 50), generator.random(50).round(1)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_auc_passes_over_slices_without_a_label():
    labels, scores = np.array([0.0, 1, np.nan, 0, 1]), np.array([0.2, 0.1, np.nan, 0.3, 0.9])
    assert auc(labels, scores) == 0.5
    assert np.isnan(auc(labels[:1], scores[:1]))


def test_the_loss_between_identical_scores_is_nothing_with_an_interval_of_nothing():
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 2, 60), generator.random(60)
    loss = interval(
        lambda labels, a, b: auc(labels, a) - auc(labels, b),
        *(labels, scores, scores),
        patients=np.arange(60),
    )
    assert loss == [0.0, 0.0, 0.0]


def test_an_interval_holds_the_value_and_narrows_with_more_slices():
    generator = np.random.default_rng(0)
    widths = []
    for count in (50, 2000):
        labels = generator.integers(0, 2, count)
        scores = labels + generator.normal(0, 1, count)
        value, low, high = interval(auc, labels, scores, patients=np.arange(count))
        assert low < value < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 4


def test_slices_of_a_patient_say_no_more_than_one_of_them():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 60)
    scores = labels + generator.normal(0, 1, 60)
    one_each = interval(auc, labels, scores, patients=np.arange(60))
    order = generator.permutation(240)  # where a patient's slices lie says nothing
    labels, scores, patients = (np.repeat(column, 4)[order] for column in (labels, scores, np.arange(60)))
    assert interval(auc, labels, scores, patients=patients) == pytest.approx(one_each)
    _, low, high = interval(auc, labels, scores, patients=np.arange(240))
    assert one_each[1] < low < high < one_each[2]


def test_one_patient_alone_gives_no_interval():
    value, *bounds = interval(auc, np.array([0, 1]), np.array([0.1, 0.2]), patients=np.zeros(2, int))
    assert value == 1 and np.isnan(bounds).all()


def test_slices_of_no_known_patient_are_each_their_own():
    told = pandas.DataFrame({"patient": ["a", None, "", "a", None]})["patient"]
    assert patient_numbers(told).tolist() == patient_numbers(list(told)).tolist() == [0, 1, 2, 0, 3]
    assert patient_numbers([0, 7, 0, None, None]).tolist() == [0, 1, 0, 2, 3]


def test_a_lesion_of_few_patients_has_no_interval_and_its_patients_are_counted():
    labels, patients = np.full((12, 5), np.nan), np.array([0, 0, *range(1, 11)])
    labels[:10, 0] = [1] * 5 + [0] * 5
    labels[:, 1] = [1] * 6 + [0] * 6
    scores = lesion_scores(labels, np.random.default_rng(0).random((12, 5)), patients)
    assert scores["GGO"]["patients"] == [4, 5] and scores["Csld"]["patients"] == [5, 6]
    assert np.isnan(scores["GGO"]["auc"]).tolist() == [False, True, True]
    assert not np.isnan(scores["Csld"]["auc"]).any()


def test_calibration_error_is_small_where_probabilities_come_true_and_large_where_they_are_too_sure():
    generator = np.random.default_rng(0)
    probabilities = generator.random(20_000)
    labels = (generator.random(20_000) < probabilities).astype(int)
    assert calibration_error(labels, probabilities) < 0.02
    sure = np.where(probabilities > 0.5, 0.99, 0.01)
    assert calibration_error(labels, sure) == pytest.approx(0.24, abs=0.02)


def test_right_probabilities_of_few_slices_have_the_calibration_error_that_is_told_for_chance():
    generator = np.random.default_rng(1)
    probabilities = generator.random(100)
    errors = [calibration_error(generator.random(100) < probabilities, probabilities) for _ in range(500)]
    by_chance = calibration_error_by_chance(probabilities, np.arange(100))
    assert by_chance == pytest.approx(np.mean(errors), abs=0.005)
    many = np.repeat(probabilities, 100)
    assert calibration_error_by_chance(many, np.arange(10_000)) < 0.02 < by_chance
    of_a_patient = np.tile(np.arange(100), (100, 1)).T.ravel()  # a hundred slices alike say no more than one
    assert calibration_error_by_chance(many, of_a_patient) == pytest.approx(by_chance, abs=0.005)


def test_calibration_error_takes_slices_of_equal_probability_together():
    assert calibration_error(np.array([0, 1] * 50), np.full(100, 0.5)) == 0


# What a model reads shows in the rows.


class FakePredictor:
    """Answers with the mean grey of a part of the slice."""

    threshold = 0.5
    crop_to_lungs = False

    def __init__(self, part, refuses=False):
        self.part, self.refuses = part, refuses

    def predict(self, images):
        for image in images:
            covid = float(self.part(np.asarray(image)).mean()) / 255
            decision = "positive" if covid >= self.threshold else "negative"
            lesions = dict.fromkeys(LESIONS, 0.5)
            if self.refuses and covid < self.threshold:
                covid, decision, lesions = None, "refused", None
            yield Prediction("", None, covid, decision, lesions, None, self.threshold, "fake")


@pytest.fixture(scope="module")
def telling_slices():
    """Slices that tell their label twice: COVID has a bright frame, and lungs all bright but at their rim."""
    rows = []
    for number in range(12):
        ill = number % 2
        grey = draw_phantom([], size=128, seed=number // 4)
        values, lungs = np.array(grey), lungs_of(grey)
        values[lungs] = 70 if ill else 5
        values[:4] = 255 * ill
        rows.append({"image": Image.fromarray(values), "label": ill})
    return Dataset.from_list(rows)


def table_of(rows, part):
    labels = np.array(rows["label"])
    predictor = FakePredictor(part)
    scored = Scored(rows, labels, score_slices(predictor, rows, "slices"), np.arange(len(rows)))
    _, blacked_out, swapped = ungated_rows(scored, predictor)
    return official_row(scored, "test"), blacked_out, swapped


def test_a_model_that_reads_only_the_frame_is_caught(telling_slices):
    official, blacked_out, swapped = table_of(telling_slices, lambda values: values[:4])
    assert official["auc"][0] == blacked_out["auc"][0] == 1
    assert blacked_out["loss"] == [0, 0, 0]
    assert swapped["auc"][0] == 0 and swapped["follows_lungs"] == [0, 0, 0]
    assert not blacked_out["gate"] and not swapped["gate"]


def test_a_model_that_reads_the_lungs_loses_all_without_them_and_goes_with_others(telling_slices):
    middle = slice(48, 80)
    official, blacked_out, swapped = table_of(telling_slices, lambda values: 3.5 * values[middle, 24:48])
    assert official["auc"][0] == 1
    assert 0.2 < blacked_out["auc"][0] < 0.8 and blacked_out["loss"][0] > 0.2
    assert swapped["auc"][0] == 1 and swapped["follows_lungs"][0] == 1


def test_a_slice_without_lungs_is_left_out_and_counted(telling_slices):
    rows = [{"image": Image.new("L", (128, 128), 90), "label": 1}, *telling_slices]
    official, blacked_out, _ = table_of(Dataset.from_list(rows), lambda values: values[:4])
    assert (official["slices"], official["left_out"]) == (13, 0)
    assert (blacked_out["slices"], blacked_out["left_out"]) == (12, 1)
    assert blacked_out["auc"][0] == 1 and blacked_out["loss"] == [0, 0, 0]


def test_a_refused_slice_is_no_answer_that_could_go_with_the_lungs(telling_slices):
    predictor = FakePredictor(lambda values: values[:4], refuses=True)
    predictor.threshold = 0.6  # what was refused counts as 0.5, below it
    labels, scores = np.array(telling_slices["label"]), score_slices(predictor, telling_slices, "slices")
    scored = Scored(telling_slices, labels, scores, np.arange(len(labels)))
    assert (scored.scores.decisions == "refused").any()
    *_, swapped = ungated_rows(scored, predictor)  # even without its gate, as of a picture that is not read
    assert np.isnan(swapped["follows_lungs"]).all()


def test_rows_without_the_gate_are_compared_with_the_split_without_the_gate(telling_slices):
    def frame(values):
        return values[:4]

    labels = np.array(telling_slices["label"])
    refused = score_slices(FakePredictor(lambda values: 0 * frame(values), True), telling_slices, "slices")
    scored = Scored(telling_slices, labels, refused, np.arange(len(labels)))
    assert official_row(scored, "test")["auc"][0] == 0.5
    as_it_is, blacked_out, _ = ungated_rows(scored, FakePredictor(frame))
    assert as_it_is["auc"][0] == blacked_out["auc"][0] == 1 and blacked_out["loss"] == [0, 0, 0]


def test_an_interval_of_pasted_lungs_draws_the_patients_of_both_slices(telling_slices, monkeypatch):
    labels, drawn = np.array(telling_slices["label"]), []
    predictor = FakePredictor(lambda values: values[:4])
    scored = Scored(telling_slices, labels, score_slices(predictor, telling_slices, "slices"), np.arange(12))
    monkeypatch.setattr(
        "ladnn_hf.score_table.interval",
        lambda *columns, patients: drawn.append(patients) or interval(*columns, patients=patients),
    )
    ungated_rows(scored, predictor)
    *of_pasted, _ = (patients.T for patients in drawn if patients.ndim == 2)
    for host, donor in of_pasted:
        assert (labels[host] == 1 - labels[donor]).all() and sorted(donor) == sorted(host)


def test_an_interval_of_two_patients_a_slice_is_wider_than_of_either():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 60)
    scores = labels + generator.normal(0, 1, 60)
    of_the_other = np.arange(60) // 6
    widths = [
        np.ptp(interval(auc, labels, scores, patients=patients)[1:])
        for patients in (np.arange(60), of_the_other, np.column_stack([np.arange(60), of_the_other]))
    ]
    assert widths[2] > max(widths[:2])


def test_a_model_that_crops_to_the_lungs_is_shown_their_box_without_them_too(telling_slices):
    labels, seen = np.array(telling_slices["label"]), []
    predictor = FakePredictor(lambda values: seen.append(values.shape) or values[:4])
    scored = Scored(telling_slices, labels, score_slices(predictor, telling_slices, "slices"), np.arange(12))
    predictor.crop_to_lungs = True
    seen.clear()
    rows = ungated_rows(scored, predictor)
    boxes = [crop_to_lungs(row["image"]).size[::-1] for row in telling_slices]
    assert [shape for shape in seen if shape != (128, 128)] == boxes
    without = ["lungs_blacked_out", "lungs_box_blacked_out"]
    assert [row["name"] for row in rows] == ["ungated", *without, "lungs_swapped"]


# The command.


def micro(folder, seed):
    torch.manual_seed(seed)
    model = LaDnnForImageClassification(LaDnnConfig(backbone="test_efficientnet", image_size=MICRO_SIZE))
    model.save_pretrained(folder)
    LaDnnImageProcessor(size={"height": MICRO_SIZE, "width": MICRO_SIZE}).save_pretrained(folder)
    facts = {"command": f"ladnn train --seed {seed}", "seed": seed, "validation": {"auc": 0.7 + seed / 100}}
    facts["trained_on"] = ["own"]
    (folder / "metrics.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def working_folder(tmp_path_factory):
    """Micro runs with and without lesions; data sets of phantoms: `own` with a blank slice, and `others`."""
    folder = tmp_path_factory.mktemp("evaluation")
    for name in ("with", "without"):
        for seed in (1, 2):
            micro(folder / f"{name}_{seed}", seed + 10 * (name == "without"))
            path = folder / f"{name}_{seed}" / "metrics.json"
            path.write_text(
                json.dumps(
                    json.loads(path.read_text()) | {"seed": seed, "lesion_slices": 3 * (name == "with")}
                )
            )
    blank = folder / "blank.png"
    Image.new("L", (64, 64), 9).save(blank)
    refused = slice_row(blank.read_bytes(), file_name="blank.png", label="COVID")
    splits = {
        "train": list(phantom_rows(6, 100)),
        "validation": list(phantom_rows(4, 200)),
        "test": [*phantom_rows(9, 300), refused],
    }
    own = {name: Dataset.from_list(rows, features=FEATURES) for name, rows in splits.items()}
    DatasetDict(own).save_to_disk(folder / "own")
    bare = own["test"].select_columns(["image", "label"])
    DatasetDict(first=bare.select(range(4)), second=bare.select(range(4, 8))).save_to_disk(folder / "others")
    return folder


@pytest.fixture(scope="module")
def few_resamples():
    """Intervals of fewer resamples: what they are called stays, and a test takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def evaluated(working_folder, few_resamples):
    """The whole command: the page that it prints, and the report that it writes."""
    at = working_folder
    result = run_ladnn(
        *("evaluate", "--model", at / "with_1", "--dataset", at / "own", "--output", at / "report"),
        *("--external", at / "own", at / "others", "--runs", at / "with_1", at / "with_2"),
        *("--without-lesions", at / "without_1", at / "without_2"),
        *("--left-out", f"{at / 'with_2'}={at / 'others'}"),
        *("--lesion-folds", f"{at / 'with_1'}={at / 'own'}", f"{at / 'with_2'}={at / 'own'}"),
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads((at / "report" / "report.json").read_text())


def numbers_in(report):
    """Every [value, low, high] of a report."""
    if isinstance(report, dict):
        return [found for value in report.values() for found in numbers_in(value)]
    if isinstance(report, list):
        if len(report) == 3 and all(isinstance(value, float) for value in report):
            return [report]
        return [found for value in report for found in numbers_in(value)]
    return []


def test_the_report_has_every_row_in_the_tables_order(evaluated):
    _, report = evaluated
    assert [row["name"] for row in report["rows"]] == ROWS
    gate_off = {row["name"] for row in report["rows"] if not row["gate"]}
    assert gate_off == {"file_only", "ungated", "lungs_blacked_out", "lungs_swapped"}
    assert all(row["shows"].endswith(".") and row["title"] for row in report["rows"])


def test_the_page_holds_every_number_and_is_what_is_printed(evaluated, working_folder):
    page, report = evaluated
    assert (working_folder / "report" / "report.md").read_text() == page
    found = numbers_in(report)
    assert len(found) > 40
    for value, low, high in found:
        assert f"{value:z.3f} ({low:z.3f} to {high:z.3f})".replace("-", "−") in page
    assert "not validated" in page  # of few patients
    for row in report["rows"]:
        assert row["title"] in page and row["shows"] in page
    for run in report["runs"]["folders"]:
        score = "{:.3f} ({:.3f} to {:.3f})".format(*run["auc"])
        cells = (run["run"], run["seed"], "1, by the simple checks alone", score)
        assert " | ".join(map(str, ("|", *cells, f"{run['validation_auc']:.3f}", "|"))).strip("| ") in page


def test_a_card_takes_the_page_without_its_title_training_and_figures(evaluated):
    page, report = evaluated
    body = to_body(report)
    lines = [line.removeprefix("#") if line.startswith("###") else line for line in body.strip().splitlines()]
    assert "\n".join(lines) in page and "Seeds" in body
    assert not any(text in body for text in (".png", f"# {report['model']}", "## Training"))
    assert to_tables(report) in body


def test_what_a_report_says_in_words_follows_its_numbers(evaluated):
    _, report = evaluated
    said = to_body(report)
    assert "so as positive" in said and "On this split the temperature" not in said
    above = {"GGO": report["lesions"]["GGO"] | {"auc": [0.8, 0.6, 0.9]}}
    said = to_body(report | {"lesions": report["lesions"] | above, "split": "validation", "threshold": 0.6})
    assert "above 0.5: GGO on this split, no lesion over the folds" in said
    assert "so as negative at the operating point" in said and "On this split the temperature" in said
    one_pair = report["ablation"] | {"pairs": report["ablation"]["pairs"][:1], "gain": [0.1, None, None]}
    assert "0.100, of one pair, which cannot tell." in to_body(report | {"ablation": one_pair})


def test_every_figure_is_drawn_and_shown(evaluated, working_folder):
    page, _ = evaluated
    for name in FIGURES:
        with Image.open(working_folder / "report" / f"{name}.png") as figure:
            assert min(figure.size) > 400 and len(set(figure.convert("L").get_flattened_data())) > 20
        assert f"({name}.png)" in page


def test_a_refused_slice_counts_as_one_half_and_is_counted(evaluated):
    _, report = evaluated
    official = report["rows"][0]
    assert official["slices"] == report["slices"] == 10
    assert official["refused"] == report["refused"] == 1
    assert report["decided"]["share"][0] == pytest.approx(0.9 - report["indeterminate"] / 10)
    assert official["auc"][0] == report["probabilities"]["auc"][0]


def test_saving_as_png_loses_nothing(evaluated):
    _, report = evaluated
    (row,) = (row for row in report["rows"] if row["name"] == "reencoded_png")
    assert row["loss"] == [0, 0, 0] and row["auc"] == report["rows"][0]["auc"]


def test_the_cleaned_split_is_without_what_the_audit_proves_wrong(evaluated):
    _, report = evaluated
    cleaned = report["rows"][1]
    assert (cleaned["slices"], cleaned["left_out"], cleaned["refused"]) == (9, 1, 0)  # the blank one


def test_another_data_set_is_scored_whole_where_it_has_no_split_test(evaluated):
    _, report = evaluated
    external = report["rows"][-1]
    assert (external["slices"], external["splits"], external["loss"]) == (8, ["first", "second"], None)


def test_a_source_that_was_learned_from_is_told_from_one_never_seen(evaluated):
    _, report = evaluated
    learned, never_seen = (row["shows"] for row in report["rows"][-2:])
    assert "it has learned from" in learned and "never trained on" in never_seen


def test_runs_are_scored_each_and_together(evaluated):
    _, report = evaluated
    folders = report["runs"]["folders"]
    assert [(run["run"], run["seed"]) for run in folders] == [("with_1", 1), ("with_2", 2)]
    assert folders[0]["auc"] == pytest.approx(report["probabilities"]["auc"])
    assert [(run["gate"], run["refused"]) for run in folders] == [(False, 1)] * 2  # the blank one
    scores = [run["auc"][0] for run in folders]
    assert report["runs"]["auc"] == pytest.approx(
        {"mean": np.mean(scores), "lowest": min(scores), "highest": max(scores)}
    )
    assert report["runs"]["validation_auc"]["mean"] == pytest.approx(0.715)


def test_the_lesion_task_is_measured_by_runs_of_the_same_seeds(evaluated):
    _, report = evaluated
    pairs = report["ablation"]["pairs"]
    assert [pair["with_lesions"] for pair in pairs] == [run["auc"][0] for run in report["runs"]["folders"]]
    gain, low, high = report["ablation"]["gain"]
    assert gain == pytest.approx(np.mean([pair["with_lesions"] - pair["without_lesions"] for pair in pairs]))
    assert low < gain < high


def test_a_left_out_data_set_is_scored_with_what_the_run_was_trained_on(evaluated):
    _, report = evaluated
    (left_out,) = report["left_out"]
    assert left_out["run"] == "with_2" and left_out["trained"] == "ladnn train --seed 2"
    assert (left_out["dataset"], left_out["splits"], left_out["slices"]) == ("others", ["first", "second"], 8)


def test_each_threshold_is_told_with_what_it_would_give(evaluated):
    _, report = evaluated
    points = report["operating_points"]
    assert [point["threshold"] for point in points] == sorted(
        (point["threshold"] for point in points), reverse=True
    )
    above = [point for point in points if point["threshold"] >= report["threshold"]]
    reached = (above[-1]["sensitivity"], above[-1]["specificity"]) if above else (0, 1)
    expected = tuple(report["at_threshold"][name][0] for name in ("sensitivity", "specificity"))
    assert reached == pytest.approx(expected)


def test_lesions_are_scored_over_folds_of_patients_too(evaluated):
    page, report = evaluated
    for name, scores in report["lesion_folds"].items():
        assert scores["labelled"] == 2 * report["lesions"][name]["labelled"]
        assert scores["present"] == 2 * report["lesions"][name]["present"]
    measured = [scores["auc"] for scores in report["lesion_folds"].values() if scores["auc"][0] is not None]
    assert measured and all(0 <= value <= 1 and bounds == [None, None] for value, *bounds in measured)
    assert "AUC, folds of patients" in page and "no lesion on this split, no lesion over the folds" in page
    assert [run["run"] for run in report["lesion_fold_runs"]] == ["with_1", "with_2"]
    assert "by 2 runs" in page and report["lesion_fold_runs"][0]["trained"] in page


def test_how_the_model_was_trained_is_told(evaluated):
    _, report = evaluated
    assert report["training"]["command"] == "ladnn train --seed 1" and report["temperature"] == 1


def test_a_data_set_that_does_not_say_what_its_files_were_says_not_measured(working_folder, few_resamples):
    at = working_folder
    flags = ("--dataset", at / "others", "--split", "second", "--output", at / "bare")
    result = run_ladnn("evaluate", "--model", at / "with_1", *flags)
    assert result.returncode == 0, result.stderr
    (row,) = (
        row
        for row in json.loads((at / "bare" / "report.json").read_text())["rows"]
        if row["name"] == "file_only"
    )
    assert row["auc"] == [None] * 3 and "has no file_name, format, mode, width, height" in row["reason"]
    assert f"Not measured: {row['reason']}" in result.stdout


def test_without_the_extra_data_a_model_is_scored_all_the_same(working_folder, few_resamples, monkeypatch):
    for name in ("ladnn_hf.audit", "ladnn_hf.near_duplicates", "ladnn_hf.findings"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "faiss", None)
    at = working_folder
    flags = ("--dataset", at / "others", "--split", "first", "--output", at / "lean")
    result = run_ladnn("evaluate", "--model", at / "with_1", *flags)
    assert result.returncode == 0, result.stderr
    assert "cleaned by the audit" in result.stdout and "needs the package faiss" in result.stdout


def test_what_a_model_has_learned_is_not_scored_as_held_out(working_folder, few_resamples):
    at = working_folder
    own = load_from_disk(at / "own")
    for name, splits in (("trained", ("train",)), ("seen", ("train", "validation"))):
        DatasetDict({split: own[split] for split in splits}).save_to_disk(at / name / "own")
    flags = ("--dataset", at / "own", "--split", "validation", "--output", at / "held_out", "--external")
    result = run_ladnn("evaluate", "--model", at / "with_1", *flags, at / "seen" / "own")
    assert result.returncode == 0, result.stderr
    row = json.loads((at / "held_out" / "report.json").read_text())["rows"][-1]
    assert (row["splits"], row["slices"]) == (["validation"], 4)
    result = run_ladnn("evaluate", "--model", at / "with_1", *flags, at / "trained" / "own")
    assert result.returncode == 1
    assert "expected a split that the model has not learned from, found train alone" in result.stderr


def test_rows_without_a_picture_are_refused_and_counted(working_folder, few_resamples):
    at = working_folder
    good = load_from_disk(at / "own")["test"].select_columns(["image", "label"])
    bad = [{"image": None, "label": 1}, {"image": {"bytes": b"no picture", "path": None}, "label": 0}]
    bad = Dataset.from_list(bad, features=good.features)
    DatasetDict(test=concatenate_datasets([good.select(range(4)), bad])).save_to_disk(at / "gaps")
    result = run_ladnn("evaluate", "--model", at / "with_1", "--dataset", at / "gaps", "--output", at / "gap")
    assert result.returncode == 0, result.stderr
    report = json.loads((at / "gap" / "report.json").read_text())
    assert (report["slices"], report["refused"]) == (6, 2)


def test_a_split_of_one_slice_is_scored_without_intervals(working_folder, few_resamples):
    at = working_folder
    DatasetDict(test=load_from_disk(at / "own")["test"].select([0])).save_to_disk(at / "one")
    flags = ("--dataset", at / "one", "--output", at / "one_report")
    result = run_ladnn("evaluate", "--model", at / "with_1", *flags)
    assert result.returncode == 0, result.stderr
    report = json.loads((at / "one_report" / "report.json").read_text())
    assert report["slices"] == 1 and report["probabilities"]["auc"] == [None] * 3


def test_no_number_of_one_patient_has_an_interval(working_folder, few_resamples):
    at = working_folder
    for name in ("own", "others"):
        slices = load_from_disk(at / name).map(lambda row: {"patient_id": "P"})
        slices.save_to_disk(at / f"{name}_of_one")
    result = run_ladnn(
        *("evaluate", "--model", at / "with_1", "--dataset", at / "own_of_one", "--output", at / "of_one"),
        *("--external", at / "others_of_one", "--left-out", f"{at / 'with_2'}={at / 'others_of_one'}"),
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((at / "of_one" / "report.json").read_text())
    names = ("probabilities", "decided", "at_threshold", "at_0.5")
    numbers = [number for name in names for number in report[name].values()]
    numbers += [row["auc"] for row in (*report["rows"], *report["left_out"])]
    numbers += [row["loss"] for row in report["rows"] if row["loss"]]
    assert len(numbers) > 30 and all(number[1:] == [None, None] for number in numbers)
    assert any(number[0] is not None for number in numbers)


def test_a_split_of_one_class_is_scored_as_far_as_it_goes(working_folder, few_resamples):
    at = working_folder
    rows = Dataset.from_list(
        [row for row in phantom_rows(8, 400) if row["label"] == "COVID"], features=FEATURES
    )
    DatasetDict(test=rows).save_to_disk(at / "ill")
    flags = ("--dataset", at / "ill", "--output", at / "ill_report")
    result = run_ladnn("evaluate", "--model", at / "with_1", *flags)
    assert result.returncode == 0, result.stderr
    report = json.loads((at / "ill_report" / "report.json").read_text())
    assert report["probabilities"]["auc"] == [None] * 3 and report["at_0.5"]["sensitivity"][0] is not None
    assert report["rows"][0]["reason"] == "its slices are all of one class"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--runs", "with_1", "with_1"], "expected runs of different seeds, found the seed 1"),
        (["--runs", "own"], "expected a folder that `ladnn train` wrote, found no metrics.json"),
        (["--left-out", "own=others"], "expected a folder that `ladnn train` wrote, found no metrics.json"),
        (
            ["--lesion-folds", "own=others"],
            "expected a folder that `ladnn train` wrote, found no metrics.json",
        ),
        (["--lesion-folds", "with_1=others"], "expected a fold as the split test, found ['first', 'second']"),
        (["--without-lesions", "without_1"], "Expected runs with and without lesions of the same seeds"),
        (
            ["--runs", "with_1", "--without-lesions", "with_1"],
            "with_1: expected a run without lesions, found one that learned those of 3 slices",
        ),
        (["--left-out", "with_1=own"], "own: expected a data set that with_1 has not learned from, found it"),
        (["--external", "with_1"], "expected a saved slice data set, found none"),
        (["--split", "holdout"], "expected a split holdout, found ['test', 'train', 'validation']"),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_long_work(
    flags, sentence, working_folder, monkeypatch
):
    monkeypatch.chdir(working_folder)
    monkeypatch.delattr("ladnn_hf.evaluation.score_slices")
    result = run_ladnn("evaluate", "--model", "with_1", "--dataset", "own", "--output", "refused", *flags)
    assert result.returncode == 1 and sentence in result.stderr
    assert not (working_folder / "refused").exists()


def test_a_report_that_cannot_be_written_is_said_before_the_long_work(working_folder, monkeypatch):
    monkeypatch.delattr("ladnn_hf.evaluation.score_slices")
    place = working_folder / "own" / "dataset_dict.json"
    for output in (place, place / "deeper"):
        result = run_ladnn("evaluate", "--dataset", working_folder / "own", "--output", output)
        assert result.returncode == 1 and "expected a folder that can be written" in result.stderr


def test_a_left_out_run_without_a_data_set_is_wrong_usage(working_folder):
    result = run_ladnn("evaluate", "--dataset", working_folder / "own", "--output", "x", "--left-out", "run")
    assert result.returncode == 2 and "RUN=DATASET" in result.stderr

import pytest
from conftest import run_ladnn
from datasets import Dataset, DatasetDict

from ladnn_hf.labels import LESIONS
from ladnn_hf.reports import read_figures, read_lesions
from ladnn_hf.slice_dataset import FEATURES


def named(report, *place):
    values = read_lesions(report, *place)
    assert len(values) == len(LESIONS)
    return [name for name, value in zip(LESIONS, values, strict=True) if value]


@pytest.mark.parametrize(
    ("report", "lesions"),
    [
        ("Bilateral GGOs.", ["GGO"]),
        ("ground-glass\nopacification", ["GGO"]),
        ("multifocalground-glasschanges of both lungs", ["GGO"]),
        ("consolidation(b) of the lower lobe", ["Csld"]),
        ("Consolidative opacities with air-bronchograms", ["Csld", "AirBr"]),
        ("GGO with interlobular septal thickening (crazy-paving pattern)", ["GGO", "CrPa", "InSepThi"]),
        ("inter- and intra-lobular septal thickening", ["InSepThi"]),
        ("Thickened interlobular septa", ["InSepThi"]),
        ("Unresolved consolidation", ["Csld"]),
        ("pleural effusion and mediastinal lymph nodes", []),
    ],
)
def test_each_lesion_is_known_by_its_terms_and_their_variants(report, lesions):
    assert named(report) == lesions


@pytest.mark.parametrize(
    ("report", "lesions"),
    [
        ("No ground-glass opacity, consolidation or crazy paving.", []),
        ("GGO without consolidation or air bronchograms.", ["GGO"]),
        ("Absence of crazy paving; consolidation is present.", ["Csld"]),
        ("The consolidation has resolved, leaving ground-glass opacities.", ["GGO"]),
        ("Resolved consolidation.", []),
        ("Ground-glass opacities were not seen, but air bronchograms were.", ["AirBr"]),
        ("There was no crazy paving, but air bronchograms were seen.", ["AirBr"]),
        ("A man without fever. CT shows consolidation.", ["Csld"]),
        ("treated without interferon (patient 8) GGO, ground-glass opacity", ["GGO"]),
        ("no pleural effusion on either side of the chest as seen here, bilateral GGO", ["GGO"]),
    ],
)
def test_what_a_report_denies_is_not_there(report, lesions):
    assert named(report) == lesions


def test_a_caption_of_several_panels_is_read_where_it_speaks_of_the_image():
    leading = "Figure 1. (A) Ground-glass opacities. (B) Consolidation. (C) Normal lungs."
    assert [named(leading, panel, 3) for panel in range(3)] == [["GGO"], ["Csld"], []]
    following = "CT shows GGO near the pleura (a and b), and crazy paving (c and d) on day 5."
    assert [named(following, panel, 4) for panel in range(4)] == [["GGO"], ["GGO"], ["CrPa"], ["CrPa"]]
    counted = "The first image shows consolidation. The second image shows a mass."
    assert [named(counted, panel, 2) for panel in range(2)] == [["Csld"], []]


def test_a_caption_is_read_whole_where_its_panels_cannot_be_told_apart():
    caption = "(A) Ground-glass opacities. (B) Consolidation."
    assert named(caption) == ["GGO", "Csld"]
    assert named(caption, 0, 3) == ["GGO", "Csld"]
    leaning = "GGO in the right upper lobe (A) and in both lower lobes (B)."
    assert [named(leaning, panel, 2) for panel in range(2)] == [["GGO"], ["GGO"]]


def test_images_that_share_a_caption_are_its_panels_in_order():
    caption = "; ".join(f"({letter}) {'GGO' if letter == 'k' else 'nodule'}" for letter in "abcdefghijk")
    read = read_figures({f"figure%{number}.png": caption for number in (10, *range(10))})
    assert [name for name, lesions in read.items() if any(lesions)] == ["figure%10.png"]


@pytest.fixture
def reported(phantom_slices, tmp_path):
    """Phantoms with captions and labels that agree, but for one of each kind."""
    rows = DatasetDict.load_from_disk(phantom_slices)["train"].to_list()
    for row, caption, lesions in zip(
        [row for row in rows if row["label"] == 1],
        ("GGO.", "GGO and consolidation.", "No GGO."),
        ((1, 0, 0, 0, 0), (1, 0, 0, 0, 0), (1, 0, 0, 0, 0)),
        strict=False,
    ):
        row.update(caption=caption, lesions=list(map(float, lesions)))
    DatasetDict(train=Dataset.from_list(rows, features=FEATURES)).save_to_disk(tmp_path / "reported")
    return tmp_path / "reported"


def test_labels_prints_f1_by_lesion_and_each_disagreement_with_its_caption(reported):
    result = run_ladnn("data", "labels", reported)
    assert result.returncode == 0, result.stderr
    assert "| train | GGO | 0.800 | 3 | 2 |" in result.stdout
    assert "| train | Csld | 0.000 | 0 | 1 |" in result.stdout
    assert "2 disagreements:" in result.stdout
    assert "labels GGO; read GGO Csld\n    GGO and consolidation." in result.stdout
    assert "labels GGO; read none\n    No GGO." in result.stdout


def test_labels_of_a_data_set_without_captions_is_refused(phantom_slices):
    result = run_ladnn("data", "labels", phantom_slices)
    assert result.returncode == 1
    assert "expected positives with captions and lesion labels, found none" in result.stderr


@pytest.mark.real_data
def test_the_rules_agree_with_the_authors_of_covid_ct(covid_ct):
    table = {
        tuple(cells[1:3]): float(cells[3])
        for line in run_ladnn("data", "labels", covid_ct).stdout.splitlines()
        if line.startswith("| ") and (cells := [cell.strip() for cell in line.split("|")])[3][0] in "01"
    }
    assert min(table["all", lesion] for lesion in ("GGO", "Csld", "CrPa")) >= 0.94
    assert table["all", "InSepThi"] >= 0.87 and table["all", "AirBr"] >= 0.78
    assert table["all", "all"] >= 0.94

"""The front matter by which the Hub builds, lists and shows the Space."""

import importlib.metadata

import yaml
from conftest import ROOT
from huggingface_hub import SpaceCard
from PIL import Image

from ladnn_hf.model_folder import BUNDLED, weights_sha256

SPACE = ROOT / "space"


def test_the_hub_can_build_and_list_the_space_by_its_card():
    card = SpaceCard.load(SPACE / "README.md", ignore_metadata_errors=False).data
    assert (card.sdk, card.app_file) == ("gradio", "app.py") and (SPACE / card.app_file).is_file()
    assert card.sdk_version == importlib.metadata.version("gradio")
    assert 0 < len(card.short_description) <= 60, "the Hub refuses longer ones"
    facts = yaml.safe_load((ROOT / "model_card" / "model.yaml").read_text())
    assert card.models == [facts["base_models"]["tf_efficientnet_lite0"]]


def test_the_thumbnail_is_small_and_of_the_size_that_other_sites_show():
    card = SpaceCard.load(SPACE / "README.md").data
    with Image.open(SPACE / card.thumbnail) as picture:
        assert picture.size == (1200, 630)
    assert (SPACE / card.thumbnail).stat().st_size < 250_000


def test_the_thumbnail_shows_what_the_bundled_checkpoint_answers():
    with Image.open(SPACE / "thumbnail.png") as picture:
        assert picture.text["weights_sha256"] == weights_sha256(BUNDLED), "run benchmarks/draw_thumbnail.py"

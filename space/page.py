"""The page: one slice in; the probability, the decision, five lesions and where the model looked out."""

import html
import json
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from data_facts import data_facts
from PIL import Image

from ladnn_hf import LESION_NAMES, LESIONS, Prediction, Predictor
from ladnn_hf.attention import overlay
from ladnn_hf.reading import read_slice

HERE = Path(__file__).parent
NOTICE = "For research and teaching, never for diagnosing a patient."
EXAMPLES = json.loads((HERE / "examples" / "phantoms.json").read_text(encoding="utf-8"))
"""Drawn by `ladnn_hf.phantoms`; no image of a patient."""
DECISIONS = {
    "positive": "Looks like COVID-19",
    "negative": "Does not look like COVID-19",
    "indeterminate": "Cannot tell",
    "refused": "Not answered",
}
VIEWS = {"COVID-19": 0} | {LESION_NAMES[name]: 1 + index for index, name in enumerate(LESIONS)}
THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)
CSS = (HERE / "page.css").read_text(encoding="utf-8")


def build_page(predictor: Predictor) -> gr.Blocks:
    """The page for one model."""

    def answer(path: str | None, view: str) -> tuple[str, Any, Any]:
        if path is None:
            return _waiting(), None, None
        prediction = predictor(path)
        if prediction.maps is None:
            return _answer_html(prediction, predictor.band), None, None
        # Kept for the session: the upload itself is soon deleted.
        seen = read_slice(path), prediction.maps, prediction.box
        return _answer_html(prediction, predictor.band), look(seen, view), seen

    def look(seen: tuple[Image.Image, np.ndarray, tuple | None] | None, view: str) -> Image.Image | None:
        if seen is None:
            return None
        grey, maps, box = seen
        return overlay(grey, maps[VIEWS[view]], box)

    def predict(image: str | None) -> dict:
        """One slice in, the same JSON out as `ladnn predict --format json`, without the server's paths."""
        if image is None:
            raise gr.Error("Expected one image file, found none; give the slice as a file.")
        names = {"image": Path(image).name, "model": Path(predictor.name).name}
        return predictor(image).to_dict() | names

    with gr.Blocks(title="LA-DNN", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.HTML(
            "<h1>LA-DNN</h1><p>COVID-19 and five lesions from one chest CT slice. "
            f"<strong>{NOTICE}</strong></p>",
            elem_id="head",
        )
        with gr.Tab("Slice"):
            with gr.Row(equal_height=False):
                with gr.Column(min_width=320):
                    image = _slice_input()
                    gr.Examples(
                        [[str(HERE / "examples" / name)] for name in EXAMPLES],
                        inputs=[image],
                        example_labels=[spec["title"] for spec in EXAMPLES.values()],
                        label="Phantoms, drawn by a program: no image of a patient",
                        api_visibility="private",
                    )
                with gr.Column(min_width=320):
                    result = gr.HTML(_waiting(), elem_id="result", apply_default_css=False)
                    picture = gr.Image(
                        label="Where the model looked",
                        elem_id="overlay",
                        interactive=False,
                        height=360,
                        buttons=["fullscreen"],
                    )
                    view = gr.Dropdown(list(VIEWS), value="COVID-19", label="Show what speaks for")
        with gr.Tab("Data"):
            gr.HTML(data_facts(), elem_id="data", apply_default_css=False)
        seen = gr.State(None)
        image.change(answer, [image, view], [result, picture, seen], api_visibility="private")
        view.change(look, [seen, view], picture, api_visibility="private")
        with gr.Row(visible=False):
            gr.Button().click(predict, gr.File(), gr.JSON(), api_name="predict")
    return page


def _slice_input() -> gr.Image:
    """An image whose file reaches us as it was uploaded: Gradio neither decodes nor re-encodes it.

    Its own decoding would clip 16 bits and answer a file that is no image with an error without words.
    Only the instance is changed: Gradio writes a stub file beside the source of each new component class.
    """
    image = gr.Image(
        type="filepath", image_mode=None, sources=["upload", "clipboard"], label="Chest CT slice", height=360
    )
    decode = image.preprocess
    image.preprocess = lambda payload: payload.path if payload and payload.path else decode(payload)
    return image


def _waiting() -> str:
    return (
        '<p class="waiting">Give one slice (PNG, JPEG, WebP, BMP or TIFF, best in a lung window), or choose '
        "a phantom. An answer on a phantom shows how the page works, not how good the model is.</p>"
    )


def _answer_html(prediction: Prediction, band: tuple[float, float] | None) -> str:
    """The answer at a glance; everything that came from outside is escaped."""
    title = f'<h2 class="{prediction.decision}">{DECISIONS[prediction.decision]}</h2>'
    if prediction.decision == "refused":
        return f"{title}<p>{html.escape(prediction.reason[0].upper() + prediction.reason[1:])}</p>"
    probability, threshold = prediction.covid_probability, prediction.threshold
    low, high = band or (threshold, threshold)
    undecided = f", negative below {low:.3f}, and cannot tell in between" if low < high else ""
    lesions = "".join(
        f"<tr><th scope='row'>{LESION_NAMES[name]}</th><td>{_bar(p, 'lesion')}</td><td>{p:.2f}</td></tr>"
        for name, p in prediction.lesions.items()
    )
    return (
        f"{title}<p>Probability of COVID-19 <strong>{probability:.3f}</strong>; "
        f"the model calls a slice positive from {high:.3f}{undecided}.</p>"
        f"{_bar(probability, prediction.decision, high)}"
        "<table><caption>Lesion scores, if it is COVID-19; learned from few labels</caption>"
        f"{lesions}</table>"
    )


def _bar(value: float, kind: str, mark: float | None = None) -> str:
    tick = "" if mark is None else f'<i style="left:{100 * mark:.1f}%"></i>'
    return f'<div class="bar {kind}" aria-hidden="true"><b style="width:{100 * value:.1f}%"></b>{tick}</div>'

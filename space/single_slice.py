"""The tab for one slice: give it, read the answer, look where it came from, take it along."""

import io
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import gradio as gr
from answer_html import VIEWS, answer_html, view_html
from api import NETWORK, QUICK, public
from downloads import KEPT, Download
from operating_points import OperatingPoints
from pdf_report import write_report
from texts import I18N, failure, language_of, text

from ladnn_hf import Prediction, Predictor
from ladnn_hf.attention import overlay
from ladnn_hf.reading import LUNG_WINDOW, with_window

HERE = Path(__file__).parent
EXAMPLES = json.loads((HERE / "examples" / "phantoms.json").read_text(encoding="utf-8"))
"""Drawn by `ladnn_hf.phantoms`; no image of a patient."""
OPACITY = 0.6
_SET_VIEW = "(view) => { document.querySelector('#view .stack')?.setAttribute('data-view', view) }"
_SHOW_ANSWER = """() => matchMedia("(max-width: 640px)").matches
  && document.querySelector("#result h2")?.parentElement.scrollIntoView({behavior: "smooth"})"""
"""On a phone the answer stands below the picture that was given."""
_SET_OPACITY = "(value) => { document.querySelector('#view .stack')?.style.setProperty('--heat', value) }"


def build(page: gr.Blocks, predictor: Predictor, points: OperatingPoints) -> None:
    """Add the tab's components and events to a page."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            image = _slice_input()
            upload = gr.UploadButton(I18N("open_file"), file_count="single", size="md", elem_id="open")
            examples = gr.Examples(
                [[str(HERE / "examples" / name)] for name in EXAMPLES],
                inputs=[image],
                example_labels=_titles("en"),
                label=I18N("examples"),
                elem_id="phantoms",
                api_visibility="private",
            )
            with gr.Group(visible=False) as window:
                level = gr.Slider(-1000, 400, LUNG_WINDOW[0], step=10, label=I18N("level"), elem_id="level")
                width = gr.Slider(50, 3000, LUNG_WINDOW[1], step=10, label=I18N("width"), elem_id="width")
        with gr.Column(min_width=320):
            result = gr.HTML(elem_id="result", apply_default_css=False)
            with gr.Accordion(I18N("other_point"), open=False, elem_id="other-point"):
                threshold = gr.Slider(
                    *(0.01, 0.99, round(predictor.threshold, 2)),
                    step=0.01,
                    label=I18N("threshold"),
                    elem_id="threshold",
                )
                validated = gr.HTML(elem_id="validated", apply_default_css=False)
        with gr.Column(min_width=320):
            picture = gr.HTML(elem_id="view", apply_default_css=False)
            with gr.Column(elem_id="tools"):
                with gr.Group(elem_id="heat"):
                    view = gr.Dropdown(list(VIEWS), value=VIEWS[0], label=I18N("show_view"), elem_id="show")
                    opacity = gr.Slider(0, 1, OPACITY, step=0.05, label=I18N("opacity"), elem_id="opacity")
                with gr.Row():
                    report = Download(I18N("download_pdf"), "pdf")
                    answer_json = Download(I18N("download_json"), "json")
    shown = gr.State(None, time_to_live=KEPT)
    outputs = [result, picture, shown, window, level, width, threshold, validated]

    def show(prediction: Prediction, view: str, opacity: float, language: str) -> tuple:
        seen = prediction.slice
        has_hu = seen is not None and seen.hu is not None
        return (
            answer_html(prediction, predictor.band, language),
            view_html(prediction, language, view, opacity),
            prediction,
            gr.update(visible=has_hu),
            *((seen.window if has_hu else None) or LUNG_WINDOW),
            round(predictor.threshold, 2),
            "",
        )

    def answer(path: str | None, view: str, opacity: float, request: gr.Request) -> tuple:
        language = language_of(request)
        if path is None:
            point = round(predictor.threshold, 2)
            return *_waiting(language), None, gr.update(visible=False), *LUNG_WINDOW, point, ""
        return show(predictor(path), view, opacity, language)

    def rewindow(
        shown: Prediction | None, level: float, width: float, view: str, opacity: float, request: gr.Request
    ) -> tuple:
        if shown is None:
            return answer(None, view, opacity, request)
        prediction = predictor(with_window(shown.slice, (level, width)))
        # A slice that is read already does not know its file.
        return show(replace(prediction, image=shown.image), view, opacity, language_of(request))

    def move_point(shown: Prediction | None, threshold: float, request: gr.Request) -> tuple:
        language = language_of(request)
        if shown is None:
            return _waiting(language)[0], points.to_html(threshold, language)
        said = answer_html(shown, predictor.band, language, threshold)
        return said, points.to_html(threshold, language)

    def to_report(shown: Prediction | None, view: str, opacity: float, request: gr.Request) -> dict:
        prediction, language = _chosen(shown, request), language_of(request)
        warm = None
        if prediction.maps is not None:
            warm = overlay(prediction.slice.grey, prediction.maps[VIEWS.index(view)], prediction.box, opacity)
        page, when = io.BytesIO(), datetime.now().astimezone()
        write_report(prediction, warm, page, view=view, language=language, band=predictor.band, when=when)
        return Download.payload("report.pdf", page.getvalue())

    def to_json(shown: Prediction | None, request: gr.Request) -> dict:
        return Download.payload("answer.json", json.dumps(public(_chosen(shown, request)), indent=2).encode())

    busy = {"api_visibility": "private", "show_progress_on": result, **NETWORK}
    given = [
        image.input(answer, [image, view, opacity], outputs, **busy),
        examples.load_input_event.then(answer, [image, view, opacity], outputs, **busy),
        upload.upload(lambda: None, None, image, **QUICK).then(
            answer, [upload, view, opacity], outputs, **busy
        ),
    ]
    for answered in given:
        answered.then(None, None, None, js=_SHOW_ANSWER)
    gr.on(
        [level.input, width.input],
        rewindow,
        [shown, level, width, view, opacity],
        outputs,
        trigger_mode="always_last",
        **busy,
    )
    threshold.input(move_point, [shown, threshold], [result, validated], **QUICK)
    view.change(None, view, None, js=_SET_VIEW)
    opacity.input(None, opacity, None, js=_SET_OPACITY)
    report.on_click(to_report, [shown, view, opacity])
    answer_json.on_click(to_json, [shown])

    def localise(request: gr.Request) -> tuple:
        language = language_of(request)
        names = [(text(f"view_{view}", language), view) for view in VIEWS]
        return *_waiting(language), gr.update(choices=names), gr.update(sample_labels=_titles(language))

    page.load(localise, None, [result, picture, view, examples.dataset], **QUICK)


def _chosen(shown: Prediction | None, request: gr.Request) -> Prediction:
    if shown is None:
        language = language_of(request)
        raise failure(text("nothing_answered", language), language)
    return shown


def _slice_input() -> gr.Image:
    """An image whose file reaches us as it was uploaded: Gradio neither decodes nor re-encodes it.

    Its own decoding would clip 16 bits and answer a file that is no image with an error without words.
    Only the instance is changed: Gradio writes a stub file beside the source of each new component class.
    """
    image = gr.Image(
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        label=I18N("slice"),
        height=320,
        elem_id="slice",
    )
    decode = image.preprocess
    image.preprocess = lambda payload: payload.path if payload and payload.path else decode(payload)
    return image


def _titles(language: str) -> list[str]:
    """Of the phantoms."""
    return [text(f"phantom_{Path(name).stem}", language) for name in EXAMPLES]


def _waiting(language: str) -> tuple[str, str]:
    """What stands in the places of the answer and of the picture before there are any."""
    answer, picture = text("waiting", language), text("view_waiting", language)
    return f'<p class="waiting">{answer}</p>', f'<p class="waiting">{picture}</p>'

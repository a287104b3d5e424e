"""The page: a tab for one slice, one for many, one to contribute, one about the model, one about the data."""

from pathlib import Path

import about
import api
import batch
import collection
import gradio as gr
import single_slice
from data_facts import data_facts
from operating_points import OperatingPoints
from texts import I18N, language_of, text

from ladnn_hf import Predictor
from ladnn_hf.model_folder import read_report

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    # Dark enough to be read on white, or white on them, at WCAG's AA.
    color_accent="*primary_700",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
)
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def build_page(model: str | None = None, contributions: collection.Collection | None = None) -> gr.Blocks:
    """The page for one model.

    Args:
        model: As `Predictor` takes it; None for the bundled checkpoint.
        contributions: Where contributions go; None where none are taken.

    Raises:
        ValueError: The folder is not a LA-DNN model, or its report cannot be read.
    """
    predictor = Predictor(model)
    report = read_report(predictor.folder)
    points = OperatingPoints(report.get("validation"))
    with gr.Blocks(title="LA-DNN", analytics_enabled=False, delete_cache=(600, 600)) as page:
        head = gr.HTML(elem_id="head", apply_default_css=False)
        with gr.Tab(I18N("tab_slice")):
            single_slice.build(page, predictor, points)
        with gr.Tab(I18N("tab_batch")):
            batch.build(predictor)
        with gr.Tab(I18N("tab_contribute")):
            collection.build(page, predictor, contributions)
        with gr.Tab(I18N("tab_about")):
            card = gr.HTML(elem_id="about", apply_default_css=False)
        with gr.Tab(I18N("tab_data")):
            gr.HTML(data_facts(), elem_id="data", apply_default_css=False)
        api.build(predictor)

        def localise(request: gr.Request) -> tuple[str, str]:
            language = language_of(request)
            notice = f"<strong>{text('notice', language)}</strong>"
            return (
                f"<h1>LA-DNN</h1><p>{text('subtitle', language)} {notice}</p>",
                about.about_html(report, language),
            )

        page.load(localise, None, [head, card], api_visibility="private", show_progress="hidden", queue=False)
    return page

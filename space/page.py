"""The page: a tab for one slice, one for many, one to contribute, one about the model, one about the data."""

import os

import api
import batch
import collection
import gradio as gr
import single_slice
from about import about_html
from data_facts import data_html, read_facts
from full_queue import say_the_wait
from look import EXAMPLES
from operating_points import OperatingPoints
from texts import I18N, TEXTS, language_of, text

from ladnn_hf import Predictor
from ladnn_hf.model_folder import read_report, scored_on
from ladnn_hf.reading import list_slices

TABS = ("slice", "batch", "contribute", "about", "data")
QUEUE = 64
"""Events that wait at most; whoever comes then is told when to try again."""
VISITORS = 1000
"""Whose answers are kept at most: Gradio keeps 10,000 unless it is told."""


def build_page(model: str | None = None, contributions: collection.Collection | None = None) -> gr.Blocks:
    """The page for one model.

    Args:
        model: As `Predictor` takes it; None for the bundled checkpoint.
        contributions: Where contributions go; None where none are taken.

    Raises:
        ValueError: The folder is not a LA-DNN model, its report cannot be read, or LADNN_AUDIT names none.
    """
    predictor = Predictor(model)
    _warm_up(predictor)
    points, chapters = _read_report(predictor)
    facts = read_facts()
    with gr.Blocks(title="LA-DNN", analytics_enabled=False, delete_cache=(600, 1200)) as page:
        head = gr.HTML(elem_id="head", apply_default_css=False)
        tabs = {name: gr.Tab(I18N(f"tab_{name}")) for name in TABS}
        with tabs["slice"]:
            single_slice.build(page, predictor, points)
        with tabs["batch"]:
            batch.build(predictor)
        with tabs["contribute"]:
            collection.build(page, predictor, contributions)
        with tabs["about"]:
            card = gr.HTML(elem_id="about", apply_default_css=False)
        with tabs["data"]:
            data = gr.HTML(elem_id="data", apply_default_css=False)
        api.build(predictor)

        def localise(request: gr.Request) -> tuple:
            language = language_of(request)
            subtitle, notice = text("subtitle", language), text("notice", language)
            return (
                f"<header><div><h1>LA-DNN</h1><p>{subtitle}</p></div><p class='notice'>{notice}</p></header>",
                chapters[language],
                data_html(facts, language),
                *(gr.update(label=text(f"tab_{name}", language)) for name in tabs),
            )

        page.load(localise, None, [head, card, data, *tabs.values()], **api.QUICK)
    # Gradio sums up the last 10,000 events by pandas after each one, for statistics that nobody reads.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000")
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1000")
    page.queue(max_size=QUEUE)
    say_the_wait(page._queue)
    return page


def _read_report(predictor: Predictor) -> tuple[OperatingPoints, dict[str, str]]:
    """Of the report beside the weights: operating points to choose from, and by language what About says.

    Raises:
        ValueError: It is not what `ladnn evaluate` writes; said before the first visitor meets it.
    """
    report = read_report(predictor.folder)
    try:
        points = OperatingPoints(scored_on(report, "validation"))
        threshold, band = predictor.threshold, predictor.band
        points.at(threshold)
        return points, {language: about_html(report, threshold, band, language) for language in TEXTS}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{predictor.folder}: expected a report.json as `ladnn evaluate` writes it, found another; write "
            "it again, or remove it."
        ) from error


def _warm_up(predictor: Predictor) -> None:
    """Answer one example alone, then all together.

    Most of what engines set up at their first answers is there before the first visitor comes, who waits no
    longer than the next.
    """
    examples = list(list_slices([str(EXAMPLES)]))
    predictor(examples[0])
    for _ in predictor.predict(examples):
        pass

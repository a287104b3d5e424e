"""The tab for many slices: files, zips and DICOM series in; a table, a summary and a strip out."""

import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gradio as gr
from api import NETWORK, QUICK, public
from batch_html import Answered, progress_html, strip_html, summary_html, table_html
from batch_inputs import Given, expand_some
from downloads import KEPT, Download
from html_parts import data_uri, png_uri
from texts import I18N, failure, language_of, text

from ladnn_hf import Prediction, Predictor
from ladnn_hf.answers import WRITERS
from ladnn_hf.attention import overlay

_EVERY = 1.0
"""Seconds between two pictures of how far a batch has come."""
_THUMBNAIL = 56
"""Longest side in pixels."""
_PICTURE = 224
"""The same of a slice in a series, which may be one of those that matter most."""


def build(predictor: Predictor) -> None:
    """Add the tab's components and events to a page."""
    files = gr.File(file_count="multiple", label=I18N("batch_files"), elem_id="batch-files", height=180)
    with gr.Row():
        run = gr.Button(I18N("run"), variant="primary", scale=2, elem_id="run")
        cancel = gr.Button(I18N("cancel"), scale=1, elem_id="cancel", interactive=False)
    summary = gr.HTML(elem_id="summary", apply_default_css=False)
    strip = gr.HTML(elem_id="strip", apply_default_css=False)
    table = gr.HTML(elem_id="table", apply_default_css=False, js_on_load=_SORT)
    with gr.Row(visible=False) as saving:
        as_csv = Download(I18N("download_csv"), "csv", "batch-")
        as_json = Download(I18N("download_json"), "json", "batch-")
    answers = gr.State([], time_to_live=KEPT)
    drawn = [summary, strip, table, saving]

    def answer(paths: list[str] | None, request: gr.Request) -> Iterator[tuple]:
        language = language_of(request)
        given = expand_some(paths, language)
        done: list[Answered] = []
        last = -_EVERY
        for one in answer_all(predictor, given):
            done.append(one)
            if time.monotonic() - last > _EVERY:
                last = time.monotonic()
                yield progress_html(len(done), len(given), language), "", "", gr.update(visible=False), done
        yield *draw(done, language), gr.update(visible=True), done

    def stop(done: list[Answered], request: gr.Request) -> tuple:
        language = language_of(request)
        summary, strip, table = draw(done, language)
        stopped = f"<p>{text('stopped', language, done=len(done))}</p>{summary}"
        return stopped, strip, table, gr.update(visible=bool(done)), gr.update(interactive=False)

    def to_csv(done: list[Answered], request: gr.Request) -> dict:
        return Download.payload("answers.csv", csv_of(_some(done, request)).encode("utf-8-sig"))

    def to_json(done: list[Answered], request: gr.Request) -> dict:
        rows = [public(one.prediction, one.name) for one in _some(done, request)]
        return Download.payload("answers.json", json.dumps(rows, indent=2).encode())

    # Gradio takes the listeners of a click in turn: this one comes first.
    run.click(lambda: gr.update(interactive=True), None, cancel, **QUICK)
    running = run.click(
        answer, files, [*drawn, answers], api_visibility="private", show_progress_on=summary, **NETWORK
    )
    for ended in (running.success, running.failure):  # `then` does not follow a failure
        ended(lambda: gr.update(interactive=False), None, cancel, **QUICK)
    cancel.click(stop, answers, [*drawn, cancel], cancels=[running], **QUICK)
    as_csv.on_click(to_csv, [answers])
    as_json.on_click(to_json, [answers])


def answer_all(predictor: Predictor, given: Sequence[Given]) -> Iterator[Answered]:
    """Answer slices in their order; of each picture a thumbnail is kept."""
    for one, prediction in zip(given, predictor.predict(one.open() for one in given), strict=True):
        thumbnail = ""
        if prediction.slice is not None:
            small = prediction.slice.grey.copy()
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
            thumbnail = png_uri(small)
        picture = _warm(prediction) if one.series is not None else ""
        yield Answered(one.name, replace(prediction, maps=None, slice=None), thumbnail, one.series, picture)


def _warm(prediction: Prediction) -> str:
    """The slice with what speaks for COVID-19 laid over it; empty where there is no map."""
    if prediction.maps is None:
        return ""
    small = prediction.slice.grey.copy()
    small.thumbnail((_PICTURE, _PICTURE))
    scale = small.width / prediction.slice.grey.width
    box = prediction.box and tuple(scale * edge for edge in prediction.box)
    buffer = io.BytesIO()
    overlay(small, prediction.maps[0], box).save(buffer, "JPEG", quality=85)
    return data_uri(buffer.getvalue(), "image/jpeg")


def draw(done: Sequence[Answered], language: str) -> tuple[str, str, str]:
    """Summary, strip and table."""
    return summary_html(done, language), strip_html(done, language), table_html(done, language)


def csv_of(done: Sequence[Answered]) -> str:
    """What `ladnn predict --format csv` writes, without the server's paths."""
    buffer = io.StringIO()
    WRITERS["csv"](map(_named, done), buffer)
    return buffer.getvalue()


def _named(one: Answered) -> Prediction:
    said = public(one.prediction, one.name)
    return replace(one.prediction, image=said["image"], model=said["model"])


def _some(done: list[Answered], request: gr.Request) -> list[Answered]:
    if not done:
        language = language_of(request)
        raise failure(text("nothing_answered", language), language)
    return done


_SORT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("th button");
  if (!button) return;
  const heading = button.closest("th"), body = heading.closest("table").tBodies[0];
  const descending = heading.getAttribute("aria-sort") !== "descending";
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => {
    const cell = row.cells[heading.cellIndex];
    return cell ? cell.dataset.value ?? cell.innerText : "";
  };
  const rows = [...body.rows].sort((a, b) => value(a).localeCompare(value(b), undefined, {numeric: true}));
  body.append(...(descending ? rows.reverse() : rows));
});
"""
"""A click on a heading sorts by its column, a second one the other way; refused files have no number."""

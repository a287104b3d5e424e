"""The named endpoints: the JSON of `ladnn predict --format json`, without the server's paths."""

from pathlib import Path
from typing import Any

import gradio as gr
from batch_inputs import expand_some
from texts import failure, language_of, text

from ladnn_hf import Prediction, Predictor

NETWORK = {"concurrency_id": "network", "concurrency_limit": 2}
"""Events that need the network wait in one queue, two at a time: as many as the free hardware has cores."""
QUICK = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
"""Events of the page that need no network are answered at once."""


def public(prediction: Prediction, name: str | None = None) -> dict[str, Any]:
    """An answer as JSON.

    Args:
        prediction: What the model said.
        name: What the giver calls the slice, where that is not the file's name.
    """
    names = {"image": name or Path(prediction.image).name, "model": Path(prediction.model).name}
    return prediction.to_dict() | names


def build(predictor: Predictor) -> None:
    """Add the endpoints to a page."""

    def predict(image: str | None, request: gr.Request) -> dict[str, Any]:
        """Tell whether one axial chest CT slice shows COVID-19. For research and teaching, not for diagnosis.

        Args:
            image: One slice as PNG, JPEG, WebP, BMP, TIFF or DICOM, best in the lung window.
            request: Says the language of errors.

        Returns:
            `decision` (positive, negative, indeterminate or refused), `covid_probability`, `lesions` and
            `reason` among others.
        """
        _forget(request)
        if image is None:
            language = language_of(request)
            raise failure(text("no_file", language), language)
        return public(predictor(image))

    def predict_batch(images: list[str] | None, request: gr.Request) -> list[dict[str, Any]]:
        """Tell of each of many chest CT slices whether it shows COVID-19. For research and teaching.

        Args:
            images: Slices, zips of slices, or the files of a DICOM series.
            request: Says the language of errors.

        Returns:
            One answer a slice, as `predict` gives it; what cannot be read is refused and stops none.
        """
        _forget(request)
        given = expand_some(images, language_of(request))
        answers = predictor.predict(one.open() for one in given)
        return [public(answer, one.name) for one, answer in zip(given, answers, strict=True)]

    with gr.Row(visible=False):
        one, many = gr.File(label="image"), gr.File(label="images", file_count="multiple")
        gr.Button().click(predict, one, gr.JSON(), api_name="predict", **NETWORK)
        gr.Button().click(predict_batch, many, gr.JSON(), api_name="predict_batch", **NETWORK)


def _forget(request: gr.Request) -> None:
    """Drop what Gradio keeps of a call as of a visitor: the settings of all components."""
    request.request.app.state_holder.session_data.pop(request.session_hash, None)

"""Downloads that are made when they are asked for and go straight to the browser: no file stays here."""

import base64
from collections.abc import Callable, Sequence

import gradio as gr

_SAVE = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = `data:${file.type};base64,${file.content}`;
  link.download = file.name;
  link.click();
}"""
KEPT = 1800
"""Seconds that answers are kept in memory, to be saved, for a visitor who leaves the page open."""
_TYPES = {"csv": "text/csv", "json": "application/json", "pdf": "application/pdf"}


class Download:
    """A button that makes a file and saves it in the browser.

    Args:
        label: On the button.
        kind: `csv`, `json` or `pdf`, also its `elem_id` after `download-`.
        prefix: Before the kind in the `elem_id`, where a page has several.
    """

    def __init__(self, label: object, kind: str, prefix: str = ""):
        self.button = gr.Button(label, size="sm", elem_id=f"{prefix}download-{kind}")
        self._file = gr.JSON(visible=False)

    def on_click(self, make: Callable[..., dict], inputs: Sequence[gr.components.Component]) -> None:
        """Have a click save what `make` returns, which is a `payload`."""
        self.button.click(make, list(inputs), self._file, api_visibility="private").success(
            None, self._file, None, js=_SAVE
        )

    @staticmethod
    def payload(name: str, content: bytes) -> dict:
        """A file of this name and content, as the button takes it."""
        kind = _TYPES[name.rsplit(".", 1)[-1]]
        return {"name": name, "type": kind, "content": base64.b64encode(content).decode()}

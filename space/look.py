"""How the page looks: its theme, its style sheet and the script before Gradio's."""

import json
from pathlib import Path

import gradio as gr
from html_parts import png_uri
from PIL import Image
from texts import GRADIO

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"
THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    # Dark enough to be read on white, or white on them, at WCAG's AA.
    color_accent="*primary_700",
    link_text_color="*primary_700",
    link_text_color_dark="*primary_400",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
)
_PHANTOM_SIDE = 96


def _draw_phantoms() -> str:
    """The style that shows each phantom above its name; Gradio shows either pictures or names."""
    rules = []
    for number, name in enumerate(json.loads((EXAMPLES / "phantoms.json").read_text(encoding="utf-8")), 1):
        with Image.open(EXAMPLES / name) as picture:
            picture.thumbnail((_PHANTOM_SIDE, _PHANTOM_SIDE))
            uri = png_uri(picture)
        rules.append(
            f"#phantoms .gallery-item:nth-of-type({number})::before {{ background-image: url({uri}) }}"
        )
    return "\n".join(rules)


def _script(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


CSS = (HERE / "page.css").read_text(encoding="utf-8") + _draw_phantoms()
HEAD = f"<script>{_script('doors.js')}{_script('gradio_words.js')}({json.dumps(GRADIO)})</script>"

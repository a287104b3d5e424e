"""How the page looks: its theme, its style sheet and the script before Gradio's."""

import json
from pathlib import Path

import gradio as gr
from texts import GRADIO

HERE = Path(__file__).parent
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
CSS = (HERE / "page.css").read_text(encoding="utf-8")
HEAD = f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}({json.dumps(GRADIO)})</script>"

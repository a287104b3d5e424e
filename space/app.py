"""Start the page. `LADNN_MODEL` names a model folder; without it the bundled checkpoint answers."""

import os
import sys

from page import CSS, THEME, build_page

from ladnn_hf import Predictor

try:
    demo = build_page(Predictor(os.environ.get("LADNN_MODEL")))
except ValueError as error:
    sys.exit(f"ladnn demo: {error}")

if __name__ == "__main__":
    demo.launch(theme=THEME, css=CSS, footer_links=["api"], max_file_size="50mb")

"""Start the page.

Its variables, all optional:

`LADNN_MODEL`, a model folder or `OWNER/NAME@REVISION` on the Hub; without it the bundled checkpoint answers.
`LADNN_CONTRIBUTIONS`, a folder that contributed slices are kept in; without it none are taken.
`LADNN_LASTING`, 1 where that folder's disk outlives the program, as by default everywhere but on a Space.
`LADNN_COLLECTION`, a private data set on the Hub that they also go to, with a token in `HF_TOKEN`.
`LADNN_AUDIT`, an `audit.json` to show beside COVID-CT's.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from collection import Collection
from look import CSS, EXAMPLES, HEAD, THEME
from page import VISITORS, build_page
from texts import I18N

from ladnn_hf.allocation import share_heaps

share_heaps()
try:
    folder = os.environ.get("LADNN_CONTRIBUTIONS")
    on_a_space = "SPACE_ID" in os.environ
    lasting = os.environ.get("LADNN_LASTING", "0" if on_a_space else "1") == "1"
    contributions = Collection(Path(folder), os.environ.get("LADNN_COLLECTION"), lasting) if folder else None
    demo = build_page(os.environ.get("LADNN_MODEL"), contributions)
except (ValueError, OSError) as error:
    sys.exit(f"ladnn demo: {error}")

if __name__ == "__main__":
    agents = find_spec("mcp") is not None  # the extra `mcp`: the endpoints are tools of agents, too
    demo.launch(
        theme=THEME,
        css=CSS,
        head=HEAD,
        i18n=I18N,
        footer_links=["api"],
        allowed_paths=[str(EXAMPLES)],  # from another working folder Gradio would not show them
        max_file_size="50mb",
        state_session_capacity=VISITORS,
        mcp_server=agents,
    )

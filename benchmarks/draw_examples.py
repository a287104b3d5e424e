"""Draw the Space's examples anew from `space/examples/phantoms.json`."""

import json
from pathlib import Path

from ladnn_hf import draw_phantom

EXAMPLES = Path(__file__).resolve().parents[1] / "space" / "examples"

for name, spec in json.loads((EXAMPLES / "phantoms.json").read_text()).items():
    drawn = draw_phantom(spec["findings"], level=spec["level"], seed=spec["seed"])
    drawn.save(EXAMPLES / name, optimize=True)
    print(EXAMPLES / name)

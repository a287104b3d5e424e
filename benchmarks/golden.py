"""Store the golden numbers of the bundled checkpoint in `tests/golden.json`, after it has changed."""

import json
from pathlib import Path

from ladnn_hf import Predictor, draw_phantom

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden.json"

spec = {"findings": ["GGO"], "level": 0.45, "seed": 1}
answer = Predictor()(draw_phantom(spec["findings"], level=spec["level"], seed=spec["seed"]))
golden = spec | {"covid_probability": answer.covid_probability, "lesions": answer.lesions}
GOLDEN.write_text(json.dumps(golden, indent=2) + "\n")
print(GOLDEN)

"""Write the facts of a data set that the page shows: its audit without any row, file name or caption.

ladnn data audit covid_ct --output audit
python benchmarks/data_facts.py audit/audit.json
"""

import json
import sys
from pathlib import Path

from ladnn_hf.audit import facts
from ladnn_hf.metrics import to_json

report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
Path("space/data_facts.json").write_text(to_json(facts(report)), encoding="utf-8")

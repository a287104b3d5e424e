"""Open the page of `space/` on this machine: `python app.py`."""

import runpy
import sys
from pathlib import Path

SPACE = Path(__file__).resolve().parent / "space"

if __name__ == "__main__":
    sys.path.insert(0, str(SPACE))
    runpy.run_path(str(SPACE / "app.py"), run_name="__main__")

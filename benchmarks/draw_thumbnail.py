"""Draw the Space's thumbnail: a phantom's answer in the page's own look, in Chromium.

The picture names the weights that answered, so that a test can tell that it is not of older ones.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import sync_playwright

SPACE = Path(__file__).resolve().parents[1] / "space"
sys.path.insert(0, str(SPACE))

from answer_html import answer_html, view_html  # noqa: E402
from texts import text  # noqa: E402

from ladnn_hf import Predictor  # noqa: E402
from ladnn_hf.model_folder import BUNDLED, weights_sha256  # noqa: E402

SIZE = {"width": 1200, "height": 630}
LAYOUT = """
:root { --border-color-primary: #e2e8f0; --body-text-color: #17202e; --radius-md: 12px; }
body { margin: 0; width: 1200px; height: 630px; display: grid; grid-template-columns: 630px 1fr;
  font: 21px/1.4 system-ui, sans-serif; color: #17202e; background: #fff; }
#view .stack { border-radius: 0; }
main { padding: 40px 44px; }
h1 { font-size: 54px; margin: 0; color: #0f766e; }
main > p { margin: .3rem 0 1.6rem; }
footer { font-weight: 650; margin-top: 1.6rem; }
#result .read { display: none; }
"""

predictor = Predictor()
prediction = predictor(SPACE / "examples" / "ground_glass.png")
page = (
    f"<style>{(SPACE / 'page.css').read_text(encoding='utf-8')}{LAYOUT}</style>"
    f'<div id="view">{view_html(prediction, "en", "covid", 0.6)}</div>'
    f"<main><h1>LA-DNN</h1><p>{text('subtitle', 'en')}</p>"
    f'<div id="result">{answer_html(prediction, predictor.band, "en")}</div>'
    f"<footer>{text('notice', 'en')}</footer></main>"
)
with sync_playwright() as playwright:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
    window = browser.new_page(viewport=SIZE)
    window.set_content(page)
    drawn = Image.open(io.BytesIO(window.screenshot())).convert("RGB")
    browser.close()
answered_by = PngInfo()
answered_by.add_text("weights_sha256", weights_sha256(BUNDLED))
drawn.quantize(128).save(SPACE / "thumbnail.png", optimize=True, pnginfo=answered_by)
print(SPACE / "thumbnail.png")

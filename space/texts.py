"""What the page says, in English and Chinese: `locales/` holds one table a language, with the same keys."""

import json
import re
from pathlib import Path

import gradio as gr

LOCALES = Path(__file__).parent / "locales"
TEXTS: dict[str, dict[str, str]] = {
    language: json.loads((LOCALES / f"{language}.json").read_text(encoding="utf-8"))
    for language in ("en", "zh")
}
"""By language and key; `{name}` in a text stands for a fact."""
I18N = gr.I18n(**TEXTS)
"""For labels that never change: Gradio's script looks `I18N(key)` up in the browser's language."""
CHINESE_REASONS: dict[str, str] = json.loads((LOCALES / "reasons_zh.json").read_text(encoding="utf-8"))
"""By what `ladnn_hf` says, its Chinese form, with the same facts in braces."""


def language_of(request: gr.Request | None) -> str:
    """The language to answer a visitor in, a key of `TEXTS`.

    Args:
        request: Of the visitor's browser; None where there is none, as for the API.
    """
    header = "" if request is None else dict(request.headers).get("accept-language", "")
    # Browsers name the language of their own menus first, and Gradio's script looks at that one alone.
    return "zh" if header.strip().lower().startswith("zh") else "en"


def text(key: str, language: str, **facts: object) -> str:
    """One text of the page.

    Args:
        key: Of the tables.
        language: What `language_of` found.
        facts: What stands in the text's braces.
    """
    return TEXTS[language][key].format(**facts)


def reason_in(reason: str, language: str) -> str:
    """A refusal or a doubt as a sentence of the visitor's language; in English where no other is known.

    Args:
        reason: What `ladnn_hf` said: 'expected ..., found ...; do ....'
        language: What `language_of` found.
    """
    if language == "zh":
        for pattern, chinese in _PATTERNS:
            if found := pattern.fullmatch(reason):
                return chinese.format(**found.groupdict())
    return f"Expected{found}" if (found := reason.removeprefix("expected")) != reason else reason


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", sentence)
    facts = [f"(?P<{part}>.*?)" if at % 2 else re.escape(part) for at, part in enumerate(parts)]
    return re.compile("".join(facts), re.DOTALL)


_PATTERNS = [(_pattern(english), chinese) for english, chinese in CHINESE_REASONS.items()]

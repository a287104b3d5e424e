"""What the page says, in English and Chinese: `locales/` holds one table a language, with the same keys."""

import html
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


def _chinese(name: str) -> dict[str, str]:
    return json.loads((LOCALES / f"{name}_zh.json").read_text(encoding="utf-8"))


CHINESE: dict[str, str] = _chinese("reasons") | _chinese("reports")
"""By what `ladnn_hf` says in refusals, doubts and reports its Chinese form, with the same facts in braces."""
GRADIO: dict[str, dict[str, str]] = {
    language: json.loads((LOCALES / f"gradio_{language}.json").read_text(encoding="utf-8"))
    for language in ("en", "zh")
}
"""By language what `gradio_words.js` says instead of what Gradio's script says in English to all."""


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


_DATASETS = {"covid_ct": "COVID-CT", "sars_ct": "SARS-CoV-2-CT", "covid_later": "COVID-CT, added later"}
"""What the data sets are called of which the bundled report and audit know the folders."""


def term_in(term: str, language: str) -> str:
    """What a report calls something, in the visitor's language; in English where no other form is known.

    Args:
        term: A name or title of `ladnn_hf`.
        language: What `language_of` found.
    """
    term = _FOLDER.sub(lambda folder: _DATASETS[folder[0]], term)
    if language == "zh":
        for pattern, chinese in _PATTERNS:
            if found := pattern.fullmatch(term):
                return chinese.format(**found.groupdict())
    return term


def reason_in(reason: str, language: str) -> str:
    """A refusal or a doubt as a sentence of the visitor's language; in English where no other is known.

    Args:
        reason: What `ladnn_hf` said: 'expected ..., found ...; do ....'
        language: What `language_of` found.
    """
    said = term_in(reason, language)
    return f"Expected{rest}" if (rest := said.removeprefix("expected")) != said else said


def failure(message: str, language: str) -> gr.Error:
    """The error that shows a visitor a sentence, and leaves the server's log alone.

    Args:
        message: Of the visitor's language; markup in it is shown as text.
        language: What `language_of` found.
    """
    return gr.Error(html.escape(message, quote=False), title=text("error", language), print_exception=False)


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", sentence)
    facts = [f"(?P<{part}>.*?)" if at % 2 else re.escape(part) for at, part in enumerate(parts)]
    return re.compile("".join(facts), re.DOTALL)


_FOLDER = re.compile(rf"^({'|'.join(_DATASETS)})\b")
_PATTERNS = [(_pattern(english), chinese) for english, chinese in CHINESE.items()]

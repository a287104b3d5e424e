"""Renders Jinja templates: an audit's pages and the Hub's cards."""

from pathlib import Path
from typing import Any

import jinja2


def render(folder: Path, template: str, **facts: Any) -> str:
    """A template with facts filled in, escaped where it is HTML.

    Raises:
        jinja2.UndefinedError: A fact is missing: that is an error, never a gap in a page.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=".html" in template,
    )
    return environment.get_template(template).render(facts)

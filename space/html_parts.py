"""What several tabs draw with: a table of facts, and a picture inside the page."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image


def facts_table(headings: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> str:
    """A table whose first column names the row; all cells are escaped."""
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in headings)
    body = "".join(
        f"<tr><th scope='row'>{html.escape(str(first))}</th>"
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def png_uri(picture: Image.Image) -> str:
    """A picture as a `data:` address, so that the server keeps no file of it."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return data_uri(buffer.getvalue(), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """The bytes of a file of this media type as a `data:` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

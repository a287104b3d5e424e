"""What an Inference Endpoint runs: it lies beside the pushed weights and needs only what they need.

https://huggingface.co/docs/inference-endpoints/guides/custom_handler
"""

import base64
import io
from typing import Any

from PIL import Image
from transformers import pipeline


class EndpointHandler:
    """Answers slices that are sent over HTTP. For research and teaching, never for diagnosis.

    Args:
        path: The folder of the repository.
    """

    def __init__(self, path: str = ""):
        self._answer = pipeline("chest-ct-classification", model=path, trust_remote_code=True)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Answer one slice.

        Args:
            data: `inputs`, a picture: decoded, as bytes, or as base64 in JSON.

        Returns:
            What `LaDnnPipeline` answers.

        Raises:
            ValueError: There is no picture in it.
        """
        return self._answer(_picture(data.get("inputs")))


def _picture(inputs: Any) -> Image.Image:
    if isinstance(inputs, Image.Image):
        return inputs
    try:
        picture = Image.open(io.BytesIO(inputs if isinstance(inputs, bytes) else base64.b64decode(inputs)))
        picture.load()
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            "expected a picture as `inputs`, found none; send its bytes, or base64 in JSON."
        ) from error
    return picture

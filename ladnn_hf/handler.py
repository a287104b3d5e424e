"""What an Inference Endpoint runs: it lies beside the pushed weights and needs only what they need.

https://huggingface.co/docs/inference-endpoints/guides/custom_handler
"""

import base64
import io
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification


class EndpointHandler:
    """Answers slices that are sent over HTTP. For research and teaching, never for diagnosis.

    Args:
        path: The folder of the repository.
    """

    def __init__(self, path: str = ""):
        self._network = AutoModelForImageClassification.from_pretrained(path, trust_remote_code=True).eval()
        self._processor = AutoImageProcessor.from_pretrained(path, trust_remote_code=True)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Answer one slice.

        Args:
            data: `inputs`, a picture: decoded, as bytes, or as base64 in JSON.

        Returns:
            `label`, `covid_probability` and each of `lesions` in [0, 1], and the `decision`: `positive`,
            `negative`, `indeterminate`, or `refused` for what does not look like a slice; the others are
            None then.

        Raises:
            ValueError: There is no picture in it.
        """
        pixels = self._processor(_picture(data.get("inputs")), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            output = self._network(pixel_values=pixels)
        config = self._network.config
        if config.max_distance is not None and not output.distance.item() <= config.max_distance:
            return {"label": None, "covid_probability": None, "decision": "refused", "lesions": None}
        (answer,) = self._processor.post_process_slices(output)
        covid = answer["covid_probability"]
        positive = covid >= config.threshold
        low, high = config.indeterminate_band or (config.threshold, config.threshold)
        decided = "positive" if positive else "negative"
        return {
            "label": config.id2label[int(positive)],
            "decision": "indeterminate" if low <= covid < high else decided,
            **answer,
        }


def _picture(inputs: Any) -> Image.Image:
    if isinstance(inputs, Image.Image):
        return inputs
    try:
        return Image.open(io.BytesIO(inputs if isinstance(inputs, bytes) else base64.b64decode(inputs)))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            "expected a picture as `inputs`, found none; send its bytes, or base64 in JSON."
        ) from error

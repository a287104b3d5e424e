"""The pipeline that answers a slice whole: `pipeline("chest-ct-classification", trust_remote_code=True)`."""

from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image, ImageOps
from transformers import AutoModelForImageClassification, Pipeline
from transformers.image_utils import load_image
from transformers.pipelines import PIPELINE_REGISTRY

from .attention import overlay
from .decision_ladnn import decide
from .labels import CLASSES, LESIONS
from .picture_checks import limit_of, why_blank, why_far, why_unlike_ct
from .preprocessing_ladnn import to_grey

TASK = "chest-ct-classification"


class LaDnnPipeline(Pipeline):
    """Answers chest CT slices with all that LA-DNN says. For research and teaching, never for diagnosis.

    Called with a slice, a path, an address or a picture that Pillow decoded, it gives one dictionary, called
    with a list one each:

    - `decision`: `positive`, `negative`, `indeterminate`, or `refused` for what does not look like a slice;
    - `label`, `COVID` or `NonCOVID`, `covid_probability`, calibrated, and `lesions`, the score of each, if it
      is COVID-19, in [0, 1]; the three are None when refused;
    - `reason`: why it was refused, else None;
    - `threshold`: the probability from which the label is COVID;
    - `maps` and `box` where they are asked for.

    Pictures are decoded as `image-classification` does: deeper ones than 8 bits are clipped.

    Keyword Args:
        gate: False also answers what would be refused.
        maps: `"arrays"` for where COVID and each lesion were seen, by name, float32 (h, w) in logits over
            `box`, (left, upper, right, lower) in pixels, None for the whole slice; `"overlays"` for the same
            in orange over the slice, RGB pictures of its size. `maps` and `box` are None when refused, or
            where the backbone has no such maps.
        timeout: Seconds to wait for an address.

    Raises:
        ValueError: There is no such kind of maps, or no picture.
    """

    _load_image_processor = True
    _load_tokenizer = _load_feature_extractor = _load_processor = _load_video_processor = False
    _MAPS: ClassVar[tuple[str, ...]] = ("arrays", "overlays")

    def _sanitize_parameters(
        self,
        gate: bool | None = None,
        maps: Literal["arrays", "overlays"] | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if maps is not None and maps not in self._MAPS:
            raise ValueError(f"expected `maps` to be one of {self._MAPS}, found {maps!r}; name one.")
        after = {"gate": gate, "maps": maps}
        return (
            {} if timeout is None else {"timeout": timeout},
            {},
            {name: value for name, value in after.items() if value is not None},
        )

    def preprocess(self, image: str | Image.Image, timeout: float | None = None) -> dict[str, Any]:
        """One picture, decoded, and as the network's input."""
        picture = load_image(image, timeout=timeout)
        pixel_values = self.image_processor(picture, return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixel_values.to(self.dtype), "picture": picture}

    def _forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {**self.model(pixel_values=inputs["pixel_values"]), "picture": inputs["picture"]}

    def postprocess(
        self, output: dict[str, Any], gate: bool = True, maps: str | None = None
    ) -> dict[str, Any]:
        """The answer for one slice."""
        config, grey = self.model.config, to_grey(output["picture"])
        reason = self._why_refused(output, grey) if gate else None
        answer = dict.fromkeys(("label", "covid_probability", "lesions"))
        answer |= {"decision": "refused", "reason": reason, "threshold": config.threshold}
        if reason is None:
            (probabilities,) = self.image_processor.post_process_slices(output)
            covid = probabilities["covid_probability"]
            answer |= probabilities
            answer["label"], answer["decision"] = decide(covid, config.threshold, config.indeterminate_band)
        if maps is not None:
            seen = None if reason else output.get("class_activation_maps")
            box = None if seen is None else self.image_processor.field_of_view(grey)
            answer["box"] = box and tuple(map(float, box))
            answer["maps"] = None if seen is None else _maps(seen[0].float().numpy(), grey, box, maps)
        return answer

    def _why_refused(self, output: dict[str, Any], grey: Image.Image) -> str | None:
        reason = why_blank(grey) or why_unlike_ct(output["picture"], grey)
        if reason or self.model.config.max_distance is None:
            return reason
        distance, limit, has_lungs = self._place(output, grey)
        if distance <= limit:
            return None
        inverse = ImageOps.invert(grey)
        inverse_distance, inverse_limit, _ = self._place(self.forward(self.preprocess(inverse)), inverse)
        return why_far(
            distance, limit, has_lungs=has_lungs, inverse_is_near=inverse_distance <= inverse_limit
        )

    def _place(self, output: dict[str, Any], grey: Image.Image) -> tuple[float, float, bool]:
        """How far a picture lies from slices, how far it may, and whether it has lungs."""
        has_lungs = self.image_processor.has_lungs(grey)
        return output["distance"].item(), limit_of(self.model.config.max_distance, has_lungs), has_lungs


def _maps(seen: np.ndarray, grey: Image.Image, box, kind: str) -> dict[str, np.ndarray | Image.Image]:
    by_name = dict(zip((CLASSES[1], *LESIONS), seen, strict=True))
    if kind == "arrays":
        return by_name
    return {name: overlay(grey, activation_map, box) for name, activation_map in by_name.items()}


# Here and not by whoever imports it: loaded by remote code too, it then carries its source along when
# it is saved or pushed again.
PIPELINE_REGISTRY.register_pipeline(TASK, LaDnnPipeline, AutoModelForImageClassification, type="image")

"""LA-DNN as a `PreTrainedModel`: a timm backbone, pooling, one linear layer with six outputs."""

from dataclasses import dataclass
from typing import ClassVar

import timm
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from .configuration_ladnn import LaDnnConfig
from .labels import LESIONS
from .loss_ladnn import joint_loss

RANK = 32
"""Most directions of a `FeatureDistance` with a variance of their own."""
_STAGES = 5
"""Stages of a backbone, from its last, of which all but the last are watched for the distance."""


@dataclass
class LaDnnOutput(ModelOutput):
    """What `LaDnnForImageClassification` answers for N slices.

    Args:
        loss: Scalar joint loss, when labels were given.
        logits: (N, 2), NonCOVID and COVID; their softmax is the calibrated probability.
        lesion_logits: (N, 5) in the order of `LESIONS`; the sigmoid of each is its probability.
        class_activation_maps: (N, 6, h, w), COVID and the five lesions on the backbone's last grid,
            in logits: the mean of a map over h and w is its output before the temperature, exactly
            for a backbone that ends in average pooling. None where the backbone has no such grid.
        distance: (N,), how far each slice's features lie from those of the training slices, 0 or above;
            1 is the gate's limit where lungs are found; see `FeatureDistance` and `picture_checks`.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    lesion_logits: Tensor | None = None
    class_activation_maps: Tensor | None = None
    distance: Tensor | None = None


def create_backbone(config: LaDnnConfig, pretrained: bool = False) -> nn.Module:
    """The timm model that a configuration names, without its classifier.

    Args:
        config: Gives name, channels, and the image size where the architecture depends on it.
        pretrained: Load timm's weights from the Hub.
    """
    cfg = timm.models.get_pretrained_cfg(config.backbone)
    sized = {"img_size": config.image_size} if cfg is not None and cfg.fixed_input_size else {}
    return timm.create_model(
        config.backbone, pretrained=pretrained, in_chans=config.num_channels, num_classes=0, **sized
    )


class FeatureDistance(nn.Module):
    """How far features lie from those of the training slices, in units of the gate's limit.

    Gaussians are fitted by `fit_gate`: on the features of each source's training slices, of all together
    where there are several, and of the same slices changed into what they are not. The distance is the larger
    of two, each scaled to be 1 at its own limit: the Mahalanobis distance from the nearest Gaussian of
    slices, which tells photographs, and the relative one (Ren et al., "A simple fix to Mahalanobis distance
    for improving near-OOD detection", arXiv 2106.09022), which tells CT of other parts. It is 0 for all until
    the Gaussians are fitted.

    The covariances are those of probabilistic PCA (Tipping & Bishop, Journal of the Royal Statistical Society
    B, 1999): a few directions have a variance of their own, all others share one.

    Args:
        channels: C, the number of features.
        sources: S, how many Gaussians are of slices; one more, the last, is of changed slices.
    """

    def __init__(self, channels: int, sources: int = 1):
        super().__init__()
        self.register_buffer("mean", torch.empty(sources + 1, channels))
        self.register_buffer("scale", torch.empty(sources + 1, channels))
        self.register_buffer("directions", torch.empty(sources + 1, RANK, channels))
        self.register_buffer("gain", torch.empty(2))
        self.register_buffer("offset", torch.empty(2))
        self.reset()

    def reset(self) -> None:
        """Make every distance 0."""
        for buffer in self.buffers():
            nn.init.zeros_(buffer)

    def scores(self, features: Tensor) -> Tensor:
        """(N, 2) of features (N, C): distance from slices, and squared less that from changed ones."""
        scaled = (features.unsqueeze(1) - self.mean) * self.scale
        along = torch.einsum("ngc,gkc->ngk", scaled, self.directions)
        squared = (scaled.square().sum(dim=2) - along.square().sum(dim=2)) / scaled.shape[2]
        nearest, changed = squared[:, :-1].amin(dim=1), squared[:, -1]
        return torch.stack([nearest.clamp(min=0).sqrt(), nearest - changed], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Distances (N,), 0 or above, of features (N, C)."""
        return (self.scores(features) * self.gain + self.offset).amax(dim=1).clamp(min=0)


class LaDnnForImageClassification(PreTrainedModel):
    """Lesion-attention deep neural network for COVID-19 diagnosis from one chest CT slice.

    Liu et al., "Online COVID-19 diagnosis with chest CT images: Lesion-attention deep neural
    networks", medRxiv 10.1101/2020.05.11.20097907. One backbone, global pooling and one linear layer
    with six outputs: COVID, and the five lesions that radiology reports name, whose labels teach the
    backbone where to look. For research and teaching, never for diagnosing a patient.

    Raises:
        ValueError: `config.backbone` is not a classification model that timm knows.
    """

    config_class = LaDnnConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    # Models that were saved before there was a gate, or never had one, refuse nothing.
    _keys_to_ignore_on_load_missing: ClassVar[list[str]] = [r"slice_distance\."]

    def __init__(self, config: LaDnnConfig):
        super().__init__(config)
        try:
            self.backbone = create_backbone(config)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ValueError(
                f"LaDnnConfig.backbone expects the name of a timm image classification model, found "
                f"{config.backbone!r} ({error}); `timm.list_models()` lists them."
            ) from error
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.backbone.head_hidden_size, 1 + len(LESIONS))
        stages = self.backbone.feature_info[-_STAGES:]
        channels = sum(stage["num_chs"] for stage in stages[:-1])
        self.slice_distance = FeatureDistance(channels, config.gate_sources)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the linear layer; the backbone keeps what timm gave it or what was loaded."""
        if module is self.classifier:
            nn.init.zeros_(module.bias)
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, FeatureDistance):
            module.reset()
        elif hasattr(module, "init_non_persistent_buffers"):
            # `from_pretrained` builds on the meta device and a checkpoint does not hold these.
            module.init_non_persistent_buffers()

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        lesion_labels: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> LaDnnOutput | tuple[Tensor, ...]:
        """Classify slices, and score them against labels if there are any.

        Args:
            pixel_values: (N, C, H, W), normalised by `LaDnnImageProcessor`.
            labels: (N,), 0 NonCOVID, 1 COVID.
            lesion_labels: (N, 5), 0, 1 or NaN for no label; or None. Counts only beside `labels`.
            return_dict: False for a plain tuple.

        Returns:
            `LaDnnOutput`.

        Raises:
            ValueError: There are other channels than `config.num_channels`, or labels do not have the shape
                of the logits.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.config.num_channels:
            raise ValueError(
                f"Expected pixel_values of shape (N, {self.config.num_channels}, H, W), found "
                f"{tuple(pixel_values.shape)}; make them with LaDnnImageProcessor."
            )
        indices = min(_STAGES, len(self.backbone.feature_info))
        features, stages = self.backbone.forward_intermediates(pixel_values, indices=indices)
        pooled = self.dropout(self.backbone.forward_head(features, pre_logits=True))
        outputs = self.classifier(pooled)
        covid_logits = outputs[:, 0] / self.config.temperature
        lesion_logits = outputs[:, 1:]
        # Softmax of (-z/2, z/2) is the sigmoid of z: an ordinary two-class head to pipeline and Trainer.
        logits = torch.stack([-covid_logits / 2, covid_logits / 2], dim=1)
        loss = None
        if labels is not None:
            loss = joint_loss(
                covid_logits, lesion_logits, labels, lesion_labels, self.config.covid_loss_weight
            )
        # The last stage knows the classes alone; those before it see texture, by which other pictures differ.
        texture = torch.cat([stage.detach().mean(dim=(2, 3)) for stage in stages[:-1]], dim=1)
        distance = self.slice_distance(texture)
        output = LaDnnOutput(loss, logits, lesion_logits, self._activation_maps(features), distance)
        return output.to_tuple() if return_dict is False else output

    def _activation_maps(self, features: Tensor) -> Tensor | None:
        """The linear layer applied at every place of the last grid (Zhou et al., CVPR 2016)."""
        if features.ndim != 4:
            return None
        if features.shape[1] != self.classifier.in_features:
            features = features.permute(0, 3, 1, 2)  # some backbones keep their channels last
            if features.shape[1] != self.classifier.in_features:
                return None
        maps = torch.einsum("nchw,kc->nkhw", features, self.classifier.weight)
        return maps + self.classifier.bias.view(1, -1, 1, 1)

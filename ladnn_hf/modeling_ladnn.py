"""LA-DNN as a `PreTrainedModel`: a timm backbone, pooling, one linear layer with six outputs."""

from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from .configuration_ladnn import LaDnnConfig
from .labels import LESIONS
from .loss_ladnn import joint_loss


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
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    lesion_logits: Tensor | None = None
    class_activation_maps: Tensor | None = None


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
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the linear layer; the backbone keeps what timm gave it or what was loaded."""
        if module is self.classifier:
            nn.init.zeros_(module.bias)
            nn.init.normal_(module.weight, std=0.01)
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
            ValueError: Labels do not have the shape of the logits.
        """
        features = self.backbone.forward_features(pixel_values)
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
        output = LaDnnOutput(loss, logits, lesion_logits, self._activation_maps(features))
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

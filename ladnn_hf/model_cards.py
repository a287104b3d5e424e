"""The card of a model: fixed facts of `model_card/`, and what training and evaluation measured."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from . import __version__
from .configuration_ladnn import LaDnnConfig
from .evaluation import to_body
from .image_processing_ladnn import LaDnnImageProcessor
from .labels import CLASSES, LESION_NAMES
from .model_folder import read_report, read_training, weights_sha256
from .picture_checks import limit_of
from .rendering import render
from .resources import model_card_folder
from .slice_dataset import SPLITS

_METRICS = {
    "auc": "roc_auc",
    "accuracy": "accuracy",
    "sensitivity": "recall",
    "precision": "precision",
    "f1": "f1",
}
"""Numbers of a report that go to the model's index, and the Hub's names of their metrics."""


def stored_facts(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The reports and training facts that a model folder holds, for its card.

    Raises:
        ValueError: The report is of other weights than those in the folder, or of an older version.
    """
    stored = read_report(folder)
    reports = [stored] if "split" in stored else [stored[name] for name in SPLITS[::-1] if name in stored]
    if not all(isinstance(report, dict) and "weights_sha256" in report for report in reports):
        raise ValueError(
            f"{folder / 'report.json'}: expected what `ladnn evaluate` writes, found something else; run it "
            "again or remove the file."
        )
    digest = weights_sha256(folder)
    if any(report["weights_sha256"] != digest for report in reports):
        raise ValueError(
            f"{folder / 'report.json'}: expected a report of the weights beside it, found one of others; "
            "run `ladnn evaluate` again or remove it."
        )
    if any("ece_by_chance" not in report for report in reports):  # the youngest of what a card tells
        raise ValueError(
            f"{folder / 'report.json'}: expected what `ladnn evaluate` writes, found what an earlier version "
            "wrote; run it again or remove the file."
        )
    return reports, read_training(folder)


def model_card(
    config: LaDnnConfig,
    processor: LaDnnImageProcessor,
    reports: Sequence[Mapping[str, Any]] = (),
    training: Mapping[str, Any] | None = None,
    repo_id: str | None = None,
    *,
    parameters: int,
    figures: Mapping[str, str] | None = None,
) -> str:
    """The card of a model, with its scores as text and as the `model-index` that the Hub reads.

    Args:
        config: The model's.
        processor: The model's.
        reports: What `evaluation.evaluate` says of it, one a split; none for a model not evaluated.
        training: The `metrics.json` that training wrote, where it is there.
        repo_id: Where the model goes, if that is known.
        parameters: How many the network has.
        figures: Those that lie beside the card, by file name, and what they show of the first report.

    Raises:
        ValueError: Facts are missing in a report or in `training`, or the card's metadata are not what the
            Hub accepts.
    """
    try:
        return _rendered(config, processor, reports, training, repo_id, parameters, figures or {})
    except (LookupError, TypeError, AttributeError, jinja2.UndefinedError) as error:
        raise ValueError(
            "expected report.json and metrics.json as `ladnn evaluate` and `ladnn train` write them, found "
            f"them without all that a card says ({error}); run these again or remove the files."
        ) from error


def _rendered(
    config: LaDnnConfig,
    processor: LaDnnImageProcessor,
    reports: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any] | None,
    repo_id: str | None,
    parameters: int,
    figures: Mapping[str, str],
) -> str:
    folder = model_card_folder()
    facts = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    runs = list(_with_teachers(training)) if training else []
    seconds, cores = ([run.get(name) for run in runs] for name in ("train_seconds", "cores"))
    hours = 0 if None in seconds else sum(seconds) / 3600
    energy = hours * cores[0] * facts["watts_a_core"] / 1000 if len(set(cores)) == 1 and cores[0] else None
    card = render(
        folder,
        "model_card.md.jinja",
        metadata=_model_metadata(config, reports, training, facts, energy).to_yaml(),
        config=config,
        limits=_limits(config),
        processor=processor,
        repo_id=repo_id,
        parameters=parameters,
        classes=CLASSES,
        lesion_names=LESION_NAMES,
        version=__version__,
        facts=facts,
        reports=reports,
        bodies=[to_body(report) for report in reports],
        figures=figures,
        training=training,
        teachers=runs[1:],
        learned=(training or {}).get("trained_on", []),
        hours=hours,
        energy=energy,
    )
    ModelCard(card)  # parses what it holds, or says why not
    return card


def _with_teachers(training: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What training wrote, and what was written of the teachers, theirs included."""
    yield training
    for teacher in training.get("taught_by", ()):
        yield from _with_teachers(teacher)


def _limits(config: LaDnnConfig) -> list[str]:
    """Of the distance, with lungs found and without; none where it was not fitted."""
    if config.max_distance is None:
        return []
    return [f"{limit_of(config.max_distance, has_lungs):.3g}" for has_lungs in (True, False)]


def _model_metadata(
    config: LaDnnConfig,
    reports: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
    energy: float | None,
) -> ModelCardData:
    datasets = sorted({report["dataset"] for report in reports} | set((training or {}).get("trained_on", ())))
    return ModelCardData(
        language=[facts["language"]],
        license="other",
        license_name=facts["licence_name"],
        license_link=facts["licence_link"] if "covid_ct" in datasets else None,
        library_name="transformers",
        pipeline_tag="image-classification",
        base_model=facts["base_models"].get(config.backbone),
        datasets=datasets or None,
        metrics=sorted(set(_METRICS.values())) if reports else None,
        tags=["medical", "radiology", "ct", "chest-ct", "covid-19", "timm"],
        co2_eq_emissions=_emissions(energy, facts, training) if energy else None,
        model_name="LA-DNN",
        eval_results=[result for report in reports for result in _results(report)] or None,
    )


def _emissions(energy: float, facts: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Of the training alone, in the Hub's words; `energy` is in kWh."""
    return {
        "emissions": round(energy * facts["grams_a_kwh"], 1),  # grams
        "source": f"{facts['watts_a_core']} W a core, the world's mean of {facts['grams_a_kwh']} g a kWh",
        "training_type": "fine-tuning",
        "hardware_used": f"{training['device']}, {training['cores']} cores",
    }


def _results(report: Mapping[str, Any]) -> Iterator[EvalResult]:
    measured = {"auc": report["probabilities"]["auc"], **report["at_threshold"]}
    for name, metric in _METRICS.items():
        value = measured[name][0]
        if value is not None and value == value:  # neither null nor NaN
            yield EvalResult(
                task_type="image-classification",
                dataset_type=report["dataset"],
                dataset_name=report["dataset"],
                dataset_split=report["split"],
                metric_type=metric,
                metric_name=name,
                metric_value=round(value, 4),
            )

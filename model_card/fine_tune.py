# %% [markdown]
# # Fine-tune LA-DNN on slices of your own
#
# From a folder of images to a model of yours on the Hub, with transformers alone:
# `pip install transformers torch torchvision timm accelerate datasets`, and `hf auth login` to push.
# **For research and teaching, never for diagnosing a patient.**
#
# The folder holds chest CT slices as pictures in the lung window, in `train/COVID`, `train/NonCOVID`,
# `validation/COVID` and `validation/NonCOVID`. No patient may be in both splits: neighbouring slices are so
# alike that the scores would be those of slices learned by heart.

# %%
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import load_dataset
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from transformers import HfArgumentParser, Trainer, TrainingArguments, pipeline

# %% [markdown]
# ## Settings
#
# Change them here, or run this as a script, whose flags they are:
# `python fine_tune.py --slices my_slices --push_to OWNER/mine`.


# %%
@dataclass
class Settings:
    """What to start from, what to learn, and where the model goes."""

    slices: str = field(default="my_slices", metadata={"help": "folder of train and validation"})
    model: str = field(default="OWNER/NAME", metadata={"help": "what to start from, on the Hub or a folder"})
    revision: str = field(
        default="main", metadata={"help": "tag or commit of it; its code runs here: read it"}
    )
    output: str = field(default="fine_tuned", metadata={"help": "folder for the model"})
    push_to: str = field(default="", metadata={"help": "a private repository of yours; none: no push"})
    epochs: float = 5
    learning_rate: float = 1e-4
    batch_size: int = 16
    seed: int = 42


flags = sys.argv[1:] if "__file__" in globals() else []  # a notebook has none
(settings,) = HfArgumentParser(Settings).parse_args_into_dataclasses(flags)
if settings.model.startswith("OWNER/"):
    raise ValueError(
        f"model: expected what to start from, found the placeholder {settings.model}; name a model on the "
        "Hub, or a folder that `ladnn export --format hf` wrote."
    )


# %% [markdown]
# ## The model
#
# One pipeline brings the network, its image processor and their source, and carries all of them along when it
# is saved. (`AutoModelForImageClassification` and `AutoImageProcessor` load one each.)

# %%
answer = pipeline(
    "chest-ct-classification", model=settings.model, revision=settings.revision, trust_remote_code=True
)
model, processor = answer.model, answer.image_processor

# %% [markdown]
# ## The slices
#
# The image processor makes them grey, crops them to the lungs where the model was trained so, and scales
# them. The folders' names are the labels.

# %%
slices = load_dataset("imagefolder", data_dir=settings.slices)
names = slices["train"].features["label"].names
if set(names) != set(model.config.label2id) or "validation" not in slices:
    raise ValueError(
        f"{settings.slices}: expected train and validation with the folders COVID and NonCOVID in each, "
        f"found {sorted(slices)} with {names}; name them so."
    )
print({split: len(rows) for split, rows in slices.items()})


# %%
def collate(rows):
    """Rows of the folder as a batch: `pixel_values` (N, C, H, W) and `labels` (N,)."""
    batch = processor([row["image"] for row in rows], return_tensors="pt")
    batch["labels"] = torch.tensor([model.config.label2id[names[row["label"]]] for row in rows])
    return batch


# %% [markdown]
# ## Training
#
# Without lesion labels the diagnosis alone is learned. With a column of five numbers, 0, 1 or NaN, put them
# into the batch as `lesion_labels`, and name both in `label_names`.

# %%
trainer = Trainer(
    model,
    TrainingArguments(
        settings.output,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        seed=settings.seed,
        eval_strategy="epoch",
        save_strategy="no",
        label_names=["labels"],  # else it waits for lesion labels, too, and does not evaluate
        remove_unused_columns=False,  # `image` becomes `pixel_values` in `collate`
        report_to="none",
    ),
    train_dataset=slices["train"],
    eval_dataset=slices["validation"],
    data_collator=collate,
)
trainer.train()

# %% [markdown]
# ## The operating point
#
# Nine in ten COVID-19 slices of the validation split shall lie above the threshold. The band of answers that
# are indeterminate and the gate, which refuses what is no slice, were fitted to the weights of before;
# `ladnn train` fits them anew.

# %%
result = trainer.predict(slices["validation"])
covid = torch.tensor(result.predictions[0]).softmax(dim=1)[:, 1].numpy()
ill, healthy = covid[result.label_ids == 1], covid[result.label_ids == 0]
above = ill[:, None] - healthy[None, :]
auc = float(np.mean(above > 0) + np.mean(above == 0) / 2)
model.config.threshold = float(np.clip(np.quantile(ill, 0.1), 1e-6, 1 - 1e-6))
model.config.indeterminate_band = model.config.max_distance = None
print(f"AUC on validation {auc:.3f}, threshold {model.config.threshold:.3f}")

# %% [markdown]
# ## Saving and pushing
#
# One commit to a private repository, with a card that says what was done. Scores of the split on which the
# threshold was chosen flatter: measure on slices that nothing was chosen on before you tell anybody.

# %%
folder = Path(settings.output) / "model"
name = settings.push_to or str(folder)
base = None if Path(settings.model).is_dir() else settings.model
metadata = ModelCardData(
    library_name="transformers",
    pipeline_tag="image-classification",
    base_model=base,
    license="other",
    license_name="research-only",
    tags=["medical", "radiology", "ct", "chest-ct", "covid-19"],
    model_name=name,
    eval_results=[
        EvalResult(
            task_type="image-classification",
            dataset_type="imagefolder",
            dataset_name=Path(settings.slices).name,
            dataset_split="validation",
            metric_type="roc_auc",
            metric_value=round(auc, 4),
        )
    ],
)
card = ModelCard(f"""---
{metadata.to_yaml()}
---

# {name}

LA-DNN (Liu et al., medRxiv 2020.05.11.20097907), fine-tuned from `{base or Path(settings.model).name}` on
{len(slices["train"])} chest CT slices: the probability that a slice shows COVID-19.
**For research and teaching, never for diagnosing a patient.**

```python
from transformers import pipeline

answer = pipeline("chest-ct-classification", model="{name}", trust_remote_code=True)
answer("slice.png")
```

AUC {auc:.3f} on {len(covid)} validation slices, on which the threshold, {model.config.threshold:.3f}, was
chosen, too. Lesions were not learned anew, no picture is refused for being unlike what was learned, and the
probability was not calibrated.
""")
answer.save_pretrained(folder)
card.save(folder / "README.md")
print(answer(slices["validation"][0]["image"])["decision"], folder)

# %%
if settings.push_to:
    api = HfApi()
    api.create_repo(settings.push_to, private=True, exist_ok=True)
    commit = api.upload_folder(
        repo_id=settings.push_to, folder_path=folder, commit_message="Fine-tune LA-DNN"
    )
    print(commit.commit_url)

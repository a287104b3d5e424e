"""The tab where visitors contribute slices, and take them back."""

import html
from dataclasses import replace
from pathlib import Path

import gradio as gr
from answer_html import VIEWS, read_html, view_html
from api import NETWORK, QUICK
from texts import I18N, failure, language_of, reason_in, text

from ladnn_hf import CLASSES, LESION_NAMES, Predictor
from ladnn_hf.contribution_form import LONGEST_LINE, LONGEST_REPORT
from ladnn_hf.contribution_sync import HubSync
from ladnn_hf.contributions import ContributionStore, Receipt, StoreUnavailable


class Collection:
    """Where contributions go.

    Args:
        folder: On this machine's disk.
        repo_id: A private data set on the Hub that is kept as the folder is; None for none.
        lasting: Whether the disk outlives this program. Where it does not, as on a Space without a volume, a
            contribution is acknowledged only once the Hub has it.

    Raises:
        ValueError: The repository cannot be used, or nothing that lasts is named.
        StoreUnavailable: The folder cannot be used.
    """

    def __init__(self, folder: Path, repo_id: str | None = None, lasting: bool = True):
        if not (lasting or repo_id):
            raise ValueError(
                "expected LADNN_COLLECTION, a data set on the Hub, where this machine's disk does not last, "
                "found none; set it, attach a disk and set LADNN_LASTING=1, or leave out LADNN_CONTRIBUTIONS."
            )
        self.store = ContributionStore(folder)
        self.sync = HubSync(self.store, repo_id) if repo_id else None
        self.lasting = lasting
        if self.sync:
            self.sync.start()

    def add(self, *args, **kwargs) -> Receipt:
        """As `ContributionStore.add`; when it returns the contribution is where it lasts."""
        receipt = self.store.add(*args, **kwargs)
        return receipt if self.lasting else self.sync.confirm(receipt)

    def withdraw(self, receipt: str) -> None:
        """As `ContributionStore.withdraw`; when it returns the contribution is gone from where it lasts."""
        (self.store if self.lasting else self.sync).withdraw(receipt)

    def said_of_withdrawal(self, language: str) -> str:
        """What has become of a contribution that was withdrawn, in words."""
        keys = ["withdrawn"]
        if self.sync:
            keys += ["withdrawn_later"] * self.lasting + ["withdrawn_history"]
        return " ".join(text(key, language) for key in keys)

    def said(self, language: str) -> str:
        """Where contributions are kept, in words."""
        places = [key for key, used in (("here", self.lasting), ("on_hub", self.sync)) if used]
        return " ".join(text(f"kept_{place}", language) for place in places)


def build(page: gr.Blocks, predictor: Predictor, collection: Collection | None) -> None:
    """Add the tab's components and events to a page.

    Args:
        page: Where to.
        predictor: Its gate says what is a slice.
        collection: Where contributions go; None where none are taken.
    """
    if collection is None:
        off = gr.HTML(elem_id="contribute-off", apply_default_css=False)

        def say_off(request: gr.Request) -> str:
            return f"<p>{text('collection_off', language_of(request))}</p>"

        page.load(say_off, None, off, **QUICK)
        return
    intro = gr.HTML(elem_id="contribute-intro", apply_default_css=False)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            given = gr.File(label=I18N("slice_file"), elem_id="contribute-file", height=180)
            all_kept = gr.HTML(elem_id="contribute-view", apply_default_css=False)
            label = gr.Radio(list(CLASSES[::-1]), label=I18N("contribute_label"), elem_id="label")
            lesions = gr.CheckboxGroup(
                list(LESION_NAMES), label=I18N("contribute_lesions"), elem_id="lesions"
            )
            report = gr.Textbox(
                label=I18N("contribute_report"), lines=3, max_length=LONGEST_REPORT, elem_id="report"
            )
            source = gr.Textbox(label=I18N("contribute_source"), max_length=LONGEST_LINE, elem_id="source")
            consent = gr.Checkbox(label=I18N("consent"), elem_id="consent")
            send = gr.Button(I18N("contribute_send"), variant="primary", elem_id="send")
            thanks = gr.HTML(elem_id="thanks", apply_default_css=False)
        with gr.Column(min_width=320):
            back = gr.HTML(elem_id="withdraw-intro", apply_default_css=False)
            receipt = gr.Textbox(label=I18N("receipt"), elem_id="receipt")
            withdraw = gr.Button(I18N("withdraw"), elem_id="withdraw")
            withdrawn = gr.HTML(elem_id="withdrawn", apply_default_css=False)

    def look(path: str | None, request: gr.Request) -> str:
        """What would be kept, so that a name that is burned in is seen before it is given."""
        if path is None:
            return ""
        language = language_of(request)
        prediction = predictor(path)
        if prediction.decision == "refused":
            return f"<p>{html.escape(reason_in(prediction.reason, language))}</p>"
        shown = view_html(replace(prediction, maps=None), language, VIEWS[0], 0)
        return f"{shown}<p>{text('all_that_is_kept', language)}</p>{read_html(prediction, language)}"

    def contribute(path, label, lesions, report, source, consent, request: gr.Request) -> tuple:
        language = language_of(request)
        if path is None:
            raise failure(text("no_files", language), language)
        if label is None:
            raise failure(text("no_label", language), language)
        if not consent:
            raise failure(text("no_consent", language), language)
        prediction = predictor(path)
        if prediction.decision == "refused":
            raise failure(reason_in(prediction.reason, language), language)
        seen = {name: name in lesions for name in LESION_NAMES} if lesions else None
        try:
            kept = collection.add(
                prediction.slice.grey, label=label, lesions=seen, report=report or "", source=source or ""
            )
        except (ValueError, StoreUnavailable) as error:
            raise failure(reason_in(str(error), language), language) from error
        thanks = text("contribute_thanks", language, receipt=f"<code>{kept.code}</code>")
        # The next slice is asked for anew, its consent above all.
        return f"<p role='status'>{thanks}</p>", None, None, [], "", "", False

    def take_back(receipt: str, request: gr.Request) -> tuple[str, str]:
        language = language_of(request)
        try:
            collection.withdraw((receipt or "").strip())
        except (ValueError, StoreUnavailable) as error:
            raise failure(reason_in(str(error), language), language) from error
        return f"<p role='status'>{collection.said_of_withdrawal(language)}</p>", ""

    fields = [given, label, lesions, report, source, consent]
    given.change(look, given, all_kept, api_visibility="private", **NETWORK)
    send.click(
        contribute,
        fields,
        [thanks, *fields],
        api_visibility="private",
        **NETWORK,
    )
    withdraw.click(take_back, receipt, [withdrawn, receipt], api_visibility="private")

    def localise(request: gr.Request):
        language = language_of(request)
        names = [(text(f"lesion_{name}", language), name) for name in LESION_NAMES]
        classes = [(text(f"label_{name}", language), name) for name in CLASSES[::-1]]
        said = f"<p>{text('contribute_intro', language)}</p><p>{collection.said(language)}</p>"
        taken = f"<p>{text('withdraw_intro', language)}</p>"
        return said, taken, gr.update(choices=names), gr.update(choices=classes)

    page.load(localise, None, [intro, back, lesions, label], **QUICK)

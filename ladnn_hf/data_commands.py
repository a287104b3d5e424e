"""The commands `ladnn data ...`: arguments only; what they do lives in the modules they call."""

import argparse
import sys
from pathlib import Path

from .command_parsers import add_command, add_new_folder, remarks
from .contribution_commands import add_contributions
from .push_commands import say_commit


def add_data(commands) -> None:
    """Add `data` and its own commands to what `add_subparsers` gave."""
    data = commands.add_parser("data", help="make data sets", description="Make slice data sets.")
    data_commands = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    build = add_command(
        data_commands,
        "build",
        _data_build,
        "build COVID-CT",
        "Build COVID-CT, 425 train, 118 validation and 203 test slices, from the folders that its authors "
        "publish (zips or plain folders) and LA-DNN's lesion labels.",
        "example: ladnn data build --covid-ct COVID-CT --la-dnn LA-DNN --output covid_ct",
    )
    build.add_argument(
        "--covid-ct", type=Path, required=True, metavar="DIR", help="a copy of UCSD-AI4H/COVID-CT"
    )
    build.add_argument(
        "--la-dnn", type=Path, metavar="DIR", help="a copy of LA-DNN's repository, for lesions"
    )
    build.add_argument(
        "--new-data",
        choices=("none", "split", "train"),
        default="none",
        help="the later images of LA-DNN's New_data: leave them out (default), make them the split new, or "
        "add them to train",
    )
    _add_lesions_from(build, "LA-DNN's tables")
    add_new_folder(build)

    from_folder = add_command(
        data_commands,
        "from-folder",
        _data_from_folder,
        "make a data set of your own slices",
        "Make a slice data set of a folder of your own. It holds the class folders COVID and NonCOVID, or a "
        "metadata.csv with the columns file_name and label (COVID or NonCOVID, 1 or 0) and, as known, "
        "patient_id, GGO, Csld, CrPa, AirBr, InSepThi (1 or 0; all five empty for no label), caption and "
        "source. Or it holds train, validation and test, each such a folder, which are kept as they are. "
        "Slices are pictures, kept as they are packed, or DICOM, which becomes PNG in the lung window.",
        "example: ladnn data from-folder my_slices --split 0.7,0.15,0.15 --output my_dataset",
    )
    from_folder.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of slices")
    from_folder.add_argument(
        "--split",
        type=_fractions,
        metavar="TRAIN,VALIDATION,TEST",
        help="parts to split into, such as 0.7,0.15,0.15, with no patient in two of them; a slice without "
        "patient_id counts as a patient of its own (default: all slices go to train)",
    )
    from_folder.add_argument("--seed", type=int, default=42, help="decides who goes where (default: 42)")
    from_folder.add_argument(
        "--alike-together",
        action="store_true",
        help="keep near duplicates without patient_id, such as neighbours in one scan, in one split",
    )
    _add_lesions_from(from_folder, "the columns of metadata.csv")
    add_new_folder(from_folder)

    audit = add_command(
        data_commands,
        "audit",
        _data_audit,
        "find what is wrong with a data set",
        "Find what is wrong with a slice data set: the same image twice, a scan, patient or paper in two "
        "splits, captions that contradict the label, labels that the file alone predicts, what is too rare "
        "to be measured, and images that are no slices. Exit status: 0 no leak between splits, 1 a leak.",
        "It writes audit.json, audit.md and audit.html; the page holds images of the data set. "
        "Example: ladnn data audit covid_ct --output audit --exclude",
    )
    _add_dataset(audit)
    add_new_folder(audit)
    audit.add_argument(
        "--exclude",
        action="store_true",
        help="also write the data set without the slices that are proved wrong (cleaned) and the table of "
        "those with the reasons (excluded.csv)",
    )

    labels = add_command(
        data_commands,
        "labels",
        _data_labels,
        "compare lesion labels with the captions",
        "Read the lesions off the captions of a data set by rules, compare with its lesion labels, and print "
        "F1 by split and lesion, then every disagreement with its caption.",
        "example: ladnn data labels covid_ct",
    )
    _add_dataset(labels)

    push = add_command(
        data_commands,
        "push",
        _data_push,
        "push a data set to the Hub",
        "Push a data set to the Hugging Face Hub, in one commit: Parquet with the images inside, and a card "
        "with counts, provenance, known faults, licence and citation. `datasets.load_dataset` gives it back, "
        "without a script. Each file is listed as new, changed, same or removed. The repository is made "
        "private if it is not there; nothing goes to a public one unless you say that you may share the "
        "images.",
        "example: ladnn data push covid_ct OWNER/covid_ct --audit audit/audit.json",
    )
    _add_dataset(push)
    push.add_argument("repo_id", metavar="REPO_ID", help="the data set's name on the Hub, OWNER/NAME")
    push.add_argument(
        "--audit",
        type=Path,
        metavar="FILE",
        help="audit.json that `ladnn data audit` wrote of it; the card counts its findings, no slice named",
    )
    push.add_argument(
        "--public-i-may-share-the-images",
        action="store_true",
        dest="public",
        help="make it public; you say by this that the images are yours or that their licence allows it",
    )
    push.add_argument("--dry-run", action="store_true", help="list what would go, and send nothing")
    add_contributions(data_commands)


def _add_lesions_from(parser: argparse.ArgumentParser, tables: str) -> None:
    parser.add_argument(
        "--lesions-from",
        choices=("tables", "reports"),
        default="tables",
        help=f"take lesion labels from {tables} (default) or read them from the captions",
    )


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", metavar="DATASET", help="folder that `ladnn data build` or `from-folder` wrote"
    )


def _fractions(text: str) -> tuple[float, ...]:
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    parts = len(fractions) == 3 and fractions[0] > 0 and all(0 <= part <= 1 for part in fractions)
    if not parts or abs(sum(fractions) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(
            "expected three parts that sum to 1, the first above 0, such as 0.7,0.15,0.15, found "
            f"{text!r}; correct them."
        )
    return fractions


def _data_build(arguments: argparse.Namespace, _: list[str]) -> int:
    from .covid_ct import build_covid_ct

    if arguments.new_data != "none" and arguments.la_dnn is None:
        print(
            "ladnn data build: expected --la-dnn beside --new-data, found none; name LA-DNN's folder, which "
            "holds New_data.",
            file=sys.stderr,
        )
        return 2
    with remarks():
        slices = build_covid_ct(
            arguments.covid_ct,
            arguments.la_dnn,
            output=arguments.output,
            new_data=arguments.new_data,
            lesions_from=arguments.lesions_from,
        )
    return _say_splits(arguments.output, slices)


def _data_from_folder(arguments: argparse.Namespace, _: list[str]) -> int:
    from .from_folder import build_from_folder

    with remarks():
        slices = build_from_folder(
            arguments.folder,
            output=arguments.output,
            fractions=arguments.split,
            seed=arguments.seed,
            alike_together=arguments.alike_together,
            lesions_from=arguments.lesions_from,
        )
    return _say_splits(arguments.output, slices)


def _say_splits(output: Path, slices) -> int:
    print(f"{output}: " + ", ".join(f"{len(rows)} {name}" for name, rows in slices.items()))
    return 0


def _data_labels(arguments: argparse.Namespace, _: list[str]) -> int:
    from .label_agreement import compare_labels, to_markdown
    from .slice_dataset import load_slices

    print(to_markdown(compare_labels(load_slices(arguments.dataset))), end="")
    return 0


def _data_audit(arguments: argparse.Namespace, _: list[str]) -> int:
    from .audit import audit, facts
    from .audit_report import write_audit, write_cleaned
    from .slice_dataset import check_output, load_slices

    check_output(arguments.output)
    slices = load_slices(arguments.dataset)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = audit(slices, Path(arguments.dataset).name, arguments.output.parent)
    write_audit(report, slices, arguments.output)
    for finding in facts(report)["findings"]:
        leak = " Leak." if finding["leak"] else ""
        print(f"{finding['title']}: {finding['findings']} findings, {finding['slices']} slices.{leak}")
    if arguments.exclude:
        lost = write_cleaned(report, slices, arguments.output)
        without = ", ".join(f"{count} {split}" for split, count in lost.items())
        print(f"{arguments.output / 'cleaned'}: without {without}")
    print(f"{arguments.output / 'audit.html'}: {'leaks' if report['leak'] else 'no leak'}")
    return 1 if report["leak"] else 0


def _data_push(arguments: argparse.Namespace, _: list[str]) -> int:
    from .hub import check_push

    if not arguments.dry_run:  # before datasets is imported, which takes seconds
        check_push(arguments.repo_id, "dataset", arguments.public)

    from .data_push import push_dataset

    commit = push_dataset(
        arguments.dataset,
        arguments.repo_id,
        audit=arguments.audit,
        public=arguments.public,
        dry_run=arguments.dry_run,
    )
    return say_commit(commit, arguments.repo_id)

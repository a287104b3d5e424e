"""The command `ladnn`: arguments only; what they do lives in the modules they call."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from . import __version__
from .answers import WRITERS, opened

NOTICE = "For research and teaching, never for diagnosing a patient."


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 when all was answered, 1 when some input was refused or unreadable, 2 for wrong usage.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a character must not stop the answers
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.run is not _train:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return arguments.run(arguments, rest)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("ladnn: stopped.", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(
            f"ladnn: expected the package {error.name}, found it not installed; run "
            "`pip install 'ladnn_hf[train,weights,data,attention]'`.",
            file=sys.stderr,
        )
        return 1
    except (ValueError, OSError, RuntimeError, LookupError, AssertionError) as error:
        # The last three are what torch and transformers raise on settings that do not go together.
        print(f"ladnn: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ladnn",
        description=f"LA-DNN: COVID-19 and five lesions from one chest CT slice. {NOTICE}",
        epilog="`ladnn COMMAND --help` says more about a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ladnn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    predict = _command(
        commands,
        "predict",
        _predict,
        "answer slices",
        "Answer slices: PNG, JPEG, WebP, BMP, TIFF; files, and folders with all images below them. "
        "Exit status: 0 all answered, 1 some refused or unreadable, 2 wrong usage.",
        "Columns: probability of COVID-19, then the scores of ground-glass opacity (GGO), consolidation "
        "(Csld), crazy paving (CrPa), air bronchogram (AirBr), interlobular septal thickening (InSepThi). "
        "Example: ladnn predict slice.png folder --format csv --output answers.csv",
    )
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="an image or a folder of images (-- before a name that begins with -)",
    )
    _add_model(predict)
    predict.add_argument(
        "--format", choices=WRITERS, default="table", help="table, one JSON object a line, or CSV"
    )
    predict.add_argument("--output", type=Path, metavar="FILE", help="write there, not to standard output")
    predict.add_argument(
        "--attention",
        type=Path,
        metavar="DIR",
        help="write a heat map a slice of what raised the score of COVID-19",
    )
    predict.add_argument(
        "--no-gate", action="store_true", help="also answer pictures that do not look like a chest CT slice"
    )

    demo = _command(commands, "demo", _demo, "open the web page", "Open the web page on this machine.")
    _add_model(demo)

    # Its flags are those of `recipes.parse_arguments`, which takes seconds to import.
    _command(commands, "train", _train, "train or fine-tune a model", "", add_help=False)

    evaluate = _command(
        commands,
        "evaluate",
        _evaluate,
        "score a model on a split",
        "Score a model on one split of a slice data set, with 95% intervals: as it is, cleaned by the audit, "
        "re-encoded, cropped, padded, turned, without lungs and with others'; and how well the file alone "
        "does. Print and write the report, and draw its figures.",
        "example: ladnn evaluate --dataset covid_ct --split test --external sars_ct --output report",
    )
    _add_model(evaluate)
    evaluate.add_argument("--dataset", required=True, help="folder that `ladnn data build` wrote")
    evaluate.add_argument("--split", default="test", help="the split to score (default: test)")
    evaluate.add_argument(
        "--external",
        nargs="+",
        default=[],
        metavar="DATASET",
        help="other data sets: their split test, or all they have where there is none",
    )
    evaluate.add_argument(
        "--runs",
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders that `ladnn train` wrote with the model's recipe and different seeds: their spread",
    )
    evaluate.add_argument(
        "--without-lesions",
        nargs="+",
        default=[],
        metavar="RUN",
        help="the same recipe and seeds trained without the lesion task: what the task gains",
    )
    evaluate.add_argument(
        "--left-out",
        nargs="+",
        default=[],
        type=_run_and_dataset,
        metavar="RUN=DATASET",
        help="runs, each with a data set that it was not trained on, to be scored there",
    )
    evaluate.add_argument(
        "--lesion-folds",
        nargs="+",
        default=[],
        type=_run_and_dataset,
        metavar="RUN=DATASET",
        help="runs, each with a data set whose split test holds patients that the run never saw: how well "
        "lesions are told over all of these (benchmarks/lesion_folds.py makes them)",
    )
    evaluate.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the report")

    export = _command(
        commands,
        "export",
        _export,
        "write a model in another form",
        "Write a model for others: hf is the folder that trust_remote_code loads without this package; onnx "
        "adds an ONNX export, with which `predict` needs no torch.",
        "example: ladnn export --format hf --output ladnn-model",
    )
    export.add_argument("--format", choices=("hf", "onnx"), required=True)
    _add_model(export)
    _add_new_folder(export)

    data = commands.add_parser("data", help="make data sets", description="Make slice data sets.")
    data_commands = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    build = _command(
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
    _add_new_folder(build)

    from_folder = _command(
        data_commands,
        "from-folder",
        _data_from_folder,
        "make a data set of your own slices",
        "Make a slice data set of a folder of your own. It holds the class folders COVID and NonCOVID, or a "
        "metadata.csv with the columns file_name and label (COVID or NonCOVID, 1 or 0) and, as known, "
        "patient_id, GGO, Csld, CrPa, AirBr, InSepThi (1 or 0; all five empty for no label), caption and "
        "source. Or it holds train, validation and test, each such a folder, which are kept as they are.",
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
    _add_new_folder(from_folder)

    audit = _command(
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
    _add_new_folder(audit)
    audit.add_argument(
        "--exclude",
        action="store_true",
        help="also write the data set without the slices that are proved wrong (cleaned) and the table of "
        "those with the reasons (excluded.csv)",
    )

    labels = _command(
        data_commands,
        "labels",
        _data_labels,
        "compare lesion labels with the captions",
        "Read the lesions off the captions of a data set by rules, compare with its lesion labels, and print "
        "F1 by split and lesion, then every disagreement with its caption.",
        "example: ladnn data labels covid_ct",
    )
    _add_dataset(labels)

    push = _command(
        data_commands,
        "push",
        _data_push,
        "push a data set to the Hub",
        "Push a data set to the Hugging Face Hub, in one commit: Parquet with the images inside, and a card "
        "with counts, provenance, known faults, licence and citation. `datasets.load_dataset` gives it back, "
        "without a script. The repository is made private if it is not there; nothing goes to a public one "
        "unless you say that you may share the images.",
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
    return parser


def _command(
    commands,
    name: str,
    run: Callable,
    summary: str,
    description: str,
    epilog: str = "",
    add_help: bool = True,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=description, epilog=epilog, add_help=add_help, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="DIR", help="a model folder (default: the bundled checkpoint)")


def _add_lesions_from(parser: argparse.ArgumentParser, tables: str) -> None:
    parser.add_argument(
        "--lesions-from",
        choices=("tables", "reports"),
        default="tables",
        help=f"take lesion labels from {tables} (default) or read them from the captions",
    )


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="folder that `ladnn data build` wrote")


def _add_new_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="a folder that is not there yet"
    )


def _fractions(text: str) -> tuple[float, ...]:
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    if len(fractions) != 3 or min(fractions) < 0 or not fractions[0] or abs(sum(fractions) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(
            "expected three parts that sum to 1, the first above 0, such as 0.7,0.15,0.15, found "
            f"{text!r}; correct them."
        )
    return fractions


def _run_and_dataset(text: str) -> tuple[str, str]:
    run, _, dataset = text.partition("=")
    if not (run and dataset):
        raise argparse.ArgumentTypeError(
            f"expected a run's folder and a data set's as RUN=DATASET, found {text!r}; name both."
        )
    return run, dataset


def _predict(arguments: argparse.Namespace, _: list[str]) -> int:
    import logging
    import warnings

    from tqdm import tqdm

    from .inference import Predictor
    from .reading import list_slices

    # A file's faults are said once, as its refusal; Pillow's own asides are not answers.
    warnings.simplefilter("ignore")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        try:
            if arguments.attention:
                arguments.attention.mkdir(parents=True, exist_ok=True)
            predictor = Predictor(arguments.model, gate=not arguments.no_gate)
            stream = stack.enter_context(opened(arguments.output))  # last: a failure replaces nothing
        except (ValueError, OSError) as error:
            print(f"ladnn predict: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        paths = list(list_slices(arguments.paths))
        answers = tqdm(predictor.predict(paths), total=len(paths), unit="slice", delay=2, disable=None)
        all_well = True

        def seen() -> Iterator:
            nonlocal all_well
            for number, answer in enumerate(answers, start=1):
                all_well &= answer.decision != "refused"
                if arguments.attention:
                    all_well &= _write_overlay(answer, number, arguments.attention)
                yield answer

        WRITERS[arguments.format](seen(), stream)
    return 0 if all_well else 1


def _write_overlay(answer, number: int, folder: Path) -> bool:
    if answer.maps is None:
        return True
    from .attention import overlay
    from .reading import read_slice

    path = folder / f"{number:05d}_{Path(answer.image).stem[:60]}.png"
    try:
        overlay(read_slice(answer.image), answer.maps[0], answer.box).save(path)
    except (ValueError, OSError) as error:
        print(f"ladnn predict: no overlay of {answer.image}: {error}", file=sys.stderr)
        return False
    return True


def _demo(arguments: argparse.Namespace, _: list[str]) -> int:
    from .resources import space_folder

    environment = dict(os.environ)
    if arguments.model:
        environment["LADNN_MODEL"] = arguments.model
    # The page is a program of its own, as on a Space: the package does not import it.
    page = space_folder() / "app.py"
    os.execve(sys.executable, [sys.executable, str(page)], environment)


def _train(_: argparse.Namespace, rest: list[str]) -> int:
    from .recipes import parse_arguments
    from .training import train

    slices, arguments = parse_arguments(rest)
    metrics = train(slices, arguments, rest)
    if arguments.process_index:  # one of several: the first speaks for all
        return 0
    validation = metrics["validation"]
    print(
        f"{arguments.output_dir}: validation AUC {validation['auc']:.3f}, "
        f"accuracy {validation['accuracy']:.3f} at the operating point {metrics['threshold']:.3f}"
    )
    return 0


def _evaluate(arguments: argparse.Namespace, _: list[str]) -> int:
    from .evaluation import evaluate, to_markdown, write_report

    evaluation = evaluate(
        arguments.model,
        arguments.dataset,
        arguments.split,
        external=arguments.external,
        runs=arguments.runs,
        without_lesions=arguments.without_lesions,
        left_out=arguments.left_out,
        lesion_folds=arguments.lesion_folds,
    )
    write_report(evaluation, arguments.output)
    print(to_markdown(evaluation.report), end="")
    return 0


def _export(arguments: argparse.Namespace, _: list[str]) -> int:
    from transformers.utils import logging

    from .export import export_hf, export_onnx
    from .inference import BUNDLED

    logging.disable_progress_bar()  # of single shards, over in a blink

    model = Path(arguments.model) if arguments.model else BUNDLED
    {"hf": export_hf, "onnx": export_onnx}[arguments.format](model, arguments.output)
    print(arguments.output)
    return 0


def _data_build(arguments: argparse.Namespace, _: list[str]) -> int:
    from .covid_ct import build_covid_ct

    if arguments.new_data != "none" and arguments.la_dnn is None:
        print(
            "ladnn data build: expected --la-dnn beside --new-data, found none; name LA-DNN's folder, which "
            "holds New_data.",
            file=sys.stderr,
        )
        return 2
    with _remarks():
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

    with _remarks():
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


@contextlib.contextmanager
def _remarks() -> Iterator[None]:
    """Print a warning as one line, without the place in the code that a developer would want."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_, **__: print(f"ladnn: {message}", file=sys.stderr)
        yield


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
    from .data_push import push_dataset

    pushed = push_dataset(
        arguments.dataset,
        arguments.repo_id,
        audit=arguments.audit,
        public=arguments.public,
        dry_run=arguments.dry_run,
    )
    for path, size in pushed.sizes.items():
        print(f"{size:>13,} bytes  {path}")
    print(pushed.url or f"{arguments.repo_id}: nothing sent.")
    return 0

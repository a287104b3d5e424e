"""The command `ladnn`: arguments only; what they do lives in the modules they call."""

import argparse
import os
import sys
from pathlib import Path

from . import __version__
from .answers import WRITERS
from .command_parsers import add_command, add_new_folder, remarks
from .data_commands import add_data
from .push_commands import add_push

NOTICE = "For research and teaching, never for diagnosing a patient."


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 when all was done, 1 when some input was refused or unreadable or the command failed, 2 for wrong
        usage, 130 when it was interrupted.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a character must not stop the answers
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.run is not _train:
        arguments.parser.error(f"unrecognized arguments: {' '.join(rest)}")
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
            f"ladnn: expected the package {error.name.partition('.')[0]}, found it not installed; run `pip "
            "install '.[train,weights,data,attention,openvino]'` in the folder of this project.",
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

    predict = add_command(
        commands,
        "predict",
        _predict,
        "answer slices",
        "Answer slices: DICOM, PNG, JPEG, WebP, BMP, TIFF; files, and folders with all slices below them. "
        "Exit status: 0 all answered, 1 some refused or unreadable, 2 wrong usage.",
        "Columns: probability of COVID-19, then the scores of ground-glass opacity (GGO), consolidation "
        "(Csld), crazy paving (CrPa), air bronchogram (AirBr), interlobular septal thickening (InSepThi). "
        "Example: ladnn predict slice.png folder --format csv --output answers.csv",
    )
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a slice or a folder of slices (-- before a name that begins with -), or rows of slices: a "
        "saved data set, one of its splits, a Parquet file, or hf://datasets/OWNER/NAME@REVISION on the Hub",
    )
    _add_model(predict)
    predict.add_argument(
        "--format",
        choices=WRITERS,
        default="table",
        help="table, one JSON object a line, or CSV, in which a name that would be a formula is quoted",
    )
    predict.add_argument("--output", type=Path, metavar="FILE", help="write there, replacing what is there")
    predict.add_argument(
        "--attention",
        type=Path,
        metavar="DIR",
        help="write a heat map a slice of what raised the score of COVID-19",
    )
    predict.add_argument(
        "--engine",
        metavar="ENGINE",
        help="what runs the network: openvino, onnxruntime or torch, which answer the same (default: the "
        "first of them that is installed and that the model's folder has a file for)",
    )
    predict.add_argument(
        "--no-gate", action="store_true", help="also answer pictures that do not look like a chest CT slice"
    )

    demo = add_command(commands, "demo", _demo, "open the web page", "Open the web page on this machine.")
    _add_model(demo)

    # Its flags are those of `recipes.parse_arguments`, which takes seconds to import.
    add_command(commands, "train", _train, "train or fine-tune a model", "", add_help=False)

    evaluate = add_command(
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
    evaluate.add_argument(
        "--dataset", required=True, help="folder that `ladnn data build` or `from-folder` wrote"
    )
    evaluate.add_argument(
        "--split",
        default="test",
        help="the split to score, or with --answers what to call the rows of Parquet files (default: test)",
    )
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
    evaluate.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="score what `ladnn predict DATASET/SPLIT --format json` wrote there and ask the model no more: "
        "numbers of the split as it is alone; the data set may be Parquet, also on the Hub",
    )
    evaluate.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the report")

    export = add_command(
        commands,
        "export",
        _export,
        "write a model in another form",
        "Write a model for others: hf is the folder that trust_remote_code loads without this package; onnx "
        "and openvino add an export to the weights, with which `predict` needs no torch.",
        "example: ladnn export --format hf --output ladnn-model",
    )
    export.add_argument("--format", choices=("hf", "onnx", "openvino"), required=True)
    _add_model(export)
    add_new_folder(export)

    convert = add_command(
        commands,
        "convert",
        _convert,
        "read the published authors' checkpoint",
        "Make a model folder of a checkpoint of LA-DNN's authors: a torch file with the weights of "
        "torchvision's DenseNet-169 with six outputs. Nothing in the file is run. The model is not "
        "calibrated; `ladnn train --model` goes on from it and calibrates it.",
        "example: ladnn convert checkpoint.pth --output ladnn-published",
    )
    convert.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the file of weights")
    add_new_folder(convert)

    add_push(commands)
    add_data(commands)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a model folder, OWNER/NAME@REVISION on the Hub, or `bundled` (default: the bundled checkpoint)",
    )


def _run_and_dataset(text: str) -> tuple[str, str]:
    run, _, dataset = text.partition("=")
    if not (run and dataset):
        raise argparse.ArgumentTypeError(
            f"expected a run's folder and a data set's as RUN=DATASET, found {text!r}; name both."
        )
    return run, dataset


def _predict(arguments: argparse.Namespace, _: list[str]) -> int:
    from .predict_command import predict

    return predict(arguments)


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
    from .several_seeds import train_seeds
    from .training import train

    with remarks():
        slices, arguments = parse_arguments(rest)
    metrics = (train_seeds if slices.seeds else train)(slices, arguments, rest)
    if arguments.process_index:  # one of several: the first speaks for all
        return 0
    validation = metrics["validation"]
    print(
        f"{arguments.output_dir}: validation AUC {validation['auc']:.3f}, "
        f"accuracy {validation['accuracy']:.3f} at the operating point {metrics['threshold']:.3f}"
    )
    return 0


def _evaluate(arguments: argparse.Namespace, _: list[str]) -> int:
    from .evaluation import evaluate, evaluate_answers, to_markdown, write_report

    _check_writable(arguments.output)
    names = ("external", "runs", "without_lesions", "left_out", "lesion_folds")
    more = {name: getattr(arguments, name) for name in names}
    if arguments.answers is None:
        evaluation = evaluate(arguments.model, arguments.dataset, arguments.split, **more)
    elif any(more.values()):
        arguments.parser.error("--answers scores answers alone; leave out what asks models again.")
    else:
        evaluation = evaluate_answers(arguments.model, arguments.answers, arguments.dataset, arguments.split)
    write_report(evaluation, arguments.output)
    print(to_markdown(evaluation.report), end="")
    return 0


def _check_writable(folder: Path) -> None:
    """Say before the long work that its report cannot be written."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        raise ValueError(
            f"{folder}: expected a folder that can be written, found {nearest}, which cannot; name another."
        )


def _convert(arguments: argparse.Namespace, _: list[str]) -> int:
    from .convert import convert_checkpoint

    convert_checkpoint(arguments.checkpoint, arguments.output)
    print(arguments.output)
    return 0


def _export(arguments: argparse.Namespace, _: list[str]) -> int:
    from .model_pull import model_folder

    model = model_folder(arguments.model, whole=True)

    from transformers.utils import logging

    from .export import export_hf, export_onnx, export_openvino

    logging.disable_progress_bar()  # of single shards, over in a blink

    write = {"hf": export_hf, "onnx": export_onnx, "openvino": export_openvino}[arguments.format]
    write(model, arguments.output)
    print(arguments.output)
    return 0

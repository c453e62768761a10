"""The command line: a thin skin over the library. Nothing heavy is imported before a command runs.

Exit codes: 0 done, 1 the work failed, 2 the command or a file was wrong, 3 a report was written but a question failed.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdlens._version import __version__

if TYPE_CHECKING:
    from kdlens.progress import Stages
    from kdlens.report import Report

app = typer.Typer(
    name="kdlens",
    help="See what your student learned: explain knowledge distillation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; the same command continues in it.")]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help='Let "file.py:function" architectures run. Only for files you trust.')
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the result.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"kdlens {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Out = Path("demo"),
    quiet: Quiet = False,
    seed: Annotated[int, typer.Option(help="Seed of images, training and draws.")] = 0,
    experts: Annotated[bool, typer.Option("--experts", help="Mixtures of experts instead: who shares what.")] = False,
) -> None:
    """Train a teacher, a baseline and students on fashion scenes and explain them: five to seven minutes, offline."""
    from kdlens.demo import run_demo
    from kdlens.demo_experts import run_experts

    with _console(quiet) as say:
        report = (run_experts if experts else run_demo)(out, seed=seed, say=say)
    _finish(report, out, quiet)


@app.command()
def explain(study: Path, out: Out = Path("out"), allow_code: AllowCode = False, quiet: Quiet = False) -> None:
    """Explain the networks that STUDY (a yaml file) names, and write a report."""
    from kdlens.study_file import explain_file

    with _console(quiet) as say:
        report = explain_file(study, out=out, allow_code=allow_code, say=say)
    _finish(report, out, quiet)


@app.command()
def train(
    config: Path,
    out: Out = Path("trained"),
    allow_code: AllowCode = False,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away the training that is in the folder.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train or distil the network that CONFIG (a yaml file) describes; a killed run continues where it stopped."""
    from kdlens.training.progress import progress_bars
    from kdlens.training.run import train_from_config

    with _errors(), progress_bars(quiet=quiet) as progress:
        train_from_config(config, out, allow_code=allow_code, progress=progress, resume=not restart)
    typer.echo(f"Trained. The networks are in {out}")


@app.command()
def doctor(
    study: Path, allow_code: AllowCode = False, json_output: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Check the networks and images of STUDY for the usual mistakes before you trust a number."""
    import json

    from kdlens.study_file import diagnose_file

    with _console(quiet=json_output):
        diagnosis = diagnose_file(study, allow_code=allow_code)
    typer.echo(json.dumps(diagnosis.to_dict(), indent=1) if json_output else str(diagnosis))
    raise typer.Exit(0 if diagnosis.ok else 1)


@app.command()
def layers(
    model: Annotated[str, typer.Argument(help='e.g. "zoo:resnet20", "timm:resnet18", "file.py:function"')],
    size: Annotated[int, typer.Option(help="Side length of the input image.")] = 32,
    channels: Annotated[int, typer.Option(help="Channels of the input image.")] = 3,
    classes: Annotated[int, typer.Option(help="Number of classes.")] = 10,
    allow_code: AllowCode = False,
) -> None:
    """List the layers of MODEL by dotted name, with the shape they give; marked are those `auto` would choose."""
    import torch

    from kdlens.models.layers import auto_layers, describe
    from kdlens.models.load import load_model

    with _errors():
        network = load_model(model, classes=classes, allow_code=allow_code)
        example = torch.zeros(1, channels, size, size)
        chosen = set(auto_layers(network, example))
        rows = describe(network, example)
    width = max(len(row.name) for row in rows)
    for row in rows:
        calls = [row.name] if row.calls < 2 else [f"{row.name}#{call}" for call in range(row.calls)]
        mark = "*" if chosen.intersection(calls) else " "
        shape = "x".join(map(str, row.shape)) if row.shape else "-"
        often = f"  called {row.calls} times: {calls[0]} to {calls[-1]}" if row.calls > 1 else ""
        typer.echo(f"{mark} {row.name:<{width}}  {row.kind:<20} {shape}{often}")


@app.command()
def methods() -> None:
    """List what is known by name: questions, distillation methods, datasets and networks."""
    from kdlens.bench import METHODS
    from kdlens.data import DATASETS
    from kdlens.models.zoo import ZOO
    from kdlens.questions import QUESTIONS
    from kdlens.training.losses import LOSSES

    for title, known in (
        ("questions", QUESTIONS),
        ("distillation methods, with their options", [_with_options(*entry) for entry in LOSSES.items()]),
        ("datasets", DATASETS),
        ("benchmark methods (kdlens bench planted)", METHODS),
        ("networks (zoo:NAME, any cnnWIDTH, smoothcnnWIDTH, wrn_DEPTH_WIDTH; timm:NAME and torchvision:NAME)", ZOO),
    ):
        typer.echo(f"{title}\n  {', '.join(known)}")


@app.command()
def init(
    path: Annotated[Path | None, typer.Argument(help="Where to write it; study.yaml unless told.")] = None,
    training: Annotated[bool, typer.Option("--train", help="A train.yaml, for `kdlens train`.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented study.yaml (or train.yaml) to start from."""
    from importlib.resources import files

    from kdlens.files import explained, require_folder, write_atomically

    kind, command = ("train", "train {} -o trained/") if training else ("study", "explain {} -o out/")
    path = path or Path(f"{kind}.yaml")
    _keep(path, force)
    with _errors(), explained(path):
        require_folder(path)
        write_atomically(path, (files("kdlens") / f"{kind}_template.yaml").read_bytes())
    typer.echo(f"Wrote {path}. Fill in the networks, then: kdlens {command.format(path)}")


@app.command()
def report(
    run: Path,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write the page.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the report of a finished RUN folder again, without computing anything."""
    from kdlens.study_file import report_from_folder

    with _errors():
        if out is not None:
            _keep(out, force)
        target = report_from_folder(run).save(out or run / "report.html", overwrite=True)
    typer.echo(f"Report: {target}")


bench = typer.Typer(help="Benchmarks with a known truth.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    pass


@bench.command()
def planted(
    world: Annotated[list[str] | None, typer.Option(help="A world; may be given again. All unless told.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="A method; may be given again. All unless told.")] = None,
    arch: Annotated[str, typer.Option(help="Networks: cnn (come with kdlens), resnet or vit (are trained).")] = "cnn",
    seeds: Annotated[int, typer.Option(help="Students and baselines of each world.")] = 1,
    images: Annotated[int, typer.Option(help="Images of each world, seed and direction.")] = 48,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers into this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Score methods that show what a student has from its teacher, on images where that is known."""
    import json

    from kdlens.bench.planted import run_planted
    from kdlens.files import explained, write_atomically

    if json_file is not None:
        _keep(json_file, force)
        if not json_file.parent.is_dir():
            _fail(f"cannot write {json_file}: there is no folder {json_file.parent}; make it, or choose another place")
    with _console(quiet) as say:
        results = run_planted(world, method, arch=arch, seeds=seeds, images=images, say=say)
        if json_file is not None:
            with explained(json_file):
                write_atomically(json_file, (json.dumps(results.to_dict(), indent=1) + "\n").encode())
    typer.echo(str(results))


def _with_options(name: str, kind: type) -> str:
    """A method as it could be called: `kd(temperature=4.0, alpha=0.9)`."""
    from dataclasses import fields

    return f"{name}({', '.join(f'{option.name}={option.default!r}' for option in fields(kind))})"


def _finish(report: "Report", out: Path, quiet: bool) -> None:
    if not quiet:
        typer.echo(str(report))
    typer.echo(f"Report: {out / 'report.html'}")
    if report.meta.failed:
        raise typer.Exit(3)


def _keep(path: Path, force: bool) -> None:
    """Nobody's file is replaced without their word."""
    if path.exists() and not force:
        _fail(f"{path} is there already; choose another name, or --force to replace it")


def _fail(text: str, code: int = 2) -> None:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(code)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn errors made for people into one message and an exit code; others are bugs and keep their traceback."""
    from kdlens.errors import ConfigError, KdlensError, UnknownNameError

    try:
        yield
    except (ConfigError, UnknownNameError) as error:
        _fail(str(error), 2)
    except KdlensError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("stopped. What was finished is kept; the same command continues.", 130)


@contextlib.contextmanager
def _console(quiet: bool) -> Iterator["Stages"]:
    """Errors for people, and a line with a spinner and the time for every stage."""
    from kdlens.progress import stages

    with _errors(), stages(quiet=quiet) as say:
        yield say


def main() -> None:
    """Run the command line."""
    app(prog_name="kdlens")


if __name__ == "__main__":
    main()

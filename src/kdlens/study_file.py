"""Studies as files: study.yaml in, a run folder out, and the report of a run folder again. Nothing is computed here."""

import json
import os
from pathlib import Path

from kdlens.checks import Diagnosis
from kdlens.config import ModelSection, Question, StudyConfig, load_yaml
from kdlens.data import load_dataset
from kdlens.data.images import Images
from kdlens.data.sampling import balanced_indices
from kdlens.errors import ConfigError
from kdlens.models.asked import Role
from kdlens.models.load import load_model
from kdlens.networks import Network, with_history
from kdlens.report import Meta, Report
from kdlens.runs import RunFolder
from kdlens.study import Say, Study, diagnose


def explain_file(
    path: str | os.PathLike[str], *, out: str | os.PathLike[str], allow_code: bool = False, say: Say | None = None
) -> Report:
    """Run the study that a study.yaml describes; paths in it are relative to the file.

    Args:
        path: the study file.
        out: run folder.
        allow_code: whether `file.py:function` architectures may run.
        say: called with a short text when something long starts.

    Raises:
        ConfigError: the file does not describe a study.
    """
    study = study_from_file(path, out=out, allow_code=allow_code, say=say)
    asked = load_yaml(path, StudyConfig).doctor and study.runtime.processes.is_main
    return study.run(alerts=study.diagnose().alerts if asked else ())


def study_from_file(
    path: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    allow_code: bool = False,
    say: Say | None = None,
) -> Study:
    """Build the study that a study.yaml describes, without running it."""
    path = Path(path)
    config = load_yaml(path, StudyConfig)
    images = load_images(config, path.parent)
    return Study(
        load_networks(config, path.parent, classes=len(images.classes), allow_code=allow_code),
        images,
        questions=[_rooted(question, path.parent) for question in config.questions],
        layers=config.layers,
        seed=config.seed,
        batch_size=config.batch_size,
        device=config.device,
        out=out,
        title=config.title,
        source=_resolved(config),
        say=say or (lambda text: None),
    )


def diagnose_file(path: str | os.PathLike[str], *, allow_code: bool = False) -> Diagnosis:
    """Run the doctor on what a study.yaml names, the first seed of every network; see `kdlens.doctor`."""
    path = Path(path)
    config = load_yaml(path, StudyConfig)
    images = load_images(config, path.parent)
    networks = load_networks(config, path.parent, classes=len(images.classes), allow_code=allow_code)
    return diagnose(networks, images, layers=config.layers, seed=config.seed)


def report_from_folder(path: str | os.PathLike[str]) -> Report:
    """Build the report of a finished run folder again, from what is stored in it.

    Raises:
        ConfigError: the folder holds no finished run.
    """
    path = Path(path)
    if not (path / "meta.json").is_file():
        raise ConfigError(f"{path} holds no finished run; give the folder that `kdlens explain` wrote")
    folder = RunFolder(path)
    meta = Meta.from_dict(json.loads((path / "meta.json").read_text(encoding="utf-8")))
    asked = path / "questions.json"  # answers to what an earlier study asked may stand beside them
    names = json.loads(asked.read_text(encoding="utf-8")) if asked.is_file() else folder.saved_questions()
    found = {name: folder.load_answer(name) for name in names}
    return Report({name: answer for name, answer in found.items() if answer is not None}, meta)


def load_images(config: StudyConfig, base: Path) -> Images:
    """Load the study's images; `limit` takes a class-balanced, seeded part."""
    data = config.data
    root = base / data.root if data.root is not None else None
    dataset = load_dataset(data.name, root=root, split=data.split, **data.options)
    images = Images(
        dataset,
        mean=data.mean or getattr(dataset, "mean", None),
        std=data.std or getattr(dataset, "std", None),
        size=data.size,
    )
    if data.limit is not None and data.limit < len(images):
        images = images.subset(balanced_indices(images.labels, data.limit, seed=config.seed))
    return images


def load_networks(config: StudyConfig, base: Path, *, classes: int, allow_code: bool) -> list[Network]:
    """Load the study's networks, each seed with its own weights."""
    sections: list[tuple[str, Role, ModelSection | None]] = [
        ("teacher", "teacher", config.models.teacher),
        ("baseline", "baseline", config.models.baseline),
        *((name, "student", section) for name, section in config.models.students.items()),
    ]
    networks = []
    for name, role, section in sections:
        if section is None:
            continue
        folders = section.training_folders
        for seed, weights in enumerate(section.weight_files):
            module = load_model(
                _anchored(section.arch, base),
                weights=base / weights,
                classes=section.classes or classes,
                allow_code=allow_code,
                vam=section.vam,
                **section.options,
            )
            network = Network(name, role, module, seed, section.arch, weights)
            networks.append(network if folders is None else with_history(network, base / folders[seed]))
    return networks


def _anchored(arch: str, base: Path) -> str:
    """Make the path of a `file.py:function` architecture relative to the study file."""
    file, colon, function = arch.rpartition(":")
    return f"{base / file}{colon}{function}" if file.endswith(".py") else arch


def _rooted(question: Question, base: Path) -> Question:
    """Make the folder a question reads from relative to the study file."""
    if isinstance(question, str):
        return question
    return {
        name: {**options, "root": str(base / options["root"])} if isinstance(options.get("root"), str) else options
        for name, options in question.items()
    }


def _resolved(config: StudyConfig) -> str:
    import yaml

    content = json.loads(config.model_dump_json(exclude_none=True))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)

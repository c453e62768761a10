"""Where networks come from: the zoo of this package, timm, torchvision, a function in a file."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from kdlens.errors import ModelError, UnknownNameError, UnsafeFileError, did_you_mean

Options = dict[str, Any]
_CLASS_ARGUMENTS = ("num_classes", "classes", "n_classes")


def from_zoo(name: str, classes: int | None, _allow_code: bool, options: Options) -> Any:
    """Build a network of this package's zoo."""
    from kdlens.models.zoo import ZOO

    try:
        builder = ZOO[name]
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}. Other networks are written timm:NAME or torchvision:NAME") from None
    return _call(f"zoo:{name}", builder, _with(options, num_classes=classes))


def from_timm(name: str, classes: int | None, _allow_code: bool, options: Options) -> Any:
    """Build a timm network; random weights unless `pretrained=True` is among the options."""
    timm = _vision_package("timm")
    if not timm.is_model(name):
        raise UnknownNameError(_unknown("timm", name, timm.list_models()))
    if "in_channels" in options:
        options["in_chans"] = options.pop("in_channels")
    options.setdefault("pretrained", False)
    return _call(f"timm:{name}", timm.create_model, _with({"model_name": name, **options}, num_classes=classes))


def from_torchvision(name: str, classes: int | None, _allow_code: bool, options: Options) -> Any:
    """Build a torchvision network; random weights unless `pretrained=True` is among the options."""
    models = _vision_package("torchvision").models
    if name not in models.list_models():
        raise UnknownNameError(_unknown("torchvision", name, models.list_models()))
    weights = "DEFAULT" if options.pop("pretrained", False) else None
    settings = _with({"name": name, "weights": weights, **options}, num_classes=classes)
    if name in ("googlenet", "inception_v3"):
        settings.setdefault("init_weights", True)
    return _call(f"torchvision:{name}", models.get_model, settings)


def from_file(arch: str, classes: int | None, allow_code: bool, options: Options) -> Any:
    """Call a function of a Python file, which runs that file."""
    file, _, name = arch.rpartition(":")
    if not file.endswith(".py"):
        raise ModelError(f'"{arch}" names no function; write path/file.py:function')
    if not allow_code:
        raise UnsafeFileError(
            f'"{arch}" would run the code in {file}. If you trust that file, allow it: '
            "--allow-code on the command line, allow_code=True in Python"
        )
    function = _function(Path(file), name)
    argument = _class_argument(function)
    if classes is not None and argument is not None:
        options.setdefault(argument, classes)
    return _call(arch, function, options)


SOURCES: dict[str, Callable[[str, int | None, bool, Options], Any]] = {
    "zoo": from_zoo,
    "timm": from_timm,
    "torchvision": from_torchvision,
    "file": from_file,
}


def _with(options: Options, *, num_classes: int | None) -> Options:
    return options if num_classes is None else {"num_classes": num_classes, **options}


def _call(arch: str, function: Callable[..., Any], options: Options) -> Any:
    try:
        return function(**options)
    except (TypeError, ValueError, RuntimeError, OSError, AssertionError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ModelError(f"{arch} cannot be built with ({given}): {error}") from error


def _unknown(package: str, name: str, known: Iterable[str]) -> str:
    hint = did_you_mean(name, known) or f"; {package} lists its networks with its list_models()"
    return f'{package} has no network "{name}"{hint}'


def _vision_package(name: str) -> ModuleType:
    try:
        if name == "torchvision":
            importlib.import_module("torchvision.models")
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in ("timm", "torchvision"):
            raise ModelError(
                f"{name}:NAME needs the package {error.name}, which is not installed: "
                'pip install "kdlens[vision]". The zoo and your own networks do not need it'
            ) from error
        raise ModelError(_broken(name, error)) from error
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise ModelError(_broken(name, error)) from error


def _broken(name: str, error: Exception) -> str:
    try:
        version = f" {metadata.version('torchvision')}"
    except metadata.PackageNotFoundError:
        version = ""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return (
        f"{name} cannot be imported ({reason}). Most likely torchvision{version} was built for another torch than "
        f"{torch.__version__}: install both from the same index, e.g. "
        "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu. "
        "kdlens needs it only for timm:NAME and torchvision:NAME"
    )


def _function(file: Path, name: str) -> Callable[..., Any]:
    module = _run_file(file)
    function = getattr(module, name, None)
    if not callable(function):
        public = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        hint = did_you_mean(name, public) or f"; it has {', '.join(public) or 'none'}"
        raise UnknownNameError(f'{file} has no function "{name}"{hint}')
    found: Callable[..., Any] = function
    return found


def _run_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ModelError(f"there is no file {file}")
    file = file.resolve()
    name = f"kdlens_user_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"{file} cannot be run as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    try:
        with _importable(file.parent):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ModelError(f"{file} raised {type(error).__name__} when it was run: {error}") from error
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, as it could when run as a script."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def _class_argument(function: Callable[..., Any]) -> str | None:
    """Name of the argument for the number of classes, if the function has one."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return next((name for name in _CLASS_ARGUMENTS if name in parameters), _CLASS_ARGUMENTS[0])
    return next((name for name in _CLASS_ARGUMENTS if name in parameters), None)

"""Which human concepts do the units of a layer detect (Bau et al., CVPR 2017; Han et al., ICML 2023)?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

from torch import nn

from kdlens.data.concepts.annotated import ConceptData
from kdlens.data.concepts.given import as_concepts
from kdlens.data.resize import Size
from kdlens.errors import ConfigError
from kdlens.models.device import device_of
from kdlens.models.given import require_network
from kdlens.models.layers import auto_layers
from kdlens.models.tokens import Reshape
from kdlens.questions.dissection.passes import Key, Passes, Reader
from kdlens.questions.dissection.plan import Plan
from kdlens.questions.dissection.prepare import Once, Preparation, Preset, maps_of
from kdlens.questions.dissection.result import Dissection
from kdlens.questions.dissection.tally import CategoryRule
from kdlens.questions.dissection.thresholds import LEVEL, Rule


@overload
def dissect(model: nn.Module, concepts: Any, **options: Any) -> dict[str, Dissection]: ...
@overload
def dissect(model: Mapping[str, nn.Module], concepts: Any, **options: Any) -> dict[str, dict[str, Dissection]]: ...
def dissect(  # type: ignore[misc]  # the overloads leave the options to this one
    model: nn.Module | Mapping[str, nn.Module],
    concepts: Any,
    *,
    layers: Sequence[str] | str = "auto",
    threshold_rule: Rule = "exact",
    level: float = LEVEL,
    category_rule: CategoryRule = "paper",
    preset: Preset = "data",
    size: Size | None = None,
    reshape: Reshape | None = None,
    min_images: int = 10,
    shuffles: int = 20,
    rotations: int = 0,
    groups: int = 10,
    examples: int = 10,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Dissection] | dict[str, dict[str, Dissection]]:
    """Find the concept every unit detects, and count the detectors beside what chance would count.

    A unit is active where its activation, enlarged bilinearly to the masks, exceeds a threshold that it exceeds at a
    share `level` of all places. Its IoU with a label is the pixels where it is active and the label stands, over those
    where either is the case, each summed over the images first.

    Args:
        model: a network, or name -> network for several in the same passes over the images; they come back as they
            were.
        concepts: annotated images, from `kdlens.load_concepts`, or any dataset it takes.
        layers: dotted names of layers with places; `"auto"` takes the network's stages.
        threshold_rule: `"exact"`: at most `level` of the places lie above. `"netdissect"`: the quantile NetDissect-Lite
            reads (994/999, by Hazen's rule), which its own sketch scatters around.
        level: share of places above a threshold.
        category_rule: which activations count against a label: `"paper"`, those in images with any label of its
            category; `"netdissect-lite"`, only those in images where the unit hits one, which makes IoUs larger. The
            counts of Han et al. are of the second kind.
        preset: how images are scaled: `"data"`, as the data recommend; `"torchvision"`; `"netdissect"`, as
            NetDissect-Lite; `"none"`, left in [0, 1]; or (mean, standard deviation).
        size: side length, or (rows, columns), to bring images to, for networks that need one.
        reshape: how to lay out tokens in space where that is ambiguous; see `kdlens.models.tokens`.
        min_images: labels of fewer images are not considered: rare labels are what chance finds.
        shuffles: times the masks are dealt to other images, for the chance level.
        rotations: random rotations of every layer that are dissected as well. Each costs as much as the layer.
        groups: of images, for intervals and for concepts chosen on one half and scored on the other.
        examples: images of largest activation to remember for every unit.
        seed: of blocks, deals and rotations.
        batch_size: images a forward pass; does not change the result.
        progress: told what is being done.

    Returns:
        Layer -> `Dissection`; for several networks name -> layer -> `Dissection`.

    Raises:
        ConfigError: an option out of its range.
        DataError: no image that can be used. Images that cannot be read are left out, and named in `problems`.
        LayerNotFoundError: no such layer; LayerShapeError: one without places.

    Example:
        >>> import kdlens
        >>> concepts = kdlens.load_concepts("fashion-scenes", count=40)
        >>> network = kdlens.load_model("zoo:resnet8", classes=10)
        >>> found = kdlens.dissect(network, concepts, layers=["layer2"], shuffles=5)
        >>> found["layer2"].units, found["layer2"].counts(0.04).units
        (32, 32)

    Source: Bau, Zhou, Khosla, Oliva and Torralba, "Network dissection", CVPR 2017, section 3.1; Han, Kim, Choi and
    Yoon, "On the impact of knowledge distillation for model interpretability", ICML 2023.
    """
    plan = Plan(threshold_rule, level, category_rule, min_images, shuffles, rotations, groups, examples, seed)
    data = concepts if isinstance(concepts, ConceptData) else as_concepts(concepts)
    networks = dict(model) if isinstance(model, Mapping) else {"model": model}
    if not networks:
        raise ConfigError("give at least one network to dissect")
    prepare = Preparation.of(preset, size, data)
    once = Once(prepare)
    readers = {
        name: maps_of(network, _layers(name, network, layers, data, prepare), once, reshape, batch_size)
        for name, network in networks.items()
    }
    found = dissect_readers(readers, data, plan, progress)
    by_name: dict[str, dict[str, Dissection]] = {name: {} for name in networks}
    for (name, layer), one in found.items():
        by_name[name][layer] = one
    return by_name if isinstance(model, Mapping) else by_name["model"]


def dissect_readers(
    readers: Mapping[str, Reader], concepts: ConceptData, plan: Plan, progress: Callable[[str], None]
) -> dict[Key, Dissection]:
    """Dissect whatever gives activation maps for images: network and layer -> `Dissection`."""
    passes = Passes(readers, concepts, plan, progress)
    passes.find_thresholds()
    passes.count()
    problems = tuple(passes.problems.values())
    return {
        (network, layer): Dissection(
            layer=layer,
            vocabulary=concepts.vocabulary,
            plan=plan,
            thresholds=own.thresholds,
            tally=own.tally,
            dealt=own.dealt,
            rotated=tuple(one.tally for one in turned),
            examples=own.examples.images,
            images=len(concepts) - len(problems),
            problems=problems,
        )
        for (network, layer), (own, *turned) in passes.found.items()
    }


def _layers(
    name: str, network: nn.Module, layers: Sequence[str] | str, concepts: ConceptData, prepare: Preparation
) -> Sequence[str]:
    require_network(network, name)
    if layers == "auto":
        return auto_layers(network, prepare(concepts.image(0)[None]).to(device_of(network)))
    return [layers] if isinstance(layers, str) else list(layers)

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from kdlens.models.nested import first_tensor, replace_tensor

A, B = torch.zeros(2), torch.ones(3)
Named = namedtuple("Named", "hidden logits")


@dataclass(frozen=True)
class Output:
    loss: object
    logits: torch.Tensor


CONTAINERS = [
    (A, B),
    [None, A, B],
    {"loss": None, "logits": A, "hidden": (B, A)},
    OrderedDict(logits=A, hidden=[B]),
    Named(A, B),
    Output(None, A),
    (None, ("text", 3, [Output(None, A)])),
]


@pytest.mark.parametrize("container", CONTAINERS, ids=str)
def test_the_first_tensor_is_found_and_replaced_everywhere(container):
    new = torch.full((2,), 7.0)
    before = repr(container)
    changed = replace_tensor(container, A, new)
    assert first_tensor(container) is A
    assert first_tensor(changed) is new
    assert type(changed) is type(container)
    assert repr(container) == before
    assert repr(changed) == before.replace(repr(A), repr(new))


@pytest.mark.parametrize("container", [None, (), {}, "text", [None, {"a": 3}], Output])
def test_where_there_is_no_tensor(container):
    assert first_tensor(container) is None
    assert replace_tensor(container, A, B) is container

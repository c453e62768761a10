"""How good a network is on images: the two numbers a training's history shows."""

import torch
import torch.nn.functional as F
from torch import nn

from kdlens.processes import Processes
from kdlens.training.batches import Batches, shard
from kdlens.training.outputs import logits_of
from kdlens.training.teaching import Precision


@torch.no_grad()
def evaluate(
    network: nn.Module, data: Batches, *, batch_size: int, processes: Processes, precision: Precision
) -> dict[str, float]:
    """Return `top1` in percent and `nll`, the mean cross-entropy in nats.

    The images are shared out over the processes; every image counts once. The network comes back in the mode it had.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    part = shard(len(data), processes.rank, processes.count)
    sums = torch.zeros(2, dtype=torch.float64, device=processes.device)
    for indices in torch.arange(part.start, part.stop).split(max(batch_size, 128)):
        images, labels = (tensor.to(processes.device) for tensor in data.batch(indices))
        with precision():
            logits = logits_of(network(images), "student").float()
        sums[0] += (logits.argmax(1) == labels).sum()
        sums[1] += F.cross_entropy(logits, labels, reduction="sum")
    for module, training in modes:
        module.training = training
    correct, loss = processes.total(sums).tolist()
    return {"top1": 100 * correct / len(data), "nll": loss / len(data)}

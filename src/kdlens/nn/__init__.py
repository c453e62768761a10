"""Modules to put into networks: a mixture of experts whose routing can be read, and virtual attention.

Both are from Xue et al., KDExplainer (IJCAI 2021). `HME` splits a student's classes into tasks that share experts;
`insert_vam` gives the convolutions of any network attention that can be folded away after training.
"""

from kdlens.nn.attended import attention_entropy, attention_modules, attention_parameters, parameter_groups
from kdlens.nn.binary import binary_cross_entropy, binary_kd_loss, binary_soft_targets, marginal_logits
from kdlens.nn.heads import LinearHeads
from kdlens.nn.hme import HME, HMEOutput
from kdlens.nn.learn_to_branch import ltb_compat
from kdlens.nn.task_attention import TaskAttention
from kdlens.nn.vam import VAM, insert_vam
from kdlens.nn.virtual import VAMConv2d, VAMLinear

__all__ = [
    "HME",
    "VAM",
    "HMEOutput",
    "LinearHeads",
    "TaskAttention",
    "VAMConv2d",
    "VAMLinear",
    "attention_entropy",
    "attention_modules",
    "attention_parameters",
    "binary_cross_entropy",
    "binary_kd_loss",
    "binary_soft_targets",
    "insert_vam",
    "ltb_compat",
    "marginal_logits",
    "parameter_groups",
]

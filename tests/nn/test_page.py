"""The examples of the page on attention run, one after another, and say what the page says they do."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "attention.md"


def test_the_examples_run():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["vam"].layers == ()
    assert type(names["student"].layer2[1]) is names["torch"].nn.Conv2d
    assert names["mixture"](names["torch"].zeros(4, 1, 28, 28)).shape == (4, 10)
    assert all(attention.moved() > 0 for attention in names["network"].task_attentions())

"""The examples of the page on these measures run, one after another, and say what the page says they do."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "measures.md"


def test_the_examples_run():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 5
    scores = []
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
        scores.append(names.get("found"))
    alignment, roar = scores[1], scores[-1]
    assert alignment.n == 100
    assert alignment.to_frame().set_index("measure").loc["energy", "chance"] == alignment.area.value
    assert roar[0].score.n == 2
    assert len(names["scores"].steps) == 3

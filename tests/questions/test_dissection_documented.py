"""The page of the question: its examples run, its studies can be asked, and it names every measure."""

import doctest
import re
from pathlib import Path

import yaml

from kdlens.questions.dissection.question import DissectionQuestion
from kdlens.questions.making import make_questions

PAGE = Path(__file__).parents[2] / "docs" / "questions" / "dissection.md"


def test_the_page_does_what_it_says():
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 12
    assert result.failed == 0


def test_its_studies_can_be_asked():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    plain, broden = (make_questions(yaml.safe_load(block)["questions"])[0] for block in blocks)
    assert plain == DissectionQuestion()
    assert (broden.concepts, broden.images, broden.category_rule) == ("broden", 5000, "netdissect-lite")

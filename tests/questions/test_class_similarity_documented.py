"""The examples of the page on class similarity run, and its study options are real ones."""

import doctest
import re
from pathlib import Path

import pytest
import yaml

from kdlens.questions.making import make_question, make_questions

PAGE = Path(__file__).parents[2] / "docs" / "questions" / "class_similarity.md"


def test_the_examples_run():
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted >= 5
    assert found.failed == 0


def test_the_questions_of_the_page_can_be_asked():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    asked = [question for block in blocks for question in make_questions(yaml.safe_load(block)["questions"])]
    assert [question.name for question in asked] == ["class_similarity"] * 2
    assert asked[1].groups["Sandal"] == "shoes"


@pytest.mark.parametrize("option", ["mean_first", "draws", "over", "of", "groups"])
def test_options_that_the_page_names_exist(option):
    assert f"`{option}" in PAGE.read_text() or f"{option}:" in PAGE.read_text()
    assert hasattr(make_question("class_similarity"), option)

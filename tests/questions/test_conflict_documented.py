"""The examples of the page on conflicts run, and its study options are real ones."""

import doctest
import re
from pathlib import Path

import pytest
import yaml

from kdlens.questions.making import make_question, make_questions

PAGE = Path(__file__).parents[2] / "docs" / "questions" / "conflict.md"


def test_the_examples_run():
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted >= 12
    assert found.failed == 0


def test_the_questions_of_the_page_can_be_asked():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    asked = [question for block in blocks for question in make_questions(yaml.safe_load(block)["questions"])]
    assert [question.name for question in asked] == ["conflict"] * 2
    assert asked[1].groups["ship"] == "vehicles"


@pytest.mark.parametrize("option", ["layer", "task", "batch_size", "batches", "groups"])
def test_options_that_the_page_names_exist(option):
    assert f"`{option}" in PAGE.read_text() or f"{option}:" in PAGE.read_text()
    assert hasattr(make_question("conflict"), option)

import math

import numpy as np
import pytest

from kdlens.answer import COLUMNS, Answer, Notes, Row


@pytest.fixture
def answer():
    answer = Answer("accuracy", Notes("Did it help?", sources=("A (2020), Eq. 1",), options={"margin": 1.0}))
    first = answer.add(Row("top1", 91.5, model="kd", seed=0, low=90.0, high=93.0, n=2000, unit="%"))
    answer.add(Row("class_gain", math.nan, model="kd", compared_with="baseline", class_name='<b>"é,\n', p=0.5))
    answer.say("kd is right.", rows=[first], kind="verdict", tone="good")
    answer.say("mind the gap", kind="alert")
    answer.arrays["scale"] = np.float32(0.5).reshape(())
    answer.arrays["map"] = np.arange(6, dtype=np.float32).reshape(2, 3).T
    return answer


def test_saved_and_loaded_is_the_same(answer, tmp_path):
    answer.save(tmp_path)
    again = Answer.load(tmp_path)
    assert again.notes == answer.notes
    assert again.findings == answer.findings
    assert again.rows[0] == answer.rows[0]
    assert math.isnan(again.rows[1].value)
    assert again.rows[1].class_name == answer.rows[1].class_name
    assert again.rows[1].seed is None
    np.testing.assert_array_equal(again.arrays["map"], answer.arrays["map"])
    assert again.arrays["scale"].shape == ()


def test_names_that_look_like_missing_values_survive(tmp_path):
    answer = Answer("accuracy", Notes("?"))
    answer.add(Row("top1", 1.0, model="None", class_name="nan"))
    answer.add(Row("top1", 1.0, model="NA", class_name="null"))
    answer.save(tmp_path)
    assert [(r.model, r.class_name) for r in Answer.load(tmp_path).rows] == [("None", "nan"), ("NA", "null")]


def test_an_empty_answer_survives(tmp_path):
    Answer("x", Notes("?")).save(tmp_path)
    assert Answer.load(tmp_path).rows == []


def test_a_finding_without_support_is_refused(answer):
    with pytest.raises(ValueError, match="needs the rows that support it"):
        answer.say("because I say so")
    with pytest.raises(ValueError, match="the table has 2"):
        answer.say("row nine", rows=[9])


def test_select_and_value(answer):
    assert answer.value("top1", model="kd", seed=0) == 91.5
    with pytest.raises(LookupError, match="0 rows"):
        answer.value("top1", model="nobody")
    with pytest.raises(ValueError, match="no such column"):
        answer.select(modle="kd")


def test_the_frame_is_long_and_typed(answer):
    frame = answer.to_frame()
    assert list(frame.columns) == list(COLUMNS)
    assert set(frame.question) == {"accuracy"}
    assert frame.value.dtype == "float64"


def test_many_answers_in_a_notebook_are_a_few_lines():
    answer = Answer("accuracy", Notes("?" * 1000), [Row("top1", 1.0)] * 58, {"map": np.zeros((3, 64, 64))})
    assert repr({"accuracy": answer}) == "{'accuracy': Answer('accuracy', 58 rows, 0 findings, 1 array)}"

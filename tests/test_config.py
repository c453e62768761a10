import pytest

from kdlens.config import StudyConfig, load_yaml

GOOD = """
seed: 3
data: {name: folder, root: ./photos, split: test, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], on_error: skip}
models:
  teacher:  {arch: "nets.py:build_teacher", weights: teacher.safetensors}
  baseline: {arch: "nets.py:build", weights: [b0.safetensors, b1.safetensors]}
  students: {kd: {arch: "nets.py:build", weights: student.safetensors}}
layers: auto
questions: [accuracy, {unicam: {features: flat}}, relevance]
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return write


def test_the_documented_study_is_read(written):
    study = load_yaml(written(GOOD), StudyConfig)
    assert study.seed == 3
    assert study.models.baseline.weight_files == ["b0.safetensors", "b1.safetensors"]
    assert study.data.options == {"on_error": "skip"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("questions:", "questoins:"), 'questoins: unknown key; did you mean "questions"?'),
        (("weights: teacher", "weihgts: teacher"), 'models.teacher.weihgts: unknown key; did you mean "weights"?'),
        (("seed: 3", "seed: three"), "seed: expected a whole number, got 'three'"),
        (("mean: [0.5, 0.5, 0.5], ", ""), "give both mean and std, or neither"),
        (("students: {kd:", "students: {teacher:"), 'a student cannot be called "teacher"'),
        (("  baseline: {arch", "  baselin: {arch"), "models.baseline: is missing"),
        (("std: [0.25, 0.25, 0.25]", "std: [0.25, 0, 0.25]"), "std must be positive"),
        (("[b0.safetensors, b1.safetensors]", "[]"), "names no weights file"),
        (("layers: auto", "layers: {pupil: [a]}"), "layers are given per role"),
        (("{unicam: {features: flat}}", "{unicam: {}, accuracy: {}}"), "one entry"),
        (
            ("questions: [accuracy, {unicam: {features: flat}}, relevance]", "questions: accuracy"),
            "questions: expected a list, got 'accuracy'",
        ),
        (("[accuracy, {unicam: {features: flat}}, relevance]", "[]"), "questions: expected 1 or more entries, got []"),
        (("[accuracy, {unicam", "[5, {unicam"), "questions.0: expected a text or a mapping (key: value), got 5"),
        (("layers: auto", "layers: 5"), "layers: expected 'auto' or a list or a mapping (key: value), got 5"),
        (
            ("weights: student.safetensors", "weights: 7"),
            "students.kd.weights: expected a text or a list, got 7",
        ),
        (("seed: 3", "seed: 3\ndoctor: perhaps"), "doctor: expected true or false, got 'perhaps'"),
        (("seed: 3", "seed: 3\nbatch_size: 0"), "batch_size: expected 1 or more, got 0"),
        (
            ('baseline: {arch: "nets.py:build", weights: [b0.safetensors, b1.safetensors]}', "baseline: resnet8"),
            "models.baseline: expected a mapping (key: value), got 'resnet8'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(written, change, message):
    from kdlens.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        load_yaml(written(GOOD.replace(*change)), StudyConfig)
    assert message in str(caught.value)
    assert "study.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- list",
        "seed: [1",
        "!!python/object/apply:os.system ['echo broken into']",
        "a: &a [x]\nb: *b",
        "",
    ],
)
def test_what_is_not_a_study_is_refused_and_nothing_runs(written, text, capfd):
    from kdlens.errors import ConfigError

    with pytest.raises(ConfigError):
        load_yaml(written(text), StudyConfig)
    assert "broken into" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty; `kdlens init` writes"), ("- a\n- b", r"\(key: value\), not a list"), ("hello", "not 'hello'")],
)
def test_what_the_file_holds_instead_is_said(written, text, message):
    from kdlens.errors import ConfigError

    with pytest.raises(ConfigError, match=message):
        load_yaml(written(text), StudyConfig)


def test_a_missing_file_is_named(tmp_path):
    from kdlens.errors import ConfigError

    with pytest.raises(ConfigError, match=r"cannot read .*nowhere.yaml"):
        load_yaml(tmp_path / "nowhere.yaml", StudyConfig)

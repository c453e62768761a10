"""The question as a study asks it: planted similarity that arrives, that does not, and data that cannot tell."""

import json
import math

import pytest
import torch

from kdlens.answer import Answer
from kdlens.errors import ConfigError
from kdlens.questions.class_similarity.entropy import within_category_entropy
from kdlens.questions.class_similarity.question import ClassSimilarity
from kdlens.questions.class_similarity.similarity import class_similarity
from kdlens.questions.context import Subject, Trio
from kdlens.questions.making import make_question

K, N = 8, 480
LABELS = torch.arange(N) % K
NAMES = [f"c{k}" for k in range(K)]
FAST = {"draws": 60, "permutations": 199}


class Given:
    """A study whose logits are written down: {"teacher": [(n, k)], "baseline": [...], "kd": [...]}."""

    def __init__(self, logits, labels=LABELS, classes=NAMES):
        self.labels, self.class_names, self.seed, self.data_name = labels, classes, 0, "given"
        self._logits = logits
        roles = {"teacher": "teacher", "baseline": "baseline"}
        self.subjects = [
            Subject(name, roles.get(name, "student"), torch.nn.Identity(), (), seed)
            for name, seeds in logits.items()
            for seed in range(len(seeds))
        ]

    def logits(self, subject):
        return self._logits[subject.name][subject.seed]

    def progress(self, text):
        pass

    def trios(self):
        baselines = [s for s in self.subjects if s.role == "baseline"]
        teacher = next((s for s in self.subjects if s.role == "teacher"), None)
        for s in self.subjects:
            if s.role == "student":
                yield Trio(teacher, s, baselines[s.seed % len(baselines)])


def likes(seed, k=K):
    """Which classes are alike, at random."""
    return torch.randn(k, k, generator=torch.Generator().manual_seed(seed))


def network(preference, seed, *, labels=LABELS, noise=1.0, sure=4.0):
    """Sure of the right class, with a preference among the others and noise of its own."""
    k = preference.shape[0]
    generator = torch.Generator().manual_seed(seed)
    return sure * torch.eye(k)[labels] + preference[labels] + noise * torch.randn(len(labels), k, generator=generator)


def study(student, *, baseline=None, seeds=1, **changes):
    """The teacher has the preference `likes(0)`."""
    baseline = likes(9) if baseline is None else baseline
    return Given(
        {
            "teacher": [network(likes(0), 100)],
            "baseline": [network(baseline, 200 + s) for s in range(seeds)],
            "kd": [network(student, 300 + s) for s in range(seeds)],
        },
        **changes,
    )


def verdict(answer):
    return next(f for f in answer.findings if f.kind == "verdict")


def alerts(answer):
    return [f.text for f in answer.findings if f.kind == "alert"]


def test_similarity_that_arrives_is_found():
    answer = ClassSimilarity(**FAST).answer(study(likes(0), seeds=2))
    assert answer.value("similarity_correlation", model="kd", seed=None) > 0.9
    assert abs(answer.value("similarity_correlation", model="baseline", seed=None)) < 0.4
    [gain] = answer.select(metric="similarity_gain", model="kd", seed=None)
    assert gain.low > 0.5
    assert gain.compared_with == "baseline"
    assert gain.value == pytest.approx(
        answer.value("similarity_correlation", model="kd", seed=None)
        - answer.value("similarity_correlation", model="baseline", seed=None)
    )
    assert answer.select(metric="similarity_correlation", model="kd", seed=None)[0].p == pytest.approx(1 / 200)
    said = verdict(answer)
    assert said.text.startswith("Class similarity arrived with kd: for which classes are alike, its rank correlation")
    assert "(95 % interval, n = 480 images, 8 classes, 2 seeds)" in said.text
    assert said.tone == "good"


def test_similarity_that_does_not_arrive_is_not():
    answer = ClassSimilarity(margin=0.2, **FAST).answer(study(likes(9)))
    said = verdict(answer)
    assert said.text.startswith("Class similarity did not arrive with kd, beyond what the labels teach")
    assert said.tone == "neutral"
    [null] = answer.select(metric="similarity_correlation_null", model="kd")
    assert null.low < answer.value("similarity_correlation", model="kd", seed=None) < null.high


def test_similarity_that_the_student_lost():
    answer = ClassSimilarity(**FAST).answer(study(likes(9), baseline=likes(0)))
    assert verdict(answer).text.startswith("With kd class similarity moved away from the teacher's")
    assert verdict(answer).tone == "bad"


def test_one_seed_is_told_and_several_are_not():
    told = "One seed of kd: intervals cover the choice of images, not the luck of training."
    assert any(text.startswith(told) for text in alerts(ClassSimilarity(**FAST).answer(study(likes(0)))))
    assert not any("One seed" in text for text in alerts(ClassSimilarity(**FAST).answer(study(likes(0), seeds=2))))


def test_a_student_equal_to_the_teacher_gains_all_there_is():
    given = study(likes(0))
    given._logits["kd"] = given._logits["teacher"]
    answer = ClassSimilarity(**FAST).answer(given)
    [row] = answer.select(metric="similarity_correlation", model="kd", seed=None)
    assert (row.value, row.low, row.high) == pytest.approx((1.0, 1.0, 1.0))
    gain = answer.value("similarity_gain", model="kd", seed=None)
    assert gain == pytest.approx(1 - answer.value("similarity_correlation", model="baseline", seed=None))
    assert answer.value("similarity_matched_gain", model="kd", seed=None) == pytest.approx(gain, abs=0.1)
    assert answer.value("temperature_matched", model="kd", seed=0) == pytest.approx(1.0)


def test_rows_are_the_pure_functions():
    given = study(likes(0))
    answer = ClassSimilarity(groups=[NAMES[:4], NAMES[4:]], **FAST).answer(given)
    direct = within_category_entropy(given._logits["kd"][0], LABELS, [[0, 1, 2, 3], [4, 5, 6, 7]])
    [row] = answer.select(metric="within_category_entropy", model="kd", seed=0)
    assert (row.value, row.chance, row.n, row.unit) == (pytest.approx(direct.value), math.log(4), N, "nats")
    assert row.low == pytest.approx(direct.low, abs=0.01)
    matrix = class_similarity(given._logits["kd"][0], LABELS)
    assert answer.arrays["similarity.kd"] == pytest.approx(matrix.numpy(), abs=1e-6)
    assert answer.arrays["entropy.kd"][1][0] == pytest.approx(direct.value)  # at temperature 1
    assert answer.arrays["temperatures"].tolist() == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert sorted(answer.arrays["order"].tolist()) == list(range(K))


def test_softness_is_not_taken_for_similarity():
    """The baseline at a higher temperature: its entropy rises, at one confidence nothing is left of it."""
    given = study(likes(0))
    given._logits["kd"] = [given._logits["baseline"][0] / 3]
    answer = ClassSimilarity(**FAST).answer(given)
    assert answer.select(metric="within_category_entropy_gain", model="kd", seed=None)[0].low > 0
    assert answer.value("within_category_entropy_matched_gain", model="kd", seed=None) == pytest.approx(0, abs=1e-6)
    assert answer.value("similarity_matched_gain", model="kd", seed=None) == pytest.approx(0, abs=1e-9)
    assert any("so that confidence explains the difference" in f.text for f in answer.findings)
    assert not verdict(answer).text.startswith("Class similarity arrived")


def test_the_teachers_categories_are_chosen_by_other_images_than_they_are_used_on():
    block = torch.zeros(K, K)
    block[:4, :4] = block[4:, 4:] = 3.0
    answer = ClassSimilarity(groups="teacher", **FAST).answer(
        Given({"teacher": [network(block, 1)], "baseline": [network(block, 2)], "kd": [network(block, 3)]})
    )
    assert answer.notes.options["categories"] == {"group 1": NAMES[:4], "group 2": NAMES[4:]}
    assert {row.n for row in answer.select(metric="within_category_entropy")} == {N // 2}
    assert answer.select(metric="similarity_gain", seed=None)[0].n == N
    order = answer.arrays["order"].tolist()
    assert {frozenset(order[:4]), frozenset(order[4:])} == {frozenset(range(4)), frozenset(range(4, 8))}


def test_confusions_are_told_as_sentences():
    labels = torch.arange(2000) % 10
    names = ["Shirt", "Coat", *[f"c{k}" for k in range(2, 10)]]

    def says(share):
        logits = 5.0 * torch.eye(10)[labels] + 0.1 * likes(1, 10)[labels]
        shirts = (labels == 0).nonzero().flatten()[: round(share * 200)]
        logits[shirts, 1] += 10
        return logits

    given = Given({"teacher": [says(0.15)], "baseline": [says(0.04)], "kd": [says(0.12)]}, labels, names)
    answer = ClassSimilarity(**FAST).answer(given)
    [row] = answer.select(metric="confusion_transferred")
    assert (row.class_name, row.value, row.n, row.unit) == ("Shirt → Coat", pytest.approx(8.0), 200, "points")
    assert row.low > 0
    assert answer.value("confusion_rate", model="teacher", class_name="Shirt → Coat") == pytest.approx(15.0)
    [told] = [f.text for f in answer.findings if f.text.startswith('kd takes "Shirt" for "Coat" on 12.0 % [')]
    assert "of the images, as teacher does (15.0 %); baseline on 4.0 %" in told
    assert any("kd makes 1 clearly more often that teacher finds alike, 0 that it does not" in f.text
               for f in answer.findings)  # fmt: skip


def test_two_classes_have_no_similarity():
    labels = torch.arange(20) % 2
    logits = torch.randn(20, 2)
    answer = ClassSimilarity().answer(Given({"baseline": [logits], "kd": [logits]}, labels, ["a", "b"]))
    assert not answer.rows
    assert alerts(answer) == [
        "Class similarity needs 3 classes or more, and the data has 2: with two there is only one wrong class, and "
        "nothing to be more alike. Nothing was measured; leave this question out."
    ]


@pytest.mark.parametrize("k", [3, 4])
def test_few_classes_work_and_say_how_small_p_can_be(k):
    labels = torch.arange(60) % k
    nets = {n: [network(likes(0, k), s, labels=labels)] for s, n in enumerate(("teacher", "baseline", "kd"))}
    answer = ClassSimilarity(**FAST).answer(Given(nets, labels, NAMES[:k]))
    assert answer.select(metric="similarity_gain")
    least = 1 / math.factorial(k)
    assert all(row.p >= least - 1e-12 for row in answer.select(metric="similarity_correlation"))
    assert any("no p of the Mantel test can be below" in text for text in alerts(answer))


def test_images_without_numbers_and_classes_without_images_are_told():
    given = study(likes(0))
    given._logits["kd"][0][:5] = float("nan")
    given._logits["kd"][0][LABELS == 7] = float("nan")
    given.labels = torch.where(LABELS == 6, 5, LABELS)
    answer = ClassSimilarity(**FAST).answer(given)
    told = "kd gives NaN or infinite logits; 65 of 480 images are left out for all networks."
    assert told in alerts(answer)
    assert any('2 classes of 8 have no images and have no row: "c6" and "c7"' in text for text in alerts(answer))
    assert math.isfinite(answer.value("similarity_gain", model="kd", seed=None))


def test_one_image_of_a_class_and_one_of_each():
    keep = torch.cat([torch.arange(1, N)[(LABELS[1:] != 0)], torch.tensor([0])])
    nets = {n: [network(likes(s), s)[keep]] for s, n in enumerate(("teacher", "baseline", "kd"))}
    answer = ClassSimilarity(**FAST).answer(Given(nets, LABELS[keep]))
    assert any('"c0" has one image: how such a row would vary is unknown' in text for text in alerts(answer))
    single = {name: [logits[0][:K]] for name, logits in study(likes(0))._logits.items()}
    answer = ClassSimilarity(**FAST).answer(Given(single, LABELS[:K]))
    [row] = answer.select(metric="similarity_gain", model="kd", seed=None)
    assert row.low is None
    assert any("entropies are within all classes" in text for text in alerts(answer))
    assert "is inconclusive" in verdict(answer).text


def test_a_network_that_prefers_nothing_is_told():
    given = study(likes(0))
    given._logits["kd"] = [torch.zeros(N, K)]
    answer = ClassSimilarity(**FAST).answer(given)
    assert any(text.startswith("No class similarity for kd") for text in alerts(answer))
    assert any(text.startswith("No temperature makes kd as confident as the teacher") for text in alerts(answer))
    assert "is inconclusive" in verdict(answer).text


def test_without_a_teacher_only_entropies_are_told():
    given = study(likes(0))
    del given._logits["teacher"]
    given.subjects = [s for s in given.subjects if s.role != "teacher"]
    answer = ClassSimilarity(**FAST).answer(given)
    assert not answer.select(metric="similarity_gain")
    assert answer.select(metric="within_category_entropy", model="kd")
    assert any(text.startswith("The study has no teacher, so only entropies are told") for text in alerts(answer))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": "superclasses"}, 'groups must be "auto", "teacher", "cifar100", "all", a class: category table'),
        ({"temperature": 0.0}, "temperature must be above 0 and finite, got 0.0"),
        ({"temperatures": ()}, r"temperatures must be above 0 and finite, got \(\)"),
        ({"of": "votes"}, 'of must be "probabilities" or "logits", not "votes"'),
        ({"over": "columns"}, 'over must be "rows" or "all", not "columns"'),
        ({"draws": 1}, "draws must be 2 or more, got 1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        ClassSimilarity(**options)


def test_options_from_a_file():
    asked = make_question({"class_similarity": {"groups": {"c0": "x", "c1": "x"}, "temperatures": [1, 4]}})
    assert asked.groups == {"c0": "x", "c1": "x"}
    assert asked.temperatures == (1.0, 4.0)
    lists = make_question({"class_similarity": {"groups": [["c0", "c1", "c2"]]}})
    answer = lists.answer(study(likes(0)))
    assert any(text.endswith("stand in no category with another class, and are left out of the entropies.")
               for text in alerts(answer))  # fmt: skip
    with pytest.raises(ConfigError, match=r'^question "class_similarity".*groups must be "auto"'):
        make_question({"class_similarity": {"groups": "mine"}})


def test_the_logit_variant_and_the_answer_on_disk(tmp_path):
    answer = ClassSimilarity(of="logits", over="all", base="bits", **FAST).answer(study(likes(0)))
    assert not answer.select(metric="similarity_matched_gain")
    assert verdict(answer).text.startswith("Class similarity arrived")
    assert "the interval lies above 0" in verdict(answer).text
    assert {row.unit for row in answer.select(metric="within_category_entropy")} == {"bits"}
    json.dumps(answer.notes.options)
    answer.save(tmp_path)
    assert Answer.load(tmp_path).rows == answer.rows


def test_the_same_study_gives_the_same_answer_twice():
    first, second = (ClassSimilarity(**FAST).answer(study(likes(0))) for _ in range(2))
    assert first.rows == second.rows
    assert [f.text for f in first.findings] == [f.text for f in second.findings]


def test_a_small_study_from_end_to_end(make_context):
    answer = ClassSimilarity(**FAST).answer(make_context(n=160, classes=5, seeds=2, students=("kd", "at")))
    assert {row.model for row in answer.select(metric="similarity_gain")} == {"kd", "at"}
    assert len([f for f in answer.findings if f.kind == "verdict"]) == 2
    assert all(row.value == row.value for row in answer.rows)
    assert answer.figure().axes

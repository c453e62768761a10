"""The questions about knowledge, with networks that keep known cells instead of measured ones."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from kdlens.errors import ConfigError
from kdlens.models.history import Checkpoint, History
from kdlens.questions.dynamics.question import Dynamics
from kdlens.questions.knowledge import measure
from kdlens.questions.knowledge.masks import on_grid
from kdlens.questions.knowledge.question import Knowledge
from kdlens.questions.making import make_question
from kdlens.study import DEFAULT_QUESTIONS

GRID = 4


class Keeps(nn.Module):
    """Stands for a network that keeps so many cells of the object and so many of the background of every image."""

    def __init__(self, on, off, dead=()):
        super().__init__()
        self.on, self.off, self.dead = on, off, set(dead)
        self.layer3 = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer3(x.mean((2, 3))[:, :2])


@dataclass
class Found:
    entropy: torch.Tensor
    backend: str = "linear"
    reason: str = "as exact as two seeds"


def fake_discarding(network, images, *, layer, grid, protocol, backend, seed, probes, positions):
    """-3.4 where a cell is kept and -2.8 elsewhere; of every third image one object cell less is kept."""
    entropy = torch.full((len(images), grid, grid), -2.8)
    foreground = on_grid(images.amax(1) > 0.6, grid)
    for one, cells, position in zip(entropy, foreground, positions.tolist(), strict=True):
        on, off = cells.nonzero(), (~cells).nonzero()
        for row, column in [*on[: network.on - (position % 3 == 0)], *off[: network.off]]:
            one[row, column] = -3.4
        if position in network.dead:
            one[:] = torch.nan
    return Found(entropy)


def accept(network, images, **options):
    return Found(torch.empty(0))


@pytest.fixture(autouse=True)
def known_entropies(monkeypatch):
    monkeypatch.setattr(measure, "information_discarding", fake_discarding)
    monkeypatch.setattr(measure, "accept_linear", accept)


def big_squares(context):
    """Objects that fill at least four cells of the grid of 4."""
    context.masks[:] = False
    context.images *= 0.5 / context.images.max()
    for i in range(len(context.images)):
        top, left = 4 * (i % 2), 4 * (i // 2 % 2)
        context.masks[i, top : top + 8, left : left + 8] = True
        context.images[i, :, context.masks[i]] = 0.9
    return context


def networks(context, **given):
    """Give every subject the network of its name; a list has one a seed."""
    context.subjects = tuple(
        replace(s, network=given[s.name][s.seed] if isinstance(given[s.name], list) else given[s.name])
        for s in context.subjects
    )
    return context


@pytest.fixture
def context(make_context):
    return networks(big_squares(make_context(n=60)), teacher=Keeps(9, 9), baseline=Keeps(2, 3), kd=Keeps(4, 2))


def ask(context, **options):
    return Knowledge(**{"images": 60, "grid": GRID, **options}).answer(context)


def test_the_counts_of_known_networks(context):
    answer = ask(context)
    third = (torch.arange(60) % 3 == 0).double()
    for name, on, off in (("kd", 4, 2), ("baseline", 2, 3)):
        for seed in (0, None):
            assert answer.value("points_on_object", model=name, layer="layer3", seed=seed) == pytest.approx(on - 1 / 3)
            assert answer.value("points_off_object", model=name, layer="layer3", seed=seed) == off
        share = 100 * (third * (on - 1) / (on - 1 + off) + (1 - third) * on / (on + off)).mean().item()
        assert answer.value("points_share", model=name, layer="layer3", seed=None) == pytest.approx(share)
    assert answer.value("points_on_object_gain", model="kd", layer="layer3", seed=None) == 2
    assert answer.value("points_off_object_gain", model="kd", layer="layer1", seed=0) == -1
    row = answer.select(metric="points_share", model="kd", layer="layer3", seed=None)[0]
    assert (row.chance, row.n, row.unit) == (25, 60, "%")
    assert row.low < row.value < row.high


def test_the_teacher_is_counted_and_compared_with_nobody(context):
    """All else is what it would be without."""
    networks(context, teacher=Keeps(9, 1), baseline=Keeps(2, 3), kd=Keeps(4, 2))
    with_teacher = ask(context)
    for layer in ("layer1", "layer3"):
        assert with_teacher.value("points_on_object", model="teacher", layer=layer, seed=None) == 4  # of 4
        assert with_teacher.value("points_off_object", model="teacher", layer=layer, seed=None) == 1
    assert "teacher" not in {row.compared_with for row in with_teacher.rows}
    assert all(not row.compared_with for row in with_teacher.select(model="teacher"))
    assert with_teacher.arrays["kept.teacher"].shape == (12, GRID, GRID)
    assert with_teacher.arrays["sweep.points_on_object.teacher"].shape == (12, 3)
    context.subjects = context.subjects[1:]
    without = ask(context)
    assert [row for row in with_teacher.rows if row.model != "teacher"] == without.rows
    assert [f.text for f in with_teacher.findings if f.kind == "verdict"] == [
        f.text for f in without.findings if f.kind == "verdict"
    ]


def test_the_teacher_has_a_way_of_its_own(context, monkeypatch):
    used = {}

    def watch(network, images, *, backend, **options):
        used.setdefault(network.on, set()).add(backend)
        return fake_discarding(network, images, backend=backend, **options)

    def refuse(network, images, **options):
        return Found(torch.empty(0), *(("monte-carlo", "stairs") if network.on == 9 else ("linear", "good")))

    monkeypatch.setattr(measure, "information_discarding", watch)
    monkeypatch.setattr(measure, "accept_linear", refuse)
    answer = ask(context)
    assert used == {4: {"linear"}, 2: {"linear"}, 9: {"monte-carlo"}}
    assert [f.text for f in answer.findings if "layer3 of teacher" in f.text] == [
        "At layer3 of teacher the fast way was not accepted (teacher: stairs), so it was measured by Monte Carlo there."
    ]
    assert answer.notes.options["way at layer3"] == "linear (kd: good; baseline: good)"
    assert answer.notes.options["way at layer3 of teacher"] == "monte-carlo (teacher: stairs)"


def test_the_first_hypothesis_is_judged_at_the_last_layer(context):
    said = next(f for f in ask(context).findings if f.kind == "verdict")
    assert said.text.startswith(
        "Hypothesis 1, more knowledge of the object: supported at layer3. kd keeps 3.7 cells of the object and "
        "baseline 1.7 (+2.0 [2.0, 2.0]); "
    )
    assert "chance 25.0 %" in said.text
    assert said.text.endswith("Off the object they keep 2.0 and 3.0 (-1.0 [-1.0, -1.0]: fewer) (60 images).")
    assert said.tone == "good"


def test_it_is_told_when_the_baseline_knows_more(context):
    networks(context, teacher=Keeps(1, 1), baseline=Keeps(4, 2), kd=Keeps(2, 3))
    said = next(f for f in ask(context).findings if f.kind == "verdict")
    assert "not supported at layer3" in said.text
    assert said.tone == "bad"


def test_more_points_of_the_same_share_are_inconclusive(context, make_context):
    """The sign of the share is unknown: in half of the images the baseline's is larger."""
    context = networks(
        big_squares(make_context(n=60, seeds=2)),
        teacher=Keeps(1, 1),
        baseline=Keeps(2, 2),
        kd=[Keeps(4, 2), Keeps(4, 8)],
    )
    said = next(f for f in ask(context).findings if f.kind == "verdict")
    assert "inconclusive at layer3" in said.text
    assert said.tone == "neutral"


def test_identical_networks_differ_in_nothing(context):
    networks(context, teacher=Keeps(1, 1), baseline=Keeps(3, 3), kd=Keeps(3, 3))
    answer = ask(context)
    for row in answer.rows:
        if row.metric.endswith("_gain"):
            assert (row.value, row.low, row.high) == (0, 0, 0)
    mine = {(r.metric, r.layer, r.seed): (r.value, r.low, r.high) for r in answer.select(model="kd", compared_with="")}
    others = {(r.metric, r.layer, r.seed): (r.value, r.low, r.high) for r in answer.select(model="baseline")}
    assert mine == others


def test_seeds_have_rows_and_intervals(make_context):
    context = networks(
        big_squares(make_context(n=60, seeds=2)),
        teacher=Keeps(1, 1),
        baseline=[Keeps(2, 2), Keeps(3, 2)],
        kd=[Keeps(4, 2), Keeps(4, 1)],
    )
    answer = ask(context)
    rows = answer.select(metric="points_on_object_gain", model="kd", layer="layer3")
    assert [row.seed for row in rows] == [0, 1, None]
    assert [row.value for row in rows] == [2, 1, 1.5]
    assert rows[2].high - rows[2].low > 5  # two seeds tell little
    assert answer.arrays["kept.kd"].shape == (12, GRID, GRID)


def test_the_published_selection_stands_beside(context):
    """Of no image does the baseline that keeps the background pass."""
    networks(context, teacher=Keeps(1, 1), baseline=Keeps(1, 6), kd=Keeps(4, 0))
    answer = ask(context)
    assert answer.select(metric="points_on_object_gain", model="kd", layer="layer3", seed=None)[0].n == 60
    chosen = answer.select(metric="points_on_object_selected_gain", model="kd", layer="layer3")
    passing = sum(1 for i in range(60) if (i % 3 != 0) and 1 / 4 >= 6 / 12)
    assert len(chosen) == (1 if passing >= 2 else 0)
    networks(context, teacher=Keeps(1, 1), baseline=Keeps(2, 5), kd=Keeps(4, 0))
    answer = ask(context)
    row = answer.select(metric="points_on_object_selected_gain", model="kd", layer="layer3")[0]
    assert row.n == 40  # two of four cells against five of twelve, but one of four where one less is kept
    assert any(f.text.startswith("On the 40 of 60 images that the published selection keeps") for f in answer.findings)


def test_rejected_images_are_counted_and_cost_the_others_nothing(context):
    networks(context, teacher=Keeps(1, 1), baseline=Keeps(2, 3, dead=[0, 4, 5]), kd=Keeps(4, 2))
    answer = ask(context)
    assert answer.select(metric="points_on_object", model="baseline", layer="layer3", seed=None)[0].n == 57
    assert answer.select(metric="points_on_object", model="kd", layer="layer3", seed=None)[0].n == 60
    assert answer.select(metric="points_on_object_gain", model="kd", layer="layer3", seed=None)[0].n == 57
    assert any(
        f.text.startswith("baseline rejects 3 of 60 images at layer3: no feature moves") for f in answer.findings
    )


def test_a_network_whose_features_are_all_dead(context):
    networks(context, teacher=Keeps(1, 1), baseline=Keeps(2, 3), kd=Keeps(4, 2, dead=range(60)))
    answer = ask(context)
    assert not answer.select(model="kd")
    assert answer.select(model="baseline")
    assert any("nothing is counted there" in f.text for f in answer.findings)


def test_images_without_background_are_left_out_and_counted(context):
    context.masks[:10] = True
    answer = ask(context)
    assert answer.select(metric="points_on_object", model="baseline", layer="layer3", seed=None)[0].n == 50
    assert any(f.text.startswith("10 images of 60 left out: no cell of the object") for f in answer.findings)


def test_without_masks_there_is_one_alert_and_no_number(make_context):
    answer = Knowledge().answer(make_context(n=40, masks=False))
    assert answer.rows == []
    assert [f.kind for f in answer.findings] == ["alert"]
    assert answer.findings[0].text.startswith('The question "knowledge" needs object masks, and the dataset "pictures"')
    assert answer.notes.question


def test_the_border_rule_is_used_where_it_is_asked_for(make_context):
    context = networks(make_context(n=40, masks=False), teacher=Keeps(1, 1), baseline=Keeps(1, 1), kd=Keeps(1, 1))
    answer = Knowledge(foreground="centre", grid=GRID).answer(context)
    assert answer.select(metric="points_share", layer="layer3", seed=None)[0].chance == 25
    assert answer.arrays["foreground"][0].sum() == 4
    assert "mask" not in answer.arrays


def test_the_grid_is_chosen_by_the_images(context):
    assert ask(context, grid="auto").notes.options["grid"] == "8 x 8"
    said = [f.text for f in ask(context, grid=5).findings if "differ in size" in f.text]
    assert said[0].startswith("The 5 x 5 cells differ in size by a factor of up to 1.78")
    assert ask(context).notes.options["grid"] == "4 x 4"


def test_one_network_that_needs_monte_carlo_makes_all_use_it(context, monkeypatch):
    used = []

    def watch(network, images, *, backend, **options):
        used.append(backend)
        return fake_discarding(network, images, backend=backend, **options)

    def refuse(network, images, **options):
        good = network.on == 2
        return Found(torch.empty(0), *(("linear", "good") if good else ("monte-carlo", "energy ratio 0.5")))

    monkeypatch.setattr(measure, "information_discarding", watch)
    monkeypatch.setattr(measure, "accept_linear", refuse)
    answer = ask(context)
    assert set(used) == {"monte-carlo"}
    assert any("At layer1 the fast way was not accepted (kd: energy ratio 0.5)" in f.text for f in answer.findings)
    assert answer.notes.options["way at layer3"] == "monte-carlo (kd: energy ratio 0.5)"
    used.clear()
    assert not any("not accepted" in f.text for f in ask(context, backend="linear").findings)
    assert set(used) == {"linear"}
    insisted = [f.text for f in ask(context, backend="linear").findings if "does not pass its checks" in f.text]
    assert insisted
    assert "`backend: auto` would have taken the slow way" in insisted[0]
    assert not any("checks" in f.text for f in ask(context, backend="monte-carlo").findings)


def test_probes_are_passed_on(trained, monkeypatch):
    """To the measure and to the trial of the fast way, in both questions."""
    given = []

    def watch(network, images, *, probes, **options):
        given.append(probes)
        return fake_discarding(network, images, probes=probes, **options)

    def try_it(network, images, *, probes, **options):
        given.append(probes)
        return accept(network, images)

    monkeypatch.setattr(measure, "information_discarding", watch)
    monkeypatch.setattr(measure, "accept_linear", try_it)
    ask(trained)
    assert set(given) == {64}
    for question, probes in ((Knowledge, 16), (Dynamics, 32)):
        given.clear()
        question(images=60, grid=GRID, probes=probes).answer(trained)
        assert set(given) == {probes}


def test_what_the_report_draws(context):
    arrays = ask(context, gallery=5).arrays
    assert arrays["image"].shape == (5, 16, 16, 3)
    assert arrays["kept.kd"].shape == arrays["foreground"].shape == (5, GRID, GRID)
    kept, inside = arrays["kept.kd"].astype(bool), arrays["foreground"].astype(bool)
    assert ((kept & inside).sum((1, 2)) >= 3).all()
    assert arrays["sweep.points_on_object.kd"].shape == (12, 3)
    before = arrays["sweep.thresholds"] < 0.5  # the level of the background is -2.9
    assert arrays["sweep.points_on_object.kd"][before, 0] == pytest.approx(4 - 1 / 3)
    assert "image" not in ask(context, gallery=0).arrays


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"images": 1}, "^images must be 2 or more, got 1$"),
        ({"grid": 1}, "^grid must be 2 or more cells a side"),
        ({"protocol": "quick"}, 'not "quick"'),
        ({"threshold": -1.0}, "^threshold must be 0 or more, got -1.0$"),
        ({"threshold": float("inf")}, "^threshold must be 0 or more and finite, got inf$"),
        ({"foreground": "box"}, '"box"'),
        ({"backend": "fast"}, '"fast"'),
        ({"probes": 7}, "^probes must be 8 or more, got 7$"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(ConfigError, match=text):
        Knowledge(**options)
    with pytest.raises(ConfigError, match=text):
        Dynamics(**options)


def test_studies_know_the_questions_but_do_not_ask_them_unasked():
    assert make_question({"knowledge": {"images": 20}}) == Knowledge(images=20)
    assert make_question({"dynamics": {"path": "per_epoch"}}) == Dynamics(path="per_epoch")
    with pytest.raises(ConfigError, match='question "dynamics", option "path"'):
        make_question({"dynamics": {"path": "per_year"}})
    assert not {"knowledge", "dynamics"} & set(DEFAULT_QUESTIONS)


EPOCHS = (0, 2, 5, 10)


def history(*points, path=(0.0, 0.5, 0.75, 1.0), epochs=EPOCHS):
    """A training whose checkpoints keep so many points on and off the object."""
    checkpoints = tuple(Checkpoint(e, Keeps(on, off)) for e, (on, off) in zip(epochs, points, strict=True))
    given = None if path is None else torch.tensor(path, dtype=torch.float64)
    return History(checkpoints, given=given)


@pytest.fixture
def trained(context):
    def at(subject, checkpoint):
        return replace(subject, network=checkpoint.source)

    context.at = at
    kd = history((1, 4), (4, 3), (4, 2), (4, 2))
    baseline = history((1, 4), (2, 4), (4, 4), (2, 3), path=(0.0, 1.0, 2.0, 3.0))
    return with_histories(context, kd=kd, baseline=baseline)


def with_histories(context, **given):
    context.subjects = tuple(replace(s, history=given.get(s.name)) for s in context.subjects)
    return context


def watch_learning(context, **options):
    return Dynamics(**{"images": 60, "grid": GRID, **options}).answer(context)


def test_the_dynamics_of_known_trainings(trained):
    answer = watch_learning(trained)
    at = {"layer": "layer3", "seed": None}
    assert answer.value("d_mean_per_step", model="kd", **at) == 0.5
    assert answer.value("d_mean_per_step", model="baseline", **at) == 2
    assert answer.value("d_mean_per_step_change", model="kd", **at) == -1.5
    assert answer.value("d_std_per_step", model="kd", **at) == 0
    assert answer.value("rho", model="kd", **at) == 100
    assert answer.value("rho", model="baseline", **at) == pytest.approx(100 * (2 / 3 * 2 / 4 + 1 / 3 * 1 / 3))
    assert answer.value("epoch_of_most_points", model="kd", **at) == 2
    assert answer.value("epoch_of_most_points_change", model="kd", **at) == -3
    row = answer.select(metric="rho_gain", model="kd", **at)[0]
    assert (row.unit, row.n, row.compared_with) == ("points", 60, "baseline")


def test_the_verdicts_of_known_trainings(trained):
    verdicts = [f for f in watch_learning(trained).findings if f.kind == "verdict"]
    assert verdicts[0].text.startswith(
        "Hypothesis 2, learned sooner and more simultaneously: inconclusive at layer3. When an image had most points "
        "on the object, the weights of kd had travelled 0.50 times their first length, those of baseline 2.00 (D_mean "
        "-1.50 [-1.50, -1.50])"
    )  # nothing varies in either
    assert verdicts[1].text.startswith("Hypothesis 3, fewer detours: supported at layer3. Of the cells of the object")


def test_short_paths_are_told_with_digits_enough(trained):
    """Weights that hardly moved have not moved 0.00 times their length."""
    kd = history((1, 4), (4, 3), (4, 2), (4, 2), path=(0.0, 0.003, 0.004, 0.005))
    baseline = history((1, 4), (2, 4), (4, 4), (2, 3), path=(0.0, 0.005, 0.0064, 0.008))
    answer = watch_learning(with_histories(trained, kd=kd, baseline=baseline))
    said = next(f.text for f in answer.findings if f.text.startswith("Hypothesis 2"))
    assert "had travelled 0.0030 times their first length, those of baseline 0.0064 (D_mean -0.0034 [" in said


def test_simultaneous_learning_is_supported_where_the_baseline_varies(trained):
    """The images of which one point less is kept peak later in the baseline, since it never keeps more than four."""
    baseline = history((1, 4), (4, 4), (5, 4), (2, 3), path=(0.0, 1.0, 2.0, 3.0))
    kd = trained.subjects[2].history
    answer = watch_learning(with_histories(trained, kd=kd, baseline=baseline))
    spread = answer.value("d_std_per_step", model="baseline", layer="layer3", seed=None)
    assert spread == pytest.approx((2 / 9) ** 0.5)
    assert answer.value("d_var_per_step", model="baseline", layer="layer3", seed=None) == pytest.approx(2 / 9)
    said = next(f for f in answer.findings if f.text.startswith("Hypothesis 2"))
    assert "supported at layer3" in said.text
    assert said.tone == "good"


def test_identical_trainings_differ_in_nothing(trained):
    same = trained.subjects[1].history
    answer = watch_learning(with_histories(trained, kd=same, baseline=same))
    for row in answer.rows:
        if row.metric.endswith(("_gain", "_change")):
            assert (row.value, row.low, row.high) == (0, 0, 0)


def test_only_common_epochs_are_compared(trained):
    kd = history((1, 4), (4, 3), (4, 2), epochs=(0, 5, 10), path=(0.0, 0.25, 0.5))
    answer = watch_learning(with_histories(trained, kd=kd, baseline=trained.subjects[1].history))
    assert answer.arrays["epochs"].tolist() == [0, 5, 10]
    assert answer.value("d_mean_per_step", model="baseline", layer="layer3", seed=None) == 2
    assert any(f.text.startswith("Only the 3 checkpoints that all networks have are compared") for f in answer.findings)


def test_no_common_epochs_is_one_alert(trained):
    kd = history((1, 4), (4, 3), epochs=(1, 10), path=(0.0, 0.25))
    answer = watch_learning(with_histories(trained, kd=kd, baseline=trained.subjects[1].history))
    assert answer.rows == []
    assert answer.findings[-1].text.startswith("The trainings have fewer than two epochs in common")


def test_missing_trainings_are_named(trained):
    answer = watch_learning(with_histories(trained, kd=trained.subjects[2].history))
    assert answer.rows == []
    assert answer.findings[0].text.startswith("No checkpoints of baseline, so nothing is said of when it learned")


def test_missing_path_lengths_leave_the_rest(trained):
    kd = history((1, 4), (4, 3), (4, 2), (4, 2), path=None)
    answer = watch_learning(with_histories(trained, kd=kd, baseline=trained.subjects[1].history))
    assert not answer.select(metric="d_mean_per_step_change")
    assert answer.value("rho", model="kd", layer="layer3", seed=None) == 100
    assert any(f.text.startswith("D_mean and D_std are unknown for kd: ") for f in answer.findings)
    assert [f.text[:12] for f in answer.findings if f.kind == "verdict"] == ["Hypothesis 3"]


def test_what_the_time_lapse_draws(trained):
    arrays = watch_learning(trained, gallery=3).arrays
    assert arrays["kept.kd"].shape == arrays["kept.baseline"].shape == (4, 3, GRID, GRID)
    assert arrays["curve.points_on_object.kd"][:, 0] == pytest.approx([2 / 3, 11 / 3, 11 / 3, 11 / 3])
    assert arrays["path.per_step.baseline"].tolist() == [0, 1, 2, 3]


def listed(of, count=None):
    """The same checkpoints given one by one."""
    one_by_one = tuple(replace(c, epoch=i, unit="checkpoint") for i, c in enumerate(of.checkpoints[:count], start=1))
    return History(one_by_one, given=None if of.given is None else of.given[:count])


def test_checkpoints_of_a_list_are_never_called_epochs(trained):
    by_epoch = watch_learning(trained)
    kd, baseline = (listed(subject.history) for subject in (trained.subjects[2], trained.subjects[1]))
    answer = watch_learning(with_histories(trained, kd=kd, baseline=baseline))
    assert not any("epoch" in row.metric.removesuffix("_change").removesuffix("_per_epoch") for row in answer.rows)
    row = answer.select(metric="checkpoint_of_most_points", model="kd", layer="layer3", seed=None)[0]
    assert (row.value, row.unit) == (2, "checkpoints")  # the second of four
    assert answer.value("checkpoint_of_most_points_change", model="kd", layer="layer3", seed=None) == 2 - 3
    assert answer.arrays["checkpoints"].tolist() == [1, 2, 3, 4]
    assert "epochs" not in answer.arrays
    assert answer.notes.options["checkpoints"] == "1, 2, 3, 4"
    assert "W(m) is the distance the layer's weights have travelled by checkpoint m, as it was given" in (
        answer.notes.method
    )
    said = [f.text for f in answer.findings]
    assert any(
        text.startswith("Counted in checkpoints, kd has most points on the object at number 2.0 and baseline at number")
        for text in said
    )
    assert not any("epoch" in text for text in said)
    for metric in ("rho", "d_mean_per_step"):
        assert [r.value for r in answer.select(metric=metric)] == [r.value for r in by_epoch.select(metric=metric)]
    assert "kd at checkpoint 1" in " ".join(trained.said)


def test_lists_of_two_lengths_have_the_first_places_in_common(trained):
    kd, baseline = listed(trained.subjects[2].history, 3), listed(trained.subjects[1].history)
    answer = watch_learning(with_histories(trained, kd=kd, baseline=baseline))
    assert answer.arrays["checkpoints"].tolist() == [1, 2, 3]
    assert any(
        f.text == "Only the 3 checkpoints that all networks have are compared; number 4 is left out."
        for f in answer.findings
    )


def test_a_list_and_a_folder_are_not_compared(trained):
    kd, baseline = listed(trained.subjects[2].history), trained.subjects[1].history
    answer = watch_learning(with_histories(trained, kd=kd, baseline=baseline))
    assert answer.rows == []
    assert answer.findings[-1].text.startswith("The checkpoints of kd are given one by one, those of baseline as a")


def test_the_dynamics_of_several_seeds(make_context):
    context = networks(
        big_squares(make_context(n=60, seeds=2)), teacher=Keeps(1, 1), baseline=Keeps(2, 3), kd=Keeps(4, 2)
    )
    context.at = lambda subject, checkpoint: replace(subject, network=checkpoint.source)
    kept = {
        ("kd", 0): history((1, 4), (4, 3), (4, 2), (4, 2)),
        ("kd", 1): history((1, 4), (2, 3), (4, 2), (4, 2)),
        ("baseline", 0): history((1, 4), (2, 4), (4, 4), (2, 3)),
        ("baseline", 1): history((1, 4), (2, 4), (3, 4), (4, 3)),
    }
    context.subjects = tuple(replace(s, history=kept.get((s.name, s.seed))) for s in context.subjects)
    rows = watch_learning(context).select(metric="d_mean_per_step_change", model="kd", layer="layer3")
    assert [row.seed for row in rows] == [0, 1, None]
    assert [row.value for row in rows] == [0.5 - 0.75, 0.75 - 1.0, -0.25]
    rho = watch_learning(context).select(metric="rho_gain", model="kd", layer="layer3")
    assert rho[0].value > rho[1].value == 0  # the second baseline makes no detour either
    assert rho[2].low < 0 < rho[2].value  # two seeds that differ tell little

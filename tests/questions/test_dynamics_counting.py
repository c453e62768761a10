import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdlens.errors import DataError, StatisticsError
from kdlens.questions.dynamics.counting import count_dynamics, first_peak, stability
from kdlens.questions.knowledge.masks import centre
from kdlens.questions.knowledge.points import knowledge_points


def sets(*cells):
    """Kept cells of one image with 1 x 6 cells at every checkpoint."""
    kept = torch.zeros(len(cells), 1, 1, 6, dtype=torch.bool)
    for checkpoint, of_checkpoint in enumerate(cells):
        kept[checkpoint, 0, 0, list(of_checkpoint)] = True
    return kept


@pytest.mark.parametrize(
    ("kept", "rho"),
    [
        (sets({0, 1}, {0, 1}, {0, 1}), 1),  # identical
        (sets({0, 1}, {2, 3}, {4, 5}), 1 / 3),  # disjoint and of one size
        (sets({0}, {0, 1}, {0, 1, 2}), 1),  # growing
        (sets({0, 1, 2}, {0, 1}, {0}), 1 / 3),  # shrinking
        (sets(set(), set(), set()), 0),  # none ever
        (sets({0}, {1}, set()), 0),  # all given up
    ],
)
def test_stability_of_known_sets(kept, rho):
    assert stability(kept).item() == pytest.approx(rho)


def entropy_of(counts, cells=6):
    """Entropies `(m, n, 1, 2 cells)` with so many points on the object (the first half) at every checkpoint."""
    entropy = torch.zeros(*counts.shape, 1, 2 * cells)
    for checkpoint, image in torch.cartesian_prod(*map(torch.arange, counts.shape)).tolist():
        entropy[checkpoint, image, 0, : counts[checkpoint, image]] = -1.0
    return entropy, torch.tensor([True] * cells + [False] * cells).expand(counts.shape[1], 1, 2 * cells)


def test_the_first_of_several_peaks():
    counts = torch.tensor([[0, 5, 2, 1], [3, 5, 2, 0], [3, 1, 2, 4], [1, 5, 2, 4]])
    assert first_peak(counts.float()).tolist() == [1, 0, 0, 2]


def test_all_images_peak_at_one_checkpoint():
    counts = torch.tensor([[0, 1, 2], [4, 5, 6], [3, 5, 1]])
    found = count_dynamics(*entropy_of(counts), torch.tensor([0.0, 0.25, 0.75]), epochs=[0, 2, 5])
    assert found.on_object.tolist() == counts.tolist()
    assert found.peak.tolist() == [1, 1, 1]
    assert (found.d_mean, found.d_var, found.d_std) == (0.25, 0, 0)
    assert found.epochs.tolist() == [0, 2, 5]


def test_the_spread_is_of_the_population():
    counts = torch.tensor([[5, 1], [1, 5]])
    found = count_dynamics(*entropy_of(counts), torch.tensor([1.0, 3.0]))
    assert (found.d_mean, found.d_var, found.d_std) == (2, 1, 1)


def test_stability_is_of_the_object_alone():
    entropy, foreground = entropy_of(torch.tensor([[2], [2]]))
    entropy[0, 0, 0, 8] = -1.0  # a point off the object, given up
    found = count_dynamics(entropy, foreground)
    assert found.rho == 1
    assert found.off_object.flatten().tolist() == [1, 0]


def test_the_last_checkpoint_is_what_knowledge_points_says():
    torch.manual_seed(0)
    entropy, foreground = torch.randn(4, 5, 8, 8), centre(5, 8)
    found = count_dynamics(entropy, foreground, threshold=0.5)
    last = knowledge_points(entropy[-1], foreground, 0.5)
    assert torch.equal(found.kept[-1], last.kept)
    assert torch.equal(found.share[-1], last.share)


def test_an_image_rejected_once_is_left_out_everywhere():
    torch.manual_seed(0)
    entropy, foreground = torch.randn(3, 4, 6, 6), centre(4, 6).clone()
    entropy[1, 2] = torch.nan
    found = count_dynamics(entropy, foreground, torch.arange(3.0))
    assert found.counted.tolist() == [True, True, False, True]
    others = [0, 1, 3]
    alone = count_dynamics(entropy[:, others], foreground[others], torch.arange(3.0))
    assert torch.equal(found.kept[:, others], alone.kept)
    assert (found.d_mean, found.rho) == (alone.d_mean, alone.rho)
    assert found.peak[2] == -1
    assert found.stability[2].isnan()


def test_without_path_lengths_the_rest_is_known():
    torch.manual_seed(0)
    found = count_dynamics(torch.randn(3, 4, 6, 6), centre(4, 6))
    assert found.d_mean != found.d_mean  # NaN
    assert 0 < found.rho < 1


def test_identical_trainings_have_identical_dynamics():
    torch.manual_seed(0)
    entropy, foreground = torch.randn(3, 4, 6, 6), centre(4, 6)
    one, two = (count_dynamics(entropy.clone(), foreground, torch.arange(3.0)) for _ in range(2))
    assert torch.equal(one.path_to_peak, two.path_to_peak)
    assert torch.equal(one.stability, two.stability)


@given(st.integers(0, 2**31 - 1))
def test_noise_around_the_threshold_lowers_stability(seed):
    """The more checkpoints, the larger the union: rho can only fall when earlier checkpoints are added."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(6, 3, 4, 4, generator=generator) > 0.5
    few, many = stability(kept[3:]), stability(kept)
    assert (many <= few).all()


@pytest.mark.parametrize(
    ("entropy", "path", "error", "text"),
    [
        (torch.zeros(1, 2, 3, 3), None, StatisticsError, "two checkpoints or more, got 1"),
        (torch.zeros(2, 2, 3, 4), None, DataError, r"got \(2, 2, 3, 4\) and \(2, 3, 3\)"),
        (torch.zeros(2, 2, 3, 3), torch.zeros(3), DataError, "2 checkpoints need as many path lengths"),
    ],
)
def test_wrong_input_is_named(entropy, path, error, text):
    with pytest.raises(error, match=text):
        count_dynamics(entropy, centre(2, 3), path)

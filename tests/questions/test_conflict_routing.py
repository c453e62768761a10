"""Routing, tree, distances and clusters of a mixture of experts: known numbers, invariants, and bad input."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import kdlens
from kdlens.errors import ConfigError, ModelError, StatisticsError
from kdlens.measures import attention_report, compare_objectives, neural_tree, task_distances
from kdlens.nn import HME, TaskAttention, insert_vam
from kdlens.nn.task_attention import attention_rows
from kdlens.questions.class_similarity.clustering import average_linkage
from kdlens.questions.conflict.routing import effective_routing, level_report
from kdlens.questions.conflict.tasks import adjusted_rand, clustered, compare_groups, heights, purity
from kdlens.questions.conflict.tree import tree_of
from kdlens.questions.conflict.virtual import even_attention, extra_parameters, virtual_layers

LOGITS = torch.tensor([[2, 1, 0, 0], [0, 0, 0, 0], [0, 3, 0, 0], [0, 2.5, 0.5, 0]], dtype=torch.float64)


def near(wanted, places=8):
    return pytest.approx(wanted, abs=0.6 * 10**-places)


def test_a_level_in_known_numbers():
    report = level_report(LOGITS, 1.0)
    assert report.weights[0].tolist() == near([0.61029569, 0.22451524, 0.08259454, 0.08259454])
    assert report.weights[3].tolist() == near([0.06316634, 0.76952361, 0.10414370, 0.06316634])
    assert report.entropy.tolist() == near([1.04870510, 1.38629436, 0.52906079, 0.78610276])
    assert report.mean_entropy == near(0.93754075)
    assert report.normalised_entropy == near(0.67629270)
    assert report.perplexity.tolist() == near([2.85395, 4, 1.69734, 2.19483], 5)
    assert report.usage.tolist() == near([0.241695, 0.528522, 0.120014, 0.109770], 6)
    assert report.mutual_information == near(0.23967708)
    assert report.margin[1] == 0
    assert report.dead == ()
    assert tree_of([report.weights], "abcd").parents == ((0, 0, 1, 1),)


@pytest.mark.parametrize(("temperature", "mean"), [(0.5, 0.53006471), (0.1, 0.34669847), (1.0, 0.93754075)])
def test_entropy_by_temperature(temperature, mean):
    report = level_report(LOGITS, temperature)
    assert report.mean_entropy == near(mean)
    assert report.logit_spread == level_report(LOGITS, 1.0).logit_spread


def test_a_sender_nobody_reads_is_dead():
    report = level_report(torch.tensor([[9.0, 0.0, 0.0], [9.0, 8.9, 0.0]]), 1.0)
    assert report.dead == (2,)
    assert "dead: 2" in repr(report)
    hard = level_report(LOGITS, 0.0)
    assert hard.dead == (2, 3)
    assert hard.mean_entropy == 0
    assert hard.margin.tolist() == [1, 1, 1, 1]


def test_effective_routing_in_known_numbers():
    a1 = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    a2 = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64)
    found = effective_routing([a1, a2])
    assert found["levels.0"].flatten().tolist() == near([0.725, 0.275, 0.55, 0.45, 0.625, 0.375])
    assert found["levels.1"] is a2
    with pytest.raises(ModelError, match="attention 1 reads 2 experts, and attention 0 has 3"):
        effective_routing([torch.ones(3, 2) / 2, a2])


def test_distances_in_known_numbers():
    rows = attention_rows(LOGITS, 1.0)
    apart = task_distances(rows).square()
    wanted = {(0, 1): 0.08337258, (0, 2): 0.25469630, (0, 3): 0.20886274}
    wanted |= {(1, 2): 0.21160913, (1, 3): 0.14449465, (2, 3): 0.00986652}
    assert {pair: apart[pair].item() for pair in wanted} == near(wanted)
    alike = 1 - task_distances(rows, "cosine")
    wanted = {(0, 1): 0.75678427, (0, 2): 0.39678417, (1, 2): 0.57255571, (1, 3): 0.63966424, (2, 3): 0.99545905}
    assert {pair: alike[pair].item() for pair in wanted} == near(wanted)


def test_clusters_in_known_numbers():
    rows = torch.tensor(
        [[0.9, 0.05, 0.05], [0.85, 0.1, 0.05], [0.05, 0.9, 0.05], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.1, 0.1, 0.8]]
    ).double()
    apart = task_distances(rows)
    assert heights(apart, average_linkage(apart)) == near([0.067858, 0.099832, 0.099832, 0.620569, 0.636232], 6)
    assert clustered(apart, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert tree_of([rows], "abcdef").groups() == (0, 0, 1, 1, 2, 2)


def levels_of_the_released_network():
    """Its branch logits: s[j, k] = ((3 j + 5 k + l) mod 7) / 7, levels of 2, 4 and 8 experts, 5 classes, T = 1 / 2."""
    sizes = [2, 4, 8, 5]
    return [
        torch.tensor(
            [[((3 * j + 5 * k + level) % 7) / 7 for k in range(sizes[i])] for j in range(sizes[i + 1])]
        ).double()
        for i, level in enumerate((2, 3, 4))
    ]


def test_the_tree_of_the_released_network():
    rows = [attention_rows(logits, 0.5) for logits in levels_of_the_released_network()]
    entropies = [level_report(logits, 0.5).mean_entropy for logits in levels_of_the_released_network()]
    assert entropies == near([0.613205, 1.249764, 1.932996], 5)
    tree = tree_of(rows, ["c0", "c1", "c2", "c3", "c4"])
    assert tree.parents == ((0, 0, 1, 0), (2, 0, 2, 3, 1, 3, 1, 2), (6, 4, 2, 0, 5))
    assert [tree.path(c) for c in range(5)] == [(0, 1, 6), (0, 1, 4), (1, 2, 2), (1, 2, 0), (0, 3, 5)]
    assert tree.margins[2][3] == pytest.approx(0, abs=1e-12)
    assert tree.groups(0) == (0, 0, 1, 1, 0)
    assert [tree.depth_shared(0, c) for c in range(5)] == [3, 2, 0, 0, 1]


def mixture(seed=0, classes=5, temperature=1.0, noise=1.0):
    torch.manual_seed(seed)
    attentions = [TaskAttention(3, 4, temperature, noise=noise), TaskAttention(classes, 3, temperature, noise=noise)]
    levels = [[nn.Linear(6, 4) for _ in range(4)], [nn.Linear(4, 2) for _ in range(3)]]
    return HME(nn.Linear(6, 6), levels, [nn.Linear(2, 2) for _ in range(classes)], attentions)


def test_the_report_and_the_tree_of_a_network():
    network = mixture()
    names = ["a", "b", "c", "d", 'e"<']
    report, tree = attention_report(nn.DataParallel(network), names), neural_tree(network, names)
    assert [(level.name, level.reads) for level in report.levels] == [
        ("attentions.0", "levels.0"),
        ("attentions.1", "levels.1"),
    ]
    assert report.classes == tuple(names)
    assert {name: tuple(one.shape) for name, one in report.effective.items()} == {
        "levels.0": (5, 4),
        "levels.1": (5, 3),
    }
    torch.testing.assert_close(report.levels[1].weights, network.attentions[1].weights().detach().double())
    assert tree.parents[1] == tuple(network.attentions[1].parents().tolist())
    assert report.temperatures == (1.0,)
    assert all(level.moved == 0 for level in report.levels)
    held = json.loads(tree.to_json())
    assert [one["name"] for one in held["classes"]] == names
    assert held["classes"][2]["path"] == list(tree.path(2))
    lines = tree.text().splitlines()
    assert lines[0] == "trunk"
    assert sum("margin" in line for line in lines) == 5
    dot = tree.to_dot()
    assert dot.count("->") == 5 + len({tree.path(c)[:2] for c in range(5)}) + len({tree.path(c)[0] for c in range(5)})
    assert r'label="e\"<"' in dot


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(2, 6), st.sampled_from([0.0, 0.3, 1.0, 10.0]))
def test_what_holds_for_all_routings(seed, classes, temperature):
    report = attention_report(mixture(seed, classes, temperature))
    for level in report.levels:
        assert (level.weights.sum(1) - 1).abs().max() < 1e-9
        assert 0 <= level.mean_entropy <= math.log(level.senders) + 1e-9
        assert 0 <= level.mutual_information <= math.log(level.senders) + 1e-9
    for rows in report.effective.values():
        assert (rows.sum(1) - 1).abs().max() < 1e-6
        apart = task_distances(rows)
        assert torch.equal(apart, apart.T)
        assert 0 <= apart.min() <= apart.max() <= math.sqrt(math.log(2)) + 1e-9


def test_experts_in_another_order_are_the_same_grouping():
    rows = attention_rows(LOGITS[[0, 2, 3]], 1.0)  # without the row of equal weights, whose first one depends on order
    order = [2, 0, 3, 1]
    torch.testing.assert_close(task_distances(rows[:, order]), task_distances(rows))
    assert adjusted_rand(*(torch.tensor(tree_of([r], "abc").groups()) for r in (rows, rows[:, order]))) == 1


def test_groups_against_superclasses():
    known = [k // 5 for k in range(20)]
    same = compare_groups(known, known, seed=0)
    assert (same.ari, same.purity, same.groups, same.classes) == (1, 1, 4, 20)
    assert same.ari_p == same.purity_p == 0.001
    assert abs(same.ari_chance) < 0.05
    assert 0.4 < same.purity_chance < 0.7
    unlike = compare_groups([k % 5 for k in range(20)], known, seed=0)
    assert unlike.ari < 0
    assert unlike.ari_p > 0.5
    single = compare_groups(list(range(20)), known, seed=0)
    assert (single.purity, single.purity_chance, single.purity_p) == (1, 1, 1)  # as pure as chance
    some = compare_groups([0, 0, 1, 1, 2], [0, 0, 1, 1, -1], seed=0)
    assert some.classes == 4
    with pytest.raises(StatisticsError, match="3 classes or more"):
        compare_groups([0, 0, 1], [0, 0, -1], seed=0)
    with pytest.raises(StatisticsError, match="2 groups and 1 superclasses"):
        compare_groups([0, 0], [0], seed=0)


def test_adjusted_rand_and_purity_by_hand():
    first, second = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(first, second) == pytest.approx((2 - 6 * 3 / 15) / (4.5 - 6 * 3 / 15))
    assert purity(first, second) == pytest.approx(4 / 6)
    assert purity(second, first) == pytest.approx(5 / 6)


def test_virtual_attention_is_reported_and_switched_off():
    network = kdlens.load_model("zoo:resnet8", classes=3)
    images = torch.rand(2, 3, 32, 32)
    plain = network(images)
    vam = insert_vam(network, temperature=2.0)
    with torch.no_grad():
        for logits in vam.parameters():
            logits.copy_(torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)))
    trained = network(images)
    assert not torch.allclose(trained, plain, atol=1e-3)
    with torch.no_grad(), even_attention(network):
        torch.testing.assert_close(network(images), plain)
    torch.testing.assert_close(network(images), trained)
    report = attention_report(network)
    assert [level.name for level in report.levels] == list(vam.layers) == list(virtual_layers(network))
    assert report.mean_entropy == pytest.approx(vam.entropy().item(), abs=1e-6)
    assert report.temperatures == (2.0,)
    assert report.effective == {}
    assert extra_parameters(network) == 16 * len(vam.layers)
    with pytest.raises(RuntimeError), even_attention(network):
        raise RuntimeError
    torch.testing.assert_close(network(images), trained)


def test_networks_without_attention():
    plain = kdlens.load_model("zoo:resnet8", classes=3)
    with pytest.raises(ModelError, match="ResNet has no attention to report"):
        attention_report(plain)
    with pytest.raises(ModelError, match="no mixture of experts"):
        neural_tree(plain)
    with pytest.raises(ModelError, match="no virtual attention"), even_attention(plain):
        pass
    with pytest.raises(ConfigError, match="2 class names are given, and the network has 5 heads"):
        attention_report(mixture(), ["a", "b"])
    broken = mixture()
    with torch.no_grad():
        broken.attentions[0].logits.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"attentions\.0 has NaN"):
        attention_report(broken)


def test_what_is_no_distribution():
    with pytest.raises(StatisticsError, match="sum to 1"):
        task_distances(torch.ones(2, 2))
    with pytest.raises(StatisticsError, match="metric must be"):
        task_distances(torch.ones(2, 2) / 2, "euclid")


def test_objectives_side_by_side():
    networks = {"labels": [mixture(0), mixture(1)], "kd": [mixture(2), mixture(3)]}
    images, labels = torch.randn(20, 6), torch.arange(20) % 5
    found = compare_objectives(networks, images, labels, superclasses=[0, 0, 0, 1, 1], batch_size=10)
    assert list(found.values) == ["labels", "kd"]
    wanted = [attention_report(network).mean_entropy for network in networks["labels"]]
    assert found.values["labels"]["entropy"] == pytest.approx(wanted)
    assert found.interval("labels", "entropy").value == pytest.approx(sum(wanted) / 2)
    rate = kdlens.gradient_conflict(networks["kd"][1], images, labels, batch_size=10).rate.value
    assert found.values["kd"]["conflict_rate"][1] == rate
    accuracy = (networks["kd"][0](images).argmax(1) == labels).float().mean().item()
    assert found.values["kd"]["accuracy"][0] == pytest.approx(accuracy)
    assert 0.6 <= found.values["kd"]["purity"][0] <= 1
    frame = found.to_frame()
    assert set(frame.measure) == set(found.values["kd"])
    assert frame.seeds.tolist() == [2] * len(frame)
    assert "temperature" in repr(found)
    assert found.alerts == ("Fewer than 3 seeds of labels and kd: 2 objectives without a sound interval.",)


def test_objectives_at_different_temperatures_are_not_compared():
    with pytest.warns(UserWarning, match=r"temperatures differ \(1 and 2\)"):
        found = compare_objectives({"labels": [mixture()], "kd": [mixture(temperature=2.0)]})
    assert found.values["kd"]["temperature"] == (2.0,)
    assert "accuracy" not in found.values["kd"]
    assert "temperatures differ" in repr(found)
    with pytest.raises(ConfigError, match="at least one network"):
        compare_objectives({"labels": []})
    with pytest.raises(ConfigError, match="belong together"):
        compare_objectives({"labels": [mixture()]}, torch.randn(4, 6))

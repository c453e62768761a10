"""The demo of experts with so few images that it takes seconds: what it trains is what its study explains."""

import pytest

from kdlens.demo_experts import SEEDS, run_experts


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("experts")
    return out, run_experts(out, seed=3, images=100, epochs=1)


def test_who_reads_which_expert_is_answered(done):
    _, report = done
    table = report["conflict"].table
    entropies = table[table["metric"] == "attention_entropy"]
    assert set(entropies["model"]) == {"baseline", "kd"}
    assert entropies["value"].between(0, 1.4).all()
    assert set(report.answers) == {"accuracy", "conflict"}


def test_its_networks_and_report_are_kept(done):
    out, _ = done
    assert (out / "report.html").is_file()
    assert len(list((out / "models").glob("*.safetensors"))) == 1 + 2 * SEEDS

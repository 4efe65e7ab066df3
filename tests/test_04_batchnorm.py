"""04_batchnorm.py: cada capa contra la de PyTorch, las tablas que imprime y el azar."""
import math
import re
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import ROOT, inside
from torch.testing import assert_close as close

LESSON = "04_batchnorm.py"
TINY = "--n_embd 6 --n_hidden 12 --n_layer 2 --batch_size 64".split()
TOWNS = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[:-1:60]         # 431


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """La lección, con pocos pueblos y 60 pasos: sus nombres, y en `said` lo que dijo."""
    folder = tmp_path_factory.mktemp("batchnorm")
    (folder / "p.txt").write_text("\n".join(TOWNS), "utf-8")
    flags = "--data p.txt --steps 60 --learning_rate 0.02 --warmup_steps 9"
    names = inside(LESSON, *TINY, *flags.split(), cwd=folder)
    return SimpleNamespace(**names)


def torch_net(V, n_layer, weights):
    """La red del contrato con las capas de PyTorch, y con `weights`."""
    layers = [nn.Embedding(V, 6), nn.Flatten()]
    fan_in = 18
    for _ in range(n_layer):
        layers.append(nn.Linear(fan_in, 12, bias=False))
        layers.append(nn.BatchNorm1d(12))
        layers.append(nn.Tanh())
        fan_in = 12
    net = nn.Sequential(*layers, nn.Linear(12, V))
    lacking = net.load_state_dict(weights, strict=False)
    assert lacking.unexpected_keys == []
    assert all("num_batches" in name for name in lacking.missing_keys)
    return net


def test_the_table_of_four_bets_is_that_of_the_formula(g):
    table = g.said.split("\n2.")[0]
    rows = re.findall(r"^   \[(.+)\] +(.+)$", table, re.M)
    assert len(rows) == 3
    for bet, shown in rows:
        z = [float(word) for word in bet.split(",")]
        odds = [math.exp(one) for one in z]
        total = math.log(sum(odds))
        losses = [total - one for one in z]
        losses.append(sum(losses) / 4)
        assert shown.split() == [f"{loss:.2f}" for loss in losses]


@pytest.mark.parametrize("training", [True, False])
def test_batchnorm_is_torchs(g, training):
    ours = g.BatchNorm1d(5, eps=0.01, momentum=0.3)
    theirs = nn.BatchNorm1d(5, eps=0.01, momentum=0.3)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    for layer in ours, theirs:
        torch.manual_seed(0)
        layer(torch.randn(9, 5))                             # que tenga qué recordar
        layer.train(training)
    x = 3 * torch.randn(9, 5) + 2
    close(ours(x), theirs(x))
    close(ours.running_mean, theirs.running_mean)
    close(ours.running_var, theirs.running_var)


def test_training_on_a_batch_of_one_is_an_error(g):
    with pytest.raises(ZeroDivisionError):
        g.BatchNorm1d(3)(torch.randn(1, 3))


def test_evaluating_a_batch_of_one_is_not(g):
    layer = g.BatchNorm1d(3).eval()
    assert layer(torch.randn(1, 3)).isfinite().all()


@pytest.mark.parametrize("n_layer", [1, 2, 5])
def test_the_network_is_torchs_name_by_name(g, n_layer):
    net = g.mlp(6, 12, n_layer)
    net(g.X[:50])                                            # que lo anotado no sea lo de fábrica
    theirs = torch_net(g.V, n_layer, net.state_dict())
    x = g.X[:20]
    net.eval()
    theirs.eval()
    close(net(x), theirs(x))


@pytest.mark.parametrize("constant, layers", [
    ("gain", [2, 5]),
    ("last", [8]),
])
def test_a_constant_scales_its_layers_alone(g, constant, layers):
    torch.manual_seed(3)
    one = g.mlp(6, 50, 2, **{constant: 1})
    torch.manual_seed(3)
    three = g.mlp(6, 50, 2, **{constant: 3})
    for i in 2, 5, 8:
        factor = 3 if i in layers else 1
        close(three[i].weight, factor * one[i].weight)


def test_without_norm_a_hidden_layer_has_its_bias(g):
    net = g.mlp(6, 50, 2, norm=False)
    assert len(net) == 7
    assert net[2].bias.tolist() == [0] * 50


def test_with_the_last_matrix_at_zero_all_learn(g):
    row = re.search(r"sólo W2 a cero(.+)", g.said)[1]
    assert min(map(float, row.split()[:5])) > 0


def test_dissect_measures_what_it_says(g):
    net = g.mlp(6, 12, 2)
    theirs = torch_net(g.V, 2, net.state_dict())
    h1 = theirs[:5](g.X[:1000])
    h2 = theirs[5:8](h1)
    logits = theirs[8](h2)
    loss = F.cross_entropy(logits, g.Y[:1000])
    weights = [theirs[2].weight, theirs[5].weight]
    grads = torch.autograd.grad(loss, [h1, h2, *weights])
    first = [h1, grads[0], grads[2], weights[0]]
    second = [h2, grads[1], grads[3], weights[1]]
    measured = g.dissect(net)
    close(list(measured[0]), first)
    close(list(measured[1]), second)


def test_it_has_learnt(g):
    assert g.best["val_loss"] < math.log(g.V) - 0.6


def test_the_seed_decides_the_weights(lesson, tmp_path):
    (tmp_path / "diez.txt").write_text("\n".join("abcdefghij"), "utf-8")     # menos de 32 ventanas
    flags = ["--data", "diez.txt", "--steps", 2]
    weights = []
    for seed in 5, 5, 6:
        model = lesson(LESSON, *TINY, *flags, "--seed", seed)["model"]
        weights.append(model[2].weight)
    first, again, other = weights
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

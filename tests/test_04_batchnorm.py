"""04_batchnorm.py: cada capa contra la de PyTorch, el gradiente a mano, y lo que se guarda."""
import math
import random
import re
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import NAMES, ROOT, inside, needs_names
from hypothesis import given, settings, strategies as st
from torch.testing import assert_close as close

LESSON = "04_batchnorm.py"
TINY = "--n_embd 6 --n_hidden 12 --n_layer 2 --batch_size 64".split()
LINES = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[:-1:60]         # 431 pueblos
SHAPES = [
    (5, 3),                                                  # C
    (6, 4),                                                  # W1
    (4,),                                                    # gamma
    (4,),                                                    # beta
    (4, 5),                                                  # W2
    (5,),                                                    # b2
]


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """La lección, con pocos pueblos y 60 pasos: sus nombres, y en `said` lo que dijo."""
    folder = tmp_path_factory.mktemp("batchnorm")
    (folder / "p.txt").write_text("\n".join(LINES), "utf-8")
    flags = "--data p.txt --steps 60 --eval_interval 25 --learning_rate 0.02 --warmup_steps 9"
    names = inside(LESSON, *TINY, *flags.split(), cwd=folder)
    saved = torch.load(folder / "ckpt_batchnorm.pt", weights_only=True)
    return SimpleNamespace(**names, saved=saved)


def plain_pairs(lines, chars, size):
    """Contextos y objetivos de cada línea con un bucle corriente: dos tensores."""
    x, y = [], []
    for line in lines:
        padded = "\n" * size + line + "\n"
        ids = [chars.index(char) for char in padded]
        for i in range(size, len(ids)):
            x.append(ids[i - size:i])
            y.append(ids[i])
    return torch.tensor(x), torch.tensor(y)


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


@pytest.mark.parametrize("size", [1, 3, 7])
def test_windows_are_those_of_a_plain_loop(g, size):
    x, y = g.windows(g.val, size)
    loop_x, loop_y = plain_pairs(g.val, g.chars, size)
    assert torch.equal(x, loop_x)
    assert torch.equal(y, loop_y)


def test_the_split_is_that_of_the_house(g):
    lines = [line.strip() for line in LINES]
    random.Random(42).shuffle(lines)                         # 431 pueblos: 344, 43 y 44
    assert g.train == lines[:344]
    assert g.val == lines[344:387]
    assert g.test == lines[387:]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 9),
    st.floats(1e-6, 1e-2),
    st.floats(0.01, 1),
)
def test_batchnorm_is_torchs_in_both_modes(g, B, H, eps, momentum):
    ours = g.BatchNorm1d(H, eps, momentum).double()
    theirs = nn.BatchNorm1d(H, eps, momentum).double()
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    for training in True, True, False, True, False:
        x = torch.randn(B, H, dtype=torch.float64)
        x.requires_grad_()
        push = torch.randn_like(x)
        results = []
        for layer in ours.train(training), theirs.train(training):
            y = layer(x)
            grads = torch.autograd.grad(y, [x, *layer.parameters()], push)
            results.append([y, *grads])
        close(*results)
        close(ours.running_mean, theirs.running_mean)
        close(ours.running_var, theirs.running_var)


def test_training_on_a_batch_of_one_is_an_error(g):
    with pytest.raises(ZeroDivisionError):
        g.BatchNorm1d(3)(torch.randn(1, 3))


def test_evaluating_a_batch_of_one_is_not(g):
    layer = g.BatchNorm1d(3).eval()
    assert layer(torch.randn(1, 3)).isfinite().all()


def test_a_batch_size_of_one_gets_one_line(lesson):
    with pytest.raises(SystemExit, match="^error: BATCH_SIZE debe ser 2 o más"):
        lesson(LESSON, "--batch_size", 1)


@pytest.mark.parametrize("n_layer", [1, 2, 5])
def test_the_network_is_torchs_name_by_name(g, n_layer):
    net = g.mlp(6, 12, n_layer)
    net(g.X[:50])                                            # que lo anotado no sea lo de fábrica
    theirs = torch_net(g.V, n_layer, net.state_dict())
    x = g.X[:20]
    net.eval()
    theirs.eval()
    close(net(x), theirs(x))


def test_gain_scales_the_hidden_weights(g):
    torch.manual_seed(3)
    one = g.mlp(6, 50, 2, gain=1)
    torch.manual_seed(3)
    three = g.mlp(6, 50, 2, gain=3)
    close(3 * one[2].weight, three[2].weight)
    close(3 * one[5].weight, three[5].weight)
    close(one[8].weight, three[8].weight)


def test_last_scales_the_last_weights(g):
    torch.manual_seed(3)
    one = g.mlp(6, 50, 1, last=1)
    torch.manual_seed(3)
    tenth = g.mlp(6, 50, 1)
    close(one[5].weight, 10 * tenth[5].weight)
    close(one[2].weight, tenth[2].weight)


def test_without_norm_a_hidden_layer_has_its_bias(g):
    net = g.mlp(6, 50, 2, norm=False)
    assert len(net) == 7
    assert net[2].bias.tolist() == [0] * 50


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12))
def test_every_gradient_by_hand_is_autograds(g, B):
    weights = []
    for shape in SHAPES:
        w = torch.randn(shape, dtype=torch.float64)
        weights.append(w.requires_grad_())
    X = torch.randint(5, (B, 2))
    Y = torch.randint(5, (B,))
    v = g.by_hand(*weights, X, Y)
    C, W1, gamma, beta, W2, b2 = weights
    pre = F.embedding(X, C).flatten(1) @ W1
    h = F.batch_norm(pre, None, None, gamma, beta, True).tanh()
    logits = h @ W2 + b2
    close(v["loss"], F.cross_entropy(logits, Y))
    names = [name[2:] for name in v if name.startswith("d_")]
    assert len(names) == 22
    made = [v[name] for name in names]
    grads = torch.autograd.grad(v["loss"], made)
    for name, grad in zip(names, grads):
        close(v["d_" + name], grad, rtol=1e-6, atol=1e-9)


def test_from_zero_only_the_last_bias_learns(g):
    row = re.search(r"todo a cero(.+)", g.said)[1]
    moved = [float(number) for number in row.split()]
    assert moved[:4] == [0, 0, 0, 0]
    assert moved[4] > 0.1


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


def test_the_checkpoint_is_the_contract(g):
    c = g.saved
    names = "format model config chars weights data step train_loss val_loss"
    assert set(c) == set(names.split())
    assert c["format"] == 1
    assert c["model"] == "batchnorm"
    assert c["data"] == "p.txt"
    assert c["config"] == {
        "block_size": 3,
        "n_embd": 6,
        "n_hidden": 12,
        "n_layer": 2,
    }
    for w in c["weights"].values():
        assert w.dtype == torch.float32


def test_the_best_of_those_evaluated_is_kept(g):
    rows = re.findall(r"paso +(\d+) .* val (\S+)   mejor", g.said)
    losses = {int(step): float(val) for step, val in rows}
    assert list(losses) == [25, 50, 60]
    best = min(losses, key=losses.get)
    assert g.saved["step"] == best
    assert abs(g.saved["val_loss"] - losses[best]) < 1e-4


def test_the_losses_are_those_of_the_whole_split(g):
    model = torch_net(g.V, 2, g.saved["weights"])
    model.eval()
    said = re.findall(r"(train|val|test)=(\S+)", g.said)
    assert len(said) == 3
    for name, shown in said:
        x, y = plain_pairs(vars(g)[name], g.chars, 3)
        loss = F.cross_entropy(model(x), y)
        assert abs(loss - float(shown)) < 1e-4


def test_it_has_learnt(g):
    assert g.saved["val_loss"] < math.log(g.V) - 0.6


def test_the_rate_rises_then_falls_to_zero(g, lesson, tmp_path):
    assert math.isclose(g.rate, 0.02 / 51)                   # el paso 60 de 9 + 51
    (tmp_path / "diez.txt").write_text("\n".join("abcdefghij"), "utf-8")
    flags = "--data diez.txt --steps 2".split()
    rising = lesson(LESSON, *TINY, *flags)
    assert math.isclose(rising["rate"], 0.008 * 2 / 101)     # el paso 2 de una subida de 100
    group = rising["optimizer"].param_groups[0]
    assert group["lr"] == rising["rate"]


@pytest.mark.parametrize("seed, same", [(5, True), (6, False)])
def test_the_seed_decides_the_weights(lesson, tmp_path, seed, same):
    (tmp_path / "diez.txt").write_text("\n".join("abcdefghij"), "utf-8")     # menos de 32 ventanas
    flags = "--data diez.txt --steps 2 --seed".split()
    a = lesson(LESSON, *TINY, *flags, 5)["model"]
    b = lesson(LESSON, *TINY, *flags, seed)["model"]
    equal = torch.equal(a[2].weight, b[2].weight)
    assert equal == same


@needs_names
def test_names_has_the_split_of_the_field(lesson):
    g = lesson(LESSON, *TINY, "--steps", 0, "--data", NAMES)
    sizes = []
    for part in "train", "val", "test":
        _, y = g["windows"](g[part], 3)
        sizes.append(len(y))
    assert sizes == [182_625, 22_655, 22_866]
    assert g["V"] == 27

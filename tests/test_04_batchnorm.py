"""04_batchnorm.py: cada capa contra la de PyTorch, el gradiente a mano, y lo que se guarda."""
import math
import random
import re
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import NAMES, ROOT, inside, needs_names
from hypothesis import given, settings, strategies as st

LESSON = "04_batchnorm.py"
TINY = "--n_embd 6 --n_hidden 12 --n_layer 2 --batch_size 64".split()
LINES = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[:-1:60]         # 431 pueblos
SHAPES = (5, 3), (6, 4), (4,), (4,), (4, 5), (5,)            # C, W1, gain, bias, W2, b2


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """La lección, con pocos pueblos y 60 pasos: sus nombres, y en `said` lo que dijo."""
    folder = tmp_path_factory.mktemp("batchnorm")
    (folder / "p.txt").write_text("\n".join(LINES), "utf-8")
    flags = "--data p.txt --steps 60 --eval_interval 25 --learning_rate 0.02 --warmup_steps 9"
    return SimpleNamespace(**inside(LESSON, *TINY, *flags.split(), cwd=folder), tmp=folder)


def plain_pairs(lines, chars, size):
    """Contextos y objetivos de cada línea con un bucle corriente: dos tensores."""
    padded = ["\n" * size + line + "\n" for line in lines]
    x = [[chars.index(char) for char in p[i - size:i]] for p in padded for i in range(size, len(p))]
    return torch.tensor(x), torch.tensor([chars.index(char) for p in padded for char in p[size:]])


def torch_net(V, n_layer, weights):
    """La red del contrato con las capas de PyTorch, y con `weights`."""
    layers = [nn.Embedding(V, 6), nn.Flatten()]
    for k in range(n_layer):
        layers += [nn.Linear(12 if k else 18, 12, bias=False), nn.BatchNorm1d(12), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Linear(12, V))
    lacking = net.load_state_dict(weights, strict=False)     # sólo puede faltar lo que no se usa
    assert lacking.unexpected_keys == [] and "weight" not in "".join(lacking.missing_keys)
    return net


def test_the_table_of_four_logits_is_that_of_the_formula(g):
    rows = re.findall(r"^   ([-\d ]{14}) +(.+)$", g.said.split("\n2.")[0], re.M)
    assert len(rows) == 3
    for logits, shown in rows:
        z = [float(word) for word in logits.split()]
        losses = [math.log(sum(map(math.exp, z))) - one for one in z]
        assert shown.split() == [f"{loss:.2f}" for loss in [*losses, sum(losses) / 4]]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_windows_are_those_of_a_plain_loop(g, size):
    lines = [line.strip() for line in LINES]
    random.Random(42).shuffle(lines)
    a, b = int(0.8 * len(lines)), int(0.9 * len(lines))
    for part, expected in (g.train, lines[:a]), (g.val, lines[a:b]), (g.test, lines[b:]):
        x, y = g.windows(part, size)
        loop_x, loop_y = plain_pairs(expected, g.chars, size)
        assert torch.equal(x, loop_x) and torch.equal(y, loop_y)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 9), st.floats(1e-6, 1e-2), st.floats(0.01, 1))
def test_batchnorm_is_torchs_in_both_modes(g, B, C, eps, momentum):
    ours = g.BatchNorm1d(C, eps, momentum).double()
    theirs = nn.BatchNorm1d(C, eps, momentum).double()
    ours.weight = theirs.weight = nn.Parameter(torch.randn(C).double())
    ours.bias = theirs.bias = nn.Parameter(torch.randn(C).double())
    for training in True, True, False, True, False:
        x, push = torch.randn(B, C).double().mul(2).requires_grad_(), torch.randn(B, C).double()
        results = []
        for layer in ours.train(training), theirs.train(training):
            y = layer(x)
            results.append([y, *torch.autograd.grad(y, [x, *layer.parameters()], push),
                            layer.running_mean.clone(), layer.running_var.clone()])
        for a, b in zip(*results):
            assert torch.allclose(a, b, rtol=1e-6, atol=1e-7)


def test_a_batch_of_one_is_an_error_while_training_as_torchs(g, lesson):
    with pytest.raises(SystemExit, match="^error: BATCH_SIZE debe ser 2 o más"):
        lesson(LESSON, "--batch_size", 1)
    for layer in g.BatchNorm1d(3), nn.BatchNorm1d(3):
        with pytest.raises(ValueError):
            layer(torch.randn(1, 3))
        assert layer.running_var.tolist() == [1, 1, 1]       # no se ha estropeado
        assert layer.eval()(torch.randn(1, 3)).isfinite().all()


@pytest.mark.parametrize("n_layer", [1, 2, 5])
def test_the_network_is_torchs_sequential_name_by_name(g, n_layer):
    net = g.mlp(6, 12, n_layer)
    net(g.xs[:50])                                           # que lo anotado no sea lo de fábrica
    theirs, x = torch_net(g.V, n_layer, net.state_dict()), g.xs[:20]
    assert torch.allclose(net.eval()(x), theirs.eval()(x), atol=1e-6)
    assert len(list(net.parameters())) == len(list(theirs.parameters()))


def test_gain_scales_hidden_layers_and_norm_can_be_left_out(g):
    torch.manual_seed(3)
    one = g.mlp(6, 50, 2, gain=1)
    torch.manual_seed(3)
    three = g.mlp(6, 50, 2, gain=3, norm=False)
    for i, j, gain in (2, 2, 3), (5, 4, 3), (8, 6, 1):       # sin las capas 3 y 6
        assert torch.allclose(gain * one[i].weight, three[j].weight)
    assert len(three) == 7 and one[2].bias is None and three[2].bias is not None


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12))
def test_every_gradient_by_hand_is_autograds(g, B):
    weights = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES]
    X, Y = torch.randint(5, (B, 2)), torch.randint(5, (B,))
    v = g.by_hand(*weights, X, Y)
    C, W1, gain, bias, W2, b2 = weights
    h = F.batch_norm(F.embedding(X, C).flatten(1) @ W1, None, None, gain, bias, True).tanh()
    assert torch.allclose(v["loss"], F.cross_entropy(h @ W2 + b2, Y), atol=1e-10)
    made = [name for name in v if name not in ("X", "Y", "B", "loss") and name[:2] != "d_"]
    assert len(made) == 24
    for name, grad in zip(made, torch.autograd.grad(v["loss"], [v[name] for name in made])):
        assert torch.allclose(v["d_" + name], grad, rtol=1e-6, atol=1e-9), name


def test_from_zero_only_the_last_bias_learns_and_towards_the_frequencies(g):
    zeros, last = re.findall(r"^   (?:todo a cero|sólo la última capa)(.+)$", g.said, re.M)
    moved = [float(number) for number in zeros.split()]
    assert moved[:4] == [0, 0, 0, 0] and moved[4] > 0.1
    assert min(map(float, last.split()[:5])) > 0
    counts = Counter("".join(line + "\n" for line in g.train))
    entropy = -sum(n * math.log(n / len(g.ys)) for n in counts.values()) / len(g.ys)
    assert math.isclose(g.entropy, entropy, rel_tol=1e-4)


def test_dissect_measures_what_it_says(g):
    net = g.mlp(6, 12, 2)
    theirs = torch_net(g.V, 2, net.state_dict())
    h1 = theirs[:5](g.xs[:1000])
    h2 = theirs[5:8](h1)
    loss = F.cross_entropy(theirs[8](h2), g.ys[:1000])
    weights = theirs[2].weight, theirs[5].weight
    backs, grads = (torch.autograd.grad(loss, each, retain_graph=True) for each in ((h1, h2), weights))
    for measured, *expected in zip(g.dissect(net), (h1, h2), backs, weights, grads):
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(measured, expected))
    assert g.bars(torch.tensor([-2.0, 2.0]), 2) == "█" + "▁" * 22 + "█"


def test_what_is_kept_is_calibrated_on_the_whole_training_text(g):           # cabe en un lote
    x = g.xs
    for layer in g.net.eval():
        if isinstance(layer, g.BatchNorm1d):
            assert torch.allclose(layer.running_mean, x.mean(0), atol=1e-4)
            assert torch.allclose(layer.running_var, x.var(0), rtol=1e-3)
        x = layer(x)


def test_checkpoint_keeps_the_contract_and_its_losses_are_right(g):
    c = torch.load(g.tmp / "ckpt_batchnorm.pt", weights_only=True)
    assert " ".join(c) == "format model config chars weights data step train_loss val_loss"
    assert (c["format"], c["model"], c["data"], c["step"]) == (1, "batchnorm", "p.txt", 60)
    assert c["config"] == {"block_size": 3, "n_embd": 6, "n_hidden": 12, "n_layer": 2}
    assert all(w.dtype == torch.float32 and not w.requires_grad for w in c["weights"].values())
    model = torch_net(len(c["chars"]), 2, c["weights"]).eval()
    said = re.search(r"resultado train=(\S+) val=(\S+) test=(\S+) segundos=", g.said).groups()
    for lines, shown in zip((g.train, g.val, g.test), said):
        x, y = plain_pairs(lines, c["chars"], 3)
        assert abs(F.cross_entropy(model(x), y).item() - float(shown)) < 1e-4
    assert abs(c["train_loss"] - float(said[0])) + abs(c["val_loss"] - float(said[1])) < 1e-4
    assert c["val_loss"] < math.log(len(c["chars"])) - 0.6   # ha aprendido
    assert re.findall(r"paso +(\d+) ", g.said) == ["25", "50", "60"]
    assert math.isclose(g.optimizer.param_groups[0]["lr"], 0.02 / 51)        # tras 9, baja hasta 0
    torch.manual_seed(0)
    said, row = g.write(), "\n\n\n"
    torch.manual_seed(0)
    while len(row) < 63 and "\n" not in row[3:]:
        x = torch.tensor([[g.chars.index(char) for char in row[-3:]]])
        row += g.chars[torch.multinomial(model(x).softmax(1), 1)]
    assert said == row.strip()


def test_same_seed_same_weights_and_another_seed_others(lesson, tmp_path):
    (tmp_path / "diez.txt").write_text("\n".join("abcdefghij"), "utf-8")     # menos de 32 ventanas
    a, b, c = (lesson(LESSON, *TINY, "--data", "diez.txt", "--steps", 2, "--seed", seed)
               for seed in (5, 5, 6))
    assert all(torch.equal(p, q) for p, q in zip(a["net"].parameters(), b["net"].parameters()))
    assert not torch.equal(a["net"][0].weight, c["net"][0].weight)
    assert math.isclose(a["group"]["lr"], 0.008 * 2 / 101)   # el paso 2 de una subida de 100


@needs_names
def test_names_has_the_split_of_the_field_and_is_calibrated_in_many_batches(lesson):
    g = lesson(LESSON, *TINY, "--steps", 2, "--data", NAMES)
    sizes = [len(g["windows"](g[part], 3)[1]) for part in ("train", "val", "test")]
    assert (*sizes, g["V"]) == (182_625, 22_655, 22_866, 27)
    assert torch.allclose(g["net"][3].running_mean, g["net"][:3](g["xs"]).mean(0), atol=1e-3)

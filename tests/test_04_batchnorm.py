"""04_batchnorm.py: cada capa contra la de PyTorch, el gradiente a mano, y lo que pasa si se corta."""
import math
import os
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import ENV, ROOT, SHARED, command, one_line_error, run_script, start
from hypothesis import given, settings, strategies as st

LESSON = "04_batchnorm.py"
TINY = ["--n_embd", "6", "--n_hidden", "12", "--n_layer", "2", "--batch_size", "16"]
RESULT = re.compile(r"resultado train=(\S+) val=(\S+) test=(\S+) segundos=(\S+) tokens_s=(\S+) "
                    r"ckpt=(\S+)")


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    """Una carpeta con 400 pueblos en p.txt."""
    folder = tmp_path_factory.mktemp("pueblos")
    names = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")
    (folder / "p.txt").write_text("\n".join(names[::60][:400]), "utf-8")
    return folder


@pytest.fixture(scope="module")
def lesson(towns):
    """Los nombres de la lección, con constantes pequeñas y sin entrenar."""
    before = sys.argv, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    sys.argv = [LESSON, *TINY, "--data", str(towns / "p.txt"), "--steps", "0"]
    try:
        return runpy.run_path(str(ROOT / LESSON))
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGINT, before[1])
        signal.signal(signal.SIGPIPE, before[2])


@pytest.fixture(scope="module")
def trained(towns, tmp_path_factory):
    """Carpeta de un entrenamiento de 40 pasos: el punto de control y salida.txt."""
    folder = tmp_path_factory.mktemp("entrenado")
    done = run_script(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 40, "--eval_interval", 15,
                      "--warmup_steps", 2, "--learning_rate", 0.03, "--batch_size", 128,
                      cwd=folder, real=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    (folder / "salida.txt").write_text(done.stdout, "utf-8")
    return folder


def twin(V, config):
    """La red del contrato, con las capas de PyTorch."""
    fan_in, H = config["block_size"] * config["n_embd"], config["n_hidden"]
    layers = [nn.Embedding(V, config["n_embd"]), nn.Flatten()]
    for k in range(config["n_layer"]):
        layers += [nn.Linear(H if k else fan_in, H, bias=False), nn.BatchNorm1d(H), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(H, V))


def load(model, weights):
    """Carga `weights` y exige que sólo falten los contadores que el contrato deja fuera."""
    lacking = model.load_state_dict(weights, strict=False)
    assert not lacking.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in lacking.missing_keys)
    return model.eval()


def plain_pairs(lines, chars, size):
    """Contextos y objetivos de cada línea con un bucle corriente: dos tensores."""
    ids, x, y = {c: i for i, c in enumerate(chars)}, [], []
    for line in lines:
        context = [ids["\n"]] * size
        for char in line + "\n":
            x.append(context)
            y.append(ids[char])
            context = context[1:] + [ids[char]]
    return torch.tensor(x), torch.tensor(y)


def three_parts(path):
    """Las líneas de `path` barajadas y cortadas al 80 y al 90 %, y el vocabulario."""
    lines = [line.strip() for line in path.read_text("utf-8").split("\n") if line.strip()]
    random.Random(42).shuffle(lines)
    a, b = int(0.8 * len(lines)), int(0.9 * len(lines))
    return lines[:a], lines[a:b], lines[b:], sorted(set("\n".join(["", *lines, ""])))


# --- los datos

def test_splits_and_windows_are_those_of_a_plain_loop(lesson, towns):
    *parts, chars = three_parts(towns / "p.txt")
    assert list(lesson["chars"]) == chars
    for name, lines in zip(("train", "val", "test"), parts):
        x, y = plain_pairs(lines, chars, 3)
        assert torch.equal(lesson["parts"][name][0], x) and torch.equal(lesson["parts"][name][1], y)


# --- las capas, contra las de PyTorch

@settings(max_examples=40)
@given(st.integers(2, 40), st.integers(1, 9), st.floats(1e-6, 1e-2), st.floats(0.01, 1),
       st.integers(0, 999))
def test_batchnorm_is_torchs_in_both_modes(lesson, B, C, eps, momentum, seed):
    torch.manual_seed(seed)
    ours, theirs = lesson["BatchNorm1d"](C, eps, momentum), nn.BatchNorm1d(C, eps, momentum).double()
    for name in "weight", "bias":
        w = torch.randn(C, dtype=torch.float64)
        setattr(ours, name, w.clone().requires_grad_())
        getattr(theirs, name).data = w
    ours.running_mean, ours.running_var = ours.running_mean.double(), ours.running_var.double()
    for mode in True, True, False, True, False:
        ours.training = theirs.training = mode
        x = (2 * torch.randn(B, C, dtype=torch.float64) - 1).requires_grad_()
        a, b, push = ours(x), theirs(x), torch.randn(B, C, dtype=torch.float64)
        assert torch.allclose(a, b, atol=1e-8)
        for p, q in zip(torch.autograd.grad(a, [x, *ours.parameters()], push),
                        torch.autograd.grad(b, [x, *theirs.parameters()], push)):
            assert torch.allclose(p, q, rtol=1e-5, atol=1e-6)
        assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-10)
        assert torch.allclose(ours.running_var, theirs.running_var, atol=1e-10)


def test_batchnorm_in_evaluation_changes_nothing_and_ignores_company(lesson):
    layer = lesson["BatchNorm1d"](5)
    layer(torch.randn(20, 5))
    layer.training, kept = False, layer.running_var.clone()
    x = torch.randn(7, 5)
    assert torch.allclose(layer(x)[2:3], layer(x[2:3]), atol=1e-7)
    assert torch.equal(layer.running_var, kept)


def test_layers_have_torchs_shapes_names_and_parameters(lesson):
    with_bias, without = lesson["Linear"](4, 7), lesson["Linear"](4, 7, bias=False)
    assert [w.shape for w in with_bias.parameters()] == [(7, 4), (7,)]
    assert [w.shape for w in without.parameters()] == [(7, 4)] and without.bias is None
    x = torch.randn(3, 4)
    assert torch.allclose(with_bias(x), F.linear(x, with_bias.weight, with_bias.bias))
    assert torch.equal(lesson["Flatten"]()(torch.arange(24).view(2, 3, 4)),
                       torch.arange(24).view(2, 12))
    table, ids = lesson["Embedding"](9, 4), torch.tensor([[1, 8], [0, 1]])
    assert torch.equal(table(ids), table.weight[ids]) and len(table.parameters()) == 1
    assert torch.equal(lesson["Tanh"]()(x), x.tanh()) and lesson["Tanh"]().parameters() == []
    net = lesson["Sequential"](with_bias, lesson["BatchNorm1d"](7), lesson["Tanh"]())
    assert len(net.parameters()) == 4 and all(w.requires_grad for w in net.parameters())
    assert not any(layer.training for layer in net.train(False).layers)
    assert all(layer.training for layer in net.train().layers)


def test_linear_is_born_with_variance_one_over_fan_in(lesson):
    torch.manual_seed(0)
    assert abs(lesson["Linear"](400, 300).weight.std().item() * 20 - 1) < 0.02


@pytest.mark.parametrize("n_layer", [1, 2, 5])
def test_the_network_is_torchs_sequential_name_by_name(lesson, n_layer):
    net = lesson["mlp"](6, 12, n_layer)
    config = {"block_size": 3, "n_embd": 6, "n_hidden": 12, "n_layer": n_layer}
    theirs = twin(lesson["V"], config)
    names = [name for name in theirs.state_dict() if not name.endswith("num_batches_tracked")]
    assert sorted(net.state_dict()) == sorted(names)
    net(lesson["xs"][:50])  # que las estimaciones no sean las de fábrica
    load(theirs, net.state_dict())
    x = lesson["xs"][:20]
    assert torch.allclose(net.train(False)(x), theirs(x), atol=1e-6)


def test_gain_scales_hidden_layers_and_norm_can_be_left_out(lesson):
    torch.manual_seed(3)
    one = lesson["mlp"](6, 50, 2, gain=1)
    torch.manual_seed(3)
    three = lesson["mlp"](6, 50, 2, gain=3, norm=False)
    kinds = [type(layer).__name__ for layer in three.layers]
    assert kinds == ["Embedding", "Flatten", "Linear", "Tanh", "Linear", "Tanh", "Linear"]
    assert torch.allclose(3 * one.layers[2].weight, three.layers[2].weight)
    assert torch.allclose(3 * one.layers[5].weight, three.layers[4].weight)
    assert torch.allclose(one.layers[8].weight, three.layers[6].weight)
    assert one.layers[2].bias is None and three.layers[2].bias is not None


# --- el gradiente a mano

SMALL_SHAPES = (5, 3), (6, 4), (4,), (4,), (4, 5), (5,)


@settings(max_examples=25)
@given(st.integers(0, 9999), st.integers(2, 12))
def test_every_gradient_by_hand_is_autograds(lesson, seed, B):
    torch.manual_seed(seed)
    weights = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in SMALL_SHAPES]
    v = lesson["forward"](*weights, torch.randint(5, (B, 2)), torch.randint(5, (B,)))
    with torch.no_grad():
        d = vars(lesson["backward"](v))
    made = {name for name, t in vars(v).items() if torch.is_tensor(t) and t.is_floating_point()}
    assert made - {"loss"} == set(d)  # no falta ninguno
    for name, grad in zip(d, torch.autograd.grad(v.loss, [getattr(v, name) for name in d])):
        assert torch.allclose(d[name], grad, rtol=1e-6, atol=1e-9), name


def test_the_gradient_by_hand_is_that_of_finite_differences(lesson):
    torch.manual_seed(1)
    weights = [torch.randn(shape, dtype=torch.float64) for shape in SMALL_SHAPES]
    x, y = torch.randint(5, (8, 2)), torch.randint(5, (8,))
    d = lesson["backward"](lesson["forward"](*weights, x, y))
    for w, name in zip(weights, ("C", "W1", "gain", "bias", "W2", "b2")):
        slot, old = w.view(-1), w.view(-1)[0].item()
        losses = []
        for h in 1e-6, -1e-6:
            slot[0] = old + h
            losses.append(lesson["forward"](*weights, x, y).loss.item())
        slot[0] = old
        slope = (losses[0] - losses[1]) / 2e-6
        assert math.isclose(slope, getattr(d, name).view(-1)[0].item(), rel_tol=1e-4, abs_tol=1e-8)


def test_forward_is_the_loss_of_torchs_layers(lesson):
    torch.manual_seed(2)
    C, W1, gain, bias, W2, b2 = (torch.randn(shape, dtype=torch.float64) for shape in SMALL_SHAPES)
    x, y = torch.randint(5, (8, 2)), torch.randint(5, (8,))
    h = F.batch_norm(F.embedding(x, C).flatten(1) @ W1, None, None, gain, bias, True).tanh()
    assert torch.allclose(lesson["forward"](C, W1, gain, bias, W2, b2, x, y).loss,
                          F.cross_entropy(h @ W2 + b2, y), atol=1e-12)


# --- estadísticas y calibración

def test_dissect_measures_what_it_says(lesson):
    torch.manual_seed(0)
    net = lesson["mlp"](6, 12, 2)
    outs, grads, ratios = lesson["dissect"](net, 0.1)
    theirs = load(twin(lesson["V"], {"block_size": 3, "n_embd": 6, "n_hidden": 12, "n_layer": 2}),
                  net.state_dict()).train()
    x, y = lesson["xs"][:1000], lesson["ys"][:1000]
    loss = F.cross_entropy(theirs(x), y)
    h1 = theirs[:5](x)
    h2 = theirs[5:8](h1)
    down, = torch.autograd.grad(F.cross_entropy(theirs[8](h2), y), h1)
    assert torch.allclose(outs[0], h1, atol=1e-5) and torch.allclose(outs[1], h2, atol=1e-5)
    assert torch.allclose(grads[0], down, atol=1e-7)
    loss.backward()
    for i, ratio in zip((2, 5), ratios):
        w = theirs[i].weight
        step = 0.1 * w.grad.std().item() / w.std().item()
        assert math.isclose(ratio, math.log10(step), abs_tol=1e-3)


def test_bars_draw_the_histogram(lesson):
    assert lesson["bars"](torch.tensor([-1.0, 1.0])) == "█" + "▁" * 22 + "█"
    assert lesson["bars"](torch.linspace(-0.999, 0.999, 2400)).count("█") >= 20


def test_calibration_gives_the_statistics_of_the_whole_training_split(inside, towns):
    g = inside(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 0)
    net, xs = g["net"], g["xs"]
    for w in net.parameters():
        w.data = torch.randn_like(w)
    g["calibrate"]()
    x = xs
    for layer in net.train(False).layers:
        if isinstance(layer, g["BatchNorm1d"]):
            assert torch.allclose(layer.running_mean, x.mean(0), atol=1e-4)
            assert torch.allclose(layer.running_var, x.var(0, unbiased=False), rtol=1e-3)
        x = layer(x)
    # con un solo lote que sea todo, entrenar y evaluar dan lo mismo
    a = net.train(False)(xs)
    assert torch.allclose(a, net.train()(xs), atol=1e-3)


# --- entrenar

def test_checkpoint_keeps_the_contract_and_reports_its_own_losses(trained, towns):
    c = torch.load(trained / "ckpt_batchnorm.pt", weights_only=True)
    assert set(c) == {"format", "model", "config", "chars", "weights", "data", "step", "train_loss",
                      "val_loss"}
    assert (c["format"], c["model"], c["data"], c["step"]) == (1, "batchnorm", "p.txt", 40)
    assert c["config"] == {"block_size": 3, "n_embd": 6, "n_hidden": 12, "n_layer": 2}
    assert all(w.dtype == torch.float32 and w.is_contiguous() and not w.requires_grad
               for w in c["weights"].values())
    train, val, test, chars = three_parts(towns / "p.txt")
    assert list(c["chars"]) == chars
    model = load(twin(len(chars), c["config"]), c["weights"])
    out = (trained / "salida.txt").read_text("utf-8")
    said = RESULT.fullmatch(out.splitlines()[-1]).groups()
    with torch.no_grad():
        for lines, shown in zip((train, val, test), said):
            x, y = plain_pairs(lines, chars, 3)
            assert abs(F.cross_entropy(model(x), y).item() - float(shown)) < 1e-4
    assert abs(c["train_loss"] - float(said[0])) < 1e-4 and abs(c["val_loss"] - float(said[1])) < 1e-4
    assert float(said[3]) > 0 and int(said[4]) > 0 and said[5] == "ckpt_batchnorm.pt"
    assert os.path.getsize(trained / "ckpt_batchnorm.pt") < 40_000
    assert sorted(os.listdir(trained)) == ["ckpt_batchnorm.pt", "salida.txt"]


def test_training_learns_and_says_how_it_goes(trained):
    out = (trained / "salida.txt").read_text("utf-8")
    losses = re.findall(r"paso +(\d+)   train (\S+)   val (\S+)", out)
    assert [int(step) for step, *_ in losses] == [15, 30, 40]
    c = torch.load(trained / "ckpt_batchnorm.pt", weights_only=True)
    assert c["val_loss"] < math.log(len(c["chars"])) - 0.6
    noted, exact = map(float, re.search(r"anotado (\S+), con lo exacto (\S+):", out).groups())
    assert abs(c["val_loss"] - min(noted, exact)) < 1e-5
    assert "\r" not in out and "\033" not in out
    assert max(map(len, out.splitlines()[:-1])) <= 79
    assert re.search(r"\n\n(   .*\n){10}\n", out)  # diez líneas inventadas


def test_tables_show_what_the_lesson_claims(trained):
    out = (trained / "salida.txt").read_text("utf-8")
    with_norm, without = (list(map(float, re.search(f"{word} BatchNorm +(.+)", out)[1].split()))
                          for word in ("con", "sin"))
    assert len(with_norm) == len(without) == 6
    assert max(with_norm) - min(with_norm) < max(without) - min(without)
    assert len(re.findall(r"\b(\w+) \de[-+]\d\d", out.split("\n6.")[1].split("entropía")[0])) == 24
    rows = re.findall(r"^   (?:.{23} +\S+|  {20,}) +([135]) .* (\S+)$", out.split("\n7.")[1], re.M)
    assert [k for k, _ in rows] == ["1", "3", "5"] * 5
    right, slow = [float(r) for _, r in rows[:3]], [float(r) for _, r in rows[3:6]]
    assert all(b < a - 1 for a, b in zip(right, slow))


def test_same_seed_same_weights_and_another_seed_others(inside, towns, tmp_path):
    weights = []
    for out, seed in ("a.pt", 5), ("b.pt", 5), ("c.pt", 6):
        inside(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 9, "--seed", seed, "--out", out)
        weights.append(torch.load(tmp_path / out, weights_only=True)["weights"])
    a, b, c = weights
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["0.weight"], c["0.weight"])


def test_interrupting_saves_and_ends_in_good_order(towns, tmp_path):
    p = start(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 9, "--n_hidden", 32,
              "--batch_size", 150_000, "--eval_interval", 1, cwd=tmp_path)
    for line in p.stdout:
        if line.startswith("   paso"):
            p.send_signal(signal.SIGINT)
            break
    out, err = p.communicate()
    assert p.returncode == 0 and err == "", err
    step = int(re.search(r"interrumpido en el paso (\d+)", out)[1])
    c = torch.load(tmp_path / "ckpt_batchnorm.pt", weights_only=True)
    assert 1 <= c["step"] == step < 9
    assert f"val={c['val_loss']:.4f}" in out.splitlines()[-1] and RESULT.match(out.splitlines()[-1])


def test_a_loss_that_diverges_ends_training_and_keeps_the_checkpoint(inside, towns, tmp_path):
    (tmp_path / "ckpt_batchnorm.pt").write_bytes(b"el de antes")
    with pytest.raises(SystemExit) as end:
        inside(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 9, "--warmup_steps", 0,
               "--learning_rate", 999, "--weight_decay", 999)
    assert "dejó de ser finita en el paso" in end.value.code and "LEARNING_RATE" in end.value.code
    assert os.listdir(tmp_path) == ["ckpt_batchnorm.pt"]
    assert (tmp_path / "ckpt_batchnorm.pt").read_bytes() == b"el de antes"


def test_a_file_over_the_disk_quota_changes_nothing(inside, towns, trained, tmp_path):
    shutil.copy(trained / "ckpt_batchnorm.pt", tmp_path)
    before, limits = (tmp_path / "ckpt_batchnorm.pt").read_bytes(), resource.getrlimit(
        resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(SystemExit) as end:
            inside(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "no puedo guardar «ckpt_batchnorm.pt»" in end.value.code and "--out" in end.value.code
    assert (tmp_path / "ckpt_batchnorm.pt").read_bytes() == before
    assert os.listdir(tmp_path) == ["ckpt_batchnorm.pt"]


def test_saving_again_keeps_the_old_one(inside, towns, trained, tmp_path):
    shutil.copy(trained / "ckpt_batchnorm.pt", tmp_path)
    before = (tmp_path / "ckpt_batchnorm.pt").read_bytes()
    inside(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 3)
    assert (tmp_path / "ckpt_batchnorm.pt.bak").read_bytes() == before
    assert torch.load(tmp_path / "ckpt_batchnorm.pt", weights_only=True)["step"] == 3


def test_steps_0_writes_nothing(inside, towns, tmp_path, capsys):
    inside(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 0, "--n_layer", 1)
    out = capsys.readouterr().out
    assert os.listdir(tmp_path) == []
    assert out.splitlines()[-1] == "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-"
    assert [line[:2] for line in out.split("\n") if re.match(r"\d\.", line)] == [
        f"{k}." for k in range(1, 9)]


@pytest.mark.parametrize("flags", [
    ["--block_size", "1"], ["--block_size", "40"], ["--n_embd", "1", "--n_hidden", "1"],
    ["--batch_size", "2", "--warmup_steps", "50"], ["--seed", "2147483647"]])
def test_odd_but_legal_constants_run_whole(inside, small_text, tmp_path, flags):
    """Con un texto de 24 líneas, dos de ellas distintas."""
    inside(LESSON, *TINY, "--data", small_text, "--steps", 10, *flags)
    torch.load(tmp_path / "ckpt_batchnorm.pt", weights_only=True)


@pytest.mark.parametrize("text", ["a\n" * 10, "ab\ncd\n" * 15, "¿qué?\n" * 9 + "x" * 3000])
def test_tiny_texts_run_whole(inside, tmp_path, text):
    (tmp_path / "t.txt").write_text(text, "utf-8")
    inside(LESSON, *TINY, "--data", "t.txt", "--steps", 3)


# --- lo que recibe una mala entrada

BAD = [
    (["--data", "no_existe.txt"], ["no puedo leer «no_existe.txt»", "pueblos.txt", "prepare.py"]),
    (["--data", "latin1.txt"], ["no está en UTF-8 (byte 5)", "iconv"]),
    (["--data", "vacio.txt"], ["tiene 0 líneas", "10 o más"]),
    (["--data", "corto.txt"], ["tiene 9 líneas", "10 o más"]),
    (["--batch_size", "1"], ["BATCH_SIZE debe ser 2 o más"]),
    (["--block_size", "0"], ["BLOCK_SIZE"]),
    (["--n_embd", "0"], ["N_EMBD"]),
    (["--n_hidden", "-3"], ["N_HIDDEN"]),
    (["--n_layer", "0"], ["N_LAYER", "1 o más"]),
    (["--eval_interval", "0"], ["EVAL_INTERVAL"]),
    (["--steps", "-1"], ["STEPS", "negativos"]),
    (["--warmup_steps", "-1"], ["WARMUP_STEPS"]),
    (["--seed", str(2**40)], ["SEED"]),
    (["--learning_rate", "0"], ["LEARNING_RATE"]),
    (["--learning_rate", "nan"], ["LEARNING_RATE"]),
    (["--learning_rate", "inf"], ["LEARNING_RATE"]),
    (["--weight_decay", "nan"], ["WEIGHT_DECAY"]),
    (["--weight_decay", "-1"], ["WEIGHT_DECAY"]),
    (["--n_hidden", str(2**40)], ["no cabe"]),
    (["--n_layer", str(2**40)], ["no cabe"]),
    (["--n_embd", str(2**40)], ["no cabe"]),
    (["--block_size", str(2**40)], ["no cabe"]),
    (["--batch_size", str(2**40)], ["no cabe"]),
    (["--out", "no/hay/carpeta.pt"], ["no se puede escribir «no/hay/carpeta.pt»", "--out"]),
    (["--out", "."], ["no se puede escribir «.»"]),
    (["--plot", "texto.txt"], ["no se puede escribir en «texto.txt»", "--plot"]),
]


@pytest.mark.parametrize("flags, fragments", BAD, ids=[" ".join(f)[:30] for f, _ in BAD])
def test_bad_input_gets_its_one_line(inside, small_text, tmp_path, flags, fragments):
    (tmp_path / "latin1.txt").write_bytes(b"abcde\xe9fg\n" * 50)
    (tmp_path / "vacio.txt").write_bytes(b"")
    (tmp_path / "corto.txt").write_bytes(b"uno\ndos\ntres\n" * 3)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as end:
        inside(LESSON, *TINY, "--data", small_text, "--steps", 2, *flags)
    message = end.value.code
    assert message.startswith("error: ") and "\n" not in message
    for fragment in fragments:
        assert fragment in message
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_bad_input_from_outside_is_one_line_and_code_1(run):
    one_line_error(run(LESSON, "--data", "nada.txt"), "no puedo leer «nada.txt»")


@pytest.mark.parametrize("flag", [["--n_emb", "32"], ["--steps", "muchos"]])
def test_an_unknown_flag_or_a_wrong_type_is_argparses_error(inside, flag, capsys):
    with pytest.raises(SystemExit) as end:
        inside(LESSON, *flag)
    assert end.value.code == 2 and "error:" in capsys.readouterr().err


# --- la terminal y las figuras

def test_help_shows_every_constant_with_its_comment(inside, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        inside(LESSON, "--help")
    shown = " ".join(capsys.readouterr().out.split())
    source = (ROOT / LESSON).read_text("utf-8").split("# %%")[1]
    constants = re.findall(r"^([A-Z_]+) = .*?  # (.+)$", source, re.M)
    assert len(constants) == 14 and end.value.code == 0
    for name, note in constants:
        assert f"--{name.lower()}" in shown and " ".join(note.split()) in shown


def test_head_ends_it_quietly(towns, tmp_path):
    done = subprocess.run(" ".join(command(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 9))
                          + " | head -n 1", shell=True, cwd=tmp_path, capture_output=True,
                          env={**ENV, "PYTHONIOENCODING": "ascii"}, timeout=120)
    assert done.stderr == b"" and "caracteres: pérdida".encode() in done.stdout


def test_plot_draws_the_figures(inside, towns, tmp_path, capsys):
    pytest.importorskip("matplotlib").use("agg")
    inside(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 10, "--plot", "figs/dentro")
    out, names = capsys.readouterr().out, ["por_capas.png", "saturacion.png"]
    assert sorted(os.listdir(tmp_path / "figs" / "dentro")) == names
    for name in names:
        assert (tmp_path / "figs" / "dentro" / name).read_bytes()[:4] == b"\x89PNG"
        assert f"figura: {os.path.join('figs', 'dentro', name)}" in out


def test_plot_without_matplotlib_says_so(inside, towns, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(SystemExit) as end:
        inside(LESSON, *TINY, "--data", towns / "p.txt", "--steps", 0, "--plot", "figs")
    assert end.value.code == "error: PLOT pide matplotlib, y no está: pip install matplotlib"


@pytest.mark.skipif(not SHARED.is_dir(), reason="faltan los textos de ../shared")
def test_names_has_the_split_of_the_field(inside):
    g = inside(LESSON, *TINY, "--steps", 0, "--data", SHARED / "names.txt")
    assert (len(g["xs"]), len(g["parts"]["val"][1]), len(g["parts"]["test"][1]), g["V"]) == (
        182_625, 22_655, 22_866, 27)


def test_the_rate_climbs_and_then_falls_straight_to_zero(inside, small_text):
    for steps, expected in (2, 2 / 4), (9, 1 / 6):           # en la subida; en el último de todos
        g = inside("04_batchnorm.py", "--data", small_text, "--steps", steps, "--warmup_steps", 3,
                   "--n_hidden", 8, "--learning_rate", 0.01, "--batch_size", 4)
        assert math.isclose(g["group"]["lr"], 0.01 * expected)

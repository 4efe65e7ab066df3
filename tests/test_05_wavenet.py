"""05_wavenet.py: las capas contra PyTorch, el árbol y la convolución, el entrenamiento."""
import functools
import re
from collections import Counter

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import NAMES, needs_names, one_line_error, run_script

SCRIPT = "05_wavenet.py"
TINY = ["--n_embd", 8, "--n_hidden", 6, "--batch_size", 8, "--demo_steps", 2, "--data", "t.txt"]
VILLAGES = ["Villa del Río", "Río Hondo", "Hondarribia", "Ñuñoa", "Alba de Tormes", "Olmo",
            "Olmedo", "Vado del Alba", "Hoz", "Tormes del Río"] * 6


@pytest.fixture
def g(lesson, tmp_path):
    """Los nombres de la lección con unos pocos pueblos, sin entrenar."""
    (tmp_path / "t.txt").write_text("\n".join(VILLAGES), "utf-8")
    return lesson(SCRIPT, *TINY, "--steps", 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Un entrenamiento corto de verdad: su carpeta, lo que dijo, la última línea y lo guardado."""
    folder = tmp_path_factory.mktemp("entrenado")
    (folder / "t.txt").write_text("\n".join(VILLAGES), "utf-8")
    done = run_script(SCRIPT, *TINY, "--steps", 60, "--eval_interval", 25, "--plot", "f", cwd=folder)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    result = dict(pair.split("=") for pair in done.stdout.splitlines()[-1].split()[1:])
    return folder, done.stdout, result, torch.load(folder / "ckpt_wavenet.pt", weights_only=True)


def contexts(line, chars, size=8):
    """Cada ventana de `line` y su objetivo, con un bucle: [(ids, id)]."""
    ids = [chars.index(char) for char in "\n" * size + line + "\n"]
    return [(ids[i:i + size], ids[i + size]) for i in range(len(line) + 1)]


def wavenet_by_hand(w, c, context):
    """Notas (V,) tras `context`, una lista de ids: recursión directa, por capas y posiciones."""
    def linear(name, x):
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    @functools.cache
    def enters(i, t):
        if i == 0:                                           # antes del texto, todo es frontera
            return w["token.weight"][context[max(t, 0)]]
        change = linear(f"mix.{i - 1}", unit(i - 1, t))
        return enters(i - 1, t) + change if c["residual"] else change

    @functools.cache
    def unit(i, t):
        norm = [w[f"norm.{i}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        both = torch.stack([enters(i, t - c["dilations"][i]), enters(i, t)])
        z = linear(f"conv.{i}", F.batch_norm(both, *norm).flatten())
        half = len(z) // 2
        return z[:half].tanh() * z[half:].sigmoid() if c["gated"] else z.tanh()

    L, last = len(c["dilations"]), len(context) - 1
    out = sum(linear(f"skip.{i}", unit(i, last)) for i in range(L)) if c["skip"] else enters(L, last)
    return linear("head", out.relu())


def test_windows_and_rows_are_the_loops_by_hand(g):
    for lines in (g["train"], g["val"], ["Hoz"], ["H", "H"]):
        pairs = [pair for line in lines for pair in contexts(line, g["chars"])]
        x, y = g["by_window"](lines)
        assert list(zip(x.tolist(), y.tolist())) == pairs
        ids, start, targets = g["in_a_row"](lines)
        assert g["decode"](ids.tolist()) == "".join("\n" + line for line in lines)
        assert targets.tolist() == [target for _, target in pairs]
        begins = []
        for line in lines:
            begins += [len(begins)] * (len(line) + 1)
        assert start.tolist() == begins


def test_flatten_consecutive_puts_neighbours_side_by_side(g):
    x = torch.arange(2 * 8 * 3).view(2, 8, 3)
    for n in (1, 2, 4, 8):
        groups = [x[:, i:i + n].flatten(1) for i in range(0, 8, n)]
        assert torch.equal(g["FlattenConsecutive"](n)(x), torch.stack(groups, 1))


@pytest.mark.parametrize("shape", [(9, 5), (6, 4, 5), (2, 1, 5)])
def test_batchnorm_is_torchs_and_the_trap_has_statistics_for_each_position(g, shape):
    torch.manual_seed(0)
    ours, theirs, trap = g["BatchNorm1d"](5), nn.BatchNorm1d(5), g["BatchNorm1d"](5, cured=False)
    x = (3 * torch.randn(shape) + 2).requires_grad_()
    push = torch.randn(shape)
    for _ in range(3):
        a, b = ours(x), theirs(x.reshape(-1, 5)).view(shape)
        grads = [torch.autograd.grad((z * push).sum(), x)[0] for z in (a, b)]
        assert torch.allclose(a, b, atol=1e-5) and torch.allclose(*grads, atol=1e-5)
    assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-5)
    assert torch.allclose(ours.running_var, theirs.running_var, atol=1e-4)
    assert torch.allclose(ours.eval()(x), theirs.eval()(x.reshape(-1, 5)).view(shape), atol=1e-4)
    rows = x.reshape(shape[0], -1)                           # cada posición, otros cinco canales
    alone = F.batch_norm(rows, None, None, training=True).view(shape)
    assert torch.allclose(trap(x), alone, atol=1e-4)
    assert trap.running_mean.shape == shape[1:]
    with pytest.raises(ZeroDivisionError):                   # con un ejemplo no hay varianza
        g["BatchNorm1d"](5)(torch.ones(1, 5))


def test_flat_and_tree_weigh_the_same(g):
    V, E, H, width = g["V"], g["E"], g["H"], g["hidden"]
    tree = V * E + (2 * E * H + 2 * H) + 2 * (2 * H * H + 2 * H) + H * V + V
    flat = V * E + (8 * E * width + 2 * width) + width * V + V
    assert g["weigh"](g["network"]([2, 2, 2], H)) == tree
    assert g["weigh"](g["network"]([8], width)) == flat and 0.97 * tree < flat <= tree


@pytest.mark.parametrize("kind", [(True, True, True), (False, True, False), (True, False, False)])
def test_wavenet_is_the_recursion_by_hand_and_sees_no_further(g, kind):
    torch.manual_seed(1)
    jumps = [1, 2, 4]
    model = g["WaveNet"](jumps, 4, 3, *kind).eval()
    for norm in model.norm:                                  # estadísticas que no sean 0 y 1
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    c = {"dilations": jumps, "gated": kind[0], "residual": kind[1], "skip": kind[2]}
    ids, start, _ = g["in_a_row"](["Alba de Tormes", "Hoz"])
    got = model(ids, start)
    for t in range(len(ids)):
        by_hand = wavenet_by_hand(model.state_dict(), c, ids[start[t]:t + 1].tolist())
        assert torch.allclose(got[t], by_hand, atol=1e-5)
    other = ids.clone()
    other[2] = (ids[2] + 1) % g["V"]                         # la «l»: la ven ella y siete más
    assert (model(other, start) != got).any(1).nonzero()[:, 0].tolist() == list(range(2, 10))
    drops = []                                               # dropout: una vez en cada capa
    model.dropout.register_forward_hook(lambda *_: drops.append(1))
    model(ids, start)
    assert len(drops) == len(jumps)


def test_training_learns_and_its_checkpoint_is_the_contract(trained):
    folder, out, result, c = trained
    steps = re.findall(r"paso +(\d+)   val (\S+)", out)
    assert [int(step) for step, _ in steps] == [25, 50, 60]
    letters = torch.tensor(list(Counter("\n".join(VILLAGES)).values()))
    blind = torch.distributions.Categorical(letters).entropy()            # sin mirar el contexto
    assert f"{c['val_loss']:.4f}" == steps[-1][1] == result["val"] and c["val_loss"] < blind
    assert (c["format"], c["model"], c["data"], c["step"]) == (1, "wavenet", "t.txt", 60)
    assert c["config"] == {"block_size": 8, "dilations": [1, 1, 1, 2, 2], "n_embd": 8, "n_hidden": 6,
                           "gated": True, "residual": True, "skip": True}
    shapes = {name: tuple(w.shape) for name, w in c["weights"].items()}
    assert shapes["conv.4.weight"] == (12, 16) and shapes["skip.4.weight"] == (16, 6)
    assert shapes["norm.0.running_var"] == (8,) and "mix.4.weight" not in shapes
    for name in "campo_receptivo", "tamano":
        assert (folder / "f" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_losses_are_those_of_the_whole_split_by_hand(trained, g):
    _, _, result, c = trained
    @functools.cache
    def surprises(line):
        return [-F.log_softmax(wavenet_by_hand(c["weights"], c["config"], x), 0)[y].item()
                for x, y in contexts(line, c["chars"])]
    for name in "train", "val", "test":
        each = sum((surprises(line) for line in g[name]), [])
        assert abs(sum(each) / len(each) - float(result[name])) < 1e-4


def test_constants_that_do_not_fit_get_one_line(run, tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(VILLAGES), "utf-8")
    one_line_error(run(SCRIPT, *TINY, "--block_size", 6), "potencia de 2")
    one_line_error(run(SCRIPT, *TINY, "--block_size", 16), "DILATIONS", "= 15")


@pytest.mark.parametrize("text", ["a\n" * 10, "ja\n" * 9 + "j", "字" * 3000 + "\n語" * 12,
                                  "سلام\nعليكم\n" * 6, "9" * 99 + "\n" + "8\n" * 11],
                         ids=["una letra", "casi iguales", "larga", "árabe", "cifras"])
def test_odd_texts_and_constants_pass_every_check_and_train(lesson, tmp_path, text):
    (tmp_path / "t.txt").write_text(text, "utf-8")
    g = lesson(SCRIPT, *TINY, "--steps", 2, "--batch_size", 1, "--seed", 3, "--demo_steps", 1,
               "--dilations", "1,2,4", "--no-gated", "--no-residual", "--no-skip")
    assert torch.load("ckpt_wavenet.pt", weights_only=True)["val_loss"] == g["val_loss"] > 0


@needs_names
def test_names_have_the_partition_of_the_published_figures(lesson):
    g = lesson(SCRIPT, "--steps", 0, "--data", NAMES)
    assert (len(g["lines"]), g["V"]) == (32_033, 27)
    assert [len(g["by_window"](g[part])[1]) for part in ("train", "val")] == [182_625, 22_655]

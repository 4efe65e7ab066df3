"""05_wavenet.py: las capas contra PyTorch, la WaveNet contra una recursión a mano, lo que se guarda."""
import functools
import re

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import NAMES, needs_names, one_line_error, run_script
from torch.testing import assert_close as close

SCRIPT = "05_wavenet.py"
TINY = "--n_embd 8 --n_hidden 6 --batch_size 8 --demo_steps 2 --data t.txt".split()
VILLAGES = ["Villa del Río", "Río Hondo", "Hondarribia", "Ñuñoa", "Alba de Tormes", "Olmo",
            "Olmedo", "Vado del Alba", "Hoz", "Tormes del Río"] * 6
KINDS = [
    (True, True, True),                                      # gated, residual, skip
    (False, True, False),
    (True, False, False),
]


@pytest.fixture
def g(lesson, tmp_path):
    """Los nombres de la lección con unos pocos pueblos, sin entrenar."""
    (tmp_path / "t.txt").write_text("\n".join(VILLAGES), "utf-8")
    return lesson(SCRIPT, *TINY, "--steps", 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Un entrenamiento corto de verdad: su carpeta, lo que dijo y lo que guardó."""
    folder = tmp_path_factory.mktemp("entrenado")
    (folder / "t.txt").write_text("\n".join(VILLAGES), "utf-8")
    flags = "--steps 60 --eval_interval 25 --plot f".split()
    done = run_script(SCRIPT, *TINY, *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    checkpoint = torch.load(folder / "ckpt_wavenet.pt", weights_only=True)
    return folder, done.stdout, checkpoint


def contexts(line, chars):
    """Cada ventana de ocho de `line` y su objetivo, con un bucle: [(ids, id)]."""
    padded = "\n" * 8 + line + "\n"
    ids = [chars.index(char) for char in padded]
    pairs = []
    for i in range(8, len(ids)):
        pairs.append((ids[i - 8:i], ids[i]))
    return pairs


def wavenet_by_hand(w, c, context):
    """Notas (V,) tras `context`, una lista de ids: recursión directa, por capas y posiciones."""
    def linear(name, x):
        weight = w[f"{name}.weight"]
        return weight @ x + w[f"{name}.bias"]

    @functools.cache
    def enters(i, t):
        if i == 0:                                           # antes del texto, todo es frontera
            return w["token.weight"][context[max(t, 0)]]
        change = linear(f"mix.{i - 1}", unit(i - 1, t))
        return enters(i - 1, t) + change if c["residual"] else change

    @functools.cache
    def unit(i, t):
        parts = "running_mean running_var weight bias".split()
        norm = [w[f"norm.{i}.{part}"] for part in parts]
        before = enters(i, t - c["dilations"][i])
        both = torch.stack([before, enters(i, t)])
        z = linear(f"conv.{i}", F.batch_norm(both, *norm).flatten())
        if not c["gated"]:
            return z.tanh()
        signal, gate = z.chunk(2)
        return signal.tanh() * gate.sigmoid()

    layers = len(c["dilations"])
    last = len(context) - 1
    if c["skip"]:
        out = 0
        for i in range(layers):
            out = out + linear(f"skip.{i}", unit(i, last))
    else:
        out = enters(layers, last)
    return linear("head", out.relu())


def untrained(g, kind):
    """Una WaveNet de tres capas, con medias y varianzas que no sean 0 y 1, y su configuración."""
    jumps = [1, 2, 4]
    torch.manual_seed(1)
    model = g["WaveNet"](jumps, 4, 3, *kind)
    model.eval()
    for norm in model.norm:
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    gated, residual, skip = kind
    config = {
        "dilations": jumps,
        "gated": gated,
        "residual": residual,
        "skip": skip,
    }
    return model, config


def test_windows_are_those_of_a_plain_loop(g):
    lines = ["Hoz", "H", "Olmedo"]
    by_loop = []
    for line in lines:
        by_loop += contexts(line, g["chars"])
    x, y = g["by_window"](lines)
    pairs = zip(x.tolist(), y.tolist())
    assert list(pairs) == by_loop


def test_a_row_is_the_lines_each_after_its_boundary(g):
    ids, start, targets = g["in_a_row"](["Hoz", "Olmo"])
    assert g["decode"](ids.tolist()) == "\nHoz\nOlmo"
    assert g["decode"](targets.tolist()) == "Hoz\nOlmo\n"
    assert start.tolist() == [0, 0, 0, 0, 4, 4, 4, 4, 4]


def test_the_past_stays_in_its_line(g):
    h = torch.tensor([10, 11, 12, 13, 20, 21, 22])
    start = torch.tensor([0, 0, 0, 0, 4, 4, 4])
    before = g["past"](h, 2, start)
    assert before.tolist() == [10, 10, 10, 11, 20, 20, 20]


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_flatten_consecutive_puts_neighbours_side_by_side(g, n):
    x = torch.arange(2 * 8 * 3).view(2, 8, 3)
    groups = []
    for i in range(0, 8, n):
        neighbours = x[:, i:i + n]
        groups.append(neighbours.flatten(1))
    layer = g["FlattenConsecutive"](n)
    close(layer(x), torch.stack(groups, 1))


@pytest.mark.parametrize("shape", [
    (9, 5),
    (6, 4, 5),
    (2, 1, 5),
    (5, 5, 5),
])
def test_batchnorm_takes_every_position_as_an_example(g, shape):
    ours = g["BatchNorm"](5)
    x = 3 * torch.randn(shape) + 2
    rows = x.reshape(-1, 5)
    alone = F.batch_norm(rows, None, None, training=True)
    close(ours(x), alone.view(shape))
    assert ours.running_mean.shape == (5,)


@pytest.mark.parametrize("kind", KINDS)
def test_wavenet_is_the_recursion_by_hand(g, kind):
    model, config = untrained(g, kind)
    ids, start, _ = g["in_a_row"](["Alba de Tormes", "Hoz"])
    logits = model(ids, start)
    for t in range(len(ids)):
        context = ids[start[t]:t + 1].tolist()
        by_hand = wavenet_by_hand(model.state_dict(), config, context)
        close(logits[t], by_hand)


@pytest.mark.parametrize("kind", KINDS)
def test_a_character_is_seen_by_itself_with_the_seven_that_follow(g, kind):
    model, _ = untrained(g, kind)
    ids, start, _ = g["in_a_row"](["Alba de Tormes", "Hoz"])
    other = ids.clone()
    other[2] = (ids[2] + 1) % g["V"]
    moved = model(other, start) != model(ids, start)
    seen = moved.any(1).nonzero().flatten()
    assert seen.tolist() == [2, 3, 4, 5, 6, 7, 8, 9]


def test_dropout_comes_once_before_the_last_layer(g):
    model = g["WaveNet"]([1, 2, 4], 4, 3)
    model.dropout = nn.Threshold(9, 0)                       # el dropout que lo apaga todo
    ids, start, _ = g["in_a_row"](["Alba de Tormes"])
    logits = model(ids, start)
    close(logits, model.head.bias.expand_as(logits))


def test_the_checkpoint_is_the_contract(trained):
    _, _, c = trained
    assert c["format"] == 1
    assert c["model"] == "wavenet"
    assert c["data"] == "t.txt"
    assert c["config"] == {
        "block_size": 8,
        "dilations": [1, 1, 1, 2, 2],
        "n_embd": 8,
        "n_hidden": 6,
        "gated": True,
        "residual": True,
        "skip": True,
    }
    w = c["weights"]
    assert w["conv.4.weight"].shape == (12, 16)
    assert w["skip.4.weight"].shape == (16, 6)
    assert w["norm.0.running_var"].shape == (8,)
    assert "mix.4.weight" not in w
    for weight in w.values():
        assert weight.dtype == torch.float32


def test_the_best_of_those_evaluated_is_kept(trained):
    _, said, c = trained
    rows = re.findall(r"paso +(\d+) .* val (\S+)   mejor", said)
    losses = {int(step): float(val) for step, val in rows}
    assert list(losses) == [25, 50, 60]
    best = min(losses, key=losses.get)
    assert c["step"] == best
    assert abs(c["val_loss"] - losses[best]) < 1e-4


def test_the_losses_are_those_of_the_whole_split_by_hand(trained, g):
    _, said, c = trained
    result = re.findall(r"(train|val|test)=(\S+)", said)
    assert len(result) == 3

    @functools.cache
    def surprises(line):
        found = []
        for context, target in contexts(line, c["chars"]):
            logits = wavenet_by_hand(c["weights"], c["config"], context)
            log_p = F.log_softmax(logits, 0)
            found.append(-log_p[target].item())
        return found
    for name, shown in result:
        each = []
        for line in g[name]:
            each += surprises(line)
        average = sum(each) / len(each)
        assert abs(average - float(shown)) < 1e-4


def test_training_beats_the_bare_frequencies(trained):
    _, _, c = trained
    letters = [c["chars"].index(char) for char in "\n".join(VILLAGES)]
    counts = torch.tensor(letters).bincount().float()
    bare = torch.distributions.Categorical(counts)
    assert c["val_loss"] < bare.entropy()


def test_the_figure_is_drawn(trained):
    folder, _, _ = trained
    drawn = folder / "f" / "campo_receptivo.png"
    assert drawn.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("flags", [
    "--dilations 1,0",
    "--dilations x",
    "--dropout 1",
    "--n_embd 0",
])
def test_constants_that_do_not_fit_get_one_line(run, tmp_path, flags):
    (tmp_path / "t.txt").write_text("\n".join(VILLAGES), "utf-8")
    done = run(SCRIPT, *TINY, *flags.split())
    one_line_error(done, "DROPOUT")


@pytest.mark.parametrize("text", [
    "a\n" * 10,
    "ja\n" * 9 + "j",
    "字" * 3000 + "\n語" * 12,
    "سلام\nعليكم\n" * 6,
    "9" * 99 + "\n" + "8\n" * 11,
], ids=["una letra", "casi iguales", "larga", "árabe", "cifras"])
def test_an_odd_text_trains(lesson, tmp_path, text):
    (tmp_path / "t.txt").write_text(text, "utf-8")
    flags = "--steps 2 --batch_size 1 --seed 3 --demo_steps 1 --dilations 1,2,4"
    pieces = "--no-gated --no-residual --no-skip"
    lesson(SCRIPT, *TINY, *flags.split(), *pieces.split())
    c = torch.load(tmp_path / "ckpt_wavenet.pt", weights_only=True)
    assert c["val_loss"] > 0


@needs_names
def test_names_have_the_partition_of_the_published_figures(lesson):
    g = lesson(SCRIPT, "--steps", 0, "--data", NAMES)
    assert len(g["lines"]) == 32_033
    assert g["V"] == 27
    _, y = g["by_window"](g["train"])
    assert len(y) == 182_625

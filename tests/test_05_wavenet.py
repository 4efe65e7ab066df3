"""05_wavenet.py: las capas contra PyTorch, la WaveNet contra una recursión a mano."""
import functools

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import inside
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


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """Los nombres de la lección tras 60 pasos con unos pocos pueblos."""
    folder = tmp_path_factory.mktemp("pueblos")
    (folder / "t.txt").write_text("\n".join(VILLAGES), "utf-8")
    return inside(SCRIPT, *TINY, "--steps", 60, cwd=folder)


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


def test_training_beats_the_bare_frequencies(g):
    letters = g["encode"]("\n".join(VILLAGES))
    counts = letters.bincount().float()
    bare = torch.distributions.Categorical(counts)
    assert g["best"]["val_loss"] < bare.entropy()

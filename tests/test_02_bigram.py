"""02_bigram.py: cuentas, pérdida, sorteo, red y contexto, contra bucles, fórmulas y PyTorch."""
import contextlib
import io
import math
import random
import re
import runpy
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT

LINES = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[:-1:40]         # 646 pueblos
NAMES = [p for p in (ROOT / "data" / "names.txt", ROOT.parent / "shared" / "data" / "names.txt")
         if p.is_file()]


def loop_split():
    """Las tres partes de LINES, por el camino más llano."""
    lines = [line.strip() for line in LINES]
    random.Random(42).shuffle(lines)
    a, b = int(0.8 * len(lines)), int(0.9 * len(lines))
    return {"train": lines[:a], "val": lines[a:b], "test": lines[b:]}


def contexts(lines, k):
    """(k caracteres anteriores, siguiente) de cada carácter, con fronteras delante de cada línea."""
    padded = ["\n" * max(k, 1) + line + "\n" for line in lines]
    return [(p[i - k:i], p[i]) for p in padded for i in range(max(k, 1), len(p))]


def loop_loss(train, lines, smoothing, V):
    """Pérdida media en `lines` de contar las parejas de `train`, con diccionarios."""
    pairs, first = Counter(contexts(train, 1)), Counter(a for a, _ in contexts(train, 1))
    p = [(pairs[a, b] + smoothing) / (first[a] + V * smoothing) for a, b in contexts(lines, 1)]
    return -sum(map(math.log, p)) / len(p)


def run_whole(folder, *args):
    """Ejecuta la lección en `folder`: sus nombres, y en `out` lo que dijo."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(folder)
        patch.setattr(sys, "argv", [str(ROOT / "02_bigram.py"), *map(str, args)])
        names = runpy.run_path(str(ROOT / "02_bigram.py"))
    return SimpleNamespace(**names, out=out.getvalue(), tmp=folder)


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """La lección, con pocos pueblos y 60 pasos."""
    folder = tmp_path_factory.mktemp("bigramas")
    (folder / "t.txt").write_text("\n".join(LINES), "utf-8")
    return run_whole(folder, "--data", "t.txt", "--steps", 60, "--eval_interval", 30)


def test_the_pairs_counted_are_those_of_a_plain_loop(g):
    for name, lines in loop_split().items():
        assert g.decode(g.splits[name].tolist()) == "\n" + "\n".join(lines) + "\n"
    for table, lines in (g.counts, loop_split()["train"]), (g.table, LINES):
        seen = {(g.chars[a], g.chars[b]): table[a, b].item() for a, b in table.nonzero().tolist()}
        assert seen == Counter(contexts([line.strip() for line in lines], 1))
    assert g.pairs == Counter(contexts([line.strip() for line in LINES], 1))


def test_probabilities_are_rows_that_add_up_to_one_and_the_mistake_is_columns(g):
    p = g.probabilities(torch.tensor([[3, 1], [0, 0]]), 0.5)
    assert p.tolist() == [[0.7, 0.3], [0.5, 0.5]]
    assert g.probabilities(torch.tensor([[3, 1], [0, 0]]), 0).tolist() == [[0.75, 0.25], [0, 0]]
    low, high = map(float, re.search(r"las filas suman de (\S+) a (\S+)$", g.out, re.M).groups())
    rows = [sum((g.counts[i, j] + 1).item() / (g.counts[j].sum() + g.V).item() for j in range(g.V))
            for i in range(g.V)]
    assert abs(min(rows) - low) < 0.006 and abs(max(rows) - high) < 0.006 and low < 0.9 < 1.1 < high


def test_losses_are_those_of_dictionaries_and_of_cross_entropy(g):
    parts = loop_split()
    for name, lines in parts.items():
        row, loss = g.splits[name], loop_loss(parts["train"], lines, g.SMOOTHING, g.V)
        assert math.isclose(g.losses[name], loss, rel_tol=1e-9)
        assert math.isclose(loss, F.cross_entropy(g.log_p[row[:-1]], row[1:]), rel_tol=1e-9)
        num, never, raw, shown, perplexity = re.search(
            rf"^   {name} +(\d+) +(\d+) +(\S+) +(\S+) +(\S+)$", g.out, re.M).groups()
        unseen = set(contexts(lines, 1)) - set(contexts(parts["train"], 1))
        assert int(num) == len(contexts(lines, 1)) and (raw == "inf") == bool(unseen)
        assert int(never) == sum(pair in unseen for pair in contexts(lines, 1))
        assert abs(float(shown) - loss) < 1e-4 and abs(float(perplexity) - math.exp(loss)) < 0.01
    for smoothing, shown in re.findall(r"^ +([\d.]+) +(\d\.\d{4})$", g.out, re.M):
        assert abs(loop_loss(parts["train"], parts["val"], float(smoothing), g.V) - float(shown)) < 1e-4
    line, pair, after = re.search(r"('.*'): nunca se vio ('.*');\n.*de inf a (\S+)$", g.out, re.M).groups()
    assert eval(line) in parts["val"] and tuple(eval(pair)) in contexts([eval(line)], 1)
    assert tuple(eval(pair)) not in contexts(parts["train"], 1)
    assert abs(float(after) - loop_loss(parts["train"], [eval(line)], g.SMOOTHING, g.V)) < 1e-4


def test_what_is_drawn_follows_the_matrix_by_chi_square(g):
    ids = g.generate(g.P, 3000, 30)
    assert ids.shape == (3000, 31) and (ids[:, 0] == g.NL).all()
    drawn = g.count(ids[:, :-1].flatten(), ids[:, 1:].flatten()).double()
    expected = drawn.sum(1, keepdim=True) * g.P
    some = expected > 5
    freedom = (some.sum(1) - 1).clamp(min=0).sum().item()
    chi = ((drawn - expected)[some] ** 2 / expected[some]).sum().item()
    assert freedom > 20 and abs(chi - freedom) < 6 * math.sqrt(2 * freedom)


def test_the_descent_is_torch_sgd_on_the_mean_loss_of_each_row(g):
    W = torch.zeros(g.V, g.V, dtype=torch.float64, requires_grad=True)
    optimizer, row = torch.optim.SGD([W], lr=g.LEARNING_RATE), g.splits["train"]
    for step in range(1, 61):
        losses = F.cross_entropy(W[row[:-1]], row[1:], reduction="none")               # (N,)
        visits = torch.bincount(row[:-1], minlength=g.V)[row[:-1]]
        optimizer.zero_grad()
        (losses / visits).sum().backward()
        optimizer.step()
        if step in (30, 60):
            loss = F.cross_entropy(W[row[:-1]], row[1:]).item()
            assert f"paso {step:6d}   train {loss:.4f}" in g.out
    assert f"al límite le faltan {loss - loop_loss(*[loop_split()['train']] * 2, 0, g.V):.4f}" in g.out


def test_decay_is_smoothing_by_the_exact_minimum_of_lbfgs(g):
    rows = re.findall(r"^ +(1e-0\d) +(\S+) +(\S+) +(\S+) +(\S+)$", g.out, re.M)
    share = g.counts.double() / g.counts.sum()
    assert len(rows) == 3 and g.V <= 100
    for decay, away, plain, near, smoothing in rows:
        W = torch.zeros(g.V, g.V, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS([W], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12)

        def objective():
            solver.zero_grad()
            loss = -(share * W.log_softmax(1)).sum() + float(decay) / 2 * W.square().sum()
            loss.backward()
            return loss
        solver.step(objective)
        smooth = g.counts + float(smoothing)
        for shown, other in (away, 1 / g.V), (plain, g.raw), (near, smooth / smooth.sum(1, keepdim=True)):
            gap = ((W.softmax(1) - other).abs().sum(1) / 2 * share.sum(1)).sum().item()
            assert abs(gap - float(shown)) < 0.003


def test_interpolated_contexts_are_those_of_dictionaries(g):
    parts = {name: loop_split()[name] for name in ("train", "val")}
    rows = re.findall(r"^ +([0-4]) +(\d+) +(\d+) +(\S+)% +(\S+) +(\S+) +(\S+)$", g.out, re.M)
    p = {name: [1 / g.V] * len(contexts(lines, 0)) for name, lines in parts.items()}
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4]
    for k, parameters, used, new, shown, *losses in rows:
        pairs = Counter(contexts(parts["train"], int(k)))
        first = Counter(context for context, _ in contexts(parts["train"], int(k)))
        assert int(parameters) == g.V ** (int(k) + 1) and int(used) == len(pairs)
        unseen = [first[context] == 0 for context, _ in contexts(parts["val"], int(k))]
        assert abs(100 * sum(unseen) / len(unseen) - float(new)) <= 0.051
        q = {name: [pairs[c] / first[c[0]] if first[c[0]] else old
                    for c, old in zip(contexts(lines, int(k)), p[name])] for name, lines in parts.items()}

        def mixed(weight, name):
            return [weight * new + (1 - weight) * old for new, old in zip(q[name], p[name])]
        best = min(g.weights, key=lambda weight: -sum(map(math.log, mixed(weight, "val"))))
        p = {name: mixed(best, name) for name in parts}
        assert abs(best - float(shown)) < 1e-4
        for name, loss in zip(parts, losses):
            assert abs(-sum(map(math.log, p[name])) / len(p[name]) - float(loss)) < 1e-4


def test_the_checkpoint_is_the_smoothed_table(g):
    c = torch.load(g.tmp / "ckpt_bigram.pt", weights_only=True)
    assert (c["format"], c["model"], c["config"], c["data"], c["step"]) == (1, "bigram", {}, "t.txt", 60)
    assert torch.equal(c["weights"]["log_p"], g.P.log().float()) and c["chars"] == g.chars
    assert (c["train_loss"], c["val_loss"]) == (g.losses["train"], g.losses["val"])


@pytest.mark.skipif(not NAMES, reason="falta names.txt: python data/prepare.py names")
def test_names_has_the_figures_of_the_field_and_the_network_speaks_as_the_counts(tmp_path):
    g = run_whole(tmp_path, "--data", NAMES[0])
    assert "todas las líneas, sin suavizar: 2.4540; sumando en float32, 2.4541" in g.out
    assert int(re.search(r"de mil textos, (\d+) son iguales", g.out)[1]) > 950


TEXTS = {"iguales": "a\n" * 30, "diez": "\n".join("abcdefghij"), "larga": "ab\n" * 11 + "abc" * 900,
         "prueba_nueva": "ab\n" * 40 + "\n".join("çñüéáíóúöïë"), "mapa": (" " * 60 + "#" + " " * 30 + "x\n") * 30,
         "china": "\n".join(map(chr, range(0x4E00, 0x4E00 + 2100))), "emoji": "😀😁\n👩‍👧\n" * 7}


@pytest.mark.parametrize("name", TEXTS)
def test_strange_texts_pass_every_check(tmp_path, name):
    (tmp_path / "t.txt").write_text(TEXTS[name], "utf-8")
    g = run_whole(tmp_path, "--data", "t.txt", "--steps", 1, "--seed", len(name))
    assert (g.P.sum(1) - 1).abs().max() < 1e-9 and (tmp_path / "ckpt_bigram.pt").exists()

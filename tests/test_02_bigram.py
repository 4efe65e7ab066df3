"""02_bigram.py: cuentas, pérdida, sorteo, red y contexto, contra bucles, fórmulas y PyTorch."""
import math
import random
import re
from collections import Counter
from types import SimpleNamespace

import odd_texts
import pytest
import torch
import torch.nn.functional as F
from conftest import NAMES, ROOT, inside, needs_names

LINES = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[:-1:40]         # 646 pueblos
shuffled = list(LINES)
random.Random(42).shuffle(shuffled)
PARTS = {"train": shuffled[:516], "val": shuffled[516:581], "test": shuffled[581:]}    # 80, 10, 10 %


def contexts(lines, k):
    """(k caracteres anteriores, siguiente) de cada carácter, con fronteras delante de cada línea."""
    padded = ["\n" * max(k, 1) + line + "\n" for line in lines]
    return [(p[i - k:i], p[i]) for p in padded for i in range(max(k, 1), len(p))]


def loop_loss(lines, smoothing, V):
    """Pérdida media en `lines` de contar las parejas de entrenar, con diccionarios."""
    pairs = Counter(contexts(PARTS["train"], 1))
    first = Counter(a for a, _ in pairs.elements())
    p = [(pairs[a, b] + smoothing) / (first[a] + V * smoothing) for a, b in contexts(lines, 1)]
    return -sum(map(math.log, p)) / len(p)


def run_whole(folder, *args):
    """Ejecuta la lección en `folder`: sus nombres, y en `said` lo que dijo."""
    return SimpleNamespace(**inside("02_bigram.py", *args, cwd=folder))


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """La lección, con pocos pueblos y 60 pasos."""
    folder = tmp_path_factory.mktemp("bigramas")
    (folder / "t.txt").write_text("\n".join(LINES), "utf-8")
    return run_whole(folder, "--data", "t.txt", "--steps", 60, "--eval_interval", 30)


def test_the_pairs_counted_are_those_of_a_plain_loop(g):
    for name, lines in PARTS.items():
        assert g.decode(g.splits[name].tolist()) == "\n" + "\n".join(lines) + "\n"
    seen = {(g.chars[a], g.chars[b]): g.counts[a, b].item() for a, b in g.counts.nonzero().tolist()}
    assert seen == Counter(contexts(PARTS["train"], 1)) and g.pairs == Counter(contexts(shuffled, 1))


def test_probabilities_are_rows_that_add_up_to_one_and_the_mistake_is_columns(g):
    counts = torch.tensor([[3, 1], [0, 0]])
    assert g.probabilities(counts, 0.5).tolist() == [[0.7, 0.3], [0.5, 0.5]]
    assert g.probabilities(counts, 0).tolist() == [[0.75, 0.25], [0, 0]]
    assert math.isclose(g.wrong[3, 2], (g.counts[3, 2] + 1) / (g.counts[2].sum() + g.V), rel_tol=1e-6)


def test_losses_are_those_of_dictionaries_and_of_cross_entropy(g):
    known = set(contexts(PARTS["train"], 1))
    for name, lines in PARTS.items():
        row, loss = g.splits[name], loop_loss(lines, g.SMOOTHING, g.V)
        assert math.isclose(g.losses[name], loss, rel_tol=1e-9)
        assert math.isclose(loss, F.cross_entropy(g.log_p[row[:-1]], row[1:]), rel_tol=1e-9)
        unseen = [pair not in known for pair in contexts(lines, 1)]
        assert re.search(rf"^   {name} +{len(unseen)} +{sum(unseen)} +{'inf' if any(unseen) else ''}.* "
                         rf"{loss:.4f} +{math.exp(loss):.2f}$", g.said, re.M)
    for smoothing, shown in re.findall(r"^ +([\d.]+) +(\d\.\d{4})$", g.said, re.M):
        assert abs(loop_loss(PARTS["val"], float(smoothing), g.V) - float(shown)) < 1e-4
    line, pair, after = re.search(r"('.*'): nunca se vio ('.*');\n.*de inf a (\S+)$", g.said, re.M).groups()
    assert eval(line) in PARTS["val"] and tuple(eval(pair)) in set(contexts([eval(line)], 1)) - known
    assert abs(float(after) - loop_loss([eval(line)], g.SMOOTHING, g.V)) < 1e-4


def test_what_is_drawn_follows_the_matrix_by_chi_square(g):
    rows = g.generate(g.P, 3000, 30)
    drawn = g.count(rows[:, :-1].flatten(), rows[:, 1:].flatten()).double()
    expected = drawn.sum(1, keepdim=True) * g.P
    some = expected > 5
    freedom = (some.sum(1) - 1).clamp(min=0).sum().item()
    chi = ((drawn - expected)[some] ** 2 / expected[some]).sum().item()
    assert freedom > 20 and abs(chi - freedom) < 6 * math.sqrt(2 * freedom)


def test_the_descent_is_torch_sgd_on_the_mean_loss_of_each_row(g):
    W = torch.zeros(g.V, g.V, dtype=torch.float64, requires_grad=True)
    optimizer, row = torch.optim.SGD([W], lr=g.LEARNING_RATE), g.splits["train"]
    visits = torch.bincount(row[:-1])[row[:-1]]                                        # (N,)
    for _ in range(60):
        optimizer.zero_grad()
        (F.cross_entropy(W[row[:-1]], row[1:], reduction="none") / visits).sum().backward()
        optimizer.step()
    loss, limit = F.cross_entropy(W[row[:-1]], row[1:]).item(), loop_loss(PARTS["train"], 0, g.V)
    assert re.search(rf"paso +60   train {loss:.4f} .* le faltan {loss - limit:.4f}$", g.said, re.M)


def test_decay_ends_where_the_gradient_of_the_penalised_loss_is_zero(g):
    W = g.W.clone().requires_grad_()                         # la de la última fila: 1e-2
    share = (g.counts.double() / g.counts.sum())[g.common]
    (-(share * W.log_softmax(1)).sum() + 1e-2 / 2 * W.square().sum()).backward()
    assert W.grad.abs().max() < 1e-6 < W.abs().max()
    away, raw, near, smoothing = map(float, re.search(r"^ +1e-02 (.*)$", g.said, re.M)[1].split())
    smooth = g.probabilities(g.counts[g.common], smoothing)
    for shown, other in (away, 1 / g.V), (raw, g.raw[g.common]), (near, smooth):
        gap = (W.softmax(1) - other).abs().sum(1) / 2                                  # (R,)
        assert abs((gap * share.sum(1)).sum().item() - shown) < 0.003


def test_interpolated_contexts_are_those_of_dictionaries(g):
    seen = [Counter(contexts(PARTS["train"], k)) for k in range(5)]
    first = [Counter(context for context, _ in table.elements()) for table in seen]

    def p(context, char, weights):
        if not weights:
            return 1 / g.V
        k, shorter = len(context), p(context[1:], char, weights[:-1])
        q = seen[k][context, char] / first[k][context] if first[k][context] else shorter
        return weights[-1] * q + (1 - weights[-1]) * shorter

    def loss(part, k, weights):
        p_of_each = [p(*pair, weights) for pair in contexts(PARTS[part], k)]
        return -sum(map(math.log, p_of_each)) / len(p_of_each)
    weights = []
    for k in range(5):
        weights.append(min(g.weights, key=lambda weight: loss("val", k, [*weights, weight])))
        new = [first[k][context] == 0 for context, _ in contexts(PARTS["val"], k)]
        row = (g.V ** (k + 1), len(seen[k]), f"{sum(new) / len(new):.1%}", f"{weights[k]:.4f}",
               f"{loss('train', k, weights):.4f}", f"{loss('val', k, weights):.4f}")
        assert re.search(rf"^ +{k} +" + " +".join(map(str, row)) + "$", g.said, re.M), row


@needs_names
def test_names_has_the_figures_of_the_field_and_the_network_speaks_as_the_counts(tmp_path):
    g = run_whole(tmp_path, "--data", NAMES)
    assert "todas las líneas, sin suavizar: 2.4540; sumando en float32, 2.4541" in g.said
    assert int(re.search(r"de mil textos, (\d+) son iguales", g.said)[1]) > 950


@pytest.mark.parametrize("name", ["líneas de una letra", "todas las letras una vez", "emoji", "árabe",
                                  "espacios, el 98 %", "una línea muy larga y nueve cortas"])
def test_strange_texts_pass_every_check_and_leave_their_table(tmp_path, name):
    (tmp_path / "t.txt").write_bytes(odd_texts.TEXTS[name].encode())
    g = run_whole(tmp_path, "--data", "t.txt", "--steps", 1, "--seed", len(name))
    c = torch.load(tmp_path / "ckpt_bigram.pt", weights_only=True)
    assert torch.equal(c["weights"]["log_p"], g.P.log().float()) and c["val_loss"] == g.losses["val"]
    assert (c["format"], c["model"], c["config"], c["chars"], c["step"]) == (1, "bigram", {}, g.chars, 1)

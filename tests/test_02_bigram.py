"""02_bigram.py: cuentas, pérdida, sorteo, red y contextos, contra bucles, fórmulas y PyTorch."""
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

TOWNS = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")
LINES = TOWNS[:-1:40]                                        # 646 pueblos
shuffled = list(LINES)
random.Random(42).shuffle(shuffled)
PARTS = {"train": shuffled[:516],                            # 80, 10 y 10 %
         "val": shuffled[516:581],
         "test": shuffled[581:]}


def contexts(lines, k):
    """(k caracteres anteriores, siguiente) de cada carácter; delante de cada línea, fronteras."""
    found = []
    for line in lines:
        padded = "\n" * 9 + line + "\n"
        for i in range(9, len(padded)):
            found.append((padded[i - k:i], padded[i]))
    return found


SEEN = []                                                    # por tamaño: {(contexto, siguiente): veces}
VISITS = []                                                  # por tamaño: {contexto: veces}
for size in range(8):
    SEEN.append(Counter(contexts(PARTS["train"], size)))
    VISITS.append(Counter())
    for (before, _), times in SEEN[size].items():
        VISITS[size][before] += times


def mean_surprise(probabilities):
    return -sum(map(math.log, probabilities)) / len(probabilities)


def pair_loss(lines, smoothing, V):
    """Pérdida media en `lines` de contar las parejas de entrenar, con diccionarios."""
    said = []
    for a, b in contexts(lines, 1):
        hits = SEEN[1][a, b] + smoothing
        said.append(hits / (VISITS[1][a] + V * smoothing))
    return mean_surprise(said)


def mixed(context, char, shares, V):
    """Lo que dice de `char` la mezcla de todos los contextos, con una λ por tamaño."""
    if not shares:
        return 1 / V
    k = len(context)
    shorter = mixed(context[1:], char, shares[:-1], V)
    visits = VISITS[k][context]
    longer = SEEN[k][context, char] / visits if visits else shorter
    return shares[-1] * longer + (1 - shares[-1]) * shorter


def mixed_loss(part, shares, V):
    pairs = contexts(PARTS[part], len(shares) - 1)
    return mean_surprise([mixed(*pair, shares, V) for pair in pairs])


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """La lección, con pocos pueblos y 60 pasos: sus nombres, y en `said` lo que dijo."""
    folder = tmp_path_factory.mktemp("bigramas")
    (folder / "t.txt").write_text("\n".join(LINES), "utf-8")
    options = ["--data", "t.txt",
               "--steps", 60,
               "--eval_interval", 30]
    names = inside("02_bigram.py", *options, cwd=folder)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def orders(g):
    """Las filas de la celda 8: k, casillas, vistas, λ, train, val, nuevos, val en ellos."""
    table = g.said.split("8. contexto")[1]
    rows = table.split("\n")[1:9]
    return [row.split() for row in rows]


def test_the_pairs_counted_are_those_of_a_plain_loop(g):
    counted = Counter()
    for a, b in g.counts.nonzero().tolist():
        counted[g.chars[a], g.chars[b]] = g.counts[a, b].item()
    assert counted == SEEN[1]


@pytest.mark.parametrize("smoothing, rows", [
    (0, [[0.75, 0.25], [0, 0]]),
    (0.5, [[0.7, 0.3], [0.5, 0.5]]),
])
def test_each_row_of_counts_becomes_probabilities(g, smoothing, rows):
    counts = torch.tensor([[3, 1], [0, 0]])
    assert g.probabilities(counts, smoothing).tolist() == rows


@pytest.mark.parametrize("part", PARTS)
def test_the_loss_of_a_part_is_that_of_dictionaries(g, part):
    expected = pair_loss(PARTS[part], 0.03, g.V)
    assert g.losses[part] == pytest.approx(expected, rel=1e-9)


def test_pairs_never_seen_are_counted(g):
    never = [pair for pair in contexts(PARTS["val"], 1) if pair not in SEEN[1]]
    assert re.search(rf"^   val +\d+ +{len(never)} +inf", g.said, re.M)


def test_a_matrix_that_leaves_no_choice_is_followed(g):
    always_next = torch.eye(g.V).roll(1, dims=1)
    rows = g.generate(always_next, 2, 3)
    assert g.NL == 0
    assert rows.tolist() == [[0, 1, 2, 3],
                             [0, 1, 2, 3]]


def test_the_descent_is_torchs_on_the_mean_loss_of_each_row(g):
    W = torch.zeros(g.V, g.V, requires_grad=True)
    optimizer = torch.optim.SGD([W], lr=3.0)
    before = g.splits["train"][:-1]
    after = g.splits["train"][1:]
    visits = torch.bincount(before)[before]                  # (N,)
    for _ in range(60):
        optimizer.zero_grad()
        surprise = F.cross_entropy(W[before], after, reduction="none")
        (surprise / visits).sum().backward()
        optimizer.step()
    loss = F.cross_entropy(W[before], after).item()
    limit = pair_loss(PARTS["train"], 0, g.V)
    assert g.train_loss == pytest.approx(loss, abs=1e-5)
    assert g.limit == pytest.approx(limit)


def test_decay_ends_where_the_gradient_of_the_penalised_loss_is_zero(g):
    w = g.w.clone().requires_grad_()                         # la última fila de la tabla: 1.0
    surprise = -(g.raw[g.top] * w.log_softmax(0)).sum()
    penalty = w.square().sum() / 2
    (surprise + penalty).backward()
    assert w.grad.abs().max() < 1e-6


@pytest.mark.parametrize("k", range(8))
def test_an_order_has_the_losses_of_dictionaries(g, orders, k):
    shares = [float(row[3]) for row in orders[:k + 1]]
    train = mixed_loss("train", shares, g.V)
    val = mixed_loss("val", shares, g.V)
    assert float(orders[k][4]) == pytest.approx(train, abs=1e-4)
    assert float(orders[k][5]) == pytest.approx(val, abs=1e-4)


@pytest.mark.parametrize("k", range(8))
def test_the_cells_used_by_an_order_are_the_pairs_seen(orders, k):
    assert int(orders[k][2]) == len(SEEN[k])


@pytest.mark.parametrize("k", range(8))
def test_the_new_contexts_of_an_order_are_those_not_seen(orders, k):
    fresh = []
    for context, _ in contexts(PARTS["val"], k):
        fresh.append(context not in VISITS[k])
    part = sum(fresh) / len(fresh)
    assert orders[k][6] == f"{part:.1%}"


@pytest.mark.parametrize("change", [-0.02, 0.02])
def test_no_other_share_is_better_on_validation(g, orders, change):
    shares = [float(row[3]) for row in orders[:4]]
    best = mixed_loss("val", shares, g.V)
    shares[3] += change
    assert mixed_loss("val", shares, g.V) >= best


def test_the_best_order_is_measured_on_the_test(g, orders):
    losses = [float(row[5]) for row in orders]
    best = losses.index(min(losses))
    shares = [float(row[3]) for row in orders[:best + 1]]
    expected = mixed_loss("test", shares, g.V)
    assert g.k == best
    assert g.rival_test.item() == pytest.approx(expected)


def test_the_compact_count_of_lesson_03_gives_the_same(g, orders):
    source = (ROOT / "03_mlp.py").read_text("utf-8")
    start = source.index("def counting")
    end = source.index("\n# %%", start)
    names = {"torch": torch, "V": g.V}
    exec(source[start:end], names)
    x, y = [], []
    for context, char in contexts(PARTS["train"] + PARTS["val"], 7):
        x.append([g.ids[c] for c in context])
        y.append(g.ids[char])
    found = names["counting"](torch.tensor(x), torch.tensor(y), g.sizes[0])
    shown = [float(row[5]) for row in orders]
    assert found.mean(1).tolist() == pytest.approx(shown, abs=1e-4)


@needs_names
def test_names_has_the_figures_of_the_field(tmp_path):
    names = inside("02_bigram.py", "--data", NAMES, cwd=tmp_path)
    said = names["said"]
    assert "sin suavizar: 2.4540; sumando en float32, 2.4541" in said
    alike = re.search(r"de mil textos, (\d+) son iguales", said)
    assert int(alike[1]) > 950


def test_the_checkpoint_keeps_the_contract(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(LINES), "utf-8")
    options = ["--data", "t.txt",
               "--steps", 1,
               "--out", "b.pt"]
    names = inside("02_bigram.py", *options, cwd=tmp_path)
    checkpoint = torch.load(tmp_path / "b.pt", weights_only=True)
    weights = checkpoint.pop("weights")
    assert torch.equal(weights["log_p"], names["P"].log().float())
    assert checkpoint == {
        "format": 1,
        "model": "bigram",
        "config": {},
        "chars": names["chars"],
        "data": "t.txt",
        "step": 1,
        "train_loss": names["losses"]["train"],
        "val_loss": names["losses"]["val"],
    }


@pytest.mark.parametrize("name", [
    "líneas de una letra",
    "todas las letras una vez",
    "emoji",
    "espacios, el 98 %",
    "una línea muy larga y nueve cortas",
])
def test_a_strange_text_passes_every_check(tmp_path, name):
    (tmp_path / "t.txt").write_bytes(odd_texts.TEXTS[name].encode())
    inside("02_bigram.py", "--data", "t.txt", "--steps", 1, cwd=tmp_path)
    assert (tmp_path / "ckpt_bigram.pt").exists()

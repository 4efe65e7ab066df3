"""02_bigram.py: cuentas, pérdida, sorteo, red y contextos, contra bucles, fórmulas y PyTorch."""
import math
import random
import re
from collections import Counter
from types import SimpleNamespace

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


SEEN = []                                    # por tamaño: {(contexto, siguiente): veces}
VISITS = []                                  # por tamaño: {contexto: veces}
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


@pytest.mark.parametrize("smoothing, rows", [
    (0, [[0.75, 0.25],
         [0, 0]]),
    (0.5, [[0.7, 0.3],
           [0.5, 0.5]]),
])
def test_each_row_of_counts_becomes_probabilities(g, smoothing, rows):
    counts = torch.tensor([[3, 1],
                           [0, 0]])
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


def test_the_descent_is_that_of_the_mean_loss_of_each_row(g):
    W = torch.zeros(g.V, g.V, requires_grad=True)
    before = g.splits["train"][:-1]
    after = g.splits["train"][1:]
    visits = torch.bincount(before)[before]                  # (N,)
    for _ in range(60):
        surprise = F.cross_entropy(W[before], after, reduction="none")
        loss = (surprise / visits).sum()
        gradient, = torch.autograd.grad(loss, W)
        W.data -= g.LEARNING_RATE * gradient
    mean = F.cross_entropy(W[before], after).item()
    assert g.train_loss == pytest.approx(mean, abs=1e-5)


def test_the_limit_is_the_loss_without_smoothing(g):
    expected = pair_loss(PARTS["train"], 0, g.V)
    assert g.limit == pytest.approx(expected)


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


def test_the_compact_count_of_the_other_lessons_gives_the_same(tmp_path, orders):
    """`counting`, idéntica de 03 a 06, con las mismas líneas y el mismo contexto más largo."""
    (tmp_path / "t.txt").write_text("\n".join(LINES), "utf-8")
    names = inside("03_mlp.py", "--data", "t.txt", "--steps", 0, cwd=tmp_path)
    losses = names["table"].mean(1)                          # con 0, 1... 7 caracteres
    shown = [float(row[5]) for row in orders]
    assert losses.tolist() == pytest.approx(shown, abs=1e-4)


@needs_names
def test_names_has_the_figures_of_the_field(tmp_path):
    names = inside("02_bigram.py", "--data", NAMES, cwd=tmp_path)
    said = names["said"]
    assert "sin suavizar: 2.4540; sumando en float32, 2.4541" in said
    alike = re.search(r"de mil textos, (\d+) son iguales", said)
    assert int(alike[1]) > 950

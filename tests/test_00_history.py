"""00_history.py: cada modelo contra la cuenta hecha a mano o la suma de todos sus estados."""
import itertools
import math
import random
import re

import numpy as np
import pytest
from conftest import ROOT, inside, one_line_error

H = np.array(list(itertools.product((0.0, 1.0), repeat=6)))  # los 64 estados de seis ocultas


@pytest.fixture(scope="module")
def g():
    """Los nombres de la lección con seis ocultas y pocas letras."""
    return inside("00_history.py", "--block_size", 6, "--n_hidden", 6, "--steps", 600, cwd=ROOT)


def test_oja_is_hebb_brought_back_to_norm_one_up_to_the_square_of_the_rate(g):
    w, x = np.array([0.6, 0.8]), np.array([2.0, -0.5])
    for rate in 1e-2, 1e-3, 1e-4:
        hebb = g["hebb"](w, x, rate, 0)
        assert abs(g["hebb"](w, x, rate, 1) - hebb / np.linalg.norm(hebb)).max() < 10 * rate**2
    assert abs(abs(g["braked"] @ [0.6, 0.8]) - 1) < 0.05 and abs(g["grown"]).max() > 1e50


def test_the_neuron_of_1943_computes_and_the_perceptron_obeys_novikoff_and_cycles_in_xor(g):
    assert [g["unit"]([1, 1], [], 2), g["unit"]([1, 0], [], 2), g["unit"]([1, 1, 1], [1, 0], 1)] == [1, 0, 0]
    table = [[int(bit) for bit in line.split()] for line in g["said"].splitlines()[1:5]]
    assert table == [[a, b, a & b, a | b, 1 - a, a ^ b] for a in (0, 1) for b in (0, 1)]
    x = np.c_[np.random.default_rng(1).integers(-9, 10, (300, 2)), np.ones(300, int)]
    margin = x @ [0.6, -0.8, 0.5] / math.sqrt(1.25)
    x, margin = x[abs(margin) > 0.5], margin[abs(margin) > 0.5]
    history = g["perceptron"](x, np.sign(margin).astype(int), passes=200)
    assert (margin * (x @ history[-1]) > 0).all() and len(history) <= (x**2).sum(1).max() / 0.5**2
    corners = np.array([[-1, -1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, 1]])
    history = g["perceptron"](corners, [-1, 1, 1, -1], passes=2)     # a lápiz
    assert np.array(history).tolist() == 2 * [[1, 1, -1], [0, 2, 0], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("n", range(2, 9))
def test_hopfield_energy_and_rest_match_plain_loops(g, n):
    rng = np.random.default_rng(n)
    patterns, s = rng.choice([-1.0, 1.0], (3, n)), rng.choice([-1.0, 1.0], (5, n))
    W = g["memory"](patterns)
    for i, j in itertools.product(range(n), repeat=2):
        assert W[i, j] == (0 if i == j else sum(x[i] * x[j] for x in patterns))
    plain = [-sum(W[i, j] * row[i] * row[j] for i in range(n) for j in range(i)) for row in s]
    before, end = s.copy(), g["settle"](s, W)
    assert np.allclose(g["energy"](s, W), plain) and (g["energy"](end, W) <= plain).all()
    assert (s == before).all() and (end * (end @ W) >= 0).all()      # copia; y nadie quiere cambiar
    assert g["settle"](s, 0 * W).tolist() == s.tolist()      # un empate no cambia nada


def test_hopfield_recalls_the_drawing_and_forgets_when_full(g):
    drawn = ["".join(line.split()[k] for line in g["DRAWING"]) for k in range(4)]
    assert drawn == ["".join("#" if v > 0 else "·" for v in row) for row in g["letters"]]
    assert (g["noisy"] * np.tile(g["letters"], (25, 1))).sum(1).tolist() == [64 - 2 * 12] * 100
    kept = [float(k) for k in re.findall(r"se conserva el (\S+)%", g["said"])]
    assert g["right"] >= 90 and kept[0] > 99 and kept[1] > 97 and kept[-1] < 88      # 0.138


def test_gibbs_reaches_the_enumerated_distribution_and_annealing_a_lower_valley(g):
    W = g["memory"](np.random.default_rng(5).normal(size=(2, 4))) / 2
    s = np.ones((20_000, 4))
    for _ in range(30):
        s = g["gibbs"](s, W, T=0.7, first=1)
    every = np.array([[1, *rest] for rest in itertools.product((-1, 1), repeat=3)])
    p = np.exp([row @ W @ row / 2 / 0.7 for row in every])
    assert abs([(s == row).all(1).mean() for row in every] - p / p.sum()).max() < 0.02
    fast, slow = re.search(r"media: (\S+) si se baja sin más y (\S+)", g["said"]).groups()
    assert float(slow) < float(fast)


def test_divergence_is_that_of_a_plain_loop_and_falls_with_hidden_units(g):
    W = g["memory"](np.random.default_rng(3).normal(size=(5, 6)))
    weight = dict.fromkeys(itertools.product((-1, 1), repeat=3), 0.0)
    for s in itertools.product([1], *5 * [(-1, 1)]):
        weight[s[1:4]] += math.exp(sum(W[i, j] * s[i] * s[j] for i in range(6) for j in range(i)))
    kl = sum(math.log(sum(weight.values()) / 4 / weight[v]) for v in weight if math.prod(v) == 1) / 4
    assert math.isclose(g["divergence"](W), kl)
    assert len(g["history"]) == 6 and g["history"][-1] < 0.35 < g["history"][0]      # con ocultas


def test_the_rbm_draws_energies_and_steps_are_the_enumerated_ones(g):
    rng = np.random.default_rng(0)
    weights = W, b, c = [rng.normal(size=size) for size in ((6, 4), (2, 3), 4)]
    v = np.array([np.eye(3)[list(ids)].ravel() for ids in itertools.product(range(3), repeat=2)])
    h = H[:16, 2:]
    joint = np.array([[math.exp(x @ b.ravel() + y @ c + x @ W @ y) for y in h] for x in v])
    assert np.allclose(g["free_energy"](v, *weights), -np.log(joint.sum(1)))
    assert np.allclose(g["hidden_log"](h, *weights), np.log(joint.sum(0)))
    ups = g["up"](np.repeat(v, 4000, 0), *weights).reshape(9, 4000, 4).mean(1)
    downs = g["down"](np.repeat(h, 4000, 0), *weights).reshape(16, 4000, 6).mean(1)
    assert abs(ups - joint @ h / joint.sum(1, keepdims=True)).max() < 0.05
    assert abs(downs - joint.T @ v / joint.sum(0)[:, None]).max() < 0.05
    assert abs((g["dreams"](8000, *weights) @ v.T == 2).mean(0) - joint.sum(1) / joint.sum()).max() < 0.05
    moved = [w.copy() for w in weights]
    g["learn"](v[:2], h[:2], v[5:7], h[8:10], 0.5, *moved)
    push = sum(np.outer(v[k], h[k]) - np.outer(v[k + 5], h[k + 8]) for k in (0, 1))
    assert np.allclose(moved[0] - W, 0.25 * push)
    assert np.allclose((moved[1] - b).ravel(), 0.25 * (v[:2] - v[5:7]).sum(0))
    assert np.allclose(moved[2] - c, 0.25 * (h[:2] - h[8:10]).sum(0))


def test_training_raises_the_exact_likelihood_of_new_names_and_the_second_layer_adds_its_mean(g):
    lines = {w.strip() for w in (ROOT / "data" / "pueblos.txt").read_text("utf-8").lower().split("\n")}
    short = sorted(w for w in lines if 0 < len(w) <= 6)
    random.Random(42).shuffle(short)
    learnt, own, mixed = (g["spell"](g[part]).split(", ") for part in ("data", "own", "mixed"))
    assert learnt + own == short and len(learnt) == int(0.8 * len(short))
    assert [sorted(w) for w in own] == [sorted(w) for w in mixed] and own != mixed
    alone = g["own"] @ np.log(g["often"] / g["often"].sum(1, keepdims=True)).ravel()     # al nacer
    log_z = np.logaddexp.reduce(g["hidden_log"](H, *g["first"]))
    assert (-g["free_energy"](g["own"], *g["first"]) - log_z).mean() > alone.mean() + 0.3
    p = np.exp(H @ (g["first"][2] + g["own"][0] @ g["first"][0]))    # p(h | v), salvo la suma
    exact = p / p.sum() @ (g["hidden_log"](H, *g["second"]) - g["hidden_log"](H, *g["first"]))
    assert abs(g["rise"](np.repeat(g["own"][:1], 2000, 0)).mean() - exact) < 0.05
    assert all((one != two).any() for one, two in zip(g["first"], g["second"]))


@pytest.mark.parametrize("words", ["a b c d e f g h i · ñ", "天 地 玄 黃 宇 宙 洪 荒 א ב ג", "😀0 😀1 😀2 😀3 4 5 6 7 8 9"])
def test_an_odd_text_runs_and_without_steps_the_layers_are_equal(run, tmp_path, words):
    (tmp_path / "t.txt").write_text(words.replace(" ", "\r\n"), "utf-8", newline="")
    done = run("00_history.py", "--data", "t.txt", "--steps", 0, "--n_hidden", 1, "--batch_size", 99)
    assert done.stderr == "" and "la segunda añade +0.000 ± 0.000" in done.stdout


def test_too_few_names_are_one_line(run, tmp_path):
    (tmp_path / "t.txt").write_text("larguísimos\n" + 99 * "uno\n", "utf-8")
    one_line_error(run("00_history.py", "--data", "t.txt"), "«t.txt» tiene 1 líneas distintas", "BLOCK_SIZE")

"""00_history.py: cada modelo contra la cuenta hecha a mano o la suma de todos sus estados."""
import itertools
import math
import re

import numpy as np
import pytest
from conftest import ROOT, inside, one_line_error

SIGNS = (-1, 1)
VISIBLE = np.array([[1, 0, 1, 0],                            # dos puestos, de dos letras
                    [1, 0, 0, 1],
                    [0, 1, 1, 0],
                    [0, 1, 0, 1]])
HIDDEN = np.array(list(np.ndindex(2, 2, 2)))


@pytest.fixture(scope="module")
def g():
    """Los nombres de la lección, con una máquina pequeña y pocos pasos."""
    return inside("00_history.py", "--n_hidden", 6, "--steps", 600, cwd=ROOT)


@pytest.mark.parametrize("excite, inhibit, threshold, fires", [
    ([1, 1], [], 2, 1),
    ([1, 0], [], 2, 0),
    ([1, 1], [0], 1, 1),
    ([1, 1], [1, 0], 1, 0),
])
def test_a_neuron_of_1943_fires(g, excite, inhibit, threshold, fires):
    output = g["unit"](excite, inhibit, threshold)
    assert output == fires


@pytest.mark.parametrize("wrong", range(8))
def test_a_hebb_memory_survives_any_wrong_sign(g, wrong):
    keys = g["keys"].copy()
    keys[:, wrong] *= -1
    heard = keys @ g["M"].T
    answers = np.sign(heard)
    assert np.array_equal(answers, g["values"])


def test_flip_changes_that_many_signs(g):
    before = np.ones((50, 8))
    after = g["flip"](before, 3)
    assert (after.sum(1) == 2).all()                         # cinco menos tres


@pytest.mark.parametrize("rate", [1e-2, 1e-3, 1e-4])
def test_oja_is_hebb_brought_back_to_norm_one(g, rate):
    w = np.array([0.6, 0.8])
    x = np.array([2.0, -0.5])
    rule = g["hebb"]
    hebb = rule(w, x, rate, 0)
    oja = rule(w, x, rate, 1)
    unit_length = hebb / np.linalg.norm(hebb)
    assert np.allclose(oja, unit_length, atol=10 * rate**2)


def test_without_brake_weights_explode(g):
    size = abs(g["grown"])
    assert size.max() > 1e50


def test_perceptron_goes_round_in_xor(g):
    xor = [-1, 1, 1, -1]
    rounds = g["perceptron"](g["square"], xor, passes=1)
    weights = np.array(rounds)
    assert weights.tolist() == [
        [0, 0, 0],
        [1, 1, -1],
        [0, 2, 0],
        [1, 1, 1],
        [0, 0, 0],
    ]


def test_perceptron_obeys_novikoff(g):
    """Puntos con holgura 0.5 respecto de unos pesos de norma 1."""
    right = np.array([0.48, -0.64, 0.6])
    rng = np.random.default_rng(1)
    x = rng.integers(-9, 10, (300, 3))
    x = x[abs(x @ right) > 0.5]
    y = np.sign(x @ right)
    history = g["perceptron"](x, y, passes=200)
    mistakes = len(history) - 1
    answers = x @ history[-1]
    longest = (x**2).sum(1).max()
    assert (y * answers > 0).all()
    assert mistakes <= longest / 0.5**2


def test_perceptron_learns_fourteen_tables(g):
    assert g["learned"] == 14


def test_delta_rule_by_hand(g):
    """w·x = 5; el error, 1 - 5 = -4; el paso, 0.1 por -4 por x."""
    w = np.array([1.0, 2.0])
    x = np.array([1, 2])
    moved = g["delta"](w, x, 1, 0.1)
    assert np.allclose(moved, [0.6, 1.2])


def test_hopfield_weights_by_hand(g):
    patterns = np.array([[1, 1, -1], [1, -1, -1]])
    assert g["memory"](patterns).tolist() == [
        [0, 0, -2],
        [0, 0, 0],
        [-2, 0, 0],
    ]


@pytest.mark.parametrize("n", range(2, 7))
def test_settling_ends_where_nobody_wants_to_change(g, n):
    rng = np.random.default_rng(n)
    W = g["memory"](rng.choice(SIGNS, (3, n)))
    start = rng.choice(SIGNS, (5, n))
    end = g["settle"](start, W)
    received = end @ W
    assert (end * received >= 0).all()


def test_a_tie_changes_nothing(g):
    start = np.array([[1, -1, 1]])
    no_weights = np.zeros((3, 3))
    end = g["settle"](start, no_weights)
    assert np.array_equal(end, start)


def test_damaged_letters_are_recalled(g):
    assert g["right"] >= 95


def test_memory_fails_beyond_its_capacity(g):
    at_a_fifth = g["kept"]
    assert 0.5 < at_a_fifth < 0.88


def test_gibbs_reaches_the_enumerated_distribution(g):
    pattern = np.array([[0.3, -0.4, 0.8]])
    W = g["memory"](pattern)
    s = np.ones((20_000, 3))
    for _ in range(30):
        s = g["gibbs"](s, W, T=0.7, first=1)
    every = np.array([[1, a, b] for a in SIGNS for b in SIGNS])
    p = np.exp(g["energy"](every, W) / -0.7)
    drawn = [(s == row).all(1).mean() for row in every]
    assert np.allclose(drawn, p / p.sum(), atol=0.02)


def test_cooling_finds_lower_valleys(g):
    assert g["slow"] < g["fast"]


def test_divergence_is_that_of_a_plain_loop(g):
    rng = np.random.default_rng(3)
    W = g["memory"](rng.normal(size=(5, 6)))
    weight = dict.fromkeys(itertools.product(SIGNS, repeat=3), 0.0)
    for rest in itertools.product(SIGNS, repeat=5):
        s = np.array([1, *rest])
        weight[rest[:3]] += math.exp(s @ W @ s / 2)
    total = sum(weight.values())
    even = [weight[v] for v in weight if math.prod(v) == 1]
    logs = [math.log(total / 4 / one) for one in even]
    kl, _ = g["exact"](W)
    assert math.isclose(kl, sum(logs) / 4)


@pytest.mark.parametrize("i, j", [
    (0, 1),                                                  # un sesgo
    (1, 3),                                                  # dos visibles
    (2, 4),
    (4, 5),                                                  # dos ocultas
])
def test_local_rule_is_the_derivative_of_the_divergence(g, i, j):
    rng = np.random.default_rng(4)
    W = g["memory"](rng.normal(size=(2, 6)))
    bump = np.zeros((6, 6))
    bump[i, j] = bump[j, i] = 1e-5
    up, _ = g["exact"](W + bump)
    down, _ = g["exact"](W - bump)
    _, rule = g["exact"](W)
    measured = (down - up) / 2e-5
    assert np.isclose(rule[i, j], measured, atol=1e-7)


def test_hidden_units_learn_parity(g):
    ends = re.findall(r"\d ocultas.* (\d\.\d+)\n", g["said"])
    alone, helped = [float(kl) for kl in ends]
    assert alone >= 0.693
    assert helped < 0.35


@pytest.fixture
def small(g):
    """Una máquina de dos puestos, dos letras y tres ocultas, y exp(-E) de sus estados."""
    rng = np.random.default_rng(0)
    W = rng.normal(size=(4, 3))
    b = rng.normal(size=4)
    c = rng.normal(size=3)
    joint = np.zeros((4, 8))
    for i, v in enumerate(VISIBLE):
        for j, h in enumerate(HIDDEN):
            minus_e = v @ b + h @ c + v @ W @ h
            joint[i, j] = math.exp(minus_e)
    return g["RBM"](W, b, c, 2), joint


def test_free_energy_sums_the_hidden_states(small):
    machine, joint = small
    ours = machine.free_energy(VISIBLE)
    assert np.allclose(ours, -np.log(joint.sum(1)))


def test_up_draws_the_hidden(small):
    machine, joint = small
    same = np.repeat(VISIBLE[:1], 9000, axis=0)
    many = machine.up(same)
    p = joint[0] / joint[0].sum()
    assert np.allclose(many.mean(0), p @ HIDDEN, atol=0.03)


def test_down_draws_the_visible(small):
    machine, joint = small
    same = np.repeat(HIDDEN[5:6], 9000, axis=0)
    many = machine.down(same)
    p = joint[:, 5] / joint[:, 5].sum()
    assert np.allclose(many.mean(0), p @ VISIBLE, atol=0.03)


def test_posterior_is_the_enumerated_one(g, small, monkeypatch):
    machine, joint = small
    monkeypatch.setitem(g["posterior"].__globals__, "every", HIDDEN)
    ours = g["posterior"](machine, VISIBLE[:1])
    assert np.allclose(ours, joint[0] / joint[0].sum())


def test_a_step_goes_to_the_data_against_the_dream(g):
    machine = g["RBM"]([[0.0], [0.0]], [0.0, 0.0], [0.0], 1)
    v = np.array([[1, 0]])
    dream_v = np.array([[0, 1]])
    on = np.array([[1]])
    machine.learn(v, on, dream_v, on, 0.5)
    assert machine.W.tolist() == [[0.5], [-0.5]]
    assert machine.b.tolist() == [0.5, -0.5]
    assert machine.c.tolist() == [0]


def test_no_word_is_lost(g):
    learnt = g["spell"](g["data"]).split(", ")
    new = g["spell"](g["own"]).split(", ")
    assert sorted(learnt + new) == sorted(g["words"])


def test_shuffled_words_keep_their_letters(g):
    own = g["spell"](g["own"]).split(", ")
    mixed = g["spell"](g["mixed"]).split(", ")
    assert own != mixed
    assert list(map(sorted, own)) == list(map(sorted, mixed))


def test_training_widens_the_gap(g):
    untrained = g["fresh"](6)
    own = untrained.free_energy(g["own"])
    mixed = untrained.free_energy(g["mixed"])
    before = mixed - own
    assert g["gap"].mean() > before.mean() + 0.2


def test_the_second_layer_stays_under_its_ceiling(g):
    rise = g["seen"] @ g["change"]
    assert 0 < rise < g["ceiling"]


def test_two_untrained_layers_are_equal(run, tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("天 😀0 c d e f g h i · ñ", "utf-8")
    done = run("00_history.py", "--data", path, "--steps", 0)
    assert done.stderr == ""
    assert "sube la cota +0.0000" in done.stdout


def test_too_few_words_are_one_line(run, tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("larguísimos\nuno\nuno\n", "utf-8")
    done = run("00_history.py", "--data", path)
    one_line_error(done, "tiene 1 palabras distintas")


def test_a_constant_that_is_not_a_number_is_one_line(run):
    done = run("00_history.py", "--learning_rate", "nan")
    one_line_error(done, "LEARNING_RATE no puede ser nan")

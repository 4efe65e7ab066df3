"""00_history.py: cada modelo contra la cuenta hecha a mano o la suma de todos sus estados."""
import math
import re

import numpy as np
import pytest
from conftest import ROOT, inside

VISIBLE = np.array([[1, 0, 1, 0],                            # dos puestos, de dos letras
                    [1, 0, 0, 1],
                    [0, 1, 1, 0],
                    [0, 1, 0, 1]])
HIDDEN = np.array(list(np.ndindex(2, 2, 2)))


@pytest.fixture(scope="module")
def g():
    """Los nombres de la lección, con máquinas pequeñas y pocos pasos."""
    flags = ["--n_hidden", 6, "--n_small", 3, "--steps", 600]
    return inside("00_history.py", *flags, cwd=ROOT)


@pytest.mark.parametrize("excite, inhibit, threshold, fires", [
    ([1, 1], [], 2, 1),
    ([1, 0], [], 2, 0),
    ([1, 1], [0], 1, 1),
    ([1, 1], [1, 0], 1, 0),
])
def test_a_neuron_of_1943_fires(g, excite, inhibit, threshold, fires):
    output = g["unit"](excite, inhibit, threshold)
    assert output == fires


def test_flip_changes_that_many_signs(g):
    before = np.ones((50, 8))
    after = g["flip"](before, 3)
    assert (after.sum(1) == 2).all()                         # cinco menos tres


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


def test_perceptron_learns_fourteen_tables(g):
    assert g["learned"] == 14


def test_delta_rule_by_hand(g):
    """w·x = 5; el error, 1 - 5 = -4; el paso, 0.1 por -4 por x."""
    w = np.array([1.0, 2.0])
    x = np.array([1, 2])
    moved = g["delta"](w, x, 1, 0.1)
    assert np.allclose(moved, [0.6, 1.2])


def test_hopfield_weights_by_hand(g):
    patterns = np.array([
        [1, 1, -1],
        [1, -1, -1],
    ])
    assert g["memory"](patterns).tolist() == [
        [0, 0, -2],
        [0, 0, 0],
        [-2, 0, 0],
    ]


def test_settling_ends_where_nobody_wants_to_change(g):
    rng = np.random.default_rng(6)
    W = g["memory"](rng.choice([-1, 1], (3, 6)))
    start = rng.choice([-1, 1], (50, 6))
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


def test_cooling_finds_lower_valleys(g):
    assert g["slow"] < g["fast"]


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


def test_posterior_is_the_mean_of_the_enumerated_ones(g, small):
    machine, joint = small
    each = [row / row.sum() for row in joint]                # con --n_small 3, los h de HIDDEN
    ours = g["posterior"](machine, VISIBLE)
    assert np.allclose(ours, np.mean(each, axis=0))


def test_log_prior_sums_the_visible_states(g, small):
    machine, joint = small
    alone = joint.sum(0)                                     # (8,) lo que pesa cada h
    ours = g["log_prior"](machine)
    assert np.allclose(np.exp(ours), alone / alone.sum())


def test_a_step_goes_to_the_data_against_the_dream(g):
    machine = g["RBM"]([[0.0], [0.0]], [0.0, 0.0], [0.0], 1)
    v = np.array([[1, 0]])
    dream_v = np.array([[0, 1]])
    on = np.array([[1]])
    machine.learn(v, on, dream_v, on, 0.5)
    assert machine.W.tolist() == [[0.5], [-0.5]]
    assert machine.b.tolist() == [0.5, -0.5]
    assert machine.c.tolist() == [0]


def test_words_are_not_repeated(g):
    assert len(g["words"]) == len(set(g["words"]))


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


def test_the_second_layer_begins_as_a_copy(lesson):
    change = lesson("00_history.py", "--steps", 0)["change"]
    assert not change.any()

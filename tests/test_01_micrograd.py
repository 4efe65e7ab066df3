"""01_micrograd.py: `Value` contra PyTorch, las costumbres de micrograd y cada celda por dentro."""
import gc
import operator
import re

import numpy as np
import pytest
import torch
from conftest import ROOT, inside, one_line_error
from hypothesis import assume, given, settings, strategies as st

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


@pytest.fixture(scope="module")
def g():
    """Los nombres de la lección, con una red pequeña y lotes de treinta puntos."""
    flags = "--n_hidden 6 --steps 25 --batch_size 30 --seed 3".split()
    return inside("01_micrograd.py", *flags, cwd=ROOT)


def tensors(numbers):
    return [torch.tensor(float(n), dtype=torch.float64, requires_grad=True)
            for n in numbers]


def close(ours, theirs):
    return np.allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def agree(g, f, *numbers):
    """¿Da `f` con Value el valor y las derivadas que da con PyTorch?"""
    values = [g["Value"](n) for n in numbers]
    ours = g["gradients"](f, values)
    theirs = g["gradients"](f, tensors(numbers))
    return close(ours, theirs)


@pytest.mark.parametrize("operation", OPERATORS)
@pytest.mark.parametrize("a, b", [(0.7, 1.9), (2.5, -0.4), (0.1, 0.1)])
def test_an_operation_of_two_values(g, operation, a, b):
    assert agree(g, operation, a, b)


@pytest.mark.parametrize("n", [0, 0.5, 1, 2])
def test_a_power_of_zero(g, n):
    def power(a):
        return a ** n

    assert agree(g, power, 0.0)


def squash(a, b):
    return (a - b).tanh()


def bend(a, b):
    return (a + b).relu()


STEPS = st.tuples(st.sampled_from([operator.add, operator.mul, squash, bend]),
                  st.integers(0, 99),
                  st.integers(0, 99))


def follow(program, nodes):
    """El último resultado de aplicar cada operación a dos de los nodos que ya hay."""
    for operation, i, j in program:
        left = nodes[i % len(nodes)]
        right = nodes[j % len(nodes)]
        nodes = [*nodes, operation(left, right)]
    return nodes[-1]


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=10),
       st.lists(st.floats(-3, 3), min_size=1, max_size=3))
def test_any_expression_gone_over_twice(g, program, numbers):
    ours = [g["Value"](n) for n in numbers]
    theirs = tensors(numbers)
    top = follow(program, ours)
    torch_top = follow(program, theirs)
    assume(abs(top.data) < 1e6)
    for _ in range(2):
        top.backward()
        torch_top.backward(retain_graph=True)
    expected = [float(leaf.grad or 0) for leaf in theirs]
    assert close([leaf.grad for leaf in ours], expected)


def test_leaves_accumulate(g):
    a, b, d = [g["Value"](n) for n in (3.0, 2.0, 1.0)]
    loss = (a + b) * d
    loss.backward()
    loss.backward()
    a.backward()                                             # una hoja, de sí misma
    assert [a.grad, b.grad, d.grad] == [3, 2, 10]


def test_a_value_shows_what_micrograd_shows(g):
    a = g["Value"](-4.0, label="a")
    assert a.label == "a"
    assert len(a._prev) == 0
    assert a._op == ""
    assert repr(a) == "Value(data=-4.0, grad=0)"


def test_operations_are_named_as_in_micrograd(g):
    a = g["Value"](2.0)
    nodes = [a + a, a * a, a ** 2, a.relu()]
    assert [node._op for node in nodes] == ["+", "*", "**2", "ReLU"]


@pytest.mark.parametrize("two", [np.float64(2), np.int64(2), np.float32(2)])
def test_numpy_numbers_are_operands(g, two):
    a = g["Value"](3.0)
    sums = two + a + two
    powers = two ** a * a ** two / two
    assert sums.data == 7
    assert close(powers.data, 36)


POWER = operator.methodcaller("__pow__", 0.5)
LOG = operator.methodcaller("log")


@pytest.mark.parametrize("operation, number", [(POWER, -2.0), (LOG, 0.0), (LOG, -2.0)])
def test_a_result_that_is_not_real_is_an_error(g, operation, number):
    value = g["Value"](number)
    with pytest.raises(ValueError, match="real|logaritmo"):
        operation(value)


@pytest.mark.parametrize("inputs", [[1], [1, 2, 3]])
def test_a_neuron_refuses_other_sizes(g, inputs):
    with pytest.raises(ValueError, match="shorter|longer"):
        g["Neuron"](2)(inputs)


def test_a_chain_of_a_hundred_thousand_is_freed(g):
    x = g["Value"](1.0)
    top = x
    gc.disable()
    before = len(gc.get_objects())
    for _ in range(100_000):
        top = top + x
    top.backward()
    assert x.grad == 100_001
    del top
    left = len(gc.get_objects()) - before
    gc.enable()
    assert left < 1000


def test_the_drawing_names_each_node_once(g, capsys):
    a = g["Value"](2.0, label="a")
    s = g["Value"](-3.0, label="s")
    top = s + s * a
    g["draw"](top, set())
    lines = capsys.readouterr().out.split("\n")
    assert [line.split()[0] for line in lines[:-1]] == ["+", "s", "*", "s", "a"]
    assert [line for line in lines if "arriba" in line] == lines[3:4]


def test_descent_is_that_of_pytorch(g):
    """Lo que se apartan, en 25 pasos, la pérdida de la red de Value y la de PyTorch."""
    assert g["apart_by"] < 1e-9


@pytest.mark.parametrize("step, part", [(0, 1), (25, 0.1)])
def test_the_rate_falls_to_its_tenth(g, step, part):
    assert close(g["falling"](step), part * g["LEARNING_RATE"])


def test_training_learns(g):
    assert np.mean(g["losses"][-5:]) < 0.7 * g["losses"][0]


def test_batches_have_their_size(g):
    sizes = [len(set(batch)) for batch in g["batches"]]
    assert sizes == [30] * 25


def test_training_prints_what_happened(g):
    lines = re.findall(r"paso +(\d+)   pérdida ([\d.]+)", g["said"])
    assert [int(step) for step, _ in lines] == [1, 10, 20, 25]
    for step, loss in lines:
        exact = g["losses"][int(step) - 1]
        rounded = round(exact, 4)
        assert float(loss) == rounded


@pytest.fixture(scope="module")
def rows(g):
    """Las 23 filas del dibujo de la frontera."""
    return re.findall(r"^   ([▒·xo]{73})$", g["said"], re.M)


def test_points_are_drawn_in_their_place(g, rows):
    left, height = g["X"][99].tolist()
    i = round((1.5 - height) * 9)
    j = round((1.5 + left) * 18)
    assert rows[i][j] == "x"


def test_the_frontier_is_the_sign_of_the_net(g, rows):
    assert len(rows) == 23
    for i in range(0, 23, 3):
        for j in range(0, 73, 9):
            side = g["model"]([-1.5 + j / 18, 1.5 - i / 9])
            ground = "▒" if side.data > 0 else "·"
            assert rows[i][j] in ground + "xo"


def test_hidden_neurons_solve_xor(g):
    nine = g["trial"]([8, 1], 0.05)
    assert nine[-1] < 0.1


def test_the_best_step_is_in_the_middle(g):
    errors = re.findall(r"^ +1e-\d\d .* (\S+)$", g["said"], re.M)
    errors = [float(error) for error in errors]
    assert min(errors) < errors[0] / 1000
    assert min(errors) < errors[-1] / 1000


def test_moons_are_two_half_circles(lesson):
    g = lesson("01_micrograd.py", "--noise", 0, "--steps", 0, "--n_hidden", 1, "--a", 0)
    upper = g["X"][:50]
    lower = g["X"][50:] - torch.tensor([1, 0.5])
    assert close(upper.norm(dim=1), 1)
    assert close(lower.norm(dim=1), 1)
    lowest = upper[:, 1].min()
    highest = lower[:, 1].max()
    assert lowest > -1e-12
    assert highest < 1e-12


def test_without_relu_the_net_is_a_line(lesson):
    g = lesson("01_micrograd.py", "--steps", 2, "--n_hidden", 2, "--no-relu")
    low, middle, high = [g["model"]([x, 2 * x]).data for x in (0, 1, 2)]
    assert close(middle, (low + high) / 2)


def test_a_loss_that_explodes_is_one_line(run):
    done = run("01_micrograd.py", "--learning_rate", 1e6, "--n_hidden", 4)
    one_line_error(done, "LEARNING_RATE")

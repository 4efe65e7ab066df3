"""01_micrograd.py: `Value` contra PyTorch, las costumbres de micrograd y cada celda por dentro."""
import gc
import itertools
import math
import re

import numpy as np
import pytest
import torch
from conftest import ROOT, inside, one_line_error
from hypothesis import assume, given, settings, strategies as st


@pytest.fixture(scope="module")
def g():
    flags = "--n_hidden 6 --steps 25 --eval_interval 10 --seed 3".split()
    return inside("01_micrograd.py", *flags, cwd=ROOT)


def tensors(numbers):
    return [torch.tensor(float(n), dtype=torch.float64, requires_grad=True) for n in numbers]


def close(a, b):
    return np.allclose(a, b, rtol=1e-9, atol=1e-9)


OPS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
       "/": lambda a, b: a / b, "**": lambda a, b: a ** b, "neg": lambda a, b: -a,
       "exp": lambda a, b: a.exp(), "log": lambda a, b: a.log(), "tanh": lambda a, b: a.tanh(),
       "sigmoid": lambda a, b: a.sigmoid(), "relu": lambda a, b: (a - b).relu(),
       "powers": lambda a, b: a ** 3 + 2 * a ** -0.5 - a ** 0, "2-a": lambda a, b: 2 - a,
       "2/a": lambda a, b: 2 / a, "2**a": lambda a, b: 2 ** a, "2+a": lambda a, b: 2 + a}


@pytest.mark.parametrize("op", OPS)
def test_each_operation_is_torchs(g, op):
    def f(a, b):
        return OPS[op](a, b) + 0 * a + 0 * b                 # que los dos tengan gradiente
    for numbers in (0.7, 1.9), (2.5, -0.4), (0.1, 0.1):
        ours = g["gradients"](f, [g["Value"](n) for n in numbers])
        assert close(ours, g["gradients"](f, tensors(numbers)))


SAFE = st.sampled_from("+ - * neg tanh sigmoid relu 2+a 2-a".split())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(SAFE, st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=10),
       st.lists(st.floats(-3, 3), min_size=1, max_size=3))
def test_any_expression_gone_back_over_twice_is_torchs(g, program, numbers):
    def losses(nodes):
        for op, i, j in program:
            nodes.append(OPS[op](nodes[i % len(nodes)], nodes[j % len(nodes)]))
        return nodes[-1], nodes[-1] * nodes[0] + nodes[len(nodes) // 2] * 2

    ours, theirs = [g["Value"](n) for n in numbers], tensors(numbers)
    for a, b in zip(losses(list(ours)), losses(list(theirs))):
        assume(abs(b.item()) < 1e6)
        a.backward()
        b.backward(retain_graph=True)
        order = {v: i for i, v in enumerate(a.topological())}
        assert all(order[v] < order[child] for v in order for child in v._prev)
    assert close([u.grad for u in ours], [float(v.grad or 0) for v in theirs])


def test_leaves_accumulate_and_inner_nodes_start_afresh(g):
    a, b, d = (g["Value"](n) for n in (3.0, 2.0, 1.0))
    inner = a + b
    loss = inner * d
    loss.backward()
    loss.backward()
    assert [a.grad, b.grad, d.grad, inner.grad, loss.grad] == [2, 2, 10, 1, 1]
    a.grad = 0
    (a * b).backward()
    assert [a.grad, b.grad, d.grad] == [2, 5, 10]
    a.backward()                                             # una hoja es su propia pérdida
    assert a.grad == 3


def test_habits_of_micrograd_work(g):
    Value = g["Value"]
    a, b = Value(-4.0, label="a"), Value(2.0)
    assert (a.label, len(a._prev), a._op, repr(b)) == ("a", 0, "", "Value(data=2.0, grad=0)")
    assert [v._op for v in (a + b, a * b, a ** 2, a.relu())] == ["+", "*", "**2", "ReLU"]
    assert set((a * b)._prev) == {a, b} and sum([a, b]).data == -2.0
    model = g["MLP"](3, [4, 4, 1])
    assert len(model.parameters()) == 41 and isinstance(model([1.0, -2.0, 3.0]), Value)
    for part in model, model.layers[0], model.layers[0].neurons[0]:
        (model([1.0, 2.0, 3.0]) ** 2).backward()
        part.zero_grad()
        assert all(p.grad == 0 for p in part.parameters())


def test_numpy_numbers_work_as_operands(g):
    for two in np.float64(2), np.int64(2), np.float32(2):
        a = g["Value"](3.0)
        values = [a + two, two + a, a * two, two * a, a - two, two - a, a / two, two / a, a ** two,
                  two ** a, a ** -two]
        assert close([v.data for v in values], [5, 5, 6, 6, 1, -1, 1.5, 2 / 3, 9, 8, 1 / 9])
        (two ** a + a ** two).backward()
        assert close(a.grad, 8 * math.log(2) + 6)
    for n in 0, 0.5, 1, 2:                                   # y las potencias de cero
        power, zero = (lambda a: a ** n), g["Value"](0.0)
        assert g["gradients"](power, [zero]) == g["gradients"](power, tensors([0]))


def test_misuse_is_an_error(g):
    Value, neuron = g["Value"], g["Neuron"](2)
    for error, f in [("logaritmo", lambda: Value(0.0).log()), ("real", lambda: Value(-2.0) ** 0.5),
                     ("logaritmo", lambda: (-2) ** Value(3.0)),
                     ("longer", lambda: neuron([1, 2, 3])), ("shorter", lambda: neuron([1]))]:
        with pytest.raises(ValueError, match=error):
            f()


def test_a_long_chain_runs_and_nothing_stays_alive_without_the_collector(g):
    x = v = g["Value"](1.0)
    gc.disable()
    before = len(gc.get_objects())
    for _ in range(100_000):
        v = v + x
    v.backward()
    assert x.grad == v.data == 100_001
    v = None
    assert len(gc.get_objects()) - before < 1000
    gc.enable()


def test_the_drawing_names_each_node_once(g, capsys):
    a, s = g["Value"](2.0, label="a"), g["Value"](-3.0, label="s")
    g["draw"](s + s * a, set())
    lines = capsys.readouterr().out.split("\n")[:-1]
    names = [(line.split()[0], "arriba" in line) for line in lines]
    assert names == [("+", False), ("s", False), ("*", False), ("s", True), ("a", False)]


def reference(g, params):
    """Pérdida de las dos lunas y su gradiente, por PyTorch; `params`, en el orden de micrograd."""
    flat = torch.tensor(params, dtype=torch.float64, requires_grad=True)
    h, at, n_hidden = g["X"], 0, g["N_HIDDEN"]
    for n_in, n_out in (2, n_hidden), (n_hidden, n_hidden), (n_hidden, 1):
        rows = flat[at:at + n_out * (n_in + 1)].view(n_out, n_in + 1)          # pesos y sesgo
        h = h @ rows[:, :-1].T + rows[:, -1]
        h = h if n_out == 1 else h.relu()
        at += rows.numel()
    loss = (1 - g["y"] * h[:, 0]).relu().mean() + g["WEIGHT_DECAY"] * flat.square().sum()
    loss.backward()
    return loss.item(), flat.grad.numpy()


@pytest.mark.parametrize("kind", ["Neuron", "NodeNeuron"])
def test_descend_is_an_independent_descent(g, kind):
    model = g["newborn"](g[kind])
    params = np.array([p.data for p in model.parameters()])
    for step, loss in enumerate(g["descend"](model, g["hinge"], 0.7, 5)):
        expected, gradient = reference(g, params)
        assert close(loss, expected) and close([p.grad for p in model.parameters()], gradient)
        params -= 0.7 * (1 - 0.9 * step / 5) * gradient
        assert close([p.data for p in model.parameters()], params)


def test_training_learns_and_prints_what_happened(g):
    assert g["losses"][-1] < 0.5 * g["losses"][0] and len(g["losses"]) == 25
    shown = re.findall(r"paso +(\d+)   pérdida ([\d.]+)   aciertos (\d+) de 100", g["said"])
    assert [int(s[0]) for s in shown] == [1, 10, 20, 25]
    assert all(float(loss) == round(g["losses"][int(step) - 1], 4) for step, loss, _ in shown)
    hits = sum(g["model"](x).data * t > 0 for x, t in zip(g["X"].tolist(), g["y"]))
    assert int(shown[-1][2]) == hits > 85
    drawn = re.findall(r"^   ([▒·xo]{73})$", g["said"], re.M)
    assert len(drawn) == 23 and 40 < sum(char in "xo" for char in "".join(drawn)) <= 100
    for i, j in itertools.product(range(0, 23, 3), range(0, 73, 9)):
        side = g["model"]([-1.5 + j * 4 / 72, 1.5 - i / 9]).data
        assert drawn[i][j] in ("▒xo" if side > 0 else "·xo")
    sse = [float(n) for n in re.findall(r"^   (?:una|nueve).* (\S+)$", g["said"], re.M)]
    assert sse[0] == 4 and sse[1] < 0.1 and not sse[2] < 1e6  # recta; con capa oculta; tasa enorme
    assert float(re.search(r"se separan (\S+)", g["said"])[1]) < 1e-9


def test_moons_are_two_half_circles_and_any_seed_passes_every_check(lesson):
    g = lesson("01_micrograd.py", "--noise", 0, "--steps", 1, "--n_hidden", 1, "--seed", -7)
    upper, lower = g["X"][:50], g["X"][50:] - torch.tensor([1, 0.5])
    assert close(upper.norm(dim=1), 1) and upper[:, 1].min() > -1e-12
    assert close(lower.norm(dim=1), 1) and lower[:, 1].max() < 1e-12 and gc.isenabled()


def test_bad_constants_and_a_loss_that_explodes_are_one_line(run):
    one_line_error(run("01_micrograd.py", "--n_hidden", 0), "N_HIDDEN")
    one_line_error(run("01_micrograd.py", "--learning_rate", 1e6, "--n_hidden", 4), "LEARNING_RATE")

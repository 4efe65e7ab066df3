"""00_history.py: cada modelo contra la cuenta exacta, la RBM y la DBN contra la enumeración."""
import itertools
import math
import os
import random
import re
import runpy
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ENV, ROOT, SHARED, command, one_line_error
from hypothesis import given, settings, strategies as st

TINY = ["--steps", "0", "--n_hidden", "6"]


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Los nombres de la lección, sin entrenar, y lo que imprime."""
    import contextlib
    import io
    before = sys.argv, sys.stdout, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    sys.argv, out = ["00_history.py", *TINY], io.TextIOWrapper(io.BytesIO(), "utf-8")
    try:
        with contextlib.redirect_stdout(out):
            g = runpy.run_path(str(ROOT / "00_history.py"))
        out.seek(0)
        return g | {"printed": out.read()}
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGINT, before[2])
        signal.signal(signal.SIGPIPE, before[3])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Una ejecución entera tal como viene, con las figuras."""
    folder = tmp_path_factory.mktemp("entera")
    done = subprocess.run(command("00_history.py", "--plot", "figuras"), cwd=folder, env=ENV,
                          capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout, folder


def machine(lesson, seed, scale=1.0):
    """Una RBM de 2 posiciones, 3 letras y 4 ocultas, y todos sus estados."""
    rng = np.random.default_rng(seed)
    W, b, c = (scale * rng.normal(size=size) for size in ((6, 4), (2, 3), 4))
    v = np.array([np.eye(3)[list(ids)].ravel() for ids in itertools.product(range(3), repeat=2)])
    h = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    return (W, b, c), v, h


# --- 1 a 3

@settings(max_examples=80)
@given(st.lists(st.booleans(), max_size=5), st.lists(st.booleans(), max_size=3), st.integers(0, 5))
def test_unit_fires_by_threshold_and_any_inhibition_forbids(lesson, excite, inhibit, threshold):
    fires = lesson["unit"](np.array([excite], bool), np.array([inhibit], bool), threshold)
    assert fires.tolist() == [sum(excite) >= threshold and not any(inhibit)]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_bits_are_the_product_in_order(lesson, n):
    assert lesson["bits"](n).tolist() == [list(t) for t in itertools.product((False, True), repeat=n)]


def test_what_the_first_cells_print(lesson):
    out = lesson["printed"]
    assert "dan 14 de las 16 tablas" in out and "recuerda las tres" in out
    table = [line.split() for line in out.splitlines()[1:5]]
    assert table == [[*map(str, map(int, (a, b, a & b, a | b, not a, a ^ b)))]
                     for a in (0, 1) for b in (0, 1)]
    norms = re.findall(r"^ +(\d+) +(\S+e\S+) +(\S+) +(\S+)$", out, re.M)
    assert [n for n, *_ in norms] == ["100", "1000", "4000"]
    assert float(norms[2][1]) > 1e9 and abs(float(norms[2][2]) - 1) < 0.1 and float(norms[2][3]) > 0.99
    found = re.search(r"separa (\d+) puntos tras (\d+) errores; el teorema permite (\d+)", out)
    assert 300 < int(found[1]) <= 400 and 0 < int(found[2]) <= int(found[3])


# --- Hopfield y Boltzmann

def test_the_letters_read_as_drawn(lesson):
    drawing = lesson["DRAWING"].split("\n")
    assert lesson["letters"].shape == (4, 100) and set(np.unique(lesson["letters"])) == {-1, 1}
    for k, letter in enumerate(lesson["letters"].reshape(4, 10, 10)):
        for r in range(10):
            for column in range(10):
                half = drawing[r // 2].split()[k][column]
                assert (letter[r, column] == 1) == (half in ("█▀" if r % 2 == 0 else "█▄"))


@settings(max_examples=30)
@given(st.integers(0, 999), st.integers(2, 9), st.integers(1, 4))
def test_memory_energy_and_descent_match_plain_loops(lesson, seed, n, p):
    rng = np.random.default_rng(seed)
    patterns = rng.choice([-1.0, 1.0], (p, n))
    W = lesson["memory"](patterns)
    for i, j in itertools.product(range(n), repeat=2):
        assert math.isclose(W[i, j], 0 if i == j else sum(x[i] * x[j] for x in patterns) / n, abs_tol=1e-12)
    s, curve = rng.choice([-1.0, 1.0], (3, n)), []
    plain = [-sum(W[i, j] * row[i] * row[j] for i in range(n) for j in range(i)) for row in s]
    assert np.allclose(lesson["energy"](s, W), plain)
    kept = s.copy()
    end = lesson["sweep"](s, W, curve=curve)
    assert np.array_equal(s, kept) and len(curve) % n == 0  # trabaja sobre una copia
    assert (np.diff(np.array([plain, *curve]), axis=0) <= 1e-9).all()
    field = end @ W
    assert (end * field >= -1e-9).all()                     # nadie quiere ya cambiar


def test_sweep_leaves_the_first_units_alone(lesson):
    s = np.where(np.arange(7) % 2, 1.0, -1.0) * np.ones((50, 1))
    W = lesson["memory"](np.random.default_rng(0).normal(size=(9, 7)))
    assert np.array_equal(lesson["sweep"](s, W, 5, 3.0, first=3)[:, :3], s[:, :3])
    assert not np.array_equal(lesson["sweep"](s, W, 5, 3.0, first=3)[:, 3:], s[:, 3:])


def test_gibbs_reaches_the_enumerated_distribution(lesson):
    """Con pesos y temperatura distintos de los de la lección."""
    W = lesson["memory"](np.random.default_rng(5).normal(size=(4, 4)))
    states, p, _ = lesson["exact"](W / 0.7)
    samples = lesson["sweep"](np.ones((20_000, 4)), W, 30, 0.7, first=1)
    counts = [(samples == row).all(1).mean() for row in states]
    assert len(states) == 8 and abs(p.sum() - 1) < 1e-12
    assert abs(np.array(counts) - p).sum() / 2 < 0.03


def test_exact_divergence_is_that_of_a_plain_loop(lesson):
    W = lesson["memory"](np.random.default_rng(3).normal(size=(5, 6)))
    weight = {}
    for rest in itertools.product((-1, 1), repeat=5):
        s = (1, *rest)
        e = -sum(W[i, j] * s[i] * s[j] for i in range(6) for j in range(i))
        weight[s[1:4]] = weight.get(s[1:4], 0) + math.exp(-e)
    total = sum(weight.values())
    even = [v for v in weight if np.prod(v) == 1]
    kl = sum(0.25 * math.log(0.25 * total / weight[v]) for v in even)
    assert len(even) == 4 and math.isclose(lesson["exact"](W)[2], kl, rel_tol=1e-9)


def test_pairs_alone_stay_at_log_two_and_hidden_units_go_below(lesson):
    pairs, hidden = ([float(v) for v in re.search(label + r"\D*(.+)$", lesson["printed"], re.M)[1].split()]
                     for label in (r"log 2 = 0\.693\)", "ocultas"))
    assert len(pairs) == len(hidden) == 6
    assert min(pairs) >= 0.693 and hidden[-1] < 0.35 < 0.6 < hidden[0]


def test_annealing_beats_descent_and_capacity_breaks(lesson):
    down, cold = map(float, re.search(r"es (-\S+) bajando y (-\S+) enfriando", lesson["printed"]).groups())
    assert cold < down - 1
    kept = dict(re.findall(r"^   (0\.\d\d) +(0\.\d+|1\.000)", lesson["printed"], re.M))
    assert float(kept["0.12"]) > 0.95 and float(kept["0.16"]) < 0.93 and float(kept["0.20"]) < 0.75


# --- la RBM y la DBN contra la enumeración

@pytest.mark.parametrize("seed", range(5))
def test_conditionals_and_free_energy_are_the_enumerated_ones(lesson, seed):
    (W, b, c), v, h = machine(lesson, seed)
    joint = np.array([[math.exp(x @ b.ravel() + y @ c + x @ W @ y) for y in h] for x in v])
    assert np.allclose(lesson["free_energy"](v, W, b, c), -np.log(joint.sum(1)))
    assert np.allclose(lesson["up"](v, W, b, c), joint @ h / joint.sum(1, keepdims=True))
    assert np.allclose(lesson["down"](h, W, b, c).reshape(16, 6), joint.T @ v / joint.sum(0)[:, None])
    estimate, error = lesson["log_z"]((W, b, c))
    assert abs(estimate - math.log(joint.sum())) < 0.05 + 4 * error


def test_draw_follows_its_probabilities(lesson):
    p = np.array([[[0.1, 0.2, 0.7], [1.0, 0.0, 0.0]]])
    drawn = lesson["draw"](np.repeat(p, 40_000, 0)).reshape(-1, 2, 3)
    assert (drawn.sum(2) == 1).all() and np.abs(drawn.mean(0) - p[0]).max() < 0.01
    assert abs(lesson["draw"](np.full((20_000, 2), 0.3)).mean() - 0.3) < 0.01


def test_gibbs_visits_names_as_often_as_enumeration_says(lesson):
    weights, v, _ = machine(lesson, 1)
    p = np.exp(-lesson["free_energy"](v, *weights))
    p /= p.sum()
    chain = np.repeat(v[:1], 20_000, 0)
    for _ in range(40):
        chain = lesson["gibbs"](chain, weights)
    assert abs((chain @ v.T == 2).mean(0) - p).sum() / 2 < 0.03


def test_names_are_short_split_and_never_shared(lesson):
    lines = {w.strip().lower() for w in (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")}
    short = sorted(w for w in lines if 0 < len(w) <= 8)
    random.Random(42).shuffle(short)
    train, test = (lesson["spell"](lesson["one_hot"](lesson[part], lesson["V"])) for part in ("train", "test"))
    assert train + test == short and len(train) == int(0.9 * len(short)) and not set(train) & set(test)


def test_two_equal_layers_give_an_exact_bound(inside, small_text):
    """La cota de la DBN con la segunda igual a la primera, contra sumar sobre todas las ocultas."""
    g = inside("00_history.py", *TINY, "--data", small_names(small_text))
    rng = np.random.default_rng(0)
    g["first"][0][:] = rng.normal(size=g["first"][0].shape)
    x = g["one_hot"](g["train"], g["V"])
    exact = -g["free_energy"](x, *g["first"])
    assert np.allclose(g["bound"](x, g["first"], 0.0), exact, atol=1e-3)
    other = [w + rng.normal(size=w.shape) / 3 for w in g["first"]]
    W, b, c = g["first"]
    h = g["bits"](6).astype(float)
    prior = np.exp(h @ other[2] + np.logaddexp.reduce(
        other[1] + (h @ other[0].T).reshape(64, *b.shape), axis=2).sum(1))
    likelihood = np.exp(np.log(g["down"](h, W, b, c)).reshape(64, -1) @ x.T)     # (64, n)
    truth = np.log(prior @ likelihood)
    mean = np.mean([g["bound"](x, other, 0.0) for _ in range(400)], axis=0)
    assert (mean <= truth + 0.15).all() and (mean < truth).mean() > 0.9


def small_names(path):
    """Escribe en `path` treinta nombres cortos y lo devuelve."""
    words = random.Random(1)
    path.write_text("\n".join("".join(words.choice("abcñó") for _ in range(5)) for _ in range(30)), "utf-8")
    return path


def test_training_lowers_the_reconstruction_error_and_moves_every_weight(inside, small_text, capsys):
    path = small_names(small_text)
    before = inside("00_history.py", *TINY, "--data", path)
    after = inside("00_history.py", "--n_hidden", 6, "--data", path, "--steps", 400, "--eval_interval", 200)
    x = after["one_hot"](after["train"], after["V"])

    def likelihood(g):
        return (-g["free_energy"](x, *g["first"])).mean() - g["log_z"](g["first"])[0]
    assert likelihood(after) > likelihood(before) + 0.5
    for a, b, c in zip(before["first"], after["first"], after["second"]):
        assert (a != b).any() and (b != c).any()
    assert len(re.findall(r"^   paso ", capsys.readouterr().out, re.M)) == 4


# --- la ejecución entera

def test_the_whole_run_keeps_its_promises(whole):
    out, folder = whole
    told = float(re.search(r"barajados: ([\d.]+) %|barajados: ([\d.]+)%", out)[0].split(":")[1].strip(" %"))
    assert told > 92
    alone, one, two, gain, error = map(float, re.search(
        r"posición (\S+),\s+una capa (\S+), dos (\S+) o menos.\s+La segunda aporta (\S+), "
        r"con error típico (\S+):", out).groups())
    assert 16 < one < 18 < alone and abs(one - two - gain) < 0.02 and 0 < error < 0.2
    verdict = "ayuda" if gain > 2 * error else "estorba" if gain < -2 * error else "no se nota"
    assert re.search(rf"^   {verdict}$", out, re.M)
    assert sorted(os.listdir(folder / "figuras")) == [
        "hopfield_capacidad.png", "hopfield_energia.png", "hopfield_recuerdo.png", "rbm_filtros.png"]
    assert max(map(len, out.splitlines())) <= 100 and len(re.findall(r"^   filtro", out, re.M)) == 6


def test_same_seed_same_output_and_another_seed_another(run, small_text):
    args = ["00_history.py", "--data", small_names(small_text), "--steps", 20, "--n_hidden", 6]
    a, b = run(*args).stdout, run(*args).stdout
    c = run(*args, "--seed", 7)
    assert a == b != c.stdout and c.returncode == 0


@pytest.mark.parametrize("flags", [
    ["--steps", 3, "--batch_size", 1, "--n_hidden", 1], ["--steps", 2, "--learning_rate", 10],
    ["--steps", 1, "--block_size", 5], ["--steps", 1, "--batch_size", 500, "--eval_interval", 1]])
def test_odd_but_legal_constants_run(run, small_text, flags):
    done = run("00_history.py", "--data", small_names(small_text), *flags)
    assert done.returncode == 0 and done.stderr == "", done.stderr


# --- la terminal y lo que está mal

BAD = [(["--steps", -1], "STEPS"), (["--seed", -1], "SEED"), (["--seed", 2**31], "SEED"),
       (["--batch_size", 0], "1 o más"), (["--n_hidden", 0], "1 o más"), (["--eval_interval", 0], "1 o más"),
       (["--learning_rate", 0], "LEARNING_RATE"), (["--learning_rate", "nan"], "LEARNING_RATE"),
       (["--learning_rate", "inf"], "LEARNING_RATE"), (["--block_size", 1], "hacen falta 10"),
       (["--data", "nada.txt"], "no puedo leer «nada.txt»"), (["--data", "."], "no puedo leer")]


@pytest.mark.parametrize("flags, fragment", BAD)
def test_bad_input_is_one_line_and_changes_nothing(run, tmp_path, flags, fragment):
    one_line_error(run("00_history.py", *flags), fragment)
    assert os.listdir(tmp_path) == []


def test_bad_texts_are_one_line(run, tmp_path):
    (tmp_path / "latin1.txt").write_bytes("¿Qué?".encode("latin1"))
    (tmp_path / "vacio.txt").write_text("", "utf-8")
    one_line_error(run("00_history.py", "--data", "latin1.txt"), "no está en UTF-8 (byte 0)")
    one_line_error(run("00_history.py", "--data", "vacio.txt"), "tiene 0 líneas")


def test_plot_without_matplotlib_or_place_is_one_line(run, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "matplotlib.py").write_text("raise ImportError", "utf-8")
    (tmp_path / "fichero").write_text("", "utf-8")
    one_line_error(run("00_history.py", "--plot", "f", env={"PYTHONPATH": str(tmp_path / "lib")}), "matplotlib")
    one_line_error(run("00_history.py", "--plot", "fichero"), "--plot")


@pytest.mark.parametrize("flag", [["--n_hid", "3"], ["--steps", "muchos"], ["--nada"], ["x.txt"]])
def test_an_unknown_flag_or_a_wrong_type_is_argparses_error(run, flag):
    done = run("00_history.py", *flag)
    assert done.returncode == 2 and "error:" in done.stderr and "Traceback" not in done.stderr


def test_help_shows_every_constant_with_its_comment(run):
    done = run("00_history.py", "--help", env={"COLUMNS": "200"})
    source = (ROOT / "00_history.py").read_text("utf-8").split("# %%")[1]
    constants = re.findall(r"^([A-Z_]+) = .*?  # (.+)$", source, re.M)
    assert len(constants) == 9 and done.returncode == 0
    for name, note in constants:
        assert f"--{name.lower()}" in done.stdout
        assert " ".join(note.split()) in " ".join(done.stdout.split())


def test_output_is_utf_8_and_head_ends_it_quietly(tmp_path):
    done = subprocess.run(" ".join(command("00_history.py", *TINY)) + " | head -n 1", shell=True,
                          cwd=tmp_path, capture_output=True, timeout=120,
                          env={**ENV, "PYTHONIOENCODING": "ascii"})
    assert done.stderr == b"" and "McCulloch".encode() in done.stdout and os.listdir(tmp_path) == []


def test_it_needs_numpy_alone_and_fits_an_evening():
    source = (ROOT / "00_history.py").read_text("utf-8")
    assert "import torch" not in source and source.count("\n") <= 510


@pytest.mark.skipif(not SHARED.is_dir(), reason="faltan los textos de ../shared")
def test_english_names_run_too(run):
    done = run("00_history.py", "--data", SHARED / "names.txt", "--steps", 0, "--n_hidden", 8)
    assert done.returncode == 0, done.stderr

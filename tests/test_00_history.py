"""00_history.py: cada modelo contra la cuenta exacta, la RBM y la DBN contra la enumeración."""
import contextlib
import io
import itertools
import math
import os
import pty
import random
import re
import runpy
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ENV, ROOT, SHARED, command, one_line_error, run_script
from hypothesis import given, settings, strategies as st

TINY = ["--steps", "0", "--n_hidden", "6"]


def small_names(path):
    """Escribe en `path` treinta nombres cortos y lo devuelve."""
    words = random.Random(1)
    path.write_text("\n".join("".join(words.choice("abcñó") for _ in range(5)) for _ in range(30)), "utf-8")
    return path


def execute(*flags):
    """La lección en este proceso: sus nombres y, con el nombre `printed`, lo que imprime."""
    before = sys.argv, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    sys.argv, out = ["00_history.py", *map(str, flags)], io.TextIOWrapper(io.BytesIO(), "utf-8")
    try:
        with contextlib.redirect_stdout(out):
            g = runpy.run_path(str(ROOT / "00_history.py"))
        out.seek(0)
        return g | {"printed": out.read()}
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGINT, before[1])
        signal.signal(signal.SIGPIPE, before[2])


@pytest.fixture(scope="module")
def lesson():
    """Los nombres de la lección, sin entrenar, y lo que imprime."""
    return execute(*TINY)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """La lección entrenada 400 pasos, con seis ocultas, y los treinta nombres."""
    path = small_names(tmp_path_factory.mktemp("pocos") / "nombres.txt")
    return execute("--n_hidden", 6, "--data", path, "--steps", 400), path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Una ejecución entera tal como viene, con las figuras."""
    folder = tmp_path_factory.mktemp("entera")
    done = run_script("00_history.py", "--plot", "figuras", cwd=folder, real=True)
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
    assert "dan 14 de las 16 tablas" in out and "Hebb recuerda tres parejas" in out
    table = [line.split() for line in out.splitlines()[1:5]]
    assert table == [[*map(str, map(int, (a, b, a & b, a | b, not a, a ^ b)))]
                     for a in (0, 1) for b in (0, 1)]
    norms = re.findall(r"^ +(\d+) ejemplos: \|w\| (\S+); con Oja (\S+), y coseno (\S+)$", out, re.M)
    assert [n for n, *_ in norms] == ["100", "1000", "4000"]
    hebb = [float(norm) for _, norm, *_ in norms]
    assert hebb[0] < 1e3 < 1e9 < hebb[1] < hebb[2]
    assert abs(float(norms[2][2]) - 1) < 0.1 and float(norms[2][3]) > 0.99
    found = re.search(r"tras (\d+) errores; el teorema permite (\d+)", out)
    assert 0 < int(found[1]) <= int(found[2]) < 2000


def test_the_perceptron_of_the_lesson_separates_and_xor_cycles(lesson):
    assert (lesson["results"][0], lesson["results"][1]) == (lesson["errors"], 0)
    assert lesson["results"][3] > 0 and lesson["errors"] <= lesson["limit"]


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
    end = lesson["sweep"](s, W, watch=lambda s: curve.append(lesson["energy"](s, W)))
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
    W = lesson["memory"](np.random.default_rng(5).normal(size=(4, 4))) / 2
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

@pytest.mark.parametrize("seed", range(4))
def test_conditionals_and_free_energy_are_the_enumerated_ones(lesson, seed):
    (W, b, c), v, h = machine(lesson, seed)
    joint = np.array([[math.exp(x @ b.ravel() + y @ c + x @ W @ y) for y in h] for x in v])
    assert np.allclose(lesson["free_energy"](v, W, b, c), -np.log(joint.sum(1)))
    assert np.allclose(lesson["hidden_log"](h, W, b, c), np.log(joint.sum(0)))
    ups = lesson["up"](np.repeat(v, 4000, 0), W, b, c).reshape(9, 4000, 4).mean(1)
    downs = lesson["down"](np.repeat(h, 4000, 0), W, b, c).reshape(16, 4000, 6).mean(1)
    assert abs(ups - joint @ h / joint.sum(1, keepdims=True)).max() < 0.04
    assert abs(downs - joint.T @ v / joint.sum(0)[:, None]).max() < 0.04


def test_draws_are_one_letter_a_position_and_zeros_or_ones(lesson):
    (W, b, c), v, h = machine(lesson, 2, scale=30.0)
    drawn = lesson["down"](h, W, b, c)
    assert drawn.shape == (16, 6) and (drawn.reshape(16, 2, 3).sum(2) == 1).all()
    sure = (b + (h @ W.T).reshape(16, 2, 3))
    assert (drawn.reshape(16, 2, 3).argmax(2) == sure.argmax(2)).mean() > 0.9
    assert set(np.unique(lesson["up"](v, W, b, c))) <= {0.0, 1.0}


def test_dreams_visit_names_as_often_as_enumeration_says(lesson):
    weights, v, _ = machine(lesson, 1)
    p = np.exp(-lesson["free_energy"](v, *weights))
    often = (lesson["dreams"](8000, *weights) @ v.T == 2).mean(0)
    assert abs(often - p / p.sum()).sum() / 2 < 0.03


def test_names_are_short_split_in_three_and_never_shared(lesson):
    lines = {w.strip().lower() for w in (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")}
    short = sorted(w for w in lines if 0 < len(w) <= 8)
    random.Random(42).shuffle(short)
    parts = [lesson["spell"](lesson["one_hot"](lesson[part], lesson["V"])).split(", ")
             for part in ("train", "val", "test")]
    assert sum(parts, []) == short and not set(parts[0]) & set(parts[2])
    assert [len(part) for part in parts] == [6756, 845, 845]
    assert (lesson["x"] == lesson["one_hot"](lesson["train"], lesson["V"])).all()


def test_the_first_machine_starts_as_letters_position_by_position(lesson):
    """b es el logaritmo de la frecuencia (con un ejemplo más de cada letra), y suma uno."""
    b = lesson["first"][1]
    assert np.allclose(np.exp(b).sum(1), 1, atol=1e-4)
    names = [row for row in lesson["train"].tolist()]
    for position, letter in ((0, 1), (3, 5), (7, 0)):
        n = sum(row[position] == letter for row in names) + 1
        assert math.isclose(math.exp(b[position, letter]), n / (len(names) + lesson["V"]), rel_tol=1e-4)


def test_a_second_layer_bounds_the_likelihood_from_below(lesson):
    """-F(v) + <log p2(h) - log p1(h)> no pasa de log p(v) de las dos capas, sumada entera; iguales, sí."""
    first, v, h = machine(lesson, 3)
    rng = np.random.default_rng(0)
    second = [w + 0.5 * rng.normal(size=w.shape) for w in first]
    W, b, c = first
    logits = (b.ravel() + h @ W.T).reshape(16, 2, 3)
    say = np.exp(logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)).reshape(16, 6)
    chance = np.array([[math.prod(row[x == 1]) for row in say] for x in v])      # (9, 16) p1(v | h)

    def log_p(machine):
        prior = np.exp(lesson["hidden_log"](h, *machine))
        return np.log(chance @ prior / prior.sum()), math.log(prior.sum())
    (one, z1), (two, z2) = log_p(first), log_p(second)
    assert np.allclose(one, -lesson["free_energy"](v, *first) - z1)
    posterior = np.exp(np.array([[x @ b.ravel() + y @ c + x @ W @ y for y in h] for x in v]))
    posterior /= posterior.sum(1, keepdims=True)
    rise = posterior @ (lesson["hidden_log"](h, *second) - lesson["hidden_log"](h, *first))
    assert (one + rise - z2 + z1 <= two + 1e-9).all() and (one + rise - z2 + z1 < two - 1e-3).any()


def test_training_raises_the_exact_likelihood_and_moves_every_weight(trained):
    """Con seis ocultas log Z se suma entera. Antes de aprender, cada letra iba por su cuenta."""
    g, _ = trained
    h = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
    start = np.log((g["x"].sum(0).reshape(g["L"], g["V"]) + 1) / (len(g["x"]) + g["V"]))
    learnt = (-g["free_energy"](g["x"], *g["first"])).mean() - np.logaddexp.reduce(g["hidden_log"](h, *g["first"]))
    assert learnt > (g["x"] @ start.ravel()).mean() + 0.5
    assert abs(g["first"][1] - start).max() > 0.1 and abs(g["first"][0]).max() > 0.5
    assert all((a != b).any() for a, b in zip(g["first"], g["second"]))
    assert [len(g[part]) for part in ("train", "val", "test")] == [24, 3, 3]


def test_without_steps_nothing_is_learnt_and_the_layers_are_equal(lesson):
    assert all((a == b).all() and a is not b for a, b in zip(lesson["first"], lesson["second"]))
    assert (lesson["first"][2] == 0).all() and lesson["mean"] == 0
    assert "La segunda añade +0.000, error típico 0.000: no se nota" in lesson["printed"]


# --- la ejecución entera

def test_the_whole_run_keeps_its_promises(whole):
    out, folder = whole
    told = re.findall(r"barajados: (\S+)% de 845 de (validación|prueba)$", out, re.M)
    assert [part for _, part in told] == ["validación", "prueba"]
    assert min(float(share) for share, _ in told) > 92
    apart, more, error, verdict = re.search(r"con\n   una capa, (\S+)\. La segunda añade (\S+), "
                                            r"error típico (\S+): (.+)$", out, re.M).groups()
    assert 6 < float(apart) < 10 and abs(float(more)) < 0.5 and 0 < float(error) < 0.1
    sigmas = float(more) / float(error)
    assert verdict == ("ayuda" if sigmas > 2 else "estorba" if sigmas < -2 else "no se nota")
    dreamt = [re.search(rf"^   {label} (.+)$", out, re.M)[1].strip().split(", ")
              for label in ("sueña", "dos capas sueñan")]
    assert dreamt[0] != dreamt[1] and [len(d) for d in dreamt] == [8, 8]
    assert sorted(os.listdir(folder / "figuras")) == [
        "hopfield_capacidad.png", "hopfield_recuerdo.png", "rbm_filtros.png"]
    assert max(map(len, out.splitlines())) <= 79 and len(re.findall(r"^   filtro", out, re.M)) == 6


def test_same_seed_same_output_in_another_process(run, trained):
    g, path = trained
    flags = ["00_history.py", "--data", path, "--steps", 400, "--n_hidden", 6]
    done = run(*flags, real=True)
    assert done.stdout == g["printed"] and done.stderr == ""


def test_one_letter_names_and_another_seed_run(run, lesson, small_text):
    small_text.write_text("a b c d e f g h i · ñ".replace(" ", "\n"), "utf-8")
    done = run("00_history.py", "--data", small_text, "--steps", 1, "--batch_size", 99,
               "--block_size", 1, "--seed", 2**40)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.splitlines()[7:20] != lesson["printed"].splitlines()[7:20]


def test_english_names_and_odd_constants_run(run, small_text):
    path = SHARED / "names.txt"
    done = run("00_history.py", "--data", path if path.exists() else small_names(small_text), "--steps", 3,
               "--batch_size", 1, "--n_hidden", 1, "--learning_rate", 10, "--block_size", 5)
    assert done.returncode == 0 and done.stderr == "", done.stderr


# --- la terminal y lo que está mal

BAD = [(["--steps", -1], "STEPS"), (["--seed", -1], "SEED"),
       (["--batch_size", 0], "desde 1"), (["--n_hidden", 0], "desde 1"), (["--block_size", 0], "desde 1"),
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
    assert len(constants) == 8 and done.returncode == 0
    for name, note in constants:
        assert f"--{name.lower()}" in done.stdout
        assert " ".join(note.split()) in " ".join(done.stdout.split())


def test_output_is_utf_8_and_head_ends_it_quietly(tmp_path):
    done = subprocess.run(" ".join(command("00_history.py", *TINY)) + " | head -n 1", shell=True,
                          cwd=tmp_path, capture_output=True, timeout=120,
                          env={**ENV, "PYTHONIOENCODING": "ascii"})
    assert done.stderr == b"" and "McCulloch".encode() in done.stdout and os.listdir(tmp_path) == []


def test_on_a_terminal_training_gives_signs_of_life_and_never_wraps(tmp_path):
    small_names(tmp_path / "n.txt")
    master, slave = pty.openpty()
    p = subprocess.Popen(command("00_history.py", "--data", "n.txt", "--steps", 25, "--n_hidden", 6),
                         cwd=tmp_path, env=ENV, stdout=slave, stderr=slave)
    os.close(slave)
    out = b""
    with contextlib.suppress(OSError):
        while piece := os.read(master, 65536):
            out += piece
    os.close(master)
    assert p.wait() == 0
    shown = [piece.split("\r\n")[0] for piece in out.decode().split("\r\033[K")[1:]]
    assert shown[:24] == [f"   paso {n} de 25" for n in range(1, 25)]  # la celda 6; la 25 borra
    assert shown[25:49] == shown[:24] and len(shown) == 50             # y la 7


def test_it_needs_numpy_alone_and_is_under_400_lines():
    source = (ROOT / "00_history.py").read_text("utf-8")
    assert "import torch" not in source and source.count("\n") < 400

"""02_bigram.py: cuentas, pérdida, sorteo, red y contexto, contra bucles y contra PyTorch."""
import contextlib
import functools
import io
import math
import os
import pty
import random
import re
import resource
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ENV, ROOT, SHARED, command, one_line_error, start
from hypothesis import given, settings, strategies as st

SCRIPT = "02_bigram.py"
RESULT = re.compile(r"resultado train=(\S+) val=(\S+) test=(\S+) segundos=(\S+) tokens_s=(\S+) ckpt=(\S+)")
FEW = ["--steps", "60", "--eval_interval", "30"]


def words(seed, num):
    """`num` líneas inventadas, distintas con cada semilla, con alguna pareja rara."""
    chance = random.Random(seed)
    return "\n".join("".join(chance.choices("aeionñ Tsté", (9, 8, 7, 5, 5, 1, 2, 3, 6, 2, 2),
                                            k=chance.randint(2, 9))) for _ in range(num)) + "\n"


def loop_split(text):
    """Las tres partes como listas de líneas, por el camino más llano."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    random.Random(42).shuffle(lines)
    a, b = int(0.8 * len(lines)), int(0.9 * len(lines))
    return lines[:a], lines[a:b], lines[b:]


def loop_pairs(lines):
    """Las parejas de unas líneas, con la frontera delante y detrás de cada una."""
    return [pair for line in lines for pair in zip("\n" + line, line + "\n")]


def loop_loss(train, lines, smoothing, V):
    """Pérdida media en `lines` de contar `train`, con diccionarios."""
    pairs, first = Counter(loop_pairs(train)), Counter(a for a, _ in loop_pairs(train))
    p = [(pairs[a, b] + smoothing) / (first[a] + V * smoothing) for a, b in loop_pairs(lines)]
    return -sum(map(math.log, p)) / len(p)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Lo que deja la lección con un texto pequeño y 60 pasos: sus nombres, su salida y su carpeta."""
    folder = tmp_path_factory.mktemp("bigramas")
    (folder / "t.txt").write_text(words(1, 300), "utf-8")
    before = sys.argv, os.getcwd(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    os.chdir(folder)
    sys.argv = [SCRIPT, "--data", "t.txt", *FEW]
    try:
        with contextlib.redirect_stdout(out):
            names = runpy.run_path(str(ROOT / SCRIPT))
    finally:
        sys.argv = before[0]
        os.chdir(before[1])
        signal.signal(signal.SIGINT, before[2])
        signal.signal(signal.SIGPIPE, before[3])
    out.seek(0)
    return names, out.read(), folder


@pytest.fixture(scope="module")
def lesson(trained):
    """Los nombres de la lección."""
    return trained[0]


# --- contar

def test_the_split_and_the_streams_are_those_of_a_plain_loop(lesson):
    parts = loop_split(words(1, 300))
    for ids, lines in zip((lesson["train"], lesson["val"], lesson["test"]), parts):
        assert lesson["decode"](ids.tolist()) == "\n" + "\n".join(lines) + "\n"
    assert lesson["chars"] == "".join(sorted(set(words(1, 300)))) and lesson["chars"][lesson["NL"]] == "\n"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_count_is_the_python_loop(lesson, data):
    V = lesson["V"]
    ids = data.draw(st.lists(st.integers(0, V - 1), min_size=1, max_size=80))
    table = [[0] * V for _ in range(V)]
    for a, b in zip(ids, ids[1:]):
        table[a][b] += 1
    ids = torch.tensor(ids)
    assert lesson["count"](ids[:-1], ids[1:]).tolist() == table


def test_counts_are_those_of_the_training_lines_alone(lesson):
    pairs, chars = Counter(loop_pairs(loop_split(words(1, 300))[0])), lesson["chars"]
    assert {(chars[a], chars[b]): lesson["counts"][a, b].item()
            for a, b in lesson["counts"].nonzero().tolist()} == pairs


# --- de cuentas a probabilidades

@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=4, max_size=4),
       st.floats(1e-9, 1e9))
def test_probabilities_normalise_rows_and_survive_an_empty_one(lesson, counts, smoothing):
    p, raw = (lesson["probabilities"](torch.tensor(counts), s) for s in (smoothing, 0))
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            assert math.isclose(p[i, j], (n + smoothing) / (sum(row) + 4 * smoothing), rel_tol=1e-12)
            assert math.isclose(raw[i, j], n / sum(row) if sum(row) else 0, rel_tol=1e-12)


def test_the_broadcasting_mistake_normalises_columns_and_is_caught(trained):
    names, out, _ = trained
    wrong, counts, V = names["wrong"], names["counts"], names["V"]
    for i in range(V):
        for j in range(V):
            expected = (counts[i, j].item() + 1) / (counts[j].sum().item() + V)
            assert math.isclose(wrong[i, j], expected, rel_tol=1e-12)
    low, high = map(float, re.search(r"suman de (\S+) a (\S+)", out).groups())
    assert low < 0.9 and high > 1.1 and "lo caza un assert: «hay filas que no suman 1»" in out


def test_the_table_of_successors_is_the_loops(trained):
    names, out, _ = trained
    pairs = Counter(loop_pairs(loop_split(words(1, 300))[0]))
    total = Counter(a for a, _ in pairs.elements())
    shown = re.findall(r"^   ('.*?') +((?:'.*?' \d\.\d\d *){6})$", out, re.M)
    assert len(shown) == 7
    for first, row in shown:
        a = eval(first)
        best = sorted((pairs[a, b] for b in names["chars"]), reverse=True)[:6]
        row = re.findall(r"('.*?') (\d\.\d\d)", row)
        assert [pairs[a, eval(b)] for b, _ in row] == best
        for b, p in row:
            expected = (pairs[a, eval(b)] + names["SMOOTHING"]) / (
                total[a] + names["V"] * names["SMOOTHING"])
            assert abs(float(p) - expected) <= 0.0051


# --- la pérdida

@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_nll_is_the_mean_surprise_and_cross_entropy(lesson, data):
    V = lesson["V"]
    ids = torch.tensor(data.draw(st.lists(st.integers(0, V - 1), min_size=2, max_size=50)))
    log_p = torch.randn(V, V, dtype=torch.float64).log_softmax(1)
    plain = -sum(log_p[a, b].item() for a, b in zip(ids, ids[1:])) / (len(ids) - 1)
    assert math.isclose(lesson["nll"](log_p, ids), plain, rel_tol=1e-9)
    assert math.isclose(lesson["nll"](log_p, ids), F.cross_entropy(log_p[ids[:-1]], ids[1:]), rel_tol=1e-9)


def test_losses_shown_are_those_of_a_loop_over_the_whole_split(trained):
    names, out, _ = trained
    parts = loop_split(words(1, 300))
    seen = set(loop_pairs(parts[0]))
    for name, lines in zip(("train", "val", "test"), parts):
        pairs, never, raw, loss, perplexity = re.search(
            rf"^   {name} +(\d+) +(\d+) +(\S+) +(\S+) +(\S+)$", out, re.M).groups()
        expected = loop_loss(parts[0], lines, names["SMOOTHING"], names["V"])
        assert int(pairs) == len(loop_pairs(lines))
        assert int(never) == sum(pair not in seen for pair in loop_pairs(lines))
        assert (raw == "inf") == (int(never) > 0)
        if raw != "inf":
            assert abs(float(raw) - loop_loss(parts[0], lines, 0, names["V"])) < 1e-4
        assert abs(float(loss) - expected) < 1e-4 and abs(float(perplexity) - math.exp(expected)) < 0.01
        assert math.isclose(names["losses"][name], expected, rel_tol=1e-9)
    assert names["losses"]["val"] > 0 and "inf" in out


def test_the_smoothing_table_is_the_validation_loss_of_each(trained):
    names, out, _ = trained
    train, val, _ = loop_split(words(1, 300))
    tried = map(float, re.search(r"suavizado +(.+)", out)[1].split())
    losses = map(float, re.search(r"validación +(.+)", out)[1].split())
    for smoothing, loss in zip(tried, losses, strict=True):
        assert abs(loss - loop_loss(train, val, smoothing, names["V"])) < 1e-4


def test_a_line_with_a_pair_never_seen_is_shown(trained):
    names, out, _ = trained
    line, pair, before, after = re.search(
        r"^   ('.*'): ('..+?') nunca se vio;\n.* la pérdida de la línea de (\S+) a (\S+)", out, re.M).groups()
    train, val, _ = loop_split(words(1, 300))
    assert eval(line) in val and tuple(eval(pair)) in loop_pairs([eval(line)])
    assert tuple(eval(pair)) not in loop_pairs(train) and before == "inf"
    assert abs(float(after) - loop_loss(train, [eval(line)], names["SMOOTHING"], names["V"])) < 1e-4


def test_the_word_by_hand(trained):
    _, out, _ = trained
    table = re.findall(r"^ +('.*?') +-> ('.*?') +(\S+) +(\S+)$", out, re.M)
    word, likelihood, log, loss = re.search(
        r"('.*'): verosimilitud (\S+), logaritmo (\S+), pérdida (\S+)$", out, re.M).groups()
    assert [(eval(a), eval(b)) for a, b, _, _ in table] == loop_pairs([eval(word)])
    assert math.isclose(math.prod(float(p) for _, _, p, _ in table), float(likelihood), rel_tol=0.05)
    assert abs(sum(float(x) for *_, x in table) - float(log)) < 1e-3
    assert abs(-float(log) / len(table) - float(loss)) < 1e-4


# --- escribir

def test_generate_follows_the_rows_of_the_matrix(lesson):
    V, NL = lesson["V"], lesson["NL"]
    cycle = torch.eye(V, dtype=torch.float64).roll(1, 1)            # tras i, siempre i + 1
    ids = lesson["generate"](cycle, 3, 7)
    assert ids.tolist() == [[(NL + t) % V for t in range(8)]] * 3


def test_sampled_pairs_follow_the_matrix_by_chi_square(lesson):
    P = lesson["P"]
    torch.manual_seed(11)
    ids = lesson["generate"](P, 5000, 30)
    drawn = lesson["count"](ids[:, :-1].flatten(), ids[:, 1:].flatten()).double()
    expected = drawn.sum(1, keepdim=True) * P
    some = expected > 5
    freedom = (some.sum(1) - 1).clamp(min=0).sum().item()
    chi = ((drawn - expected)[some] ** 2 / expected[some]).sum().item()
    assert freedom > 20 and abs(chi - freedom) < 6 * math.sqrt(2 * freedom)
    assert ((drawn - drawn.sum(1, keepdim=True) * P.T)[some] ** 2 / expected[some]).sum() > 50 * freedom


def test_villages_are_drawn_from_the_matrix_and_noise_from_nothing(trained):
    names, out, _ = trained
    block = out.split("4. ")[1].split("tras ")[0].splitlines()[1:9]
    assert len(block) == 8 and all(set(line) <= set(names["chars"]) for line in block)
    near, far = map(float, re.search(r"distan de la matriz (\S+); el azar uniforme, (\S+)", out).groups())
    assert near < 0.05 < 0.15 < far


# --- la red

@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 60), st.integers(0, 99))
def test_loss_and_gradient_by_pairs_are_autograds_over_one_hot_examples(lesson, V, N, seed):
    torch.manual_seed(seed)
    a, b = torch.randint(V, (2, N))
    W = (3 * torch.randn(V, V, dtype=torch.float64)).requires_grad_()
    loss = F.cross_entropy(F.one_hot(a, V).double() @ W, b)
    loss.backward()
    share = torch.zeros(V, V, dtype=torch.float64)
    share.index_put_((a, b), torch.tensor(1.0, dtype=torch.float64) / N, accumulate=True)
    ours, gradient = lesson["by_pairs"](W.detach(), share)
    assert torch.allclose(ours, loss, atol=1e-12) and torch.allclose(gradient, W.grad, atol=1e-12)


def test_the_descent_is_sgd_over_all_the_pairs(trained):
    """La W final de 60 pasos es la de torch.optim.SGD con los ejemplos enteros, uno a uno."""
    names, out, _ = trained
    a, b, V = names["train"][:-1], names["train"][1:], names["V"]
    W = torch.zeros(V, V, requires_grad=True)
    optimizer = torch.optim.SGD([W], lr=names["LEARNING_RATE"])
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(W[a], b).backward()
        optimizer.step()
    assert torch.allclose(names["W"], W, atol=2e-3)
    shown = {int(s): float(x) for s, x in re.findall(r"paso +(\d+)   train (\S+)", out)}
    assert sorted(shown) == [30, 60] and shown[60] < shown[30] < math.log(V)
    assert abs(shown[60] - F.cross_entropy(W[a], b).item()) < 2e-4


def as_promised(out):
    """Contar fue 50 veces más rápido que el bucle, y la red acabó a 0.002 de las cuentas."""
    assert int(re.search(r", (\d+) veces menos", out)[1]) >= 50
    assert 0 <= float(re.findall(r"al límite le faltan (\S+)", out)[-1]) <= 0.002


def test_with_its_constants_the_network_reaches_the_counts_on_the_villages(inside, capsys):
    g = inside(SCRIPT)
    out = capsys.readouterr().out
    train, _, _ = loop_split((ROOT / "data" / "pueblos.txt").read_text("utf-8"))
    assert abs(loop_loss(train, train, 0, g["V"]) - g["limit"]) < 1e-9
    as_promised(out)
    assert g["done"] == 20000
    assert abs(F.cross_entropy(g["W"][g["train"][:-1]], g["train"][1:]).item() - g["limit"]) <= 0.002


@pytest.mark.skipif(not SHARED.is_dir(), reason="faltan los textos de ../shared")
def test_names_has_the_figures_of_the_field(inside, capsys):
    """2.4541 es la cifra que circula: la suma en float32, término a término; la exacta es 2.4540."""
    g = inside(SCRIPT, "--data", SHARED / "names.txt")
    out = capsys.readouterr().out
    as_promised(out)
    assert "todas las líneas, sin suavizar: 2.4540; sumando en float32, 2.4541" in out
    text = (SHARED / "names.txt").read_text("utf-8").split()
    assert math.isclose(g["least"], loop_loss(text, text, 0, 27), rel_tol=1e-9)
    total = np.float32(0)
    pairs, first = Counter(loop_pairs(text)), Counter(a for a, _ in loop_pairs(text))
    for a, b in loop_pairs(text):
        total += np.float32(math.log(pairs[a, b] / first[a]))
    assert math.isclose(total / 228146, -2.4541, abs_tol=5e-5)
    assert [len(ids) - 1 for ids in g["splits"].values()] == [182625, 22655, 22866]


def test_decay_is_smoothing_and_the_table_is_the_exact_minimum(trained):
    """Las distancias del cuadro, contra el mínimo exacto que encuentra LBFGS en float64."""
    names, out, _ = trained
    rows = re.findall(r"^ +(1e-0\d) +(\S+) +(\S+) +(\S+) +(\S+)$", out, re.M)
    assert len(rows) == 3
    counts, V = names["counts"].double(), names["V"]
    share, visits = counts / counts.sum(), counts.sum(1) / counts.sum()
    far = []
    for decay, away, plain, near, smoothing in rows:
        W = torch.zeros(V, V, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS([W], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-15)

        def objective():
            solver.zero_grad()
            loss = -(share * W.log_softmax(1)).sum() + float(decay) / 2 * W.square().sum()
            loss.backward()
            return loss
        solver.step(objective)
        net = W.detach().softmax(1)
        smooth = (counts + float(smoothing)) / (counts + float(smoothing)).sum(1, keepdim=True)
        for shown, other in ((away, 1 / V), (plain, names["raw"]), (near, smooth)):
            gap = (((net - other).abs().sum(1) / 2) * visits).sum().item()
            assert abs(gap - float(shown)) < 0.003
        far.append(float(away))
        assert float(near) <= float(plain) and float(near) <= float(away)
    assert far[0] > far[1] > far[2] and float(rows[0][4]) < float(rows[1][4]) < float(rows[2][4])


# --- más contexto

def loop_contexts(lines, k):
    """(contexto de `k`, siguiente) de cada carácter, con fronteras delante de cada línea."""
    return [(padded[i - k:i], padded[i]) for line in lines
            for padded in ["\n" * max(k, 1) + line + "\n"] for i in range(max(k, 1), len(padded))]


@pytest.mark.parametrize("k", range(5))
def test_grams_are_contexts_that_never_cross_a_boundary(lesson, k):
    V, ids = lesson["V"], {c: i for i, c in enumerate(lesson["chars"])}
    expected = []
    for context, char in loop_contexts(loop_split(words(1, 300))[1], k):
        code = ids[char]
        for i, c in enumerate(reversed(context)):
            code += ids[c] * V ** (i + 1)
        expected.append(code)
    assert lesson["grams"](lesson["val"], k).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=20), st.lists(st.integers(0, 12), min_size=1, max_size=30))
def test_times_is_list_count(lesson, wanted, seen):
    ours = lesson["times"](torch.tensor(wanted, dtype=torch.int64), torch.tensor(seen))
    assert ours.tolist() == [seen.count(w) for w in wanted]


def test_the_interpolated_losses_are_those_of_dictionaries(trained):
    names, out, _ = trained
    train, val, _ = loop_split(words(1, 300))
    V, rows = names["V"], re.findall(r"^ +([0-4]) +(\d+) +(\d+) +(\S+)% +(\S+) +(\S+) +(\S+)$", out, re.M)
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4]
    p = {name: [1 / V] * len(loop_contexts(lines, 0)) for name, lines in (("train", train), ("val", val))}
    last = math.inf
    for k, parameters, used, new, weight, train_loss, val_loss in rows:
        k, grid = int(k), [1 - 10 ** (-4 + i / 20) for i in range(81)]
        pairs = Counter(loop_contexts(train, k))
        first = Counter(context for context, _ in pairs.elements())
        assert int(parameters) == V ** (k + 1) and int(used) == len(pairs)
        unseen = [first[context] == 0 for context, _ in loop_contexts(val, k)]
        assert abs(100 * sum(unseen) / len(unseen) - float(new)) <= 0.051
        q = {name: [pairs[c] / first[c[0]] if first[c[0]] else old
                    for c, old in zip(loop_contexts(lines, k), p[name])]
             for name, lines in (("train", train), ("val", val))}

        def mixed(w, name):
            return [w * new + (1 - w) * old for new, old in zip(q[name], p[name])]

        def loss(values):
            return -sum(map(math.log, values)) / len(values)
        best = min(grid, key=lambda w: loss(mixed(w, "val")))
        p = {name: mixed(best, name) for name in p}
        assert abs(best - float(weight)) < 1e-4 and loss(p["val"]) <= last + 1e-9
        last = loss(p["val"])
        assert abs(loss(p["train"]) - float(train_loss)) < 1e-4 and abs(last - float(val_loss)) < 1e-4
    assert float(rows[2][6]) < float(rows[0][6])


# --- lo que queda escrito

def test_checkpoint_keeps_the_contract_and_the_result_line(trained):
    names, out, folder = trained
    c = torch.load(folder / "ckpt_bigram.pt", weights_only=True)
    assert list(c) == ["format", "model", "config", "chars", "weights", "data", "step", "train_loss",
                       "val_loss"]
    assert (c["format"], c["model"], c["config"], c["data"], c["step"]) == (1, "bigram", {}, "t.txt", 60)
    log_p, V = c["weights"]["log_p"], len(c["chars"])
    assert list(c["weights"]) == ["log_p"] and log_p.shape == (V, V) and log_p.dtype == torch.float32
    assert log_p.is_contiguous() and log_p.isfinite().all()
    assert torch.allclose(log_p.exp().sum(1), torch.ones(V), atol=1e-5)
    *shown, seconds, tokens_s, name = RESULT.fullmatch(out.splitlines()[-1]).groups()
    for lines, loss_shown, saved in zip(loop_split(words(1, 300)), shown,
                                        (c["train_loss"], c["val_loss"], None), strict=True):
        loss = -sum(log_p[c["chars"].index(a), c["chars"].index(b)].item()
                    for a, b in loop_pairs(lines)) / len(loop_pairs(lines))
        assert abs(loss - float(loss_shown)) < 1e-4 and (saved is None or abs(saved - loss) < 1e-5)
    assert float(seconds) >= 0 and int(tokens_s) > 0 and name == "ckpt_bigram.pt"
    assert "\r" not in out and "\033" not in out and max(map(len, out.splitlines()[:-1])) <= 79
    assert sorted(os.listdir(folder)) == ["ckpt_bigram.pt", "t.txt"]


def plain(out):
    """La salida sin lo que depende del reloj."""
    return re.sub(r"un bucle.*|segundos=.*", "", out)


def test_same_seed_same_result_and_another_seed_other_samples(inside, tmp_path, capsys, trained):
    (tmp_path / "t.txt").write_text(words(1, 300), "utf-8")
    inside(SCRIPT, "--data", "t.txt", *FEW)
    assert plain(capsys.readouterr().out) == plain(trained[1])
    assert (tmp_path / "ckpt_bigram.pt").read_bytes() == (trained[2] / "ckpt_bigram.pt").read_bytes()
    inside(SCRIPT, "--data", "t.txt", *FEW, "--seed", 7, "--out", "otro.pt")
    assert plain(capsys.readouterr().out) != plain(trained[1])
    one, other = (torch.load(tmp_path / name, weights_only=True) for name in ("ckpt_bigram.pt", "otro.pt"))
    assert torch.equal(one["weights"]["log_p"], other["weights"]["log_p"])  # contar no tiene azar


def test_what_was_there_before_is_kept_as_bak(inside, tmp_path, small_text):
    (tmp_path / "ckpt_bigram.pt").write_bytes(b"lo de antes")
    inside(SCRIPT, "--data", small_text, *FEW)
    assert (tmp_path / "ckpt_bigram.pt.bak").read_bytes() == b"lo de antes"
    torch.load(tmp_path / "ckpt_bigram.pt", weights_only=True)


def test_steps_0_writes_nothing(inside, tmp_path, small_text, capsys):
    inside(SCRIPT, "--data", small_text, "--steps", 0)
    assert os.listdir(tmp_path) == ["texto.txt"]
    assert capsys.readouterr().out.splitlines()[-1] == (
        "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")


def test_interrupted_it_saves_and_goes_on_to_the_end(small_text, tmp_path):
    p = start(SCRIPT, "--data", small_text, "--steps", 10**8, "--eval_interval", 10**8, cwd=tmp_path,
              real=True)
    for line in p.stdout:
        if "pasos, cada uno" in line:
            break
    time.sleep(0.5)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and err == "", err
    step = int(re.search(r"interrumpido en el paso (\d+); tabla guardada en ckpt_bigram.pt", out)[1])
    c = torch.load(tmp_path / "ckpt_bigram.pt", weights_only=True)
    assert c["step"] == step and f"paso {step:6d}   train" in out and "\n6. contexto" in out
    assert float(RESULT.fullmatch(out.splitlines()[-1])[2]) == round(c["val_loss"], 4)


def test_a_file_too_large_for_the_disk_quota_changes_nothing(run, small_text, tmp_path):
    (tmp_path / "ckpt_bigram.pt").write_bytes(b"lo de antes")
    done = run(SCRIPT, "--data", small_text, *FEW,
               preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1000, 1000)))
    one_line_error(done, "no puedo guardar «ckpt_bigram.pt»", "--out")
    assert (tmp_path / "ckpt_bigram.pt").read_bytes() == b"lo de antes"
    assert sorted(os.listdir(tmp_path)) == ["ckpt_bigram.pt", "texto.txt"]


# --- otros textos y otras constantes

TEXTS = {"iguales": "a\n" * 30, "diez": "\n".join("abcdefghij"), "una_larga": "ab\n" * 11 + "abc" * 900,
         "prueba_nueva": "ab\n" * 40 + "\n".join("çñüéáíóúöïë"), "blancos": " \t x  y \r\n\r\n" * 12}


@pytest.mark.parametrize("smoothing", ["1e-9", "1e9"])
@pytest.mark.parametrize("name", TEXTS)
def test_odd_texts_and_constants_pass_every_check(inside, tmp_path, name, smoothing):
    (tmp_path / "t.txt").write_text(TEXTS[name], "utf-8", newline="")
    g = inside(SCRIPT, "--data", "t.txt", "--steps", 3, "--smoothing", smoothing, "--seed", 5)
    c = torch.load(tmp_path / "ckpt_bigram.pt", weights_only=True)
    assert c["weights"]["log_p"].isfinite().all() and c["chars"] == "".join(
        sorted({"\n", *"".join(line.strip() for line in TEXTS[name].split("\n"))}))
    assert g["done"] == 3


# --- lo que recibe una mala entrada

BAD = [
    (["--data", "no_existe.txt"], ["no puedo leer «no_existe.txt»", "pueblos.txt", "prepare.py"]),
    (["--data", "latin1.txt"], ["no está en UTF-8 (byte 5)", "iconv"]),
    (["--data", "vacio.txt"], ["tiene 0 líneas", "10 o más"]),
    (["--data", "nueve.txt"], ["tiene 9 líneas", "10 o más"]),
    (["--data", "chino.txt"], ["2501 caracteres distintos"]),
    (["--steps", "-1"], ["STEPS"]),
    (["--seed", "-1"], ["SEED"]),
    (["--seed", str(2**40)], ["SEED"]),
    (["--eval_interval", "0"], ["EVAL_INTERVAL"]),
    (["--smoothing", "0"], ["SMOOTHING (0)"]),
    (["--smoothing", "-1"], ["SMOOTHING (-1)"]),
    (["--smoothing", "nan"], ["SMOOTHING (nan)"]),
    (["--smoothing", "inf"], ["SMOOTHING (inf)"]),
    (["--learning_rate", "0"], ["LEARNING_RATE (0)"]),
    (["--learning_rate", "nan"], ["LEARNING_RATE (nan)"]),
    (["--learning_rate", "inf"], ["LEARNING_RATE (inf)"]),
    (["--learning_rate", "1e38"], ["dejó de ser finita en el paso", "LEARNING_RATE"]),
    (["--out", "no/hay/carpeta.pt"], ["no se puede escribir «no/hay/carpeta.pt»", "--out"]),
    (["--out", "."], ["no se puede escribir «.»"]),
    (["--plot", "texto.txt"], ["no se puede escribir en «texto.txt»", "--plot"]),
]


@pytest.mark.parametrize("flags, fragments", BAD, ids=[" ".join(f)[:30] for f, _ in BAD])
def test_bad_input_gets_its_one_line(inside, small_text, tmp_path, flags, fragments):
    (tmp_path / "latin1.txt").write_bytes(b"abcde\xe9fg\n" * 50)
    (tmp_path / "vacio.txt").write_bytes(b" \n" * 30)
    (tmp_path / "nueve.txt").write_bytes(b"ab\n\n" * 9)
    (tmp_path / "chino.txt").write_text("\n".join(map(chr, range(0x4E00, 0x4E00 + 2500))), "utf-8")
    (tmp_path / "ckpt_bigram.pt").write_bytes(b"lo de antes")
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as end:
        inside(SCRIPT, "--data", small_text, "--steps", 100, *flags)
    message = end.value.code
    assert message.startswith("error: ") and "\n" not in message
    for fragment in fragments:
        assert fragment in message
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("flag", [["--smooth", "1"], ["--steps", "muchos"], ["pueblos.txt"]])
def test_an_unknown_flag_or_a_wrong_type_is_argparses_error(inside, capsys, flag):
    with pytest.raises(SystemExit) as end:
        inside(SCRIPT, *flag)
    assert end.value.code == 2 and "error:" in capsys.readouterr().err


# --- la terminal y las figuras

def test_help_shows_every_constant_with_its_comment(inside, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        inside(SCRIPT, "--help")
    out = capsys.readouterr().out
    source = (ROOT / SCRIPT).read_text("utf-8").split("# %%")[1]
    constants = re.findall(r"^([A-Z_]+) = .*?  # (.+)$", source, re.M)
    assert len(constants) == 8 and end.value.code == 0
    for name, note in constants:
        assert f"--{name.lower()}" in out and " ".join(note.split()) in " ".join(out.split())


def test_head_ends_it_quietly(small_text, tmp_path):
    done = subprocess.run(" ".join(command(SCRIPT, "--data", small_text, "--steps", 2000)) + " | head -n 1",
                          shell=True, cwd=tmp_path, capture_output=True,
                          env={**ENV, "PYTHONIOENCODING": "ascii"}, timeout=60)
    assert done.stderr == b"" and "líneas".encode() in done.stdout


def test_on_a_terminal_one_line_rewrites_itself_and_never_wraps(small_text, tmp_path):
    master, slave = pty.openpty()
    p = start(SCRIPT, "--data", small_text, "--steps", 1000, "--eval_interval", 500, cwd=tmp_path,
              stdout=slave, stderr=slave)
    os.close(slave)
    out = b""
    with contextlib.suppress(OSError):
        while piece := os.read(master, 65536):
            out += piece
    os.close(master)
    assert p.wait() == 0
    pieces = out.decode().replace("\r\n", "\n").split("\r\033[K")
    bars = [piece for piece in pieces if re.match("[█░]{10} ", piece)]
    assert len(bars) == 20 and all(len(bar) < 79 and "\n" not in bar for bar in bars)
    assert re.fullmatch(r"█{10} 1000/1000 pérdida \d\.\d{3} \d+/s faltan 0:00", bars[-1])


def test_plot_draws_the_heat_map(inside, small_text, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    inside(SCRIPT, "--data", small_text, "--steps", 0, "--plot", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "bigramas.png").stat().st_size > 10_000
    assert os.listdir(tmp_path / "a" / "b") == ["bigramas.png"] and "figura: " in capsys.readouterr().out


def test_plot_without_matplotlib_says_so(inside, small_text, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(SystemExit) as end:
        inside(SCRIPT, "--data", small_text, "--steps", 0, "--plot", tmp_path / "figuras")
    assert "pip install matplotlib" in end.value.code and "\n" not in end.value.code

"""03_mlp.py: las ventanas, la red contra la de PyTorch, la búsqueda, el entrenamiento y los errores."""
import collections
import functools
import math
import os
import random
import re
import resource
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import ENV, ROOT, SHARED, command, one_line_error, run_script, start
from hypothesis import given, settings, strategies as st

TINY = ["--n_embd", "6", "--n_hidden", "20", "--batch_size", "16", "--warmup_steps", "5"]
RESULT = re.compile(r"resultado train=(\S+) val=(\S+) test=(\S+) segundos=(\S+) tokens_s=(\S+) ckpt=(\S+)")


def towns(count=300):
    """Las primeras `count` líneas, ya mezcladas, de pueblos.txt."""
    lines = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")
    random.Random(5).shuffle(lines)
    return "\n".join(lines[:count])


def quietly(folder, *args):
    """Los nombres de la lección ejecutada en `folder` con `args`, y lo que hubiera antes, repuesto."""
    before = sys.argv, os.getcwd(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    sys.argv = ["03_mlp.py", *map(str, args)]
    os.chdir(folder)
    try:
        return runpy.run_path(str(ROOT / "03_mlp.py"))
    finally:
        sys.argv = before[0]
        os.chdir(before[1])
        signal.signal(signal.SIGINT, before[2])
        signal.signal(signal.SIGPIPE, before[3])


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Los nombres de la lección, con 300 pueblos y una red pequeña, sin entrenar."""
    folder = tmp_path_factory.mktemp("leccion")
    (folder / "t.txt").write_text(towns(), "utf-8")
    return quietly(folder, *TINY, "--data", "t.txt", "--steps", 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Lo mismo entrenado 180 pasos: sus nombres, su carpeta y lo que imprime."""
    folder = tmp_path_factory.mktemp("entrenado")
    (folder / "t.txt").write_text(towns(), "utf-8")
    done = run_script("03_mlp.py", *TINY, "--data", "t.txt", "--steps", 180, "--eval_interval", 60,
                      cwd=folder, real=True)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def pairs(lines, size, chars):
    """Contextos y objetivos, con dos bucles: lo que `windows` debe dar."""
    out = []
    for line in lines:
        context = [chars.index("\n")] * size
        for char in line + "\n":
            out.append((context, chars.index(char)))
            context = (context + [chars.index(char)])[1:]
    return torch.tensor([c for c, _ in out]), torch.tensor([t for _, t in out])


def nll(weights, x, y):
    """Pérdida media con capas de PyTorch en vez de la red de la lección."""
    table = nn.Embedding.from_pretrained(weights["C"].detach())
    hidden, output = (nn.Linear(*weights[w].shape) for w in ("W1", "W2"))
    for layer, w, b in (hidden, "W1", "b1"), (output, "W2", "b2"):
        layer.weight.data, layer.bias.data = weights[w].detach().T, weights[b].detach()
    net = nn.Sequential(table, nn.Flatten(), hidden, nn.Tanh(), output)
    return F.nll_loss(net(x).log_softmax(1), y).item()


# --- las ventanas y la partición

@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abcñ", min_size=1, max_size=6), min_size=1, max_size=8), st.integers(1, 9))
def test_windows_are_those_of_two_plain_loops(lesson, lines, size):
    stream = lesson["encode"]("\n".join(["", *lines, ""]))
    x, y = lesson["windows"](stream, size)
    slow_x, slow_y = pairs(lines, size, lesson["chars"])
    assert torch.equal(x, slow_x) and torch.equal(y, slow_y)


def test_the_split_is_by_lines_and_every_part_is_windowed_whole(lesson):
    lines = [line.strip() for line in towns().split("\n") if line.strip()]
    random.Random(42).shuffle(lines)
    a, b = int(0.8 * len(lines)), int(0.9 * len(lines))
    for part, x, y in (lines[:a], "X", "Y"), (lines[a:b], "Xval", "Yval"):
        slow_x, slow_y = pairs(part, 3, lesson["chars"])
        assert torch.equal(lesson[x], slow_x) and torch.equal(lesson[y], slow_y)
    assert lesson["decode"](lesson["test"].tolist()) == "\n".join(["", *lines[b:], ""])


def test_unseen_marks_the_contexts_that_training_lacks(lesson):
    seen = set(map(tuple, lesson["X"].tolist()))
    assert lesson["unseen"].tolist() == [tuple(x) not in seen for x in lesson["Xval"].tolist()]
    assert 0 < lesson["unseen"].sum() < len(lesson["Xval"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="faltan los textos de ../shared")
def test_names_has_the_split_of_the_field(inside):
    g = inside("03_mlp.py", *TINY, "--steps", 0, "--data", SHARED / "names.txt")
    assert (len(g["lines"]), g["V"]) == (32_033, 27)
    assert (len(g["Y"]), len(g["Yval"])) == (182_625, 22_655)


# --- la red

@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 999))
def test_the_network_is_torchs_layers(lesson, n_embd, n_hidden, seed):
    torch.manual_seed(seed)
    w = lesson["new_weights"](n_embd, n_hidden)
    for tensor in w.values():
        nn.init.normal_(tensor)
    x, y = lesson["X"][:40], lesson["Y"][:40]
    ours = F.cross_entropy(lesson["logits"](w, x), y).item()
    assert math.isclose(ours, nll(w, x, y), rel_tol=1e-4)


def test_new_weights_have_their_shapes_and_start_near_blind(lesson):
    V, w = lesson["V"], lesson["new_weights"](32, 256)
    assert {name: tuple(t.shape) for name, t in w.items()} == {
        "C": (V, 32), "W1": (96, 256), "b1": (256,), "W2": (256, V), "b2": (V,)}
    assert all(t.requires_grad and t.is_leaf for t in w.values())
    loss = lesson["evaluate"](w, lesson["X"], lesson["Y"])
    assert abs(loss - math.log(V)) < 0.3
    before_tanh = (w["C"][lesson["X"]].flatten(1) @ w["W1"]).std().item()
    assert 0.8 < before_tanh < 1.2


def test_the_by_hand_cross_entropy_breaks_with_large_scores_and_the_fused_does_not(lesson):
    plain, large, rescued = lesson["by_hand"]
    x, y = lesson["X"][:32], lesson["Y"][:32]
    assert not large.isfinite() and abs(plain - rescued) < 1e-4
    assert abs(lesson["fused"] - plain) < 1e-4 and len(x) == len(y)


def test_the_floor_is_the_conditional_entropy_and_training_stops_on_it(lesson):
    seen = [(tuple(c), t) for c, t in zip(lesson["X"][:32].tolist(), lesson["Y"][:32].tolist())]
    both, alone = collections.Counter(seen), collections.Counter(c for c, _ in seen)
    floor = -sum(math.log(both[c, t] / alone[c]) for c, t in seen) / 32
    assert math.isclose(lesson["floor"], floor, rel_tol=1e-9) and floor > 0
    history = lesson["history"]
    assert floor - 1e-5 < min(history) and history[-1] < floor + 0.05 < history[0] - 2


def test_gradient_is_the_finite_difference(lesson):
    w = {name: t.detach().double().requires_grad_() for name, t in lesson["new_weights"](3, 4).items()}
    x, y = lesson["X"][:20], lesson["Y"][:20]
    g = lesson["gradient"](w, x, y)
    assert g.shape == (sum(t.numel() for t in w.values()),)
    start = 0
    for t in w.values():
        flat, at = t.detach().view(-1), t.numel() // 2
        losses = []
        for step in (1e-6, -1e-6):
            flat[at] += step
            losses.append(F.cross_entropy(lesson["logits"](w, x), y).item())
            flat[at] -= step
        assert abs(g[start + at].item() - (losses[0] - losses[1]) / 2e-6) < 1e-6
        start += t.numel()


def test_gradient_noise_falls_as_the_square_root_of_the_batch(lesson):
    errors = lesson["errors"]
    assert sorted(errors) == [1, 8, 32, 128, 512]
    slope = np.polyfit(np.log(list(errors)), np.log(list(errors.values())), 1)[0]
    assert -0.6 < slope < -0.4


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 9000])
def test_evaluation_covers_the_whole_split(lesson, length):
    x = lesson["X"].repeat(8, 1)[:length]
    y = lesson["Y"].repeat(8)[:length]
    w = lesson["new_weights"](5, 7)
    assert len(y) == length
    assert math.isclose(lesson["evaluate"](w, x, y), nll(w, x, y), rel_tol=1e-4)


# --- la tasa y la búsqueda

def test_schedule_goes_up_and_then_down_to_zero(inside, small_text):
    g = inside("03_mlp.py", *TINY, "--data", small_text, "--steps", 0, "--learning_rate", 0.5)
    rates = g["schedule"](100)
    assert rates.shape == (100,) and (rates > 0).all() and rates.max() <= 0.5
    assert (np.diff(rates[:6]) > 0).all() and (np.diff(rates[7:]) < 0).all()
    assert math.isclose(rates[-1], 0.5 / 95) and len(g["schedule"](3)) == 3


def test_descend_is_torchs_adamw_with_decay(lesson):
    torch.manual_seed(3)
    ours = lesson["new_weights"](4, 5)
    theirs = {name: t.detach().clone().requires_grad_() for name, t in ours.items()}
    torch.manual_seed(9)
    found = [loss for loss, _ in lesson["descend"](ours, lesson["X"], lesson["Y"], [0.01, 0.02, 0.005])]
    torch.manual_seed(9)
    optimizer, losses = torch.optim.AdamW(theirs.values(), betas=(0.9, 0.99), weight_decay=0.02,
                                          foreach=False, fused=False), []
    for rate in (0.01, 0.02, 0.005):
        pick = torch.randint(len(lesson["X"]), (16,))
        optimizer.param_groups[0]["lr"] = rate
        loss = F.cross_entropy(lesson["logits"](theirs, lesson["X"][pick]), lesson["Y"][pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.allclose(found, losses, atol=1e-5)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


def test_the_searched_rate_is_the_middle_of_the_valley_and_is_used(inside, tmp_path):
    (tmp_path / "t.txt").write_text(towns(), "utf-8")
    args = [*TINY, "--data", "t.txt", "--steps", 20]
    g = inside("03_mlp.py", *args)
    valley = g["rates"][g["curve"] <= 1.02 * g["curve"].min()]
    assert math.isclose(g["found"], math.exp(np.log(valley).mean()), rel_tol=1e-9)
    assert g["LEARNING_RATE"] == g["found"] and 1e-3 < g["found"] < 0.2
    assert inside("03_mlp.py", *args, "--learning_rate", 0.03)["LEARNING_RATE"] == 0.03


def test_the_searched_rate_hardly_depends_on_the_seed(inside, tmp_path):
    (tmp_path / "t.txt").write_text(towns(), "utf-8")
    found = [inside("03_mlp.py", *TINY, "--batch_size", 128, "--data", "t.txt", "--steps", 1,
                    "--seed", seed)["found"] for seed in range(3)]
    assert max(found) / min(found) < 3


def test_the_table_tells_under_fitting_from_over_fitting(trained):
    rows = re.findall(r"^ +(\d+) +(\d+) +(\d+) +(\d\.\d+) +(\d\.\d+) +(la mejor|se queda corta|"
                      r"sobreajusta)$", trained[1], re.M)
    losses = [(float(train), float(val)) for *_, train, val, _ in rows]
    best = min(losses, key=lambda row: row[1])
    for (*_, verdict), row in zip(rows, losses):
        expected = ("la mejor" if row == best else
                    "sobreajusta" if row[0] < best[0] else "se queda corta")
        assert verdict == expected
    assert len(rows) == 5 and rows[-1][-1] == "sobreajusta"
    assert losses[-1][1] > losses[-1][0] + 1 and losses[-1][0] < losses[-2][0]


# --- entrenar

def test_checkpoint_keeps_the_contract_and_its_losses_are_right(trained):
    folder, out = trained
    c = torch.load(folder / "ckpt_mlp.pt", weights_only=True)
    assert set(c) == {"format", "model", "config", "chars", "weights", "data", "step", "train_loss",
                      "val_loss"}
    assert (c["format"], c["model"], c["data"]) == (1, "mlp", "t.txt")
    assert c["config"] == {"block_size": 3, "n_embd": 6, "n_hidden": 20}
    V = len(c["chars"])
    assert {n: tuple(t.shape) for n, t in c["weights"].items()} == {
        "C": (V, 6), "W1": (18, 20), "b1": (20,), "W2": (20, V), "b2": (V,)}
    for t in c["weights"].values():
        assert t.dtype == torch.float32 and t.is_contiguous() and not t.requires_grad
    lines = [line.strip() for line in towns().split("\n") if line.strip()]
    assert list(c["chars"]) == sorted(set("\n".join(lines)))
    random.Random(42).shuffle(lines)
    a, b = int(0.8 * len(lines)), int(0.9 * len(lines))
    losses = [nll(c["weights"], *pairs(part, 3, c["chars"]))
              for part in (lines[:a], lines[a:b], lines[b:])]
    shown = RESULT.fullmatch(out.splitlines()[-1]).groups()
    assert np.allclose(losses, [float(v) for v in shown[:3]], atol=1e-4)
    assert abs(losses[0] - c["train_loss"]) < 1e-4 and abs(losses[1] - c["val_loss"]) < 1e-4
    assert float(shown[3]) > 0 and int(shown[4]) > 0 and shown[5] == "ckpt_mlp.pt"
    assert losses[0] < math.log(V) - 0.6
    steps = {int(s): float(v) for s, v in re.findall(r"paso +(\d+) .*?val (\S+)", out)}
    assert sorted(steps) == [60, 120, 180] and c["step"] == min(steps, key=steps.get)
    assert "\r" not in out and "\033" not in out and max(map(len, out.splitlines())) <= 100


def test_same_seed_same_checkpoint_and_another_seed_another(inside, tmp_path):
    (tmp_path / "t.txt").write_text(towns(60), "utf-8")
    a, b, c = (inside("03_mlp.py", *TINY, "--data", "t.txt", "--steps", 15, "--seed", seed)["best"]
               for seed in (1, 1, 2))
    assert all(torch.equal(a["weights"][n], b["weights"][n]) for n in a["weights"])
    assert a["val_loss"] == b["val_loss"] != c["val_loss"]


def test_the_network_that_validates_best_is_the_one_kept(inside, tmp_path, capsys):
    (tmp_path / "t.txt").write_text(towns(30), "utf-8")          # tan pocos que se los aprende
    g = inside("03_mlp.py", *TINY, "--n_hidden", 64, "--data", "t.txt", "--steps", 600,
               "--eval_interval", 50, "--learning_rate", 0.02)
    out = capsys.readouterr().out
    steps = {int(s): float(v) for s, v in re.findall(r"paso +(\d+)   train.*?val (\S+)", out)}
    best = min(steps, key=steps.get)
    assert best < 600 == max(steps) and g["best"]["step"] == best
    assert out.count(f"(vale la del paso {best})") == 1 + (600 - best) // 50
    assert torch.load("ckpt_mlp.pt", weights_only=True)["step"] == best


def test_steps_0_writes_nothing(inside, small_text, tmp_path, capsys):
    inside("03_mlp.py", "--data", small_text, "--steps", 0)
    out = capsys.readouterr().out
    assert os.listdir(tmp_path) == ["texto.txt"]
    assert out.splitlines()[-1] == "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-"


def test_ctrl_c_ends_in_order_and_saves(tmp_path):
    (tmp_path / "t.txt").write_text(towns(), "utf-8")
    p = start("03_mlp.py", *TINY, "--data", "t.txt", "--steps", 900_000, "--eval_interval", 900_000,
              cwd=tmp_path)
    for line in p.stdout:
        if line.startswith("7."):
            break
    time.sleep(0.3)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and err == ""
    step = int(re.search(r"interrumpido en el paso (\d+)", out)[1])
    assert torch.load(tmp_path / "ckpt_mlp.pt", weights_only=True)["step"] == step
    assert RESULT.fullmatch(out.splitlines()[-1]) and "\n9. " in out


def test_a_loss_that_diverges_ends_training_and_keeps_the_checkpoint(inside, small_text, tmp_path):
    (tmp_path / "ckpt_mlp.pt").write_bytes(b"lo de antes")
    with pytest.raises(SystemExit) as end:
        inside("03_mlp.py", *TINY, "--data", small_text, "--steps", 400, "--learning_rate", 999,
               "--weight_decay", 999, "--warmup_steps", 0)
    assert "dejó de ser finita" in end.value.code and "LEARNING_RATE" in end.value.code
    assert (tmp_path / "ckpt_mlp.pt").read_bytes() == b"lo de antes"


@pytest.mark.parametrize("flags", [
    ["--block_size", 1], ["--block_size", 12], ["--n_embd", 1], ["--n_hidden", 1],
    ["--batch_size", 1], ["--warmup_steps", 99], ["--weight_decay", 0, "--eval_interval", 3]])
def test_odd_but_legal_constants(inside, small_text, flags):
    g = inside("03_mlp.py", *TINY, "--data", small_text, "--steps", 8, *flags)
    assert math.isfinite(g["best"]["val_loss"])


@pytest.mark.parametrize("text", ["a\n" * 10, "\n".join("abcdefghijkl"), "Ñu\nsí\n" * 15, "x y z\n" * 30])
def test_the_smallest_texts_pass_every_check(inside, tmp_path, text):
    (tmp_path / "t.txt").write_text(text, "utf-8")
    try:
        g = inside("03_mlp.py", *TINY, "--data", "t.txt", "--steps", 5)
    except (ValueError, KeyError) as e:      # una letra de validación que no está al entrenar, no
        pytest.fail(repr(e))
    assert len(g["invented"]) == 500 and not any("\n" in line for line in g["invented"])


def test_samples_follow_the_models_probabilities(lesson):
    """Con notas bien distintas, la primera letra sale tantas veces como dice el modelo."""
    w, before = lesson["w"], lesson["w"]["W2"].data.clone()
    w["W2"].data *= 8
    torch.manual_seed(0)
    first = collections.Counter(line[:1] for line in lesson["generate"](3000))
    p = F.softmax(lesson["logits"](w, torch.full((1, 3), lesson["NL"])), dim=1)[0].tolist()
    w["W2"].data = before
    assert max(p) > 0.1
    for char, expected in zip(lesson["chars"], p):
        seen = first["" if char == "\n" else char] / 3000
        assert abs(seen - expected) < 4 * math.sqrt(expected / 3000) + 1e-3


# --- lo que recibe una mala entrada

BAD = [
    (["--data", "no_existe.txt"], ["no puedo leer «no_existe.txt»", "prepare.py"]),
    (["--data", "latin1.txt"], ["no está en UTF-8 (byte 5)", "iconv"]),
    (["--data", "vacio.txt"], ["tiene 0 líneas", "10 o más"]),
    (["--data", "corto.txt"], ["tiene 9 líneas"]),
    (["--batch_size", "0"], ["1 o más"]),
    (["--block_size", "0"], ["1 o más"]),
    (["--n_embd", "-3"], ["1 o más"]),
    (["--n_hidden", "0"], ["1 o más"]),
    (["--eval_interval", "0"], ["1 o más"]),
    (["--steps", "-1"], ["negativos"]),
    (["--warmup_steps", "-1"], ["negativos"]),
    (["--seed", "-1"], ["SEED"]),
    (["--seed", str(2**40)], ["SEED"]),
    (["--learning_rate", "-0.1"], ["LEARNING_RATE"]),
    (["--learning_rate", "nan"], ["LEARNING_RATE"]),
    (["--learning_rate", "inf"], ["LEARNING_RATE"]),
    (["--weight_decay", "nan"], ["WEIGHT_DECAY"]),
    (["--block_size", str(2**40)], ["no cabe en la memoria"]),
    (["--n_hidden", str(2**40)], ["no cabe en la memoria"]),
    (["--n_embd", str(2**40)], ["no cabe en la memoria"]),
    (["--batch_size", str(2**40)], ["no cabe en la memoria"]),
    (["--out", "no/hay/carpeta.pt"], ["no se puede escribir «no/hay/carpeta.pt»", "--out"]),
    (["--out", "."], ["no se puede escribir «.»"]),
    (["--plot", "texto.txt"], ["no se puede escribir en «texto.txt»"]),
]


@pytest.mark.parametrize("flags, fragments", BAD, ids=[" ".join(f)[:30] for f, _ in BAD])
def test_bad_input_gets_its_one_line(inside, small_text, tmp_path, flags, fragments):
    (tmp_path / "latin1.txt").write_bytes(b"abcde\xe9fg" * 50)
    (tmp_path / "vacio.txt").write_bytes(b"\n \n")
    (tmp_path / "corto.txt").write_bytes(b"abc\n" * 9)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as end:
        inside("03_mlp.py", *TINY, "--data", small_text, "--steps", 2, *flags)
    message = end.value.code
    assert message.startswith("error: ") and "\n" not in message
    for fragment in fragments:
        assert fragment in message
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_file_too_large_for_the_disk_quota_changes_nothing(run, small_text, tmp_path):
    (tmp_path / "ckpt_mlp.pt").write_bytes(b"lo de antes")
    done = run("03_mlp.py", *TINY, "--data", small_text, "--steps", 2,
               preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (3_000, 3_000)))
    one_line_error(done, "no puedo guardar «ckpt_mlp.pt»", "--out")
    assert (tmp_path / "ckpt_mlp.pt").read_bytes() == b"lo de antes"
    assert sorted(os.listdir(tmp_path)) == ["ckpt_mlp.pt", "texto.txt"]


# --- la terminal

def test_an_unknown_flag_is_argparses_error_and_help_shows_every_constant(inside, capsys):
    with pytest.raises(SystemExit) as end:
        inside("03_mlp.py", "--n_head", "4")
    assert end.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        inside("03_mlp.py", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    source = (ROOT / "03_mlp.py").read_text("utf-8").split("# %%")[1]
    constants = re.findall(r"^([A-Z_]+) = .*?  # (.+)$", source, re.M)
    assert end.value.code == 0 and len(constants) == 13
    for name, _ in constants:
        assert f"--{name.lower()} " in shown


def test_output_is_utf_8_and_head_ends_it_quietly(small_text, tmp_path):
    done = subprocess.run(" ".join(command("03_mlp.py", *TINY, "--data", small_text, "--steps", 400))
                          + " | head -n 1", shell=True, cwd=tmp_path, capture_output=True,
                          env={**ENV, "PYTHONIOENCODING": "ascii"}, timeout=120)
    assert done.stderr == b"" and "líneas".encode() in done.stdout


def test_plot_writes_the_figures(inside, small_text, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    inside("03_mlp.py", *TINY, "--data", small_text, "--steps", 3, "--plot", "figuras/de/hoy")
    for name in ("tasa", "letras"):
        assert (tmp_path / "figuras/de/hoy" / f"{name}.png").stat().st_size > 5_000


def test_plot_without_matplotlib_says_what_to_install(inside, small_text, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit) as end:
        inside("03_mlp.py", *TINY, "--data", small_text, "--steps", 0, "--plot", "figuras")
    assert end.value.code == "error: PLOT pide matplotlib, y no está: pip install matplotlib"

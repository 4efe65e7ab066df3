"""05_wavenet.py: las capas contra PyTorch, el árbol y la convolución, el entrenamiento y el cierre."""
import functools
import os
import random
import re
import resource
import runpy
import signal
import subprocess
import sys
import time

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import CAN_LOSE, ENV, ROOT, SHARED, command, one_line_error, run_script, start
from hypothesis import given, settings, strategies as st

SCRIPT = "05_wavenet.py"
TINY = ["--n_embd", "8", "--n_hidden", "6", "--batch_size", "4", "--demo_steps", "2",
        "--steps", "6", "--eval_interval", "3"]
RESULT = re.compile(r"resultado train=(\d\.\d{4}) val=(\d\.\d{4}) test=(\d\.\d{4}) "
                    r"segundos=\d+\.\d tokens_s=\d+ ckpt=(\S+)")
VILLAGES = "\n".join(["Villa del Río", "Río Hondo", "Hondarribia", "Ñuñoa", "Alba de Tormes", "Olmo",
                      "Olmedo", "Vado del Alba", "Hoz", "Tormes del Río"] * 6)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Los nombres de la lección con un texto corto, sin entrenar."""
    path = tmp_path_factory.mktemp("leccion") / "t.txt"
    path.write_text(VILLAGES, "utf-8")
    before = sys.argv, {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGPIPE)}
    sys.argv = [SCRIPT, *TINY, "--data", str(path), "--steps", "0"]
    try:
        return runpy.run_path(str(ROOT / SCRIPT))
    finally:
        sys.argv = before[0]
        for number, handler in before[1].items():
            signal.signal(number, handler)


@pytest.fixture
def villages(tmp_path):
    (tmp_path / "t.txt").write_text(VILLAGES, "utf-8")
    return tmp_path / "t.txt"


def split(words):
    """La partición de makemore, hecha aparte: tres listas de líneas."""
    lines = [line.strip() for line in words.split("\n") if line.strip()]
    random.Random(42).shuffle(lines)
    a, b = int(0.8 * len(lines)), int(0.9 * len(lines))
    return lines[:a], lines[a:b], lines[b:]


def wavenet_by_hand(w, c, context):
    """Notas (V,) tras `context`, una lista de ids: recursión directa, capa a capa, sin gather."""
    @functools.cache
    def layer(i, t):
        """Lo que entra en la capa `i` en la posición `t` (antes del texto, todo frontera)."""
        if i == 0:
            return w["token.weight"][context[max(t, 0)]]
        z = unit(i - 1, t)
        h = F.linear(z, w[f"mix.{i - 1}.weight"], w[f"mix.{i - 1}.bias"])
        return h + layer(i - 1, t) if c["residual"] else h

    @functools.cache
    def unit(i, t):
        def normed(t):
            p = f"norm.{i}."
            x = (layer(i, t) - w[p + "running_mean"]) / (w[p + "running_var"] + 1e-5).sqrt()
            return x * w[p + "weight"] + w[p + "bias"]
        z = F.linear(torch.cat([normed(t - c["dilations"][i]), normed(t)]),
                     w[f"conv.{i}.weight"], w[f"conv.{i}.bias"])
        a, *gate = z.split(c["n_hidden"])
        return a.tanh() * gate[0].sigmoid() if c["gated"] else a.tanh()

    last, L = len(context) - 1, len(c["dilations"])
    out = (sum(F.linear(unit(i, last), w[f"skip.{i}.weight"], w[f"skip.{i}.bias"]) for i in range(L))
           if c["skip"] else layer(L, last))
    return F.linear(out.relu(), w["head.weight"], w["head.bias"])


def contexts(lines, chars, size=8):
    """Cada ventana y su objetivo, con bucles: [(ids, objetivo)]."""
    return [([chars.index(x) for x in ("\n" * size + line)[i:i + size]], chars.index((line + "\n")[i]))
            for line in lines for i in range(len(line) + 1)]


# --- el texto y las ventanas

def test_split_is_makemores_and_windows_never_leave_their_line(lesson):
    for name, lines in zip(("train", "val", "test"), split(VILLAGES)):
        assert lesson["decode"](lesson[name].tolist()) == "\n".join(["", *lines, ""])
        n, take = lesson["window_data"](lesson[name])
        x, y = take(torch.arange(n))
        assert list(zip(x.tolist(), y.tolist())) == contexts(lines, lesson["chars"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 41), min_size=1, max_size=9))
def test_line_data_is_each_line_whole_in_a_row(lesson, rows):
    lines = split(VILLAGES)[0]
    ids, start, y = lesson["line_data"](lesson["train"])[1](torch.tensor(rows))
    assert lesson["decode"](ids.tolist()) == "".join("\n" + lines[r] for r in rows)
    assert lesson["decode"](y.tolist()) == "".join(lines[r] + "\n" for r in rows)
    begin = 0
    for r in rows:
        assert set(start[begin:begin + len(lines[r]) + 1].tolist()) == {begin}
        begin += len(lines[r]) + 1


# --- las capas

@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(1, 5), st.integers(1, 6), st.integers(0, 999))
def test_batchnorm_is_torchs_in_two_and_three_dimensions(lesson, B, T, C, seed):
    torch.manual_seed(seed)
    for shape in ((B, C), (B, T, C)):
        ours, theirs = lesson["BatchNorm1d"](C), nn.BatchNorm1d(C)
        x = (3 * torch.randn(shape) + 2).requires_grad_()
        for _ in range(3):
            a, b = ours(x), theirs(x.reshape(-1, C)).view(shape)
            assert torch.allclose(a, b, atol=1e-4)
        assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-4)
        assert torch.allclose(ours.running_var, theirs.running_var, atol=1e-3)
        g = torch.randn(shape)
        grads = [torch.autograd.grad((z * g).sum(), x)[0] for z in (a, b)]
        assert torch.allclose(*grads, atol=1e-3)
        ours.training = False
        assert torch.allclose(ours(x), theirs.eval()(x.reshape(-1, C)).view(shape), atol=1e-3)


def test_linear_embedding_and_flatten_consecutive(lesson):
    torch.manual_seed(0)
    x = torch.randn(5, 8, 3)
    layer = lesson["Linear"](3, 4)
    assert layer.weight.shape == (4, 3) and len(layer.parameters()) == 2
    assert len(lesson["Linear"](3, 4, bias=False).parameters()) == 1
    assert torch.allclose(layer(x), x @ layer.weight.T + layer.bias, atol=1e-6)
    ids = torch.randint(9, (2, 8))
    table = lesson["Embedding"](9, 3)
    assert torch.equal(table(ids), table.weight[ids])
    for n in (2, 4):
        y = lesson["FlattenConsecutive"](n)(x)
        assert y.shape == (5, 8 // n, 3 * n)
        for t in range(8 // n):
            assert torch.equal(y[:, t], x[:, n * t:n * t + n].flatten(1))
    assert torch.equal(lesson["FlattenConsecutive"](8)(x), x.flatten(1))


def test_flat_and_tree_have_about_the_same_parameters(lesson):
    flat, tree = lesson["weigh"](lesson["flat"]()), lesson["weigh"](lesson["tree"]())
    assert 0.95 * tree < flat <= tree == lesson["budget"]


# --- el árbol, la convolución y WaveNet

def shaken(model, seed=0):
    """`model` con estadísticas de BatchNorm que no sean 0 y 1, en modo de evaluar."""
    torch.manual_seed(seed)
    for norm in getattr(model, "norm", []):
        nn.init.normal_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    return model.eval()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_the_convolution_is_the_tree_at_every_position(lesson, part):
    tree = lesson["tree"]()
    n, take = lesson["window_data"](lesson[part])
    x, y = take(torch.arange(n))
    tree(x)
    tree.train(False)
    lines = lesson["line_data"](lesson[part])
    ids, start, targets = lines[1](torch.arange(lines[0]))
    assert torch.allclose(lesson["Causal"](*tree.layers)(ids, start), tree(x), atol=1e-4)
    assert torch.equal(targets, y)


@pytest.mark.parametrize("kind", [(g, r, s) for g in (1, 0) for r in (1, 0) for s in (1, 0)])
@pytest.mark.parametrize("jumps", [[1, 2, 4], [2, 1]])
def test_wavenet_is_the_recursion_by_hand(lesson, kind, jumps):
    torch.manual_seed(1)
    model = shaken(lesson["WaveNet"](jumps, 4, 3, *map(bool, kind)))
    c = {"dilations": jumps, "n_hidden": 3, **dict(zip(("gated", "residual", "skip"), kind))}
    ids, start, _ = lesson["by_line"][0][1](torch.tensor([3, 0]))
    got, w = model(ids, start), model.state_dict()
    for t in range(len(ids)):
        by_hand = wavenet_by_hand(w, c, ids[start[t]:t + 1].tolist())
        assert torch.allclose(got[t], by_hand, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 30), st.integers(0, 99))
def test_no_output_moves_before_a_change_nor_beyond_the_receptive_field(lesson, jumps, t, seed):
    torch.manual_seed(seed)
    model = shaken(lesson["WaveNet"](jumps, 4, 5), seed)
    ids = torch.randint(lesson["V"], (40,))
    other, start = ids.clone(), torch.arange(40) // 20 * 20  # dos líneas de 20
    other[t] = (ids[t] + 1) % lesson["V"]
    moved = (model(ids, start) - model(other, start)).abs().amax(1).nonzero()[:, 0].tolist()
    line = range(t // 20 * 20, t // 20 * 20 + 20)
    if t == line[0]:  # el comienzo hace de todo lo anterior
        assert set(moved) <= set(range(t, min(t + 1 + sum(jumps), 20 + t)))
    else:
        assert t in moved and set(moved) <= set(line) & set(range(t, t + 1 + sum(jumps)))


def test_dropout_acts_while_training_alone(lesson):
    model = lesson["WaveNet"]([1], 8, 8, dropout=0.5)
    ids, start = torch.arange(8), torch.zeros(8, dtype=torch.long)
    model.train()
    assert not torch.equal(model(ids, start), model(ids, start))
    model.eval()
    assert torch.equal(model(ids, start), model(ids, start))


# --- entrenar y guardar

@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Un entrenamiento corto de verdad, con todas sus tablas y figuras."""
    folder = tmp_path_factory.mktemp("entrenado")
    (folder / "t.txt").write_text(VILLAGES, "utf-8")
    done = run_script(SCRIPT, *TINY, "--data", "t.txt", "--steps", 60, "--eval_interval", 20,
                      "--plot", "figuras", cwd=folder, real=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return folder, done.stdout


def test_training_reduces_the_loss_and_says_so(trained):
    folder, out = trained
    losses = [float(x) for x in re.findall(r"paso +\d+   val (\S+)", out)]
    train, val, test, path = RESULT.fullmatch(out.splitlines()[-1]).groups()
    assert len(losses) == 3 and losses[-1] < losses[0] and f"{losses[-1]:.4f}" == val
    assert path == "ckpt_wavenet.pt" and float(train) < 3.0
    assert max(map(len, out.splitlines()[:-1])) <= 79


def test_checkpoint_is_the_contract_and_its_losses_are_those_of_the_whole_split(trained):
    folder, out = trained
    c = torch.load(folder / "ckpt_wavenet.pt", weights_only=True)
    assert set(c) == {"format", "model", "config", "chars", "weights", "data", "step", "train_loss",
                      "val_loss"}
    assert (c["format"], c["model"], c["data"], c["step"]) == (1, "wavenet", "t.txt", 60)
    assert c["config"] == {"block_size": 8, "dilations": [1, 1, 1, 2, 2], "n_embd": 8, "n_hidden": 6,
                           "gated": True, "residual": True, "skip": True}
    assert all(w.dtype == torch.float32 and w.is_contiguous() for w in c["weights"].values())
    shapes = {name: tuple(w.shape) for name, w in c["weights"].items()}
    assert shapes["conv.4.weight"] == (12, 16) and shapes["skip.4.weight"] == (16, 6)
    assert shapes["norm.0.running_var"] == (8,) and "mix.4.weight" not in shapes
    said = dict(zip(("train", "val", "test"), RESULT.search(out).groups()))
    for name, lines in zip(("train", "val", "test"), split(VILLAGES)):
        total = [-F.log_softmax(wavenet_by_hand(c["weights"], c["config"], x), 0)[y].item()
                 for x, y in contexts(sorted(set(lines)), c["chars"])]
        where = {line: len(line) + 1 for line in sorted(set(lines))}
        sums, at = {}, 0
        for line, n in where.items():
            sums[line], at = sum(total[at:at + n]), at + n
        loss = sum(sums[line] for line in lines) / sum(len(line) + 1 for line in lines)
        assert abs(loss - float(said[name])) < 2e-4
        if name != "test":
            assert abs(loss - c[f"{name}_loss"]) < 2e-4


def test_plot_writes_both_figures(trained):
    assert sorted(os.listdir(trained[0] / "figuras")) == ["campo_receptivo.png", "tamano.png"]


def test_same_seed_same_weights_and_another_seed_others(inside, villages, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        inside(SCRIPT, *TINY, "--data", villages, "--out", f"{name}.pt", "--seed", seed)
    a, b, c = (torch.load(tmp_path / f"{n}.pt", weights_only=True)["weights"] for n in "abc")
    assert all(torch.equal(a[k], b[k]) for k in a) and not torch.equal(a["head.weight"], c["head.weight"])


@pytest.mark.parametrize("flags", [
    ["--no-gated", "--no-residual", "--no-skip"], ["--dilations", "7"],
    ["--block_size", "2", "--dilations", "1"], ["--block_size", "16", "--dilations", "1 2 4 8"],
    ["--demo_steps", "1", "--steps", "1", "--batch_size", "1", "--n_embd", "1", "--n_hidden", "1"],
    ["--grad_clip", "0", "--warmup_steps", "0", "--weight_decay", "0", "--dropout", "0.9"]])
def test_odd_but_legal_constants(inside, villages, tmp_path, capsys, flags):
    inside(SCRIPT, *TINY, "--data", villages, *flags)
    assert RESULT.fullmatch(capsys.readouterr().out.splitlines()[-1])
    c = torch.load(tmp_path / "ckpt_wavenet.pt", weights_only=True)
    assert c["config"]["block_size"] == 1 + sum(c["config"]["dilations"])
    assert c["config"]["gated"] == ("--no-gated" not in flags)


def test_ctrl_c_finishes_the_step_saves_and_goes_on_to_the_end(villages, tmp_path):
    p = start(SCRIPT, *TINY, "--data", villages, "--steps", 100_000, "--eval_interval", 100_000,
              cwd=tmp_path)
    for line in p.stdout:
        if line.startswith("9."):
            break
    time.sleep(0.5)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and err == "", err
    step = int(re.search(r"interrumpido en el paso (\d+) y guardado en ckpt_wavenet.pt", out)[1])
    assert RESULT.fullmatch(out.splitlines()[-1])
    assert torch.load(tmp_path / "ckpt_wavenet.pt", weights_only=True)["step"] == step < 100_000


def test_steps_0_writes_nothing_and_ends_in_dashes(inside, villages, tmp_path, capsys):
    inside(SCRIPT, *TINY, "--data", villages, "--steps", 0)
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-"
    assert os.listdir(tmp_path) == ["t.txt"] and not any("paso " in line for line in out)


def test_a_loss_that_diverges_keeps_the_old_checkpoint(inside, villages, tmp_path):
    (tmp_path / "ckpt_wavenet.pt").write_bytes(b"antes")
    with pytest.raises(SystemExit) as end:
        inside(SCRIPT, *TINY, "--data", villages, "--learning_rate", 999, "--grad_clip", 0,
               "--weight_decay", 900, "--steps", 400, "--demo_steps", 40)
    assert "dejó de ser finita en el paso" in end.value.code
    assert (tmp_path / "ckpt_wavenet.pt").read_bytes() == b"antes"


def test_a_file_too_large_for_the_disk_quota_changes_nothing(run, villages, tmp_path):
    (tmp_path / "ckpt_wavenet.pt").write_bytes(b"antes")
    done = run(SCRIPT, *TINY, "--data", villages,
               preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (2_000, 2_000)))
    one_line_error(done, "no puedo guardar «ckpt_wavenet.pt»", "--out")
    assert (tmp_path / "ckpt_wavenet.pt").read_bytes() == b"antes"
    assert sorted(os.listdir(tmp_path)) == ["ckpt_wavenet.pt", "t.txt"]


# --- mala entrada y terminal

BAD = [
    (["--data", "no_existe.txt"], ["no puedo leer «no_existe.txt»", "pueblos.txt"]),
    (["--data", "latin1.txt"], ["no está en UTF-8 (byte 5)", "iconv"]),
    (["--data", "vacio.txt"], ["tiene 0 líneas"]),
    (["--data", "nueve.txt"], ["tiene 9 líneas", "10"]),
    (["--block_size", "6"], ["potencia de 2", "6 no vale"]),
    (["--block_size", "16"], ["DILATIONS («1 1 1 2 2»)", "BLOCK_SIZE - 1 = 15"]),
    (["--block_size", "0"], ["BLOCK_SIZE"]),
    (["--dilations", ""], ["DILATIONS («»)"]),
    (["--dilations", "1 2 x"], ["DILATIONS («1 2 x»)"]),
    (["--dilations", "8 -1"], ["DILATIONS («8 -1»)"]),
    (["--dilations", "7 0"], ["DILATIONS («7 0»)"]),
    (["--n_embd", "0"], ["N_EMBD"]),
    (["--n_hidden", "-3"], ["N_HIDDEN"]),
    (["--batch_size", str(2**40)], ["BATCH_SIZE"]),
    (["--eval_interval", "0"], ["EVAL_INTERVAL"]),
    (["--demo_steps", "0"], ["DEMO_STEPS"]),
    (["--steps", "-1"], ["negativos"]),
    (["--warmup_steps", "-1"], ["negativos"]),
    (["--seed", str(2**40)], ["SEED"]),
    (["--dropout", "1"], ["DROPOUT (1.0)"]),
    (["--dropout", "nan"], ["DROPOUT (nan)"]),
    (["--learning_rate", "0"], ["LEARNING_RATE"]),
    (["--learning_rate", "inf"], ["LEARNING_RATE"]),
    (["--weight_decay", "nan"], ["WEIGHT_DECAY"]),
    (["--grad_clip", "-1"], ["GRAD_CLIP"]),
    (["--out", "no/hay/carpeta.pt"], ["no se puede escribir «no/hay/carpeta.pt»", "--out"]),
    (["--out", "."], ["no se puede escribir «.»"]),
]


@pytest.mark.parametrize("flags, fragments", BAD, ids=[" ".join(f)[:30] for f, _ in BAD])
def test_bad_input_gets_its_one_line(inside, villages, tmp_path, flags, fragments):
    (tmp_path / "latin1.txt").write_bytes(b"abcde\xe9fg" * 50)
    (tmp_path / "vacio.txt").write_bytes(b"")
    (tmp_path / "nueve.txt").write_text("una\n" * 9)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as end:
        inside(SCRIPT, *TINY, "--data", villages, *flags)
    message = end.value.code
    assert message.startswith("error: ") and "\n" not in message
    for fragment in fragments:
        assert fragment in message
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_plot_without_matplotlib_says_what_to_install(inside, villages, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(SystemExit) as end:
        inside(SCRIPT, *TINY, "--data", villages, "--plot", "figuras")
    assert "pip install matplotlib" in end.value.code and "\n" not in end.value.code


def test_an_unknown_flag_is_argparses_error_and_help_has_every_constant(run):
    done = run(SCRIPT, "--n_emb", "32")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    done = run(SCRIPT, "--help", env={"COLUMNS": "200"})
    cell = (ROOT / SCRIPT).read_text("utf-8").split("# %%")[1]
    constants = re.findall(r"^([A-Z_]+) = .*?  # (.+)$", cell, re.M)
    assert len(constants) == 20 and done.returncode == 0
    for name, note in constants:
        assert f"--{name.lower()}" in done.stdout
        assert " ".join(note.split()) in " ".join(done.stdout.split())


def test_head_ends_it_quietly(tmp_path):
    (tmp_path / "t.txt").write_text(CAN_LOSE, "utf-8")
    done = subprocess.run(" ".join(command(SCRIPT, *TINY, "--data", "t.txt")) + " | head -n 1",
                          shell=True, cwd=tmp_path, capture_output=True,
                          env={**ENV, "PYTHONIOENCODING": "ascii"}, timeout=120)
    assert done.stderr == b"" and "líneas".encode() in done.stdout


@pytest.mark.skipif(not SHARED.is_dir(), reason="faltan los textos de ../shared")
def test_names_have_the_partition_of_the_published_figures(inside):
    g = inside(SCRIPT, *TINY, "--steps", 0, "--data", SHARED / "names.txt")
    assert (len(g["lines"]), g["V"]) == (32_033, 27)
    assert [g["by_window"][i][0] for i in (0, 1)] == [182_625, 22_655]

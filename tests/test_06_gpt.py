"""06_gpt.py: el texto, cada pieza contra la de PyTorch, el entrenamiento y lo que pasa si se corta."""
import functools
import itertools
import math
import os
import pty
import random
import re
import resource
import shutil
import signal
import subprocess
import time
import unicodedata

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import ENV, ROOT, SHARED, SMALL, command, one_line_error, run_script, start
from hypothesis import given, settings, strategies as st

RESULT = re.compile(r"resultado train=(\S+) val=(\S+) test=- segundos=(\S+) tokens_s=(\S+) ckpt=(\S+)")


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Los nombres de la lección, con constantes pequeñas y un texto corto, sin entrenar."""
    import runpy
    import sys
    folder = tmp_path_factory.mktemp("leccion")
    poems = (ROOT / "data" / "poesia.txt").read_text("utf-8")[:5_003]
    (folder / "t.txt").write_text(poems, "utf-8")
    before = sys.argv, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    sys.argv = ["06_gpt.py", *SMALL, "--data", str(folder / "t.txt"), "--steps", "0"]
    try:
        return runpy.run_path(str(ROOT / "06_gpt.py"))
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGINT, before[1])
        signal.signal(signal.SIGPIPE, before[2])


def shake(model, seed=0):
    """Pesos al azar y grandes, para que ninguna parte del modelo pase inadvertida."""
    torch.manual_seed(seed)
    for w in model.parameters():
        nn.init.normal_(w, std=0.3)
    return model.eval()


# --- del texto a los números

def test_reads_bom_crlf_and_nfd_as_plain_nfc(inside, tmp_path):
    words = "El ñandú pidió pingüinos.\n¿Cuántos?\n" * 20
    raw = b"\xef\xbb\xbf" + unicodedata.normalize("NFD", words).replace("\n", "\r\n").encode()
    (tmp_path / "t.txt").write_bytes(raw)
    g = inside("06_gpt.py", *SMALL, "--data", "t.txt", "--steps", 0)
    assert g["text"] == words
    assert g["chars"] == "".join(sorted(set(words))) and "ñ" in g["chars"] and "\r" not in g["chars"]
    assert g["decode"](g["ids"].tolist()) == words
    cut = int(0.9 * len(words))
    assert g["decode"](g["train"].tolist()) == words[:cut]
    assert g["decode"](g["val"].tolist()) == words[cut:]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_encode_is_the_dictionary_look_up(lesson, data):
    words = data.draw(st.text(alphabet=lesson["chars"], max_size=80))
    ids = {char: i for i, char in enumerate(lesson["chars"])}
    assert lesson["encode"](words).tolist() == [ids[char] for char in words]
    assert lesson["decode"](lesson["encode"](words).tolist()) == words


def test_batch_is_text_shifted_by_one_and_depends_on_the_step_alone(lesson):
    x, y = lesson["batch"](lesson["train"], 7)
    text = lesson["text"]
    assert x.shape == y.shape == (4, 16)
    for row, target in zip(x, y):
        assert lesson["decode"](row.tolist()) in text
        assert lesson["decode"](row.tolist() + target[-1:].tolist()) in text
        assert torch.equal(row[1:], target[:-1])
    torch.rand(5)
    again, _ = lesson["batch"](lesson["train"], 7)
    other, _ = lesson["batch"](lesson["train"], 8)
    assert torch.equal(x, again) and not torch.equal(x, other)


def test_batch_reaches_both_ends_of_the_text(lesson):
    short = torch.arange(18)  # sólo caben dos ventanas de 16 con su objetivo
    starts = {lesson["batch"](short, step)[0][row, 0].item() for step in range(20) for row in range(4)}
    assert starts == {0, 1}


# --- las piezas, contra PyTorch

@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 8), st.integers(0, 99))
def test_attention_is_scaled_dot_product_attention(lesson, B, H, T, d, seed):
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, B, H, T, d, dtype=torch.float64)
    ours = lesson["attention"](q, k, v)
    assert torch.allclose(ours, F.scaled_dot_product_attention(q, k, v, is_causal=True), atol=1e-12)


@pytest.mark.parametrize("n_head", [1, 2, 8])
def test_multi_head_attention_is_torchs_in_values_and_gradients(lesson, n_head):
    torch.manual_seed(n_head)
    ours, theirs = lesson["MultiHeadAttention"](16, n_head), nn.MultiheadAttention(
        16, n_head, bias=True, batch_first=True)
    theirs.in_proj_weight.data = ours.qkv.weight.data.clone()
    theirs.in_proj_bias.data.zero_()
    theirs.out_proj.load_state_dict(ours.mix.state_dict())
    x = torch.randn(3, 7, 16)
    mask = torch.ones(7, 7, dtype=torch.bool).triu(1)
    a, (b, _) = ours(x), theirs(x, x, x, attn_mask=mask)
    assert torch.allclose(a, b, atol=1e-5)
    a.square().sum().backward(), b.square().sum().backward()
    assert torch.allclose(ours.qkv.weight.grad, theirs.in_proj_weight.grad, atol=1e-4)


def test_block_is_torchs_transformer_layer(lesson):
    ours = shake(lesson["Block"]())
    theirs = nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, norm_first=True, batch_first=True)
    pairs = {"self_attn.in_proj_weight": "attention.qkv.weight",
             "self_attn.out_proj.weight": "attention.mix.weight",
             "self_attn.out_proj.bias": "attention.mix.bias",
             "linear1.weight": "feed_forward.0.weight", "linear1.bias": "feed_forward.0.bias",
             "linear2.weight": "feed_forward.2.weight", "linear2.bias": "feed_forward.2.bias",
             "norm1.weight": "norm_1.weight", "norm1.bias": "norm_1.bias",
             "norm2.weight": "norm_2.weight", "norm2.bias": "norm_2.bias"}
    weights = {a: ours.state_dict()[b] for a, b in pairs.items()}
    theirs.load_state_dict(weights | {"self_attn.in_proj_bias": torch.zeros(48)})
    x = torch.randn(3, 9, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    expected = theirs.train()(x, src_mask=mask)  # en train(): la ruta escrita, no la fundida
    assert torch.allclose(ours(x), expected, atol=1e-4)


def test_layer_norm_is_torchs_in_values_and_gradients(lesson):
    torch.manual_seed(0)
    x = (4 * torch.randn(3, 5, 8, dtype=torch.float64) + 2).requires_grad_()
    gain, bias = torch.randn(2, 8, dtype=torch.float64)
    ours, theirs = lesson["layer_norm"](x, gain, bias), F.layer_norm(x, (8,), gain, bias)
    assert torch.allclose(ours, theirs, atol=1e-12)
    a, = torch.autograd.grad(ours.pow(3).sum(), x)
    b, = torch.autograd.grad(theirs.pow(3).sum(), x)
    assert torch.allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_rests_in_evaluation(lesson, p):
    torch.manual_seed(1)
    layer, x = lesson["Dropout"](p), torch.full((400, 500), 3.0, requires_grad=True)
    y = layer.train()(x)
    assert abs((y == 0).float().mean() - p) < 0.01 and abs(y.mean() - 3) < 0.05
    y.sum().backward()
    assert torch.allclose(x.grad, (y > 0) / (1 - p))
    assert layer.eval()(x) is x


@pytest.mark.parametrize("flags", [
    [], ["--no-residual"], ["--no-layer_norm"], ["--no-feed_forward"], ["--n_head", "1"],
    ["--n_layer", "0"], ["--rotary", "--square"],
    ["--no-residual", "--no-layer_norm", "--no-feed_forward"]])
def test_no_position_sees_the_future_whatever_the_components(inside, small_text, flags):
    g = inside("06_gpt.py", *SMALL, "--data", small_text, "--steps", 0, *flags)
    model = shake(g["model"])
    ids = g["ids"][:16][None].long()
    for t in range(1, 16):
        changed = ids.clone()
        changed[0, t] = (changed[0, t] + 1) % g["V"]
        a, b = model(ids), model(changed)
        assert torch.equal(a[:, :t], b[:, :t]) and not torch.equal(a[:, t], b[:, t])


def test_parameters_are_counted_by_part_and_sum_up(inside, small_text, capsys):
    g = inside("06_gpt.py", *SMALL, "--data", small_text, "--steps", 0)
    line = re.search(r"7\. (\d+) parámetros: (.+)", capsys.readouterr().out)
    parts = [int(n) for n in re.findall(r" (\d+)", " " + line[2])]
    assert int(line[1]) == sum(parts) == sum(w.numel() for w in g["model"].parameters())


def test_weight_decay_touches_matrices_alone(lesson):
    (adam, rate), (muon, _) = lesson["optimizers"]
    decayed, rest = adam.param_groups
    assert decayed["weight_decay"] > 0 == rest["weight_decay"] and rate == lesson["LEARNING_RATE"]
    assert {w.dim() for w in decayed["params"]} == {2} and {w.dim() for w in rest["params"]} == {1}
    known = [*decayed["params"], *rest["params"], *muon.param_groups[0]["params"]]
    assert sorted(map(id, known)) == sorted(map(id, lesson["model"].parameters()))
    inside = [w for w in lesson["model"].blocks.parameters() if w.dim() == 2]
    assert list(map(id, muon.param_groups[0]["params"])) == list(map(id, inside))


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 64)])
def test_muon_steps_as_torchs_own(lesson, shape):
    """torch.optim.Muon hace la misma cuenta en bfloat16: de ahí la tolerancia."""
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
    a = lesson["Muon"]([ours], 0.1, weight_decay=0.5)
    b = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.5, ns_steps=3)
    for _ in range(4):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        a.step(), b.step()
    assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_orthogonal_keeps_the_singular_vectors(lesson):
    torch.manual_seed(0)
    x = torch.randn(16, 40)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    inner = u.T @ lesson["orthogonal"](x) @ v.T              # diagonal: los mismos vectores
    assert (inner - inner.diagonal().diag()).abs().max() < 1e-3
    assert 0.6 < inner.diagonal().min() and inner.diagonal().max() < 1.3
    assert torch.allclose(lesson["orthogonal"](x.T), lesson["orthogonal"](x).T, atol=1e-5)


def test_rotated_scores_depend_on_the_distance_alone(lesson):
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 8).expand(2, 20, 8)
    scores = lesson["rotate"](q) @ lesson["rotate"](k).T
    for i, j in itertools.product(range(19), range(19)):
        assert math.isclose(scores[i, j], scores[i + 1, j + 1], abs_tol=1e-4)
    assert torch.allclose(lesson["rotate"](q).norm(dim=1), q.norm(dim=1), atol=1e-5)


@pytest.mark.parametrize("length", [2, 16, 17, 18, 500, 2049, 2050])
def test_evaluation_covers_the_whole_split(lesson, length):
    shake(lesson["model"])
    ids, total = lesson["ids"][:length].long(), 0.0
    for i in range(0, length - 1, 16):
        x = ids[i:min(i + 16, length - 1)]
        p = lesson["model"](x[None])[0].log_softmax(-1)
        total -= p[torch.arange(len(x)), ids[i + 1:i + 1 + len(x)]].sum().item()
    assert math.isclose(lesson["evaluate"](ids), total / (length - 1), rel_tol=1e-5)


def test_a_partial_evaluation_takes_groups_spread_from_end_to_end(inside, small_text):
    """Con EVAL_CHARS, la media de los grupos elegidos; con 0 o de sobra, la de todos."""
    g = inside("06_gpt.py", *SMALL, "--data", small_text, "--steps", 0, "--eval_chars", 1000)
    model, ids = shake(g["model"]), torch.arange(32 * 16 * 7 + 5) % g["V"]

    def whole(i):
        x, y = ids[i:i + 512], ids[i + 1:i + 513]
        x, y = x[:len(y)], y
        spare = -len(y) % 16
        return g["nll"](model, F.pad(x, (0, spare)).view(-1, 16),
                        F.pad(y, (0, spare), value=-100).view(-1, 16), reduction="sum").item(), len(y)

    with torch.no_grad():
        parts = [whole(i) for i in (0, 4 * 512)]             # 2 de 8 grupos, repartidos
        every = [whole(i) for i in range(0, len(ids) - 1, 512)]
    assert math.isclose(g["evaluate"](ids), sum(a for a, _ in parts) / 1024, rel_tol=1e-5)
    g["evaluate"].__wrapped__.__globals__["EVAL_CHARS"] = 0
    total = sum(a for a, _ in every) / sum(n for _, n in every)
    assert math.isclose(g["evaluate"](ids), total, rel_tol=1e-5)


def test_a_big_vocabulary_and_a_long_text_become_ids_in_pieces(inside, tmp_path):
    """Más de 256 caracteres distintos (no caben en un byte) y más de una pieza de 2**20."""
    words = "".join(map(chr, range(0x4E00, 0x4E00 + 400))) * 2700
    (tmp_path / "t.txt").write_text(words, "utf-8")
    g = inside("06_gpt.py", *SMALL, "--data", "t.txt", "--steps", 0, "--prompt", words[0])
    assert len(words) > 2**20 and g["V"] == 400 and g["ids"].dtype == torch.int32
    assert g["ids"].tolist() == [ord(char) - 0x4E00 for char in words]
    seen = g["count"](g["train"], 2)
    assert seen.total() == len(g["train"]) - 1 and seen[400 + 2] == seen[1] == seen.most_common()[0][1]


def test_counted_losses_are_those_of_a_plain_loop(lesson):
    train, val, V = lesson["train"].tolist(), lesson["val"].tolist(), lesson["V"]
    ones = [train.count(i) for i in range(V)]
    plain = -sum(math.log((ones[i] + 1) / (len(train) + V)) for i in val) / len(val)
    assert math.isclose(lesson["counted_loss"](1), plain, rel_tol=1e-9)
    pairs = list(zip(train, train[1:]))
    total = sum(-math.log((pairs.count((a, b)) + 1) / (ones[a] - (a == train[-1]) + V))
                for a, b in zip(val, val[1:]))
    assert math.isclose(lesson["counted_loss"](2), total / (len(val) - 1), rel_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("ab"), max_size=12), st.lists(st.sampled_from("ab"), max_size=12))
def test_longest_copy_is_the_longest_common_run_of_words(lesson, words, source):
    runs = [words[i:j] for i, j in itertools.combinations(range(len(words) + 1), 2)]
    text = " ".join(source)
    longest = max((len(r) for r in runs if f" {' '.join(r)} " in f" {text} "), default=0)
    found = lesson["longest_copy"](words, text.replace(" ", "\n", 1))
    assert len(found) == longest and f" {' '.join(found)} " in f" {text} " or not found


# --- entrenar

def test_checkpoint_keeps_the_contract_and_the_result_line(trained):
    c = torch.load(trained / "ckpt.pt", weights_only=True)
    assert c["format"] == 1 and c["model"] == "gpt" and c["data"] == "versos.txt"
    assert c["config"] == {"block_size": 16, "n_embd": 16, "n_head": 2, "n_layer": 2,
                           "residual": True, "layer_norm": True, "feed_forward": True,
                           "rotary": False, "square": False}
    assert list(c["chars"]) == sorted(set((trained / "versos.txt").read_text("utf-8")))
    assert all(w.dtype == torch.float32 and w.device.type == "cpu" for w in c["weights"].values())
    out = (trained / "salida.txt").read_text("utf-8")
    train, val, seconds, tokens_s, name = RESULT.fullmatch(out.splitlines()[-1]).groups()
    assert float(train) == round(c["train_loss"], 4) and float(val) == round(c["val_loss"], 4)
    assert float(seconds) > 0 and int(tokens_s) > 0 and name == "ckpt.pt" and c["step"] in (20, 40)
    assert "\r" not in out and "\033" not in out  # en un fichero, ninguna línea que se reescribe
    assert len(re.findall(r"^   paso", out, re.M)) == 2


def test_training_learns(trained):
    c = torch.load(trained / "ckpt.pt", weights_only=True)
    assert c["val_loss"] < math.log(len(c["chars"])) - 0.5


def same(a, b):
    """¿Son iguales, bit a bit, dos valores hechos de diccionarios, listas y tensores?"""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


LONG = [*SMALL, "--steps", "300", "--eval_interval", "60", "--dropout", "0.1"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """El punto de control de un entrenamiento de 300 pasos que nadie interrumpe, y su carpeta."""
    folder = tmp_path_factory.mktemp("entero")
    (folder / "t.txt").write_text((ROOT / "data" / "poesia.txt").read_text("utf-8")[:9_000], "utf-8")
    run_script("06_gpt.py", *LONG, "--data", "t.txt", cwd=folder, real=True).check_returncode()
    return torch.load(folder / "ckpt.pt", weights_only=True), folder


def test_same_seed_same_checkpoint_and_another_seed_another(unbroken, tmp_path, run):
    reference, folder = unbroken
    run("06_gpt.py", *LONG, "--data", folder / "t.txt", "--out", "a.pt")
    run("06_gpt.py", *LONG, "--data", folder / "t.txt", "--out", "b.pt", "--seed", 7)
    assert same(torch.load(tmp_path / "a.pt", weights_only=True), reference)
    assert not same(torch.load(tmp_path / "b.pt", weights_only=True)["weights"], reference["weights"])


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_and_resumed_ends_bit_for_bit_the_same(unbroken, tmp_path, run, sign):
    """Se corta dos veces, en momentos al azar, y se sigue hasta el final."""
    reference, folder = unbroken
    chance = random.Random(int(sign))
    args = [*LONG, "--data", folder / "t.txt"]
    resume = []
    for _ in range(2):
        p = start("06_gpt.py", *args, *resume, cwd=tmp_path)
        for line in p.stdout:
            if line.startswith("9."):
                break
        time.sleep(chance.uniform(0.02, 0.5))
        p.send_signal(sign)
        out, err = p.communicate()
        if sign == signal.SIGINT and "paso   300" not in out:
            assert p.returncode == 0 and err == "", err
            assert RESULT.fullmatch(out.splitlines()[-1]), out
            assert "interrumpido en el paso" in out and "--resume ckpt.pt" in out
        if (tmp_path / "ckpt.pt").exists():
            torch.load(tmp_path / "ckpt.pt", weights_only=True)
            resume = ["--resume", "ckpt.pt"]
    done = run("06_gpt.py", *args, *resume)
    assert done.returncode == 0, done.stderr
    final = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    assert same(final, reference)


def test_resuming_a_finished_run_trains_no_more_and_saves_nothing(trained, ckpt, run):
    before = ckpt.read_bytes()
    done = run("06_gpt.py", *SMALL, "--steps", 40, "--eval_interval", 20, "--resume", ckpt,
               "--data", trained / "versos.txt")
    c = torch.load(ckpt, weights_only=True)
    assert done.returncode == 0 and ckpt.read_bytes() == before
    assert f"val={c['val_loss']:.4f}" in done.stdout.splitlines()[-1]


def test_overfitting_is_said_and_the_best_model_kept(run, tmp_path):
    words = random.Random(0)
    text = "".join(words.choice("abcdefgh ") for _ in range(1500))  # no hay nada que aprender
    (tmp_path / "t.txt").write_text(text, "utf-8")
    done = run("06_gpt.py", *SMALL, "--n_embd", 64, "--data", "t.txt", "--steps", 300,
               "--eval_interval", 30, "--batch_size", 32, "--learning_rate", 0.005)
    losses = {int(s): float(v) for s, v in re.findall(r"paso +(\d+).*?val (\S+)", done.stdout)}
    best = min(losses, key=losses.get)
    assert done.stdout.count("sobreajuste (overfitting)") == 1
    assert f"desde el paso {best} " in done.stdout and "--dropout" in done.stdout
    c = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    assert c["step"] == best and abs(c["val_loss"] - losses[best]) < 1e-4
    assert max(losses) == 300 > best and c["training"]["step"] == 300


def test_a_loss_that_diverges_ends_training_and_keeps_the_checkpoint(trained, ckpt, run, tmp_path):
    before = ckpt.read_bytes()
    done = run("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 50,
               "--learning_rate", 900, "--grad_clip", 0, "--no-layer_norm", "--eval_interval", 100)
    one_line_error(done, "dejó de ser finita en el paso", "LEARNING_RATE")
    assert ckpt.read_bytes() == before and sorted(os.listdir(tmp_path)) == ["ckpt.pt"]


def test_ladder_of_components_trains_and_each_checkpoint_says_its_own(inside, small_text, tmp_path):
    for flags, config in [(["--n_layer", 0], {"n_layer": 0}), (["--n_head", 1], {"n_head": 1}),
                          (["--no-feed_forward", "--no-residual", "--no-layer_norm"],
                           {"feed_forward": False, "residual": False, "layer_norm": False})]:
        inside("06_gpt.py", *SMALL, "--data", small_text, "--steps", 6, *flags)
        saved = torch.load(tmp_path / "ckpt.pt", weights_only=True)["config"]
        assert config.items() <= saved.items()


def test_steps_0_writes_nothing(run, small_text, tmp_path):
    done = run("06_gpt.py", *SMALL, "--data", small_text, "--steps", 0)
    assert done.returncode == 0 and os.listdir(tmp_path) == ["texto.txt"]
    assert done.stdout.splitlines()[-1].startswith("resultado train=- val=-")


# --- guardar

SAVER = """
import runpy, sys, torch
sys.argv = ["06_gpt.py", "--steps", "0", "--data", sys.argv[1]] + sys.argv[2:]
g = runpy.run_path("06_gpt.py")
print("listo", flush=True)
for n in range(10**9):
    g["save"]({"n": n, "w": torch.full((300_000,), float(n))}, "x.pt")
    g["written"].clear()
"""


def test_killed_while_saving_the_file_always_loads(small_text, tmp_path):
    """Ocho veces, a veces con kill -9, mientras se guarda sin parar; otro lo lee sin parar."""
    shutil.copy(ROOT / "06_gpt.py", tmp_path)
    chance = random.Random(3)
    for name in ("x.pt", "x.pt.bak"):
        torch.save({"n": -1, "w": torch.full((2,), -1.0)}, tmp_path / name)
    p = None
    for _ in range(8):
        if p is None or p.poll() is not None:
            p = start("-c", SAVER, small_text, *SMALL, cwd=tmp_path, stderr=None)
            while p.stdout.readline() != "listo\n":
                assert p.poll() is None
        end = time.time() + chance.uniform(0.05, 0.5)
        while time.time() < end:
            c = torch.load(tmp_path / "x.pt", weights_only=True)
            assert (c["w"] == c["n"]).all()
        if chance.random() < 0.3:
            p.kill()
            p.wait()
        for name in ("x.pt", "x.pt.bak"):
            c = torch.load(tmp_path / name, weights_only=True)
            assert (c["w"] == c["n"]).all()
    p.kill()
    assert c["n"] > 0


def test_what_was_there_before_is_kept_once_as_bak(trained, ckpt, run, tmp_path):
    before = ckpt.read_bytes()
    for _ in range(2):
        done = run("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 6,
                   "--eval_interval", 2)
        assert done.returncode == 0, done.stderr
        kept = (tmp_path / "ckpt.pt.bak").read_bytes()
        assert kept == before  # y no el guardado intermedio de esta misma ejecución
        before = ckpt.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["ckpt.pt", "ckpt.pt.bak"]


def test_a_file_too_large_for_the_disk_quota_changes_nothing(trained, ckpt, run, tmp_path):
    before = ckpt.read_bytes()
    done = run("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 2,
               preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000)))
    one_line_error(done, "no puedo guardar «ckpt.pt»", "--out")
    assert ckpt.read_bytes() == before and os.listdir(tmp_path) == ["ckpt.pt"]


@pytest.fixture
def tiny_disk(tmp_path):
    """Un disco de 256 KB montado en una carpeta; sin permiso para montarlo, se salta la prueba."""
    disk = tmp_path / "disco"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk],
                      capture_output=True).returncode:
        pytest.skip("aquí no se puede montar un tmpfs")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_changes_nothing(trained, ckpt, run, tiny_disk):
    shutil.copy(ckpt, tiny_disk)
    before = ckpt.read_bytes()
    (tiny_disk / "relleno").write_bytes(b"x" * (220_000 - len(before)))
    done = run("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 2, cwd=tiny_disk)
    one_line_error(done, "no puedo guardar «ckpt.pt»: el disco está lleno")
    assert (tiny_disk / "ckpt.pt").read_bytes() == before
    assert sorted(os.listdir(tiny_disk)) == ["ckpt.pt", "relleno"]


# --- en 16 bits, con torch.compile y con figuras

def test_bfloat16_trains_and_is_measured_and_saved_in_float32(trained, inside, capsys):
    g = inside("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 30,
               "--eval_interval", 30, "--dtype", "bfloat16", "--learning_rate", "0.01")
    assert "en «cpu», bfloat16" in capsys.readouterr().out
    c = torch.load("ckpt.pt", weights_only=True)
    assert all(w.dtype == torch.float32 for w in c["weights"].values())
    assert c["training"]["dtype"] == "bfloat16" and c["val_loss"] < math.log(g["V"]) - 0.3
    x, y = g["batch"](g["train"], 0)
    with torch.no_grad():
        model = g["model"].eval()
        plain = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        assert torch.equal(g["nll"](model, x, y), plain)     # se mide en 32 bits
        short = g["nll"](model.train(), x, y)                # se entrena en 16
        assert short != plain and abs(short - plain) < 0.02
    inside("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 30, "--dtype",
           "float32", "--resume", "ckpt.pt", "--out", "otro.pt")
    assert g["DTYPE"] == "bfloat16"


def test_the_faster_type_is_chosen_by_measuring(lesson):
    assert lesson["DTYPE"] == ("bfloat16" if lesson["fast"] else "float32")
    assert 0 < lesson["seconds"](torch.float32) < 1 and lesson["seconds"](torch.bfloat16) > 0


@pytest.mark.skipif("COMPILAR" not in os.environ, reason="compilar tarda minutos: COMPILAR=1")
def test_compiled_it_learns_the_same(trained, run, tmp_path):
    args = ["06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 2, "--dtype",
            "float32", "--n_layer", 1]
    plain, fused = run(*args, "--out", "a.pt"), run(*args, "--compile", "--out", "b.pt")
    assert plain.returncode == fused.returncode == 0, fused.stderr
    a, b = (torch.load(tmp_path / name, weights_only=True)["weights"] for name in ("a.pt", "b.pt"))
    assert a.keys() == b.keys() and all(torch.allclose(a[n], b[n], atol=1e-4) for n in a)


def test_figures_are_written_only_if_asked(trained, inside, tmp_path):
    inside("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 4, "--eval_interval", 2,
           "--plot", "figuras")
    assert sorted(os.listdir("figuras")) == ["atencion.png", "perdida.png", "posiciones.png"]
    assert all((tmp_path / "figuras" / name).read_bytes()[:4] == b"\x89PNG" for name in
               os.listdir("figuras"))
    inside("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 0, "--plot", "otra")
    assert sorted(os.listdir("otra")) == ["atencion.png", "posiciones.png"]  # sin curva que dibujar
    inside("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--steps", 0)
    assert sorted(os.listdir(tmp_path)) == ["ckpt.pt", "figuras", "otra"]


@pytest.mark.parametrize("flags", [[], ["--rotary"]])
def test_attention_maps_are_the_weights_that_the_model_uses(inside, small_text, flags):
    g = inside("06_gpt.py", *SMALL, "--data", small_text, "--steps", 0, *flags)
    model, ids = shake(g["model"]), g["ids"][:10].long()
    maps = g["attention_maps"](ids)
    layer, seen = model.blocks[0].attention, []
    hook = layer.register_forward_hook(lambda layer, x, y: seen.append((x[0], y)))
    model(ids[None])
    hook.remove()
    x, y = seen[0]
    v = layer.split(x)[2][0]                                 # (H, T, d)
    again = layer.mix((maps[0] @ v).transpose(0, 1).flatten(1))
    assert len(maps) == 2 and torch.allclose(again, y[0], atol=1e-5)


# --- lo que recibe una mala entrada

BAD = [
    (["--data", "no_existe.txt"], ["no puedo leer «no_existe.txt»", "poesia.txt", "prepare.py"]),
    (["--data", ""], ["no puedo leer «»"]),
    (["--data", "x" * 5000], ["no puedo leer"]),
    (["--data", "latin1.txt"], ["no está en UTF-8 (byte 5)", "iconv"]),
    (["--data", "vacio.txt"], ["tiene 0 caracteres"]),
    (["--data", "iguales.txt"], ["1 distintos"]),
    (["--data", "corto.txt"], ["es corto", "BLOCK_SIZE es 16", "deja 9 caracteres"]),
    (["--n_head", "3"], ["N_EMBD (16)", "N_HEAD (3)"]),
    (["--n_head", "0"], ["1 o más"]),
    (["--n_embd", "-16"], ["1 o más"]),
    (["--batch_size", "0"], ["1 o más"]),
    (["--eval_interval", "0"], ["1 o más"]),
    (["--steps", "-1"], ["negativos"]),
    (["--n_layer", "-1"], ["negativos"]),
    (["--seed", str(2**40)], ["SEED"]),
    (["--dropout", "1"], ["DROPOUT (1.0)"]),
    (["--dropout", "nan"], ["DROPOUT (nan)"]),
    (["--learning_rate", "0"], ["LEARNING_RATE"]),
    (["--learning_rate", "inf"], ["LEARNING_RATE"]),
    (["--weight_decay", "nan"], ["WEIGHT_DECAY"]),
    (["--grad_clip", "-1"], ["GRAD_CLIP"]),
    (["--muon", "-1"], ["MUON"]),
    (["--eval_chars", "-1"], ["EVAL_CHARS"]),
    (["--dtype", "float8"], ["«float8»"]),
    (["--rotary", "--n_head", "16"], ["ROTARY", "par"]),
    (["--plot", "texto.txt"], ["no se puede escribir en «texto.txt»"]),
    (["--temperature", "0"], ["TEMPERATURE (0.0)"]),
    (["--prompt", "hola 😀"], ["PROMPT", "😀"]),
    (["--out", "no/hay/carpeta.pt"], ["no se puede escribir «no/hay/carpeta.pt»", "--out"]),
    (["--out", "."], ["no se puede escribir «.»"]),
    (["--device", "tostadora"], ["«tostadora»"]),
    (["--n_embd", str(2**40)], ["no puedo montar el modelo"]),
    (["--resume", "no_existe.pt"], ["«no_existe.pt» no existe", "python 06_gpt.py"]),
    (["--resume", "texto.txt"], ["«texto.txt» está dañado o no es un punto de control"]),
    (["--resume", "."], ["«.» no se deja leer"]),
]


@pytest.mark.parametrize("flags, fragments", BAD, ids=[" ".join(f)[:30] for f, _ in BAD])
def test_bad_input_gets_its_one_line(inside, small_text, tmp_path, flags, fragments):
    (tmp_path / "latin1.txt").write_bytes(b"abcde\xe9fg" * 50)
    (tmp_path / "vacio.txt").write_bytes(b"")
    (tmp_path / "iguales.txt").write_bytes(b"a" * 999)
    (tmp_path / "corto.txt").write_bytes(b"abcdefghij")
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as end:
        inside("06_gpt.py", *SMALL, "--data", small_text, "--steps", 2, *flags)
    message = end.value.code
    assert message.startswith("error: ") and "\n" not in message
    for fragment in fragments:
        assert fragment in message
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_bad_input_from_outside_is_one_line_and_code_1(run, tmp_path):
    one_line_error(run("06_gpt.py", "--data", "nada.txt"), "no puedo leer «nada.txt»")
    (tmp_path / "latin1.txt").write_bytes("¿Qué?".encode("latin1"))
    one_line_error(run("06_gpt.py", "--data", "latin1.txt", env={"PYTHONIOENCODING": "ascii"}),
                   "no está en UTF-8 (byte 0)")
    assert os.listdir(tmp_path) == ["latin1.txt"]


@pytest.mark.parametrize("flag", [["--n_emb", "32"], ["--steps", "muchos"], ["--nada"], ["poesia.txt"]])
def test_an_unknown_flag_or_a_wrong_type_is_argparses_error(run, flag):
    done = run("06_gpt.py", *flag)
    assert done.returncode == 2 and "error:" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("change, fragment", [
    (["--n_embd", "32"], "es de otro texto o de otro modelo"),
    (["--no-residual"], "es de otro texto o de otro modelo"),
    (["--data", "otro.txt"], "es de otro texto o de otro modelo"),
])
def test_resuming_with_other_constants_is_refused(trained, ckpt, inside, tmp_path, change, fragment):
    (tmp_path / "otro.txt").write_text((trained / "versos.txt").read_text("utf-8")[::-1], "utf-8")
    before = ckpt.read_bytes()
    with pytest.raises(SystemExit) as end:
        inside("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--resume", ckpt, *change)
    assert fragment in end.value.code and "versos.txt" in end.value.code
    assert ckpt.read_bytes() == before


@pytest.mark.parametrize("key", ["weights", "optimizers", "best", "seed", "text", None])
def test_resuming_from_an_incomplete_checkpoint_is_refused(trained, ckpt, inside, key):
    c = torch.load(ckpt, weights_only=True)
    if key:
        del c["training"][key]
    else:
        c["training"] = 3
    torch.save(c, ckpt)
    with pytest.raises(SystemExit) as end:
        inside("06_gpt.py", *SMALL, "--data", trained / "versos.txt", "--resume", ckpt)
    assert "no guarda un entrenamiento completo" in end.value.code


# --- la terminal

def test_help_shows_every_constant_with_its_comment(run):
    done = run("06_gpt.py", "--help", env={"COLUMNS": "200"})
    source = (ROOT / "06_gpt.py").read_text("utf-8").split("# %%")[1]
    constants = re.findall(r"^([A-Z_]+) = .*?  # (.+)$", source, re.M)
    assert len(constants) >= 20 and done.returncode == 0
    for name, note in constants:
        assert f"--{name.lower()}" in done.stdout
        assert " ".join(note.split()) in " ".join(done.stdout.split())


def test_output_is_utf_8_and_head_ends_it_quietly(small_text, tmp_path):
    done = subprocess.run(" ".join(command("06_gpt.py", *SMALL, "--data", small_text, "--steps", 400))
                          + " | head -n 1", shell=True, cwd=tmp_path, capture_output=True,
                          env={**ENV, "PYTHONIOENCODING": "ascii"}, timeout=120)
    assert done.stderr == b"" and "caracteres".encode() in done.stdout


def test_runs_from_another_folder_with_a_name_of_data(run):
    done = run("06_gpt.py", *SMALL, "--steps", 0, "--data", "poesia.txt")
    assert done.returncode == 0 and "1. " in done.stdout, done.stderr


def test_on_a_terminal_one_line_rewrites_itself_and_never_wraps(small_text, tmp_path):
    master, slave = pty.openpty()
    p = start("06_gpt.py", *SMALL, "--data", small_text, "--steps", 30, "--eval_interval", 15,
              cwd=tmp_path, stdout=slave, stderr=slave)
    os.close(slave)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    assert p.wait() == 0
    assert "evaluando: 0 %" in out.decode()
    pieces = out.decode().replace("\r\n", "\n").split("\r\033[K")
    bars = [piece for piece in pieces if re.match("[█░]{10} ", piece)]
    assert len(bars) == 30 and all(len(bar) < 60 and "\n" not in bar for bar in bars)
    assert re.fullmatch(r"█{10} 30/30 pérdida \d\.\d{3} \d+/s faltan 0:00", bars[-1])


# --- las medidas del README, si están los textos de referencia

@pytest.mark.skipif(not SHARED.is_dir(), reason="faltan los textos de ../shared")
def test_tiny_shakespeare_has_the_split_of_the_field(inside):
    g = inside("06_gpt.py", *SMALL, "--steps", 0, "--data", SHARED / "tinyshakespeare.txt")
    assert (len(g["ids"]), g["V"], len(g["train"])) == (1_115_394, 65, 1_003_854)

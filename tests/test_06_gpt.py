"""06_gpt.py: cada pieza contra la de PyTorch o una cuenta hecha aparte, y el entrenamiento de verdad."""
import itertools
import math
import os
import random
import re
import runpy
import signal
import socket
import sys
import time

import odd_texts
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import ROOT, inside, one_line_error, processes, run_script, start
from hypothesis import given, settings, strategies as st

SMALL = ("--n_embd 16 --n_layer 2 --n_head 2 --block_size 16 --batch_size 4 --ngrams 50 --length 40 "
         "--eval_interval 50").split()
LONG = ["--steps", 300, "--dropout", 0.1]
POEMS = (ROOT / "data" / "poesia.txt").read_text("utf-8")[:6_000]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Carpeta con versos.txt, y ckpt.pt y la salida (stdout.txt) de un entrenamiento sin cortes."""
    folder = tmp_path_factory.mktemp("entrenado")
    (folder / "versos.txt").write_text(POEMS, "utf-8")
    done = run_script("06_gpt.py", *SMALL, *LONG, "--data", "versos.txt", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def train(run, trained):
    """train("--steps", 3): ejecuta la lección con los versos en una carpeta vacía."""
    return lambda *flags: run("06_gpt.py", *SMALL, "--data", trained / "versos.txt", *flags)


@pytest.fixture
def build(lesson, trained):
    """build("--no-rotary"): los nombres de la lección con los versos, sin entrenar."""
    fixed = [*SMALL, "--data", trained / "versos.txt", "--steps", 0]
    return lambda *flags: lesson("06_gpt.py", *fixed, *flags)


@pytest.fixture(scope="module")
def g(trained):
    return inside("06_gpt.py", *SMALL, "--steps", 0, "--data", "versos.txt", cwd=trained)


def same(a, b):                                              # bit a bit, salvo los segundos
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def shake(model):
    """Pesos al azar y grandes, para que ninguna parte del modelo pase inadvertida."""
    torch.manual_seed(0)
    for w in model.parameters():
        nn.init.normal_(w, std=0.3)
    return model.eval()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 8))
def test_attention_is_scaled_dot_product_attention(g, B, T, d):
    q, k, v = torch.randn(3, B, 2, T, d, dtype=torch.float64)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert torch.allclose(g["attention"](q, k, v), theirs, atol=1e-12)


def test_a_block_without_what_came_later_is_torchs_transformer_layer(build):
    ours = shake(build("--no-rotary", "--no-square")["Block"]())
    theirs = nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, norm_first=True, batch_first=True)
    names = {"attention.qkv.": "self_attn.in_proj_", "attention.mix.": "self_attn.out_proj.",
             "feed_forward.0.": "linear1.", "feed_forward.2.": "linear2.", "norm_1.": "norm1.",
             "norm_2.": "norm2."}
    weights = {"self_attn.in_proj_bias": torch.zeros(48)}
    for name, w in ours.state_dict().items():
        part = re.match(r"(.+\.)(weight|bias)", name)
        weights[names[part[1]] + part[2]] = w
    theirs.load_state_dict(weights)
    x, mask = torch.randn(3, 9, 16), nn.Transformer.generate_square_subsequent_mask(9)
    assert torch.allclose(ours(x), theirs.train()(x, src_mask=mask), atol=1e-4)


def test_rotate_is_a_product_of_complex_numbers(g):
    x = torch.randn(2, 20, 8)
    turned = g["rotate"](x)
    for t, i in itertools.product(range(20), range(4)):
        angle = t / 10_000 ** (2 * i / 8)
        plane = torch.complex(x[:, t, i], x[:, t, i + 4]) * complex(math.cos(angle), math.sin(angle))
        assert torch.allclose(torch.complex(turned[:, t, i], turned[:, t, i + 4]), plane, atol=1e-4)


def test_rotary_attention_normalizes_queries_and_keys_alone(g):
    layer, x = g["RotaryAttention"](16, 2), 9 * torch.randn(3, 5, 16)
    found, plain = layer.split(x), g["MultiHeadAttention"].split(layer, x)      # tres (B, H, T, d)
    assert torch.equal(found[2], plain[2])
    for ours, raw in zip(found[:2], plain[:2]):              # de tamaño sqrt(d); en el puesto 0 no gira
        assert torch.allclose(ours.norm(dim=-1), torch.tensor(8**0.5), atol=1e-3)
        assert torch.allclose(ours[:, :, 0], F.normalize(raw[:, :, 0], dim=-1) * 8**0.5, atol=1e-3)
    assert g["SquaredReLU"]()(torch.tensor([-2.0, 3.0])).tolist() == [0.0, 9.0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 60))
def test_ngram_rows_are_those_of_a_plain_loop(g, ids, rows):
    pair, triple = g["ngram_rows"](torch.tensor([ids]), 7, rows)
    a = b = 0
    for n, c in enumerate(ids):
        assert pair[0, n] == (b * 7 + c) % rows
        assert triple[0, n] == rows + ((a * 7 + b) * 7 + c) % rows
        a, b = b, c


def test_the_embedding_adds_the_rows_and_drops_them_while_training(g):
    model, ids = shake(g["model"]), g["train"][:400].view(25, 16).long()
    pair, triple = g["ngram_rows"](ids, g["V"], 50)
    rows = model.ngrams.weight[pair] + model.ngrams.weight[triple]
    token = model.token.weight[ids]
    assert torch.allclose(model.embed(ids), token + rows)
    found = model.train().embed(ids) - token                 # (25, 16, C)
    kept = torch.isclose(found, rows, atol=1e-5).all(-1)
    assert (kept | (found == 0).all(-1)).all()
    assert abs(1 - kept.float().mean() - g["NGRAM_DROPOUT"]) < 0.1


@pytest.mark.parametrize("flags", [[], ["--no-rotary"], ["--ngrams", 0], ["--n_layer", 0],
                                   ["--no-layer_norm", "--no-residual", "--no-feed_forward"]])
def test_whatever_the_pieces_nobody_sees_the_future(build, flags):
    g = build(*flags)
    model, ids = shake(g["model"]), g["ids"][None, :16].long()
    for t in range(1, 16):
        changed = ids.clone()
        changed[0, t] = (changed[0, t] + 1) % g["V"]
        a, b = model(ids), model(changed)
        assert torch.equal(a[:, :t], b[:, :t]) and not torch.equal(a[:, t], b[:, t])
    names = set(model.state_dict())                          # y se llaman como sample.py espera
    assert ("ngrams.weight" in names) == (g["NGRAMS"] > 0) and ("position.weight" in names) != g["ROTARY"]
    assert ("norm.bias" in names) == g["LAYER_NORM"] and "blocks.0.attention.qkv.bias" not in names


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 64)])
def test_muon_steps_as_torchs_own(g, shape):
    ours, theirs, mean = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.ones(shape)), torch.zeros(shape)
    optimizer = torch.optim.Muon([theirs], lr=0.1, weight_decay=g["WEIGHT_DECAY"], ns_steps=3)
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(shape)
        g["muon_step"](ours, mean, 0.1)
        optimizer.step()
    assert (ours - theirs).norm() < 0.03 * (theirs - 1).norm()        # la suya va en bfloat16


def test_each_weight_has_one_optimizer_and_decay_is_for_matrices(g):
    matrices, vectors = g["adam"].param_groups
    assert matrices["weight_decay"] == g["WEIGHT_DECAY"] > 0 == vectors["weight_decay"]
    assert {w.dim() for w in vectors["params"]} == {1}
    every = [*matrices["params"], *vectors["params"], *g["blocks"]]
    assert sorted(map(id, every)) == sorted(map(id, g["model"].parameters()))


def test_the_text_becomes_ids_and_its_last_tenth_is_not_trained(g, lesson, tmp_path):
    ids = {char: i for i, char in enumerate(sorted(set(POEMS)))}
    assert g["ids"].tolist() == [ids[char] for char in POEMS] and g["ids"].dtype == torch.uint8
    assert (len(g["train"]), len(g["val"])) == (5_400, 600)
    many = "ñ" + "".join(map(chr, range(1_000, 1_400))) * 3  # no caben en un byte
    (tmp_path / "t.txt").write_text(many, "utf-8")
    big = lesson("06_gpt.py", *SMALL, "--data", "t.txt", "--steps", 0, "--prompt", "n\u0303")
    order = sorted(set(big["text"]))
    assert big["ids"].tolist() == [order.index(char) for char in big["text"]] and len(order) > 256
    assert big["sample"].startswith("ñ")                     # el comienzo, en NFC como el texto


def test_a_batch_is_windows_of_text(g):
    for row in g["batch"](g["train"], 7).tolist():
        assert len(row) == 17 and "".join(g["chars"][i] for i in row) in POEMS
    short = torch.arange(18)                                 # sólo caben dos ventanas de 16 y objetivo
    assert {n for step in range(20) for n in g["batch"](short, step)[:, 0].tolist()} == {0, 1}


@pytest.mark.parametrize("length", [2, 9, 17, 33, 600, 1100])
def test_a_measure_is_the_mean_over_windows_that_do_not_overlap(g, length):
    model, ids, losses = shake(g["model"]), g["ids"][:length].long(), []
    size = min(16, length - 1)
    for i in range(0, length - 1, size):                     # hasta el último carácter
        target = ids[i + 1:i + 1 + size]
        log_p = model(ids[None, i:i + len(target)])[0].log_softmax(-1)
        losses += (-log_p[torch.arange(len(target)), target]).tolist()
    assert math.isclose(g["evaluate"](ids), sum(losses) / len(losses), rel_tol=1e-5)


def test_writing_is_repeatable_cold_is_greedy_and_the_training_dice_stay(g, monkeypatch):
    model, before = shake(g["model"]), torch.get_rng_state()
    warm = g["generate"](30)
    assert warm == g["generate"](30) and len(warm) == 31
    assert torch.equal(before, torch.get_rng_state())
    monkeypatch.setitem(g["generate"].__wrapped__.__globals__, "TEMPERATURE", 1e-40)
    ids = g["encode"](g["PROMPT"]).long()
    for _ in range(30):
        ids = torch.cat([ids, model(ids[None, -16:])[0, -1].argmax()[None]])
    assert g["generate"](30) == "".join(g["chars"][i] for i in ids) != warm


def test_the_checkpoint_keeps_the_contract_and_the_output_tells_it(trained):
    c, out = torch.load(trained / "ckpt.pt"), (trained / "stdout.txt").read_text("utf-8")
    assert (c["format"], c["model"], c["data"]) == (1, "gpt", "versos.txt")
    assert c["config"] == {"block_size": 16, "n_embd": 16, "n_head": 2, "n_layer": 2, "residual": True,
                           "layer_norm": True, "feed_forward": True, "rotary": True, "square": True,
                           "ngrams": 50}
    assert c["chars"] == "".join(sorted(set(POEMS)))
    assert all(w.dtype == torch.float32 and w.device.type == "cpu" for w in c["weights"].values())
    checks = re.findall(r"paso +(\d+)   train (\S+)   val (\S+)   mejor +(\d+)   (.+)", out)
    assert [int(step) for step, *_ in checks] == [50, 100, 150, 200, 250, 300]
    assert min(float(val) for _, _, val, *_ in checks) == round(c["val_loss"], 4)
    assert len({written for *_, written in checks}) == 6     # lo que escribe va cambiando
    assert c["val_loss"] < math.log(len(c["chars"])) - 0.5   # y aprende
    assert f"resultado train={c['train_loss']:.4f} val={c['val_loss']:.4f} test=- segundos=" in out
    assert re.search(r"lo más largo que copia es '(.*)'", out)[1].replace("\\n", "\n") in POEMS[:5_400]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_cut_at_any_moment_and_resumed_it_ends_bit_for_bit_the_same(trained, train, tmp_path, sign):
    process = start("06_gpt.py", *SMALL, *LONG, "--data", trained / "versos.txt", cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("    paso    50"):
            break
    time.sleep(random.Random(int(sign)).uniform(0, 0.6))
    process.send_signal(sign)
    out, err = process.communicate()
    if sign == signal.SIGINT:
        assert process.returncode == 0 and err == "" and "\nresultado train=" in out, err
        assert "interrumpido; sigue con --resume ckpt.pt" in out or "paso   300" in out
    done = train(*LONG, "--resume", "ckpt.pt")
    assert done.returncode == 0 and "todo sigue igual" in done.stdout, done.stderr
    assert same(torch.load(tmp_path / "ckpt.pt"), torch.load(trained / "ckpt.pt"))


def test_resuming_says_what_changed_and_what_is_left_and_writes_where_it_says(trained, train, tmp_path):
    done = train(*LONG, "--resume", trained / "ckpt.pt", "--out", "b.pt")
    assert "quedan 0 pasos" in done.stdout and done.stdout.endswith("ckpt=b.pt\n"), done.stderr
    assert same(torch.load(tmp_path / "b.pt"), torch.load(trained / "ckpt.pt"))
    done = train("--steps", 310, "--batch_size", 5, "--resume", "b.pt")
    said = re.search("llegó al paso 300; (.+)", done.stdout)[1].split(", ")
    assert sorted(said) == ["BATCH_SIZE era 4", "DROPOUT era 0.1", "STEPS era 300"]
    assert torch.load(tmp_path / "ckpt.pt")["training"]["step"] == 310


@pytest.mark.parametrize("flags, fragment", [
    (["--n_embd", 32], "N_EMBD era 16"), (["--muon", 0], "MUON era 0.015"),
    (["--data", "otro.txt"], "DATA era un texto de 6000 caracteres"),
    (["--resume", "nada.pt"], "«nada.pt» no existe"), (["--resume", "otro.txt"], "no guarda")])
def test_what_cannot_be_resumed_is_one_line(trained, train, tmp_path, flags, fragment):
    (tmp_path / "otro.txt").write_text(POEMS[::-1], "utf-8")
    one_line_error(train("--resume", trained / "ckpt.pt", "--out", "b.pt", *flags), fragment)
    assert sorted(os.listdir(tmp_path)) == ["otro.txt", "stderr.txt", "stdout.txt"]


def test_when_it_recites_the_best_in_validation_is_kept(run, tmp_path):
    (tmp_path / "t.txt").write_text("".join(random.Random(0).choices("abcdefgh", k=1_500)), "utf-8")
    done = run("06_gpt.py", *SMALL, "--data", "t.txt", "--steps", 300, "--n_embd", 32)
    losses = dict(re.findall(r"paso +(\d+) .*?val (\S+)", done.stdout))
    best = min(losses, key=losses.get)
    assert torch.load(tmp_path / "ckpt.pt")["step"] == int(best) < 300


@pytest.mark.parametrize("rate", ["muon", "learning_rate"])
def test_a_rate_too_high_is_named_and_nothing_is_written(train, tmp_path, rate):
    done = train("--steps", 400, "--eval_interval", 400, "--no-layer_norm", "--grad_clip", 0, "--" + rate, 900)
    one_line_error(done, "dejó de ser finita", "baja " + rate.upper())
    assert not (tmp_path / "ckpt.pt").exists()


@pytest.mark.parametrize("flags, fragment", [
    (["--n_embd", 15], "múltiplo de N_HEAD"), (["--n_embd", 6], "su doble"), (["--prompt", "字"], "PROMPT"),
    (["--temperature", 0], "TEMPERATURE"), (["--block_size", 9_000], "menos BLOCK_SIZE")])
def test_constants_that_do_not_fit_are_one_line(train, flags, fragment):
    one_line_error(train("--steps", 0, *flags), fragment)


@pytest.mark.parametrize("text", ["espacios, el 98 %", "chino, 3000 caracteres", "árabe", "emoji", "CRLF"])
def test_an_odd_text_trains(tmp_path, text):
    assert odd_texts.fails("06_gpt.py", text, 1, tmp_path, *SMALL, "--steps", 3) is None
    assert torch.load(tmp_path / "ckpt.pt")["step"] == 3


def test_in_16_bits_it_trains_and_is_measured_in_32(build, monkeypatch):
    monkeypatch.setenv("RANK", "1")                          # la mitad de lo de torchrun no cuenta
    g = build("--steps", 20, "--dtype", "bfloat16", "--ngram_dropout", 0)
    windows = g["batch"](g["train"], 0)                      # (B, T + 1)
    x, y = windows[:, :-1].long(), windows[:, 1:].long()
    plain = F.cross_entropy(g["model"].eval()(x).flatten(0, 1), y.flatten())
    assert torch.equal(g["nll"](g["model"], windows), plain)
    short = g["nll"](g["model"].train(), windows)
    assert short != plain and abs(short - plain) < 0.03


def member(rank, port, folder, args):
    """En un proceso recién bifurcado: lo que torchrun hace con cada uno de dos."""
    os.chdir(folder)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": port,
                   "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "prueba"}
    sys.argv, sys.stdout = ["06_gpt.py", *args], open(f"{rank}.txt", "w", encoding="utf-8")
    runpy.run_path(str(ROOT / "06_gpt.py"), run_name="__main__")


def test_two_ranks_take_the_step_of_the_joint_batch(build, trained, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    args = [*SMALL, "--data", str(trained / "versos.txt"), "--steps", "6", "--ngram_dropout", "0"]
    members = [processes.Process(target=member, args=(rank, port, tmp_path, args)) for rank in (0, 1)]
    for process in members:
        process.start()
    for process in members:
        process.join(120)
    assert [process.exitcode for process in members] == [0, 0]
    first, second = ((tmp_path / f"{rank}.txt").read_text("utf-8") for rank in (0, 1))
    assert "quedan 6 pasos de 128 caracteres" in first and "resultado" in first and "train " not in second
    saved = torch.load(tmp_path / "ckpt.pt")["training"]["weights"]
    g = build("--ngram_dropout", 0)
    model = g["model"].train()
    for step in range(6):                                    # un proceso, con las ventanas de los dos
        one, two = [g["nll"](model, g["batch"](g["train"], 2 * step + rank)) for rank in (0, 1)]
        model.zero_grad()
        ((one + two) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), g["GRAD_CLIP"])
        height = min((step + 1) / 101, 6 - step)
        for group in g["adam"].param_groups:
            group["lr"] = g["LEARNING_RATE"] * height
        g["adam"].step()
        for w, mean in zip(g["blocks"], g["means"]):
            g["muon_step"](w, mean, g["MUON"] * height)
    assert all(torch.allclose(w, saved[name], atol=1e-4) for name, w in model.state_dict().items())

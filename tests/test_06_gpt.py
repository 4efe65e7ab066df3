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

SMALL = [
    "--n_embd", "16", "--n_layer", "2", "--n_head", "2", "--block_size", "16", "--batch_size", "4",
    "--ngrams", "4", "--rows", "53", "--length", "40", "--eval_interval", "50"]
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
    def with_verses(*flags):
        return run("06_gpt.py", *SMALL, "--data", trained / "versos.txt", *flags)
    return with_verses


@pytest.fixture
def build(lesson, trained):
    """build("--no-rotary"): los nombres de la lección con los versos, sin entrenar."""
    def with_verses(*flags):
        fixed = [*SMALL, "--data", trained / "versos.txt", "--steps", 0]
        return lesson("06_gpt.py", *fixed, *flags)
    return with_verses


@pytest.fixture(scope="module")
def g(trained):
    """Los nombres de la lección con los versos, sin entrenar: para las pruebas que no los cambian."""
    return inside("06_gpt.py", *SMALL, "--steps", 0, "--data", "versos.txt", cwd=trained)


def same(a, b):
    """¿Son iguales bit a bit dos puntos de control, salvo los segundos?"""
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


# Las piezas
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 8))
def test_attention_is_scaled_dot_product_attention(g, B, T, d):
    q, k, v = torch.randn(3, B, 2, T, d, dtype=torch.float64)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert torch.allclose(g["attention"](q, k, v), theirs, atol=1e-12)


def test_crossed_attention_looks_everywhere(g):
    q = torch.randn(2, 5, 4)
    k, v = torch.randn(2, 2, 7, 4)
    theirs = F.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(g["attention"](q, k, v, causal=False), theirs, atol=1e-5)


LAYER = {
    "attention.qkv.": "self_attn.in_proj_",
    "attention.mix.": "self_attn.out_proj.",
    "feed_forward.0.": "linear1.",
    "feed_forward.2.": "linear2.",
    "norm_1.": "norm1.",
    "norm_2.": "norm2.",
}


def test_a_block_without_what_came_later_is_torchs_transformer_layer(build):
    ours = shake(build("--no-rotary", "--no-qk_norm")["model"].blocks[0])
    theirs = nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, norm_first=True, batch_first=True)
    weights = {"self_attn.in_proj_bias": torch.zeros(48)}
    for name, w in ours.state_dict().items():
        layer, part = re.match(r"(.+\.)(weight|bias)", name).groups()
        weights[LAYER[layer] + part] = w
    theirs.load_state_dict(weights)
    x = torch.randn(3, 9, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    assert torch.allclose(ours(x), theirs.train()(x, src_mask=mask), atol=1e-4)


def test_rotate_is_a_product_of_complex_numbers(g):
    x = torch.randn(2, 20, 8)
    turned = g["rotate"](x)
    for t, i in itertools.product(range(20), range(4)):
        angle = t / 10_000 ** (2 * i / 8)
        before = torch.complex(x[:, t, i], x[:, t, i + 4])
        after = torch.complex(turned[:, t, i], turned[:, t, i + 4])
        assert torch.allclose(after, before * complex(math.cos(angle), math.sin(angle)), atol=1e-4)


def test_qk_norm_gives_queries_their_size(build):
    layer = build("--no-rotary")["model"].blocks[0].attention
    q, k, v = layer.split(9 * torch.randn(3, 5, 16))         # (B, H, T, d)
    assert torch.allclose(q.norm(dim=-1), torch.tensor(8**0.5), atol=1e-3)
    assert torch.allclose(k.norm(dim=-1), torch.tensor(8**0.5), atol=1e-3)
    assert v.norm(dim=-1).std() > 0.1


def test_rotation_keeps_the_size_of_queries(build):
    x = torch.randn(3, 5, 16)
    g = build("--no-qk_norm")
    layer = g["model"].blocks[0].attention
    turned, _, _ = layer.split(x)
    plain, _, _ = g["MultiHeadAttention"].split(layer, x)
    assert torch.allclose(turned.norm(dim=-1), plain.norm(dim=-1), atol=1e-4)
    assert torch.allclose(turned[:, :, 0], plain[:, :, 0])
    assert not torch.allclose(turned[:, :, 1], plain[:, :, 1])


@pytest.mark.parametrize("flag, expected", [("--no-square", [0, 3]), ("--square", [0, 9])])
def test_the_activation_squares_if_asked(build, flag, expected):
    activation = build(flag)["Activation"]()
    assert activation(torch.tensor([-2.0, 3.0])).tolist() == expected


def test_ngram_rows_by_hand(g):
    """«0 1 2 3» con tres cifras por carácter, en tablas de 97 filas."""
    pair, triple = g["ngram_rows"](torch.tensor([[0, 1, 2, 3]]), 3, 97, 1000)
    assert pair.tolist() == [[0, 1, 1002 % 97, 2003 % 97]]
    assert triple.tolist() == [[97, 98, 97 + 1002 % 97, 97 + 1002003 % 97]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=1, max_size=12), st.integers(1, 60),
       st.integers(2, 6))
def test_ngram_rows_are_those_of_a_plain_loop(g, ids, rows, ngrams):
    found = g["ngram_rows"](torch.tensor([ids]), ngrams, rows, 1000)
    padded = [0] * ngrams + ids
    for t in range(len(ids)):
        for size in range(2, ngrams + 1):
            number = 0
            for i in padded[t + 1 + ngrams - size:t + 1 + ngrams]:
                number = 1000 * number + i
            table = size - 2
            assert found[table, 0, t] == table * rows + number % rows


def test_the_embedding_adds_the_rows(g):
    model = shake(g["model"])
    ids = g["train"][:400].view(25, 16)
    rows = g["ngram_rows"](ids, 4, 53, 1000)
    expected = model.token.weight[ids] + model.ngrams.weight[rows].sum(0)
    assert torch.allclose(model.embed(ids), expected, atol=1e-5)


def test_training_drops_all_the_rows_of_a_place(g):
    model = shake(g["model"]).train()
    ids = g["train"][:4000].view(250, 16)
    found = model.embed(ids) - model.token.weight[ids]       # (250, 16, C)
    rows = model.ngrams.weight[g["ngram_rows"](ids, 4, 53, 1000)].sum(0)
    off = (found.abs() < 1e-6).all(-1)
    assert torch.allclose(found[~off], rows[~off] / 0.75, atol=1e-4)
    assert abs(off.float().mean() - 0.25) < 0.05
    model.eval()


SHAPES = [
    [],
    ["--no-rotary"],
    ["--no-qk_norm"],
    ["--square"],
    ["--ngrams", 0],
    ["--n_layer", 0],
    ["--no-layer_norm"],
    ["--no-residual"],
    ["--no-feed_forward"],
]


@pytest.mark.parametrize("flags", SHAPES, ids=str)
def test_whatever_the_pieces_nobody_sees_the_future(build, flags):
    g = build(*flags)
    model, ids = shake(g["model"]), g["ids"][None, :16]
    for t in range(1, 16):
        changed = ids.clone()
        changed[0, t] = (changed[0, t] + 1) % g["V"]
        a, b = model(ids), model(changed)
        assert torch.equal(a[:, :t], b[:, :t])
        assert not torch.equal(a[:, t], b[:, t])


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 64)])
def test_muon_steps_as_torchs_own(g, shape):
    ours = nn.Parameter(torch.ones(shape))
    theirs = nn.Parameter(torch.ones(shape))
    mean = torch.zeros(shape)
    optimizer = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2, ns_steps=3)
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(shape)
        g["muon_step"](ours, mean, 0.1)
        optimizer.step()
    assert (ours - theirs).norm() < 0.03 * (theirs - 1).norm()        # la suya va en bfloat16


def test_orthogonal_keeps_directions(g):
    """Las direcciones de [[2, 1], [1, 2]] son (1, 1) y (1, -1); los estirones se acercan."""
    level = g["orthogonal"](torch.tensor([[2.0, 1], [1, 2]]))
    long = level @ torch.tensor([1.0, 1])
    short = level @ torch.tensor([1.0, -1])
    assert torch.allclose(long[0], long[1], atol=1e-5)
    assert torch.allclose(short[0], -short[1], atol=1e-5)
    assert 0.5 < long[0] < 1.3
    assert 0.5 < short[0] < 1.3


def test_each_weight_has_one_optimizer(g):
    every = [*g["with_adam"], *g["with_muon"]]
    assert sorted(map(id, every)) == sorted(map(id, g["model"].parameters()))


def test_muon_takes_the_matrices_of_the_blocks(g):
    names = {id(w): name for name, w in g["model"].named_parameters()}
    taken = {names[id(w)] for w in g["with_muon"]}
    parts = ("attention.qkv", "attention.mix", "feed_forward.0", "feed_forward.2")
    assert taken == {f"blocks.{i}.{part}.weight" for i in (0, 1) for part in parts}


def test_without_muon_all_is_of_adamw(build):
    g = build("--muon", 0)
    assert g["with_muon"] == []
    assert len(g["with_adam"]) == len(list(g["model"].parameters()))


# El texto y las ventanas
def test_the_text_becomes_ids(g):
    ids = {char: i for i, char in enumerate(sorted(set(POEMS)))}
    assert g["ids"].tolist() == [ids[char] for char in POEMS]


def test_the_last_tenth_is_not_trained(g):
    assert (len(g["train"]), len(g["val"])) == (5_400, 600)


def test_an_alphabet_of_hundreds_is_encoded(lesson, tmp_path):
    (tmp_path / "t.txt").write_text("".join(map(chr, range(1_000, 1_400))) * 3, "utf-8")
    g = lesson("06_gpt.py", *SMALL, "--data", "t.txt", "--steps", 0)
    order = sorted(set(g["text"]))
    assert g["ids"].tolist() == [order.index(char) for char in g["text"]]


def test_a_prompt_is_nfc(build):
    assert build("--prompt", "n\u0303")["written"].startswith("ñ")


@pytest.mark.parametrize("text, first", [("ab\tc\n" * 200, "\n"), ("\tba" * 300, "\t")])
def test_without_prompt_it_begins_at_a_line(lesson, tmp_path, text, first):
    (tmp_path / "t.txt").write_text(text, "utf-8")
    g = lesson("06_gpt.py", *SMALL, "--data", "t.txt", "--steps", 0)
    assert g["PROMPT"] == first


def places(g, turns):
    """Dónde empieza en el texto cada ventana de los lotes `turns`."""
    text = "".join(g["chars"][i] for i in g["train"].tolist())
    rows = torch.cat([g["batch"](turn) for turn in turns]).tolist()
    return [text.index("".join(g["chars"][i] for i in row)) for row in rows]


def test_in_an_epoch_no_window_repeats(g):
    """5400 caracteres, 336 ventanas de 16, 84 lotes de 4: seguidas, sin solaparse."""
    found = sorted(places(g, range(84)))
    assert len(set(found)) == 336
    assert {b - a for a, b in zip(found, found[1:])} == {16}


def test_each_epoch_has_its_own_windows(g):
    first, second = places(g, range(84)), places(g, range(84, 168))
    assert first != second
    assert sorted(first) != sorted(second)


def test_a_batch_depends_on_its_number_alone(g):
    third = g["batch"](3)
    g["batch"](90)
    torch.manual_seed(5)
    assert torch.equal(g["batch"](3), third)


def test_a_short_text_repeats_its_windows(lesson, tmp_path):
    (tmp_path / "t.txt").write_text("abcdefghijklmnopqrstu", "utf-8")     # 18 para entrenar
    g = lesson("06_gpt.py", *SMALL, "--data", "t.txt", "--steps", 0)
    first = {row[0] for turn in range(20) for row in g["batch"](turn).tolist()}
    assert first == {0, 1}


# Medir y escribir
@pytest.mark.parametrize("length", [2, 9, 17, 33, 600, 1100])
def test_a_measure_is_the_mean_over_windows_that_do_not_overlap(g, length):
    model, ids = shake(g["model"]), g["ids"][:length]
    size = min(16, length - 1)
    losses = []
    for i in range(0, length - 1, size):                     # hasta el último carácter
        target = ids[i + 1:i + 1 + size]
        log_p = model(ids[None, i:i + len(target)])[0].log_softmax(-1)
        losses += (-log_p[torch.arange(len(target)), target]).tolist()
    assert len(losses) == length - 1
    assert math.isclose(g["evaluate"](ids), sum(losses) / len(losses), rel_tol=1e-5)


def test_writing_is_repeatable(g):
    shake(g["model"])
    written = g["generate"](30)
    assert len(written) == 31
    assert g["generate"](30) == written


def test_writing_leaves_the_training_dice(g):
    before = torch.get_rng_state()
    g["generate"](5)
    assert torch.equal(before, torch.get_rng_state())


def test_cold_writing_takes_the_most_likely(build):
    g = build("--temperature", 1e-40)
    model = shake(g["model"])
    ids = g["encode"]("\n")
    for _ in range(30):
        likely = model(ids[None, -16:])[0, -1].argmax()
        ids = torch.cat([ids, likely[None]])
    assert g["generate"](30) == "".join(g["chars"][i] for i in ids)


def test_counting_is_the_interpolated_table_of_a_plain_loop(g):
    """Con contextos de 0 a 2, contando con diccionarios, y λ elegida entre las mismas cincuenta."""
    ids, size = g["ids"][:900].tolist(), 700
    rows = torch.tensor(ids).unfold(0, 3, 1)
    found = g["counting"](rows[:, :-1], rows[:, -1], size)
    p = [1 / g["V"]] * (len(rows) - size)
    for k in range(3):
        counts = {}
        for i in range(size):
            context = tuple(ids[i + 2 - k:i + 2])
            counts.setdefault(context, []).append(ids[i + 2])
        q = []
        for i, shorter in zip(range(size, len(rows)), p):
            after = counts.get(tuple(ids[i + 2 - k:i + 2]))
            q.append(after.count(ids[i + 2]) / len(after) if after else shorter)
        tried = {}
        for share in range(50):
            mixed = [0.02 * share * a + (1 - 0.02 * share) * b for a, b in zip(q, p)]
            tried[sum(map(math.log, mixed))] = mixed
        p = tried[max(tried)]
        assert found[k].tolist() == pytest.approx([-math.log(x) for x in p], abs=1e-6)


# Entrenar
def test_the_checkpoint_keeps_the_contract(trained):
    c = torch.load(trained / "ckpt.pt")
    assert (c["format"], c["model"], c["data"]) == (1, "gpt", "versos.txt")
    assert c["chars"] == "".join(sorted(set(POEMS)))
    assert c["config"] == {
        "block_size": 16, "n_embd": 16, "n_head": 2, "n_layer": 2, "residual": True,
        "layer_norm": True, "feed_forward": True, "rotary": True, "qk_norm": True,
        "square": False, "ngrams": 4, "rows": 53, "base": 1000}


def test_the_weights_on_disk_are_float32_on_the_cpu(trained):
    for w in torch.load(trained / "ckpt.pt")["weights"].values():
        assert w.dtype == torch.float32
        assert w.device.type == "cpu"


@pytest.fixture(scope="module")
def checks(trained):
    """Las líneas de cada evaluación: (paso, train, val, mejor, lo que escribe)."""
    out = (trained / "stdout.txt").read_text("utf-8")
    return re.findall(r"paso +(\d+)   train (\S+)   val (\S+)   mejor +(\d+)   (.+)", out)


def test_there_is_an_evaluation_each_interval(checks):
    assert [step for step, *_ in checks] == ["50", "100", "150", "200", "250", "300"]


def test_what_it_writes_changes_as_it_learns(checks):
    assert len({written for *_, written in checks}) == 6


def test_the_best_in_validation_is_kept(trained, checks):
    kept = torch.load(trained / "ckpt.pt")["val_loss"]
    assert min(float(val) for _, _, val, *_ in checks) == round(kept, 4)


def test_training_learns(trained):
    assert torch.load(trained / "ckpt.pt")["val_loss"] < math.log(60) - 0.5


def test_the_last_line_tells_the_losses_kept(trained):
    c, out = torch.load(trained / "ckpt.pt"), (trained / "stdout.txt").read_text("utf-8")
    assert f"resultado train={c['train_loss']:.4f} val={c['val_loss']:.4f} test=- segundos=" in out


def test_what_it_says_it_copies_is_in_the_text(trained):
    out = (trained / "stdout.txt").read_text("utf-8")
    copied = re.search(r"lo más largo que copia es '(.*)'", out)[1].replace("\\n", "\n")
    assert copied in POEMS[:5_400]


def test_when_validation_gets_worse_the_best_is_kept(run, tmp_path):
    noise = "".join(random.Random(0).choices("abcdefgh", k=1_500))
    (tmp_path / "t.txt").write_text(noise, "utf-8")
    done = run("06_gpt.py", *SMALL, "--data", "t.txt", "--steps", 300, "--n_embd", 32)
    losses = dict(re.findall(r"paso +(\d+) .*?val (\S+)", done.stdout))
    best = min(losses, key=losses.get)
    assert torch.load(tmp_path / "ckpt.pt")["step"] == int(best) < 300


@pytest.mark.parametrize("text", ["espacios, el 98 %", "chino, 3000 caracteres", "árabe", "emoji", "CRLF"])
def test_an_odd_text_trains(tmp_path, text):
    assert odd_texts.fails("06_gpt.py", text, 1, tmp_path, *SMALL, "--steps", 3) is None
    assert torch.load(tmp_path / "ckpt.pt")["step"] == 3


def test_in_16_bits_it_trains(build):
    g = build("--dtype", "bfloat16", "--ngram_dropout", 0)
    windows = g["batch"](0)
    exact = g["nll"](g["model"].eval(), windows)
    short = g["nll"](g["model"].train(), windows)
    assert short != exact
    assert abs(short - exact) < 0.03


def test_in_16_bits_it_is_measured_in_32(build):
    g = build("--dtype", "bfloat16")
    windows = g["batch"](0)
    logits = g["model"].eval()(windows[:, :-1])
    plain = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    assert torch.equal(g["nll"](g["model"], windows), plain)


# Seguir
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_cut_at_any_moment_it_ends_bit_for_bit_the_same(trained, train, tmp_path, sign):
    process = start("06_gpt.py", *SMALL, *LONG, "--data", trained / "versos.txt", cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("    paso    50"):
            break
    time.sleep(random.Random(int(sign)).uniform(0, 0.6))
    process.send_signal(sign)
    process.communicate()
    done = train(*LONG, "--resume", "ckpt.pt")
    assert done.returncode == 0, done.stderr
    assert "todo sigue igual" in done.stdout
    assert same(torch.load(tmp_path / "ckpt.pt"), torch.load(trained / "ckpt.pt"))


def test_ctrl_c_ends_with_a_sample(trained, tmp_path):
    flags = ["--steps", 10**6, "--data", trained / "versos.txt"]
    process = start("06_gpt.py", *SMALL, *flags, cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("    paso    50"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "interrumpido; sigue con --resume ckpt.pt" in out
    assert "\nresultado train=" in out


def test_resuming_what_ended_writes_it_where_it_says(trained, train, tmp_path):
    done = train(*LONG, "--resume", trained / "ckpt.pt", "--out", "b.pt")
    assert "quedan 0 pasos" in done.stdout
    assert same(torch.load(tmp_path / "b.pt"), torch.load(trained / "ckpt.pt"))


def test_resuming_says_what_changed(trained, train):
    flags = ["--steps", 310, "--batch_size", 5, "--resume", trained / "ckpt.pt"]
    said = re.search("llegó al paso 300; (.+)", train(*flags).stdout)[1].split(", ")
    assert sorted(said) == ["BATCH_SIZE era 4", "DROPOUT era 0.1", "STEPS era 300"]


def test_resuming_says_that_the_threads_changed(trained, train, tmp_path):
    checkpoint = torch.load(trained / "ckpt.pt")
    checkpoint["training"]["recipe"]["HILOS"] = 64
    torch.save(checkpoint, tmp_path / "a.pt")
    assert "HILOS era 64" in train(*LONG, "--resume", "a.pt").stdout


def test_when_resuming_the_shape_is_the_checkpoints(trained, train, tmp_path):
    done = train("--n_embd", 32, "--steps", 301, "--resume", trained / "ckpt.pt")
    assert done.returncode == 0, done.stderr
    assert torch.load(tmp_path / "ckpt.pt")["config"]["n_embd"] == 16


@pytest.mark.parametrize("flags, fragment", [
    (["--muon", 0], "sin Muon"),
    (["--data", "otro.txt"], "aprendió de otro texto"),
    (["--resume", "nada.pt"], "«nada.pt» no existe"),
    (["--resume", "otro.txt"], "no es un GPT"),
    (["--base", "nada.pt"], "elige uno de los dos"),
])
def test_what_cannot_be_resumed_is_one_line(trained, train, tmp_path, flags, fragment):
    (tmp_path / "otro.txt").write_text(POEMS[::-1], "utf-8")
    one_line_error(train("--resume", trained / "ckpt.pt", "--out", "b.pt", *flags), fragment)
    assert sorted(os.listdir(tmp_path)) == ["otro.txt", "stderr.txt", "stdout.txt"]


def test_a_model_without_its_training_is_told_to_be_a_base(train):
    one_line_error(train("--resume", ROOT / "models" / "poesia.pt"), "prueba --base")


# Partir de un modelo
NEW = "Hoy llueve; mañana, niebla. ΩΩ\n" * 60


@pytest.fixture
def based(trained, run, tmp_path):
    """based("--steps", 0): parte de ckpt.pt con un texto que trae caracteres nuevos."""
    (tmp_path / "nuevo.txt").write_text(NEW, "utf-8")

    def from_base(*flags):
        fixed = ["--data", "nuevo.txt", "--base", trained / "ckpt.pt", "--length", 20]
        return run("06_gpt.py", *fixed, "--batch_size", 4, "--eval_interval", 5, *flags)
    return from_base


def test_a_base_keeps_the_ids_of_its_characters(based, trained, tmp_path):
    done = based("--steps", 5)
    assert done.returncode == 0, done.stderr
    old, new = torch.load(trained / "ckpt.pt"), torch.load(tmp_path / "ckpt.pt")
    added = "".join(sorted(set(NEW) - set(old["chars"])))
    assert "Ω" in added
    assert new["chars"] == old["chars"] + added
    assert len(new["weights"]["token.weight"]) == len(new["chars"])


def test_a_base_gives_its_shape(based, trained, tmp_path):
    done = based("--steps", 5, "--n_embd", 64)
    assert "la forma es la de" in done.stdout
    assert torch.load(tmp_path / "ckpt.pt")["config"] == torch.load(trained / "ckpt.pt")["config"]


def test_a_base_begins_from_its_weights(lesson, trained):
    g = lesson("06_gpt.py", "--data", trained / "versos.txt", "--base", trained / "ckpt.pt",
               "--steps", 0, "--length", 5)
    kept = torch.load(trained / "ckpt.pt")
    assert g["newborn"] == pytest.approx(kept["val_loss"], abs=1e-5)
    assert same(dict(g["model"].state_dict()), kept["weights"])


@pytest.mark.parametrize("content", [b"", b"no es un modelo", None])
def test_what_cannot_be_a_base_is_one_line(train, tmp_path, content):
    if content is not None:
        (tmp_path / "b.pt").write_bytes(content)
    one_line_error(train("--base", "b.pt"), "«b.pt» no existe, o no es un GPT")


# Las malas entradas
@pytest.mark.parametrize("rate", ["muon", "learning_rate"])
def test_a_rate_too_high_is_one_line(train, tmp_path, rate):
    done = train("--steps", 400, "--eval_interval", 400, "--no-layer_norm", "--no-qk_norm",
                 "--grad_clip", 0, "--" + rate, 900)
    one_line_error(done, "dejó de ser finita", "baja MUON o LEARNING_RATE")
    assert not (tmp_path / "ckpt.pt").exists()


@pytest.mark.parametrize("flags, fragment", [
    (["--n_embd", 15], "múltiplo de N_HEAD"),
    (["--n_embd", 6], "su doble"),
    (["--prompt", "字"], "PROMPT"),
    (["--temperature", 0], "TEMPERATURE"),
    (["--block_size", 9_000], "menos BLOCK_SIZE"),
    (["--dropout", 1.5], "DROPOUT"),
    (["--ngram_dropout", 1], "NGRAM_DROPOUT"),
    (["--dtype", "float16"], "DTYPE, bfloat16 o float32"),
    (["--device", "mps"], "aquí no hay «mps»"),
    (["--device", "gpu"], "aquí no hay «gpu»"),
])
def test_constants_that_do_not_fit_are_one_line(train, flags, fragment):
    one_line_error(train("--steps", 0, *flags), fragment)


# Varios procesos
def member(rank, port, folder, args):
    """En un proceso recién bifurcado: lo que torchrun hace con cada uno de dos."""
    os.chdir(folder)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": port,
        "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "prueba"}
    sys.argv, sys.stdout = ["06_gpt.py", *args], open(f"{rank}.txt", "w", encoding="utf-8")
    runpy.run_path(str(ROOT / "06_gpt.py"), run_name="__main__")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


@pytest.fixture(scope="module")
def joint(trained, tmp_path_factory):
    """Carpeta de un entrenamiento de seis pasos en dos procesos: 0.txt, 1.txt y ckpt.pt."""
    folder, port = tmp_path_factory.mktemp("dos"), free_port()
    args = [*SMALL, "--data", str(trained / "versos.txt"), "--steps", "6", "--ngram_dropout", "0"]
    members = [processes.Process(target=member, args=(rank, port, folder, args)) for rank in (0, 1)]
    for process in members:
        process.start()
    for process in members:
        process.join(120)
    assert [process.exitcode for process in members] == [0, 0]
    return folder


def test_the_first_rank_alone_speaks_of_the_training(joint):
    first, second = ((joint / f"{rank}.txt").read_text("utf-8") for rank in (0, 1))
    assert "quedan 6 pasos de 128 caracteres" in first
    assert "resultado" in first
    assert "train " not in second


def test_two_ranks_take_the_step_of_the_joint_batch(joint, build):
    g = build("--ngram_dropout", 0)
    model = g["model"].train()
    for step in range(1, 7):                                 # un proceso, con las ventanas de los dos
        one = g["nll"](model, g["batch"](2 * step - 2))
        two = g["nll"](model, g["batch"](2 * step - 1))
        model.zero_grad()
        ((one + two) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), g["GRAD_CLIP"])
        height = min(step / 101, 7 - step)
        g["optimizer"].param_groups[0]["lr"] = g["LEARNING_RATE"] * height
        g["optimizer"].step()
        for w, mean in zip(g["with_muon"], g["means"]):
            g["muon_step"](w, mean, g["MUON"] * height)
    saved = torch.load(joint / "ckpt.pt")["training"]["weights"]
    for name, w in model.state_dict().items():
        assert torch.allclose(w, saved[name], atol=1e-4), name


def test_a_stray_rank_without_torchrun_does_not_count(build, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    g = build()
    assert (g["rank"], g["world"]) == (0, 1)

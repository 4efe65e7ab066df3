"""06_gpt.py: cada pieza contra PyTorch o una cuenta hecha aparte, y el entrenamiento de verdad."""
import math
import os
import re
import runpy
import signal
import socket
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import ROOT, inside, one_line_error, processes, run_script, sampled, start
from hypothesis import given, settings, strategies as st

LESSON = "06_gpt.py"
SMALL = [
    "--n_embd", "16",
    "--n_layer", "2",
    "--n_head", "2",
    "--block_size", "16",
    "--batch_size", "4",
    "--ngrams", "4",
    "--rows", "53",
    "--length", "40",
    "--eval_interval", "50",
]
LONG = ["--steps", 300, "--dropout", 0.1]
POEMS = (ROOT / "data" / "poesia.txt").read_text("utf-8")[:6_000]
CHARS = "".join(sorted(set(POEMS)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Carpeta con versos.txt, y ckpt.pt y la salida (stdout.txt) de un entrenamiento sin cortes."""
    folder = tmp_path_factory.mktemp("entrenado")
    (folder / "versos.txt").write_text(POEMS, "utf-8")
    done = run_script(LESSON, *SMALL, *LONG, "--data", "versos.txt", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def kept(trained):
    """El punto de control de ese entrenamiento."""
    return torch.load(trained / "ckpt.pt")


@pytest.fixture
def said(trained):
    """Lo que imprimió."""
    return (trained / "stdout.txt").read_text("utf-8")


@pytest.fixture
def train(run, trained):
    """train("--steps", 3): ejecuta la lección con los versos en una carpeta vacía."""
    def with_verses(*flags):
        return run(LESSON, *SMALL, "--data", trained / "versos.txt", *flags)
    return with_verses


def pieces(folder, *flags):
    """Los nombres de la lección con un texto de `folder`, sin entrenar."""
    names = inside(LESSON, *SMALL, "--steps", 0, "--data", *flags, cwd=folder)
    return SimpleNamespace(**names)


@pytest.fixture
def build(trained):
    """build("--no-rotary"): los nombres de la lección con los versos, sin entrenar."""
    def with_verses(*flags):
        return pieces(trained, "versos.txt", *flags)
    return with_verses


@pytest.fixture(scope="module")
def g(trained):
    """Los mismos, para las pruebas que no los cambian."""
    return pieces(trained, "versos.txt")


def read(folder, text):
    """Los nombres de la lección con un texto `text`, sin entrenar."""
    (folder / "t.txt").write_text(text, "utf-8")
    return pieces(folder, "t.txt")


def close(a, b, atol=1e-4):
    """¿Son iguales dos tensores, salvo redondeos?"""
    return torch.allclose(a, b, atol=atol)


def same(a, b):
    """¿Son iguales bit a bit dos puntos de control, salvo los segundos?"""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        names = a.keys() - {"seconds"}
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in names)
    return a == b


def shake(model):
    """Pesos al azar y grandes, para que ninguna parte del modelo pase inadvertida."""
    torch.manual_seed(0)
    for w in model.parameters():
        nn.init.normal_(w, std=0.3)
    return model.eval()


# Las piezas
LAYER = {
    "attention.qkv.": "self_attn.in_proj_",
    "attention.mix.": "self_attn.out_proj.",
    "feed_forward.0.": "linear1.",
    "feed_forward.2.": "linear2.",
    "norm_1.": "norm1.",
    "norm_2.": "norm2.",
}


def test_a_block_without_what_came_later_is_torchs_transformer_layer(build):
    ours = shake(build("--no-rotary", "--no-qk_norm").model.blocks[0])
    theirs = nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, norm_first=True, batch_first=True)
    weights = {"self_attn.in_proj_bias": torch.zeros(48)}
    for name, w in ours.state_dict().items():
        layer, part = re.match(r"(.+\.)(weight|bias)", name).groups()
        weights[LAYER[layer] + part] = w
    theirs.load_state_dict(weights)
    theirs.train()
    x = torch.randn(3, 9, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    assert close(ours(x), theirs(x, src_mask=mask))


def test_rotate_is_a_product_of_complex_numbers(g):
    """La pareja i del puesto t, por e^(i · ángulo)."""
    x = torch.randn(2, 20, 8)
    turned = g.rotate(x)
    for i in range(4):
        speed = 10_000 ** (-i / 4)
        angle = speed * torch.arange(20)
        turn = torch.polar(torch.ones(20), angle)
        before = torch.complex(x[..., i], x[..., i + 4])
        after = torch.complex(turned[..., i], turned[..., i + 4])
        assert close(after, before * turn)


def test_qk_norm_gives_queries_their_size(build):
    layer = build("--no-rotary").model.blocks[0].attention
    x = 9 * torch.randn(3, 5, 16)
    q, k, v = layer.split(x)                                 # (B, H, T, d)
    size = torch.full((3, 2, 5), 8**0.5)
    assert close(q.norm(dim=-1), size, 1e-3)
    assert close(k.norm(dim=-1), size, 1e-3)
    assert not close(v.norm(dim=-1), size, 1e-3)


@settings(max_examples=50, deadline=None)
@given(ids=st.lists(st.integers(0, 99), min_size=1, max_size=12), rows=st.integers(1, 60))
def test_ngram_rows_are_those_of_a_plain_loop(g, ids, rows):
    found = g.ngram_rows(torch.tensor([ids]), 6, rows)
    for t in range(len(ids)):
        for table in range(5):                               # de dos caracteres a seis
            number = 0
            for i in ids[max(0, t - 1 - table):t + 1]:
                number = 1000 * number + i
            assert found[table, 0, t] == table * rows + number % rows


@pytest.mark.parametrize("flags", [
    [],
    ["--no-rotary"],
    ["--no-qk_norm"],
    ["--ngrams", 0],
    ["--n_layer", 0],
    ["--no-layer_norm"],
    ["--no-residual"],
    ["--no-feed_forward"],
], ids=str)
def test_whatever_the_pieces_nobody_sees_the_future(build, flags):
    g = build(*flags)
    model = shake(g.model)
    ids = g.ids[None, :16]
    logits = model(ids)
    for t in range(1, 16):
        changed = ids.clone()
        changed[0, t] = (ids[0, t] + 1) % g.V
        after = model(changed)
        assert torch.equal(after[:, :t], logits[:, :t])
        assert not torch.equal(after[:, t], logits[:, t])


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 64)])
def test_muon_steps_as_torchs_own(g, shape):
    ours = nn.Parameter(torch.ones(shape))
    theirs = nn.Parameter(torch.ones(shape))
    mean = torch.zeros(shape)
    optimizer = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2, ns_steps=3, nesterov=False)
    for _ in range(4):
        theirs.grad = torch.randn(shape)
        mean.lerp_(theirs.grad, 0.05)
        g.muon_step(ours, mean, 0.1)
        optimizer.step()
    moved = torch.dist(theirs, torch.ones(shape))
    assert torch.dist(ours, theirs) < 0.03 * moved           # la suya va en bfloat16


def test_rows_of_one_number_step_as_torchs_rmsprop(g):
    ours = nn.Parameter(torch.ones(5, 1))
    theirs = nn.Parameter(torch.ones(5, 1))
    usual = torch.zeros(5, 1)
    optimizer = torch.optim.RMSprop([theirs], lr=0.1, alpha=0.99)
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(5, 1)
        g.row_step(ours, usual, 0.1)
        optimizer.step()
    assert close(ours, theirs)


def test_tables_are_born_silent(build):
    assert build().model.ngrams.weight.count_nonzero() == 0


def test_a_row_is_measured_by_the_mean_of_its_squares(g):
    """Gradiente (1, 7): la media de los cuadrados es 25; su centésima, 0.25, y la raíz, 0.5."""
    table = nn.Parameter(torch.zeros(1, 2))
    table.grad = torch.tensor([[1.0, 7.0]])
    g.row_step(table, torch.zeros(1, 1), 0.1)
    assert close(table, torch.tensor([[-0.2, -1.4]]))


def test_used_rows_step_as_if_all_were_looked_at(g):
    """Dos pasos con el gradiente de las filas 1 y 3, y los mismos con el de todas."""
    thin = nn.Embedding(6, 4, sparse=True)
    whole = nn.Embedding(6, 4)
    whole.load_state_dict(thin.state_dict())
    before = thin.weight.detach().clone()
    for table, usual in (thin, torch.zeros(6, 1)), (whole, torch.zeros(6, 1)):
        for _ in range(2):
            table(torch.tensor([1, 3, 1])).square().sum().backward()
            g.row_step(table.weight, usual, 0.1)
    assert close(thin.weight, whole.weight)
    moved = (thin.weight - before).norm(dim=1) > 0
    assert moved.tolist() == [False, True, False, True, False, False]


@pytest.fixture
def decayed(run, tmp_path):
    """decayed(0.2): las filas que 40 pasos no usan, que empezaron en 1, y su número."""
    def after(weight_decay):
        (tmp_path / "ab.txt").write_text("abba" * 200, "utf-8")
        flags = [*SMALL, "--data", "ab.txt", "--weight_decay", weight_decay]
        assert run(LESSON, *flags, "--steps", 1).returncode == 0
        base = torch.load(tmp_path / "ckpt.pt")
        base["weights"]["ngrams.weight"].fill_(1)
        torch.save(base, tmp_path / "base.pt")
        assert run(LESSON, *flags, "--steps", 40, "--base", "base.pt").returncode == 0
        training = torch.load(tmp_path / "ckpt.pt")["training"]
        unused = (training["memory"][-1][:, 0] == 0).nonzero()[:, 0]
        return unused.tolist(), training["weights"]["ngrams.weight"][unused]
    return after


def test_a_row_decays_once_in_forty_steps(decayed):
    """La última de cada cuarenta, en el primer paso; la primera, en el último."""
    numbers, rows = decayed(0.2)
    assert len(numbers) > 100
    for number, row in zip(numbers, rows):
        step = 40 - number % 40
        height = step / 101                                  # la tasa sube en cien pasos
        kept = 1 - 40 * 8 * (5e-3 * height) * 0.2            # 40 por los turnos; 8, por ser tablas
        assert close(row, torch.full((16,), kept), 1e-6)


def test_a_decay_too_strong_does_not_turn_a_row_over(decayed):
    _, rows = decayed(50)
    assert rows.min() == 0


def test_on_a_cpu_the_gradient_of_the_tables_has_the_used_rows(g):
    model = g.model.train()
    windows = g.batch(0)
    model.zero_grad()
    g.nll(model, windows).backward()
    used = g.model.ngrams.weight.grad.coalesce().indices()[0]
    assert torch.equal(used, g.ngram_rows(windows[:, :-1], 4, 53).unique())


def test_each_weight_has_one_optimizer(g, kept):
    """AdamW no recuerda nada de los que llevan su media en `memory`."""
    adam = kept["training"]["optimizer"].keys()
    for i, w in enumerate(g.model.parameters()):
        assert (i in adam) != (w in g.memory)


def test_muon_takes_the_matrices_of_the_blocks(g):
    taken = set(map(id, g.with_muon))
    names = {name for name, w in g.model.named_parameters() if id(w) in taken}
    parts = ["attention.qkv", "attention.mix", "feed_forward.0", "feed_forward.2"]
    assert names == {f"blocks.{i}.{part}.weight" for i in (0, 1) for part in parts}


def test_without_muon_its_matrices_are_of_adamw(train, tmp_path):
    train("--muon", 0, "--ngrams", 0, "--steps", 1)
    kept = torch.load(tmp_path / "ckpt.pt")
    assert len(kept["training"]["optimizer"]) == len(kept["weights"])


# El texto y las ventanas
def test_the_text_becomes_ids(g):
    assert g.ids.tolist() == [CHARS.index(char) for char in POEMS]


def test_the_last_tenth_is_not_trained(g):
    assert len(g.train) == 5_400
    assert len(g.val) == 600


def test_an_alphabet_of_hundreds_is_encoded(tmp_path):
    order = "".join(map(chr, range(1_000, 1_400)))
    g = read(tmp_path, 3 * order)
    assert g.ids.tolist() == 3 * list(range(400))


def test_a_prompt_is_nfc(build):
    written = build("--prompt", "n\u0303").written
    assert written.startswith("ñ")


@pytest.mark.parametrize("text, first", [
    ("ab\tc\n" * 200, "\n"),
    ("\tba" * 300, "\t"),
], ids=["si las hay", "si no, por el primer carácter"])
def test_without_prompt_it_begins_at_a_line(tmp_path, text, first):
    assert read(tmp_path, text).PROMPT == first


def places(g, turns):
    """Dónde empieza en el texto cada ventana de los lotes `turns`."""
    found = []
    for turn in turns:
        for row in g.batch(turn).tolist():
            window = "".join(g.chars[i] for i in row)
            found.append(POEMS.index(window))
    return found


def test_in_an_epoch_windows_cover_the_text(g):
    """336 ventanas de 16, corridas de 0 a 4, en un redondel de 5384 puestos: sobran 8."""
    found = sorted(places(g, range(84)))
    gaps = [later - earlier for earlier, later in zip(found, [*found[1:], found[0] + 5384])]
    assert len(gaps) == 336
    assert min(gaps) >= 12
    assert max(gaps) <= 28


def test_in_an_epoch_windows_begin_at_every_place_of_a_line(tmp_path):
    """Las líneas miden 10 y las ventanas 16: sin correrlas, empezarían en 5 de los 10 puestos."""
    g = read(tmp_path, "012345678\n" * 500)
    begin = {"".join(g.chars[i] for i in g.batch(turn)[0])[0] for turn in range(60)}
    assert begin == set("012345678\n")


def test_windows_come_shuffled(g):
    """En orden, cada una empezaría de 12 a 20 puestos tras la anterior."""
    found = places(g, range(84))
    in_order = [12 <= later - earlier <= 20 for earlier, later in zip(found, found[1:])]
    assert sum(in_order) < 20


def test_over_the_epochs_windows_begin_anywhere(g):
    """En una vuelta, en 10 de cada 16 puestos a lo sumo; en 40, en todos."""
    assert {place % 16 for place in places(g, range(0, 40 * 84, 21))} == set(range(16))


def test_each_epoch_has_its_own_windows(g):
    first = places(g, range(84))
    second = places(g, range(84, 168))
    assert sorted(first) != sorted(second)


def test_a_batch_depends_on_its_number_alone(g):
    third = g.batch(3)
    g.batch(90)
    torch.manual_seed(5)
    assert torch.equal(g.batch(3), third)


def test_a_short_text_repeats_its_windows(tmp_path):
    g = read(tmp_path, "abcdefghijklmnopqrstu")              # 18 para entrenar
    first = {row[0] for turn in range(20) for row in g.batch(turn).tolist()}
    assert first == {0, 1}


# Medir y escribir
@pytest.mark.parametrize("length", [2, 9, 17, 33, 600, 1100])
def test_a_measure_is_the_mean_over_windows_that_do_not_overlap(g, length):
    model = shake(g.model)
    ids = g.ids[:length]
    size = min(16, length - 1)
    losses = []
    for i in range(0, length - 1, size):                     # hasta el último carácter
        window = ids[i:i + size + 1]
        logits = model(window[None, :-1])[0]
        losses += F.cross_entropy(logits, window[1:], reduction="none").tolist()
    assert len(losses) == length - 1
    mean = sum(losses) / len(losses)
    assert g.evaluate(ids) == pytest.approx(mean, rel=1e-5)


def test_of_a_huge_text_one_window_in_two_is_measured(g):
    """En las ventanas pares sólo hay que predecir el id 0; en las impares, el 1."""
    ids = (torch.arange(2_000_001) - 1) // g.BLOCK_SIZE % 2
    even = ids[:g.BLOCK_SIZE + 1]
    with torch.no_grad():
        loss = g.nll(g.model.eval(), even[None]).item()
    assert g.evaluate(ids) == pytest.approx(loss, rel=1e-3)


def test_writing_is_repeatable(g):
    shake(g.model)
    written = g.generate(30)
    assert len(written) == 31
    assert g.generate(30) == written


def test_writing_leaves_the_training_dice(g):
    before = torch.get_rng_state()
    g.generate(5)
    assert torch.equal(before, torch.get_rng_state())


def test_cold_writing_takes_the_most_likely(build):
    g = build("--temperature", 1e-40)
    model = shake(g.model)
    ids = g.encode("\n")
    for _ in range(30):
        logits = model(ids[None, -16:])[0, -1]
        likely = logits.argmax()
        ids = torch.cat([ids, likely[None]])
    assert g.generate(30) == "".join(g.chars[i] for i in ids)


# Entrenar
@pytest.fixture
def checks(said):
    """Las líneas de cada evaluación: (paso, train, val, mejor, lo que escribe)."""
    line = r"paso +(\d+)   train (\S+)   val (\S+)   mejor +(\d+)   (.+)"
    return re.findall(line, said)


def test_there_is_an_evaluation_each_interval(checks):
    steps = [step for step, *_ in checks]
    assert steps == ["50", "100", "150", "200", "250", "300"]


def test_what_it_writes_changes_as_it_learns(checks):
    written = {line[-1] for line in checks}
    assert len(written) == 6


def test_training_learns(kept):
    blind = math.log(len(CHARS))
    assert kept["val_loss"] < blind - 0.5


def test_what_it_says_it_copies_is_in_the_text(said):
    copied = re.search(r"lo más largo que copia es '(.*)'", said)[1]
    assert copied.replace("\\n", "\n") in POEMS[:5_400]


def test_in_16_bits_it_trains(build):
    g = build("--dtype", "bfloat16")
    windows = g.batch(0)
    exact = g.nll(g.model.eval(), windows)
    short = g.nll(g.model.train(), windows)
    assert short != exact
    assert abs(short - exact) < 0.03


def test_in_16_bits_it_is_measured_in_32(build):
    g = build("--dtype", "bfloat16")
    model = g.model.eval()
    windows = g.batch(0)
    logits = model(windows[:, :-1])
    plain = F.cross_entropy(logits.mT, windows[:, 1:])
    assert close(g.nll(model, windows), plain, 1e-6)


# Seguir
def begin(folder, *flags):
    """Empieza a entrenar con versos.txt en `folder`, y vuelve tras la primera evaluación."""
    (folder / "versos.txt").write_text(POEMS, "utf-8")
    process = start(LESSON, *SMALL, "--data", "versos.txt", *flags, cwd=folder)
    for line in process.stdout:
        if line.startswith("    paso    50"):
            return process


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("wait", sampled([0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.2]))
def test_cut_at_any_moment_it_ends_bit_for_bit_the_same(kept, train, tmp_path, sign, wait):
    process = begin(tmp_path, *LONG)
    time.sleep(wait)
    process.send_signal(sign)
    process.communicate()
    done = train(*LONG, "--resume", "ckpt.pt")
    assert done.returncode == 0, done.stderr
    assert "todo sigue igual" in done.stdout
    assert same(torch.load(tmp_path / "ckpt.pt"), kept)


def test_ctrl_c_ends_with_a_sample(tmp_path):
    process = begin(tmp_path, "--steps", 10**6)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "interrumpido; sigue con --resume ckpt.pt" in out
    assert "\nresultado train=" in out


def test_ctrl_c_in_the_first_evaluation_says_that_nothing_is_saved(tmp_path):
    flags = ["--data", "poesia.txt", "--eval_interval", 1, "--device", "cpu"]
    process = start(LESSON, *flags, cwd=tmp_path)
    while not process.stdout.readline().startswith("13."):
        pass
    time.sleep(1)                                            # mide un millón de caracteres
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "interrumpido; no hay nada guardado" in out


def test_resuming_what_ended_writes_it_where_it_says(trained, kept, train, tmp_path):
    done = train(*LONG, "--resume", trained / "ckpt.pt", "--out", "b.pt")
    assert "quedan 0 pasos" in done.stdout
    assert same(torch.load(tmp_path / "b.pt"), kept)


def test_resuming_says_what_changed(kept, train, tmp_path):
    kept["training"]["recipe"]["HILOS"] = 64
    torch.save(kept, tmp_path / "a.pt")
    done = train("--steps", 310, "--batch_size", 5, "--resume", "a.pt")
    said = re.search("llegó al paso 300; (.+)", done.stdout)[1]
    assert set(said.split(", ")) == {
        "BATCH_SIZE era 4",
        "DROPOUT era 0.1",
        "STEPS era 300",
        "HILOS era 64",
    }


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
    done = train("--resume", trained / "ckpt.pt", "--out", "b.pt", *flags)
    one_line_error(done, fragment)
    assert not (tmp_path / "b.pt").exists()


def test_a_model_without_its_training_is_told_to_be_a_base(train):
    done = train("--resume", ROOT / "models" / "poesia.pt")
    one_line_error(done, "prueba --base")


# Partir de un modelo
NEW = "Hoy llueve; mañana, niebla. ΩΩ\n" * 60


@pytest.fixture(scope="module")
def based(trained):
    """Lo que dijo y lo que guardó un entrenamiento desde ckpt.pt, con caracteres nuevos."""
    (trained / "nuevo.txt").write_text(NEW, "utf-8")
    fixed = ["--data", "nuevo.txt", "--base", "ckpt.pt", "--out", "nuevo.pt", "--length", 20]
    short = ["--batch_size", 4, "--steps", 5, "--n_embd", 64]
    done = run_script(LESSON, *fixed, *short, cwd=trained)
    assert done.returncode == 0, done.stderr
    return done.stdout, torch.load(trained / "nuevo.pt")


def test_a_base_keeps_the_ids_of_its_characters(based):
    _, new = based
    added = sorted(set(NEW) - set(CHARS))
    assert "Ω" in added
    assert new["chars"] == CHARS + "".join(added)
    assert len(new["weights"]["token.weight"]) == len(new["chars"])


def test_a_base_gives_its_shape(based, kept):
    said, new = based
    assert "la forma es la de" in said
    assert new["config"] == kept["config"]


def test_a_base_begins_from_its_weights(build, kept):
    g = build("--base", "ckpt.pt")
    assert g.newborn == pytest.approx(kept["val_loss"], abs=1e-5)
    assert same(dict(g.model.state_dict()), kept["weights"])


def test_a_base_gives_the_old_characters_their_vectors(trained, kept, based):
    g = pieces(trained, "nuevo.txt", "--base", "ckpt.pt")
    vectors = g.model.token.weight
    assert torch.equal(vectors[:len(CHARS)], kept["weights"]["token.weight"])


def test_what_cannot_be_a_base_is_one_line(train, tmp_path):
    (tmp_path / "b.pt").write_bytes(b"no es un modelo")
    done = train("--base", "b.pt")
    one_line_error(done, "«b.pt» no existe, o no es un GPT")


def test_a_base_that_squared_its_relu_is_one_line(train, kept, tmp_path):
    kept["config"]["square"] = True
    torch.save(kept, tmp_path / "b.pt")
    one_line_error(train("--base", "b.pt"), "«b.pt» no existe, o no es un GPT")


# Las malas entradas
@pytest.mark.parametrize("flags, fragment", [
    (["--n_embd", 15], "múltiplo de N_HEAD"),
    (["--n_embd", 6], "su doble"),
    (["--prompt", "字"], "PROMPT"),
    (["--temperature", 0], "TEMPERATURE"),
    (["--block_size", 9_000], "menos BLOCK_SIZE"),
    (["--dropout", 1.5], "DROPOUT"),
    (["--dropout", 1], "DROPOUT"),
    (["--grad_clip", -1], "GRAD_CLIP"),
    (["--dtype", "float16"], "DTYPE, bfloat16 o float32"),
    (["--device", "mps"], "aquí no hay «mps»"),
    (["--device", "gpu"], "aquí no hay «gpu»"),
])
def test_constants_that_do_not_fit_are_one_line(train, flags, fragment):
    done = train("--steps", 0, *flags)
    one_line_error(done, fragment)


# Varios procesos
def member(rank, port, folder):
    """En un proceso recién bifurcado: lo que torchrun hace con cada uno de dos."""
    os.chdir(folder)
    os.environ |= {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": "2",
        "MASTER_PORT": port,
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_RUN_ID": "prueba",
    }
    sys.argv = [LESSON, *SMALL, "--data", "versos.txt", "--steps", "6"]
    sys.stdout = open(f"{rank}.txt", "w", encoding="utf-8")
    runpy.run_path(str(ROOT / LESSON), run_name="__main__")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    """Carpeta de un entrenamiento de seis pasos en dos procesos: 0.txt, 1.txt y ckpt.pt."""
    folder = tmp_path_factory.mktemp("dos")
    (folder / "versos.txt").write_text(POEMS, "utf-8")
    port = free_port()
    members = [processes.Process(target=member, args=(rank, port, folder)) for rank in "01"]
    for process in members:
        process.start()
    for process in members:
        process.join(120)
        assert process.exitcode == 0
    return folder


def test_the_first_rank_speaks_of_the_training(joint):
    said = (joint / "0.txt").read_text("utf-8")
    assert "quedan 6 pasos de 128 caracteres" in said
    assert "resultado" in said


def test_the_second_rank_does_not(joint):
    said = (joint / "1.txt").read_text("utf-8")
    assert "train " not in said


def test_two_ranks_take_the_step_of_the_joint_batch(joint, build):
    """Un proceso, con las ventanas de los dos."""
    g = build()
    model, memory = g.model.train(), g.memory
    for step in range(1, 7):
        mine, other = g.batch(2 * step - 2), g.batch(2 * step - 1)
        model.zero_grad()
        g.nll(model, torch.cat([mine, other])).backward()
        height = step / 101                                  # la tasa sube en cien pasos
        for w in g.with_rows:
            g.row_step(w, memory[w], height * g.LEARNING_RATE / 2)
            kept = 1 - 320 * height * g.LEARNING_RATE * g.WEIGHT_DECAY
            for row in range(len(w)):
                if (step + row) % 40 == 0:                   # a cada una, cada cuarenta pasos
                    w.data[row] *= kept
        nn.utils.clip_grad_norm_(model.parameters(), g.GRAD_CLIP)
        for number, w in enumerate(g.with_muon):
            memory[w].lerp_(w.grad, 0.05)
            w.grad = None
            if (step + number) % 6 == 0:                     # a cada una le toca cada seis pasos
                g.muon_step(w, memory[w], 6 * height * g.MUON)
        g.optimizer.param_groups[0]["lr"] = height * g.LEARNING_RATE
        g.optimizer.step()
    saved = torch.load(joint / "ckpt.pt")["training"]["weights"]
    for name, w in model.state_dict().items():
        assert close(w, saved[name])


def test_a_stray_rank_without_torchrun_does_not_count(build, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    g = build()
    assert (g.rank, g.world) == (0, 1)

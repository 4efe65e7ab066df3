"""sample.py: las notas de cada lección, con memoria y sin ella; el sorteo; las malas entradas."""
import os
import random
import signal

import pytest
import torch
from conftest import ROOT, inside, one_line_error, run_script, start
from hypothesis import given, settings, strategies as st
from torch.utils.flop_counter import FlopCounterMode

SMALL_GPT = [
    "--n_embd", "16", "--n_head", "2", "--n_layer", "2", "--block_size", "16", "--batch_size", "8",
    "--ngrams", "4", "--rows", "53", "--length", "20", "--data", "versos.txt"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Una carpeta con dos textos breves y el GPT de 20 pasos que aprendió uno de ellos."""
    folder = tmp_path_factory.mktemp("modelos")
    villages = (ROOT / "data/pueblos.txt").read_text("utf-8").split("\n")[::60]
    (folder / "pueblos.txt").write_text("\n".join(villages), "utf-8")
    verses = (ROOT / "data/poesia.txt").read_text("utf-8")[:12_000]
    (folder / "versos.txt").write_text(verses, "utf-8")
    done = run_script("06_gpt.py", *SMALL_GPT, "--steps", 20, "--out", "gpt.pt", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def sampler(folder):
    """Los nombres de sample.py, que ya ha leído el GPT."""
    return inside("sample.py", "gpt.pt", "--length", 1, cwd=folder)


# Las notas del GPT
def random_gpt(folder, *flags):
    """Un GPT de la lección con pesos al azar: el módulo, sus pesos y su configuración."""
    lesson = inside("06_gpt.py", *SMALL_GPT, "--steps", 0, *flags, cwd=folder)
    torch.manual_seed(0)
    model = lesson["model"].eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    return model, weights, lesson["config"]


def window_begin(begin, n, T):
    """Dónde empieza la ventana al llegar el carácter `n`: pierde su mitad vieja si se llenó."""
    if n - begin > T:
        return n - 1 - T // 2
    return begin


SHAPES = [
    [],
    ["--no-rotary"],
    ["--no-qk_norm"],
    ["--square"],
    ["--ngrams", "0"],
    ["--ngrams", "2"],
    ["--no-residual"],
    ["--no-layer_norm"],
    ["--no-feed_forward"],
    ["--n_layer", "0"],
    ["--n_head", "1", "--block_size", "2"],
    ["--block_size", "1"],
    ["--block_size", "7", "--no-rotary"],
]


@pytest.mark.parametrize("flags", SHAPES, ids=" ".join)
def test_gpt_logits_are_the_lessons_past_the_window(sampler, folder, flags):
    model, w, c = random_gpt(folder, *flags)
    T = c["block_size"]
    ids = torch.randint(model.head.out_features, (3, 3 * T + 5))
    memory, begin = {}, 0
    for n in range(1, ids.size(1) + 1):
        begin = window_begin(begin, n, T)
        expected = model(ids[:, begin:n])[:, -1]
        with_memory = sampler["gpt"](w, c, ids[:, :n], memory)
        without = sampler["gpt"](w, c, ids[:, :n], {})
        assert torch.allclose(with_memory, expected, atol=1e-4)
        assert torch.allclose(without, expected, atol=1e-4)


@pytest.mark.parametrize("n", [1, 16])
def test_a_memory_of_another_text_is_dropped(sampler, folder, n):
    _, w, c = random_gpt(folder)
    ids = torch.randint(9, (2, 40))
    memory = {}
    sampler["gpt"](w, c, ids, memory)
    jump = sampler["gpt"](w, c, ids[:, :n], memory)
    assert torch.allclose(jump, sampler["gpt"](w, c, ids[:, :n], {}), atol=1e-4)


def test_the_saved_gpt_gives_the_loss_its_lesson_measured(sampler, folder):
    """La pérdida de validación, rehecha carácter a carácter en ventanas de 16."""
    w, c = sampler["w"], sampler["c"]
    text = (folder / "versos.txt").read_text("utf-8")
    ids = torch.tensor([sampler["chars"].index(char) for char in text])
    val = ids[10_800:]
    losses = []
    for i in range(0, len(val) - 1, 16):
        row = val[None, i:i + 17]
        memory = {}
        for n in range(1, row.size(1)):
            log_p = sampler["gpt"](w, c, row[:, :n], memory)[0].log_softmax(0)
            losses.append(-log_p[row[0, n]].item())
    measured = torch.load(folder / "gpt.pt")["val_loss"]
    assert len(losses) == 1199
    assert abs(sum(losses) / 1199 - measured) < 1e-4


def test_with_memory_a_character_costs_at_most_two_positions(sampler, folder):
    """Cada peso de los bloques es un producto y una suma por posición; notas y softmax, un 15 %."""
    _, w, c = random_gpt(folder, "--n_embd", "64")
    position = sum(2 * weight.numel() for name, weight in w.items() if "blocks" in name)
    ids, memory = torch.zeros(1, 300, dtype=torch.long), {}
    with FlopCounterMode(display=False) as count:
        for n in range(1, 301):
            sampler["gpt"](w, c, ids[:, :n], memory)
    positions = count.get_total_flops() / position
    assert 300 < positions < 645


def test_the_last_character_costs_as_much_as_the_first(sampler, folder):
    """Sólo se lee la ventana: lo que quede antes de ella puede ser cualquier cosa."""
    _, w, c = random_gpt(folder)
    ids = torch.randint(9, (1, 400))
    altered = ids.clone()
    altered[:, :380] = 0
    for n in (397, 398):
        memories = {}, {}
        a = sampler["gpt"](w, c, ids[:, :n], memories[0])
        b = sampler["gpt"](w, c, altered[:, :n], memories[1])
        assert torch.equal(a, b)


# Las notas de los modelos de línea
LINES = [
    "02_bigram.py",
    "03_mlp.py --n_embd 4 --n_hidden 16 --block_size 4 --learning_rate 0.01",
    "04_batchnorm.py --n_embd 4 --n_hidden 16 --n_layer 2",
    "05_wavenet.py --n_embd 8 --n_hidden 8 --demo_steps 1",
]


@pytest.fixture(scope="session", params=LINES)
def line_model(request, folder):
    """Un modelo de línea, de 30 pasos, como lo lee sample.py, y la pérdida que midió su lección."""
    script, *flags = request.param.split()
    flags += ["--data", "pueblos.txt", "--steps", 30, "--out", "linea.pt"]
    done = run_script(script, *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    read = inside("sample.py", "linea.pt", "--length", 1, cwd=folder)["read"]
    measured = torch.load(folder / "linea.pt")["val_loss"]
    return read(folder / "linea.pt"), measured


def test_a_line_model_gives_the_loss_its_lesson_measured(line_model, folder):
    """La pérdida de validación, rehecha carácter a carácter con memoria y sin ella."""
    (forward, w, c, chars), measured = line_model
    text = (folder / "pueblos.txt").read_text("utf-8")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    random.Random(42).shuffle(lines)
    val = lines[int(0.8 * len(lines)):int(0.9 * len(lines))]
    ids = torch.tensor([[chars.index(char) for char in "\n".join(["", *val, ""])]])
    memory, losses = {}, torch.zeros(2)
    for n in range(1, ids.size(1)):
        cached = forward(w, c, ids[:, :n], memory)
        again = forward(w, c, ids[:, max(0, n - 20):n], {})  # más que cualquier contexto
        log_p = torch.cat([cached, again]).log_softmax(1)
        losses -= log_p[:, ids[0, n]]
    means = losses / (ids.size(1) - 1)
    assert (means - measured).abs().max() < 1e-4


@pytest.mark.parametrize("text, line", [
    ("\nLeón\nMa", "\nMa"),
    ("\nRamales", "\nRamales"),
    ("Sa\nSa\nSa", "\nSa"),
    ("\n\n\n\nOla", "\nOla"),
    ("Ola\n", "\n"),
])
def test_a_line_model_sees_its_line_alone(line_model, text, line):
    (forward, w, c, chars), _ = line_model
    ids = torch.tensor([[chars.index(char) for char in text]])
    begun = torch.tensor([[chars.index(char) for char in line]])
    memory = {}
    for n in range(1, ids.size(1) + 1):
        found = forward(w, c, ids[:, :n], memory)
    assert torch.allclose(found, forward(w, c, begun, {}), atol=1e-5)


def test_folded_batchnorm_is_pytorchs(sampler):
    nn = torch.nn
    net = nn.Sequential(
        nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 7, bias=False), nn.BatchNorm1d(7),
        nn.Tanh(), nn.Linear(7, 9))
    for _ in range(20):
        net(torch.randint(9, (50, 3)))                       # que BatchNorm tenga qué recordar
    ids = torch.randint(1, 9, (6, 3))
    c = {"block_size": 3, "n_layer": 1, "boundary": 0}
    ours = sampler["batchnorm"](net.state_dict(), c, ids, {})
    assert torch.allclose(ours, net.eval()(ids), atol=1e-5)


def test_a_context_is_filled_with_boundaries(sampler):
    table = torch.arange(9.0)[:, None]                       # el vector de cada id, el propio id
    c = {"block_size": 4, "boundary": 0}
    seen = sampler["context"](table, c, torch.tensor([[7, 0, 5], [1, 2, 3]]))
    assert seen.tolist() == [[0, 0, 0, 5], [0, 1, 2, 3]]


# El sorteo
@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=30, unique=True),
       st.floats(1e-3, 1e3), st.integers(0, 40))
def test_probabilities_are_the_softmax_of_the_top_k(sampler, values, temperature, k):
    row = torch.tensor([values])
    largest = sorted(range(len(values)), key=lambda i: -values[i])
    kept = largest[:k] if k else largest
    scaled = torch.full((len(values),), -float("inf"), dtype=torch.float64)
    scaled[kept] = row[0, kept].double() / temperature
    p = sampler["probabilities"](row, temperature, k)
    assert torch.allclose(p[0], scaled.softmax(0), atol=1e-12)


PAIRS = [[0.1, 0.2, 0.7], [0.5, 0.25, 0.25], [0.05, 0.9, 0.05]]


@pytest.fixture
def bigram(tmp_path):
    """Un bigrama de tres letras con las probabilidades de PAIRS, en b.pt."""
    weights = {"log_p": torch.tensor(PAIRS).log()}
    checkpoint = {"format": 1, "model": "bigram", "config": {}, "chars": "abc", "weights": weights}
    torch.save(checkpoint, tmp_path / "b.pt")


def test_generated_pairs_follow_the_model(bigram, run):
    done = run("sample.py", "b.pt", "--length", 6000, "--temperature", 1, "--seed", 5)
    text = done.stdout.strip()
    for i, a in enumerate("abc"):
        after = [y for x, y in zip(text, text[1:]) if x == a]
        for j, b in enumerate("abc"):
            assert abs(after.count(b) / len(after) - PAIRS[i][j]) < 0.04


def test_cold_it_takes_the_most_likely(bigram, run):
    done = run("sample.py", "b.pt", "--prompt", "a", "--length", 7, "--temperature", 1e-40)
    assert done.stdout == "acbacbac\n"


def test_a_seed_repeats_its_texts(folder, run):
    args = ["sample.py", folder / "gpt.pt", "--length", 60, "--num", 3]
    first = run(*args)
    seed = first.stderr.split("--seed ")[1].strip()
    assert run(*args, "--seed", seed).stdout == first.stdout
    assert run(*args).stdout != first.stdout


def test_each_text_has_its_title_outside_stdout(folder, run):
    done = run("sample.py", folder / "gpt.pt", "--length", 60, "--num", 3, "--prompt", "La ")
    assert "--- 2 de 3 ---" in done.stderr
    assert "--- 3 de 3 ---" in done.stderr
    assert "---" not in done.stdout
    assert done.stdout.startswith("La ")


def test_with_top_k_1_all_texts_are_one(folder, run):
    args = ["sample.py", folder / "gpt.pt", "--length", 60, "--top_k", 1]
    alone = run(*args).stdout
    assert run(*args, "--num", 3).stdout == alone + "\n" + alone + "\n" + alone


def test_a_prompt_is_written_in_nfc(folder, run):
    done = run("sample.py", folder / "gpt.pt", "--prompt", "an\u0303o", "--length", 3)
    assert done.stdout.startswith("año")


def test_a_prompt_may_be_longer_than_the_window(folder, run):
    prompt = (folder / "versos.txt").read_text("utf-8")[:50]
    done = run("sample.py", folder / "gpt.pt", "--prompt", prompt, "--length", 30)
    assert done.stdout.startswith(prompt)
    assert len(done.stdout) == 81                            # 50, 30 y el fin de línea


def test_the_text_comes_as_it_is_made(folder):
    process = start("sample.py", folder / "gpt.pt", "--length", 10**6)
    assert len(process.stdout.read(200)) == 200
    assert process.poll() is None
    process.kill()
    process.communicate()


def test_ctrl_c_stops_it_in_silence(folder):
    process = start("sample.py", folder / "gpt.pt", "--length", 10**6)
    process.stdout.read(200)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == -signal.SIGINT


# Las malas entradas
@pytest.mark.parametrize("flags, said", [
    (["--temperature", "0"], "TEMPERATURE"),
    (["--temperature", "nan"], "TEMPERATURE"),
    (["--num", "0"], "NUM"),
    (["--top_k", "-1"], "TOP_K"),
    (["--seed", "99999999999999999999"], "SEED"),
    (["--prompt", "日"], "'日' (U+65E5)"),
    (["--prompt", "\x1b[31m"], r"'\x1b' (U+001B)"),
    (["--ckpt", "."], "no hay"),
    (["--ckpt", "nada.pt"], "python 06_gpt.py"),
])
def test_bad_input_gets_its_one_line(folder, flags, said):
    done = run_script("sample.py", "--ckpt", "gpt.pt", *flags, cwd=folder)
    one_line_error(done, said)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["ngrams.weight", "blocks.1.norm_2.bias", "token.weight"])
def test_a_checkpoint_without_a_weight_is_refused(folder, name):
    checkpoint = torch.load(folder / "gpt.pt")
    del checkpoint["weights"][name]
    torch.save(checkpoint, folder / "sin.pt")
    one_line_error(run_script("sample.py", "sin.pt", cwd=folder), "dañado")


def test_the_proof_holds_without_asserts(folder, tmp_path):
    """Con python -O no hay asserts, y otro formato se rehúsa igual."""
    checkpoint = torch.load(folder / "gpt.pt")
    torch.save({**checkpoint, "format": 2}, tmp_path / "otro.pt")
    env = {**os.environ, "PYTHONOPTIMIZE": "1"}
    process = start("sample.py", tmp_path / "otro.pt", cwd=tmp_path, env=env)
    assert "dañado" in process.communicate(timeout=60)[1]
    assert process.returncode == 1

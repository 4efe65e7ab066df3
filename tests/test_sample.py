"""sample.py: las notas de cada lección, con memoria y sin ella; el sorteo; las malas entradas."""
import math
import os
import random
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, inside, one_line_error, run_script, start
from hypothesis import given, settings, strategies as st

SMALL_GPT = [
    "--n_embd", "16",
    "--n_head", "2",
    "--n_layer", "2",
    "--block_size", "16",
    "--batch_size", "8",
    "--ngrams", "4",
    "--rows", "53",
    "--length", "20",
    "--data", "versos.txt",
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Una carpeta con dos textos breves y el GPT de 20 pasos que aprendió uno de ellos."""
    folder = tmp_path_factory.mktemp("modelos")
    villages = (ROOT / "data/pueblos.txt").read_text("utf-8").split("\n")
    (folder / "pueblos.txt").write_text("\n".join(villages[::60]), "utf-8")
    verses = (ROOT / "data/poesia.txt").read_text("utf-8")
    (folder / "versos.txt").write_text(verses[:12_000], "utf-8")
    flags = ["--steps", 20, "--out", "gpt.pt"]
    done = run_script("06_gpt.py", *SMALL_GPT, *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def sampler(folder):
    """Los nombres de sample.py, que ya ha leído el GPT."""
    names = inside("sample.py", "gpt.pt", "--length", 1, cwd=folder)
    return SimpleNamespace(**names)


def close(a, b, atol=1e-4):
    """¿Son iguales dos tensores o arrays, salvo redondeos?"""
    return np.allclose(a, b, rtol=1e-5, atol=atol)


def arrays(weights):
    """Los pesos de una lección, como los lee sample.py."""
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def surprise(logits, following):
    """-log p del carácter que viene, con esas notas."""
    loss = F.cross_entropy(torch.tensor(logits), torch.tensor(following))
    return loss.item()


# Las notas del GPT
def random_gpt(folder, *flags):
    """Un GPT de la lección con pesos al azar: el módulo, sus pesos y su configuración."""
    lesson = inside("06_gpt.py", *SMALL_GPT, "--steps", 0, *flags, cwd=folder)
    torch.manual_seed(0)
    model = lesson["model"].eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model, arrays(model.state_dict()), lesson["config"]


def window_begin(begin, n, T):
    """Dónde empieza la ventana al llegar el carácter `n`: pierde su mitad vieja si se llenó."""
    if n - begin > T:
        return n - 1 - T // 2
    return begin


SHAPES = [
    [],
    ["--no-rotary"],
    ["--no-qk_norm"],
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
    length = 3 * T + 5
    ids = torch.randint(model.head.out_features, (3, length))
    memory, begin = {}, 0
    for n in range(1, length + 1):
        begin = window_begin(begin, n, T)
        expected = model(ids[:, begin:n])[:, -1].detach()
        begun = ids[:, :n].numpy()
        assert close(sampler.gpt(w, c, begun, memory), expected)
        assert close(sampler.gpt(w, c, begun, {}), expected)


@pytest.mark.parametrize("before, n", [(40, 16), (12, 5), (5, 12)])
def test_a_memory_of_another_text_is_dropped(sampler, folder, before, n):
    _, w, c = random_gpt(folder)
    ids = np.random.randint(9, size=(2, 40))
    begun = ids[:, :n]
    memory = {}
    sampler.gpt(w, c, ids[:, :before], memory)
    jump = sampler.gpt(w, c, begun, memory)
    assert close(jump, sampler.gpt(w, c, begun, {}))


def test_the_saved_gpt_gives_the_loss_its_lesson_measured(sampler, folder):
    """La pérdida de validación, rehecha carácter a carácter en ventanas de 16."""
    text = (folder / "versos.txt").read_text("utf-8")
    val = np.array([sampler.chars.index(char) for char in text[10_800:]])
    losses = []
    for i in range(0, 1199, 16):
        row = val[None, i:i + 17]
        memory = {}
        for n in range(1, row.shape[1]):
            logits = sampler.gpt(sampler.w, sampler.c, row[:, :n], memory)
            losses.append(surprise(logits, row[:, n]))
    measured = torch.load(folder / "gpt.pt")["val_loss"]
    assert sum(losses) / 1199 == pytest.approx(measured, abs=1e-4)


class Counted(np.ndarray):
    """Una matriz que apunta cuántas filas ha multiplicado."""
    rows = 0

    def __array_ufunc__(self, ufunc, method, x, weight):
        Counted.rows += len(x)
        return x @ np.asarray(weight)


def test_with_memory_a_character_costs_at_most_two_positions(sampler, folder):
    _, w, c = random_gpt(folder)
    name = "blocks.0.attention.qkv.weight"
    w[name] = w[name].view(Counted)
    ids = np.random.randint(9, size=(1, 300))
    memory = {}
    for n in range(1, 301):
        sampler.gpt(w, c, ids[:, :n], memory)
    assert 300 < Counted.rows <= 2 * 300


def test_the_last_character_costs_as_much_as_the_first(sampler, folder):
    """Sólo se lee la ventana: lo que quede antes de ella puede ser cualquier cosa."""
    _, w, c = random_gpt(folder)
    ids = np.random.randint(9, size=(1, 400))
    altered = ids.copy()
    altered[:, :380] = 0
    a = sampler.gpt(w, c, ids, {})
    b = sampler.gpt(w, c, altered, {})
    assert np.array_equal(a, b)


# Las notas de los modelos de línea
LINE_MODELS = [
    "02_bigram.py",
    "03_mlp.py --n_embd 4 --n_hidden 16 --block_size 4 --learning_rate 0.01",
    "04_batchnorm.py --n_embd 4 --n_hidden 16 --n_layer 2",
    "05_wavenet.py --n_embd 8 --n_hidden 8 --demo_steps 1",
]


@pytest.fixture(scope="session", params=LINE_MODELS)
def line_model(request, folder):
    """Un modelo de línea, de 30 pasos, como lo lee sample.py, y lo que midió su lección."""
    script, *flags = request.param.split()
    flags += ["--data", "pueblos.txt", "--steps", 30, "--out", "linea.pt"]
    done = run_script(script, *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    names = inside("sample.py", "linea.pt", "--length", 1, cwd=folder)
    measured = dict(re.findall(r"(val|test)=(\S+)", done.stdout))
    return names["read"](folder / "linea.pt"), measured


def encode(chars, text):
    """Ids de `text` con el vocabulario `chars`: (1, N)."""
    return np.array([[chars.index(char) for char in text]])


@pytest.mark.parametrize("part, place", [
    ("val", slice(344, 387)),                                # 431 pueblos: 344, 43 y 44
    ("test", slice(387, 431)),
])
def test_a_line_model_gives_the_loss_its_lesson_measured(line_model, folder, part, place):
    """La pérdida de una parte, rehecha carácter a carácter."""
    (forward, w, c, chars), measured = line_model
    lines = (folder / "pueblos.txt").read_text("utf-8").split("\n")
    random.Random(42).shuffle(lines)
    text = "\n".join(lines[place])
    ids = encode(chars, f"\n{text}\n")
    memory = {}
    losses = []
    for n in range(1, ids.shape[1]):
        logits = forward(w, c, ids[:, :n], memory)
        losses.append(surprise(logits, ids[:, n]))
    mean = sum(losses) / len(losses)
    assert mean == pytest.approx(float(measured[part]), abs=1e-4)


@pytest.mark.parametrize("text, line", [
    ("\nLeón\nMa", "\nMa"),
    ("\nRamales", "\nRamales"),
    ("Sa\nSa\nSa", "\nSa"),
    ("\n\n\n\nOla", "\nOla"),
    ("Ola\n", "\n"),
])
def test_a_line_model_sees_its_line_alone(line_model, text, line):
    (forward, w, c, chars), _ = line_model
    ids = encode(chars, text)
    memory = {}
    for n in range(1, len(text) + 1):
        found = forward(w, c, ids[:, :n], memory)
    alone = forward(w, c, encode(chars, line), {})
    assert close(found, alone, 1e-5)


def test_folded_batchnorm_is_pytorchs(sampler):
    nn = torch.nn
    net = nn.Sequential(
        nn.Embedding(9, 4),
        nn.Flatten(),
        nn.Linear(12, 7, bias=False),
        nn.BatchNorm1d(7),
        nn.Tanh(),
        nn.Linear(7, 9))
    for _ in range(20):
        net(torch.randint(9, (50, 3)))                       # que BatchNorm tenga qué recordar
    ids = torch.randint(1, 9, (6, 3))
    c = {"block_size": 3, "n_layer": 1, "boundary": 0}
    net.eval()
    ours = sampler.batchnorm(arrays(net.state_dict()), c, ids.numpy(), {})
    assert close(ours, net(ids).detach(), 1e-5)


def test_a_context_is_filled_with_boundaries(sampler):
    table = np.arange(9.0)[:, None]                          # el vector de cada id, el propio id
    c = {"block_size": 4, "boundary": 0}
    ids = np.array([[7, 0, 5], [1, 2, 3]])
    seen = sampler.context(table, c, ids)
    assert seen.tolist() == [[0, 0, 0, 5], [0, 1, 2, 3]]


# El sorteo
@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=30, unique=True),
       temperature=st.floats(1e-3, 1e3),
       k=st.integers(0, 40))
def test_probabilities_are_the_softmax_of_the_top_k(sampler, values, temperature, k):
    least = sorted(values)[-k:][0]                           # con k = 0, el menor de todos
    largest = max(values)
    odds = []
    for value in values:
        odd = math.exp((value - largest) / temperature)
        odds.append(odd if value >= least else 0)
    expected = [odd / sum(odds) for odd in odds]
    p = sampler.probabilities(np.array([values]), temperature, k)
    assert p[0].tolist() == pytest.approx(expected, abs=1e-12)


PAIRS = [
    [0.1, 0.2, 0.7],
    [0.5, 0.25, 0.25],
    [0.05, 0.9, 0.05],
]


@pytest.fixture
def bigram(tmp_path):
    """Un bigrama de tres letras con las probabilidades de PAIRS, en b.pt."""
    weights = {"log_p": torch.tensor(PAIRS).log()}
    checkpoint = {
        "format": 1,
        "model": "bigram",
        "config": {},
        "chars": "abc",
        "weights": weights,
    }
    torch.save(checkpoint, tmp_path / "b.pt")


def test_generated_pairs_follow_the_model(bigram, run):
    flags = ["--length", 6000, "--temperature", 1, "--seed", 5]
    text = run("sample.py", "b.pt", *flags).stdout.strip()
    for a, expected in zip("abc", PAIRS):
        after = [text[i + 1] for i in range(5_999) if text[i] == a]
        shares = [after.count(b) / len(after) for b in "abc"]
        assert shares == pytest.approx(expected, abs=0.04)


def test_cold_it_takes_the_most_likely(bigram, run):
    flags = ["--prompt", "a", "--length", 7, "--temperature", 1e-40]
    done = run("sample.py", "b.pt", *flags)
    assert done.stdout == "acbacbac\n"


def test_a_seed_repeats_its_texts(folder, run):
    args = ["sample.py", folder / "gpt.pt", "--length", 60, "--num", 3]
    first = run(*args)
    seed = first.stderr.split("--seed ")[1].strip()
    assert run(*args, "--seed", seed).stdout == first.stdout
    assert run(*args).stdout != first.stdout


def test_each_text_has_its_title_outside_stdout(folder, run):
    flags = ["--length", 60, "--num", 3, "--prompt", "La "]
    done = run("sample.py", folder / "gpt.pt", *flags)
    assert "--- 2 de 3 ---" in done.stderr
    assert "--- 3 de 3 ---" in done.stderr
    assert "---" not in done.stdout
    assert done.stdout.startswith("La ")


def test_with_top_k_1_all_texts_are_one(folder, run):
    args = ["sample.py", folder / "gpt.pt", "--length", 60, "--top_k", 1]
    alone = run(*args).stdout
    three = run(*args, "--num", 3).stdout
    assert three == "\n".join([alone] * 3)


def test_a_prompt_is_written_in_nfc(folder, run):
    done = run("sample.py", folder / "gpt.pt", "--prompt", "an\u0303o", "--length", 3)
    assert done.stdout.startswith("año")


def test_a_prompt_may_be_longer_than_the_window(folder, run):
    prompt = (folder / "versos.txt").read_text("utf-8")[:50]
    done = run("sample.py", folder / "gpt.pt", "--prompt", prompt, "--length", 30)
    assert done.stdout.startswith(prompt)
    assert len(done.stdout) == 81                            # 50, 30 y el fin de línea


def test_ctrl_c_stops_in_silence_what_comes_as_it_is_made(folder):
    process = start("sample.py", folder / "gpt.pt", "--length", 10**6)
    assert len(process.stdout.read(200)) == 200
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
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


def test_a_memory_that_spoils_is_refused(sampler):
    """Lo guardado cambia entre un carácter y el siguiente: las notas ya no coinciden."""
    def spoiled(w, c, ids, memory):
        logits = sampler.gpt(w, c, ids, memory)
        memory["saved"] += 1
        return logits

    with pytest.raises(AssertionError):
        sampler.prove(spoiled, sampler.w, sampler.c, sampler.chars)


def test_a_model_that_is_infinite_after_one_character_is_refused(sampler):
    """Tras el último del vocabulario, y sólo si es el comienzo del texto, las notas no caben."""
    last = len(sampler.chars) - 1

    def broken(w, c, ids, memory):
        logits = sampler.gpt(w, c, ids, memory)
        if ids.tolist() == [[last]]:
            logits = logits + math.inf
        return logits

    with pytest.raises(ValueError):
        sampler.prove(broken, sampler.w, sampler.c, sampler.chars)


def test_a_model_that_is_nan_far_from_the_start_is_refused(sampler):
    """Del puesto 5 en adelante, con memoria y sin ella, nada es un número."""
    def broken(w, c, ids, memory):
        logits = sampler.gpt(w, c, ids, memory)
        if ids.shape[1] > 5:
            logits = logits + math.nan
        return logits

    with pytest.raises(AssertionError):
        sampler.prove(broken, sampler.w, sampler.c, sampler.chars)


def test_a_model_that_squared_its_relu_is_refused(folder):
    checkpoint = torch.load(folder / "gpt.pt")
    checkpoint["config"]["square"] = True
    torch.save(checkpoint, folder / "otro.pt")
    one_line_error(run_script("sample.py", "otro.pt", cwd=folder), "dañado")


def test_a_model_whose_queries_are_zero_speaks(folder):
    """Un vector de largo 0 no se puede dejar de largo 1: se queda en 0."""
    checkpoint = torch.load(folder / "gpt.pt")
    checkpoint["weights"]["blocks.0.attention.qkv.weight"].zero_()
    torch.save(checkpoint, folder / "ceros.pt")
    done = run_script("sample.py", "ceros.pt", "--length", 3, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_the_proof_holds_without_asserts(folder, tmp_path):
    """Con python -O no hay asserts, y otro formato se rehúsa igual."""
    checkpoint = torch.load(folder / "gpt.pt")
    torch.save({**checkpoint, "format": 2}, tmp_path / "otro.pt")
    env = {**os.environ, "PYTHONOPTIMIZE": "1"}
    process = start("sample.py", tmp_path / "otro.pt", cwd=tmp_path, env=env)
    assert "dañado" in process.communicate(timeout=60)[1]
    assert process.returncode == 1

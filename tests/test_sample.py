"""sample.py: las notas de cada lección, con memoria y sin ella; el sorteo; las malas entradas."""
import random
import signal

import pytest
import torch
from conftest import ROOT, inside, one_line_error, run_script, start
from hypothesis import given, settings, strategies as st
from torch.utils.flop_counter import FlopCounterMode

SMALL_GPT = ("--n_embd 16 --n_head 2 --n_layer 2 --block_size 16 --batch_size 8 --ngrams 50 "
             "--length 20 --data versos.txt").split()
LINES = ["02_bigram.py", "03_mlp.py --n_embd 4 --n_hidden 16 --block_size 4 --learning_rate 0.01",
         "04_batchnorm.py --n_embd 4 --n_hidden 16 --n_layer 2",
         "05_wavenet.py --n_embd 8 --n_hidden 8 --demo_steps 1"]


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
    return inside("sample.py", "gpt.pt", "--length", 1, cwd=folder)


@pytest.fixture(scope="session", params=LINES)
def line_model(request, folder):
    """Un modelo de línea, de 30 pasos, como lo lee sample.py: (forward, w, c, chars)."""
    script, *flags = request.param.split()
    flags += ["--data", "pueblos.txt", "--steps", 30, "--out", "linea.pt"]
    done = run_script(script, *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    g = inside("sample.py", "linea.pt", "--length", 1, cwd=folder)
    return g["forward"], g["w"], {**g["c"], "val_loss": g["checkpoint"]["val_loss"]}, g["chars"]


@pytest.fixture(scope="session")
def gpt_lesson(folder):
    """Los nombres vivos de 06_gpt.py: al cambiar una constante, GPT() la obedece."""
    lesson = inside("06_gpt.py", *SMALL_GPT, "--steps", 0, cwd=folder)
    return lesson["GPT"].forward.__globals__


def random_gpt(lesson):
    """Un GPT de la lección con pesos al azar, y lo que guardaría: (GPT, w, c)."""
    torch.manual_seed(0)
    model = lesson["GPT"]().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    w = {name: weight.detach() for name, weight in model.state_dict().items()}
    return model, w, {name: lesson[name.upper()] for name in lesson["config"]}


@pytest.mark.parametrize("changes", [
    {}, {"ROTARY": False}, {"SQUARE": False}, {"NGRAMS": 0}, {"RESIDUAL": False}, {"N_LAYER": 0},
    {"LAYER_NORM": False}, {"FEED_FORWARD": False}, {"N_HEAD": 1, "BLOCK_SIZE": 2},
    {"BLOCK_SIZE": 1}, {"BLOCK_SIZE": 7, "ROTARY": False},
    dict(RESIDUAL=False, LAYER_NORM=False, FEED_FORWARD=False, ROTARY=False, NGRAMS=0)], ids=str)
def test_gpt_logits_are_the_lessons_past_the_window(sampler, gpt_lesson, monkeypatch, changes):
    """Con memoria y sin ella; la ventana pierde su mitad más vieja sólo cuando se llena."""
    for name, value in changes.items():
        monkeypatch.setitem(gpt_lesson, name, value)
    model, w, c = random_gpt(gpt_lesson)
    gpt, T, memory, begin = sampler["gpt"], c["block_size"], {}, 0
    ids = torch.randint(gpt_lesson["V"], (3, 3 * T + 5))
    for n in range(1, ids.size(1) + 1):
        if n - begin > T:
            begin = n - 1 - T // 2
        expected = model(ids[:, begin:n])[:, -1]
        assert torch.allclose(gpt(w, c, ids[:, :n], memory), expected, atol=1e-4)
        assert torch.allclose(gpt(w, c, ids[:, :n], {}), expected, atol=1e-4)
    for n in (1, T):                                         # otro texto, o varios caracteres más
        jump = gpt(w, c, ids[:, :n], memory)
        assert torch.allclose(jump, gpt(w, c, ids[:, :n], {}), atol=1e-4)


def test_the_saved_gpt_gives_the_loss_its_lesson_measured(sampler, folder):
    w, c, T = sampler["w"], sampler["c"], sampler["T"]
    text = (folder / "versos.txt").read_text("utf-8")
    ids = torch.tensor([sampler["chars"].index(char) for char in text])
    val, loss = ids[int(0.9 * len(ids)):], 0.0
    for i in range(0, len(val) - 1, T):                      # ventanas contiguas, y lo que sobra
        row, memory = val[None, i:i + T + 1], {}
        for n in range(1, row.size(1)):
            log_p = sampler["gpt"](w, c, row[:, :n], memory)[0].log_softmax(0)
            loss -= log_p[row[0, n]].item() / (len(val) - 1)
    assert abs(loss - sampler["checkpoint"]["val_loss"]) < 1e-4


def test_with_memory_a_character_costs_at_most_two_positions(sampler, gpt_lesson, monkeypatch):
    monkeypatch.setitem(gpt_lesson, "N_EMBD", 64)
    _, w, c = random_gpt(gpt_lesson)
    position = sum(2 * weight.numel() for name, weight in w.items() if "blocks" in name)
    ids, memory = torch.zeros(1, 300, dtype=torch.long), {}
    with FlopCounterMode(display=False) as count:
        for n in range(1, 301):
            sampler["gpt"](w, c, ids[:, :n], memory)
    assert 300 * position < count.get_total_flops() < 2.15 * 300 * position  # 0.15: notas y softmax


def test_a_line_model_gives_the_loss_its_lesson_measured(line_model, folder):
    """La pérdida de validación, rehecha carácter a carácter con memoria y sin ella."""
    forward, w, c, chars = line_model
    text = (folder / "pueblos.txt").read_text("utf-8")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    random.Random(42).shuffle(lines)
    val = lines[int(0.8 * len(lines)):int(0.9 * len(lines))]
    ids = torch.tensor([[chars.index(char) for char in "\n".join(["", *val, ""])]])
    memory, losses = {}, torch.zeros(2)
    for n in range(1, ids.size(1)):
        cached = forward(w, c, ids[:, :n], memory)
        again = forward(w, c, ids[:, max(0, n - 10):n], {})  # más que cualquier contexto
        losses -= torch.cat([cached, again]).log_softmax(1)[:, ids[0, n]]
    assert (losses / (ids.size(1) - 1) - c["val_loss"]).abs().max() < 1e-4


def test_a_line_model_forgets_other_lines_and_other_texts(line_model):
    forward, w, c, chars = line_model
    texts = ["\nLeón\nMa", "\nRamales", "Sa\nSa\nSa", "\n\n\n\nOla\n"]
    rows = torch.tensor([[chars.index(char) for char in text] for text in texts])
    memory = {}
    for n in range(1, rows.size(1) + 1):
        together = forward(w, c, rows[:, :n], memory)
        for k, text in enumerate(texts):
            line = "\n" + text[:n].rpartition("\n")[2]       # la línea empezada, y nada más
            alone = forward(w, c, torch.tensor([[chars.index(char) for char in line]]), {})
            assert torch.allclose(together[k], alone[0], atol=1e-5)


def test_folded_batchnorm_is_pytorchs(sampler):
    nn = torch.nn
    net = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 7, bias=False),
                        nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 9))
    for _ in range(20):
        net(torch.randint(9, (50, 3)))                       # que cada BatchNorm tenga su media
    ids = torch.randint(1, 9, (6, 3))
    c = {"block_size": 3, "n_layer": 1, "boundary": 0}
    ours = sampler["batchnorm"](net.state_dict(), c, ids, {})
    assert torch.allclose(ours, net.eval()(ids), atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=30, unique=True),
       st.floats(1e-3, 1e3), st.integers(0, 40))
def test_probabilities_are_the_softmax_of_the_top_k(sampler, values, temperature, k):
    row = torch.tensor([values])
    kept = sorted(range(len(values)), key=lambda i: -values[i])[:k or None]
    scaled = torch.full((len(values),), -float("inf"), dtype=torch.float64)
    scaled[kept] = row[0, kept].double() / temperature
    p = sampler["probabilities"](row, temperature, k)
    assert torch.allclose(p[0], scaled.softmax(0), atol=1e-12)


def test_generated_pairs_follow_the_model(run, tmp_path):
    p = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25], [0.05, 0.9, 0.05]])
    torch.save({"format": 1, "model": "bigram", "config": {}, "chars": "abc",
                "weights": {"log_p": p.log()}}, tmp_path / "b.pt")
    out = run("sample.py", "b.pt", "--length", 6000, "--temperature", 1, "--seed", 5).stdout.strip()
    for i, a in enumerate("abc"):
        after = [y for x, y in zip(out, out[1:]) if x == a]
        for j, b in enumerate("abc"):
            assert abs(after.count(b) / len(after) - p[i, j]) < 0.04
    most = run("sample.py", "b.pt", "--prompt", "a", "--length", 7, "--temperature", 1e-40).stdout
    assert most == "acbacbac\n"


def test_a_seed_repeats_its_texts_and_is_told(folder, run):
    args = ["sample.py", folder / "gpt.pt", "--length", 60, "--prompt", "La ", "--num", 3]
    new, newer = run(*args), run(*args)
    seed = new.stderr.split("--seed ")[1].strip()
    assert run(*args, "--seed", seed).stdout == new.stdout != newer.stdout
    assert "--- 2 de 3 ---" in new.stderr and "--- 3 de 3 ---" in new.stderr
    assert new.stdout.startswith("La ") and len(new.stdout) == 3 * (3 + 60 + 1) + 2
    assert len({new.stdout[i * 65:i * 65 + 63] for i in range(3)}) == 3
    alone = run(*args[:-1], 1, "--top_k", 1).stdout          # con top-k 1 no hay azar
    assert run(*args, "--top_k", 1).stdout == alone + 2 * ("\n" + alone)
    assert "--prompt=-Hola" in " ".join(run("sample.py", "--help").stdout.split())


def test_a_prompt_is_nfc_and_may_be_longer_than_the_window(folder, run):
    prompt = (folder / "versos.txt").read_text("utf-8")[:50] + "an\u0303o"
    done = run("sample.py", folder / "gpt.pt", "--prompt", prompt, "--length", 30)
    assert done.stdout.startswith(prompt[:-4] + "año") and len(done.stdout) == 50 + 3 + 30 + 1


def test_the_text_comes_as_it_is_made_and_ctrl_c_stops_it(folder):
    p = start("sample.py", folder / "gpt.pt", "--length", 10**6)
    assert len(p.stdout.read(200)) == 200 and p.poll() is None
    p.send_signal(signal.SIGINT)
    assert p.communicate(timeout=30)[1].strip() == "interrumpido" and p.returncode == 1


@pytest.mark.parametrize("flags, said", [
    (["--temperature", "0"], "TEMPERATURE"), (["--temperature", "nan"], "TEMPERATURE"),
    (["--num", "0"], "NUM"), (["--prompt", "日"], "'日' (U+65E5)"), (["--ckpt", "."], "no hay"),
    (["--prompt", "\x1b[31m"], r"'\x1b' (U+001B)"), (["--ckpt", "nada.pt"], "python 06_gpt.py"),
    (["--ckpt", "ngrams.weight.pt"], "dañado"), (["--ckpt", "blocks.1.norm_2.bias.pt"], "dañado")])
def test_bad_input_gets_its_one_line(folder, flags, said):
    checkpoint = torch.load(folder / "gpt.pt", weights_only=True)
    for name in "ngrams.weight", "blocks.1.norm_2.bias":
        weights = {k: w for k, w in checkpoint["weights"].items() if k != name}
        torch.save({**checkpoint, "weights": weights}, folder / (name + ".pt"))   # le falta algo
    done = run_script("sample.py", "--ckpt", "gpt.pt", *flags, cwd=folder)
    one_line_error(done, said)
    assert done.stdout == "" and len(done.stderr) < 200

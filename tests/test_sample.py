"""sample.py: las mismas notas que la lección, la memoria, el sorteo y los ficheros dañados."""
import os
import pickle
import random
import runpy
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from conftest import ENV, ROOT, SMALL, command, one_line_error, run_script, start
from hypothesis import given, settings, strategies as st


@pytest.fixture(scope="module")
def sampler(trained, tmp_path_factory):
    """Los nombres de sample.py."""
    before = sys.argv, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    sys.argv = ["sample.py", str(trained / "ckpt.pt"), "--length", "1"]
    try:
        return runpy.run_path(str(ROOT / "sample.py"))
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGINT, before[1])
        signal.signal(signal.SIGPIPE, before[2])


# --- las notas

COMPONENTS = [[], ["--no-residual"], ["--no-layer_norm"], ["--no-feed_forward"], ["--n_layer", "0"],
              ["--n_head", "1"], ["--block_size", "1"], ["--block_size", "7"], ["--rotary"],
              ["--square"],
              ["--no-residual", "--no-layer_norm", "--no-feed_forward"]]


@pytest.mark.parametrize("flags", COMPONENTS, ids=lambda f: " ".join(f) or "todo")
def test_logits_are_the_lessons_with_and_without_cache_and_past_the_window(
        inside, sampler, small_text, flags):
    g = inside("06_gpt.py", *SMALL, "--data", small_text, "--steps", 0, *flags)
    model, config, T = g["model"].eval(), g["config"], g["BLOCK_SIZE"]
    torch.manual_seed(0)
    for w in model.parameters():
        torch.nn.init.normal_(w, std=0.2)
    w = {name: value.detach() for name, value in model.state_dict().items()}
    ids = torch.randint(g["V"], (3, 3 * T + 5))
    memory = None
    with torch.no_grad():
        for n in range(1, ids.size(1) + 1):
            uncached, _ = sampler["gpt"](w, config, ids[:, :n])
            expected = model(ids[:, max(0, n - T):n])[:, -1]
            assert torch.allclose(uncached, expected, atol=1e-4)
            cached, memory = sampler["gpt"](w, config, ids[:, :n], memory)
            window = ids[:, memory["start"]:n]
            assert torch.allclose(cached, model(window)[:, -1], atol=1e-4)
            assert min(n, max(1, T // 2)) <= window.size(1) <= T
            if n <= T:
                assert window.size(1) == n


def test_each_character_costs_at_most_two_positions(sampler):
    config = {"block_size": 16, "n_embd": 4, "n_head": 1, "n_layer": 1, "residual": True,
              "layer_norm": False, "feed_forward": False, "rotary": False, "square": False}
    w = {name: torch.randn(shape) for name, shape in sampler["gpt_shapes"](config, 3)}
    ids, memory, positions = torch.zeros(1, 400, dtype=torch.long), None, 0
    for n in range(1, 401):
        start, seen = (memory["start"], memory["seen"]) if memory else (-1, 0)
        _, memory = sampler["gpt"](w, config, ids[:, :n], memory)
        positions += memory["seen"] - (seen if memory["start"] == start else 0)
    assert 400 < positions <= 800


def test_a_prompt_longer_than_the_window_is_read_from_its_end(trained, run):
    prompt = (trained / "versos.txt").read_text("utf-8")[:50]
    done = run("sample.py", trained / "ckpt.pt", "--prompt", prompt, "--length", 60, "--seed", 1)
    assert done.returncode == 0 and done.stdout.startswith(prompt)
    assert len(done.stdout) == 50 + 60 + 1


# --- los modelos de una línea, contra la pérdida que midió su lección

@pytest.fixture(scope="module", params=[
    ("02_bigram.py", []),
    ("03_mlp.py", ["--n_embd", 4, "--n_hidden", 16, "--block_size", 4, "--learning_rate", 0.01]),
    ("04_batchnorm.py", ["--n_embd", 4, "--n_hidden", 16, "--n_layer", 2]),
    ("05_wavenet.py", ["--n_embd", 8, "--n_hidden", 8, "--demo_steps", 1]),
], ids=lambda p: p[0])
def line_model(request, tmp_path_factory):
    """Un modelo de línea entrenado 30 pasos con 430 pueblos: (punto de control, carpeta)."""
    script, flags = request.param
    folder = tmp_path_factory.mktemp("lineas")
    names = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[::60]
    (folder / "p.txt").write_text("\n".join(names), "utf-8")
    done = run_script(script, "--data", "p.txt", "--steps", 30, "--out", "l.pt", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "l.pt", weights_only=True), folder


def test_a_line_model_gives_the_loss_its_lesson_measured(line_model, sampler):
    """La pérdida de validación, rehecha carácter a carácter con sample.py, con memoria y sin ella."""
    c, folder = line_model
    forward, w, config, chars = sampler["rebuild"](folder / "l.pt")
    lines = [line.strip() for line in (folder / "p.txt").read_text("utf-8").split("\n") if line.strip()]
    random.Random(42).shuffle(lines)
    val = lines[int(0.8 * len(lines)):int(0.9 * len(lines))]
    ids = torch.tensor([[chars.index(char) for char in "\n".join(["", *val, ""])]])
    cached, memory, uncached = 0.0, None, 0.0
    with torch.inference_mode():
        for n in range(1, ids.size(1)):
            logits, memory = forward(w, config, ids[:, :n], memory)
            cached -= logits.log_softmax(1)[0, ids[0, n]].item()
            logits, _ = forward(w, config, ids[:, max(0, n - 10):n])  # más que cualquier contexto
            uncached -= logits.log_softmax(1)[0, ids[0, n]].item()
    assert abs(cached / (ids.size(1) - 1) - c["val_loss"]) < 1e-4
    assert abs(uncached / (ids.size(1) - 1) - c["val_loss"]) < 1e-4


def test_a_line_model_forgets_what_is_before_its_line(line_model, sampler):
    """«Sa» tras dos pueblos, tras uno o sola da lo mismo; y en un lote cada texto va por su lado."""
    c, folder = line_model
    forward, w, config, chars = sampler["rebuild"](folder / "l.pt")
    first, *texts = [[chars.index(char) for char in text] for text in ("Sa", "\nSa", "Lugo\nSa")]
    expected, _ = forward(w, config, torch.tensor([first]))
    for text in texts:
        assert torch.allclose(forward(w, config, torch.tensor([text]))[0], expected, atol=1e-5)
    rows = torch.tensor([[chars.index(char) for char in text] for text in
                         ("\nLeón\nMa", "\nRamales", "Sa\nSa\nSa", "\n\n\n\nOla\n")])
    memory = None
    for n in range(1, rows.size(1) + 1):
        together, memory = forward(w, config, rows[:, :n], memory)
        for k, row in enumerate(rows):
            alone, _ = forward(w, config, row[None, :n])
            assert torch.allclose(together[k], alone[0], atol=1e-5)


def test_a_line_model_writes_lines_and_its_damages_are_refused(line_model, sampler, run, tmp_path):
    c, folder = line_model
    done = run("sample.py", folder / "l.pt", "--prompt", "San ", "--length", 120, "--seed", 3)
    assert done.returncode == 0 and done.stdout.startswith("San ") and len(done.stdout) == 125
    for change, fragment in [
        (lambda c: c["weights"].pop(min(c["weights"])), "debería ser"),
        (put("weights", "otro", torch.zeros(3)), "otro"),
        (lambda c: c.update(chars=c["chars"].replace("\n", "\t")), "frontera"),
        (lambda c: [w.fill_(3e38) for w in c["weights"].values()], "no son números"),
        (lambda c: c["config"].clear(), "configuración"),
        (lambda c: c["config"].update({k: -1 for k in c["config"]}), "no se puede usar"),
    ]:
        if c["model"] == "bigram" and fragment in ("configuración", "no se puede usar", "no son números"):
            continue
        shutil.copy(folder / "l.pt", tmp_path / "d.pt")
        edited(tmp_path / "d.pt", change)
        with pytest.raises(SystemExit) as end:
            sampler["rebuild"](tmp_path / "d.pt")
        assert fragment in end.value.code and "\n" not in end.value.code


# --- el sorteo

logits = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=30, unique=True)


@settings(max_examples=100, deadline=None)
@given(logits, st.floats(1e-3, 1e3), st.integers(0, 40))
def test_probabilities_are_the_softmax_of_the_top_k(sampler, values, temperature, k):
    row = torch.tensor([values])
    p = sampler["probabilities"](row, temperature, k)[0]
    kept = sorted(range(len(values)), key=lambda i: -values[i])[:k or None]
    scaled = torch.full((len(values),), -float("inf"), dtype=torch.float64)
    scaled[kept] = row[0, kept].double() / temperature
    assert torch.allclose(p, scaled.softmax(0), atol=1e-12)


@pytest.mark.parametrize("temperature", [5e-324, 1e-30, 1e300])
def test_extreme_temperatures_are_still_probabilities(sampler, temperature):
    p = sampler["probabilities"](torch.tensor([[3.0, 1.0, -80.0]]), temperature)
    expected = [1, 0, 0] if temperature < 1 else [1 / 3] * 3
    assert torch.allclose(p, torch.tensor([expected], dtype=torch.float64))


def test_generated_pairs_follow_the_model(run, tmp_path):
    """Un GPT sin bloques es un bigrama: lo sorteado debe seguir sus probabilidades."""
    torch.manual_seed(0)
    config = {"block_size": 1, "n_embd": 3, "n_head": 1, "n_layer": 0, "residual": True,
              "layer_norm": False, "feed_forward": False, "rotary": False, "square": False}
    w = {"token.weight": torch.eye(3), "position.weight": torch.zeros(1, 3),
         "head.weight": torch.randn(3, 3), "head.bias": torch.zeros(3)}
    torch.save({"format": 1, "model": "gpt", "config": config, "chars": "abc", "weights": w},
               tmp_path / "b.pt")
    out = run("sample.py", "b.pt", "--length", 6000, "--seed", 5, "--temperature", 1.0,
              "--prompt", "a").stdout.strip()
    p = w["head.weight"].T.softmax(1)  # p[i, j]: tras i, j
    for i, a in enumerate("abc"):
        after = [y for x, y in zip(out, out[1:]) if x == a]
        for j, b in enumerate("abc"):
            assert abs(after.count(b) / len(after) - p[i, j]) < 0.04


# --- por la terminal

def test_same_seed_same_text_and_stdout_carries_the_text_alone(trained, run):
    args = ["sample.py", trained / "ckpt.pt", "--length", 80, "--prompt", "# "]
    a, b, c = run(*args, "--seed", 4), run(*args, "--seed", 4, real=True), run(*args, "--seed", 5)
    assert a.returncode == 0 and a.stdout == b.stdout != c.stdout
    assert a.stdout.startswith("# ") and len(a.stdout) == 2 + 80 + 1
    assert "por segundo" in a.stderr and "--seed 4" in a.stderr
    assert set(a.stdout) <= set((trained / "versos.txt").read_text("utf-8"))


def test_without_a_seed_each_text_is_new_and_says_how_to_repeat_it(trained, run):
    args = ["sample.py", trained / "ckpt.pt", "--length", 60]
    a, b = run(*args), run(*args)
    assert a.stdout != b.stdout
    seed = a.stderr.split("--seed ")[1].strip()
    assert run(*args, "--seed", seed).stdout == a.stdout


def test_several_texts_in_one_batch(trained, run):
    """Con top-k 1 no hay azar: los tres textos del lote son el que saldría solo."""
    args = ["sample.py", "--ckpt", trained / "ckpt.pt", "--length", 40, "--prompt", "La ", "--top_k", 1]
    alone, three = run(*args), run(*args, "--num", 3)
    assert three.stdout == alone.stdout + 2 * ("\n" + alone.stdout)
    assert three.stderr.count("--- 2 de 3 ---") == three.stderr.count("--- 3 de 3 ---") == 1


def test_the_texts_of_a_batch_differ(trained, run):
    out = run("sample.py", trained / "ckpt.pt", "--length", 60, "--num", 3, "--seed", 2).stdout
    assert len(out) == 3 * 61 + 2
    assert len({out[:60], out[62:122], out[124:184]}) == 3


def test_top_k_1_is_the_most_likely_text_whatever_the_seed(trained, inside, capsys):
    args = ["sample.py", trained / "ckpt.pt", "--length", 50, "--top_k", 1]
    texts = [(inside(*args, "--seed", seed), capsys.readouterr().out)[1] for seed in (1, 2)]
    assert texts[0] == texts[1] and len(texts[0]) >= 51


def test_the_text_comes_as_it_is_made(trained):
    p = start("sample.py", trained / "ckpt.pt", "--length", 10**6)
    assert len(p.stdout.read(200)) == 200 and p.poll() is None
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=30)
    assert err.strip() == "interrumpido"


def test_head_ends_it_quietly(trained):
    done = subprocess.run(" ".join(command("sample.py", trained / "ckpt.pt", "--length", 100000))
                          + " | head -c 50", shell=True, capture_output=True, timeout=60,
                          env={**ENV, "PYTHONIOENCODING": "ascii"})
    assert len(done.stdout) == 50 and done.stderr == b""


def test_prompt_in_nfd_is_understood(trained, run):
    done = run("sample.py", trained / "ckpt.pt", "--prompt", "an\u0303o", "--length", 3)
    assert done.returncode == 0 and done.stdout.startswith("año")


# --- lo que recibe una mala entrada

@pytest.mark.parametrize("flags, fragments", [
    (["--temperature", "0"], ["temperatura", "0.0"]),
    (["--temperature", "-1"], ["temperatura", "-1.0"]),
    (["--temperature", "nan"], ["temperatura", "nan"]),
    (["--temperature", "inf"], ["temperatura", "inf"]),
    (["--top_k", "-3"], ["--top_k", "-3"]),
    (["--length", "0"], ["--length"]),
    (["--num", "0"], ["--num"]),
    (["--seed", "-2"], ["--seed"]),
    (["--seed", str(2**80)], ["--seed"]),
    (["--prompt", "hola 😀"], ["«😀» (U+1F600)", "no está en el vocabulario"]),
    (["--device", "tostadora"], ["tostadora", "--device cpu"]),
    (["--ckpt", "no_existe.pt"], ["«no_existe.pt» no existe", "python 06_gpt.py"]),
    (["--ckpt", "."], ["«.» no se deja leer"]),
])
def test_bad_input_gets_its_one_line(inside, ckpt, capsys, flags, fragments):
    with pytest.raises(SystemExit) as end:
        inside("sample.py", "--ckpt", ckpt, *flags)
    assert end.value.code.startswith("error: ") and "\n" not in end.value.code
    for fragment in fragments:
        assert fragment in end.value.code
    assert capsys.readouterr().out == ""


def test_a_bad_input_from_outside_is_one_line_and_code_1(run, ckpt):
    one_line_error(run("sample.py", "nada.pt"), "«nada.pt» no existe")
    one_line_error(run("sample.py", ckpt, "--prompt", "日", env={"PYTHONIOENCODING": "ascii"}), "«日»")
    one_line_error(run("sample.py", ckpt, "--num", 10**9), "memoria")


def edited(path, change):
    """Aplica `change` al diccionario guardado en `path`."""
    c = torch.load(path, weights_only=True)
    change(c)
    torch.save(c, path)


def put(*keys_and_value):
    """Una función que pone un valor en c[k1][k2]..."""
    *keys, last, value = keys_and_value

    def change(c):
        for key in keys:
            c = c[key]
        c[last] = value
    return change


CORRUPT = [
    (put("format", 2), "formato"),
    (put("model", "loro"), "«loro»"),
    (put("model", 3), "no es un punto de control"),
    (put("weights", "head.bias", torch.zeros(3)), "head.bias"),
    (put("weights", "otro", torch.zeros(3)), "otro"),
    (lambda c: c["weights"].pop("position.weight"), "position.weight"),
    (lambda c: c["weights"]["head.bias"].fill_(float("nan")), "head.bias"),
    (lambda c: c["weights"]["token.weight"].view(-1)[5:6].fill_(float("inf")), "token.weight"),
    (put("weights", "head.bias", torch.zeros(3).double()), "head.bias"),
    (put("weights", "head.bias", "texto"), "no es un punto de control"),
    (put("weights", "head.weight", torch.zeros(1).expand(10**6, 10**6)), "head.weight"),
    (put("config", "n_layer", 10**9), "blocks.2"),
    (put("config", "n_layer", "dos"), "configuración"),
    (put("config", "n_head", 0), "configuración"),
    (put("config", "n_head", 3), "configuración"),
    (put("config", "n_embd", -16), "token.weight"),
    (put("config", "block_size", 10**12), "position.weight"),
    (put("config", {}), "configuración"),
    (lambda c: c.pop("config"), "no es un punto de control"),
    (lambda c: c.pop("chars"), "no es un punto de control"),
    (put("chars", "aaa"), "token.weight"),
]


@pytest.mark.parametrize("change, fragment", CORRUPT)
def test_a_damaged_checkpoint_is_refused_with_one_line(inside, ckpt, change, fragment, capsys):
    edited(ckpt, change)
    with pytest.raises(SystemExit) as end:
        inside("sample.py", ckpt)
    assert end.value.code.startswith("error: ") and "\n" not in end.value.code
    assert fragment in end.value.code and capsys.readouterr().out == ""


def test_repeated_characters_in_the_vocabulary_are_refused(inside, ckpt):
    edited(ckpt, lambda c: c.update(chars=c["chars"][:-1] + c["chars"][0]))
    with pytest.raises(SystemExit, match="repetidos"):
        inside("sample.py", ckpt)


def test_truncated_and_flipped_files_never_give_a_traceback(inside, ckpt):
    """Doscientos daños al azar: cortes y octetos cambiados. O se rechaza con una línea, o se carga."""
    whole, chance, refused = ckpt.read_bytes(), random.Random(0), 0
    load = inside("sample.py", ckpt, "--length", 1)["rebuild"]
    for trial in range(200):
        raw = bytearray(whole)
        if trial % 2:
            del raw[chance.randrange(len(raw)):]
        else:
            for _ in range(chance.randint(1, 20)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        ckpt.write_bytes(raw)
        try:
            load(str(ckpt))
        except SystemExit as end:
            refused += 1
            assert end.code.startswith("error: ") and "\n" not in end.code
            assert "dañado" in end.code or trial % 2 == 0
    assert refused >= 100


class Bomb:
    """Un objeto que al leerse con pickle crearía un fichero."""

    def __reduce__(self):
        return os.system, ("touch explotado",)


@pytest.mark.parametrize("how", [lambda f: torch.save({"format": 1, "model": Bomb()}, f),
                                 lambda f: open(f, "wb").write(pickle.dumps(Bomb()))])
def test_a_file_that_would_run_code_is_refused(run, tmp_path, how):
    how(tmp_path / "bomba.pt")
    one_line_error(run("sample.py", "bomba.pt"), "no es un punto de control")
    assert os.listdir(tmp_path) == ["bomba.pt"]

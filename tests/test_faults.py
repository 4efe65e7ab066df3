"""Lo que se rompe: ficheros dañados, cortados u hostiles, un kill -9 al guardar, un disco lleno."""
import io
import os
import pickle
import random

import pytest
import torch
from conftest import ROOT, one_line_error, run_script

TEXT = "Un verso corto, otro más largo\ny un ñandú que pasa\n" * 20
SMALL = ["--n_embd", 8, "--n_head", 2, "--n_layer", 1, "--block_size", 8, "--length", 5, "--ngrams", 16,
         "--steps", 6, "--eval_interval", 2, "--batch_size", 4]


def train(folder, *flags):
    """Entrena un GPT mínimo en `folder` con TEXT; su resultado."""
    (folder / "t.txt").write_text(TEXT, "utf-8")
    return run_script("06_gpt.py", *SMALL, "--data", folder / "t.txt", *flags, cwd=folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Los bytes de un punto de control sano."""
    folder = tmp_path_factory.mktemp("sano")
    done = train(folder)
    assert done.returncode == 0, done.stderr
    return (folder / "ckpt.pt").read_bytes()


def opens(folder, data):
    """Abre con sample.py un fichero de bytes `data`: si habló. O habla, o lo dice en una línea."""
    (folder / "malo.pt").write_bytes(data)
    done = run_script("sample.py", "malo.pt", "--length", 3, "--seed", 1, cwd=folder)
    if done.returncode:
        one_line_error(done, "malo.pt")
    return done.returncode == 0


def flipped(data, rng):
    """`data` con un bit cambiado en un lugar al azar."""
    data = bytearray(data)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def saved(value, **kind):
    """Los bytes de `torch.save(value)`."""
    file = io.BytesIO()
    torch.save(value, file, **kind)
    return file.getvalue()


def test_a_flipped_bit_or_a_cut_never_ends_in_a_traceback(whole, tmp_path):
    rng = random.Random(1)
    for _ in range(25):
        opens(tmp_path, flipped(whole, rng))
    for cut in 0, 1, 100, len(whole) // 2, len(whole) - 1:
        assert not opens(tmp_path, whole[:cut])
    assert opens(tmp_path, whole)


class Hostile:
    """Un objeto que, al leerse de un pickle, crea el fichero «ejecutado»."""

    def __reduce__(self):
        return os.system, ("touch ejecutado",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_execute_does_not(whole, tmp_path, protocol):
    checkpoint = torch.load(io.BytesIO(whole), weights_only=True)
    for evil in (pickle.dumps(Hostile(), protocol), saved(Hostile(), pickle_protocol=protocol),
                 saved({**checkpoint, "data": Hostile()}, pickle_protocol=protocol)):
        assert not opens(tmp_path, evil)
        one_line_error(train(tmp_path, "--resume", "malo.pt"), "malo.pt")
    assert not (tmp_path / "ejecutado").exists()


def spoiled(checkpoint):
    """Puntos de control bien escritos que no pueden hablar: {qué les pasa: contenido}."""
    c, w = checkpoint["config"], checkpoint["weights"]
    yield "no es un diccionario", [1, 2]
    yield "vacío", {}
    yield "de otro modelo", {**checkpoint, "model": "loro"}
    yield "de otro formato", {**checkpoint, "format": 2}
    yield "sin configuración", {**checkpoint, "config": 3}
    for key, value in (("n_head", 0), ("n_head", 3), ("n_embd", "a"), ("block_size", 0),
                       ("block_size", "a"), ("n_layer", 2)):
        yield f"{key} = {value}", {**checkpoint, "config": {**c, key: value}}
    yield "sin caracteres", {**checkpoint, "chars": ""}
    yield "con pocos caracteres", {**checkpoint, "chars": checkpoint["chars"][:-1]}
    yield "sin pesos", {**checkpoint, "weights": {}}
    yield "con un peso de menos", {**checkpoint, "weights": {k: w[k] for k in list(w)[1:]}}
    yield "con un peso que es texto", {**checkpoint, "weights": {**w, "head.bias": "a"}}
    yield "con otra forma", {**checkpoint, "weights": {**w, "head.weight": w["head.weight"][:1]}}
    yield "con NaN", {**checkpoint, "weights": {**w, "head.bias": w["head.bias"] * float("nan")}}


def test_a_checkpoint_that_makes_no_sense_is_one_line(whole, tmp_path):
    for what, checkpoint in spoiled(torch.load(io.BytesIO(whole), weights_only=True)):
        assert not opens(tmp_path, saved(checkpoint)), what


def test_resume_refuses_what_it_cannot_follow(whole, tmp_path):
    checkpoint = torch.load(io.BytesIO(whole), weights_only=True)
    del checkpoint["training"]
    for data in whole[:1000], saved(checkpoint), saved([1]), saved({**checkpoint, "training": 3}):
        (tmp_path / "malo.pt").write_bytes(data)
        one_line_error(train(tmp_path, "--resume", "malo.pt", "--steps", 8), "malo.pt")
    one_line_error(train(tmp_path, "--resume", "no.pt"), "no.pt")


KILLER = """import os, signal, sys, runpy
moment, times = sys.argv.pop(1), int(sys.argv.pop(1))
def deadly(real):
    def call(*args):
        global times
        times -= 1
        if times == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)
    return call
setattr(os, moment, deadly(getattr(os, moment)))
sys.argv[0] = {path!r}
runpy.run_path({path!r}, run_name="__main__")
"""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_at_any_save_loses_nothing(whole, tmp_path, moment):
    """Muere con lo nuevo a medio asegurar, o antes de ponerlo: lo guardado sigue y acaba igual."""
    (tmp_path / "t.txt").write_text(TEXT, "utf-8")
    (tmp_path / "killer.py").write_text(KILLER.format(path=str(ROOT / "06_gpt.py")), "utf-8")
    for times in 1, 2, 3:
        (tmp_path / "ckpt.pt").unlink(missing_ok=True)
        flags = [moment, times, *SMALL, "--data", tmp_path / "t.txt"]
        assert run_script(tmp_path / "killer.py", *flags, cwd=tmp_path).returncode == -9
        if times == 1:
            assert not (tmp_path / "ckpt.pt").exists()
            continue
        step = torch.load(tmp_path / "ckpt.pt", weights_only=True)["training"]["step"]
        assert step == 2 * (times - 1)
        assert train(tmp_path, "--resume", "ckpt.pt").returncode == 0
        ended = torch.load(tmp_path / "ckpt.pt", weights_only=True)
        for name, w in torch.load(io.BytesIO(whole), weights_only=True)["weights"].items():
            assert torch.equal(ended["weights"][name], w), name

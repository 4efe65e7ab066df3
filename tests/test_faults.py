"""Lo que se rompe: ficheros dañados, cortados u hostiles, y un kill -9 mientras se guarda."""
import io
import os
import pickle
import random

import pytest
import torch
from conftest import ROOT, one_line_error, run_script, sampled

TEXT = "Un verso corto, otro más largo\ny un ñandú que pasa\n" * 20
SMALL = [
    "--data", "t.txt",
    "--n_embd", 8,
    "--n_head", 2,
    "--n_layer", 1,
    "--block_size", 8,
    "--batch_size", 4,
    "--ngrams", 3,
    "--rows", 11,
    "--length", 5,
    "--steps", 6,
    "--eval_interval", 2,
]


def train(folder, *flags):
    """Entrena un GPT mínimo en `folder`, seis pasos que se guardan de dos en dos: su resultado."""
    (folder / "t.txt").write_text(TEXT, "utf-8")
    return run_script("06_gpt.py", *SMALL, *flags, cwd=folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Los bytes de un punto de control sano."""
    folder = tmp_path_factory.mktemp("sano")
    done = train(folder)
    assert done.returncode == 0, done.stderr
    return (folder / "ckpt.pt").read_bytes()


@pytest.fixture
def checkpoint(whole):
    """Lo que hay en ese fichero."""
    return torch.load(io.BytesIO(whole))


def saved(value, **kind):
    """Los bytes de `torch.save(value)`."""
    file = io.BytesIO()
    torch.save(value, file, **kind)
    return file.getvalue()


@pytest.fixture
def speaks(tmp_path):
    """speaks(bytes): si sample.py habla con ese fichero; si no, lo ha dicho en una línea."""
    def told(data):
        (tmp_path / "malo.pt").write_bytes(data)
        done = run_script("sample.py", "malo.pt", "--length", 3, cwd=tmp_path)
        if done.returncode:
            one_line_error(done, "malo.pt")
        return done.returncode == 0
    return told


def test_a_whole_file_speaks(speaks, whole):
    assert speaks(whole)


@pytest.mark.parametrize("cut", [0, 1, 100, 5_000, -1])
def test_a_cut_file_is_one_line(speaks, whole, cut):
    assert not speaks(whole[:cut])


@pytest.mark.parametrize("seed", sampled(range(40), [0]))
def test_a_flipped_bit_never_ends_in_a_traceback(speaks, whole, seed):
    rng = random.Random(seed)
    for _ in range(25):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        speaks(data)


# Ficheros bien escritos que no pueden hablar
@pytest.mark.parametrize("value", [[1, 2], {}])
def test_something_else_is_one_line(speaks, value):
    assert not speaks(saved(value))


@pytest.mark.parametrize("key, value", [
    ("model", "loro"),
    ("format", 2),
    ("config", 3),
    ("chars", ""),
    ("chars", "abc"),
    ("weights", {}),
])
def test_a_wrong_entry_is_one_line(speaks, checkpoint, key, value):
    checkpoint[key] = value
    assert not speaks(saved(checkpoint))


@pytest.mark.parametrize("key, value", [
    ("n_head", 0),
    ("n_head", 3),
    ("block_size", 0),
    ("block_size", "a"),
    ("n_layer", 2),
])
def test_a_wrong_shape_is_one_line(speaks, checkpoint, key, value):
    checkpoint["config"][key] = value
    assert not speaks(saved(checkpoint))


@pytest.mark.parametrize("bias", ["a", torch.zeros(3), torch.tensor(float("nan"))])
def test_a_wrong_weight_is_one_line(speaks, checkpoint, bias):
    checkpoint["weights"]["head.bias"] = bias
    assert not speaks(saved(checkpoint))


# Un fichero hostil
class Hostile:
    """Un objeto que, al leerse de un pickle, crea el fichero «ejecutado»."""

    def __reduce__(self):
        return os.system, ("touch ejecutado",)


@pytest.mark.parametrize("protocol", sampled(range(6), [0, 2, 5]))
def test_a_pickle_that_would_execute_does_not(speaks, checkpoint, tmp_path, protocol):
    assert not speaks(pickle.dumps(Hostile(), protocol))
    assert not speaks(saved(Hostile(), pickle_protocol=protocol))
    checkpoint["data"] = Hostile()
    assert not speaks(saved(checkpoint, pickle_protocol=protocol))
    one_line_error(train(tmp_path, "--resume", "malo.pt"), "malo.pt")
    assert not (tmp_path / "ejecutado").exists()


# Seguir desde lo que no se puede
@pytest.mark.parametrize("training", [3, {}, {"step": 2}])
def test_a_wrong_training_cannot_be_resumed(checkpoint, tmp_path, training):
    checkpoint["training"] = training
    torch.save(checkpoint, tmp_path / "malo.pt")
    one_line_error(train(tmp_path, "--resume", "malo.pt"), "malo.pt")


def test_a_cut_file_cannot_be_resumed(whole, tmp_path):
    (tmp_path / "malo.pt").write_bytes(whole[:1000])
    one_line_error(train(tmp_path, "--resume", "malo.pt"), "malo.pt")


# Un kill -9 mientras se guarda
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


@pytest.fixture(params=["fsync", "replace"])
def killed(request, tmp_path):
    """killed(2): entrena, y muere con el segundo fichero a medio asegurar, o antes de ponerlo."""
    (tmp_path / "t.txt").write_text(TEXT, "utf-8")
    killer = tmp_path / "killer.py"
    killer.write_text(KILLER.format(path=str(ROOT / "06_gpt.py")), "utf-8")

    def at_the_save(number):
        done = run_script(killer, request.param, number, *SMALL, cwd=tmp_path)
        assert done.returncode == -9
    return at_the_save


def test_killed_at_the_first_save_there_is_no_checkpoint(killed, tmp_path):
    killed(1)
    assert not (tmp_path / "ckpt.pt").exists()


@pytest.mark.parametrize("number, step", [(2, 2), (3, 4)])
def test_killed_at_a_save_it_goes_on_to_the_same_end(killed, checkpoint, tmp_path, number, step):
    killed(number)
    assert torch.load(tmp_path / "ckpt.pt")["training"]["step"] == step
    assert train(tmp_path, "--resume", "ckpt.pt").returncode == 0
    ended = torch.load(tmp_path / "ckpt.pt")["weights"]
    for name, w in checkpoint["weights"].items():
        assert torch.equal(ended[name], w)

"""models/: los modelos que vienen con el curso pesan poco, escriben bien y valen lo que se dice."""
import functools
import re

import metre
import pytest
import torch
from conftest import ROOT, run_script

FOLDER = ROOT / "models"
NAMES = sorted(path.stem for path in FOLDER.glob("*.pt"))
README = (FOLDER / "README.md").read_text("utf-8")
TEXTS = {"poesia": "poesia", "sonetos": "disco", "shakespeare": "shakespeare"}


def read(name):
    return torch.load(FOLDER / f"{name}.pt", weights_only=True)


def text_of(name):
    """El texto con que se entrenó un modelo; si no está, la prueba se salta."""
    path = ROOT / "data" / f"{TEXTS[name]}.txt"
    if not path.is_file():
        pytest.skip(f"falta {path.name}: python data/prepare.py {path.stem}")
    return path.read_text("utf-8")


def section(name):
    """Lo que el README de models/ dice de un modelo."""
    return re.search(rf"## {name}\.pt\n(.*?)(\n## |\Z)", README, re.S)[1]


def test_all_fit_in_a_small_box():
    assert NAMES == ["poesia", "shakespeare", "sonetos"]
    sizes = [(FOLDER / f"{name}.pt").stat().st_size for name in NAMES]
    assert max(sizes) <= 10e6
    assert sum(sizes) <= 24e6


@pytest.mark.parametrize("name", NAMES)
def test_a_model_carries_no_training(name):
    assert "training" not in read(name)


@pytest.mark.parametrize("name", NAMES)
def test_its_weights_take_16_bits(name):
    assert {w.dtype for w in read(name)["weights"].values()} == {torch.float16}


@pytest.mark.parametrize("name", NAMES)
def test_the_order_in_the_readme_gives_its_shape(name):
    checkpoint = read(name)
    order = re.search(r"^    python 06_gpt\.py (.+)$", section(name), re.M)[1]
    flags = dict(re.findall(r"--(\w+) ([^-\s]\S*)", order))
    assert flags["data"] == checkpoint["data"] == f"{TEXTS[name]}.txt"
    for key, value in flags.items():
        told = checkpoint["config"].get(key, value)
        assert str(told) == value, key


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_tells_its_figures(name):
    checkpoint = read(name)
    assert f"{checkpoint['val_loss']:.4f}" in section(name)
    assert str(checkpoint["step"]) in section(name)


@pytest.mark.parametrize("name", NAMES)
def test_its_loss_is_measured_again(lesson, name):
    text_of(name)                                            # o se salta
    model = FOLDER / f"{name}.pt"
    g = lesson("06_gpt.py", "--steps", 0, "--data", f"{TEXTS[name]}.txt", "--base", model,
               "--length", 9)
    measured = read(name)["val_loss"]
    assert g["chars"] == read(name)["chars"]
    assert abs(g["newborn"] - measured) < 1e-3               # por los 16 bits


@pytest.mark.parametrize("name", NAMES)
def test_it_speaks(run, name):
    done = run("sample.py", FOLDER / f"{name}.pt", "--length", 3)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """written("poesia"): dieciséis textos que escribe ese modelo, siempre los mismos."""
    @functools.cache
    def by_model(name):
        flags = ["--num", 16, "--length", 600, "--seed", 1]
        folder = tmp_path_factory.mktemp(name)
        done = run_script("sample.py", FOLDER / f"{name}.pt", *flags, cwd=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return by_model


@pytest.mark.parametrize("name, least", [
    ("poesia", 0.86),
    ("shakespeare", 0.96),
    ("sonetos", 0.96),
])
def test_its_words_exist(written, name, least):
    known = set(re.findall(r"\w+", text_of(name).lower()))
    words = re.findall(r"\w+", written(name).lower())
    exist = [word for word in words if word in known]
    assert len(words) > 1_000
    assert len(exist) >= least * len(words)


@pytest.mark.parametrize("name", ["poesia", "shakespeare"])
def test_it_copies_ten_words_at_most(written, name):
    source = text_of(name).split()
    ours = written(name).split()
    assert len(metre.longest_copy(ours, source)) <= 10


@pytest.mark.parametrize("name", NAMES)
def test_its_verses_copy_ten_words_at_most(written, name):
    """sonetos.pt repite un título, «A la muerte del doctor…», que llevan 42 sonetos de DISCO."""
    source = text_of(name).split()
    verses = re.sub(r"(?m)^# .*", "", written(name))
    ours = verses.split()
    assert len(metre.longest_copy(ours, source)) <= 10

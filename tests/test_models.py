"""models/: los modelos que vienen con el curso pesan poco, escriben bien y valen lo que se dice."""
import re

import metre
import pytest
import torch
from conftest import ROOT

FOLDER = ROOT / "models"
NAMES = sorted(path.stem for path in FOLDER.glob("*.pt"))
README = (FOLDER / "README.md").read_text("utf-8")


def read(name):
    return torch.load(FOLDER / f"{name}.pt", weights_only=True)


def text_of(name):
    """El texto con que se entrenó un modelo; si no está, la prueba se salta."""
    path = ROOT / "data" / f"{name}.txt"
    if not path.is_file():
        pytest.skip(f"falta data/{name}.txt: python data/prepare.py {name}")
    return path.read_text("utf-8")


def section(name):
    """Lo que el README de models/ dice de un modelo."""
    return re.search(rf"## {name}\.pt\n(.*?)(\n## |\Z)", README, re.S)[1]


def test_all_fit_in_a_small_box():
    assert NAMES == ["poesia", "shakespeare", "sonetos"]
    sizes = [(FOLDER / f"{name}.pt").stat().st_size for name in NAMES]
    assert max(sizes) <= 10e6 and sum(sizes) <= 24e6


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_what_its_readme_says(name):
    checkpoint, said = read(name), section(name)
    assert "training" not in checkpoint and checkpoint["data"] == f"{name}.txt"
    assert {w.dtype for w in checkpoint["weights"].values()} == {torch.float16}
    order = re.search(r"^    python 06_gpt\.py (.+)$", said, re.M)[1]
    flags = dict(re.findall(r"--(\w+) (\S+)", order))
    assert flags["data"] == f"{name}.txt"
    for key, value in flags.items():                         # la orden dice la forma que tiene
        assert str(checkpoint["config"].get(key, value)) == value, key
    assert f"{checkpoint['val_loss']:.4f}" in said and str(checkpoint["step"]) in said


@pytest.mark.parametrize("name", NAMES)
def test_its_loss_is_measured_again(lesson, name):
    checkpoint, text = read(name), text_of(name)
    flags = ["--steps", 0, "--data", f"{name}.txt"]
    for key, value in checkpoint["config"].items():
        if not isinstance(value, bool):
            flags += ["--" + key, value]
    g = lesson("06_gpt.py", *flags)
    assert g["text"] == text and g["chars"] == checkpoint["chars"]
    g["model"].load_state_dict(checkpoint["weights"])
    assert abs(g["evaluate"](g["val"]) - checkpoint["val_loss"]) < 1e-3         # por los 16 bits


@pytest.mark.parametrize("name, least", [("poesia", 0.86), ("shakespeare", 0.96), ("sonetos", 0.96)])
def test_it_invents_and_its_words_exist(run, name, least):
    done = run("sample.py", FOLDER / f"{name}.pt", "--num", 16, "--length", 600, "--seed", 1)
    assert done.returncode == 0, done.stderr
    source = text_of(name)
    known, words = set(re.findall(r"\w+", source.lower())), re.findall(r"\w+", done.stdout.lower())
    assert len(words) > 1_000 and sum(word in known for word in words) >= least * len(words)
    assert len(metre.longest_copy(done.stdout.split(), source.split())) <= 10

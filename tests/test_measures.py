"""measures/: se explican, experiments.py lee y compara, y peers.py hace el trabajo de cada uno."""
import math
import sys

import experiments
import peers
import pytest
import torch
from conftest import LINES, NAMES, ROOT, needs_names
from experiments import Claim

SCRIPTS = sorted(path.name for path in (ROOT / "measures").glob("*.py"))
LESSONS = sorted(ROOT.glob("0*.py"))
TOY = '''
SIZE = 1  # lo que mide
import sys
size = int(sys.argv[2]) if sys.argv[1:] else 1
print(f"1. largo 9.0\\n2. largo {size / 2}, ancho {size}\\nresultado val={size / 4}")

# %% Experimentos: predice antes de mirar (tal como viene: val 0.25)
# - SIZE = 3: ¿cuánto crece? Respuesta: val 0.75; celda 2: largo 1.5.
'''


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_how_to_run_it(run, name):
    done = run(f"measures/{name}", "--help")
    assert done.returncode == 0
    assert f"python measures/{name}" in done.stdout


# experiments.py: leer
@pytest.mark.parametrize("script", LESSONS, ids=lambda script: script.stem)
def test_every_experiment_of_a_lesson_can_be_read(script):
    source = script.read_text("utf-8")
    for one in experiments.read(script):
        assert one.claims, one.text
        for name in one.settings:
            assert f"\n{name} = " in source


def test_settings_are_read_with_their_types():
    settings, rest = experiments.split_settings('A = 7e-3, RELU = False, DATA = "x.txt": ¿y qué?')
    assert settings == {"A": 7e-3, "RELU": False, "DATA": "x.txt"}
    assert rest == " ¿y qué?"


def test_settings_are_typed_as_flags():
    order = experiments.flags({"A": 2, "RELU": False, "PLOT": True}, ".")
    assert order == ["--a", "2", "--no-relu", "--plot"]


def claims(text):
    """Lo que se lee en el texto de un experimento, como «celda: palabras | cifras»."""
    found = []
    for claim in experiments.read_claims(experiments.answer(text)):
        figures = [claim.words[i] for i in claim.figures]
        found.append(f"{claim.cell}: {' '.join(claim.words)} | {' '.join(figures)}")
    return found


def test_a_question_claims_nothing():
    text = "¿Y con 4000 pasos? No: val 1.783."
    assert claims(text) == ["None: val 1.783 | 1.783"]


def test_prose_before_the_answer_claims_nothing():
    text = "De 0 a 9, entre 86 y 98. Respuesta: pérdida 0.0675, aciertos 98."
    assert claims(text) == ["None: pérdida 0.0675 aciertos 98 | 0.0675 98"]


def test_a_cell_lasts_till_the_end_of_the_sentence():
    text = "celda 2: L 0.5; dispara 7. Menos: val 1.5."
    assert claims(text) == ["2: L 0.5 | 0.5", "2: dispara 7 | 7", "None: val 1.5 | 1.5"]


def test_an_integer_before_the_figure_is_a_name():
    text = "celda 10: contar con 4, 1.6852."
    assert claims(text) == ["10: contar con 4 1.6852 | 1.6852"]


def test_the_first_number_of_a_bare_row_is_its_name():
    text = "celda 1: 1e-05 4e-04 9e-09."
    assert claims(text) == ["1: 1e-05 4e-04 9e-09 | 4e-04 9e-09"]


def test_no_figure_claims_nothing():
    assert claims("¿Se nota? Nada de nada.") == []


# experiments.py: comparar
PRINTED = """1. val 3.0
2. val 2.0
   val 1.0
resultado val=0.5"""


def test_the_last_figure_in_its_cell_counts():
    claim = Claim(2, ["val", "9"], [1])
    assert experiments.look_up(claim, PRINTED) == ("1.0",)


def test_without_a_cell_the_last_line_counts():
    claim = Claim(None, ["val", "9"], [1])
    assert experiments.look_up(claim, PRINTED) == ("0.5",)


def test_a_figure_that_is_not_printed_is_not_found():
    claim = Claim(None, ["va", "9"], [1])
    assert experiments.look_up(claim, PRINTED) is None


@pytest.mark.parametrize("said, found, expected", [
    ("104", "105", True),                # una unidad de la última cifra
    ("104", "106", False),
    ("1.783", "1.7829", True),
    ("2.10", "2.12", False),
    ("3.6e-05", "3.7e-05", True),
    ("3.6e-05", "3.9e-05", False),
])
def test_close_figures(said, found, expected):
    assert experiments.close(said, found, tolerance=0) is expected


@pytest.mark.parametrize("truth, missed", [("val 0.75", False), ("val 0.85", True)])
def test_a_script_is_run_as_typed(tmp_path, monkeypatch, truth, missed):
    (tmp_path / "07_toy.py").write_text(TOY.replace("val 0.75", truth), "utf-8")
    monkeypatch.setattr(experiments, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["experiments.py"])
    assert experiments.main() is missed


# experiments.py: un experimento de cada lección que no pide entrenar
@pytest.mark.parametrize("label, steps", [("00.1", 0), ("01.2", 0), ("02.1", 1)])
def test_a_quick_experiment_comes_out_as_said(lesson, label, steps):
    script = next(ROOT.glob(f"{label[:2]}_*.py"))
    one = next(one for one in experiments.read(script) if one.label == label)
    quick = one.settings | {"STEPS": steps}
    order = experiments.flags(quick, ".")
    printed = lesson(script.name, *order)["said"]
    for claim in one.claims:
        line, fits = experiments.compare(claim, printed, 0.002)
        assert fits, line


# peers.py
def test_the_gradient_of_micrograd_rewritten_is_that_of_pytorch():
    a, b = peers.Scalar(2.0), peers.Scalar(-3.0)
    x, y = [torch.tensor(n, requires_grad=True) for n in (2.0, -3.0)]
    (a * b + a + (a * 4.0).relu() + (b * 4.0).relu()).backward()
    (x * y + x + (x * 4.0).relu() + (y * 4.0).relu()).backward()
    assert (a.grad, b.grad) == (x.grad.item(), y.grad.item())


@needs_names
def test_the_lecture_s_split_is_the_published_one():
    X, Y, Xval, Yval = peers.class_data(NAMES, 3)
    assert X.shape == (182625, 3)
    assert Xval.shape == (22655, 3)


@needs_names
@pytest.mark.slow
def test_the_lecture_s_bigram_loss_is_the_published_one(run):
    done = run("measures/peers.py", "--only", "clase1", "--repeats", 1, "--data", NAMES.parent)
    assert done.returncode == 0, done.stderr
    assert "2.4541             2.4541             2.4540" in done.stdout


def test_nanogpt_rewritten_has_its_parameters():
    shakespeare = 65                                             # caracteres distintos
    model = peers.PlainGPT(shakespeare)
    count = sum(w.numel() for w in model.parameters())
    positions = 64 * 128
    assert round((count - positions) / 1e6, 2) == 0.80           # lo que nanoGPT escribe al empezar


def test_nanogpt_rewritten_is_born_doubting(tmp_path):
    path = tmp_path / "texto.txt"
    path.write_text(LINES * 10, "utf-8")
    nano = peers.Nano(path)
    assert abs(nano.whole() - math.log(len(nano.chars))) < 0.2
    before = nano.whole()
    for i in range(5):
        nano.step(i)
    assert nano.whole() < before


def test_a_missing_text_is_one_line(run, tmp_path):
    done = run("measures/peers.py", "--only", "clase2", "--data", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no está")

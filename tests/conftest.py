"""Lo que comparten las pruebas: ejecutar los guiones de verdad, con constantes pequeñas."""
import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # con modelos tan pequeños, más hilos estorban
os.environ.setdefault("MPLBACKEND", "Agg")      # figuras sin ventana
settings.register_profile("repetible", derandomize=True, deadline=None)
settings.load_profile("repetible")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
SMALL = ["--n_embd", "16", "--n_head", "2", "--n_layer", "2", "--block_size", "16",
         "--batch_size", "4", "--length", "5", "--device", "cpu"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
CAN_LOSE = "Bajo el olmo del camino canta un grillo y nadie escucha.\nÑu, pingüino, ¿qué?\n" * 12


def pytest_sessionstart():
    """La primera vez, matplotlib busca las letras y lo cuenta por stderr: que sea antes de todo."""
    try:
        import matplotlib.font_manager  # noqa: F401
    except ImportError:
        pass


def command(script, *args):
    """La orden que ejecuta `script` con este mismo intérprete."""
    return [sys.executable, str(ROOT / script), *map(str, args)]


@pytest.fixture
def run(tmp_path):
    """run("06_gpt.py", "--steps", 3): lo ejecuta en una carpeta vacía; stdout y stderr en UTF-8."""
    def run(script, *args, cwd=tmp_path, env=None, **kw):
        return subprocess.run(command(script, *args), cwd=cwd, env={**ENV, **(env or {})},
                              capture_output=True, encoding="utf-8", timeout=300, **kw)
    return run


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """inside("06_gpt.py", "--steps", 0): lo ejecuta en este proceso y devuelve sus nombres."""
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGPIPE)}
    monkeypatch.chdir(tmp_path)

    def inside(script, *args):
        monkeypatch.setattr(sys, "argv", [script, *map(str, args)])
        return runpy.run_path(str(ROOT / script))
    yield inside
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def small_text(tmp_path):
    """Un texto pequeño, con eñes, tildes y signos de apertura."""
    path = tmp_path / "texto.txt"
    path.write_text(CAN_LOSE, "utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Un GPT pequeño entrenado 40 pasos con los primeros 20 000 caracteres de poesia.txt."""
    folder = tmp_path_factory.mktemp("entrenado")
    poems = (ROOT / "data" / "poesia.txt").read_text("utf-8")
    (folder / "versos.txt").write_text(poems[:20_000], "utf-8")
    done = subprocess.run(command("06_gpt.py", *SMALL, "--data", "versos.txt", "--steps", 40,
                                  "--eval_interval", 20), cwd=folder, env=ENV,
                          capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    (folder / "salida.txt").write_text(done.stdout, "utf-8")
    return folder


@pytest.fixture
def ckpt(trained, tmp_path):
    """Una copia, que se puede estropear, del punto de control de `trained`."""
    return Path(shutil.copy(trained / "ckpt.pt", tmp_path / "ckpt.pt"))


def one_line_error(done, *fragments):
    """`done` acabó con código 1, una sola línea en stderr, sin traceback, que dice `fragments`."""
    assert done.returncode == 1, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for fragment in fragments:
        assert str(fragment) in lines[0], (fragment, lines[0])

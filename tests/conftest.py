"""Lo que comparten las pruebas: ejecutar un guion de verdad, deprisa, y juzgar un error."""
import contextlib
import io
import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "measures"))               # metre, y lo demás que se mide
SHARED = ROOT.parent / "shared" / "data"                  # textos de referencia, donde los haya
NAMES = next((p / "names.txt" for p in (ROOT / "data", SHARED) if (p / "names.txt").is_file()), None)
needs_names = pytest.mark.skipif(not NAMES, reason="falta names.txt: python data/prepare.py names")
os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "80", "MPLBACKEND": "Agg"}
processes = multiprocessing.get_context("forkserver")        # un servidor que ya leyó torch
processes.set_forkserver_preload(["torch", "numpy", "conftest"])


def become(path, args, folder):
    """En un proceso recién bifurcado: ser `python path args`, en `folder`, con su salida en ficheros."""
    os.chdir(folder)
    for number, name in (1, "stdout"), (2, "stderr"):
        os.dup2(os.open(name + ".txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = [str(path), *args]
    runpy.run_path(str(path), run_name="__main__")


def run_script(script, *args, cwd):
    """Ejecuta un guion hasta el final: su código (returncode), stdout y stderr."""
    process = processes.Process(target=become, args=(ROOT / script, [str(a) for a in args], cwd))
    process.start()
    process.join(300)
    process.kill()
    out, err = ((Path(cwd) / name).read_text("utf-8") for name in ("stdout.txt", "stderr.txt"))
    return SimpleNamespace(returncode=process.exitcode, stdout=out, stderr=err)


def inside(script, *args, cwd):
    """Ejecuta un guion en este proceso: sus nombres y, en "said", lo que imprimió."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [str(ROOT / script), *map(str, args)])
        names = runpy.run_path(str(ROOT / script))
    return names | {"said": said.getvalue()}


def start(script, *args, **kw):
    """Empieza a ejecutar un guion en un intérprete propio, y devuelve su Popen: para las señales."""
    order = [sys.executable, str(ROOT / script), *map(str, args)]
    kw = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", **kw}
    return subprocess.Popen(order, **kw)


@pytest.fixture
def run(tmp_path):
    """run("06_gpt.py", "--steps", 3): lo ejecuta en una carpeta vacía."""
    return lambda script, *args: run_script(script, *args, cwd=tmp_path)


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """lesson("06_gpt.py", "--steps", 0): lo ejecuta en este proceso y devuelve sus nombres."""
    monkeypatch.chdir(tmp_path)
    return lambda script, *args: inside(script, *args, cwd=tmp_path)


def one_line_error(done, *fragments):
    """`done` acabó con código 1 y una sola línea en stderr, sin traceback, que dice `fragments`."""
    assert done.returncode == 1, (done.returncode, done.stderr)
    lines = done.stderr.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for fragment in fragments:
        assert str(fragment) in lines[0], (fragment, lines[0])

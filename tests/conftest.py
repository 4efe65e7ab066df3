"""Lo que comparten las pruebas: tres maneras de ejecutar un guion, y cómo se juzga un error.

`run_script` lo ejecuta hasta el final en un proceso recién bifurcado de un servidor que ya tiene
torch en memoria (también torch._dynamo, que AdamW lee): es lo mismo que `python -W error guion`, y
sólo cuesta lo que el guion tarde.
`inside` lo ejecuta en este mismo proceso y devuelve sus nombres: para probar una a una sus piezas.
`start` lo empieza en un intérprete propio, que tarda dos segundos en leer torch: sólo para lo que
pide un proceso entero, como las señales, las terminales y las variables de entorno.
"""
import contextlib
import functools
import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "measures"))               # metre, y lo demás que se mide
SHARED = ROOT.parent / "shared" / "data"                  # textos de referencia, donde los haya
PLACES = [ROOT / "data" / "names.txt", SHARED / "names.txt"]
NAMES = next((path for path in PLACES if path.is_file()), None)
needs_names = pytest.mark.skipif(not NAMES, reason="falta names.txt: python data/prepare.py names")
LINES = "\n".join(f"{a}{b}ña {c}" for a in "bcdfgl" for b in "aeiou" for c in ("mar", "río", "luz"))
SMALL = {  # lo bastante pequeño para entrenar en un instante con LINES
    "00_history.py": ["--n_hidden", 8],
    "01_micrograd.py": ["--n_hidden", 4],
    "02_bigram.py": [],
    "03_mlp.py": ["--n_embd", 4, "--n_hidden", 8],
    "04_batchnorm.py": ["--n_embd", 4, "--n_hidden", 8],
    "05_wavenet.py": ["--n_embd", 4, "--n_hidden", 8, "--demo_steps", 2],
    "06_gpt.py": ["--n_embd", 8, "--n_head", 2, "--n_layer", 1, "--block_size", 8, "--length", 20],
}
os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "80", "MPLBACKEND": "Agg"}
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["torch._dynamo", "matplotlib.pyplot", "conftest"])


def become(path, args, folder):
    """En un proceso recién bifurcado: ser `python -W error path args`, que escribe en ficheros."""
    os.chdir(folder)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module="matplotlib")   # los suyos, no los nuestros
    for number, name in [(1, "stdout.txt"), (2, "stderr.txt")]:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.argv = [str(path), *args]
    runpy.run_path(str(path), run_name="__main__")


def run_script(script, *args, cwd):
    """Ejecuta un guion hasta el final: su código (returncode), stdout y stderr."""
    texts = [str(arg) for arg in args]
    process = processes.Process(target=become, args=(ROOT / script, texts, cwd))
    process.start()
    process.join(300)
    process.kill()
    out = Path(cwd, "stdout.txt").read_bytes().decode()      # «\r» no es aquí un fin de línea
    err = Path(cwd, "stderr.txt").read_bytes().decode()
    return SimpleNamespace(returncode=process.exitcode, stdout=out, stderr=err)


def inside(script, *args, cwd):
    """Ejecuta un guion en este proceso: sus nombres y, en "said", lo que imprimió."""
    said = io.StringIO()
    path = str(ROOT / script)
    with (pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said),
          warnings.catch_warnings()):
        warnings.simplefilter("error")
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [path, *map(str, args)])
        names = runpy.run_path(path)
    return names | {"said": said.getvalue()}


def start(script, *args, **kw):
    """Empieza a ejecutar un guion en un intérprete propio, y devuelve su Popen."""
    order = [sys.executable, str(ROOT / script), *map(str, args)]
    kw = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"} | kw
    return subprocess.Popen(order, **kw)


@pytest.fixture
def run(tmp_path):
    """run("06_gpt.py", "--steps", 3): `run_script` en una carpeta vacía."""
    return functools.partial(run_script, cwd=tmp_path)


@pytest.fixture
def lesson(tmp_path):
    """lesson("06_gpt.py", "--steps", 0): `inside` en una carpeta vacía."""
    return functools.partial(inside, cwd=tmp_path)


def one_line_error(done, *fragments):
    """`done` acabó con código 1 y una sola línea en stderr, sin traceback, que dice `fragments`."""
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr
    for fragment in fragments:
        assert str(fragment) in done.stderr


# Lo que tarda: se ejecuta con `python -m pytest -m slow tests`
def pytest_configure(config):
    config.addinivalue_line("markers", "slow: campañas largas, que sólo se ejecutan si se piden")


def pytest_collection_modifyitems(config, items):
    if not config.option.markexpr:
        items[:] = [item for item in items if "slow" not in item.keywords]


def sampled(values, few):
    """Casos para parametrize: los que están en `few`, siempre; los demás, con -m slow."""
    return [value if value in few else pytest.param(value, marks=pytest.mark.slow)
            for value in values]

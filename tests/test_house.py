"""Las reglas de la casa: cada lección se basta sola, y lo que se repite es idéntico a la letra."""
import ast
import collections
import functools
import re
import resource
import subprocess
import sys

import pytest
from conftest import ENV, ROOT, run_script

SCRIPTS = sorted(ROOT.glob("*.py"))
LESSONS = [path for path in SCRIPTS if re.match(r"0\d_", path.name)]
IDIOMS = ("read_text", "save", "load", "transient", "progress", "stop", "codes", "encode", "decode",
          "windows", "figure", "finite")
TOOLS = sorted((ROOT / "data").glob("*.py"))


def cells(path):
    """Las celdas de un guion: {título: código}."""
    parts = re.split(r"^# %% (.*)\n", path.read_text("utf-8"), flags=re.M)
    return {title: body.strip() for title, body in zip(parts[1::2], parts[2::2])}


@pytest.mark.parametrize("path", SCRIPTS + TOOLS, ids=lambda p: p.name)
def test_a_script_imports_the_standard_library_numpy_and_torch_alone(path):
    tree = ast.parse(path.read_text("utf-8"))
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    allowed = set(sys.stdlib_module_names) | ({"numpy", "torch"} if path in SCRIPTS else set())
    allowed -= {"torch"} if path.name == "00_history.py" else set()
    only_if_plot = {n for branch in tree.body if isinstance(branch, ast.If)
                    and ast.unparse(branch.test) == "PLOT" for n in ast.walk(branch)}
    top = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import)
           and n not in only_if_plot for a in n.names}
    assert names <= allowed | {"matplotlib"} and "matplotlib" not in top


@pytest.mark.parametrize("path", SCRIPTS + TOOLS, ids=lambda p: p.name)
def test_a_script_is_documented_and_fits_in_100_columns(path):
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree) and max(map(len, source.split("\n"))) <= 100
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            assert ast.get_docstring(node), node.name


def test_repeated_idioms_are_identical_to_the_letter():
    """Una celda sin número que aparece en dos guiones es la misma en los dos; una función, también."""
    seen = collections.defaultdict(dict)
    for path in SCRIPTS:
        for title, body in cells(path).items():
            if not re.match(r"\d+\.|Experimentos|Constantes", title):
                seen[title][path.name] = body
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name in IDIOMS:
                seen[node.name][path.name] = ast.get_source_segment(path.read_text("utf-8"), node)
    repeated = {title: bodies for title, bodies in seen.items() if len(bodies) > 1}
    assert {"Leer un texto", "Las líneas, en tres partes", *IDIOMS} <= set(repeated)
    for title, bodies in repeated.items():
        assert len(set(bodies.values())) == 1, (title, list(bodies))


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.name)
def test_cells_are_numbered_in_order_and_end_in_experiments(path):
    titles = list(cells(path))
    numbers = [int(m[1]) for m in (re.match(r"(\d+)\. ", title) for title in titles) if m]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 2
    assert titles[-1].startswith("Experimentos")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_every_constant_has_its_comment_and_common_names_are_used(path):
    block = [body for title, body in cells(path).items() if title.startswith("Constantes")]
    assert len(block) == 1
    for line in block[0].split("\n"):
        assert re.fullmatch(r"[A-Z_]+ = \S.*?  # .+", line), line


def test_requirements_are_torch_and_numpy_pinned():
    lines = (ROOT / "requirements.txt").read_text("utf-8").split("\n")
    assert {re.match(r"(\w+)==[\d.]+", line)[1] for line in lines if line} == {"torch", "numpy"}


def test_ci_runs_the_readmes_own_test_command():
    readme = (ROOT / "README.md").read_text("utf-8")
    orders = re.findall(r"^    (python3 -m venv .*)$", readme, re.M)
    assert len(orders) == 2 and "06_gpt.py" in orders[0] and "pytest" in orders[1]
    shown = subprocess.run(["bash", ".ci/run", "--show"], cwd=ROOT, env=ENV, capture_output=True,
                           encoding="utf-8")
    assert shown.stdout.strip() == orders[1]


def test_the_project_names_no_machine():
    """Ni rutas de una máquina ni anfitriones de registros de paquetes."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8")
    if files.returncode:
        pytest.skip("esto no es un repositorio de git")
    for name in files.stdout.splitlines():
        text = (ROOT / name).read_text("utf-8", "replace")
        assert not re.search(r"/(home|root|work|Users)/\w|pypi\.org|download\.pytorch", text) or (
            name == "tests/test_house.py"), name


KERNEL = ("import sys, types; sys.modules['ipykernel'] = types.ModuleType('ipykernel'); "
          "sys.argv = ['kernel', '-f', 'conexion.json']; exec(open('cuaderno', encoding='utf-8').read())")


def in_a_kernel(script, folder, **constants):
    """Ejecuta `script` como en un cuaderno: sin __file__, con ipykernel cargado; mandan sus constantes."""
    (folder / "data").mkdir(exist_ok=True)
    names = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[::60]
    (folder / "data" / "pueblos.txt").write_text("\n".join(names), "utf-8")
    (folder / "data" / "poesia.txt").write_text("Un verso corto y otro verso largo.\n" * 30, "utf-8")
    source = (ROOT / script).read_text("utf-8")
    for name, value in constants.items():
        source, changed = re.subn(rf"^{name} = \S+", f"{name} = {value!r}", source, flags=re.M)
        assert changed == 1, name
    (folder / "cuaderno").write_text(source, "utf-8")
    done = run_script("-c", KERNEL, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.name)
def test_a_lesson_runs_whole_in_a_notebook_kernel(path, tmp_path):
    small = {"STEPS": 20, "N_EMBD": 8, "N_HEAD": 2, "N_LAYER": 1, "LENGTH": 20}
    constants = {"02_bigram.py": {"STEPS": 20}, "06_gpt.py": small}.get(path.name, {"STEPS": 0})
    out = in_a_kernel(path.name, tmp_path, **constants)
    assert "resultado train=" in out or path.name < "02"
    if path.name == "06_gpt.py":
        assert len(in_a_kernel("sample.py", tmp_path, LENGTH=30)) == 31


PROBE = """import os, resource, signal, sys, time
print(sys.argv, __file__, sys.path[0], os.getcwd(), sorted(os.environ.items()))
print(__name__, globals() is vars(sys.modules["__main__"]), resource.getrlimit(resource.RLIMIT_FSIZE))
print([(s, signal.getsignal(s)) for s in signal.valid_signals()], os.listdir("/proc/self/fd"))
for s in sys.stdin, sys.stdout, sys.stderr:
    print(s.encoding, s.errors, s.isatty(), s.fileno(), "ñ→", file=sys.stderr)
print(repr(sys.stdin.read()))
"""
ENDINGS = ["", "sys.exit()", "sys.exit(300)", "sys.exit('adiós')", "1 / 0", "1 /", "sys.stdout.close()",
           "os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", "os.kill(os.getpid(), signal.SIGKILL)",
           "os.write(1, bytes(2000)); open('f', 'wb').write(bytes(2000))"]


@pytest.mark.skipif(sys.platform != "linux", reason="fuera de Linux no se bifurca nada")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_forked_script_is_the_script_that_a_new_interpreter_runs(run, tmp_path, ending):
    """Lo que `run` bifurca ve, escribe y devuelve lo mismo que lo que arranca `real=True`."""
    (tmp_path / "guion.py").write_text(PROBE + ending, "utf-8")
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1000, 1000))
    for more in {}, {"env": {"PYTHONIOENCODING": "ascii:replace", "COLUMNS": "33"}, "preexec_fn": limit}:
        with open(tmp_path / "guion.py") as a, open(tmp_path / "guion.py") as b:
            forked = run(tmp_path / "guion.py", "á", "-b", stdin=a, **more)
            assert vars(forked) == vars(run(tmp_path / "guion.py", "á", "-b", stdin=b, real=True, **more))

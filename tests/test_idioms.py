"""Lo que todos los guiones comparten, probado una vez sobre todos: la casa, las opciones, los textos,
los avisos, la terminal y la tubería, Ctrl-C, el disco y los cuadernos."""
import ast
import collections
import os
import re
import select
import signal
import subprocess
import sys
import time
import unicodedata

import pytest
import odd_texts
from conftest import ROOT, one_line_error, run_script, start

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
LESSONS = [name for name in SCRIPTS if name[0] == "0"]
WITH_TEXT = [name for name in LESSONS if name != "01_micrograd.py"]
TRAINED = [name for name in LESSONS if name >= "02"]
LINES = "\n".join(f"{a}{b}ña {c}" for a in "bcdfgl" for b in "aeiou" for c in ("mar", "río", "luz"))
SMALL = {  # lo bastante pequeño para entrenar en un instante
    "02_bigram.py": [], "03_mlp.py": ["--n_embd", 4, "--n_hidden", 8],
    "04_batchnorm.py": ["--n_embd", 4, "--n_hidden", 8],
    "05_wavenet.py": ["--n_embd", 4, "--n_hidden", 8, "--demo_steps", 2],
    "06_gpt.py": ["--n_embd", 8, "--n_head", 2, "--n_layer", 1, "--block_size", 8, "--length", 20]}


def source(name):
    return (ROOT / name).read_text("utf-8")


def cells(name):
    """Las celdas de un guion: {título: código}."""
    parts = re.split(r"^# %% (.*)\n", source(name), flags=re.M)
    return {title: body.strip() for title, body in zip(parts[1::2], parts[2::2])}


@pytest.fixture
def words(tmp_path):
    """Un texto corto, de líneas cortas, con eñes y tildes."""
    path = tmp_path / "palabras.txt"
    path.write_text(LINES, "utf-8")
    return path


# La casa: cada guion se basta solo, y lo que se repite es idéntico a la letra
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_imports_the_standard_library_numpy_and_torch_alone(name):
    tree = ast.parse(source(name))
    allowed = {*sys.stdlib_module_names, "numpy"} | ({"torch"} if name != "00_history.py" else set())
    inside_plot = {node for branch in tree.body if isinstance(branch, ast.If)
                   and ast.unparse(branch.test).startswith("PLOT") for node in ast.walk(branch)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            assert node in inside_plot or module.split(".")[0] in allowed, module
            assert isinstance(node, ast.ImportFrom) or len(node.names) == 1, "uno por línea"
            for alias in node.names:
                used = (alias.asname or alias.name).split(".")[0]
                assert len(re.findall(rf"\b{used}\b", source(name))) > 1, f"{used} sobra"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_documented_and_fits_in_100_columns(name):
    tree = ast.parse(source(name))
    assert ast.get_docstring(tree)
    assert max(map(len, source(name).split("\n"))) <= 100
    for title, body in cells(name).items():
        if title.startswith("Constantes"):
            assert all(re.fullmatch(r"[A-Z_]+ = \S.*?  # .+", line) for line in body.split("\n"))
    numbers = [int(title.split(".")[0]) for title in cells(name) if re.match(r"\d+\. ", title)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 3
    assert list(cells(name))[-1].startswith("Experimentos")


def test_repeated_idioms_are_identical_to_the_letter():
    """Una celda sin número de dos guiones es la misma en los dos, y una función con nombre igual."""
    seen = collections.defaultdict(dict)
    for name in SCRIPTS:
        for title, body in cells(name).items():
            if not re.match(r"\d+\. |Experimentos|Constantes", title):
                lines = [line for line in body.split("\n") if '"ckpt", nargs="?"' not in line]
                seen[title][name] = "\n".join(lines)
        for node in ast.parse(source(name)).body:
            if isinstance(node, ast.FunctionDef) and node.name in ("live", "save", "windows"):
                seen[node.name][name] = ast.get_source_segment(source(name), node)
    repeated = {title: bodies for title, bodies in seen.items() if len(bodies) > 1}
    for title, bodies in repeated.items():
        assert len(set(bodies.values())) == 1, (title, list(bodies))
    flags = next(bodies for title, bodies in repeated.items() if title.startswith("Cada constante"))
    assert list(flags) == SCRIPTS
    assert {"live", "save", "windows", "Las líneas, en tres partes"} <= set(repeated)
    folder = 'if not Path(OUT).parent.is_dir():\n    sys.exit(f"error: no existe la carpeta'
    assert all(folder in source(name) for name in TRAINED)


def test_requirements_are_pinned_and_ci_runs_the_readmes_own_test_command():
    lines = (ROOT / "requirements.txt").read_text("utf-8").split("\n")
    assert {re.match(r"(\w+)==[\d.]+", line)[1] for line in lines if line} == {"torch", "numpy"}
    shown = subprocess.run(["bash", ".ci/run", "--show"], cwd=ROOT, capture_output=True, text=True)
    assert "    " + shown.stdout.strip() in (ROOT / "README.md").read_text("utf-8").split("\n")
    assert "pytest" in shown.stdout


def test_the_project_names_no_machine_and_no_registry():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8")
    if files.returncode:
        pytest.skip("esto no es un repositorio de git")
    banned = r"/(home|root|work|Users)/\w|pypi\.\w|download\.pytorch"
    for name in files.stdout.split("\n")[:-1]:
        if name != "tests/test_idioms.py" and not name.endswith((".png", ".pt")):
            assert not re.search(banned, (ROOT / name).read_text("utf-8")), name


# Las opciones
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_constant_is_a_flag_that_help_explains(run, name):
    done = run(name, "--help")
    assert done.returncode == 0 and not done.stderr
    block = next(body for title, body in cells(name).items() if title.startswith("Constantes"))
    shown = " ".join(done.stdout.split())
    for constant, note in re.findall(r"^([A-Z_]+) = .*?  # (.+)$", block, re.M):
        assert f"--{constant.lower()} " in shown
        assert " ".join(note.split()) in shown
    assert run(name, "--no_existe").returncode == 2


# Los textos
@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_text_is_the_same_with_any_mark_line_end_or_form_of_its_letters(lesson, tmp_path, name):
    plain = tmp_path / "llano.txt"
    odd = tmp_path / "raro.txt"
    plain.write_bytes(LINES.encode())
    odd.write_bytes(unicodedata.normalize("NFD", "\ufeff" + LINES.replace("mar", "m\ufeffa\0r"))
                    .replace("\n", "\r\n").encode())
    texts = [lesson(name, "--data", path, "--steps", 0)["text"] for path in (plain, odd)]
    assert texts == [LINES, LINES]


@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_text_that_cannot_be_read_gets_one_line(run, tmp_path, name):
    one_line_error(run(name, "--data", "no.txt"), "no puedo leer «no.txt»", "poesia.txt", "prepare.py")
    one_line_error(run(name, "--data", tmp_path), "no puedo leer")
    for encoding in "utf-16", "cp1252", "latin-1", "utf-16-le", "utf-32":
        (tmp_path / "otro.txt").write_bytes(LINES.encode(encoding))
        one_line_error(run(name, "--data", "otro.txt"), "no es UTF-8", "guárdalo como UTF-8")
    (tmp_path / "corto.txt").write_text("a", "utf-8")
    one_line_error(run(name, "--data", "corto.txt"), "corto.txt")


def test_a_text_is_found_from_any_folder(lesson):
    for name in "pueblos.txt", "data/pueblos.txt", ROOT / "data" / "pueblos.txt":
        assert len(lesson("02_bigram.py", "--data", name, "--steps", 0)["lines"]) == 25_808


@pytest.mark.parametrize("name", WITH_TEXT)
def test_no_check_of_a_lesson_fails_on_an_odd_text(tmp_path, name):
    """Una muestra; `python tests/odd_texts.py 3` los prueba todos."""
    for seed, text in enumerate(("una letra, el 99 %", "líneas de una letra", "diez líneas de una letra",
                                 "espacios, el 98 %", "emoji")):
        assert odd_texts.fails(name, text, seed, tmp_path, "--steps", 0) is None


# Los avisos, la última línea, la terminal y la tubería

@pytest.mark.parametrize("name", TRAINED)
def test_a_short_training_ends_in_its_line_and_its_checkpoint(run, words, tmp_path, name):
    done = run(name, *SMALL[name], "--data", words, "--steps", 4, "--eval_interval", 2, "--out", "a.pt")
    assert done.returncode == 0 and not done.stderr, done.stderr
    number = r"(\d+\.\d+|-)"
    last = done.stdout.strip().split("\n")[-1]
    assert re.fullmatch(rf"resultado train={number} val={number} test={number} segundos=\d+\.\d "
                        r"tokens_s=(\d+|-) ckpt=a\.pt", last), last
    assert "\r" not in done.stdout and "\033" not in done.stdout
    spoken = run("sample.py", "a.pt", "--length", 30, "--seed", 1)
    assert spoken.returncode == 0 and len(spoken.stdout) >= 30


@pytest.mark.parametrize("name", TRAINED)
def test_a_checkpoint_that_cannot_be_written_gets_one_line(run, words, tmp_path, name):
    order = [name, *SMALL[name], "--data", words, "--steps", 2]
    one_line_error(run(*order, "--out", "nueva/a.pt"), "no existe la carpeta", "nueva/a.pt")
    (tmp_path / "carpeta").mkdir()
    one_line_error(run(*order, "--out", "carpeta"), "no puedo guardar «carpeta»", "--out")
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("name", TRAINED)
def test_on_a_terminal_a_line_rewrites_itself_and_head_is_quiet(words, tmp_path, name):
    pty = pytest.importorskip("pty")
    order = [name, *SMALL[name], "--data", words, "--steps", 4, "--eval_interval", 2]
    ours, theirs = pty.openpty()
    process = start(*order, cwd=tmp_path, stdout=theirs)
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:                                      # así dice Linux que nadie escribe ya
            break
    os.close(ours)
    assert process.wait() == 0 and "resultado" in shown.decode()
    assert b"\r\033[K" in shown or name == "02_bigram.py"    # que acaba en un instante
    order = [sys.executable, str(ROOT / name), *map(str, order[1:])]
    piped = subprocess.Popen(order, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    piped.stdout.readline()
    piped.stdout.close()
    assert piped.stderr.read() == b""
    piped.wait()


@pytest.mark.parametrize("name", TRAINED)
def test_ctrl_c_while_training_is_one_line(words, tmp_path, name):
    process = start(name, *SMALL[name], "--data", words, "--steps", 10**6, "--eval_interval", 10**6,
                    cwd=tmp_path)
    for line in process.stdout:
        if "1000000 pasos" in line:
            break
    time.sleep(1)                                            # ya está en el bucle
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert "interrumpido" in out + err
    assert process.returncode == (0 if name == "06_gpt.py" else 1)


@pytest.mark.parametrize("name", LESSONS)
def test_figures_are_drawn_only_if_asked(run, tmp_path, name):
    pytest.importorskip("matplotlib")
    assert run(name, "--steps", 0, "--plot", "dibujos").returncode == 0
    drawn = list((tmp_path / "dibujos").glob("*.png")) if (tmp_path / "dibujos").exists() else []
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn)
    promised = re.findall(r"savefig\(Path\(PLOT\) / \"(\w+\.png)\"", source(name))
    assert promised and {path.name for path in drawn} <= set(promised)


def test_save_leaves_the_old_file_or_the_new_one(lesson, words):
    torch = pytest.importorskip("torch")
    save = lesson("03_mlp.py", *SMALL["03_mlp.py"], "--data", words, "--steps", 0)["save"]
    save({"a": torch.ones(3)}, "c.pt")
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))     # un disco en que no cabe más
    try:
        with pytest.raises(SystemExit, match="no puedo guardar «c.pt»"):
            save({"a": torch.ones(3000)}, "c.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert torch.load("c.pt", weights_only=True)["a"].tolist() == [1, 1, 1]
    save({"a": torch.zeros(3)}, "c.pt")
    assert torch.load("c.pt", weights_only=True)["a"].tolist() == [0, 0, 0]
    assert sorted(os.listdir()) == ["c.pt", "palabras.txt"]


# Los cuadernos

def test_pasted_cells_keep_their_constants(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pueblos.txt").write_text(LINES, "utf-8")
    pasted = source("03_mlp.py").replace("STEPS = 4000 ", "STEPS = 0 ")
    kernel = ("import re, sys\nsys.argv = ['ipykernel_launcher.py', '-f', 'k.json', '--steps', '9']\n"
              "names = {}\nfor cell in re.split('^# %%.*$', open('cuaderno.txt').read(), flags=re.M):\n"
              "    exec(cell, names)\n"
              "print('pasos', names['STEPS'])\n")
    (tmp_path / "cuaderno.txt").write_text(pasted, "utf-8")
    (tmp_path / "kernel.py").write_text(kernel, "utf-8")
    done = run_script(tmp_path / "kernel.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("pasos 0\n")


def test_run_in_a_notebook_obeys_its_options(lesson, words):
    """%run da __file__ y sys.argv, y una salida sin `reconfigure`, como la de `lesson`."""
    names = lesson("06_gpt.py", *SMALL["06_gpt.py"], "--data", words, "--steps", 0, "--seed", 5)
    assert (names["STEPS"], names["SEED"], names["text"]) == (0, 5, LINES)
    with pytest.raises(SystemExit):
        lesson("06_gpt.py", "--no_existe")

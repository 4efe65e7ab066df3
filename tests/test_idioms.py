"""Lo que todos los guiones comparten, probado una vez sobre todos: la casa, las opciones, los
textos, las comprobaciones, lo que imprimen, lo que guardan, Ctrl-C, los cuadernos y las versiones
de Python."""
import ast
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import unicodedata
from types import SimpleNamespace

import odd_texts
import pytest
import torch
from conftest import LINES, ROOT, SMALL, inside, one_line_error, run_script, sampled, start

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
LESSONS = [name for name in SCRIPTS if name[0] == "0"]
WITH_TEXT = [name for name in LESSONS if name != "01_micrograd.py"]
TRAINED = [name for name in LESSONS if name >= "02"]         # las que dejan un modelo
BY_STEPS = [name for name in LESSONS if name >= "03"]        # las que lo entrenan por lotes
BY_LINES = [name for name in TRAINED if name != "06_gpt.py"]
WINDOWED = [name for name in BY_STEPS if name != "06_gpt.py"]
CONFIG = {  # lo que sample.py necesita para rehacer cada modelo, y nada más
    "02_bigram.py": "",
    "03_mlp.py": "block_size n_embd n_hidden",
    "04_batchnorm.py": "block_size n_embd n_hidden n_layer",
    "05_wavenet.py": "block_size n_embd n_hidden dilations gated residual skip",
    "06_gpt.py": "block_size n_embd n_head n_layer residual layer_norm feed_forward rotary qk_norm "
                 "ngrams rows",
}


def source(name):
    return (ROOT / name).read_text("utf-8")


def cells(name):
    """Las celdas de un guion, cada una desde su título: lista de textos."""
    return [cell.strip() for cell in source(name).split("\n# %% ")[1:]]


def cell(name, title):
    """La celda de un guion cuyo título empieza por `title`."""
    return next(cell for cell in cells(name) if cell.startswith(title))


def constants(name):
    """Las constantes de un guion y sus comentarios: lista de (nombre, comentario)."""
    return re.findall("^([A-Z_]+) = .*?  # (.+)$", cell(name, "Constantes"), re.M)


@pytest.fixture
def words(tmp_path):
    """Un texto corto, de líneas cortas, con eñes y tildes."""
    path = tmp_path / "palabras.txt"
    path.write_text(LINES, "utf-8")
    return path


# La casa: cada guion se basta solo
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_imports_the_standard_library_numpy_or_torch(name):
    allowed = {*sys.stdlib_module_names, "numpy", "torch", "matplotlib"}
    if name == "00_history.py":
        allowed.remove("torch")
    imported = re.findall(r"^ *(?:import|from) (\w+)", source(name), re.M)
    assert set(imported) <= allowed


@pytest.mark.parametrize("name", LESSONS)
def test_matplotlib_is_imported_once_before_any_work(name):
    checks = cell(name, "Lo que no encaja")
    assert "if PLOT:\n    import matplotlib.pyplot as plt" in checks
    assert source(name).count("import matplotlib") == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_import_is_used(name):
    names = re.findall(r"^ *(?:from .* )?import (?:.* as )?(\w+)", source(name), re.M)
    for used in names:
        assert len(re.findall(rf"\b{used}\b", source(name))) > 1, used


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_begins_by_saying_what_you_will_know(name):
    assert "Al terminar sabrás" in ast.get_docstring(ast.parse(source(name)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_lines_fit_in_100_columns(name):
    assert max(map(len, source(name).split("\n"))) <= 100


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_constant_has_a_comment(name):
    lines = cell(name, "Constantes").split("\n")[1:]
    assert len(constants(name)) == len(lines)


@pytest.mark.parametrize("name", SCRIPTS)
def test_cells_are_numbered_in_order(name):
    numbers = [int(number) for number in re.findall(r"^# %% (\d+)\.", source(name), re.M)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers[-1] >= 3


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_ends_with_experiments(name):
    assert cells(name)[-1].startswith("Experimentos")


# Lo que se repite es idéntico a la letra
@pytest.mark.parametrize("title, scripts", [
    ("Fontanería", LESSONS),
    ("Leer un texto", WITH_TEXT),
    ("Las líneas, en tres partes", BY_LINES),
    ("Una línea que se reescribe", BY_STEPS),
    ("Guardar", TRAINED),
    ("La rival", BY_STEPS),
])
def test_a_common_cell_is_identical_to_the_letter(title, scripts):
    bodies = {cell(name, title) for name in scripts}
    assert len(bodies) == 1


def test_the_plumbing_of_sample_has_one_option_more():
    """El fichero que se lee, que puede ir sin nombre."""
    ckpt = r'    options.add_argument\("CKPT".*?\n(?=    globals)'
    ours = re.sub(ckpt, "", cell("sample.py", "Fontanería"), flags=re.S)
    assert ours == cell("03_mlp.py", "Fontanería")


def test_windows_is_identical_to_the_letter():
    """Está en una celda con número, entre prosa que cambia."""
    bodies = set()
    for name in WINDOWED:
        bodies.add(re.search(r"\ndef windows\(.*?\n\n(?=\S)", source(name), re.S)[0])
    assert len(bodies) == 1


def test_the_checks_begin_alike():
    """En 02 a 06 con números, OUT y PLOT; en 00 y 01, que no guardan nada, sin OUT."""
    end = "Path(PLOT).mkdir(parents=True, exist_ok=True)"
    begun = {name: cell(name, "Lo que no encaja").split(end)[0] for name in LESSONS}
    whole = begun["03_mlp.py"]
    without = re.sub("if not OUT.*?(?=if PLOT)", "", whole, flags=re.S)
    for name in LESSONS:
        assert begun[name] == (whole if name in TRAINED else without), name


@pytest.mark.parametrize("name", BY_STEPS)
@pytest.mark.parametrize("line", [
    "for step in range(",
    "up = step / (WARMUP_STEPS + 1)",
    "down = (STEPS - step + 1) / max(STEPS - WARMUP_STEPS, 1)",
    "min(up, down)",
    "loss.backward()",
    "if now[\"val_loss\"] < best[\"val_loss\"]:",
    "best = now",
])
def test_the_loop_uses_the_same_names(name, line):
    assert line in source(name)


# El proyecto
def test_requirements_are_pinned():
    lines = (ROOT / "requirements.txt").read_text("utf-8").strip().split("\n")
    pinned = [re.match(r"(\w+)==[\d.]+", line)[1] for line in lines]
    assert set(pinned) == {"torch", "numpy"}


def test_ci_runs_the_readmes_own_command():
    order = ["bash", ".ci/run", "--show"]
    shown = subprocess.run(order, cwd=ROOT, capture_output=True, encoding="utf-8").stdout
    assert "pytest" in shown
    assert "    " + shown in (ROOT / "README.md").read_text("utf-8")


def test_the_project_names_no_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8")
    if files.returncode:
        pytest.skip("esto no es un repositorio de git")
    banned = re.compile(r"/(home|root|work|Users)/\w|pypi\.\w|download\.pytorch")
    for name in files.stdout.split("\n")[:-1]:
        if name == "tests/test_idioms.py" or name.endswith((".png", ".pt")):
            continue
        assert not banned.search((ROOT / name).read_text("utf-8")), name


# Las opciones
@pytest.mark.parametrize("name", SCRIPTS)
def test_help_explains_every_constant(run, name):
    shown = " ".join(run(name, "--help").stdout.split())
    for constant, note in constants(name):
        assert f"--{constant.lower()} " in shown
        assert " ".join(note.split()) in shown


@pytest.fixture
def library(tmp_path):
    """library("…"): un entorno en que importar torch o numpy ejecuta ese código."""
    def environment(code):
        for module in ("torch.py", "numpy.py"):
            (tmp_path / module).write_text(code, "utf-8")
        return {**os.environ, "PYTHONPATH": str(tmp_path)}
    return environment


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("flag, code", [("--help", 0), ("--no_existe", 2)])
def test_options_are_answered_without_importing_torch(library, name, flag, code):
    process = start(name, flag, env=library("raise ImportError"))
    process.communicate(timeout=60)
    assert process.returncode == code


def test_a_link_to_a_script_obeys_its_options(run, tmp_path):
    (tmp_path / "bigrama.py").symlink_to(ROOT / "02_bigram.py")
    assert run(tmp_path / "bigrama.py", "--no_existe").returncode == 2


# Los textos: la celda es la misma en todas
@pytest.mark.parametrize("odd", [
    "\ufeff" + LINES,
    LINES.replace("mar", "m\ufeffa\0r"),
    LINES.replace("\n", "\r\n"),
    LINES.replace("\n", "\r"),
    unicodedata.normalize("NFD", LINES),
])
def test_a_text_is_the_same_however_it_was_written(lesson, tmp_path, odd):
    (tmp_path / "t.txt").write_bytes(odd.encode())
    assert lesson("02_bigram.py", "--data", "t.txt", "--steps", 0)["text"] == LINES


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1"])
def test_another_encoding_is_one_line(run, tmp_path, encoding):
    (tmp_path / "otro.txt").write_bytes(LINES.encode(encoding))
    done = run("02_bigram.py", "--data", "otro.txt")
    one_line_error(done, "«otro.txt» no es UTF-8", "guárdalo como UTF-8")


@pytest.mark.parametrize("name", WITH_TEXT)
@pytest.mark.parametrize("path", ["no.txt", "."])
def test_a_missing_text_is_one_line(run, name, path):
    done = run(name, "--data", path)
    one_line_error(done, f"no puedo leer «{path}»", "poesia.txt, pueblos.txt", "prepare.py")


@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_text_too_short_is_one_line(run, tmp_path, name):
    (tmp_path / "corto.txt").write_text("a", "utf-8")
    one_line_error(run(name, "--data", "corto.txt"), "corto.txt")


@pytest.mark.parametrize("path", ["pueblos.txt", "data/pueblos.txt", ROOT / "data" / "pueblos.txt"])
def test_a_text_is_found_from_any_folder(lesson, path):
    names = lesson("02_bigram.py", "--data", path, "--steps", 0)
    assert len(names["lines"]) == 25_808


FEW_TEXTS = [
    "líneas de una letra",
    "todas las letras una vez",
    "diez líneas de una letra",
    "emoji",
]


@pytest.mark.parametrize("name", WITH_TEXT)
@pytest.mark.parametrize("text", sampled(odd_texts.TEXTS, FEW_TEXTS))
@pytest.mark.parametrize("seed", sampled([1, 2, 20251129213000], [20251129213000]))
def test_an_odd_text_trains(tmp_path, name, text, seed):
    flags = [*SMALL[name], "--steps", 2]
    assert odd_texts.fails(name, text, seed, tmp_path, *flags) is None


# Lo que no encaja se dice antes de empezar
@pytest.mark.parametrize("flag, value", [
    ("--steps", -1),
    ("--weight_decay", -0.1),
    ("--learning_rate", "nan"),
    ("--learning_rate", "inf"),
    ("--seed", 20251129213000123456),
])
def test_a_number_that_cannot_be_is_one_line(run, flag, value):
    name = flag[2:].upper()
    one_line_error(run("03_mlp.py", flag, value), f"{name} no puede ser")


@pytest.mark.parametrize("name, flags", [
    ("00_history.py", ["--steps", -1]),
    ("01_micrograd.py", ["--n_hidden", 0]),
    ("02_bigram.py", ["--smoothing", 0]),
    ("03_mlp.py", ["--n_embd", 0]),
    ("04_batchnorm.py", ["--batch_size", 1]),
    ("05_wavenet.py", ["--dilations", "1 0"]),
    ("05_wavenet.py", ["--dilations", "x"]),
    ("05_wavenet.py", ["--dropout", 1]),
])
def test_constants_that_do_not_fit_stop_before_any_training(run, name, flags):
    done = run(name, *flags)
    one_line_error(done)
    assert "train " not in done.stdout


@pytest.mark.parametrize("out", ["palabras.txt", "", "nueva/a.pt", "carpeta", "/dev/null"])
def test_an_out_that_cannot_be_is_one_line(run, words, tmp_path, out):
    (tmp_path / "carpeta").mkdir()
    done = run("02_bigram.py", "--data", words, "--out", out)
    one_line_error(done, f"no puedo escribir «{out}»")
    assert words.read_text("utf-8") == LINES


def test_a_folder_that_is_not_yours_is_one_line(lesson, words, monkeypatch):
    monkeypatch.setattr(os, "access", lambda folder, how: False)
    with pytest.raises(SystemExit, match="^error: no puedo escribir «a.pt»"):
        lesson("02_bigram.py", "--data", words, "--out", "a.pt")


@pytest.mark.parametrize("name", LESSONS)
def test_plot_without_matplotlib_fails_at_once(lesson, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="matplotlib"):
        lesson(name, "--steps", 10**9, "--plot", "figuras")


# Cada lección sin pasos, con `-W error`
@pytest.fixture(scope="module", params=LESSONS)
def idle(request, tmp_path_factory):
    """Nombre, carpeta y resultado de una lección con LINES, figuras y ningún paso."""
    pytest.importorskip("matplotlib")
    name = request.param
    folder = tmp_path_factory.mktemp("sin_pasos")
    (folder / "t.txt").write_text(LINES, "utf-8")
    flags = ["--data", "t.txt"] if name in WITH_TEXT else []
    flags += ["--steps", 0, "--plot", "las/figuras"]
    done = run_script(name, *SMALL[name], *flags, cwd=folder)
    return SimpleNamespace(name=name, folder=folder, done=done)


def test_without_steps_it_ends(idle):
    assert idle.done.returncode == 0, idle.done.stderr


def test_without_steps_nothing_is_saved(idle):
    assert not list(idle.folder.glob("*.pt*"))


def test_figures_are_drawn_where_plot_says(idle):
    promised = re.findall(r'savefig\(Path\(PLOT\) / "(\w+\.png)"', source(idle.name))
    assert promised
    for path in (idle.folder / "las" / "figuras").iterdir():
        assert path.name in promised
        assert path.read_bytes().startswith(b"\x89PNG")


# Un entrenamiento breve de cada lección, con `-W error`
@pytest.mark.parametrize("name", ["00_history.py", "01_micrograd.py"])
def test_the_first_lessons_end_without_a_warning(run, name):
    done = run(name, *SMALL[name], "--steps", 4)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module", params=TRAINED)
def short(request, tmp_path_factory):
    """Nombre, carpeta, resultado y modelo de entrenar cuatro pasos una lección con LINES."""
    name = request.param
    folder = tmp_path_factory.mktemp("breve")
    (folder / "t.txt").write_text(LINES, "utf-8")
    flags = ["--data", "t.txt", "--steps", 4, "--eval_interval", 2, "--out", "a.pt"]
    done = run_script(name, *SMALL[name], *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    saved = torch.load(folder / "a.pt", weights_only=True)
    return SimpleNamespace(name=name, folder=folder, done=done, saved=saved)


def test_a_training_ends_without_a_warning(short):
    assert short.done.stderr == ""


def test_the_last_line_tells_the_result(short):
    last = short.done.stdout.strip().split("\n")[-1]
    train, val = short.saved["train_loss"], short.saved["val_loss"]
    figures = r"test=(\d+\.\d{4}|-) segundos=\d+\.\d tokens_s=(\d+|-) ckpt=a\.pt"
    assert re.fullmatch(rf"resultado train={train:.4f} val={val:.4f} {figures}", last)


def test_in_a_pipe_nothing_is_rewritten(short):
    assert "\r" not in short.done.stdout
    assert "\033" not in short.done.stdout


def test_a_training_leaves_its_checkpoint_alone(short):
    left = {path.name for path in short.folder.iterdir()}
    assert left - {"stdout.txt", "stderr.txt"} == {"t.txt", "a.pt"}


def test_the_checkpoint_has_the_entries_of_the_contract(short):
    entries = "format model config chars weights data step train_loss val_loss".split()
    assert short.saved.keys() - {"training"} == set(entries)


def test_the_checkpoint_says_what_it_is(short):
    assert short.saved["format"] == 1
    assert short.saved["model"] == short.name[3:-3]
    assert short.saved["data"] == "t.txt"
    assert short.saved["chars"] == "".join(sorted(set(LINES)))


def test_the_configuration_is_what_rebuilds_the_model(short):
    assert short.saved["config"].keys() == set(CONFIG[short.name].split())


def test_the_weights_are_float32_on_the_cpu(short):
    for w in short.saved["weights"].values():
        assert w.dtype == torch.float32
        assert w.device.type == "cpu"


@pytest.mark.parametrize("name", BY_STEPS)
def test_when_validation_gets_worse_the_best_is_kept(run, tmp_path, name):
    noise = random.Random(0).choices("abcdefgh\n", k=400)
    (tmp_path / "t.txt").write_text("".join(noise), "utf-8")
    flags = ["--data", "t.txt", "--steps", 100, "--eval_interval", 5, "--out", "a.pt"]
    done = run(name, *SMALL[name], *flags, "--n_embd", 32, "--learning_rate", 0.01)
    rows = re.findall(r"paso +(\d+) .*?val (\S+)", done.stdout)
    losses = {int(step): float(loss) for step, loss in rows}
    best = min(losses, key=losses.get)
    assert 5 < best < 100
    assert torch.load(tmp_path / "a.pt")["step"] == best


@pytest.mark.parametrize("name", BY_STEPS)
def test_a_loss_that_is_not_finite_leaves_the_file_as_it_was(run, words, tmp_path, name):
    (tmp_path / "a.pt").write_bytes(b"lo de antes")
    flags = ["--data", words, "--steps", 20, "--learning_rate", 9e18, "--out", "a.pt"]
    one_line_error(run(name, *SMALL[name], *flags), "dejó de ser finita", "LEARNING_RATE")
    assert (tmp_path / "a.pt").read_bytes() == b"lo de antes"


# La terminal, la tubería y Ctrl-C
def read_until_closed(terminal):
    """Lo que se escribe en una terminal hasta que nadie la tiene abierta."""
    shown = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:                                      # así dice Linux que nadie escribe ya
            break
    return shown.decode()


@pytest.mark.parametrize("name", ["03_mlp.py", "06_gpt.py"])
def test_on_a_terminal_a_line_rewrites_itself(words, tmp_path, name):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    flags = [*SMALL[name], "--data", words, "--steps", 20, "--eval_interval", 20]
    process = start(name, *flags, cwd=tmp_path, stdout=theirs)
    os.close(theirs)
    shown = read_until_closed(ours)
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert "\r\033[K20/20   pérdida " in shown


def test_a_rewritten_line_fits_in_the_terminal(g, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "12")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    g["live"]("una línea demasiado larga")
    assert capsys.readouterr().out == "\r\033[Kuna línea d"


def test_head_stops_it_in_silence(words, tmp_path):
    process = start("02_bigram.py", "--data", words, cwd=tmp_path)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == -signal.SIGPIPE


@pytest.mark.parametrize("name", SCRIPTS)
def test_ctrl_c_while_importing_is_silent(library, name):
    waiting = "import time; print('importando', flush=True); time.sleep(60)"
    process = start(name, env=library(waiting))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "06_gpt.py"])
def test_nothing_else_listens_to_ctrl_c(name):
    assert "KeyboardInterrupt" not in source(name)
    assert source(name).count("signal.signal") == cell(name, "Fontanería").count("signal.signal")


def test_ctrl_c_in_a_lesson_is_silent(words, tmp_path):
    process = start("04_batchnorm.py", "--data", words, "--steps", 10**6, cwd=tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGINT


# Guardar: la función es la misma en todas
@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """Los nombres de la lección 03, sin entrenar."""
    folder = tmp_path_factory.mktemp("guardar")
    (folder / "t.txt").write_text(LINES, "utf-8")
    return inside("03_mlp.py", *SMALL["03_mlp.py"], "--data", "t.txt", "--steps", 0, cwd=folder)


@pytest.fixture
def save(g, tmp_path, monkeypatch):
    """save("viejo", "a.pt"): la función de la lección, en una carpeta en que ya hay un a.pt."""
    monkeypatch.chdir(tmp_path)
    torch.save("viejo", "a.pt")
    return g["save"]


def test_saving_replaces_the_old_file(save):
    save("nuevo", "a.pt")
    assert torch.load("a.pt") == "nuevo"
    assert os.listdir() == ["a.pt"]


def test_on_a_full_disk_the_old_file_stays(save):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(SystemExit, match="^error: no puedo guardar .*a.pt»"):
            save(torch.ones(3000), "a.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert torch.load("a.pt") == "viejo"


def test_when_the_rename_fails_what_was_written_stays(save, monkeypatch):
    def busy(source, target):
        raise PermissionError(13, "Access is denied")
    monkeypatch.setattr(os, "replace", busy)
    with pytest.raises(SystemExit) as error:
        save("nuevo", "a.pt")
    aside = re.search(r"Lo escrito está en (.+\.tmp)", str(error.value))[1]
    assert torch.load(aside) == "nuevo"
    assert torch.load("a.pt") == "viejo"


def test_saving_to_a_link_writes_its_target(save, tmp_path):
    (tmp_path / "enlace.pt").symlink_to("a.pt")
    save("nuevo", "enlace.pt")
    assert torch.load("a.pt") == "nuevo"
    assert (tmp_path / "enlace.pt").is_symlink()


def test_two_runs_may_save_to_one_file(save, monkeypatch):
    """Otro proceso guarda entero justo antes de que éste ponga lo suyo en su sitio."""
    real = os.replace

    def replace(source, target):
        monkeypatch.setattr(os, "replace", real)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        save("el otro", "a.pt")
        assert torch.load("a.pt") == "el otro"
        real(source, target)
    monkeypatch.setattr(os, "replace", replace)
    save("nuevo", "a.pt")
    assert torch.load("a.pt") == "nuevo"


# Los cuadernos
KERNEL = r"""import re, sys
sys.argv = ["ipykernel_launcher.py", "-f", "k.json", "--steps", "9"]
names = {}
for cell in re.split("^# %%.*$", open("cuaderno.txt").read(), flags=re.M):
    exec(cell, names)
print("pasos", names["STEPS"])
"""


def test_pasted_cells_keep_their_constants(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pueblos.txt").write_text(LINES, "utf-8")
    pasted = source("03_mlp.py").replace("STEPS = 4000 ", "STEPS = 0 ")
    (tmp_path / "cuaderno.txt").write_text(pasted, "utf-8")
    (tmp_path / "kernel.py").write_text(KERNEL, "utf-8")
    done = run(tmp_path / "kernel.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("pasos 0\n")


def test_run_in_a_notebook_obeys_its_options(lesson, words):
    """%run da __file__ y sys.argv, y una salida sin `reconfigure`, como la de `lesson`."""
    names = lesson("02_bigram.py", "--data", words, "--steps", 0, "--seed", 5)
    assert (names["STEPS"], names["SEED"]) == (0, 5)


# Las versiones de Python para las que torch 2.13 tiene ruedas
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_syntax_is_that_of_python_3_10(name):
    ast.parse(source(name), feature_version=(3, 10))


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_lessons_end_in_another_python(tmp_path, version):
    if sys.version.startswith(version + "."):
        pytest.skip(f"{version} es el de todas las demás pruebas")
    python = shutil.which("python" + version) or "no"
    if subprocess.call(f"{python} -c 'import torch'", shell=True):
        pytest.skip(f"aquí no hay un Python {version} con torch")
    for name in LESSONS:
        order = [python, "-W", "error", ROOT / name, "--steps", "0"]
        assert subprocess.call(order, cwd=tmp_path) == 0

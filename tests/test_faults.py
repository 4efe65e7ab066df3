"""Campaña de faltas: ficheros dañados, kill -9, constantes absurdas, textos raros y discos llenos.

Cada prueba cuenta lo que intenta, y al acabar se dice todo. Sin más, es un ensayo de un minuto; la
campaña, con más de 2000 daños y 200 kill -9, es FALLOS=1 python -m pytest -s tests/test_faults.py,
y FALLOS=10 la multiplica por diez. Los guiones se ejecutan de verdad, cada uno en un proceso hijo de éste
(fork), que ya tiene torch leído, con un límite de tiempo y otro de memoria.
"""
import collections
import functools
import io
import json
import os
import pickle
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import time
import traceback
import types
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import CAN_LOSE, ENV, ROOT, SMALL, command
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="aquí no hay fork")
MANY, TRIAL = int(os.environ.get("FALLOS", "1")), "FALLOS" not in os.environ
GIGA = 2**30
TRIED = collections.Counter()  # qué se ha intentado, y cuántas veces

# Cada lección que guarda, con constantes con las que tarda lo menos posible.
SMALLEST = {
    "00_history.py": ["--data", "p.txt", "--n_hidden", "8"],
    "01_micrograd.py": ["--n_hidden", "4"],
    "02_bigram.py": ["--data", "p.txt", "--eval_interval", "1"],
    "03_mlp.py": ["--data", "p.txt", "--n_embd", "4", "--n_hidden", "8", "--batch_size", "8",
                  "--learning_rate", "0.01", "--eval_interval", "1"],
    "04_batchnorm.py": ["--data", "p.txt", "--n_embd", "4", "--n_hidden", "8", "--n_layer", "2",
                        "--batch_size", "8", "--eval_interval", "1"],
    "05_wavenet.py": ["--data", "p.txt", "--n_embd", "4", "--n_hidden", "4", "--batch_size", "8",
                      "--demo_steps", "1", "--eval_interval", "1"],
    "06_gpt.py": [*SMALL, "--data", "t.txt", "--eval_interval", "1"],
}
SAVERS = [script for script in SMALLEST if script > "02"]
MODELS = ["bigram", "mlp", "batchnorm", "wavenet", "gpt"]


# --- un hijo con límites

def status(field):
    """Octetos que dice /proc/self/status de este proceso: VmSize, VmRSS."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def fork(work, memory, seconds):
    """Pid de un hijo que hace `work()` y acaba con el código que diga un SystemExit, como python.

    Su memoria crece como mucho `memory` octetos, y una alarma lo mata a los `seconds` segundos.
    """
    top = status("VmSize") + memory
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(seconds)
        resource.setrlimit(resource.RLIMIT_AS, (top, top))
        torch.set_num_threads(1)
        work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 70
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def script_here(script, args, folder, memory=2 * GIGA, seconds=60, first=lambda: None):
    """Pid de un hijo que ejecuta `script` en `folder`; su salida queda en los ficheros out y err."""
    def work():
        os.chdir(folder)
        for number, name in (1, "out"), (2, "err"):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False)
                                  for number in (1, 2))
        sys.argv = [script, *map(str, args)]
        first()
        runpy.run_path(str(ROOT / script), run_name="__main__")
    return fork(work, memory, seconds)


def ended(pid, folder, patience=None):
    """Cómo acabó el hijo `pid`: código, salidas y memoria. Tras `patience` segundos, Ctrl-C."""
    tick, stopped = time.time(), False
    while True:
        found, code, usage = os.wait4(pid, 0 if patience is None or stopped else os.WNOHANG)
        if found:
            break
        if time.time() - tick > patience:
            os.kill(pid, signal.SIGINT)
            stopped = True
        time.sleep(0.01)
    out, err = ((folder / name).read_text("utf-8", "replace") for name in ("out", "err"))
    return types.SimpleNamespace(returncode=os.waitstatus_to_exitcode(code), stdout=out, stderr=err,
                                 rss=1024 * usage.ru_maxrss, stopped=stopped)


def in_order(done, what):
    """`done` acabó bien, o con una sola línea de error, o por su orden o la nuestra: nunca mal."""
    lines = done.stderr.strip().splitlines()
    good = (done.returncode == 0 and (not lines or "por segundo" in lines[-1])
            or done.returncode == 1 and len(lines) == 1 and lines[0].startswith("error: ")
            or done.returncode == 2 and "usage:" in done.stderr and "Traceback" not in done.stderr
            or done.stopped and done.returncode in (0, 1) and lines in ([], ["interrumpido"]))
    assert good, (what, done.returncode, done.stderr[-1500:])


def guarded(work, seconds):
    """Lo que devuelve `work()`, hecho en un hijo que no debe crecer más de 1 GB ni colgarse."""
    reading, writing = os.pipe()

    def report():
        os.close(reading)
        try:
            answer = {"good": work()}
        except BaseException:
            answer = {"bad": traceback.format_exc()[-3000:]}
        os.write(writing, json.dumps(answer).encode())
    before = status("VmRSS")
    pid = fork(report, 3 * GIGA, seconds)
    os.close(writing)
    try:
        answer = b"".join(iter(lambda: os.read(reading, 2**16), b""))
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGKILL)     # que no quede trabajando a solas
        raise
    os.close(reading)
    _, code, usage = os.wait4(pid, 0)
    assert answer and code == 0, f"el hijo acabó con {os.waitstatus_to_exitcode(code)}"
    answer = json.loads(answer)
    assert "good" in answer, answer["bad"]
    assert 1024 * usage.ru_maxrss - before < GIGA
    return answer["good"]


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Lo que torch lee con calma la primera vez (sobre todo el optimizador), antes de hacer fork; y
    al acabar, la cuenta de lo intentado, por clases."""
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([w], fused=True)
    w.sum().backward()
    optimizer.step()
    yield
    print("\n\ncampaña de faltas" + (f", FALLOS={MANY}" if MANY > 1 else ""))
    for what, times in TRIED.items():
        print(f"{times:8d}  {what}")


def texts(folder):
    """Deja en `folder` los textos pequeños: t.txt para 06, p.txt para las demás."""
    (folder / "t.txt").write_text(CAN_LOSE, "utf-8")
    names = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[::80]
    (folder / "p.txt").write_text("\n".join(names), "utf-8")
    return folder


@pytest.fixture
def here(tmp_path):
    """Una carpeta con los textos pequeños."""
    return texts(tmp_path)


@pytest.fixture(scope="module")
def nest(tmp_path_factory):
    """Una carpeta con un punto de control de cada modelo, entrenado tres pasos: mlp.pt, gpt.pt..."""
    folder = texts(tmp_path_factory.mktemp("nido"))
    for script, model in zip(SAVERS, MODELS):
        pid = script_here(script, [*SMALLEST[script], "--steps", 3, "--out", f"{model}.pt"], folder)
        done = ended(pid, folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def sampler(nest):
    """Los nombres de sample.py."""
    before = sys.argv, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    sys.argv = ["sample.py", str(nest / "gpt.pt"), "--length", "1"]
    try:
        return runpy.run_path(str(ROOT / "sample.py"))
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGINT, before[1])
        signal.signal(signal.SIGPIPE, before[2])


# --- puntos de control dañados

def flips(raw, chance):
    """De uno a veinte bits cambiados."""
    for _ in range(chance.choice([1, 1, 2, 20])):
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)


def cut(raw, chance):
    """El fichero, cortado por cualquier sitio."""
    del raw[chance.randrange(len(raw)):]


def noise(raw, chance):
    """Un tramo de octetos al azar."""
    start = chance.randrange(len(raw))
    length = min(chance.choice([1, 4, 64, 4096]), len(raw) - start)
    raw[start:start + length] = chance.randbytes(length)


def holes(raw, chance):
    """Un tramo a cero, como lo deja un disco que falla."""
    start = chance.randrange(len(raw))
    raw[start:start + 512] = bytes(len(raw[start:start + 512]))


def shifted(raw, chance):
    """Unos octetos de más o de menos."""
    where = chance.randrange(len(raw))
    raw[where:where + chance.choice([0, 1, 30])] = chance.randbytes(chance.choice([0, 1, 30]))


def nonsense(raw, chance):
    """Nada más que azar."""
    raw[:] = chance.randbytes(chance.choice([0, 1, 100, 5000]))


def ours(raw, chance):
    """El pickle de dentro, dañado, en un zip sin tacha: así pasa de la primera puerta."""
    with zipfile.ZipFile(io.BytesIO(raw)) as z:
        parts = {info.filename: bytearray(z.read(info)) for info in z.infolist()}
    name, = (name for name in parts if name.endswith("data.pkl"))
    chance.choice([flips, flips, flips, noise, shifted])(parts[name], chance)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as z:
        for name, part in parts.items():
            z.writestr(name, bytes(part))
    raw[:] = whole.getvalue()


DAMAGES = [flips, cut, noise, holes, shifted, nonsense, ours, ours, ours, ours, ours, ours]


def refused(end):
    """¿El SystemExit `end` dice su error en una línea, y no fue porque la memoria no alcanzara?"""
    cause = end.__context__
    assert isinstance(end.code, str) and end.code.startswith("error: "), end.code
    assert end.code.isprintable() or "\n" not in end.code, end.code
    assert not isinstance(cause, MemoryError) and "allocate" not in str(cause), cause
    return True


def survives(sampler, path):
    """True si sample.py rechaza `path` con una línea; False si lo carga, y entonces escribe con él."""
    try:
        forward, w, config, chars = sampler["rebuild"](str(path))
    except SystemExit as end:
        return refused(end)
    ids, memory = torch.zeros(2, 4, dtype=torch.long), None
    for n in range(1, 4):
        logits, memory = forward(w, config, ids[:, :n], memory)
        assert logits.shape == (2, len(chars))
    return False


def trial(work):
    """Hace `work()`; si tarda más de diez segundos, una alarma mata a este proceso."""
    signal.alarm(10)
    result = work()
    signal.alarm(0)
    return result


@pytest.mark.parametrize("model", MODELS)
def test_damaged_bytes_are_refused_or_harmless(nest, sampler, tmp_path, model):
    """2400 daños a los ficheros de los cinco modelos, leídos por sample.py."""
    whole, chance = (nest / f"{model}.pt").read_bytes(), random.Random(model)
    path, wanted = tmp_path / "d.pt", (120 if TRIAL else 480) * MANY

    def work():
        seen = 0
        for i in range(wanted):
            raw = bytearray(whole)
            DAMAGES[i % len(DAMAGES)](raw, chance)
            path.write_bytes(raw)
            seen += trial(lambda: survives(sampler, path))
        return seen
    seen = guarded(work, 600 * MANY)
    assert seen > 0.6 * wanted
    TRIED["ficheros dañados, para sample.py"] += wanted
    TRIED["  de ellos, rechazados"] += seen


numbers = st.one_of(st.integers(-3, 70), st.integers(-2**70, 2**70), st.floats(), st.booleans(),
                    st.sampled_from([10**9, 10**12, 2**31, 2**63 - 1, -2**63, 10**600]))
words = st.one_of(st.sampled_from(["", "a\nb", "\ud800", "\0", "gpt", "bigram", "blocks.0"]),
                  st.text(max_size=5))
tensors = st.builds(
    lambda shape, dtype, fill: torch.full(shape, fill).to(dtype),
    st.lists(st.integers(0, 5), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16]),
    st.floats(width=32))
odd = st.sampled_from([
    torch.zeros(1).expand(10**6, 10**6), torch.zeros(5, 5).t(), torch.zeros(3, 3).to_sparse(),
    torch.zeros(2, requires_grad=True), torch.nn.Parameter(torch.zeros(2)), torch.zeros(2, 0),
    torch.empty(10**9, device="meta"), torch.Size([3]), torch.float32, torch.device("cpu"),
    collections.OrderedDict(a=1), {1, 2}, b"octetos", 1j, None])
anything = st.recursive(st.one_of(numbers, words, tensors, odd), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(words | st.integers(0, 9), inner, max_size=3),
    st.tuples(inner, inner)), max_leaves=4)


def places(value, path=()):
    """Todos los caminos hasta un valor de dentro de `value`: tuplas de claves."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if (
        isinstance(value, list)) else ()
    for key, part in inside:
        yield (*path, key)
        yield from places(part, (*path, key))


def spoilt(whole, data, top):
    """El punto de control `whole` con uno a tres valores de dentro de `top` cambiados, quitados o
    puestos de más."""
    c = torch.load(io.BytesIO(whole), weights_only=True)
    for _ in range(data.draw(st.integers(1, 3))):
        paths = sorted((path for path in places(c) if path[:len(top)] == top), key=repr)
        if not paths:
            break
        *path, last = data.draw(st.sampled_from(paths))
        spot = functools.reduce(lambda value, key: value[key], path, c)
        how = data.draw(st.sampled_from(["cambiar", "cambiar", "cambiar", "quitar", "añadir"]))
        if how == "quitar":
            del spot[last]
        elif how == "cambiar" or isinstance(spot, list):
            spot[last] = data.draw(anything)
        else:
            spot[data.draw(words | st.integers(0, 9))] = data.draw(anything | st.just(spot[last]))
    return c


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_with_absurd_values_is_refused_or_harmless(nest, sampler, tmp_path, model):
    """Configuraciones, pesos y claves de cualquier clase en un fichero bien hecho, con Hypothesis."""
    whole, path, seen = (nest / f"{model}.pt").read_bytes(), tmp_path / "d.pt", [0, 0]

    @settings(max_examples=(20 if TRIAL else 100) * MANY, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(st.data())
    def one(data):
        top = data.draw(st.sampled_from([(), ("config",), ("config",), ("weights",)]))
        torch.save(spoilt(whole, data, top), path)
        seen[0] += 1
        seen[1] += trial(lambda: survives(sampler, path))

    def work():
        one()
        return seen
    tried, seen = guarded(work, 600 * MANY)
    assert tried >= 15 * MANY and seen > 0.2 * tried
    TRIED["puntos de control con valores absurdos, para sample.py"] += tried
    TRIED["  de ellos, rechazados "] += seen


# --- ficheros que intentan ejecutar, o llenar la memoria

class Bomb:
    """Al leerse con pickle llama a `function(*args)`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def bombs():
    """Ficheros que, leídos con pickle sin más, crearían «explotado»: pares (nombre, octetos)."""
    for function, args in [(os.system, ("touch explotado",)), (exec, ("open('explotado', 'w')",)),
                           (eval, ("open('explotado', 'w')",)), (open, ("explotado", "w")),
                           (os.mkdir, ("explotado",)), (subprocess.call, (["touch", "explotado"],)),
                           (shutil.copy, ("bomba.pt", "explotado")), (runpy.run_path, ("bomba.py",)),
                           (torch.save, (1, "explotado")), (os.remove, ("bomba.py",))]:
        bomb, label = Bomb(function, *args), f"{function.__module__}.{function.__name__}"
        whole = {"format": 1, "model": "gpt", "config": {}, "chars": "ab", "weights": {}}
        for protocol in range(6):
            yield f"{label} en pickle {protocol}", pickle.dumps(bomb, protocol)
        for key in (None, "model", "config", "weights"):
            out = io.BytesIO()
            torch.save({**whole, key: bomb} if key else bomb, out)
            yield f"{label} en {key}", out.getvalue()
            out = io.BytesIO()
            torch.save({**whole, key: bomb}, out, _use_new_zipfile_serialization=False)
            yield f"{label} en {key}, formato viejo", out.getvalue()


def zipped(pkl, storage, method=zipfile.ZIP_STORED):
    """Un fichero como los de torch.save, con ese pickle y un tensor que ocupa `storage`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, part in {"data.pkl": pkl, "byteorder": b"little", "data/0": storage,
                           "version": b"3\n"}.items():
            z.writestr(f"ckpt/{name}", part)
    return out.getvalue()


def greedy(nest):
    """Ficheros de menos de 4 MB que piden gigas al leerlos: pares (nombre, octetos)."""
    call = b"\x80\x02c%s\n\x8a\x05" + (3 * 10**9).to_bytes(5, "little") + b"\x85R."
    for name in b"builtins\nbytearray", b"torch\nTensor", b"torch\nFloatTensor":
        yield name.decode(), zipped(call % name, b"")
        whole = pickle.dumps({"format": 1, "model": "gpt", "config": {}, "chars": "ab", "weights": {
            "w": "MARCA"}}, 2)
        mark = b"X\x05\0\0\0MARCA" + (b"q\x0b" if b"MARCAq\x0b" in whole else b"")
        yield f"{name.decode()} en weights", zipped(whole.replace(mark, (call % name)[2:-1]), b"")
    out = io.BytesIO()
    with zipfile.ZipFile(nest / "bigram.pt") as whole, zipfile.ZipFile(
            out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        for name in whole.namelist():
            if name.endswith("/data/0"):
                with z.open(name, "w") as f:
                    for _ in range(75):
                        f.write(bytes(2**24))
            else:                        # y que el pickle diga que son 75 * 2**22 números
                z.writestr(name, re.sub(rb"(cpuq.)M..", lambda m: m[1] + b"J\0\0\xc0\x12",
                                        whole.read(name), flags=re.S) if name.endswith(".pkl") else whole.read(name))
    yield "1,2 GB de ceros, comprimidos", out.getvalue()
    c = torch.load(nest / "mlp.pt", weights_only=True)
    c["config"] |= {"n_embd": 0, "block_size": 10**9}
    w = c["weights"]
    w.update(C=w["C"][:, :0].clone(), W1=w["W1"][:0].clone())
    yield "mil millones de ceros de contexto", c
    c = torch.load(nest / "wavenet.pt", weights_only=True)
    c["config"]["dilations"] = [10**8] * len(c["config"]["dilations"])
    yield "un salto de cien millones", c
    for key, value in {"n_layer": 10**9, "layer_norm": 10**8, "n_head": 10**9, "n_embd": 10**12,
                       "block_size": 10**12}.items():
        c = torch.load(nest / "gpt.pt", weights_only=True)
        c["config"][key] = value
        yield f"{key} de {value}", c


def test_files_that_would_run_code_or_fill_memory_are_refused(nest, sampler, tmp_path):
    """Nada se ejecuta, y nada ocupa más de 1 GB aunque el fichero lo pida."""
    resume = runpy_functions("06_gpt.py", nest)
    readers = lambda path: (lambda: survives(sampler, path), lambda: survives_load(resume, path))

    def work():
        tried = collections.Counter()
        os.chdir(tmp_path)
        Path("bomba.py").write_text("open('explotado', 'w')")
        for kind, files in {"ejecutar": bombs(), "llenar": greedy(nest)}.items():
            for label, raw in files:
                path = tmp_path / "bomba.pt"
                path.write_bytes(raw) if isinstance(raw, bytes) else torch.save(raw, path)
                for reader in readers(path):
                    assert trial(reader) or kind == "llenar", label
                    tried[kind] += 1
                assert sorted(os.listdir()) == ["bomba.pt", "bomba.py"], label
        return tried
    tried = guarded(work, 120)
    assert tried["ejecutar"] >= 200 and tried["llenar"] >= 20
    TRIED["pickles que intentan ejecutar (todos rechazados)"] += tried["ejecutar"]
    TRIED["ficheros que piden gigas"] += tried["llenar"]


# --- seguir (--resume) desde un fichero dañado

def halves(script, args, folder):
    """El guion partido por su celda «8. Entrenar»: ejecuta la primera mitad aquí, en `folder`, y
    devuelve sus nombres y la segunda mitad, compilada."""
    source = (ROOT / script).read_text("utf-8")
    at = re.search(r"^# %% 8\. ", source, re.M).start()
    os.chdir(folder)
    sys.argv = [script, *map(str, args)]
    names = {"__name__": "__main__", "__file__": str(ROOT / script), "__doc__": ""}
    exec(compile(source[:at], script, "exec"), names)
    return names, compile("\n" * source.count("\n", 0, at) + source[at:], script, "exec")


def runpy_functions(script, nest):
    """Los nombres de la primera mitad de `script`, sin moverse de carpeta."""
    before = os.getcwd(), sys.argv, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    try:
        return halves(script, SMALLEST[script], nest)[0]
    finally:
        os.chdir(before[0])
        sys.argv = before[1]
        signal.signal(signal.SIGINT, before[2])
        signal.signal(signal.SIGPIPE, before[3])


def survives_load(names, path):
    """True si la función load de 06 rechaza `path` con una línea; False si lo da por bueno."""
    try:
        names["load"](str(path))
    except SystemExit as end:
        return refused(end)
    return False


def test_resuming_from_a_damaged_checkpoint_is_refused_or_goes_on(nest, tmp_path):
    """Se siguen dos pasos desde un fichero dañado: o una línea, o se acaba bien."""
    whole, chance = (nest / "gpt.pt").read_bytes(), random.Random(8)
    path, wanted = tmp_path / "d.pt", (12 if TRIAL else 40) * MANY

    def work():
        texts(tmp_path)
        names, rest = halves("06_gpt.py", [*SMALLEST["06_gpt.py"], "--steps", 5, "--out", "s.pt",
                                           "--resume", path], tmp_path)
        seen = [0, 0]

        @settings(max_examples=wanted, deadline=None, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))
        @given(st.data())
        def one(data):
            if data.draw(st.booleans()):
                raw = bytearray(whole)
                ours(raw, chance)
                path.write_bytes(raw)
            else:
                top = data.draw(st.sampled_from([("training",), ("training", "optimizer"), ()]))
                torch.save(spoilt(whole, data, top), path)
            sys.stdout = io.StringIO()
            reading, writing = os.pipe()

            def second_half():
                os.dup2(writing, 2)
                sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
                exec(rest, names)
            pid = fork(second_half, GIGA, 20)
            os.close(writing)
            err = b"".join(iter(lambda: os.read(reading, 2**16), b"")).decode("utf-8", "replace")
            os.close(reading)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            sys.stdout = sys.__stdout__
            good = code == 0 and not err or code == 1 and err.count("\n") == 1 and err.startswith("error: ")
            if not good:
                shutil.copy(path, tmp_path / f"mal{seen[0]}.pt")
            assert good, (code, err[-1500:])
            seen[0] += 1
            seen[1] += code
        one()
        return seen
    tried, seen = guarded(work, 600 * MANY)
    assert tried >= (8 if TRIAL else 30) * MANY and 0.2 * tried < seen
    TRIED["ficheros dañados, para --resume"] += tried
    TRIED["  de ellos, rechazados  "] += seen


# --- kill -9

def same(a, b):
    """¿Son iguales, bit a bit, dos valores hechos de diccionarios, listas y tensores?"""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def read(path):
    """El punto de control de `path`, que debe leerse, o None si no existe."""
    return torch.load(path, weights_only=True) if path.exists() else None


KILLED = [*SMALLEST["06_gpt.py"], "--steps", "40", "--eval_interval", "2", "--dropout", "0.1"]


def test_killed_at_random_while_training_and_saving_nothing_is_lost(here):
    """kill -9 en 200 momentos al azar: el fichero se lee, no pierde más que desde la última
    evaluación, y quien sigue con --resume llega, bit a bit, a donde llegaría sin interrupciones."""
    chance, out = random.Random(9), here / "ckpt.pt"

    def work():
        names, rest = halves("06_gpt.py", KILLED, here)
        sys.stdout = open(os.devnull, "w")

        def train():
            """Hace la segunda mitad, desde lo que haya guardado; por `told` va lo que dice."""
            os.dup2(told, 1)
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
            names["RESUME"] = "ckpt.pt" if out.exists() else ""
            exec(rest, names)
        kills = endings = lives = 0
        lasted, reference = None, None
        while kills < (50 if TRIAL else 200) * MANY:
            lives += 1
            listen, told = os.pipe()
            before, tick = read(out), time.time()
            pid = fork(train, 2 * GIGA, 60)
            os.close(told)
            if lives % 40 != 1:          # la primera llega al final: es la referencia; y una de 40
                time.sleep(chance.uniform(0, lasted / 10))
                os.kill(pid, signal.SIGKILL)
            said = b"".join(iter(lambda: os.read(listen, 2**16), b"")).decode()
            os.close(listen)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            after = read(out)
            reached = [int(step) for step in re.findall(r"^   paso +(\d+)", said, re.M)]
            start = before["training"]["step"] if before else 0
            if reached:                  # lo que dijo guardado, guardado está
                assert after["training"]["step"] >= reached[-1]
            assert (after["training"]["step"] if after else 0) >= start
            if read(here / "ckpt.pt.bak"):
                assert read(here / "ckpt.pt.bak")["training"]["step"] <= after["training"]["step"]
            assert code in (0, -signal.SIGKILL), said
            kills += code != 0
            if code == 0 or after and after["training"]["step"] == 40:
                if reference is None:
                    reference, lasted = after, time.time() - tick
                assert same(after, reference)
                endings += 1
                out.unlink()
                (here / "ckpt.pt.bak").unlink(missing_ok=True)
        return kills, endings
    kills, endings = guarded(work, 600 * MANY)
    assert endings >= (1 if TRIAL else 4 * MANY)
    TRIED["kill -9 al azar"] += kills
    TRIED["  veces que, siguiendo, se llegó al final bit a bit"] += endings


def test_killed_at_every_single_call_of_save_the_file_is_whole(here):
    """Cada vez que se guarda, un hijo lo hace y se mata antes o después de cada llamada de `save`,
    una a una: queda lo de antes, o lo nuevo con lo de antes en .bak; nunca medio, nunca nada."""
    out, spare = here / "ckpt.pt", here / "ckpt.pt.bak"
    files = {"06_gpt.py", shutil.__file__, sys.modules["pathlib"].__file__}

    def work():
        names, rest = halves("06_gpt.py", [*KILLED, "--steps", "4"], here)
        sys.stdout, save, kills = open(os.devnull, "w"), names["save"], []

        def killed(k, *args):
            """Guarda, y se mata en la k-ésima llamada o vuelta de llamada desde `save`."""
            left = [k]

            def watch(frame, event, argument):
                caller = frame if event.startswith("c_") else frame.f_back
                if caller and caller.f_code.co_filename in files:
                    left[0] -= 1
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
            sys.setprofile(watch)
            save(*args)

        def every_point(checkpoint, path):
            """Prueba todas las muertes de este guardado, y después guarda de verdad."""
            before = [(p, p.read_bytes()) for p in (out, spare) if p.exists()]
            old, older, code, deaths = read(out), read(spare), -signal.SIGKILL, -1
            while code == -signal.SIGKILL:
                deaths += 1              # de ordinario, una llamada de cada ocho
                k = 1 + deaths * (1 if MANY > 1 else 8)
                spare.unlink(missing_ok=True), out.unlink(missing_ok=True)
                for p, raw in before:
                    p.write_bytes(raw)
                code = os.waitstatus_to_exitcode(os.waitpid(
                    fork(lambda: killed(k, checkpoint, path), GIGA, 60), 0)[1])
                now, kept = read(out), read(spare)
                assert code in (0, -signal.SIGKILL)
                assert same(now, old) or same(now, checkpoint) and (
                    same(kept, old) or names["written"]), k
                assert same(kept, older) or same(kept, old), k
            kills.append(deaths)
            assert code == 0 and same(now, checkpoint)
            save(checkpoint, path)
        names["save"] = every_point
        exec(rest, names)                # sin nada de antes
        names["written"].clear()
        names.update(state={**names["state"], "step": 0, "history": [], "best": None})
        exec(rest, names)                # con el fichero de otro entrenamiento
        return kills
    kills = guarded(work, 600)
    assert len(kills) == 4 and min(kills) >= 3 and kills[2] > kills[0]
    TRIED["kill -9 en cada llamada de save"] += sum(kills)


# --- cada constante, con cualquier valor

EXTREMES = ["0", "-1", str(10**12), str(2**63), "1e300", "nan", "inf", "texto", ""]


def constants(script):
    """Los nombres de las constantes de `script`, con su valor."""
    cell = (ROOT / script).read_text("utf-8").split("# %%")[1]
    return {name: eval(value) for name, value in re.findall(r"^([A-Z_]+) = (.+?)  +# ", cell, re.M)}


@pytest.mark.parametrize("script", ["06_gpt.py", "sample.py"] if TRIAL else [*SMALLEST, "sample.py"])
def test_every_constant_at_every_extreme_ends_in_order(nest, here, script):
    """Cada constante a 0, -1, enorme, NaN, infinita, texto y vacía: bien, o una línea. Lo que sólo
    tardaría se para con Ctrl-C a los pocos segundos, y también acaba en orden. (De ordinario, dos
    valores de cada una; en la campaña larga, todos.)"""
    shutil.copy(nest / "gpt.pt", here / "ckpt.pt")
    small = ["--length", 5] if script == "sample.py" else [*SMALLEST[script], "--steps", 1]
    small += ["--out", "nuevo.pt"] if script in SAVERS else []
    patience, kinds = min(0.7 * MANY, 20), collections.Counter()
    for i, (name, usual) in enumerate(constants(script).items()):
        for value in EXTREMES if MANY > 1 else {EXTREMES[i % 9], EXTREMES[(4 * i + 2) % 9]}:
            if isinstance(usual, bool) and value != EXTREMES[i % 9]:
                continue
            flag = [f"--no-{name.lower()}"] if isinstance(usual, bool) else [f"--{name.lower()}={value}"]
            before = (here / "ckpt.pt").read_bytes()
            pid = script_here(script, [*small, *flag], here, GIGA, 120)
            done = ended(pid, here, patience)
            in_order(done, flag)
            assert (here / "ckpt.pt").read_bytes() == before
            kinds["parado" if done.stopped else done.returncode] += 1
    assert sum(kinds.values()) >= len(constants(script)) and kinds[1] and kinds[2]
    TRIED["constantes con valores extremos"] += sum(kinds.values())
    for code, why in {0: "aceptadas", 1: "rechazadas con una línea", 2: "rechazadas por argparse",
                      "parado": "paradas con Ctrl-C"}.items():
        TRIED[f"  {why}"] += kinds[code]


# --- textos de cualquier clase

def strange(chars, length):
    """Textos raros, de unos `length` caracteres, y con `chars` distintos el que más: {nombre: octetos}."""
    chance = random.Random(5)
    every = [chr(i) for i in range(0x20, 0x110000) if not 0xD800 <= i < 0xE000][:chars]
    wide = "👩‍👩‍👧‍👦🏳️‍🌈👍🏽❤️‍🔥🇪🇸"
    lines = lambda pieces: "\n".join("".join(chance.choices(pieces, k=9)) for _ in range(60))
    return {
        "nada": b"", "azar": chance.randbytes(length), "saltos": b"\n" * length,
        "retornos": b"\r" * length, "blancos": b" \t \n" * 99, "ceros": bytes(length),
        "una línea": (CAN_LOSE.replace("\n", " ") * (length // len(CAN_LOSE) + 1))[:length].encode(),
        "una línea y muchas": (CAN_LOSE + "larga " * (length // 6) + "\n" + lines("abc")).encode(),
        "caracteres": "\n".join("".join(every[i:i + 50]) for i in range(0, len(every), 50)).encode(),
        "un solo carácter": b"a\n" * 99, "marca de orden": b"\xef\xbb\xbf" * 99,
        "con NUL": lines("ab\0").encode(), "de derecha a izquierda": lines("שלום عربى\u202e").encode(),
        "emojis": lines([wide, *wide]).encode(), "tildes sueltas": lines("a\u0301\u0308n\u0303").encode(),
        "controles": lines([chr(i) for i in range(32)] + ["\x85", "\u2028", "\xa0", "\ufeff"]).encode(),
        "sustitutos": lines("abc").encode() + b"\xed\xa0\x80", "fin a medias": lines("abñ").encode()[:-1],
        "UTF-16": lines("abc").encode("utf-16"), "no caracteres": lines("\ufffe\uffff\U0010ffff").encode(),
        "nombres": "\n".join(f"=cmd|{i} %s {{}} \\n 'x' \"y\" $(z) `w`" for i in range(60)).encode(),
    }


@pytest.mark.parametrize("script", ["03_mlp.py", "06_gpt.py"] if TRIAL else SAVERS)
def test_texts_of_every_kind_train_or_get_their_line(here, script):
    """De octetos al azar a emojis con uniones: se entrena un paso, o se dice en una línea por qué no."""
    kinds = collections.Counter()
    for i, (name, raw) in enumerate(strange(2_000 * min(MANY, 10), 100_000 * MANY).items()):
        if TRIAL and script != "06_gpt.py" and (i + SAVERS.index(script)) % 4:
            continue                     # de ordinario, las de líneas se los reparten
        (here / "raro.txt").write_bytes(raw)
        pid = script_here(script, [*SMALLEST[script], "--steps", 1, "--data", "raro.txt"], here, 2 * GIGA)
        done = ended(pid, here)
        in_order(done, name)
        kinds[done.returncode] += 1
        if done.returncode == 0:
            last, = here.glob("ckpt*.pt")
            pid = script_here("sample.py", [last.name, "--length", 20, "--num", 2], here)
            done = ended(pid, here)
            assert done.returncode == 0 and "por segundo" in done.stderr, (name, done.stderr)
            kinds["escritos"] += 1
            last.unlink()
    assert kinds[0] and kinds[1]
    TRIED["textos raros"] += kinds[0] + kinds[1]
    TRIED["  con los que se entrenó y se escribió"] += kinds["escritos"]


# --- discos, carpetas y vecinos

@pytest.fixture
def disk(tmp_path):
    """Monta un disco en memoria: disk("size=256k") da su carpeta. Sin permiso, se salta la prueba."""
    mounted = []

    def disk(kind):
        folder = tmp_path / f"disco{len(mounted)}"
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", kind, "tmpfs", folder],
                          capture_output=True).returncode:
            pytest.skip("aquí no se puede montar un tmpfs")
        mounted.append(folder)
        return folder
    yield disk
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("script", ["03_mlp.py", "06_gpt.py"] if TRIAL else SAVERS)
def test_a_full_disk_or_a_read_only_folder_changes_nothing(nest, here, disk, script):
    """Disco lleno antes de empezar o a mitad, y carpeta de sólo lectura: una línea, y lo de antes."""
    old = (nest / f"{MODELS[SAVERS.index(script)]}.pt").read_bytes()
    rooms = 0, len(old) // 2, len(old) - 4096, len(old) + 4096  # en el último cabe uno, no dos
    for room in rooms[2:] if TRIAL else rooms:
        small = disk("size=512k")
        (small / "c.pt").write_bytes(old)
        (small / "relleno").write_bytes(bytes(max(0, 512 * 1024 - 4096 * (1 + -(-len(old) // 4096))
                                                  - max(room, 0) // 4096 * 4096)))
        done = ended(script_here(script, [*SMALLEST[script], "--steps", 2, "--out", small / "c.pt"],
                                 here), here)
        assert done.returncode == 1 and "el disco está lleno" in done.stderr, (room, done.stderr)
        in_order(done, room)
        assert (small / "c.pt").read_bytes() == old
        assert sorted(os.listdir(small)) == ["c.pt", "relleno"]
        TRIED["discos llenos"] += 1
    closed = disk("size=512k")
    (closed / "c.pt").write_bytes(old)
    subprocess.run(["mount", "-o", "remount,ro", closed], check=True)
    done = ended(script_here(script, [*SMALLEST[script], "--steps", 1, "--out", closed / "c.pt"],
                             here), here)
    assert done.returncode == 1 and "no se puede escribir" in done.stderr, done.stderr
    in_order(done, "sólo lectura")
    assert (closed / "c.pt").read_bytes() == old
    TRIED["carpetas de sólo lectura"] += 1


@pytest.mark.parametrize("script", ["05_wavenet.py"] if TRIAL else sorted(set(SMALLEST) - {"06_gpt.py"}))
def test_figures_that_cannot_be_saved_get_their_line(here, disk, script):
    """--plot en un disco lleno, en uno de sólo lectura y donde hay un fichero."""
    pytest.importorskip("matplotlib")
    if script != "05_wavenet.py" and TRIAL:
        return  # las otras llevan las mismas celdas: se miran en la campaña larga
    full, closed = disk("size=8k"), disk("ro")
    (full / "relleno").write_bytes(bytes(8192))
    for folder in full, closed, here / "t.txt", closed / "otra":
        args = [*SMALLEST[script], "--steps", 0, "--plot", folder]
        done = ended(script_here(script, args, here, 2 * GIGA), here)
        assert done.returncode == 1, (folder, done.stderr)
        in_order(done, folder)
        TRIED["figuras que no se pueden guardar"] += 1


def test_two_trainings_on_the_same_file_never_break_it(here):
    """Dos a la vez, guardando a cada paso, y quien lee lo hace sin parar: siempre está entero."""
    out, reads = here / "ckpt.pt", 0
    torch.save({"n": 0}, out)
    for turn in range(2 * MANY):
        folders = [here / f"{turn}{name}" for name in "ab"]
        for folder in folders:
            folder.mkdir()
        pids = [script_here("06_gpt.py", [*SMALLEST["06_gpt.py"], "--data", here / "t.txt", "--out", out,
                                          "--steps", 60, "--seed", seed], folder)
                for seed, folder in enumerate(folders)]
        while not os.waitid(os.P_PID, pids[0], os.WEXITED | os.WNOHANG | os.WNOWAIT):
            assert "n" in read(out) or read(out)["training"]["step"] <= 60
            reads += 1
        for pid, folder in zip(pids, folders):
            done = ended(pid, folder)
            assert done.returncode == 0 and done.stderr == "", done.stderr
        assert read(out)["training"]["step"] == 60 and read(here / "ckpt.pt.bak")
    assert sorted(name for name in os.listdir(here) if "pt" in name) == ["ckpt.pt", "ckpt.pt.bak"]
    assert reads > 10
    TRIED["entrenamientos de dos en dos sobre el mismo fichero"] += 4 * MANY
    TRIED["  lecturas mientras tanto, todas enteras"] += reads


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="aquí no hay /dev/full")
@pytest.mark.parametrize("script", ["sample.py"] if TRIAL else [*SMALLEST, "sample.py"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-", "2>&-", ">&- 2>&-"])
def test_an_output_that_is_full_or_closed_gives_no_traceback(nest, here, script, where):
    """Con la salida llena, una línea por stderr y código 1; cerrada, nada: se trabaja en silencio."""
    shutil.copy(nest / "gpt.pt", here / "ckpt.pt")
    if script != "sample.py" and TRIAL:
        return  # las otras lecciones llevan las mismas celdas: se miran en la campaña larga
    args = ["--length", 30] if script == "sample.py" else [*SMALLEST[script], "--steps", 0]
    order = " ".join(command(script, *args)) + " " + where
    done = subprocess.run(order, shell=True, cwd=here, env=ENV, capture_output=True, encoding="utf-8",
                          timeout=120)
    lines = done.stderr.strip().splitlines()
    if where == ">/dev/full":
        assert done.returncode == 1 and len(lines) == 1 and lines[0].startswith("error: "), lines
    else:
        assert done.returncode == 0 and "Traceback" not in done.stderr + done.stdout
        assert len(lines) <= 1
    TRIED["salidas llenas o cerradas"] += 1

"""Lo que comparten las pruebas: ejecutar los guiones de verdad, con constantes pequeñas."""
import ctypes
import functools
import inspect
import os
import pickle
import runpy
import shutil
import signal
import socket
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
    """Lo que ha de estar antes de todo.

    SIGINT, como en una terminal: lo que se lanza con `&` la ignora, y los guiones lo heredarían. Y
    las letras de matplotlib, que la primera vez las busca y lo cuenta por stderr.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        import matplotlib.font_manager  # noqa: F401
    except ImportError:
        pass


def command(script, *args):
    """La orden que ejecuta `script`, o el código si es «-c», con este mismo intérprete."""
    return [sys.executable, script if script == "-c" else str(ROOT / script), *map(str, args)]


# --- Un intérprete con torch ya importado: importarlo tarda más que casi cualquier prueba

def serve():
    """El servidor: un proceso aparte, sin nada de pytest y de un solo hilo, que se bifurca (fork).

    Por cada petición nace un hijo, que sale de aquí con ella. Su padre muere al momento para que lo
    adopte pytest, que así lo espera y le manda señales como a cualquier hijo suyo.
    """
    import gc
    import os
    import socket

    import numpy  # noqa: F401
    import torch._dynamo  # noqa: F401  (lo que un optimizador importa en su primer paso)

    gc.collect(), gc.freeze()                    # que un hijo no repase la memoria de todos
    door = socket.socket(fileno=0)
    while True:
        request, fds, *_ = socket.recv_fds(door, 2**20, 3)
        if not request:                          # pytest ha terminado
            os._exit(0)
        father = os.fork()
        if father == 0:
            child = os.fork()
            if child == 0:
                door.detach()
                return request, fds
            door.send(b"%d" % child)
            os._exit(0)
        os.waitpid(father, 0)
        door.send(b"adoptado")
        for fd in fds:
            os.close(fd)


def become(request, fds):
    """El hijo hace lo que haría `python guion opciones`, o `python -c código opciones`."""
    import atexit
    import os
    import pickle
    import signal
    import sys
    import types

    import numpy

    args, cwd, environment, preexec_fn = pickle.loads(request)
    for fd, mine in enumerate(fds):              # stdin, stdout y stderr
        os.dup2(mine, fd)
    os.closerange(3, 256)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    numpy.random.seed()                          # el azar de cada proceso es suyo
    encoding, _, errors = environment.get("PYTHONIOENCODING", "").partition(":")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        own = "backslashreplace" if stream is sys.stderr else errors or None
        stream.reconfigure(encoding=encoding or None, errors=own)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if args[0] == "-c":
        path, sys.argv, source = "<string>", ["-c", *args[2:]], args[1]
    else:
        path, sys.argv, source = args[0], args, open(args[0], "rb").read()
        main.__file__, sys.path[0] = path, os.path.dirname(os.path.realpath(path))
    if preexec_fn:
        preexec_fn()
    code = 0
    try:
        exec(compile(source, path, "exec"), vars(main))
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:
        trace = error.__traceback__.tb_next      # lo que hay por debajo de esta función
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        code = 1
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.closed or stream.flush()
    os._exit(code & 0xFF)                        # sin desmontar torch, que tarda más que la prueba


@functools.cache
def server():
    """El servidor, que arranca la primera vez que se le necesita, y la puerta por que se le pide."""
    ctypes.CDLL(None).prctl(36, 1)               # PR_SET_CHILD_SUBREAPER: adoptar a los huérfanos
    door, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = f"{inspect.getsource(serve)}\n{inspect.getsource(become)}\nbecome(*serve())"
    with inner:
        return door, subprocess.Popen([sys.executable, "-c", program], env=ENV, stdin=inner,
                                      stdout=inner, stderr=subprocess.PIPE)


class Forked(subprocess.Popen):
    """Un `subprocess.Popen` de `[python, guion, ...]` que, en vez de arrancar, nace del servidor.

    Es un proceso de verdad: con su carpeta, su entorno, sus tres ficheros, su código de salida, y
    señales. Lo que no tiene propio es lo que Python lee al arrancar (PYTHONPATH, PYTHONHASHSEED...).
    """

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env,
                       startupinfo, creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite,
                       errread, errwrite, *_):
        door, process = server()
        request = pickle.dumps((args[1:], cwd or os.getcwd(), dict(env or os.environ), preexec_fn))
        fds = [k if fd == -1 else fd for k, fd in enumerate((p2cread, c2pwrite, errwrite))]
        socket.send_fds(door, [request], fds)
        answer = door.recv(99)
        assert answer, process.stderr.read().decode()
        self.pid = int(answer)
        self._child_created = door.recv(99) == b"adoptado"
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def start(script, *args, env=None, real=sys.platform != "linux", **kw):
    """Empieza a ejecutar `script` y devuelve su `Popen`; con `real`, en un intérprete nuevo.

    También es nuevo si `env` trae algo que Python lee al arrancar, o que no se sabe si lo lee.
    """
    env = env or {}
    popen = subprocess.Popen if real or env.keys() - {"COLUMNS", "PYTHONIOENCODING"} else Forked
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return popen(command(script, *args), env=ENV | env, **(pipes | kw))


def run_script(script, *args, **kw):
    """Ejecuta `script` hasta el final: su código, stdout y stderr."""
    with start(script, *args, **kw) as process:
        try:
            out, err = process.communicate(timeout=300)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def run(tmp_path):
    """run("06_gpt.py", "--steps", 3): lo ejecuta en una carpeta vacía; stdout y stderr en UTF-8.

    En Linux, en un proceso bifurcado de otro que ya importó torch: décimas en vez de segundos, y
    ninguna prueba nota la diferencia (test_house.py lo comprueba). Con `real=True`, tal como lo
    arranca el lector: así va en cada guion alguna ejecución entera, además de la de `| head`.
    """
    return functools.partial(run_script, cwd=tmp_path)


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
    done = run_script("06_gpt.py", *SMALL, "--data", "versos.txt", "--steps", 40,
                      "--eval_interval", 20, cwd=folder)
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

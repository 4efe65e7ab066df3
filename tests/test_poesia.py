"""data/poesia.txt: limpio, variado, repartido, y con la métrica y la rima que cada forma pide."""
import collections
import lzma
import re
import tarfile

import metre
import pytest
from conftest import ROOT, SHARED

TEXT = (ROOT / "data" / "poesia.txt").read_text("utf-8")
LINES = [line for line in TEXT.split("\n") if line]
POEMS = metre.poems(TEXT)
OCTOSYLLABLES = ["Romance", "Redondilla", "Cuarteta", "Décima", "Quintilla", "Copla"]
HENDECASYLLABLES = ["Soneto", "Silva", "Tercetos", "Octava", "Serventesio"]


def verses_of(stanzas):
    return [verse for stanza in stanzas for verse in stanza]


def size(form, title, stanzas):
    """Caracteres de un poema en el fichero."""
    body = "\n\n".join("\n".join(stanza) for stanza in stanzas)
    return len(f"# {form}: {title}\n\n{body}\n\n")


def characters(poems):
    """Cuántos caracteres hay de cada forma."""
    total = collections.Counter()
    for form, title, stanzas in poems:
        total[form] += size(form, title, stanzas)
    return total


# Cuánto y cuán variado
def test_it_has_a_million_characters():
    assert len(TEXT) >= 1_000_000


def test_it_has_22_000_words():
    words = re.findall(r"\w+", TEXT.lower())
    assert len(set(words)) >= 22_000


def test_lines_are_unique():
    assert len(set(LINES)) >= 0.98 * len(LINES)


@pytest.mark.parametrize("start", [0, 200_000, 400_000, 600_000, 800_000])
def test_any_stretch_hardly_compresses(start):
    """Bits por carácter con xz: lo que sale de una plantilla, menos."""
    stretch = TEXT[start:start + 200_000]
    packed = lzma.compress(stretch.encode(), preset=9)
    bits = 8 * len(packed) / 200_000
    assert bits >= 2.9


def test_six_words_in_a_row_stand_in_one_poem():
    seen = {}
    for form, title, stanzas in POEMS:
        body = " ".join(verses_of(stanzas))
        words = re.findall(r"\w+", body.lower())
        for i in range(len(words) - 5):
            run = tuple(words[i:i + 6])
            assert seen.setdefault(run, title) == title, (run, title, seen[run])


def test_no_title_is_repeated():
    titles = collections.Counter(title for _, title, _ in POEMS)
    assert titles.most_common(1)[0][1] == 1


def test_few_poems_begin_alike():
    begins = collections.Counter()
    for _, _, stanzas in POEMS:
        words = re.findall(r"\w+", stanzas[0][0].lower())
        begins[" ".join(words[:2])] += 1
    assert begins.most_common(1)[0][1] <= 12


@pytest.mark.parametrize("form", [*OCTOSYLLABLES, *HENDECASYLLABLES])
def test_each_main_form_is_long_enough_to_be_learned(form):
    assert characters(POEMS)[form] >= 20_000


def test_the_main_forms_are_most_of_the_text():
    found = characters(POEMS)
    short = sum(found[form] for form in OCTOSYLLABLES)
    long = sum(found[form] for form in HENDECASYLLABLES)
    assert short >= 0.50 * len(TEXT)
    assert long >= 0.30 * len(TEXT)


@pytest.mark.parametrize("form", [*OCTOSYLLABLES, *HENDECASYLLABLES])
def test_the_last_tenth_has_each_form_in_its_proportion(form):
    """La validación de 06: un quinto de más o de menos, o el tamaño de un poema."""
    place, last = 0, []
    for poem in POEMS:
        if place >= 0.9 * len(TEXT):
            last.append(poem)
        place += size(*poem)
    there = characters(last)
    part = there[form] / sum(there.values())
    whole = characters(POEMS)[form] / len(TEXT)
    assert abs(part - whole) <= max(0.2 * whole, 0.02)


# Cómo está escrito
def test_only_spanish_characters():
    letters = "aábcdeéfghiíjklmnñoópqrstuúüvwxyzAÁBCDEÉFGHIÍJKLMNÑOÓPQRSTUÚÜVWXYZ"
    assert set(TEXT) <= set(letters + " \n.,;:¿?¡!«»—…()#")


def test_there_is_no_stray_space():
    assert not re.search(r" \n|  |\n\n\n|^ |\n ", TEXT)
    assert TEXT.endswith("\n")


def test_every_poem_has_a_known_form():
    assert TEXT.startswith("# ")
    assert len(POEMS) == TEXT.count("# ") == TEXT.count("#")
    assert {form for form, _, _ in POEMS} <= set(metre.FORMS)


@pytest.mark.parametrize("sign", ["¿?", "¡!", "«»", "()"])
def test_signs_come_in_pairs(sign):
    opened, closed = sign
    assert TEXT.count(opened) == TEXT.count(closed)


@pytest.mark.parametrize("form", sorted({form for form, _, _ in POEMS}))
def test_no_poem_has_a_fault(form):
    for kind, title, stanzas in POEMS:
        if kind == form:
            faults, _ = metre.check(form, stanzas)
            assert not faults, (title, faults)


@pytest.mark.parametrize("form", sorted({form for form, _, _ in POEMS}))
def test_licences_are_few(form):
    verses = licences = 0
    for kind, _, stanzas in POEMS:
        if kind == form:
            verses += len(verses_of(stanzas))
            licences += metre.check(form, stanzas)[1]
    assert licences <= 0.06 * verses


def test_data_readme_counts_the_forms_as_they_are():
    readme = (ROOT / "data" / "README.md").read_text("utf-8")
    counted = dict(re.findall(r"^\| ([^|]+?) \|[^|]*\| *(\d+) \|", readme, re.M))
    forms = collections.Counter(form for form, _, _ in POEMS)
    assert counted == {form: str(n) for form, n in forms.items()}


def plain(line):
    return " ".join(re.findall(r"\w+", line.lower()))


@pytest.mark.skipif(not SHARED.is_dir(), reason="faltan los corpus de sonetos de ../shared")
@pytest.mark.parametrize("name", ["CorpusSonetosSigloDeOro", "disco"])
def test_no_verse_stands_in_a_corpus_of_sonnets(name):
    ours = {plain(line) for line in LINES if len(plain(line).split()) >= 5}
    with tarfile.open(SHARED / f"{name}.tar.gz") as corpus:
        for member in corpus:
            if member.isfile() and member.name.endswith(".xml"):
                xml = corpus.extractfile(member).read().decode("utf-8", "replace")
                for verse in re.findall(r"<l [^>]*>(.*?)</l>", xml, re.S):
                    assert plain(re.sub(r"<[^>]+>", "", verse)) not in ours, verse

"""
Escansión de verso español: sílabas, acentos y rima. Revisa data/poesia.txt y lo que se genera.

    python measures/metre.py data/poesia.txt            un resumen por poema y los versos que fallan
    python measures/metre.py data/poesia.txt --all      además, la lectura de cada verso
    python sample.py ckpt.pt | python measures/metre.py --source data/poesia.txt
                                                     cuántos versos miden y riman en lo que llega,
                                                     y cuánto sale del texto con que se entrenó
    python measures/metre.py --gold CARPETA_O_TAR       los acentos, frente a los anotados a mano en
                                                     el Corpus de Sonetos del Siglo de Oro
    python measures/metre.py --disco CARPETA_O_TAR      los esquemas de rima, frente a los de DISCO

Un verso es una fila de vocales. Entre cada una y la anterior hay dos posibilidades: formar sílaba
aparte o juntarse con ella. Una de las dos es la usual y no cuesta nada; la otra es una licencia y
tiene un precio. La medida del verso es la de su lectura usual. Si el verso ha de medir otra cosa,
se lee de la manera más barata que dé esa medida. Las licencias tienen nombre:

    hiato       dos vocales vecinas de palabras distintas que no se juntan (lo usual es la sinalefa)
    diéresis    un diptongo que se parte, como en «rüido»
    sinéresis   dos vocales en hiato que se juntan, como en «poe-ta»

Reglas: T. Navarro Tomás, «Manual de pronunciación española» (1918) y «Métrica española» (1956);
A. Quilis, «Métrica española» (1969). Cada una se nombra donde se aplica.
"""
import argparse
import html
import pathlib
import re
import sys
import tarfile
import unicodedata
from collections import Counter, namedtuple
from functools import cache

# %% Escandir: de las letras a las sílabas, los acentos y la rima

VOWELS = "aeiouáéíóúüï"
STRONG = "aeoáéíóú"                     # las que no forman diptongo entre sí
TILDE = "áéíóú"
PLAIN = str.maketrans("áéíóúüï", "aeiouui")

# Palabras sin acento propio: artículos, preposiciones, conjunciones, posesivos ante nombre,
# pronombres átonos y relativos (Navarro Tomás, Manual, «palabras inacentuadas»).
UNSTRESSED = set("""
    el la los las lo al del le les me te se nos os
    mi mis tu tus su sus nuestro nuestra nuestros nuestras vuestro vuestra vuestros vuestras
    a ante bajo con contra de desde en entre hacia hasta para por sin so sobre tras
    y e o u ni que si pero mas sino pues como cuando donde do aunque porque mientras aun
    quien quienes cual cuyo cuya cuyos cuyas cuan cuanto cuanta cuantos cuantas tan don doña fray
    """.split())
CONJUNCTIONS = {"y", "e", "o", "u"}

# Lo que cuesta cada licencia. Afinados con los sonetos de número par del corpus.
HIATUS = 2.0                # «la | amiga»
STRESSED_HIATUS = 1.0       # «la | hora»: la segunda vocal es tónica
LAST_HIATUS = 0.8           # «… de | oro», al final del verso
GLIDE = 1.0                 # «muy^amable»
AFTER_CONJUNCTION = 0.3     # «canta y^ama»
DIAERESIS = 2.0             # «glorï-oso»
FIRST_DIAERESIS = 1.5       # «crü-el», en la primera sílaba y con la tónica
SYNAERESIS = 1.5            # «poe-ta»
STRESSED_SYNAERESIS = 3.0   # «habia»
LOST_RHYTHM = 2.0           # un endecasílabo sin sus acentos

Vowel = namedtuple("Vowel", "stressed apart together")
Scan = namedtuple("Scan", "count low high rhyme assonance hiatus")


def words_of(verse):
    """Las palabras de `verse` que tienen alguna vocal."""
    return [word for word in re.findall(r"[^\W\d_]+", verse) if re.search("[aeiouy]", plain(word))]


def plain(word):
    """`word` en minúsculas y sin tildes."""
    return unicodedata.normalize("NFC", word).lower().translate(PLAIN)


@cache
def sounds(word):
    """La palabra tal como suena, un signo por sonido, para contar y rimar.

    Sin h muda, sin la u de «que» y «gue», con la y final como i. «Hue» y «hie» empiezan por
    consonante: «ca-ca-hua-te», «la | hierba». La ü que no sigue a una g parte un diptongo: «crüel».
    """
    w = re.sub(r"[^a-záéíóúüïñ]", "", unicodedata.normalize("NFC", word).lower())
    w = w.replace("ch", "C")
    w = re.sub(r"hu(?=[aeoáéó])|(?<=[aeiouáéíóú])hu(?=[ií])", "W", w)
    w = re.sub(r"hi(?=[eé])", "Y", w)
    w = w.replace("h", "")
    w = re.sub(r"qu(?=[eiéí])", "k", w)
    w = re.sub(r"gu(?=[eiéí])", "G", w)
    w = w.replace("gü", "Gu")
    w = re.sub(r"g(?=[eiéí])", "j", w)
    w = re.sub(r"c(?=[eiéí])", "z", w)
    w = w.replace("c", "k").replace("q", "k").replace("g", "G").replace("v", "b").replace("ll", "Y")
    w = re.sub(r"y(?=[aeiouáéíóúü])", "Y", w)
    return w.replace("y", "i")


@cache
def nuclei(w):
    """Las vocales de `w`, sílaba a sílaba: lista de (inicio, fin)."""
    found = []
    for group in re.finditer(f"[{VOWELS}]+", w):
        start = group.start()
        for i in range(start + 1, group.end()):
            if in_hiatus(w, i):
                found.append((start, i))
                start = i
        found.append((start, group.end()))
    return found


def in_hiatus(w, i):
    """¿Empieza sílaba la vocal `i` de `w`, que sigue a otra?"""
    strong = w[i - 1] in STRONG
    both_strong = strong and w[i] in STRONG                 # «po-eta», «rí-o»
    marked = w[i - 1] in "üï" or w[i] in "üï"               # «rü-ido»
    glide = strong and w[i] in "iu" and w[i + 1:i + 2] in tuple(STRONG)     # «No-ia»
    return both_strong or marked or glide


def peak(w, syllable):
    """Lugar de la vocal que más suena en `syllable`: la que lleva tilde, la fuerte o la última."""
    start, end = syllable
    for letters in (TILDE, "aeo"):
        for i in range(start, end):
            if w[i] in letters:
                return i
    return end - 1


def tonic(word):
    """Posición en `sounds(word)` de la vocal tónica, por las reglas de la tilde; None si no hay."""
    w = sounds(word)
    peaks = [peak(w, syllable) for syllable in nuclei(w)]
    marked = [i for i in peaks if w[i] in TILDE]
    if marked or not peaks:
        return marked[0] if marked else None
    ends_flat = re.search(r"[aeiou][ns]?$", w) and not re.search(r"[aeou]y$", word.lower())
    return peaks[-2] if ends_flat and len(peaks) > 1 else peaks[-1]


@cache
def accents(word):
    """Posiciones de las vocales tónicas de `word`: una, o dos en los adverbios en -mente."""
    adverb = re.fullmatch(r"(.+[aelnrsz])mente", word.lower())
    if not adverb or re.fullmatch(r"(in)?clemente|vehemente", word.lower()):
        return {tonic(word)}
    return {tonic(adverb[1]), len(sounds(adverb[1])) + 1} - {None}


def vowels(verse):
    """Las vocales de `verse`: si cada una es tónica, y cuánto cuesta que forme sílaba aparte y que
    se junte con la anterior (None, si no puede ser)."""
    words = words_of(verse)
    found = []
    for k, word in enumerate(words):
        w = sounds(word)
        last = k == len(words) - 1
        stressed = accents(word) if last or word.lower() not in UNSTRESSED else set()
        for i, letter in enumerate(w):
            if letter in VOWELS:
                apart, together = 0, None
                if i > 0 and w[i - 1] in VOWELS:
                    apart, together = inside(w, i, stressed)
                elif i == 0 and k > 0:
                    apart, together = between(words[max(k - 2, 0):k], i in stressed, last)
                found.append(Vowel(i in stressed, apart, together))
    return found


def inside(w, i, stressed):
    """Dentro de una palabra: diptongo, que la diéresis parte, o hiato, que la sinéresis junta."""
    touched = i in stressed or i - 1 in stressed
    starts = [start for start, _ in nuclei(w)]
    if i in starts:
        return 0, STRESSED_SYNAERESIS if touched else SYNAERESIS
    first = touched and i - 1 == starts[0]
    return FIRST_DIAERESIS if first else DIAERESIS, 0


def between(before, stressed, last):
    """Entre palabras: la sinalefa es lo usual, y el hiato, la licencia. `before`: las anteriores.

    La y final de «muy» o «hay» suena como consonante ante vocal: «mu-yamable» no pierde sílaba. Una
    conjunción entre vocales se junta con una de las dos («canta y | ama»; Navarro Tomás). El hiato
    es más natural ante vocal tónica, y más aún ante el último acento del verso (el eje rítmico de
    Quilis)."""
    end = sounds(before[-1])
    if end[-1] not in VOWELS:
        return 0, None
    if len(before[-1]) > 1 and before[-1].lower().endswith("y"):
        return 0, GLIDE
    after_vowel = len(before) > 1 and sounds(before[0])[-1] in VOWELS
    if before[-1].lower() in CONJUNCTIONS and after_vowel:
        return 0, AFTER_CONJUNCTION
    if stressed:
        return LAST_HIATUS if last else STRESSED_HIATUS, 0
    return HIATUS, 0


@cache
def scan(verse):
    """Medida usual de `verse`, la menor y la mayor que admite con licencias, rima, asonancia, y si
    hay hiato posible ante el último acento: entonces son usuales esa medida y la de una sílaba más.

    Cuentan las sílabas hasta el último acento y una más: así, la aguda gana una y la esdrújula la
    pierde (Navarro Tomás: todo verso se mide como llano)."""
    words = words_of(verse)
    if not words:
        return Scan(0, 0, 0, "", "", False)
    found = vowels(verse)
    while not found[-1].stressed:
        found.pop()
    usual = sum(vowel.apart == 0 for vowel in found)
    fewest = sum(vowel.together is None for vowel in found)
    hiatus = found[-1].apart == LAST_HIATUS
    return Scan(usual + 1, fewest + 1, len(found) + 1, *rhyme_of(words[-1]), hiatus)


def rhyme_of(word):
    """Rima consonante y asonante de `word`: lo que suena desde la última tónica, y sus vocales.

    En la asonancia cuentan la vocal tónica y la de la última sílaba, sin la débil de su diptongo;
    la i y la u finales valen e y o: «débil» es asonante de «verde»."""
    w = sounds(word)
    place = max(accents(word))
    rhyme = w[place:].translate(PLAIN)
    if place >= nuclei(w)[-1][0]:
        return rhyme, rhyme[0]
    ending = w[peak(w, nuclei(w)[-1])].translate(PLAIN)
    return rhyme, rhyme[0] + {"i": "e", "u": "o"}.get(ending, ending)


def readings(verse, width=80):
    """Maneras de leer `verse`: {patrón de acentos: precio}, las `width` más baratas.

    El patrón lleva un signo por sílaba, «+» si es tónica; dos vocales juntas son una sílaba, tónica
    si lo es una de las dos."""
    beam = {"": 0}
    for vowel in vowels(verse):
        mark = "-+"[vowel.stressed]
        longer = {}
        for pattern, price in beam.items():
            keep(longer, pattern + mark, price + vowel.apart)
            if vowel.together is not None:
                merged = max(pattern[-1], mark, key="-+".index)
                keep(longer, pattern[:-1] + merged, price + vowel.together)
        cheapest = sorted(longer, key=longer.get)[:width]
        beam = {pattern: longer[pattern] for pattern in cheapest}
    return beam


def keep(prices, pattern, price):
    """Anota en `prices` el precio de `pattern`, si no había uno menor."""
    prices[pattern] = min(price, prices.get(pattern, price))


def stress_pattern(verse, n=None):
    """El patrón de acentos de `verse`, leído en `n` sílabas, o en las usuales: `+---+---+-`.

    De las lecturas que miden eso, la más barata; si ninguna mide eso, la más barata de todas. El
    endecasílabo paga también por lo que le falte a su ritmo."""
    found = {}
    for pattern, price in readings(verse).items():
        closed = pattern[:pattern.rfind("+") + 1] + "-"
        keep(found, closed, price + lost_rhythm(closed) * (n == 11))
    right = [pattern for pattern in found if len(pattern) == n]
    return min(right or found, key=found.get, default="")


def lost_rhythm(pattern):
    """Lo que falta a un endecasílabo para llevar acento en 6.ª, o en 4.ª y 8.ª (Navarro Tomás:
    enfático, heroico y melódico en 6.ª; sáfico en 4.ª y 6.ª u 8.ª)."""
    if len(pattern) != 11 or pattern[5] == "+" or pattern[3] + pattern[7] == "++":
        return 0
    return LOST_RHYTHM / 2 if pattern[3] == "+" else LOST_RHYTHM


# %% Revisar: ¿mide y rima cada poema como pide su forma?

# Cada esquema de rima es una función: de las estrofas a sus faltas, lista de (verso, qué falla).


def rhymes(verse):
    """Rima consonante de `verse`."""
    return scan(verse).rhyme


def assonance(verse):
    """Rima asonante de `verse`."""
    return scan(verse).assonance


def last_word(verse):
    """Última palabra de `verse`, en minúsculas; "" si no tiene ninguna."""
    words = words_of(verse)
    return words[-1].lower() if words else ""


def joined(stanzas):
    """Los versos de todas las estrofas."""
    return [verse for stanza in stanzas for verse in stanza]


def even_verses(stanzas):
    """Romance: los pares, con la asonancia que más se repite (y, si empatan, la primera)."""
    verses = joined(stanzas)[1::2]
    found = [assonance(verse) for verse in verses]
    common = max(found, key=found.count)
    return [(verse, f"asonancia {one}, no {common}")
            for verse, one in zip(verses, found) if one != common]


def couplets(stanza):
    """Los pares de versos que riman en una copla, una seguidilla o una seguidilla con bordón."""
    return [(stanza[1], stanza[3]), *zip(stanza[4:5], stanza[6:7])]


def coplas(stanzas):
    """Copla y seguidilla: asonancia de segundo y cuarto; en el bordón, de quinto y séptimo."""
    faults = []
    for stanza in stanzas:
        if len(stanza) not in (4, 7):
            faults.append((stanza[0], f"estrofa de {len(stanza)} versos"))
            continue
        for one, two in couplets(stanza):
            if assonance(one) != assonance(two):
                faults.append((two, f"asonancia {assonance(two)}, no {assonance(one)}"))
    return faults


def soleares(stanzas):
    """Soleá: tres versos, primero y tercero asonantes."""
    return [(stanza[-1], "soleá: tres versos, primero y tercero asonantes") for stanza in stanzas
            if len(stanza) != 3 or assonance(stanza[0]) != assonance(stanza[2])]


def letters(scheme):
    """El esquema de rima consonante que dicen las letras de `scheme`, en cada estrofa."""
    def faults_of(stanzas):
        faults = []
        for stanza in stanzas:
            if len(stanza) != len(scheme):
                faults.append((stanza[0], f"estrofa de {len(stanza)} versos"))
            for verse, letter in zip(stanza, scheme):
                first = stanza[scheme.index(letter)]
                if rhymes(verse) != rhymes(first):
                    faults.append((verse, f"rima -{rhymes(verse)}, no -{rhymes(first)}"))
        return faults
    return faults_of


def quintillas(stanzas):
    """Quintilla: cinco versos, dos rimas, y nunca tres seguidos con la misma."""
    faults = []
    for stanza in stanzas:
        found = [rhymes(verse) for verse in stanza]
        three = any(found[i] == found[i + 1] == found[i + 2] for i in range(len(found) - 2))
        if len(found) != 5 or len(set(found)) != 2 or three:
            faults.append((stanza[0], f"quintilla: rimas {found}"))
    return faults


def scheme_of(verses):
    """Las letras de la rima consonante de `verses`: «abba»."""
    found = [rhymes(verse) for verse in verses]
    kinds = list(dict.fromkeys(found))
    return "".join(chr(ord("a") + kinds.index(one)) for one in found)


def sonnet(stanzas):
    """Soneto: cuartetos ABBA o ABAB, con rimas comunes o propias; tercetos sin verso suelto."""
    verses = joined(stanzas)
    if len(verses) != 14:
        return [(verses[0], f"soneto de {len(verses)} versos")]
    faults = []
    if scheme_of(verses[:8]) not in ("abbaabba", "abababab", "abbacddc", "ababcdcd",
                                     "ababcddc", "abbacdcd"):
        faults.append((verses[0], f"cuartetos: rimas {[rhymes(verse) for verse in verses[:8]]}"))
    tercets = [rhymes(verse) for verse in verses[8:]]
    if any(tercets.count(one) < 2 for one in tercets):
        faults.append((verses[8], f"tercetos: rimas {tercets}"))
    return faults


def tercets(stanzas):
    """Tercetos encadenados, ABA BCB CDC: los dos primeros de cada tres, con el de dos más allá."""
    verses = joined(stanzas)
    return [(two, f"rima {rhymes(two)}, no {rhymes(one)}")
            for i, (one, two) in enumerate(zip(verses, verses[2:]))
            if i % 3 < 2 and rhymes(one) != rhymes(two)]


def sestina(stanzas):
    """Sextina: las palabras finales de cada estrofa, en la siguiente, en el orden 6-1-5-2-4-3."""
    ends = [[last_word(verse) for verse in stanza] for stanza in stanzas[:6]]
    faults = []
    for one, two in zip(ends, ends[1:]):
        if len(one) != 6 or two != [one[i - 1] for i in (6, 1, 5, 2, 4, 3)]:
            faults.append((two[0], f"sextina: finales {two}"))
    return faults


def free(stanzas):
    """Sin rima fija."""
    return []


# Dónde una palabra no puede rimar consigo misma: grupos de versos en que no se repite la final.


def whole_poem(stanzas):
    return [joined(stanzas)]


def each_stanza(stanzas):
    return stanzas


def even_of_poem(stanzas):
    return [joined(stanzas)[1::2]]


def pairs_of_copla(stanzas):
    return [pair for stanza in stanzas if len(stanza) in (4, 7) for pair in couplets(stanza)]


def ends_of_stanza(stanzas):
    return [(stanza[0], stanza[-1]) for stanza in stanzas if len(stanza) > 1]


def nowhere(stanzas):
    return []


# Sílabas de cada verso, esquema de rima, y dónde una palabra no rima consigo misma.
Form = namedtuple("Form", "lengths rhyme apart")
FORMS = {
    "Romance": Form([8], even_verses, even_of_poem),
    "Romancillo": Form([6], even_verses, even_of_poem),
    "Endecha": Form([7], even_verses, even_of_poem),
    "Copla": Form([8], coplas, pairs_of_copla),
    "Seguidilla": Form([7, 5, 7, 5], coplas, pairs_of_copla),
    "Soleá": Form([8], soleares, ends_of_stanza),
    "Redondilla": Form([8], letters("abba"), each_stanza),
    "Cuarteta": Form([8], letters("abab"), each_stanza),
    "Quintilla": Form([8], quintillas, each_stanza),
    "Décima": Form([8], letters("abbaaccddc"), each_stanza),
    "Lira": Form([7, 11, 7, 7, 11], letters("ababb"), each_stanza),
    "Soneto": Form([11], sonnet, whole_poem),
    "Octava": Form([11], letters("abababcc"), each_stanza),
    "Tercetos": Form([11], tercets, whole_poem),
    "Serventesio": Form([11], letters("abab"), each_stanza),
    "Cuarteto": Form([11], letters("abba"), each_stanza),
    "Sextina": Form([11], sestina, nowhere),
    "Silva": Form([7, 11], free, whole_poem),
    "Haiku": Form([5, 7, 5], free, nowhere),
    "Alejandrinos": Form([14], free, nowhere),
    "Villancico": Form([6, 8], free, nowhere),
    "Letrilla": Form([6, 8], free, nowhere),
    "Verso libre": Form([], free, nowhere),
    "Endecasílabos": Form([11], free, nowhere),
    "Nana": Form([5, 6, 7, 8], free, nowhere),
}
MIXED = ("Silva", "Villancico", "Letrilla", "Nana")    # cada verso, cualquiera de esas medidas
BORDON = [7, 5, 7, 5, 5, 7, 5]                         # seguidilla de siete versos


def poems(text):
    """Los poemas de `text`: lista de (forma, título, [estrofas, cada una lista de versos])."""
    found = []
    for piece in re.split(r"^# ", text, flags=re.M)[1:]:
        head, _, body = piece.partition("\n")
        form, _, title = head.partition(": ")
        stanzas = [stanza.split("\n") for stanza in body.strip("\n").split("\n\n")]
        found.append((form, title, stanzas))
    return found


def fits(s, n):
    """0 si el verso mide `n` sin licencias, 1 si con una licencia, 2 si no puede medirlo."""
    if n == s.count or (s.hiatus and n == s.count + 1):
        return 0
    return 1 if s.low <= n <= s.high and abs(s.count - n) == 1 else 2


def half_lines(verse):
    """El alejandrino se mide por hemistiquios: la mejor partición de `verse` en 7 + 7."""
    words = verse.split(" ")
    halves = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return min((max(fits(scan(one), 7), fits(scan(two), 7)) for one, two in halves), default=2)


def level(form, stanza, i):
    """Cómo mide el verso `i` de `stanza`, como en `fits`, entre los de su forma."""
    lengths = FORMS[form].lengths
    if form == "Alejandrinos":
        return half_lines(stanza[i])
    measured = scan(stanza[i])
    if form in MIXED:
        return min(fits(measured, n) for n in lengths)
    if form == "Seguidilla" and len(stanza) == 7:
        lengths = BORDON
    return fits(measured, lengths[i % len(lengths)])


def self_rhymes(form, stanzas):
    """Palabras que riman consigo mismas donde la forma no lo admite."""
    faults = []
    for group in FORMS[form].apart(stanzas):
        ends = Counter(last_word(verse) for verse in group)
        faults += [(word, "rima consigo misma") for word, times in ends.items() if times > 1]
    return faults


def check(form, stanzas):
    """Faltas de un poema: lista de (verso, qué falla), y la cuenta de versos con licencia."""
    if form not in FORMS:
        return [("", f"forma desconocida: {form}")], 0
    faults, licences = [], 0
    for stanza in stanzas if FORMS[form].lengths else []:
        for i, verse in enumerate(stanza):
            found = level(form, stanza, i)
            licences += found == 1
            if found == 2:
                s = scan(verse)
                faults.append((verse, f"mide {s.count} ({s.low}-{s.high})"))
    return faults + FORMS[form].rhyme(stanzas) + self_rhymes(form, stanzas), licences


# %% Informar: de un texto con sus formas, o de lo que escribe un modelo


def review(text, every):
    """Imprime las faltas de métrica y rima de cada poema de `text`; con `every`, cada verso."""
    total = bad = eased = 0
    for form, title, stanzas in poems(text):
        faults, licences = check(form, stanzas)
        count = sum(map(len, stanzas))
        total += count
        bad += len(faults)
        eased += licences
        verdict = "FALLA" if faults else "bien "
        print(f"{verdict}  {form}: {title} ({count} versos, {licences} con licencia)")
        for verse, why in faults:
            print(f"       {verse!r}: {why}")
        for verse in joined(stanzas) if every else []:
            s = scan(verse)
            print(f"       {s.count:2d} [{s.low}-{s.high}] {stress_pattern(verse):14s} "
                  f"-{s.rhyme:8s} {s.assonance:3s} {verse}")
    print(f"{total} versos, {bad} faltas, {eased} con licencia")


def rhyme_together(one, two):
    """¿Riman `one` y `two` en consonante, sin acabar en la misma palabra?"""
    return rhymes(one) == rhymes(two) and last_word(one) != last_word(two)


def sonnet_rhymes(stanzas):
    """Cuántos versos de un soneto riman como deben, y cuántos hay: en cada cuarteto, con su pareja
    (ABBA o ABAB); en los tercetos que lo cierran, con otro de ellos. Los trozos que no son un
    cuarteto ni un terceto no cuentan, y una palabra no rima consigo misma."""
    stanzas = [[verse for verse in stanza if words_of(verse)] for stanza in stanzas]
    rhymed = verses = 0
    for stanza in stanzas:
        if len(stanza) == 4:
            a, b, c, d = stanza
            embraced = rhyme_together(a, d) + rhyme_together(b, c)
            crossed = rhyme_together(a, c) + rhyme_together(b, d)
            rhymed += 2 * max(embraced, crossed)
            verses += 4
    last = joined(stanza for stanza in stanzas if len(stanza) == 3)
    rhymed += sum(any(rhyme_together(verse, other) for other in last) for verse in last)
    return rhymed, verses + len(last)


def english(verse):
    """Sílabas de un verso inglés, a ojo: grupos de vocales, sin la e final muda ni la de «-es»."""
    words = re.findall(r"[a-z']+", verse.lower())
    spoken = [re.sub(r"([^aeiouyl])es?$", r"\1", word) for word in words]
    return sum(max(1, len(re.findall(r"[aeiouy]+", word))) for word in spoken)


def longest_copy(words, source):
    """El pasaje más largo de la lista `words` que está, palabra por palabra, en la de `source`."""
    text = f" {' '.join(source)} "
    best = []
    for i in range(len(words)):
        while i + len(best) < len(words) and f" {' '.join(words[i:i + len(best) + 1])} " in text:
            best = words[i:i + len(best) + 1]
    return best


def report(text, source, english_verse=False):
    """Imprime cuánto de `text` mide, rima, existe y está copiado de `source`, si lo hay."""
    verses = [line.strip() for line in text.split("\n") if line.strip() and line[0] not in "#-"]
    words = re.findall(r"\w+", text.lower())
    if not verses:
        sys.exit("error: no ha llegado ningún verso")
    print(f"versos: {len(verses)}")
    if english_verse:
        report_english(verses)
    else:
        report_lengths(verses)
    sonnets = [stanzas for form, _, stanzas in poems(text) if form == "Soneto"]
    if sonnets:
        report_sonnets(sonnets)
    print(f"palabras distintas: {len(set(words)) / len(words):.1%} de {len(words)}")
    if source and source != text:
        known = set(re.findall(r"\w+", source.lower()))
        copy = longest_copy(text.split(), source.split())
        share = sum(word in known for word in words) / len(words)
        print(f"palabras que existen en la fuente: {share:.1%}")
        print(f"pasaje más largo copiado: {len(copy)} palabras, «{' '.join(copy[:20])}»")


def report_lengths(verses):
    """Imprime cuántos de `verses` miden 7, 8 y 11 sílabas."""
    for n in (7, 8, 11):
        levels = [fits(scan(verse), n) for verse in verses]
        exact = levels.count(0) / len(levels)
        eased = levels.count(1) / len(levels)
        print(f"miden {n} sílabas: {exact:.1%}, y con alguna licencia otro {eased:.1%}")


def report_english(verses):
    """Imprime cuántos de `verses` miden 10 sílabas inglesas, sin contar los nombres («ROMEO:»)."""
    counts = [english(verse) for verse in verses if not verse.endswith(":")]
    near = sum(9 <= n <= 11 for n in counts) / len(counts)
    print(f"miden 10 sílabas inglesas: {counts.count(10) / len(counts):.1%}; de 9 a 11, {near:.1%}")


def report_sonnets(sonnets):
    """Imprime cuántos de `sonnets` son de 4-4-3-3, y cuántos de sus versos riman como deben."""
    counts = [sonnet_rhymes(stanzas) for stanzas in sonnets]
    rhymed = sum(r for r, _ in counts)
    many = sum(n for _, n in counts)
    whole = sum([len(stanza) for stanza in stanzas] == [4, 4, 3, 3] for stanzas in sonnets)
    print(f"sonetos: {len(sonnets)}, de ellos {whole} de 4-4-3-3 versos")
    print(f"versos de soneto que riman como deben: {rhymed / max(many, 1):.1%} de {many}")


# %% Contrastar: con los acentos y las rimas que otros anotaron


def xml_files(path):
    """(nombre, texto) de cada XML de una carpeta o de un .tar.gz, por orden de nombre."""
    path = pathlib.Path(path)
    if path.is_dir():
        return [(str(file), file.read_text("utf-8-sig")) for file in sorted(path.rglob("*.xml"))]
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.name.endswith(".xml")]
        return [(member.name, archive.extractfile(member).read().decode("utf-8-sig"))
                for member in sorted(members, key=lambda member: member.name)]


def annotated_verses(xml, attribute):
    """(anotación, verso) de cada verso de un soneto en TEI que lleva `attribute`."""
    found = re.findall(rf'<l\s[^>]*?\b{attribute}="([^"]*)"[^>]*>(.*?)</l>', xml, re.S)
    return [(note, " ".join(html.unescape(re.sub(r"<[^>]+>", "", verse)).split()))
            for note, verse in found]


CHECKED = "manually checked"            # lo que dice la cabecera de los revisados a mano
PUBLISHED = {"Gervás": 67.56, "Navarro-Colorado": 90.89, "Rantanplan": 92.75}


def number_of(name):
    """El número de un soneto: el último de su nombre."""
    return int(re.findall(r"\d+", name)[-1])


def gold_pattern(verse):
    """El patrón de un verso de soneto: en 11 sílabas si las admite, y si no, en las usuales."""
    s = scan(verse)
    return stress_pattern(verse, 11 if s.low <= 11 <= s.high else s.count)


def kind_of_failure(right, ours):
    """En qué difieren dos patrones."""
    if len(right) != 11:
        return "el anotado no mide 11 sílabas"
    if len(ours) != 11:
        return "el nuestro no mide 11 sílabas"
    ours_only = sum(r + o == "-+" for r, o in zip(right, ours))
    right_only = sum(r + o == "+-" for r, o in zip(right, ours))
    if ours_only and right_only:
        return "la licencia, en otro sitio: acentos corridos"
    return "acentos de más" if ours_only else "acentos de menos"


def gold(path):
    """Imprime en cuántos versos el patrón entero es el anotado a mano en los sonetos de `path`.

    Los sonetos de número par sirvieron para afinar; la cifra que vale es la de los impares."""
    sonnets = [(name, xml) for name, xml in xml_files(path) if CHECKED in xml]
    for half, rest in ("pares, con que se afinó", 0), ("impares, los que valen", 1):
        verses = []
        for name, xml in sonnets:
            if number_of(name) % 2 == rest:
                verses += annotated_verses(xml, "met")
        print_gold(half, verses)
    published = ", ".join(f"{name} {figure:.2f} %" for name, figure in PUBLISHED.items())
    print(f"publicado, sobre los 10 000 versos revisados: {published}")


def print_gold(half, verses):
    """Imprime la exactitud en `verses`, pares (patrón anotado, verso), y las clases de fallo."""
    pairs = [(right, gold_pattern(verse), scan(verse).count) for right, verse in verses]
    missed = Counter(kind_of_failure(right, ours) for right, ours, _ in pairs if right != ours)
    hits = len(pairs) - missed.total()
    print(f"sonetos {half}: {hits} de {len(pairs)} versos con el patrón entero, "
          f"{hits / len(pairs):.2%}")
    for kind, times in missed.most_common():
        print(f"    {times:4d}  {kind}")
    usual = [right == ours for right, ours, count in pairs if count == 11]
    eased = [right == ours for right, ours, count in pairs if count != 11]
    print(f"    aciertos en los que miden 11 sin licencias: {sum(usual)} de {len(usual)}")
    print(f"    en los que las piden, o no miden 11: {sum(eased)} de {len(eased)}")


def disco(path):
    """Imprime el acuerdo de nuestros esquemas de rima con los de DISCO, que anotó RhymeTagger.

    Se comparan los sonetos de catorce versos: su esquema entero, y cada verso de cada soneto con
    cada uno de los demás (¿riman?)."""
    same = sonnets = pairs = agreed = 0
    for name, xml in xml_files(path):
        verses = annotated_verses(xml, "rhyme") if "per-sonnet" in name else []
        if len(verses) == 14 and all(words_of(verse) for _, verse in verses):
            theirs = [f"suelto {i}" if label == "-" else label
                      for i, (label, _) in enumerate(verses)]
            ours = scheme_of([verse for _, verse in verses])
            here = [(theirs[i] == theirs[j]) == (ours[i] == ours[j])
                    for i in range(14) for j in range(i)]
            sonnets += 1
            same += all(here)
            pairs += len(here)
            agreed += sum(here)
    print(f"esquema entero: el mismo en {same} de {sonnets} sonetos, {same / sonnets:.2%}")
    print(f"parejas de versos, ¿riman?: lo mismo en {agreed} de {pairs}, {agreed / pairs:.2%}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("poems", nargs="?", help="un texto con su forma y su título en cada poema")
    options.add_argument("--all", action="store_true", help="la medida y los acentos de cada verso")
    options.add_argument("--source", help="el texto con que se entrenó quien escribe lo que llega")
    options.add_argument("--english", action="store_true", help="contar sílabas inglesas, a ojo")
    options.add_argument("--gold", metavar="RUTA", help="el corpus de sonetos con sus acentos")
    options.add_argument("--disco", metavar="RUTA", help="el corpus DISCO, con sus rimas")
    args = options.parse_args()
    if args.gold:
        gold(args.gold)
    elif args.disco:
        disco(args.disco)
    elif args.poems:
        review(open(args.poems, encoding="utf-8").read(), args.all)
    else:
        sys.stdin.reconfigure(encoding="utf-8")
        source = args.source and open(args.source, encoding="utf-8").read()
        report(sys.stdin.read(), source, args.english)

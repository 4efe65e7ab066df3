"""
Escansión de verso español: sílabas métricas y rima, para revisar data/poesia.txt.

    python measures/metre.py data/poesia.txt            un resumen por poema y los versos que fallan
    python measures/metre.py data/poesia.txt --all      además, las sílabas de cada verso
    python sample.py ckpt.pt | python measures/metre.py --source data/poesia.txt
                                                     cuántos versos miden y riman en lo que llega,
                                                     y cuánto sale del texto con que se entrenó

Reglas: T. Navarro Tomás, «Arte del verso» (1959). Sinalefa entre vocales vecinas, hiato ante vocal
acentuada como licencia, diptongo partido (diéresis) y hiato fundido (sinéresis) como licencias,
una sílaba más si el verso acaba en aguda y una menos si acaba en esdrújula.
"""
import argparse
import re
import sys
import unicodedata
from collections import namedtuple

VOWELS, STRONG, TILDE = "aeiouáéíóúü", "aeoáéóíú", "áéíóú"
PLAIN = str.maketrans("áéíóúü", "aeiouu")
Scan = namedtuple("Scan", "count low high rhyme assonance")


def sounds(word):
    """La palabra tal como suena: sin h muda, sin la u de «que» y «gue», con la y final como i."""
    w = re.sub(r"[^a-záéíóúüñ]", "", unicodedata.normalize("NFC", word).lower())
    w = w.replace("ch", "C").replace("h", "")
    w = re.sub(r"qu(?=[eiéí])", "k", w)
    w = re.sub(r"gu(?=[eiéí])", "G", w)
    w = re.sub(r"g(?=[eiéí])", "j", w)
    w = re.sub(r"c(?=[eiéí])", "z", w)
    w = w.replace("c", "k").replace("q", "k").replace("g", "G").replace("v", "b").replace("ll", "Y")
    w = re.sub(r"y(?=[aeiouáéíóúü])", "Y", w)
    w = w.replace("y", "i")
    return w


def nuclei(w):
    """Grupos de vocales de `w` como lista de (inicio, fin), un elemento por sílaba."""
    out = []
    for group in re.finditer(f"[{VOWELS}]+", w):
        start = group.start()
        for i in range(group.start() + 1, group.end()):
            if w[i - 1] in STRONG and w[i] in STRONG:
                out.append((start, i))
                start = i
            elif i - start >= 2 and w[i] in "iuü" and i + 1 < group.end() and w[i + 1] in STRONG:
                out.append((start, i))
                start = i
        out.append((start, group.end()))
    return out


def stressed(word, w, syllables):
    """Índice de la sílaba tónica de la palabra `word`, que suena `w`."""
    for k, (a, b) in enumerate(syllables):
        if any(c in TILDE for c in w[a:b]):
            return k
    n = len(syllables)
    if n > 1 and (re.search(r"([aeiou]|[aeiou]?[ns])$", w) and not re.search(r"[bcdfgjklmprtxz]s$", w)
                  and not (word.lower().endswith("y") and w[-1] == "i" and len(w) > 1)):
        return n - 2
    return n - 1


def scan(verse):
    """Escansión del verso: cuenta usual, mínima y máxima con licencias, rima y asonancia."""
    words = [x for x in re.findall(r"[^\W\d_]+", verse) if re.search(r"[a-záéíóúüñ]", x.lower())]
    if not words:
        return Scan(0, 0, 0, "", "")
    total = low = high = 0
    before, fused = "", False  # la palabra anterior, y si es una vocal suelta ya fundida
    for word in words:
        w = sounds(word)
        n = max(len(nuclei(w)), 1)
        meet = bool(re.search(f"[{VOWELS}]$", before) and re.match(f"[{VOWELS}]", w)
                    and not re.match("h[iu]e", word.lower()))       # «la hierba» no hace sinalefa
        merge = meet and not fused                                  # «canta y ama»: la y, una vez
        total, low, high = total + n - merge, low + n - meet, high + n
        fused = merge and len(w) == 1
        for i in range(1, len(w)):
            if w[i - 1] in VOWELS and w[i] in VOWELS:
                both = w[i - 1] in STRONG and w[i] in STRONG
                low -= both                     # sinéresis
                high += not both                # diéresis
        before = w
    last = sounds(words[-1])
    syllables = nuclei(last)
    if not syllables:
        return Scan(total, low, high, last, "")
    k = stressed(words[-1], last, syllables)
    if words[-1].lower().endswith("mente") and len(syllables) > 2:
        k = len(syllables) - 2
    end = (1, 0, -1)[min(len(syllables) - 1 - k, 2)]
    a, b = syllables[k]
    group = last[a:b]
    accent = next((i for i, c in enumerate(group) if c in TILDE), None)
    if accent is None:
        accent = next((i for i, c in enumerate(group) if c in "aeo"), len(group) - 1)
    rhyme = last[a + accent:].translate(PLAIN)
    tails = [rhyme[0]]
    for x, y in syllables[k + 1:]:
        g = last[x:y].translate(PLAIN)
        tails.append(next((c for c in g if c in "aeo"), g[-1]))
    if len(tails) > 1:
        tails = [tails[0], {"i": "e", "u": "o"}.get(tails[-1], tails[-1])]
    return Scan(total + end, low + end, high + end, rhyme, "".join(tails))


# forma: (sílabas de cada verso, se repiten; rima por estrofa; clase)
# Rima: letras iguales riman en consonante; minúsculas «*» = asonancia de los pares; None = libre.
FORMS = {
    "Romance": ([8], "pares"), "Romancillo": ([6], "pares"), "Endecha": ([7], "pares"),
    "Copla": ([8], "pares4"), "Seguidilla": ([7, 5, 7, 5], "pares4"), "Soleá": ([8], "aba"),
    "Redondilla": ([8], "abba"), "Cuarteta": ([8], "abab"), "Quintilla": ([8], "quintilla"),
    "Décima": ([8], "abbaaccddc"), "Lira": ([7, 11, 7, 7, 11], "ababb"),
    "Soneto": ([11], "soneto"), "Octava": ([11], "abababcc"), "Tercetos": ([11], "tercetos"),
    "Serventesio": ([11], "abab"), "Cuarteto": ([11], "abba"), "Sextina": ([11], "sextina"),
    "Silva": ([7, 11], None), "Haiku": ([5, 7, 5], None), "Alejandrinos": ([14], None),
    "Villancico": ([6, 8], None), "Letrilla": ([6, 8], None), "Verso libre": (None, None),
    "Endecasílabos": ([11], None), "Nana": ([5, 6, 7, 8], None),
}


def poems(text):
    """Los poemas de `text`: lista de (forma, título, [estrofas, cada una lista de versos])."""
    out = []
    for piece in re.split(r"^# ", text, flags=re.M)[1:]:
        head, _, body = piece.partition("\n")
        form, _, title = head.partition(": ")
        stanzas = [s.split("\n") for s in body.strip("\n").split("\n\n")]
        out.append((form, title, stanzas))
    return out


def fits(s, n):
    """0 si el verso mide `n` sin licencias, 1 si con una licencia, 2 si no puede medirlo."""
    return 0 if s.count == n else 1 if s.low <= n <= s.high and abs(s.count - n) <= 1 else 2


def half_lines(verse):
    """El alejandrino se mide por hemistiquios: la mejor partición de `verse` en 7 + 7."""
    words = verse.split(" ")
    return min(max(fits(scan(" ".join(words[:i])), 7), fits(scan(" ".join(words[i:])), 7))
               for i in range(1, len(words)))


def rhyme_faults(scheme, stanzas):
    """Dónde `stanzas` no riman según `scheme`: lista de (verso, qué falla)."""
    verses = [verse for stanza in stanzas for verse in stanza]
    scans = [scan(verse) for verse in verses]
    r = [s.rhyme for s in scans]
    faults = []
    if scheme == "pares":
        found = [s.assonance for s in scans[1::2]]
        common = max(found, key=found.count)        # la más frecuente y, si empatan, la primera
        return [(verse, f"asonancia {a}, no {common}")
                for verse, a in zip(verses[1::2], found) if a != common]
    if scheme == "soneto":
        if len(verses) != 14:
            return [(verses[0], f"soneto de {len(verses)} versos")]
        quatrains = "".join(str(r[:8].index(x)) for x in r[:8])
        if quatrains not in ("01100110", "01010101", "01104554", "01014545", "01014554", "01104545"):
            faults.append((verses[0], f"cuartetos: rimas {r[:8]}"))
        if any(r[8:].count(x) < 2 for x in r[8:]):
            faults.append((verses[8], f"tercetos: rimas {r[8:]}"))
        return faults
    if scheme == "tercetos":                        # ABA BCB CDC: cada verso, con el de dos más allá
        return [(verses[i + 2], f"rima {r[i + 2]}, no {r[i]}") for i in range(len(r) - 2)
                if i % 3 < 2 and r[i] != r[i + 2]]
    if scheme == "sextina":
        ends = [[sounds(re.findall(r"[^\W\d_]+", v)[-1]) for v in s] for s in stanzas]
        return [(two[0], f"sextina: finales {two}") for one, two in zip(ends[:6], ends[1:6])
                if len(one) != 6 or two != [one[i] for i in (5, 0, 4, 1, 3, 2)]]
    for stanza in stanzas:
        s = [scan(verse) for verse in stanza]
        r = [verse.rhyme for verse in s]
        if scheme == "pares4":
            if len(s) not in (4, 7):
                faults.append((stanza[0], f"estrofa de {len(s)} versos"))
            elif s[1].assonance != s[3].assonance:
                faults.append((stanza[3], f"asonancia {s[3].assonance}, no {s[1].assonance}"))
        elif scheme == "aba":
            if len(s) != 3 or s[0].assonance != s[2].assonance:
                faults.append((stanza[-1], "soleá: tres versos, primero y tercero asonantes"))
        elif scheme == "quintilla":
            if len(r) != 5 or len(set(r)) != 2 or any(r[i] == r[i + 1] == r[i + 2] for i in range(3)):
                faults.append((stanza[0], f"quintilla: rimas {r}"))
        else:
            if len(stanza) != len(scheme):
                faults.append((stanza[0], f"estrofa de {len(stanza)} versos"))
            for verse, x, letter in zip(stanza, r, scheme):
                first = r[scheme.index(letter)]
                if x != first:
                    faults.append((verse, f"rima -{x}, no -{first}"))
    return faults


def check(form, stanzas):
    """Faltas de un poema: lista de (verso, qué falla), y la cuenta de versos con licencia."""
    faults, licences = [], 0
    if form not in FORMS:
        return [("", f"forma desconocida: {form}")], 0
    lengths, scheme = FORMS[form]
    for stanza in stanzas if lengths else []:
        for i, verse in enumerate(stanza):
            s = scan(verse)
            if form == "Alejandrinos":
                level = half_lines(verse)
            elif form in ("Silva", "Villancico", "Letrilla", "Nana"):
                level = min(fits(s, n) for n in lengths)
            else:
                level = fits(s, lengths[i % len(lengths)])
            licences += level == 1
            if level == 2:
                faults.append((verse, f"mide {s.count} ({s.low}-{s.high})"))
    return faults + (rhyme_faults(scheme, stanzas) if scheme else []), licences


def sonnet_rhymes(stanzas):
    """Cuántos versos de un soneto riman como deben, y cuántos hay: en cada cuarteto, con su pareja
    (ABBA o ABAB); en los tercetos que lo cierran, con otro de ellos. Los trozos que no son un
    cuarteto ni un terceto no cuentan."""
    rhymed = verses = 0
    for stanza in stanzas:
        if len(stanza) == 4:
            a, b, c, d = (scan(verse).rhyme for verse in stanza)
            rhymed += 2 * max((a == d) + (b == c), (a == c) + (b == d))
            verses += 4
    last = [scan(verse).rhyme for stanza in stanzas if len(stanza) == 3 for verse in stanza]
    return rhymed + sum(last.count(rhyme) > 1 for rhyme in last), verses + len(last)


def english(verse):
    """Sílabas de un verso inglés, a ojo: grupos de vocales, sin la e final muda ni la de «-es»."""
    words = [re.sub(r"([^aeiouyl])es?$", r"\1", word) for word in re.findall(r"[a-z']+", verse.lower())]
    return sum(max(1, len(re.findall(r"[aeiouy]+", word))) for word in words)


def longest_copy(words, source):
    """El pasaje más largo de la lista `words` que está, palabra por palabra, en la lista `source`."""
    source, best = f" {' '.join(source)} ", []
    for i in range(len(words)):
        while i + len(best) < len(words) and f" {' '.join(words[i:i + len(best) + 1])} " in source:
            best = words[i:i + len(best) + 1]
    return best


def report(text, source, english_verse=False):
    """Imprime cuánto de `text` mide, rima, existe y está copiado de `source` (o nada, si está vacío)."""
    verses = [line.strip() for line in text.split("\n") if line.strip() and line[0] not in "#-"]
    words = re.findall(r"\w+", text.lower())
    if not verses:
        sys.exit("error: no ha llegado ningún verso")
    print(f"versos: {len(verses)}")
    for n in () if english_verse else (7, 8, 11):
        levels = [fits(scan(verse), n) for verse in verses]
        exact, free = levels.count(0) / len(levels), levels.count(1) / len(levels)
        print(f"miden {n} sílabas: {exact:.1%}, y con alguna licencia otro {free:.1%}")
    if english_verse:
        spoken = [verse for verse in verses if not verse.endswith(":")]
        count = [english(verse) for verse in spoken]
        print(f"miden 10 sílabas inglesas: {count.count(10) / len(count):.1%}; de 9 a 11, "
              f"{sum(9 <= n <= 11 for n in count) / len(count):.1%}")
    sonnets = [stanzas for form, _, stanzas in poems(text) if form == "Soneto"]
    if sonnets:
        counts = [sonnet_rhymes(stanzas) for stanzas in sonnets]
        rhymed, many = sum(r for r, _ in counts), sum(n for _, n in counts)
        whole = sum([len(stanza) for stanza in stanzas] == [4, 4, 3, 3] for stanzas in sonnets)
        print(f"sonetos: {len(sonnets)}, de ellos {whole} de 4-4-3-3 versos")
        print(f"versos de soneto que riman como deben: {rhymed / max(many, 1):.1%} de {many}")
    print(f"palabras distintas: {len(set(words)) / len(words):.1%} de {len(words)}")
    if source and source != text:
        known = set(re.findall(r"\w+", source.lower()))
        copy = longest_copy(text.split(), source.split())
        print(f"palabras que existen en la fuente: {sum(w in known for w in words) / len(words):.1%}")
        print(f"pasaje más largo copiado: {len(copy)} palabras, «{' '.join(copy[:20])}»")


def review(text, every):
    """Imprime las faltas de métrica y rima de cada poema de `text`; con `every`, cada verso."""
    total = bad = free = 0
    for form, title, stanzas in poems(text):
        faults, licences = check(form, stanzas)
        count = sum(map(len, stanzas))
        total, bad, free = total + count, bad + len(faults), free + licences
        print(f"{'FALLA' if faults else 'bien '}  {form}: {title} ({count} versos, {licences} con licencia)")
        for verse, why in faults:
            print(f"       {verse!r}: {why}")
        for verse in [verse for stanza in stanzas for verse in stanza if every]:
            s = scan(verse)
            print(f"       {s.count:2d} [{s.low}-{s.high}] -{s.rhyme:8s} {s.assonance:3s} {verse}")
    print(f"{total} versos, {bad} faltas, {free} con licencia")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("poems", nargs="?", help="un texto con su forma y su título en cada poema")
    options.add_argument("--all", action="store_true", help="las sílabas de cada verso")
    options.add_argument("--source", help="el texto con que se entrenó quien escribe lo que llega")
    options.add_argument("--english", action="store_true", help="contar sílabas inglesas, a ojo")
    args = options.parse_args()
    if args.poems:
        review(open(args.poems, encoding="utf-8").read(), args.all)
    else:
        sys.stdin.reconfigure(encoding="utf-8")
        source = args.source and open(args.source, encoding="utf-8").read()
        report(sys.stdin.read(), source, args.english)

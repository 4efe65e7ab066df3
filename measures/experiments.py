"""
Los experimentos de las lecciones, ejecutados tal como se teclean: ¿sale lo que dicen?

    python measures/experiments.py                los de todos los guiones (media hora larga)
    python measures/experiments.py --only 03      los de 03_mlp.py
    python measures/experiments.py --only 03.2    el segundo de 03_mlp.py (03.0: tal como viene)
    python measures/experiments.py --list         lo que hay y lo que se espera, sin hacerlo

Lee el comentario «# %% Experimentos» con que acaba cada guion. Un experimento es un guion de lista:

    # - CONSTANTE = valor, OTRA = valor: ¿una pregunta? Prosa. Respuesta: val 1.234, celda 7: L 0.5.

De la respuesta (o, si no se nombra, de lo que no es pregunta) se toma cada cifra con las palabras
que la preceden, que son las que el guion imprime delante de ella. «celda N:» dice dónde buscarla;
si no, en todo lo impreso. Si sale varias veces, vale la última: «val» a secas es así el de la línea
«resultado». Un entero que no es el último número hace de nombre («contar con 4, 1.6852»), y en una
fila sin palabras, el primero. El título puede decir lo que da el guion «tal como viene».

Imprime lo dicho y lo hallado, y sale con 1 si algo difiere más de lo que se tolera: la mayor de una
unidad de la última cifra que se dice y --tolerance veces ella. Con otros hilos las sumas se hacen
en otro orden y las pérdidas se mueven un poco: por eso fija --threads. Lo que no tiene constantes o
cifras que leer queda «a mano».
"""
import argparse
import ast
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VALUE = r'"[^"]*"|[\w.+-]+'
SETTING = rf"([A-Z][A-Z_]*) = ({VALUE})"
NUMBER = r"[+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?"
BETWEEN = r"[^\w+\n.-]*"                    # lo que puede haber entre dos palabras de lo impreso

Experiment = namedtuple("Experiment", "label settings claims text")
Claim = namedtuple("Claim", "cell words figures")   # celda, o None; palabras; cuáles son cifras


# %% Leer

def comment(source):
    """El título y las líneas del comentario de experimentos de un guion, sin almohadillas."""
    _, _, last = source.partition("\n# %% Experimentos")
    title, *lines = last.split("\n")
    return title, [line.removeprefix("#") for line in lines if line.startswith("#")]


def items(lines):
    """Cada experimento de la lista, en una sola línea."""
    found = []
    for line in lines:
        if line.startswith(" - "):
            found.append(line[3:])
        elif line.startswith("   ") and found:
            found[-1] += " " + line.strip()
    return found


def split_settings(text):
    """Las constantes con que empieza un experimento, {nombre: valor}, y el resto de su texto."""
    start = re.match(rf"{SETTING}(?:, {SETTING})*:", text)
    if not start:
        return {}, text
    pairs = re.findall(SETTING, start[0])
    return {name: ast.literal_eval(value) for name, value in pairs}, text[start.end():]


def answer(text):
    """Lo que un experimento afirma: lo que va tras «Respuesta:» o, si no, lo que no es pregunta."""
    _, found, after = text.partition("Respuesta:")
    told = after if found else re.sub(r"¿[^?]*\?", " ", text)
    return re.sub(r"\([^()\d]*\)", " ", told)                # los paréntesis sin cifras son prosa


def read_claims(text):
    """Las cifras de `text`, cada una con las palabras que la nombran: lista de Claim."""
    claims, cell = [], None
    for sentence in re.split(r"\.\s+(?![^\[]*\])", text.strip().rstrip(".") + " "):
        for piece in sentence.split(";"):
            where = re.search(r"\bceldas? (\d+): ", piece, re.I)
            if where:
                cell = int(where[1])
                piece = piece[where.end():]
            elif cell is None:
                piece = piece.rpartition(": ")[2]            # «No, oscila: val 1.2»
            claim = read_claim(cell, piece)
            if claim.figures:
                claims.append(claim)
        cell = None                                          # la celda no pasa de una frase a otra
    return claims


def read_claim(cell, piece):
    """Las palabras de `piece`, y cuáles de ellas son cifras."""
    words = re.findall(rf"(?<![\w.]){NUMBER}|[^\W\d]\w*", piece)
    numbers = [i for i, word in enumerate(words) if re.fullmatch(NUMBER, word)]
    figures = [i for i in numbers if i == numbers[-1] or re.search(r"[.e]", words[i])]
    if len(numbers) == len(words) > 1:
        figures = figures[1:]                                # la primera de una fila es su nombre
    return Claim(cell, words, figures)


def read(script):
    """Los experimentos de un guion, el primero «tal como viene» si su título lo dice."""
    title, lines = comment(script.read_text("utf-8"))
    number = script.name.split("_")[0].removesuffix(".py")
    found = []
    plain = re.search(r"tal como viene[:,] (.*)\)", title)
    if plain:
        found.append(Experiment(f"{number}.0", {}, read_claims(plain[1]), "tal como viene"))
    for i, text in enumerate(items(lines), 1):
        settings, rest = split_settings(text)
        claims = read_claims(answer(rest)) if settings else []
        found.append(Experiment(f"{number}.{i}", settings, claims, text))
    return found


# %% Ejecutar

def flags(settings, folder):
    """Las opciones con que se teclean; los textos, de `folder` si no están en data/."""
    order = []
    for name, value in settings.items():
        option = name.lower()
        if value is True or value is False:
            order.append(f"--{option}" if value else f"--no-{option}")
            continue
        if name == "DATA" and not (ROOT / "data" / value).is_file():
            value = Path(folder).resolve() / value
        order += [f"--{option}", str(value)]
    return order


def run(script, order, threads=2):
    """Lo que imprime un guion con esas opciones, en una carpeta vacía."""
    command = [sys.executable, str(script), *order]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8",
                              env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    if done.returncode:
        sys.exit(f"error: {script.name} {' '.join(order)}: {done.stderr.strip()}")
    return done.stdout


# %% Comparar

def part(printed, cell):
    """Lo que imprimió la celda `cell`, o todo si no se dice cuál."""
    if cell is None:
        return printed
    told = printed.partition("\nresultado ")[0]               # esa línea es de todas
    pieces = re.split(r"^(\d+)\. ", told, flags=re.M)        # antes, número, celda, número, celda
    cells = dict(zip(map(int, pieces[1::2]), pieces[2::2]))
    return cells.get(cell, "")


def pattern_of(claim, start, between):
    """Lo que busca `claim` sin sus `start` primeras palabras; entre ellas, `between`."""
    pattern = ""
    for i, word in list(enumerate(claim.words))[start:]:
        if i in claim.figures:
            pattern += f"{BETWEEN}({NUMBER})"
        else:
            pattern += rf"{between}(?<![\w.]){re.escape(word)}(?![\w.])"
    return pattern.removeprefix(between).removeprefix(BETWEEN)


def look_up(claim, printed):
    """Las cifras que el guion imprimió donde `claim` dice, la última vez; None si no sale.

    Se buscan sus palabras seguidas; si no, en la misma línea y en ese orden; y si no, se deja la
    primera: «pierde más, val 1.2» se encuentra como «val 1.2».
    """
    where = part(printed, claim.cell)
    for start in range(max(1, claim.figures[0])):
        for between in (BETWEEN, r"[^\n]*?"):
            found = list(re.finditer(pattern_of(claim, start, between), where, re.I))
            if found:
                return found[-1].groups()
    return None


def close(said, found, tolerance):
    """¿Son iguales dos cifras, salvo una unidad de la última que se dice, o `tolerance`?"""
    digits, _, power = said.partition("e")
    decimals = len(digits.partition(".")[2])
    unit = 10.0 ** (int(power or 0) - decimals)
    allowed = max(unit, tolerance * abs(float(said)))
    apart = abs(float(said) - float(found))
    return apart <= allowed or math.isclose(apart, allowed)


def compare(claim, printed, tolerance):
    """Una línea que dice lo dicho y lo hallado, y si casan."""
    said = [claim.words[i] for i in claim.figures]
    found = look_up(claim, printed)
    fits = bool(found) and all(close(a, b, tolerance) for a, b in zip(said, found))
    name = " ".join(word for i, word in enumerate(claim.words) if i not in claim.figures)
    if claim.cell is not None:
        name = f"celda {claim.cell}: {name}"
    got = " ".join(found) if found else "no sale"
    return f"{'casa  ' if fits else 'DIFIERE'} {name}: dicho {' '.join(said)}, hallado {got}", fits


def chosen(label, only):
    """¿Entra el experimento `label` («03.2») en lo que se pidió («03», «03.2» o nada)?"""
    return not only or label == only or label.startswith(only + ".")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="un guion (03, sample) o un experimento (03.2)")
    parser.add_argument("--list", action="store_true", help="sólo decir qué experimentos hay")
    parser.add_argument("--data", default=str(ROOT / "data"), help="carpeta de los textos")
    parser.add_argument("--tolerance", type=float, default=0.002,
                        help="parte de una cifra en que puede diferir [%(default)s]")
    parser.add_argument("--threads", type=int, default=2, help="hilos de cada guion [%(default)s]")
    args = parser.parse_args()
    print(f"se tolera una unidad de la última cifra, o {args.tolerance:.1%}; {args.threads} hilos")
    total = missed = by_hand = 0
    for script in sorted(ROOT.glob("*.py")):
        for one in read(script):
            if not chosen(one.label, args.only):
                continue
            if not one.claims:
                by_hand += 1
                print(f"\n{one.label}  a mano: {one.text}")
                continue
            order = flags(one.settings, args.data)
            typed = " ".join(f"'{word}'" if " " in word else word for word in order)
            print(f"\n{one.label}  python {script.name} {typed}".rstrip())
            if args.list:
                for claim in one.claims:
                    where = "" if claim.cell is None else f"celda {claim.cell}: "
                    print(f"      {where}{' '.join(claim.words)}")
                continue
            tick = time.perf_counter()
            printed = run(script, order, args.threads)
            for claim in one.claims:
                line, fits = compare(claim, printed, args.tolerance)
                total += 1
                missed += not fits
                print(f"      {line}")
            print(f"      {time.perf_counter() - tick:.0f} s", flush=True)
    print(f"\n{total} cifras comparadas, {missed} difieren; {by_hand} experimentos a mano")
    return missed > 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    sys.exit(main())

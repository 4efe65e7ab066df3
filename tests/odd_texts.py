"""Textos raros que toda lección ha de aceptar. test_idioms.py prueba unos cuantos en cada lección,
y con `python -m pytest -m slow tests`, todos, con tres semillas."""
import random
import re

from conftest import ROOT, run_script

rng = random.Random(0)
villages = (ROOT / "data" / "pueblos.txt").read_text("utf-8")
words = [line.split()[0] for line in villages.split("\n")[:-1]]
some = rng.sample(words, 400)


def noise(alphabet, count, longest):
    """`count` líneas al azar de letras de `alphabet`, de 1 a `longest` letras."""
    found = []
    for _ in range(count):
        length = rng.randint(1, longest)
        found.append("".join(rng.choices(alphabet, k=length)))
    return "\n".join(found)


def lines(*parts):
    """Un texto con una línea por cada parte."""
    return "\n".join(parts)


FEW = [chr(0x4E00 + i) for i in range(300)]                  # caracteres chinos
MANY = [chr(0x4E00 + i) for i in range(3000)]
LATIN = [chr(i) for i in range(0x100, 0x180)]
LAUGHS = ["j" + "a" * rng.randint(20, 200) for _ in range(40)]
TABLE = ["\t".join(some[i:i + 3]) for i in range(200)]
SIGNS = "¿?¡!.,;:«»—()[]{}<>/\\|@#$%&=+*'\"`~^_"
CONTROLS = "ab\x01\x02\x0b\x0c\x1c\x85\u2028\u2029"
MARKED = ["e\u0301", "n\u0303", "x\u0323\u0307", "a"]
STARS = 20 * ["*"]
PAGES = [" ".join(rng.choices(words, k=800)) for _ in range(12)]

TEXTS = {
    "una letra, el 99 %": noise("a" * 99 + "b", 200, 60),
    "espacios, el 98 %": lines(noise(" " * 98 + "*", 300, 70), *STARS),
    "líneas de una letra": "a\n" * 60,
    "líneas iguales": "hola\n" * 40,
    "cada línea, veinte veces": lines(*some[:50] * 20),
    "diez líneas": lines(*some[:10]),
    "diez líneas de una letra": lines(*"abcdefghij"),
    "dos caracteres": noise("ab", 100, 20),
    "una a y muchas b": "a" + "b" * 300 + "\nb",
    "risas": lines(*LAUGHS),
    "sin salto final": lines(*some),
    "sin espacios": lines("".join(some), *some),
    "con tabuladores": lines(*TABLE),
    "con líneas vacías": "\n\n\n".join(some),
    "con espacios alrededor": "  \n  ".join(some),
    "chino": noise(FEW, 200, 12),
    "chino, 3000 caracteres": lines("".join(MANY), noise(MANY, 60, 40)),
    "árabe": noise("ابتثجحخدذرزس ", 200, 20),
    "hebreo": noise("אבגדהוזחטי ", 200, 20),
    "emoji": noise("😀😃👨‍👩‍👧❤️🇪🇸é", 200, 10),
    "letras con marcas sueltas": noise(MARKED, 200, 10),
    "signos": noise(SIGNS, 200, 15),
    "líneas muy largas": lines(*PAGES),
    "una línea muy larga y nueve cortas": " ".join(PAGES) + "\nsí" * 9,
    "código": (ROOT / "02_bigram.py").read_text("utf-8"),
    "controles": noise(CONTROLS, 100, 10) + "\nab" * 20,
    "una palabra rara entre miles": "sol\n" * 500 + "xilófono\n" + "sol\n" * 500,
    "todas las letras una vez": lines(*LATIN),
    "CRLF": "\r\n".join(some),
}


def fails(lesson, name, seed, folder, *flags):
    """Qué dice la lección, si no acaba bien con ese texto; None si acaba."""
    text = TEXTS[name]
    (folder / "raro.txt").write_bytes(text.encode())
    given = ["--data", "raro.txt", "--seed", seed]
    done = run_script(lesson, *given, *flags, cwd=folder)
    refused = re.fullmatch("error: «.*\n", done.stderr)
    if done.returncode and not refused:
        return done.stderr

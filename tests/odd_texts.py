"""Textos raros que toda lección ha de aceptar. `python tests/odd_texts.py 3` pasa las lecciones por todos,
con tres semillas cada uno y `--steps 0`, y cuenta lo que halla."""
import random
import sys
import tempfile
from pathlib import Path

from conftest import ROOT, run_script

rng = random.Random(0)
words = [line.split()[0] for line in (ROOT / "data" / "pueblos.txt").read_text("utf-8").split("\n")[:-1]]
some = rng.sample(words, 400)


def noise(alphabet, lines, longest):
    """`lines` líneas al azar de letras de `alphabet`, de 1 a `longest` letras."""
    return "\n".join("".join(rng.choices(alphabet, k=rng.randint(1, longest))) for _ in range(lines))


def chinese(n):
    """`n` caracteres distintos, del CJK."""
    return [chr(0x4E00 + i) for i in range(n)]


TEXTS = {
    "una letra, el 99 %": noise("a" * 99 + "b", 200, 60),
    "espacios, el 98 %": noise(" " * 98 + "*", 300, 70) + "\n*\n" * 20,
    "líneas de una letra": "\n".join("a" for _ in range(60)),
    "líneas iguales": "hola\n" * 40,
    "cada línea, veinte veces": "\n".join(some[:50] * 20),
    "diez líneas": "\n".join(some[:10]),
    "diez líneas de una letra": "\n".join("abcdefghij"),
    "dos caracteres": noise("ab", 100, 20),
    "una a y muchas b": "a" + "b" * 300 + "\nb" * 20,
    "risas": "\n".join("j" + "a" * rng.randint(20, 200) for _ in range(40)),
    "sin salto final": "\n".join(some),
    "sin espacios": "".join(some) + "\n" + "\n".join(some),
    "con tabuladores": "\n".join("\t".join(some[i:i + 3]) for i in range(200)),
    "con líneas vacías": "\n\n\n".join(some),
    "con espacios alrededor": "\n".join(f"  {word}  " for word in some),
    "chino": noise(chinese(300), 200, 12),
    "chino, 3000 caracteres": "".join(chinese(3000)) + "\n" + noise(chinese(3000), 60, 40),
    "árabe": noise("ابتثجحخدذرزس ", 200, 20),
    "hebreo": noise("אבגדהוזחטי ", 200, 20),
    "emoji": noise("😀😃👨‍👩‍👧❤️🇪🇸é", 200, 10),
    "letras con marcas sueltas": noise(["e\u0301", "n\u0303", "x\u0323\u0307", "a"], 200, 10),
    "cifras": noise("0123456789", 300, 8),
    "signos": noise("¿?¡!.,;:«»—()[]{}<>/\\|@#$%&=+*'\"`~^_", 200, 15),
    "líneas muy largas": "\n".join(" ".join(rng.choices(words, k=800)) for _ in range(12)),
    "una línea muy larga y nueve cortas": " ".join(rng.choices(words, k=3000)) + "\nsí" * 9,
    "código": (ROOT / "02_bigram.py").read_text("utf-8"),
    "controles": noise("ab\x01\x02\x0b\x0c\x1c\x85\u2028\u2029", 100, 10) + "\nab" * 20,
    "una palabra rara entre miles": "sol\n" * 500 + "xilófono\n" + "sol\n" * 500,
    "todas las letras una vez": "\n".join(chr(c) for c in range(0x100, 0x180)),
    "CRLF": "\r\n".join(some),
}
LESSONS = ["00_history.py", "02_bigram.py", "03_mlp.py", "04_batchnorm.py", "05_wavenet.py", "06_gpt.py"]


def fails(lesson, name, seed, folder, *flags):
    """Qué dice la lección, si no acaba bien con ese texto; None si acaba."""
    (folder / "raro.txt").write_bytes(TEXTS[name].encode())
    done = run_script(lesson, "--data", folder / "raro.txt", "--seed", seed, *flags, cwd=folder)
    refused = done.stderr.startswith("error: «") and done.stderr.count("\n") == 1
    return None if done.returncode == 0 or refused else done.stderr


if __name__ == "__main__":
    tried = bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for lesson in LESSONS:
            for name in TEXTS:
                for seed in range(int(sys.argv[1])):
                    tried += 1
                    why = fails(lesson, name, seed, Path(folder), "--steps", 0)
                    if why:
                        bad += 1
                        print(f"{lesson}, {name}, semilla {seed}: {why.strip().splitlines()[-1]}")
    print(f"{len(TEXTS)} textos, {tried} ejecuciones, {bad} fallos")

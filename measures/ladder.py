"""
La escalera de 06_gpt.py: qué aporta cada pieza, peldaño a peldaño, cambiando sólo constantes

    python measures/ladder.py                                 con poesia.txt, unos cinco minutos
    python measures/ladder.py poesia.txt tinyshakespeare.txt  con cada texto
    python measures/ladder.py --only Muon                     los peldaños en que se nombra

Entrena cada peldaño los mismos pasos con el mismo texto e imprime una tabla de Markdown por texto,
con la pérdida, los segundos y lo que escribe. Hasta «tal como viene», cada peldaño añade una pieza
a lo del anterior; los últimos cambian una sola cosa del GPT tal como viene. Los puntos de control
van a una carpeta temporal.
"""
import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LATER = "--no-rotary --no-qk_norm"                            # sin lo que vino después de 2017
PLAIN = f"--ngrams 0 {LATER}"                                 # el GPT de siempre
BARE = f"{PLAIN} --n_layer 1 --no-feed_forward --no-residual --no-layer_norm"
STEPS = [  # peldaño, y las constantes con que se hace
    ("sin atención", f"{PLAIN} --n_layer 0"),
    ("una cabeza", f"{BARE} --n_head 1"),
    ("dos cabezas", BARE),
    ("feed-forward", f"{PLAIN} --n_layer 1 --no-residual --no-layer_norm"),
    ("conexión residual", f"{PLAIN} --n_layer 1 --no-layer_norm"),
    ("LayerNorm", f"{PLAIN} --n_layer 1"),
    ("tres bloques", PLAIN),
    ("posiciones que giran", "--ngrams 0 --no-qk_norm"),
    ("preguntas y claves del mismo tamaño", "--ngrams 0"),
    ("tabla de parejas", "--ngrams 2"),
    ("y de tríos", "--ngrams 3"),
    ("y hasta de cinco: tal como viene", ""),
    ("eso, sin Muon", "--muon 0"),
]


def train(data, steps, flags):
    """Lo que da entrenar 06_gpt.py con esas opciones: validación, segundos y lo que escribe."""
    with tempfile.TemporaryDirectory() as folder:
        order = [sys.executable, str(ROOT / "06_gpt.py"), "--data", data, "--steps", str(steps),
                 "--eval_interval", str(steps), "--length", "1", "--out", f"{folder}/c.pt",
                 *flags.split()]
        done = subprocess.run(order, capture_output=True, encoding="utf-8")
    found = re.search(r"segundos=(\S+)", done.stdout)
    written = re.search(r"val (\S+)   mejor +\d+ +(.*)", done.stdout)
    if done.returncode or not found or not written:
        sys.exit(f"error: {data} {flags}: {done.stderr.strip() or 'interrumpido'}")
    words = written[2].replace("|", "¦").replace("`", "'")    # que no rompan la tabla
    return float(written[1]), float(found[1]), words


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", default=["poesia.txt"],
                        help="textos: rutas, o nombres de data/ [poesia.txt]")
    parser.add_argument("--steps", type=int, default=500, help="pasos por peldaño [%(default)s]")
    parser.add_argument("--only", default="", help="sólo los peldaños cuyo nombre lleva esto")
    args = parser.parse_args()
    for data in args.texts:
        print(f"\n{Path(data).stem}, {args.steps} pasos\n")
        print("| peldaño | opciones | val | segundos | escribe |")
        print("| --- | --- | ---: | ---: | --- |")
        for label, flags in STEPS:
            if args.only not in label:
                continue
            val, seconds, words = train(data, args.steps, flags)
            print(f"| {label} | `{flags or 'ninguna'}` | {val:.3f} | {seconds:.0f} | `{words}` |")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()

"""
La escalera de 06_gpt.py: qué aporta cada pieza, peldaño a peldaño, cambiando sólo constantes

    python measures/ladder.py poesia.txt tinyshakespeare.txt      unos cinco minutos por texto

Entrena cada peldaño 500 pasos con el mismo texto e imprime una tabla de Markdown por texto, con la
pérdida, los segundos y lo que escribe. Los puntos de control van a una carpeta temporal.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLAIN = "--ngrams 0 --no-rotary --no-square"                 # el GPT de siempre, sin lo de después
BARE = f"{PLAIN} --n_layer 1 --no-feed_forward --no-residual --no-layer_norm"
STEPS = [  # peldaño, y las constantes con que se hace: cada uno deja lo del anterior
    ("sin atención", f"{PLAIN} --n_layer 0"),
    ("una cabeza", f"{BARE} --n_head 1"),
    ("dos cabezas", BARE),
    ("feed-forward", f"{PLAIN} --n_layer 1 --no-residual --no-layer_norm"),
    ("conexión residual", f"{PLAIN} --n_layer 1 --no-layer_norm"),
    ("LayerNorm", f"{PLAIN} --n_layer 1"),
    ("tres bloques", PLAIN),
    ("posiciones que giran", "--ngrams 0 --no-square"),
    ("ReLU al cuadrado", "--ngrams 0"),
    ("tablas de n-gramas", "--ngram_dropout 0"),
    ("apagadas a ratos", ""),
    ("eso, sin Muon", "--muon 0"),
]


def train(data, flags):
    """Lo que da entrenar 06_gpt.py con esas opciones: validación, segundos y lo que escribe."""
    with tempfile.TemporaryDirectory() as folder:
        order = [sys.executable, str(HERE.parent / "06_gpt.py"), "--data", data, "--steps", "500",
                 "--eval_interval", "500", "--length", "1", "--out", f"{folder}/c.pt",
                 *flags.split()]
        done = subprocess.run(order, capture_output=True, encoding="utf-8")
    found = re.search(r"segundos=(\S+)", done.stdout)
    written = re.search(r"val (\S+)   mejor +\d+ +(.*)", done.stdout)
    if done.returncode or not found or not written:
        sys.exit(f"error: {data} {flags}: {done.stderr.strip() or 'interrumpido'}")
    return float(written[1]), float(found[1]), written[2].replace("|", "¦").replace("`", "'")


for data in sys.argv[1:] or ["poesia.txt"]:
    print(f"\n{Path(data).stem}\n\n| peldaño | opciones | val | segundos | escribe |")
    print("| --- | --- | ---: | ---: | --- |")
    for label, flags in STEPS:
        val, seconds, words = train(data, flags)
        print(f"| {label} | `{flags or 'tal como viene'}` | {val:.3f} | {seconds:.0f} | `{words}` |",
              flush=True)

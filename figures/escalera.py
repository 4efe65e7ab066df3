"""
La escalera de 06_gpt.py: qué aporta cada pieza, peldaño a peldaño, cambiando sólo constantes

    python figures/escalera.py poesia.txt tinyshakespeare.txt      unos ocho minutos por texto

Entrena cada peldaño 750 pasos con el mismo texto, imprime la tabla del README y deja
figures/escalera.png, si está matplotlib. Los puntos de control van a una carpeta temporal.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BARE = "--n_layer 1 --no-feed_forward --no-residual --no-layer_norm"
STEPS = [  # peldaño, y las constantes con que se hace
    ("sin atención", "--n_layer 0"),
    ("una cabeza", BARE + " --n_head 1"),
    ("cuatro cabezas", BARE),
    ("feed-forward", "--n_layer 1 --no-residual --no-layer_norm"),
    ("conexión residual", "--n_layer 1 --no-layer_norm"),
    ("LayerNorm", "--n_layer 1"),
    ("tres bloques", ""),
    ("y dropout", "--dropout 0.1"),
    ("tres, sin Muon", "--muon 0"),
    ("tres, con giro y cuadrado", "--rotary --square"),
]


def train(data, flags):
    """Pérdida de validación y segundos de entrenar 06_gpt.py con esas opciones."""
    with tempfile.TemporaryDirectory() as folder:
        order = [sys.executable, str(HERE.parent / "06_gpt.py"), "--data", data, "--steps", "750",
                 "--eval_interval", "750", "--length", "1", "--out", f"{folder}/c.pt",
                 *flags.split()]
        done = subprocess.run(order, capture_output=True, encoding="utf-8", cwd=Path.cwd())
    found = re.search(r"val=(\S+) test=- segundos=(\S+)", done.stdout)
    if done.returncode or not found:
        sys.exit(f"error: {data} {flags}: {done.stderr.strip() or 'interrumpido'}")
    return float(found[1]), float(found[2])


texts = sys.argv[1:] or ["poesia.txt"]
print("| peldaño | opciones |" + "".join(f" {Path(t).stem}: val | segundos |" for t in texts))
print("| --- | --- |" + " ---: | ---: |" * len(texts))
losses = []
for label, flags in STEPS:
    row = [train(data, flags) for data in texts]
    losses.append([val for val, _ in row])
    print(f"| {label} | `{flags or 'tal como viene'}` |"
          + "".join(f" {val:.3f} | {seconds:.0f} |" for val, seconds in row), flush=True)

try:
    import matplotlib.pyplot as plt
except ImportError:
    sys.exit("la tabla está; para la figura hace falta matplotlib: pip install matplotlib")
plt.figure(figsize=(7.5, 4.2))
for k, (data, style) in enumerate(zip(texts, ("o-", "s--", "^:"))):
    plt.plot([row[k] for row in losses], range(len(STEPS)), style, label=Path(data).stem)
plt.yticks(range(len(STEPS)), [label for label, _ in STEPS])
plt.gca().invert_yaxis()
plt.xlabel("pérdida en validación (nats por carácter)")
plt.grid(axis="x", alpha=0.3), plt.legend()
plt.savefig(HERE / "escalera.png", dpi=150, bbox_inches="tight")

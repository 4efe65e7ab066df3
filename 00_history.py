"""
00. La historia, funcionando: de la neurona de 1943 a las redes profundas de 2006

Al terminar sabrás qué preguntaba cada modelo anterior al triunfo de la retropropagación, qué supo
hacer y dónde se atascó: cada atasco es el comienzo de la celda siguiente. Imprime tablas de verdad,
letras recordadas, distribuciones y pueblos soñados. Cada celda empieza por su fuente.

    python 00_history.py                     todo, unos veinte segundos
    python 00_history.py --steps 0           sin entrenar las celdas 6 y 7, en cinco
    python 00_history.py --plot figuras      y además cuatro figuras
"""
import argparse
import math
import random
import re
import signal
import sys
import unicodedata
from pathlib import Path

import numpy as np

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"  # nombres de las celdas 6 y 7: una ruta, o un nombre de la carpeta data/
SEED = 1337           # semilla del azar
PLOT = ""             # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 4000          # pasos de entrenamiento de cada capa de las celdas 6 y 7 (0: ninguno)
EVAL_INTERVAL = 1000  # pasos entre las líneas que cuentan cómo va
BATCH_SIZE = 50       # nombres por paso
BLOCK_SIZE = 8        # letras de un nombre como mucho: los más largos no entran
N_HIDDEN = 128        # unidades ocultas de la máquina restringida
LEARNING_RATE = 0.5   # tasa de aprendizaje al empezar; baja en línea recta hasta cero

# %% Cada constante es también una opción: N_EMBD -> --n_embd 64
here = Path(globals().get("__file__", "cuaderno")).resolve().parent
if "ipykernel" not in sys.modules:  # en un cuaderno mandan las constantes de arriba
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    signal.signal(signal.SIGINT, lambda *_: sys.exit("\ninterrumpido"))
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # «| head» termina sin ruido
    options = argparse.ArgumentParser(allow_abbrev=False, description=__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    cell = Path(__file__).read_text("utf-8").split("# %%")[1]
    for name, note in re.findall(r"^([A-Z_]+) = .*?  # (.+)$", cell, re.M):
        value = globals()[name]
        kind = ({"action": argparse.BooleanOptionalAction} if isinstance(value, bool)
                else {"type": type(value), "metavar": type(value).__name__})
        options.add_argument(f"--{name.lower()}", default=value,
                             help=f"{note} [{value}]".replace("%", "%%"), **kind)

# %% Las opciones que se hayan dado mandan sobre las constantes
if "ipykernel" not in sys.modules:
    globals().update({k.upper(): v for k, v in vars(options.parse_args()).items()})


# %% Leer un texto
def read_text(name):
    """Texto de `name`, una ruta o un nombre de data/, en NFC y con fines de línea «\\n».

    Termina el programa, con una línea que dice qué hacer, si no existe o no es UTF-8.
    """
    path = here / "data" / name
    try:
        path = Path(name) if Path(name).is_file() else path
        raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        text = raw.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        return unicodedata.normalize("NFC", text)
    except UnicodeDecodeError as e:
        sys.exit(f"error: «{path}» no está en UTF-8 (byte {e.start}). "
                 f"Si es Latin-1: iconv -f latin1 -t utf8 {path.name} > nuevo.txt")
    except OSError:
        found = ", ".join(sorted(p.name for p in (here / "data").glob("*.txt"))) or "nada"
        sys.exit(f"error: no puedo leer «{name}». En data/ hay: {found}. "
                 "Más textos: python data/prepare.py --list")


text = read_text(DATA)

# %% Figuras, sólo si se piden: --plot CARPETA
if PLOT:
    try:
        Path(PLOT).mkdir(parents=True, exist_ok=True)
        import matplotlib.pyplot as plt
    except ImportError:
        sys.exit("error: PLOT pide matplotlib, y no está: pip install matplotlib")
    except OSError as e:
        sys.exit(f"error: no se puede escribir en «{PLOT}» ({e.strerror}). Elige otra con --plot")


def figure(name):
    """Guarda en PLOT la figura en curso como `name`.png, y la cierra."""
    path = Path(PLOT) / f"{name}.png"
    try:
        plt.savefig(path, dpi=150, bbox_inches="tight")
    except OSError as e:
        sys.exit(f"error: no puedo guardar «{path}» ({e.strerror}). Elige otra carpeta con --plot")
    plt.close()
    print(f"   figura: {path}")

# %% 1. ¿Puede pensar una red de síes y noes? (McCulloch y Pitts, 1943)
# «A Logical Calculus of the Ideas Immanent in Nervous Activity»: la neurona dispara si le llegan
# `threshold` excitaciones o más y ninguna inhibición: una sola basta para callarla.
# Los nombres de la celda 6 se leen ya: si algo no cabe, mejor saberlo antes.
names = sorted({w.strip() for w in text.lower().split("\n") if 0 < len(w.strip()) <= BLOCK_SIZE})
random.Random(42).shuffle(names)         # siempre la misma partición, sea cual sea SEED
for ok, why in [
    (min(BATCH_SIZE, BLOCK_SIZE, N_HIDDEN, EVAL_INTERVAL, STEPS + 1, SEED + 1) > 0 and SEED < 2**31,
     "STEPS y SEED deben ser 0 o más, y SEED no enorme; las demás constantes enteras, 1 o más"),
    (0 < LEARNING_RATE <= 10, f"LEARNING_RATE ({LEARNING_RATE}) debe ser positiva y 10 como mucho"),
    (len(names) >= 10, f"«{DATA}» tiene {len(names)} líneas distintas de hasta {BLOCK_SIZE} letras "
     "y hacen falta 10 o más: sube BLOCK_SIZE o elige otro texto con --data"),
]:
    if not ok:
        sys.exit(f"error: {why}")
rng = np.random.default_rng(SEED)


def bits(n):
    """Las 2^n filas de `n` síes y noes: (2^n, n) bool."""
    return np.indices((2,) * n).reshape(n, -1).T == 1


def unit(excite, inhibit, threshold):
    """La neurona de 1943: de excitaciones (N, n) e inhibiciones (N, m) a disparos (N,)."""
    return (excite.sum(1) >= threshold) & ~inhibit.any(1)


x = bits(2)                                                  # (4, 2)
a, b, none = x[:, :1], x[:, 1:], x[:, :0]
both, either, neither = unit(x, none, 2), unit(x, none, 1), unit(none, a, 0)
xor = unit(np.c_[unit(a, b, 1), unit(b, a, 1)], none, 1)     # a y no b, o bien b y no a
assert (both == x.all(1)).all() and (either == x.any(1)).all() and (neither == ~x[:, 0]).all()
assert (xor == [False, True, True, False]).all()
print("1. McCulloch y Pitts   a b   a y b   a o b   no a   uno solo (dos capas)")
for row in zip(*x.T, both, either, neither, xor):
    print("   {:20d} {:d} {:7d} {:7d} {:6d} {:10d}".format(*row))
# Ninguna neurona sola da «uno solo» (XOR), sean cuales sean sus pesos w y su umbral t: pide 0 < t,
# w1 >= t, w2 >= t y w1 + w2 < t; pero las tres primeras dan w1 + w2 >= 2t > t.
w1, w2, t = (w.ravel() for w in np.meshgrid(*3 * [np.arange(-3, 3.5, 0.5)]))
found = set(map(tuple, (x @ [w1, w2] >= t).T.tolist()))      # las tablas que da alguna
missing = set(map(tuple, bits(4).tolist())) - found
assert missing == {(False, True, True, False), (True, False, False, True)}
x = bits(3)
for table in bits(8):  # dos capas dan cualquiera: una neurona por fila que da sí; otra las une
    fires = [unit(x[:, row], x[:, ~row], row.sum()) for row in x[table]]
    assert (unit(np.array(fires, bool).reshape(-1, 8).T, x[:, :0], 1) == table).all()
print(f"   {len(t)} neuronas de pesos distintos dan {len(found)} de las 16 tablas de dos entradas: "
      "faltan\n   «uno solo» y su contraria. Dos capas dan las 256 tablas de tres entradas")
# Lo que no pudo: aprender. Cada peso lo pone una persona.

# %% 2. ¿Cómo aprende una neurona sin que nadie le diga nada? (Hebb, 1949)
# «The Organization of Behavior»: si una célula ayuda a disparar otra, su conexión crece.
# En fórmula, W += y x^T (outer product). Tres parejas x -> y caben en una matriz y se recuerdan.
keys = 1 - 2 * (np.arange(64) >> np.arange(3)[:, None] & 1)  # (3, 64) de ±1, ortogonales
values = rng.choice([-1, 1], (3, 16))
noisy = np.array([row * rng.permutation([-1] * 10 + [1] * 54) for row in keys])
# Con 10 signos cambiados la clave propia aporta 64 - 20, y las otras dos, 20 cada una como mucho.
assert (np.sign(noisy @ (values.T @ keys).T) == values).all()
print("\n2. Hebb: tres parejas en una matriz; con 10 signos de 64 cambiados, recuerda las tres\n"
      "   ejemplos   |w| de Hebb   |w| de Oja   coseno de Oja con la componente principal")
x = rng.normal(size=(4000, 5)) * [3, 1, 1, 1, 1] @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
principal = np.linalg.svd(x, full_matrices=False)[2][0]      # (5,)
hebb = oja = np.full(5, 0.1)
for n, row in enumerate(x, 1):
    hebb = hebb + 0.005 * (hebb @ row) * row                  # sin freno: crece sin límite
    y = oja @ row
    oja = oja + 0.01 / (1 + n / 400) * y * (row - y * oja)   # E. Oja (1982), ecuación 3
    if n in (100, 1000, 4000):
        cosine = abs(oja @ principal) / np.linalg.norm(oja)
        print(f"   {n:8d} {np.linalg.norm(hebb):13.1e} {np.linalg.norm(oja):12.3f} {cosine:15.4f}")
assert np.linalg.norm(hebb) > 1e9 and abs(np.linalg.norm(oja) - 1) < 0.1 and cosine > 0.99
# Lo que no pudo: corregirse. Asocia lo que llega, acierte o no: le falta un maestro.

# %% 3. ¿Y si sólo cambia cuando se equivoca? (Rosenblatt, 1958)
# «The Perceptron»: ante un error, w += y x. Novikoff (1962): si un separador de norma 1 deja un
# margen g y |x| <= R, habrá (R/g)^2 errores como mucho, en cualquier orden.
teacher = np.append(rng.choice([-1, 1], 2) * rng.uniform(0.3, 1, 2), 0.2)
x = np.c_[rng.uniform(-1, 1, (400, 2)), np.ones(400)]        # (N, 3) la última entrada es el sesgo
margin = x @ teacher / np.linalg.norm(teacher)               # con signo
x, margin = x[abs(margin) > 0.05], margin[abs(margin) > 0.05]
limit, results = (np.linalg.norm(x, axis=1).max() / abs(margin).min())**2, []
for x, y in (x, np.sign(margin)), (np.c_[2 * bits(2) - 1, np.ones(4)], np.where(xor, 1, -1)):
    w, errors, seen = np.zeros(3), 0, {}
    while tuple(w) not in seen:                              # hasta que unos pesos se repiten
        seen[tuple(w)] = errors
        for row, target in zip(x, y):
            if target * (w @ row) <= 0:
                w, errors = w + target * row, errors + 1
    results.append((errors, errors - seen[tuple(w)]))        # en total, y en cada vuelta del ciclo
(errors, last), (_, cycle) = results
assert errors <= limit and last == 0 < cycle
print(f"\n3. Perceptrón: separa {len(margin)} puntos tras {errors} errores; el teorema permite "
      f"{limit:.0f}.\n   XOR: los mismos pesos vuelven cada {cycle} errores, para siempre")
# Lo que no pudo: enseñar a una capa intermedia (Minsky y Papert, 1969). Hubo quien buscó por otro
# lado: redes sin capas ni maestro, en que todas las neuronas se miran.

# %% 4. ¿Puede una memoria completar lo que falta? (Hopfield, 1982)
# «Neural Networks and Physical Systems with Emergent Collective Computational Abilities»: unidades
# de ±1, pesos simétricos de Hebb, y cada una toma el signo de lo que recibe. La energía
# E = -1/2 s W s nunca sube: la red cae a un valle, que es un recuerdo.
DRAWING = """\
███·······  ▄█████████  ██▄·····██  ██······██
███·······  ██▄·······  ████▄···██  ▀██····██▀
███·······  ·▀███████▄  ██·▀██▄·██  ·▀██··██▀·
███▄▄▄▄▄▄▄  ·······▀██  ██···▀████  ··▀████▀··
██████████  █████████▀  ██·····▀██  ···▀██▀···"""
halves = np.array([["·▀▄█".index(c) for c in word] for word in DRAWING.split()]).reshape(5, 4, 10)
letters = np.stack([halves % 2, halves // 2], 1).transpose(2, 0, 1, 3).reshape(4, 100) * 2 - 1


def show(figures):
    """Figuras de 10 x 10 (M, 100), una al lado de otra; cada línea de texto lleva dos filas."""
    for line in np.reshape(figures, (-1, 5, 2, 10)).swapaxes(0, 1) > 0:      # (M, 2, 10)
        print("   " + "  ".join("".join("·▀▄█"[a + 2 * b] for a, b in rows.T) for rows in line))


def memory(patterns):
    """Pesos de Hebb de patrones (P, N), sin que ninguna unidad se mire a sí misma: (N, N)."""
    return patterns.T @ patterns / patterns.shape[1] * (1 - np.eye(patterns.shape[1]))


def energy(s, W):
    """E = -1/2 s W s de cada fila de `s` (M, N): (M,)."""
    return -0.5 * (s @ W * s).sum(1)


def sweep(s, W, sweeps=40, T=0.0, first=0, curve=None):
    """Copia de `s` (M, N) tras poner al día, una a una, las unidades desde la `first`.

    Con T = 0 manda el signo, hasta que nada cambia; con T > 0, el azar (celda 5). La lista
    `curve`, si se da, recibe la energía (M,) tras cada actualización.
    """
    s, before = s.astype(float), None
    while sweeps and (T or not np.array_equal(s, before)):
        sweeps, before = sweeps - 1, s.copy()
        for i in first + rng.permutation(s.shape[1] - first):
            field = s @ W[i]                                 # (M,)
            if T:
                field = np.tanh(field / T) - rng.uniform(-1, 1, len(s))
            s[:, i] = np.where(field == 0, s[:, i], np.sign(field))
            if curve is not None:
                curve.append(energy(s, W))
    return s


W, wanted = memory(letters), np.tile(letters, (25, 1))       # (100, 100) cada una
noisy = np.array([row * rng.permutation([-1] * 20 + [1] * 80) for row in wanted])
curve = [energy(noisy, W)]
recalled = sweep(noisy, W, curve=curve)
right = (recalled == wanted).all(1).sum()
assert (np.diff(curve, axis=0) <= 1e-9).all() and right >= 90  # la energía no sube nunca
print("\n4. Hopfield: letras con un quinto de los píxeles cambiados, y lo que recuerda de cada una")
show(noisy[:4])
show(recalled[:4])
print(f"   {right} de 100 exactas; la energía baja de {curve[0].mean():.1f} a "
      f"{curve[-1].mean():.1f} y no sube en ninguno de {len(curve) - 1} pasos")
spurious = np.array([-letters[0], np.sign(letters[:3].sum(0))])              # nadie los guardó
assert (sweep(spurious, W) == spurious).all()
overlap = sweep(rng.choice([-1, 1], (200, 100)), W) @ letters.T / 100        # (200, 4)
good, bad = ((sign * overlap == 1).any(1).sum() for sign in (1, -1))
print(f"   200 comienzos al azar: {good} acaban en una letra, {bad} en un negativo y "
      f"{200 - good - bad} en mezclas.\n   Un negativo y una mezcla, tan estables como las letras:")
show(spurious)
# Capacidad con patrones al azar. Amit, Gutfreund y Sompolinsky (1985): se hunde en P/N = 0.138.
print("   P/N    parecido final con el recuerdo  recuerdos con 2 % de errores o menos")
loads, kept = (0.04, 0.08, 0.12, 0.14, 0.16, 0.20, 0.24), []
for load in loads:
    stored = rng.choice([-1.0, 1.0], (int(load * 400), 400))
    m = (sweep(stored, memory(stored)) * stored).mean(1)     # (P,)
    kept.append(m.mean())
    bar, fine = "█" * round(20 * m.mean()), (m >= 0.96).mean()
    print(f"   {load:.2f} {m.mean():8.3f} {bar:20s} {fine:9.0%}")
assert kept[1] > 0.97 and kept[-1] < 0.6
if PLOT:
    grid = np.pad(np.reshape([noisy[:4], recalled[:4]], (8, 10, 10)), [(0, 0), (1, 1), (1, 1)])
    plt.imshow(grid.reshape(2, 4, 12, 12).swapaxes(1, 2).reshape(24, 48), cmap="cividis")
    plt.gca().set(xticks=[], yticks=[5.5, 17.5], yticklabels=["antes", "después"])
    figure("hopfield_recuerdo")
    plt.plot(np.array(curve)[:, :20], color="tab:blue", alpha=0.5)
    plt.gca().set(xlabel="actualizaciones", ylabel="energía de veinte recuerdos")
    figure("hopfield_energia")
    plt.plot(loads, kept, "o-")
    plt.axvline(0.138, color="tab:orange")
    plt.gca().set(xlabel="patrones por unidad (raya: 0.138)", ylabel="parecido con el recuerdo")
    figure("hopfield_capacidad")
# Lo que no pudo: salir de un valle malo, ni inventarse unidades que los datos no traen.

# %% 5. ¿Y si las unidades dudan? (Ackley, Hinton y Sejnowski, 1985)
# «A Learning Algorithm for Boltzmann Machines»: se enciende con probabilidad
# 1 / (1 + exp(-2 campo / T)), y a la larga cada estado sale con probabilidad exp(-E/T) / Z.
even = np.array([row for row in 2 * bits(3) - 1 if row.prod() == 1])         # (4, 3) la paridad


def exact(W):
    """Los estados (2^(n-1), n) con la unidad 0 en 1, su probabilidad, y la KL de `even` a 1-3."""
    s = np.c_[np.ones(2**(len(W) - 1)), 2 * bits(len(W) - 1) - 1]
    p = np.exp(energy(s, W).min() - energy(s, W))
    p /= p.sum()
    return s, p, -np.mean([np.log(4 * p[(s[:, 1:4] == row).all(1)].sum()) for row in even])


def moments(s, p):
    """<s s^T>, con pesos `p` (M,), de los estados `s` (M, n): (n, n), de diagonal cero."""
    return s.T @ (s * p[:, None]) * (1 - np.eye(s.shape[1]))


W = 2 * memory(rng.uniform(-1, 1, (7, 7)))
s, p, _ = exact(W)
chains = sweep(np.ones((20_000, 7)), W, 40, 1.0, first=1) > 0
counts = np.bincount(chains[:, 1:] @ 2**np.arange(6)[::-1], minlength=64) / len(chains)
assert abs(counts - p).sum() / 2 < 0.05
print("\n5. Boltzmann: variación total entre lo muestreado y lo exacto, "
      f"{abs(counts - p).sum() / 2:.3f}")
# Enfriar despacio (simulated annealing; Kirkpatrick et al., 1983) salta de los valles malos.
hard = memory(rng.choice([-1.0, 1.0], (50, 100)))            # una memoria que rebosa
start = cold = rng.choice([-1, 1], (40, 100))
for T in np.linspace(1.5, 0.05, 60):
    cold = sweep(cold, hard, 1, T)
down, cold = (energy(sweep(each, hard), hard).mean() for each in (start, cold))
assert cold < down
print(f"   con los mismos pesos, la energía media es {down:.1f} bajando y {cold:.1f} enfriando")
# Aprender: W += <s s^T> con los datos fijos (clamped) - <s s^T> libre, que es -dKL/dW. En la
# paridad de tres bits ninguna pareja está correlacionada: sin ocultas no hay nada que aprender.
fixed = sum(p * match / (p @ match) / 4 for match in ((s[:, 1:4] == row).all(1) for row in even))
nudge = np.outer(*np.eye(7)[[2, 5]]) * 1e-4 + np.outer(*np.eye(7)[[5, 2]]) * 1e-4
slope = (exact(W - nudge)[2] - exact(W + nudge)[2]) / 2e-4
assert abs(slope - (moments(s, fixed) - moments(s, p))[2, 5]) < 1e-5
print("   KL en nats a la paridad, paso", "".join(f"{n:7d}" for n in range(0, 1501, 300)))
for n, label in (4, "sólo parejas (log 2 = 0.693)"), (8, "con cuatro ocultas"):
    W, history, equal = memory(rng.uniform(-1.5, 1.5, (n, n))), [], np.full(400, 1 / 400)
    clamped = free = np.c_[np.ones(400), np.tile(even, (100, 1)), np.ones((400, n - 4))]
    for step in range(1501):
        if step % 300 == 0:
            history.append(exact(W)[2])
        clamped, free = sweep(clamped, W, 1, 1.0, first=4), sweep(free, W, 2, 1.0, first=1)
        W += 0.1 * (1 - step / 1501) * (moments(clamped, equal) - moments(free, equal))
    assert min(history) >= math.log(2) - 1e-9 if n == 4 else history[-1] < history[0] / 2
    print(f"   {label:29s}", "".join(f"{v:7.3f}" for v in history))
# Lo que no pudo: ir deprisa. Cada paso pide dos muestreos largos, unidad a unidad.

# %% 6. ¿Y si las de una capa no se hablan? (Smolensky, 1986; Hinton, 2002)
# «Training Products of Experts by Minimizing Contrastive Divergence»: sin conexiones dentro de una
# capa (restricted Boltzmann machine), ésta se sortea de un golpe; y en vez de esperar al
# equilibrio, basta un paso de Gibbs desde el dato. Lo visible: una letra de V por posición.
def up(v, W, b, c, beta=1):
    """p(h = 1 | v): (n, L*V) -> (n, H), con W (L*V, H), b (L, V), c (H,)."""
    return 0.5 + 0.5 * np.tanh(0.5 * beta * (c + v @ W))


def down(h, W, b, c, beta=1):
    """p(v | h), un softmax por posición: (n, H) -> (n, L, V)."""
    logits = b + beta * (h @ W.T).reshape(-1, *b.shape)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def one_hot(ids, V):
    """Un 1 por posición: ids (n, L) -> (n, L*V) float32."""
    return np.eye(V, dtype=np.float32)[ids].reshape(len(ids), -1)


def draw(p):
    """Sorteo, en unos y ceros: de p(h) (n, H), o una letra por posición de p(v) (n, L, V)."""
    if p.ndim == 2:
        return (rng.random(p.shape, np.float32) < p).astype(np.float32)
    steps = p.cumsum(2)
    spin = rng.random((*p.shape[:2], 1), np.float32) * steps[..., -1:]
    return one_hot((steps <= spin).sum(2).clip(max=p.shape[2] - 1), p.shape[2])


def gibbs(v, machine, beta=1):
    """Una ida y vuelta desde `v` (n, L*V): otra `v`."""
    return draw(down(draw(up(v, *machine, beta)), *machine, beta))


def free_energy(v, W, b, c, beta=1):
    """F(v) = -log de la suma de exp(-E(v, h)) sobre h: (n, L*V) -> (n,)."""
    return -v @ b.ravel() - np.logaddexp(0, beta * (c + v @ W)).sum(1, dtype=float)


def log_z(machine, runs=100):
    """log Z y su error típico por AIS, de W = 0 a la máquina. Salakhutdinov y Murray (2008)."""
    W, b, c = machine
    betas, logs = np.linspace(0, 1, 1001, dtype=np.float32), np.zeros(runs)
    v = draw(np.repeat(down(0 * c[None], *machine), runs, 0))
    for low, high in zip(betas, betas[1:]):
        logs += free_energy(v, *machine, low) - free_energy(v, *machine, high)
        v = gibbs(v, machine, high)
    start, w = np.logaddexp.reduce(b, axis=1).sum(), np.exp(logs - logs.max())
    return (start + len(c) * math.log(2) + logs.max() + math.log(w.mean()),
            w.std() / w.mean() / math.sqrt(runs))


def fit(machine, below=None):
    """STEPS pasos de CD-1, en el sitio, con los nombres o (celda 7) lo que `below` ve en ellos."""
    for step in range(STEPS):
        rate = np.float32(LEARNING_RATE * (1 - step / STEPS) / BATCH_SIZE)
        start = v = one_hot(train[rng.integers(len(train), size=BATCH_SIZE)], V)
        h = draw(up(v, *below)) if below else up(v, *machine)
        if below:
            start, v = draw(down(h, *machine)), down(h, *machine).reshape(v.shape)
        dream = gibbs(start, machine)
        back = up(dream, *machine)
        for w, data, dreamt in zip(machine, (v.T @ h, v.sum(0), h.sum(0)),
                                   (dream.T @ back, dream.sum(0), back.sum(0))):
            w += rate * (data - dreamt).reshape(w.shape)     # como antes: datos menos sueño
        if (step + 1) % EVAL_INTERVAL == 0:
            print(f"   paso {step + 1:5d}: tras una ida y vuelta quedan "
                  f"{(start * dream).sum() / start.sum():.0%} de las letras", flush=True)


def spell(v):
    """Los nombres que hay en `v` (n, L*V); un «·» es relleno fuera de su sitio."""
    rows = v.reshape(len(v), L, V).argmax(2)
    return ["".join(chars[i] for i in row).rstrip("\n").replace("\n", "·") for row in rows]


W, b, c = small = [rng.normal(size=size).astype(np.float32) for size in ((6, 4), (2, 3), 4)]
v, h = one_hot(np.indices((3, 3)).reshape(2, -1).T, 3), bits(4)              # (9, 6), (16, 4)
joint = np.exp(v @ b.ravel()[:, None] + h @ c + v @ W @ h.T)                 # (9, 16) todos
assert np.allclose(free_energy(v, *small), -np.log(joint.sum(1)), atol=1e-4)
assert np.allclose(up(v, *small), joint @ h / joint.sum(1)[:, None], atol=1e-4)
assert np.allclose(down(h, *small).reshape(16, 6), joint.T @ v / joint.sum(0)[:, None], atol=1e-4)
assert abs(log_z(small)[0] - math.log(joint.sum())) < 0.1
chars = "\n" + "".join(sorted(set("".join(names))))          # «\n» rellena el final
L, V, H = BLOCK_SIZE, len(chars), N_HIDDEN
ids = np.array([[chars.index(char) for char in name.ljust(L, "\n")] for name in names])   # (N, L)
train, test = np.split(ids, [int(0.9 * len(ids))])
x = one_hot(train, V)
alone = np.log(x.mean(0) + 1 / len(x))                       # (L*V,) cada posición por su cuenta
first = [rng.normal(0, 0.05, (L * V, H)).astype(np.float32), alone.reshape(L, V).copy(),
         np.zeros(H, np.float32)]
print(f"\n6. RBM de {L} x {V} + {H} unidades; {len(train)} nombres y {len(test)} de prueba")
fit(first)
mixed = np.array([np.r_[rng.permutation(row[row > 0]), row[row == 0]] for row in test])
pair = [one_hot(part[(mixed != test).any(1)], V) for part in (test, mixed)]
told = (free_energy(pair[0], *first) < free_energy(pair[1], *first)).sum() / max(len(pair[0]), 1)
print(f"   con menos energía libre que barajados: {told:.1%} de {len(pair[0])} nunca vistos")
assert told > 0.9 or (DATA, STEPS, BATCH_SIZE, BLOCK_SIZE, N_HIDDEN, LEARNING_RATE) != (
    "pueblos.txt", 4000, 50, 8, 128, 0.5)                    # con otras constantes, según
filters = first[0].reshape(L, V, H) - first[0].reshape(L, V, H).mean(1, keepdims=True)
chosen = np.argsort(-filters.max(1).std(0))[:6]
for j in chosen if STEPS else []:
    peaks = filters[..., j].max(1)                           # (L,)
    drawn = "".join(chars[i] if peak > peaks.max() / 2 else "·"
                    for i, peak in zip(filters[..., j].argmax(1), peaks)).replace("\n", "_")
    print(f"   filtro {j:3d}  {drawn}  " + ", ".join(spell(x[np.argsort(-x @ first[0][:, j])[:5]])))
if PLOT:
    plt.figure(figsize=(9, 12))
    for k, j in enumerate(chosen):
        plt.subplot(2, 3, k + 1, xlabel="posición")
        plt.imshow(filters[..., j].T, "cividis", aspect="auto")
        plt.yticks(range(V), chars.replace("\n", "_"), fontsize=7)
    figure("rbm_filtros")
# Lo que no pudo: ir más hondo. Sus ocultas tienen un orden propio que ella no modela.

# %% 7. ¿Y una máquina sobre otra? (Hinton, Osindero y Teh, 2006)
# «A Fast Learning Algorithm for Deep Belief Nets»: fija la primera, otra RBM aprende lo que hacen
# sus ocultas ante los datos. Empieza siendo la primera del revés, y así la cota
# log p(x) >= <log p2(h) + log p1(x|h) - log q(h|x)> empieza siendo una igualdad.
def bound(x, top, top_log_z):
    """Cota de log p(x) de cada nombre (n, L*V), con `first` debajo y `top` encima: (n,)."""
    a, h = first[2] + x @ first[0], draw(up(x, *first))      # (n, H), y h ~ q(h|x)
    low, high = (b + (h @ W.T).reshape(-1, L, V) for W, b, _ in (first, top))
    log_p2 = h @ top[2] + np.logaddexp.reduce(high, axis=2).sum(1) - top_log_z
    log_p1 = (x * low.reshape(len(x), -1)).sum(1) - np.logaddexp.reduce(low, axis=2).sum(1)
    return log_p2 + log_p1 - (h * a - np.logaddexp(0, a)).sum(1)


x, second = one_hot(test, V), [w.copy() for w in first]
one_log_z, one_error = log_z(first)
one = -free_energy(x, *first) - one_log_z                    # log p(x) con una capa
assert np.allclose(bound(x, second, one_log_z), one, atol=1e-2)
print("\n7. DBN: la cota de dos capas empieza igual a una, y la segunda aprende desde ahí")
if STEPS:
    fit(second, first)
    two_log_z, two_error = log_z(second)
    two = np.mean([bound(x, second, two_log_z) for _ in range(10)], axis=0)
    gain, spread = (two - one).mean(), (two - one).std() / len(x)**0.5
    error = math.hypot(one_error, two_error, spread)
    print("   sorpresa media de un nombre nunca visto, en nats: letras sueltas por posición "
          f"{-(x @ alone).mean():.2f},\n   una capa {-one.mean():.2f}, dos {-two.mean():.2f} o "
          f"menos. La segunda aporta {gain:+.3f}, con error típico {error:.3f}:\n   "
          + ("ayuda" if gain > 2 * error else "estorba" if gain < -2 * error else "no se nota"))
    for label, machine in ("una capa", first), ("dos capas", second):
        v = draw(np.full((200, L, V), 1 / V, np.float32))
        for _ in range(200):
            v = gibbs(v, machine)
        v = v if machine is first else draw(down(draw(up(v, *second)), *first))
        print(f"   {label:9s} sueñan " + ", ".join(spell(v)[:6]) + "; de 200, existen "
              f"{len(set(spell(v)) & set(names))}")
# Lo que no pudo: afinar todas las capas a la vez para un fin. Cada una se entrena sin ver el final.

# %% 8. Por qué venció la retropropagación, y qué queda
# Estas reglas son locales: cambian un peso según lo que hay a sus dos lados, y ninguna sabe cuánto
# cuenta ese peso en el resultado. La derivada sí, la de todos los pesos a la vez y al precio de
# otra pasada, sin muestreos ni equilibrios (Rumelhart, Hinton y Williams, 1986). Con más datos y
# máquinas ni siquiera hizo falta entrenar antes capa a capa. Queda mucho: la energía, en los
# modelos de difusión; el sorteo letra a letra, en cada lección; las filas de W que describen
# una letra, en los embeddings de la 03. Y quien derive
# por nosotros, en la siguiente lección: 01_micrograd.py.

# %% Experimentos: predice antes de mirar
# - STEPS = 0: sin aprender parejas, sólo qué letra va en cada sitio, ¿cuántos nombres distingue de
#   los barajados? El 80.9 %; entrenada, el 97.0 %.

"""
00. La historia, funcionando: de la neurona de 1943 a la red profunda de 2006

Al terminar sabrás qué preguntaba cada modelo anterior a la retropropagación,
qué supo hacer y dónde se atascó: ahí empieza la celda siguiente.

    python 00_history.py                  todo, unos quince segundos
    python 00_history.py --steps 0        sin entrenar las máquinas, en cinco
    python 00_history.py --plot figuras   y además tres figuras
"""
import argparse
import random
import re
import shutil
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
BATCH_SIZE = 50       # nombres por paso
BLOCK_SIZE = 8        # letras de un nombre como mucho: los más largos no entran
N_HIDDEN = 128        # unidades ocultas de la máquina restringida
LEARNING_RATE = 0.5   # tasa de aprendizaje al empezar; baja en línea recta hasta cero

# %% Cada constante es una opción: N_EMBD -> --n_embd 64. En un cuaderno, mandan las de arriba
file = Path(globals().get("__file__", "cuaderno")).resolve()
if Path(sys.argv[0]).name == file.name:                      # python o %run; pegado en celdas, no
    if hasattr(sys.stdout, "reconfigure"):                   # la salida de un cuaderno no lo tiene
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)    # «| head» acaba sin ruido
    options = argparse.ArgumentParser(allow_abbrev=False, description=__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
    cell = file.read_text("utf-8").split("# %%")[1]
    for name, note in re.findall(r"^([A-Z_]+) = .*?  # (.+)$", cell, re.M):
        value, note = globals()[name], note.replace("%", "%%")
        kind = {"type": type(value)}
        if isinstance(value, bool):
            kind = {"action": argparse.BooleanOptionalAction}                   # --x y --no-x
        options.add_argument(f"--{name.lower()}", default=value, help=f"{note} [{value}]", **kind)
    globals().update({k.upper(): v for k, v in vars(options.parse_args()).items()})

# %% Leer un texto: una sola forma de escribir la «ñ» (NFC) y el fin de línea, sin marcas ocultas
folder = file.parent / "data"
try:
    path = DATA if Path(DATA).is_file() else folder / DATA.removeprefix("data/")
    text = unicodedata.normalize("NFC", Path(path).read_text("utf-8"))
    text = re.sub("[\ufeff\0]", "", text)
except UnicodeDecodeError as e:
    sys.exit(f"error: «{DATA}» no es UTF-8 (byte {e.start}): guárdalo como UTF-8 con un editor")
except OSError:
    found = ", ".join(sorted(p.name for p in folder.glob("*.txt")))
    sys.exit(f"error: no puedo leer «{DATA}». En data/ hay: {found}. "
             "Más textos: python data/prepare.py --list")

# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)

# %% 1. ¿Puede pensar una red de síes y noes? (McCulloch y Pitts, 1943)
# «A Logical Calculus of the Ideas Immanent in Nervous Activity»: la neurona dispara si le llegan
# `threshold` excitaciones o más y ninguna inhibición: una sola basta para callarla.
names = sorted({w.strip() for w in text.lower().split("\n") if 0 < len(w.strip()) <= BLOCK_SIZE})
random.Random(42).shuffle(names)         # los de la celda 6: si algo está mal, mejor saberlo ya
if min(BATCH_SIZE, BLOCK_SIZE, N_HIDDEN, STEPS + 1, SEED + 1) < 1 or not 0 < LEARNING_RATE <= 10:
    sys.exit("error: LEARNING_RATE va de 0 a 10; STEPS y SEED, desde 0; lo demás, desde 1")
if len(names) < 10:
    sys.exit(f"error: «{DATA}» tiene {len(names)} líneas distintas de hasta {BLOCK_SIZE} letras y "
             "hacen falta 10 o más: sube BLOCK_SIZE o elige otro texto con --data")
rng = np.random.default_rng(SEED)

def bits(n):
    """Las 2^n filas de `n` síes y noes: (2^n, n) bool."""
    return np.indices((2,) * n).reshape(n, -1).T == 1

def unit(excite, inhibit, threshold):
    """La neurona de 1943: de excitaciones (N, n) e inhibiciones (N, m) a disparos (N,)."""
    return (excite.sum(1) >= threshold) & ~inhibit.any(1)

a, b, none = (x := bits(2))[:, :1], x[:, 1:], x[:, :0]       # (4, 2), en columnas
xor = unit(np.c_[unit(a, b, 1), unit(b, a, 1)], none, 1)     # a y no b, o bien b y no a
print("1. McCulloch y Pitts   a b   a y b   a o b   no a   uno solo (dos capas)")
for a, b, *rest in zip(*x.T, unit(x, none, 2), unit(x, none, 1), unit(none, a, 0), xor):
    assert rest == [a and b, a or b, not a, a != b]
    print("   {:20d} {:d} {:7d} {:7d} {:6d} {:10d}".format(a, b, *rest))
# Ninguna sola da «uno solo» (XOR): pide 0 < t <= w1, w2, y así w1 + w2 >= 2t > t, pero también < t.
w1, w2, t = (w.ravel() for w in np.meshgrid(*3 * [np.arange(-3, 3.5, 0.5)]))
found = set(map(tuple, (x @ [w1, w2] >= t).T))               # las tablas que da alguna
assert len(found) == 14 and tuple(xor) not in found and tuple(~xor) not in found
print(f"   {len(t)} neuronas sueltas dan {len(found)} de las 16 tablas: faltan esa y su contraria")
# Lo que no pudo: aprender. Cada peso lo pone una persona.

# %% 2. ¿Cómo aprende una neurona sin que nadie le diga nada? (Hebb, 1949)
# «The Organization of Behavior»: si una célula ayuda a disparar otra, su conexión crece.
# En fórmula, W += y x^T (outer product). Tres parejas x -> y caben en una matriz y se recuerdan.
keys = 1 - 2 * (np.arange(64) >> np.arange(3)[:, None] & 1)  # (3, 64) de ±1, ortogonales
values = rng.choice([-1, 1], (3, 16))
noisy = np.array([row * rng.permutation([-1] * 10 + [1] * 54) for row in keys])
assert (np.sign(noisy @ (values.T @ keys).T) == values).all()    # gana 64 - 20 a 20 + 20
x = rng.normal(size=(4000, 5)) * [3, 1, 1, 1, 1] @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
principal = np.linalg.svd(x, full_matrices=False)[2][0]      # (5,)
print("\n2. Hebb recuerda tres parejas en una matriz, con 10 signos de 64 cambiados")
hebb = oja = np.full(5, 0.1)
for n, row in enumerate(x, 1):
    hebb = hebb + 0.005 * (hebb @ row) * row                 # sin freno: crece sin límite
    y = oja @ row
    oja = oja + 0.01 / (1 + n / 400) * y * (row - y * oja)   # E. Oja (1982), ecuación 3
    big, size, dot = np.linalg.norm(hebb), np.linalg.norm(oja), abs(oja @ principal)
    if n in (100, 1000, 4000):
        print(f"   {n:4d} ejemplos: |w| {big:.1e}; con Oja {size:.3f}, y coseno {dot / size:.4f}")
assert big > 1e9 and abs(size - 1) < 0.1 and dot / size > 0.99
# Lo que no pudo: corregirse. Asocia lo que llega, acierte o no: le falta un maestro.

# %% 3. ¿Y si sólo cambia cuando se equivoca? (Rosenblatt, 1958)
# «The Perceptron»: ante un error, w += y x. Novikoff (1962): si un separador de norma 1 deja un
# margen g y |x| <= R, habrá (R/g)^2 errores como mucho, en cualquier orden.
x = np.c_[rng.uniform(-1, 1, (400, 2)), np.ones(400)]        # (N, 3) la última entrada es el sesgo
margin = x @ [0.6, -0.8, 0.2] / np.linalg.norm([0.6, 0.8, 0.2])    # su signo es la respuesta
yx = (x * np.sign(margin)[:, None])[abs(margin) > 0.05]
limit, results = (np.linalg.norm(yx, axis=1).max() / 0.05)**2, []
for yx in yx, np.c_[2 * bits(2) - 1, np.ones(4)] * np.where(xor, 1, -1)[:, None]:
    w, errors, seen = np.zeros(3), 0, {}
    while tuple(w) not in seen:                              # hasta que unos pesos se repiten
        seen[tuple(w)] = errors
        for row in yx:
            if w @ row <= 0:
                w, errors = w + row, errors + 1
    results += errors, errors - seen[tuple(w)]               # en total, y en la última vuelta
errors, last, _, cycle = results
assert errors <= limit and last == 0 < cycle
print(f"\n3. Perceptrón: separa los puntos tras {errors} errores; el teorema permite {limit:.0f}.\n"
      f"   XOR: los mismos pesos vuelven cada {cycle} errores, para siempre")
# Lo que no pudo: enseñar a una capa intermedia (Minsky y Papert, 1969). ¿Y sin capas ni maestro?

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

def memory(patterns):
    """Pesos de Hebb de patrones (P, N), sin que ninguna unidad se mire a sí misma: (N, N)."""
    return patterns.T @ patterns / patterns.shape[1] * (1 - np.eye(patterns.shape[1]))

def energy(s, W):
    """E = -1/2 s W s de cada fila de `s` (M, N): (M,)."""
    return -0.5 * (s @ W * s).sum(1)

def sweep(s, W, sweeps=40, T=0.0, first=0, watch=lambda s: None):
    """Copia de `s` (M, N) tras actualizarse una a una: hasta el reposo o, con T > 0, al azar."""
    s, before = s.astype(float), None
    while sweeps and (T or not np.array_equal(s, before)):
        sweeps, before = sweeps - 1, s.copy()
        for i in first + rng.permutation(s.shape[1] - first):
            field = s @ W[i] if not T else np.tanh(s @ W[i] / T) - rng.uniform(-1, 1, len(s))
            s[:, i] = np.where(field == 0, s[:, i], np.sign(field))          # (M,)
            watch(s)
    return s

W, wanted = memory(letters), np.tile(letters, (25, 1))       # (100, 100) cada una
noisy = np.array([row * rng.permutation([-1] * 20 + [1] * 80) for row in wanted])
curve = [energy(noisy, W)]
recalled = sweep(noisy, W, watch=lambda s: curve.append(energy(s, W)))
right = (recalled == wanted).all(1).sum()
assert (np.diff(curve, axis=0) <= 1e-9).all() and right >= 90
spurious = np.array([-letters[0], np.sign(letters[:3].sum(0))])              # nadie los guardó
assert (sweep(spurious, W) == spurious).all()
print("\n4. Hopfield: letras con un quinto de los píxeles cambiados; lo que recuerda; y\n"
      "   dos recuerdos que nadie guardó (spurious states), un negativo y una mezcla")
for figures in noisy[:4], recalled[:4], spurious:
    for line in figures.reshape(-1, 5, 2, 10).swapaxes(0, 1) > 0:            # (M, 2, 10)
        print("   " + "  ".join("".join("·▀▄█"[a + 2 * b] for a, b in rows.T) for rows in line))
# Capacidad con patrones al azar. Amit, Gutfreund y Sompolinsky (1985): se hunde en P/N = 0.138.
print(f"   {right} de 100 exactas; en {len(curve) - 1} pasos la energía va de "
      f"{curve[0].mean():.1f} a {curve[-1].mean():.1f} y nunca sube\n   P/N    fidelidad")
loads, kept = (0.04, 0.08, 0.12, 0.14, 0.16, 0.20, 0.24), []
for load in loads:
    stored = rng.choice([-1.0, 1.0], (int(load * 400), 400))
    kept.append((sweep(stored, memory(stored)) * stored).mean())
    print(f"   {load:.2f} {kept[-1]:8.3f}  " + "█" * round(20 * kept[-1]))
assert kept[1] > 0.97 and kept[-1] < 0.6
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(6, 4))
    plt.imshow(np.block([[np.pad(s.reshape(10, 10), 1) for s in p[:4]] for p in (noisy, recalled)]))
    plt.gca().set(xticks=[], yticks=[5.5, 17.5], yticklabels=["antes", "después"])
    plt.savefig(Path(PLOT) / "hopfield_recuerdo.png", dpi=150, bbox_inches="tight")
    plt.figure(figsize=(6, 4))
    plt.plot(loads, kept, "o-", [0.138, 0.138], [0, 1], "--")
    plt.gca().set(xlabel="patrones por unidad (raya: 0.138)", ylabel="fidelidad del recuerdo")
    plt.savefig(Path(PLOT) / "hopfield_capacidad.png", dpi=150, bbox_inches="tight")
# Lo que no pudo: salir de un valle malo, ni inventarse unidades que los datos no traen.

# %% 5. ¿Y si las unidades dudan? (Ackley, Hinton y Sejnowski, 1985)
# «A Learning Algorithm for Boltzmann Machines»: se enciende con probabilidad
# 1 / (1 + exp(-2 campo / T)), y a la larga cada estado sale con probabilidad exp(-E/T) / Z.
even = np.array([row for row in 2 * bits(3) - 1 if row.prod() == 1])         # (4, 3) la paridad

def exact(W):
    """Los estados (2^(n-1), n) con la unidad 0 en 1, su probabilidad, y la KL de `even` a 1-3."""
    s = np.c_[np.ones(2**(len(W) - 1)), 2 * bits(len(W) - 1) - 1]
    p = np.exp(-energy(s, W)) / np.exp(-energy(s, W)).sum()
    return s, p, -np.mean([np.log(4 * p[(s[:, 1:4] == row).all(1)].sum()) for row in even])

W = 2 * memory(rng.uniform(-1, 1, (7, 7)))
chains, (s, p, _) = sweep(np.ones((20_000, 7)), W, 40, 1.0, first=1), exact(W)
variation = sum(abs((chains == row).all(1).mean() - q) for row, q in zip(s, p)) / 2
assert variation < 0.05
print(f"\n5. Boltzmann: variación total entre lo muestreado y lo exacto, {variation:.3f}")
# Enfriar despacio (simulated annealing; Kirkpatrick et al., 1983) salta de los valles malos.
hard = memory(rng.choice([-1.0, 1.0], (50, 100)))            # una memoria que rebosa
start = cold = rng.choice([-1, 1], (40, 100))
for T in np.linspace(1.5, 0.05, 60):
    cold = sweep(cold, hard, 1, T)
fast, slow = (energy(sweep(each, hard), hard).mean() for each in (start, cold))
assert slow < fast
print(f"   con los mismos pesos, la energía media es {fast:.1f} bajando y {slow:.1f} enfriando")
# Aprender: W += <s s^T> con los datos fijos (clamped) - <s s^T> libre, que es -dKL/dW. En la
# paridad de tres bits ninguna pareja está correlacionada: sin ocultas no hay nada que aprender.
print("   KL en nats a la paridad, paso", "".join(f"{n:7d}" for n in range(0, 1501, 300)))
for n, label in (4, "sólo parejas (log 2 = 0.693)"), (8, "con cuatro ocultas"):
    W, history = memory(rng.uniform(-1.5, 1.5, (n, n))), []
    clamped = free = np.c_[np.ones(400), np.tile(even, (100, 1)), np.ones((400, n - 4))]
    for step in range(1501):
        history += [exact(W)[2]] if step % 300 == 0 else []
        clamped, free = sweep(clamped, W, 1, 1.0, first=4), sweep(free, W, 2, 1.0, first=1)
        W += (1 - step / 1501) * (clamped.T @ clamped - free.T @ free) / 4000   # de diagonal cero
    assert min(history) >= np.log(2) - 1e-9 if n == 4 else history[-1] < history[0] / 2
    print(f"   {label:29s}", "".join(f"{v:7.3f}" for v in history))
# Lo que no pudo: ir deprisa. Cada paso pide dos muestreos largos, unidad a unidad.

# %% 6. ¿Y si las de una capa no se hablan? (Smolensky, 1986; Hinton, 2002)
# «Training Products of Experts by Minimizing Contrastive Divergence»: sin conexiones dentro de una
# capa (restricted Boltzmann machine), ésta se sortea de un golpe; y basta un paso de Gibbs desde el
# dato, sin esperar al equilibrio. Lo visible, `v`: en cada posición, una letra de V.
def one_hot(ids, V):
    """Un 1 por posición: ids (n, L) -> (n, L*V) float32."""
    return np.eye(V, dtype=np.float32)[ids].reshape(len(ids), -1)

def up(v, W, b, c):
    """Sorteo de h dado v: (n, L*V) -> (n, H) float32, con W (L*V, H), b (L, V), c (H,)."""
    p = 0.5 + 0.5 * np.tanh(0.5 * (c + v @ W))
    return (rng.random(p.shape, np.float32) < p).astype(np.float32)

def down(h, W, b, c):
    """Sorteo de v dado h, una letra por posición: (n, H) -> (n, L*V)."""
    logits = b + (h @ W.T).reshape(-1, *b.shape)             # (n, L, V)
    noise = -np.log(rng.standard_exponential(logits.shape, np.float32) + 1e-30)    # de Gumbel
    return one_hot((logits + noise).argmax(2), b.shape[1])   # el máximo sigue el softmax

def free_energy(v, W, b, c):
    """F(v) = -log de la suma de exp(-E(v, h)) sobre h: (n, L*V) -> (n,)."""
    return -v @ b.ravel() - np.logaddexp(0, c + v @ W).sum(1, dtype=float)

def hidden_log(h, W, b, c):
    """Lo mismo de h, sumando sobre v y con el signo cambiado: log p(h) + log Z, (n, H) -> (n,)."""
    return h @ c + np.logaddexp.reduce(b + (h @ W.T).reshape(-1, *b.shape), axis=2).sum(1)

def fit(W, b, c, below=None):
    """STEPS pasos de CD-1, en el sitio, con los nombres o (celda 7) lo que `below` ve en ellos."""
    for step in range(STEPS):
        v = x[rng.integers(len(x), size=BATCH_SIZE)]
        h = up(v, *below or (W, b, c))
        v = down(h, W, b, c) if below else v                 # en la celda 7, el dato es h
        dream = down(up(v, W, b, c), W, b, c)
        back = up(dream, W, b, c)
        rate = LEARNING_RATE * (0.2 if below else 1) * (1 - step / STEPS) / BATCH_SIZE
        W += rate * (v.T @ h - dream.T @ back)               # como antes, datos menos sueño
        b += rate * (v - dream).sum(0).reshape(b.shape)
        c += rate * (h - back).sum(0)
        live(f"   paso {step + 1} de {STEPS}" * (step + 1 < STEPS))          # el último, la borra

def dreams(n, W, b, c):
    """`n` sueños (n, L*V), tras 200 idas y vueltas desde letras al azar."""
    v = one_hot(rng.integers(b.shape[1], size=(n, len(b))), b.shape[1])
    for _ in range(200):
        v = down(up(v, W, b, c), W, b, c)
    return v

def spell(v):
    """Los nombres que hay en `v` (n, L*V), en una línea."""
    return ", ".join("".join(chars[i] for i in row).rstrip("·") for row in
                     v.reshape(-1, L, V).argmax(2))

small = [rng.normal(size=size).astype(np.float32) for size in ((6, 4), (2, 3), 4)]
v, h = one_hot(np.indices((3, 3)).reshape(2, -1).T, 3), bits(4)              # (9, 6), (16, 4)
joint = np.exp(v @ small[1].reshape(6, 1) + h @ small[2] + v @ small[0] @ h.T)    # (9, 16) todos
assert np.allclose(free_energy(v, *small), -np.log(joint.sum(1)), atol=1e-4)
assert np.allclose(hidden_log(h, *small), np.log(joint.sum(0)), atol=1e-4)
assert abs((dreams(10_000, *small) @ v.T == 2).mean(0) - joint.sum(1) / joint.sum()).sum() < 0.1
chars = "·" + "".join(sorted({*"".join(names)} - {"·"}))     # «·» rellena el final
L, V, H = max(map(len, names)), len(chars), N_HIDDEN
ids = np.array([[chars.index(char) for char in name.ljust(L, "·")] for name in names])    # (N, L)
train, val, test = np.split(ids, [int(0.8 * len(ids)), int(0.9 * len(ids))])
x = one_hot(train, V)                                        # (n, L*V)
b = np.log((x.sum(0).reshape(L, V) + 1) / (len(x) + V))      # log p(letra) en cada posición
first = [0.05 * rng.standard_normal((L * V, H), np.float32), b, np.zeros(H, np.float32)]
print(f"\n6. RBM de {L} x {V} + {H} unidades; aprende {len(train)} nombres", flush=True)
fit(*first)
for label, part in ("validación", val), ("prueba", test):
    mixed = np.array([np.r_[rng.permutation(row[row > 0]), row[row == 0]] for row in part])
    own, mixed = one_hot(part, V), one_hot(mixed, V)         # si queda igual, cuenta como fallo
    margin = free_energy(mixed, *first) - free_energy(own, *first)           # (n,)
    told = (margin > 0).mean()
    print(f"   con menos energía libre que barajados: {told:.1%} de {len(own)} de {label}")
assert told > 0.9 or (len(ids), STEPS, BATCH_SIZE, H, LEARNING_RATE) != (8446, 4000, 50, 128, 0.5)
filters = first[0].T.reshape(-1, L, V) - first[0].T.reshape(-1, L, V).mean(2, keepdims=True)
filters = filters[np.argsort(-filters[..., 1:].max((1, 2)))[:6]]
for f in filters:                                            # (L, V)
    peaks = f * (f == f.max(1, keepdims=True)) * (f > f.max() / 2)
    print(f"   filtro {spell(peaks):·<{L}}  activo en", spell(x[np.argsort(-x @ f.ravel())[:5]]))
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(6, 4))
    often = np.sort(np.argsort(-x.sum(0).reshape(L, V).sum(0))[:24])         # letras más usadas
    plt.imshow(np.hstack([np.c_[f.T[often], often * np.nan] for f in filters]), aspect="auto")
    plt.yticks(range(len(often)), [chars[i] for i in often], fontsize=9)
    plt.gca().set(xticks=[], xlabel=f"posición, de 1 a {L}, en seis unidades ocultas")
    plt.savefig(Path(PLOT) / "rbm_filtros.png", dpi=150, bbox_inches="tight")
print("   sueña", spell(dreams(8, *first)))
# Lo que no pudo: ir más hondo. Sus ocultas tienen un orden propio que ella no modela.

# %% 7. ¿Y una máquina sobre otra? (Hinton, Osindero y Teh, 2006)
# «A Fast Learning Algorithm for Deep Belief Nets»: sobre la primera, ya fija, otra que nace copia
# suya aprende lo que hacen sus ocultas. La cota de log p(v) sube <log p2(h) - log p1(h)>, con
# h ~ p(h|v). ¿Más en un nombre que en sus letras barajadas? En la resta se va log Z.
second = [w.copy() for w in first]
fit(*second, below=first)
gain = np.subtract(*((hidden_log(h, *second) - hidden_log(h, *first)).reshape(-1, 10).mean(1)
                     for h in (up(np.repeat(v, 10, 0), *first) for v in (own, mixed))))    # (n,)
mean, error = gain.mean(), gain.std() / len(gain)**0.5
print("\n7. DBN: lo que separa un nombre de prueba de sus letras barajadas, en nats: con\n"
      f"   una capa, {margin.mean():.2f}. La segunda añade {mean:+.3f}, error típico {error:.3f}: "
      + ("ayuda" if mean > 2 * error else "estorba" if mean < -2 * error else "no se nota"))
print("   dos capas sueñan", spell(down(up(dreams(8, *second), *second), *first)))
# Lo que no pudo: afinar todas las capas a la vez para un fin. Cada una se entrena sin ver el final.

# %% 8. Por qué venció la retropropagación, y qué queda
# Estas reglas son locales: cambian un peso por lo que hay a sus dos lados, sin saber cuánto cuenta
# en el resultado. La derivada lo sabe, de todos a la vez y al precio de otra pasada, sin muestreos
# (Rumelhart, Hinton y Williams, 1986); con más datos sobró aprender capa a capa. Queda la energía,
# en la difusión; el sorteo letra a letra, en cada lección. ¿Quién deriva por nosotros? La 01.

# %% Experimentos: predice antes de mirar (tal cual: 95.1 % en validación, y la segunda, +0.028)
# - STEPS = 0: ¿y si sólo sabe qué letra va en cada sitio? El 79.4 %.
# - N_HIDDEN = 16: ¿y con la octava parte de ocultas? El 94.0 %, y la segunda capa estorba: -0.015.
# - LEARNING_RATE = 0.05: si la primera aprende a medias (89.0 %), ¿añade más la segunda? +0.068.
# - STEPS = 16000: ¿y si la primera aprende cuatro veces más (95.5 %)? La segunda estorba: -0.036.

"""
00. La historia, funcionando: de la neurona de 1943 a la red profunda de 2006

Al terminar sabrás qué preguntaba cada modelo que aprendió sin retropropagación,
qué supo hacer y dónde se atascó: ahí empieza la celda siguiente.

    python 00_history.py                  todo, unos diez segundos
    python 00_history.py --steps 0        sin entrenar las máquinas de las celdas 6 y 7
    python 00_history.py --plot figuras   y además una figura
"""
import argparse
import random
import re
import signal
import sys
import unicodedata
from pathlib import Path

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"  # nombres de las celdas 6 y 7: una ruta, o un nombre de la carpeta data/
SEED = 1337           # semilla del azar
PLOT = ""             # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 4000          # pasos de entrenamiento de cada capa de las celdas 6 y 7 (0: ninguno)
BATCH_SIZE = 50       # nombres por paso
BLOCK_SIZE = 8        # letras de un nombre como mucho: los más largos no entran
N_HIDDEN = 128        # unidades ocultas de la máquina restringida
LEARNING_RATE = 0.5   # tasa de aprendizaje al empezar; baja en línea recta hasta cero

# %% Fontanería (puedes saltártela): cada constante es una opción, SEED -> --seed 7
# Lee los comentarios de arriba para hacer con ellos la ayuda. En un cuaderno mandan las constantes.
file = Path(globals().get("__file__", "cuaderno")).resolve()
if Path(sys.argv[0]).resolve() == file:                      # python o %run; pegado en celdas, no
    if hasattr(sys.stdout, "reconfigure"):                   # la salida de un cuaderno no lo tiene
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)    # «| head» acaba sin ruido
            signal.signal(signal.SIGINT, signal.SIG_DFL)     # y Ctrl-C también
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

# %% Bibliotecas, tras las opciones porque tardan un segundo en llegar
import numpy as np

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

# %% 1. ¿Puede calcular una red de síes y noes? (McCulloch y Pitts, 1943)
# «A Logical Calculus of the Ideas Immanent in Nervous Activity»: una neurona dispara, un instante
# después, si le llegan `threshold` excitaciones o más y ninguna inhibición: una sola la calla.
# No hay pesos. Y en reposo nadie dispara: el «no» pide una entrada siempre encendida.
if min(BATCH_SIZE, BLOCK_SIZE, N_HIDDEN) < 1 or SEED < 0:
    sys.exit("error: BATCH_SIZE, BLOCK_SIZE y N_HIDDEN deben ser 1 o más, y SEED, 0 o más")
rng = np.random.default_rng(SEED)

def unit(excite, inhibit, threshold):
    """La neurona de 1943: de dos listas de ceros y unos a 1, si dispara, o 0."""
    return int(sum(excite) >= threshold and not any(inhibit))

print("1. McCulloch y Pitts   a b   a y b   a o b   no a   uno solo")
for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)]:
    both = unit([a, b], [], 2)
    either = unit([a, b], [], 1)
    negation = unit([1], [a], 1)                             # el 1, siempre encendido
    only_a = unit([a], [b], 1)
    only_b = unit([b], [a], 1)
    xor = unit([only_a, only_b], [], 1)                      # dos capas: dos instantes después
    assert [both, either, negation, xor] == [a and b, a or b, 1 - a, int(a != b)]
    print(f"   {a:20} {b} {both:7} {either:7} {negation:6} {xor:10}")
state = 0
for stimulus in [0, 1, 0, 0]:                                # una red con lazos tiene memoria:
    state = unit([stimulus, state], [], 1)                   # quien se excita a sí mismo no calla
assert state == 1
# Lo que no pudo: aprender. Cada conexión la pone una persona.

# %% 2. ¿Cómo aprende una neurona sin que nadie le diga nada? (Hebb, 1949)
# «The Organization of Behavior»: si una célula ayuda una y otra vez a disparar a otra, su conexión
# crece. Son palabras; en fórmula, cada pareja x -> y suma y x^T (outer product) a una matriz, que
# las recuerda todas: Kohonen, «Correlation Matrix Memories», y Anderson, los dos en 1972.
def states(n):
    """Las 2^n filas de `n` signos: (2^n, n)."""
    return 2 * np.indices((2,) * n).reshape(n, -1).T - 1

keys = states(3).T                                           # (3, 8) ortogonales: x·x' = 0
values = np.array([[1, 1, -1], [1, -1, 1], [-1, 1, 1]])      # (3, 3)
M = values.T @ keys                                          # (3, 8) la suma de los tres y x^T
assert (keys @ M.T == 8 * values).all()                      # x·x = 8; las demás no estorban
for i in range(8):
    noisy = keys.copy()
    noisy[:, i] *= -1                                        # un signo cambiado en cada clave
    assert (np.sign(noisy @ M.T) == values).all()            # 8 - 2 a favor; en contra, 2 + 2
print("\n2. Hebb: M =", *M, sep="\n   ")
print("   la clave", keys[0], "da", M @ keys[0], "y, con un signo mal,", M @ noisy[0])

def hebb(w, x, rate, brake):
    """Los pesos (d,) tras ver x (d,): los de Hebb, y con `brake` 1 los de Oja, «Simplified Neuron
    Model as a Principal Component Analyzer» (1982), que apenas crecen."""
    y = w @ x
    return w + rate * y * (x - brake * y * w)

w, x = np.array([1.0, 0.0]), np.array([2.0, 1.0])            # a lápiz: y = 2
assert np.allclose(hebb(w, x, 0.1, 0), [1.4, 0.2])
assert np.allclose(hebb(w, x, 0.1, 1), [1.0, 0.2])           # gira lo mismo, y apenas crece
grown = braked = w
cloud = rng.normal(size=(4000, 2)) * [3, 1] @ [[0.6, 0.8], [-0.8, 0.6]]  # larga según (0.6, 0.8)
for n, x in enumerate(cloud, 1):
    grown = hebb(grown, x, 0.01, 0)
    braked = hebb(braked, x, 2 / (n + 400), 1)
    if n in (10, 100, 1000, 4000):
        print(f"   {n:4} puntos: w crece a {abs(grown).max():.0e}; con freno es {braked.round(2)}")
# Lo que no pudo: corregirse. Asocia lo que llega, acierte o no: le falta un maestro.

# %% 3. ¿Y si sólo cambia cuando se equivoca? (Rosenblatt, 1958 a 1962)
# El perceptrón, con pesos, es de 1958; corregir ante el error, de los años que siguen, como cuenta
# «Principles of Neurodynamics» (1962): si w·x no tiene el signo y, w += y x. Novikoff (1962): si
# unos pesos de norma 1 dejan un margen g y |x| <= R, habrá (R/g)^2 errores como mucho.
def perceptron(x, y, passes):
    """Los pesos (3,) tras cada error, en `passes` vueltas a x (N, 3) con respuestas y (N,)."""
    w, history = np.zeros(3, int), []
    for _ in range(passes):
        for row, sign in zip(x, y):
            if sign * (w @ row) <= 0:
                w = w + sign * row
                history.append(w)
    return history

x = np.c_[states(2), np.ones(4, int)]                        # (4, 3) el 1 es para el sesgo
xor = np.array([-1, 1, 1, -1])
history = perceptron(x, xor, passes=2)                       # síguelo a lápiz
assert np.array_equal(history[:4], history[4:])              # no para: no hay pesos que sirvan
print("\n3. Perceptrón: XOR lo lleva a", *history[:4], "y vuelta a empezar")
errors = []
for y in states(4):                                          # las 16 tablas de dos entradas
    history = perceptron(x, y, passes=20)
    if (y * (x @ history[-1]) > 0).all():
        errors.append(len(history))
assert len(errors) == 14 and max(errors) <= 9                # R^2 = 3, y g^2 es 1/3 o más
print(f"   aprende {len(errors)} tablas de 16, con {max(errors)} errores como mucho (teorema: 9)")
# Lo que no pudo: enseñar a una capa intermedia (Minsky y Papert, «Perceptrons», 1969). En 1962
# Rosenblatt mandaba las correcciones hacia atrás, a tientas: un escalón no tiene derivada útil.

# %% 4. ¿Puede una memoria completar lo que falta? (Hopfield, 1982)
# «Neural Networks and Physical Systems with Emergent Collective Computational Abilities»: pesos
# simétricos de Hebb, y cada unidad toma, a su turno, el signo de lo que recibe. La energía
# E = -1/2 s·W·s nunca sube: se cae a un valle, que es un recuerdo. Las unidades V del artículo
# valen 0 o 1; aquí s = 2V - 1, como en su regla de guardar.
DRAWING = ["##······  ·#######  ##····##  ##····##",
           "##······  ########  ###···##  ##····##",
           "##······  ##······  ####··##  ##····##",
           "##······  #######·  ##·##·##  ·##··##·",
           "##······  ·#######  ##··####  ·##··##·",
           "##······  ······##  ##···###  ··####··",
           "########  ########  ##····##  ··####··",
           "########  #######·  ##····##  ···##···"]

def memory(patterns):
    """Pesos de Hebb de patrones (P, N), sin que ninguna unidad se mire a sí misma: (N, N)."""
    return patterns.T @ patterns * (1 - np.eye(patterns.shape[1]))

def energy(s, W):
    """E = -1/2 s·W·s de cada estado de `s` (M, N): (M,)."""
    return -0.5 * (s @ W * s).sum(1)

def settle(s, W):
    """Los estados (M, N) en que acaban los de `s`: vueltas hasta que nadie cambia."""
    s, before = s.copy(), None
    while not np.array_equal(s, before):
        before = s.copy()
        for i in rng.permutation(s.shape[1]):
            field = s @ W[i]                                 # (M,)
            s[:, i] = np.where(field == 0, s[:, i], np.sign(field))
        assert (energy(s, W) <= energy(before, W)).all()     # una vuelta nunca sube
    return s

def show(patterns):
    """Dibuja en fila patrones de ±1 (M, 64); cada carácter son dos píxeles, uno sobre otro."""
    for top in range(0, 64, 16):
        line = " "
        for s in patterns > 0:
            line += "  "
            for j in range(top, top + 8):
                line += "·▀▄█"[s[j] + 2 * s[j + 8]]
        print(line)

changed = 1 - 2 * np.tri(5, 4, -1)                           # de ++++ a ----, de una en una
hills = energy(changed, memory(changed[:1]))                 # a lápiz: sólo se guarda ++++
assert (hills == [-6, 0, 2, 0, -6]).all()                    # y su negativo también es un valle
print("\n4. Hopfield guarda ++++; la energía de ++++ -+++ --++ ---+ ---- es", hills.astype(int))
grid = [line.split() for line in DRAWING]                    # 8 filas de 4 trozos
letters = np.array([[char for row in grid for char in row[k]] for k in range(4)])
letters = np.where(letters == "#", 1.0, -1.0)                # (4, 64)
W = memory(letters)                                          # (64, 64)
noisy = np.tile(letters, (25, 1))                            # (100, 64)
for row in noisy:
    row[rng.permutation(64)[:12]] *= -1
recalled = settle(noisy, W)
right = (recalled == np.tile(letters, (25, 1))).all(1).sum()
spurious = np.array([-letters[0], np.sign(letters[:3].sum(0))])
assert (settle(spurious, W) == spurious).all()               # dos valles que nadie guardó
print(f"   con 12 píxeles de 64 cambiados recuerda {right} de 100: cuatro, antes y después, y dos\n"
      "   recuerdos falsos (spurious states), un negativo y una mezcla de tres letras")
show(noisy[:4])
show(recalled[:4])
show(spurious)
# ¿Cuántos caben? Con patrones al azar y N grande, 0.138 por unidad; después todo se hunde (Amit,
# Gutfreund y Sompolinsky, «Storing Infinite Numbers of Patterns in a Spin-Glass Model», 1985).
for load in (0.05, 0.10, 0.13, 0.16, 0.20):
    stored = rng.choice([-1.0, 1.0], (int(load * 400), 400))
    kept = (settle(stored, memory(stored)) == stored).mean()
    print(f"   con {load:.2f} patrones por unidad se conserva el {kept:.1%} de los signos")
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(6, 3))
    for k, s in enumerate([*noisy[:4], *recalled[:4]], 1):
        plt.subplot(2, 4, k)
        plt.imshow(s.reshape(8, 8))
        plt.axis("off")
    plt.savefig(Path(PLOT) / "hopfield.png", dpi=150, bbox_inches="tight")
# Lo que no pudo: salir de un valle malo, ni inventarse unidades que los datos no traen.

# %% 5. ¿Y si las unidades dudan? (Ackley, Hinton y Sejnowski, 1985)
# «A Learning Algorithm for Boltzmann Machines»: cada unidad se enciende con probabilidad
# 1 / (1 + exp(-D/T)), donde D es lo que baja la energía al encenderla: aquí, dos veces lo que
# recibe. A la larga cada estado sale con probabilidad exp(-E/T) / Z.
def sigmoid(x):
    """1 / (1 + exp(-x)), escrita como (1 + tanh(x/2)) / 2, que es lo mismo y no se desborda."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)

def gibbs(s, W, T=1.0, first=0):
    """Copia de `s` (M, N) tras sortear, una a una, sus unidades desde `first`: una pasada."""
    s = s.copy()
    for i in range(first, s.shape[1]):
        on = sigmoid(2 * (s @ W[i]) / T)                     # (M,)
        s[:, i] = np.where(rng.random(len(s)) < on, 1, -1)
    return s

W = np.array([[0, 0.5], [0.5, 0]])                           # dos unidades que quieren ser iguales
chains = np.ones((20_000, 2))
for _ in range(20):
    chains = gibbs(chains, W)
drawn = [(chains == s).all(1).mean() for s in states(2)]
p = np.exp(-energy(states(2), W))                            # E es -0.5 o 0.5
p /= p.sum()
assert abs(drawn - p).max() < 0.03
print(f"\n5. Boltzmann: -- -+ +- ++ salen {np.round(drawn, 3)}; deben, {p.round(3)}")
# Enfriar despacio (simulated annealing; Kirkpatrick, Gelatt y Vecchi, 1983) salta malos valles.
hard = memory(rng.choice([-1.0, 1.0], (50, 100)))            # una memoria que rebosa
s = rng.choice([-1.0, 1.0], (40, 100))
fast = energy(settle(s, hard), hard).mean()
for T in np.linspace(150, 5, 60):
    s = gibbs(s, hard, T)
slow = energy(settle(s, hard), hard).mean()
print(f"   energía media: {fast:.0f} si se baja sin más y {slow:.0f} si se enfría despacio")
# Aprender: W += <s s^T> con los datos fijos (clamped) - <s s^T> en libertad, que es -dKL/dW. En la
# paridad de tres bits ninguna pareja está correlacionada: sin ocultas no hay nada que aprender.
parity = states(3)[states(3).prod(1) == 1]                   # (4, 3) los de producto 1
assert (parity.T @ parity == 4 * np.eye(3)).all()

def divergence(W):
    """KL, en nats, de `parity` a lo que dan las unidades 1 a 3 si la 0 está fija en 1."""
    n = len(W) - 1
    s = np.c_[np.ones(2**n), states(n)]                      # (2^n, n + 1)
    p = np.exp(-energy(s, W))
    q = [p[(s[:, 1:4] == row).all(1)].sum() / p.sum() for row in parity]
    return -np.log(4 * np.array(q)).mean()

print("   KL a la paridad, cada 300 pasos")
for hidden, label in (0, "sin ocultas (log 2 = 0.693)"), (4, "con cuatro ocultas"):
    W = memory(rng.uniform(-0.5, 0.5, (4, 4 + hidden)))      # la unidad 0 da los sesgos
    clamped = np.c_[np.ones(400), np.tile(parity, (100, 1)), np.ones((400, hidden))]
    free, history = clamped, []
    for step in range(1501):
        if step % 300 == 0:
            history.append(divergence(W))
        clamped = gibbs(clamped, W, first=4)                 # se sortean sólo las ocultas
        for _ in range(2):
            free = gibbs(free, W, first=1)
        W += 0.1 * (1 - step / 1501) * (clamped.T @ clamped - free.T @ free) / 400
    assert hidden > 0 or min(history) > np.log(2) - 1e-9     # sólo con parejas no se puede bajar
    print(f"   {label:29}", *[f"{kl:6.3f}" for kl in history])
# Lo que no pudo: ir deprisa. Cada paso pide dos muestreos largos, unidad a unidad.

# %% 6. ¿Y si las de una capa no se hablan? (Smolensky, 1986; Hinton, 2002)
# Sin conexiones dentro de una capa (restricted Boltzmann machine; Smolensky la llamó «harmonium»),
# toda ella se sortea de un golpe. Hinton, «Training Products of Experts by Minimizing Contrastive
# Divergence»: en vez de esperar al equilibrio basta dar un paso desde el dato (CD-1). Aquí lo
# visible, `v`, es un nombre: una letra de V en cada posición. Lo oculto, `h`, vale 0 o 1.
def one_hot(ids, V):
    """Un 1 por posición: ids (n, L) -> (n, L*V) float32."""
    return np.eye(V, dtype=np.float32)[ids].reshape(len(ids), -1)

def up(v, W, b, c):
    """Sorteo de h dado v: (n, L*V) -> (n, H), con W (L*V, H), b (L, V), c (H,)."""
    on = sigmoid(c + v @ W)                                  # (n, H)
    return (rng.random(on.shape) < on).astype(np.float32)

def down(h, W, b, c):
    """Sorteo de v dado h, una letra por posición con probabilidad softmax: (n, H) -> (n, L*V)."""
    logits = b + (h @ W.T).reshape(-1, *b.shape)             # (n, L, V)
    sectors = np.exp(logits - logits.max(2, keepdims=True))  # una ruleta, un sector por letra
    ends = sectors.cumsum(2)                                 # donde acaba cada sector
    ball = rng.random((len(h), len(b), 1)) * ends[:, :, -1:]                 # (n, L, 1)
    return one_hot((ends < ball).sum(2), b.shape[1])         # la bola deja atrás ese número

def dreams(n, W, b, c):
    """`n` sueños (n, L*V), tras 200 idas y vueltas desde letras al azar."""
    L, V = b.shape
    v = one_hot(rng.integers(V, size=(n, L)), V)
    for _ in range(200):
        v = down(up(v, W, b, c), W, b, c)
    return v

def free_energy(v, W, b, c):
    """F(v) = -log de la suma sobre h de exp(-E), con E = -b·v - c·h - v·W·h: (n, L*V) -> (n,)."""
    return -v @ b.ravel() - np.logaddexp(0, c + v @ W).sum(1)

# A lápiz: una posición, dos letras y una oculta que da 2 a la segunda. De los cuatro estados, tres
# pesan 1, y el otro, e^2: p(segunda) = (1 + e^2) / (3 + e^2) = 0.807.
tiny = np.array([[0.0], [2.0]]), np.zeros((1, 2)), np.zeros(1)
weights = np.log([2, 1 + np.e**2])
assert np.allclose(-free_energy(np.eye(2), *tiny), weights)
drawn = dreams(20_000, *tiny)[:, 1].mean()
assert abs(drawn - 0.807) < 0.03
print(f"\n6. RBM mínima: en sus sueños, la segunda letra sale {drawn:.3f} veces (exacto, 0.807)")

names = sorted({line.strip() for line in text.lower().split("\n")})
names = [name for name in names if 0 < len(name) <= BLOCK_SIZE]
random.Random(42).shuffle(names)
if len(names) < 10:
    sys.exit(f"error: «{DATA}» tiene {len(names)} líneas distintas de hasta {BLOCK_SIZE} letras y "
             "hacen falta 10 o más: sube BLOCK_SIZE o elige otro texto con --data")
chars = "·" + "".join(sorted({*"".join(names)} - {"·"}))     # «·» rellena el final
L, V = max(map(len, names)), len(chars)
ids = np.array([[chars.index(char) for char in name.ljust(L, "·")] for name in names])    # (N, L)
cut = int(0.8 * len(ids))
data = one_hot(ids[:cut], V)                                 # (n, L*V) para aprender
own = one_hot(ids[cut:], V)                                  # (m, L*V) para validar
for row in ids[cut:]:
    row[row > 0] = rng.permutation(row[row > 0])             # y los de validar, barajados
mixed = one_hot(ids[cut:], V)

def spell(v):
    """Los nombres que hay en `v` (n, L*V), en una línea."""
    rows = v.reshape(-1, L, V).argmax(2)
    return ", ".join("".join(chars[i] for i in row).rstrip("·") for row in rows)

def learn(v, h, dream_v, dream_h, rate, W, b, c):
    """Un paso de CD-1, en el sitio: hacia el dato (v, h) y en contra del sueño."""
    rate = rate / len(v)
    W += rate * (v.T @ h - dream_v.T @ dream_h)
    b += rate * (v - dream_v).sum(0).reshape(b.shape)
    c += rate * (h - dream_h).sum(0)

often = data.sum(0).reshape(L, V) + 1
first = [0.05 * rng.standard_normal((L * V, N_HIDDEN), np.float32),
         np.log(often / often.sum(1, keepdims=True)),        # log p(letra) en cada posición
         np.zeros(N_HIDDEN, np.float32)]
for step in range(STEPS):
    v = data[rng.integers(len(data), size=BATCH_SIZE)]
    h = up(v, *first)
    dream_v = down(h, *first)
    dream_h = up(dream_v, *first)
    learn(v, h, dream_v, dream_h, LEARNING_RATE * (1 - step / STEPS), *first)
margin = free_energy(mixed, *first) - free_energy(own, *first)               # (n,)
print(f"   RBM de {L} x {V} + {N_HIDDEN}: con {len(data)} nombres aprendidos, de otros {len(own)}\n"
      f"   el {(margin > 0).mean():.1%} tiene menos energía libre que con sus letras barajadas")
for row in first[0].T[:3]:                                   # (L*V,) los pesos de una oculta
    print("   una oculta prefiere", spell(data[np.argsort(-data @ row)[:6]]))
print("   sueña", spell(dreams(8, *first)))
# Lo que no pudo: ir más hondo. Sus ocultas tienen un orden propio que ella no modela.

# %% 7. ¿Y una máquina sobre otra? (Hinton, Osindero y Teh, 2006)
# «A Fast Learning Algorithm for Deep Belief Nets»: sobre la primera, ya fija, otra que nace copia
# suya aprende lo que hacen sus ocultas: ahora el dato es h. La cota de log p(v) sube
# <log p2(h) - log p1(h)>, con h ~ p(h|v). ¿Más en un nombre que barajado? En la resta se va log Z.
def hidden_log(h, W, b, c):
    """Lo mismo de h, sumando sobre v y con el signo cambiado: log p(h) + log Z, (n, H) -> (n,)."""
    logits = b + (h @ W.T).reshape(-1, *b.shape)             # (n, L, V)
    return h @ c + np.logaddexp.reduce(logits, axis=2).sum(1)

assert np.allclose(hidden_log(np.array([[0], [1]]), *tiny), weights)
second = [w.copy() for w in first]
for step in range(STEPS):
    h = up(data[rng.integers(len(data), size=BATCH_SIZE)], *first)
    v = down(h, *second)
    dream_h = up(v, *second)
    dream_v = down(dream_h, *second)
    learn(v, h, dream_v, dream_h, LEARNING_RATE * (1 - step / STEPS), *second)

def rise(v):
    """<log p2(h) - log p1(h)>, sin log Z, de cada nombre (n, L*V), con diez sorteos de h: (n,)."""
    h = up(np.repeat(v, 10, 0), *first)
    return (hidden_log(h, *second) - hidden_log(h, *first)).reshape(-1, 10).mean(1)

gain = rise(own) - rise(mixed)                               # (n,)
error = gain.std() / len(gain)**0.5
print("\n7. DBN: lo que separa un nombre nuevo de sus letras barajadas, en nats: con\n"
      f"   una capa, {margin.mean():.2f}; la segunda añade {gain.mean():+.3f} ± {error:.3f}")
print("   dos capas sueñan", spell(down(up(dreams(8, *second), *second), *first)))
# El artículo afina luego todas las capas a la vez (contrastive wake-sleep). Y así, capa a capa, se
# preparó (pre-training) a redes que después se afinan con derivadas: Hinton y Salakhutdinov (2006),
# y Bengio, Lamblin, Popovici y Larochelle, «Greedy Layer-Wise Training of Deep Networks» (2007).

# %% 8. Por qué venció la retropropagación, y qué queda
# Estas reglas son locales: cambian un peso por lo que hay a sus dos lados, sin saber cuánto cuenta
# en el resultado. La derivada lo sabe, de todos a la vez y al precio de otra pasada, sin muestreos
# (Rumelhart, Hinton y Williams, 1986). Preparar capa a capa se dejó por varias causas: con ReLU y
# muchas etiquetas no hace falta (Glorot, Bordes y Bengio, «Deep Sparse Rectifier Neural Networks»,
# 2011), Z no hay quien la sume y los muestreos tardan. ¿Quién deriva por nosotros? La 01.

# %% Experimentos: predice antes de mirar (tal cual: el 95.1 %, y la segunda capa añade +0.042)
# - STEPS = 0: ¿y si sólo sabe qué letra va en cada sitio? El 77.9 %.
# - N_HIDDEN = 16: ¿y con la octava parte de ocultas? El 93.9 %; la segunda añade menos, +0.022.
# - LEARNING_RATE = 0.05: si la primera aprende a medias, el 87.6 %, ¿añade más la segunda? +0.081.

"""
02. Bigramas: un modelo de lenguaje que sólo cuenta

Al terminar sabrás qué es un modelo de lenguaje (language model), qué mide su
pérdida, cómo se le hace escribir, y por qué una red de una capa, entrenada por
descenso de gradiente (gradient descent), llega al mismo sitio que contar
parejas de caracteres. Y verás por qué contar no lleva más lejos.

    python 02_bigram.py                     inventa pueblos, en segundos
    python 02_bigram.py --data poesia.txt   lo mismo, con versos
    python 02_bigram.py --steps 0           sólo las piezas y sus pruebas
    python 02_bigram.py --plot figuras      además, el mapa de las parejas
    python sample.py ckpt_bigram.pt         el modelo habla

Fuentes: Shannon, «A Mathematical Theory of Communication» (1948), apartados 3
y 6; Jelinek y Mercer, «Interpolated Estimation of Markov Source Parameters
from Sparse Data» (1980); Bengio et al., «A Neural Probabilistic Language
Model» (2003), apartado 1.
"""
import argparse
import math
import os
import random
import re
import shutil
import signal
import sys
import time
import timeit
import unicodedata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"    # texto de trabajo, un ejemplo por línea: una ruta, o un nombre de data/
OUT = "ckpt_bigram.pt"  # punto de control (checkpoint) que se escribe
SEED = 1337             # semilla del azar
PLOT = ""               # carpeta donde guardar la figura (vacía: ninguna; pide matplotlib)
SMOOTHING = 0.03        # lo que se suma a cada cuenta, para que ninguna pareja sea imposible
STEPS = 20000           # pasos del descenso de gradiente (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 4000    # pasos entre evaluaciones
LEARNING_RATE = 50.0    # tasa de aprendizaje, siempre la misma

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

# %% Las líneas, en tres partes
# Un ejemplo por línea. «\n» es la frontera: dice a la vez dónde acaba uno y dónde empieza el otro.
# El 80 % se entrena, con otro 10 % se elige (validación) y el último (prueba) se mira una sola vez.
def encode(text):
    """Ids de los caracteres de `text`, que deben estar en el vocabulario: (N,) int64."""
    return torch.tensor([ids[char] for char in text])

def decode(row):
    """El texto de una lista de ids."""
    return "".join(chars[i] for i in row)

lines = [line.strip() for line in text.split("\n") if line.strip()]
if len(lines) < 10:
    sys.exit(f"error: «{DATA}» tiene {len(lines)} líneas con texto y hacen falta 10 o más")
random.Random(42).shuffle(lines)                             # la misma partición con toda SEED
chars = "".join(sorted({"\n", *"".join(lines)}))             # id -> carácter
ids = {char: i for i, char in enumerate(chars)}              # carácter -> id
V, NL = len(chars), ids["\n"]                                # tamaño del vocabulario; la frontera
cut, end = int(0.8 * len(lines)), int(0.9 * len(lines))
train, val, test = lines[:cut], lines[cut:end], lines[end:]
known = set(train)
repeated = sum(line in known for line in val)
print(f"{len(lines)} líneas; de las {len(val)} de validar, {repeated} están entre las de entrenar")


# %% 1. Contar parejas
# Un modelo de lenguaje dice qué viene después. El más simple mira sólo el carácter anterior: le
# basta saber cuántas veces sale cada pareja (bigram). La pareja (a, b) es el número a·V + b, y
# bincount cuenta números de una vez: ni un bucle sobre el texto.
def count(a, b):
    """Veces que a cada carácter de `a` (N,) le sigue el de `b` (N,): (V, V), fila = el anterior."""
    return torch.bincount(a * V + b, minlength=V * V).view(V, V)


if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if EVAL_INTERVAL < 1 or not 0 < SMOOTHING < math.inf:
    sys.exit("error: EVAL_INTERVAL debe ser 1 o más, y SMOOTHING mayor que 0")
train, val, test = (encode("\n" + "\n".join(part) + "\n") for part in (train, val, test))
counts = count(train[:-1], train[1:])                        # (V, V) las que aprende el modelo
whole = encode("\n".join(["", *filter(None, map(str.strip, text.split("\n"))), ""]))   # en su orden
piece = whole[:1_000_000]                                    # que el bucle no se eternice
piece_ids, pairs, tick = piece.tolist(), {}, time.perf_counter()
for pair in zip(piece_ids, piece_ids[1:]):
    pairs[pair] = pairs.get(pair, 0) + 1
slow = time.perf_counter() - tick
fast = min(timeit.repeat(lambda: count(piece[:-1], piece[1:]), number=1, repeat=9))
table = count(piece[:-1], piece[1:])                         # (V, V)
assert pairs == {(a, b): table[a, b].item() for a, b in table.nonzero().tolist()}
print(f"1. {len(lines)} líneas, {V} caracteres contando la frontera\n   para entrenar, "
      f"{len(train) - 1} parejas, {(counts > 0).sum()} distintas de {V * V} posibles")
print(f"   contar {len(piece) - 1} parejas: un bucle {1e3 * slow:.0f} ms, bincount "
      f"{1e3 * fast:.2f} ms, {slow / fast:.0f} veces menos")


# %% 2. De cuentas a probabilidades
# Cada fila, dividida por su suma, dice qué sigue a un carácter. Sumar antes un poco a cada cuenta
# (suavizar, smoothing; Lidstone, 1920) es hacer como si todas las parejas se hubieran visto.
def probabilities(counts, smoothing):
    """Las filas de `counts + smoothing`, divididas por su suma; si suma 0, ceros: (V, V)."""
    n = counts.double() + smoothing
    return n / n.sum(1, keepdim=True).clamp(min=1e-300)      # (V, V) / (V, 1)


raw, P = probabilities(counts, 0), probabilities(counts, SMOOTHING)
assert (P.sum(1) - 1).abs().max() < 1e-9
# El error de siempre: sin keepdim, las sumas (V,) se alinean con las columnas (broadcasting), y la
# casilla (i, j) se divide por la suma de la fila j. Y no salta a la vista: como cada carácter es
# tantas veces el primero de una pareja como el segundo, son las columnas las que suman 1.
wrong = (n := counts.double() + 1) / n.sum(1)                      # (V, V) / (V,)
assert (wrong.sum(0) - 1).abs().max() < 1e-9
print(f"\n2. sin keepdim, las filas suman de {wrong.sum(1).min():.2f} a {wrong.sum(1).max():.2f}")
try:
    assert (wrong.sum(1) - 1).abs().max() < 1e-9, "hay filas que no suman 1"
except AssertionError as e:
    print(f"   lo caza un assert: «{e}»")
print("   tras     sigue con probabilidad")
often = counts.sum(1).argsort(descending=True)               # (V,) caracteres, por frecuencia
for a in often[:7].tolist():
    p, b = P[a].topk(min(6, V))
    print(f"   {chars[a]!r:5} " + "".join(f"{chars[i]!r:>6} {q:.2f}" for q, i in zip(p, b)))
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    some = often[:40].sort().values                          # más de 40 caracteres no se leerían
    names = [{"\n": "\\n", " ": "·"}.get(chars[i], chars[i]) for i in some]
    plt.figure(figsize=(9, 8))
    plt.imshow(P[some][:, some].numpy(), norm="log", vmin=1e-4, vmax=1, cmap="viridis")
    plt.xticks(range(len(names)), names), plt.yticks(range(len(names)), names)
    plt.xlabel("carácter siguiente (· es el espacio)"), plt.ylabel("carácter anterior")
    plt.colorbar(label="probabilidad", extend="min", shrink=0.8)
    plt.savefig(Path(PLOT) / "bigramas.png", dpi=150, bbox_inches="tight")


# %% 3. La pérdida: cuánto sorprende lo que viene
# La verosimilitud (likelihood) de un texto es el producto de sus probabilidades, y se hunde hasta
# el 0 del ordenador: por eso se suman logaritmos. Con el signo cambiado y la media, queda la
# pérdida (negative log-likelihood, NLL): nats de sorpresa por carácter.
def nll(log_p, ids):
    """Pérdida de los logaritmos `log_p` (V, V) en todas las parejas de `ids`, nats por carácter."""
    return -log_p[ids[:-1], ids[1:]].mean().item()


word = min(lines[:cut], key=lambda line: (abs(len(line) - 5), line))
log_p, log_raw, by_hand = P.log(), raw.log(), []
print("\n3. a mano:  pareja          probabilidad    logaritmo")
for a, b in zip("\n" + word, word + "\n"):
    seen, total = counts[ids[a], ids[b]], counts[ids[a]].sum()
    by_hand.append((seen.item() + SMOOTHING) / (total.item() + V * SMOOTHING))
    if len(by_hand) <= 8:
        print(f"            {a!r:4} -> {b!r:4} {by_hand[-1]:16.4f} {math.log(by_hand[-1]):12.4f}")
surprise = -sum(map(math.log, by_hand))
print(f"   {word[:12]!r}: verosimilitud {math.prod(by_hand):.1e}, logaritmo {-surprise:.4f}, "
      f"pérdida {surprise / len(by_hand):.4f}")
assert math.isclose(surprise / len(by_hand), nll(log_p, encode(f"\n{word}\n")), rel_tol=1e-9)
# La perplejidad (perplexity), e elevado a la pérdida, dice entre cuántos caracteres igual de
# probables se duda: a ciegas, V. Una sola pareja nunca vista hace infinita la pérdida sin suavizar.
splits = {"train": train, "val": val, "test": test}
losses = {name: nll(log_p, row) for name, row in splits.items()}
print("   parte   parejas   nunca vistas   sin suavizar   suavizada   perplejidad")
for name, row in splits.items():
    never = (counts[row[:-1], row[1:]] == 0).sum()
    print(f"   {name:5} {len(row) - 1:9d} {never:14d} {nll(log_raw, row):14.4f} "
          f"{losses[name]:11.4f} {math.exp(losses[name]):13.2f}")
    assert (never > 0) == math.isinf(nll(log_raw, row))
# Sobre las mismas líneas que se contaron, ninguna tabla pierde menos que las cuentas sin suavizar:
# la entropía de la pareja menos la de su primer carácter (Shannon, apartado 6). Con names.txt suele
# citarse 2.4541: sumar doscientos mil términos uno a uno en float32 redondea. La exacta es 2.4540.
every = count(whole[:-1], whole[1:]).double() / (len(whole) - 1)
terms = probabilities(every, 0).log()[whole[:-1], whole[1:]]                           # (N,)
least, entropy = -terms.mean().item(), torch.special.entr
assert math.isclose(least, entropy(every).sum() - entropy(every.sum(1)).sum(), abs_tol=1e-9)
print(f"   todas las líneas, sin suavizar: {least:.4f}; sumando en float32, "
      f"{-terms.numpy().cumsum(dtype=np.float32)[-1] / len(terms):.4f}")
# ¿Cuánto suavizar? Lo decide la validación. Debajo, lo que hace con una pareja nunca vista.
tried = {s: nll(probabilities(counts, s).log(), val) for s in (0.001, 0.01, 0.03, 0.1, 0.3, 1, 10)}
print("   suavizado  " + "".join(f"{s:8g}" for s in tried))
print("   validación " + "".join(f"{loss:8.4f}" for loss in tried.values()))
new = (counts[val[:-1], val[1:]] == 0).nonzero()             # (parejas nunca vistas, 1)
if len(new):
    a, b = val[new[0]], val[new[0] + 1]
    line = lines[cut:][(val[:new[0] + 1] == NL).sum() - 1]
    sharp, smooth = (nll(table, encode(f"\n{line}\n")) for table in (log_raw, log_p))
    assert sharp == math.inf > smooth
    print(f"   {line[:40]!r}: {chars[a] + chars[b]!r} nunca se vio;\n   su probabilidad pasa de 0 "
          f"a {P[a, b].item():.0e}, y la pérdida de la línea de {sharp} a {smooth:.4f}")


# %% 4. Escribir: sortear el siguiente, y otra vez
# Se parte de la frontera; multinomial sortea el siguiente según la fila del último, y así hasta que
# vuelve a salir la frontera. Al lado, lo mismo con todos los caracteres igual de probables.
def generate(p, num, length):
    """`num` textos que empiezan en la frontera y siguen según `p` (V, V): ids (num, length + 1)."""
    ids = torch.full((num, 1), NL)
    for _ in range(length):
        ids = torch.cat([ids, torch.multinomial(p[ids[:, -1]], 1)], dim=1)             # (num, t)
    return ids


torch.manual_seed(SEED)
uniform = torch.full((V, V), 1 / V, dtype=torch.float64)
ours, noise = generate(P, 2000, 40), generate(uniform, 8, 40)                          # (K, T)
print("\n4. con la matriz                      a ciegas")
for pair in zip(ours, noise):
    print("   " + "   ".join(f"{decode(ids).split(chr(10))[1][:32]:32}" for ids in pair).rstrip())
# ¿Sigue lo sorteado a la matriz? Tras n visitas a una fila, cada cuenta se aparta de n·p unas pocas
# desviaciones típicas. La cota de Bernstein, con 50, falla menos de una vez en mil millones.
drawn = count(ours[:, :-1].flatten(), ours[:, 1:].flatten())                           # (V, V)
n = drawn.sum(1, keepdim=True)                                                         # (V, 1)
assert ((drawn - n * P).abs() <= (2 * 50 * n * P * (1 - P)).sqrt() + 2 / 3 * 50).all()
far = [(q[often[0]] - P[often[0]]).abs().sum() / 2 for q in (drawn / n, uniform)]   # 0 a 1
print(f"   tras {chars[often[0]]!r}, {n[often[0]].item()} sorteos distan de la matriz "
      f"{far[0]:.3f}; el azar uniforme, {far[1]:.3f}")

# %% Guardar: entero o nada
def save(checkpoint, path):
    """Escribe `checkpoint` aparte y lo pone en `path` de golpe: se verá el viejo o el nuevo."""
    aside = Path(f"{path}.tmp")
    try:
        with open(aside, "wb", buffering=0) as f:
            torch.save(checkpoint, f)
            os.fsync(f)
        os.replace(aside, path)
    except (OSError, RuntimeError):                          # torch dice RuntimeError si no cabe
        aside.unlink(missing_ok=True)
        sys.exit(f"error: no puedo guardar «{path}»: ¿cabe en el disco? Elige otro sitio con --out")

# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)


# %% 5. El mismo modelo, como red
# Un carácter es un vector con un 1 en su puesto (one-hot), y la capa lineal W (V, V) da una nota
# (logit) a cada siguiente: multiplicar por un one-hot es quedarse con una fila. softmax hace de las
# notas probabilidades, y la pérdida de siempre se llama ahora entropía cruzada (cross-entropy).
a, b = train[:-1][:200], train[1:][:200]                                               # (M,)
W = torch.randn(V, V, dtype=torch.float64, requires_grad=True)
x, y = F.one_hot(a, V).double(), F.one_hot(b, V).double()                              # (M, V)
logits = x @ W                                                                         # (M, V)
assert torch.equal(logits, W[a])
p = logits.exp() / logits.exp().sum(1, keepdim=True)                                   # (M, V)
loss = -p[torch.arange(len(b)), b].log().mean()
assert torch.allclose(loss, F.cross_entropy(logits, b))
# El gradiente, en papel. La pérdida de un ejemplo es L = -log p_b = -z_b + log Σ_j e^z_j. Derivar
# -z_b da -1 en j = b y 0 en los demás: -y_j. Derivar el logaritmo da e^z_j / Σ e^z = p_j. En total,
# ∂L/∂z_j = p_j - y_j: lo que se dijo menos lo que pasó. Por z = x W, ∂L/∂W = xᵀ (p - y).
loss.backward()
assert torch.allclose(W.grad, x.T @ (p - y) / len(b))


# Todas las veces que sale una pareja dicen lo mismo: basta tomarla una vez, con su peso. Así un
# paso sobre todo el texto cuesta V x V, mida el texto lo que mida.
def by_pairs(W, share):
    """Pérdida de la red `W` y su gradiente; `share` es la fracción de cada pareja: todo (V, V)."""
    log_p = F.log_softmax(W, dim=1)
    return -(share * log_p).sum(), share.sum(1, keepdim=True) * log_p.exp() - share


same, gradient = by_pairs(W.detach(), count(a, b).double() / len(b))
assert torch.allclose(same, loss) and torch.allclose(gradient, W.grad)
print(f"\n5. entropía cruzada {loss:.4f}, por parejas {same:.4f}; gradiente p - y, como autograd")
# El descenso. La pérdida es convexa: se parte de W = 0, donde todo es igual de probable. El límite
# son las cuentas sin suavizar, y se acerca cada vez más despacio: lo nunca visto pide una nota de
# -∞, y el gradiente de la fila de un carácter raro es pequeño como lo poco que sale.
share, limit = (counts / counts.sum()).float(), nll(log_raw, train)
W, done, seconds = torch.zeros(V, V), 0, 0.0
assert math.isclose(by_pairs(W, share)[0], math.log(V), rel_tol=1e-4)
print(f"   {STEPS} pasos, cada uno con las {len(train) - 1} parejas; el límite es {limit:.4f}")
try:
    for step in range(1, STEPS + 1):
        tick = time.perf_counter()
        loss, gradient = by_pairs(W, share)
        W -= LEARNING_RATE * gradient
        if not math.isfinite(loss.item()):
            sys.exit(f"error: la pérdida dejó de ser finita en el paso {step}: baja LEARNING_RATE")
        done = step
        seconds += time.perf_counter() - tick
        pace = seconds / step
        if step % 50 == 0:
            live(f"{step}/{STEPS}   pérdida {loss:.3f}   {(len(train) - 1) / pace:.0f} caracteres/s   "
                 f"faltan {(STEPS - step) * pace:.0f} s")
        if step % EVAL_INTERVAL == 0 or step == STEPS:
            reached = nll(W.log_softmax(1), train)
            live("")
            print(f"   paso {step:6d}   train {reached:.4f}   val {nll(W.log_softmax(1), val):.4f}   "
                  f"al límite le faltan {reached - limit:.4f}", flush=True)
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")
if done:
    save({"format": 1, "model": "bigram", "config": {}, "chars": chars,
          "weights": {"log_p": log_p.float()}, "data": Path(DATA).name, "step": done,
          "train_loss": losses["train"], "val_loss": losses["val"]}, OUT)
    print(f"   tabla guardada en {OUT}")

# El decaimiento de los pesos (weight decay) tira de W hacia 0, el azar uniforme; suavizar tira de
# las cuentas al mismo sitio. Con más decaimiento, la red se parece a cuentas más suavizadas.
# La distancia es la variación total, de 0 a 1, media de las filas según su frecuencia.
gap = lambda p, q: ((p - q).abs().sum(1) / 2 @ share.sum(1).double()).item()
print("   decaimiento   distancia al azar   a las cuentas   a las suavizadas con")
far = [1.0]
for decay in (1e-4, 1e-3, 1e-2):
    net, rate = torch.zeros(V, V), 1 / (share.sum(1).max() / 2 + decay)  # 1 / la mayor curvatura
    for _ in range(min(2000, 50_000_000 // V**2 + 1)):                   # a más letras, menos
        net -= rate * (by_pairs(net, share)[1] + decay * net)
    net = net.softmax(1)
    near, s = min((gap(net, probabilities(counts, s)), s) for s in np.logspace(-2, 5, 71))
    far.append(gap(net, uniform))
    assert far[-1] < far[-2] + 1e-5
    print(f"   {decay:11.0e} {far[-1]:19.4f} {gap(net, raw):15.4f} {near:11.4f} {s:10.3g}")


# %% 6. Más contexto, y por qué no basta con contar
# Contar tríos (trigram) es lo mismo: una ventana de k + 1 caracteres es un número en base V. Pero
# muchos contextos no se han visto nunca. Jelinek y Mercer mezclan (interpolation) cada orden con el
# anterior, p = λ · cuentas + (1 - λ) · p del contexto más corto, y λ lo elige la validación.
def grams(ids, k):
    """Cada carácter de `ids` (N,) y sus `k` anteriores en su línea, como un número: (N - 1,)."""
    code, past = ids[1:], ids[:-1]
    for i in range(1, k + 1):
        code = code + V**i * past
        past = torch.where(past == NL, NL, past.roll(1))
    return code


def times(wanted, seen):
    """Veces que sale en `seen` (N,) cada número de `wanted` (M,), sin recorrerlos: (M,)."""
    keys, n = seen.unique(return_counts=True)
    i = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[i] == wanted, n[i], 0)


assert torch.equal(times(grams(val, 1), grams(train, 1)), counts[val[:-1], val[1:]])
parts = [grams(ids, 4) for ids in splits.values()]
code, sizes = torch.cat(parts), [*map(len, parts)]                                     # (M,)
p = uniform[0, 0].expand(len(code))                                                    # (M,)
print("\n6. contexto    parámetros   usados   contextos nuevos       λ   train      val")
for k in range(5):
    wanted, seen = code % V**(k + 1), parts[0] % V**(k + 1)
    visits = times(wanted // V, seen // V)                   # veces que se vio cada contexto
    q = torch.where(visits > 0, times(wanted, seen) / visits.clamp(min=1).double(), p)
    p_val, q_val, visits_val = (each.split(sizes)[1] for each in (p, q, visits))
    mixed = {w: -(w * q_val + (1 - w) * p_val).log().mean() for w in 1 - np.logspace(-4, 0, 81)}
    weight = min(mixed, key=mixed.get)
    p = weight * q + (1 - weight) * p
    now = [-each.log().mean() for each in p.split(sizes)]
    print(f"   {k:8d} {V**(k + 1):13d} {len(seen.unique()):8d} "
          f"{(visits_val == 0).double().mean():18.1%} {weight:7.4f} {now[0]:7.4f} {now[1]:8.4f}")
# Cada carácter de contexto multiplica la tabla por V y la deja más vacía: lo visto se recita, y en
# validación se gana cada vez menos. Una tabla no sabe que «a» y «e» se parecen, ni aprovecha en un
# contexto lo aprendido en otro. La lección 03 cambia la tabla por una red que sí: Bengio, 2003.
print(f"resultado train={losses['train']:.4f} val={losses['val']:.4f} test={losses['test']:.4f} "
      f"segundos={seconds:.1f} tokens_s={(len(train) - 1) / pace:.0f} ckpt={OUT}" if done else
      "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")

# %% Experimentos: predice antes de mirar
# - LEARNING_RATE = 100: ¿llega antes al límite? No: oscila, y le faltan 0.0074 en vez de 0.0011.
# - STEPS = 2000: ¿y con diez veces menos pasos? Le faltan 0.0096, casi diez veces más.
# - DATA = "poesia.txt": ¿sorprende más un verso que un pueblo? Casi nada: val 2.3603 y 2.3508.

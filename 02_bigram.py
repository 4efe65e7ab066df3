"""
02. Bigramas: un modelo de lenguaje que sólo cuenta

Al terminar sabrás qué es un modelo de lenguaje (language model), qué mide su pérdida, cómo se le
hace escribir, por qué una red de una capa llega al mismo sitio que contar, y por qué contar no
lleva más lejos.

    python 02_bigram.py                     inventa pueblos, en segundos
    python 02_bigram.py --data poesia.txt   lo mismo, con versos
    python 02_bigram.py --plot figuras      además, el mapa de las parejas
    python sample.py ckpt_bigram.pt         el modelo habla
"""
import argparse
import math
import os
import random
import re
import signal
import sys
import time
import timeit
import unicodedata
from pathlib import Path

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"    # texto de trabajo, un ejemplo por línea: una ruta, o un nombre de data/
OUT = "ckpt_bigram.pt"  # punto de control (checkpoint) que se escribe
SEED = 1337             # semilla del azar
PLOT = ""               # carpeta donde guardar la figura (vacía: ninguna; pide matplotlib)
SMOOTHING = 0.03        # lo que se suma a cada cuenta, para que ninguna pareja sea imposible
STEPS = 2000            # pasos del descenso de gradiente (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 400     # pasos entre evaluaciones
LEARNING_RATE = 3.0     # tasa de aprendizaje, siempre la misma (desde 4 puede oscilar)

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
import torch
import torch.nn.functional as F

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

# %% 1. Contar parejas
# Un modelo de lenguaje dice qué puede venir después, y con qué probabilidad. El más simple mira
# sólo el carácter anterior: le basta saber cuántas veces sale cada pareja (bigram).
def count_in_a_loop(text):
    """Cuántas veces sale en `text` cada pareja de caracteres seguidos: {(a, b): veces}."""
    pairs = {}
    for pair in zip(text, text[1:]):
        pairs[pair] = pairs.get(pair, 0) + 1
    return pairs

if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if EVAL_INTERVAL < 1 or not 0 < SMOOTHING < math.inf:
    sys.exit("error: EVAL_INTERVAL debe ser 1 o más, y SMOOTHING mayor que 0")
whole = "\n" + "\n".join(line.strip() for line in text.split("\n") if line.strip()) + "\n"
pairs = count_in_a_loop(whole)
print(f"1. {len(whole) - 1} parejas, {len(pairs)} distintas; las que más salen:")
often = sorted(pairs, key=pairs.get, reverse=True)[:6]
print("   " + "   ".join(f"{a + b!r} {pairs[a, b]}" for a, b in often))

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

# %% 2. La misma cuenta, en una tabla
# Si cada carácter es un número menor que V, la pareja (a, b) es el número a·V + b, y bincount
# cuenta números de una vez, sin un bucle de Python.
def stream(lines):
    """Los ids de `lines`, cada una entre dos fronteras: (N,)."""
    return encode("\n" + "\n".join(lines) + "\n")

def count(a, b):
    """Veces que a cada carácter de `a` (N,) le sigue el de `b` (N,): (V, V), fila = el anterior."""
    return torch.bincount(a * V + b, minlength=V * V).view(V, V)

every = encode(whole)                                        # (N,) todas las líneas
table = count(every[:-1], every[1:])                         # (V, V)
assert table.sum() == len(every) - 1
for (a, b), times_seen in pairs.items():
    assert table[ids[a], ids[b]] == times_seen
slow = min(timeit.repeat(lambda: count_in_a_loop(whole), number=1, repeat=3))
fast = min(timeit.repeat(lambda: count(every[:-1], every[1:]), number=1, repeat=20))
print(f"\n2. contarlas: con un bucle, {1e3 * slow:.0f} ms; con bincount, {1e3 * fast:.2f} ms, "
      f"{slow / fast:.0f} veces menos")
splits = {"train": stream(train), "val": stream(val), "test": stream(test)}            # (N,)
counts = count(splits["train"][:-1], splits["train"][1:])    # (V, V) las que aprende el modelo
print(f"   para entrenar, {counts.sum()} parejas, {(counts > 0).sum()} distintas de {V * V}")


# %% 3. De cuentas a probabilidades
# Cada fila, dividida por su suma, dice qué sigue a un carácter. Sumar antes un poco a cada cuenta
# (suavizar, smoothing; este, el de Lidstone) es como si cada pareja se hubiera visto ese poco.
def probabilities(counts, smoothing):
    """Las filas de `counts + smoothing`, divididas por su suma; si suma 0, ceros: (V, V)."""
    n = counts.double() + smoothing
    return (n / n.sum(1, keepdim=True)).nan_to_num(0)        # (V, V) / (V, 1)

raw = probabilities(counts, 0)                               # (V, V) las cuentas, tal cual
P = probabilities(counts, SMOOTHING)                         # (V, V)
assert (P.sum(1) - 1).abs().max() < 1e-9
# El error de siempre: sin keepdim, las sumas (V,) se alinean con las columnas (broadcasting), y la
# casilla (i, j) se divide por la suma de la fila j. Un assert como el de arriba lo caza, y la vista
# no: cada carácter es tantas veces el primero como el segundo, y son las columnas las que suman 1.
n = counts.double() + 1
wrong = n / n.sum(1)                                         # (V, V) / (V,)
assert (wrong.sum(0) - 1).abs().max() < 1e-9
print(f"\n3. sin keepdim, las filas suman de {wrong.sum(1).min():.2f} a {wrong.sum(1).max():.2f}")
print("   tras     sigue con probabilidad")
frequent = counts.sum(1).argsort(descending=True)            # (V,) ids, del más frecuente al menos
for i in frequent[:7].tolist():
    row = f"   {chars[i]!r:5}"
    for j in P[i].argsort(descending=True)[:6].tolist():
        row += f"{chars[j]!r:>7} {P[i, j]:.2f}"
    print(row)

if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    some = frequent[:40].sort().values                       # más de 40 caracteres no se leerían
    names = [{"\n": "\\n", " ": "·"}.get(chars[i], chars[i]) for i in some]
    plt.figure(figsize=(9, 8))
    plt.imshow(P[some][:, some], norm="log", vmin=1e-4, vmax=1)
    plt.xticks(range(len(names)), names)
    plt.yticks(range(len(names)), names)
    plt.xlabel("carácter siguiente (· es el espacio)")
    plt.ylabel("carácter anterior")
    plt.colorbar(label="probabilidad", extend="min", shrink=0.8)
    plt.savefig(Path(PLOT) / "bigramas.png", dpi=150, bbox_inches="tight")


# %% 4. La pérdida: cuánto sorprende lo que viene
# La verosimilitud (likelihood) de un texto es el producto de sus probabilidades, y se hunde hasta
# el 0 del ordenador: por eso se suman logaritmos. Con el signo cambiado y la media, queda la
# pérdida (negative log-likelihood, NLL): nats de sorpresa por carácter.
def nll(log_p, row):
    """Pérdida de los logaritmos `log_p` (V, V) en las parejas de `row` (N,), nats por carácter."""
    return -log_p[row[:-1], row[1:]].mean().item()

log_raw, log_p = raw.log(), P.log()                          # (V, V)
word = min(train, key=lambda line: abs(len(line) - 5))[:8]   # una línea corta
by_hand = []
print("\n4. a mano:  pareja          probabilidad    logaritmo")
for a, b in zip("\n" + word, word + "\n"):
    row = counts[ids[a]]                                     # (V,)
    p = (row[ids[b]].item() + SMOOTHING) / (row.sum().item() + V * SMOOTHING)
    by_hand.append(p)
    print(f"            {a!r:4} -> {b!r:4} {p:16.4f} {math.log(p):12.4f}")
surprise = -sum(math.log(p) for p in by_hand)
print(f"   {word!r}: verosimilitud {math.prod(by_hand):.1e}, logaritmo {-surprise:.4f}, "
      f"pérdida {surprise / len(by_hand):.4f}")
assert math.isclose(surprise / len(by_hand), nll(log_p, stream([word])), rel_tol=1e-9)

# La perplejidad (perplexity), e elevado a la pérdida, dice entre cuántos caracteres igual de
# probables se duda: a ciegas, V. Una sola pareja nunca vista hace infinita la pérdida sin suavizar.
losses = {}
print("   parte   parejas   nunca vistas   sin suavizar   suavizada   perplejidad")
for name, row in splits.items():
    losses[name] = nll(log_p, row)
    never = (counts[row[:-1], row[1:]] == 0).sum()
    assert (never > 0) == math.isinf(nll(log_raw, row))
    print(f"   {name:5} {len(row) - 1:9d} {never:14d} {nll(log_raw, row):14.4f} "
          f"{losses[name]:11.4f} {math.exp(losses[name]):13.2f}")
for line in val:
    row = stream([line])
    i = counts[row[:-1], row[1:]].argmin()                   # su pareja menos vista
    a, b = row[i], row[i + 1]
    if counts[a, b] == 0:
        print(f"   {line[:40]!r}: nunca se vio {chars[a] + chars[b]!r};\n   su probabilidad pasa "
              f"de 0 a {P[a, b]:.0e}, y la pérdida de la línea, de inf a {nll(log_p, row):.4f}")
        break

# ¿Cuánto suavizar? Lo decide la validación.
print("   suavizado  validación")
for smoothing in (0.001, 0.01, 0.03, 0.1, 0.3, 1, 10):
    print(f"   {smoothing:9g} {nll(probabilities(counts, smoothing).log(), splits['val']):11.4f}")

# Sobre las mismas líneas que se contaron, ninguna tabla pierde menos que las cuentas sin suavizar:
# la entropía de la pareja menos la de su primer carácter (Shannon, «A Mathematical Theory of
# Communication», 1948). Con los nombres de makemore suele citarse 2.4541, y la exacta es 2.4540:
# sumar doscientos mil términos de uno en uno, en float32, redondea.
terms = -probabilities(table, 0).log()[every[:-1], every[1:]]                          # (N,)
joint = table.double() / table.sum()                         # (V, V)
entropy = torch.special.entr(joint).sum() - torch.special.entr(joint.sum(1)).sum()
assert math.isclose(terms.mean(), entropy, abs_tol=1e-9)
print(f"   todas las líneas, sin suavizar: {terms.mean():.4f}; sumando en float32, "
      f"{terms.float().numpy().cumsum()[-1] / len(terms):.4f}")


# %% 5. Escribir: sortear el siguiente, y otra vez
# Shannon (1948) lo hacía a mano: abría un libro al azar y buscaba la letra; la siguiente era la
# sorteada. Aquí se parte de la frontera, multinomial sortea según la fila del último carácter, y
# el texto acaba cuando vuelve a salir la frontera.
def generate(p, num, length):
    """Ids de `num` textos según `p` (V, V): (num, length + 1). Siempre con los mismos sorteos."""
    torch.manual_seed(SEED)
    rows = torch.full((num, 1), NL)
    for _ in range(length):
        following = torch.multinomial(p[rows[:, -1]], 1)     # (num, 1)
        rows = torch.cat([rows, following], dim=1)           # (num, t)
    return rows

def show(left, right):
    """Los ocho primeros textos de dos sorteos, lado a lado."""
    for one, other in zip(left[:8].tolist(), right[:8].tolist()):
        print(f"   {decode(one).split(chr(10))[1]:32}   {decode(other).split(chr(10))[1]}")

uniform = torch.full((V, V), 1 / V)
cycle = torch.eye(V).roll(1, dims=1)                         # tras i, siempre i + 1
assert generate(cycle, 1, 3).tolist() == [[(NL + t) % V for t in range(4)]]
ours = generate(P, 1000, 32)                                 # (1000, 33)
print("\n5. con la matriz                      a ciegas")
show(ours, generate(uniform, 8, 32))
# ¿Sigue lo sorteado a la matriz? La distancia entre dos filas, la mitad de Σ |p - q|, va de 0 a 1.
i = frequent[0]
drawn = count(ours[:, :-1].flatten(), ours[:, 1:].flatten())[i]                        # (V,)
far = (drawn / drawn.sum() - P[i]).abs().sum() / 2
print(f"   tras {chars[i]!r}, {drawn.sum()} sorteos distan de su fila {far:.3f}; "
      f"a ciegas, {(1 / V - P[i]).abs().sum() / 2:.3f}")


# %% 6. El mismo modelo, como red
# Un carácter es un vector con un 1 en su puesto (one-hot), y la capa lineal W (V, V) da una nota
# (logit) a cada siguiente: multiplicar por un one-hot es quedarse con una fila. softmax hace de las
# notas probabilidades, y la pérdida de siempre se llama ahora entropía cruzada (cross-entropy).
row = splits["train"][:201]
a, b = row[:-1], row[1:]                                     # (M,) las primeras 200 parejas
W = torch.randn(V, V, dtype=torch.float64, requires_grad=True)
x, y = F.one_hot(a, V).double(), F.one_hot(b, V).double()    # (M, V)
logits = x @ W                                               # (M, V)
assert torch.equal(logits, W[a])
p = logits.exp() / logits.exp().sum(1, keepdim=True)         # (M, V)
loss = -p[torch.arange(len(b)), b].log().mean()
assert torch.allclose(loss, F.cross_entropy(logits, b))
# El gradiente, en papel. La pérdida de un ejemplo es L = -log p_b = -z_b + log Σ_j e^z_j. Derivar
# -z_b da -1 en j = b y 0 en los demás: -y_j. Derivar el logaritmo da e^z_j / Σ e^z = p_j. En total,
# ∂L/∂z_j = p_j - y_j: lo que se dijo menos lo que pasó. Por z = x W, ∂L/∂W = xᵀ (p - y).
loss.backward()
assert torch.allclose(W.grad, x.T @ (p - y) / len(b))
# Una fila de W recibe un p - y por cada vez que sale su carácter. Sumados, son lo que la red dice
# menos lo que se contó, tantas veces como salió: una resta por fila, mida el texto lo que mida.
few = count(a, b)                                            # (V, V)
share = few.sum(1, keepdim=True) / len(b)                    # (V, 1)
assert torch.allclose(W.grad, share * (W.softmax(1) - probabilities(few, 0)))
print(f"\n6. entropía cruzada {loss:.4f}, la de PyTorch; su gradiente, lo dicho menos lo contado")

# El descenso. La pérdida es convexa: se parte de W = 0, donde todo es igual de probable. Ninguna
# fila toca los pesos de otra: puede llevar su propia tasa, y se le quita el factor `share`, que
# sólo frena a los caracteres raros. El paso se anula cuando la red dice lo que se contó. A ese
# límite se acerca sin llegar: lo nunca visto pide una nota de -∞.
counted = raw.float()                                        # (V, V)
limit = nll(log_raw, splits["train"])
seconds = 0.0
W = torch.zeros(V, V)
assert math.isclose(nll(W.log_softmax(1), splits["train"]), math.log(V), rel_tol=1e-4)
print(f"   {STEPS} pasos, cada uno con todas las parejas; el límite es {limit:.4f}")
try:
    for step in range(1, STEPS + 1):
        start = time.perf_counter()
        W -= LEARNING_RATE * (W.softmax(1) - counted)        # (V, V)
        seconds += time.perf_counter() - start
        if step % EVAL_INTERVAL == 0 or step == STEPS:
            loss = nll(W.log_softmax(1), splits["train"])
            val_loss = nll(W.log_softmax(1), splits["val"])
            if not math.isfinite(loss):
                sys.exit("error: la pérdida dejó de ser finita: baja LEARNING_RATE")
            print(f"   paso {step:6d}   train {loss:.4f}   val {val_loss:.4f}   "
                  f"al límite le faltan {loss - limit:.4f}")
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")

# Con los mismos sorteos, la red dice lo mismo que las cuentas: es el mismo modelo.
net = W.double().softmax(1)                                  # (V, V)
theirs = generate(net, 1000, 32)                             # (1000, 33)
print("   las cuentas                        la red")
show(ours, theirs)
print(f"   de mil textos, {(ours == theirs).all(1).sum()} son iguales letra por letra")


# %% 7. Suavizar es tirar hacia el azar
# El decaimiento de los pesos (weight decay) tira de W hacia 0, el azar uniforme; suavizar tira de
# las cuentas al mismo sitio. Con más decaimiento, la red se parece a cuentas más suavizadas. Como
# cada fila va por su cuenta, bastan las cien más frecuentes.
def distance(p, q):
    """Distancia entre las filas de `p` y `q` (R, V), promediada según su frecuencia: de 0 a 1."""
    return (share * (p - q).abs() / 2).sum().item() / share.sum().item()

common = frequent[:100]                                      # (R,)
share = counts[common].sum(1, keepdim=True) / counts.sum()   # (R, 1)
print("\n7. decaimiento   distancia al azar   a las cuentas   a las suavizadas con")
for decay in (1e-4, 1e-3, 1e-2):
    W = torch.zeros(len(common), V, dtype=torch.float64)
    rate = 1 / (share / 4 + decay)                           # (R, 1) deprisa, y sin desbocarse
    for _ in range(500):
        W -= rate * (share * (W.softmax(1) - raw[common]) + decay * W)
    net = W.softmax(1)                                       # (R, V)
    near = {}
    for smoothing in torch.logspace(-2, 5, 29).tolist():
        near[smoothing] = distance(net, probabilities(counts[common], smoothing))
    best = min(near, key=near.get)
    print(f"   {decay:11.0e} {distance(net, 1 / V):19.4f} {distance(net, raw[common]):15.4f} "
          f"{near[best]:11.4f} {best:10.3g}")


# %% 8. Más contexto, y por qué no basta con contar
# Contar tríos (trigram) es lo mismo, con un número por contexto. Pero muchos no se han visto nunca.
# Jelinek y Mercer (1980) mezclan (interpolation) cada orden con el anterior: p = λ · cuentas +
# (1 - λ) · p del contexto más corto. λ la elige la validación.
def times(codes):
    """Cuántas veces sale cada uno de los números `codes` (M,) entre los de entrenar: (M,)."""
    found = codes.unique(return_inverse=True)[1]             # los mismos, numerados desde 0
    return found[:size].bincount(minlength=len(codes))[found]

row = stream(train + val)
past, y = row[:-1], row[1:]                                  # (M,)
size = len(splits["train"]) - 1                              # los primeros, de entrenar
assert torch.equal(times(past * V + y), counts[past, y])
context = torch.zeros_like(y)                                # (M,)
p = torch.full((len(y),), 1 / V, dtype=torch.float64)        # (M,)
weights = (1 - torch.logspace(-4, 0, 41)).tolist()           # de 0.9999 a 0
print("\n8. contexto    parámetros   usados   contextos nuevos       λ   train      val")
for k in range(5):
    if k > 0:
        context = context * V + past
        past = torch.where(past == NL, NL, past.roll(1))     # antes de la frontera, más frontera
    visits = times(context)
    q = times(context * V + y).double() / visits             # (M,) lo que dicen las cuentas
    q = torch.where(visits > 0, q, p)
    tried = {}
    for weight in weights:
        mixed = weight * q[size:] + (1 - weight) * p[size:]
        tried[weight] = -mixed.log().mean().item()
    best = min(tried, key=tried.get)
    p = best * q + (1 - best) * p
    used = len((context * V + y)[:size].unique())
    print(f"   {k:8d} {V ** (k + 1):13d} {used:8d} {(visits[size:] == 0).double().mean():18.1%} "
          f"{best:7.4f} {-p[:size].log().mean():7.4f} {tried[best]:8.4f}")
# Cada carácter de contexto multiplica la tabla por V y la deja más vacía: lo visto se recita, y en
# validación se gana cada vez menos. Una tabla no sabe que «a» y «e» se parecen, ni aprovecha en un
# contexto lo aprendido en otro. La lección 03 cambia la tabla por una red que sí: Bengio, 2003.

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

# %% 9. El modelo, en un fichero
# Basta guardar la tabla y el vocabulario: sample.py sortea con ellos, sin volver a contar.
if STEPS > 0:
    save({"format": 1, "model": "bigram", "config": {}, "chars": chars,
          "weights": {"log_p": log_p.float()}, "data": Path(DATA).name, "step": STEPS,
          "train_loss": losses["train"], "val_loss": losses["val"]}, OUT)
    print(f"resultado train={losses['train']:.4f} val={losses['val']:.4f} "
          f"test={losses['test']:.4f} segundos={seconds:.1f} tokens_s=- ckpt={OUT}")
else:
    print("resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")

# %% Experimentos: predice antes de mirar
# - LEARNING_RATE = 8: ¿llega antes al límite? No: oscila, y le faltan 0.0446 en vez de 0.0029.
# - STEPS = 20000: ¿y con diez veces más pasos? Le faltan 0.0003. ¿Y en validación? Sigue peor que
#   la tabla suavizada: 2.3522 y 2.3508.
# - SMOOTHING = 1: ¿dirán aún lo mismo? Menos: 569 textos iguales de mil, en vez de 828.
# - DATA = "poesia.txt": ¿sorprende más un verso que un pueblo? Casi nada: val 2.3603 y 2.3508.

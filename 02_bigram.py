"""
02. Bigramas: un modelo de lenguaje que sólo cuenta

Al terminar sabrás qué es un modelo de lenguaje (language model), qué mide su pérdida, cómo se le
hace escribir, por qué una red de una capa llega al mismo sitio que contar, y hasta dónde se llega
contando contextos cada vez más largos: la tabla que las lecciones siguientes habrán de batir.

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
BLOCK_SIZE = 7          # caracteres del contexto más largo que se cuenta

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
        value, note = globals()[name], note.replace("%", "%%") + " [%(default)s]"
        kind = {"type": type(value)}
        if isinstance(value, bool):
            kind = {"action": argparse.BooleanOptionalAction}                   # --x y --no-x
        options.add_argument(f"--{name.lower()}", dest=name, default=value, help=note, **kind)
    globals().update(vars(options.parse_args()))

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

# %% Lo que no encaja se dice antes de empezar (puedes saltártelo)
for name, value in list(globals().items()):                  # ningún número negativo, ni nan
    if name.isupper() and isinstance(value, (int, float)) and not 0 <= value < 2**63:
        sys.exit(f"error: {name} no puede ser {value}")
if not OUT.endswith(".pt") or not os.access(Path(OUT).resolve().parent, os.W_OK):
    sys.exit(f"error: no puedo escribir «{OUT}»: el nombre debe acabar en .pt, y la carpeta "
             "existir y dejarte escribir en ella")
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
if EVAL_INTERVAL < 1 or SMOOTHING == 0:
    sys.exit("error: EVAL_INTERVAL debe ser 1 o más, y SMOOTHING mayor que 0")

# %% 1. Contar parejas
# Un modelo de lenguaje dice qué carácter puede venir después de lo ya escrito, y con qué
# probabilidad. El más simple mira sólo el carácter anterior. Le basta saber cuántas veces sale cada
# pareja de caracteres seguidos (bigram): si tras la «q» vino casi siempre una «u», dirá «u».
# Así, a mano, lo hizo A. A. Markov en 1913, con veinte mil letras de «Eugenio Oneguin». A una vocal
# la seguía otra vocal 13 veces de cada cien. A una consonante la seguía una vocal 66 veces de cada
# cien. Lo que viene depende de lo anterior, y esa dependencia se puede contar.
def count_in_a_loop(text):
    """Cuántas veces sale en `text` cada pareja de caracteres seguidos: {(a, b): veces}."""
    pairs = {}
    for pair in zip(text, text[1:]):
        pairs[pair] = pairs.get(pair, 0) + 1
    return pairs

assert count_in_a_loop("papas") == {("p", "a"): 2, ("a", "p"): 1, ("a", "s"): 1}

# Cada línea del texto es un ejemplo, y el salto de línea, «\n», es la frontera entre dos. Se cuenta
# como un carácter más: así se sabe también con qué se empieza y con qué se acaba. En lo que se
# imprime, 'a\n' es una «a» al final de una línea. La celda siguiente parte las líneas en tres, y da
# un número, su id, a cada uno de los V caracteres distintos, que juntos son el vocabulario.
whole = "\n" + "\n".join(line.strip() for line in text.split("\n") if line.strip()) + "\n"
pairs = count_in_a_loop(whole)
often = sorted(pairs, key=pairs.get, reverse=True)[:6]
print(f"1. {len(whole) - 1} parejas, {len(pairs)} distintas; las que más salen:")
for a, b in often:
    print(f"   {a + b!r:5} {pairs[a, b]}")

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
# En el ordenador un carácter es su id, un número menor que V. Las cuentas son una tabla de V por V:
# una fila por cada carácter anterior y una columna por cada siguiente. Para contar sin un bucle de
# Python se hace de cada pareja un solo número. Si V fuera 10, la pareja (4, 7) sería el 47; en
# general, (a, b) es a·V + b. Y bincount cuenta de una vez cuántas veces sale cada número.
def joined(lines):
    """Los ids de `lines`, cada una entre dos fronteras: (N,)."""
    return encode("\n" + "\n".join(lines) + "\n")

def count(before, after):
    """Veces que a cada id de `before` (N,) le sigue el de `after` (N,): (V, V), por filas."""
    return torch.bincount(before * V + after, minlength=V * V).view(V, V)

every = encode(whole)                                        # (N,) todas las líneas
table = count(every[:-1], every[1:])                         # (V, V)
assert table.sum() == len(every) - 1
for (a, b), times in pairs.items():
    assert table[ids[a], ids[b]] == times
slow = min(timeit.repeat(lambda: count_in_a_loop(whole), number=1, repeat=3))
fast = min(timeit.repeat(lambda: count(every[:-1], every[1:]), number=1, repeat=20))
print(f"\n2. contarlas con un bucle, {1e3 * slow:.0f} ms; "
      f"con bincount, {1e3 * fast:.2f} ms, "
      f"{slow / fast:.0f} veces menos")

# El modelo aprende sólo de las líneas de entrenar.
splits = {"train": joined(train),                            # (N,) cada una
          "val": joined(val),
          "test": joined(test)}
counts = count(splits["train"][:-1], splits["train"][1:])    # (V, V)
print(f"   para entrenar, {counts.sum()} parejas, {(counts > 0).sum()} distintas de {V * V}")

# %% 3. De cuentas a probabilidades
# Cada fila, dividida por su suma, dice qué sigue a un carácter. Si tras la «q» hubo nueve veces «u»
# y una vez «a», las probabilidades son 0.9 y 0.1. Pero entonces lo que no se vio tiene probabilidad
# 0, y no haberlo visto nunca no prueba tanto. Por eso se suma antes un poco a cada cuenta, como si
# cada pareja se hubiera visto ese poco. Es suavizar (smoothing). Sumar a todas lo mismo lleva el
# nombre de Lidstone.
def probabilities(counts, smoothing):
    """Las filas de `counts + smoothing`, divididas por su suma; si suma 0, ceros: (V, V)."""
    raised = counts.double() + smoothing
    return (raised / raised.sum(1, keepdim=True)).nan_to_num(0)                 # (V, V) / (V, 1)

raw = probabilities(counts, 0)                               # (V, V) las cuentas, tal cual
P = probabilities(counts, SMOOTHING)                         # (V, V)
assert (P.sum(1) - 1).abs().max() < 1e-9

# El error de siempre es olvidar keepdim. Las filas de esta tabla de dos por dos suman 4 y 2. Con
# keepdim esas sumas son una columna, (2, 1), y cada fila se divide por la suya. Sin él son una
# fila, (2,). PyTorch la repite hacia abajo (broadcasting, lección 01), y se divide la primera
# columna por 4 y la segunda por 2.
hand = torch.tensor([[3, 1], [0, 2]])                        # (2, 2)
assert (hand / hand.sum(1, keepdim=True)).tolist() == [[0.75, 0.25], [0, 1]]
assert (hand / hand.sum(1)).tolist() == [[0.75, 0.5], [0, 1]]
# Nada avisa. Con las cuentas de un texto engaña aún mejor. El texto empieza y acaba en la frontera,
# así que todo carácter es tantas veces el primero de una pareja como el segundo. Por eso las
# columnas de lo que sale suman 1. Las filas, no: un assert como el de arriba lo caza. En la tabla
# de después, cada fila es un carácter y, con su probabilidad, los seis que más lo siguen.
seen = counts.double() + 1
wrong = seen / seen.sum(1)                                   # (V, V) / (V,)
assert (wrong.sum(0) - 1).abs().max() < 1e-9
print(f"\n3. sin keepdim, las filas suman de {wrong.sum(1).min():.2f} a {wrong.sum(1).max():.2f}")
print("   tras     sigue con probabilidad")
frequent = counts.sum(1).argsort(descending=True)            # (V,) ids, del más frecuente al menos
for i in frequent[:7].tolist():
    shown = f"   {chars[i]!r:5}"
    for j in P[i].argsort(descending=True)[:6].tolist():
        shown += f"{chars[j]!r:>7} {P[i, j]:.2f}"
    print(shown)

if PLOT:
    some = frequent[:40].sort().values                       # más de 40 caracteres no se leerían
    names = [repr(chars[i])[1:-1] for i in some]
    plt.figure(figsize=(9, 8))
    plt.imshow(P[some][:, some], norm="log", vmin=1e-4)
    plt.xticks(range(len(some)), names)
    plt.yticks(range(len(some)), names)
    plt.xlabel("carácter siguiente")
    plt.ylabel("carácter anterior")
    plt.colorbar()
    plt.savefig(Path(PLOT) / "bigramas.png", dpi=150, bbox_inches="tight")

# %% 4. La pérdida: cuánto sorprende lo que viene
# Un modelo es bueno si daba mucha probabilidad a lo que luego pasó. La probabilidad que da a un
# texto entero es el producto de las de sus caracteres, y se llama verosimilitud (likelihood). Pero
# un producto de miles de números menores que 1 es tan pequeño que el ordenador lo toma por 0. Su
# logaritmo sí cabe, porque el logaritmo de un producto es la suma de los logaritmos. Con el signo
# cambiado, y dividida entre el número de caracteres, esa suma es la pérdida (negative
# log-likelihood, NLL; lección 01). Es la media de -log p, la sorpresa de cada carácter. La sorpresa
# vale 0 para quien estaba seguro y acierta, y crece sin fin cuanto más imposible se creía lo que ha
# pasado.
def nll(log_p, stream):
    """Pérdida de los logaritmos `log_p` (V, V) en `stream` (N,), en nats por carácter."""
    return -log_p[stream[:-1], stream[1:]].mean().item()

log_raw = raw.log()                                          # (V, V)
log_p = P.log()                                              # (V, V)
word = min(train, key=lambda line: abs(len(line) - 5))[:8]   # una línea corta
product = 1.0
print("\n4. a mano:  pareja          probabilidad    logaritmo")
for a, b in zip("\n" + word, word + "\n"):
    p_pair = P[ids[a], ids[b]].item()
    product *= p_pair
    print(f"            {a!r:4} -> {b!r:4} "
          f"{p_pair:16.4f} "
          f"{math.log(p_pair):12.4f}")
loss = -math.log(product) / (len(word) + 1)
print(f"   {word!r}: verosimilitud {product:.1e}, "
      f"logaritmo {math.log(product):.4f}, "
      f"pérdida {loss:.4f}")
assert math.isclose(loss, nll(log_p, joined([word])), rel_tol=1e-9)

# Con el logaritmo natural la sorpresa se mide en nats; con el de base 2, en bits. Un bit es la
# sorpresa de una moneda, cara o cruz, y un nat son 1 / log 2 = 1.44 bits. Hay otra manera de decir
# lo mismo. Una pérdida de log 10 es la de quien duda entre 10 caracteres igual de probables. Ese
# 10, que es e elevado a la pérdida, es la perplejidad (perplexity). La de quien no sabe nada es V.
#
# En la tabla que sigue, mira la columna «sin suavizar». Basta una pareja nunca vista al entrenar:
# su probabilidad es 0, su sorpresa es infinita (inf), y la pérdida también. Los bits y la
# perplejidad son los de la pérdida suavizada.
losses = {}
print("   parte   parejas   nunca vistas   sin suavizar   suavizada    bits   perplejidad")
for name in ("train", "val"):
    stream = splits[name]
    losses[name] = nll(log_p, stream)
    never = (counts[stream[:-1], stream[1:]] == 0).sum()
    assert (never > 0) == math.isinf(nll(log_raw, stream))
    print(f"   {name:5} {len(stream) - 1:9d} {never:14d} "
          f"{nll(log_raw, stream):14.4f} "
          f"{losses[name]:11.4f} "
          f"{losses[name] / math.log(2):7.4f} "
          f"{math.exp(losses[name]):13.2f}")

# ¿Cuánto suavizar? Poco deja casi imposible lo nuevo; mucho borra lo contado. Lo decide la
# validación, no las líneas de entrenar: en ellas se ha visto ya todo, y lo mejor sería no suavizar.
print("   suavizado  validación")
for smoothing in (0.001, 0.01, 0.03, 0.1, 0.3, 1, 10):
    tried = probabilities(counts, smoothing).log()
    print(f"   {smoothing:9g} {nll(tried, splits['val']):11.4f}")

# ¿Cuánto se puede bajar mirando sólo el carácter anterior? Supón que lo que viene se sortea con
# unas probabilidades, y que las conoces. Tu sorpresa es, de media, la suma de cada una por su
# logaritmo, con el signo cambiado, y se llama entropía (entropy). Nadie que no sepa más se
# sorprende menos. La entropía de una moneda es 1/2 · log 2 dos veces: log 2 nats, o 1 bit.
#
# La sorpresa de una pareja es la de su primer carácter más la del segundo cuando ya se conoce el
# primero. Esta última es la que buscamos, y sale restando: la entropía de las parejas menos la
# entropía de los primeros (Shannon, «A Mathematical Theory of Communication», 1948). En las líneas
# que se contaron, ninguna tabla de parejas pierde menos, y las cuentas sin suavizar pierden justo
# eso.
def entropy(chances):
    """Entropía, en nats, de unas probabilidades; una que es 0 no suma nada."""
    return -(chances * chances.log()).nan_to_num(0).sum()

coin = torch.tensor([0.5, 0.5])
assert math.isclose(entropy(coin), math.log(2), rel_tol=1e-6)
joint = table.double() / table.sum()                         # (V, V) la parte que es cada pareja
floor = entropy(joint) - entropy(joint.sum(1))
surprises = -probabilities(table, 0).log()[every[:-1], every[1:]]                      # (N,)
assert math.isclose(surprises.mean(), floor, abs_tol=1e-9)
one_by_one = surprises.float().numpy().cumsum()[-1] / len(surprises)
print(f"   todas las líneas, sin suavizar: {floor:.4f}; "
      f"sumando en float32, {one_by_one:.4f}")
# Con los nombres del curso de Karpathy (makemore, names.txt) suele citarse una pérdida de 2.4541, y
# la exacta es 2.4540. La diferencia viene de sumar más de cien mil números de uno en uno con
# float32, que guarda siete cifras y redondea cada vez.
#
# Con pueblos.txt verás tres veces 2.3508: sin suavizar en las líneas de entrenar, suavizada en las
# de validar y, ahora, sin suavizar en todas. Son tres cantidades distintas: que coincidan hasta la
# cuarta cifra es azar.

# %% 5. Escribir: sortear el siguiente, y otra vez
# Shannon (1948) lo hacía a mano. Abría un libro al azar y apuntaba una letra. Lo abría por otra
# página, leía hasta dar con esa letra, y apuntaba la que la seguía. Con ella hacía lo mismo, y así
# una y otra vez. Aquí se parte de la frontera, y multinomial sortea el siguiente carácter según la
# fila del último. El texto acaba cuando vuelve a salir la frontera.
def generate(matrix, num, length):
    """Ids de `num` textos según `matrix` (V, V): (num, length + 1). Con los mismos sorteos."""
    torch.manual_seed(SEED)
    rows = torch.full((num, 1), NL)
    for _ in range(length):
        chosen = torch.multinomial(matrix[rows[:, -1]], 1)   # (num, 1)
        rows = torch.cat([rows, chosen], dim=1)              # (num, t)
    return rows

def first_text(row):
    """El primer texto de una fila de ids: lo que hay entre sus dos primeras fronteras."""
    return decode(row.tolist()).split("\n")[1]

def show(left, right):
    """Los ocho primeros textos de dos sorteos, lado a lado."""
    for one, other in zip(left[:8], right[:8]):
        print(f"   {first_text(one):32}   {first_text(other)}")

uniform = torch.full((V, V), 1 / V)
ours = generate(P, 1000, 32)                                 # (1000, 33)
print("\n5. con la matriz                      a ciegas")
show(ours, generate(uniform, 8, 32))

# ¿Sigue lo sorteado a la matriz? Los mil textos empiezan en la frontera: sus mil primeras letras
# son mil sorteos de esa fila. La distancia entre dos filas de probabilidades es la mitad de la suma
# de lo que difieren, puesto a puesto. Va de 0, si son iguales, a 1, si no coinciden en nada. Con n
# sorteos, la distancia media de lo sorteado a la fila no llega a sqrt(V / n) / 2. Pasarse de ahí en
# 5 / sqrt(n) no ocurre ni una vez en 10**21 (desigualdad de McDiarmid).
def distance(one, other):
    """Distancia entre dos filas de probabilidades (V,): de 0 a 1."""
    return (one - other).abs().sum().item() / 2

n = len(ours)
drawn = ours[:, 1].bincount(minlength=V) / n                 # (V,)
away = distance(drawn, P[NL])
assert away < (V**0.5 / 2 + 5) / n**0.5
print(f"   mil primeras letras distan de la fila de la frontera {away:.3f}; "
      f"a ciegas, {distance(uniform[NL], P[NL]):.3f}")

# %% 6. El mismo modelo, como red
# Otra manera de llegar a la misma tabla es no contar, sino aprender. Un carácter entra en la red
# como un vector, una lista de V números, todos 0 salvo un 1 en su puesto (one-hot). La capa lineal,
# que es una tabla de pesos W (V, V), da una nota (logit) a cada carácter que puede seguir. La nota
# j es la suma de cada número de la entrada por el peso de su fila en la columna j. Eso es el
# producto de matrices, que se escribe `@`. Como en la entrada sólo un número no es 0, el producto
# se queda con una fila de W.
#
# Las notas se vuelven probabilidades con softmax (lección 01): se exponencian, y se divide por la
# suma. La pérdida es la de antes, que dicha así se llama entropía cruzada (cross-entropy).
few = splits["train"][:201]
before = few[:-1]                                            # (M,) las primeras 200 parejas
after = few[1:]                                              # (M,)
torch.manual_seed(SEED)
W = torch.randn(V, V, dtype=torch.float64, requires_grad=True)
x = F.one_hot(before, V).double()                            # (M, V)
y = F.one_hot(after, V).double()                             # (M, V)
logits = x @ W                                               # (M, V)
assert torch.equal(logits, W[before])
powers = logits.exp()                                        # (M, V)
p = powers / powers.sum(1, keepdim=True)                     # (M, V)
loss = -p[torch.arange(len(after)), after].log().mean()
assert torch.allclose(loss, F.cross_entropy(logits, after))
print(f"\n6. 200 parejas y pesos al azar: entropía cruzada {loss:.4f}, la de PyTorch")

# Su gradiente, en papel, con un ejemplo de tres caracteres. Las notas son z1, z2 y z3, sus
# probabilidades 0.5, 0.3 y 0.2, y salió el segundo. La pérdida es -log p2. Como
# p2 = e^z2 / (e^z1 + e^z2 + e^z3), la pérdida es -z2 + log(e^z1 + e^z2 + e^z3).
#
# La derivada de log u es la de u partida por u. Así que derivar el logaritmo respecto de z1 da
# e^z1 / (e^z1 + e^z2 + e^z3), que es p1: 0.5. Respecto de z2 da p2, y falta el -1 que da -z2:
# 0.3 - 1 = -0.7. Respecto de z3, 0.2. En general es p - y, lo que se dijo menos lo que pasó, donde
# `y` vale 1 en el carácter que salió y 0 en los demás.
#
# Ahora, de las notas a los pesos. La nota z_j es la suma de x_i · W_ij, así que la derivada
# respecto de W_ij es x_i · (p_j - y_j): la fila i sólo recibe algo si el carácter anterior era el
# i. Hay que sumar eso en todos los ejemplos, para cada i y cada j. Es un producto de matrices: x.T,
# que es x con sus filas puestas como columnas, por p - y. Como la pérdida es una media, se parte
# por cuántos son.
loss.backward()
assert torch.allclose(W.grad, x.T @ (p - y) / len(after))

# Ahora, fila a fila. A la de la «a» le llega un p - y por cada vez que salió una «a», y p es el
# mismo todas esas veces. Si salió n veces, la suma es n · (p - c), donde c es lo que se contó: en
# qué parte de las n veces vino cada carácter. Luego el gradiente de una fila es una resta, lo dicho
# menos lo contado, por la parte de los ejemplos que le toca. Se anula si la red dice lo que se
# contó.
tally = count(before, after)                                 # (V, V)
part = tally.sum(1, keepdim=True) / len(before)              # (V, 1)
assert torch.allclose(W.grad, part * (W.softmax(1) - probabilities(tally, 0)))

# Aprender es bajar por ese gradiente (lección 01). Primero, con el gradiente que da PyTorch y cien
# pasos: es el bucle de todas las redes que vendrán.
for _ in range(100):
    loss = F.cross_entropy(W[before], after)
    W.grad = None                                            # si no, se sumaría al anterior
    loss.backward()
    with torch.no_grad():
        W -= LEARNING_RATE * W.grad
by_counts = nll(probabilities(tally, 0).log(), few)
print(f"   tras cien pasos, {loss:.4f}; contando, {by_counts:.4f}")

# Va despacio: a la fila de un carácter raro le toca una parte pequeña del gradiente. Pero ninguna
# fila usa los pesos de otra. Cada una puede llevar su propia tasa, y se elige la que quita de
# delante esa parte. Queda W -= tasa · (lo dicho - lo contado). Ya no hace falta leer las parejas:
# basta la tabla de lo contado.
#
# La pérdida es convexa, como un tazón: no hay otro hoyo que el fondo. Se parte de W = 0, donde todo
# es igual de probable y la pérdida es log V. El fondo, el límite, es lo que pierden las cuentas sin
# suavizar. Se acerca a él sin llegar: para decir 0, como en lo nunca visto, haría falta una nota de
# -∞.
#
# La tasa tiene un tope. En el tazón más sencillo, h · w² / 2, la pendiente es h · w, y un paso
# lleva de w a (1 - tasa · h) · w. Si la tasa pasa de 2 / h, el paso acaba en la pared de enfrente,
# y más arriba. Esa h, la derivada de la pendiente, es la curvatura. La de nuestro tazón no pasa de
# 1/2, y por eso el tope es 2 / (1/2) = 4: por encima, un paso puede subir.
counted = raw.float()                                        # (V, V)
limit = nll(log_raw, splits["train"])
W = torch.zeros(V, V)
print(f"   {STEPS} pasos, cada uno con todas las parejas; el límite es {limit:.4f}")
seconds = 0.0
for step in range(1, STEPS + 1):
    tick = time.perf_counter()
    W -= LEARNING_RATE * (W.softmax(1) - counted)            # (V, V)
    seconds += time.perf_counter() - tick                    # evaluar no cuenta
    if step % EVAL_INTERVAL == 0 or step == STEPS:
        train_loss = nll(W.log_softmax(1), splits["train"])
        val_loss = nll(W.log_softmax(1), splits["val"])
        if not math.isfinite(train_loss):
            sys.exit("error: la pérdida dejó de ser finita: baja LEARNING_RATE")
        print(f"   paso {step:6d}   "
              f"train {train_loss:.4f}   "
              f"val {val_loss:.4f}   "
              f"al límite le faltan {train_loss - limit:.4f}")

# ¿Qué hay en W? El softmax deshace un logaritmo: si la nota es el de la cuenta, la exponencial
# devuelve la cuenta, y dividir por la suma da lo de la celda 3. Sumar a toda la fila un mismo
# número, sea 7 o cualquier otro, no cambia nada, porque multiplica a todas las exponenciales por
# igual. Mira la última columna: la red, que no ha contado, tiende a los logaritmos de las cuentas,
# menos un número que es el mismo en toda la fila.
by_logs = (counts.double() + SMOOTHING).log() + 7
assert torch.allclose(by_logs.softmax(1), P)
top = frequent[0]
print(f"   tras {chars[top]!r}   nota   logaritmo de la cuenta   diferencia")
for j in P[top].argsort(descending=True)[:5].tolist():
    note = W[top, j]
    log_count = counts[top, j].log()
    print(f"   {chars[j]!r:>8} {note:6.2f} "
          f"{log_count:24.2f} {log_count - note:12.2f}")

# Con los mismos sorteos, la red ya entrenada dice casi siempre lo mismo que las cuentas: son el
# mismo modelo, salvo el suavizado y lo que al descenso le falta por bajar.
net = W.double().softmax(1)                                  # (V, V)
theirs = generate(net, 1000, 32)                             # (1000, 33)
print("   las cuentas                        la red")
show(ours, theirs)
print(f"   de mil textos, {(ours == theirs).all(1).sum()} son iguales letra por letra")

# %% 7. Suavizar es tirar hacia el azar
# Sumar a cada cuenta lo mismo acerca cada fila al azar, 1/V para todos. La red tiene otro modo: el
# decaimiento de los pesos (weight decay), el freno de la lección 01. Suma a la pérdida
# decaimiento / 2 por los cuadrados de los pesos. Así el gradiente de una fila w gana un término: es
# (p - c) + decaimiento · w, que tira de todas las notas hacia 0. Con todas a 0, la red dice 1/V.
#
# Donde ese gradiente se anula, p = c - decaimiento · w. A lo frecuente, que tiene nota positiva, se
# le quita; a lo nunca visto, que la tiene negativa, se le da. Es lo que hace el suavizado.
#
# Basta mirar una fila, la del carácter más frecuente. El decaimiento suma su curvatura a la de
# antes, y con una tasa de 1 / (1/2 + decaimiento) ningún paso se pasa de largo. En la tabla, fíjate
# en que las dos maneras hacen lo mismo: quitan a lo más visto, y acercan a 1/V lo menos visto.
print(f"\n7. tras {chars[top]!r} (1/V es {1 / V:.5f})   lo más visto   lo menos visto")
for smoothing in (1.0, 100.0, 10000.0):
    smoothed = probabilities(counts, smoothing)[top]         # (V,)
    print(f"   suavizado   {smoothing:8g} "
          f"{smoothed.max():19.5f} {smoothed.min():16.5f}")
for decay in (0.01, 0.1, 1.0):
    w = torch.zeros(V, dtype=torch.float64)                  # (V,) una fila de W
    for _ in range(2000):
        gradient = w.softmax(0) - raw[top] + decay * w
        w -= gradient / (0.5 + decay)
    said = w.softmax(0)
    assert torch.allclose(said, raw[top] - decay * w)
    print(f"   decaimiento {decay:8g} "
          f"{said.max():19.5f} {said.min():16.5f}")

# %% 8. Contextos más largos: hasta dónde se llega contando
# ¿Y mirar dos caracteres atrás, o siete? Lo que se mira se llama contexto, y contar es igual: un
# número para cada contexto, como antes un id. Hay dos problemas. El primero es el tamaño: con k
# caracteres de contexto la tabla tiene V elevado a k + 1 casillas. Pero casi todas valen 0, y basta
# guardar las que se han visto. Para eso se renumera: 70, 5, 70, 901 pasan a ser 1, 0, 1, 2, y ya
# los cuenta bincount.
#
# De esos números se cuentan sólo los `size` primeros, que serán los de entrenar. Si aquí son tres,
# al 70 se le dice que salió dos veces; al 5, una; al 901, ninguna.
def times_seen(codes, size):
    """Cuántas veces sale cada número de `codes` (N,) entre los `size` primeros: (N,)."""
    compact = codes.unique(return_inverse=True)[1]           # (N,) los mismos, renumerados desde 0
    per_number = compact[:size].bincount(minlength=len(codes))
    return per_number[compact]

assert times_seen(torch.tensor([70, 5, 70, 901]), 3).tolist() == [2, 1, 2, 0]

# El segundo problema es peor: muchos contextos largos de la validación no se han visto al entrenar,
# y de ellos la tabla no sabe nada. Jelinek y Mercer (1980) mezclan (interpolation) lo que dice cada
# contexto con lo que dice el que tiene un carácter menos: p = λ · largo + (1 - λ) · corto. Si el
# largo da 1/2 a lo que vino, el corto 1/10, y λ es 3/4, la mezcla da 3/8 + 1/40 = 0.4. Si el largo
# es nuevo, sólo habla el corto. El corto es, a su vez, mezcla con otro más corto, y así hasta
# llegar al que no mira nada, que se mezcla con 1/V. Cada λ la elige la validación, entre 0 y 0.98:
# nunca 1, que haría imposible lo que no se ha visto.
def best_share(long, short):
    """La λ con que `λ long + (1 - λ) short`, las dos (N,), menos se sorprende."""
    def surprise(share):
        return -(share * long + (1 - share) * short).log().sum()
    return min(torch.linspace(0, 0.98, 50).tolist(), key=surprise)

# El número de un contexto de k caracteres se hace con el del que tiene uno menos, como los de las
# parejas: por V, más el carácter que se añade. El que se añade está un puesto más atrás que el
# último añadido: roll corre la fila un puesto. Hay una excepción. Si el último añadido ya era la
# frontera, se añade más frontera, porque antes del comienzo de una línea no hay nada.
#
# Las líneas van en este orden: las de entrenar, las de validar y las de prueba. Las cuentas sólo
# miran las parejas de entrenar, que son las `sizes[0]` primeras.
in_order = joined(lines)
past = in_order[:-1]                                         # (N,)
following = in_order[1:]                                     # (N,)
sizes = [len(ids_of) - 1 for ids_of in splits.values()]      # cuántas parejas son de cada parte
number = torch.zeros_like(past)                              # (N,) el de cada contexto
mixed = torch.full((len(past),), 1 / V, dtype=torch.float64) # (N,)
orders = []
print("\n8. contexto          casillas   vistas      λ   train      val   nuevos   val en ellos")
for k in range(BLOCK_SIZE + 1):
    if k > 0:
        number = number * V + past
        number = number.unique(return_inverse=True)[1]       # renumerados, siempre caben
        past = torch.where(past == NL, NL, past.roll(1))
    pair = number * V + following
    visits = times_seen(number, sizes[0])                    # (N,)
    found = times_seen(pair, sizes[0]).double() / visits     # (N,) lo que dicen las cuentas
    found = torch.where(visits > 0, found, mixed)
    long = found.split(sizes)[1]                             # (Nval,)
    short = mixed.split(sizes)[1]                            # (Nval,)
    share = best_share(long, short)
    mixed = share * found + (1 - share) * mixed
    surprise = -mixed.log()                                  # (N,)
    in_train, in_val, in_test = surprise.split(sizes)
    new = visits.split(sizes)[1] == 0                        # (Nval,) contextos nunca vistos
    orders.append([in_val.mean(), k, in_train.mean(), in_test.mean()])
    used = pair[:sizes[0]].unique()
    print(f"   {k:8d} {float(V) ** (k + 1):17.3g} "
          f"{len(used):8d} "
          f"{share:6.2f} "
          f"{in_train.mean():7.4f} "
          f"{in_val.mean():8.4f} "
          f"{new.double().mean():8.1%} "
          f"{in_val[new].mean():14.4f}")

# Lee la tabla de arriba abajo. Cada fila es un tamaño de contexto. Las casillas posibles se
# multiplican cada vez por V; las vistas no, porque el texto es el que es. La pérdida de entrenar se
# hunde: la tabla recita lo que contó. La de validar baja también, pero cada vez menos, y λ cae: de
# un contexto largo, visto una o dos veces, hay que fiarse poco.
#
# La columna «nuevos» dice qué parte de los contextos de la validación no se vio al entrenar. La
# última dice lo que se pierde en ellos (nan si no hay ninguno). Se pierde más que en los otros,
# porque ahí sólo habla un contexto más corto.
#
# Esta mezcla es la rival de las lecciones que siguen: con pueblos.txt, 1.6384 en validación, con 7
# caracteres. A igual contexto, 3, la red de la lección 03 le gana por poco, 1.7829 contra 1.7893.
# No lo hace con menos números: son 47 663 pesos contra 44 677 casillas vistas (las de 0 a 3
# caracteres). Donde le gana por mucho es en los contextos nunca vistos: 2.4048 contra 2.6887. Para
# una tabla la «a» se parece tanto a la «e» como a la «x», y lo aprendido en un contexto no le sirve
# en otro; a una red, sí.
#
# Pero quien cuenta puede mirar más lejos casi gratis, y desde 4 caracteres gana a las redes de las
# lecciones 03 y 04, que miran 3. Recordar lo visto y acertar en lo nuevo son dos virtudes, y no
# están reñidas: la lección 06 mete tablas parecidas a ésta dentro de la red.

# %% Guardar: entero o nada
def save(checkpoint, path):
    """Escribe `checkpoint` aparte y lo pone en `path` de golpe: se verá el viejo o el nuevo."""
    path = Path(path).resolve()                              # si es un enlace, su destino
    aside = Path(f"{path}.{os.getpid()}.tmp")                # otro proceso usará otro nombre
    try:
        with open(aside, "wb", buffering=0) as f:
            torch.save(checkpoint, f)
            os.fsync(f)
        os.replace(aside, path)
    except (OSError, RuntimeError):                          # torch dice RuntimeError si no cabe
        sys.exit(f"error: no puedo guardar «{path}»: ¿cabe en el disco? Lo escrito está en {aside}")

# %% 9. La prueba, y el modelo en un fichero
# El suavizado, las λ y el mejor contexto se han elegido con la validación: ya no es neutral. Por
# eso se guardaron unas líneas de prueba. Con ellas no se ha elegido nada, y su pérdida sólo se mira
# ahora.
losses["test"] = nll(log_p, splits["test"])
rival_val, k, rival_train, rival_test = min(orders)          # la de menor val
print(f"\n9. parejas: test {losses['test']:.4f}")
print(f"   la mejor mezcla, con {k} caracteres: "
      f"train {rival_train:.4f}   "
      f"val {rival_val:.4f}   "
      f"test {rival_test:.4f}")

# Se guardan la tabla de parejas y el vocabulario: sample.py sortea con ellos, sin volver a contar.
if STEPS > 0:
    save({"format": 1,
          "model": "bigram",
          "config": {},
          "chars": chars,
          "weights": {"log_p": log_p.float()},
          "data": Path(DATA).name,
          "step": STEPS,
          "train_loss": losses["train"],
          "val_loss": losses["val"]}, OUT)
    print(f"resultado train={losses['train']:.4f} "
          f"val={losses['val']:.4f} "
          f"test={losses['test']:.4f} "
          f"segundos={seconds:.1f} tokens_s=- ckpt={OUT}")
else:
    print("resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")

# %% Experimentos: predice antes de mirar (tal como viene: val 2.3508; la mejor mezcla, val 1.6384)
# - SMOOTHING = 1: ¿se nota, si se suma 1 a cada cuenta? Sí: val 2.3610.
# - DATA = "poesia.txt": ¿sorprende más un verso que un pueblo? Mirando una letra, algo más: val
#   2.3891. Mirando siete, menos, que el texto es tres veces más largo: celda 9: val 1.6231.
# - SEED = 1: ¿qué cambia con otros sorteos? Los textos: celda 6: 871 son iguales. La tabla, no:
#   val 2.3508.
# - LEARNING_RATE = 8: ¿llega antes al límite? No, oscila: celda 6: le faltan 0.0446.
# - STEPS = 20000: ¿y con diez veces más pasos? Le faltan 0.0003. ¿Y en las líneas de validar? Sigue
#   peor que la tabla suavizada: celda 6: val 2.3522.
# - BLOCK_SIZE = 9: ¿seguirá ganando quien mira más lejos? Casi nada: celda 9: val 1.6382.

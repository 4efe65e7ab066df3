"""
05. WaveNet: un árbol de caracteres que resulta ser una convolución

Al terminar sabrás juntar el contexto de dos en dos, por qué ese árbol es una convolución causal y
dilatada (causal dilated convolution), y qué le añade WaveNet para, por fin, ganar a contar.

    python 05_wavenet.py                  menos de un minuto (--steps 0: sólo las pruebas)
    python 05_wavenet.py --plot figuras   además, una figura
    python sample.py ckpt_wavenet.pt      el modelo inventa más pueblos
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
import unicodedata
from pathlib import Path

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"     # texto de trabajo, un ejemplo por línea: una ruta, o un nombre de data/
OUT = "ckpt_wavenet.pt"  # punto de control (checkpoint) que se escribe
SEED = 1337              # semilla del azar
PLOT = ""                # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 1500             # pasos del entrenamiento final (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 750      # pasos entre evaluaciones
DEMO_STEPS = 200         # pasos de cada entrenamiento corto de las tablas
BATCH_SIZE = 64          # líneas por paso; cada posición de cada línea es un ejemplo
DILATIONS = "1 1 1 2 2"  # salto de cada capa (celda 5); se miran 1 + su suma = 8 (celda 7)
N_EMBD = 64              # canales: números con que se describe cada posición
N_HIDDEN = 64            # unidades de cada capa
GATED = True             # puertas: tanh por sigmoide, en vez de tanh sola
RESIDUAL = True          # conexiones residuales: x + f(x) en vez de f(x)
SKIP = True              # atajos: la salida suma lo de todas las capas, no sólo la última
DROPOUT = 0.1            # fracción de lo que llega a la última capa que se apaga (celda 8)
LEARNING_RATE = 8e-3     # tasa de aprendizaje en su máximo
WARMUP_STEPS = 100       # pasos en que la tasa sube desde cero; después baja recta hasta cero
WEIGHT_DECAY = 0.1       # decaimiento de los pesos, sólo en las matrices

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
import torch.nn as nn
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
dilations = [int(d) for d in re.findall("[0-9]+", DILATIONS)] or [0]
if min(*dilations, BATCH_SIZE, N_EMBD, N_HIDDEN, EVAL_INTERVAL, DEMO_STEPS) < 1 or DROPOUT >= 1:
    sys.exit("error: DROPOUT debe ser menor que 1; los saltos, tamaños e intervalos, 1 o más")

# %% 1. De golpe, o de dos en dos
# La red de la lección 03 junta todo su contexto de golpe, en una capa. Con ocho caracteres se puede
# ir por pisos: primero parejas, luego grupos de cuatro, luego el grupo de ocho (Karpathy, «Building
# makemore, part 5»). FlattenConsecutive lleva de un piso al siguiente, y no calcula nada: sólo
# cambia la forma. Las formas se leen así: B ejemplos, T posiciones, C números (canales) en cada
# una. Mira en lo que imprime cómo se juntan las ocho posiciones: primero dos, luego cuatro, luego
# ocho.
class FlattenConsecutive(nn.Module):
    """Junta cada `n` posiciones seguidas en una más ancha: (B, T, C) -> (B, T/n, n*C)."""
    def __init__(self, n):
        super().__init__()
        self.n = n

    def forward(self, x):
        B, T, C = x.shape
        return x.reshape(B, T // self.n, self.n * C)

eight = torch.arange(8).view(1, 8, 1)                        # (B, T, C) un número por posición
print("1. ocho posiciones, de dos en dos:")
for _ in range(3):
    eight = FlattenConsecutive(2)(eight)
    print(f"   {tuple(eight.shape)}   {eight[0].tolist()}")

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

# %% 2. Una ventana por carácter
# Cada carácter se predice desde los ocho anteriores, sin salir de su línea. Lo que falta por la
# izquierda se rellena con la frontera, que aquí se ve como «·».
def windows(lines, size):
    """Cada carácter de `lines` con los `size` que lo preceden en su línea: (N, size), (N,).

    Lo que falta por la izquierda es frontera, y el último que se predice en una línea también.
    """
    edge = "\n" * size
    stream = encode(edge + edge.join(lines) + "\n")
    rows = stream.unfold(0, size + 1, 1)                     # (M, size + 1)
    rows = rows[(rows[:, -2:] != NL).any(1)]                 # sin las que acaban en dos fronteras
    return rows[:, :-1], rows[:, -1]

def by_window(lines):
    """Las ventanas de ocho caracteres de `lines`, y sus objetivos: (N, 8), (N,)."""
    return windows(lines, 8)

def show(row):
    """Los caracteres de los ids `row`, separados, con «·» en la frontera."""
    return " ".join(decode(row.tolist())).replace("\n", "·")

print(f"2. {V} caracteres; las ventanas de «{train[0][:20]}»:")
X, Y = by_window(train[:1])
for window, target in zip(X[:4], Y):
    print(f"   {show(window)} -> {chars[target]!r}")

# %% 3. La trampa de BatchNorm
# BatchNorm (lección 04) le da a cada canal media 0 y varianza 1, medidas en el lote. En la lección
# 04 lo que entraba tenía dos dimensiones, (B, H), los canales eran neuronas, y la media se tomaba
# sobre la primera. Dentro del árbol tiene tres, (B, T, C). La trampa es seguir tomándola sólo sobre
# la primera: las T posiciones de un ejemplo deberían contar como T ejemplos. La media ha de ir
# sobre las dos primeras dimensiones, y queda una por canal, (C,). Eso es la cura, y son dos líneas:
# se ponen en una sola fila los ejemplos y las posiciones, y se llama a la de PyTorch.
# ¿Y sin ella? Hay tres maneras de caer en la trampa:
# - La capa de la 04, tal cual, da un error: su x.mean(0) sale (T, C), y no cabe en una media
#   anotada (C,). Un error es lo mejor que puede pasar.
# - La misma capa, si en vez de corregir la media anotada pone otra en su lugar (así lo hace
#   Karpathy), no se queja. Cada posición recibe media y varianza propias, sacadas de T veces menos
#   números, y sólo lo delata la forma de la media anotada, (T, C).
# - La de PyTorch admite tres dimensiones, pero en otro orden: (B, C, T), los canales en medio. Con
#   (B, T, C) se queja... salvo si T y C son iguales. Entonces normaliza por posiciones, y calla.
# Lo que sigue es la cura. flatten(0, -2) pone en fila todas las dimensiones menos la última, y view
# devuelve la forma de antes.
class BatchNorm(nn.BatchNorm1d):
    """La de PyTorch, con todo lo que no son canales como ejemplos: (..., C) -> (..., C)."""
    def forward(self, x):
        rows = x.flatten(0, -2)                              # (B * T, C)
        return super().forward(rows).view(x.shape)

cube = torch.randn(32, 4, 10)                                # (B, T, C)
swapped = cube.transpose(1, 2)                               # (B, C, T), como lo quiere PyTorch
theirs = nn.BatchNorm1d(10)(swapped)
assert torch.allclose(BatchNorm(10)(cube), theirs.transpose(1, 2), atol=1e-5)
print(f"\n3. la media, con la trampa, {tuple(cube.mean(0).shape)}; con la cura, "
      f"{tuple(cube.mean((0, 1)).shape)}")


# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)

# %% 4. La plana y el árbol
# Las dos redes, capa a capa. La plana junta los ocho caracteres de golpe. El árbol los junta de dos
# en dos, tres veces, y en cada piso todas las parejas comparten pesos. Su último Flatten quita la
# T, que al llegar arriba es 1: (B, 1, V) -> (B, V).
def flat(width):
    """Notas (B, V) de ventanas (B, 8), de golpe. Con width 91 y V 79, pesa como el árbol."""
    return nn.Sequential(
        nn.Embedding(V, 24),
        nn.Flatten(),
        nn.Linear(8 * 24, width, bias=False), BatchNorm(width), nn.Tanh(),
        nn.Linear(width, V))

def tree():
    """Notas (B, V) de ventanas (B, 8), de dos en dos."""
    return nn.Sequential(
        nn.Embedding(V, 24),
        FlattenConsecutive(2), nn.Linear(2 * 24, 64, bias=False), BatchNorm(64), nn.Tanh(),
        FlattenConsecutive(2), nn.Linear(2 * 64, 64, bias=False), BatchNorm(64), nn.Tanh(),
        FlattenConsecutive(2), nn.Linear(2 * 64, 64, bias=False), BatchNorm(64), nn.Tanh(),
        nn.Linear(64, V),
        nn.Flatten())

def weigh(model):
    """Cuántos números aprende `model`."""
    return sum(w.numel() for w in model.parameters())

def adamw(model, decay):
    """AdamW (lección 03) para `model`, que encoge sus matrices y no sus vectores."""
    return torch.optim.AdamW([
        {"params": [w for w in model.parameters() if w.dim() == 2], "weight_decay": decay},
        {"params": [w for w in model.parameters() if w.dim() == 1], "weight_decay": 0},
    ], betas=(0.9, 0.99), fused=True)

# Para compararlas sirve un entrenamiento corto. `prepare` es la función que convierte unas líneas
# en lo que el modelo recibe, y los objetivos al final: ahora es by_window, y en la celda 5 habrá
# otra. (El asterisco de «*inputs, y» recoge en una lista todo lo que da la función, menos lo
# último.)
def practice(model, prepare, lines, steps, decay=WEIGHT_DECAY):
    """Entrena `model` con 16 líneas al azar por paso; la tasa baja recta hasta cero."""
    optimizer = adamw(model, decay)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / steps)
        *inputs, y = prepare(random.choices(lines, k=16))
        loss = F.cross_entropy(model(*inputs), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

@torch.no_grad()
def surprises(model, prepare, lines):
    """-ln p de cada carácter de `lines`, en nats, con `model` evaluando: (M,)"""
    model.eval()
    parts = []
    for i in range(0, len(lines), 256):
        *inputs, y = prepare(lines[i:i + 256])
        parts.append(F.cross_entropy(model(*inputs), y, reduction="none"))
    model.train()
    return torch.cat(parts)

def trial(label, models, prepare, steps=DEMO_STEPS, base=None):
    """Entrena cada modelo con los lotes de su semilla; escribe su fila y devuelve sus pérdidas."""
    losses, seconds = [], 0.0
    for seed, model in enumerate(models, SEED):
        random.seed(seed)                                    # la misma semilla, los mismos lotes
        tick = time.perf_counter()
        practice(model, prepare, train, steps)
        seconds += time.perf_counter() - tick
        losses.append(surprises(model, prepare, val).mean())
    losses = torch.stack(losses)
    row = "".join(f"{loss:9.4f}" for loss in losses)
    if base is not None:
        gap = losses - base
        row += f"   {gap.mean():+.4f} ± {gap.std() / len(gap)**0.5:.4f}"
    print(f"   {label:18}{weigh(model):12}{seconds:10.1f}{row}")
    return losses

# ¿Cuándo es verdad una diferencia entre dos filas? Cada semilla da unos lotes, y los dos modelos
# ven los mismos: se restan sus pérdidas por parejas. Si manda el azar, las restas salen unas
# positivas y otras negativas. Se toma su media, y su error, que es la desviación de las restas
# entre la raíz de cuántas son (lección 03). Si las restas fueran 0.01, 0.02 y 0.03, la media sería
# 0.02, la desviación 0.01 (dividiendo por n - 1, y no por n, como repone la lección 04), y el error
# 0.01 / √3 = 0.006: se escribe 0.02 ± 0.006. Con siete semillas, una media de menos de dos errores
# y medio bien puede ser azar. Con tres, de menos de cuatro y pico; y aun así hay que desconfiar,
# porque el error también se mide con sólo tres números, y alguna vez sale muy pequeño sin que lo
# sea. (Los pesos con que nacen son otros en cada fila: ese azar se queda dentro de las restas.)
HEADER = f"   {'':18}  parámetros  segundos   val, por semilla              menos la primera"
SEEDS = range(3)
if STEPS:
    print(f"\n4. la plana y el árbol\n{HEADER}")
    plain = trial("plana", [flat(91) for _ in SEEDS], by_window)
    trial("plana, más pasos", [flat(91) for _ in SEEDS], by_window, DEMO_STEPS * 5 // 4)
    trial("árbol", [tree() for _ in SEEDS], by_window, base=plain)
# Mira las dos cosas: los segundos, y la última columna, «menos la primera», que es esa media y su
# error. Tienen casi los mismos parámetros, y los mismos pasos y ejemplos. Con tres semillas nos ha
# salido +0.0177 ± 0.0025, como si el árbol perdiera; con siete (SEEDS = range(7)), -0.0060 ±
# 0.0079, que no llega a un error: tres eran pocas. Ventaja no se ve ninguna, y el árbol tarda más.
# Así no compensa. (La segunda fila es la plana con una cuarta parte más de pasos: compara también
# sus segundos con los del árbol.) Lo que vale del árbol es otra cosa: las dos celdas que siguen.


# %% 5. El árbol es una convolución
# Una convolución pasa unos mismos pesos por todas las posiciones de una fila. Prueba con la fila 1,
# 2, 3, 4, 5 y dos pesos: 10 para el número de cada posición, y 1 para el anterior. El primero no
# tiene anterior, y hace de anterior él mismo. Salen
#     10 · 1 + 1 · 1 = 11,  10 · 2 + 1 · 1 = 21,  10 · 3 + 1 · 2 = 32,  43  y  54.
# Es causal (causal), porque ninguna salida usa números que vengan después. Y es dilatada (dilated),
# con salto 2, si en vez del anterior se toma el de dos antes: 11, 21, 31, 42 y 53.
# PyTorch la llama F.conv1d. Sin relleno da cuatro números, uno por cada dos vecinos. Rellenada por
# la izquierda con d números (replicate: repitiendo el primero), da cinco, y es causal. La fila va
# como (filas, canales, posiciones); los pesos, como (salidas, entradas, tamaño). Aquí, (1, 1, 5) y
# (1, 1, 2): una fila, un canal que entra y uno que sale, cinco posiciones y dos pesos. Si en cada
# posición no hay un número sino C, cada peso es una matriz, y hay otro modo de escribirla: los C
# números de antes y los C de ahora, uno tras otro (cat), pasan por una capa lineal. La mitad
# izquierda de su matriz es el peso de lo de antes, y la derecha, el de lo de ahora. Así se
# escriben, sin F.conv1d, la función slide y la WaveNet.
row = torch.tensor([[[1.0, 2, 3, 4, 5]]])                    # (1, 1, 5)
weights = torch.tensor([[[1.0, 10]]])                        # (1, 1, 2) antes, y ahora
print("\n5. 1 2 3 4 5, por 10 y el anterior por 1:")
for d, by_hand in (1, [11, 21, 32, 43, 54]), (2, [11, 21, 31, 42, 53]):
    causal = F.conv1d(F.pad(row, (d, 0), mode="replicate"), weights, dilation=d).flatten()
    print(f"   salto {d}: {causal.tolist()}")
    assert causal.tolist() == by_hand

# Ahora, el árbol. Su primer piso junta parejas, con los mismos pesos para todas. El segundo junta
# dos parejas, que distan 2; el tercero, dos grupos, que distan 4. La pareja de las posiciones 5 y 6
# está en el árbol que acaba en la 6, en el que acaba en la 8, en el de la 10 y en el de la 12:
# ventana a ventana, se calcula cuatro veces. Basta con una: cada piso se calcula una vez en cada
# posición, con lo suyo y con lo de d antes (d = 1, 2 y 4), y cada árbol toma de ahí lo que le toca.
# Son tres convoluciones causales y dilatadas (van den Oord et al., «WaveNet», 2016, figura 3).
# Falta una cosa: las líneas. Se ponen todas en una fila de N posiciones, cada una precedida de su
# frontera, y nadie debe mirar más atrás del comienzo de la suya. Allí atrás, toda ventana sería de
# sólo fronteras; y la de la primera posición, que es la frontera de la línea, también lo es. Lo que
# un piso calcularía más atrás es, pues, lo mismo que calcula en la primera posición. Así que basta
# con no salirse: quien pida algo de antes del comienzo recibe lo de la primera posición.
# Para eso hace falta saber dónde empieza la línea de cada posición. Con las líneas «Hoz» y «Olmo»
# la fila es ·Hoz·Olmo, y hay frontera en los puestos 0 y 4: es lo que da nonzero. La suma de las
# que van hasta cada posición (cumsum), menos 1, es el número de su línea: 0 0 0 0 1 1 1 1 1. El
# comienzo es el puesto de la frontera que tiene ese número: 0 0 0 0 4 4 4 4 4. Lo de dos posiciones
# antes está en los puestos -2 -1 0 1 2 3 4 5 6; sin pasar del comienzo (maximum), en los puestos
# 0 0 0 1 4 4 4 5 6.
def in_a_row(lines):
    """Las líneas, en fila: ids (N,), comienzo de la línea de cada posición (N,), objetivos (N,)."""
    stream = encode("\n" + "\n".join(lines) + "\n")          # (N + 1,)
    x = stream[:-1]
    edge = x == NL                                           # (N,) ¿empieza aquí una línea?
    line = edge.cumsum(0) - 1                                # (N,) de qué línea es
    start = edge.nonzero()[:, 0][line]                       # (N,) dónde empieza esa línea
    return x, start, stream[1:]

def past(h, d, start):
    """Lo que había `d` posiciones antes, sin salir de la línea: h (N, ...), start (N,) -> h."""
    where = (torch.arange(len(h)) - d).maximum(start)        # (N,)
    return h.index_select(0, where)

def slide(tree, x, start):
    """Las notas de un árbol en cada posición de una fila: ids (N,), start (N,) -> (N, V)."""
    d = 1
    for layer in tree:
        if isinstance(layer, FlattenConsecutive):
            x = torch.cat([past(x, d, start), x], dim=1)     # (N, 2C)
            d *= 2
        else:
            x = layer(x)
    return x

x, start, y = in_a_row(sorted(train[:64], key=len)[:3])
print(f"\n   tres líneas en fila   {show(x[:20])}")
for d in 1, 2, 4:
    print(f"   hace {d}                {show(past(x, d, start)[:20])}")
print(f"   objetivo              {show(y[:20])}")

few = [line[:100] for line in train[:64]]
x, start, y = in_a_row(few)                                  # (N,) cada uno
contexts, _ = by_window(few)                                 # (N, 8)
model = tree()
model(contexts)                                              # que BatchNorm tenga qué recordar
model.eval()
assert torch.allclose(slide(model, x, start), model(contexts), atol=1e-4)
print(f"   en {len(x)} posiciones, el árbol y la convolución dan las mismas notas")


# %% 6. Una pasada por línea
# Ventana a ventana, cada predicción hace las siete cuentas de su árbol (cuatro parejas, dos grupos
# de cuatro y uno de ocho); en la convolución son tres, una por piso, y las demás las ponen los
# vecinos. Con las medias de BatchNorm ya anotadas, la pérdida y el gradiente son los mismos, con
# menos de la mitad de cuentas, y eso es lo que vale el árbol. (Mientras se entrena no son iguales
# del todo: en un lote de ventanas cada pareja entra varias veces en la media.) La razón entre las
# dos filas de la tabla cambia de una máquina a otra, porque no sólo cuentan las cuentas: un lote de
# ventanas lleva cada carácter ocho veces, y mover números también cuesta.
def from_windows():
    return F.cross_entropy(model(contexts), y)

def from_the_row():
    return F.cross_entropy(slide(model, x, start), y)

print("\n6. misma pérdida y mismo gradiente; predicciones aprendidas por segundo:")
found = []
for label, loss_of in [
    ("un lote de ventanas", from_windows),
    ("una fila, convolución", from_the_row),
]:
    tick = time.perf_counter()
    for _ in range(5):
        loss = loss_of()
        grads = torch.autograd.grad(loss, model.parameters())
    speed = 5 * len(y) / (time.perf_counter() - tick)
    found.append([loss, *grads])
    print(f"   {label:26}{speed:10.0f}")
for one, other in zip(*found):
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


# %% 7. WaveNet
# Una WaveNet es una pila de capas causales, y le añade a la convolución tres piezas (apartados 2.3
# y 2.4 del artículo). Así es una capa, y así se juntan:
#
#     h ──> norm ──> conv con lo de d antes ──> tanh · sigmoide = z ──> mix ──> (+) ──> h siguiente
#     │                                          (puerta)         │             │
#     └──────────────────── residual ─────────────────────────────┼─────────────┘
#                                                                 └──> skip ──> (+) ──> heard
#     al final:  heard ──> ReLU ──> dropout ──> head ──> notas
#
# Cada (+) es una suma: el de arriba, con la h que entró en la capa; el de abajo, con lo que dijeron
# las capas de antes. La norm es BatchNorm, y conv, la convolución de la celda 5.
# La puerta (gate). De la convolución salen dos números por unidad, u y v, y la unidad vale
# z = tanh(u) · σ(v). La σ es la sigmoide, 1 / (1 + e^-v), que va de 0 a 1: tanh propone, σ decide
# cuánto pasa. Si tanh propone 0.8 y σ dice 0.5, pasa 0.4; si σ dice casi 0, casi nada.
# La suma residual. La capa no da la h siguiente, sino lo que hay que sumarle a la de ahora: la
# corrige, y no la rehace. La corrección la da mix, una capa lineal que lleva las H unidades de z a
# los C canales de h.
# Los atajos (skip). Otra capa lineal lleva z a la salida, y la salida oye (heard) la suma de todas.
# Con atajos, la última mix sobra: nadie escucha la h que saldría de ella. La última capa (head) da
# las notas. (Dropout se explica en la celda 8.)
# En el código, nn.ModuleList es una lista de capas que parameters() también recorre, y chunk(2)
# parte en dos mitades lo que sale de conv: u y v. En una fila lo que entra es (N, C): no hay
# trampa, y vale la BatchNorm de PyTorch tal cual. Los vectores nacen con desviación 0.5 y no 1: la
# primera norm lo borra, pero en la suma residual lo que añaden las capas pesa el doble.
# ¿Cuánto alcanza a ver? Cada capa añade a lo que ya se veía lo que está d antes: en total, 1 más la
# suma de los saltos. A eso se le llama campo receptivo (receptive field). Con 1, 1, 1, 2 y 2 son
# ocho caracteres, como con 1, 2 y 4, pero en cinco capas.
# En el artículo no hay BatchNorm, y de heard a las notas hay dos capas, no una. Aquí BatchNorm está
# por el margen que da (lección 04), y tiene un precio que se verá.
BLOCK_SIZE = 1 + sum(dilations)                              # caracteres que se miran

class WaveNet(nn.Module):
    """Capas causales con los saltos `dilations`: ids y comienzos (N,) -> notas (N, V)."""
    def __init__(self, dilations, n_embd, n_hidden, gated=True, residual=True, skip=True,
                 dropout=0.0):
        super().__init__()
        self.dilations = dilations
        self.gated = gated
        self.residual = residual
        C, H = n_embd, n_hidden
        out = 2 * H if gated else H                          # la propuesta y la puerta
        self.token = nn.Embedding(V, C)
        self.norm = nn.ModuleList(nn.BatchNorm1d(C) for _ in dilations)
        self.conv = nn.ModuleList(nn.Linear(2 * C, out) for _ in dilations)
        self.mix = nn.ModuleList(nn.Linear(H, C) for _ in dilations)
        self.skip = nn.ModuleList()
        if skip:
            self.skip.extend(nn.Linear(H, 2 * C) for _ in dilations)
            del self.mix[-1]                                 # nadie la escucharía
        self.head = nn.Linear(2 * C if skip else C, V)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.token.weight, std=0.5)

    def forward(self, x, start):
        h, heard = self.token(x), 0                                         # (N, C)
        for i, d in enumerate(self.dilations):
            z = self.norm[i](h)
            z = torch.cat([past(z, d, start), z], dim=1)                    # (N, 2C)
            z = self.conv[i](z)                                             # (N, 2H) o (N, H)
            if self.gated:
                z, gate = z.chunk(2, dim=1)                                 # (N, H) cada una
                z = z.tanh() * gate.sigmoid()
            else:
                z = z.tanh()
            if self.skip:
                heard = heard + self.skip[i](z)                             # (N, 2C)
            if i < len(self.mix):
                change = self.mix[i](z)                                     # (N, C)
                h = h + change if self.residual else change
        heard = F.relu(heard if self.skip else h)
        return self.head(self.dropout(heard))                               # (N, V)

def after(model, context):
    """Notas de lo que sigue a cada fila de `context` (K, T), cada una por su cuenta: (K, V)."""
    K, T = context.shape
    start = (T * torch.arange(K)).repeat_interleave(T)       # (K * T,) 0... T... 2T...
    logits = model(context.flatten(), start)                 # (K * T, V)
    return logits.view(K, T, V)[:, -1]

# Tres pruebas, con x, start y few de la celda 5. La primera: lo que da una pasada es lo de cada
# ventana por separado. Para las otras dos se cambia un carácter de una línea, y se mira qué
# predicciones cambian. Evaluando, sólo las que lo tienen en su campo receptivo: ni una anterior, ni
# una más allá. Entrenando, casi siempre todas: por la media y la varianza de BatchNorm, cada
# predicción mira un poco a todo el lote, y con él a su propio futuro. Mientras entrena, esta red no
# es causal; al usarla, sí.
# Lo medido es un cuadro: en la fila t y la columna s, cuánto mueve a la predicción t el carácter s.
# Encima de la diagonal, s > t, está el futuro: es lo que deja triu(1). Muy por debajo están los
# caracteres que quedan ya demasiado atrás: es lo que deja tril(-BLOCK_SIZE). Con --plot, la figura
# es este cuadro, de la red ya entrenada: cuanto más claro, más la mueve.
@torch.no_grad()
def touched(model, line):
    """Cuánto mueve a la predicción t cambiar el carácter s de `line` (T,): (T, T), fila t."""
    start = torch.zeros_like(line)
    before = model(line, start)                              # (T, V)
    columns = []
    for s in range(len(line)):
        other = line.clone()
        other[s] = (line[s] + 1) % V
        change = model(other, start) - before
        columns.append(change.abs().amax(1))
    return torch.stack(columns, dim=1)

model = WaveNet(dilations, 24, 24)
model(x, start)                                              # que BatchNorm tenga qué recordar
line = torch.randint(V, (2 * BLOCK_SIZE,))
leak = touched(model, line)[:, -1]                           # cambia el último, entrenando
model.eval()
contexts, _ = windows(few, BLOCK_SIZE)
assert torch.allclose(model(x, start), after(model, contexts), atol=1e-4)
felt = touched(model, line)
assert felt.triu(1).max() < 1e-4                             # nada del futuro
assert felt.tril(-BLOCK_SIZE).max() < 1e-4                   # ni de más allá de 1 + los saltos
print("\n7. WaveNet: las notas de una pasada son las de cada ventana por separado\n"
      f"   cambiar el último carácter mueve {(felt[:, -1] > 1e-4).sum()} predicción de {len(line)} "
      f"al evaluar, y {(leak > 1e-4).sum()} al entrenar")
# ¿Cuánto da cada pieza? En la tabla, redes con casi los mismos parámetros: a la que al perder algo
# se queda con menos pesos se le dan más unidades (la suma residual no tiene pesos). Mira la última
# columna: lo que cada una pierde de más que la entera. Con siete semillas (SEEDS = range(7)) y 200
# pasos, son 0.0254 ± 0.0021 sin puertas; 0.0420 ± 0.0033 sin atajos; 0.0577 ± 0.0055 sin suma
# residual. Las tres pasan de sobra de dos errores y medio. Con más pasos, el orden puede ser otro.
whole = None                                                 # las pérdidas de la primera fila
if STEPS:
    print(HEADER)
    for label, n, *kind in [
        ("las tres", 24, True, True, True),
        ("sin puertas", 34, False, True, True),
        ("sin residual", 24, True, False, True),
        ("sin atajos", 36, True, True, False),
        ("ninguna", 60, False, False, False),
    ]:
        models = [WaveNet(dilations, 24, n, *kind) for _ in SEEDS]
        losses = trial(label, models, in_a_row, base=whole)
        whole = losses if whole is None else whole

# %% 8. Más ancho o más hondo, y los frenos
# Partir un salto en dos da más capas con el mismo campo receptivo. ¿Rinde más el ancho o el fondo?
# La tabla responde: por segundo, el ancho. Tres capas de 48 pierden menos que siete de 16, y tardan
# menos. Aquí va una sola semilla, y por eso la última columna está vacía. Por lo que se desvían las
# restas de la celda 7, de una diferencia de menos de cuatro centésimas no hay que fiarse.
if STEPS:
    print(f"\n8. el tamaño\n{HEADER}")
    for jumps in [1, 2, 4], [1] * 7:
        for n in 16, 48:
            trial(f"{len(jumps)} capas de {n}", [WaveNet(jumps, n, n)], in_a_row)
# Con pocas líneas, el modelo acaba por recitarlas: la pérdida de entrenar sigue bajando y la de
# validar sube (sobreajuste, lección 03). Hay dos frenos. El decaimiento encoge los pesos. Dropout
# apaga al azar, en cada paso, una parte de los números que llegan a la última capa: los pone a
# cero, y multiplica los demás por 1 / (1 - parte) para que la suma quede, de media, como estaba.
# Con parte 0.5, de 2, 4, 6 y 8 puede quedar 4, 0, 0 y 16. Así la red no puede fiarse de uno solo.
# Al evaluar no apaga nada. Mira, en cada fila, cuánto hay de la pérdida de entrenar a la de
# validar. (Lo que sigue está aún dentro del if de arriba.)
    handful = train[:len(train) // 100 + 1]
    print(f"\n   con pocas líneas ({len(handful)}) y {DEMO_STEPS} pasos      train      val")
    for label, drop, decay in [
        ("sin freno", 0.0, 0.0),
        ("dropout 0.5", 0.5, 0.0),
        ("decaimiento 3", 0.0, 3.0),
    ]:
        torch.manual_seed(SEED)
        model = WaveNet(dilations, 48, 48, dropout=drop)
        practice(model, in_a_row, handful, DEMO_STEPS, decay)
        row = "".join(f"{surprises(model, in_a_row, part).mean():9.3f}" for part in (handful, val))
        print(f"   {label:32}{row}")


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


# %% La rival: contar, con el contexto que más convenga (lección 02, celda 8)
# ¿Vale una red lo que cuesta? Hay que ponerla al lado de la tabla de la lección 02. Aquí está:
# cuenta qué sigue a cada contexto de k caracteres, y mezcla lo que dice con lo que dice el contexto
# de k - 1, que se ha visto más veces. Cuánto se fía del largo (share, la λ de allí) lo elige la
# validación, y torch.lerp(p, q, share), que es p + share · (q - p), hace la mezcla.
def counting(x, y, size):
    """-log p de cada `y` de validación, contando con contextos de 0 a T: (T + 1, N - size).

    `x` (N, T) son los contextos, `y` (N,) lo que les sigue; se cuentan las `size` primeras filas.
    """
    def times(codes):                                        # (N,) cuánto sale cada código
        found = codes.unique(return_inverse=True)[1]         # los mismos, numerados desde 0
        return found[:size].bincount(minlength=len(y))[found]

    p = torch.full((len(y),), 1 / V, dtype=torch.float64)    # (N,) sin contar nada
    shares = torch.linspace(0, 0.98, 50, dtype=torch.float64)
    context = torch.zeros_like(y)                            # (N,) el contexto, hecho un número
    surprises = []
    for k in range(x.size(1) + 1):
        if k > 0:
            context = context * V + x[:, -k]                 # un carácter más
        visits, hits = times(context), times(context * V + y)
        q = torch.where(visits > 0, hits / visits, p)        # (N,) si es nuevo, el más corto
        losses = [-torch.lerp(p[size:], q[size:], share).log().mean() for share in shares]
        best = torch.stack(losses).argmin()
        p = torch.lerp(p, q, shares[best])
        surprises.append(-p[size:].log())
    return torch.stack(surprises)


# %% 9. Entrenar, juzgar y generar
# Ahora en serio, con el mismo bucle que en las lecciones 03 y 04. Un ejemplo es una posición, pero
# lo que se sortea son líneas: en cada paso, BATCH_SIZE, con todas sus posiciones. Se guarda el
# mejor modelo, el que menos perdió en validación de los que se miraron. La prueba se mira una sola
# vez.
torch.manual_seed(SEED)
model = WaveNet(dilations, N_EMBD, N_HIDDEN, GATED, RESIDUAL, SKIP, DROPOUT)
optimizer = adamw(model, WEIGHT_DECAY)
config = {
    "block_size": BLOCK_SIZE,
    "dilations": dilations,
    "n_embd": N_EMBD,
    "n_hidden": N_HIDDEN,
    "gated": GATED,
    "residual": RESIDUAL,
    "skip": SKIP,
}

def evaluate(lines):
    """Pérdida media de `model` en nats por carácter de `lines`."""
    return surprises(model, in_a_row, lines).mean().item()

print(f"\n9. {weigh(model)} parámetros, saltos {DILATIONS}; {STEPS} pasos de {BATCH_SIZE} líneas")
best, seconds, seen = {"val_loss": math.inf}, 0.0, 0
for step in range(1, STEPS + 1):
    tick = time.perf_counter()
    up = step / (WARMUP_STEPS + 1)                           # de 0 a 1 en los primeros pasos
    down = (STEPS - step + 1) / max(STEPS - WARMUP_STEPS, 1) # de 1 a 0 en los demás
    rate = LEARNING_RATE * min(up, down)
    for group in optimizer.param_groups:
        group["lr"] = rate
    pick = torch.randint(len(train), (BATCH_SIZE,))          # (B,)
    x, start, y = in_a_row([train[i] for i in pick.tolist()])
    loss = F.cross_entropy(model(x, start), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    seen += len(y)
    seconds += time.perf_counter() - tick                    # evaluar no cuenta
    left = (STEPS - step) * seconds / step
    live(f"{step}/{STEPS}   pérdida {loss:.3f}   {seen / seconds:.0f} caracteres/s   "
         f"faltan {left:.0f} s")
    if step % EVAL_INTERVAL == 0 or step == STEPS:
        now = {"step": step,
               "train_loss": evaluate(train),
               "val_loss": evaluate(val),
               "weights": {name: w.clone() for name, w in model.state_dict().items()
                           if w.is_floating_point()}}
        if not math.isfinite(now["val_loss"]):
            sys.exit(f"error: la pérdida dejó de ser finita antes del paso {step}: baja "
                     "LEARNING_RATE")
        if now["val_loss"] < best["val_loss"]:
            best = now
            save({"format": 1, "model": "wavenet", "config": config, "chars": chars,
                  "data": Path(DATA).name, **best}, OUT)
        live("")
        print(f"   paso {step:5d}   train {now['train_loss']:.4f}   val {now['val_loss']:.4f}   "
              f"mejor {best['step']:5d}")

# Al lado, la rival, con los mismos ocho caracteres y con los que más le convengan. A las redes de
# las lecciones 03 y 04, que miran tres, la tabla les gana con sólo mirar más. A ésta ya no le gana.
# Mira también los contextos de ocho caracteres que nunca salieron al entrenar. La tabla ha de
# acortarlos hasta uno que conozca; la red los lee enteros.
result = "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-"
if STEPS:
    model.load_state_dict(best["weights"], strict=False)     # no se guarda cuántos lotes van
    test_loss = evaluate(test)
    X, Y = by_window(train)
    contexts, _ = by_window(val)
    known = set(map(tuple, X.tolist()))
    fresh = torch.tensor([tuple(context) not in known for context in contexts.tolist()])
    ours = surprises(model, in_a_row, val)                   # (M,)
    theirs = counting(*by_window(train + val), len(Y))       # (9, M)
    table = theirs.mean(1)                                   # con 0, 1... 8 caracteres
    print(f"   contar, con 8 caracteres: val {table[8]:.4f}; con {table.argmin()}, su mejor: "
          f"val {table.min():.4f}\n   en los {fresh.sum()} contextos nunca vistos, de {len(ours)}: "
          f"la red {ours[fresh].mean():.3f}, contar {theirs[8][fresh].mean():.3f}")
    result = (f"resultado train={best['train_loss']:.4f} val={best['val_loss']:.4f} "
              f"test={test_loss:.4f} segundos={seconds:.1f} tokens_s={seen / seconds:.0f} "
              f"ckpt={OUT}")
model.eval()
if PLOT:
    plt.imshow(touched(model, encode("\n".join(val)[:2 * BLOCK_SIZE])), cmap="cividis")
    plt.gca().set(xlabel="posición del carácter que se cambia", ylabel="posición de la predicción")
    plt.savefig(Path(PLOT) / "campo_receptivo.png", dpi=150, bbox_inches="tight")

@torch.no_grad()
def generate(count, longest=60):
    """`count` líneas inventadas a la vez, de `longest` caracteres como mucho: lista de textos."""
    row = torch.full((count, BLOCK_SIZE), NL)                # (count, T)
    for _ in range(longest):
        p = F.softmax(after(model, row[:, -BLOCK_SIZE:]), dim=1)             # (count, V)
        row = torch.cat([row, torch.multinomial(p, 1)], dim=1)
    return [decode(line[BLOCK_SIZE:]).split("\n")[0] for line in row.tolist()]

torch.manual_seed(SEED)
for name in generate(12):
    print("   " + name)
print(result)

# %% Experimentos: predice antes de mirar (con pueblos.txt; tal como viene, val 1.6250)
# Las cifras son de una semilla, y con otros hilos o en otro ordenador las sumas se hacen en otro
# orden, que mueve val hasta 0.005: una diferencia menor que ésa no dice nada.
# - GATED = False: ¿qué se pierde sin puertas? val 1.6682.
# - RESIDUAL = False, SKIP = False: ¿y sin ningún camino directo? Mucho más: val 1.8104.
# - DILATIONS = "1 2 4": ¿y si se ven los mismos ocho caracteres con tres capas, en vez de cinco? Se
#   pierde más, y en menos tiempo: val 1.6595.
# - DILATIONS = "1 1 2 4 7": ¿y si con cinco capas se ve el doble, 16 caracteres? No se nota:
#   val 1.6229.
# - N_EMBD = 128, N_HIDDEN = 128: ¿y con el doble de ancho? Tiene casi cuatro veces más parámetros,
#   tarda más y gana: val 1.5993.
# - DROPOUT = 0: ¿hace falta el freno? Aún no: en tan pocos pasos no recita, y no se nota si falta:
#   val 1.6223.
# - DEMO_STEPS = 20: ¿cambia la red final, si las de las tablas se entrenan diez veces menos? No,
#   porque vuelve a fijar la semilla: val 1.6250.
# - DATA = "names.txt", BATCH_SIZE = 128, STEPS = 2000, WEIGHT_DECAY = 0.3, DROPOUT = 0.15: ¿y con
#   nombres de pila en inglés, el texto de la clase de Karpathy, que llega a 1.993 (data/README.md)?
#   Son más cortos, se recitan antes y piden más freno: val 1.9585.
# Y dos en el código, con --steps 0. En la clase BatchNorm, devuelve super().forward(x), sin poner
# nada en una sola fila. ¿Quién se queja, y de qué? PyTorch, en la celda 3: «running_mean should
# contain 4 elements not 10», porque ha tomado las 4 posiciones por canales. Y en past, cambia
# maximum(start) por clamp(0): ¿quién nota que una línea mire a la anterior? El assert de la celda
# 5.

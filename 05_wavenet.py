"""
05. WaveNet: un árbol de caracteres que resulta ser una convolución

Al terminar sabrás por qué conviene juntar el contexto de dos en dos y no de
golpe, en qué trampa cae BatchNorm con tres dimensiones, por qué ese árbol es
una convolución causal y dilatada (causal dilated convolution) que aprende una
línea entera en una pasada, y qué le añade WaveNet.

    python 05_wavenet.py                  los pueblos: menos de un minuto
    python 05_wavenet.py --steps 0        sólo las piezas y sus pruebas
    python 05_wavenet.py --plot figuras   además, dos figuras
    python sample.py ckpt_wavenet.pt      el modelo inventa más

Fuentes: van den Oord et al., «WaveNet: A Generative Model for Raw Audio»
(2016), figura 3, ecuación 2 y apartado 2.4; Paine et al., «Fast Wavenet
Generation Algorithm» (2016); Ioffe y Szegedy, «Batch Normalization» (2015),
algoritmo 1; Karpathy, «Building makemore, part 5» (2022), el árbol.
"""
import argparse
import bisect
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

import torch
import torch.nn as nn
import torch.nn.functional as F

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"      # texto de trabajo, un ejemplo por línea: una ruta, o un nombre de data/
OUT = "ckpt_wavenet.pt"   # punto de control (checkpoint) que se escribe
SEED = 1337               # semilla del azar
PLOT = ""                 # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 1100              # pasos del entrenamiento final (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 275       # pasos entre evaluaciones
DEMO_STEPS = 100          # pasos de cada entrenamiento corto de las tablas
BATCH_SIZE = 64           # líneas por paso; cada posición de cada línea es un ejemplo
BLOCK_SIZE = 8            # caracteres que se miran: una potencia de 2
DILATIONS = "1 1 1 2 2"   # salto de cada capa; suman BLOCK_SIZE - 1 (con 8 valdría «1 2 4»)
N_EMBD = 48               # canales: números con que se describe cada posición
N_HIDDEN = 48             # unidades de cada capa
GATED = True              # puertas: tanh por sigmoide, en vez de tanh sola
RESIDUAL = True           # conexiones residuales: x + f(x) en vez de f(x)
SKIP = True               # atajos: la salida suma lo de todas las capas, no sólo la última
DROPOUT = 0.0             # fracción de activaciones que se apagan al entrenar
LEARNING_RATE = 6e-3      # tasa de aprendizaje en su máximo
WARMUP_STEPS = 100        # pasos en que la tasa sube desde cero; después baja recta hasta cero
WEIGHT_DECAY = 0.1        # decaimiento de los pesos, sólo en las matrices
GRAD_CLIP = 1.0           # norma máxima del gradiente (0: sin límite)

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

# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)

# %% 1. La marca que hay que batir: ocho caracteres de golpe
# La red plana de la lección 03 con más contexto: los vectores de los BLOCK_SIZE caracteres
# anteriores entran en fila en una sola capa. Su anchura es la que iguala en parámetros al árbol de
# la celda 3, para que sólo compita la forma. El bucle de entrenar sirve a toda la lección.
dilations = [int(d) for d in DILATIONS.split()]
if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if BLOCK_SIZE not in (2, 4, 8, 16, 32, 64) or 1 + sum(dilations) != BLOCK_SIZE:
    sys.exit("error: BLOCK_SIZE debe ser una potencia de 2, de 2 a 64, y DILATIONS, enteros que "
             "sumen BLOCK_SIZE - 1")
if min(BATCH_SIZE, N_EMBD, N_HIDDEN, EVAL_INTERVAL, DEMO_STEPS) < 1:
    sys.exit("error: BATCH_SIZE, N_EMBD, N_HIDDEN, EVAL_INTERVAL y DEMO_STEPS deben ser 1 o más")


def windows(lines, size):
    """Cada carácter de `lines` con los `size` que lo preceden en su línea: (N, size), (N,).

    Lo que falta por la izquierda es frontera, y el último que se predice en una línea también.
    """
    edge = "\n" * size
    stream = encode(edge + edge.join(lines) + "\n")
    rows = stream.unfold(0, size + 1, 1)                     # (M, size + 1)
    rows = rows[(rows[:, -2:] != NL).any(1)]                 # ninguno de frontera a frontera
    return rows[:, :-1], rows[:, -1]


def window_data(lines):
    """Las ventanas de `lines`: cuántas hay, y cómo coger unas: filas (B,) -> (B, T), (B,)."""
    x, y = windows(lines, BLOCK_SIZE)
    return len(y), lambda rows: (x[rows], y[rows])


def fit(model, data, steps, batch, decay=WEIGHT_DECAY, watch=None, every=1):
    """Entrena con `batch` filas de `data` por paso: pasos dados, predicciones hechas y segundos.

    Cada `every` pasos, y al final, llama a `watch(paso)`, si se da; lo que tarde no cuenta.
    """
    (n, take), seen, seconds = data, 0, 0.0
    matrices, vectors = ([w for w in model.parameters() if w.dim() == dim] for dim in (2, 1))
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": decay},
                                   {"params": vectors, "weight_decay": 0.0}],
                                  lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True)
    warmup = min(WARMUP_STEPS, steps // 4)
    torch.manual_seed(SEED)
    try:
        for step in range(steps):
            tick = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * min((step + 1) / (warmup + 1),
                                                  (steps - step) / (steps - warmup))
            *inputs, y = take(torch.randint(n, (batch,)))
            model.train()
            loss = F.cross_entropy(model(*inputs), y)
            optimizer.zero_grad()
            loss.backward()
            if GRAD_CLIP:
                nn.utils.clip_grad_norm_(matrices + vectors, GRAD_CLIP)
            optimizer.step()
            if not math.isfinite(loss.item()):
                sys.exit(f"error: la pérdida dejó de ser finita en el paso {step}: baja LEARNING_RATE")
            seen += len(y)
            seconds += time.perf_counter() - tick
            left = (steps - step - 1) * seconds / (step + 1)
            live(f"{step}/{steps}   pérdida {loss:.3f}   {seen / seconds:.0f} caracteres/s   "
                 f"faltan {left:.0f} s")
            if watch and ((step + 1) % every == 0 or step + 1 == steps):
                watch(step + 1)
    except KeyboardInterrupt:
        sys.exit("\ninterrumpido")
    live("")
    return step + 1, seen, seconds


@torch.no_grad()
def mean_loss(model, data):
    """Pérdida media en nats por carácter sobre todas las filas de `data`."""
    (n, take), total, count = data, 0.0, 0
    model.train(False)
    for rows in torch.arange(n).split(256):
        *inputs, y = take(rows)
        total += F.cross_entropy(model(*inputs), y, reduction="sum").item()
        count += len(y)
    return total / count


def weigh(model):
    """Cuántos números aprende `model`."""
    return sum(w.numel() for w in model.parameters())


def trial(label, model, data, batch, steps=DEMO_STEPS):
    """Un ensayo corto con `data` (entrenar, validar), y su fila en la tabla. Devuelve val."""
    _, seen, seconds = fit(model, data[0], steps, batch)
    loss = mean_loss(model, data[1])
    print(f"   {label:24} {weigh(model):10} {steps:6} {seen:9} {seconds:8.1f} {loss:7.4f}",
          flush=True)
    return loss


HEADER = f"\n   {'':24} parámetros  pasos  ejemplos segundos     val" * (STEPS > 0)
E, H, floors = 24, 128, BLOCK_SIZE.bit_length() - 1          # las medidas de la clase
budget = V * E + 2 * E * H + (floors - 1) * 2 * H * H + floors * 2 * H + H * V + V
hidden = (budget - V * E - V) // (BLOCK_SIZE * E + 2 + V)


def flat():
    """La red plana: ids (B, T) -> notas (B, V)."""
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Embedding(V, E), nn.Flatten(),
                         nn.Linear(BLOCK_SIZE * E, hidden, bias=False), nn.BatchNorm1d(hidden),
                         nn.Tanh(), nn.Linear(hidden, V))


by_window = window_data(train), window_data(val)
assert 0.95 * budget < weigh(flat()) <= budget
print(f"1. {len(lines)} líneas, {V} caracteres; {by_window[0][0]} ventanas, y {by_window[1][0]} "
      "para validar")
for x, y in zip(*by_window[0][1](torch.arange(4))):
    print(f"   {decode(x.tolist()).replace(chr(10), '·')} -> {chars[y]!r}")
if STEPS:
    print(HEADER)
    trial("plana", flat(), by_window, 256)


# %% 2. Nuestras capas, otra vez
# Las de la lección 04, con una nueva: FlattenConsecutive junta cada `n` posiciones seguidas en una
# más ancha. Con n = 8 las aplana de golpe; con n = 2 deja cuatro parejas; otra vez, dos
# grupos de cuatro; y otra, uno de ocho. Con los mismos pesos dan lo mismo que las de PyTorch.
class Layer:
    """Lo común a las capas: el modo (entrenar o evaluar) y los tensores que se aprenden."""
    training = True

    def parameters(self):
        """Los pesos de la capa, en el orden en que nacieron."""
        return [w for w in vars(self).values() if torch.is_tensor(w) and w.requires_grad]


class Embedding(Layer):
    """La fila de `weight` (n, dim) de cada id: (...) -> (..., dim)."""

    def __init__(self, n, dim):
        self.weight = torch.randn(n, dim, requires_grad=True)

    def __call__(self, x):
        return F.embedding(x, self.weight)


class Linear(Layer):
    """x W^T + b: (..., fan_in) -> (..., fan_out). `weight` (fan_out, fan_in) nace con gain 1."""

    def __init__(self, fan_in, fan_out, bias=True):
        self.weight = (torch.randn(fan_out, fan_in) / fan_in**0.5).requires_grad_()
        self.bias = torch.zeros(fan_out, requires_grad=True) if bias else None

    def __call__(self, x):
        return F.linear(x, self.weight, self.bias)


class Tanh(Layer):
    """La tangente hiperbólica de cada elemento."""
    __call__ = staticmethod(torch.tanh)


class BatchNorm1d(Layer):
    """Cada canal con media 0 y varianza 1 (algoritmo 1), y luego `weight` (gain) y `bias`."""
    over = (0,)              # las dimensiones que se promedian: la del lote, como en la lección 04

    def __init__(self, dim, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight = torch.ones(dim, requires_grad=True)
        self.bias = torch.zeros(dim, requires_grad=True)
        self.running_mean, self.running_var = torch.zeros(dim), torch.ones(dim)

    def __call__(self, x):
        mean, var = self.running_mean, self.running_var      # al evaluar, lo visto al entrenar
        if self.training:
            dims = self.over[:x.dim() - 1]
            mean, var = x.mean(dims), x.var(dims, correction=0)
            n = x.numel() // mean.numel()                    # se anota la varianza insesgada
            self.running_mean = self.running_mean.lerp(mean.detach(), self.momentum)
            self.running_var = self.running_var.lerp(var.detach() * n / (n - 1), self.momentum)
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias


class FlattenConsecutive(Layer):
    """Cada `n` posiciones seguidas, en una: (B, T, C) -> (B, T/n, n*C); si queda una, (B, n*C)."""

    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        B, T, C = x.shape
        return x.reshape((B, T // self.n, self.n * C) if T > self.n else (B, T * C))


class Sequential(Layer):
    """Una capa tras otra."""

    def __init__(self, *layers):
        self.layers = layers

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def train(self, mode=True):
        """Pone todas las capas a entrenar; o a evaluar, si mode=False."""
        for layer in self.layers:
            layer.training = mode
        return self

    def parameters(self):
        """Los pesos de todas las capas, en orden."""
        return [w for layer in self.layers for w in layer.parameters()]


def tree():
    """El árbol: en cada piso, juntar dos, Linear, BatchNorm y tanh. Ids (B, T) -> notas (B, V)."""
    torch.manual_seed(SEED)
    layers = [Embedding(V, E)]
    for width in [E] + [H] * (floors - 1):
        layers += [FlattenConsecutive(2), Linear(2 * width, H, False), BatchNorm1d(H), Tanh()]
    return Sequential(*layers, Linear(H, V))


ours = Sequential(Embedding(V, E), FlattenConsecutive(BLOCK_SIZE),
                  Linear(BLOCK_SIZE * E, hidden, False), BatchNorm1d(hidden), Tanh(),
                  Linear(hidden, V))
theirs = flat()
x = by_window[0][1](torch.arange(256) % by_window[0][0])[0]  # (B, T)
with torch.no_grad():
    for a, b in zip(ours.parameters(), theirs.parameters()):
        a.copy_(b)
    for mode in (True, False):                               # al evaluar, con las medias guardadas
        assert torch.allclose(ours.train(mode)(x), theirs.train(mode)(x), atol=1e-4)
print("\n2. nuestra red plana da lo mismo que la de PyTorch; las formas, árbol arriba:")
print(f"   {'ids':18} {tuple(x.shape)}")
for layer in tree().layers:
    x = layer(x)
    if not isinstance(layer, (BatchNorm1d, Tanh)):
        print(f"   {type(layer).__name__:18} {tuple(x.shape)}")

# %% 3. De dos en dos
# Una capa que aplasta ocho caracteres ha de entender de un golpe todas sus combinaciones. El árbol
# forma parejas, luego grupos de cuatro, luego de ocho, y todas las parejas comparten pesos. Con los
# mismos parámetros y pasos aprende más que la plana; pero hace más cuentas, y en el mismo tiempo
# la plana da más pasos. El árbol promete; así calculado, no compensa.
assert weigh(tree()) == budget
print("\n3. el árbol tiene los parámetros de la plana" + HEADER)
if STEPS:
    trial("árbol", tree(), by_window, 256)
    trial("plana, más pasos", flat(), by_window, 256, 5 * DEMO_STEPS // 2)

# %% 4. La trampa de BatchNorm
# La de la lección 04 promedia la dimensión 0, la del lote. Dentro del árbol entran tres, (B, T, C):
# cada posición recibe media y varianza propias, como si fuera otro canal, sacadas de T veces menos
# ejemplos. Nada falla: sólo lo delata la forma de running_mean, (T, C). La cura es promediar
# también las posiciones; en PyTorch, aplanarlas antes con el lote.
trap, mend, peer = BatchNorm1d(10), BatchNorm1d(10), nn.BatchNorm1d(10)
x = 3 * torch.randn(32, 4, 10) + torch.arange(4.0)[:, None]  # (B, T, C) cada posición, otra media
trap(x)
if STEPS:
    print("\n4. lo que la trampa cuesta, en lotes de 16" + HEADER)
    trial("árbol con la trampa", tree(), by_window, 16)
BatchNorm1d.over = (0, 1)                                    # la cura, para todas desde aquí
assert torch.allclose(mend(x), peer(x.flatten(0, 1)).view(x.shape), atol=1e-5)
assert torch.allclose(mend.running_mean, peer.running_mean, atol=1e-5)
assert torch.allclose(mend.running_var, peer.running_var, atol=1e-4)
assert trap.running_mean.shape == (4, 10) and mend.running_mean.shape == (10,)
if STEPS:
    trial("árbol curado", tree(), by_window, 16)
print("" if STEPS else "\n4.", f"  running_mean: {tuple(trap.running_mean.shape)} con la trampa, "
      f"{tuple(mend.running_mean.shape)} con la cura")


# %% 5. El árbol es una convolución
# El árbol de una posición y el de la siguiente comparten casi todas sus cuentas. Si cada piso se
# calcula una vez en cada posición, con la suya y la de d antes (d = 1, 2, 4...), sale una
# convolución causal y dilatada (figura 3 del artículo), con los mismos pesos. Al comienzo de una
# línea lo anterior es todo frontera, y lo que ahí vale un piso es lo que vale en la frontera misma:
# basta no salir de la línea.
def line_data(lines):
    """Las líneas de `lines`: cuántas hay, y cómo coger unas, en fila y sin relleno.

    Filas (B,) -> ids (N,), comienzo de la línea de cada posición (N,) y objetivos (N,).
    """
    stream = encode("\n" + "\n".join(lines) + "\n")
    first = (stream[:-1] == NL).nonzero()[:, 0]              # (líneas,)
    length = first.diff(append=torch.tensor([len(stream) - 1]))

    def take(rows):
        long = length[rows]                                  # (B,)
        start = (long.cumsum(0) - long).repeat_interleave(long)             # (N,)
        at = torch.arange(len(start)) - start + first[rows].repeat_interleave(long)
        return stream[at], start, stream[at + 1]
    return len(first), take


def past(h, d, start):
    """Lo que había `d` posiciones antes, sin salir de la línea: h (N, C), start (N,) -> (N, C)."""
    return h[(torch.arange(len(h)) - d).maximum(start)]


class Causal(Sequential):
    """Las capas de un árbol, en cada posición: ids (N,) o vectores (N, E), start (N,) -> (N, V)."""

    def __call__(self, x, start):
        d = 1
        for layer in self.layers:
            if isinstance(layer, FlattenConsecutive):
                x, d = torch.cat([past(x, d, start), x], dim=1), 2 * d      # (N, 2C)
            else:
                x = layer(x)
        return x


by_line = line_data(train), line_data(val)
chain, start, y = by_line[0][1](torch.arange(min(64, by_line[0][0])))         # (N,) cada uno
views = windows(train[:64], BLOCK_SIZE)[0]     # (N, T) lo que ve cada posición
model = tree()
model(views)                                                 # que BatchNorm tenga qué recordar
causal = Causal(*model.train(False).layers)                  # las mismas capas, los mismos pesos
assert torch.allclose(causal(chain, start), model(views), atol=1e-4)
x, zeros = torch.randn(40, E), torch.zeros(40, dtype=torch.long)
pair = model.layers[2].weight                                # (H, 2E)
for d in (1, 2, 4):
    padded = F.pad(x.T, (d, 0), mode="replicate")            # (E, d + 40)
    peer = F.conv1d(padded, pair.view(H, 2, E).mT, dilation=d).T
    assert torch.allclose(torch.cat([past(x, d, zeros), x], 1) @ pair.T, peer, atol=1e-4)
T, jumps = 2 * BLOCK_SIZE, [2**i for i in range(floors)]
x = torch.randn(T, E, requires_grad=True)
logits = Causal(*model.layers[1:])(x, torch.zeros(T, dtype=torch.long))     # (T, V)
felt = torch.stack([torch.autograd.grad(z.square().sum(), x, retain_graph=True)[0].norm(dim=1)
                    for z in logits])                        # (T, T) salida, entrada
assert torch.equal(felt > 0, torch.ones(T, T).tril().triu(-sum(jumps)) > 0)  # ni futuro, ni más
print(f"\n5. en {len(chain)} posiciones, árbol = convolución de saltos {jumps}; sin futuro\n"
      f"   campo receptivo (receptive field): 1 + {sum(jumps)} = {BLOCK_SIZE}; gradiente medido:")
print("  ", *(f"{g:.2f}" for g in (felt[-1] / felt[-1].max())[-BLOCK_SIZE - 2:][-12:]))
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(5, 4))
    plt.imshow(felt / felt.amax(dim=1, keepdim=True), cmap="cividis")
    plt.title(f"Campo receptivo: {BLOCK_SIZE} caracteres, ninguno futuro")
    plt.gca().set(xlabel="posición del carácter que entra", ylabel="posición de la predicción")
    plt.locator_params(integer=True)
    plt.colorbar(label="gradiente (máximo de la fila = 1)")
    plt.savefig(Path(PLOT) / "campo_receptivo.png", dpi=150, bbox_inches="tight")


# %% 6. Una pasada por línea
# Ventana a ventana, cada predicción rehace BLOCK_SIZE - 1 productos; en la convolución, uno por
# piso. La pérdida y el gradiente son los mismos, y una línea entera es un ejemplo por carácter.
def learn(logits, y):
    """Pérdida, y su gradiente en los parámetros de `model`."""
    loss = F.cross_entropy(logits, y)
    return loss, *torch.autograd.grad(loss, model.parameters())


ways = {"ventana a ventana": lambda: [learn(model(views[i:i + 1]), y[i:i + 1]) for i in range(9)],
        "lote de ventanas": lambda: learn(model(views), y),
        "convolución": lambda: learn(causal(chain, start), y)}
for one, other in zip(ways["lote de ventanas"](), ways["convolución"]()):
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)
print("\n6. misma pérdida y mismo gradiente; predicciones aprendidas por segundo:")
for label, way in ways.items():
    times = []
    for _ in range(5):
        tick = time.perf_counter()
        way()
        times.append(time.perf_counter() - tick)
    print(f"   {label:18} {(9 if label == 'ventana a ventana' else len(y)) / min(times):8.0f}")
if STEPS:
    print(HEADER)
    trial("árbol, por líneas", Causal(*tree().layers), by_line, 32, 3 * DEMO_STEPS // 2)


# %% 7. WaveNet
# Tres piezas más. La puerta (gated unit): tanh propone y una sigmoide decide cuánto pasa (ecuación
# 2). La suma residual: cada capa corrige lo que recibe, no lo rehace. Los atajos (skip
# connections): la salida oye a todas las capas. BatchNorm y las demás, desde aquí, las de PyTorch.
class WaveNet(nn.Module):
    """Capas causales con los saltos `dilations`: ids y comienzos (N,) -> notas (N, V)."""

    def __init__(self, dilations, n_embd, n_hidden, gated=True, residual=True, skip=True,
                 dropout=0.0):
        super().__init__()
        self.dilations, self.gated, self.residual = dilations, gated, residual
        C, H, L = n_embd, n_hidden, len(dilations)
        self.token = nn.Embedding(V, C)
        self.norm = nn.ModuleList(nn.BatchNorm1d(C) for _ in dilations)
        self.conv = nn.ModuleList(nn.Linear(2 * C, 2 * H if gated else H) for _ in dilations)
        self.mix = nn.ModuleList(nn.Linear(H, C) for _ in range(L - 1 if skip else L))
        self.skip = nn.ModuleList(nn.Linear(H, 2 * C) for _ in range(L if skip else 0))
        self.head = nn.Linear(2 * C if skip else C, V)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.token.weight, std=0.5)

    def forward(self, ids, start):
        h, heard = self.token(ids), 0                                       # (N, C)
        for i, d in enumerate(self.dilations):
            z = self.norm[i](h)
            z = self.conv[i](torch.cat([past(z, d, start), z], dim=1))      # (N, 2H) o (N, H)
            if self.gated:
                z, gate = z.chunk(2, dim=1)                                 # (N, H) cada una
                z = z.tanh() * gate.sigmoid()
            else:
                z = z.tanh()
            z = self.dropout(z)
            if self.skip:
                heard = heard + self.skip[i](z)                             # (N, 2C)
            if i < len(self.mix):
                h = h + self.mix[i](z) if self.residual else self.mix[i](z)
        return self.head(self.dropout(F.relu(heard if self.skip else h)))   # (N, V)


def after(model, context):
    """Notas de lo que sigue a cada fila de `context` (K, T), cada una por su cuenta: (K, V)."""
    K, T = context.shape
    start = (T * torch.arange(K)).repeat_interleave(T)                      # (K*T,)
    return model(context.flatten(), start)[T - 1::T]


def touched(model):
    """Cuánto cambia cada nota de una línea si cambia su carácter BLOCK_SIZE: (3*BLOCK_SIZE,)."""
    ids = torch.randint(V, (3 * BLOCK_SIZE,))
    other = ids.clone()
    other[BLOCK_SIZE] = (ids[BLOCK_SIZE] + 1) % V
    start = torch.zeros_like(ids)
    return (model(ids, start) - model(other, start)).abs().amax(dim=1)


kinds = {"las tres": (True, True, True), "sin puertas": (False, True, True),
         "sin residual": (True, False, True), "sin atajos": (True, True, False),
         "ninguna": (False, False, False)}
print("\n7. WaveNet: las notas de una pasada son las de cada ventana por separado" + HEADER)
for label, kind in kinds.items():
    torch.manual_seed(SEED)
    model = WaveNet(dilations, 24, 24, *kind)
    model(chain, start)                                      # que BatchNorm tenga qué recordar
    with torch.no_grad():
        assert torch.allclose(model.eval()(chain, start), after(model, views), atol=1e-4)
        moved = touched(model).nonzero()[:, 0]
    assert BLOCK_SIZE <= moved.min() and moved.max() < 2 * BLOCK_SIZE        # ni antes ni más allá
    if label == "las tres":
        goal = weigh(model)
    elif STEPS:                                              # la anchura que iguala los parámetros
        n = bisect.bisect(range(1, 200), goal,
                          key=lambda n: weigh(WaveNet(dilations, 24, n, *kind)))
        torch.manual_seed(SEED)
        model = WaveNet(dilations, 24, n, *kind)
    if STEPS:
        trial(label, model, by_line, 32, 3 * DEMO_STEPS // 2)

# %% 8. Más ancho, más hondo
# Partir un salto en dos da más capas con el mismo campo receptivo. ¿Rinde más el ancho o el fondo,
# por segundo? Y con pocas líneas, el modelo acaba por recitarlas: la pérdida de entrenar baja y la
# de validar sube (sobreajuste, overfitting). Dropout y el decaimiento lo frenan.
depths = jumps, [1] * (BLOCK_SIZE - 1)
scaling, curves = [], {}
if STEPS:
    print("\n8. el tamaño" + HEADER)
    for depth in depths:
        for width in (16, 48):
            torch.manual_seed(SEED)
            model = WaveNet(depth, width, width)
            loss = trial(f"{len(depth)} capas de {width}", model, by_line, 32,
                         3 * DEMO_STEPS // 2)
            scaling.append((len(depth), weigh(model), loss))
    few = line_data(train[:max(cut // 100, 1)])
    print(f"\n   con pocas líneas ({few[0]}), pérdida al entrenar y al validar, tres veces:")
    every = max(DEMO_STEPS // 2, 1)
    for label, (drop, decay) in {"sin freno": (0, 0), "dropout 0.3": (0.3, 0),
                                 "decaimiento 3": (0, 3)}.items():
        torch.manual_seed(SEED)
        model, curve = WaveNet(dilations, 48, 48, dropout=drop), []
        fit(model, few, 3 * every, 32, decay, every=every, watch=lambda step: curve.append(
            (mean_loss(model, few), mean_loss(model, by_line[1]))))
        curves[label] = curve
        print(f"   {label:14}" + "".join(f"   {a:.3f} {b:.3f}" for a, b in curve))
if PLOT and STEPS:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    colors = plt.cm.cividis([0.0, 0.5, 0.9])
    for depth, mark, color in zip(depths, "os", colors):
        points = [(n, loss) for d, n, loss in scaling if d == len(depth)]
        left.plot(*zip(*points), mark + "-", color=color, label=f"{len(depth)} capas")
    left.set(xscale="log", xlabel="parámetros", ylabel="pérdida en validación (nats)",
             title=f"Tamaño, con {3 * DEMO_STEPS // 2} pasos")
    for (label, curve), color in zip(curves.items(), colors):
        at = [every * (i + 1) for i in range(len(curve))]
        right.plot(at, [a for a, _ in curve], ":", color=color)
        right.plot(at, [b for _, b in curve], color=color, label=label)
    right.set(xlabel="paso", ylabel="pérdida (nats)",
              title=f"Pocas líneas ({few[0]}): entrenar (puntos) y validar")
    left.legend(), right.legend()
    plt.savefig(Path(PLOT) / "tamano.png", dpi=150, bbox_inches="tight")

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


# %% 9. Entrenar, juzgar y generar
# AdamW, la tasa que sube y baja, y todas las posiciones de cada línea. La prueba se mira una vez.
torch.manual_seed(SEED)
model = WaveNet(dilations, N_EMBD, N_HIDDEN, GATED, RESIDUAL, SKIP, DROPOUT)
print(f"\n9. {weigh(model)} parámetros, saltos {DILATIONS}; {STEPS} pasos de {BATCH_SIZE} líneas")


def report(step):
    """Una línea con la pérdida en validación tras `step` pasos."""
    loss = mean_loss(model, by_line[1])
    live("")
    print(f"   paso {step:5}   val {loss:.4f}", flush=True)


result = "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-"
if STEPS:
    done, seen, seconds = fit(model, by_line[0], STEPS, BATCH_SIZE, watch=report,
                              every=EVAL_INTERVAL)
    losses = {name: mean_loss(model, line_data(part))
              for name, part in (("train", train), ("val", val), ("test", test))}
    save({"format": 1, "model": "wavenet", "chars": chars, "data": Path(DATA).name, "step": done,
          "config": {"block_size": BLOCK_SIZE, "dilations": dilations, "n_embd": N_EMBD,
                     "n_hidden": N_HIDDEN, "gated": GATED, "residual": RESIDUAL, "skip": SKIP},
          "weights": {name: w.detach().clone() for name, w in model.state_dict().items()
                      if w.is_floating_point()},
          "train_loss": losses["train"], "val_loss": losses["val"]}, OUT)
    result = ("resultado " + " ".join(f"{k}={v:.4f}" for k, v in losses.items())
              + f" segundos={seconds:.1f} tokens_s={seen / seconds:.0f} ckpt={OUT}")
model.eval()
torch.manual_seed(SEED)
context = torch.full((12, BLOCK_SIZE), NL)                   # (K, T) doce líneas sin empezar
with torch.no_grad():
    for _ in range(60):
        p = F.softmax(after(model, context[:, -BLOCK_SIZE:]), dim=-1)
        context = torch.cat([context, torch.multinomial(p, 1)], dim=1)
names = [decode(row).split("\n")[0] for row in context[:, BLOCK_SIZE:].tolist()]
for name in names:
    print(f"   {name}" + "   (ya existe)" * (name in lines))
print(result)

# %% Experimentos: predice antes de mirar (validación con pueblos.txt y un hilo; tal cual, 1.666)
# - DILATIONS = "1 2 4": el mismo campo con tres capas, ¿pierde más de lo que ahorra? 1.720, y tarda
#   dos tercios.
# - RESIDUAL = False, y luego también SKIP = False: ¿cuánto hace falta un camino directo? 1.697 y
#   1.857: mucho peor sin ninguno que sin uno.
# - BLOCK_SIZE = 16 y DILATIONS = "1 2 4 8": el doble de contexto, ¿vale más que una capa más? No:
#   1.699.
# - DROPOUT = 0.1: ¿ayuda con tan pocos pasos? No: 1.700. Estorba a quien aún no recita.
# - DATA = "names.txt" (data/README.md dice de dónde), BATCH_SIZE = 128, STEPS = 3000 y DROPOUT =
#   0.1: ¿y con nombres de pila en inglés, el texto de la clase? 1.956; la clase, 1.994.

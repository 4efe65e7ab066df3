"""
04. Dentro de un MLP: la pérdida inicial, BatchNorm y el gradiente a mano

Al terminar sabrás por qué una red mal inicializada pierde el tiempo, qué
arregla la normalización por lotes (batch normalization) y qué cobra a cambio,
qué vigilar mientras una red aprende, y cada derivada que autograd calculaba
por ti: aquí una red se entrena con gradientes escritos a mano.

    python 04_batchnorm.py                  los pueblos: menos de un minuto
    python 04_batchnorm.py --steps 0        sólo las piezas y sus pruebas
    python 04_batchnorm.py --plot figuras   además, dos figuras
    python sample.py ckpt_batchnorm.pt      más pueblos que no existen

Fuentes: Ioffe y Szegedy, «Batch Normalization» (2015), algoritmos 1 y 2; He et
al., «Delving Deep into Rectifiers» (2015, la inicialización de Kaiming),
ecuación 10; Glorot y Bengio, «Understanding the Difficulty of Training Deep
Feedforward Neural Networks» (2010, la de Xavier), ecuaciones 12 y 16; la
red es la de la lección 03.
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
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"       # texto de trabajo, un ejemplo por línea: ruta, o nombre de data/
OUT = "ckpt_batchnorm.pt"  # punto de control (checkpoint) que se escribe
SEED = 1337                # semilla del azar
PLOT = ""                  # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 2000               # pasos de entrenamiento (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 500        # pasos entre evaluaciones
BATCH_SIZE = 1024          # ejemplos por paso; BatchNorm pide dos o más
BLOCK_SIZE = 3             # caracteres anteriores que el modelo mira
N_EMBD = 32                # números con que se describe cada carácter
N_HIDDEN = 300             # neuronas de cada capa oculta
N_LAYER = 1                # capas ocultas, cada una lineal + BatchNorm + tanh
LEARNING_RATE = 8e-3       # tasa de aprendizaje en su máximo
WARMUP_STEPS = 100         # pasos en que la tasa sube desde cero; después baja hasta cero
WEIGHT_DECAY = 0.1         # decaimiento de los pesos, sólo en las matrices

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


# %% 1. La pérdida inicial
# Antes de aprender, lo honrado es repartir la probabilidad entre los V caracteres: pérdida ln V.
# Con pesos al azar sin escalar, la red nace segurísima de disparates, y gasta sus primeros pasos
# en desdecirse. Basta con que la última capa empiece casi nula.
if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if min(BATCH_SIZE - 1, BLOCK_SIZE, N_EMBD, N_HIDDEN, N_LAYER, EVAL_INTERVAL) < 1:
    sys.exit("error: BATCH_SIZE debe ser 2 o más; BLOCK_SIZE, N_EMBD, N_HIDDEN, N_LAYER y "
             "EVAL_INTERVAL, 1 o más")

def windows(lines, size):
    """Cada carácter de `lines` con los `size` que lo preceden en su línea: (N, size), (N,).

    Lo que falta por la izquierda es frontera, y el último que se predice en una línea también.
    """
    edge = "\n" * size
    stream = encode(edge + edge.join(lines) + "\n")
    rows = stream.unfold(0, size + 1, 1)                     # (M, size + 1)
    rows = rows[(rows[:, -2:] != NL).any(1)]                 # ninguno de frontera a frontera
    return rows[:, :-1], rows[:, -1]

xs, ys = windows(train, BLOCK_SIZE)                          # (N, T), (N,)
demo = min(STEPS, 200) // 10 * 10                            # pasos de un ensayo breve


def descend(loss_of, weights, steps, rate):
    """Descenso con lotes de 128 al azar; `loss_of(x, y)` da la pérdida. La de cada paso: lista."""
    losses = []
    for step in range(steps):
        i = torch.randint(len(xs), (128,))
        loss = loss_of(xs[i], ys[i])
        with torch.no_grad():
            for w, grad in zip(weights, torch.autograd.grad(loss, weights)):
                w -= rate * grad
        losses.append(loss.item())
        live(f"ensayo breve: paso {step + 1} de {steps}, pérdida {losses[-1]:.3f}")
    live("")
    return losses


def surprise(weights, x, y):
    """Pérdida del MLP de la lección 03: contextos `x` (B, T), objetivos `y` (B,)."""
    C, W1, b1, W2, b2 = weights
    return F.cross_entropy(torch.tanh(C[x].flatten(1) @ W1 + b1) @ W2 + b2, y)


torch.manual_seed(SEED)
raw = [torch.randn(shape) for shape in ((V, 10), (10 * BLOCK_SIZE, 200), (200,), (200, V), (V,))]
calm = [(k * w).requires_grad_() for k, w in zip((1, 1, 1, 0.001, 0), raw)]
raw = [w.requires_grad_() for w in raw]
high, fair = (surprise(weights, xs[:9999], ys[:9999]).item() for weights in (raw, calm))
assert abs(fair - math.log(V)) < 0.1
print(f"1. {len(lines)} líneas, {V} caracteres: pérdida a ciegas, ln {V} = {math.log(V):.3f}\n"
      f"   sin escalar nace en {high:.3f}; con la última capa por 0.001, en {fair:.3f}")
if demo:
    slow, fast = (descend(lambda x, y: surprise(own, x, y), own, steps, 0.1)
                  for own, steps in ((raw, 5 * demo), (calm, demo)))
    slow = np.mean(slow[-20:])
    reached = next((k for k in range(1, demo) if np.mean(fast[max(0, k - 20):k]) <= slow), "más")
    print(f"   bajar a {slow:.2f} cuesta {5 * demo} pasos sin el arreglo; con él, {reached}")


# %% 2. La tanh saturada
# La derivada de t = tanh(x) es 1 - t²: donde |t| roza 1 casi nada pasa hacia atrás, y los pesos de
# debajo no se enteran del error. Una neurona saturada en todos los ejemplos está muerta (dead). Lo
# remedia la escala de W1: la celda 3 dirá de dónde sale la de la primera línea.
def bars(t):
    """Histograma de los valores de `t` entre -1 y 1, en una línea de 24 barras."""
    counts = torch.histc(t.detach(), 24, -1, 1)
    return "".join("▁▂▃▄▅▆▇█"[int(7 * share + 0.5)] for share in counts / counts.max())


print("\n2. escala de W1   tanh, de -1 a 1            |t| > 0.97   muertas     1 - t²")
x, y = xs[:32], ys[:32]
torch.manual_seed(SEED)
C, W1, W2 = torch.randn(V, 10), torch.randn(10 * BLOCK_SIZE, 200), torch.randn(200, V) * 0.001
seen = {}
for scale in (5 / 3) / len(W1)**0.5, 1.0, 5.0:
    pre = (C[x].flatten(1) @ (scale * W1)).requires_grad_()  # (B, H)
    t = torch.tanh(pre)                                      # (B, H)
    grad_t, grad_pre = torch.autograd.grad(F.cross_entropy(t @ W2, y), (t, pre))
    assert torch.allclose(grad_pre, grad_t * (1 - t**2), atol=1e-9)
    flat, seen[f"escala de W1: {scale:.2f}"] = t.abs() > 0.97, t.detach().flatten()
    print(f"   {scale:12.2f}   {bars(t)}   {flat.float().mean():10.1%}   "
          f"{flat.all(0).sum():3d}/200   {(1 - t**2).mean():8.3f}")
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(6, 4))
    plt.hist(seen.values(), 20, label=list(seen), color=plt.cm.viridis([0, 0.45, 0.9]))
    plt.gca().set(xlabel="salida de la tanh", ylabel="activaciones")
    plt.legend()
    plt.savefig(Path(PLOT) / "saturacion.png", dpi=150, bbox_inches="tight")

# %% 3. La varianza a través de muchas capas
# Si entran fan_in números y los pesos tienen varianza gain² / fan_in, una capa multiplica la señal
# por gain (la ganancia): apiladas, se apaga o estalla, y el gradiente igual al volver. La ReLU
# borra la mitad y pide √2 (Kaiming, ecuación 10). La tanh encoge: con 5/3, el valor que usa
# PyTorch, se sostiene; con más, satura.
def through(bend, gain):
    """Raíz de la media de los cuadrados (rms) tras cada una de 8 capas, y del gradiente: lista."""
    x = y = torch.randn(500, 200, requires_grad=True)        # (B, H)
    sizes = []
    for _ in range(8):
        y = bend(y @ torch.randn(200, 200) * (gain / 200**0.5))
        sizes.append(y)
    sizes += torch.autograd.grad(y, x, torch.randn(500, 200))
    return [size.square().mean().sqrt().item() for size in sizes]


print("\n3. rms tras la capa         1        2        4        8   gradiente al volver")
for kind, bend, gains in (("lineal", nn.Identity(), (1, 5 / 3, 3)), ("ReLU", torch.relu, (2**0.5,)),
                          ("tanh", torch.tanh, (1, 5 / 3, 3))):
    for gain in gains:
        rms = through(bend, gain)
        print(f"   {kind:6s} gain {gain:4.2f}" + "".join(f"{rms[k]:9.3g}" for k in (0, 1, 3, 7))
              + f"{rms[8]:17.3g}")
        if kind == "tanh":                                   # ¿se sostiene de la capa 4 a la 8?
            assert (0.9 < rms[7] / rms[3] < 1.1) == (gain > 1)
        else:
            assert 0.5 < rms[7] / (1 if kind == "ReLU" else gain**8) < 2
# Al volver cuentan los que salen, fan_out. Xavier media los dos: varianza 2 / (fan_in + fan_out)
# (ecuación 12) o, en una uniforme, entre ±√(6 / (fan_in + fan_out)) (ecuación 16).
w = torch.empty(300, 200)                                    # (fan_out, fan_in), como en PyTorch
for fill, std in [(lambda: nn.init.kaiming_normal_(w, nonlinearity="relu"), (2 / 200)**0.5),
                  (lambda: nn.init.xavier_normal_(w), (2 / 500)**0.5),
                  (lambda: nn.init.xavier_uniform_(w), (6 / 500)**0.5 / 3**0.5)]:
    assert abs(fill().std() / std - 1) < 0.02
assert nn.init.calculate_gain("tanh") == 5 / 3


# %% 4. BatchNorm
# ¿Se quiere media 0 y varianza 1? Se imponen: a cada canal se le resta la media del lote y se le
# divide por su desviación; una ganancia y un sesgo (bias) aprendidos le devuelven la libertad
# (algoritmo 1). Al usar la red puede no haber lote: valen las medidas anotadas (algoritmo 2).
class Layer:
    """Lo común a las capas: el modo (entrenar o evaluar) y los tensores que se aprenden."""
    training = True

    def parameters(self):
        """Los pesos de la capa, en el orden en que nacieron."""
        return [w for w in vars(self).values() if torch.is_tensor(w) and w.requires_grad]


class BatchNorm1d(Layer):
    """Normaliza cada canal sobre el lote: (B, C) -> (B, C)."""

    def __init__(self, dim, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight = torch.ones(dim, requires_grad=True)    # gain
        self.bias = torch.zeros(dim, requires_grad=True)
        self.running_mean, self.running_var = torch.zeros(dim), torch.ones(dim)

    def __call__(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean = x.mean(0)
            var = (x - mean).square().mean(0)
            with torch.no_grad():                            # se anota la varianza insesgada
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * len(x) / (len(x) - 1), self.momentum)
        return (x - mean) * (self.weight / torch.sqrt(var + self.eps)) + self.bias


ours, theirs = BatchNorm1d(8), nn.BatchNorm1d(8)
for a, b in zip(ours.parameters(), theirs.parameters()):
    a.data = b.data = torch.randn(8)
for mode in True, True, True, False:                         # tres lotes entrenando, uno evaluando
    ours.training = theirs.training = mode
    x, push = (3 * torch.randn(32, 8) + 2).requires_grad_(), torch.randn(32, 8)
    for a, b in zip(*([f(x), *torch.autograd.grad(f(x), [x, *f.parameters()], push)]
                      for f in (ours, theirs))):
        assert torch.allclose(a, b, atol=1e-4)
for name in "running_mean", "running_var":
    assert torch.allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4)
print("\n4. como nn.BatchNorm1d, en los dos modos: valores, gradientes y estimaciones")

# Un sesgo justo antes es inútil: la resta de la media se lo lleva, y su gradiente es cero. Y hay
# un precio: mientras se entrena, la salida de un ejemplo depende de sus compañeros de lote.
shift, ours.training = torch.randn(8, requires_grad=True), True
useless, = torch.autograd.grad(ours(x + shift), shift, push)
moved = (ours(x + shift) - ours(x)).abs().max()
assert moved < 1e-4 and useless.abs().max() < 1e-3
lots, outs = [torch.cat([x[:1], 3 * torch.randn(7, 8)]) for _ in range(3)], {}
for ours.training in True, False:
    outs[ours.training] = torch.stack([ours(lot)[0] for lot in lots])                # (3, 8)
spread = {mode: out.amax(0) - out.amin(0) for mode, out in outs.items()}            # (8,)
k = spread[True].argmax()
assert spread[True][k] > 0.01 and spread[False].max() < 1e-5
print(f"   un sesgo antes mueve la salida {moved:.0e}, y su gradiente es {useless.abs().max():.0e}")
print("   un ejemplo en tres lotes:", *(f"{v:.2f}" for v in outs[True][:, k]),
      "  al evaluar", *(f"{v:.2f}" for v in outs[False][:, k]))


# %% 5. Nuestras capas, y qué compra BatchNorm
# Con nombres y formas de PyTorch, las capas se apilan sin más. Cinco ocultas sin BatchNorm sólo
# aprenden cerca de la ganancia justa, y ahí van igual o mejor. Con ella, la ganancia casi da igual:
# eso compra, no tener que acertar.
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


class Flatten(Layer):
    """Los embeddings de un contexto, en fila: (B, T, C) -> (B, T * C)."""
    __call__ = staticmethod(lambda x: x.flatten(1))


class Tanh(Layer):
    """La tangente hiperbólica de cada elemento."""
    __call__ = staticmethod(torch.tanh)


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

    def state_dict(self):
        """{«3.running_mean»: tensor, ...}, con los nombres que les daría nn.Sequential."""
        return {f"{i}.{name}": w.detach() for i, layer in enumerate(self.layers)
                for name, w in vars(layer).items() if torch.is_tensor(w)}


def mlp(n_embd, n_hidden, n_layer, gain=5 / 3, norm=True):
    """Embedding, `n_layer` capas ocultas, con o sin BatchNorm, y una salida casi nula al nacer."""
    layers, fan_in = [Embedding(V, n_embd), Flatten()], n_embd * BLOCK_SIZE
    for _ in range(n_layer):
        layers += [Linear(fan_in, n_hidden, bias=not norm), *[BatchNorm1d(n_hidden)] * norm, Tanh()]
        layers[-2 - norm].weight.data *= gain
        fan_in = n_hidden
    layers.append(Linear(fan_in, V))
    layers[-1].weight.data *= 0.1
    return Sequential(*layers)


ours, theirs = mlp(10, 40, 1), nn.Sequential(
    nn.Embedding(V, 10), nn.Flatten(), nn.Linear(10 * BLOCK_SIZE, 40, bias=False),
    nn.BatchNorm1d(40), nn.Tanh(), nn.Linear(40, V))
theirs.load_state_dict(ours.state_dict(), strict=False)      # no llevamos num_batches_tracked
for mode in True, False:
    pair = []
    for net in ours.train(mode), theirs.train(mode):
        loss = F.cross_entropy(net(xs[:99]), ys[:99])
        pair.append([loss, *torch.autograd.grad(loss, [*net.parameters()])])
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(*pair))
print(f"\n5. nuestra red y la de PyTorch: misma pérdida, {loss:.4f}, y mismos gradientes")
if demo:
    gains = 0.2, 0.5, 1, 5 / 3, 3, 10
    print(f"   pérdida a los {demo} pasos, gain " + "".join(f"{gain:7.2f}" for gain in gains))
    for norm in False, True:
        row = f"   {'con' if norm else 'sin'} BatchNorm" + " " * 17
        for net in (mlp(10, 100, 5, gain, norm) for gain in gains):
            losses = descend(lambda x, y: F.cross_entropy(net(x), y), net.parameters(), demo, 0.3)
            row += f"{np.mean(losses[-50:]):7.3f}"
        print(row)


# %% 6. El gradiente a mano
# La red, operación a operación, y su vuelta: cada línea de `backward` deriva una de `forward`. Dos
# reglas valen siempre: lo que se usó dos veces suma dos gradientes, y lo que al ir se repartió por
# filas (broadcasting), al volver se suma por filas.
def forward(C, W1, gain, bias, W2, b2, X, Y):
    """Un MLP con BatchNorm y cada intermedio suyo, por su nombre. X (B, T), Y (B,)."""
    emb = C[X]                                               # (B, T, E)
    flat = emb.flatten(1)                                    # (B, T * E)
    pre = flat @ W1                                          # (B, H)
    mean = pre.mean(0)                                       # (H,)
    diff = pre - mean                                        # (B, H)
    square = diff**2                                         # (B, H)
    var = square.mean(0)                                     # (H,)
    inv = (var + 1e-5)**-0.5                                 # (H,)
    hat = diff * inv                                         # (B, H)
    norm = gain * hat + bias                                 # (B, H)
    h = torch.tanh(norm)                                     # (B, H)
    logits = h @ W2 + b2                                     # (B, V)
    top = logits.max(1, keepdim=True).values                 # (B, 1) para que exp no desborde
    shift = logits - top                                     # (B, V)
    odds = shift.exp()                                       # (B, V)
    total = odds.sum(1, keepdim=True)                        # (B, 1)
    p = odds / total                                         # (B, V)
    logp = p.log()                                           # (B, V)
    loss = -logp[range(len(Y)), Y].mean()
    return SimpleNamespace(**locals())


def backward(v):
    """Gradiente de `v.loss` respecto a todo lo que `forward` nombró, con los mismos nombres."""
    d, B = SimpleNamespace(), len(v.Y)
    d.logp = torch.zeros_like(v.logp)
    d.logp[range(B), v.Y] = -1 / B
    d.p = d.logp / v.p
    d.total = -(d.p * v.odds).sum(1, keepdim=True) / v.total**2
    d.odds = d.p / v.total + d.total
    d.shift = d.odds * v.odds
    d.top = -d.shift.sum(1, keepdim=True)                    # 0: restar el máximo no cambia nada
    d.logits = d.shift + d.top * F.one_hot(v.logits.argmax(1), v.logits.size(1))
    d.h, d.W2, d.b2 = d.logits @ v.W2.T, v.h.T @ d.logits, d.logits.sum(0)
    d.norm = d.h * (1 - v.h**2)
    d.hat, d.gain, d.bias = d.norm * v.gain, (d.norm * v.hat).sum(0), d.norm.sum(0)
    d.inv = (d.hat * v.diff).sum(0)
    d.var = d.inv * -0.5 * v.inv**3
    d.square = d.var.expand_as(v.square) / B
    d.diff = d.hat * v.inv + d.square * 2 * v.diff
    d.mean = -d.diff.sum(0)
    d.pre = d.diff + d.mean / B
    d.flat, d.W1 = d.pre @ v.W1.T, v.flat.T @ d.pre
    d.emb = d.flat.view_as(v.emb)
    d.C = torch.zeros_like(v.C).index_put_((v.X,), d.emb, accumulate=True)
    return d


shapes = (V, 10), (10 * BLOCK_SIZE, 64), (64,), (64,), (64, V), (V,)
start = [0.3 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
v = forward(*(w.clone().requires_grad_() for w in start), xs[:32], ys[:32])
d = backward(v)
expected = torch.autograd.grad(v.loss, [getattr(v, name) for name in vars(d)], retain_graph=True)
errors = {name: (grad - other).abs().max().item()
          for (name, grad), other in zip(vars(d).items(), expected)}
assert max(errors.values()) < 1e-10
print("\n6. a mano y con autograd, diferencia máxima en el gradiente de cada intermedio:")
for k in range(0, len(errors), 5):
    print("   " + " ".join(f"{name:>7} {e:.0e}" for name, e in list(errors.items())[k:k + 5]))

# Entropía cruzada de una vez: es ln Σ exp(z_k) - z_y, y derivada por z_j da softmax_j, menos 1 en
# la correcta; la media reparte 1/B. BatchNorm de una vez: con ∂var/∂x_j = 2 diff_j / B,
# ∂hat_i/∂x_j = inv ([i = j] - 1/B) - diff_i inv³ diff_j/B = inv ([i = j] - 1/B - hat_i hat_j/B), y
# sumando sobre i: a lo que llega se le quita su media y lo que tenga de hat, y se escala por inv.
short = (F.softmax(v.logits, 1) - F.one_hot(v.Y, V)) / len(v.Y)
assert torch.allclose(short, d.logits, atol=1e-12)
short = v.inv * (d.hat - d.hat.mean(0) - v.hat * (d.hat * v.hat).mean(0))
assert torch.allclose(short, d.pre, atol=1e-12)
print("   entropía cruzada y BatchNorm, cada una en una fórmula: los mismos gradientes")
if demo:
    hand, auto = ([w.clone().requires_grad_(mode) for w in start] for mode in (False, True))
    torch.manual_seed(SEED)
    curve = descend(lambda x, y: forward(*auto, x, y).loss, auto, demo, 0.1)
    torch.manual_seed(SEED)                                  # los mismos lotes
    for step in range(demo):
        i = torch.randint(len(xs), (128,))
        v = forward(*hand, xs[i], ys[i])                     # ningún tensor pide gradiente
        d = backward(v)
        for w, grad in zip(hand, (d.C, d.W1, d.gain, d.bias, d.W2, d.b2)):
            w -= 0.1 * grad
        assert abs(v.loss.item() - curve[step]) < 1e-8       # float64: sólo redondeo
    print(f"   {demo} pasos sin autograd, de {curve[0]:.3f} a {v.loss:.3f}; en cada uno, lo mismo "
          "que con él")


# %% 7. Vigilar la red mientras aprende
# Por capa: ¿satura la tanh?, ¿llega gradiente?, ¿cuánto mueve un paso a los pesos, respecto a su
# tamaño? Lo último, en log10, debe rondar -3. Con una tasa corta cae a -5; con una enorme, la tanh
# se satura; sin BatchNorm, una ganancia corta apaga la señal y una larga la satura.
def dissect(net, rate):
    """Salidas de cada tanh (B, H), sus gradientes, y el log10 del paso relativo de cada Linear."""
    x, outs = xs[:1000], []
    for layer in net.layers:
        x = layer(x)
        outs += [x] * isinstance(layer, Tanh)
    weights = [layer.weight for layer in net.layers if isinstance(layer, Linear)][:-1]
    grads = torch.autograd.grad(F.cross_entropy(x, ys[:1000]), [*outs, *weights])
    ratios = [(rate * grad.std() / w.detach().std()).log10().item()
              for grad, w in zip(grads[len(outs):], weights)]
    return [out.detach() for out in outs], grads[:len(outs)], ratios


print(f"\n7. tras {demo} pasos          pérdida capa media desv.  satur. gradiente paso/peso")
story = {}
for label, norm, gain, rate in [
    ("tal como debe ser", True, 5 / 3, 0.3), ("tasa por 0.01", True, 5 / 3, 0.003),
    ("tasa por 30", True, 5 / 3, 9.0), ("sin BatchNorm, gain 0.2", False, 0.2, 0.3),
    ("sin BatchNorm, gain 10", False, 10, 0.3),
]:
    torch.manual_seed(SEED)
    net, losses, history = mlp(10, 100, 5, gain, norm), [], []
    for _ in range(0, demo, 10):
        losses += descend(lambda x, y: F.cross_entropy(net(x), y), net.parameters(), 10, rate)
        history += [dissect(net, rate)[2]] if PLOT else []
    outs, grads, ratios = dissect(net, rate)
    story[label] = outs, grads, history
    for k in 0, 2, 4:
        head = f"{label:23s} {np.mean(losses[-50:]) if losses else fair:7.3f}" if k == 0 else ""
        print(f"   {head:31s}{k + 1:5d} {outs[k].mean():5.2f} {outs[k].std():5.2f} "
              f"{(outs[k].abs() > 0.97).float().mean():7.1%} {grads[k].std():9.0e} "
              f"{ratios[k]:9.2f}")
if PLOT and demo:
    picture, axes = plt.subplots(len(story), 3, figsize=(13, 14), layout="constrained")
    for row, (label, (outs, grads, history)) in zip(axes, story.items()):
        for k, curve in enumerate(zip(*history)):
            look = {"color": plt.cm.viridis(k / 5), "label": f"capa {k + 1}"}
            row[0].hist(outs[k].flatten(), 50, range=(-1, 1), histtype="step", **look)
            row[1].hist(grads[k].flatten(), 50, histtype="step", log=True, **look)
            row[2].plot(curve, **look)
        row[2].axhline(-3, color="black", ls="--")
        row[0].set(ylabel=label, xlabel="salida de la tanh")
        row[1].set(xlabel="gradiente de esa salida")
        row[1].locator_params(axis="x", nbins=4)
        row[2].set(xlabel="decenas de pasos", ylabel="log10(paso / peso)")
    axes[0, 0].legend()
    plt.savefig(Path(PLOT) / "por_capas.png", dpi=150, bbox_inches="tight")


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


# %% 8. Entrenar, calibrar y escribir
# La misma red, ahora en serio: AdamW, lotes grandes, y una tasa que sube y baja hasta cero. Al
# acabar, cada BatchNorm tiene sólo una media móvil de lo que vio en lotes. Calibrar es medir de
# verdad, sobre todo el entrenamiento; se guarda lo que valide mejor.
parts = {"train": (xs, ys), "val": windows(val, BLOCK_SIZE), "test": windows(test, BLOCK_SIZE)}
torch.manual_seed(SEED)
net = mlp(N_EMBD, N_HIDDEN, N_LAYER)
optimizer = torch.optim.AdamW([{"params": [w for w in net.parameters() if w.dim() == dim],
                                "weight_decay": wd} for dim, wd in ((2, WEIGHT_DECAY), (1, 0))],
                              lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True)


@torch.no_grad()
def evaluate(part):
    """Pérdida media de `net`, evaluando, sobre todo "train", "val" o "test": nats por carácter."""
    net.train(False)
    pieces = zip(*(each.split(8192) for each in parts[part]))
    total = sum(F.cross_entropy(net(x), y, reduction="sum").item() for x, y in pieces)
    net.train()
    return total / len(parts[part][1])


@torch.no_grad()
def calibrate():
    """Da a cada BatchNorm la media y la varianza de su entrada sobre todo el entrenamiento.

    Devuelve lo más que se apartaba la media anotada, en desviaciones.
    """
    net.train(False)
    gap = 0.0
    for i, layer in enumerate(net.layers):
        if isinstance(layer, BatchNorm1d):                   # las de debajo ya están calibradas
            below = Sequential(*net.layers[:i])
            inputs = (below(x).double() for x in xs.split(8192))
            mean, square = sum(torch.stack([h.sum(0), (h * h).sum(0)]) for h in inputs) / len(xs)
            var = square - mean**2                           # (H,)
            std = (var + layer.eps).sqrt()
            gap = max(gap, ((layer.running_mean - mean) / std).abs().max().item())
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(var)
    return gap


done, seconds = 0, 0.0
print(f"\n8. {sum(w.numel() for w in net.parameters())} parámetros; {STEPS} pasos de {BATCH_SIZE}"
      f" ejemplos; sin entrenar, val {evaluate('val'):.3f}")
try:
    while done < STEPS:
        tick = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min((done + 1) / (WARMUP_STEPS + 1),
                                              (STEPS - done) / max(STEPS - WARMUP_STEPS, 1))
        i = torch.randint(len(xs), (BATCH_SIZE,))
        loss = F.cross_entropy(net(xs[i]), ys[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += 1
        if not math.isfinite(loss.item()):
            sys.exit(f"error: la pérdida dejó de ser finita en el paso {done}: baja LEARNING_RATE")
        seconds += time.perf_counter() - tick
        tokens_s, left = done * BATCH_SIZE / seconds, (STEPS - done) * seconds / done
        live(f"{done}/{STEPS}   pérdida {loss:.3f}   {tokens_s:.0f} caracteres/s   faltan {left:.0f} s")
        if done % EVAL_INTERVAL == 0 or done == STEPS:
            loss = {part: evaluate(part) for part in ("train", "val")}
            live("")
            print(f"   paso {done:5d}   train {loss['train']:.4f}   val {loss['val']:.4f}", flush=True)
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")
if done:
    noted = {name: w.clone() for name, w in net.state_dict().items()}
    running, gap, exact = evaluate("val"), calibrate(), evaluate("val")
    if exact > running:
        for name, w in net.state_dict().items():
            w.copy_(noted[name])
    print(f"   la media anotada se apartaba de la exacta hasta {gap:.3f} desviaciones\n"
          f"   val con lo anotado {running:.5f}, con lo exacto {exact:.5f}: se guarda lo mejor")
    loss = {part: evaluate(part) for part in parts}
    save({"format": 1, "model": "batchnorm", "config": {
        "block_size": BLOCK_SIZE, "n_embd": N_EMBD, "n_hidden": N_HIDDEN, "n_layer": N_LAYER},
          "chars": chars, "weights": net.state_dict(), "data": Path(DATA).name, "step": done,
          "train_loss": loss["train"], "val_loss": loss["val"]}, OUT)


@torch.no_grad()
def write(limit=60):
    """Una línea sorteada carácter a carácter, hasta la frontera o `limit` caracteres."""
    ids = [NL] * BLOCK_SIZE
    while len(ids) < BLOCK_SIZE + limit and NL not in ids[BLOCK_SIZE:]:
        p = F.softmax(net(torch.tensor([ids[-BLOCK_SIZE:]])), dim=1)                  # (1, V)
        ids.append(torch.multinomial(p[0], 1).item())
    return decode(ids[BLOCK_SIZE:]).strip()


torch.manual_seed(SEED)
net.train(False)
print("\n   " + "\n   ".join(write() for _ in range(10)) + "\n")
print(f"resultado train={loss['train']:.4f} val={loss['val']:.4f} test={loss['test']:.4f} "
      f"segundos={seconds:.1f} tokens_s={done * BATCH_SIZE / seconds:.0f} ckpt={OUT}" if done else
      "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")

# %% Experimentos: predice antes de mirar (pérdida de validación; tal como viene, 1.781)
# - BATCH_SIZE = 2: ¿qué media se puede estimar con dos ejemplos? 2.744, y lo exacto gana a lo
#   anotado, que da 2.758.
# - STEPS = 100 y LEARNING_RATE = 7e-3: ¿cuánto se aprende en el primer segundo? 2.145.
# - N_HIDDEN = 20: ¿cuánto cabe en veinte neuronas? 1.999.
# - STEPS = 2500, N_EMBD = 24, N_HIDDEN = 200, LEARNING_RATE = 1e-2: ¿basta una red menor? 1.795.
# - DATA = "names.txt" (data/README.md dice de dónde): ¿cabe en 2.08? 2.077; y con STEPS = 3000
#   y LEARNING_RATE = 7e-3, 2.069.

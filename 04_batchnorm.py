"""
04. Dentro de un MLP: la pérdida inicial, BatchNorm y el gradiente a mano

Al terminar sabrás por qué una red mal inicializada pierde el tiempo, qué
arregla la normalización por lotes (batch normalization) y qué cobra a cambio,
qué vigilar mientras una red aprende, y cada derivada que autograd calculaba
por ti: aquí una red se entrena con gradientes escritos a mano.

    python 04_batchnorm.py                  los pueblos: menos de un minuto
    python 04_batchnorm.py --steps 0        sólo las piezas y sus pruebas
    python 04_batchnorm.py --plot figuras   además, una figura por capas
    python sample.py ckpt_batchnorm.pt      más pueblos que no existen
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

# %% 1. Lo que cuesta apostar sin saber
# Cuatro letras posibles, y cuatro números (logits) que softmax vuelve probabilidades. La pérdida es
# -ln de la que recibió la letra que sale. Repartir por igual cuesta siempre ln 4. Quien apuesta a
# una paga poco si sale y mucho si no: de media, mientras no se sabe nada, lo barato es no apostar.
print(f"1. ln 4 = {math.log(4):.2f}\n   logits              pérdida si sale cada letra     media")
for logits in "0 0 0 0", "1 0 0 0", "9 0 -9 3":
    numbers = [float(word) for word in logits.split()]
    losses = -F.log_softmax(torch.tensor(numbers), 0)        # (4,)
    assert losses.mean() > math.log(4) - 1e-6
    print(f"   {logits:14s}", " ".join(f"{loss:7.2f}" for loss in [*losses, losses.mean()]))

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


# %% 2. La pérdida inicial
# Lo mismo con V caracteres: una red que aún no sabe nada debe nacer con una pérdida de ln V. Con
# pesos al azar sin escalar nace segurísima de disparates, y gasta sus primeros pasos en desdecirse.
# Basta con que la última capa empiece casi nula. La red es la de la lección 03.
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

def learnable(*tensors):
    """Lista de copias de `tensors` que piden gradiente."""
    return [w.clone().requires_grad_() for w in tensors]

def descend(loss_of, weights, steps, rate):
    """Descenso con lotes de 128 ejemplos y la pérdida `loss_of(x, y)`, que devuelve: (steps,)."""
    losses = []
    for _ in range(steps):
        i = torch.randint(len(xs), (128,))
        loss = loss_of(xs[i], ys[i])
        grads = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, grad in zip(weights, grads):
                w -= rate * grad
        losses.append(loss.item())
    return torch.tensor(losses)

def mlp_loss(weights, x, y):
    """Pérdida del MLP de la lección 03: contextos `x` (B, T), objetivos `y` (B,)."""
    C, W1, b1, W2, b2 = weights
    h = torch.tanh(C[x].flatten(1) @ W1 + b1)                # (B, H)
    return F.cross_entropy(h @ W2 + b2, y)

xs, ys = windows(train, BLOCK_SIZE)                          # (N, T), (N,)
demo = 200 if STEPS >= 200 else 10                           # pasos de un ensayo breve
torch.manual_seed(SEED)
C = torch.randn(V, 10)
W1, b1 = torch.randn(10 * BLOCK_SIZE, 200), torch.randn(200)
W2, b2 = torch.randn(200, V), torch.randn(V)
print(f"\n2. {V} caracteres: ln {V} = {math.log(V):.3f}\n"
      f"   última capa   nace en   pérdida media de cada {demo} pasos")
for scale in 1, 0.001:
    weights = learnable(C, W1, b1, scale * W2, scale * b2)
    born = mlp_loss(weights, xs[:9999], ys[:9999]).item()
    losses = descend(lambda x, y: mlp_loss(weights, x, y), weights, 5 * demo, 0.1)
    means = losses.view(5, demo).mean(1)                     # (5,)
    print(f"   por {scale:<7g} {born:9.3f}  ", " ".join(f"{mean:6.3f}" for mean in means))
assert abs(born - math.log(V)) < 0.1                         # la que nace casi nula


# %% 3. La tanh saturada
# La derivada de t = tanh(x) es 1 - t²: donde |t| roza 1 casi nada pasa hacia atrás, y los pesos de
# debajo no se enteran del error. Una neurona saturada en todos los ejemplos está muerta (dead). Lo
# remedia la escala de W1: la celda 4 dirá de dónde sale la primera, y la 8 probará la derivada.
def same(ours, theirs, tol=1e-4):
    """Exige que dos números o tensores, o dos listas de ellos, sean iguales salvo `tol`."""
    torch.testing.assert_close(ours, theirs, rtol=tol, atol=tol)

def bars(t, limit=1):
    """Histograma de los valores de `t` entre -limit y limit, en una línea de 24 barras."""
    counts = torch.histc(t.detach(), 24, -limit, limit)
    heights = 7 * counts / counts.max().clamp(min=1)
    return "".join("▁▂▃▄▅▆▇█"[round(height)] for height in heights.tolist())

print("\n3. escala de W1   tanh, de -1 a 1            |t| > 0.97   muertas     1 - t²")
for scale in (5 / 3) / len(W1)**0.5, 1, 5:
    t = torch.tanh(C[xs[:32]].flatten(1) @ (scale * W1))     # (B, H)
    flat = t.abs() > 0.97
    print(f"   {scale:12.2f}   {bars(t)}   {flat.float().mean():10.1%}   {flat.all(0).sum():3d}/200"
          f"   {(1 - t**2).mean():8.3f}")


# %% 4. La varianza a través de muchas capas
# Si entran fan_in números y los pesos tienen varianza gain² / fan_in, una capa multiplica la señal
# por gain (la ganancia): apiladas, se apaga o estalla, y el gradiente igual al volver. La ReLU
# borra la mitad y pide √2 (Kaiming: He et al., «Delving Deep into Rectifiers», 2015, ecuación 10).
# La tanh encoge: con 5/3, el valor que usa PyTorch, se sostiene; con más, satura.
def rms(t):
    """Raíz de la media de los cuadrados."""
    return t.square().mean().sqrt().item()

def through(bend, gain):
    """El rms tras cada una de 8 capas, y el del gradiente que vuelve a la entrada: lista de 9."""
    x = torch.randn(500, 200, requires_grad=True)            # (B, H)
    y, sizes = x, []
    for _ in range(8):
        y = bend(y @ torch.randn(200, 200) * gain / 200**0.5)
        sizes.append(rms(y))
    back, = torch.autograd.grad(y, x, torch.randn(500, 200))
    return [*sizes, rms(back)]

print("\n4. rms tras la capa         1        2        4        8   gradiente al volver")
bends = {"lineal": nn.Identity(), "ReLU": torch.relu, "tanh": torch.tanh}
growth = {}                                                  # de la capa 4 a la 8
for case in "lineal 1", "lineal 3", "ReLU 1", "ReLU 1.414", "tanh 1", "tanh 1.667", "tanh 3":
    name, gain = case.split()
    sizes = through(bends[name], float(gain))
    growth[case] = sizes[7] / sizes[3]
    row = "".join(f"{sizes[k - 1]:9.3g}" for k in (1, 2, 4, 8))
    print(f"   {name:6s} gain {gain:5s}{row}{sizes[8]:16.3g}")
assert 0.5 < growth["lineal 3"] / 3**4 < 2
assert 0.3 < growth["ReLU 1.414"] < 3
assert 0.9 < growth["tanh 1.667"] < 1.1
# Al volver cuentan los que salen, fan_out. Xavier media los dos: varianza 2 / (fan_in + fan_out), o
# uniforme hasta ±√(6 / (fan_in + fan_out)) (Glorot y Bengio, «Understanding the Difficulty of
# Training Deep Feedforward Neural Networks», 2010, ecuaciones 12 y 16).
w = torch.empty(300, 200)                                    # (fan_out, fan_in), como en PyTorch
same(rms(nn.init.xavier_uniform_(w)), (2 / 500)**0.5, 0.02)
assert w.abs().max() <= (6 / 500)**0.5
assert nn.init.calculate_gain("tanh") == 5 / 3

# %% 5. BatchNorm
# ¿Se quiere media 0 y varianza 1? Se imponen: a cada canal se le resta la media del lote y se le
# divide por su desviación; una ganancia y un sesgo (bias) aprendidos le devuelven la libertad. Al
# usar la red puede no haber lote: valen la media y la varianza que se anotaron al entrenar.
# Ioffe y Szegedy, «Batch Normalization» (2015), algoritmos 1 y 2. De PyTorch se toma nn.Module, que
# sólo lleva la cuenta de los tensores (parameters, state_dict) y del modo (train, eval).
x = torch.tensor([1.0, 2, 3, 6])                             # un canal, cuatro ejemplos
var = (x - x.mean()).square().mean()                         # (4 + 1 + 0 + 9) / 4 = 3.5
hat = (x - x.mean()) / var.sqrt()
print("\n5. 1, 2, 3 y 6 menos su media, 3, y entre su desviación, √3.5:", hat.numpy().round(2))

class BatchNorm1d(nn.Module):
    """Normaliza cada canal sobre el lote: (B, C) -> (B, C). Entrenar con un ejemplo es un error."""
    def __init__(self, dim, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(dim))          # gain
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))                # no se aprende
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            if len(x) < 2:
                raise ValueError("BatchNorm1d: con un solo ejemplo no hay varianza que medir")
            mean = x.mean(0)                                 # (C,)
            var = (x - mean).square().mean(0)                # (C,)
            with torch.no_grad():                            # se anota la varianza insesgada
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * len(x) / (len(x) - 1), self.momentum)
        return (x - mean) * (self.weight / torch.sqrt(var + self.eps)) + self.bias

ours, theirs = BatchNorm1d(8), nn.BatchNorm1d(8)
ours.weight = theirs.weight = nn.Parameter(torch.randn(8))
ours.bias = theirs.bias = nn.Parameter(torch.randn(8))
for training in True, True, True, False:                     # tres lotes entrenando, uno evaluando
    ours.train(training)
    theirs.train(training)
    x = (3 * torch.randn(32, 8) + 2).requires_grad_()
    push = torch.randn(32, 8)
    a, b = ours(x), theirs(x)
    same(a, b)
    same(torch.autograd.grad(a, [x, *ours.parameters()], push),
         torch.autograd.grad(b, [x, *theirs.parameters()], push))
same([ours.running_mean, ours.running_var], [theirs.running_mean, theirs.running_var])
print("   como nn.BatchNorm1d, en los dos modos: valores, gradientes y estimaciones")

# Un sesgo justo antes es inútil: la resta de la media se lo lleva, y su gradiente es cero. Y hay
# un precio: mientras se entrena, la salida de un ejemplo depende de sus compañeros de lote.
ours.train()
shift = torch.randn(8, requires_grad=True)
useless, = torch.autograd.grad(ours(x + shift), shift, push)
assert useless.abs().max() < 1e-3
batches = 3 * torch.randn(3, 8, 8)                           # tres lotes de ocho ejemplos
batches[:, 0] = x[0].detach()                                # el primero es siempre el mismo
company = [f"{ours(batch)[0, 0]:.2f}" for batch in batches]
ours.eval()
alone = [f"{ours(batch)[0, 0]:.2f}" for batch in batches]
assert len(set(alone)) == 1
print(f"   el gradiente de un sesgo justo antes es {useless.abs().max():.0e}\n"
      "   un ejemplo en tres lotes:", *company, "  al evaluar:", *alone)


# %% 6. Nuestras capas, y qué compra BatchNorm
# Con nombres y formas de PyTorch, las capas se apilan sin más, y también con las suyas. La tabla
# prueba seis ganancias en cinco capas ocultas: sin BatchNorm la pérdida depende mucho de cuál se
# eligió (la última columna es la distancia entre la mejor y la peor), y con ella, menos. Eso
# compra: margen para equivocarse. No siempre menos pérdida: en 5/3 va por delante la red desnuda.
class Linear(nn.Module):
    """x W^T + b: (..., fan_in) -> (..., fan_out). `weight` (fan_out, fan_in) nace con gain 1."""
    def __init__(self, fan_in, fan_out, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / fan_in**0.5)
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)

class Tanh(nn.Module):
    def forward(self, x):
        return torch.tanh(x)

class Sequential(nn.ModuleList):
    """Una lista de capas, una tras otra."""
    def forward(self, x):
        for layer in self:
            x = layer(x)
        return x

def mlp(n_embd, n_hidden, n_layer, gain=5 / 3, norm=True):
    """Embedding, `n_layer` capas ocultas, con o sin BatchNorm, y una salida casi nula al nacer."""
    layers = [nn.Embedding(V, n_embd), nn.Flatten()]
    fan_in = BLOCK_SIZE * n_embd
    for _ in range(n_layer):
        linear = Linear(fan_in, n_hidden, bias=not norm)
        linear.weight.data *= gain
        layers.append(linear)
        if norm:
            layers.append(BatchNorm1d(n_hidden))
        layers.append(Tanh())
        fan_in = n_hidden
    out = Linear(fan_in, V)
    out.weight.data *= 0.1
    return Sequential([*layers, out])

ours = mlp(10, 40, 1)
theirs = nn.Sequential(nn.Embedding(V, 10), nn.Flatten(), nn.Linear(10 * BLOCK_SIZE, 40, False),
                       nn.BatchNorm1d(40), nn.Tanh(), nn.Linear(40, V))
theirs.load_state_dict(ours.state_dict(), strict=False)      # no llevamos num_batches_tracked
for training in True, False:
    ours.train(training)
    theirs.train(training)
    same(ours(xs[:99]), theirs(xs[:99]))
print("\n6. nuestra red y la de PyTorch, con los mismos pesos, dan los mismos logits\n"
      f"   pérdida a los {demo} pasos, gain   0.20   0.50   1.00   1.67   3.00  10.00  distancia")
for label, norm in ("sin BatchNorm", False), ("con BatchNorm", True):
    ends = []
    for gain in 0.2, 0.5, 1, 5 / 3, 3, 10:
        net = mlp(10, 100, 5, gain, norm)
        losses = descend(lambda x, y: F.cross_entropy(net(x), y), list(net.parameters()), demo, 0.3)
        ends.append(losses[-50:].mean().item())
    print(f"   {label:29s}", *(f"{end:6.3f}" for end in ends), f"{max(ends) - min(ends):10.3f}")

# %% 7. Un producto de matrices, hacia atrás
# Y = X W, de 2 x 2: y_11 = x_11 w_11 + x_12 w_21, y_12 = x_11 w_12 + x_12 w_22... y llega G, el
# gradiente de Y. La x_11 entra en y_11, por w_11, y en y_12, por w_12: le toca g_11 w_11 +
# g_12 w_12, la fila 1 de G por la fila 1 de W: dX = G W^T. La w_11 entra en y_11, por x_11, y en
# y_21, por x_21: x_11 g_11 + x_21 g_21, columna por columna: dW = X^T G. Si se olvida, guían las
# formas: con X (B, I), W (I, O) y G (B, O), sólo G W^T da (B, I).
X = torch.tensor([[1.0, 2], [3, 4]], requires_grad=True)
W = torch.tensor([[5.0, 6], [7, 8]], requires_grad=True)
G = torch.tensor([[1.0, 0], [10, 100]])
dX, dW = torch.autograd.grad(X @ W, (X, W), G)
assert dX[0, 0] == G[0, 0] * W[0, 0] + G[0, 1] * W[0, 1]
assert dW[0, 0] == X[0, 0] * G[0, 0] + X[1, 0] * G[1, 0]
same([dX, dW], [G @ W.T, X.T @ G])
print(f"\n7. dX = G W^T = {dX.tolist()}, como autograd\n   dW = X^T G = {dW.tolist()}")


# %% 8. El gradiente de toda la red, a mano
# La red, operación a operación, y su vuelta: d_x es el gradiente de la pérdida respecto a x. Dos
# reglas valen siempre: lo que se usó dos veces suma dos gradientes, y lo que al ir se repartió por
# filas (broadcasting), al volver se suma por filas.
def by_hand(C, W1, gain, bias, W2, b2, X, Y):
    """Un MLP con BatchNorm, de ida y de vuelta, y un dict con todo ello. X (B, T), Y (B,)."""
    B = len(Y)
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
    loss = -logp[range(B), Y].mean()

    d_logp = torch.zeros_like(logp)
    d_logp[range(B), Y] = -1 / B
    d_p = d_logp / p
    d_total = -(d_p * odds).sum(1, keepdim=True) / total**2
    d_odds = d_p / total + d_total
    d_shift = d_odds * odds
    d_top = -d_shift.sum(1, keepdim=True)                    # 0: restar el máximo no cambia nada
    d_logits = d_shift + d_top * F.one_hot(logits.argmax(1), logits.size(1))
    d_h = d_logits @ W2.T
    d_W2 = h.T @ d_logits
    d_b2 = d_logits.sum(0)
    d_norm = d_h * (1 - h**2)
    d_gain = (d_norm * hat).sum(0)
    d_bias = d_norm.sum(0)
    d_hat = d_norm * gain
    d_inv = (d_hat * diff).sum(0)
    d_var = d_inv * -0.5 * inv**3
    d_square = d_var.expand_as(square) / B
    d_diff = d_hat * inv + d_square * 2 * diff
    d_mean = -d_diff.sum(0)
    d_pre = d_diff + d_mean / B
    d_flat = d_pre @ W1.T
    d_W1 = flat.T @ d_pre
    d_emb = d_flat.view_as(emb)
    d_C = torch.zeros_like(C).index_put((X,), d_emb, accumulate=True)
    return locals()

shapes = (V, 10), (10 * BLOCK_SIZE, 64), (64,), (64,), (64, V), (V,)
start = [0.3 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
v = by_hand(*learnable(*start), xs[:32], ys[:32])
names = [name for name in v if "d_" + name in v]
auto = torch.autograd.grad(v["loss"], [v[name] for name in names])
same([v["d_" + name] for name in names], list(auto), 1e-8)
print(f"\n8. {len(names)} gradientes, de logp hasta C, como los de autograd")

# Entropía cruzada de una vez: es ln Σ exp(z_k) - z_y, y derivada por z_j da softmax_j, menos 1 en
# la correcta; la media reparte 1/B. Cada fila suma cero: lo que empuja hacia arriba a la correcta
# es lo que empuja hacia abajo a las demás, a cada una según la probabilidad que se le dio.
short = (F.softmax(v["logits"], 1) - F.one_hot(v["Y"], V)) / v["B"]                  # (B, V)
same(short, v["d_logits"], 1e-8)
assert short.sum(1).abs().max() < 1e-12
for row, answer in zip(short[:3], v["Y"]):
    others = row.sum() - row[answer]
    print(f"   d_logits: {row[answer]:.5f} a la correcta, {others:.5f} a las demás")
# BatchNorm de una vez: con ∂var/∂x_j = 2 diff_j / B, ∂hat_i/∂x_j = inv ([i = j] - 1/B) -
# diff_i inv³ diff_j / B = inv ([i = j] - 1/B - hat_i hat_j / B), y sumando sobre i: a lo que llega
# se le quita su media y lo que tenga de hat, y se escala por inv.
hat, d_hat = v["hat"], v["d_hat"]                            # (B, H)
same(v["inv"] * (d_hat - d_hat.mean(0) - hat * (d_hat * hat).mean(0)), v["d_pre"], 1e-8)
auto = learnable(*start)
torch.manual_seed(SEED)
descend(lambda x, y: by_hand(*auto, x, y)["loss"], auto, demo, 0.1)
torch.manual_seed(SEED)                                      # los mismos lotes
for _ in range(demo):
    i = torch.randint(len(xs), (128,))
    v = by_hand(*start, xs[i], ys[i])                        # ningún tensor pide gradiente
    for w, name in zip(start, ("C", "W1", "gain", "bias", "W2", "b2")):
        w -= 0.1 * v["d_" + name]
gap = max((a - b).abs().max() for a, b in zip(auto, start))
print(f"   {demo} pasos sin autograd, hasta {v['loss']:.3f}; con él, igual salvo {gap:.0e}")

# %% 9. Todo a cero
# ¿Y si todos los pesos nacen en cero? Entonces h = 0, y por la celda 7 dW2 = h^T G = 0 y
# dh = G W2^T = 0: nada llega abajo. Sólo aprende b2, que no mira el contexto: la red no pasa nunca
# de las frecuencias de las letras. Con sólo la última capa a cero, h no es 0, luego dW2 tampoco, y
# desde el segundo paso aprenden todas.
entropy = torch.distributions.Categorical(ys.bincount().float()).entropy()
print(f"\n9. pérdida con sólo las frecuencias: {entropy:.3f}\n"
      "   cuánto se mueve           C     W1     b1     W2     b2   pérdida")
zeros = [torch.zeros_like(w) for w in (C, W1, b1, W2, b2)]
last = [C, W1 / len(W1)**0.5, *zeros[2:]]
for label, born in ("todo a cero", zeros), ("sólo la última capa", last):
    weights = learnable(*born)
    losses = descend(lambda x, y: mlp_loss(weights, x, y), weights, demo, 1)
    moved = [(w - old).abs().max() for w, old in zip(weights, born)]
    print(f"   {label:20s}", *(f"{number:6.3f}" for number in moved), f"{losses[-50:].mean():9.3f}")
    assert born is last or sum(moved[:4]) == 0


# %% 10. Vigilar la red mientras aprende
# Por capa: ¿satura la tanh?, ¿llega gradiente?, ¿cuánto mide el de los pesos al lado de ellos?,
# ¿cuánto los mueve un paso? De esto último, en log10, los apuntes de CS231n (Stanford) dan -3 como
# guía. No es ley: la red sana va aquí por -2.4 a -2.6, y una casi apagada, por -3.2 a -3.6. Hay que
# leer la fila: una tanh sin desviación o toda saturada, gradientes que cambian de capa en capa.
def dissect(net):
    """De cada capa oculta, con mil ejemplos: salida de la tanh, su gradiente, W y el suyo."""
    x, outs, weights = xs[:1000], [], []
    for layer in net[:-1]:
        x = layer(x)
        if isinstance(layer, Linear):
            weights.append(layer.weight)
        if isinstance(layer, Tanh):
            outs.append(x)
    loss = F.cross_entropy(net[-1](x), ys[:1000])
    backs = torch.autograd.grad(loss, outs, retain_graph=True)
    grads = torch.autograd.grad(loss, weights)
    return list(zip(outs, backs, weights, grads))

print(f"\n10. tras {demo} pasos: la tanh; su gradiente y el de W; log10 de lo que W se mueve\n"
      "   capa media desv. satur.   suyo    de W  entre W   paso   reparto del de W, ±3 desv.")
story = []
for label, norm, gain, rate in [
    ("tal como debe ser", True, 5 / 3, 0.3), ("tasa por 0.01", True, 5 / 3, 0.003),
    ("tasa por 30", True, 5 / 3, 9), ("sin BatchNorm, gain 0.2", False, 0.2, 0.3),
    ("sin BatchNorm, gain 10", False, 10, 0.3),
]:
    torch.manual_seed(SEED)
    net = mlp(10, 100, 5, gain, norm)
    losses = descend(lambda x, y: F.cross_entropy(net(x), y), list(net.parameters()), demo, rate)
    layers = dissect(net)
    story.append((label, layers))
    print(f"   {label}: pérdida {losses[-10:].mean():.3f}")
    for i in 0, 2, 4:
        t, back, w, grad = layers[i]
        flat = (t.abs() > 0.97).float().mean()
        ratio = grad.std() / w.std()
        print(f"   {i + 1:4d} {t.mean():5.2f} {t.std():5.2f} {flat:6.1%} {back.std():6.0e} "
              f"{grad.std():7.0e} {ratio:8.0e} {(rate * ratio).log10():6.2f}   "
              f"{bars(grad / grad.std(), 3)}")
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.rc("axes.formatter", limits=(-2, 4))                 # 1e-4, y no 0.0001
    picture, axes = plt.subplots(5, 3, figsize=(13, 14), layout="constrained")
    for row, (label, layers) in zip(axes, story):
        row[0].set(ylabel=label, xlabel="salida de la tanh")
        row[1].set(yscale="log", xlabel="su gradiente")
        row[2].set(yscale="log", xlabel="gradiente de los pesos")
        for k, (t, back, w, grad) in enumerate(layers, 1):
            row[0].hist(t.detach().flatten(), 50, histtype="step", label=f"capa {k}")
            row[1].hist(back.flatten(), 50, histtype="step")
            row[2].hist(grad.flatten(), 50, histtype="step")
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


# %% 11. Entrenar, calibrar y escribir
# La misma red, ahora en serio: AdamW, lotes grandes, y una tasa que sube y baja hasta cero. Al
# acabar, cada BatchNorm tiene sólo una media móvil de lo que vio en sus lotes, mientras los pesos
# cambiaban. Calibrar es anotarla de nuevo, con los pesos quietos y sobre todo el entrenamiento.
torch.manual_seed(SEED)
net = mlp(N_EMBD, N_HIDDEN, N_LAYER)
matrices = [w for w in net.parameters() if w.dim() == 2]
vectors = [w for w in net.parameters() if w.dim() == 1]
optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": WEIGHT_DECAY},
                               {"params": vectors, "weight_decay": 0}],
                              betas=(0.9, 0.99), fused=True)

@torch.no_grad()
def evaluate(lines):
    """Pérdida media de `net`, evaluando, sobre todas las ventanas de `lines`: nats por carácter."""
    x, y = windows(lines, BLOCK_SIZE)
    net.eval()
    losses = [F.cross_entropy(net(x[i:i + 8192]), y[i:i + 8192], reduction="sum").item()
              for i in range(0, len(y), 8192)]
    net.train()
    return sum(losses) / len(y)

@torch.no_grad()
def calibrate():
    """Deja en cada BatchNorm la media de lo que miden unos lotes iguales que cubren `xs`."""
    for k, batch in enumerate(xs.chunk(len(xs) // 8192 + 1), 1):
        for layer in net:
            layer.momentum = 1 / k                           # la media de k lotes, no una móvil
        net(batch)

size = sum(w.numel() for w in net.parameters())
print(f"\n11. {size} parámetros; {STEPS} pasos de {BATCH_SIZE} ejemplos")
seconds = 0
try:
    for step in range(1, STEPS + 1):
        tick = time.perf_counter()
        climb = step / (WARMUP_STEPS + 1)
        fall = (STEPS - step + 1) / max(STEPS - WARMUP_STEPS, 1)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(climb, fall)
        i = torch.randint(len(xs), (BATCH_SIZE,))
        loss = F.cross_entropy(net(xs[i]), ys[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not math.isfinite(loss.item()):
            sys.exit(f"error: la pérdida dejó de ser finita en el paso {step}: baja LEARNING_RATE")
        seconds += time.perf_counter() - tick
        tokens_s, left = step * BATCH_SIZE / seconds, (STEPS - step) * seconds / step
        live(f"{step}/{STEPS}   pérdida {loss:.3f}   {tokens_s:.0f} caracteres/s   "
             f"faltan {left:.0f} s")
        if step % EVAL_INTERVAL == 0 or step == STEPS:
            live("")
            print(f"   paso {step:5d}   train {evaluate(train):.4f}   val {evaluate(val):.4f}")
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")
result = "train=- val=- test=- segundos=- tokens_s=- ckpt=-"
if STEPS:
    before = evaluate(val)
    calibrate()
    losses = evaluate(train), evaluate(val), evaluate(test)
    print(f"   val con la media móvil {before:.5f}, calibrada {losses[1]:.5f}")
    config = {"block_size": BLOCK_SIZE, "n_embd": N_EMBD, "n_hidden": N_HIDDEN, "n_layer": N_LAYER}
    save({"format": 1, "model": "batchnorm", "config": config, "chars": chars,
          "weights": dict(net.state_dict()), "data": Path(DATA).name, "step": STEPS,
          "train_loss": losses[0], "val_loss": losses[1]}, OUT)
    result = (f"train={losses[0]:.4f} val={losses[1]:.4f} test={losses[2]:.4f} "
              f"segundos={seconds:.1f} tokens_s={tokens_s:.0f} ckpt={OUT}")

@torch.no_grad()
def write():
    """Una línea sorteada carácter a carácter, hasta la frontera o 60 caracteres."""
    row = [NL] * BLOCK_SIZE
    while len(row) < BLOCK_SIZE + 60 and NL not in row[BLOCK_SIZE:]:
        p = F.softmax(net(torch.tensor([row[-BLOCK_SIZE:]])), 1)                      # (1, V)
        row.append(torch.multinomial(p[0], 1).item())
    return decode(row).strip()

torch.manual_seed(SEED)
net.eval()
print()
for _ in range(10):
    print("   " + write())
print(f"\nresultado {result}")

# %% Experimentos: predice antes de mirar (pérdida de validación; tal como viene, 1.781)
# - BATCH_SIZE = 2: ¿qué media se estima con dos ejemplos? Calibrada, 2.737; con la móvil, 2.754.
# - STEPS = 100 y LEARNING_RATE = 7e-3: ¿cuánto se aprende en el primer segundo? 2.145.
# - N_HIDDEN = 20: ¿cuánto cabe en veinte neuronas? 1.999.
# - STEPS = 2500, N_EMBD = 24, N_HIDDEN = 200, LEARNING_RATE = 1e-2: ¿basta una red menor? 1.795.
# - DATA = "names.txt" (data/README.md dice de dónde): ¿cabe en 2.08? 2.076; y con STEPS = 3000
#   y LEARNING_RATE = 7e-3, 2.069.

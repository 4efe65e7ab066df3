"""
05. WaveNet: un árbol de caracteres que resulta ser una convolución

Al terminar sabrás juntar el contexto de dos en dos y no de golpe, en qué trampa
cae BatchNorm con tres dimensiones, por qué ese árbol es una convolución causal y
dilatada (causal dilated convolution) que aprende una línea entera en una pasada,
y qué le añade WaveNet.

    python 05_wavenet.py                  los pueblos: menos de un minuto
    python 05_wavenet.py --steps 0        sólo las piezas y sus pruebas
    python 05_wavenet.py --plot figuras   además, dos figuras
    python sample.py ckpt_wavenet.pt      el modelo inventa más
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
DATA = "pueblos.txt"      # texto de trabajo, un ejemplo por línea: una ruta, o un nombre de data/
OUT = "ckpt_wavenet.pt"   # punto de control (checkpoint) que se escribe
SEED = 1337               # semilla del azar
PLOT = ""                 # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 1100              # pasos del entrenamiento final (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 275       # pasos entre evaluaciones
DEMO_STEPS = 200          # pasos de cada entrenamiento corto de las tablas
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

# %% 1. De golpe, o de dos en dos
# La red de la lección 03 junta todo su contexto de golpe, en una capa. Con ocho caracteres se puede
# ir por pisos: parejas, grupos de cuatro, grupos de ocho (Karpathy, «Building makemore, part 5»).
# FlattenConsecutive lleva de un piso al siguiente, y no calcula nada: sólo cambia la forma.
dilations = [int(d) for d in re.findall("[0-9]+", DILATIONS)]
if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if BLOCK_SIZE not in (2, 4, 8, 16, 32, 64):
    sys.exit(f"error: BLOCK_SIZE ({BLOCK_SIZE}) debe ser una potencia de 2, de 2 a 64")
if 0 in dilations or 1 + sum(dilations) != BLOCK_SIZE:
    sys.exit(f"error: los saltos de DILATIONS deben sumar BLOCK_SIZE - 1 = {BLOCK_SIZE - 1}")
if min(BATCH_SIZE, N_EMBD, N_HIDDEN, EVAL_INTERVAL, DEMO_STEPS) < 1:
    sys.exit("error: BATCH_SIZE, N_EMBD, N_HIDDEN, EVAL_INTERVAL y DEMO_STEPS deben ser 1 o más")

class FlattenConsecutive(nn.Module):
    """Junta cada `n` posiciones seguidas en una más ancha: (B, T, C) -> (B, T/n, n*C)."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def forward(self, x):
        B, T, C = x.shape
        return x.reshape(B, T // self.n, self.n * C)

x = torch.arange(8).view(1, 8, 1)                            # (B, T, C) un número por posición
print("1. ocho posiciones, de dos en dos:")
for _ in range(3):
    x = FlattenConsecutive(2)(x)
    print(f"   {tuple(x.shape)}   {x[0].tolist()}")
assert torch.equal(x, torch.arange(8).view(1, 1, 8))         # como si se juntaran de golpe
print()


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
# Cada carácter se predice desde los BLOCK_SIZE anteriores, sin salir de su línea.
def windows(lines, size):
    """Cada carácter de `lines` con los `size` que lo preceden en su línea: (N, size), (N,).

    Lo que falta por la izquierda es frontera, y el último que se predice en una línea también.
    """
    edge = "\n" * size
    stream = encode(edge + edge.join(lines) + "\n")
    rows = stream.unfold(0, size + 1, 1)                     # (M, size + 1)
    rows = rows[(rows[:, -2:] != NL).any(1)]                 # ninguno de frontera a frontera
    return rows[:, :-1], rows[:, -1]

def by_window(lines):
    """Las ventanas de `lines` y sus objetivos: (N, T), (N,)."""
    return windows(lines, BLOCK_SIZE)

def show(ids):
    """Los caracteres de `ids`, separados, con «·» en la frontera."""
    return " ".join(decode(ids.tolist())).replace("\n", "·")

print(f"2. {V} caracteres; las ventanas de «{train[0][:20]}»:")
x, y = by_window(train[:1])
for window, target in zip(x[:4], y):
    print(f"   {show(window)} -> {chars[target]!r}")

# %% 3. La trampa de BatchNorm
# La de la lección 04 promedia la dimensión 0, la del lote. Dentro del árbol entran tres, (B, T, C),
# y cada posición recibe media y varianza propias, como si fuera otro canal, sacadas de T veces
# menos números. Nada falla: sólo lo delata la forma de running_mean, (T, C). La cura es promediar
# todo menos los canales. (Ioffe y Szegedy, «Batch Normalization», 2015, algoritmo 1.)
class BatchNorm1d(nn.Module):
    """Cada canal con media 0 y varianza 1, y luego `weight` y `bias`: (..., C) -> (..., C)."""

    def __init__(self, dim, cured=True, eps=1e-5, momentum=0.1):
        super().__init__()
        self.cured, self.eps, self.momentum = cured, eps, momentum
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.running_mean = torch.zeros(dim)
        self.running_var = torch.ones(dim)

    def forward(self, x):
        mean, var = self.running_mean, self.running_var      # al evaluar, lo visto al entrenar
        if self.training:
            over = tuple(range(x.dim() - 1)) if self.cured else 0
            mean = x.mean(over)                              # (C,); con la trampa, (T, C)
            var = x.var(over, correction=0)
            n = x.numel() // mean.numel()                    # números por media: con uno, error
            unbiased = n / (n - 1) * var.detach()
            self.running_mean = self.running_mean.lerp(mean.detach(), self.momentum)
            self.running_var = self.running_var.lerp(unbiased, self.momentum)
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias

trap, cure, peer = BatchNorm1d(10, cured=False), BatchNorm1d(10), nn.BatchNorm1d(10)
x = torch.randn(32, 4, 10)                                   # (B, T, C)
trap(x)
theirs = peer(x.flatten(0, 1)).view(x.shape)                 # PyTorch quiere (B*T, C)
assert torch.allclose(cure(x), theirs, atol=1e-5)
assert torch.allclose(cure.running_mean, peer.running_mean, atol=1e-6)
assert torch.allclose(cure.running_var, peer.running_var, atol=1e-6)
print(f"\n3. running_mean: {tuple(trap.running_mean.shape)} con la trampa, "
      f"{tuple(cure.running_mean.shape)} con la cura, que da lo mismo que PyTorch")


# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)

# %% 4. La plana y el árbol
# Juntar de ocho en ocho es la red plana; de dos en dos, tres veces, el árbol, y todas sus parejas
# comparten pesos. Con los mismos parámetros, pasos y ejemplos gana el árbol, por poco: 0.006 de
# media, y en seis de siete semillas; con DEMO_STEPS = 600, 0.014. La trampa le cuesta 0.002. Pero
# hace más cuentas: en su tiempo la plana da el doble de pasos y lo adelanta. Así no compensa.
def network(joins, width, cured=True):
    """Ids (B, T) -> notas (B, V). Cada piso junta `n` posiciones, con los `n` de `joins`."""
    layers = [nn.Embedding(V, E)]
    fan_in = E
    for n in joins:
        layers += [FlattenConsecutive(n), nn.Linear(n * fan_in, width, bias=False),
                   BatchNorm1d(width, cured), nn.Tanh()]
        fan_in = width
    return nn.Sequential(*layers, nn.Linear(width, V), nn.Flatten())

def weigh(model):
    """Cuántos números aprende `model`."""
    return sum(w.numel() for w in model.parameters())

@torch.no_grad()
def mean_loss(model, view, lines):
    """Pérdida media en nats por carácter de todas las `lines`, vistas con `view`."""
    model.eval()
    total, count = 0.0, 0
    for i in range(0, len(lines), 256):
        *inputs, y = view(lines[i:i + 256])
        total += F.cross_entropy(model(*inputs), y, reduction="sum").item()
        count += len(y)
    return total / count

def fit(model, view, lines, steps, batch, every, decay=WEIGHT_DECAY, seed=SEED):
    """Entrena con `batch` líneas al azar por paso, vistas con `view`: entradas y objetivos.

    Es un generador: cada `every` pasos, y en el último, entrega (yield) el paso, la pérdida en
    validación, los ejemplos vistos y los segundos de entrenar, y sigue cuando se le pide más.
    """
    matrices = [w for w in model.parameters() if w.dim() == 2]
    vectors = [w for w in model.parameters() if w.dim() == 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    warmup = min(WARMUP_STEPS, steps // 4)
    seen, seconds = 0, 0.0
    torch.manual_seed(seed)
    try:
        for step in range(1, steps + 1):
            tick = time.perf_counter()
            up = step / (warmup + 1)
            down = (steps - step + 1) / (steps - warmup)
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * min(up, down)
            chosen = torch.randint(len(lines), (batch,)).tolist()
            *inputs, y = view([lines[i] for i in chosen])
            model.train()
            loss = F.cross_entropy(model(*inputs), y)
            optimizer.zero_grad()
            loss.backward()
            if GRAD_CLIP:
                nn.utils.clip_grad_norm_(matrices + vectors, GRAD_CLIP)
            optimizer.step()
            if not math.isfinite(loss.item()):
                sys.exit(f"error: la pérdida dejó de ser finita en el paso {step}: "
                         "baja LEARNING_RATE")
            seen += len(y)
            seconds += time.perf_counter() - tick
            left = (steps - step) * seconds / step
            live(f"{step}/{steps}   pérdida {loss:.3f}   {seen / seconds:.0f} caracteres/s   "
                 f"faltan {left:.0f} s")
            if step % every == 0 or step == steps:
                val_loss = mean_loss(model, view, val)
                live("")
                yield step, val_loss, seen, seconds
    except KeyboardInterrupt:
        sys.exit("\ninterrumpido")

def trial(label, seeds, view, build, *sizes, steps=DEMO_STEPS):
    """Entrena `build(*sizes)` con cada semilla, y escribe su fila: parámetros y última pérdida."""
    row = ""
    for seed in seeds:
        torch.manual_seed(seed)
        model = build(*sizes)
        for _, loss, _, seconds in fit(model, view, train, steps, 16, steps, seed=seed):
            row += f"{loss:9.4f}"
    print(f"   {label:20}{weigh(model):12}{seconds:10.1f}{row}")
    return weigh(model), loss

HEADER = f"   {'':20}  parámetros  segundos   pérdida en validación, por semilla"
SEEDS = SEED, SEED + 1, SEED + 2
E, H = 24, 64                                                # canales y unidades
pairs = [2] * (BLOCK_SIZE.bit_length() - 1)                  # 8 = 2 · 2 · 2: tres pisos
budget = weigh(network(pairs, H))
hidden = (budget - V * E - V) // (BLOCK_SIZE * E + 2 + V)    # números por unidad de la plana
assert weigh(network([BLOCK_SIZE], hidden)) <= budget
print("\n4. las formas, árbol arriba:")
x = by_window(train[:16])[0]                                 # (N, T)
for layer in network(pairs, H):
    x = layer(x)
    if not isinstance(layer, (BatchNorm1d, nn.Tanh)):
        print(f"   {type(layer).__name__:20}{tuple(x.shape)}")
if STEPS:
    print(HEADER)
    trial("plana", SEEDS, by_window, network, [BLOCK_SIZE], hidden)
    trial("plana, más pasos", SEEDS, by_window, network, [BLOCK_SIZE], hidden, steps=2 * DEMO_STEPS)
    trial("árbol con la trampa", SEEDS, by_window, network, pairs, H, False)
    trial("árbol", SEEDS, by_window, network, pairs, H)


# %% 5. El árbol es una convolución
# El árbol de una posición y el de la siguiente comparten casi todas sus cuentas. Pon las líneas en
# una fila de N posiciones: las N ventanas de T caracteres son esa fila, desplazada T veces. Cada
# piso se calcula una vez por posición, con lo suyo y lo de `d` antes (d = 1, 2, 4...): eso es una
# convolución causal y dilatada (van den Oord et al., «WaveNet», 2016, figura 3). Antes de una línea
# todo es frontera, y cualquier piso vale ahí lo que en la frontera misma: basta con no salirse.
def in_a_row(lines):
    """Las líneas, en fila: ids (N,), comienzo de la línea de cada posición (N,), objetivos (N,)."""
    stream = encode("\n" + "\n".join(lines) + "\n")          # (N + 1,)
    x, y = stream[:-1], stream[1:]
    edge = x == NL                                           # (N,) ¿empieza aquí una línea?
    line = edge.cumsum(0) - 1                                # (N,) de qué línea es
    start = edge.nonzero()[:, 0][line]                       # (N,) dónde empieza esa línea
    return x, start, y

def past(h, d, start):
    """Lo que había `d` posiciones antes, sin salir de la línea: h (N, ...), start (N,) -> h."""
    return h[(torch.arange(len(h)) - d).maximum(start)]

def slide(layers, x, start):
    """Las capas de un árbol en cada posición de una fila: ids (N,), start (N,) -> notas (N, V)."""
    d = 1
    for layer in layers:
        if isinstance(layer, FlattenConsecutive):
            x = torch.cat([past(x, d, start), x], dim=1)     # (N, 2C)
            d = 2 * d
        else:
            x = layer(x)
    return x

x, start, y = in_a_row(sorted(train[:64], key=len)[:3])
print(f"\n5. tres líneas en fila   {show(x[:20])}")
for d in (1, 2, 4):
    print(f"   hace {d}                {show(past(x, d, start)[:20])}")
print(f"   objetivo              {show(y[:20])}")

few = [line[:100] for line in train[:64]]
x, start, y = in_a_row(few)                                  # (N,) cada uno
views = by_window(few)[0]                                    # (N, T)
shifted = [past(x, d, start) for d in reversed(range(BLOCK_SIZE))]
assert torch.equal(views, torch.stack(shifted, dim=1))       # las ventanas son la fila desplazada
torch.manual_seed(SEED)
tree = network(pairs, H)
tree(views)                                                  # que BatchNorm tenga qué recordar
tree.eval()
assert torch.allclose(slide(tree, x, start), tree(views), atol=1e-4)

T = 2 * BLOCK_SIZE
zeros = torch.zeros(T, dtype=torch.long)                     # una sola línea: empieza en 0
h = torch.randn(T, E, requires_grad=True)
kernel = tree[2].weight.view(H, 2, E).mT                     # (H, E, 2)
for d in (1, 2, 4):
    ours = tree[2](torch.cat([past(h, d, zeros), h], dim=1)) # (T, H)
    padded = F.pad(h.T, (d, 0), mode="replicate")            # (E, d + T)
    assert torch.allclose(ours, F.conv1d(padded, kernel, dilation=d).T, atol=1e-4)

felt = torch.zeros(T, T)                                     # salida, entrada
for t, z in enumerate(slide(tree[1:], h, zeros)):
    grad = torch.autograd.grad(z.square().sum(), h, retain_graph=True)[0]
    felt[t] = grad.norm(dim=1)
assert felt.triu(1).sum() == 0                               # nada del futuro
assert felt.tril(-BLOCK_SIZE).sum() == 0                     # ni más allá de BLOCK_SIZE
print(f"   en {len(x)} posiciones, árbol = convolución; lo que pesa en una salida cada entrada:")
print("  ", " ".join(f"{share:.2f}" for share in (felt[-1] / felt[-1].max())[-10:]))
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.imshow(felt / felt.amax(dim=1, keepdim=True), cmap="cividis")
    plt.title(f"Campo receptivo: {BLOCK_SIZE} caracteres, ninguno futuro")
    plt.gca().set(xlabel="posición del carácter que entra", ylabel="posición de la predicción")
    plt.locator_params(integer=True)
    plt.colorbar(label="gradiente (máximo de la fila = 1)")
    plt.savefig(Path(PLOT) / "campo_receptivo.png", dpi=150, bbox_inches="tight")


# %% 6. Una pasada por línea
# Ventana a ventana, cada predicción rehace BLOCK_SIZE - 1 productos; en la convolución, uno por
# piso. Con las medias de BatchNorm guardadas, la pérdida y el gradiente son los mismos: eso es lo
# que vale el árbol.
def gradients(logits, y):
    """La pérdida, y su gradiente en cada parámetro de `tree`: una lista."""
    loss = F.cross_entropy(logits, y)
    return [loss, *torch.autograd.grad(loss, tree.parameters())]

def one_by_one():
    for i in range(10):
        gradients(tree(views[i:i + 1]), y[i:i + 1])

def all_windows():
    return gradients(tree(views), y)

def convolution():
    return gradients(slide(tree, x, start), y)

for one, other in zip(all_windows(), convolution()):
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)
print("\n6. misma pérdida y mismo gradiente; predicciones aprendidas por segundo:")
for label, learn, count in [("diez ventanas, una a una", one_by_one, 10),
                            ("un lote de ventanas", all_windows, len(y)),
                            ("una fila, convolución", convolution, len(y))]:
    best = math.inf
    for _ in range(5):
        tick = time.perf_counter()
        learn()
        best = min(best, time.perf_counter() - tick)
    print(f"   {label:26}{count / best:10.0f}")


# %% 7. WaveNet
# Tres piezas más, de los apartados «Gated Activation Units» y «Residual and Skip Connections». La
# puerta (gate): tanh propone y una sigmoide decide cuánto pasa. La suma residual: cada capa corrige
# lo que recibe, no lo rehace. Los atajos: la salida oye a todas. Lo que menos da, y tarde, es la
# puerta: con DEMO_STEPS = 100 cuesta 0.014; con 200 gana 0.013 (medias de siete semillas).
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

    def forward(self, x, start):
        h, heard = self.token(x), 0                                         # (N, C)
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
                change = self.mix[i](z)                                     # (N, C)
                h = h + change if self.residual else change
        return self.head(F.relu(heard if self.skip else h))                 # (N, V)

def after(model, context):
    """Notas de lo que sigue a cada fila de `context` (K, T), cada una por su cuenta: (K, V)."""
    K, T = context.shape
    start = (T * torch.arange(K)).repeat_interleave(T)                      # (K*T,)
    return model(context.flatten(), start)[T - 1::T]

kinds = {"las tres": (True, True, True), "sin puertas": (False, True, True),
         "sin residual": (True, False, True), "sin atajos": (True, True, False),
         "ninguna": (False, False, False)}
goal = weigh(WaveNet(dilations, 24, 24))
print("\n7. WaveNet: las notas de una pasada son las de cada ventana por separado")
if STEPS:
    print(HEADER)
for label, kind in kinds.items():
    model = WaveNet(dilations, 24, 24, *kind)
    model(x, start)                                          # que BatchNorm tenga qué recordar
    model.eval()
    assert torch.allclose(model(x, start), after(model, views), atol=1e-4)
    if STEPS:                                                # la anchura que iguala los parámetros
        n = min(range(8, 64), key=lambda n: abs(weigh(WaveNet(dilations, 24, n, *kind)) - goal))
        trial(label, SEEDS, in_a_row, WaveNet, dilations, 24, n, *kind)

# %% 8. Más ancho, más hondo
# Partir un salto en dos da más capas con el mismo campo receptivo. ¿Rinde más el ancho o el fondo,
# por segundo? Y con pocas líneas, el modelo acaba por recitarlas: la pérdida de entrenar baja y la
# de validar sube (sobreajuste, overfitting). Dropout y el decaimiento lo frenan.
doubling = [2**i for i in range(len(pairs))]                 # 1, 2, 4
scaling, curves = {}, {}
if STEPS:
    print(f"\n8. el tamaño\n{HEADER}")
    for jumps in doubling, [1] * (BLOCK_SIZE - 1):
        depth = f"{len(jumps)} capas"
        scaling[depth] = [
            trial(f"{depth} de {width}", [SEED], in_a_row, WaveNet, jumps, width, width)
            for width in (16, 48)]
    few = train[:len(train) // 100 + 1]
    print(f"\n   con pocas líneas ({len(few)}), pérdida al entrenar y al validar, cuatro veces:")
    brakes = {"sin freno": (0.0, 0.0), "dropout 0.3": (0.3, 0.0), "decaimiento 3": (0.0, 3.0)}
    for label, (drop, decay) in brakes.items():
        torch.manual_seed(SEED)
        model = WaveNet(dilations, 48, 48, dropout=drop)
        curves[label] = []
        for step, loss, _, _ in fit(model, in_a_row, few, DEMO_STEPS, 16,
                                    DEMO_STEPS // 4 + 1, decay):
            curves[label].append((step, mean_loss(model, in_a_row, few), loss))
        print(f"   {label:14}" + "".join(f"   {a:.3f} {b:.3f}" for _, a, b in curves[label]))
if PLOT and STEPS:
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for depth, points in scaling.items():
        sizes, losses = torch.tensor(points).T
        left.plot(sizes, losses, "o-", label=depth)
    left.set(xscale="log", xlabel="parámetros", ylabel="pérdida en validación (nats)")
    for i, (label, curve) in enumerate(curves.items()):
        steps, train_losses, val_losses = torch.tensor(curve).T
        right.plot(steps, train_losses, ":", color=f"C{i}")
        right.plot(steps, val_losses, color=f"C{i}", label=label)
    right.set(xlabel="paso", ylabel="pérdida al entrenar (puntos) y al validar")
    left.legend()
    right.legend()
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
# Lo de siempre, con todas las posiciones de cada línea. La prueba se mira una sola vez.
torch.manual_seed(SEED)
model = WaveNet(dilations, N_EMBD, N_HIDDEN, GATED, RESIDUAL, SKIP, DROPOUT)
print(f"\n9. {weigh(model)} parámetros, saltos {DILATIONS}; {STEPS} pasos de {BATCH_SIZE} líneas")
result = "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-"
if STEPS:
    for step, loss, seen, seconds in fit(model, in_a_row, train, STEPS, BATCH_SIZE, EVAL_INTERVAL):
        print(f"   paso {step:5}   val {loss:.4f}")
    train_loss = mean_loss(model, in_a_row, train)
    val_loss = mean_loss(model, in_a_row, val)
    test_loss = mean_loss(model, in_a_row, test)
    config = {"block_size": BLOCK_SIZE, "dilations": dilations, "n_embd": N_EMBD,
              "n_hidden": N_HIDDEN, "gated": GATED, "residual": RESIDUAL, "skip": SKIP}
    weights = {name: w for name, w in model.state_dict().items() if w.is_floating_point()}
    save({"format": 1, "model": "wavenet", "config": config, "chars": chars, "weights": weights,
          "data": Path(DATA).name, "step": STEPS, "train_loss": train_loss, "val_loss": val_loss},
         OUT)
    result = (f"resultado train={train_loss:.4f} val={val_loss:.4f} test={test_loss:.4f} "
              f"segundos={seconds:.1f} tokens_s={seen / seconds:.0f} ckpt={OUT}")
model.eval()
torch.manual_seed(SEED)
context = torch.full((12, BLOCK_SIZE), NL)                   # (K, T) doce líneas sin empezar
with torch.no_grad():
    for _ in range(60):
        p = F.softmax(after(model, context[:, -BLOCK_SIZE:]), dim=-1)       # (K, V)
        context = torch.cat([context, torch.multinomial(p, 1)], dim=1)
for row in context[:, BLOCK_SIZE:].tolist():
    name = decode(row).split("\n")[0]
    print(f"   {name}   (ya existe)" if name in lines else f"   {name}")
print(result)

# %% Experimentos: predice antes de mirar (validación con pueblos.txt y un hilo; tal cual, 1.669)
# - DILATIONS = "1 2 4": el mismo campo con tres capas, ¿pierde más de lo que ahorra? 1.720, y tarda
#   dos tercios.
# - RESIDUAL = False, y luego también SKIP = False: ¿cuánto hace falta un camino directo? 1.699 y
#   1.866: mucho peor sin ninguno que sin uno.
# - BLOCK_SIZE = 16 y DILATIONS = "1 2 4 8": el doble de contexto, ¿vale más que una capa más? No:
#   1.698.
# - DROPOUT = 0.1: ¿ayuda con tan pocos pasos? No: 1.697. Estorba a quien aún no recita.
# - DATA = "names.txt" (data/README.md dice de dónde), BATCH_SIZE = 128, STEPS = 2400 y DROPOUT =
#   0.05: ¿y con nombres de pila en inglés, el texto de la clase? 1.958; la clase, 1.993.

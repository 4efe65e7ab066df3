"""
04. Dentro de un MLP: la pérdida inicial, BatchNorm y el gradiente a mano

Al terminar sabrás por qué una red mal inicializada pierde el tiempo, qué arregla la normalización
por lotes (batch normalization) y qué cobra a cambio, qué vigilar mientras una red aprende, y cada
derivada que autograd calculaba por ti: aquí una red se entrena con gradientes escritos a mano.

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
N_LAYER = 1                # capas ocultas, cada una lineal + BatchNorm + tanh (prueba con 3)
GAIN = 5 / 3               # ganancia con que nacen los pesos de las capas ocultas (celda 3)
LAST = 0.1                 # escala con que nacen los pesos de la última capa (celda 2)
LEARNING_RATE = 8e-3       # tasa de aprendizaje en su máximo
WARMUP_STEPS = 100         # pasos en que la tasa sube desde cero; después baja hasta cero
WEIGHT_DECAY = 0.1         # decaimiento de los pesos (lección 03), aquí sólo en las matrices

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
if min(BATCH_SIZE - 1, BLOCK_SIZE, N_EMBD, N_HIDDEN, N_LAYER, EVAL_INTERVAL) < 1:
    sys.exit("error: BATCH_SIZE debe ser 2 o más; BLOCK_SIZE, N_EMBD, N_HIDDEN, N_LAYER y "
             "EVAL_INTERVAL, 1 o más")

# %% 1. Lo que cuesta apostar sin saber
# Una red da una nota (logit) a cada letra posible, y softmax convierte las notas en probabilidades:
# la exponencial de cada nota, dividida entre la suma de todas las exponenciales. La pérdida
# (lección 02) es -ln de la probabilidad que recibió la letra que sale de verdad (ln, el logaritmo
# natural, es el log de las lecciones 02 y 03).
# Pruébalo con cuatro letras. Si las cuatro notas son iguales, cada letra recibe 1/4, y la pérdida
# es la misma salga la que salga: -ln 1/4 = ln 4 = 1.39. Si una nota es mayor, esa letra paga menos
# cuando sale, y las otras tres pagan más. En la tabla, cada fila es una apuesta. Mira la última
# columna, que es la media de las cuatro pérdidas: es lo que paga, de media, quien aún no sabe qué
# letra va a salir, y la menor es la de repartir por igual. Mientras no se sabe nada, lo barato es
# no apostar.
print(f"1. ln 4 = {math.log(4):.2f}\n"
      "   notas                      pérdida si sale cada letra   media")
for bet in [
    [0.0, 0.0, 0.0, 0.0],
    [1.0, 0.0, 0.0, 0.0],
    [9.0, 0.0, -9.0, 3.0],
]:
    losses = -F.log_softmax(torch.tensor(bet), 0)            # (4,)
    assert losses.mean() > math.log(4) - 1e-6
    row = "".join(f"{loss:8.2f}" for loss in losses)
    print(f"   {str(bet):21}{row}{losses.mean():8.2f}")

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
# Con V caracteres pasa lo mismo que con cuatro: una red que aún no sabe nada debería nacer con una
# pérdida de ln V. Si nace con más, es que apuesta fuerte sin saber, y gasta sus primeros pasos en
# desdecirse. Lo vemos en una red como la de la lección 03. Cada carácter es una fila de una tabla
# (su embedding, C); las filas de los BLOCK_SIZE caracteres del contexto se ponen una tras otra; de
# ahí salen 200 neuronas ocultas con su tanh, y de ellas las V notas.
# De PyTorch tomamos el armazón. Una capa es una clase que hereda de nn.Module: lo que se guarda en
# ella como nn.Parameter es un tensor que aprende, y capa(x) llama a su forward(x). parameters()
# da todos los que aprenden, y state_dict(), con sus nombres. nn.Embedding(V, E) es la tabla C,
# nn.Flatten pone en fila las filas del contexto, y nn.Sequential es una lista de capas que se
# aplican una tras otra.
# La capa lineal es nuestra: multiplica por una matriz de números al azar, de media 0 y desviación
# típica 1 / √fan_in si le entran fan_in números; la celda 3 dice por qué. `gain` y `last` agrandan
# o encogen los pesos con que nacen las capas ocultas y la última: las celdas que siguen tratan de
# ellos. La capa BatchNorm1d se escribe en la celda 4; hasta entonces se pide sin ella (norm=False).
# A la derecha, las formas: B ejemplos, T caracteres de contexto, H neuronas, V notas.
def windows(lines, size):
    """Cada carácter de `lines` con los `size` que lo preceden en su línea: (N, size), (N,).

    Lo que falta por la izquierda es frontera, y el último que se predice en una línea también.
    """
    edge = "\n" * size
    stream = encode(edge + edge.join(lines) + "\n")
    rows = stream.unfold(0, size + 1, 1)                     # (M, size + 1)
    rows = rows[(rows[:, -2:] != NL).any(1)]                 # sin las que acaban en dos fronteras
    return rows[:, :-1], rows[:, -1]

X, Y = windows(train, BLOCK_SIZE)                            # (N, T), (N,)

class Linear(nn.Module):
    """x W^T + b: (..., fan_in) -> (..., fan_out). `weight` (fan_out, fan_in), como en PyTorch."""
    def __init__(self, fan_in, fan_out, scale=1.0, bias=True):
        super().__init__()
        self.weight = nn.Parameter(scale * torch.randn(fan_out, fan_in) / fan_in**0.5)
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)

def mlp(n_embd, n_hidden, n_layer, gain=5 / 3, norm=True, last=0.1):
    """Embedding, `n_layer` capas ocultas, con o sin BatchNorm, y la última: (B, T) -> (B, V)."""
    layers = [nn.Embedding(V, n_embd), nn.Flatten()]
    fan_in = BLOCK_SIZE * n_embd
    for _ in range(n_layer):
        layers.append(Linear(fan_in, n_hidden, gain, bias=not norm))
        if norm:
            layers.append(BatchNorm1d(n_hidden))
        layers.append(nn.Tanh())
        fan_in = n_hidden
    return nn.Sequential(*layers, Linear(fan_in, V, last))

def descend(model, steps, rate):
    """Descenso sencillo, con lotes de 128 ejemplos al azar: la pérdida de cada paso, (steps,)."""
    weights = list(model.parameters())
    losses = []
    for _ in range(steps):
        pick = torch.randint(len(X), (128,))
        loss = F.cross_entropy(model(X[pick]), Y[pick])
        grads = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, grad in zip(weights, grads):
                w -= rate * grad
        losses.append(loss.item())
    return torch.tensor(losses)

# Si los pesos de la última capa nacen con desviación 1 (last = √200), cada nota suma 200 términos
# al azar, cada uno de tamaño casi 1: aquí gain = 5, y eso deja las tanh cerca de -1 y 1 (celda 3).
# La suma de 200 crece como √200 (lección 03): sale de tamaño 14, o poco menos, una apuesta
# disparatada. Basta con que la última capa nazca casi nula para que las notas nazcan casi iguales,
# y la pérdida, en ln V.
# Estos ensayos son de 200 pasos por columna. Con STEPS menor que 200 son de 10, y entonces las
# tablas de las celdas 2, 5, 8 y 9 aún no enseñan lo que dice el texto.
demo = 200 if STEPS >= 200 else 10                           # pasos de un ensayo breve
print(f"\n2. {V} caracteres: ln {V} = {math.log(V):.3f}\n"
      f"   última capa   nace en   pérdida media de cada {demo} pasos")
for last in 200**0.5, 0.01:                                  # desviación 1, o casi 0
    torch.manual_seed(SEED)
    net = mlp(10, 200, 1, 5, False, last)
    born = F.cross_entropy(net(X[:9999]), Y[:9999])
    means = descend(net, 5 * demo, 0.1).view(5, demo).mean(1)                # (5,)
    row = "".join(f"{mean:7.3f}" for mean in means)
    print(f"   por {last:<7.4g} {born:9.3f}  {row}")
assert abs(born - math.log(V)) < 0.1                         # la que nace casi nula


# %% 3. La escala de los pesos: saturar, apagarse, estallar
# Ahora la capa oculta. La derivada de t = tanh(x) es 1 - t² (lección 01). En x = 0 vale 1; con
# t = 0.97, sólo 1 - 0.94 = 0.06. Donde |t| roza 1 se dice que la neurona satura (aquí, si pasa de
# 0.97): por mucho que cambie x, ella apenas cambia, y al volver por ahí el gradiente se multiplica
# por casi nada. De una neurona que satura con todos los ejemplos del texto se dice que está muerta
# (dead): los pesos que le llegan casi no reciben gradiente, y no es fácil que salga de ahí.
# En la tabla, tres valores de gain, que multiplica los pesos de la capa oculta. Mira las dos
# columnas de muertas: son las neuronas saturadas en todos los ejemplos de un lote de 32, y en todos
# los de uno de 3200. Con pesos muy grandes, en el lote pequeño hay unas cuantas que parecen
# muertas; en el grande no suele quedar ninguna (en seis semillas de seis, 0): bastaba con mirar más
# ejemplos. Lo que sí es cierto es que casi siempre están en un extremo, y que 1 - t², de media, es
# pequeñísimo. Por qué 5/3, el único de los tres con que la mayoría no satura, se verá en la tabla
# que sigue.
def same(ours, theirs, tol=1e-4):
    """Exige que dos números o tensores, o dos listas de ellos, sean iguales salvo `tol`."""
    torch.testing.assert_close(ours, theirs, rtol=tol, atol=tol)

print("\n3. gain   saturan   1 - t², de media   muertas: con 32 ejemplos, con 3200")
for gain in 5 / 3, 5, 25:
    t = mlp(10, 200, 1, gain, False)[:4](X[:3200])           # (3200, H) hasta la tanh
    stuck = t.abs() > 0.97                                   # (3200, H)
    share = stuck.float().mean()
    slope = (1 - t**2).mean()
    dead = stuck[:32].all(0).sum()
    still_dead = stuck.all(0).sum()
    print(f"   {gain:4.1f} {share:9.1%} {slope:18.3f} {dead:23d} {still_dead:10d}")

# ¿Qué escala es la buena? Una neurona suma fan_in productos w · x. Si los pesos son independientes
# y de media 0, cada producto tiene media 0 y varianza Var(w) · E[x²], donde E[x²] es la media de
# los cuadrados de lo que entra; y las varianzas de sumandos independientes se suman. Luego la
# salida tiene varianza fan_in · Var(w) · E[x²]. Con 100 entradas y pesos de desviación 0.1, es
# 100 · 0.01 · E[x²] = E[x²]: sale tan grande como entró. En general, con Var(w) = gain² / fan_in,
# la capa multiplica por gain el tamaño de la señal. A ese factor se le llama ganancia (gain). Con
# ganancia 1 una capa lineal conserva la señal; con 3, ocho capas la multiplican por 3⁸ = 6561.
# Lo que viene detrás de la capa también cuenta. La ReLU (lección 01) borra los negativos. Si lo que
# entra es simétrico (tan a menudo x como -x), borra la mitad de la media de los cuadrados; para
# reponerla, los cuadrados han de ser el doble, y los pesos, √2 veces mayores (He et al., «Delving
# Deep into Rectifiers», 2015, ecuación 10). La tanh encoge, más cuanto más grande es lo que entra:
# por eso con cualquier ganancia mayor que 1 la señal acaba quieta en un tamaño (mira la fila de 3).
# El 5/3 que usa PyTorch no sale de una cuenta exacta como la de √2: es un término medio, con que la
# señal se sostiene y el gradiente crece poco.
# El gradiente hace el camino de vuelta por los mismos pesos. Para medirlo se pide a autograd el de
# la entrada, y como la salida no es un número sino una tabla, hay que decirle qué gradiente le
# llega a ella: es el tercer argumento de autograd.grad. Aquí le llega ruido de tamaño 1.
# El tamaño es el rms (root mean square): la raíz de la media de los cuadrados. Compara en la tabla
# las tres filas de tanh. Con ganancia 1 la señal se apaga, y el gradiente también. Con 3 la tanh
# satura y 1 - t² es pequeño; pero los pesos por los que el gradiente vuelve son el triple de
# grandes, y ganan: el gradiente no se apaga, crece. Saturar no es por fuerza quedarse sin
# gradiente. Es que llega peor repartido: por las pocas neuronas que en ese ejemplo no estaban en un
# extremo, y por ellas, muy grande.
def rms(t):
    """Raíz de la media de los cuadrados."""
    return t.square().mean().sqrt()

def through(bend, gain):
    """El rms tras cada una de 8 capas, y el del gradiente que vuelve a la entrada: lista de 9."""
    x = torch.randn(500, 200, requires_grad=True)            # (B, H)
    y = x
    sizes = []
    for _ in range(8):
        w = torch.randn(200, 200) * gain / 200**0.5
        y = bend(y @ w)
        sizes.append(rms(y))
    back, = torch.autograd.grad(y, x, torch.randn(500, 200))
    return [*sizes, rms(back)]

print("\n   rms tras la capa         1        2        4        8   gradiente al volver")
for name, bend, gain in [
    ("lineal", nn.Identity(), 3),
    ("ReLU", torch.relu, 1),
    ("ReLU", torch.relu, 2**0.5),
    ("tanh", torch.tanh, 1),
    ("tanh", torch.tanh, 5 / 3),
    ("tanh", torch.tanh, 3),
]:
    sizes = through(bend, gain)
    row = "".join(f"{sizes[k]:9.3g}" for k in (0, 1, 3, 7))
    print(f"   {name:6s} gain {gain:<5.3g}{row}{sizes[8]:16.3g}")
# A la ida cada neurona suma fan_in términos; a la vuelta, cada entrada recoge lo que le devuelven
# las fan_out neuronas a las que fue. Para conservar la señal conviene Var(w) = 1 / fan_in, y para
# conservar el gradiente, 1 / fan_out. Si no son iguales no hay varianza que sirva a los dos. La
# inicialización de Xavier, que así se llama por el nombre de pila de Glorot, pone en el divisor su
# media: 1 / ((fan_in + fan_out) / 2) = 2 / (fan_in + fan_out) (Glorot y Bengio, «Understanding the
# Difficulty of Training Deep Feedforward Neural Networks», 2010, ecuación 12). Con 200 entradas y
# 300 salidas, 2 / 500.

# %% 4. BatchNorm
# Elegir la ganancia es delicado, y al entrenar los pesos cambian y la ganancia con ellos. Ioffe y
# Szegedy («Batch Normalization», 2015, algoritmo 1) lo dicen de otro modo: ¿se quiere que lo que
# entra en la tanh tenga media 0 y varianza 1? Se imponen. Para cada neurona, y con los números que
# ha dado en los ejemplos del lote:
#   1. la media:                           1, 2, 3 y 6      ->  3
#   2. cada número menos la media:                          -> -2, -1, 0, 3
#   3. la varianza, media de los cuadrados: (4 + 1 + 0 + 9) / 4  ->  3.5
#   4. dividir por la desviación, √3.5 = 1.87:              -> -1.07, -0.53, 0, 1.60
# A la varianza se le suma antes un eps diminuto, por si fuera 0. Y como quizá a la red no le
# convenga justo media 0 y varianza 1, hay un último paso: multiplicar por un número que se aprende,
# gamma (en PyTorch, weight), y sumar otro, beta (bias). Nacen en 1 y en 0.
# ¿Y al usar la red, cuando llega un solo ejemplo y no hay lote? Se usan una media y una varianza
# anotadas mientras se entrenaba (algoritmo 2): son medias móviles, que con cada lote se acercan un
# décimo (momentum) a lo que el lote midió. Eso hace a.lerp_(b, 0.1): a pasa a ser a + 0.1 (b - a).
# La varianza se anota multiplicada por n / (n - 1). La de n números se mide desde su propia media,
# y no desde la verdadera. Como de su propia media están siempre más cerca, sale pequeña: de media,
# (n - 1) / n de la verdadera. Multiplicar por n / (n - 1) lo repone.
# Al usar la red todo eso son números fijos: multiplicar por uno y sumar otro. Cabe dentro de la
# capa lineal de antes, y así lo hace sample.py.
# De PyTorch se toma también el modo: train() para entrenar, eval() para usar. Un buffer es un
# tensor que no se aprende, pero que se guarda con los que sí.
class BatchNorm1d(nn.Module):
    """Normaliza cada neurona sobre el lote: (B, H) -> (B, H). Entrenar con uno solo, error."""
    def __init__(self, dim, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(dim))          # gamma
        self.bias = nn.Parameter(torch.zeros(dim))           # beta
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            n = len(x)
            mean = x.mean(0)                                 # (H,)
            var = (x - mean).square().mean(0)                # (H,)
            unbiased = var * (n / (n - 1))                   # con un solo ejemplo, error
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(unbiased, self.momentum)
        hat = (x - mean) / torch.sqrt(var + self.eps)        # (B, H)
        return self.weight * hat + self.bias

layer = BatchNorm1d(1)
column = layer(torch.tensor([[1.0], [2.0], [3.0], [6.0]]))
print("\n4. 1, 2, 3 y 6, con media 0 y varianza 1:", *(f"{number:.2f}" for number in column[:, 0]))
ours, theirs = BatchNorm1d(8), nn.BatchNorm1d(8)
for training in True, True, True, False:                     # tres lotes entrenando, uno evaluando
    ours.train(training)
    theirs.train(training)
    inputs = (3 * torch.randn(32, 8) + 2).requires_grad_()
    push = torch.randn(32, 8)                                # el gradiente que llega a la salida
    a = ours(inputs)
    b = theirs(inputs)
    same(a, b)
    same(torch.autograd.grad(a, inputs, push), torch.autograd.grad(b, inputs, push))
same(ours.running_mean, theirs.running_mean)
same(ours.running_var, theirs.running_var)

# De la fórmula salen dos consecuencias. La primera: un sesgo justo antes de BatchNorm es inútil. La
# resta de la media se lo lleva, y su gradiente es cero; por eso las capas lineales que van antes de
# una BatchNorm no lo llevan (bias=not norm, en mlp).
# La segunda es la que importa. Si todos los pesos W de antes se multiplican por un número a > 0, lo
# que entra queda multiplicado por a, su media y su desviación también, y al dividir no queda
# rastro: BN(a W x) = BN(W x). La ganancia con que nace W ya no cambia nada de lo que la red calcula
# (salvo el diminuto eps). Sólo cambia lo deprisa que aprende. Con a = 10, subir 0.1 un peso de los
# grandes es, en proporción, subir 0.01 uno de los pequeños, y mueve la salida lo que movería éste:
# el gradiente sale dividido por 10. En general, dividido por a. Con a = 10, lo comprueba el código.
ours.train()
useless = torch.zeros(8, requires_grad=True)
small = torch.randn(8, 8, requires_grad=True)
large = 10 * small
a = ours(inputs @ small + useless)
b = ours(inputs @ large)
same(a, b, 1e-3)                                             # BN(10 W x) = BN(W x)
nothing, grad = torch.autograd.grad(a, [useless, small], push)
large_grad, = torch.autograd.grad(b, large, push)
assert nothing.abs().max() < 1e-3
same(10 * large_grad, grad, 1e-2)
print(f"   con los pesos de antes por 10, la salida es la misma, y su gradiente, "
      f"{rms(large_grad) / rms(grad):.3f} veces el de antes")

# Y hay un precio: mientras se entrena, lo que sale de un ejemplo depende de con quién le toque en
# el lote. Aquí el mismo ejemplo cae en mil lotes distintos, y se mide cuánto varía su salida. Mira
# la última columna, que de 16 en adelante apenas cambia: esa variación es como 1 / √B, la del error
# de una media de B números (lección 03). Ese ruido estorba con lotes muy pequeños. Pero también le
# pone difícil a la red aprenderse de memoria cada ejemplo, porque casi nunca lo ve dos veces igual:
# por eso a veces sirve de freno a la red que recita, y Ioffe y Szegedy (apartado 3.4) lo cuentan
# entre sus ventajas. Al evaluar no hay ruido.
print("   el mismo ejemplo en mil lotes de B: desviación de lo que sale de él, y la misma por √B")
for size in 4, 16, 64, 256:
    batches = torch.randn(1000, size, 1)
    batches[:, 0] = 1                                        # el primero es siempre el mismo
    outs = torch.stack([layer(batch)[0] for batch in batches])              # (1000, 1)
    noise = outs.std()
    print(f"   B = {size:3d} {noise:9.3f} {noise * size**0.5:9.2f}")

# %% 5. Qué compra BatchNorm
# La tabla prueba seis ganancias en una red de cinco capas ocultas. Mira la última columna, que es
# la distancia entre la mejor y la peor: sin BatchNorm la pérdida depende mucho de la ganancia, y
# con ella bastante menos, porque BN(a W x) = BN(W x). Lo que queda se debe a que la tasa de
# aprendizaje ya no es la misma, en proporción, para pesos mayores o menores. Eso es lo que se
# compra: margen para equivocarse. No se compra siempre menos pérdida: con la ganancia acertada, la
# red desnuda va igual o mejor.
print(f"\n5. pérdida a los {demo} pasos, gain   0.20   0.50   1.00   1.67   3.00  10.00  distancia")
for label, norm in ("sin BatchNorm", False), ("con BatchNorm", True):
    ends = []
    for gain in 0.2, 0.5, 1, 5 / 3, 3, 10:
        torch.manual_seed(SEED)
        losses = descend(mlp(10, 100, 5, gain, norm), demo, 0.3)
        ends.append(losses[-50:].mean())
    row = "".join(f"{end:7.3f}" for end in ends)
    print(f"   {label:29s}{row}{max(ends) - min(ends):11.3f}")

# %% 6. Un producto de matrices, hacia atrás
# Ahora, lo que autograd hacía por ti. Sea S = A W, con matrices de 2 x 2. Sus dos primeras entradas
# son s_11 = a_11 w_11 + a_12 w_21, y s_12 = a_11 w_12 + a_12 w_22. Llega G, el gradiente de la
# pérdida respecto a S: g_12 dice cuánto sube la pérdida si s_12 sube un poco.
# ¿Cuánto sube si sube a_11? La a_11 entra en s_11, multiplicada por w_11, y en s_12, multiplicada
# por w_12. Le tocan g_11 w_11 + g_12 w_12: la fila 1 de G por la fila 1 de W. Con las demás pasa
# igual, y todo junto es dA = G W^T, donde W^T (en el código, W.T) es W con sus filas puestas como
# columnas. ¿Y si sube w_11? Entra en s_11, por a_11, y en s_21, por a_21: le tocan a_11 g_11 +
# a_21 g_21, la columna 1 de A por la columna 1 de G. Todo junto, dW = A^T G.
# Si se olvida, guían las formas: con A (B, I), W (I, O) y G (B, O), sólo G W^T da (B, I).
A = torch.tensor([[1.0, 2.0],
                  [3.0, 4.0]], requires_grad=True)
W = torch.tensor([[5.0, 6.0],
                  [7.0, 8.0]], requires_grad=True)
G = torch.tensor([[1.0, 2.0],
                  [10.0, 100.0]])
dA, dW = torch.autograd.grad(A @ W, (A, W), G)
assert dA[0, 0] == 1 * 5 + 2 * 6                             # g_11 w_11 + g_12 w_12
assert dW[0, 0] == 1 * 1 + 3 * 10                            # a_11 g_11 + a_21 g_21
same([dA, dW], [G @ W.T, A.T @ G])
print(f"\n6. dA = G W^T = {dA.tolist()}, y dW = A^T G = {dW.tolist()}")


# %% 7. El gradiente de toda la red, a mano
# Una red con BatchNorm, de la tabla C a la pérdida, operación a operación, y luego la vuelta, de la
# pérdida a la tabla C. A la derecha, la forma de cada tensor: B ejemplos, T caracteres de contexto,
# E números por carácter, H neuronas, V notas.
# En la vuelta, d_x es el gradiente de la pérdida respecto a x: tiene la forma de x, y dice cuánto
# sube la pérdida si sube cada número de x. Se calcula como en la lección 01: lo que llega a la
# salida de una operación se multiplica por la derivada de la operación. Dos reglas más valen
# siempre. Lo que se usó dos veces recibe la suma de dos gradientes. Y lo que a la ida se repitió
# (broadcasting) se usó en todas las copias, así que a la vuelta se suma lo que llega de todas: con
# sum(0) si se repitió en las B filas, y con sum(1) si fue a lo largo de una fila.
# Dos detalles de escritura. logp[range(B), Y] toma de cada fila de logp un número, el de su letra.
# Y la función acaba en «return locals()»: devuelve un dict con todas sus variables, cada una con su
# nombre, y así se puede comparar cada d_x con el que da autograd.
def by_hand(C, W1, gamma, beta, W2, b2, X, Y):
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
    norm = gamma * hat + beta                                # (B, H)
    h = torch.tanh(norm)                                     # (B, H)
    logits = h @ W2 + b2                                     # (B, V)
    odds = logits.exp()                                      # (B, V)
    total = odds.sum(1, keepdim=True)                        # (B, 1)
    p = odds / total                                         # (B, V)
    logp = p.log()                                           # (B, V)
    loss = -logp[range(B), Y].mean()

    # Primer trozo, de la pérdida a las notas.
    # d_logp: la pérdida es menos la media de B entradas de logp, una por fila. A ésas, -1/B; a las
    #   demás, 0.
    # d_p: la derivada de ln p es 1 / p.
    # d_total: p = odds / total, y la derivada de 1 / total es -1 / total². El total de una fila
    #   dividió a las V odds de esa fila: se suma lo que llega de todas.
    # d_odds: cada una se usó dos veces, al dividir y en el total; la derivada de una suma es 1.
    # d_logits: la derivada de exp es la propia exp.
    d_logp = torch.zeros_like(logp)
    d_logp[range(B), Y] = -1 / B
    d_p = d_logp / p
    d_total = -(d_p * odds).sum(1, keepdim=True) / total**2
    d_odds = d_p / total + d_total
    d_logits = d_odds * odds

    # Segundo trozo: la última capa, por la celda 6; la tanh, por la 3; y BatchNorm, hasta pre.
    # d_b2, d_gamma y d_beta: los tres se repitieron en las B filas, y las B se suman.
    # d_inv: lo mismo, porque hay un inv por neurona y multiplicó a los B ejemplos.
    # d_var: la derivada de x^(-1/2) es -1/2 x^(-3/2), y x^(-3/2) es inv³.
    # d_square: var es una media de B números; a cada uno le toca 1/B de lo que le llega a ella.
    #   El producto por una tabla de unos lo reparte a las B filas.
    # d_diff: se usó dos veces: en hat, por inv, y al elevar al cuadrado, cuya derivada es 2 diff.
    # d_mean: se restó de las B filas.
    # d_pre: se usó en diff y en la media, donde de nuevo le toca 1/B.
    d_h = d_logits @ W2.T
    d_W2 = h.T @ d_logits
    d_b2 = d_logits.sum(0)
    d_norm = d_h * (1 - h**2)
    d_gamma = (d_norm * hat).sum(0)
    d_beta = d_norm.sum(0)
    d_hat = d_norm * gamma
    d_inv = (d_hat * diff).sum(0)
    d_var = d_inv * -0.5 * inv**3
    d_square = torch.ones_like(square) * d_var / B
    d_diff = d_hat * inv + d_square * 2 * diff
    d_mean = -d_diff.sum(0)
    d_pre = d_diff + d_mean / B

    # Tercer trozo: la primera capa, y la tabla C.
    # d_emb: flatten sólo cambió la forma, y view la deshace.
    # d_C: emb son filas copiadas de C, y un carácter que salió varias veces se usó varias veces:
    #   cada fila de d_emb se suma a la fila de d_C de su carácter. Es lo que hace index_add.
    d_flat = d_pre @ W1.T
    d_W1 = flat.T @ d_pre
    d_emb = d_flat.view(emb.shape)
    d_C = torch.zeros_like(C).index_add(0, X.flatten(), d_emb.flatten(0, 1))
    return locals()

shapes = [
    (V, 10),                                                 # C
    (10 * BLOCK_SIZE, 64),                                   # W1
    (64,),                                                   # gamma
    (64,),                                                   # beta
    (64, V),                                                 # W2
    (V,),                                                    # b2
]
weights = [0.3 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
copy = [w.clone().requires_grad_() for w in weights]
v = by_hand(*copy, X[:32], Y[:32])

for names in (
    "logp p total odds logits",
    "h W2 b2 norm gamma beta hat inv var square diff mean pre",
    "flat W1 emb C",
):                                                           # un trozo en cada vuelta
    parts = [v[name] for name in names.split()]
    theirs = torch.autograd.grad(v["loss"], parts, retain_graph=True)
    ours = [v["d_" + name] for name in names.split()]
    same(ours, list(theirs), 1e-8)
print("\n7. 22 gradientes, de logp hasta C, como los de autograd")

# Todo salió igual hasta la octava cifra. Para poder exigir tanto, los pesos son aquí de 64 bits
# (float64). Y retain_graph guarda el grafo, para pedirle gradientes tres veces.
# Dos atajos. El primero, de la pérdida a las notas. La pérdida de un ejemplo es -ln p_c, donde c es
# la letra correcta. Como p_c = exp(z_c) / Σ exp(z_k), la pérdida es ln Σ exp(z_k) - z_c. Al derivar
# por z_j, el logaritmo de la suma da exp(z_j) / Σ exp(z_k), que es p_j; y -z_c da -1 si j es la
# correcta, y 0 si no. Queda p_j, menos 1 en la correcta; y la media reparte 1/B. Con tres letras de
# probabilidades 0.5, 0.3 y 0.2, si la correcta es la segunda, queda 0.5, -0.7 y 0.2. Cada fila suma
# cero: lo que empuja hacia arriba a la correcta es lo que empuja hacia abajo a las demás, a cada
# una según la probabilidad que se le dio.
short = (F.softmax(v["logits"], 1) - F.one_hot(Y[:32], V)) / v["B"]           # (B, V)
same(short, v["d_logits"], 1e-8)
assert short.sum(1).abs().max() < 1e-12
# El segundo, todo BatchNorm de una vez. Para una neurona, sean x_1 ... x_B sus números. Escribimos
# [i = j] para decir 1 si i y j son el mismo ejemplo y 0 si no.
#   diff_i = x_i - media        -> su derivada por x_j es [i = j] - 1/B
#   var = Σ diff_k² / B         -> la suya es Σ 2 diff_k ([k = j] - 1/B) / B. La parte de 1/B lleva
#                                  Σ diff_k, y las diferencias suman 0. Queda 2 diff_j / B
#   inv = (var + eps)^(-1/2)    -> -1/2 inv³ · 2 diff_j / B, que es -inv² hat_j / B
#   hat_i = diff_i · inv        -> inv ([i = j] - 1/B) - diff_i inv² hat_j / B, que es
#                                  inv ([i = j] - 1/B - hat_i hat_j / B)
# La x_j movió las B hat_i. A cada una le llega d_hat_i, y todo lo que vuelve a x_j se suma sobre i:
#   d_x_j = Σ d_hat_i · inv ([i = j] - 1/B - hat_i hat_j / B)
#         = inv (d_hat_j - media de d_hat - hat_j · media de d_hat · hat)
# En palabras: a lo que llega se le quita su media y lo que tenga de parecido con hat, y se escala.
# Es lo justo: subir todas las x, o agrandarlas todas, no cambia nada que salga de BatchNorm.
hat, d_hat = v["hat"], v["d_hat"]                            # (B, H)
short = v["inv"] * (d_hat - d_hat.mean(0) - hat * (d_hat * hat).mean(0))
same(short, v["d_pre"], 1e-8)
print("   d_pre[0, 0], paso a paso y de una vez:", v["d_pre"][0, 0].item(), short[0, 0].item())

# ¿Basta con esto para aprender? Aprenden a la vez, y con los mismos lotes, dos redes iguales. A la
# primera no se le pide autograd: la mueven los gradientes de by_hand. A su copia, los de autograd.
# Acaban en los mismos números, salvo el redondeo.
for _ in range(demo):
    pick = torch.randint(len(X), (128,))
    v = by_hand(*weights, X[pick], Y[pick])
    theirs = by_hand(*copy, X[pick], Y[pick])["loss"]
    grads = [v["d_" + name] for name in ("C", "W1", "gamma", "beta", "W2", "b2")]
    grads += torch.autograd.grad(theirs, copy)
    with torch.no_grad():
        for w, grad in zip(weights + copy, grads):
            w -= 0.1 * grad
gap = max((a - b).abs().max() for a, b in zip(weights, copy))
assert gap < 1e-9
print(f"   {demo} pasos sin autograd; con él, igual salvo {gap:.0e}")

# %% 8. Todo a cero
# ¿Y si todos los pesos nacen en cero? Entonces h = 0. Por la celda 6, dW2 = h^T G = 0, y también
# dh = G W2^T = 0: nada llega abajo. Sólo aprende b2, que no mira el contexto. Por eso, por mucho
# que se entrene, la red no puede bajar de la entropía (lección 02) de los caracteres sueltos: lo
# que pierde quien sólo sabe cuánto sale cada uno. En el código la calcula Categorical, a partir de
# las veces que sale cada carácter (bincount).
# Tampoco vale que nazcan iguales sin ser cero: todas las neuronas ocultas calcularían lo mismo,
# recibirían el mismo gradiente y seguirían iguales para siempre. Por eso los pesos nacen al azar.
# Con sólo la última capa a cero, h no es 0, luego dW2 tampoco, y desde el segundo paso aprenden
# todas. Mira en la tabla qué pesos se mueven y cuáles no.
entropy = torch.distributions.Categorical(Y.bincount().float()).entropy()
print(f"\n8. pérdida con sólo las frecuencias: {entropy:.3f}\n"
      "   cuánto se mueve           C     W1     b1     W2     b2   pérdida")
for label, factor in ("todo a cero", 0), ("sólo W2 a cero", 1):
    net = mlp(10, 200, 1, 1, False, last=0)
    weights = list(net.parameters())                         # C, W1, b1, W2 y b2
    with torch.no_grad():
        for w in weights:
            w *= factor
    before = [w.detach().clone() for w in weights]
    losses = descend(net, demo, 1)
    moved = [(w - old).abs().max() for w, old in zip(weights, before)]
    row = "".join(f"{number:7.3f}" for number in moved)
    print(f"   {label:20s}{row}{losses[-50:].mean():10.3f}")
    assert factor == 1 or sum(moved[:4]) == 0


# %% 9. Vigilar la red mientras aprende
# Cuando una red no aprende, la pérdida dice que algo va mal, pero no dónde. Lo dicen cinco medidas
# de cada capa (se imprimen la 1, la 3 y la 5), y son las columnas de la tabla:
#   desv., satur.: la desviación de lo que sale de la tanh, y qué parte satura. ¿Se apaga la señal?
#     ¿Está toda en los extremos?
#   grad. tanh: la desviación del gradiente que llega a esa salida. ¿Llega? ¿Cambia de capa en capa?
#   grad. W: la del gradiente de los pesos de la capa.
#   paso: log10 de lo que un paso mueve los pesos, comparado con lo grandes que son. Con -3, un paso
#     los cambia en una milésima, y eso es lo que dan como guía los apuntes de CS231n (Stanford). No
#     es ley: aquí la red sana suele estar entre -2.3 y -2.7.
# Ninguna de estas cifras basta sola. Busca en cada red lo que la distingue de la primera. Con la
# tasa por 0.01, la tanh está sana y el paso es de -5 en todas las capas. Con la tasa por 30 la tanh
# satura al 99 %, y el paso cambia muchísimo de una capa a otra: en la primera puede ser también de
# -5, así que el paso solo no dice si la tasa es chica o enorme. Con «gain 0.2», una desviación de
# 0.03 es una señal que se apaga. Y mira «gain 10»: satura en más de un 80 %, y el gradiente de sus
# primeras capas no es menor que el de la red sana, sino mayor. Lo dicho en la celda 3: los pesos
# grandes compensan. Lo que la delata es que cambia mucho de una capa a otra, y que en los mismos
# pasos la pérdida baja bastante menos.
def dissect(net):
    """De cada capa oculta, con mil ejemplos: salida de la tanh, su gradiente, el de W, y W."""
    x, outs = X[:1000], []
    for layer in net[:-1]:
        x = layer(x)
        if isinstance(layer, nn.Tanh):
            outs.append(x)
    weights = [layer.weight for layer in net[:-1] if isinstance(layer, Linear)]
    loss = F.cross_entropy(net[-1](x), Y[:1000])
    grads = torch.autograd.grad(loss, outs + weights)
    n = len(outs)
    return list(zip(outs, grads[:n], grads[n:], weights))

print(f"\n9. tras {demo} pasos\n"
      "   capa desv. satur.  grad. tanh  grad. W   paso")
story = []
for label, norm, gain, rate in [
    ("tal como debe ser", True, 5 / 3, 0.3),
    ("tasa por 0.01", True, 5 / 3, 0.003),
    ("tasa por 30", True, 5 / 3, 9),
    ("sin BatchNorm, gain 0.2", False, 0.2, 0.3),
    ("sin BatchNorm, gain 10", False, 10, 0.3),
]:
    torch.manual_seed(SEED)
    net = mlp(10, 100, 5, gain, norm)
    losses = descend(net, demo, rate)
    layers = dissect(net)
    story.append((label, layers))
    print(f"   {label}: pérdida {losses[-10:].mean():.3f}")
    for i in 0, 2, 4:
        t, back, grad, w = layers[i]
        stuck = (t.abs() > 0.97).float().mean()
        ratio = grad.std() / w.std()
        print(f"   {i + 1:4d} {t.std():5.2f} {stuck:6.1%} {back.std():11.0e} "
              f"{grad.std():8.0e} {(rate * ratio).log10():6.2f}")
if PLOT:
    titles = "salida de la tanh", "su gradiente", "gradiente de los pesos"
    plt.rc("axes.formatter", limits=(-2, 4))                 # 1e-4, y no 0.0001
    picture, axes = plt.subplots(5, 3, figsize=(13, 14), layout="constrained")
    for row, (label, layers) in zip(axes, story):
        row[0].set(ylabel=label)
        for column in range(3):
            row[column].set(xlabel=titles[column], yscale="log")
            for k, parts in enumerate(layers, 1):
                values = parts[column].detach().flatten()
                row[column].hist(values, 50, histtype="step", label=f"capa {k}")
    axes[0, 0].legend()
    plt.savefig(Path(PLOT) / "por_capas.png", dpi=150, bbox_inches="tight")


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


# %% 10. Entrenar, comparar y escribir
# Una red como las de antes, ahora en serio: AdamW, lotes grandes, y una tasa que sube y baja hasta
# cero (lección 03). Lleva una sola capa oculta: las cinco de las celdas 5 y 9 eran para ver lo que
# pasa de una a otra. Con tres, que son cuatro veces más parámetros, se pierde 0.019 menos con la
# semilla de fábrica (está en los experimentos; con otras no lo hemos medido).
# El decaimiento sólo toca las matrices. En C y en la W de una capa oculta no quita nada a lo que la
# red calcula: detrás viene BatchNorm, y BN(a W x) = BN(W x) (celda 4). Allí sólo hace que cada paso
# cambie más, en proporción, unos pesos que han menguado. Donde de verdad frena es en la última
# capa, que no lleva BatchNorm detrás. Las gamma, las beta y el sesgo se dejan libres.
# Se guarda el mejor: la red que menos perdió en validación, de las que se miraron. Cada BatchNorm
# evalúa con la media móvil de lo que vio en sus últimos lotes, mientras los pesos cambiaban. Cabría
# anotarla de nuevo con los pesos quietos y todo el texto de entrenar (calibrar). Lo hemos probado,
# y con estos lotes de 1024 no merece la pena: mueve val menos de 0.0005, y no siempre a mejor.
torch.manual_seed(SEED)
model = mlp(N_EMBD, N_HIDDEN, N_LAYER, GAIN, True, LAST)
groups = [
    {"params": [w for w in model.parameters() if w.dim() == 2], "weight_decay": WEIGHT_DECAY},
    {"params": [w for w in model.parameters() if w.dim() == 1], "weight_decay": 0},
]
optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)

@torch.no_grad()
def surprises(lines):
    """-ln p de cada carácter de `lines`, en nats, con `model` evaluando: (M,)"""
    x, y = windows(lines, BLOCK_SIZE)
    model.eval()
    parts = [F.cross_entropy(model(a), b, reduction="none")
             for a, b in zip(x.split(8192), y.split(8192))]
    model.train()
    return torch.cat(parts)

def evaluate(lines):
    """Pérdida media en nats por carácter de todas las ventanas de `lines`."""
    return surprises(lines).mean().item()

print(f"\n10. {sum(w.numel() for w in model.parameters())} parámetros; {STEPS} pasos de "
      f"{BATCH_SIZE} ejemplos")
config = {
    "block_size": BLOCK_SIZE,
    "n_embd": N_EMBD,
    "n_hidden": N_HIDDEN,
    "n_layer": N_LAYER,
}
best, seconds = {"val_loss": math.inf}, 0.0
for step in range(1, STEPS + 1):
    tick = time.perf_counter()
    up = step / (WARMUP_STEPS + 1)                           # de 0 a 1 en los primeros pasos
    down = (STEPS - step + 1) / max(STEPS - WARMUP_STEPS, 1) # de 1 a 0 en los demás
    rate = LEARNING_RATE * min(up, down)
    for group in optimizer.param_groups:
        group["lr"] = rate
    pick = torch.randint(len(X), (BATCH_SIZE,))              # (B,)
    loss = F.cross_entropy(model(X[pick]), Y[pick])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    seconds += time.perf_counter() - tick                    # evaluar no cuenta
    left = (STEPS - step) * seconds / step
    live(f"{step}/{STEPS}   pérdida {loss:.3f}   {step * BATCH_SIZE / seconds:.0f} caracteres/s   "
         f"faltan {left:.0f} s")
    if step % EVAL_INTERVAL == 0 or step == STEPS:
        now = {"step": step,
               "train_loss": evaluate(train),
               "val_loss": evaluate(val),
               "weights": {name: w.clone() for name, w in model.state_dict().items()}}
        if not math.isfinite(now["val_loss"]):
            sys.exit(f"error: la pérdida dejó de ser finita antes del paso {step}: baja "
                     "LEARNING_RATE")
        if now["val_loss"] < best["val_loss"]:
            best = now
            save({"format": 1, "model": "batchnorm", "config": config, "chars": chars,
                  "data": Path(DATA).name, **best}, OUT)
        live("")
        print(f"   paso {step:5d}   train {now['train_loss']:.4f}   val {now['val_loss']:.4f}   "
              f"mejor {best['step']:5d}")

# Al lado, la rival. Se le dan los mismos BLOCK_SIZE caracteres, y también cuantos quiera, hasta
# siete. Con pueblos.txt y los mismos tres, la red va por delante, y no por mucho. Donde más gana es
# en los contextos de validación que nunca salieron al entrenar: ahí la tabla sólo puede acortar el
# contexto, y la red, que ha puesto cerca las letras que se parecen, aún sabe algo. (No es así con
# todo texto: lo cuenta la lección 03.) Pero con más contexto gana la tabla, y con mucha ventaja. La
# lección 05 trae una red que le gana.
result = "train=- val=- test=- segundos=- tokens_s=- ckpt=-"
if STEPS:
    model.load_state_dict(best["weights"])
    ours = surprises(val)                                    # (M,)
    theirs = counting(*windows(train + val, max(BLOCK_SIZE, 7)), len(Y))     # (8, M)
    table = theirs.mean(1)                                   # con 0, 1, 2... caracteres
    seen = set(map(tuple, X.tolist()))
    contexts, _ = windows(val, BLOCK_SIZE)
    fresh = torch.tensor([tuple(context) not in seen for context in contexts.tolist()])
    print(f"   contar, con {BLOCK_SIZE} caracteres: val {table[BLOCK_SIZE]:.4f}; con "
          f"{table.argmin()}, su mejor: val {table.min():.4f}\n"
          f"   en los {fresh.sum()} contextos nunca vistos: la red {ours[fresh].mean():.3f}, "
          f"contar {theirs[BLOCK_SIZE][fresh].mean():.3f}")
    result = (f"train={best['train_loss']:.4f} val={best['val_loss']:.4f} "
              f"test={evaluate(test):.4f} segundos={seconds:.1f} "
              f"tokens_s={STEPS * BATCH_SIZE / seconds:.0f} ckpt={OUT}")

@torch.no_grad()
def generate(count, longest=60):
    """`count` líneas inventadas a la vez, de `longest` caracteres como mucho: lista de textos."""
    row = torch.full((count, BLOCK_SIZE), NL)                # (count, T)
    for _ in range(longest):
        p = F.softmax(model(row[:, -BLOCK_SIZE:]), dim=1)    # (count, V)
        row = torch.cat([row, torch.multinomial(p, 1)], dim=1)
    return [decode(line[BLOCK_SIZE:]).split("\n")[0] for line in row.tolist()]

torch.manual_seed(SEED)
model.eval()
for line in generate(10):
    print("   " + line)
print(f"resultado {result}")

# %% Experimentos: predice antes de mirar (con pueblos.txt; tal como viene, val 1.7814)
# - GAIN = 0.2: ¿lo nota una red con BatchNorm, si nacen sus pesos ocho veces menores? val 1.7818.
# - GAIN = 10: ¿y seis veces mayores? Poco, y porque aprenden más despacio: val 1.8002.
# - LAST = 10: ¿y si la última capa nace cien veces mayor, sin BatchNorm que lo arregle? Nace con
#   una pérdida enorme, y aunque se rehace no llega igual de lejos: val 1.8199.
# - N_LAYER = 3: ¿qué dan dos capas ocultas más? Algo, con cuatro veces más parámetros: val 1.7626.
# - BATCH_SIZE = 2: ¿qué queda de una neurona con dos ejemplos? El signo: están a igual distancia de
#   su media, y salen siempre uno y menos uno. Y se ven muchos menos ejemplos: val 2.7402.
# - STEPS = 100, LEARNING_RATE = 7e-3: ¿cuánto se aprende en el primer segundo, mientras la tasa aún
#   sube? val 2.1452.
# - N_HIDDEN = 20: ¿cuánto cabe en veinte neuronas? val 1.9993.
# - BLOCK_SIZE = 7: ¿y si mira lo mismo que la mejor tabla? Se le acerca, y no llega: val 1.6660.
# - DATA = "names.txt": ¿y con nombres de pila en inglés (data/README.md)? val 2.0766.
# Y uno en el código: en by_hand, quítale a d_var el signo menos y ejecuta con --steps 0. ¿Qué línea
# se queja? El same de los trozos, que dice qué puesto de la lista: el 8, contando desde 0, es var.

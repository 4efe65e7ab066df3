"""
01. Micrograd: de una pendiente a una red que aprende

Al terminar sabrás qué es una derivada para un programa, cómo la regla de la
cadena reparte la culpa de un error entre miles de números (retropropagación,
backpropagation) y qué hace PyTorch por ti. El motor, `Value`, se lee entero.

    python 01_micrograd.py                  menos de veinte segundos
    python 01_micrograd.py --steps 0        sólo las piezas y sus pruebas
    python 01_micrograd.py --plot figuras   además, el grafo y la frontera

Acaba dando el mismo paso de cinco maneras, cada una más rápida que la otra.

Fuentes: Linnainmaa (1970), la derivada hacia atrás por un grafo; Rumelhart,
Hinton y Williams, «Learning representations by back-propagating errors»
(1986), ecuaciones 1 y 3 a 8; Baydin et al., «Automatic Differentiation in
Machine Learning: a Survey» (2018), apartado 3.2; Cortes y Vapnik, «Support-
Vector Networks» (1995), la bisagra; Karpathy, micrograd (2020), cuya interfaz y
cuyas dos lunas se siguen aquí.
"""
import argparse
import gc
import math
import operator
import random
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
SEED = 1             # semilla del azar
PLOT = ""            # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 60           # pasos de descenso con las dos lunas (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 10   # pasos entre las líneas que cuentan cómo va
NOISE = 0.1          # desviación típica del ruido de los puntos (las lunas tienen radio 1)
N_HIDDEN = 16        # neuronas de cada una de las dos capas ocultas
LEARNING_RATE = 1.0  # tasa de aprendizaje al empezar; baja en línea recta hasta su décima parte
WEIGHT_DECAY = 1e-4  # peso en la pérdida de la suma de los cuadrados de los parámetros (L2)

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

# %% 1. La derivada es una pendiente
# Mueve x un poco, h, y mira cuánto se mueve f(x): el cociente es la pendiente, la derivada. Con h
# grande la curva ya se ha torcido; con h diminuto los dos valores de f coinciden en casi todas sus
# 16 cifras, y al restarlos sólo quedan las redondeadas. Lo mejor está en medio.
if min(EVAL_INTERVAL, N_HIDDEN) < 1:
    sys.exit("error: EVAL_INTERVAL y N_HIDDEN deben ser 1 o más")


def slope(f, x, h=1e-5):
    """Pendiente de `f` entre x - h y x + h: se equivoca en h² f'''(x) / 6, más el redondeo."""
    return (f(x + h) - f(x - h)) / (2 * h)


def curve(x):
    """e^x sen x, cuya derivada es e^x (sen x + cos x) y cuya segunda derivada es 2 e^x cos x."""
    return math.exp(x) * math.sin(x)


true, bend = math.e * (math.sin(1) + math.cos(1)), 2 * math.e * math.cos(1)
sizes = [10.0**-k for k in range(1, 15)]
one_side = [abs((curve(1 + h) - curve(1)) / h - true) for h in sizes]
two_sides = [abs(slope(curve, 1, h) - true) for h in sizes]
best_one, best_two = (sizes[int(np.argmin(e))] for e in (one_side, two_sides))
assert math.isclose(one_side[2], sizes[2] * bend / 2, rel_tol=0.01)  # el error es h f''(x) / 2
assert 1e-10 < best_one < 1e-6 and 1e-8 < best_two < 1e-3
assert min(one_side[0], one_side[-1]) > 1000 * min(one_side)
print("1. error de la pendiente de e^x sen x en x = 1")
print("          h   hacia un lado   a los dos lados")
for h, one, two in list(zip(sizes, one_side, two_sides))[::2]:
    print(f"   {h:8.0e}   {one:13.0e}   {two:15.0e}")
print(f"   lo mejor: h = {best_one:.0e} hacia un lado, {best_two:.0e} a los dos")

# %% 2. La regla de la cadena, a mano
# L = (a b + c)² a se calcula por partes: p = a b, s = p + c, q = s², L = q a. Se camina hacia
# atrás: cada parte multiplica lo que le llega por su derivada local, que es fácil. A `a` se llega
# por dos caminos, y sus dos contribuciones se suman: es lo único que hay que no olvidar.
def by_parts(a, b, c):
    """(a b + c)² a, con números o con lo que sepa sumarse y multiplicarse."""
    return (a * b + c) ** 2 * a


a, b, c = 2.0, -1.5, 4.0
p = a * b
s = p + c
q = s ** 2
L = q * a
dq, da = a, q              # L = q a
ds = dq * 2 * s            # q = s²
dp, dc = ds, ds            # s = p + c: la suma reparte por igual
da, db = da + dp * b, dp * a  # p = a b: por aquí vuelve a llegarse a `a`
numeric = [slope(lambda x: by_parts(x, b, c), a), slope(lambda x: by_parts(a, x, c), b),
           slope(lambda x: by_parts(a, b, x), c)]
assert np.allclose([da, db, dc], numeric, atol=1e-8)
print(f"\n2. L = (a b + c)² a = {L:g}   a mano   numérica")
for name, hand, measured in zip("abc", (da, db, dc), numeric):
    print(f"   derivada respecto de {name}   {hand:6g}   {measured:8.5f}")

# %% 3. Value: la regla de la cadena, sola
# Cada operación devuelve un nodo que recuerda sus operandos y, al lado del resultado, la derivada
# local respecto de cada uno. `backward` recorre los nodos desde el final, cada uno después de
# todos los que lo usan (orden topológico): al operando le suma derivada local por gradiente.
class Value:
    """Un número, la operación de que salió y, tras `backward`, su gradiente `grad`.

    Se usa como el de micrograd; por dentro guarda números, `_slopes`, en vez de funciones.
    """
    __slots__ = ("data", "grad", "_children", "_op", "_slopes")

    def __init__(self, data, _children=(), _op="", _slopes=()):
        self.data, self.grad = data, 0
        self._children, self._op, self._slopes = _children, _op, _slopes

    def __add__(self, other):   # cada operación, con su derivada local al lado: aquí 1 y 1
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), "+", (1, 1))

    def __sub__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data - other.data, (self, other), "-", (1, -1))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), "*", (other.data, self.data))

    def __truediv__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        ratio = self.data / other.data
        return Value(ratio, (self, other), "/", (1 / other.data, -ratio / other.data))

    def __pow__(self, n):
        if not isinstance(n, (int, float)):
            raise TypeError("el exponente de ** debe ser un número: prueba (b * a.log()).exp()")
        if self.data < 0 and n % 1:
            raise ValueError(f"{self.data} ** {n} no es un número real")
        slope = n * self.data ** (n - 1) if self.data or n >= 1 else math.inf if n else 0
        return Value(self.data ** n, (self,), f"**{n}", (slope,))

    def __neg__(self):
        return Value(-self.data, (self,), "neg", (-1,))

    def exp(self):
        y = math.exp(self.data)
        return Value(y, (self,), "exp", (y,))

    def log(self):
        if not self.data > 0:
            raise ValueError(f"no hay logaritmo de {self.data}: hace falta un número positivo")
        return Value(math.log(self.data), (self,), "log", (1 / self.data,))

    def tanh(self):
        y = math.tanh(self.data)
        return Value(y, (self,), "tanh", (1 - y * y,))

    def relu(self):
        return Value(0 if self.data < 0 else self.data, (self,), "ReLU", (int(self.data > 0),))

    __radd__, __rmul__ = __add__, __mul__  # 2 + a: como el 2 no sabe, Python se lo pide a `a`

    def __rsub__(self, other):
        return Value(other) - self

    def __rtruediv__(self, other):
        return Value(other) / self

    def __repr__(self):
        return f"Value(data={self.data}, grad={self.grad})"

    @property
    def _prev(self):
        return set(self._children)

    def topological(self):
        """Los nodos de que depende éste, él el primero: ninguno antes que otro que lo use."""
        order, seen, path = [], {self}, [(self, iter(self._children))]
        while path:  # un camino que se alarga y se acorta, y no recursión: no hay tope de hondura
            v, children = path[-1]
            for child in children:
                if child not in seen:
                    seen.add(child)
                    path.append((child, iter(child._children)))
                    break
            else:    # ya están puestos todos los nodos de que depende v: le toca a él
                order.append(v)
                path.pop()
        return order[::-1]

    def backward(self):
        """Suma a `grad`, en cada nodo de que depende éste, la derivada de éste respecto de él."""
        self.grad = 1
        for v in self.topological():
            grad = v.grad
            for child, slope in zip(v._children, v._slopes):
                child.grad += slope * grad


operations = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b,
              lambda a, b: 2 + a, lambda a, b: 2 - a, lambda a, b: 2 * a, lambda a, b: 2 / a,
              lambda a, b: a ** 3, lambda a, b: b ** -0.5, lambda a, b: -a, lambda a, b: a.relu(),
              lambda a, b: a.exp(), lambda a, b: a.log(), lambda a, b: a.tanh()]
worst = 0.0
for f in operations:
    a, b = Value(1.7), Value(0.6)
    f(a, b).backward()
    worst = max(worst, abs(a.grad - slope(lambda x: f(Value(x), b).data, a.data)),
                abs(b.grad - slope(lambda x: f(a, Value(x)).data, b.data)))
assert worst < 1e-8
print(f"\n3. {len(operations)} operaciones de Value contra la pendiente numérica: difieren en "
      f"{worst:.0e}")
a, b, c = Value(2.0), Value(-1.5), Value(4.0)
L = by_parts(a, b, c)
L.backward()
assert [a.grad, b.grad, c.grad] == [da, db, dc]
x = Value(1.0)
chain = x
for _ in range(100_000):
    chain = chain + x
chain.backward()
assert x.grad == len(chain.topological()) == 100_001
print(f"   una cadena de 100 000 sumas: gradiente {x.grad} (con recursión, tope en "
      f"{sys.getrecursionlimit()})")

# Dos olvidos clásicos. Si `backward` asignara en vez de sumar, en a + a el segundo camino borraría
# el primero. Y como suma, antes de cada paso hay que poner los gradientes a cero (zero_grad): si
# no, cada paso arrastra todos los anteriores y el descenso pasa de largo una y otra vez.
twice = a + a
forgetful = dict(zip(twice._children, twice._slopes))        # asignar: queda el último
a.grad = 0
twice.backward()
assert a.grad == 2 and forgetful[a] == 1
print(f"   a + a: sumando, gradiente {a.grad}; asignando, {forgetful[a]}, y está mal")
far = {}
for clean in True, False:
    x = Value(0.0)
    for _ in range(40):
        x.grad = 0 if clean else x.grad
        ((x - 3) ** 2).backward()
        x.data -= 0.1 * x.grad
    far[clean] = abs(x.data - 3)
assert far[True] < 0.01 and far[False] > 1
print(f"   bajar por (x - 3)²: en 40 pasos, a {far[True]:.3f} del mínimo; sin zero_grad, a "
      f"{far[False]:.3f}")

# %% 4. El grafo de una expresión
# Lo que `Value` guarda es un grafo. Aquí está el de la celda 2, de arriba abajo: cada nodo cuelga
# de quien lo usa. El que se usa dos veces, `a`, se dibuja la primera y después sólo se nombra.
def draw(v, names, drawn=None, indent="   ", branch=""):
    """Líneas de texto con el grafo de `v`: operación o nombre, dato y gradiente de cada nodo.

    `names` es un diccionario {nodo: nombre}; `drawn`, los nodos que ya están dibujados.
    """
    drawn = set() if drawn is None else drawn
    label = indent + branch + " = ".join(filter(None, (names.get(v), v._op)))
    if v in drawn:
        yield f"{label:24s} (el de arriba)"
        return
    drawn.add(v)
    yield f"{label:24s} data {v.data:9.4f}   grad {v.grad:9.4f}"
    indent += {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
    for left, child in zip(range(len(v._children))[::-1], v._children):
        yield from draw(child, names, drawn, indent, "├─ " if left else "└─ ")


a.grad = b.grad = c.grad = 0  # la celda anterior los usó
L = by_parts(a, b, c)
L.backward()
names = {L: "L", a: "a", b: "b", c: "c"}
picture = list(draw(L, names))
assert sum("data" in line for line in picture) == len(L.topological()) == 7
assert sum("el de arriba" in line for line in picture) == 1
print("\n4. el grafo de L = (a b + c)² a")
print("\n".join(picture))

if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    level, place = {}, {}  # a cuántas operaciones de los datos está cada nodo; dónde se dibuja
    plt.figure(figsize=(11, 3.5))
    for v in L.topological()[::-1]:
        level[v] = 1 + max((level[child] for child in v._children), default=-1)
        place[v] = level[v], -list(level.values()).count(level[v])
        text = " = ".join(filter(None, (names.get(v), v._op)))
        plt.text(*place[v], f"{text}\ndato {v.data:.4g}\ngradiente {v.grad:.4g}", ha="center",
                 va="center", bbox={"boxstyle": "round", "facecolor": "white"})
        for child in v._children:
            rise = -0.25 if level[v] > level[child] + 1 and place[child][1] == -1 else 0
            plt.annotate("", place[v], place[child], arrowprops={
                "arrowstyle": "->", "color": "tab:blue", "shrinkA": 35, "shrinkB": 40,
                "connectionstyle": f"arc3,rad={rise}"})
    plt.axis("off")
    plt.axis([-0.5, level[L] + 0.5, -3.5, 0.5])
    plt.savefig(Path(PLOT) / "grafo.png", dpi=150, bbox_inches="tight")

# %% 5. Una neurona, entera y desmontada, y la misma en PyTorch
# Una neurona suma sus entradas con pesos (weights), añade un sesgo (bias) y pasa la suma por una
# función no lineal, aquí la tangente hiperbólica: tanh n = (e^2n - 1) / (e^2n + 1). Que sea una
# pieza o cuatro da igual: el grafo que una operación tape es cosa nuestra, el gradiente no cambia.
random.seed(SEED)
numbers = [random.uniform(-1, 1) for _ in range(5)]          # x1, x2, w1, w2 y b


def whole(x1, x2, w1, w2, b):
    """tanh(w1 x1 + w2 x2 + b). Vale para `Value` y para tensores de PyTorch."""
    return (w1 * x1 + w2 * x2 + b).tanh()


def apart(x1, x2, w1, w2, b):
    """Lo mismo, con tanh desmontada en exponenciales."""
    e = (2 * (w1 * x1 + w2 * x2 + b)).exp()
    return (e - 1) / (e + 1)


def gradients(neuron, leaves):
    """Salida de `neuron` y derivadas respecto de cada una de sus `leaves`."""
    out = neuron(*leaves)
    out.backward()
    return [float(v) for v in (out.data, *(leaf.grad for leaf in leaves))]


one = gradients(whole, [Value(n) for n in numbers])
two = gradients(apart, [Value(n) for n in numbers])
theirs = gradients(whole, [torch.tensor(n, dtype=torch.float64, requires_grad=True)
                           for n in numbers])
assert np.allclose(one, two, rtol=0, atol=1e-12) and np.allclose(one, theirs, rtol=0, atol=1e-12)
print("\n5. una neurona     salida    d/dx1     d/dx2     d/dw1     d/dw2      d/db")
for label, row in ("con tanh", one), ("con exp", two), ("en PyTorch", theirs):
    print(f"   {label:10s}" + "".join(f"{n:10.5f}" for n in row))

# %% 6. Neuronas en capas, y bajar por el gradiente
# Una capa (layer) son neuronas que miran lo mismo; un perceptrón multicapa (MLP), capas en fila. El
# problema de juguete es el que una neurona sola no puede resolver: ¿son distintos los dos signos?
# La pérdida es la suma de los errores al cuadrado (SSE), y cada paso mueve los parámetros un poco
# en contra de su gradiente: w -= tasa · dL/dw (ecuaciones 3 y 8 de Rumelhart).
class Neuron:
    """activation(w · x + b), con `n_in` pesos al azar; sin `activation`, la suma sin más."""

    def __init__(self, n_in, activation=None):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(n_in)]
        self.b = Value(0.01)  # con 0 y entradas apagadas, nacería en el pico de la ReLU
        self.activation = activation

    def __call__(self, x):
        total = sum((w * x for w, x in zip(self.w, x)), self.b)
        return self.activation(total) if self.activation else total

    def parameters(self):
        return [*self.w, self.b]


class Layer:
    """`n_out` neuronas de la clase `kind` con las mismas `n_in` entradas."""

    def __init__(self, n_in, n_out, activation=None, kind=Neuron):
        self.neurons = [kind(n_in, activation) for _ in range(n_out)]

    def __call__(self, x):
        return [neuron(x) for neuron in self.neurons]

    def parameters(self):
        return [p for neuron in self.neurons for p in neuron.parameters()]


class MLP:
    """Capas de `sizes` neuronas sobre `n_in` entradas; la última, sin `activation`."""

    def __init__(self, n_in, sizes, activation, kind=Neuron):
        self.layers = [Layer(*shape, activation, kind) for shape in zip([n_in, *sizes], sizes[:-1])]
        self.layers.append(Layer(sizes[-2] if sizes[1:] else n_in, sizes[-1], kind=kind))

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x[0] if len(x) == 1 else x

    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters()]


signs, different = [(-1, -1), (-1, 1), (1, -1), (1, 1)], [-1, 1, 1, -1]


def descend(sizes, rate, steps):
    """SSE de cada uno de los `steps` pasos de un MLP nuevo con el problema de los signos."""
    random.seed(SEED)
    model, losses = MLP(2, sizes, Value.tanh), []
    for _ in range(steps):
        loss = sum((model(x) - y) ** 2 for x, y in zip(signs, different))
        for p in model.parameters():
            p.grad = 0
        loss.backward()
        for p in model.parameters():
            p.data -= rate * p.grad
        losses.append(loss.data)
    return losses


alone, good, wild = descend([1], 0.03, 150), descend([8, 1], 0.03, 150), descend([8, 1], 0.5, 8)
assert alone[-1] > 3.99 and good[-1] < 1e-3 and wild[-1] > 1000 * wild[0]
print("\n6. SSE en el paso             1         4         8        50       150")
for label, losses in ("una neurona", alone), ("nueve, tasa 0.03", good), ("nueve, tasa 0.5", wild):
    print(f"   {label:18s}" + "".join(f"{losses[i]:10.2g}" for i in (0, 3, 7, 49, 149)
                                      if i < len(losses)))

# %% 7. Dos lunas
# Cien puntos en dos medias lunas que se abrazan: ninguna recta las separa. La pérdida bisagra
# (hinge), max(0, 1 - y · salida), pide acertar el signo con holgura; la L2 frena los pesos. El
# grafo de cada paso tiene decenas de miles de nodos y ningún ciclo: Python lo libera en cuanto
# nadie lo usa, y el recolector de ciclos (gc), que lo recorrería una y otra vez en vano, descansa.
rng = np.random.default_rng(SEED)
angle = np.linspace(0, math.pi, 50)
upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)                       # (50, 2)
X = np.concatenate([upper, [1, 0.5] - upper]) + NOISE * rng.standard_normal((100, 2))  # (100, 2)
y = np.repeat([-1.0, 1.0], 50)                                                 # (100,)
inputs = [[Value(n) for n in row] for row in X.tolist()]


def moons_loss(model):
    """Bisagra media de los 100 puntos más WEIGHT_DECAY por la L2, y las 100 salidas."""
    scores = [model(x) for x in inputs]
    hinge = sum((1 - target * score).relu() for target, score in zip(y.tolist(), scores))
    return hinge / len(y) + WEIGHT_DECAY * sum(p * p for p in model.parameters()), scores


def gradient_step(model, loss, rate, backward=Value.backward):
    """Gradientes a cero, hacia atrás, y cada parámetro un poco cuesta abajo."""
    for p in model.parameters():
        p.grad = 0
    backward(loss)
    for p in model.parameters():
        p.data -= rate * p.grad


def rate_at(step, steps):
    """Tasa de aprendizaje del paso: de LEARNING_RATE a su décima parte, en línea recta."""
    return LEARNING_RATE * (1 - 0.9 * step / steps)


random.seed(SEED)
model = MLP(2, [N_HIDDEN, N_HIDDEN, 1], Value.relu)
start, losses = [p.data for p in model.parameters()], []
flat = np.column_stack([X, np.ones(100)])                                      # (100, 3)
line = np.linalg.lstsq(flat, y, rcond=None)[0]                                 # (3,)
line_hits = ((flat @ line) * y > 0).sum()
assert line_hits < 100
print(f"\n7. dos lunas: una recta acierta {line_hits} de 100; una red de {len(start)} parámetros:")
gc.disable()
try:
    for step in range(STEPS):
        loss, scores = moons_loss(model)
        gradient_step(model, loss, rate_at(step, STEPS))
        losses.append(loss.data)
        if not math.isfinite(loss.data):
            sys.exit(f"error: la pérdida dejó de ser finita en el paso {step}: baja LEARNING_RATE")
        if (step + 1) % EVAL_INTERVAL == 0 or step in (0, STEPS - 1):
            hits = sum(score.data * target > 0 for score, target in zip(scores, y))
            print(f"   paso {step + 1:4d}   pérdida {loss.data:.4f}   aciertos {hits} de 100",
                  flush=True)
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")

# La frontera: el signo que da la red en cada punto del plano y, encima, los datos.
across, down = np.linspace(-1.5, 2.5, 73), np.linspace(1.5, -1.0, 23)
sides = np.array([[model([u, v]).data for u in across] for v in down])         # (23, 73)
field = np.where(sides > 0, "▒", "·")                                          # (23, 73)
nearest = np.abs(X[:, 1:] - down).argmin(1), np.abs(X[:, :1] - across).argmin(1)
field[nearest] = np.where(y > 0, "x", "o")
print("\n".join("   " + "".join(row) for row in field))
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(6, 4))
    plt.contourf(across, down, sides, levels=[-1e9, 0, 1e9], colors=["tab:blue", "tab:orange"],
                 alpha=0.3)
    plt.contour(across, down, sides, levels=[-1, 0, 1], colors="black",
                linestyles=["dotted", "solid", "dotted"])
    for side, mark, color in (-1, "o", "tab:blue"), (1, "x", "tab:orange"):
        plt.scatter(*X[y == side].T, marker=mark, color=color, label=f"y = {side}")
    plt.gca().set(xlabel="x1", ylabel="x2")
    plt.legend()
    plt.savefig(Path(PLOT) / "lunas.png", dpi=150, bbox_inches="tight")

# %% 8. De números a tensores, o por qué existe PyTorch
# Multiplicar dos números cuesta nanosegundos; apuntar la operación en un nodo, cien veces más. Se
# gana haciendo más cuentas por nodo. Primero, una neurona entera en uno: su derivada respecto de
# cada peso es la entrada, y respecto de cada entrada, el peso (ecuaciones 6 y 7 de Rumelhart). Si
# la ReLU la apaga, no reparte nada.
class NodeNeuron(Neuron):
    """Neurona con ReLU, o sin activación, en un nodo; apagada, un cero que no depende de nadie."""

    def __call__(self, x):
        w, data = [p.data for p in self.w], [v.data for v in x]
        total = sum(map(operator.mul, w, data), self.b.data)
        if self.activation and total <= 0:
            return Value(0.0)
        return Value(total, (*self.w, *x, self.b), "neurona", (*data, *w, 1))


# Después, los cien ejemplos a la vez: el `data` de un nodo puede ser una columna de numpy, (100,).
# Sólo cambia el reparto: a un peso, que es un número y sirve a los cien, le toca la suma.
class ColumnNeuron(Neuron):
    """Como NodeNeuron, con una columna (100,) en cada entrada, en la salida y en las derivadas."""

    def __call__(self, x):
        w, data = np.array([p.data for p in self.w]), np.stack([v.data for v in x])
        total = w @ data + self.b.data                       # (n_in,) @ (n_in, 100) -> (100,)
        on = (total > 0) | (self.activation is None)         # (100,) qué ejemplos la encienden
        slopes = (*data * on, *np.outer(w, on), on * 1.0)    # 2 n_in + 1 columnas
        return Value(total * on, (*self.w, *x, self.b), "neurona", slopes)


def column_loss(model):
    """Lo mismo que `moons_loss`, con columnas."""
    score = model([Value(X[:, 0]), Value(X[:, 1])])
    margin = 1 - score * y
    on = margin.data > 0
    hinge = Value(margin.data[on].sum() / len(y), (margin,), "bisagra", (on / len(y),))
    return hinge + WEIGHT_DECAY * sum(p * p for p in model.parameters()), score


def backward_columns(loss):
    """Como `Value.backward`; al número que sirvió a una columna le llega la suma de la suya."""
    loss.grad = 1
    for v in loss.topological():
        for child, slope in zip(v._children, v._slopes):
            grad = slope * v.grad
            spread = isinstance(v.data, np.ndarray) and not isinstance(child.data, np.ndarray)
            child.grad += grad.sum() if spread else grad


# Por último, PyTorch: en cada nodo, una capa y todos los ejemplos, las cuentas en C++ y las
# derivadas ya escritas. La idea es la de la celda 3.
def tensor_step(net, rate):
    """Un paso de descenso de `net`, una red de PyTorch; devuelve la pérdida de antes."""
    score = net(torch.from_numpy(X))[:, 0]                                     # (100,)
    loss = (1 - torch.from_numpy(y) * score).relu().mean()
    loss = loss + WEIGHT_DECAY * sum(p.square().sum() for p in net.parameters())
    net.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= rate * p.grad
    return loss.item()


def newborn(kind):
    """La red de la celda 7 antes de entrenarla, hecha de neuronas de la clase `kind`."""
    model = MLP(2, [N_HIDDEN, N_HIDDEN, 1], Value.relu, kind)
    for p, data in zip(model.parameters(), start):
        p.data = data
    return model


def milliseconds(step):
    """Lo que tarda `step()`: la mediana de tres veces."""
    times = [time.perf_counter()]
    for _ in range(3):
        step()
        times.append(time.perf_counter())
    return 1000 * np.median(np.diff(times))


torch.set_num_threads(1)  # con matrices tan pequeñas, repartirlas entre núcleos estorba
net = torch.nn.Sequential(torch.nn.Linear(2, N_HIDDEN), torch.nn.ReLU(),
                          torch.nn.Linear(N_HIDDEN, N_HIDDEN), torch.nn.ReLU(),
                          torch.nn.Linear(N_HIDDEN, 1)).double()
columns, rows = newborn(ColumnNeuron), []
for layer, ours in zip(net[::2], columns.layers):
    layer.weight.data = torch.tensor([[p.data for p in n.w] for n in ours.neurons],
                                     dtype=torch.float64)
    layer.bias.data = torch.tensor([n.b.data for n in ours.neurons], dtype=torch.float64)
for label, collector, model, loss_of, backward in [
    ("un nodo por operación", gc.enable, newborn(Neuron), moons_loss, Value.backward),
    ("sin el recolector de ciclos", gc.disable, newborn(Neuron), moons_loss, Value.backward),
    ("un nodo por neurona", gc.disable, newborn(NodeNeuron), moons_loss, Value.backward),
    ("y los 100 ejemplos a la vez", gc.disable, columns, column_loss, backward_columns),
]:
    collector()
    ms = milliseconds(lambda: gradient_step(model, loss_of(model)[0], 0.0, backward))
    nodes = len(loss_of(model)[0].topological())
    rows.append((label, ms, nodes, [p.grad for p in model.parameters()]))
ms = milliseconds(lambda: tensor_step(net, 0.0))
grads = [torch.column_stack([layer.weight.grad, layer.bias.grad]).flatten() for layer in net[::2]]
rows.append(("PyTorch: una capa por nodo", ms, "", torch.cat(grads).tolist()))
print("\n8. un paso de descenso              nodos   milisegundos   veces más rápido")
for label, ms, nodes, grads in rows:
    assert np.allclose(grads, rows[0][3], rtol=1e-9, atol=1e-9), label
    print(f"   {label:28s} {nodes:>9} {ms:14.2f} {rows[0][1] / ms:18.1f}")

# Y no sólo un paso: desde los mismos pesos, las tres redes recorren el mismo camino.
steps = STEPS or 5
for step in range(steps):
    loss, _ = column_loss(columns)
    gradient_step(columns, loss, rate_at(step, steps), backward_columns)
    for other in [tensor_step(net, rate_at(step, steps)), *losses[step:step + 1]]:
        assert math.isclose(loss.data, other, rel_tol=1e-9, abs_tol=1e-9), step
gc.enable()
print(f"   los mismos gradientes en todas, y las mismas pérdidas durante {steps} pasos")

# %% Experimentos: predice antes de mirar (tal como viene: pérdida 0.0208 y 100 aciertos)
# - STEPS = 100: ¿queda algo por ganar cuando ya acierta todas? Holgura: 0.0147.
# - N_HIDDEN = 4: ¿cuántas neuronas hacen falta para torcer la frontera dos veces? 0.1871, 93.
# - LEARNING_RATE = 0.1: ¿llega al mismo sitio más despacio? En 60 pasos, a 0.2087 y 94.
# - NOISE = 0.3: las lunas se pisan. ¿Podría una red mayor acertar las 100? ¿Y querrías? 0.1680, 93.

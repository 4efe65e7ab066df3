"""
01. Micrograd: de una pendiente a una red que aprende

Al terminar sabrás qué es una derivada para un programa, cómo la regla de la cadena reparte
la culpa de un error entre miles de números (retropropagación, backpropagation) y qué hace
PyTorch por ti. El motor, `Value`, se lee entero.

    python 01_micrograd.py                  unos diez segundos
    python 01_micrograd.py --steps 0        sólo las piezas y sus pruebas
    python 01_micrograd.py --plot figuras   además, las activaciones y la frontera, dibujadas
"""
import argparse
import gc
import itertools
import math
import random
import re
import signal
import sys
import timeit
from pathlib import Path

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
SEED = 1             # semilla del azar
PLOT = ""            # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 60           # pasos de descenso con las dos lunas (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 10   # pasos entre las líneas que cuentan cómo va
NOISE = 0.1          # desviación típica del ruido de los puntos (las lunas tienen radio 1)
N_HIDDEN = 16        # neuronas de cada una de las dos capas ocultas
LEARNING_RATE = 1.0  # tasa de aprendizaje al empezar; baja en línea recta hasta su décima parte
WEIGHT_DECAY = 1e-4  # peso en la pérdida de la suma de los cuadrados de los parámetros (L2)

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

# %% 1. La derivada es una pendiente
# Mueve x un poco, h, y mira cuánto se mueve f(x): el cociente es la pendiente, la derivada.
# Con h grande la curva ya se ha torcido. Con h diminuto los dos valores de f coinciden en casi
# todas sus 16 cifras, y al restarlos sólo quedan las redondeadas. Lo mejor está en medio.
if min(EVAL_INTERVAL, N_HIDDEN) < 1:
    sys.exit("error: EVAL_INTERVAL y N_HIDDEN deben ser 1 o más")

def slope(f, x, h=1e-5):
    """Pendiente de `f` entre x - h y x + h: se equivoca en h² f'''(x) / 6, más el redondeo."""
    return (f(x + h) - f(x - h)) / (2 * h)

def curve(x):
    """e^x sen x: su derivada es e^x (sen x + cos x), y la tercera, 2 e^x (cos x - sen x)."""
    return math.exp(x) * math.sin(x)

true = math.e * (math.sin(1) + math.cos(1))
third = 2 * math.e * (math.cos(1) - math.sin(1))
errors = []
print("1. error de la pendiente de e^x sen x en x = 1")
print("          h   hacia un lado   a los dos lados")
for k in range(1, 15, 2):
    h = 10.0 ** -k
    one_side = abs((curve(1 + h) - curve(1)) / h - true)
    two_sides = abs(slope(curve, 1, h) - true)
    errors.append(two_sides)
    print(f"   {h:8.0e}   {one_side:13.0e}   {two_sides:15.0e}")
assert math.isclose(errors[1], 1e-3 ** 2 * abs(third) / 6, rel_tol=0.01)
assert min(errors[0], errors[-1]) > 1000 * min(errors)

# %% 2. La regla de la cadena, a mano
# L = (a b + c)² a se calcula por partes: p = a b, s = p + c, q = s², L = q a. Se camina hacia
# atrás: cada parte multiplica lo que le llega por su derivada local, que es fácil. A `a` se
# llega por dos caminos, y sus contribuciones se suman: es lo único que no hay que olvidar.
def by_parts(a, b, c):
    """(a b + c)² a, con números o con lo que sepa sumarse y multiplicarse."""
    return (a * b + c) ** 2 * a

a, b, c = 2.0, -1.5, 4.0
p = a * b
s = p + c
q = s ** 2
L = q * a
dq = a                   # L = q a
da = q
ds = dq * 2 * s          # q = s²
dp = dc = ds             # s = p + c: la suma reparte por igual
da = da + dp * b         # p = a b: por aquí vuelve a llegarse a `a`
db = dp * a
numeric_a = slope(lambda x: by_parts(x, b, c), a)
numeric_b = slope(lambda x: by_parts(a, x, c), b)
numeric_c = slope(lambda x: by_parts(a, b, x), c)
print(f"\n2. L = (a b + c)² a = {L:g}   a mano   numérica")
for name, hand, numeric in ("a", da, numeric_a), ("b", db, numeric_b), ("c", dc, numeric_c):
    assert math.isclose(hand, numeric, abs_tol=1e-8)
    print(f"   derivada respecto de {name}   {hand:6g}   {numeric:8.5f}")

# %% 3. Value: la regla de la cadena, sola
# Cada operación devuelve un nodo que recuerda sus operandos y, al lado del resultado, la derivada
# local respecto de cada uno. `backward` recorre los nodos desde el final y a cada operando le suma
# derivada local por gradiente. Es el modo inverso de derivar un grafo (Linnainmaa, 1970).
births = itertools.count()

class Value:
    """Un número, la operación de que salió y, tras `backward`, su gradiente `grad`.

    Se usa como el de micrograd (Karpathy, 2020): las operaciones, `data`, `grad`, `label`, `_prev`
    y `_op`. En vez de una función `_backward` guarda números: `_slopes`, las derivadas locales.
    """
    __slots__ = ("data", "grad", "label", "_prev", "_op", "_slopes", "_born")

    def __init__(self, data, _children=(), _op="", _slopes=(), label=""):
        self.data = data
        self.grad = 0
        self.label = label
        self._prev = _children
        self._op = _op
        self._slopes = _slopes
        self._born = next(births)        # cada nodo nace después de sus operandos

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), "+", (1, 1))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), "*", (other.data, self.data))

    def __pow__(self, n):
        if isinstance(n, Value):
            return (n * self.log()).exp()                    # aⁿ = e^(n ln a)
        n = float(n)
        if self.data < 0 and n % 1:
            raise ValueError(f"{self.data} ** {n} no es un número real")
        if self.data == 0 and n < 1:
            slope = math.inf if n else 0                     # la raíz arranca en vertical
        else:
            slope = n * self.data ** (n - 1)
        return Value(self.data ** n, (self,), f"**{n:g}", (slope,))

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

    def sigmoid(self):
        y = (1 + math.tanh(self.data / 2)) / 2               # 1 / (1 + e^-x), sin desbordarse
        return Value(y, (self,), "sigmoid", (y * (1 - y),))

    def relu(self):
        y = 0 if self.data < 0 else self.data
        return Value(y, (self,), "ReLU", (int(self.data > 0),))

    def __neg__(self):                   # lo demás se compone de lo anterior
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __truediv__(self, other):
        return self * other ** -1.0

    __radd__ = __add__                   # 2 + a: como el 2 no sabe, Python se lo pide a `a`
    __rmul__ = __mul__

    def __rsub__(self, other):
        return Value(other) - self

    def __rtruediv__(self, other):
        return Value(other) / self

    def __rpow__(self, other):
        return Value(other) ** self

    def __repr__(self):
        return f"Value(data={self.data}, grad={self.grad})"

    def topological(self):
        """Los nodos de que depende éste, él el primero: ninguno antes que otro que lo use."""
        found, pending = {self}, [self]
        while pending:
            for child in pending.pop()._prev:
                if child not in found:
                    found.add(child)
                    pending.append(child)
        return sorted(found, key=lambda v: v._born, reverse=True)

    def backward(self):
        """Deja en cada nodo la derivada de éste respecto de él; en las hojas, la suma (PyTorch)."""
        order = self.topological()
        for v in order:
            if v._prev:
                v.grad = 0
        self.grad += 1
        for v in order:
            for child, slope in zip(v._prev, v._slopes):
                child.grad += slope * v.grad

def everything(a, b):
    """Una expresión sin sentido en que salen todas las operaciones."""
    powers = a ** b + a ** 3 + 2 ** b + b ** -0.5
    curves = a.exp() + b.log() + a.tanh() + b.sigmoid() + a.relu()
    return (powers * curves - 3 * a) / (2 - b) + 1 / a - (-b + 4)

a, b = Value(1.7), Value(0.6)
everything(a, b).backward()
numeric = slope(lambda t: everything(Value(1.7 + t), Value(0.6 + t)).data, 0)  # los dos a la vez
assert math.isclose(a.grad + b.grad, numeric, rel_tol=1e-8)
print(f"\n3. todas las operaciones: gradiente {a.grad + b.grad:.6f}, numérico {numeric:.6f}")

# Un nodo que se usa dos veces recibe dos contribuciones: por eso `+=` y no `=`. Y una hoja guarda
# lo que tenía: si no se pone a cero entre dos `backward`, el gradiente es la suma de los dos.
a = Value(3.0)
double = a + a
double.backward()
assert a.grad == 2
double.backward()
assert a.grad == 4
print("   a + a: gradiente 2 (con `=` sería 1), y 4 tras otro backward sin poner a cero")

# %% 4. El grafo de una expresión
# Lo que `Value` guarda es un grafo: éste es el de la celda 2, y cada nodo cuelga de quien lo usa.
# El que se usa dos veces, `a`, se dibuja la primera y después sólo se nombra.
def draw(v, drawn, indent=""):
    """Imprime el grafo de `v`, un nodo por línea; `drawn` es el conjunto de los ya dibujados."""
    name = indent + f"{v.label} {v._op}".strip()
    if v in drawn:
        print(f"   {name:16s} (el de arriba)")
        return
    drawn.add(v)
    print(f"   {name:16s} data {v.data:8.4f}   grad {v.grad:8.4f}")
    for child in v._prev:
        draw(child, drawn, indent + "   ")

a, b, c = Value(2.0, label="a"), Value(-1.5, label="b"), Value(4.0, label="c")
L = by_parts(a, b, c)
L.label = "L"
L.backward()
assert [a.grad, b.grad, c.grad] == [da, db, dc]              # lo mismo que a mano
print("\n4. el grafo de L = (a b + c)² a")
drawn = set()
draw(L, drawn)
assert len(drawn) == 7

# %% 5. PyTorch: tensores que también apuntan lo que hacen
# Un tensor es una tabla de números con una forma (shape) y un tipo (dtype). Las operaciones van
# número a número; si las formas no coinciden, la dimensión que falta o que vale 1 se repite
# (broadcasting). Con `requires_grad` apunta sus operaciones, como `Value`, y se puede derivar.
table = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])     # (2, 3)
column = torch.tensor([[10.0], [20.0]])                      # (2, 1)
row = torch.tensor([100.0, 200.0, 300.0])                    # (3,)
assert (table + column).tolist() == [[11, 12, 13], [24, 25, 26]]
print(f"\n5. tabla de forma {list(table.shape)} y tipo {table.dtype}: {table.tolist()}")
print(f"   [1, 2]: {table[1, 2]:g}   [1]: {table[1].tolist()}   [:, 0]: {table[:, 0].tolist()}")
print(f"   tabla + {column.tolist()}: {(table + column).tolist()}")

row.requires_grad = True
(table * row).sum().backward()           # `row` se repitió en dos filas: sus gradientes se suman
assert row.grad.tolist() == [1 + 4, 2 + 5, 3 + 6]
with torch.no_grad():                    # mover un parámetro no es parte de la cuenta: sin apuntes
    row -= 10 * row.grad
print(f"   gradiente de una fila: {row.grad.tolist()}   tras un paso: {row.tolist()}")

def tensor(n):
    """Un número de PyTorch que se deriva, con 16 cifras como los de Python, en vez de 7."""
    return torch.tensor(n, dtype=torch.float64, requires_grad=True)

def gradients(f, leaves):
    """Valor de `f` y su derivada respecto de cada una de las `leaves`, de Value o de PyTorch."""
    out = f(*leaves)
    out.backward()
    return [float(out.data)] + [float(leaf.grad) for leaf in leaves]

def same(ours, theirs):
    """¿Son iguales los números de las dos listas, hasta 1e-9 (relativo o absoluto)?"""
    pairs = zip(ours, theirs, strict=True)
    return all(math.isclose(x, y, abs_tol=1e-9) for x, y in pairs)

def cells(numbers):
    """Los números, en columnas de diez letras."""
    return "".join(f"{n:10.4f}" for n in numbers)

# %% 6. Funciones de activación, una al lado de otra
# Sin una función que tuerza, cien capas valen lo que una. La tanh da entre -1 y 1, y la sigmoide,
# entre 0 y 1; lejos del cero casi no tienen pendiente (saturan), y la de la sigmoide no pasa de
# 1/4. La ReLU, max(0, x), tiene pendiente 1 o 0. En el 0 exacto no hay derivada: se toma 0.
activations = [("tanh", Value.tanh, torch.tanh), ("sigmoid", Value.sigmoid, torch.sigmoid),
               ("relu", Value.relu, torch.relu)]
points = [-4.0, -1.0, 0.0, 1.0, 4.0]
print("\n6. x             " + cells(points))
for name, ours, theirs in activations:
    pairs = [gradients(ours, [Value(x)]) for x in points]    # valor y derivada en cada punto
    for x, pair in zip(points, pairs):
        assert same(pair, gradients(theirs, [tensor(x)]))
    print(f"   {name:14s}" + cells(y for y, dy in pairs))
    print("      derivada   " + cells(dy for y, dy in pairs))

if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(6, 4))
    for name, ours, theirs in activations:
        x = torch.linspace(-4, 4, 400, requires_grad=True)   # (400,)
        y = theirs(x)
        y.sum().backward()               # cada y depende sólo de su x: 400 derivadas de una vez
        plt.plot(x.detach(), y.detach(), label=name)
        plt.plot(x.detach(), x.grad, "--", label=f"derivada de {name}")
    plt.legend()
    plt.savefig(Path(PLOT) / "activaciones.png", dpi=150, bbox_inches="tight")

# %% 7. Una neurona, entera y desmontada, y la misma en PyTorch
# Una neurona suma sus entradas con pesos (weights), añade un sesgo (bias) y pasa la suma por una
# activación, aquí tanh n = (e^2n - 1) / (e^2n + 1). Que sea una pieza o cuatro da igual: cuánto
# abarca una operación es cosa nuestra, y el gradiente no cambia.
def whole(x1, x2, w1, w2, b):
    """tanh(w1 x1 + w2 x2 + b). Vale para Value y para tensores de PyTorch."""
    return (w1 * x1 + w2 * x2 + b).tanh()

def apart(x1, x2, w1, w2, b):
    """Lo mismo, con la tanh desmontada en exponenciales."""
    e = (2 * (w1 * x1 + w2 * x2 + b)).exp()
    return (e - 1) / (e + 1)

random.seed(SEED)
numbers = [random.uniform(-1, 1) for _ in range(5)]          # x1, x2, w1, w2 y b
one = gradients(whole, [Value(n) for n in numbers])
two = gradients(apart, [Value(n) for n in numbers])
theirs = gradients(whole, [tensor(n) for n in numbers])
assert same(one, theirs) and same(two, theirs)
print("\n7. una neurona     salida     d/dx1     d/dx2     d/dw1     d/dw2      d/db")
for label, numbers in ("con tanh", one), ("con exp", two), ("en PyTorch", theirs):
    print(f"   {label:12s}{cells(numbers)}")

# %% 8. De números a probabilidades: softmax, y la sorpresa como pérdida
# Para elegir entre tres, la red da tres números, los logits. Softmax: exponenciales (positivas)
# entre su suma (que sumen 1). La pérdida es -ln p de la opción correcta (negative log-likelihood,
# NLL). Su gradiente es p - y, lo dicho menos lo que era: y vale 1 en la correcta y 0 en las demás.
scores = [2.0, 1.0, -1.0]
logits = [Value(score) for score in scores]
powers = [logit.exp() for logit in logits]
chances = [power / sum(powers) for power in powers]
loss = -chances[1].log()
loss.backward()
p = [chance.data for chance in chances]
ours = [logit.grad for logit in logits]
logits = torch.tensor(scores, dtype=torch.float64, requires_grad=True)         # (3,)
torch.nn.functional.cross_entropy(logits, torch.tensor(1)).backward()
assert same(ours, [p[0], p[1] - 1, p[2]])
assert same(ours, logits.grad)
print(f"\n8. tres opciones, y la buena es la segunda: NLL {loss.data:.4f}")
for label, numbers in ("logits", scores), ("p", p), ("gradiente", ours):
    print(f"   {label:12s}{cells(numbers)}")

# %% 9. Neuronas en capas, y bajar por el gradiente
# Una capa (layer) son neuronas que miran lo mismo; un perceptrón multicapa (MLP), capas en fila.
class Module:
    """Lo que tienen en común: sus parámetros se ponen a cero juntos, como en PyTorch."""
    def zero_grad(self):
        for p in self.parameters():
            p.grad = 0

class Neuron(Module):
    """activation(w · x + b), con `n_in` pesos al azar; sin `activation`, la suma sin más."""
    def __init__(self, n_in, activation=Value.relu):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(n_in)]
        self.b = Value(0.0)
        self.activation = activation

    def __call__(self, x):
        total = sum((w * value for w, value in zip(self.w, x, strict=True)), self.b)
        return self.activation(total) if self.activation else total

    def parameters(self):
        return self.w + [self.b]

class Layer(Module):
    """`n_out` neuronas de la clase `kind` con las mismas `n_in` entradas."""
    def __init__(self, n_in, n_out, activation=Value.relu, kind=Neuron):
        self.neurons = [kind(n_in, activation) for _ in range(n_out)]

    def __call__(self, x):
        return [neuron(x) for neuron in self.neurons]

    def parameters(self):
        return [p for neuron in self.neurons for p in neuron.parameters()]

class MLP(Module):
    """Capas de `sizes` neuronas sobre `n_in` entradas; la última, sin `activation`."""
    def __init__(self, n_in, sizes, activation=Value.relu, kind=Neuron):
        self.layers = []
        for n_out in sizes[:-1]:
            self.layers.append(Layer(n_in, n_out, activation, kind))
            n_in = n_out
        self.layers.append(Layer(n_in, sizes[-1], None, kind))

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x[0] if len(x) == 1 else x

    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters()]

# Bajar es repetir: gradientes a cero, hacia atrás y w -= tasa · dL/dw en cada parámetro (Cauchy,
# 1847). Este bucle es el único de la lección: sirve a las redes de Value y a las de PyTorch.
def descend(model, loss_of, rate, steps):
    """Entrega (yield) la pérdida de cada paso; la tasa baja en línea recta a `rate` / 10."""
    for step in range(steps):
        loss = loss_of(model)
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= rate * (1 - 0.9 * step / steps) * p.grad
        yield float(loss.data)

# El problema que una neurona sola no resuelve: ¿son distintos los dos signos? La pérdida es la
# suma de los errores al cuadrado (SSE), como en Rumelhart, Hinton y Williams, «Learning internal
# representations by error propagation» (1985). Lo que no pasa con toda semilla sólo se imprime.
signs = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
different = [-1, 1, 1, -1]

def sse(model):
    """Suma de los errores al cuadrado en los cuatro casos de `signs`."""
    errors = [model(x) - target for x, target in zip(signs, different)]
    return sum(error * error for error in errors)

print("\n9. SSE en el paso             1         4        10        50       150")
trials = [("una neurona", [1], 0.05), ("nueve", [8, 1], 0.05), ("nueve, tasa 0.5", [8, 1], 0.5)]
for label, sizes, rate in trials:
    random.seed(SEED)
    losses = list(descend(MLP(2, sizes, Value.tanh), sse, rate, 150))
    assert len(sizes) > 1 or losses[-1] > 3.99               # una recta no puede bajar de 4
    print(f"   {label:18s}" + "".join(f"{losses[step - 1]:10.2g}" for step in (1, 4, 10, 50, 150)))

# %% 10. Dos lunas
# La demostración de micrograd: cien puntos en dos medias lunas que ninguna recta separa. La pérdida
# bisagra (hinge), max(0, 1 - y · salida), pide acertar el signo con holgura; la L2 frena los pesos.
# Cada paso es un grafo de 66 000 nodos sin ciclos: Python lo libera en cuanto nadie lo usa, y el
# recolector de ciclos (gc), que lo recorrería una y otra vez, puede descansar.
torch.manual_seed(SEED)
angle = torch.linspace(0, math.pi, 50, dtype=torch.float64)  # (50,)
upper = torch.stack([angle.cos(), angle.sin()], dim=1)       # (50, 2)
X = torch.cat([upper, torch.tensor([1.0, 0.5]) - upper])     # (100, 2)
X += NOISE * torch.randn_like(X)
targets = [-1.0] * 50 + [1.0] * 50
y = torch.tensor(targets, dtype=torch.float64)               # (100,)
inputs = [[Value(u), Value(v)] for u, v in X.tolist()]

def hinge(model):
    """Bisagra media de los 100 puntos más WEIGHT_DECAY por la suma de los cuadrados."""
    lacks = [(1 - target * model(x)).relu() for x, target in zip(inputs, targets)]
    return sum(lacks) / len(inputs) + WEIGHT_DECAY * sum(p * p for p in model.parameters())

def newborn(kind=Neuron):
    """La red de este problema recién nacida, hecha de neuronas de la clase `kind`."""
    random.seed(SEED)
    return MLP(2, [N_HIDDEN, N_HIDDEN, 1], kind=kind)

def hits(model):
    """En cuántos de los 100 puntos acierta el signo."""
    return sum(model(x).data * target > 0 for x, target in zip(inputs, targets))

gc.disable()
alone = MLP(2, [1])
list(descend(alone, hinge, 0.5, 60))
model = newborn()
print(f"\n10. dos lunas: una neurona sola, una recta, acierta {hits(alone)} de 100; una red de "
      f"{len(model.parameters())} parámetros:")
losses = []
try:
    for loss in descend(model, hinge, LEARNING_RATE, STEPS):
        losses.append(loss)
        step = len(losses)
        if not math.isfinite(loss):
            sys.exit(f"error: la pérdida dejó de ser finita en el paso {step}: baja LEARNING_RATE")
        if step in (1, STEPS) or step % EVAL_INTERVAL == 0:
            print(f"   paso {step:4d}   pérdida {loss:.4f}   aciertos {hits(model)} de 100")
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")
gc.enable()

# La frontera: el signo que da la red en cada punto del plano y, encima, los datos.
across = [-1.5 + j / 18 for j in range(73)]
down = [1.5 - i / 9 for i in range(23)]
sides = [[model([u, v]).data for u in across] for v in down]                   # 23 filas de 73
marks = {}
for (u, v), target in zip(X.tolist(), targets):
    marks[round((1.5 - v) * 9), round((u + 1.5) * 18)] = "x" if target > 0 else "o"
for i, row in enumerate(sides):
    ground = ["▒" if side > 0 else "·" for side in row]
    print("   " + "".join(marks.get((i, j), ground[j]) for j in range(73)))
if PLOT:
    plt.figure(figsize=(6, 4))
    plt.contour(across, down, sides, levels=[-1, 0, 1], colors=["gray", "black", "gray"])
    plt.scatter(X[:, 0], X[:, 1], c=y, cmap="coolwarm")
    plt.savefig(Path(PLOT) / "lunas.png", dpi=150, bbox_inches="tight")

# %% 11. De números a tensores, o por qué existe PyTorch
# Multiplicar cuesta nanosegundos; apuntar la operación en un nodo, muchas veces más. Se gana
# haciendo más cuentas por nodo. Primero, una neurona entera en cada uno: su derivada respecto de
# un peso es la entrada, y respecto de una entrada, el peso. Si la ReLU la apaga, no reparte nada.
class NodeNeuron(Neuron):
    """Neurona con ReLU, o sin activación, en un nodo; apagada, un cero que no depende de nadie."""
    def __call__(self, x):
        weights = [w.data for w in self.w]
        values = [value.data for value in x]
        total = self.b.data + sum(w * value for w, value in zip(weights, values))
        if self.activation and total <= 0:
            return Value(0.0)
        return Value(total, (*self.w, *x, self.b), "neurona", (*values, *weights, 1))

# Después, PyTorch: Linear es una capa de neuronas sin activación, Sequential es nuestro MLP, y los
# cien puntos pasan a la vez: (100, 2) @ (2, 16) + (16,). Las cuentas van en C++, con las derivadas
# ya escritas; la idea es la de la celda 3.
torch.set_num_threads(1)                 # con matrices tan pequeñas, repartirlas estorba
scalars = newborn()
nodes = newborn(NodeNeuron)
net = torch.nn.Sequential(
    torch.nn.Linear(2, N_HIDDEN), torch.nn.ReLU(),
    torch.nn.Linear(N_HIDDEN, N_HIDDEN), torch.nn.ReLU(),
    torch.nn.Linear(N_HIDDEN, 1)).double()
with torch.no_grad():                    # que nazca con los mismos pesos
    for linear, layer in zip(net[::2], scalars.layers):
        for i, neuron in enumerate(layer.neurons):
            weights = [w.data for w in neuron.w]
            linear.weight[i] = torch.tensor(weights, dtype=torch.float64)      # (n_in,)
            linear.bias[i] = neuron.b.data

def tensor_hinge(net):
    """Lo mismo que `hinge`, con los 100 puntos en un tensor."""
    margins = 1 - y * net(X)[:, 0]                           # (100,)
    squares = sum(p.square().sum() for p in net.parameters())
    return margins.relu().mean() + WEIGHT_DECAY * squares

def step_ms(model, loss_of, collector=gc.disable):
    """Milisegundos de un paso de tasa 0, que no mueve nada: la mediana de tres."""
    def step():
        list(descend(model, loss_of, 0.0, 1))
    return 1000 * sorted(timeit.repeat(step, collector, number=1, repeat=3))[1]

rows = [("un nodo por operación", step_ms(scalars, hinge, gc.enable)),
        ("sin el recolector de ciclos", step_ms(scalars, hinge)),
        ("un nodo por neurona", step_ms(nodes, hinge)),
        ("PyTorch: un nodo por capa", step_ms(net, tensor_hinge))]
plain = timeit.timeit("a * b", "a = 2.0; b = 3.0", number=100_000)
noted = timeit.timeit("a * b", "a = Value(2.0); b = Value(3.0)", globals=globals(), number=100_000)
print(f"\n11. un producto: {plain * 1e4:.0f} ns; apuntado en un nodo, {noted * 1e4:.0f}, "
      f"{noted / plain:.0f} veces más")
print("   un paso de descenso          milisegundos   veces más rápido")
for label, ms in rows:
    print(f"   {label:28s} {ms:12.2f} {rows[0][1] / ms:18.1f}")

# Los tres gradientes son el mismo, y desde los mismos pesos se baja por el mismo camino.
for linear, layer in zip(net[::2], scalars.layers):
    theirs = torch.column_stack([linear.weight.grad, linear.bias.grad])        # (n_out, n_in + 1)
    assert same([p.grad for p in layer.parameters()], theirs.flatten())
for p, q in zip(scalars.parameters(), nodes.parameters()):
    assert math.isclose(p.grad, q.grad, abs_tol=1e-9)
away = 0.0
for ours, theirs in zip(losses, descend(net, tensor_hinge, LEARNING_RATE, STEPS)):
    away = max(away, abs(ours - theirs))
print(f"   los mismos gradientes; en {STEPS} pasos, las dos pérdidas se separan {away:.0e}")

# %% Experimentos: predice antes de mirar (tal como viene: pérdida 0.0133 y 100 aciertos)
# - STEPS = 100: ¿queda algo por ganar cuando ya acierta todas? Holgura: 0.0123.
# - N_HIDDEN = 4: ¿cuántas neuronas hacen falta para torcer la frontera dos veces? 0.0608 y 99.
# - LEARNING_RATE = 0.1: ¿llega al mismo sitio más despacio? En 60 pasos, a 0.2150 y 92.
# - NOISE = 0.3: las lunas se pisan. ¿Querrías una red que acertara las 100? 0.1940 y 93.
# - `descend` sin `model.zero_grad()`: ¿aprenden las nueve de la celda 9? SSE 0.18 al final.

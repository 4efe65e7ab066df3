"""
01. Micrograd: de una pendiente a una red que aprende

Al terminar sabrás qué es una derivada para un programa, cómo la regla de la cadena reparte la culpa
de un error entre todos los números de una red (retropropagación, backpropagation) y qué hace
PyTorch por ti. El motor, `Value`, se lee entero.

    python 01_micrograd.py                  unos diez segundos; con --steps 0, sin las dos lunas
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
A = 2.0              # para tus pruebas: x en la celda 1, a en las 2 y 4, el primer logit en la 8
SEED = 1             # semilla del azar
PLOT = ""            # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 60           # pasos de descenso con las dos lunas (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 10   # pasos entre las líneas que cuentan cómo va
BATCH_SIZE = 100     # puntos que se miran en cada paso, de los cien
NOISE = 0.1          # desviación típica del ruido de los puntos (las lunas tienen radio 1)
N_HIDDEN = 16        # neuronas de cada una de las dos capas ocultas
RELU = True          # activación en las capas ocultas (no: sólo sumas con pesos)
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
        value, note = globals()[name], note.replace("%", "%%") + " [%(default)s]"
        kind = {"type": type(value)}
        if isinstance(value, bool):
            kind = {"action": argparse.BooleanOptionalAction}                   # --x y --no-x
        options.add_argument(f"--{name.lower()}", dest=name, default=value, help=note, **kind)
    globals().update(vars(options.parse_args()))

# %% Bibliotecas, tras las opciones porque tardan un segundo en llegar
import torch

# %% Lo que no encaja se dice antes de empezar (puedes saltártelo)
for name, value in list(globals().items()):                  # ningún número negativo, ni nan
    if name.isupper() and isinstance(value, (int, float)) and not 0 <= value < 2**63:
        sys.exit(f"error: {name} no puede ser {value}")
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
gc.disable()                             # ningún grafo de aquí tiene ciclos, y buscarlos es lento
if min(EVAL_INTERVAL, BATCH_SIZE, N_HIDDEN) < 1:
    sys.exit("error: EVAL_INTERVAL, BATCH_SIZE y N_HIDDEN deben ser 1 o más")

# %% 1. La derivada es una pendiente
# Mueve x un poco, h, y mira cuánto se mueve f(x). Lo que se mueve f(x), partido por lo que se movió
# x, es una pendiente. Cuanto menor es h, más se acerca esa pendiente a la derivada, f'(x).
#
# ¿Cuánto se equivoca? La fórmula de Taylor dice cómo es una curva cerca de un punto. Usa la
# derivada de la derivada, f'', y la derivada de ésta, f''': f(x + h) = f(x) + h f'(x) +
# h² f''(x) / 2 + h³ f'''(x) / 6 + ...
#
# Si se mide hacia un lado, (f(x + h) - f(x)) / h, a f'(x) le sobra h f''(x) / 2, y luego términos
# mucho menores. Si se mide a los dos lados, (f(x + h) - f(x - h)) / 2h, los términos con h² son
# iguales y desaparecen en la resta. Lo primero que sobra es h² f'''(x) / 6, que es mucho menos. Con
# h = 0.001, es como pasar de una milésima a una millonésima.
#
# A lápiz, con f(x) = x³ en x = 1, donde la derivada es 3, y h = 0.1. Hacia un lado sale
# (1.331 - 1) / 0.1 = 3.31; a los dos, (1.331 - 0.729) / 0.2 = 3.01.
#
# Entonces, ¿cuanto menor h, mejor? No. Un programa guarda unas 16 cifras de cada número. Con h
# diminuto, los dos valores de f coinciden en casi todas, y al restarlos sólo quedan las últimas,
# que están redondeadas. Mira cada columna de la tabla de arriba abajo: el error menor está en
# medio.
def slope(f, x, h=1e-5):
    """Pendiente de `f` entre x - h y x + h."""
    return (f(x + h) - f(x - h)) / (2 * h)

def curve(x):
    """e^x sen x: su derivada es e^x (sen x + cos x)."""
    return math.exp(x) * math.sin(x)

exact = math.exp(A) * (math.sin(A) + math.cos(A))
print(f"1. error al medir la derivada de e^x sen x en x = {A:g}, que es {exact:.4f}")
print("          h   hacia un lado   a los dos lados")
for k in range(1, 15, 2):
    h = 10.0 ** -k
    one_side = abs((curve(A + h) - curve(A)) / h - exact)
    two_sides = abs(slope(curve, A, h) - exact)
    print(f"   {h:8.0e}   {one_side:13.0e}   {two_sides:15.0e}")
# A los dos lados y con h = 0.001, el error es menos de una millonésima de e^x: es h² f'''(x) / 6, y
# f'''(x) no pasa de 3 e^x.
assert abs(slope(curve, A, 1e-3) - exact) < 1e-6 * math.exp(A)

# %% 2. La regla de la cadena, a mano
# L = (a b + c)² a, donde a b es a por b, se calcula por partes, cada una con una sola operación:
#     r = a b,  s = r + c,  q = s²  y  L = q a.
# Se quiere saber cuánto se mueve L si se mueve a, b o c. La regla de la cadena dice que las
# pendientes se multiplican. Si s se mueve 3 por cada 1 de r, y L se mueve 4 por cada 1 de s, L se
# mueve 12 por cada 1 de r. En símbolos, dL/dr = dL/ds · ds/dr.
#
# Así que se camina hacia atrás, de L a las letras. Al llegar a s, por ejemplo, ya se sabe cuánto
# importa: es dL/ds, que en el código se llama `ds`. Para seguir hasta r, se multiplica por la
# derivada local, ds/dr, que es fácil porque hay una sola operación. En L = q a, la derivada local
# respecto de q es a, y respecto de a es q.
#
# A la letra `a` se llega por dos caminos, L = q a y r = a b. Si se mueve `a`, L se mueve por los
# dos, y lo que llega por cada uno se suma. Es lo único que no hay que olvidar.
def by_parts(a, b, c):
    """(a b + c)² a, con números o con lo que sepa sumarse y multiplicarse."""
    return (a * b + c) ** 2 * a

a, b, c = A, -1.5, 4.0
r = a * b
s = r + c
q = s ** 2
L = q * a
dq = a                   # dL/dq, y así todas: dr es dL/dr
da = q                   # por un camino
ds = dq * 2 * s          # q = s²: la derivada local es 2 s
dr = ds                  # s = r + c: 1 y 1; la suma reparte por igual
dc = ds
da = da + dr * b         # r = a b: y por el otro
db = dr * a
numeric_a = slope(lambda x: by_parts(x, b, c), a)
numeric_b = slope(lambda x: by_parts(a, x, c), b)
numeric_c = slope(lambda x: by_parts(a, b, x), c)
print(f"\n2. L = (a b + c)² a = {L:g}   a mano   midiendo")
for name, hand, numeric in (("a", da, numeric_a),
                            ("b", db, numeric_b),
                            ("c", dc, numeric_c)):
    assert math.isclose(hand, numeric, rel_tol=1e-6, abs_tol=1e-6)
    print(f"   derivada respecto de {name}   {hand:6g}   {numeric:8.5f}")

# ¿Para qué sirven las derivadas? Para hacer L más pequeño. Las tres juntas se llaman gradiente
# (gradient). Si la de b es 8, L sube 8 por cada 1 que suba b: conviene bajar b. Mover cada letra un
# poco en contra de su derivada es un paso de descenso (gradient descent). Aquí cada letra se mueve
# 0.01 veces su derivada, y por ella L debería bajar ese movimiento por la derivada: 0.01 por su
# cuadrado. Entre las tres, 0.01 por la suma de los tres cuadrados. No sale justo eso, porque la
# pendiente cambia por el camino.
#
# A lápiz, con a = 2: las derivadas son -5, 8 y 4, y el paso lleva a a = 2.05, b = -1.58 y c = 3.96.
# Ahora a b + c vale 0.721; su cuadrado, 0.520; y L, 1.066, casi la mitad de 2. En línea recta
# habría sido 2 - 0.01 · (25 + 64 + 16) = 0.95.
lower = by_parts(a - 0.01 * da, b - 0.01 * db, c - 0.01 * dc)
hoped = L - 0.01 * (da ** 2 + db ** 2 + dc ** 2)
print(f"   un paso en contra: L pasa de {L:.4f} a {lower:.4f} (en línea recta, a {hoped:.4f})")

# %% 3. Value: la regla de la cadena, sola
# Eso mismo lo puede hacer un programa. Cada número será un objeto, `Value`. Cada operación devuelve
# un objeto nuevo, que recuerda sus operandos y, al lado del resultado, la derivada local respecto
# de cada uno. No hace falta nada más. El gradiente de un objeto es la derivada del resultado final
# respecto de él. Para hallarlos todos, `backward` recorre los objetos desde el final, como en la
# celda 2: a cada operando le suma la derivada local por el gradiente del objeto que salió de él. Se
# llama modo inverso (reverse mode; Linnainmaa, 1970).
#
# Los objetos y sus operandos forman un grafo: los objetos son los nodos, y una flecha une cada uno
# con sus operandos. Una hoja (leaf) es un nodo que no sale de ninguna operación: un dato, o un
# número que se va a aprender, que se llama parámetro.
births = itertools.count()               # 0, 1, 2...: da un número a cada nodo que nace

class Value:
    """Un número, la operación de que salió y, tras `backward`, su gradiente `grad`.

    Se usa como el de micrograd (Karpathy, 2020): las operaciones, `data`, `grad`, `label`, `_prev`
    y `_op`. En vez de una función `_backward` guarda números: `_locals`, las derivadas locales.
    """
    __slots__ = ("data", "grad", "label", "_prev", "_op", "_locals", "_born")

    def __init__(self, data, _children=(), _op="", _locals=(), label=""):
        self.data = data
        self.grad = 0
        self.label = label
        self._prev = _children
        self._op = _op
        self._locals = _locals
        self._born = next(births)

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
            local = math.inf if n else 0                     # la raíz arranca en vertical
        else:
            local = n * self.data ** (n - 1)
        return Value(self.data ** n, (self,), f"**{n:g}", (local,))

    def exp(self):
        out = math.exp(self.data)
        return Value(out, (self,), "exp", (out,))

    def log(self):
        if not self.data > 0:
            raise ValueError(f"no hay logaritmo de {self.data}: hace falta un número positivo")
        return Value(math.log(self.data), (self,), "log", (1 / self.data,))

    def tanh(self):
        out = math.tanh(self.data)
        return Value(out, (self,), "tanh", (1 - out * out,))

    def sigmoid(self):
        out = (1 + math.tanh(self.data / 2)) / 2             # 1 / (1 + e^-x), sin desbordarse
        return Value(out, (self,), "sigmoid", (out * (1 - out),))

    def relu(self):
        out = 0 if self.data < 0 else self.data
        return Value(out, (self,), "ReLU", (int(self.data > 0),))

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
        """Los nodos de que depende éste, él el primero: cada uno, antes que sus operandos."""
        found = {self}
        pending = [self]
        while pending:
            for child in pending.pop()._prev:
                if child not in found:
                    found.add(child)
                    pending.append(child)
        return sorted(found, key=lambda node: node._born, reverse=True)

    def backward(self):
        """En `grad` de cada nodo, la derivada de `self` respecto de él; en las hojas se suma."""
        order = self.topological()
        for node in order:
            if node._prev:
                node.grad = 0
        self.grad += 1                                       # dL/dL = 1; `+=`, por si es una hoja
        for node in order:
            for child, local in zip(node._prev, node._locals):
                child.grad += local * node.grad

# Una prueba con todas las operaciones a la vez. Al medir se mueven los dos números juntos, y por
# eso lo medido es la suma de sus dos derivadas.
def everything(u, v):
    """Una expresión sin sentido en que salen todas las operaciones."""
    powers = u ** v + u ** 3 + 2 ** v + v ** -0.5
    bends = u.exp() + v.log() + u.tanh() + v.sigmoid() + u.relu()
    return (powers * bends - 3 * u) / (2 - v) + 1 / u - (-v + 4)

u, v = Value(1.7), Value(0.6)
everything(u, v).backward()
both = slope(lambda t: everything(Value(1.7 + t), Value(0.6 + t)).data, 0)
assert math.isclose(u.grad + v.grad, both, rel_tol=1e-8)
print(f"\n3. todas las operaciones: gradiente {u.grad + v.grad:.6f}, midiendo {both:.6f}")

# Un nodo que se usa dos veces recibe dos contribuciones, como la `a` de la celda 2: por eso `+=` y
# no `=`. En a + a, la derivada es 1 + 1 = 2. Y una hoja no borra lo que tenía. Si no se pone a cero
# entre dos `backward`, su gradiente es la suma de los dos, igual que en PyTorch. Los nodos de en
# medio sí empiezan de cero, porque lo suyo ya se repartió.
twin = Value(3.0)
double = twin + twin
double.backward()
assert twin.grad == 2
double.backward()
assert twin.grad == 4
print("   a + a: gradiente 2 (con `=` sería 1), y 4 tras otro backward sin poner a cero")

# ¿Y el orden? Un nodo sólo puede repartir cuando ha recibido todo lo suyo. Se lo mandan los nodos
# que lo usan, que nacieron después. Por eso se va del más joven al más viejo. Quien reparte según
# le llega se equivoca. En c = b + b, con b = a + a, c vale 4 a y la derivada es 4. Supón que b
# reparte en cuanto recibe el primer 1, y otra vez, ya con 2, al recibir el segundo. A `a` le llega
# cada vez el doble de lo que tiene b: primero 2, y después 4. Suman 6.
def impatient(node):
    """Hacia atrás sin esperar: cada operando reparte en cuanto recibe. Está mal."""
    for child, local in zip(node._prev, node._locals):
        child.grad += local * node.grad
        impatient(child)

leaf = Value(3.0)
inner = leaf + leaf
outer = inner + inner
outer.backward()
assert leaf.grad == 4
leaf.grad = inner.grad = 0               # otra vez, desde el mismo final
impatient(outer)
assert leaf.grad == 6
print("   b = a + a y c = b + b: gradiente 4 en orden, y 6 si b reparte antes de tiempo")

# %% 4. El grafo de una expresión
# Éste es el dibujo de lo que `Value` guarda de la expresión de la celda 2. Cada línea es un nodo, y
# cuelga del que lo usa. El que se usa dos veces, `a`, se dibuja la primera y después sólo se
# nombra. Compara los gradientes con las cuentas de la celda 2: son los mismos.
def draw(node, drawn, indent=""):
    """Imprime el grafo de `node`, un nodo por línea; `drawn` es el conjunto de los ya dibujados."""
    name = indent + f"{node.label} {node._op}".strip()
    if node in drawn:
        print(f"   {name:16s} (el de arriba)")
        return
    drawn.add(node)
    print(f"   {name:16s} data {node.data:8.4f}   grad {node.grad:8.4f}")
    for child in node._prev:
        draw(child, drawn, indent + "   ")

leaves = [Value(a, label="a"), Value(b, label="b"), Value(c, label="c")]
top = by_parts(*leaves)
top.label = "L"
top.backward()
assert [leaf.grad for leaf in leaves] == [da, db, dc]        # lo mismo que a mano
print("\n4. el grafo de L = (a b + c)² a")
draw(top, set())

# %% 5. PyTorch: tensores que también apuntan lo que hacen
# PyTorch es la biblioteca con que se hacen las redes de verdad. Un tensor es una tabla de números
# con una forma (shape) y un tipo (dtype). La forma (2, 3) son dos filas de tres números, y cada uno
# de los números de la forma es una dimensión. Los puestos se cuentan desde 0: en la tabla que
# sigue, table[1, 2] es 6, y table[:, 0] es la primera columna entera.
#
# La suma y el producto con * van número a número. Si las formas no coinciden, la dimensión que
# falta o que vale 1 se repite hasta que coincidan (broadcasting). Así, una columna sumada a una
# tabla se suma a cada columna de la tabla.
table = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])     # (2, 3)
column = torch.tensor([[10.0], [20.0]])                      # (2, 1)
assert (table + column).tolist() == [[11, 12, 13], [24, 25, 26]]
print(f"\n5. tabla de forma {list(table.shape)} y tipo {table.dtype}: {table.tolist()}")
print(f"   [1, 2]: {table[1, 2]:g}   [:, 0]: {table[:, 0].tolist()}")
print(f"   tabla + columna: {(table + column).tolist()}")

# La arroba es otra cosa: el producto de matrices (lección 00). En el puesto (i, j) va la fila i de
# la primera por la columna j de la segunda, multiplicadas número a número y sumadas. Es lo que hace
# una capa de neuronas con sus pesos, y sustituye a tres bucles.
other = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])  # (3, 2)
by_loops = torch.zeros(2, 2)
for i in range(2):
    for j in range(2):
        for k in range(3):
            by_loops[i, j] += table[i, k] * other[k, j]
assert (table @ other == by_loops).all()
print(f"   tabla @ otra: {(table @ other).tolist()}")

# Con `requires_grad`, un tensor apunta sus operaciones, como `Value`, y se puede derivar. Si un
# número se repitió al ajustar las formas, se usó varias veces, y lo que le llega por cada una se
# suma.
spread = torch.tensor([100.0, 200.0, 300.0], requires_grad=True)         # (3,)
(table * spread).sum().backward()        # se repitió en las dos filas
assert spread.grad.tolist() == [5, 7, 9]                     # 1 + 4, 2 + 5 y 3 + 6
with torch.no_grad():                    # mover un parámetro no es parte de la cuenta: sin apuntes
    spread -= 10 * spread.grad
print(f"   gradiente de una fila: {spread.grad.tolist()}   tras un paso: {spread.tolist()}")

def tensor(n):
    """Un tensor que se deriva, con 16 cifras como los números de Python, en vez de 7."""
    return torch.tensor(n, dtype=torch.float64, requires_grad=True)

def gradients(f, leaves):
    """Valor de `f` y su derivada respecto de cada una de las `leaves`, de Value o de PyTorch."""
    out = f(*leaves)
    out.backward()
    return [float(out.data)] + [float(leaf.grad) for leaf in leaves]

def same(ours, theirs):
    """¿Son iguales los números de las dos listas, hasta 1e-9 (relativo o absoluto)?"""
    pairs = zip(ours, theirs, strict=True)
    return all(math.isclose(our, their, abs_tol=1e-9) for our, their in pairs)

def cells(numbers):
    """Los números, en columnas de diez letras."""
    return "".join(f"{n:10.4f}" for n in numbers)

# %% 6. Funciones de activación, una al lado de otra
# Una red pasa números por una capa de neuronas tras otra (lección 00), y cada neurona suma lo que
# recibe, cada número por su peso. Si sólo hace eso, dos capas valen lo que una. Si la primera da
# 3x + 1 y la segunda, el doble de lo que le llega menos 4, juntas dan 2 (3x + 1) - 4 = 6x - 2, que
# es otra recta. Con matrices es lo mismo: multiplicar por una y luego por otra es multiplicar por
# su producto.
vector = torch.tensor([1.0, 2.0])                            # (2,)
assert torch.equal(vector @ table @ other, vector @ (table @ other))

# Por eso detrás de cada capa, menos la última, va una función que tuerce, la activación
# (activation). La tangente hiperbólica, tanh x = (e^2x - 1) / (e^2x + 1), da entre -1 y 1. La
# sigmoide, 1 / (1 + e^-x), da entre 0 y 1. Lejos del cero casi no tienen pendiente (saturan), y la
# de la sigmoide no pasa de 1/4. La ReLU, max(0, x), tiene pendiente 1 donde x es positivo y 0 donde
# es negativo; en el 0 exacto no hay derivada, y se toma 0.
activations = [("tanh", Value.tanh, torch.tanh),
               ("sigmoid", Value.sigmoid, torch.sigmoid),
               ("relu", Value.relu, torch.relu)]
points = [-4.0, -1.0, 0.0, 1.0, 4.0]
print("\n6. x             " + cells(points))
for name, ours, theirs in activations:
    pairs = [gradients(ours, [Value(x)]) for x in points]    # valor y derivada en cada punto
    for x, pair in zip(points, pairs):
        assert same(pair, gradients(theirs, [tensor(x)]))
    print(f"   {name:14s}" + cells(value for value, _ in pairs))
    print("      derivada   " + cells(derivative for _, derivative in pairs))

if PLOT:
    for name, ours, theirs in activations:
        x = torch.linspace(-4, 4, 400)                       # (400,)
        plt.plot(x, theirs(x), label=name)
    plt.legend()
    plt.savefig(Path(PLOT) / "activaciones.png", dpi=150, bbox_inches="tight")
    plt.close()

# %% 7. Una neurona, entera y desmontada, y la misma en PyTorch
# Una neurona multiplica cada entrada por un peso (weight), lo suma todo, añade un sesgo (bias) y
# pasa la suma por una activación, aquí la tanh. La tanh se puede calcular como una sola operación o
# desmontada en exponencial, sumas y cociente. Cuánto abarca una operación es cosa nuestra, y el
# gradiente no cambia: compara las tres filas que se imprimen.
def whole(x1, x2, w1, w2, bias):
    """tanh(w1 x1 + w2 x2 + bias). Vale para Value y para tensores de PyTorch."""
    return (w1 * x1 + w2 * x2 + bias).tanh()

def apart(x1, x2, w1, w2, bias):
    """Lo mismo, con la tanh desmontada en exponenciales."""
    e = (2 * (w1 * x1 + w2 * x2 + bias)).exp()
    return (e - 1) / (e + 1)

random.seed(SEED)
five = [random.uniform(-1, 1) for _ in range(5)]             # x1, x2, w1, w2 y bias
at_once = gradients(whole, [Value(n) for n in five])
in_pieces = gradients(apart, [Value(n) for n in five])
in_torch = gradients(whole, [tensor(n) for n in five])
assert same(at_once, in_torch)
assert same(in_pieces, in_torch)
print("\n7. una neurona     salida     d/dx1     d/dx2     d/dw1     d/dw2   d/dbias")
print(f"   con tanh    {cells(at_once)}")
print(f"   con exp     {cells(in_pieces)}")
print(f"   en PyTorch  {cells(in_torch)}")

# %% 8. De números a probabilidades: softmax, y la sorpresa como pérdida
# La pérdida (loss) es un número que dice cuánto se equivoca una red. Aprender es hacerla pequeña.
#
# Para elegir entre tres opciones, la red da a cada una un número, su logit. Softmax (lección 00)
# los convierte en probabilidades: la exponencial los hace positivos, y dividir entre su suma hace
# que sumen 1. La pérdida es -ln p, donde p es la probabilidad de la opción correcta y ln es el
# logaritmo natural (negative log-likelihood, NLL). Mide la sorpresa: si la red le daba p = 1 es 0,
# y si le daba casi nada, es enorme.
#
# Su derivada respecto de los logits es muy sencilla, p - y: lo que la red dijo menos lo que era.
# Ahí `y` vale 1 en la opción correcta y 0 en las demás. La lección 02 lo deduce; aquí se comprueba.
# Al bajar por esa pendiente sube el logit de la correcta y bajan los otros, cada uno en la medida
# en que se equivocó.
scores = [A, 1.0, -1.0]
logits = [Value(score) for score in scores]
powers = [logit.exp() for logit in logits]
chances = [power / sum(powers) for power in powers]
surprise = -chances[1].log()
surprise.backward()
probabilities = [chance.data for chance in chances]
pushes = [logit.grad for logit in logits]
first, right, last = probabilities
assert same(pushes, [first, right - 1, last])
theirs = tensor(scores)                                      # (3,)
torch.nn.functional.cross_entropy(theirs, torch.tensor(1)).backward()
assert same(pushes, theirs.grad)
print(f"\n8. tres opciones, y la buena es la segunda: NLL {surprise.data:.4f}")
print(f"   logits      {cells(scores)}")
print(f"   p           {cells(probabilities)}")
print(f"   gradiente   {cells(pushes)}")

# %% 9. Neuronas en capas, y bajar por el gradiente
# Una capa (layer) son varias neuronas que miran lo mismo. Un perceptrón multicapa (multilayer
# perceptron, MLP) son capas en fila: lo que da una es lo que mira la siguiente. Los pesos y los
# sesgos de todas son los parámetros.
class Module:
    """Lo que tienen en común: sus parámetros se ponen a cero juntos, como en PyTorch."""
    def zero_grad(self):
        for parameter in self.parameters():
            parameter.grad = 0

class Neuron(Module):
    """activation(w · x + b), con `n_in` pesos al azar; sin `activation`, la suma sin más."""
    def __init__(self, n_in, activation=Value.relu):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(n_in)]
        self.b = Value(0.0)
        self.activation = activation

    def __call__(self, x):
        products = [w * value for w, value in zip(self.w, x, strict=True)]
        total = sum(products, self.b)
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
        return [one for neuron in self.neurons for one in neuron.parameters()]

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
        return [one for layer in self.layers for one in layer.parameters()]

# Un paso de descenso, el de la celda 2, mueve todos los parámetros a la vez (Cauchy, 1847). Primero
# se ponen los gradientes a cero, porque las hojas suman. Luego se va hacia atrás. Al final, a cada
# parámetro se le resta la tasa por su derivada. Se resta porque la derivada dice hacia dónde sube
# la pérdida, y se quiere bajar. La tasa (learning rate) dice cuánto: si es pequeña, se baja
# despacio; si es grande, se pasa de largo.
def descend(model, loss, rate):
    """Un paso de descenso, con redes de Value y con las de PyTorch."""
    model.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        parameter.data -= rate * parameter.grad

# El problema es el o exclusivo de la lección 00, que una neurona sola no resuelve: ¿son distintos
# los dos signos? La pérdida es la suma de los errores al cuadrado (sum of squared errors, SSE),
# como en Rumelhart, Hinton y Williams, «Learning internal representations by error propagation»
# (1985).
signs = list(itertools.product([-1, 1], repeat=2))           # las cuatro parejas
different = [-1, 1, 1, -1]

def sse(model):
    """Suma de los errores al cuadrado en los cuatro casos de `signs`."""
    errors = [model(x) - target for x, target in zip(signs, different)]
    return sum(error * error for error in errors)

def trial(sizes, rate):
    """La SSE en cada uno de 100 pasos de una red de tanh recién nacida."""
    random.seed(SEED)
    net = MLP(2, sizes, Value.tanh)
    history = []
    for _ in range(100):
        loss = sse(net)
        history.append(loss.data)
        descend(net, loss, rate)
    return history

# Mira las tres filas. Una neurona sola, que aquí no lleva activación, se para en 4: lo mejor que
# puede es decir 0 a todo, y fallar en 1 cuatro veces. Con ocho en medio son nueve, y la pérdida
# baja hasta casi nada. Con una tasa diez veces mayor, las mismas nueve se pasan de largo. Cada paso
# las deja más lejos, el gradiente crece, y el paso siguiente es mayor aún. Un número como 1e+100,
# inf (infinito) o nan (no es un número) no es una errata: es lo que se ve cuando la tasa es
# demasiado grande.
print("\n9. SSE en el paso             1         4        10        50       100")
trials = [("una neurona", [1], 0.05),
          ("nueve", [8, 1], 0.05),
          ("nueve, tasa 0.5", [8, 1], 0.5)]
for label, sizes, rate in trials:
    history = trial(sizes, rate)
    assert len(sizes) > 1 or history[-1] > 3.99              # una recta no puede bajar de 4
    shown = [f"{history[step - 1]:10.2g}" for step in (1, 4, 10, 50, 100)]
    print(f"   {label:18s}" + "".join(shown))
# Así pasa con las diez semillas de la 0 a la 9: la recta se para en 4, las nueve bajan de 1e-9 y,
# con la tasa de 0.5, todas pasan de 1e+200.

# %% 10. Dos lunas
# Es la demostración de micrograd: cien puntos en dos medias lunas que ninguna recta separa. Una
# luna es la clase -1, y la otra, la clase +1. La red acierta en un punto si su salida tiene el
# signo de la clase, que aquí se llama `y`.
#
# La pérdida bisagra (hinge) es max(0, 1 - y · salida). Si y · salida pasa de 1 no cuesta nada; si
# no, cuesta lo que falta. Pide 1 y no 0 por prudencia: quien acierta por poco, con un empujón
# falla.
#
# A eso se le suma un freno: WEIGHT_DECAY por la suma de los cuadrados de los parámetros (L2). Sin
# él, la red podría contentar a la bisagra haciendo enormes los pesos, con una frontera que se
# retuerce para rodear cada punto. Con él, un peso grande ha de merecer la pena.
#
# En cada paso se miran los cien puntos, o BATCH_SIZE de ellos al azar (un lote, mini-batch). Con un
# lote el gradiente es menos exacto y cuesta mucho menos.
torch.manual_seed(SEED)
angle = torch.linspace(0, math.pi, 50, dtype=torch.float64)  # (50,)
upper = torch.column_stack([angle.cos(), angle.sin()])       # (50, 2)
X = torch.cat([upper, torch.tensor([1.0, 0.5]) - upper])     # (100, 2)
X += NOISE * torch.randn_like(X)
targets = [-1.0] * 50 + [1.0] * 50
y = torch.tensor(targets, dtype=torch.float64)               # (100,)
inputs = [[Value(left), Value(height)] for left, height in X.tolist()]
everyone = range(100)
batches = [torch.randperm(100)[:BATCH_SIZE].tolist() for _ in range(STEPS)]

def hinge(model, batch):
    """Bisagra media de los puntos de `batch`, más WEIGHT_DECAY por la suma de los cuadrados."""
    lacks = [(1 - targets[i] * model(inputs[i])).relu() for i in batch]
    squares = sum(parameter * parameter for parameter in model.parameters())
    return sum(lacks) / len(batch) + WEIGHT_DECAY * squares

def newborn(kind=Neuron):
    """La red de este problema recién nacida, hecha de neuronas de la clase `kind`."""
    random.seed(SEED)
    activation = Value.relu if RELU else None
    return MLP(2, [N_HIDDEN, N_HIDDEN, 1], activation, kind)

def hits(model):
    """En cuántos de los 100 puntos acierta el signo."""
    return sum(model(inputs[i]).data * targets[i] > 0 for i in everyone)

def falling(step):
    """La tasa en el paso `step`: baja en línea recta hasta su décima parte, en el último."""
    return LEARNING_RATE * (1 - 0.9 * step / STEPS)

line = MLP(2, [1])
for _ in range(60):
    descend(line, hinge(line, everyone), 0.5)
model = newborn()
print(f"\n10. dos lunas: una neurona sola, una recta, acierta {hits(line)} de 100; una red de "
      f"{len(model.parameters())} parámetros:")
losses = []
for step, batch in enumerate(batches, 1):
    loss = hinge(model, batch)
    losses.append(loss.data)
    if not math.isfinite(loss.data):
        sys.exit(f"error: la pérdida dejó de ser finita en el paso {step}: baja LEARNING_RATE")
    descend(model, loss, falling(step))
    if step in (1, STEPS) or step % EVAL_INTERVAL == 0:
        print(f"   paso {step:4d}   pérdida {loss.data:.4f}   aciertos {hits(model)} de 100")

# La frontera se dibuja con el signo que da la red en cada punto del plano (▒ es +1). Encima van los
# datos: «o» es la clase -1, y «x», la clase +1.
lefts = [-1.5 + j / 18 for j in range(73)]
heights = [1.5 - i / 9 for i in range(23)]
sides = [[model([left, height]).data for left in lefts] for height in heights]           # 23 x 73
marks = {}
for (left, height), target in zip(X.tolist(), targets):
    place = round((1.5 - height) * 9), round((left + 1.5) * 18)
    marks[place] = "x" if target > 0 else "o"
for i, level in enumerate(sides):
    drawing = "   "
    for j, side in enumerate(level):
        ground = "▒" if side > 0 else "·"
        drawing += marks.get((i, j), ground)
    print(drawing)
if PLOT:
    plt.contour(lefts, heights, sides, levels=[-1, 0, 1], colors=["gray", "black", "gray"])
    plt.scatter(X[:, 0], X[:, 1], c=y, cmap="coolwarm")
    plt.savefig(Path(PLOT) / "lunas.png", dpi=150, bbox_inches="tight")

# %% 11. De números a tensores, o por qué existe PyTorch
# Multiplicar dos números cuesta nanosegundos, que son milmillonésimas de segundo. Apuntar la
# operación en un nodo cuesta muchas veces más. Conviene, pues, hacer más cuentas por nodo. Primero,
# una neurona entera en cada nodo: su derivada respecto de un peso es la entrada, y respecto de una
# entrada, el peso. Si la ReLU la apaga, no reparte nada.
class NodeNeuron(Neuron):
    """Neurona con ReLU, o sin activación, en un nodo; apagada, un cero que no depende de nadie."""
    def __call__(self, x):
        weights = [w.data for w in self.w]
        values = [value.data for value in x]
        products = [w * value for w, value in zip(weights, values)]
        total = sum(products, self.b.data)
        if self.activation and total <= 0:
            return Value(0.0)
        return Value(total, (*self.w, *x, self.b), "neurona", (*values, *weights, 1))

# Después, PyTorch. Linear es una capa de neuronas sin activación, y Sequential es nuestro MLP. Los
# cien puntos pasan a la vez, y las formas son (100, 2) @ (2, 16) + (16,). Las cuentas van en C++,
# con las derivadas ya escritas, pero la idea es la de la celda 3.
torch.set_num_threads(1)                 # con matrices tan pequeñas, repartirlas estorba
scalars = newborn()
nodes = newborn(NodeNeuron)
Bend = torch.nn.ReLU if RELU else torch.nn.Identity
net = torch.nn.Sequential(
    torch.nn.Linear(2, N_HIDDEN), Bend(),
    torch.nn.Linear(N_HIDDEN, N_HIDDEN), Bend(),
    torch.nn.Linear(N_HIDDEN, 1)).double()
with torch.no_grad():                    # que nazca con los mismos pesos
    for linear, layer in zip(net[::2], scalars.layers):
        for i, neuron in enumerate(layer.neurons):
            weights = [w.data for w in neuron.w]
            linear.weight[i] = torch.tensor(weights, dtype=torch.float64)      # (n_in,)
            linear.bias[i] = neuron.b.data

def tensor_hinge(net, batch):
    """Lo mismo que `hinge`, con los puntos de `batch` en un tensor."""
    margins = 1 - y[batch] * net(X[batch])[:, 0]             # (B,)
    squares = sum(parameter.square().sum() for parameter in net.parameters())
    return margins.relu().mean() + WEIGHT_DECAY * squares

def step_ms(model, loss_of):
    """Milisegundos de un paso con los cien puntos y tasa 0, que no mueve nada: el menor de tres."""
    def step():
        descend(model, loss_of(model, everyone), 0.0)
    return 1000 * min(timeit.repeat(step, number=1, repeat=3))

rows = [("un nodo por operación", step_ms(scalars, hinge)),
        ("un nodo por neurona", step_ms(nodes, hinge)),
        ("PyTorch: un nodo por capa", step_ms(net, tensor_hinge))]
numbers = "m = 2.0; n = 3.0"
objects = "m = Value(2.0); n = Value(3.0)"
plain = timeit.timeit("m * n", numbers, number=100_000)
noted = timeit.timeit("m * n", objects, number=100_000, globals=globals())
print(f"\n11. un producto: {plain * 1e4:.0f} ns; apuntado en un nodo, {noted * 1e4:.0f}, "
      f"{noted / plain:.0f} veces más")
print("   un paso de descenso          milisegundos   veces más rápido")
for label, ms in rows:
    print(f"   {label:28s} {ms:12.2f} {rows[0][1] / ms:18.1f}")

# Los tres gradientes son el mismo, y desde los mismos pesos se baja por el mismo camino.
for linear, layer in zip(net[::2], scalars.layers):
    in_torch = torch.column_stack([linear.weight.grad, linear.bias.grad])      # (n_out, n_in + 1)
    assert same([leaf.grad for leaf in layer.parameters()], in_torch.flatten())
assert same([leaf.grad for leaf in nodes.parameters()],
            [leaf.grad for leaf in scalars.parameters()])
apart_by = 0.0
for step, batch in enumerate(batches, 1):
    loss = tensor_hinge(net, batch)
    apart_by = max(apart_by, abs(losses[step - 1] - loss.item()))
    descend(net, loss, falling(step))
print(f"   los mismos gradientes; en {STEPS} pasos, las dos pérdidas se separan {apart_by:.0e}")
gc.enable()

# %% Experimentos: predice antes de mirar (tal como viene, celda 10: pérdida 0.0120, aciertos 100)
# - A = 5: la derivada es mayor, ¿se mide igual de bien? ¿Y baja L el mismo paso de 0.01? No: se
#   pasa de largo. Respuesta: celda 1: 1e-03 4e-02 6e-05; celda 2: L pasa de 61.2500 a 128.7174.
# - A = 0.5: con un logit menor que el de la buena, ¿sorprende menos la segunda opción? Respuesta:
#   celda 8: NLL 0.5550.
# - SEED = 3: ¿aprenden las nueve neuronas con otros pesos al nacer? Respuesta: celda 9: nueve 8.4
#   3.8 3.1 3.6e-05 1.9e-13.
# - STEPS = 100: ¿queda algo por ganar cuando ya acierta todos? Respuesta: pérdida 0.0123, aciertos
#   100.
# - N_HIDDEN = 4: ¿cuántas neuronas hacen falta para torcer la frontera dos veces? Ésta es una
#   semilla con suerte: de la 0 a la 9, cuatro por capa aciertan entre 86 y 98, y una recta, entre
#   85 y 88. Respuesta: pérdida 0.0675, aciertos 98.
# - LEARNING_RATE = 0.1: ¿llega al mismo sitio más despacio? En 60 pasos, no. Respuesta: pérdida
#   0.2215, aciertos 92.
# - RELU = False, LEARNING_RATE = 0.1: sin activación, ¿qué añaden dos capas de 16 a una neurona
#   sola? Nada: sale otra recta, que acierta lo mismo que la de la neurona, 87. (Con la tasa de 1,
#   sin ReLU, la pérdida se dispara.) Respuesta: pérdida 0.2845, aciertos 87.
# - BATCH_SIZE = 10: cada paso cuesta la décima parte. ¿Y aprende lo mismo en 60? Respuesta: pérdida
#   0.0119 (la de los diez últimos puntos), aciertos 95.
# - BATCH_SIZE = 10, STEPS = 600: ¿y con los mismos puntos mirados en total? Respuesta: pérdida
#   0.0153, aciertos 100.
# - WEIGHT_DECAY = 0: ¿cuánto de la pérdida era el freno? Respuesta: pérdida 0.0014, aciertos 100.
# - NOISE = 0.3: las lunas se pisan. ¿Querrías una red que acertara los 100? Respuesta: pérdida
#   0.1972, aciertos 91.
# - NOISE = 0.3, WEIGHT_DECAY = 0: ¿y sin freno? Respuesta: pérdida 0.1848, aciertos 91.

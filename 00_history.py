"""
00. La historia, funcionando: de la neurona de 1943 a la red profunda de 2006

Al terminar sabrás qué preguntaba cada modelo, qué supo hacer y dónde se atascó: ahí empieza el
siguiente. `python 00_history.py` tarda unos diez segundos; con `--steps 0`, sin entrenar, dos.
"""
import argparse
import re
import signal
import sys
import unicodedata
from pathlib import Path

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"  # palabras de las celdas 6 y 7: una ruta, o un nombre de la carpeta data/
SEED = 1337           # semilla del azar
PLOT = ""             # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 4000          # pasos de entrenamiento de cada máquina de las celdas 6 y 7 (0: ninguno)
LEARNING_RATE = 0.01  # tasa de aprendizaje de las celdas 3, 6 y 7: el tamaño de cada corrección
N_HIDDEN = 128        # unidades ocultas de la máquina de la celda 6
N_SMALL = 4           # unidades ocultas de las máquinas pequeñas de las celdas 5 y 7
N_INPUTS = 2          # entradas de las neuronas de las celdas 1 y 3 (con 4, unos minutos)
FLIPPED = 1           # signos que se estropean, de cada ocho, en las celdas 2 y 4
COOLING = 60          # pasadas en que se enfría la red de la celda 5

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
import numpy as np

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
if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)

# %% 1. ¿Puede calcular una red de síes y noes? (McCulloch y Pitts, 1943)
# «A Logical Calculus of the Ideas Immanent in Nervous Activity». Una neurona dispara o no dispara:
# vale 1 o 0. Le llegan conexiones de dos clases. Las que excitan se suman. Las que inhiben mandan:
# con que una sola valga 1, la neurona calla. Si ninguna la inhibe y la suma llega a su umbral
# (threshold), dispara un instante después. Varias neuronas unidas son una red (network).
#
# Con eso se hacen las piezas de la lógica. «a y b» es una neurona de umbral 2: necesita las dos.
# «a o b» es la misma con umbral 1: le basta una. Para «no a», `a` inhibe a la neurona. Falta algo
# que la encienda cuando `a` calla: una entrada que siempre vale 1.
#
# La última columna de la tabla, «una sola», vale 1 si está encendida `a` o lo está `b`, pero no las
# dos: es decir, si son distintas. Se llama o exclusivo (XOR), y volverá a salir. Pide dos capas
# (layers), que son dos grupos de neuronas, uno detrás de otro. En la primera hay una neurona para
# «a sin b» y otra para «b sin a». La segunda es una sola neurona, que las junta.
#
# El número por el que se multiplica lo que llega por una conexión es su peso (weight). Aquí no hay
# pesos que aprender: todas las conexiones cuentan lo mismo. Si una neurona ha de contar el doble
# para otra, se le ponen dos conexiones.
rng = np.random.default_rng(SEED)                            # de aquí sale el azar de la lección

def unit(excite, inhibit, threshold):
    """La neurona de 1943: de dos listas de ceros y unos a 1, si dispara, o 0."""
    return int(sum(excite) >= threshold and not any(inhibit))

print("1. McCulloch y Pitts   a b   a y b   a o b   no a   una sola")
for a, b in np.ndindex(2, 2):                                # (0, 0), (0, 1), (1, 0) y (1, 1)
    both = unit([a, b], [], 2)
    either = unit([a, b], [], 1)
    negation = unit([1], [a], 1)                             # el 1, siempre encendido
    only_a = unit([a], [b], 1)
    only_b = unit([b], [a], 1)
    just_one = unit([only_a, only_b], [], 1)                 # dos capas: dos instantes después
    assert [both, either, negation] == [a and b, a or b, 1 - a]
    assert just_one == int(a != b)
    print(f"   {a:20} {b} {both:7} {either:7} {negation:6} {just_one:10}")

# Si una neurona tiene una conexión consigo misma (un lazo), la red recuerda. Un solo estímulo
# enciende la neurona, y desde entonces se excita ella sola.
state = 0
fired = []
for stimulus in [0, 1, 0, 0]:
    state = unit([stimulus, state], [], 1)
    fired.append(state)
assert fired == [0, 1, 1, 1]
print("   con un lazo, a los estímulos 0 1 0 0 responde", *fired)

# Y cambiando sólo el umbral, la misma neurona pasa de conformarse con una entrada a pedirlas todas.
for threshold in range(1, N_INPUTS + 1):
    fires = [unit(case, [], threshold) for case in np.ndindex((2,) * N_INPUTS)]
    print(f"   {N_INPUTS} entradas, umbral {threshold}: dispara {sum(fires)} veces de {len(fires)}")
# Lo que no pudo: aprender. Cada conexión la pone una persona.

# %% 2. ¿Cómo aprende una neurona sin que nadie le diga nada? (Hebb, 1949)
# «The Organization of Behavior»: si una célula ayuda una y otra vez a disparar a otra, la conexión
# entre las dos se refuerza. Hebb lo dijo con palabras. Escrito como cuenta: cada célula vale +1 o
# -1, y el peso entre dos células crece en el producto de sus valores. Sube si coinciden y baja si
# no.
#
# Con muchas células se hace una memoria de parejas. A una lista de signos, la clave (key), le
# corresponde otra, el valor (value), que es lo que hay que recordar. La cuenta de arriba se hace
# con cada signo del valor y cada signo de la clave, y sale una tabla de productos (outer product),
# con una fila por cada signo del valor. Con el valor (1, -1) y la clave (1, 1, -1), las filas son
# (1, 1, -1) y (-1, -1, 1). La memoria M es la suma de las tablas de todas las parejas. (Kohonen,
# «Correlation Matrix Memories», y Anderson, los dos en 1972.)
#
# Una tabla de números se llama matriz. Su forma (shape) se escribe entre paréntesis: (3, 8) son
# tres filas de ocho números. Numpy opera con todos a la vez: 2 * M multiplica cada uno por 2. Con
# `.T` las filas pasan a ser columnas. Y el número de sum(1), o de all(1), dice por dónde se va: con
# 1, a lo largo de cada fila; con 0, a lo largo de cada columna.
#
# Para leer la memoria se multiplica: M @ key. La arroba es el producto de matrices. Cada número del
# resultado sale de una fila de M y de la clave: se multiplican puesto a puesto y se suman los
# productos. Esa suma se llama producto escalar y se escribe con un punto: (1, 1, -1)·(1, -1, -1) =
# 1 - 1 + 1 = 1.
def states(n):
    """Las 2^n listas de `n` signos: (2^n, n)."""
    return 2 * np.array(list(np.ndindex((2,) * n))) - 1

def flip(patterns, n):
    """Copia de `patterns` (P, N) con `n` signos al azar cambiados en cada fila."""
    patterns = patterns.copy()
    for pattern in patterns:
        where = rng.permutation(len(pattern))[:n]
        pattern[where] *= -1
    return patterns

def random_signs(*shape):
    """Signos al azar, en una tabla de esa forma."""
    return rng.choice([-1.0, 1.0], shape)

keys = states(3).T                                           # (3, 8)
values = states(3)[[6, 5, 3]]                                # (3, 3) tres de las ocho filas
M = np.zeros((3, 8), int)
for key, value in zip(keys, values):
    M += np.outer(value, key)
print("\n2. Hebb: clave                valor        y la memoria M de las tres parejas")
for key, value, row in zip(keys, values, M):
    print("  ", key, "", value, "  ", row)
# Mira las claves impresas: dos cualesquiera coinciden en cuatro signos y difieren en los otros
# cuatro. Su producto escalar es 4 - 4 = 0: son ortogonales. El de una clave consigo misma es 8. La
# tabla de una pareja, multiplicada por una clave cualquiera, da el valor de esa pareja tantas veces
# como diga el producto escalar de las dos claves. Así que M por la primera clave da 8 veces su
# valor, más 0 veces los otros dos: el valor sale limpio. (Las tres filas de M se imprimen junto a
# las parejas para ahorrar sitio; cada una sale de las tres parejas.)
assert (keys @ M.T == 8 * values).all()                      # las tres claves a la vez
# ¿Y si la clave llega con un signo mal? Con la suya coincide en 7 y difiere en 1: el 8 pasa a ser
# 7 - 1 = 6. Con cada una de las otras dos, el 0 pasa a ser 2 o -2. En cada signo de la respuesta
# hay 6 a favor y, como mucho, 2 + 2 = 4 en contra: el signo aguanta, sea cual sea el que llegó mal.
# Tal como viene la lección, los tres números que se imprimen son 6 + 2 + 2 = 10, 6 - 2 - 2 = 2 y
# -6 + 2 - 2 = -6.
spoiled = flip(keys[:1], 1)[0]
print("   la primera da", M @ keys[0], "y, con un signo mal,", M @ spoiled)
tries = np.repeat(keys, 100, axis=0)                         # (300, 8) cada clave, cien veces
due = np.repeat(values, 100, axis=0)                         # (300, 3)
answers = np.sign(flip(tries, FLIPPED) @ M.T)
recovered = (answers == due).all(1).sum()
assert FLIPPED > 1 or recovered == 300
print(f"   con {FLIPPED} de los 8 signos cambiados al azar, acierta {recovered} veces de 300")

# Una neurona sola también aprende algo. Le llega un punto, x, que es una lista de números. Tiene un
# peso para cada uno, la lista w. Su respuesta es el producto escalar w·x, que se llama `y`. La
# regla de Hebb suma a los pesos rate · y · x, donde rate es una tasa pequeña. Cuanto mayores son
# los pesos, mayor es la respuesta; y cuanto mayor es la respuesta, más crecen los pesos: se
# disparan. Oja, «Simplified Neuron Model as a Principal Component Analyzer» (1982), pone un freno:
# resta rate · y² · w.
#
# A lápiz, con w = (1, 0), x = (2, 1) y rate = 0.1, la respuesta es 2. Hebb suma 0.2 · (2, 1) y
# llega a (1.4, 0.2). Oja resta además 0.4 · (1, 0) y llega a (1, 0.2). La lista de Oja mide menos
# que la de Hebb, y apunta más hacia x. (Lo que mide una lista, su norma, es la raíz de la suma de
# los cuadrados de sus números: es el teorema de Pitágoras.)
def hebb(w, x, rate, brake):
    """Los pesos `w` tras ver `x`: con `brake` 0, los de Hebb; con 1, los de Oja."""
    y = w @ x
    return w + rate * y * (x - brake * y * w)

start = np.array([1.0, 0.0])
stepped = [hebb(start, [2, 1], 0.1, brake) for brake in (0, 1)]
assert np.allclose(stepped, [[1.4, 0.2], [1.0, 0.2]])
# ¿Hacia dónde van los pesos? Lo enseña una nube de puntos redonda que se ha estirado en la
# dirección (0.6, 0.8). Los puntos que caen lejos a lo largo de la nube dan una respuesta mayor, y
# son los que más empujan. Con el freno, w acaba midiendo cerca de 1 y apuntando a lo largo de la
# nube, en un sentido o en el opuesto. Sin él, crece sin fin: en lo impreso, 1e+04 es diez mil.
long_way = np.array([0.6, 0.8])                              # mide 1: 0.36 + 0.64
grown = braked = start
for n in range(1, 4001):
    point = rng.normal(size=2) + rng.normal(0, 3) * long_way
    grown = hebb(grown, point, 0.01, 0)
    braked = hebb(braked, point, 2 / (n + 400), 1)           # pasos cada vez más cortos
    if n in (10, 100, 1000, 4000):
        print(f"   {n:4} puntos: w crece a {abs(grown).max():.0e}; con freno es {braked.round(2)}")
assert 0.95 < abs(braked @ long_way) < 1.05                  # w·(0.6, 0.8) es 1 o -1
# Lo que no pudo: corregirse. Asocia lo que llega, acierte o no: le falta un maestro.

# %% 3. ¿Y si sólo cambia cuando se equivoca? (Rosenblatt, 1958 a 1962)
# El perceptrón, una neurona con pesos, es de 1958. La regla de corregir ante el error es de los
# años que siguen, como cuenta «Principles of Neurodynamics» (1962). La neurona responde con el
# signo de w·x. Un maestro dice cuál debía ser, +1 o -1: es `due`, la respuesta debida. Si la
# neurona acierta, no se toca nada. Si falla, a los pesos se les suma x cuando la respuesta debía
# ser +1, y se les resta cuando debía ser -1.
#
# ¿Por qué ayuda? Al sumar x a los pesos, w·x pasa a ser w·x + x·x. Como x·x es positivo, la cuenta
# se mueve hacia el lado bueno. Al restar x se mueve lo mismo hacia el otro lado.
#
# A cada x se le añade un 1 al final. Su peso se llama sesgo (bias): se suma siempre, venga lo que
# venga. Hace el papel del umbral de la celda 1.
def perceptron(rows, table, passes):
    """Los pesos tras cada error, desde ceros: `passes` vueltas a las filas x de `rows`.

    La respuesta debida de cada fila está en `table`.
    """
    history = [0 * rows[0]]
    for _ in range(passes):
        for x, due in zip(rows, table):
            w = history[-1]
            if due * (w @ x) <= 0:                           # el otro signo, o ninguno
                history.append(w + due * x)
    return history

square = states(3)[1::2]                                     # (4, 3) dos signos, y un 1 detrás
XOR = [-1, 1, 1, -1]                                         # ¿es positivo uno solo?
rounds = perceptron(square, XOR, passes=2)                   # síguelo a lápiz: falla siempre
assert np.array_equal(rounds[:4], rounds[4:8])               # no para: no hay pesos que sirvan
print("\n3. Perceptrón con «una sola»: pesos", *rounds[:5], "y vuelta a empezar")

# ¿Y si hay pesos que sirvan? Entonces acaba, y se sabe cuándo. Sea R lo que mide la mayor x (celda
# 2). Sean w unos pesos que aciertan en todas: due · (w·x) es siempre positivo. Su menor valor,
# partido por lo que mide w, es la holgura (margin), g. Es lo lejos que queda del cero la x más
# dudosa. Novikoff (1962) demostró que el perceptrón se equivoca como mucho (R / g)² veces, vengan
# las x en el orden que vengan.
#
# Una tabla es una respuesta para cada caso. Con dos entradas hay cuatro casos y 2^4 = 16 tablas. De
# cada una se mira si el perceptrón la aprende. Si la aprende, se comprueba lo que dice Novikoff.
corners = states(N_INPUTS + 1)[1::2]                         # (2^n, n + 1)
learned = 0
for table in states(len(corners)):
    history = perceptron(corners, table, passes=20)
    w = history[-1]
    slack = (table * (corners @ w)).min()
    if slack > 0:                                            # aciertan en todas
        mistakes = len(history) - 1
        assert mistakes * slack**2 <= (N_INPUTS + 1) * (w @ w)           # R² = n + 1
        learned += 1
print(f"   aprende {learned} tablas de {2 ** len(corners)}")

# Con dos entradas, las dos que no aprende son «una sola» y su contraria. Con más se pierden muchas
# más.
#
# La regla delta (Widrow y Hoff, «Adaptive Switching Circuits», 1960) corrige siempre, y tanto más
# cuanto más lejos está. Si el error es d = due - w·x, suma a los pesos rate · d · x. Se parece a la
# anterior, pero detrás hay una cuesta por la que se baja. La cuesta es d² / 2, que vale 0 si no hay
# error. Su derivada es d por la derivada de d. Cuando sólo se mueve el peso i, la derivada de d es
# -x_i: por cada 1 que sube el peso, d baja x_i. Luego la derivada de la cuesta respecto de ese peso
# es -d · x_i. Mover un poco cada peso en contra de su derivada hace menor el error, y eso es
# sumarle rate · d · x_i. De eso trata toda la lección 01.
#
# A lápiz, con w = (0, 0, 0), x = (1, 1, 1), una respuesta debida de 1 y rate = 0.1: d vale 1 y cada
# peso pasa a ser 0.1. Ahora w·x es 0.3, y d ha bajado a 0.7.
def delta(w, x, due, rate):
    """Los pesos tras un paso de la regla delta."""
    return w + rate * (due - w @ x) * x

assert np.allclose(delta(np.zeros(3), np.ones(3), 1, 0.1), 0.1)
AND = [-1, -1, -1, 1]
for table in AND, XOR:
    w = np.zeros(3)
    for _ in range(100):
        for x, due in zip(square, table):
            w = delta(w, x, due, LEARNING_RATE)
    print(f"   regla delta: quien espera {table} oye {np.round(square @ w, 1)}")
# Cada línea dice qué se espera en los cuatro casos y, después, cuánto da w·x en cada uno. En
# «a y b» los cuatro signos acaban bien. En el o exclusivo la regla no da vueltas: se queda cerca
# del cero, que es lo menos malo que puede decir una suma con pesos.
#
# Lo que no pudo: representar el o exclusivo. Minsky y Papert («Perceptrons», 1969) demostraron qué
# no cabe en una sola capa de pesos, y éste es el ejemplo más pequeño. Con una capa en medio sí cabe
# (celda 1). Pero ¿quién enseña a la de en medio, si el maestro sólo dice lo que debe salir al
# final? En 1962 Rosenblatt ya mandaba las correcciones hacia atrás, aunque a tientas: el signo no
# tiene una derivada útil, porque es 0 en todas partes menos en el salto.

# %% 4. ¿Puede una memoria completar lo que falta? (Hopfield, 1982)
# «Neural Networks and Physical Systems with Emergent Collective Computational Abilities». Las
# unidades (units) son neuronas de +1 o -1. Están todas unidas entre sí con pesos de Hebb: W[i, j]
# es la suma, en todos los recuerdos, del producto de sus signos i y j. Las unidades van por turno.
# La que lo tiene recibe la suma de las demás, cada una por su peso, y toma el signo de esa suma. Se
# acaba cuando ninguna quiere cambiar.
#
# ¿Por qué se acaba? Sea s_i el valor de la unidad i. A cada pareja de unidades le corresponde una
# energía, -W[i, j] · s_i · s_j: es baja si las dos están como pide su peso. E es la suma de la
# energía de todas las parejas. Se escribe con matrices. W @ s es lo que recibe cada unidad, y
# s·(W @ s) suma W[i, j] · s_i · s_j en todos los i y todos los j. Ahí cada pareja sale dos veces,
# como (i, j) y como (j, i), y por eso E lleva delante -1/2.
#
# La parte de E en que sale la unidad i es -s_i por lo que recibe. Una unidad sólo cambia si su
# signo no es el de lo que recibe, y entonces esa parte pasa de positiva a negativa: cada cambio
# baja E. Los estados son un número finito, así que no se puede bajar siempre. La red acaba en un
# valle, donde ningún cambio de una sola unidad baja más. Si los recuerdos son pocos y distintos,
# suelen ser valles.
DRAWING = ["##······  ·#######  ##····##  ##····##",
           "##······  ########  ###···##  ##····##",
           "##······  ##······  ####··##  ##····##",
           "##······  #######·  ##·##·##  ·##··##·",
           "##······  ·#######  ##··####  ·##··##·",
           "##······  ······##  ##···###  ··####··",
           "########  ########  ##····##  ··####··",
           "########  #######·  ##····##  ···##···"]

def memory(patterns):
    """Pesos de Hebb de patrones (P, N): (N, N). La diagonal, a cero: nadie se mira a sí mismo."""
    return patterns.T @ patterns * (1 - np.eye(patterns.shape[1]))

def energy(s, W):
    """E = -1/2 s·(W @ s) de cada estado de `s` (P, N): (P,)."""
    return -0.5 * (s @ W * s).sum(1)

def settle(s, W):
    """Los estados (P, N) en que acaban los de `s`: vueltas hasta que nadie cambia."""
    s, before = s.copy(), None
    while not np.array_equal(s, before):
        before = s.copy()
        for i in rng.permutation(s.shape[1]):
            field = s @ W[i]                                 # (P,) lo que recibe la unidad i
            s[:, i] = np.where(field == 0, s[:, i], np.sign(field))
        assert (energy(s, W) <= energy(before, W)).all()     # una vuelta nunca sube
    return s

def show(patterns):
    """Dibuja en fila patrones de ±1 (P, 64); cada carácter son dos píxeles, uno sobre otro."""
    for top in range(0, 64, 16):
        line = " "
        for s in patterns > 0:
            line += "  "
            for j in range(top, top + 8):
                line += "·▀▄█"[s[j] + 2 * s[j + 8]]
        print(line)

# A lápiz: se guarda ++++, y los pesos de las seis parejas valen 1. Cada pareja de signos iguales da
# -1, y cada pareja de signos distintos, +1. En ++++ son seis iguales: -6. En -+++, tres y tres: 0.
# En --++, dos iguales y cuatro distintas: 2. Y ---- vuelve a -6: quien guarda un patrón guarda
# también su negativo.
walk = np.array([[-1] * k + [1] * (4 - k) for k in range(5)])            # de ++++ a ----
hills = energy(walk, memory(walk[:1]))
assert list(hills) == [-6, 0, 2, 0, -6]
print("\n4. Hopfield guarda ++++; la energía de ++++ -+++ --++ ---+ ---- es", hills.astype(int))
# Ahora se guardan las cuatro letras del dibujo. De cada una se estropean veinticinco copias, y se
# cuenta cuántas vuelven a ser la letra, sin un solo fallo.
pixels = [[char for line in DRAWING for char in line.split()[k]] for k in range(4)]
letters = np.where(np.array(pixels) == "#", 1.0, -1.0)       # (4, 64)
weights = memory(letters)                                    # (64, 64)
whole = np.tile(letters, (25, 1))                            # (100, 64)
damaged = flip(whole, 8 * FLIPPED)
recalled = settle(damaged, weights)
right = (recalled == whole).all(1).sum()
# Los recuerdos no son los únicos valles. Está el negativo de cada uno, y hay mezclas, como el signo
# de la suma de tres. Se llaman recuerdos falsos (spurious states).
spurious = np.array([-letters[0], np.sign(letters[:3].sum(0))])
assert (settle(spurious, weights) == spurious).all()         # nadie los guardó, y ahí se quedan
print(f"   con {8 * FLIPPED} píxeles de 64 cambiados recuerda {right} de 100. Cuatro, antes y\n"
      "   después, y dos recuerdos falsos: un negativo y una mezcla de tres letras")
show(damaged[:4])
show(recalled[:4])
show(spurious)
# ¿Cuántos patrones caben? Con N unidades y patrones al azar, cerca de 0.14 N si N es muy grande.
# Con más se estropean todos, no sólo los últimos (Amit, Gutfreund y Sompolinsky, «Storing Infinite
# Numbers of Patterns in a Spin-Glass Model of Neural Networks», 1985). Aquí N es 400, y el borde no
# es tan brusco. Mira en la tabla qué parte de los signos sigue en su sitio. Si no quedara nada del
# recuerdo sería el 50 %: lo que acierta una moneda.
print("   patrones por unidad   signos que se conservan")
for count in 20, 40, 52, 64, 80:
    stored = random_signs(count, 400)
    kept = (settle(stored, memory(stored)) == stored).mean()
    print(f"   {count / 400:19.2f}   {kept:23.1%}")
if PLOT:
    plt.figure(figsize=(6, 3))
    for k, s in enumerate([*damaged[:4], *recalled[:4]], 1):
        plt.subplot(2, 4, k)
        plt.imshow(s.reshape(8, 8))
        plt.axis("off")
    plt.savefig(Path(PLOT) / "hopfield.png", dpi=150, bbox_inches="tight")
# Lo que no pudo: salir de un valle malo, ni inventarse unidades que los datos no traen.

# %% 5. ¿Y si las unidades dudan? (Ackley, Hinton y Sejnowski, 1985)
# «A Learning Algorithm for Boltzmann Machines». La red es la de Hopfield, pero el valor de cada
# unidad se sortea. Sea D lo que bajaría la energía al encender esa unidad. Encender es pasar de -1
# a +1, y por eso D es dos veces lo que recibe. Se enciende con probabilidad 1 / (1 + exp(-D / T)),
# donde exp(x) es e^x y T es la temperatura. A lápiz, con D = 2: si T = 1, la probabilidad es
# 1 / (1 + 0.135) = 0.88. Si T = 10, es 0.55: casi una moneda. Y si T = 0.2, es 0.99995: manda el
# signo, como en Hopfield.
#
# Se sortea una unidad tras otra, muchas veces (muestreo de Gibbs, Gibbs sampling). A la larga cada
# estado sale con una probabilidad que sólo depende de su energía: exp(-E / T) / Z. Z es la suma de
# exp(-E / T) en todos los estados: está para que las probabilidades sumen 1. Cuanto más baja es la
# energía, más a menudo sale el estado. Cuando ya ocurre así, la red está en equilibrio. Una red que
# se sortea una y otra vez es una cadena (chain). Aquí van muchas a la vez, una por fila.
def sigmoid(x):
    """1 / (1 + exp(-x)), escrita como (1 + tanh(x/2)) / 2, que es lo mismo y no se desborda."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)

def gibbs(s, W, T=1.0, first=0):
    """Copia de `s` (P, N) tras sortear, una a una, sus unidades desde `first`: una pasada."""
    s = s.copy()
    for i in range(first, s.shape[1]):
        on = sigmoid(2 * (s @ W[i]) / T)                     # (P,)
        s[:, i] = np.where(rng.random(len(s)) < on, 1, -1)
    return s

# A lápiz: dos unidades que quieren ser iguales, con peso 0.5. Si son iguales, E = -0.5; si son
# distintas, E = 0.5. Con T = 1, exp(0.5) = 1.6487 y exp(-0.5) = 0.6065. Hay dos estados de cada
# clase: Z = 2 · 1.6487 + 2 · 0.6065 = 4.5104. Cada estado de iguales sale 1.6487 / 4.5104 = 0.366
# de las veces, y cada uno de distintas, 0.134. En la tabla, mira cómo el calor hace más parecidos
# los cuatro números.
pair = 0.5 * memory(np.ones((1, 2)))
print("\n5. Boltzmann: la parte de las veces que salen       --    -+    +-    ++")
for T in 0.5, 1.0, 2.0:
    chains = random_signs(20_000, 2)               # veinte mil parejas, al azar
    for _ in range(10):
        chains = gibbs(chains, pair, T)
    drawn = [(chains == s).all(1).mean() for s in states(2)]
    p = np.exp(-energy(states(2), pair) / T)
    p /= p.sum()
    assert abs(drawn - p).max() < 0.03
    print(f"   temperatura {T}: sorteando {np.round(drawn, 3)}, con la fórmula {p.round(3)}")

# Dudar sirve para salir de los valles malos. Se empieza caliente, dando saltos, y se enfría
# despacio (simulated annealing; Kirkpatrick, Gelatt y Vecchi, 1983). Una memoria que rebosa tiene
# muchos valles malos. A ésta se le dan 50 patrones, y en 100 unidades caben unos 14.
full = memory(random_signs(50, 100))
s = random_signs(40, 100)
fast = energy(settle(s, full), full).mean()
for T in np.linspace(150, 5, COOLING):
    s = gibbs(s, full, T)
slow = energy(settle(s, full), full).mean()
print(f"   energía media: si se baja sin más, {fast:.0f}; si antes se enfría, {slow:.0f}")

# Lo más nuevo es cómo aprende. Unas unidades reciben los datos: son las visibles (visible). Otras
# son ocultas (hidden): ningún dato dice cuánto valen, y la red las usa como le conviene. Se quiere
# que, sorteando, las visibles salgan como en los datos.
#
# Lo que falta para eso se mide con la divergencia de Kullback y Leibler (KL). De cada dato se toman
# dos probabilidades: la que tiene en los datos y la que le da la red. Se parte la primera entre la
# segunda, y se halla el logaritmo natural. KL es la media de esos logaritmos en los datos. Si las
# dos son siempre la misma, el logaritmo de 1 es 0, y KL es 0; si no, KL es mayor. Su unidad se
# llama nat. A lápiz: si hay cuatro datos, de probabilidad 1/4 cada uno, y la red da 1/8 a cada uno,
# el cociente es 2, y KL es log 2 = 0.693 nats.
#
# ¿Cómo se baja KL? La derivada de -KL respecto de W[i, j] es una resta de dos medias del mismo
# producto, s_i · s_j. La primera se toma con las visibles fijas (clamped) en los datos y las
# ocultas sorteadas. La segunda, con toda la red en libertad: se dice que la red sueña. Si con los
# datos las dos unidades coinciden más que cuando la red sueña, su peso sube. Cada peso mira sólo
# las dos unidades que une. No lo vamos a deducir, pero más abajo se comprueba midiendo.
#
# El ejemplo es la paridad. De los ocho estados de tres signos, son datos los cuatro cuyo producto
# es 1. En ellos, dos signos cualesquiera coinciden la mitad de las veces: mirando parejas no se ve
# nada. Las unidades 1 a 3 son las visibles. La 0 está siempre en 1, y sus pesos hacen de sesgos.
parity = states(3)[states(3).prod(1) == 1]                   # (4, 3)
assert (parity.T @ parity == 4 * np.eye(3)).all()            # columnas ortogonales (celda 2)

def exact(W):
    """Sin sorteos: la KL de `parity` a la red W, y la resta de las dos medias, (n, n)."""
    s = states(len(W))
    s = s[s[:, 0] == 1]                                      # (2^(n - 1), n)
    free = np.exp(-energy(s, W))
    free /= free.sum()
    clamped = 0 * free
    kl = 0.0
    for row in parity:                                       # cada dato es la cuarta parte
        fits = (s[:, 1:4] == row).all(1)                     # ese dato, con todas sus ocultas
        chance = free[fits].sum()
        kl += np.log(0.25 / chance) / 4
        clamped[fits] = free[fits] / chance / 4
    # Cada estado, que es una fila, cuenta según su probabilidad: [:, None] las pone en columna.
    return kl, s.T @ (s * (clamped - free)[:, None])

# ¿Es esa resta la derivada? Se mueve un peso un poco a cada lado y se mira cuánto cambia KL.
probe = memory(0.4 * random_signs(4, 6))                     # unos pesos simétricos cualesquiera
bump = 0 * probe
bump[2, 5] = bump[5, 2] = 1e-5                               # une la visible 2 y la oculta 5
drop = exact(probe - bump)[0] - exact(probe + bump)[0]
rule = exact(probe)[1][2, 5]
assert abs(drop / 2e-5 - rule) < 1e-7
print(f"   derivada de -KL: según la regla, {rule:.6f}; midiendo, {drop / 2e-5:.6f}")

# Sumar todos los estados sólo se puede en una red diminuta. Las demás sortean. Aquí hay 400 cadenas
# con los datos fijos, en las que sólo se sortean las ocultas, y otras 400 libres. Ninguna empieza
# de nuevo en cada paso: siguen desde donde estaban.
print("   KL de la paridad, cada 300 pasos (si no aprende nada, log 2 = 0.693)")
for hidden in 0, N_SMALL:
    W = memory(0.4 * random_signs(4, 4 + hidden))
    fixed = np.ones((400, 4 + hidden))
    fixed[:, 1:4] = np.repeat(parity, 100, axis=0)
    loose = fixed
    print(f"   {hidden} ocultas", end="")
    for step in range(1501):
        if step % 300 == 0:
            kl, _ = exact(W)
            assert hidden > 0 or kl > np.log(2) - 1e-9       # sólo con parejas no se puede bajar
            print(f"   {kl:.3f}", end="")
        fixed = gibbs(fixed, W, first=4)                     # una pasada de las ocultas
        loose = gibbs(loose, W, first=1)                     # y una de todas
        rate = 0.1 * (1 - step / 1501)
        W += rate * (fixed.T @ fixed - loose.T @ loose) / 400
    print()
# Sin ocultas se queda en log 2, como tenía que ser. Con cuatro suele acabar por debajo de 0.1: así
# es en nueve de las diez semillas de la 0 a la 9. Con la 0 llega a 0.05 y después sube hasta 0.60.
# No es que no se pueda: con la derivada de `exact`, desde los mismos pesos, acaba en 0.04. Es que,
# cuando los pesos crecen, las cadenas libres apenas saltan de un estado a otro, y la resta que dan
# se aparta mucho de la derivada.
#
# Lo que no pudo: ir deprisa. Cada paso sortea unidad a unidad, y las cadenas libres van con
# retraso: tardan en olvidar los pesos de antes.

# %% 6. ¿Y si las de una capa no se hablan? (Smolensky, 1986; Hinton, 2002)
# Hay dos capas, la visible y la oculta, y sólo se conectan unidades de capas distintas. Así, cuando
# se sabe lo que vale una capa, las unidades de la otra no dependen entre sí, y se sortean todas de
# un golpe. Es la máquina restringida (restricted Boltzmann machine, RBM; Smolensky la llamó
# «harmonium»).
#
# Hinton, «Training Products of Experts by Minimizing Contrastive Divergence», añadió un atajo
# (CD-1). En vez de esperar al equilibrio, se hace un viaje de ida y vuelta: con el dato se sortean
# las ocultas, con ellas se sueñan unas visibles, y con éstas se sortean otra vez las ocultas. La
# resta de la celda 5 se hace entre el dato y ese sueño. Ya no es la derivada exacta, pero cuesta
# muy poco y en la práctica suele bastar.
#
# Aquí las unidades ya no valen +1 o -1, sino 1 o 0. Lo visible, `v`, es una palabra. En cada una de
# sus L posiciones hay V unidades, una por letra posible, y sólo vale 1 la de su letra (one-hot). Si
# las letras fueran a, b y c, la palabra «ba» sería 0 1 0 1 0 0. Lo oculto es `h`, con H unidades.
# La energía es E = -b·v - c·h - v·(W @ h): b y c son los sesgos, y W une cada letra de cada
# posición con cada oculta.
#
# ¿Cómo se sortea h cuando se sabe v? Encender una oculta baja la energía en x = c + v·w, donde c es
# su sesgo y w son sus pesos. Se enciende con probabilidad 1 / (1 + exp(-x)), como en la celda 5 con
# T = 1.
#
# ¿Y v cuando se sabe h? Cada letra de cada posición recibe una nota (logit), que es su sesgo más
# los pesos de las ocultas encendidas. Su probabilidad es exp(nota) entre la suma de exp(nota) de
# todas las letras de esa posición. Esa cuenta se llama softmax, y volverá en casi todas las
# lecciones. Con tres letras de notas 1, 0 y 0, las exponenciales son 2.718, 1 y 1, que suman 4.718,
# y las probabilidades, 0.576, 0.212 y 0.212. El sorteo es una ruleta. Cada letra tiene un sector
# tan ancho como su exponencial, los sectores van uno detrás de otro, y sale la letra del sector en
# que cae la bola. Restar a todas las notas la mayor no cambia la parte de cada sector, y así
# ninguno pasa de 1.
#
# ¿Qué probabilidad da la máquina a una palabra, venga h como venga? Se suma exp(-E) en todos los h,
# y se parte por Z. La suma se escribe exp(-F), y F(v) se llama energía libre (free energy): a menos
# energía libre, más probable es la palabra. Con una sola oculta son dos sumandos. Si h = 0,
# exp(b·v); si h = 1, exp(b·v + x). Suman exp(b·v) · (1 + exp(x)). Con más ocultas, cada una
# multiplica por su propio 1 + exp(x). El logaritmo convierte los productos en sumas: -F es b·v más
# la suma, en todas las ocultas, de log(1 + exp(x)).
def one_hot(ids, V):
    """Un 1 por posición: ids (n, L) -> (n, L*V) float32."""
    return np.eye(V, dtype=np.float32)[ids].reshape(len(ids), -1)

class RBM:
    """Máquina restringida de palabras de L letras: pesos W (L*V, H), y sesgos b (L*V,) y c (H,)."""
    def __init__(self, W, b, c, L):
        self.W = np.array(W)                                 # copias
        self.b = np.array(b)
        self.c = np.array(c)
        self.L = L

    def inputs(self, v):
        """La x de cada oculta: (n, L*V) -> (n, H)."""
        return self.c + v @ self.W

    def logits(self, h):
        """Las notas de cada letra en cada posición: (n, H) -> (n, L, V)."""
        return (self.b + h @ self.W.T).reshape(len(h), self.L, -1)

    def up(self, v):
        """Sorteo de h dado v: (n, L*V) -> (n, H)."""
        on = sigmoid(self.inputs(v))
        return (rng.random(on.shape) < on).astype(np.float32)

    def down(self, h):
        """Sorteo de v dado h: (n, H) -> (n, L*V). En cada posición gira una ruleta."""
        logits = self.logits(h)
        sectors = np.exp(logits - logits.max(2, keepdims=True))          # sin pasar de 1
        ends = sectors.cumsum(2)                             # dónde acaba el sector de cada letra
        turns = rng.random((len(h), self.L, 1))
        ball = turns * ends[:, :, -1:]                       # (n, L, 1) dónde cae la bola
        return one_hot((ends < ball).sum(2), logits.shape[2])            # sectores que dejó atrás

    def dreams(self, n):
        """`n` sueños (n, L*V): doscientas idas y vueltas, desde las ocultas apagadas."""
        h = np.zeros((n, len(self.c)))
        for _ in range(200):
            v = self.down(h)
            h = self.up(v)
        return v

    def free_energy(self, v):
        """F(v): (n, L*V) -> (n,)."""
        doors = np.logaddexp(0, self.inputs(v))              # log(exp(0) + exp(x)), sin desbordarse
        return -v @ self.b - doors.sum(1)

    def learn(self, v, h, dream_v, dream_h, rate):
        """Un paso de CD-1: hacia el dato (v, h) y en contra del sueño."""
        self.W += rate * (v.T @ h - dream_v.T @ dream_h)
        self.b += rate * (v - dream_v).sum(0)
        self.c += rate * (h - dream_h).sum(0)

# A lápiz: una posición, dos letras y una oculta, unida con peso 2 a la segunda letra. De los cuatro
# estados, tres tienen energía 0 y pesan exp(0) = 1. El cuarto, la segunda letra con la oculta
# encendida, pesa exp(2) = 7.389. La segunda letra sale una parte de las veces igual a
# (1 + 7.389) / (3 + 7.389) = 0.807.
tiny = RBM([[0.0], [2.0]], [0.0, 0.0], [0.0], 1)
assert np.allclose(np.exp(-tiny.free_energy(np.eye(2))), [2, 8.389], 1e-3)
second = tiny.dreams(20_000)[:, 1].mean()
assert abs(second - 0.807) < 0.03
print(f"\n6. RBM mínima: en sus sueños, la segunda letra sale {second:.3f} veces (exacto, 0.807)")

# Ahora, con las palabras del texto que tienen hasta ocho letras, completadas con «·». Con cuatro de
# cada cinco se aprende. Las demás se guardan para validar: son palabras que la máquina no habrá
# visto.
words = sorted({word for word in text.lower().split() if len(word) <= 8})
if len(words) < 10:
    sys.exit(f"error: «{DATA}» tiene {len(words)} palabras distintas de hasta ocho letras y hacen "
             "falta 10 o más: elige otro texto con --data")
rng.shuffle(words)
spelled = np.array([list(word.ljust(8, "·")) for word in words])         # (N, 8) letras
chars, ids = np.unique(spelled, return_inverse=True)         # (V,), y sus números (N, 8)
V = len(chars)
cut = int(0.8 * len(ids))
data, own = np.split(one_hot(ids, V), [cut])                 # para aprender, y para validar
for row, word in zip(ids[cut:], words[cut:]):
    rng.shuffle(row[:len(word)])                             # las de validar, barajadas
mixed = one_hot(ids[cut:], V)

def spell(v):
    """Las palabras que hay en `v` (n, L*V), en una línea."""
    rows = chars[v.reshape(-1, 8, V).argmax(2)]     # (n, L)
    return ", ".join("".join(row).rstrip("·") for row in rows)

def fresh(n_hidden):
    """Una RBM que sólo sabe qué letras son frecuentes en cada posición."""
    W = 0.05 * rng.standard_normal((8 * V, n_hidden), np.float32)
    often = np.log(data.sum(0) + 1)                          # su softmax es la frecuencia
    return RBM(W, often, np.zeros(n_hidden), 8)

def batch():
    """Cincuenta de las palabras de aprender, al azar: (50, L*V)."""
    return rng.choice(data, 50)

def train(machine):
    """STEPS pasos de CD-1; la tasa baja en línea recta hasta cero."""
    for step in range(STEPS):
        v = batch()
        h = machine.up(v)
        dream_v = machine.down(h)
        dream_h = machine.up(dream_v)
        machine.learn(v, h, dream_v, dream_h, LEARNING_RATE * (1 - step / STEPS))

wide = fresh(N_HIDDEN)
train(wide)
# ¿Ha aprendido algo que valga para palabras nuevas? Cada palabra que no vio se compara con sus
# mismas letras en otro orden: ¿cuál de las dos tiene menos energía libre? Z no hace falta, porque
# es la misma en las dos. Una moneda acertaría la mitad. Recién nacida, cuando sólo sabe qué letras
# son frecuentes en cada posición, la máquina ya acierta más que eso (está en los experimentos:
# STEPS = 0). Lo que ha aprendido es la diferencia.
gap = wide.free_energy(mixed) - wide.free_energy(own)        # (m,)
print(f"   RBM de 8 x {V} + {N_HIDDEN}: aprende con {len(data)} palabras; de otras {len(own)},\n"
      f"   el {(gap > 0).mean():.1%} tiene menos energía libre que con sus letras barajadas")
print("   sueña", spell(wide.dreams(8)))
# Lo que no pudo: ir más hondo. Sus ocultas también siguen una pauta: unas se encienden juntas, y
# otras nunca. No hay nadie encima que la aprenda.

# %% 7. ¿Y una máquina sobre otra? (Hinton, Osindero y Teh, 2006)
# «A Fast Learning Algorithm for Deep Belief Nets». La máquina de abajo, `lower`, ya ha aprendido:
# dada una palabra, sortea h. Se la deja quieta. La de arriba, `upper`, nace como copia suya y
# aprende a soñar esos h. En ella los papeles se cambian: el dato es h, y el otro lado hace de
# oculto. Las dos juntas son una red de creencia profunda (deep belief net, DBN). Para soñar, la de
# arriba da un h, y con ese h la de abajo escribe la palabra.
#
# ¿Se gana algo? Sea p1(h) la probabilidad que la máquina de abajo da a h, y p(v | h) la que da a la
# palabra v cuando ya se tiene h. Para ella, la probabilidad de v es la suma, en todos los h, de
# p1(h) · p(v | h): primero sale h, y luego v. La de arriba cambia sólo el primer factor, que pasa a
# ser p2(h). Es decir, multiplica cada sumando por p2(h) / p1(h). Y cada sumando, partido por la
# suma, es la probabilidad de h cuando se sabe v. Luego la probabilidad de la palabra se multiplica
# por una media: la de p2(h) / p1(h), con los h que se sortean dado v.
#
# El logaritmo de una media nunca es menor que la media de los logaritmos. Por ejemplo, la media de
# 1 y 4 es 2.5, y su logaritmo, 0.92; la media de log 1 y log 4 es 0.69. Así que log p(v) sube, como
# mínimo, la media de log p2(h) - log p1(h). Esa media es una cota (bound) de lo que se gana.
#
# Para calcularla hacen falta las dos Z, y con pocas ocultas se pueden sumar: si son 4, los h
# posibles son 16. Sea q(h) la parte de las veces que sale cada h con las palabras de aprender. En
# ellas, la media de log p2 - log p1 es la KL de q a p1 (celda 5) menos la KL de q a p2. La segunda
# no puede ser negativa, y es 0 cuando p2 es q. Por eso la primera es un techo: arriba no se gana
# más que lo que abajo quedó mal.
every = (states(N_SMALL) + 1) / 2                            # (2^H, H) los h posibles

def log_prior(machine):
    """log p(h) de cada uno de los `every`: exp(-E) sumado en v, y partido por Z. (2^H,)"""
    # En cada posición, el logaritmo de la suma de exp(nota). Las posiciones, dado h, no dependen
    # entre sí: se suman sus logaritmos.
    by_letter = np.logaddexp.reduce(machine.logits(every), axis=2)       # (2^H, L)
    weight = every @ machine.c + by_letter.sum(1)
    return weight - np.logaddexp.reduce(weight)

def posterior(machine, v):
    """q(h): la media, en las palabras `v`, de la probabilidad de cada h dado v. (2^H,)"""
    x = machine.inputs(v)                                    # (n, H)
    # Una oculta, encendida, pesa exp(x), y apagada, 1: se parte por la suma de los dos pesos.
    log_p = x @ every.T - np.logaddexp(0, x).sum(1, keepdims=True)       # (n, 2^H)
    return np.exp(log_p).mean(0)

lower = fresh(N_SMALL)
train(lower)
upper = RBM(lower.W, lower.b, lower.c, 8)
for step in range(STEPS):
    h = lower.up(batch())                                    # el dato de la de arriba
    v = upper.down(h)
    dream_h = upper.up(v)
    dream_v = upper.down(dream_h)
    upper.learn(v, h, dream_v, dream_h, LEARNING_RATE / 5 * (1 - step / STEPS))
seen, new = posterior(lower, data), posterior(lower, own)
change = log_prior(upper) - log_prior(lower)                 # (2^H,) log p2 - log p1
ceiling = seen @ (np.log(seen) - log_prior(lower))
assert seen @ change <= ceiling + 1e-6
print(f"\n7. DBN de {N_SMALL} ocultas: la segunda capa sube la cota {seen @ change:+.4f} nats por\n"
      f"   palabra aprendida (techo, {ceiling:.4f}) y {new @ change:+.4f} por palabra nueva")
# ¿Sirvió? Tal como viene la lección, la cota sube, también con las palabras nuevas, y llega cerca
# de su techo. Pero mira cuánto: una o dos centésimas de nat, cuando el logaritmo de la probabilidad
# de una palabra nueva es, de media, -18.6. En diez semillas, de la 0 a la 9, las palabras
# aprendidas ganaron de media 0.014 nats (desviación típica entre semillas, 0.008) y las nuevas,
# 0.016 (desviación, 0.01). En todas subieron las dos, y los techos fueron de 0.009 a 0.031. La de
# arriba aprende bien. Lo que pasa es que la de abajo le dejaba muy poco por hacer.
#
# ¿Por qué se creyó tanto en ellas? Por tres razones buenas. La primera: el artículo demuestra que,
# si la de arriba nace copia y aprende bien, la cota no baja nunca, por muchas capas que se pongan.
# La segunda: su red de dígitos escritos a mano, afinada al final con todas las capas a la vez
# (contrastive wake-sleep), los reconocía mejor que los métodos de entonces que, como ella, no
# sabían nada de imágenes. La tercera: los pesos aprendidos así, capa a capa y sin maestro
# (pre-training), servían para empezar redes que después se afinan con derivadas. Lo contaron Hinton
# y Salakhutdinov (2006), y Bengio, Lamblin, Popovici y Larochelle, «Greedy Layer-Wise Training of
# Deep Networks» (2007).
#
# Lo que no pudo: corregir a la de abajo. Lo que aprende la de arriba no cambia los pesos de la
# otra.

# %% 8. Por qué venció la retropropagación, y qué queda
# Todas estas reglas son locales: cambian un peso por lo que hay a sus dos lados. La
# retropropagación (back-propagation; Werbos, 1974; Rumelhart, Hinton y Williams, 1986) calcula la
# derivada del error respecto de cada peso, yendo del final al principio. También es local: cada
# unidad recibe de las siguientes cuánto importa su valor, lo reparte entre las anteriores, y con
# eso cada peso sabe su derivada. La diferencia es otra. La derivada de una máquina de Boltzmann es
# una media que hay que sortear: sale con ruido, y hay que esperar al equilibrio. La de la
# retropropagación sale exacta en una ida y una vuelta.
#
# ¿Por qué no bastó entonces, desde 1986? Porque yendo hacia atrás se multiplica una pendiente por
# capa. La sigmoide es la curva de la celda 5, 1 / (1 + exp(-x)), y su pendiente no pasa de 1/4.
# Tras diez capas, si los pesos no lo compensan, queda menos de una millonésima, (1/4)^10, y las
# primeras casi no se enteran de nada. Las derivadas juntas se llaman gradiente, y esto es el
# gradiente que se desvanece (vanishing gradient). Lo encontraron, en redes muy hondas o con lazos,
# Hochreiter (1991) y Bengio, Simard y Frasconi, «Learning Long-Term Dependencies with Gradient
# Descent Is Difficult» (1994). Preparar la red capa a capa era un rodeo: cada máquina aprende de la
# de debajo, sin esperar nada de arriba.
#
# El rodeo dejó de hacer falta cuando se supo hacer llegar la derivada. Ayudaron tres cosas. Una fue
# la ReLU, una función que deja igual lo positivo, con pendiente 1, y cambia lo negativo por 0
# (Glorot, Bordes y Bengio, «Deep Sparse Rectifier Neural Networks», 2011). Otra, los pesos del
# tamaño justo al nacer (lección 04). La tercera, muchos más datos con etiqueta (label), que es la
# respuesta debida.
#
# De aquella historia quedan la neurona con pesos y sesgo, el descenso por una cuesta, la capa
# oculta, softmax y la idea de aprender sin maestro. ¿Y quién calcula todas esas derivadas? La
# lección 01.

# %% Experimentos: predice antes de mirar (tal como viene, celda 6: el 94.5%)
# - N_INPUTS = 3: ¿cuántas de las tablas de tres entradas caben en una neurona? Respuesta: celda 1:
#   umbral 1: dispara 7; umbral 2: dispara 4; umbral 3: dispara 1; celda 3: aprende 104.
# - FLIPPED = 2: ¿quién aguanta mejor un cuarto de los signos mal, la tabla de Hebb, que responde de
#   una vez, o la red de Hopfield, que da vueltas? Respuesta: celda 2: acierta 104; celda 4:
#   recuerda 100.
# - FLIPPED = 3: ¿y con tres de cada ocho? Respuesta: celda 2: acierta 61; celda 4: recuerda 72.
# - LEARNING_RATE = 0.5: ¿y si la regla delta corrige demasiado? Salta de un lado a otro. Respuesta:
#   celda 3: quien espera [-1, -1, -1, 1] oye [-3.  0. -1.  2.].
# - COOLING = 6: ¿y si se enfría diez veces más deprisa? Respuesta: celda 5: si antes se enfría,
#   -8645.
# - COOLING = 600: ¿y diez veces más despacio? Respuesta: celda 5: si antes se enfría, -8821.
# - N_SMALL = 1: ¿basta una oculta para la paridad? Respuesta: celda 5: 1 ocultas 1.176 0.552 0.229
#   0.150 0.123 0.116.
# - N_SMALL = 8: con más ocultas, ¿queda más que hacer arriba? Respuesta: celda 7: sube la cota
#   +0.0160; techo, 0.0232.
# - N_HIDDEN = 16: ¿y con la octava parte de las ocultas? Respuesta: celda 6: el 93.3%.
# - LEARNING_RATE = 0.001: ¿y si aprende a medias? Respuesta: celda 6: el 86.4%; celda 7: sube la
#   cota +0.0081; techo, 0.0092.
# - STEPS = 0: ¿y si sólo sabe qué letras son frecuentes en cada posición? Respuesta: celda 6: el
#   77.8%; celda 7: sube la cota +0.0000; techo, 0.0000.

"""
00. La historia, funcionando: de la neurona de 1943 a la red profunda de 2006

Al terminar sabrás qué preguntaba cada modelo, qué supo hacer y dónde se atascó: ahí empieza el
siguiente. `python 00_history.py`, unos diez segundos; con `--steps 0`, sin entrenar, dos.
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
# (threshold), dispara un instante después.
#
# Con eso se hacen las piezas de la lógica. «a y b» es una neurona de umbral 2: necesita las dos. «a
# o b» es la misma con umbral 1: le basta una. Para «no a» hace falta algo que la encienda cuando
# `a` calla: una entrada que siempre vale 1. La última columna, «una sola», pregunta si está
# encendida `a` o lo está `b`, pero no las dos. Se llama o exclusivo (XOR), volverá a salir, y pide
# dos capas: una neurona para «a sin b», otra para «b sin a», y una tercera que las junta.
#
# No hay pesos que aprender: todas las conexiones cuentan lo mismo. Si una neurona ha de contar el
# doble para otra, se le ponen dos.
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

# Si una neurona tiene una conexión consigo misma, la red recuerda: un solo estímulo la enciende, y
# desde entonces se excita ella sola.
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
# entre las dos se refuerza. Hebb lo dijo con palabras. Escrito como cuenta: si una vale x y la otra
# vale y (+1 o -1), el peso entre las dos crece en x · y. Sube si coinciden y baja si no.
#
# Con muchas células se hace una memoria de parejas. A una lista de signos, la clave (key), le
# corresponde otra, el valor (value), que es lo que hay que recordar. La cuenta de arriba, hecha
# para cada signo de una con cada signo de la otra, da una tabla de productos (outer product). La
# memoria M es la suma de las tablas de todas las parejas. (Kohonen, «Correlation Matrix Memories»,
# y Anderson, los dos en 1972.)
#
# Para leerla se multiplica: M @ key. La arroba es el producto de matrices. Cada número del
# resultado sale de una fila de M y de la clave: se multiplican puesto a puesto y se suman los
# productos. Esa suma se llama producto escalar y se escribe con un punto: (1, 1, -1)·(1, -1, -1) =
# 1 - 1 + 1 = 1.
def states(n):
    """Las 2^n listas de `n` signos: (2^n, n)."""
    return 2 * np.array(list(np.ndindex((2,) * n))) - 1

def flip(patterns, n):
    """Copia de `patterns` (M, N) con `n` signos al azar cambiados en cada fila."""
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
# cuatro. Su producto escalar es 4 - 4 = 0: son ortogonales. Y el de una clave consigo misma es 8.
# Así que M por la primera clave da 8 veces su valor, más 0 veces los otros dos: sale limpia.
assert (keys @ M.T == 8 * values).all()                      # las tres a la vez: M.T es M de pie
# ¿Y si la clave llega con un signo mal? Con la suya coincide en 7 y difiere en 1: el 8 pasa a ser 7
# - 1 = 6. Con cada una de las otras dos, el 0 pasa a ser 2 o -2. En cada signo de la respuesta hay
# 6 a favor y, como mucho, 2 + 2 = 4 en contra: el signo aguanta, sea cual sea el que llegó mal.
spoiled = flip(keys[:1], 1)[0]
print("   la primera da", M @ keys[0], "y, con un signo mal,", M @ spoiled)
tries = np.repeat(keys, 100, axis=0)                         # (300, 8) cada clave, cien veces
due = np.repeat(values, 100, axis=0)                         # (300, 3)
answers = np.sign(flip(tries, FLIPPED) @ M.T)
recovered = (answers == due).all(1).sum()
assert FLIPPED > 1 or recovered == 300
print(f"   con {FLIPPED} de los 8 signos cambiados al azar, acierta {recovered} veces de 300")

# Una neurona sola también aprende algo. Recibe un punto x y responde con un número, y = w·x. La
# regla de Hebb le suma a los pesos rate · y · x, donde rate es una tasa pequeña. Cuanto mayores los
# pesos, mayor la respuesta, y cuanto mayor la respuesta, más crecen los pesos: se disparan. Oja,
# «Simplified Neuron Model as a Principal Component Analyzer» (1982), le pone un freno: resta rate ·
# y² · w.
#
# A lápiz, con w = (1, 0), x = (2, 1) y rate = 0.1: y = 2. Hebb suma 0.2 · (2, 1) y llega a (1.4,
# 0.2). Oja resta además 0.4 · (1, 0) y llega a (1, 0.2): mide menos, y apunta más hacia x.
def hebb(w, x, rate, brake):
    """Los pesos (d,) tras ver x (d,): los de Hebb, y con `brake` 1 los de Oja."""
    y = w @ x
    return w + rate * y * (x - brake * y * w)

start = np.array([1.0, 0.0])
stepped = [hebb(start, [2, 1], 0.1, brake) for brake in (0, 1)]
assert np.allclose(stepped, [[1.4, 0.2], [1.0, 0.2]])
# ¿Hacia dónde van los pesos? Lo enseña una nube de puntos: una nube redonda, estirada en la
# dirección (0.6, 0.8). Los puntos que caen lejos a lo largo dan una y mayor, y son los que más
# empujan. Con el freno, w acaba midiendo 1 y apuntando a lo largo de la nube, en un sentido o en el
# opuesto.
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
# El perceptrón, una neurona con pesos, es de 1958; la regla de corregir ante el error es de los
# años que siguen, como cuenta «Principles of Neurodynamics» (1962). La respuesta es el signo de
# w·x, y un maestro dice cuál debía ser, y (+1 o -1). Si acierta, no se toca nada. Si falla, a los
# pesos se les suma x cuando la respuesta debía ser +1, y se les resta cuando debía ser -1. Para esa
# x, w·x cambia entonces en x·x, que es positivo, hacia el lado bueno.
#
# A cada x se le añade un 1 al final. Su peso se llama sesgo (bias): se suma siempre, venga lo que
# venga.
def perceptron(rows, table, passes):
    """Los pesos, desde el cero, tras cada error: `passes` vueltas a rows (N, d) y table (N,)."""
    history = [0 * rows[0]]
    for _ in range(passes):
        for x, y in zip(rows, table):
            w = history[-1]
            if y * (w @ x) <= 0:                             # el otro signo, o ninguno
                history.append(w + y * x)
    return history

square = states(3)[1::2]                                     # (4, 3) dos signos, y un 1 detrás
XOR = [-1, 1, 1, -1]                                         # ¿es positivo uno solo?
rounds = perceptron(square, XOR, passes=2)                   # síguelo a lápiz: falla siempre
assert np.array_equal(rounds[:4], rounds[4:8])               # no para: no hay pesos que sirvan
print("\n3. Perceptrón con «una sola»: pesos", *rounds[:5], "y vuelta a empezar")

# ¿Y si hay pesos que sirvan? Entonces acaba, y se sabe cuándo. El tamaño (norma) de una lista es la
# raíz de la suma de sus cuadrados; sea R el de la mayor x. Sean w unos pesos que aciertan en todas.
# Su holgura (margin) es g, el menor valor de y · (w·x), partido por el tamaño de w: lo lejos que
# queda del cero la x más dudosa. Novikoff (1962) demostró que el perceptrón se equivoca como mucho
# (R / g)² veces, en cualquier orden.
#
# Una tabla es una respuesta para cada caso. Con dos entradas hay cuatro casos y 2^4 = 16 tablas.
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

# La regla delta (Widrow y Hoff, «Adaptive Switching Circuits», 1960) corrige siempre, y tanto más
# cuanto más lejos está: si el error es d = y - w·x, suma rate · d · x. Se parece a la anterior,
# pero baja por una cuesta. La cuesta es d² / 2, y su derivada respecto del peso i es -d x_i: mover
# cada peso en contra de su derivada hace menor el error. De eso trata toda la lección 01.
#
# A lápiz: con w = (0, 0, 0), x = (1, 1, 1), y = 1 y rate = 0.1, d vale 1 y cada peso pasa a ser
# 0.1. Ahora w·x es 0.3, y d ha bajado a 0.7.
def delta(w, x, y, rate):
    """Los pesos tras un paso de la regla delta."""
    return w + rate * (y - w @ x) * x

assert np.allclose(delta(np.zeros(3), np.ones(3), 1, 0.1), 0.1)
AND = [-1, -1, -1, 1]
for table in AND, XOR:
    w = np.zeros(3)
    for _ in range(100):
        for x, y in zip(square, table):
            w = delta(w, x, y, LEARNING_RATE)
    print(f"   regla delta: quien espera {table} oye {np.round(square @ w, 1)}")
# En «a y b» los cuatro signos acaban bien. En el o exclusivo no da vueltas: se queda cerca del
# cero, que es lo menos malo que puede decir una suma con pesos.
#
# Lo que no pudo: representarlo. Minsky y Papert («Perceptrons», 1969) demostraron qué no cabe en
# una sola capa de pesos, y el o exclusivo es el ejemplo más pequeño. Con una capa en medio sí cabe
# (celda 1), pero ¿quién enseña a la de en medio, si el maestro sólo dice lo que debe salir al
# final? En 1962 Rosenblatt ya mandaba las correcciones hacia atrás, a tientas: un signo no tiene
# derivada útil.

# %% 4. ¿Puede una memoria completar lo que falta? (Hopfield, 1982)
# «Neural Networks and Physical Systems with Emergent Collective Computational Abilities». Todas las
# unidades, de +1 o -1, están unidas entre sí con pesos de Hebb: W[i, j] es la suma, en todos los
# recuerdos, del producto de sus signos i y j. Cada unidad, a su turno, toma el signo de lo que
# recibe, que es la suma de las demás, cada una por su peso. Se acaba cuando ninguna quiere cambiar.
#
# ¿Por qué se acaba? A cada pareja de unidades le corresponde una energía, -W[i, j] s_i s_j: es baja
# si las dos están como pide su peso. E es la suma de la energía de todas las parejas. La fórmula
# s·(W @ s) cuenta cada pareja dos veces, y por eso lleva delante -1/2. La parte de E en que sale la
# unidad i es -s_i por lo que recibe: si toma el signo de lo que recibe, esa parte no puede subir.
# Así que E baja hasta un valle. Los recuerdos son valles.
DRAWING = ["##······  ·#######  ##····##  ##····##",
           "##······  ########  ###···##  ##····##",
           "##······  ##······  ####··##  ##····##",
           "##······  #######·  ##·##·##  ·##··##·",
           "##······  ·#######  ##··####  ·##··##·",
           "##······  ······##  ##···###  ··####··",
           "########  ########  ##····##  ··####··",
           "########  #######·  ##····##  ···##···"]

def memory(patterns):
    """Pesos de Hebb de patrones (P, N), sin que ninguna unidad se mire a sí misma: (N, N)."""
    return patterns.T @ patterns * (1 - np.eye(patterns.shape[1]))

def energy(s, W):
    """E = -1/2 s·(W @ s) de cada estado de `s` (M, N): (M,)."""
    return -0.5 * (s @ W * s).sum(1)

def settle(s, W):
    """Los estados (M, N) en que acaban los de `s`: vueltas hasta que nadie cambia."""
    s, before = s.copy(), None
    while not np.array_equal(s, before):
        before = s.copy()
        for i in rng.permutation(s.shape[1]):
            field = s @ W[i]                                 # (M,) lo que recibe la unidad i
            s[:, i] = np.where(field == 0, s[:, i], np.sign(field))
        assert (energy(s, W) <= energy(before, W)).all()     # una vuelta nunca sube
    return s

def show(patterns):
    """Dibuja en fila patrones de ±1 (M, 64); cada carácter son dos píxeles, uno sobre otro."""
    for top in range(0, 64, 16):
        line = " "
        for s in patterns > 0:
            line += "  "
            for j in range(top, top + 8):
                line += "·▀▄█"[s[j] + 2 * s[j + 8]]
        print(line)

# A lápiz: se guarda ++++, y los seis pesos valen 1. Cada pareja de signos iguales da -1, y cada
# pareja de signos distintos, +1. En ++++ son seis iguales: -6. En -+++, tres y tres: 0. En --++,
# dos iguales y cuatro distintas: 2. Y ---- vuelve a -6: quien guarda un patrón guarda también su
# negativo.
walk = np.array([[-1] * k + [1] * (4 - k) for k in range(5)])            # de ++++ a ----
hills = energy(walk, memory(walk[:1]))
assert list(hills) == [-6, 0, 2, 0, -6]
print("\n4. Hopfield guarda ++++; la energía de ++++ -+++ --++ ---+ ---- es", hills.astype(int))
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
# ¿Cuántos caben? Con N unidades y patrones al azar, cerca de 0.14 N si N es muy grande; con más, se
# estropean todos, no sólo los últimos (Amit, Gutfreund y Sompolinsky, «Storing Infinite Numbers of
# Patterns in a Spin-Glass Model of Neural Networks», 1985). Con N = 400 el borde no es tan brusco.
# Mira qué parte de los signos sigue en su sitio: si no quedara nada del recuerdo sería el 50 %.
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
# «A Learning Algorithm for Boltzmann Machines». La red es la de Hopfield, pero cada unidad se
# sortea. Si D es lo que bajaría la energía al encenderla, se enciende con probabilidad 1 / (1 +
# exp(-D / T)). Encenderla es pasar de -1 a +1, y por eso D es dos veces lo que recibe. T es la
# temperatura. Con T enorme, la probabilidad es casi 1/2, reciba lo que reciba; con T casi cero
# manda el signo, como en Hopfield.
#
# Sorteando una unidad tras otra, muchas veces, a la larga cada estado sale con una probabilidad que
# sólo depende de su energía: exp(-E / T) / Z. Z es la suma de exp(-E / T) en todos los estados:
# está para que las probabilidades sumen 1. Cuanto más baja es la energía, más a menudo sale.
def sigmoid(x):
    """1 / (1 + exp(-x)), escrita como (1 + tanh(x/2)) / 2, que es lo mismo y no se desborda."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)

def gibbs(s, W, T=1.0, first=0):
    """Copia de `s` (M, N) tras sortear, una a una, sus unidades desde `first`: una pasada."""
    s = s.copy()
    for i in range(first, s.shape[1]):
        on = sigmoid(2 * (s @ W[i]) / T)                     # (M,)
        s[:, i] = np.where(rng.random(len(s)) < on, 1, -1)
    return s

# A lápiz: dos unidades que quieren ser iguales, con peso 0.5. Iguales, E = -0.5; distintas, E =
# 0.5. Con T = 1, exp(0.5) = 1.649 y exp(-0.5) = 0.607; Z = 2 · 1.649 + 2 · 0.607 = 4.511. Cada
# estado de iguales sale 1.649 / 4.511 = 0.366, y cada uno de distintas, 0.134.
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
# muchos.
full = memory(random_signs(50, 100))
s = random_signs(40, 100)
fast = energy(settle(s, full), full).mean()
for T in np.linspace(150, 5, COOLING):
    s = gibbs(s, full, T)
slow = energy(settle(s, full), full).mean()
print(f"   energía media: si se baja sin más, {fast:.0f}; si antes se enfría, {slow:.0f}")

# Lo más nuevo es cómo aprende. Unas unidades son los datos: las visibles. Otras son ocultas
# (hidden): ningún dato dice cuánto valen, y la red las usa como le conviene. Se quiere que,
# sorteando, las visibles salgan como en los datos. Lo que falta se mide con la divergencia de
# Kullback y Leibler (KL): la media, en los datos, del logaritmo de un cociente, la probabilidad que
# tienen en los datos entre la que les da la red. Si son la misma, el logaritmo de 1 es 0, y KL es
# 0; si no, KL es mayor. El logaritmo es el natural, y su unidad se llama nat: un dato que la red ve
# e = 2.718 veces menos de lo debido cuesta 1 nat.
#
# ¿Cómo se baja KL? La derivada de -KL respecto de W[i, j] es una resta de dos medias del mismo
# producto, s_i s_j. La primera, con las visibles fijas (clamped) en los datos y las ocultas
# sorteadas; la segunda, con toda la red en libertad. Si con los datos las dos unidades coinciden
# más que cuando la red sueña, su peso sube. Cada peso mira sólo las dos unidades que une.
#
# El ejemplo es la paridad: de los ocho estados de tres signos, los cuatro cuyo producto es 1. En
# ellos, dos signos cualesquiera coinciden la mitad de las veces: mirando parejas no se ve nada. Las
# unidades 1 a 3 son las visibles. La 0 está siempre en 1, y sus pesos hacen de sesgos.
parity = states(3)[states(3).prod(1) == 1]                   # (4, 3)
assert (parity.T @ parity == 4 * np.eye(3)).all()            # x·x' = 0 para dos columnas distintas

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
    return kl, s.T @ (s * (clamped - free)[:, None])

# ¿Es esa resta la derivada? Se mueve un peso un poco a cada lado y se mira cuánto cambia KL.
probe = memory(0.4 * random_signs(4, 6))                     # unos pesos simétricos cualesquiera
bump = 0 * probe
bump[2, 5] = bump[5, 2] = 1e-5                               # une la visible 2 y la oculta 5
drop = exact(probe - bump)[0] - exact(probe + bump)[0]
rule = exact(probe)[1][2, 5]
assert abs(drop / 2e-5 - rule) < 1e-7
print(f"   derivada de -KL: según la regla, {rule:.6f}; midiendo, {drop / 2e-5:.6f}")

# Sumar todos los estados sólo se puede en una red diminuta. Las demás sortean: aquí, 400 cadenas
# con los datos fijos, en que se sortean sólo las ocultas, y otras 400 libres, que siguen de paso en
# paso.
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
# Sin ocultas se queda en log 2, como tenía que ser. Con cuatro suele bajar de 0.1: en nueve de diez
# semillas, de la 0 a la 9; con la 0 se atasca en 0.60, porque también al aprender hay valles malos.
#
# Lo que no pudo: ir deprisa. Cada paso sortea unidad a unidad, y las cadenas libres van con
# retraso: tardan en olvidar los pesos de antes.

# %% 6. ¿Y si las de una capa no se hablan? (Smolensky, 1986; Hinton, 2002)
# Si dentro de una capa no hay conexiones, sus unidades no dependen unas de otras, y toda la capa se
# sortea de un golpe. Es la máquina restringida (restricted Boltzmann machine, RBM; Smolensky la
# llamó «harmonium»). Hinton, «Training Products of Experts by Minimizing Contrastive Divergence»,
# añadió un atajo: en vez de esperar al equilibrio, basta un viaje de ida y vuelta desde el dato
# (CD-1).
#
# Aquí las unidades ya no valen +1 o -1, sino 1 o 0. Lo visible, `v`, es una palabra. En cada una de
# sus L posiciones hay V unidades, una por letra posible, y sólo vale 1 la de su letra (one-hot). Lo
# oculto es `h`, con H unidades. La energía es E = -b·v - c·h - v·(W @ h): b y c son los sesgos, y W
# une cada letra de cada posición con cada oculta.
#
# Para sortear h cuando se sabe v: encender una oculta baja la energía en x = c + v·w, donde w son
# sus pesos, y se enciende con probabilidad 1 / (1 + exp(-x)), como en la celda 5. Para sortear v
# cuando se sabe h: cada letra de cada posición recibe una nota (logit), que es su sesgo más los
# pesos de las ocultas encendidas. Su probabilidad es exp(nota) entre la suma de exp(nota) de todas
# las letras de esa posición. Esa cuenta se llama softmax, y volverá en casi todas las lecciones.
#
# ¿Qué probabilidad da a una palabra, venga h como venga? La suma, en todos los h, de exp(-E) / Z.
# Esa suma se escribe exp(-F), y F(v) se llama energía libre (free energy). Con una sola oculta son
# dos sumandos. Si h = 0, exp(b·v); si h = 1, exp(b·v + x). Suman exp(b·v) · (1 + exp(x)). Con más
# ocultas, cada una multiplica por su propio (1 + exp(x)), y el logaritmo convierte los productos en
# sumas: F = -b·v - la suma de log(1 + exp(x)). A menos energía libre, más probable la palabra.
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
# estados, tres tienen energía 0 y pesan exp(0) = 1; el cuarto, la segunda letra con la oculta
# encendida, pesa exp(2) = 7.389. La segunda letra sale (1 + 7.389) / (3 + 7.389) = 0.807 veces.
tiny = RBM([[0.0], [2.0]], [0.0, 0.0], [0.0], 1)
assert np.allclose(np.exp(-tiny.free_energy(np.eye(2))), [2, 8.389], 1e-3)
second = tiny.dreams(20_000)[:, 1].mean()
assert abs(second - 0.807) < 0.03
print(f"\n6. RBM mínima: en sus sueños, la segunda letra sale {second:.3f} veces (exacto, 0.807)")

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
# ¿Ha aprendido algo que valga para palabras nuevas? A cada palabra que no vio se la compara con sus
# mismas letras en otro orden: ¿cuál tiene menos energía libre? Z no hace falta: es la misma en las
# dos.
gap = wide.free_energy(mixed) - wide.free_energy(own)        # (m,)
print(f"   RBM de 8 x {V} + {N_HIDDEN}: aprende con {len(data)} palabras; de otras {len(own)},\n"
      f"   el {(gap > 0).mean():.1%} tiene menos energía libre que con sus letras barajadas")
print("   sueña", spell(wide.dreams(8)))
# Lo que no pudo: ir más hondo. Sus ocultas también siguen una pauta (unas se encienden juntas,
# otras nunca), y no hay nadie encima que la aprenda.

# %% 7. ¿Y una máquina sobre otra? (Hinton, Osindero y Teh, 2006)
# «A Fast Learning Algorithm for Deep Belief Nets». La máquina de abajo, `lower`, ya ha aprendido:
# dada una palabra, sortea h. Se la deja quieta. La de arriba, `upper`, nace como copia suya y
# aprende a soñar esos h: ahora el dato es h. Las dos juntas son una red de creencia profunda (deep
# belief net, DBN): sueña h con la de arriba y, con ese h, la de abajo escribe la palabra.
#
# ¿Se gana algo? Para la máquina de abajo, la probabilidad de una palabra es la suma, en todos los
# h, de p1(h) · p(v | h): primero sale h, y luego v cuando ya se tiene h. La de arriba cambia sólo
# el primer factor, que pasa a ser p2(h). El logaritmo de una media nunca es menor que la media de
# los logaritmos; de ahí sale que log p(v) sube, como mínimo, la media de log p2(h) - log p1(h), con
# los h que se sortean dado v. Esa media es una cota (bound) de lo que se gana.
#
# Para calcularla hacen falta las dos Z, y con pocas ocultas se pueden sumar: si son 4, los h
# posibles son 16. Sea q(h) la parte de las veces que sale cada h con las palabras de aprender. La
# media de log p2 - log p1 tiene un techo, al que se llega cuando p2 es q. El techo es la
# divergencia de q a p1: arriba no se gana más que lo que abajo quedó mal.
every = (states(N_SMALL) + 1) / 2                            # (2^H, H) los h posibles

def log_prior(machine):
    """log p(h) de cada uno de los `every`: exp(-E) sumado en v, y partido por Z. (2^H,)"""
    by_letter = np.logaddexp.reduce(machine.logits(every), axis=2)       # (2^H, L)
    weight = every @ machine.c + by_letter.sum(1)
    return weight - np.logaddexp.reduce(weight)

def posterior(machine, v):
    """q(h): la media, en las palabras `v`, de la probabilidad de cada h dado v. (2^H,)"""
    x = machine.inputs(v)                                    # (n, H)
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
# ¿Sirvió? Sube, también con las palabras nuevas, y llega cerca de su techo. Pero mira cuánto: una o
# dos centésimas de nat, cuando el logaritmo de la probabilidad de una palabra nueva es, de media,
# -18.6. En diez semillas, de la 0 a la 9, las palabras aprendidas ganaron de media 0.014 nats
# (desviación típica entre semillas, 0.008) y las nuevas, 0.016 (desviación, 0.01). En todas
# subieron las dos, y los techos fueron de 0.009 a 0.031. La de arriba aprende bien. Es que la de
# abajo le dejaba muy poco por hacer.
#
# ¿Por qué se creyó tanto en ellas? Por tres razones buenas. El artículo demuestra que, si la de
# arriba nace copia y aprende bien, la cota no baja nunca, por muchas capas que se pongan. Su red de
# dígitos escritos a mano, afinada al final con todas las capas a la vez (contrastive wake-sleep),
# los reconocía mejor que los métodos de entonces. Y los pesos aprendidos así, capa a capa y sin
# maestro (pre-training), servían para empezar redes que después se afinan con derivadas: Hinton y
# Salakhutdinov (2006), y Bengio, Lamblin, Popovici y Larochelle, «Greedy Layer-Wise Training of
# Deep Networks» (2007).
#
# Lo que no pudo: corregir a la de abajo. Lo que aprende la de arriba no cambia los pesos de la
# otra.

# %% 8. Por qué venció la retropropagación, y qué queda
# Todas estas reglas son locales: cambian un peso por lo que hay a sus dos lados. La
# retropropagación (back-propagation; Werbos, 1974; Rumelhart, Hinton y Williams, 1986) también lo
# es: cada unidad recibe de las siguientes cuánto importa su valor, lo reparte entre las anteriores,
# y con eso cada peso sabe su derivada. La diferencia es otra. La derivada de una máquina de
# Boltzmann es una media que hay que sortear: sale con ruido, y hay que esperar al equilibrio. La
# otra sale exacta en una ida y una vuelta.
#
# ¿Por qué no bastó entonces, desde 1986? Porque yendo hacia atrás se multiplica una pendiente por
# capa, y la de la sigmoide no pasa de 1/4. Tras diez capas, si los pesos no lo compensan, queda
# menos de una millonésima, (1/4)^10, y las primeras no se enteran de nada. Es el gradiente que se
# desvanece (vanishing gradient): lo encontraron, en redes muy hondas o con lazos, Hochreiter (1991)
# y Bengio, Simard y Frasconi, «Learning Long-Term Dependencies with Gradient Descent Is Difficult»
# (1994). Preparar la red capa a capa era un rodeo: cada máquina aprende de la de debajo, sin
# esperar nada de arriba.
#
# El rodeo dejó de hacer falta cuando se supo hacer llegar la derivada: con una activación de
# pendiente 1, la ReLU (Glorot, Bordes y Bengio, «Deep Sparse Rectifier Neural Networks», 2011), con
# pesos del tamaño justo al nacer (lección 04) y con muchos más datos con etiqueta. De aquella
# historia quedan la neurona con pesos y sesgo, el descenso, la capa oculta, softmax y la idea de
# aprender sin maestro. ¿Y quién calcula todas esas derivadas? La lección 01.

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
#   +0.0160 (techo, 0.0232).
# - N_HIDDEN = 16: ¿y con la octava parte de las ocultas? Respuesta: celda 6: el 93.3%.
# - LEARNING_RATE = 0.001: ¿y si aprende a medias? Respuesta: celda 6: el 86.4%; celda 7: sube la
#   cota +0.0081 (techo, 0.0092).
# - STEPS = 0: ¿y si sólo sabe qué letras son frecuentes en cada posición? Respuesta: celda 6: el
#   77.8%; celda 7: sube la cota +0.0000 (techo, 0.0000).

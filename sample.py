"""
sample.py: hacer hablar a cualquiera de los modelos del curso

Al terminar sabrás en qué se distingue usar un modelo de entrenarlo: sin gradientes
basta numpy, y el modelo es una función de sus pesos. (PyTorch sólo lee el fichero,
compara y sortea.) Verás qué hacen la temperatura y top-k, y cómo se pliega un
BatchNorm. Y verás cómo, con una memoria (cache), un carácter le cuesta al GPT, de
media, una o dos posiciones, y no una ventana entera.

    python sample.py models/sonetos.pt                       uno que viene con el curso
    python sample.py ckpt.pt --prompt "# Soneto: " --num 3   el tuyo, tres veces
    python sample.py ckpt_wavenet.pt --temperature 0.5       pueblos prudentes

El texto va a la salida normal (stdout) según se escribe, y lo demás a la de
errores (stderr): con «> versos.txt» se guarda sólo el texto.
"""
import argparse
import math
import os
import re
import signal
import sys
import time
import unicodedata
import warnings
from pathlib import Path

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
CKPT = "ckpt.pt"   # punto de control (checkpoint) de 02 a 06; en la terminal, con o sin --ckpt
PROMPT = ""        # comienzo del texto; si lleva un guion delante, --prompt=-Hola
LENGTH = 500       # caracteres que se añaden a cada texto
NUM = 1            # textos que se generan, todos a la vez
TEMPERATURE = 0.7  # menos de 1, más prudente; más de 1, más atrevida; 1, la del modelo
TOP_K = 0          # sortear sólo entre los k caracteres más probables (0: entre todos)
SEED = -1          # semilla del azar: con lo demás igual, el mismo texto (-1: otra cada vez)

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
    options.add_argument("CKPT", nargs="?", metavar="ckpt", default=argparse.SUPPRESS,
                         help="lo mismo que --ckpt")
    globals().update(vars(options.parse_args()))

# %% Bibliotecas, tras las opciones porque tardan un segundo en llegar
os.environ["OPENBLAS_NUM_THREADS"] = "1"                     # repartir tan poco trabajo sale caro
import numpy as np
import torch

# %% 1. De las notas a la probabilidad
# Un modelo da una nota (logit) a cada carácter que podría seguir, y el softmax (lección 01) hace de
# ellas probabilidades. Antes, las notas se dividen por la temperatura. Con una cercana a 0, las
# probabilidades se separan, y gana casi siempre la nota mayor; con 1, el modelo habla como
# aprendió; con una muy alta se juntan, y los caracteres casi se igualan. Hinton et al., «Distilling
# the Knowledge in a Neural Network» (2015), ecuación 1. Con top-k sólo se sortea entre las k notas
# mayores (si empatan, quedan todas): no salen los caracteres menos probables. Fan et al.,
# «Hierarchical Neural Story Generation» (2018). Con k = 1 sale siempre el más probable (greedy). En
# las formas, K son los textos que se escriben a la vez, y V, los caracteres del vocabulario.
# A mano, con notas 2, 1 y 0: e² = 7.39, e = 2.72 y 1 suman 11.11, luego 67 %, 24 % y 9 %. Con
# temperatura 1/2 las notas pasan a ser 4, 2 y 0, y salen 87 %, 12 % y 2 %. Con temperatura 1 y
# top-k 2 sólo quedan 7.39 y 2.72, que suman 10.11: 73 % y 27 %.
# Restar antes a todas la nota mayor no cambia las probabilidades, y así ninguna e^nota se desborda.
def softmax(scores):
    """e^nota, repartido para que sume 1 en el último eje: (..., n) -> (..., n)."""
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)

def probabilities(logits, temperature, top_k):
    """softmax(logits / temperature) de las `top_k` notas mayores (0: todas): (K, V) -> (K, V)."""
    logits = np.float64(logits)                              # en float32, 2 / 1e-40 no cabe
    if 0 < top_k < logits.shape[1]:
        least = np.sort(logits)[:, -top_k, None]             # (K, 1) la k-ésima mayor
        logits = np.where(logits < least, -np.inf, logits)
    return softmax(logits / temperature)

three = np.array([[2.0, 1.0, 0.0]])                          # (1, V) notas
assert np.allclose(probabilities(three, 1, 0), [0.67, 0.24, 0.09], atol=0.005)
assert np.allclose(probabilities(three, 1, 2), [0.73, 0.27, 0], atol=0.005)

if not 0 < TEMPERATURE < math.inf:
    sys.exit(f"error: TEMPERATURE debe ser un número positivo, no {TEMPERATURE}")
if min(LENGTH, NUM) < 1 or TOP_K < 0 or SEED >= 2**63:
    sys.exit("error: LENGTH y NUM deben ser 1 o más; TOP_K, 0 o más; SEED, menor que 2^63")


# %% 2. Los modelos que aprendieron línea a línea: bigrama, MLP y BatchNorm
# Cada modelo es una función de sus pesos, un diccionario `w`, y de su configuración `c`: recibe los
# ids de K textos y da las notas del carácter que sigue a cada uno. En `memory`, un diccionario que
# nace vacío, deja lo que le ahorrará trabajo la próxima vez. Todo son arrays de numpy, y tabla[ids]
# son las filas de esos ids. Dropout no aparece: al usar un modelo no se apaga nada (lección 05).
# Los modelos de 02 a 05 aprendieron de un texto en que cada línea es un ejemplo (un pueblo). El fin
# de línea, «\n», es la frontera. Estos modelos no ven lo que hay antes de la última frontera del
# texto, y lo que les falta por la izquierda se rellena con fronteras. Con un contexto de 4 y una
# frontera de id 0, de [7, 0, 5] ven [0, 0, 0, 5].
def bigram(w, c, ids, memory):
    """Notas del carácter que sigue al último de `ids` (K, n): (K, V)."""
    return w["log_p"][ids[:, -1]]                            # log p: softmax lo devuelve a p

def preceded(ids, times, value):
    """`ids` (K, n), con `times` veces `value` delante: (K, times + n)."""
    return np.concatenate([np.full((len(ids), times), value), ids], 1)

def context(table, c, ids):
    """Los vectores de los T últimos de `ids` (K, n), uno tras otro: (K, T * C)."""
    T = c["block_size"]
    boundary = c["boundary"]
    x = preceded(ids[:, -T:], T, boundary)[:, -T:]                                # (K, T)
    for i in range(1, T):                                    # una frontera borra su izquierda
        x[x[:, i] == boundary, :i] = boundary
    return table[x].reshape(len(x), -1)

def mlp(w, c, ids, memory):
    """Notas del carácter que sigue a `ids` (K, n): (K, V). Bengio et al. (2003), ecuación 1."""
    x = context(w["C"], c, ids)                # (K, T * C); w["C"] es la tabla de la lección 03
    h = np.tanh(x @ w["W1"] + w["b1"])                                            # (K, H)
    return h @ w["W2"] + w["b2"]

# Al usar un modelo, BatchNorm (lección 04) ya no mira el lote: resta una media fija μ, divide por
# una desviación fija σ, multiplica por γ y suma β (Ioffe y Szegedy, 2015, algoritmo 2). Detrás de
# una capa lineal W x queda γ (W x - μ) / σ + β, que es (γ / σ) W x + (β - γ μ / σ): otra capa
# lineal, de pesos (γ / σ) W. Se calcula una vez y BatchNorm desaparece: se ha plegado (fold). (La
# WaveNet no lo pliega: su BatchNorm va delante de la lineal, y lo que da entra en la cola.) A la
# varianza, σ², se le suma 1e-5 para no dividir por cero.
def linear(w, name, x):
    """La capa lineal `name`: (..., entrada) -> (..., salida)."""
    return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)

def batch_norm(w, name):
    """Por cuánto multiplica, y cuánto suma, el BatchNorm `name` al usarlo: (C,) y (C,)."""
    sigma = (w[name + ".running_var"] + 1e-5)**0.5                                # (C,)
    scale = w[name + ".weight"] / sigma                                           # (C,)
    return scale, w[name + ".bias"] - scale * w[name + ".running_mean"]

# En el modelo de la lección 04 los pesos llevan el número de su capa. La 0 son los vectores, y la 1
# los pone en fila. Luego, cada capa oculta son tres: una lineal (sin sesgo), su BatchNorm y una
# tanh. La última, que aquí se llama head, da las notas. Así, detrás de la lineal `i` viene el
# BatchNorm i + 1.
def fold(w, i):
    """La capa lineal `i`, ya con el BatchNorm que la sigue: pesos (H, entrada) y sesgo (H,)."""
    scale, shift = batch_norm(w, f"{i + 1}")                                      # (H,) cada uno
    return scale[:, None] * w[f"{i}.weight"], shift

# A mano, con W = 2, μ = 3, σ = 2, γ = 10 y β = 1. Si x = 1, W x es 2, y sale 10 · (2 - 3) / 2 + 1 =
# -4. La plegada tiene peso 10 / 2 · 2 = 10 y sesgo 1 - 10 · 3 / 2 = -14, y 10 · 1 - 14 = -4.
toy = {
    "2.weight": np.array([[2.0]]),                           # W
    "3.weight": np.array([10.0]),                            # γ
    "3.bias": 1.0,                                           # β
    "3.running_mean": 3.0,                                   # μ
    "3.running_var": 4.0,                                    # σ²
}
weight, bias = fold(toy, 2)                                  # (1, 1), (1,)
assert np.allclose(weight + bias, -4, atol=1e-3)             # x = 1

def batchnorm(w, c, ids, memory):
    """Notas del carácter que sigue a `ids` (K, n): (K, V). En `memory`, las capas plegadas."""
    head = 2 + 3 * c["n_layer"]                              # dos, y tres por capa oculta
    if not memory:
        memory["folded"] = [fold(w, i) for i in range(2, head, 3)]
    x = context(w["0.weight"], c, ids)                                            # (K, T * C)
    for weight, bias in memory["folded"]:
        x = np.tanh(x @ weight.T + bias)                                          # (K, H)
    return linear(w, str(head), x)


# %% 3. WaveNet, con memoria
# Cada capa de la WaveNet (lección 05) combina lo que vale en un puesto con lo que valía d puestos
# antes. El pasado no se rehace: basta guardar, en cada capa, los d últimos valores que entraron, ya
# normalizados, en una cola (queue): por un extremo entra el nuevo, y por el otro sale el de hace d
# caracteres. Con d = 2 y la cola [p, q], llega r: se combina con p, que es el de hace dos, y queda
# [q, r]. Luego llega s, se combina con q, y queda [r, s]. Paine et al., «Fast Wavenet Generation
# Algorithm» (2016).
# Al llegar una frontera, la cola de ese texto se llena con lo que la frontera vale en esa capa: es
# como si antes de una línea todo fueran fronteras (lección 05).
def wavenet(w, c, ids, memory):
    """Notas del carácter que sigue a `ids` (K, n): (K, V). En `memory`, la cola de cada capa."""
    text = ids[:, memory.get("seen", 0):]                                         # (K, nuevos)
    if not memory:
        text = preceded(text, 1, c["boundary"])              # antes de empezar, una frontera
    memory["seen"] = ids.shape[1]
    for x in text.T:                                         # (K,) un carácter de cada texto
        heard = 0
        h = w["token.weight"][x]                                                  # (K, C)
        edge = (x == c["boundary"])[:, None]                                      # (K, 1)
        for i, d in enumerate(c["dilations"]):
            scale, shift = batch_norm(w, f"norm.{i}")
            z = scale * h + shift                                                 # (K, C)
            queue = memory.get(i, [z] * d)                                        # d de (K, C)
            queue = [np.where(edge, z, old) for old in queue]
            memory[i] = queue[1:] + [z]
            both = np.concatenate([queue[0], z], 1)                               # (K, 2C)
            z = linear(w, f"conv.{i}", both)                                      # (K, H) o (K, 2H)
            if c["gated"]:
                z, gate = np.split(z, 2, 1)                                       # (K, H) cada una
                z = np.tanh(z) / (1 + np.exp(-gate))         # tanh por sigmoide
            else:
                z = np.tanh(z)
            if c["skip"]:
                heard = heard + linear(w, f"skip.{i}", z)                         # (K, 2C)
            if f"mix.{i}.weight" in w:
                mixed = linear(w, f"mix.{i}", z)                                  # (K, C)
                h = h + mixed if c["residual"] else mixed
    out = heard if c["skip"] else h
    return linear(w, "head", np.maximum(out, 0))


# %% 4. GPT, con memoria
# La misma cuenta que en 06_gpt.py, sin clases. Sean width los caracteres de la ventana, m las
# posiciones que se calculan de una vez, H las cabezas y d los números de cada pregunta. Cuando
# llega un carácter nuevo, las claves y los valores de los anteriores no cambian, porque nadie ve el
# futuro. Por eso se guardan, y sólo se calculan los del nuevo: m es 1 (Shazeer, «Fast Transformer
# Decoding», 2019, apartado 2.4). Cada carácter cuesta así una posición y no la ventana entera,
# aunque esa posición mire a todas las guardadas.
# ¿Y al llenarse la ventana? Hay que soltar los caracteres más viejos. Pero lo guardado de los demás
# se calculó viéndolos: ya no vale, y hay que recalcularlo. Si se soltaran de uno en uno, se
# recalcularía la ventana entera con cada carácter. Por eso se suelta de golpe la mitad más vieja.
# La otra mitad se recalcula, y queda sitio para escribir otros tantos caracteres antes de volver a
# hacerlo. Por cada carácter escrito se ha recalculado otro: salen a dos posiciones por carácter. A
# cambio, el modelo ve a veces sólo media ventana. 06_gpt.py, una vez llena la primera, ve siempre
# una entera. Por eso, desde ahí, no escriben lo mismo aunque tengan la misma semilla.

# LayerNorm (lección 06, celda 6) resta la media, divide por la desviación, y acaba con ganancia y
# sesgo. Una vez restada la media, la desviación es la raíz de la media de los cuadrados. Dividir
# por esa raíz sin restar nada es lo que QK_NORM hace con preguntas y claves. `eps` evita dividir
# por cero.
def unit(x, eps):
    """`x`, dividido por la raíz de la media de sus cuadrados: (..., C) -> (..., C)."""
    mean_square = np.vecdot(x, x)[..., None] / x.shape[-1]                        # (..., 1)
    return x / (mean_square + eps)**0.5

def norm(w, name, x):
    """LayerNorm de cada posición, si el modelo la lleva: (..., C) -> (..., C)."""
    if name + ".weight" not in w:
        return x
    x = x - x.mean(-1, keepdims=True)
    return unit(x, 1e-5) * w[name + ".weight"] + w[name + ".bias"]

# Girar (a, b) un ángulo es multiplicar el número complejo a + b·i por cos(ángulo) + i·sen(ángulo).
# Ese segundo número se escribe también e^(i·ángulo), y en Python i es 1j. Como en 06_gpt.py, cada
# pareja la forman un canal de la primera mitad y el que está d/2 más allá. Un complejo se guarda
# como dos números seguidos, y view vuelve a verlos como dos. Así los canales quedan en otro orden,
# pero es el mismo en preguntas y claves, y el producto escalar no cambia.
def clock(first, width, d):
    """Lo que multiplica a cada pareja en las posiciones `first` a `width` - 1: (m, d / 2)."""
    speed = 10_000 ** (-np.arange(0, d, 2) / d)                                   # (d / 2,)
    angle = np.arange(first, width)[:, None] * speed                              # (m, d / 2)
    return np.complex64(np.exp(1j * angle))

def rotate(x, turn):
    """Gira las parejas de `x` (..., m, d), con `turn` (m, d / 2), que es lo que da `clock`."""
    a, b = np.split(x, 2, -1)                                            # (..., m, d / 2) cada una
    z = (a + 1j * b) * turn                                                       # (..., m, d / 2)
    return z.view("float32")                                                      # (..., m, d)

# En `saved` están las claves y los valores que ya tiene una capa. También hay sitio para los de las
# posiciones que se calculan ahora, de `first` en adelante. Los nombres de los pesos de un bloque
# empiezan por `block`. Si se calcula la ventana desde su comienzo hace falta la máscara: np.tri da
# unos hasta la diagonal. Si se calcula sólo la última posición, no: puede mirarlas todas.
def attention(w, c, block, x, turn, saved, first):
    """Atención de `x` (K * m, C) a sí misma y a lo guardado: (K * m, C). Vaswani, ecuación 1."""
    _, K, H, width, d = saved.shape
    x = norm(w, block + "norm_1", x)
    qkv = linear(w, block + "attention.qkv", x)                                   # (K * m, 3 * C)
    qkv = qkv.reshape(K, -1, 3, H, d).transpose(2, 0, 3, 1, 4)                    # (3, K, H, m, d)
    qk, v = qkv[:2], qkv[2]
    if c["qk_norm"]:                                         # como en 06_gpt.py: de largo √d
        qk = unit(qk, 1e-7)
    if c["rotary"]:
        qk = rotate(qk, turn)
    q, k = qk                                                                     # (K, H, m, d)
    saved[..., first:, :] = k, v
    k, v = saved                                                                  # (K, H, width, d)
    scores = q @ k.mT / d**0.5                                                    # (K, H, m, width)
    if first == 0:
        scores = np.where(np.tri(width), scores, -np.inf)
    y = softmax(scores) @ v                                                       # (K, H, m, d)
    y = y.swapaxes(1, 2).reshape(x.shape)                                         # (K * m, C)
    return linear(w, block + "attention.mix", y)

def feed_forward(w, c, block, x):
    """Dos capas y una ReLU en cada posición: (K * m, C) -> (K * m, C)."""
    x = norm(w, block + "norm_2", x)
    x = np.maximum(linear(w, block + "feed_forward.0", x), 0)                     # (K * m, 4 * C)
    return linear(w, block + "feed_forward.2", x)

# Cada tabla tiene `rows` filas, y la de un grupo es el resto de dividir su número entre `rows`
# (lección 06, celda 8). Con o 1, m 2 y a 3, el número de «oma» es 3 + 2 · 1000 + 1 · 1000². Se
# parte del id de la última letra; se suma el de la anterior por 1000, y ya es el número de «ma».
# Después se suma el de la que está dos antes por 1000², y es el de «oma». Las tablas van una debajo
# de otra: para llegar a una hay que saltar las filas de las anteriores.
def ngrams(w, c, window, first):
    """Lo que dicen las tablas en los puestos de `window` (K, width) desde `first`: (K, m, C)."""
    most = c["ngrams"]
    rows = c["rows"]
    padded = preceded(window, most, 0)                       # (K, most + width): antes, el id 0
    number = window[:, first:]                                                    # (K, m)
    said = 0                                                 # sin tablas, nada
    for back in range(1, most):
        earlier = padded[:, most + first - back:-back]       # el de `back` puestos antes
        number = number + earlier * 1000**back                                    # (K, m)
        row = rows * (back - 1) + number % rows                                   # (K, m)
        said = said + w["ngrams.weight"][row]                                     # (K, m, C)
    return said

def gpt(w, c, ids, memory):
    """Notas del carácter que sigue a `ids` (K, n): (K, V). En `memory`, claves y valores."""
    T = c["block_size"]
    H = c["n_head"]
    d = c["n_embd"] // H
    half = T - T // 2
    over = max(0, ids.shape[1] - T)                          # caracteres que no caben
    start = half * math.ceil(over / half)                    # se sueltan mitades enteras
    window = ids[:, start:]                                                       # (K, width)
    width = window.shape[1]
    first = width - 1                                        # primera posición por calcular
    if memory.get("seen") != (start, first):                 # lo guardado no llega justo a `first`
        first = 0
        memory["saved"] = np.empty((c["n_layer"], 2, len(ids), H, T, d), "float32")
    memory["seen"] = start, width
    saved = memory["saved"][..., :width, :]                  # (capas, 2, K, H, width, d)
    x = w["token.weight"][window[:, first:]]                                      # (K, m, C)
    if not c["rotary"]:
        x = x + w["position.weight"][first:width]
    x = x + ngrams(w, c, window, first)
    x = x.reshape(-1, H * d)                                                      # (K * m, C)
    turn = clock(first, width, d)                                                 # (m, d / 2)
    for i in range(c["n_layer"]):
        block = f"blocks.{i}."
        y = attention(w, c, block, x, turn, saved[i], first)
        x = x + y if c["residual"] else y
        if c["feed_forward"]:
            y = feed_forward(w, c, block, x)
            x = x + y if c["residual"] else y
    m = width - first
    return linear(w, "head", norm(w, "norm", x[m - 1::m]))   # (K, V) la última de cada texto


# %% 5. Leer un modelo, y probarlo antes de creerlo
# Un fichero ajeno puede traer cualquier cosa. Con `weights_only`, PyTorch lee sólo tensores y
# valores sencillos, y no ejecuta nada de lo que el fichero traiga. (En versiones anteriores a la
# 2.10 se encontró cómo burlarlo; en la de requirements.txt, que sepamos, no.) Lo demás se ve
# usándolo. Se le da cada carácter por su cuenta, y debe dar una nota finita a cada uno de los V. Se
# le da también un texto al azar que llena la ventana y pasa de ella, con memoria y sin ella, y las
# notas deben coincidir. Si algo falla, el fichero está dañado o no es de este curso. Si nada falla,
# se puede usar; que escriba bien es otra cosa.
MODELS = {
    "bigram": bigram,
    "mlp": mlp,
    "batchnorm": batchnorm,
    "wavenet": wavenet,
    "gpt": gpt,
}

def read(path):
    """El modelo guardado en `path`: su función, sus pesos, su configuración y su vocabulario."""
    checkpoint = torch.load(path, "cpu", weights_only=True)
    if checkpoint["format"] != 1 or checkpoint["config"].get("square"):
        raise ValueError("otro formato")                     # square: ReLU al cuadrado, ya sin uso
    chars = checkpoint["chars"]
    c = {**checkpoint["config"], "boundary": chars.find("\n")}
    w = {name: weight.float().numpy() for name, weight in checkpoint["weights"].items()}
    return MODELS[checkpoint["model"]], w, c, chars

def prove(forward, w, c, chars):
    """Da un error, el que sea, si el modelo no se puede usar o su memoria dice otra cosa."""
    chars.encode()                                           # ¿se pueden escribir todos?
    V = len(chars)
    T = c.get("block_size", 1)
    for i in range(V):
        alone = forward(w, c, np.array([[i]]), {})                                # (1, V)
        if alone.shape != (1, V) or not np.isfinite(alone).all():
            raise ValueError("no da una nota por carácter")
    memory = {}
    text = np.random.randint(V, size=(1, T + 2))
    for n in range(T, T + 3):                                # llena, soltando media, y uno más
        whole = forward(w, c, text[:, :n], {})                                    # (1, V)
        cached = forward(w, c, text[:, :n], memory)                               # (1, V)
        torch.testing.assert_close(cached, whole, rtol=0, atol=0.01)

warnings.simplefilter("ignore")                              # torch avisa de ficheros raros
if not Path(CKPT).is_file():
    sys.exit(f"error: no hay ningún fichero «{CKPT}». Prueba models/poesia.pt, o python 06_gpt.py")
try:
    forward, w, c, chars = read(CKPT)
    prove(forward, w, c, chars)
except Exception as e:                                       # hay mil maneras de estar dañado
    sys.exit(f"error: «{CKPT}» está dañado, o no es un modelo de este curso en su versión de hoy: "
             f"vuelve a entrenarlo ({type(e).__name__})")

# %% 6. Generar
# Un carácter cada vez: notas, probabilidades, sorteo, y el elegido pasa a ser contexto. Los textos
# van juntos en un lote (batch); el primero se ve salir, los demás esperan. El sitio de todos los
# caracteres se reserva al empezar: así no hay que copiar el texto cada vez que crece.
prompt = unicodedata.normalize("NFC", PROMPT)                # como los textos de las lecciones
for char in prompt:
    if char not in chars:
        sys.exit(f"error: este modelo no conoce {char!r} (U+{ord(char):04X}): no salía en su texto")
rng = torch.Generator()
seed = SEED if SEED >= 0 else rng.seed() % 2**32
rng.manual_seed(seed)
opening = prompt or ("\n" if "\n" in chars else chars[0])
begun = len(opening)
ids = np.zeros((NUM, begun + LENGTH), int)                                        # (K, N)
ids[:, :begun] = [chars.index(char) for char in opening]
memory = {}
tick = time.perf_counter()
print(prompt, end="")
for n in range(begun, begun + LENGTH):
    logits = forward(w, c, ids[:, :n], memory)                                    # (K, V)
    p = probabilities(logits, TEMPERATURE, TOP_K)                                 # (K, V)
    ids[:, n:n + 1] = torch.multinomial(torch.from_numpy(p), 1, generator=rng)
    print(chars[ids[0, n]], end="", flush=True)
seconds = time.perf_counter() - tick
print()
for k in range(1, NUM):
    print(f"\n--- {k + 1} de {NUM} ---", file=sys.stderr)
    print("\n" + prompt + "".join(chars[i] for i in ids[k, begun:]))
print(f"\n{LENGTH * NUM / seconds:.0f} caracteres por segundo. Para repetirlo: --seed {seed}",
      file=sys.stderr)

# %% Experimentos: predice antes de mirar
# Todos, con CKPT = "models/sonetos.pt", PROMPT = "La luna ", LENGTH = 60 y SEED = 7:
# - TEMPERATURE = 0.3: ¿qué hace quien apenas se arriesga? Dice lo más dicho: «La luna de un corazón
#   de amores, / y el alma se despierta en la instan».
# - TOP_K = 1: ¿y si no se sortea nunca? Se repite: «La luna de la muerte // El cielo de la muerte
#   en la muerte al cielo / de».
# - TEMPERATURE = 1.2: ¿y si se arriesga mucho? Se enreda: «La luna lanza, / y despliega, amor, en
#   pavesas viento».
# - TEMPERATURE = 1.2, TOP_K = 5: ¿se puede arriesgar sin enredarse? Se enreda menos, pero se
#   enreda: «La luna de una lanza. ¡Oh sabio la loca!».
# - NUM = 16: ¿tarda 16 veces lo que uno? Bastante menos, porque el ordenador rinde más con lotes:
#   mira los caracteres por segundo, que cuentan los de los 16.
# - Cambia, en el bucle, memory por {}: ¿escribe lo mismo? Lo mismo, y más despacio: con cada
#   carácter recalcula lo que hay en la ventana.

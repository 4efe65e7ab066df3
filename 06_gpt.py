"""
06. GPT: de una media con máscara a un modelo que escribe versos

Al terminar sabrás qué calcula la atención (attention), cómo se apila hasta formar un GPT, cómo se
entrena sin engañarse y cómo se juzga lo que escribe. Cada celda construye una pieza, y casi siempre
la prueba; lo que falta lo prueba tests/test_06_gpt.py.

    python 06_gpt.py                    entrena con versos y deja ckpt.pt, en dos a cinco minutos
    python 06_gpt.py --steps 0          sólo las piezas y sus pruebas, en menos de un minuto
    python 06_gpt.py --resume ckpt.pt   sigue desde lo último que guardó
    python sample.py ckpt.pt            el modelo habla
"""
import argparse
import functools
import math
import os
import re
import shutil
import signal
import sys
import time
import unicodedata
import warnings
import zlib
from pathlib import Path

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "poesia.txt"   # texto de trabajo: una ruta, o un nombre de la carpeta data/
OUT = "ckpt.pt"       # punto de control (checkpoint) que se escribe
RESUME = ""           # punto de control desde el que seguir (vacío: empezar de cero)
BASE = ""             # modelo del que partir, con su forma y su alfabeto (vacío: de cero)
SEED = 1337           # semilla del azar
PLOT = ""             # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
DEVICE = ""           # cuda, mps o cpu (vacío: cuda si la hay, o cpu)
DTYPE = ""            # bfloat16 o float32 al entrenar (vacío: bfloat16 en cuda, o float32)
COMPILE = False       # fundir operaciones con torch.compile: arranca despacio y luego corre más
STEPS = 1350          # pasos de entrenamiento (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 270   # pasos entre evaluaciones; en cada una se guarda
BATCH_SIZE = 6        # ventanas de texto por paso
BLOCK_SIZE = 256      # caracteres de una ventana: lo más lejos que el modelo mira
N_EMBD = 96           # canales: números con que se describe cada posición
N_HEAD = 2            # cabezas de atención por bloque; N_EMBD debe ser múltiplo suyo
N_LAYER = 3           # bloques apilados (0: sin atención)
DROPOUT = 0.0         # fracción de activaciones que se apagan al entrenar
RESIDUAL = True       # conexiones residuales: x + f(x) en vez de f(x)
LAYER_NORM = True     # normalizar cada posición antes de cada capa
FEED_FORWARD = True   # red de dos capas tras la atención
ROTARY = True         # posiciones que giran preguntas y claves, en vez de sumarse a la entrada
QK_NORM = True        # dejar del mismo largo todas las preguntas y todas las claves
NGRAMS = 5            # tablas para los últimos 2, 3... NGRAMS caracteres; 6, lo más (0: ninguna)
ROWS = 32749          # filas de cada tabla; mejor un número primo
LEARNING_RATE = 5e-3  # tasa de aprendizaje en su máximo
MUON = 0.01           # tasa de Muon en las matrices de los bloques (0: AdamW también en ellas)
WARMUP_STEPS = 100    # pasos en que la tasa sube desde cero; después baja en línea recta hasta cero
WEIGHT_DECAY = 0.2    # decaimiento de los pesos
GRAD_CLIP = 1.0       # norma máxima del gradiente, sin el de las tablas (0: sin límite)
PROMPT = ""           # comienzo de la muestra (vacío: salto de línea); con guion, --prompt=-Hola
LENGTH = 600          # caracteres de la muestra final
TEMPERATURE = 0.7     # de la muestra: menos de 1, más prudente; más de 1, más atrevida

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

# %% 1. La media con máscara, de tres maneras
# Un modelo que escribe predice en cada puesto o posición (position) del texto el carácter que
# sigue, y para eso ha de reunir lo que dicen los anteriores. La manera más simple de reunir es
# promediar: en el puesto t, la media de los vectores de los puestos 0 a t, y nada de lo que viene
# después, porque al escribir aún no existe. Con un bucle se entiende. Con una matriz triangular, la
# máscara, es un solo producto. Y hay una tercera manera, que es la que sirve: dar a cada puesto una
# nota (score) y pasar las notas por softmax (lección 01). Con todas las notas iguales, los pesos
# salen iguales y la media es la de siempre; y un puesto con nota -inf pesa e^-inf = 0: así se tapa
# el futuro. Una media así, con pesos que salen de notas, es la atención. Lo bueno es que las notas
# se podrán aprender. (El modelo da también una nota a cada carácter que puede seguir, el logit de
# la lección 02: es otra cosa.)
def same(a, b):
    """¿Son iguales los tensores `a` y `b`, salvo redondeos?"""
    return torch.allclose(a, b, atol=1e-4)

torch.manual_seed(SEED % 2**63)
toy = torch.randn(4, 8, 32)                                  # (B, T, C) textos, puestos, canales
B, T, C = toy.shape
loop = torch.zeros_like(toy)
for t in range(T):
    loop[:, t] = toy[:, :t + 1].mean(1)                      # (B, C) la media de lo visto hasta t
past = torch.ones(T, T).tril()                               # (T, T) fila t: unos hasta t
product = past / past.sum(1, keepdim=True) @ toy             # (T, T) @ (B, T, C) -> (B, T, C)
equal = torch.zeros(T, T).masked_fill(past == 0, -math.inf)  # (T, T) notas: 0 al pasado
alike = F.softmax(equal, dim=1)                              # (T, T) cada fila suma 1
assert same(loop, product)
assert same(loop, alike @ toy)
print(f"1. bucle, matriz y softmax dan la misma media; los primeros pesos:\n{alike[:3, :3]}")

# %% 2. Quién es y dónde está
# Cada carácter tiene un vector que se aprende (embedding, lección 03). Si la atención sólo viera
# esos vectores, no sabría en qué orden vienen: en «roma» y en «mora» la última «a» tiene delante
# las mismas tres letras, y una media no depende del orden en que se suma. Por eso se da otro vector
# a cada puesto (position embedding), que se suma al de la letra. Aquí las notas son el parecido
# entre dos vectores, medido con su producto escalar: se multiplican número a número y se suma todo.
# (Por qué se divide por la raíz de C, al final de la celda 4.)
token, position = torch.randn(2, 4, C)                       # (4, C) de las letras, de los puestos
roma, mora = torch.tensor([[0, 1, 2, 3], [2, 1, 0, 3]])      # (4,) cada una: r 0, o 1, m 2, a 3

def last_view(vectors):
    """Lo que el último puesto de `vectors` (T, C) ve en los anteriores: media ponderada, (C,)."""
    scores = vectors[:-1] @ vectors[-1] / C**0.5             # (T - 1,)
    return F.softmax(scores, dim=0) @ vectors[:-1]

without, added = [torch.dist(last_view(token[roma] + places), last_view(token[mora] + places))
                  for places in (0 * position, position)]
assert without < 1e-4
print(f"\n2. lo que ven las dos «a» dista {without:.0e}; con el vector de su puesto, {added:.2f}")

# %% 3. Atención con cuatro letras
# Cada letra lleva tres vectores. La pregunta (query) dice qué busca; la clave (key), qué ofrece; el
# valor (value), lo que entrega a quien la atiende. La nota que una letra da a otra es el producto
# escalar de su pregunta y la clave de la otra; también se la da a sí misma. Aquí los tres se ponen
# a mano. En la red, cada uno será el vector de la letra multiplicado por una matriz que se aprende:
# una matriz para las preguntas, otra para las claves y otra para los valores. Los valores de abajo
# son números cualesquiera; d son los números que tiene una pregunta o una clave, aquí dos.
# La «a» del final de «roma» pregunta por consonantes: (0, 2), nada en «¿vocal?», mucho en
# «¿consonante?». La clave de «r» y de «m» es (0, 1), consonante; la de «o» y «a», (1, 0), vocal.
query = torch.tensor([0.0, 2])                               # (d,) la pregunta de la «a»
keys = torch.tensor([[0.0, 1], [1, 0], [0, 1], [1, 0]])      # (T, d) r, o, m, a
values = torch.tensor([[4.0, 1], [0, 2], [2, 3], [0, 8]])    # (T, 2)
grades = keys @ query / math.sqrt(2)                         # (T,) notas; d = 2 (celda 4)
odds = grades.exp()                                          # (T,) e elevado a cada nota
shares = odds / odds.sum()                                   # (T,) pesos: suman 1
gathered = shares @ values                                   # (2,) la media de los valores
print("\n3. la «a» de «roma» busca consonantes")
for letter, grade, odd, share in zip("roma", grades, odds, shares):
    print(f"   {letter}: nota {grade:.2f}, e^nota {odd:.2f}, peso {share:.3f}")
print(f"   media de los valores, con esos pesos: ({gathered[0]:.2f}, {gathered[1]:.2f})")
# A mano: 2 / √2 = 1.414 y e^1.414 = 4.11, así que las consonantes pesan 4.11 / 10.22 = 0.402; e^0
# es 1, y las vocales pesan 1 / 10.22 = 0.098. La media: 0.402 · (4, 1) + 0.098 · (0, 2) + 0.402 ·
# (2, 3) + 0.098 · (0, 8) = (2.41, 2.59).
assert (100 * gathered).round().tolist() == [241, 259]

# %% 4. La misma cuenta para todas
# Se apilan las preguntas en una matriz Q, las claves en K y los valores en V, un puesto por fila.
# Entonces Q K^T (la T del exponente es trasponer) tiene todas las notas: en la fila t, las que da
# el puesto t. Y la atención es una línea: softmax(Q K^T / √d) V. Vaswani et al., «Attention Is All
# You Need» (2017), ecuación 1. Visto como dibujo, a cada puesto le llegan flechas, cada una con su
# peso, de él mismo y de los anteriores. Cuesta T² notas: el doble de texto, cuatro veces más. Si
# preguntas, claves y valores salen del mismo texto se llama autoatención (self-attention); si
# claves y valores son de otro, atención cruzada (cross-attention), y entonces no hay futuro que
# tapar. Con máscara es un descodificador (decoder), que sirve para escribir: éste. Sin ella, un
# codificador (encoder), que sirve para leer; el artículo, que traducía, lee con uno y escribe con
# otro.
def attention(q, k, v):
    """softmax(q k^T / √d) v, con máscara: q y k (..., T, d), v (..., T, n), con cualquier n."""
    scores = q @ k.mT / math.sqrt(q.size(-1))                # (..., T, T); mT traspone las matrices
    future = torch.ones_like(scores).triu(1) == 1            # (..., T, T)
    scores = scores.masked_fill(future, -math.inf)
    return F.softmax(scores, dim=-1) @ v

assert same(attention(query.expand(4, 2), keys, values)[-1], gathered)          # la fila de la «a»
changed = toy.clone()
changed[0, 5] += 1                                           # otra letra en el texto 0, puesto 5
after = attention(changed, changed, changed)                 # (B, T, C)
moved = (after - attention(toy, toy, toy)).norm(dim=2)       # (B, T)
assert moved[1:].sum() == 0                                  # los demás textos no se enteran
assert moved[0, :5].sum() == 0                               # ni los puestos de antes
print("\n4. si cambia el puesto 5, lo que ve cada puesto cambia:", *[f"{m:.2f}" for m in moved[0]])

# Por qué se divide por √d. La nota es una suma de d productos. Si son independientes y cada uno
# tiene varianza 1 (lección 03), la suma tiene varianza d: con d = 64, desviación 8. El softmax
# de notas tan dispares se lo da casi todo a un solo puesto. Si entonces una nota se mueve un poco,
# los pesos apenas cambian: el gradiente es casi cero y apenas se aprende. Divididas por √d, la
# varianza vuelve a ser 1.
q, k = torch.randn(2, 1000, 64)                              # (1000, d) cada una, varianza 1
wide = q @ k.T                                               # (1000, 1000) sin dividir
for table in wide, wide / 8:                                 # sin dividir, y entre √64
    largest = F.softmax(table[:, :16], dim=1).amax(1).mean()
    print(f"   varianza de las notas {table.var():.2f}; la mayor de 16 se lleva el {largest:.0%}")
assert abs((wide / 8).var() - 1) < 0.1

# %% 5. Varias cabezas a la vez
# Una cabeza (head) es una atención con sus propias preguntas, claves y valores: en ella, cada
# puesto hace una sola pregunta. Se ponen H a la vez. Cada una lee los C canales y escribe sólo d =
# C / H, que se colocan uno tras otro; después una capa lineal mezcla lo que hallaron (apartado
# 3.2.2 de Vaswani et al.). Las preguntas, claves y valores de todas salen de un solo producto, sin
# sesgo (bias). Y para la atención llamamos a la de PyTorch: la misma cuenta; donde puede, por
# trozos, sin llegar a escribir la matriz de T x T notas (Dao et al., «FlashAttention», 2022).
class MultiHeadAttention(nn.Module):
    """`n_head` cabezas en paralelo, y la mezcla: (B, T, C) -> (B, T, C)."""
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.n_head = n_head
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.mix = nn.Linear(n_embd, n_embd)

    def split(self, x):
        """Pregunta, clave y valor de cada cabeza: (3, B, H, T, d)."""
        parts = self.qkv(x).unflatten(2, (3, self.n_head, -1))                  # (B, T, 3, H, d)
        return parts.permute(2, 0, 3, 1, 4)

    def forward(self, x):
        q, k, v = self.split(x)                                                 # (B, H, T, d)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)             # (B, H, T, d)
        return self.mix(y.transpose(1, 2).flatten(2))                           # (B, T, C)

many = MultiHeadAttention(C, 4)
parts = many.split(toy)                                      # (3, B, H, T, d)
heads = [attention(*parts[:, :, h]) for h in range(4)]       # (B, T, d) cada una
assert same(many(toy), many.mix(torch.cat(heads, dim=2)))
print("\n5. cuatro cabezas juntas hacen lo mismo que cuatro por separado")

# %% 6. Pensar, sumar, normalizar y apagar
# La atención reúne; una red de dos capas (feed-forward), la misma en cada puesto, piensa sobre lo
# reunido (ecuación 2 de Vaswani et al.). En 2017 llevaba en medio una ReLU (lección 01); GPT-2, una
# GELU, parecida a una ReLU de esquina redondeada. Aquí vuelve la ReLU, que cuesta menos.
def feed_forward(n_embd):
    """Ensanchar por cuatro, ReLU y volver: una red (..., C) -> (..., C)."""
    return nn.Sequential(
        nn.Linear(n_embd, 4 * n_embd),
        nn.ReLU(),
        nn.Linear(4 * n_embd, n_embd))

# Al apilar bloques de pesos pequeños, cada uno atenúa el gradiente que le llega de arriba (lección
# 04): al primero apenas le toca. La conexión residual (lección 05), x + f(x), le abre un camino
# directo, porque la derivada de x respecto a x es 1. He et al., «Deep Residual Learning for Image
# Recognition» (2015).
def gradient_at_the_foot(x, residual):
    """Norma del gradiente que llega al pie de 8 bloques de atención y feed-forward apilados."""
    foot = y = x.clone().requires_grad_()
    for _ in range(8):
        block = nn.Sequential(MultiHeadAttention(C, 4), feed_forward(C))
        y = y + block(y) if residual else block(y)
    y.square().mean().backward()
    return foot.grad.norm()

plain, direct = gradient_at_the_foot(toy, False), gradient_at_the_foot(toy, True)
assert direct > 1000 * plain
print(f"\n6. al pie de 8 bloques llega un gradiente de {plain:.0e}; con la residual, {direct:.0e}")

# LayerNorm deja cada puesto con media 0 y varianza 1, contando sólo sus canales: a diferencia de
# BatchNorm, no mira a los demás ejemplos del lote. Después, como BatchNorm, multiplica cada canal
# por una ganancia (gain) y le suma un sesgo, que se aprenden. Nacen en 1 y en 0: la cuenta de
# abajo, que es la de una capa recién nacida, no los lleva. Ba et al., «Layer Normalization» (2016).
# En Vaswani et al. iba tras la suma; aquí, como en GPT-2, antes de cada capa, y así nada corta el
# camino directo.
spread, center = torch.var_mean(toy, -1, correction=0, keepdim=True)            # (B, T, 1)
normal = (toy - center) / torch.sqrt(spread + 1e-5)                             # (B, T, C)
assert same(normal, F.layer_norm(toy, (C,)))

# Dropout (lección 05) apaga al azar una fracción de las activaciones en cada paso, para que ninguna
# dependa de una sola compañera. Las que quedan se agrandan para que la media no cambie: si se apaga
# 1/5, cada una se multiplica por 5/4. Al usar la red no se apaga ninguna. (El artículo hace lo
# mismo al revés: no agranda al entrenar, y achica al usar.) Srivastava et al., «Dropout» (2014).

# %% 7. Lo que vino después: posiciones que giran
# Desde 2017 se han propuesto muchas mejoras. Casi todas las que este GPT lleva se quitan con una
# constante del principio: quita una y mira qué se pierde. La primera, ROTARY, dice dónde está cada
# letra de otra manera. No suma un vector: gira la pregunta y la clave, tanto más cuanto más
# adelante estén. Si dos vectores giran lo mismo, su producto escalar no cambia: sólo cuenta la
# diferencia de los giros. Por eso, con unos mismos contenidos, la nota depende de la distancia
# entre los dos puestos, y no de dónde estén. Se gira de dos en dos canales, y cada pareja a su
# velocidad, como las agujas de un reloj. Las rápidas distinguen puestos vecinos, pero dan la vuelta
# y se repiten; otras tardan más de una ventana en darla, y dicen si están cerca o lejos; las
# últimas apenas se mueven. Su et al., «RoFormer» (2021), empareja canales vecinos; aquí, i e i +
# d/2: da igual, porque lo que va en cada canal se aprende.
@functools.lru_cache                                         # siempre los mismos: una sola vez
def clock(T, d, device):
    """Cosenos y senos: lo que multiplica a cada canal, y al que gira con él: dos de (T, d)."""
    speed = 10_000 ** (-torch.arange(0, d, 2, device=device) / d)               # (d / 2,)
    angle = torch.arange(T, device=device)[:, None] * speed                     # (T, d / 2)
    return angle.repeat(1, 2).cos(), torch.cat([-angle, angle], dim=1).sin()

# Girar (a, b) un ángulo es a · cos - b · sen y b · cos + a · sen. Es decir, (a, b) · cos más (b, a)
# · (-sen, sen). Con todas las parejas a la vez, (b, a) es `x` con sus dos mitades cambiadas (roll).
def rotate(x):
    """Gira los canales i e i + d/2 de `x` (..., T, d) un ángulo t / 10000^(2i/d)."""
    cos, sin = clock(*x.shape[-2:], x.device)                                   # (T, d)
    return x * cos + x.roll(x.size(-1) // 2, -1) * sin

# Con dos canales hay una sola aguja, que anda 1 radián por puesto. Tres veces el vector (1, 0):
# saldrán cos 0 = 1, cos 1 = 0.54 y cos 2 = -0.42.
hand = rotate(torch.tensor([[1.0, 0]] * 3))                  # (3, 2)
notes = hand @ hand.T                                        # (3, 3)
assert same(notes[1:, 1:], notes[:-1, :-1])                  # a igual distancia, igual nota
print("\n7. notas de tres vectores iguales, girados según su puesto:\n", notes)

# QK_NORM deja del mismo largo todas las preguntas y todas las claves. Cada vector se divide por la
# raíz de la media de los cuadrados de sus d números. (Es RMSNorm: LayerNorm sin restar la media.)
# Así (1, 7), con media (1 + 49) / 2 = 25, se divide por 5 y queda en (0.2, 1.4). Ahora sus
# cuadrados suman d, y su largo, que es la raíz de esa suma, es √d; al girar no cambia. Un producto
# escalar no pasa nunca del producto de los dos largos, que aquí es √d · √d = d. Dividida por √d,
# la nota queda entre -√d y √d: no puede dispararse. En el código, vecdot(qk, qk) es el producto
# escalar de cada vector por sí mismo, que es la suma de sus cuadrados, y rsqrt(x) es 1 / √x. Henry
# et al., «Query-Key Normalization for Transformers» (2020), aprenden además una escala; aquí es
# fija.
class ModernAttention(MultiHeadAttention):
    """La misma, con las preguntas y las claves normalizadas y giradas, si se pide."""
    def split(self, x):
        qk, v = super().split(x).split([2, 1])                 # (2, B, H, T, d), (1, B, H, T, d)
        if QK_NORM:
            mean_square = torch.linalg.vecdot(qk, qk) / qk.size(-1)             # (2, B, H, T)
            qk = qk * torch.rsqrt(mean_square + 1e-7)[..., None]
        if ROTARY:
            qk = rotate(qk)
        return *qk, *v                                         # (B, H, T, d) cada una

# %% 8. Lo que vino después: la tabla de contar, dentro de la red
# La lección 02 dejó una promesa (celda 8): contar qué sigue a los últimos caracteres es barato y
# dice mucho, y una red acierta en lo que una tabla no ha visto. NGRAMS pone las dos cosas en un
# modelo. Además de su propio vector, cada carácter recibe otro por la pareja que forma con el
# anterior, otro por el trío que forma con los dos anteriores, y así hasta NGRAMS caracteres. Todos
# se suman. Esos vectores son filas de tablas, y se aprenden. ¿Qué fila le toca a «oma»? Cada
# carácter tiene un número, su id, y si hay menos de mil le bastan tres cifras: o 1, m 2, a 3 forman
# 001 002 003, el número 1 002 003. Hay demasiados tríos para darles una fila a cada uno: la suya es
# el resto de dividir ese número entre ROWS, y varios comparten fila (hashing). Las parejas casi no
# se estorban; de grupos de cinco hay, en poesia.txt, unos cinco por fila. La red recibe además el
# vector de cada letra, y con él puede distinguir los que comparten fila. Antes del comienzo de la
# ventana no hay nada: ahí se pone el id 0, como si fuera ese carácter. ROWS es primo para que el
# resto dependa de todas las cifras: entre 10 000 sólo contarían las cuatro últimas. Pagnoni et al.,
# «Byte Latent Transformer» (2024); Cheng et al., «Conditional Memory via Scalable Lookup» (Engram,
# 2026).
def ngram_rows(ids, ngrams, rows):
    """Fila que toca en cada tabla a cada puesto de `ids` (B, T): (tablas, B, T)."""
    number, picked = ids, []
    for back in range(1, ngrams):
        earlier = F.pad(ids, (back, 0))[:, :-back]           # el de `back` puestos antes, o el id 0
        number = number + earlier * 1000**back               # tres cifras más, por la izquierda
        picked.append((back - 1) * rows + number % rows)      # las tablas van una debajo de otra
    return torch.stack(picked)

pair, triple = ngram_rows(roma[None], 3, 97)                 # (1, T) cada una
assert pair[0, 3] == 2003 % 97                               # «ma» es 2 003: fila 63
assert triple[0, 3] == 97 + 1_002_003 % 97                   # «oma» es 1 002 003: la 97 + 90
print("\n8. filas de «roma» en dos tablas de 97:", pair.tolist(), triple.tolist())

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
if (min(BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HEAD, ROWS, EVAL_INTERVAL) < 1 or N_EMBD % N_HEAD
        or ROTARY and N_EMBD // N_HEAD % 2):
    sys.exit("error: BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HEAD, ROWS y EVAL_INTERVAL deben ser 1 o "
             "más, y N_EMBD múltiplo de N_HEAD; con ROTARY, de su doble")
if (DROPOUT >= 1 or TEMPERATURE == 0 or NGRAMS > 6
        or DTYPE not in ("", "bfloat16", "float32")):
    sys.exit("error: DROPOUT, menos de 1; TEMPERATURE, más de 0; NGRAMS, 6 o menos; DTYPE, "
             "bfloat16 o float32")

# %% ¿De cero, o desde un modelo guardado? (la primera vez, de cero: puedes saltártelo)
# RESUME sigue un entrenamiento donde se dejó. BASE empieza uno nuevo, con otro texto, desde lo que
# un modelo ya sabe. En los dos casos la forma es la del modelo, digan lo que digan las constantes.
shape = {
    "block_size": BLOCK_SIZE,
    "n_embd": N_EMBD,
    "n_head": N_HEAD,
    "n_layer": N_LAYER,
    "residual": RESIDUAL,
    "layer_norm": LAYER_NORM,
    "feed_forward": FEED_FORWARD,
    "rotary": ROTARY,
    "qk_norm": QK_NORM,
    "ngrams": NGRAMS,
    "rows": ROWS,
}
config, chars = shape, ""
if RESUME and BASE:
    sys.exit("error: --resume sigue un entrenamiento y --base empieza otro: elige uno de los dos")
if RESUME or BASE:
    warnings.simplefilter("ignore")                          # torch avisa de ficheros raros
    try:
        origin = torch.load(RESUME or BASE, "cpu", weights_only=True)
        chars = origin["chars"]
        config = {name: origin["config"][name] for name in shape}
        assert not origin["config"].get("square")            # una ReLU que ya no está
    except Exception:                                        # un fichero roto falla de mil maneras
        sys.exit(f"error: «{RESUME or BASE}» no existe, o no es un GPT de esta versión del curso")
    print(f"\n   la forma es la de «{RESUME or BASE}»: {config}")
(BLOCK_SIZE, N_EMBD, N_HEAD, N_LAYER, RESIDUAL, LAYER_NORM, FEED_FORWARD,
 ROTARY, QK_NORM, NGRAMS, ROWS) = config.values()

# %% 9. Del texto a los números, y de los números a ventanas
# El vocabulario son los caracteres del texto, ordenados, y el id de uno, su lugar en esa lista. V
# es cuántos hay, y no la matriz V de la celda 4. (Si se parte de un modelo, los suyos conservan su
# id y los nuevos van detrás.) Caracteres y no palabras: son menos de cien, con ellos se escribe
# cualquier palabra, y la ortografía se aprende; a cambio, un texto es cinco veces más largo que en
# palabras. Los GPT grandes usan trozos de palabra (BPE), que están en medio. El 10 % final no se
# entrena: dirá si lo aprendido vale para lo que no se ha visto. No se guarda además una parte de
# prueba; las cifras publicadas de nanoGPT tampoco la tienen. Esta validación se miró al elegir las
# constantes, y por eso es algo optimista.
chars += "".join(sorted(set(text) - set(chars)))             # id -> carácter
V, cut = len(chars), int(0.9 * len(text))
if V < 2 or cut <= BLOCK_SIZE or len(text) - cut < 2:
    sys.exit(f"error: «{DATA}» es corto: {len(text)} caracteres, {V} distintos, y BLOCK_SIZE es "
             f"{BLOCK_SIZE}. Hace falta más texto o menos BLOCK_SIZE")
PROMPT = unicodedata.normalize("NFC", PROMPT) or ("\n" if "\n" in chars else chars[0])
if not set(PROMPT) <= set(chars):
    sys.exit(f"error: PROMPT lleva algún carácter que no sale en «{DATA}»")

# Para convertir deprisa un texto largo: cada carácter tiene un código, el de Unicode (la «a», 97;
# ninguno llega a 0x110000), y en utf-32 un texto es la lista de sus códigos. En `look_up`, el
# lugar 97 guarda el id de la «a»; leer la tabla en todos los códigos da todos los ids de una vez.
look_up = torch.zeros(0x110000, dtype=torch.long)
for i, char in enumerate(chars):
    look_up[ord(char)] = i                                   # código -> id

def encode(text):
    """Ids de los caracteres de `text`, que deben estar en el vocabulario: (N,)."""
    return look_up[torch.frombuffer(bytearray(text, "utf-32-le"), dtype=torch.int32)]

DEVICE = DEVICE or ("cuda" if torch.cuda.is_available() else "cpu")
try:
    ids = encode(text).to(DEVICE)                            # (N,)
except Exception:                                            # cada aparato falla a su manera
    sys.exit(f"error: aquí no hay «{DEVICE}», o PyTorch no lo ve: prueba --device cpu")
train, val = ids[:cut], ids[cut:]
print(f"\n9. {len(ids)} caracteres, {V} distintos; los {cut} primeros, para entrenar")

# Una ventana (window) son T + 1 caracteres seguidos, con T = BLOCK_SIZE: los T primeros entran, y
# los T últimos, los mismos corridos un puesto, son lo que hay que predecir. Son T ejemplos en uno,
# porque la máscara hace que cada puesto prediga con lo que lleva visto. Ya no hay un ejemplo por
# línea: una ventana puede empezar en un poema y acabar en otro. Así empieza la primera:
for t in range(1, 4):
    print(f"   tras {text[:t]!r} viene {text[t]!r}")

# Las ventanas se visitan sin repetir. En cada vuelta al texto (epoch) se elige al azar dónde
# empieza la primera, se corta el texto en ventanas seguidas (tras el final se vuelve al principio),
# y se barajan. Así, en una vuelta, nueve de cada diez caracteres se predicen una vez; si se
# sortearan sin más, muchos saldrían dos o tres veces y otros ninguna. (En un texto muy corto las
# ventanas se repiten.)
# Y cada una se corre al azar unos puestos, hasta un cuarto de su largo: por eso no son diez de cada
# diez. Si no, en un texto de líneas de igual largo casi todas las de una vuelta empezarían en los
# mismos sitios de la línea: con líneas de 10 y ventanas de 32, en la mitad de ellos. Eso puede
# retrasar a quien aprende qué hay en cada puesto de la ventana: measures/README.md lo mide con diez
# mil sumas como «49+64=311» (el resultado, al revés).
# Todo lo deciden SEED y el número del paso: quien siga un entrenamiento ve lo que habría visto. Con
# varios procesos, cada uno toma las suyas.
per_epoch = max(1, cut // BLOCK_SIZE - 1)                    # ventanas en una vuelta

def batch(turn):
    """Las ventanas del lote número `turn`: (B, T + 1)."""
    epoch, place = divmod(turn, max(1, per_epoch // BATCH_SIZE))    # vuelta, y lote dentro de ella
    rng = torch.Generator().manual_seed((SEED * 1_000_003 + epoch) % 2**63)
    first = torch.randint(cut, (1,), generator=rng)
    shift = torch.randint(BLOCK_SIZE // 4 + 1, (per_epoch,), generator=rng)
    starts = first + BLOCK_SIZE * torch.arange(per_epoch) + shift               # (per_epoch,)
    order = torch.randperm(per_epoch, generator=rng)         # las ventanas, barajadas
    mine = place * BATCH_SIZE + torch.arange(BATCH_SIZE)     # (B,)
    start = starts[order[mine % per_epoch]] % (cut - BLOCK_SIZE)    # (B,) y cabe entera
    return train.unfold(0, BLOCK_SIZE + 1, 1)[start.to(DEVICE)]

# %% 10. El bloque y el GPT
# Un bloque: reunir (atención) y pensar (feed-forward), cada cosa normalizada antes y sumada
# después. Un GPT: los embeddings, N_LAYER bloques, una última LayerNorm y una nota por carácter.
norm = nn.LayerNorm if LAYER_NORM else nn.Identity

class Block(nn.Module):
    """Atención y feed-forward, con las piezas que digan las constantes: (B, T, C) -> (B, T, C)."""
    def __init__(self):
        super().__init__()
        self.norm_1 = norm(N_EMBD)
        self.attention = ModernAttention(N_EMBD, N_HEAD)
        if FEED_FORWARD:
            self.norm_2 = norm(N_EMBD)
            self.feed_forward = feed_forward(N_EMBD)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x):
        y = self.dropout(self.attention(self.norm_1(x)))
        x = x + y if RESIDUAL else y
        if FEED_FORWARD:
            y = self.dropout(self.feed_forward(self.norm_2(x)))
            x = x + y if RESIDUAL else y
        return x

# Los pesos nacen pequeños, para que al empezar ningún carácter salga muy favorecido (lección 04).
# GPT-2 los sortea con desviación 0.02, y con menos en las capas cuya salida se suma a x. Aquí la
# desviación depende de n, los números que entran en la capa: es 0.5 / √n, la mitad de la que
# conserva la señal en una capa lineal. En los vectores de las letras y de los puestos no entra
# ningún número: para ellos n es C. Los sesgos nacen como los da PyTorch. Las tablas nacen a cero:
# una fila que aún no se ha usado no cambia nada.
class GPT(nn.Module):
    """De ids (B, T) a las notas (logits) del carácter siguiente en cada puesto: (B, T, V)."""
    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(V, N_EMBD)
        if not ROTARY:
            self.position = nn.Embedding(BLOCK_SIZE, N_EMBD)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.Sequential(*[Block() for _ in range(N_LAYER)])
        self.norm = norm(N_EMBD)
        self.head = nn.Linear(N_EMBD, V)                     # la salida: no es una cabeza
        for w in self.parameters():
            if w.dim() == 2:
                nn.init.normal_(w, std=0.5 * w.size(1)**-0.5)
        if NGRAMS > 1:
            thin = DEVICE == "cpu" and not COMPILE           # gradiente sólo de las filas usadas
            self.ngrams = nn.Embedding((NGRAMS - 1) * ROWS, N_EMBD, sparse=thin)
            nn.init.zeros_(self.ngrams.weight)

    def embed(self, ids):
        """Lo que entra en el primer bloque: (B, T) -> (B, T, C)."""
        x = self.token(ids)                                            # (B, T, C)
        if NGRAMS > 1:
            x = x + self.ngrams(ngram_rows(ids, NGRAMS, ROWS)).sum(0)  # (B, T, C)
        if not ROTARY:
            x = x + self.position.weight[:ids.size(1)]                 # (B, T, C) + (T, C)
        return self.dropout(x)

    def forward(self, ids):
        x = self.blocks(self.embed(ids))                               # (B, T, C)
        return self.head(self.norm(x))                                 # (B, T, V)

# %% Dónde se entrena (puedes saltártelo)
# Con varias GPU se lanzan varios procesos: torchrun --nproc_per_node=2 --local-ranks-filter=0
# 06_gpt.py. Cada uno (rank es su número, y world, cuántos son) aprende de ventanas distintas, y al
# dar el paso se promedian los gradientes. El primero, el 0, es el que mide y guarda.
# En bfloat16 cada número ocupa 16 bits y no 32: los productos van más deprisa donde el aparato sabe
# hacerlos, con dos o tres cifras de precisión. Los pesos siguen en 32.
DTYPE = DTYPE or ("bfloat16" if DEVICE == "cuda" else "float32")
rank, world = 0, 1
if "TORCHELASTIC_RUN_ID" in os.environ:                      # lo pone torchrun
    torch.distributed.init_process_group()
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    if DEVICE == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
torch.manual_seed(SEED)
model = GPT().to(DEVICE)
parallel = torch.compile(model) if COMPILE else model
if world > 1:
    parallel = nn.parallel.DistributedDataParallel(parallel)

# %% 11. La pérdida, la evaluación y la muestra
# La pérdida (loss) es la sorpresa media, -log p de cada carácter que vino (lección 02).
def nll(net, windows):
    """Sorpresa media de cada carácter de `windows` (B, T + 1) tras los anteriores, en nats."""
    x, y = windows[:, :-1], windows[:, 1:]                   # (B, T) cada una
    short = DTYPE == "bfloat16" and net.training             # al entrenar; al medir, en 32 bits
    with torch.autocast(x.device.type, torch.bfloat16, enabled=short):          # productos en 16
        logits = net(x)                                                         # (B, T, V)
    return F.cross_entropy(logits.float().flatten(0, 1), y.flatten())

# Para medir un texto entero se corta en ventanas contiguas. Lo que sobra al final es otra más
# corta, y cuenta por los caracteres que tiene. De un texto enorme (más de dos millones de
# caracteres) bastan algunas ventanas, tomadas a distancias iguales.
@torch.no_grad()
def evaluate(ids):
    """Pérdida media sobre `ids`, en ventanas contiguas; si son demasiadas, en unas cuantas."""
    model.eval()
    span = min(BLOCK_SIZE, len(ids) - 1)                     # caracteres que predice cada ventana
    every = 1 + len(ids) // 2_000_000                        # una ventana de cada tantas
    windows = ids.unfold(0, span + 1, span)[::every]         # (M, T + 1)
    left = (len(ids) - 1) % span                             # caracteres que no llenan la última
    total = sum(nll(model, part).item() * len(part) * span for part in windows.split(32))
    if left:
        total += nll(model, ids[None, -1 - left:]).item() * left
    return total / (len(windows) * span + left)

# Recién nacido, el modelo debe dudar entre los V caracteres casi por igual: perder poco más de ln
# V. Casi todos los parámetros están en las tablas, y cada puesto sólo usa una fila de cada una.
newborn = evaluate(val)
assert not LAYER_NORM or newborn < math.log(V) + 1
print(f"\n11. {sum(w.numel() for w in model.parameters())} parámetros; pérdida sin entrenar "
      f"{newborn:.3f}, y a ciegas entre {V} caracteres, {math.log(V):.3f}")

@torch.no_grad()
def generate(length):
    """PROMPT y `length` caracteres más, sorteados; la temperatura se explica en sample.py."""
    model.eval()
    rng = torch.Generator().manual_seed(SEED)                # los mismos sorteos cada vez
    row = encode(PROMPT)[None]                                                  # (1, T)
    for _ in range(length):
        logits = model(row[:, -BLOCK_SIZE:].to(DEVICE))[:, -1].cpu().double()            # (1, V)
        p = F.softmax(logits / TEMPERATURE, dim=1)           # (1, V)
        row = torch.cat([row, torch.multinomial(p, 1, generator=rng)], dim=1)
    return "".join(chars[i] for i in row[0])

# %% 12. Tres maneras de dar el paso
# Hay tres clases de parámetros, y a cada una le conviene un paso. Las matrices de los bloques andan
# con Muon; las tablas de la celda 8, fila a fila; lo demás, con AdamW (lección 03).
# AdamW mira los números del gradiente uno a uno: divide la media de cada uno por lo que suele
# medir. Muon mira cada matriz entera. Una matriz, al multiplicar, estira unas direcciones mucho y
# otras poco: [[2, 1], [1, 2]] convierte (1, 1) en (3, 3), el triple de largo, y (1, -1) en (1, -1),
# igual. Esos estirones, 3 y 1, son sus valores singulares. (Con todos en 1, si es cuadrada, se
# llama ortogonal: gira o voltea, y no estira.) En un gradiente suelen ser muy desiguales: unas
# pocas direcciones se llevan el paso. Muon los iguala, más o menos, y así aprende en casi todas a
# la vez. Jordan et al., «Muon: An optimizer for hidden layers in neural networks» (2024).
# ¿Cómo se igualan sin calcularlos? Primero se divide la matriz por la raíz de la suma de los
# cuadrados de todos sus números: así ningún valor singular pasa de 1. En el ejemplo se divide por
# √10 = 3.16, y los estirones 3 y 1 quedan en 0.95 y 0.32. Sea Y el resultado. Si Y estira s una
# dirección, Y^T deshace su giro y estira s otra vez. Por eso Y Y^T Y gira como Y y estira s³, e
# Y Y^T Y Y^T Y gira como Y y estira s⁵. Se suman las tres matrices, cada una por un número, y eso
# cambia cada estirón s por
#     f(s) = 3.4445 s - 4.7750 s³ + 2.0315 s⁵
# Lo pequeño lo agranda deprisa: f(0.1) = 0.34 y f(0.34) = 0.99. Lo que ya es grande no se queda en
# 1: f(0.99) = 0.71. Jordan da cinco vueltas; aquí, tres. Tras ellas, lo que empezó entre 0.02 y 1
# está entre 0.68 y 1.20; lo más pequeño ha crecido hasta cuarenta veces. Abajo, 0.95 pasa por 0.75
# y 1.05 y acaba en 0.68; 0.32, por 0.94 y 0.76, en 1.04: (1, 1) da (0.68, 0.68), y (1, -1) da
# (1.04, -1.04). En el código, `a` es Y Y^T, y `b @ y`, los dos últimos sumandos.
def orthogonal(matrix):
    """`matrix` (r, c) con los valores singulares casi igualados, cerca de 1: 3 vueltas de f."""
    if len(matrix) > matrix.size(1):                         # menos cuentas, tumbada
        return orthogonal(matrix.T).T
    y = matrix / (matrix.norm() + 1e-7)                      # ninguno pasa de 1
    for _ in range(3):
        a = y @ y.T
        b = -4.7750 * a + 2.0315 * a @ a
        y = torch.addmm(y, b, y, beta=3.4445)                # 3.4445 y + b y, de una vez
    return y

stretch = torch.tensor([[2.0, 1], [1, 2]])
evened = orthogonal(stretch) @ torch.tensor([[1.0, 1], [1, -1]])
print("\n12. igualada, convierte (1, 1) y (1, -1) en las columnas de\n", evened)
assert (100 * evened[0]).round().tolist() == [68, 104]

# Lo que se iguala no es el gradiente de un lote, sino una media móvil: en cada paso, 95 % de la
# media de antes y 5 % del gradiente nuevo. Esa media cambia despacio, e igualarla cuesta unas
# cuantas multiplicaciones de matrices. Por eso las matrices se turnan (celda 13): cada una se mueve
# en un paso de cada seis, y se mueve entonces seis veces más. Con una semilla, la pérdida cambió
# menos de lo que cambia de una semilla a otra (measures/README.md). A las matrices altas, que
# ensanchan, Jordan les da más paso: la raíz de cuántas veces ensanchan (`tall`).
@torch.no_grad()
def muon_step(w, mean, rate):
    """Un paso de la matriz `w`; `mean` es la media móvil de sus gradientes."""
    tall = max(1, len(w) / w.size(1))**0.5                   # de C a 4 C, el doble
    w *= 1 - rate * WEIGHT_DECAY                             # decaimiento (lección 03)
    w -= rate * tall * orthogonal(mean)

# Las tablas de la celda 8 piden otra cosa. De cada cien parámetros, noventa y siete son suyos, y en
# un paso casi ninguna de sus filas se usa: con poesia.txt, unas 3900 de 130 996. El gradiente de
# las demás es cero. AdamW las recorrería todas, y movería también las que no han salido. Aquí una
# fila sólo aprende cuando se usa. Sea g su gradiente, y m la media de los cuadrados de los números
# de g. De cada fila se guarda un solo número, la media móvil de m: en cada paso, 99 % de lo de
# antes y 1 % de m. La fila se mueve la tasa por g, dividido por la raíz de esa media. (Con filas de
# un solo número, esto es RMSprop: Tieleman y Hinton, 2012. La tasa es la mitad de la de AdamW;
# measures/README.md compara otras.)
# Una fila que sale por primera vez tenía media 0. Pasa a tener 0.01 m, cuya raíz es √m / 10, y por
# eso anda diez veces la tasa, como abajo. La que sale siempre anda cada vez menos: si su gradiente
# no cambia, a los diez pasos, tres veces la tasa, y a los doscientos, poco más que la tasa. Así lo
# raro aprende mucho de lo poco que ve.
# Pero lo que se vio una vez y no vuelve a salir sirve sobre todo para recitar. Por eso todas las
# filas decaen, se usen o no, y ocho veces más deprisa que los pesos de AdamW: lo que no se repite
# se olvida. Para no recorrerlas todas en cada paso, se turnan: en cada paso decae una de cada
# cuarenta, y decae cuarenta veces más. De ahí el 320 de la celda 13: 8 · 40.
@torch.no_grad()
def row_step(w, usual, rate):
    """Un paso de las filas usadas de `w` (R, C); `usual` (R, 1): la media de sus cuadrados."""
    grad = w.grad.to_sparse(1).coalesce()                    # sólo las filas que no son cero
    used, g = grad.indices()[0], grad.values()               # (M,), (M, C)
    usual *= 0.99
    usual[used] += 0.01 * g.square().mean(1, keepdim=True)   # (M, 1)
    w.index_add_(0, used, -rate * g / (usual[used].sqrt() + 1e-8))              # w[used] += eso
    w.grad = None                                            # usado

rare, usual = torch.zeros(2, 2, 1)                           # (R, 1) cada uno
rare.grad = 3 * torch.eye(2, 1)                              # 3 en la fila 0; la 1 no se usa
row_step(rare, usual, 0.1)
assert same(rare, -torch.eye(2, 1))                          # la 0 anda diez veces la tasa

# Lo demás (los vectores de las letras, la capa de salida, las ganancias y los sesgos) es de AdamW.
# El decaimiento les toca también a las ganancias y a los sesgos, que en 04 y 05 se libraban: aquí
# se notó poco (measures/README.md). Las pruebas (tests/test_06_gpt.py) comparan nuestros dos pasos
# con los de torch.optim.Muon, dando también tres vueltas, y torch.optim.RMSprop.
with_rows = [model.ngrams.weight] if NGRAMS > 1 else []
with_muon = [w for w in model.blocks.parameters() if MUON and w.dim() == 2]
optimizer = torch.optim.AdamW(
    model.parameters(), betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY, fused=True)
memory = {w: torch.zeros_like(w) for w in with_muon}         # la media de sus gradientes
memory |= {w: torch.zeros_like(w[:, :1]) for w in with_rows}         # la de sus cuadrados, (R, 1)

# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)

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

# %% Lo que ya se sabía: los pesos de BASE, o todo lo de RESUME (la primera vez, puedes saltártelo)
# De BASE se toman los pesos: los caracteres nuevos tienen filas recién nacidas. De RESUME, además,
# lo que el optimizador recuerda y el paso: si nada cambia, se llega a lo mismo que sin haber parado
# (en la CPU, bit a bit). Lo que sí puede cambiar se dice; el texto no puede.
recipe = {"DTYPE": DTYPE, "HILOS": torch.get_num_threads(), "PROCESOS": world}
recipe |= {name: value for name, value in globals().items()
           if name.isupper() and isinstance(value, (int, float))}
fingerprint = zlib.crc32(text.encode())                      # casi seguro distinto en otro texto
best, done, seconds = {"val_loss": math.inf}, 0, 0.0
try:
    if BASE:
        known = model.state_dict()
        for name, weight in origin["weights"].items():
            known[name][:len(weight)] = weight               # las filas que ya había
        newborn = evaluate(val)
        print(f"\n    lo que «{BASE}» ya sabe de este texto: val {newborn:.4f}")
    if RESUME:
        latest = origin["training"]
        if latest["text"] != fingerprint or len(latest["memory"]) != len(memory):
            sys.exit(f"error: «{RESUME}» aprendió de otro texto, o sin Muon si ahora lo hay (o al "
                     "revés): dale lo suyo, o parte de él con --base")
        changes = [f"{name} era {value}" for name, value in latest["recipe"].items()
                   if recipe[name] != value]
        model.load_state_dict(latest["weights"])
        optimizer.load_state_dict(optimizer.state_dict() | {"state": latest["optimizer"]})
        for kept, was in zip(memory.values(), latest["memory"]):
            kept.copy_(was)
        best, done, seconds = origin, latest["step"], latest["seconds"]
        print(f"\n    «{RESUME}» llegó al paso {done};", ", ".join(changes) or "todo sigue igual")
except Exception:                                            # un fichero roto falla de mil maneras
    sys.exit(f"error: «{RESUME or BASE}» está dañado, o no guarda lo que hace falta para seguir: "
             "prueba --base")
if RESUME and not rank:
    save(origin, OUT)                                        # ya es lo último guardado

# %% 13. Entrenar
# Cada EVAL_INTERVAL pasos se mide la pérdida en las dos partes, se guarda, y se ve qué escribe. Se
# conserva el modelo del paso con menos pérdida en validación. Si ésta empeora mientras la de
# entrenar baja, el modelo se ajusta de más (sobreajuste, overfitting): prueba --ngrams 3, menos
# STEPS o, mejor, más texto. Ajustarse de más no es aún recitar pasajes enteros: la celda 14 mira
# cuánto copia.
# La tasa sube en WARMUP_STEPS pasos y baja después en línea recta (lección 03). `height` es la
# parte del máximo que toca en este paso, y vale para las tres maneras de andar.
# Hay una novedad. Después de mover las tablas, y antes de mover lo demás, se mide el gradiente de
# todo lo que no son tablas, colocado en fila como un solo vector. Si es más largo que GRAD_CLIP, se
# encoge hasta medir eso (clipping), sin cambiar hacia dónde apunta. Así un lote raro pesa menos en
# las medias de AdamW y de Muon, que duran muchos pasos: Pascanu et al., «On the difficulty of
# training recurrent neural networks» (2013).
# El azar del dropout se siembra en cada paso, con SEED y el número del paso. Si no, con DROPOUT, un
# entrenamiento que se retoma no daría lo mismo.
# Los turnos: en Python, -1 % 40 es 39, y [39::40] son las filas 39, 79, 119... En el paso 1 decaen
# ésas; en el 2, las 38, 78, 118...; y en el 40, las 0, 40, 80... Con las matrices es igual, de seis
# en seis.
signal.signal(signal.SIGINT, signal.default_int_handler)     # Ctrl-C: para, y escribe tu muestra
chunk = BATCH_SIZE * world * BLOCK_SIZE                      # caracteres de un paso
print(f"\n13. quedan {max(0, STEPS - done)} pasos de {chunk} caracteres en «{DEVICE}», {DTYPE}")
tick = time.perf_counter()
try:
    for step in range(done + 1, STEPS + 1):
        up = step / (WARMUP_STEPS + 1)                       # de 0 a 1 en los primeros pasos
        down = (STEPS - step + 1) / max(STEPS - WARMUP_STEPS, 1)    # de 1 a 0 en los demás
        height = min(up, down)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * height
        turn = (step - 1) * world + rank
        torch.manual_seed((SEED * 1_000_003 + turn) % 2**63)
        loss = nll(parallel.train(), batch(turn))
        model.zero_grad()
        loss.backward()
        for w in with_rows:
            row_step(w, memory[w], LEARNING_RATE * height / 2)
            some = w.data[-step % 40::40]                    # una fila de cada 40, por turnos
            some *= max(0, 1 - 320 * LEARNING_RATE * height * WEIGHT_DECAY)
        nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP or math.inf)
        for w in with_muon:
            memory[w].lerp_(w.grad, 0.05)                    # 95 % de lo de antes, 5 % de lo nuevo
            w.grad = None                                    # usado: AdamW no lo verá
        for w in with_muon[-step % 6::6]:                    # una de cada seis, por turnos
            muon_step(w, memory[w], 6 * MUON * height)
        optimizer.step()                                     # lo demás
        due = step % EVAL_INTERVAL == 0 or step == STEPS
        if step % 10 and not due:                            # mirar a cada paso frena a una GPU
            continue
        if not math.isfinite(loss.item()):
            sys.exit(f"error: la pérdida dejó de ser finita hacia el paso {step}: baja MUON o "
                     "LEARNING_RATE")
        seconds += time.perf_counter() - tick
        speed = chunk * step / seconds
        live(f"{step}/{STEPS}   pérdida {loss.item():.3f}   {speed:.0f} caracteres/s   "
             f"faltan {chunk * (STEPS - step) / speed:.0f} s")
        if due and not rank:
            now = {
                "step": step,
                "train_loss": evaluate(train),
                "val_loss": evaluate(val),
                "weights": {name: w.cpu().clone() for name, w in model.state_dict().items()},
            }
            if now["val_loss"] < best["val_loss"]:
                best = now
            latest = {
                "step": step,
                "seconds": seconds,
                "recipe": recipe,
                "text": fingerprint,
                "weights": now["weights"],
                "memory": list(memory.values()),
                "optimizer": optimizer.state_dict()["state"],
            }
            checkpoint = {
                "format": 1,
                "model": "gpt",
                "config": config,
                "chars": chars,
                "data": Path(DATA).name,
                "training": latest,
            }
            save(best | checkpoint, OUT)
            done = step
            live("")
            print(f"    paso {step:5d}   train {now['train_loss']:.4f}   val {now['val_loss']:.4f}"
                  f"   mejor {best['step']:5d}  ", *generate(40).split())
        tick = time.perf_counter()                           # evaluar no cuenta
except KeyboardInterrupt:
    print("\n    interrumpido;", f"sigue con --resume {OUT}" if done else "no hay nada guardado")
if world > 1:
    torch.distributed.destroy_process_group()
if rank:
    sys.exit()
if done:
    model.load_state_dict(best["weights"])

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

# %% 14. ¿Qué ha aprendido?
# La pérdida dice poco sola: hay que compararla con la de contar, que no entiende nada. Y hay que
# leer lo que escribe: cuántas de sus palabras están en el texto, y si lo que copia es corto
# (aprende) o largo (recita). Un nat por carácter es dudar, de media, entre e = 2.7 caracteres; la
# duda que da una pérdida, e^pérdida, es la perplejidad (lección 02).
reach, most = min(6, cut - 1), 2_000_000                     # de uno enorme, lo que rodea al corte
since = max(0, cut - most)
near = ids[since:cut + most].cpu().unfold(0, reach + 1, 1)   # (N, reach + 1)
by_context = counting(near[:, :-1], near[:, -1], cut - since - reach).mean(1)
loss = min(best["val_loss"], newborn)                        # el de sin entrenar, con STEPS = 0
print(f"\n14. en validación, {loss:.3f} nats por carácter; contar da {by_context.min():.3f}, con "
      f"{by_context.argmin()} de contexto\n")
written = generate(LENGTH)
print("    " + written.replace("\n", "\n    "))
words = re.findall(r"\w+", written.lower())
vocabulary = set(re.findall(r"\w+", text.lower()))
source, begin, longest = text[since:cut], 0, ""
for end in range(1, len(written) + 1):
    while written[begin:end] not in source:                  # si no está, tampoco uno más largo
        begin += 1
    longest = max(longest, written[begin:end], key=len)
exist = sum(word in vocabulary for word in words)
print(f"\n    de sus {len(words)} palabras, {exist} están en el texto; lo más largo que copia es "
      f"{longest!r}")
# Es un GPT como los grandes: sus bloques llevan piezas parecidas. (Las tablas son menos comunes.)
# De ChatGPT lo separan el tamaño (miles de millones de parámetros, billones de caracteres) y lo que
# viene después: afinarlo con ejemplos de conversación y con lo que la gente prefiere.

# %% 15. ¿Dónde mira?
# Si los valores son la matriz identidad (el del puesto j es todo ceros y un 1 en j), la media
# ponderada de los valores son los propios pesos: la atención se retrata. ¿A cuántos caracteres
# atrás mira cada cabeza, de media? Unas miran cerca y otras lejos. Si alguna busca un carácter, se
# ve en la figura (--plot). Mirando a todos por igual, el puesto t mira t / 2 atrás: de media, un
# cuarto de la longitud.
piece = text[cut:cut + min(30, BLOCK_SIZE)]
length, maps = len(piece), []
back = torch.arange(length)[:, None] - torch.arange(length)  # (T, T) caracteres atrás
print(f"\n15. en {piece!r}, a cuántos caracteres atrás mira cada cabeza:")
with torch.no_grad():
    x = model.eval().embed(encode(piece)[None].to(DEVICE))               # (1, T, C)
    for number, block in enumerate(model.blocks, 1):
        q, k, _ = block.attention.split(block.norm_1(x))                        # (1, H, T, d)
        looks = attention(q, k, torch.eye(length, device=DEVICE))[0].cpu()      # (H, T, T)
        far = (looks * back).sum(2).mean(1)                                     # (H,)
        print(f"    bloque {number}:", *[f"{mean_back:4.1f}" for mean_back in far])
        maps.append(looks.transpose(0, 1).flatten(1))                           # (T, H * T)
        x = block(x)
if PLOT and maps:                                            # una fila por bloque
    plt.figure(figsize=(3 * N_HEAD, 3 * N_LAYER))
    plt.imshow(torch.cat(maps), cmap="cividis")
    plt.xticks(range(N_HEAD * length), piece * N_HEAD, fontsize=5)
    plt.yticks(range(N_LAYER * length), piece * N_LAYER, fontsize=5)
    plt.savefig(Path(PLOT) / "atencion.png", dpi=150, bbox_inches="tight")
if done:
    print(f"resultado train={best['train_loss']:.4f} val={best['val_loss']:.4f} test=- "
          f"segundos={seconds:.1f} tokens_s={chunk * done / seconds:.0f} ckpt={OUT}")
else:
    print("resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")

# %% Experimentos: predice antes de mirar (con poesia.txt; tal como viene, val 1.4494)
# Los de 250 pasos se comparan con el primero de ellos. Son de una semilla; con otras tres, el
# primero da de 1.6321 a 1.6376, así que una diferencia de cinco milésimas puede ser azar.
# - STEPS = 250: ¿hasta dónde se llega en menos de un quinto de los pasos? val 1.6327.
# - STEPS = 250, N_LAYER = 0, NGRAMS = 0: sin atención ni tablas, ¿a qué se parece? A contar
#   parejas: val 2.4020.
# - STEPS = 250, N_LAYER = 1, NGRAMS = 0, ROTARY = False, QK_NORM = False, RESIDUAL = False,
#   LAYER_NORM = False: ¿y un solo bloque, sin nada que lo sostenga? Aprende poco más que qué letras
#   abundan: val 3.1485.
# - STEPS = 250, NGRAMS = 0: ¿cuánto ayudan las tablas? Mucho, cuando se entrena poco: val 2.0684.
# - STEPS = 250, ROTARY = False: ¿y sumar las posiciones en vez de girar? Peor: val 1.7012.
# - STEPS = 250, QK_NORM = False: ¿hace falta que preguntas y claves midan lo mismo? Un poco: val
#   1.6510.
# - STEPS = 250, FEED_FORWARD = False: ¿y si sólo reúne y no piensa? Menos de lo que se diría: val
#   1.6655.
# - WEIGHT_DECAY = 0: ¿y si nada decae, ni las matrices ni las filas? Peor: val 1.4658.
# - STEPS = 250, MUON = 0: ¿y con AdamW en las matrices? Peor: val 1.6666.
# - STEPS = 250, N_HEAD = 1: ¿hacen falta dos cabezas? Con una sale tan parecido que puede ser el
#   azar de la semilla: val 1.6309.
# - STEPS = 250, GRAD_CLIP = 0: ¿y si no se encoge ningún gradiente? Algo peor: val 1.6408.
# - DATA = "pueblos.txt", EVAL_INTERVAL = 135: ¿y con un texto tres veces menor? Sobreajuste:
#   pasada la mitad, la pérdida de validar deja de bajar, y la de entrenar no. Se guarda la del
#   mejor paso: val 1.8150.
# - DATA = "pueblos.txt", EVAL_INTERVAL = 135, DROPOUT = 0.2: ¿lo cura apagar? No: aprende más
#   despacio, y también acaba ajustándose de más: val 1.8736.
# - DATA = "pueblos.txt", EVAL_INTERVAL = 135, NGRAMS = 3: ¿y sin las tablas de cuatro y de cinco
#   caracteres? Mejor: val 1.6982. (No se compara con las lecciones 02 a 05: aquí las líneas no se
#   barajan, y validan las últimas.)

"""
06. GPT: de una media con máscara a un modelo que escribe versos

Al terminar sabrás qué calcula la atención (attention), cómo se apila hasta formar un GPT, cómo se
entrena sin engañarse y cómo se juzga lo que escribe. Cada celda construye una pieza y la prueba.

    python 06_gpt.py                    entrena con versos y deja ckpt.pt, en dos minutos
    python 06_gpt.py --steps 0          sólo las piezas y sus pruebas, en segundos
    python 06_gpt.py --resume ckpt.pt   sigue desde lo último que guardó
    python sample.py ckpt.pt            el modelo habla
"""
import argparse
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
SEED = 1337           # semilla del azar
PLOT = ""             # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
DEVICE = ""           # cuda, mps o cpu (vacío: cuda si la hay, o cpu)
DTYPE = ""            # bfloat16 o float32 al entrenar (vacío: bfloat16 en cuda, o float32)
COMPILE = False       # fundir operaciones con torch.compile: arranca despacio y luego corre más
STEPS = 1250          # pasos de entrenamiento (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 250   # pasos entre evaluaciones; en cada una se guarda
BATCH_SIZE = 12       # ventanas de texto por paso
BLOCK_SIZE = 128      # caracteres de una ventana: lo más lejos que el modelo mira
N_EMBD = 96           # canales: números con que se describe cada posición
N_HEAD = 2            # cabezas de atención por bloque; N_EMBD debe ser múltiplo suyo
N_LAYER = 3           # bloques apilados (0: sin atención)
DROPOUT = 0.0         # fracción de activaciones que se apagan al entrenar
RESIDUAL = True       # conexiones residuales: x + f(x) en vez de f(x)
LAYER_NORM = True     # normalizar cada posición antes de cada capa
FEED_FORWARD = True   # red de dos capas tras la atención
ROTARY = True         # posiciones que giran preguntas y claves, en vez de sumarse a la entrada
SQUARE = True         # elevar al cuadrado la ReLU de esa red
NGRAMS = 8192         # filas de cada tabla de n-gramas, la de parejas y la de tríos (0: sin tablas)
NGRAM_DROPOUT = 0.25  # fracción de posiciones que al entrenar se quedan sin sus n-gramas
LEARNING_RATE = 5e-3  # tasa de aprendizaje en su máximo
MUON = 0.015          # tasa de Muon en las matrices de los bloques (0: AdamW también en ellas)
WARMUP_STEPS = 100    # pasos en que la tasa sube desde cero; después baja en línea recta hasta cero
WEIGHT_DECAY = 0.2    # decaimiento de los pesos, sólo en las matrices
GRAD_CLIP = 1.0       # norma máxima del gradiente (0: sin límite)
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

# %% 1. La media con máscara, de tres maneras
# Atender es promediar lo anterior. Con bucles se entiende; con una matriz triangular es un solo
# producto; y como softmax de notas (scores) con -inf en el futuro, las notas podrán aprenderse.
torch.manual_seed(SEED)
x = torch.randn(4, 8, 32)                                    # (B, T, C) textos, puestos, canales
B, T, C = x.shape
loops = torch.zeros(B, T, C)
for b in range(B):
    for t in range(T):
        loops[b, t] = x[b, :t + 1].mean(0)                   # (C,) la media de lo visto hasta t
past = torch.ones(T, T).tril()                               # (T, T) fila t: unos hasta t
product = past / past.sum(1, keepdim=True) @ x               # (T, T) @ (B, T, C) -> (B, T, C)
scores = torch.zeros(T, T).masked_fill(past == 0, -math.inf)
weights = F.softmax(scores, dim=-1)                          # (T, T) cada fila suma 1
assert torch.allclose(loops, product, atol=1e-5)
assert torch.allclose(loops, weights @ x, atol=1e-5)
print(f"1. bucles, matriz y softmax dan la misma media; los primeros pesos:\n{weights[:3, :3]}")

# %% 2. Quién es y dónde está
# Cada carácter tiene un vector aprendido (token embedding) y cada puesto otro (position embedding).
# En «roma» y en «mora» la última letra ve las mismas tres: sin posiciones, la media ponderada por
# parecido (producto escalar) sale igual. (Con más capas, la máscara deja adivinar algo del orden.)
token, position = torch.randn(2, 4, C)                       # (4, C) cada una
roma, mora = torch.tensor([0, 1, 2, 3]), torch.tensor([2, 1, 0, 3])

def last_view(x):
    """Lo que la última posición de `x` (T, C) ve en las anteriores: media ponderada, (C,)."""
    return F.softmax(x[-1] @ x[:-1].T / C**0.5, dim=-1) @ x[:-1]

without = torch.dist(last_view(token[roma]), last_view(token[mora]))
added = torch.dist(last_view(token[roma] + position), last_view(token[mora] + position))
assert without < 1e-4
print(f"\n2. «roma» y «mora» sin posiciones difieren en {without:.0e}; con ellas, en {added:.2f}")

# %% 3. Atención con cuatro letras
# Cada letra lleva tres vectores: una pregunta (query), una clave (key) y un valor (value). Aquí se
# ponen a mano; luego se aprenderán. La última «a» de «roma» pregunta por consonantes, las claves
# dicen (¿vocal?, ¿consonante?), y los valores son lo que cada letra entrega si se la atiende.
query = torch.tensor([0.0, 2])                               # (d,) la pregunta de la «a»
keys = torch.tensor([[0.0, 1], [1, 0], [0, 1], [1, 0]])      # (T, d) r, o, m, a
values = torch.tensor([[4.0, 1], [0, 2], [2, 3], [0, 8]])    # (T, 2)
scores = [(query @ key).item() / math.sqrt(2) for key in keys]                  # entre raíz de d
total = sum(math.exp(score) for score in scores)
mean = torch.zeros(2)
print("\n3. la «a» de «roma» busca consonantes")
for letter, score, value in zip("roma", scores, values):
    weight = math.exp(score) / total
    mean += weight * value
    print(f"   {letter}: nota {score:.2f}, e^nota {math.exp(score):.2f}, peso {weight:.3f}")
print(f"   media de los valores, con esos pesos: ({mean[0]:.2f}, {mean[1]:.2f})")
# A mano: 2 / 1.414 = 1.414 y e^1.414 = 4.11; los pesos, 4.11 / 10.22 = 0.402 y 1 / 10.22 = 0.098;
# la media, 0.402 (4, 1) + 0.098 (0, 2) + 0.402 (2, 3) + 0.098 (0, 8) = (2.41, 2.59).
assert torch.allclose(mean, torch.tensor([2.41, 2.59]), atol=0.01)

# %% 4. La misma cuenta para todas
# En matrices, todas las notas son un producto: Vaswani et al., «Attention Is All You Need» (2017),
# ecuación 1. Es un grafo: a cada puesto le llegan flechas, con su peso, de él y de los anteriores.
# Si todo sale de un mismo texto es autoatención (self-attention); cruzada, si claves y valores son
# de otro. Con máscara es un descodificador (decoder), como éste; sin ella, codificador (encoder).
def attention(q, k, v):
    """softmax(q k^T / sqrt(d)) v sin ver el futuro: q, k, v (..., T, d) -> (..., T, d)."""
    T, d = q.shape[-2:]
    scores = q @ k.transpose(-2, -1) / math.sqrt(d)                             # (..., T, T)
    future = torch.ones(T, T).triu(1) == 1                                      # (T, T)
    return F.softmax(scores.masked_fill(future, -math.inf), dim=-1) @ v

assert torch.allclose(attention(query.expand(4, 2), keys, values)[-1], mean)    # la fila de la «a»
changed = x.clone()
changed[0, 5] += 1                                           # otra letra en el texto 0, puesto 5
before, after = attention(x, x, x), attention(changed, changed, changed)        # (B, T, C)
assert torch.allclose(before, F.scaled_dot_product_attention(x, x, x, is_causal=True), atol=1e-5)
moved = (after - before).norm(dim=2)                                            # (B, T)
assert moved[1:].sum() == 0 == moved[0, :5].sum()            # ni otros textos ni puestos de antes
print("\n4. si cambia el puesto 5, cada uno ve otra cosa en:", *[f"{m:.2f}" for m in moved[0]])

# Por qué se divide por sqrt(d): d productos de varianza 1 suman varianza d, y con notas tan
# dispares el softmax se queda con un solo puesto y ya no aprende.
q, k = torch.randn(2, 1000, 64)                              # (1000, d) cada una, varianza 1
for scores in q @ k.T, q @ k.T / 8:                          # sin dividir y divididas
    largest = F.softmax(scores[:, :16], dim=-1).amax(1).mean()
    print(f"   varianza de las notas {scores.var():.2f}; la mayor de 16 se lleva el {largest:.0%}")
assert abs(scores.var() - 1) < 0.1

# %% 5. Varias cabezas a la vez
# Cada cabeza lee los C canales y escribe en d = C / H: busca una cosa distinta. Después una capa
# mezcla lo hallado (apartado 3.2.2). Las preguntas, claves y valores de todas son un solo producto,
# aquí sin sesgo (bias), y la atención es la de PyTorch, que no llega a escribir todas las notas.
class MultiHeadAttention(nn.Module):
    """`n_head` cabezas en paralelo y la mezcla: (B, T, C) -> (B, T, C)."""
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.n_head = n_head
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.mix = nn.Linear(n_embd, n_embd)

    def split(self, x):
        """Pregunta, clave y valor de cada cabeza: (3, B, H, T, d)."""
        B, T, C = x.shape
        parts = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head)
        return parts.permute(2, 0, 3, 1, 4)

    def forward(self, x):
        q, k, v = self.split(x)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)             # (B, H, T, d)
        return self.mix(y.transpose(1, 2).flatten(2))                           # (B, T, C)

many = MultiHeadAttention(C, 4)
q, k, v = many.split(x)                                      # (B, H, T, d) cada una
heads = [attention(q[:, h], k[:, h], v[:, h]) for h in range(4)]                # (B, T, d)
assert torch.allclose(many(x), many.mix(torch.cat(heads, dim=-1)), atol=1e-5)
print("\n5. cuatro cabezas juntas hacen lo mismo que cuatro por separado")

# %% 6. Pensar, sumar, normalizar y apagar
# La atención reúne; una red de dos capas (feed-forward), igual en cada puesto, piensa sobre lo
# reunido (ecuación 2). Lleva ReLU, como en 2017; GPT-2 usa GELU, una ReLU de esquina redondeada.
def feed_forward(n_embd, activation):
    """Ensanchar por cuatro, `activation` y volver: una red (..., C) -> (..., C)."""
    return nn.Sequential(nn.Linear(n_embd, 4 * n_embd), activation, nn.Linear(4 * n_embd, n_embd))

# Apilados, cada bloque atenúa el gradiente que le llega, y al primero apenas le toca. La conexión
# residual x + f(x) le abre un camino directo, cuya derivada es 1. He et al., «Deep Residual
# Learning for Image Recognition» (2015).
def gradient(residual):
    """Norma del gradiente que llega al pie de 8 bloques de atención y feed-forward apilados."""
    foot = y = x.clone().requires_grad_()
    for _ in range(8):
        block = nn.Sequential(MultiHeadAttention(C, 4), feed_forward(C, nn.ReLU()))
        y = y + block(y) if residual else block(y)
    y.square().mean().backward()
    return foot.grad.norm()

plain, direct = gradient(False), gradient(True)
assert direct > 1000 * plain
print(f"\n6. al pie de 8 bloques llega un gradiente de {plain:.0e}; con la residual, {direct:.0e}")

# LayerNorm deja cada puesto con media 0 y varianza 1, sin mirar a los demás del lote; después, una
# ganancia (gain) y un sesgo aprendidos. Ba et al., «Layer Normalization» (2016). En 2017 iba tras
# la suma; aquí, como en GPT-2, antes de cada capa, y así nada corta el camino directo.
gain, bias = torch.randn(2, C)
mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)   # (B, T, 1)
normal = (x - mean) / torch.sqrt(var + 1e-5) * gain + bias                      # (B, T, C)
assert torch.allclose(normal, F.layer_norm(x, (C,), gain, bias), atol=1e-4)

# Dropout apaga al azar una fracción p de las activaciones, para que ninguna dependa de una sola
# compañera, y agranda las demás para que la media no cambie; el artículo, en vez de agrandar al
# entrenar, achica los pesos al usar la red: Srivastava et al., «Dropout» (2014).
dropout, ones = nn.Dropout(0.2), torch.ones(100_000)
kept = dropout(ones)
assert set(kept.tolist()) == {0.0, 1.25} and torch.equal(dropout.eval()(ones), ones)
print(f"   dropout apaga {(kept == 0).float().mean():.3f} y deja la media en {kept.mean():.3f}")

# %% 7. Lo que vino después
# Cada invento es una constante: quítalo y mira qué se pierde. ROTARY gira cada pareja de canales de
# la pregunta y de la clave un ángulo proporcional a su puesto, y su producto depende sólo de la
# distancia. Su et al., «RoFormer» (2021), que empareja canales vecinos; aquí, i e i + d/2.
def rotate(x):
    """Gira los canales i, i + d/2 de `x` (..., T, d) un ángulo t / 10000^(2i/d)."""
    T, d = x.shape[-2:]
    speed = 10_000 ** (-torch.arange(0, d, 2, device=x.device) / d)             # (d / 2,)
    angle = torch.arange(T, device=x.device)[:, None] * speed                   # (T, d / 2)
    cos, sin = angle.cos(), angle.sin()
    a, b = x.chunk(2, dim=-1)                                                   # (..., T, d / 2)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

q, k = torch.randn(2, 1, C).expand(2, T, C)                  # la misma pareja en todos los puestos
scores = rotate(q) @ rotate(k).T                             # (T, T)
assert torch.allclose(scores[1:, 1:], scores[:-1, :-1], atol=1e-4 * C)

# Antes de girar se deja a todas con el mismo tamaño, y ninguna nota puede dispararse: Henry et al.,
# «Query-Key Normalization for Transformers» (2020).
class RotaryAttention(MultiHeadAttention):
    def split(self, x):
        parts = super().split(x)                                                # (3, B, H, T, d)
        q, k = rotate(F.rms_norm(parts[:2], parts.shape[-1:]))                  # (B, H, T, d)
        return q, k, parts[2]

# SQUARE eleva la ReLU al cuadrado, gratis: So et al., «Primer» (2021).
class SquaredReLU(nn.Module):
    def forward(self, x):
        return F.relu(x).square()

# NGRAMS mete en la red la tabla de la lección 02: a cada carácter se le suma una fila por los dos
# últimos y otra por los tres últimos. Hay demasiados tríos, y a cada uno le toca la fila que diga
# el resto de dividir su número (hashing): algunos la comparten. Pagnoni et al., «Byte Latent
# Transformer» (2024); Cheng et al., «Conditional Memory via Scalable Lookup» (Engram, 2026).
def ngram_rows(ids, V, rows):
    """Fila de la pareja (primera tabla) y del trío (segunda) que acaban en cada id: (2, B, T)."""
    before = F.pad(ids, (1, 0))[:, :-1]                      # el de un puesto antes, o el id 0
    earlier = F.pad(ids, (2, 0))[:, :-2]                     # el de dos puestos antes
    pair = before * V + ids                                  # un número de dos cifras en base V
    triple = earlier * V**2 + pair                           # y uno de tres
    return torch.stack([pair % rows, rows + triple % rows])

pair, triple = ngram_rows(roma[None], 4, 20)                 # a mano: «ma» es 2 * 4 + 3 = 11
assert pair[0, 3] == 11 and triple[0, 3] == 27               # «oma» es 16 + 11, y 20 + 27 % 20
print(f"\n7. filas de «roma» en dos tablas de 20: {pair[0].tolist()} y {triple[0].tolist()}")

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

# %% 8. Del texto a los números
# El vocabulario son los caracteres del texto, ordenados; el id de uno es su puesto. El 10 % final
# no se entrena: dirá si el modelo aprende o recita. No hay otra parte, de prueba, como en las
# cifras publicadas; y esta validación, que se miró al elegir las constantes, es algo optimista.
chars = "".join(sorted(set(text)))                           # id -> carácter
V = len(chars)
cut = int(0.9 * len(text))
PROMPT = unicodedata.normalize("NFC", PROMPT) or chars[:1]
if V < 2 or cut <= BLOCK_SIZE or len(text) - cut < 2:
    sys.exit(f"error: «{DATA}» es corto: {len(text)} caracteres, {V} distintos, y BLOCK_SIZE es "
             f"{BLOCK_SIZE}. Hace falta más texto o menos BLOCK_SIZE")
if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if min(BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HEAD, EVAL_INTERVAL) < 1 or N_EMBD % N_HEAD or (
        ROTARY and N_EMBD // N_HEAD % 2):
    sys.exit("error: BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HEAD y EVAL_INTERVAL deben ser 1 o más, y "
             "N_EMBD, múltiplo de N_HEAD; con ROTARY, de su doble")
if not TEMPERATURE > 0 or not set(PROMPT) <= set(chars):
    sys.exit(f"error: TEMPERATURE debe ser positiva, y PROMPT, de caracteres que haya en «{DATA}»")
look_up = torch.zeros(0x110000, dtype=torch.uint8 if V <= 256 else torch.int32)
for i, char in enumerate(chars):
    look_up[ord(char)] = i                                   # código -> id

def encode(text):
    """Ids de los caracteres de `text`, que deben estar en el vocabulario: (N,)."""
    return look_up[torch.frombuffer(bytearray(text, "utf-32-le"), dtype=torch.int32)]

ids = encode(text)                                           # (N,)
train, val = ids[:cut], ids[cut:]
assert "".join(chars[i] for i in ids[:1000]) == text[:1000]
print(f"\n8. {len(ids)} caracteres, {V} distintos; entrenar con {cut}, validar con {len(val)}")

# %% 9. El bloque y el GPT
# Un bloque: reunir (atención) y pensar (feed-forward), cada cosa normalizada antes y sumada
# después. Un GPT: los embeddings, N_LAYER bloques, una norma y una nota para cada carácter.
norm = nn.LayerNorm if LAYER_NORM else nn.Identity

class Block(nn.Module):
    """Atención y feed-forward con las piezas que digan las constantes: (B, T, C) -> (B, T, C)."""
    def __init__(self):
        super().__init__()
        attention = RotaryAttention if ROTARY else MultiHeadAttention
        self.norm_1 = norm(N_EMBD)
        self.attention = attention(N_EMBD, N_HEAD)
        if FEED_FORWARD:
            self.norm_2 = norm(N_EMBD)
            self.feed_forward = feed_forward(N_EMBD, SquaredReLU() if SQUARE else nn.ReLU())
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x):
        y = self.dropout(self.attention(self.norm_1(x)))
        x = x + y if RESIDUAL else y
        if FEED_FORWARD:
            y = self.dropout(self.feed_forward(self.norm_2(x)))
            x = x + y if RESIDUAL else y
        return x

# Los pesos nacen pequeños, para que nadie opine fuerte al empezar: en GPT-2 con desviación 0.02, y
# menos en las capas que escriben en la suma; aquí, según cuántas entradas tenga cada capa.
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
        self.head = nn.Linear(N_EMBD, V)
        for w in self.parameters():
            if w.dim() == 2:
                nn.init.normal_(w, std=0.5 * w.size(1)**-0.5)
        if NGRAMS:                                           # una fila sin estrenar no dice nada
            self.ngrams = nn.Embedding(2 * NGRAMS, N_EMBD)
            nn.init.zeros_(self.ngrams.weight)

    def embed(self, ids):
        """Lo que entra en el primer bloque: (B, T) -> (B, T, C)."""
        x = self.token(ids)                                            # (B, T, C)
        if NGRAMS:
            found = self.ngrams(ngram_rows(ids, V, NGRAMS)).sum(0)     # (B, T, C)
            if self.training:                                # sin ellos a ratos, no se fía de más
                keep = torch.rand(*ids.shape, 1, device=ids.device) >= NGRAM_DROPOUT
                found = found * keep                                   # (B, T, C) * (B, T, 1)
            x = x + found
        if not ROTARY:
            x = x + self.position.weight[:ids.size(1)]                 # (B, T, C) + (T, C)
        return self.dropout(x)

    def forward(self, ids):
        x = self.blocks(self.embed(ids))                               # (B, T, C)
        return self.head(self.norm(x))                                 # (B, T, V)

def batch(ids, step):
    """Ventanas de `ids` al azar, según SEED y `step`: (B, T + 1)."""
    torch.manual_seed(SEED * 1_000_003 + step)
    start = torch.randint(len(ids) - BLOCK_SIZE, (BATCH_SIZE,))                 # (B,)
    return ids.unfold(0, BLOCK_SIZE + 1, 1)[start]

def nll(model, windows):
    """Sorpresa media de cada carácter de `windows` (B, T + 1) tras los anteriores, en nats."""
    x, y = windows[:, :-1].long(), windows[:, 1:].long()                        # (B, T) cada una
    short = DTYPE == "bfloat16" and model.training           # productos en 16 bits; al medir, en 32
    with torch.autocast(x.device.type, torch.bfloat16, enabled=short):
        logits = model(x)                                                       # (B, T, V)
    return F.cross_entropy(logits.float().flatten(0, 1), y.flatten())

DEVICE = DEVICE or ("cuda" if torch.cuda.is_available() else "cpu")
DTYPE = DTYPE or ("bfloat16" if DEVICE == "cuda" else "float32")
# Con varias GPU, cada proceso aprende de ventanas distintas y al dar el paso promedian los
# gradientes: torchrun --nproc_per_node=2 --local-ranks-filter=0 06_gpt.py. Si no, sáltate esto.
rank, world = 0, 1
if "TORCHELASTIC_RUN_ID" in os.environ:                      # lo pone torchrun
    torch.distributed.init_process_group()
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    if DEVICE == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
torch.manual_seed(SEED)
model = GPT().to(DEVICE)
train, val = train.to(DEVICE), val.to(DEVICE)
windows = batch(train, 0)                                    # (B, T + 1)
x = windows[:, :-1].long()                                   # (B, T)
changed = torch.cat([x[:, :-1], (x[:, -1:] + 1) % V], dim=1)                    # otro al final
with torch.no_grad():
    first = nll(model.eval(), windows).item()
    assert torch.allclose(model(x)[:, :-1], model(changed)[:, :-1], atol=1e-4)  # nadie ve el futuro
print(f"\n9. {sum(w.numel() for w in model.parameters())} parámetros; pérdida sin entrenar "
      f"{first:.3f}, y a ciegas entre {V} caracteres, {math.log(V):.3f}")

# %% 10. Dos maneras de dar el paso
# AdamW divide cada número del gradiente por su tamaño habitual (lección 03). Muon mira la matriz
# entera y lleva sus valores singulares hacia 1 con un polinomio; los ínfimos se quedan a medias.
# Jordan et al., «Muon: An optimizer for hidden layers in neural networks» (2024) dan cinco vueltas.
def orthogonal(x):
    """`x` (r, c) con los valores singulares llevados hacia 1."""
    y = x if len(x) <= x.size(1) else x.T                    # (menor, mayor)
    y = y / (y.norm() + 1e-7)
    for _ in range(3):                                       # tres bastan: y <- 3.44 y - 4.78 a y
        a = y @ y.T                                          # + 2.03 a a y
        y = torch.addmm(y, torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315), y, beta=3.4445)
    return y if len(x) <= x.size(1) else y.T

@torch.no_grad()
def muon_step(w, mean, rate):
    """Un paso de la matriz `w`; `mean` es la media móvil de sus gradientes. Cambia las dos."""
    mean.lerp_(w.grad, 0.05)
    step = orthogonal(w.grad.lerp(mean, 0.95))               # asomarse un paso más allá: Nesterov
    w.mul_(1 - rate * WEIGHT_DECAY)
    w.sub_(rate * max(1, len(w) / w.size(1))**0.5 * step)

ours, mean = torch.zeros(2, 96, 64)
theirs = nn.Parameter(ours.clone())
ours.grad = theirs.grad = torch.randn(96, 64)
muon_step(ours, mean, 0.1)
torch.optim.Muon([theirs], lr=0.1, weight_decay=WEIGHT_DECAY, ns_steps=3).step()
assert torch.dist(ours, theirs) < 0.03 * theirs.norm()       # la de PyTorch va en 16 bits
print("\n10. un paso de Muon nuestro y otro de PyTorch llevan al mismo sitio")

matrices, vectors, blocks = [], [], []
for name, w in model.named_parameters():
    if w.dim() == 1:
        vectors.append(w)                                    # sin decaimiento
    elif MUON and name.startswith("blocks"):
        blocks.append(w)                                     # con Muon
    else:
        matrices.append(w)
means = [torch.zeros_like(w) for w in blocks]
adam = torch.optim.AdamW([{"params": matrices, "weight_decay": WEIGHT_DECAY},
                          {"params": vectors, "weight_decay": 0.0}], betas=(0.9, 0.99), fused=True)

# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)

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

# %% 11. Entrenar
# Cada EVAL_INTERVAL pasos se mide la pérdida en las dos partes, se guarda, y se ve qué escribe.
# Vale el mejor en validación: si ésta empeora mientras train baja, recita (sobreajuste,
# overfitting); prueba --dropout 0.2, menos STEPS o más texto. Tras Ctrl-C, --resume sigue.
@torch.no_grad()
def evaluate(ids):
    """Pérdida media sobre `ids`, en ventanas contiguas; si son demasiadas, en unas cuantas."""
    size = min(BLOCK_SIZE, len(ids) - 1)
    windows = ids.unfold(0, size + 1, size)[::1 + len(ids) // 2_000_000]        # (M, T + 1)
    left = (len(ids) - 1) % size                             # lo que no llena una ventana
    total, count = 0.0, len(windows) + left / size
    for some in windows.split(32):
        total += nll(model.eval(), some).item() * len(some)
    if left:
        total += nll(model, ids[None, -1 - left:]).item() * left / size
    return total / count

@torch.no_grad()
def generate(length):
    """PROMPT y `length` caracteres más, sorteados uno a uno según el modelo."""
    rng = torch.Generator().manual_seed(SEED)                # los mismos sorteos cada vez
    ids = encode(PROMPT).long()[None]                                           # (1, T)
    for _ in range(length):
        logits = model.eval()(ids[:, -BLOCK_SIZE:].to(DEVICE))[:, -1].cpu().double()    # (1, V)
        p = F.softmax((logits - logits.max()) / TEMPERATURE, dim=-1)
        ids = torch.cat([ids, torch.multinomial(p, 1, generator=rng)], dim=1)
    return "".join(chars[i] for i in ids[0])

shape = "block_size n_embd n_head n_layer residual layer_norm feed_forward rotary square ngrams"
habits = ("seed dtype steps eval_interval batch_size dropout ngram_dropout learning_rate muon "
          "warmup_steps weight_decay grad_clip")
config = {name: globals()[name.upper()] for name in shape.split()}
recipe = {name: globals()[name.upper()] for name in habits.split()}
recipe["data"] = f"un texto de {len(text)} caracteres, huella {zlib.crc32(text.encode())}"
best, done, seconds = None, 0, 0.0
if RESUME:
    warnings.simplefilter("ignore")                          # torch avisa de ficheros raros
    try:
        saved = torch.load(RESUME, "cpu", weights_only=True)
        training, now = saved["training"], config | recipe
        before = saved["config"] | training["recipe"]
        changes = [f"{name.upper()} era {before[name]}" for name in now
                   if before[name] != now[name]]
        same = config == saved["config"] and before["data"] == now["data"]
        if same and len(means) == len(training["means"]):
            model.load_state_dict(training["weights"])
            adam.load_state_dict(adam.state_dict() | {"state": training["adam"]})
            means = [mean.to(DEVICE) for mean in training["means"]]
            best, done, seconds = saved, training["step"], training["seconds"]
    except Exception:                                        # un fichero roto falla de mil maneras
        sys.exit(f"error: «{RESUME}» no existe, o no guarda un entrenamiento que se pueda seguir")
    if not best:
        sys.exit(f"error: «{RESUME}» no puede seguir así: {', '.join(changes)}")
    if not rank:
        save(saved, OUT)                                     # ya es lo último guardado
    print(f"\n    «{RESUME}» llegó al paso {done};", ", ".join(changes) or "todo sigue igual")

def check_up():
    """Mide, guarda y enseña el modelo de ahora; el mejor hasta aquí queda en `best`."""
    global best
    now = {"step": done, "train_loss": evaluate(train), "val_loss": evaluate(val),
           "weights": {name: w.cpu().clone() for name, w in model.state_dict().items()}}
    if not best or now["val_loss"] < best["val_loss"]:
        best = now
    training = {"step": done, "seconds": seconds, "recipe": recipe, "weights": now["weights"],
                "means": means, "adam": adam.state_dict()["state"]}
    save({**best, "format": 1, "model": "gpt", "config": config, "chars": chars,
          "data": Path(DATA).name, "training": training}, OUT)
    live("")
    print(f"    paso {done:5d}   train {now['train_loss']:.4f}   val {now['val_loss']:.4f}   mejor "
          f"{best['step']:5d}  ", *generate(40).split())

parallel = torch.compile(model) if COMPILE else model
if world > 1:
    parallel = nn.parallel.DistributedDataParallel(parallel)
chunk = BATCH_SIZE * world * BLOCK_SIZE                      # caracteres de un paso
print(f"\n11. quedan {max(0, STEPS - done)} pasos de {chunk} caracteres en «{DEVICE}», {DTYPE}")
start = time.perf_counter() - seconds
try:
    for step in range(done, STEPS):
        loss = nll(parallel.train(), batch(train, step * world + rank))
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP or math.inf)
        height = min((step + 1) / (WARMUP_STEPS + 1), (STEPS - step) / max(STEPS - WARMUP_STEPS, 1))
        for group in adam.param_groups:
            group["lr"] = LEARNING_RATE * height
        adam.step()
        for w, mean in zip(blocks, means):
            muon_step(w, mean, MUON * height)
        done = step + 1
        due = done % EVAL_INTERVAL == 0 or done == STEPS
        if done % 10 and not due:                            # mirar a cada paso frena a una GPU
            continue
        if not math.isfinite(loss.item()):
            worst = "MUON" if MUON / 0.015 > LEARNING_RATE / 5e-3 else "LEARNING_RATE"
            sys.exit(f"error: la pérdida dejó de ser finita en el paso {done}: baja {worst}")
        seconds = time.perf_counter() - start
        live(f"{done}/{STEPS}   pérdida {loss.item():.3f}   {chunk * done / seconds:.0f} "
             f"caracteres/s   faltan {(STEPS - done) * seconds / done:.0f} s")
        if due and not rank:
            check_up()
            start = time.perf_counter() - seconds            # evaluar no cuenta
except KeyboardInterrupt:
    print("\n    interrumpido;", f"sigue con --resume {OUT}" if best else "no hay nada guardado")
if world > 1:
    torch.distributed.destroy_process_group()
if rank:
    sys.exit()
if best:
    model.load_state_dict(best["weights"])

# %% 12. ¿Qué ha aprendido?
# La pérdida dice poco sola: se compara con la de contar parejas (lección 02). Y hay que leerlo:
# cuántas de sus palabras existen, y si lo que copia es corto (aprende) o largo (recita).
most = 2_000_000                                             # de un texto enorme, basta el comienzo
seen, wanted = train[:most].long().cpu(), val[:most].long().cpu()
counts = (seen[:-1] * V + seen[1:]).bincount(minlength=V * V).view(V, V) + 1    # (V, V)
surprise = -(counts / counts.sum(1, keepdim=True)).log()                        # (V, V)
by_counting = surprise[wanted[:-1], wanted[1:]].mean().item()
loss = best["val_loss"] if best else first
print(f"\n12. en validación, {loss:.3f} nats por carácter ({loss / math.log(2):.3f} bits); contar "
      f"parejas da {by_counting:.3f}, y a ciegas, {math.log(V):.3f}\n")
sample = generate(LENGTH)
print("    " + sample.strip().replace("\n", "\n    "))
words = re.findall(r"\w+", sample.lower())
known = set(re.findall(r"\w+", text.lower()))
source, start, longest = text[:min(cut, most)], 0, ""
for end in range(1, len(sample) + 1):
    while sample[start:end] not in source:                   # si no está, tampoco uno más largo
        start += 1
    longest = max(longest, sample[start:end], key=len)
print(f"\n    de sus {len(words)} palabras existen {sum(word in known for word in words)}; lo más "
      f"largo que copia es {longest!r}")

# %% 13. ¿Dónde mira?
# Con la matriz identidad por valores, la atención devuelve sus propios pesos. Cada cabeza aprende
# a mirar a su distancia, sin que nadie se lo pida; entre paréntesis, la de mirar a todos igual.
verse = text[cut:cut + min(30, BLOCK_SIZE)]
T, maps = len(verse), []
back = torch.arange(T)[:, None] - torch.arange(T)            # (T, T) caracteres atrás
print(f"\n13. en {verse!r}, caracteres atrás que mira cada cabeza (por igual, {(T - 1) / 4:.1f}):")
with torch.no_grad():
    x = model.eval().embed(encode(verse).long()[None].to(DEVICE))               # (1, T, C)
    for n, block in enumerate(model.blocks, 1):
        q, k, _ = block.attention.split(block.norm_1(x))                        # (1, H, T, d)
        weights = attention(q.cpu(), k.cpu(), torch.eye(T))[0]                  # (H, T, T)
        print(f"    bloque {n}:", *[f"{(w * back).sum(1).mean():4.1f}" for w in weights])
        maps.append(weights.transpose(0, 1).flatten(1))                         # (T, H * T)
        x = block(x)
if PLOT and maps:                                            # una fila por bloque
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(3 * N_HEAD, 3 * N_LAYER))
    plt.imshow(torch.cat(maps), cmap="cividis")
    plt.xticks(range(N_HEAD * T), verse * N_HEAD, fontsize=5)
    plt.yticks(range(N_LAYER * T), verse * N_LAYER, fontsize=5)
    plt.savefig(Path(PLOT) / "atencion.png", dpi=150, bbox_inches="tight")
if best:
    print(f"resultado train={best['train_loss']:.4f} val={best['val_loss']:.4f} test=- "
          f"segundos={seconds:.1f} tokens_s={chunk * done / seconds:.0f} ckpt={OUT}")
else:
    print("resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")

# %% Experimentos: predice antes de mirar (STEPS = 500; validación en poesia.txt y tinyshakespeare)
# Una escalera: cada peldaño deja lo del anterior. `python figures/escalera.py` los da todos.
# - N_LAYER = 0 y NGRAMS = 0: sin atención, ¿a qué se parece? A contar parejas: 2.384, 2.492.
# - N_LAYER = 1, sin RESIDUAL ni LAYER_NORM: ¿basta mirar? 2.452, 2.608. Y con ellas: 1.931, 1.957.
# - N_LAYER = 3: ¿y tres bloques? 1.871, 1.898. Y ROTARY: 1.754, 1.780. Y SQUARE: 1.758, 1.774.
# - NGRAMS = 8192: ¿ayuda recordar? 1.692, 1.679. Y a ratos no poder: 1.686, 1.679.
# - MUON = 0: ¿y con AdamW para todo? 1.718, 1.712.

"""
06. GPT: de una media con máscara a un modelo que escribe versos

Al terminar sabrás qué calcula la atención (attention), cómo se apila hasta
formar un GPT, cómo se entrena sin engañarse y cómo se juzga lo que escribe.
Cada celda construye una pieza, la enseña funcionando y comprueba lo que dice.

    python 06_gpt.py --data poesia.txt   entrena y deja ckpt.pt, en dos minutos
    python 06_gpt.py --steps 0           sólo las piezas y sus pruebas
    python 06_gpt.py --resume ckpt.pt    sigue donde lo dejaste (Ctrl-C guarda)
    python 06_gpt.py --plot figuras      y además tres figuras
    python sample.py ckpt.pt             el modelo habla

Fuentes: Vaswani et al., «Attention Is All You Need» (2017), ecuaciones 1 y 2;
Radford et al., «Language Models are Unsupervised Multitask Learners» (GPT-2,
2019), apartado 2.3; Ba et al., «Layer Normalization» (2016), ecuación 3; He et
al., «Deep Residual Learning» (2015); Srivastava et al., «Dropout» (2014);
Loshchilov y Hutter, «Decoupled Weight Decay Regularization» (AdamW, 2019). De
después: So et al., «Primer» (2021); Su et al., «RoFormer» (2021), ecuación 34;
Jordan et al., «Muon: An optimizer for hidden layers in neural networks» (2024).
"""
import argparse
import hashlib
import math
import os
import re
import shutil
import signal
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "poesia.txt"   # texto de trabajo: una ruta, o un nombre de la carpeta data/
OUT = "ckpt.pt"       # punto de control (checkpoint) que se escribe
RESUME = ""           # punto de control desde el que seguir (vacío: empezar de cero)
SEED = 1337           # semilla del azar
PLOT = ""             # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
DEVICE = ""           # cuda, mps o cpu (vacío: el mejor que haya)
DTYPE = ""            # bfloat16 o float32 en los productos (vacío: el más rápido, medido aquí)
COMPILE = False       # fundir operaciones con torch.compile: arranca despacio y luego corre más
STEPS = 1500          # pasos de entrenamiento (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 300   # pasos entre evaluaciones; en cada una se guarda
EVAL_CHARS = 2000000  # caracteres de cada parte que mide una evaluación, repartidos (0: todos)
BATCH_SIZE = 24       # ventanas de texto por paso
BLOCK_SIZE = 64       # caracteres de una ventana: lo más lejos que el modelo mira
N_EMBD = 96           # canales: números con que se describe cada posición
N_HEAD = 4            # cabezas de atención por bloque; N_EMBD debe ser múltiplo suyo
N_LAYER = 3           # bloques apilados (0: sin atención, un bigrama)
DROPOUT = 0.0         # fracción de activaciones que se apagan al entrenar
RESIDUAL = True       # conexiones residuales: x + f(x) en vez de f(x)
LAYER_NORM = True     # normalizar cada posición antes de cada capa
FEED_FORWARD = True   # red de dos capas tras la atención
ROTARY = False        # posiciones que giran preguntas y claves, en vez de sumarse a la entrada
SQUARE = False        # elevar al cuadrado la ReLU del feed-forward
LEARNING_RATE = 3e-3  # tasa de aprendizaje en su máximo
MUON = 0.02           # tasa de Muon en las matrices de los bloques (0: AdamW también en ellas)
WARMUP_STEPS = 100    # pasos en que la tasa sube desde cero; después baja en línea recta hasta cero
WEIGHT_DECAY = 0.2    # decaimiento de los pesos, sólo en las matrices
GRAD_CLIP = 1.0       # norma máxima del gradiente (0: sin límite)
PROMPT = ""           # comienzo de la muestra final (vacío: un salto de línea)
LENGTH = 600          # caracteres de la muestra final
TEMPERATURE = 0.7     # de la muestra: menos de 1, más prudente; más de 1, más atrevida

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

# %% En varios procesos, con torchrun; si no lo usas, puedes saltarte esto
# «torchrun --nproc_per_node=2 06_gpt.py» ejecuta este fichero dos veces a la vez. Cada proceso
# (rank) aprende de ventanas distintas y al dar un paso promedian los gradientes. Habla el 0.
rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
if rank:
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")


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

# %% 1. Del texto a los números
# El vocabulario son los caracteres del texto, ordenados; el id de uno es su puesto. Una tabla
# indexada por código Unicode traduce el texto entero de una vez, sin un bucle que lo recorra.
def codes(text):
    """Código Unicode de cada carácter de `text`: (N,) int64."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)


PIECE = 2**20  # caracteres de una vez: un texto de 100 MB no pide varias veces su memoria
present = np.zeros(0x110000, bool)                           # (0x110000,)
for i in range(0, len(text), PIECE):
    present[codes(text[i:i + PIECE])] = True
look_up = np.cumsum(present) - 1                             # código -> id
chars = "".join(map(chr, np.flatnonzero(present)))           # id -> carácter
V = len(chars)


def encode(text):
    """Ids de los caracteres de `text`, que deben estar en el vocabulario: (N,) int64."""
    return torch.from_numpy(look_up[codes(text)])


def decode(ids):
    """El texto de una lista de ids."""
    return "".join(chars[i] for i in ids)


ids = torch.empty(len(text), dtype=torch.uint8 if V <= 256 else torch.int32)    # (N,)
for i in range(0, len(text), PIECE):
    ids[i:i + PIECE] = encode(text[i:i + PIECE])
assert decode(ids[:1000].tolist()) == text[:1000]
cut = int(0.9 * len(ids))  # el 10 % final no se entrena nunca: dirá si el modelo aprende o recita
train, val = ids[:cut], ids[cut:]

if V < 2:
    sys.exit(f"error: «{DATA}» tiene {V} caracteres distintos: no hay nada que predecir")
if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if min(BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HEAD, EVAL_INTERVAL) < 1:
    sys.exit("error: BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HEAD y EVAL_INTERVAL deben ser 1 o más")
if N_EMBD % N_HEAD or ROTARY and N_EMBD // N_HEAD % 2:
    sys.exit("error: N_EMBD debe ser múltiplo de N_HEAD, y con ROTARY, del doble de N_HEAD")
if len(train) <= BLOCK_SIZE or len(val) < 2:
    sys.exit(f"error: «{DATA}» es corto: deja {len(train)} caracteres para entrenar y BLOCK_SIZE es "
             f"{BLOCK_SIZE}. Hace falta más texto o menos BLOCK_SIZE")
PROMPT = unicodedata.normalize("NFC", PROMPT)
if not set(PROMPT) <= set(chars):
    sys.exit(f"error: PROMPT lleva caracteres que no salen en «{DATA}»")
print(f"1. {len(ids)} caracteres, {V} distintos; entrenar con {len(train)}, validar con {len(val)}")
print("   una ventana de 8 enseña 8 predicciones a la vez:")
for t in range(min(8, len(ids) - 1)):
    print(f"   {text[:t + 1]!r:>12} -> {text[t + 1]!r}")

# %% 2. La media con máscara, de tres maneras
# Atender es promediar lo anterior. Con bucles se entiende; con una matriz triangular es un solo
# producto; y como softmax de notas (scores) con -inf en el futuro, las notas podrán aprenderse.
torch.manual_seed(SEED)
x = torch.randn(4, 8, 32)                                    # (B, T, C)
B, T, C = x.shape
loops = torch.stack([torch.stack([x[b, :t + 1].mean(0) for t in range(T)]) for b in range(B)])
past = torch.ones(T, T).tril()                               # (T, T) fila t: unos hasta t
product = past / past.sum(1, keepdim=True) @ x               # (T, T) @ (B, T, C) -> (B, T, C)
scores = torch.zeros(T, T).masked_fill(past == 0, -math.inf)
weights = F.softmax(scores, dim=-1)                          # (T, T) cada fila suma 1
assert torch.allclose(loops, product, atol=1e-6)
assert torch.allclose(loops, weights @ x, atol=1e-6)
print("\n2. bucles, matriz y softmax dan la misma media; pesos de las cuatro primeras posiciones:")
print("  ", str(weights[:4, :4].numpy().round(2)).replace("\n", "\n   "))

# %% 3. Quién es y dónde está
# Cada carácter tiene un vector aprendido (token embedding) y cada puesto otro (position embedding).
# En «roma» y en «mora» la última letra ve las mismas tres: sin posiciones, la media ponderada por
# parecido (producto escalar) sale igual. (Con más capas, la máscara deja adivinar algo del orden.)
token, position = nn.Embedding(4, C), nn.Embedding(T, C)
roma, mora = torch.tensor([0, 1, 2, 3]), torch.tensor([2, 1, 0, 3])


def last_view(x):
    """Lo que la última posición de `x` (T, C) ve en las anteriores: media ponderada, (C,)."""
    return F.softmax(x[-1] @ x[:-1].T / C**0.5, dim=-1) @ x[:-1]


where = position(torch.arange(4))                            # (4, C)
without = (last_view(token(roma)) - last_view(token(mora))).abs().max()
added = (last_view(token(roma) + where) - last_view(token(mora) + where)).abs().max()
assert without < 1e-6 and added > 1e-3
print(f"\n3. «roma» y «mora» sin posiciones difieren en {without:.0e}; con ellas, en {added:.2f}")


# Otra manera, de 2021 (constante ROTARY): girar cada pareja de canales de la pregunta y de la clave
# un ángulo proporcional a su puesto. Su producto escalar sólo depende entonces de la distancia.
def rotate(x):
    """Gira los canales i, i + d/2 de `x` (..., T, d) un ángulo t / 10000^(2i/d). Su et al. 2021."""
    T, d = x.shape[-2:]
    speed = 10_000 ** (-torch.arange(0, d, 2, device=x.device) / d)             # (d / 2,)
    angle = torch.arange(T, device=x.device)[:, None] * speed                   # (T, d / 2)
    cos, sin, (a, b) = angle.cos(), angle.sin(), x.chunk(2, dim=-1)             # (..., T, d / 2)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


q, k = torch.randn(2, 1, C).expand(2, T, C)                  # la misma pareja en todos los puestos
scores = rotate(q) @ rotate(k).T                             # (T, T)
assert torch.allclose(scores[1:, 1:], scores[:-1, :-1], atol=1e-4 * C)
assert not torch.allclose(scores[0], scores[0, 0].expand(T), atol=1e-2)

# %% 4. Una cabeza de atención
# Cada posición emite una pregunta (query), una clave (key) y un valor (value). La nota de una
# pareja es pregunta·clave, y el softmax de las notas reparte la media de los valores (ecuación 1).
def attention(q, k, v):
    """softmax(q k^T / sqrt(d)) v con máscara: q, k, v (..., T, d) -> (..., T, d)."""
    T, d = q.shape[-2:]
    future = torch.full((T, T), -math.inf, device=q.device).triu(1)   # 0 hasta t, -inf después
    scores = (q * d**-0.5) @ k.transpose(-2, -1) + future             # (..., T, T)
    return F.softmax(scores, dim=-1) @ v


query, key, value = (nn.Linear(C, 16, bias=False) for _ in range(3))
changed = x.clone()
changed[:, 5] += 1  # otro carácter en la posición 5: ninguna anterior puede enterarse
one, other = (attention(query(z), key(z), value(z)) for z in (x, changed))      # (B, T, 16)
moved = (one - other).abs().amax(dim=(0, 2))                                    # (T,)
assert (moved[:5] == 0).all() and (moved[5:] > 0).all()
print("\n4. el futuro no se ve; cambio en cada posición:", [round(m, 2) for m in moved.tolist()])

# Por qué se divide por sqrt(d): d productos de varianza 1 suman varianza d, y con notas tan
# dispares el softmax se queda con una sola posición (entropía casi 0) y ya no aprende.
q, k = torch.randn(2, 1000, 64)                              # (1000, d) cada una, varianza 1
for label, scores in ("sin escalar", q @ k.T), ("entre sqrt(d)", q @ k.T / 8):
    entropy = torch.special.entr(F.softmax(scores[:, :16], dim=-1)).sum(1).mean()
    print(f"   {label:13s}: varianza de las notas {scores.var():5.2f}, entropía {entropy:.2f} "
          f"de {math.log(16):.2f} nats")
assert abs(scores.var() - 1) < 0.1 and entropy > 0.75 * math.log(16)

# %% 5. Varias cabezas a la vez
# Cada cabeza busca una cosa distinta en sus C/H canales; después una capa mezcla lo hallado. Las
# preguntas, claves y valores de todas salen de un solo producto, que es más rápido que muchos.
class MultiHeadAttention(nn.Module):
    """`n_head` cabezas en paralelo y la mezcla: (B, T, C) -> (B, T, C). Ecuación 2."""

    def __init__(self, n_embd, n_head, rotary=False):
        super().__init__()
        self.n_head, self.rotary = n_head, rotary
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.mix = nn.Linear(n_embd, n_embd)

    def split(self, x):
        """Pregunta, clave y valor de cada cabeza: (3, B, H, T, d)."""
        B, T, C = x.shape
        return self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)

    def forward(self, x):
        q, k, v = self.split(x)
        if self.rotary:
            q, k = rotate(q), rotate(k)
        if x.is_cuda:  # en la GPU, la de PyTorch: no llega a escribir las notas en la memoria
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = attention(q, k, v)                           # (B, H, T, d)
        return self.mix(y.transpose(1, 2).flatten(2))        # (B, T, C)


many, d = MultiHeadAttention(C, 4), C // 4
each = zip(*(w.split(d) for w in many.qkv.weight.split(C)))  # q, k, v de cada cabeza: (d, C)
apart = torch.cat([attention(x @ q.T, x @ k.T, x @ v.T) for q, k, v in each], dim=-1)
fused = F.scaled_dot_product_attention(*many.split(x), is_causal=True)
assert torch.allclose(many(x), many.mix(apart), atol=1e-5)
assert torch.allclose(attention(*many.split(x)), fused, atol=1e-5)
print("\n5. cuatro cabezas juntas = cuatro por separado = scaled_dot_product_attention de PyTorch")

# %% 6. Pensar, sumar, normalizar y apagar
# La atención reúne; la red feed-forward, igual en cada posición, piensa sobre lo reunido. Elevar su
# ReLU al cuadrado (So et al. 2021, constante SQUARE) es gratis y aquí aprende algo más.
class FeedForward(nn.Sequential):
    """Ensanchar por cuatro, ReLU y volver: (..., C) -> (..., C)."""

    def __init__(self, n_embd, square=False):
        super().__init__(nn.Linear(n_embd, 4 * n_embd), nn.ReLU(inplace=True),
                         nn.Linear(4 * n_embd, n_embd))
        self.square = square

    def forward(self, x):
        up, relu, down = self
        y = relu(up(x))                                      # (..., 4 * C)
        return down(y.square() if self.square else y)


# Apilados, cada bloque atenúa el gradiente que le llega, y al primero apenas le toca. La conexión
# residual x + f(x) le abre un camino directo: la derivada de x es 1, haya los bloques que haya.
def first_gradient(residual, depth=8):
    """Norma del gradiente en el primero de `depth` bloques de atención y feed-forward apilados."""
    torch.manual_seed(SEED)
    blocks, y = [nn.Sequential(MultiHeadAttention(C, 4), FeedForward(C)) for _ in range(depth)], x
    for block in blocks:
        y = y + block(y) if residual else block(y)
    y.square().mean().backward()
    return nn.utils.get_total_norm([w.grad for w in blocks[0].parameters()]).item()


plain, direct = first_gradient(False), first_gradient(True)
assert direct > 1000 * plain
print(f"\n6. gradiente en el primero de 8 bloques: {plain:.0e} sin conexión residual, "
      f"{direct:.0e} con ella")


# LayerNorm deja los canales de cada posición con media 0 y varianza 1; después, ganancia (gain) y
# sesgo (bias) aprendidos. A diferencia de BatchNorm no mira a las compañeras de lote. El modelo
# usará la de PyTorch, que es esta misma cuenta hecha en una pasada.
def layer_norm(x, gain, bias, eps=1e-5):
    """LayerNorm de `x` (..., C) con `gain` y `bias` (C,). Ba et al. 2016, ecuación 3."""
    mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(var + eps) * gain + bias


norm = nn.LayerNorm(C)
nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
assert torch.allclose(layer_norm(5 * x + 3, norm.weight, norm.bias), norm(5 * x + 3), atol=1e-5)


# Dropout apaga al azar una fracción p de las activaciones, para que ninguna dependa de una sola
# compañera, y agranda las demás para que la media no cambie. Al evaluar no hace nada.
class Dropout(nn.Module):
    """Apaga una fracción `p` de `x` mientras se entrena y divide el resto por 1 - p."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        return x * (torch.rand_like(x) >= self.p) / (1 - self.p)


dropout, ones = Dropout(0.2), torch.ones(100_000)
kept = dropout(ones)
assert abs(kept.mean() - 1) < 0.02 and set(kept.tolist()) == {0.0, 1.25}
assert torch.equal(dropout.eval()(ones), ones)
print(f"   LayerNorm como la de PyTorch; dropout apaga {(kept == 0).float().mean():.3f} y deja la "
      f"media en {kept.mean():.3f}")


# %% 7. El bloque y el GPT
# Un bloque: reunir (atención) y pensar (feed-forward), cada cosa normalizada antes y sumada
# después. Un GPT: los dos embeddings, N_LAYER bloques, una norma y una nota para cada carácter.
class Block(nn.Module):
    """Atención y feed-forward con las piezas que digan las constantes: (B, T, C) -> (B, T, C)."""

    def __init__(self):
        super().__init__()
        self.norm_1 = nn.LayerNorm(N_EMBD) if LAYER_NORM else nn.Identity()
        self.attention = MultiHeadAttention(N_EMBD, N_HEAD, ROTARY)
        self.norm_2 = nn.LayerNorm(N_EMBD) if LAYER_NORM and FEED_FORWARD else nn.Identity()
        self.feed_forward = FeedForward(N_EMBD, SQUARE) if FEED_FORWARD else None
        self.dropout = Dropout(DROPOUT)

    def forward(self, x):
        y = self.dropout(self.attention(self.norm_1(x)))
        x = x + y if RESIDUAL else y
        if self.feed_forward is None:
            return x
        y = self.dropout(self.feed_forward(self.norm_2(x)))
        return x + y if RESIDUAL else y


class GPT(nn.Module):
    """De ids (B, T) a las notas (logits) del carácter siguiente en cada posición: (B, T, V)."""

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(V, N_EMBD)
        self.position = None if ROTARY else nn.Embedding(BLOCK_SIZE, N_EMBD)
        self.dropout = Dropout(DROPOUT)
        self.blocks = nn.Sequential(*[Block() for _ in range(N_LAYER)])
        self.norm = nn.LayerNorm(N_EMBD) if LAYER_NORM else nn.Identity()
        self.head = nn.Linear(N_EMBD, V)
        for layer in self.modules():             # pesos pequeños: nadie opina fuerte al empezar
            if isinstance(layer, nn.Embedding):
                nn.init.normal_(layer.weight, std=0.1)
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.5 * layer.in_features**-0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, ids):
        x = self.token(ids)                                            # (B, T, C)
        if self.position:
            x = x + self.position.weight[:ids.size(1)]                 # (B, T, C) + (T, C)
        x = self.norm(self.blocks(self.dropout(x)))                    # (B, T, C)
        return self.head(x)                                            # (B, T, V)


def batch(ids, step):
    """Ventanas al azar de `ids` y, un carácter después, sus objetivos: dos (B, T).

    El azar de un paso sale de SEED y del número del paso: al seguir (--resume) es el mismo. El
    texto vive en el mismo dispositivo que el modelo, así que ningún paso espera a que llegue.
    """
    torch.manual_seed(SEED * 1_000_003 + step)
    start = torch.randint(len(ids) - BLOCK_SIZE, (BATCH_SIZE, 1), device=ids.device)   # (B, 1)
    windows = ids[start + torch.arange(BLOCK_SIZE + 1, device=ids.device)].long()  # (B, T + 1)
    return windows[:, :-1], windows[:, 1:]


def nll(model, x, y, **kind):
    """Sorpresa media de los objetivos `y` (B, T), en nats por carácter (entropía cruzada).

    Con DTYPE = "bfloat16" los productos de entrenar van en 16 bits; se mide siempre en 32.
    """
    short = DTYPE == "bfloat16" and model.training
    with torch.autocast(x.device.type, torch.bfloat16, enabled=short):
        logits = model(x)                                              # (B, T, V)
    return F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), **kind)


def seconds(dtype):
    """Lo que tarda aquí, en segundos, el mayor producto de matrices de un bloque en `dtype`."""
    x = torch.randn(BATCH_SIZE * BLOCK_SIZE, N_EMBD, device=DEVICE).to(dtype)          # (B * T, C)
    w, best = torch.randn(N_EMBD, 4 * N_EMBD, device=DEVICE).to(dtype), math.inf       # (C, 4 * C)
    for _ in range(8):
        tick = time.perf_counter()
        (x @ w)[0, 0].item()
        best = min(best, time.perf_counter() - tick)
    return best


DEVICE = DEVICE or ("cuda" if torch.cuda.is_available() else
                    "mps" if torch.backends.mps.is_available() else "cpu")
if world > 1 and DEVICE == "cuda":
    DEVICE = f"cuda:{os.environ['LOCAL_RANK']}"
    torch.cuda.set_device(DEVICE)
torch.manual_seed(SEED)
try:
    model = GPT().to(DEVICE)
    train, val = train.to(DEVICE), val.to(DEVICE)
    fast = seconds(torch.float32) > 1.5 * seconds(torch.bfloat16)  # y convertir también cuesta
    DTYPE = DTYPE or ("bfloat16" if fast else "float32")
    if COMPILE:
        model.compile()
        nll(model, *batch(train, 0))
except Exception as e:  # la memoria, el dispositivo y el compilador fallan cada cual a su modo
    reason = f"{type(e).__name__}: {e}".splitlines()[0]
    sys.exit(f"error: no puedo montar el modelo en «{DEVICE}»: {reason}")
parts = {}
for name, w in model.named_parameters():
    part = re.sub(r"blocks\.\d+\.|\..*", "", name).replace("_1", "").replace("_2", "")
    parts[part] = parts.get(part, 0) + w.numel()
with torch.no_grad():
    first = sum(nll(model.eval(), *batch(train, step)).item() for step in range(20)) / 20
assert abs(first - math.log(V)) < 0.5
print(f"\n7. {sum(parts.values())} parámetros: " + ", ".join(f"{k} {n}" for k, n in parts.items()))
print(f"   pérdida sin entrenar {first:.3f}; a ciegas entre {V} caracteres, {math.log(V):.3f}")


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


# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)


# %% 8. Dos maneras de dar el paso: AdamW y Muon
# AdamW divide cada número del gradiente por su tamaño habitual. Muon (2024) mira la matriz entera:
# unas pocas direcciones se llevan casi todo el gradiente, y él da el mismo paso en todas. Para eso
# cambia sus valores singulares por otros cercanos a 1, sin calcularlos: con un polinomio impar.
def orthogonal(x):
    """`x` (r, c) con valores singulares entre 0.6 y 1.3, salvo los ínfimos. Jordan et al. 2024."""
    y = x if len(x) <= x.size(1) else x.T                    # (menor, mayor)
    y = y / (y.norm() + 1e-7)
    for _ in range(3):                                       # y <- 3.44 y - 4.78 a y + 2.03 a a y
        a = y @ y.T
        y = torch.addmm(y, torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315), y, beta=3.4445)
    return y if len(x) <= x.size(1) else y.T


class Muon(torch.optim.Optimizer):
    """Descenso con momento de Nesterov y paso ortogonal, para matrices. Jordan et al. 2024."""

    def __init__(self, matrices, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(matrices, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                mean = self.state[w].setdefault("mean", torch.zeros_like(w))
                mean.lerp_(w.grad, 1 - group["momentum"])
                step = orthogonal(w.grad.lerp(mean, group["momentum"]))
                w.mul_(1 - group["lr"] * group["weight_decay"])
                w.sub_(group["lr"] * max(1, len(w) / w.size(1))**0.5 * step)


values = torch.linalg.svdvals(orthogonal(torch.randn(64, 256)))
assert 0.6 < values.min() and values.max() < 1.3
print(f"\n8. valores singulares del paso de Muon: de {values.min():.2f} a {values.max():.2f}")
blocks = [w for w in model.blocks.parameters() if w.dim() == 2 and MUON]
others = [w for w in model.parameters() if w.dim() == 2 and w not in set(blocks)]
vectors = [w for w in model.parameters() if w.dim() == 1]
optimizers = [(torch.optim.AdamW([{"params": others, "weight_decay": WEIGHT_DECAY},
                                  {"params": vectors, "weight_decay": 0.0}],
                                 betas=(0.9, 0.99), fused=True), LEARNING_RATE)]
if blocks:
    optimizers.append((Muon(blocks, MUON, weight_decay=WEIGHT_DECAY), MUON))
    nll(model, *batch(train, 0)).backward()
    force = torch.linalg.svdvals(blocks[-1].grad).square()   # de la mayor a la menor
    few = math.ceil(len(force) / 8)
    print(f"   {few} de las {len(force)} direcciones del gradiente de una matriz llevan el "
          f"{force[:few].sum() / force.sum():.1%} de su fuerza")
    model.zero_grad()

# %% 9. Entrenar
# La tasa sube, y luego baja en línea recta hasta cero. Cada EVAL_INTERVAL pasos se mide la pérdida
# sobre las dos partes (enteras, si no pasan de EVAL_CHARS) y se guarda. El modelo que vale es el
# mejor en validación: el último puede haberse aprendido el texto de memoria.
config = {name: globals()[name.upper()] for name in (
    "block_size", "n_embd", "n_head", "n_layer", "residual", "layer_norm", "feed_forward",
    "rotary", "square")}
state = {"step": 0, "seconds": 0.0, "seed": SEED, "dtype": DTYPE, "history": [], "best": None,
         "text": hashlib.sha256(text.encode()).hexdigest()}
if RESUME:
    try:
        checkpoint = torch.load(RESUME, "cpu", weights_only=True)
        saved = checkpoint["training"]
        if (checkpoint["config"], saved["text"]) != (config, state["text"]):
            sys.exit(f"error: «{RESUME}» es de otro texto o de otro modelo, y así no puede seguir: "
                     f"{checkpoint.get('data')!r}, {checkpoint['config']}")
        state = {name: saved[name] for name in state}
        for weights in (state["best"] or saved)["weights"], saved["weights"]:
            model.load_state_dict(weights)
        for (optimizer, _), memory in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": memory})
            kept = {"mean"} if isinstance(optimizer, Muon) else {"step", "exp_avg", "exp_avg_sq"}
            for w in (w for group in optimizer.param_groups for w in group["params"]):
                found = optimizer.state[w]
                if set(found) != kept or any(found[k].shape != w.shape for k in kept - {"step"}):
                    raise ValueError("memoria del optimizador")
    except Exception:  # un fichero dañado puede fallar de cualquier manera
        sys.exit(f"error: «{RESUME}» no guarda un entrenamiento completo que se pueda seguir")
    SEED, DTYPE = state["seed"], state["dtype"]


@torch.no_grad()
def evaluate(ids):
    """Pérdida media en nats por carácter sobre todo `ids`, en ventanas contiguas de BLOCK_SIZE.

    Si `ids` pasa de EVAL_CHARS, sólo sobre tantos, en grupos de ventanas repartidos por igual.
    """
    model.eval()
    total, count, span = 0.0, 0, 32 * BLOCK_SIZE
    groups = math.ceil((len(ids) - 1) / span)
    chosen = min(groups, math.ceil(EVAL_CHARS / span) or groups)
    for n in range(chosen):
        live(f"evaluando: {100 * n // chosen} %")
        i = n * groups // chosen * span
        y = ids[i + 1:i + 1 + span].long()
        spare, count = span - len(y), count + len(y)   # lo que falta se rellena, y no cuenta
        x = F.pad(ids[i:i + len(y)].long(), (0, spare)).view(-1, BLOCK_SIZE)     # (32, T)
        y = F.pad(y, (0, spare), value=-100).view(-1, BLOCK_SIZE)                # (32, T)
        total += nll(model, x, y, reduction="sum").item()
    return total / count


def check_up():
    """Evalúa, guarda y cuenta cómo va."""
    now = {"step": state["step"], "train": evaluate(train), "val": evaluate(val),
           "weights": {name: w.detach().cpu().clone() for name, w in model.state_dict().items()}}
    best = min(filter(None, (state["best"], now)), key=lambda m: m["val"])
    state["best"] = best
    state["history"].append({k: now[k] for k in ("step", "train", "val")})
    save({"format": 1, "model": "gpt", "config": config, "chars": chars,
          "weights": best["weights"], "data": Path(DATA).name, "step": best["step"],
          "train_loss": best["train"], "val_loss": best["val"],
          "training": {**state, "weights": now["weights"],
                       "optimizers": [o.state_dict()["state"] for o, _ in optimizers]}}, OUT)
    live("")
    print(f"   paso {now['step']:5d}   train {now['train']:.4f}   val {now['val']:.4f}"
          + ("" if best is now else f"   (vale el del paso {best['step']})"), flush=True)
    later = [h for h in state["history"] if h["step"] > best["step"]]
    if len(later) == 2 and now["train"] < best["train"]:
        print(f"   sobreajuste (overfitting): desde el paso {best['step']} mejora el entrenamiento "
              "y la validación no.\n   El modelo recita en vez de aprender; se conserva el de "
              "entonces.\n   Prueba --dropout 0.2, menos N_EMBD, N_LAYER o STEPS, o más texto.")
    return best


best, parallel = state["best"], model
watch = 16 if torch.device(DEVICE).type == "cuda" else 1  # pedir la pérdida a una GPU es esperarla
if world > 1:
    dist.init_process_group("nccl" if watch > 1 else "gloo")
    parallel = nn.parallel.DistributedDataParallel(model)
print(f"\n9. {STEPS - state['step']} pasos de {BATCH_SIZE * world} x {BLOCK_SIZE} caracteres en "
      f"«{DEVICE}», {DTYPE}" + f", {world} procesos" * (world > 1))
if 0 < EVAL_CHARS < len(train):
    print(f"   cada evaluación mide {EVAL_CHARS} de los {len(train)} caracteres de entrenar,\n"
          "   repartidos por igual; --eval_chars 0 los mide todos")
tick = time.perf_counter()
try:
    for step in range(state["step"], STEPS):
        height = min((step + 1) / (WARMUP_STEPS + 1), (STEPS - step) / max(STEPS - WARMUP_STEPS, 1))
        loss = nll(parallel.train(), *batch(train, step * world + rank))
        model.zero_grad()
        loss.backward()
        if GRAD_CLIP:
            nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        for optimizer, peak in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * height
            optimizer.step()
        state["step"] = step + 1
        due = (step + 1) % EVAL_INTERVAL == 0 or step + 1 == STEPS
        if step % watch and not due:
            continue
        surprise = loss.item()
        if not math.isfinite(surprise):
            sys.exit(f"error: la pérdida dejó de ser finita en el paso {step + 1}: baja LEARNING_RATE")
        state["seconds"] += time.perf_counter() - tick
        pace = state["seconds"] / state["step"]                  # segundos por paso
        live(f"{step + 1}/{STEPS}   pérdida {surprise:.3f}   {BATCH_SIZE * world * BLOCK_SIZE / pace:.0f}"
             f" caracteres/s   faltan {(STEPS - step - 1) * pace:.0f} s")
        if due and rank == 0:
            best = check_up()
        tick = time.perf_counter()
except KeyboardInterrupt:
    print(f"   interrumpido: lo último guardado sigue con --resume {OUT}")
if world > 1:
    dist.destroy_process_group()
    if rank:
        sys.exit()
if best:
    model.load_state_dict(best["weights"])

# %% 10. ¿Qué ha aprendido?
# La pérdida dice poco sola: hay que compararla con la de contar caracteres y parejas. Y leer lo
# que escribe: cuántas palabras existen, y si el pasaje más largo que copia es corto (aprender) o
# largo (recitar).
def count(ids, n):
    """Cuántas veces sale en `ids` cada grupo de `n` caracteres seguidos: {número: veces}."""
    times = Counter()
    for i in range(0, len(ids) - n + 1, PIECE):
        piece = ids[i:i + PIECE + n - 1].cpu().numpy().astype(np.int64)
        groups = sum(piece[j:len(piece) - n + 1 + j] * V ** (n - 1 - j) for j in range(n))
        times.update(dict(zip(*(a.tolist() for a in np.unique(groups, return_counts=True)))))
    return times


def counted_loss(n):
    """Pérdida en `val` de contar grupos de `n` caracteres en `train`, sumando 1 a cada cuenta."""
    seen, before, wanted = count(train, n), Counter(), count(val, n)
    for group, times in seen.items():
        before[group // V] += times                          # las del grupo sin su último carácter
    surprise = sum(times * math.log((before[group // V] + V) / (seen[group] + 1))
                   for group, times in wanted.items())
    return surprise / wanted.total()


@torch.no_grad()
def generate(ids, length):
    """Alarga `ids` (1, T) con `length` caracteres sorteados según el modelo: (1, T + length)."""
    model.eval()
    for _ in range(length):
        logits = model(ids[:, -BLOCK_SIZE:])[:, -1]                    # (1, V)
        p = F.softmax(logits / TEMPERATURE, dim=-1)
        ids = torch.cat([ids, torch.multinomial(p, 1)], dim=1)
    return ids


def longest_copy(words, source):
    """El pasaje más largo de la lista `words` que está palabra por palabra en el texto `source`."""
    best = []
    for blank in filter(str.isspace, chars):
        source = source.replace(blank, " ")
    while "  " in source:
        source = source.replace("  ", " ")
    source = f" {source.strip()} "
    for i in range(len(words)):
        while i + len(best) < len(words) and f" {' '.join(words[i:i + len(best) + 1])} " in source:
            best = words[i:i + len(best) + 1]
    return best


print("\n10. pérdida en validación, en nats y en bits por carácter")
table = {"a ciegas": math.log(V), "contar caracteres": counted_loss(1),
         "contar parejas": counted_loss(2), "este modelo": best["val"] if best else first}
for label, value in table.items():
    print(f"   {label:17s} {value:.3f} nats   {value / math.log(2):.3f} bits")
live("escribiendo una muestra y buscándola en el texto")
torch.manual_seed(SEED)
start = encode(PROMPT or ("\n" if "\n" in chars else chars[0]))[None].to(DEVICE)
sample = decode(generate(start, LENGTH)[0].tolist())
words = re.findall(r"\w+", sample.lower())
known = {match[0].lower() for match in re.finditer(r"\w+", text)}
copied = longest_copy(sample.split(), text[:cut])
live("")
print("\n   " + sample.strip().replace("\n", "\n   ") + "\n")
print(f"   palabras que existen en el texto: {sum(w in known for w in words)} de {len(words)}")
print(f"   pasaje más largo copiado del texto: {len(copied)} palabras, «{' '.join(copied)}»")
tokens_s = state["step"] * BATCH_SIZE * world * BLOCK_SIZE / max(state["seconds"], 1e-9)

# %% 11. ¿Dónde mira?
# Con la matriz identidad por valores, la atención devuelve sus propios pesos. Hay cabezas que miran
# a la letra de al lado y otras que buscan lejos, sin que nadie se lo haya pedido.
@torch.no_grad()
def attention_maps(ids):
    """Pesos de atención de cada bloque y cabeza al leer `ids` (T,): lista de (H, T, T)."""
    inputs = []                                              # lo que entra en cada atención
    hooks = [block.attention.register_forward_pre_hook(lambda layer, x: inputs.append((layer, *x)))
             for block in model.eval().blocks]
    model(ids[None])
    for hook in hooks:
        hook.remove()
    maps = []
    for layer, x in inputs:
        q, k, _ = layer.split(x)                             # (1, H, T, d)
        if layer.rotary:
            q, k = rotate(q), rotate(k)
        maps.append(attention(q, k, torch.eye(len(ids), device=ids.device))[0].cpu())
    return maps


lines = [line for line in text[cut:].split("\n")[1:] if 20 <= len(line) <= min(40, BLOCK_SIZE)]
verse = (lines or [text[cut:cut + min(40, BLOCK_SIZE)]])[0]
maps = attention_maps(encode(verse).to(DEVICE))
back = torch.arange(len(verse))[:, None] - torch.arange(len(verse))             # (T, T) distancia
print(f"\n11. al leer «{verse.strip()}»\n    caracteres atrás que mira, de media, cada cabeza:")
for n, p in enumerate(maps, 1):
    assert torch.allclose(p.sum(-1), torch.ones(()), atol=1e-4) and not p.triu(1).any()
    print(f"    bloque {n}: " + "  ".join(f"{d:4.1f}" for d in (p * back).sum(-1).mean(-1)))
if model.position:
    where = F.normalize(model.position.weight.detach().cpu(), dim=1)            # (T, C)
    alike = where @ where.T                                                     # (T, T) cosenos
    near = {d: round(alike.diagonal(d).mean().item(), 2) for d in (1, 4, 16) if d < BLOCK_SIZE}
    print("    parecido (coseno) entre dos puestos, según su distancia:", near)

if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
if PLOT and state["history"]:
    steps, *curves = zip(*(h.values() for h in state["history"]))
    plt.figure(figsize=(6, 4))
    for curve, label, style in zip(curves, ("entrenamiento", "validación"), ("o--", "s-")):
        plt.plot(steps, curve, style, label=label)
    plt.axhline(table["contar parejas"], color="gray", linestyle=":", label="contar parejas")
    plt.xlabel("paso"), plt.ylabel("pérdida (nats por carácter)"), plt.legend()
    plt.savefig(Path(PLOT) / "perdida.png", dpi=150, bbox_inches="tight")
if PLOT and maps:
    _, axes = plt.subplots(len(maps), N_HEAD, squeeze=False, layout="constrained",
                           figsize=(3.2 * N_HEAD, 3.4 * len(maps)))
    for n, row in enumerate(axes):
        for h, ax in enumerate(row):
            ax.imshow(maps[n][h].numpy(), cmap="cividis", vmin=0, vmax=1)
            ax.set_title(f"bloque {n + 1}, cabeza {h + 1}", fontsize=10)
            ax.set_xticks(range(len(verse)), verse, fontsize=5)
            ax.set_yticks(range(len(verse)), verse, fontsize=5)
    plt.savefig(Path(PLOT) / "atencion.png", dpi=150, bbox_inches="tight")
if PLOT and model.position:
    plt.figure()
    plt.imshow(alike.numpy(), cmap="cividis", vmin=-1, vmax=1)
    plt.xlabel("puesto"), plt.ylabel("puesto"), plt.colorbar(label="parecido (coseno)")
    plt.savefig(Path(PLOT) / "posiciones.png", dpi=150, bbox_inches="tight")

print(f"resultado train={best['train']:.4f} val={best['val']:.4f} test=- "
      f"segundos={state['seconds']:.1f} tokens_s={tokens_s:.0f} ckpt={OUT}" if best else
      "resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")

# %% Experimentos: predice antes de mirar (STEPS = 750; validación en poesia.txt y tinyshakespeare)
# Una escalera: cada peldaño deja lo del anterior. `python figures/escalera.py` los da todos.
# - N_LAYER = 0: sin atención, ¿a qué se parece? A contar parejas (2.384 en poesía): 2.378, 2.486.
# - N_LAYER = N_HEAD = 1, sin FEED_FORWARD, RESIDUAL ni LAYER_NORM: ¿basta mirar? 2.325, 2.444.
# - N_HEAD = 4: ¿mejor cuatro cabezas que una? Todavía no: 2.348, 2.457.
# - FEED_FORWARD = True: ¿y si piensa sobre lo que ha mirado? 2.320, 2.415.
# - RESIDUAL = True: ¿qué gana con un camino directo, con un solo bloque? 2.228, 2.295.
# - LAYER_NORM = True: ¿y normalizando? La pieza que más compra: 1.833, 1.812.
# - N_LAYER = 3: ¿y tres bloques? Todo tal como viene: 1.744, 1.741.
# - DROPOUT = 0.1: ¿apagar ayuda? Aún no hay sobreajuste que curar, y estorba: 1.829, 1.833.
# - MUON = 0: ¿y con AdamW para todo? 1.848, 1.842: lo que compran dos bloques, lo compra el paso.

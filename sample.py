"""
sample.py: hacer hablar a cualquiera de los modelos del curso

Al terminar sabrás en qué se distingue usar un modelo de entrenarlo: ni clases
ni gradientes, sólo funciones de los pesos. Verás qué hacen la temperatura y
top-k, cómo se pliega un BatchNorm, y cómo una memoria (cache) hace que cada
carácter cueste una posición y no una ventana entera.

    python sample.py models/sonetos.pt                       uno que viene con el curso
    python sample.py ckpt.pt --prompt "# Soneto: " --num 3   el tuyo, tres veces
    python sample.py ckpt_wavenet.pt --temperature 0.5       pueblos prudentes

El texto sale por stdout según se escribe; lo demás, por stderr.
"""
import argparse
import math
import re
import signal
import sys
import time
import unicodedata
import warnings
from pathlib import Path

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
CKPT = "ckpt.pt"   # punto de control (checkpoint) de 02 a 06; puede ir sin nombre
PROMPT = ""        # comienzo del texto; si lleva un guion delante, --prompt=-Hola
LENGTH = 500       # caracteres que se añaden a cada texto
NUM = 1            # textos que se generan, todos a la vez
TEMPERATURE = 0.7  # menos de 1, más prudente; más de 1, más atrevida; 1, la del modelo
TOP_K = 0          # sortear sólo entre los k caracteres más probables (0: entre todos)
SEED = -1          # semilla del azar: la misma, el mismo texto (-1: una nueva cada vez)

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
    options.add_argument("ckpt", nargs="?", default=argparse.SUPPRESS, help="lo mismo que --ckpt")
    globals().update({k.upper(): v for k, v in vars(options.parse_args()).items()})

# %% Bibliotecas, tras las opciones porque tardan un segundo en llegar
import torch
import torch.nn.functional as F

# %% 1. De las notas a la probabilidad
# El modelo da una nota (logit) a cada carácter. Dividirlas por la temperatura antes del softmax
# acerca o aleja las probabilidades: cerca de 0 gana siempre la mayor, en 1 hablan como aprendieron,
# muy arriba todas se igualan. Hinton et al., «Distilling the Knowledge in a Neural Network» (2015),
# ecuación 1. Con top-k sólo se sortea entre las k mayores: fuera los disparates raros (Fan et al.,
# «Hierarchical Neural Story Generation», 2018).
def probabilities(logits, temperature, top_k):
    """softmax(logits / temperature) de las `top_k` notas mayores (0: todas): (K, V) -> (K, V)."""
    logits = logits.double()                                 # en float32, 2 / 1e-40 no cabe
    if 0 < top_k < logits.size(1):
        best, where = logits.topk(top_k)                                          # (K, top_k)
        logits = torch.full_like(logits, -math.inf).scatter(1, where, best)
    return F.softmax(logits / temperature, dim=-1)

for temperature, top_k, percent in [(1, 0, [67, 24, 9]),     # tres notas: 2, 1 y 0
                                    (1e-40, 0, [100, 0, 0]),
                                    (1, 2, [73, 27, 0])]:
    p = probabilities(torch.tensor([[2.0, 1.0, 0.0]]), temperature, top_k)
    assert (100 * p[0]).round().tolist() == percent

if not 0 < TEMPERATURE < math.inf:
    sys.exit(f"error: TEMPERATURE debe ser un número positivo, no {TEMPERATURE}")
if min(LENGTH, NUM) < 1:
    sys.exit("error: LENGTH y NUM deben ser 1 o más")


# %% 2. Los modelos de una línea: bigrama, MLP y BatchNorm
# Cada modelo es una función de sus pesos, un diccionario `w`, y de su configuración `c`: recibe los
# ids de K textos y da las notas del carácter que sigue. En `memory`, un diccionario que nace vacío,
# deja lo que le ahorrará trabajo la próxima vez. Éstos aprendieron línea a línea: lo que hay antes
# de la frontera «\n» no cuenta, y lo que falta por la izquierda es frontera.
def bigram(w, c, ids, memory):
    """Notas del carácter que sigue al último de `ids` (K, n): (K, V)."""
    return F.embedding(ids[:, -1], w["log_p"])

def context(table, c, ids):
    """Los vectores de los T últimos de `ids` (K, n), uno tras otro: (K, T * C)."""
    T, boundary = c["block_size"], c["boundary"]
    x = F.pad(ids[:, -T:], (T, 0), value=boundary)[:, -T:]                        # (K, T)
    for i in range(1, T):                                    # una frontera borra su izquierda
        x[x[:, i] == boundary, :i] = boundary
    return F.embedding(x, table).flatten(1)

table = torch.arange(9.0)[:, None]                           # el vector de cada id, el propio id
tiny = {"block_size": 4, "boundary": 0}
assert context(table, tiny, torch.tensor([[7, 0, 5]])).tolist() == [[0, 0, 0, 5]]

def mlp(w, c, ids, memory):
    """Notas del carácter que sigue a `ids` (K, n): (K, V). Bengio et al. (2003), ecuación 1."""
    x = context(w["C"], c, ids)                                                   # (K, T * C)
    h = torch.tanh(x @ w["W1"] + w["b1"])                                         # (K, H)
    return h @ w["W2"] + w["b2"]

# Al usar un modelo, BatchNorm resta una media fija y divide por una desviación fija (Ioffe y
# Szegedy, 2015, algoritmo 2): es otra capa lineal, y cabe dentro de la anterior.
def linear(w, name, x):
    """La capa lineal `name`: (..., entrada) -> (..., salida)."""
    return F.linear(x, w[name + ".weight"], w.get(name + ".bias"))

def batch_norm(w, name, x):
    """El BatchNorm `name`, que ya no aprende: (K, C) -> (K, C)."""
    return F.batch_norm(x, w[name + ".running_mean"], w[name + ".running_var"],
                        w[name + ".weight"], w[name + ".bias"])

def fold(w, i):
    """La capa lineal `i` con el BatchNorm que la sigue dentro: pesos (H, entrada) y sesgo (H,)."""
    scale = w[f"{i + 1}.weight"] / (w[f"{i + 1}.running_var"] + 1e-5).sqrt()      # (H,)
    shift = w[f"{i + 1}.bias"] - scale * w[f"{i + 1}.running_mean"]               # (H,)
    return scale[:, None] * w[f"{i}.weight"], shift

w = {"2.weight": torch.randn(3, 4)}
for part in ("weight", "bias", "running_mean", "running_var"):
    w["3." + part] = torch.rand(3)
x = torch.randn(6, 4)                                        # (K, entrada)
weight, bias = fold(w, 2)
apart = batch_norm(w, "3", linear(w, "2", x))
assert torch.allclose(F.linear(x, weight, bias), apart, atol=1e-3)

def batchnorm(w, c, ids, memory):
    """Notas del carácter que sigue a `ids` (K, n): (K, V). En `memory`, las capas plegadas."""
    head = 2 + 3 * c["n_layer"]                              # 0 vectores, 1 aplanar; luego, de a 3
    if not memory:
        memory["folded"] = [fold(w, i) for i in range(2, head, 3)]
    x = context(w["0.weight"], c, ids)                                            # (K, T * C)
    for weight, bias in memory["folded"]:
        x = torch.tanh(F.linear(x, weight, bias))                                 # (K, H)
    return linear(w, str(head), x)


# %% 3. WaveNet, con memoria
# Una convolución causal no rehace el pasado: a cada capa le bastan sus últimas activaciones, tantas
# como su salto d. Se guardan en una cola (queue): entra la nueva y sale la de hace d caracteres.
# Paine et al., «Fast Wavenet Generation Algorithm» (2016). Una frontera llena la cola de su texto
# consigo misma: antes de una línea todo es frontera.
def wavenet(w, c, ids, memory):
    """Notas del carácter que sigue a `ids` (K, n): (K, V). En `memory`, la cola de cada capa."""
    text = F.pad(ids, (1, 0), value=c["boundary"])                                # (K, 1 + n)
    for x in text[:, memory.get("seen", 0):].T:              # (K,) un carácter de cada texto
        heard = 0
        h = F.embedding(x, w["token.weight"])                                     # (K, C)
        edge = (x == c["boundary"])[:, None]                                      # (K, 1)
        for i, d in enumerate(c["dilations"]):
            z = batch_norm(w, f"norm.{i}", h)                                     # (K, C)
            queue = memory.get(i, z.expand(d, -1, -1))                            # (d, K, C)
            queue = torch.where(edge, z, queue)
            memory[i] = torch.cat([queue[1:], z[None]])
            z = linear(w, f"conv.{i}", torch.cat([queue[0], z], dim=1))           # (K, H) o 2H
            if c["gated"]:
                z, gate = z.chunk(2, dim=1)                                       # (K, H) cada una
                z = z.tanh() * gate.sigmoid()
            else:
                z = z.tanh()
            if c["skip"]:
                heard = heard + linear(w, f"skip.{i}", z)                         # (K, 2C)
            if f"mix.{i}.weight" in w:
                mixed = linear(w, f"mix.{i}", z)                                  # (K, C)
                h = h + mixed if c["residual"] else mixed
    memory["seen"] = text.size(1)
    return linear(w, "head", F.relu(heard if c["skip"] else h))


# %% 4. GPT, con memoria
# La misma cuenta que en 06_gpt.py, sin clases. Las claves y los valores de una posición no cambian
# cuando llegan otras después: se guardan, y cada carácter nuevo calcula sólo los suyos (Shazeer,
# «Fast Transformer Decoding», 2019, apartado 2.4).
# ¿Y al llenarse la ventana? Lo guardado se calculó viendo los caracteres que ahora salen, y cada
# uno en su puesto: al correrla, todo valdría otra cosa. Por eso se suelta de golpe la mitad más
# vieja y se recalcula el resto: entre una y dos posiciones por carácter, y no T.
def norm(w, name, x):
    """LayerNorm de cada posición, si el modelo la lleva: (..., C) -> (..., C)."""
    if name + ".weight" not in w:
        return x
    return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"])

def rotation(first, n, d):
    """Coseno y seno del giro de cada pareja de canales, desde la posición `first`: (m, d / 2)."""
    speed = 10_000 ** (-torch.arange(0, d, 2) / d)                                # (d / 2,)
    angle = torch.arange(first, n)[:, None] * speed                                # (m, d / 2)
    return angle.cos(), angle.sin()

def rotate(x, turn):
    """Gira los canales i e i + d/2 de `x` (..., m, d) según su posición, como en 06_gpt.py."""
    cos, sin = turn
    a, b = x.chunk(2, dim=-1)                                                     # (..., m, d / 2)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

def attention(w, c, block, x, turn, memory):
    """Atención de `x` (K, m, C) a sí misma y a lo guardado: (K, m, C). Vaswani, ecuación 1."""
    K, m = x.shape[:2]
    qkv = linear(w, block + "attention.qkv", norm(w, block + "norm_1", x))
    qkv = qkv.view(K, m, 3, c["n_head"], -1).permute(2, 0, 3, 1, 4)               # (3, K, H, m, d)
    if c["rotary"]:
        qkv[:2] = rotate(F.rms_norm(qkv[:2], qkv.shape[-1:]), turn)
    q, kv = qkv[0], qkv[1:]                                  # (K, H, m, d), (2, K, H, m, d)
    if block in memory:
        kv = torch.cat([memory[block], kv], dim=3)                                # (2, K, H, n, d)
    memory[block] = kv
    y = F.scaled_dot_product_attention(q, *kv, is_causal=m > 1)                   # (K, H, m, d)
    return linear(w, block + "attention.mix", y.transpose(1, 2).flatten(2))

def feed_forward(w, c, block, x):
    """Dos capas y una ReLU en cada posición: (K, m, C) -> (K, m, C)."""
    x = norm(w, block + "norm_2", x)
    x = F.relu(linear(w, block + "feed_forward.0", x))                            # (K, m, 4 * C)
    if c["square"]:
        x = x.square()
    return linear(w, block + "feed_forward.2", x)

def ngrams(w, window):
    """La fila de los dos y la de los tres últimos caracteres de cada posición: (K, m, C)."""
    V = len(w["token.weight"])
    table = w["ngrams.weight"]                                                    # (2 * R, C)
    R = len(table) // 2
    a, b, last = window[:, :-2], window[:, 1:-1], window[:, 2:]                   # (K, m)
    two = b * V + last
    three = a * V * V + two
    return F.embedding(two % R, table) + F.embedding(R + three % R, table)

def gpt(w, c, ids, memory):
    """Notas del carácter que sigue a `ids` (K, n): (K, V). En `memory`, claves y valores."""
    T = c["block_size"]
    half = T - T // 2
    start = half * math.ceil(max(0, ids.size(1) - T) / half)      # se sueltan mitades enteras
    window = ids[:, start:]                                                       # (K, n)
    n = window.size(1)
    if memory.get("seen") != (start, n - 1):                 # no es la del carácter anterior
        memory.clear()
    first = n - 1 if memory else 0                           # primera posición por calcular
    memory["seen"] = start, n
    x = F.embedding(window[:, first:], w["token.weight"])                         # (K, m, C)
    turn = None
    if c["rotary"]:
        turn = rotation(first, n, c["n_embd"] // c["n_head"])
    else:
        x = x + w["position.weight"][first:n]
    if c["ngrams"]:
        x = x + ngrams(w, F.pad(window, (2, 0))[:, first:])  # antes de la ventana, dos ceros
    for i in range(c["n_layer"]):
        block = f"blocks.{i}."
        y = attention(w, c, block, x, turn, memory)
        x = x + y if c["residual"] else y
        if c["feed_forward"]:
            y = feed_forward(w, c, block, x)
            x = x + y if c["residual"] else y
    return linear(w, "head", norm(w, "norm", x[:, -1]))


# %% 5. Leer un modelo, y probarlo antes de creerlo
# Un fichero ajeno puede traer cualquier cosa. Con `weights_only` sólo se leen tensores y valores
# sencillos: nada se ejecuta. Lo demás se ve usándolo: cada carácter por su cuenta, y un texto al
# azar que llena la ventana y pasa de ella, con memoria y sin ella.
MODELS = {"bigram": bigram, "mlp": mlp, "batchnorm": batchnorm, "wavenet": wavenet, "gpt": gpt}
warnings.simplefilter("ignore")                              # torch avisa de ficheros raros
if NUM < 32:
    torch.set_num_threads(1)                                 # repartir tan poco sale caro
if not Path(CKPT).is_file():
    sys.exit(f"error: no hay ningún fichero «{CKPT}». Prueba models/poesia.pt, o python 06_gpt.py")
try:
    checkpoint = torch.load(CKPT, "cpu", weights_only=True)
    assert checkpoint["format"] == 1
    forward = MODELS[checkpoint["model"]]
    chars = checkpoint["chars"]
    c = {**checkpoint["config"], "boundary": chars.find("\n")}
    w = {name: weight.float() for name, weight in checkpoint["weights"].items()}
    chars.encode()                                           # ¿se pueden escribir todos?
    V, T = len(chars), c.get("block_size", 1)
    memory = {}
    alone = forward(w, c, torch.arange(V)[:, None], {})                           # (V, V)
    assert alone.shape == (V, V) and alone.isfinite().all()
    text = torch.randint(V, (1, T + 2))
    for n in (T, T + 2):
        cached = forward(w, c, text[:, :n], memory)                               # (1, V)
        assert torch.allclose(cached, forward(w, c, text[:, :n], {}), atol=0.01)
except Exception as e:                                       # hay mil maneras de estar dañado
    sys.exit(f"error: «{CKPT}» está dañado, o no es un modelo de este curso ({type(e).__name__})")

# %% 6. Generar
# Un carácter cada vez: notas, probabilidades, sorteo, y el elegido pasa a ser contexto. Los textos
# van juntos en un lote (batch); el primero se ve salir, los demás esperan.
prompt = unicodedata.normalize("NFC", PROMPT)                # como los textos de las lecciones
for char in prompt:
    if char not in chars:
        sys.exit(f"error: este modelo no conoce {char!r} (U+{ord(char):04X}): no salía en su texto")
seed = SEED if SEED >= 0 else torch.seed() % 2**32
rng = torch.Generator().manual_seed(seed)
start = prompt or chars[c["boundary"]]                       # si no hay, -1: el último carácter
ids = torch.tensor([[chars.index(char) for char in start]]).repeat(NUM, 1)        # (K, n)
memory = {}
tick = time.perf_counter()
print(prompt, end="")
try:
    with torch.inference_mode():
        for _ in range(LENGTH):
            logits = forward(w, c, ids, memory)                                   # (K, V)
            p = probabilities(logits, TEMPERATURE, TOP_K)
            ids = torch.cat([ids, torch.multinomial(p, 1, generator=rng)], dim=1)
            print(chars[ids[0, -1]], end="", flush=True)
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")
except RuntimeError:
    sys.exit("error: las notas dejaron de ser números, o no caben: prueba con menos NUM")
seconds = time.perf_counter() - tick
print()
for k, row in enumerate(ids[1:].tolist(), 2):
    print(f"\n--- {k} de {NUM} ---", file=sys.stderr)
    print("\n" + prompt + "".join(chars[i] for i in row[-LENGTH:]))
print(f"\n{LENGTH} caracteres x {NUM} en {seconds:.2f} s: {LENGTH * NUM / seconds:.0f} por segundo"
      f". Para repetirlo: --seed {seed}", file=sys.stderr)

# %% Experimentos: predice antes de mirar (con models/poesia.pt)
# - TEMPERATURE = 0.3, 1.0 y 1.5: ¿qué parte de sus palabras está en el libro? 98 %, 88 % y 66 %.
# - Y de las que escribe, ¿cuántas son distintas? 9 %, 36 % y 55 %: la prudencia se repite.
# - NUM = 16: ¿tarda 16 veces lo que uno? Unas doce: el ordenador rinde más con lotes.
# - Pon {} donde dice memory en el bucle: mismas notas; ¿cuánto más tarda? Diecisiete veces.

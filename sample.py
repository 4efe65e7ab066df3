"""
sample.py: hacer hablar a cualquiera de los modelos del curso

Al terminar sabrás en qué se distingue usar un modelo de entrenarlo: aquí no
hay clases ni gradientes, sólo funciones de los pesos que se leen de un punto
de control (checkpoint). Verás para qué sirven la temperatura y top-k, cómo se
pliega un BatchNorm, y cómo una memoria (cache) de lo ya calculado hace que
cada carácter cueste una posición y no una ventana entera.

    python sample.py ckpt.pt                               500 caracteres
    python sample.py ckpt.pt --prompt "# Soneto: " --num 3 tres con ese comienzo
    python sample.py ckpt.pt --temperature 0.5 --seed 7    prudente, repetible
    python sample.py ckpt_wavenet.pt --prompt "San "       pueblos, uno por línea

El texto sale por stdout según se escribe; lo demás, por stderr.

Fuentes: Vaswani et al., «Attention Is All You Need» (2017), ecuación 1; Paine
et al., «Fast Wavenet Generation Algorithm» (2016), apartado 2; Ioffe y
Szegedy, «Batch Normalization» (2015), algoritmo 2; Bengio et al., «A Neural
Probabilistic Language Model» (2003), ecuación 1; Fan et al., «Hierarchical
Neural Story Generation» (2018), apartado 5.1 (top-k); Ackley, Hinton y
Sejnowski, «A Learning Algorithm for Boltzmann Machines» (1985), ecuación 2 (la
temperatura).
"""
import argparse
import errno
import io
import math
import pickletools
import re
import signal
import sys
import time
import unicodedata
import warnings
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
CKPT = "ckpt.pt"   # punto de control; en la terminal puede ir sin nombre: sample.py ckpt.pt
PROMPT = ""        # comienzo del texto (vacío: un salto de línea)
LENGTH = 500       # caracteres que se añaden a cada texto
NUM = 1            # textos que se generan, todos a la vez
TEMPERATURE = 0.7  # menos de 1, más prudente; más de 1, más atrevida; 1, la del modelo
TOP_K = 0          # sortear sólo entre los k caracteres más probables (0: entre todos)
SEED = -1          # semilla del azar: la misma, el mismo texto (-1: una nueva cada vez)
DEVICE = "cpu"     # cpu, cuda o mps

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
    options.add_argument("ckpt", nargs="?", default=argparse.SUPPRESS, help="lo mismo que --ckpt")
    globals().update({k.upper(): v for k, v in vars(options.parse_args()).items()})

# %% 1. De las notas a la probabilidad: temperatura y top-k
# El modelo da una nota (logit) a cada carácter. Dividirlas por la temperatura antes del softmax
# acerca o aleja las probabilidades: cerca de 0 gana siempre la mayor, en 1 hablan como aprendieron,
# muy arriba todas se igualan. Con top-k, las demás quedan a cero: fuera los disparates raros.
def probabilities(logits, temperature, top_k=0):
    """softmax(logits / temperature) de las `top_k` notas mayores (0: todas): (K, V) -> (K, V)."""
    logits = logits.double()
    if 0 < top_k < logits.size(1):
        values, where = logits.topk(top_k)                              # (K, top_k)
        logits = torch.full_like(logits, -math.inf).scatter(1, where, values)
    return F.softmax((logits - logits.amax(1, keepdim=True)) / temperature, dim=-1)


def draw(p, rng):
    """Un puesto de cada fila de `p` (K, V), con esas probabilidades: (K,).

    Es una carrera: si el puesto i tarda un tiempo exponencial de media 1 / p[i], la gana con
    probabilidad p[i]. Hace lo que torch.multinomial, en menos tiempo.
    """
    return (p / torch.empty_like(p).exponential_(generator=rng)).argmax(1)


logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
plain = F.softmax(logits.double(), dim=-1)
assert torch.allclose(probabilities(logits, 1.0), plain)
assert torch.equal(probabilities(logits, 1e-9), torch.eye(4)[:1].double())
assert torch.allclose(probabilities(logits, 1e9), torch.full((1, 4), 0.25).double())
assert torch.allclose(probabilities(logits, 1.0, 2)[0, :2], plain[0, :2] / plain[0, :2].sum())
assert (probabilities(logits, 1.0, 2) > 0).sum() == 2
rng = torch.Generator().manual_seed(0)
drawn = draw(plain.expand(20_000, 4), rng).bincount(minlength=4) / 20_000
assert torch.allclose(drawn.double(), plain[0], atol=0.02)  # unas seis desviaciones típicas


# %% 2. Los modelos de una línea: bigrama, MLP y BatchNorm
# Cada modelo es una función de sus pesos, un diccionario `w`, y de su configuración `c`: recibe los
# ids de K textos y da las notas del carácter que sigue. Éstos aprendieron línea a línea: lo que hay
# antes de la frontera «\n» no cuenta, y lo que falta por la izquierda es frontera.
def bigram(w, c, ids, memory=None):
    """Notas del carácter que sigue al último de `ids` (K, n): (K, V), None."""
    return w["log_p"][ids[:, -1]], None


def bigram_shapes(c, V):
    """Nombre y forma de cada peso de un bigrama."""
    yield "log_p", (V, V)


def context(ids, size, boundary):
    """Los `size` últimos de `ids` (K, n), con frontera en vez de lo ajeno a su línea: (K, size)."""
    x = F.pad(ids[:, -size:], (max(0, size - ids.size(1)), 0), value=boundary)
    return x.masked_fill((x == boundary).flip(1).cumsum(1).flip(1) > 0, boundary)


assert context(torch.tensor([[7, 0, 3]]), 4, 0).tolist() == [[0, 0, 0, 3]]


def mlp(w, c, ids, memory=None):
    """Notas del carácter que sigue a `ids` (K, n), según el MLP de Bengio: (K, V), None."""
    x = w["C"][context(ids, c["block_size"], c["boundary"])].flatten(1)           # (K, T * C)
    return torch.tanh(x @ w["W1"] + w["b1"]) @ w["W2"] + w["b2"], None


def mlp_shapes(c, V):
    """Nombre y forma de cada peso de un MLP de configuración `c`."""
    T, C, H = c["block_size"], c["n_embd"], c["n_hidden"]
    yield from [("C", (V, C)), ("W1", (T * C, H)), ("b1", (H,)), ("W2", (H, V)), ("b2", (V,))]


# Al usar un modelo, BatchNorm resta una media fija y divide por una desviación fija: otra capa
# lineal, que cabe dentro de la anterior. Se pliega la primera vez y se guarda en la memoria.
NORM = "running_mean", "running_var", "weight", "bias"       # lo que lleva un BatchNorm


def fold(w, c):
    """Cada capa lineal con su BatchNorm dentro, y la de salida: lista de (pesos, bias)."""
    layers = []
    for i in range(2, 2 + 3 * c["n_layer"], 3):
        scale = w[f"{i + 1}.weight"] / (w[f"{i + 1}.running_var"] + 1e-5).sqrt()  # (H,)
        shift = w[f"{i + 1}.bias"] - scale * w[f"{i + 1}.running_mean"]           # (H,)
        layers.append((scale[:, None] * w[f"{i}.weight"], shift))
    head = 2 + 3 * c["n_layer"]
    return layers + [(w[f"{head}.weight"], w[f"{head}.bias"])]


def batchnorm(w, c, ids, memory=None):
    """Notas del carácter que sigue a `ids` (K, n), y las capas plegadas: (K, V), list."""
    memory = memory or fold(w, c)
    x = w["0.weight"][context(ids, c["block_size"], c["boundary"])].flatten(1)    # (K, T * C)
    for weight, bias in memory[:-1]:
        x = torch.tanh(F.linear(x, weight, bias))                                 # (K, H)
    return F.linear(x, *memory[-1]), memory


def batchnorm_shapes(c, V):
    """Nombre y forma de cada peso de un MLP con BatchNorm, como los numera nn.Sequential."""
    width, H, head = c["block_size"] * c["n_embd"], c["n_hidden"], 2 + 3 * c["n_layer"]
    yield "0.weight", (V, c["n_embd"])
    for i in range(2, head, 3):
        yield f"{i}.weight", (H, width if i == 2 else H)
        yield from [(f"{i + 1}.{part}", (H,)) for part in NORM]
    yield from [(f"{head}.weight", (V, H if head > 2 else width)), (f"{head}.bias", (V,))]


# La prueba: un BatchNorm de pesos al azar, sin plegar y plegado, hace lo mismo.
tiny = {"block_size": 1, "n_embd": 4, "n_hidden": 3, "n_layer": 1, "boundary": 0}
w = {name: torch.rand(shape, generator=rng) for name, shape in batchnorm_shapes(tiny, 5)}
x = torch.rand(6, 4, generator=rng)                                               # (6, C)
apart = F.batch_norm(x @ w["2.weight"].T, *(w["3." + part] for part in NORM))
assert torch.allclose(F.linear(x, *fold(w, tiny)[0]), apart, atol=1e-5)


# %% 3. WaveNet, con memoria
# Una convolución causal no rehace el pasado: a cada capa le bastan sus últimas activaciones, tantas
# como su salto. Se guardan en círculo, y la nueva se pone donde estaba la más vieja.
def linear(x, w, name):
    """La capa lineal `name`: (..., entrada) -> (..., salida)."""
    return F.linear(x, w[name + ".weight"], w.get(name + ".bias"))


def wavenet(w, c, ids, memory=None):
    """Notas del carácter que sigue a `ids` (K, n), y la memoria para la próxima vez: (K, V), dict.

    Una frontera llena la memoria de su texto consigo misma: antes de una línea todo es frontera.
    """
    fresh = ids[:, memory["seen"]:] if memory else F.pad(ids, (1, 0), value=c["boundary"])
    if memory is None:
        past = [w["token.weight"].new_zeros(d, len(ids), c["n_embd"]) for d in c["dilations"]]
        memory = {"turn": 0, "past": past}
    for x in fresh.T:                                        # (K,) un carácter de cada texto
        h, heard = w["token.weight"][x], 0                                        # (K, C)
        edge = (x == c["boundary"])[:, None]                                      # (K, 1)
        for i, past in enumerate(memory["past"]):                                 # (d, K, C)
            norm = (w[f"norm.{i}.{part}"] for part in NORM)
            z = F.batch_norm(h, *norm)                                            # (K, C)
            past.copy_(torch.where(edge, z, past))
            turn = memory["turn"] % len(past)                # aquí está la de hace d caracteres
            before, past[turn] = past[turn].clone(), z
            z = linear(torch.cat([before, z], dim=1), w, f"conv.{i}")
            if c["gated"]:
                z, gate = z.chunk(2, dim=1)                                       # (K, H)
            z = z.tanh() * gate.sigmoid() if c["gated"] else z.tanh()
            if c["skip"]:
                heard = heard + linear(z, w, f"skip.{i}")                         # (K, 2 * C)
            if f"mix.{i}.weight" in w:
                h = linear(z, w, f"mix.{i}") + (h if c["residual"] else 0)
        memory["turn"] += 1
    memory["seen"] = ids.size(1)
    return linear(F.relu(heard if c["skip"] else h), w, "head"), memory


def wavenet_shapes(c, V):
    """Nombre y forma de cada peso de un WaveNet de configuración `c` y vocabulario `V`."""
    C, H, L, skip = c["n_embd"], c["n_hidden"], len(c["dilations"]), c["skip"]
    if not all(type(d) is int and 0 < d < 10_000 for d in c["dilations"]):
        raise ValueError("dilations")
    yield from [("token.weight", (V, C)), ("head.weight", (V, 2 * C if skip else C)),
                ("head.bias", (V,))]
    for i in range(L):
        layers = {f"conv.{i}": (2 * H if c["gated"] else H, 2 * C)}
        layers |= {f"skip.{i}": (2 * C, H)} if skip else {}
        layers |= {f"mix.{i}": (C, H)} if i < L - 1 or not skip else {}
        yield from [(name + ".weight", shape) for name, shape in layers.items()]
        yield from [(name + ".bias", shape[:1]) for name, shape in layers.items()]
        yield from [(f"norm.{i}.{part}", (C,)) for part in NORM]


# La prueba: carácter a carácter con memoria, o releyendo cada vez el texto entero.
tiny = {"dilations": [1, 2], "n_embd": 6, "n_hidden": 5, "gated": True, "residual": True,
        "skip": True, "boundary": 0}
w = {name: torch.rand(shape, generator=rng) for name, shape in wavenet_shapes(tiny, 4)}
text, memory = torch.randint(4, (3, 20), generator=rng), None
for n in range(1, 21):
    cached, memory = wavenet(w, tiny, text[:, :n], memory)
    assert torch.allclose(cached, wavenet(w, tiny, text[:, :n])[0], atol=1e-4)


# %% 4. GPT
# La misma cuenta que en 06_gpt.py, con los pesos en un diccionario `w` y sin clases. Lo nuevo es la
# memoria: las claves y los valores de una posición no cambian cuando llegan otras después, así que
# se guardan, y cada carácter nuevo calcula sólo los suyos.
#
# ¿Y al llenarse la ventana? La posición va sumada en cada vector guardado: al correr la ventana un
# puesto, todos valdrían otra cosa. Por eso se suelta de golpe la mitad más vieja y se recalcula la
# otra. Una ventana de T caracteres dura así T/2 más: entre dos y una posición por carácter.
#
# Con un solo texto manda lo que cuesta llamar a cada operación. Una LayerNorm acaba en una ganancia
# (gain) y un sesgo (bias) que caben en la capa que le sigue, y dividir por sqrt(d), en la de las
# preguntas: se hace una vez, y los pesos quedan en memoria como los lee el producto.
def absorb(w, norm, name):
    """Sesgo (salida,) y pesos (entrada, salida) de la capa `name`, con la norma `norm` dentro."""
    weight = w[name + ".weight"]
    bias = w.get(name + ".bias", weight.new_zeros(len(weight)))
    if norm + ".weight" in w:
        weight, bias = weight * w[norm + ".weight"], bias + weight @ w[norm + ".bias"]
    return bias, weight.T.contiguous()


def prepare(w, c):
    """Las capas lineales de cada bloque, y la de salida: lista de listas de (bias, pesos)."""
    layers, scale = [], w["head.weight"].new_ones(3 * c["n_embd"])
    scale[:c["n_embd"]] = (c["n_embd"] // c["n_head"])**-0.5
    for block in (f"blocks.{i}." for i in range(c["n_layer"])):
        qkv = absorb(w, block + "norm_1", block + "attention.qkv")
        layers.append([[part * scale for part in qkv], absorb(w, "", block + "attention.mix")])
        if c["feed_forward"]:
            layers[-1] += [absorb(w, block + "norm_2", block + "feed_forward.0"),
                           absorb(w, "", block + "feed_forward.2")]
    return layers + [[absorb(w, "norm", "head")]]


def rotate(x, start):
    """Gira cada pareja de canales de `x` (..., m, d) según su posición, desde `start` (ROTARY)."""
    m, d = x.shape[-2:]
    speed = 10_000 ** (-torch.arange(0, d, 2, device=x.device) / d)               # (d / 2,)
    angle = torch.arange(start, start + m, device=x.device)[:, None] * speed      # (m, d / 2)
    cos, sin, (a, b) = angle.cos(), angle.sin(), x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def gpt(w, c, ids, memory=None):
    """Notas del carácter que sigue a `ids` (K, n), y la memoria para la próxima vez: (K, V), dict.

    `memory` es la que devolvió la llamada anterior con el mismo texto más corto, o None.
    """
    K, n = ids.shape
    T, C, H = c["block_size"], c["n_embd"], c["n_head"]
    d = C // H
    if memory is None or n - memory["start"] > T:
        keep = min(n, T) if memory is None else max(1, T // 2)
        past = w["token.weight"].new_zeros(c["n_layer"], 2, K * H, T, d)  # claves y valores
        memory = {"start": n - keep, "seen": 0, "past": list(past),
                  "layers": memory["layers"] if memory else prepare(w, c)}
    a, b = memory["seen"], n - memory["start"]               # se calculan las posiciones a..b-1
    m, norm = b - a, (lambda x: F.layer_norm(x, (C,))) if c["layer_norm"] else lambda x: x
    x = F.embedding(ids[:, memory["start"] + a:], w["token.weight"])              # (K, m, C)
    x = (x if c["rotary"] else x + w["position.weight"][a:b]).view(K * m, C)
    for (qkv, mix, *feed_forward), past in zip(memory["layers"], memory["past"]):
        y = torch.addmm(qkv[0], norm(x), qkv[1])                                  # (K * m, 3 * C)
        y = y.view(K, m, 3, H, d).permute(2, 0, 3, 1, 4).reshape(3, K * H, m, d)
        if c["rotary"]:
            y[:2] = rotate(y[:2], a)
        past[:, :, a:b] = y[1:]
        keys, values = past[:, :, :b].unbind()                                    # (K * H, b, d)
        scores = torch.bmm(y[0], keys.mT)                                         # (K * H, m, b)
        if m > 1:                                            # una sola posición no ve ningún futuro
            scores += torch.full((m, b), -math.inf, device=x.device).triu(a + 1)
        y = torch.bmm(torch.softmax(scores, dim=-1), values)
        y = y.view(K, H, m, d).transpose(1, 2).reshape(K * m, C)
        y = torch.addmm(mix[0], y, mix[1])
        x = x + y if c["residual"] else y
        if feed_forward:
            (up_bias, up), (down_bias, down) = feed_forward
            y = torch.addmm(up_bias, norm(x), up).relu_()                         # (K * m, 4 * C)
            y = torch.addmm(down_bias, y.square() if c["square"] else y, down)
            x = x + y if c["residual"] else y
    memory["seen"] = b
    bias, head = memory["layers"][-1][0]
    return torch.addmm(bias, norm(x.view(K, m, C)[:, -1]), head), memory


def gpt_shapes(c, V):
    """Nombre y forma de cada peso de un GPT de configuración `c` y vocabulario `V`, uno a uno."""
    C = c["n_embd"]
    norm = lambda name: [(name + ".weight", (C,)), (name + ".bias", (C,))] * bool(c["layer_norm"])
    yield from [("token.weight", (V, C)), ("head.weight", (V, C)), ("head.bias", (V,)),
                *norm("norm")]
    if not c["rotary"]:
        yield "position.weight", (c["block_size"], C)
    for i in range(c["n_layer"]):
        part = f"blocks.{i}.attention."
        yield from [(part + "qkv.weight", (3 * C, C)), (part + "mix.weight", (C, C)),
                    (part + "mix.bias", (C,)), *norm(f"blocks.{i}.norm_1")]
        if c["feed_forward"]:
            part = f"blocks.{i}.feed_forward."
            yield from [(part + "0.weight", (4 * C, C)), (part + "0.bias", (4 * C,)),
                        (part + "2.weight", (C, 4 * C)), (part + "2.bias", (C,)),
                        *norm(f"blocks.{i}.norm_2")]


# La prueba: un GPT diminuto, de ventana 6, escribe 20 caracteres con memoria; en cada paso, las
# notas son las de calcular entera, sin memoria, la ventana que esté mirando.
tiny = {"block_size": 6, "n_embd": 8, "n_head": 2, "n_layer": 2, "residual": True,
        "layer_norm": True, "feed_forward": True, "rotary": False, "square": False}
rng = torch.Generator().manual_seed(0)
w = {name: torch.randn(shape, generator=rng) for name, shape in gpt_shapes(tiny, 5)}
text, memory, computed = torch.randint(5, (3, 20), generator=rng), None, 0
for n in range(1, 21):
    before = memory["seen"] if memory else 0
    cached, memory = gpt(w, tiny, text[:, :n], memory)
    computed += memory["seen"] - before if memory["seen"] > before else memory["seen"]
    whole, _ = gpt(w, tiny, text[:, memory["start"]:n])
    assert torch.allclose(cached, whole, atol=1e-4)
assert computed <= 2 * 20  # posiciones calculadas para 20 caracteres
x, (bias, weight) = torch.randn(4, 8, generator=rng), absorb(w, "norm", "head")   # (4, C)
apart = linear(F.layer_norm(x, (8,), w["norm.weight"], w["norm.bias"]), w, "head")
assert torch.allclose(F.layer_norm(x, (8,)) @ weight + bias, apart, atol=1e-4)


# %% Leer un punto de control
def load(path):
    """El diccionario que se guardó en `path`, sin ejecutar nada de lo que el fichero traiga.

    Termina si no existe, está truncado, no es de este curso o algún peso no es un número.
    """
    try:
        with open(path, "rb") as f, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch avisa, en inglés, de lo que no reconoce
            raw = f.read()
            with zipfile.ZipFile(io.BytesIO(raw)) as z:      # nada que al leerlo crezca o actúe
                if sum(part.file_size for part in z.infolist()) > len(raw):
                    raise ValueError("comprimido")
                for pkl in (name for name in z.namelist() if name.endswith(".pkl")):
                    for code, called, _ in pickletools.genops(z.read(pkl)):
                        if code.name == "GLOBAL" and not re.fullmatch(
                                r"torch \w+Storage|torch._utils _rebuild_tensor_v2|"
                                r"collections OrderedDict", called):
                            raise ValueError(called)
            checkpoint = torch.load(io.BytesIO(raw), "cpu", weights_only=True)
        kinds = {"format": int, "model": str, "config": dict, "chars": str, "weights": dict}
        if (any(type(checkpoint[k]) != t for k, t in kinds.items())
                or checkpoint["format"] != 1 or not checkpoint["model"].isprintable()):
            sys.exit(f"error: «{path}» no es un punto de control de este curso y formato")
        if any(type(v) not in (int, bool) and k != "dilations"
               for k, v in checkpoint["config"].items()):
            sys.exit(f"error: «{path}» no se puede usar: su configuración no tiene sentido")
        for name, w in checkpoint["weights"].items():
            if (not name.isprintable() or w.dtype != torch.float32 or not w.is_contiguous()
                    or not 0 < w.nbytes <= len(raw) or not w.isfinite().all()):
                sys.exit(f"error: en «{path}» el tensor {name!r} no lleva números válidos")
        return checkpoint
    except OSError as e:
        reason = "no existe" if e.errno == errno.ENOENT else f"no se deja leer ({e.strerror})"
        sys.exit(f"error: «{path}» {reason}. Los hacen las lecciones: python 06_gpt.py")
    except Exception:  # un fichero dañado puede fallar de cualquier manera
        sys.exit(f"error: «{path}» está dañado o no es un punto de control. Si hay un {path}.bak, "
                 "es el anterior")


# %% 5. Rehacer el modelo
# Cada modelo del curso es una función como las anteriores y la lista de sus pesos.
MODELS = {"bigram": (bigram, bigram_shapes), "mlp": (mlp, mlp_shapes),
          "batchnorm": (batchnorm, batchnorm_shapes), "wavenet": (wavenet, wavenet_shapes),
          "gpt": (gpt, gpt_shapes)}


def rebuild(path):
    """La función del modelo guardado en `path`, sus pesos, su configuración y su vocabulario.

    Termina si falta o sobra un peso, si alguno no tiene su forma, o si el modelo no se conoce.
    """
    checkpoint = load(path)
    kind, c, chars, w = (checkpoint[k] for k in ("model", "config", "chars", "weights"))
    c = {**c, "boundary": chars.find("\n")}
    wrong = f"error: «{path}» no se puede usar: "
    if kind not in MODELS:
        sys.exit(f"{wrong}es un modelo «{kind}», y aquí se conocen: {', '.join(MODELS)}")
    forward, shapes = MODELS[kind]
    expected = set()
    try:
        for name, shape in shapes(c, len(chars)):
            if name not in w or w[name].shape != shape:
                found = tuple(w[name].shape) if name in w else "no está"
                sys.exit(f"{wrong}el peso {name} debería ser {shape} y es {found}")
            expected.add(name)
        logits, _ = forward(w, c, torch.zeros(1, 1, dtype=torch.long))
    except Exception as e:  # una configuración absurda puede fallar de cualquier manera
        reason = f"{type(e).__name__}: {e}".splitlines()[0]
        sys.exit(f"{wrong}su configuración no tiene sentido ({reason})")
    if set(w) > expected or len(set(chars)) < len(chars):
        extra = ", ".join(sorted(set(w) - expected)) or "caracteres repetidos"
        sys.exit(f"{wrong}le sobra algo: {extra}")
    if kind != "gpt" and "\n" not in chars:
        sys.exit(f"{wrong}en su vocabulario falta la frontera, el salto de línea")
    if not logits.isfinite().all():
        sys.exit(f"{wrong}sus notas no son números")
    return forward, w, c, chars


for ok, why in [
    (1 <= min(LENGTH, NUM) and max(LENGTH, NUM) < 2**31, "--length y --num deben ser 1 o más"),
    (0 < TEMPERATURE < math.inf, f"la temperatura debe ser un número positivo, no {TEMPERATURE}"),
    (TOP_K >= 0, f"--top_k debe ser 0 (todos) o más, no {TOP_K}"),
    (-1 <= SEED < 2**63, "--seed debe ser -1 (una nueva cada vez) o un entero positivo"),
]:
    if not ok:
        sys.exit(f"error: {why}")

forward, w, config, chars = rebuild(CKPT)
prompt = unicodedata.normalize("NFC", PROMPT)
for char in prompt:
    if char not in chars:
        sys.exit(f"error: «{char}» (U+{ord(char):04X}) no está en el vocabulario de «{CKPT}»: "
                 + "".join(chars).replace("\n", "⏎"))
try:
    w = {name: weight.to(DEVICE) for name, weight in w.items()}
except (RuntimeError, AssertionError):
    sys.exit(f"error: aquí no hay dispositivo «{DEVICE}». Prueba --device cpu")

# %% 6. Generar
# Un carácter cada vez: notas, probabilidades, sorteo, y el elegido pasa a ser contexto. Los textos
# van juntos en un lote (batch); el primero se ve salir, los demás esperan a que termine.
if NUM < 32:
    torch.set_num_threads(1)  # con pocos textos, repartir cada operación cuesta más que hacerla
seed = SEED if SEED >= 0 else torch.seed() % 2**32
rng = torch.Generator().manual_seed(seed)
start = [chars.index(char) for char in prompt or ("\n" if "\n" in chars else chars[0])]
memory, tick = None, time.perf_counter()
try:
    ids = torch.zeros(NUM, len(start) + LENGTH, dtype=torch.long, device=DEVICE)
    ids[:, :len(start)] = torch.tensor(start)
    print(prompt, end="", flush=True)
    with torch.inference_mode():
        for n in range(len(start), len(start) + LENGTH):
            logits, memory = forward(w, config, ids[:, :n], memory)
            ids[:, n] = draw(probabilities(logits.cpu(), TEMPERATURE, TOP_K), rng)
            print(chars[ids[0, n]], end="", flush=True)
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")
except (RuntimeError, MemoryError) as e:
    sys.exit(f"error: no cabe en la memoria; prueba con menos --num ({type(e).__name__})")
seconds = time.perf_counter() - tick
print(flush=True)
for k, row in enumerate(ids[1:, len(start):].tolist(), 2):
    print(f"\n--- {k} de {NUM} ---", file=sys.stderr, flush=True)
    print("\n" + prompt + "".join(chars[i] for i in row), flush=True)
print(f"\n{LENGTH} caracteres x {NUM} en {seconds:.2f} s: {LENGTH * NUM / seconds:.0f} por segundo."
      f" Para repetirlo: --seed {seed}", file=sys.stderr)

# %% Experimentos: predice antes de mirar (16 textos de 600 caracteres, el GPT de poesia.txt)
# - TEMPERATURE = 0.3, 1.0 y 1.5: ¿qué parte de las palabras existe? 94 %, 70 % y 44 %.
# - Y de todas las que escribe, ¿cuántas son distintas? 14 %, 51 % y 69 %: la prudencia se repite.
# - TEMPERATURE = 1.0 y TOP_K = 3: ¿a qué temperatura se parece? 85 % existen, 26 % distintas.
# - TOP_K = 1: si siempre gana la más probable, ¿qué pasa a la larga? Un bucle: 0.2 % distintas.
# - NUM = 1 y 64: ¿tarda 64 veces más? No, cuatro: de 1700 a 28 000 caracteres por segundo.

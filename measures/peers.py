"""
Los modelos del oficio y los nuestros, uno tras otro en la misma máquina: cifras y razones

    python data/prepare.py names tinyshakespeare     los dos textos que hacen falta, una vez
    python measures/peers.py                         todo entero: unos veinte minutos
    python measures/peers.py --quick                 menos pasos: menos de cuatro minutos
    python measures/peers.py --only clase3           sólo una comparación

El método de cada uno está reescrito aquí, con sencillez, a partir de su descripción publicada. Si
su pérdida no sale a menos de 0.02 de la que publicó, se dice: entonces los segundos no son suyos.

    micrograd   un paso de la demostración de micrograd (Karpathy, 2020), y su Value, sin más
    clase1      «Neural Networks: Zero to Hero», makemore 1: contar parejas y medirlas; 2.4541
    clase2      makemore 2: el MLP de Bengio, 200 000 pasos de 32 ejemplos; 2.17
    clase3      makemore 3: lo mismo con BatchNorm; 2.105 (la clase lo apunta así; es 2.1048)
    clase5      makemore 5: la WaveNet por parejas, 76 579 parámetros; 1.993
    nanogpt     el arranque rápido en CPU del README de nanoGPT, 2000 pasos; 1.88
    paso        un paso de nuestro GPT a la forma de nanoGPT, con todas las piezas, y el suyo
    muestreo    el bucle de nanoGPT, que rehace la ventana con cada carácter, y nuestro sample.py

En la tabla, un tiempo es la mediana de varias repeticiones, y una pérdida nuestra, la media de
varias semillas; tras «±», la mitad de lo que va de la menor a la mayor. «~» marca lo que se ha
extrapolado de menos pasos. La razón de dos pérdidas es su diferencia, y la de dos tiempos o dos
velocidades, cuántas veces es mejor lo nuestro.
"""
import argparse
import contextlib
import gc
import io
import itertools
import math
import os
import random
import re
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections import namedtuple
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parent.parent
Row = namedtuple("Row", "what published theirs ours ratio")   # published: número o None
CLASS_STEPS = 200_000
NANO_STEPS = 2000
NEAR = 0.02                     # lo que una pérdida reescrita puede distar de la publicada


# %% Medir y decir

def say(line):
    """Una línea de progreso, por stderr; en una terminal, se reescribe."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line[:100]}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def seconds_of(action):
    """Segundos que tarda `action`."""
    tick = time.perf_counter()
    action()
    return time.perf_counter() - tick


def in_turns(theirs, ours, repeats):
    """Segundos de cada una de las dos acciones, por turnos: dos listas de `repeats`."""
    pairs = []
    for turn in range(repeats):
        say(f"   repetición {turn + 1} de {repeats}")
        pairs.append((seconds_of(theirs), seconds_of(ours)))
    return [list(times) for times in zip(*pairs)]


def in_chunks(step, steps, chunks=5):
    """Segundos de un paso en cada uno de los `chunks` trozos en que se parten `steps` pasos."""
    means = []
    for chunk in range(chunks):
        begin, end = steps * chunk // chunks, steps * (chunk + 1) // chunks
        tick = time.perf_counter()
        for i in range(begin, end):
            step(i)
        means.append((time.perf_counter() - tick) / (end - begin))
        say(f"   {end} de {steps} pasos, a {1000 * means[-1]:.2f} ms")
    return means


def shown(values, digits, scale=1.0, mark="", middle=statistics.median):
    """La mediana de `values`, por `scale`, y la mitad de lo que va de la menor a la mayor."""
    half = scale * (max(values) - min(values)) / 2
    spread = f" ± {half:.{digits}f}" if len(values) > 1 else ""
    return f"{mark}{scale * middle(values):.{digits}f}{spread}"


def loss_row(what, published, theirs, ours):
    """Una fila de pérdidas: la suya (None: la publicada) y las nuestras, con su diferencia."""
    base = published if theirs is None else theirs
    apart = statistics.mean(ours) - base
    written = "(publicada)" if theirs is None else f"{theirs:.4f}"
    if theirs is not None and published and abs(theirs - published) > NEAR:
        written += " (!)"
    return Row(what, published, written, shown(ours, 4, middle=statistics.mean), f"{apart:+.4f}")


def time_row(what, theirs, ours, digits, their_scale=1.0, our_scale=1.0, marks=("", "")):
    """Una fila de tiempos; las escalas los llevan a su unidad, y las marcas van delante."""
    slow = statistics.median(theirs) * their_scale
    fast = statistics.median(ours) * our_scale
    written = shown(theirs, digits, their_scale, marks[0])
    our_written = shown(ours, digits, our_scale, marks[1])
    return Row(what, None, written, our_written, f"{slow / fast:.1f} x")


def speed_row(what, theirs, ours):
    """Una fila de velocidades, en caracteres por segundo."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    return Row(what, None, shown(theirs, 0), shown(ours, 0), f"{ratio:.1f} x")


# %% Lo nuestro: los guiones del curso, tal como son

def names_of(script, *flags):
    """Los nombres que deja un guion, ejecutado aquí mismo y callado."""
    threads, order = torch.get_num_threads(), sys.argv
    sys.argv = [str(ROOT / script), *map(str, flags)]
    with contextlib.redirect_stdout(io.StringIO()):
        names = runpy.run_path(sys.argv[0])
    sys.argv = order
    torch.set_num_threads(threads)                           # alguna lección lo deja en uno
    return names


def ran(script, *flags):
    """Lo que imprime un guion por stdout y por stderr, en otro proceso."""
    say(f"   python {script} {' '.join(map(str, flags))}")
    order = [sys.executable, str(ROOT / script), *map(str, flags)]
    done = subprocess.run(order, capture_output=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"error: {script}: {done.stderr.strip()}")
    return done.stdout + done.stderr


def trained(script, seeds, *flags):
    """Validación y segundos de entrenar una lección con cada semilla: dos listas."""
    losses, seconds = [], []
    for seed in range(1337, 1337 + seeds):
        printed = ran(script, "--seed", seed, *flags)
        result = re.search(r"resultado .*val=(\S+) .*segundos=(\S+)", printed)
        losses.append(float(result[1]))
        seconds.append(float(result[2]))
    return losses, seconds


# %% micrograd

class Scalar:
    """Un número que apunta de dónde sale, y cómo devolver el gradiente a sus padres."""
    def __init__(self, data, parents=()):
        self.data = data
        self.grad = 0.0
        self.parents = set(parents)
        self.give_back = lambda: None

    def __add__(self, other):
        other = other if isinstance(other, Scalar) else Scalar(other)
        out = Scalar(self.data + other.data, (self, other))

        def give_back():
            self.grad += out.grad
            other.grad += out.grad
        out.give_back = give_back
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Scalar) else Scalar(other)
        out = Scalar(self.data * other.data, (self, other))

        def give_back():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad
        out.give_back = give_back
        return out

    def relu(self):
        out = Scalar(max(0.0, self.data), (self,))

        def give_back():
            self.grad += (out.data > 0) * out.grad
        out.give_back = give_back
        return out

    __radd__ = __add__
    __rmul__ = __mul__

    def backward(self):
        """Ordena el grafo por recursión, cada nodo tras sus padres, y lo recorre desde el final."""
        order, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for parent in node.parents:
                    visit(parent)
                order.append(node)
        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            node.give_back()


def demo_forward(layers, point):
    """La salida de la red `layers` (listas de neuronas: pesos y sesgo), con ReLU menos al final."""
    for number, layer in enumerate(layers, 1):
        sums = [sum((w * x for w, x in zip(weights, point)), bias) for weights, bias in layer]
        point = sums if number == len(layers) else [total.relu() for total in sums]
    return point[0]


def demo_loss(layers, parameters, points, targets):
    """Bisagra media de todos los puntos, y los cuadrados de los parámetros por 1e-4."""
    scores = [demo_forward(layers, point) for point in points]
    lacks = [(1 + -target * score).relu() for target, score in zip(targets, scores)]
    squares = sum(p * p for p in parameters)
    return sum(lacks) * (1.0 / len(lacks)) + 1e-4 * squares


def micrograd(args):
    """El paso de la demostración de micrograd: dos lunas, 2-16-16-1, cien puntos."""
    ours = names_of("01_micrograd.py", "--steps", 0)
    model, nodes = ours["newborn"](), ours["newborn"](ours["NodeNeuron"])
    layers, parameters = [], []
    for layer in model.layers:                               # la suya, con los mismos pesos
        layers.append([])
        for neuron in layer.neurons:
            weights, bias = [Scalar(w.data) for w in neuron.w], Scalar(neuron.b.data)
            layers[-1].append((weights, bias))
            parameters += [*weights, bias]
    points = [[Scalar(left), Scalar(height)] for left, height in ours["X"].tolist()]

    def their_step():
        for p in parameters:
            p.grad = 0.0
        demo_loss(layers, parameters, points, ours["targets"]).backward()
        for p in parameters:
            p.data -= 0.0 * p.grad                           # tasa cero: siempre el mismo paso

    def our_step(network=model):
        gc.disable()                                         # como lo hace la lección
        ours["descend"](network, ours["hinge"](network, range(100)), 0.0)
        gc.enable()

    times = in_turns(their_step, our_step, args.repeats)
    by_neuron = [seconds_of(lambda: our_step(nodes)) for _ in range(args.repeats)]
    for mine, theirs in zip(model.parameters(), parameters):
        assert math.isclose(mine.grad, theirs.grad, abs_tol=1e-9)

    def chain(kind):
        """Cien veces x · 1.01 + 0.1 con números de la clase `kind`, y la vuelta."""
        x = kind(1.0)
        for _ in range(100):
            x = x * 1.01 + 0.1
        x.backward()

    alone = [timeit.repeat(lambda: chain(kind), number=20, repeat=args.repeats)
             for kind in (Scalar, ours["Value"])]
    return [
        time_row("un paso de su demo, ms", *times, 1, 1000, 1000),
        time_row("  y con una neurona por nodo, ms", times[0], by_neuron, 1, 1000, 1000),
        time_row("Value: una operación, ida y vuelta, µs", *alone, 2, 1e6 / 4000, 1e6 / 4000)]


# %% Zero to Hero: los nombres

def read_names(path):
    """Los ids de cada nombre, entre dos fronteras (id 0): lista de listas."""
    lines = path.read_text("utf-8").split()
    ids = {char: i for i, char in enumerate(sorted(set("".join(lines))), 1)}
    return [[0, *(ids[char] for char in line), 0] for line in lines]


def class_data(path, size):
    """Contextos de `size` y lo que sigue, de entrenar y de validar, con el reparto de la clase."""
    names = read_names(path)
    random.Random(42).shuffle(names)

    def windows(names):
        rows = []
        for name in names:
            padded = [0] * size + name[1:]                   # la frontera de la izquierda, repetida
            for i in range(len(name) - 1):
                rows.append(padded[i:i + size + 1])
        table = torch.tensor(rows)                           # (N, size + 1)
        return table[:, :-1], table[:, -1]

    cut, end = int(0.8 * len(names)), int(0.9 * len(names))
    return *windows(names[:cut]), *windows(names[cut:end])


def class1(args):
    """Contar parejas de una en una y sumar su sorpresa; nosotros, con bincount."""
    names = read_names(args.data / "names.txt")
    pairs = [pair for name in names for pair in zip(name, name[1:])]
    table = torch.zeros(27, 27, dtype=torch.int32)

    def their_count():
        table.zero_()
        for a, b in pairs:
            table[a, b] += 1

    def their_loss():
        p = table.float() / table.sum(1, keepdim=True)
        total = torch.zeros(())                              # en float32, término a término
        for a, b in pairs:
            total += torch.log(p[a, b])
        return -total.item() / len(pairs)

    ours = names_of("02_bigram.py", "--data", args.data / "names.txt", "--steps", 0)
    every = ours["every"]                                    # (N,)

    def our_count():
        for _ in range(20):
            ours["count"](every[:-1], every[1:])

    times = in_turns(their_count, our_count, args.repeats)
    counts = ours["count"](every[:-1], every[1:])
    exact = ours["nll"](ours["probabilities"](counts, 0).log(), every)
    return [
        loss_row("clase 1: NLL de todos los nombres", 2.4541, their_loss(), [exact]),
        time_row("  contar las parejas, ms", *times, 2, 1000, 1000 / 20)]


def descend(parameters, loss, rate):
    """El paso de las clases: gradientes a cero, hacia atrás, y descenso sin más."""
    for p in parameters:
        p.grad = None
    loss.backward()
    for p in parameters:
        p.data += -rate * p.grad


def class_rows(args, number, published, logits, parameters, data, script, *flags, drop=100_000):
    """Las filas de una clase: entrena `logits(x, training)` como ella, y luego nuestra lección."""
    X, Y, Xval, Yval = data
    history = []                                             # la pérdida de cada paso: la apunta

    def step(i):
        pick = torch.randint(len(X), (32,))
        loss = F.cross_entropy(logits(X[pick], True), Y[pick])
        descend(parameters, loss, 0.1 if i < drop else 0.01)
        history.append(loss.log10().item())

    for p in parameters:
        p.requires_grad = True
    steps = 2000 if args.quick else CLASS_STEPS
    times = in_chunks(step, steps)
    theirs = None
    if not args.quick:
        with torch.no_grad():
            theirs = F.cross_entropy(logits(Xval, False), Yval).item()
    flags = ["--data", args.data / "names.txt", *flags]
    losses, seconds = trained(script, args.seeds, *flags)
    mark = "~" if args.quick else ""
    return [
        loss_row(f"clase {number}: val", published, theirs, losses),
        time_row("  segundos de entrenar", times, seconds, 1, CLASS_STEPS, 1, (mark, ""))]


def class2(args):
    """El MLP de Bengio: vectores de 10, 200 ocultas."""
    parameters = [
        torch.randn(27, 10),
        torch.randn(30, 200),
        torch.randn(200),
        torch.randn(200, 27),
        torch.randn(27)]
    C, W1, b1, W2, b2 = parameters

    def logits(x, training):
        h = torch.tanh(C[x].view(-1, 30) @ W1 + b1)
        return h @ W2 + b2

    data = class_data(args.data / "names.txt", 3)
    return class_rows(args, 2, 2.17, logits, parameters, data, "03_mlp.py")


def class3(args):
    """El mismo, con BatchNorm y mejor nacido."""
    parameters = [
        torch.randn(27, 10),
        torch.randn(30, 200) * (5 / 3) / 30**0.5,
        torch.randn(200, 27) * 0.01,
        torch.zeros(27),
        torch.ones(200),
        torch.zeros(200)]
    C, W1, W2, b2, gain, bias = parameters
    kept = {"mean": torch.zeros(1, 200), "std": torch.ones(1, 200)}

    def logits(x, training):
        h = C[x].view(-1, 30) @ W1
        if training:
            mean, std = h.mean(0, keepdim=True), h.std(0, keepdim=True)
            with torch.no_grad():
                kept["mean"] = 0.999 * kept["mean"] + 0.001 * mean
                kept["std"] = 0.999 * kept["std"] + 0.001 * std
        else:
            mean, std = kept["mean"], kept["std"]
        h = torch.tanh(gain * (h - mean) / std + bias)
        return h @ W2 + b2

    data = class_data(args.data / "names.txt", 3)
    return class_rows(args, 3, 2.105, logits, parameters, data, "04_batchnorm.py")


class Fusion:
    """Juntar de dos en dos, capa lineal sin sesgo, BatchNorm y tanh: (B, T, E) -> (B, T / 2, H)."""
    def __init__(self, n_in, n_out):
        self.weight = torch.randn(2 * n_in, n_out) / (2 * n_in)**0.5
        self.gain, self.bias = torch.ones(n_out), torch.zeros(n_out)
        self.mean, self.var = torch.zeros(n_out), torch.ones(n_out)

    def __call__(self, x, training):
        B, T, E = x.shape
        x = x.view(B, T // 2, 2 * E) @ self.weight
        mean, var = self.mean, self.var
        if training:
            mean, var = x.mean((0, 1), keepdim=True), x.var((0, 1), keepdim=True)
            with torch.no_grad():
                self.mean = 0.9 * self.mean + 0.1 * mean
                self.var = 0.9 * self.var + 0.1 * var
        x = (x - mean) / torch.sqrt(var + 1e-5)
        return torch.tanh(self.gain * x + self.bias)


def class5(args):
    """La WaveNet por parejas: tres fusiones de 128."""
    table = torch.randn(27, 24)
    layers = [Fusion(24, 128), Fusion(128, 128), Fusion(128, 128)]
    last = torch.randn(128, 27) / 128**0.5 * 0.1
    bias = torch.zeros(27)
    parameters = [table, last, bias]
    for layer in layers:
        parameters += [layer.weight, layer.gain, layer.bias]

    def logits(x, training):
        h = table[x]
        for layer in layers:
            h = layer(h, training)
        return h.squeeze(1) @ last + bias

    data = class_data(args.data / "names.txt", 8)
    # la receta con names.txt, como en los experimentos de 05_wavenet.py
    ours = ["--batch_size", 128, "--steps", 2000, "--weight_decay", 0.3, "--dropout", 0.15]
    return class_rows(args, 5, 1.993, logits, parameters, data, "05_wavenet.py", *ours,
                      drop=150_000)


# %% nanoGPT

B, T, C, HEADS, LAYERS = 12, 64, 128, 4, 4                   # la forma de su arranque en CPU


class PlainBlock(nn.Module):
    """Un bloque de GPT-2 sin sesgos: norma, atención, suma; norma, GELU, suma."""
    def __init__(self):
        super().__init__()
        self.norm_1 = nn.LayerNorm(C, bias=False)
        self.qkv = nn.Linear(C, 3 * C, bias=False)
        self.mix = nn.Linear(C, C, bias=False)
        self.norm_2 = nn.LayerNorm(C, bias=False)
        self.widen = nn.Linear(C, 4 * C, bias=False)
        self.narrow = nn.Linear(4 * C, C, bias=False)

    def forward(self, x):
        q, k, v = [part.unflatten(2, (HEADS, -1)).transpose(1, 2)               # (B, H, T, d)
                   for part in self.qkv(self.norm_1(x)).split(C, dim=2)]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(y.transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.widen(self.norm_2(x))))


class PlainGPT(nn.Module):
    """El GPT de nanoGPT: posiciones sumadas, y la capa de salida es la tabla de las letras."""
    def __init__(self, V, window=T):
        super().__init__()
        self.token, self.position = nn.Embedding(V, C), nn.Embedding(window, C)
        self.blocks = nn.Sequential(*[PlainBlock() for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(C, bias=False)
        for name, w in self.named_parameters():
            into_sum = name.endswith(("mix.weight", "narrow.weight"))
            if w.dim() == 2:                                 # los que escriben en la suma, menores
                nn.init.normal_(w, std=0.02 / (2 * LAYERS)**0.5 if into_sum else 0.02)

    def forward(self, ids):
        x = self.token(ids) + self.position(torch.arange(ids.size(1)))          # (B, T, C)
        return F.linear(self.norm(self.blocks(x)), self.token.weight)           # (B, T, V)


class Nano:
    """nanoGPT: su modelo, sus datos y su paso de entrenar."""
    def __init__(self, path, window=T):
        text = path.read_text("utf-8")
        self.window = window
        self.chars = sorted(set(text))
        ids = {char: i for i, char in enumerate(self.chars)}
        stream = torch.tensor([ids[char] for char in text])
        cut = int(0.9 * len(stream))
        self.train, self.val = stream[:cut], stream[cut:]
        self.model = PlainGPT(len(self.chars), window)
        weights = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW([
            {"params": [w for w in weights if w.dim() == 2], "weight_decay": 0.1},
            {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0}],
            betas=(0.9, 0.99))                               # sin fundir: así va en una CPU

    def batch(self, ids):
        """B ventanas al azar, y las mismas corridas un puesto: (B, T) cada una."""
        starts = torch.randint(len(ids) - T, (B,)).tolist()
        x = torch.stack([ids[i:i + T] for i in starts])
        y = torch.stack([ids[i + 1:i + 1 + T] for i in starts])
        return x, y

    def loss(self, x, y):
        return F.cross_entropy(self.model(x).flatten(0, 1), y.flatten())

    def step(self, i):
        """El paso `i`: calienta cien, y luego baja como un coseno, de 1e-3 a 1e-4."""
        far = (i - 100) / (NANO_STEPS - 100)
        cooled = 1e-4 + 0.5 * (1 + math.cos(math.pi * far)) * 9e-4
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-3 * (i + 1) / 101 if i < 100 else cooled
        loss = self.loss(*self.batch(self.train))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss.item()                                          # lo escribe en cada paso

    @torch.no_grad()
    def whole(self):
        """Pérdida en toda la validación, en ventanas contiguas: como la de 06_gpt.py."""
        windows = self.val.unfold(0, T + 1, T)               # (M, T + 1)
        total = sum(self.loss(part[:, :-1], part[:, 1:]).item() * len(part)
                    for part in windows.split(64))
        return total / len(windows)

    @torch.no_grad()
    def estimate(self):
        """Pérdida en validación como la da nanoGPT: la media de 20 lotes al azar."""
        return statistics.mean(self.loss(*self.batch(self.val)).item() for _ in range(20))

    @torch.inference_mode()
    def write(self, length):
        """Sortea `length` caracteres, rehaciendo la ventana con cada uno."""
        ids = torch.zeros(1, 1, dtype=torch.long)
        for _ in range(length):
            logits = self.model(ids[:, -self.window:])[:, -1] / 0.8
            ids = torch.cat([ids, torch.multinomial(F.softmax(logits, dim=1), 1)], dim=1)


SHAPE = ["--device", "cpu", "--block_size", T, "--n_embd", C, "--n_head", HEADS,
         "--n_layer", LAYERS, "--batch_size", B]
PLAIN = ["--ngrams", 0, "--no-rotary", "--no-qk_norm"]       # sin lo que vino después


def nanogpt(args):
    """El arranque rápido de nanoGPT en CPU, y 06_gpt.py tal como viene."""
    nano = Nano(args.data / "tinyshakespeare.txt")
    steps = 100 if args.quick else NANO_STEPS
    times = in_chunks(nano.step, steps)
    shakespeare = ["--data", args.data / "tinyshakespeare.txt", "--device", "cpu"]
    source = (ROOT / "06_gpt.py").read_text("utf-8")
    whole = int(re.search(r"^STEPS = (\d+)", source, re.M)[1])
    ours = 250 if args.quick else whole
    shakespeare += ["--steps", ours, "--eval_interval", ours]
    losses, seconds = trained("06_gpt.py", args.seeds, *shakespeare)
    part = f", con {ours} pasos" if args.quick else ""
    scale = whole / ours
    mark = "~" if args.quick else ""
    rows = [
        loss_row(f"nanoGPT: val{part}", 1.88, None if args.quick else nano.whole(), losses),
        time_row("  segundos de entrenar", times, seconds, 1, NANO_STEPS, scale, (mark, mark))]
    if not args.quick:
        rows.insert(1, loss_row("  val, estimada en 20 lotes, a su manera", 1.88,
                                nano.estimate(), losses))
    return rows


def our_stepper(*flags):
    """Una función que da un paso de 06_gpt.py a la forma de nanoGPT, con esas opciones."""
    our = names_of("06_gpt.py", *SHAPE, *flags, "--steps", 0)
    model, memory = our["model"], our["memory"]

    def step(turn):
        loss = our["nll"](model.train(), our["batch"](turn))
        model.zero_grad()
        loss.backward()
        for w in our["with_rows"]:
            our["row_step"](w, memory[w], our["LEARNING_RATE"] / 2)
            some = w.data[-turn % 40::40]
            some *= 1 - 320 * our["LEARNING_RATE"] * our["WEIGHT_DECAY"]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for w in our["with_muon"]:
            memory[w].lerp_(w.grad, 0.05)
            w.grad = None
        for w in our["with_muon"][-turn % 6::6]:
            our["muon_step"](w, memory[w], 6 * our["MUON"])
        our["optimizer"].step()
    return step


def one_step(args):
    """Un paso de cada uno, a la forma de nanoGPT."""
    nano = Nano(args.data / "tinyshakespeare.txt")
    step = our_stepper("--data", args.data / "tinyshakespeare.txt")
    many = 10 if args.quick else 40

    def theirs():
        for i in range(many):
            nano.step(i)

    def ours():
        for turn in range(many):
            step(turn)

    theirs()                                                 # que se despierten los dos
    ours()
    slow, fast = in_turns(theirs, ours, 3 * args.repeats)
    speeds = [[many * B * T / seconds for seconds in times] for times in (slow, fast)]
    return [
        time_row("un paso a su forma, todas las piezas, ms", slow, fast, 1, 1e3 / many, 1e3 / many),
        speed_row("  caracteres por segundo al entrenar", *speeds)]


def sampling(args):
    """Escribir carácter a carácter: a la forma de nanoGPT y con un contexto de 256."""
    length = 300 if args.quick else 2000
    threads = torch.get_num_threads()
    models = {"el mismo modelo": PLAIN, "con todas las piezas": []}
    rows = []
    text = (args.data / "tinyshakespeare.txt").read_text("utf-8")
    short = Path("corto.txt").resolve()                      # sin aprender nada: basta un trozo
    short.write_text(text[:20_000], "utf-8")
    for window, (name, flags) in itertools.product((T, 256), models.items()):
        nano = Nano(args.data / "tinyshakespeare.txt", window)
        ran("06_gpt.py", *SHAPE, *flags, "--block_size", window, "--data", short,
            "--steps", 1, "--length", 1, "--out", "peers.pt")
        theirs, ours = [], []
        for _ in range(args.repeats):
            best = 0
            for torch_threads in (1, threads):               # a él, con los hilos que le convengan
                torch.set_num_threads(torch_threads)
                best = max(best, length / seconds_of(lambda: nano.write(length)))
            theirs.append(best)
            printed = ran("sample.py", "peers.pt", "--length", length, "--seed", 1)
            ours.append(float(re.findall(r"(\d+) caracteres por segundo", printed)[-1]))
        rows.append(speed_row(f"muestreo, contexto {window}, {name}, caracteres/s", theirs, ours))
    return rows


# %% La tabla

PEERS = {
    "micrograd": micrograd,
    "clase1": class1,
    "clase2": class2,
    "clase3": class3,
    "clase5": class5,
    "nanogpt": nanogpt,
    "paso": one_step,
    "muestreo": sampling,
}


def check_texts(folder, wanted):
    """Termina, y dice qué hacer, si en `folder` falta un texto de los de `wanted`."""
    needed = set()
    for name in wanted:
        if name.startswith("clase"):
            needed.add("names")
        elif name != "micrograd":
            needed.add("tinyshakespeare")
    for text in sorted(needed):
        path = folder / f"{text}.txt"
        if not path.is_file():
            sys.exit(f"error: no está «{path}»: python data/prepare.py {text}, o dale a --data la "
                     "carpeta que lo tiene")


def line(what, published, theirs, ours, ratio):
    return f"{what:41} {published:>9} {theirs:>18} {ours:>18} {ratio:>9}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="menos pasos, y extrapolar")
    parser.add_argument("--only", choices=PEERS, metavar="NOMBRE", help="sólo " + ", ".join(PEERS))
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="carpeta de los textos")
    parser.add_argument("--seeds", type=int, default=0,
                        help="semillas de lo nuestro [3; con --quick, 1]")
    parser.add_argument("--repeats", type=int, default=0,
                        help="repeticiones [5; con --quick, 3]")
    args = parser.parse_args()
    args.repeats = args.repeats or (3 if args.quick else 5)
    args.seeds = args.seeds or (1 if args.quick else 3)
    args.data = args.data.resolve()
    wanted = [args.only] if args.only else list(PEERS)
    check_texts(args.data, wanted)
    print(f"torch {torch.__version__}, hilos: {torch.get_num_threads()}, semillas: {args.seeds}")
    if args.quick:
        print("con menos pasos: «~» es extrapolado, y la pérdida del otro, la que publicó")
    print(line("comparación", "publicada", "el otro, aquí", "lo nuestro", "razón"))
    tick = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)                                     # lo que se guarde no queda
        for name in wanted:
            say(f"{name}: {PEERS[name].__doc__}")
            torch.manual_seed(1337)
            rows = PEERS[name](args)
            say("")
            for row in rows:
                published = "" if row.published is None else f"{row.published:g}"
                print(line(row.what, published, row.theirs, row.ours, row.ratio), flush=True)
        os.chdir(ROOT)
    print(f"{time.perf_counter() - tick:.0f} segundos; (!): lejos de lo que publicó")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main()

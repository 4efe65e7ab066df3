"""
03. La red de Bengio: letras con vector, y cómo entrenarla sin engañarse

Al terminar sabrás qué es un embedding, cómo una red predice a partir de
contextos que nunca vio, cómo se busca la tasa de aprendizaje en vez de
adivinarla, y cómo se distingue la red que se queda corta de la que recita.

    python 03_mlp.py                  los pueblos, en medio minuto
    python 03_mlp.py --steps 0        sólo las piezas y sus pruebas
    python 03_mlp.py --plot figuras   además, la búsqueda y el mapa de letras
    python sample.py ckpt_mlp.pt      más pueblos que no existen

Fuentes: Bengio et al., «A Neural Probabilistic Language Model» (2003),
ecuación 1 (sin conexiones directas); Smith, «Cyclical Learning Rates for
Training Neural Networks» (2017), apartado 3.3 (la tasa que crece); Loshchilov
y Hutter, «Decoupled Weight Decay Regularization» (AdamW, 2019).
"""
import argparse
import math
import os
import random
import re
import shutil
import signal
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

# %% Constantes: cámbialas aquí y vuelve a ejecutar, o dales valor desde la terminal
DATA = "pueblos.txt"  # texto de trabajo: una ruta, o un nombre de la carpeta data/
OUT = "ckpt_mlp.pt"   # punto de control (checkpoint) que se escribe
SEED = 1337           # semilla del azar
PLOT = ""             # carpeta donde guardar las figuras (vacía: ninguna; pide matplotlib)
STEPS = 4000          # pasos de entrenamiento (0: sólo las piezas y sus pruebas)
EVAL_INTERVAL = 1000  # pasos entre evaluaciones; si es la mejor, se guarda
BATCH_SIZE = 512      # ejemplos por paso
BLOCK_SIZE = 3        # caracteres de contexto: lo más lejos que el modelo mira
N_EMBD = 32           # números con que se describe cada carácter
N_HIDDEN = 256        # neuronas de la capa oculta
LEARNING_RATE = 0.0   # tasa de aprendizaje en su máximo (0: la que halle la búsqueda)
WARMUP_STEPS = 200    # pasos en que la tasa sube desde cero; después baja en línea recta hasta cero
WEIGHT_DECAY = 0.02   # decaimiento de los pesos

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


# %% Las líneas, en tres partes
# Un ejemplo por línea. «\n» es la frontera: dice a la vez dónde acaba uno y dónde empieza el otro.
# El 80 % se entrena, con otro 10 % se elige (validación) y el último (prueba) se mira una sola vez.
def encode(text):
    """Ids de los caracteres de `text`, que deben estar en el vocabulario: (N,) int64."""
    return torch.tensor([ids[char] for char in text])

def decode(row):
    """El texto de una lista de ids."""
    return "".join(chars[i] for i in row)

lines = [line.strip() for line in text.split("\n") if line.strip()]
if len(lines) < 10:
    sys.exit(f"error: «{DATA}» tiene {len(lines)} líneas con texto y hacen falta 10 o más")
random.Random(42).shuffle(lines)                             # la misma partición con toda SEED
chars = "".join(sorted({"\n", *"".join(lines)}))             # id -> carácter
ids = {char: i for i, char in enumerate(chars)}              # carácter -> id
V, NL = len(chars), ids["\n"]                                # tamaño del vocabulario; la frontera
cut, end = int(0.8 * len(lines)), int(0.9 * len(lines))
train, val, test = lines[:cut], lines[cut:end], lines[end:]
known = set(train)
repeated = sum(line in known for line in val)
print(f"{len(lines)} líneas; de las {len(val)} de validar, {repeated} están entre las de entrenar")


# %% Una línea que se reescribe
def live(line):
    """En una terminal reescribe la línea en curso, sin pasar de su ancho; en un fichero, nada."""
    if sys.stdout.isatty():
        print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)


# %% 1. Ventanas de contexto
# Cada carácter se predice desde los BLOCK_SIZE anteriores, sin salir de su línea: lo que falta por
# la izquierda es frontera. Ni un bucle: cada posición se recorta al comienzo de su línea.
if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if min(BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HIDDEN, EVAL_INTERVAL) < 1:
    sys.exit("error: BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HIDDEN y EVAL_INTERVAL deben ser 1 o más")


def windows(lines, size):
    """Cada carácter de `lines` con los `size` que lo preceden en su línea: (N, size), (N,).

    Lo que falta por la izquierda es frontera, y el último que se predice en una línea también.
    """
    edge = "\n" * size
    stream = encode(edge + edge.join(lines) + "\n")
    rows = stream.unfold(0, size + 1, 1)                     # (M, size + 1)
    rows = rows[(rows[:, -2:] != NL).any(1)]                 # ninguno de frontera a frontera
    return rows[:, :-1], rows[:, -1]

dots = lambda ids: decode(ids).replace("\n", ".")            # la frontera, dibujada como un punto
(X, Y), (Xval, Yval) = windows(train, BLOCK_SIZE), windows(val, BLOCK_SIZE)     # (N, T), (N,)
row = 0
for line in train[:100]:                                     # lo mismo, de uno en uno
    padded = "\n" * BLOCK_SIZE + line + "\n"
    for at in range(BLOCK_SIZE, len(padded)):
        assert decode(X[row]) == padded[at - BLOCK_SIZE:at]
        assert chars[Y[row]] == padded[at]
        row += 1
key = torch.cat([X, Xval]).unique(dim=0, return_inverse=True)[1]     # cada contexto, su número
unseen = ~torch.isin(key[len(X):], key[:len(X)])                     # (Nval,)
print(f"1. {len(lines)} líneas; {len(Y)} ejemplos para entrenar, {len(Yval)} para validar")
for x, y in zip(X[:6], Y[:6]):
    print(f"   {dots(x)} -> {dots([y])}")
print(f"   contextos distintos {len(key[:len(X)].unique())}; en la validación, "
      f"{100 * unseen.float().mean():.1f} % son nuevos")

# %% 2. La red, con tensores a la vista
# Cada carácter tiene un vector aprendido (embedding): su fila en la tabla C. Los del contexto se
# ponen uno tras otro, pasan por una capa oculta (hidden layer) con tanh y salen V notas (logits).
# Letras que se usan igual acabarán con vectores parecidos: lo aprendido con una vale para otra.
def new_weights(n_embd, n_hidden):
    """Pesos al azar de una red nueva, por su nombre; el porqué de la escala, en la lección 04."""
    fan = BLOCK_SIZE * n_embd                                # números que entran en la capa oculta
    w = {"C": torch.randn(V, n_embd),
         "W1": torch.randn(fan, n_hidden) / fan**0.5, "b1": torch.zeros(n_hidden),
         "W2": 0.5 * torch.randn(n_hidden, V) / n_hidden**0.5, "b2": torch.zeros(V)}
    return {name: tensor.requires_grad_() for name, tensor in w.items()}


def logits(w, x):
    """Notas del carácter que sigue a cada contexto: (B, T) -> (B, V). Bengio 2003, ecuación 1."""
    e = w["C"][x].flatten(1)                                 # (B, T * n_embd)
    h = torch.tanh(e @ w["W1"] + w["b1"])                    # (B, n_hidden)
    return h @ w["W2"] + w["b2"]                             # (B, V)


torch.manual_seed(SEED)
w, x, y = new_weights(10, 100), X[:32], Y[:32]
e = w["C"][x]                                                # (B, T, 10)
assert torch.equal(e, F.one_hot(x, V).float() @ w["C"])      # indexar es multiplicar por one-hot
assert torch.equal(e.view(len(x), -1), torch.cat(e.unbind(1), dim=1))
assert e.view(len(x), -1).data_ptr() == e.data_ptr()         # cat copia; view, no

# La entropía cruzada (cross-entropy) es la media de -log p. A mano: exponenciar y normalizar. Pero
# exp(89) ya no cabe en 32 bits: sale inf, e inf / inf no es un número. Restar antes la nota mayor
# no cambia p y deja todo exponente en cero o menos: eso hace F.cross_entropy, y por eso es segura.
z, by_hand = logits(w, x), []
for notes in (z, z + 100, z + 100 - (z + 100).amax(1, keepdim=True)):
    p = notes.exp() / notes.exp().sum(1, keepdim=True)       # (B, V)
    by_hand.append(-p[torch.arange(len(y)), y].log().mean())
fused = F.cross_entropy(z + 100, y)
assert torch.allclose(by_hand[0], F.cross_entropy(z, y), atol=1e-5) and not by_hand[1].isfinite()
assert torch.allclose(by_hand[2], fused, atol=1e-5) and abs(fused - math.log(V)) < 0.5
print(f"\n2. C[x] = one-hot @ C; pérdida sin entrenar {by_hand[0]:.3f}, a ciegas ln {V} = "
      f"{math.log(V):.3f}\n   con 100 más: a mano {by_hand[1]:.3f}; restando la mayor "
      f"{by_hand[2]:.3f}; F.cross_entropy {fused:.3f}")

# %% 3. Sobreajustar a propósito
# Antes de entrenar de verdad: ¿se aprende 32 ejemplos? Si no, hay un error. Pero no llegará a cero:
# tras «...» vienen varias letras, y lo mejor es repartir según las veces que sale cada una. Ese
# suelo (floor) es la entropía de la letra conocido el contexto, y se calcula contando.
times = [part.unique(dim=0, return_inverse=True, return_counts=True)[1:]
         for part in (torch.cat([x, y[:, None]], dim=1), x)]
both, alone = (n[which].double() for which, n in times)      # (B,) de la pareja, del contexto
floor, history = (alone / both).log().mean().item(), []
for step in range(501):
    loss = F.cross_entropy(logits(w, x), y)
    history.append(loss.item())
    for tensor, g in zip(w.values(), torch.autograd.grad(loss, list(w.values()))):
        tensor.data -= 0.3 * g                               # descenso, sin más
assert min(history) > floor - 1e-5 and history[-1] < floor + 0.05
after = " ".join(dots(y[(x == x[0]).all(1)]))               # lo que sigue al primer contexto
print(f"\n3. {len(x)} ejemplos; tras {dots(x[0])} vienen {after}\n   " + "; ".join(
    f"paso {k}, {history[k]:.4f}" for k in (0, 50, 500)) + f"; suelo {floor:.4f}")

# %% 4. Mini-lotes: un gradiente tosco y barato
# El gradiente de B ejemplos al azar (mini-batch) acierta de promedio, con un error que baja como
# 1/sqrt(B): cien veces más trabajo, diez veces menos error. Por eso se anda a pasos toscos. Pero no
# de uno en uno: cada paso tiene un coste fijo, y con lotes grandes sale a menos por ejemplo.
def gradient(w, x, y):
    """El gradiente de la pérdida en (x, y) respecto a todos los pesos, en un vector (P,)."""
    loss = F.cross_entropy(logits(w, x), y)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(w.values()))])


torch.manual_seed(SEED)
w, pool, errors = new_weights(10, 64), min(len(X), 8192), {}
whole = gradient(w, X[:pool], Y[:pool])                      # (P,)
print(f"\n4. gradiente de un lote frente al de {pool} ejemplos (100 lotes de cada tamaño)")
print("   lote   error relativo   el de 1 / sqrt(B)   coseno   µs por ejemplo")
for size in (1, 8, 32, 128, 512):
    picks, tick = torch.randint(pool, (100, size)), time.perf_counter()
    found = torch.stack([gradient(w, X[pick], Y[pick]) for pick in picks])       # (100, P)
    cost = 1e6 * (time.perf_counter() - tick) / picks.numel()
    errors[size] = ((found - whole).square().sum(1).mean().sqrt() / whole.norm()).item()
    print(f"   {size:4d}   {errors[size]:14.3f}   {errors[1] / size**0.5:17.3f}   "
          f"{F.cosine_similarity(found, whole[None]).mean():6.3f}   {cost:14.1f}")
assert all(2 / 3 < error * size**0.5 / errors[1] < 1.5 for size, error in errors.items())


# %% 5. La tasa de aprendizaje se busca
# Un ensayo en que la tasa crece en cada paso por el mismo factor (Smith 2017): al principio es tan
# corta que nada se mueve, al final tan larga que todo se rompe. En medio hay un valle, y la regla
# es su centro: la media geométrica de las tasas cuya pérdida no pasa del mínimo en más de un 2 %.
def descend(w, x, y, rates):
    """Un paso de AdamW con cada tasa de `rates`, cada uno con un lote al azar de (x, y).

    Va dando la pérdida de cada lote y los segundos que lleva entrenando.
    """
    optimizer, seconds = torch.optim.AdamW(w.values(), betas=(0.9, 0.99), fused=True,
                                           weight_decay=WEIGHT_DECAY), 0.0
    for step, rate in enumerate(rates, 1):
        tick = time.perf_counter()
        pick = torch.randint(len(x), (BATCH_SIZE,))          # (B,)
        loss = F.cross_entropy(logits(w, x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.step()
        seconds += time.perf_counter() - tick
        left = (len(rates) - step) * seconds / step
        live(f"{step}/{len(rates)}   pérdida {loss.item():.3f}   "
             f"{step * BATCH_SIZE / seconds:.0f} caracteres/s   faltan {left:.0f} s")
        yield loss.item(), seconds


if STEPS:
    torch.manual_seed(SEED)
    rates = np.geomspace(1e-4, 1, 450)
    losses = [loss for loss, _ in descend(new_weights(N_EMBD, N_HIDDEN), X, Y, rates)]
    live("")
    rates, curve = rates.reshape(18, 25)[:, 12], np.reshape(losses, (18, 25)).mean(1)    # (18,)
    curve = np.nan_to_num(curve, nan=math.inf)
    in_valley = curve <= 1.02 * curve.min()
    found = float(np.exp(np.log(rates[in_valley]).mean()))
    print("\n5. tasa, pérdida media de 25 pasos (~, el valle)")
    for rate, value, best in zip(rates, curve, in_valley):
        bar = "~" if best else "█" * round(min(12 * (value - curve.min()), 50))
        print(f"   {rate:7.5f} {value:8.3f} {bar}")
    print(f"   la regla: {found:.4f}; se usará {LEARNING_RATE or found:.4f}")
    if PLOT:
        import matplotlib.pyplot as plt                      # pip install matplotlib
        Path(PLOT).mkdir(parents=True, exist_ok=True)
        plt.figure(figsize=(6, 4))
        plt.semilogx(rates, curve, "o-")
        plt.axvline(found, color="C1", linestyle="--")
        plt.gca().set(title=f"Centro del valle: {found:.4f}", xlabel="tasa de aprendizaje",
                      ylabel="pérdida media de 25 pasos (nats por carácter)",
                      ylim=(curve.min() - 0.1, math.log(V) + 1))
        plt.savefig(Path(PLOT) / "tasa.png", dpi=150, bbox_inches="tight")
    LEARNING_RATE = LEARNING_RATE or found

# %% 6. Quedarse corto o recitar
# Una red pequeña pierde mucho hasta en lo que ha visto: se queda corta (underfitting). La que ha
# visto poco se lo aprende de memoria, y en validación falla: sobreajuste (overfitting). Se comparan
# con la que mejor valida: la primera entrena peor que ella; la segunda, mejor, y no le sirve.
@torch.no_grad()
def evaluate(w, x, y):
    """Pérdida media, en nats por carácter, sobre todo (x, y)."""
    parts = zip(x.split(4096), y.split(4096))
    return sum(F.cross_entropy(logits(w, a), b, reduction="sum").item() for a, b in parts) / len(y)


def schedule(steps):
    """Tasa de cada paso: sube WARMUP_STEPS pasos y baja en línea recta hasta cero. (steps,)."""
    t = np.arange(steps)
    return LEARNING_RATE * np.minimum((t + 1) / (WARMUP_STEPS + 1),
                                      (steps - t) / max(steps - WARMUP_STEPS, 1))


w, some = new_weights(3, 5), (X[:9000], Y[:9000])
assert abs(evaluate(w, *some) - F.cross_entropy(logits(w, some[0]), some[1]).item()) < 1e-3
trials = [(2, 16, 1), (N_EMBD, 16, 1), (2, N_HIDDEN, 1), (N_EMBD, N_HIDDEN, 1),
          (N_EMBD, N_HIDDEN, 50)]                            # embedding, oculta, uno de cada tantos
rows, brief = [], min(400, STEPS)
for n_embd, n_hidden, share in trials if STEPS else []:
    torch.manual_seed(SEED)
    n, w = math.ceil(len(X) / share), new_weights(n_embd, n_hidden)
    for _ in descend(w, X[:n], Y[:n], schedule(brief)):
        pass
    rows.append((n_embd, n_hidden, n, evaluate(w, X[:n], Y[:n]), evaluate(w, Xval, Yval)))
if STEPS:
    live("")
    print(f"\n6. {brief} pasos cada red\n   embedding   oculta   ejemplos    train      val")
    best = min(rows, key=lambda row: row[-1])
    for row in rows:
        verdict = "sobreajusta" if row[-2] < best[-2] else "se queda corta"
        print("   {:9d}   {:6d}   {:8d}   {:.4f}   {:.4f}   {}".format(
            *row, "la mejor" if row is best else verdict))


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

# %% 7. Entrenar, y mirar la prueba una sola vez
# La tasa sube un poco y luego baja hasta cero, que quita el temblor de los lotes. Vale la red que
# mejor valida. Como con la validación se ha elegido, ya no es neutral: lo que valdrá con líneas de
# mañana lo dice la prueba (test), que hasta aquí nadie ha tocado.
torch.manual_seed(SEED)
w = new_weights(N_EMBD, N_HIDDEN)
best, result = {"val_loss": math.inf}, "train=- val=- test=- segundos=- tokens_s=- ckpt=-"
print(f"\n7. {sum(tensor.numel() for tensor in w.values())} pesos, {STEPS} pasos de {BATCH_SIZE} "
      "ejemplos", flush=True)
try:
    for done, (loss, seconds) in enumerate(descend(w, X, Y, schedule(STEPS)), 1):
        if not math.isfinite(loss):
            sys.exit(f"error: la pérdida dejó de ser finita en el paso {done}: baja LEARNING_RATE")
        if done % EVAL_INTERVAL == 0 or done == STEPS:
            train_loss, val_loss = evaluate(w, X, Y), evaluate(w, Xval, Yval)
            if val_loss < best["val_loss"]:
                best = {"format": 1, "model": "mlp", "chars": chars, "data": Path(DATA).name,
                        "config": {"block_size": BLOCK_SIZE, "n_embd": N_EMBD,
                                   "n_hidden": N_HIDDEN},
                        "weights": {name: tensor.detach().clone() for name, tensor in w.items()},
                        "step": done, "train_loss": train_loss, "val_loss": val_loss}
                save(best, OUT)
            live("")
            print(f"   paso {done:5d}   train {train_loss:.4f}   val {val_loss:.4f}   "
                  f"(vale la del paso {best['step']})", flush=True)
except KeyboardInterrupt:
    sys.exit("\ninterrumpido")
if STEPS:
    w = best["weights"]
    test_loss = evaluate(w, *windows(test, BLOCK_SIZE))
    new = evaluate(w, Xval[unseen], Yval[unseen]) if unseen.any() else math.nan
    print(f"   prueba {test_loss:.4f}; contextos nuevos {new:.4f}; a ciegas {math.log(V):.4f}")
    result = (f"train={best['train_loss']:.4f} val={best['val_loss']:.4f} test={test_loss:.4f} "
              f"segundos={seconds:.1f} tokens_s={done * BATCH_SIZE / seconds:.0f} ckpt={OUT}")

# %% 8. El mapa de las letras
# Nadie ha dicho a la red qué es una vocal. ¿Las ha puesto juntas? Se mide con el coseno entre sus
# vectores. Y para verlo en un plano, los dos ejes en que C varía más: sus componentes principales
# (PCA), que salen de la descomposición en valores singulares (SVD).
often = np.bincount(encode("\n".join(["", *train, ""])), minlength=V)     # (V,) veces que sale cada carácter
letters = [i for i in np.argsort(-often).tolist() if chars[i].islower() and often[i] > len(Y) / 500]
letters = letters if len(letters) > 2 else list(range(V))
e = w["C"].detach()[letters]                                 # (L, n_embd)
e = F.normalize(e - e.mean(0))                               # importa hacia dónde, no cuánto
cosine = e @ e.T                                             # (L, L)
u, s, _ = torch.linalg.svd(e, full_matrices=False)           # (L, K), (K,)
axes = torch.linalg.eigvalsh(e.T @ e).flip(0)[:len(s)]       # la varianza de cada eje, otra vez
assert torch.allclose(s.square(), axes, atol=1e-4 * len(letters))
vowel = torch.tensor([unicodedata.normalize("NFD", chars[i])[0] in "aeiou" for i in letters])
both, one = (vowel[:, None] & vowel).fill_diagonal_(False), vowel[:, None] & ~vowel       # (L, L)
near = [f"{chars[i]}: " + " ".join(chars[letters[j]] for j in row.argsort(descending=True)[1:4])
        for i, row in zip(letters, cosine)]
print("\n8. cada letra y sus tres vecinas" + ("" if STEPS else ", antes de entrenar"),
      *("   ".join(near[k:k + 6]) for k in range(0, len(near), 6)), sep="\n   ")
print(f"   coseno medio entre vocales {cosine[both].mean():.2f}; de vocal a consonante "
      f"{cosine[one].mean():.2f}")
if PLOT:
    a, b = (u * s)[:, [0, min(1, len(s) - 1)]].T             # (L,), (L,) coordenadas en los ejes
    share = 100 * s.square() / s.square().sum()              # (K,) % de la varianza
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
    plt.figure(figsize=(8, 7))
    plt.scatter(a, b, s=0)
    for left, up, i, is_vowel in zip(a, b, letters, vowel):
        plt.text(left, up, chars[i], color="C1" if is_vowel else "C0", fontsize=14, ha="center")
    plt.gca().set(title="Embedding de las letras (vocales, en naranja)",
                  xlabel=f"primer eje: {share[0]:.0f} % de la varianza",
                  ylabel=f"segundo eje: {share[1:2].sum():.0f} %")
    plt.savefig(Path(PLOT) / "letras.png", dpi=150, bbox_inches="tight")

# %% 9. Muestras
# Se sortea un carácter según las probabilidades, pasa a ser contexto, y así hasta la frontera.
@torch.no_grad()
def generate(count, longest=80):
    """`count` líneas inventadas a la vez, de `longest` caracteres como mucho: lista de textos."""
    ids = torch.full((count, BLOCK_SIZE), NL)                # (count, T)
    for _ in range(longest):
        p = F.softmax(logits(w, ids[:, -BLOCK_SIZE:]), dim=1)                 # (count, V)
        ids = torch.cat([ids, torch.multinomial(p, 1)], dim=1)
    return [decode(row[BLOCK_SIZE:]).split("\n")[0] for row in ids.tolist()]


torch.manual_seed(SEED)
invented = generate(500)
print("\n9. " + "\n   ".join(invented[:10]))
print(f"   de 500 líneas inventadas, {100 * np.isin(invented, lines).mean():.1f} % ya existían")
print("resultado", result)

# %% Experimentos: predice antes de mirar (validación con pueblos.txt; tal como viene, 1.783)
# Las tres primeras, con LEARNING_RATE = 0.01, que es la que halla la búsqueda tal como viene.
# - BLOCK_SIZE = 1: ¿a qué modelo se parece, si sólo mira una letra? Al bigrama: 2.354.
# - N_EMBD = 2: ¿caben 79 caracteres en un plano? Mal: 2.056.
# - BATCH_SIZE = 32: ¿cuánto se pierde con lotes 16 veces más toscos y los mismos pasos? 1.957.
# - LEARNING_RATE = 0.001: ¿y si no se hubiera buscado? 1.866: aprende, pero no le da tiempo.

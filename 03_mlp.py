"""
03. La red de Bengio: letras con vector, y cómo entrenarla sin engañarse

Al terminar sabrás qué es un embedding, cómo predice una red en contextos que nunca vio, qué hace
AdamW con un gradiente, cómo se busca la tasa de aprendizaje, y cuándo una red recita.

    python 03_mlp.py                  los pueblos, en medio minuto
    python 03_mlp.py --steps 0        sólo las piezas y sus pruebas
    python 03_mlp.py --plot figuras   además, la búsqueda y el mapa de letras
    python sample.py ckpt_mlp.pt      más pueblos que no existen
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
import torch.nn.functional as F

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

# %% 1. De notas a sorpresa
# La red dará una nota (logit) a cada carácter. El softmax las hace probabilidades: exponenciar y
# dividir por la suma. La pérdida es la sorpresa, -log p, del que salió: la entropía cruzada
# (cross-entropy). Pero exp(89) no cabe en 32 bits: sale inf, e inf / inf no es un número. Restar
# antes la nota mayor no cambia p, y así lo hace F.cross_entropy.
if not Path(OUT).parent.is_dir():
    sys.exit(f"error: no existe la carpeta de «{OUT}». Créala, o elige otra con --out")
if min(BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HIDDEN, EVAL_INTERVAL) < 1:
    sys.exit("error: BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HIDDEN y EVAL_INTERVAL deben ser 1 o más")

def surprise(notes, y):
    """-log de la probabilidad que el softmax de `notes` (V,) da al carácter `y`, en nats."""
    p = notes.exp() / notes.exp().sum()                      # (V,)
    return -p[y].log()

notes = torch.tensor([2.0, 1.0, -1.0])                       # (V,)
large = notes + 100                                          # las mismas diferencias
plain, rescued = surprise(notes, 0), surprise(large - large.max(), 0)
fused = F.cross_entropy(large, torch.tensor(0))
assert surprise(large, 0).isnan()
assert torch.isclose(plain, fused)
assert torch.isclose(rescued, fused)
print(f"1. sorpresa {plain:.4f}; más 100, {surprise(large, 0):.4f}; menos la mayor {rescued:.4f}\n")

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

# %% 2. Ventanas de contexto
# Cada carácter se predice desde los BLOCK_SIZE anteriores, sin salir de su línea: lo que falta por
# la izquierda es frontera, aquí un punto. Algunos contextos de la validación no salen al entrenar:
# una tabla de cuentas no sabría qué decir de ellos.
def windows(lines, size):
    """Cada carácter de `lines` con los `size` que lo preceden en su línea: (N, size), (N,).

    Lo que falta por la izquierda es frontera, y el último que se predice en una línea también.
    """
    edge = "\n" * size
    stream = encode(edge + edge.join(lines) + "\n")
    rows = stream.unfold(0, size + 1, 1)                     # (M, size + 1)
    rows = rows[(rows[:, -2:] != NL).any(1)]                 # ninguno de frontera a frontera
    return rows[:, :-1], rows[:, -1]

X, Y = windows(train, BLOCK_SIZE)                            # (N, T), (N,)
Xval, Yval = windows(val, BLOCK_SIZE)
assert len(Y) == sum(len(line) + 1 for line in train)
padded = "\n" * BLOCK_SIZE + train[0] + "\n"
for i in range(len(train[0]) + 1):                           # la primera línea, de uno en uno
    assert decode(X[i]) == padded[i:i + BLOCK_SIZE]
    assert chars[Y[i]] == padded[i + BLOCK_SIZE]
seen = {tuple(x) for x in X.tolist()}
unseen = torch.tensor([tuple(x) not in seen for x in Xval.tolist()])            # (Nval,)
print(f"\n2. {len(Y)} ejemplos con {len(seen)} contextos distintos; de los {len(Yval)} de validar, "
      f"{unseen.sum()} traen uno nuevo")
for x, y in zip(X[:6], Y[:6]):
    print("   " + f"{decode(x)} -> {chars[y]}".replace("\n", "."))

# %% 3. La red, con tensores a la vista
# Cada carácter tiene un vector aprendido (embedding): su fila en la tabla C. Los del contexto, uno
# tras otro, pasan por una capa oculta (hidden layer) con tanh, y salen V notas: Bengio et al., «A
# Neural Probabilistic Language Model» (2003), y = b + Wx + U tanh(d + Hx), aquí con W = 0. A dos
# letras que se usan igual conviene darles vectores cercanos: lo que enseña una vale para la otra.
def new_weights(n_embd, n_hidden):
    """Pesos al azar de una red nueva, por su nombre; el porqué de la escala, en la lección 04."""
    fan = BLOCK_SIZE * n_embd                                # números que entran en la capa oculta
    w = {"C": torch.randn(V, n_embd),
         "W1": torch.randn(fan, n_hidden) / fan**0.5, "b1": torch.zeros(n_hidden),
         "W2": 0.5 * torch.randn(n_hidden, V) / n_hidden**0.5, "b2": torch.zeros(V)}
    return {name: tensor.requires_grad_() for name, tensor in w.items()}

def logits(w, x):
    """Notas del carácter que sigue a cada contexto: (B, T) -> (B, V)."""
    e = w["C"][x].flatten(1)                                 # (B, T * n_embd)
    h = torch.tanh(e @ w["W1"] + w["b1"])                    # (B, n_hidden)
    return h @ w["W2"] + w["b2"]                             # (B, V)

torch.manual_seed(SEED)
w = new_weights(10, 100)
x, y = X[:32], Y[:32]                                        # (B, T), (B,)
e = w["C"][x]                                                # (B, T, 10)
flat = e.view(len(x), -1)                                    # (B, T * 10)
assert torch.equal(e, F.one_hot(x, V).float() @ w["C"])      # indexar es multiplicar por one-hot
assert torch.equal(flat, torch.cat(e.unbind(1), dim=1))      # uno tras otro...
assert flat.data_ptr() == e.data_ptr()                       # ... y sin copiar nada
print(f"\n3. de {tuple(e.shape)} a {tuple(flat.shape)}: los vectores de {len(x)} contextos")

# %% 4. Sobreajustar a propósito
# Antes de entrenar de verdad: ¿se aprende 32 ejemplos? Si no, hay un error. No llegará a cero: tras
# «...» vienen varias letras, y lo mejor es repartir según las veces que sale cada una. Ese suelo
# (floor) es la entropía de la letra conocido el contexto, y se calcula contando.
same = (x[:, None] == x).all(2)                              # (B, B) ¿el mismo contexto?
both = same & (y[:, None] == y)                              # (B, B) ¿y la misma letra después?
floor = -(both.sum(1) / same.sum(1)).log().mean().item()
history = []
for step in range(501):
    loss = F.cross_entropy(logits(w, x), y)
    history.append(loss.item())
    gradients = torch.autograd.grad(loss, list(w.values()))
    for tensor, g in zip(w.values(), gradients):
        tensor.data -= 0.3 * g                               # descenso, sin más
assert min(history) > floor - 1e-5
after = " ".join(decode(y[same[0]]))                         # lo que sigue al primer contexto
print(f"\n4. al empezar línea vienen {after}\n   la pérdida, {history[0]:.4f} (a ciegas, ln {V} = "
      f"{math.log(V):.4f}), baja a {history[-1]:.4f}; el suelo es {floor:.4f}")

# %% 5. Mini-lotes: un gradiente tosco y barato
# El gradiente de B ejemplos al azar (mini-batch) acierta de promedio, con un error que baja como
# 1/sqrt(B): cien veces más trabajo, diez veces menos error. Y cada paso tiene un coste fijo.
def gradient(w, x, y):
    """El gradiente de la pérdida en (x, y) respecto a todos los pesos, en un vector (P,)."""
    loss = F.cross_entropy(logits(w, x), y)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(w.values()))])

torch.manual_seed(SEED)
w = new_weights(10, 64)
x, y = X[:8192], Y[:8192]
whole = gradient(w, x, y)                                    # (P,)
print(f"\n5. gradiente de un lote frente al de {len(x)} ejemplos (100 lotes de cada tamaño)")
print("   lote   error relativo   por sqrt(lote)   µs por ejemplo")
for size in (1, 8, 32, 128, 512):
    picks = torch.randint(len(x), (100, size))
    start = time.perf_counter()
    found = torch.stack([gradient(w, x[pick], y[pick]) for pick in picks])      # (100, P)
    cost = 1e6 * (time.perf_counter() - start) / picks.numel()
    error = (found - whole).square().sum(1).mean().sqrt() / whole.norm()
    print(f"   {size:4d}   {error:14.3f}   {error * size**0.5:14.3f}   {cost:14.1f}")

# %% 6. AdamW, a mano
# Cada peso lleva dos medias que olvidan despacio: la de su gradiente y la de su cuadrado. Se anda
# la primera partida por la raíz de la segunda: no importa si el gradiente es grande, sino si se
# repite. Nacen en cero: en el paso t sólo llevan 1 - beta**t de lo suyo, y se divide por eso. Es
# Adam: Kingma y Ba (2015), algoritmo 1. La W es que cada peso encoge aparte, diga lo que diga el
# gradiente: Loshchilov y Hutter, «Decoupled Weight Decay Regularization» (2019).
BETA1, BETA2 = 0.9, 0.99

def adamw(weight, g, mean, square, t, rate):
    """El paso `t` (desde 1) de AdamW: cambia `weight` y sus dos medias, todos con forma de `g`."""
    mean += (1 - BETA1) * (g - mean)
    square += (1 - BETA2) * (g * g - square)
    whole_mean = mean / (1 - BETA1**t)
    whole_square = square / (1 - BETA2**t)
    weight *= 1 - rate * WEIGHT_DECAY
    weight -= rate * whole_mean / (whole_square.sqrt() + 1e-8)

ours = torch.zeros(3, dtype=torch.float64)                   # tres pesos
mean, square = torch.zeros_like(ours), torch.zeros_like(ours)
theirs = ours.clone().requires_grad_()
optimizer = torch.optim.AdamW([theirs], lr=0.1, betas=(BETA1, BETA2), weight_decay=WEIGHT_DECAY)
print("\n6. con tasa 0.1 y gradiente   siempre 5   siempre 0.005   5 y -5")
for t in range(1, 7):
    g = torch.tensor([5, 0.005, -5 * (-1) ** t], dtype=torch.float64)
    before = ours.clone()
    adamw(ours, g, mean, square, t, 0.1)
    theirs.grad = g
    optimizer.step()
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    large, small, wavering = (ours - before).tolist()
    print(f"   en el paso {t} se mueve    {large:9.3f}   {small:13.3f}   {wavering:6.3f}")

# %% 7. La tasa de aprendizaje se busca
# Un ensayo en que la tasa crece en cada paso: al principio es tan corta que nada se mueve, al final
# tan larga que todo se rompe. En medio hay un valle, y la regla es su centro: la media geométrica
# de las tasas cuya pérdida no pasa del mínimo en más de un 2 %. Smith, «Cyclical Learning Rates for
# Training Neural Networks» (2017), la sube en línea recta; aquí se multiplica siempre por lo mismo.
def fit(n_embd, n_hidden, x, y, rates, review=None):
    """Red nueva entrenada un paso por tasa: pesos, pérdida de cada lote, segundos."""
    torch.manual_seed(SEED)
    w = new_weights(n_embd, n_hidden)
    optimizer = torch.optim.AdamW(w.values(), betas=(BETA1, BETA2), weight_decay=WEIGHT_DECAY,
                                  fused=True)                # el de la celda 6, en una sola orden
    losses, seconds = [], 0.0
    try:
        for step, rate in enumerate(rates, 1):
            start = time.perf_counter()
            pick = torch.randint(len(x), (BATCH_SIZE,))      # (B,)
            loss = F.cross_entropy(logits(w, x[pick]), y[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
            losses.append(loss.item())
            seconds += time.perf_counter() - start
            left = (len(rates) - step) * seconds / step
            live(f"{step}/{len(rates)}   pérdida {losses[-1]:.3f}   "
                 f"{step * BATCH_SIZE / seconds:.0f} caracteres/s   faltan {left:.0f} s")
            if review and (step % EVAL_INTERVAL == 0 or step == len(rates)):
                review(w, step)
    except KeyboardInterrupt:
        sys.exit("\ninterrumpido")
    live("")
    return w, losses, seconds

if PLOT:
    import matplotlib.pyplot as plt                          # pip install matplotlib
    Path(PLOT).mkdir(parents=True, exist_ok=True)
if STEPS:
    rates = torch.logspace(-4, 0, 450, dtype=torch.float64)
    losses = fit(N_EMBD, N_HIDDEN, X, Y, rates.tolist())[1]
    rates = rates.view(18, 25)[:, 12]                        # (18,) la de en medio de cada 25
    curve = torch.tensor(losses).view(18, 25).mean(1).nan_to_num(math.inf)      # (18,)
    valley = curve <= 1.02 * curve.min()                     # (18,)
    found = rates[valley].log().mean().exp().item()
    print("\n7. tasa, pérdida media de 25 pasos (~, el valle)")
    for rate, value, inside in zip(rates, curve, valley):
        bar = "█" * int(min(12 * (value - curve.min()), 50))
        print(f"   {rate:7.5f} {value:8.3f} {'~' if inside else bar}")
    if PLOT:
        plt.figure(figsize=(6, 4))
        plt.loglog(rates, curve, "o-")
        plt.axvline(found, color="C1", linestyle="--")
        plt.title("Pérdida media de 25 pasos según la tasa de aprendizaje")
        plt.savefig(Path(PLOT) / "tasa.png", dpi=150, bbox_inches="tight")
    LEARNING_RATE = LEARNING_RATE or found
    print(f"   la regla: {found:.4f}; se usará {LEARNING_RATE:.4f}")

# %% 8. Calentar y enfriar
# El primer paso de AdamW mueve cada peso la tasa entera, diga lo que diga un solo lote: si es alta,
# la red se rompe al nacer. Por eso se calienta (warm-up); Ma y Yarats, «On the Adequacy of Untuned
# Warmup» (2021), aconsejan 2 / (1 - BETA2) pasos: aquí, 200. Y a tasa fija los últimos pasos aún
# tiemblan con cada lote: por eso se enfría (decay) hasta cero. A una red tan corta, con la tasa
# hallada, calentar no le hace falta; con diez veces más, se ahorra el golpe de la última columna.
def schedule(steps, warmup):
    """Tasa de cada paso: sube `warmup` pasos y baja en línea recta hasta cero."""
    rates = []
    for step in range(steps):
        up = (step + 1) / (warmup + 1)
        down = (steps - step) / max(steps - warmup, 1)
        rates.append(LEARNING_RATE * min(up, down))
    return rates

@torch.no_grad()
def evaluate(w, x, y):
    """Pérdida media, en nats por carácter, sobre todo (x, y)."""
    parts = zip(x.split(4096), y.split(4096))
    return sum(F.cross_entropy(logits(w, a), b, reduction="sum").item() for a, b in parts) / len(y)

brief = min(400, STEPS)
warmed = schedule(brief, WARMUP_STEPS)
if STEPS:
    print(f"\n8. {brief} pasos              val   el peor de 20 lotes, con diez veces más tasa")
    for name, rates in (("tasa fija", [LEARNING_RATE] * brief), ("enfriar", schedule(brief, 0)),
                        ("calentar, enfriar", warmed)):
        w = fit(N_EMBD, N_HIDDEN, X, Y, rates)[0]
        losses = fit(N_EMBD, N_HIDDEN, X, Y, [10 * rate for rate in rates[:20]])[1]
        print(f"   {name:17}   {evaluate(w, Xval, Yval):.4f}   {max(losses):19.3f}")

# %% 9. Quedarse corto o recitar
# Una red pequeña pierde mucho hasta en lo que ha visto: se queda corta (underfitting). La que ha
# visto poco se lo aprende de memoria y en validación falla: sobreajuste (overfitting). A la primera
# la delata que las dos pérdidas son altas; a la segunda, la distancia que hay entre ellas.
if STEPS:
    print(f"\n9. {brief} pasos\n   embedding   oculta   ejemplos    train      val   distancia")
    for n_embd, n_hidden, share in ((2, 16, 1), (N_EMBD, 16, 1), (2, N_HIDDEN, 1),
                                    (N_EMBD, N_HIDDEN, 1), (N_EMBD, N_HIDDEN, 50)):
        count = math.ceil(len(X) / share)
        w = fit(n_embd, n_hidden, X[:count], Y[:count], warmed)[0]
        train_loss, val_loss = evaluate(w, X[:count], Y[:count]), evaluate(w, Xval, Yval)
        print(f"   {n_embd:9d}   {n_hidden:6d}   {count:8d}   {train_loss:.4f}   {val_loss:.4f}   "
              f"{val_loss - train_loss:9.4f}")

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

# %% 10. Entrenar, y mirar la prueba una sola vez
# Vale la red que mejor valida. Como con la validación se ha elegido, ya no es neutral: lo que
# valdrá con líneas de mañana lo dice la prueba (test), que hasta aquí nadie ha tocado.
def review(w, step):
    """Mide la red en las dos partes, lo imprime y, si es la que mejor valida, la guarda."""
    train_loss, val_loss = evaluate(w, X, Y), evaluate(w, Xval, Yval)
    live("")
    if not math.isfinite(val_loss):
        sys.exit(f"error: la pérdida dejó de ser finita en el paso {step}: baja LEARNING_RATE")
    if val_loss < best["val_loss"]:
        config = {"block_size": BLOCK_SIZE, "n_embd": N_EMBD, "n_hidden": N_HIDDEN}
        weights = {name: tensor.detach().clone() for name, tensor in w.items()}
        best.update(format=1, model="mlp", config=config, chars=chars, weights=weights,
                    data=Path(DATA).name, step=step, train_loss=train_loss, val_loss=val_loss)
        save(best, OUT)
    print(f"   paso {step}   train {train_loss:.4f}   val {val_loss:.4f}   vale el {best['step']}")

print(f"\n10. {STEPS} pasos de {BATCH_SIZE} ejemplos")
best = {"val_loss": math.inf}
plan = schedule(STEPS, WARMUP_STEPS)
w, losses, seconds = fit(N_EMBD, N_HIDDEN, X, Y, plan, review)
result = "train=- val=- test=- segundos=- tokens_s=- ckpt=-"
if STEPS:
    w = best["weights"]
    test_loss = evaluate(w, *windows(test, BLOCK_SIZE))
    fresh = evaluate(w, Xval[unseen], Yval[unseen]) if unseen.any() else math.nan
    print(f"   prueba {test_loss:.4f}; contextos nuevos {fresh:.4f}; a ciegas {math.log(V):.4f}")
    result = (f"train={best['train_loss']:.4f} val={best['val_loss']:.4f} test={test_loss:.4f} "
              f"segundos={seconds:.1f} tokens_s={STEPS * BATCH_SIZE / seconds:.0f} ckpt={OUT}")

# %% 11. El mapa de las letras
# Nadie ha dicho a la red qué es una vocal. ¿Las ha puesto juntas? Con 32 números por letra, dos
# vocales pueden mirar a lados distintos; pero las más cercanas a una vocal, las de mayor coseno,
# suelen ser vocales. Un mapa de verdad en el plano pide otra red, con N_EMBD = 2: es la figura.
letters = sorted(chars.replace("\n", ""), key="".join(train).count, reverse=True)[:30]
vowel = torch.tensor([letter.lower() in "aeiouáéíóúü" for letter in letters])   # (L,)
e = w["C"].detach()[encode(letters)]                         # (L, n_embd)
e = F.normalize(e - e.mean(0))                               # importa hacia dónde, no cuánto
cosine = (e @ e.T).fill_diagonal_(-2)                        # (L, L) ninguna es vecina de sí misma
near = cosine.argsort(descending=True)[:, :-1][:, :3]        # (L, 3)
print("\n11. los caracteres más frecuentes, y los tres más cercanos a cada uno")
for letter, row in zip(letters[:10], near):
    print(f"   {letter}: {' '.join(letters[j] for j in row)}")
if vowel.sum() > 1:
    chance = (vowel.sum() - 1) / (len(vowel) - 1)
    print(f"   cerca de una vocal, {100 * vowel[near][vowel].float().mean():.0f} % son vocales; "
          f"al azar serían {100 * chance:.0f} %")
if PLOT:
    plane = fit(2, N_HIDDEN, X, Y, plan)[0]["C"].detach()[encode(letters)]      # (L, 2)
    plt.figure(figsize=(6, 6))
    plt.scatter(plane[:, 0], plane[:, 1], s=0)
    for letter, spot, is_vowel in zip(letters, plane.tolist(), vowel):
        plt.text(*spot, letter, color="C1" if is_vowel else "C0", fontsize=14)
    plt.title("Dos números por letra; las vocales, en naranja")
    plt.savefig(Path(PLOT) / "letras.png", dpi=150, bbox_inches="tight")

# %% 12. Muestras
# Se sortea un carácter según las probabilidades, pasa a ser contexto, y así hasta la frontera.
@torch.no_grad()
def generate(count, longest=80):
    """`count` líneas inventadas a la vez, de `longest` caracteres como mucho: lista de textos."""
    row = torch.full((count, BLOCK_SIZE), NL)                # (count, T)
    for _ in range(longest):
        p = F.softmax(logits(w, row[:, -BLOCK_SIZE:]), dim=1)                   # (count, V)
        row = torch.cat([row, torch.multinomial(p, 1)], dim=1)
    return [decode(line[BLOCK_SIZE:]).split("\n")[0] for line in row.tolist()]

torch.manual_seed(SEED)
invented = generate(500)
print("\n12. " + "\n    ".join(invented[:10]))
print(f"   de 500 líneas inventadas, {sum(line in lines for line in invented)} ya existían")
print("resultado", result)

# %% Experimentos: predice antes de mirar (validación con pueblos.txt; tal como viene, 1.783)
# - BLOCK_SIZE = 1: ¿a qué modelo se parece, si sólo mira una letra? Al bigrama: 2.354.
# - N_EMBD = 2: ¿caben 79 caracteres en un plano? Mal: 2.096.
# - BATCH_SIZE = 32: ¿cuánto se pierde con lotes 16 veces más toscos y los mismos pasos? 1.938.
# - LEARNING_RATE = 0.001: ¿y si no se hubiera buscado? 1.866: aprende, pero no le da tiempo.
# - WARMUP_STEPS = 0: ¿se nota, con la tasa hallada y 4000 pasos? No: 1.783.

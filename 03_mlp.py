"""
03. La red de Bengio: letras con vector, y cómo entrenarla sin engañarse

Al terminar sabrás qué es un embedding, cómo predice una red en contextos que nunca vio, qué hace
AdamW con un gradiente, cómo se busca la tasa de aprendizaje, cuándo una red recita, y cuánto gana
(o pierde) frente a la tabla de la lección 02, que sólo cuenta.

    python 03_mlp.py                  los pueblos, en medio minuto
    python 03_mlp.py --steps 0        sólo las piezas y sus pruebas
    python 03_mlp.py --plot figuras   además, el mapa de letras
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
        value, note = globals()[name], note.replace("%", "%%") + " [%(default)s]"
        kind = {"type": type(value)}
        if isinstance(value, bool):
            kind = {"action": argparse.BooleanOptionalAction}                   # --x y --no-x
        options.add_argument(f"--{name.lower()}", dest=name, default=value, help=note, **kind)
    globals().update(vars(options.parse_args()))

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
if min(BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HIDDEN, EVAL_INTERVAL) < 1:
    sys.exit("error: BATCH_SIZE, BLOCK_SIZE, N_EMBD, N_HIDDEN y EVAL_INTERVAL deben ser 1 o más")

# %% 1. De notas a sorpresa
# La red dará una nota (logit) a cada carácter. El softmax las hace probabilidades: toma la
# exponencial de cada nota y la divide por la suma de todas. La pérdida es la sorpresa, -log p, del
# carácter que salió: la entropía cruzada (lección 02). Si se calcula así, tal cual, el ordenador
# tropieza dos veces. Con una nota de 100, e^100, que tiene 44 cifras, no cabe en un número de 32
# bits: sale inf, e inf / inf no es un número (nan). Y con una de -200, e^-200 se queda en 0, y su
# -log es inf.
# El remedio es una cuenta de papel. Sea z la lista de notas, z_y la del carácter que salió, y Σ la
# suma en todos los caracteres. El logaritmo de un cociente es una resta: -log(e^z_y / Σ e^z) =
# log(Σ e^z) - z_y. Y si m es la mayor de las notas, e^z = e^m · e^(z - m): e^m es factor común, su
# logaritmo es m, y queda m + log(Σ e^(z - m)) - z_y. Ahora ningún exponente es positivo, y uno vale
# 0, así que la suma está entre 1 y V, el número de caracteres. Se llama log-sum-exp, y así lo hace
# F.cross_entropy.
print("1. tres notas; salió la segunda   tal cual   sin desbordarse")
for three in ([2.0, 1.0, -1.0],
              [102.0, 101.0, 99.0],
              [0.0, -200.0, -200.0]):
    scores = torch.tensor(three)                             # (3,)
    powers = scores.exp()
    naive = -(powers[1] / powers.sum()).log()
    m = scores.max()
    safe = m + (scores - m).exp().sum().log() - scores[1]
    assert torch.isclose(safe, F.cross_entropy(scores, torch.tensor(1)))
    print(f"   {str(three):26} {naive:11.4f} {safe:17.4f}")

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
# Cada carácter se predice desde los BLOCK_SIZE anteriores, su contexto, sin salir de su línea: lo
# que falta por la izquierda es frontera, que aquí se imprime como un punto. `windows` pone delante
# de cada línea `size` fronteras y corta el texto en ventanas de size + 1 caracteres seguidos
# (unfold): el último es el que se predice, y los demás, su contexto. Sobran las ventanas que acaban
# en dos fronteras seguidas, porque en ellas no hay nada que predecir.
# A la derecha de muchas líneas va la forma del tensor: N ejemplos en todo el texto, B en un lote, T
# caracteres de contexto, V notas.
def windows(lines, size):
    """Cada carácter de `lines` con los `size` que lo preceden en su línea: (N, size), (N,).

    Lo que falta por la izquierda es frontera, y el último que se predice en una línea también.
    """
    edge = "\n" * size
    stream = encode(edge + edge.join(lines) + "\n")
    rows = stream.unfold(0, size + 1, 1)                     # (M, size + 1)
    rows = rows[(rows[:, -2:] != NL).any(1)]                 # sin las que acaban en dos fronteras
    return rows[:, :-1], rows[:, -1]

X, Y = windows(train, BLOCK_SIZE)                            # (N, T), (N,)
Xval, Yval = windows(val, BLOCK_SIZE)
assert len(Y) == sum(len(line) + 1 for line in train)

# Algunos contextos de la validación no salen al entrenar. La tabla de la lección 02 no tiene
# cuentas de ellos, y contesta con las de un contexto más corto. ¿Hará algo mejor una red? Se verá
# en la celda 10.
seen = {tuple(x) for x in X.tolist()}
unseen = torch.tensor([tuple(x) not in seen for x in Xval.tolist()])            # (Nval,)
print(f"\n2. {len(Y)} ejemplos con {len(seen)} contextos distintos; "
      f"de los {len(Yval)} de validar, "
      f"{unseen.sum()} traen uno nuevo")
for x, y in zip(X[:6], Y[:6]):
    shown = f"   {decode(x)} -> {chars[y]}"
    print(shown.replace("\n", "."))

# %% 3. La red, con tensores a la vista
# Una tabla de cuentas trata cada contexto como un nombre sin partes. La red describe cada carácter
# con unos cuantos números, su vector (embedding), que también se aprenden: son su fila en la tabla
# C. Los vectores del contexto, uno tras otro, entran en una capa de neuronas con tanh (lección 01),
# que se llama oculta porque no es ni la entrada ni la salida, y de ella salen V notas. Si a la red
# le conviene que la «a» y la «e» se usen igual, les dará vectores parecidos, y lo que aprenda de
# una valdrá para la otra.
# Es la red de Bengio, Ducharme, Vincent y Jauvin, «A Neural Probabilistic Language Model» (2003),
# con caracteres donde ellos ponían palabras y sin las conexiones directas de los vectores a las
# notas, que allí son optativas.
def new_weights(n_embd, n_hidden):
    """Pesos al azar de una red nueva, por su nombre.

    Los pesos de cada capa se dividen por la raíz del número de sus entradas: una suma de n números
    al azar crece como √n (celda 5), y así no crece. Los de la última, además, por 2: las notas
    nacen pequeñas, y la red duda entre todos los caracteres (lección 04).
    """
    fan = BLOCK_SIZE * n_embd                                # números que entran en la capa oculta
    w = {"C": torch.randn(V, n_embd),
         "W1": torch.randn(fan, n_hidden) / fan**0.5,
         "b1": torch.zeros(n_hidden),
         "W2": torch.randn(n_hidden, V) / n_hidden**0.5 / 2,
         "b2": torch.zeros(V)}
    return {name: tensor.requires_grad_() for name, tensor in w.items()}

def logits(w, x):
    """Notas del carácter que sigue a cada contexto: (B, T) -> (B, V)."""
    e = w["C"][x].flatten(1)                                 # (B, T * n_embd)
    h = torch.tanh(e @ w["W1"] + w["b1"])                    # (B, n_hidden)
    return h @ w["W2"] + w["b2"]                             # (B, V)

# Indexar C es multiplicarla por un one-hot (lección 02), sin hacer la multiplicación.
torch.manual_seed(SEED)
w = new_weights(10, 100)
x = X[:32]                                                   # (B, T)
y = Y[:32]                                                   # (B,)
e = w["C"][x]                                                # (B, T, 10)
assert torch.equal(e, F.one_hot(x, V).float() @ w["C"])
print(f"\n3. los vectores de {len(x)} contextos: {tuple(e.shape)}")

# %% 4. Sobreajustar a propósito
# Antes de entrenar de verdad: ¿se aprende la red de memoria 32 ejemplos? Si no, lo más probable es
# que haya un error en ella o en su gradiente. Pero la pérdida no llegará a 0. Al empezar línea el
# contexto es siempre el mismo, todo frontera, y lo siguen varias letras. En los 32 primeros
# ejemplos de pueblos.txt empiezan dos líneas, una con «T» y otra con «S»: lo mejor es decir 1/2 a
# cada una, y se pierde log 2 dos veces, que repartido entre los 32 es 0.0433. Lo que se pierde así
# es un suelo (floor), la entropía de la letra conocido el contexto (lección 02), y se calcula
# contando: cada ejemplo se compara con todos. El None de x[:, None] añade una dimensión, y así cada
# fila de x se enfrenta a todas.
same_context = (x[:, None] == x).all(2)                      # (B, B)
same_pair = same_context & (y[:, None] == y)                 # (B, B) y la misma letra después
best_p = same_pair.sum(1) / same_context.sum(1)              # (B,) la del recuento
floor = -best_p.log().mean().item()
history = []
for _ in range(501):
    loss = F.cross_entropy(logits(w, x), y)
    loss.backward()
    history.append(loss.item())
    for tensor in w.values():
        tensor.data -= 0.3 * tensor.grad                     # descenso, sin más
        tensor.grad = None
assert min(history) > floor - 1e-5
print(f"\n4. la pérdida, {history[0]:.4f} "
      f"(a ciegas, log {V} = {math.log(V):.4f}), "
      f"baja a {history[-1]:.4f}; "
      f"el suelo es {floor:.4f}")

# %% 5. Mini-lotes: un gradiente tosco y barato
# El gradiente exacto pide mirar todos los ejemplos para dar un solo paso. El de B ejemplos al azar
# (un mini-lote, mini-batch) acierta de promedio, y su error es el de un ejemplo dividido por la
# raíz de B. Ocurre con toda media. El cuadrado de lo que un número al azar se aparta de su promedio
# es, por término medio, su varianza; la raíz de la varianza es su desviación, lo que se aparta de
# ordinario. Una moneda que da 1 o -1 tiene varianza 1. Al sumar B números, cada uno por su cuenta,
# se suman sus varianzas: la suma de cuatro monedas tiene varianza 4 y desviación 2, no 4. Así la
# desviación de la suma crece como √B, y al dividirla por B queda 1 / √B. Con un lote cuatro veces
# mayor, el error es la mitad y el trabajo, el cuádruple: por eso suele convenir dar muchos pasos
# toscos y no unos pocos exactos.
# En la tabla, el error relativo es lo que dista de ordinario el gradiente de un lote del exacto,
# comparado con lo largo que es el exacto: con 1, el error es tan grande como lo que se busca.
# autograd.grad(loss, pesos) da los gradientes en una lista, sin guardarlos en el .grad de cada uno.
# Mira la última columna: el error, multiplicado por la raíz del lote, casi no cambia.
def gradient(w, x, y):
    """El gradiente de la pérdida en (x, y) respecto de todos los pesos, en fila: (P,)."""
    loss = F.cross_entropy(logits(w, x), y)
    parts = torch.autograd.grad(loss, list(w.values()))
    return torch.cat([g.flatten() for g in parts])

torch.manual_seed(SEED)
w = new_weights(10, 64)
x = X[:8192]                                                 # (N, T)
y = Y[:8192]                                                 # (N,)
exact = gradient(w, x, y)                                    # (P,)
print(f"\n5. gradiente de un lote frente al de {len(x)} ejemplos (100 lotes de cada tamaño)")
print("   lote   error relativo   por la raíz del lote")
for size in (1, 8, 32, 128, 512):
    picks = torch.randint(len(x), (100, size))
    rough = torch.stack([gradient(w, x[pick], y[pick]) for pick in picks])      # (100, P)
    error = (rough - exact).square().sum(1).mean().sqrt() / exact.norm()
    print(f"   {size:4d} {error:16.3f} "
          f"{error * size**0.5:22.3f}")

# %% 6. AdamW, a mano
# Restar siempre tasa · gradiente tiene dos peligros: unos pesos lo reciben mucho mayor que otros, y
# de un lote a otro cambia. Adam (Kingma y Ba, 2015, algoritmo 1) lleva de cada peso dos medias que
# olvidan despacio: m, la de su gradiente, y v, la del cuadrado de su gradiente. Y cada peso se
# mueve tasa · m / √v. Si el gradiente es siempre 5, m es 5 y √v es 5: el paso es la tasa entera. Si
# es siempre 0.005, también. Si es 5 y -5 por turnos, m se acerca a 0 y √v sigue en 5: tras los
# primeros pasos, el peso apenas se mueve. Importa menos que el gradiente sea grande que el que se
# repita.
# Las medias nacen en 0, y tardan en llegar: si el gradiente es siempre 5, tras un paso m es 0.1 · 5
# = 0.5, y tras dos, 0.9 · 0.5 + 0.1 · 5 = 0.95. Si beta es la parte que una media conserva en cada
# paso, aquí 0.9, en el paso t lleva sólo 1 - beta**t de lo que le toca (0.1, y luego 1 - 0.9² =
# 0.19), y se divide por ella. (El 1e-8 del código sólo evita dividir por 0.)
# La W de AdamW es el decaimiento (weight decay): cada peso encoge además un poco, aparte, diga lo
# que diga su gradiente. En la lección 02 era un término más del gradiente; aquí quedaría dividido
# por √v, y cada peso encogería según lo que le llega (Loshchilov y Hutter, «Decoupled Weight Decay
# Regularization», 2019). En la tabla, los tres pesos parten de 0. Mira que los dos primeros se
# mueven igual, una décima por paso, aunque un gradiente sea mil veces el otro (las milésimas que al
# final faltan se las lleva el decaimiento), y que el tercero va y viene, y apenas se aleja.
BETA1, BETA2 = 0.9, 0.99                                     # la parte que m y v conservan

def adamw(weight, g, mean, square, t, rate):
    """El paso `t` (desde 1) de AdamW: cambia `weight` y sus dos medias, todos con forma de `g`."""
    mean += (1 - BETA1) * (g - mean)
    square += (1 - BETA2) * (g * g - square)
    whole_mean = mean / (1 - BETA1**t)
    whole_square = square / (1 - BETA2**t)
    weight *= 1 - rate * WEIGHT_DECAY
    weight -= rate * whole_mean / (whole_square.sqrt() + 1e-8)

ours = torch.zeros(3, dtype=torch.float64)                   # tres pesos
mean = torch.zeros_like(ours)
square = torch.zeros_like(ours)
theirs = ours.clone().requires_grad_()
optimizer = torch.optim.AdamW([theirs], lr=0.1,
                              betas=(BETA1, BETA2),
                              weight_decay=WEIGHT_DECAY)
print("\n6. con tasa 0.1 y gradiente     siempre 5  siempre 0.005        5 y -5")
for t in range(1, 7):
    g = torch.tensor([5, 0.005, -5 * (-1) ** t], dtype=torch.float64)
    adamw(ours, g, mean, square, t, 0.1)
    theirs.grad = g
    optimizer.step()
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    places = [f"{weight:13.3f}" for weight in ours]
    print(f"   tras el paso {t}, el peso", *places)

# %% 7. La tasa de aprendizaje se busca
# Con una tasa pequeña apenas se avanza; con una grande, cada paso se pasa de largo. Para ver dónde
# está lo bueno basta un ensayo en que la tasa crece a cada paso, siempre multiplicada por lo mismo,
# de 0.0001 a 1: la pérdida baja, se queda en un valle y después sube. La idea es de Smith,
# «Cyclical Learning Rates for Training Neural Networks» (2017), que la sube en línea recta. La
# regla de aquí: se promedia la pérdida de 25 en 25 pasos, porque de uno a otro tiembla; el valle
# son las tasas cuya pérdida no pasa de la menor en más de un 2 %, y se toma su media geométrica, la
# que queda en el centro cuando se cuenta por multiplicaciones: la de 0.01 y 1 es 0.1. En lo que se
# imprime, cada barra es lo que la pérdida pasa de la menor.
def trial(n_embd, n_hidden, x, y, rates):
    """Una red nueva, entrenada un paso por tasa: sus pesos, y la pérdida de cada lote."""
    torch.manual_seed(SEED)
    w = new_weights(n_embd, n_hidden)
    optimizer = torch.optim.AdamW(w.values(),
                                  betas=(BETA1, BETA2),
                                  weight_decay=WEIGHT_DECAY,
                                  fused=True)                # el de la celda 6, en una sola orden
    losses = []
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate               # donde PyTorch guarda la tasa
        pick = torch.randint(len(x), (BATCH_SIZE,))          # (B,)
        loss = F.cross_entropy(logits(w, x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return w, losses

peak = LEARNING_RATE
if STEPS:
    rates = torch.logspace(-4, 0, 450, dtype=torch.float64)
    losses = trial(N_EMBD, N_HIDDEN, X, Y, rates.tolist())[1]
    groups = torch.tensor(losses).view(18, 25)               # 18 grupos de 25 pasos
    curve = groups.mean(1).nan_to_num(math.inf)              # (18,)
    middle = rates[12::25]                                   # (18,) la tasa de en medio de cada uno
    valley = curve <= 1.02 * curve.min()                     # (18,)
    center = middle[valley].log().mean().exp().item()
    peak = LEARNING_RATE or center
    print("\n7. tasa, pérdida media de 25 pasos (~, el valle)")
    for rate, value, inside in zip(middle, curve, valley):
        bar = "█" * int(min(12 * (value - curve.min()), 50))
        print(f"   {rate:7.5f} {value:8.3f} "
              f"{'~' if inside else bar}")
    print(f"   el centro del valle: {center:.4f}; se usará {peak:.4f}")

# %% 8. Enfriar
# La tasa no tiene por qué ser la misma siempre. Si es fija, al final los pesos siguen temblando con
# cada lote, sin acabar de bajar. Por eso se enfría (learning rate decay): se baja en línea recta
# hasta cero. Para compararlo hacen falta ensayos breves, de 400 pasos, y medir la red en todo un
# texto, por trozos para que quepa en la memoria. En la tabla, compara las dos filas; la distancia
# es lo que la pérdida de validar pasa de la de entrenar, y se usa en la celda que sigue.
@torch.no_grad()
def nats(w, x, y):
    """Lo que la red se sorprende de cada carácter `y` (N,) tras su contexto: (N,), en nats."""
    parts = zip(x.split(4096), y.split(4096))
    return torch.cat([F.cross_entropy(logits(w, a), b, reduction="none") for a, b in parts])

def evaluate(w, x, y):
    """Pérdida media, en nats por carácter, sobre todo (x, y)."""
    return nats(w, x, y).double().mean().item()

def compare(label, n_embd, n_hidden, size, rates):
    """Un ensayo con los `size` primeros ejemplos: lo que pierde en ellos y en los de validar."""
    w = trial(n_embd, n_hidden, X[:size], Y[:size], rates)[0]
    train_loss = evaluate(w, X[:size], Y[:size])
    val_loss = evaluate(w, Xval, Yval)
    print(f"   {label:28} "
          f"{train_loss:8.4f} "
          f"{val_loss:8.4f} "
          f"{val_loss - train_loss:11.4f}")

brief = min(400, STEPS)
cooled = [peak * (1 - step / brief) for step in range(brief)]
print(f"\n8. {brief} pasos                       train      val   distancia")
compare("tasa fija", N_EMBD, N_HIDDEN, len(X),
        [peak] * brief)
compare("enfriar", N_EMBD, N_HIDDEN, len(X),
        cooled)

# %% 9. Quedarse corto o recitar
# Una red pequeña pierde mucho hasta en lo que ha visto: se queda corta (underfitting). La que ha
# visto poco se lo aprende de memoria, y en validación falla: sobreajuste (overfitting). A la
# primera la delata que las dos pérdidas son altas; a la segunda, la distancia que hay entre ellas.
# Compara con la última fila de la celda 8, que es la red entera con todos los ejemplos: aquí, una
# pequeña con todos, y la entera con una cincuentava parte.
print(f"\n9. {brief} pasos                       train      val   distancia")
compare("vectores de 2, 16 ocultas", 2, 16, len(X), cooled)
few = math.ceil(len(X) / 50)
compare("con pocos ejemplos", N_EMBD, N_HIDDEN, few, cooled)

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

# %% 10. Entrenar, y mirar la prueba una sola vez
# El bucle es el de los ensayos, y enfría igual. Pero además calienta (warm-up): el primer paso de
# AdamW mueve cada peso la tasa entera, aunque sólo haya visto un lote, y es mejor empezar despacio.
# Ma y Yarats, «On the Adequacy of Untuned Warmup for Adaptive Optimization» (2021), aconsejan subir
# durante 2 / (1 - BETA2) pasos: aquí, 200. Con seis pasos y dos de subida, la tasa sería 1/3, 2/3,
# 1, 3/4, 1/2 y 1/4 de la máxima. En esta red, de una sola capa oculta, calentar no se nota (está en
# los experimentos). De vez en cuando se mide en las líneas de entrenar y en las de validar, y vale
# la red que menos pierde en las segundas.
print(f"\n10. {STEPS} pasos de {BATCH_SIZE} ejemplos")
torch.manual_seed(SEED)
w = new_weights(N_EMBD, N_HIDDEN)
optimizer = torch.optim.AdamW(w.values(),
                              betas=(BETA1, BETA2),
                              weight_decay=WEIGHT_DECAY,
                              fused=True)
best, seconds = {"val_loss": math.inf}, 0.0
for step in range(1, STEPS + 1):
    tick = time.perf_counter()
    up = step / (WARMUP_STEPS + 1)                           # de 0 a 1 en los primeros pasos
    down = (STEPS - step + 1) / max(STEPS - WARMUP_STEPS, 1) # de 1 a 0 en los demás
    rate = peak * min(up, down)
    for group in optimizer.param_groups:
        group["lr"] = rate
    pick = torch.randint(len(X), (BATCH_SIZE,))              # (B,)
    loss = F.cross_entropy(logits(w, X[pick]), Y[pick])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    seconds += time.perf_counter() - tick                    # evaluar no cuenta
    left = (STEPS - step) * seconds / step
    live(f"{step}/{STEPS}   pérdida {loss:.3f}   {step * BATCH_SIZE / seconds:.0f} caracteres/s   "
         f"faltan {left:.0f} s")
    if step % EVAL_INTERVAL == 0 or step == STEPS:
        now = {"step": step,
               "train_loss": evaluate(w, X, Y),
               "val_loss": evaluate(w, Xval, Yval),
               "weights": {name: tensor.detach().clone() for name, tensor in w.items()}}
        live("")
        if not math.isfinite(now["val_loss"]):
            sys.exit(f"error: la pérdida dejó de ser finita antes del paso {step}: "
                     "baja LEARNING_RATE")
        if now["val_loss"] < best["val_loss"]:
            best = now
            save({"format": 1,
                  "model": "mlp",
                  "config": {"block_size": BLOCK_SIZE,
                             "n_embd": N_EMBD,
                             "n_hidden": N_HIDDEN},
                  "chars": chars,
                  "data": Path(DATA).name,
                  **best}, OUT)
        print(f"   paso {step:5d}   "
              f"train {now['train_loss']:.4f}   "
              f"val {now['val_loss']:.4f}   "
              f"mejor {best['step']:5d}")

# Tras la subida, la tasa baja en escalones iguales, uno por paso, y el último paso se da a un
# escalón del cero.
assert STEPS == 0 or rate * max(STEPS - WARMUP_STEPS, 1) < 1.01 * peak

# ¿Y contando? La primera línea dice lo que pierden en la validación la red, las cuentas con su
# mismo contexto, las cuentas con el que mejor les va, y la red con estas últimas, a medias: la
# media de sus dos probabilidades. La segunda, lo que pierden la red y las cuentas, con igual
# contexto, donde éste no se vio al entrenar (nan si no ocurre nunca).
w = best.get("weights", w)
longest = max(BLOCK_SIZE, 7)
table = counting(*windows(train + val, longest), len(Y))     # (longest + 1, Nval)
order = table.mean(1).argmin().item()
net = nats(w, Xval, Yval).double()                           # (Nval,)
halves = (-net).exp() / 2 + (-table[order]).exp() / 2        # (Nval,)
print(f"   en validación, la red {net.mean():.4f}; "
      f"contar con {BLOCK_SIZE}, {table[BLOCK_SIZE].mean():.4f}; "
      f"con {order}, {table[order].mean():.4f}; "
      f"a medias, {-halves.log().mean():.4f}")
print(f"   en contextos nuevos, la red {net[unseen].mean():.4f}; "
      f"contar, {table[BLOCK_SIZE, unseen].mean():.4f}")
# Con pueblos.txt, a igual contexto, la red gana a contar por poco: 1.7829 (con otras cinco
# semillas, de 1.7814 a 1.7859) contra 1.7893. Donde gana por mucho es en lo nunca visto, 2.4048
# contra 2.6887: es sólo el 1 % de la validación, 348 caracteres de 35 167, y de ahí sale casi la
# mitad de la ventaja. (No con todo texto: con los nombres de makemore, names.txt, en lo nunca visto
# gana contar, 2.1615 contra 2.2820.) Pero contar con 7 caracteres pierde 1.6384: quien cuenta mira
# más lejos casi gratis. Las dos a medias pierden menos que cualquiera de ellas, 1.6026: no fallan
# en los mismos sitios, y cada una tapa fallos de la otra. Desde la lección 05 las redes mirarán más
# lejos, y la de la 06 llevará tablas dentro.
# La prueba son las mismas líneas que en la lección 02. La red pierde en ellas 0.02 más que en la
# validación. ¿Será por haber elegido con ésta cuándo parar? No hace falta: la tabla de 3
# caracteres, que de la validación sólo sacó cuatro números (sus share), pierde 0.03 más. Son líneas
# algo más difíciles.
# En la prueba, la red 1.8045; contar, 1.8164 con 3 caracteres y 1.6741 con 7 (lo dice la lección 02
# con --block_size 3 y 7).
test_loss = evaluate(w, *windows(test, BLOCK_SIZE))

# %% 11. El mapa de las letras
# Nadie ha dicho a la red qué es una vocal. ¿Las ha puesto juntas? A los vectores se les resta el
# vector medio, porque lo que todas las letras comparten no distingue a ninguna, y se da a todos
# longitud 1. Entonces su producto escalar es el coseno del ángulo que forman, que dice si miran
# hacia el mismo lado: 1 si coinciden, 0 en ángulo recto y -1 si son opuestos. Mira quiénes son las
# vecinas de la «a», la «e» y la «o». Con tantos números por letra dos vocales aún pueden mirar a
# lados distintos. Un mapa en el plano pide otra red, con vectores de dos números: es la figura.
letters = sorted(chars.replace("\n", ""), key="".join(train).count, reverse=True)[:30]
e = w["C"].detach()[encode(letters)]                         # (L, n_embd)
e = F.normalize(e - e.mean(0))                               # todos de longitud 1
cosine = (e @ e.T).fill_diagonal_(-2)                        # (L, L) ninguna es vecina de sí misma
near = cosine.topk(min(3, len(letters) - 1)).indices         # (L, 3)
print("\n11. los caracteres más frecuentes, y los tres más cercanos a cada uno")
for letter, row in zip(letters[:10], near):
    print(f"   {letter}: {' '.join(letters[j] for j in row)}")
if PLOT:
    rates = [peak * (1 - step / STEPS) for step in range(STEPS)]
    flat = trial(2, N_HIDDEN, X, Y, rates)[0]["C"].detach()  # (V, 2)
    plane = flat[encode(letters)]                            # (L, 2)
    plt.figure()
    plt.scatter(plane[:, 0], plane[:, 1], s=0)               # sólo para que los ejes abarquen todo
    for letter, spot in zip(letters, plane.tolist()):
        plt.text(*spot, letter)
    plt.savefig(Path(PLOT) / "letras.png", dpi=150, bbox_inches="tight")

# %% 12. Muestras
# Se sortea un carácter según las probabilidades de la red, pasa a ser el último del contexto, y así
# hasta la frontera. Se escriben todas las líneas a la vez, y de cada una vale lo que hay antes de
# su primera frontera.
@torch.no_grad()
def generate(count, longest=60):
    """`count` líneas inventadas a la vez, de `longest` caracteres como mucho: lista de textos."""
    row = torch.full((count, BLOCK_SIZE), NL)                # (count, T)
    for _ in range(longest):
        p = F.softmax(logits(w, row[:, -BLOCK_SIZE:]), dim=1)    # (count, V)
        row = torch.cat([row, torch.multinomial(p, 1)], dim=1)
    return [decode(line[BLOCK_SIZE:]).split("\n")[0] for line in row.tolist()]

torch.manual_seed(SEED)
invented = generate(10)
print("\n12. " + "\n    ".join(invented))
if STEPS:
    print(f"resultado train={best['train_loss']:.4f} "
          f"val={best['val_loss']:.4f} "
          f"test={test_loss:.4f} "
          f"segundos={seconds:.1f} "
          f"tokens_s={STEPS * BATCH_SIZE / seconds:.0f} ckpt={OUT}")
else:
    print("resultado train=- val=- test=- segundos=- tokens_s=- ckpt=-")

# %% Experimentos: predice antes de mirar (tal como viene: val 1.7829)
# - BLOCK_SIZE = 1: ¿a qué modelo se parece, si sólo mira una letra? Al de parejas: val 2.3542.
# - BLOCK_SIZE = 4: ¿cuánto se gana con una letra más? Mucho: val 1.6948. ¿Y contando? Más:
#   celda 10: contar con 4, 1.6852. ¿Y las dos a medias? Celda 10: a medias, 1.5742.
# - BLOCK_SIZE = 8: ¿y con cuatro más? Casi nada: val 1.6943. Junto a las cuentas, sí:
#   celda 10: a medias, 1.5576.
# - N_EMBD = 2: ¿caben 79 caracteres en un plano? Mal: val 2.0960.
# - BATCH_SIZE = 32: ¿y con los mismos pasos, cada uno cuatro veces más tosco? Peor: val 1.9378.
# - LEARNING_RATE = 0.001: ¿y si no se hubiera buscado? Aprende, pero no le da tiempo: val 1.8656.
# - LEARNING_RATE = 0.03: ¿y con el triple de la tasa hallada? Pierde algo más: val 1.7942.
# - LEARNING_RATE = 0.1: ¿se rompe, con diez veces la tasa hallada? No: pierde más, val 1.8247.
# - LEARNING_RATE = 0.1, WARMUP_STEPS = 0: ¿y sin calentar? Tampoco: val 1.8201.
# - WARMUP_STEPS = 0: ¿se nota no calentar, con la tasa hallada y 4000 pasos? No: val 1.7829.
# - WEIGHT_DECAY = 0: ¿se nota que los pesos no encojan? De media, no: val 1.7820. En lo nunca
#   visto, sí (una semilla): celda 10: en contextos nuevos, la red 2.4836.

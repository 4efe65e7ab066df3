"""03_mlp.py: las ventanas, la red contra la de PyTorch, AdamW, la búsqueda y el punto de control."""
import math
import random
import re
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from conftest import NAMES, ROOT, inside, needs_names, one_line_error, run_script
from hypothesis import given, settings, strategies as st

TINY = "--n_embd 6 --n_hidden 20 --batch_size 16 --warmup_steps 5 --data t.txt".split()
TOWNS = random.Random(5).sample((ROOT / "data/pueblos.txt").read_text("utf-8").split("\n"), 300)


def parts(lines):
    """Las tres partes de `lines`, mezcladas como en todo el curso: 80 %, 10 % y 10 %."""
    lines, tenth = list(lines), len(lines) // 10
    random.Random(42).shuffle(lines)
    return lines[:8 * tenth], lines[8 * tenth:9 * tenth], lines[9 * tenth:]


def pairs(lines, size, chars):
    """Contextos y objetivos, con dos bucles: lo que `windows` debe dar."""
    x, y = [], []
    for line in lines:
        padded = [chars.index(char) for char in "\n" * size + line + "\n"]
        x += [padded[i:i + size] for i in range(len(line) + 1)]
        y += padded[size:]
    return torch.tensor(x), torch.tensor(y)


def torch_loss(w, x, y):
    """La pérdida media con las funciones de PyTorch en vez de la red de la lección."""
    h = F.linear(F.embedding(x, w["C"]).flatten(1), w["W1"].T, w["b1"]).tanh()
    return F.cross_entropy(F.linear(h, w["W2"].T, w["b2"]), y).item()


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """Los nombres de la lección con 300 pueblos, sin entrenar."""
    folder = tmp_path_factory.mktemp("piezas")
    (folder / "t.txt").write_text("\n".join(TOWNS), "utf-8")
    return inside("03_mlp.py", *TINY, "--steps", 0, "--learning_rate", 0.5, cwd=folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Punto de control y salida con 60 pueblos: tan pocos que se los aprende."""
    folder = tmp_path_factory.mktemp("entrenada")
    (folder / "t.txt").write_text("\n".join(TOWNS[:60]), "utf-8")
    done = run_script("03_mlp.py", *TINY, "--steps", 600, "--eval_interval", 100,
                      "--learning_rate", 0.03, cwd=folder)
    return torch.load(folder / "ckpt_mlp.pt", weights_only=True), done.stdout


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("aeor", min_size=1, max_size=6), min_size=1, max_size=8), st.integers(1, 9))
def test_windows_are_those_of_two_plain_loops(g, lines, size):
    for found, expected in zip(g["windows"](lines, size), pairs(lines, size, g["chars"])):
        assert torch.equal(found, expected)


def test_each_part_has_its_windows_and_unseen_marks_the_new_contexts(g):
    train, val, test = parts(TOWNS)
    X, Yval = pairs(train, 3, g["chars"])[0], pairs(val, 3, g["chars"])[1]
    assert torch.equal(g["X"], X) and torch.equal(g["Yval"], Yval) and g["test"] == test
    fresh = [x not in X.tolist() for x in g["Xval"].tolist()]
    assert g["unseen"].tolist() == fresh and 0 < sum(fresh) < len(fresh)


@needs_names
def test_names_has_the_split_of_the_field(lesson):
    g = lesson("03_mlp.py", *TINY, "--steps", 0, "--data", NAMES)
    assert (len(g["lines"]), g["V"], len(g["Y"]), len(g["Yval"])) == (32_033, 27, 182_625, 22_655)


def test_the_network_is_torchs_layers_and_evaluate_forgets_nobody(g):
    w = {name: torch.randn_like(tensor) for name, tensor in g["new_weights"](7, 9).items()}
    for length in (1, 4096, 4097, 9000):
        x, y = g["X"].repeat(8, 1)[:length], g["Y"].repeat(8)[:length]
        assert g["evaluate"](w, x, y) == pytest.approx(torch_loss(w, x, y), rel=1e-4)


def test_the_floor_is_the_conditional_entropy_and_descent_reaches_it(g):
    seen = [(tuple(c), t) for c, t in zip(g["X"][:32].tolist(), g["Y"][:32].tolist())]
    both, alone = Counter(seen), Counter(context for context, _ in seen)
    floor = -sum(math.log(both[c, t] / alone[c]) for c, t in seen) / 32
    assert g["floor"] == pytest.approx(floor, rel=1e-5)
    assert floor - 1e-5 < g["history"][-1] < floor + 0.05 < g["history"][0] - 2


def test_adamw_by_hand_and_fit_are_torchs(g):
    x, y, rates = g["X"], g["Y"], [0.01, 0.02, 0.005, 0.03]
    torch.manual_seed(g["SEED"])
    theirs = g["new_weights"](4, 5)
    ours = {n: (t.detach().clone(), torch.zeros_like(t), torch.zeros_like(t)) for n, t in theirs.items()}
    optimizer = torch.optim.AdamW(theirs.values(), betas=(0.9, 0.99), weight_decay=0.02)
    for t, rate in enumerate(rates, 1):
        pick = torch.randint(len(x), (16,))
        optimizer.zero_grad()
        F.cross_entropy(g["logits"](theirs, x[pick]), y[pick]).backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        for name, (weight, mean, square) in ours.items():
            g["adamw"](weight, theirs[name].grad, mean, square, t, rate)
    for name, fitted in g["fit"](4, 5, x, y, rates)[0].items():
        assert torch.allclose(ours[name][0], theirs[name], atol=1e-6)
        assert torch.allclose(fitted, theirs[name], atol=1e-5)


def test_schedule_goes_up_and_then_down_to_zero(g):
    assert g["schedule"](6, 2) == pytest.approx([1 / 6, 1 / 3, 1 / 2, 3 / 8, 1 / 4, 1 / 8])


def test_the_tables_say_what_was_measured(trained):
    out = trained[1]
    noise = [float(v) for v in re.findall(r"^ +\d+ +\d+\.\d{3} +(\d+\.\d{3}) +\d+\.\d$", out, re.M)]
    assert len(noise) == 5 and max(noise) < 1.5 * min(noise)                # baja como 1 / sqrt(lote)
    valley = [math.log(float(v)) for v in re.findall(r"^ +(\d\.\d+) +\d+\.\d+ ~$", out, re.M)]
    assert f"la regla: {math.exp(sum(valley) / len(valley)):.4f}; se usará 0.0300" in out
    rows = re.findall(r"^ +\d+ +\d+ +\d+ +(\d+\.\d{4}) +(\d+\.\d{4}) +(-?\d+\.\d{4})$", out, re.M)
    gaps = [float(val) - float(train) for train, val, _ in rows]
    assert gaps == pytest.approx([float(gap) for *_, gap in rows], abs=2e-4)
    assert len(gaps) == 5 and max(gaps) == gaps[-1]          # la que menos ha visto recita más


def test_checkpoint_keeps_the_contract_and_the_network_that_validates_best(trained):
    c, out = trained
    assert c["chars"] == "".join(sorted(set("\n".join(TOWNS[:60]))))
    assert (c["format"], c["model"], c["data"]) == (1, "mlp", "t.txt")
    assert c["config"] == {"block_size": 3, "n_embd": 6, "n_hidden": 20}
    steps = {int(s): float(v) for s, v in re.findall(r"paso (\d+)   train.*?val (\S+)", out)}
    assert len(steps) == 6 and c["step"] == min(steps, key=steps.get) < 600
    losses = [torch_loss(c["weights"], *pairs(lines, 3, c["chars"])) for lines in parts(TOWNS[:60])]
    shown = re.search(r"resultado train=(\S+) val=(\S+) test=(\S+) ", out).groups()
    assert losses == pytest.approx([float(loss) for loss in shown], abs=1e-4)
    assert losses[:2] == pytest.approx([c["train_loss"], c["val_loss"]], abs=1e-4)


def test_samples_follow_the_probabilities_of_the_network(g):
    first = Counter(line[:1] for line in g["generate"](3000))
    p = F.softmax(g["logits"](g["w"], torch.full((1, 3), g["NL"])), dim=1)[0].tolist()
    for char, expected in zip(g["chars"], p):
        assert abs(first[char.strip("\n")] / 3000 - expected) < 5 * math.sqrt(expected / 3000)


@pytest.mark.parametrize("repeated, text", [
    (1, "a\n" * 10), (0, "\n".join("abcdefghijkl")), (3, "ja" * 200 + "\n" + "j\n" * 30),
    (2, "\n".join("a" * 99 + "b" * (i % 2) for i in range(20))), (3, "Ñu\n日本 ١٢\n" * 15)],
    ids="iguales distintas risa una_letra escrituras".split())
def test_any_text_passes_every_check(run, tmp_path, repeated, text):
    (tmp_path / "t.txt").write_text(text, "utf-8")
    done = run("03_mlp.py", *TINY, "--steps", 2)
    assert done.returncode == 0, done.stderr
    assert f"de validar, {repeated} están entre las de entrenar" in done.stdout


def test_a_loss_that_is_not_finite_leaves_the_checkpoint_as_it_was(run, tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(TOWNS), "utf-8")
    (tmp_path / "ckpt_mlp.pt").write_bytes(b"lo de antes")
    one_line_error(run("03_mlp.py", *TINY, "--steps", 2, "--learning_rate", 1e30), "dejó de ser finita")
    assert (tmp_path / "ckpt_mlp.pt").read_bytes() == b"lo de antes"

"""03_mlp.py: las ventanas, la red contra la de PyTorch, AdamW, la rival y el punto de control."""
import math
import random
import re
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from conftest import NAMES, ROOT, inside, needs_names
from hypothesis import given, settings, strategies as st

TINY = ["--data", "t.txt",
        "--n_embd", 6,
        "--n_hidden", 20,
        "--batch_size", 16,
        "--warmup_steps", 5]
ALL_TOWNS = (ROOT / "data/pueblos.txt").read_text("utf-8").split("\n")
TOWNS = random.Random(5).sample(ALL_TOWNS, 300)


def parts(lines):
    """Las tres partes de `lines`, mezcladas como en todo el curso: 80 %, 10 % y 10 %."""
    lines = list(lines)
    tenth = len(lines) // 10
    random.Random(42).shuffle(lines)
    return {"train": lines[:8 * tenth],
            "val": lines[8 * tenth:9 * tenth],
            "test": lines[9 * tenth:]}


def pairs(lines, size, chars):
    """Contextos y objetivos, con dos bucles: lo que `windows` debe dar."""
    x = []
    y = []
    for line in lines:
        padded = [chars.index(char) for char in "\n" * size + line + "\n"]
        for i in range(len(line) + 1):
            x.append(padded[i:i + size])
            y.append(padded[i + size])
    return torch.tensor(x), torch.tensor(y)


def torch_loss(w, x, y):
    """La pérdida media con las funciones de PyTorch en vez de la red de la lección."""
    e = F.embedding(x, w["C"]).flatten(1)
    h = F.linear(e, w["W1"].T, w["b1"]).tanh()
    scores = F.linear(h, w["W2"].T, w["b2"])
    return F.cross_entropy(scores, y).item()


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    """Los nombres de la lección con 300 pueblos, sin entrenar."""
    folder = tmp_path_factory.mktemp("piezas")
    (folder / "t.txt").write_text("\n".join(TOWNS), "utf-8")
    return inside("03_mlp.py", *TINY, "--steps", 0, cwd=folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Lo mismo con 60 pueblos y 600 pasos: tan pocos que se los aprende."""
    folder = tmp_path_factory.mktemp("entrenada")
    (folder / "t.txt").write_text("\n".join(TOWNS[:60]), "utf-8")
    options = ["--steps", 600,
               "--eval_interval", 100,
               "--learning_rate", 0.03]
    names = inside("03_mlp.py", *TINY, *options, cwd=folder)
    checkpoint = torch.load(folder / "ckpt_mlp.pt", weights_only=True)
    return names | {"checkpoint": checkpoint}


LINE = st.text("aeor", min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINE, min_size=1, max_size=8), st.integers(1, 9))
def test_windows_are_those_of_two_plain_loops(g, lines, size):
    x, y = g["windows"](lines, size)
    expected_x, expected_y = pairs(lines, size, g["chars"])
    assert torch.equal(x, expected_x)
    assert torch.equal(y, expected_y)


def test_unseen_marks_the_contexts_of_validation_that_are_new(g):
    found = {}
    for part, lines in parts(TOWNS).items():
        x, _ = pairs(lines, 3, g["chars"])
        found[part] = x.tolist()
    new = [context not in found["train"] for context in found["val"]]
    assert g["unseen"].tolist() == new


@needs_names
def test_names_has_the_split_of_the_field(lesson):
    g = lesson("03_mlp.py", *TINY, "--steps", 0, "--data", NAMES)
    assert len(g["Y"]) == 182_625
    assert len(g["Yval"]) == 22_655


@pytest.mark.parametrize("length", [1, 4096, 4097, 9000])
def test_evaluate_is_the_loss_of_torchs_layers(g, length):
    torch.manual_seed(length)
    w = g["new_weights"](7, 9)
    x = g["X"].repeat(8, 1)[:length]
    y = g["Y"].repeat(8)[:length]
    expected = torch_loss(w, x, y)
    assert g["evaluate"](w, x, y) == pytest.approx(expected, rel=1e-4)


def test_the_floor_is_the_conditional_entropy(g):
    contexts = [tuple(x) for x in g["X"][:32].tolist()]
    chars = g["Y"][:32].tolist()
    seen = list(zip(contexts, chars))
    both = Counter(seen)
    alone = Counter(contexts)
    surprise = 0
    for pair in seen:
        context, _ = pair
        p = both[pair] / alone[context]
        surprise -= math.log(p)
    assert g["floor"] == pytest.approx(surprise / 32, rel=1e-5)


def test_a_trial_is_a_descent_by_torchs_adamw(g):
    rates = [0.01, 0.02, 0.005, 0.03]
    torch.manual_seed(g["SEED"])
    w = g["new_weights"](4, 5)
    optimizer = torch.optim.AdamW(
        w.values(),
        betas=(0.9, 0.99),
        weight_decay=g["WEIGHT_DECAY"])
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        pick = torch.randint(len(g["X"]), (16,))
        scores = g["logits"](w, g["X"][pick])
        loss = F.cross_entropy(scores, g["Y"][pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trial, _ = g["trial"](4, 5, g["X"], g["Y"], rates)
    for name in w:
        assert torch.allclose(trial[name], w[name], atol=1e-5)


def test_the_rate_of_the_last_step_is_the_last_rung_above_zero(trained):
    assert trained["rate"] == pytest.approx(0.03 / 595)      # 600 pasos, 5 de ellos de subida


def test_the_noise_of_a_batch_goes_as_one_over_its_root(trained):
    pattern = r"^ +\d+ +\d+\.\d{3} +(\d+\.\d{3})$"
    rows = re.findall(pattern, trained["said"], re.M)
    noise = [float(value) for value in rows]
    assert max(noise) < 1.5 * min(noise)


def test_the_center_of_the_valley_is_a_geometric_mean(trained):
    pattern = r"^ +(\d\.\d+) +\d+\.\d+ ~$"
    rows = re.findall(pattern, trained["said"], re.M)
    logs = [math.log(float(rate)) for rate in rows]
    center = math.exp(sum(logs) / len(logs))
    assert trained["center"] == pytest.approx(center, rel=1e-2)


def test_what_has_seen_little_recites_most(trained):
    pattern = r"^   (enfriar|vectores|con pocos) .* (\S+)$"
    rows = re.findall(pattern, trained["said"], re.M)
    gaps = {label: float(gap) for label, gap in rows}
    assert len(gaps) == 3
    assert max(gaps, key=gaps.get) == "con pocos"


def test_halves_are_the_mean_of_both_probabilities(trained):
    net = torch.exp(-trained["net"])
    counts = torch.exp(-trained["table"][trained["order"]])
    assert torch.allclose(trained["halves"], (net + counts) / 2)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_the_last_line_has_the_losses_of_the_network_kept(trained, part):
    checkpoint = trained["checkpoint"]
    x, y = pairs(parts(TOWNS[:60])[part], 3, checkpoint["chars"])
    shown = re.search(rf"resultado.* {part}=(\S+)", trained["said"])[1]
    expected = torch_loss(checkpoint["weights"], x, y)
    assert float(shown) == pytest.approx(expected, abs=1e-4)


def test_the_second_letter_follows_the_first(trained):
    torch.manual_seed(0)
    lines = trained["generate"](3000)
    first = Counter(line[:1] for line in lines)
    top, times = first.most_common(1)[0]
    second = Counter(line[:2] for line in lines)
    context = trained["encode"]("\n\n" + top)[None]
    scores = trained["logits"](trained["w"], context)
    chances = scores.softmax(1)[0].tolist()
    for char, p in zip(trained["chars"], chances):
        begins = top + char.strip("\n")
        found = second[begins] / times
        assert found == pytest.approx(p, abs=0.1)

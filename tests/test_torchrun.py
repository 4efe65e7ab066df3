"""06_gpt.py en varios procesos: todos dan el mismo paso, el del lote conjunto, y acaban juntos."""
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import torch
import torch.nn as nn
from conftest import ENV, ROOT, SMALL, start

STEPS = ["--steps", "6", "--eval_interval", "6", "--dtype", "float32"]
# Lo que hace torchrun con cada proceso, y al final los pesos de todos, para compararlos.
MEMBER = f"""
import os, sys, torch
rank, world, port, halt = sys.argv[1:5]
os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, MASTER_ADDR="127.0.0.1",
                  MASTER_PORT=port)
path = {str(ROOT / "06_gpt.py")!r}
names, sys.argv = {{"__name__": "__main__", "__file__": path}}, [path, *sys.argv[5:]]
if halt == rank:                         # un Ctrl-C en pleno guardar
    import signal
    replace = os.replace
    os.replace = lambda *paths: (replace(*paths), os.kill(os.getpid(), signal.SIGINT))
try:
    exec(compile(open(path, encoding="utf-8").read(), path, "exec"), names)
except SystemExit as end:
    if end.code:
        raise
torch.save(names["model"].state_dict(), f"rango{{rank}}.pt")
"""


def free_port():
    """Un puerto que ahora mismo no usa nadie."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def together(world, folder, *args, halt=False):
    """Ejecuta la lección en `world` procesos a la vez: lo que escribió cada uno, (stdout, stderr).

    Con `halt`, al proceso 0 le llega un Ctrl-C en cada guardado.
    """
    port = free_port()
    members = [start("-c", MEMBER, rank, world, port, 0 if halt else -1, *SMALL, *args, cwd=folder)
               for rank in range(world)]
    try:
        return [member.communicate(timeout=120) for member in members]
    finally:
        for member in members:
            member.kill()


@pytest.mark.parametrize("world", [2, 4])
def test_all_take_the_step_of_the_joint_batch(world, trained, tmp_path, inside):
    text = trained / "versos.txt"
    (first_out, first_err), *others = together(world, tmp_path, "--data", text, *STEPS)
    assert first_err == "" and f"{world} procesos" in first_out, first_err
    assert all(out == err == "" for out, err in others)  # uno habla
    ranks = [torch.load(tmp_path / f"rango{rank}.pt") for rank in range(world)]
    for weights in ranks[1:]:
        assert all(torch.equal(weights[name], w) for name, w in ranks[0].items())
    saved = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    assert saved["step"] == 6
    assert all(torch.equal(saved["weights"][name], w) for name, w in ranks[0].items())

    g = inside("06_gpt.py", *SMALL, "--data", text, "--steps", 0)  # un proceso, el lote de todos
    model = g["model"].train()
    for step in range(6):
        batches = [g["batch"](g["train"], step * world + rank) for rank in range(world)]
        x, y = (torch.cat(part) for part in zip(*batches))   # (world * B, T)
        model.zero_grad()
        g["nll"](model, x, y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), g["GRAD_CLIP"])
        for optimizer, peak in g["optimizers"]:
            for group in optimizer.param_groups:
                group["lr"] = peak * min((step + 1) / 101, (6 - step) / 1)
            optimizer.step()
    for name, w in model.state_dict().items():
        assert torch.allclose(w, ranks[0][name], atol=1e-4), name


def test_resuming_together_ends_bit_for_bit_the_same(trained, tmp_path):
    """Al proceso 0 le llega un Ctrl-C mientras guarda: todos paran en el mismo paso, el siguiente."""
    whole, parts = tmp_path / "entero", tmp_path / "partes"
    whole.mkdir(), parts.mkdir()
    args = ["--data", trained / "versos.txt", "--steps", "9", "--eval_interval", "3"]
    together(2, whole, *args)
    (out, err), (_, other) = together(2, parts, *args, halt=True)
    assert "interrumpido en el paso 4 y guardado" in out and err == other == ""
    (out, err), _ = together(2, parts, *args, "--resume", "ckpt.pt")
    assert "5 pasos de 8 x 16" in out and err == ""
    a, b = (torch.load(folder / "ckpt.pt", weights_only=True) for folder in (whole, parts))
    for x, y in (a["weights"], b["weights"]), (a["training"]["weights"], b["training"]["weights"]):
        assert all(torch.equal(x[name], y[name]) for name in x)
    assert a["training"]["step"] == b["training"]["step"] == 9
    assert a["training"]["history"] == b["training"]["history"]


class Torchrun:
    """`torchrun --nproc_per_node=2 06_gpt.py` con un entrenamiento largo, ya empezado."""

    def __init__(self, folder, text):
        order = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                 "--nproc_per_node=2", str(ROOT / "06_gpt.py"), *SMALL, "--data", str(text),
                 "--steps", "100000", "--eval_interval", "20"]
        self.process = subprocess.Popen(order, cwd=folder, env=ENV, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, encoding="utf-8")
        for line in self.process.stdout:
            if line.startswith("   paso    40"):
                break

    def ranks(self):
        """Identificador de proceso de cada rango: {rango: pid}."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f, open(f"/proc/{pid}/environ") as e:
                    if f.read().rsplit(")", 1)[1].split()[1] == str(self.process.pid):
                        found[re.search(r"\0RANK=(\d)", "\0" + e.read())[1]] = int(pid)
            except OSError:
                pass
        return found

    def end(self):
        """Lo que quedaba por leer de stdout y de stderr, cuando acaba."""
        return self.process.communicate(timeout=60)


@pytest.fixture
def torchrun(trained, tmp_path):
    """Un torchrun de dos procesos que va por el paso 40."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("hace falta /proc para saber qué proceso es cada rango")
    run = Torchrun(tmp_path, trained / "versos.txt")
    yield run
    run.process.kill()


def test_ctrl_c_ends_all_with_everything_saved(torchrun, tmp_path):
    torchrun.process.send_signal(signal.SIGINT)
    out, _ = torchrun.end()
    step = int(re.search(r"interrumpido en el paso (\d+) y guardado", out)[1])
    saved = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    assert saved["training"]["step"] == step and out.count("interrumpido") == 1
    assert out.splitlines()[-1].startswith("resultado train=")


def test_a_killed_rank_ends_all_with_one_line_and_the_checkpoint_whole(torchrun, tmp_path):
    os.kill(torchrun.ranks()["1"], signal.SIGKILL)
    _, err = torchrun.end()
    assert torchrun.process.returncode == 1
    assert len(re.findall("^error: ", err, re.M)) == 1 and "se ha perdido otro" in err
    saved = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    assert saved["training"]["step"] % 20 == 0 and saved["training"]["step"] >= 40

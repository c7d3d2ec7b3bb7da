"""A training loop over torch's DistributedDataParallel as everybody would write it, that knows nothing of manyhands.

``python plain_ddp.py RANK WORLD FOLDER`` reads ``given.pt`` (module, inputs, targets, indices by step and rank, lrs,
momentum) from the folder, meets the others there, and writes the module's tensors to ``RANK.pt``.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    given = torch.load(folder / "given.pt", weights_only=False)
    model = DistributedDataParallel(given["module"], broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=given["momentum"])
    for parts, lr in zip(given["indices"], given["lrs"], strict=True):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        F.cross_entropy(model(given["inputs"][parts[rank]]), given["targets"][parts[rank]]).backward()
        optimizer.step()
    torch.save(given["module"].state_dict(), folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

"""Process groups of PyTorch on loopback: by itself rank 0 listens on every interface, and lets in whoever calls."""

from __future__ import annotations

import datetime as dt
import os
import socket
from dataclasses import dataclass

import torch.distributed as dist

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Meeting:
    """A port of loopback where the processes of a group find each other."""

    port: int
    descriptor: int
    """File descriptor of the listening socket, in the process of rank 0."""

    @classmethod
    def open(cls) -> Meeting:
        """Listen in this process, which has to join as rank 0."""
        listener = socket.create_server((_HOST, 0))
        return cls(listener.getsockname()[1], listener.detach())

    def join(self, backend: str, rank: int, world_size: int, timeout: dt.timedelta) -> None:
        """Make this process one of the group; all its sockets are on loopback. Collective."""
        (loopback, *_) = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
        # MASTER_*: DeepSpeed looks for them, or asks for MPI.
        os.environ.update(
            GLOO_SOCKET_IFNAME=loopback, NCCL_SOCKET_IFNAME=loopback, MASTER_ADDR=_HOST, MASTER_PORT=str(self.port)
        )
        store = dist.TCPStore(  # type: ignore[attr-defined]  # documented, though not in its __all__
            _HOST,
            self.port,
            world_size,
            is_master=rank == 0,
            timeout=timeout,
            master_listen_fd=self.descriptor if rank == 0 else None,
        )
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)

"""A Ray cluster of two machines on this one, each with one processor, for as long as standard input is open.

Run by a Python that has Ray. It prints the port for clients and the process ids of its machines; a line on standard
input takes the second machine away, as a power cut would.
"""

import os
import socket
import sys
import tempfile

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # as on a laptop, Ray listens on loopback alone

from ray.cluster_utils import Cluster

with socket.socket() as free, tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
    os.environ["RAY_TMPDIR"] = folder
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    machine = {"node_ip_address": "127.0.0.1", "num_cpus": 1, "num_gpus": 0, "object_store_memory": 200_000_000}
    head = {**machine, "ray_client_server_port": port, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**machine)
    cluster.wait_for_nodes()
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    print(port, *raylets, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
    cluster.shutdown()

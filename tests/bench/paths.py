# SPDX-License-Identifier: Apache-2.0
"""The ways from the client to the upstream that the benchmark compares."""
import json
import os
import shutil
import subprocess
import time

from stand import BenchError, children, run

NATS_PORT, NATS_HTTP_PORT = 4222, 8222


class Direct:
    """Nothing in between."""
    name = "direct"
    cgroup, hosts = "direct", "names/hosts"
    meters = False

    def __init__(self, stand, build):
        self.stand, self.build = stand, build

    def missing(self):
        return None

    def start(self):
        pass

    def pids(self):
        return []

    def events(self):
        return 0

    def settle(self):
        time.sleep(0.3)

    def ca_files(self):
        return [self.stand.path("pki/ca.crt")]


class HAProxy(Direct):
    """Terminates and re-originates TLS in the client's own network namespace."""
    mode, plain_in, stream_in = "", "", ""

    def missing(self):
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def start(self):
        self.hosts = f"names/hosts.{self.name}"
        self.stand.write(self.hosts, f"127.0.0.1 localhost\n{self.plain_in} api.openai.com\n"
                                     f"{self.stream_in} api.groq.com\n")
        conf = self.stand.template("haproxy.cfg.in", f"{self.name}.cfg", MODE=self.mode,
                                   PLAIN_IN=self.plain_in, STREAM_IN=self.stream_in)
        self.process = self.stand.start(self.name, ["haproxy", "-db", "-f", conf], "pod",
                                        cpu=os.cpu_count() - 1)
        self.stand.wait_port(self.process, "pod", self.plain_in, 443)

    def pids(self):
        return [self.process.pid]


class HAProxyHTTP(HAProxy):
    name, mode, plain_in, stream_in = "haproxy-http", "http", "127.0.0.11", "127.0.0.12"


class HAProxyTCP(HAProxy):
    name, mode, plain_in, stream_in = "haproxy-tcp", "tcp", "127.0.0.21", "127.0.0.22"


class Lectr(Direct):
    """A captured cgroup; helper and proxy are counted together, events go to a real JetStream."""
    name, cgroup, meters = "lectr", "captured", True

    def missing(self):
        if not os.access(f"{self.build}/lectr-agent", os.X_OK):
            return f"{self.build}/lectr-agent is not built"
        return None if shutil.which("nats-server") else "nats-server is not installed"

    def start(self):
        stand = self.stand
        nats = stand.start("nats", ["nats-server", "-a", "127.0.0.1", "-p", str(NATS_PORT), "-m",
                                    str(NATS_HTTP_PORT), "-js", "-sd", stand.path("nats")], "node",
                           cpu=0)
        stand.wait_port(nats, "node", "127.0.0.1", NATS_PORT)
        os.mkdir(stand.path("bpf"))
        run("mount", "-t", "bpf", "bpf", stand.path("bpf"))
        stand.undo.append(("umount", stand.path("bpf")))
        self.config = stand.write("agent.yaml", self._config())
        agent = f"{self.build}/lectr-agent"
        run(agent, "ca", "init", "--dir", stand.path("agent-ca"), "--providers",
            f"{stand.top}/agent/providers")
        stand.undo.append((agent, "cleanup", "-c", self.config))
        self.process = stand.start("lectr", [agent, "daemon", "-c", self.config], "node",
                                   cgroup="", cpu=os.cpu_count() - 1)
        end = time.monotonic() + 20
        while self._get(9463, "/readyz") is None:
            if self.process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"lectr-agent did not start\n{stand.log_tail('lectr', 40)}")
            time.sleep(0.1)

    def _get(self, port, path):
        """Body of a GET in the node's namespace, None when there is none."""
        done = subprocess.run(["nsenter", f"--net=/run/netns/{self.stand.name}-node", "curl", "-sf",
                               f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    def _config(self):
        stand = self.stand
        below = os.path.basename(stand.cgroup)
        return f"""\
org: bench
log_level: warn
state_dir: {stand.path("state")}
run_dir: {stand.path("run")}
capture:
  cgroup: {below}/captured
  bpffs: {stand.path("bpf")}
  consent_cgroups: [{below}/captured]
tls:
  ca_dir: {stand.path("agent-ca")}
upstream:
  ca_file: {stand.path("pki/ca.crt")}
nats:
  url: nats://127.0.0.1:{NATS_PORT}
data:
  providers_dir: {stand.top}/agent/providers
  prices_file: {stand.top}/agent/prices.json
"""

    def pids(self):
        try:
            return [self.process.pid, *children(self.process.pid)]
        except OSError:
            return []

    def events(self):
        """Messages in the stream, as the server counts them."""
        return json.loads(self._get(NATS_HTTP_PORT, "/jsz") or "{}").get("messages", 0)

    def settle(self):
        """Until the events have arrived."""
        last = -1
        for _ in range(50):
            time.sleep(0.3)
            now = self.events()
            if now == last:
                return
            last = now

    def ca_files(self):
        return [self.stand.path("agent-ca/ca.crt")]


ALL = {path.name: path for path in (Direct, HAProxyHTTP, HAProxyTCP, Lectr)}


def trust(stand, chosen):
    """One bundle for every client: the upstream's root and, when it is there, Lectr's."""
    seen = []
    for path in chosen:
        seen += [file for file in path.ca_files() if file not in seen]
    text = ""
    for file in seen:
        with open(file, encoding="ascii") as f:
            text += f.read()
    stand.write("pki/trust.crt", text)

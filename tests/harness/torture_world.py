# SPDX-License-Identifier: Apache-2.0
"""The servers that torture runs against: NATS with TLS and passwords, PostgreSQL, collectors.

Everything is on loopback with ports of its own and all of its state in one folder; every process
is ended by its id.
"""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
PG_BIN = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
PASSWORD = "torture-3f9c"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(seconds, holds, step=0.05):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def cpu_seconds(pid):
    """User and system time of a process, all of its threads."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid, field="VmRSS"):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Process:
    def __init__(self, log):
        self.log = log
        self.child = None

    def launch(self, *command, env=None):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env={**os.environ, **(env or {})})

    def is_alive(self):
        return self.child is not None and self.child.poll() is None

    def end(self, number=signal.SIGTERM, seconds=60):
        """The exit status; None when it had to be killed."""
        if self.child is None:
            return 0
        if self.child.poll() is None:
            self.child.send_signal(number)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def kill(self):
        self.end(signal.SIGKILL)


class Nats(Process):
    """JetStream, with TLS and a password unless `plain`."""

    def __init__(self, folder, plain=False):
        super().__init__(folder / "nats.log")
        self.folder, self.plain, self.port = folder, plain, free_port()
        self.ca = None
        config = [f'server_name: torture', f'listen: "127.0.0.1:{self.port}"',
                  f'jetstream {{ store_dir: "{folder}/nats", max_file_store: 64GB }}']
        if not plain:
            self.make_certificates()
            config += [f'tls {{ cert_file: "{folder}/server.crt", key_file: "{folder}/server.key" }}',
                       f'authorization {{ users = [ {{ user: torture, password: "{PASSWORD}" }} ] }}']
        (folder / "nats.conf").write_text("\n".join(config) + "\n")

    def make_certificates(self):
        f = self.folder
        self.ca = f / "ca.crt"

        def openssl(*words):
            subprocess.run(("openssl",) + words, cwd=f, check=True, capture_output=True)

        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=torture", "-days", "2")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
        (f / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", "server.crt", "-days", "2", "-extfile", "san")

    @property
    def url(self):
        if self.plain:
            return f"nats://127.0.0.1:{self.port}"
        return f"tls://torture:{PASSWORD}@127.0.0.1:{self.port}"

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.settimeout(1)
                return b'"jetstream":true' in s.recv(4096)
        except OSError:
            return False

    def start(self):
        self.launch("nats-server", "-c", str(self.folder / "nats.conf"))
        if not wait_for(60, self.answers):
            raise RuntimeError(f"nats-server does not answer; {self.log}")


    # --- a client of its own, for what the others cannot be asked ---

    def connect(self):
        """A socket that said hello, and the file that reads from it."""
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        hello = {"verbose": False, "pedantic": False, "name": "torture"}
        if self.plain:
            plain.makefile("rb").readline()
            s = plain
        else:
            while plain.recv(1) != b"\n":
                pass
            s = ssl.create_default_context(cafile=self.ca).wrap_socket(plain, server_hostname="127.0.0.1")
            hello |= {"user": "torture", "pass": PASSWORD}
        s.settimeout(60)
        s.sendall(b"CONNECT " + json.dumps(hello).encode() + b"\r\n")
        return s, s.makefile("rb")

    def read_stream(self, subject, batch=2000):
        """Content of the messages of the stream under a subject, oldest first."""
        s, lines = self.connect()
        config = {"filter_subject": subject, "deliver_policy": "all", "ack_policy": "none",
                  "inactive_threshold": 60 * 10**9}

        def publish(to, reply, body):
            body = json.dumps(body).encode()
            s.sendall(f"PUB {to} {reply} {len(body)}\r\n".encode() + body + b"\r\n")

        def receive():
            """Subject of the answer (that it is acked by), headers, content."""
            while True:
                words = lines.readline().split()
                if not words:
                    raise RuntimeError("nats-server closed the connection")
                if words[0] == b"PING":
                    s.sendall(b"PONG\r\n")
                elif words[0] in (b"MSG", b"HMSG"):
                    head = int(words[-2]) if words[0] == b"HMSG" else 0
                    content = lines.read(int(words[-1]) + 2)[:-2]
                    return words, content[:head], content[head:]

        s.sendall(b"SUB torture.answers 1\r\n")
        publish("$JS.API.CONSUMER.CREATE.LECTR", "torture.answers", {"stream_name": "LECTR", "config": config})
        made = json.loads(receive()[2])
        if "error" in made:
            raise RuntimeError(str(made["error"]))
        left, wanted = made["num_pending"], 0
        while left > 0:
            if wanted == 0:
                wanted = min(batch, left)
                publish(f"$JS.API.CONSUMER.MSG.NEXT.LECTR.{made['name']}", "torture.answers", {"batch": wanted})
            _, head, content = receive()
            if head.startswith(b"NATS/1.0 "):
                if head[9:12].isdigit():
                    raise RuntimeError(head.decode())
            left, wanted = left - 1, wanted - 1
            yield content
        s.close()


class Postgres(Process):
    """A cluster of its own, as a user without privileges, over a Unix socket and a free port."""

    def __init__(self, folder):
        super().__init__(folder / "postgres.log")
        self.folder, self.port = folder / "pg", free_port()
        self.bin = PG_BIN[-1].parent

    @staticmethod
    def why_not():
        if not PG_BIN:
            return "PostgreSQL is not installed"
        if not shutil.which("setpriv") or not shutil.which("psql"):
            return "setpriv or psql is not installed"
        return None

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/lectr"

    def as_user(self, *command):
        if os.geteuid() != 0:
            return command
        return ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups") + command

    def start(self):
        if not self.folder.exists():
            self.folder.mkdir()
            self.folder.chmod(0o700)
            if os.geteuid() == 0:
                shutil.chown(self.folder, "nobody", "nogroup")
            subprocess.run(self.as_user(str(self.bin / "initdb"), "-D", str(self.folder), "-U", "postgres",
                                        "--auth=trust", "-E", "UTF8", "--locale=C"),
                           check=True, capture_output=True, cwd="/")
        self.launch(*self.as_user(str(self.bin / "postgres"), "-D", str(self.folder), "-p", str(self.port),
                                  "-k", str(self.folder), "-c", "listen_addresses=127.0.0.1",
                                  "-c", "max_connections=200", "-c", "shared_buffers=256MB"))
        if not wait_for(60, lambda: self.psql("SELECT 1", "postgres") == [["1"]], 0.2):
            raise RuntimeError(f"PostgreSQL does not answer; {self.log}")
        if not self.psql("SELECT 1 FROM pg_database WHERE datname = 'lectr'", "postgres"):
            self.psql("CREATE DATABASE lectr", "postgres")

    def psql(self, sql, database="lectr"):
        """Rows as lists of text; None when it failed."""
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-R", "\x1e", "-h", "127.0.0.1",
                               "-p", str(self.port), "-U", "postgres", "-d", database, "-c", sql],
                              capture_output=True, text=True, cwd="/")
        if done.returncode:
            return None
        return [row.split("\x1f") for row in done.stdout.rstrip("\n").split("\x1e") if row]

    def cpu(self):
        """Of the server and what it started."""
        kids = pathlib.Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return sum(cpu_seconds(pid) for pid in [self.child.pid] + kids)


class Collector(Process):
    def __init__(self, folder, name, nats, store_lines, extra="", preload=None, durable=None):
        super().__init__(folder / f"{name}.log")
        self.port, self.preload = free_port(), preload
        self.config = folder / f"{name}.yaml"
        self.binary = str(pathlib.Path(os.environ.get("LECTR_BUILD", TOP / "build")) / "lectr-collector")
        more = f"  ca_file: {nats.ca}\n" if nats.ca else ""
        more += f"  durable: {durable}\n" if durable else ""
        self.config.write_text(f"nats:\n  url: {nats.url}\n{more}  stream_max_bytes: 0\n"
                               f"store:\n{store_lines}http:\n  listen: 127.0.0.1:{self.port}\n{extra}")

    def start(self, kill=None):
        env = {"LD_PRELOAD": str(self.preload), "LECTR_KILL": kill} if kill else {}
        self.launch(self.binary, "serve", "-c", str(self.config), env=env)

    def get(self, path, timeout=20):
        """The JSON that it answers; None when it does not, "cut" when that would be too much."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            return {"cut": True} if refused.code == 413 else None
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


# Steps of a commit at which kill_preload ends the process, and up to how many of them it waits.
STEPS = {
    "sqlite": {"frame": 600, "page": 2000, "sync": 25, "synced": 25, "ack": 25},
    "postgres": {"commit": 200, "committed": 200, "answered": 200},
}


def random_kill(store):
    step = random.choice(list(STEPS[store]))
    return f"{step}:{random.randint(1, STEPS[store][step])}"

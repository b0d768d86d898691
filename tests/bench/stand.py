# SPDX-License-Identifier: Apache-2.0
"""The benchmark's own little world: three network namespaces (node, pod, internet), two cgroups,
a folder, and the processes in them. Everything is undone by close(), whatever happened."""
import os
import shutil
import signal
import subprocess
import tempfile
import time

CGROUP2_ROOTS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
UPSTREAM = "198.51.100.10"  # nginx: api.openai.com
STREAM = "198.51.100.11"  # paced events: api.groq.com
POD = "192.0.2.2"
INTERNET = "192.0.2.1"


class BenchError(Exception):
    pass


def cgroup2_root():
    for root in CGROUP2_ROOTS:
        if os.path.exists(f"{root}/cgroup.controllers"):
            return root
    raise BenchError("no cgroup2 mount found")


def run(*argv, **kwargs):
    done = subprocess.run(argv, capture_output=True, text=True, **kwargs)
    if done.returncode:
        raise BenchError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def cpu_ns(pid):
    """User and system time of all threads, ended ones included. The kernel keeps the sum exactly
    and shows it in ticks."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def rss_anon_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(child) for child in f.read().split()]


class Stand:
    def __init__(self, top, pin):
        self.top = top
        self.pin = pin
        self.name = f"lb{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="lectr-bench.")
        os.chmod(self.dir, 0o755)
        self.cgroup = f"{cgroup2_root()}/lectr-bench-{os.getpid()}"
        self.processes = []
        self.undo = []

    def __enter__(self):
        try:
            self._networks()
            self._cgroups()
            self._pki()
            self._names()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def template(self, source, target, **values):
        with open(f"{self.top}/tests/bench/{source}", encoding="utf-8") as f:
            text = f.read()
        for key, value in {"DIR": self.dir, "UPSTREAM": UPSTREAM, "STREAM": STREAM, **values}.items():
            text = text.replace(f"@{key}@", value)
        return self.write(target, text)

    # -- making it

    def _networks(self):
        for part in ("node", "pod", "net"):
            ns = f"{self.name}-{part}"
            run("ip", "netns", "add", ns)
            self.undo.append(("ip", "netns", "del", ns))
            run("ip", "-n", ns, "link", "set", "lo", "up")
        pod, net = f"{self.name}-pod", f"{self.name}-net"
        run("ip", "-n", net, "link", "add", "pod0", "type", "veth", "peer", "name", "eth0", "netns", pod)
        run("ip", "-n", net, "addr", "add", f"{INTERNET}/24", "dev", "pod0")
        run("ip", "-n", net, "link", "set", "pod0", "up")
        for address in (UPSTREAM, STREAM):
            run("ip", "-n", net, "addr", "add", f"{address}/32", "dev", "lo")
        run("ip", "-n", pod, "addr", "add", f"{POD}/24", "dev", "eth0")
        run("ip", "-n", pod, "link", "set", "eth0", "up")
        run("ip", "-n", pod, "route", "add", "default", "via", INTERNET)

    def _cgroups(self):
        for part in ("", "/captured", "/direct"):
            os.mkdir(self.cgroup + part)

    def _pki(self):
        pki = self.path("pki")
        os.mkdir(pki)
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        run("openssl", "req", "-x509", *new_key, "-keyout", f"{pki}/ca.key", "-out", f"{pki}/ca.crt",
            "-days", "30", "-subj", "/CN=Benchmark Root")
        run("openssl", "req", *new_key, "-keyout", f"{pki}/server.key", "-out", f"{pki}/server.csr",
            "-subj", "/CN=api.openai.com")
        self.write("pki/ext", "subjectAltName=DNS:api.openai.com,DNS:api.groq.com\n"
                              "extendedKeyUsage=serverAuth\n")
        run("openssl", "x509", "-req", "-in", f"{pki}/server.csr", "-CA", f"{pki}/ca.crt",
            "-CAkey", f"{pki}/ca.key", "-days", "30", "-out", f"{pki}/server.crt",
            "-extfile", f"{pki}/ext")
        with open(f"{pki}/server.pem", "w", encoding="ascii") as out:
            for part in ("server.crt", "server.key"):
                with open(f"{pki}/{part}", encoding="ascii") as f:
                    out.write(f.read())

    def _names(self):
        """Direct and captured clients ask the DNS server; clients of a HAProxy read a hosts file."""
        self.write("names/resolv.conf", f"nameserver {INTERNET}\noptions timeout:2 attempts:2\n")
        self.write("names/hosts", "127.0.0.1 localhost\n")
        # wrk has no cipher option of its own: the same suite for every client and every path.
        self.write("openssl.cnf", "openssl_conf = top\n[top]\nssl_conf = ssl\n[ssl]\n"
                                  "system_default = tls\n[tls]\nMinProtocol = TLSv1.3\n"
                                  "Ciphersuites = TLS_AES_128_GCM_SHA256\n")

    # -- processes

    def enter(self, argv, netns, cgroup="direct", hosts="names/hosts", cpu=None):
        """The command line that runs argv in a namespace and cgroup of ours with names of ours."""
        script = (f'echo $$ > {self.cgroup}/{cgroup}/cgroup.procs && '
                  f'mount --bind {self.path("names/resolv.conf")} /etc/resolv.conf && '
                  f'mount --bind {self.path(hosts)} /etc/hosts && exec "$@"')
        if self.pin and cpu is not None:
            argv = ["taskset", "-c", str(cpu), *argv]
        return ["nsenter", f"--net=/run/netns/{self.name}-{netns}", "unshare", "-m",
                "sh", "-c", script, "sh", *argv]

    def start(self, label, argv, netns, **kwargs):
        """A daemon: its output goes to LABEL.log, and close() ends it."""
        log = open(self.path(f"{label}.log"), "ab")
        env = kwargs.pop("env", None)
        process = subprocess.Popen(self.enter(argv, netns, **kwargs), stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, env=env, start_new_session=True)
        log.close()
        process.label = label
        self.processes.append(process)
        return process

    def stop(self, process):
        if process in self.processes:
            self.processes.remove(process)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def log_tail(self, label, lines=15):
        try:
            with open(self.path(f"{label}.log"), encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def wait_port(self, process, netns, address, port, seconds=15):
        """Until something listens there; an early exit of the process is the error to show."""
        end = time.monotonic() + seconds
        probe = ["nsenter", f"--net=/run/netns/{self.name}-{netns}", "ss", "-Hltn",
                 f"src {address}:{port}"]
        while time.monotonic() < end:
            if process.poll() is not None:
                raise BenchError(f"{process.label} exited {process.returncode}\n"
                                 f"{self.log_tail(process.label)}")
            if run(*probe).strip():
                return
            time.sleep(0.05)
        raise BenchError(f"{process.label}: nothing listens on {address}:{port} after {seconds} s\n"
                         f"{self.log_tail(process.label)}")

    # -- undoing it

    def _end_cgroup(self, path):
        """Ends only what runs in a cgroup that we made."""
        for _ in range(50):
            try:
                with open(f"{path}/cgroup.procs", encoding="ascii") as f:
                    pids = f.read().split()
                if not pids:
                    os.rmdir(path)
                    return
            except OSError:
                return
            for pid in pids:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.1)

    def close(self):
        for process in reversed(self.processes[:]):
            self.stop(process)
        for part in ("/captured", "/direct", ""):
            self._end_cgroup(self.cgroup + part)
        for argv in reversed(self.undo):
            subprocess.run(argv, capture_output=True)
        self.undo = []
        shutil.rmtree(self.dir, ignore_errors=True)

#!/usr/bin/env python3
"""What a request costs in Outcrop, beside nginx as a plain reverse proxy to the same simulator, in one run.

    cargo build --release -p outcrop-proxy -p outcrop-bedrock-sim
    python3 tests/load/compare.py [--seconds 5] [--target target/release]

Needs wrk and nginx (Debian: apt-get install wrk nginx). Keys and usage are on, requests are signed, one worker each. CPU is what
the kernel booked for the process (user + system), divided by the requests that wrk counted. Compare the ratios; the absolute
figures belong to the machine. nginx does not parse, sign, convert or count: it is the floor of any proxy.
"""
import argparse, http.client, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time

CLAUDE, QWEN = "claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0"
CLAUDE_ID = "global.anthropic.claude-sonnet-4-6"
KEY = "load-test-master-key-0123456789"
ACCESS, SECRET = "AKIASIMULATOR0000000", "simulated/secret/access/key/000000000000"
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("nothing listens on port %d" % port)


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def resident(pid):
    for line in open("/proc/%d/status" % pid):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024


def tools(count):
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": "d" * 300},
              "limit": {"type": "integer"}, "kind": {"enum": ["a", "b"]}}, "required": ["path"]}
    return [{"name": "tool_%d" % n, "description": "Does a thing. " * 60, "input_schema": schema} for n in range(count)]


def request(model, stream=False, big=False):
    body = {"model": model, "max_tokens": 64, "stream": stream, "messages": [{"role": "user", "content": "Hello there"}]}
    if big:
        body["tools"] = tools(30)
        body["system"] = [{"type": "text", "text": "You are careful.\n" * 400}]
        turns = []
        while len(json.dumps(body)) + len(json.dumps(turns)) < 148_000:
            n = len(turns)
            turns += [{"role": "user", "content": "Please look at \"file %d\".\n" % n + "line of code;\n" * 60},
                      {"role": "assistant", "content": [{"type": "text", "text": "Here it is:\n" + "fn x() { y(); }\n" * 60}]}]
        body["messages"] = turns + [{"role": "user", "content": "Hello there"}]
    return json.dumps(body)


def native(text):
    """The same request as Bedrock gets it, for the proxy that converts nothing."""
    body = json.loads(text)
    del body["model"], body["stream"]
    body["anthropic_version"] = "bedrock-2023-05-31"
    return json.dumps(body)


class Bench:
    def __init__(self, args, work):
        self.args, self.work, self.children = args, work, []

    def start(self, line, env=None):
        log = open(os.path.join(self.work, "log-%d" % len(self.children)), "w")
        child = subprocess.Popen(line, stdout=log, stderr=log, env={**os.environ, **(env or {})}, cwd=self.work)
        self.children.append(child)
        return child

    def simulator(self, events=None):
        port = free_port()
        line = [os.path.join(self.args.target, "bedrock-sim"), "--port", str(port), "--gather"]
        self.start(line + (["--events", str(events)] if events else []))
        wait_for(port)
        return port

    def outcrop(self, sim, extra=None):
        port = free_port()
        env = {"PORT": str(port), "WORKERS": "1", "MASTER_API_KEY": KEY, "MASTER_KEY_RATE_LIMIT": "100000000", "OUTCROP_DB": os.path.join(self.work, "load-%d.db" % port),
               "BEDROCK_ENDPOINT_URL": "http://127.0.0.1:%d" % sim, "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET,
               "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "USAGE_SPOOL_DIR": os.path.join(self.work, "spool"),
               "MAX_IN_FLIGHT": "5000", **(extra or {})}
        child = self.start([os.path.join(self.args.target, "outcrop-proxy")], env)
        wait_for(port)
        return port, child.pid

    def nginx(self, sim):
        port, folder = free_port(), os.path.join(self.work, "nginx")
        os.makedirs(folder, exist_ok=True)
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w") as out:
            out.write("""
worker_processes 1; daemon off; pid %(f)s/pid; error_log %(f)s/error.log;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path %(f)s/b; proxy_temp_path %(f)s/p; fastcgi_temp_path %(f)s/f;
  uwsgi_temp_path %(f)s/u; scgi_temp_path %(f)s/s; client_body_buffer_size 1m; client_max_body_size 40m; keepalive_requests 1000000;
  upstream sim { server 127.0.0.1:%(sim)d; keepalive 128; keepalive_requests 1000000; }
  server { listen 127.0.0.1:%(port)d; tcp_nodelay on; location / { proxy_pass http://sim; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_buffering off; } } }
""" % {"f": folder, "sim": sim, "port": port})
        child = self.start(["nginx", "-c", conf])
        wait_for(port)
        time.sleep(0.3)
        kids = open("/proc/%d/task/%d/children" % (child.pid, child.pid)).read().split()
        return port, int(kids[0])

    def load(self, port, pid, path, headers, body, connections):
        script = os.path.join(self.work, "post.lua")
        with open(script, "w") as out:
            out.write('wrk.method = "POST"\nwrk.body = [==[%s]==]\n' % body)
            for name, value in {"content-type": "application/json", **headers}.items():
                out.write('wrk.headers["%s"] = "%s"\n' % (name, value))
        line = ["wrk", "-t1", "-c%d" % connections, "--latency", "-s", script, "http://127.0.0.1:%d%s" % (port, path)]
        subprocess.run(line + ["-d1s"], capture_output=True, check=True)
        before = cpu_seconds([pid])
        out = subprocess.run(line + ["-d%ds" % self.args.seconds], capture_output=True, check=True, text=True).stdout
        used = cpu_seconds([pid]) - before
        if "Non-2xx" in out:
            sys.exit("requests failed:\n" + out)
        count = int(re.search(r"(\d+) requests in", out).group(1))
        value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", out).groups()
        return used / count * 1e6, float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]

    def stop(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(8)
            except subprocess.TimeoutExpired:
                child.kill()
        self.children = []


def row(name, ours, floor, target):
    print("| %s | %.1f | %.1f | %.2f | %s |" % (name, ours, floor, ours / floor, target), flush=True)


def compare(bench):
    print("| case | Outcrop µs CPU | nginx µs CPU | ratio | aim |\n| --- | --- | --- | --- | --- |", flush=True)
    ours = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    theirs = {"authorization": "Bearer bench"}
    latency = {}
    for name, events, big, aims in [("small request", None, False, ("1.5", "2.5")), ("50-event stream", 50, False, ("2", "2")),
                                     ("150 KB request", None, True, ("≤ 300 µs", "≤ 1500 µs"))]:
        sim = bench.simulator(events)
        outcrop, outcrop_pid = bench.outcrop(sim, {"LOG_LEVEL": bench.args.log_level})
        nginx, nginx_pid = bench.nginx(sim)
        stream = events is not None
        path = "/model/%s/invoke%s" % (CLAUDE_ID, "-with-response-stream" if stream else "")
        plain = native(request(CLAUDE, stream, big))
        for lane, model, aim in [("native", CLAUDE, aims[0]), ("Converse", QWEN, aims[1])]:
            pairs = []
            for _ in range(bench.args.rounds):
                floor, floor_wait = bench.load(nginx, nginx_pid, path, theirs, plain, 16)
                mine, _ = bench.load(outcrop, outcrop_pid, "/v1/messages", ours, request(model, stream, big), 16)
                pairs.append((mine / floor, mine, floor))
            pairs.sort()
            _, mine, floor = pairs[len(pairs) // 2]
            row("%s, %s lane" % (name, lane), mine, floor, aim)
        if not stream and not big:
            for who, port, pid, where, headers, body in [("nginx", nginx, nginx_pid, path, theirs, plain),
                                                         ("Outcrop", outcrop, outcrop_pid, "/v1/messages", ours, request(CLAUDE))]:
                latency[who] = min(bench.load(port, pid, where, headers, body, 1)[1] for _ in range(3))
            direct = min(bench.load(sim, bench.children[0].pid, path, theirs, plain, 1)[1] for _ in range(3))
        bench.stop()
    print("\nOne connection, median: simulator alone %.0f µs, through nginx +%.0f µs, through Outcrop +%.0f µs (aim ≤ 50)."
          % (direct, latency["nginx"] - direct, latency["Outcrop"] - direct))


def memory(bench, streams=400):
    sim = bench.simulator()
    port, pid = bench.outcrop(sim)
    time.sleep(1)
    idle = resident(pid)
    body = json.loads(request(CLAUDE, True))
    body["messages"][0]["content"] = "sim:stall=60@2 sim:words=20"
    head = ("POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\ncontent-length: %d\r\n\r\n%s")
    text = json.dumps(body)
    sockets = []
    for _ in range(streams):
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall((head % (KEY, len(text), text)).encode())
        sockets.append(s)
    for s in sockets:
        s.recv(65536)
    time.sleep(1)
    each = (resident(pid) - idle) / streams
    for s in sockets:
        s.close()
    print("\nMemory: idle process %.1f MiB (aim ≤ 15), an idle stream %.1f KiB (aim ≤ 36)." % (idle / 2**20, each / 1024))
    bench.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", default="target/release")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--only", choices=["cpu", "memory"])
    args = parser.parse_args()
    args.target = os.path.abspath(args.target)
    for tool in ["wrk", "nginx"]:
        if not shutil.which(tool):
            sys.exit("%s is missing: apt-get install wrk nginx" % tool)
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args, work)
        try:
            if args.only != "memory":
                compare(bench)
            if args.only != "cpu":
                memory(bench)
        finally:
            bench.stop()


if __name__ == "__main__":
    main()

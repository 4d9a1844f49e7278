"""The gateway as a process between real clients and the simulator, with a tap on its upstream side.

    client -> outcrop-proxy -> Tap -> simulator

Suites in Python import it; for others, `python3 stand.py COMMAND...` runs a command with OUTCROP_URL and OUTCROP_KEY
set, and judges what went upstream. The tap keeps what the gateway sent and can answer in the simulator's place. Everything listens on loopback, on
ports of the system's choice, and works in a temporary directory.
"""

import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The simulator's own defaults.
ACCESS_KEY, SECRET_KEY = "AKIASIMULATOR0000000", "simulated/secret/access/key/000000000000"
# An application inference profile that the simulator knows, and what is behind it.
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/reef0000team"
PROFILED = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
START_SECONDS = 30
STOP_SECONDS = 20


class Missing(Exception):
    """A program that the suite needs is not there."""


def target_dir():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def program(name):
    """The built program, release before debug."""
    for profile in ("release", "debug"):
        path = target_dir() / profile / name
        if path.is_file():
            return str(path)
    raise Missing(f"{name} is not built; see tests/clients/README.md")


class Child:
    """A process whose output is kept, and searched while it starts."""

    def __init__(self, command, cwd, env=None):
        self.lines = []
        self._seen = threading.Condition()
        # Its own environment: settings of the developer's shell must not leak into a test.
        env = {"PATH": os.environ["PATH"], "HOME": str(cwd), **(env or {})}
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self._seen:
                self.lines.append(line.rstrip("\n"))
                self._seen.notify_all()
        with self._seen:
            self.lines.append("(end of output)")
            self._seen.notify_all()

    def wait_for(self, pattern):
        """The first match in the output."""
        deadline = time.monotonic() + START_SECONDS
        with self._seen:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                left = deadline - time.monotonic()
                if left <= 0 or self.lines[-1:] == ["(end of output)"]:
                    raise RuntimeError(f"no line matches {pattern!r}:\n" + self.output())
                self._seen.wait(left)

    def output(self):
        return "\n".join(self.lines)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


class Seen:
    """One request of the gateway to Bedrock."""

    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.raw = method, target, headers, body

    @property
    def model(self):
        return urllib.parse.unquote(self.target.split("/")[2])

    @property
    def operation(self):
        return self.target.split("/")[-1]

    @property
    def body(self):
        return json.loads(self.raw)

    def capture(self):
        return {"method": self.method, "path": self.target, "headers": dict(self.headers), "body": self.raw.decode()}


class Tap:
    """Relays the gateway's requests to the simulator, keeps them, and answers some itself."""

    def __init__(self, upstream):
        self._upstream = urllib.parse.urlsplit(upstream).netloc
        self._lock = threading.Lock()
        self._seen, self._answers = [], []
        tap = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One write an event: Nagle would hold back what a stream has to pass on at once.
            disable_nagle_algorithm = True

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

            def do_POST(self):
                tap._relay(self)

            do_GET = do_POST

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def mark(self):
        with self._lock:
            return len(self._seen)

    def since(self, mark):
        with self._lock:
            return self._seen[mark:]

    def answer_next(self, count, status, kind, message, headers=(), only=""):
        """Answers the next `count` requests, of operations with `only` in their name, with an exception of Bedrock."""
        with self._lock:
            self._answers += [(only, (status, kind, message, list(headers)))] * count

    def pending(self):
        """How many of those have not been given yet; forgets them."""
        with self._lock:
            left, self._answers = len(self._answers), []
            return left

    def _relay(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        seen = Seen(handler.command, handler.path, handler.headers.items(), body)
        with self._lock:
            self._seen.append(seen)
            ordered = next((order for order in self._answers if order[0] in seen.operation), None)
            if ordered:
                self._answers.remove(ordered)
        if ordered:
            self._answer(handler, *ordered[1])
            return
        connection = http.client.HTTPConnection(self._upstream, timeout=300)
        try:
            # Host stays the gateway's: it is part of what the signature covers.
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            self._pass_on(handler, connection.getresponse())
        finally:
            connection.close()

    @staticmethod
    def _pass_on(handler, response):
        handler.send_response_only(response.status)
        whole = response.getheader("content-length") is not None
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection"):
                handler.send_header(name, value)
        if not whole:
            handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        while piece := response.read1(65536):
            handler.wfile.write(piece if whole else b"%x\r\n%b\r\n" % (len(piece), piece))
        if not whole:
            handler.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def _answer(handler, status, kind, message, headers):
        body = json.dumps({"message": message}).encode()
        handler.send_response_only(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("x-amzn-errortype", f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/")
        handler.send_header("x-amzn-requestid", "00000000-0000-4000-8000-000000000000")
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


class Stand:
    """Simulator, tap and gateway, with a key that works and one that was revoked."""

    def __init__(self, **settings):
        gateway, keys = program("outcrop-proxy"), program("outcrop-keys")
        simulator = [program("bedrock-sim"), "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
        simulator += ["--profile", f"{PROFILE}={PROFILED}"]
        self._dir = tempfile.TemporaryDirectory(prefix="outcrop-clients-")
        self._database = os.path.join(self._dir.name, "outcrop.db")
        self._keys_program = keys
        self._children = []
        try:
            self.simulator = self._start(simulator)
            self.tap = Tap(self.simulator.wait_for(r"(http://127\.0\.0\.1:\d+)").group(1))
            self.gateway = self._start([gateway], self._settings(settings))
            serving = self.gateway.wait_for(r'"outcrop-proxy is serving","address":"(127\.0\.0\.1:\d+)"')
            self.url = f"http://{serving.group(1)}"
            self.key = self.create_key("ada")
        except BaseException:
            self.stop()
            raise

    def _settings(self, settings):
        return {
            "PORT": "0",
            "OUTCROP_DB": self._database,
            "USAGE_SPOOL_DIR": os.path.join(self._dir.name, "spool"),
            "DRAIN_GRACE_SECONDS": "0",
            "LOG_FORMAT": "json",
            # Tests throttle far more requests than a live service would.
            "BEDROCK_RETRY_BUDGET_PERCENT": "100",
            "AUTH_FAILURE_LIMIT": "0",
            "BEDROCK_ENDPOINT_URL": self.tap.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            **settings,
        }

    def _start(self, command, env=None):
        child = Child(command, self._dir.name, env)
        self._children.append(child)
        return child

    def keys(self, *arguments):
        """What outcrop-keys answers, as JSON."""
        env = {"PATH": os.environ["PATH"], "HOME": self._dir.name, "OUTCROP_DB": self._database}
        command = [self._keys_program, *arguments, "--json"]
        done = subprocess.run(command, cwd=self._dir.name, env=env, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def create_key(self, user):
        return self.keys("create", "--user-id", user, "--name", "clients")["key"]

    def usage(self, key_id, requests):
        """What is booked under a key, once that many requests are: rows are written behind."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            total = self.keys("show", key_id)["usage"]["total"]
            if total["requests"] >= requests:
                return total
            assert time.monotonic() < deadline, f"{requests} requests were served, but booked is {total}"
            time.sleep(0.1)

    def log_mark(self):
        """Where the log of the requests to come begins."""
        self._settle()
        return len(self.gateway.lines)

    def logged(self, since):
        """The gateway's line of each request since then."""
        self._settle()
        lines = [json.loads(line) for line in self.gateway.lines[since:] if line.startswith("{")]
        # Greetings at the start are no requests of anybody's, and the last of them is our own.
        return [line for line in lines if line["message"] == "request" and line["route"] != "other"]

    def _settle(self):
        """Waits until every request has been answered to its last byte and its line has been read."""
        deadline = time.monotonic() + START_SECONDS
        while self.in_flight() > 0:
            assert time.monotonic() < deadline, self.get("/metrics")
            time.sleep(0.02)
        with urllib.request.urlopen(self.url + "/api/hello", timeout=30) as reply:
            self.gateway.wait_for(reply.headers["request-id"])

    def in_flight(self):
        lines = self.get("/metrics").splitlines()
        found = [float(line.split()[-1]) for line in lines if "in_flight" in line and not line.startswith("#")]
        assert found, "the gauge of open requests is gone"
        # The question itself may be counted.
        return sum(found) - 1

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return reply.read().decode()

    def stop(self):
        """Ends everything; the gateway's exit code."""
        codes = [child.stop() for child in reversed(self._children)]
        if hasattr(self, "tap"):
            self.tap.stop()
        self._dir.cleanup()
        return codes[0] if codes else None


def judge(requests):
    """What the service's own model finds wrong with requests to Bedrock; None where there is no judge."""
    script = os.environ.get("OUTCROP_VALIDATOR")
    if not script:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as captures:
        for request in requests:
            captures.write(json.dumps(request.capture()) + "\n")
        captures.flush()
        command = [sys.executable, script, "auto", "--quiet", "--model-rules", "error"]
        command += ["--sigv4", f"{ACCESS_KEY}:{SECRET_KEY}", captures.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def main(command):
    """Runs a suite of another language, which finds the gateway in its environment."""
    try:
        stand = Stand()
    except Missing as missing:
        print(f"SKIPPED: {missing}")
        return 1 if os.environ.get("CI") == "true" else 0
    try:
        code = subprocess.run(command, env={**os.environ, "OUTCROP_URL": stand.url, "OUTCROP_KEY": stand.key}).returncode
        findings = judge(stand.tap.since(0))
    finally:
        ended = stand.stop()
    if findings:
        print(findings)
    if ended:
        print(f"the gateway ended with {ended}:\n{stand.gateway.output()}")
    return code or int(bool(findings or ended))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""TLS before the gateway, as a load balancer has it: botocore sends bearer keys to https addresses alone."""

import contextlib
import socket
import socketserver
import ssl
import threading
import urllib.parse


class Terminator:
    """Takes TLS connections on loopback and passes on what they say."""

    def __init__(self, url, context):
        upstream = urllib.parse.urlsplit(url)
        address = (upstream.hostname, upstream.port)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                # Clients that leave in the middle are none of our business.
                with contextlib.suppress(OSError), socket.create_connection(address) as onward:
                    client = context.wrap_socket(self.request, server_side=True)
                    threading.Thread(target=pump, args=(onward, client), daemon=True).start()
                    pump(client, onward)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def pump(source, sink):
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def certified(folder):
    """A server's context for loopback, and the file that makes a client trust it."""
    # Only the suite that needs it installs it.
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    return context, trusted

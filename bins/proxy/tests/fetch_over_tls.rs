//! Media behind `https` URLs: the real binary, and a server with a certificate that it has to judge. The program takes its
//! authorities from the system, and `SSL_CERT_FILE` says which those are.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

/// A picture of one point.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\xdacd\xf8\xcfP\x0f\0\x03\x86\x01\x80Z4}k\0\0\0\0IEND\xaeB`\x82";

/// The authority, and the certificate for `localhost` that it signed; `crates/bedrock` says how they were made.
fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/bedrock/tests/tls")
}

/// Serves the picture to whoever accepts the certificate, and returns the port.
fn serve() -> u16 {
    let folder = certificates();
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            // An error is a caller that does not accept the certificate; its own side says so.
            let _ = answer(tcp.unwrap(), &config);
        }
    });
    port
}

fn answer(mut tcp: TcpStream, config: &Arc<ServerConfig>) -> std::io::Result<()> {
    let mut session = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut tls = BufReader::new(Stream::new(&mut session, &mut tcp));
    let mut line = String::new();
    while tls.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut tls = tls.into_inner();
    write!(tls, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PNG.len())?;
    tls.write_all(PNG)?;
    tls.flush()?;
    session.send_close_notify();
    session.complete_io(&mut tcp).map(|_| ())
}

/// A gateway that ends with its test.
struct Gateway {
    child: Child,
    addr: SocketAddr,
    key: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Gateway {
    /// One that trusts these authorities, and may fetch from that port of this machine.
    fn trusting(authorities: &Path, port: u16) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_outcrop-proxy"))
            .args(["--simulate", "--port=0", "--workers=1", "--enable-image-url-fetch=true"])
            .arg(format!("--image-url-fetch-allow-hosts=localhost:{port},127.0.0.1:{port}"))
            .env_clear()
            .env("SSL_CERT_FILE", authorities)
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let addr = lines
            .find_map(|line| Some(line.split_once("listening on http://")?.1.split(',').next()?.to_owned()));
        let key =
            lines.find_map(|line| line.trim().strip_prefix("sk-oc-").map(|rest| format!("sk-oc-{rest}")));
        // The rest is read too, so that the program can go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addr: addr.unwrap().parse().unwrap(), key: key.unwrap() }
    }

    /// The reply to a question about what is behind a URL.
    fn ask(&self, url: &str) -> String {
        let body = format!(
            r#"{{"model":"claude-sonnet-4-6","max_tokens":50,"messages":[{{"role":"user","content":[{{"type":"text","text":"What is this?"}},{{"type":"image","source":{{"type":"url","url":"{url}"}}}}]}}]}}"#
        );
        let mut tcp = TcpStream::connect(self.addr).unwrap();
        write!(
            tcp,
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
        .unwrap();
        let mut reply = String::new();
        tcp.read_to_string(&mut reply).unwrap();
        reply
    }
}

#[test]
fn a_certificate_is_judged_by_its_authority_and_its_name() {
    let port = serve();
    let trusting = Gateway::trusting(&certificates().join("ca.pem"), port);
    let reply = trusting.ask(&format!("https://localhost:{port}/a.png"));
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    // The same server under a name that its certificate is not for.
    let reply = trusting.ask(&format!("https://127.0.0.1:{port}/a.png"));
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("its TLS is not in order"), "{reply}");
    // A gateway that knows another authority, and not this one.
    let stranger = Gateway::trusting(&certificates().join("stranger.pem"), port);
    let reply = stranger.ask(&format!("https://localhost:{port}/a.png"));
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("its TLS is not in order"), "{reply}");
    // Plain bytes where TLS is meant, and TLS where plain bytes are.
    let reply = trusting.ask(&format!("http://localhost:{port}/a.png"));
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
}

//! The same exchanges over TLS, against a server with a certificate of our own making.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

// Made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256`; the server's is signed by the other, for the
// name `localhost` and a hundred years. The key guards nothing.
const AUTHORITY: &[u8] = include_bytes!("../../tests/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../tests/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../tests/tls/server.key");

/// Serves `answers` one after another on each connection and returns the port.
async fn serve(answers: Vec<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, answers) = (acceptor.clone(), answers.clone());
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                for answer in answers {
                    let mut request = Vec::new();
                    while !request.ends_with(b"END") {
                        if tls.read_buf(&mut request).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    tls.write_all(&answer).await.unwrap();
                    tls.flush().await.unwrap();
                }
                tls.shutdown().await.unwrap();
            });
        }
    });
    port
}

fn connector(host: &str, port: u16, authority: Option<&[u8]>) -> Connector {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(pem) = authority {
        roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    }
    let endpoint = Endpoint::parse(&format!("https://{host}:{port}")).unwrap();
    Connector::new(endpoint, Duration::from_secs(5), Some(&Trust::of(roots).unwrap())).unwrap()
}

fn outgoing(body: &[u8]) -> Outgoing<'_> {
    Outgoing { head: b"POST / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), body }
}

async fn body_of(connection: &mut Connection, mut head: Head) -> Vec<u8> {
    head.body.advance(&mut connection.buffer).unwrap();
    while !head.body.is_whole() {
        let expected = head.body.expected();
        assert_ne!(poll_fn(|cx| connection.poll_fill(cx, expected)).await.unwrap(), 0);
        head.body.advance(&mut connection.buffer).unwrap();
    }
    head.body.take(&mut connection.buffer, usize::MAX).to_vec()
}

#[tokio::test]
async fn requests_and_answers_of_any_size_pass_through_tls() {
    let long = vec![b'y'; 500_000];
    let answer = [b"HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n".to_vec(), long.clone()].concat();
    let port = serve(vec![answer.clone(), answer]).await;
    let mut connection = connector("localhost", port, Some(AUTHORITY)).connect().await.unwrap();
    let large = [vec![b'x'; 1_000_000], b"END".to_vec()].concat();
    for body in [&b"END"[..], &large] {
        assert!(connection.is_usable(), "session tickets that came late do not spoil it");
        let Ok(head) = connection.exchange(&outgoing(body)).await else { panic!("no answer") };
        assert_eq!(head.status, 200);
        assert_eq!(body_of(&mut connection, head).await, long);
    }
    // The server says goodbye now.
    let closed = poll_fn(|cx| connection.poll_fill(cx, 0)).await;
    assert!(matches!(closed, Ok(0)));
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn a_certificate_of_a_stranger_or_for_another_name_is_refused() {
    let port = serve(vec![]).await;
    for connector in [connector("localhost", port, None), connector("127.0.0.1", port, Some(AUTHORITY))] {
        let error = connector.connect().await.err().unwrap();
        assert_eq!(error.kind, Kind::Connect);
        assert!(error.message.contains("certificate"), "{error}");
    }
}

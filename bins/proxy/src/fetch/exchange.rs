//! One GET over a connection of its own, to addresses that were chosen before.
//!
//! Written by hand because the addresses must be pinned and every redirect seen: general clients look names up
//! themselves, follow redirects themselves and honour proxy variables, and each would have to be switched off.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::ServerName;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::target::Target;
use super::{Fault, Room};

/// A longer head is not an honest server's.
const LONGEST_HEAD: usize = 32 * 1024;
const MOST_HEADERS: usize = 100;
/// Of the size line of a chunk, extensions included.
const LONGEST_SIZE: u64 = 256;
/// Read at once.
const PIECE: usize = 32 * 1024;

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// An answer whose body has not been read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    framing: Framing,
    io: BufReader<Pin<Box<dyn Io>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

fn broken(error: &io::Error) -> Fault {
    Fault::new(format!("the connection broke: {error}"))
}

/// Connects to the first address that answers, and asks for the target.
pub(super) async fn get(target: &Target, addresses: &[SocketAddr]) -> Result<Answer, Fault> {
    let mut io = BufReader::new(open(target, addresses).await?);
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\naccept: image/*, application/pdf\r\naccept-encoding: identity\r\n\
         user-agent: outcrop/{}\r\nconnection: close\r\n\r\n",
        target.path,
        target.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    io.write_all(request.as_bytes()).await.map_err(|error| broken(&error))?;
    io.flush().await.map_err(|error| broken(&error))?;
    loop {
        let head = read_head(&mut io).await?;
        // Interim answers say nothing that counts.
        if !(100..200).contains(&head.status) {
            return Ok(Answer { status: head.status, location: head.location, framing: head.framing, io });
        }
    }
}

async fn open(target: &Target, addresses: &[SocketAddr]) -> Result<Pin<Box<dyn Io>>, Fault> {
    let unreachable = || Fault::new("its host cannot be reached");
    let mut connected = None;
    for address in addresses {
        if let Ok(tcp) = TcpStream::connect(address).await {
            connected = Some(tcp);
            break;
        }
    }
    let tcp = connected.ok_or_else(unreachable)?;
    if !target.tls {
        return Ok(Box::pin(tcp));
    }
    let bare = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|_| unreachable())?;
    let tls = TLS.as_ref().ok_or_else(|| Fault::new("this system has no certificate authorities"))?;
    let tls = tls.connect(name, tcp).await;
    Ok(Box::pin(tls.map_err(|error| Fault::new(format!("its TLS is not in order: {error}")))?))
}

/// Made with the first fetch: most gateways never need it.
static TLS: LazyLock<Option<TlsConnector>> = LazyLock::new(|| {
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.ok().filter(|_| added > 0)?.with_root_certificates(roots).with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
});

struct Head {
    status: u16,
    location: Option<String>,
    framing: Framing,
}

async fn read_head(io: &mut BufReader<Pin<Box<dyn Io>>>) -> Result<Head, Fault> {
    let mut raw = Vec::new();
    loop {
        let room = (LONGEST_HEAD + 1).saturating_sub(raw.len());
        let line = (&mut *io).take(room as u64).read_until(b'\n', &mut raw).await;
        let line = line.map_err(|error| broken(&error))?;
        if line == 0 {
            return Err(Fault::new("its answer is not HTTP"));
        }
        if raw.ends_with(b"\n\r\n") || raw.ends_with(b"\n\n") {
            return parse_head(&raw);
        }
    }
}

fn parse_head(raw: &[u8]) -> Result<Head, Fault> {
    let odd = || Fault::new("its answer is not HTTP");
    let mut slots = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut slots);
    parsed.parse(raw).map_err(|_| odd())?;
    let text = |name: &str| {
        let header = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    if text("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(Fault::new("its answer is compressed, though that was not asked for"));
    }
    let framing = match (text("transfer-encoding"), text("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        (Some(_), _) => return Err(odd()),
        (None, Some(length)) => Framing::Length(length.parse().map_err(|_| odd())?),
        (None, None) => Framing::UntilEnd,
    };
    let status = parsed.code.ok_or_else(odd)?;
    Ok(Head { status, location: text("location").map(str::to_owned), framing })
}

impl Answer {
    /// Reads the body within its limits.
    pub(super) async fn body(mut self, room: &Room<'_>) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        match self.framing {
            Framing::Length(length) => {
                room.fits(usize::try_from(length).unwrap_or(usize::MAX))?;
                self.append(&mut body, Some(length), room).await?;
            }
            Framing::UntilEnd => self.append(&mut body, None, room).await?,
            Framing::Chunked => {
                while let Some(size) = self.chunk_size().await? {
                    self.append(&mut body, Some(size), room).await?;
                    let mut end = [0; 2];
                    self.io.read_exact(&mut end).await.map_err(|error| broken(&error))?;
                    if &end != b"\r\n" {
                        return Err(Fault::new("its answer is not HTTP"));
                    }
                }
            }
        }
        Ok(body)
    }

    /// Reads so many bytes, or all to the end.
    async fn append(
        &mut self,
        body: &mut Vec<u8>,
        length: Option<u64>,
        room: &Room<'_>,
    ) -> Result<(), Fault> {
        let mut left = length.unwrap_or(u64::MAX);
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let got = self.io.read(&mut piece[..most]).await.map_err(|error| broken(&error))?;
            if got == 0 {
                return if length.is_none() { Ok(()) } else { Err(Fault::new("its answer ended early")) };
            }
            room.fits(body.len() + got)?;
            room.take(got)?;
            body.extend_from_slice(&piece[..got]);
            left -= got as u64;
        }
        Ok(())
    }

    /// The size of the next chunk; `None` behind the last one.
    async fn chunk_size(&mut self) -> Result<Option<u64>, Fault> {
        let mut line = Vec::new();
        let read = (&mut self.io).take(LONGEST_SIZE).read_until(b'\n', &mut line).await;
        read.map_err(|error| broken(&error))?;
        let text = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix("\r\n"));
        let digits = text.and_then(|text| text.split(';').next()).map(str::trim);
        let size = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let size = size.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let size = size.ok_or_else(|| Fault::new("its answer is not HTTP"))?;
        Ok((size > 0).then_some(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_how_a_body_ends() {
        let head = |text: &str| parse_head(text.as_bytes()).map(|head| head.framing).ok();
        assert_eq!(head("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"), Some(Framing::Length(5)));
        assert_eq!(head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(Framing::Chunked));
        assert_eq!(head("HTTP/1.0 200 OK\r\n\r\n"), Some(Framing::UntilEnd));
        for odd in [
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            assert_eq!(head(odd), None, "{odd}");
        }
    }
}

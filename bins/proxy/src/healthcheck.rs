//! `outcrop-proxy healthcheck`: is the gateway on this machine ready?

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::settings::Settings;

const LIMIT: Duration = Duration::from_secs(3);

/// 0 when the gateway says it is ready, 1 otherwise.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    let host = match settings.listen.host {
        // Listening on every address includes this one.
        IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    };
    match ready(SocketAddr::new(host, settings.listen.port)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn ready(addr: SocketAddr) -> std::io::Result<bool> {
    let mut tcp = TcpStream::connect_timeout(&addr, LIMIT)?;
    tcp.set_read_timeout(Some(LIMIT))?;
    tcp.write_all(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut reply = String::new();
    tcp.read_to_string(&mut reply)?;
    Ok(reply.starts_with("HTTP/1.1 200"))
}

//! A URL taken apart, and where a redirect leads from it.

use std::net::SocketAddr;

use http::Uri;

use super::Fault;
use super::address::{self, Host, is_public};
use crate::settings::{Hosts, Trust};

/// What one exchange needs to know of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) tls: bool,
    /// In lower case; an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl Target {
    /// Reads an absolute `http` or `https` URL.
    pub(super) fn parse(url: &str) -> Result<Self, Fault> {
        let (url, _) = url.split_once('#').unwrap_or((url, ""));
        if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(Fault::new("it is not a valid URL"));
        }
        let scheme = url.split(':').next().unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(Fault::new("only http and https URLs are fetched"));
        }
        let uri: Uri = url.parse().map_err(|_| Fault::new("it is not a valid URL"))?;
        let tls = scheme.eq_ignore_ascii_case("https");
        let authority = uri.authority().ok_or_else(|| Fault::new("it is not a valid URL"))?;
        if authority.as_str().contains('@') {
            return Err(Fault::new("URLs with user names or passwords are not fetched"));
        }
        let host = authority.host().to_ascii_lowercase();
        let behind = authority.as_str().get(host.len()..).unwrap_or_default();
        let port = match behind.strip_prefix(':') {
            None if behind.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().map_err(|_| Fault::new("its port is not a number"))?,
            None => return Err(Fault::new("it is not a valid URL")),
        };
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        // The dot of an absolute name says nothing that counts here.
        let host = host.strip_suffix('.').map(str::to_owned).unwrap_or(host);
        match address::host(&host) {
            Some(_) => Ok(Self { tls, host, port, path }),
            None => Err(Fault::new("its host is neither a plain name nor an address in its usual form")),
        }
    }

    /// Where a `Location` leads.
    pub(super) fn follow(&self, location: &str) -> Result<Self, Fault> {
        let scheme = if self.tls { "https" } else { "http" };
        let origin = format!("{scheme}://{}", self.authority());
        let directory = self.path.split('?').next().unwrap_or_default();
        let directory = &directory[..=directory.rfind('/').unwrap_or(0)];
        match location {
            _ if location.starts_with("//") => Self::parse(&format!("{scheme}:{location}")),
            _ if location.starts_with('/') => Self::parse(&format!("{origin}{location}")),
            _ if location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) => {
                Self::parse(location)
            }
            _ => Self::parse(&format!("{origin}{directory}{location}")),
        }
    }

    /// As it stands in the `host` header.
    pub(super) fn authority(&self) -> String {
        if self.port == if self.tls { 443 } else { 80 } {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The addresses to connect to: looked up once, and all of them fit to be used. A name that has both public and other
    /// ones is up to something.
    pub(super) async fn addresses(&self, hosts: &Hosts) -> Result<Vec<SocketAddr>, Fault> {
        let trust = hosts.trust(&self.host, self.port);
        if trust == Trust::Refused {
            return Err(Fault::new("its host is not in IMAGE_URL_FETCH_ALLOW_HOSTS"));
        }
        let found: Vec<SocketAddr> = match address::host(&self.host) {
            Some(Host::Address(address)) => vec![SocketAddr::new(address, self.port)],
            Some(Host::Name(name)) => {
                tokio::net::lookup_host((name, self.port)).await.map(Iterator::collect).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let usable = trust == Trust::Any || found.iter().all(|found| is_public(found.ip()));
        if found.is_empty() || !usable {
            // One wording for both: which names exist inside is nobody's business.
            return Err(Fault::new(
                "its host has no public address (a private one must be listed as host:port in \
                 IMAGE_URL_FETCH_ALLOW_HOSTS)",
            ));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (bool, String, u16, String) {
        let Target { tls, host, port, path } = Target::parse(url).unwrap();
        (tls, host, port, path)
    }

    #[test]
    fn a_url_is_taken_apart() {
        let own = |tls, host: &str, port, path: &str| (tls, host.to_owned(), port, path.to_owned());
        assert_eq!(parsed("https://Example.COM/a?b=c#d"), own(true, "example.com", 443, "/a?b=c"));
        assert_eq!(parsed("HTTP://example.com:8080"), own(false, "example.com", 8080, "/"));
        assert_eq!(parsed("http://example.com?x=1"), own(false, "example.com", 80, "/?x=1"));
        assert_eq!(parsed("http://[2606:4700::1]:81/"), own(false, "[2606:4700::1]", 81, "/"));
        assert_eq!(parsed("https://example.com./"), own(true, "example.com", 443, "/"));
    }

    #[test]
    fn urls_that_are_not_plain_are_refused() {
        for url in [
            "",
            "example.com/a.png",
            "/a.png",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "data:image/png;base64,AAAA",
            "http://",
            "http:///a",
            "http://user@example.com/",
            "http://user:pass@example.com/",
            "http://good.example\\@evil.example/",
            "http://example.com:99999/",
            "http://example.com:/",
            "http://example.com:1x/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127%2e0.0.1/",
            "http://[::1%25lo]/",
            "http://a b/",
            "http://example.com/a\r\nx: y",
            "http://exämple.com/",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn redirects_are_followed_from_where_they_stand() {
        let from = Target::parse("http://h.example:81/a/b?c").unwrap();
        for (location, to) in [
            ("https://other.example/x", "https://other.example/x"),
            ("//other.example/x", "http://other.example/x"),
            ("/x?y", "http://h.example:81/x?y"),
            ("x", "http://h.example:81/a/x"),
            ("x?u=http://z/", "http://h.example:81/a/x?u=http://z/"),
        ] {
            assert_eq!(from.follow(location).unwrap(), Target::parse(to).unwrap(), "{location}");
        }
        assert!(from.follow("file:///etc/passwd").is_err() && from.follow("http://u@h/").is_err());
    }

    #[tokio::test]
    async fn inner_addresses_are_reached_only_when_they_are_listed_with_their_port() {
        let target = |url: &str| Target::parse(url).unwrap();
        let any = Hosts::default();
        for url in
            ["http://127.0.0.1:81/", "http://[::1]/", "http://[::ffff:169.254.169.254]/", "http://localhost/"]
        {
            let refused = target(url).addresses(&any).await.unwrap_err();
            assert!(refused.to_string().contains("no public address"), "{url}: {refused}");
        }
        let listed: Hosts = "127.0.0.1:81, *".parse().unwrap();
        assert_eq!(target("http://127.0.0.1:81/").addresses(&listed).await.unwrap().len(), 1);
        assert!(target("http://127.0.0.1:82/").addresses(&listed).await.is_err());
        assert!(target("http://8.8.8.8/").addresses(&listed).await.is_ok());
        let narrow: Hosts = "example.com".parse().unwrap();
        assert!(
            target("http://8.8.8.8/")
                .addresses(&narrow)
                .await
                .unwrap_err()
                .to_string()
                .contains("ALLOW_HOSTS")
        );
    }
}

//! Where requests go: scheme, host, port and the path in front of every other.

use http::Uri;

use crate::error::{Error, Kind};

/// A base address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) tls: bool,
    /// For the connection and for the certificate; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For the `host` header, which is signed.
    pub(crate) authority: String,
    /// Empty, or a path without a slash at its end.
    pub(crate) base_path: String,
}

impl Endpoint {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::new(Kind::Connect, format!("The Bedrock endpoint address {why}."));
        let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("must begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(wrong("may not hold credentials or a query"));
        }
        let host = authority.host();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: if port == if tls { 443 } else { 80 } {
                host.to_owned()
            } else {
                format!("{host}:{port}")
            },
            base_path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The runtime's own address in a region: <https://docs.aws.amazon.com/general/latest/gr/bedrock.html>.
    pub(crate) fn of_region(region: &str, fips: bool) -> Result<Self, Error> {
        Self::of_service("bedrock-runtime", region, fips)
    }

    fn of_service(service: &str, region: &str, fips: bool) -> Result<Self, Error> {
        let region = plain(region)?;
        let fips = if fips { "-fips" } else { "" };
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Self::parse(&format!("https://{service}{fips}.{region}.{suffix}"))
    }

    /// That of `bedrock-mantle`: <https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html>.
    pub(crate) fn of_mantle(region: &str) -> Result<Self, Error> {
        Self::parse(&format!("https://bedrock-mantle.{}.api.aws", plain(region)?))
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        address.map_or(self.host == "localhost", |address| address.is_loopback())
    }
}

/// Where the control plane is. It is no part of the runtime: an address that was given for the one is not taken for the
/// other, unless it is on this machine, where a stand-in serves both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    At(Endpoint),
    /// At AWS: each region has its own.
    OfRegion {
        fips: bool,
    },
}

impl Control {
    pub(crate) fn of(&self, region: &str) -> Result<Endpoint, Error> {
        match self {
            Self::At(endpoint) => Ok(endpoint.clone()),
            Self::OfRegion { fips } => Endpoint::of_service("bedrock", region, *fips),
        }
    }
}

/// A region's name, which becomes a part of a host's.
fn plain(region: &str) -> Result<&str, Error> {
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Error::new(Kind::Connect, "The AWS region is not a region name."));
    }
    Ok(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_its_address() {
        let host = |region, fips| Endpoint::of_region(region, fips).unwrap().authority;
        assert_eq!(host("eu-west-1", false), "bedrock-runtime.eu-west-1.amazonaws.com");
        assert_eq!(host("us-east-1", true), "bedrock-runtime-fips.us-east-1.amazonaws.com");
        assert_eq!(host("cn-north-1", false), "bedrock-runtime.cn-north-1.amazonaws.com.cn");
        let mantle = Endpoint::of_mantle("us-west-2").unwrap();
        assert_eq!(mantle.authority, "bedrock-mantle.us-west-2.api.aws");
        for region in ["", "us east", "evil.example/", "a@b"] {
            assert!(Endpoint::of_region(region, false).is_err(), "{region}");
            assert!(Endpoint::of_mantle(region).is_err(), "{region}");
            assert!(Control::OfRegion { fips: false }.of(region).is_err(), "{region}");
        }
        let control = |region, fips| Control::OfRegion { fips }.of(region).unwrap().authority;
        assert_eq!(control("eu-west-1", false), "bedrock.eu-west-1.amazonaws.com");
        assert_eq!(control("us-east-1", true), "bedrock-fips.us-east-1.amazonaws.com");
    }

    #[test]
    fn an_address_is_taken_apart() {
        let local = Endpoint::parse("http://127.0.0.1:9000/base/").unwrap();
        assert_eq!((local.tls, local.port, local.base_path.as_str()), (false, 9000, "/base"));
        assert_eq!(local.authority, "127.0.0.1:9000");
        let v6 = Endpoint::parse("https://[::1]").unwrap();
        assert_eq!((v6.host.as_str(), v6.authority.as_str(), v6.port), ("::1", "[::1]", 443));
        assert_eq!(
            Endpoint::parse("https://h:443").unwrap().authority,
            "h",
            "the usual port is not in the header"
        );
    }

    #[test]
    fn only_this_machines_addresses_are_loopback() {
        for (url, loopback) in [
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost", true),
            ("https://localhost.example", false),
            ("http://10.0.0.1", false),
            ("https://bedrock-runtime.us-east-1.amazonaws.com", false),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().is_loopback(), loopback, "{url}");
        }
    }

    #[test]
    fn addresses_that_mean_something_else_are_refused() {
        for url in ["", "localhost:80", "ftp://h", "http://u:p@h", "http://h/?q", "/path"] {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }
}

//! Compressed request bodies, decoded within the limit of a plain one: a megabyte can hold ten gigabytes.

use std::io::Read;

use bytes::Bytes;
use http::HeaderValue;

use crate::error::{ApiError, Kind};
use crate::messages::too_large;

/// A content coding that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The coding of a body; none for `identity`.
pub(crate) fn of(header: Option<&HeaderValue>) -> Result<Option<Coding>, ApiError> {
    let Some(value) = header else { return Ok(None) };
    let name = value.to_str().unwrap_or_default().trim().to_ascii_lowercase();
    match name.as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(Coding::Gzip)),
        "deflate" => Ok(Some(Coding::Deflate)),
        "br" => Ok(Some(Coding::Brotli)),
        "zstd" => Ok(Some(Coding::Zstd)),
        _ => Err(ApiError::new(
            Kind::UnsupportedMedia,
            "Content-Encoding must be one of gzip, deflate, br, zstd, or absent",
        )),
    }
}

/// The plain bytes.
pub(crate) fn decode(coding: Coding, raw: &[u8], limit: usize) -> Result<Bytes, ApiError> {
    let broken = |_| ApiError::new(Kind::Invalid, "The request body cannot be decompressed");
    let mut plain = Vec::with_capacity(raw.len().saturating_mul(4).min(limit));
    // One byte more than allowed tells "too large" from "just fits".
    let most = limit as u64 + 1;
    match coding {
        Coding::Gzip => flate2::read::MultiGzDecoder::new(raw).take(most).read_to_end(&mut plain),
        Coding::Deflate => flate2::read::ZlibDecoder::new(raw).take(most).read_to_end(&mut plain),
        Coding::Brotli => {
            brotli_decompressor::Decompressor::new(raw, 4096).take(most).read_to_end(&mut plain)
        }
        Coding::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(raw)
                .map_err(|_| ApiError::new(Kind::Invalid, "The request body cannot be decompressed"))?;
            decoder.take(most).read_to_end(&mut plain)
        }
    }
    .map_err(broken)?;
    if plain.len() > limit { Err(too_large(limit)) } else { Ok(plain.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_too_large_and_not_a_memory_fault() {
        let bomb = gzip(&vec![b' '; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert_eq!(decode(Coding::Gzip, &bomb, 1_000_000).unwrap_err().kind, Kind::TooLarge);
        assert_eq!(decode(Coding::Gzip, &gzip(b"{}"), 2).unwrap(), "{}");
    }

    #[test]
    fn unknown_codings_and_broken_bodies_are_told_apart() {
        assert_eq!(of(Some(&HeaderValue::from_static("lzma"))).unwrap_err().kind, Kind::UnsupportedMedia);
        assert_eq!(of(Some(&HeaderValue::from_static("identity"))).unwrap(), None);
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            assert_eq!(decode(coding, b"not compressed", 100).unwrap_err().kind, Kind::Invalid, "{coding:?}");
        }
    }
}

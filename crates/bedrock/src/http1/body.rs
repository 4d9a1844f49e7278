//! Where a body ends, and taking the chunk lines out of it.
//!
//! A buffer holds first what is decoded and then what is not; chunks are moved together in place, so a stream needs no
//! second buffer.

use bytes::{Bytes, BytesMut};

use crate::error::{Error, Kind};

/// A chunk's size line or a trailer longer than this is no answer of Bedrock's.
const LONGEST_LINE: usize = 4096;

/// How far a body has come.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
    /// How much of the buffer's beginning is decoded.
    decoded: usize,
}

/// What comes next on the wire.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// So many bytes, then the end.
    Sized(u64),
    /// A chunk's size line.
    ChunkSize,
    /// So many bytes of a chunk.
    ChunkData(u64),
    /// The line end after a chunk's bytes.
    ChunkEnd,
    /// Trailers, up to an empty line.
    Trailers,
    /// Everything until the connection ends.
    UntilClose,
    /// Nothing.
    Whole,
}

fn unreadable(why: &str) -> Error {
    Error::new(Kind::Protocol, format!("Bedrock's answer cannot be read: {why}"))
}

impl Body {
    fn of(state: State) -> Self {
        Self { state, decoded: 0 }
    }

    pub(crate) fn none() -> Self {
        Self::of(State::Whole)
    }

    pub(crate) fn sized(length: u64) -> Self {
        Self::of(if length == 0 { State::Whole } else { State::Sized(length) })
    }

    pub(crate) fn chunked() -> Self {
        Self::of(State::ChunkSize)
    }

    pub(crate) fn until_close() -> Self {
        Self::of(State::UntilClose)
    }

    /// Whether everything has arrived.
    pub(crate) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// How many decoded bytes wait in the buffer.
    pub(crate) fn ready(&self) -> usize {
        self.decoded
    }

    /// How many bytes are known to come, for sizing the next read.
    pub(crate) fn expected(&self) -> u64 {
        match self.state {
            State::Sized(left) | State::ChunkData(left) => left,
            State::ChunkSize | State::ChunkEnd | State::Trailers | State::UntilClose | State::Whole => 0,
        }
    }

    /// The connection ended: whether that was the body's end too.
    pub(crate) fn close(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Whole;
        }
        self.is_whole()
    }

    /// Takes decoded bytes off the buffer's beginning, without a copy. At most [`ready`](Self::ready) of them.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut, length: usize) -> Bytes {
        let length = length.min(self.decoded);
        self.decoded -= length;
        buffer.split_to(length).freeze()
    }

    /// Decodes what was read since the last time.
    pub(crate) fn advance(&mut self, buffer: &mut BytesMut) -> Result<(), Error> {
        let mut at = self.decoded;
        loop {
            let raw = &buffer[at..];
            match self.state {
                State::Whole => break,
                State::UntilClose => {
                    self.keep(buffer, &mut at, u64::MAX);
                    break;
                }
                State::Sized(left) | State::ChunkData(left) => {
                    if raw.is_empty() {
                        break;
                    }
                    let left = left - self.keep(buffer, &mut at, left);
                    self.state = match (&self.state, left) {
                        (State::Sized(_), 0) => State::Whole,
                        (State::Sized(_), left) => State::Sized(left),
                        (_, 0) => State::ChunkEnd,
                        (_, left) => State::ChunkData(left),
                    };
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', raw) else {
                        if raw.len() > LONGEST_LINE {
                            return Err(unreadable("a line between its chunks is too long"));
                        }
                        break;
                    };
                    let line = raw[..end].strip_suffix(b"\r").unwrap_or(&raw[..end]);
                    self.state = next(&self.state, line)?;
                    at += end + 1;
                }
            }
        }
        // What is not decoded yet follows what is.
        let rest = buffer.len() - at;
        buffer.copy_within(at.., self.decoded);
        buffer.truncate(self.decoded + rest);
        Ok(())
    }

    /// Moves up to `limit` bytes at `at` to the end of the decoded ones; returns how many.
    fn keep(&mut self, buffer: &mut BytesMut, at: &mut usize, limit: u64) -> u64 {
        let length = usize::try_from(limit).unwrap_or(usize::MAX).min(buffer.len() - *at);
        if *at != self.decoded {
            buffer.copy_within(*at..*at + length, self.decoded);
        }
        *at += length;
        self.decoded += length;
        length as u64
    }
}

/// What follows a line between chunks.
fn next(state: &State, line: &[u8]) -> Result<State, Error> {
    match state {
        State::ChunkSize => match chunk_size(line)? {
            0 => Ok(State::Trailers),
            size => Ok(State::ChunkData(size)),
        },
        State::ChunkEnd if line.is_empty() => Ok(State::ChunkSize),
        State::ChunkEnd => Err(unreadable("a chunk is longer than it says")),
        State::Trailers if line.is_empty() => Ok(State::Whole),
        State::Trailers => Ok(State::Trailers),
        State::Sized(_) | State::ChunkData(_) | State::UntilClose | State::Whole => {
            Err(unreadable("a line stands where none belongs"))
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Error> {
    let digits = line.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    if digits.is_empty() || digits.len() > 15 {
        return Err(unreadable("a chunk's size is not a number"));
    }
    digits.iter().try_fold(0, |size, &digit| {
        let digit =
            char::from(digit).to_digit(16).ok_or_else(|| unreadable("a chunk's size is not a number"))?;
        Ok(size << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the pieces and returns what is decoded, what is left over, and whether the body is whole.
    fn decode(mut body: Body, pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), Error> {
        let mut buffer = BytesMut::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            body.advance(&mut buffer)?;
        }
        let ready = body.ready();
        let decoded = body.take(&mut buffer, ready);
        Ok((decoded.to_vec(), buffer.to_vec(), body.is_whole()))
    }

    const WIRE: &[u8] = b"5\r\nhello\r\n6;ext=1\r\n, worl\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\n";

    #[test]
    fn chunks_decode_the_same_wherever_they_are_cut() {
        for first in 0..=WIRE.len() {
            for second in first..=WIRE.len() {
                let pieces = [&WIRE[..first], &WIRE[first..second], &WIRE[second..]];
                let (decoded, rest, whole) = decode(Body::chunked(), &pieces).unwrap();
                assert_eq!(decoded, b"hello, world", "cut at {first} and {second}");
                assert!(rest.is_empty() && whole);
            }
        }
    }

    #[test]
    fn taking_decoded_bytes_between_reads_loses_nothing() {
        let (mut buffer, mut body, mut seen) = (BytesMut::new(), Body::chunked(), Vec::new());
        for byte in WIRE {
            buffer.extend_from_slice(&[*byte]);
            body.advance(&mut buffer).unwrap();
            let half = body.ready().div_ceil(2);
            seen.extend_from_slice(&body.take(&mut buffer, half));
        }
        let rest = body.ready();
        seen.extend_from_slice(&body.take(&mut buffer, rest));
        assert_eq!(seen, b"hello, world");
    }

    #[test]
    fn a_sized_body_ends_where_it_says_and_leaves_the_rest() {
        let (decoded, rest, whole) = decode(Body::sized(5), &[b"he", b"lloX"]).unwrap();
        assert_eq!((decoded.as_slice(), rest.as_slice(), whole), (&b"hello"[..], &b"X"[..], true));
        assert!(!decode(Body::sized(6), &[b"hello"]).unwrap().2);
    }

    #[test]
    fn only_a_body_without_a_length_may_end_with_the_connection() {
        assert!(Body::until_close().close());
        assert!(!Body::sized(1).close());
        assert!(!Body::chunked().close());
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for wire in
            [&b"x\r\n"[..], b"\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"1\r\nab\r\n", &[b'1'; 5000]]
        {
            assert!(decode(Body::chunked(), &[wire]).is_err(), "{}", String::from_utf8_lossy(wire));
        }
    }
}

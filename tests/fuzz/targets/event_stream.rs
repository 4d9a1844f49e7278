//! Any bytes as a stream of frames or of server-sent events, in any framing and in any cuts: nothing panics, and cutting elsewhere changes nothing.
#![no_main]

use bedrock::bench::{Ending, Frames};
use libfuzzer_sys::fuzz_target;
use outcrop_fuzz::Input;

/// A frame with right lengths and checksums around whatever headers and payload: the fuzzer cannot guess those.
fn frame(headers: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let total = u32::try_from(16 + headers.len() + payload.len()).expect("small");
    out.extend(total.to_be_bytes());
    out.extend(u32::try_from(headers.len()).expect("small").to_be_bytes());
    out.extend(crc32fast::hash(&out[start..]).to_be_bytes());
    out.extend(headers);
    out.extend(payload);
    out.extend(crc32fast::hash(&out[start..]).to_be_bytes());
}

fn header(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(u8::try_from(name.len()).expect("short"));
    out.extend(name);
    out.push(7);
    out.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
    out.extend(value);
}

/// The bytes of a stream: frames that are right, frames whose headers are the fuzzer's, and bytes of its own.
fn stream(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !input.is_empty() {
        match input.byte() % 4 {
            0 => {
                let length = usize::from(input.byte());
                bytes.extend(input.take(length));
            }
            1 => {
                let (headers, payload) = (usize::from(input.byte() % 64), usize::from(input.byte()));
                frame(input.take(headers), input.take(payload), &mut bytes);
            }
            kind => {
                let mut headers = Vec::new();
                let (message_type, name): (&[u8], &[u8]) =
                    if kind == 2 { (b"event", b":event-type") } else { (b"exception", b":exception-type") };
                header(b":message-type", message_type, &mut headers);
                let length = usize::from(input.byte() % 24);
                header(name, input.take(length), &mut headers);
                let length = usize::from(input.byte());
                frame(&headers, input.take(length), &mut bytes);
            }
        }
    }
    bytes
}

/// The bytes of server-sent events, nearly.
fn events(input: &mut Input<'_>) -> Vec<u8> {
    const PIECES: &[&[u8]] =
        &[b"event: ", b"data: ", b"data:", b"\n", b"\r\n", b"\n\n", b": alive\n\n", b"error", b"id: 7\n"];
    let mut bytes = Vec::new();
    while !input.is_empty() {
        match PIECES.get(usize::from(input.byte() % 16)) {
            Some(piece) => bytes.extend(*piece),
            None => {
                let length = usize::from(input.byte() % 32);
                bytes.extend(input.take(length));
            }
        }
    }
    bytes
}

/// In chunks of HTTP, whose sizes follow from `seed`.
fn chunked(bytes: &[u8], seed: &mut u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(step(seed).min(rest.len()));
        out.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
        rest = behind;
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// A length from 1 to 256.
fn step(seed: &mut u32) -> usize {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    usize::from((*seed >> 24) as u8) + 1
}

/// Names and payloads of the frames, and how the stream ended.
type Outcome = (Vec<(String, Vec<u8>)>, Result<(), String>);

fn read<'a>(ending: Ending, sse: bool, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut frames, mut got) = (Frames::new(ending, sse), Vec::new());
    let take = |frames: &mut Frames, got: &mut Vec<(String, Vec<u8>)>| {
        while let Some(frame) = frames.take()? {
            got.push((frame.event_type.into_owned(), frame.payload.to_vec()));
        }
        Ok::<(), bedrock::Error>(())
    };
    let mut run = || {
        for piece in pieces {
            frames.feed(piece)?;
            take(&mut frames, &mut got)?;
        }
        frames.close()?;
        take(&mut frames, &mut got)
    };
    let end = run().map_err(|error| error.to_string());
    (got, end)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let kind = input.byte();
    let mut seed = u32::from(input.byte()) << 8 | u32::from(input.byte());
    let sse = kind >= 160;
    let plain = if sse { events(&mut input) } else { stream(&mut input) };
    let (ending, bytes) = match kind % 4 {
        0 => (Ending::Sized(plain.len() as u64), plain),
        1 => (Ending::Closed, plain),
        2 => (Ending::Chunked, chunked(&plain, &mut seed)),
        _ => (Ending::Chunked, plain),
    };
    let whole = read(ending, sse, std::iter::once(&bytes[..]));
    let mut rest = &bytes[..];
    let cuts = std::iter::from_fn(|| {
        let (piece, behind) = rest.split_at(step(&mut seed).min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    });
    for other in [read(ending, sse, bytes.chunks(1)), read(ending, sse, cuts)] {
        match (&whole.1, &other.1) {
            (Ok(()), Ok(())) => assert_eq!(whole.0, other.0),
            // What cannot be read may be noticed sooner or later, and what came before is the same.
            (Err(_), Err(_)) => assert!(whole.0.iter().zip(&other.0).all(|(one, two)| one == two)),
            ends => panic!("cutting elsewhere changes the end: {ends:?}"),
        }
    }
});

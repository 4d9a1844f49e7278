//! A whole small request to a trivial upstream on loopback, in CPU time of the calling thread (the kernel's account, so
//! that waiting does not count), and what an idle stream holds.
//!
//! Why there is a client of our own, medians on a busy two-core machine: syscalls alone 9.6–10.2 µs, ours with its
//! signature 12.7–14 µs, hyper-util without one 18.1–20.2 µs and with ours 20.8–25.6 µs: beside the syscalls about 0.3 of
//! hyper-util's cost. In some runs (one of seven or so) the median of ours is near 55 µs, its least as ever; a profile of
//! such a run shows task switches in the kernel, and why they fall there is not known yet. An idle stream holds 4.8 KiB.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a benchmark that cannot run has to stop")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outcrop_bedrock::bench::Signer;
use outcrop_bedrock::{Call, Client, CredentialsSource, Operation, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 150\r\n\
    x-amzn-RequestId: 0f0e0d0c-0b0a-0908-0706-050403020100\r\nx-amzn-bedrock-input-token-count: 10\r\n\
    x-amzn-bedrock-output-token-count: 20\r\ndate: Sat, 21 Nov 2026 08:00:00 GMT\r\n\r\n";
const ID: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const PATH: &str = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke";

/// Answers every request as soon as its 300 bytes of body are there; `hold` sends the beginning of a stream instead.
fn upstream(hold: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut begun = Vec::new();
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).expect("a socket");
            if hold {
                begun.push(begin_stream(stream));
            } else {
                std::thread::spawn(move || answer(stream));
            }
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let whole = [ANSWER, &[b'x'; 150]].concat();
    let mut buffer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        buffer.extend_from_slice(&piece[..length]);
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
            && buffer.len() >= end + 4 + 300
        {
            buffer.clear();
            if stream.write_all(&whole).is_err() {
                return;
            }
        }
    }
}

fn begin_stream(mut stream: TcpStream) -> TcpStream {
    let _ = stream.read(&mut [0; 4096]);
    let mut frame = Vec::new();
    let header = |name: &'static str, value: &'static str| {
        aws_smithy_types::event_stream::Header::new(
            name,
            aws_smithy_types::event_stream::HeaderValue::String(value.into()),
        )
    };
    let message = aws_smithy_types::event_stream::Message::new("{}")
        .add_header(header(":event-type", "messageStart"))
        .add_header(header(":message-type", "event"));
    aws_smithy_eventstream::frame::write_message_to(&message, &mut frame).expect("it fits");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\
                x-amzn-RequestId: 0f0e0d0c-0b0a-0908-0706-050403020100\r\n\r\n";
    let wire = [head.as_bytes(), format!("{:x}\r\n", frame.len()).as_bytes(), &frame, b"\r\n"].concat();
    stream.write_all(&wire).expect("a socket");
    stream
}

/// CPU time of this thread: <https://docs.kernel.org/scheduler/sched-stats.html>.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds"))
}

fn settings(address: SocketAddr) -> Settings {
    Settings {
        region: Some("eu-west-1".into()),
        endpoint_url: Some(format!("http://{address}")),
        credentials: CredentialsSource::Static {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG".into(),
            session_token: None,
        },
        ..Settings::default()
    }
}

/// One way to send the request and receive the answer: so many times, and the CPU time of one.
type Variant<'a> = (&'static str, Box<dyn Fn(u32) -> Duration + 'a>);

fn measured(runtime: &Runtime, count: u32, run: impl AsyncFn()) -> Duration {
    runtime.block_on(async {
        run().await;
        let before = cpu();
        for _ in 0..count {
            run().await;
        }
        cpu().saturating_sub(before) / count
    })
}

fn syscalls(runtime: &Runtime, address: SocketAddr, body: &Bytes) -> impl Fn(u32) -> Duration {
    let stream = runtime.block_on(tokio::net::TcpStream::connect(address)).expect("loopback");
    let stream = tokio::sync::Mutex::new(stream);
    let wire = [format!("POST {PATH} HTTP/1.1\r\nhost: x{:0>500}\r\n\r\n", 0).as_bytes(), body].concat();
    move |count| {
        measured(runtime, count, async || {
            let mut stream = stream.lock().await;
            stream.write_all(&wire).await.expect("a socket");
            black_box(stream.read(&mut [0; 4096]).await.expect("a socket"));
        })
    }
}

fn ours(runtime: &Runtime, address: SocketAddr, body: &Bytes) -> impl Fn(u32) -> Duration {
    let client = runtime.block_on(Client::connect(settings(address))).expect("settings");
    move |count| {
        measured(runtime, count, async || {
            let (operation, body) = (Operation::InvokeModel, body.clone());
            let call = Call { operation, model_id: ID, body, headers: &[] };
            black_box(client.send(&call).await.expect("an answer"));
        })
    }
}

fn hyper(
    runtime: &Runtime,
    address: SocketAddr,
    body: &Bytes,
    with_signature: bool,
) -> impl Fn(u32) -> Duration {
    let client: Hyper<HttpConnector, Full<Bytes>> = Hyper::builder(TokioExecutor::new()).build_http();
    let signer = Signer::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "eu-west-1");
    move |count| {
        measured(runtime, count, async || {
            let mut request = http::Request::post(format!("http://{address}{PATH}"))
                .header("content-type", "application/json");
            if with_signature {
                let mut value = Vec::new();
                signer.authorize(PATH, "127.0.0.1:1", body, 1_795_248_000, &mut value);
                request = request.header("authorization", value).header("x-amz-date", "20261121T080000Z");
            }
            let request = request.body(Full::new(body.clone())).expect("a request");
            let answer = client.request(request).await.expect("an answer");
            black_box(answer.into_body().collect().await.expect("a body").to_bytes());
        })
    }
}

/// All variants take turns, so that a busy machine is equally busy for each.
fn main() {
    const ROUNDS: usize = 60;
    const COUNT: u32 = 300;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = upstream(false);
    let body = Bytes::from(vec![b'x'; 300]);
    let variants: [Variant<'_>; 4] = [
        ("syscalls alone", Box::new(syscalls(&runtime, address, &body))),
        ("ours, signed", Box::new(ours(&runtime, address, &body))),
        ("hyper-util, unsigned", Box::new(hyper(&runtime, address, &body, false))),
        ("hyper-util, signed as ours", Box::new(hyper(&runtime, address, &body, true))),
    ];
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, run), times) in variants.iter().zip(&mut times) {
            times.push(run(COUNT));
        }
    }
    println!("small request, CPU of the calling thread: median and least of {ROUNDS} rounds");
    for ((name, _), times) in variants.iter().zip(&mut times) {
        times.sort_unstable();
        println!("{name:>28}: {:>10.2?} {:>10.2?}", times[ROUNDS / 2], times[0]);
    }
    idle_streams(&runtime);
}

/// Resident memory of this process in KiB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4
}

fn idle_streams(runtime: &Runtime) {
    const COUNT: usize = 400;
    let client = runtime.block_on(Client::connect(settings(upstream(true)))).expect("settings");
    let open = |count: usize| {
        runtime.block_on(async {
            let mut streams = Vec::with_capacity(count);
            for _ in 0..count {
                let call = Call {
                    operation: Operation::ConverseStream,
                    model_id: ID,
                    body: Bytes::new(),
                    headers: &[],
                };
                let mut stream = client.stream(&call).await.expect("a stream");
                stream.next().await.expect("a frame").expect("an event");
                // Sets the idle alarm, as a relay that waits does.
                let _ = tokio::time::timeout(Duration::from_micros(1), stream.next()).await;
                streams.push(stream);
            }
            streams
        })
    };
    let warm = open(20);
    let before = resident();
    let streams = open(COUNT);
    let held = resident() - before;
    println!(
        "idle streams: {:.1} KiB each, with the upstream's end in this process",
        held as f64 / COUNT as f64
    );
    drop((warm, streams));
}

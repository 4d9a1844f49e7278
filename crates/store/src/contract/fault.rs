//! A proxy in front of a database's HTTP API, for the failures that a stand-in never has.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on, and its answer back.
    Pass,
    /// It is never passed on: the connection ends.
    Cut,
    /// It is passed on and done, but its answer is lost.
    Forget,
    /// Nothing happens, until the caller gives up.
    Hang,
    /// It is answered here, with a status and a body.
    Answer(u16, String),
}

impl Fate {
    /// An error as DynamoDB writes it.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(
            r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"by the fault proxy"}}"#
        );
        Self::Answer(status, body)
    }

    /// A transaction that met another one.
    pub fn conflict() -> Self {
        let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message":"Transaction cancelled","CancellationReasons":[{"Code":"TransactionConflict","Message":"ongoing"}]}"#;
        Self::Answer(400, body.to_owned())
    }
}

#[derive(Debug)]
struct Plan {
    next: VecDeque<Fate>,
    then: Fate,
    seen: usize,
}

/// The proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// In front of `http://host:port`; lets everything pass for now.
    pub async fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let plan = Plan { next: VecDeque::new(), then: Fate::Pass, seen: 0 };
        let plan = Arc::new(Mutex::new(plan));
        let shared = Arc::clone(&plan);
        let accepting = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (plan, upstream) = (Arc::clone(&shared), upstream.clone());
                tokio::spawn(async move {
                    // Whatever breaks, breaks the connection: that is what this is for.
                    let _ = serve(caller, &upstream, &plan).await;
                });
            }
        });
        Self { addr, plan, accepting }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on.
    pub fn all(&self, fate: Fate) {
        let mut plan = self.plan.lock().unwrap();
        plan.next.clear();
        plan.then = fate;
    }

    /// The next requests, one each; afterwards they pass.
    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        let mut plan = self.plan.lock().unwrap();
        plan.next = fates.into_iter().collect();
        plan.then = Fate::Pass;
    }

    /// How many requests came so far.
    pub fn seen(&self) -> usize {
        self.plan.lock().unwrap().seen
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One request a connection: what is passed on asks the upstream to close.
async fn serve(mut caller: TcpStream, upstream: &str, plan: &Mutex<Plan>) -> std::io::Result<()> {
    let (head, body) = request(&mut caller).await?;
    let fate = {
        let mut plan = plan.lock().unwrap();
        plan.seen += 1;
        plan.next.pop_front().unwrap_or_else(|| plan.then.clone())
    };
    if let Fate::Answer(status, text) = &fate {
        let head = format!("HTTP/1.1 {status} Fault\r\ncontent-type: application/x-amz-json-1.0\r\n");
        let rest = format!("connection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        return caller.write_all((head + &rest).as_bytes()).await;
    }
    if fate == Fate::Cut {
        return Ok(());
    }
    if fate == Fate::Hang {
        return caller.read_to_end(&mut Vec::new()).await.map(drop);
    }
    let mut away = TcpStream::connect(upstream).await?;
    let line = head.find("\r\n").map_or(0, |at| at + 2);
    let head = format!("{}connection: close\r\n{}", &head[..line], &head[line..]);
    away.write_all(head.as_bytes()).await?;
    away.write_all(&body).await?;
    let mut answer = Vec::new();
    away.read_to_end(&mut answer).await?;
    if fate == Fate::Pass { caller.write_all(&answer).await } else { Ok(()) }
}

async fn request(caller: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut raw = Vec::new();
    loop {
        if caller.read_buf(&mut raw).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&raw[..end + 4]).into_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0);
        let mut body = raw.split_off(end + 4);
        while body.len() < length {
            if caller.read_buf(&mut body).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        return Ok((head, body));
    }
}

//! A real DynamoDB API on loopback, and tables of its own for each test.
//!
//! `OUTCROP_DYNAMODB_URL` says where one is; otherwise `ministack` (`pip install ministack`) is started when it is on the
//! PATH, for as long as this process lives. Without either, tests say that they were skipped; on CI they fail.

use std::{
    env,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{DynamoDb, DynamoDbSettings, tables::TableNames};

/// The server ends when its watcher's stdin does: with this process, however that ends.
struct StandIn {
    url: Option<String>,
    _watcher: Option<Child>,
}

static STAND_IN: LazyLock<StandIn> = LazyLock::new(|| match env::var("OUTCROP_DYNAMODB_URL") {
    Ok(url) if !url.is_empty() => StandIn { url: Some(url), _watcher: None },
    _ => start(),
});

/// Where the API is; `None` when there is none, which has been said aloud.
pub fn url() -> Option<&'static str> {
    STAND_IN.url.as_deref()
}

/// Settings for tables that nobody else has, not made yet.
pub fn untouched() -> Option<DynamoDbSettings> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (random, count) = (rand::random::<u32>(), COUNT.fetch_add(1, Ordering::Relaxed));
    Some(DynamoDbSettings {
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(url()?.to_owned()),
        tables: TableNames::with_prefix(format!("t{random:08x}-{count}-")),
        keep_usage: None,
    })
}

/// The same, made.
pub async fn tables() -> Option<DynamoDbSettings> {
    let settings = untouched()?;
    let made = DynamoDb::setup(&settings, false).await.unwrap();
    assert!(made.iter().all(|table| table.state.is_usable()), "{made:?}");
    Some(settings)
}

fn start() -> StandIn {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let watcher = Command::new("sh")
        .args(["-c", "command -v ministack >/dev/null || exit 1; ministack & read -r _; kill $!; wait"])
        .env("GATEWAY_PORT", port.to_string())
        .envs([("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "127.0.0.1"), ("SERVICES", "dynamodb")])
        .envs([("IOT_MTLS_ENABLED", "0"), ("LOG_LEVEL", "ERROR")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let give_up = Instant::now() + Duration::from_secs(30);
    if let Ok(mut watcher) = watcher {
        while watcher.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < give_up {
            if TcpStream::connect(addr).is_ok() {
                return StandIn { url: Some(format!("http://{addr}")), _watcher: Some(watcher) };
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    assert_ne!(env::var("CI").as_deref(), Ok("true"), "OUTCROP_DYNAMODB_URL must be set on CI");
    // Past the capture of the test runner, which swallows what passing tests print.
    let line = "\nSKIPPED: no DynamoDB API (OUTCROP_DYNAMODB_URL, or `pip install ministack`), nothing of it is tested\n";
    let _ = std::io::stderr().write_all(line.as_bytes());
    StandIn { url: None, _watcher: None }
}

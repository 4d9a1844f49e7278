//! The life of a key as its callers see it.

use std::time::Duration;

use outcrop_tests::{CLAUDE, Caller, Gateway, HASH_SECRET, Options, hello};
use store::{Cidr, KeyHasher, NewKey, Timestamp};

async fn status(caller: &Caller) -> u16 {
    caller.messages(&hello(CLAUDE, "Hi", false)).await.status
}

async fn bound(gateway: &Gateway, blocks: Vec<Cidr>) -> Caller {
    let (key, _) = gateway.key_with(|record| record.allowed_ips = Some(blocks)).await;
    Caller::new(gateway.addr, &key)
}

#[tokio::test]
async fn only_the_trusted_hop_says_whether_a_bound_key_comes_from_where_it_may() {
    let gateway = Gateway::with(Options::with_keys(&["--trusted-proxy-hops=1"])).await;
    let blocks = ["10.0.0.0/8", "2001:db8::/32"].map(|block| block.parse().unwrap()).to_vec();
    let caller = bound(&gateway, blocks).await;
    let from = |lines: &[&str]| {
        lines.iter().fold(caller.clone(), |caller, line| caller.header("x-forwarded-for", line))
    };
    for inside in [
        &["10.1.2.3"][..],
        &["6.6.6.6, 10.1.2.3"],
        &["6.6.6.6", "  10.1.2.3:567\t"],
        &["::ffff:10.1.2.3"],
        &["[2001:db8::7]:443"],
    ] {
        assert_eq!(status(&from(inside)).await, 200, "{inside:?}");
    }
    // Forged in front of what the proxy wrote, in one line or in several; or the proxy's word is no address.
    for outside in [
        &["10.1.2.3, 6.6.6.6"][..],
        &["10.1.2.3", "6.6.6.6"],
        &["10.1.2.3", "10.1.2.3", "::ffff:6.6.6.6"],
        &["10.1.2.3, unknown"],
        &["10.1.2.3,"],
        &[],
    ] {
        assert_eq!(status(&from(outside)).await, 403, "{outside:?}");
    }
    let outside = from(&["6.6.6.6"]);
    let reply = outside.messages(&hello(CLAUDE, "Hi", true)).await;
    let (kind, message) = reply.error();
    assert_eq!((reply.status, kind.as_str()), (403, "permission_error"), "{message}");
    // Wherever a key is asked for.
    let converse = format!("/model/{CLAUDE}/converse");
    for path in ["/v1/messages/count_tokens", &converse, "/v1/messages/batches"] {
        assert_eq!(outside.post(path, b"{}").await.status, 403, "{path}");
    }
    for path in ["/v1/models", "/inference-profiles"] {
        assert_eq!(outside.get(path).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn without_trusted_proxies_the_header_is_nothing() {
    let gateway = Gateway::with(Options::with_keys(&[])).await;
    let away = bound(&gateway, vec!["10.0.0.0/8".parse().unwrap()]).await;
    assert_eq!(status(&away.header("x-forwarded-for", "10.1.2.3")).await, 403);
    let local = bound(&gateway, vec!["127.0.0.1".parse().unwrap()]).await;
    assert_eq!(status(&local.header("x-forwarded-for", "6.6.6.6")).await, 200);
}

#[tokio::test]
async fn a_rotated_key_goes_on_until_its_end_and_a_deleted_one_is_refused_at_the_next_look() {
    let gateway = Gateway::with(Options::with_keys(&["--key-cache-ttl-seconds=0"])).await;
    let hasher = KeyHasher::new(HASH_SECRET.as_bytes()).unwrap();
    let (old, mut record) = gateway.key_with(|_| {}).await;
    let old = Caller::new(gateway.addr, &old);
    assert_eq!(status(&old).await, 200);
    let mut callers = vec![old];
    for overlap in [3_600_000, 1] {
        let key = NewKey::generate(&mut rand::rng());
        let rotated = record.rotated(&key, overlap, None, Timestamp::now()).unwrap();
        record = gateway.store.rotate_key(&rotated, &hasher.hash_new(&key)).await.unwrap();
        callers.push(Caller::new(gateway.addr, key.reveal()));
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    for (caller, expected) in callers.iter().zip([200, 401, 200]) {
        assert_eq!(status(caller).await, expected);
    }
    gateway.store.delete_key(&record.key_id).await.unwrap();
    for caller in &callers {
        let reply = caller.messages(&hello(CLAUDE, "Hi", false)).await;
        assert_eq!((reply.status, reply.error().1.as_str()), (401, "Invalid API key"));
    }
}

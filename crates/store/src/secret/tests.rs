use proptest::prelude::*;

use super::*;
use crate::Memory;

fn minted() -> NewKey {
    NewKey::generate(&mut rand::rng())
}

#[test]
fn a_made_key_has_the_documented_form() {
    for _ in 0..200 {
        let key = minted();
        let text = key.reveal();
        assert_eq!(text.len(), 55);
        assert_eq!(KEY_LENGTH, 55);
        let rest = text.strip_prefix("sk-oc-").unwrap();
        assert_eq!(rest.len(), 49);
        assert!(rest.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{rest}");
        assert_eq!(PresentedKey::new(text).form(), KeyForm::Minted);
        assert_eq!(key.prefix(), &text[..10]);
        assert_eq!(key.last4(), &text[51..]);
    }
}

#[test]
fn the_format_does_not_drift_between_releases() {
    struct Fixed(u8);
    impl rand::RngCore for Fixed {
        fn next_u32(&mut self) -> u32 {
            u32::from(self.0)
        }
        fn next_u64(&mut self) -> u64 {
            u64::from(self.0)
        }
        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }
    impl rand::CryptoRng for Fixed {}
    assert_eq!(
        NewKey::generate(&mut Fixed(0)).reveal(),
        "sk-oc-00000000000000000000000000000000000000000001Usy5j"
    );
    assert_eq!(
        NewKey::generate(&mut Fixed(255)).reveal(),
        "sk-oc-yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp14a8TVT"
    );
}

#[test]
fn two_keys_differ() {
    assert_ne!(minted().reveal(), minted().reveal());
}

#[test]
fn nothing_prints_a_key() {
    let key = minted();
    let presented = PresentedKey::new(key.reveal());
    let hasher = KeyHasher::new(&[7; 32]).unwrap();
    let shown = format!("{key:?} {presented:?} {hasher:?} {:?}", hasher.hash(&presented));
    assert_eq!(shown, "NewKey(..) PresentedKey(..) KeyHasher(..) KeyHash(..)");
}

#[test]
fn what_cannot_be_a_key_is_told_apart_without_the_store() {
    let long = "x".repeat(KEY_MAX + 1);
    let cut = minted().reveal()[..54].to_owned();
    let longer = format!("{}0", minted().reveal());
    let impossible = [
        "",
        "short",
        "nineteen-characters",
        "sk-oc-",
        "twenty characters and a blank",
        "ключ-ключ-ключ-ключ",
    ];
    for text in impossible.into_iter().chain([long.as_str(), &cut, &longer]) {
        let key = PresentedKey::new(text);
        assert_eq!(key.form(), KeyForm::Impossible, "{text}");
        assert!(!key.may_be_stored());
        assert!(NewKey::chosen(text).is_err());
    }
    assert_eq!(PresentedKey::new("sk-ant-api03-chosen-elsewhere").form(), KeyForm::Chosen);
}

#[test]
fn a_chosen_key_shows_less_of_itself_than_it_keeps() {
    let key = NewKey::chosen("abcdefghijklmnopqrst").unwrap();
    assert_eq!((key.prefix(), key.last4()), ("abcde", "qrst"));
    assert_eq!(NewKey::chosen(&"k".repeat(80)).unwrap().prefix().len(), 10);
}

#[test]
fn the_hash_is_hmac_sha_256_under_the_secret() {
    // RFC 4231, test case 3: the key there is 20 bytes, so the longer one of case 6 is used (131 × 0xaa).
    let hasher = KeyHasher::new(&[0xaa; 131]).unwrap();
    let hash = hasher.hash_text("Test Using Larger Than Block-Size Key - Hash Key First");
    let expected = 0x60e4_3159_1ee0_b67f_0d8a_26aa_cbf5_b77f_u128;
    assert_eq!(hash.as_bytes()[..16], expected.to_be_bytes());
}

#[test]
fn the_same_key_hashes_differently_under_another_secret() {
    let key = minted();
    let presented = PresentedKey::new(key.reveal());
    let (one, two) = (KeyHasher::new(&[1; 32]).unwrap(), KeyHasher::new(&[2; 32]).unwrap());
    assert_eq!(one.hash(&presented), one.hash_new(&key));
    assert_ne!(one.hash(&presented), two.hash(&presented));
}

#[test]
fn a_short_secret_is_refused() {
    assert!(KeyHasher::new(&[1; 31]).is_err());
    assert!(KeyHasher::new(&[1; 32]).is_ok());
}

#[tokio::test]
async fn the_secret_is_made_once_and_a_configured_one_wins() {
    let store = Memory::new();
    let key = PresentedKey::new("some-chosen-key-of-mine");
    let first = hash_secret(&store, None).await.unwrap().hash(&key);
    assert_eq!(hash_secret(&store, None).await.unwrap().hash(&key), first);
    assert_ne!(hash_secret(&Memory::new(), None).await.unwrap().hash(&key), first);
    let configured = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        hash_secret(&store, Some(configured)).await.unwrap().hash(&key),
        KeyHasher::new(configured.as_bytes()).unwrap().hash(&key)
    );
    assert!(hash_secret(&store, Some("too short")).await.is_err());
}

proptest! {
    #[test]
    fn one_changed_character_is_always_noticed(place in 6_usize..55, new in "[0-9A-Za-z]") {
        let key = minted();
        let mut text = key.reveal().to_owned();
        prop_assume!(text[place..=place] != new);
        text.replace_range(place..=place, &new);
        prop_assert_eq!(PresentedKey::new(&text).form(), KeyForm::Impossible);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = PresentedKey::new(&text).form();
        let _ = PresentedKey::new(&format!("sk-oc-{text}")).form();
    }
}

//! The key itself: how one is made, recognised and hashed. Nothing here prints one by accident.
//!
//! A key that Outcrop makes is `sk-oc-`, 43 base-62 characters (32 random bytes) and 6 base-62 characters: the CRC-32 of
//! what precedes them. The checksum is no security: it lets a damaged or invented key be told apart without
//! asking the store, and lets secret scanners recognise a real one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Error, KeyHash, Result, Store, base62};

/// How a key made by Outcrop begins.
pub const KEY_PREFIX: &str = "sk-oc-";
/// The length of a key made by Outcrop.
pub const KEY_LENGTH: usize = KEY_PREFIX.len() + RANDOM_CHARS + CHECK_CHARS;
/// The shortest key that a caller may choose.
pub const CHOSEN_KEY_MIN: usize = 20;
/// The longest key that is looked at.
pub const KEY_MAX: usize = 512;
/// The shortest hash secret, in bytes.
pub const HASH_SECRET_MIN: usize = 32;

const RANDOM_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;

/// What a presented key looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Ours, and its checksum is right.
    Minted,
    /// Not ours, but long enough to have been brought in by an operator.
    Chosen,
    /// No record can exist for it: ours with a wrong length, alphabet or checksum, too short, too long, or not
    /// printable ASCII.
    Impossible,
}

/// A key as a caller presented it. `Debug` prints nothing of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedKey {
    text: Box<str>,
    form: KeyForm,
}

impl PresentedKey {
    /// Takes the text of a header (without `Bearer `) as it is. Never fails: the master key of a
    /// development machine may have any form.
    pub fn new(text: &str) -> Self {
        Self { form: form(text), text: text.into() }
    }

    /// What it looks like.
    pub fn form(&self) -> KeyForm {
        self.form
    }

    /// Whether the store may hold a record for it; if not, asking is a waste.
    pub fn may_be_stored(&self) -> bool {
        match self.form {
            KeyForm::Minted | KeyForm::Chosen => true,
            KeyForm::Impossible => false,
        }
    }
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedKey(..)")
    }
}

/// A key on its way to the one who will use it. Shown once, by whoever calls [`NewKey::reveal`]; kept nowhere.
pub struct NewKey {
    text: String,
}

impl NewKey {
    /// A fresh key of 256 random bits.
    pub fn generate(rng: &mut impl rand::CryptoRng) -> Self {
        let mut random = [0_u8; 32];
        rng.fill_bytes(&mut random);
        let mut text = String::with_capacity(KEY_LENGTH);
        text.push_str(KEY_PREFIX);
        text.push_str(&base62::encode::<32, RANDOM_CHARS>(random));
        let check = checksum(&text);
        text.push_str(&check);
        Self { text }
    }

    /// A key that its owner brings along, from another gateway say: at least 20 printable ASCII characters without
    /// blanks. One that begins like ours must be ours.
    pub fn chosen(text: &str) -> Result<Self> {
        match form(text) {
            KeyForm::Minted | KeyForm::Chosen => Ok(Self { text: text.to_owned() }),
            KeyForm::Impossible if text.starts_with(KEY_PREFIX) => {
                Err(Error::invalid(format!("a key that begins with `{KEY_PREFIX}` must have its checksum")))
            }
            KeyForm::Impossible => Err(Error::invalid(format!(
                "a chosen key has {CHOSEN_KEY_MIN} to {KEY_MAX} printable ASCII characters and no blanks"
            ))),
        }
    }

    /// The key. The only way to read it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The first characters, for display: 10 of a key of ours, at most a quarter of a shorter one, whose
    /// beginning may be a good part of its strength.
    pub fn prefix(&self) -> &str {
        &self.text[..10.min(self.text.len() / 4)]
    }

    /// The last four characters, for display.
    pub fn last4(&self) -> &str {
        &self.text[self.text.len() - 4..]
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewKey(..)")
    }
}

/// Turns keys into hashes, under the secret of this installation.
#[derive(Clone)]
pub struct KeyHasher {
    mac: Hmac<Sha256>,
}

impl KeyHasher {
    /// Under `secret`, of at least 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self> {
        if secret.len() < HASH_SECRET_MIN {
            return Err(Error::invalid(format!("KEY_HASH_SECRET: at least {HASH_SECRET_MIN} bytes")));
        }
        let mac = Hmac::<Sha256>::new_from_slice(secret)
            .map_err(|error| Error::invalid("KEY_HASH_SECRET: unusable").caused_by(error.to_string()))?;
        Ok(Self { mac })
    }

    /// The hash of what a caller presented. Comparing two hashes tells an observer of time nothing about a key,
    /// because the hashes cannot be predicted without the secret.
    pub fn hash(&self, key: &PresentedKey) -> KeyHash {
        self.hash_text(&key.text)
    }

    /// The hash under which a new key is stored.
    pub fn hash_new(&self, key: &NewKey) -> KeyHash {
        self.hash_text(&key.text)
    }

    fn hash_text(&self, text: &str) -> KeyHash {
        let mut mac = self.mac.clone();
        mac.update(text.as_bytes());
        KeyHash::from_bytes(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(..)")
    }
}

/// The meta entry that holds a secret made by [`hash_secret`].
const SECRET_NAME: &str = "key_hash_secret";

/// The hasher of this installation: under `configured` (`KEY_HASH_SECRET`) when it is set, else under a secret that is
/// made once and kept in the store. Several programs may start at once: all of them get the same secret.
pub async fn hash_secret(store: &dyn Store, configured: Option<&str>) -> Result<KeyHasher> {
    if let Some(secret) = configured {
        return KeyHasher::new(secret.as_bytes());
    }
    let standing = match kept_hash_secret(store).await? {
        Some(secret) => secret,
        None => store.meta_put_if_absent(SECRET_NAME, &fresh_secret()).await?,
    };
    KeyHasher::new(standing.as_bytes())
}

/// The secret that [`hash_secret`] made and the store keeps, if it ever had to: for whoever brings keys to another store,
/// where it must be configured.
pub async fn kept_hash_secret(store: &dyn Store) -> Result<Option<String>> {
    store.meta_get(SECRET_NAME).await
}

fn fresh_secret() -> String {
    let mut random = [0_u8; 32];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut random);
    base62::encode::<32, RANDOM_CHARS>(random)
}

fn form(text: &str) -> KeyForm {
    if text.len() > KEY_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return KeyForm::Impossible;
    }
    if let Some(rest) = text.strip_prefix(KEY_PREFIX) {
        // All bytes are ASCII, so the cut falls between characters.
        let whole = text.len() == KEY_LENGTH
            && base62::is_base62(rest)
            && text[KEY_LENGTH - CHECK_CHARS..] == *checksum(&text[..KEY_LENGTH - CHECK_CHARS]);
        return if whole { KeyForm::Minted } else { KeyForm::Impossible };
    }
    if text.len() >= CHOSEN_KEY_MIN { KeyForm::Chosen } else { KeyForm::Impossible }
}

fn checksum(text: &str) -> String {
    base62::encode::<4, CHECK_CHARS>(crc32fast::hash(text.as_bytes()).to_be_bytes())
}

#[cfg(test)]
mod tests;

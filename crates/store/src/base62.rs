//! Fixed-width base 62: digits, capitals, small letters, most significant first.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether `text` consists of base-62 characters alone.
pub(crate) fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The big-endian number `bytes` in `WIDTH` characters. The width must hold it: 43 for 32 bytes, 6 for 4.
pub(crate) fn encode<const BYTES: usize, const WIDTH: usize>(mut bytes: [u8; BYTES]) -> String {
    let mut digits = [0_u8; WIDTH];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u16;
        for byte in &mut bytes {
            let value = (remainder << 8) | u16::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *digit = ALPHABET[usize::from(remainder)];
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// One character, evenly distributed: bytes that would favour the first characters are drawn again.
pub(crate) fn random_char(rng: &mut impl rand::RngCore) -> char {
    loop {
        let [byte, ..] = rng.next_u32().to_le_bytes();
        if usize::from(byte) < 4 * ALPHABET.len() {
            return char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_numbers_fit_their_width_and_differ_from_their_neighbours() {
        let mut neighbour = [0xff_u8; 32];
        neighbour[31] = 0xfe;
        let (largest, next) = (encode::<32, 43>([0xff; 32]), encode::<32, 43>(neighbour));
        assert_eq!(largest.len(), 43);
        assert_eq!(largest[..42], next[..42]);
        assert_ne!(largest, next);
        assert_eq!(encode::<4, 6>(u32::MAX.to_be_bytes()), "4gfFC3");
        assert_eq!(encode::<4, 6>(61_u32.to_be_bytes()), "00000z");
        assert_eq!(encode::<4, 6>(62_u32.to_be_bytes()), "000010");
    }
}

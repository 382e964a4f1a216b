//! Crockford base32 in lower case: five bits a character, without `i l o u`.

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Writes the lowest `5 * out.len()` bits of `value`, highest first.
pub(super) fn write(mut value: u128, out: &mut [u8]) {
    for place in out.iter_mut().rev() {
        *place = DIGITS[(value & 31) as usize];
        value >>= 5;
    }
}

/// Reads at most 25 characters, upper or lower case; `None` if one is not of the alphabet.
pub(super) fn read(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |value, &byte| {
        let digit = VALUES[usize::from(byte)];
        (digit < 32).then(|| value << 5 | u128::from(digit))
    })
}

/// The value of each byte as a digit; 255 for a byte that is none.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut digit = 0;
    while digit < 32 {
        values[DIGITS[digit as usize] as usize] = digit;
        values[DIGITS[digit as usize].to_ascii_uppercase() as usize] = digit;
        digit += 1;
    }
    values
};

//! Numbers as protobuf writes them.

/// A number, and the bytes that it takes.
pub(crate) fn read(bytes: &[u8]) -> (u64, usize) {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f).wrapping_shl(7 * at as u32);
        if byte & 0x80 == 0 {
            return (number, at + 1);
        }
    }
    (number, bytes.len().min(10))
}

pub(crate) fn write(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_reads_back() {
        for number in [0, 1, 127, 128, 300, u64::MAX] {
            let bytes = write(number);
            assert_eq!(read(&bytes), (number, bytes.len()));
        }
    }
}

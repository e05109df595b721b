//! Passwords for servers that other users of the machine can reach over the loopback.

use std::{fmt::Write as _, fs::File, io::Read as _};

/// 128 random bits in hexadecimal, so that they stand in an address as they are.
pub fn random() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

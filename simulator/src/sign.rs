//! Signatures of the platforms' webhooks.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::Sha256;

/// Lowercase hex of HMAC-SHA256 over the parts, one behind the other.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&str]) -> String {
    hmac::<Hmac<Sha256>>(key, parts)
}

/// Lowercase hex of HMAC-MD5 over the parts, one behind the other.
pub(crate) fn hmac_md5(key: &[u8], parts: &[&str]) -> String {
    hmac::<Hmac<Md5>>(key, parts)
}

fn hmac<M: Mac + KeyInit>(key: &[u8], parts: &[&str]) -> String {
    // HMAC takes keys of any length: the error does not occur.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return String::new() };
    for part in parts {
        mac.update(part.as_bytes());
    }
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_examples_of_rfc_2202_and_rfc_4231() {
        let parts = ["what do ya want ", "for nothing?"];
        assert_eq!(hmac_md5(b"Jefe", &parts), "750c783e6ab0b503eaa86e310a5db738");
        assert_eq!(
            hmac_sha256(b"Jefe", &parts),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}

//! What holds for sealed values.

use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::ids::Lane;

const SECRET: &str = "a very secret token";

fn lane() -> Lane {
    "patreon/main".parse().unwrap()
}

fn place(lane: &Lane) -> Place<'_> {
    Place { lane, row: "added", what: "token" }
}

fn keys(lines: &[&SecretString]) -> Keyring {
    let lines: Vec<&str> = lines.iter().map(|key| key.expose_secret()).collect();
    Keyring::parse(&lines.join("\n").into()).unwrap()
}

fn opened(keys: &Keyring, place: Place<'_>, sealed: &[u8]) -> Result<String, OpenError> {
    keys.open(place, sealed).map(|secret| secret.expose_secret().to_owned())
}

#[test]
fn what_was_sealed_opens_in_its_place_and_nowhere_else() {
    let (here, other) = (lane(), "patreon/other".parse().unwrap());
    let keys = keys(&[&new_key().unwrap()]);
    let sealed = keys.seal(place(&here), &SECRET.into()).unwrap();
    assert_eq!(opened(&keys, place(&here), &sealed).as_deref(), Ok(SECRET));
    for elsewhere in [
        place(&other),
        Place { row: "configured", ..place(&here) },
        Place { what: "refresh_token", ..place(&here) },
    ] {
        assert_eq!(opened(&keys, elsewhere, &sealed), Err(OpenError::Tampered), "{elsewhere:?}");
    }
}

#[test]
fn an_older_key_opens_and_the_first_one_seals() {
    let (old, new) = (new_key().unwrap(), new_key().unwrap());
    let lane = lane();
    let sealed = keys(&[&old]).seal(place(&lane), &SECRET.into()).unwrap();
    let both = keys(&[&new, &old]);
    assert!(both.is_old(&sealed));
    assert_eq!(opened(&both, place(&lane), &sealed).as_deref(), Ok(SECRET));
    let resealed = both.seal(place(&lane), &SECRET.into()).unwrap();
    assert!(!both.is_old(&resealed));
    assert_eq!(opened(&keys(&[&new]), place(&lane), &resealed).as_deref(), Ok(SECRET));
    let unknown = OpenError::UnknownKey(both.first());
    assert_eq!(opened(&keys(&[&old]), place(&lane), &resealed), Err(unknown));
}

#[test]
fn equal_secrets_are_sealed_differently_and_nothing_of_them_shows() {
    let (lane, key) = (lane(), new_key().unwrap());
    let keys = keys(&[&key]);
    let seal = || keys.seal(place(&lane), &SECRET.into()).unwrap();
    let (one, two) = (seal(), seal());
    assert_ne!(one, two);
    assert!(!one.windows(6).any(|part| SECRET.as_bytes().windows(6).any(|secret| secret == part)));
    assert!(!format!("{keys:?}").contains(key.expose_secret()));
}

#[test]
fn a_key_is_hex_or_base64_of_32_bytes_and_a_bad_line_is_named_but_not_shown() {
    let hex = new_key().unwrap();
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let same = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let parse = |text: &str| Keyring::parse(&text.into());
    let text = format!("# made in May\n\n{}\r\n{base64}\n", hex.expose_secret());
    assert_eq!(parse(&text).unwrap().first(), keys(&[&hex]).first());
    assert_eq!(parse(base64).unwrap().first(), parse(same).unwrap().first());
    for (text, expected) in [
        (String::new(), BadKey::None),
        ("# nothing".to_owned(), BadKey::None),
        (format!("{same}\nhunter2"), BadKey::Line(2)),
        (same.get(2..).unwrap_or_default().to_owned(), BadKey::Line(1)),
        (format!("{same}\n{base64}"), BadKey::Twice(2)),
    ] {
        let error = parse(&text).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[test]
fn an_endpoint_id_is_long_enough_for_the_configuration() {
    let id = new_endpoint_id().unwrap();
    assert_eq!(id.expose_secret().len(), 48);
    assert_ne!(id.expose_secret(), new_endpoint_id().unwrap().expose_secret());
}

proptest! {
    #[test]
    fn a_sealed_value_with_one_byte_changed_does_not_open(at in 0_usize..200, flip in 1_u8..) {
        let (lane, keys) = (lane(), keys(&[&new_key().unwrap()]));
        let mut sealed = keys.seal(place(&lane), &SECRET.into()).unwrap();
        let at = at % sealed.len();
        sealed[at] ^= flip;
        prop_assert!(opened(&keys, place(&lane), &sealed).is_err());
    }

    #[test]
    fn arbitrary_bytes_do_not_open(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let (lane, keys) = (lane(), keys(&[&new_key().unwrap()]));
        prop_assert!(opened(&keys, place(&lane), &bytes).is_err());
    }
}

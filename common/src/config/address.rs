//! Addresses, with errors that say how one is written.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::{Host, Url};

/// An address to listen on.
pub(super) mod listen {
    use std::net::SocketAddr;

    use super::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<SocketAddr, D::Error> {
        String::deserialize(from)?.parse().map_err(|_| {
            de::Error::custom(
                "is no address to listen on: write numbers, like 127.0.0.1:8080 or [::]:8080",
            )
        })
    }

    pub(in super::super) fn serialize<S: Serializer>(
        address: &SocketAddr,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        address.serialize(to)
    }
}

/// A URL that may be left out.
pub(super) mod optional_url {
    use url::Url;

    use super::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Url>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| de::Error::custom("is no URL: write https://host or https://host/path"))
    }

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(in super::super) fn serialize<S: Serializer>(
        url: &Option<Url>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        url.as_ref().map(Url::as_str).serialize(to)
    }
}

/// Whether a secret may be sent to this address, or be a part of it.
pub(super) fn keeps_a_secret(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    bare && (url.scheme() == "https" || url.scheme() == "http" && loopback)
}

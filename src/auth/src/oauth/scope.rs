//! What an app asks for. [Scope](https://spec.matrix.org/v1.19/client-server-api/#scope).

use ruma::OwnedDeviceId;

/// The longest scope, in bytes.
const MAX_SCOPE: usize = 2048;
/// The longest device id, in bytes.
const MAX_DEVICE_ID: usize = 255;
/// Full access, as it is spelled in the specification and as Element X spells it (MSC2967).
const API: [&str; 2] = ["urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*"];
/// What stands before the device's id.
const DEVICE: [&str; 2] = ["urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:"];

/// A scope that a log-in is granted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The device that is logged in.
    pub(crate) device_id: OwnedDeviceId,
    /// The tokens that were granted, as the client spelled them.
    pub(crate) text: String,
}

impl Scope {
    /// Full access for exactly one device. Tokens that mean nothing here (`openid`, say) are not granted.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_SCOPE {
            return Err("the scope is too long");
        }
        let tokens = || text.split(' ').filter(|token| !token.is_empty());
        let api = tokens().find(|token| API.contains(token)).ok_or("the scope has no urn:matrix:client:api:*")?;
        let device_of =
            |token| DEVICE.iter().find_map(|prefix| str::strip_prefix(token, *prefix).map(|id| (token, id)));
        let mut devices = tokens().filter_map(device_of);
        let (token, id) = devices.next().ok_or("the scope names no device")?;
        if devices.next().is_some() {
            return Err("the scope names more than one device");
        }
        if !(1..=MAX_DEVICE_ID).contains(&id.len()) || !id.bytes().all(is_scope_byte) {
            return Err("the device id has characters that it may not have, or is empty or too long");
        }
        Ok(Self { device_id: id.into(), text: format!("{api} {token}") })
    }
}

/// RFC 6749, section 3.3.
fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_full_access_and_exactly_one_device_in_either_spelling() {
        for (text, device, granted) in [
            (
                "urn:matrix:client:api:* urn:matrix:client:device:ABC",
                "ABC",
                "urn:matrix:client:api:* urn:matrix:client:device:ABC",
            ),
            (
                "openid  urn:matrix:org.matrix.msc2967.client:device:a-._~9 urn:matrix:org.matrix.msc2967.client:api:* email",
                "a-._~9",
                "urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:a-._~9",
            ),
        ] {
            let scope = Scope::parse(text).unwrap();
            assert_eq!((scope.device_id.as_str(), scope.text.as_str()), (device, granted));
        }
        let long = format!("urn:matrix:client:api:* urn:matrix:client:device:{}", "x".repeat(256));
        for bad in [
            "",
            "openid",
            "urn:matrix:client:api:*",
            "urn:matrix:client:device:ABC",
            "urn:matrix:client:api:read urn:matrix:client:device:ABC",
            "urn:matrix:client:api:* urn:matrix:client:device:",
            "urn:matrix:client:api:* urn:matrix:client:device:A urn:matrix:client:device:B",
            "urn:matrix:client:api:* urn:matrix:client:device:A urn:matrix:org.matrix.msc2967.client:device:A",
            "urn:matrix:client:api:* urn:matrix:client:device:A\"B",
            "urn:matrix:client:api:* urn:matrix:client:device:Ä",
            "urn:matrix:client:api:* urn:matrix:client:device:A\nB",
            &long,
        ] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
    }
}

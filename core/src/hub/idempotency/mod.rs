//! Idempotency keys, each with the message that was sent under it.

pub(super) mod client_keys;
mod publish_once;

use alloc::{boxed::Box, collections::BTreeMap, collections::BTreeSet, vec::Vec};

use serde::{Deserialize, Serialize};

use super::audience::{Audience, Delivery};
use crate::{time::Timestamp, wire::Event, wire::Payload};

/// The record of a key that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) expires: Timestamp,
    #[serde(rename = "print")]
    pub(crate) fingerprint: u64,
    pub(crate) delivery: Delivery,
}

// There is one per remembered key, 10,000 by default.
const _: () = assert!(size_of::<Known>() <= 56);

/// The keys of one hub. They are bounded, and need no timer: the first to expire go when one is
/// added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    by_key: BTreeMap<Box<str>, Known>,
    by_expiry: BTreeSet<(Timestamp, Box<str>)>,
}

impl Keys {
    pub(crate) fn find(&self, now: Timestamp, key: &str) -> Option<&Known> {
        self.by_key.get(key).filter(|known| known.expires > now)
    }

    pub(crate) fn insert(
        &mut self,
        keys_max: usize,
        expires: Timestamp,
        key: &str,
        fingerprint: u64,
        delivery: Delivery,
    ) {
        let known = Known {
            expires,
            fingerprint,
            delivery,
        };
        if let Some(old) = self.by_key.insert(key.into(), known) {
            self.by_expiry.remove(&(old.expires, key.into()));
        }
        self.by_expiry.insert((expires, key.into()));
        while self.by_key.len() > keys_max
            && let Some((_, key)) = self.by_expiry.pop_first()
        {
            self.by_key.remove(&key);
        }
    }

    pub(crate) fn set_delivery(&mut self, key: &str, delivery: Delivery) {
        if let Some(known) = self.by_key.get_mut(key) {
            known.delivery = delivery;
        }
    }

    /// The last expiry; `None` when no key is remembered.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        self.by_expiry.last().map(|&(expires, _)| expires)
    }

    pub(crate) fn to_vec(&self) -> Vec<(Box<str>, Known)> {
        self.by_key
            .iter()
            .map(|(key, known)| (key.clone(), known.clone()))
            .collect()
    }

    pub(crate) fn from_vec(keys: Vec<(Box<str>, Known)>) -> Self {
        Self {
            by_expiry: keys
                .iter()
                .map(|(key, known)| (known.expires, key.clone()))
                .collect(),
            by_key: keys.into_iter().collect(),
        }
    }
}

/// Tells messages apart, to catch mistakes rather than attacks: holders of the API key can send
/// anything anyway. FNV-1a, 64 bits.
pub(crate) fn fingerprint(audience: &Audience, event: Event<'_>, data: Payload<'_>) -> u64 {
    let Audience {
        all,
        rooms,
        conns,
        users,
        except_rooms,
        except_conns,
        except_users,
    } = audience;
    let mut print = Print::NEW;
    let mut mix = |bytes: &[u8]| print.mix(bytes);
    mix(&[u8::from(*all)]);
    for names in [rooms, users, except_rooms, except_users] {
        mix(&(names.len() as u64).to_le_bytes());
        names.iter().for_each(|name| mix(name.as_bytes()));
    }
    for ids in [conns, except_conns] {
        mix(&(ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| mix(&id.as_u64().to_le_bytes()));
    }
    mix(event.name.as_bytes());
    mix(data.as_str().as_bytes());
    if let Some(path) = event.path {
        mix(path.as_bytes());
    }
    print.0
}

/// The fingerprint of a client's publish. A client that makes two messages collide harms nobody
/// else: its keys are its own.
pub(crate) fn publish_fingerprint(room: &str, event: &str, data: Payload<'_>) -> u64 {
    let mut print = Print::NEW;
    for part in [room, event, data.as_str()] {
        print.mix(part.as_bytes());
    }
    print.0
}

struct Print(u64);

impl Print {
    const NEW: Self = Self(0xcbf2_9ce4_8422_2325);

    fn mix(&mut self, bytes: &[u8]) {
        // The length first: "ab","c" is not "a","bc".
        for &byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

//! The format of everything that is published over Redis.
//!
//! Version (1 byte), kind (1), length of the epoch (1), epoch, number (8, big-endian), body. Over
//! the bus, the sender's id takes the place of the epoch. The body of a presence notice is the
//! length of the user (2, big-endian), the user, and its meta. A message over the bus has the
//! namespace instead of the user, and its content instead of the meta.

use std::str;

use bytes::{Buf, Bytes};

/// The version of the format. Any other version is refused.
const VERSION: u8 = 1;

/// The end of valid numbers: scripts count in doubles.
const NUMBER_END: u64 = 1 << 53;

/// Kinds of envelopes. Scripts know them by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A message of a room.
    Message = 1,
    /// A message for an audience.
    Audience = 2,
    /// A user came.
    Joined = 3,
    /// A user left.
    Left = 4,
    /// A message between nodes.
    Bus = 5,
    /// A probe of the connections of a node.
    Probe = 6,
}

impl Kind {
    const fn has_user(self) -> bool {
        matches!(self, Self::Joined | Self::Left | Self::Bus)
    }
}

/// A decoded envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The kind.
    pub kind: Kind,
    /// The epoch; over the bus the sender.
    pub epoch: Box<str>,
    /// The offset, or the number of the notice.
    pub number: u64,
    /// The user of a notice; over the bus the namespace; else empty.
    pub user: Box<str>,
    /// The rest.
    pub body: Bytes,
}

/// An error in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A part is missing.
    #[error("the envelope ends early")]
    Short,
    /// A version that is not known.
    #[error("version {0} of the envelope is not known")]
    Version(u8),
    /// A kind that is not known.
    #[error("kind {0} of the envelope is not known")]
    Kind(u8),
    /// A text that is not UTF-8, or an epoch without a letter.
    #[error("a text of the envelope is none")]
    Text,
    /// A number of 2<sup>53</sup> or above.
    #[error("a number of the envelope is out of range")]
    Number,
    /// More bytes than the envelope, or a part of it, may have.
    #[error("the envelope is too long")]
    Long,
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// Work: bounded by the head; the body stays where it is.
    ///
    /// # Errors
    ///
    /// When the bytes are no envelope, or more than `bytes_max`.
    pub fn decode(mut bytes: Bytes, bytes_max: usize) -> Result<Self, WireError> {
        if bytes.len() > bytes_max {
            return Err(WireError::Long);
        }
        let mut rest = &bytes[..];
        let [version, kind, length] = *take(&mut rest, 3)? else {
            return Err(WireError::Short);
        };
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let kind = match kind {
            1 => Kind::Message,
            2 => Kind::Audience,
            3 => Kind::Joined,
            4 => Kind::Left,
            5 => Kind::Bus,
            6 => Kind::Probe,
            other => return Err(WireError::Kind(other)),
        };
        let epoch = text(take(&mut rest, length.into())?)?;
        if epoch.is_empty() {
            return Err(WireError::Text);
        }
        let number = take(&mut rest, 8)?.iter();
        let number = number.fold(0, |number, byte| number << 8 | u64::from(*byte));
        if number >= NUMBER_END {
            return Err(WireError::Number);
        }
        let user = if kind.has_user() {
            let [high, low] = *take(&mut rest, 2)? else {
                return Err(WireError::Short);
            };
            text(take(&mut rest, usize::from(high) << 8 | usize::from(low))?)?
        } else {
            Box::default()
        };
        let head = bytes.len() - rest.len();
        bytes.advance(head);
        Ok(Self {
            kind,
            epoch,
            number,
            user,
            body: bytes,
        })
    }

    /// Writes an envelope. For messages and notices, scripts do this.
    ///
    /// # Errors
    ///
    /// When the epoch is empty or over 255 bytes, the user over 65,535 bytes, or the number out of
    /// range.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let epoch = self.epoch.as_bytes();
        let length = u8::try_from(epoch.len()).map_err(|_| WireError::Long)?;
        if length == 0 {
            return Err(WireError::Text);
        }
        if self.number >= NUMBER_END {
            return Err(WireError::Number);
        }
        let mut bytes = Vec::with_capacity(16 + epoch.len() + self.user.len() + self.body.len());
        bytes.extend([VERSION, self.kind as u8, length]);
        bytes.extend(epoch);
        bytes.extend(self.number.to_be_bytes());
        if self.kind.has_user() {
            let user = u16::try_from(self.user.len()).map_err(|_| WireError::Long)?;
            bytes.extend(user.to_be_bytes());
            bytes.extend(self.user.as_bytes());
        }
        bytes.extend(&self.body);
        Ok(bytes)
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], WireError> {
    let (taken, after) = rest.split_at_checked(length).ok_or(WireError::Short)?;
    *rest = after;
    Ok(taken)
}

fn text(bytes: &[u8]) -> Result<Box<str>, WireError> {
    str::from_utf8(bytes)
        .map(Into::into)
        .map_err(|_| WireError::Text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Message),
            Just(Kind::Audience),
            Just(Kind::Joined),
            Just(Kind::Left),
            Just(Kind::Bus),
            Just(Kind::Probe),
        ]
    }

    fn envelopes() -> impl Strategy<Value = Envelope> {
        let body = prop::collection::vec(any::<u8>(), 0..64);
        (kinds(), "\\PC{1,20}", 0..NUMBER_END, "\\PC{0,20}", body).prop_map(
            |(kind, epoch, number, user, body)| Envelope {
                kind,
                epoch: epoch.into(),
                number,
                user: if kind.has_user() {
                    user.into()
                } else {
                    Box::default()
                },
                body: body.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn an_envelope_comes_back(envelope in envelopes()) {
            let bytes = Bytes::from(envelope.encode().unwrap());
            prop_assert_eq!(Envelope::decode(bytes.clone(), bytes.len()), Ok(envelope));
            prop_assert_eq!(Envelope::decode(bytes.clone(), bytes.len() - 1), Err(WireError::Long));
        }

        #[test]
        fn an_envelope_that_is_cut_in_its_head_is_short(envelope in envelopes(), cut in 0_usize..1000) {
            let bytes = Bytes::from(envelope.encode().unwrap());
            let head = bytes.len() - envelope.body.len();
            let cut = cut % head;
            prop_assert_eq!(Envelope::decode(bytes.slice(..cut), 1000), Err(WireError::Short));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = Bytes::from(bytes);
            if let Ok(envelope) = Envelope::decode(bytes.clone(), 80) {
                // Nothing is lost or made up: what was read is written as it was.
                prop_assert_eq!(envelope.encode().unwrap(), bytes);
            }
        }

        #[test]
        fn a_damaged_envelope_is_read_without_a_panic(
            envelope in envelopes(), at in 0_usize..1000, byte in any::<u8>(),
        ) {
            let mut bytes = envelope.encode().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let bytes = Bytes::from(bytes);
            if let Ok(envelope) = Envelope::decode(bytes.clone(), 1000) {
                prop_assert_eq!(envelope.encode().unwrap(), bytes);
            }
        }
    }

    #[test]
    fn foreign_bytes_are_told_apart() {
        let decode = |bytes: &'static [u8]| Envelope::decode(Bytes::from_static(bytes), 100);
        assert_eq!(decode(b""), Err(WireError::Short));
        assert_eq!(decode(b"{\"event\":1}"), Err(WireError::Version(b'{')));
        assert_eq!(decode(&[1, 9, 1, b'e']), Err(WireError::Kind(9)));
        assert_eq!(decode(&[1, 1, 0]), Err(WireError::Text));
        assert_eq!(decode(&[1, 1, 1, 0xff]), Err(WireError::Text));
        let number = [1, 1, 1, b'e', 0, 0x20, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            Envelope::decode(Bytes::copy_from_slice(&number), 100),
            Err(WireError::Number)
        );
    }
}

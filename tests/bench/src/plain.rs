//! The least protocol that has rooms: one letter, then the operand. The peers that are only a
//! transport (the floor, the naive server, npm `ws`) speak it, so that they pay for no parser.
//!
//! | client | server |
//! |---|---|
//! | `+room` joins | `+` |
//! | `-room` leaves | `-` |
//! | `!room payload` publishes, also to the publisher when it is a member | `!payload` to each member |
//! | `?payload` asks | `?` |

/// A message of a client.
pub enum Request<'a> {
    Join(&'a str),
    Leave(&'a str),
    Publish { room: &'a str, payload: &'a str },
    Ask,
}

impl<'a> Request<'a> {
    /// Reads a message; nothing when it is not of this protocol.
    pub fn read(text: &'a str) -> Option<Self> {
        let (letter, operand) = text.split_at_checked(1)?;
        Some(match letter {
            "+" => Self::Join(operand),
            "-" => Self::Leave(operand),
            "?" => Self::Ask,
            "!" => {
                let (room, payload) = operand.split_once(' ')?;
                Self::Publish { room, payload }
            }
            _ => return None,
        })
    }
}

//! Ids that nobody else has.

/// An id of 16 letters, 80 bits.
pub(crate) fn random_id() -> Box<str> {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0; 16];
    // A system without randomness has no ids to give out.
    #[allow(clippy::expect_used)]
    getrandom::fill(&mut bytes).expect("randomness of the system");
    let letters = bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    letters.collect::<String>().into()
}

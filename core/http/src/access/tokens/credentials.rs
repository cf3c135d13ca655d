//! The token of an upgrade request.

use alloc::{
    borrow::Cow,
    string::{String, ToString},
};

use percent_encoding::percent_decode_str;

use super::{Tokens, refusal::TokenRefusal};
use crate::request::{Headers, Request};

/// Credentials in an upgrade request.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token, not verified yet.
    Token(String),
    /// No token, and the client may connect without one.
    Anonymous,
    /// No token yet: the client must send `$auth` first.
    Unidentified,
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Anonymous => "Anonymous",
            Self::Unidentified => "Unidentified",
        })
    }
}

impl Tokens {
    /// Reads the credentials of an upgrade request: `Authorization: Bearer TOKEN`, an entry
    /// `bearer.TOKEN` among the subprotocols, or `?token=TOKEN`. They are ignored where tokens are
    /// neither verified nor needed.
    ///
    /// # Errors
    ///
    /// When the request has two different tokens.
    pub fn credentials<H: Headers>(
        &self,
        request: &Request<'_, H>,
    ) -> Result<Credentials, TokenRefusal> {
        let nothing = if self.lets_anonymous_in() {
            Credentials::Anonymous
        } else {
            Credentials::Unidentified
        };
        if !self.is_on() {
            return Ok(nothing);
        }
        let mut found: Option<Cow<'_, str>> = None;
        let mut see = |token: Cow<'_, str>| match &found {
            Some(other) if *other != token => Err(TokenRefusal::Several),
            Some(_) => Ok(()),
            None => {
                found = Some(token.into_owned().into());
                Ok(())
            }
        };
        for value in request.headers.values("authorization") {
            if let Some((scheme, token)) = value.split_once(' ')
                && scheme.eq_ignore_ascii_case("bearer")
            {
                see(token.trim().into())?;
            }
        }
        for list in request.headers.values("sec-websocket-protocol") {
            let items = list.split(',').map(str::trim);
            for token in items.filter_map(|item| item.strip_prefix(SUBPROTOCOL_PREFIX)) {
                see(token.into())?;
            }
        }
        let pairs = request.query.split('&');
        for token in pairs.filter_map(|pair| pair.strip_prefix("token=")) {
            see(percent_decode_str(token).decode_utf8_lossy())?;
        }
        Ok(found.map_or(nothing, |token| Credentials::Token(token.to_string())))
    }
}

/// The prefix of a subprotocol that carries a token. Such a subprotocol is never selected.
const SUBPROTOCOL_PREFIX: &str = "bearer.";

//! Reading of tokens without verification.

use alloc::{string::String, vec::Vec};

use crate::{error::TokenError, json::JsonError, verifier::decode};

/// The parts of an unverified token as JSON, for people to read. Anybody can have written them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unverified {
    /// The header.
    pub header: String,
    /// The claims.
    pub claims: String,
}

impl Unverified {
    /// Splits and decodes a token.
    ///
    /// # Errors
    ///
    /// When it is not three parts of base64, or the header or the claims are not JSON.
    pub fn read(token: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, _] = parts[..] else {
            return Err(TokenError::Shape);
        };
        let json = |part, text| {
            let fault = JsonError::Syntax;
            let wrong = || TokenError::Json { part, fault };
            let json = String::from_utf8(decode(text)?).map_err(|_| wrong())?;
            let value: serde_json::Value = serde_json::from_str(&json).map_err(|_| wrong())?;
            Ok(alloc::format!("{value}"))
        };
        Ok(Self {
            header: json("header", header)?,
            claims: json("claims", claims)?,
        })
    }
}

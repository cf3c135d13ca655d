//! Reasons for which requests and connections are refused, as operators count them.

/// Declares the reasons, each with the value of its label.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $label:literal;)*) => {
        /// A reason for which a host refuses a request or a connection: the label of its
        /// `roomcast_refused_total`.
        ///
        /// The set is fixed: nothing that a client sends becomes a label.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// All reasons, each at the place that [`index`](Self::index) gives.
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$reason),*];

            /// The value of the label.
            pub const fn as_str(self) -> &'static str {
                [$($label),*][self.index()]
            }

            /// The place in [`ALL`](Self::ALL), for a table of counters.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    /// The page's origin is not allowed.
    Origin = "origin";
    /// The `Host` is a name under which a server on loopback does not answer.
    Host = "host";
    /// There is no such namespace.
    Namespace = "namespace";
    /// No API key, or a wrong one.
    Key = "key";
    /// The API key does not have the scope of the call.
    Scope = "scope";
    /// The API has no key, and does not allow the call without one.
    KeylessApi = "keyless_api";
    /// The client has no token, and needs one.
    TokenMissing = "token_missing";
    /// The request has two different tokens.
    TokenSeveral = "token_several";
    /// No published keys could be fetched yet.
    TokenUnavailable = "token_unavailable";
    /// The token is malformed, or too long.
    TokenMalformed = "token_malformed";
    /// The header of the token has something that is refused.
    TokenHeader = "token_header";
    /// The algorithm of the token is refused, or differs from that of its key.
    TokenAlgorithm = "token_algorithm";
    /// No key fits the token.
    TokenUnknownKey = "token_unknown_key";
    /// The signature of the token is wrong.
    TokenSignature = "token_signature";
    /// A claim of the token is missing or wrong.
    TokenClaims = "token_claims";
    /// The token has expired.
    TokenExpired = "token_expired";
    /// The token is not valid yet.
    TokenNotYet = "token_not_yet";
    /// The token is from another issuer.
    TokenIssuer = "token_issuer";
    /// The token is for another audience.
    TokenAudience = "token_audience";
    /// The grants of the token are wrong.
    TokenGrants = "token_grants";
    /// The user's earlier tokens were withdrawn.
    TokenWithdrawn = "token_withdrawn";
    /// The backend of `[ask]` does not allow it.
    Backend = "backend";
    /// The backend of `[ask]` cannot be asked.
    BackendUnavailable = "backend_unavailable";
    /// Too many requests wait for the backend of `[ask]`.
    BackendOverloaded = "backend_overloaded";
    /// The policy of the room does not allow it.
    Policy = "policy";
    /// A header field names a user where it may not, or an invalid user.
    UserHeader = "user_header";
    /// The server has as many connections as it may have.
    Connections = "connections";
    /// The address has as many connections as it may have.
    ConnectionsPerAddress = "connections_per_address";
    /// The user has as many connections as it may have.
    ConnectionsPerUser = "connections_per_user";
    /// The server has as many namespaces as it may have.
    Namespaces = "namespaces";
    /// The server is shutting down.
    Draining = "draining";
    /// The application refuses the connection.
    Application = "application";
    /// The connection sends more than its rate.
    Rate = "rate";
    /// All connections of the user together send more than the user's rate.
    RatePerUser = "rate_per_user";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_place_and_word() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            let same = |other: &Reason| other.as_str() == reason.as_str();
            assert_eq!(Reason::ALL.iter().filter(|other| same(other)).count(), 1);
        }
    }
}

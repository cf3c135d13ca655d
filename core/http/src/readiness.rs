//! The readiness of a server, for load balancers.

/// The readiness of a server for new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// New connections should come here.
    Ready,
    /// The server is shutting down.
    Draining,
    /// The server cannot reach its relay: publishes fail.
    Unrelayed,
}

impl Readiness {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Draining, Self::Unrelayed];

    /// The body of `GET /readyz`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ready => "ready\n",
            Self::Draining => "draining\n",
            Self::Unrelayed => "the relay cannot be reached\n",
        }
    }

    /// The status of `GET /readyz`.
    pub const fn status(self) -> u16 {
        match self {
            Self::Ready => 200,
            Self::Draining | Self::Unrelayed => 503,
        }
    }

    /// Parses the state from an answer; `None` when the answer is not from such a server.
    pub fn of(status: u16, body: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.status() == status && state.text().trim_end() == body.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_is_made() {
        for state in Readiness::ALL {
            assert_eq!(Readiness::of(state.status(), state.text()), Some(state));
        }
        assert_eq!(Readiness::of(502, "ready\n"), None);
        assert_eq!(Readiness::of(200, "<html>"), None);
    }
}

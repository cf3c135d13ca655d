//! Lines of webhooks in virtual time.

mod judge;

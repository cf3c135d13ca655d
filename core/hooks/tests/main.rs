//! Lines of webhooks and questions in virtual time.

mod asked;
mod asked_rules;
mod judge;

//! Lines of webhooks and questions in virtual time.

mod asked;
mod asked_poison;
mod asked_rules;
mod judge;

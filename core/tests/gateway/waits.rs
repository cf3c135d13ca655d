//! Guards and hooks that wait, and what continues after work.

mod connect;
mod deadlines;
mod guards;
mod panics;
mod rooms;
mod then;

const INTERNAL: &str = r#""error":{"code":"internal","message":"internal server error (logged)"}}"#;

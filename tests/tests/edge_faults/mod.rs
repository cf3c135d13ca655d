//! The platform fails or reaches its limits: a failed action has no effect, its client is told, and
//! everything else continues.

mod access;
mod ask;
mod breaking;
mod histories;
mod hooks;
mod jwks;
mod limits;
mod saving;
mod tokens;
mod world;

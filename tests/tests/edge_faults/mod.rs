//! The platform fails under the worker, or is at its limits: an action that could not be done has
//! no effect, whoever asked for it is told, and everything else goes on.

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

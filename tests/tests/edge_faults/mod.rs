//! The platform fails under the worker, or is at its limits: nothing of what could not be done has
//! happened, whoever asked for it is told, and everything else goes on.

mod access;
mod breaking;
mod histories;
mod limits;
mod saving;
mod world;

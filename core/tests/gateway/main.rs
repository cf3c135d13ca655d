//! Applications before the hub: this input, exactly these commands, nothing left over.

mod answers;
mod hooks;
mod router;
mod stage;

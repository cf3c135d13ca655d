//! Applications in front of a hub: each input leads to exactly these commands.

mod answers;
mod asked;
mod entry;
mod faults;
mod hooks;
mod kept;
mod merged;
mod raw;
mod router;
mod stage;
mod tells;
mod users;
mod waits;
mod wall_clock;
mod work;

//! Applications on the worker, under the runtime of Cloudflare Workers.

mod applications;
mod doors;
mod faults;
mod presence;
mod work;
mod world;

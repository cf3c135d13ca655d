//! All tests of this package's public functions in one program: it is linked once.

mod forge;
mod hostile;
mod hostile_tokens;
mod jwks;
mod keys;
mod panics;
mod peers;
mod vectors;

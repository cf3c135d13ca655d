//! All tests of this package from outside in one program: it is linked once.

#[cfg(feature = "cli")]
mod bench;
mod features;
#[cfg(feature = "store")]
mod gateways;
#[cfg(all(feature = "cli", feature = "relay"))]
mod relay;
#[cfg(feature = "cli")]
mod settings;

//! All external tests of this package in one program, which is linked once.

#[cfg(feature = "cli")]
mod bench;
mod features;
#[cfg(feature = "store")]
mod gateways;
#[cfg(all(feature = "cli", feature = "relay"))]
mod relay;
#[cfg(feature = "cli")]
mod settings;

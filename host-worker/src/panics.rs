//! Log of panics, written before the module traps.

use std::sync::Once;

/// Logs every panic from here on.
pub(crate) fn log() {
    static ONCE: Once = Once::new();
    #[cfg(target_arch = "wasm32")]
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            worker::console_error!("roomcast: {panic}");
        }));
    });
    #[cfg(not(target_arch = "wasm32"))]
    ONCE.call_once(|| {}); // the usual hook is there
}

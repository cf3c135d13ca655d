//! Sleep: forgetting everything, and being restored from what was saved.

use std::fmt;

use roomcast_core::{App, Gateway, gateway::AppState, hub::ConnState};

use super::Core;
use crate::driver::DriverError;

/// Sleep of a [`Core`] between two ops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sleep {
    /// Nothing: the hubs stay in memory.
    #[default]
    Never,
    /// It saves the whole state of its hubs as text, forgets them, and restores them.
    Saved,
    /// The same, but of a connection it has only what it wrote down at the last
    /// [`Command::Persist`](roomcast_core::Command::Persist).
    Persisted,
}

impl<G: Gateway> Core<G> {
    /// Forgets an application and restores it from text.
    pub(super) fn nap(&mut self, namespace: &str) -> Result<(), DriverError> {
        // What is under way keeps a host awake.
        let Some(app) = self.apps.get(namespace).filter(|app| app.is_idle()) else {
            return Ok(());
        };
        let broken = |fault: &dyn fmt::Display| DriverError::Command(fault.to_string());
        let state = serde_json::to_string(&app.state()).map_err(|fault| broken(&fault))?;
        let mut state: serde_json::Value =
            serde_json::from_str(&state).map_err(|fault| broken(&fault))?;
        if self.sleep == Sleep::Persisted {
            let rooms = self.disk.rooms(namespace).map(serde_json::from_str);
            let rooms: Result<Vec<serde_json::Value>, _> = rooms.collect();
            state["hub"]["rooms"] = rooms.map_err(|fault| broken(&fault))?.into();
        }
        let state: AppState = serde_json::from_value(state).map_err(|fault| broken(&fault))?;
        let mut conns: Vec<ConnState> = Vec::new();
        for (home, id) in self.live.keys().filter(|(home, _)| **home == *namespace) {
            let saved = match self.sleep {
                Sleep::Persisted => self
                    .persisted
                    .get(&(home.clone(), *id))
                    .cloned()
                    .ok_or_else(|| broken(&format!("{id} was never persisted")))?,
                Sleep::Never | Sleep::Saved => {
                    let state = app.hub().conn_state(*id).map_err(|fault| broken(&fault))?;
                    serde_json::to_string(&state).unwrap_or_default()
                }
            };
            conns.push(serde_json::from_str(&saved).map_err(|fault| broken(&fault))?);
        }
        let gateway = (self.gateways)(namespace);
        let app = App::restore(self.config(namespace), gateway, state, conns)
            .map_err(|fault| broken(&fault))?;
        self.apps.insert(namespace.into(), app);
        Ok(())
    }
}

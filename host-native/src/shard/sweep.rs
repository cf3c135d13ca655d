//! The sweep: what is due, for all connections together instead of a timer each.

use std::rc::Rc;

use roomcast_core::CloseCode;

use super::Shard;
use crate::socket::{Socket, Stage};

impl Shard {
    /// What is done a few times a second, for all connections together instead of a timer each.
    pub(crate) fn sweep(self: &Rc<Self>) {
        for namespace in self.namespaces() {
            namespace.timeout(self);
        }
        for socket in self.sockets() {
            self.sweep_socket(&socket);
        }
        self.retire_namespaces();
        self.ebb();
        self.shared.flush_record();
    }

    fn sweep_socket(&self, socket: &Socket) {
        let (now, settings) = (self.now(), &self.shared.settings);
        match socket.stage() {
            Stage::Open => {
                if let Some(since) = socket.blocked_since()
                    && now.saturating_since(since) >= settings.write_stall
                {
                    socket.discard();
                    self.ask_close(socket, CloseCode::TOO_SLOW, "too slow: nothing was taken");
                } else if let Some(since) = socket.message_since.get()
                    && now.saturating_since(since) >= settings.message_time
                {
                    self.ask_close(socket, CloseCode::POLICY, "a message took too long");
                }
            }
            Stage::Closing(since) => {
                if now.saturating_since(since) >= settings.close_wait {
                    socket.set_stage(Stage::Dead);
                }
            }
            Stage::Done => {
                if let Some(since) = socket.blocked_since()
                    && now.saturating_since(since) >= settings.close_wait
                {
                    socket.set_stage(Stage::Dead);
                }
            }
            Stage::Dead => {}
        }
    }

    /// Ends namespaces that have nothing left to lose.
    fn retire_namespaces(&self) {
        let now = self.now();
        self.namespaces.borrow_mut().retain(|_, namespace| {
            let idle = namespace.ask(|hub| hub.is_idle(now));
            if idle {
                let next = namespace.ask(|hub| hub.state().next_serial());
                self.serial.set(self.serial.get().max(next));
                self.shared.namespaces.release();
            }
            !idle
        });
    }
}

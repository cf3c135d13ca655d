//! A router as a gateway: which handlers, guards and hooks run.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use super::{Progress, Request, Router, admission};
use crate::gateway::{
    Admission, Context, Failure, Gateway, NamespaceContext, NowOrLater, Outcome, Rejection,
    RoomAction, UpgradeRequest,
};
use crate::wire::{DisconnectReason, Frame, Message};

/// Runs the hooks of one kind on the state.
macro_rules! run {
    ($self:ident.$hooks:ident, |$hook:ident, $state:ident| $call:expr) => {
        $self.changed |= !$self.functions.hooks.$hooks.is_empty();
        let $state = &mut $self.state;
        $self
            .progress
            .run(&mut $self.functions.hooks.$hooks, |$hook| $call);
    };
}

impl<S> Gateway for Router<S> {
    fn upgrade(
        &self,
        request: &UpgradeRequest<'_>,
    ) -> NowOrLater<Result<Admission, Rejection>> {
        admission::of(&self.functions.hooks, request, &self.state)
    }

    fn connect(&mut self, cx: &mut Context<'_>) -> Result<(), Rejection> {
        self.changed |= !self.functions.hooks.connect.is_empty();
        let mut hooks = self.functions.hooks.connect.iter_mut();
        hooks.try_for_each(|hook| hook(cx, &mut self.state))
    }

    fn admit(
        &mut self,
        cx: &mut Context<'_>,
        action: RoomAction,
        room: &str,
    ) -> Result<(), Failure> {
        let mut guards = self.functions.hooks.room_guards.iter();
        guards.try_for_each(|guard| guard(cx, &self.state, action, room))
    }

    fn message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        let functions = &mut self.functions;
        let mut params = Vec::new();
        let (mut own, mut route) = (&[][..], None);
        if let Some(event) = functions.events.get_mut(&*message.event) {
            (own, route) = (&event.guards, event.plain.as_mut());
            let room = message.room.as_deref();
            let fitting = event.paths.iter_mut().find_map(|(pattern, route)| {
                let params = pattern.fit(room?)?;
                Some((params, route))
            });
            if let Some((found, by_path)) = fitting {
                (params, route) = (found, Some(by_path));
            }
        }
        for guard in functions.guards.iter().chain(own) {
            if guard.is_before(route.as_deref())
                && let Err(failure) = (guard.call)(cx, &self.state, message)
            {
                return Outcome::Fail(failure);
            }
        }
        let Some(route) = route.or(functions.fallback.as_mut()) else {
            return Outcome::Unclaimed;
        };
        self.changed |= route.stateful;
        let params = &params;
        (route.call)(cx, &mut self.state, &Request { message, params })
    }

    fn is_raw(&self) -> bool {
        self.functions.frame.is_some()
    }

    fn frame(&mut self, cx: &mut Context<'_>, frame: Frame<'_>) {
        if let Some((handler, _)) = &mut self.functions.frame {
            self.changed = true;
            handler(cx, &mut self.state, frame);
        }
    }

    fn joined(&mut self, cx: &mut Context<'_>, room: &str) {
        run!(self.joined, |hook, state| hook(cx, state, room));
    }

    fn left(&mut self, cx: &mut Context<'_>, room: &str) {
        run!(self.left, |hook, state| hook(cx, state, room));
    }

    fn disconnect(&mut self, cx: &mut Context<'_>, reason: DisconnectReason) {
        run!(self.disconnect, |hook, state| hook(cx, state, reason));
    }

    fn present(&mut self, namespace: &mut NamespaceContext<'_>, room: &str, user: &str) {
        run!(self.present, |hook, state| hook(
            namespace, state, room, user
        ));
    }

    fn absent(&mut self, namespace: &mut NamespaceContext<'_>, room: &str, user: &str) {
        run!(self.absent, |hook, state| hook(
            namespace, state, room, user
        ));
    }

    fn wants_presence(&self) -> bool {
        !(self.functions.hooks.present.is_empty() && self.functions.hooks.absent.is_empty())
    }

    fn schedules(&self) -> Vec<Duration> {
        self.functions
            .schedules
            .iter()
            .map(|(period, _)| *period)
            .collect()
    }

    fn tick(&mut self, namespace: &mut NamespaceContext<'_>, schedule: usize) {
        if let Some((_, hook)) = self.functions.schedules.get_mut(schedule) {
            self.changed = true;
            hook(namespace, &mut self.state);
        }
    }

    fn drain(&mut self, namespace: &mut NamespaceContext<'_>) {
        run!(self.drain, |hook, state| hook(namespace, state));
    }

    fn take_unfinished(&mut self) -> bool {
        let unfinished = self.progress.begun < self.progress.of;
        if !unfinished {
            self.progress = Progress::default();
        }
        unfinished
    }

    fn is_persistent(&self) -> bool {
        self.persist.is_some()
    }

    fn events(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (name, event) in &self.functions.events {
            all.extend(event.plain.iter().map(|_| String::from(&**name)));
            let paths = event.paths.iter();
            all.extend(paths.map(|(pattern, _)| alloc::format!("{name} {pattern}")));
        }
        all.extend(
            self.functions
                .fallback
                .iter()
                .map(|_| "anything else".into()),
        );
        if self.is_raw() {
            all = alloc::vec!["frames without envelopes".into()];
        }
        all
    }

    fn save(&self) -> Option<String> {
        let persist = self.persist.as_ref()?;
        persist.save(&self.state)
    }

    fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed) && self.persist.is_some()
    }

    fn restore(&mut self, saved: &str) -> bool {
        // State that is kept no longer is dropped.
        let Some(persist) = &self.persist else {
            return true;
        };
        persist.load(saved, &mut self.state)
    }
}

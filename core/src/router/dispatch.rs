//! A router as a gateway: the choice of the handlers, guards and hooks that run.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{any::Any, time::Duration};

use super::{
    Progress, Request, Router, admission, then::Connecting, then::Next, then::check, then::reject,
};
use crate::gateway::{
    Admission, Context, Decision, Failure, Gateway, NamespaceContext, NowOrLater, Outcome,
    Rejection, RoomAction, UpgradeRequest,
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

impl<S: 'static> Gateway for Router<S> {
    fn upgrade(&self, request: &UpgradeRequest<'_>) -> NowOrLater<Result<Admission, Rejection>> {
        admission::of(&self.functions.hooks, request, &self.state)
    }

    fn connect(&mut self, cx: &mut Context<'_>) -> Decision<Rejection> {
        self.changed |= !self.functions.connect.is_empty();
        let hooks = self.functions.connect.iter_mut().enumerate();
        for (at, hook) in hooks.skip(cx.passed()) {
            match hook(cx, &mut self.state) {
                Connecting::Decided(NowOrLater::Now(Ok(()))) => {}
                Connecting::Decided(NowOrLater::Now(Err(rejection))) => {
                    return Decision::Refuse(rejection);
                }
                Connecting::Decided(NowOrLater::Later(work)) => {
                    return Decision::Later(cx.spawn_check(at + 1, check(work, reject)));
                }
                Connecting::Then(then) => return Decision::Later(then.begin(cx, at + 1)),
            }
        }
        Decision::Allow
    }

    fn resume(&mut self, cx: &mut Context<'_>, next: Box<dyn Any>, result: &str) -> Outcome {
        let Ok(next) = next.downcast::<Next<S>>() else {
            return Outcome::Fail(Failure::internal("the work is of another router"));
        };
        self.changed = true;
        let passed = cx.passed();
        next(cx, &mut self.state, result).begin(cx, passed)
    }

    fn admit(&mut self, cx: &mut Context<'_>, action: RoomAction, room: &str) -> Decision<Failure> {
        let guards = self.functions.hooks.room_guards.iter().enumerate();
        for (at, guard) in guards.skip(cx.passed()) {
            match guard(cx, &self.state, action, room) {
                NowOrLater::Now(Ok(())) => {}
                NowOrLater::Now(Err(failure)) => return Decision::Refuse(failure),
                NowOrLater::Later(work) => {
                    let work = check(work, Outcome::Fail);
                    return Decision::Later(cx.spawn_check(at + 1, work));
                }
            }
        }
        Decision::Allow
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
        let guards = functions.guards.iter().chain(own).enumerate();
        for (at, guard) in guards.skip(cx.passed()) {
            if !guard.is_before(route.as_deref()) {
                continue;
            }
            match (guard.call)(cx, &self.state, message) {
                NowOrLater::Now(Ok(())) => {}
                NowOrLater::Now(Err(failure)) => return Outcome::Fail(failure),
                NowOrLater::Later(work) => {
                    let work = check(work, Outcome::Fail);
                    return Outcome::Later(cx.spawn_check(at + 1, work));
                }
            }
        }
        let Some(route) = route.or(functions.fallback.as_mut()) else {
            return Outcome::Unclaimed;
        };
        self.changed |= route.stateful;
        let params = &params;
        let answer = (route.call)(cx, &mut self.state, &Request { message, params });
        answer.begin(cx, 0)
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
        // Saved state is dropped if the router is not persistent any more.
        let Some(persist) = &self.persist else {
            return true;
        };
        persist.load(saved, &mut self.state)
    }
}

//! The functions of a router: handlers, guards and hooks.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::{ops::RangeInclusive, panic::Location, time::Duration};

use super::{
    extract::Request, handler::Handler, handler::OnePayload, path::Pattern, then::Answer,
    then::Connecting, then::IntoAnswer,
};
use crate::{
    gateway::{
        Admission, Context, Failure, IntoNowOrLater, NamespaceContext, NowOrLater, Outcome,
        Rejection, RoomAction, UpgradeRequest,
    },
    wire::{DisconnectReason, Frame, Message},
};

type MessageGuard<S> =
    Box<dyn Fn(&Context<'_>, &S, &Message<'_>) -> NowOrLater<Result<(), Failure>>>;
type ConnectHook<S> = Box<dyn FnMut(&mut Context<'_>, &mut S) -> Connecting<S>>;
type FrameHandler<S> = Box<dyn FnMut(&mut Context<'_>, &mut S, Frame<'_>)>;
type Schedule<S> = Box<dyn FnMut(&mut NamespaceContext<'_>, &mut S)>;
type Call<S> = Box<dyn FnMut(&mut Context<'_>, &mut S, &Request<'_>) -> Answer<S>>;

/// Access from a whole state to a part of it.
pub(super) struct Lens<S, U> {
    pub(super) part: fn(&U) -> &S,
    pub(super) part_mut: fn(&mut U) -> &mut S,
}

/// Declares guards and hooks, a list for each kind: the type of its functions, and the part of a
/// [`Lens`] that gives them their state.
macro_rules! lists {
    ($($list:ident: $kind:ident(
        $first:ident: $first_type:ty, [$state:ty] $part:ident $(, $arg:ident: $type:ty)*
    ) $(-> $result:ty)?;)*) => {
        /// Guards and hooks around a state of type `S`.
        pub(super) struct Hooks<S> {
            $(pub(super) $list: Vec<Box<dyn $kind($first_type, $state $(, $type)*) $(-> $result)?>>,)*
        }

        impl<S> Hooks<S> {
            const fn new() -> Self {
                Self { $($list: Vec::new(),)* }
            }

            /// Appends the guards and hooks of another router.
            fn extend(&mut self, other: Self) {
                $(self.$list.extend(other.$list);)*
            }

            /// The same guards and hooks for a larger state that contains this one.
            #[allow(unused_mut)] // some are `Fn`
            fn within<U: 'static>(self, lens: &Lens<S, U>) -> Hooks<U>
            where
                S: 'static,
            {
                let mut hooks = Hooks::<U>::new();
                $(let part = lens.$part;
                for mut hook in self.$list {
                    hooks.$list.push(Box::new(move |$first, whole $(, $arg)*| {
                        hook($first, part(whole) $(, $arg)*)
                    }));
                })*
                hooks
            }
        }
    };
}

lists! {
    room_guards: Fn(
        cx: &Context<'_>, [&S] part, action: RoomAction, room: &str
    ) -> NowOrLater<Result<(), Failure>>;
    upgrade_guards: Fn(request: &UpgradeRequest<'_>, [&S] part) -> NowOrLater<Result<(), Rejection>>;
    upgrade: Fn(request: &UpgradeRequest<'_>, [&S] part) -> NowOrLater<Result<Admission, Rejection>>;
    disconnect: FnMut(cx: &mut Context<'_>, [&mut S] part_mut, reason: DisconnectReason);
    joined: FnMut(cx: &mut Context<'_>, [&mut S] part_mut, room: &str);
    left: FnMut(cx: &mut Context<'_>, [&mut S] part_mut, room: &str);
    present: FnMut(cx: &mut NamespaceContext<'_>, [&mut S] part_mut, room: &str, user: &str);
    absent: FnMut(cx: &mut NamespaceContext<'_>, [&mut S] part_mut, room: &str, user: &str);
    drain: FnMut(cx: &mut NamespaceContext<'_>, [&mut S] part_mut);
}

/// Functions around a state of type `S`.
pub(super) struct Functions<S> {
    /// The number of this router. The routers that were merged into it have lower numbers.
    router: usize,
    pub(super) events: BTreeMap<Box<str>, Event<S>>,
    pub(super) fallback: Option<Route<S>>,
    pub(super) guards: Vec<Guard<S>>,
    pub(super) hooks: Hooks<S>,
    pub(super) connect: Vec<ConnectHook<S>>,
    pub(super) schedules: Vec<(Duration, Schedule<S>)>,
    pub(super) frame: Option<(FrameHandler<S>, Place)>,
}

/// A place in the application's source at which something was added.
pub(super) type Place = &'static Location<'static>;

pub(super) struct Event<S> {
    pub(super) guards: Vec<Guard<S>>,
    /// The handlers by path, the more specific patterns first.
    pub(super) paths: Vec<(Pattern, Route<S>)>,
    pub(super) plain: Option<Route<S>>,
}

/// A guard for messages.
pub(super) struct Guard<S> {
    pub(super) call: MessageGuard<S>,
    /// The numbers of the routers whose handlers it guards.
    routers: RangeInclusive<usize>,
}

pub(super) struct Route<S> {
    pub(super) call: Call<S>,
    pub(super) stateful: bool,
    /// The number of the router that it was added to.
    router: usize,
    added: Place,
}

impl<S> Default for Event<S> {
    fn default() -> Self {
        Self {
            guards: Vec::new(),
            paths: Vec::new(),
            plain: None,
        }
    }
}

impl<S> Guard<S> {
    /// True when it guards this handler, or when the event has no handler.
    pub(super) fn is_before(&self, route: Option<&Route<S>>) -> bool {
        route.is_none_or(|route| self.routers.contains(&route.router))
    }
}

impl<S> Event<S> {
    pub(super) fn set_plain(&mut self, event: &str, route: Route<S>) {
        refuse_second(
            self.plain.as_ref().map(|first| first.added),
            route.added,
            format_args!("`{event}` has a handler already"),
        );
        self.plain = Some(route);
    }

    pub(super) fn add_path(&mut self, event: &str, pattern: Pattern, route: Route<S>) {
        let same = self.paths.iter().find(|(other, _)| other.is_like(&pattern));
        refuse_second(
            same.map(|(_, first)| first.added),
            route.added,
            format_args!("`{event}` has a handler for {pattern} already"),
        );
        let rank = pattern.rank();
        let at = self
            .paths
            .partition_point(|(other, _)| other.rank() <= rank);
        self.paths.insert(at, (pattern, route));
    }
}

/// Panics when there is a first one already, and names both places.
fn refuse_second(first: Option<Place>, second: Place, what: core::fmt::Arguments<'_>) {
    if let Some(first) = first {
        panic!("{what}, added at {first}; the second one is at {second}");
    }
}

impl<S> Functions<S> {
    pub(super) const fn new() -> Self {
        Self {
            router: 0,
            events: BTreeMap::new(),
            fallback: None,
            guards: Vec::new(),
            hooks: Hooks::new(),
            connect: Vec::new(),
            schedules: Vec::new(),
            frame: None,
        }
    }

    /// Makes a function the handler of a route of this router.
    pub(super) fn route<A, M, H>(&self, mut handler: H, added: Place) -> Route<S>
    where
        H: Handler<S, A, Arguments: OnePayload, Returned: IntoAnswer<S, M>> + 'static,
    {
        Route {
            call: Box::new(
                move |cx, state, request| match handler.call(cx, state, request) {
                    Ok(returned) => returned.into_answer(cx),
                    Err(failure) => Answer::Outcome(Outcome::Fail(failure)),
                },
            ),
            stateful: H::STATEFUL,
            router: self.router,
            added,
        }
    }

    /// Makes a function a guard of this router, and of all routers that were merged into it.
    pub(super) fn guard<R>(
        &self,
        call: impl Fn(&Context<'_>, &S, &Message<'_>) -> R + 'static,
    ) -> Guard<S>
    where
        R: IntoNowOrLater<Result<(), Failure>>,
    {
        Guard {
            call: Box::new(move |cx, state, message| call(cx, state, message).into_now_or_later()),
            routers: 0..=self.router,
        }
    }

    pub(super) fn set_fallback(&mut self, route: Route<S>) {
        let (first, what) = (&self.fallback, format_args!("there is a fallback already"));
        refuse_second(first.as_ref().map(|first| first.added), route.added, what);
        self.fallback = Some(route);
    }

    pub(super) fn set_frame(&mut self, handler: FrameHandler<S>, added: Place) {
        let (first, what) = (&self.frame, format_args!("frames have a handler already"));
        refuse_second(first.as_ref().map(|&(_, first)| first), added, what);
        self.frame = Some((handler, added));
    }

    /// Appends all functions of another router.
    pub(super) fn merge(mut self, other: Self) -> Self {
        let moved = self.router + 1;
        let moved_route = |route: Route<S>| Route {
            router: route.router + moved,
            ..route
        };
        let moved_guard = |guard: Guard<S>| Guard {
            routers: guard.routers.start() + moved..=guard.routers.end() + moved,
            ..guard
        };
        for (name, event) in other.events {
            let ours = self.events.entry(name.clone()).or_default();
            ours.guards
                .extend(event.guards.into_iter().map(moved_guard));
            for (pattern, route) in event.paths {
                ours.add_path(&name, pattern, moved_route(route));
            }
            if let Some(route) = event.plain {
                ours.set_plain(&name, moved_route(route));
            }
        }
        if let Some(route) = other.fallback {
            self.set_fallback(moved_route(route));
        }
        if let Some((handler, added)) = other.frame {
            self.set_frame(handler, added);
        }
        self.guards
            .extend(other.guards.into_iter().map(moved_guard));
        self.hooks.extend(other.hooks);
        self.connect.extend(other.connect);
        self.schedules.extend(other.schedules);
        self.router = moved + other.router + 1;
        self
    }

    /// The same functions for a larger state that contains this one.
    pub(super) fn within<U: 'static>(self, lens: &Lens<S, U>) -> Functions<U>
    where
        S: 'static,
    {
        let Lens { part, part_mut } = *lens;
        let connect = |mut hook: ConnectHook<S>| -> ConnectHook<U> {
            Box::new(move |cx, whole| hook(cx, part_mut(whole)).within(part_mut))
        };
        let guard = |Guard { call, routers }: Guard<S>| Guard {
            call: Box::new(move |cx, whole: &U, message| call(cx, part(whole), message)),
            routers,
        };
        let route = |mut route: Route<S>| Route {
            stateful: route.stateful,
            router: route.router,
            added: route.added,
            call: Box::new(move |cx, whole, request| {
                (route.call)(cx, part_mut(whole), request).within(part_mut)
            }),
        };
        let event = |event: Event<S>| Event {
            guards: event.guards.into_iter().map(guard).collect(),
            paths: (event.paths.into_iter())
                .map(|(pattern, by_path)| (pattern, route(by_path)))
                .collect(),
            plain: event.plain.map(route),
        };
        let schedule = |mut hook: Schedule<S>| -> Schedule<U> {
            Box::new(move |namespace, whole| hook(namespace, part_mut(whole)))
        };
        let frame = |mut handler: FrameHandler<S>| -> FrameHandler<U> {
            Box::new(move |cx, whole, frame| handler(cx, part_mut(whole), frame))
        };
        Functions {
            router: self.router,
            events: (self.events.into_iter())
                .map(|(name, of_name)| (name, event(of_name)))
                .collect(),
            fallback: self.fallback.map(route),
            guards: self.guards.into_iter().map(guard).collect(),
            hooks: self.hooks.within(lens),
            connect: self.connect.into_iter().map(connect).collect(),
            schedules: (self.schedules.into_iter())
                .map(|(period, hook)| (period, schedule(hook)))
                .collect(),
            frame: self.frame.map(|(handler, added)| (frame(handler), added)),
        }
    }
}

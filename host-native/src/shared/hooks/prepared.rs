//! Prepared endpoints, ready to be put in force.

use std::sync::Arc;

use roomcast_hooks::Hook;

use super::endpoint::{Endpoint, Rules};
use crate::store::StoreError;

/// The reason why hooks cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A key cannot be read.
    #[error("{0}")]
    Key(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Prepared endpoints, ready to be put in force, each with its new rules.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) endpoints: Vec<(Arc<Endpoint>, Rules)>,
    changes: Vec<String>,
}

impl Prepared {
    /// Finds the endpoints of these settings among those in force, and opens the others. Endpoints
    /// with the same settings match first, then those with the same URL, whatever their order. An
    /// endpoint that answered 410 does not match: its successor starts with a new queue.
    ///
    /// `stored` has the names of the stored queues.
    ///
    /// # Errors
    ///
    /// When a key or the queue of a new endpoint cannot be read.
    pub(super) fn new(
        hooks: &[Hook],
        in_force: &[Arc<Endpoint>],
        stored: &[String],
        open: impl Fn(String, Rules) -> Result<Endpoint, StoreError>,
    ) -> Result<Self, OpenError> {
        let found = find(hooks, in_force);
        let is_found = |one: &&Arc<Endpoint>| {
            let mut found = found.iter().flatten();
            found.any(|it| Arc::ptr_eq(it, one))
        };
        let mut gone: Vec<_> = in_force.iter().filter(|one| !is_found(one)).collect();
        let names = found.iter().flatten().map(|it| it.line_name().to_owned());
        let mut names: Vec<String> = names.collect();
        let (mut endpoints, mut changes) = (Vec::new(), Vec::new());
        for (hook, found) in hooks.iter().zip(&found) {
            let rules = Rules::read(hook).map_err(OpenError::Key)?;
            let url = hook.url.as_str();
            let (endpoint, change) = if let Some(endpoint) = found {
                let change = (!endpoint.rules().is_same(&rules)).then_some('~');
                (endpoint.clone(), change)
            } else {
                let name = line_name(url, &names, stored);
                names.push(name.clone());
                let before = gone.iter().position(|it| it.rules().hook.url == hook.url);
                let change = before.map_or('+', |at| {
                    gone.remove(at);
                    '~'
                });
                (Arc::new(open(name, rules.clone())?), Some(change))
            };
            changes.extend(change.map(|change| format!("{change}{}", endpoint.name)));
            endpoints.push((endpoint, rules));
        }
        changes.extend(gone.iter().map(|gone| format!("-{}", gone.name)));
        Ok(Self { endpoints, changes })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// URLs that change: added ones with `+`, removed ones with `-`, and those with other settings
    /// or keys with `~`.
    pub(crate) fn changes(&self) -> &[String] {
        &self.changes
    }
}

/// The matching endpoint in force for each of these settings.
fn find(hooks: &[Hook], in_force: &[Arc<Endpoint>]) -> Vec<Option<Arc<Endpoint>>> {
    let able = in_force.iter().filter(|it| !it.line().is_disabled());
    let mut left: Vec<_> = able.collect();
    let mut found = vec![None; hooks.len()];
    let likenesses: [fn(&Hook, &Hook) -> bool; 2] =
        [|one, other| one == other, |one, other| one.url == other.url];
    for is_like in likenesses {
        for (hook, found) in hooks.iter().zip(&mut found) {
            if found.is_none()
                && let Some(at) = left.iter().position(|it| is_like(&it.rules().hook, hook))
            {
                *found = Some(left.remove(at).clone());
            }
        }
    }
    found
}

/// The name of a queue: a URL, and a number among queues with the same URL. A stored queue is the
/// first choice.
fn line_name(url: &str, taken: &[String], stored: &[String]) -> String {
    let of_url = |name: &&String| name.rsplit_once(' ').is_some_and(|(it, _)| it == url);
    let mut waiting = stored.iter().filter(of_url);
    if let Some(name) = waiting.find(|name| !taken.contains(name)) {
        return name.clone();
    }
    let mut names = (0..=taken.len()).map(|number| format!("{url} {number}"));
    let free = names.find(|name| !taken.contains(name));
    free.unwrap_or_else(|| url.to_owned()) // never: there is one more than are taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_waits_is_the_first_choice_of_its_url() {
        let name = |taken: &[&str], stored: &[&str]| {
            let owned = |text: &&str| (*text).to_owned();
            let taken: Vec<String> = taken.iter().map(owned).collect();
            let stored: Vec<String> = stored.iter().map(owned).collect();
            line_name("http://a", &taken, &stored)
        };
        assert_eq!(name(&[], &[]), "http://a 0");
        assert_eq!(name(&["http://a 0", "http://a 2"], &[]), "http://a 1");
        assert_eq!(name(&[], &["http://a 1", "http://ab 0"]), "http://a 1");
        assert_eq!(name(&["http://a 1"], &["http://a 1"]), "http://a 0");
    }
}

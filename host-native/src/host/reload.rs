//! Changes of settings while a server runs.

mod backends;

use std::{fmt, sync::Arc};

use roomcast_core::{Policies, RoomPolicy};
use roomcast_hooks::{AskSettings, Hook};
use roomcast_http::{Access, ApiKey, OriginRule, Tokens};

use self::backends::{Backends, Changes};
use crate::{
    settings::SettingsError,
    shard::{Mail, Shard, Switchboard},
    tls::TlsError,
};

/// Settings that can change while a server runs. Each field replaces the previous setting.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Reload {
    /// Room policies.
    pub policies: Policies,
    /// Keys of the HTTP API.
    pub api_keys: Vec<ApiKey>,
    /// Browser origins that may connect, beside the server's own.
    pub allow_origins: Vec<OriginRule>,
    /// Settings of tokens; `None` leaves them unchanged. Connections that used a token stay, even
    /// if its key is removed.
    pub tokens: Option<Tokens>,
    /// Endpoints of backends that are notified of events. The queue of an endpoint whose URL stays
    /// is kept; the queue of a removed one is dropped. Key files are read again.
    pub hooks: Vec<Hook>,
    /// The backend that is asked. Connections stay, with the rights that they have.
    pub ask: Option<AskSettings>,
}

/// A reload that was refused; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The server would not start with these settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The last key of the HTTP API would be removed.
    #[error(
        "the HTTP API has a key and would have none: keep one of `api_keys`, or restart the server \
         without them"
    )]
    LastApiKey,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key of `[[hooks]]` or `[ask]` cannot be read, or the queue of a new endpoint.
    #[error("{0}")]
    Backends(String),
    /// The server is not running yet, or has stopped.
    #[error("the server is not running")]
    NotRunning,
}

/// A handle to change settings of a running server, from [`Host::reloader`](crate::Host::reloader).
#[derive(Debug, Clone)]
pub struct Reloader {
    switchboard: Arc<Switchboard>,
}

impl Reloader {
    pub(crate) const fn new(switchboard: Arc<Switchboard>) -> Self {
        Self { switchboard }
    }

    /// Changes settings, and returns the differences. Connections stay: the origin of a connected
    /// client is not checked again. [`Hub::set_policies`](roomcast_core::Hub::set_policies)
    /// describes the effect on existing rooms and their histories.
    ///
    /// # Errors
    ///
    /// When the server would not start with these settings, for example because a key of a backend
    /// cannot be read; when the last key of the API would be removed; or when the server is not
    /// running. Nothing has changed then.
    pub async fn reload(&self, reload: Reload) -> Result<Reloaded, ReloadError> {
        // Reloads run one at a time, or threads could end up with different settings.
        let _turn = self.switchboard.reloading.lock().await;
        let Reload {
            policies,
            api_keys,
            allow_origins,
            tokens,
            hooks,
            ask,
        } = reload;
        let shared = self.call(0, |shard| shard.shared.clone()).await?;
        let backends = Backends::prepare(&shared, hooks.clone(), ask.clone()).await;
        let backends = backends.map_err(ReloadError::Backends)?;
        let wanted = policies.clone();
        let access = move |shard: &Shard| {
            let before = shard.shared.access();
            let mut access = Access::clone(&before);
            (access.api_keys, access.allow_origins) = (api_keys, allow_origins);
            if let Some(tokens) = tokens {
                access.tokens = tokens;
            }
            let mut settings = shard.shared.settings.clone();
            (settings.access, settings.policies) = (access.clone(), wanted.clone());
            (settings.hooks, settings.ask) = (hooks, ask);
            settings.check()?;
            // Otherwise a truncated file would open the API to everybody on this machine.
            if access.api_keys.is_empty() && !before.api_keys.is_empty() {
                return Err(ReloadError::LastApiKey);
            }
            let set = shard.shared.tokens.set(&access.tokens);
            set.map_err(SettingsError::from)?;
            let reloaded = Reloaded::between((&before, &shard.policies()), (&access, &wanted));
            shard.shared.set_access(access);
            Ok(reloaded)
        };
        let reloaded = match self.call(0, access).await {
            Ok(Ok(reloaded)) => reloaded,
            Ok(Err(fault)) | Err(fault) => {
                backends.discard(&shared);
                return Err(fault);
            }
        };
        let changes = backends.set(&shared).await;
        if changes.end_asking() && !shared.access().tokens.is_on() && policies.grants().is_empty() {
            tracing::warn!("[ask] is gone, without tokens and grants: every client has all rights");
        }
        let posts = self.switchboard.posts().ok_or(ReloadError::NotRunning)?;
        let has_others = !changes.is_empty();
        for index in 0..posts.len() {
            let policies = policies.clone();
            let set = move |shard: &Shard| {
                shard.set_policies(policies);
                if has_others {
                    shard.set_backends();
                }
            };
            self.call(index, set).await?;
        }
        let Changes { hooks, ask } = changes;
        Ok(Reloaded {
            hooks,
            ask,
            ..reloaded
        })
    }

    /// Reads the files of [`Settings::tls_cert`](crate::Settings::tls_cert) again; true when the
    /// certificate has changed. Open connections keep theirs, and new ones get the new one.
    ///
    /// # Errors
    ///
    /// When the contents of the files cannot be used, or the server is not running. Nothing has
    /// changed then.
    pub async fn reload_certificate(&self) -> Result<bool, ReloadError> {
        let tls = self.call(0, |shard| shard.shared.tls.clone()).await?;
        let Some(tls) = tls else {
            return Ok(false);
        };
        // Reading files blocks.
        let read = tokio::task::spawn_blocking(move || tls.read_again()).await;
        Ok(read.map_err(|_| ReloadError::NotRunning)??)
    }

    /// Runs a task on a thread of the server.
    async fn call<R: Send + 'static>(
        &self,
        index: usize,
        task: impl FnOnce(&Shard) -> R + Send + 'static,
    ) -> Result<R, ReloadError> {
        let (mail, answered) = Mail::request(move |shard| task(shard));
        let posted = self.switchboard.post(index, mail);
        posted.ok_or(ReloadError::NotRunning)?;
        answered.await.map_err(|_| ReloadError::NotRunning)
    }
}

/// The changes that a reload made, displayed as one line. Keys are only counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The number of added keys, and of removed keys.
    pub api_keys: (usize, usize),
    /// Added origins, with `+`, and removed origins, with `-`.
    pub allow_origins: Vec<String>,
    /// True when keys or other settings of tokens have changed.
    pub tokens: bool,
    /// True when the grants for everybody have changed.
    pub grants: bool,
    /// Patterns of added policies, with `+`, of removed ones, with `-`, and of changed ones, with
    /// `~`.
    pub policies: Vec<String>,
    /// True when only the order of policies has changed.
    pub reordered: bool,
    /// URLs of notified backends: added ones with `+`, removed ones with `-`, and those with other
    /// settings or keys with `~`.
    pub hooks: Vec<String>,
    /// URLs of asked backends, marked likewise.
    pub ask: Vec<String>,
}

impl Reloaded {
    fn between(before: (&Access, &Policies), after: (&Access, &Policies)) -> Self {
        fn missing<'a, T: PartialEq>(of: &'a [T], from: &[T]) -> Vec<&'a T> {
            of.iter().filter(|one| !from.contains(one)).collect()
        }
        let ((access, policies), (new_access, new_policies)) = (before, after);
        let keys = (&access.api_keys, &new_access.api_keys);
        let origins = (&access.allow_origins, &new_access.allow_origins);
        let more = missing(origins.1, origins.0).into_iter();
        let gone = missing(origins.0, origins.1).into_iter();
        let more = more.map(|origin| format!("+{origin}"));
        let named = |policies: &'_ Policies, policy: &RoomPolicy| {
            let mut policies = policies.iter();
            policies
                .find(|other| other.pattern == policy.pattern)
                .cloned()
        };
        let changes = new_policies
            .iter()
            .filter_map(|policy| match named(policies, policy) {
                None => Some(format!("+{}", policy.pattern)),
                Some(old) => (old != *policy).then(|| format!("~{}", policy.pattern)),
            });
        let ended = policies
            .iter()
            .filter(|old| named(new_policies, old).is_none());
        let ended = ended.map(|old| format!("-{}", old.pattern));
        let patterns: Vec<String> = changes.chain(ended).collect();
        Self {
            api_keys: (missing(keys.1, keys.0).len(), missing(keys.0, keys.1).len()),
            allow_origins: more
                .chain(gone.map(|origin| format!("-{origin}")))
                .collect(),
            tokens: access.tokens != new_access.tokens,
            grants: policies.grants() != new_policies.grants(),
            reordered: patterns.is_empty() && policies.iter().ne(new_policies.iter()),
            policies: patterns,
            hooks: Vec::new(),
            ask: Vec::new(),
        }
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.policies.is_empty() {
            parts.push(format!("policies {}", self.policies.join(" ")));
        }
        if self.reordered {
            parts.push("policies in another order".to_owned());
        }
        if self.api_keys != (0, 0) {
            let (more, gone) = self.api_keys;
            parts.push(format!("API keys {more} new, {gone} gone"));
        }
        if !self.allow_origins.is_empty() {
            parts.push(format!("origins {}", self.allow_origins.join(" ")));
        }
        if self.tokens {
            parts.push("tokens".to_owned());
        }
        if self.grants {
            parts.push("grants".to_owned());
        }
        if !self.hooks.is_empty() {
            parts.push(format!("hooks {}", self.hooks.join(" ")));
        }
        if !self.ask.is_empty() {
            parts.push(format!("ask {}", self.ask.join(" ")));
        }
        if parts.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&parts.join("; "))
    }
}

//! Calls of the host: users who are withdrawn.

use redis::cmd;

use super::{
    keys::Keys,
    shared::{Effect, Shared},
};
use crate::{error::RelayError, withdrawn::Withdrawn};

/// The name that holds the time for all users: no user has it.
const EVERYONE: &str = "";

/// Users of one script: some milliseconds of server time.
const USERS_AT_ONCE: usize = 1_000;

impl Shared {
    pub(crate) async fn withdraw(
        &self,
        namespace: &str,
        withdrawn: &Withdrawn,
        users_max: u32,
    ) -> Result<(), RelayError> {
        Keys::check(namespace)?;
        let key = self.keys.withdrawn(namespace);
        let everyone = Some((EVERYONE, withdrawn.everyone_s)).filter(|(_, time)| *time > 0);
        let users = withdrawn.users.iter().map(|(user, time)| (&**user, *time));
        let all: Vec<_> = everyone.into_iter().chain(users).collect();
        for some in all.chunks(USERS_AT_ONCE) {
            let (session, signals) = self.session()?;
            let script = &self.scripts.withdraw;
            let mut call = script.call(std::slice::from_ref(&key));
            call.arg(users_max);
            for (user, time) in some {
                call.arg(user).arg(time);
            }
            let answer = session.run::<u64>(script, &call);
            self.within(Effect::Write, &signals, answer).await?;
        }
        Ok(())
    }

    pub(crate) async fn withdrawn(&self, namespace: &str) -> Result<Withdrawn, RelayError> {
        Keys::check(namespace)?;
        let (session, signals) = self.session()?;
        let mut list = cmd("ZRANGE");
        list.arg(self.keys.withdrawn(namespace));
        list.arg(0).arg(-1).arg("WITHSCORES");
        let mut commands = session.commands.clone();
        let answer = list.query_async::<Vec<(String, f64)>>(&mut commands);
        let found = self.within(Effect::Read, &signals, answer).await?;
        let mut withdrawn = Withdrawn::default();
        for (user, time) in found {
            // Seconds: whole, and below 2<sup>53</sup>.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let time = time as u64;
            if user == EVERYONE {
                withdrawn.everyone_s = time;
            } else {
                withdrawn.users.push((user.into(), time));
            }
        }
        Ok(withdrawn)
    }
}

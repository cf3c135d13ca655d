//! The decision of a router's guards and hooks about an upgrade request.

use alloc::vec::Vec;

use super::functions::Hooks;
use crate::gateway::{Admission, NowOrLater, Rejection, UpgradeRequest, later};

type Said = Result<Admission, Rejection>;

/// Asks all guards and hooks, in their order. Those after one that waits are asked at once too,
/// since the request does not outlive the call; their futures are polled one after the other. The
/// first refusal in this order counts, even if it takes time and a later one does not.
pub(super) fn of<S>(hooks: &Hooks<S>, request: &UpgradeRequest<'_>, state: &S) -> NowOrLater<Said> {
    let guards = hooks.upgrade_guards.iter();
    let guards = guards.map(|guard| match guard(request, state) {
        NowOrLater::Now(passed) => NowOrLater::Now(passed.map(|()| Admission::new())),
        NowOrLater::Later(passing) => {
            let said = async move { passing.await.map(|()| Admission::new()) };
            NowOrLater::Later(later(said))
        }
    });
    let mut all = guards.chain(hooks.upgrade.iter().map(|hook| hook(request, state)));
    let mut said = Admission::new();
    while let Some(next) = all.next() {
        let admitted = match next {
            NowOrLater::Now(admitted) => admitted.and_then(|next| both(said, next)),
            NowOrLater::Later(first) => {
                let mut waiting = alloc::vec![NowOrLater::Later(first)];
                for next in all {
                    let is_last = matches!(next, NowOrLater::Now(Err(_)));
                    waiting.push(next);
                    if is_last {
                        break;
                    }
                }
                return NowOrLater::Later(later(in_order(said, waiting)));
            }
        };
        match admitted {
            Ok(both) => said = both,
            Err(rejection) => return NowOrLater::Now(Err(rejection)),
        }
    }
    NowOrLater::Now(Ok(said))
}

async fn in_order(mut said: Admission, waiting: Vec<NowOrLater<Said>>) -> Said {
    for next in waiting {
        let next = match next {
            NowOrLater::Now(next) => next?,
            NowOrLater::Later(next) => next.await?,
        };
        said = both(said, next)?;
    }
    Ok(said)
}

/// Combines two admissions.
fn both(first: Admission, second: Admission) -> Result<Admission, Rejection> {
    Ok(Admission {
        user: either(first.user, second.user)?,
        grants: either(first.grants, second.grants)?,
        session: either(first.session, second.session)?,
        subprotocol: either(first.subprotocol, second.subprotocol)?,
    })
}

/// Combines two values. Refuses when they differ: the handlers of one router would take the value
/// of the other for their own.
fn either<T: PartialEq>(first: Option<T>, second: Option<T>) -> Result<Option<T>, Rejection> {
    match (&first, &second) {
        (Some(one), Some(two)) if one != two => Err(TwoAdmissions.into()),
        _ => Ok(first.or(second)),
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the `on_upgrade` of two routers admit a connection with different users, grants, sessions or \
     subprotocols"
)]
struct TwoAdmissions;

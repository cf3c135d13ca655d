//! Orders that are announced to people in another namespace: an application that takes a handle, on
//! any host.

use roomcast_core::{Context, Failure, NamespaceHandle, Router, ask::Transport};
use serde::Deserialize;

use crate::notify::{EVENT, Notice, followers, person};

#[derive(Deserialize)]
struct Paid {
    order: u32,
    by: String,
}

/// The application. Who says that an order is paid learns how many were told.
pub(crate) fn orders<T: Transport + 'static>(namespace: &NamespaceHandle<T>) -> Router {
    let notify = namespace.namespace("notify");
    Router::default().on("paid", move |cx: &mut Context, Paid { order, by }: Paid| {
        let notify = notify.clone();
        cx.spawn(async move {
            let text = format!("order {order} is paid");
            let notice = Notice { text };
            let told = notify.send(person(&by), EVENT, &notice).await?;
            let followers = notify.send(followers("orders"), EVENT, &notice).await?;
            Ok::<_, Failure>(told.matched + followers.matched)
        })
    })
}

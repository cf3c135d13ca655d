//! Schedules.

use std::time::{Duration, Instant};

use roomcast::{Context, Host, Router};

use super::running::Running;

/// Counts with this period.
fn clock(period: Duration) -> Router<u32> {
    Router::new(0)
        .every(period, |namespace, count| {
            *count += 1;
            namespace.broadcast("tick", count).expect("a number");
        })
        .on("count", |_: &mut Context, count: &mut u32| *count)
}

#[tokio::test]
async fn they_run_for_as_long_as_somebody_is_connected() {
    let build = |host: Host| host.gateway("default", |_| clock(Duration::from_millis(20)));
    let running = Running::on_threads(2, build).await;
    // There was no client so far, so nothing was counted.
    let mut ann = running.connect("/ws").await;
    assert_eq!(ann.next().await, r#"{"event":"tick","data":1}"#);
    let mut ben = running.connect("/ws").await;
    assert!(ben.next().await.starts_with(r#"{"event":"tick","data":"#));
    for count in 2..5 {
        assert_eq!(
            ann.next().await,
            format!(r#"{{"event":"tick","data":{count}}}"#)
        );
    }
}

/// The period of the sweep would take four seconds for these ticks.
#[tokio::test]
async fn a_quick_one_is_quick() {
    let build = |host: Host| host.gateway("default", |_| clock(Duration::from_millis(5)));
    let running = Running::start(build).await;
    let mut client = running.connect("/ws").await;
    // The quickest of some rounds counts: a busy machine may stand still in one.
    let (mut quickest, mut count) = (Duration::MAX, 0);
    while count < 200 && quickest >= Duration::from_secs(2) {
        let start = Instant::now();
        for _ in 0..40 {
            count += 1;
            assert_eq!(
                client.next().await,
                format!(r#"{{"event":"tick","data":{count}}}"#)
            );
        }
        quickest = quickest.min(start.elapsed());
    }
    assert!(quickest < Duration::from_secs(2), "{quickest:?}");
}

#[tokio::test]
async fn each_namespace_has_its_own() {
    let running = Running::start(|host| {
        host.gateway("default", |_| clock(Duration::from_millis(1)))
            .gateway("slow", |_| clock(Duration::from_secs(3600)))
    })
    .await;
    let mut slow = running.connect("/ws/slow").await;
    let mut quick = running.connect("/ws").await;
    for count in 1..4 {
        assert_eq!(
            quick.next().await,
            format!(r#"{{"event":"tick","data":{count}}}"#)
        );
    }
    assert_eq!(
        slow.ask(r#"{"event":"count"}"#).await,
        r#"{"event":"count","data":0}"#
    );
}

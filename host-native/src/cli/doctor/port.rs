//! The check of a server's port on each of its addresses.

use std::{fmt, io, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{super::client::endpoint::Endpoint, report::Finding};

/// The reason why an address takes no connection.
#[derive(Debug)]
enum Closed {
    NoListener,
    Silent(Duration),
    /// This machine has no route to the address, such as without IPv6.
    NoRoute,
    Other(io::Error),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListener => f.write_str("nothing listens there"),
            Self::Silent(patience) => write!(f, "no answer within {} s", patience.as_secs()),
            Self::NoRoute => f.write_str("this machine has no way there"),
            Self::Other(fault) => write!(f, "{fault}"),
        }
    }
}

/// An address, and the time that a connection to it took, or why it failed.
type Tried = (SocketAddr, Result<Duration, Closed>);

/// Finds the first address whose port is open. All are tried at once, since a client may start with
/// any of them.
pub(super) async fn open(
    url: &Endpoint,
    addresses: &[SocketAddr],
    patience: Duration,
) -> (Option<SocketAddr>, Finding) {
    let tries = addresses
        .iter()
        .map(|&address| async move { (address, connect(address, patience).await) });
    judge(url, &join_all(tries).await)
}

async fn connect(address: SocketAddr, patience: Duration) -> Result<Duration, Closed> {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, NetworkUnreachable};
    let begin = Instant::now();
    let Ok(connected) = timeout(patience, TcpStream::connect(address)).await else {
        return Err(Closed::Silent(patience));
    };
    let connected = connected.map(|_| begin.elapsed());
    #[allow(clippy::wildcard_enum_match_arm)] // the others are told as they are
    connected.map_err(|fault| match fault.kind() {
        ConnectionRefused => Closed::NoListener,
        NetworkUnreachable | AddrNotAvailable => Closed::NoRoute,
        _ => Closed::Other(fault),
    })
}

/// Returns the first open address, and the finding. A closed address beside it fails the check:
/// clients that try that first lose time.
fn judge(url: &Endpoint, tried: &[Tried]) -> (Option<SocketAddr>, Finding) {
    let mut open = tried.iter();
    let open = open.find_map(|(address, result)| Some((*address, result.as_ref().ok()?)));
    let closed = || {
        let all = tried.iter();
        all.filter_map(|(address, result)| Some((*address, result.as_ref().err()?)))
    };
    let faults: Vec<_> = closed()
        .map(|(address, fault)| format!("{address} is closed: {fault}"))
        .collect();
    let faults = faults.join(", ");
    let Some((address, time)) = open else {
        let is_silent = closed().any(|(_, fault)| matches!(fault, Closed::Silent(_)));
        return (None, Finding::failed(faults, fix(url, is_silent)));
    };
    let seen = format!("connected to {address} within {} ms", time.as_millis());
    if faults.is_empty() {
        return (Some(address), Finding::ok(seen));
    }
    // `localhost` has two addresses; a closed one of them costs no time.
    let dead = closed().find(|(address, fault)| {
        !matches!(fault, Closed::NoRoute) && !address.ip().to_canonical().is_loopback()
    });
    let finding = match dead {
        None => Finding::ok(format_args!("{seen}, but {faults}")),
        Some((dead, _)) => {
            let kind = if dead.is_ipv6() { "AAAA" } else { "A" };
            let all = if dead.is_ipv6() { "[::]" } else { "0.0.0.0" };
            let seen = format_args!("{seen}, but {faults}: clients that try it first lose time");
            let fix = format_args!(
                "take the {kind} record of {ip} out of the zone of the domain (DNS); or have its \
                 port answer: open it in the firewall, and listen there with `listen {all}:443 ssl` \
                 of nginx, `bind {bind}:443` of HAProxy, or `listen` in roomcast.toml (--listen)",
                ip = dead.ip(),
                bind = all.trim_matches(['[', ']']),
            );
            Finding::failed(seen, fix)
        }
    };
    (Some(address), finding)
}

/// The fix when no address is open.
const fn fix(url: &Endpoint, is_silent: bool) -> &'static str {
    if is_silent {
        "the firewall of the machine or of its network drops packets to this port: open it there"
    } else if url.tls {
        "start the proxy or server: `systemctl start`; its port is `listen 443 ssl` of nginx, `bind \
         :443` of HAProxy, or `listen` in roomcast.toml (--listen) with tls_cert"
    } else {
        "start the server: `systemctl start roomcast`; its port is `listen` in roomcast.toml \
         (--listen, ROOMCAST_LISTEN), for other machines 0.0.0.0:PORT"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged<const N: usize>(tried: [(&str, Result<u64, Closed>); N]) -> (Option<String>, String) {
        let url = "https://chat.example.com".parse().expect("a URL");
        let tried = tried.map(|(address, result)| {
            let address = format!("{address}:443").parse().expect("an address");
            (address, result.map(Duration::from_millis))
        });
        let (open, finding) = judge(&url, &tried);
        (open.map(|open| open.to_string()), format!("{finding:?}"))
    }

    #[test]
    fn a_dead_address_beside_an_open_one_costs_time() {
        let silent = Closed::Silent(Duration::from_secs(10));
        for (dead, fault, record) in [
            (
                "[2001:db8::7]",
                Closed::NoListener,
                "AAAA record of 2001:db8::7",
            ),
            ("[2001:db8::7]", silent, "`listen [::]:443 ssl`"),
            ("192.0.2.9", Closed::NoListener, "the A record of 192.0.2.9"),
        ] {
            let (open, text) = judged([("192.0.2.7", Ok(7)), (dead, Err(fault))]);
            assert_eq!(open.as_deref(), Some("192.0.2.7:443"));
            assert!(
                text.contains("Failed") && text.contains("within 7 ms, but"),
                "{text}"
            );
            assert!(
                text.contains(record) && text.contains("lose time"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_out_of_reach_of_this_machine_is_no_fault_of_the_server() {
        for (dead, fault) in [
            ("[2001:db8::7]", Closed::NoRoute),
            ("[::1]", Closed::NoListener),
        ] {
            let (open, text) = judged([(dead, Err(fault)), ("127.0.0.1", Ok(7))]);
            assert_eq!(open.as_deref(), Some("127.0.0.1:443"));
            assert!(text.contains("Ok") && text.contains("is closed"), "{text}");
        }
        let none = judged([
            ("[2001:db8::7]", Err(Closed::NoRoute)),
            ("192.0.2.7", Err(Closed::NoListener)),
        ]);
        assert!(
            none.0.is_none() && none.1.contains("listen 443 ssl"),
            "{}",
            none.1
        );
    }
}

//! Values of settings that are words, lists or addresses.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use tracing_subscriber::filter::Targets;

/// Reads a yes or a no. Any other word is refused: what it means must not depend on a guess.
pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true, yes, on or 1, or else false, no, off or 0".to_owned()),
    }
}

/// Reads an entry of a list that is separated by commas, without the blanks and line ends around it.
pub(super) fn entry<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|fault: T::Err| fault.to_string())
}

/// Reads an address to listen on. A port alone is one of this machine: nobody outside reaches it.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| is_number(text));
    let at_home = match text.rsplit_once(':') {
        None => port(text),
        Some((host, text)) if host.is_empty() || host.eq_ignore_ascii_case("localhost") => {
            port(text)
        }
        Some(_) => None,
    };
    match (at_home, text.parse()) {
        (Some(port), _) => Ok((loopback, port).into()),
        (None, Ok(address)) => Ok(address),
        (None, Err(_)) => Err(
            "must be an IP address and a port, such as 127.0.0.1:3000, 0.0.0.0:3000 or [::]:3000; \
             localhost:3000, :3000 and 3000 are 127.0.0.1:3000"
                .to_owned(),
        ),
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Checks a filter of the log: directives separated by commas, each a level or `target=level`. Without
/// this check any other word is a target of that name, and nothing is logged.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    if text.contains('[') {
        return Err("cannot choose by spans: the server has none".to_owned());
    }
    let (mut directives, mut is_about_us) = (Vec::new(), false);
    for directive in text.split(',') {
        let (target, level) = match directive.rsplit_once('=') {
            Some((target, level)) => (Some(target.trim().to_owned()), level.trim()),
            None => (None, directive.trim()),
        };
        let is_level = LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known));
        if !is_level || target.as_deref() == Some("") {
            return Err(format!(
                "must be {} or {}, or a list such as roomcast=debug,info, in which each entry is one \
                 of these levels or ends with = and one",
                LEVELS[..5].join(", "),
                LEVELS[5]
            ));
        }
        is_about_us |= target.as_deref().is_none_or(is_ours);
        directives.push(match target {
            Some(target) => format!("{target}={level}"),
            None => level.to_owned(),
        });
    }
    if !is_about_us {
        return Err(format!(
            "is about other programs only, so that nothing of this one would be logged: write a level \
             beside it, as in {},info, or a target that is roomcast or begins with roomcast::",
            directives.join(",")
        ));
    }
    let filter = directives.join(",");
    match filter.parse::<Targets>() {
        Ok(_) => Ok(filter),
        Err(fault) => Err(format!("cannot be used as a filter: {fault}")),
    }
}

/// True when a target is of this program. A target is taken for all that begin with it.
fn is_ours(target: &str) -> bool {
    const OURS: &str = "roomcast";
    let name = target.split('[').next().unwrap_or_default().trim_end();
    let within = name
        .strip_prefix(OURS)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('_'));
    within || (!name.is_empty() && OURS.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_for_yes_are_yes() {
        for yes in ["true", "TRUE", "yes", "on", "1"] {
            assert_eq!(yes_or_no(yes), Ok(true), "{yes}");
        }
        for no in ["false", "False", "no", "off", "0"] {
            assert_eq!(yes_or_no(no), Ok(false), "{no}");
        }
        for neither in [
            "disabled", "none", "never", "-1", "False ", " true", "", "n", "2", "enabled", "null",
        ] {
            let fault = yes_or_no(neither).expect_err(neither);
            assert!(fault.contains("true") && fault.contains("off"), "{fault}");
        }
    }

    #[test]
    fn a_port_alone_is_of_this_machine() {
        for (text, address_) in [
            ("localhost:3000", "127.0.0.1:3000"),
            ("LocalHost:0", "127.0.0.1:0"),
            (":3000", "127.0.0.1:3000"),
            ("3000", "127.0.0.1:3000"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:3000", "[::1]:3000"),
        ] {
            assert_eq!(address(text).map(|it| it.to_string()), Ok(address_.into()));
        }
        for bad in [
            "",
            ":",
            "localhost",
            "localhost:",
            "127.0.0.1",
            "65536",
            ":-1",
            "+80",
            "host:3000",
            "localhost:3000 ",
            "::1:3000",
            "http://localhost:3000",
        ] {
            let fault = address(bad).expect_err(bad);
            assert!(fault.contains("127.0.0.1:3000"), "{bad}: {fault}");
        }
    }

    #[test]
    fn each_directive_of_a_filter_has_a_level() {
        for (text, filter) in [
            ("info", "info"),
            ("OFF", "OFF"),
            ("roomcast=debug,info", "roomcast=debug,info"),
            ("roomcast=debug, warn\n", "roomcast=debug,warn"),
            ("roomcast::run=info", "roomcast::run=info"),
            (" info\n", "info"),
            ("info , roomcast = trace", "info,roomcast=trace"),
            ("roomcast =debug", "roomcast=debug"),
            ("roomcast::run = debug ", "roomcast::run=debug"),
            ("room=debug", "room=debug"),
            ("tokio=off,info", "tokio=off,info"),
            ("hyper=trace,roomcast=info", "hyper=trace,roomcast=info"),
        ] {
            assert_eq!(log_filter(text), Ok(filter.to_owned()), "{text}");
        }
        for bad in [
            "warning",
            "verbose",
            "none",
            "",
            "info,",
            "roomcast",
            "roomcast=",
            "roomcast=verbose",
            "roomcast=debug,verbose",
            "3",
            "roomcast=3",
            "info debug",
            "=",
            "=info",
            " =info",
            "critical",
        ] {
            let fault = log_filter(bad).expect_err(bad);
            assert!(
                fault.contains("error, warn, info, debug, trace or off"),
                "{bad}: {fault}"
            );
        }
        for spans in ["[conn]", "roomcast[conn]=trace", "info,[conn{id=1}]=trace"] {
            let fault = log_filter(spans).expect_err(spans);
            assert!(fault.contains("spans"), "{spans}: {fault}");
        }
    }

    #[test]
    fn a_filter_is_about_this_program() {
        for bad in [
            "tokio=off",
            "hyper=debug,tokio=trace",
            "r\u{43e}omcast=debug",
            "roomcst=info",
            "roomcaster=debug",
            "Roomcast=debug",
        ] {
            let fault = log_filter(bad).expect_err(bad);
            assert!(
                fault.contains("nothing of this one") && fault.contains(",info"),
                "{fault}"
            );
        }
    }
}

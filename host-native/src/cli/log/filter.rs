//! The filter of `--log`.

use tracing_subscriber::filter::Targets;

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Checks a filter of the log: directives separated by commas, each a level or `target=level`.
/// Without this check any other word would be taken for a target, and nothing would be logged.
pub(crate) fn log_filter(text: &str) -> Result<String, String> {
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

/// True when a target includes parts of this program. It stands for all targets that begin with it.
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

//! The parser of traces.

use super::{Step, Trace, TraceError};
use crate::{Actor, Expect, Op, Settings, escape::expand, event::unhex};

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    ///
    /// When a line is not valid; the error names it.
    pub fn parse(name: impl Into<String>, source: impl Into<String>) -> Result<Self, TraceError> {
        let source = source.into().trim().to_owned();
        let mut trace = Self {
            name: name.into(),
            path: None,
            source: source.clone(),
            settings: Settings::default(),
            steps: Vec::new(),
        };
        if !source.starts_with("# ") {
            return Err(trace.error(1, "the first line must say what the trace shows: # ..."));
        }
        for (number, line) in (1..).zip(source.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(limits) = line.strip_prefix("limits ") {
                if !trace.steps.is_empty() {
                    return Err(trace.error(number, "limits come before the first step"));
                }
                let settings = limits.parse();
                let settings: Result<Settings, _> = settings;
                trace.settings =
                    settings.map_err(|fault| trace.error(number, fault.to_string()))?;
                continue;
            }
            if let Some(rooms) = line.strip_prefix("rooms ") {
                let settings = std::mem::take(&mut trace.settings).with_rooms(rooms);
                trace.settings =
                    settings.map_err(|fault| trace.error(number, fault.to_string()))?;
                continue;
            }
            let (times, step) = step(line).map_err(|fault| trace.error(number, fault))?;
            let steps = std::iter::repeat_n((number, step), times);
            trace.steps.extend(steps);
        }
        Ok(trace)
    }
}

fn step(line: &str) -> Result<(usize, Step), String> {
    let (subject, predicate) = line.split_once(' ').unwrap_or((line, ""));
    if subject == "server" || subject == "time" || !Actor::is_name(subject) {
        return Ok((1, operation(line)?));
    }
    let actor = Actor::new(subject);
    let sees = |expect| {
        let actor = actor.clone();
        Step::Sees { actor, expect }
    };
    Ok(match predicate {
        "gets nothing" => (1, Step::SeesNothing { actor }),
        "gets a ping" => (1, sees(Expect::Ping)),
        _ => {
            if let Some(hex) = predicate.strip_prefix("gets binary ") {
                let bytes = unhex(hex).ok_or("binary is written in hexadecimal")?;
                (1, sees(Expect::Binary(bytes)))
            } else if let Some(text) = predicate.strip_prefix("gets ") {
                let times = text
                    .split_once(" times ")
                    .and_then(|(times, text)| Some((times.parse().ok()?, text)));
                let (times, text) = times.unwrap_or((1, text));
                (times, sees(Expect::Text(expand(text))))
            } else if let Some(close) = predicate.strip_prefix("is closed ") {
                let (code, reason) = match close.split_once(' ') {
                    Some((code, reason)) => (code, Some(reason)),
                    None => (close, None),
                };
                let code = code.parse().map_err(|_| format!("no close code: {code}"))?;
                let reason = reason.map(serde_json::from_str).transpose();
                let reason = reason.map_err(|_| "the reason is a JSON string")?;
                (1, sees(Expect::Closed { code, reason }))
            } else {
                (1, operation(line)?)
            }
        }
    })
}

fn operation(line: &str) -> Result<Step, String> {
    let (op, answer) = match line.rsplit_once(" -> ") {
        // The text of a client may contain an arrow.
        Some((op, answer)) if line.split(' ').nth(1) != Some("sends") || is_server(line) => {
            (op, Some(answer.into()))
        }
        _ => (line, None),
    };
    let op = op.parse::<Op>().map_err(|fault| fault.to_string())?;
    let op = Box::new(op);
    Ok(Step::Do { op, answer })
}

fn is_server(line: &str) -> bool {
    line.starts_with("server ")
}

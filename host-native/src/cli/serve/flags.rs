//! The flags and variables of `roomcast serve`, made from the tables of settings.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches,
    builder::{OsStringValueParser, TypedValueParser},
    error::ErrorKind,
    parser::ValueSource,
};
use roomcast::Settings;
use roomcast_http::settings::{
    ACCESS, Group,
    Group::{Operation, Rooms},
    LIMITS, Setting,
};

use crate::cli::log_filter::log_filter;

/// The flags and variables of `roomcast serve`.
#[derive(Debug, Default)]
pub(crate) struct ServeArgs {
    pub(super) settings: Settings,
    pub(super) program: Program,
    /// True when the address to listen on was given.
    pub(super) has_address: bool,
}

/// Settings of the program, and not of the server.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) config: Option<PathBuf>,
    pub(super) log: String,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            config: None,
            log: "info".to_owned(),
        }
    }
}

#[rustfmt::skip] // Few lines for each setting.
pub(super) const PROGRAM: &[Setting<Program>] = &[
    Setting::<Program>::text("config", "FILE", |_| String::new(), read_config)
        .help(Rooms, "File in TOML: policies of rooms, API keys, origins; read again on SIGHUP"),
    Setting::<Program>::text("log", "FILTER", |it| it.log.clone(), read_log)
        .help(Operation, "What to log: error, warn, info, debug, trace, off, or a filter like \
            roomcast=debug,info"),
];

/// The fault of bytes that a setting cannot be, such as a path in another encoding.
const NO_TEXT: &str = "must be text in UTF-8, also when it is a path: this has other bytes";

fn read_config(program: &mut Program, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must be the path of a file".to_owned());
    }
    program.config = Some(text.into());
    Ok(())
}

fn read_log(program: &mut Program, text: &str) -> Result<(), String> {
    log_filter(text).map(|filter| program.log = filter)
}

impl Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let mut flags: Vec<(Group, Arg)> = flags(LIMITS)
            .chain(flags(Settings::TABLE))
            .chain(flags(ACCESS))
            .chain(flags(PROGRAM))
            .collect();
        flags.sort_by_key(|(group, _)| *group);
        command.args(flags.into_iter().map(|(_, flag)| flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        read(Settings::TABLE, matches, &mut self.settings)?;
        read(ACCESS, matches, &mut self.settings.access)?;
        read(LIMITS, matches, &mut self.settings.hub)?;
        read(PROGRAM, matches, &mut self.program)?;
        self.has_address |= is_given("listen", matches);
        Ok(())
    }
}

fn flags<T: Default>(table: &'static [Setting<T>]) -> impl Iterator<Item = (Group, Arg)> {
    table.iter().map(|setting| (setting.group, flag(setting)))
}

fn flag<T: Default>(setting: &'static Setting<T>) -> Arg {
    // Of a text that is not UTF-8 clap would not say which flag it is.
    let check = |text: OsString| {
        let text = text.into_string().map_err(|_| NO_TEXT.to_owned())?;
        let read = setting.read(&mut T::default(), &text);
        read.map(|()| text)
            .map_err(|fault| fault.fault().to_owned())
    };
    let name = setting.name;
    let flag = Arg::new(name)
        .long(name)
        .env(setting.variable())
        .hide_env(true)
        .help(setting.help)
        .help_heading(setting.group.title())
        .value_parser(OsStringValueParser::new().try_map(check));
    let Some(form) = setting.form() else {
        return flag.action(ArgAction::SetTrue);
    };
    let flag = match setting.show(&mut T::default()) {
        default if default.is_empty() => flag,
        default => flag.default_value(default),
    };
    let action = match setting.is_list() {
        true => ArgAction::Append,
        false => ArgAction::Set,
    };
    flag.value_name(form).action(action)
}

/// Reads what was given. The rest stays as it is: the default of a setting may depend on another.
fn read<T>(table: &[Setting<T>], matches: &ArgMatches, target: &mut T) -> Result<(), Error> {
    let given = table
        .iter()
        .filter(|setting| is_given(setting.name, matches));
    for setting in given {
        let texts = matches.get_many::<String>(setting.name);
        let texts: Vec<&str> = texts.into_iter().flatten().map(String::as_str).collect();
        setting
            .read(target, &texts.join(","))
            .map_err(|fault| Error::raw(ErrorKind::ValueValidation, fault))?;
    }
    Ok(())
}

fn is_given(name: &str, matches: &ArgMatches) -> bool {
    let source = matches.value_source(name);
    source.is_some_and(|source| source != ValueSource::DefaultValue)
}

#[cfg(test)]
mod tests;

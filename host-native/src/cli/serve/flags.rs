//! The flags and variables of `roomcast serve`, made from the tables of settings.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches,
    builder::{OsStringValueParser, TypedValueParser},
    error::ErrorKind,
    parser::ValueSource,
};
use roomcast::{Reload, Settings};
use roomcast_http::{
    FileSetting,
    settings::{ACCESS, Group, Group::Operation, LIMITS, Setting, SettingError},
};

use crate::cli::{
    config::check::FileError,
    log::{self, filter::log_filter},
};

/// The flags and variables of `roomcast serve`.
#[derive(Debug, Default)]
pub(crate) struct ServeArgs {
    pub(super) settings: Settings,
    pub(super) program: Program,
    /// True when the address to listen on was given.
    pub(super) has_address: bool,
    /// The names of the settings that flags and variables gave.
    given: Vec<&'static str>,
}

/// The names of the settings that a file may have. API keys and origins have separate keys in the
/// file, whose values are added to those of the flags.
pub(crate) fn setting_names() -> Vec<&'static str> {
    let all = names(Settings::TABLE).chain(names(ACCESS));
    let all = all.chain(names(LIMITS)).chain(names(PROGRAM));
    let others = ["api-key", "allow-origin", "config"];
    all.filter(|name| !others.contains(name)).collect()
}

fn names<T>(table: &'static [Setting<T>]) -> impl Iterator<Item = &'static str> {
    table.iter().map(|setting| setting.name)
}

impl ServeArgs {
    /// Takes the settings of a file that neither a flag nor a variable gave.
    ///
    /// # Errors
    ///
    /// The first error: the file, its line, its key and the fault.
    pub(crate) fn take_file(&mut self, path: &str, file: &[FileSetting]) -> Result<(), String> {
        for setting in file {
            let taken = self.take_setting(setting);
            taken.map_err(|error| error.of(path).to_string())?;
        }
        Ok(())
    }

    /// Takes a setting of a file unless a flag or a variable gave it. It is checked in any case.
    ///
    /// # Errors
    ///
    /// The line, the key and what to change.
    pub(crate) fn take_setting(&mut self, setting: &FileSetting) -> Result<(), FileError> {
        let is_given = self.given.contains(&&*setting.name);
        let mut scratch = Self::default();
        let target = if is_given { &mut scratch } else { &mut *self };
        target.take(setting).map_err(|fault| FileError {
            line: Some(setting.line),
            text: format!("`{}` {}", setting.key(), fault.fault()),
        })
    }

    /// The settings, with those parts of a file that can change while a server runs.
    pub(crate) fn settings_with(self, file: &Reload) -> Settings {
        let mut settings = self.settings;
        settings.policies.clone_from(&file.policies);
        settings.access.api_keys.extend_from_slice(&file.api_keys);
        let origins = &file.allow_origins;
        settings.access.allow_origins.extend_from_slice(origins);
        settings
    }

    fn take(&mut self, FileSetting { name, text, .. }: &FileSetting) -> Result<(), SettingError> {
        fn find<T>(table: &'static [Setting<T>], name: &str) -> Option<&'static Setting<T>> {
            table.iter().find(|setting| setting.name == name)
        }
        if let Some(setting) = find(Settings::TABLE, name) {
            self.has_address |= name == "listen";
            setting.read(&mut self.settings, text)
        } else if let Some(setting) = find(ACCESS, name) {
            setting.read(&mut self.settings.access, text)
        } else if let Some(setting) = find(LIMITS, name) {
            setting.read(&mut self.settings.hub, text)
        } else if let Some(setting) = find(PROGRAM, name) {
            setting.read(&mut self.program, text)
        } else {
            Ok(()) // a file has no others
        }
    }
}

/// Settings of the program rather than of the server.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) config: Option<PathBuf>,
    pub(super) log: String,
    pub(super) log_format: LogFormat,
}

/// The format of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    /// Has what is said from here on have this form.
    pub(super) fn begin(self) {
        if self == Self::Json {
            log::speak_json();
        }
    }
}

impl Default for Program {
    fn default() -> Self {
        Self {
            config: None,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

#[rustfmt::skip] // Few lines for each setting.
pub(crate) const PROGRAM: &[Setting<Program>] = &[
    Setting::<Program>::text("config", "FILE", |_| String::new(), read_config)
        .help(Operation, "File in TOML: settings, policies of rooms, grants, API keys, origins; all but the \
            settings are read again on SIGHUP"),
    Setting::<Program>::text("log", "FILTER", |it| it.log.clone(), read_log)
        .help(Operation, "What to log: error, warn, info, debug, trace, off, or a filter like \
            roomcast=debug,info"),
    Setting::<Program>::text("log-format", "text|json", show_log_format, read_log_format)
        .help(Operation, "Lines of the log: text, or one JSON object each"),
];

/// The error for a value that is not UTF-8, such as a path in another encoding.
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

fn show_log_format(program: &Program) -> String {
    match program.log_format {
        LogFormat::Text => "text".to_owned(),
        LogFormat::Json => "json".to_owned(),
    }
}

fn read_log_format(program: &mut Program, text: &str) -> Result<(), String> {
    program.log_format = match text {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err("must be one of text, json".to_owned()),
    };
    Ok(())
}

impl Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let mut flags: Vec<(Group, Arg)> = flags(Settings::TABLE)
            .chain(flags(ACCESS))
            .chain(flags(LIMITS))
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
        let names = names(Settings::TABLE)
            .chain(names(ACCESS))
            .chain(names(LIMITS));
        let names = names.chain(self::names(PROGRAM));
        self.given
            .extend(names.filter(|name| is_given(name, matches)));
        Ok(())
    }
}

fn flags<T: Default>(table: &'static [Setting<T>]) -> impl Iterator<Item = (Group, Arg)> {
    table.iter().map(|setting| (setting.group, flag(setting)))
}

fn flag<T: Default>(setting: &'static Setting<T>) -> Arg {
    // Clap's own error for a value that is not UTF-8 does not name the flag.
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

/// Reads the settings that were given. Others keep their values: the default of a setting may
/// depend on another.
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

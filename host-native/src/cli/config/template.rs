//! A file with every setting.

use std::fmt::Write;

use roomcast::Settings;
use roomcast_http::settings::{ACCESS, Group, LIMITS, Setting};

use crate::cli::serve::{PROGRAM, setting_names};

const HEAD: &str = "\
# Settings of `roomcast serve --config FILE`. A line without `#` is in force; the others show the
# default. Flags and variables override the file. docs/settings.md has the range and the reason of
# each.
";

const TABLES: &str = r#"
# Keys of the HTTP API, in addition to those of --api-key; better their hashes: `roomcast key`.
# api_keys = ["publish:sha256:..."]
# Origins of web pages that may connect, in addition to those of --allow-origin.
# allow_origins = ["https://app.example.com"]

# Policies of rooms: the first that matches holds.
# [[rooms]]
# match = "chat:*"            # "*" is any run of characters
# history.messages = 300
# history.age_s = 300
# presence = "members"        # off, counts, members

# Grants for everybody, beside those of tokens.
# [[grants]]
# for = "users"               # anyone, users
# rooms = "chat:*"            # {user} is the name of the user
# can = ["join", "publish"]   # and presence, history

# Endpoints of backends that are told of events.
# [[hooks]]
# tell = "https://example.com/hook"
# events = ["user.joined", "user.left", "message.published"]
# rooms = "chat:*"
# keys = ["env:HOOK_KEY"]     # or file:PATH

# The backend that is asked who a connection is, and what it may join.
# [ask]
# url = "https://example.com/ask"
# on = ["connect", "join"]
# headers = ["cookie"]        # of the client's request
# keys = ["env:HOOK_KEY"]
# timeout_ms = 1000
# with_token = false          # true asks for clients with a valid token too
"#;

/// The text of the file.
pub(super) fn all() -> String {
    let mut rows: Vec<(Group, String)> = rows(Settings::TABLE)
        .chain(rows(ACCESS))
        .chain(rows(LIMITS))
        .chain(rows(PROGRAM))
        .collect();
    rows.sort_by_key(|(group, _)| *group);
    let (mut text, mut heading) = (HEAD.to_owned(), None);
    for (group, row) in rows {
        if heading != Some(group) {
            heading = Some(group);
            let _ = write!(text, "\n## {}\n\n", group.title());
        }
        text.push_str(&row);
    }
    text.push_str(TABLES);
    text
}

/// The lines of each setting of a table.
fn rows<T: Default>(table: &'static [Setting<T>]) -> impl Iterator<Item = (Group, String)> {
    let names = setting_names();
    let settings = table.iter().filter(move |it| names.contains(&it.name));
    settings.map(|setting| {
        let key = setting.name.replace('-', "_");
        let mut text = String::new();
        for line in wrapped(setting.help) {
            let _ = writeln!(text, "# {line}");
        }
        let default = setting.show(&mut T::default());
        let value = match default.parse::<u64>() {
            Ok(number) => number.to_string(),
            Err(_) if setting.form().is_none() => "false".to_owned(),
            Err(_) if setting.is_list() => "[]".to_owned(),
            Err(_) => format!("{default:?}"),
        };
        let _ = writeln!(text, "# {key} = {value}");
        (setting.group, text)
    })
}

/// Lines of at most 96 columns.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= 96 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::serve::ServeArgs;
    use roomcast_http::ConfigFile;

    /// Every key that the template shows, with its value in force.
    #[test]
    fn the_template_in_force_is_the_default() {
        let text = all();
        let shown = text.lines().filter_map(|line| line.strip_prefix("# "));
        // Texts and lists without a default are shown empty, and cannot be so.
        let shown = shown.filter(|line| line.contains(" = "));
        let shown = shown.filter(|line| !line.ends_with(" = \"\"") && !line.ends_with(" = []"));
        let settings = shown.take_while(|line| !line.starts_with("api_keys"));
        let file: Vec<&str> = settings.collect();
        let names = setting_names();
        let read = ConfigFile::with_settings(&file.join("\n"), &names);
        let (_, settings) = read.expect("a good file");
        assert_eq!(settings.len(), file.len(), "{file:#?}");
        let mut args = ServeArgs::default();
        args.take_file("printed", &settings).expect("good settings");
        let given = args.settings_with(&Default::default());
        assert_eq!(format!("{given:?}"), format!("{:?}", Settings::default()));
        for name in names {
            let key = format!("# {} = ", name.replace('-', "_"));
            assert!(text.contains(&key), "{key} is missing");
        }
    }
}

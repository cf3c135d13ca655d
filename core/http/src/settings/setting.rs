//! A setting: its name, what it may be, and the field that it sets.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::ops::RangeInclusive;

use super::value::{Number, on_or_off, whole, within, yes_or_no};

/// A setting: a flag, a variable and a row of `docs/settings.md`, which sets a field of `T`.
///
/// Its default is the value of the field in `T::default()`.
#[derive(Debug)]
pub struct Setting<T> {
    /// The name, such as `message-bytes-max`.
    pub name: &'static str,
    /// The heading under which the help shows it.
    pub group: Group,
    /// A sentence for the help.
    pub help: &'static str,
    kind: Kind<T>,
}

/// Headings of the help and of `docs/settings.md`, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Addresses, and the right to connect and to use the API.
    Access,
    /// Requests before a WebSocket, and the HTTP API.
    Http,
    /// Messages that clients send.
    Inbound,
    /// Messages that clients receive.
    Outbound,
    /// Rooms, histories and presence.
    Rooms,
    /// Silent connections.
    Heartbeat,
    /// Files and the log.
    Operation,
}

impl Group {
    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Access => "Listening and access",
            Self::Http => "Handshake and HTTP",
            Self::Inbound => "Messages from a client",
            Self::Outbound => "Messages to a client",
            Self::Rooms => "Rooms",
            Self::Heartbeat => "Heartbeat",
            Self::Operation => "Operation",
        }
    }
}

#[derive(Debug)]
enum Kind<T> {
    Number(RangeInclusive<u64>, bool, Place<T>),
    Switch(fn(&mut T) -> &mut bool),
    Permission(fn(&mut T) -> &mut bool),
    List(&'static str, Reader<T>),
    Text(&'static str, fn(&T) -> String, Reader<T>),
}

type Reader<T> = fn(&mut T, &str) -> Result<(), String>;

/// The place of a number, which is `None` when it is off, or has no effect.
#[derive(Debug)]
enum Place<T> {
    Field(fn(&mut T) -> &mut dyn Number),
    Computed(fn(&T) -> Option<u64>, fn(&mut T, Option<u64>)),
}

impl<T> Setting<T> {
    const fn new(name: &'static str, kind: Kind<T>) -> Self {
        Self {
            name,
            group: Group::Operation,
            help: "",
            kind,
        }
    }

    /// A whole number. The range ends well below the maximum of the field's type, so that no sum
    /// with it overflows.
    pub const fn number(
        name: &'static str,
        range: RangeInclusive<u64>,
        field: fn(&mut T) -> &mut dyn Number,
    ) -> Self {
        Self::new(name, Kind::Number(range, false, Place::Field(field)))
    }

    /// A whole number that is a part of a larger value.
    pub const fn computed(
        name: &'static str,
        range: RangeInclusive<u64>,
        get: fn(&T) -> Option<u64>,
        set: fn(&mut T, Option<u64>),
    ) -> Self {
        Self::new(name, Kind::Number(range, false, Place::Computed(get, set)))
    }

    /// `on` or `off`.
    pub const fn switch(name: &'static str, field: fn(&mut T) -> &mut bool) -> Self {
        Self::new(name, Kind::Switch(field))
    }

    /// A flag without a value; its variable is a word for yes or for no.
    pub const fn permission(name: &'static str, field: fn(&mut T) -> &mut bool) -> Self {
        Self::new(name, Kind::Permission(field))
    }

    /// A list, separated by commas, as [`list`](super::value::list) reads it. The flag may be
    /// repeated.
    pub const fn list(name: &'static str, entry: &'static str, read: Reader<T>) -> Self {
        Self::new(name, Kind::List(entry, read))
    }

    /// A text of any other form, with a function that shows it: empty when there is none.
    pub const fn text(
        name: &'static str,
        form: &'static str,
        show: fn(&T) -> String,
        read: Reader<T>,
    ) -> Self {
        Self::new(name, Kind::Text(form, show, read))
    }

    /// The same number setting, which may be `off` as well.
    #[must_use]
    pub const fn or_off(mut self) -> Self {
        if let Kind::Number(_, may_be_off, _) = &mut self.kind {
            *may_be_off = true;
        }
        self
    }

    /// The same setting with a sentence for the help, under a heading.
    #[must_use]
    pub const fn help(mut self, group: Group, help: &'static str) -> Self {
        self.group = group;
        self.help = help;
        self
    }

    /// The name of its variable, such as `ROOMCAST_MESSAGE_BYTES_MAX`.
    pub fn variable(&self) -> String {
        variable(self.name)
    }

    /// True for a list, whose flag may be repeated.
    pub const fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(..))
    }

    /// The range of a number.
    pub const fn range(&self) -> Option<&RangeInclusive<u64>> {
        if let Kind::Number(range, ..) = &self.kind {
            Some(range)
        } else {
            None
        }
    }

    /// The form of the value, as in `--threads N`; `None` for a flag without one.
    pub fn form(&self) -> Option<String> {
        Some(match self.kind {
            Kind::Number(_, may_be_off, _) => {
                let is_time = self.name.ends_with("-ms");
                let unit = if is_time { "MS" } else { "N" };
                format!("{unit}{}", if may_be_off { "|off" } else { "" })
            }
            Kind::Switch(_) => "on|off".to_owned(),
            Kind::Permission(_) => return None,
            Kind::List(form, _) | Kind::Text(form, ..) => form.to_owned(),
        })
    }

    /// The value, as it would be written; empty for lists, and where there is none.
    pub fn show(&self, target: &mut T) -> String {
        match &self.kind {
            Kind::Number(_, _, place) => match place.get(target) {
                Some(number) => number.to_string(),
                None => "off".to_owned(),
            },
            Kind::Switch(field) => if *field(target) { "on" } else { "off" }.to_owned(),
            Kind::Permission(_) | Kind::List(..) => String::new(),
            Kind::Text(_, show, _) => show(target),
        }
    }

    /// Reads a value into its field.
    ///
    /// # Errors
    ///
    /// When the setting may not have this value.
    pub fn read(&self, target: &mut T, text: &str) -> Result<(), SettingError> {
        let read = match &self.kind {
            Kind::Number(range, may_be_off, place) => {
                let number = whole(text, range, *may_be_off);
                number.map(|number| place.set(target, number))
            }
            Kind::Switch(field) => on_or_off(text).map(|is_on| *field(target) = is_on),
            Kind::Permission(field) => yes_or_no(text).map(|is_yes| *field(target) = is_yes),
            Kind::List(_, read) | Kind::Text(_, _, read) => read(target, text),
        };
        read.map_err(|fault| SettingError::new(self.name, fault))
    }

    /// Checks that a number is in its range.
    fn check(&self, target: &mut T) -> Result<(), SettingError> {
        if let Kind::Number(range, may_be_off, place) = &self.kind
            && let Some(number) = place.get(target)
        {
            let fits = within(number, range, *may_be_off);
            return fits.map_err(|fault| SettingError::new(self.name, fault));
        }
        Ok(())
    }
}

/// The error of an invalid setting. The message names its variable and says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {fault}", variable(.name))]
pub struct SettingError {
    name: &'static str,
    fault: String,
}

impl SettingError {
    /// An error of the setting of this name, such as `threads`, with a fault such as "must be at
    /// least 1".
    pub fn new(name: &'static str, fault: impl Into<String>) -> Self {
        let fault = fault.into();
        Self { name, fault }
    }

    /// The name of the setting, such as `message-bytes-max`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The fault, without the name.
    pub fn fault(&self) -> &str {
        &self.fault
    }
}

/// The variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("ROOMCAST_{}", name.to_ascii_uppercase().replace('-', "_"))
}

impl<T> Place<T> {
    fn get(&self, target: &mut T) -> Option<u64> {
        match self {
            Self::Field(field) => field(target).get(),
            Self::Computed(get, _) => get(target),
        }
    }

    fn set(&self, target: &mut T, number: Option<u64>) {
        match self {
            Self::Field(field) => field(target).set(number),
            Self::Computed(_, set) => set(target, number),
        }
    }
}

/// Reads the settings of a table whose variables are set; the others stay as they are.
///
/// ```
/// use roomcast_core::Limits;
/// use roomcast_http::settings::{LIMITS, check_limits, read_variables};
///
/// let mut limits = Limits::default();
/// let variable = |name: &str| (name == "ROOMCAST_INBOUND_RATE").then(|| "off".to_owned());
/// read_variables(LIMITS, &mut limits, variable)?;
/// check_limits(&limits)?;
/// assert_eq!(limits.inbound_messages, None);
/// # Ok::<(), roomcast_http::settings::SettingError>(())
/// ```
///
/// # Errors
///
/// The first variable that must change.
pub fn read_variables<T>(
    table: &[Setting<T>],
    target: &mut T,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), SettingError> {
    for setting in table {
        if let Some(text) = variable(&setting.variable()) {
            setting.read(target, &text)?;
        }
    }
    Ok(())
}

/// Checks that every number of a table is in its range, however it was set.
///
/// # Errors
///
/// The first setting that must change.
pub fn check_ranges<T: Clone>(table: &[Setting<T>], target: &T) -> Result<(), SettingError> {
    let mut copy = target.clone(); // fields are reached through `&mut`
    let mut settings = table.iter();
    settings.try_for_each(|setting| setting.check(&mut copy))
}

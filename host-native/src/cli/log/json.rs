//! Lines of the log as JSON.

use std::{
    fmt::{self, Write},
    mem,
};

use serde::{Serialize, Serializer};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// The largest number of bytes of a text in a line: clients choose parts of some texts.
const TEXT_BYTES_MAX: usize = 2_048;

/// A format of events as objects, one per line: `timestamp`, `level`, `target`, `message`, and
/// `fields` if there are any. The library's own JSON format does not limit the length of texts.
#[derive(Debug)]
pub(in crate::cli) struct Json;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    target: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    fields: &'a Fields,
}

/// Formats a message of the program that is not an event.
pub(super) fn line(level: Level, message: &str) -> String {
    let mut text = Cut::default();
    // Writing to it cannot fail.
    let _ = text.write_str(message);
    format("roomcast", level, &text.finish(), &Fields::default())
}

fn format(target: &str, level: Level, message: &str, fields: &Fields) -> String {
    let mut timestamp = String::new();
    // A clock that cannot be read leaves it empty.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let line = Line {
        timestamp,
        level: level.as_str(),
        target,
        message,
        fields,
    };
    // Texts and numbers can always be serialized.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (of, message) = (event.metadata(), mem::take(&mut fields.message));
        writer.write_str(&format(of.target(), *of.level(), &message, &fields))
    }
}

/// The fields of an event, in order.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

impl Fields {
    const fn is_empty(&self) -> bool {
        self.others.is_empty()
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.others.iter().map(|(name, value)| (name, value)))
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Cut::default();
        // A value whose formatting fails is cut off there.
        let _ = write!(text, "{value:?}");
        if field.name() == "message" {
            self.message = text.finish();
        } else {
            self.others.push((field.name(), Value::Text(text.finish())));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), Value::Signed(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), Value::Unsigned(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), Value::Float(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), Value::Bool(value)));
    }
}

/// A text of bounded length.
#[derive(Debug, Default)]
struct Cut {
    text: String,
    is_cut: bool,
}

impl Cut {
    fn finish(mut self) -> String {
        if self.is_cut {
            self.text.push('…');
        }
        self.text
    }
}

impl Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.is_cut {
            return Ok(());
        }
        let fits = more.floor_char_boundary(TEXT_BYTES_MAX - self.text.len());
        self.text.push_str(&more[..fits]);
        self.is_cut = fits < more.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value as Parsed, json};
    use tracing::subscriber::with_default;
    use tracing_subscriber::{Layer, fmt::layer, layer::SubscriberExt, registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> Vec<Parsed> {
        let out = Out::default();
        let lines = out.clone();
        let layer = layer()
            .with_writer(move || lines.clone())
            .event_format(Json)
            .boxed();
        with_default(registry().with(layer), log);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    #[test]
    fn an_event_is_an_object_with_its_fields() {
        let text = "a \"quote\"\nand \u{1b}[31mmore";
        let lines = logged(|| {
            tracing::warn!(target: "roomcast::x", count = 3_u64, %text, on = true, "said");
            tracing::info!("alone {}", 1);
        });
        let [one, other] = &*lines else {
            panic!("{lines:?}");
        };
        assert_eq!(one["level"], "WARN");
        assert_eq!(one["target"], "roomcast::x");
        assert_eq!(one["message"], "said");
        assert_eq!(one["fields"], json!({"count": 3, "text": text, "on": true}));
        assert_eq!(other["message"], "alone 1");
        assert!(other.get("fields").is_none());
        let time = other["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }

    #[test]
    fn a_long_text_is_cut_where_a_character_ends() {
        let long = "ü".repeat(TEXT_BYTES_MAX);
        let lines = logged(|| tracing::info!(%long, "{long}"));
        for text in [&lines[0]["message"], &lines[0]["fields"]["long"]] {
            let text = text.as_str().unwrap();
            assert_eq!(text.len(), TEXT_BYTES_MAX + '…'.len_utf8());
            assert!(text.ends_with("ü…"));
        }
    }

    #[test]
    fn other_lines_are_objects_too() {
        let line = line(Level::ERROR, "thread 'x' panicked:\nas planned");
        let line: Parsed = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!(line["message"], "thread 'x' panicked:\nas planned");
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["target"], "roomcast");
    }
}

//! Texts that survive in the lines of a trace.

/// Expands the abbreviations of a trace: `<3 of ab>` becomes `ababab`, and `<U+0007>` that
/// character.
pub fn expand(text: &str) -> String {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('<') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let written_out = rest[1..].split_once('>').and_then(|(short, after)| {
            let long = match short.strip_prefix("U+") {
                Some(hex) => char::from_u32(u32::from_str_radix(hex, 16).ok()?)?.into(),
                None => {
                    let (count, unit) = short.split_once(" of ")?;
                    unit.repeat(count.parse().ok()?)
                }
            };
            Some((long, after))
        });
        match written_out {
            Some((long, after)) => {
                expanded.push_str(&long);
                rest = after;
            }
            None => {
                expanded.push('<');
                rest = &rest[1..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

/// Escapes a text so that it survives as the end of a line; [`expand`] restores it.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, char) in text.char_indices() {
        let edge = char == ' ' && (at == 0 || at + 1 == text.len());
        if text[at..].starts_with("<epoch ") {
            escaped.push(char);
        } else if edge || char == '<' || char == '\u{feff}' || char.is_control() {
            escaped.push_str(&format!("<U+{:04X}>", u32::from(char)));
        } else {
            escaped.push(char);
        }
    }
    escaped
}

/// Returns the length of the content of a JSON string, whose opening quote is before the text.
pub(crate) fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let quote = text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    });
    quote.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_texts_expand_to_themselves() {
        for text in [
            "",
            " a ",
            "<alice>",
            "<3 of a>",
            "a\r\n\u{feff}<",
            "< U+0041>",
            "é <",
        ] {
            let escaped = escape(text);
            assert_eq!(expand(&escaped), text, "{escaped}");
            assert_eq!(escaped.trim(), escaped);
        }
        assert_eq!(expand("<3 of [>1<2 of ]><x>"), "[[[1]]<x>");
    }
}

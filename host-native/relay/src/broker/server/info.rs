//! The answer of `INFO`.

/// A field of `INFO`.
pub(crate) fn info_field<'a>(info: &'a str, field: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.trim_end().strip_prefix(field)?.strip_prefix(':'))
}

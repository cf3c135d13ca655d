//! Text tables.

/// The head of a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    /// A column of texts, aligned left.
    Text(&'static str),
    /// A column of numbers, aligned right.
    Number(&'static str),
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Self::Text(name) | Self::Number(name) => name,
        }
    }
}

/// Formats a table as lines, the head first.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let head = columns.iter().map(|column| column.name().to_owned());
    let head: Vec<String> = head.collect();
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column));
        let widths = cells.map(|cell| cell.chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(columns).zip(&widths);
        let cells = cells.map(|((cell, column), &width)| match column {
            Column::Text(_) => format!("{cell:width$}"),
            Column::Number(_) => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(line).collect()
}

/// Formats an age in its two largest units.
pub(super) fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_right() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let columns = [
            Column::Text("NODE"),
            Column::Number("OPEN"),
            Column::Text("HOST"),
        ];
        let rows = [row(["a", "12", "web-1"]), row(["1cdef", "1,234", "w"])];
        let lines = table(&columns, &rows);
        assert_eq!(
            lines,
            [
                "NODE    OPEN  HOST",
                "a         12  web-1",
                "1cdef  1,234  w"
            ]
        );
    }

    #[test]
    fn ages_have_two_units() {
        let ages = [5, 125, 7_260, 180_000].map(age);
        assert_eq!(ages, ["5 s", "2 min 5 s", "2 h 1 min", "2 d 2 h"]);
    }
}

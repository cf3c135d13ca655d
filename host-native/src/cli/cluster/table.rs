//! Columns for people.

/// Lines of a table, the first row its head. Columns that are all digits stand at the right.
pub(super) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let is_number = |column: usize| {
        let mut cells = rows.iter().skip(1).filter_map(|row| row.get(column));
        cells.all(|cell| cell.starts_with(|first: char| first.is_ascii_digit() || first == '-'))
    };
    let shapes: Vec<_> = (0..columns).map(|it| (width(it), is_number(it))).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&shapes);
        let cells = cells.map(|(cell, &(width, is_number))| match is_number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A time since something, in its two largest units.
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
        let lines = table(&[
            row(["NODE", "OPEN", "HOST"]),
            row(["a", "12", "web-1"]),
            row(["bcdef", "1,234", "w"]),
        ]);
        assert_eq!(
            lines,
            [
                "NODE    OPEN  HOST",
                "a         12  web-1",
                "bcdef  1,234  w"
            ]
        );
    }

    #[test]
    fn ages_have_two_units() {
        let ages = [5, 125, 7_260, 180_000].map(age);
        assert_eq!(ages, ["5 s", "2 min 5 s", "2 h 1 min", "2 d 2 h"]);
    }
}
